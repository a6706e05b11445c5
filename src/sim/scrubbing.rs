//! That what is held is read in time, and what rots is found and healed, though no peer asks for it.

use std::time::Duration;

use super::world::{Rules, World};
use crate::config::Config;
use crate::id::{Id, Key};
use crate::node::health::Scrubbing;
use crate::node::{Answer, Command, FailureKind, Source};
use crate::overlay::OverlayKind;

const BOTH: [OverlayKind; 2] = [OverlayKind::Kademlia, OverlayKind::Ring];

const PERIOD: Duration = Duration::from_secs(3600);

/// Three peers with three copies of forty blocks and a list, which they found on their disks.
fn world(kind: OverlayKind) -> World {
    let config = Config { scrub: Some(PERIOD), ..Config::default() };
    let make = Box::new(move |me, config: &Config, seed| kind.build(me, seed, config.guest));
    let mut world = World::new(Rules { config, ..Rules::new(7, make) });
    for slot in 0..3 {
        let id = Id::random(world.rng());
        world.add(id);
        for n in 0..40_u32 {
            let bytes = vec![n as u8; 1_000];
            world.disk_mut(slot).keep(Key::of(&bytes), bytes.into());
        }
        world.start(slot, &[0]);
    }
    // By then what they found was looked at, as after each start.
    world.run_for(Duration::from_secs(60)).expect("nothing breaks");
    world
}

fn answer(world: &mut World, slot: usize, command: Command) -> Answer {
    let id = world.command(slot, command);
    assert!(world.run_until_answered(slot, id, Duration::from_secs(60)).expect("nothing breaks"));
    world.take_answer(slot, id).expect("it was answered")
}

fn scrubbing(world: &mut World, slot: usize) -> Scrubbing {
    match answer(world, slot, Command::Status) {
        Answer::Status(status) => status.scrub.expect("it was asked for"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_block_is_read_once_in_the_time_given_and_what_rotted_is_found_and_healed() {
    for kind in BOTH {
        let mut world = world(kind);
        let rotten = world.disk_mut(1).rot(17).expect("it has blocks");
        world.run_for(PERIOD / 2).expect("nothing breaks");
        let half = scrubbing(&mut world, 1);
        assert!((15..=25).contains(&half.done) && half.of == 40 && half.last.is_none(), "{kind:?}: {half:?}");
        world.run_for(PERIOD / 2).expect("nothing breaks");
        let pass = scrubbing(&mut world, 1).last.unwrap_or_else(|| panic!("{kind:?}: it took longer"));
        assert_eq!((pass.blocks, pass.bytes, pass.damaged), (40, 39_000, 1), "{kind:?}");
        assert!(world.disk(1).has_sound(&rotten), "{kind:?}: it was brought back");
        world.run_for(PERIOD).expect("nothing breaks");
        let next = scrubbing(&mut world, 1).last.expect("another pass");
        assert_eq!((next.blocks, next.damaged), (40, 0), "{kind:?}");
    }
}

#[test]
fn a_scrub_that_is_asked_for_is_done_at_once_and_answers_what_it_found() {
    for kind in BOTH {
        let mut world = world(kind);
        let rotten = [3, 30].map(|nth| world.disk_mut(2).rot(nth).expect("it has blocks"));
        let began = world.now();
        let Answer::Scrubbed(done) = answer(&mut world, 2, Command::Scrub) else { panic!("{kind:?}") };
        assert_eq!((done.blocks, done.bytes, done.damaged), (40, 38_000, 2), "{kind:?}");
        assert!(world.now().since(began) < Duration::from_secs(1), "{kind:?}");
        world.run_for(Duration::from_secs(5)).expect("nothing breaks");
        assert!(rotten.iter().all(|key| world.disk(2).has_sound(key)), "{kind:?}");
        assert_eq!(scrubbing(&mut world, 2).last, Some(done));
        let Answer::Scrubbed(again) = answer(&mut world, 2, Command::Scrub) else { panic!("{kind:?}") };
        assert_eq!((again.blocks, again.damaged), (40, 0), "{kind:?}");
    }
}

#[test]
fn a_peer_whose_scrub_is_off_reads_nothing_by_itself() {
    let mut world = world(OverlayKind::Kademlia);
    world.crash(1);
    world.rules.config.scrub = None;
    world.start(1, &[0]);
    world.run_for(Duration::from_secs(60)).expect("nothing breaks");
    let rotten = world.disk_mut(1).rot(17).expect("it has blocks");
    world.run_for(PERIOD * 3).expect("nothing breaks");
    assert!(!world.disk(1).has_sound(&rotten));
    let Answer::Status(status) = answer(&mut world, 1, Command::Status) else { panic!("it is told") };
    assert_eq!(status.scrub, None);
    assert!(matches!(answer(&mut world, 1, Command::Scrub), Answer::Scrubbed(done) if done.damaged == 1));
}

#[test]
fn of_a_file_whose_copies_were_all_damaged_a_retrieve_says_so_each_time_and_not_that_nobody_has_it() {
    for kind in BOTH {
        let mut world = world(kind);
        let rotten = [0, 1, 2].map(|slot| world.disk_mut(slot).rot(17).expect("it has blocks"));
        let id = Id::random(world.rng());
        let guest = world.add(id);
        world.start_guest(guest, &[0]);
        world.run_for(Duration::from_secs(1)).expect("nothing breaks");
        for time in 1..=2 {
            let source = Source::Key(rotten[0]);
            let end = answer(&mut world, guest, Command::Retrieve { source, dest: "/back".into(), replace: true });
            let Answer::Failed(failure) = end else { panic!("{end:?}") };
            assert_eq!(failure.kind, FailureKind::Integrity, "{kind:?}, time {time}: {failure}");
        }
    }
}
