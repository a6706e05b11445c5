//! Files that are handed from peer to peer: offered, refused, and given away by one that leaves.

use std::net::SocketAddr;

use super::late::looks_through;
use super::*;
use crate::node::Obstacle;
use crate::node::tests::failed;

#[test]
fn two_peers_that_replicate_one_file_do_not_wait_for_one_another() {
    let mut bench = classroom(0);
    let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
    let (touch, _) = job(&bench.ends(find, found(Some(VERSION))));
    let offer = |version: Version| {
        let Version { size, modified } = version;
        Request::Ring(RingRequest::Transfer { file: file(1), size, modified, stored: false })
    };
    assert_eq!(responses(&bench.hears_request(peer(1), 5, offer(VERSION))), [], "the file is still to come");
    let actions = bench.ends(touch, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: false }));
    assert_eq!(responses(&actions), [(peer(1).addr, 5, Ok(noted()))]);
    let again = bench.hears_request(peer(2), 6, offer(VERSION));
    assert_eq!(responses(&again), [(peer(2).addr, 6, Ok(noted()))], "its replicas have not answered");
    let other = bench.hears_request(peer(2), 7, offer(Version { size: 1, modified: 9 }));
    assert!(matches!(&responses(&other)[..], [(_, 7, Err(reason))] if reason.contains("another version")), "{other:?}");
}

#[test]
fn a_peer_that_leaves_offers_its_files_again_to_who_does_not_know_it_yet() {
    let mut bench = classroom(0);
    let (touch, _) = {
        let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
        job(&bench.ends(find, found(Some(VERSION))))
    };
    bench.does(Event::Command { id: 10, command: Command::Quit { handover: true } });
    let actions = bench.ends(touch, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: false }));
    let offered = offers(&actions);
    assert_eq!(offered.len(), 2, "{actions:?}");
    for (to, magic) in offered {
        bench.hears(to, Message::error(magic, "not a neighbour of this peer"));
    }
    let again = offers(&bench.wait(Duration::from_secs(2)).expect("it offers the file again"));
    assert_eq!(again.len(), 2);
}

/// The offers of a file among `actions`: to whom, and under which magic.
pub(super) fn offers(actions: &[Action]) -> Vec<(SocketAddr, u64)> {
    let asked = requests(actions).into_iter();
    let those = asked.filter(|(.., request)| matches!(request, Request::Ring(RingRequest::Transfer { .. })));
    those.map(|(to, magic, _)| (to, magic)).collect()
}

#[test]
fn a_peer_that_enters_the_ring_again_is_soon_offered_what_it_said_it_has_and_no_more_often_than_each_15_seconds() {
    let mut bench = classroom(0);
    let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
    let (touch, _) = job(&bench.ends(find, found(Some(VERSION))));
    let kept = Outcome::Named(NamedOutcome::Kept { version: VERSION, written: false });
    for (to, magic) in offers(&bench.ends(touch, kept)) {
        bench.hears_answer(to, magic, noted());
    }
    let enters = |bench: &mut Bench| {
        let update = RingRequest::Update { successors: Vec::new(), joined: Some(peer(2)) };
        bench.hears_request(peer(1), 90, Request::Ring(update));
    };
    // When it is offered the file until so much time has passed. A stranger may have it enter `again` all the while.
    let offered_in = |bench: &mut Bench, seconds: u64, again: bool| {
        let (mut all, end) = (Vec::new(), bench.now + Duration::from_secs(seconds));
        while bench.now < end {
            let actions = bench.wait(Duration::from_secs(60)).expect("it looks again and again");
            for (to, magic) in offers(&looks_through(bench, actions)) {
                all.extend((to == peer(2).addr).then_some(bench.now));
                bench.hears_answer(to, magic, noted());
            }
            if again {
                enters(bench);
            }
        }
        all
    };
    assert_eq!(offered_in(&mut bench, 20, false), []);
    enters(&mut bench);
    let entered = bench.now;
    assert_eq!(offered_in(&mut bench, 2, false), [entered + Duration::from_secs(2)]);
    enters(&mut bench);
    let offered = offered_in(&mut bench, 60, true);
    let far_apart = offered.windows(2).all(|two| two[1].since(two[0]) >= Duration::from_secs(15));
    assert!((3..=4).contains(&offered.len()) && far_apart, "{offered:?}");
}

