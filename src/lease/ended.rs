//! Ended leases that are remembered, so that copies of old do not bring them back.
//!
//! No more than [`MOST`] are. Where there are more, the source with most of them forgets its first: any peer can lay
//! leases and end them, and shall not have others forget what their users deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{LeaseId, Note, Secret, UnixTime};

/// Ended leases that are remembered at most.
pub(crate) const MOST: usize = 20_000;

/// The end of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EndOfLease {
    pub(crate) secret: Secret,
    /// When it ended.
    pub(crate) at: UnixTime,
    /// The source that ended it; none is this peer's own user, or a line of an older journal.
    pub(crate) by: Option<IpAddr>,
}

/// The ended leases.
#[derive(Debug, Default)]
pub(crate) struct RememberedEnds {
    all: BTreeMap<LeaseId, EndOfLease>,
    /// Those of each source; the first is forgotten first.
    by_source: BTreeMap<Option<IpAddr>, BTreeSet<(UnixTime, LeaseId)>>,
}

impl RememberedEnds {
    pub(crate) fn get(&self, id: &LeaseId) -> Option<&EndOfLease> {
        self.all.get(id)
    }

    pub(crate) fn contains(&self, id: &LeaseId) -> bool {
        self.all.contains_key(id)
    }

    /// Remembers the end of a lease, unless it is remembered.
    pub(crate) fn add(&mut self, end: EndOfLease) {
        let id = end.secret.id();
        if self.contains(&id) {
            return;
        }
        self.by_source.entry(end.by).or_default().insert((end.at, id));
        self.all.insert(id, end);
        if self.all.len() > MOST {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        let Some((&most, of_most)) = self.by_source.iter_mut().max_by_key(|(_, ends)| ends.len()) else { return };
        let first = of_most.pop_first();
        if of_most.is_empty() {
            self.by_source.remove(&most);
        }
        first.map(|(_, id)| self.all.remove(&id));
    }

    /// What a journal is to say of them.
    pub(crate) fn notes(self) -> impl Iterator<Item = Note> {
        self.all.into_values().map(|EndOfLease { secret, at, by }| Note::Ended { secret, at, by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(n: u32, at: UnixTime, by: u8) -> EndOfLease {
        let mut bytes = [by; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        EndOfLease { secret: Secret::from_bytes(bytes), at, by: Some([10, 0, 0, by].into()) }
    }

    #[test]
    fn who_ends_very_many_leases_has_no_end_of_others_forgotten() {
        let mut ended = RememberedEnds::default();
        let others: Vec<EndOfLease> = (0..100).map(|n| end(n, 1, 1 + (n % 3) as u8)).collect();
        others.iter().for_each(|one| ended.add(*one));
        (0..2 * MOST as u32).for_each(|n| ended.add(end(n, 2 + u64::from(n), 9)));
        assert_eq!(ended.all.len(), MOST);
        assert!(others.iter().all(|one| ended.get(&one.secret.id()) == Some(one)));
        assert!(ended.contains(&end(2 * MOST as u32 - 1, 0, 9).secret.id()), "the latest of its own");
        assert!(!ended.contains(&end(0, 0, 9).secret.id()));
        assert_eq!(ended.by_source.values().map(BTreeSet::len).sum::<usize>(), MOST);
    }
}
