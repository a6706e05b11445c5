//! Lookups: what they find, in how many steps, and whom they believe (section 2.3).

use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::kademlia::{ALPHA, Kademlia};
use kadring::overlay::{Cause, Goal, Overlay};
use kadring::peer::Peer;
use kadring::wire::{Request, Response};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::kademlia_net::{Net, addr, nearest, peer};
use crate::peers::{ME, WIDTH, secs};

#[test]
fn s2_3_a_lookup_from_anywhere_finds_the_true_nearest() {
    let mut net = Net::grown(150);
    let all: Vec<Peer> = net.peers.values().map(|overlay| overlay.me()).collect();
    let mut rng = StdRng::seed_from_u64(1);
    for n in 1..=150 {
        let key = Id::random(&mut rng);
        let (_, found) = net.look_up(addr(n), key, Goal::Peers);
        assert_eq!(found.peers, nearest(all.clone(), &key, WIDTH), "asked by {n}");
    }
}

#[test]
fn s2_3_a_guest_that_nobody_has_met_finds_the_true_nearest_too() {
    let mut net = Net::grown(60);
    let all: Vec<Peer> = net.peers.values().map(|overlay| overlay.me()).collect();
    net.add(peer(ME), true);
    net.join(addr(ME), &[addr(30)]);
    net.run_for(secs(2));
    for n in 0..20 {
        let key = Id::of(&[n]);
        let (_, found) = net.look_up(addr(ME), key, Goal::Peers);
        assert_eq!(found.peers, nearest(all.clone(), &key, WIDTH));
        assert!(!net.peers[&addr(ME)].replica_set(&key, WIDTH).contains(&peer(ME)));
    }
    net.run_for(secs(20));
    assert!(net.peers.values().all(|overlay| !overlay.peers().contains(&peer(ME))), "nobody keeps a guest");
}

#[test]
fn s2_3_hops_grow_with_the_logarithm() {
    let longest = |count: u16| {
        let mut net = Net::default();
        let all: Vec<Peer> = (1..=count).map(peer).collect();
        for &me in &all {
            let mut overlay = Kademlia::with_bucket_size(me, *me.id.as_bytes(), false, 8);
            let others: Vec<Peer> = all.iter().copied().filter(|other| *other != me).collect();
            overlay.fill(net.now, &others);
            net.add_overlay(overlay, false);
        }
        let mut hops = 0;
        for n in 1..=40 {
            let key = Id::of(&[n as u8, 7]);
            let (_, found) = net.look_up(addr(n % count + 1), key, Goal::Peers);
            assert_eq!(found.peers, nearest(all.clone(), &key, WIDTH));
            hops = hops.max(found.hops);
        }
        hops
    };
    let (small, large) = (longest(30), longest(480));
    assert!(small >= 1 && (2..=9).contains(&large), "{small} hops among 30, {large} among 480 (log2 = 9)");
    assert!(large - small <= 4, "16 times the peers are at most 4 more halvings");
}

#[test]
fn s2_3_alpha_questions_are_out_at_a_time() {
    let mut net = Net::grown(60);
    net.run_for(secs(1));
    let before = net.asked.len();
    net.call(addr(7), |overlay, now, out| overlay.lookup(now, 1 << 40, Id::of(b"key"), Goal::Peers, out));
    let first = net.asked[before..].iter().filter(|asked| matches!(asked.request, Request::FindNode { .. })).count();
    assert_eq!(first, ALPHA);
}

#[test]
fn s2_3_holders_are_told_and_the_replica_set_is_found_all_the_same() {
    let mut net = Net::grown(40);
    let key = Id::of(b"block");
    let all: Vec<Peer> = (1..=40).map(peer).collect();
    let set = nearest(all, &key, WIDTH);
    for holder in &set[..3] {
        let overlay = net.peers.remove(&holder.addr).unwrap();
        let (holder, names) = (*holder, nearest(overlay.peers(), &key, WIDTH));
        net.scripted.insert(
            holder.addr,
            Box::new(move |request| {
                Some(match request {
                    Request::FindNode { .. } => Response::Nodes(names.clone()),
                    _ => Response::Node(holder),
                })
            }),
        );
    }
    let asker = net.peers.keys().copied().find(|addr| set.iter().all(|peer| peer.addr != *addr)).unwrap();
    let (lookup, found) = net.look_up(asker, key, Goal::Holders);
    assert_eq!(found.peers, set);
    let mut holders = net.holders[&lookup].clone();
    holders.sort_by_key(|peer| peer.id.distance(&key));
    assert_eq!(holders, set[..3]);
}

