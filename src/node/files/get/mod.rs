//! Retrieving a file: walk its tree, find holders, fetch, verify, put in place.
//!
//! The file's tree is walked ahead of the data; a window of blocks (of lists, and of data) is fetched at a time, each
//! from whichever holder is known first, several peers at once. A holder that is dead, slow, or lying costs one block's
//! retry from another, and is asked last for the others. A fetch that takes far longer than the usual is joined by a
//! second one from another holder; the first to come wins. Where there is no place for a second, it takes the first's.
//! Where the first is sent, and nothing tells that others would be faster, it may be the way here that is slow: then a
//! second is tried for a moment, for one block at a time, and left where it is no faster.
//! Blocks go straight to their place in a temporary file that becomes the destination only when all are there; what an
//! interrupted run left in it is checked and kept.
//!
//! Which holder is asked is a matter of `asking.rs`, what stands at the destination already one of `place.rs`, how much
//! is fetched at a time one of `speed.rs`.

mod asking;
mod block;
mod ending;
mod place;
mod prospects;
mod speed;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use ending::RetrieveTotal;
use place::Mode;
use prospects::HolderSpeeds;
#[cfg(test)]
pub(in crate::node) use prospects::MADE;
use speed::Trials;
use wanted::Retrieval;

use super::task::{Task, Tasks};
use super::{Flow, GOES_ON};
use crate::file::tree::{self, TreeWalk};
use crate::id::Id;
use crate::node::command::{Command, CommandId, Source};
use crate::node::desk::Desk;
use crate::node::job::{GetId, Holder, Job, JobErrorKind, JobId, Outcome, Slot, Urgency};
use crate::node::notice::{FailureKind, Progress};
use crate::node::pace::Pace;
use crate::node::smoothed::Smoothed;
use crate::node::ticket::{About, PartId, Reply, Ticket};
use crate::overlay::{Found, Goal};
use crate::patience;
use crate::time::Time;
use block::{BlockKind, Doubts, WantedBlock, did_our_disk_fail};

/// Files on their way out of the network.
pub(in crate::node) type Gets = Tasks<Get>;

/// A file on its way out of the network.
pub(in crate::node) struct Get {
    id: GetId,
    command: CommandId,
    wanted: Retrieval,
    dest: PathBuf,
    /// Whether another file at `dest` may be replaced.
    replace: bool,
    since: Time,
    stage: RetrieveStage,
    blocks: BTreeMap<u64, WantedBlock>,
    next_block: u64,
    pace: Pace,
    /// The usual time in which a block comes, small ones included, which tell the pace nothing.
    usual: Smoothed,
    trials: Trials,
    doubts: Doubts,
    speeds: HolderSpeeds,
    total: RetrieveTotal,
    holders: BTreeSet<SocketAddr>,
}

/// Where the retrieve stands.
enum RetrieveStage {
    /// The root (a manifest in the network, or a local one) is being read.
    Root,
    /// The temporary file is being opened.
    Opening { walk: Box<TreeWalk> },
    /// Pieces are being checked and fetched.
    Walking { walk: Box<TreeWalk>, mode: Mode },
    /// Everything is in place; the file gets its name.
    Finishing,
}

impl Task for Get {
    fn begin(desk: &mut Desk, id: CommandId, command: Command) -> Option<Self> {
        let (wanted, dest, replace) = Retrieval::of(command)?;
        let mut get = Self {
            id: desk.next_transfer(),
            command: id,
            wanted,
            dest,
            replace,
            since: desk.now(),
            stage: RetrieveStage::Root,
            blocks: BTreeMap::new(),
            next_block: 0,
            pace: Pace::new(desk.config().window),
            usual: Smoothed::default(),
            trials: Trials::default(),
            doubts: Doubts::default(),
            speeds: HolderSpeeds::default(),
            total: RetrieveTotal::default(),
            holders: BTreeSet::new(),
        };
        match &get.wanted {
            &Retrieval::Block(entry) => drop(get.open(desk, TreeWalk::flat(vec![entry]), entry.key, entry.size, None)),
            Retrieval::File(Source::Manifest(path)) => get.order(desk, Job::ReadManifest { path: path.clone() }),
            &(Retrieval::File(Source::Key(key)) | Retrieval::Listing(key) | Retrieval::Manifest(key)) => {
                get.begin(desk, BlockKind::Manifest { key });
            }
        }
        Some(get)
    }

