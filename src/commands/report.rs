//! The reporter: attaches to any one peer of a running network, finds the others, and shows who stands where.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use kadring::console::Format;
use kadring::console::classroom::number;
use kadring::console::perform::resolve;
use kadring::overlay::OverlayKind;
use kadring::peer::Peer;
use kadring::runtime::survey::{Surveyed, Surveyor};
use serde::Serialize;

use super::{Exit, Failed};
use crate::args::{ReportArgs, ReportTarget};

/// Moves to the upper left corner; clears what is left below.
const HOME: &str = "\x1b[H";
const CLEAR_BELOW: &str = "\x1b[J";

/// `kadring report`.
pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<Exit> {
    let (target, overlay) = match &args.target {
        ReportTarget::Number(number) => {
            let port = args.base_port + u16::from(*number);
            (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Some(OverlayKind::Ring))
        }
        ReportTarget::Address(host_port) => {
            let found = resolve(host_port).map_err(Failed::not_found)?.into_iter().next();
            let addr = found.ok_or_else(|| Failed::not_found(format!("{host_port} has no address")))?;
            (addr, args.overlay.map(Into::into))
        }
    };
    let mut surveyor = Surveyor::new(target, overlay).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Failed::timed_out(error.to_string()),
        _ => Failed::start(error),
    })?;
    let format = args.format.format();
    let in_place = !args.once && format == Format::Text && io::stdout().is_terminal();
    let mut seeds = vec![target];
    let mut first = true;
    loop {
        let peers = surveyor.survey(&seeds)?;
        let report = Report { overlay: surveyor.overlay(), peers: &peers };
        let text = match format {
            Format::Json => report.json()?,
            Format::Text => report.text(),
        };
        if write(&text, in_place, first).is_err() {
            // Whoever read it has gone.
            return Ok(Exit::Done);
        }
        if args.once {
            return Ok(Exit::Done);
        }
        first = false;
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

/// What one survey found.
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
            let _ = writeln!(text, "Unmonitored Peers ({}): {}", silent.len(), silent.join(", "));
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
                // Whoever is one of two meets itself again.
                let second = list.get(1).or(list.first().map(|_| &of.peer));
                [name(list.first()), name(second)]
            });
            let _ = writeln!(text, "Peer {me} - {} > {} > [{me}] > {} > {}", before[1], before[0], after[0], after[1]);
        }
        text
    }

    /// Each peer, whom it named near the places asked for, and how many named it.
    fn kademlia(&self) -> String {
        let mut text = String::new();
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
