//! The classroom ring: the assignment's commands, its lines on standard output, everything else on standard error.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use kadring::config::Config;
use kadring::console::classroom::{self, Lines, MARK, number};
use kadring::console::lines::{Line, read_line, standard_input};
use kadring::console::perform::{Performer, resolve};
use kadring::console::spec::Request;
use kadring::console::terminal::{self, Stdin};
use kadring::console::{Backend, Format, Grammar, Output, Reply, Screen};
use kadring::id::Id;
use kadring::node::{Answer, Command, FailureKind, Notice};
use kadring::overlay::{OverlayKind, RingOptions, RouteNotice};
use kadring::peer::Peer;
use kadring::runtime::survey::Surveyor;
use kadring::runtime::{Handle, LocalPeer, Options, StartError, ending_signals, temporary_folder};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use super::{Exit, Failed, end_in_a_while, log_to, ready};
use crate::args::{PeerName, RingArgs, RingTask, RingWays};

/// What the console says waits to be told in so many lines at most; the console waits then.
const SAID: usize = 64;

/// Runs a peer of the classroom ring until it is told to quit.
pub(crate) fn run(args: RingArgs) -> anyhow::Result<Exit> {
    let screen = Screen::stderr();
    let input = terminal::stdin_is();
    let (RingTask::Init { ways, .. } | RingTask::Join { ways, .. }) = &args.task;
    let level = match (ways.verbose, input) {
        (true, _) => "kadring=debug,warn",
        (_, Stdin::Person) => "info",
        _ => "warn",
    };
    log_to(&screen, level);
    if let Some(path) = &ways.ready_file {
        ready::forget(path)?;
    }
    let place = Place::new(&args.task)?;
    let store = temporary_folder();
    let store = store.map_err(|error| Failed::start(format!("cannot make a temporary folder: {error}")))?;
    let told_by_signal = end_by_signal(&store).context("cannot watch for signals")?;
    let (peer, notices) = LocalPeer::start_watched(place.options(ways, &store)).map_err(|error| match error {
        StartError::PortInUse { addr, protocol } => Failed::start(place.who_is_there(addr, protocol)),
        error => Failed::start(error),
    })?;
    let _ = told_by_signal.set(peer.handle());
    let lines = Lines { me: peer.me(), quiet_pings: ways.quiet_pings };
    let mut output = RingOutput { lines, output: Output::new(Format::Text, Marked) };
    output.until_joined(&notices, &place)?;
    if let Some(now) = peer.ready(Some(Duration::ZERO)) {
        ready::announce(&now, ways.ready_file.as_deref())?;
    }
    let (replies, console_replies) = bounded(SAID);
    if input == Stdin::Background {
        log::warn!("no commands are read: the terminal belongs to another process");
    } else {
        let performer = Performer::new(HandleAndSignals(peer.handle()), screen);
        let console = RingConsole { performer, grammar: classroom::grammar(), replies };
        peer.handle().spawn_console(move || console.run()).context("cannot start the console's thread")?;
    }
    output.until_left(&notices, console_replies);
    let exit = Exit::from(peer.wait());
    end_in_a_while(exit as i32);
    Ok(exit)
}

