//! What keeps the lists right: pings, the news they bring, and deaths.
//!
//! Each round pings the first successors (Chord's stabilize and notify, ToN 2003, section IV-E1), looks after the
//! predecessor (check_predecessor) and one of the other peers known, and renews one finger (fix_fingers). A peer that
//! leaves three pings in a row without an answer, each sent up to three times, is dead: with a tenth of all datagrams lost
//! that happens by chance less than once in a million pings. Whoever notices the death of its own neighbour tells those
//! that must know it too, and they look for themselves (`abrupt`).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::{MAX_ROUND, NEIGHBOURS_WATCHED, Ring, Why};
use crate::id::Id;
use crate::overlay::{Change, Effect, Incoming, RouteNotice};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingRequest, RingResponse};

/// Pings in a row without an answer that make a peer dead.
const MISSES: u8 = 3;

/// Peers that are pinged at a time because somebody spoke of them.
const MAX_PROBES: usize = 16;

/// What others say of a dead peer is not believed for so long: their lists may be older than its death.
const DISBELIEF: Duration = Duration::from_secs(60);

/// Peers that died are tried again this often, one at a time.
const LOST_RETRY: Duration = Duration::from_secs(10);

/// Peers remembered as lost.
const MAX_LOST: usize = 32;

/// Successors that the user named may take this long to start.
const GIVEN_PATIENCE: Duration = Duration::from_secs(60);

/// Peers of the own side in a message, and of the other side: what fits a datagram.
const TOLD: (usize, usize) = (6, 2);

/// Why a peer is pinged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// It is in the table: is it alive?
    Check,
    /// Somebody spoke of it: is it there?
    Probe { before: bool },
    /// It died: is it back?
    Lost,
}

/// When what is due, and who was heard of when.
#[derive(Default)]
pub(super) struct Upkeep {
    pub(super) next_round: Option<Time>,
    /// Addresses to join through: those the user gave, then those remembered from the last run.
    pub(super) bootstrap: Vec<SocketAddr>,
    /// Peers that died, the longest untried first.
    pub(super) lost: VecDeque<Peer>,
    next_announced: Time,
    next_retry: Time,
    heard: BTreeMap<Id, Time>,
    missed: BTreeMap<Id, u8>,
    dead: BTreeMap<Id, (SocketAddr, Time)>,
    given: BTreeMap<Id, Time>,
    turn: usize,
    next_finger: Option<usize>,
    /// Whether all fingers are being renewed, one after the other.
    hurry: bool,
}

impl Upkeep {
    /// A peer gave a sign of life.
    pub(super) fn alive(&mut self, now: Time, id: &Id) {
        self.heard.insert(*id, now);
        self.missed.remove(id);
        self.given.remove(id);
    }

    /// The user named these: they are waited for.
    pub(super) fn trust_given(&mut self, now: Time, peers: &[Peer]) {
        self.given.extend(peers.iter().map(|peer| (peer.id, now + GIVEN_PATIENCE)));
    }

    /// A peer is known to have gone.
    pub(super) fn gone(&mut self, now: Time, peer: Peer) {
        self.dead.insert(peer.id, (peer.addr, now + DISBELIEF));
        self.missed.remove(&peer.id);
        self.heard.remove(&peer.id);
        self.given.remove(&peer.id);
    }

    pub(super) fn is_dead(&self, peer: &Peer) -> bool {
        self.dead.get(&peer.id).is_some_and(|(addr, _)| *addr == peer.addr)
    }

    fn remember(&mut self, peer: Peer) {
        self.lost.retain(|other| other.addr != peer.addr);
        if self.lost.len() == MAX_LOST {
            self.lost.pop_front();
        }
        self.lost.push_back(peer);
    }

    fn back(&mut self, peer: &Peer) {
        if self.is_dead(peer) {
            self.dead.remove(&peer.id);
        }
        self.lost.retain(|other| other.addr != peer.addr);
    }
}

