//! Requests that wait for an answer: the one place that knows the ids and deadlines of this peer's
//! own.
//!
//! A request is sent again when its answer is overdue, under the same magic, so that the first answer to come, early or
//! late, settles it. *Overdue* follows the [round trips](RoundTrips) measured to the address (the idea is that of
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
use super::schedule::{Late, Schedule};
use super::why::SentFor;
use crate::agenda::Agenda;
use crate::config::FIRST_TIMEOUT;
use crate::overlay::Target;
use crate::patience::{self, MIN_DECISION};
use crate::time::Time;
use crate::wire::{MAGIC_LIMIT, Request};

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

    /// Whether its answer comes once bytes have moved.
    pub(super) fn is_patient(&self) -> bool {
        self.schedule.patient
    }
}

/// An answer that was awaited.
pub(super) struct Settled {
    pub(super) waiting: PendingRequest,
    /// Since the request was sent; none if it is unclear which of its datagrams was answered, or it waits for more than
    /// the network.
    pub(super) rtt: Option<Duration>,
}

impl Settled {
    /// How long its answer was waited for, through every try.
    pub(super) fn took(&self, now: Time) -> Duration {
        now.since(self.waiting.schedule.begun)
    }
}

/// What is due: the same request goes out again, or it has failed.
pub(super) enum Overdue {
    /// It goes out again, and its answer became `late`. `patient`: it is answered once bytes have moved, as an
    /// offer is.
    Resend {
        magic: u64,
        to: SocketAddr,
        request: Request,
        patient: bool,
        late: Option<Late>,
    },
    Failed(Box<PendingRequest>),
}

pub(super) struct Pending {
    /// By their magic, and due at their deadlines.
    requests: Agenda<u64, PendingRequest>,
    round_trips: RoundTrips,
    conditions: Conditions,
}

impl Pending {
    /// The requests of a peer, or of a `guest`.
    pub(super) fn new(guest: bool) -> Self {
        Self { requests: Agenda::default(), round_trips: RoundTrips::default(), conditions: Conditions::new(guest) }
    }

    /// Registers a request that is answered at once; `tries` says how long it is repeated, see [`patience`]. Returns
    /// its magic.
    pub(super) fn ask(&mut self, now: Time, rng: &mut StdRng, to: Target, ask: Ask, tries: u8) -> u64 {
        let measured = self.round_trips.timeout(&to.addr);
        let slow = measured.map_or(FIRST_TIMEOUT, |usual| usual.max(MIN_DECISION));
        // An answer from anyone comes by a chain of peers, of which we know only the first.
        let decision = if ask.from_anyone { slow.max(FIRST_TIMEOUT) } else { slow };
        let silence = patience::silence_after(decision, tries);
        let gap = match tries {
            patience::ONCE => silence,
            _ if ask.from_anyone => measured.unwrap_or_default().max(self.conditions.chain_patience()),
            _ => self.gap(&to.addr, ask.urgent),
        };
        self.conditions.on_sent(1);
        let (from_anyone, urgent) = (ask.from_anyone, ask.urgent);
        let schedule = Schedule { from_anyone, urgent, ..Schedule::new(now, gap, silence) };
        self.register(rng, to, ask, schedule)
    }

    /// Registers a request that is answered once bytes have been moved or hashed. Returns its magic.
    pub(super) fn ask_patiently(&mut self, now: Time, rng: &mut StdRng, to: Target, ask: Ask, limit: Duration) -> u64 {
        let urgent = ask.urgent;
        let gap = self.gap(&to.addr, urgent).max(patience::RESEND_FIRST);
        self.register(rng, to, ask, Schedule { patient: true, urgent, ..Schedule::new(now, gap, limit) })
    }

