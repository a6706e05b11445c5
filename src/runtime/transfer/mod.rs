//! `transfer-N`: the workers that do what blocks, disks and TCP, so that the node never does.
//!
//! The node orders a [`Job`]; an idle worker takes it, or a new one is started (never more than
//! [`MAX_JOBS`](crate::config::MAX_JOBS), as the node has never more jobs out); its [`Outcome`] goes back as an event.
//! A worker that has had nothing to do for a while ends, so an idle peer has none.

mod blocks;
mod buffer;
mod cancel;
mod connections;
mod files_in;
mod files_out;
mod ledger;
mod manifests;
mod named;
mod place;

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

pub(super) use connections::Connections;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
pub(super) use ledger::{Ledger, OthersPulls};
pub(crate) use manifests::read_manifest;
pub(crate) use place::{is_ours_alone, put_whole, temporary_names};

use self::buffer::{Buffer, cuts};
use self::cancel::Cancel;
use self::files_in::ReadingFiles;
use self::files_out::{AtDest, Writing};
use self::manifests::listed;
use super::channels::{Gauged, JOBS};
use super::look;
use super::post::Post;
use super::seldom::Seldom;
use super::threads::{Roster, Worker, message};
use super::{Role, Shared, fault};
use crate::gauges;
use crate::id::Key;
use crate::lease::{Lease, Note};
use crate::node::job::{Job, JobError, JobErrorKind, JobId, Outcome, PutId};
use crate::store::{StoreError, StoreErrorKind, is_shortage, remedy};

/// A worker without work ends after this long, and a connection that no thread uses is closed.
const IDLE: Duration = Duration::from_secs(5);

/// A job on its way to a worker.
pub(super) struct Assignment {
    pub(super) job: JobId,
    pub(super) work: Job,
}

/// The workers.
pub(super) struct Pool {
    orders: Sender<Assignment>,
    inbox: Receiver<Assignment>,
    /// Workers that wait, less orders that wait: below zero, more workers are needed. Each change reads and writes this
    /// one number in one step, so all threads see the changes in one order (`SeqCst` only says so plainly: orders
    /// themselves go through the channel).
    idle: Arc<AtomicIsize>,
    workers: Vec<Worker>,
    roster: Roster,
    bench: Arc<Workbench>,
    next: u64,
    /// That no further worker could be started.
    short: Seldom,
}

impl Pool {
    pub(super) fn new(shared: Arc<Shared>, events: Post, roster: Roster) -> Self {
        let (orders, inbox) = JOBS.open();
        let bench = Arc::new(Workbench { shared, events });
        Self {
            orders,
            inbox,
            idle: Arc::default(),
            workers: Vec::new(),
            roster,
            bench,
            next: 0,
            short: Seldom::default(),
        }
    }

    /// Gives a job to a worker, or says why there is none for it. The node has no more jobs out than the channel has
    /// room for, so this does not wait.
    pub(super) fn start(&mut self, order: Assignment) -> Result<(), (JobId, JobError)> {
        self.bench.shared.ledger.begin(order.job);
        if let Err(refused) = self.orders.try_send(order) {
            return Err(self.refuse(refused.into_inner(), "more is going on at once than this peer allows".to_owned()));
        }
        Gauged::Jobs.note(self.orders.len());
        if self.idle.fetch_sub(1, Ordering::SeqCst) <= 0
            && let Err(error) = self.hire()
        {
            if self.workers.is_empty()
                && let Ok(order) = self.inbox.try_recv()
            {
                self.idle.fetch_add(1, Ordering::SeqCst);
                return Err(self.refuse(order, format!("the system starts no thread for it: {error}")));
            }
            let level = self.short.level(self.bench.shared.clock.now());
            log::log!(level, "no further transfer worker can be started ({error}); those there are go on");
        }
        Ok(())
    }

    fn refuse(&self, order: Assignment, reason: String) -> (JobId, JobError) {
        self.bench.shared.ledger.end(order.job);
        (order.job, failed(JobErrorKind::Io, reason))
    }

