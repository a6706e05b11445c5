//! What follows of a death: who is told, what goes another way, and how the dead are looked for again.
//!
//! A peer that notices the death of its own neighbour tells those that must know it too, and they look for themselves
//! (`abrupt`). When a peer counts as dead is in [`health`](super::health).

use super::router::{Change, RouteNotice};
use super::stabilize::{Ping, Role};
use super::{NEIGHBOURS_WATCHED, Ring, Why};
use crate::overlay::{Effect, Incoming};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::RingRequest;

impl Ring {
    /// A ping of ours has no answer.
    pub(super) fn on_missed(&mut self, now: Time, ping: Ping, out: &mut Vec<Effect>) {
        let peer = ping.peer;
        match ping.role {
            Role::Check if self.table.get(&peer.id) == Some(peer) => {
                if self.vitals.miss(&peer.id) {
                    self.bury(now, peer, out);
                } else if !self.is_pinging(&peer.id) {
                    // As long as no other is due, the same ping goes on.
                    self.ping(ping, out);
                }
            }
            Role::Probe(_) if self.table.get(&peer.id).is_none() => self.vitals.gone(now, peer),
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

    /// A neighbour says that `peer` does not answer it. A ping may take a while to be missed; where a peer
    /// is gone from a machine that is up, a connection is refused at once.
    pub(super) fn on_abrupt(&mut self, from: &Incoming, peer: &Peer, out: &mut Vec<Effect>) {
        let Some(known) = self.table.get(&peer.id) else { return };
        self.check_on(known, out);
        if self.neighbour(from).is_some() {
            self.ask_plain(known.into(), Request::FindNode { id: self.me.id }, Why::Tell, false, 1, out);
        }
    }

    /// A peer of the table is dead.
    pub(super) fn bury(&mut self, now: Time, peer: Peer, out: &mut Vec<Effect>) {
        if self.vitals.is_awaited(&peer.id) {
            return;
        }
        let ahead = self.table.successors().iter().position(|other| other.id == peer.id);
        let behind = self.table.predecessors().iter().position(|other| other.id == peer.id);
        self.table.remove(&peer.id);
        self.vitals.died(now, peer);
        if ahead.is_some() {
            let watched = ahead.is_some_and(|at| at < NEIGHBOURS_WATCHED);
            let why = if watched { Change::Died { peer } } else { Change::Stabilized };
            let successors = self.table.successors().to_vec();
            Self::notice(RouteNotice::Successors { why, successors }, out);
        }
        if behind.is_some() {
            self.tell_predecessors(out);
        }
        if ahead.is_some() || behind.is_some() {
            out.push(Effect::PeerDown(peer));
        }
        // Those that stand on the other side of us from the dead peer may count on it too: they shall look.
        let mut told: Vec<Peer> = Vec::new();
        if ahead.is_some_and(|at| at < NEIGHBOURS_WATCHED) {
            told.extend(self.table.predecessors());
        }
        if behind == Some(0) {
            told.extend(self.table.successors());
        }
        told.sort_unstable();
        told.dedup();
        for neighbour in told {
            self.ask(neighbour, RingRequest::Abrupt { peer }, Why::Tell, out);
        }
        if ahead.is_some_and(|at| at < NEIGHBOURS_WATCHED) {
            self.greet_successors(out);
        }
        self.send_around(now, peer.addr, out);
    }

    /// Looks for one of those that were lost: a network that was cut may be whole again.
    pub(super) fn seek_lost(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.vitals.forget_found(&self.table);
        if self.table.others().next().is_none() {
            self.try_joining_again(now, out);
        } else if let Some(peer) = self.vitals.next_lost() {
            self.ping_quietly(peer, Role::Lost, out);
        }
    }
}
