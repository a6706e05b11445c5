//! What the network is like for this peer, learned from all answers: how long they take, and how many get lost.
//!
//! A datagram is cheap and every request may come twice, so one that is late goes out again after about the round trip
//! that this network has, whatever is known of the address; and a peer is doubted only once so many datagrams are
//! without an answer as do not get lost by chance *here* (Jimenez, Osmani and Knutsson, "Sub-second lookups", P2P 2011,
//! found what waiting for the dead by fixed timeouts costs). When most of what goes out stays without an answer,
//! repeats would only add to what is wrong: then they come slowly.
//!
//! A guest is here for one command, for which a user waits, and knows little: it asks sooner again. The brake of what a
//! user waits for, a guest's or not, is for when hardly anything is answered at all: a user asks for little.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::{FIRST_TIMEOUT, MIN_TIMEOUT};
use crate::patience::MIN_DECISION;

/// Round trips that are remembered.
const TRIPS: usize = 128;

/// Answers from peer to peer after which it is known how long they take.
const CHAINS: usize = 8;

/// The longest that any of them makes this peer wait.
const LONGEST_CHAIN: Duration = Duration::from_secs(1);

/// Datagrams without an answer after which a peer is doubted: on a clean way, and on the worst.
const MIN_DOUBT: u8 = 2;
const MAX_DOUBT: u8 = 10;

/// A live peer is doubted by chance this seldom.
const CHANCE: f64 = 0.000_05;

/// The share of datagrams that is taken to get lost before anything is known.
const USUAL_LOSS: f64 = 0.05;

/// The share that gets lost is taken from about this many of the latest datagrams.
const SAMPLE_DATAGRAMS: f64 = 64.0;

/// At first there are few: the share that is usual counts as this many of them.
const DATAGRAMS_AT_FIRST: f64 = 8.0;

/// Datagrams of a request that count for the share answered: a dead peer gets many more, and is one peer all the same.
const COUNTED: u8 = 2;

/// Datagrams that the share of those answered is taken from, at least; and at most twice as many, the latest.
const LEAST_SAMPLE: u32 = 32;

/// The part of what went out that must be answered, or repeats come slowly.
const ANSWERED_MIN: u32 = 3;
const ANSWERED_MIN_URGENT: u32 = 8;

/// A guest's questions are asked again after this long while nothing is known of the network.
const FIRST_TIMEOUT_GUEST: Duration = Duration::from_millis(100);

pub(super) struct Conditions {
    /// This peer is a guest.
    guest: bool,
    /// The latest round trips.
    trips: VecDeque<Duration>,
    /// How long the latest answers took to requests that went from peer to peer.
    chains: VecDeque<Duration>,
    /// The share of datagrams to living peers that stay without an answer.
    loss: f64,
    /// From how many datagrams that is known, [`SAMPLE_DATAGRAMS`] at most.
    known_from: f64,
    /// Of the latest datagrams: how many went out, and how many were answered.
    sent: u32,
    answered: u32,
}

impl Conditions {
    /// What is known of a network before anything was asked in it.
    pub(super) fn new(guest: bool) -> Self {
        Self {
            guest,
            trips: VecDeque::new(),
            chains: VecDeque::new(),
            loss: USUAL_LOSS,
            known_from: DATAGRAMS_AT_FIRST,
            sent: 0,
            answered: 0,
        }
    }

    /// A request goes out, for the first time or once more.
    pub(super) fn on_sent(&mut self, datagrams: u8) {
        if datagrams <= COUNTED {
            self.sent += 1;
        }
        if self.sent >= 2 * LEAST_SAMPLE {
            self.sent /= 2;
            self.answered /= 2;
        }
    }

    /// A request is answered that went out so many times.
    pub(super) fn on_answered(&mut self, datagrams: u8) {
        if datagrams <= COUNTED {
            self.answered += 1;
        }
    }

    /// A request is answered that went out so many times, and would have gone out again: what goes out only once tells
    /// nothing of loss when it is answered, for it is not known whether the others were lost or their receivers dead.
    pub(super) fn measure_loss(&mut self, datagrams: u8) {
        for datagram in 1..=datagrams {
            let lost = if datagram < datagrams { 1.0 } else { 0.0 };
            self.known_from = (self.known_from + 1.0).min(SAMPLE_DATAGRAMS);
            self.loss += (lost - self.loss) / self.known_from;
        }
    }

    /// An answer took this long. Returns whether it is the first that tells how long answers take.
    pub(super) fn measure(&mut self, trip: Duration) -> bool {
        push(&mut self.trips, trip);
        self.trips.len() == 1
    }

