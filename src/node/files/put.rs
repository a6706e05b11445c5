//! Storing a file: read, hash, locate, offer.
//!
//! A worker reads and hashes one block after another and puts it up for serving; the node finds each block's replica
//! set and offers it there; the holders pull. A window of blocks is on its way at a time, so memory is bounded whatever
//! the file's size, and one slow holder delays its own block only. What was offered to a peer that went silent is
//! offered to the next nearest too; once as many copies stand as are wanted, no peer is waited for. When a level of the
//! tree is full it becomes a manifest block and takes the same way; the last one, the root, names the file. A file of
//! less than one block needs none.

pub(crate) mod further;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::options::StoreOptions;
use super::placing::{Placing, RefusedBy, StoreFailure, StoreTally, too_few};
use super::task::{Task, Tasks};
use super::{Flow, GOES_ON, OVER};
use crate::file::tree::{ToPack, TreeBuilder};
use crate::file::{Manifest, ManifestEntry};
use crate::id::{Id, Key};
use crate::node::command::{Command, CommandId};
use crate::node::desk::Desk;
use crate::node::job::{Holder, Job, Outcome, PutId, Urgency};
use crate::node::notice::{FailureKind, Progress};
use crate::node::ticket::{About, News, PartId, Reply, Ticket};
use crate::overlay::{Found, Goal};
use crate::time::Time;

/// Files on their way into the network.
pub(in crate::node) type Puts = Tasks<Put>;

/// A file on its way into the network.
pub(in crate::node) struct Put {
    id: PutId,
    command: CommandId,
    options: StoreOptions,
    since: Time,
    tree: TreeBuilder,
    reader: ReaderState,
    ended: Option<(u64, Id)>,
    root: Option<Key>,
    placing: BTreeMap<Key, Placing>,
    /// Failed offers by address: a peer that failed twice is asked last.
    failures: BTreeMap<SocketAddr, u32>,
    tally: StoreTally,
}

/// The one thing that the file's reader is doing; tree nodes must come in order, so it does one thing at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ReaderState {
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

impl Task for Put {
    fn begin(desk: &mut Desk, id: CommandId, command: Command) -> Option<Self> {
        let Some(mut options) = StoreOptions::of(command) else {
            desk.fail(id, FailureKind::Usage, "only a command that stores something can be on a lease");
            return None;
        };
        // A check goes by the number that it was stored with, whatever the checking peer's own.
        if let Some(lease) = options.lease.as_mut().filter(|lease| lease.copies == 0) {
            lease.copies = u8::try_from(desk.config().replicas).unwrap_or(u8::MAX);
        }
        if options.lease.is_some_and(|lease| desk.has_ended(&lease)) {
            // The holders of its blocks would drop them.
            let reason = "the lease that it was to be stored on has ended: it takes another one";
            desk.fail(id, FailureKind::Other, reason);
            return None;
        }
        let mut put = Self {
            id: desk.next_transfer(),
            command: id,
            options,
            since: desk.now(),
            tree: TreeBuilder::new(),
            reader: ReaderState::Idle,
            ended: None,
            root: None,
            placing: BTreeMap::new(),
            failures: BTreeMap::new(),
            tally: StoreTally::default(),
        };
        put.read_next(desk);
        Some(put)
    }

    fn command(&self) -> CommandId {
        self.command
    }

    fn number(&self) -> u64 {
        self.id
    }

    fn on(&mut self, desk: &mut Desk, about: About, reply: Reply) -> Flow {
        match (about, reply) {
            (About::Block(key), Reply::Found(found)) => self.on_found(desk, key, found),
            (About::Block(key), Reply::OfferEnded { to, result }) => self.on_offer_ended(desk, key, to, result),
            (About::Block(key), Reply::LateProof(by)) => {
                self.go_further(desk, key);
                self.do_without(desk, key, by.addr)
            }
            (About::Block(key), Reply::Done { outcome, .. }) => self.on_kept(desk, key, &outcome),
            (_, Reply::Done { outcome, .. }) => self.on_step(desk, outcome),
            _ => GOES_ON,
        }
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) -> Flow {
        match news {
            News::Hesitates(addr) => self.on_hesitates(desk, addr),
            News::Doubtful(addr) => self.on_doubtful(desk, addr),
            News::Stalls(addr) | News::Dialled(addr) => self.on_stalls(desk, addr),
            _ => GOES_ON,
        }
    }

