//! What is brought here for a store, and what only as a replica.

use super::handing::offers;
use super::*;
use crate::node::tests::failed;

#[test]
fn who_stored_a_file_offers_replicas_of_it_later_as_anybody_does() {
    let mut bench = classroom(0);
    let offer = |modified| Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified, stored: false });
    arrives(&mut bench, peer(2), 5, Routed::Store { file: file(1) });
    let (id, work) = job(&bench.hears_request(peer(2), 6, offer(7)));
    assert!(matches!(work, NamedJob::Keep { replace: true, .. }), "{work:?}");
    let version = Version { size: 700, modified: 7 };
    let replicas = requests(&bench.ends(id, Outcome::Named(NamedOutcome::Kept { version, written: true })));
    // The same store, said once more by a message that was late.
    arrives(&mut bench, peer(2), 5, Routed::Store { file: file(1) });
    for (to, magic, _) in replicas {
        bench.hears_answer(to, magic, Response::Ring(RingResponse::Noted { of: RingKind::Transfer }));
    }
    let (_, work) = job(&bench.hears_request(peer(2), 8, offer(5)));
    assert!(matches!(work, NamedJob::Keep { replace: false, .. }), "{work:?}");
}

#[test]
fn a_store_that_is_said_again_waits_for_the_replicas_too_and_the_next_one_for_the_first() {
    let mut bench = classroom(0);
    let offer = |modified| Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified, stored: false });
    arrives(&mut bench, peer(2), 5, Routed::Store { file: file(1) });
    let (id, _) = job(&bench.hears_request(peer(2), 7, offer(5)));
    let version = Version { size: 700, modified: 5 };
    let replicas = requests(&bench.ends(id, Outcome::Named(NamedOutcome::Kept { version, written: true })));
    assert!(!replicas.is_empty());
    let again = bench.hears_request(peer(2), 7, offer(5));
    assert!(again.is_empty(), "the replicas have not answered: {again:?}");
    arrives(&mut bench, peer(2), 6, Routed::Store { file: file(1) });
    assert!(bench.hears_request(peer(2), 8, offer(4)).is_empty(), "it is the next one's turn after that");
    let noted = Response::Ring(RingResponse::Noted { of: RingKind::Transfer });
    let last = replicas.into_iter().map(|(to, magic, _)| bench.hears_answer(to, magic, noted.clone())).last();
    let (_, work) = job(&last.expect("two replicas"));
    assert!(matches!(work, NamedJob::Keep { replace: true, offered, .. } if offered.is_some_and(|v| v.modified == 4)));
}

#[test]
fn who_requests_what_was_to_be_stored_and_did_not_come_is_told_at_once_that_it_is_not_here() {
    let mut bench = classroom(0);
    arrives(&mut bench, peer(2), 5, Routed::Store { file: file(1) });
    let transfer = Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified: 5, stored: false });
    let (keep, _) = job(&bench.hears_request(peer(2), 6, transfer));
    bench.ends(keep, failed(JobErrorKind::Full));
    let (look, _) = job(&arrives(&mut bench, peer(1), 7, Routed::Request { file: file(1) }));
    let actions = bench.ends(look, found(None));
    assert!(matches!(job(&actions).1, NamedJob::Keep { .. }), "its neighbours are asked: {actions:?}");
}

#[test]
fn who_stores_a_file_that_changes_meanwhile_is_told_so_and_else_what_broke() {
    let other = Version { modified: 6, ..VERSION };
    for (here, integrity) in [(Some(other), true), (None, true), (Some(VERSION), false)] {
        // Rank 1: peer 1 is responsible.
        let mut bench = classroom(1);
        let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
        let sent = bench.ends(find, found(Some(VERSION)));
        let handed = routed_answer(&mut bench, &sent, RingResponse::Kept { file: file(1) });
        let [(to, magic)] = offers(&handed)[..] else { panic!("to the peer responsible: {handed:?}") };
        let actions = bench.hears(to, Message::error(magic, "the connection to peer 10.0.0.7:7000 broke"));
        let (look, work) = job(&actions);
        assert_eq!(work, NamedJob::Find { file: file(1) });
        let Some(Answer::Failed(failure)) = answer(&bench.ends(look, found(here))) else { panic!("it has failed") };
        let expected = if integrity { FailureKind::Integrity } else { FailureKind::Other };
        assert_eq!(failure.kind, expected, "{failure}");
        assert!(failure.reason.contains(if integrity { "store it again" } else { "broke" }), "{failure}");
    }
}
