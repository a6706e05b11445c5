//! Ending a job early: its worker may be waiting for a peer that sends nothing.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::Arc;

use super::failed;
use super::ledger::Ledger;
use crate::node::job::{JobError, JobErrorKind, JobId};

/// The jobs that are out.
#[derive(Default)]
pub(super) struct JobsOut {
    out: HashMap<JobId, JobOut>,
    /// The peer ends: no job waits for another peer.
    alone: bool,
}

#[derive(Default)]
struct JobOut {
    cancelled: bool,
    waiting_on: Option<Arc<TcpStream>>,
}

impl JobsOut {
    pub(super) fn begin(&mut self, job: JobId) {
        self.out.insert(job, JobOut::default());
    }

    /// The connection that it waited on, if it still did.
    pub(super) fn end(&mut self, job: JobId) -> Option<Arc<TcpStream>> {
        self.out.remove(&job)?.waiting_on
    }

    /// The connection that it waits on.
    pub(super) fn cancel(&mut self, job: JobId) -> Option<Arc<TcpStream>> {
        let out = self.out.get_mut(&job)?;
        out.cancelled = true;
        out.waiting_on.clone()
    }

    /// The connections that are waited on.
    pub(super) fn leave_all_alone(&mut self) -> Vec<Arc<TcpStream>> {
        self.alone = true;
        self.out.values().filter_map(|out| out.waiting_on.clone()).collect()
    }
}

/// What may end a job early.
#[derive(Clone)]
pub(super) struct Cancel {
    ledger: Arc<Ledger>,
    job: JobId,
}

impl Cancel {
    pub(super) fn new(ledger: Arc<Ledger>, job: JobId) -> Self {
        Self { ledger, job }
    }

    pub(super) const fn job(&self) -> JobId {
        self.job
    }

    /// An error once the job is cancelled.
    pub(super) fn check(&self) -> Result<(), JobError> {
        let cancelled = self.ledger.with(|books| books.jobs.out.get(&self.job).is_some_and(|out| out.cancelled));
        if cancelled { Err(failed(JobErrorKind::Cancelled, "no longer needed")) } else { Ok(()) }
    }

    /// From now on the job waits on `stream`, or on nothing. An error if it is not to wait for other peers.
    pub(super) fn wait_on(&self, stream: Option<Arc<TcpStream>>) -> Result<(), JobError> {
        let waits = stream.is_some();
        let (before, alone) = self.ledger.with(|books| {
            let out = books.jobs.out.get_mut(&self.job);
            (out.and_then(|out| std::mem::replace(&mut out.waiting_on, stream)), books.jobs.alone)
        });
        drop(before);
        if alone && waits {
            return Err(failed(JobErrorKind::Cancelled, "this peer is leaving the network"));
        }
        self.check()
    }

    #[cfg(test)]
    pub(super) fn waits_on_nothing(&self) -> bool {
        self.ledger.with(|books| books.jobs.out.get(&self.job).is_none_or(|out| out.waiting_on.is_none()))
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
        let (ledger, job) = (Arc::<Ledger>::default(), JobId::default());
        ledger.begin(job);
        ledger.leave_all_alone();
        let cancel = ledger.of(job);
        cancel.check().expect("it is not cancelled");
        cancel.wait_on(None).expect("it waits for nobody");
        let error = cancel.wait_on(Some(Arc::new(stream))).expect_err("it would wait for a peer");
        assert_eq!(error.kind, JobErrorKind::Cancelled);
    }
}
