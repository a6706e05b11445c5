//! What it costs to open a connection, in virtual time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use kadring::config::{LINK_IDLE, LINK_IDLE_ANSWERING};
use kadring::id::{Id, Key};
use kadring::node::{Answer, Command};
use kadring::overlay::OverlayKind;
use kadring::sim::grown::{Shape, populate};
use kadring::sim::world::RecordedItem;
use kadring::sim::{Rules, Weather, World};

const ROUND_TRIP: Duration = Duration::from_millis(20);

/// How long the first of three peers of a ring, all of which know one another, takes to look up a key of the second's:
/// a line goes there, its answer comes by datagram, and pings ask the two others.
fn look_up(world: &mut World, key: Key) -> Duration {
    let command = world.command(0, Command::Lookup { key });
    assert!(world.run_until_answered(0, command, Duration::from_secs(10)).expect("every invariant holds"));
    let Some(Answer::Lookup { took, peers, .. }) = world.answer(0, command).cloned() else { panic!("it is answered") };
    assert_eq!(peers.len(), 3);
    took
}

#[test]
fn the_first_line_to_a_peer_takes_a_round_trip_more_and_so_does_the_next_once_the_connection_was_idle_for_long() {
    let mut rules = Rules::of(1, OverlayKind::Ring, kadring::overlay::ring::RingOptions::default());
    rules.weather = Weather::still(ROUND_TRIP);
    let mut world = World::new(rules);
    populate(&mut world, &Shape::usual(OverlayKind::Ring), 3, |_| {});
    let key: Id = world.peer(1).id;
    let mut looked_up_after = |pause: Duration| {
        world.run_for(pause).expect("every invariant holds");
        look_up(&mut world, key)
    };
    assert_eq!(looked_up_after(LINK_IDLE), ROUND_TRIP * 3, "the connection, the question, the pings");
    assert_eq!(looked_up_after(Duration::ZERO), ROUND_TRIP * 2, "it stands");
    assert_eq!(looked_up_after(LINK_IDLE_ANSWERING * 2), ROUND_TRIP * 2, "it still does");
    assert_eq!(looked_up_after(LINK_IDLE + ROUND_TRIP), ROUND_TRIP * 3, "it was closed");
}

/// What the first peer hears, within this long, of lines that it sent to the second, which has vanished, and how often.
fn returned(opened: bool, span: Duration) -> usize {
    let mut rules = Rules::of(1, OverlayKind::Ring, kadring::overlay::ring::RingOptions::default());
    rules.weather = Weather::still(ROUND_TRIP);
    let mut world = World::new(rules);
    populate(&mut world, &Shape::usual(OverlayKind::Ring), 3, |_| {});
    let key: Id = world.peer(1).id;
    if opened {
        look_up(&mut world, key);
    }
    let heard = Rc::new(Cell::new(0));
    let count = Rc::clone(&heard);
    world.recorder = Some(Box::new(move |recorded: RecordedItem<'_>| {
        let told = |line: &str| line.starts_with("{\"peer\":0,") && line.contains("Undeliverable");
        count.set(count.get() + usize::from(recorded.line().is_some_and(told)));
    }));
    world.crash(1);
    world.command(0, Command::Lookup { key });
    world.run_for(span).expect("every invariant holds");
    heard.get()
}

#[test]
fn a_sender_hears_that_no_connection_comes_about_to_a_vanished_peer_and_nothing_of_what_it_sends_over_one_that_stood() {
    for span in [Duration::from_millis(400), Duration::from_secs(4)] {
        assert!(returned(false, span) > 0);
        assert_eq!(returned(true, span), 0);
    }
}
