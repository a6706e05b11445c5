//! Which source laid each set of leases: what it takes of the room here is reckoned by that.

use super::{Leases, SetId};
use crate::lease::{Lease, MAX_LEASES, UnixTime};
use crate::node::shares::SourceNumber;

impl Leases {
    /// How many leases the set has that a block of this set gets with these, where no block has it yet.
    pub(in crate::node) fn len_of_new(&self, set: SetId, leases: &[Lease], now: UnixTime) -> usize {
        if self.len_of(set) + leases.len() < 2 {
            return 0;
        }
        let ids = self.joined(set, &self.not_ended(leases), now);
        if self.numbers.contains_key(&ids) { 0 } else { ids.len().min(MAX_LEASES) }
    }

    /// Of a set that but one block has: the source that laid it, and how many leases it has.
    pub(in crate::node) fn lone(&self, set: SetId) -> Option<(SourceNumber, usize)> {
        let known = &self.sets[set.0 as usize];
        (known.blocks == 1 && set != SetId::NONE).then_some((known.by, known.ids.len()))
    }

    /// This source laid a set.
    pub(in crate::node) fn lay_by(&mut self, set: SetId, by: SourceNumber) {
        self.sets[set.0 as usize].by = by;
    }

    /// The source that laid each set, and how many leases it has.
    pub(in crate::node) fn laid(&self) -> impl Iterator<Item = (SourceNumber, usize)> {
        self.sets.iter().map(|set| (set.by, set.ids.len()))
    }
}
