//! Requests that wait for an answer: the one place that knows request ids and deadlines.
//!
//! A request is sent again when its answer is overdue, under the same magic, so that the first answer to come, early or
//! late, settles it. How long is overdue follows the measured round trip of the address (Jacobson 1988; RFC 6298,
//! section 2), doubles with each try and is capped. A round trip is measured only where one datagram was sent
//! (Karn's rule), so a way that has become longer would never be measured again: what was doubled stays so until a
//! round trip was (RFC 6298, section 5.7), though not by much, or a death would be noticed late.
//!
//! An answer counts only with a pending magic *and* from the address that was asked, so a stranger would have to guess
//! 53 random bits while the request is out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::agenda::Agenda;
use crate::config::{FIRST_TIMEOUT, MAX_TIMEOUT, MIN_TIMEOUT, RTT_MEMORY};
use crate::node::recent::Recent;
use crate::node::smoothed::Smoothed;
use crate::overlay::Target;
use crate::patience;
use crate::time::Time;
use crate::wire::{MAGIC_LIMIT, Request};

/// A request that waits for its answer. `P` is what the node wants to remember of why it asked.
#[derive(Debug)]
pub(super) struct Waiting<P> {
    pub(super) to: Target,
    pub(super) request: Request,
    pub(super) why: P,
    from_anyone: bool,
    sent: Time,
    deadline: Time,
    schedule: Schedule,
}

impl<P> Waiting<P> {
    /// Whether its answer comes once bytes have moved.
    pub(super) fn is_patient(&self) -> bool {
        matches!(self.schedule, Schedule::Until { .. })
    }
}

/// How long a request waits before it is sent again, and before it has failed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Schedule {
    /// A live peer answers it at once: this many tries are left, the last waited this long.
    Tries { left: u8, timeout: Duration },
    /// Answered when a block has been moved: repeated at a steady pace until the limit.
    Until { limit: Time },
}

/// The smoothed round trip of an address and its mean deviation.
#[derive(Clone, Copy, Default, Debug)]
struct RoundTrip {
    smoothed: Smoothed,
    deviation: Duration,
    /// How often its timeout was doubled since it was measured.
    doublings: u32,
}

impl RoundTrip {
    fn measure(&mut self, rtt: Duration) {
        self.deviation = match self.smoothed.get() {
            None => rtt / 2,
            Some(usual) => (self.deviation * 3 + usual.abs_diff(rtt)) / 4,
        };
        self.smoothed.add(rtt);
        self.doublings = 0;
    }

    /// RFC 6298, section 2: smoothed round trip plus four mean deviations.
    fn timeout(&self) -> Option<Duration> {
        let timeout = (self.smoothed.get()? + 4 * self.deviation).max(MIN_TIMEOUT);
        Some((timeout * 2_u32.pow(self.doublings)).min(MAX_TIMEOUT))
    }
}

/// Timeouts stay doubled this often at most.
const MAX_DOUBLINGS: u32 = 2;

/// An answer that was awaited.
pub(super) struct Settled<P> {
    pub(super) waiting: Waiting<P>,
    /// Since the request was sent; none if it was sent more than once, or waits for more than the network.
    pub(super) rtt: Option<Duration>,
}

impl<P> Settled<P> {
    /// How long its answer was waited for, through every try.
    pub(super) fn took(&self, now: Time) -> Duration {
        now.since(self.waiting.sent)
    }
}

/// What is due: the same request goes out again, or it has failed.
pub(super) enum Overdue<P> {
    /// `patient`: it is an offer, which is answered once bytes have moved.
    Resend {
        magic: u64,
        to: SocketAddr,
        request: Request,
        patient: bool,
    },
    Failed(Waiting<P>),
}

pub(super) struct Pending<P> {
    requests: BTreeMap<u64, Waiting<P>>,
    deadlines: Agenda<u64>,
    round_trips: Recent<SocketAddr, RoundTrip>,
}

impl<P> Pending<P> {
    pub(super) fn new() -> Self {
        Self { requests: BTreeMap::new(), deadlines: Agenda::default(), round_trips: Recent::new(RTT_MEMORY) }
    }

    /// Registers a request that is answered at once, tried at most `tries` times. Returns its magic.
    pub(super) fn ask(&mut self, now: Time, rng: &mut StdRng, to: Target, ask: Ask<P>, tries: u8) -> u64 {
        // An answer from anyone comes by a chain of peers, of which we know only the first.
        let known = self.timeout(&to.addr);
        let timeout = if ask.from_anyone { known.max(FIRST_TIMEOUT) } else { known };
        let schedule = Schedule::Tries { left: tries.saturating_sub(1), timeout };
        self.register(now, rng, to, ask, schedule, now + timeout)
    }

    /// Registers a request that is answered once a block has been moved. Returns its magic.
    pub(super) fn ask_patiently(
        &mut self,
        now: Time,
        rng: &mut StdRng,
        to: Target,
        ask: Ask<P>,
        limit: Duration,
    ) -> u64 {
        self.register(now, rng, to, ask, Schedule::Until { limit: now + limit }, now + patience::RESEND)
    }

