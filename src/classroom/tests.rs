//! Files by name on the classroom ring. Peer 0 is the node itself; the first peer of the set is responsible for all
//! files.

mod handing;
mod late;
mod looks;
mod sending;
mod storing;

use std::time::Duration;

use super::{MAX_LOOKING, join};
use crate::config::{Config, FILE_COPIES};
use crate::id::Id;
use crate::name::FileName;
use crate::node::job::{Job, JobError, JobErrorKind, JobId, NamedJob, NamedOutcome, Outcome, Version};
use crate::node::notice::FileNews;
use crate::node::tests::{Bench, answer, jobs, key, peer, requests, responses};
use crate::node::{Action, Answer, Command, Event, FailureKind, Notice};
use crate::peer::Peer;
use crate::wire::ring::{FilePlace, RingKind, RingRequest, RingResponse, Route, Routed};
use crate::wire::{Message, Request, RequestKind, Response, Sender, Via};

const VERSION: Version = Version { size: 700, modified: 5 };
const NOTHING: Version = Version { size: 0, modified: 0 };

/// A node of the classroom ring among two others, at `rank` in the order of responsibility.
fn classroom(rank: usize) -> Bench {
    classroom_of(2, rank)
}

/// The same among so many others.
fn classroom_of(others: u16, rank: usize) -> Bench {
    let bench = Bench::new(Config { named_files: true, ..Config::default() }, others, rank);
    let mut bench = Bench { node: join(bench.node), ..bench }.start(&[]);
    bench.wait(Duration::from_secs(1)).expect("the directory is looked through");
    bench.ends(0, Outcome::Named(NamedOutcome::Scanned { files: Vec::new() }));
    bench
}

fn file(number: u64) -> FileName {
    format!("{number:04}").parse().expect("four digits")
}

fn orders(bench: &mut Bench, command: Command) -> Vec<Action> {
    bench.does(Event::Command { id: 9, command })
}

/// Something that another peer sent on its way, and that ends here.
fn arrives(bench: &mut Bench, origin: Peer, magic: u64, what: Routed) -> Vec<Action> {
    let route = Route { hops: 1, last: true, ..Route::of(origin) };
    bench.hears_request(peer(2), magic, Request::Ring(RingRequest::Routed { route, what }))
}

fn found(version: Option<Version>) -> Outcome {
    Outcome::Named(NamedOutcome::Found { version })
}

fn absent() -> Outcome {
    Outcome::Failed(JobError { kind: JobErrorKind::NotFound, reason: "it is not there".to_owned() })
}

/// The answer to something that was routed.
fn routed_answer(bench: &mut Bench, actions: &[Action], response: RingResponse) -> Vec<Action> {
    let [(to, magic, _)] = requests(actions)[..] else { panic!("one request: {actions:?}") };
    bench.does(Event::Message {
        from: to,
        via: Via::Tcp,
        bytes: 250,
        message: Message {
            sender: Some(Sender::member(peer(1).id, to)),
            ..Message::response(magic, RequestKind::Ring, Response::Ring(response))
        },
    })
}

fn news(actions: &[Action]) -> Vec<FileNews> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Notify(Notice::File { news, .. }) => Some(*news),
        _ => None,
    });
    told.collect()
}

/// The single job among `actions`.
fn job(actions: &[Action]) -> (JobId, NamedJob) {
    match &jobs(actions)[..] {
        [(job, Job::Named(work))] => (*job, work.clone()),
        other => panic!("one job about a named file: {other:?}"),
    }
}

#[test]
fn a_request_that_arrives_is_served_and_told_of_in_the_order_of_the_assignment() {
    let mut bench = classroom(0);
    let actions = arrives(&mut bench, peer(2), 5, Routed::Request { file: file(1) });
    let (look, work) = job(&actions);
    assert_eq!(work, NamedJob::Find { file: file(1) });
    assert_eq!(arrives(&mut bench, peer(2), 5, Routed::Request { file: file(1) }), [], "it is being looked for");
    let actions = bench.ends(look, found(Some(VERSION)));
    assert_eq!(news(&actions), [FileNews::StoredHere, FileNews::Sending { to: peer(2) }]);
    let here = RingResponse::File { file: file(1), place: FilePlace { size: Some(700) } };
    assert_eq!(responses(&actions), [(peer(2).addr, 5, Ok(Response::Ring(here.clone())))]);
    let again = arrives(&mut bench, peer(2), 5, Routed::Request { file: file(1) });
    assert_eq!(responses(&again), [(peer(2).addr, 5, Ok(Response::Ring(here)))], "the answer was lost");
    assert_eq!(news(&again), [], "one request is told of once");
    let actions = bench.does(Event::Fetched { file: file(1), by: peer(2).addr });
    assert_eq!(news(&actions), [FileNews::Sent { to: peer(2) }]);
    assert_eq!(bench.does(Event::Fetched { file: file(1), by: peer(2).addr }), [], "it was asked for once");
}

