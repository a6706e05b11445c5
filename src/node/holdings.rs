//! The blocks this peer holds, those on their way here, and what there is room for. Their bytes are the store's.
//!
//! This is the one account: whatever writes a block is ordered by the node, so room is reserved before the first byte
//! moves, and a block counts once its job has ended and it is durable. What failed on the way gives its room back.
//!
//! It is also the one index by key. All that is remembered of a block stands in its entry, for there may be a million
//! of them: a test counts the bytes.

mod copies;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;
use std::time::Duration;

pub(super) use self::copies::Look;
use self::copies::{Round, RoundNumber};
use super::job::{JobError, JobErrorKind, JobId};
use super::leases::{Leases, SetId};
use super::shares::{Mark, Shares};
use crate::id::Key;
use crate::lease::{Lease, LeaseId, LeaseNews, Note, UnixTime};
use crate::source::Source;
use crate::wire::{Range, Start};

/// The copies that a block is to have: the number that its leases ask for, at most [`WIDTH`](crate::config::WIDTH), or
/// [`USUAL`]. Each class has replica sets of its own size, and is compared by itself.
pub(crate) type Class = u8;

/// The class of a block for which nobody asks for a number: each peer has its own
/// ([`Config::replicas`](crate::config::Config::replicas)).
pub(crate) const USUAL: Class = 0;

/// Bytes that a file takes on a disk at least, and is a multiple of: an ordinary page.
const PAGE: u64 = 4096;

/// Bytes that a block of this size takes of the capacity: what its file costs on the disk, or many small ones would
/// take far more of it than was allowed.
fn charge(size: u32) -> u64 {
    u64::from(size.max(1)).next_multiple_of(PAGE)
}

/// The blocks in the own store.
#[derive(Default, Debug)]
pub(super) struct Holdings {
    blocks: BTreeMap<Key, Held>,
    bytes: u64,
    /// What they are [charged](charge).
    charged: u64,
    /// The most that all blocks together may be charged.
    capacity: Option<u64>,
    /// The blocks that jobs are to write or to look at.
    coming: BTreeMap<JobId, Coming>,
    /// The blocks that are to be deleted, and the jobs that do it.
    going: BTreeSet<Key>,
    deletions: BTreeMap<JobId, Key>,
    leases: Leases,
    shares: Shares,
    /// What was told of leases and may not be in the journal, and the jobs that write it.
    unwritten: BTreeMap<LeaseId, Note>,
    noting: BTreeMap<JobId, Vec<Note>>,
    /// Copies of a block for which nobody asks for a number.
    usual: usize,
    now: UnixTime,
    round: Round,
    /// Blocks that were looked at: a test counts those of each turn.
    #[cfg(test)]
    pub(super) looks: std::cell::Cell<usize>,
}

/// What is known of a block.
#[derive(Debug)]
struct Held {
    size: u32,
    /// The leases on it.
    set: SetId,
    /// Who brought it.
    by: Mark,
    /// It was written, or looked at, since this peer began.
    seen: bool,
    /// The last round in which another peer was found to have a copy.
    round: RoundNumber,
}

/// What a job is to do for a block.
#[derive(Debug)]
struct Coming {
    key: Key,
    /// The most bytes that it may write.
    most: u32,
    /// What the block will be kept for, beside what it is kept for already.
    leases: Vec<Lease>,
    /// Who brings it, if it counts for anybody.
    by: Option<Source>,
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

