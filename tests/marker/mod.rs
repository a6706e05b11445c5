//! A marker for the classroom ring: starts real peers, and compares every line that each of them prints, pings apart,
//! with what the assignment says that it prints.
//!
//! The model is the assignment's circle of numbers and nothing else; it shares no code with the program. After each step
//! the lines of every peer must be exactly the expected ones, in order; a line too many shows up in the next step.

#![allow(unreachable_pub, reason = "the test file that uses it is the whole program")]
#![allow(clippy::disallowed_methods, reason = "a test has a deadline by the clock on the wall")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{program, until};

/// The slowest step is the detection of a death, which the assignment wants within a minute.
const LIMIT: Duration = Duration::from_secs(60);

/// What stands at the ends of a peer's input and output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    Pipes,
    Terminal,
}

/// How the peers of a ring are started.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub ends: Ends,
    /// All peers work in one directory.
    pub shared: bool,
    /// Seconds between pings.
    pub interval: &'static str,
    /// Requests take shortcuts, so they leave fewer lines than the assignment expects.
    pub fingers: bool,
}

impl Default for Way {
    fn default() -> Self {
        Self { ends: Ends::Pipes, shared: false, interval: "1", fingers: false }
    }
}

/// A running peer; killed when dropped.
pub struct Peer {
    child: Child,
    keys: Box<dyn Write>,
    lines: Shown,
    /// What else it shows: answers to other commands, and on a terminal what is typed.
    others: Shown,
    errors: PathBuf,
    reader: Option<JoinHandle<()>>,
    /// Lines, pings apart, that were compared already.
    seen: usize,
}

/// A ring, its model, and where it works.
pub struct Ring {
    pub peers: BTreeMap<u8, Peer>,
    pub folder: TempDir,
    pub base: u16,
    way: Way,
}

/// Lines that a thread collects.
type Shown = Arc<Mutex<Vec<String>>>;

type Expected = BTreeMap<u8, Vec<String>>;

/// A range of 256 ports that nobody uses now, below those that the system gives out by itself.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 60).expect("it is small");
    loop {
        let number = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let base = 14_000 + (number % 60) * 256;
        let is_free =
            |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if (base..base + 256).all(is_free) {
            return base;
        }
    }
}

