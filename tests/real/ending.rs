//! How peers end: when they are told, whatever is missing or stuck; and by a fault of ours, never as half a peer.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Launch, PeerProcess, file, program, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, prlimit};
use tempfile::tempdir;

/// Who is told to end has ended by then, on a busy machine too; threads that are stuck have had their limits.
const SOON: Duration = Duration::from_secs(15);

/// A peer at rest that is told to end has ended by then; and one in the midst of transfers that hands nothing over.
const IDLE: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_secs(5);

fn address(peer: &PeerProcess) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], peer.port))
}

/// Tells a peer to end, and returns its exit code.
#[track_caller]
fn terminate(peer: &mut PeerProcess) -> Option<i32> {
    terminate_within(peer, SOON)
}

#[track_caller]
fn terminate_within(peer: &mut PeerProcess, limit: Duration) -> Option<i32> {
    let begin = Instant::now();
    peer.signal(Signal::SIGTERM);
    let code = peer.wait();
    assert!(begin.elapsed() < limit, "{:?}; it said: {}", begin.elapsed(), peer.said());
    code
}

#[test]
fn a_peer_without_a_descriptor_left_ends_when_told() {
    let folder = tempdir().expect("a temporary folder");
    let mut peer = Launch::new(folder.path().join("peer")).start();
    // From here on the system refuses it every new one: it has more than none. So it can accept no connection either.
    let pid = rustix::process::Pid::from_raw(peer.pid().cast_signed());
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    prlimit(pid, Resource::Nofile, none).expect("it runs, and is ours");
    let waiting = TcpStream::connect(address(&peer)).expect("it listens");
    assert_eq!(terminate(&mut peer), Some(0), "{}", peer.said());
    drop(waiting);
}

#[test]
fn a_peer_at_rest_ends_within_a_second() {
    let folder = tempdir().expect("a temporary folder");
    for (name, overlay, plain) in [("kad", "kad", false), ("ring", "ring", false), ("plain", "ring", true)] {
        let launch = Launch::new(folder.path().join(name)).args(&["--overlay", overlay]);
        let mut peer = if plain { launch.env("KADRING_PLAIN", "1") } else { launch }.start();
        assert_eq!(terminate_within(&mut peer, IDLE), Some(0), "{}", peer.said());
    }
}

#[test]
fn peers_in_the_midst_of_transfers_end_within_five_seconds_without_a_handover() {
    let folder = tempdir().expect("a temporary folder");
    let mut peers = crate::support::cluster(&folder, 2, &["--no-handover"]);
    let (path, _) = file(&folder, "original", 1, 150_000_000);
    peers[1].tell(&format!("store '{}'", path.display()));
    until(|| peers[0].blocks().len() > 3);
    // One gives and has an answer to write, that of a store which was cut short; the other takes.
    assert_eq!(terminate_within(&mut peers[1], BUSY), Some(5), "{}", peers[1].said());
    assert_eq!(terminate_within(&mut peers[0], BUSY), Some(0), "{}", peers[0].said());
}

