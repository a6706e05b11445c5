//! Coming in: alone, one after the other, all at once, late, or once more.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::ring::{Ring, RingEffect, RingOptions};
use kadring::overlay::{Asker, Cause, Effect, Incoming, Overlay, RouteNotice, SuccessorChange};
use kadring::patience::ONCE;
use kadring::peer::Peer;
use kadring::wire::Request;
use kadring::wire::ring::{RingRequest, Route, Routed};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::rings::{
    EXAMPLE, assert_owners, changes, classroom, classroom_net, cycle_of, large, large_net, notices, one_cycle, rest,
    settle, small,
};
use crate::net::{LATENCY, Net, addr};

/// SIGCOMM 4.2: one peer alone is responsible for every key; two and three share the circle.
#[test]
fn rings_of_one_two_and_three_peers_work() {
    for count in 1..=3_u32 {
        let mut net = Net::new(u64::from(count));
        for number in 0..count {
            let known: Vec<_> = (0..number).map(addr).collect();
            net.start(large(number), false, &known);
            net.run(Duration::from_secs(1));
        }
        settle(&mut net, Duration::from_secs(10));
        assert_owners(&mut net, (0..20_u8).map(|key| Id::of(&[key])));
    }
}

/// ToN IV-E1: a new peer may ask any peer of the ring to let it in. Every place on the circle (the ends and the middle
/// of each gap), through every peer, at several moments of a ping interval: all know their neighbours in less than two
/// intervals, with the tenth of all datagrams lost too. The slowest is printed.
#[test]
fn a_peer_joins_through_any_other_and_settles_within_two_ping_intervals() {
    const INTERVAL: Duration = Duration::from_secs(1);
    for loss in [0.0, 0.1] {
        let mut slowest = (Duration::ZERO, 0, 0);
        for (turn, via) in EXAMPLE.into_iter().enumerate() {
            for new in [0, 1, 3, 6, 7, 10, 12, 13, 15, 17, 18, 20, 130, 255] {
                let mut net = Net::new(new);
                for id in EXAMPLE {
                    net.add(Ring::new(small(id), RingOptions::classroom(INTERVAL, Vec::new())), false);
                }
                let mut net = rest(net);
                net.loss = loss;
                net.run(2 * INTERVAL + INTERVAL * u32::try_from(turn).unwrap() / 7);
                let ring = Ring::new(small(new), RingOptions::classroom(INTERVAL, Vec::new()));
                net.start(ring, false, &[addr(via as u32)]);
                let start = net.now;
                while one_cycle(&net).is_err() {
                    net.run(Duration::from_millis(1));
                    let took = net.now.since(start);
                    assert!(took < 2 * INTERVAL, "{new} through {via}, loss {loss}: {:?}", one_cycle(&net));
                }
                slowest = slowest.max((net.now.since(start), new, via));
                if loss == 0.0 {
                    assert_owners(&mut net, (0..256).step_by(37).map(Id::from_u64));
                }
            }
        }
        let (took, new, via) = slowest;
        println!("loss {loss}: the slowest join of 98 took {took:?} ({new} through {via}), one way is {LATENCY:?}");
    }
}

/// The assignment's story of a join, as notices: who forwards, who lets in, who is told.
#[test]
fn a_join_is_told_of_at_each_peer_as_the_assignment_wants() {
    let mut net = classroom_net(&EXAMPLE);
    net.start(classroom(15), false, &[addr(4)]);
    net.run(Duration::from_secs(8));
    let forwarded = |id: u64| {
        let wanted = |notice: &RouteNotice| matches!(notice, RouteNotice::Forwarded { what: Routed::Join, origin, .. } if *origin == small(15));
        notices(&net, addr(id as u32)).iter().filter(|notice| wanted(notice)).count()
    };
    assert_eq!(EXAMPLE.map(forwarded), [0, 1, 1, 1, 1, 0, 0]);
    assert_eq!(changes(&net, 14)[0], (SuccessorChange::Joined { peer: small(15) }, vec![15, 19]));
    assert!(changes(&net, 9).contains(&(SuccessorChange::Told { by: small(14) }, vec![14, 15])));
    assert_eq!(changes(&net, 15)[0], (SuccessorChange::Welcomed, vec![19, 2]));
    for id in [2, 4, 5, 8, 19] {
        assert!(changes(&net, id).iter().all(|(why, _)| *why == SuccessorChange::Stabilized), "at {id}");
    }
}

