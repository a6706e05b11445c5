//! What leases promise, and that no order of changes breaks it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::holdings::bytes_in_tree;
use super::*;

fn secret(n: u8) -> Secret {
    format!("{n:02x}").repeat(32).parse().expect("64 digits")
}

/// The end of a lease by this peer's user.
fn over(secret: Secret, at: UnixTime) -> EndOfLease {
    EndOfLease { secret, at, by: None }
}

fn lease(n: u8, until: Option<UnixTime>) -> Lease {
    Lease { id: secret(n).id(), until, copies: 0 }
}

#[test]
fn a_renewal_counts_by_the_minute_but_by_the_second_where_the_lease_ends_within_one() {
    let mut leases = Leases::default();
    leases.add(SetId::NONE, &[lease(1, Some(1000))], 0);
    for (until, now, counts) in
        [(1059, 900, false), (1060, 900, true), (1001, 939, false), (1001, 940, true), (1000, 999, false)]
    {
        assert_eq!(leases.betters(&lease(1, Some(until)), now), counts, "{until} at {now}");
    }
}

fn named(leases: &Leases, set: SetId, now: UnixTime) -> Vec<LeaseId> {
    leases.of(set, now).map(|lease| lease.id).collect()
}

#[test]
fn a_lease_that_is_renewed_or_ends_changes_all_blocks_that_carry_it() {
    let mut leases = Leases::default();
    let (one, both) = (leases.add(SetId::NONE, &[lease(1, Some(10))], 0), {
        leases.add(SetId::NONE, &[lease(1, Some(10)), lease(2, None)], 0)
    });
    assert_eq!((leases.wants(one, 9), leases.wants(one, 10), leases.wants(both, 10)), (true, false, true));
    assert!(leases.renew(&lease(1, Some(20))).is_some() && leases.renew(&lease(3, None)).is_none());
    assert!(leases.wants(one, 19) && !leases.is_over(one, 24, Duration::from_secs(5)));
    assert!(leases.is_over(one, 25, Duration::from_secs(5)));
    assert!(leases.end(over(secret(1), 12)) && leases.end(over(secret(2), 13)) && !leases.end(over(secret(2), 14)));
    assert_eq!((leases.wants(one, 12), leases.wants(both, 12), leases.wants(both, 13)), (false, true, false));
    let (blocks, free, _) = leases.count(&[secret(1).id(), secret(2).id()], 12);
    assert_eq!((blocks, free), (2, 1));
    assert!(leases.renew(&lease(1, None)).is_none(), "what has ended is not renewed");
    let again = leases.add(SetId::NONE, &[lease(1, None)], 14);
    assert!(!leases.wants(again, 14), "nor does it keep anything again");
    let mixed = leases.add(SetId::NONE, &[lease(1, None), Lease::NOBODYS], 14);
    assert!(mixed == SetId::NONE && leases.has_all(mixed, &[lease(1, None), Lease::NOBODYS]));
}

#[test]
fn what_nobody_may_end_is_kept_for_ever() {
    let mut leases = Leases::default();
    let set = leases.add(SetId::NONE, &[Lease::NOBODYS], 0);
    assert_eq!(set, SetId::NONE);
    let set = leases.add(SetId::NONE, &[Lease::NOBODYS, lease(1, Some(5))], 0);
    assert!(leases.wants(set, UnixTime::MAX) && !leases.is_over(set, UnixTime::MAX, Duration::ZERO));
}

#[test]
fn a_block_with_more_leases_than_it_may_have_is_kept_for_ever_and_those_that_ended_make_room() {
    let many: Vec<Lease> = (0..MAX_LEASES as u8).map(|n| lease(n, Some(10 + u64::from(n)))).collect();
    for (now, crowded) in [(9, true), (10, false)] {
        let mut leases = Leases::default();
        let full = leases.add(SetId::NONE, &many, 0);
        let set = leases.add(full, &[lease(99, Some(50))], now);
        assert_eq!(named(&leases, set, now).len(), MAX_LEASES);
        assert_eq!(leases.wants(set, UnixTime::MAX), crowded, "at {now}");
        assert!(leases.has_all(set, &[lease(99, Some(50))]), "it is not offered again and again");
    }
}

