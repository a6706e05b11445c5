//! Requests that other peers send through this one.
//!
//! Routing is recursive: each peer passes a request on to one that is nearer to the key, under the magic it came with,
//! and the owner answers the origin itself, once that has [shown](super::admission) that it is there; before, a lookup
//! may have one short datagram (Chord, SIGCOMM 2001, section 4.3, figure 4, with the calls turned into forwarded
//! messages). Each step is strictly nearer, or the step back from a peer that was wrongly taken for the owner to the
//! predecessor that is, so a request ends.

use std::net::SocketAddr;

use super::Ring;
use super::hop::SentLookup;
use super::router::{RingEffect, RouteNotice};
use super::table::Hop;
use crate::config::AMPLIFICATION;
use crate::overlay::{Asker, Effect, Incoming};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{MAX_PEERS_LISTED, RingRequest, RingResponse, Route, Routed, least_len};
use crate::wire::{Dialect, Message, Request, RequestKind, Response, Via};

/// Times that a request is passed on at most: more than any ring without fingers has peers in a classroom.
const MAX_HOPS: u16 = 1024;

/// Times that a request passes here at most: its origin sends it again a few times, over several ways. More often comes
/// what a liar sends round in a circle.
const MOST_TIMES: u8 = 64;

/// Relayed requests remembered, so that one sent again is told of once.
const SEEN: usize = 256;

/// A routed request of another peer, as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Relay {
    /// Names the request; its origin chose it.
    pub(super) magic: u64,
    /// Its origin, and how far it has come.
    pub(super) route: Route,
    /// What the origin asks for.
    pub(super) what: Routed,
}

impl Relay {
    /// The request as it was before the peer `me` passed it on.
    pub(super) fn step_back(mut self, me: &Peer) -> Self {
        self.route.last = false;
        self.route.hops = self.route.hops.saturating_sub(1);
        if let Some(trail) = &mut self.route.trail {
            trail.pop_if(|last| last == me);
        }
        self
    }

    /// The request with one more hop, from `me`: the one to the peer responsible for it, or not (`last`).
    fn step_on(mut self, me: Peer, last: bool) -> Self {
        self.route.last = last;
        self.route.hops += 1;
        if let Some(trail) = self.route.trail.as_mut().filter(|trail| trail.len() < MAX_PEERS_LISTED) {
            trail.push(me);
        }
        self
    }

    /// Whether `other` is this request, sent once more.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.magic == other.magic && self.route.origin == other.route.origin
    }

    /// Answers the origin, which has shown that it is there.
    pub(super) fn answer(&self, response: RingResponse, out: &mut Vec<Effect>) {
        let datagrams = self.route.datagrams;
        let to = Asker { datagrams, ..Asker::connected(self.route.origin.addr, self.magic) };
        out.push(Effect::Respond { to, kind: RequestKind::Ring, response: Response::Ring(response) });
    }

    /// Answers the origin, wherever it is, by one datagram from `me`; or not, if it reads none, or the answer is longer
    /// than what any peer that asks in its name has paid for.
    fn answer_unproven(&self, me: &Peer, response: &RingResponse, out: &mut Vec<Effect>) -> bool {
        let (origin, response) = (self.route.origin, Response::Ring(response.clone()));
        let paid = Some(AMPLIFICATION * least_len(self.magic, origin, self.what));
        let message = Message::response(self.magic, RequestKind::Ring, response.clone());
        let fits = self.route.datagrams && Dialect::Ring.in_datagram(&message, me, origin.addr, paid).is_some();
        if fits {
            let asker = Asker::connected(origin.addr, self.magic);
            let to = Asker { via: Via::Udp, allowance: paid, datagrams: true, ..asker };
            out.push(Effect::Respond { to, kind: RequestKind::Ring, response });
        }
        fits
    }

    /// Tells the origin that its request ends here, and why.
    pub(super) fn refuse(&self, reason: impl Into<String>, out: &mut Vec<Effect>) {
        self.answer(RingResponse::Refused { of: self.what.kind(), reason: reason.into() }, out);
    }
}