#[test]
fn a_file_nobody_has_is_sought_at_the_neighbours_and_then_answered_clearly() {
    let mut bench = classroom(0);
    let (look, _) = job(&arrives(&mut bench, peer(2), 5, Routed::Request { file: file(1) }));
    let mut actions = bench.ends(look, found(None));
    for neighbour in [peer(1), peer(2)] {
        assert_eq!((responses(&actions), news(&actions)), (Vec::new(), Vec::new()), "a neighbour may have it");
        let (id, work) = job(&actions);
        assert!(matches!(work, NamedJob::Keep { from, .. } if from == neighbour.addr), "{work:?}");
        actions = bench.ends(id, absent());
    }
    let nowhere = RingResponse::File { file: file(1), place: FilePlace { size: None } };
    assert_eq!(responses(&actions), [(peer(2).addr, 5, Ok(Response::Ring(nowhere)))]);
    assert_eq!(news(&actions), [FileNews::NotHere]);
}

#[test]
fn where_no_connection_to_the_peer_responsible_comes_about_the_next_one_is_asked_for_its_copy() {
    for kind in [JobErrorKind::Unreachable, JobErrorKind::TimedOut] {
        let mut bench = classroom(2);
        let sent = orders(&mut bench, Command::RequestFile { file: file(1) });
        let place = RingResponse::File { file: file(1), place: FilePlace { size: Some(700) } };
        let actions = routed_answer(&mut bench, &sent, place);
        let (receive, NamedJob::Receive { from, .. }) = job(&actions) else { panic!("{actions:?}") };
        assert_eq!(from, peer(1).addr);
        let actions = bench.ends(receive, Outcome::Failed(JobError { kind, reason: "no way".to_owned() }));
        let (receive, NamedJob::Receive { from, .. }) = job(&actions) else { panic!("{actions:?}") };
        assert_eq!(from, peer(2).addr, "its successor has a copy");
        assert_eq!(news(&actions), [], "that is not known yet");
        let actions = bench.ends(receive, Outcome::Named(NamedOutcome::Received { size: 700, sha256: key(1) }));
        assert_eq!(news(&actions), [FileNews::Receiving { from: peer(2) }, FileNews::Received { from: peer(2) }]);
        assert!(matches!(answer(&actions), Some(Answer::FileReceived { .. })), "{actions:?}");
    }
}

#[test]
fn a_file_whose_only_holder_went_silent_is_not_called_one_that_nobody_has() {
    let mut bench = classroom(2);
    let sent = orders(&mut bench, Command::RequestFile { file: file(1) });
    let file_of = |size| RingResponse::File { file: file(1), place: FilePlace { size } };
    let actions = routed_answer(&mut bench, &sent, file_of(Some(700)));
    let fails = |bench: &mut Bench, actions: &[Action], kind| {
        let (receive, _) = job(actions);
        bench.ends(receive, Outcome::Failed(JobError { kind, reason: "no way".to_owned() }))
    };
    let actions = fails(&mut bench, &actions, JobErrorKind::TimedOut);
    let actions = fails(&mut bench, &actions, JobErrorKind::NotFound);
    let actions = routed_answer(&mut bench, &actions, file_of(None));
    let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.reason.contains("Peer 1 has it and went silent"), "{failure}");
}

#[test]
fn a_user_who_requests_what_nobody_has_is_told_so() {
    let mut bench = classroom(2);
    let actions = orders(&mut bench, Command::RequestFile { file: file(1) });
    let nowhere = RingResponse::File { file: file(1), place: FilePlace { size: None } };
    let actions = routed_answer(&mut bench, &actions, nowhere);
    let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
    assert_eq!(failure.kind, FailureKind::NotFound);
    assert!(failure.reason.contains("no peer of this ring has it"), "{}", failure.reason);
}