    fn hire(&mut self) -> io::Result<()> {
        self.workers.retain(|worker| !worker.is_finished());
        self.next += 1;
        let (inbox, idle, bench) = (self.inbox.clone(), Arc::clone(&self.idle), Arc::clone(&self.bench));
        self.workers.push(self.roster.spawn_another(Role::Transfer, self.next, move || bench.work(&inbox, &idle))?);
        self.idle.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Nothing more will be asked of the file `put` stores.
    pub(super) fn forget_put(&self, put: PutId) {
        self.bench.shared.ledger.forget_put(put);
    }

    /// Nothing more will be asked of the file `get` writes.
    pub(super) fn forget_get(&self, get: u64) {
        self.bench.shared.ledger.forget_get(get);
    }

    /// The workers finish what they have, without waiting for other peers, and end.
    pub(super) fn close(self) {
        self.bench.shared.ledger.leave_all_alone();
    }
}

/// What the workers share.
struct Workbench {
    shared: Arc<Shared>,
    events: Post,
}

impl Workbench {
    fn work(&self, inbox: &Receiver<Assignment>, idle: &AtomicIsize) {
        let mut buffer = Buffer::default();
        loop {
            let order = next_order(inbox, idle);
            // Connections are kept no longer than a worker without work, so the last worker to end closes the last one.
            let begin = self.shared.clock.gauged(gauges::since());
            self.shared.connections.close_stale(begin);
            let Some(Assignment { job, work }) = order else { return };
            let cancel = self.shared.ledger.of(job);
            Gauged::Jobs.note(inbox.len());
            gauges::name(look::at(&work));
            let work = || self.perform(work, &cancel, &mut buffer).unwrap_or_else(Outcome::Failed);
            let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| failed_by_fault(&*panic));
            self.shared.ledger.end(job);
            // Counted before the node knows, or its next order would start a worker for nothing.
            idle.fetch_add(1, Ordering::SeqCst);
            if self.events.done(job, outcome, begin).is_err() {
                return;
            }
        }
    }

    /// Where the names of the peers to join through lead by now. The system may wait long for its name server.
    fn resolve(&self) -> Result<Outcome, JobError> {
        let no_names = || failed(JobErrorKind::NotFound, "the peers to join through have no names");
        let resolve = self.shared.resolve.as_ref().ok_or_else(no_names)?;
        let (known, hosts) = resolve.0().map_err(|reason| failed(JobErrorKind::NotFound, reason))?;
        Ok(Outcome::Resolved { known, hosts })
    }

    fn perform(&self, work: Job, cancel: &Cancel, buffer: &mut Buffer) -> Result<Outcome, JobError> {
        cancel.check()?;
        let shared = &*self.shared;
        let (reading, writing) = (ReadingFiles(&shared.ledger), Writing(&shared.ledger));
        match work {
            Job::ReadNext { put, path, manifest } => {
                fault::point(Role::Transfer);
                reading.next(put, &path, manifest.as_ref(), cancel, buffer.piece()?)
            }
            Job::Pack { put, manifest } => {
                let bytes: Arc<[u8]> = manifest.encode().into();
                let (key, size) = (Key::of(&bytes), bytes.len() as u32);
                shared.ledger.lend_unless(cancel, put, key, bytes)?;
                Ok(Outcome::Packed { key, size })
            }
            Job::Keep { key, leases } => self.keep(&key, &laid(key, leases), buffer.piece()?),
            Job::Publish { put } => reading.publish(put),
            Job::Pull { key, size, from, leases } => {
                self.pull((&key, size), &laid(key, leases), from, cancel, buffer.piece()?)
            }
            Job::Open { get, dest, root, size, compare, replace, only } => {
                let opened = writing.open_unless(cancel, get, (&dest, &root, size), AtDest { compare, replace })?;
                self.write_only(get, only, opened, buffer)
            }
            Job::Check { get, slot } => writing.check(get, &slot, buffer.piece()?),
            Job::Fetch { get, slot, from } => {
                let size = self.bring(&slot.key, Some(slot.size), from, cancel, buffer)?;
                writing.put(get, &slot, buffer.pieces(size))
            }
            Job::Unpack { key, from, root_of } => self.unpack(key, from, root_of, cancel, buffer),
            Job::ReadBack { key, from } => self.read_back(&key, from, cancel, buffer),
            Job::Dial { to } => self.dial(to, cancel),
            Job::Finish { get, sha256 } => writing.finish(get, sha256),
            Job::ReadManifest { path } => read_manifest(&path).map(listed),
            Job::Verify { key, leases } => self.verify(&key, &laid(key, leases)),
            Job::Rehash { key } => {
                let size = shared.store.rehash(&key).map_err(|error| self.own_damage(&key, error))?;
                Ok(Outcome::Sound { size })
            }
            Job::Sample { key, magic, by } => self.sample(&key, magic, &by, buffer.piece()?),
            Job::Lend { put, key, from } => self.lend(put, key, from, cancel, buffer),
            Job::Note { notes } => {
                shared.store.note(&notes, true)?;
                Ok(Outcome::Done)
            }
            Job::Delete { key } => {
                shared.store.delete(&key)?;
                Ok(Outcome::Done)
            }
            Job::Resolve => self.resolve(),
            Job::Named(job) => self.named(job, cancel, buffer.piece()?).map(Outcome::Named),
            Job::SavePeers { peers } => {
                shared.store.save_peers(&peers)?;
                Ok(Outcome::Done)
            }
        }
    }
}

