//! Networks: how they form, keep themselves right, and grow together again (section 2.3).

use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::kademlia::Kademlia;
use kadring::overlay::{Effect, Goal, Overlay};
use kadring::patience;
use kadring::peer::Peer;
use kadring::wire::{Request, Sender};

use super::peers::{ME, Net, WIDTH, addr, alone, grown, in_bucket, kademlia, nearest, nobody, peer, secs};

#[test]
fn s2_3_a_join_fills_the_buckets_and_makes_the_newcomer_known() {
    let mut net = grown(80);
    net.start(kademlia(peer(ME)), false, &[addr(17)]);
    net.run(secs(5));
    assert!(matches!(net.joined(addr(ME))[..], [peers] if peers >= WIDTH));
    let me = peer(ME);
    let others: Vec<Peer> = (1..=80).map(peer).collect();
    for neighbour in nearest(others.clone(), &me.id, WIDTH) {
        assert!(net.knows(addr(ME), &neighbour), "the newcomer knows its neighbours");
        assert!(net.knows(neighbour.addr, &me), "its neighbours know the newcomer");
    }
    let prefix = |other: &Peer| other.id.distance(&me.id).leading_zeros();
    let known = net.known();
    for bucket in others.iter().map(prefix) {
        assert!(known.iter().any(|other| prefix(other) == bucket), "bucket {bucket} is empty");
    }
}

#[test]
fn s2_3_a_bucket_without_lookups_is_refreshed_within_the_hour() {
    let mut net = alone();
    net.meet(in_bucket(0, 1));
    net.meet(in_bucket(4, 2));
    net.run(secs(60));
    let before = net.asked.len();
    net.run(secs(3500));
    let targets = |net: &Net, before: usize| -> Vec<usize> {
        let looked_for = net.asked[before..].iter().filter_map(|asked| match asked.request {
            // For its own id it asks its neighbours now and then.
            Request::FindNode { id } if id != peer(ME).id => Some(id.distance(&peer(ME).id).leading_zeros()),
            _ => None,
        });
        looked_for.collect()
    };
    assert_eq!(targets(&net, before), Vec::<usize>::new(), "not before");
    net.run(secs(200));
    let refreshed = targets(&net, before);
    assert!(refreshed.contains(&0) && refreshed.contains(&4), "{refreshed:?}");
}

#[test]
fn one_two_and_three_peers_are_a_network() {
    let mut net = nobody();
    for n in 1..=3_u16 {
        let known: Vec<_> = (1..n).map(addr).collect();
        net.start(kademlia(peer(n)), false, &known);
        net.run(secs(3));
        assert_eq!(net.joined(addr(n)), [usize::from(n) - 1]);
        for asker in 1..=n {
            let key = Id::of(&[asker as u8]);
            let (found, _) = net.find(addr(asker), key);
            assert_eq!(found, nearest((1..=n).map(peer), &key, WIDTH));
            assert_eq!(net.inside(addr(asker)).replica_set(&key, WIDTH), found);
        }
    }
}

#[test]
fn peers_that_start_at_once_and_name_each_other_find_their_neighbours() {
    let mut net = nobody();
    for n in 1..=20 {
        net.add(kademlia(peer(n)), false);
    }
    for n in 1..=20 {
        net.join(addr(n), &[addr(n % 20 + 1), addr(n)]);
    }
    net.run(secs(10));
    for n in 1..=20 {
        let right = nearest((1..=20).filter(|&other| other != n).map(peer), &peer(n).id, WIDTH);
        assert_eq!(nearest(net.inside(addr(n)).peers(), &peer(n).id, WIDTH), right, "peer {n}");
        assert_eq!(net.joined(addr(n)).len(), 1);
    }
}

#[test]
fn a_silent_bootstrap_address_is_tried_until_it_answers() {
    let mut net = nobody();
    net.start(kademlia(peer(1)), false, &[addr(2)]);
    net.run(secs(20));
    assert_eq!(net.joined(addr(1)), [0], "the peer is ready though alone");
    net.start(kademlia(peer(2)), false, &[]);
    net.run(secs(31));
    assert!(net.knows(addr(1), &peer(2)) && net.knows(addr(2), &peer(1)));
    assert_eq!(net.joined(addr(1)), [0], "a join is announced once");
}