#[test]
fn a_user_of_the_responsible_peer_itself_receives_the_file_too() {
    let mut bench = classroom(0);
    let actions = orders(&mut bench, Command::RequestFile { file: file(1) });
    assert_eq!(requests(&actions), [], "nobody else is asked");
    let (id, work) = job(&actions);
    assert_eq!(work, NamedJob::Find { file: file(1) });
    let actions = bench.ends(id, found(Some(VERSION)));
    let own = peer(0);
    assert_eq!(
        news(&actions),
        [FileNews::StoredHere, FileNews::Sending { to: own }, FileNews::Receiving { from: own }]
    );
    let (id, work) = job(&actions);
    assert!(matches!(work, NamedJob::Receive { from, .. } if from == own.addr), "{work:?}");
    let actions = bench.ends(id, Outcome::Named(NamedOutcome::Received { size: 700, sha256: key(7) }));
    assert_eq!(news(&actions), [FileNews::Received { from: own }]);
    assert!(matches!(answer(&actions), Some(Answer::FileReceived { bytes: 700, from, .. }) if from == own));
}

#[test]
fn a_storing_peer_without_the_file_hands_over_nothing_and_says_so() {
    let mut bench = classroom(2);
    let actions = orders(&mut bench, Command::StoreFile { file: file(1) });
    let (id, work) = job(&actions);
    assert_eq!(work, NamedJob::Find { file: file(1) });
    let actions = bench.ends(id, found(None));
    let actions = routed_answer(&mut bench, &actions, RingResponse::Kept { file: file(1) });
    let [(to, magic, Request::Ring(RingRequest::Transfer { size, modified, .. }))] = requests(&actions)[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((to, Version { size, modified }), (peer(1).addr, NOTHING));
    let noted = Response::Ring(RingResponse::Noted { of: RingKind::Transfer });
    let actions = bench.hears_answer(to, magic, noted);
    assert!(matches!(answer(&actions), Some(Answer::FileStored { bytes: None, at, .. }) if at == peer(1)));
}

#[test]
fn an_empty_file_is_made_for_a_store_without_content_and_its_replicas_get_it_before_the_answer() {
    let mut bench = classroom(0);
    let actions = arrives(&mut bench, peer(2), 5, Routed::Store { file: file(1) });
    assert_eq!(news(&actions), [FileNews::StoreAccepted { origin: peer(2) }]);
    let transfer = Request::Ring(RingRequest::Transfer { file: file(1), size: 0, modified: 0, stored: false });
    let (id, work) = job(&bench.hears_request(peer(2), 6, transfer));
    assert_eq!(work, NamedJob::Touch { file: file(1) });
    let made = Version { size: 0, modified: 77 };
    let actions = bench.ends(id, Outcome::Named(NamedOutcome::Kept { version: made, written: true }));
    let replicas = requests(&actions);
    assert_eq!(replicas.len(), FILE_COPIES - 1, "{replicas:?}");
    let noted = || Response::Ring(RingResponse::Noted { of: RingKind::Transfer });
    let mut told = Vec::new();
    for (to, magic, _) in replicas {
        assert_eq!(told, [], "the replicas come first");
        told = responses(&bench.hears_answer(to, magic, noted()));
    }
    assert_eq!(told, [(peer(2).addr, 6, Ok(noted()))]);
}

#[test]
fn the_peer_responsible_replaces_a_newer_copy_only_by_what_was_stored_just_now() {
    for fresh in [false, true] {
        // Rank 1: peer 1 is responsible.
        let mut bench = classroom(1);
        let offer =
            |stored: bool| Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified: 5, stored });
        let (_, work) = job(&bench.hears_request(peer(1), 5, offer(fresh)));
        assert!(matches!(work, NamedJob::Keep { replace, .. } if replace == fresh), "{work:?}");
    }
    // Its replicas are told so while they are waited for, and a peer that comes later is not.
    let mut bench = classroom(0);
    let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
    let (touch, _) = job(&bench.ends(find, found(Some(VERSION))));
    let actions = bench.ends(touch, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: false }));
    let told = requests(&actions);
    let is_fresh = |request: &Request| matches!(request, Request::Ring(RingRequest::Transfer { stored: true, .. }));
    assert!(told.len() == FILE_COPIES - 1 && told.iter().all(|(.., request)| is_fresh(request)), "{told:?}");
}

