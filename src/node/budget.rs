//! What upkeep may spend a second, whatever happens in the network.

use std::time::Duration;

use crate::config::{UPKEEP_KIB, UPKEEP_MESSAGES};
use crate::time::Time;

/// What this peer spends to keep replica sets full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upkeep {
    messages: Budget,
    kib: Budget,
    /// Messages sent, and bytes of blocks offered, since the start.
    total: (u64, u64),
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { messages: Budget::a_second(UPKEEP_MESSAGES), kib: Budget::a_second(UPKEEP_KIB), total: (0, 0) }
    }
}

impl Upkeep {
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
}
