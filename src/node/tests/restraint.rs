//! What upkeep does not do, whatever other peers do: those that fail, that are full, that come and go, and that flood.

use std::collections::{BTreeMap, BTreeSet};

use super::upkeep::{answered, blocks, comparisons, next_requests, shown};
use super::*;
use crate::config::REPUBLISH_INTERVAL;
use crate::node::ticket::News;
use crate::overlay::OverlayKind;
use crate::wire::{Difference, Range, Start, Summary};

/// All keys.
const ALL: Range = Range { first: Start(0), last: Start(u64::MAX) };

/// From now on these other peers belong to every replica set, beside the node.
fn changes(bench: &mut Bench, others: &[u16]) {
    let set = std::iter::once(0).chain(others.iter().copied()).map(peer).collect();
    bench.node.desk.overlay = Box::new(Scripted { me: peer(0), set, holds: true, ends: true, unreached: Vec::new() });
}

fn goes(bench: &mut Bench, n: u16, others: &[u16]) {
    changes(bench, others);
    bench.node.tell(News::Down(&peer(n)));
}

fn comes(bench: &mut Bench, others: &[u16]) {
    changes(bench, others);
    bench.node.tell(News::Up);
}

/// Lets time pass until `until`, and has what the node asks and offers meanwhile answered.
fn pass(bench: &mut Bench, until: Time, mut answer: impl FnMut(&mut Bench, &(SocketAddr, u64, Request))) {
    while bench.now < until {
        let Some(actions) = bench.wait(until - bench.now) else { break };
        requests(&actions).iter().for_each(|request| answer(bench, request));
    }
    bench.now = until;
}

fn says_same(bench: &mut Bench, (to, magic, request): &(SocketAddr, u64, Request)) {
    if matches!(request, Request::Compare { .. }) {
        let actions = bench.hears_answer(*to, *magic, Response::Same);
        let held: Vec<_> = bench.node.held().collect();
        shown(bench, &held, actions);
    }
}

#[test]
fn a_peer_that_does_not_answer_is_not_tried_sooner_because_blocks_come() {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&blocks(0..10));
    bench.does(Event::Validated { addr: peer(2).addr });
    let mut tries = BTreeSet::new();
    for n in 0..180 {
        let offer = Request::Store { key: key(100 + n), size: Some(10), leases: vec![] };
        let [(job, Job::Pull { .. })] = jobs(&bench.hears_request(peer(2), n, offer))[..] else {
            panic!("it is pulled")
        };
        bench.ends(job, Outcome::Stored { size: 10 });
        let until = bench.now + Duration::from_secs(20);
        pass(&mut bench, until, |bench, request| {
            if request.0 == peer(2).addr {
                says_same(bench, request);
            } else if matches!(request.2, Request::Compare { .. }) {
                tries.insert(request.1);
            }
        });
    }
    assert!((5..=10).contains(&tries.len()), "{} tries in an hour", tries.len());
}

#[test]
fn a_peer_that_comes_and_goes_all_the_time_costs_a_comparison_a_minute() {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&blocks(0..10));
    let mut asked: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for _ in 0..150 {
        for others in [&[1, 2][..], &[2]] {
            if others.contains(&1) {
                comes(&mut bench, others)
            } else {
                goes(&mut bench, 1, others)
            }
            let until = bench.now + Duration::from_secs(4);
            pass(&mut bench, until, |bench, request| {
                *asked.entry(request.0).or_default() += 1;
                says_same(bench, request);
            });
        }
    }
    // That is twenty minutes.
    assert!(asked[&peer(1).addr] <= 30, "{asked:?}");
    assert!(asked[&peer(2).addr] <= 3, "nothing changes between the two that stay: {asked:?}");
}

