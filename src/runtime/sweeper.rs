//! `sweeper`: waits for the node's next deadline.
//!
//! The node tells when it wants to be woken ([`Node::next_wake`](crate::node::Node::next_wake)) only when that is sooner
//! than what it told before, so a busy node hardly ever speaks to this thread. A tick whose deadline has moved away is
//! the node's to ignore. Ticks coalesce: their channel has room for one.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::clock::Clock;
use super::{Role, fault};
use crate::time::Time;

/// Sends a tick at each deadline that comes in, never early, until nobody arms it any more.
pub(super) fn run(clock: Clock, deadlines: &Receiver<Time>, ticks: &Sender<()>) {
    let mut armed: Option<Time> = None;
    loop {
        let told = match armed {
            Some(at) => deadlines.recv_deadline(clock.instant(at)),
            None => deadlines.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match told {
            Ok(at) => armed = Some(armed.map_or(at, |armed| armed.min(at))),
            Err(RecvTimeoutError::Timeout) => {
                armed = None;
                fault::point(Role::Sweeper);
                // A full channel holds a tick that the node has yet to take; it will do for this one too.
                let _ = ticks.try_send(());
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::{bounded, unbounded};

    use super::*;

    #[test]
    fn a_tick_comes_at_the_soonest_deadline_and_never_early() {
        let clock = Clock::start();
        let (arm, deadlines) = unbounded();
        let (tick, ticks) = bounded(1);
        let sweeper = std::thread::spawn(move || run(clock, &deadlines, &tick));
        let begin = clock.now();
        for millis in [3_600_000, 40, 20, 60_000] {
            arm.send(begin + Duration::from_millis(millis)).expect("the sweeper runs");
        }
        ticks.recv().expect("a tick");
        assert!(clock.now() >= begin + Duration::from_millis(20));
        drop(arm);
        sweeper.join().expect("it ends when nobody arms it");
    }
}
