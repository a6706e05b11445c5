//! Who is responsible for a key, and how a question about it gets there.

use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::ring::{Ring, RingEffect, RingOptions, RouteNotice};
use kadring::overlay::{Effect, Goal, Overlay};
use kadring::peer::Peer;

use super::rings::{EXAMPLE, WIDTH, classroom_net, ids, large, large_net, small};
use crate::net::{addr, clockwise};

/// SIGCOMM 4.2: "Key k is assigned to the first node whose identifier is equal to or follows k".
#[test]
fn the_owner_of_a_key_is_its_successor_at_every_key_from_every_peer() {
    let mut net = classroom_net(&EXAMPLE);
    for at in EXAMPLE {
        for key in 0..256 {
            let (found, _) = net.find(small(at).addr, Id::from_u64(key));
            let owner = EXAMPLE.iter().find(|id| **id >= key).unwrap_or(&2);
            assert_eq!(found[0], small(*owner), "key {key} asked at {at}");
            assert_eq!(found.len(), EXAMPLE.len().min(WIDTH));
        }
    }
}

/// SIGCOMM 4.2: keys above the greatest id belong to the smallest.
#[test]
fn the_circle_wraps() {
    let mut net = classroom_net(&[0, 255]);
    for (key, owner) in [(0, 0), (1, 255), (254, 255), (255, 255)] {
        assert_eq!(net.find(addr(0), Id::from_u64(key)).0[0], small(owner));
        assert_eq!(net.find(addr(255), Id::from_u64(key)).0[0], small(owner));
    }
}

/// A peer died, and another one was started at its address at once. Each of two peers may take the other for the owner
/// of what was the dead one's; no lookup goes to and fro between them.
#[test]
fn no_lookup_circles_where_another_peer_has_a_dead_one_s_address() {
    for seed in 0..30 {
        let mut net = large_net(8);
        net.run(Duration::from_secs(20 + seed));
        let peers = net.peers();
        let dead = peers[3];
        net.kill(dead.addr);
        let other = Peer::new(Id::of(&seed.to_be_bytes()), dead.addr);
        net.start(Ring::new(other, RingOptions::default()), false, &[peers[0].addr]);
        net.run(Duration::from_millis(50 + 20 * seed));
        let sent = net.sent;
        for peer in net.peers().into_iter().filter(|peer| *peer != other) {
            net.lookup(peer.addr, dead.id, Goal::Peers);
            net.run(Duration::from_millis(200));
        }
        net.run(Duration::from_secs(3));
        let took = net.sent - sent;
        assert!(took < 300, "{took} messages for 7 lookups and upkeep");
    }
}

/// SIGCOMM 4.3: a request may walk the circle by successors alone; then each peer between passes it on.
#[test]
fn without_fingers_a_request_walks_from_successor_to_successor() {
    let mut net = classroom_net(&EXAMPLE);
    let (found, hops) = net.find(addr(8), Id::from_u64(19));
    assert_eq!((ids(&found)[0], hops), (19, 3), "8 to 9 to 14 to 19");
    let forwarded: Vec<SocketAddr> = net
        .told
        .iter()
        .filter(|(_, _, effect)| matches!(effect, Effect::Ring(RingEffect::Notice(RouteNotice::Forwarded { .. }))))
        .map(|(_, at, _)| *at)
        .collect();
    assert_eq!(forwarded, [addr(9), addr(14)]);
}

/// SIGCOMM theorem 2: with high probability, O(log N) peers are asked; section 6.4 measures one half of log2 N.
#[test]
fn with_fingers_a_lookup_takes_about_half_the_logarithm_of_the_ring_in_hops() {
    let mut net = large_net(500);
    let peers = net.peers();
    let mut total = 0;
    for number in 0..300_u32 {
        let key = Id::of(&[b'k', number as u8, (number >> 8) as u8]);
        let (found, hops) = net.find(peers[number as usize % peers.len()].addr, key);
        assert_eq!(found[0], clockwise(&peers, &key)[0]);
        assert!(hops <= 10, "{hops} hops among 500 peers");
        total += hops;
    }
    let mean = f64::from(total) / 300.0;
    assert!(mean <= 0.5 * 500_f64.log2() + 1.0, "{mean} hops on average");
}

/// Nobody is pinged beside a lookup in a ring at rest but its asker, by the owner: it takes its hops, that ping with
/// its answer, and the owner's answer.
#[test]
fn in_a_ring_at_rest_a_lookup_takes_its_hops_and_three_messages() {
    let (mut net, mut idle) = (large_net(100), large_net(100));
    let peers = net.peers();
    let mut most = 0;
    for number in 0..50_u8 {
        let (_, hops) = net.find(peers[usize::from(number)].addr, Id::of(&[number]));
        most += u64::from(hops) + 3;
    }
    idle.run(net.now.since(idle.now));
    let messages = net.sent - idle.sent;
    assert!(messages <= most && messages > most / 2, "{messages} messages, {most} at most");
}

/// ToN IV-D: each peer keeps O(log N) fingers, which fix_fingers makes right after a join.
#[test]
fn fix_fingers_gives_a_new_peer_what_a_ring_at_rest_has() {
    let mut net = large_net(120);
    net.start(large(1_000), false, &[addr(5)]);
    net.run(Duration::from_secs(60));
    let mut right = large(1_000);
    right.fill(net.now, &net.peers());
    let fingers = |ring: &Ring| -> Vec<_> {
        ring.table()
            .into_iter()
            .filter(|row| row.label.starts_with("finger"))
            .map(|row| (row.label, row.peers))
            .collect()
    };
    assert_eq!(fingers(net.inside(addr(1_000))), fingers(&right));
    assert!((2..=12).contains(&fingers(&right).len()), "{} fingers", fingers(&right).len());
}

/// A guest asks members, and is known to none of them.
#[test]
fn a_guest_looks_up_and_leaves_no_trace() {
    let mut net = large_net(30);
    let guest =
        Ring::new(Peer::new(Id::of(b"guest"), addr(5_000)), RingOptions { guest: true, ..RingOptions::default() });
    net.start(guest, true, &[addr(3)]);
    net.run(Duration::from_secs(1));
    let peers = net.peers();
    for number in 0..20_u8 {
        let key = Id::of(&[number]);
        let mut right = clockwise(&peers, &key);
        right.truncate(WIDTH);
        assert_eq!(net.find(addr(5_000), key).0, right);
    }
    net.run(Duration::from_secs(60));
    assert!(peers.iter().all(|peer| net.inside(peer.addr).peers().iter().all(|known| known.addr != addr(5_000))));
}

/// A lookup for holders tells those that hold the block, and nobody else.
#[test]
fn holders_are_asked() {
    let mut net = large_net(30);
    let key = Id::of(b"block");
    let set = clockwise(&net.peers(), &key);
    net.hold(set[2].addr, key);
    net.hold(set[5].addr, key);
    let at = set[20].addr;
    let lookup = net.lookup(at, key, Goal::Holders);
    net.run(Duration::from_secs(2));
    let mut holders: Vec<Peer> = net
        .told
        .iter()
        .filter_map(|(_, _, effect)| match effect {
            Effect::Holder { lookup: id, peer } if *id == lookup => Some(*peer),
            _ => None,
        })
        .collect();
    holders.sort();
    let mut right = vec![set[2], set[5]];
    right.sort();
    assert_eq!(holders, right);
    assert_eq!(net.found(lookup).unwrap().0, set[..WIDTH]);
}
