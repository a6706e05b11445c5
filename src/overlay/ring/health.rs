//! Who is alive: signs of life, silence, deaths, and the dead that may come back.
//!
//! Everything that is remembered of a peer's life stands here, with the rules by which it is taken for dead; what this
//! peer does about a death is in [`failure`](super::failure).
//!
//! A peer that leaves three pings in a row without an answer, each sent up to three times, is dead: with a tenth of all
//! datagrams lost that happens by chance less than once in a million pings. So is one that refuses a connection.
//!
//! A try waits longer where no round trip was measured yet. In the classroom, whose users count their own pings, that
//! makes no difference: when the fourth is due and none of the last three has an answer, the peer is dead.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::table::Table;
use crate::id::Id;
use crate::peer::Peer;
use crate::time::Time;

/// Pings in a row without an answer that make a peer dead.
const MISSES: u8 = 3;

/// With very short intervals, pings go unanswered for at least so long.
const LEAST_SILENCE: Duration = Duration::from_secs(3);

/// What others say of a dead peer is not believed for so long: their lists may be older than its death.
const DISBELIEF: Duration = Duration::from_secs(60);

/// Successors that the user named may take this long to start.
const GIVEN_PATIENCE: Duration = Duration::from_secs(60);

/// Peers remembered as lost.
const MAX_LOST: usize = 32;

/// What is remembered of one id's life.
#[derive(Default, PartialEq, Eq)]
struct Health {
    /// The last sign of life.
    heard: Option<Time>,
    /// Pings since then that failed, each with all its tries.
    missed: u8,
    /// Pings of the user's interval that went out since then.
    unanswered: u32,
    /// A lookup was sent through it and no sign of life came in time: lookups go around it while it is checked.
    doubted: bool,
    /// The user named this peer and it never gave a sign of life: until when it may still be starting.
    given_until: Option<Time>,
    /// The address where it died or left, and until when that is held against what others say.
    dead: Option<(SocketAddr, Time)>,
}

impl Health {
    /// Forgets how the peer was until now, but not where it is dead.
    fn begin_anew(&mut self, heard: Option<Time>) {
        *self = Self { heard, dead: self.dead, ..Self::default() };
    }
}

/// What is remembered of the lives of all other peers.
#[derive(Default)]
pub(super) struct Vitals {
    health: BTreeMap<Id, Health>,
    /// Peers that died without a goodbye and may come back, the longest untried first.
    lost: VecDeque<Peer>,
    /// Until when peers of this ring may be starting, where the user started them one by one.
    starting_until: Option<Time>,
}

impl Vitals {
    /// The user named these: they are waited for.
    pub(super) fn trust_given(&mut self, now: Time, peers: &[Peer]) {
        let until = Some(now + GIVEN_PATIENCE);
        self.starting_until = until;
        for peer in peers {
            self.of(&peer.id).given_until = until;
        }
    }

    /// A peer gave a sign of life.
    pub(super) fn alive(&mut self, now: Time, id: &Id) {
        self.of(id).begin_anew(Some(now));
    }

    /// The peer is where it was dead or lost.
    pub(super) fn back(&mut self, peer: &Peer) {
        if self.is_dead(peer) {
            self.of(&peer.id).dead = None;
        }
        self.lost.retain(|other| other.addr != peer.addr);
    }

    /// A ping of ours has no answer. Whether that was one too many: the peer is dead.
    pub(super) fn miss(&mut self, id: &Id) -> bool {
        let health = self.of(id);
        if health.given_until.is_some() {
            return false;
        }
        health.missed += 1;
        health.missed >= MISSES
    }

    /// The peer did not answer in time, and is being checked: its next sign of life ends the doubt, or its death does.
    pub(super) fn doubt(&mut self, id: &Id) {
        self.of(id).doubted = true;
    }

    /// Whether the peer is in [doubt](Self::doubt).
    pub(super) fn is_doubted(&self, id: &Id) -> bool {
        self.health.get(id).is_some_and(|health| health.doubted)
    }