    fn end(&mut self, desk: &mut Desk, kind: FailureKind, reason: &str) -> Flow {
        self.give_up(desk, (kind, format!("{reason} before the whole file was stored; store it again")))
    }
}

impl Put {
    /// A step of the reader is done.
    fn on_step(&mut self, desk: &mut Desk, outcome: Outcome) -> Flow {
        let step = std::mem::replace(&mut self.reader, ReaderState::Idle);
        match (step, outcome) {
            (ReaderState::Reading, Outcome::Read { entry }) => self.on_block(desk, entry)?,
            (ReaderState::Reading, Outcome::Last { entry, size, sha256, bare }) => {
                self.options.bare |= bare && !self.options.listing;
                self.ended = Some((size, sha256));
                self.on_block(desk, entry)?;
            }
            (ReaderState::Reading, Outcome::End { size, sha256 }) => self.ended = Some((size, sha256)),
            (ReaderState::Packing { level, size: covered, root }, Outcome::Packed { key, size }) => {
                self.tally.lists += 1;
                self.place(desk, key, size, 0);
                if root {
                    self.root = Some(key);
                } else {
                    self.grow(desk, level + 1, ManifestEntry { key, size: covered });
                }
            }
            (ReaderState::Publishing, Outcome::Done) => return self.succeed(desk),
            (step, Outcome::Failed(error)) => {
                let failed = match self.root.filter(|_| step == ReaderState::Publishing) {
                    Some(key) => {
                        let reason = format!("{}; the file itself is stored, and its key is {key}", error.reason);
                        (FailureKind::Other, reason)
                    }
                    None => (FailureKind::from(&error), error.reason),
                };
                return self.give_up(desk, failed);
            }
            (step, outcome) => debug_assert!(false, "{step:?} ended with {outcome:?}"),
        }
        self.go_on(desk)
    }

    /// The reader lends the next block of the file.
    fn on_block(&mut self, desk: &mut Desk, entry: ManifestEntry) -> Flow {
        let size = u32::try_from(entry.size).unwrap_or(u32::MAX);
        self.tally.read += 1;
        if self.options.bare && self.root.replace(entry.key).is_some() {
            let reason = format!("{} is more than one block", self.options.path.display());
            return self.give_up(desk, (FailureKind::Usage, reason));
        }
        self.place(desk, entry.key, size, entry.size);
        if !self.options.bare {
            self.grow(desk, 0, entry);
        }
        GOES_ON
    }

    /// A new entry in the tree; a node that is full with it is packed.
    fn grow(&mut self, desk: &mut Desk, level: u8, entry: ManifestEntry) {
        if let Some(manifest) = self.tree.push(level, entry) {
            self.reader = ReaderState::Packing { level: manifest.level, size: manifest.size, root: false };
            self.order(desk, Job::Pack { put: self.id, manifest });
        }
    }

    /// Starts whatever can be started now; ends the put when nothing is left.
    fn go_on(&mut self, desk: &mut Desk) -> Flow {
        if self.reader != ReaderState::Idle {
            return GOES_ON;
        }
        let Some((_, sha256)) = self.ended else {
            if self.placing.len() < desk.config().window {
                self.read_next(desk);
            }
            return GOES_ON;
        };
        if self.root.is_none() {
            let (manifest, root) = match self.tree.finish(sha256) {
                ToPack::Pack(manifest) => (manifest, false),
                ToPack::Root(manifest) => (Manifest { folder: self.options.listing, ..manifest }, true),
            };
            self.reader = ReaderState::Packing { level: manifest.level, size: manifest.size, root };
            self.order(desk, Job::Pack { put: self.id, manifest });
            return GOES_ON;
        }
        if !self.placing.is_empty() {
            return GOES_ON;
        }
        if self.options.manifest.is_none() {
            return self.succeed(desk);
        }
        self.reader = ReaderState::Publishing;
        self.order(desk, Job::Publish { put: self.id });
        GOES_ON
    }

    fn read_next(&mut self, desk: &mut Desk) {
        self.reader = ReaderState::Reading;
        let work =
            Job::ReadNext { put: self.id, path: self.options.path.clone(), manifest: self.options.manifest.clone() };
        self.order(desk, work);
    }

