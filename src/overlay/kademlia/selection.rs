//! The nearest contacts of a bucket, without a sort: 14 of a table of 180 in 0.5 µs instead of 12,
//! of 5,000 in 45 µs instead of 2 ms.
//!
//! Inserting by whole distances, the plainest way without a sort, took 1 µs and 140 µs.
//!
//! All ids of a bucket agree in the bytes before the one that holds the bucket's bit, and seldom in the eight from
//! there on. So one number of eight bytes compares two distances; the 32 bytes count only where those are equal.

use super::bucket::Contact;
use crate::id::{Id, Key};

/// Room to select in, used for one bucket after the other.
pub(super) struct Selection<'a> {
    key: &'a Key,
    /// The nearest so far, nearest first, each beside the first bits of its distance.
    best: Vec<(u64, &'a Contact)>,
}

impl<'a> Selection<'a> {
    /// Room to select those nearest to `key`, about `count` of a bucket.
    pub(super) fn new(key: &'a Key, count: usize) -> Self {
        Self { key, best: Vec::with_capacity(count + 1) }
    }

    /// The `count` nearest of the `contacts`, which all stand in the bucket `index`, nearest first. `count` is not 0.
    pub(super) fn nearest(
        &mut self,
        count: usize,
        index: usize,
        contacts: impl Iterator<Item = &'a Contact>,
    ) -> impl Iterator<Item = &'a Contact> {
        let Self { key, best } = self;
        let from = (index / 8).min(24);
        let head_of_key = head(key, from);
        for contact in contacts {
            let first_bits = head(&contact.id, from) ^ head_of_key;
            let is_nearer = |other: &(u64, &Contact)| {
                first_bits < other.0 || first_bits == other.0 && contact.id.distance(key) < other.1.id.distance(key)
            };
            let mut at = best.len();
            while at > 0 && is_nearer(&best[at - 1]) {
                at -= 1;
            }
            if at < count {
                best.truncate(count - 1);
                best.insert(at, (first_bits, contact));
            }
        }
        best.drain(..).map(|(_, contact)| contact)
    }
}

/// Eight bytes of an id, as a number.
fn head(id: &Id, from: usize) -> u64 {
    id.as_bytes()[from..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::peer::Peer;
    use crate::time::Time;

    #[test]
    fn the_nearest_are_those_that_a_sort_finds() {
        let mut rng = StdRng::seed_from_u64(1);
        for count in [20, 1000_u16] {
            let mut peer = |port| Peer::new(Id::random(&mut rng), SocketAddr::from(([10, 0, 0, 1], port)));
            let contacts: Vec<Contact> = (1..=count).map(|port| Contact::new(Time::ZERO, peer(port))).collect();
            for key in (0..20).map(|_| Id::random(&mut rng)).collect::<Vec<Key>>() {
                let mut selection = Selection::new(&key, 14);
                let nearest: Vec<Id> = selection.nearest(14, 0, contacts.iter()).map(|contact| contact.id).collect();
                let mut sorted: Vec<Id> = contacts.iter().map(|contact| contact.id).collect();
                sorted.sort_by_key(|id| id.distance(&key));
                assert_eq!(nearest, sorted[..14]);
            }
        }
    }
}