#[test]
fn the_terms_that_are_better_are_asked_for() {
    let mut leases = Leases::default();
    let set = leases.add(SetId::NONE, &[lease(1, Some(10))], 0);
    for (offered, has) in [
        (lease(1, Some(10)), true),
        (lease(1, Some(9)), true),
        (lease(1, Some(11)), false),
        (lease(1, None), false),
        (Lease { copies: 3, ..lease(1, Some(9)) }, true),
        (lease(2, Some(5)), false),
    ] {
        assert_eq!(leases.has_all(set, &[offered]), has, "{offered:?}");
    }
}

#[test]
fn to_count_the_blocks_of_leases_takes_a_bounded_number_of_looks_however_many_mixes_there_are() {
    let own = |n: u64| {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Lease { id: Secret::from_bytes(bytes).id(), until: None, copies: 0 }
    };
    // Fifteen leases that have ended, and on each block one that holds.
    let ended: Vec<Lease> = (0..15).map(|n| lease(n, Some(10))).collect();
    let ids: Vec<LeaseId> = ended.iter().map(|lease| lease.id).collect();
    for (mixes, exact) in [(3_000, true), (20_000, false)] {
        let mut leases = Leases::default();
        for n in 0..mixes {
            let set = [&ended[..], &[own(n)]].concat();
            leases.add(SetId::NONE, &set, 0);
        }
        let free = leases.add(SetId::NONE, &ended[..1], 0);
        assert!(!leases.wants(free, 20));
        let (blocks, free, looks) = leases.count(&ids[..1], 20);
        assert!(looks <= MOST_LOOKS + 2 * MAX_LEASES, "{looks} looks at {mixes} mixes");
        assert_eq!((u64::from(blocks) == mixes + 1, free), (exact, 1), "{blocks} blocks");
        let (_, _, looks) = leases.count(&ids, 20);
        assert!(looks <= MOST_LOOKS + 2 * MAX_LEASES, "{looks} looks for all of them");
    }
}

#[test]
fn who_knows_the_name_of_a_lease_does_not_have_more_copies_kept() {
    let mut leases = Leases::default();
    let laid = Lease { copies: 2, ..lease(1, Some(10)) };
    let set = leases.add(SetId::NONE, &[laid], 0);
    let (longer, more) = (Lease { until: Some(99), ..laid }, Lease { copies: 7, ..laid });
    assert!(leases.betters(&longer, 0) && !leases.betters(&more, 0));
    let all = Lease { copies: 7, ..longer };
    assert_eq!(leases.renew(&all), Some(longer));
    let set = leases.add(set, &[all], 0);
    assert_eq!((leases.wanted_class(set, 20, 4), leases.wanted_class(set, 99, 4)), (Some(2), None));
}

#[test]
fn a_block_has_as_many_copies_as_any_of_its_leases_asks_for() {
    let asks = |n, copies| Lease { copies, ..lease(n, Some(10 * u64::from(n))) };
    for (of, expected) in [
        (&[][..], [Some(USUAL); 3]),
        (&[asks(1, 3)], [Some(3), None, None]),
        (&[asks(1, 6), asks(2, 3)], [Some(6), Some(3), None]),
        (&[asks(1, 3), asks(2, 0)], [Some(USUAL), Some(USUAL), None]),
        (&[asks(1, 6), asks(2, 0)], [Some(6), Some(USUAL), None]),
        (&[asks(1, 200)], [Some(WIDTH as u8), None, None]),
    ] {
        let mut leases = Leases::default();
        let set = leases.add(SetId::NONE, of, 0);
        let classes = [5, 15, 25].map(|now| leases.wanted_class(set, now, 4));
        assert_eq!(classes, expected, "{of:?}");
        assert!(classes.iter().flatten().all(|class| leases.classes() & 1 << class != 0), "{of:?}");
    }
}

