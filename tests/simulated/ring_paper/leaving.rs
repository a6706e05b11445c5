//! Peers that say goodbye.

use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::Effect;
use kadring::overlay::ring::{Ring, RingEffect, RingOptions, RouteNotice, SuccessorChange};
use kadring::peer::Peer;
use kadring::wire::ring::{RingRequest, Route, Routed};
use kadring::wire::{Request, Sender, Via};

use super::rings::{EXAMPLE, changes, classroom, classroom_net, large_net, one_cycle, rest, small};
use crate::net::{Asked, LATENCY, Net, addr};

/// ToN IV-E4: a peer that leaves tells its predecessor and successor, which close the gap as soon as it answers no
/// ping.
#[test]
fn a_graceful_departure_closes_the_gap_after_one_ping() {
    let mut net = classroom_net(&EXAMPLE);
    net.leave(addr(9));
    net.run(net.timeout + LATENCY * 5);
    one_cycle(&net).unwrap();
    let left = SuccessorChange::Left { peer: small(9) };
    assert_eq!(changes(&net, 8), [(left, vec![14, 19])]);
    assert_eq!(changes(&net, 5), [(left, vec![8, 14])]);
    for id in [2, 4, 14, 19] {
        assert!(changes(&net, id).iter().all(|(why, _)| *why == SuccessorChange::Stabilized), "at {id}");
    }
    net.run(Duration::from_secs(30));
    assert!(!net.told.iter().any(|(_, _, effect)| matches!(
        effect,
        Effect::Ring(RingEffect::Notice(RouteNotice::Successors { why: SuccessorChange::Died { .. }, .. }))
    )));
}

/// ToN IV-E4: a goodbye is final, whatever pings and answers are on their way while it is said, by one peer or by two
/// neighbours at once: nobody takes a peer that left for one that is there, or for one that died.
#[test]
fn nobody_who_said_goodbye_comes_back_or_is_mourned() {
    for (step, leavers) in (0..250_u64).zip([&[9_u64][..], &[8, 9], &[9, 8]].into_iter().cycle()) {
        let mut net = Net::new(step);
        for &id in &EXAMPLE {
            net.add(Ring::new(small(id), RingOptions::classroom(Duration::from_millis(200), Vec::new())), false);
        }
        let mut net = rest(net);
        net.run(Duration::from_micros(2_000_000 + 511 * step));
        for &id in leavers {
            net.say_goodbye(addr(id as u32));
            net.run(Duration::from_millis(1));
        }
        let begin = net.told.len();
        net.run(Duration::from_millis(600));
        for &id in leavers {
            net.kill(addr(id as u32));
        }
        net.run(Duration::from_secs(6));
        let is_leaver = |at: &SocketAddr| leavers.iter().any(|id| addr(*id as u32) == *at);
        let wrong = net.told[begin..].iter().find(|(_, at, effect)| match effect {
            Effect::PeerUp(peer) => is_leaver(&peer.addr) && !is_leaver(at),
            Effect::Ring(RingEffect::Notice(RouteNotice::Successors { why: SuccessorChange::Died { .. }, .. })) => {
                !is_leaver(at)
            }
            _ => false,
        });
        assert_eq!(wrong, None, "step {step}");
        one_cycle(&net).unwrap();
    }
}

/// Whoever has said goodbye passes on what still comes to it: a join to its predecessor, a request to its successor.
#[test]
fn what_reaches_a_peer_after_its_goodbye_is_passed_on() {
    let mut net = classroom_net(&EXAMPLE);
    net.add(classroom(15), false);
    let join = Routed::Join;
    let store = Routed::Store { file: "0013".parse().unwrap() };
    net.say_goodbye(addr(14));
    for (origin, what) in [(15, join), (2, store)] {
        let origin = small(origin);
        let route = Route { hops: 1, last: true, ..Route::of(origin) };
        let sender = Sender::member(origin.id, origin.addr);
        let request = Request::Ring(RingRequest::Routed { route, what });
        net.inject(origin.addr, sender, addr(14), Via::Tcp, request);
    }
    net.run(net.timeout * 3 + LATENCY * 10);
    assert_eq!(changes(&net, 9).last(), Some(&(SuccessorChange::Joined { peer: small(15) }, vec![15, 19])));
    let arrived = |at: u64| {
        net.told.iter().any(|(_, who, effect)| {
            *who == addr(at as u32) && matches!(effect, Effect::Ring(RingEffect::Arrived { .. }))
        })
    };
    assert_eq!(EXAMPLE.map(arrived), EXAMPLE.map(|id| id == 19));
}