    fn command(&self) -> CommandId {
        self.command
    }

    fn number(&self) -> u64 {
        self.id
    }

    fn on(&mut self, desk: &mut Desk, about: About, reply: Reply) -> Flow {
        match (about, reply) {
            (About::Item(block), Reply::Holder(peer)) => {
                self.on_holder(desk, block, peer);
                GOES_ON
            }
            (About::Item(block), Reply::Found(found)) => self.on_found(desk, block, &found),
            (About::Item(block), Reply::Done { job, outcome }) => {
                self.on_job(desk, block, job, outcome)?;
                self.fetch_what_waits(desk);
                GOES_ON
            }
            (About::Around(block), reply) => self.on_around(desk, block, reply),
            (_, Reply::Done { outcome, .. }) => self.on_step(desk, outcome),
            _ => GOES_ON,
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) -> Flow {
        self.hedge_the_slow(desk);
        GOES_ON
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        self.next_look(desk)
    }

    fn end(&mut self, desk: &mut Desk, kind: FailureKind, reason: &str) -> Flow {
        self.give_up(desk, kind, reason.to_owned())
    }
}

impl Get {
    fn order(&self, desk: &mut Desk, work: Job) {
        desk.order(Ticket::of(PartId::Gets, self.id), work, Urgency::Own);
    }

    /// What comes back about one of its blocks.
    fn ticket(&self, block: u64) -> Ticket {
        Ticket { about: About::Item(block), ..Ticket::of(PartId::Gets, self.id) }
    }

    /// What comes back of the peers around its key.
    fn ticket_around(&self, block: u64) -> Ticket {
        Ticket { about: About::Around(block), ..self.ticket(block) }
    }

    /// A step of the whole file is done: its local manifest is read, its temporary file open, its name given.
    fn on_step(&mut self, desk: &mut Desk, outcome: Outcome) -> Flow {
        match (std::mem::replace(&mut self.stage, RetrieveStage::Root), outcome) {
            (RetrieveStage::Root, Outcome::Manifest { entries, root, sha256 }) => {
                let size = entries.iter().map(|entry| entry.size).sum();
                self.total.incomplete = sha256.is_none();
                self.open(desk, TreeWalk::flat(entries), root, size, sha256)
            }
            (RetrieveStage::Opening { walk }, Outcome::Opened { resumed }) => {
                let mode = if resumed { Mode::Resuming } else { Mode::Fetching };
                self.stage = RetrieveStage::Walking { walk, mode };
                self.go_on(desk)
            }
            (RetrieveStage::Opening { walk }, Outcome::Standing) => {
                self.stage = RetrieveStage::Walking { mode: Mode::Comparing { again: walk.clone() }, walk };
                self.go_on(desk)
            }
            (RetrieveStage::Opening { .. }, Outcome::Done) => self.on_whole(desk),
            (RetrieveStage::Finishing, Outcome::Done) => self.succeed(desk, false),
            (_, Outcome::Failed(error)) => self.give_up(desk, FailureKind::from(&error), error.reason),
            (_, outcome) => {
                debug_assert!(false, "no step of a retrieve ends with {outcome:?}");
                GOES_ON
            }
        }
    }

    /// The SHA-256 that the file is to be checked for in the end. A key vouches for the one in its root; a local
    /// manifest's is no better than the manifest.
    fn promised(&self) -> Option<Id> {
        self.total.sha256.filter(|_| matches!(self.wanted, Retrieval::File(Source::Manifest(_))))
    }

