//! Peers that say goodbye.

use std::net::SocketAddr;
use std::time::Duration;

use kadring::overlay::Effect;
use kadring::overlay::ring::{Change, Ring, RingEffect, RingOptions, RouteNotice};
use kadring::wire::ring::{RingRequest, Route, Routed};
use kadring::wire::{Request, Sender, Via};

use crate::net::{Net, addr};
use crate::rings::{EXAMPLE, changes, classroom, classroom_net, one_cycle, rest, small};

/// ToN IV-E4: a peer that leaves tells its predecessor and successor, which close the gap at once.
#[test]
fn a_graceful_departure_closes_the_gap_at_once() {
    let mut net = classroom_net(&EXAMPLE);
    net.leave(addr(9));
    net.run(Duration::from_millis(20));
    one_cycle(&net).unwrap();
    let left = Change::Left { peer: small(9) };
    assert_eq!(changes(&net, 8), [(left, vec![14, 19])]);
    assert_eq!(changes(&net, 5), [(left, vec![8, 14])]);
    for id in [2, 4, 14, 19] {
        assert!(changes(&net, id).iter().all(|(why, _)| *why == Change::Stabilized), "at {id}");
    }
    net.run(Duration::from_secs(30));
    assert!(!net.told.iter().any(|(_, _, effect)| matches!(
        effect,
        Effect::Ring(RingEffect::Notice(RouteNotice::Successors { why: Change::Died { .. }, .. }))
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
            Effect::Ring(RingEffect::Notice(RouteNotice::Successors { why: Change::Died { .. }, .. })) => {
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
        let route = Route { origin, hops: 1, last: true, quiet: false };
        let sender = Sender::member(origin.id, origin.addr);
        let request = Request::Ring(RingRequest::Routed { route, what });
        net.inject(origin.addr, sender, addr(14), Via::Tcp, request);
    }
    net.run(Duration::from_millis(50));
    assert_eq!(changes(&net, 9).last(), Some(&(Change::Joined { peer: small(15) }, vec![15, 19])));
    let arrived = |at: u64| {
        net.told.iter().any(|(_, who, effect)| {
            *who == addr(at as u32) && matches!(effect, Effect::Ring(RingEffect::Arrived { .. }))
        })
    };
    assert_eq!(EXAMPLE.map(arrived), EXAMPLE.map(|id| id == 19));
}

/// In a small ring those behind a peer are those before it. It need not have put them behind it yet when somebody leaves.
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
            let left = Change::Left { peer: small(ids[leaving]) };
            assert_eq!(changes(&net, ids[at]).last(), Some(&(left, next)), "{} leaves", ids[leaving]);
        }
    }
}