/// SIGTERM or SIGHUP makes the peer, once it is set, leave without a handover: its successor has a copy of what it keeps. Any
/// other signal, and a second one, is the assignment's abrupt departure: the process only removes its temporary
/// folder and ends at once.
fn end_by_signal(store: &TempDir) -> io::Result<Arc<OnceLock<Handle>>> {
    let mut signals = Signals::new(ending_signals())?;
    let store = store.path().to_owned();
    let peer = Arc::new(OnceLock::<Handle>::new());
    let to_tell = Arc::clone(&peer);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut told = false;
        for signal in signals.forever() {
            if let (SIGTERM | SIGHUP, false, Some(peer)) = (signal, told, to_tell.get()) {
                // The peer's notices tell how it ends.
                drop(peer.submit(Command::Quit { handover: false }));
                told = true;
                continue;
            }
            // The process ends even if the disk does not answer.
            end_in_a_while(128 + signal);
            let _ = std::fs::remove_dir_all(&store);
            log::logger().flush();
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(peer)
}

/// This peer's place in the ring, and the peers that it is given.
struct Place {
    me: Peer,
    interval: Duration,
    given: Vec<Peer>,
    /// The peer to join through.
    known: Option<Peer>,
    /// All addresses of that peer's name that this peer can reach.
    known_at: Vec<SocketAddr>,
}

impl Place {
    fn new(task: &RingTask) -> Result<Self, Failed> {
        match task {
            RingTask::Init { peer, first, second, interval, ways } => {
                let [me, first, second] = locate([peer, first, second], ways)?.map(|(peer, _)| peer);
                let mut given: Vec<Peer> = Vec::new();
                for other in [first, second] {
                    if other.id != me.id && !given.iter().any(|known| known.id == other.id) {
                        given.push(other);
                    }
                }
                Ok(Self { me, interval: *interval, given, known: None, known_at: Vec::new() })
            }
            RingTask::Join { peer, known, interval, ways } => {
                let [(me, _), (known, known_at)] = locate([peer, known], ways)?;
                if me.addr == known.addr {
                    return Err(Failed::usage("a peer cannot join through itself; name one that is in the ring"));
                }
                if me.id == known.id {
                    let reason = format!("the id {} is taken by the peer to join through", number(&me.id));
                    return Err(Failed::start(reason));
                }
                Ok(Self { me, interval: *interval, given: Vec::new(), known: Some(known), known_at })
            }
        }
    }

    fn name(&self) -> String {
        number(&self.me.id)
    }

    /// Why this peer cannot have its port: asks which peer answers there.
    fn who_is_there(&self, addr: SocketAddr, protocol: &str) -> String {
        let me = self.name();
        let Ok(there) = Surveyor::new(&[addr], None) else {
            let port = addr.port();
            return format!(
                "peer {me} cannot start: {protocol} port {port} of {} is held by a process that does not answer as a peer \
                 does; end it ('ss -lntup sport = :{port}' names it), or start this peer elsewhere, as {me}@HOST:PORT",
                addr.ip(),
            );
        };
        match Some(there.target().id).filter(|_| there.overlay() == OverlayKind::Ring) {
            Some(id) if id == self.me.id => format!("peer {me} runs already, at {addr}"),
            Some(id) => format!("peer {me} cannot start: peer {} of a ring has its port, {addr}", number(&id)),
            None => format!("peer {me} cannot start: a peer of another network has its port, {addr}"),
        }
    }

    fn options(&self, ways: &RingWays, store: &TempDir) -> Options {
        let ring = RingOptions { fingers: ways.fingers, ..RingOptions::classroom(self.interval, self.given.clone()) };
        Options {
            bind: self.me.addr,
            data: Some(store.path().to_owned()),
            id: Some(self.me.id),
            bootstrap: self.known_at.clone(),
            overlay: OverlayKind::Ring,
            ring: Some(ring),
            config: Config { named_files: true, ..Config::default() },
            files: Some(ways.dir.clone()),
            record: ways.record.clone(),
            ..Options::default()
        }
    }
}

/// The peers that are named, and each one's addresses. A socket on one address speaks to those of its family, so the
/// family is one that all names have: the older if there is a choice, which is that of peers named by numbers alone.
fn locate<const N: usize>(names: [&PeerName; N], ways: &RingWays) -> Result<[(Peer, Vec<SocketAddr>); N], Failed> {
    let mut found = Vec::new();
    for name in names {
        found.push(match &name.at {
            None => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, ways.base_port + u16::from(name.id)))],
            Some(host_port) => resolve(host_port).map_err(Failed::start)?,
        });
    }
    let all_have = |v4: bool| found.iter().all(|addrs| addrs.iter().any(|addr| addr.is_ipv4() == v4));
    let Some(v4) = [true, false].into_iter().find(|&v4| all_have(v4)) else {
        let reason = "the peers named have addresses of different families; name them by addresses of one";
        return Err(Failed::start(reason));
    };
    let mut found = found.into_iter();
    Ok(names.map(|name| {
        let addrs: Vec<SocketAddr> = found.next().into_iter().flatten().filter(|addr| addr.is_ipv4() == v4).collect();
        (Peer::new(Id::from_u64(name.id.into()), addrs[0]), addrs)
    }))
}

