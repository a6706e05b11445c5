//! Which peers are alive: signs of life, silence, deaths, and the dead that may come back.
//!
//! Everything that is remembered of a peer's life stands here, with the rules by which it is taken for dead; what this
//! peer does about a death is in [`failure`](super::failure).
//!
//! Only an answer to a question of this peer's is a sign of life: any sender can write a datagram in another's name. A
//! request merely spares its sender a ping, and not for long.
//!
//! A peer is dead once it left pings without an answer for [`SILENCE`], in which dozens of datagrams go out: so long no
//! chance lasts with a tenth of all datagrams lost, and no stop of a process that was swapped out. So is a peer that
//! refuses a connection, as a machine does at once whose peer was killed: after the first ping without an answer one is
//! tried. One ping adds at most [`PING_SILENCE`]: this peer may have been stopped itself, and a minute that it did not
//! run is no minute's silence of the other (Dadgar, Phillips and Currey, "Lifeguard", 2018: it is slow observers who
//! take the living for dead). A peer that is told of a death by one that looked after the dead peer, or by a neighbour
//! of its own, believes it after one ping. And one under whose id a peer answers at [another address](super::elsewhere)
//! is dead sooner where it was known.
//!
//! In the classroom the same silence makes a peer dead, which are three pings at least, those included that its user
//! does not see; no peer's word shortens it. Users count their own pings: it is dead too when the fourth of these is
//! due and none of the last three has an answer.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::elsewhere::Elsewhere;
use super::table::RingTable;
use super::{RingVariant, SUCCESSOR_PING_EVERY};
use crate::id::Id;
use crate::overlay::MISSED;
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;

/// Pings of the user's interval without an answer that make a peer of the classroom dead.
const MISSES: u8 = 3;

/// A peer is dead that does not answer for so long.
const SILENCE: Duration = Duration::from_secs(5);

/// The silence that one ping without an answer counts for, at most.
const PING_SILENCE: Duration = Duration::from_secs(2);

/// The same where a peer answers under its id at another address: four datagrams at least.
const SILENCE_ELSEWHERE: Duration = Duration::from_secs(1);

/// A death is news for so long.
const NEWS: Duration = Duration::from_secs(20);

/// With very short intervals, pings go unanswered for at least so long.
const LEAST_SILENCE: Duration = Duration::from_secs(3);

/// What others say of a dead peer is not believed for so long: their lists may be older than its death.
const DISBELIEF: Duration = Duration::from_secs(60);

/// Requests of a peer whose last answer is older than this spare it no ping. So a death is noticed that much later at
/// most by peers that hear another one speak in the dead one's name.
const SPARED: Duration = Duration::from_secs(16);

/// How long a peer is silent before the one before it calls it dead: at least, and where nothing gets lost at most.
pub(in crate::overlay) fn silence() -> [Duration; 2] {
    [SILENCE, SUCCESSOR_PING_EVERY + SILENCE + patience::silence(patience::QUESTION)]
}

/// Lookups go around a peer for so long to which a connection was late. The next one finds out once more.
const SHUNNED: Duration = Duration::from_secs(10);

/// Successors that the user named may take this long to start.
const GIVEN_PATIENCE: Duration = Duration::from_secs(60);

/// Peers remembered as lost.
const MAX_LOST: usize = 32;

/// Which peer said of another one that it is dead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum DeathNews {
    /// A peer that looks after us: it knows from others what it hands on.
    ByNeighbour,
    /// A peer that looked after the dead one, and tells all others.
    ByWatcher,
}

/// What is remembered of one id's life.
#[derive(Default, PartialEq, Eq)]
struct PeerHistory {
    /// The last sign of life.
    heard: Option<Time>,
    /// The last request since then.
    spoke: Option<Time>,
    /// Pings since then that failed, each with all its tries.
    missed: u8,
    /// For how long those were waited for, all in all, and until when.
    silent: Duration,
    silent_until: Option<Time>,
    /// Another one said since then that it is dead.
    told: Option<DeathNews>,
    /// A peer answered since then under its id, at another address.
    elsewhere: Option<Elsewhere>,
    /// Pings of the user's interval that went out since then.
    unanswered: u32,
    /// A lookup was sent through it and no sign of life came in time: lookups go around it while it is checked.
    doubted: bool,
    /// A connection to it was late: until when lookups go around it, whatever its pings show.
    shunned_until: Option<Time>,
    /// The user named this peer and nothing ever came from it: until when it may still be starting.
    given_until: Option<Time>,
    /// The address where it died or left, and until when that is held against what others say.
    dead: Option<(SocketAddr, Time)>,
}

