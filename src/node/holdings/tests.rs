//! The account of blocks, and its sums.

use proptest::prelude::*;

use super::room::PAGE;
use super::*;
use crate::id::Id;
use crate::lease::{LeaseNews, Secret};

/// Keys of which some start alike.
fn key(n: u8) -> Key {
    let mut bytes = [0; 32];
    (bytes[0], bytes[31]) = (n / 4, n % 4);
    Id::from_bytes(bytes)
}

/// Bytes that an entry of a tree takes. Keys are spread evenly, so its nodes are filled to 69 of 100 on average (Yao
/// 1978), of eleven places each, and a node has 12 bytes of its own and 8 of the allocator's; one of eight is an inner
/// one with 12 edges.
pub(in crate::node) fn bytes_in_tree<K, V>() -> f64 {
    let entry = size_of::<(K, V)>();
    (entry * 11 + 20 + 12) as f64 / (11.0 * 0.69) + 12.0 * 8.0 / (11.0 * 0.69 * 8.0)
}

#[test]
fn a_block_costs_at_most_80_bytes() {
    let bytes = bytes_in_tree::<Key, HeldBlock>();
    assert!(bytes <= 80.0, "{bytes} bytes");
}

#[test]
fn a_small_block_takes_what_its_file_costs_and_many_exhaust_the_capacity() {
    let mut holdings = Holdings::new(Some(1_000_000), 7);
    let keys = (0..12_000_u64).map(|n| Id::of(&n.to_be_bytes()));
    let taken = keys.take_while(|key| {
        let has_room = holdings.check_room(key, 4, &[]).is_ok();
        holdings.insert(*key, 4, &[], None);
        has_room
    });
    assert_eq!(taken.count(), 244);
}

/// Blocks of 8 bytes that this source brings until it may bring no more; `keys` are those that nobody brought yet.
fn fill(holdings: &mut Holdings, keys: &mut impl Iterator<Item = Key>, by: Subnet) -> Vec<Key> {
    let bring = || {
        let key = keys
            .next()
            .filter(|key| holdings.has_share(key, 8, &[], by) && holdings.check_room(key, 8, &[]).is_ok())?;
        holdings.reserve(0, (key, 8), Vec::new(), Some(by));
        let Released { leases, by, .. } = holdings.release(0);
        holdings.insert(key, 8, &leases, by);
        Some(key)
    };
    std::iter::from_fn(bring).collect()
}

#[test]
fn a_source_leaves_room_to_others_and_what_it_brought_counts_until_it_is_gone() {
    let (mut holdings, mut keys) =
        (Holdings::new(Some(2_000_000), 7), (0..3_000_u64).map(|n| Id::of(&n.to_be_bytes())));
    let source = |n: u8| Subnet::of(([10, 0, 0, n], 1).into());
    let brought: Vec<Vec<Key>> = (1..=3).map(|n| fill(&mut holdings, &mut keys, source(n))).collect();
    let counts: Vec<usize> = brought.iter().map(Vec::len).collect();
    assert_eq!(counts, [427, 53, 7], "of 488 places");
    assert_eq!(holdings.check(), Ok(()));
    brought.iter().flatten().for_each(|key| drop(holdings.remove(key)));
    assert_eq!((fill(&mut holdings, &mut keys, source(1)).len(), holdings.check()), (427, Ok(())));
}

/// The leases of this number of blocks, and of no other.
fn own_leases(n: u64, count: u64) -> Vec<Lease> {
    let secret = |at: u64| Secret::from_bytes(*Id::of(&(n * 100 + at).to_be_bytes()).as_bytes());
    (0..count).map(|at| Lease { id: secret(at).id(), until: None, copies: 0 }).collect()
}