#[test]
fn a_guest_never_forgets_the_last_peer_that_it_knows() {
    let mut net = grown(1);
    net.start(Kademlia::new(peer(ME), [1; 32], true), true, &[addr(1)]);
    net.run(secs(1));
    net.cut(|_| 1);
    let key = Id::of(b"key");
    let lookup = net.lookup(addr(ME), key, Goal::Peers);
    net.run(secs(60));
    assert_eq!(net.found(lookup).expect("the lookup ends").0, []);
    assert!(net.knows(addr(ME), &peer(1)));
    net.mend();
    assert_eq!(net.find(addr(ME), key).0, [peer(1)]);
}

#[test]
fn the_death_of_a_neighbour_is_noticed_within_ten_seconds() {
    let mut net = grown(30);
    let victim = peer(11);
    net.kill(victim.addr);
    let mut near = net.peers();
    near.retain(|me| nearest(net.inside(me.addr).peers(), &me.id, WIDTH).contains(&victim));
    net.run(secs(10));
    assert!(!near.is_empty());
    for Peer { addr, .. } in near {
        assert!(!net.knows(addr, &victim), "{addr} still knows the dead");
        assert!(net.news(addr).contains(&&Effect::PeerDown(victim)));
    }
    let (found, _) = net.find(addr(3), victim.id);
    let live = (1..=30).filter(|&n| n != 11).map(peer);
    assert_eq!(found, nearest(live, &victim.id, WIDTH));
}

#[test]
fn a_death_is_told_to_those_far_off_too() {
    let mut net = grown(30);
    let victim = peer(11);
    let far = |me: &Peer| !nearest(net.inside(me.addr).peers(), &me.id, WIDTH).contains(&victim);
    let far: Vec<Peer> = net.peers().into_iter().filter(far).filter(|me| net.knows(me.addr, &victim)).collect();
    net.kill(victim.addr);
    net.run(secs(20));
    assert!(far.len() > 5, "{} are far off", far.len());
    for Peer { addr, .. } in far {
        assert!(!net.knows(addr, &victim), "{addr} still knows the dead");
    }
}

#[test]
fn who_is_told_of_a_death_believes_it_only_after_a_ping_of_its_own() {
    let mut net = grown(30);
    let (me, told) = (peer(3), peer(11));
    assert!(net.knows(me.addr, &told));
    net.run(secs(3));
    let before = net.asked.len();
    let liar = nearest(net.inside(me.addr).peers(), &told.id, 2)[1];
    net.request(Sender::member(liar.id, liar.addr), me.addr, &Request::Gone { peer: told });
    assert!(net.knows(me.addr, &told), "not at once");
    let asked = net.asked_of(told.addr, before);
    assert_eq!(asked, [Request::Ping]);
    net.run(secs(5));
    assert!(net.knows(me.addr, &told) && !net.news(me.addr).contains(&&Effect::PeerDown(told)), "it lives");

    let before = net.asked.len();
    let stranger = Sender::member(peer(99).id, addr(99));
    net.request(stranger, me.addr, &Request::Gone { peer: peer(12) });
    assert_eq!(net.asked_of(addr(12), before), [], "strangers are not listened to");
}

#[test]
fn a_goodbye_is_believed_only_from_the_address_of_the_peer_and_once_it_is_silent() {
    let mut net = grown(10);
    let forged = Sender { leaving: true, ..Sender::member(peer(4).id, addr(77)) };
    net.introduce(forged, addr(1));
    assert!(net.knows(addr(1), &peer(4)));
    // The sender of a datagram can be forged too.
    let before = net.asked.len();
    for _ in 0..20 {
        net.introduce(Sender { leaving: true, ..Sender::member(peer(4).id, addr(4)) }, addr(1));
    }
    assert_eq!(net.asked_of(addr(4), before), [Request::Ping], "one ping asks whether it is so");
    let tries = net.asked.iter().rev().find(|asked| asked.to == addr(4)).map(|asked| asked.tries);
    assert!(tries > Some(patience::ONCE), "a lost datagram is no proof");
    net.run(secs(5));
    assert!(net.knows(addr(1), &peer(4)) && !net.news(addr(1)).contains(&&Effect::PeerDown(peer(4))), "it is there");
    net.say_goodbye(addr(4));
    net.run(Duration::from_millis(20));
    net.kill(addr(4));
    net.run(secs(2));
    for n in (1..=10).filter(|&n| n != 4) {
        assert!(!net.knows(addr(n), &peer(4)), "{n} was told");
    }
}