    fn register(
        &mut self,
        now: Time,
        rng: &mut StdRng,
        to: Target,
        ask: Ask<P>,
        schedule: Schedule,
        deadline: Time,
    ) -> u64 {
        let magic = loop {
            let magic = rng.random_range(0..MAGIC_LIMIT);
            if !self.requests.contains_key(&magic) {
                break magic;
            }
        };
        let Ask { request, why, from_anyone } = ask;
        let waiting = Waiting { to, request, why, from_anyone, sent: now, deadline, schedule };
        self.deadlines.set(magic, deadline);
        self.requests.insert(magic, waiting);
        magic
    }

    /// Takes the request that an answer from `from` settles; an answer that nobody waits for is none.
    pub(super) fn settle(&mut self, now: Time, magic: u64, from: SocketAddr) -> Option<Settled<P>> {
        let asked = self.requests.get(&magic)?;
        if asked.to.addr != from && !asked.from_anyone {
            return None;
        }
        let waiting = self.remove(magic)?;
        let rtt = match waiting.schedule {
            Schedule::Tries { timeout, .. }
                if waiting.to.addr == from && waiting.sent + timeout == waiting.deadline =>
            {
                Some(now.since(waiting.sent))
            }
            _ => None,
        };
        if let Some(rtt) = rtt {
            self.measure(from, rtt);
        }
        Some(Settled { waiting, rtt })
    }

    /// Takes the request `magic`, whose message could not even be delivered.
    pub(super) fn remove(&mut self, magic: u64) -> Option<Waiting<P>> {
        let waiting = self.requests.remove(&magic)?;
        self.deadlines.remove(&magic);
        Some(waiting)
    }

    /// Takes one request that is overdue by `now`, if there is one; call it until there is none.
    pub(super) fn next_overdue(&mut self, now: Time) -> Option<Overdue<P>> {
        let magic = self.deadlines.pop_due(now)?;
        let waiting = self.requests.get_mut(&magic)?;
        let next = match &mut waiting.schedule {
            Schedule::Tries { left: 0, .. } => None,
            Schedule::Tries { left, timeout } => {
                *left -= 1;
                *timeout = (*timeout * 2).min(MAX_TIMEOUT);
                Some(now + *timeout)
            }
            Schedule::Until { limit } => (now < *limit).then(|| now + patience::RESEND),
        };
        if matches!(waiting.schedule, Schedule::Tries { .. })
            && !waiting.from_anyone
            && let Some(trip) = self.round_trips.get(&waiting.to.addr)
        {
            let doublings = (trip.doublings + 1).min(MAX_DOUBLINGS);
            self.round_trips.insert(waiting.to.addr, RoundTrip { doublings, ..*trip });
        }
        let Some(deadline) = next else {
            return self.requests.remove(&magic).map(Overdue::Failed);
        };
        waiting.deadline = deadline;
        self.deadlines.set(magic, deadline);
        let patient = waiting.is_patient();
        Some(Overdue::Resend { magic, to: waiting.to.addr, request: waiting.request.clone(), patient })
    }

    /// Whether any request `matches`.
    pub(super) fn any(&self, matches: impl FnMut(&Waiting<P>) -> bool) -> bool {
        self.requests.values().any(matches)
    }