    /// The answer to a request that went from peer to peer took this long.
    pub(super) fn measure_chain(&mut self, took: Duration) {
        push(&mut self.chains, took);
    }

    /// An answer took this long at most. Where nothing is known yet, that is better than nothing, if it is not long: of
    /// several datagrams the first ones may have got lost.
    pub(super) fn measure_at_most(&mut self, trip: Duration) -> bool {
        self.trips.is_empty() && trip < self.first_timeout() && self.measure(trip)
    }

    /// How long an answer may take while nothing is known.
    const fn first_timeout(&self) -> Duration {
        if self.guest { FIRST_TIMEOUT_GUEST } else { FIRST_TIMEOUT }
    }

    /// How long the answer of a peer may take of which nothing is known: a tenth longer than nine of ten answers do.
    pub(super) fn patience(&self) -> Duration {
        self.longer_than(90).unwrap_or(self.first_timeout())
    }

    /// How long the answer of the furthest peers may take: no peer is doubted before. Where some are near, most answers
    /// are theirs.
    pub(super) fn furthest_trip(&self) -> Duration {
        self.longer_than(97).unwrap_or_default()
    }

    /// How long the answer to a request may take that goes from peer to peer, before it goes out again: twice as long
    /// as nine of ten took. Ways differ by a few peers, and each repeat is passed on by all of them.
    pub(super) fn chain_patience(&self) -> Duration {
        let usual = slow_of(&self.chains, 90).filter(|_| self.chains.len() >= CHAINS);
        usual.map_or(FIRST_TIMEOUT, |slow| (slow * 2).clamp(MIN_DECISION, FIRST_TIMEOUT))
    }

    /// A tenth longer than `percent` of all answers take.
    fn longer_than(&self, percent: usize) -> Option<Duration> {
        slow_of(&self.trips, percent).map(|slow| (slow * 11 / 10).clamp(MIN_TIMEOUT, LONGEST_CHAIN))
    }

    /// Datagrams that a peer leaves without an answer before it is doubted.
    pub(super) fn doubt_after(&self) -> u8 {
        // `powi` may differ from one system to the next.
        let by_chance = |tries: &u8| (0..*tries).map(|_| self.loss).product::<f64>() > CHANCE;
        (MIN_DOUBT..MAX_DOUBT).find(|tries| !by_chance(tries)).unwrap_or(MAX_DOUBT)
    }

    /// Whether so little gets lost that two datagrams without an answer are no chance.
    pub(super) fn is_clean(&self) -> bool {
        self.doubt_after() == MIN_DOUBT
    }

    /// After so many datagrams without an answer repeats come ever more slowly. On the worst ways, one request in
    /// twenty has none after as many as a peer is doubted for, and a file takes some twenty requests.
    pub(super) fn slower_after(&self, urgent: bool) -> u8 {
        match self.doubt_after() {
            MAX_DOUBT if urgent || self.guest => MAX_DOUBT * 3 / 2,
            _ if self.guest => MAX_DOUBT,
            doubt => doubt,
        }
    }

    /// Whether so little is answered that repeats must come slowly, of what a user waits for or of the rest.
    pub(super) fn is_choked(&self, urgent: bool) -> bool {
        let least = if urgent || self.guest { ANSWERED_MIN_URGENT } else { ANSWERED_MIN };
        self.sent >= LEAST_SAMPLE && self.answered * least < self.sent
    }
}

fn push(trips: &mut VecDeque<Duration>, trip: Duration) {
    if trips.len() == TRIPS {
        trips.pop_front();
    }
    trips.push_back(trip);
}

