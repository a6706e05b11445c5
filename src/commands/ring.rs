//! The classroom ring: the assignment's commands, its lines on standard output, everything else on standard error.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use kadring::config::Config;
use kadring::console::answers::{Answers, Sink};
use kadring::console::beside::Jobs;
use kadring::console::classroom::{self, Lines, MARK, number};
use kadring::console::perform::{Performer, resolve};
use kadring::console::terminal::{self, Restore, Stdin};
use kadring::console::{Console, End, Format, Output, Reply, Screen, json};
use kadring::id::Id;
use kadring::network::NetworkName;
use kadring::node::{Answer, Command, Notice};
use kadring::overlay::{OverlayKind, RingOptions, RouteNotice};
use kadring::peer::Peer;
use kadring::runtime::survey::Surveyor;
use kadring::runtime::{Keyring, LastAct, LocalPeer, Options, StartError, since_1970, temporary_folder, waits};
use signal_hook::consts::SIGINT;
use signal_hook::low_level;
use tempfile::TempDir;

use super::client::tell_trouble;
use super::console_thread::{Above, ConsoleThread, edit};
use super::{Exit, Failed, end_in_a_while, events, log_to, ready};
use crate::args::{PeerName, RingArgs, RingTask, RingWays};

/// What the console says waits to be told in so many lines at most; the console waits then.
const SAID: usize = 64;

/// What Ctrl-D is answered with.
const ON_CTRL_D: &str = "Ctrl-D does not end this peer, and it reads on: Quit leaves the ring, Ctrl-C ends it at once";

/// Runs a peer of the classroom ring until it is told to quit.
pub(crate) fn run(args: RingArgs) -> anyhow::Result<Exit> {
    let (RingTask::Init { ways, .. } | RingTask::Join { ways, .. }) = &args.task;
    let format = ways.format.format();
    run_in(&args.task, ways, format).or_else(|error| tell_trouble(error, format, io::stdout()))
}

fn run_in(task: &RingTask, ways: &RingWays, format: Format) -> anyhow::Result<Exit> {
    let screen = Screen::stderr();
    let input = terminal::stdin_is();
    // Where standard error goes elsewhere, a program may read the lines: they come without anything of an editor.
    let edited = input == Stdin::Person && format == Format::Text && io::stderr().is_terminal();
    let level = match (ways.verbose, input) {
        (true, _) => "kadring=debug,warn",
        (_, Stdin::Person) => "info",
        _ => "warn",
    };
    log_to(&screen, level);
    if let Some(path) = &ways.ready_file {
        ready::forget(path)?;
    }
    let place = Place::new(task)?;
    let store = temporary_folder();
    let store = store.map_err(|error| Failed::start(format!("cannot make a temporary folder: {error}")))?;
    let restore = Arc::new(edited.then(Restore::new));
    let events = ways.events.as_deref().map(events::to).transpose()?;
    let options = Options { on_abrupt_end: Some(last_act(&store, &restore)), events, ..place.options(ways, &store) };
    let of = (ways.network.name, ways.network.keys().map_err(Failed::usage)?);
    let network = (of.1.is_some(), of.0);
    let options = Options { keys: of.1.clone(), ..options };
    let (peer, notices) = LocalPeer::start_watched(options).map_err(|error| match error {
        StartError::PortInUse { addr, protocol } => Failed::start(place.who_is_there(addr, protocol, of.clone())),
        error => Failed::start(error),
    })?;
    let _shown = peer.handle().show_thread("main");
    let lines = Lines { me: peer.me(), quiet_pings: ways.quiet_pings };
    let mut output = RingOutput::new(lines, format);
    output.until_joined(&notices, &place)?;
    if let Some(now) = peer.ready(Some(Duration::ZERO)) {
        let announced = ready::announce(&now, network, ways.ready_file.as_deref())?;
        if format == Format::Json {
            output.output.line(&json::ready(&announced, since_1970()));
        }
    }
    let (replies, console_replies) = bounded(SAID);
    if input == Stdin::Background {
        log::warn!("no commands are read: the terminal belongs to another process");
    } else {
        let grammar = classroom::grammar();
        let (editor, above) = if edited { edit(&grammar, None, None, &screen, &place.name()) } else { (None, None) };
        if above.is_some() {
            output.go_above_prompt(&screen);
        }
        output.above = above;
        let performer = Performer::new(peer.handle(), screen).with_jobs(Jobs::default());
        let console = Console::new(performer, grammar, Answers::new(Arc::new(Handed(replies)))).ended_by_ctrl_c();
        let thread = ConsoleThread { console, editor, exit_on_eof: false, on_ctrl_d: ON_CTRL_D };
        peer.handle().spawn_console(move || end(thread)).context("cannot start the console's thread")?;
    }
    output.until_left(&notices, console_replies);
    let exit = Exit::from(peer.wait());
    end_in_a_while(exit as i32);
    Ok(exit)
}