#[test]
fn a_full_peer_that_goes_and_comes_back_is_offered_no_more_than_if_it_had_stayed() {
    let held = blocks(0..40);
    let mut bench = Bench::new(Config::default(), 2, 0).start(&held);
    let asked = comparisons(&mut bench);
    let to_first = asked.iter().find(|(to, ..)| *to == peer(1).addr).expect("every member is asked");
    let offers = answered(&mut bench, to_first, &[]);
    assert!(!offers.is_empty());
    for (to, magic, _) in offers {
        bench.hears(to, Message::error(magic, "full"));
    }
    let until = bench.now + Duration::from_secs(500);
    for _ in 0..10 {
        goes(&mut bench, 1, &[2]);
        let pause = bench.now + Duration::from_secs(20);
        pass(&mut bench, pause, says_same);
        comes(&mut bench, &[1, 2]);
        let pause = bench.now + Duration::from_secs(20);
        pass(&mut bench, pause, |bench, request| {
            assert!(!matches!(request.2, Request::Store { .. }), "it is full: {request:?}");
            if request.0 == peer(1).addr && matches!(request.2, Request::Compare { .. }) {
                assert_eq!(answered(bench, request, &[]), [], "it is full");
            } else {
                says_same(bench, request);
            }
        });
    }
    assert!(bench.now <= until);
}

#[test]
fn a_full_member_of_a_set_that_is_looked_up_is_offered_no_more_and_the_next_nearest_stands_in() {
    let overlay =
        Scripted { me: peer(0), set: (1..=4).map(peer).collect(), holds: false, ends: true, unreached: Vec::new() };
    let mut bench = Bench::on(Config { replicas: 3, ..Config::default() }, overlay).start(&blocks(0..5));
    let (mut refused, mut taken) = (0, BTreeSet::new());
    let until = bench.now + Duration::from_secs(500);
    pass(&mut bench, until, |bench, request| {
        let mut queue = vec![request.clone()];
        while let Some((to, magic, request)) = queue.pop() {
            queue.extend(match request {
                Request::Compare { .. } => answered(bench, &(to, magic, request), &[]),
                Request::Store { .. } if to == peer(1).addr => {
                    refused += 1;
                    requests(&bench.hears(to, Message::error(magic, "full")))
                }
                Request::Store { key, .. } => {
                    taken.insert((to, key));
                    requests(&bench.hears_answer(to, magic, Response::Saved))
                }
                other => panic!("{other:?} to {to}"),
            });
        }
    });
    assert!((1..=5).contains(&refused), "{refused} offers to a peer that said that it is full");
    let by = |n: u16| taken.iter().filter(|(to, _)| *to == peer(n).addr).count();
    assert_eq!([2, 3, 4].map(by), [5; 3]);
}

#[test]
fn what_comes_of_an_earlier_comparison_with_a_peer_is_not_counted_to_the_next() {
    let held = blocks(0..40);
    let mut bench = Bench::new(Config::default(), 1, 0).start(&held);
    let early = comparisons(&mut bench).remove(0);
    let early = answered(&mut bench, &early, &[]);
    assert!(early.len() >= 8, "{early:?}");
    let lives = |bench: &mut Bench, (to, magic, request): &(SocketAddr, u64, Request)| {
        if matches!(request, Request::Ping) {
            bench.hears_answer(*to, *magic, Response::Node(peer(1)));
        }
    };
    // It leaves the set because others come, and comes back into it.
    comes(&mut bench, &[2]);
    let until = bench.now + Duration::from_secs(3);
    pass(&mut bench, until, lives);
    comes(&mut bench, &[1]);
    let mut late = None;
    while late.is_none() {
        let asked = next_requests(&mut bench, Duration::from_secs(5));
        asked.iter().for_each(|request| lives(&mut bench, request));
        late = asked.into_iter().find(|(_, _, request)| matches!(request, Request::Compare { .. }));
    }
    for (to, magic, _) in early {
        assert_eq!(requests(&bench.hears(to, Message::error(magic, "I would rather not"))), []);
    }
    let offers = answered(&mut bench, &late.expect("it is compared with anew"), &[]);
    assert!(!offers.is_empty(), "it has refused none of these yet");
}

#[test]
fn a_stranger_that_compares_without_end_keeps_no_neighbour_from_its_answers() {
    let held = blocks(0..3_000);
    let mut bench = Bench::new(Config::default(), 3, 0).start(&held);
    for n in 1..=9 {
        bench.does(Event::Validated { addr: peer(n).addr });
    }
    let keys: BTreeSet<Key> = held.iter().map(|(key, _)| *key).collect();
    let compare = |held: Summary| Request::Compare { ranges: vec![ALL; 16], held, copies: None };
    let same = Request::Compare { ranges: vec![ALL], held: Summary::of(&keys), copies: None };
    let (mut received, mut sent, mut honest) = (0, 0, 0);
    for millis in 0..5_000_u64 {
        bench.now = Time::from_micros(1_000_000 + millis * 1000);
        // Four hostile ones under as many ports of one host, of which one has got into the table.
        for n in [9, 8, 7, 3] {
            let actions = bench.hears_request(peer(n), millis * 10 + u64::from(n), compare(Summary::of(&[])));
            received += 1;
            sent += responses(&actions).len() + requests(&actions).len();
        }
        if millis % 100 == 0 {
            let actions = bench.hears_request(peer(1), millis * 10, same.clone());
            honest += usize::from(responses(&actions) == [(peer(1).addr, millis * 10, Ok(Response::Same))]);
        }
    }
    assert_eq!(honest, 50, "it asked ten times a second");
    assert!(sent <= received + 50, "{sent} messages for {received}");
}

