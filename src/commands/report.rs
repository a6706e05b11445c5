//! The reporter: attaches to any one peer of a running network, finds the others, and shows who stands where.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use kadring::console::classroom::number;
use kadring::console::help::filled;
use kadring::console::perform::resolve;
use kadring::console::{Format, Screen};
use kadring::overlay::OverlayKind;
use kadring::peer::Peer;
use kadring::runtime::every_address;
use kadring::runtime::survey::{Surveyed, Surveyor};
use serde::Serialize;

use super::client::tell_trouble;
use super::standard::exit_once_said;
use super::unjoined::filtered;
use super::{Exit, Failed, bootstrap, log_to};
use crate::args::{ReportArgs, ReportTarget};

/// Moves to the upper left corner; clears what is left below.
const HOME: &str = "\x1b[H";
const CLEAR_BELOW: &str = "\x1b[J";

/// Begins the line of the peers that others name and that do not answer.
const UNMONITORED: &str = "Unmonitored Peers";

/// `kadring report`.
pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<Exit> {
    let format = args.format.format();
    report(args, format).or_else(|error| tell_trouble(error, format, io::stdout()))
}

fn report(args: &ReportArgs, format: Format) -> anyhow::Result<Exit> {
    log_to(&Screen::stderr(), "warn");
    let overlay = args.overlay.map(Into::into);
    let (targets, overlay) = match &args.target {
        Some(ReportTarget::Number(number)) => {
            let port = args.base_port + u16::from(*number);
            (vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))], Some(OverlayKind::Ring))
        }
        Some(ReportTarget::Address(host_port)) => (resolve(host_port).map_err(Failed::not_found)?, overlay),
        None => (bootstrap(&args.bootstrap, every_address().ip())?.addrs, overlay),
    };
    let of = (args.network.name, args.network.keys().map_err(Failed::usage)?);
    let mut surveyor = Surveyor::new(&targets, overlay, of).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Failed::timed_out(filtered(&targets).unwrap_or_else(|| error.to_string())),
        _ => Failed::start(error),
    })?;
    let in_place = !args.once && format == Format::Text && io::stdout().is_terminal();
    let mut seeds = vec![surveyor.target().addr];
    let mut before = None;
    loop {
        let peers = surveyor.survey(&seeds)?;
        let report = Report { overlay: surveyor.overlay(), peers: &peers };
        let text = match format {
            Format::Json => report.json()?,
            Format::Text => report.text(),
        };
        // On a terminal it is drawn anew each time, for others may write there; elsewhere each line counts.
        let changed = before.as_ref() != Some(&text);
        let mut exit = Exit::Done;
        if in_place || changed {
            exit = exit_once_said(write(&text, in_place, before.is_none()))?;
        }
        if args.once || exit != Exit::Done {
            return Ok(exit);
        }
        before = Some(text);
        // The peer to attach to may go: from now on any other will do.
        for peer in &peers {
            if peer.answered && !seeds.contains(&peer.peer.addr) {
                seeds.push(peer.peer.addr);
            }
        }
        thread::park_timeout(args.interval);
    }
}

fn write(text: &str, in_place: bool, first: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if in_place {
        let clear = if first { format!("{HOME}{CLEAR_BELOW}") } else { HOME.to_owned() };
        let size = terminal_size::terminal_size_of(&out).map(|(width, height)| (width.0.into(), height.0.into()));
        let text = size.map_or_else(|| text.to_owned(), |size| fit(text, size));
        // Each line clears what was longer before it.
        let text = text.replace('\n', "\x1b[K\n");
        write!(out, "{clear}{text}{CLEAR_BELOW}")?;
    } else {
        if !first && !text.starts_with('{') {
            out.write_all(b"\n")?;
        }
        out.write_all(text.as_bytes())?;
    }
    out.flush()
}

/// As much of `text` as a terminal of so many columns and rows shows without scrolling. The line of those that are not
/// monitored is wrapped and gets up to a third of the rows; where there are too many others, their number stands
/// instead.
fn fit(text: &str, (columns, rows): (usize, usize)) -> String {
    // The cursor stands below the last line.
    let room = rows.saturating_sub(1);
    let (silent, others): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with(UNMONITORED));
    let mut last: Vec<String> = silent.iter().flat_map(|line| wrap(line, columns)).collect();
    if last.len() > (room / 3).max(1) {
        last.truncate((room / 3).max(1));
        let cut_short = last.pop().unwrap_or_default() + " …";
        last.push(cut(&cut_short, columns));
    }
    let mut shown: Vec<String> = others.iter().map(|line| cut(line, columns)).collect();
    if shown.len() + last.len() > room {
        let kept = room.saturating_sub(last.len() + 1);
        let more = cut(&format!("… {} more: --once shows all", shown.len().saturating_sub(kept)), columns);
        shown.truncate(kept);
        shown.push(more);
    }
    shown.into_iter().chain(last).map(|line| line + "\n").collect()
}

/// The line, cut at the edge of the terminal.
fn cut(line: &str, columns: usize) -> String {
    match line.char_indices().nth(columns) {
        Some(_) => line.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
        None => line.to_owned(),
    }
}

/// The words of a line, wrapped to so many columns.
fn wrap(line: &str, columns: usize) -> Vec<String> {
    filled(line, columns, 0).lines().map(|line| cut(line, columns)).collect()
}