    fn order(&self, desk: &mut Desk, work: Job) {
        desk.order(Ticket::of(PartId::Puts, self.id), work, Urgency::Own);
    }

    /// What comes back about one of its blocks.
    fn ticket(&self, key: Key) -> Ticket {
        Ticket { about: About::Block(key), ..Ticket::of(PartId::Puts, self.id) }
    }

    /// Sends a block on its way.
    fn place(&mut self, desk: &mut Desk, key: Key, size: u32, bytes: u64) {
        if let Some(placing) = self.placing.get_mut(&key) {
            placing.bytes += bytes;
            placing.times += 1;
            return;
        }
        let lookup = desk.look_up(self.ticket(key), key, Goal::Peers);
        self.placing.insert(key, Placing::new(size, bytes, lookup));
    }

    /// A block's replica set is known.
    fn on_found(&mut self, desk: &mut Desk, key: Key, found: Found) -> Flow {
        let Found { mut peers, unreached, conclusive, .. } = found;
        // Where the way to those that should have it was not found, one more than is known is out of reach.
        let unreached = unreached.len().max(usize::from(!conclusive));
        let Some(placing) = self.placing.get_mut(&key) else { return GOES_ON };
        placing.lookup = None;
        placing.found = peers.len();
        // A peer that is known and silent is no reason to want fewer copies.
        let mut wanted = self.options.copies(desk.config().replicas).min(peers.len() + unreached);
        let keeps = self.options.keep && !desk.config().guest;
        if keeps && !peers.iter().take(wanted).any(|peer| desk.is_me(peer)) {
            // A copy where no peer looks for it replaces none of those in the replica set.
            wanted += 1;
        }
        placing.wanted = wanted.max(placing.wanted);
        self.tally.wanted = self.tally.wanted.max(placing.wanted);
        self.tally.unreached = self.tally.unreached.max(unreached);
        peers.sort_by_key(|peer| self.failures.get(&peer.addr).is_some_and(|&failures| failures >= 2));
        peers.retain(|peer| !placing.tried.contains(&peer.addr));
        placing.candidates = peers.into();
        if placing.widened {
            // All who were named before are silent: they may be of an attacker's making.
            placing.go_further(desk.behind_liars(&key));
        }
        if keeps && placing.keeping.is_none() {
            placing.candidates.retain(|peer| !desk.is_me(peer));
            self.keep_here(desk, key);
        }
        self.offer_on(desk, key)
    }

    /// Offers the block to as many peers as are wanted; ends the round when no more can be.
    fn offer_on(&mut self, desk: &mut Desk, key: Key) -> Flow {
        let quorum = self.options.quorum(desk.config());
        loop {
            let Some(placing) = self.placing.get_mut(&key) else { return GOES_ON };
            let others = placing.candidates.iter().any(|peer| !desk.stalls(&peer.addr));
            if (placing.saved >= quorum || others) && placing.rests_on(|addr| desk.stalls(addr)) {
                placing.replaced.append(&mut placing.out);
            }
            if !placing.lacks() {
                break;
            }
            let Some(peer) = placing.next_candidate(quorum, |addr| desk.stalls(addr)) else { break };
            if desk.is_me(&peer) {
                self.keep_here(desk, key);
            } else {
                placing.out.insert(peer.addr);
                placing.tried.insert(peer.addr);
                let block = (key, placing.size);
                desk.offer(self.ticket(key), Urgency::Own, block, self.options.leases(), peer);
            }
        }
        self.widen(desk, key);
        let waits = self.placing.get(&key).is_some_and(|placing| placing.waits(quorum, |addr| desk.stalls(addr)));
        if waits { GOES_ON } else { self.end_placing_round(desk, key) }
    }

    fn keep_here(&mut self, desk: &mut Desk, key: Key) {
        let Some(placing) = self.placing.get_mut(&key) else { return };
        let here = desk.me().addr;
        if placing.keeping.replace(here).is_some() {
            return;
        }
        placing.out.insert(here);
        placing.tried.insert(here);
        // What is believed to be here is looked at, and kept anew if it is not what it was.
        placing.looking = desk.holds(&key);
        if placing.looking {
            desk.look_at(self.ticket(key), Urgency::Own, key, (&self.options.leases(), None));
        } else if let Err(reason) = self.copy_here(desk, key) {
            self.count_copy(desk, key, here, Err(reason));
        }
    }

