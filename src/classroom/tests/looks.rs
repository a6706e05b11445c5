//! Looks at the directory that fail, or that miss what came while they were made: neither makes a peer forget a file.

use super::handing::{dies, noted, offers, offers_within, stands_behind};
use super::*;
use crate::node::tests::failed;

/// What lies in the directory once the file is stored.
fn there() -> [(FileName, Version); 1] {
    [(file(1), VERSION)]
}

fn scanned(files: &[(FileName, Version)]) -> Outcome {
    Outcome::Named(NamedOutcome::Scanned { files: files.to_vec() })
}

/// The next look at the directory.
fn next_look(bench: &mut Bench) -> JobId {
    loop {
        let actions = bench.wait(Duration::from_secs(100)).expect("it looks");
        if let Some((look, _)) = jobs(&actions).into_iter().find(|(_, work)| *work == Job::Named(NamedJob::Scan)) {
            return look;
        }
    }
}

/// Another peer stores a file that this one is responsible for, and both replicas take it.
fn is_stored(bench: &mut Bench) {
    arrives(bench, peer(5), 5, Routed::Store { file: file(1) });
    let offer = Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified: 5, stored: false });
    let (keep, _) = job(&bench.hears_request(peer(5), 6, offer));
    let kept = Outcome::Named(NamedOutcome::Kept { version: VERSION, written: true });
    for (to, magic) in offers(&bench.ends(keep, kept)) {
        bench.hears_answer(to, magic, noted());
    }
}

/// Both replicas die: how many others are offered the file.
fn offers_when_replicas_die(bench: &mut Bench) -> usize {
    [1, 2].into_iter().for_each(|n| dies(bench, n));
    offers_within(bench, Duration::from_secs(3600), &there()).len()
}

#[test]
fn a_file_that_comes_while_the_directory_is_looked_through_is_kept_with_its_copies() {
    let mut bench = classroom_of(6, 0);
    stands_behind(&mut bench, 5);
    let look = next_look(&mut bench);
    is_stored(&mut bench);
    bench.ends(look, scanned(&[]));
    assert_eq!(bench.node.named_files(), there(), "the look may have been over before it came");
    let look = next_look(&mut bench);
    bench.ends(look, scanned(&there()));
    assert_eq!(offers_when_replicas_die(&mut bench), 2);
}

#[test]
fn a_file_that_comes_while_it_is_looked_for_is_sent_to_who_requested_it() {
    let mut bench = classroom_of(6, 0);
    stands_behind(&mut bench, 5);
    let (find, _) = job(&arrives(&mut bench, peer(4), 9, Routed::Request { file: file(1) }));
    is_stored(&mut bench);
    let told = responses(&bench.ends(find, found(None)));
    let place = FilePlace { size: Some(VERSION.size) };
    assert_eq!(told, [(peer(4).addr, 9, Ok(Response::Ring(RingResponse::File { file: file(1), place })))]);
    assert_eq!(bench.node.named_files(), there());
}

#[test]
fn a_look_that_fails_tells_of_no_file_that_it_is_gone() {
    let mut bench = classroom_of(6, 0);
    stands_behind(&mut bench, 5);
    is_stored(&mut bench);
    let look = next_look(&mut bench);
    bench.ends(look, failed(JobErrorKind::Io));
    assert_eq!(bench.node.named_files(), there());
    let (find, _) = job(&arrives(&mut bench, peer(4), 9, Routed::Request { file: file(1) }));
    bench.ends(find, failed(JobErrorKind::Io));
    assert_eq!(bench.node.named_files(), there());
    assert_eq!(offers_when_replicas_die(&mut bench), 2);
}

#[test]
fn a_peer_that_leaves_and_cannot_look_through_its_directory_hands_over_what_it_knows_of() {
    let mut bench = classroom_of(6, 0);
    stands_behind(&mut bench, 5);
    is_stored(&mut bench);
    [1, 2].into_iter().for_each(|n| dies(&mut bench, n));
    let actions = bench.does(Event::Command { id: 10, command: Command::Quit { handover: true } });
    let (look, _) = jobs(&actions).into_iter().find(|(_, work)| *work == Job::Named(NamedJob::Scan)).expect("it looks");
    let actions = bench.ends(look, failed(JobErrorKind::Io));
    assert!(!offers(&actions).is_empty() && !actions.contains(&Action::Stop), "{actions:?}");
}