impl Ring {
    fn round_length(&self) -> Duration {
        let interval = self.options.ping_interval.max(Duration::from_millis(1));
        let parts = interval.as_micros().div_ceil(MAX_ROUND.as_micros());
        interval / u32::try_from(parts).unwrap_or(u32::MAX)
    }

    /// The first round of a filled table comes at a time of the peer's own, so that peers do not move in step.
    pub(super) fn schedule_first_round(&mut self, now: Time) {
        let low = self.me.id.as_bytes()[28..].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let length = u64::try_from(self.round_length().as_micros()).unwrap_or(u64::MAX);
        let wait = Duration::from_micros(low.wrapping_mul(2_654_435_761) % length);
        self.upkeep.next_round = Some(now + wait);
        self.upkeep.next_retry = now + LOST_RETRY;
    }

    /// Does what is due in each round.
    pub(super) fn round(&mut self, now: Time, out: &mut Vec<Effect>) {
        let length = self.round_length();
        self.upkeep.next_round = Some(now + length);
        self.forget_old(now);
        let loud = self.options.announce_pings && self.upkeep.next_announced <= now;
        let watched = self.table.watched().to_vec();
        if loud {
            self.upkeep.next_announced = now + self.options.ping_interval;
            if !watched.is_empty() {
                Self::notice(RouteNotice::PingsSent { to: watched.clone() }, out);
            }
        }
        for &peer in &watched {
            if loud || !self.is_pinging(&peer.id) {
                self.ping(peer, Role::Check, loud, out);
            }
        }
        let recent = |ring: &Self, id: &Id| ring.upkeep.heard.get(id).is_some_and(|at| now.since(*at) < length);
        if let Some(&before) = self.table.predecessors().first()
            && !recent(self, &before.id)
        {
            self.check_on(before, out);
        }
        let others: Vec<Peer> = self.table.others().collect();
        if !others.is_empty() {
            self.upkeep.turn = (self.upkeep.turn + 1) % others.len();
            let peer = others[self.upkeep.turn];
            if !recent(self, &peer.id) {
                self.check_on(peer, out);
            }
        }
        if !self.upkeep.hurry {
            self.fix_next_finger(out);
        }
        if self.upkeep.next_retry <= now {
            self.upkeep.next_retry = now + LOST_RETRY;
            self.seek_lost(now, out);
        }
    }

    fn forget_old(&mut self, now: Time) {
        let table = &self.table;
        self.upkeep.heard.retain(|id, _| table.get(id).is_some());
        self.upkeep.missed.retain(|id, _| table.get(id).is_some());
        self.upkeep.dead.retain(|_, (_, until)| *until > now);
        self.upkeep.given.retain(|_, until| *until > now);
    }

    /// Looks for one of those that were lost: a network that was cut may be whole again.
    fn seek_lost(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.table.others().next().is_none() {
            if !(self.upkeep.bootstrap.is_empty() && self.upkeep.lost.is_empty()) {
                self.try_joining_again(now, out);
            }
        } else if let Some(peer) = self.upkeep.lost.pop_front() {
            self.upkeep.lost.push_back(peer);
            self.ping(peer, Role::Lost, false, out);
        }
    }

    /// Pings a peer.
    pub(super) fn ping(&mut self, peer: Peer, role: Role, loud: bool, out: &mut Vec<Effect>) {
        let (predecessors, successors) = self.neighbours_for(&peer, true);
        let ping = RingRequest::Ping { predecessors, successors, quiet: !loud };
        self.ask(peer, ping, Why::Ping { peer, role, loud }, out);
    }

    /// Pings a peer of the table, unless that is going on already.
    pub(super) fn check_on(&mut self, peer: Peer, out: &mut Vec<Effect>) {
        if !self.is_pinging(&peer.id) {
            self.ping(peer, Role::Check, false, out);
        }
    }

    /// Lets the first successors know at once that we take them for such.
    pub(super) fn greet_successors(&mut self, out: &mut Vec<Effect>) {
        for peer in self.table.watched().to_vec() {
            self.check_on(peer, out);
        }
    }

