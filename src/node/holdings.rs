//! The blocks this peer holds, those on their way here, and what there is room for. Their bytes are the store's.
//!
//! This is the one account: whatever writes a block is ordered by the node, so room is reserved before the first byte
//! moves, and a block counts once its job has ended and it is durable. What failed on the way gives its room back.
//!
//! It is also the one index by key. All that is remembered of a block stands in its entry, for there may be a million of
//! them: a test counts the bytes.

use std::collections::BTreeMap;

use super::job::{JobError, JobErrorKind, JobId};
use crate::id::Key;
use crate::wire::Range;

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

/// What is known of a block.
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

    // What is here.

    /// These blocks were found in the store when this peer began.
    pub(super) fn found(&mut self, blocks: Vec<(Key, u32)>) {
        self.bytes = blocks.iter().map(|(_, size)| u64::from(*size)).sum();
        let held = |size| Held { size, seen: false };
        self.blocks = blocks.into_iter().map(|(key, size)| (key, held(size))).collect();
    }

    /// A block was written.
    pub(super) fn insert(&mut self, key: Key, size: u32) {
        let held = self.blocks.entry(key).or_insert(Held { size: 0, seen: true });
        self.bytes = self.bytes - u64::from(held.size) + u64::from(size);
        (held.size, held.seen) = (size, true);
    }

    /// A block is gone. Returns its size, if it was here.
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

    /// The first block that nobody has looked at since this peer began, of those whose keys are `from` or greater.
    pub(super) fn unseen_from(&self, from: &Key) -> Option<Key> {
        self.blocks.range(from..).find(|(_, held)| !held.seen).map(|(key, _)| *key)
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

    /// The keys in a range, in ascending order.
    pub(super) fn within(&self, range: &Range) -> impl Iterator<Item = &Key> {
        self.blocks.range(range.bounds()).map(|(key, _)| key)
    }

    /// The first key that is `from` or greater.
    pub(super) fn first_from(&self, from: &Key) -> Option<Key> {
        self.blocks.range(from..).next().map(|(key, _)| *key)
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes in all blocks together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    // What there is room for.

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

    /// Whether the sums are right.
    pub(super) fn check(&self) -> Result<(), String> {
        let bytes: u64 = self.iter().map(|(_, size)| u64::from(size)).sum();
        (bytes == self.bytes).then_some(()).ok_or_else(|| "the account of blocks contradicts itself".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Id;

    /// Keys of which some start alike.
    fn key(n: u8) -> Key {
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (n / 4, n % 4);
        Id::from_bytes(bytes)
    }

    #[test]
    fn a_block_costs_at_most_80_bytes() {
        // Keys are spread evenly, so the nodes of a tree are filled to 69 of 100 on average (Yao 1978), of eleven places
        // each, and a node has 12 bytes of its own and 8 of the allocator's; one of eight is an inner one with 12 edges.
        let tree = |entry: usize| (entry * 11 + 20 + 12) as f64 / (11.0 * 0.69) + 12.0 * 8.0 / (11.0 * 0.69 * 8.0);
        let bytes = tree(size_of::<(Key, Held)>());
        assert!(bytes <= 80.0, "{bytes} bytes");
    }

    proptest! {
        /// Whatever is ordered, ends, fails, is deleted and is damaged, in whatever order.
        #[test]
        fn what_is_here_and_coming_never_exceeds_the_capacity(
            steps in proptest::collection::vec((0..5_u8, 0..8_u8, 0..40_u32), 0..200)
        ) {
            let (mut holdings, mut jobs) = (Holdings::new(Some(100)), BTreeMap::new());
            for (job, (what, n, size)) in (0..).zip(steps) {
                // A key stands for its bytes, and so for their number.
                let size = size / 8 + u32::from(n) * 4;
                match what {
                    0 | 1 if holdings.check_room(&key(n), size).is_ok() => {
                        holdings.reserve(job, key(n), size);
                        jobs.insert(job, (key(n), size));
                    }
                    2 | 3 => if let Some((job, (key, size))) = jobs.pop_first() {
                        holdings.settle(job);
                        if what == 2 {
                            holdings.insert(key, size);
                        }
                    },
                    _ => drop(holdings.remove(&key(n))),
                }
                prop_assert!(holdings.bytes() <= 100);
                prop_assert_eq!(holdings.check(), Ok(()));
            }
        }
    }
}
