//! Lookups: what they find, in how many steps, and whom they believe (section 2.3).

use std::net::IpAddr;

use kadring::id::Id;
use kadring::overlay::kademlia::{ALPHA, K, Kademlia};
use kadring::overlay::{Cause, Effect, Goal, Overlay};
use kadring::peer::Peer;
use kadring::wire::{Request, Response};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::peers::{ME, WIDTH, addr, alone, grown, nearest, nobody, peer, secs};

#[test]
fn s2_3_a_lookup_from_anywhere_finds_the_true_nearest() {
    let mut net = grown(150);
    let all = net.peers();
    let mut rng = StdRng::seed_from_u64(1);
    for n in 1..=150 {
        let key = Id::random(&mut rng);
        let (found, _) = net.find(addr(n), key);
        assert_eq!(found, nearest(all.clone(), &key, WIDTH), "asked by {n}");
    }
}

#[test]
fn s2_3_a_guest_that_nobody_has_met_finds_the_true_nearest_too() {
    let mut net = grown(60);
    let all = net.peers();
    let guest = Kademlia::new(peer(ME), [1; 32], true);
    net.start(guest, true, &[addr(30)]);
    net.run(secs(2));
    for n in 0..20 {
        let key = Id::of(&[n]);
        let (found, _) = net.find(addr(ME), key);
        assert_eq!(found, nearest(all.clone(), &key, WIDTH));
        assert!(!net.inside(addr(ME)).replica_set(&key, WIDTH).contains(&peer(ME)));
    }
    net.run(secs(20));
    assert!(all.iter().all(|other| !net.knows(other.addr, &peer(ME))), "nobody keeps a guest");
}

#[test]
fn s2_3_hops_grow_with_the_logarithm() {
    let longest = |count: u16, k: usize| {
        let mut net = nobody();
        let all: Vec<Peer> = (1..=count).map(peer).collect();
        for &me in &all {
            let mut overlay = Kademlia::with_bucket_size(me, *me.id.as_bytes(), false, k);
            let others: Vec<Peer> = all.iter().copied().filter(|other| *other != me).collect();
            overlay.fill(net.now, &others);
            net.add(overlay, false);
        }
        let (mut hops, mut whole) = (0, 0);
        for n in 1..=40 {
            let key = Id::of(&[n as u8, 7]);
            let (found, took) = net.find(addr(n % count + 1), key);
            let set = nearest(all.clone(), &key, WIDTH);
            assert_eq!(found[0], set[0]);
            whole += u32::from(found == set);
            hops = hops.max(took);
        }
        (hops, whole)
    };
    let ((small, all), (large, most), (usual, all_usual)) = (longest(30, 8), longest(480, 8), longest(480, K));
    // A bucket that holds hardly more than the set is not always enough for the last of it.
    assert!((all, all_usual) == (40, 40) && most >= 38, "{all}, {most} and {all_usual} whole sets of 40");
    assert!((1..=large).contains(&usual), "longer tables lead there in fewer: {usual} hops");
    assert!(small >= 1 && (2..=9).contains(&large), "{small} hops among 30, {large} among 480 (log2 = 9)");
    assert!(large - small <= 4, "16 times the peers are at most 4 more halvings");
}

#[test]
fn s2_3_alpha_questions_are_out_at_a_time() {
    let mut net = grown(60);
    net.run(secs(1));
    let before = net.asked.len();
    net.lookup(addr(7), Id::of(b"key"), Goal::Peers);
    let first = net.asked[before..].iter().filter(|asked| matches!(asked.request, Request::FindNode { .. })).count();
    assert_eq!(first, ALPHA);
}

#[test]
fn s2_3_holders_are_told_and_the_replica_set_is_found_all_the_same() {
    let mut net = grown(40);
    let key = Id::of(b"block");
    let mut set = nearest(net.peers(), &key, 40);
    let asker = set.split_off(WIDTH)[0].addr;
    set[..3].iter().for_each(|holder| net.hold(holder.addr, key));
    let lookup = net.lookup(asker, key, Goal::Holders);
    net.run(secs(60));
    assert_eq!(net.found(lookup).expect("the lookup ends").0, set);
    let mut holders: Vec<Peer> = net
        .told
        .iter()
        .filter_map(|(_, _, effect)| if let Effect::Holder { peer, .. } = effect { Some(*peer) } else { None })
        .collect();
    holders.sort_by_key(|peer| peer.id.distance(&key));
    assert_eq!(holders, set[..3]);
}

#[test]
fn dead_contacts_cost_a_lookup_little_and_never_stand_in_its_result() {
    let mut net = grown(60);
    let key = Id::of(b"anything");
    for dead in nearest(net.peers(), &key, 3) {
        net.kill(dead.addr);
    }
    let live = net.peers();
    let asker = live.iter().rev().max_by_key(|peer| peer.id.distance(&key)).unwrap().addr;
    let lookup = net.lookup(asker, key, Goal::Peers);
    net.run(secs(4));
    assert_eq!(net.found(lookup).expect("it takes 4 s at most").0, nearest(live, &key, WIDTH));
}

