//! An overlay that knows its answers beforehand, so that a test looks at the node alone.

use std::net::SocketAddr;
use std::time::Duration;

use crate::id::Key;
use crate::overlay::{Effect, Goal, Incoming, LookupId, Overlay, TableRow, Tag, Target};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, RequestKind, Response, Via};

/// Every lookup finds `set` at once; every other peer in it is told as a holder, unless nobody `holds` anything.
pub(super) struct Scripted {
    pub(super) me: Peer,
    pub(super) set: Vec<Peer>,
    pub(super) holds: bool,
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
        out.push(Effect::Found { lookup, peers: self.set.clone(), hops: 1 });
    }
    fn cancel(&mut self, _lookup: LookupId) {}
    fn on_request(&mut self, _now: Time, from: &Incoming, _request: &Request, out: &mut Vec<Effect>) {
        let response = Response::Nodes(self.set.clone());
        out.push(Effect::Respond { to: from.addr, magic: from.magic, kind: RequestKind::FindNode, response });
    }
    fn on_response(&mut self, _: Time, _: Tag, _: SocketAddr, _: &Response, _: &mut Vec<Effect>) {}
    fn on_failure(&mut self, _now: Time, _tag: Tag, _to: Target, _out: &mut Vec<Effect>) {}
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
