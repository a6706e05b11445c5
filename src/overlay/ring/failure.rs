//! Deaths: how they are noticed, told, and looked back on.
//!
//! A peer that leaves three pings in a row without an answer, each sent up to three times, is dead: with a tenth of all
//! datagrams lost that happens by chance less than once in a million pings. So is one that refuses a connection. Whoever
//! notices the death of its own neighbour tells those that must know it too, and they look for themselves (`abrupt`).
//!
//! A try waits longer where no round trip was measured yet. In the classroom, whose users count their own pings, that
//! makes no difference: when the fourth is due and none of the last three has an answer, the peer is dead.

use std::time::Duration;

use super::stabilize::{Ping, Role};
use super::{NEIGHBOURS_WATCHED, Ring, Why};
use crate::overlay::{Change, Effect, Incoming, RouteNotice};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::RingRequest;

/// Pings in a row without an answer that make a peer dead.
const MISSES: u8 = 3;

/// With very short intervals, pings go unanswered for at least so long.
const LEAST_SILENCE: Duration = Duration::from_secs(3);

impl Ring {
    /// A ping of ours has no answer.
    pub(super) fn on_missed(&mut self, now: Time, ping: Ping, out: &mut Vec<Effect>) {
        let peer = ping.peer;
        match ping.role {
            Role::Check if self.table.get(&peer.id) == Some(peer) => {
                if !self.upkeep.is_awaited(&peer.id) && self.upkeep.miss(&peer.id) >= MISSES {
                    self.bury(now, peer, out);
                } else if !self.is_pinging(&peer.id) {
                    // As long as no other is due, the same ping goes on.
                    self.ping(ping, out);
                }
            }
            Role::Probe(_) if self.table.get(&peer.id).is_none() => self.upkeep.gone(now, peer),
            _ => {}
        }
    }

    /// The next ping of the user's interval is due: who left the last ones without an answer?
    pub(super) fn bury_silent(&mut self, now: Time, out: &mut Vec<Effect>) {
        let interval = self.options.ping_interval.max(Duration::from_millis(1));
        let enough = LEAST_SILENCE.as_micros().div_ceil(interval.as_micros()).max(MISSES.into());
        for peer in self.table.watched().to_vec() {
            if u128::from(self.upkeep.unanswered(&peer.id)) >= enough {
                self.bury(now, peer, out);
            }
        }
    }

    /// A neighbour says that `peer` does not answer it. A ping may take a while to be missed; whoever is gone from a
    /// machine that is up refuses a connection at once.
    pub(super) fn on_abrupt(&mut self, from: &Incoming, peer: &Peer, out: &mut Vec<Effect>) {
        let Some(known) = self.table.get(&peer.id) else { return };
        self.check_on(known, out);
        if self.neighbour(from).is_some() {
            self.ask_plain(known.into(), Request::FindNode { id: self.me.id }, Why::Tell, false, 1, out);
        }
    }

    /// A peer of the table is dead.
    pub(super) fn bury(&mut self, now: Time, peer: Peer, out: &mut Vec<Effect>) {
        if self.upkeep.is_awaited(&peer.id) {
            return;
        }
        let ahead = self.table.successors().iter().position(|other| other.id == peer.id);
        let behind = self.table.predecessors().iter().position(|other| other.id == peer.id);
        self.table.remove(&peer.id);
        self.upkeep.gone(now, peer);
        self.upkeep.remember(peer);
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
        let table = &self.table;
        self.upkeep.lost.retain(|peer| table.get(&peer.id) != Some(*peer));
        if self.table.others().next().is_none() {
            if !(self.upkeep.bootstrap.is_empty() && self.upkeep.lost.is_empty()) {
                self.try_joining_again(now, out);
            }
        } else if let Some(peer) = self.upkeep.lost.pop_front() {
            self.upkeep.lost.push_back(peer);
            self.ping_quietly(peer, Role::Lost, out);
        }
    }
}
