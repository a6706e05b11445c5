//! The origin of a routed request shows that it is where it says, before anything is done for it or sent to it.
//!
//! Such a request comes through other peers, so the address of its origin is a claim: any sender could have this peer
//! connect to, and ping, any address that it names, and with a `join` fill the lists with peers that are not there. So
//! the origin is pinged, with one datagram about as long as the request, and no more is sent there until it answered.
//! Each time that it repeats the request it is pinged again, for that datagram may be lost, or its answer: so much
//! comes to an address as is said in its name, and no more. A `join` is proven each time, anything else by whatever
//! that address has answered before.
//!
//! A lookup whose origin is said to read datagrams need not wait for that: its answer is one datagram of three bytes at
//! most for each that a sender must have sent in that name, the rule that holds for any stranger, and once. Where the
//! answer is longer, or the lookup comes again, the origin is pinged as for anything else.

use std::net::SocketAddr;

use super::neighbours::RingNeighbours;
use super::relay::Relay;
use super::{QuestionFor, Ring};
use crate::config::VALIDATED_FOR;
use crate::overlay::{Effect, Tag};
use crate::patience;
use crate::peer::Peer;
use crate::source::{AddressScope, Subnet};
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::Routed;

/// Origins that are pinged at a time.
const MAX_PROOFS: usize = 32;

/// Those of them at one [`Subnet`] of the open internet.
const MAX_PROOFS_OF_SOURCE: usize = 4;

/// Pings to one origin that are waited for at a time.
const MAX_PINGS: usize = 4;

/// Requests of one origin that wait for its answer.
const MAX_HELD: usize = 16;

/// Addresses that are remembered because they answered.
pub(super) const MAX_PROVEN: usize = 1024;

/// A request that waits until its origin has shown that it is there. The user hears of it if it came for the first
/// time.
#[derive(Clone, Debug)]
pub(super) struct HeldRequest {
    relay: Relay,
    first_time: bool,
}

/// Whether an address that answered then can be counted on to be its peer's still.
pub(super) fn is_recent(now: Time, shown: Time) -> bool {
    now.since(shown) < VALIDATED_FOR
}

impl Ring {
    /// Whether this address has answered, not too long ago, or is this peer's own.
    pub(super) fn is_proven(&self, addr: &SocketAddr) -> bool {
        *addr == self.me.addr || self.proven.get(addr).is_some_and(|shown| is_recent(self.now, *shown))
    }

    /// Pings the origin of a request, and again when that repeats it, unless too many of its source are pinged. Where
    /// too many are pinged in all, the one that was pinged first is not waited for any longer: a peer that is there
    /// answers at once.
    pub(super) fn have_proven(&mut self, relay: Relay, first_time: bool, out: &mut Vec<Effect>) {
        let (origin, is_join) = (relay.route.origin, relay.what == Routed::Join);
        let proving = |(tag, why): (&Tag, &QuestionFor)| why.proving().map(|peer| (*tag, peer.addr));
        let under_way: Vec<(Tag, SocketAddr)> = self.asked.iter().filter_map(proving).collect();
        let of_source = under_way.iter().filter(|(_, addr)| Subnet::of(*addr) == Subnet::of(origin.addr)).count();
        let has_room = of_source < MAX_PROOFS_OF_SOURCE || AddressScope::of(&origin.addr).is_of_a_lab();
        let Some(held) = self.due_proof(HeldRequest { relay, first_time }, has_room) else { return };
        if let Some((oldest, _)) = under_way.first().filter(|_| under_way.len() >= MAX_PROOFS) {
            self.asked.remove(oldest);
        }
        // A peer that is known may have been started again: then it has no neighbours. A peer that has some is in the
        // ring, and another one wrote the join.
        let is_known = is_join && self.table.get(&origin.id) == Some(origin);
        let ping = if is_known { Request::Ring(RingNeighbours::NONE.ping(true)) } else { Request::Ping };
        self.ask_plain(origin.into(), ping, QuestionFor::Proof { origin, held }, patience::ONCE, out);
    }