    /// Takes as many blocks of the tree into work as the window and the pace allow, those first that were put aside.
    fn go_on(&mut self, desk: &mut Desk) -> Flow {
        while self.has_room()
            && let Some((&id, block)) = self.blocks.iter_mut().find(|(_, block)| block.parked)
        {
            block.parked = false;
            self.seek_on(desk, id)?;
        }
        while self.blocks.len() < desk.config().window && self.has_room() {
            let RetrieveStage::Walking { walk, mode } = &mut self.stage else { return GOES_ON };
            let checking = !matches!(mode, Mode::Fetching);
            let comparing = matches!(mode, Mode::Comparing { .. });
            match walk.next_step() {
                tree::Stop::Slot { key, size, offset } => {
                    let slot = Slot { key, size, offset };
                    self.begin(desk, BlockKind::Data { slot, checking });
                }
                tree::Stop::Need { key } => self.begin(desk, BlockKind::Manifest { key }),
                tree::Stop::Wait => return GOES_ON,
                tree::Stop::Done if self.blocks.is_empty() && comparing => return self.succeed(desk, true),
                tree::Stop::Done if self.blocks.is_empty() => {
                    self.stage = RetrieveStage::Finishing;
                    self.order(desk, Job::Finish { get: self.id, sha256: self.promised() });
                    return GOES_ON;
                }
                tree::Stop::Done => return GOES_ON,
            }
        }
        GOES_ON
    }

    /// Starts on a block: is it here already, does this peer hold it, who else does?
    fn begin(&mut self, desk: &mut Desk, what: BlockKind) {
        let id = self.next_block;
        self.next_block += 1;
        self.blocks.insert(id, WantedBlock::new(what));
        if let BlockKind::Data { slot, checking: true } = what {
            desk.order(self.ticket(id), Job::Check { get: self.id, slot }, Urgency::Own);
        } else {
            self.seek(desk, id);
        }
    }

    fn seek(&mut self, desk: &mut Desk, id: u64) {
        let (ticket, around) = (self.ticket(id), self.ticket_around(id));
        let Some(block) = self.blocks.get_mut(&id) else { return };
        let key = block.what.key();
        if desk.holds(&key) && !block.tried_own {
            block.tried_own = true;
            return self.fetch(desk, id, Holder::Own);
        }
        block.rounds += 1;
        block.sought.get_or_insert(desk.now());
        block.last_sought = desk.now();
        let goal = if block.rounds == 1 { Goal::Holders } else { Goal::MoreHolders };
        block.lookup = Some(desk.look_up(ticket, key, goal));
        if block.rounds > 1 {
            // Others may hide those that hold it.
            block.around.begin(desk, around, key, block.answered.len());
        }
    }

    /// Peers around a block's key are known, or one of them has answered.
    fn on_around(&mut self, desk: &mut Desk, id: u64, reply: Reply) -> Flow {
        let ticket = self.ticket_around(id);
        let Some(block) = self.blocks.get_mut(&id) else { return GOES_ON };
        let key = block.what.key();
        if let Some(inquest) = &mut block.inquest {
            inquest.on(&reply);
            return if inquest.is_over() { self.seek_on(desk, id) } else { GOES_ON };
        }
        if let Some(holder) = block.around.on(desk, ticket, key, reply) {
            self.on_holder(desk, id, holder);
            self.ask_beside_the_silent(desk, id, holder);
        }
        self.seek_on(desk, id)
    }

    /// No more holders of a block will turn up in this round.
    fn on_found(&mut self, desk: &mut Desk, id: u64, found: &Found) -> Flow {
        if let Some(block) = self.blocks.get_mut(&id) {
            block.lookup = None;
            block.conclusive |= found.conclusive;
            block.answered = found.peers.iter().filter(|peer| !desk.is_me(peer)).copied().collect();
            // A peer that was silent before may be named no more, and is no less out of reach.
            block.silent.retain(|peer| !block.answered.contains(peer));
            if found.unreached.len() > block.silent.len() {
                block.silent.clone_from(&found.unreached);
            }
        }
        self.seek_on(desk, id)
    }

