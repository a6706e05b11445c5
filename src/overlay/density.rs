//! Whether peers stand closer together around a key than chance puts them.
//!
//! Ids are drawn at random, so peers stand about as close together around a key as anywhere else. The ids that an
//! attacker takes around a key, to hide the peers that hold its block, stand closer. (Sridhar et al., "Content
//! Censorship in the InterPlanetary File System", NDSS 2024, compare the whole distribution of distances; here one of
//! them does.)

use crate::config::WIDTH;
use crate::id::Id;

/// [`WIDTH`] peers where fewer than this are expected are no chance: one place in 200 has so many, and one in 100 seems
/// to, for how many are expected is known by a few neighbours.
const FEW_EXPECTED: f64 = 2.0;

/// Of the peers nearest to this one, so many tell how close together peers stand.
pub(super) const NEIGHBOURS: usize = 16;

/// A distance as a part of all ids, from 0 to 1.
fn part(distance: &Id) -> f64 {
    distance.as_bytes().iter().rev().fold(0.0, |part, byte| (part + f64::from(*byte)) / 256.0)
}

/// How many peers there are, and how far away the furthest is.
fn reach(distances: impl Iterator<Item = Id>) -> (u32, f64) {
    distances.fold((0, 0.0), |(count, most), distance| (count + 1, part(&distance).max(most)))
}

/// The part of all ids that there is for each peer, by the distances of the peers nearest to this one.
pub(super) fn spacing_by_nearest(distances: impl Iterator<Item = Id>) -> f64 {
    let (count, reach) = reach(distances);
    reach / f64::from(count)
}

/// The same by the gaps between peers that are known, most of which follow one another: the median leaves out the
/// others, and crowds.
pub(super) fn spacing_by_gaps(gaps: impl Iterator<Item = Id>) -> f64 {
    let mut gaps: Vec<Id> = gaps.collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).map_or(0.0, part) / std::f64::consts::LN_2
}

/// Whether the peers nearest to a key, at these distances, are too many for where they stand.
pub(super) fn is_crowded(spacing: f64, distances: impl Iterator<Item = Id>) -> bool {
    let (count, radius) = reach(distances);
    count as usize >= WIDTH && radius < FEW_EXPECTED * spacing
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    /// The least of the distances of these peers, one's own left out.
    fn nearest(ids: &[Id], away: impl Fn(&Id) -> Id, count: usize) -> impl Iterator<Item = Id> {
        let mut distances: Vec<Id> = ids.iter().map(away).filter(|distance| *distance != Id::ZERO).collect();
        distances.sort_unstable();
        distances.truncate(count);
        distances.into_iter()
    }

    /// Whether a peer takes the peers around a key for a crowd: by XOR, as a member of a ring, and as its guest.
    fn seem_crowded(ids: &[Id], me: &Id, key: &Id) -> [bool; 3] {
        let spacing = spacing_by_nearest(nearest(ids, |id| id.distance(me), NEIGHBOURS));
        let following = |count| nearest(ids, |id| id.minus(me), count);
        let on_ring = spacing_by_nearest(following(NEIGHBOURS / 2));
        let known: Vec<Id> = std::iter::once(Id::ZERO).chain(following(NEIGHBOURS)).collect();
        let as_guest = spacing_by_gaps(known.windows(2).map(|two| two[1].minus(&two[0])));
        let behind = |spacing| is_crowded(spacing, nearest(ids, |id| id.minus(key), WIDTH));
        [is_crowded(spacing, nearest(ids, |id| id.distance(key), WIDTH)), behind(on_ring), behind(as_guest)]
    }

    #[test]
    fn a_place_with_eight_sybils_seems_crowded_and_among_honest_peers_one_in_fifty() {
        for (peers, seed) in [(20, 1), (200, 2), (2000, 3)] {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut ids: Vec<Id> = (0..peers).map(|_| Id::random(&mut rng)).collect();
            let seem = |n: usize| seem_crowded(&ids, &ids[n % peers], &Id::of(&n.to_be_bytes()));
            let all: Vec<[bool; 3]> = (0..1000).map(seem).collect();
            for (way, most) in [20, 25, 40].into_iter().enumerate() {
                let count = all.iter().filter(|crowded| crowded[way]).count();
                assert!(count <= most, "{count} of 1,000 among {peers}, way {way}, seed {seed}");
            }
            let key = Id::random(&mut rng);
            ids.extend((100..108).map(|bit| key.plus_power_of_two(bit, 256)));
            assert!(ids[..20].iter().all(|me| seem_crowded(&ids, me, &key) == [true; 3]), "{peers}, seed {seed}");
        }
    }

    #[test]
    fn nobody_is_crowded_where_no_neighbour_is_known_or_few_are_found() {
        let near = |count: u64| (1..=count).map(Id::from_u64);
        assert!(!is_crowded(spacing_by_nearest(std::iter::empty()), near(7)));
        assert!(!is_crowded(spacing_by_gaps(std::iter::empty()), near(7)));
        assert!(!is_crowded(0.1, near(6)));
        assert!(is_crowded(0.1, near(7)));
    }
}
