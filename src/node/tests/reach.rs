//! Peers whose datagrams come through, and no TCP.

use super::offers::{acquainted, store};
use super::*;
use crate::file::ManifestEntry;
use crate::node::job::Urgency;
use crate::node::refusal::Refusal;
use crate::node::trouble::Trouble;
use crate::node::{Command, FailureKind, Until};

#[test]
fn one_connection_that_does_not_come_about_answers_all_that_wait_for_it_and_for_a_while_what_comes_new() {
    let mut bench = acquainted();
    bench.does(Event::Validated { addr: peer(2).addr });
    let started: usize = (0..10).map(|n| jobs(&bench.hears_request(peer(1), n, store(n))).len()).sum();
    assert_eq!((started, bench.hears_request(peer(2), 99, store(9))), (2, vec![]));
    let actions = bench.ends(0, failed(JobErrorKind::Unreachable));
    let refused = responses(&actions);
    assert!(refused.iter().all(|(_, _, told)| *told == Err(Refusal::Unreached.to_string())), "{refused:?}");
    assert_eq!(refused.len(), 9, "but for the one that is being pulled too");
    let actions = bench.ends(1, failed(JobErrorKind::Unreachable));
    let [(pull, Job::Pull { from, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(from, peer(2).addr);
    bench.ends(pull, Outcome::Stored { size: 1000 });
    let again = bench.hears_request(peer(1), 20, store(20));
    assert_eq!(responses(&again), [(peer(1).addr, 20, Err(Refusal::Unreached.to_string()))]);
    bench.now += Duration::from_secs(10);
    assert_eq!(jobs(&bench.hears_request(peer(1), 21, store(21))).len(), 1, "it may be reached by now");
}

#[test]
fn what_is_here_needs_no_connection_to_who_offers_it_and_who_delivered_is_not_judged_by_one_that_failed() {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&[(key(1), 4)]);
    bench.does(Event::Validated { addr: peer(1).addr });
    bench.hears_request(peer(1), 2, store(2));
    bench.ends(0, failed(JobErrorKind::Unreachable));
    let looks = jobs(&bench.hears_request(peer(1), 1, store(1)));
    assert!(matches!(looks[..], [(_, Job::Verify { .. })]), "{looks:?}");

    let mut bench = acquainted();
    bench.hears_request(peer(1), 0, store(0));
    bench.ends(0, Outcome::Stored { size: 1000 });
    (1..40).for_each(|n| drop(bench.hears_request(peer(1), n, store(n))));
    assert_eq!(responses(&bench.ends(1, failed(JobErrorKind::Unreachable))).len(), 1);
    assert!(responses(&bench.ends(2, failed(JobErrorKind::Unreachable))).len() > 1, "two in a row");
}

/// What a store comes to at a peer that keeps a copy, where the others refuse.
fn store_refused(overlay: Scripted, refusal: &Refusal) -> Answer {
    let mut bench = Bench::on(Config::default(), overlay).start(&[]);
    let command = Command::Store { path: "file".into(), manifest: None, keep: false };
    let mut actions = bench.does(Event::Command { id: 1, command });
    let mut reads = 0;
    while answer(&actions).is_none() {
        let mut next = Vec::new();
        for (job, work) in jobs(&actions) {
            let outcome = match work {
                Job::ReadNext { .. } if reads == 0 => Outcome::Read { entry: ManifestEntry { key: key(1), size: 10 } },
                Job::ReadNext { .. } => Outcome::End { size: 10, sha256: key(9) },
                Job::Pack { .. } => Outcome::Packed { key: key(2), size: 100 },
                Job::Keep { .. } => Outcome::Stored { size: 10 },
                other => panic!("{other:?}"),
            };
            reads += u32::from(matches!(outcome, Outcome::Read { .. }));
            next.extend(bench.ends(job, outcome));
        }
        for (to, magic, request) in requests(&actions) {
            if matches!(request, Request::Store { .. }) {
                next.extend(bench.hears(to, Message::error(magic, refusal.to_string())));
            }
        }
        actions = next;
    }
    answer(&actions).expect("it ends")
}

#[test]
fn a_store_that_only_this_peer_keeps_though_others_are_known_has_failed() {
    for (unreached, verdict) in [(vec![peer(1)], Some(FailureKind::TooFewCopies)), (Vec::new(), None)] {
        let alone = Scripted { me: peer(0), set: vec![peer(0)], holds: false, ends: true, unreached };
        let end = store_refused(alone, &Refusal::Full);
        assert_eq!(end.verdict(), verdict, "{end:?}");
    }
}

/// Hands the node an event; whom it connects to, nothing comes of that.
fn undialled(bench: &mut Bench, event: Event) -> Vec<Action> {
    let mut out = Outbox::new();
    bench.node.handle(bench.now, event, &mut out);
    bench.node.check().expect("the node's invariants hold");
    out.into_iter().collect()
}

/// As many others wait to be connected to as there is room for.
fn crowd(bench: &mut Bench) {
    let had_no_room = (30_000..40_000).map(addr).any(|addr| !bench.node.desk.dial(addr, Urgency::Others));
    assert!(had_no_room);
}

#[test]
fn where_too_many_wait_to_be_connected_to_the_copy_of_a_peer_that_takes_an_offer_is_not_counted() {
    let mut bench = Bench::new(Config::default(), 1, 0).start(&[]);
    crowd(&mut bench);
    let command = Command::Store { path: "file".into(), manifest: None, keep: false };
    let (mut actions, mut reads, mut taken) = (undialled(&mut bench, Event::Command { id: 1, command }), 0, 0);
    for _ in 0..100 {
        let mut next = Vec::new();
        for (job, work) in jobs(&actions) {
            let outcome = match work {
                Job::ReadNext { .. } if reads == 0 => Outcome::Read { entry: ManifestEntry { key: key(1), size: 10 } },
                Job::ReadNext { .. } => Outcome::End { size: 10, sha256: key(9) },
                Job::Pack { .. } => Outcome::Packed { key: key(2), size: 100 },
                Job::Keep { .. } => Outcome::Stored { size: 10 },
                _ => continue,
            };
            reads += u32::from(matches!(outcome, Outcome::Read { .. }));
            next.extend(undialled(&mut bench, Event::JobDone { job, outcome }));
        }
        for (to, magic, request) in requests(&actions) {
            if let Request::Store { key, .. } = request {
                taken += 1;
                undialled(&mut bench, Event::Delivered { blocks: vec![(key, to.ip())] });
                let message = Message::response(magic, RequestKind::Store, Response::Saved);
                next.extend(undialled(&mut bench, Event::Message { from: to, via: Via::Udp, bytes: 250, message }));
            }
        }
        if let Some(end) = answer(&next) {
            let Answer::Stored { copies, lacking: Some(why), .. } = &end else { panic!("{end:?}") };
            assert_eq!(&copies[..], [0, 2], "its own alone, though {taken} offers were taken");
            assert!(taken >= 2 && why.contains("too many peers are being connected to"), "{why}");
            return;
        }
        actions = next;
    }
    panic!("it never ends");
}

#[test]
fn where_too_many_wait_to_be_connected_to_nobody_is_safe_by_what_a_peer_holds_that_nobody_has_connected_to() {
    let limit = Some(Duration::from_secs(1));
    let safe = Event::Command { id: 1, command: Command::Wait { until: Until::Safe, limit } };
    for crowded in [false, true] {
        let mut bench = Bench::new(Config::default(), 1, 0).start(&[(key(1), 10)]);
        let hand = if crowded { undialled } else { Bench::does };
        if crowded {
            crowd(&mut bench);
        }
        let mut actions = hand(&mut bench, safe.clone());
        (0..3).for_each(|_| actions.extend(hand(&mut bench, Event::Tick)));
        let compares = requests(&actions).iter().any(|(_, _, request)| matches!(request, Request::Compare { .. }));
        assert_eq!((compares, answer(&actions)), (!crowded, None), "what it holds counts if it can be had");
        bench.now += Duration::from_secs(1);
        let end = answer(&hand(&mut bench, Event::Tick)).and_then(|end| end.verdict());
        assert_eq!(end, Some(FailureKind::TimedOut), "crowded: {crowded}");
    }
}

#[test]
fn a_store_that_all_others_refuse_has_failed_and_tells_what_can_be_done() {
    let told = [
        (Refusal::Unreached, "nobody can connect to this peer"),
        (Refusal::Ended, "compare them with this machine's"),
        (Refusal::Full, ": full"),
    ];
    for (refusal, words) in told {
        let overlay =
            Scripted { me: peer(0), set: (0..3).map(peer).collect(), holds: false, ends: true, unreached: Vec::new() };
        let end = store_refused(overlay, &refusal);
        let Answer::Stored { copies, lacking: Some(why), .. } = &end else { panic!("{end:?}") };
        assert!(why.contains(words), "{why}");
        assert_eq!((&copies[..], end.verdict()), (&[0, 2][..], Some(FailureKind::TooFewCopies)));
    }
}

#[test]
fn an_offer_that_no_connection_comes_about_for_is_given_up_the_second_time() {
    let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 1, 0).start(&[]);
    let command = Command::Store { path: "file".into(), manifest: None, keep: false };
    let [(read, _)] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    let actions = bench.ends(read, Outcome::Read { entry: ManifestEntry { key: key(1), size: 10 } });
    let sent = |action: &Action| match action {
        Action::Send { to, message, .. } if matches!(message.body, Body::Request(Request::Store { .. })) => {
            Some((*to, message.clone()))
        }
        _ => None,
    };
    let (to, message) = actions.iter().find_map(sent).expect("it is offered");
    let mut lost = |after: u64| {
        bench.now = Time::ZERO + Duration::from_secs(after);
        bench.does(Event::Undeliverable { to, message: message.clone(), obstacle: Obstacle::Silence })
    };
    assert_eq!(lost(2), [], "it may be chance");
    let end = lost(4);
    let Some(Answer::Failed(failure)) = answer(&end) else { panic!("nobody is asked once more: {end:?}") };
    assert!(failure.reason.contains("no connection to it comes about"), "{failure}");
}

#[test]
fn a_peer_that_three_hosts_cannot_connect_to_tells_so_once_whatever_comes_between() {
    let set: Vec<Peer> = (1..=9).map(|n| Peer::new(peer(n).id, ([10, 0, 0, n as u8], 7000).into())).collect();
    let overlay = Scripted { me: peer(0), set, holds: false, ends: true, unreached: Vec::new() };
    let mut bench = Bench::on(Config { replicas: 9, guest: true, ..Config::default() }, overlay).start(&[]);
    let told = |actions: &[Action]| {
        actions.iter().filter(|a| **a == Action::Notify(Notice::Trouble { trouble: Trouble::Unreached })).count()
    };
    let (mut times, mut refused) = (Vec::new(), 0);
    let command = Command::Store { path: "file".into(), manifest: None, keep: false };
    let [(read, _)] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    let mut out = requests(&bench.ends(read, Outcome::Read { entry: ManifestEntry { key: key(1), size: 10 } }));
    while let Some((to, magic, _)) = out.pop() {
        let actions = bench.hears(to, Message::error(magic, Refusal::Unreached.to_string()));
        refused += 1;
        times.extend((told(&actions) > 0).then_some(refused));
        out.extend(requests(&actions).into_iter().filter(|(.., request)| matches!(request, Request::Store { .. })));
        if refused == 5 {
            bench.does(Event::Asked { blocks: vec![(key(1), [10, 0, 0, 77].into())] });
        }
    }
    assert!(times == [3] && refused >= 8, "{times:?} of {refused}");
}
