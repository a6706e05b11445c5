//! The one clock of a live peer. Nothing else in the program asks what time it is, but for the age of
//! files: that is compared with the system's clock where they are looked at.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

use crate::time::Time;

/// A monotonic clock that starts at zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

/// The clock by which the gauges of all threads go. Others start whole microseconds after it, so that what was read
/// from it needs no second reading.
static OF_PROCESS: LazyLock<Clock> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "this is the exception: where the core's time comes from")]
    Clock(Instant::now())
});

/// Microseconds on the clock of the gauges.
pub(super) fn of_process() -> u64 {
    OF_PROCESS.now().as_micros()
}

impl Clock {
    /// A clock that starts now.
    pub(super) fn start() -> Self {
        Self(OF_PROCESS.instant(OF_PROCESS.now()))
    }

    /// Microseconds since the start.
    pub(super) fn now(self) -> Time {
        Time::from_micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The time that a gauge read; now, for a thread that has none.
    pub(super) fn gauged(self, micros: Option<u64>) -> Time {
        let Some(micros) = micros else { return self.now() };
        let read = OF_PROCESS.instant(Time::from_micros(micros));
        let since = read.saturating_duration_since(self.0).as_micros();
        Time::from_micros(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// The moment `time` as the system's waiting functions want it.
    pub(super) fn instant(self, time: Time) -> Instant {
        self.0 + time.since(Time::ZERO)
    }
}

/// The time since the beginning of 1970, as the system tells it: for people, who may set it as they like.
#[expect(clippy::disallowed_methods, reason = "nothing waits for it or is ordered by it")]
pub fn since_1970() -> Duration {
    let told = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    set_by_a_test(told)
}

/// The time since 1970 by two clocks, the earlier first: the system's now, and the system's at the first call plus what
/// has passed since. A user who sets the system's clock changes only one of them. So what ends too soon by a wrong
/// clock shall go by the one, and what would begin too late by the other.
pub fn both_since_1970() -> (Duration, Duration) {
    static FIRST: LazyLock<(Duration, Clock)> = LazyLock::new(|| (since_1970(), Clock::start()));
    let (first, clock) = &*FIRST;
    let (steady, told) = (*first + clock.now().since(Time::ZERO), since_1970());
    (steady.min(told), steady.max(told))
}

/// In a build for tests the environment variable `KADRING_CLOCK` may name a file with the seconds by which the clock is
/// ahead.
#[cfg(debug_assertions)]
fn set_by_a_test(told: Duration) -> Duration {
    static FILE: LazyLock<Option<std::ffi::OsString>> = LazyLock::new(|| std::env::var_os("KADRING_CLOCK"));
    let ahead = FILE.as_ref().and_then(|file| std::fs::read_to_string(file).ok()?.trim().parse::<i64>().ok());
    let seconds = Duration::from_secs(ahead.unwrap_or(0).unsigned_abs());
    if ahead < Some(0) { told.saturating_sub(seconds) } else { told + seconds }
}

#[cfg(not(debug_assertions))]
fn set_by_a_test(told: Duration) -> Duration {
    told
}

/// How long processors have worked for this thread; zero where the system does not tell.
pub(super) fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Measures how long things really take: each call tells the time that has passed since this one.
pub fn stopwatch() -> impl Fn() -> Duration {
    let clock = Clock::start();
    move || clock.now().since(Time::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gauge_read_is_the_same_time_to_the_microsecond() {
        for _ in 0..1000 {
            let clock = Clock::start();
            let before = clock.now();
            let gauged = clock.gauged(Some(of_process()));
            assert!(before <= gauged && gauged <= clock.now());
            assert!(clock.gauged(None) >= gauged);
        }
    }
}
