//! What upkeep may spend a second, whatever happens in the network, and what it does for others.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{UPKEEP_KIB, UPKEEP_MESSAGES};
use crate::recent::Recent;
use crate::source::Subnet;
use crate::time::Time;

/// What this peer spends to keep replica sets full.
#[derive(Clone, Copy, Debug)]
pub(super) struct RepairBudget {
    messages: Budget,
    kib: Budget,
    /// Messages sent, and bytes of blocks offered, since the start.
    total: (u64, u64),
}

impl Default for RepairBudget {
    fn default() -> Self {
        Self { messages: Budget::a_second(UPKEEP_MESSAGES), kib: Budget::a_second(UPKEEP_KIB), total: (0, 0) }
    }
}

impl RepairBudget {
    /// When the next message may be sent.
    pub(super) fn opens(&self) -> Time {
        self.messages.opens().max(self.kib.opens())
    }

    /// A message is sent; it offers a block of so many bytes.
    pub(super) fn spend(&mut self, now: Time, bytes: u32) {
        self.messages.spend(now, 1);
        self.kib.spend(now, bytes.div_ceil(1024));
        self.total = (self.total.0 + 1, self.total.1 + u64::from(bytes));
    }

    /// Messages sent, and bytes of blocks offered, since the start.
    pub(super) fn total(&self) -> (u64, u64) {
        self.total
    }
}

/// So much a second on average, and at most so much at once. (The generic cell rate algorithm: ITU-T I.371.)
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// What one unit costs.
    interval: Duration,
    /// How far ahead of time may be spent.
    burst: Duration,
    /// Up to when all is spent.
    spent: Time,
}

impl Budget {
    /// `rate` units a second, a second's worth at once.
    pub(super) const fn a_second(rate: u32) -> Self {
        let burst = Duration::from_secs(1);
        Self { interval: Duration::from_nanos(1_000_000_000 / rate as u64), burst, spent: Time::ZERO }
    }

    /// When something may be spent: what is left then may be too little for it, and the next has to wait for longer.
    pub(super) fn opens(&self) -> Time {
        Time::from_micros(self.spent.as_micros().saturating_sub(self.burst.as_micros() as u64))
    }

    /// Spends `units`.
    pub(super) fn spend(&mut self, now: Time, units: u32) {
        self.spent = self.spent.max(now) + self.interval * units;
    }
}

/// What is done for other peers, `RATE` units a second, so that no peer takes it all.
///
/// A peer that is known may have all of it, and its own share even while others want more than there is. Strangers may
/// have half of it together, and those of one source half of that. A peer that has not shown that it receives gets
/// none.
pub(super) struct Favours<const RATE: u32> {
    all: Budget,
    /// What strangers have of it.
    strangers: Budget,
    known: Recent<SocketAddr, Budget, ASKERS>,
    /// What known peers have of their own shares, together, while others want all.
    shares: Budget,
    sources: Recent<Subnet, Budget, ASKERS>,
}

/// A favour that was granted, and from whose share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Favour {
    from: SocketAddr,
    is_known: bool,
    /// Whether it is one of all, not of what known peers have of their own.
    of_all: bool,
}

/// Of what is done in all a known peer may have one part in so many, whatever the others want.
const KNOWN: u32 = 25;

/// Askers that are remembered, at least: more of them hardly come within a second.
const ASKERS: usize = 1024;

impl<const RATE: u32> Default for Favours<RATE> {
    fn default() -> Self {
        Self {
            all: Budget::a_second(RATE),
            strangers: Budget::a_second(RATE / 2),
            known: Recent::default(),
            shares: Budget::a_second(RATE),
            sources: Recent::default(),
        }
    }
}

impl<const RATE: u32> Favours<RATE> {
    /// A favour of so many units for the peer at `from`, if it has one now: it is spent.
    pub(super) fn take(&mut self, now: Time, from: SocketAddr, is_known: bool, units: u32) -> Option<Favour> {
        let open = |budget: &Budget| budget.opens() <= now;
        let of_all = open(&self.all);
        let is_open = if is_known {
            of_all || open(&self.of_known(from)) && open(&self.shares)
        } else {
            of_all && open(&self.of_source(from)) && open(&self.strangers)
        };
        let favour = Favour { from, is_known, of_all };
        is_open.then(|| self.charge(now, favour, units))?;
        Some(favour)
    }

