//! Networks: how they form, keep themselves right, and grow together again (section 2.3).

use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::{Cause, Effect, Goal, Overlay};
use kadring::peer::Peer;
use kadring::wire::{Request, Sender};

use crate::kademlia_net::{Net, addr, nearest, peer};
use crate::peers::{ME, WIDTH, alone, in_bucket, secs};

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
fn the_death_of_a_peer_far_off_that_shares_blocks_is_noticed_within_twenty_seconds() {
    for watched in [false, true] {
        let mut net = Net::grown(30);
        let me = addr(3);
        let others: Vec<_> = net.peers[&me].peers();
        let neighbours = nearest(others.clone(), &peer(3).id, WIDTH);
        let far =
            *others.iter().find(|other| !neighbours.contains(other)).expect("thirty are more than the neighbours");
        if watched {
            net.call(me, |overlay, now, out| overlay.on(now, Cause::Shared { with: &[far] }, out));
        }
        net.run_for(secs(15));
        net.dead.insert(far.addr);
        net.run_for(secs(20));
        assert_eq!(net.knows(me, &far), !watched, "only a reason makes it worth its pings");
    }
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
