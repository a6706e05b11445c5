//! The next peer on the way to a key, and a way around one that is silent.
//!
//! A lookup goes over a connection, and a peer that died without a word is noticed by that only after seconds. So a
//! ping goes beside it, to a next hop that was not heard a moment ago. Where no answer comes after about a round trip,
//! the lookup goes another way as well (the first answer counts, and the owner answers twice at worst), and the silent
//! peer is in *doubt*: it is checked, and what comes next goes around it until it gives a sign of life or is dead.
//!
//! In a ring at rest hardly any hop is silent, and such pings would be a third of all messages. So none goes out before
//! the origin has no answer in time: it sends the lookup again, and each peer on the way then pings the next one.
//!
//! A hop that answers the ping may pass nothing on all the same. Where the answer stays away for long, the lookup goes
//! another way too, and that says nothing of the hop: a peer behind it may be the silent one.
//!
//! A peer to which a connection is late, as behind a firewall that lets datagrams through, is *shunned*: for some
//! seconds lookups go around it, whatever it answers to pings.
//!
//! Doubt alone never makes this peer the owner of a key: where all others are in doubt, it may be this one that is cut
//! off or was stopped.

use std::net::SocketAddr;
use std::time::Duration;

use super::relay::Relay;
use super::route::{Search, key_of};
use super::table::Hop;
use super::{QuestionFor, Ring};
use crate::id::Id;
use crate::overlay::{Effect, LookupId, Tag};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::Routed;

/// A peer that was heard so lately is not pinged when a lookup goes through it for the first time. It may have been
/// stopped since then: once the lookup is late, that says more.
const TRUSTED_FOR: Duration = Duration::from_millis(500);

/// Pings beside lookups of others that are out at a time: each holds a lookup, and a peer that asks again brings one
/// about.
const MOST_MINDED: usize = 64;

/// An answer may be late so often before its lookup goes another way though the next hop lives: a peer further on may
/// be silent, and the one before it takes that long to find out.
const LATE: u32 = 1;

/// A lookup that was sent to its next hop.
#[derive(Clone, Debug)]
pub(super) enum SentLookup {
    /// This peer's own.
    Own(LookupId),
    /// Another peer's.
    Relayed(Relay),
}

impl Ring {
    /// Where something leads from here, past the peers at `avoid`; a lookup also around those in doubt.
    pub(super) fn hop(&self, what: Routed, avoid: &[SocketAddr]) -> Hop {
        let key = key_of(what, self.me.id);
        match self.hop_over(&key, |peer| self.is_usable(peer, what, avoid)) {
            Hop::Mine | Hop::Nowhere => match self.hop_over(&key, |peer| self.is_open(peer, what, avoid)) {
                // Connections to all of them are late: a late answer is better than none.
                Hop::Nowhere => self.hop_over(&key, |peer| self.is_left(peer, avoid)),
                hop => hop,
            },
            hop => hop,
        }
    }

    fn hop_over(&self, key: &Id, usable: impl Fn(&Peer) -> bool) -> Hop {
        if self.options.fingers || self.options.guest {
            self.table.hop_across(key, usable)
        } else {
            self.table.hop_along(key, usable)
        }
    }

    /// A request about a file by its name waits for a peer in doubt: the file may well be there. From a peer that says
    /// goodbye it would only come back.
    fn is_usable(&self, peer: &Peer, what: Routed, avoid: &[SocketAddr]) -> bool {
        let doubted = matches!(what, Routed::Lookup { .. }) && self.vitals.is_doubted(&peer.id);
        !doubted && self.is_open(peer, what, avoid)
    }

    /// What no connection brings to a peer is answered by the next that one can be brought to.
    fn is_open(&self, peer: &Peer, what: Routed, avoid: &[SocketAddr]) -> bool {
        let shunned = matches!(what, Routed::Lookup { .. }) && self.vitals.is_shunned(self.now, &peer.id);
        !shunned && self.is_left(peer, avoid)
    }

    fn is_left(&self, peer: &Peer, avoid: &[SocketAddr]) -> bool {
        !avoid.contains(&peer.addr) && !self.is_departing(&peer.id)
    }

    /// Where something leads, if another peer believes that this one is responsible: back to the first peer known that
    /// stands at or after its key and before this one, if there is one. (One predecessor after the other would be a
    /// walk round the ring.)
    pub(super) fn hop_back(&self, what: Routed, avoid: &[SocketAddr]) -> Hop {
        let usable = |peer: &Peer| self.is_usable(peer, what, avoid);
        self.table.first_from(&key_of(what, self.me.id), usable).map_or(Hop::Mine, Hop::Last)
    }

