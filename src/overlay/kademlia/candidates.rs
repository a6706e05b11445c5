//! Peers that we heard of but that have not answered us yet. They are pinged at a bounded rate.
//!
//! Any sender can claim any id at any address, and even make a datagram seem to come from there. So hearsay only makes
//! a candidate. However much of it comes, we send few pings, and one at a time to each address. Those of all sources
//! take turns: a flood from one host does not keep a newcomer on another one out. Where each place is that of another
//! source, a newcomer takes one of a candidate that no contact has named.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::overlay::fair_queue::FairQueue;
use crate::peer::Peer;
use crate::source::Subnet;
use crate::time::Time;

/// Candidates that wait; more are forgotten, and will be heard of again.
const QUEUE: usize = 256;

/// Pings to candidates that are out at a time.
const OUTSTANDING: usize = 32;

/// Between two pings to candidates on average: 100 a second.
const GAP: Duration = Duration::from_millis(10);

/// Pings that may go out at once after a pause.
const PINGS_AT_ONCE: u32 = 32;

/// A peer worth a ping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) peer: Peer,
    /// It may enter the table; a guest is only pinged so that it shows that it receives.
    pub(super) enters: bool,
    /// A peer that was asked has named it.
    pub(super) is_named: bool,
}

pub(super) struct Candidates {
    queue: FairQueue<Candidate>,
    /// Addresses in the queue, and those that a ping is out to.
    addresses: BTreeSet<SocketAddr>,
    outstanding: usize,
    /// When the pings sent so far would have been sent at the steady rate.
    paid_until: Time,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { queue: FairQueue::new(QUEUE), addresses: BTreeSet::new(), outstanding: 0, paid_until: Time::ZERO }
    }
}

impl Candidates {
    /// Whether one more from this address would be taken at the moment.
    pub(super) fn has_place(&self, addr: &SocketAddr) -> bool {
        self.queue.has_place(Subnet::of(*addr), |waiting| !waiting.is_named)
    }

    /// Whether one at this address waits, or a ping to it is out.
    pub(super) fn has(&self, addr: &SocketAddr) -> bool {
        self.addresses.contains(addr)
    }

