//! What the Kademlia paper promises, a test for each promise (Maymounkov and Mazières 2002), and what we promise beyond.

use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::kademlia::{ALPHA, K, Kademlia};
use kadring::overlay::{Effect, Goal, Overlay};
use kadring::peer::Peer;
use kadring::wire::{Request, Response, Sender};
use rand::SeedableRng;
use rand::rngs::StdRng;

use kademlia_net::{Net, addr, id_sharing, nearest, peer};

mod kademlia_net;

const ME: u16 = 9000;
const WIDTH: usize = 7;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A network of one overlay, `peer(ME)`, and whoever a test adds.
fn alone() -> Net {
    let mut net = Net::default();
    net.add(peer(ME), false);
    net.join(addr(ME), &[]);
    net
}

/// Contact number `n` of the bucket `prefix` of `peer(ME)`.
fn in_bucket(prefix: usize, n: u16) -> Peer {
    Peer::new(id_sharing(&peer(ME).id, prefix, n), addr(n))
}

// Section 2.1, 2.2: the table.

#[test]
fn s2_2_contacts_stand_in_the_bucket_of_their_common_prefix_and_a_bucket_holds_k() {
    let mut net = alone();
    for prefix in 0..5 {
        for n in 0..25 {
            net.meet(in_bucket(prefix, prefix as u16 * 100 + n + 1), addr(ME));
        }
    }
    let overlay = &net.peers[&addr(ME)];
    let rows = overlay.table();
    assert_eq!(rows.len(), 5);
    for (prefix, row) in rows.iter().enumerate() {
        assert_eq!(row.label, format!("bucket {prefix}"));
        assert_eq!(row.peers.len(), K);
        assert_eq!(row.spare, 5);
        assert!(row.peers.iter().all(|peer| peer.id.distance(&overlay.me().id).leading_zeros() == prefix));
    }
}

#[test]
fn s2_2_the_least_recently_seen_stands_first_and_an_answer_moves_to_the_end() {
    let mut net = alone();
    for n in 1..=3 {
        net.meet(in_bucket(0, n), addr(ME));
    }
    net.call(addr(ME), |overlay, now, out| overlay.on_alive(now, addr(1), Duration::from_millis(1), out));
    let order: Vec<_> = net.peers[&addr(ME)].table()[0].peers.iter().map(|peer| peer.addr).collect();
    assert_eq!(order, [addr(2), addr(3), addr(1)]);
}

#[test]
fn s2_2_a_live_contact_keeps_its_place_from_a_newcomer() {
    let mut net = alone();
    for n in 1..=K as u16 {
        net.meet(in_bucket(0, n), addr(ME));
    }
    net.run_for(secs(60));
    let before = net.asked.len();
    let oldest = net.peers[&addr(ME)].table()[0].peers[0];
    net.meet(in_bucket(0, 100), addr(ME));
    assert_eq!(net.asked_of(oldest.addr, before).first(), Some(&Request::Ping), "the oldest is pinged first");
    net.run_for(secs(10));
    assert!(net.knows(addr(ME), &oldest) && !net.knows(addr(ME), &in_bucket(0, 100)));
}

#[test]
fn a_newcomer_s_ping_makes_nobody_ping_and_still_lets_it_wait() {
    // Else each ping would lead to another, and a large network never come to rest.
    let mut net = alone();
    for n in 1..=K as u16 {
        net.meet(in_bucket(0, n), addr(ME));
    }
    net.run_for(secs(60));
    let oldest = net.peers[&addr(ME)].table()[0].peers[0];
    let before = net.asked.len();
    let newcomer = in_bucket(0, 100);
    net.request(Sender::member(newcomer.id, newcomer.addr), addr(ME), &Request::Ping);
    assert_eq!(net.asked_of(oldest.addr, before), []);
    assert_eq!(net.peers[&addr(ME)].table()[0].spare, 1);
}

#[test]
fn s2_2_a_dead_contact_loses_its_place_to_a_newcomer() {
    let mut net = alone();
    for n in 1..=K as u16 {
        net.meet(in_bucket(0, n), addr(ME));
    }
    net.run_for(secs(60));
    let oldest = net.peers[&addr(ME)].table()[0].peers[0];
    net.dead.insert(oldest.addr);
    net.meet(in_bucket(0, 100), addr(ME));
    assert!(net.knows(addr(ME), &oldest), "it is given the time to answer");
    net.run_for(secs(10));
    assert!(!net.knows(addr(ME), &oldest) && net.knows(addr(ME), &in_bucket(0, 100)));
    let news: Vec<_> = net.news.iter().rev().take(2).map(|(_, effect)| effect.clone()).collect();
    assert_eq!(news, [Effect::PeerUp(in_bucket(0, 100)), Effect::PeerDown(oldest)]);
}

