//! What this peer sends to the peer responsible for a key: its lookups, and requests about files by their names.

use std::net::SocketAddr;

use super::router::{RingEffect, RouteNotice, RouteOutcome};
use super::table::Hop;
use super::{MAX_ROUND, Ring, Why};
use crate::config::{MAX_TIMEOUT, WIDTH};
use crate::id::{Id, Key};
use crate::overlay::{Effect, Goal, LookupId};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::{RingRequest, Route, Routed};

/// Ways tried for one search before what is known here must do.
const MAX_WAYS: usize = 6;

/// A lookup of this peer's own.
pub(super) struct Search {
    key: Key,
    goal: Goal,
    /// First hops that led nowhere.
    tried: Vec<SocketAddr>,
    /// The replica set and the hops it took, once known.
    found: Option<(Vec<Peer>, u32)>,
    /// Peers that the owner named, and that are known here to be silent.
    unreached: usize,
    /// Peers of the replica set that have not said yet whether they hold the block.
    waiting: usize,
}

impl Ring {
    pub(super) fn check_searches(&self) -> Result<(), String> {
        let waited_for = |id: LookupId| {
            self.asked
                .values()
                .any(|why| matches!(why, Why::Search(lookup) | Why::Value { lookup, .. } if *lookup == id))
        };
        match self.searches.keys().find(|id| !waited_for(**id) && !self.membership.is_pending()) {
            Some(id) => Err(format!("lookup {id} waits for nothing")),
            None => Ok(()),
        }
    }

    pub(super) fn start_search(&mut self, lookup: LookupId, key: Key, goal: Goal, out: &mut Vec<Effect>) {
        let search = Search { key, goal, tried: Vec::new(), found: None, unreached: 0, waiting: 0 };
        self.searches.insert(lookup, search);
        // While this peer is joining it knows no peer to ask: its searches start when it is in.
        if !self.membership.is_pending() {
            self.search_on(lookup, out);
        }
    }

    /// Starts what had to wait until this peer was in the ring.
    pub(super) fn start_waiting_searches(&mut self, out: &mut Vec<Effect>) {
        let waiting: Vec<LookupId> = self.searches.keys().copied().collect();
        for lookup in waiting {
            self.search_on(lookup, out);
        }
    }

    pub(super) fn hop(&self, key: &Id, avoid: &[SocketAddr]) -> Hop {
        if self.options.fingers || self.options.guest {
            self.table.hop_across(key, avoid)
        } else {
            self.table.hop_along(key, avoid)
        }
    }

    /// Sends a search on its way, the first time or again.
    pub(super) fn search_on(&mut self, lookup: LookupId, out: &mut Vec<Effect>) {
        let Some(search) = self.searches.get(&lookup) else { return };
        let key = search.key;
        let hop = if search.tried.len() < MAX_WAYS { self.hop(&key, &search.tried) } else { Hop::Nowhere };
        match hop {
            Hop::Mine => {
                let set = self.owned_set();
                self.settle(lookup, set, 0, out);
            }
            hop @ (Hop::Last(to) | Hop::Via(to)) => {
                // An answer that was no answer (a refusal) must not lead there again.
                if let Some(search) = self.searches.get_mut(&lookup) {
                    search.tried.push(to.addr);
                }
                let request = self.routed(Routed::Lookup { key }, hop);
                self.ask(to, request, Why::Search(lookup), out);
            }
            Hop::Nowhere => {
                let known = self.table.clockwise(&key).take(WIDTH).copied().collect();
                self.settle(lookup, known, 0, out);
            }
        }
    }

    pub(super) fn routed(&self, what: Routed, hop: Hop) -> RingRequest {
        let route = Route { origin: self.me, hops: 0, last: matches!(hop, Hop::Last(_)) };
        RingRequest::Routed { route, what }
    }

    /// The owner of a search's key has answered.
    pub(super) fn on_owner(&mut self, lookup: LookupId, peers: &[Peer], hops: u32, out: &mut Vec<Effect>) {
        let vitals = &self.vitals;
        let Some(search) = self.searches.get_mut(&lookup) else { return };
        let key = search.key;
        search.unreached = peers.iter().take(WIDTH).filter(|peer| vitals.is_missed(peer)).count();
        let mut set: Vec<Peer> = Vec::with_capacity(WIDTH);
        for peer in peers {
            let fresh = !set.iter().any(|other| other.id == peer.id);
            if fresh && set.len() < WIDTH && !self.vitals.is_dead(peer) {
                set.push(*peer);
            }
        }
        set.sort_by_key(|peer| (peer.id < key, peer.id));
        self.settle(lookup, set, hops, out);
    }