fn refused(reason: &str) -> Response {
    Response::Ring(RingResponse::Refused { of: RingKind::Transfer, reason: reason.to_owned() })
}

#[test]
fn a_store_is_answered_when_its_replicas_refuse_and_they_are_offered_their_copies_again() {
    let mut bench = classroom(0);
    let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
    let (touch, _) = job(&bench.ends(find, found(Some(VERSION))));
    let actions = bench.ends(touch, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: false }));
    let actions = offers(&actions)
        .into_iter()
        .map(|(to, magic)| bench.hears_answer(to, magic, refused("no space left")))
        .last()
        .expect("two replicas");
    assert!(matches!(answer(&actions), Some(Answer::FileStored { .. })), "it lies where it belongs: {actions:?}");
    let again = offers_within(&mut bench, Duration::from_secs(60), &[(file(1), VERSION)]);
    assert_eq!(again.len(), FILE_COPIES - 1);
}

/// Lets time pass until the node sends offers, or for `limit`; its directory has `there` in it.
pub(super) fn offers_within(
    bench: &mut Bench,
    limit: Duration,
    there: &[(FileName, Version)],
) -> Vec<(SocketAddr, u64)> {
    let until = bench.now + limit;
    while bench.now < until
        && let Some(actions) = bench.wait(until.since(bench.now))
    {
        let mut sent = offers(&actions);
        for (id, work) in jobs(&actions) {
            if work == Job::Named(NamedJob::Scan) {
                sent.extend(offers(&bench.ends(id, Outcome::Named(NamedOutcome::Scanned { files: there.to_vec() }))));
            }
        }
        if !sent.is_empty() {
            return sent;
        }
    }
    Vec::new()
}

/// The node hears who stands before it.
pub(super) fn stands_behind(bench: &mut Bench, other: u16) {
    let ping = RingRequest::Ping { predecessors: vec![peer(other)], successors: Vec::new(), quiet: false };
    bench.hears_request(peer(other), 77, Request::Ring(ping));
}

/// A peer is gone, and everybody has noticed.
pub(super) fn dies(bench: &mut Bench, n: u16) {
    let message = Message::request(1, Sender::member(peer(0).id, peer(0).addr), Request::Ping);
    bench.does(Event::Undeliverable { to: peer(n).addr, message, obstacle: Obstacle::Refused });
}

/// The node's user stores the file, of which peer 1 is responsible.
fn stores(bench: &mut Bench) {
    let (find, _) = job(&orders(bench, Command::StoreFile { file: file(1) }));
    let sent = bench.ends(find, found(Some(VERSION)));
    let handed = routed_answer(bench, &sent, RingResponse::Kept { file: file(1) });
    let [(to, magic)] = offers(&handed)[..] else { panic!("to the peer responsible: {handed:?}") };
    assert!(matches!(answer(&bench.hears_answer(to, magic, noted())), Some(Answer::FileStored { .. })));
}

#[test]
fn who_stored_a_file_offers_it_again_as_a_replica_once_the_peer_that_took_it_is_gone() {
    let mut bench = classroom_of(7, 7);
    stands_behind(&mut bench, 7);
    stores(&mut bench);
    let there = [(file(1), VERSION)];
    let hour = Duration::from_secs(3600);
    assert_eq!(offers_within(&mut bench, hour, &there), [], "nothing changed");
    dies(&mut bench, 5);
    assert_eq!(offers_within(&mut bench, hour, &there), [], "it has not got it");
    dies(&mut bench, 1);
    let again = offers_within(&mut bench, Duration::from_secs(1), &there);
    let asked: Vec<SocketAddr> = again.iter().map(|(to, _)| *to).collect();
    assert_eq!(asked, [peer(2).addr, peer(3).addr, peer(4).addr]);
    again.into_iter().for_each(|(to, magic)| drop(bench.hears_answer(to, magic, noted())));
    assert_eq!(offers_within(&mut bench, hour, &there), [], "they have it");
    assert_eq!(bench.node.named_files(), [], "it is not this peer's to look after");
    for n in [2, 3] {
        dies(&mut bench, n);
        assert_eq!(offers_within(&mut bench, hour, &there), [], "peer 4 has it, and looks after it");
    }
    dies(&mut bench, 4);
    assert_eq!(offers_within(&mut bench, Duration::from_secs(1), &there).len(), 2, "all that are left");
}