    /// A job of a block is done.
    fn on_job(&mut self, desk: &mut Desk, id: u64, job: JobId, outcome: Outcome) -> Flow {
        let comparing = self.is_comparing();
        let Some(block) = self.blocks.get_mut(&id) else { return GOES_ON };
        let fetched = block.running.remove(&job);
        match outcome {
            Outcome::Checked { good: true } => {
                if let BlockKind::Data { slot, .. } = block.what {
                    self.total.resumed += u64::from(slot.size);
                }
                self.complete(desk, id)
            }
            Outcome::Checked { good: false } if comparing => self.on_difference(desk),
            Outcome::Checked { good: false } => {
                self.seek(desk, id);
                GOES_ON
            }
            Outcome::Fetched => {
                let what = block.what;
                self.credit(desk, what, fetched);
                self.complete(desk, id)
            }
            Outcome::Unpacked { manifest } => {
                let what = block.what;
                self.credit(desk, what, fetched);
                self.drop_block(desk, id);
                self.on_node(desk, manifest)
            }
            Outcome::NotManifest { size } => {
                let what = block.what;
                self.credit(desk, what, fetched);
                self.on_bare_block(desk, id, size)
            }
            // What stands there cannot be read, so it cannot be said that it is the file.
            Outcome::Failed(_) if comparing && matches!(block.what, BlockKind::Data { .. }) => self.on_difference(desk),
            Outcome::Failed(error) if did_our_disk_fail(&error, fetched) => {
                self.give_up(desk, FailureKind::Other, error.reason)
            }
            Outcome::Failed(error) => {
                if error.kind != JobErrorKind::Cancelled {
                    if let Some((holder, since)) = fetched {
                        // That this peer lacks descriptors is held against no holder.
                        if error.kind != JobErrorKind::Busy {
                            self.doubts.add(&holder);
                        }
                        self.pace.on_given_up(desk.now(), since);
                    }
                    let key = block.what.key();
                    desk.progress(self.command, Progress::Retried { key, reason: error.reason.clone() });
                    block.note_trouble(error);
                }
                self.seek_on(desk, id)
            }
            outcome => {
                debug_assert!(false, "no block ends with {outcome:?}");
                GOES_ON
            }
        }
    }

    /// A block is in its place.
    fn complete(&mut self, desk: &mut Desk, id: u64) -> Flow {
        if let Some(BlockKind::Data { slot, .. }) = self.blocks.get(&id).map(|block| block.what) {
            self.total.moved += u64::from(slot.size);
            self.total.blocks += 1;
            let RetrieveTotal { moved, resumed, .. } = self.total;
            desk.progress(self.command, Progress::Moved { bytes: moved, resumed });
        }
        self.drop_block(desk, id);
        self.go_on(desk)
    }

    fn drop_block(&mut self, desk: &mut Desk, id: u64) {
        let Some(mut block) = self.blocks.remove(&id) else { return };
        desk.cancel_lookup(block.lookup);
        block.around.cancel(desk);
        block.running.into_keys().for_each(|job| desk.cancel_job(job));
    }

    fn drop_blocks(&mut self, desk: &mut Desk) {
        let ids: Vec<u64> = self.blocks.keys().copied().collect();
        ids.into_iter().for_each(|id| self.drop_block(desk, id));
    }

    /// Goes on with a block that no holder sends: the next holder, another look, or the end.
    fn seek_on(&mut self, desk: &mut Desk, id: u64) -> Flow {
        let (under_way, around) = (self.under_way(), self.ticket_around(id));
        let Some(block) = self.blocks.get_mut(&id) else { return GOES_ON };
        if block.running.is_empty() && !self.pace.admits(under_way - block.weight(), block.weight()) {
            // More is under way than the way here carries.
            block.parked = true;
            return GOES_ON;
        }
        let waits = !block.running.is_empty() || self.fetch_from_next(desk, id);
        let Some(block) = self.blocks.get_mut(&id) else { return GOES_ON };
        if waits || block.lookup.is_some() || block.around.is_under_way() {
            return GOES_ON;
        }
        if block.rounds < patience::FETCHES {
            // No holder is known yet, or every one failed: they may have had a bad moment, repair may be at work, or
            // others hide them.
            block.begin_round();
            self.seek(desk, id);
            return GOES_ON;
        }
        if block.ask_why(desk, around) {
            return GOES_ON;
        }
        let (kind, reason) = block.despair();
        self.give_up(desk, kind, reason)
    }
}