#[test]
fn a_client_whose_answer_nobody_takes_ends_when_told() {
    let folder = tempdir().expect("a temporary folder");
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (path, _) = file(&folder, "original", 1, 1_000_000);
    let key = peer.store(&path);
    let bootstrap = address(&peer).to_string();
    fs::create_dir(folder.path().join("tmp")).expect("the folder is writable");
    let mut client = program()
        .args(["retrieve", &key, "-", "--bootstrap", &bootstrap])
        .env("TMPDIR", folder.path().join("tmp"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // One byte shows that it writes; the pipe takes a part of the rest.
    client.stdout.as_mut().expect("it is piped").read_exact(&mut [0]).expect("it writes");
    let begin = Instant::now();
    kill(Pid::from_raw(i32::try_from(client.id()).expect("a process id")), Signal::SIGTERM).expect("it runs");
    until(|| !matches!(client.try_wait(), Ok(None)));
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let left = fs::read_dir(folder.path().join("tmp")).expect("it is there").count();
    assert_eq!(left, 0, "something of it stays");
}

/// What a fault in each role brings about; a build for release raises none.
#[cfg(debug_assertions)]
mod faults {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use kadring::runtime::Role;
    use serde_json::Value;
    use tempfile::TempDir;

    use super::*;

    /// A peer in whose thread of a role a fault waits, and what was stored there before.
    struct Case {
        role: Role,
        folder: TempDir,
        peer: PeerProcess,
        key: String,
        original: Vec<u8>,
        /// The ring's other peer.
        _other: Option<PeerProcess>,
    }

    impl Case {
        fn new(role: Role, fault: &str) -> Self {
            let folder = tempdir().expect("a temporary folder");
            let (path, original) = file(&folder, "original", 1, 300_000);
            let data = folder.path().join("peer");
            let mut before = Launch::new(&data).args(overlay(role)).start();
            let key = before.store(&path);
            assert_eq!(terminate(&mut before), Some(0));
            let other =
                (role == Role::Link).then(|| Launch::new(folder.path().join("other")).args(overlay(role)).start());
            let mut launch = Launch::new(&data).args(overlay(role)).env("KADRING_FAULT", fault);
            if role == Role::Recorder {
                launch = launch.args(&["--record", text(&folder.path().join("record"))]);
            }
            if role == Role::Events {
                launch = launch.args(&["--events", text(&folder.path().join("events"))]);
            }
            if let Some(other) = &other {
                launch = launch.through(other.port);
            }
            Self { role, peer: launch.start(), folder, key, original, _other: other }
        }

        /// Lets the thread do what it is there for. What comes of it is another matter.
        fn work(&mut self) {
            let addr = address(&self.peer);
            match self.role {
                Role::Node | Role::Recorder | Role::Console => self.peer.tell("status"),
                // Its silence has a time limit.
                Role::Sweeper => self.peer.tell("ping 127.0.0.1:9"),
                Role::UdpRecv => drop(
                    program().args(["ping", &addr.to_string()]).stdout(Stdio::null()).stderr(Stdio::null()).status(),
                ),
                Role::TcpAccept => drop(TcpStream::connect(addr)),
                Role::TcpServe => assert_eq!(request(addr, &self.key), ""),
                Role::Transfer => {
                    self.peer.tell(&format!("store '{}'", text(&self.folder.path().join("original"))));
                }
                Role::Signals => self.peer.signal(Signal::SIGTERM),
                // It had to, to join, or began at once.
                Role::Link | Role::Events | Role::Renewer | Role::Looker => {}
                Role::Control | Role::Client | Role::Command => {
                    let mut client = UnixStream::connect(self.peer.data.join("control")).expect("it listens");
                    client.write_all(b"{\"words\":[\"status\"],\"folder\":\"/\"}\n").expect("it reads");
                }
            }
        }

        /// The peer has ended, said why, and what it held is in order.
        fn assert_ended(mut self) {
            let name = self.role.name();
            assert_eq!(self.peer.wait(), Some(1), "{name}: {}", self.peer.said());
            let said = self.peer.said();
            assert!(said.contains(&format!("the thread {name} failed: ")) && said.contains("the peer ends"), "{said}");
            let held = self.peer.blocks();
            let mut again = Launch::new(&self.peer.data).start();
            assert_eq!(again.blocks(), held);
            again.retrieve(&self.key, &self.folder.path().join("back"), &self.original);
        }

        /// The peer goes on as if nothing had been.
        fn assert_goes_on(mut self) {
            let (name, addr) = (self.role.name(), address(&self.peer));
            let (path, second) = file(&self.folder, "second", 2, 300_000);
            let key = self.peer.store(&path);
            self.peer.retrieve(&key, &self.folder.path().join("second back"), &second);
            self.peer.retrieve(&self.key, &self.folder.path().join("back"), &self.original);
            assert!(request(addr, &self.key).starts_with(char::is_numeric), "{name} serves no block");
            until(|| self.peer.said().contains("a fault for a test"));
            // Of the commands here only the store failed whose worker panicked.
            let failed = i32::from(self.role == Role::Transfer);
            assert_eq!(terminate(&mut self.peer), Some(failed), "{name}: {}", self.peer.said());
        }
    }

    fn overlay(role: Role) -> &'static [&'static str] {
        if role == Role::Link { &["--overlay", "ring"] } else { &[] }
    }

    fn text(path: &Path) -> &str {
        path.to_str().expect("a temporary folder's name is text")
    }

    /// The first line that answers a request for a block; empty if the connection ends first.
    fn request(addr: SocketAddr, key: &str) -> String {
        let mut stream = TcpStream::connect(addr).expect("it listens");
        let mut line = String::new();
        if writeln!(stream, "{key}").is_ok() {
            let _ = BufReader::new(stream).read_line(&mut line);
        }
        line
    }

    /// Does something about each of them, all at once.
    fn for_each(roles: impl Iterator<Item = Role>, check: impl Fn(Role) + Sync) {
        let check = &check;
        std::thread::scope(|scope| roles.for_each(|role| drop(scope.spawn(move || check(role)))));
    }

    #[test]
    fn a_panic_in_any_role_leaves_a_whole_peer_or_none() {
        for_each(Role::ALL.into_iter(), |role| {
            let mut case = Case::new(role, role.name());
            case.work();
            match role {
                Role::Transfer => {
                    let answer: Value = serde_json::from_str(&case.peer.line()).expect("JSON");
                    let reason = answer["reason"].as_str().unwrap_or_default();
                    assert_eq!(answer["answer"], "failed", "{answer}");
                    assert!(reason.contains("a fault of kadring"), "{answer}");
                    case.assert_goes_on();
                }
                Role::TcpServe | Role::Link | Role::Events | Role::Client | Role::Command | Role::Looker => {
                    case.assert_goes_on();
                }
                Role::Node
                | Role::UdpRecv
                | Role::Sweeper
                | Role::TcpAccept
                | Role::Signals
                | Role::Recorder
                | Role::Console
                | Role::Renewer
                | Role::Control => case.assert_ended(),
            }
        });
    }

    #[test]
    fn a_thread_that_is_stuck_is_left_behind_by_a_peer_that_is_told_to_end() {
        // Whom a signal is to reach must not be stuck: the thread that waits for it and the one that it asks.
        let heard = |role: &Role| !matches!(role, Role::Signals | Role::Node);
        for_each(Role::ALL.into_iter().filter(heard), |role| {
            let mut case = Case::new(role, &format!("{}:stuck", role.name()));
            if role == Role::TcpServe {
                writeln!(TcpStream::connect(address(&case.peer)).expect("it listens"), "{}", case.key)
                    .expect("it reads");
            } else {
                case.work();
            }
            let name = role.name();
            until(|| case.peer.said().contains(&format!("waits for ever in {name}")));
            let expected = match role {
                // Who waits for one of these is a command, which the signal cuts short.
                Role::Transfer | Role::Sweeper => 5,
                // Whether its last answer was written is not known.
                Role::Console => 1,
                _ => 0,
            };
            assert_eq!(terminate(&mut case.peer), Some(expected), "{name}: {}", case.peer.said());
            // Nobody waits for a console, as it may be in a read.
            let named =
                case.peer.said().contains(&format!("left behind, stuck in what never returns: the threads {name}"));
            assert!(named || role == Role::Console, "{}", case.peer.said());
        });
    }
}
