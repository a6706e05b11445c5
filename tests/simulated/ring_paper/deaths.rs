//! Peers that die without a word, and rings that heal.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::ring::{Ring, RingEffect, RingOptions, RouteNotice, SUCCESSORS, SuccessorChange};
use kadring::overlay::{Effect, Goal};
use kadring::peer::Peer;
use kadring::wire::ring::Routed;

use super::rings::{
    EXAMPLE, assert_owners, changes, classroom_net, ids, large_net, notices, one_cycle, rest, settle, small,
};
use crate::net::{LATENCY, Net, addr, clockwise};

/// ToN IV-E3: with a successor list of length r, a ring survives r - 1 adjacent peers failing at once.
#[test]
fn adjacent_peers_killed_at_once_are_healed() {
    for killed in [2, SUCCESSORS - 1] {
        let mut net = large_net(40);
        let peers = net.peers();
        for peer in &peers[10..10 + killed] {
            net.kill(peer.addr);
        }
        net.run(Duration::from_secs(30));
        settle(&mut net, Duration::from_secs(30));
        assert_owners(&mut net, (0..60_u8).map(|key| Id::of(&[key])));
    }
}

/// ToN theorem IV.5: a lookup finds the closest living successor even while half of all peers are gone, unnoticed yet.
#[test]
fn lookups_work_while_half_of_the_peers_have_just_died() {
    let mut net = large_net(100);
    let peers = net.peers();
    for peer in peers.iter().step_by(2) {
        net.kill(peer.addr);
    }
    let living = net.peers();
    for number in 0..50_u8 {
        let key = Id::of(&[number]);
        let (found, _) = net.find(living[usize::from(number) % living.len()].addr, key);
        assert_eq!(found[0], clockwise(&living, &key)[0], "key {number}");
    }
}

/// The assignment: a killed peer is reported by both its predecessors, which then know the right successors.
#[test]
fn an_abrupt_departure_is_noticed_by_both_predecessors_within_the_bound() {
    let mut net = classroom_net(&EXAMPLE);
    net.run(Duration::from_secs(12));
    let before = net.told.len();
    net.kill(addr(14));
    let killed = net.now;
    net.run(Duration::from_secs(60));
    net.told.drain(..before);
    let died = SuccessorChange::Died { peer: small(14) };
    let seen: Vec<(SocketAddr, Duration)> = net
        .told
        .iter()
        .filter(|(_, _, effect)| matches!(effect, Effect::Ring(RingEffect::Notice(RouteNotice::Successors { why, .. })) if *why == died))
        .map(|(at, who, _)| (*who, at.since(killed)))
        .collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.iter().all(|(_, took)| *took < Duration::from_secs(10)), "{seen:?}");
    assert!(changes(&net, 9).contains(&(died, vec![19, 2])));
    assert!(changes(&net, 8).contains(&(died, vec![9, 19])));
    one_cycle(&net).unwrap();
}

/// However rarely the user pings, a death is noticed within 60 s.
#[test]
fn a_death_is_noticed_in_time_though_pings_are_rare() {
    let mut net = Net::new(4);
    for id in EXAMPLE {
        net.add(Ring::new(small(id), RingOptions::classroom(Duration::from_secs(300), Vec::new())), false);
    }
    let mut net = rest(net);
    net.run(Duration::from_secs(400));
    let pings = |net: &Net<Ring>| {
        notices(net, addr(9)).iter().filter(|notice| matches!(notice, RouteNotice::PingsSent { .. })).count()
    };
    assert!((1..=2).contains(&pings(&net)), "{} rounds of pings in 400 s", pings(&net));
    net.kill(addr(14));
    net.run(Duration::from_secs(60));
    assert!(changes(&net, 9).contains(&(SuccessorChange::Died { peer: small(14) }, vec![19, 2])));
}

/// Who told of which deaths within `limit`, and how long after they happened.
fn deaths(interval: Duration, killed: &[u64], limit: Duration) -> Vec<(u64, u64, Duration)> {
    let mut net = Net::new(4);
    for id in EXAMPLE {
        net.add(Ring::new(small(id), RingOptions::classroom(interval, Vec::new())), false);
    }
    let mut net = rest(net);
    // What a node does as long as it has measured no round trip.
    net.timeout = kadring::config::FIRST_TIMEOUT;
    net.run(interval * 2);
    for id in killed {
        net.kill(small(*id).addr);
    }
    let (before, at) = (net.told.len(), net.now);
    net.run(limit);
    one_cycle(&net).unwrap();
    net.told.drain(..before);
    let ports = |who: SocketAddr| EXAMPLE.into_iter().find(|id| small(*id).addr == who).expect("one of them");
    let told = net.told.iter().filter_map(|(when, who, effect)| match effect {
        Effect::Ring(RingEffect::Notice(RouteNotice::Successors { why: SuccessorChange::Died { peer }, .. })) => {
            Some((ports(*who), ids(&[*peer])[0], when.since(at)))
        }
        _ => None,
    });
    told.collect()
}

