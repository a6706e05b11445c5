//! Many peers that leave at once, in virtual time: none waits for the others, each tells what stays behind, and those
//! that stay forget them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use kadring::id::{Id, Key};
use kadring::node::{Answer, Command};
use kadring::overlay::OverlayKind;
use kadring::sim::{Rules, World};

const PEERS: usize = 24;
const FILES: u64 = 120;

/// A peer has this long to leave, whoever leaves with it. A round trip takes 20 to 30 ms.
const SOON: Duration = Duration::from_secs(2);

/// A network that has come to rest, with files stored by each of its peers.
fn network(kind: OverlayKind) -> World {
    let overlay = move |me, config: &kadring::config::Config, seed| kind.build(me, seed, config.guest);
    // A file fills a block, so it has a list.
    let mut rules = Rules::new(1, Box::new(overlay));
    rules.block_size = size_of_val(&FILES) as u32;
    let mut world = World::new(rules);
    for n in 0..PEERS {
        let slot = world.add(Id::of(&n.to_be_bytes()));
        world.start(slot, &[0]);
        pass(&mut world, Duration::from_millis(500));
    }
    pass(&mut world, Duration::from_secs(30));
    for n in 0..FILES {
        let (slot, path) = (n as usize % PEERS, PathBuf::from(n.to_string()));
        world.disk_mut(slot).write_file(&path, n.to_be_bytes()[..].into());
        world.command(slot, Command::Store { path, manifest: None, keep: false });
    }
    pass(&mut world, Duration::from_secs(60));
    world
}

fn pass(world: &mut World, span: Duration) {
    world.run_for(span).expect("every invariant holds");
}

/// The peers of `slots` are told to leave, all at once. What each handed over and left behind; all have left soon.
fn leave(world: &mut World, slots: &[usize]) -> Vec<(u64, u64)> {
    let quits: Vec<_> =
        slots.iter().map(|&slot| (slot, world.command(slot, Command::Quit { handover: true }))).collect();
    pass(world, SOON);
    let answer = |(slot, command)| match world.answer(slot, command) {
        Some(&Answer::Left { handed_over, left_behind, .. }) => (handed_over, left_behind),
        other => panic!("peer {slot} has not left after {SOON:?}: {other:?}"),
    };
    quits.into_iter().map(answer).collect()
}

fn all_leave_soon_and_say_what_stays(kind: OverlayKind) {
    let mut world = network(kind);
    let held: Vec<u64> = world.up().iter().map(|&slot| world.disk(slot).held().len() as u64).collect();
    assert!(held.iter().all(|held| *held > 32), "more than a peer hands over at a time: {held:?}");
    let left = leave(&mut world, &Vec::from_iter(0..PEERS));
    let told: Vec<u64> = left.iter().map(|(handed_over, left_behind)| handed_over + left_behind).collect();
    assert_eq!(told, held, "each block is told of");
    // Nobody is left to have it.
    let behind: u64 = left.iter().map(|(_, left_behind)| left_behind).sum();
    assert!(behind > told.iter().sum::<u64>() / 2, "{left:?}");
}

#[test]
fn when_all_peers_of_kademlia_leave_at_once_each_has_left_soon_and_says_what_stays() {
    all_leave_soon_and_say_what_stays(OverlayKind::Kademlia);
}

#[test]
fn when_all_peers_of_the_ring_leave_at_once_each_has_left_soon_and_says_what_stays() {
    all_leave_soon_and_say_what_stays(OverlayKind::Ring);
}

/// More leave than a block has copies, so many a block's holders all do.
fn those_that_stay_get_every_block(kind: OverlayKind) {
    let mut world = network(kind);
    let blocks: BTreeSet<Key> =
        world.up().iter().flat_map(|&slot| world.disk(slot).held()).map(|(key, _)| key).collect();
    let leaving: Vec<usize> = (0..PEERS).filter(|slot| slot % 2 == 0).collect();
    let left = leave(&mut world, &leaving);
    assert!(left.iter().all(|(_, left_behind)| *left_behind == 0), "{left:?}");
    let kept: BTreeSet<Key> = world.up().iter().flat_map(|&slot| world.disk(slot).held()).map(|(key, _)| key).collect();
    assert_eq!((world.up().len(), kept.len()), (PEERS - leaving.len(), blocks.len()));
}

#[test]
fn when_half_of_kademlia_leaves_at_once_those_that_stay_get_every_block() {
    those_that_stay_get_every_block(OverlayKind::Kademlia);
}

#[test]
fn when_half_of_the_ring_leaves_at_once_those_that_stay_get_every_block() {
    those_that_stay_get_every_block(OverlayKind::Ring);
}

/// Of 40 peers, four hand over and leave, four leave at once and four crash, within a quarter of a second: whoever
/// looked after one of them may be another one. Who lists whom of those a minute later.
fn who_lists_the_gone(kind: OverlayKind, seed: u64) -> Vec<(usize, usize)> {
    let overlay = move |me, config: &kadring::config::Config, seed| kind.build(me, seed, config.guest);
    let mut world = World::new(Rules::new(seed, Box::new(overlay)));
    for n in 0..40 {
        let slot = world.add(Id::of(&(n + seed * 1000).to_be_bytes()));
        world.start(slot, &[0]);
        pass(&mut world, Duration::from_millis(200));
    }
    pass(&mut world, Duration::from_secs(15));
    for slot in 28..36 {
        world.command(slot, Command::Quit { handover: slot < 32 });
        pass(&mut world, Duration::from_millis(25));
    }
    (36..40).for_each(|slot| world.crash(slot));
    pass(&mut world, Duration::from_secs(60));
    let gone: BTreeMap<Id, usize> = (28..40).map(|slot| (world.peer(slot).id, slot)).collect();
    let listed = |slot| world.node(slot).expect("it stays").overlay().peers();
    let pairs = (0..28).flat_map(|slot| listed(slot).into_iter().map(move |peer| (slot, peer.id)));
    pairs.filter_map(|(slot, id)| Some((slot, *gone.get(&id)?))).collect()
}

#[test]
fn peers_of_kademlia_that_go_with_those_that_looked_after_them_are_listed_nowhere_a_minute_later() {
    for seed in [0, 4, 6, 8, 10, 11] {
        assert_eq!(who_lists_the_gone(OverlayKind::Kademlia, seed), [], "seed {seed}");
    }
}

#[test]
fn peers_of_the_ring_that_go_with_those_that_looked_after_them_are_listed_nowhere_a_minute_later() {
    for seed in 0..8 {
        assert_eq!(who_lists_the_gone(OverlayKind::Ring, seed), [], "seed {seed}");
    }
}

#[test]
fn what_is_typed_behind_a_quit_at_a_peer_that_stands_still_is_asked_of_nobody() {
    let mut world = network(OverlayKind::Kademlia);
    world.freeze(3, Duration::from_secs(5));
    let quit = world.command(3, Command::Quit { handover: false });
    let behind = world.command(3, Command::Status);
    pass(&mut world, Duration::from_secs(10));
    assert!(matches!(world.answer(3, quit), Some(Answer::Left { .. })));
    assert!(!world.is_up(3) && world.answer(3, behind).is_none());
}
