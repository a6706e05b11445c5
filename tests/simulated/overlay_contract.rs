//! What every overlay promises to the node, whatever its geometry: one suite, run on each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::{LATENCY, Net, addr, by_distance, clockwise};
use kadring::config::{REPAIR_BOUND, WIDTH};
use kadring::id::{Id, Key};
use kadring::overlay::kademlia::Kademlia;
use kadring::overlay::ring::{Ring, RingOptions};
use kadring::overlay::{Asker, Cause, Effect, Entrances, Goal, Incoming, LookupId, Overlay};
use kadring::peer::Peer;
use kadring::time::Time;
use kadring::wire::{Request, Response, Sender, Start, Via};

type Anyone = Box<dyn Overlay>;

/// An overlay as the suite sees it.
struct Kind {
    /// A peer, or a guest.
    build: fn(Peer, bool) -> Anyone,
    /// The peers nearest to a key, nearest first.
    nearest: fn(&[Peer], &Id) -> Vec<Peer>,
}

const KADEMLIA: Kind =
    Kind { build: |me, guest| Box::new(Kademlia::new(me, *me.id.as_bytes(), guest)), nearest: by_distance };

const RING: Kind = Kind {
    build: |me, guest| Box::new(Ring::new(me, RingOptions { guest, ..RingOptions::default() })),
    nearest: clockwise,
};

