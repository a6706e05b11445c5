//! What the Chord papers promise, a test a sentence. "SIGCOMM" is Stoica et al. 2001, "ToN" the journal version of 2003.

mod net;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::ring::{Ring, RingOptions, SUCCESSORS};
use kadring::overlay::{Change, Effect, Goal, Overlay, RouteNotice, RouteOutcome};
use kadring::peer::Peer;
use kadring::wire::ring::{RingRequest, Route, Routed};
use kadring::wire::{Request, Sender, Via};
use net::{LATENCY, Net, addr, clockwise};

const WIDTH: usize = kadring::config::WIDTH;

/// The assignment's ring.
const EXAMPLE: [u64; 7] = [2, 4, 5, 8, 9, 14, 19];

fn small(id: u64) -> Peer {
    Peer::new(Id::from_u64(id), addr(id as u32))
}

fn classroom(id: u64) -> Ring {
    Ring::new(small(id), RingOptions::classroom(Duration::from_secs(5), Vec::new()))
}

fn large(number: u32) -> Ring {
    let id = Id::of(&number.to_be_bytes());
    Ring::new(Peer::new(id, addr(number)), RingOptions::default())
}

/// A ring at rest of ids 0 to 255.
fn classroom_net(ids: &[u64]) -> Net<Ring> {
    let mut net = Net::new(1);
    for &id in ids {
        net.add(classroom(id), false);
    }
    rest(net)
}

/// A ring at rest of 256-bit ids.
fn large_net(count: u32) -> Net<Ring> {
    let mut net = Net::new(2);
    for number in 0..count {
        net.add(large(number), false);
    }
    rest(net)
}

fn rest(mut net: Net<Ring>) -> Net<Ring> {
    let peers = net.peers();
    net.fill(|ring, now| ring.fill(now, &peers));
    net
}

/// Lets the ring settle, and says how long it took.
fn settle(net: &mut Net<Ring>, limit: Duration) -> Duration {
    let start = net.now;
    while let Err(wrong) = one_cycle(net) {
        assert!(net.now.since(start) < limit, "not settled after {limit:?}: {wrong}");
        net.run(Duration::from_millis(100));
    }
    net.now.since(start)
}

/// Whether every peer's first successors and first predecessor are the true ones.
fn one_cycle(net: &Net<Ring>) -> Result<(), String> {
    let peers = net.peers();
    let count = peers.len();
    for (at, peer) in peers.iter().enumerate() {
        let ring = net.inside(peer.addr);
        let near = (count - 1).min(2);
        let after: Vec<Peer> = (1..=near).map(|step| peers[(at + step) % count]).collect();
        let before: Vec<Peer> = (1..=near).map(|step| peers[(at + count - step) % count]).collect();
        if !ring.successors().starts_with(&after) {
            return Err(format!("{peer} has successors {:?}, not {after:?}", ring.successors()));
        }
        if !ring.predecessors().starts_with(&before) {
            return Err(format!("{peer} has predecessors {:?}, not {before:?}", ring.predecessors()));
        }
    }
    Ok(())
}

fn assert_owners(net: &mut Net<Ring>, keys: impl IntoIterator<Item = Id>) {
    let peers = net.peers();
    for (turn, key) in keys.into_iter().enumerate() {
        let at = peers[turn % peers.len()].addr;
        let (found, _) = net.find(at, key);
        let mut right = clockwise(&peers, &key);
        right.truncate(WIDTH);
        assert_eq!(found, right, "asked {at} for {key}");
    }
}

/// The notices of one peer.
fn notices(net: &Net<Ring>, at: SocketAddr) -> Vec<RouteNotice> {
    let own = net.told.iter().filter(|(_, who, _)| *who == at);
    own.filter_map(|(_, _, effect)| if let Effect::Notice(notice) = effect { Some(notice.clone()) } else { None })
        .collect()
}

fn ids(peers: &[Peer]) -> Vec<u64> {
    peers.iter().map(|peer| peer.id.to_u64().expect("a small id")).collect()
}

/// What a peer was told of its first two successors, and why.
fn changes(net: &Net<Ring>, id: u64) -> Vec<(Change, Vec<u64>)> {
    let all = notices(net, addr(id as u32)).into_iter();
    all.filter_map(|notice| match notice {
        RouteNotice::Successors { why, successors } => Some((why, ids(&successors[..successors.len().min(2)]))),
        _ => None,
    })
    .collect()
}

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

