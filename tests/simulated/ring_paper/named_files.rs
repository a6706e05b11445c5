//! The classroom's files, whose requests are told of at every step.

use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::Effect;
use kadring::overlay::ring::{Ring, RingEffect, RingOptions, RouteNotice, RouteOutcome, SuccessorChange};
use kadring::wire::ring::Routed;

use super::rings::{EXAMPLE, changes, classroom_net, small};
use crate::net::{Net, addr};

/// Requests about files by name reach the peer responsible, each peer on the way telling of it once.
#[test]
fn a_named_file_is_routed_to_its_owner() {
    let mut net = classroom_net(&EXAMPLE);
    let what = Routed::Store { file: "2067".parse().unwrap() };
    net.with(addr(8), |ring, now, out| ring.router().expect("a ring").route(now, 7, what, out));
    net.run(Duration::from_secs(3));
    let forwarded: Vec<SocketAddr> = net
        .told
        .iter()
        .filter(|(_, _, effect)| matches!(effect, Effect::Ring(RingEffect::Notice(RouteNotice::Forwarded { .. }))))
        .map(|(_, at, _)| *at)
        .collect();
    assert_eq!(forwarded, [addr(8), addr(9), addr(14)]);
    let arrived = net.told.iter().find_map(|(_, at, effect)| match effect {
        Effect::Ring(RingEffect::Arrived { origin, what, .. }) => Some((*at, *origin, *what)),
        _ => None,
    });
    assert_eq!(arrived, Some((addr(19), small(8), what)));
    let answered = net.told.iter().any(|(_, at, effect)| {
        let answer =
            |outcome: &RouteOutcome| matches!(outcome, RouteOutcome::Answered { from, .. } if *from == addr(19));
        *at == addr(8)
            && matches!(effect, Effect::Ring(RingEffect::RouteEnded { lookup: 7, outcome }) if answer(outcome))
    });
    assert!(answered, "the owner answers the origin itself");
    net.with(addr(19), |ring, now, out| ring.router().expect("a ring").route(now, 8, what, out));
    let here = |(_, at, effect): &(_, SocketAddr, Effect)| {
        *at == addr(19) && *effect == Effect::Ring(RingEffect::RouteEnded { lookup: 8, outcome: RouteOutcome::Here })
    };
    assert!(net.told.iter().any(here), "the responsible peer asks nobody");
}

/// The assignment's `init` of one peer of the example ring.
fn given(at: usize) -> Ring {
    let given = vec![small(EXAMPLE[(at + 1) % 7]), small(EXAMPLE[(at + 2) % 7])];
    Ring::new(small(EXAMPLE[at]), RingOptions::classroom(Duration::from_secs(5), given))
}

/// Who passed a named file's request on, in this order.
fn passed_on(net: &Net<Ring>) -> Vec<SocketAddr> {
    let forwarded = |effect: &Effect| matches!(effect, Effect::Ring(RingEffect::Notice(RouteNotice::Forwarded { .. })));
    net.told.iter().filter(|(_, _, effect)| forwarded(effect)).map(|(_, at, _)| *at).collect()
}

/// Who was told that a named file's request arrived.
fn arrived(net: &Net<Ring>) -> Vec<SocketAddr> {
    let there = |effect: &Effect| matches!(effect, Effect::Ring(RingEffect::Arrived { .. }));
    net.told.iter().filter(|(_, _, effect)| there(effect)).map(|(_, at, _)| *at).collect()
}

/// A user types before the others have started: the request goes no other way than the one that the user will expect,
/// and each peer tells of it once, however long it has to wait for the next.
#[test]
fn a_request_waits_for_successors_that_start_late() {
    let mut net = Net::new(7);
    let what = Routed::Store { file: "2067".parse().unwrap() };
    for (at, id) in EXAMPLE.iter().enumerate() {
        net.start(given(at), false, &[]);
        if at == 0 {
            net.with(addr(2), |ring, now, out| ring.router().expect("a ring").route(now, 7, what, out));
        }
        assert_eq!(arrived(&net), [], "when {id} starts");
        net.run(Duration::from_secs(8));
    }
    assert_eq!(passed_on(&net), [2, 4, 5, 8, 9, 14].map(addr));
    assert_eq!(arrived(&net), [addr(19)]);
}

/// Nobody waits forever for a successor that never starts: after a minute the request goes around it.
#[test]
fn a_request_goes_around_a_successor_that_never_starts() {
    let mut net = Net::new(8);
    for at in [0, 1, 2, 3, 4, 6] {
        net.start(given(at), false, &[]);
    }
    net.run(Duration::from_secs(2));
    let what = Routed::Store { file: "2067".parse().unwrap() };
    net.with(addr(8), |ring, now, out| ring.router().expect("a ring").route(now, 7, what, out));
    net.run(Duration::from_secs(50));
    assert_eq!(arrived(&net), []);
    net.run(Duration::from_secs(15));
    assert_eq!((passed_on(&net), arrived(&net)), (vec![addr(8), addr(9)], vec![addr(19)]));
}

/// While a ring starts its peers are patient with one another, but not with one that died: what was sent over it takes
/// another way as soon as its death is noticed.
#[test]
fn a_request_takes_another_way_when_the_peer_it_was_sent_over_dies() {
    let mut net = Net::new(9);
    for at in 0..7 {
        net.start(given(at), false, &[]);
    }
    net.run(Duration::from_secs(2));
    net.cut(|peer| u8::from(peer.id == Id::from_u64(9)));
    let what = Routed::Store { file: "2067".parse().unwrap() };
    net.with(addr(8), |ring, now, out| ring.router().expect("a ring").route(now, 7, what, out));
    net.run(Duration::from_secs(20));
    let died = SuccessorChange::Died { peer: small(9) };
    assert!(changes(&net, 8).iter().any(|(why, _)| *why == died));
    assert_eq!(arrived(&net), [addr(19)]);
}

/// Its heir tells of no way back to it, and then that it is the one.
#[test]
fn the_heir_of_a_peer_that_has_just_died_says_one_thing_of_each_request() {
    for wait in [0, 1, 4] {
        let mut net = classroom_net(&EXAMPLE);
        net.kill(addr(9));
        net.run(Duration::from_secs(wait));
        let what = Routed::Request { file: "0009".parse().unwrap() };
        net.with(addr(5), |ring, now, out| ring.router().expect("a ring").route(now, 7, what, out));
        net.run(Duration::from_secs(40));
        assert!(arrived(&net).contains(&addr(14)), "after {wait} s: {:?}", arrived(&net));
        assert_eq!(passed_on(&net), [5, 8].map(addr), "after {wait} s");
    }
}
