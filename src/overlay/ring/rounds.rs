//! Rounds: what a peer does again and again, and when.
//!
//! Each round pings the first successor (Chord's stabilize and notify, ToN 2003, section IV-E1) and renews one finger
//! (fix_fingers), in a ring at rest every fourth round; now and then the second successor and one of the other peers
//! known are pinged too. The predecessor pings this peer in its own rounds: once that ping is overdue, it is looked
//! after (check_predecessor), and now and then before, for a ping shows nothing. So each peer has two that look after
//! it, for little more than the price of one.

use std::time::Duration;

use super::router::RouteNotice;
use super::stabilize::{PingReason, TellingExtent};
use super::{MAX_ROUND, Ring, RingVariant};
use crate::overlay::Effect;
use crate::peer::Peer;
use crate::time::Time;

/// Rounds without a peer that came, went or was found out about, after which the ring is at rest.
const CALM: u32 = 12;

/// At rest only the first successor is pinged in each round, which is how a death is noticed; a finger is renewed in
/// every so many-th. Once the first rounds are over, the second successor and the others are never pinged more often
/// than that, outside the classroom.
const SELDOM: u32 = 4;

/// A newcomer does all that a round can do in so many first ones: it learns who is near to it, and they of it.
const SETTLING: u32 = 8;

/// A predecessor's ping may be so late.
const GRACE: Duration = Duration::from_millis(500);

/// Peers that died are tried again this often, one at a time.
const LOST_RETRY: Duration = Duration::from_secs(10);

/// A peer of the classroom that is alone tries to join again this often, or in each round: the peers of one ring are
/// started within seconds, in any order.
const ALONE_RETRY: Duration = Duration::from_secs(2);

/// When the parts of a round are due.
#[derive(Default)]
pub(super) struct Rounds {
    /// None until this peer is in the ring.
    next: Option<Time>,
    /// When the next pings of the user's interval are due.
    next_announced: Time,
    /// When the next lost peer is tried.
    next_retry: Time,
    /// Which of the other peers was looked after in the last round.
    turn: usize,
    /// How often the table had changed in the last round.
    changes: u64,
    /// Rounds since then in which it stayed as it was.
    calm: u32,
    /// Rounds since the beginning.
    count: u32,
}

impl Rounds {
    /// A ring that is at rest already, with a table that had changed so often.
    const fn rest(&mut self, changes: u64) {
        self.changes = changes;
        self.calm = CALM;
    }

    /// A peer was found silent.
    pub(super) const fn end_rest(&mut self) {
        self.calm = 0;
    }

    /// Begins a round. Whether it renews a finger, as each does while the table changes; whether it does all that a
    /// round can do; and what those are told that it pings.
    fn begin(&mut self, changes: u64) -> (bool, bool, TellingExtent) {
        self.calm = if changes == self.changes { self.calm.saturating_add(1) } else { 0 };
        self.changes = changes;
        self.count = self.count.wrapping_add(1);
        let seldom = self.count.is_multiple_of(SELDOM);
        let full = self.count <= SETTLING || seldom;
        (self.calm < CALM || full, full, if seldom { TellingExtent::All } else { TellingExtent::Nearest })
    }
}

impl Ring {
    /// Whether no peer has come, gone or been found out about for a while.
    pub(super) const fn is_at_rest(&self) -> bool {
        self.rounds.calm >= CALM && self.rounds.changes == self.table.changes()
    }

    fn round_length(&self) -> Duration {
        let interval = self.options.ping_interval.max(Duration::from_millis(1));
        let parts = interval.as_micros().div_ceil(MAX_ROUND.as_micros());
        interval / u32::try_from(parts).unwrap_or(u32::MAX)
    }

    /// A filled table is at rest. Its first round comes at a time of the peer's own, so that peers do not move in step.
    pub(super) fn schedule_first_round(&mut self, now: Time) {
        let low = self.me.id.as_bytes()[28..].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let length = u64::try_from(self.round_length().as_micros()).unwrap_or(u64::MAX);
        let wait = Duration::from_micros(low.wrapping_mul(2_654_435_761) % length);
        self.rounds.next = Some(now + wait);
        self.rounds.rest(self.table.changes());
        self.rounds.next_retry = now + LOST_RETRY;
    }