    /// How long the answer of the peer at `addr` usually takes at most, as far as is known; or long where hardly
    /// anybody answers.
    fn gap(&self, addr: &SocketAddr, urgent: bool) -> Duration {
        let usual = self.round_trips.timeout(addr);
        if self.conditions.is_choked(urgent) {
            return usual.map_or(FIRST_TIMEOUT, |usual| usual.max(FIRST_TIMEOUT));
        }
        usual.unwrap_or_else(|| self.conditions.patience())
    }

    fn register(&mut self, rng: &mut StdRng, to: Target, ask: Ask, schedule: Schedule) -> u64 {
        let magic = loop {
            let magic = rng.random_range(0..MAGIC_LIMIT);
            if !self.requests.contains(&magic) {
                break magic;
            }
        };
        let deadline = schedule.begun + schedule.gap;
        self.requests.set(magic, deadline, PendingRequest { to, request: ask.request, why: ask.why, schedule });
        magic
    }

    /// Takes the request that an answer from `from` settles; an answer that nobody waits for is none.
    pub(super) fn settle(&mut self, now: Time, magic: u64, from: SocketAddr) -> Option<Settled> {
        let Some(asked) = self.requests.get(&magic) else {
            if let Some(rtt) = self.round_trips.on_another(now, magic, from) {
                self.learn(from, rtt);
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
                self.learn(from, took);
            } else {
                self.conditions.measure_at_most(took);
                self.round_trips.on_unclear(magic, Unclear { from, took, came: now, gap });
            }
        }
        Some(Settled { waiting, rtt })
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
    pub(super) fn next_overdue(&mut self, now: Time) -> Option<Overdue> {
        let (due, magic) = self.requests.first_due(now)?;
        let waiting = self.requests.get_mut(&magic)?;
        let Some((deadline, late)) = waiting.schedule.go_on(now, due, &self.conditions) else {
            return self.remove(magic).map(|failed| Overdue::Failed(Box::new(failed)));
        };
        let (to, request, patient) = (waiting.to.addr, waiting.request.clone(), waiting.is_patient());
        if !patient {
            self.conditions.on_sent(waiting.sent());
        }
        self.requests.put_off(&magic, deadline);
        Some(Overdue::Resend { magic, to, request, patient, late })
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

    /// The peer at `addr` answered after this long.
    fn learn(&mut self, addr: SocketAddr, rtt: Duration) {
        self.round_trips.measure(addr, rtt);
        self.conditions.measure(rtt);
    }

    /// Whether every request has a deadline and every deadline a request.
    pub(super) fn check(&self) -> Result<(), String> {
        self.requests.check()
    }
}

/// A request to be, and why.
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) why: SentFor,
    pub(super) from_anyone: bool,
    /// Somebody waits for what comes of it.
    pub(super) urgent: bool,
}