impl PeerHistory {
    /// Forgets how the peer was until now, but not where it is dead, and whether it can be connected to.
    fn begin_anew(&mut self, heard: Option<Time>) {
        *self = Self { heard, dead: self.dead, shunned_until: self.shunned_until, ..Self::default() };
    }
}

/// What is remembered of the lives of all other peers.
#[derive(Default)]
pub(super) struct Vitals {
    health: BTreeMap<Id, PeerHistory>,
    /// Peers that died without a goodbye and may come back, the longest untried first.
    lost: VecDeque<(Peer, Time)>,
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

    /// A request came from this peer, or from another in its name. Whether the peer was [awaited](Self::is_awaited)
    /// until then: from now on its silence counts.
    pub(super) fn spoke(&mut self, now: Time, id: &Id) -> bool {
        let Some(health) = self.health.get_mut(id) else { return false };
        if health.given_until.is_some() {
            health.begin_anew(None);
            return true;
        }
        health.spoke = health.heard.map_or(health.spoke, |_| Some(now));
        false
    }

    /// The peer is where it was dead or lost.
    pub(super) fn back(&mut self, peer: &Peer) {
        if self.is_dead(peer) {
            self.of(&peer.id).dead = None;
        }
        self.lost.retain(|(other, _)| other.addr != peer.addr);
    }

    /// A ping of ours that was `sent` then has no answer until `now`. Whether the peer is dead now.
    pub(super) fn miss(&mut self, now: Time, id: &Id, sent: Time, variant: RingVariant) -> bool {
        let health = self.of(id);
        if health.given_until.is_some() {
            return false;
        }
        health.missed = health.missed.saturating_add(1);
        // Two pings may be out at a time.
        let since = health.silent_until.map_or(sent, |until| until.max(sent));
        health.silent += now.since(since).min(PING_SILENCE);
        health.silent_until = Some(now);
        let enough = if health.elsewhere.is_some() { SILENCE_ELSEWHERE } else { SILENCE };
        health.silent >= enough || variant == RingVariant::Chord && health.told.is_some()
    }

    /// Whether one ping since the last sign of life failed, and no more.
    pub(super) fn missed_once(&self, id: &Id) -> bool {
        self.health.get(id).is_some_and(|health| health.missed == 1)
    }

    /// This peer was stopped: no other was silent meanwhile.
    pub(super) fn wake(&mut self) {
        self.health.values_mut().for_each(|health| health.silent = Duration::ZERO);
    }

    /// Another peer, which is believed after one ping, says that the peer `id` is dead.
    pub(super) fn tell(&mut self, id: &Id, by: DeathNews) {
        let health = self.of(id);
        health.told = health.told.max(Some(by));
    }

    /// Whether this peer was [told](Self::tell) that the peer is dead, and by which other one.
    pub(super) fn told(&self, id: &Id) -> Option<DeathNews> {
        self.health.get(id).and_then(|health| health.told)
    }

    /// A peer answers under this id, at another address than the one that is known for it.
    pub(super) fn found_elsewhere(&mut self, id: &Id, at: Elsewhere) {
        self.of(id).elsewhere = Some(at);
    }

    /// What was [found elsewhere](Self::found_elsewhere) since the peer gave its last sign of life.
    pub(super) fn elsewhere(&self, id: &Id) -> Option<Elsewhere> {
        self.health.get(id).and_then(|health| health.elsewhere)
    }

    /// The peer did not answer in time, and is being checked: its next sign of life ends the doubt, or its death does.
    pub(super) fn doubt(&mut self, id: &Id) {
        self.of(id).doubted = true;
    }

    /// Whether the peer is in [doubt](Self::doubt).
    pub(super) fn is_doubted(&self, id: &Id) -> bool {
        self.health.get(id).is_some_and(|health| health.doubted)
    }

    /// A connection to the peer is late: for a while lookups go around it.
    pub(super) fn shun(&mut self, now: Time, id: &Id) {
        self.of(id).shunned_until = Some(now + SHUNNED);
    }

