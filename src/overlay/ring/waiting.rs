//! Requests that wait for a peer which is still starting: the next on their way, or this one.
//!
//! In the classroom the user names each peer's first successors, and peers start in any order, seconds apart. A request
//! that comes to one whose successor is not up yet must not go around it: the file may well be there. So it waits here
//! until that peer gives a sign of life, or until it need not be [awaited](super::health::Vitals::is_awaited) any
//! longer and the request may go around it. A `join` waits here while it is uncertain where it leads.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::relay::Relay;
use super::{Ring, RingVariant};
use crate::overlay::{Effect, LookupId};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::Routed;

/// Requests that wait here at most; the oldest of other peers makes room. This peer's own are as many as its user's
/// commands, each of which waits for its end.
const MAX_WAITING: usize = 256;

/// A request of another peer waits for so long, unless it comes again: its origin sends it every two seconds at most.
const UNASKED: Duration = Duration::from_secs(3);

/// A request that waits.
pub(super) struct WaitingRequest {
    /// The peer it waits for: the next on its way, or this peer itself, which is not in the ring yet.
    peer: Peer,
    since: Time,
    request: Deferred,
}

/// Which request waits.
enum Deferred {
    /// One of this peer's own.
    Own { lookup: LookupId, what: Routed },
    /// A request of another peer's that this one relays.
    Relayed(Relay),
}

impl Deferred {
    /// Whether `other` is this request, come once more.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own { lookup, .. }, Self::Own { lookup: again, .. }) => lookup == again,
            (Self::Relayed(relay), Self::Relayed(again)) => relay.is_same(again),
            _ => false,
        }
    }
}

impl Ring {
    /// Whether the peer at `to` is still starting; then this peer's own request waits for it.
    pub(super) fn wait_with_own(&mut self, now: Time, to: SocketAddr, lookup: LookupId, what: Routed) -> bool {
        self.wait(now, to, Deferred::Own { lookup, what })
    }

    /// Whether the peer at `to` is still starting; then another peer's request waits for it. A `join` never does: a
    /// peer that is let in next to a gap finds its place once the gap is filled.
    pub(super) fn wait_with_relay(&mut self, now: Time, to: SocketAddr, relay: &Relay) -> bool {
        relay.what != Routed::Join && self.wait(now, to, Deferred::Relayed(relay.clone()))
    }

    /// Whether this peer is on its way into the ring itself, and knows too little yet to let others in; then the `join`
    /// waits that another peer passed on, which takes this one for a member (it was one until it died, a moment ago).
    /// In the classroom, where every line is compared, each `join` does: elsewhere peers may start by naming one
    /// another. And a `join` waits until it is known whether a neighbour has left that said goodbye.
    pub(super) fn wait_to_be_in(&mut self, now: Time, relay: &Relay) -> bool {
        let is_early = self.options.variant == RingVariant::Classroom || relay.route.hops > 0;
        let is_out = is_early && self.membership.is_pending();
        let waits = relay.what == Routed::Join && (is_out || !self.departures.is_empty() && !self.has_left());
        if waits {
            self.put_off(now, self.me, Deferred::Relayed(relay.clone()));
        }
        waits
    }

    fn wait(&mut self, now: Time, to: SocketAddr, request: Deferred) -> bool {
        let awaited = self.table.at(&to).filter(|peer| self.vitals.is_awaited(&peer.id));
        if let Some(awaited) = awaited {
            self.put_off(now, awaited, request);
        }
        awaited.is_some()
    }

    fn put_off(&mut self, now: Time, peer: Peer, request: Deferred) {
        self.waiting.retain(|other| !other.request.is_same(&request));
        let relayed = |one: &WaitingRequest| matches!(one.request, Deferred::Relayed(_));
        if self.waiting.len() >= MAX_WAITING
            && let Some(oldest) = self.waiting.iter().position(relayed)
        {
            self.waiting.remove(oldest);
        }
        self.waiting.push_back(WaitingRequest { peer, since: now, request });
    }

    /// Sends on what need not wait any longer.
    pub(super) fn end_waiting(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.waiting.is_empty() {
            return;
        }
        self.waiting.retain(|one| matches!(one.request, Deferred::Own { .. }) || now.since(one.since) < UNASKED);
        let all = std::mem::take(&mut self.waiting).into_iter();
        let changes = self.membership.is_pending() || !self.departures.is_empty();
        let waits = |one: &WaitingRequest| one.peer == self.me && changes || self.vitals.is_awaited(&one.peer.id);
        let (still, ready): (VecDeque<_>, VecDeque<_>) = all.partition(waits);
        self.waiting = still;
        for WaitingRequest { request, .. } in ready {
            match request {
                Deferred::Own { lookup, what } => self.send_again(now, lookup, what, Vec::new(), out),
                Deferred::Relayed(relay) => {
                    let first_time = self.see(&relay) == 0;
                    self.pass_on(now, relay, &[], first_time, out);
                }
            }
        }
    }

    /// The lookup was cancelled: its request need not wait any longer.
    pub(super) fn stop_waiting(&mut self, lookup: LookupId) {
        self.waiting.retain(|one| !matches!(one.request, Deferred::Own { lookup: own, .. } if own == lookup));
    }
}

#[cfg(test)]
mod tests {
    use super::super::RingOptions;
    use super::*;
    use crate::id::Id;
    use crate::wire::Request;
    use crate::wire::ring::{RingRequest, Route};

    fn peer(n: u16) -> Peer {
        Peer::new(Id::from_u64(n.into()), ([127, 0, 0, 1], n).into())
    }

    #[test]
    fn requests_of_others_that_wait_do_not_push_out_this_peers_own() {
        let (mut ring, now, mut out) = (Ring::new(peer(1), RingOptions::default()), Time::ZERO, Vec::new());
        ring.fill(now, &[peer(1), peer(2)]);
        ring.vitals.trust_given(now, &[peer(2)]);
        let what = Routed::Request { file: "0002".parse().expect("four digits") };
        assert!(ring.wait_with_own(now, peer(2).addr, 7, what), "it is still starting");
        for magic in 0..2 * MAX_WAITING as u64 {
            let route = Route { hops: 1, ..Route::of(peer(3)) };
            assert!(ring.wait_with_relay(now, peer(2).addr, &Relay { magic, route, what }));
        }
        assert_eq!(ring.waiting.len(), MAX_WAITING);
        ring.vitals.alive(now, &peer(2).id);
        ring.end_waiting(now, &mut out);
        let is_own = |effect: &Effect| {
            matches!(effect, Effect::Ask { request: Request::Ring(RingRequest::Routed { route, .. }), .. }
                if route.origin == peer(1))
        };
        assert!(out.iter().any(is_own), "the user's command goes on");
    }
}
