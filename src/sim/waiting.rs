//! What users wait for: it is true when they are told so, and they hear what lacks when it is not in time.

use std::time::Duration;

use super::world::{Rules, World};
use crate::config::Config;
use crate::id::Id;
use crate::node::{Answer, Command, FailureKind, Purpose, Until};
use crate::overlay::{OverlayKind, RingOptions};

const BOTH: [OverlayKind; 2] = [OverlayKind::Kademlia, OverlayKind::Ring];

fn world(kind: OverlayKind, peers: usize, replicas: usize) -> World {
    let config = Config { replicas, ..Config::default() };
    let make = Box::new(move |me, config: &Config, seed| kind.build(me, seed, config.guest));
    let mut world = World::new(Rules { config, block_size: 1_000, ..Rules::new(5, make) });
    for slot in 0..peers {
        let id = Id::random(world.rng());
        world.add(id);
        world.start(slot, &[0]);
    }
    world
}

fn wait(until: Until, seconds: u64) -> Command {
    Command::Wait { until, limit: Some(Duration::from_secs(seconds)) }
}

/// Waits; after how long it was true, or what lacked.
#[track_caller]
fn waited(world: &mut World, slot: usize, until: Until, seconds: u64) -> Result<Duration, String> {
    let command = world.command(slot, wait(until, seconds));
    let limit = Duration::from_secs(seconds + 1);
    assert!(world.run_until_answered(slot, command, limit).expect("nothing breaks"), "there is a deadline");
    match world.take_answer(slot, command) {
        Some(Answer::Waited { took }) => Ok(took),
        Some(Answer::Failed(failure)) if failure.kind == FailureKind::TimedOut => Err(failure.reason),
        other => panic!("{other:?}"),
    }
}

fn store(world: &mut World, slot: usize, bytes: usize) {
    world.disk_mut(slot).write_file("original", (0..bytes).map(|n| (n / 1_000 + n) as u8).collect::<Vec<_>>().into());
    let store = world.command(slot, Command::Store { path: "original".into(), manifest: None, keep: false });
    assert!(world.run_until_answered(slot, store, Duration::from_secs(60)).expect("nothing breaks"));
}

#[test]
fn a_peer_is_stable_once_it_knows_others_and_nobody_came_or_went_for_a_while() {
    for kind in BOTH {
        let mut world = world(kind, 6, 3);
        let took = waited(&mut world, 3, Until::Stable, 60).expect("it is");
        assert!(took >= Duration::from_secs(3), "{kind:?}: {took:?}");
        assert!(waited(&mut world, 3, Until::Peers { count: 5 }, 60).is_ok(), "{kind:?}");
        let reason = waited(&mut world, 3, Until::Peers { count: 6 }, 2).expect_err("there are five");
        assert!(reason.contains("5 of 6 peers"), "{kind:?}: {reason}");
    }
}

/// How many neighbours a peer knows: those in its list of successors, if it has one.
fn neighbours(world: &World, slot: usize) -> usize {
    let overlay = world.node(slot).expect("it is up").overlay();
    match overlay.kind() {
        OverlayKind::Kademlia => overlay.peers().len(),
        OverlayKind::Ring => overlay.table().iter().filter(|row| row.label.starts_with("successor")).count(),
    }
}

/// Peers that join at about the same time are let in with lists that lack one another; on the ring the last of a list
/// hears of such a one within some rounds.
#[test]
fn who_is_told_that_it_is_stable_knows_all_its_neighbours() {
    for kind in BOTH {
        for gap in [0, 30, 200, 1000, 2500].map(Duration::from_millis) {
            let mut world = World::new(Rules::of(9, kind, RingOptions::default()));
            for slot in 0..9 {
                let id = Id::random(world.rng());
                world.add(id);
                world.start(slot, if slot == 0 { &[] } else { &[0] });
                world.run_for(gap).expect("nothing breaks");
            }
            let waits = [1, 2, 3, 4, 5, 6, 7, 8].map(|slot| (slot, world.command(slot, wait(Until::Stable, 60))));
            let mut told = 0;
            while told < waits.len() {
                world.run_for(Duration::from_millis(20)).expect("nothing breaks");
                for (slot, command) in waits {
                    let Some(answer) = world.take_answer(slot, command) else { continue };
                    let knows = neighbours(&world, slot);
                    assert!(matches!(answer, Answer::Waited { .. }), "{kind:?}, every {gap:?}: {answer:?}");
                    assert_eq!(knows, 8, "{kind:?}, one every {gap:?}: peer {slot}, at {:?}", world.now());
                    told += 1;
                }
            }
        }
    }
}

#[test]
fn a_peer_that_reaches_nobody_is_not_stable_and_one_that_begins_a_network_is() {
    for kind in BOTH {
        let mut world = world(kind, 2, 3);
        world.crash(0);
        let reason = waited(&mut world, 1, Until::Stable, 20).expect_err("nobody lets it in");
        assert!(reason.contains("joined") || reason.contains("knows no other"), "{kind:?}: {reason}");
        let mut alone = self::world(kind, 1, 3);
        assert!(waited(&mut alone, 0, Until::Stable, 20).is_ok(), "{kind:?}");
    }
}