#[test]
fn a_slow_peer_does_not_stall_the_others_and_its_answer_still_counts() {
    let mut net = grown(60);
    let key = Id::of(b"slow");
    let set = nearest((1..=60).map(peer), &key, WIDTH);
    let delay = net.timeout * 5 / 2;
    net.slow_down(set[0].addr, delay);
    let asker = nearest((1..=60).map(peer), &key, 60)[50].addr;
    let began = net.now;
    let before = net.asked.len();
    let lookup = net.lookup(asker, key, Goal::Peers);
    net.run(secs(60));
    assert_eq!(net.found(lookup).expect("the lookup ends").0, set);
    let ended = |effect: &Effect| matches!(effect, Effect::Found { lookup: id, .. } if *id == lookup);
    let ended = net.told.iter().find(|(_, _, effect)| ended(effect)).expect("it was told").0;
    let last = net.asked[before..].iter().filter(|asked| asked.from == asker && asked.to != set[0].addr).map(|a| a.at);
    let last = last.filter(|at| *at < ended).max().unwrap();
    assert!(last.since(began) < delay, "the others were asked meanwhile");
}

#[test]
fn answers_that_come_too_late_or_twice_do_no_harm() {
    let mut net = grown(20);
    net.with(addr(1), |overlay, now, out| {
        let peers = overlay.peers();
        for tag in 0..5000 {
            let response = Response::Nodes(peers.clone());
            overlay.on(now, Cause::Answer { tag, from: addr(3), by: None, response: &response }, out);
            overlay.on(now, Cause::NoAnswer { tag, to: peer(3).into() }, out);
        }
        overlay.lookup(now, 1 << 50, Id::of(b"x"), Goal::Peers, out);
        overlay.cancel(1 << 50);
    });
    net.run(secs(5));
    assert!(net.found(1 << 50).is_none(), "a lookup that was cancelled finds nothing");
    assert_eq!(net.inside(addr(1)).peers().len(), 19);
}

#[test]
fn liars_cannot_put_the_dead_or_the_misnamed_into_a_result() {
    let mut net = grown(60);
    let key = Id::of(b"target");
    // Three members turn: whatever they are asked, they name ids next to the key, at dead and at honest addresses.
    for liar in [5, 6, 7] {
        net.kill(addr(liar));
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
        let (found, _) = net.find(addr(asker), key);
        assert_eq!(found, nearest(honest.clone(), &key, WIDTH), "asked by {asker}");
        assert!(net.asked.len() - before < 600, "{} questions", net.asked.len() - before);
    }
    let known = net.inside(addr(1)).peers();
    assert!(known.iter().all(|contact| honest.contains(contact)));
}

/// Whoever answers a lookup names whom he likes, and each name is a question to that address. Many at one address of
/// the internet bring it few, and an address that the namer cannot reach itself gets none, nor a ping afterwards.
#[test]
fn names_bring_an_address_of_the_internet_few_questions_and_a_more_private_one_none() {
    let mut net = alone();
    let key = Id::of(b"target");
    let victims: [IpAddr; 3] = [[198, 51, 100, 9], [127, 0, 0, 1], [192, 168, 0, 1]].map(Into::into);
    for liar in 0..7_u8 {
        let me = Peer::new(Id::of(&[liar]), ([203, 0, liar, 1], 4000).into());
        net.meet(me);
        let name = |n: u8| {
            let (number, victim) = (liar * 9 + n, victims[[1, 2, 0, 0, 0, 0, 0, 0, 0][usize::from(n)]]);
            Peer::new(key.flip_bit((255 - number).into()), (victim, 1000 + u16::from(number)).into())
        };
        net.script(me, (0..9).map(name).collect());
    }
    let before = net.asked.len();
    net.find(addr(ME), key);
    net.run(secs(5));
    let asked = |victim: &IpAddr| net.asked[before..].iter().filter(|asked| asked.to.ip() == *victim).count();
    let counts = victims.each_ref().map(asked);
    assert!((1..=12).contains(&counts[0]) && counts[1..] == [0, 0], "{counts:?}");
}

#[test]
fn replica_sets_are_the_nearest_and_regions_go_as_far_as_they_are_the_same() {
    let net = grown(40);
    let overlay = net.inside(addr(9));
    let all: Vec<Peer> = overlay.peers().into_iter().chain([overlay.me()]).collect();
    for n in 0..50_u8 {
        let key = Id::of(&[n, 1]);
        let set = nearest(all.clone(), &key, WIDTH);
        assert_eq!(overlay.replica_set(&key, WIDTH), set);
        let region = overlay.region(&key, WIDTH);
        assert_eq!(region.members, set);
        for end in [region.first, region.last] {
            let mut there = nearest(all.clone(), &end, WIDTH);
            there.sort_by_key(|peer| peer.id.distance(&key));
            assert_eq!(there, set, "from {} to {}", region.first, region.last);
        }
    }
}
