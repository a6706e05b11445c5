//! Files that are handed from peer to peer: offered, refused, and given away by one that leaves.

use std::net::SocketAddr;

use super::*;
use crate::node::tests::failed;

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
fn offers(actions: &[Action]) -> Vec<(SocketAddr, u64)> {
    let asked = requests(actions).into_iter();
    let those = asked.filter(|(.., request)| matches!(request, Request::Ring(RingRequest::Transfer { .. })));
    those.map(|(to, magic, _)| (to, magic)).collect()
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
    let mut actions = offers(&actions)
        .into_iter()
        .map(|(to, magic)| bench.hears_answer(to, magic, refused("no space left")))
        .last()
        .expect("two replicas");
    assert!(matches!(answer(&actions), Some(Answer::FileStored { .. })), "it lies where it belongs: {actions:?}");
    let until = bench.now + Duration::from_secs(60);
    while offers(&actions).is_empty() {
        actions = bench.wait(until.since(bench.now)).expect("it is offered again");
        for (id, _) in jobs(&actions) {
            let files = vec![(file(1), VERSION)];
            actions = bench.ends(id, Outcome::Named(NamedOutcome::Scanned { files }));
        }
    }
    assert_eq!(offers(&actions).len(), FILE_COPIES - 1);
}

#[test]
fn a_peer_that_leaves_offers_to_others_what_those_refuse_that_should_have_it() {
    let bench = Bench::new(Config { named_files: true, ..Config::default() }, 6, 0);
    let mut bench = Bench { node: join(bench.node), ..bench }.start(&[]);
    bench.wait(Duration::from_secs(1)).expect("the directory is looked through");
    bench.ends(0, Outcome::Named(NamedOutcome::Scanned { files: Vec::new() }));
    let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
    let (touch, _) = job(&bench.ends(find, found(Some(VERSION))));
    let mut actions = bench.ends(touch, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: false }));
    for (to, magic) in offers(&actions) {
        bench.hears_answer(to, magic, refused("this peer is leaving the ring"));
    }
    actions = bench.does(Event::Command { id: 10, command: Command::Quit { handover: true } });
    let (scan, _) = jobs(&actions).into_iter().find(|(_, work)| *work == Job::Named(NamedJob::Scan)).expect("it looks");
    actions = bench.ends(scan, Outcome::Named(NamedOutcome::Scanned { files: vec![(file(1), VERSION)] }));
    let mut asked = Vec::new();
    while !offers(&actions).is_empty() {
        let mut next = Vec::new();
        for (to, magic) in offers(&actions) {
            asked.push(to);
            next = bench.hears_answer(to, magic, refused("this peer is leaving the ring"));
        }
        actions = next;
    }
    asked.sort_unstable();
    let rest: Vec<SocketAddr> = (FILE_COPIES as u16..=6).map(|n| peer(n).addr).collect();
    assert_eq!(asked, rest, "each other one once");
    let deadline = bench.now + Duration::from_secs(5);
    while answer(&actions).is_none() {
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