/// Three pings in a row without an answer are a death, whether they go out every second or every half minute, and
/// though no round trip was ever measured; never does it take more than a minute, with two neighbours gone at once
/// neither.
#[test]
fn three_missed_pings_are_a_death_at_any_interval() {
    for seconds in [1, 3, 10, 30] {
        let interval = Duration::from_secs(seconds);
        let limit = (interval * 4).min(Duration::from_secs(60));
        let told = deaths(interval, &[14], limit);
        assert_eq!(told.iter().map(|(by, ..)| *by).collect::<BTreeSet<_>>(), BTreeSet::from([8, 9]), "{told:?}");
        let told = deaths(interval, &[9, 14], limit);
        for news in [(8, 9), (8, 14), (5, 9)] {
            assert!(told.iter().any(|(by, gone, _)| (*by, *gone) == news), "every {seconds} s: {news:?} in {told:?}");
        }
    }
}

/// Whoever is told of a neighbour's death by another neighbour does not wait for pings: the dead peer refuses a
/// connection.
#[test]
fn both_predecessors_notice_a_death_at_the_same_time() {
    for killed in [&[14][..], &[9, 14]] {
        let told = deaths(Duration::from_secs(30), killed, Duration::from_secs(60));
        let (first, last) = (told[0].2, told[told.len() - 1].2);
        assert!(last - first < LATENCY * 10, "{told:?}");
    }
}

/// A refused connection is proof enough: the request goes around the dead peer at once, without waiting for a ping.
#[test]
fn a_dead_next_hop_is_routed_around_at_once() {
    let mut net = classroom_net(&EXAMPLE);
    net.kill(addr(9));
    net.kill(addr(14));
    let start = net.now;
    let (found, _) = net.find(addr(5), Id::from_u64(19));
    assert_eq!(ids(&found)[0], 19);
    assert!(net.now.since(start) < Duration::from_millis(300));
    assert!(changes(&net, 8).iter().any(|(why, _)| *why == SuccessorChange::Died { peer: small(9) }));
}

/// How long a lookup took, and the first peer that it found.
fn timed(net: &mut Net<Ring>, at: SocketAddr, key: Id) -> (Duration, Peer) {
    let start = net.now;
    let lookup = net.lookup(at, key, Goal::Peers);
    while net.found(lookup).is_none() {
        assert!(net.now.since(start) < Duration::from_secs(10), "the lookup of {key} never ended");
        net.run(LATENCY);
    }
    (net.now.since(start), net.found(lookup).expect("it ended").0[0])
}

/// A machine that is gone refuses nothing. A lookup through it goes out again when it is late (a timeout here), and
/// another way once two datagrams are without an answer (three timeouts), not after the seconds that a connection takes
/// to fail; the next one goes around it at once.
#[test]
fn a_silent_next_hop_costs_a_lookup_some_timeouts_and_the_next_one_at_most_one() {
    let mut net = large_net(100);
    let peers = net.peers();
    peers[..50].iter().step_by(5).for_each(|peer| net.vanish(peer.addr));
    let living = net.peers();
    let (mut slow, mut waits) = (0, Vec::new());
    for number in 0..60_u8 {
        let (at, key) = (living[usize::from(number) % living.len()].addr, Id::of(&[number]));
        let (took, owner) = timed(&mut net, at, key);
        assert_eq!(owner, clockwise(&living, &key)[0], "key {number}");
        slow += usize::from(took >= net.timeout);
        waits.push(took);
        let (again, _) = timed(&mut net, at, key);
        // The first may have come another way while the silent one was still being found out.
        assert!(again < net.timeout * 2, "the same way again took {again:?}");
    }
    waits.sort_unstable();
    assert!(slow > 5, "only {slow} lookups met a silent peer: this shows nothing");
    // A silent peer that is known to stand nearer than the one that answers costs one ping more.
    assert!(waits[30] < net.timeout && waits[59] <= net.timeout * 16, "{waits:?}");
}

/// Peers that are all slow are in doubt, but alive: nobody takes their keys for its own.
#[test]
fn doubt_alone_makes_no_peer_an_owner() {
    let mut net = large_net(30);
    let peers = net.peers();
    // Each knows already that the other receives.
    for number in 0..30_u8 {
        timed(&mut net, peers[usize::from(number)].addr, Id::of(&[number]));
    }
    let late = net.timeout * 7 / 2;
    peers.iter().for_each(|peer| net.slow_down(peer.addr, late));
    for number in 0..30_u8 {
        let key = Id::of(&[number]);
        let (_, owner) = timed(&mut net, peers[usize::from(number)].addr, key);
        assert_eq!(owner, clockwise(&peers, &key)[0], "key {number}");
    }
}