#[test]
fn each_lease_beside_another_takes_as_much_of_a_source_s_share_as_a_small_block_and_gives_it_back() {
    let source = |n: u8| Subnet::of(([10, 0, 0, n], 1).into());
    let mut holdings = Holdings::new(Some(2_000_000), 7);
    let bring = |holdings: &mut Holdings, n: u64, leases: u64, by: Subnet| {
        let (key, leases) = (Id::of(&n.to_be_bytes()), own_leases(n, leases));
        let may = holdings.has_share(&key, 4, &leases, by) && holdings.check_room(&key, 4, &leases).is_ok();
        if may {
            holdings.reserve(0, (key, 4), leases, Some(by));
            let Released { leases, by, .. } = holdings.release(0);
            holdings.insert(key, 4, &leases, by);
        }
        may
    };
    let count = |holdings: &mut Holdings, leases, by| (0..1000).take_while(|n| bring(holdings, *n, leases, by)).count();
    assert_eq!(count(&mut holdings, 16, source(1)), 26, "of 30 places, where 427 have one lease");
    // A block and a lease beside another cost about the same, and no more of them are here than pages are taken.
    let leases: usize = holdings.leases.laid().map(|(_, leases)| leases.saturating_sub(1)).sum();
    assert_eq!(((holdings.len() + leases) as u64 * PAGE, holdings.bytes()), (holdings.charged, 26 * 4));
    // The peer that is started next comes to the same.
    let notes = holdings.iter().map(|(key, _)| Note::Laid { key, leases: holdings.leases(&key) });
    let (held, notes): (Vec<_>, Vec<_>) = (holdings.iter().collect(), notes.collect());
    let mut next = Holdings::new(Some(2_000_000), 7);
    next.found(held.clone(), &notes);
    assert_eq!((next.charged, next.check()), (holdings.charged, Ok(())));
    for (key, _) in held {
        holdings.remove(&key);
        assert_eq!(holdings.check(), Ok(()));
    }
    assert_eq!((holdings.charged, holdings.bytes()), (0, 0));
    // Who lays more on blocks of others takes it of his own share; blocks with the same leases share what they cost.
    for n in 0..100 {
        assert!(bring(&mut holdings, n, 1, source(1)));
    }
    let lay = |holdings: &mut Holdings, n: u64, leases: u64, by: Subnet| {
        let (key, leases) = (Id::of(&n.to_be_bytes()), own_leases(leases, 15));
        let may = holdings.has_share(&key, 4, &leases, by);
        if may {
            holdings.lay(&key, &leases, Some(by));
        }
        may
    };
    assert_eq!((0..100).take_while(|n| lay(&mut holdings, *n, 1000 + n, source(2))).count(), 22, "of 25 places");
    assert!(bring(&mut holdings, 200, 1, source(1)), "those that brought the blocks have their share still");
    assert_eq!(holdings.check(), Ok(()));
    let mut shared = Holdings::new(None, 7);
    for n in 0..100_u64 {
        shared.insert(Id::of(&n.to_be_bytes()), 4, &own_leases(0, 2), Some(source(1)));
    }
    assert_eq!((shared.charged, shared.check()), (101 * PAGE, Ok(())));
}

proptest! {
    /// Whatever is laid on blocks, by whomever, renewed, ended and deleted, in whatever order.
    #[test]
    fn what_leases_take_is_given_back_when_they_go(
        steps in proptest::collection::vec(
            (0..8_u8, 0..6_u8, proptest::collection::vec(0..9_u8, 0..4), 0..20_u64), 0..120
        )
    ) {
        let mut holdings = Holdings::new(None, 7);
        for (now, (what, n, numbers, more)) in (0..).zip(steps) {
            holdings.set_time(now);
            let secret = |n: u8| Secret::from_bytes([n; 32]);
            let leases: Vec<Lease> =
                numbers.iter().map(|n| Lease { id: secret(*n).id(), until: Some(now + more), copies: 0 }).collect();
            let by = (n > 2).then(|| Subnet::of(([10, 0, 0, n % 3], 1).into()));
            match what {
                0..=2 => holdings.insert(key(n), 4000 * u32::from(n), &leases, by),
                3 | 4 => holdings.lay(&key(n), &leases, by),
                5 => drop(holdings.change_leases(&LeaseNews { renewed: leases, ended: Vec::new() }, None)),
                6 => drop(holdings.change_leases(
                    &LeaseNews { renewed: Vec::new(), ended: numbers.iter().map(|n| secret(*n)).collect() },
                    None,
                )),
                _ => drop(holdings.remove(&key(n))),
            }
            prop_assert_eq!(holdings.check(), Ok(()));
        }
        holdings.lose_all();
        prop_assert_eq!((holdings.charged, holdings.bytes(), holdings.check()), (0, 0, Ok(())));
    }
}

#[test]
fn the_thousands_of_networks_of_one_home_or_site_leave_as_much_room_as_one_of_them() {
    let of_home = |home: u16, n: u16| Subnet::of(([0x2001, 0xdb8, home, n, 0, 0, 0, 1], 1).into());
    let of_site = |site: u16, n: u16| Subnet::of(([8, site as u8, n as u8, 1], 1).into());
    let ways: [(_, &dyn Fn(u16, u16) -> Subnet); 2] = [(1000, &of_home), (256, &of_site)];
    for (networks, network) in ways {
        let (mut holdings, mut keys) =
            (Holdings::new(Some(2_000_000), 7), (0..9_000_u64).map(|n| Id::of(&n.to_be_bytes())));
        let mut counts =
            |of| (0..networks).map(|n| fill(&mut holdings, &mut keys, network(of, n)).len()).sum::<usize>();
        assert_eq!([1, 2].map(&mut counts), [427, 53], "of 488 places");
        assert_eq!(holdings.check(), Ok(()));
    }
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
            let by = (n > 2).then(|| Subnet::of(([10, 0, 0, n % 3], 1).into()));
            match what {
                0 | 1 if holdings.check_room(&key(n), size, &[]).is_ok() => {
                    holdings.reserve(job, (key(n), size), Vec::new(), by);
                    jobs.insert(job, (key(n), size));
                }
                2 | 3 => if let Some((job, (key, size))) = jobs.pop_first() {
                    let by = holdings.release(job).by;
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
