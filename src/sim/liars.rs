//! What hostile members of a ring cost those who look up, store and retrieve: each wherever chance puts it, so on the
//! way of many, before some keys and responsible for others.

use std::time::Duration;

use super::hostile::HostileRole;
use super::sybils::SybilNet;
use crate::id::{ID_BITS, Id};
use crate::node::health::Health;
use crate::node::{Answer, Command, Failure, FailureKind, Source};
use crate::overlay::OverlayKind;

/// No user waits longer for what one hostile member swallows; a newcomer's retrieve takes two lookups, one after the
/// other, and is given another second.
const ANSWERED_BY: [Duration; 4] =
    [Duration::from_secs(4), Duration::from_secs(3), Duration::from_secs(3), Duration::from_secs(3)];

/// A ring that keeps three copies, of so many honest members and of hostile ones in these roles. Files were stored
/// before those came: their keys.
fn ring(seed: u64, honest: usize, hostile: &[HostileRole], files: usize) -> (SybilNet, Vec<Id>) {
    let mut net = SybilNet::of(OverlayKind::Ring, seed, honest, 3);
    let mut keys = Vec::new();
    for n in 0..files {
        let Answer::Stored { key, .. } = net.store(n % honest, 1000) else { panic!("it is stored") };
        keys.push(key);
    }
    for role in hostile {
        let id = Id::random(net.world.rng());
        net.join([id], *role);
    }
    (net, keys)
}

#[test]
fn nobody_waits_longer_than_three_seconds_for_a_member_that_swallows_lookups() {
    let (mut longest, mut failed) = ([Duration::ZERO; 4], 0);
    for seed in 400..412 {
        let (mut net, keys) = ring(seed, 9, &[HostileRole::Swallower], 6);
        for (n, key) in keys.into_iter().enumerate() {
            let (guest, member) = (net.newcomer(), (n + 1) % 9);
            for (slot, who) in [(guest, 0), (member, 1)] {
                match net.retrieve(slot, key) {
                    Some(took) => longest[who] = longest[who].max(took),
                    None => failed += 1,
                }
            }
            let unknown = Id::random(net.world.rng());
            let (_, took) = net.answer(member, Command::Lookup { key: unknown });
            longest[2] = longest[2].max(took);
            let (path, _) = net.file(member, 1000);
            let (answer, took) = net.answer(member, Command::Store { path, manifest: None, keep: false });
            longest[3] = longest[3].max(took);
            failed += u32::from(!matches!(answer, Answer::Stored { .. }));
        }
    }
    println!("newcomers, members, lookups, stores: {longest:?} at most; {failed} failed");
    let is_soon = longest.iter().zip(ANSWERED_BY).all(|(took, soon)| *took <= soon);
    assert!(failed == 0 && is_soon, "{longest:?}, {failed} failed");
}

#[test]
fn four_members_that_lie_trickle_break_off_and_swallow_among_nine_honest_ones_make_no_retrieve_fail_or_last() {
    use HostileRole::{Breaker, Hider, Liar, Swallower};
    let mut took = Vec::new();
    for seed in 420..432 {
        let (mut net, keys) = ring(seed, 9, &[Liar, Breaker, Hider, Swallower], 4);
        for (n, key) in keys.into_iter().enumerate() {
            let guest = net.newcomer();
            took.extend([guest, n % 9].map(|slot| net.retrieve(slot, key)));
        }
        println!("seed {seed}: {:?}", &took[took.len() - 8..]);
    }
    let is_soon = |took: &&Option<Duration>| took.is_some_and(|took| took <= Duration::from_secs(5));
    let soon = took.iter().filter(is_soon).count();
    println!("{soon} of {} came within 5 s, the last after {:?}", took.len(), took.iter().flatten().max());
    assert_eq!(soon, took.len());
}

#[test]
fn where_every_way_of_a_search_is_swallowed_nobody_is_told_that_no_peer_has_the_key() {
    let (mut net, _) = ring(440, 1, &[HostileRole::Swallower; 12], 0);
    // It belongs to the peer that follows the honest one.
    let key = net.world.peer(0).id.plus_power_of_two(0, ID_BITS);
    for slot in [0, net.newcomer()] {
        let (answer, took) =
            net.answer(slot, Command::Retrieve { source: Source::Key(key), dest: "/back".into(), replace: true });
        let timed_out = matches!(&answer, Answer::Failed(Failure { kind: FailureKind::TimedOut, .. }));
        assert!(timed_out, "{answer:?} after {took:?}");
        let sources = vec![Source::Key(key)];
        let (answer, _) = net.answer(slot, Command::Check { sources, verify: false, repair: false, lease: None });
        let Answer::Checked(checked) = answer else { panic!("{answer:?}") };
        assert_eq!(checked.health, Health::Unknown);
    }
}