/// What is left to do once the console has ended.
fn end(thread: ConsoleThread) {
    match thread.run() {
        // The reader of the peer's last lines may be stuck.
        Some((End::Left, _)) => end_in_a_while(Exit::Done as i32),
        Some((End::Interrupted, _)) => drop(low_level::raise(SIGINT)),
        _ => {}
    }
}

/// SIGTERM or SIGHUP makes the peer leave without a handover: its successor has a copy of what it keeps. Any other signal,
/// and a second one, is the assignment's abrupt departure: the process only removes its temporary folder, puts the
/// terminal back and ends at once.
fn last_act(store: &TempDir, restore: &Arc<Option<Restore>>) -> LastAct {
    let (store, restore) = (store.path().to_owned(), Arc::clone(restore));
    LastAct(Arc::new(move |signal| {
        // The process ends even if the disk does not answer.
        end_in_a_while(128 + signal);
        let _ = fs::remove_dir_all(&store);
        if let Some(restore) = &*restore {
            restore.put_back();
        }
    }))
}

/// What the main thread waits for; none of its kind comes any more.
enum Came {
    Notice(Option<Notice>),
    Reply(Option<ConsoleReply>),
    Line(Option<String>),
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
    fn who_is_there(&self, addr: SocketAddr, protocol: &str, of: (NetworkName, Option<Arc<Keyring>>)) -> String {
        let me = self.name();
        let Ok(there) = Surveyor::new(&[addr], None, of) else {
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
            config: Config {
                named_files: true,
                // It keeps files by their names, and no blocks.
                scrub: None,
                network: ways.network.name,
                ..Config::default()
            },
            files: Some(ways.dir.clone()),
            max_file: ways.max_file.as_u64(),
            record: ways.record.clone(),
            on_signal: Some(Command::Quit { handover: false }),
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
    format: Format,
    /// With the assignment's mark before each line, where lines are for people.
    output: Output,
    /// Without it.
    plain: Output,
    /// What is to be printed above the prompt, where there is one.
    above: Option<Above>,
    /// This peer has left: told last, and to programs alone.
    left: Option<Answer>,
}

impl RingOutput {
    fn new(lines: Lines, format: Format) -> Self {
        let output = match format {
            Format::Text => Output::new(format, Marked(io::stdout())),
            Format::Json => Output::new(format, io::stdout()),
        };
        Self { lines, format, output, plain: Output::new(format, io::stdout()), above: None, left: None }
    }

    /// From now on there is a prompt below all that is written.
    fn go_above_prompt(&mut self, screen: &Arc<Screen>) {
        self.output = Output::new(self.format, Marked(AbovePrompt(Arc::clone(screen))));
        self.plain = Output::new(self.format, AbovePrompt(Arc::clone(screen)));
    }

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
        let (mut printed, mut printer) = self.above.take().map_or((never(), None), |(lines, to)| (lines, Some(to)));
        let mut print = |line: String| {
            if let Some(printer) = &mut printer
                && let Err(error) = printer.print(line)
            {
                log::debug!("a line was lost: {error}");
            }
        };
        loop {
            let came = waits(|| {
                select! {
                    recv(notices) -> notice => Came::Notice(notice.ok()),
                    recv(replies) -> reply => Came::Reply(reply.ok()),
                    recv(printed) -> line => Came::Line(line.ok()),
                }
            });
            match came {
                Came::Notice(Some(notice)) => self.tell(&notice),
                Came::Notice(None) => break,
                Came::Reply(Some(reply)) => {
                    // The node sent the notices that led to an answer before the answer: write them first.
                    notices.try_iter().for_each(|notice| self.tell(&notice));
                    self.say(&reply);
                }
                Came::Reply(None) => replies = never(),
                Came::Line(Some(line)) => print(line),
                Came::Line(None) => printed = never(),
            }
        }
        replies.try_iter().for_each(|reply| self.say(&reply));
        if let Some(left) = self.left.take().filter(|_| self.format == Format::Json) {
            self.plain.reply(&Reply::Node(left));
        }
        printed.try_iter().for_each(print);
    }

    /// Writes a reply of the console. The assignment's lines have told of its own commands already, so for people their
    /// success is but logged, and that this peer has left is told last.
    fn say(&mut self, (job, reply): &ConsoleReply) {
        match reply {
            Reply::Node(Answer::Left { .. }) => {}
            _ if self.format == Format::Json => self.plain.reply_of(*job, reply),
            Reply::Node(Answer::FileStored { file, at, bytes, .. }) => {
                let size =
                    bytes.map_or_else(|| "empty, there is none here".to_owned(), |bytes| format!("{bytes} bytes"));
                log::info!("file {file} is kept by peer {} ({size})", number(&at.id));
            }
            Reply::Node(Answer::FileReceived { file, from, bytes, sha256, .. }) => {
                log::info!("file {file} came from peer {}, {bytes} bytes, SHA-256 {sha256}", number(&from.id));
            }
            reply if reply.failure().is_some() => self.output.reply_of(*job, reply),
            reply => self.plain.reply_of(*job, reply),
        }
    }

    fn tell(&mut self, notice: &Notice) {
        let lines = self.lines.of(notice);
        if lines.is_empty() {
            match notice {
                Notice::Joined { peers } => log::info!("peer {} is in the ring; {peers} peers known", self.me()),
                Notice::Answer { answer: left @ Answer::Left { .. }, .. } => self.left = Some(left.clone()),
                Notice::Trouble { .. } => {} // It stands in the log already.
                other => log::debug!("{other:?}"),
            }
        }
        for line in lines {
            match self.format {
                Format::Text => self.output.line(&line),
                Format::Json => self.output.line(&json::line(&line, since_1970())),
            }
        }
    }

    fn me(&self) -> String {
        number(&self.lines.me.id)
    }
}

/// Where lines go, each of which gets the assignment's mark in front.
struct Marked<W>(W);

impl<W: Write> Write for Marked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut marked = Vec::with_capacity(bytes.len() + 16);
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            marked.extend_from_slice(MARK.as_bytes());
            marked.extend_from_slice(line);
        }
        self.0.write_all(&marked)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The part of a terminal above the prompt.
struct AbovePrompt(Arc<Screen>);

impl Write for AbovePrompt {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.print(&String::from_utf8_lossy(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reply of the console, and the number of its command if that ran beside others. One thread alone writes standard
/// output, so that lines stand in the order of the events that they tell.
type ConsoleReply = (Option<u64>, Reply);

/// Hands the console's replies to the thread that writes them.
struct Handed(Sender<ConsoleReply>);

impl Sink for Handed {
    fn reply(&self, job: Option<u64>, reply: &Reply) -> bool {
        // The receiver is gone once the peer has left.
        self.0.send((job, reply.clone())).is_ok()
    }

    fn line(&self, line: &str) {
        log::warn!("{line}");
    }

    /// Each name has its own answer, as soon as that is there.
    fn one_by_one(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{FormatArgs, NetworkArgs};

    #[test]
    fn the_peers_named_are_located_in_one_family_that_all_have() {
        let dir = ".".into();
        let ways = RingWays {
            dir,
            max_file: bytesize::ByteSize::gib(1),
            quiet_pings: false,
            verbose: false,
            fingers: false,
            ready_file: None,
            events: None,
            record: None,
            network: NetworkArgs::default(),
            format: FormatArgs::default(),
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
