//! Whom `copies`, `check` and `renew` wait for, and for how long, where another peer can do it.

use std::collections::VecDeque;

use super::holders::retrieving_from;
use super::leases::{HOUR, NOW, lease};
use super::scripted::Scripted;
use super::*;
use crate::file::ManifestEntry;
use crate::lease::Lease;
use crate::node::job::Holder;
use crate::node::ticket::News;
use crate::node::{Command, LeaseChange, Source, Until};

/// Lets the node live while each request and each job is answered at once as `reply` and `end` say, until it answers
/// its command or so much time has passed. The answer, and the time that it took.
fn live(
    bench: &mut Bench,
    begun: Vec<Action>,
    limit: Duration,
    reply: impl Fn(SocketAddr, &Request) -> Option<Response>,
    end: impl Fn(&Job) -> Option<Outcome>,
) -> (Option<Answer>, Duration) {
    let (since, mut ahead) = (bench.now, VecDeque::from(begun));
    loop {
        let follows = match ahead.pop_front() {
            Some(Action::Send { to, message: Message { magic, body: Body::Request(request), .. }, .. }) => {
                reply(to, &request).map(|response| bench.hears_answer(to, magic, response))
            }
            Some(Action::Start { job, work }) => end(&work).map(|outcome| bench.ends(job, outcome)),
            Some(Action::Notify(Notice::Answer { answer, .. })) => return (Some(answer), bench.now.since(since)),
            Some(_) => None,
            None => match bench.wait((since + limit).since(bench.now)) {
                None => return (None, bench.now.since(since)),
                follows => follows,
            },
        };
        ahead.extend(follows.into_iter().flatten());
    }
}

/// The same of a command that is given now.
pub(super) fn until_answered(
    bench: &mut Bench,
    command: Command,
    reply: impl Fn(SocketAddr, &Request) -> Option<Response>,
    end: impl Fn(&Job) -> Option<Outcome>,
) -> (Answer, Duration) {
    let begun = bench.does(Event::Command { id: 1, command });
    let (answer, took) = live(bench, begun, Duration::from_secs(100), reply, end);
    (answer.expect("an answer in time"), took)
}

/// What a job comes to where no block is a list.
fn no_list(work: &Job) -> Option<Outcome> {
    let entry = ManifestEntry { key: key(1), size: 10 };
    Some(match work {
        Job::Unpack { .. } => Outcome::NotManifest { size: 10 },
        Job::Lend { .. } => Outcome::Read { entry },
        _ => Outcome::Sound { size: 10 },
    })
}

pub(super) fn guest(peers: u16) -> Bench {
    Bench::new(Config { guest: true, ..Config::default() }, peers, 0).start(&[])
}

/// Lays a lease of two copies on a block that all peers hold, while peer 1 takes nothing of what it is offered. The
/// copies that are told, and the time that it took.
fn lay(bench: &mut Bench, answers_pings: bool) -> (u64, Duration) {
    let lease = Lease { copies: 2, ..lease(1, Some(NOW + HOUR)) };
    let reply = |to, request: &Request| match request {
        Request::Store { .. } if to == peer(1).addr => None,
        Request::Store { .. } => Some(Response::Saved),
        _ => (to != peer(1).addr || answers_pings).then_some(Response::Node(peer(0))),
    };
    let (answer, took) = until_answered(bench, Command::Lay { keys: vec![key(1)], lease }, reply, no_list);
    let Answer::Leased { copies, missing: 0, unread: 0, .. } = answer else { panic!("{answer:?}") };
    (copies, took)
}

#[test]
fn copies_asks_another_holder_in_the_stead_of_one_that_is_silent_or_takes_nothing() {
    for answers_pings in [false, true] {
        let (copies, took) = lay(&mut guest(3), answers_pings);
        println!("answers pings: {answers_pings}, {took:?}");
        assert!(copies == 2 && took < Duration::from_millis(2500), "{answers_pings}: {copies} copies after {took:?}");
    }
}

#[test]
fn copies_does_not_wait_for_a_holder_that_takes_nothing_where_another_keeps_the_lease_and_hardly_the_next_time() {
    let mut bench = guest(2);
    for limit in [2500, 600].map(Duration::from_millis) {
        let (copies, took) = lay(&mut bench, true);
        println!("{took:?}");
        assert!(copies == 1 && took < limit, "{copies} copies after {took:?}");
    }
}

