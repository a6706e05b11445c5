//! The blocks this peer holds, those on their way here, and what there is room for. Their bytes are the store's.
//!
//! This is the one account: whatever writes a block is ordered by the node, so room is reserved before the first byte
//! moves, and a block counts once its job has ended and it is durable. What failed on the way gives its room back.
//!
//! It is also the one index by key. All that is remembered of a block stands in its entry, packed, for there may be a
//! million of them: an entry takes at most 80 bytes of memory, the tree's own included, which a test counts.

mod copies;
mod kept_for;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

pub(super) use self::copies::LookEnd;
use self::copies::{CopyRound, RoundNumber};
pub(super) use self::room::Released;
use self::room::{ComingBlock, charge, charge_of};
use super::job::JobId;
use super::leases::{Class, Leases, SetId, USUAL};
use super::shares::{SourceNumber, SourceShares};
use crate::id::Key;
use crate::lease::{EndOfLease, Lease, LeaseId, Note, UnixTime};
use crate::source::Subnet;
use crate::wire::{Range, Start};

/// The blocks in the own store.
#[derive(Default, Debug)]
pub(super) struct Holdings {
    blocks: BTreeMap<Key, HeldBlock>,
    bytes: u64,
    /// What they are [charged](room::charge).
    charged: u64,
    /// The most that all blocks together may be charged.
    capacity: Option<u64>,
    /// The blocks that jobs are to write or to look at.
    coming: BTreeMap<JobId, ComingBlock>,
    /// The blocks that are to be deleted, and the jobs that do it.
    going: BTreeSet<Key>,
    deletions: BTreeMap<JobId, Key>,
    leases: Leases,
    shares: SourceShares,
    /// What was told of leases and may not be in the journal, and the jobs that write it.
    unwritten: BTreeMap<LeaseId, Note>,
    noting: BTreeMap<JobId, Vec<Note>>,
    /// Copies of a block for which no lease asks for a number.
    usual: usize,
    now: UnixTime,
    round: CopyRound,
    /// Blocks that were looked at: a test counts those of each turn.
    #[cfg(test)]
    pub(super) looks: std::cell::Cell<usize>,
}

/// What is known of a block.
#[derive(Debug)]
struct HeldBlock {
    size: u32,
    /// The leases on it.
    set: SetId,
    /// The source that brought it.
    by: SourceNumber,
    /// It was written, or looked at, since this peer began.
    seen: bool,
    /// The last round in which another peer was found to have a copy.
    round: RoundNumber,
}

impl Holdings {
    /// No blocks, of which at most so many bytes will be here, usually in so many copies in all.
    pub(super) fn new(capacity: Option<u64>, usual: usize) -> Self {
        Self { capacity, usual, ..Self::default() }
    }

    /// It is `now`: leases end by that.
    pub(super) fn set_time(&mut self, now: UnixTime) {
        self.now = now;
    }

    // What is here.

    /// These blocks were found in the store, and this was written down about leases.
    pub(super) fn found(&mut self, mut blocks: Vec<(Key, u32)>, notes: &[Note]) {
        // Of what came since the store was looked through, more is known.
        blocks.retain(|(key, _)| !self.blocks.contains_key(key));
        self.bytes += blocks.iter().map(|(_, size)| u64::from(*size)).sum::<u64>();
        self.charged += blocks.iter().map(|(_, size)| charge(*size)).sum::<u64>();
        let held = |size| HeldBlock { size, set: SetId::NONE, by: SourceNumber::NONE, seen: false, round: 0 };
        self.blocks.extend(blocks.into_iter().map(|(key, size)| (key, held(size))));
        let unwritten: Vec<Note> = self.unwritten.values().cloned().collect();
        let notes = || notes.iter().chain(&unwritten);
        // What has ended comes last: a block of which nothing else is known shall go, not be like one without any
        // lease.
        let ended = |note: &&Note| matches!(note, Note::Ended { .. });
        for note in notes().filter(|note| !ended(note)).chain(notes().filter(ended)) {
            match note {
                Note::Laid { key, leases } => self.lay(key, leases, None),
                Note::Renewed(lease) => drop(self.leases.renew(lease)),
                &Note::Ended { secret, at, by } => drop(self.leases.end(EndOfLease { secret, at, by })),
            }
        }
    }

    /// All blocks are out of reach.
    pub(super) fn lose_all(&mut self) {
        for (key, held) in std::mem::take(&mut self.blocks) {
            self.give_back(&key, &held);
        }
    }

    /// A block was written, to be kept for these leases too. It counts for who brought it first.
    pub(super) fn insert(&mut self, key: Key, size: u32, leases: &[Lease], by: Option<Subnet>) {
        // It may have come otherwise since that was ordered.
        let leases = self.meant(&key, leases.to_vec());
        let (before, after) = (self.size(&key).map_or(0, charge), charge(size));
        self.charged = self.charged - before + after;
        let brought = by.filter(|_| before == 0);
        let mark = self.shares.mark(brought);
        let new = HeldBlock { size: 0, set: SetId::NONE, by: mark, seen: true, round: self.round.number };
        let held = self.blocks.entry(key).or_insert(new);
        self.shares.change(held.by, brought, before, after);
        self.bytes = self.bytes - u64::from(held.size) + u64::from(size);
        (held.size, held.seen) = (size, true);
        self.lay(&key, &leases, by);
    }

