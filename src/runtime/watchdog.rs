//! Turns of the node that take long: no peer and no user is answered meanwhile. And queues to the node that are full.
//!
//! Long is what a processor worked for a turn, not what passed by the clock: on a busy machine a thread waits for a
//! processor, and a machine may be stopped. To ask for that takes longer than most turns, so it is asked rarely.
//!
//! A full queue is told of once, and again only after it fell to half: what lasts is no news.

use std::time::Duration;

use super::channels::{GAUGED, Gauged};
use super::clock::processor_time;
use crate::gauges::{self, Activity};

/// A turn that takes longer, by the clock, is told of if a processor worked for it for this and [`STALE`] more.
const LONG_TURN: Duration = Duration::from_millis(50);

/// So much may have passed since processor time was asked for last.
const STALE: Duration = Duration::from_millis(10);

/// Watches the turns of its thread.
#[derive(Default)]
pub(super) struct Watchdog {
    /// What a processor had worked for the thread when that was asked for last, and what has passed since.
    asked: Duration,
    since: Duration,
    /// Queues that were told to be full and have not fallen since.
    full: [bool; GAUGED.len()],
}

impl Watchdog {
    /// One thing was taken from a queue, in which so many are left. Returns whether it is to be told that it was full.
    pub(super) fn took(&mut self, queue: Gauged, left: usize) -> bool {
        queue.note(left);
        let (told, most) = (&mut self.full[queue as usize], GAUGED[queue as usize].most());
        // The queue of ticks holds one, and is full by design.
        let is_full = left + 1 >= most && most > 1;
        let is_news = is_full && !*told;
        *told = is_full || *told && left > most / 2;
        is_news
    }

    /// The thread stood still as it was told to: queues that are full by that are told of no more than if they had been
    /// told of already.
    pub(super) const fn stood_still(&mut self) {
        self.full = [true; GAUGED.len()];
    }

    /// A turn is over, and the thread waits from here on. Tells what was done and how long that took, if that was long.
    pub(super) fn rest(&mut self) -> Option<(Activity, Duration)> {
        let doing = gauges::own();
        let took = gauges::at(Activity::Waits);
        self.since += took;
        let long = took >= LONG_TURN && processor_time().saturating_sub(self.asked) >= LONG_TURN + STALE;
        if self.since >= STALE {
            (self.asked, self.since) = (processor_time(), Duration::ZERO);
        }
        // The start is no turn.
        (long && doing != Activity::Works).then_some((doing, took))
    }
}

#[cfg(test)]
mod tests {
    use std::hint::spin_loop;
    use std::thread;

    use super::*;
    use crate::runtime::look;

    #[test]
    fn a_full_queue_is_told_once_and_again_only_after_it_fell() {
        let mut watchdog = Watchdog::default();
        let most = GAUGED[Gauged::Posts as usize].most();
        // What each of these finds when one has been taken.
        let left = [0, most - 1, most - 2, most - 1, most / 2 + 1, most - 1, most / 2, most - 1, most - 1];
        let told: Vec<bool> = left.into_iter().map(|left| watchdog.took(Gauged::Posts, left)).collect();
        assert_eq!(told, [false, true, false, false, false, false, false, true, false]);
        watchdog.stood_still();
        assert!(!watchdog.took(Gauged::Datagrams, most - 1), "it filled while the node was told to stand still");
        assert!(!watchdog.took(Gauged::Ticks, 0), "one that holds a single thing is full by design");
    }

    #[test]
    fn a_turn_that_a_processor_worked_long_for_is_told_and_one_that_waited_long_for_a_processor_is_not() {
        let _place = look::enter(u64::MAX - 2, "node");
        let mut watchdog = Watchdog::default();
        gauges::came(Activity::Tick);
        thread::park_timeout(LONG_TURN + STALE);
        assert_eq!(watchdog.rest(), None);
        gauges::came(Activity::Command);
        let begun = processor_time();
        while processor_time() - begun < LONG_TURN + 2 * STALE {
            spin_loop();
        }
        assert!(watchdog.rest().is_some_and(|(doing, took)| doing == Activity::Command && took >= LONG_TURN));
        gauges::came(Activity::Tick);
        assert_eq!(watchdog.rest(), None);
    }
}