/// Repairs a block of two copies that only peer 1 holds, while peer 2 takes nothing. Copies made and the time it took.
fn repair(bench: &mut Bench, answers_pings: bool) -> (u64, Duration) {
    let taken = std::cell::RefCell::new(BTreeSet::from([peer(1).addr]));
    let reply = |to, request: &Request| match request {
        _ if to == peer(2).addr && *request == Request::Ping && !answers_pings => None,
        Request::Store { .. } if to == peer(2).addr => None,
        Request::Store { .. } => {
            taken.borrow_mut().insert(to);
            Some(Response::Saved)
        }
        Request::FindValue { .. } if taken.borrow().contains(&to) => {
            Some(Response::Holder { peer: peer(1), copies: 2 })
        }
        Request::FindValue { .. } => Some(Response::Nodes(Vec::new())),
        Request::Terms { .. } => Some(Response::Terms(Vec::new())),
        _ => Some(Response::Node(peer(0))),
    };
    let command = Command::Check { sources: vec![Source::Key(key(1))], verify: false, repair: true, lease: None };
    let (answer, took) = until_answered(bench, command, reply, no_list);
    let Answer::Checked(checked) = answer else { panic!("{answer:?}") };
    (checked.repaired, took)
}

#[test]
fn a_repair_offers_another_peer_what_one_that_is_silent_or_takes_nothing_should_have() {
    for answers_pings in [false, true] {
        let mut bench = guest(4);
        for limit in [2500, 100].map(Duration::from_millis) {
            let (repaired, took) = repair(&mut bench, answers_pings);
            println!("answers pings: {answers_pings}, {took:?}");
            assert!(repaired == 1 && took < limit, "{answers_pings}: {repaired} copies after {took:?}");
            if !answers_pings {
                break;
            }
        }
    }
}

#[test]
fn a_repair_does_not_wait_for_a_peer_that_takes_nothing_where_no_other_is_left() {
    let mut bench = guest(2);
    for limit in [2500, 100].map(Duration::from_millis) {
        let (repaired, took) = repair(&mut bench, true);
        println!("{took:?}");
        assert!(repaired == 0 && took < limit, "{repaired} copies after {took:?}");
    }
}

/// Other peers that every lookup finds from now on, none of which is told as a holder.
fn others(numbers: std::ops::Range<u16>) -> Box<Scripted> {
    let set = numbers.map(peer).collect();
    Box::new(Scripted { me: peer(0), set, holds: false, ends: true, unreached: Vec::new() })
}

/// Tells the holders of a file whose list may be anywhere that its lease lasts longer.
fn renewal() -> Command {
    let change = LeaseChange::Renewed(lease(1, Some(NOW + HOUR)));
    Command::Lease { changes: vec![(key(1), change)], listed: BTreeSet::new(), copies: 0 }
}

