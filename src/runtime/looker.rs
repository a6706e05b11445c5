//! `looker-N`: looks at files now and then, for nobody to wait for. A file system that hangs keeps only its looker.
//!
//! A look has a thread of its own while it lasts. The [sweeper](super::sweeper) starts it when it is due, unless the
//! last one has yet to end.

use std::sync::Arc;
use std::time::Duration;

use super::secrecy::{Keyring, LOOK};
use super::threads::{Roster, Worker};
use super::{Role, Shared, fault, since_1970};
use crate::time::Time;

/// It is noted this often that the peer runs, so that the next start knows for how long it did not.
const NOTE: Duration = Duration::from_secs(600);

/// The looks of a peer.
pub(super) struct Lookers {
    looks: Vec<TimedLook>,
    roster: Roster,
    started: u64,
}

/// Something that is done now and then.
struct TimedLook {
    every: Duration,
    next: Time,
    work: Arc<dyn Fn() + Send + Sync>,
    last: Option<Worker>,
}

impl Lookers {
    /// None.
    pub(super) fn new(roster: Roster) -> Self {
        Self { looks: Vec::new(), roster, started: 0 }
    }

    /// At the file of the network keys, if there is one, and at the store, where it is noted that the peer runs.
    pub(super) fn of(shared: &Arc<Shared>, roster: Roster) -> Self {
        let (mut lookers, now) = (Self::new(roster), shared.clock.now());
        if let Some(keys) = shared.keys.clone().filter(|keys| keys.is_watched()) {
            lookers.add(LOOK, now + LOOK, move || Keyring::look(&keys));
        }
        let shared = Arc::clone(shared);
        lookers.add(NOTE, now, move || shared.store.runs(since_1970()));
        lookers
    }

    /// Adds one: `work`, first at `next`, and then every so often.
    pub(super) fn add(&mut self, every: Duration, next: Time, work: impl Fn() + Send + Sync + 'static) {
        self.looks.push(TimedLook { every, next, work: Arc::new(work), last: None });
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.looks.iter().map(|look| look.next).min()
    }

    /// Starts the looks that are due.
    pub(super) fn start(&mut self, now: Time) {
        for look in self.looks.iter_mut().filter(|look| look.next <= now) {
            look.next = now + look.every;
            if look.last.as_ref().is_some_and(|last| !last.is_finished()) {
                continue;
            }
            self.started += 1;
            let work = Arc::clone(&look.work);
            let work = move || {
                fault::point(Role::Looker);
                work();
            };
            // Where the system starts no thread now, it may for the next look.
            look.last = self.roster.spawn_another(Role::Looker, self.started, work).ok();
        }
    }
}
