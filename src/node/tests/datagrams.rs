//! Answers that a datagram brings though a connection could: who says that it reads them, and who gets them.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Bench, requests};
use crate::config::{AMPLIFICATION, Config};
use crate::id::Id;
use crate::node::{Action, Command, Event, Node, Source};
use crate::overlay::ring::{Ring, RingOptions};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingRequest, RingResponse, Route, Routed, least_len};
use crate::wire::{Body, Dialect, MAGIC_LIMIT, Message, Request, RequestKind, Response, Sender, Via};

/// As long as most are.
const MAGIC: u64 = MAGIC_LIMIT - 1;

fn v4(n: u16) -> SocketAddr {
    ([10, 0, 0, n as u8], 7000).into()
}

/// The longest that there are.
fn v6(n: u16) -> SocketAddr {
    ([0x2001, 0xdb80, 0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6000 + n], 65_000).into()
}

fn peer(n: u16, address: fn(u16) -> SocketAddr) -> Peer {
    Peer::new(Id::of(&n.to_be_bytes()), address(n))
}

/// Peer 1 of a ring of twenty.
fn member(config: Config, options: RingOptions, address: fn(u16) -> SocketAddr) -> Bench {
    let mut ring = Ring::new(peer(1, address), options);
    ring.fill(Time::ZERO, &(1..=20).map(|n| peer(n, address)).collect::<Vec<_>>());
    Bench::of(Node::new(config, Box::new(ring), [7; 32]))
}

fn on_the_wide_ring(address: fn(u16) -> SocketAddr) -> Bench {
    member(Config::default(), RingOptions::default(), address)
}

/// A request of peer 2 comes over a connection. What carries its answers, how long those are, and what else follows.
fn answered(bench: &mut Bench, address: fn(u16) -> SocketAddr, sender: Sender, request: Request) -> Vec<(Via, usize)> {
    let message = Message::request(MAGIC, sender, request);
    let actions = bench.does(Event::Message { from: address(2), via: Via::Tcp, bytes: 400, message });
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send { to, via, message } if matches!(message.body, Body::Response(_)) => {
            let mut text = Vec::new();
            Dialect::Ring.encode(message, &peer(1, address), *to, &mut text);
            Some((*via, text.len()))
        }
        _ => None,
    });
    sent.collect()
}

#[test]
fn who_reads_datagrams_is_answered_by_one_if_the_answer_fits_and_who_does_not_say_so_over_a_connection() {
    for (address, datagrams, expected) in
        [(v4 as fn(u16) -> _, true, Via::Udp), (v4, false, Via::Tcp), (v6, true, Via::Tcp), (v6, false, Via::Tcp)]
    {
        let mut bench = on_the_wide_ring(address);
        let from = peer(2, address);
        let sender = Sender { datagrams, ..Sender::member(from.id, from.addr) };
        let sent = answered(&mut bench, address, sender, Request::FindNode { id: from.id });
        let [(via, len)] = sent[..] else { panic!("{sent:?}") };
        assert_eq!((via, len > 1160), (expected, address(1).is_ipv6()), "{len} bytes, {datagrams}");
    }
}

#[test]
fn the_owner_names_all_eight_that_follow_it_in_the_one_datagram_that_a_stranger_has_paid_for() {
    let mut bench = on_the_wide_ring(v4);
    let origin = Peer::new(Id::of(b"stranger"), ([203, 0, 113, 99], 7000).into());
    let what = Routed::Lookup { key: peer(1, v4).id };
    let lookup = |datagrams| {
        let route = Route { datagrams, hops: 3, last: true, ..Route::of(origin) };
        Request::Ring(RingRequest::Routed { route, what })
    };
    let relay = Sender::member(peer(2, v4).id, v4(2));
    let sent = answered(&mut bench, v4, relay, lookup(true));
    let [(Via::Udp, len)] = sent[..] else { panic!("{sent:?}") };
    assert!(len <= AMPLIFICATION * least_len(MAGIC, origin, what), "{len} bytes");
    let told = bench.out.iter().find_map(|action| match action {
        Action::Send { to, message, .. } if *to == origin.addr => Some(message.body.clone()),
        _ => None,
    });
    let Some(Body::Response(Response::Ring(RingResponse::Owner { peers, .. }))) = told else { panic!("{told:?}") };
    assert_eq!(peers.len(), 9);
    assert_eq!(bench.out.len(), 1, "no ping, no connection");
    // It comes again: its answer was lost, or somebody says so in its name. That is found out first.
    assert_eq!(answered(&mut bench, v4, relay, lookup(false)), []);
    assert_eq!(requests(&bench.out).len(), 1, "a ping");
}

/// What a node says about datagrams with a lookup, and with the questions that follow, at first and when they come
/// again.
fn words(bench: &mut Bench) -> Vec<(bool, bool)> {
    let mut said = Vec::new();
    let source = Source::Key(Id::of(b"a block"));
    let retrieve = Command::Retrieve { source, dest: "there".into(), replace: false };
    let mut actions = bench.does(Event::Command { id: 1, command: retrieve });
    for _ in 0..400 {
        let mut ways = Vec::new();
        for action in &actions {
            let Action::Send { via: Via::Tcp, message: Message { magic, sender, body, .. }, .. } = action else {
                continue;
            };
            let Body::Request(request) = body else { continue };
            let by_sender = sender.is_some_and(|sender| sender.datagrams);
            match request {
                Request::Ring(RingRequest::Routed { route, what: Routed::Lookup { .. } }) => {
                    said.push((true, route.datagrams));
                    ways.push(*magic);
                }
                Request::FindValue { .. } => said.push((false, by_sender)),
                _ => {}
            }
        }
        if said.len() >= 2
            && let Some(magic) = ways.first()
        {
            let peers = (2..=9).map(|n| peer(n, v4)).collect();
            let owner = RingResponse::Owner { peers, hops: 1, trail: Vec::new(), brief: true };
            let message = Message::response(*magic, RequestKind::Ring, Response::Ring(owner));
            actions = bench.does(Event::Message { from: v4(2), via: Via::Udp, bytes: 900, message });
            continue;
        }
        let Some(next) = bench.wait(std::time::Duration::from_secs(1)) else { break };
        actions = next;
    }
    said
}

#[test]
fn what_is_asked_for_the_first_time_may_be_answered_by_datagram_and_what_comes_again_over_a_connection() {
    let said = words(&mut on_the_wide_ring(v4));
    for is_lookup in [true, false] {
        let said: Vec<bool> = said.iter().filter(|(other, _)| *other == is_lookup).map(|(_, word)| *word).collect();
        assert!(said[0] && said.contains(&false), "{is_lookup}: {said:?}");
    }
}

#[test]
fn in_a_classroom_nothing_is_said_of_datagrams() {
    let options = RingOptions::classroom(Duration::from_secs(5), Vec::new());
    let said = words(&mut member(Config::default(), options, v4));
    assert!(said.len() > 2 && said.iter().all(|(_, word)| !word), "{said:?}");
}