/// Writes standard output: the assignment's lines, and the answers of other commands.
struct RingOutput {
    lines: Lines,
    output: Output,
}

impl RingOutput {
    /// Writes the lines of notices until this peer is in the ring.
    fn until_joined(&mut self, notices: &Receiver<Notice>, place: &Place) -> Result<(), Failed> {
        let mut refused = None;
        for notice in notices {
            self.tell(&notice);
            match (notice, &place.known) {
                (Notice::Route { route: RouteNotice::JoinRefused { reason } }, _) => refused = Some(reason),
                (Notice::Joined { peers: 0 }, Some(known)) => {
                    let (me, number) = (place.name(), number(&known.id));
                    return Err(match refused {
                        Some(reason) => Failed::start(format!("peer {me} was not let into the ring: {reason}")),
                        None => Failed::timed_out(format!(
                            "peer {me} cannot join: peer {number} does not answer at {}; is it running?",
                            known.addr
                        )),
                    });
                }
                // It may have been told to leave before it was in.
                (Notice::Joined { .. } | Notice::Answer { answer: Answer::Left { .. }, .. }, _) => return Ok(()),
                _ => {}
            }
        }
        Err(Failed::start("this peer ended before it had joined"))
    }

    /// Writes the lines of notices, and the console's replies among them, until this peer has left.
    fn until_left(&mut self, notices: &Receiver<Notice>, mut replies: Receiver<ConsoleReply>) {
        loop {
            select! {
                recv(notices) -> notice => match notice {
                    Ok(notice) => self.tell(&notice),
                    Err(_) => break,
                },
                recv(replies) -> reply => match reply {
                    Ok(reply) => {
                        // The node sent the notices that led to an answer before the answer: write them first.
                        notices.try_iter().for_each(|notice| self.tell(&notice));
                        self.say(&reply);
                    }
                    Err(_) => replies = never(),
                },
            }
        }
        replies.try_iter().for_each(|reply| self.say(&reply));
    }

    fn say(&mut self, reply: &ConsoleReply) {
        match reply {
            ConsoleReply::Failed(reply) => self.output.reply(reply),
            ConsoleReply::Answered(reply) => Output::new(Format::Text, io::stdout()).reply(reply),
        }
    }

    fn tell(&mut self, notice: &Notice) {
        let lines = self.lines.of(notice);
        if lines.is_empty() {
            match notice {
                Notice::Joined { peers } => log::info!("peer {} is in the ring; {peers} peers known", self.me()),
                Notice::Trouble { .. } => {} // It stands in the log already.
                other => log::debug!("{other:?}"),
            }
        }
        for line in lines {
            self.output.line(&line);
        }
    }

    fn me(&self) -> String {
        number(&self.lines.me.id)
    }
}

/// Standard output; each line begins with the assignment's mark.
struct Marked;

impl Write for Marked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut marked = Vec::with_capacity(bytes.len() + 16);
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            marked.extend_from_slice(MARK.as_bytes());
            marked.extend_from_slice(line);
        }
        io::stdout().write_all(&marked)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// A reply of the console for standard output. One thread alone prints there, so that lines stand in the order of the
/// events that they tell.
enum ConsoleReply {
    /// A failure, written with the assignment's mark.
    Failed(Reply),
    /// The answer of a command that is not the assignment's.
    Answered(Reply),
}

/// A peer's handle that counts the program's own thread `signals` among the threads.
struct HandleAndSignals(Handle);

impl Backend for HandleAndSignals {
    fn submit(&self, command: Command) -> Receiver<Notice> {
        Backend::submit(&self.0, command)
    }