/// Makes each of `promises` a test of each overlay.
macro_rules! both {
    ($($promise:ident),+ $(,)?) => {
        mod kademlia {
            $(#[test] fn $promise() { super::$promise(&super::KADEMLIA); })+
        }
        mod ring {
            $(#[test] fn $promise() { super::$promise(&super::RING); })+
        }
    };
}

both![
    joining_is_told_once_also_by_one_who_is_alone,
    an_address_where_nobody_is_delays_no_join,
    a_lookup_at_rest_finds_the_true_nearest_from_everywhere,
    a_lookup_ends_exactly_once_whatever_happens,
    a_cancelled_lookup_never_ends,
    holders_are_told_and_nobody_else,
    dead_peers_are_in_no_result_after_the_bound,
    a_goodbye_is_noticed_without_waiting,
    a_guest_finds_everything_and_enters_no_table,
    a_requests_answer_goes_to_whoever_asked,
    the_replica_set_known_at_rest_is_the_one_a_lookup_finds,
    a_region_is_a_range_of_keys_with_one_replica_set,
    lost_datagrams_drive_nobody_out,
    two_networks_that_were_cut_are_one_again,
    the_same_events_have_the_same_effects,
    strange_requests_and_answers_to_nothing_do_no_harm,
];

fn peer(number: u32) -> Peer {
    Peer::new(Id::of(&number.to_be_bytes()), addr(number))
}

fn key(number: u32) -> Key {
    Id::of(format!("key {number}").as_bytes())
}

/// A network of `count` peers, each of which joined through an earlier one, at rest.
fn network(kind: &Kind, count: u32) -> Net<Anyone> {
    let mut net = Net::new(u64::from(count));
    for number in 0..count {
        let known: Vec<SocketAddr> = number.checked_sub(1).map(|_| addr(number / 2)).into_iter().collect();
        net.start((kind.build)(peer(number), false), false, &known);
        net.run(Duration::from_millis(200));
    }
    net.run(Duration::from_secs(120));
    net
}

fn true_set(kind: &Kind, net: &Net<Anyone>, key: &Key) -> Vec<Peer> {
    let mut nearest = (kind.nearest)(&net.peers(), key);
    nearest.truncate(WIDTH);
    nearest
}

fn ends(net: &Net<Anyone>, id: LookupId) -> usize {
    let found = |effect: &Effect| matches!(effect, Effect::Found { lookup, .. } if *lookup == id);
    net.told.iter().filter(|(_, _, effect)| found(effect)).count()
}

fn known_to(net: &Net<Anyone>, at: SocketAddr) -> usize {
    net.peers().iter().filter(|peer| net.overlay(peer.addr).peers().iter().any(|known| known.addr == at)).count()
}

fn joining_is_told_once_also_by_one_who_is_alone(kind: &Kind) {
    let mut net = Net::new(1);
    net.start((kind.build)(peer(0), false), false, &[]);
    net.start((kind.build)(peer(1), false), false, &[addr(0)]);
    // Nobody listens there.
    net.start((kind.build)(peer(2), false), false, &[addr(77)]);
    net.run(Duration::from_secs(300));
    for (number, peers) in [(0, 0), (1, 1), (2, 0)] {
        assert_eq!(net.joined(addr(number)), [peers], "peer {number}");
    }
    for number in 0..3 {
        assert!(net.find(addr(number), key(0)).0.contains(&peer(number)), "a small network answers too");
    }
}

fn a_lookup_at_rest_finds_the_true_nearest_from_everywhere(kind: &Kind) {
    for count in [1, 2, 3, 8, 40] {
        let mut net = network(kind, count);
        for number in 0..40 {
            let right = true_set(kind, &net, &key(number));
            let (found, hops) = net.find(addr(number % count), key(number));
            assert_eq!(found, right, "key {number} among {count} peers");
            assert!(hops <= 12, "{hops} hops");
        }
    }
}

fn a_lookup_ends_exactly_once_whatever_happens(kind: &Kind) {
    let mut net = network(kind, 30);
    net.loss = 0.2;
    let mut lookups = Vec::new();
    for number in 0..60 {
        let goal = if number % 2 == 0 { Goal::Peers } else { Goal::Holders };
        lookups.push(net.lookup(addr(number % 10), key(number), goal));
        if number % 6 == 0 {
            net.kill(addr(10 + number / 6));
        }
        net.run(LATENCY);
    }
    net.run(Duration::from_secs(60));
    for lookup in lookups {
        assert_eq!(ends(&net, lookup), 1, "lookup {lookup}");
    }
}

fn a_cancelled_lookup_never_ends(kind: &Kind) {
    let mut net = network(kind, 30);
    for number in 0..40 {
        let goal = if number % 2 == 0 { Goal::Peers } else { Goal::Holders };
        let at = addr(number % 30);
        let lookup = net.lookup(at, key(number), goal);
        let ended = ends(&net, lookup);
        net.cancel(at, lookup);
        let other = net.lookup(at, key(number), goal);
        net.run(Duration::from_secs(10));
        assert_eq!((ends(&net, lookup), ends(&net, other)), (ended, 1));
    }
}

fn holders_are_told_and_nobody_else(kind: &Kind) {
    let mut net = network(kind, 30);
    for number in 0..20 {
        let set = true_set(kind, &net, &key(number));
        let holders: BTreeSet<Peer> = [set[0], set[3], set[6]].into();
        holders.iter().for_each(|holder| net.hold(holder.addr, key(number)));
        let asker = net.peers().into_iter().find(|peer| !set.contains(peer)).expect("30 is more than a set");
        let lookup = net.lookup(asker.addr, key(number), Goal::Holders);
        net.run(Duration::from_secs(10));
        let told: Vec<Peer> = net
            .told
            .iter()
            .filter_map(|(_, _, effect)| match effect {
                Effect::Holder { lookup: id, peer } if *id == lookup => Some(*peer),
                _ => None,
            })
            .collect();
        assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), holders, "key {number}");
        assert_eq!(told.len(), holders.len(), "each once");
        assert_eq!(net.found(lookup).expect("it has ended").0, set);
    }
}

fn dead_peers_are_in_no_result_after_the_bound(kind: &Kind) {
    let mut net = network(kind, 40);
    for number in [3, 9, 14, 21, 22, 33] {
        net.kill(addr(number));
    }
    net.run(REPAIR_BOUND);
    let askers = net.peers();
    for number in 0..60 {
        let right = true_set(kind, &net, &key(number));
        let (found, _) = net.find(askers[number as usize % askers.len()].addr, key(number));
        assert_eq!(found, right, "key {number}");
    }
}

