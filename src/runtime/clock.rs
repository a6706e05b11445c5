//! The one clock of a live peer. Nothing else in the program asks what time it is.

use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

use crate::time::Time;

/// A monotonic clock that starts at zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the exception: where the core's time comes from")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since the start.
    pub(super) fn now(self) -> Time {
        Time::from_micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The moment `time` as the system's waiting functions want it.
    pub(super) fn instant(self, time: Time) -> Instant {
        self.0 + time.since(Time::ZERO)
    }
}

/// The time since the beginning of 1970, as the system tells it: for people, who may set it as they like.
#[expect(clippy::disallowed_methods, reason = "nothing waits for it or is ordered by it")]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
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