    /// A ping of the user's interval goes out.
    pub(super) fn count_ping(&mut self, id: &Id) {
        self.of(id).unanswered += 1;
    }

    /// Whether too many pings of the user's interval went out since the last sign of life.
    pub(super) fn is_silent(&self, id: &Id, interval: Duration) -> bool {
        let interval = interval.max(Duration::from_millis(1));
        let enough = LEAST_SILENCE.as_micros().div_ceil(interval.as_micros()).max(MISSES.into());
        self.health.get(id).is_some_and(|health| u128::from(health.unanswered) >= enough)
    }

    /// A peer has left, or is not where others say.
    pub(super) fn gone(&mut self, now: Time, peer: Peer) {
        let health = self.of(&peer.id);
        health.begin_anew(None);
        health.dead = Some((peer.addr, now + DISBELIEF));
    }

    /// A peer is dead: perhaps it comes back.
    pub(super) fn died(&mut self, now: Time, peer: Peer) {
        self.gone(now, peer);
        self.lost.retain(|other| other.addr != peer.addr);
        if self.lost.len() == MAX_LOST {
            self.lost.pop_front();
        }
        self.lost.push_back(peer);
    }

    /// Whether the user named this peer, it never gave a sign of life, and it may still be starting: its silence counts
    /// nothing.
    pub(super) fn is_awaited(&self, id: &Id) -> bool {
        self.health.get(id).is_some_and(|health| health.given_until.is_some())
    }

    /// For how long peers of this ring may yet be starting, if they may.
    pub(super) fn starting(&self, now: Time) -> Option<Duration> {
        self.starting_until.filter(|until| *until > now).map(|until| until - now)
    }

    /// Whether the peer gave a sign of life less than `span` ago.
    pub(super) fn was_heard_within(&self, now: Time, id: &Id, span: Duration) -> bool {
        self.health.get(id).and_then(|health| health.heard).is_some_and(|at| now.since(at) < span)
    }

    /// Whether the peer died or left a moment ago.
    pub(super) fn is_dead(&self, peer: &Peer) -> bool {
        self.health.get(&peer.id).and_then(|health| health.dead).is_some_and(|(addr, _)| addr == peer.addr)
    }

    /// Whether the peer went silent a moment ago, without a goodbye.
    pub(super) fn is_missed(&self, peer: &Peer) -> bool {
        self.is_dead(peer) && self.lost.contains(peer)
    }

    /// Peers that died and may come back, the longest untried first.
    pub(super) fn lost(&self) -> impl Iterator<Item = &Peer> {
        self.lost.iter()
    }

    /// The lost peer that is to be tried next; it will be the last to be tried again.
    pub(super) fn next_lost(&mut self) -> Option<Peer> {
        self.lost.rotate_left(self.lost.len().min(1));
        self.lost.back().copied()
    }

    /// Drops what is too old, and what is about peers that are not in `table` any longer.
    pub(super) fn forget_old(&mut self, now: Time, table: &Table) {
        self.health.retain(|id, health| {
            health.dead = health.dead.filter(|(_, until)| *until > now);
            health.given_until = health.given_until.filter(|until| *until > now);
            if table.get(id).is_none() {
                *health = Health { dead: health.dead, given_until: health.given_until, ..Health::default() };
            }
            *health != Health::default()
        });
    }

    /// Drops those of the lost that are in `table` again.
    pub(super) fn forget_found(&mut self, table: &Table) {
        self.lost.retain(|peer| table.get(&peer.id) != Some(*peer));
    }