/// Anybody can write a goodbye in a neighbour's name. The neighbour is pinged once, and is there: nobody is told of a
/// departure, and those named in its place hear nothing. Nor does it count who else is said to be gone.
#[test]
fn a_goodbye_in_a_neighbour_s_name_is_not_believed_while_that_neighbour_answers() {
    for mut net in [classroom_net(&EXAMPLE), large_net(8)] {
        net.run(Duration::from_secs(1));
        let peers = net.peers();
        let lists = |net: &Net<Ring>| peers.iter().map(|peer| net.overlay(peer.addr).table()).collect::<Vec<_>>();
        let (before, told, asked) = (lists(&net), net.told.len(), net.asked.len());
        let bogus = Peer::new(Id::from_u64(77), "10.9.9.9:5555".parse().expect("an address"));
        for (at, neighbour) in peers.iter().enumerate() {
            let quit = RingRequest::Quit { predecessors: vec![bogus], successors: vec![bogus] };
            let exit = RingRequest::Exit { predecessors: vec![bogus] };
            for (step, goodbye) in [(1, &quit), (2, &quit), (peers.len() - 1, &exit)] {
                let to = peers[(at + peers.len() - step) % peers.len()].addr;
                let sender = Sender { leaving: true, ..Sender::member(neighbour.id, neighbour.addr) };
                net.inject(neighbour.addr, sender, to, Via::Tcp, Request::Ring(goodbye.clone()));
            }
        }
        net.run(LATENCY * 2);
        let empty = |asked: &&Asked| matches!(&asked.request, Request::Ring(RingRequest::Ping { predecessors, successors, .. }) if predecessors.is_empty() && successors.is_empty());
        let pings = net.asked[asked..].iter().filter(empty).count();
        assert_eq!(pings, 3 * peers.len(), "one ping that tells nothing for each goodbye");
        net.run(Duration::from_secs(3));
        assert!(net.asked.iter().all(|asked| asked.to != bogus.addr));
        let is_news = |effect: &Effect| match effect {
            Effect::PeerDown(_) => true,
            Effect::Ring(RingEffect::Notice(notice)) => matches!(notice, RouteNotice::Successors { .. }),
            _ => false,
        };
        let news: Vec<_> = net.told[told..].iter().filter(|(_, _, effect)| is_news(effect)).collect();
        assert!(news.is_empty(), "{news:?}");
        assert_eq!(lists(&net), before);
    }
}

/// In a small ring those behind a peer are those before it. It need not have put them behind it yet when somebody
/// leaves.
#[test]
fn a_departure_soon_after_the_start_of_a_small_ring_is_told_right() {
    let ids = [10, 50, 90, 130];
    for leaving in 0..4 {
        let mut net = Net::new(leaving as u64);
        for at in 0..4 {
            let [me, first, second] = [0, 1, 2].map(|step| small(ids[(at + step) % 4]));
            net.start(Ring::new(me, RingOptions::classroom(Duration::from_secs(30), vec![first, second])), false, &[]);
        }
        net.run(Duration::from_millis(700));
        net.leave(addr(ids[leaving] as u32));
        net.run(Duration::from_millis(200));
        for back in [1, 2] {
            let at = (leaving + 4 - back) % 4;
            let next: Vec<u64> = (1..4).map(|step| ids[(at + step) % 4]).filter(|id| *id != ids[leaving]).collect();
            let left = SuccessorChange::Left { peer: small(ids[leaving]) };
            assert_eq!(changes(&net, ids[at]).last(), Some(&(left, next)), "{} leaves", ids[leaving]);
        }
    }
}