/// What the user of peer `id` was told by now, but for what stabilisation found.
fn told(net: &Net<Ring>, id: u64) -> Vec<(SuccessorChange, Vec<u64>)> {
    changes(net, id).into_iter().filter(|(why, _)| *why != SuccessorChange::Stabilized).collect()
}

/// It is not alive after all, but killed and started anew.
#[test]
fn a_killed_peer_that_joins_again_is_told_of_as_any_other_that_joins_and_once() {
    let died = SuccessorChange::Died { peer: small(14) };
    for door in [9, 8, 4, 19] {
        let mut net = classroom_net(&EXAMPLE);
        net.kill(addr(14));
        net.run(Duration::from_secs(40));
        net.start(classroom(14), false, &[addr(door)]);
        net.run(Duration::from_secs(10));
        let joined = SuccessorChange::Joined { peer: small(14) };
        assert_eq!(told(&net, 9), [(died, vec![19, 2]), (joined, vec![14, 19])], "through {door}");
        let told_of = SuccessorChange::Told { by: small(9) };
        assert_eq!(told(&net, 8), [(died, vec![9, 19]), (told_of, vec![9, 14])], "through {door}");
    }
}

/// The message goes to the one that has just died, and the one before that hears of the newcomer from stabilisation.
#[test]
fn who_joins_behind_a_peer_that_has_just_died_is_told_of_at_the_one_before_that() {
    for wait in [0, 1, 3, 6] {
        let mut net = classroom_net(&EXAMPLE);
        net.kill(addr(9));
        net.run(Duration::from_secs(wait));
        net.start(classroom(15), false, &[addr(14)]);
        net.run(Duration::from_secs(60));
        let told = told(&net, 8);
        assert_eq!(told.last().map(|(_, ids)| &ids[..]), Some(&[14, 15][..]), "after {wait} s: {told:?}");
        let whys: Vec<_> = told.iter().map(|(why, _)| *why).collect();
        let usual = [SuccessorChange::Died { peer: small(9) }, SuccessorChange::Told { by: small(14) }];
        assert_eq!(whys, usual, "after {wait} s: {told:?}");
    }
}

#[test]
fn of_two_that_join_on_both_sides_of_a_peer_at_once_the_first_is_told_of_the_second() {
    const RING: [u64; 5] = [2, 5, 20, 50, 80];
    for apart in [0, 5, 10, 20, 40, 80] {
        for doors in [[2, 80], [20, 5], [50, 50]] {
            let mut net = classroom_net(&RING);
            net.start(classroom(13), false, &[addr(doors[0])]);
            net.run(Duration::from_millis(apart));
            net.start(classroom(27), false, &[addr(doors[1])]);
            net.run(Duration::from_secs(30));
            for (id, expected) in [(2, [5, 13]), (5, [13, 20]), (13, [20, 27]), (20, [27, 50]), (27, [50, 80])] {
                let told = told(&net, id);
                let last = told.last().map(|(_, ids)| &ids[..]);
                assert_eq!(last, Some(&expected[..]), "at {id}, {apart} ms apart, through {doors:?}: {told:?}");
                let twice = told.windows(2).any(|two| two[0].1 == two[1].1);
                assert!(!twice, "at {id}, {apart} ms apart, through {doors:?}: {told:?}");
            }
        }
    }
}

/// ToN IV-E1: "stabilize" lets many peers enter at the same time; they end in one cycle.
#[test]
fn peers_that_join_at_the_same_time_end_in_one_cycle() {
    let mut net = large_net(10);
    for number in 100..140 {
        net.start(large(number), false, &[addr(number % 10)]);
    }
    settle(&mut net, Duration::from_secs(120));
    assert_owners(&mut net, (0..60_u8).map(|key| Id::of(&[key])));
}