#[test]
fn a_block_with_a_lease_of_its_own_costs_at_most_192_bytes_more_than_one_without() {
    // The sets are a list, which has room for as many again when it has just grown.
    let set = 2 * size_of::<LeaseSet>();
    let bytes = bytes_in_tree::<LeaseId, LeaseTerms>() + set as f64 + bytes_in_tree::<UnixTime, u32>();
    assert!(bytes <= 192.0, "{bytes} bytes");
    // And they are all: nothing of it is kept elsewhere.
    let mut leases = Leases::default();
    let own: Vec<Lease> = (0..100).map(|n| lease(n, Some(1000 + u64::from(n)))).collect();
    let sets: Vec<SetId> = own.iter().map(|lease| leases.add(SetId::NONE, &[*lease], 0)).collect();
    assert!(leases.numbers.is_empty() && leases.terms.values().all(|terms| terms.shared.capacity() == 0));
    assert!(leases.sets[1..].iter().all(|set| matches!(set.ids, LeaseIds::One(_))));
    // The same lease again is the same set; once it is on nothing, all is as it was.
    assert_eq!(leases.add(sets[7], &[own[7]], 0), sets[7]);
    assert_eq!(leases.add(SetId::NONE, &[own[7]], 0), sets[7]);
    sets.iter().chain([&sets[7]]).for_each(|set| leases.release(*set));
    assert!(leases.terms.is_empty() && leases.ends.is_empty() && leases.free.len() == sets.len());
}

proptest! {
    /// Whatever is laid on blocks, renewed, ended and deleted, in whatever order.
    #[test]
    fn the_account_is_right_and_a_block_is_wanted_while_one_of_its_leases_holds(
        steps in proptest::collection::vec((0..5_u8, 0..4_usize, 0..5_u8, 0..30_u64), 0..100)
    ) {
        let (mut leases, mut blocks) = (Leases::default(), [None; 4]);
        // Of each block its leases, and until when each holds: the same in plain.
        let mut plain: [BTreeSet<LeaseId>; 4] = Default::default();
        let (mut until, mut ended): (BTreeMap<LeaseId, u64>, BTreeSet<LeaseId>) = Default::default();
        for (now, (what, block, n, more)) in (0..).zip(steps) {
            let lease = lease(n, Some(now + more));
            match what {
                0 | 1 if !ended.contains(&lease.id) => {
                    let set = blocks[block].unwrap_or(SetId::NONE);
                    blocks[block] = Some(leases.add(set, &[lease], now));
                    // Where none of a block's leases carries it, its terms are new.
                    let carried = plain.iter().any(|ids| ids.contains(&lease.id));
                    let old = until.get(&lease.id).copied().filter(|_| carried).unwrap_or(0);
                    until.insert(lease.id, old.max(now + more));
                    if more > 0 {
                        plain[block].retain(|id| until[id] > now);
                    }
                    plain[block].insert(lease.id);
                }
                2 => if leases.renew(&lease).is_some() {
                    let known = until.entry(lease.id).or_default();
                    *known = (*known).max(now + more);
                },
                3 => if leases.knows(&lease.id) && leases.end(over(secret(n), now)) {
                    ended.insert(lease.id);
                    let known = until.entry(lease.id).or_default();
                    *known = (*known).min(now);
                },
                _ => if let Some(set) = blocks[block].take() {
                    leases.release(set);
                    plain[block].clear();
                },
            }
            let mut sets = BTreeMap::new();
            for set in blocks.iter().flatten() {
                *sets.entry(*set).or_default() += 1;
            }
            prop_assert_eq!(leases.check(&sets), Ok(()));
            for (set, ids) in blocks.iter().zip(&plain) {
                let Some(set) = set else { continue };
                let wanted = ids.iter().any(|id| until[id] > now);
                prop_assert_eq!(leases.wants(*set, now), wanted, "{:?}", ids);
            }
        }
    }
}
