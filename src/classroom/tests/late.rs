//! Replicas that have stopped or that no connection reaches: nobody waits for them once another one has the file.

use std::net::SocketAddr;

use super::handing::{noted, offers};
use super::*;
use crate::node::Obstacle;

/// The node's user has stored a file here, and it goes to its replicas: those offers.
fn replicates(bench: &mut Bench) -> Vec<(SocketAddr, u64)> {
    let (find, _) = job(&orders(bench, Command::StoreFile { file: file(1) }));
    let (touch, _) = job(&bench.ends(find, found(Some(VERSION))));
    offers(&bench.ends(touch, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: false })))
}

/// The directory that the node looks through has the file in it: `actions`, and what follows.
pub(super) fn looks_through(bench: &mut Bench, mut actions: Vec<Action>) -> Vec<Action> {
    for (id, work) in jobs(&actions) {
        if work == Job::Named(NamedJob::Scan) {
            let files = vec![(file(1), VERSION)];
            actions.extend(bench.ends(id, Outcome::Named(NamedOutcome::Scanned { files })));
        }
    }
    actions
}

/// Lets time pass, in which no peer answers, until actions are those that are wanted: how long that took.
pub(super) fn passes_until(bench: &mut Bench, mut wanted: impl FnMut(&[Action]) -> bool) -> Duration {
    let begin = bench.now;
    loop {
        let actions = bench.wait(Duration::from_secs(60)).expect("something is due");
        if wanted(&looks_through(bench, actions)) {
            return bench.now.since(begin);
        }
    }
}

/// The node's user has it leave: what it offers first.
pub(super) fn quits(bench: &mut Bench) -> Vec<(SocketAddr, u64)> {
    let before = RingRequest::Ping { predecessors: [6, 5, 4].map(peer).to_vec(), successors: Vec::new(), quiet: false };
    bench.hears_request(peer(6), 77, Request::Ring(before));
    let actions = bench.does(Event::Command { id: 10, command: Command::Quit { handover: true } });
    offers(&looks_through(bench, actions))
}

/// The end of the node's user's command to leave.
pub(super) fn has_left(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Notify(Notice::Answer { command: 10, .. })))
}

/// The message that offered the file meets an obstacle.
fn does_not_get_there(bench: &mut Bench, (to, magic): (SocketAddr, u64), obstacle: Obstacle) -> Vec<Action> {
    let Version { size, modified } = VERSION;
    let request = Request::Ring(RingRequest::Transfer { file: file(1), size, modified, stored: true });
    let message = Message::request(magic, Sender::member(peer(0).id, peer(0).addr), request);
    bench.does(Event::Undeliverable { to, message, obstacle })
}

#[test]
fn a_store_waits_no_longer_for_a_replica_that_stopped_once_another_one_has_the_file() {
    let mut bench = classroom_of(6, 0);
    let [(first, magic), _] = replicates(&mut bench)[..] else { panic!("two replicas") };
    assert_eq!(answer(&bench.hears_answer(first, magic, noted())), None, "the second may answer at once");
    let took = passes_until(&mut bench, |actions| matches!(answer(actions), Some(Answer::FileStored { .. })));
    println!("stored after {took:?}");
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[test]
fn a_store_whose_replicas_have_all_stopped_waits_until_they_are_known_to_be_silent() {
    let mut bench = classroom(0);
    assert_eq!(replicates(&mut bench).len(), 2);
    let took = passes_until(&mut bench, |actions| matches!(answer(actions), Some(Answer::FileStored { .. })));
    assert!(took > Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_store_waits_no_longer_for_a_replica_that_no_connection_reaches_once_another_one_has_the_file() {
    let mut bench = classroom_of(6, 0);
    let [(first, magic), second] = replicates(&mut bench)[..] else { panic!("two replicas") };
    assert_eq!(answer(&does_not_get_there(&mut bench, second, Obstacle::Delay)), None, "nobody else has it");
    let actions = bench.hears_answer(first, magic, noted());
    assert!(matches!(answer(&actions), Some(Answer::FileStored { .. })), "{actions:?}");
}

#[test]
fn an_offer_of_a_file_that_no_connection_brings_to_its_receiver_has_failed_after_seconds() {
    let mut bench = classroom(0);
    let [one, other] = replicates(&mut bench)[..] else { panic!("two replicas") };
    let mut told = Vec::new();
    for _ in 0..2 {
        bench.now += Duration::from_secs(2);
        told = does_not_get_there(&mut bench, one, Obstacle::Silence);
        told.extend(does_not_get_there(&mut bench, other, Obstacle::Silence));
    }
    assert!(matches!(answer(&told), Some(Answer::FileStored { .. })), "nothing is left to wait for: {told:?}");
}

#[test]
fn a_peer_that_leaves_waits_no_longer_for_a_replica_that_stopped_once_another_one_has_the_file() {
    let mut bench = classroom_of(6, 0);
    let [(first, magic), _] = replicates(&mut bench)[..] else { panic!("two replicas") };
    quits(&mut bench);
    bench.hears_answer(first, magic, noted());
    let took = passes_until(&mut bench, has_left);
    println!("left after {took:?}");
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[test]
fn a_peer_that_leaves_offers_to_the_next_what_those_that_stopped_do_not_take_and_stays_until_one_has_it() {
    let mut bench = classroom_of(6, 0);
    let mut stopped = replicates(&mut bench);
    stopped.extend(quits(&mut bench));
    let mut next = Vec::new();
    let took = passes_until(&mut bench, |actions| {
        assert!(!has_left(actions), "nobody has it");
        next.extend(offers(actions).into_iter().filter(|offer| !stopped.contains(offer)));
        !next.is_empty()
    });
    println!("offered to others after {took:?}");
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert!(next.iter().all(|(to, _)| stopped.iter().all(|(other, _)| other != to)), "{next:?}");
    let actions: Vec<Action> =
        next.into_iter().flat_map(|(to, magic)| bench.hears_answer(to, magic, noted())).collect();
    let took = if has_left(&actions) { Duration::ZERO } else { passes_until(&mut bench, has_left) };
    assert!(took < Duration::from_millis(100), "{took:?}");
}
