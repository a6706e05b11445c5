//! Peers that say what they like: what they can bring about.

use std::net::SocketAddr;
use std::time::Duration;

use kadring::config::FIRST_TIMEOUT;
use kadring::id::Id;
use kadring::overlay::Overlay;
use kadring::overlay::ring::Ring;
use kadring::peer::Peer;
use kadring::wire::ring::RingRequest;
use kadring::wire::{Request, Sender, Via};

use crate::net::Net;
use crate::rings::{EXAMPLE, classroom_net, large, large_net};

/// A ping of this peer's, which takes the receiver for its first successor; or somebody says so.
fn ping(net: &mut Net<Ring>, from: Peer, to: &Peer) {
    let request = RingRequest::Ping { predecessors: Vec::new(), successors: vec![*to], quiet: true };
    let sender = Sender { peer: from, guest: false, leaving: false };
    net.inject(from.addr, sender, to.addr, Via::Udp, Request::Ring(request));
}

/// A ping from nowhere takes one of the places of those that spoke for themselves until nobody has answered there. One
/// host that sends a hundred a second takes all of them, and one is left to a newcomer on another host.
#[test]
fn a_hundred_pings_a_second_from_one_host_keep_no_newcomer_of_another_host_out() {
    let mut net = large_net(8);
    // What a node does as long as it has measured no round trip.
    net.timeout = FIRST_TIMEOUT;
    let peers = net.peers();
    let (before, victim) = (peers[3], peers[4]);
    let newcomer = (100..).map(large).find(|ring| ring.me().id.is_strictly_between(&before.id, &victim.id));
    let newcomer = newcomer.expect("a gap");
    let me = newcomer.me();
    let flood = |net: &mut Net<Ring>, number: u16| {
        let liar = SocketAddr::from(([10, 9, 9, 9], 1000 + number));
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
    let took = net.now.since(start);
    assert!(took < Duration::from_secs(1), "the newcomer was the victim's predecessor after {took:?}");
}

/// Anybody can send a datagram in a dead peer's name. Only answers are signs of life: however often a ping comes from its
/// address, whoever knew it finds out as soon as without, and nobody takes it back.
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