    /// Does what is due in each round.
    pub(super) fn round(&mut self, now: Time, out: &mut Vec<Effect>) {
        let length = self.round_length();
        self.rounds.next = Some(now + length);
        self.vitals.forget_old(now, &self.table);
        let loud = self.options.variant == RingVariant::Classroom && self.rounds.next_announced <= now;
        if loud {
            self.bury_silent(now, out);
        }
        let classroom = self.options.variant == RingVariant::Classroom;
        let (renews, full, telling) = self.rounds.begin(self.table.changes());
        let (full, telling) = if classroom { (true, TellingExtent::All) } else { (full, telling) };
        let mut watched = self.table.watched().to_vec();
        watched.truncate(if full { watched.len() } else { 1 });
        if loud {
            self.rounds.next_announced = now + self.options.ping_interval;
            if !watched.is_empty() {
                Self::notice(RouteNotice::PingsSent { to: watched.clone() }, out);
            }
        }
        for &peer in &watched {
            if loud && !self.vitals.is_awaited(&peer.id) || !self.is_pinging(&peer.id) {
                self.ping(peer, PingReason::Stabilize(telling), loud, out);
            }
            if loud {
                self.vitals.count_ping(&peer.id);
            }
        }
        self.look_after_predecessor(now, out);
        if full {
            let others: Vec<Peer> = self.table.others().collect();
            if !others.is_empty() {
                self.rounds.turn = (self.rounds.turn + 1) % others.len();
                self.check_on_silent(now, others[self.rounds.turn], length, out);
            }
        }
        if !classroom {
            self.call_the_roll(now, out);
        }
        if renews || classroom {
            self.fix_one_finger(out);
        }
        if self.rounds.next_retry <= now {
            let alone = self.table.others().next().is_none();
            self.rounds.next_retry = now + if classroom && alone { ALONE_RETRY } else { LOST_RETRY };
            self.seek_lost(now, out);
        }
    }

    pub(super) fn next_round(&self) -> Option<Time> {
        self.rounds.next
    }

    /// When something is due: a round, the predecessor's ping, or what the user is to be told.
    pub(super) fn next_due(&self) -> Option<Time> {
        let before = self.table.predecessors().first().filter(|before| !self.is_pinging(&before.id));
        let quiet = before.and_then(|before| self.vitals.quiet_since(&before.id));
        let ping_due =
            quiet.filter(|_| self.options.variant == RingVariant::Chord).map(|at| at + self.patience_before());
        self.rounds.next.map(|next| [ping_due, self.told.due()].into_iter().flatten().fold(next, Time::min))
    }

    /// Does what is due.
    pub(super) fn keep_up(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.tell_due(now, out);
        if self.rounds.next.is_some_and(|next| next <= now) {
            self.round(now, out);
        } else {
            self.look_after_predecessor(now, out);
        }
    }

    /// The predecessor may be silent for so long: it pings this peer once a round.
    fn patience_before(&self) -> Duration {
        let grace = if self.options.variant == RingVariant::Chord { GRACE } else { Duration::ZERO };
        self.round_length() + grace
    }

    fn look_after_predecessor(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Some(&before) = self.table.predecessors().first() {
            self.check_on_silent(now, before, self.patience_before(), out);
        }
    }

    /// Pings those that perhaps no peer looked after, where many died at a time.
    fn call_the_roll(&mut self, now: Time, out: &mut Vec<Effect>) {
        let others = self.table.others().map(|peer| (self.vitals.silence(now, &peer.id), peer));
        for peer in self.roll_call.next_part(now, others) {
            self.check_on(peer, out);
        }
    }

    /// Pings a peer of which nothing came for `span`.
    pub(super) fn check_on_silent(&mut self, now: Time, peer: Peer, span: Duration, out: &mut Vec<Effect>) {
        if self.vitals.quiet_since(&peer.id).is_none_or(|since| now.since(since) >= span) {
            self.check_on(peer, out);
        }
    }
}
