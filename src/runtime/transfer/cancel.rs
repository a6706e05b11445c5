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
    /// The peer ends: this job waits for no other peer.
    alone: bool,
    waiting_on: Option<Arc<TcpStream>>,
}

impl Cancel {
    /// An error once the job is cancelled.
    pub(super) fn check(&self) -> Result<(), JobError> {
        if self.0.lock().cancelled { Err(failed(JobErrorKind::Cancelled, "no longer needed")) } else { Ok(()) }
    }

    /// From now on the job waits on `stream`, or on nothing. An error if it is not to wait for other peers.
    pub(super) fn wait_on(&self, stream: Option<Arc<TcpStream>>) -> Result<(), JobError> {
        let mut state = self.0.lock();
        state.waiting_on = stream;
        if state.alone && state.waiting_on.is_some() {
            return Err(failed(JobErrorKind::Cancelled, "this peer is leaving the network"));
        }
        drop(state);
        self.check()
    }

    #[cfg(test)]
    pub(super) fn waits_on_nothing(&self) -> bool {
        self.0.lock().waiting_on.is_none()
    }

    /// Ends the waiting for another peer.
    pub(super) fn leave_alone(&self) {
        let mut state = self.0.lock();
        state.alone = true;
        if let Some(stream) = &state.waiting_on {
            let _ = stream.shutdown(Shutdown::Both);
        }
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

    /// Ends whatever waits for another peer, or would. What is done here alone is done to its end.
    pub(super) fn leave_all_alone(&self) {
        for cancel in self.0.lock().values() {
            cancel.leave_alone();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_job_that_has_yet_to_begin_when_the_peer_ends_waits_for_no_other_peer_and_does_what_is_done_here() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (cancels, job) = (Cancels::default(), JobId::default());
        cancels.begin(job);
        cancels.leave_all_alone();
        let cancel = cancels.of(job);
        cancel.check().expect("it is not cancelled");
        cancel.wait_on(None).expect("it waits for nobody");
        let error = cancel.wait_on(Some(Arc::new(stream))).expect_err("it would wait for a peer");
        assert_eq!(error.kind, JobErrorKind::Cancelled);
    }
}