impl Ask {
    /// A request that only the asked address may answer, and nobody waits for.
    pub(super) fn new(request: Request, why: SentFor) -> Self {
        Self { request, why, from_anyone: false, urgent: false }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::config::MIN_TIMEOUT;

    fn target(port: u16) -> Target {
        Target { id: None, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    fn asked(pending: &mut Pending, now: Time, tries: u8) -> u64 {
        let mut rng = StdRng::seed_from_u64(now.as_micros());
        pending.ask(now, &mut rng, target(1), Ask::new(Request::Ping, SentFor::Pulse), tries)
    }

    fn timeout(pending: &Pending, port: u16) -> Duration {
        pending.round_trips.timeout(&target(port).addr).expect("it was measured")
    }

    fn after(duration: Duration) -> Time {
        Time::ZERO + duration
    }

    #[test]
    fn a_peer_that_did_not_run_reads_what_came_meanwhile_before_it_gives_anybody_up() {
        let mut pending = Pending::new(false);
        let magic = asked(&mut pending, Time::ZERO, patience::ONCE);
        let woken = after(Duration::from_secs(20));
        assert!(matches!(pending.next_overdue(woken), Some(Overdue::Resend { late: None, .. })));
        assert!(pending.next_overdue(woken + Duration::from_millis(10)).is_none());
        let settled = pending.settle(woken + Duration::from_millis(10), magic, target(1).addr);
        assert_eq!(settled.expect("it still waits").rtt, None, "how long it took nobody knows");
        asked(&mut pending, woken, patience::ONCE);
        let failed = woken + patience::silence(patience::ONCE);
        assert!(matches!(pending.next_overdue(failed), Some(Overdue::Failed(_))), "on time it fails as ever");
    }

    #[test]
    fn an_offer_that_was_out_while_this_peer_did_not_run_has_the_time_that_it_had_left() {
        let mut pending = Pending::new(false);
        let mut rng = StdRng::seed_from_u64(0);
        let ask = Ask::new(Request::Ping, SentFor::Pulse);
        pending.ask_patiently(Time::ZERO, &mut rng, target(1), ask, patience::OFFER);
        let stopped = pending.next_deadline().expect("it goes out again");
        let woken = after(patience::OFFER * 2);
        let mut now = woken;
        while let Some(Overdue::Resend { .. }) = pending.next_overdue(now) {
            now = pending.next_deadline().expect("it is waited for");
        }
        let left = patience::OFFER - (stopped - Time::ZERO);
        assert_eq!(now, woken + left);
    }

    #[test]
    fn an_answer_counts_once_and_only_from_the_address_that_was_asked() {
        let mut pending = Pending::new(false);
        let magic = asked(&mut pending, Time::ZERO, 3);
        assert!(magic < MAGIC_LIMIT);
        assert!(pending.settle(Time::ZERO, magic, target(2).addr).is_none());
        assert!(pending.settle(Time::ZERO, magic ^ 1, target(1).addr).is_none());
        assert!(matches!(pending.settle(Time::ZERO, magic, target(1).addr).unwrap().waiting.why, SentFor::Pulse));
        assert!(pending.settle(Time::ZERO, magic, target(1).addr).is_none(), "a late copy is ignored");
        assert_eq!(pending.next_deadline(), None);
    }

    /// When each datagram to a silent peer went out, when it was late, and when the request failed.
    fn ask_the_silent(pending: &mut Pending, start: Time, tries: u8) -> (Vec<Duration>, Duration, u8) {
        asked(pending, start, tries);
        let (mut sent, mut doubted_after) = (vec![Duration::ZERO], 0);
        loop {
            let due = pending.next_deadline().expect("every request has a deadline");
            assert!(pending.next_overdue(Time::from_micros(due.as_micros() - 1)).is_none(), "never early");
            match pending.next_overdue(due).expect("due") {
                Overdue::Resend { late, .. } => {
                    pending.check().unwrap();
                    if late == Some(Late::Doubtful) {
                        doubted_after = u8::try_from(sent.len()).unwrap();
                    }
                    assert_eq!(late == Some(Late::Overdue), sent.len() == 1);
                    sent.push(due - start);
                }
                Overdue::Failed(waiting) => {
                    assert!(matches!(waiting.why, SentFor::Pulse) && pending.len() == 0);
                    return (sent, due - start, doubted_after);
                }
            }
        }
    }

    #[test]
    fn a_silent_peer_is_asked_again_until_it_is_doubted_and_then_ever_more_slowly() {
        let mut pending = Pending::new(false);
        let doubt = pending.conditions.doubt_after();
        let (sent, failed, doubted_after) = ask_the_silent(&mut pending, Time::ZERO, patience::CHECK);
        let gaps: Vec<Duration> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (steady, slower) = gaps.split_at(usize::from(doubt) - 1);
        assert!(steady.iter().all(|gap| *gap == FIRST_TIMEOUT), "{gaps:?}");
        assert!(slower.windows(2).all(|pair| pair[1] == 2 * pair[0]), "{gaps:?}");
        assert_eq!(failed, patience::silence(patience::CHECK));
        assert!(failed - sent[sent.len() - 1] >= *gaps.last().unwrap(), "the last datagram has its time too");
        assert_eq!(doubted_after, doubt.min(u8::try_from(sent.len() - 1).unwrap()));
    }

    #[test]
    fn the_news_of_a_death_takes_as_long_as_one_datagram_and_is_several() {
        let (sent, failed, _) = ask_the_silent(&mut Pending::new(false), Time::ZERO, patience::DEATH_NEWS);
        assert!(sent.len() >= 3 && failed == patience::silence(patience::ONCE), "{sent:?}");
    }

    #[test]
    fn where_answers_are_quick_repeats_are_too_and_the_verdict_comes_no_sooner() {
        let mut pending = Pending::new(false);
        let trip = Duration::from_millis(20);
        let mut now = Time::ZERO;
        for _ in 0..100 {
            let magic = asked(&mut pending, now, 3);
            now += trip;
            assert!(pending.settle(now, magic, target(1).addr).is_some());
        }
        let (sent, failed, doubted_after) = ask_the_silent(&mut pending, now, patience::QUESTION);
        assert!(sent[1] < trip * 2 && (4..=5).contains(&sent.len()), "fast, and few: {sent:?}");
        let silence = patience::silence_after(MIN_DECISION, patience::QUESTION);
        assert_eq!((failed, doubted_after), (silence, pending.conditions.doubt_after()));
    }

    #[test]
    fn repeats_come_slowly_where_hardly_anybody_answers() {
        let mut pending = Pending::new(false);
        for port in 2..100 {
            let mut rng = StdRng::seed_from_u64(port.into());
            pending.ask(
                Time::ZERO,
                &mut rng,
                target(port),
                Ask::new(Request::Ping, SentFor::Pulse),
                patience::QUESTION,
            );
        }
        let mut rng = StdRng::seed_from_u64(1);
        pending.conditions.measure(Duration::from_millis(1));
        let magic =
            pending.ask(Time::ZERO, &mut rng, target(1), Ask::new(Request::Ping, SentFor::Pulse), patience::CHECK);
        assert_eq!(pending.requests.due(&magic), Some(after(FIRST_TIMEOUT)));
    }

    #[test]
    fn what_is_passed_on_and_answered_by_another_peer_is_answered() {
        let mut pending = Pending::new(false);
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..100 {
            let ask = Ask { from_anyone: true, ..Ask::new(Request::Ping, SentFor::Pulse) };
            let magic = pending.ask(Time::ZERO, &mut rng, target(1), ask, patience::SEARCH);
            assert!(pending.settle(after(Duration::from_millis(2)), magic, target(2).addr).is_some());
        }
        assert!(!pending.conditions.is_choked(false));
    }

    #[test]
    fn timeouts_follow_the_measured_round_trip_between_the_bounds() {
        let mut pending = Pending::new(false);
        let mut now = Time::ZERO;
        for _ in 0..50 {
            let magic = asked(&mut pending, now, 3);
            now += Duration::from_millis(200);
            let settled = pending.settle(now, magic, target(1).addr).unwrap();
            assert_eq!(settled.rtt, Some(Duration::from_millis(200)));
        }
        let timeout = timeout(&pending, 1);
        assert!((Duration::from_millis(200)..Duration::from_millis(230)).contains(&timeout), "{timeout:?}");
        assert_eq!(pending.conditions.patience(), Duration::from_millis(220), "a stranger's");
    }

    #[test]
    fn a_way_that_became_longer_is_measured_again() {
        let mut pending = Pending::new(false);
        let mut now = Time::ZERO;
        for trip in [1, 350, 350, 350, 350_u64].map(Duration::from_millis) {
            let magic = asked(&mut pending, now, 9);
            // Each datagram is answered.
            let (back, mut answers) = (now + trip, vec![now + trip]);
            while let Some(due) = pending.next_deadline().filter(|due| *due < back) {
                assert!(matches!(pending.next_overdue(due), Some(Overdue::Resend { .. })));
                answers.push(due + trip);
            }
            assert!(pending.settle(back, magic, target(1).addr).is_some());
            for answer in &answers[1..] {
                assert!(pending.settle(*answer, magic, target(1).addr).is_none());
            }
            now = answers[answers.len() - 1];
        }
        assert!(timeout(&pending, 1) > Duration::from_millis(200));
    }

    #[test]
    fn a_peer_whose_answers_are_late_now_and_then_is_asked_again_as_soon_as_others() {
        let (mut pending, mut now) = (Pending::new(false), Time::ZERO);
        let mut ask = |pending: &mut Pending, millis| {
            let magic = asked(pending, now, patience::ONCE);
            now += Duration::from_millis(millis);
            assert!(pending.settle(now, magic, target(1).addr).is_some());
        };
        // The first answer of all was late, and later every third one.
        for millis in [600, 1, 1, 1, 600, 1, 1, 600, 1, 1, 600, 1, 1] {
            ask(&mut pending, millis);
            if millis == 1 {
                assert_eq!(timeout(&pending, 1), MIN_TIMEOUT);
            }
        }
    }

    #[test]
    fn where_half_of_all_datagrams_get_lost_or_come_twice_the_way_grows_no_longer() {
        let (mut pending, mut rng, mut now) = (Pending::new(false), StdRng::seed_from_u64(3), Time::ZERO);
        let trip = Duration::from_millis(1);
        for _ in 0..1000 {
            let magic = asked(&mut pending, now, 9);
            while rng.random_bool(0.5) {
                now = pending.next_deadline().expect("it is waited for");
                if let Some(Overdue::Failed(_)) = pending.next_overdue(now) {
                    break;
                }
            }
            now += trip;
            (0..2).for_each(|_| drop(pending.settle(now, magic, target(1).addr)));
            pending.check().unwrap();
        }
        assert_eq!((timeout(&pending, 1), pending.conditions.patience()), (MIN_TIMEOUT, MIN_TIMEOUT));
    }

    #[test]
    fn a_request_sent_twice_measures_nothing() {
        let mut pending = Pending::new(false);
        let magic = asked(&mut pending, Time::ZERO, 3);
        assert!(matches!(pending.next_overdue(after(FIRST_TIMEOUT)), Some(Overdue::Resend { .. })));
        let settled = pending.settle(after(FIRST_TIMEOUT), magic, target(1).addr).unwrap();
        assert_eq!((settled.rtt, settled.took(after(FIRST_TIMEOUT))), (None, FIRST_TIMEOUT));
        assert_eq!(pending.round_trip(&target(1).addr), None);
    }

    #[test]
    fn an_offer_is_repeated_until_its_limit() {
        let mut pending = Pending::new(false);
        let mut rng = StdRng::seed_from_u64(0);
        pending.ask_patiently(
            Time::ZERO,
            &mut rng,
            target(1),
            Ask::new(Request::Ping, SentFor::Pulse),
            patience::OFFER,
        );
        let mut sent = vec![Duration::ZERO];
        while let Some(due) = pending.next_deadline() {
            match pending.next_overdue(due) {
                Some(Overdue::Resend { .. }) => sent.push(due - Time::ZERO),
                Some(Overdue::Failed(_)) => assert!(due >= after(patience::OFFER)),
                None => unreachable!("due at its own deadline"),
            }
        }
        let millis: Vec<u128> = sent.iter().take(6).map(Duration::as_millis).collect();
        // Before anything is known of the network. Four in a row are hardly ever lost.
        assert_eq!(millis, [0, 250, 500, 750, 1000, 1500]);
        pending.conditions.measure(Duration::from_millis(1));
        let magic = pending.ask_patiently(
            Time::ZERO,
            &mut rng,
            target(1),
            Ask::new(Request::Ping, SentFor::Pulse),
            patience::OFFER,
        );
        assert_eq!(pending.requests.due(&magic), Some(after(patience::RESEND_FIRST)));
    }
}
