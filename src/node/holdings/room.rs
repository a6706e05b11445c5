//! What there is room for: the blocks that are coming and going, and who may bring how much.

use super::Holdings;
use crate::id::Key;
use crate::lease::Lease;
use crate::node::job::{JobError, JobErrorKind, JobId};
use crate::node::leases::SetId;
use crate::source::Subnet;

/// Bytes that a file takes on a disk at least, and is a multiple of: an ordinary page.
pub(super) const PAGE: u64 = 4096;

/// Bytes that a block of this size takes of the capacity: what its file costs on the disk, or many small ones would
/// take far more of it than was allowed.
pub(super) fn charge(size: u32) -> u64 {
    u64::from(size.max(1)).next_multiple_of(PAGE)
}

/// Bytes that several leases on a block take of the capacity, but for one of them: each costs as much memory as a small
/// block. Blocks that have the same ones share that.
pub(super) fn charge_of(leases: usize) -> u64 {
    leases.saturating_sub(1) as u64 * PAGE
}

/// What a job is to do for a block.
#[derive(Debug)]
pub(super) struct ComingBlock {
    key: Key,
    /// The most bytes that it may write.
    most: u32,
    /// What the block will be kept for, beside what it is kept for already.
    leases: Vec<Lease>,
    /// What these take of the capacity.
    charge: u64,
    /// The source that brings it, if it counts for one.
    by: Option<Subnet>,
}

/// What a job that has ended was to do for a block.
pub(in crate::node) struct Released {
    /// What the block was to be kept for besides.
    pub(in crate::node) leases: Vec<Lease>,
    /// The source that was to bring it, if it counts for one.
    pub(in crate::node) by: Option<Subnet>,
    /// The block that it was to delete.
    pub(in crate::node) deletes: Option<Key>,
}

impl Holdings {
    /// What a block of `size` bytes takes beside the copy that it is to replace. The room of that copy is its own:
    /// should it go meanwhile, no other block gets it.
    fn more(&self, key: &Key, size: u32) -> u64 {
        charge(size).saturating_sub(self.size(key).map_or(0, charge))
    }

    /// What such leases take beside those that are here.
    fn more_leases(&self, key: &Key, leases: &[Lease]) -> u64 {
        if self.has_leases(key, leases) {
            return 0;
        }
        let set = self.blocks.get(key).map_or(SetId::NONE, |held| held.set);
        charge_of(self.leases.len_of_new(set, leases, self.now))
    }

    fn more_coming(&self, coming: &ComingBlock) -> u64 {
        self.more(&coming.key, coming.most) + coming.charge
    }

    /// What the blocks take that come, from whomever.
    fn coming(&self) -> u64 {
        self.coming.values().map(|coming| self.more_coming(coming)).sum()
    }

    /// What the blocks take that come from such sources.
    fn coming_from(&self, is_one: &dyn Fn(Subnet) -> bool) -> u64 {
        let coming = self.coming.values().filter(|coming| coming.by.is_some_and(is_one));
        coming.map(|coming| self.more_coming(coming)).sum()
    }

    /// Whether this source leaves room to others with a block of `size` bytes more, and these leases on it.
    pub(in crate::node) fn has_share(&self, key: &Key, size: u32, leases: &[Lease], by: Subnet) -> bool {
        let more = self.more(key, size) + self.more_leases(key, leases);
        let (Some(capacity), size @ 1..) = (self.capacity, more) else { return true };
        let left = capacity.saturating_sub(self.charged + self.coming() + size);
        self.shares.allow(by, |is_one| self.coming_from(is_one), size, left)
    }

    /// Whether a block of `size` bytes, and these leases on it, have room beside all that are here or coming.
    pub(in crate::node) fn check_room(&self, key: &Key, size: u32, leases: &[Lease]) -> Result<(), JobError> {
        let more = self.more(key, size) + self.more_leases(key, leases);
        let (Some(capacity), size @ 1..) = (self.capacity, more) else { return Ok(()) };
        if self.charged + self.coming() + size <= capacity {
            return Ok(());
        }
        let reason = format!(
            "the store is full: {size} bytes more would exceed its capacity of {capacity}; raise --capacity or clear some"
        );
        Err(JobError { kind: JobErrorKind::Full, reason })
    }

    /// Bytes that blocks may take here, if there is such a limit.
    pub(in crate::node) fn capacity(&self) -> Option<u64> {
        self.capacity
    }

    /// This job is to write a block of at most `most` bytes, for which there is [room](Self::check_room), or to look at
    /// it, for these leases too. It counts for who brings it.
    pub(in crate::node) fn reserve(
        &mut self,
        job: JobId,
        (key, most): (Key, u32),
        leases: Vec<Lease>,
        by: Option<Subnet>,
    ) {
        let charge = self.more_leases(&key, &leases);
        self.coming.insert(job, ComingBlock { key, most, leases, charge, by });
    }

    /// Whether a job is to write a block, or to look at it.
    pub(in crate::node) fn is_coming(&self, key: &Key) -> bool {
        self.coming.values().any(|coming| coming.key == *key)
    }

    /// This job is to delete a block.
    pub(in crate::node) fn give_up(&mut self, job: JobId, key: Key) {
        self.going.insert(key);
        self.deletions.insert(job, key);
    }

    /// Whether a block is being deleted: until that is over, it can neither be counted on nor come again.
    pub(in crate::node) fn is_going(&self, key: &Key) -> bool {
        self.going.contains(key)
    }

    /// This job has ended, or will never begin: what was reserved for it is free.
    pub(in crate::node) fn release(&mut self, job: JobId) -> Released {
        let deletes = self.deletions.remove(&job);
        if let Some(key) = deletes {
            self.going.remove(&key);
        }
        self.noting.remove(&job);
        let (leases, by) = self.coming.remove(&job).map_or((Vec::new(), None), |coming| (coming.leases, coming.by));
        Released { leases, by, deletes }
    }
}
