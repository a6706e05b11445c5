//! Peers that say what they like: what they can bring about.

use std::net::SocketAddr;
use std::time::Duration;

use kadring::config::FIRST_TIMEOUT;
use kadring::id::Id;
use kadring::overlay::ring::{Ring, RingEffect, SuccessorChange};
use kadring::overlay::{Effect, Goal, Overlay, RouteNotice, RouteOutcome};
use kadring::peer::Peer;
use kadring::wire::ring::{RingRequest, RingResponse, Route, Routed};
use kadring::wire::{Request, Response, Sender, Via};

use super::rings::{EXAMPLE, changes, classroom, classroom_net, large, large_net, notices, small};
use crate::net::{LATENCY, Net, addr};

/// A ping of this peer's, which takes the receiver for its first successor; or somebody says so.
fn ping(net: &mut Net<Ring>, from: Peer, to: &Peer) {
    let request = RingRequest::Ping { predecessors: Vec::new(), successors: vec![*to], quiet: true };
    let sender = Sender::member(from.id, from.addr);
    net.inject(from.addr, sender, to.addr, Via::Udp, Request::Ring(request));
}

/// A ping from nowhere takes one of the places of those that spoke for themselves until nobody has answered there. One
/// host that sends a hundred a second takes all of them, and one is left to a newcomer on another host. Where each
/// comes from another host, the newcomer takes the place of one.
#[test]
fn a_hundred_pings_a_second_from_one_host_or_as_many_keep_no_newcomer_of_another_host_out() {
    for host in [|_| [10, 9, 9, 9], |n: u16| [10, 9, (n >> 8) as u8, n as u8], |n| [n as u8 | 128, 9, n as u8, 1]] {
        let took = taken_in_after(host);
        assert!(
            took < Duration::from_secs(1),
            "the newcomer was the victim's predecessor after {took:?}, flooded by {:?} and others",
            host(1)
        );
    }
}

fn taken_in_after(host: impl Fn(u16) -> [u8; 4]) -> Duration {
    let mut net = large_net(8);
    // What a node does as long as it has measured no round trip.
    net.timeout = FIRST_TIMEOUT;
    let peers = net.peers();
    let (before, victim) = (peers[3], peers[4]);
    let newcomer = (100..).map(large).find(|ring| ring.me().id.is_strictly_between(&before.id, &victim.id));
    let newcomer = newcomer.expect("a gap");
    let me = newcomer.me();
    let flood = |net: &mut Net<Ring>, number: u16| {
        let liar = SocketAddr::from((host(number), 1000 + number));
        ping(net, Peer::new(Id::of(&number.to_be_bytes()), liar), &victim);
        net.run(Duration::from_millis(10));
    };
    (0..200).for_each(|number| flood(&mut net, number));
    net.start(newcomer, false, &[peers[0].addr]);
    let start = net.now;
    let first = |net: &Net<Ring>| net.inside(victim.addr).predecessors()[0];
    (200..3200)
        .take_while(|number| {
            flood(&mut net, *number);
            first(&net) != me
        })
        .for_each(drop);
    net.now.since(start)
}

/// Anybody can send a datagram in a dead peer's name. Only answers are signs of life: however often a ping comes from
/// its address, whoever knew it finds out as soon as without, and nobody takes it back.
#[test]
fn pings_in_a_dead_peer_s_name_keep_it_in_nobody_s_lists() {
    for (mut net, bound) in
        [(classroom_net(&EXAMPLE), Duration::from_secs(25)), (large_net(8), Duration::from_secs(12))]
    {
        net.run(Duration::from_secs(20));
        let dead = net.peers()[3];
        net.vanish(dead.addr);
        let (living, killed) = (net.peers(), net.now);
        let speak = |net: &mut Net<Ring>| {
            living.iter().for_each(|peer| ping(net, dead, peer));
            net.run(Duration::from_millis(400));
            living.iter().any(|peer| net.knows(peer.addr, &dead))
        };
        while speak(&mut net) {
            assert!(net.now.since(killed) < bound, "somebody knows it still");
        }
        println!("forgotten after {:?}", net.now.since(killed));
        let back = (0..200).any(|_| speak(&mut net));
        assert!(!back, "somebody took it back");
    }
}

