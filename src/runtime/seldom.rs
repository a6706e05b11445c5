//! A line of the log that strangers can cause as often as they like is written once in a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Time;

/// Such a line is written once in this time.
const WRITTEN_EVERY: Duration = Duration::from_secs(60);

/// When such a line is due again, in microseconds. It stands alone (`Relaxed`).
#[derive(Default)]
pub(super) struct Seldom(AtomicU64);

impl Seldom {
    /// How loud the line is: a warning if none was written lately.
    pub(super) fn level(&self, now: Time) -> log::Level {
        let due = |at: u64| (now >= Time::from_micros(at)).then(|| (now + WRITTEN_EVERY).as_micros());
        let is_due = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok();
        if is_due { log::Level::Warn } else { log::Level::Debug }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_lines_are_one_warning_until_a_minute_has_passed() {
        let seldom = Seldom::default();
        let warnings = |from: u64| {
            let levels = (0..1000).map(|n| seldom.level(Time::from_micros(from + n)));
            levels.filter(|level| *level == log::Level::Warn).count()
        };
        assert_eq!([warnings(0), warnings(59_000_000), warnings(61_000_000)], [1, 0, 1]);
    }
}
