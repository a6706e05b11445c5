//! What follows of a death: who is told, what goes another way, and how the dead are looked for again.
//!
//! A peer that notices the death of its own neighbour tells those that must know it too, and they look for themselves
//! (`abrupt`). When a peer counts as dead is in [`health`](super::health).

use std::net::SocketAddr;

use super::health::DeathNews;
use super::neighbours::RingNeighbours;
use super::router::SuccessorChange;
use super::stabilize::{Ping, PingReason, TellingExtent};
use super::{HEARD_LATELY, NEIGHBOURS_WATCHED, QuestionFor, Ring, RingVariant};
use crate::id::Id;
use crate::overlay::{Effect, Incoming};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::RingRequest;

impl Ring {
    /// A ping of ours has no answer.
    pub(super) fn on_missed(&mut self, now: Time, ping: Ping, out: &mut Vec<Effect>) {
        let peer = ping.peer;
        match ping.reason {
            PingReason::Stabilize(_) | PingReason::Check if self.table.get(&peer.id) == Some(peer) => {
                if self.vitals.miss(now, &peer.id, ping.sent.max(self.woken), self.options.variant) {
                    self.bury(now, peer, out);
                } else if ping.reason == PingReason::Check && !self.table.is_neighbour(&peer.id) {
                    // A finger is dropped sooner, dead or not: its place is looked up anew.
                    self.table.remove(&peer.id);
                    self.send_around(now, peer.addr, out);
                } else {
                    self.connect_once(peer, out);
                    if !self.is_pinging(&peer.id) {
                        // As long as no other is due, the user's ping goes on.
                        let reason =
                            if ping.loud { PingReason::Stabilize(TellingExtent::All) } else { PingReason::Check };
                        self.ping(peer, reason, ping.loud, out);
                    }
                }
            }
            // While peers are being started one by one, it may not be up yet.
            PingReason::Probe(_) if self.table.get(&peer.id).is_none() && self.vitals.starting(now).is_none() => {
                self.vitals.gone(now, peer);
            }
            _ => {}
        }
        // What waited for it is old news by now, and will be told again.
        self.early.clear();
    }

    /// The next pings of the user's interval are due: a first successor that left the last ones without an answer is
    /// dead.
    pub(super) fn bury_silent(&mut self, now: Time, out: &mut Vec<Effect>) {
        for peer in self.table.watched().to_vec() {
            if self.vitals.is_silent(&peer.id, self.options.ping_interval) {
                self.bury(now, peer, out);
            }
        }
    }

    /// Another peer says that `peer` does not answer it. A peer that looks after that one, or after this one, is
    /// believed after one ping, and that may take a while to be missed: so it is asked over a connection too.
    pub(super) fn on_abrupt(&mut self, from: &Incoming, peer: &Peer, out: &mut Vec<Effect>) {
        let Some(known) = self.table.get(&peer.id) else { return };
        let Some(teller) = self.neighbour(from).filter(|_| known.addr == peer.addr) else {
            return self.check_on(known, out);
        };
        if self.vitals.was_heard_within(self.now, &known.id, HEARD_LATELY) {
            return;
        }
        let watches = |whom: &Id| self.table.around(whom).contains(&Some(teller));
        if watches(&known.id) {
            self.vitals.tell(&known.id, DeathNews::ByWatcher);
        } else if watches(&self.me.id) {
            self.vitals.tell(&known.id, DeathNews::ByNeighbour);
        }
        self.check_on(known, out);
        self.connect(known, out);
    }

    /// A peer left a ping without an answer: the one before it tries to connect to it, the first time that it did, and
    /// so does each other one that knows of it elsewhere. In the classroom both before it do, whose users are told of
    /// its death, if it was ever heard: there peers may be named before they are up.
    fn connect_once(&mut self, peer: Peer, out: &mut Vec<Effect>) {
        let is_among = |nearest: usize| self.table.successors().iter().take(nearest).any(|next| *next == peer);
        let looks = match self.options.variant {
            RingVariant::Chord => is_among(1) || self.vitals.elsewhere(&peer.id).is_some(),
            RingVariant::Classroom => is_among(2) && self.vitals.heard(&peer.id).is_some(),
        };
        if looks && self.vitals.missed_once(&peer.id) {
            self.connect(peer, out);
        }
    }

    /// Asks a peer something over a connection: if it is gone from a machine that is up, that refuses it at once.
    pub(super) fn connect(&mut self, peer: Peer, out: &mut Vec<Effect>) {
        self.ask_plain(peer.into(), Request::FindNode { id: self.me.id }, QuestionFor::Tell, patience::ONCE, out);
    }

