//! Requests that wait for an answer: the one place that keeps the ids and deadlines of this peer's own requests. (A
//! peer that did not pull a block from here shows bytes of it which the id of the offer chooses. So the job that checks
//! them carries that id.)
//!
//! A request is sent again when its answer is overdue, under the same magic, so that the first answer to come, early or
//! late, completes it. *Overdue* follows the [round trips](RoundTrips) measured to the address (the idea is that of
//! Jacobson 1988), or what the [conditions](Conditions) of the whole network show. When it goes out again, and when it
//! has failed, its [`Schedule`] says.
//!
//! An answer counts only with a pending magic *and* from the address that was asked, so a stranger would have to guess
//! 53 random bits while the request is out. (One that the ring passes on may be answered by anyone.)

use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::conditions::Conditions;
use super::round_trips::{RoundTrips, Unclear};
use super::schedule::{Schedule, Turn};
use super::why::SentFor;
use crate::agenda::Agenda;
use crate::config::{FIRST_TIMEOUT, MAX_TIMEOUT};
use crate::overlay::{Late, Target};
use crate::patience::{self, MIN_DECISION};
use crate::recent::Recent;
use crate::time::Time;
use crate::wire::{Dialect, MAGIC_LIMIT, Request, Via};

/// Requests that have failed and are remembered, at least.
const FAILED: usize = 256;

/// For how long an answer is waited for: see [`patience`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// The request is answered at once: as long as so many tries take.
    Tries(u8),
    /// It is answered once bytes have been moved or hashed: for so long.
    Moved(Duration),
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) to: Target,
    pub(super) request: Request,
    pub(super) why: SentFor,
    schedule: Schedule,
}

impl PendingRequest {
    /// Messages sent.
    pub(super) const fn sent(&self) -> u8 {
        self.schedule.datagrams
    }

    /// When it was sent first.
    pub(super) const fn begun(&self) -> Time {
        self.schedule.begun
    }

    /// Whether its answer comes once bytes have moved.
    pub(super) fn is_patient(&self) -> bool {
        self.schedule.patient
    }
}

/// An answer that was awaited.
pub(super) struct Completed {
    pub(super) waiting: PendingRequest,
    /// Since the request was sent; none if it is unclear which of its datagrams was answered, or it waits for more than
    /// the network.
    pub(super) rtt: Option<Duration>,
}

impl Completed {
    /// How long its answer was waited for, through every try.
    pub(super) fn took(&self, now: Time) -> Duration {
        now.since(self.waiting.begun())
    }
}

/// What is due: the same request is waited for still, or it has failed.
pub(super) enum Due {
    /// Its answer became `late`, and it goes out `again`. `patient`: it is answered once bytes have moved, as an offer
    /// is.
    Waits {
        magic: u64,
        to: SocketAddr,
        request: Request,
        patient: bool,
        late: Option<Late>,
        again: bool,
    },
    Failed {
        magic: u64,
        waiting: Box<PendingRequest>,
    },
}

pub(super) struct Pending {
    /// By their magic, and due at their deadlines.
    requests: Agenda<u64, PendingRequest>,
    /// Those that have failed, by their magic: whom they had gone to, and when.
    failed: Recent<u64, (SocketAddr, Time), FAILED>,
    round_trips: RoundTrips,
    conditions: Conditions,
    dialect: Dialect,
}

impl Pending {
    /// The requests of a peer, or of a `guest`.
    pub(super) fn new(guest: bool, dialect: Dialect) -> Self {
        let (requests, failed) = (Agenda::default(), Recent::default());
        let (round_trips, conditions) = (RoundTrips::default(), Conditions::new(guest));
        Self { requests, failed, round_trips, conditions, dialect }
    }