#[test]
fn what_is_offered_again_by_who_stored_it_is_no_store() {
    let mut bench = classroom_of(5, 5);
    stands_behind(&mut bench, 5);
    stores(&mut bench);
    dies(&mut bench, 1);
    let actions = {
        let scan = bench.wait(Duration::from_secs(1)).expect("it looks soon");
        bench.ends(job(&scan).0, Outcome::Named(NamedOutcome::Scanned { files: vec![(file(1), VERSION)] }))
    };
    let sent = requests(&actions);
    assert_eq!(sent.len(), FILE_COPIES, "{actions:?}");
    for (.., request) in sent {
        let is_replica =
            matches!(request, Request::Ring(RingRequest::Transfer { size: 700, modified: 5, stored: false, .. }));
        assert!(is_replica, "{request:?}");
    }
}

#[test]
fn a_file_that_its_user_changed_or_removed_since_the_store_is_not_offered_again() {
    let changed = Version { modified: 6, ..VERSION };
    for there in [vec![(file(1), changed)], vec![]] {
        let mut bench = classroom_of(5, 5);
        stands_behind(&mut bench, 5);
        stores(&mut bench);
        dies(&mut bench, 1);
        assert_eq!(offers_within(&mut bench, Duration::from_secs(100), &there), [], "{there:?}");
    }
}

pub(super) fn noted() -> Response {
    Response::Ring(RingResponse::Noted { of: RingKind::Transfer })
}

#[test]
fn what_a_replica_refuses_the_next_peer_is_offered_at_once_until_the_first_one_takes_it() {
    let mut bench = classroom_of(6, 0);
    let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
    let (touch, _) = job(&bench.ends(find, found(Some(VERSION))));
    let actions = bench.ends(touch, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: false }));
    let [(first, refuses), (second, takes)] = offers(&actions)[..] else { panic!("two replicas: {actions:?}") };
    let next = offers(&bench.hears_answer(first, refuses, refused("no space left")));
    let [(third, magic)] = next[..] else { panic!("the next one's turn: {next:?}") };
    assert_eq!([first, second, third], [peer(1).addr, peer(2).addr, peer(3).addr]);
    assert_eq!(answer(&bench.hears_answer(second, takes, noted())), None, "three copies are wanted");
    let actions = bench.hears_answer(third, magic, noted());
    assert!(matches!(answer(&actions), Some(Answer::FileStored { .. })), "{actions:?}");
    // It may have room by now; those that have the file are asked whether they still do.
    let there = [(file(1), VERSION)];
    let again = offers_within(&mut bench, Duration::from_secs(65), &there);
    let asked: Vec<SocketAddr> = again.iter().map(|(to, _)| *to).collect();
    assert_eq!(asked, [first, second, third]);
    again.into_iter().for_each(|(to, magic)| drop(bench.hears_answer(to, magic, noted())));
    let again = offers_within(&mut bench, Duration::from_secs(65), &there);
    let asked: Vec<SocketAddr> = again.iter().map(|(to, _)| *to).collect();
    assert_eq!(asked, [first, second], "the third one's copy is one too many");
}

#[test]
fn who_holds_a_copy_in_place_of_a_peer_that_refuses_it_keeps_it() {
    let mut bench = classroom_of(6, 3);
    stands_behind(&mut bench, 3);
    let offer = Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified: 5, stored: true });
    let (keep, _) = job(&bench.hears_request(peer(1), 5, offer));
    bench.ends(keep, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: true }));
    let there = [(file(1), VERSION)];
    for _ in 0..3 {
        for (to, magic) in offers_within(&mut bench, Duration::from_secs(65), &there) {
            bench.hears_answer(to, magic, if to == peer(2).addr { refused("no space left") } else { noted() });
        }
    }
    assert_eq!(bench.node.named_files(), there);
}

