//! When a request goes out again, and when it has failed.
//!
//! The repeats come at the pace of the answer's usual time until so many are without an answer that the peer is to be
//! doubted, then ever more slowly; the request has *failed* much later ([`patience`]), for a peer that does not answer
//! at once need not be dead.

use std::time::Duration;

use super::conditions::Conditions;
use crate::config::{FIRST_TIMEOUT, MAX_TIMEOUT};
use crate::overlay::Late;
use crate::patience;
use crate::time::Time;

/// A request that is looked at this long after it was due waited for this peer, which did not run: its answer may have
/// come meanwhile and not been read.
const NOT_RUN: Duration = Duration::from_millis(500);

/// How long a request waits before it is sent again, and before it has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// When the first datagram went out.
    pub(super) begun: Time,
    /// From the last datagram to the next.
    pub(super) gap: Duration,
    /// It has failed then.
    pub(super) limit: Time,
    /// It is answered once bytes have moved; others are answered at once.
    pub(super) patient: bool,
    /// The peer that is responsible may answer it.
    pub(super) from_anyone: bool,
    /// A lookup or a transfer waits for what comes of it.
    pub(super) urgent: bool,
    /// Datagrams sent.
    pub(super) datagrams: u8,
    /// The peer is doubted.
    pub(super) doubted: bool,
}

/// What is to be done about a request without an answer.
pub(super) struct Turn {
    /// When it is due next.
    pub(super) next: Time,
    /// Whether its answer became late.
    pub(super) late: Option<Late>,
    /// Whether it goes out again.
    pub(super) again: bool,
}

impl Schedule {
    /// The first datagram's answer is waited for no longer than `patience`, if nothing else says how long it may take.
    /// Returns whether that is sooner.
    pub(super) fn hasten(&mut self, patience: Duration) -> bool {
        let is_repeated = self.begun + self.gap < self.limit;
        let hastens = self.datagrams == 1 && is_repeated && !self.patient && !self.from_anyone && self.gap > patience;
        if hastens {
            self.gap = patience;
        }
        hastens
    }

    /// The request was due at `due`: what is to be done about it now. None if it has failed.
    pub(super) fn go_on(&mut self, now: Time, due: Time, conditions: &Conditions) -> Option<Turn> {
        let did_not_run = now.since(due) >= NOT_RUN;
        if did_not_run {
            // What was left of its time is left still, and no answer that came meanwhile is given up unread.
            let left = self.limit.since(due).max(FIRST_TIMEOUT);
            self.limit = self.limit.max(now + if self.patient { left } else { FIRST_TIMEOUT });
        }
        if now >= self.limit {
            return None;
        }
        let sent_at_least = |enough: u8| self.datagrams >= enough && !did_not_run;
        let too_early = now.since(self.begun) < conditions.furthest_trip();
        let doubt = sent_at_least(conditions.doubt_after()) && !too_early;
        if sent_at_least(conditions.slower_after(self.urgent)) || self.from_anyone || conditions.is_choked(self.urgent)
        {
            // What is repeated fast tells little more once the peer is doubted.
            let fast = doubt && !self.patient && !self.from_anyone && self.gap < FIRST_TIMEOUT;
            let most = if self.patient { patience::RESEND } else { MAX_TIMEOUT };
            self.gap = (self.gap * if fast { 4 } else { 2 }).min(most);
        }
        let mut late = None;
        if !self.patient && !did_not_run {
            // Which peer is silent on the way to an answer from anyone cannot be told: each time is told that it is
            // late.
            let doubtful = doubt && !self.doubted && !self.from_anyone;
            self.doubted |= doubtful;
            late = if doubtful {
                Some(Late::Doubtful)
            } else {
                (self.datagrams == 1 || self.from_anyone).then_some(Late::Overdue)
            };
        }
        // Where hardly anything gets lost, one more would tell nothing.
        if doubt && conditions.is_clean() && !self.patient && !self.from_anyone {
            return Some(Turn { next: self.limit, late, again: false });
        }
        self.datagrams = self.datagrams.saturating_add(1);
        // The last datagram has its time to be answered too.
        let next = if now + self.gap * 2 > self.limit { self.limit } else { now + self.gap };
        Some(Turn { next, late, again: true })
    }
}