    /// A lookup was sent to `to`, for the first time or `again`: is that peer there?
    pub(super) fn mind_hop(&mut self, now: Time, to: Peer, sent: SentLookup, again: bool, out: &mut Vec<Effect>) {
        let is_trusted = !again && (self.is_at_rest() || self.vitals.was_heard_within(now, &to.id, TRUSTED_FOR));
        let has_place = || matches!(sent, SentLookup::Own(_)) || self.minded() < MOST_MINDED;
        if !is_trusted && !self.vitals.is_awaited(&to.id) && has_place() {
            let why = QuestionFor::Hop { to: to.addr, sent };
            self.ask_plain(to.into(), Request::Ping, why, patience::QUESTION, out);
        }
    }

    /// Pings beside lookups that are out.
    fn minded(&self) -> usize {
        self.asked.values().filter(|why| matches!(why, QuestionFor::Hop { .. })).count()
    }

    /// The answer to a lookup of this peer's own is late: is the peer there that it was sent to? If it is, and the
    /// answer is late again and again, some peer on the way may be there and pass nothing on: the lookup goes another
    /// way too.
    pub(super) fn mind_late(&mut self, now: Time, lookup: LookupId, tag: Tag, out: &mut Vec<Effect>) {
        let of_last = |search: &&mut Search| search.found.is_none() && search.latest == tag;
        let Some(search) = self.searches.get_mut(&lookup).filter(of_last) else { return };
        search.late += 1;
        let (late, last) = (search.late, search.tried.last().copied());
        // Of a peer that was found dead meanwhile no verdict will come.
        let Some(to) = last.and_then(|addr| self.table.at(&addr)) else { return self.search_on(now, lookup, out) };
        let is_minded = |why: &QuestionFor| matches!(why, QuestionFor::Hop { to: other, .. } if *other == to.addr);
        match late {
            _ if self.asked.values().any(is_minded) => {}
            ..=LATE => self.mind_hop(now, to, SentLookup::Own(lookup), true, out),
            _ if self.is_in_vain(lookup) => self.ask_known(lookup, out),
            _ => self.search_on(now, lookup, out),
        }
    }

    /// What was sent to the peer at `addr` came back: it goes another way already.
    pub(super) fn forget_hop(&mut self, addr: SocketAddr) {
        for why in self.asked.values_mut() {
            if matches!(why, QuestionFor::Hop { to, .. } if *to == addr) {
                *why = QuestionFor::Tell;
            }
        }
    }

