//! The blocks this peer holds, those on their way here, and what there is room for. Their bytes are the store's.
//!
//! This is the one account: whatever writes a block is ordered by the node, so room is reserved before the first byte
//! moves, and a block counts once its job has ended and it is durable. What failed on the way gives its room back.
//!
//! It is also the one index by key. All that is remembered of a block stands in its entry, when it is checked next
//! included, for there may be a million of them: a test counts the bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::job::{JobError, JobErrorKind, JobId};
use crate::id::{Id, Key};
use crate::time::Time;

/// The blocks in the own store.
#[derive(Debug)]
pub(super) struct Holdings {
    blocks: BTreeMap<Key, Held>,
    /// The blocks that are to be checked, the first due first.
    due: BTreeSet<(Time, Start)>,
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
    /// Its next check is due to news.
    stirred: bool,
    /// When it is checked next, or [`UNPLANNED`].
    due: Time,
}

/// How a key starts: enough to find its block, in a quarter of the room. Blocks that are due at the same time and whose
/// keys start alike have one entry together.
type Start = u64;

/// The time of what is not planned.
const UNPLANNED: Time = Time::from_micros(u64::MAX);

impl Holdings {
    pub(super) fn new(capacity: Option<u64>) -> Self {
        Self { blocks: BTreeMap::new(), due: BTreeSet::new(), bytes: 0, capacity, coming: BTreeMap::new() }
    }

    // What is here.

    /// These blocks were found in the store when this peer began.
    pub(super) fn found(&mut self, blocks: Vec<(Key, u32)>) {
        self.bytes = blocks.iter().map(|(_, size)| u64::from(*size)).sum();
        let held = |size| Held { size, seen: false, stirred: false, due: UNPLANNED };
        self.blocks = blocks.into_iter().map(|(key, size)| (key, held(size))).collect();
    }

    /// A block was written.
    pub(super) fn insert(&mut self, key: Key, size: u32) {
        let held = self.blocks.entry(key).or_insert(Held { size: 0, seen: true, stirred: false, due: UNPLANNED });
        self.bytes = self.bytes - u64::from(held.size) + u64::from(size);
        (held.size, held.seen) = (size, true);
    }

    /// A block is gone. Returns its size, if it was here.
    pub(super) fn remove(&mut self, key: &Key) -> Option<u32> {
        self.plan(key, UNPLANNED);
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

    // When blocks are checked.

    /// A block that is here is checked at `at`, and not before.
    pub(super) fn plan(&mut self, key: &Key, at: Time) {
        let Some(held) = self.blocks.get_mut(key) else { return };
        let before = std::mem::replace(&mut held.due, at);
        if before != at && before != UNPLANNED && self.due_at(before, start(key)).is_none() {
            self.due.remove(&(before, start(key)));
        }
        if at != UNPLANNED {
            self.due.insert((at, start(key)));
        }
    }

    /// Every block is checked at a time of its own, given in the order of keys.
    pub(super) fn plan_all(&mut self, times: Vec<Time>) {
        self.blocks.values_mut().zip(times).for_each(|(held, at)| held.due = at);
        self.due = self.blocks.iter().map(|(key, held)| (held.due, start(key))).collect();
    }

    /// When a block is checked next; none if that is not planned.
    pub(super) fn due(&self, key: &Key) -> Option<Time> {
        self.blocks.get(key).map(|held| held.due).filter(|due| *due != UNPLANNED)
    }

    /// When the first block is checked.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the first block that is to be checked by now, and whether news are the reason. Its next check is not
    /// planned then.
    pub(super) fn take_due(&mut self, now: Time) -> Option<(Key, bool)> {
        let &(at, start) = self.due.first().filter(|(at, _)| *at <= now)?;
        let key = self.due_at(at, start)?;
        self.plan(&key, UNPLANNED);
        let held = self.blocks.get_mut(&key)?;
        Some((key, std::mem::take(&mut held.stirred)))
    }

    /// News concern a block: they will be the reason of its next check.
    pub(super) fn stir(&mut self, key: &Key) {
        if let Some(held) = self.blocks.get_mut(key) {
            held.stirred = true;
        }
    }

    /// The first block whose key starts so and that is due at this time.
    fn due_at(&self, at: Time, start: Start) -> Option<Key> {
        let edge = |rest| {
            let mut bytes = [rest; 32];
            bytes[..8].copy_from_slice(&start.to_be_bytes());
            Id::from_bytes(bytes)
        };
        let mut alike = self.blocks.range(edge(0)..=edge(u8::MAX));
        alike.find(|(_, held)| held.due == at).map(|(key, _)| *key)
    }

    /// Whether the sums are right, and each block that is to be checked will be.
    pub(super) fn check(&self) -> Result<(), String> {
        let bytes: u64 = self.iter().map(|(_, size)| u64::from(size)).sum();
        let mut planned = self.blocks.iter().filter(|(_, held)| held.due != UNPLANNED);
        let right = bytes == self.bytes
            && planned.all(|(key, held)| self.due.contains(&(held.due, start(key))))
            && self.due.iter().all(|&(at, start)| self.due_at(at, start).is_some());
        right.then_some(()).ok_or_else(|| "the index of blocks contradicts itself".to_owned())
    }
}

fn start(key: &Key) -> Start {
    key.as_bytes()[..8].iter().fold(0, |start, byte| start << 8 | Start::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys of which some start alike.
    fn key(n: u8) -> Key {
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (n / 4, n % 4);
        Id::from_bytes(bytes)
    }

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn a_block_costs_at_most_128_bytes() {
        // Keys are spread evenly, so the nodes of a tree are filled to 69 of 100 on average (Yao 1978), of eleven places
        // each, and a node has 12 bytes of its own and 8 of the allocator's; one of eight is an inner one with 12 edges.
        let tree = |entry: usize| (entry * 11 + 20 + 12) as f64 / (11.0 * 0.69) + 12.0 * 8.0 / (11.0 * 0.69 * 8.0);
        let bytes = tree(size_of::<(Key, Held)>()) + tree(size_of::<(Time, Start)>());
        assert!(bytes <= 128.0, "{bytes} bytes");
    }

    #[test]
    fn blocks_are_due_in_order_of_time_then_of_key_whether_or_not_their_keys_start_alike() {
        let mut holdings = Holdings::new(None);
        holdings.found((0..12).map(|n| (key(n), 1)).collect());
        holdings.plan_all((0..12).map(|n| at(n % 2)).collect());
        holdings.stir(&key(4));
        holdings.plan(&key(6), at(7));
        holdings.remove(&key(2));
        holdings.check().unwrap();
        let mut due = Vec::new();
        while let Some(taken) = holdings.take_due(at(1)) {
            due.push(taken);
            holdings.check().unwrap();
        }
        let expected = [0, 4, 8, 10, 1, 3, 5, 7, 9, 11].map(|n| (key(n), n == 4));
        assert_eq!((due, holdings.next_due()), (expected.to_vec(), Some(at(7))));
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
                            holdings.plan(&key, at(job));
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