    /// What a ping to the origin of `new` would prove; none if no ping goes out, for there is no room for one, or one
    /// is on its way and no request is repeated. Then `new` waits for that one.
    fn due_proof(&mut self, new: HeldRequest, has_room: bool) -> Option<Vec<HeldRequest>> {
        let origin = new.relay.route.origin;
        let mut pinged: Vec<_> = self.asked.values_mut().filter_map(|why| why.proving_at(&origin.addr)).collect();
        let (others, pings) = (pinged.iter().any(|(other, _)| **other != origin), pinged.len());
        let Some((_, held)) = pinged.last_mut() else { return has_room.then(|| vec![new]) };
        let is_repeat = held.iter().any(|held| held.relay.is_same(&new.relay));
        if is_repeat && !others && pings < MAX_PINGS && has_room {
            return Some(std::mem::take(held));
        }
        if !is_repeat && !others && held.len() < MAX_HELD {
            held.push(new);
        }
        None
    }

    /// The origin of some requests answered at the address that they gave. All pings to it prove as much.
    pub(super) fn on_proof(&mut self, now: Time, origin: &Peer, mut held: Vec<HeldRequest>, out: &mut Vec<Effect>) {
        let pinged = self.asked.values_mut().filter_map(|why| why.proving_at(&origin.addr));
        pinged.for_each(|(_, others)| held.append(others));
        self.proven.insert(origin.addr, now);
        self.vitals.back(origin);
        for HeldRequest { relay, first_time } in held {
            if relay.what == Routed::Join {
                self.on_proven(now, relay, first_time, out);
            } else {
                self.pass_on(now, relay, &[], first_time, out);
            }
        }
    }
}

impl QuestionFor {
    /// The origin of some requests that is pinged.
    const fn proving(&self) -> Option<&Peer> {
        match self {
            Self::Proof { origin, .. } => Some(origin),
            _ => None,
        }
    }