#[test]
fn a_list_is_read_from_a_holder_that_a_look_around_finds_while_others_are_silent() {
    let mut bench = guest(8);
    let begun = bench.does(Event::Command { id: 1, command: renewal() });
    bench.node.desk.overlay = others(20..28);
    let reply = |to, request: &Request| match request {
        Request::Lease(_) => Some(Response::Leased { blocks: 1, free: 0 }),
        Request::FindValue { .. } => (to == peer(20).addr).then_some(Response::Node(peer(20))),
        _ => None,
    };
    let end = |work: &Job| match work {
        Job::Unpack { from: Holder::Peer(addr), .. } if *addr == peer(20).addr => no_list(work),
        _ => Some(failed(JobErrorKind::NotFound)),
    };
    let (answer, took) = live(&mut bench, begun, Duration::from_secs(100), reply, end);
    println!("{took:?}");
    assert!(matches!(answer, Some(Answer::Leased { unread: 0, .. })), "{answer:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_damaged_block_is_pulled_from_a_holder_that_a_look_around_finds_while_others_are_silent() {
    let mut bench = Bench::on(Config::default(), *others(0..9)).start(&[(key(1), 10)]);
    bench.does(Event::Damaged { key: key(1) });
    let (mut asked, mut pulled) = (None, None);
    while pulled.is_none() {
        let actions = bench.wait(Duration::from_secs(60)).expect("it is looked for");
        pulled = jobs(&actions).into_iter().find(|(_, work)| matches!(work, Job::Pull { .. }));
        for (to, magic, request) in requests(&actions) {
            if to == peer(3).addr && matches!(request, Request::FindValue { .. }) {
                asked.get_or_insert(bench.now);
                let actions = bench.hears_answer(to, magic, Response::Node(peer(3)));
                pulled = pulled.or(jobs(&actions).into_iter().find(|(_, work)| matches!(work, Job::Pull { .. })));
            }
        }
    }
    let took = bench.now.since(asked.expect("it was asked"));
    println!("{took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    // It does not give it: the others are waited for, and asked again later.
    let (job, _) = pulled.expect("it is pulled");
    bench.ends(job, failed(JobErrorKind::Corrupt));
    let again = |bench: &mut Bench| requests(&bench.wait(Duration::from_secs(60)).unwrap_or_default());
    assert!((0..1000).any(|_| again(&mut bench).iter().any(|(_, _, request)| *request != Request::Ping)));
}

#[test]
fn who_is_to_hear_one_thing_alone_of_a_renewal_hears_it_before_the_lists_are_read() {
    let mut bench = guest(2);
    let reply = |to, request: &Request| match request {
        Request::Lease(_) => (to == peer(1).addr).then_some(Response::Leased { blocks: 1, free: 0 }),
        _ => None,
    };
    let end = |work: &Job| match work {
        Job::Unpack { from: Holder::Peer(addr), .. } if *addr == peer(1).addr => None,
        work => no_list(work),
    };
    let (answer, took) = until_answered(&mut bench, renewal(), reply, end);
    println!("{took:?}");
    let Answer::Leased { silent, unread: 0, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(silent, [peer(2)]);
    assert!(took < Duration::from_secs(2), "the silent peer is waited for while the list is read: {took:?}");
}

#[test]
fn a_doubted_holder_gets_its_chance_soon_where_no_other_is_found_while_a_peer_is_silent() {
    let (mut bench, fetches) = retrieving_from(1, 1);
    let (set, unreached) = (vec![peer(1)], Vec::new());
    bench.node.desk.overlay = Box::new(Scripted { me: peer(0), set, holds: true, ends: false, unreached });
    let began = bench.now;
    let mut actions = bench.ends(fetches[0].0, failed(JobErrorKind::Corrupt));
    while jobs(&actions).is_empty() {
        actions = bench.wait(Duration::from_secs(60)).expect("it is asked, though the lookup has no end");
    }
    let took = bench.now.since(began);
    println!("{took:?}");
    assert!(took <= Duration::from_millis(500), "{took:?}");
}

#[test]
fn who_waits_for_copies_looks_again_soon_when_a_peer_has_come_and_a_storm_of_peers_costs_few_looks() {
    for storm in [false, true] {
        let (mut bench, asked) = (guest(2), std::cell::Cell::new(0));
        let reply = |has_come: bool| {
            let asked = &asked;
            move |to, request: &Request| match request {
                Request::FindValue { .. } if to == peer(1).addr || has_come => {
                    asked.set(asked.get() + 1);
                    Some(Response::Holder { peer: peer(1), copies: 2 })
                }
                _ => Some(Response::Nodes(Vec::new())),
            }
        };
        let until = Until::Copies { sources: vec![Source::Key(key(1))], copies: None };
        let begun = bench.does(Event::Command { id: 1, command: Command::Wait { until, limit: None } });
        let (none, _) = live(&mut bench, begun, Duration::from_secs(60), reply(false), no_list);
        assert_eq!(none, None);
        asked.set(0);
        if storm {
            for _ in 0..600 {
                bench.node.tell(News::Up);
                let next = bench.now + Duration::from_millis(100);
                let (none, _) = live(&mut bench, Vec::new(), Duration::from_millis(100), reply(false), no_list);
                assert_eq!(none, None);
                bench.now = next;
            }
            println!("{} looks in a minute", asked.get());
            assert!(asked.get() <= 32, "{} looks in a minute", asked.get());
        }
        bench.node.tell(News::Up);
        let (answer, took) = live(&mut bench, Vec::new(), Duration::from_secs(60), reply(true), no_list);
        println!("storm: {storm}, {took:?}");
        assert!(answer.is_some() && (storm || took <= Duration::from_secs(1)), "{took:?}");
    }
}

#[test]
fn a_command_that_waits_for_what_is_true_or_beyond_its_time_is_found_out() {
    for (until, limit) in [(Until::Peers { count: 2 }, None), (Until::Peers { count: 9 }, Some(Duration::ZERO))] {
        let mut bench = Bench::new(Config::default(), 2, 0);
        assert_eq!(bench.node.check(), Ok(()));
        bench.node.wait(7, until.clone(), limit);
        assert!(bench.node.check().is_err_and(|what| what.contains("command 7")), "{until:?}");
    }
}