#[test]
fn who_left_in_good_order_is_not_counted_among_those_that_are_known_and_silent() {
    for others in [1, 3] {
        let mut net = grown(others + 1);
        let gone = addr(others + 1);
        net.say_goodbye(gone);
        net.run(Duration::from_millis(20));
        net.kill(gone);
        let lookup = net.lookup(addr(1), peer(others + 1).id, Goal::Peers);
        net.run(secs(2));
        let unreached = net.told.iter().find_map(|(_, _, effect)| match effect {
            Effect::Found { lookup: id, found } if *id == lookup => Some(found.unreached.clone()),
            _ => None,
        });
        assert_eq!(unreached, Some(Vec::new()), "of {others} that stay");
    }
}

#[test]
fn a_network_cut_in_two_grows_together_again() {
    let mut net = grown(30);
    let first: Vec<SocketAddr> = (1..=15).map(addr).collect();
    net.cut(|peer| u8::from(first.contains(&peer.addr)));
    net.run(secs(60));
    for n in 1..=30 {
        for key in (1..=30).map(|other| peer(other).id) {
            net.find(addr(n), key);
        }
    }
    net.run(secs(60));
    for me in net.peers() {
        let here = first.contains(&me.addr);
        let known = net.inside(me.addr).peers();
        assert_eq!(known.len(), 14, "each half knows itself and has forgotten the other");
        assert!(known.iter().all(|peer| first.contains(&peer.addr) == here));
    }
    net.mend();
    net.run(secs(90));
    for n in 1..=30 {
        let key = Id::of(&[n as u8, 3]);
        let (found, _) = net.find(addr(n), key);
        assert_eq!(found, nearest((1..=30).map(peer), &key, WIDTH));
    }
}

#[test]
fn two_networks_that_meet_through_one_contact_become_one() {
    let mut net = grown(20);
    // Two more know only each other: the one was told of an address where nobody answered at the time.
    let late = [peer(21), peer(22)];
    net.kill(addr(7));
    net.start(kademlia(late[0]), false, &[addr(7)]);
    net.start(kademlia(late[1]), false, &[late[0].addr]);
    net.run(secs(10));
    assert_eq!(net.inside(late[0].addr).peers(), [late[1]]);
    net.start(kademlia(peer(7)), false, &[addr(1)]);
    net.run(secs(40));
    for one in late {
        for n in 1..=22 {
            let (found, _) = net.find(addr(n), one.id);
            assert_eq!(found, nearest((1..=22).map(peer), &one.id, WIDTH), "seen from {n}");
            let (found, _) = net.find(one.addr, peer(n).id);
            assert_eq!(found, nearest((1..=22).map(peer), &peer(n).id, WIDTH), "of {n}");
        }
    }
}

#[test]
fn neighbours_that_nobody_introduced_find_each_other() {
    let mut net = nobody();
    for n in 1..=8 {
        let mut overlay = kademlia(peer(n));
        overlay.fill(net.now, &[peer(n % 8 + 1)]);
        net.add(overlay, false);
    }
    net.run(secs(60));
    for n in 1..=8 {
        assert_eq!(net.inside(addr(n)).peers().len(), 7, "peer {n}");
    }
}

#[test]
fn an_idle_network_is_quiet() {
    let mut net = grown(50);
    net.run(secs(60));
    let before = net.asked.len();
    net.run(secs(60));
    let each = (net.asked.len() - before) / 50;
    assert!(each <= 30, "{each} requests a minute from each peer");
}