    /// Takes every request that `matches`.
    pub(super) fn take_where(&mut self, mut matches: impl FnMut(&Waiting<P>) -> bool) -> Vec<Waiting<P>> {
        let magics: Vec<u64> = self.requests.iter().filter(|(_, waiting)| matches(waiting)).map(|(&m, _)| m).collect();
        magics.into_iter().filter_map(|magic| self.remove(magic)).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.next_due()
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The smoothed round trip to `addr`, if one was measured.
    pub(super) fn round_trip(&self, addr: &SocketAddr) -> Option<Duration> {
        self.round_trips.get(addr)?.smoothed.get()
    }

    fn timeout(&self, addr: &SocketAddr) -> Duration {
        self.round_trips.get(addr).and_then(RoundTrip::timeout).unwrap_or(FIRST_TIMEOUT)
    }

    fn measure(&mut self, addr: SocketAddr, rtt: Duration) {
        let mut trip = self.round_trips.get(&addr).copied().unwrap_or_default();
        trip.measure(rtt);
        self.round_trips.insert(addr, trip);
    }

    /// Whether every request has a deadline and every deadline a request.
    pub(super) fn check(&self) -> Result<(), String> {
        self.deadlines.check()?;
        let timed = |(magic, waiting): (&u64, &Waiting<P>)| self.deadlines.due(magic) == Some(waiting.deadline);
        (self.deadlines.len() == self.requests.len() && self.requests.iter().all(timed))
            .then_some(())
            .ok_or_else(|| "pending requests and deadlines disagree".to_owned())
    }
}

/// A request to be, and why.
pub(super) struct Ask<P> {
    pub(super) request: Request,
    pub(super) why: P,
    pub(super) from_anyone: bool,
}

impl<P> Ask<P> {
    /// A request that only the asked address may answer.
    pub(super) fn new(request: Request, why: P) -> Self {
        Self { request, why, from_anyone: false }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn target(port: u16) -> Target {
        Target { id: None, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    fn asked(pending: &mut Pending<&'static str>, now: Time, tries: u8) -> u64 {
        let mut rng = StdRng::seed_from_u64(now.as_micros());
        pending.ask(now, &mut rng, target(1), Ask::new(Request::Ping, "why"), tries)
    }

    fn after(duration: Duration) -> Time {
        Time::ZERO + duration
    }

    #[test]
    fn an_answer_counts_once_and_only_from_the_address_that_was_asked() {
        let mut pending = Pending::new();
        let magic = asked(&mut pending, Time::ZERO, 3);
        assert!(magic < MAGIC_LIMIT);
        assert!(pending.settle(Time::ZERO, magic, target(2).addr).is_none());
        assert!(pending.settle(Time::ZERO, magic ^ 1, target(1).addr).is_none());
        assert_eq!(pending.settle(Time::ZERO, magic, target(1).addr).unwrap().waiting.why, "why");
        assert!(pending.settle(Time::ZERO, magic, target(1).addr).is_none(), "a late copy is ignored");
        assert_eq!(pending.next_deadline(), None);
    }

    #[test]
    fn a_silent_peer_is_asked_again_at_growing_intervals_and_then_has_failed() {
        let mut pending = Pending::new();
        asked(&mut pending, Time::ZERO, 3);
        let mut waits = Vec::new();
        let mut last = Time::ZERO;
        loop {
            let due = pending.next_deadline().expect("every request has a deadline");
            assert!(pending.next_overdue(Time::from_micros(due.as_micros() - 1)).is_none(), "never early");
            waits.push(due - last);
            last = due;
            match pending.next_overdue(due).expect("due") {
                Overdue::Resend { .. } => pending.check().unwrap(),
                Overdue::Failed(waiting) => break assert_eq!(waiting.why, "why"),
            }
        }
        assert_eq!(waits, [FIRST_TIMEOUT, FIRST_TIMEOUT * 2, FIRST_TIMEOUT * 4]);
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn timeouts_follow_the_measured_round_trip_between_the_bounds() {
        let mut pending = Pending::new();
        let mut now = Time::ZERO;
        for _ in 0..50 {
            let magic = asked(&mut pending, now, 3);
            now += Duration::from_millis(200);
            let settled = pending.settle(now, magic, target(1).addr).unwrap();
            assert_eq!(settled.rtt, Some(Duration::from_millis(200)));
        }
        let timeout = pending.timeout(&target(1).addr);
        assert!((Duration::from_millis(200)..Duration::from_millis(260)).contains(&timeout), "{timeout:?}");
        assert_eq!(pending.timeout(&target(9).addr), FIRST_TIMEOUT);
    }

    #[test]
    fn a_way_that_became_longer_is_measured_again() {
        let mut pending = Pending::new();
        let mut now = Time::ZERO;
        for trip in [1, 350, 350, 350, 350_u64].map(Duration::from_millis) {
            let magic = asked(&mut pending, now, 9);
            let back = now + trip;
            while let Some(due) = pending.next_deadline().filter(|due| *due <= back) {
                assert!(matches!(pending.next_overdue(due), Some(Overdue::Resend { .. })));
            }
            assert!(pending.settle(back, magic, target(1).addr).is_some());
            now = back;
        }
        assert!(pending.timeout(&target(1).addr) > Duration::from_millis(350));
    }

    #[test]
    fn a_request_sent_twice_measures_nothing() {
        let mut pending = Pending::new();
        let magic = asked(&mut pending, Time::ZERO, 3);
        assert!(matches!(pending.next_overdue(after(FIRST_TIMEOUT)), Some(Overdue::Resend { .. })));
        let settled = pending.settle(after(FIRST_TIMEOUT), magic, target(1).addr).unwrap();
        assert_eq!((settled.rtt, settled.took(after(FIRST_TIMEOUT))), (None, FIRST_TIMEOUT));
        assert_eq!(pending.round_trip(&target(1).addr), None);
    }

    #[test]
    fn an_offer_is_repeated_until_its_limit() {
        let mut pending = Pending::new();
        let mut rng = StdRng::seed_from_u64(0);
        pending.ask_patiently(Time::ZERO, &mut rng, target(1), Ask::new(Request::Ping, "offer"), patience::OFFER);
        let mut sent = 1;
        while let Some(due) = pending.next_deadline() {
            match pending.next_overdue(due) {
                Some(Overdue::Resend { .. }) => sent += 1,
                Some(Overdue::Failed(_)) => assert!(due >= after(patience::OFFER)),
                None => unreachable!("due at its own deadline"),
            }
        }
        assert_eq!(sent, patience::OFFER.as_secs() / patience::RESEND.as_secs());
    }
}
