//! How much is moved at a time over a way of unknown width.
//!
//! Blocks that move side by side share the way. Too many at once, and on a slow one each comes so slowly that it is
//! given up before its end, and nothing ever arrives; too few, and a long or lossy way lies idle. So it begins with a
//! few. A block that came within a second allows three more, one within 5 s one more, one that took longer than 10 s
//! one fewer, and one that was given up halves them (additive increase, multiplicative decrease: Chiu and Jain 1989;
//! here in blocks, for TCP below does the same in bytes). Small blocks take less of the way, and tell little about it.

use std::time::Duration;

use crate::config::MAX_BLOCK_SIZE;
use crate::node::smoothed::Smoothed;
use crate::time::Time;

/// A block counts as this many bytes at least: each costs messages and a place on a disk.
const LEAST_WEIGHT: u32 = 32 * 1024;

/// Smaller blocks than this say nothing about the width of the way.
const TELLING: u32 = MAX_BLOCK_SIZE / 4;

/// Moved at a time before anything is known.
const BLOCKS_AT_FIRST: usize = 4;

/// Whatever came within this time could have shared its way with several others.
const QUICK: Duration = Duration::from_secs(1);

/// Whatever took longer than this is no sign that more may move at once. A block then came at a fifth of a MiB a second
/// or less, and those that share a way do not get equal parts.
pub(super) const GOOD_TIME: Duration = Duration::from_secs(5);

/// Whatever took longer than this would be there sooner with fewer beside it, and older peers, which want 64 KiB a
/// second, may have been close to giving it up.
const NEAR_GIVING_UP: Duration = Duration::from_secs(10);

/// What a block of this size counts, in bytes.
pub(super) fn weight(size: u32) -> u64 {
    size.max(LEAST_WEIGHT).into()
}

/// Whether a block of this size says anything about the width of the way.
pub(super) const fn is_telling(size: u32) -> bool {
    size >= TELLING
}

/// What may move at a time.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    allowed: usize,
    most: usize,
    /// When it was last halved: what was under way then says nothing about the present.
    halved: Time,
    /// The usual time that a large block takes.
    large: Smoothed,
}

impl Pace {
    /// Never more than `most` at a time.
    pub(super) fn new(most: usize) -> Self {
        Self { allowed: BLOCKS_AT_FIRST.min(most), most, halved: Time::ZERO, large: Smoothed::default() }
    }

    /// Whether another block may move while others of this weight are under way. One may always.
    pub(super) fn admits(&self, under_way: u64, another: u64) -> bool {
        under_way == 0 || under_way + another <= self.allowed as u64 * u64::from(MAX_BLOCK_SIZE)
    }

    /// How long a large block usually takes, once one has come.
    pub(super) fn usual(&self) -> Option<Duration> {
        self.large.get()
    }

    /// A block of this size arrived, and took so long.
    pub(super) fn on_moved(&mut self, size: u32, took: Duration) {
        if !is_telling(size) {
            return;
        }
        self.large.add(took);
        let step = match took {
            took if took < QUICK => 3,
            took if took < GOOD_TIME => 1,
            _ => 0,
        };
        self.allowed = (self.allowed + step).min(self.most);
        if took > NEAR_GIVING_UP {
            self.allowed = (self.allowed - 1).max(1);
        }
    }

    /// A move that began at `since` was given up.
    pub(super) fn on_given_up(&mut self, now: Time, since: Time) {
        if now.since(since) > GOOD_TIME && since >= self.halved {
            self.allowed = (self.allowed / 2).max(1);
            self.halved = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves `blocks` blocks over a way that carries one in `alone`, shared by all under way; a move that takes longer
    /// than `limit` is given up and begun again. Returns how long all of it took.
    fn moved(blocks: usize, alone: Duration, limit: Duration) -> Duration {
        let (mut pace, mut now, mut left) = (Pace::new(100), Time::ZERO, blocks);
        while left > 0 {
            let under_way = pace.allowed.min(left);
            let took = alone * u32::try_from(under_way).unwrap();
            let since = now;
            now += took.min(limit);
            for _ in 0..under_way {
                if took > limit {
                    pace.on_given_up(now, since);
                } else {
                    pace.on_moved(MAX_BLOCK_SIZE, took);
                    left -= 1;
                }
            }
            assert!(now - Time::ZERO < Duration::from_secs(36_000), "nothing arrives any more");
        }
        now - Time::ZERO
    }

    #[test]
    fn everything_arrives_over_a_way_of_any_width_and_wide_ones_are_used() {
        let limit = Duration::from_secs(21);
        for millis in [1, 10, 100, 1000, 4000, 8000, 16_000] {
            let alone = Duration::from_millis(millis);
            let took = moved(200, alone, limit);
            assert!(took <= alone * 200 + limit * 4, "{alone:?} each: {took:?} in all");
        }
        let mut pace = Pace::new(100);
        (0..40).for_each(|_| pace.on_moved(100, Duration::from_millis(5)));
        assert_eq!(pace.allowed, BLOCKS_AT_FIRST, "small blocks come soon on any way");
        (0..40).for_each(|_| pace.on_moved(MAX_BLOCK_SIZE, Duration::from_millis(5)));
        assert_eq!(pace.allowed, 100);
    }

    #[test]
    fn what_was_under_way_when_it_was_halved_does_not_halve_it_again() {
        let mut pace = Pace::new(100);
        (0..20).for_each(|_| pace.on_moved(MAX_BLOCK_SIZE, Duration::from_secs(1)));
        let now = Time::ZERO + Duration::from_secs(60);
        (0..50).for_each(|_| pace.on_given_up(now, Time::ZERO + Duration::from_secs(30)));
        assert_eq!(pace.allowed, 12);
        pace.on_given_up(now + Duration::from_secs(1), now);
        assert_eq!(pace.allowed, 12, "it was refused at once: that says nothing about the way");
    }
}