    /// No candidate waits and no ping is out.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.outstanding == 0
    }

    pub(super) fn offer(&mut self, candidate: Candidate) {
        let addr = candidate.peer.addr;
        if self.addresses.insert(addr)
            && let Some(displaced) = self.queue.push(Subnet::of(addr), candidate, |waiting| !waiting.is_named)
        {
            self.addresses.remove(&displaced.peer.addr);
        }
    }

    /// A place became free: this one goes first.
    pub(super) fn offer_urgently(&mut self, candidate: Candidate) {
        if self.addresses.insert(candidate.peer.addr) {
            self.queue.push_first(Subnet::of(candidate.peer.addr), candidate);
        }
    }

    /// The next one that may be pinged now. [`done`](Self::done) follows.
    pub(super) fn next(&mut self, now: Time) -> Option<Candidate> {
        if self.outstanding >= OUTSTANDING || self.paid_until > now + GAP * PINGS_AT_ONCE {
            return None;
        }
        let candidate = self.queue.pop()?;
        self.outstanding += 1;
        self.paid_until = self.paid_until.max(now) + GAP;
        Some(candidate)
    }

    /// The ping to this address is answered, or has failed.
    pub(super) fn done(&mut self, addr: &SocketAddr) {
        if self.addresses.remove(addr) {
            self.outstanding -= 1;
        }
    }

    /// When the next ping may go out, if only the rate holds it back.
    pub(super) fn next_tick(&self) -> Option<Time> {
        let waits = !self.queue.is_empty() && self.outstanding < OUTSTANDING;
        waits.then(|| {
            Time::from_micros(self.paid_until.as_micros().saturating_sub((GAP * PINGS_AT_ONCE).as_micros() as u64))
        })
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let agree = self.addresses.len() == self.queue.len() + self.outstanding && self.outstanding <= OUTSTANDING;
        agree.then_some(()).ok_or_else(|| "candidates and their addresses disagree".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    fn stranger(id: u64, ip: [u8; 4], port: u16) -> Candidate {
        Candidate { peer: Peer::new(Id::from_u64(id), SocketAddr::from((ip, port))), enters: true, is_named: false }
    }

    fn candidate(n: u16) -> Candidate {
        stranger(n.into(), [10, 0, 0, 1], n)
    }

    #[test]
    fn a_flood_of_strangers_costs_a_bounded_number_of_pings() {
        let mut candidates = Candidates::default();
        let mut pinged = 0;
        for millis in 0..10_000_u64 {
            let now = Time::from_micros(millis * 1000);
            for n in 0..10 {
                candidates.offer(candidate((millis * 10 + n) as u16));
            }
            while let Some(candidate) = candidates.next(now) {
                pinged += 1;
                candidates.done(&candidate.peer.addr);
            }
            candidates.check().unwrap();
        }
        assert!((1000..=1000 + PINGS_AT_ONCE + 1).contains(&pinged), "{pinged} in 10 s");
    }

    #[test]
    fn an_address_is_pinged_once_at_a_time_and_not_too_many_are() {
        let mut candidates = Candidates::default();
        for n in 0..100 {
            candidates.offer(candidate(n));
            candidates.offer(candidate(n));
        }
        let mut out = Vec::new();
        for second in 0..9 {
            let now = Time::from_micros(second * 1_000_000);
            out.extend(std::iter::from_fn(|| candidates.next(now)));
        }
        assert_eq!(out.len(), OUTSTANDING);
        assert_eq!(candidates.next_tick(), None, "an answer or a failure is needed first");
        candidates.done(&out[0].peer.addr);
        candidates.offer_urgently(candidate(500));
        assert_eq!(candidates.next(Time::from_micros(9_000_000)), Some(candidate(500)));
        candidates.check().unwrap();
    }

    /// How many milliseconds after it came `newcomer` was pinged, while one of these comes in each and none answers.
    fn pinged_after(newcomer: Candidate, flood: impl Fn(u64) -> Candidate) -> u64 {
        const SILENCE: u64 = 500;
        let mut candidates = Candidates::default();
        let mut out: Vec<(u64, SocketAddr)> = Vec::new();
        for millis in 0..20_000_u64 {
            candidates.offer(flood(millis));
            if millis == 9_000 {
                assert_eq!(candidates.queue.len(), QUEUE, "the flood has taken all places");
                candidates.offer(newcomer);
            }
            let (over, waits): (Vec<_>, Vec<_>) = out.into_iter().partition(|(sent, _)| sent + SILENCE <= millis);
            over.iter().for_each(|(_, addr)| candidates.done(addr));
            out = waits;
            while let Some(next) = candidates.next(Time::from_micros(millis * 1000)) {
                if next == newcomer {
                    return millis - 9_000;
                }
                out.push((millis, next.peer.addr));
            }
            candidates.check().unwrap();
        }
        panic!("it was never pinged");
    }

    #[test]
    fn a_newcomer_is_pinged_at_once_however_many_from_another_host_never_answer() {
        let after = pinged_after(stranger(7, [10, 0, 0, 2], 7), |n| candidate(n as u16));
        assert!(after <= 500, "after {after} ms");
    }

    #[test]
    fn a_newcomer_is_pinged_soon_however_many_other_networks_of_a_site_one_user_has() {
        let after = pinged_after(stranger(7, [2, 0, 0, 2], 7), |n| stranger(n, [1, 7, n as u8, 1], (n >> 8) as u16));
        assert!(after <= 5_000, "after {after} ms");
    }

    #[test]
    fn whom_a_contact_named_is_pinged_however_many_strangers_come_from_wherever() {
        let newcomer = Candidate { is_named: true, ..stranger(7, [10, 0, 0, 2], 7) };
        let after = pinged_after(newcomer, |n| stranger(n, [n as u8, (n >> 8) as u8, n as u8, 1], 7));
        assert!(after <= 1_000, "after {after} ms");
    }
}