/// Waits for an order; none once there is nothing to do any more.
fn next_order(inbox: &Receiver<Assignment>, idle: &AtomicIsize) -> Option<Assignment> {
    loop {
        match gauges::wait(|| inbox.recv_timeout(IDLE)) {
            Ok(order) => return Some(order),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                // A worker may go only if no order that waits relies on it.
                let spare = |waiting| (waiting > 0).then_some(waiting - 1);
                if idle.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spare).is_ok() {
                    return None;
                }
            }
        }
    }
}

/// The line about a block's leases, if it has any.
fn laid(key: Key, leases: Vec<Lease>) -> Vec<Note> {
    let note = (!leases.is_empty()).then_some(Note::Laid { key, leases });
    note.into_iter().collect()
}

fn failed(kind: JobErrorKind, reason: impl Into<String>) -> JobError {
    JobError { kind, reason: reason.into() }
}

fn changed(path: &Path) -> JobError {
    let reason = format!("'{}' changed while it was being stored; store it again", path.display());
    failed(JobErrorKind::Corrupt, reason)
}

/// A job that panicked: only that one fails, and its worker goes on.
fn failed_by_fault(panic: &(dyn Any + Send)) -> Outcome {
    let reason = format!("by a fault of kadring, which failed at its work here: {}", message(panic));
    log::error!("a job was not done {reason}");
    Outcome::Failed(failed(JobErrorKind::Io, format!("it was not done {reason}")))
}

/// An error of the local system, met in trying to do `what`.
fn io_failed(what: &str, error: &io::Error) -> JobError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => JobErrorKind::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JobErrorKind::Full,
        _ if is_shortage(error) => JobErrorKind::Busy,
        _ => JobErrorKind::Io,
    };
    failed(kind, format!("cannot {what}: {error}{}", remedy(error)))
}

/// A file of the user's choice cannot be written. That its folder is missing is no file that was looked for and not
/// found.
fn cannot_write(path: &Path, error: &io::Error) -> JobError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            failed(JobErrorKind::Io, format!("cannot write '{}': its folder is not there", path.display()))
        }
        _ => io_failed(&format!("write '{}'", path.display()), error),
    }
}

/// The folder that the file `path` lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            StoreErrorKind::NotFound => JobErrorKind::NotFound,
            StoreErrorKind::Damaged | StoreErrorKind::Corrupt => JobErrorKind::Corrupt,
            StoreErrorKind::Full => JobErrorKind::Full,
            StoreErrorKind::Busy => JobErrorKind::Busy,
            _ => JobErrorKind::Io,
        };
        failed(kind, error.to_string())
    }
}
