//! When what is due, and what is remembered of other peers beyond the lists: signs of life, missed pings, deaths.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::table::Table;
use crate::id::Id;
use crate::peer::Peer;
use crate::time::Time;

/// What others say of a dead peer is not believed for so long: their lists may be older than its death.
const DISBELIEF: Duration = Duration::from_secs(60);

/// Peers remembered as lost.
const MAX_LOST: usize = 32;

/// Successors that the user named may take this long to start.
const GIVEN_PATIENCE: Duration = Duration::from_secs(60);

/// When what is due, and who was heard of when.
#[derive(Default)]
pub(super) struct Upkeep {
    pub(super) next_round: Option<Time>,
    /// Addresses to join through: those the user gave, then those remembered from the last run.
    pub(super) bootstrap: Vec<SocketAddr>,
    /// Peers that died, the longest untried first.
    pub(super) lost: VecDeque<Peer>,
    pub(super) next_announced: Time,
    pub(super) next_retry: Time,
    pub(super) heard: BTreeMap<Id, Time>,
    missed: BTreeMap<Id, u8>,
    /// Pings of the user's interval since the last sign of life.
    unanswered: BTreeMap<Id, u32>,
    dead: BTreeMap<Id, (SocketAddr, Time)>,
    given: BTreeMap<Id, Time>,
    /// Until when peers of this ring may be starting, where the user started them one by one.
    starting_until: Option<Time>,
    pub(super) turn: usize,
    pub(super) next_finger: Option<usize>,
    /// Whether all fingers are being renewed, one after the other.
    pub(super) hurry: bool,
}

impl Upkeep {
    /// A peer gave a sign of life.
    pub(super) fn alive(&mut self, now: Time, id: &Id) {
        self.heard.insert(*id, now);
        self.missed.remove(id);
        self.unanswered.remove(id);
        self.given.remove(id);
    }

    /// The user named these: they are waited for.
    pub(super) fn trust_given(&mut self, now: Time, peers: &[Peer]) {
        self.starting_until = Some(now + GIVEN_PATIENCE);
        self.given.extend(peers.iter().map(|peer| (peer.id, now + GIVEN_PATIENCE)));
    }

    /// A peer is known to have gone.
    pub(super) fn gone(&mut self, now: Time, peer: Peer) {
        self.dead.insert(peer.id, (peer.addr, now + DISBELIEF));
        self.missed.remove(&peer.id);
        self.unanswered.remove(&peer.id);
        self.heard.remove(&peer.id);
        self.given.remove(&peer.id);
    }

    /// Counts a ping without an answer; how many there were in a row.
    pub(super) fn miss(&mut self, id: &Id) -> u8 {
        let missed = self.missed.entry(*id).or_default();
        *missed += 1;
        *missed
    }

    /// A ping of the user's interval goes out.
    pub(super) fn count_ping(&mut self, id: &Id) {
        *self.unanswered.entry(*id).or_default() += 1;
    }

    /// Pings of the user's interval that went out since the last sign of life.
    pub(super) fn unanswered(&self, id: &Id) -> u32 {
        self.unanswered.get(id).copied().unwrap_or(0)
    }

    /// Whether the user named this peer, it never gave a sign of life, and it may still be starting: its silence counts
    /// nothing.
    pub(super) fn is_awaited(&self, id: &Id) -> bool {
        self.given.contains_key(id)
    }

    /// For how long peers of this ring may yet be starting, if they may.
    pub(super) fn starting(&self, now: Time) -> Option<Duration> {
        self.starting_until.filter(|until| *until > now).map(|until| until - now)
    }

    /// Drops what is too old, and what is about peers that are not in `table` any longer.
    pub(super) fn forget_old(&mut self, now: Time, table: &Table) {
        self.heard.retain(|id, _| table.get(id).is_some());
        self.missed.retain(|id, _| table.get(id).is_some());
        self.unanswered.retain(|id, _| table.get(id).is_some());
        self.dead.retain(|_, (_, until)| *until > now);
        self.given.retain(|_, until| *until > now);
    }

    pub(super) fn is_dead(&self, peer: &Peer) -> bool {
        self.dead.get(&peer.id).is_some_and(|(addr, _)| *addr == peer.addr)
    }

    /// Whether it went silent a moment ago, without a goodbye.
    pub(super) fn is_missed(&self, peer: &Peer) -> bool {
        self.is_dead(peer) && self.lost.contains(peer)
    }

    /// It died: perhaps it comes back.
    pub(super) fn remember(&mut self, peer: Peer) {
        self.lost.retain(|other| other.addr != peer.addr);
        if self.lost.len() == MAX_LOST {
            self.lost.pop_front();
        }
        self.lost.push_back(peer);
    }

    /// It is there.
    pub(super) fn back(&mut self, peer: &Peer) {
        if self.is_dead(peer) {
            self.dead.remove(&peer.id);
        }
        self.lost.retain(|other| other.addr != peer.addr);
    }
}