#[test]
fn a_file_that_comes_slowly_gives_way_to_others_who_store_the_same_one() {
    const LARGE: u64 = 900 << 20;
    let mut bench = classroom(0);
    for origin in [peer(2), peer(1)] {
        arrives(&mut bench, origin, 5, Routed::Store { file: file(1) });
    }
    let offer = |size| Request::Ring(RingRequest::Transfer { file: file(1), size, modified: 5, stored: true });
    let (slow, _) = job(&bench.hears_request(peer(2), 6, offer(LARGE)));
    let cancelled = |bench: &mut Bench, within: Duration| {
        let until = bench.now + within;
        let mut cancelled = false;
        while bench.now < until
            && let Some(actions) = bench.wait(until.since(bench.now))
        {
            cancelled |= actions.contains(&Action::Cancel { job: slow });
            for (id, _) in jobs(&actions) {
                bench.ends(id, Outcome::Named(NamedOutcome::Scanned { files: Vec::new() }));
            }
        }
        cancelled
    };
    assert!(!cancelled(&mut bench, Duration::from_secs(900)), "nobody else waits");
    for magic in 10..20 {
        assert_eq!(bench.hears_request(peer(1), magic, offer(700)), [], "the other one has its turn first");
    }
    let (find, _) = job(&orders(&mut bench, Command::StoreFile { file: file(1) }));
    bench.ends(find, found(Some(VERSION)));
    assert!(cancelled(&mut bench, Duration::from_secs(20)));
    let given_up = JobError { kind: JobErrorKind::Cancelled, reason: "no longer needed".to_owned() };
    let mut actions = bench.ends(slow, Outcome::Failed(given_up));
    let [(to, 6, Err(reason))] = &responses(&actions)[..] else { panic!("{actions:?}") };
    assert!(*to == peer(2).addr && reason.contains("too slowly"), "{reason}");
    let (touch, work) = job(&actions);
    assert_eq!(work, NamedJob::Touch { file: file(1) }, "the user here is next");
    let cannot = JobError { kind: JobErrorKind::Io, reason: "the disk is gone".to_owned() };
    actions = bench.ends(touch, Outcome::Failed(cannot));
    let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
    assert!(failure.reason.contains("the disk is gone"), "{}", failure.reason);
    let mut turns = 0;
    while let [(id, Job::Named(NamedJob::Keep { from, .. }))] = jobs(&actions)[..] {
        assert_eq!(from, peer(1).addr);
        actions = bench.ends(id, absent());
        turns += 1;
    }
    assert_eq!(turns, 4, "of all that one peer offers, so many wait");
}

#[test]
fn what_comes_slowly_gives_way_as_soon_as_its_time_is_up() {
    let mut bench = classroom(0);
    for origin in [peer(2), peer(1)] {
        arrives(&mut bench, origin, 5, Routed::Store { file: file(1) });
    }
    let offer = Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified: 5, stored: true });
    let (slow, _) = job(&bench.hears_request(peer(2), 6, offer.clone()));
    let begin = bench.now;
    assert_eq!(bench.hears_request(peer(1), 10, offer), [], "the other one has its turn first");
    while !bench.wait(Duration::from_secs(100)).expect("its time ends").contains(&Action::Cancel { job: slow }) {}
    assert_eq!(bench.now.since(begin), Duration::from_secs(10));
}

#[test]
fn a_request_waits_for_a_file_that_is_on_its_way() {
    let mut bench = classroom(0);
    arrives(&mut bench, peer(2), 5, Routed::Store { file: file(1) });
    let (look, _) = job(&arrives(&mut bench, peer(1), 7, Routed::Request { file: file(1) }));
    assert_eq!(bench.ends(look, found(None)), [], "its store was accepted a moment ago");
    let transfer = Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified: 5, stored: false });
    let (keep, work) = job(&bench.hears_request(peer(2), 6, transfer));
    assert!(matches!(work, NamedJob::Keep { .. }), "{work:?}");
    let actions = bench.ends(keep, Outcome::Named(NamedOutcome::Kept { version: VERSION, written: true }));
    let (look, work) = job(&actions);
    assert_eq!(work, NamedJob::Find { file: file(1) });
    let here = RingResponse::File { file: file(1), place: FilePlace { size: Some(700) } };
    assert_eq!(responses(&bench.ends(look, found(Some(VERSION)))), [(peer(1).addr, 7, Ok(Response::Ring(here)))]);
}