/// In the classroom each line is compared. What a stranger writes in a member's name has no user told of a join, a
/// request or a ping that was none.
#[test]
fn what_is_written_in_a_member_s_name_has_nobody_told_of_what_did_not_happen() {
    let mut net = classroom_net(&EXAMPLE);
    net.run(Duration::from_secs(12));
    let stranger = SocketAddr::from(([10, 9, 9, 9], 5000));
    let forge = |net: &mut Net<Ring>, via: Via, name: u64, from: SocketAddr, to: u64, request: RingRequest| {
        let sender = Sender::member(Id::from_u64(name), from);
        net.inject(from, sender, addr(to as u32), via, Request::Ring(request));
        net.run(Duration::from_secs(2));
    };
    let told = |net: &Net<Ring>| -> Vec<(u64, RouteNotice)> {
        let all =
            EXAMPLE.iter().flat_map(|&id| notices(net, addr(id as u32)).into_iter().map(move |notice| (id, notice)));
        // Who passes something on says so, whoever wrote it.
        let happened = |id: u64, notice: &RouteNotice| match notice {
            RouteNotice::PingsSent { .. } | RouteNotice::PingAnswered { .. } => true,
            RouteNotice::PingReceived { from } => net.peers().contains(from) && *from != small(id),
            RouteNotice::Forwarded { origin, .. } => *origin != small(id),
            _ => false,
        };
        all.filter(|(id, notice)| !happened(*id, notice)).collect()
    };
    let before = told(&net);
    for last in [false, true] {
        let route = |id: u64| Route { last, ..Route::of(small(id)) };
        let join = RingRequest::Routed { route: route(9), what: Routed::Join };
        for to in [2, 5, 8, 14] {
            forge(&mut net, Via::Tcp, 9, addr(9), to, join.clone());
        }
        let request = Routed::Request { file: "0003".parse().expect("a name") };
        forge(&mut net, Via::Tcp, 9, stranger, 9, RingRequest::Routed { route: route(9), what: request });
    }
    let ping = || RingRequest::Ping { predecessors: Vec::new(), successors: vec![small(9)], quiet: false };
    for (via, name, from) in
        [(Via::Udp, 77, stranger), (Via::Udp, 9, stranger), (Via::Udp, 8, stranger), (Via::Tcp, 8, addr(8))]
    {
        forge(&mut net, via, name, from, 9, ping());
    }
    assert_eq!(told(&net), before);
    assert!(net.peers().iter().all(|peer| !net.knows(peer.addr, &Peer::new(Id::from_u64(77), stranger))));
}

/// A routed request passes through peers that see all it takes to answer it. One that is on the way, or far behind the
/// key, and says that it is responsible is not believed while a peer is known that stands nearer and answers a ping.
#[test]
fn an_answer_from_a_peer_that_the_key_does_not_lead_to_is_not_believed() {
    let mut net = large_net(60);
    let asker = net.peers()[0];
    let mut tried = 0;
    for owner in net.inside(asker.addr).peers() {
        let lookup = net.lookup(asker.addr, owner.id, Goal::Peers);
        let first =
            net.asked.iter().rev().find(|asked| matches!(asked.request, Request::Ring(_))).expect("it asked").to;
        if first != owner.addr {
            let hop = net.overlay(first).me();
            let twin = Peer::new(owner.id, "10.9.9.9:5555".parse().expect("an address"));
            let liar = if tried % 2 == 0 { hop } else { twin };
            net.answer(
                asker.addr,
                liar.addr,
                &Response::Ring(RingResponse::Owner { peers: vec![liar; 3], hops: 1, trail: Vec::new(), brief: false }),
            );
            assert!(net.found(lookup).is_none(), "{liar} was believed");
            tried += 1;
        }
        net.run(Duration::from_secs(1));
        assert_eq!(net.found(lookup).expect("it ended").0[0], owner);
    }
    assert!(tried >= 2, "only {tried} answers passed through others: this shows nothing");
    // Nor is one about a file, for which a connection would be opened to the liar.
    let mut net = classroom_net(&EXAMPLE);
    let file = "2067".parse().expect("a name");
    for (number, liar) in [small(8), small(14), small(18)].into_iter().enumerate() {
        let lookup = 1000 + number as u64;
        let what = Routed::Store { file };
        net.with(small(5).addr, |ring, now, out| ring.router().expect("a ring").route(now, lookup, what, out));
        net.answer(small(5).addr, liar.addr, &Response::Ring(RingResponse::Kept { file }));
        let settled = |net: &Net<Ring>| {
            net.told.iter().find_map(|(_, _, effect)| match effect {
                Effect::Ring(RingEffect::RouteEnded {
                    lookup: other,
                    outcome: RouteOutcome::Answered { from, .. },
                }) => (*other == lookup).then_some(*from),
                _ => None,
            })
        };
        assert_eq!(settled(&net), None, "{liar} was believed");
        net.run(Duration::from_secs(3));
        assert_eq!(settled(&net), Some(small(19).addr));
    }
}