    /// The peer at `silent`, to which a lookup was sent, does not answer: another way.
    pub(super) fn on_silent_hop(&mut self, now: Time, silent: SocketAddr, sent: SentLookup, out: &mut Vec<Effect>) {
        if let Some(peer) = self.table.at(&silent) {
            self.vitals.doubt(&peer.id);
            self.rounds.end_rest();
            self.check_on(peer, out);
        }
        if let SentLookup::Relayed(relay) = sent {
            self.pass_on_again(now, relay, silent, out);
        }
        // One ping speaks for all of this peer's own that went there.
        let waits = |search: &Search| search.found.is_none() && search.tried.last() == Some(&silent);
        let waiting: Vec<LookupId> =
            self.searches.iter().filter(|(_, search)| waits(search)).map(|(lookup, _)| *lookup).collect();
        for lookup in waiting {
            self.search_on(now, lookup, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RingOptions;
    use super::*;
    use crate::overlay::{Asker, Cause, Goal, Incoming, Late, Overlay, Target};
    use crate::wire::ring::{RingKind, RingRequest, RingResponse, Route};
    use crate::wire::{Response, Sender};

    const NOW: Time = Time::from_micros(1);

    fn peer(n: u8) -> Peer {
        Peer::new(Id::from_u64(u64::from(n) * 1000), ([10, 0, 0, n], 7000).into())
    }

    /// The peer of this number in a ring of so many, all of which know one another.
    fn ring(me: u8, count: u8) -> Ring {
        let peers: Vec<Peer> = (1..=count).map(peer).collect();
        let mut ring = Ring::new(peer(me), RingOptions::default());
        ring.fill(Time::ZERO, &peers);
        ring
    }

    fn stranger() -> Peer {
        Peer::new(Id::from_u64(7), ([203, 0, 113, 66], 7000).into())
    }

    /// What a stranger's lookups, each of them sent `times`, make the first of 64 peers ask.
    fn pings_for(lookups: u64, times: usize) -> usize {
        let (mut ring, origin, mut out) = (ring(1, 64), stranger(), Vec::new());
        for magic in 0..lookups {
            for _ in 0..times {
                let sender = Some(Sender::member(origin.id, origin.addr));
                let from = Incoming { asker: Asker::connected(origin.addr, magic), sender };
                let route = Route::of(origin);
                let what = Routed::Lookup { key: Id::from_u64(1500 + magic * 50) };
                let request = Request::Ring(RingRequest::Routed { route, what });
                ring.on(NOW, Cause::Request { from: &from, request: &request }, &mut out);
            }
        }
        out.iter().filter(|effect| matches!(effect, Effect::Ask { request: Request::Ping, .. })).count()
    }

    #[test]
    fn lookups_that_come_again_bring_about_a_bounded_number_of_pings() {
        assert_eq!(pings_for(20, 2), 20, "beside each that is late");
        assert_eq!(pings_for(500, 3), MOST_MINDED);
    }

    /// To whom a lookup went last.
    fn way(out: &[Effect]) -> Option<(SocketAddr, Tag)> {
        out.iter().rev().find_map(|effect| match effect {
            Effect::Ask { to, request: Request::Ring(RingRequest::Routed { .. }), tag, .. } => Some((to.addr, *tag)),
            _ => None,
        })
    }

    fn asked_for_the_block(out: &[Effect]) -> Vec<(Target, Tag)> {
        let asked = out.iter().filter_map(|effect| match effect {
            Effect::Ask { to, request: Request::FindValue { .. }, tag, .. } => Some((*to, *tag)),
            _ => None,
        });
        asked.collect()
    }

    fn found(out: &[Effect]) -> Option<Vec<Peer>> {
        out.iter().find_map(|effect| match effect {
            Effect::Found { found, .. } => Some(found.peers.clone()),
            _ => None,
        })
    }

    fn answer(ring: &mut Ring, (from, tag): (SocketAddr, Tag), response: RingResponse) -> Vec<Effect> {
        let mut out = Vec::new();
        let response = Response::Ring(response);
        ring.on(NOW, Cause::Answer { tag, from, by: None, response: &response }, &mut out);
        out
    }

    fn look_up(ring: &mut Ring, key: u64) -> Vec<Effect> {
        let mut out = Vec::new();
        ring.lookup(NOW, 1, Id::from_u64(key), Goal::Peers, &mut out);
        out
    }

    #[test]
    fn a_peer_that_every_way_refuses_does_not_take_itself_for_the_owner() {
        let mut ring = ring(5, 8);
        let mut out = look_up(&mut ring, 1500);
        let mut tried = Vec::new();
        while let Some(way) = way(&out) {
            tried.push(way.0);
            let reason = "not today".to_owned();
            out = answer(&mut ring, way, RingResponse::Refused { of: RingKind::Lookup, reason });
        }
        assert!(tried.len() >= 3, "{tried:?}");
        out = asked_for_the_block(&out).into_iter().fold(Vec::new(), |mut out, (to, tag)| {
            let response = Response::Nodes(Vec::new());
            ring.on(NOW, Cause::Answer { tag, from: to.addr, by: None, response: &response }, &mut out);
            out
        });
        let expected: Vec<Peer> = (2..=8).map(peer).collect();
        assert_eq!(found(&out), Some(expected), "who stands there, as far as it is known here");
    }

    #[test]
    fn an_owner_that_names_itself_alone_has_those_that_are_known_stand_beside_it() {
        let mut ring = ring(5, 8);
        let liar = Peer::new(Id::from_u64(1600), peer(2).addr);
        let way = way(&look_up(&mut ring, 1500)).expect("it is sent");
        let out =
            answer(&mut ring, way, RingResponse::Owner { peers: vec![liar], hops: 0, trail: Vec::new(), brief: false });
        let peers = found(&out).expect("it is over");
        assert!(peers[0] == liar && peers[1..3] == [peer(2), peer(3)], "{peers:?}");
    }

    #[test]
    fn what_another_peer_takes_this_one_for_the_owner_of_does_not_go_back_to_it() {
        let (mut ring, by, mut out) = (ring(3, 8), peer(2), Vec::new());
        let from = Incoming { asker: Asker::connected(by.addr, 1), sender: Some(Sender::member(by.id, by.addr)) };
        let route = Route { hops: 1, last: true, ..Route::of(by) };
        let what = Routed::Lookup { key: Id::from_u64(1500) };
        let request = Request::Ring(RingRequest::Routed { route, what });
        ring.on(NOW, Cause::Request { from: &from, request: &request }, &mut out);
        assert!(!out.iter().any(|effect| matches!(effect, Effect::Forward { .. })), "{out:?}");
        assert!(out.iter().any(|effect| matches!(effect, Effect::Respond { .. })), "{out:?}");
    }

    #[test]
    fn an_owner_waits_no_longer_than_a_round_trip_for_a_nearer_peer_that_is_known_and_silent() {
        let mut ring = ring(1, 64);
        let (_, tag) = way(&look_up(&mut ring, 30_500)).expect("it is sent");
        let nearer = *ring.table.clockwise(&Id::from_u64(30_500)).next().expect("some are known");
        let owner = RingResponse::Owner { peers: vec![peer(60)], hops: 0, trail: Vec::new(), brief: false };
        let out = answer(&mut ring, (peer(60).addr, tag), owner);
        let [Effect::Ask { to, request: Request::Ping, tag, .. }] = &out[..] else { panic!("{out:?}") };
        assert_eq!(to.addr, nearer.addr);
        let mut late = |late| {
            let mut out = Vec::new();
            ring.on(NOW, Cause::Late { tag: *tag, late }, &mut out);
            found(&out)
        };
        assert_eq!(late(Late::Overdue), None);
        assert!(late(Late::Doubtful).expect("it is over").contains(&peer(60)));
    }

    #[test]
    fn a_lookup_that_is_late_again_and_again_goes_another_way_though_the_first_hop_answers() {
        let mut ring = ring(1, 64);
        let (first, tag) = way(&look_up(&mut ring, 30_500)).expect("it is sent");
        let late = |ring: &mut Ring| {
            let mut out = Vec::new();
            ring.on(NOW, Cause::Late { tag, late: Late::Overdue }, &mut out);
            out
        };
        let out = late(&mut ring);
        let [Effect::Ask { to, request: Request::Ping, tag: ping, .. }] = &out[..] else { panic!("{out:?}") };
        assert!(to.addr == first && late(&mut ring).is_empty(), "it may be gone: that is found out first");
        let (by, mut unheard) = (ring.table.at(&first).expect("it is known"), Vec::new());
        let pong = Response::Node(by);
        ring.on(NOW, Cause::Answer { tag: *ping, from: first, by: Some(by), response: &pong }, &mut unheard);
        let other = way(&late(&mut ring)).map(|(to, _)| to);
        assert!(other.is_some_and(|to| to != first), "{other:?}");
    }

    #[test]
    fn a_guest_looks_up_though_its_connections_to_all_peers_are_late() {
        let mut ring = Ring::new(stranger(), RingOptions { guest: true, ..RingOptions::default() });
        ring.fill(NOW, &(1..=8).map(peer).collect::<Vec<_>>());
        for n in 1..=8 {
            ring.on(NOW, Cause::Detour { addr: peer(n).addr, magic: 0, request: &Request::Ping }, &mut Vec::new());
        }
        assert!(way(&look_up(&mut ring, 1500)).is_some());
    }

    #[test]
    fn a_lookup_whose_first_hop_was_found_dead_meanwhile_goes_another_way_once_it_is_late() {
        let mut ring = ring(1, 64);
        let (first, tag) = way(&look_up(&mut ring, 30_500)).expect("it is sent");
        let dead = ring.table.at(&first).expect("it is known");
        ring.table.remove(&dead.id);
        let mut out = Vec::new();
        ring.on(NOW, Cause::Late { tag, late: Late::Overdue }, &mut out);
        assert!(way(&out).is_some_and(|(other, _)| other != first), "{out:?}");
    }

    #[test]
    fn updates_that_name_ever_new_peers_bring_about_a_bounded_number_of_pings() {
        let (mut ring, mut out) = (ring(1, 8), Vec::new());
        let by = peer(2);
        for magic in 0..500 {
            let from =
                Incoming { asker: Asker::connected(by.addr, magic), sender: Some(Sender::member(by.id, by.addr)) };
            let joined = Peer::new(Id::from_u64(1001 + magic), ([10, 0, 1, 1], 1 + magic as u16).into());
            let request = Request::Ring(RingRequest::Update { successors: Vec::new(), joined: Some(joined) });
            ring.on(NOW, Cause::Request { from: &from, request: &request }, &mut out);
        }
        let pings = out.iter().filter(|effect| matches!(effect, Effect::Ask { request: Request::Ping, .. })).count();
        assert!((1..=32).contains(&pings), "{pings}");
    }
}
