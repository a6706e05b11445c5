//! Threads that are always joined.
//!
//! A thread that nobody joins outlives what it works on, and its panic is lost. Here every thread is spawned through a
//! [`Roster`], which knows the names of those that run, and yields a [`Worker`], which joins on drop and passes a panic
//! on. The exceptions of the program are a console stuck in `read` and the one that writes to standard error, stuck there;
//! they live in `console/`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

/// The names of the threads that run.
///
/// *Protects*: number and name of each. *Held for*: one insertion, removal or copy. *Never held while*: anything else is
/// done.
#[derive(Clone, Default)]
pub(super) struct Roster(Arc<Mutex<Names>>);

#[derive(Default)]
struct Names {
    running: BTreeMap<u64, String>,
    next: u64,
}

impl Roster {
    /// Runs `work` on a thread of its own. `name` is at most 15 bytes long: the system shows no more.
    pub(super) fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Worker> {
        debug_assert!(name.len() <= 15, "{name} is too long for a thread");
        let place = self.enter(name);
        let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _place = place;
            work();
        })?;
        Ok(Worker(Some(handle)))
    }

    /// Notes a thread that was started elsewhere, as long as what is returned lives.
    pub(super) fn enter(&self, name: &str) -> Place {
        let mut names = self.0.lock();
        let number = names.next;
        names.next += 1;
        names.running.insert(number, name.to_owned());
        Place { roster: self.clone(), number }
    }

    /// The names of those that run now, oldest first.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().running.values().cloned().collect()
    }
}

/// A place in the roster; given up on drop.
pub(super) struct Place {
    roster: Roster,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.roster.0.lock().running.remove(&self.number);
    }
}

/// A running thread. Dropping it waits for its end.
pub(super) struct Worker(Option<JoinHandle<()>>);

impl Worker {
    /// Whether the thread has ended, so that dropping this does not wait.
    pub(super) fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take()
            && let Err(panic) = handle.join()
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
