//! Slow ways, and peers that live and do nothing: what they cost.

use super::*;
use crate::config::MAX_BLOCK_SIZE;
use crate::file::ManifestEntry;
use crate::node::refusal::Refusal;
use crate::node::{Command, Progress};
use crate::wire::ring::{RingRequest, Route, Routed};

/// Bytes of a full block.
pub(super) const LARGE: u64 = MAX_BLOCK_SIZE as u64;

/// A client that stores `copies` of each block, and the job that reads its file.
pub(super) fn client(peers: u16, copies: usize) -> (Bench, JobId) {
    let config = Config { replicas: copies, guest: true, ..Config::default() };
    let mut bench = Bench::new(config, peers, 9).start(&[]);
    let command = Command::Store { path: "file".into(), manifest: None, keep: false };
    let [(read, Job::ReadNext { .. })] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    (bench, read)
}

/// Block number `n` has been read: what is offered, and the job that reads on, if there is one.
pub(super) fn read(bench: &mut Bench, job: JobId, n: u64) -> (Vec<(SocketAddr, u64)>, Option<JobId>) {
    let actions = bench.ends(job, Outcome::Read { entry: ManifestEntry { key: key(n), size: LARGE } });
    let next = jobs(&actions).into_iter().find(|(_, job)| matches!(job, Job::ReadNext { .. }));
    (offers(&actions), next.map(|(job, _)| job))
}

/// The offers among `actions`.
pub(super) fn offers(actions: &[Action]) -> Vec<(SocketAddr, u64)> {
    let offered = requests(actions).into_iter().filter(|(_, _, request)| matches!(request, Request::Store { .. }));
    offered.map(|(to, magic, _)| (to, magic)).collect()
}

#[test]
fn a_few_blocks_are_offered_at_first_and_more_as_they_are_taken() {
    let (mut bench, mut job) = client(7, 7);
    let mut out = Vec::new();
    for n in 1..=8 {
        let (offered, next) = read(&mut bench, job, n);
        out.extend(offered);
        job = next.expect("the window is not full");
    }
    let first = out.len();
    assert!((1..7).contains(&first), "{first} offers, for a way out that may be slow");
    let mut most = 0;
    while let Some((to, magic)) = out.pop() {
        out.extend(offers(&bench.hears_answer(to, magic, Response::Saved)));
        most = most.max(out.len());
    }
    assert!(most > 20, "no more than {most} at a time over a fast one");
}

#[test]
fn blocks_that_come_too_slowly_to_be_kept_are_offered_fewer_at_a_time() {
    let (mut bench, job) = client(7, 4);
    let (mut out, _) = read(&mut bench, job, 1);
    assert_eq!(out.len(), 4);
    bench.now += Duration::from_secs(21);
    let late: Vec<Action> = out
        .drain(..)
        .flat_map(|(to, magic)| bench.hears(to, Message::error(magic, Refusal::NotPulled.to_string())))
        .collect();
    assert_eq!(offers(&late).len(), 2, "half as many as before");
}

/// Lets time pass until the offers that are out have run to their limit; returns what is offered meanwhile.
pub(super) fn let_offers_fail(bench: &mut Bench, answers_pings: bool) -> Vec<(SocketAddr, u64)> {
    let until = bench.now + crate::patience::OFFER + Duration::from_secs(1);
    let mut offered = Vec::new();
    while bench.now < until {
        let Some(actions) = bench.wait(until - bench.now) else { break };
        for (to, magic, request) in requests(&actions) {
            match request {
                Request::Ping if answers_pings => drop(bench.hears_answer(to, magic, Response::Node(peer(0)))),
                Request::Store { .. } => offered.push((to, magic)),
                _ => {}
            }
        }
    }
    bench.now = until;
    offered
}