/// In the classroom whoever is on its way in lets nobody in yet: each peer is told the right places, once.
#[test]
fn peers_that_join_through_one_another_are_let_in_one_after_the_other() {
    let mut net = classroom_net(&[10, 50, 90, 130]);
    let new = [20, 30, 40, 60, 70];
    for (id, known) in new.into_iter().zip([10, 20, 30, 40, 60]) {
        net.start(classroom(id), false, &[addr(known as u32)]);
    }
    settle(&mut net, Duration::from_secs(5));
    for id in new {
        let told = changes(&net, id);
        assert_eq!(told[0].0, SuccessorChange::Welcomed, "{id}: {told:?}");
        assert!(told.iter().all(|(_, successors)| successors.len() == 2), "{id} knew the ring from then on: {told:?}");
    }
}

/// A peer whose door is closed is a ring of its own, and may let another one in before it opens: then both come to the
/// others all the same, however long that took.
#[test]
fn two_peers_whose_door_opens_late_come_to_the_others() {
    fn whole_again(mut net: Net<Ring>, new: fn(u64) -> Ring, closed: Duration) {
        let side = |peer: &Peer| u8::from([addr(30), addr(40)].contains(&peer.addr));
        net.cut(side);
        net.start(new(30), false, &[addr(4)]);
        net.run(Duration::from_secs(2));
        net.start(new(40), false, &[addr(30)]);
        net.run(closed);
        let (late, others): (Vec<Peer>, Vec<Peer>) = net.peers().into_iter().partition(|peer| side(peer) == 1);
        cycle_of(&net, &late).unwrap();
        cycle_of(&net, &others).unwrap();
        net.mend();
        settle(&mut net, Duration::from_secs(200));
    }
    for closed in [20, 900].map(Duration::from_secs) {
        whole_again(classroom_net(&EXAMPLE), classroom, closed);
        whole_again(large_net(10), |number| large(number as u32), closed);
    }
}