    /// Registers a request that goes out now. Returns its magic.
    pub(super) fn ask(
        &mut self,
        now: Time,
        rng: &mut StdRng,
        to: Target,
        (request, why): (Request, SentFor),
        patience: Patience,
    ) -> u64 {
        let (from_anyone, urgent) = (request.origin().is_some(), why.is_urgent());
        let (gap, limit) = match patience {
            Patience::Tries(tries) => {
                let times = self.gap_and_limit(&to.addr, tries, from_anyone, urgent);
                self.conditions.on_sent(1);
                times
            }
            Patience::Moved(limit) => (self.gap(&to.addr, urgent).max(patience::RESEND_FIRST), limit),
        };
        // A connection may have to be opened first, which takes a round trip more. Where no user waits, that is no
        // delay.
        let opens = !urgent && self.dialect.carrier(&request) == Via::Tcp;
        let gap = if opens { gap * 2 } else { gap };
        let magic = loop {
            let magic = rng.random_range(0..MAGIC_LIMIT);
            if !self.requests.contains(&magic) {
                break magic;
            }
        };
        let schedule = Schedule {
            begun: now,
            gap,
            limit: now + limit,
            patient: matches!(patience, Patience::Moved(_)),
            from_anyone,
            urgent,
            datagrams: 1,
            doubted: false,
        };
        self.requests.set(magic, now + gap, PendingRequest { to, request, why, schedule });
        magic
    }

    /// After how long a request that is answered at once goes out again, and when it has failed.
    fn gap_and_limit(&self, to: &SocketAddr, tries: u8, from_anyone: bool, urgent: bool) -> (Duration, Duration) {
        let measured = self.round_trips.timeout(to);
        let slow = measured.map_or(FIRST_TIMEOUT, |usual| usual.max(MIN_DECISION));
        // An answer from anyone comes by a chain of peers, of which we know only the first.
        let decision = if from_anyone { slow.max(FIRST_TIMEOUT) } else { slow };
        let silence = patience::silence_after(decision, tries);
        let gap = match tries {
            patience::ONCE => silence,
            _ if from_anyone => measured.unwrap_or_default().max(self.conditions.chain_patience()),
            _ => self.gap(to, urgent),
        };
        (gap, silence)
    }

    /// How long the answer of the peer at `addr` usually takes at most, as far as is known; or long where hardly any
    /// peer answers.
    fn gap(&self, addr: &SocketAddr, urgent: bool) -> Duration {
        let usual = self.round_trips.timeout(addr);
        if self.conditions.is_choked(urgent) {
            return usual.map_or(FIRST_TIMEOUT, |usual| usual.max(FIRST_TIMEOUT));
        }
        usual.unwrap_or_else(|| self.conditions.patience())
    }

    /// Takes the request that an answer from `from` completes; an answer that is not waited for is none.
    pub(super) fn complete(&mut self, now: Time, magic: u64, from: SocketAddr) -> Option<Completed> {
        let Some(asked) = self.requests.get(&magic) else {
            if let Some(rtt) = self.round_trips.on_another(now, magic, from) {
                self.learn(now, from, rtt);
            }
            return None;
        };
        if asked.to.addr != from && !asked.schedule.from_anyone {
            return None;
        }
        let deadline = self.requests.due(&magic)?;
        let waiting = self.remove(magic)?;
        let Schedule { begun, limit, patient, datagrams, gap, from_anyone, .. } = waiting.schedule;
        let (took, mut rtt) = (now.since(begun), None);
        if from_anyone && datagrams == 1 {
            self.conditions.measure_chain(took);
        }
        if !patient {
            self.conditions.on_answered(datagrams);
        }
        if !patient && waiting.to.addr == from {
            if deadline < limit || datagrams > 1 {
                self.conditions.measure_loss(datagrams);
            }
            if datagrams == 1 {
                rtt = Some(took);
                self.learn(now, from, took);
            } else {
                if self.conditions.measure_at_most(took) {
                    self.hasten(now);
                }
                self.round_trips.on_unclear(magic, Unclear { from, took, came: now, gap });
            }
        }
        Some(Completed { waiting, rtt })
    }

