//! Of which blocks other peers have copies, as far as one round of comparisons has found.
//!
//! A peer that is to be switched off compares all that it holds with others. What it found stands in each block's
//! entry, as the number of the round: so a round begins and ends without a look at any of them, and no turn of the node
//! walks over all.

use std::collections::BTreeSet;

use super::{HeldBlock, Holdings};
use crate::id::Key;

/// The number of a round. Each block is marked with the last one in which another peer was found to have a copy of it.
pub(super) type RoundNumber = u16;

/// The round that is open, or was last.
#[derive(Default, Debug)]
pub(super) struct CopyRound {
    pub(super) number: RoundNumber,
    is_open: bool,
    /// Blocks that were not found elsewhere, and are not here any more since it began.
    gone: BTreeSet<Key>,
}

/// What a look through some blocks found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum LookEnd {
    /// The block of this key.
    Found(Key),
    /// Nothing, and there are no others.
    Nothing,
    /// Nothing yet: the next look begins here.
    Onward(Key),
}

impl Holdings {
    /// A round begins: of no block here another copy is known. Of blocks that come from now on nothing is asked, unless
    /// they are [counted in](Self::forget_copies).
    pub(in crate::node) fn begin_round(&mut self) {
        let number = self.round.number.checked_add(1).unwrap_or_else(|| {
            // Marks of old would count as new ones. This walk over all comes once in 65,535 rounds.
            self.blocks.values_mut().for_each(|held| held.round = 0);
            1
        });
        self.round = CopyRound { number, is_open: true, gone: BTreeSet::new() };
    }

    /// The round is over.
    pub(in crate::node) fn end_round(&mut self) {
        (self.round.is_open, self.round.gone) = (false, BTreeSet::new());
    }

    /// Another peer has a copy of this block. Whether that is news in this round.
    pub(in crate::node) fn found_copy(&mut self, key: &Key) -> bool {
        let number = self.round.number;
        match self.blocks.get_mut(key) {
            Some(held) => std::mem::replace(&mut held.round, number) != number,
            None => self.round.gone.remove(key),
        }
    }

    /// In this round no copy of a block that is here counts any more.
    pub(in crate::node) fn forget_copies(&mut self, key: &Key) {
        if let Some(held) = self.blocks.get_mut(key) {
            held.round = self.round.number.wrapping_sub(1);
        }
    }

    /// A block is gone that had this mark.
    pub(super) fn note_gone(&mut self, key: &Key, mark: RoundNumber) {
        if self.round.is_open && mark != self.round.number {
            self.round.gone.insert(*key);
        }
    }

    /// Whether a block is here that is wanted, and of which no other copy was found in this round.
    pub(in crate::node) fn is_only_here(&self, key: &Key) -> bool {
        self.blocks.get(key).is_some_and(|held| self.is_unmatched(held))
    }

    fn is_unmatched(&self, held: &HeldBlock) -> bool {
        held.round != self.round.number && self.leases.wants(held.set, self.now)
    }

    /// The first such block from `from` on; one look of those that are left for each block on the way.
    pub(in crate::node) fn first_only_here(&self, from: &Key, looks: &mut usize) -> LookEnd {
        for (key, held) in self.range(from..) {
            if *looks == 0 {
                return LookEnd::Onward(*key);
            }
            *looks -= 1;
            if self.is_unmatched(held) {
                return LookEnd::Found(*key);
            }
        }
        LookEnd::Nothing
    }

    /// The end of a range of keys, from the one of such a block on, in which many are such: `last`, unless more than
    /// `gap` others follow on one another before it. One look of those that are left for each block on the way.
    pub(in crate::node) fn only_here_until(&self, from: &Key, last: &Key, gap: usize, looks: &mut usize) -> Key {
        let (mut end, mut others) = (*from, 0);
        for (key, held) in self.range(from..=last) {
            (end, others) = if self.is_unmatched(held) { (*key, 0) } else { (end, others + 1) };
            if *looks == 0 || others > gap {
                return end;
            }
            *looks -= 1;
        }
        *last
    }

    /// How many such blocks there are from `from` on, and where to go on if `looks` do not suffice.
    pub(in crate::node) fn count_only_here(&self, from: &Key, looks: usize) -> (u64, Option<Key>) {
        let mut blocks = self.range(from..);
        let is_alone = |(_, held): &(&Key, &HeldBlock)| self.is_unmatched(held);
        let count = blocks.by_ref().take(looks).filter(is_alone).count() as u64;
        (count, blocks.next().map(|(key, _)| *key))
    }

    /// Some blocks from `from` on with their sizes, at most `most`, and the next one.
    pub(in crate::node) fn some(&self, from: &Key, most: usize) -> (Vec<(Key, u32)>, Option<Key>) {
        let mut blocks = self.range(from..);
        let some = blocks.by_ref().take(most).map(|(key, held)| (*key, held.size)).collect();
        (some, blocks.next().map(|(key, _)| *key))
    }
}
