//! Storing a file: read, hash, locate, offer.
//!
//! A worker reads and hashes one block after another and puts it up for serving; the node finds each block's replica
//! set and offers it there; the holders pull. A window of blocks is on its way at a time, so memory is bounded whatever
//! the file's size, and one slow holder delays its own block only. When a level of the tree is full it becomes a
//! manifest block and takes the same way; the last one, the root, names the file.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::action::Action;
use super::command::CommandId;
use super::context::{Context, JobPurpose, LookupPurpose, OfferOwner};
use super::job::{Job, JobErrorKind, Outcome, PutId};
use super::jobs::Urgency;
use super::notice::{Answer, FailureKind, Progress};
use crate::file::tree::{Next, TreeBuilder};
use crate::file::{Entry, LocalManifest};
use crate::id::{Id, Key};
use crate::overlay::{Goal, LookupId};
use crate::peer::Peer;
use crate::time::Time;

/// What a `store` asks for.
pub(super) struct Order {
    pub(super) path: PathBuf,
    pub(super) manifest: Option<LocalManifest>,
    pub(super) keep: bool,
}

/// A file on its way into the network.
pub(super) struct Put {
    id: PutId,
    command: CommandId,
    order: Order,
    since: Time,
    tree: TreeBuilder,
    step: Step,
    ended: Option<(u64, Id)>,
    root: Option<Key>,
    placing: BTreeMap<Key, Placing>,
    /// Failed offers by address: who failed twice is asked last.
    failures: BTreeMap<SocketAddr, u32>,
    tally: Tally,
}

/// The one thing that the file's reader is doing; tree nodes must come in order, so it does one thing at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Idle,
    Reading,
    /// Packing a node of this level.
    Packing {
        level: u8,
        size: u64,
        root: bool,
    },
    Publishing,
}

/// What the answer will tell.
#[derive(Default)]
struct Tally {
    bytes: u64,
    blocks: u64,
    copies: Vec<u64>,
    wanted: usize,
    /// Blocks that the file was read in, those that repeat included.
    read: u64,
    unreached: usize,
}

/// A block on its way to its holders.
struct Placing {
    /// Bytes of the block.
    size: u32,
    /// Bytes of the file that are stored with it: none for a manifest, several times `size` for a block that repeats.
    bytes: u64,
    lookup: Option<LookupId>,
    candidates: VecDeque<Peer>,
    wanted: usize,
    /// Peers that could keep it, as far as they answered.
    found: usize,
    /// Offers and copies under way.
    out: usize,
    saved: usize,
    keeping: bool,
    second_round: bool,
    trouble: Option<String>,
}

/// Whether a put goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    Goes,
    Over,
}

/// A put ends early with what the user is told.
type Failed = (FailureKind, String);

impl Put {
    pub(super) fn new(cx: &mut Context, id: PutId, command: CommandId, order: Order) -> Self {
        let mut put = Self {
            id,
            command,
            order,
            since: cx.now,
            tree: TreeBuilder::new(),
            step: Step::Idle,
            ended: None,
            root: None,
            placing: BTreeMap::new(),
            failures: BTreeMap::new(),
            tally: Tally::default(),
        };
        put.read_next(cx);
        put
    }

    /// A step of the reader is done.
    pub(super) fn on_step(&mut self, cx: &mut Context, outcome: Outcome) -> Flow {
        let step = std::mem::replace(&mut self.step, Step::Idle);
        match (step, outcome) {
            (Step::Reading, Outcome::Read { entry }) => {
                let size = u32::try_from(entry.size).unwrap_or(u32::MAX);
                self.tally.read += 1;
                self.place(cx, entry.key, size, entry.size);
                self.grow(cx, 0, entry);
            }
            (Step::Reading, Outcome::End { size, sha256 }) => self.ended = Some((size, sha256)),
            (Step::Packing { level, size: covered, root }, Outcome::Packed { key, size }) => {
                self.place(cx, key, size, 0);
                if root {
                    self.root = Some(key);
                } else {
                    self.grow(cx, level + 1, Entry { key, size: covered });
                }
            }
            (Step::Publishing, Outcome::Done) => return self.succeed(cx),
            (step, Outcome::Failed(error)) => {
                let kind = match error.kind {
                    JobErrorKind::NotFound => FailureKind::NotFound,
                    JobErrorKind::Exists => FailureKind::Exists,
                    JobErrorKind::Unfit => FailureKind::Usage,
                    _ => FailureKind::Other,
                };
                let reason = match self.root.filter(|_| step == Step::Publishing) {
                    Some(key) => format!("{}; the file itself is stored, and its key is {key}", error.reason),
                    None => error.reason,
                };
                return self.give_up(cx, (kind, reason));
            }
            (step, outcome) => debug_assert!(false, "{step:?} ended with {outcome:?}"),
        }
        self.go_on(cx)
    }

    /// A new entry in the tree; a node that is full with it is packed.
    fn grow(&mut self, cx: &mut Context, level: u8, entry: Entry) {
        if let Some(manifest) = self.tree.push(level, entry) {
            self.step = Step::Packing { level: manifest.level, size: manifest.size, root: false };
            cx.order(Job::Pack { put: self.id, manifest }, JobPurpose::Put { put: self.id }, Urgency::Own);
        }
    }

