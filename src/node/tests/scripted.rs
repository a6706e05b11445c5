//! An overlay that knows its answers beforehand, so that a test looks at the node alone.

use std::net::SocketAddr;
use std::time::Duration;

use crate::id::Key;
use crate::overlay::{Effect, Goal, Incoming, LookupId, Overlay, RouteOutcome, TableRow, Tag, Target};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingRequest, Route, Routed};
use crate::wire::{Request, RequestKind, Response, Via};

/// Every lookup finds `set` at once; every other peer in it is told as a holder, unless nobody `holds` anything. What is
/// routed goes to the first of `set`, which is responsible for everything; what comes routed has arrived.
pub(super) struct Scripted {
    pub(super) me: Peer,
    pub(super) set: Vec<Peer>,
    pub(super) holds: bool,
    /// Peers beside them that are known and silent.
    pub(super) unreached: usize,
}

impl Overlay for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }
    fn me(&self) -> Peer {
        self.me
    }
    fn width(&self) -> usize {
        self.set.len()
    }
    fn carrier(&self, _request: &Request) -> Via {
        Via::Udp
    }
    fn join(&mut self, _now: Time, _known: &[SocketAddr], _remembered: &[Peer], out: &mut Vec<Effect>) {
        out.push(Effect::Joined { peers: self.set.len() });
    }
    fn lookup(&mut self, _now: Time, lookup: LookupId, _key: Key, goal: Goal, out: &mut Vec<Effect>) {
        if self.holds && goal != Goal::Peers {
            out.extend(self.set.iter().filter(|peer| **peer != self.me).map(|&peer| Effect::Holder { lookup, peer }));
        }
        out.push(Effect::Found { lookup, peers: self.set.clone(), hops: 1, unreached: self.unreached });
    }
    fn route(&mut self, _now: Time, lookup: LookupId, what: Routed, out: &mut Vec<Effect>) {
        let owner = self.set[0];
        if owner == self.me {
            return out.push(Effect::Settled { lookup, outcome: RouteOutcome::Here });
        }
        let route = Route { origin: self.me, hops: 0, last: true };
        let request = Request::Ring(RingRequest::Routed { route, what });
        out.push(Effect::Ask { to: owner.into(), request, tag: lookup, tries: 1, from_anyone: true });
    }
    fn cancel(&mut self, _lookup: LookupId) {}
    fn on_request(&mut self, _now: Time, from: &Incoming, request: &Request, out: &mut Vec<Effect>) {
        if let Request::Ring(RingRequest::Routed { route, what }) = request {
            return out.push(Effect::Arrived { origin: route.origin, magic: from.magic, what: *what });
        }
        let response = Response::Nodes(self.set.clone());
        out.push(Effect::Respond { to: from.addr, magic: from.magic, kind: RequestKind::FindNode, response });
    }
    fn on_response(&mut self, _: Time, tag: Tag, from: SocketAddr, response: &Response, out: &mut Vec<Effect>) {
        if let Response::Ring(response) = response {
            let outcome = RouteOutcome::Answered { from, response: response.clone() };
            out.push(Effect::Settled { lookup: tag, outcome });
        }
    }
    fn on_failure(&mut self, _now: Time, tag: Tag, _to: Target, out: &mut Vec<Effect>) {
        out.push(Effect::Settled { lookup: tag, outcome: RouteOutcome::Lost });
    }
    fn on_silence(&mut self, _: Time, _: SocketAddr, _: &mut Vec<Effect>) {}
    fn on_undeliverable(&mut self, _: Time, to: SocketAddr, _: Option<(u64, Request)>, out: &mut Vec<Effect>) {
        let gone = self.set.iter().position(|peer| peer.addr == to);
        out.extend(gone.map(|at| Effect::PeerDown(self.set.remove(at))));
    }
    fn on_alive(&mut self, _now: Time, _peer: SocketAddr, _rtt: Duration, _out: &mut Vec<Effect>) {}
    fn on_tick(&mut self, _now: Time, _out: &mut Vec<Effect>) {}
    fn next_tick(&self) -> Option<Time> {
        None
    }
    fn replica_set(&self, _key: &Key, count: usize) -> Vec<Peer> {
        self.set.iter().copied().take(count).collect()
    }
    fn concerns(&self, _key: &Key, _peer: &Peer, _count: usize) -> bool {
        true
    }
    fn leave(&mut self, _now: Time, _out: &mut Vec<Effect>) {}
    fn peers(&self) -> Vec<Peer> {
        self.set.clone()
    }
    fn table(&self) -> Vec<TableRow> {
        Vec::new()
    }
}
