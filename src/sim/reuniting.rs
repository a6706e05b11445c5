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

/// A network whose halves cannot reach each other, and have noticed.
fn cut(kind: OverlayKind, peers: usize) -> World {
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
    world.run_for(Duration::from_secs(120)).expect("nothing breaks");
    world
}

#[test]
fn halves_whose_peers_were_all_started_again_while_they_were_cut_meet_though_nobody_names_an_address() {
    for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
        for (peers, times) in [(8, 1), (8, 2), (30, 1)] {
            let mut world = cut(kind, peers);
            for _ in 0..times {
                (0..peers).for_each(|slot| world.crash(slot));
                world.run_for(Duration::from_secs(5)).expect("nothing breaks");
                (0..peers).for_each(|slot| world.start(slot, &[]));
                world.run_for(Duration::from_secs(60)).expect("nothing breaks");
            }
            assert!(!is_one(&world, kind, peers), "{kind:?}: they are cut off");
            world.heal();
            let mut waited = 0;
            while !is_one(&world, kind, peers) {
                assert!(waited < 240, "{kind:?}: {peers} peers, started {times} times more");
                world.run_for(Duration::from_secs(1)).expect("nothing breaks");
                waited += 1;
            }
            println!("{kind:?}: {peers} peers, started {times} times more: one after {waited} s");
        }
    }
}