/// What so many of a hundred of these take at most.
fn slow_of(trips: &VecDeque<Duration>, percent: usize) -> Option<Duration> {
    let mut trips: Vec<Duration> = trips.iter().copied().collect();
    let last = trips.len().checked_sub(1)?;
    Some(*trips.select_nth_unstable(last * percent / 100).1)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// A network in which `loss` of all datagrams to or from living peers gets lost, after some exchanges.
    fn lossy(seed: u64, loss: f64) -> Conditions {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut network = Conditions::new(false);
        for _ in 0..400 {
            let answered = (1.0 - loss) * (1.0 - loss);
            let datagrams = (1..=MAX_DOUBT).find(|_| rng.random_bool(answered)).unwrap_or(MAX_DOUBT);
            (1..=datagrams).for_each(|datagram| network.on_sent(datagram));
            network.on_answered(datagrams);
            network.measure_loss(datagrams);
        }
        network
    }

    #[test]
    fn the_more_gets_lost_the_later_a_peer_is_doubted() {
        for (loss, expected) in [(0.0, 2..=2), (0.02, 2..=5), (0.1, 4..=9), (0.2, 7..=10), (0.4, 10..=10)] {
            for seed in 0..10 {
                let after = lossy(seed, loss).doubt_after();
                assert!(expected.contains(&after), "{after} datagrams at a loss of {loss}, seed {seed}");
            }
        }
    }

    #[test]
    fn repeats_come_slowly_only_where_less_than_a_third_is_answered_or_an_eighth_of_what_somebody_waits_for() {
        assert!(!lossy(8, 0.2).is_choked(false));
        assert!(lossy(8, 0.5).is_choked(false) && !lossy(8, 0.5).is_choked(true), "a quarter is enough for who waits");
        assert!(lossy(8, 0.8).is_choked(true));
        let slower_after = [false, true].map(|urgent| lossy(8, 0.5).slower_after(urgent));
        assert_eq!(slower_after, [MAX_DOUBT, MAX_DOUBT * 3 / 2]);
        let mut dead = Conditions::new(false);
        (0..LEAST_SAMPLE).for_each(|_| dead.on_sent(1));
        assert!(dead.is_choked(false));
        (0..LEAST_SAMPLE).for_each(|_| {
            dead.on_sent(1);
            dead.on_answered(1);
        });
        assert!(!dead.is_choked(false), "it answers again");
    }

    #[test]
    fn a_guest_asks_sooner_again_and_is_slowed_down_later() {
        let dead_but_for = |guest: bool, answers: u32| {
            let mut network = Conditions::new(guest);
            (0..LEAST_SAMPLE).for_each(|_| network.on_sent(1));
            (0..answers).for_each(|_| network.on_answered(1));
            network
        };
        let (guest, member) = (dead_but_for(true, LEAST_SAMPLE / 4), dead_but_for(false, LEAST_SAMPLE / 4));
        assert!(guest.patience() < member.patience() && guest.slower_after(false) > member.slower_after(false));
        assert!(member.is_choked(false) && !guest.is_choked(false), "half of all datagrams get lost");
        assert!(dead_but_for(true, 0).is_choked(false));
    }

    #[test]
    fn an_answer_that_took_several_datagrams_makes_nobody_wait_longer() {
        for (guest, first) in [(true, FIRST_TIMEOUT_GUEST), (false, FIRST_TIMEOUT)] {
            let mut network = Conditions::new(guest);
            network.measure_at_most(Duration::from_millis(630));
            assert_eq!(network.patience(), first);
            network.measure_at_most(Duration::from_millis(50));
            assert_eq!(network.patience(), Duration::from_millis(55));
        }
    }

    #[test]
    fn nobody_is_doubted_sooner_than_the_furthest_take_to_answer() {
        let mut network = Conditions::new(false);
        for _ in 0..TRIPS / 16 {
            (0..15).for_each(|_| _ = network.measure(Duration::from_micros(100)));
            network.measure(Duration::from_millis(300));
        }
        assert_eq!((network.patience(), network.furthest_trip()), (MIN_TIMEOUT, Duration::from_millis(330)));
        (0..TRIPS).for_each(|_| _ = network.measure(Duration::from_secs(5)));
        assert_eq!((network.patience(), network.furthest_trip()), (LONGEST_CHAIN, LONGEST_CHAIN));
    }

    #[test]
    fn what_goes_from_peer_to_peer_has_twice_the_time_it_usually_takes_and_never_more_than_while_that_is_unknown() {
        let mut network = Conditions::new(false);
        let mut patience = |millis| {
            (0..CHAINS).for_each(|_| network.measure_chain(Duration::from_millis(millis)));
            network.chain_patience()
        };
        assert_eq!([1, 80, 900].map(&mut patience), [MIN_DECISION, Duration::from_millis(160), FIRST_TIMEOUT]);
        assert_eq!(Conditions::new(false).chain_patience(), FIRST_TIMEOUT);
    }

    #[test]
    fn strangers_have_a_tenth_longer_than_nine_of_ten_answers_take() {
        let mut network = Conditions::new(false);
        assert_eq!(network.patience(), FIRST_TIMEOUT);
        (1..=100).for_each(|millis| _ = network.measure(Duration::from_millis(millis)));
        let ninth = Duration::from_millis(90);
        assert_eq!(network.patience(), ninth * 11 / 10);
        (0..TRIPS).for_each(|_| _ = network.measure(Duration::from_micros(100)));
        assert_eq!(network.patience(), MIN_TIMEOUT);
    }
}
