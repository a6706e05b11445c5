//! Peers whose machines get other addresses while they run, or their first one late, on each overlay.

use std::net::SocketAddr;
use std::time::Duration;

use crate::net::{Net, addr, by_distance, clockwise};
use kadring::config::WIDTH;
use kadring::id::Id;
use kadring::overlay::kademlia::Kademlia;
use kadring::overlay::ring::{Ring, RingOptions};
use kadring::overlay::{Cause, Effect, Entrances, Goal, Overlay, OverlayKind};
use kadring::peer::Peer;
use kadring::wire::{Request, Sender, Via};

type Anyone = Box<dyn Overlay>;

/// A live peer finds out within this time that its machine has another address.
const NOTICED: Duration = Duration::from_secs(2);

const OVERLAYS: [OverlayKind; 2] = [OverlayKind::Kademlia, OverlayKind::Ring];

fn build(overlay: OverlayKind, me: Peer) -> Anyone {
    match overlay {
        OverlayKind::Kademlia => Box::new(Kademlia::new(me, *me.id.as_bytes(), false)),
        OverlayKind::Ring => Box::new(Ring::new(me, RingOptions::default())),
    }
}

fn peer_at(number: u32, addr: SocketAddr) -> Peer {
    Peer::new(Id::of(&number.to_be_bytes()), addr)
}

/// A network of `count` peers at rest, which joined through the first one.
fn network(overlay: OverlayKind, count: u32) -> Net<Anyone> {
    let mut net = Net::new(u64::from(count));
    for number in 0..count {
        let known: Vec<SocketAddr> = (number > 0).then(|| addr(0)).into_iter().collect();
        net.start(build(overlay, peer_at(number, addr(number))), false, &known);
        net.run(Duration::from_millis(200));
    }
    net.run(Duration::from_secs(60));
    net
}

/// The peer at `from` is at `to` from now on, and finds that out as soon as it looks.
fn move_peer(net: &mut Net<Anyone>, from: SocketAddr, to: SocketAddr) {
    net.renumber(from, to);
    net.run(NOTICED);
    net.with(to, |overlay, now, out| overlay.on(now, Cause::Moved { addr: to }, out));
    assert_eq!(net.overlay(to).me().addr, to);
}

/// Whether all peers know all others, each where it is.
fn all_meet(net: &Net<Anyone>) -> bool {
    let peers = net.peers();
    let meets = |one: &Peer| {
        let mut known = net.overlay(one.addr).peers();
        known.retain(|known| known.id != one.id);
        known.len() == peers.len() - 1 && known.iter().all(|known| peers.contains(known))
    };
    peers.iter().all(meets)
}

fn until_all_meet(net: &mut Net<Anyone>, limit: Duration, what: &str) {
    let begun = net.now;
    while !all_meet(net) {
        assert!(net.now.since(begun) < limit, "{what}: not within {limit:?}");
        net.run(Duration::from_millis(100));
    }
    println!("{what}: after {:?}", net.now.since(begun));
}

/// Two peers that knew each other, and nobody else, and are both elsewhere now.
fn two_that_moved(overlay: OverlayKind) -> (Net<Anyone>, [SocketAddr; 2]) {
    let mut net = network(overlay, 2);
    for number in 0..2 {
        move_peer(&mut net, addr(number), addr(20 + number));
    }
    net.run(Duration::from_secs(120));
    assert!(net.peers().iter().all(|peer| net.overlay(peer.addr).peers().is_empty()), "{overlay:?}: each is alone");
    (net, [addr(20), addr(21)])
}

#[test]
fn a_peer_that_is_started_before_its_network_joins_once_that_is_up() {
    for overlay in OVERLAYS {
        for up_after in [1, 7, 15, 300] {
            let mut net = network(overlay, 6);
            // What a peer tells of itself whose machine has no other address.
            let nowhere = SocketAddr::from(([127, 0, 0, 1], 4000));
            net.add(build(overlay, peer_at(9, nowhere)), false);
            net.cut(|peer| u8::from(peer.addr == nowhere));
            net.join(nowhere, &[addr(0)]);
            net.run(Duration::from_secs(up_after));
            net.mend();
            move_peer(&mut net, nowhere, addr(9));
            until_all_meet(&mut net, Duration::from_secs(15), &format!("{overlay:?}, up after {up_after} s"));
        }
    }
}