#[test]
fn a_replica_that_swallows_its_copy_does_not_keep_the_user_waiting_for_ever() {
    let mut bench = classroom(0);
    let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
    let (touch, _) = job(&bench.ends(find, found(Some(VERSION))));
    let actions = bench.ends(touch, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: false }));
    let [(first, magic), (second, _)] = offers(&actions)[..] else { panic!("two replicas: {actions:?}") };
    assert_eq!(answer(&bench.hears_answer(first, magic, noted())), None);
    let stored = bench.now;
    let mut told = None;
    while told.is_none() {
        let actions = bench.wait(Duration::from_secs(60)).expect("the user is told");
        told = answer(&actions);
        // It answers pings, and so it is not silent.
        for (to, magic, request) in requests(&actions) {
            if to == second && request == Request::Ping {
                bench.hears_answer(to, magic, Response::Node(peer(2)));
            }
        }
        for (id, work) in jobs(&actions) {
            if work == Job::Named(NamedJob::Scan) {
                bench.ends(id, Outcome::Named(NamedOutcome::Scanned { files: vec![(file(1), VERSION)] }));
            }
        }
    }
    assert!(matches!(told, Some(Answer::FileStored { .. })), "{told:?}");
    assert!(bench.now.since(stored) < Duration::from_secs(20), "{:?}", bench.now.since(stored));
}

#[test]
fn a_peer_that_leaves_offers_to_others_what_those_refuse_that_should_have_it() {
    let mut bench = classroom_of(6, 0);
    let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
    let (touch, _) = job(&bench.ends(find, found(Some(VERSION))));
    let mut actions = bench.ends(touch, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: false }));
    let mut waiting = offers(&actions);
    actions = bench.does(Event::Command { id: 10, command: Command::Quit { handover: true } });
    let (scan, _) = jobs(&actions).into_iter().find(|(_, work)| *work == Job::Named(NamedJob::Scan)).expect("it looks");
    actions = bench.ends(scan, Outcome::Named(NamedOutcome::Scanned { files: vec![(file(1), VERSION)] }));
    waiting.extend(offers(&actions));
    let mut asked = Vec::new();
    while let Some((to, magic)) = waiting.pop() {
        asked.push(to);
        actions = bench.hears_answer(to, magic, refused("this peer is leaving the ring"));
        waiting.extend(offers(&actions));
    }
    asked.sort_unstable();
    let all: Vec<SocketAddr> = (1..=6).map(|n| peer(n).addr).collect();
    assert_eq!(asked, all, "each other one once");
    let deadline = bench.now + Duration::from_secs(5);
    let goes = |action: &Action| matches!(action, Action::Notify(Notice::Answer { command: 10, .. }));
    while !actions.iter().any(goes) {
        actions = bench.wait(deadline.since(bench.now)).expect("nobody is left to be asked, so it goes");
    }
}

#[test]
fn what_fails_on_its_way_here_may_be_offered_again_and_what_has_no_room_is_refused() {
    for (kind, again) in [(JobErrorKind::TimedOut, true), (JobErrorKind::Busy, true), (JobErrorKind::Full, false)] {
        let mut bench = classroom(1);
        let offer = Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified: 5, stored: false });
        let (keep, _) = job(&bench.hears_request(peer(1), 5, offer));
        let told = responses(&bench.ends(keep, failed(kind)));
        let [(_, 5, result)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(result.is_err(), again, "{kind:?}: {result:?}");
    }
}

#[test]
fn who_requests_what_is_on_its_way_waits_no_longer_at_a_peer_that_leaves() {
    let mut bench = classroom(0);
    arrives(&mut bench, peer(2), 5, Routed::Store { file: file(1) });
    let transfer = Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified: 5, stored: false });
    bench.hears_request(peer(2), 6, transfer);
    let (look, _) = job(&arrives(&mut bench, peer(1), 7, Routed::Request { file: file(1) }));
    assert_eq!(bench.ends(look, found(None)), [], "it waits");
    let asked = bench.now;
    bench.does(Event::Command { id: 10, command: Command::Quit { handover: true } });
    let looks =
        |actions: &[Action]| jobs(actions).iter().any(|(_, work)| matches!(work, Job::Named(NamedJob::Find { .. })));
    while !looks(&bench.wait(Duration::from_secs(3)).expect("whoever waits is not forgotten")) {}
    assert!(bench.now.since(asked) < Duration::from_millis(2100), "{:?}", bench.now.since(asked));
}