/// The report of one survey.
#[derive(Serialize)]
struct Report<'a> {
    overlay: OverlayKind,
    peers: &'a [Surveyed],
}

impl Report<'_> {
    fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    fn text(&self) -> String {
        let mut text = match self.overlay {
            OverlayKind::Ring => self.ring(),
            OverlayKind::Kademlia => self.kademlia(),
        };
        let silent: Vec<String> =
            self.peers.iter().filter(|peer| !peer.answered).map(|of| number(&of.peer.id)).collect();
        if !silent.is_empty() {
            let _ = writeln!(text, "{UNMONITORED} ({}): {}", silent.len(), silent.join(", "));
        }
        text
    }

    /// Second and first predecessor, the peer, first and second successor.
    fn ring(&self) -> String {
        let width = self.peers.iter().map(|of| number(&of.peer.id).len()).max().unwrap_or(0).max(2);
        let name =
            |peer: Option<&Peer>| format!("{:>width$}", peer.map_or_else(|| "-".to_owned(), |peer| number(&peer.id)));
        let mut text = String::new();
        for of in self.peers.iter().filter(|of| of.answered) {
            let me = name(Some(&of.peer));
            let [before, after] = [&of.predecessors, &of.successors].map(|list| {
                // One of two peers is its own second successor.
                let second = list.get(1).or(list.first().map(|_| &of.peer));
                [name(list.first()), name(second)]
            });
            let _ = writeln!(text, "Peer {me} - {} > {} > [{me}] > {} > {}", before[1], before[0], after[0], after[1]);
        }
        text
    }

    /// Each peer, how many peers it named near the places asked for, and how many named it. Peers tell strangers
    /// nothing of what they hold.
    fn kademlia(&self) -> String {
        let answered = self.peers.iter().filter(|of| of.answered).count();
        let mut text = format!("Peers on Kademlia: {answered}; `ctl --data DIR status` tells what one holds\n");
        for of in self.peers.iter().filter(|of| of.answered) {
            let Surveyed { peer, knows, named_by, .. } = of;
            let _ = writeln!(
                text,
                "Peer {} {:<21} knows {:>3} peers, known to {named_by:>3}",
                number(&peer.id),
                peer.addr.to_string(),
                knows.len()
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use kadring::id::Id;

    use super::*;

    fn peer(id: u64) -> Peer {
        Peer::new(Id::from_u64(id), SocketAddr::from((Ipv4Addr::LOCALHOST, 12_000 + id as u16)))
    }

    fn surveyed(id: u64, predecessors: &[u64], successors: &[u64]) -> Surveyed {
        let peers = |ids: &[u64]| ids.iter().map(|&id| peer(id)).collect::<Vec<_>>();
        let (predecessors, successors) = (peers(predecessors), peers(successors));
        Surveyed { peer: peer(id), answered: true, predecessors, successors, knows: Vec::new(), named_by: 0 }
    }

    #[test]
    fn a_report_fits_its_terminal() {
        let silent = "Unmonitored Peers (3): 1, 22, 333\n".to_owned();
        let text: String = (0..30).map(|n| format!("Peer {n}\n")).chain([silent]).collect();
        assert_eq!(fit(&text, (80, 32)), text);
        let shown = fit(&text, (20, 24));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 23, "the cursor needs a row too");
        assert_eq!(lines[19..], ["Peer 19", "… 10 more: --once s…", "Unmonitored Peers", "(3): 1, 22, 333"]);
        assert_eq!(fit("", (80, 24)), "");
        let names: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
        let many = format!("Peer 1\nUnmonitored Peers (2000): {}\n", names.join(", "));
        let shown = fit(&many, (80, 24));
        assert!(shown.lines().count() == 8 && shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(shown.starts_with("Peer 1\n") && shown.ends_with("…\n"), "{shown}");
    }

    #[test]
    fn a_report_calls_its_overlay_as_all_answers_do() {
        for overlay in [OverlayKind::Kademlia, OverlayKind::Ring] {
            let json: serde_json::Value =
                serde_json::from_str(&Report { overlay, peers: &[] }.json().unwrap()).unwrap();
            assert_eq!(json["overlay"], overlay.name());
            assert!(kadring::console::json::PAGE.contains("\"overlay\", kademlia or ring"));
        }
    }

    #[test]
    fn a_report_of_kademlia_says_what_it_is_and_how_many_peers_answered() {
        let silent = Surveyed { answered: false, ..surveyed(15, &[], &[]) };
        let text = Report { overlay: OverlayKind::Kademlia, peers: &[surveyed(9, &[], &[]), silent] }.text();
        assert!(text.starts_with("Peers on Kademlia: 1; "), "{text}");
    }

    #[test]
    fn the_second_reports_table() {
        let silent = Surveyed { answered: false, ..surveyed(15, &[], &[]) };
        let peers = [surveyed(9, &[8, 5], &[14, 15]), surveyed(14, &[9], &[9]), surveyed(19, &[], &[]), silent];
        let text = Report { overlay: OverlayKind::Ring, peers: &peers }.text();
        assert_eq!(
            text,
            "Peer  9 -  5 >  8 > [ 9] > 14 > 15\n\
             Peer 14 - 14 >  9 > [14] >  9 > 14\n\
             Peer 19 -  - >  - > [19] >  - >  -\n\
             Unmonitored Peers (1): 15\n"
        );
    }
}
