//! The one clock of a live peer. Nothing else in the program asks what time it is.

use std::time::{Duration, Instant};

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

/// Measures how long things really take: each call tells the time that has passed since this one.
pub fn stopwatch() -> impl Fn() -> Duration {
    let clock = Clock::start();
    move || clock.now().since(Time::ZERO)
}
