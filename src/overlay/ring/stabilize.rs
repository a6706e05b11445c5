//! What keeps the lists right: pings, and the news they bring (Chord's stabilize and notify, ToN 2003, section IV-E1).

use super::neighbours::{Neighbours, Place};
use super::router::{Change, RouteNotice};
use super::{Manners, Ring, Why};
use crate::id::Id;
use crate::overlay::{Effect, Incoming};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;

/// Peers that are pinged at a time because other peers spoke of them.
const MAX_PROBES: usize = 16;

/// Neighbours told in a message, on the side where the receiver needs them. With [`TOLD_BESIDES`] they fit a datagram.
const TOLD: usize = 6;

/// Neighbours told in a message on the other side.
const TOLD_BESIDES: usize = 2;

/// A ping of ours, while its answer is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ping {
    /// The peer that is pinged.
    pub(super) peer: Peer,
    /// Why it is pinged.
    pub(super) role: Role,
    /// Whether the user's interval asked for this ping, so that its answer is told.
    pub(super) loud: bool,
}

/// Why a peer is pinged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// It is in the table: is it alive?
    Check,
    /// Another peer spoke of it: is it there?
    Probe(Place),
    /// It spoke for itself, and has yet to show that it receives.
    Meet(Place),
    /// It died: is it back?
    Lost,
}

impl Ring {
    /// Pings a peer, and tells it of our neighbours.
    pub(super) fn ping(&mut self, ping: Ping, out: &mut Vec<Effect>) {
        let request = Request::Ring(self.neighbours_for(&ping.peer, true).ping(!ping.loud));
        let tries = if self.vitals.is_awaited(&ping.peer.id) { patience::ONCE } else { patience::QUESTION };
        self.ask_plain(ping.peer.into(), request, Why::Ping(ping), false, tries, out);
    }

    /// Pings a peer for another reason than the user's interval.
    pub(super) fn ping_quietly(&mut self, peer: Peer, role: Role, out: &mut Vec<Effect>) {
        self.ping(Ping { peer, role, loud: false }, out);
    }

    /// Pings a peer that has not shown that it receives: one datagram, as short as can be. That one may well be lost.
    fn meet(&mut self, peer: Peer, place: Place, out: &mut Vec<Effect>) {
        let why = Why::Ping(Ping { peer, role: Role::Meet(place), loud: false });
        self.ask_plain(peer.into(), Request::Ring(Neighbours::NONE.ping(true)), why, false, 1, out);
    }

    /// Pings a peer of the table, unless that is going on already.
    pub(super) fn check_on(&mut self, peer: Peer, out: &mut Vec<Effect>) {
        if !self.is_pinging(&peer.id) {
            self.ping_quietly(peer, Role::Check, out);
        }
    }

    /// Lets the first successors know at once that we take them for such.
    pub(super) fn greet_successors(&mut self, out: &mut Vec<Effect>) {
        for peer in self.table.watched().to_vec() {
            self.check_on(peer, out);
        }
    }

    pub(super) fn is_pinging(&self, id: &Id) -> bool {
        self.asked.values().any(|why| matches!(why, Why::Ping(ping) if ping.peer.id == *id))
    }