impl Peer {
    fn start(arguments: &[String], ends: Ends, errors: PathBuf) -> Self {
        let log = File::create(&errors).expect("the folder is writable");
        let mut command = program();
        command.args(arguments).stderr(log);
        let (child, keys, shown): (Child, Box<dyn Write>, Box<dyn Read + Send>) = match ends {
            Ends::Pipes => {
                let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
                let mut child = child.expect("the program starts");
                let (keys, shown) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
                (child, Box::new(keys), Box::new(shown))
            }
            Ends::Terminal => {
                let pty = openpty(None, None).expect("a terminal");
                let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
                let child = command.stdin(end()).stdout(end()).spawn().expect("the program starts");
                let master = File::from(pty.master);
                (child, Box::new(master.try_clone().expect("a descriptor")), Box::new(master))
            }
        };
        let (lines, others) = (Shown::default(), Shown::default());
        let (told, shown_else) = (Shown::clone(&lines), Shown::clone(&others));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(shown).lines() {
                let Ok(line) = line else { break };
                let line = line.trim_end();
                match line.strip_prefix("> ") {
                    Some(line) => told.lock().expect("nobody panics with it").push(line.to_owned()),
                    None => shown_else.lock().expect("nobody panics with it").push(line.to_owned()),
                }
            }
        });
        Self { child, keys, lines, others, errors, reader: Some(reader), seen: 0 }
    }

    /// Who stands where, as the peer's `table` says: its first predecessor, and its first and second successor.
    fn neighbours(&mut self) -> [Option<u8>; 3] {
        let others = Arc::clone(&self.others);
        let place = |label: &str| -> Option<u8> {
            let shown = others.lock().expect("nobody panics with it");
            let at = shown.iter().position(|line| line == label)?;
            shown.get(at + 1)?.split_whitespace().next()?.parse().ok()
        };
        others.lock().expect("nobody panics with it").clear();
        self.tell("table");
        // Its rows come in this order, so with this one all are there.
        until(|| place("successor 2").is_some());
        [place("predecessor 1"), place("successor 1"), place("successor 2")]
    }

    /// Types a line.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.keys, "{line}").and_then(|()| self.keys.flush()).expect("the peer reads");
    }

    /// Every line so far.
    pub fn all(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it").clone()
    }

    /// The lines since the last step, pings apart.
    fn fresh(&self) -> Vec<String> {
        self.all().into_iter().filter(|line| !line.starts_with("Ping ")).skip(self.seen).collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")), signal).expect("it runs");
    }

    /// Waits for the end of the process; its exit code, none if a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        until(|| !matches!(self.child.try_wait(), Ok(None)));
        self.child.wait().ok().and_then(|status| status.code())
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.keys = Box::new(std::io::sink());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Ring {
    /// Starts the peers `ids` as the assignment does, and waits until each was pinged by both of its predecessors.
    pub fn start(ids: &[u8], way: Way) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut ring = Self { peers: BTreeMap::new(), folder, base: free_ports(), way };
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        for (at, id) in ids.iter().enumerate() {
            let [first, second] = [1, 2].map(|step| ids[(at + step) % ids.len()].to_string());
            ring.launch(*id, &["init", &id.to_string(), &first, &second, way.interval]);
        }
        for id in ids {
            let (first, second) = (ring.successor(id, 1), ring.successor(id, 2));
            ring.await_line(id, &format!("Ping requests sent to Peers {first} and {second}"));
            for other in [first, second] {
                ring.await_line(id, &format!("Ping response received from Peer {other}"));
                ring.await_line(other, &format!("Ping request message received from Peer {id}"));
            }
        }
        ring.settle();
        ring.expect("start", Expected::new());
        ring
    }

    /// Starts a peer with these words of the command line.
    pub fn launch(&mut self, id: u8, words: &[&str]) {
        let dir = self.dir(id);
        fs::create_dir_all(&dir).expect("the folder is writable");
        let mut arguments = vec!["ring".to_owned()];
        arguments.extend(words.iter().map(|word| (*word).to_owned()));
        let (dir, base) = (dir.display().to_string(), self.base.to_string());
        arguments.extend(["--dir".to_owned(), dir, "--base-port".to_owned(), base]);
        if self.way.fingers {
            arguments.push("--fingers".to_owned());
        }
        let errors = self.folder.path().join(format!("{id}.err"));
        self.peers.insert(id, Peer::start(&arguments, self.way.ends, errors));
    }

    /// Where a peer works.
    pub fn dir(&self, id: u8) -> PathBuf {
        let name = if self.way.shared { "all".to_owned() } else { id.to_string() };
        self.folder.path().join(name)
    }

    pub fn peer(&mut self, id: u8) -> &mut Peer {
        self.peers.get_mut(&id).expect("it runs")
    }

    /// The peer `steps` after `id` on the circle.
    pub fn successor(&self, id: u8, steps: usize) -> u8 {
        let ids: Vec<u8> = self.peers.keys().copied().collect();
        let at = ids.iter().position(|other| *other == id).expect("it is in the ring");
        ids[(at + steps) % ids.len()]
    }

    pub fn predecessor(&self, id: u8, steps: usize) -> u8 {
        self.successor(id, self.peers.len() * steps - steps)
    }

    /// The peer responsible for a file.
    pub fn owner(&self, file: &str) -> u8 {
        let key = (file.parse::<u16>().expect("four digits") % 256) as u8;
        let mut ids = self.peers.keys();
        *ids.clone().find(|id| **id >= key).or_else(|| ids.next()).expect("somebody is there")
    }

    /// The peers from `from` up to the one before `to`.
    fn way_to(&self, from: u8, to: u8) -> Vec<u8> {
        let walk = (0..self.peers.len()).map(|step| self.successor(from, step));
        walk.take_while(|id| *id != to).collect()
    }

    fn await_line(&self, id: u8, line: &str) {
        let begin = Instant::now();
        while !self.peers[&id].all().iter().any(|other| other == line) {
            assert!(begin.elapsed() < LIMIT, "peer {id} never printed: {line}\n{}", self.shown());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Compares every peer's lines since the last step.
    #[track_caller]
    pub fn expect(&mut self, step: &str, mut expected: Expected) {
        let begin = Instant::now();
        for (id, peer) in &mut self.peers {
            let wanted = expected.remove(id).unwrap_or_default();
            while peer.fresh().len() < wanted.len() && begin.elapsed() < LIMIT {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            let fresh = peer.fresh();
            assert_eq!(fresh, wanted, "peer {id} after: {step}; it logged: {}", peer.said());
            peer.seen += fresh.len();
        }
        assert!(expected.is_empty(), "lines of peers that are gone: {expected:?}");
    }

    /// Waits until every peer knows its neighbours: then all requests take the way that the assignment shows.
    pub fn settle(&mut self) {
        let ids: Vec<u8> = self.peers.keys().copied().collect();
        for id in ids {
            let right = [self.predecessor(id, 1), self.successor(id, 1), self.successor(id, 2)].map(Some);
            let peer = self.peers.get_mut(&id).expect("it runs");
            until(|| peer.neighbours() == right);
        }
    }

    fn changed(&self, head: &str, first: u8, second: u8) -> Vec<String> {
        let new = if head.starts_with("Join request has") { "" } else { "new " };
        vec![
            head.to_owned(),
            format!("My {new}first successor is Peer {first}"),
            format!("My {new}second successor is Peer {second}"),
        ]
    }

    /// A new peer joins through `known`.
    pub fn join(&mut self, id: u8, known: u8) {
        self.launch(id, &["join", &id.to_string(), &known.to_string(), self.way.interval]);
        let before = self.predecessor(id, 1);
        let mut expected = Expected::new();
        // The path to whoever stands before the new one, which is not part of the ring yet.
        let joining = self.way_to(known, before).into_iter().filter(|other| *other != id);
        for other in joining {
            expected.entry(other).or_default().push(format!("Peer {id} Join request forwarded to my successor"));
        }
        let received = self.changed(&format!("Peer {id} Join request received"), id, self.successor(id, 1));
        expected.entry(before).or_default().extend(received);
        let told = self.changed("Successor Change request received", before, id);
        expected.entry(self.predecessor(id, 2)).or_default().extend(told);
        let accepted = self.changed("Join request has been accepted", self.successor(id, 1), self.successor(id, 2));
        expected.insert(id, accepted);
        self.expect(&format!("{id} joins through {known}"), expected);
        self.settle();
    }

    /// Both predecessors tell of a peer that is gone.
    fn gone(&mut self, id: u8, head: &str, step: &str) -> Peer {
        let (first, second) = (self.predecessor(id, 1), self.predecessor(id, 2));
        let peer = self.peers.remove(&id).expect("it runs");
        let mut expected = Expected::new();
        for other in [first, second] {
            expected.insert(other, self.changed(head, self.successor(other, 1), self.successor(other, 2)));
        }
        self.expect(step, expected);
        self.settle();
        peer
    }

    /// A peer quits; its exit code must be 0.
    pub fn quit(&mut self, id: u8, word: &str) {
        self.peer(id).tell(word);
        let mut peer = self.gone(id, &format!("Peer {id} will depart from the network"), &format!("{id} quits"));
        assert_eq!(peer.wait(), Some(0), "{}", peer.said());
        assert_eq!(peer.fresh(), [""; 0]);
    }

    /// A peer is killed.
    pub fn kill(&mut self, id: u8, signal: Signal) {
        self.peer(id).signal(signal);
        let mut peer = self.gone(id, &format!("Peer {id} is no longer alive"), &format!("{id} is killed"));
        assert_eq!(peer.wait(), None, "it was ended by the signal");
    }

    /// Stores a file at `at`, typed as `word`.
    pub fn store(&mut self, at: u8, file: &str, word: &str) {
        self.peer(at).tell(&format!("{word} {file}"));
        let owner = self.owner(file);
        let mut expected = Expected::new();
        for other in self.way_to(at, owner) {
            expected.insert(other, vec![format!("Store {file} request forwarded to my successor")]);
        }
        expected.insert(owner, vec![format!("Store {file} request accepted")]);
        self.expect(&format!("{at} stores {file}"), expected);
    }

    /// Requests a file at `at`, typed as `word`, and compares what comes with `content`.
    pub fn request(&mut self, at: u8, file: &str, word: &str, content: &[u8]) {
        let received = self.dir(at).join(format!("received_{file}.pdf"));
        let _ = fs::remove_file(&received);
        self.peer(at).tell(&format!("{word} {file}"));
        let owner = self.owner(file);
        let not_here = format!("Request for File {file} has been received, but the file is not stored here");
        let mut expected = Expected::new();
        for other in self.way_to(at, owner) {
            expected.insert(other, vec![not_here.clone()]);
        }
        let sending = [
            format!("File {file} is stored here"),
            format!("Sending file {file} to Peer {at}"),
            "The file has been sent".to_owned(),
        ];
        let receiving = [
            format!("Peer {owner} had File {file}"),
            format!("Receiving File {file} from Peer {owner}"),
            format!("File {file} received"),
        ];
        let step = format!("{at} requests {file}");
        if at == owner {
            // Two of its threads tell of the two ends at the same time.
            let mut wanted = [sending, receiving].concat();
            wanted.sort();
            until(|| self.peers[&at].fresh().len() >= wanted.len());
            let mut fresh = self.peers[&at].fresh();
            fresh.sort();
            assert_eq!(fresh, wanted, "peer {at} after: {step}");
            self.peer(at).seen += wanted.len();
        } else {
            expected.insert(owner, sending.to_vec());
            let mut lines = vec![format!("File request for {file} has been sent to my successor")];
            lines.extend(receiving);
            expected.insert(at, lines);
        }
        self.expect(&step, expected);
        assert!(fs::read(&received).expect("it was received") == content, "{file} came with other bytes");
    }

    /// A request that nobody can fulfil gets an answer where it was typed.
    pub fn request_in_vain(&mut self, at: u8, file: &str) {
        self.peer(at).tell(&format!("Request {file}"));
        let owner = self.owner(file);
        let not_here = format!("Request for File {file} has been received, but the file is not stored here");
        let mut expected = Expected::new();
        for other in self.way_to(at, owner).into_iter().chain([owner]) {
            expected.insert(other, vec![not_here.clone()]);
        }
        let mut lines = vec![format!("error: file {file} was not found: no peer of this ring has it")];
        lines.insert(
            0,
            if at == owner { not_here } else { format!("File request for {file} has been sent to my successor") },
        );
        expected.insert(at, lines);
        self.expect(&format!("{at} requests {file} in vain"), expected);
    }

    /// Puts a file into a peer's directory.
    pub fn put(&self, id: u8, file: &str, content: &[u8]) {
        fs::write(self.dir(id).join(format!("{file}.pdf")), content).expect("the folder is writable");
    }

    /// Whether a peer's directory has this file with this content.
    pub fn has(&self, id: u8, file: &str, content: &[u8]) -> bool {
        fs::read(self.dir(id).join(format!("{file}.pdf"))).is_ok_and(|bytes| bytes == content)
    }

    /// Waits until the peer responsible and its successor have the file.
    #[track_caller]
    pub fn await_kept(&self, file: &str, content: &[u8]) {
        let owner = self.owner(file);
        for id in [owner, self.successor(owner, 1)] {
            let begin = Instant::now();
            while !self.has(id, file, content) {
                assert!(begin.elapsed() < LIMIT, "peer {id} never got {file}\n{}", self.shown());
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
    }

    /// Everything that was printed and logged, for a failed test.
    pub fn shown(&self) -> String {
        let of = |(id, peer): (&u8, &Peer)| format!("--- peer {id}\n{}\n{}", peer.all().join("\n"), peer.said());
        self.peers.iter().map(of).collect::<Vec<_>>().join("\n")
    }
}
