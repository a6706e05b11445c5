//! Turns of the node that take long: nobody is answered meanwhile.
//!
//! Long is what a processor worked for a turn, not what passed by the clock: on a busy machine a thread waits for a
//! processor, and a machine may be stopped. To ask for that takes longer than most turns, so it is asked rarely.

use std::time::Duration;

use super::clock::processor_time;
use crate::gauges::{self, Doing};

/// A turn that takes longer is told of.
const LONG: Duration = Duration::from_millis(50);

/// So much may have passed since processor time was asked for last.
const STALE: Duration = Duration::from_millis(10);

/// Watches the turns of its thread.
#[derive(Default)]
pub(super) struct Watchdog {
    /// What a processor had worked for the thread when that was asked for last, and what has passed since.
    asked: Duration,
    since: Duration,
}

impl Watchdog {
    /// A turn is over, and the thread waits from here on. Tells what was done and how long that took, if that was long.
    pub(super) fn rest(&mut self) -> Option<(Doing, Duration)> {
        let doing = gauges::own();
        let took = gauges::at(Doing::Waits);
        self.since += took;
        let long = took >= LONG && processor_time().saturating_sub(self.asked) >= LONG + STALE;
        if self.since >= STALE {
            (self.asked, self.since) = (processor_time(), Duration::ZERO);
        }
        // The start is no turn.
        (long && doing != Doing::Works).then_some((doing, took))
    }
}

#[cfg(test)]
mod tests {
    use std::hint::spin_loop;
    use std::thread;

    use super::*;
    use crate::runtime::look;

    #[test]
    fn a_turn_that_a_processor_worked_long_for_is_told_and_one_that_waited_long_for_a_processor_is_not() {
        let _place = look::enter(u64::MAX - 2, "node");
        let mut watchdog = Watchdog::default();
        gauges::came(Doing::Tick);
        thread::park_timeout(LONG + STALE);
        assert_eq!(watchdog.rest(), None);
        gauges::came(Doing::Command);
        let begun = processor_time();
        while processor_time() - begun < LONG + 2 * STALE {
            spin_loop();
        }
        assert!(watchdog.rest().is_some_and(|(doing, took)| doing == Doing::Command && took >= LONG));
        gauges::came(Doing::Tick);
        assert_eq!(watchdog.rest(), None);
    }
}