    /// These blocks were found in the store when this peer began, and this was written down about leases.
    pub(super) fn found(&mut self, blocks: Vec<(Key, u32)>, notes: &[Note]) {
        self.bytes = blocks.iter().map(|(_, size)| u64::from(*size)).sum();
        self.charged = blocks.iter().map(|(_, size)| charge(*size)).sum();
        let held = |size| Held { size, set: SetId::NONE, by: Mark::NONE, seen: false, round: 0 };
        self.blocks = blocks.into_iter().map(|(key, size)| (key, held(size))).collect();
        // What has ended comes last: a block of which nothing else is known shall go, not be like one without any
        // lease.
        let ended = |note: &&Note| matches!(note, Note::Ended { .. });
        for note in notes.iter().filter(|note| !ended(note)).chain(notes.iter().filter(ended)) {
            match note {
                Note::Laid { key, leases } => self.lay(key, leases),
                Note::Renewed(lease) => drop(self.leases.renew(lease)),
                Note::Ended { secret, at } => drop(self.leases.end(*secret, *at)),
            }
        }
    }

    /// A block was written, to be kept for these leases too. It counts for who brought it first.
    pub(super) fn insert(&mut self, key: Key, size: u32, leases: &[Lease], by: Option<Source>) {
        // It may have come otherwise since that was ordered.
        let leases = self.meant(&key, leases.to_vec());
        let (before, after) = (self.size(&key).map_or(0, charge), charge(size));
        self.charged = self.charged - before + after;
        let by = by.filter(|_| before == 0);
        let mark = self.shares.mark(by);
        let new = Held { size: 0, set: SetId::NONE, by: mark, seen: true, round: self.round.number };
        let held = self.blocks.entry(key).or_insert(new);
        self.shares.change(held.by, by, before, after);
        self.bytes = self.bytes - u64::from(held.size) + u64::from(size);
        (held.size, held.seen) = (size, true);
        held.set = self.leases.add(held.set, &leases, self.now);
    }

    /// A block that is here is kept for these leases too.
    pub(super) fn lay(&mut self, key: &Key, leases: &[Lease]) {
        if let Some(held) = self.blocks.get_mut(key) {
            held.set = self.leases.add(held.set, leases, self.now);
        }
    }

