//! The routing table: who enters, who stays, who goes (sections 2.2 and 4.1).

use kadring::overlay::kademlia::K;
use kadring::overlay::{Cause, Effect, Overlay};
use kadring::peer::Peer;
use kadring::wire::{Request, Sender};

use super::peers::{ME, NEAR, addr, alone, in_bucket, nearest, peer, secs, surrounded};

#[test]
fn s2_2_contacts_stand_in_the_bucket_of_their_common_prefix_and_a_bucket_holds_k() {
    let mut net = surrounded();
    for prefix in 0..NEAR {
        for n in 0..25 {
            net.meet(in_bucket(prefix, prefix as u16 * 100 + n + 1));
        }
    }
    let overlay = &net.inside(addr(ME));
    let rows = overlay.table();
    assert_eq!(rows.len(), NEAR + 1);
    for (prefix, row) in rows[..NEAR].iter().enumerate() {
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
        net.meet(in_bucket(0, n));
    }
    let alive = Cause::Alive { addr: addr(1) };
    net.with(addr(ME), |overlay, now, out| overlay.on(now, alive, out));
    let order: Vec<_> = net.inside(addr(ME)).table()[0].peers.iter().map(|peer| peer.addr).collect();
    assert_eq!(order, [addr(2), addr(3), addr(1)]);
}

#[test]
fn s2_2_a_live_contact_keeps_its_place_from_a_newcomer() {
    let mut net = surrounded();
    for n in 1..=K as u16 {
        net.meet(in_bucket(0, n));
    }
    net.run(secs(60));
    let before = net.asked.len();
    let oldest = net.inside(addr(ME)).table()[0].peers[0];
    net.meet(in_bucket(0, 100));
    assert_eq!(net.asked_of(oldest.addr, before).first(), Some(&Request::Ping), "the oldest is pinged first");
    net.run(secs(10));
    assert!(net.knows(addr(ME), &oldest) && !net.knows(addr(ME), &in_bucket(0, 100)));
}

#[test]
fn a_newcomer_s_ping_makes_nobody_ping_and_still_lets_it_wait() {
    // Else each ping would lead to another, and a large network never come to rest.
    let mut net = surrounded();
    for n in 1..=K as u16 {
        net.meet(in_bucket(0, n));
    }
    net.run(secs(60));
    let oldest = net.inside(addr(ME)).table()[0].peers[0];
    let before = net.asked.len();
    let newcomer = in_bucket(0, 100);
    net.request(Sender::member(newcomer.id, newcomer.addr), addr(ME), &Request::Ping);
    assert_eq!(net.asked_of(oldest.addr, before), []);
    assert_eq!(net.inside(addr(ME)).table()[0].spare, 1);
}

#[test]
fn s2_2_a_dead_contact_loses_its_place_to_a_newcomer() {
    let mut net = surrounded();
    for n in 1..=K as u16 {
        net.meet(in_bucket(0, n));
    }
    net.run(secs(60));
    let oldest = net.inside(addr(ME)).table()[0].peers[0];
    net.silence(oldest.addr);
    net.meet(in_bucket(0, 100));
    assert!(net.knows(addr(ME), &oldest), "it is given the time to answer");
    net.run(secs(10));
    assert!(!net.knows(addr(ME), &oldest) && net.knows(addr(ME), &in_bucket(0, 100)));
    let news = [Effect::PeerDown(oldest), Effect::PeerUp(in_bucket(0, 100))];
    assert!(net.news(addr(ME)).ends_with(&news.each_ref()));
}

#[test]
fn s4_1_spares_take_free_places_the_latest_first_once_they_answer() {
    let mut net = surrounded();
    for n in 1..=K as u16 {
        net.meet(in_bucket(0, n));
    }
    for n in 101..=103 {
        net.meet(in_bucket(0, n));
    }
    assert_eq!(net.inside(addr(ME)).table()[0].spare, 3);
    net.silence(addr(103));
    net.silence(addr(5));
    let key = in_bucket(0, 5).id;
    net.find(addr(ME), key);
    net.run(secs(10));
    assert!(!net.knows(addr(ME), &in_bucket(0, 5)), "it left a request and a ping unanswered");
    assert!(!net.knows(addr(ME), &in_bucket(0, 103)), "dead spares get no place");
    assert!(net.knows(addr(ME), &in_bucket(0, 102)), "the latest live spare does");
    assert!(!net.knows(addr(ME), &in_bucket(0, 101)));
}

#[test]
fn s2_4_the_k_nearest_are_contacts_though_their_bucket_is_full() {
    let mut net = alone();
    let peers = (1..=35).map(|n| in_bucket(0, n));
    peers.clone().for_each(|peer| net.meet(peer));
    let known = net.known();
    assert!((K..35).contains(&known.len()), "{}", known.len());
    assert!(nearest(peers, &peer(ME).id, K).iter().all(|peer| known.contains(peer)));
}

#[test]
fn a_peer_enters_only_after_it_answered_and_only_as_who_it_says_it_is() {
    let mut net = alone();
    let claim = |n: u16| Sender::member(in_bucket(0, n).id, addr(n));
    net.introduce(claim(1), addr(ME));
    net.run(secs(5));
    assert!(net.known().is_empty(), "silence proves nothing");

    net.script(peer(2), vec![]);
    net.introduce(claim(2), addr(ME));
    net.run(secs(5));
    assert_eq!(net.known(), [peer(2)], "its own answer counts, not its claim");

    let guest = Sender { guest: true, ..claim(3) };
    net.script(guest.peer, vec![]);
    net.introduce(guest, addr(ME));
    net.introduce(Sender::member(peer(ME).id, addr(4)), addr(ME));
    net.introduce(Sender::member(peer(5).id, "0.0.0.0:9".parse().unwrap()), addr(ME));
    net.introduce(Sender::member(peer(6).id, "10.0.0.6:0".parse().unwrap()), addr(ME));
    net.introduce(Sender::member(peer(7).id, "224.0.0.1:9".parse().unwrap()), addr(ME));
    let before = net.asked.len();
    net.run(secs(2));
    assert_eq!(net.known(), [peer(2)]);
    assert!(net.asked[before..].iter().all(|asked| asked.to == addr(2) || asked.to == addr(1)));
}

#[test]
fn a_known_id_changes_its_address_only_when_the_old_one_is_silent() {
    let mut net = alone();
    let (old, new) = (in_bucket(0, 1), Peer::new(in_bucket(0, 1).id, addr(2)));
    net.meet(old);
    net.meet(new);
    net.run(secs(10));
    assert_eq!(net.known(), [old], "nobody takes a live peer's place");
    net.silence(old.addr);
    net.meet(new);
    net.run(secs(10));
    assert_eq!(net.known(), [new]);
}

#[test]
fn a_peer_that_comes_back_under_another_id_replaces_its_former_self() {
    let mut net = alone();
    let (old, new) = (in_bucket(0, 1), Peer::new(in_bucket(3, 9).id, addr(1)));
    net.meet(old);
    net.meet(new);
    net.run(secs(5));
    assert_eq!(net.known(), [new]);
    assert!(net.news(addr(ME)).contains(&&Effect::PeerDown(old)));
}

#[test]
fn a_flood_of_strangers_makes_few_pings_and_no_contacts() {
    let mut net = alone();
    for n in 1..2000 {
        net.introduce(Sender::member(peer(n).id, addr(n)), addr(ME));
    }
    net.run(secs(1));
    assert!(net.asked.len() < 150, "{} pings in a second", net.asked.len());
    assert!(net.known().is_empty());
}