    /// Starts whatever can be started now; ends the put when nothing is left.
    fn go_on(&mut self, cx: &mut Context) -> Flow {
        if self.step != Step::Idle {
            return Flow::Goes;
        }
        let Some((_, sha256)) = self.ended else {
            if self.placing.len() < cx.config.window {
                self.read_next(cx);
            }
            return Flow::Goes;
        };
        if self.root.is_none() {
            let (manifest, root) = match self.tree.finish(sha256) {
                Next::Pack(manifest) => (manifest, false),
                Next::Root(manifest) => (manifest, true),
            };
            self.step = Step::Packing { level: manifest.level, size: manifest.size, root };
            cx.order(Job::Pack { put: self.id, manifest }, JobPurpose::Put { put: self.id }, Urgency::Own);
            return Flow::Goes;
        }
        if !self.placing.is_empty() {
            return Flow::Goes;
        }
        if self.order.manifest.is_none() {
            return self.succeed(cx);
        }
        self.step = Step::Publishing;
        cx.order(Job::Publish { put: self.id }, JobPurpose::Put { put: self.id }, Urgency::Own);
        Flow::Goes
    }

    fn read_next(&mut self, cx: &mut Context) {
        self.step = Step::Reading;
        let work = Job::ReadNext { put: self.id, path: self.order.path.clone(), manifest: self.order.manifest.clone() };
        cx.order(work, JobPurpose::Put { put: self.id }, Urgency::Own);
    }

    /// Sends a block on its way.
    fn place(&mut self, cx: &mut Context, key: Key, size: u32, bytes: u64) {
        if let Some(placing) = self.placing.get_mut(&key) {
            placing.bytes += bytes;
            return;
        }
        let lookup = cx.look_up(key, Goal::Peers, LookupPurpose::Put { put: self.id, key });
        let placing = Placing {
            size,
            bytes,
            lookup: Some(lookup),
            candidates: VecDeque::new(),
            wanted: 0,
            found: 0,
            out: 0,
            saved: 0,
            keeping: false,
            second_round: false,
            trouble: None,
        };
        self.placing.insert(key, placing);
    }

    /// A block's replica set is known.
    pub(super) fn on_found(&mut self, cx: &mut Context, key: Key, mut peers: Vec<Peer>, unreached: usize) -> Flow {
        let Some(placing) = self.placing.get_mut(&key) else { return Flow::Goes };
        placing.lookup = None;
        placing.found = peers.len();
        // Who is known and silent is no reason to want fewer copies.
        placing.wanted = cx.config.replicas.min(peers.len() + unreached);
        let keeps = self.order.keep && !cx.config.guest;
        if keeps && !peers.iter().take(placing.wanted).any(|peer| cx.is_me(peer)) {
            // A copy where nobody looks for it replaces none of those in the replica set.
            placing.wanted += 1;
        }
        self.tally.wanted = self.tally.wanted.max(placing.wanted);
        self.tally.unreached = self.tally.unreached.max(unreached);
        peers.sort_by_key(|peer| self.failures.get(&peer.addr).is_some_and(|&failures| failures >= 2));
        placing.candidates = peers.into();
        if keeps && !placing.keeping {
            placing.candidates.retain(|peer| !cx.is_me(peer));
            self.keep_here(cx, key);
        }
        self.offer_on(cx, key)
    }

    /// Offers the block to as many peers as are wanted; concludes when no more can be.
    fn offer_on(&mut self, cx: &mut Context, key: Key) -> Flow {
        loop {
            let Some(placing) = self.placing.get_mut(&key) else { return Flow::Goes };
            if placing.saved + placing.out >= placing.wanted {
                break;
            }
            let Some(peer) = placing.next_candidate(cx.config.quorum, |addr| cx.uplink.stalls(cx.now, addr)) else {
                break;
            };
            if cx.is_me(&peer) {
                self.keep_here(cx, key);
            } else {
                placing.out += 1;
                cx.offer(OfferOwner::Put(self.id), key, placing.size, peer);
            }
        }
        let waits = self.placing.get(&key).is_some_and(|placing| placing.out > 0 || placing.lookup.is_some());
        if waits { Flow::Goes } else { self.conclude(cx, key) }
    }

    fn keep_here(&mut self, cx: &mut Context, key: Key) {
        let Some(placing) = self.placing.get_mut(&key) else { return };
        if placing.keeping {
            return;
        }
        placing.keeping = true;
        placing.out += 1;
        // What is believed to be here is looked at, and kept anew if it is not what it was.
        let held = cx.holdings.contains(&key);
        let work = if held { Job::Verify { key } } else { Job::Keep { key } };
        cx.order(work, JobPurpose::PutKeep { put: self.id, key, verifies: held }, Urgency::Own);
    }