    /// Orders a copy in the own store, or says why there will be none.
    fn copy_here(&self, desk: &mut Desk, key: Key) -> Result<(), RefusedBy> {
        let size = self.placing.get(&key).map(|placing| placing.size);
        let ordered = desk.take_in(self.ticket(key), Urgency::Own, (key, size), &self.options.leases(), Holder::Own);
        ordered.map(drop).map_err(|error| RefusedBy::here(error.reason))
    }

    /// The own copy of a block is looked at, or made, or not.
    fn on_kept(&mut self, desk: &mut Desk, key: Key, outcome: &Outcome) -> Flow {
        let (mut looked, mut here) = (false, desk.me().addr);
        if let Some(placing) = self.placing.get_mut(&key) {
            (looked, here) = (std::mem::take(&mut placing.looking), placing.keeping.unwrap_or(here));
        }
        let result = match outcome {
            Outcome::Stored { .. } | Outcome::Sound { .. } => Ok(()),
            _ if looked => match self.copy_here(desk, key) {
                Ok(()) => return GOES_ON,
                full => full,
            },
            Outcome::Failed(error) => Err(RefusedBy::here(error.reason.clone())),
            _ => Err(RefusedBy::here("no copy was made".to_owned())),
        };
        self.on_copy(desk, key, here, result)
    }

    pub(super) fn on_copy(&mut self, desk: &mut Desk, key: Key, at: SocketAddr, result: Result<(), RefusedBy>) -> Flow {
        self.count_copy(desk, key, at, result);
        self.offer_on(desk, key)
    }

    fn count_copy(&mut self, desk: &mut Desk, key: Key, at: SocketAddr, result: Result<(), RefusedBy>) {
        let Some(placing) = self.placing.get_mut(&key) else { return };
        if !placing.end(&at) {
            return;
        }
        match result {
            Ok(()) => placing.saved += 1,
            Err(refused) => {
                desk.progress(self.command, Progress::Retried { key, reason: refused.to_string() });
                placing.trouble = Some(refused);
            }
        }
    }

    /// No more copies of this block can be had in this round.
    fn end_placing_round(&mut self, desk: &mut Desk, key: Key) -> Flow {
        let (ticket, quorum) = (self.ticket(key), self.options.quorum(desk.config()));
        let Some(placing) = self.placing.get_mut(&key) else { return GOES_ON };
        desk.cancel_lookup(placing.lookup.take());
        if placing.saved < quorum {
            if placing.second_round || placing.is_hopeless(|addr| desk.stalls(addr)) {
                let failed = too_few(key, placing, quorum, self.tally.unreached);
                return self.give_up(desk, failed);
            }
            // The replica set may have changed under our hands: look again, once. A peer that has it already says so at
            // once.
            placing.second_round = true;
            placing.tried.clear();
            placing.saved = usize::from(placing.keeping.is_some() && desk.holds(&key));
            placing.lookup = Some(desk.look_up(ticket, key, Goal::Peers));
            return GOES_ON;
        }
        let Some(placing) = self.placing.remove(&key) else { return GOES_ON };
        self.tell_of_stalling(desk, key, &placing);
        desk.drop_offers(|other| *other == ticket);
        desk.withdraw(self.id, key);
        self.tally.add(&placing);
        desk.progress(self.command, Progress::Moved { bytes: self.tally.bytes, resumed: 0 });
        self.go_on(desk)
    }

    fn succeed(&mut self, desk: &mut Desk) -> Flow {
        let (Some(key), Some((bytes, sha256))) = (self.root, self.ended) else { return GOES_ON };
        let tally = std::mem::take(&mut self.tally);
        desk.forget_put(self.id);
        let listed = self.options.manifest.is_some();
        desk.answer(self.command, tally.answer(key, (bytes, sha256), listed, desk.now().since(self.since)));
        OVER
    }

    fn give_up(&mut self, desk: &mut Desk, (kind, reason): StoreFailure) -> Flow {
        self.placing.values().for_each(|placing| desk.cancel_lookup(placing.lookup));
        desk.drop_work(PartId::Puts, self.id);
        desk.forget_put(self.id);
        desk.fail(self.command, kind, reason);
        OVER
    }
}
