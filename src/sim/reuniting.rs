//! Parts of a network that was cut become one again, whatever happened to their peers meanwhile.

use std::time::Duration;

use super::world::{Rules, World};
use crate::id::Id;
use crate::overlay::{OverlayKind, RingOptions};
use crate::peer::Peer;

/// Whether each peer knows those that are nearest to it, of all.
fn is_one(world: &World, kind: OverlayKind, peers: usize) -> bool {
    let nodes = || (0..peers).filter_map(|slot| world.node(slot));
    let all: Vec<Peer> = nodes().map(|node| node.overlay().me()).collect();
    nodes().all(|node| {
        let id = node.overlay().me().id;
        let mut nearest = all.clone();
        nearest.sort_by_key(|peer| match kind {
            OverlayKind::Kademlia => peer.id.distance(&id),
            OverlayKind::Ring => peer.id.minus(&id),
        });
        node.overlay().replica_set(&id, 4)[..] == nearest[..4]
    })
}

/// A network whose halves could not reach each other for so long, and have noticed.
fn cut(kind: OverlayKind, peers: usize, lasts: Duration) -> World {
    let mut world = World::new(Rules::of(peers as u64, kind, RingOptions::default()));
    for slot in 0..peers {
        let id = Id::random(world.rng());
        world.add(id);
        world.start(slot, &[0]);
        world.run_for(Duration::from_millis(300)).expect("nothing breaks");
    }
    world.run_for(Duration::from_secs(60)).expect("nothing breaks");
    assert!(is_one(&world, kind, peers), "{kind:?}");
    (1..peers).step_by(2).for_each(|slot| world.maroon(slot, 1));
    world.run_for(lasts).expect("nothing breaks");
    assert!(!is_one(&world, kind, peers), "{kind:?}: they are cut off");
    world
}

/// Seconds from the end of the cut until the network is one; 240 at most.
fn healed(world: &mut World, kind: OverlayKind, peers: usize) -> u64 {
    world.heal();
    for waited in 0..=240 {
        if is_one(world, kind, peers) {
            return waited;
        }
        world.run_for(Duration::from_secs(1)).expect("nothing breaks");
    }
    panic!("{kind:?}: the halves of {peers} peers did not meet")
}

/// Both halves lost each other at the same time. If all tried the lost at the same times, nobody would in between.
#[test]
fn halves_that_lost_each_other_are_one_within_thirty_seconds_however_long_they_were_cut() {
    for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
        let waited = [100, 130, 160, 190].map(|lasts| {
            let mut world = cut(kind, 20, Duration::from_secs(lasts));
            healed(&mut world, kind, 20)
        });
        println!("{kind:?}: one after {waited:?} s");
        assert!(waited.iter().all(|waited| *waited <= 30), "{kind:?}: {waited:?} s");
    }
}

#[test]
fn halves_whose_peers_were_all_started_again_while_they_were_cut_meet_though_nobody_names_an_address() {
    for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
        for (peers, times) in [(8, 1), (8, 2), (30, 1)] {
            let mut world = cut(kind, peers, Duration::from_secs(120));
            for _ in 0..times {
                (0..peers).for_each(|slot| world.crash(slot));
                world.run_for(Duration::from_secs(5)).expect("nothing breaks");
                (0..peers).for_each(|slot| world.start(slot, &[]));
                world.run_for(Duration::from_secs(60)).expect("nothing breaks");
            }
            assert!(!is_one(&world, kind, peers), "{kind:?}: they are cut off");
            let waited = healed(&mut world, kind, peers);
            println!("{kind:?}: {peers} peers, started {times} times more: one after {waited} s");
        }
    }
}
