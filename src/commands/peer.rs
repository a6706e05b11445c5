//! Running a peer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, never, select};
use kadring::console::answers::Answers;
use kadring::console::beside::CommandJobs;
use kadring::console::catalogue::Catalogue;
use kadring::console::control::serving;
use kadring::console::perform::Performer;
use kadring::console::renewing::renewing;
use kadring::console::terminal::{self, Restore, Stdin};
use kadring::console::{Console, Defaults, End, Format, Grammar, LineReply, Output, Screen, json};
use kadring::node::{Answer, Command, Notice, Phase};
use kadring::overlay::RouteNotice;
use kadring::runtime::{Bell, Ended, Handle, Keyring, LastAct, LocalPeer, Options, ServeClient, since_1970, waits};
use kadring::store::remembers_peers;
use log::Level;
use sd_notify::NotifyState;
use tempfile::TempDir;

use super::bursts::NoticeBursts;
use super::client::tell_trouble;
use super::console_thread::{Above, ConsoleThread, edit};
use super::handover_progress::HandoverProgress;
use super::peers_seen::PeersSeen;
use super::signals::outliving_signals;
use super::standard::is_standard;
use super::unjoined::{answers_but, filtered, heard, ping_all, strange};
use super::{Exit, Failed, JoinAddresses, bootstrap, end_in_a_while, events, log_to, ready, resolving};
use crate::args::PeerArgs;

/// How long the end of the peer waits for an answer that is being written; then its reader counts as stuck.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// What Ctrl-D is answered with.
const PEER_ON_CTRL_D: &str = "Ctrl-D does not end this peer, and it reads on: quit, or Ctrl-C, ends it";

/// Runs a peer until it has left.
pub(crate) fn run(args: PeerArgs) -> anyhow::Result<Exit> {
    let format = args.format.format();
    run_in(args, format).or_else(|error| tell_trouble(error, format, io::stdout()))
}

fn run_in(args: PeerArgs, format: Format) -> anyhow::Result<Exit> {
    let (screen, input) = (Screen::stderr(), terminal::stdin_is());
    let person = input == Stdin::Person && format == Format::Text;
    log_to(&screen, if person { "info" } else { "warn" });
    let (mut options, _temporary) = options(&args)?;
    options.on_interrupt = person.then_some(Command::Interrupt { commands: Vec::new(), handover: !args.no_handover });
    let _restore = person.then(Restore::new);
    args.ready_file.as_deref().map(ready::forget_gone).transpose()?;
    let (keys, name) = (options.keys.clone(), options.config.network);
    let (data, own, ways) =
        (options.data.clone(), is_own(&options.bind, &options.bootstrap), options.bootstrap.clone());
    let mut peer = outliving_signals(|| LocalPeer::start(options)).map_err(Failed::start)?;
    args.ready_file.as_deref().map(ready::forget).transpose()?;
    // From the first on: why it was not let in is told before it is ready.
    let notices = peer.handle().notices_for(is_watched);
    let _shown = peer.handle().show_thread("main");
    let defaults = Defaults { keep: args.keep, handover: !args.no_handover };
    let (grammar, bell) = (Grammar::new(defaults), Bell::default());
    let catalogue = data.as_ref().map(|data| Catalogue::of(data).ringing(&bell));
    let jobs = CommandJobs::default();
    if let Some((data, catalogue)) = data.zip(catalogue.clone()) {
        listen(&mut peer, &data, serving(grammar.clone(), catalogue, jobs.clone()));
    }
    // A peer that was told to end while it joined never gets ready.
    let Some(ready) = peer.ready(None) else { return Ok(end(peer)) };
    if let Some(catalogue) = &catalogue {
        peer.renew(&bell, renewing(catalogue.clone())).context("cannot start the thread that renews leases")?;
    }
    let mut output = Output::new(format, io::stdout());
    let announced = ready::announce(&ready, (keys.is_some(), name), args.ready_file.as_deref())?;
    announce(&announced, &mut output, (format, person), &args);
    let alone = ready.peers == 0 && !args.bootstrap.is_empty();
    alone.then(|| tell_alone(&peer.handle(), &args, &ways, own, keys));

    let edit = || edit(&grammar, catalogue.clone(), args.data.as_deref(), &screen, &ready.udp.to_string());
    let (editor, above) = person.then(edit).unwrap_or_default();
    let performer = Performer::new(peer.handle(), screen.clone()).with_catalogue(catalogue).with_jobs(jobs);
    let answers = Answers::to(output, above.is_some().then(|| screen.clone()));
    let verdict = answers.verdict();
    let console = Console::new(performer, grammar, answers);
    let busy = console.busy();
    if input == Stdin::Background {
        log::warn!("no commands are read: the terminal belongs to another process");
    } else {
        let thread = ConsoleThread { console, editor, exit_on_eof: args.exit_on_eof, on_ctrl_d: PEER_ON_CTRL_D };
        peer.handle()
            .spawn_console(move || leave(thread, defaults.handover))
            .context("cannot start the console's thread")?;
    }
    let left = watch(&notices, above, &mut HandoverProgress::new(&screen), PeersSeen::new(alone));
    let behind = left.clone().and_then(|left| LineReply::Node(left).verdict());
    ready::tell_supervisor(NotifyState::Stopping);
    let ended = end(peer);
    let written = is_told(busy.pause(LAST_ANSWER), left, format);
    // A person at the terminal has seen what failed, or has closed it; a script learns it from the exit code.
    let failed = verdict.get().filter(|_| !person).or(behind).map(Exit::from);
    let failed = failed.or_else(|| (!written && !person).then_some(Exit::Other));
    Ok(if ended == Exit::Done { failed.unwrap_or(ended) } else { ended })
}

