//! Threads that are always known, and joined at the end.
//!
//! A thread that is never joined outlives what it works on, and its panic is lost. Here every thread is spawned through
//! a [`Roster`], which knows those that run, joins those that have ended, and decides what a panic means: an essential
//! [`Role`] ends the peer, any other loses what it was at. At the end threads are waited for here, with a limit: one
//! that is stuck in a call that never returns is named and left behind. The exceptions are a console, which may be
//! stuck in a `read` of standard input, and the program's writer to standard error (`console/stderr.rs`): no thread
//! waits for the one, and for the other not long. A survey is no peer; its threads end with the scope that began them.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::Sender;
use parking_lot::Condvar;

use super::{Ended, Role, look};
use crate::id::Id;
use crate::locks::{self, Ranked};

/// Whose fault it is that a thread failed: some run what a program that has the peer gave to it.
fn whose(role: Role) -> &'static str {
    match role {
        Role::Node | Role::Events | Role::Console | Role::Command | Role::Renewer | Role::Looker | Role::Client => {
            "a fault of kadring, or of what the program has it call"
        }
        _ => "a fault of kadring",
    }
}

/// The threads of a peer.
#[derive(Clone)]
pub(super) struct Roster(Arc<RosterState>);

struct RosterState {
    threads: Ranked<Threads>,
    /// Tells that a thread has ended.
    ended: Condvar,
    /// Tells this peer's threads from those of others in the process, and by its first digits from those of other
    /// processes.
    number: u64,
    /// Tells the node to leave at once.
    leave: Sender<()>,
}

#[derive(Default)]
struct Threads {
    running: BTreeMap<u64, RunningThread>,
    /// Those that have ended and are yet to be joined, which takes no time.
    ended: Vec<JoinHandle<()>>,
    next: u64,
    /// How the peer ends, as far as is known.
    end: Ended,
}

struct RunningThread {
    role: Role,
    name: String,
    /// None for the moment between the thread's first step and the return of the call that started it.
    handle: Option<JoinHandle<()>>,
}

/// Peers that this process has had.
static PEERS: AtomicU32 = AtomicU32::new(0);

impl Roster {
    /// Of the peer `id`, without threads yet. Where one fails without which the peer cannot be, `leave` tells it to the
    /// node.
    pub(super) fn new(id: &Id, leave: Sender<()>) -> Self {
        Self(Arc::new(RosterState {
            threads: Ranked::new(&locks::ROSTER, Threads::default()),
            ended: Condvar::new(),
            // Nothing else is read on its word (`Relaxed`).
            number: look::number(id, PEERS.fetch_add(1, Ordering::Relaxed) + 1),
            leave,
        }))
    }

    /// Runs `work` on a thread of its own, the only one of its role.
    pub(super) fn spawn(&self, role: Role, work: impl FnOnce() + Send + 'static) -> io::Result<Worker> {
        self.start(role, role.name().to_owned(), work)
    }

    /// Runs `work` on a thread of its own, the `number`th of its role.
    pub(super) fn spawn_another(
        &self,
        role: Role,
        number: u64,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Worker> {
        self.start(role, format!("{}-{}", role.name(), number % 10_000), work)
    }

    fn start(&self, role: Role, name: String, work: impl FnOnce() + Send + 'static) -> io::Result<Worker> {
        debug_assert!(name.len() <= 15, "the system shows no more of {name}");
        let number = self.enter(role, name.clone());
        let finished = Arc::new(AtomicBool::new(false));
        let place = RosterPlace { roster: self.clone(), number, finished: Arc::clone(&finished) };
        let of_thread = name.clone();
        let handle = thread::Builder::new().name(name).spawn(move || {
            let place = place;
            let _gauge = look::enter(place.roster.number(), &of_thread);
            place.roster.guard(role, &of_thread, work);
        })?;
        let mut threads = self.0.threads.lock();
        match threads.running.get_mut(&number) {
            Some(running) => running.handle = Some(handle),
            None => threads.ended.push(handle),
        }
        let ended = std::mem::take(&mut threads.ended);
        drop(threads);
        join(ended);
        Ok(Worker(finished))
    }

    fn enter(&self, role: Role, name: String) -> u64 {
        let mut threads = self.0.threads.lock();
        let number = threads.next;
        threads.next += 1;
        threads.running.insert(number, RunningThread { role, name, handle: None });
        number
    }

    /// Does `work` on the thread `name` of a role. Here it is decided what a panic means.
    pub(super) fn guard(&self, role: Role, name: &str, work: impl FnOnce()) {
        // What the panic left half-done is dropped, or belongs to a peer that ends.
        let Err(panic) = catch_unwind(AssertUnwindSafe(work)) else { return };
        let reason = message(&*panic);
        if !role.is_essential() {
            return log::error!("the thread {name} failed: {reason}; this is {}; the peer goes on", whose(role));
        }
        log::error!("the thread {name} failed: {reason}; this is {}; the peer ends", whose(role));
        let mut threads = self.0.threads.lock();
        if threads.end == Ended::Left {
            threads.end = Ended::Failed { thread: name.to_owned(), reason };
        }
        drop(threads);
        self.leave();
    }

    /// Tells the node to leave at once.
    pub(super) fn leave(&self) {
        // A full channel tells the same.
        let _ = self.0.leave.try_send(());
    }

    /// How the peer ended, once it has: the first failure counts.
    pub(super) fn end(&self) -> Ended {
        self.0.threads.lock().end.clone()
    }

    /// The number by which the gauges know this peer's threads.
    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    /// The names of those that run now, oldest first.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.threads.lock().running.values().map(|running| running.name.clone()).collect()
    }

    /// Waits until no thread runs of the roles that are `meant`, and joins them. Returns the names of those that still
    /// run at the deadline.
    pub(super) fn join(&self, meant: impl Fn(Role) -> bool, deadline: Option<Instant>) -> Vec<String> {
        let mut threads = self.0.threads.lock();
        let runs = |threads: &mut Threads| threads.running.values().any(|running| meant(running.role));
        match deadline {
            Some(deadline) => {
                threads.wait(|threads| self.0.ended.wait_while_until(threads, runs, deadline));
            }
            None => threads.wait(|threads| self.0.ended.wait_while(threads, runs)),
        }
        let ended = std::mem::take(&mut threads.ended);
        let left = threads.running.values().filter(|running| meant(running.role));
        let left = left.map(|running| running.name.clone()).collect();
        drop(threads);
        join(ended);
        left
    }
}

/// Joins threads that have ended; their panics were caught.
fn join(ended: Vec<JoinHandle<()>>) {
    for handle in ended {
        // The last owner of a peer may be one of its own threads, which cannot wait for itself.
        if handle.thread().id() != thread::current().id() {
            let _ = handle.join();
        }
    }
}

/// What a panic says.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it did not say why".to_owned())
}

/// A thread's place in the roster; given up on drop, as the last thing that the thread does.
struct RosterPlace {
    roster: Roster,
    number: u64,
    finished: Arc<AtomicBool>,
}

impl Drop for RosterPlace {
    fn drop(&mut self) {
        self.finished.store(true, Ordering::Release);
        let mut threads = self.roster.0.threads.lock();
        let handle = threads.running.remove(&self.number).and_then(|running| running.handle);
        threads.ended.extend(handle);
        drop(threads);
        self.roster.0.ended.notify_all();
    }
}

/// A thread that was started. A thread that sees that it has ended sees what it did before (`Release`, `Acquire`).
pub(super) struct Worker(Arc<AtomicBool>);

impl Worker {
    /// Whether the thread has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