    /// The own copy of a block is looked at, or made, or not.
    pub(super) fn on_kept(&mut self, cx: &mut Context, key: Key, verifies: bool, outcome: &Outcome) -> Flow {
        let result = match outcome {
            Outcome::Stored { .. } | Outcome::Sound { .. } => Ok(()),
            _ if verifies => {
                let purpose = JobPurpose::PutKeep { put: self.id, key, verifies: false };
                cx.order(Job::Keep { key }, purpose, Urgency::Own);
                return Flow::Goes;
            }
            Outcome::Failed(error) => Err(format!("this peer: {error}")),
            _ => Err("this peer: no copy was made".to_owned()),
        };
        self.on_copy(cx, key, result)
    }

    /// A peer took the block, or did not.
    pub(super) fn on_offered(&mut self, cx: &mut Context, key: Key, to: Peer, result: Result<(), String>) -> Flow {
        if result.is_err() {
            *self.failures.entry(to.addr).or_default() += 1;
        }
        self.on_copy(cx, key, result.map_err(|reason| format!("{to}: {reason}")))
    }

    fn on_copy(&mut self, cx: &mut Context, key: Key, result: Result<(), String>) -> Flow {
        let Some(placing) = self.placing.get_mut(&key) else { return Flow::Goes };
        placing.out -= 1;
        match result {
            Ok(()) => placing.saved += 1,
            Err(reason) => {
                cx.progress(self.command, Progress::Retried { key, reason: reason.clone() });
                placing.trouble = Some(reason);
            }
        }
        self.offer_on(cx, key)
    }

    /// No more copies of this block can be had in this round.
    fn conclude(&mut self, cx: &mut Context, key: Key) -> Flow {
        let Some(placing) = self.placing.get_mut(&key) else { return Flow::Goes };
        if placing.saved < cx.config.quorum {
            if placing.second_round {
                let failed = too_few(key, placing, cx.config.quorum);
                return self.give_up(cx, failed);
            }
            // The replica set may have changed under our hands: look again, once. Who has it already says so at once.
            placing.second_round = true;
            placing.saved = usize::from(placing.keeping && cx.holdings.contains(&key));
            placing.lookup = Some(cx.look_up(key, Goal::Peers, LookupPurpose::Put { put: self.id, key }));
            return Flow::Goes;
        }
        let Some(placing) = self.placing.remove(&key) else { return Flow::Goes };
        cx.out.push(Action::Withdraw { put: self.id, key });
        self.tally.add(&placing);
        cx.progress(self.command, Progress::Moved { bytes: self.tally.bytes, resumed: 0 });
        self.go_on(cx)
    }

    fn succeed(&mut self, cx: &mut Context) -> Flow {
        let (Some(key), Some((bytes, sha256))) = (self.root, self.ended) else { return Flow::Goes };
        let tally = std::mem::take(&mut self.tally);
        cx.out.push(Action::ForgetPut { put: self.id });
        cx.answer(
            self.command,
            Answer::Stored {
                key,
                sha256,
                bytes,
                blocks: tally.blocks,
                copies: tally.copies,
                wanted: tally.wanted,
                listed: self.order.manifest.as_ref().map(|_| tally.read),
                unreached: tally.unreached,
                took: cx.now.since(self.since),
            },
        );
        Flow::Over
    }

    pub(super) fn give_up(&mut self, cx: &mut Context, (kind, reason): Failed) -> Flow {
        for placing in self.placing.values() {
            if let Some(lookup) = placing.lookup {
                cx.cancel_lookup(lookup);
            }
        }
        cx.uplink.take_where(|offering| offering.owner == OfferOwner::Put(self.id));
        cx.out.push(Action::ForgetPut { put: self.id });
        cx.fail(self.command, kind, reason);
        Flow::Over
    }
}

impl Placing {
    /// Whom to offer it to next. Who lives and takes nothing would keep every block waiting for the whole limit, so it is
    /// asked only if the others cannot make up the quorum.
    fn next_candidate(&mut self, quorum: usize, stalls: impl Fn(&SocketAddr) -> bool) -> Option<Peer> {
        match self.candidates.iter().position(|peer| !stalls(&peer.addr)) {
            Some(at) => self.candidates.remove(at),
            None if self.out > 0 || self.saved >= quorum => None,
            None => self.candidates.pop_front(),
        }
    }
}

impl Tally {
    fn add(&mut self, placing: &Placing) {
        self.blocks += 1;
        self.bytes += placing.bytes;
        if self.copies.len() <= placing.saved {
            self.copies.resize(placing.saved + 1, 0);
        }
        self.copies[placing.saved] += 1;
    }
}

fn too_few(key: Key, placing: &Placing, quorum: usize) -> Failed {
    let copies = if placing.saved == 1 { "copy" } else { "copies" };
    let cause = match (&placing.trouble, placing.found) {
        (Some(trouble), _) => trouble.clone(),
        (None, 0) => "there is no peer to keep it; is the network reachable?".to_owned(),
        (None, found) => format!("no more than {found} can keep it"),
    };
    let (key, saved) = (key.short(), placing.saved);
    let reason = format!(
        "block {key} got {saved} {copies} of the {quorum} that the quorum asks for ({cause}); start more peers, or \
         lower --quorum"
    );
    (FailureKind::TooFewCopies, reason)
}