    /// A block is gone. Returns its size and the leases on it, if it was here.
    pub(super) fn remove(&mut self, key: &Key) -> Option<(u32, Vec<Lease>)> {
        let Held { size, set, by, round, .. } = self.blocks.remove(key)?;
        self.note_gone(key, round);
        self.bytes -= u64::from(size);
        self.charged -= charge(size);
        self.shares.change(by, None, charge(size), 0);
        let leases = self.leases.of(set, self.now).collect();
        self.leases.release(set);
        Some((size, leases))
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

    /// The first block that nobody has looked at since this peer began, of those whose keys are `from` or greater; but
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
    fn range(&self, range: impl RangeBounds<Key>) -> impl Iterator<Item = (&Key, &Held)> {
        let range = self.blocks.range(range);
        #[cfg(test)]
        let range = range.inspect(|_| self.looks.set(self.looks.get() + 1));
        range
    }

    /// The keys in a range, in ascending order; of the blocks of this class that somebody wants, or of all blocks. The
    /// walk ends early once it has found `most`, or has looked at as many as `looks` leaves. It goes as far as the keys
    /// that start with what comes second, for one of them at least.
    pub(super) fn walk(
        &self,
        range: &Range,
        class: Option<Class>,
        most: usize,
        looks: &mut usize,
    ) -> (Vec<&Key>, Start) {
        let fits = |held: &Held| {
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
            *looks = looks.saturating_sub(1);
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

    // What it is kept for.

    /// The leases on a block that hold; none on one that nobody may end.
    pub(super) fn leases(&self, key: &Key) -> Vec<Lease> {
        self.blocks.get(key).map_or(Vec::new(), |held| self.leases.of(held.set, self.now).collect())
    }

    /// All leases, of all blocks.
    pub(super) fn all_leases(&self) -> &Leases {
        &self.leases
    }

    /// Leases on blocks that are here last longer, or have ended. Returns what is to be written down: of leases that no
    /// block here has, nothing is remembered, for anybody can make some up.
    pub(super) fn change_leases(&mut self, news: &LeaseNews) -> Vec<Note> {
        let (at, leases) = (self.now, &mut self.leases);
        for lease in &news.renewed {
            // What is but a little better is not worth a line.
            if leases.betters(lease, at) && leases.renew(lease) {
                self.unwritten.insert(lease.id, Note::Renewed(*lease));
            }
        }
        for &secret in &news.ended {
            if leases.knows(&secret.id()) && leases.end(secret, at) {
                self.unwritten.insert(secret.id(), Note::Ended { secret, at });
            }
        }
        news.ids().iter().filter_map(|lease| self.unwritten.get(lease)).cloned().collect()
    }

    /// Deletions under way.
    pub(super) fn deleting(&self) -> usize {
        self.deletions.len()
    }

    /// A job writes this down.
    pub(super) fn note(&mut self, job: JobId, notes: Vec<Note>) {
        self.noting.insert(job, notes);
    }

    /// A job has written down what it was to.
    pub(super) fn noted(&mut self, job: JobId) {
        let notes = self.noting.remove(&job).unwrap_or_default();
        self.unwritten.retain(|_, note| !notes.contains(note));
    }

    /// Blocks that carry any of these leases, and those among them that nobody wants any more.
    pub(super) fn leased(&self, leases: &[LeaseId]) -> (u32, u32) {
        self.leases.count(leases, self.now)
    }

    /// The class of a block.
    pub(super) fn class(&self, key: &Key) -> Class {
        self.blocks.get(key).map_or(USUAL, |held| self.class_of(held))
    }

    fn class_of(&self, held: &Held) -> Class {
        self.leases.wanted_class(held.set, self.now, self.usual).unwrap_or(USUAL)
    }

    /// Copies that a block of this class should have.
    pub(super) fn copies(&self, class: Class) -> usize {
        if class == USUAL { self.usual } else { usize::from(class) }
    }

    /// Whether a block is here that somebody still wants.
    pub(super) fn wants(&self, key: &Key) -> bool {
        self.blocks.get(key).is_some_and(|held| self.leases.wants(held.set, self.now))
    }

    /// What these leases of an offer mean here: where the block is kept for ever, or is kept for others, no lease is
    /// one for ever.
    pub(super) fn meant(&self, key: &Key, mut leases: Vec<Lease>) -> Vec<Lease> {
        let set = self.blocks.get(key).map(|held| held.set);
        if leases.contains(&Lease::NOBODYS) {
            return leases;
        }
        if (leases.is_empty() && set.is_some_and(|set| set != SetId::NONE))
            || (!leases.is_empty() && set == Some(SetId::NONE))
        {
            leases.push(Lease::NOBODYS);
        }
        leases
    }

    /// By the clock of another peer these leases have not ended: the blocks that are here on them stay for so long.
    pub(super) fn hold_back(&mut self, leases: &[LeaseId], time: Duration) {
        let until = self.now + time.as_secs();
        leases.iter().for_each(|id| self.leases.hold_back(*id, until));
    }

    /// Whether any block stays for that.
    pub(super) fn holds_back(&mut self) -> bool {
        self.leases.holds_back(self.now)
    }

    /// Whether a block is here with all of these leases.
    pub(super) fn has_leases(&self, key: &Key, leases: &[Lease]) -> bool {
        self.blocks.get(key).is_some_and(|held| self.leases.has_all(held.set, leases))
    }

    /// Of `most` blocks from `from` on those that nobody has wanted for `grace`, and where to go on.
    pub(super) fn over(&self, from: &Key, most: usize, grace: Duration) -> (Vec<Key>, Option<Key>) {
        let mut blocks = self.range(from..);
        let over = |(key, held): (&Key, &Held)| self.leases.is_over(held.set, self.now, grace).then_some(*key);
        let found = blocks.by_ref().take(most).filter_map(over).collect();
        (found, blocks.next().map(|(key, _)| *key))
    }

    // What there is room for.

    /// What a block of `size` bytes takes beside the copy that it is to replace. The room of that copy is its own:
    /// should it go meanwhile, no other block gets it.
    fn more(&self, key: &Key, size: u32) -> u64 {
        charge(size).saturating_sub(self.size(key).map_or(0, charge))
    }

    /// What the blocks take that come from this source, or that come at all.
    fn coming(&self, from: Option<Source>) -> u64 {
        let coming = self.coming.values().filter(|coming| from.is_none() || coming.by == from);
        coming.map(|coming| self.more(&coming.key, coming.most)).sum()
    }

    /// Whether this source leaves room to others with a block of `size` bytes more.
    pub(super) fn has_share(&self, key: &Key, size: u32, by: Source) -> bool {
        let (Some(capacity), size @ 1..) = (self.capacity, self.more(key, size)) else { return true };
        let left = capacity.saturating_sub(self.charged + self.coming(None) + size);
        self.shares.allow(by, self.coming(Some(by)), size, left)
    }

    /// Whether a block of `size` bytes has room beside all that are here or coming.
    pub(super) fn check_room(&self, key: &Key, size: u32) -> Result<(), JobError> {
        let (Some(capacity), size @ 1..) = (self.capacity, self.more(key, size)) else { return Ok(()) };
        if self.charged + self.coming(None) + size <= capacity {
            return Ok(());
        }
        let reason = format!(
            "the store is full: {size} bytes more would exceed its capacity of {capacity}; raise --capacity or clear some"
        );
        Err(JobError { kind: JobErrorKind::Full, reason })
    }

    /// Bytes that blocks may take here, if there is such a limit.
    pub(super) fn capacity(&self) -> Option<u64> {
        self.capacity
    }

    /// This job is to write a block of at most `most` bytes, for which there is [room](Self::check_room), or to look at
    /// it, for these leases too. It counts for who brings it.
    pub(super) fn reserve(&mut self, job: JobId, (key, most): (Key, u32), leases: Vec<Lease>, by: Option<Source>) {
        self.coming.insert(job, Coming { key, most, leases, by });
    }

    /// Whether a job is to write a block, or to look at it.
    pub(super) fn is_coming(&self, key: &Key) -> bool {
        self.coming.values().any(|coming| coming.key == *key)
    }

    /// This job is to delete a block.
    pub(super) fn give_up(&mut self, job: JobId, key: Key) {
        self.going.insert(key);
        self.deletions.insert(job, key);
    }

    /// Whether a block is being deleted: until that is over, it can neither be counted on nor come again.
    pub(super) fn is_going(&self, key: &Key) -> bool {
        self.going.contains(key)
    }

    /// This job has ended, or will never begin: what was reserved for it is free. Returns the leases that it was for,
    /// and who was to bring the block.
    pub(super) fn settle(&mut self, job: JobId) -> (Vec<Lease>, Option<Source>) {
        if let Some(key) = self.deletions.remove(&job) {
            self.going.remove(&key);
        }
        self.noting.remove(&job);
        self.coming.remove(&job).map_or((Vec::new(), None), |coming| (coming.leases, coming.by))
    }

    /// Whether the sums are right.
    pub(super) fn check(&self) -> Result<(), String> {
        let bytes: u64 = self.iter().map(|(_, size)| u64::from(size)).sum();
        let charged: u64 = self.iter().map(|(_, size)| charge(size)).sum();
        let mut sets = BTreeMap::new();
        for held in self.blocks.values() {
            *sets.entry(held.set).or_default() += 1;
        }
        self.leases.check(&sets)?;
        let shared = self.shares.check(self.blocks.values().map(|held| (held.by, charge(held.size))));
        (shared && (bytes, charged) == (self.bytes, self.charged))
            .then_some(())
            .ok_or_else(|| "the account of blocks contradicts itself".to_owned())
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
        // Keys are spread evenly, so the nodes of a tree are filled to 69 of 100 on average (Yao 1978), of eleven
        // places each, and a node has 12 bytes of its own and 8 of the allocator's; one of eight is an inner one with
        // 12 edges.
        let tree = |entry: usize| (entry * 11 + 20 + 12) as f64 / (11.0 * 0.69) + 12.0 * 8.0 / (11.0 * 0.69 * 8.0);
        let bytes = tree(size_of::<(Key, Held)>());
        assert!(bytes <= 80.0, "{bytes} bytes");
    }

    #[test]
    fn a_small_block_takes_what_its_file_costs_and_many_exhaust_the_capacity() {
        let mut holdings = Holdings::new(Some(1_000_000), 7);
        let keys = (0..12_000_u64).map(|n| Id::of(&n.to_be_bytes()));
        let taken = keys.take_while(|key| {
            let has_room = holdings.check_room(key, 4).is_ok();
            holdings.insert(*key, 4, &[], None);
            has_room
        });
        assert_eq!(taken.count(), 244);
    }

    #[test]
    fn a_source_leaves_room_to_others_and_what_it_brought_counts_until_it_is_gone() {
        let mut holdings = Holdings::new(Some(2_000_000), 7);
        let source = |n: u8| Source::of(([10, 0, 0, n], 1).into());
        let mut keys = (0..3_000_u64).map(|n| Id::of(&n.to_be_bytes()));
        let mut bring = |holdings: &mut Holdings, by: Source| {
            let has_share = |key: &Key| holdings.has_share(key, 8, by) && holdings.check_room(key, 8).is_ok();
            let key = keys.next().filter(has_share)?;
            holdings.reserve(0, (key, 8), Vec::new(), Some(by));
            let (leases, by) = holdings.settle(0);
            holdings.insert(key, 8, &leases, by);
            Some(key)
        };
        let mut fill = |holdings: &mut Holdings, by| std::iter::from_fn(|| bring(holdings, by)).collect::<Vec<_>>();
        let brought: Vec<Vec<Key>> = (1..=3).map(|n| fill(&mut holdings, source(n))).collect();
        let counts: Vec<usize> = brought.iter().map(Vec::len).collect();
        assert_eq!(counts, [427, 53, 7], "of 488 places");
        assert_eq!(holdings.check(), Ok(()));
        brought.iter().flatten().for_each(|key| drop(holdings.remove(key)));
        assert_eq!((fill(&mut holdings, source(1)).len(), holdings.check()), (427, Ok(())));
    }

    proptest! {
        /// Whatever is ordered, ends, fails, is deleted and is damaged, in whatever order.
        #[test]
        fn what_is_here_and_coming_never_exceeds_the_capacity(
            steps in proptest::collection::vec((0..5_u8, 0..8_u8, 0..40_u32), 0..200)
        ) {
            let (mut holdings, mut jobs) = (Holdings::new(Some(25 * PAGE), 7), BTreeMap::new());
            for (job, (what, n, size)) in (0..).zip(steps) {
                // A key stands for its bytes, and so for their number.
                let size = (size / 8 + u32::from(n) * 4) * 1000;
                let by = (n > 2).then(|| Source::of(([10, 0, 0, n % 3], 1).into()));
                match what {
                    0 | 1 if holdings.check_room(&key(n), size).is_ok() => {
                        holdings.reserve(job, (key(n), size), Vec::new(), by);
                        jobs.insert(job, (key(n), size));
                    }
                    2 | 3 => if let Some((job, (key, size))) = jobs.pop_first() {
                        let (_, by) = holdings.settle(job);
                        if what == 2 {
                            holdings.insert(key, size, &[], by);
                        }
                    },
                    _ => drop(holdings.remove(&key(n))),
                }
                prop_assert!(holdings.bytes() <= holdings.charged && holdings.charged <= 25 * PAGE);
                prop_assert_eq!(holdings.check(), Ok(()));
            }
        }
    }
}