fn a_goodbye_is_noticed_without_waiting(kind: &Kind) {
    let mut net = network(kind, 8);
    let knew = known_to(&net, addr(3));
    assert!(knew > 0);
    net.leave(addr(3));
    net.run(Duration::from_secs(5));
    assert_eq!(known_to(&net, addr(3)), 0, "of {knew} that knew it");
    let down: BTreeSet<SocketAddr> =
        net.told.iter().filter(|(_, _, effect)| *effect == Effect::PeerDown(peer(3))).map(|(_, at, _)| *at).collect();
    assert!(down.len() >= knew - 1, "{} of {knew} told of it", down.len());
}

fn an_address_where_nobody_is_delays_no_join(kind: &Kind) {
    for guest in [true, false] {
        let mut net = network(kind, 10);
        let (me, begin) = (Peer::new(Id::of(b"new"), addr(900)), net.now);
        net.start((kind.build)(me, guest), guest, &[addr(800), addr(7)]);
        net.run(Duration::from_secs(3));
        let joined = net.told.iter().find_map(|(at, by, effect)| match effect {
            Effect::Joined { peers: 1.., .. } if *by == me.addr => Some(*at),
            _ => None,
        });
        let took = joined.expect("it joins") - begin;
        assert!(took < LATENCY * 20, "guest: {guest}, {took:?}");
    }
}

fn a_guest_finds_everything_and_enters_no_table(kind: &Kind) {
    let mut net = network(kind, 30);
    let guest = Peer::new(Id::of(b"guest"), addr(900));
    net.start((kind.build)(guest, true), true, &[addr(7)]);
    net.run(Duration::from_secs(3));
    for number in 0..30 {
        let right = true_set(kind, &net, &key(number));
        assert_eq!(net.find(guest.addr, key(number)).0, right, "key {number}");
    }
    net.run(Duration::from_secs(60));
    assert_eq!(known_to(&net, guest.addr), 0);
    let told = |effect: &Effect| matches!(effect, Effect::PeerUp(peer) if *peer == guest);
    assert!(!net.told.iter().any(|(_, _, effect)| told(effect)));
}

fn a_requests_answer_goes_to_whoever_asked(kind: &Kind) {
    let mut overlay = (kind.build)(peer(0), false);
    overlay.join(Time::ZERO, &Entrances::default(), &mut Vec::new());
    let sender = Some(Sender::member(peer(1).id, peer(1).addr));
    let from = Incoming { asker: Asker::connected(addr(1), 42), sender };
    for request in [Request::Ping, Request::FindNode { id: key(1) }, Request::FindValue { key: key(2) }] {
        let mut out = Vec::new();
        overlay.on(Time::ZERO, Cause::Request { from: &from, request: &request }, &mut out);
        let answers = out.iter().filter(|effect| match effect {
            Effect::Respond { to, kind, .. } => {
                assert_eq!((*to, *kind), (from.asker, request.kind()));
                true
            }
            _ => false,
        });
        assert_eq!(answers.count(), 1, "{request:?}");
    }
}

fn the_replica_set_known_at_rest_is_the_one_a_lookup_finds(kind: &Kind) {
    let mut net = network(kind, 40);
    for number in 0..60 {
        let (found, _) = net.find(addr(number % 40), key(number));
        for member in &found {
            let known = net.overlay(member.addr).replica_set(&key(number), WIDTH);
            assert_eq!(known, found, "key {number} as {member} sees it");
        }
    }
}