    /// Whether a connection to the peer was late a moment ago.
    pub(super) fn is_shunned(&self, now: Time, id: &Id) -> bool {
        self.health.get(id).and_then(|health| health.shunned_until).is_some_and(|until| now < until)
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
        self.lost.retain(|(other, _)| other.addr != peer.addr);
        if self.lost.len() == MAX_LOST {
            self.lost.pop_front();
        }
        self.lost.push_back((peer, now));
    }

    /// Whether the user named this peer, nothing ever came from it, and it may still be starting: its silence counts
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
        self.heard(id).is_some_and(|at| now.since(at) < span)
    }

    /// Whether the peer died or left a moment ago.
    pub(super) fn is_dead(&self, peer: &Peer) -> bool {
        self.health.get(&peer.id).and_then(|health| health.dead).is_some_and(|(addr, _)| addr == peer.addr)
    }

    /// Whether the peer died so lately, without a goodbye, that others may not know it yet.
    pub(super) fn is_news(&self, now: Time, peer: &Peer) -> bool {
        let dead = self.health.get(&peer.id).and_then(|health| health.dead);
        self.is_missed(peer) && dead.is_some_and(|(_, until)| now + (DISBELIEF - NEWS) < until)
    }

    /// How long ago the peer gave its last sign of life, if it gave any.
    pub(super) fn silence(&self, now: Time, id: &Id) -> Duration {
        self.heard(id).map_or(Duration::MAX, |heard| now.since(heard))
    }

    /// When the peer last gave a sign of life, if it ever did.
    pub(super) fn heard(&self, id: &Id) -> Option<Time> {
        self.health.get(id).and_then(|health| health.heard)
    }

    /// Since when the peer might be silent, if it was ever heard: since its last sign of life, or since its last
    /// request, where that [spares](SPARED) it a ping.
    pub(super) fn quiet_since(&self, id: &Id) -> Option<Time> {
        let health = self.health.get(id)?;
        let heard = health.heard?;
        let trusted = health.missed == 0 && health.told.is_none() && !health.doubted;
        let spoke = health.spoke.filter(|_| trusted).map(|spoke| spoke.min(heard + SPARED));
        Some(spoke.map_or(heard, |spoke| spoke.max(heard)))
    }

    /// Whether the peer died without a goodbye, and has not answered since.
    pub(super) fn is_lost(&self, peer: &Peer) -> bool {
        self.lost().any(|lost| lost == peer)
    }

    /// Whether the peer went silent a moment ago, without a goodbye.
    pub(super) fn is_missed(&self, peer: &Peer) -> bool {
        self.is_dead(peer) && self.is_lost(peer)
    }

    /// Peers that died and may come back, the longest untried first.
    pub(super) fn lost(&self) -> impl Iterator<Item = &Peer> {
        self.lost.iter().map(|(peer, _)| peer)
    }

    /// Those of them that a peer which is left alone misses.
    pub(super) fn missed(&self, now: Time) -> impl Iterator<Item = &Peer> {
        self.lost.iter().filter(move |(_, since)| now.since(*since) < MISSED).map(|(peer, _)| peer)
    }

    /// The lost peer that is to be tried next; it will be the last to be tried again.
    pub(super) fn next_lost(&mut self) -> Option<Peer> {
        self.lost.rotate_left(self.lost.len().min(1));
        self.lost.back().map(|(peer, _)| *peer)
    }

    /// Drops what is too old, and what is about peers that are not in `table` any longer.
    pub(super) fn forget_old(&mut self, now: Time, table: &RingTable) {
        self.health.retain(|id, health| {
            health.dead = health.dead.filter(|(_, until)| *until > now);
            health.given_until = health.given_until.filter(|until| *until > now);
            health.shunned_until = health.shunned_until.filter(|until| *until > now);
            if table.get(id).is_none() {
                *health = PeerHistory { dead: health.dead, given_until: health.given_until, ..PeerHistory::default() };
            }
            *health != PeerHistory::default()
        });
    }

    /// Drops those of the lost that are in `table` again.
    pub(super) fn forget_found(&mut self, table: &RingTable) {
        self.lost.retain(|(peer, _)| table.get(&peer.id) != Some(*peer));
    }

    fn of(&mut self, id: &Id) -> &mut PeerHistory {
        self.health.entry(*id).or_default()
    }
}

#[cfg(test)]
mod tests;