    /// A search's replica set is known; for holders its members are asked.
    fn settle(&mut self, lookup: LookupId, peers: Vec<Peer>, hops: u32, out: &mut Vec<Effect>) {
        let vanished = self.vanished();
        let Some(search) = self.searches.get_mut(&lookup) else { return };
        search.unreached = search.unreached.max(vanished);
        let (me, unreached) = (self.me.id, search.unreached);
        let asked: Vec<Peer> = match search.goal {
            Goal::Peers => Vec::new(),
            Goal::Holders | Goal::MoreHolders | Goal::Survey => {
                peers.iter().copied().filter(|peer| peer.id != me).collect()
            }
        };
        if asked.is_empty() {
            self.searches.remove(&lookup);
            return out.push(Effect::Found { lookup, peers, hops, unreached });
        }
        search.waiting = asked.len();
        search.found = Some((peers, hops + 1));
        let key = search.key;
        for peer in asked {
            let request = Request::FindValue { key };
            self.ask_plain(peer.into(), request, Why::Value { lookup, peer }, false, patience::QUESTION, out);
        }
    }

    /// A peer that is left alone misses those that went silent a moment ago; no peer names them any longer.
    fn vanished(&self) -> usize {
        let alone = self.table.others().next().is_none();
        if alone { self.vitals.lost().filter(|peer| self.vitals.is_missed(peer)).count().min(WIDTH) } else { 0 }
    }

    /// A peer said whether it holds the block; silence is a no.
    pub(super) fn on_value(&mut self, lookup: LookupId, peer: Peer, holds: bool, out: &mut Vec<Effect>) {
        let Some(search) = self.searches.get_mut(&lookup) else { return };
        if holds {
            out.push(Effect::Holder { lookup, peer });
        }
        search.waiting -= 1;
        if search.waiting == 0
            && let Some(Search { found: Some((mut peers, hops)), unreached, .. }) = self.searches.remove(&lookup)
        {
            let missed = peers.iter().filter(|peer| self.vitals.is_missed(peer)).count();
            peers.retain(|peer| !self.vitals.is_dead(peer));
            out.push(Effect::Found { lookup, peers, hops, unreached: unreached + missed });
        }
    }

    /// Sends something of this peer's own on its way.
    pub(super) fn send_routed(&mut self, now: Time, lookup: LookupId, what: Routed, out: &mut Vec<Effect>) {
        if let Hop::Last(to) | Hop::Via(to) = self.hop(&key_of(what, self.me.id), &[]) {
            Self::notice(RouteNotice::Forwarded { what, origin: self.me, to }, out);
        }
        self.send_again(now, lookup, what, Vec::new(), out);
    }

    /// Sends it on its way, past peers that led nowhere.
    pub(super) fn send_again(
        &mut self,
        now: Time,
        lookup: LookupId,
        what: Routed,
        mut tried: Vec<SocketAddr>,
        out: &mut Vec<Effect>,
    ) {
        let hop = self.hop(&key_of(what, self.me.id), &tried);
        match hop {
            Hop::Mine => Self::settled(lookup, RouteOutcome::Here, out),
            Hop::Last(to) | Hop::Via(to) if tried.len() < MAX_WAYS => {
                let request = Request::Ring(self.routed(what, hop));
                tried.retain(|addr| *addr != to.addr);
                let tries = self.tries_of_own(now);
                let why = Why::Routed { lookup, what, to: to.addr, tried };
                self.ask_plain(to.into(), request, why, true, tries, out);
            }
            _ => Self::settled(lookup, RouteOutcome::Lost, out),
        }
    }

    /// A request of this peer's own is over.
    pub(super) fn settled(lookup: LookupId, outcome: RouteOutcome, out: &mut Vec<Effect>) {
        out.push(Effect::Ring(RingEffect::Settled { lookup, outcome }));
    }

    /// How often a request of this peer's own is sent one way. While the ring is starting, a peer on the way may let it
    /// wait; it is told from one sent before by its stamp alone, so that one goes out again and again.
    fn tries_of_own(&self, now: Time) -> u8 {
        let Some(starting) = self.vitals.starting(now) else { return patience::QUESTION };
        // What waits is looked at once a round.
        let more = (starting + 2 * MAX_ROUND).as_millis().div_ceil(MAX_TIMEOUT.as_millis());
        patience::QUESTION.saturating_add(u8::try_from(more).unwrap_or(u8::MAX))
    }

    /// A peer is dead: what this peer sent over it goes another way at once.
    pub(super) fn send_around(&mut self, now: Time, gone: SocketAddr, out: &mut Vec<Effect>) {
        let sent_there = |why: &Why| matches!(why, Why::Routed { to, .. } if *to == gone);
        let tags: Vec<_> = self.asked.iter().filter(|(_, why)| sent_there(why)).map(|(tag, _)| *tag).collect();
        for tag in tags {
            if let Some(Why::Routed { lookup, what, mut tried, .. }) = self.asked.remove(&tag) {
                tried.push(gone);
                self.send_again(now, lookup, what, tried, out);
            }
        }
    }
}

/// Where something belongs on the circle.
pub(super) fn key_of(what: Routed, origin: Id) -> Id {
    match what {
        Routed::Join => origin,
        Routed::Lookup { key } => key,
        Routed::Store { file } | Routed::Request { file } => file.key(),
    }
}