#[test]
fn who_requests_what_is_long_on_its_way_is_told_to_ask_again() {
    let mut bench = classroom(0);
    arrives(&mut bench, peer(2), 5, Routed::Store { file: file(1) });
    let transfer = Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified: 5, stored: false });
    bench.hears_request(peer(2), 6, transfer);
    let (mut look, _) = job(&arrives(&mut bench, peer(1), 7, Routed::Request { file: file(1) }));
    let mut told = responses(&bench.ends(look, found(None)));
    while told.is_empty() {
        let actions = bench.wait(Duration::from_secs(3)).expect("whoever waits is not forgotten");
        if let Some((id, _)) = jobs(&actions).first() {
            look = *id;
            told = responses(&bench.ends(look, found(None)));
        }
    }
    let [(to, 7, Ok(Response::Ring(RingResponse::Refused { reason, .. })))] = &told[..] else { panic!("{told:?}") };
    assert!(*to == peer(1).addr && reason.contains("on its way"), "{reason}");
}

#[test]
fn a_stranger_may_not_fill_the_directory() {
    let mut bench = classroom(0);
    let transfer = Request::Ring(RingRequest::Transfer { file: file(1), size: 700, modified: 5, stored: false });
    let actions = bench.hears_request(peer(77), 6, transfer);
    assert_eq!(jobs(&actions), []);
    assert!(matches!(&responses(&actions)[..], [(_, 6, Err(reason))] if reason.contains("not a neighbour")));
}

#[test]
fn a_flood_of_requests_waits_nowhere_and_leaves_room_for_the_next_one() {
    let mut bench = classroom(0);
    let mut out: Vec<(JobId, Job)> = Vec::new();
    for magic in 0..10_000 {
        out.extend(jobs(&arrives(&mut bench, peer(2), magic, Routed::Request { file: file(magic) })));
    }
    let mut answered = 0;
    let mut done = 0;
    while let Some((id, work)) = out.pop() {
        let outcome = if matches!(work, Job::Named(NamedJob::Find { .. })) { found(None) } else { absent() };
        let actions = bench.ends(id, outcome);
        answered += responses(&actions).len();
        out.extend(jobs(&actions));
        done += 1;
    }
    assert_eq!((answered, done), (MAX_LOOKING, 3 * MAX_LOOKING), "a look and two neighbours each");
    let actions = arrives(&mut bench, peer(2), 20_000, Routed::Request { file: file(1) });
    assert!(matches!(job(&actions), (_, NamedJob::Find { .. })));
}

#[test]
fn names_belong_to_the_classroom_ring_alone() {
    let bench = Bench::new(Config::default(), 2, 0);
    let mut bench = Bench { node: join(bench.node), ..bench }.start(&[]);
    for command in [Command::StoreFile { file: file(1) }, Command::RequestFile { file: file(1) }] {
        let actions = orders(&mut bench, command);
        assert!(matches!(answer(&actions), Some(Answer::Failed(failure)) if failure.kind == FailureKind::Usage));
    }
    for (magic, what) in [(5, Routed::Store { file: file(1) }), (6, Routed::Request { file: file(1) })] {
        let actions = arrives(&mut bench, peer(2), magic, what);
        let [(_, _, Ok(Response::Ring(RingResponse::Refused { .. })))] = &responses(&actions)[..] else {
            panic!("{actions:?}")
        };
        assert_eq!(jobs(&actions), []);
    }
}

#[test]
fn a_name_is_four_digits_and_nothing_else() {
    for bad in ["a912", "32134", "", "../x", "12 4", "+123", "-001", "１２３４", "0x12"] {
        assert!(bad.parse::<FileName>().is_err(), "{bad:?}");
    }
    let name: FileName = "0007".parse().expect("four digits");
    assert_eq!((name.to_string(), name.key()), ("0007".to_owned(), Id::from_u64(7)));
    assert_eq!(file(2067).key(), Id::from_u64(19));
}