/// SIGCOMM 4.3: a request may walk the circle by successors alone; then each peer between passes it on.
#[test]
fn without_fingers_a_request_walks_from_successor_to_successor() {
    let mut net = classroom_net(&EXAMPLE);
    let (found, hops) = net.find(addr(8), Id::from_u64(19));
    assert_eq!((ids(&found)[0], hops), (19, 3), "8 to 9 to 14 to 19");
    let forwarded: Vec<SocketAddr> = net
        .told
        .iter()
        .filter(|(_, _, effect)| matches!(effect, Effect::Notice(RouteNotice::Forwarded { .. })))
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

/// ToN IV-E1: a new peer may ask any peer of the ring to let it in. Every place on the circle (the ends and the middle of
/// each gap), through every peer, at several moments of a ping interval: all know their neighbours in less than two
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
    assert_eq!(changes(&net, 14)[0], (Change::Joined { peer: small(15) }, vec![15, 19]));
    assert!(changes(&net, 9).contains(&(Change::Told { by: small(14) }, vec![14, 15])));
    assert_eq!(changes(&net, 15)[0], (Change::Welcomed, vec![19, 2]));
    for id in [2, 4, 5, 8, 19] {
        assert!(changes(&net, id).iter().all(|(why, _)| *why == Change::Stabilized), "at {id}");
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

/// A whole network that starts at once, each peer knowing the first alone, ends in one cycle too.
#[test]
fn a_ring_that_starts_at_once_forms() {
    let mut net = Net::new(3);
    for number in 0..30 {
        net.start(large(number), false, &[addr(if number == 0 { 1 } else { 0 })]);
    }
    settle(&mut net, Duration::from_secs(120));
}

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
    let died = Change::Died { peer: small(14) };
    let seen: Vec<(SocketAddr, Duration)> = net
        .told
        .iter()
        .filter(|(_, _, effect)| matches!(effect, Effect::Notice(RouteNotice::Successors { why, .. }) if *why == died))
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
    assert!(changes(&net, 9).contains(&(Change::Died { peer: small(14) }, vec![19, 2])));
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
        Effect::Notice(RouteNotice::Successors { why: Change::Died { peer }, .. }) => {
            Some((ports(*who), ids(&[*peer])[0], when.since(at)))
        }
        _ => None,
    });
    told.collect()
}

/// Three pings in a row without an answer are a death, whether they go out every second or every half minute, and though
/// no round trip was ever measured; never does it take more than a minute, with two neighbours gone at once neither.
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

/// Whoever is told of a neighbour's death by another neighbour does not wait for pings: the dead peer refuses a connection.
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
    assert!(changes(&net, 8).iter().any(|(why, _)| *why == Change::Died { peer: small(9) }));
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

/// ToN IV-E4: a peer that leaves tells its predecessor and successor, which close the gap at once.
#[test]
fn a_graceful_departure_closes_the_gap_at_once() {
    let mut net = classroom_net(&EXAMPLE);
    net.leave(addr(9));
    net.run(Duration::from_millis(20));
    one_cycle(&net).unwrap();
    let left = Change::Left { peer: small(9) };
    assert_eq!(changes(&net, 8), [(left, vec![14, 19])]);
    assert_eq!(changes(&net, 5), [(left, vec![8, 14])]);
    for id in [2, 4, 14, 19] {
        assert!(changes(&net, id).iter().all(|(why, _)| *why == Change::Stabilized), "at {id}");
    }
    net.run(Duration::from_secs(30));
    assert!(!net.told.iter().any(|(_, _, effect)| matches!(
        effect,
        Effect::Notice(RouteNotice::Successors { why: Change::Died { .. }, .. })
    )));
}