#[test]
fn a_peer_that_moves_while_it_runs_is_known_where_it_is_and_looks_up_at_once() {
    for (overlay, nearest) in OVERLAYS.into_iter().zip([by_distance, clockwise]) {
        let mut net = network(overlay, 8);
        move_peer(&mut net, addr(3), addr(33));
        let begun = net.now;
        for key in (0..20_u8).map(|key| Id::of(&[key])) {
            assert!(!net.find(addr(33), key).0.is_empty());
        }
        assert!(net.now.since(begun) < Duration::from_secs(10), "{overlay:?}: {:?}", net.now.since(begun));
        until_all_meet(&mut net, Duration::from_secs(40), &format!("{overlay:?}, one of 8 moved"));
        for key in (0..20_u8).map(|key| Id::of(&[key])) {
            let mut right = nearest(&net.peers(), &key);
            right.truncate(WIDTH);
            assert_eq!(net.find(addr(33), key).0, right, "{overlay:?}");
        }
    }
}

/// What a peer asks between the time that its machine moves and the time that it notices, is answered where it was.
#[test]
fn on_the_ring_who_moves_is_known_where_it_is_within_seconds_and_what_it_asks_meanwhile_is_answered_as_soon() {
    for mover in 0..8 {
        let mut net = network(OverlayKind::Ring, 8);
        net.renumber(addr(mover), addr(33));
        let lookups: Vec<_> = (0..20_u8).map(|key| net.lookup(addr(33), Id::of(&[key]), Goal::Peers)).collect();
        net.run(NOTICED);
        net.with(addr(33), |overlay, now, out| overlay.on(now, Cause::Moved { addr: addr(33) }, out));
        let noticed = net.now;
        while lookups.iter().any(|lookup| net.found(*lookup).is_none()) {
            net.run(Duration::from_millis(100));
            assert!(net.now.since(noticed) < Duration::from_secs(1), "peer {mover} moves: a lookup has no end");
        }
        until_all_meet(&mut net, Duration::from_secs(3), &format!("peer {mover} moves, and has noticed it"));
    }
}

#[test]
fn on_the_ring_who_is_started_again_at_another_address_is_known_there_within_seconds() {
    for (door, gone) in [0, 1, 5].into_iter().flat_map(|door| [(door, false), (door, true)]) {
        let mut net = network(OverlayKind::Ring, 8);
        if gone {
            net.vanish(addr(3));
        } else {
            net.kill(addr(3));
        }
        net.run(NOTICED);
        net.start(build(OverlayKind::Ring, peer_at(3, addr(33))), false, &[addr(door)]);
        let (begun, limit) = (net.now, Duration::from_secs(5));
        while !(0..8).filter(|number| *number != 3).all(|number| net.knows(addr(number), &peer_at(3, addr(33)))) {
            net.run(Duration::from_millis(100));
            assert!(net.now.since(begun) < limit, "through peer {door}; its machine is gone: {gone}");
        }
        println!("through peer {door}; its machine is gone: {gone}; after {:?}", net.now.since(begun));
    }
}

/// Two machines may run with one id, for a data folder was copied.
#[test]
fn on_the_ring_a_peer_that_is_there_keeps_its_place_from_another_one_that_comes_with_its_id() {
    let mut net = network(OverlayKind::Ring, 8);
    let before = net.told.len();
    net.start(build(OverlayKind::Ring, peer_at(3, addr(33))), false, &[addr(5)]);
    net.run(Duration::from_secs(120));
    for number in (0..8).filter(|number| *number != 3) {
        assert!(net.knows(addr(number), &peer_at(3, addr(3))), "peer {number}");
    }
    let gone = |effect: &Effect| matches!(effect, Effect::PeerDown(_));
    assert!(!net.told[before..].iter().any(|(_, at, effect)| *at != addr(33) && gone(effect)), "nobody is missed");
}

#[test]
fn two_that_both_moved_meet_where_the_names_of_one_lead_to_the_other_by_now() {
    for overlay in OVERLAYS {
        let (mut net, [other, named]) = two_that_moved(overlay);
        let ways = Entrances { known: &[named], ..Entrances::default() };
        net.with(other, |overlay, now, out| overlay.on(now, Cause::Ways(&ways), out));
        until_all_meet(&mut net, Duration::from_secs(5), &format!("{overlay:?}, by name"));
    }
}

#[test]
fn two_that_both_moved_meet_once_the_user_of_one_pings_the_other() {
    for overlay in OVERLAYS {
        let (mut net, [one, other]) = two_that_moved(overlay);
        let sender = Sender::member(net.overlay(one).me().id, one);
        net.inject(one, sender, other, Via::Udp, Request::Ping);
        until_all_meet(&mut net, Duration::from_secs(15), &format!("{overlay:?}, by a ping that comes"));
    }
    // On the ring, who is in a network hears pings of strangers all the time: it is the one alone that acts, even as
    // the one that asks.
    let (mut net, [one, other]) = two_that_moved(OverlayKind::Ring);
    net.with(one, |overlay, now, out| overlay.on(now, Cause::Alive { addr: other }, out));
    until_all_meet(&mut net, Duration::from_secs(15), "Ring, by a ping that is answered");
}
