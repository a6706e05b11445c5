//! Ending a job early: its worker may be waiting for a peer that sends nothing.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;

use super::failed;
use crate::node::job::{JobError, JobErrorKind, JobId};

/// What may end a job early.
///
/// *Protects*: whether the job is cancelled, and the connection it waits on. *Held for*: a look or a shutdown of that
/// connection. *Never held while*: waiting.
#[derive(Clone, Default)]
pub(super) struct Cancel(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cancelled: bool,
    waiting_on: Option<Arc<TcpStream>>,
}

impl Cancel {
    /// An error once the job is cancelled.
    pub(super) fn check(&self) -> Result<(), JobError> {
        if self.0.lock().cancelled { Err(failed(JobErrorKind::Cancelled, "no longer needed")) } else { Ok(()) }
    }

    /// From now on the job waits on `stream`, or on nothing.
    pub(super) fn wait_on(&self, stream: Option<Arc<TcpStream>>) -> Result<(), JobError> {
        self.0.lock().waiting_on = stream;
        self.check()
    }

    fn cancel(&self) {
        let mut state = self.0.lock();
        state.cancelled = true;
        if let Some(stream) = &state.waiting_on {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The jobs that are out.
///
/// *Protects*: which jobs can be cancelled. *Held for*: one insertion, removal or look. *Never held while*: waiting.
#[derive(Default)]
pub(crate) struct Cancels(Mutex<HashMap<JobId, Cancel>>);

impl Cancels {
    pub(super) fn begin(&self, job: JobId) {
        self.0.lock().insert(job, Cancel::default());
    }

    pub(super) fn of(&self, job: JobId) -> Cancel {
        self.0.lock().get(&job).cloned().unwrap_or_default()
    }

    pub(super) fn end(&self, job: JobId) {
        self.0.lock().remove(&job);
    }

    /// Ends this job as soon as its worker notices.
    pub(crate) fn cancel(&self, job: JobId) {
        self.of(job).cancel();
    }

    /// Ends whatever waits for another peer.
    pub(super) fn cancel_all(&self) {
        for cancel in self.0.lock().values() {
            let state = cancel.0.lock();
            if let Some(stream) = &state.waiting_on {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}