    fn is_pinging(&self, id: &Id) -> bool {
        self.asked.values().any(|why| matches!(why, Why::Ping { peer, .. } if peer.id == *id))
    }

    /// Which neighbours `peer` is told: more of those it needs, which for a successor of ours stand before us, for a
    /// predecessor after us. All of both would not fit a datagram.
    fn neighbours_for(&self, peer: &Peer, asking: bool) -> (Vec<Peer>, Vec<Peer>) {
        let place = |list: &[Peer]| list.iter().position(|other| other.id == peer.id).unwrap_or(usize::MAX);
        let (ahead, behind) = (place(self.table.successors()), place(self.table.predecessors()));
        let after_us = if ahead == behind { asking } else { ahead < behind };
        let (before, after) = if after_us { TOLD } else { (TOLD.1, TOLD.0) };
        let first = |list: &[Peer], count| list.iter().take(count).copied().collect();
        (first(self.table.predecessors(), before), first(self.table.successors(), after))
    }

    /// Somebody sent a request: a member that speaks for itself is alive.
    pub(super) fn hear(&mut self, now: Time, from: &Incoming) {
        if from.sender.is_some_and(|sender| sender.leaving) {
            return;
        }
        if let Some(peer) = Self::member(from) {
            self.upkeep.back(&peer);
            if self.table.get(&peer.id) == Some(peer) {
                self.upkeep.alive(now, &peer.id);
            }
        }
    }

    /// A ping came: stabilize and notify of somebody who takes us for a successor, perhaps.
    pub(super) fn on_ping(
        &mut self,
        from: &Incoming,
        predecessors: &[Peer],
        successors: &[Peer],
        quiet: bool,
        out: &mut Vec<Effect>,
    ) {
        let sender = from.sender.map(|sender| Peer::new(sender.peer.id, from.addr));
        let (mut before, mut after) = self.neighbours_for(&sender.unwrap_or(self.me), false);
        if !from.validated {
            // A stranger gets no more than three times what it sent.
            before.truncate(1);
            after.truncate(1);
        }
        Self::respond(from, RingResponse::Pong { peer: self.me, predecessors: before, successors: after }, out);
        let leaving = from.sender.is_some_and(|sender| sender.leaving);
        let Some(sender) = Self::member(from).filter(|_| !leaving && !self.options.guest) else { return };
        if !quiet && self.options.announce_pings {
            Self::notice(RouteNotice::PingReceived { from: sender }, out);
        }
        // Whoever names nobody is in no ring yet: it enters by its join.
        if predecessors.is_empty() && successors.is_empty() {
            return;
        }
        let place = successors.iter().position(|peer| peer.id == self.me.id);
        self.consider(sender, place.is_some(), out);
        let between = place.unwrap_or(successors.len());
        for (at, &peer) in successors.iter().enumerate() {
            self.consider(peer, place.is_some() && at < between, out);
        }
        let before_us = place.is_some() || self.table.predecessors().contains(&sender);
        for &peer in predecessors {
            self.consider(peer, before_us, out);
        }
    }

    /// A ping of ours was answered.
    pub(super) fn on_pong(
        &mut self,
        now: Time,
        peer: Peer,
        (role, loud): (Role, bool),
        (predecessors, successors): (&[Peer], &[Peer]),
        out: &mut Vec<Effect>,
    ) {
        self.upkeep.back(&peer);
        self.upkeep.alive(now, &peer.id);
        if loud {
            Self::notice(RouteNotice::PingAnswered { by: peer }, out);
        }
        match role {
            Role::Check => {}
            Role::Probe { before } => self.enter(peer, before, out),
            Role::Lost => {
                self.enter(peer, false, out);
                self.ask_to_join(peer, out);
            }
        }
        let behind = self.table.predecessors().contains(&peer);
        let us = predecessors.iter().position(|other| other.id == self.me.id);
        for (at, &other) in predecessors.iter().enumerate() {
            self.consider(other, behind || us.is_some_and(|us| at > us), out);
        }
        for &other in successors {
            self.consider(other, false, out);
        }
    }