/// Who is said to ask gets an answer only where it has answered a ping: a request in its name brings that address one
/// datagram of a bare ping, and no connection.
#[test]
fn a_request_in_another_s_name_brings_that_address_one_ping_sent_once() {
    let forged = Peer::new(Id::from_u64(77), "10.9.9.9:5555".parse().expect("an address"));
    let file = "2067".parse().expect("a name");
    for mut net in [classroom_net(&EXAMPLE), large_net(8)] {
        let (liar, to) = (net.peers()[0], net.peers()[2]);
        for what in [Routed::Lookup { key: to.id }, Routed::Store { file }, Routed::Request { file }] {
            for hops in [1, 2000] {
                let before = net.asked.len();
                net.answers.clear();
                let route = Route { hops, last: true, ..Route::of(forged) };
                let request = Request::Ring(RingRequest::Routed { route, what });
                net.inject(liar.addr, Sender::member(liar.id, liar.addr), to.addr, Via::Tcp, request);
                net.run(Duration::from_secs(3));
                let pings = net.asked[before..].iter().filter(|asked| asked.to == forged.addr).count();
                assert!(pings <= 1 && !net.answers.contains(&forged.addr), "{pings} pings for {what:?}");
            }
        }
    }
}

/// Nor is such a peer taken for a finger, through which lookups would go from then on.
#[test]
fn a_peer_that_answers_for_a_finger_is_not_taken_for_it_while_a_nearer_one_is_known() {
    let mut net = large_net(60);
    let asker = net.peers()[0].addr;
    let fingers = |net: &Net<Ring>| {
        let rows = net.inside(asker).table().into_iter();
        rows.filter(|row| row.label.starts_with("finger")).collect::<Vec<_>>()
    };
    let (right, liar) = (fingers(&net), net.inside(asker).predecessors()[0]);
    for _ in 0..right.len() {
        let before = net.asked.len();
        let renews = |net: &Net<Ring>| {
            let quiet =
                |request: &Request| matches!(request, Request::Ring(RingRequest::Routed { route, .. }) if route.quiet);
            net.asked[before..].iter().any(|asked| asked.from == asker && quiet(&asked.request))
        };
        while !renews(&net) {
            net.run(LATENCY / 2);
        }
        net.answer(
            asker,
            liar.addr,
            &Response::Ring(RingResponse::Owner { peers: vec![liar], hops: 1, trail: Vec::new(), brief: false }),
        );
        net.run(Duration::from_secs(1));
        assert_eq!(fingers(&net), right, "{liar} was believed");
    }
}

/// Anybody on a machine can speak in the name of a peer there. What a neighbour is said to have told the user hears
/// only where that neighbour says so itself: nobody is put in the place of a living peer.
#[test]
fn an_update_in_a_neighbour_s_name_tells_nobody_of_another_successor() {
    let mut net = classroom_net(&EXAMPLE);
    net.run(Duration::from_secs(20));
    let (victim, neighbour) = (small(2), small(4));
    let liar = Peer::new(Id::from_u64(3), "10.9.9.9:5555".parse().expect("an address"));
    net.script(liar, Vec::new());
    let before = (net.inside(victim.addr).successors().to_vec(), changes(&net, 2).len());
    for joined in [Some(liar), Some(small(14)), None] {
        for successors in [vec![liar], vec![small(14), small(8)]] {
            let update = Request::Ring(RingRequest::Update { successors, joined });
            net.inject(neighbour.addr, Sender::member(neighbour.id, neighbour.addr), victim.addr, Via::Tcp, update);
            net.run(Duration::from_secs(3));
            let after = (net.inside(victim.addr).successors().to_vec(), changes(&net, 2).len());
            assert_eq!(after, before, "{joined:?}");
        }
    }
    // One that was let in is told of as ever.
    net.start(classroom(3), false, &[addr(8)]);
    net.run(Duration::from_secs(3));
    let told = changes(&net, 2).into_iter().any(|(why, _)| why == SuccessorChange::Told { by: neighbour });
    assert!(!told, "peer 2 let it in itself");
    net.start(classroom(7), false, &[addr(8)]);
    net.run(Duration::from_secs(3));
    assert!(changes(&net, 4).contains(&(SuccessorChange::Told { by: small(5) }, vec![5, 7])), "{:?}", changes(&net, 4));
}
