//! `renewer`: waits until leases that were laid through this peer are to be renewed, and has them renewed.
//!
//! What is due is known to the work that it does, which looks through what was stored here: once after the join, then
//! each hour, and sooner where a lease of less than an hour or two calls for it. A command that lays a lease with an
//! end rings the [`Bell`] with the time of its renewal; that wakes the thread only if the time is the soonest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::channels::RENEWALS;
use super::{Handle, Role, fault, since_1970};
use crate::gauges;
use crate::lease::UnixTime;

/// What is due is looked for at least this often: the clock may have been set, or the catalogue changed by hand.
const OFTEN: u64 = 3600;

/// Tells the renewer when the next renewal is due.
#[derive(Clone, Debug)]
pub struct Bell(Arc<Due>);

#[derive(Debug)]
struct Due {
    /// The soonest renewal, in seconds since 1970. It only ever falls, but for the renewer, which sets it back before
    /// it looks through what was stored: what is added meanwhile is either seen there or lowers it afterwards
    /// (`SeqCst`).
    soonest: AtomicU64,
    /// Set once, before the thread is woken to see it (`SeqCst`).
    stopping: AtomicBool,
    wake: Sender<()>,
    woken: Receiver<()>,
}

impl Default for Bell {
    fn default() -> Self {
        let (wake, woken) = RENEWALS.open();
        let (soonest, stopping) = (AtomicU64::new(UnixTime::MAX), AtomicBool::new(false));
        Self(Arc::new(Due { soonest, stopping, wake, woken }))
    }
}

impl Bell {
    /// A renewal is due at `at`.
    pub fn ring(&self, at: UnixTime) {
        if self.0.soonest.fetch_min(at, Ordering::SeqCst) > at {
            // A full channel wakes it too.
            let _ = self.0.wake.try_send(());
        }
    }

    /// Tells the renewer to end.
    pub(super) fn close(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        let _ = self.0.wake.try_send(());
    }

    /// Waits until a renewal is due, or nothing was looked for so long that it is time. Whether the renewer goes on.
    fn wait(&self, since: UnixTime) -> bool {
        while !self.0.stopping.load(Ordering::SeqCst) {
            let due = self.0.soonest.load(Ordering::SeqCst).min(since.saturating_add(OFTEN));
            let left =
                Duration::from_secs(due.max(since + 1)).saturating_sub(since_1970()).min(Duration::from_secs(OFTEN));
            if left.is_zero() || gauges::wait(|| self.0.woken.recv_timeout(left)).is_err() {
                return !self.0.stopping.load(Ordering::SeqCst);
            }
        }
        false
    }
}

/// Starts the thread. `renew` does what is due, and returns when something will be due again.
pub(super) fn start(
    peer: &Handle,
    bell: Bell,
    mut renew: impl FnMut(&Handle) -> UnixTime + Send + 'static,
) -> io::Result<()> {
    let handle = peer.clone();
    let work = move || {
        loop {
            fault::point(Role::Renewer);
            let since = since_1970().as_secs();
            bell.0.soonest.store(UnixTime::MAX, Ordering::SeqCst);
            let next = renew(&handle);
            bell.0.soonest.fetch_min(next, Ordering::SeqCst);
            if !bell.wait(since) {
                return;
            }
        }
    };
    peer.roster.spawn(Role::Renewer, work).map(|_| ())
}
