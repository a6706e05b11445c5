//! `sweeper`: waits for the node's next deadline.
//!
//! The node tells when it wants to be woken ([`Node::next_wake`](crate::node::Node::next_wake)) only when that is
//! sooner than what it told before, so a busy node hardly ever speaks to this thread. A tick whose deadline has moved
//! away is the node's to ignore. Ticks coalesce: their channel has room for one.
//!
//! It also starts the [looks](super::looker) at files that are due, and waits for none of them.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use super::channels::{DEADLINES, Gauged};
use super::clock::Clock;
use super::looker::Lookers;
use super::{Role, fault};
use crate::gauges;
use crate::time::Time;

/// A node that takes a tick no sooner is at something without end.
const STUCK: Duration = Duration::from_secs(2);

/// What the node arms the sweeper with.
pub(super) struct Alarm {
    deadlines: Sender<Time>,
    /// The sweeper's end too: what it has yet to take can be taken back.
    untaken: Receiver<Time>,
}

/// The way of deadlines to the sweeper.
pub(super) fn channel() -> (Alarm, Receiver<Time>) {
    let (deadlines, taken) = DEADLINES.open();
    (Alarm { deadlines, untaken: taken.clone() }, taken)
}

impl Alarm {
    /// Has a tick come at `at` at the latest. It waits for nothing: of two deadlines that find no room, the sooner goes
    /// in.
    pub(super) fn set(&self, mut at: Time) {
        while let Err(TrySendError::Full(refused)) = self.deadlines.try_send(at) {
            at = self.untaken.try_recv().map_or(refused, |untaken| untaken.min(refused));
        }
    }
}

/// Sends a tick at each deadline that comes in, never early, until no thread can arm it any more. Between them it
/// starts the looks that are due.
pub(super) fn run(clock: Clock, mut lookers: Lookers, deadlines: &Receiver<Time>, ticks: &Sender<Time>) {
    let mut armed: Option<Time> = None;
    // A tick was sent: by then the node has to arm something.
    let mut stuck: Option<Time> = None;
    loop {
        lookers.start(clock.now());
        let told = gauges::wait(|| match armed.into_iter().chain(lookers.next()).chain(stuck).min() {
            Some(at) => deadlines.recv_deadline(clock.instant(at)),
            None => deadlines.recv().map_err(|_| RecvTimeoutError::Disconnected),
        });
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= clock.now());
        match told {
            Ok(at) => (armed, stuck) = (Some(armed.map_or(at, |armed| armed.min(at))), None),
            Err(RecvTimeoutError::Timeout) if is_due(armed) => {
                (armed, stuck) = (None, Some(clock.now() + STUCK));
                fault::point(Role::Sweeper);
                // A full channel holds a tick that the node has yet to take; it will do for this one too.
                let _ = ticks.try_send(clock.now());
                Gauged::Ticks.note(ticks.len());
            }
            Err(RecvTimeoutError::Timeout) if is_due(stuck) => {
                stuck = None;
                if !ticks.is_empty() {
                    log::warn!("the node has taken no tick for {STUCK:?}; SIGQUIT shows what each thread is at");
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::id::Id;
    use crate::runtime::threads::Roster;

    /// No looks, and what a roster may send to.
    fn lookers() -> (Lookers, Receiver<()>) {
        let (leave, left) = bounded(1);
        (Lookers::new(Roster::new(&Id::ZERO, leave)), left)
    }

    #[test]
    fn a_look_that_never_ends_stops_no_tick_and_has_no_second_beside_it() {
        let clock = Clock::start();
        let (alarm, deadlines) = channel();
        let (tick, ticks) = bounded(1);
        let (mut lookers, _left) = lookers();
        let (looked, looks) = bounded(8);
        let (end, until) = bounded::<()>(0);
        lookers.add(Duration::from_millis(1), clock.now(), move || {
            looked.send(()).expect("the test goes on");
            let _ = until.recv();
        });
        let sweeper = std::thread::spawn(move || run(clock, lookers, &deadlines, &tick));
        looks.recv().expect("a look");
        for _ in 0..3 {
            alarm.set(clock.now() + Duration::from_millis(10));
            ticks.recv_timeout(Duration::from_secs(60)).expect("a tick");
        }
        assert!(looks.is_empty(), "the first look has not ended");
        drop((end, alarm));
        sweeper.join().expect("it ends when nobody arms it");
    }

    #[test]
    fn a_tick_comes_at_the_soonest_deadline_and_never_early() {
        let clock = Clock::start();
        let (alarm, deadlines) = channel();
        let (tick, ticks) = bounded(1);
        let (lookers, _leave) = lookers();
        let sweeper = std::thread::spawn(move || run(clock, lookers, &deadlines, &tick));
        let begin = clock.now();
        for millis in [3_600_000, 40, 20, 60_000] {
            alarm.set(begin + Duration::from_millis(millis));
        }
        ticks.recv().expect("a tick");
        assert!(clock.now() >= begin + Duration::from_millis(20));
        drop(alarm);
        sweeper.join().expect("it ends when nobody arms it");
    }

    #[test]
    fn a_sweeper_that_takes_nothing_keeps_nobody_waiting_and_finds_the_soonest_deadline() {
        let (alarm, deadlines) = channel();
        for micros in [50, 20, 40] {
            alarm.set(Time::from_micros(micros));
        }
        assert_eq!(deadlines.try_iter().collect::<Vec<_>>(), [Time::from_micros(20)]);
    }
}