/// Who answers for a member that is gone is asked in its place: the result names seven that live, without a long wait.
#[test]
fn a_lookup_that_asks_the_members_names_seven_living_ones_though_two_are_gone() {
    let mut net = large_net(40);
    let key = Id::of(b"block");
    let set = clockwise(&net.peers(), &key);
    net.vanish(set[1].addr);
    net.vanish(set[4].addr);
    let (living, start) = (clockwise(&net.peers(), &key), net.now);
    let lookup = net.lookup(set[20].addr, key, Goal::Survey);
    while net.found(lookup).is_none() {
        net.run(LATENCY);
    }
    assert!(net.now.since(start) < net.timeout * 4, "it took {:?}", net.now.since(start));
    assert_eq!(net.found(lookup).expect("it ended").0, living[..kadring::config::WIDTH]);
}

/// Those that lost a peer which was stopped find it again by asking it for a way into its part of the network, if it
/// should be another one. It is not, and no user is told of a join.
#[test]
fn a_peer_that_was_silent_for_a_while_is_taken_back_and_nobody_is_told_of_a_join() {
    let mut net = classroom_net(&EXAMPLE);
    net.slow_down(addr(14), Duration::from_secs(60));
    net.run(Duration::from_secs(40));
    assert!(!ids(net.inside(addr(9)).successors()).contains(&14), "it counts as dead");
    let before = net.told.len();
    net.slow_down(addr(14), Duration::ZERO);
    settle(&mut net, Duration::from_secs(60));
    net.run(Duration::from_secs(30));
    let joins = |effect: &Effect| match effect {
        Effect::Ring(RingEffect::Notice(RouteNotice::Forwarded { what, .. })) => *what == Routed::Join,
        Effect::Ring(RingEffect::Notice(RouteNotice::Successors { why, .. })) => {
            matches!(why, SuccessorChange::Joined { .. } | SuccessorChange::Told { .. })
        }
        _ => false,
    };
    let told: Vec<_> = net.told[before..].iter().filter(|(_, _, effect)| joins(effect)).collect();
    assert!(told.is_empty(), "{told:?}");
    // Those that told their users of its death tell of its return, once, with the successors that they have again.
    for id in EXAMPLE {
        let returns = |(why, _): &(SuccessorChange, _)| matches!(why, SuccessorChange::Returned { peer } if peer.id == Id::from_u64(14));
        let returned: Vec<Vec<u64>> = changes(&net, id).into_iter().filter(returns).map(|(_, ids)| ids).collect();
        let expected = match id {
            9 => Some([14, 19]),
            8 => Some([9, 14]),
            _ => None,
        };
        assert_eq!(returned.len(), usize::from(expected.is_some()), "at {id}: {returned:?}");
        assert!(returned.iter().all(|ids| Some(&ids[..2]) == expected.as_ref().map(|ids| &ids[..])), "{returned:?}");
    }
}

/// With a tenth of all pings lost nobody is taken for dead.
#[test]
fn lost_pings_are_no_deaths() {
    for (interval, hours) in [(1, 1), (5, 6)] {
        let mut net = Net::new(1);
        for id in EXAMPLE {
            net.add(Ring::new(small(id), RingOptions::classroom(Duration::from_secs(interval), Vec::new())), false);
        }
        let mut net = rest(net);
        net.loss = 0.1;
        net.run(Duration::from_secs(hours * 3600));
        let deaths = net.told.iter().filter(|(_, _, effect)| matches!(effect, Effect::PeerDown(_))).count();
        assert_eq!(deaths, 0, "pings every {interval} s");
        one_cycle(&net).unwrap();
    }
}

/// Both halves of a ring that was cut go on alone, and find each other again.
#[test]
fn a_ring_that_was_cut_is_whole_again() {
    let mut net = large_net(24);
    net.cut(|peer| u8::from(peer.id.bit(7)));
    net.run(Duration::from_secs(120));
    let peers = net.peers();
    let (left, right): (Vec<Peer>, Vec<Peer>) = peers.iter().partition(|peer| peer.id.bit(7));
    for half in [&left, &right] {
        for (at, peer) in half.iter().enumerate() {
            assert_eq!(net.inside(peer.addr).successors()[0], half[(at + 1) % half.len()], "each half is a ring");
        }
    }
    net.mend();
    settle(&mut net, Duration::from_secs(300));
    assert_owners(&mut net, (0..40_u8).map(|key| Id::of(&[key])));
}
