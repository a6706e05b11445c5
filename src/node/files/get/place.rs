//! What stands at the destination of a retrieve.
//!
//! A file of the right size may stand there already. Then its blocks are compared first: if it is the file, that is
//! success and nothing is written. If not, it is replaced only where the user said so.

use super::{Get, RetrieveStage, RetrieveTotal};
use crate::config::MAX_BLOCK_SIZE;
use crate::file::tree::{Stop, TreeWalk};
use crate::id::Id;
use crate::node::desk::Desk;
use crate::node::files::{Flow, GOES_ON};
use crate::node::job::{Job, Slot};
use crate::node::notice::Progress;

/// What is done about each block.
pub(super) enum Mode {
    /// It is compared with what stands at the destination. The first that differs ends that: then the walk begins
    /// `again`.
    Comparing { again: Box<TreeWalk> },
    /// It is looked for in what an interrupted run left, and else fetched.
    Resuming,
    /// It is fetched.
    Fetching,
}

impl Get {
    pub(super) fn open(&mut self, desk: &mut Desk, walk: TreeWalk, root: Id, size: u64, sha256: Option<Id>) -> Flow {
        self.total = RetrieveTotal { size, root, sha256, ..std::mem::take(&mut self.total) };
        // An empty list may be what is left of one: that is no reason to empty a file.
        self.replace &= !(self.total.incomplete && size == 0);
        desk.progress(self.command, Progress::Begun { bytes: size });
        self.order_open(desk, Box::new(walk), true)
    }

    fn order_open(&mut self, desk: &mut Desk, walk: Box<TreeWalk>, compare: bool) -> Flow {
        let RetrieveTotal { root, size, .. } = self.total;
        let (dest, replace) = (self.dest.clone(), self.replace);
        let only = only_block(&walk, size).filter(|slot| desk.holds(&slot.key) || self.is_bare_root(&slot.key));
        let only = only.filter(|_| self.promised().is_none());
        self.stage = RetrieveStage::Opening { walk };
        let work = Job::Open { get: self.id, dest, root, size, compare, replace, only };
        self.order(desk, work);
        GOES_ON
    }

    /// The file was opened, its only block written, and its name given: by one job, so that a small file takes no four
    /// turns between the node and a worker.
    pub(super) fn on_whole(&mut self, desk: &mut Desk) -> Flow {
        (self.total.moved, self.total.blocks) = (self.total.size, 1);
        self.succeed(desk, false)
    }

    /// What stands at the destination is another file. Whether it may be replaced is for the worker to say.
    pub(super) fn on_difference(&mut self, desk: &mut Desk) -> Flow {
        let RetrieveStage::Walking { mode: Mode::Comparing { again }, .. } = &mut self.stage else { return GOES_ON };
        let walk = std::mem::replace(again, Box::new(TreeWalk::flat(Vec::new())));
        self.drop_blocks(desk);
        (self.total.moved, self.total.resumed, self.total.blocks) = (0, 0, 0);
        self.order_open(desk, walk, false)
    }

    pub(super) fn is_comparing(&self) -> bool {
        matches!(self.stage, RetrieveStage::Walking { mode: Mode::Comparing { .. }, .. })
    }
}

/// The block of a file of `size` bytes that has but one.
fn only_block(walk: &TreeWalk, size: u64) -> Option<Slot> {
    if size > MAX_BLOCK_SIZE.into() {
        return None;
    }
    let mut ahead = walk.clone();
    match (ahead.next_step(), ahead.next_step()) {
        (Stop::Slot { key, size, offset }, Stop::Done) => Some(Slot { key, size, offset }),
        _ => None,
    }
}