#[test]
fn a_peer_is_idle_when_what_it_was_asked_for_is_done() {
    for kind in BOTH {
        let mut world = world(kind, 5, 3);
        assert!(waited(&mut world, 0, Until::Stable, 60).is_ok());
        let bytes: Vec<u8> = (0..50_000_u32).map(|n| (n / 1_000) as u8).collect();
        world.disk_mut(0).write_file("original", bytes.into());
        let stored = world.command(0, Command::Store { path: "original".into(), manifest: None, keep: false });
        world.run_for(Duration::from_millis(1)).expect("nothing breaks");
        assert!(waited(&mut world, 0, Until::Idle, 60).is_ok());
        assert!(matches!(world.answer(0, stored), Some(Answer::Stored { .. })), "{kind:?}");
    }
}

#[test]
fn a_peer_is_safe_to_switch_off_only_while_others_have_all_that_it_holds() {
    for kind in BOTH {
        let mut alone = world(kind, 1, 3);
        assert!(waited(&mut alone, 0, Until::Safe, 5).is_ok(), "it holds nothing");
        store(&mut alone, 0, 5_000);
        let reason = waited(&mut alone, 0, Until::Safe, 10).expect_err("the only copies are here");
        assert!(reason.contains("of 6 of the 6 blocks held here no copy is known elsewhere"), "{kind:?}: {reason}");
        let mut world = world(kind, 3, 3);
        assert!(waited(&mut world, 0, Until::Stable, 60).is_ok());
        store(&mut world, 0, 5_000);
        assert!(waited(&mut world, 0, Until::Safe, 30).is_ok(), "{kind:?}");
        // What was confirmed by those that are gone counts no more.
        world.crash(1);
        world.crash(2);
        assert!(waited(&mut world, 0, Until::Safe, 60).is_err(), "{kind:?}");
        world.start(1, &[0]);
        assert!(waited(&mut world, 0, Until::Safe, 60).is_ok(), "{kind:?}: it has come back with its copies");
    }
}

#[test]
fn a_block_of_one_copy_keeps_its_peer_from_being_safe() {
    for kind in BOTH {
        let mut world = world(kind, 3, 1);
        assert!(waited(&mut world, 0, Until::Stable, 60).is_ok());
        store(&mut world, 0, 20_000);
        let holder = (0..3).find(|&slot| !world.disk(slot).held().is_empty()).expect("somebody holds it");
        assert!(waited(&mut world, holder, Until::Safe, 30).is_err(), "{kind:?}");
    }
}

/// Six peers, of which three are full; what the others were given stands in three copies at them.
fn with_full_peers(kind: OverlayKind) -> World {
    let mut world = world(kind, 6, 3);
    assert!(waited(&mut world, 3, Until::Stable, 60).is_ok());
    (0..3).for_each(|slot| world.disk_mut(slot).capacity = Some(5_000));
    store(&mut world, 3, BLOCKS * 1_000);
    let held = |slot: usize| world.disk(slot).held().len();
    assert!((0..3).all(|slot| held(slot) <= 5) && (3..6).map(held).sum::<usize>() >= 3 * BLOCKS - 15, "{kind:?}");
    world
}

const BLOCKS: usize = 100;

#[test]
fn copies_at_peers_that_stand_in_for_full_ones_count_and_are_found_with_few_questions() {
    for kind in BOTH {
        let mut world = with_full_peers(kind);
        for slot in 3..6 {
            let before = world.counts().tally;
            let took = waited(&mut world, slot, Until::Safe, 30);
            let sent = (world.counts().tally - before).of(Purpose::Repair);
            assert!(took.is_ok_and(|took| took < Duration::from_secs(1)), "{kind:?}");
            assert!(sent.messages <= BLOCKS as u64 / 2, "{kind:?}: {sent:?}");
        }
    }
}

#[test]
fn who_leaves_where_others_are_full_leaves_nothing_behind_that_a_peer_which_stands_in_for_them_has() {
    for kind in BOTH {
        let mut world = with_full_peers(kind);
        for slot in 3..5 {
            let held = world.disk(slot).held().len() as u64;
            let quit = world.command(slot, Command::Quit { handover: true });
            assert!(world.run_until_answered(slot, quit, Duration::from_secs(60)).expect("nothing breaks"));
            let left = world.take_answer(slot, quit);
            let Some(Answer::Left { handed_over, left_behind, .. }) = left else { panic!("{left:?}") };
            assert_eq!((handed_over, left_behind), (held, 0), "{kind:?}: peer {slot}");
        }
    }
}

#[test]
fn who_waits_is_told_when_it_is_cancelled_and_when_the_peer_leaves() {
    let mut world = world(OverlayKind::Kademlia, 2, 3);
    let first = world.command(0, Command::Wait { until: Until::Peers { count: 9 }, limit: None });
    let second = world.command(0, Command::Wait { until: Until::Peers { count: 9 }, limit: None });
    world.run_for(Duration::from_secs(5)).expect("nothing breaks");
    world.command(0, Command::Cancel { command: first });
    world.run_for(Duration::from_secs(1)).expect("nothing breaks");
    let kind = |world: &World, command| match world.answer(0, command) {
        Some(Answer::Failed(failure)) => Some(failure.kind),
        _ => None,
    };
    assert_eq!((kind(&world, first), kind(&world, second)), (Some(FailureKind::Cancelled), None));
    world.command(0, Command::Quit { handover: true });
    world.run_for(Duration::from_secs(5)).expect("nothing breaks");
    assert_eq!(kind(&world, second), Some(FailureKind::Gone));
}