    /// Somebody spoke of `peer`. If it has a place in the lists, it is pinged, and enters when it answers; `before` says
    /// whether it stands before us, with nobody between but those known.
    pub(super) fn consider(&mut self, peer: Peer, before: bool, out: &mut Vec<Effect>) {
        if !self.is_fit(&peer) || self.upkeep.is_dead(&peer) || self.options.guest {
            return;
        }
        let wanted = self.table.fits_successors(&peer.id) || before && self.table.fits_predecessors(&peer.id);
        match self.table.get(&peer.id) {
            _ if !wanted => {}
            Some(known) if known == peer => self.enter(peer, before, out),
            Some(known) => self.check_on(known, out),
            None => {
                let probes = |why: &&Why| matches!(why, Why::Ping { role: Role::Probe { .. }, .. });
                if !self.is_pinging(&peer.id) && self.asked.values().filter(probes).count() < MAX_PROBES {
                    self.ping(peer, Role::Probe { before }, false, out);
                }
            }
        }
    }

    /// Puts a peer that answered us into the lists.
    fn enter(&mut self, peer: Peer, before: bool, out: &mut Vec<Effect>) {
        if let Some(known) = self.table.get(&peer.id).filter(|known| known.addr != peer.addr) {
            return self.check_on(known, out);
        }
        let new = !self.table.is_neighbour(&peer.id);
        let ahead = self.table.add_successor(peer);
        let behind = before && self.table.add_predecessor(peer);
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

    pub(super) fn tell_predecessors(&self, out: &mut Vec<Effect>) {
        Self::notice(RouteNotice::Predecessors { predecessors: self.table.predecessors().to_vec() }, out);
    }

    /// A ping of ours has no answer.
    pub(super) fn on_missed(&mut self, now: Time, peer: Peer, role: Role, out: &mut Vec<Effect>) {
        match role {
            Role::Check if self.table.get(&peer.id) == Some(peer) => {
                let missed = self.upkeep.missed.entry(peer.id).or_default();
                *missed += 1;
                if *missed >= MISSES { self.bury(now, peer, out) } else { self.check_on(peer, out) }
            }
            Role::Probe { .. } if self.table.get(&peer.id).is_none() => self.upkeep.gone(now, peer),
            _ => {}
        }
    }

    /// A peer of the table is dead.
    pub(super) fn bury(&mut self, now: Time, peer: Peer, out: &mut Vec<Effect>) {
        if self.upkeep.given.get(&peer.id).is_some_and(|until| now < *until) {
            self.upkeep.missed.remove(&peer.id); // It was not there yet; it may still be starting.
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
    }

    /// Renews all fingers, one after the other.
    pub(super) fn start_fixing_fingers(&mut self, out: &mut Vec<Effect>) {
        self.upkeep.hurry = true;
        self.upkeep.next_finger = None;
        self.fix_next_finger(out);
    }

    /// One finger was renewed, or could not be: the next, if all are being renewed.
    pub(super) fn go_on_fixing_fingers(&mut self, out: &mut Vec<Effect>) {
        if self.upkeep.hurry {
            self.fix_next_finger(out);
        }
    }

    fn fix_next_finger(&mut self, out: &mut Vec<Effect>) {
        let bits = self.options.bits;
        let covered = self
            .table
            .successors()
            .last()
            .copied()
            .filter(|_| self.options.fingers && self.table.successors().len() >= self.options.successors);
        let number = self.upkeep.next_finger.take().unwrap_or(bits - 1);
        let start = self.me.id.plus_power_of_two(number, bits);
        match covered {
            Some(last) if !start.is_between(&self.me.id, &last.id) => {
                self.upkeep.next_finger = number.checked_sub(1);
                self.upkeep.hurry &= self.upkeep.next_finger.is_some();
                self.fix_finger(number, out);
            }
            // The successor list covers this finger and all below it.
            _ => {
                self.upkeep.hurry = false;
                (0..=number).for_each(|number| self.table.drop_finger(number));
            }
        }
    }
}