#[test]
fn dead_contacts_cost_a_lookup_little_and_never_stand_in_its_result() {
    let mut net = Net::grown(60);
    let key = Id::of(b"anything");
    let all: Vec<Peer> = (1..=60).map(peer).collect();
    for dead in nearest(all.clone(), &key, 3) {
        net.dead.insert(dead.addr);
    }
    let live = all.into_iter().filter(|peer| !net.dead.contains(&peer.addr)).collect::<Vec<_>>();
    let asker = live.iter().rev().max_by_key(|peer| peer.id.distance(&key)).unwrap().addr;
    let began = net.now;
    let (_, found) = net.look_up(asker, key, Goal::Peers);
    assert_eq!(found.peers, nearest(live, &key, WIDTH));
    assert!(found.at.since(began) <= secs(4), "it took {:?}", found.at.since(began));
}

#[test]
fn a_slow_peer_does_not_stall_the_others_and_its_answer_still_counts() {
    let mut net = Net::grown(60);
    let key = Id::of(b"slow");
    let set = nearest((1..=60).map(peer), &key, WIDTH);
    let delay = Duration::from_millis(450);
    net.slow.insert(set[0].addr, delay);
    let asker = nearest((1..=60).map(peer), &key, 60)[50].addr;
    let began = net.now;
    let before = net.asked.len();
    let (_, found) = net.look_up(asker, key, Goal::Peers);
    assert_eq!(found.peers, set);
    let last = net.asked[before..].iter().filter(|asked| asked.from == asker && asked.to != set[0].addr).map(|a| a.at);
    let last = last.filter(|at| *at <= found.at).max().unwrap();
    assert!(last.since(began) < delay, "the others were asked meanwhile");
}

#[test]
fn answers_that_come_too_late_or_twice_do_no_harm() {
    let mut net = Net::grown(20);
    net.call(addr(1), |overlay, now, out| {
        let peers = overlay.peers();
        for tag in 0..5000 {
            let response = Response::Nodes(peers.clone());
            overlay.on(now, Cause::Answer { tag, from: addr(3), by: None, response: &response }, out);
            overlay.on(now, Cause::NoAnswer { tag, to: peer(3).into() }, out);
        }
        overlay.lookup(now, 1 << 50, Id::of(b"x"), Goal::Peers, out);
        overlay.cancel(1 << 50);
    });
    net.run_for(secs(5));
    assert!(!net.found.contains_key(&(1 << 50)), "a lookup that was cancelled finds nothing");
    assert_eq!(net.peers[&addr(1)].peers().len(), 19);
}

#[test]
fn liars_cannot_put_the_dead_or_the_misnamed_into_a_result() {
    let mut net = Net::grown(60);
    let key = Id::of(b"target");
    // Three members turn: whatever they are asked, they name ids next to the key, at dead and at honest addresses.
    for liar in [5, 6, 7] {
        net.peers.remove(&addr(liar));
        let mut names: Vec<Peer> =
            (0..40).map(|n| Peer::new(key.flip_bit(255 - usize::from(n)), addr(5000 + liar * 100 + n))).collect();
        for n in 0..3 {
            names.insert(0, Peer::new(key.flip_bit(200 - usize::from(liar * 3 + n)), addr(20 + liar * 3 + n)));
        }
        names.insert(0, Peer::new(key.flip_bit(100), addr(liar)));
        net.script(peer(liar), names);
    }
    let honest: Vec<Peer> = (1..=60).map(peer).collect();
    for asker in [1, 10, 33] {
        let before = net.asked.len();
        let (_, found) = net.look_up(addr(asker), key, Goal::Peers);
        assert_eq!(found.peers, nearest(honest.clone(), &key, WIDTH), "asked by {asker}");
        assert!(net.asked.len() - before < 600, "{} questions", net.asked.len() - before);
    }
    let known = net.peers[&addr(1)].peers();
    assert!(known.iter().all(|contact| honest.contains(contact)));
}

#[test]
fn whom_a_change_concerns_agrees_with_the_replica_sets() {
    let net = Net::grown(40);
    let overlay = &net.peers[&addr(9)];
    let all: Vec<Peer> = overlay.peers().into_iter().chain([overlay.me()]).collect();
    for n in 0..50_u8 {
        let key = Id::of(&[n, 1]);
        for peer in &all {
            let among = nearest(all.clone(), &key, WIDTH).contains(peer);
            assert_eq!(overlay.concerns(&key, peer, WIDTH), among);
            assert_eq!(overlay.replica_set(&key, WIDTH).contains(peer), among);
        }
    }
}