#[test]
fn s4_1_spares_take_free_places_the_latest_first_once_they_answer() {
    let mut net = alone();
    for n in 1..=K as u16 {
        net.meet(in_bucket(0, n), addr(ME));
    }
    for n in 101..=103 {
        net.meet(in_bucket(0, n), addr(ME));
    }
    assert_eq!(net.peers[&addr(ME)].table()[0].spare, 3);
    net.dead.insert(addr(103));
    net.dead.insert(addr(5));
    let key = in_bucket(0, 5).id;
    net.look_up(addr(ME), key, Goal::Peers);
    net.run_for(secs(10));
    assert!(!net.knows(addr(ME), &in_bucket(0, 5)), "it left a request and a ping unanswered");
    assert!(!net.knows(addr(ME), &in_bucket(0, 103)), "dead spares get no place");
    assert!(net.knows(addr(ME), &in_bucket(0, 102)), "the latest live spare does");
    assert!(!net.knows(addr(ME), &in_bucket(0, 101)));
}

#[test]
fn a_peer_enters_only_after_it_answered_and_only_as_who_it_says_it_is() {
    let mut net = alone();
    let claim = |n: u16| Sender::member(in_bucket(0, n).id, addr(n));
    net.introduce(claim(1), addr(ME));
    net.run_for(secs(5));
    assert!(net.peers[&addr(ME)].peers().is_empty(), "silence proves nothing");

    net.script(peer(2), vec![]);
    net.introduce(claim(2), addr(ME));
    net.run_for(secs(5));
    assert_eq!(net.peers[&addr(ME)].peers(), [peer(2)], "its own answer counts, not its claim");

    let guest = Sender { guest: true, ..claim(3) };
    net.script(guest.peer, vec![]);
    net.introduce(guest, addr(ME));
    net.introduce(Sender::member(peer(ME).id, addr(4)), addr(ME));
    net.introduce(Sender::member(peer(5).id, "0.0.0.0:9".parse().unwrap()), addr(ME));
    net.introduce(Sender::member(peer(6).id, "10.0.0.6:0".parse().unwrap()), addr(ME));
    net.introduce(Sender::member(peer(7).id, "224.0.0.1:9".parse().unwrap()), addr(ME));
    let before = net.asked.len();
    net.run_for(secs(2));
    assert_eq!(net.peers[&addr(ME)].peers(), [peer(2)]);
    assert!(net.asked[before..].iter().all(|asked| asked.to == addr(2) || asked.to == addr(1)));
}

#[test]
fn a_known_id_changes_its_address_only_when_the_old_one_is_silent() {
    let mut net = alone();
    let (old, new) = (in_bucket(0, 1), Peer::new(in_bucket(0, 1).id, addr(2)));
    net.meet(old, addr(ME));
    net.meet(new, addr(ME));
    net.run_for(secs(10));
    assert_eq!(net.peers[&addr(ME)].peers(), [old], "nobody takes a live peer's place");
    net.dead.insert(old.addr);
    net.meet(new, addr(ME));
    net.run_for(secs(10));
    assert_eq!(net.peers[&addr(ME)].peers(), [new]);
}

#[test]
fn a_peer_that_comes_back_under_another_id_replaces_its_former_self() {
    let mut net = alone();
    let (old, new) = (in_bucket(0, 1), Peer::new(in_bucket(3, 9).id, addr(1)));
    net.meet(old, addr(ME));
    net.meet(new, addr(ME));
    net.run_for(secs(5));
    assert_eq!(net.peers[&addr(ME)].peers(), [new]);
    assert!(net.news.contains(&(addr(ME), Effect::PeerDown(old))));
}

#[test]
fn a_flood_of_strangers_makes_few_pings_and_no_contacts() {
    let mut net = alone();
    for n in 1..2000 {
        net.introduce(Sender::member(peer(n).id, addr(n)), addr(ME));
    }
    net.run_for(secs(1));
    assert!(net.asked.len() < 150, "{} pings in a second", net.asked.len());
    assert!(net.peers[&addr(ME)].peers().is_empty());
}