impl Ring {
    /// Another peer's request came.
    pub(super) fn on_routed(&mut self, now: Time, from: &Incoming, mut relay: Relay, out: &mut Vec<Effect>) {
        if self.options.guest {
            let reason = "a guest of the ring passes nothing on".to_owned();
            return Self::respond(from, RingResponse::Refused { of: relay.what.kind(), reason }, out);
        }
        if self.wait_to_be_in(now, &relay) {
            return;
        }
        let is_direct = from.sender.is_some_and(|sender| sender.peer.id == relay.route.origin.id);
        if is_direct && relay.what != Routed::Join && matches!(self.hop(relay.what, &[]), Hop::Mine | Hop::Nowhere) {
            // It is answered where it asks from, whatever other address of its machine it tells.
            relay.route.origin.addr = from.asker.addr;
        }
        if from.asker.addr == relay.route.origin.addr && from.asker.is_validated() {
            self.proven.insert(from.asker.addr, self.now);
        }
        // What comes in this peer's own name is nothing that its user has to hear of once more.
        let before = self.see(&relay);
        if before >= MOST_TIMES {
            return;
        }
        let first_time = before == 0 && relay.route.origin.id != self.me.id;
        // From a peer that takes this one for the owner it would only come back.
        let back = if relay.route.last && relay.what != Routed::Join { Some(from.asker.addr) } else { None };
        let avoid: Vec<SocketAddr> = back.into_iter().chain(self.swallower(&relay, before)).collect();
        self.pass_on(now, relay, &avoid, first_time, out);
    }

    /// The next hop that may pass nothing on, though it lives: a request about a file that comes again goes around it
    /// every other time, unless it may be the owner, or is still starting. (A lookup's next hop is minded.)
    fn swallower(&self, relay: &Relay, before: u8) -> Option<SocketAddr> {
        let is_about_file = matches!(relay.what, Routed::Store { .. } | Routed::Request { .. });
        match self.hop(relay.what, &[]) {
            Hop::Via(next) if is_about_file && before % 2 == 1 && !self.vitals.is_awaited(&next.id) => Some(next.addr),
            _ => None,
        }
    }

    /// A request that came to this peer was passed on to `gone`, in vain: the next best way.
    pub(super) fn pass_on_again(&mut self, now: Time, relay: Relay, gone: SocketAddr, out: &mut Vec<Effect>) {
        if !self.wait_with_relay(now, gone, &relay) {
            self.pass_on(now, relay, &[gone], false, out);
        }
    }

    /// Answers the request if this peer is responsible for it, or sends it on, past the peers at `avoid`. The user
    /// is told only the `first_time`.
    pub(super) fn pass_on(
        &mut self,
        now: Time,
        relay: Relay,
        avoid: &[SocketAddr],
        first_time: bool,
        out: &mut Vec<Effect>,
    ) {
        let (what, is_last, is_quiet) = (relay.what, relay.route.last, relay.route.quiet);
        if what == Routed::Join {
            return self.on_join_request(now, relay, avoid, first_time, out);
        }
        // The peer that passed it on believes that this one is the owner: only those that it may have missed are
        // nearer. They are no successors, and may be dead: then the user will hear that this peer is responsible, and
        // no more.
        let (hop, is_told) = match self.hop(what, avoid) {
            Hop::Last(_) | Hop::Via(_) if is_last => (self.hop_back(what, avoid), false),
            hop => (hop, first_time),
        };
        let heir = self.table.successors().first().filter(|_| self.has_left());
        let hop = heir.filter(|_| hop == Hop::Mine).map_or(hop, |&heir| Hop::Last(heir));
        match hop {
            Hop::Mine | Hop::Nowhere => self.end_here(relay, hop == Hop::Mine, first_time, out),
            Hop::Last(to) | Hop::Via(to) => {
                self.forward(relay.clone(), hop, is_told, out);
                // Upkeep can wait, unless it had to be sent again. A peer that takes this one for the owner may have
                // found that one silent.
                if matches!(what, Routed::Lookup { .. }) && !(is_quiet && first_time) {
                    self.mind_hop(now, to, SentLookup::Relayed(relay), !first_time || is_last, out);
                }
            }
        }
    }

    /// A request goes no further: it `is_mine` to answer, or no way leads on.
    fn end_here(&mut self, relay: Relay, is_mine: bool, first_time: bool, out: &mut Vec<Effect>) {
        let (what, route) = (relay.what, &relay.route);
        let refused = |reason: &str| Some(RingResponse::Refused { of: what.kind(), reason: reason.to_owned() });
        let response = match what {
            _ if !is_mine => refused("no way leads to the key from here"),
            _ if self.membership.is_pending() && !route.last => refused("this peer is about to join the ring"),
            Routed::Lookup { .. } => {
                // A peer that is cut off is not the whole network: the peer that asks shall miss those too.
                let mut peers = self.owned_set();
                peers.extend(self.vanished());
                // Upkeep asks for the owner alone.
                peers.truncate(if route.quiet { 1 } else { peers.len() });
                let (hops, trail) = (route.hops, route.trail.clone().unwrap_or_default());
                Some(RingResponse::Owner { peers, hops, trail, brief: false })
            }
            _ => None,
        };
        if !self.is_proven(&route.origin.addr) {
            // Once: what comes again in its name may be an attacker's that has this peer send and send.
            if !(first_time && response.is_some_and(|said| relay.answer_unproven(&self.me, &said, out))) {
                self.have_proven(relay, first_time, out);
            }
            return;
        }
        match response {
            Some(response) => relay.answer(response, out),
            None => out.push(Effect::Ring(RingEffect::Arrived { origin: route.origin, magic: relay.magic, what })),
        }
    }