/// ToN IV-E4: a goodbye is final, whatever pings and answers are on their way while it is said, by one peer or by two
/// neighbours at once: nobody takes a peer that left for one that is there, or for one that died.
#[test]
fn nobody_who_said_goodbye_comes_back_or_is_mourned() {
    for (step, leavers) in (0..250_u64).zip([&[9_u64][..], &[8, 9], &[9, 8]].into_iter().cycle()) {
        let mut net = Net::new(step);
        for &id in &EXAMPLE {
            net.add(Ring::new(small(id), RingOptions::classroom(Duration::from_millis(200), Vec::new())), false);
        }
        let mut net = rest(net);
        net.run(Duration::from_micros(2_000_000 + 511 * step));
        for &id in leavers {
            net.say_goodbye(addr(id as u32));
            net.run(Duration::from_millis(1));
        }
        let begin = net.told.len();
        net.run(Duration::from_millis(600));
        for &id in leavers {
            net.kill(addr(id as u32));
        }
        net.run(Duration::from_secs(6));
        let is_leaver = |at: &SocketAddr| leavers.iter().any(|id| addr(*id as u32) == *at);
        let wrong = net.told[begin..].iter().find(|(_, at, effect)| match effect {
            Effect::PeerUp(peer) => is_leaver(&peer.addr) && !is_leaver(at),
            Effect::Notice(RouteNotice::Successors { why: Change::Died { .. }, .. }) => !is_leaver(at),
            _ => false,
        });
        assert_eq!(wrong, None, "step {step}");
        one_cycle(&net).unwrap();
    }
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
    assert_eq!(changes(&net, 2)[0], (Change::Given, vec![4, 5]));
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

/// A peer that is killed and started again before anybody missed it joins like any other.
#[test]
fn a_peer_that_was_not_missed_yet_is_let_in_again() {
    let mut net = classroom_net(&EXAMPLE);
    net.run(Duration::from_secs(12));
    net.kill(addr(14));
    net.start(classroom(14), false, &[addr(4)]);
    net.run(Duration::from_millis(500));
    assert_eq!(changes(&net, 14), [(Change::Welcomed, vec![19, 2])]);
    assert_eq!(changes(&net, 9), [(Change::Joined { peer: small(14) }, vec![14, 19])]);
    assert_eq!(changes(&net, 8), [(Change::Told { by: small(9) }, vec![9, 14])]);
    one_cycle(&net).unwrap();
    net.run(Duration::from_secs(60));
    assert!(!net.told.iter().any(|(_, _, effect)| matches!(effect, Effect::PeerDown(_))), "nobody died");
}

/// Whoever has said goodbye passes on what still comes to it: a join to its predecessor, a request to its successor.
#[test]
fn what_reaches_a_peer_after_its_goodbye_is_passed_on() {
    let mut net = classroom_net(&EXAMPLE);
    net.add(classroom(15), false);
    let join = Routed::Join;
    let store = Routed::Store { file: "0013".parse().unwrap() };
    net.say_goodbye(addr(14));
    for (origin, what) in [(15, join), (2, store)] {
        let origin = small(origin);
        let route = Route { origin, hops: 1, last: true };
        let sender = Sender { peer: origin, guest: false, leaving: false };
        let request = Request::Ring(RingRequest::Routed { route, what });
        net.inject(origin.addr, sender, addr(14), Via::Tcp, request);
    }
    net.run(Duration::from_millis(50));
    assert_eq!(changes(&net, 9).last(), Some(&(Change::Joined { peer: small(15) }, vec![15, 19])));
    let arrived = |at: u64| {
        net.told.iter().any(|(_, who, effect)| *who == addr(at as u32) && matches!(effect, Effect::Arrived { .. }))
    };
    assert_eq!(EXAMPLE.map(arrived), EXAMPLE.map(|id| id == 19));
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

/// Requests about files by name reach the peer responsible, each peer on the way telling of it once.
#[test]
fn a_named_file_is_routed_to_its_owner() {
    let mut net = classroom_net(&EXAMPLE);
    let what = Routed::Store { file: "2067".parse().unwrap() };
    net.with(addr(8), |ring, now, out| ring.route(now, 7, what, out));
    net.run(Duration::from_secs(3));
    let forwarded: Vec<SocketAddr> = net
        .told
        .iter()
        .filter(|(_, _, effect)| matches!(effect, Effect::Notice(RouteNotice::Forwarded { .. })))
        .map(|(_, at, _)| *at)
        .collect();
    assert_eq!(forwarded, [addr(8), addr(9), addr(14)]);
    let arrived = net.told.iter().find_map(|(_, at, effect)| match effect {
        Effect::Arrived { origin, what, .. } => Some((*at, *origin, *what)),
        _ => None,
    });
    assert_eq!(arrived, Some((addr(19), small(8), what)));
    let answered = net.told.iter().any(|(_, at, effect)| {
        let answer =
            |outcome: &RouteOutcome| matches!(outcome, RouteOutcome::Answered { from, .. } if *from == addr(19));
        *at == addr(8) && matches!(effect, Effect::Settled { lookup: 7, outcome } if answer(outcome))
    });
    assert!(answered, "the owner answers the origin itself");
    net.with(addr(19), |ring, now, out| ring.route(now, 8, what, out));
    let here = |(_, at, effect): &(_, SocketAddr, Effect)| {
        *at == addr(19) && *effect == Effect::Settled { lookup: 8, outcome: RouteOutcome::Here }
    };
    assert!(net.told.iter().any(here), "the responsible peer asks nobody");
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