/// Lets clients of other shells talk to the peer.
fn listen(peer: &mut LocalPeer, data: &Path, serve: ServeClient) {
    if let Err(error) = peer.listen(data, serve) {
        log::warn!("this peer cannot be talked to from other shells: {error}");
    }
}

/// Whether all answers are written, the last one too. The console pauses: it is known whether it has told of the
/// departure, unless the reader of an answer is stuck.
fn is_told(pause: Option<bool>, left: Option<Answer>, format: Format) -> bool {
    match (pause, left) {
        (None, _) => false,
        (Some(false), Some(left)) => tell_last(left, format),
        _ => true,
    }
}

/// Writes the last answer, which says what is handed over and left behind, where no command asked for it. Returns
/// whether it could be written.
fn tell_last(left: Answer, format: Format) -> bool {
    let mut output = Output::new(format, io::stdout());
    output.reply(&LineReply::Node(left));
    !output.is_closed()
}

/// Waits until the peer has ended; returns how.
fn end(peer: LocalPeer) -> Exit {
    let ended = peer.wait();
    end_soon(ended.clone());
    ended.into()
}

/// The peer has ended. Only output that is not read can still keep this process, and that is a failure.
fn end_soon(ended: Ended) {
    let exit = Exit::from(ended);
    end_in_a_while(if exit == Exit::Done { Exit::Other } else { exit } as i32);
}

/// The peer's options; and its temporary data folder, if it has no lasting one.
fn options(args: &PeerArgs) -> anyhow::Result<(Options, Option<TempDir>)> {
    let mut config = args.copies.config().map_err(Failed::usage)?;
    config.network = args.network.name;
    config.lasting = args.data.is_some();
    config.scrub = args.scrub.0;
    config.grace = args.grace;
    config.strict_addresses = args.strict_addresses;
    config.handover_limit = args.handover_limit;
    config.capacity = args.capacity.map(|size| size.as_u64());
    let (known, resolve) = (known(args)?, resolving(args.bootstrap.clone(), args.bind.ip()));
    let keys = args.network.keys().map_err(Failed::usage)?;
    let events =
        args.events.as_deref().map(|path| events::to(path, (keys.is_some(), args.network.name))).transpose()?;
    let temporary = match args.data {
        Some(_) => None,
        None => Some(temporary_folder()?),
    };
    let options = Options {
        bind: at_port(args.bind, args.port),
        data: args.data.clone().or_else(|| Some(temporary.as_ref()?.path().to_owned())),
        id: args.id,
        bootstrap: known.addrs,
        hosts: known.hosts,
        resolve,
        overlay: args.overlay.into(),
        config,
        on_signal: Some(Command::Quit { handover: !args.no_handover }),
        on_end: Some(LastAct(Arc::new(end_soon))),
        events,
        record: args.record.clone(),
        keys,
        ..Options::default()
    };
    Ok((options, temporary))
}

/// No peer was found to join through.
fn tell_alone(peer: &Handle, args: &PeerArgs, ways: &[SocketAddr], own: bool, keys: Option<Arc<Keyring>>) {
    let names = args.bootstrap.join(", ");
    if own {
        return log::warn!("{names} is this peer's own address: name another peer's to join its network");
    }
    // A peer that did not let this one in may answer all the same.
    let strange = || strange(ways, args.overlay.into(), (args.network.name, keys));
    let refused = match heard(&ping_all(peer, ways)) {
        Some(Ok(id)) if id == peer.me().id => {
            return log::warn!(
                "at {names} answers this peer's own id: name another peer's address to join its network"
            );
        }
        Some(Ok(_)) => {
            return log::warn!("{names} answers, but this peer was not let in: it is alone, and keeps asking");
        }
        Some(Err(reason)) => Some(answers_but(&names, &reason)),
        None => strange(),
    };
    match refused {
        Some(reason) => log::warn!("{reason}: this peer is alone, and keeps asking"),
        None => {
            // TCP connects from such a peer too: that alone would look as if something was filtered on the way.
            let beyond_reach = beyond_reach(args.bind.ip(), peer.me().addr.ip(), ways);
            let filtered = || filtered(ways).map(|why| format!("; {why}"));
            let why = beyond_reach.or_else(filtered).unwrap_or_default();
            log::warn!("nobody answers at {names}: this peer is alone, and keeps asking{why}");
        }
    }
}