    /// The peer `teller` told its neighbours. If it does not know of a death yet, and is one of those that believe us,
    /// it is told.
    pub(super) fn correct(&mut self, teller: Peer, told: RingNeighbours<'_>, out: &mut Vec<Effect>) {
        let mut named = told.predecessors.iter().chain(told.successors);
        if let Some(&peer) = named.find(|peer| self.vitals.is_news(self.now, peer))
            && self.table.around(&self.me.id).contains(&Some(teller))
        {
            self.ask(teller, RingRequest::Abrupt { peer }, QuestionFor::Tell, out);
        }
    }

    /// A peer of the table is dead, or has left as it said.
    pub(super) fn bury(&mut self, now: Time, peer: Peer, out: &mut Vec<Effect>) {
        if self.vitals.is_awaited(&peer.id) {
            return;
        }
        self.roll_call.note_death(now, self.table.others().count());
        if self.on_departed(now, peer, out) {
            return self.send_around(now, peer.addr, out);
        }
        let ahead = self.table.successors().iter().position(|other| other.id == peer.id);
        let behind = self.table.predecessors().iter().position(|other| other.id == peer.id);
        let (told, elsewhere) = (self.vitals.told(&peer.id), self.vitals.elsewhere(&peer.id));
        self.table.remove(&peer.id);
        match elsewhere {
            Some(_) => self.vitals.gone(now, peer),
            None => self.vitals.died(now, peer),
        }
        if ahead.is_some() {
            let watched = ahead.is_some_and(|at| at < NEIGHBOURS_WATCHED);
            let why = if watched { SuccessorChange::Died { peer } } else { SuccessorChange::Stabilized };
            self.tell_successors(why, out);
        }
        if behind.is_some() {
            self.tell_predecessors(out);
        }
        if ahead.is_some() || behind.is_some() {
            out.push(Effect::PeerDown(peer));
        }
        for neighbour in self.to_be_told(&peer, (ahead, behind), told) {
            self.ask(neighbour, RingRequest::Abrupt { peer }, QuestionFor::Tell, out);
        }
        if ahead.is_some_and(|at| at < NEIGHBOURS_WATCHED) {
            self.greet_successors(out);
        }
        self.meet_elsewhere(peer, (ahead, behind), elsewhere, out);
        self.send_around(now, peer.addr, out);
    }

    /// The peers that this one tells of a death. The two between which the dead one stood looked after it: the first of
    /// them that knows tells every peer that may have it in the lists, and the other one, which was `told`, those on
    /// its own side once more, for they know it better. Any other peer tells those two or, if it was told, the next one
    /// behind it: lists may be short after several deaths, and who stands nearest not be clear yet.
    fn to_be_told(&self, dead: &Peer, at: (Option<usize>, Option<usize>), told: Option<DeathNews>) -> Vec<Peer> {
        let RingNeighbours { predecessors, successors } = self.table.neighbours();
        let mut all: Vec<Peer> = match at {
            (Some(0), _) if told == Some(DeathNews::ByWatcher) => predecessors.to_vec(),
            (_, Some(0)) if told == Some(DeathNews::ByWatcher) => successors.to_vec(),
            (Some(0), _) | (_, Some(0)) => [predecessors, successors].concat(),
            (None, None) => Vec::new(),
            (Some(_), _) if told.is_some() => predecessors.first().copied().into_iter().collect(),
            (None, Some(_)) if told.is_some() => successors.first().copied().into_iter().collect(),
            _ => self.table.around(&dead.id).into_iter().flatten().collect(),
        };
        all.retain(|peer| peer.id != self.me.id);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Looks for one of those that were lost, or never met: a network that was cut, or began in parts, may be whole
    /// again.
    pub(super) fn seek_lost(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.vitals.forget_found(&self.table);
        if self.table.others().next().is_none() {
            return self.try_joining_again(now, out);
        }
        self.knock_at_next_door(now, out);
        if let Some(peer) = self.vitals.next_lost() {
            self.ping(peer, PingReason::Lost, false, out);
        }
    }

    /// A peer lives that was given up: it is pinged at once, not when its turn comes.
    pub(super) fn on_revived(&mut self, addr: SocketAddr, out: &mut Vec<Effect>) {
        let lost = self.vitals.lost().find(|peer| peer.addr == addr).copied();
        lost.into_iter().for_each(|peer| self.ping(peer, PingReason::Lost, false, out));
    }
}