// Section 2.3: lookup, join, refresh.

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
fn s2_3_a_join_fills_the_buckets_and_makes_the_newcomer_known() {
    let mut net = Net::grown(80);
    net.add(peer(ME), false);
    net.join(addr(ME), &[addr(17)]);
    net.run_for(secs(5));
    assert_eq!(net.joined[&addr(ME)].len(), 1);
    assert!(net.joined[&addr(ME)][0] >= WIDTH);
    let me = peer(ME);
    let others: Vec<Peer> = (1..=80).map(peer).collect();
    for neighbour in nearest(others.clone(), &me.id, WIDTH) {
        assert!(net.knows(addr(ME), &neighbour), "the newcomer knows its neighbours");
        assert!(net.knows(neighbour.addr, &me), "its neighbours know the newcomer");
    }
    let prefix = |other: &Peer| other.id.distance(&me.id).leading_zeros();
    let known = net.peers[&addr(ME)].peers();
    for bucket in others.iter().map(prefix) {
        assert!(known.iter().any(|other| prefix(other) == bucket), "bucket {bucket} is empty");
    }
}

#[test]
fn s2_3_a_bucket_without_lookups_is_refreshed_within_the_hour() {
    let mut net = alone();
    net.meet(in_bucket(0, 1), addr(ME));
    net.meet(in_bucket(4, 2), addr(ME));
    net.run_for(secs(60));
    let before = net.asked.len();
    net.run_for(secs(3500));
    let targets = |net: &Net, before: usize| -> Vec<usize> {
        let looked_for = net.asked[before..].iter().filter_map(|asked| match asked.request {
            // For its own id it asks its neighbours now and then.
            Request::FindNode { id } if id != peer(ME).id => Some(id.distance(&peer(ME).id).leading_zeros()),
            _ => None,
        });
        looked_for.collect()
    };
    assert_eq!(targets(&net, before), Vec::<usize>::new(), "not before");
    net.run_for(secs(200));
    let refreshed = targets(&net, before);
    assert!(refreshed.contains(&0) && refreshed.contains(&4), "{refreshed:?}");
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
fn one_two_and_three_peers_are_a_network() {
    let mut net = Net::default();
    for n in 1..=3_u16 {
        net.add(peer(n), false);
        let known: Vec<_> = (1..n).map(addr).collect();
        net.join(addr(n), &known);
        net.run_for(secs(3));
        assert_eq!(net.joined[&addr(n)], [usize::from(n) - 1]);
        for asker in 1..=n {
            let key = Id::of(&[asker as u8]);
            let (_, found) = net.look_up(addr(asker), key, Goal::Peers);
            assert_eq!(found.peers, nearest((1..=n).map(peer), &key, WIDTH));
            assert_eq!(net.peers[&addr(asker)].replica_set(&key, WIDTH), found.peers);
        }
    }
}

#[test]
fn peers_that_start_at_once_and_name_each_other_all_meet() {
    let mut net = Net::default();
    for n in 1..=20 {
        net.add(peer(n), false);
    }
    for n in 1..=20 {
        net.join(addr(n), &[addr(n % 20 + 1), addr(n)]);
    }
    net.run_for(secs(10));
    for n in 1..=20 {
        assert_eq!(net.peers[&addr(n)].peers().len(), 19, "peer {n}");
        assert_eq!(net.joined[&addr(n)].len(), 1);
    }
}

#[test]
fn a_silent_bootstrap_address_is_tried_until_it_answers() {
    let mut net = Net::default();
    net.add(peer(1), false);
    net.join(addr(1), &[addr(2)]);
    net.run_for(secs(20));
    assert_eq!(net.joined[&addr(1)], [0], "the peer is ready though alone");
    net.add(peer(2), false);
    net.join(addr(2), &[]);
    net.run_for(secs(31));
    assert!(net.knows(addr(1), &peer(2)) && net.knows(addr(2), &peer(1)));
    assert_eq!(net.joined[&addr(1)], [0], "a join is announced once");
}

// Section 2.3, 4: peers that go, are slow, or lie.

#[test]
fn the_death_of_a_neighbour_is_noticed_within_ten_seconds() {
    let mut net = Net::grown(30);
    let victim = peer(11);
    net.dead.insert(victim.addr);
    let neighbours: Vec<_> = net
        .peers
        .values()
        .filter(|overlay| overlay.me() != victim)
        .map(|overlay| {
            let near = nearest(overlay.peers(), &overlay.me().id, WIDTH).contains(&victim);
            (overlay.me().addr, near)
        })
        .collect();
    net.run_for(secs(10));
    let near: Vec<_> = neighbours.iter().filter(|(_, near)| *near).collect();
    assert!(!near.is_empty());
    for (addr, _) in near {
        assert!(!net.knows(*addr, &victim), "{addr} still knows the dead");
        assert!(net.news.contains(&(*addr, Effect::PeerDown(victim))));
    }
    let (_, found) = net.look_up(addr(3), victim.id, Goal::Peers);
    let live = (1..=30).filter(|&n| n != 11).map(peer);
    assert_eq!(found.peers, nearest(live, &victim.id, WIDTH));
}

#[test]
fn a_goodbye_is_believed_only_from_the_address_of_the_peer() {
    let mut net = Net::grown(10);
    let forged = Sender { leaving: true, ..Sender::member(peer(4).id, addr(77)) };
    net.introduce(forged, addr(1));
    assert!(net.knows(addr(1), &peer(4)));
    net.leaving.insert(addr(4));
    net.call(addr(4), |overlay, now, out| overlay.leave(now, out));
    net.run_for(Duration::from_millis(20));
    net.dead.insert(addr(4));
    net.run_for(secs(1));
    for n in (1..=10).filter(|&n| n != 4) {
        assert!(!net.knows(addr(n), &peer(4)), "{n} was told");
    }
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
            overlay.on_response(now, tag, addr(3), &Response::Nodes(peers.clone()), out);
            overlay.on_failure(now, tag, peer(3).into(), out);
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
fn a_network_cut_in_two_grows_together_again() {
    let mut net = Net::grown(30);
    net.island = (1..=15).map(addr).collect();
    net.run_for(secs(60));
    for n in 1..=30 {
        for key in (1..=30).map(|other| peer(other).id) {
            net.look_up(addr(n), key, Goal::Peers);
        }
    }
    net.run_for(secs(60));
    for overlay in net.peers.values() {
        let here = net.island.contains(&overlay.me().addr);
        let known = overlay.peers();
        assert_eq!(known.len(), 14, "each half knows itself and has forgotten the other");
        assert!(known.iter().all(|peer| net.island.contains(&peer.addr) == here));
    }
    net.island.clear();
    net.run_for(secs(90));
    for n in 1..=30 {
        let key = Id::of(&[n as u8, 3]);
        let (_, found) = net.look_up(addr(n), key, Goal::Peers);
        assert_eq!(found.peers, nearest((1..=30).map(peer), &key, WIDTH));
    }
}

#[test]
fn two_networks_that_meet_through_one_contact_become_one() {
    let mut net = Net::grown(20);
    // Two more know only each other: the one was told of an address where nobody answered at the time.
    let late = [peer(21), peer(22)];
    net.add(late[0], false);
    net.add(late[1], false);
    net.dead.insert(addr(7));
    net.join(late[0].addr, &[addr(7)]);
    net.join(late[1].addr, &[late[0].addr]);
    net.run_for(secs(10));
    assert_eq!(net.peers[&late[0].addr].peers(), [late[1]]);
    net.dead.remove(&addr(7));
    net.run_for(secs(40));
    for one in late {
        for n in 1..=22 {
            let (_, found) = net.look_up(addr(n), one.id, Goal::Peers);
            assert_eq!(found.peers, nearest((1..=22).map(peer), &one.id, WIDTH), "seen from {n}");
            let (_, found) = net.look_up(one.addr, peer(n).id, Goal::Peers);
            assert_eq!(found.peers, nearest((1..=22).map(peer), &peer(n).id, WIDTH), "of {n}");
        }
    }
}

#[test]
fn neighbours_that_nobody_introduced_find_each_other() {
    let mut net = Net::default();
    for n in 1..=8 {
        net.add(peer(n), false);
        net.call(addr(n), |overlay, now, _| overlay.fill(now, &[peer(n % 8 + 1)]));
    }
    net.run_for(secs(60));
    for n in 1..=8 {
        assert_eq!(net.peers[&addr(n)].peers().len(), 7, "peer {n}");
    }
}

#[test]
fn an_idle_network_is_quiet() {
    let mut net = Net::grown(50);
    net.run_for(secs(60));
    let before = net.asked.len();
    net.run_for(secs(60));
    let each = (net.asked.len() - before) / 50;
    assert!(each <= 60 / 4 * WIDTH + WIDTH, "{each} requests a minute from each peer");
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