    fn of(&mut self, id: &Id) -> &mut Health {
        self.health.entry(*id).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::RingOptions;
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn peer(id: u64, port: u16) -> Peer {
        Peer::new(Id::from_u64(id), SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn table_of(peers: &[Peer]) -> Table {
        let mut table = Table::new(peer(0, 1), &RingOptions::default());
        table.fill(peers, None);
        table
    }

    #[test]
    fn three_misses_in_a_row_are_a_death_and_a_sign_of_life_between_starts_anew() {
        let (mut vitals, id) = (Vitals::default(), Id::from_u64(5));
        assert_eq!([vitals.miss(&id), vitals.miss(&id)], [false, false]);
        vitals.alive(Time::ZERO, &id);
        assert_eq!([vitals.miss(&id), vitals.miss(&id), vitals.miss(&id)], [false, false, true]);
    }

    #[test]
    fn doubt_ends_with_a_sign_of_life_and_with_death() {
        let (mut vitals, five) = (Vitals::default(), peer(5, 2));
        for end in [Vitals::alive as fn(&mut Vitals, Time, &Id), |vitals, now, _| vitals.died(now, peer(5, 2))] {
            vitals.doubt(&five.id);
            assert!(vitals.is_doubted(&five.id));
            end(&mut vitals, Time::ZERO, &five.id);
            assert!(!vitals.is_doubted(&five.id));
        }
    }

    #[test]
    fn three_pings_of_the_interval_without_a_sign_of_life_are_silence_and_more_if_they_are_frequent() {
        let (mut vitals, id) = (Vitals::default(), Id::from_u64(5));
        for _ in 0..3 {
            assert!(!vitals.is_silent(&id, INTERVAL));
            vitals.count_ping(&id);
        }
        assert!(vitals.is_silent(&id, INTERVAL));
        assert!(!vitals.is_silent(&id, Duration::from_millis(100)), "that were 0.3 s");
        vitals.alive(Time::ZERO, &id);
        assert!(!vitals.is_silent(&id, INTERVAL));
    }

    #[test]
    fn the_silence_of_a_peer_that_may_be_starting_counts_nothing_until_its_time_is_over() {
        let (mut vitals, five) = (Vitals::default(), peer(5, 2));
        vitals.trust_given(Time::ZERO, &[five]);
        let table = table_of(&[five]);
        for _ in 0..4 {
            assert!(!vitals.miss(&five.id) && vitals.is_awaited(&five.id));
        }
        vitals.forget_old(Time::ZERO + GIVEN_PATIENCE, &table);
        assert!(!vitals.is_awaited(&five.id));
        assert!(!vitals.miss(&five.id) && !vitals.miss(&five.id) && vitals.miss(&five.id));
    }

    #[test]
    fn a_death_is_of_one_address_and_is_over_when_the_peer_is_back_or_after_a_while() {
        let (mut vitals, here, elsewhere) = (Vitals::default(), peer(5, 2), peer(5, 3));
        vitals.died(Time::ZERO, here);
        assert!(vitals.is_dead(&here) && vitals.is_missed(&here) && !vitals.is_dead(&elsewhere));
        vitals.alive(Time::ZERO, &here.id);
        vitals.back(&elsewhere);
        assert!(vitals.is_dead(&here), "another peer has that id now");
        vitals.back(&here);
        assert!(!vitals.is_dead(&here) && vitals.lost().next().is_none());
        vitals.gone(Time::ZERO, here);
        assert!(vitals.is_dead(&here) && !vitals.is_missed(&here), "it said goodbye");
        vitals.forget_old(Time::ZERO + DISBELIEF, &table_of(&[]));
        assert!(!vitals.is_dead(&here) && vitals.health.is_empty());
    }

    #[test]
    fn the_lost_are_tried_in_turn_until_they_are_found() {
        let mut vitals = Vitals::default();
        assert_eq!(vitals.next_lost(), None);
        let (one, two) = (peer(5, 2), peer(6, 3));
        vitals.died(Time::ZERO, one);
        vitals.died(Time::ZERO, two);
        assert_eq!([vitals.next_lost(), vitals.next_lost(), vitals.next_lost()], [Some(one), Some(two), Some(one)]);
        vitals.forget_found(&table_of(&[one]));
        assert_eq!(vitals.next_lost(), Some(two));
    }
}