    /// A favour that was [taken](Self::take) costs so many units more.
    pub(super) fn charge(&mut self, now: Time, Favour { from, is_known, of_all }: Favour, units: u32) {
        if is_known {
            let mut own = self.of_known(from);
            own.spend(now, units);
            self.known.insert(from, own);
        } else {
            let mut source = self.of_source(from);
            source.spend(now, units);
            self.sources.insert(Subnet::of(from), source);
            self.strangers.spend(now, units);
        }
        // A peer that has its own share leaves no debt to the others.
        let account = if of_all { &mut self.all } else { &mut self.shares };
        account.spend(now, units);
    }

    fn of_known(&self, from: SocketAddr) -> Budget {
        self.known.get(&from).copied().unwrap_or(Budget::a_second(RATE / KNOWN))
    }

    fn of_source(&self, from: SocketAddr) -> Budget {
        self.sources.get(&Subnet::of(from)).copied().unwrap_or(Budget::a_second(RATE / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_sees_its_rate_and_a_first_burst_as_much_again() {
        let (mut budget, mut spent) = (Budget::a_second(100), 0);
        for millis in 0..10_000 {
            let now = Time::from_micros(millis * 1000);
            while budget.opens() <= now {
                budget.spend(now, 4);
                spent += 4;
            }
        }
        assert!((1_090..=1_110).contains(&spent), "{spent} in ten seconds");
    }

    /// Favours that each of these askers had in ten seconds, in which each asks once a millisecond, one after another.
    fn had(askers: &[(SocketAddr, bool)]) -> Vec<usize> {
        let (mut favours, mut had) = (Favours::<400>::default(), vec![0; askers.len()]);
        for millis in 0..10_000 {
            for (had, &(from, is_known)) in had.iter_mut().zip(askers) {
                *had += usize::from(favours.take(Time::from_micros(millis * 1000), from, is_known, 1).is_some());
            }
        }
        had
    }

    fn at(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], port))
    }

    #[test]
    fn a_known_peer_has_all_while_nobody_else_asks_and_a_stranger_a_quarter() {
        assert!((4_350..=4_410).contains(&had(&[(at(1, 1), true)])[0]));
        assert!((1_050..=1_110).contains(&had(&[(at(1, 1), false)])[0]));
    }

    #[test]
    fn nobody_takes_all_whoever_asks_first_and_under_however_many_ports() {
        let known = [(at(1, 1), true), (at(2, 1), true), (at(3, 1), true)];
        assert!(had(&known).iter().all(|had| *had >= 160), "sixteen a second: {:?}", had(&known));
        let crowd: Vec<_> = (1..=300).map(|port| (at(9, port), false)).chain(known).collect();
        let had = had(&crowd);
        let (crowd, known) = had.split_at(300);
        assert!(crowd.iter().sum::<usize>() <= 1_110, "those of one host");
        assert!(known.iter().all(|had| *had >= 160), "{known:?}");
        assert!(had.iter().sum::<usize>() <= 4_410 + 3 * 176, "in all");
    }

    #[test]
    fn a_stranger_has_something_while_another_host_asks_for_all() {
        let had = had(&[(at(9, 1), false), (at(9, 2), false), (at(1, 1), false)]);
        assert!(had[2] >= 1_000, "{had:?}");
    }

    #[test]
    fn what_known_peers_have_beside_all_is_bounded_however_many_there_are() {
        let many: Vec<_> = (0..200).map(|n| (at(n, 1), true)).collect();
        let had = had(&many);
        assert!(had.iter().sum::<usize>() <= 2 * 4_410, "{}", had.iter().sum::<usize>());
    }

    #[test]
    fn all_addresses_of_a_home_network_have_as_much_as_one_host() {
        let of_one = |n: u16| (SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, n], 1)), false);
        let had = had(&(0..100).map(of_one).chain([(at(1, 1), false)]).collect::<Vec<_>>());
        assert!(had[..100].iter().sum::<usize>() <= 1_110 && had[100] >= 1_000, "{had:?}");
    }

    #[test]
    fn what_costs_more_than_one_unit_has_whoever_asks_for_it_wait_for_longer() {
        let (mut favours, mut had) = (Favours::<400>::default(), 0);
        for millis in 0..10_000 {
            let now = Time::from_micros(millis * 1000);
            if let Some(favour) = favours.take(now, at(1, 1), true, 1) {
                favours.charge(now, favour, 99);
                had += 1;
            }
        }
        assert!((40..=56).contains(&had), "{had} of a hundred units each");
    }
}