    /// The same, if it is at this address, and its requests.
    fn proving_at(&mut self, addr: &SocketAddr) -> Option<(&Peer, &mut Vec<HeldRequest>)> {
        match self {
            Self::Proof { origin, held } if origin.addr == *addr => Some((origin, held)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RingEffect, RingOptions, SUCCESSORS};
    use super::*;
    use crate::config::AMPLIFICATION;
    use crate::id::{ID_BITS, Id};
    use crate::overlay::{Asker, Cause, Incoming, Overlay};
    use crate::wire::ring::{RingRequest, RingResponse, Route, least_len};
    use crate::wire::{Dialect, Message, RequestKind, Response, Sender, Via};

    fn peer(id: u64, ip: [u8; 4]) -> Peer {
        Peer::new(Id::from_u64(id), (ip, 7000).into())
    }

    /// The peer 1 of a ring of 1, 1001, 2001, …
    fn ring() -> Ring {
        let peers: Vec<Peer> = (0..6).map(|n: u8| peer(u64::from(n) * 1000 + 1, [10, 0, 0, n + 1])).collect();
        let mut ring = Ring::new(peers[0], RingOptions::default());
        ring.fill(Time::ZERO, &peers);
        ring
    }

    /// A line of a stranger's, which says that `origin` wants to join.
    fn join(ring: &mut Ring, origin: Peer, magic: u64) -> Vec<Effect> {
        says(ring, origin, magic, Routed::Join)
    }

    /// Requests of greater numbers say that their origin reads datagrams.
    const READS: u64 = 1 << 40;

    /// The same of anything else.
    fn says(ring: &mut Ring, origin: Peer, magic: u64, what: Routed) -> Vec<Effect> {
        let liar = peer(666, [203, 0, 113, 66]);
        let sender = Some(Sender::member(liar.id, liar.addr));
        let from = Incoming { asker: Asker::connected(liar.addr, magic), sender };
        let route = Route { datagrams: magic > READS, ..Route::of(origin) };
        let request = Request::Ring(RingRequest::Routed { route, what });
        let mut out = Vec::new();
        ring.on(Time::ZERO, Cause::Request { from: &from, request: &request }, &mut out);
        out
    }

    fn pings(out: &[Effect]) -> Vec<(Peer, Tag, u8)> {
        let pings = out.iter().filter_map(|effect| match effect {
            Effect::Ask { to, request: Request::Ping, tag, tries, .. } => {
                Some((Peer::new(to.id.expect("it was named"), to.addr), *tag, *tries))
            }
            _ => None,
        });
        pings.collect()
    }

    fn answer(ring: &mut Ring, tag: Tag, by: Peer) -> Vec<Effect> {
        let mut out = Vec::new();
        let response = Response::Node(by);
        ring.on(Time::ZERO, Cause::Answer { tag, from: by.addr, by: Some(by), response: &response }, &mut out);
        out
    }

    fn welcomes(out: &[Effect], origin: &Peer) -> bool {
        let is_welcome = |response: &Response| matches!(response, Response::Ring(RingResponse::Welcome { .. }));
        let welcome = |effect: &Effect| matches!(effect, Effect::Respond { to, response, .. } if to.addr == origin.addr && is_welcome(response));
        out.iter().any(welcome)
    }

    #[test]
    fn a_newcomer_whose_two_joins_wait_for_its_proof_enters_once() {
        let mut ring = ring();
        let newcomer = peer(500, [198, 51, 100, 1]);
        let [(_, tag, _)] = pings(&join(&mut ring, newcomer, 1))[..] else { panic!("it is pinged") };
        assert_eq!(join(&mut ring, newcomer, 2), [], "a ping is out already");
        let out = answer(&mut ring, tag, newcomer);
        let entered = out.iter().filter(|effect| matches!(effect, Effect::Ring(RingEffect::Entered(_)))).count();
        let welcomes = out.iter().filter(|effect| matches!(effect, Effect::Respond { .. })).count();
        assert_eq!((entered, welcomes), (1, 2), "both are answered: {out:?}");
    }

    #[test]
    fn a_newcomer_that_sends_another_join_before_it_hears_that_it_is_in_enters_once_and_again_after_a_new_start() {
        let mut ring = ring();
        let newcomer = peer(500, [198, 51, 100, 1]);
        let entered = |out: &[Effect]| {
            assert!(welcomes(out, &newcomer), "each is answered: {out:?}");
            out.iter().filter(|effect| matches!(effect, Effect::Ring(RingEffect::Entered(_)))).count()
        };
        let [(_, tag, _)] = pings(&join(&mut ring, newcomer, 1))[..] else { panic!("it is pinged") };
        assert_eq!(entered(&answer(&mut ring, tag, newcomer)), 1);
        let names_none = |ring: &mut Ring, magic| {
            let [Effect::Ask { tag, .. }] = join(ring, newcomer, magic)[..] else { panic!("it is pinged") };
            let response = Response::Ring(RingNeighbours::NONE.pong(newcomer));
            let (from, by) = (newcomer.addr, Some(newcomer));
            let mut out = Vec::new();
            ring.on(Time::ZERO, Cause::Answer { tag, from, by, response: &response }, &mut out);
            out
        };
        assert_eq!(entered(&names_none(&mut ring, 2)), 0, "by another door");
        let from = Incoming {
            asker: Asker::connected(newcomer.addr, 3),
            sender: Some(Sender::member(newcomer.id, newcomer.addr)),
        };
        let ping = RingNeighbours { predecessors: &[ring.me], successors: &[] }.ping(true);
        ring.on(Time::ZERO, Cause::Request { from: &from, request: &Request::Ring(ping) }, &mut Vec::new());
        assert_eq!(entered(&names_none(&mut ring, 4)), 1, "it was in the ring, and was started anew");
    }

    #[test]
    fn a_forged_join_costs_its_victim_one_bare_ping_and_brings_it_into_no_list() {
        let mut ring = ring();
        let before = (ring.successors().to_vec(), ring.predecessors().to_vec());
        for n in 0..SUCCESSORS as u64 {
            let victim = peer(2 + n, [198, 51, 100, n as u8 + 1]);
            let out = join(&mut ring, victim, n);
            let [(to, tag, tries)] = pings(&out)[..] else { panic!("{out:?}") };
            assert_eq!((to, tries, out.len()), (victim, patience::ONCE, 1), "no answer, no news, no connection");
            assert_eq!(join(&mut ring, victim, 100 + n), [], "a ping is out already");
            if n % 2 == 0 {
                let other = Peer::new(Id::from_u64(77), victim.addr);
                assert_eq!(answer(&mut ring, tag, other), [], "another peer answers there");
            } else {
                let mut out = Vec::new();
                ring.on(Time::ZERO, Cause::NoAnswer { tag, to: victim.into() }, &mut out);
                assert_eq!(out, []);
            }
        }
        assert_eq!((ring.successors().to_vec(), ring.predecessors().to_vec()), before);
    }

    #[test]
    fn a_lookup_in_another_s_name_brings_that_address_one_datagram() {
        let mut ring = ring();
        // Keys of this peer's own: its answer is what another would get.
        let asked = [1, 1, 1].map(|key| Routed::Lookup { key: Id::from_u64(key) });
        for (what, n) in asked.into_iter().zip(1..) {
            let victim = peer(2, [198, 51, 100, n]);
            let out = says(&mut ring, victim, u64::from(n), what);
            let asked = out.iter().filter(|effect| matches!(effect, Effect::Ask { .. }));
            assert_eq!((asked.count(), &pings(&out)[..]), (1, &[(victim, pings(&out)[0].1, patience::ONCE)][..]));
        }
    }

    #[test]
    fn a_lookup_in_the_name_of_one_that_reads_datagrams_brings_it_one_of_three_bytes_for_each_and_no_connection() {
        let [me, others @ ..] =
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|n| Peer::new(Id::of(&[n]), ([10, 0, 0, n], 7000).into()));
        let mut ring = Ring::new(me, RingOptions::default());
        ring.fill(Time::ZERO, &[&[me], &others[..]].concat());
        let victim = Peer::new(Id::of(b"victim"), ([198, 51, 100, 1], 7000).into());
        let (what, mut most) = (Routed::Lookup { key: me.id }, 0);
        for magic in READS + 1..READS + 100 {
            let out = says(&mut ring, victim, magic, what);
            let [Effect::Respond { to, response, .. }] = &out[..] else { panic!("{out:?}") };
            assert_eq!((to.addr, to.via), (victim.addr, Via::Udp));
            let paid = AMPLIFICATION * least_len(magic, victim, what);
            let message = Message::response(magic, RequestKind::Ring, response.clone());
            let sent = Dialect::Ring.in_datagram(&message, &ring.me, victim.addr, to.allowance);
            let mut text = Vec::new();
            Dialect::Ring.encode(&sent.expect("it fits"), &ring.me, victim.addr, &mut text);
            assert!(to.allowance == Some(paid) && text.len() <= paid, "{} bytes, {paid} paid for", text.len());
            most = most.max(text.len());
            // The same once more, as often as somebody likes: bare pings, as for any other.
            let again: Vec<Effect> = (0..9).flat_map(|_| says(&mut ring, victim, magic, what)).collect();
            assert!(again.len() <= MAX_PINGS && again.len() == pings(&again).len(), "{again:?}");
        }
        assert!(most > 300, "{most} bytes");
        // Nothing is answered so that is not a lookup.
        let newcomer = Peer::new(me.id.plus_power_of_two(0, ID_BITS), ([198, 51, 101, 1], 7000).into());
        let out = says(&mut ring, newcomer, READS + 1000, Routed::Join);
        assert_eq!((out.len(), pings(&out).len()), (1, 1), "{out:?}");
    }

    #[test]
    fn each_repeat_of_a_request_brings_its_origin_one_more_ping_and_any_answer_what_waits() {
        let (mut ring, origin, mut tags) = (ring(), peer(2, [198, 51, 100, 1]), Vec::new());
        // Requests by their numbers, of this peer's own key, and whether the origin is pinged.
        for (magic, expected) in [(1, 1), (3, 0), (1, 1), (3, 1), (1, 1), (1, 0), (3, 0)] {
            let sent = pings(&says(&mut ring, origin, magic, Routed::Lookup { key: Id::from_u64(1) }));
            assert_eq!(sent.len(), expected, "{magic}");
            tags.extend(sent.into_iter().map(|(_, tag, _)| tag));
        }
        ring.on(Time::ZERO, Cause::NoAnswer { tag: tags[0], to: origin.into() }, &mut Vec::new());
        let answers = |out: &[Effect]| out.iter().filter(|effect| matches!(effect, Effect::Respond { .. })).count();
        assert_eq!(answers(&answer(&mut ring, tags[2], origin)), 2, "two requests waited");
        assert_eq!(answers(&answer(&mut ring, tags[1], origin)), 0, "they had their answers");
    }

    #[test]
    fn what_is_repeated_while_too_many_of_its_source_are_pinged_waits_for_the_first_answer_all_the_same() {
        let mut ring = ring();
        let lookup = Routed::Lookup { key: Id::from_u64(1) };
        let origins = [2, 3, 4, 5].map(|id| Peer::new(Id::from_u64(id), ([198, 51, 100, 1], 7000 + id as u16).into()));
        let pinged = origins.map(|origin| pings(&says(&mut ring, origin, 1, lookup)));
        assert!(pinged.iter().all(|pings| pings.len() == 1), "{pinged:?}");
        assert_eq!(pings(&says(&mut ring, origins[0], 1, lookup)), []);
        let out = answer(&mut ring, pinged[0][0].1, origins[0]);
        assert!(out.iter().any(|effect| matches!(effect, Effect::Respond { .. })), "{out:?}");
    }

    #[test]
    fn a_forged_join_under_a_members_id_opens_no_connection_to_the_address_it_gives() {
        let mut ring = ring();
        let victim = Peer::new(ring.successors()[0].id, ([198, 51, 100, 1], 80).into());
        let out = join(&mut ring, victim, 1);
        assert!(!out.iter().any(|effect| matches!(effect, Effect::Respond { .. } | Effect::Forward { .. })), "{out:?}");
    }

    #[test]
    fn who_answers_the_ping_is_let_in_and_told_to_the_peer_before() {
        let mut ring = ring();
        let origin = peer(500, [192, 0, 2, 1]);
        let out = join(&mut ring, origin, 1);
        let out = answer(&mut ring, pings(&out)[0].1, origin);
        assert!(welcomes(&out, &origin), "{out:?}");
        assert!(out.contains(&Effect::PeerUp(origin)));
        assert_eq!(ring.successors()[0], origin);
        assert!(welcomes(&join(&mut ring, origin, 1), &origin), "its welcome was lost: it is known now");
    }

    #[test]
    fn of_two_that_join_at_once_the_further_one_is_passed_on_to_the_nearer_one() {
        let mut ring = ring();
        let (near, far) = (peer(400, [192, 0, 2, 1]), peer(500, [192, 0, 2, 2]));
        let asked = [near, far].map(|origin| pings(&join(&mut ring, origin, origin.addr.port().into()))[0].1);
        assert!(welcomes(&answer(&mut ring, asked[0], near), &near));
        let out = answer(&mut ring, asked[1], far);
        assert!(out.iter().any(|effect| matches!(effect, Effect::Forward { to, .. } if *to == near)), "{out:?}");
    }

    #[test]
    fn few_joins_are_under_way_for_one_source_and_not_too_many_in_all_but_a_lab_may_join_at_once() {
        let count = |address: fn(u16) -> SocketAddr| {
            let mut ring = ring();
            let origins = (0..100).map(|n| Peer::new(Id::from_u64(2 + u64::from(n)), address(n)));
            let last = origins.map(|origin| pings(&join(&mut ring, origin, 1)).len()).last();
            (ring.asked.values().filter_map(QuestionFor::proving).count(), last)
        };
        assert_eq!(count(|n| ([198, 51, 100, 1], 1000 + n).into()), (MAX_PROOFS_OF_SOURCE, Some(0)));
        assert_eq!(count(|n| ([0x2001, 0xdb8, 0, 0, n, 0, 0, 1], 1000).into()), (MAX_PROOFS_OF_SOURCE, Some(0)));
        assert_eq!(count(|n| ([198, 51, n as u8, 1], 1000).into()), (MAX_PROOFS, Some(1)));
        assert_eq!(count(|n| ([0x2001, 0xdb8, 0, n, 0, 0, 0, 1], 1000).into()), (MAX_PROOFS, Some(1)));
        assert_eq!(count(|n| ([127, 0, 0, 1], 1000 + n).into()), (MAX_PROOFS, Some(1)));
    }
}