    /// Whether this answer from `from` is one to a request that has failed: the peer lives, and is slower than it was
    /// taken for.
    pub(super) fn is_too_late(&mut self, now: Time, magic: u64, from: SocketAddr) -> bool {
        let Some(&(_, begun)) = self.failed.get(&magic).filter(|(asked, _)| *asked == from) else { return false };
        self.failed.remove(&magic);
        // A peer that took longer did not run meanwhile, and runs again.
        let took = Some(now.since(begun)).filter(|took| *took <= MAX_TIMEOUT);
        took.into_iter().for_each(|took| self.learn(now, from, took));
        true
    }

    /// The request `magic`, while its answer is awaited.
    pub(super) fn get(&self, magic: u64) -> Option<&PendingRequest> {
        self.requests.get(&magic)
    }

    /// Takes the request `magic`, which is over: answered, failed, or wanted no more.
    pub(super) fn remove(&mut self, magic: u64) -> Option<PendingRequest> {
        self.requests.remove(&magic)
    }

    /// Takes one request that is overdue by `now`, if there is one; call it until there is none.
    pub(super) fn next_due(&mut self, now: Time) -> Option<Due> {
        let (due, magic) = self.requests.first_due(now)?;
        let waiting = self.requests.get_mut(&magic)?;
        let Some(Turn { next, late, again }) = waiting.schedule.go_on(now, due, &self.conditions) else {
            let failed = self.remove(magic)?;
            if !failed.schedule.from_anyone {
                self.failed.insert(magic, (failed.to.addr, failed.schedule.begun));
            }
            return Some(Due::Failed { magic, waiting: Box::new(failed) });
        };
        let (to, request, patient) = (waiting.to.addr, waiting.request.clone(), waiting.is_patient());
        if !patient && again {
            self.conditions.on_sent(waiting.sent());
        }
        self.requests.put_off(&magic, next);
        Some(Due::Waits { magic, to, request, patient, late, again })
    }

    /// A request that has failed is waited for after all, for another while.
    pub(super) fn wait_on(&mut self, now: Time, magic: u64, mut waiting: PendingRequest) {
        waiting.schedule.limit = now + patience::RESEND * 4;
        self.requests.set(magic, now + patience::RESEND, waiting);
    }

    /// Whether any request `matches`.
    pub(super) fn any(&self, mut matches: impl FnMut(&PendingRequest) -> bool) -> bool {
        self.requests.iter().any(|(_, waiting)| matches(waiting))
    }

    /// Takes every request that `matches`.
    pub(super) fn take_where(&mut self, mut matches: impl FnMut(&PendingRequest) -> bool) -> Vec<PendingRequest> {
        let magics: Vec<u64> = self.requests.iter().filter(|(_, waiting)| matches(waiting)).map(|(&m, _)| m).collect();
        magics.into_iter().filter_map(|magic| self.remove(magic)).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.requests.next_due()
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The usual round trip to `addr`, if one was measured.
    pub(super) fn round_trip(&self, addr: &SocketAddr) -> Option<Duration> {
        self.round_trips.usual(addr)
    }

    /// The usual round trip to `addr`, or that to the furthest peers.
    pub(super) fn usual_trip(&self, addr: &SocketAddr) -> Duration {
        self.round_trip(addr).unwrap_or_else(|| self.conditions.furthest_trip())
    }

    /// The peer at `addr` answered after this long.
    fn learn(&mut self, now: Time, addr: SocketAddr, rtt: Duration) {
        self.round_trips.measure(addr, rtt);
        if self.conditions.measure(rtt) {
            self.hasten(now);
        }
    }

    /// The first round trip is known: what went out before waits no longer than for twice that. One answer may be a
    /// near peer's.
    fn hasten(&mut self, now: Time) {
        let patience = self.conditions.patience() * 2;
        let magics: Vec<u64> = self.requests.iter().map(|(&magic, _)| magic).collect();
        for magic in magics {
            if let Some(waiting) = self.requests.get_mut(&magic)
                && waiting.schedule.hasten(patience)
            {
                let due = waiting.schedule.begun + patience;
                self.requests.put_off(&magic, due.max(now));
            }
        }
    }

    /// Whether every request has a deadline and every deadline a request.
    pub(super) fn check(&self) -> Result<(), String> {
        self.requests.check()
    }
}

#[cfg(test)]
mod tests;