#[test]
fn who_lives_and_takes_nothing_delays_a_file_once_and_not_every_block() {
    let (mut bench, job) = client(3, 3);
    let (out, next) = read(&mut bench, job, 1);
    for (to, magic) in out.into_iter().filter(|(to, _)| *to != peer(3).addr) {
        bench.hears_answer(to, magic, Response::Saved);
    }
    let_offers_fail(&mut bench, true);
    let (out, next) = read(&mut bench, next.expect("it reads on"), 2);
    assert_eq!(out.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [peer(1).addr, peer(2).addr]);
    for (to, magic) in out {
        bench.hears_answer(to, magic, Response::Saved);
    }
    // Nothing is left to wait for: the file ends as soon as it is read.
    let actions = bench.ends(next.expect("it reads on"), Outcome::End { size: 2 * LARGE, sha256: key(99) });
    let [(pack, Job::Pack { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let out = offers(&bench.ends(pack, Outcome::Packed { key: key(3), size: 200 }));
    let end: Vec<Action> =
        out.into_iter().flat_map(|(to, magic)| bench.hears_answer(to, magic, Response::Saved)).collect();
    let Some(Answer::Stored { copies, wanted: 3, .. }) = answer(&end) else { panic!("{end:?}") };
    assert_eq!(copies, [0, 0, 3]);
    let told = |action: &Action| match action {
        Action::Notify(Notice::Progress { progress: Progress::Retried { reason, .. }, .. }) => {
            reason.starts_with(&peer(3).to_string()) && reason.ends_with("is passed over for a while")
        }
        _ => false,
    };
    assert!(end.iter().any(told), "a user is told why there are two copies: {end:?}");
}

#[test]
fn who_took_nothing_is_asked_after_all_where_the_quorum_needs_it() {
    let (mut bench, job) = client(2, 2);
    bench.node.desk.config.quorum = 2;
    let (out, next) = read(&mut bench, job, 1);
    assert_eq!(out.len(), 2);
    bench.hears_answer(out[0].0, out[0].1, Response::Saved);
    let again = let_offers_fail(&mut bench, true);
    assert!(again.iter().any(|(to, _)| *to == peer(2).addr), "{again:?}");
    assert!(next.is_some());
}

/// Lets time pass until a block is offered to somebody; pings stay without an answer.
fn next_offer(bench: &mut Bench, limit: Duration) -> (SocketAddr, u64) {
    let until = bench.now + limit;
    loop {
        let actions = bench.wait(until - bench.now).expect("an offer in time");
        let new = |to: &SocketAddr| *to != peer(1).addr;
        if let Some(&offer) = offers(&actions).iter().find(|(to, _)| new(to)) {
            return offer;
        }
    }
}

#[test]
fn what_was_offered_to_a_silent_peer_is_offered_to_the_next_nearest_too_and_the_first_may_still_take_it() {
    for first_takes_it in [true, false] {
        let (mut bench, job) = client(5, 2);
        let (out, _) = read(&mut bench, job, 1);
        assert_eq!(out.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [peer(1).addr, peer(2).addr]);
        bench.hears_answer(out[1].0, out[1].1, Response::Saved);
        let (to, magic) = next_offer(&mut bench, Duration::from_secs(2));
        assert_eq!(to, peer(3).addr);
        let (by, under) = if first_takes_it { out[0] } else { (to, magic) };
        let actions = bench.hears_answer(by, under, Response::Saved);
        assert!(
            actions.iter().any(|action| matches!(action, Action::Withdraw { .. })),
            "two copies stand: {actions:?}"
        );
        let until = bench.now + crate::patience::OFFER;
        while let Some(actions) = bench.wait(until - bench.now) {
            assert_eq!(offers(&actions), [], "nobody is waited for any longer");
        }
    }
}

#[test]
fn what_is_refused_goes_to_the_next_nearest_that_is_known_until_the_wanted_copies_stand() {
    let (mut bench, job) = client(2, 2);
    let (mut out, _) = read(&mut bench, job, 1);
    let known: Vec<Peer> = (1..=40).map(peer).collect();
    bench.node.desk.overlay =
        Box::new(Scripted { me: peer(0), set: known, holds: true, ends: true, unreached: Vec::new() });
    bench.hears_answer(out[0].0, out[0].1, Response::Saved);
    let mut asked = vec![out.remove(1)];
    for n in 3..=40 {
        let (to, magic) = *asked.last().expect("one is asked");
        let next = offers(&bench.hears(to, Message::error(magic, Refusal::Full.to_string())));
        assert_eq!(next.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [peer(n).addr]);
        asked.extend(next);
    }
    let (to, magic) = *asked.last().expect("one is asked");
    assert!(is_placed(&bench.hears_answer(to, magic, Response::Saved), 1), "two copies stand");
}

#[test]
fn others_are_looked_for_where_nobody_is_left_in_place_of_a_silent_peer() {
    let (mut bench, job) = client(2, 2);
    let (out, _) = read(&mut bench, job, 1);
    bench.hears_answer(out[1].0, out[1].1, Response::Saved);
    bench.node.desk.overlay =
        Box::new(Scripted { me: peer(0), set: vec![peer(2), peer(7)], holds: true, ends: true, unreached: Vec::new() });
    assert_eq!(next_offer(&mut bench, Duration::from_secs(2)).0, peer(7).addr);
}

/// Lets time pass. Each peer that is pinged answers; returns what else happens.
pub(super) fn live_for(bench: &mut Bench, time: Duration) -> Vec<Action> {
    let (until, mut seen) = (bench.now + time, Vec::new());
    while let Some(actions) = bench.wait(until - bench.now) {
        for (to, magic, _) in requests(&actions).into_iter().filter(|(_, _, request)| *request == Request::Ping) {
            bench.hears_answer(to, magic, Response::Node(peer(0)));
        }
        seen.extend(actions);
    }
    bench.now = until;
    seen
}

/// A block is offered to these peers, of whom all but the last take it.
pub(super) fn all_but_the_last_take_it(bench: &mut Bench, out: &[(SocketAddr, u64)]) -> Vec<Action> {
    let (_, others) = out.split_last().expect("it is offered");
    others.iter().flat_map(|&(to, magic)| bench.hears_answer(to, magic, Response::Saved)).collect()
}

pub(super) fn is_placed(actions: &[Action], n: u64) -> bool {
    actions.iter().any(|action| matches!(action, Action::Withdraw { key: placed, .. } if *placed == key(n)))
}

/// Its host asks for a block.
pub(super) fn asks(bench: &mut Bench, n: u64) {
    bench.does(Event::Asked { blocks: vec![(key(n), peer(1).addr.ip())] });
}

#[test]
fn those_that_took_a_block_do_not_speak_for_one_at_their_address_that_never_begins() {
    let (mut bench, job) = client(3, 3);
    let (out, _) = read(&mut bench, job, 1);
    for _ in 1..out.len() {
        asks(&mut bench, 1);
        bench.does(Event::Delivered { blocks: vec![(key(1), peer(1).addr.ip())] });
    }
    assert!(!is_placed(&all_but_the_last_take_it(&mut bench, &out), 1), "the third may take it yet");
    assert!(is_placed(&live_for(&mut bench, Duration::from_secs(3)), 1), "all are at one address");
}

#[test]
fn one_that_has_begun_is_waited_for_though_others_at_its_address_have_ended() {
    let (mut bench, job) = client(3, 3);
    let (out, _) = read(&mut bench, job, 1);
    asks(&mut bench, 1);
    for _ in 1..out.len() {
        asks(&mut bench, 1);
        bench.does(Event::Delivered { blocks: vec![(key(1), peer(1).addr.ip())] });
    }
    all_but_the_last_take_it(&mut bench, &out);
    assert!(!is_placed(&live_for(&mut bench, Duration::from_secs(5)), 1), "it is about to take it");
}

#[test]
fn a_store_waits_two_seconds_for_a_peer_that_does_not_begin_to_pull_and_the_next_one_not_at_all() {
    let (mut bench, job) = client(3, 3);
    let (out, next) = read(&mut bench, job, 1);
    assert!(!is_placed(&all_but_the_last_take_it(&mut bench, &out), 1), "the third may take it yet");
    let seen = live_for(&mut bench, Duration::from_secs(2));
    assert!(is_placed(&seen, 1), "{seen:?}");
    let (out, next) = read(&mut bench, next.expect("it reads on"), 2);
    assert_eq!(out.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [peer(1).addr, peer(2).addr]);
    let end: Vec<Action> =
        out.into_iter().flat_map(|(to, magic)| bench.hears_answer(to, magic, Response::Saved)).collect();
    assert!(is_placed(&end, 2), "{end:?}");
    // It begins after all: with the next block it is one like any other.
    asks(&mut bench, 1);
    assert_eq!(read(&mut bench, next.expect("it reads on"), 3).0.len(), 3);
}

#[test]
fn who_has_begun_to_pull_is_waited_for_however_long_it_takes_and_so_is_what_waits_behind_that() {
    let (mut bench, job) = client(3, 3);
    let (first, next) = read(&mut bench, job, 1);
    first.iter().for_each(|_| asks(&mut bench, 1));
    all_but_the_last_take_it(&mut bench, &first);
    let (second, _) = read(&mut bench, next.expect("it reads on"), 2);
    all_but_the_last_take_it(&mut bench, &second);
    let seen = live_for(&mut bench, Duration::from_secs(20));
    assert!(!is_placed(&seen, 1) && !is_placed(&seen, 2), "{seen:?}");
    for (n, out) in [(1, first), (2, second)] {
        assert!(is_placed(&bench.hears_answer(out[2].0, out[2].1, Response::Saved), n));
    }
}

#[test]
fn where_nobody_took_a_block_who_does_not_begin_is_waited_for_to_the_end() {
    let (mut bench, job) = client(1, 1);
    let (out, _) = read(&mut bench, job, 1);
    assert!(answer(&live_for(&mut bench, Duration::from_secs(20))).is_none());
    assert!(is_placed(&bench.hears_answer(out[0].0, out[0].1, Response::Saved), 1));
}

#[test]
fn who_says_that_no_connection_comes_about_or_cannot_pull_what_others_can_is_passed_over_by_the_next_block() {
    for reason in [Refusal::Unreached, Refusal::NotPulled] {
        let (mut bench, job) = client(3, 3);
        let (out, next) = read(&mut bench, job, 1);
        asks(&mut bench, 1);
        all_but_the_last_take_it(&mut bench, &out);
        let (to, magic) = out[2];
        assert!(is_placed(&bench.hears(to, Message::error(magic, reason.to_string())), 1));
        assert_eq!(read(&mut bench, next.expect("it reads on"), 2).0.len(), 2, "{reason}");
    }
}

#[test]
fn who_could_not_pull_a_block_in_time_over_a_slow_way_out_is_offered_it_again_and_is_not_one_that_takes_nothing() {
    let (mut bench, job) = client(3, 3);
    let (out, _) = read(&mut bench, job, 1);
    out.iter().for_each(|_| asks(&mut bench, 1));
    live_for(&mut bench, Duration::from_secs(12));
    all_but_the_last_take_it(&mut bench, &out);
    let (to, magic) = out[2];
    let again = offers(&bench.hears(to, Message::error(magic, Refusal::NotPulled.to_string())));
    assert_eq!(again.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [to]);
    assert!(!bench.node.desk.stalls(&to));
    assert!(is_placed(&bench.hears_answer(to, again[0].1, Response::Saved), 1));
}

#[test]
fn who_heard_no_answer_to_its_ping_is_offered_the_block_again_for_that_may_have_been_lost() {
    let (mut bench, job) = client(1, 1);
    let (mut out, _) = read(&mut bench, job, 1);
    for _ in 0..2 {
        let [(to, magic)] = out[..] else { panic!("it is the only one: {out:?}") };
        out = offers(&bench.hears(to, Message::error(magic, Refusal::Unproven.to_string())));
    }
    let [(to, magic)] = out[..] else { panic!("it is offered again: {out:?}") };
    assert!(is_placed(&bench.hears_answer(to, magic, Response::Saved), 1));
}

#[test]
fn what_is_being_taken_is_waited_for_as_long_as_others_were_no_faster_and_bytes_go_out() {
    for (others_take, sent_whole, waits) in [(20, false, true), (1, false, false), (20, true, false)] {
        let (mut bench, job) = client(3, 3);
        let (out, _) = read(&mut bench, job, 1);
        out.iter().for_each(|_| asks(&mut bench, 1));
        live_for(&mut bench, Duration::from_secs(others_take));
        all_but_the_last_take_it(&mut bench, &out);
        if sent_whole {
            bench.does(Event::Delivered { blocks: vec![(key(1), peer(1).addr.ip())] });
        }
        let seen = live_for(&mut bench, Duration::from_secs(40));
        assert_eq!(is_placed(&seen, 1), !waits, "others after {others_take} s, sent whole: {sent_whole}");
        assert_eq!(bench.node.desk.stalls(&out[2].0), !waits);
        let seen = live_for(&mut bench, crate::patience::SLOW_OFFER);
        assert_eq!(is_placed(&seen, 1), waits, "not for ever");
    }
}

/// A request for a file that `origin` sent on its way, as this node passes it on to the peer that should have it.
fn passed_on(origin: Peer) -> Message {
    let route = Route { hops: 1, last: true, ..Route::of(origin) };
    let what = Routed::Request { file: "0001".parse().expect("four digits") };
    let request = Request::Ring(RingRequest::Routed { route, what });
    Message::request(5, Sender::member(peer(0).id, peer(0).addr), request)
}

#[test]
fn a_connection_that_comes_about_too_late_is_no_death() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[]);
    for obstacle in [Obstacle::Silence, Obstacle::Delay, Obstacle::Crowd] {
        for origin in [peer(0), peer(3)] {
            let message = passed_on(origin);
            let again = bench.does(Event::Undeliverable { to: peer(1).addr, message, obstacle });
            assert!(bench.node.overlay().peers().contains(&peer(1)), "{obstacle:?}");
            let sent: Vec<_> = requests(&again).iter().map(|(to, magic, _)| (*to, *magic)).collect();
            let expected = (obstacle == Obstacle::Silence && origin == peer(3)).then_some((peer(1).addr, 5));
            assert_eq!(sent, Vec::from_iter(expected), "{obstacle:?}, from {origin}");
        }
    }
    bench.does(Event::Undeliverable { to: peer(1).addr, message: passed_on(peer(3)), obstacle: Obstacle::Refused });
    assert!(!bench.node.overlay().peers().contains(&peer(1)), "nobody listens there any more");
}

#[test]
fn what_is_passed_on_under_the_number_of_a_request_of_ours_fails_by_itself() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[]);
    let asks = bench.does(Event::Command { id: 1, command: Command::Ping { addr: peer(1).addr } });
    let [(_, magic, _)] = requests(&asks)[..] else { panic!("{asks:?}") };
    let message = Message { magic, ..passed_on(peer(3)) };
    let refused = bench.does(Event::Undeliverable { to: peer(2).addr, message, obstacle: Obstacle::Refused });
    assert_eq!(answer(&refused), None, "another address was asked");
    let answered = answer(&bench.hears_answer(peer(1).addr, magic, Response::Node(peer(1))));
    assert!(answered.is_some_and(|answer| answer.failure().is_none()), "the ping is answered");
}

#[test]
fn what_a_user_asks_where_there_is_no_way_to_has_failed_and_nobody_is_dead() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[]);
    let asks = bench.does(Event::Command { id: 1, command: Command::Ping { addr: peer(1).addr } });
    let [(to, magic, _)] = requests(&asks)[..] else { panic!("{asks:?}") };
    assert_eq!(bench.does(Event::NoWay { to: peer(2).addr, magic }), [], "it was for another");
    let end = bench.does(Event::NoWay { to, magic });
    let Some(Answer::Failed(failure)) = answer(&end) else { panic!("{end:?}") };
    assert!(failure.reason.contains("this machine has no way there"), "{failure}");
    assert!(bench.node.overlay().peers().contains(&peer(1)));
}