#[test]
fn whatever_ranges_are_asked_about_the_answer_is_short() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&blocks(0..20_000));
    bench.does(Event::Validated { addr: peer(1).addr });
    let none = Summary::of(&[]);
    let one = Range { first: Start(7), last: Start(7) };
    for (ranges, count) in [(vec![ALL; 16], u32::MAX), (vec![ALL], 0), (vec![one; 16], u32::MAX), (vec![one, ALL], 1)] {
        let request = Request::Compare { ranges, held: Summary { count, ..none }, copies: None };
        let answers = responses(&bench.hears_request(peer(1), 5, request));
        let [(_, _, Ok(Response::Differs(difference)))] = &answers[..] else { panic!("{answers:?}") };
        match difference {
            Difference::Keys(keys) => assert_eq!(keys.len(), 0, "nothing starts so"),
            Difference::Parts(parts) => {
                let walked: u32 = parts.iter().map(|part| part.held.count).sum();
                assert!(parts.len() <= 9 && walked <= 4096, "{parts:?}");
            }
        }
    }
}

#[test]
fn a_flood_of_news_of_deaths_costs_no_more_messages_than_it_has() {
    let overlay = OverlayKind::Kademlia.build(peer(0), [1; 32], false);
    let node = Node::new(Config::default(), overlay, [7; 32]);
    let mut bench = Bench::of(node).start(&blocks(0..100));
    let told = |bench: &mut Bench, from: u16, millis: u64, request: Request| {
        bench.now = Time::from_micros(millis * 1000).max(bench.now);
        let mut actions = bench.hears_request(peer(from), millis, request);
        let mut sent = 0;
        while !actions.is_empty() {
            let asked = requests(&actions);
            sent += asked.len() + responses(&actions).len();
            actions.clear();
            for (to, magic, request) in asked {
                let n = to.port() - 10_000;
                if n <= 20 && matches!(request, Request::Ping | Request::Gone { .. }) {
                    actions.extend(bench.hears_answer(to, magic, Response::Node(peer(n))));
                }
            }
            actions.extend(bench.wait(Duration::ZERO).unwrap_or_default());
        }
        sent
    };
    for n in 1..=20 {
        told(&mut bench, n, u64::from(n) * 100, Request::Ping);
    }
    assert_eq!(bench.node.desk.peers().len(), 20);
    // A contact says of all others that they are gone, a stranger says it, and both name peers that never were.
    let mut sent = [0, 0];
    for millis in 3_000..13_000_u64 {
        let named = if millis % 2 == 0 { 2 + (millis / 2 % 19) as u16 } else { 1000 + (millis % 5000) as u16 };
        let from = [1, 777][millis as usize / 4 % 2];
        sent[millis as usize / 4 % 2] += told(&mut bench, from, millis, Request::Gone { peer: peer(named) });
    }
    assert_eq!(bench.node.desk.peers().len(), 20, "nobody is believed dead who answers");
    assert!(sent.iter().all(|sent| *sent <= 5_000 * 11 / 10), "{sent:?} messages for 5,000 each");
}

#[test]
fn a_flood_of_questions_for_blocks_whose_files_are_gone_costs_a_few_looks_at_a_time() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&blocks(0..1000));
    let mut looks = 0;
    for n in 0..10_000 {
        let actions = bench.does(Event::Missing { key: key(n % 2000) });
        assert_eq!((requests(&actions), responses(&actions)), (vec![], vec![]));
        looks += jobs(&actions).len();
    }
    assert_eq!(looks, 4, "the next ones begin when these have ended");
    let until = bench.now + REPUBLISH_INTERVAL;
    pass(&mut bench, until, says_same);
}