    /// Which neighbours `peer` is told: more of those it needs, which for a successor of ours stand before us, for a
    /// predecessor after us. All of both would not fit a datagram.
    fn neighbours_for(&self, peer: &Peer, asking: bool) -> Neighbours<'_> {
        let all = self.table.neighbours();
        let ahead = all.ahead(&peer.id).unwrap_or(usize::MAX);
        let behind = all.behind(&peer.id).unwrap_or(usize::MAX);
        let after_us = if ahead == behind { asking } else { ahead < behind };
        if after_us { all.first(TOLD, TOLD_BESIDES) } else { all.first(TOLD_BESIDES, TOLD) }
    }

    /// A request came: a member that sends one itself is alive.
    pub(super) fn hear(&mut self, now: Time, from: &Incoming) {
        if from.sender.is_some_and(|sender| sender.leaving) {
            return;
        }
        if let Some(peer) = Self::member(from) {
            self.vitals.back(&peer);
            if self.table.get(&peer.id) == Some(peer) {
                self.vitals.alive(now, &peer.id);
            }
        }
    }

    /// A ping came: stabilize and notify of a peer that takes us for a successor, perhaps.
    pub(super) fn on_ping(&mut self, from: &Incoming, told: Neighbours<'_>, quiet: bool, out: &mut Vec<Effect>) {
        if self.has_left() {
            return; // An answer would bring this peer back into the lists of others.
        }
        let sender = from.sender.map(|sender| Peer::new(sender.peer.id, from.asker.addr));
        let pong = self.neighbours_for(&sender.unwrap_or(self.me), false).pong(self.me);
        Self::respond(from, pong, out);
        let leaving = from.sender.is_some_and(|sender| sender.leaving);
        let Some(sender) = Self::member(from).filter(|_| !leaving && !self.options.guest) else { return };
        if !quiet && self.options.manners == Manners::Classroom {
            Self::notice(RouteNotice::PingReceived { from: sender }, out);
        }
        // A ping without neighbours comes from a peer outside the ring: it enters by its join. This one, if it is not in
        // yet, would ping in the same way those that it must tell of itself once it is, and then not ping them again.
        if told.is_empty() || self.membership.is_pending() {
            return;
        }
        let place = Place { before: told.ahead(&self.me.id).is_some(), after: false };
        if !from.asker.is_validated() {
            // It has yet to show that it receives, and is pinged wherever it stands: from then on it gets full answers.
            // It tells its neighbours again when it answers.
            return self.weigh(sender, place, true, out);
        }
        self.consider(sender, place, out);
        self.hear_neighbours(sender, told, out);
    }

    /// The peer `teller` told its neighbours; we may be one of them.
    fn hear_neighbours(&mut self, teller: Peer, told: Neighbours<'_>, out: &mut Vec<Effect>) {
        let (ahead, behind) = (told.ahead(&self.me.id), told.behind(&self.me.id));
        let before_us = ahead.is_some() || self.table.predecessors().contains(&teller);
        let after_us = self.table.successors().contains(&teller);
        for (at, &peer) in told.successors.iter().enumerate() {
            let before = ahead.is_some_and(|us| at < us);
            self.consider(peer, Place { before, after: after_us || ahead.is_some_and(|us| at > us) }, out);
        }
        // Predecessors are learned one by one, so their list may skip peers: it does not say that one follows us.
        for (at, &peer) in told.predecessors.iter().enumerate() {
            let before = before_us || behind.is_some_and(|us| at > us);
            self.consider(peer, Place { before, after: false }, out);
        }
    }

    /// A ping of ours was answered.
    pub(super) fn on_pong(&mut self, now: Time, ping: Ping, told: Neighbours<'_>, out: &mut Vec<Effect>) {
        let Ping { peer, role, loud } = ping;
        self.vitals.back(&peer);
        self.vitals.alive(now, &peer.id);
        if loud {
            Self::notice(RouteNotice::PingAnswered { by: peer }, out);
        }
        match role {
            Role::Check => {}
            Role::Probe(place) | Role::Meet(place) => {
                self.enter(peer, place, out);
                if self.table.successors().last() == Some(&peer) {
                    self.enter_early(out);
                }
            }
            Role::Lost => {
                self.enter(peer, Place::SOMEWHERE, out);
                self.ask_to_join(peer, out);
            }
        }
        self.hear_neighbours(peer, told, out);
    }

    /// Another peer spoke of `peer`. If it has a place in the lists, it is pinged, and enters when it answers.
    pub(super) fn consider(&mut self, peer: Peer, place: Place, out: &mut Vec<Effect>) {
        self.weigh(peer, place, false, out);
    }

    fn weigh(&mut self, peer: Peer, place: Place, stranger: bool, out: &mut Vec<Effect>) {
        if !self.is_fit(&peer) || self.vitals.is_dead(&peer) || self.options.guest {
            return;
        }
        let ahead = self.table.fits_successors(&peer.id, place.after);
        let wanted = ahead || place.before && self.table.fits_predecessors(&peer.id);
        match self.table.get(&peer.id) {
            _ if !wanted && !stranger => {}
            Some(known) if known == peer => self.enter(peer, place, out),
            Some(known) => self.check_on(known, out),
            None => {
                let room = self.asked.values().filter_map(Why::probed).count() < MAX_PROBES;
                let place_out = self.asked.values_mut().find_map(|why| why.place_of(&peer.id));
                let is_probed = place_out.map(|known| known.merge(place)).is_some();
                if stranger && room && !self.is_met(&peer.id) {
                    // It may be probed since others spoke of it, in vain: it was not up yet, or datagrams are lost.
                    self.meet(peer, place, out);
                } else if !stranger && room && !is_probed && !self.is_pinging(&peer.id) {
                    self.ping_quietly(peer, Role::Probe(place), out);
                }
            }
        }
    }

    fn is_met(&self, id: &Id) -> bool {
        let meets = |why: &Why| matches!(why, Why::Ping(Ping { peer, role: Role::Meet(_), .. }) if peer.id == *id);
        self.asked.values().any(meets)
    }

    /// Puts a peer that answered us into the lists. One behind the last successor waits for those between the two that
    /// have yet to answer: the list may be short, but skips no peer of which we know (Zave, TSE 2017).
    fn enter(&mut self, peer: Peer, place: Place, out: &mut Vec<Effect>) {
        if let Some(known) = self.table.get(&peer.id).filter(|known| known.addr != peer.addr) {
            return self.check_on(known, out);
        }
        let last = self.table.fits_successors(&peer.id, true) && !self.table.fits_successors(&peer.id, false);
        let early = place.after && last && self.is_one_awaited_before(&peer.id);
        if early && !self.early.iter().any(|(other, _)| *other == peer) {
            self.early.push((peer, place));
        }
        let new = !self.table.is_neighbour(&peer.id);
        let ahead = self.table.add_successor(peer, place.after && !early);
        let behind = place.before && self.table.add_predecessor(peer);
        if new && (ahead || behind) {
            out.push(Effect::PeerUp(peer));
        }
        if ahead {
            let successors = self.table.successors().to_vec();
            Self::notice(RouteNotice::Successors { why: Change::Stabilized, successors }, out);
            if self.table.watched().contains(&peer) {
                self.check_on(peer, out);
            }
        }
        if behind {
            self.tell_predecessors(out);
        }
    }

    /// Whether a peer between the last successor and `id` has yet to answer before it enters.
    fn is_one_awaited_before(&self, id: &Id) -> bool {
        let last = self.table.successors().last().map_or(self.me.id, |last| last.id);
        let between = |peer: &Peer| peer.id.is_strictly_between(&last, id);
        self.asked.values().filter_map(Why::probed).any(between)
    }

    /// The list has reached a peer that others waited for: they enter.
    fn enter_early(&mut self, out: &mut Vec<Effect>) {
        let mut early = std::mem::take(&mut self.early);
        early.sort_unstable_by_key(|(peer, _)| (peer.id < self.me.id, peer.id));
        for (peer, place) in early {
            if !self.vitals.is_dead(&peer) {
                self.enter(peer, place, out);
            }
        }
    }

    pub(super) fn tell_predecessors(&self, out: &mut Vec<Effect>) {
        Self::notice(RouteNotice::Predecessors { predecessors: self.table.predecessors().to_vec() }, out);
    }
}
