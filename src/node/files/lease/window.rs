//! How many blocks are looked up at a time.
//!
//! Over a long way few lookups at a time leave it idle, and with many all soon wait for one another where the
//! processors are what is scarce. So it is begun with a few, and after each round of as many as are allowed they become
//! twice as many, or half as many: as long as lookups take about the time of the fastest round, they do not yet wait
//! for one another. (After TCP Vegas: Brakmo and Peterson 1995.)

use std::time::Duration;

/// At least so many are looked up at a time, and never more than so many.
const FEWEST: usize = 32;
const MOST: usize = 512;

/// A round that takes so many times as long as the fastest one has too many at a time. Lookups of some keys need more
/// round trips than those of others.
const MUCH_LONGER: u32 = 3;

/// The blocks that may be looked up at a time.
pub(super) struct LookupWindow {
    allowed: usize,
    /// Of the round that is under way: lookups that are over, and the time that they took in all.
    over: u32,
    took: Duration,
    /// The usual time of a lookup in the fastest round.
    fastest: Duration,
}

impl Default for LookupWindow {
    fn default() -> Self {
        Self { allowed: FEWEST, over: 0, took: Duration::ZERO, fastest: Duration::MAX }
    }
}

impl LookupWindow {
    /// Whether another block may be looked up while so many are, and `beside` blocks wait for something else.
    pub(super) fn admits(&self, running: usize, beside: usize) -> bool {
        running + beside < self.allowed && beside < FEWEST
    }

    /// A lookup is over, after this time. A lookup that asked no peer says nothing about the way.
    pub(super) fn on_over(&mut self, took: Duration) {
        if took.is_zero() {
            return;
        }
        self.over += 1;
        self.took += took;
        if (self.over as usize) < self.allowed {
            return;
        }
        let usual = self.took / self.over;
        self.fastest = self.fastest.min(usual);
        let next = if usual > self.fastest * MUCH_LONGER { self.allowed / 2 } else { self.allowed * 2 };
        self.allowed = next.clamp(FEWEST, MOST);
        (self.over, self.took) = (0, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lookups at a time after each of so many rounds, where one takes as long as `takes` says of their number.
    fn rounds(count: usize, takes: impl Fn(usize) -> Duration) -> Vec<usize> {
        let mut window = LookupWindow::default();
        let round = |_| {
            (0..window.allowed).for_each(|_| window.on_over(takes(window.allowed)));
            window.allowed
        };
        (0..count).map(round).collect()
    }

    #[test]
    fn over_a_long_way_the_window_opens_whatever_its_round_trip() {
        for millis in [20, 200, 2000] {
            assert_eq!(rounds(6, |_| Duration::from_millis(millis)), [64, 128, 256, 512, 512, 512]);
        }
    }

    #[test]
    fn where_lookups_wait_for_one_another_the_window_stays_small() {
        let a_processor_takes_all_in_turn = |allowed: usize| Duration::from_micros(200) * allowed as u32;
        let rounds = rounds(20, a_processor_takes_all_in_turn);
        assert!(rounds.iter().all(|allowed| *allowed <= 4 * FEWEST), "{rounds:?}");
    }

    #[test]
    fn what_is_known_without_asking_does_not_stand_for_the_way() {
        let mut window = LookupWindow::default();
        for millis in [0, 20].repeat(2000) {
            window.on_over(Duration::from_millis(millis));
        }
        assert_eq!(window.allowed, MOST);
    }
}