/// A peer that quits is started again at once, under its id and at its address. Of those before it one may know that it
/// has left, and let it in again, while the other still waits for an answer of its earlier run. They are told that it
/// left and has joined, or only that it has joined, but never that it left once they have been told that it joined.
#[test]
fn the_goodbye_of_an_earlier_run_removes_no_peer_that_has_joined_again() {
    let left = SuccessorChange::Left { peer: small(5) };
    let (joined, told_of) = (SuccessorChange::Joined { peer: small(5) }, SuccessorChange::Told { by: small(4) });
    let (mut wrong, mut slowest, mut runs) = (Vec::new(), Duration::ZERO, 0);
    for later in (0..100).step_by(20).map(Duration::from_millis) {
        for gap in (0..350).step_by(5).map(Duration::from_millis) {
            let mut net = classroom_net(&EXAMPLE);
            net.run(Duration::from_millis(700));
            // The goodbye comes to 4 so much later than to the others.
            net.cut(|peer| u8::from(*peer == small(4)));
            net.say_goodbye(addr(5));
            net.mend();
            net.run(later);
            let sender = Sender { leaving: true, ..Sender::member(small(5).id, addr(5)) };
            let quit =
                RingRequest::Quit { predecessors: [4, 2].map(small).into(), successors: [8, 9].map(small).into() };
            net.inject(addr(5), sender, addr(4), Via::Tcp, Request::Ring(quit));
            net.run(LATENCY * 3);
            net.kill(addr(5));
            net.run(gap);
            net.start(classroom(5), false, &[addr(4)]);
            net.run(net.timeout * 4);
            let begin = net.now;
            while one_cycle(&net).is_err() && net.now.since(begin) < Duration::from_secs(100) {
                net.run(LATENCY);
            }
            slowest = slowest.max(net.now.since(begin));
            net.run(Duration::from_secs(10));
            let told = |id: u64| changes(&net, id).into_iter().filter(|(why, _)| *why != SuccessorChange::Stabilized);
            let (first, second): (Vec<_>, Vec<_>) = (told(4).collect(), told(2).collect());
            let is_first = first == [(left, vec![8, 9]), (joined, vec![5, 8])];
            let is_second = second.strip_prefix(&[(left, vec![4, 8])]).unwrap_or(&second) == [(told_of, vec![4, 5])];
            runs += 1;
            if !(is_first && is_second) {
                wrong.push(format!("{later:?}, again after {gap:?}: 4 tells {first:?}, 2 tells {second:?}"));
            }
        }
    }
    println!("of {runs}, {} wrong; all lists were right after {slowest:?} more", wrong.len());
    assert!(wrong.is_empty() && slowest.is_zero(), "{slowest:?}, {} of {runs} wrong: {wrong:#?}", wrong.len());
}

/// Whoever writes in their names that a peer that has left speaks, and that its predecessor has let it in again, puts
/// off the news of the departure by one more question, and brings nobody back.
#[test]
fn no_stranger_keeps_a_peer_that_left_in_the_lists() {
    let mut net = classroom_net(&EXAMPLE);
    net.run(Duration::from_millis(700));
    net.say_goodbye(addr(5));
    net.run(LATENCY * 3);
    net.kill(addr(5));
    let begin = net.now;
    for _ in 0..60 {
        let update = RingRequest::Update { successors: [5, 8].map(small).into(), joined: Some(small(5)) };
        let ping = RingRequest::Ping {
            predecessors: [4, 2].map(small).into(),
            successors: [8, 9].map(small).into(),
            quiet: true,
        };
        for (id, via, request) in [(4, Via::Tcp, update), (5, Via::Udp, ping)] {
            net.inject(addr(id), Sender::member(small(id.into()).id, addr(id)), addr(2), via, Request::Ring(request));
        }
        net.run(Duration::from_millis(50));
    }
    let told: Vec<_> = changes(&net, 2).into_iter().filter(|(why, _)| *why != SuccessorChange::Stabilized).collect();
    assert_eq!(told, [(SuccessorChange::Left { peer: small(5) }, vec![4, 8])]);
    let is_down = |(_, at, effect): &&(_, SocketAddr, Effect)| *at == addr(2) && *effect == Effect::PeerDown(small(5));
    let took = net.told.iter().find(is_down).map(|(at, ..)| at.since(begin)).expect("it has left");
    println!("known after {took:?}");
    assert!(took < net.timeout * 7, "{took:?}");
    one_cycle(&net).unwrap();
}