    /// A block that is here is kept for these leases too, by word of this source. A set of leases counts for the source
    /// that was the first to lay it.
    pub(super) fn lay(&mut self, key: &Key, leases: &[Lease], by: Option<Subnet>) {
        let Some(held) = self.blocks.get_mut(key) else { return };
        let before = held.set;
        let gone = self.leases.lone(before);
        let next = self.leases.add(before, leases, self.now);
        held.set = next;
        if next == before {
            return;
        }
        self.give_back_set(gone);
        if let Some((_, leases @ 2..)) = self.leases.lone(next) {
            let (mark, charge) = (self.shares.mark(by), charge_of(leases));
            self.leases.lay_by(next, mark);
            self.charged += charge;
            self.shares.change(mark, by, 0, charge);
        }
    }

    /// No block has this set of leases any more, if it is one.
    fn give_back_set(&mut self, gone: Option<(SourceNumber, usize)>) {
        if let Some((by, leases)) = gone {
            self.charged -= charge_of(leases);
            self.shares.change(by, None, charge_of(leases), 0);
        }
    }

    /// A block is gone. Returns its size and the leases on it, if it was here.
    pub(super) fn remove(&mut self, key: &Key) -> Option<(u32, Vec<Lease>)> {
        let held = self.blocks.remove(key)?;
        let leases = self.leases.of(held.set, self.now).collect();
        self.give_back(key, &held);
        Some((held.size, leases))
    }

    /// A block is not here any more: what it took is free.
    fn give_back(&mut self, key: &Key, held: &HeldBlock) {
        let charged = charge(held.size);
        self.note_gone(key, held.round);
        self.bytes -= u64::from(held.size);
        self.charged -= charged;
        self.shares.change(held.by, None, charged, 0);
        self.give_back_set(self.leases.lone(held.set));
        self.leases.release(held.set);
    }

    pub(super) fn size(&self, key: &Key) -> Option<u32> {
        self.blocks.get(key).map(|held| held.size)
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.blocks.contains_key(key)
    }

    /// Whether a block is here that was not looked at since this peer began.
    pub(super) fn is_unseen(&self, key: &Key) -> bool {
        self.blocks.get(key).is_some_and(|held| !held.seen)
    }

    /// The first block that was not looked at since this peer began, of those whose keys are `from` or greater; but
    /// after `looks` whichever comes.
    pub(super) fn unseen_from(&self, from: &Key, looks: usize) -> Option<Key> {
        let mut blocks = self.range(from..).enumerate();
        blocks.find(|(at, (_, held))| !held.seen || *at == looks).map(|(_, (key, _))| *key)
    }

    /// A block is being looked at.
    pub(super) fn see(&mut self, key: &Key) {
        if let Some(held) = self.blocks.get_mut(key) {
            held.seen = true;
        }
    }

    /// Keys and sizes in the order of keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, u32)> + '_ {
        self.range(..).map(|(&key, held)| (key, held.size))
    }

    /// The blocks in this range of keys, in order: all that looks at many comes by here.
    fn range(&self, range: impl RangeBounds<Key>) -> impl Iterator<Item = (&Key, &HeldBlock)> {
        let range = self.blocks.range(range);
        #[cfg(test)]
        let range = range.inspect(|_| self.looks.set(self.looks.get() + 1));
        range
    }

    /// The keys in a range, in ascending order; of the blocks of this class that are wanted, or of all blocks. The walk
    /// ends early once it has found `most`, or has looked as often as `looks` leaves: at each block, and where a class
    /// is asked for at each lease on it. It goes as far as the keys that start with what comes second, for one of them
    /// at least.
    pub(super) fn walk(
        &self,
        range: &Range,
        class: Option<Class>,
        most: usize,
        looks: &mut usize,
    ) -> (Vec<&Key>, Start) {
        let fits = |held: &HeldBlock| {
            class.is_none_or(|class| self.leases.wanted_class(held.set, self.now, self.usual) == Some(class))
        };
        let (mut keys, mut end) = (Vec::new(), None);
        for (key, held) in self.range(range.bounds()) {
            let start = Start::of(key);
            if let Some(end) = end.filter(|end| *end != start)
                && (keys.len() >= most || *looks == 0)
            {
                return (keys, end);
            }
            end = Some(start);
            let leases = if class.is_some() { self.leases.len_of(held.set) } else { 0 };
            *looks = looks.saturating_sub(leases.max(1));
            keys.extend(fits(held).then_some(key));
        }
        (keys, range.last)
    }

    /// The first key that is `from` or greater.
    pub(super) fn first_from(&self, from: &Key) -> Option<Key> {
        self.range(from..).next().map(|(key, _)| *key)
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes in all blocks together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the sums are right.
    pub(super) fn check(&self) -> Result<(), String> {
        let (mut bytes, mut charged, mut sets) = (0, 0, BTreeMap::new());
        for held in self.blocks.values() {
            bytes += u64::from(held.size);
            charged += charge(held.size);
            *sets.entry(held.set).or_default() += 1;
        }
        self.leases.check(&sets)?;
        let of_sets = || self.leases.laid().map(|(by, leases)| (by, charge_of(leases)));
        charged += of_sets().map(|(_, charge)| charge).sum::<u64>();
        let of_blocks = self.blocks.values().map(|held| (held.by, charge(held.size)));
        let shared = self.shares.check(of_blocks.chain(of_sets()));
        (shared && (bytes, charged) == (self.bytes, self.charged))
            .then_some(())
            .ok_or_else(|| "the account of blocks contradicts itself".to_owned())
    }
}

#[cfg(test)]
pub(super) use self::tests::bytes_in_tree;

#[cfg(test)]
mod tests;
