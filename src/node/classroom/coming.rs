//! Requests for a file that is on its way here.
//!
//! A store is accepted before its file has arrived. Whoever requests the file meanwhile waits for it, but not for so long
//! that its question counts as lost: then it is told to ask again.

use std::time::Duration;

use super::super::context::Context;
use super::super::job::NamedJob;
use super::super::notice::{FailureKind, FileNews};
use super::super::recent::Recent;
use super::serve::respond;
use super::{Asker, Classroom, Step, order, tell};
use crate::time::Time;
use crate::wire::ring::{FileName, RingKind, RingResponse};

/// A request waits this long for a file on its way: less than its sender waits for any answer.
const WAIT: Duration = Duration::from_secs(2);

/// Whoever was told that its store is accepted begins to hand over the file within this time.
const HANDED: Duration = Duration::from_secs(5);

/// Files whose stores were accepted of late.
const ACCEPTED: usize = 1024;

/// What is awaited, and by whom.
pub(super) struct Coming {
    /// When the last store of each file was accepted.
    accepted: Recent<FileName, Time>,
    waiting: Vec<(Time, Asker, FileName)>,
}

impl Default for Coming {
    fn default() -> Self {
        Self { accepted: Recent::new(ACCEPTED), waiting: Vec::new() }
    }
}

impl Coming {
    pub(super) fn on_accepted(&mut self, now: Time, file: FileName) {
        self.accepted.insert(file, now);
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        self.waiting.iter().map(|(until, ..)| *until).min()
    }

    /// Those who wait and shall wait no longer, with until when they would have.
    fn take_where(&mut self, over: impl Fn(Time, FileName) -> bool) -> Vec<(Time, Asker, FileName)> {
        let (over, waiting) = self.waiting.drain(..).partition(|(until, _, file)| over(*until, *file));
        self.waiting = waiting;
        over
    }
}

impl Classroom {
    /// A requested file is not here. Whether it is on its way, so that whoever asks for it waits, or is told to come
    /// again; `until` is how long it may wait, if it has waited before.
    pub(super) fn keeps_waiting(
        &mut self,
        cx: &mut Context,
        asker: Asker,
        file: FileName,
        until: Option<Time>,
    ) -> bool {
        let handed = |at: &Time| cx.now.since(*at) < HANDED;
        let coming = match self.taking.get(&file) {
            Some(taking) => !taking.placing,
            None => self.coming.accepted.get(&file).is_some_and(handed),
        };
        if !coming || cx.departing {
            return false;
        }
        let until = until.unwrap_or(cx.now + WAIT);
        if cx.now < until {
            self.coming.waiting.push((until, asker, file));
            return true;
        }
        tell(cx, file, FileNews::NotHere);
        let reason = "it is still on its way to the peer responsible; request it again".to_owned();
        match asker {
            Asker::Other { origin, magic } => {
                self.looking -= 1;
                // Asked once more under the same name, it is looked for anew.
                self.questions.remove(&(origin.id, magic));
                respond(cx, origin.addr, magic, RingResponse::Refused { of: RingKind::Request, reason });
            }
            Asker::Own(own) => cx.fail(own.command, FailureKind::Other, format!("file {file}: {reason}")),
        }
        true
    }

    /// A file has come, or will not: those who wait for it look again.
    pub(super) fn on_come(&mut self, cx: &mut Context, file: FileName) {
        self.look_again(cx, |_, awaited| awaited == file);
    }

    /// Those who have waited long enough look for the last time.
    pub(super) fn end_waits(&mut self, cx: &mut Context) {
        let now = cx.now;
        self.look_again(cx, |until, _| until <= now);
    }

    fn look_again(&mut self, cx: &mut Context, over: impl Fn(Time, FileName) -> bool) {
        for (until, asker, file) in self.coming.take_where(over) {
            order(cx, NamedJob::Find { file }, Step::Look { asker, file, until: Some(until) });
        }
    }
}