/// Of two rings that know nothing of one another, the second peer answers before the first lets the newcomer in.
#[test]
fn a_peer_that_knows_a_peer_of_each_of_two_rings_comes_to_both_at_once() {
    let mut net = Net::new(11);
    for (number, door) in [(0, 0), (1, 0), (2, 0), (10, 10), (11, 10), (12, 10)] {
        net.start(large(number), false, &[addr(door)]);
        net.run(Duration::from_secs(1));
    }
    net.run(Duration::from_secs(30));
    let newcomer = net.start(large(20), false, &[addr(0), addr(10)]);
    let (begin, is_of) =
        (net.now, |first: u32, peer: &Peer| (first..first + 3).any(|number| peer.addr == addr(number)));
    while ![0, 10].iter().all(|first| net.inside(newcomer).peers().iter().any(|peer| is_of(*first, peer))) {
        net.run(Duration::from_millis(1));
        assert!(net.now.since(begin) < Duration::from_secs(60));
    }
    let took = net.now.since(begin);
    println!("it knows peers of both after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    settle(&mut net, Duration::from_secs(60));
}

/// A whole network that starts at once, each peer knowing the first alone, ends in one cycle too.
#[test]
fn a_ring_that_starts_at_once_forms() {
    let mut net = Net::new(3);
    for number in 0..30 {
        net.start(large(number), false, &[addr(if number == 0 { 1 } else { 0 })]);
    }
    settle(&mut net, Duration::from_secs(120));
}

/// The assignment's `init`: each peer is told its first two successors, and peers start one after the other.
#[test]
fn a_ring_of_named_successors_forms_though_peers_start_late() {
    let mut net = Net::new(5);
    for (at, &id) in EXAMPLE.iter().enumerate() {
        let given = vec![small(EXAMPLE[(at + 1) % 7]), small(EXAMPLE[(at + 2) % 7])];
        net.start(Ring::new(small(id), RingOptions::classroom(Duration::from_secs(5), given)), false, &[]);
        net.run(Duration::from_secs(3));
    }
    settle(&mut net, Duration::from_secs(10));
    assert!(!net.told.iter().any(|(_, _, effect)| matches!(effect, Effect::PeerDown(_))), "nobody died");
    assert_eq!(changes(&net, 2)[0], (SuccessorChange::Given, vec![4, 5]));
    assert_owners(&mut net, (0..256).step_by(3).map(Id::from_u64));
}

/// The assignment's `init`, in any order: the first pings are answered as soon as their receivers are there, however
/// long it is to the next ones.
#[test]
fn the_first_pings_wait_for_successors_that_start_late() {
    let mut net = Net::new(6);
    for at in (0..7).rev() {
        let given = vec![small(EXAMPLE[(at + 1) % 7]), small(EXAMPLE[(at + 2) % 7])];
        let options = RingOptions::classroom(Duration::from_secs(30), given);
        net.start(Ring::new(small(EXAMPLE[at]), options), false, &[]);
        net.run(Duration::from_secs(3));
    }
    for id in EXAMPLE {
        let told = notices(&net, addr(id as u32));
        let sent = told.iter().filter(|notice| matches!(notice, RouteNotice::PingsSent { .. })).count();
        let mut answered: Vec<u64> = told
            .iter()
            .filter_map(|notice| if let RouteNotice::PingAnswered { by } = notice { by.id.to_u64() } else { None })
            .collect();
        answered.sort_by_key(|by| (by + 256 - id) % 256);
        let at = EXAMPLE.iter().position(|other| *other == id).unwrap();
        assert_eq!((sent, answered), (1, vec![EXAMPLE[(at + 1) % 7], EXAMPLE[(at + 2) % 7]]), "at {id}");
    }
}

/// The assignment's `init`, started by hand a second or so apart, in any order. As soon as each peer has its first
/// answers, one quits or is killed: those before it tell the right successors.
#[test]
fn peers_that_start_a_second_apart_tell_the_right_successors_when_one_goes_right_after() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut wrong = Vec::new();
    for round in 0..200_usize {
        let mut net = Net::new(round as u64);
        let interval = Duration::from_secs([1, 3, 10, 30][round % 4]);
        let mut order: Vec<usize> = (0..7).collect();
        if round % 3 > 0 {
            order.shuffle(&mut rng);
        }
        for &at in &order {
            let given = vec![small(EXAMPLE[(at + 1) % 7]), small(EXAMPLE[(at + 2) % 7])];
            let options = RingOptions::classroom(interval, given);
            net.start(Ring::new(small(EXAMPLE[at]), options), false, &[]);
            net.run(Duration::from_millis(rng.random_range(100..2_000)));
        }
        let answered = |net: &Net<Ring>, id: u64| {
            let told = notices(net, addr(id as u32));
            told.iter().filter(|notice| matches!(notice, RouteNotice::PingAnswered { .. })).count() >= 2
        };
        while !EXAMPLE.iter().all(|id| answered(&net, *id)) {
            net.run(Duration::from_millis(100));
        }
        net.run(Duration::from_millis(rng.random_range(0..3_000)));
        let gone = rng.random_range(0..7);
        let quits = round % 2 == 0;
        if quits {
            net.leave(addr(EXAMPLE[gone] as u32));
        } else {
            net.vanish(addr(EXAMPLE[gone] as u32));
        }
        net.run(Duration::from_secs(if quits { 2 } else { 20 }));
        for (back, expected) in [(1, [1, 2]), (2, [6, 1])] {
            let next = |ahead: usize| EXAMPLE[(gone + ahead) % 7];
            let before = EXAMPLE[(gone + 7 - back) % 7];
            let expected = expected.map(next).to_vec();
            let peer = small(EXAMPLE[gone]);
            let told: Vec<_> = changes(&net, before)
                .into_iter()
                .filter(|(why, _)| matches!(why, SuccessorChange::Left { peer: other } | SuccessorChange::Died { peer: other } if *other == peer))
                .collect();
            let order: Vec<u64> = order.iter().map(|at| EXAMPLE[*at]).collect();
            if !matches!(&told[..], [(_, successors)] if *successors == expected) {
                wrong.push(format!("round {round}: started {order:?}, {} goes, quits {quits}: {before} tells {told:?}, not {expected:?}", EXAMPLE[gone]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
}

/// The assignment's `init` by a script: all peers start at once, and one is killed before it was pinged again.
#[test]
fn a_peer_that_is_killed_as_soon_as_it_has_started_is_missed_like_any_other() {
    let mut rng = StdRng::seed_from_u64(8);
    let mut wrong = Vec::new();
    for round in 0..100 {
        let mut net = Net::new(round);
        let mut order: Vec<usize> = (0..7).collect();
        order.shuffle(&mut rng);
        for &at in &order {
            let given = vec![small(EXAMPLE[(at + 1) % 7]), small(EXAMPLE[(at + 2) % 7])];
            net.start(Ring::new(small(EXAMPLE[at]), RingOptions::classroom(Duration::from_secs(1), given)), false, &[]);
            net.run(Duration::from_millis(rng.random_range(0..20)));
        }
        net.run(Duration::from_millis(rng.random_range(20..700)));
        let gone = order[6];
        net.vanish(addr(EXAMPLE[gone] as u32));
        net.run(Duration::from_secs(10));
        for back in [1, 2] {
            let before = EXAMPLE[(gone + 7 - back) % 7];
            let is_told =
                |(why, _): &(SuccessorChange, Vec<u64>)| *why == SuccessorChange::Died { peer: small(EXAMPLE[gone]) };
            if !changes(&net, before).iter().any(is_told) {
                wrong.push(format!("round {round}: {} is gone, and {before} does not know", EXAMPLE[gone]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
}

/// A peer that is killed and started again before anybody missed it joins like any other.
#[test]
fn a_peer_that_was_not_missed_yet_is_let_in_again() {
    let mut net = classroom_net(&EXAMPLE);
    net.run(Duration::from_secs(12));
    net.kill(addr(14));
    net.start(classroom(14), false, &[addr(4)]);
    net.run(Duration::from_millis(500));
    assert_eq!(changes(&net, 14), [(SuccessorChange::Welcomed, vec![19, 2])]);
    assert_eq!(changes(&net, 9), [(SuccessorChange::Joined { peer: small(14) }, vec![14, 19])]);
    assert_eq!(changes(&net, 8), [(SuccessorChange::Told { by: small(9) }, vec![9, 14])]);
    one_cycle(&net).unwrap();
    net.run(Duration::from_secs(60));
    assert!(!net.told.iter().any(|(_, _, effect)| matches!(effect, Effect::PeerDown(_))), "nobody died");
}

/// An id that is taken, and one that is too large, are refused with a reason.
#[test]
fn a_join_with_a_wrong_id_is_refused() {
    for (id, via, reason) in [(9, 4, "taken"), (4, 4, "taken"), (300, 4, "8 bits")] {
        let mut net = classroom_net(&EXAMPLE);
        let twin = Peer::new(Id::from_u64(id), addr(1_000));
        let ring = Ring::new(twin, RingOptions::classroom(Duration::from_secs(5), Vec::new()));
        net.start(ring, false, &[addr(via)]);
        net.run(Duration::from_secs(3));
        let told = notices(&net, addr(1_000));
        let refused = told
            .iter()
            .any(|notice| matches!(notice, RouteNotice::JoinRefused { reason: why } if why.contains(reason)));
        assert!(refused, "{id}: {told:?}");
        assert!(
            net.peers()
                .iter()
                .filter(|peer| peer.addr != addr(1_000))
                .all(|peer| { net.inside(peer.addr).peers().iter().all(|known| known.addr != addr(1_000)) })
        );
    }
}

/// A data folder was copied: the copy is not let in, and both peers hear of one another, however large the ring is and
/// through whomever the copy came. So they do where a ring that was cut grows together again.
#[test]
fn two_peers_of_one_id_hear_of_one_another() {
    let hear = |net: &Net<Ring>, at: u32, of: u32| {
        let wanted = |effect: &Effect| matches!(effect, Effect::Twin { addr: twin } if *twin == addr(of));
        assert_eq!(net.told.iter().filter(|(_, who, effect)| *who == addr(at) && wanted(effect)).count(), 1, "at {at}");
    };
    let copy_of_7 = || Ring::new(Peer::new(large(7).me().id, addr(1_000)), RingOptions::default());
    for through in [0, 7, 20, 39] {
        let mut net = large_net(40);
        net.start(copy_of_7(), false, &[addr(through)]);
        net.run(Duration::from_secs(30));
        hear(&net, 7, 1_000);
        hear(&net, 1_000, 7);
    }
    let mut net = large_net(40);
    net.add(copy_of_7(), false);
    net.cut(|peer| u8::from([addr(9), addr(1_000)].contains(&peer.addr)));
    net.run(Duration::from_secs(60));
    net.join(addr(1_000), &[addr(9)]);
    net.run(Duration::from_secs(60));
    assert_eq!(net.inside(addr(1_000)).successors(), [large(9).me()]);
    net.mend();
    net.run(Duration::from_secs(120));
    hear(&net, 7, 1_000);
    hear(&net, 1_000, 7);
}

/// A peer that crashed comes back under its id as soon as its death is noticed, from another address too.
#[test]
fn a_peer_comes_back_under_its_id() {
    let mut net = classroom_net(&EXAMPLE);
    net.kill(addr(9));
    let ring =
        Ring::new(Peer::new(Id::from_u64(9), addr(999)), RingOptions::classroom(Duration::from_secs(5), Vec::new()));
    net.start(ring, false, &[addr(2)]);
    net.run(Duration::from_secs(30));
    settle(&mut net, Duration::from_secs(30));
    assert_eq!(net.inside(addr(8)).successors()[0].addr, addr(999));
}

/// Anybody can write a `join` in another's name. It brings that address one ping, no longer than the `join` itself, and
/// no connection, and nobody of that name into any list.
#[test]
fn a_join_in_another_s_name_brings_that_address_one_ping_and_nobody_into_a_list() {
    for net in [classroom_net(&EXAMPLE), large_net(8)] {
        let mut net = rest(net);
        let peers = net.peers();
        let (before, id) = peers
            .iter()
            .filter_map(|peer| Some((*peer, peer.id.next()?)))
            .find(|(_, id)| peers.iter().all(|peer| peer.id != *id))
            .expect("a gap");
        // Its place is right behind a peer, and nobody is at its address.
        let forged = Peer::new(id, "10.9.9.9:5555".parse().expect("an address"));
        let route = Route { hops: 1, last: true, ..Route::of(forged) };
        let join = Request::Ring(RingRequest::Routed { route, what: Routed::Join });
        let known = net.asked.len();
        for magic in 0..3 {
            let mut effects = Vec::new();
            net.with(before.addr, |overlay, now, out| {
                let from = Incoming { asker: Asker::connected(forged.addr, magic), sender: None };
                overlay.on(now, Cause::Request { from: &from, request: &join }, out);
                effects.clone_from(out);
            });
            let [Effect::Ask { to, request: Request::Ping, tries: ONCE, .. }] = &effects[..] else {
                panic!("{effects:?}")
            };
            assert_eq!(to.addr, forged.addr);
            net.run(Duration::from_secs(10));
        }
        assert_eq!(net.asked[known..].iter().filter(|asked| asked.to == forged.addr).count(), 3);
        let lists = peers.iter().flat_map(|peer| net.overlay(peer.addr).table());
        assert!(!lists.flat_map(|row| row.peers).any(|peer| peer.addr == forged.addr), "it is in a list");
        one_cycle(&net).expect("the ring is as it was");
    }
}

/// Nothing else tells them of it: they see no gap, and what it said before it was started anew counts no more.
#[test]
fn who_enters_again_before_it_was_missed_is_noticed_by_both_before_it() {
    for wait in [0, 300, 2_000] {
        let mut net = classroom_net(&EXAMPLE);
        net.run(Duration::from_secs(3));
        net.kill(addr(9));
        net.run(Duration::from_millis(wait));
        net.start(classroom(9), false, &[addr(2)]);
        net.run(Duration::from_secs(2));
        let entered = |effect: &Effect| *effect == Effect::Ring(RingEffect::Entered(small(9)));
        let noticed: BTreeSet<SocketAddr> =
            net.told.iter().filter(|(.., effect)| entered(effect)).map(|(_, who, _)| *who).collect();
        assert_eq!(noticed, [5, 8].map(addr).into(), "back after {wait} ms");
    }
}