/// What to do about it where no other machine reaches a peer that is bound to `bind` and told of as at `own`, and that
/// is to join through another.
fn beyond_reach(bind: IpAddr, own: IpAddr, ways: &[SocketAddr]) -> Option<String> {
    let all = if bind.is_ipv4() { "0.0.0.0" } else { "::" };
    let elsewhere = own.is_loopback() && ways.iter().any(|way| !way.ip().is_loopback());
    elsewhere.then(|| match bind.is_unspecified() {
        true => "; this machine has no address that others can reach: is its network up?".to_owned(),
        false => format!("; it listens on {bind}, which other machines cannot reach: give --bind {all}"),
    })
}

fn at_port(mut addr: SocketAddr, port: u16) -> SocketAddr {
    addr.set_port(port);
    addr
}

/// Writes that the peer is ready.
fn announce(announced: &str, output: &mut Output, (format, person): (Format, bool), args: &PeerArgs) {
    match format {
        Format::Text => output.line(&format!("READY {announced}")),
        // Among the events it is told already.
        Format::Json if args.events.as_deref().is_some_and(is_standard) => {}
        Format::Json => output.line(&json::ready(announced, since_1970())),
    }
    if person {
        output.line("type help for the commands");
    }
}

/// Whether the peer is to join through no peer but itself.
fn is_own(bind: &SocketAddr, bootstrap: &[SocketAddr]) -> bool {
    let own = |addr: &SocketAddr| {
        let here = addr.ip() == bind.ip() || (addr.ip().is_loopback() && bind.ip().is_unspecified());
        here && addr.port() == bind.port()
    };
    // Names that lead to no address just now are another's.
    !bootstrap.is_empty() && bootstrap.iter().all(own)
}

/// Where to join. Names that cannot be resolved just now do not keep a peer away from neighbours that it remembers.
fn known(args: &PeerArgs) -> Result<JoinAddresses, Failed> {
    let remembers = args.data.as_deref().is_some_and(remembers_peers);
    match bootstrap(&args.bootstrap, args.bind.ip()) {
        Err(failed) if remembers => {
            log::warn!("{failed}: joining through the peers of the last run alone");
            Ok(JoinAddresses::default())
        }
        known => known,
    }
}

fn temporary_folder() -> Result<TempDir, Failed> {
    let folder = kadring::runtime::temporary_folder();
    let folder = folder.map_err(|error| Failed::start(format!("cannot make a temporary data folder: {error}")))?;
    log::warn!("without --data, blocks are kept in {} until this peer ends", folder.path().display());
    Ok(folder)
}

/// What is left to do once the console has ended: the peer is told to leave, if it was not by a command.
fn leave(thread: ConsoleThread, handover: bool) {
    let Some((end, mut console)) = thread.run() else { return };
    if end == End::Left {
        return;
    }
    console.leave(handover, |console, left| match left {
        // A line of input has one answer, and its end has none.
        LineReply::Node(Answer::Left { left_behind: 1.., .. }) if end == End::Input => log::warn!("{}", left.to_text()),
        _ if end == End::Input => {}
        _ => drop(console.answer(left)),
    });
}