    /// Passes a request on to its next hop.
    pub(super) fn forward(&mut self, relay: Relay, hop: Hop, first_time: bool, out: &mut Vec<Effect>) {
        let (Hop::Last(to) | Hop::Via(to)) = hop else { return };
        if relay.route.hops >= MAX_HOPS {
            if !self.is_proven(&relay.route.origin.addr) {
                return self.have_proven(relay, first_time, out);
            }
            return relay.refuse("the request went around for too long", out);
        }
        if first_time {
            Self::notice(RouteNotice::Forwarded { what: relay.what, origin: relay.route.origin, to }, out);
        }
        let Relay { magic, route, what } = relay.step_on(self.me, matches!(hop, Hop::Last(_)));
        out.push(Effect::Forward { to, magic, request: Request::Ring(RingRequest::Routed { route, what }) });
    }

    /// How often this request came before (its origin sends it again if the answer takes long).
    pub(super) fn see(&mut self, relay: &Relay) -> u8 {
        let (magic, origin) = (relay.magic, relay.route.origin.id);
        if let Some((.., times)) = self.seen.iter_mut().find(|seen| (seen.0, seen.1) == (magic, origin)) {
            *times = times.saturating_add(1);
            return *times;
        }
        if self.seen.len() == SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back((magic, origin, 0));
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::RingOptions;
    use super::*;
    use crate::id::Id;
    use crate::overlay::{Cause, Overlay};
    use crate::wire::Sender;

    fn small(id: u64) -> Peer {
        Peer::new(Id::from_u64(id), SocketAddr::from(([10, 0, 0, id as u8], 7000)))
    }

    #[test]
    fn what_somebody_sends_round_in_a_circle_is_passed_on_a_bounded_number_of_times() {
        let mut ring = Ring::new(small(9), RingOptions::default());
        ring.fill(Time::ZERO, &[2, 4, 5, 8, 9, 10, 14, 19].map(small));
        let from = Incoming {
            asker: Asker::connected(small(8).addr, 1),
            sender: Some(Sender::member(small(8).id, small(8).addr)),
        };
        let route = Route::of(small(2));
        let request = Request::Ring(RingRequest::Routed { route, what: Routed::Lookup { key: Id::from_u64(17) } });
        let mut out = Vec::new();
        for _ in 0..1000 {
            ring.on(Time::ZERO, Cause::Request { from: &from, request: &request }, &mut out);
        }
        let passed_on = out.iter().filter(|effect| matches!(effect, Effect::Forward { .. })).count();
        assert_eq!(passed_on, usize::from(MOST_TIMES));
    }

    #[test]
    fn a_request_about_a_file_that_comes_again_goes_around_a_next_hop_that_may_swallow_it_but_not_around_the_owner() {
        let mut ring = Ring::new(small(9), RingOptions::classroom(std::time::Duration::from_secs(10), Vec::new()));
        ring.fill(Time::ZERO, &[2, 4, 5, 8, 9, 10, 14, 19].map(small));
        let mut ways = |magic: u64, file: &str| {
            let route = Route { hops: 4, ..Route::of(small(2)) };
            let what = Routed::Request { file: file.parse().unwrap() };
            let request = Request::Ring(RingRequest::Routed { route, what });
            let from = Incoming {
                asker: Asker::connected(small(8).addr, magic),
                sender: Some(Sender::member(small(8).id, small(8).addr)),
            };
            let mut way = || {
                let mut out = Vec::new();
                ring.on(Time::ZERO, Cause::Request { from: &from, request: &request }, &mut out);
                out.into_iter().find_map(|effect| match effect {
                    Effect::Forward { to, .. } => to.id.to_u64(),
                    _ => None,
                })
            };
            std::array::from_fn(|_| way())
        };
        // 2067 belongs to 19, 1290 to 10.
        assert_eq!(ways(1, "2067"), [Some(10), Some(14), Some(10), Some(14)]);
        assert_eq!(ways(2, "1290"), [Some(10); 4]);
    }
}
