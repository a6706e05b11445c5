//! Requests for a file that is on its way here.
//!
//! A store is accepted before its file has arrived. A peer that requests the file meanwhile waits for it, but not for
//! so long that its question counts as lost: then it is told to ask again.

use std::time::Duration;

use super::file::TransferPhase;
use super::serve::respond;
use super::{Classroom, JobFor, Requester, tell};
use crate::name::FileName;
use crate::node::desk::Desk;
use crate::node::job::NamedJob;
use crate::node::notice::{FailureKind, FileNews};
use crate::time::Time;
use crate::wire::ring::{RingKind, RingResponse};

/// A request waits this long for a file on its way: less than its sender waits for any answer.
const WAIT: Duration = Duration::from_secs(2);

/// A peer that was told that its store is accepted begins to hand over the file within this time.
const HANDED: Duration = Duration::from_secs(5);

/// The requests that wait for files on their way here.
#[derive(Default)]
pub(super) struct WaitingRequests(Vec<RequestWait>);

/// A request that waits.
struct RequestWait {
    until: Time,
    requester: Requester,
    file: FileName,
}

impl WaitingRequests {
    pub(super) fn next_wake(&self) -> Option<Time> {
        self.0.iter().map(|wait| wait.until).min()
    }
}

impl Classroom {
    /// A requested file is not here. Whether it is on its way, so that the requester waits, or is told to come again;
    /// `until` is how long it may wait, if it has waited before.
    pub(super) fn keeps_waiting(
        &mut self,
        desk: &mut Desk,
        requester: Requester,
        file: FileName,
        until: Option<Time>,
    ) -> bool {
        let handed = |at: &Time| desk.now().since(*at) < HANDED;
        let state = self.file(file);
        let coming = match state.phase() {
            TransferPhase::Idle => state.accepted.as_ref().is_some_and(handed),
            TransferPhase::Arriving => true,
            TransferPhase::Replicating => false,
        };
        if !coming || desk.is_leaving() {
            return false;
        }
        let until = until.unwrap_or(desk.now() + WAIT);
        if desk.now() < until {
            self.coming.0.push(RequestWait { until, requester, file });
            return true;
        }
        tell(desk, file, FileNews::NotHere);
        let reason = "it is still on its way to the peer responsible; request it again".to_owned();
        match requester {
            Requester::Other { origin, magic } => {
                self.looking -= 1;
                // Asked once more under the same name, it is looked for anew.
                self.questions.remove(&(origin.id, magic));
                respond(desk, origin.addr, magic, RingResponse::Refused { of: RingKind::Request, reason });
            }
            Requester::Own(own) => desk.fail(own.command, FailureKind::Other, format!("file {file}: {reason}")),
        }
        true
    }

    /// A file has come, or will not: those who wait for it look again.
    pub(super) fn end_waits_for(&mut self, desk: &mut Desk, file: FileName) {
        self.look_again(desk, |wait| wait.file == file);
    }

    /// Those who have waited long enough look for the last time.
    pub(super) fn end_waits(&mut self, desk: &mut Desk) {
        let now = desk.now();
        self.look_again(desk, |wait| wait.until <= now);
    }

    fn look_again(&mut self, desk: &mut Desk, over: impl Fn(&RequestWait) -> bool) {
        let (over, waiting) = std::mem::take(&mut self.coming.0).into_iter().partition(over);
        self.coming.0 = waiting;
        let over: Vec<RequestWait> = over;
        for RequestWait { until, requester, file } in over {
            self.order(desk, NamedJob::Find { file }, JobFor::Look { requester, file, until: Some(until) });
        }
    }
}