/// Logs the peer's notices until it has ended. Returns its answer about leaving, if there was one.
fn watch(
    notices: &Receiver<Notice>,
    mut above: Option<Above>,
    handover: &mut HandoverProgress<'_>,
    mut company: PeersSeen,
) -> Option<Answer> {
    let (mut left, mut bursts) = (None, NoticeBursts::new());
    let nothing = never();
    let (mut lines, mut printer) = match above.take() {
        Some((lines, printer)) => (lines, Some(printer)),
        None => (nothing.clone(), None),
    };
    loop {
        let [repaired, damaged] = bursts.due();
        let alone = company.due();
        let came = waits(|| {
            select! {
                recv(notices) -> notice => MainEvent::Notice(notice.ok().map(Box::new)),
                recv(lines) -> line => MainEvent::Line(line.ok()),
                recv(handover.due()) -> _ => MainEvent::Due,
                recv(repaired) -> _ => MainEvent::Counted(0),
                recv(damaged) -> _ => MainEvent::Counted(1),
                recv(alone) -> _ => MainEvent::Company,
            }
        });
        match came {
            MainEvent::Notice(Some(notice)) => match *notice {
                Notice::Answer { answer: answer @ Answer::Left { .. }, .. } => left = Some(answer),
                Notice::Step { phase: Phase::HandingOver, done, of, .. } => {
                    company.leave();
                    handover.show(done, of);
                }
                notice => {
                    if bursts.tells(&notice) {
                        log::log!(level(&notice), "{}", text(&notice));
                    }
                    company.hear(&notice).inspect(|news| log::warn!("{news}"));
                }
            },
            MainEvent::Notice(None) => return left,
            MainEvent::Line(line) => match (line, &mut printer) {
                (Some(line), Some(printer)) => {
                    if let Err(error) = printer.print(line) {
                        log::debug!("a line was lost: {error}");
                    }
                }
                _ => lines = nothing.clone(),
            },
            MainEvent::Due => log::warn!("{}", handover.line()),
            MainEvent::Counted(sort) => {
                bursts.line(sort).inspect(|(level, line)| log::log!(*level, "{line}"));
            }
            MainEvent::Company => drop(company.line().inspect(|news| log::warn!("{news}"))),
        }
    }
}

/// What the main thread waits for.
enum MainEvent {
    /// None once the peer has ended.
    Notice(Option<Box<Notice>>),
    /// Something to print above the prompt; none once nothing more comes.
    Line(Option<String>),
    /// Time to tell how far the handover is.
    Due,
    /// Time to tell how many notices of a sort came.
    Counted(usize),
    /// Time to tell whether this peer has others.
    Company,
}

/// Whether the main thread has anything to do with a notice.
fn is_watched(notice: &Notice) -> bool {
    match notice {
        Notice::Answer { answer: Answer::Left { .. }, .. } | Notice::Step { phase: Phase::HandingOver, .. } => true,
        // From these it is known whether this peer has company.
        Notice::Joined { .. } | Notice::PeerUp { .. } | Notice::PeerDown { .. } => true,
        // Trouble stands in the log already.
        Notice::Step { .. } | Notice::Ended { .. } | Notice::Trouble { .. } => false,
        notice => level(notice) <= log::max_level(),
    }
}

/// How much a notice matters in the log.
fn level(notice: &Notice) -> Level {
    match notice {
        Notice::BlockDamaged { .. } | Notice::Route { route: RouteNotice::JoinRefused { .. } } => Level::Warn,
        Notice::Joined { .. } | Notice::PeerUp { .. } | Notice::PeerDown { .. } | Notice::BlockRepaired { .. } => {
            Level::Info
        }
        _ => Level::Debug,
    }
}

/// What the log says of a notice.
fn text(notice: &Notice) -> String {
    match notice {
        Notice::Joined { peers, .. } => format!("joined: {peers} peers known"),
        Notice::PeerUp { peer } => format!("peer {peer} is here"),
        Notice::PeerDown { peer } => format!("peer {peer} is gone"),
        Notice::BlockStored { key, size } => format!("block {} stored, {size} bytes", key.short()),
        Notice::BlockEnded { key } => format!("block {key} was deleted: nobody wants it any longer"),
        Notice::BlockDamaged { key } => {
            format!("block {key} is damaged or gone; what is left of it was moved aside, and it is fetched anew")
        }
        Notice::Route { route: RouteNotice::JoinRefused { reason } } => {
            format!("this peer is not let into the ring: {reason}")
        }
        Notice::BlockRepaired { key, to } => format!("block {} repaired: {to} has it now", key.short()),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_on_all_addresses_is_not_told_to() {
        let ways = ["10.0.0.1:7000".parse().unwrap()];
        let told = |bind: &str, own: &str| beyond_reach(bind.parse().unwrap(), own.parse().unwrap(), &ways);
        assert!(told("127.0.0.1", "127.0.0.1").unwrap().ends_with("give --bind 0.0.0.0"));
        assert!(told("::1", "::1").unwrap().ends_with("give --bind ::"));
        for (bind, own) in [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::", "127.0.0.1")] {
            let told = told(bind, own).unwrap();
            assert!(told.ends_with("is its network up?") && !told.contains("--bind"), "{told}");
        }
        assert_eq!(told("0.0.0.0", "10.0.0.7"), None);
    }

    #[test]
    fn a_peer_whose_names_lead_nowhere_is_not_told_that_they_are_its_own() {
        let [here, elsewhere] = ["127.0.0.1:7000", "127.0.0.1:7001"].map(|addr| addr.parse().unwrap());
        assert!(is_own(&here, &[here]));
        assert!(!is_own(&here, &[here, elsewhere]) && !is_own(&here, &[]));
    }
}
