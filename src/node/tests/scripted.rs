//! An overlay that knows its answers beforehand, so that a test looks at the node alone.

use crate::id::Key;
use crate::overlay::{
    AskReason, Cause, Effect, Entrances, Found, Goal, LookupId, LookupStep, Overlay, OverlayKind, Region, RingEffect,
    RouteNotice, RouteOutcome, Router, TableRow,
};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingRequest, Route, Routed};
use crate::wire::{Request, RequestKind, Response};

/// Every lookup finds `set` at once; every other peer in it is told as a holder, unless nobody `holds` anything. What
/// is routed goes to the first of `set`, which is responsible for everything; what comes routed has arrived. A peer
/// that pings as the ring does tells who stands before this peer.
pub(crate) struct Scripted {
    pub(crate) me: Peer,
    pub(crate) set: Vec<Peer>,
    pub(crate) holds: bool,
    /// Whether a lookup ends.
    pub(crate) ends: bool,
    /// Peers beside them that are known and silent.
    pub(crate) unreached: Vec<Peer>,
}

impl Overlay for Scripted {
    fn kind(&self) -> OverlayKind {
        OverlayKind::Kademlia
    }
    fn me(&self) -> Peer {
        self.me
    }
    fn join(&mut self, _now: Time, _entrances: &Entrances<'_>, out: &mut Vec<Effect>) {
        out.push(Effect::Joined { peers: self.set.len(), shut_out: 0 });
    }
    fn lookup(&mut self, _now: Time, lookup: LookupId, _key: Key, goal: Goal, out: &mut Vec<Effect>) {
        if self.holds && goal != Goal::Peers {
            out.extend(self.set.iter().filter(|peer| **peer != self.me).map(|&peer| Effect::Holder { lookup, peer }));
        }
        if !self.ends {
            return;
        }
        let (peers, unreached) = (self.set.clone(), self.unreached.clone());
        let found = Found { peers, hops: 1, unreached, conclusive: true, crowded: false };
        out.push(Effect::Found { lookup, found });
    }
    fn cancel(&mut self, _lookup: LookupId) {}
    fn on(&mut self, _now: Time, cause: Cause<'_>, out: &mut Vec<Effect>) {
        match cause {
            Cause::Request { from, request: Request::Ring(RingRequest::Routed { route, what }) } => {
                let arrived = RingEffect::Arrived { origin: route.origin, magic: from.asker.magic, what: *what };
                out.push(Effect::Ring(arrived));
            }
            Cause::Request { request: Request::Ring(RingRequest::Ping { predecessors, .. }), .. } => {
                let notice = RouteNotice::Predecessors { predecessors: predecessors.clone() };
                out.push(Effect::Ring(RingEffect::Notice(notice)));
            }
            Cause::Request { request: &Request::Ring(RingRequest::Update { joined: Some(joined), .. }), .. } => {
                out.push(Effect::Ring(RingEffect::Entered(joined)));
            }
            Cause::Request { from, .. } => {
                let response = Response::Nodes(self.set.clone());
                out.push(Effect::Respond { to: from.asker, kind: RequestKind::FindNode, response });
            }
            Cause::Answer { tag, from, by, response: Response::Ring(response) } => {
                let outcome = RouteOutcome::Answered { from, by, response: response.clone() };
                out.push(Effect::Ring(RingEffect::RouteEnded { lookup: tag, outcome }));
            }
            Cause::NoAnswer { tag, .. } => {
                out.push(Effect::Ring(RingEffect::RouteEnded { lookup: tag, outcome: RouteOutcome::Lost }));
            }
            Cause::Undeliverable { addr, .. } => {
                let gone = self.set.iter().position(|peer| peer.addr == addr);
                out.extend(gone.map(|at| Effect::PeerDown(self.set.remove(at))));
            }
            Cause::Answer { .. }
            | Cause::Late { .. }
            | Cause::Alive { .. }
            | Cause::Revived { .. }
            | Cause::Silent { .. }
            | Cause::Detour { .. }
            | Cause::Moved { .. }
            | Cause::Ways(_)
            | Cause::Tick => {}
        }
    }
    fn next_tick(&self) -> Option<Time> {
        None
    }
    fn leave(&mut self, _now: Time, _out: &mut Vec<Effect>) {}
    fn replica_set(&self, _key: &Key, count: usize) -> Vec<Peer> {
        self.set.iter().copied().take(count).collect()
    }
    fn region(&self, key: &Key, count: usize) -> Region {
        Region { first: Key::ZERO, last: Key::MAX, members: self.replica_set(key, count) }
    }
    fn peers(&self) -> Vec<Peer> {
        self.set.clone()
    }
    fn table(&self) -> Vec<TableRow> {
        Vec::new()
    }
    fn router(&mut self) -> Option<&mut dyn Router> {
        Some(self)
    }
}

impl Router for Scripted {
    fn must_be_heard_leaving(&self) -> bool {
        false
    }

    fn says_that_it_reads_datagrams(&self) -> bool {
        false
    }

    fn knows_its_successors(&self) -> bool {
        true
    }

    fn route(&mut self, _now: Time, lookup: LookupId, what: Routed, out: &mut Vec<Effect>) {
        let owner = self.set[0];
        if owner == self.me {
            return out.push(Effect::Ring(RingEffect::RouteEnded { lookup, outcome: RouteOutcome::Here }));
        }
        let route = Route { last: true, ..Route::of(self.me) };
        let request = Request::Ring(RingRequest::Routed { route, what });
        out.push(Effect::Ask {
            to: owner.into(),
            request,
            tag: lookup,
            tries: 1,
            step: Some(LookupStep { lookup, reason: AskReason::Nearest }),
        });
    }
}