fn a_region_is_a_range_of_keys_with_one_replica_set(kind: &Kind) {
    let net = network(kind, 40);
    let by_id = |mut set: Vec<Peer>| {
        set.sort_unstable_by_key(|peer| peer.id);
        set
    };
    for member in net.peers().into_iter().take(8) {
        let overlay = net.overlay(member.addr);
        let set = |key: &Key| by_id(overlay.replica_set(key, WIDTH));
        // From the least key to the greatest, region after region, without a gap.
        let (mut next, mut regions) = (Some(Key::ZERO), 0);
        while let Some(first) = next {
            let region = overlay.region(&first, WIDTH);
            assert_eq!(region.first, first, "a region begins where the last one ended");
            let (least, greatest) = (Start::of(&region.first).0, Start::of(&region.last).0);
            let middle = Start(least.midpoint(greatest)).key(0).clamp(region.first, region.last);
            for key in [region.first, middle, region.last] {
                assert_eq!(by_id(region.members.clone()), set(&key), "key {key} as {member} sees it");
                assert_eq!(overlay.region(&key, WIDTH).first, region.first);
            }
            (next, regions) = (region.last.next(), regions + 1);
        }
        assert!((5..2_000).contains(&regions), "{regions} regions");
    }
}

fn lost_datagrams_drive_nobody_out(kind: &Kind) {
    let mut net = network(kind, 12);
    net.loss = 0.1;
    net.run(Duration::from_secs(3600));
    net.loss = 0.0;
    net.run(Duration::from_secs(30));
    for number in 0..40 {
        let right = true_set(kind, &net, &key(number));
        assert_eq!(net.find(addr(number % 12), key(number)).0, right, "key {number}");
    }
}

fn two_networks_that_were_cut_are_one_again(kind: &Kind) {
    let mut net = network(kind, 16);
    net.cut(|peer| u8::from(peer.id.bit(5)));
    net.run(Duration::from_secs(180));
    net.mend();
    net.run(Duration::from_secs(600));
    for number in 0..40 {
        let right = true_set(kind, &net, &key(number));
        assert_eq!(net.find(addr(number % 16), key(number)).0, right, "key {number}");
    }
}

fn the_same_events_have_the_same_effects(kind: &Kind) {
    let story = || {
        let mut net = network(kind, 20);
        net.loss = 0.1;
        for number in 0..20 {
            net.lookup(addr(number), key(number), Goal::Holders);
            if number % 5 == 4 {
                net.kill(addr(number));
            }
            net.run(Duration::from_secs(2));
        }
        (net.told, net.sent)
    };
    let (first, second) = (story(), story());
    assert!(first.0.len() > 100);
    assert!(first == second);
}

fn strange_requests_and_answers_to_nothing_do_no_harm(kind: &Kind) {
    let mut net = network(kind, 10);
    let known = |net: &Net<Anyone>, at| net.overlay(at).peers().into_iter().collect::<BTreeSet<Peer>>();
    let before: BTreeMap<SocketAddr, BTreeSet<Peer>> =
        net.peers().iter().map(|peer| (peer.addr, known(&net, peer.addr))).collect();
    for number in 0..200_u32 {
        // Many ids that claim to be at an address where nobody answers, and one that claims to be the receiver.
        let to = addr(number % 10);
        let id = if number % 7 == 0 { peer(number % 10).id } else { key(number) };
        let sender = Sender::member(id, addr(5_000 + number));
        let request = match number % 3 {
            0 => Request::Ping,
            1 => Request::FindNode { id: key(number) },
            _ => Request::FindValue { key: key(number) },
        };
        net.inject(addr(5_000 + number), sender, to, Via::Udp, request);
        net.with(to, |overlay, now, out| {
            let tag = u64::MAX - u64::from(number);
            let response = Response::Nodes(vec![peer(700)]);
            overlay.on(now, Cause::Answer { tag, from: addr(3), by: None, response: &response }, out);
            overlay.on(now, Cause::NoAnswer { tag, to: peer(3).into() }, out);
            overlay.on(now, Cause::Undeliverable { addr: addr(6_000), forwarded: None }, out);
        });
        net.run(Duration::from_millis(50));
    }
    net.run(Duration::from_secs(30));
    for (at, peers) in before {
        assert_eq!(known(&net, at), peers, "strangers that answer nothing enter nowhere");
    }
}