    fn threads(&self) -> Vec<String> {
        let mut threads = Backend::threads(&self.0);
        threads.push("signals".to_owned());
        threads
    }
}

/// Reads commands. The assignment's lines come from the peer's notices; the console adds only failures and the answers
/// of other commands.
struct RingConsole {
    performer: Performer<HandleAndSignals>,
    grammar: Grammar,
    replies: Sender<ConsoleReply>,
}

impl RingConsole {
    fn run(self) {
        let mut input = match standard_input(false) {
            Ok(input) => input,
            Err(error) => return log::error!("commands cannot be read, but this peer stays: {error}"),
        };
        loop {
            let line = match read_line(&mut input) {
                Ok(Line::Text(line)) => line,
                Ok(Line::Bad(reason)) => {
                    self.fail(Reply::failed(FailureKind::Usage, reason));
                    continue;
                }
                Ok(Line::End) if terminal::reads_on() => {
                    log::warn!(
                        "Ctrl-D does not end this peer, and it reads on: Quit leaves the ring, Ctrl-C ends it at once"
                    );
                    continue;
                }
                Ok(Line::End) => return log::info!("the input has ended; this peer stays until it gets a signal"),
                Err(error) => return log::error!("commands are no longer read, but this peer stays: {error}"),
            };
            let reply = match self.grammar.parse(&line) {
                Ok(None) => continue,
                Ok(Some((_, Request::All(commands)))) => {
                    for command in commands {
                        self.confirm(Reply::Node(self.performer.ask(command)));
                    }
                    continue;
                }
                Ok(Some((_, Request::Help(word)))) => Reply::help(&self.grammar, word.as_deref()),
                Ok(Some((_, request))) => self.performer.perform(request),
                Err(error) => Reply::failed(FailureKind::Usage, error.to_string()),
            };
            match reply {
                // The reader of the peer's last lines may be stuck.
                Reply::Node(Answer::Left { .. }) => return end_in_a_while(Exit::Done as i32),
                reply if reply.failure().is_some() => self.fail(reply),
                reply => self.say(ConsoleReply::Answered(reply)),
            }
        }
    }

    /// Reports a success in the log, since the assignment's lines have told it already.
    fn confirm(&self, reply: Reply) {
        match reply {
            Reply::Node(Answer::FileStored { file, at, bytes, .. }) => {
                let size =
                    bytes.map_or_else(|| "empty, there is none here".to_owned(), |bytes| format!("{bytes} bytes"));
                log::info!("file {file} is kept by peer {} ({size})", number(&at.id));
            }
            Reply::Node(Answer::FileReceived { file, from, bytes, sha256, .. }) => {
                log::info!("file {file} came from peer {}, {bytes} bytes, SHA-256 {sha256}", number(&from.id));
            }
            reply => self.fail(reply),
        }
    }

    fn fail(&self, reply: Reply) {
        self.say(ConsoleReply::Failed(reply));
    }

    fn say(&self, reply: ConsoleReply) {
        // The receiver is gone once the peer has left.
        let _ = self.replies.send(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_named_are_located_in_one_family_that_all_have() {
        let dir = ".".into();
        let ways = RingWays {
            dir,
            quiet_pings: false,
            verbose: false,
            fingers: false,
            ready_file: None,
            record: None,
            base_port: 12_000,
        };
        let name = |id, at: Option<&str>| PeerName { id, at: at.map(str::to_owned) };
        let [one, two, three] = [name(1, None), name(2, Some("127.0.0.2:5")), name(3, Some("[::1]:6"))];
        let [(first, _), (second, at)] = locate([&one, &two], &ways).unwrap();
        assert_eq!((first.addr.port(), second.addr, at), (12_001, "127.0.0.2:5".parse().unwrap(), vec![second.addr]));
        assert!(locate([&three, &three], &ways).is_ok_and(|[(_, at), _]| at[0].is_ipv6()));
        let error = locate([&one, &three], &ways).unwrap_err();
        assert!(error.to_string().contains("families"), "{error}");
    }
}
