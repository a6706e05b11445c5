//! `renewer`: waits until leases that were laid through this peer are to be renewed, and has them renewed.
//!
//! What is due is known to the work that it does, which looks through what was stored here: once after the join, then
//! each hour, and sooner where a lease of less than an hour or two calls for it. A command that lays a lease with an
//! end rings the [`Bell`] with the time of its renewal; that wakes the thread only if the time is the soonest. While
//! nothing is known that ends there is no thread: the bell starts one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::channels::RENEWALS;
use super::{Handle, Role, fault, since_1970};
use crate::gauges;
use crate::lease::UnixTime;
use crate::locks::{self, Ranked};

/// What is due is looked for at least this often: the clock may have been set, or the catalogue changed by hand.
const OFTEN: u64 = 3600;

/// Tells the renewer when the next renewal is due.
#[derive(Clone, Debug)]
pub struct Bell(Arc<Renewals>);

#[derive(Debug)]
struct Renewals {
    /// The soonest renewal, in seconds since 1970. It only ever falls, but for the renewer, which sets it back before
    /// it looks through what was stored: what is added meanwhile is either seen there or lowers it afterwards
    /// (`SeqCst`).
    soonest: AtomicU64,
    /// Set once, before the thread is woken to see it (`SeqCst`).
    stopping: AtomicBool,
    wake: Sender<()>,
    woken: Receiver<()>,
    /// The renewer while it has no thread; none before there is one, and once the peer ends.
    resting: Ranked<Option<Renewer>>,
}

/// Does what is due. Returns when something will be due again, if anything is known that ends.
type Renew = Box<dyn FnMut(&Handle) -> Option<UnixTime> + Send>;

/// What the thread works with.
struct Renewer {
    peer: Handle,
    renew: Renew,
}

impl Default for Bell {
    fn default() -> Self {
        let (wake, woken) = RENEWALS.open();
        let (soonest, stopping) = (AtomicU64::new(UnixTime::MAX), AtomicBool::new(false));
        let resting = Ranked::new(&locks::RENEWER, None);
        Self(Arc::new(Renewals { soonest, stopping, wake, woken, resting }))
    }
}

impl Bell {
    /// A renewal is due at `at`.
    pub fn ring(&self, at: UnixTime) {
        if self.0.soonest.fetch_min(at, Ordering::SeqCst) > at {
            // A full channel wakes it too.
            let _ = self.0.wake.try_send(());
            if let Err(error) = self.start() {
                // The next ring tries again.
                self.0.soonest.store(UnixTime::MAX, Ordering::SeqCst);
                log::warn!("leases are not renewed now: cannot start the thread that renews them: {error}");
            }
        }
    }

    /// Has the renewer renew leases by `renew`, from now on; what the bell was rung for before, too.
    pub(super) fn take(
        &self,
        peer: &Handle,
        renew: impl FnMut(&Handle) -> Option<UnixTime> + Send + 'static,
    ) -> io::Result<()> {
        *self.0.resting.lock() = Some(Renewer { peer: peer.clone(), renew: Box::new(renew) });
        if self.0.soonest.load(Ordering::SeqCst) == UnixTime::MAX { Ok(()) } else { self.start() }
    }

    /// Starts the thread, if the renewer rests.
    fn start(&self) -> io::Result<()> {
        let Some(peer) = self.0.resting.lock().as_ref().map(|renewer| renewer.peer.clone()) else { return Ok(()) };
        let bell = self.clone();
        let work = move || {
            // Another thread may have been as fast.
            let renewer = bell.0.resting.lock().take();
            if let Some(renewer) = renewer {
                renewer.run(&bell);
            }
        };
        peer.roster.spawn(Role::Renewer, work).map(|_| ())
    }

    /// Lets the renewer rest, unless something has come that ends; then it is given back.
    fn rest(&self, renewer: Renewer) -> Option<Renewer> {
        let mut resting = self.0.resting.lock();
        if self.0.stopping.load(Ordering::SeqCst) {
            return None;
        }
        if self.0.soonest.load(Ordering::SeqCst) < UnixTime::MAX {
            return Some(renewer);
        }
        *resting = Some(renewer);
        None
    }

    /// Tells the renewer to end, and lets go of the peer.
    pub(super) fn close(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        let _ = self.0.wake.try_send(());
        let resting = self.0.resting.lock().take();
        drop(resting);
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

impl Renewer {
    /// The thread's work: renews until the peer ends, or nothing is known that ends.
    fn run(mut self, bell: &Bell) {
        loop {
            fault::point(Role::Renewer);
            let since = since_1970().as_secs();
            bell.0.soonest.store(UnixTime::MAX, Ordering::SeqCst);
            if let Some(next) = (self.renew)(&self.peer) {
                bell.0.soonest.fetch_min(next, Ordering::SeqCst);
                if !bell.wait(since) {
                    return;
                }
            } else if let Some(renewer) = bell.rest(self) {
                self = renewer;
            } else {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{RecvTimeoutError, unbounded};

    use super::super::{LocalPeer, Options};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn the_renewer_has_a_thread_only_while_something_is_known_that_ends() {
        let mut peer = LocalPeer::start(Options::default()).expect("it starts");
        let roster = peer.handle.roster.clone();
        let threads = || roster.names().iter().filter(|name| *name == "renewer").count();
        let until_it_rests = || drop(roster.join(|role| role == Role::Renewer, None));
        let (bell, (looks, looked), (tell, told)) = (Bell::default(), unbounded(), unbounded());
        let renew = move |_: &Handle| {
            let _ = looks.send(());
            told.recv().ok().flatten()
        };
        peer.renew(&bell, renew).expect("nothing is started");
        assert_eq!(threads(), 0, "nothing is known that ends");
        for _ in 0..2 {
            bell.ring(UnixTime::MAX - 1);
            looked.recv_timeout(PATIENCE).expect("the bell starts it");
            // What is laid while it looks is not missed, though the look has not seen it.
            bell.ring(UnixTime::MAX - 2);
            tell.send(None).expect("it looks");
            looked.recv_timeout(PATIENCE).expect("it looks again");
            tell.send(Some(UnixTime::MAX - 2)).expect("it looks");
            bell.ring(0);
            looked.recv_timeout(PATIENCE).expect("it waited for that");
            assert_eq!(threads(), 1);
            tell.send(None).expect("it looks");
            until_it_rests();
        }
        bell.ring(0);
        looked.recv_timeout(PATIENCE).expect("the bell starts it");
        tell.send(Some(UnixTime::MAX - 1)).expect("it looks");
        drop(peer);
        assert_eq!(threads(), 0, "the peer has joined it");
        assert_eq!(looked.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected), "nothing is kept of it");
        bell.ring(0);
        assert_eq!(threads(), 0, "the peer has ended");
    }

    #[test]
    fn a_renewer_that_rests_ends_with_its_peer_and_one_that_comes_late_does_what_was_rung_for() {
        let mut peer = LocalPeer::start(Options::default()).expect("it starts");
        let (bell, (looks, looked)) = (Bell::default(), unbounded());
        bell.ring(0);
        peer.renew(&bell, move |_| looks.send(()).ok().and(None)).expect("the thread is started");
        looked.recv_timeout(PATIENCE).expect("it looks at once");
        drop(peer);
        assert_eq!(looked.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected), "nothing is kept of it");
    }
}
