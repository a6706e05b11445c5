//! A marker for the classroom ring: starts real peers, and compares every line that each of them prints, pings apart,
//! with what the assignment says that it prints.
//!
//! The model is the assignment's circle of numbers and nothing else; it shares no code with the program. After each
//! step the lines of every peer must be exactly the expected ones, in order; a line too many shows up in the next step.

mod peer;
mod steps;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) use self::peer::Peer;
use crate::support::{free_ports, until};

/// The slowest step is the detection of a death, which the assignment wants within a minute.
const LIMIT: Duration = Duration::from_secs(60);

/// What stands at the ends of a peer's input and output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ends {
    Pipes,
    Terminal,
}

/// How the peers of a ring are started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) ends: Ends,
    /// All peers work in one directory.
    pub(crate) shared: bool,
    /// Seconds between pings.
    pub(crate) interval: &'static str,
    /// Requests take shortcuts, so they leave fewer lines than the assignment expects.
    pub(crate) fingers: bool,
}

impl Default for Way {
    fn default() -> Self {
        Self { ends: Ends::Pipes, shared: false, interval: "1", fingers: false }
    }
}

/// A ring, its model, and where it works.
pub(crate) struct Ring {
    pub(crate) peers: BTreeMap<u8, Peer>,
    pub(crate) folder: TempDir,
    pub(crate) base: u16,
    way: Way,
}

type Expected = BTreeMap<u8, Vec<String>>;

impl Ring {
    /// Starts the peers `ids` as the assignment does, and waits until each was pinged by both of its predecessors.
    pub(crate) fn start(ids: &[u8], way: Way) -> Self {
        let mut ring = Self::empty(way);
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

    /// A ring of nobody yet.
    pub(crate) fn empty(way: Way) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { peers: BTreeMap::new(), folder, base: free_ports(), way }
    }

    /// Starts a peer with these words of the command line.
    pub(crate) fn launch(&mut self, id: u8, words: &[&str]) {
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
    pub(crate) fn dir(&self, id: u8) -> PathBuf {
        let name = if self.way.shared { "all".to_owned() } else { id.to_string() };
        self.folder.path().join(name)
    }

    pub(crate) fn peer(&mut self, id: u8) -> &mut Peer {
        self.peers.get_mut(&id).expect("it runs")
    }

    /// The peer `steps` after `id` on the circle.
    pub(crate) fn successor(&self, id: u8, steps: usize) -> u8 {
        let ids: Vec<u8> = self.peers.keys().copied().collect();
        let at = ids.iter().position(|other| *other == id).expect("it is in the ring");
        ids[(at + steps) % ids.len()]
    }

    pub(crate) fn predecessor(&self, id: u8, steps: usize) -> u8 {
        self.successor(id, self.peers.len() * steps - steps)
    }

    /// The peer responsible for a file.
    pub(crate) fn owner(&self, file: &str) -> u8 {
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
    pub(crate) fn expect(&mut self, step: &str, mut expected: Expected) {
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
    pub(crate) fn settle(&mut self) {
        let ids: Vec<u8> = self.peers.keys().copied().collect();
        for id in ids {
            let right = [self.predecessor(id, 1), self.successor(id, 1), self.successor(id, 2)].map(Some);
            let peer = self.peers.get_mut(&id).expect("it runs");
            until(|| peer.neighbours() == right);
        }
    }

    /// Puts a file into a peer's directory.
    pub(crate) fn put(&self, id: u8, file: &str, content: &[u8]) {
        fs::write(self.dir(id).join(format!("{file}.pdf")), content).expect("the folder is writable");
    }

    /// Whether a peer's directory has this file with this content.
    pub(crate) fn has(&self, id: u8, file: &str, content: &[u8]) -> bool {
        fs::read(self.dir(id).join(format!("{file}.pdf"))).is_ok_and(|bytes| bytes == content)
    }

    /// Waits until the peer responsible and its successor have the file.
    #[track_caller]
    pub(crate) fn await_kept(&self, file: &str, content: &[u8]) {
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
    pub(crate) fn shown(&self) -> String {
        let of = |(id, peer): (&u8, &Peer)| format!("--- peer {id}\n{}\n{}", peer.all().join("\n"), peer.said());
        self.peers.iter().map(of).collect::<Vec<_>>().join("\n")
    }
}
