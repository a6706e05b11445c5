//! What is brought here for a store, and what only as a replica.

use super::*;

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
