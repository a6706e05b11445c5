//! The blocks this peer holds, those on their way here, and what there is room for. Their bytes are the store's.
//!
//! This is the one account: whatever writes a block is ordered by the node, so room is reserved before the first byte
//! moves, and a block counts once its job has ended and it is durable. What failed on the way gives its room back.

use std::collections::BTreeMap;

use super::job::{JobError, JobErrorKind, JobId};
use crate::id::Key;

/// The blocks in the own store.
#[derive(Debug)]
pub(super) struct Holdings {
    blocks: BTreeMap<Key, Held>,
    bytes: u64,
    /// The most bytes that all blocks together may have.
    capacity: Option<u64>,
    /// The blocks that jobs are to write, with the bytes that each may have.
    coming: BTreeMap<JobId, (Key, u32)>,
}

#[derive(Debug)]
struct Held {
    size: u32,
    /// It was written, or looked at, since this peer began.
    seen: bool,
}

impl Holdings {
    pub(super) fn new(capacity: Option<u64>) -> Self {
        Self { blocks: BTreeMap::new(), bytes: 0, capacity, coming: BTreeMap::new() }
    }

    /// Whether a block of `size` bytes has room beside all that are here or coming. The room of the copy that it is to
    /// replace is its own: should that copy go meanwhile, no other block gets it.
    pub(super) fn check_room(&self, key: &Key, size: u32) -> Result<(), JobError> {
        let more = |key: &Key, size: u32| u64::from(size.saturating_sub(self.size(key).unwrap_or(0)));
        let (Some(capacity), size @ 1..) = (self.capacity, more(key, size)) else { return Ok(()) };
        let coming: u64 = self.coming.values().map(|(key, size)| more(key, *size)).sum();
        if self.bytes + coming + size <= capacity {
            return Ok(());
        }
        let reason = format!(
            "the store is full: {size} bytes more would exceed its capacity of {capacity}; raise --capacity or clear some"
        );
        Err(JobError { kind: JobErrorKind::Full, reason })
    }

    /// This job is to write a block of at most `size` bytes, for which there is [room](Self::check_room).
    pub(super) fn reserve(&mut self, job: JobId, key: Key, size: u32) {
        self.coming.insert(job, (key, size));
    }

    /// This job has ended, or will never begin: what was reserved for it is free.
    pub(super) fn settle(&mut self, job: JobId) {
        self.coming.remove(&job);
    }

    /// A block was found in the store when this peer began.
    pub(super) fn found(&mut self, key: Key, size: u32) {
        self.put(key, Held { size, seen: false });
    }

    /// A block was written.
    pub(super) fn insert(&mut self, key: Key, size: u32) {
        self.put(key, Held { size, seen: true });
    }

    fn put(&mut self, key: Key, held: Held) {
        let size = held.size;
        let before = self.blocks.insert(key, held).map_or(0, |held| held.size);
        self.bytes = self.bytes - u64::from(before) + u64::from(size);
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<u32> {
        let Held { size, .. } = self.blocks.remove(key)?;
        self.bytes -= u64::from(size);
        Some(size)
    }

    pub(super) fn size(&self, key: &Key) -> Option<u32> {
        self.blocks.get(key).map(|held| held.size)
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.blocks.contains_key(key)
    }

    /// Whether a block is here that nobody has looked at since this peer began.
    pub(super) fn is_unseen(&self, key: &Key) -> bool {
        self.blocks.get(key).is_some_and(|held| !held.seen)
    }

    /// A block is being looked at.
    pub(super) fn see(&mut self, key: &Key) {
        if let Some(held) = self.blocks.get_mut(key) {
            held.seen = true;
        }
    }

    /// Keys and sizes in the order of keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, u32)> + '_ {
        self.blocks.iter().map(|(&key, held)| (key, held.size))
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes in all blocks together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
