//! The work that is out with the transfer workers, and what waits for its turn.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::action::{Action, Outbox};
use super::job::{Job, JobId, Urgency};
use super::ticket::Ticket;
use crate::config::{FLOW_LASTS, HEDGE_MIN, MAX_JOBS};
use crate::time::Time;

/// Jobs out and jobs queued, each with the ticket that it was ordered under.
///
/// Two queues: what a user waits for goes before what other peers asked for, so that a busy holder still serves the
/// person at its console. Either takes at most all places but [`RESERVED`](Self::RESERVED): others' blocks always move,
/// and however slowly they come, the person at the console is not kept waiting.
#[derive(Default)]
pub(crate) struct Jobs {
    next: JobId,
    out: BTreeMap<JobId, RunningJob>,
    own: VecDeque<(JobId, Job, Ticket)>,
    others: VecDeque<(JobId, Job, Ticket)>,
    own_out: usize,
}

struct RunningJob {
    ticket: Ticket,
    urgency: Urgency,
    flow: Option<ByteFlow>,
}

/// What comes sooner tells little about a rate: a way holds some bytes in store.
const SHOWS_AFTER: Duration = HEDGE_MIN;

/// How the bytes of a block come for a job: how many had come when it was told of first, and last.
#[derive(Clone, Copy)]
pub(crate) struct ByteFlow {
    pub(crate) first: (Time, u32),
    pub(crate) last: (Time, u32),
}

impl ByteFlow {
    /// Bytes a second that came since the first; none before that shows.
    pub(crate) fn rate(&self) -> Option<u64> {
        let took = self.last.0.since(self.first.0);
        let came = u64::from(self.last.1.saturating_sub(self.first.1));
        (took >= SHOWS_AFTER).then(|| came * 1000 / took.as_millis().max(1) as u64)
    }

    /// How long so many bytes take at that rate.
    pub(crate) fn takes(&self, bytes: u32) -> Option<Duration> {
        self.rate().map(|rate| Duration::from_millis((u64::from(bytes) * 1000).checked_div(rate).unwrap_or(u64::MAX)))
    }

    /// How long the rest of a block of so many bytes takes at that rate.
    pub(crate) fn left(&self, size: u32) -> Option<Duration> {
        self.takes(size.saturating_sub(self.last.1))
    }
}

impl Jobs {
    /// Places that are kept free for other peers' blocks, and as many for the user.
    const RESERVED: usize = MAX_JOBS / 4;

    pub(super) fn order(&mut self, work: Job, ticket: Ticket, urgency: Urgency, out: &mut Outbox) -> JobId {
        let job = self.next;
        self.next += 1;
        match urgency {
            Urgency::Own => self.own.push_back((job, work, ticket)),
            Urgency::Others => self.others.push_back((job, work, ticket)),
        }
        self.start(out);
        job
    }

    /// The job's outcome is here: what it was ordered under. None for a job that was never out.
    pub(super) fn done(&mut self, job: JobId, out: &mut Outbox) -> Option<Ticket> {
        let running = self.out.remove(&job)?;
        self.own_out -= usize::from(running.urgency == Urgency::Own);
        self.start(out);
        Some(running.ticket)
    }

    /// Ends a job early. Returns its ticket if it had not begun; else its outcome comes as always.
    pub(super) fn cancel(&mut self, job: JobId, out: &mut Outbox) -> Option<Ticket> {
        for queue in [&mut self.own, &mut self.others] {
            if let Some(at) = queue.iter().position(|(queued, ..)| *queued == job) {
                return queue.remove(at).map(|(.., ticket)| ticket);
            }
        }
        if self.out.contains_key(&job) {
            out.push(Action::Cancel { job });
        }
        None
    }

    /// The jobs without an outcome that were ordered under tickets that `matches`.
    pub(super) fn ordered_under(&self, matches: impl Fn(&Ticket) -> bool) -> Vec<JobId> {
        let queued = self.own.iter().chain(&self.others).map(|(job, _, ticket)| (*job, ticket));
        let all = queued.chain(self.out.iter().map(|(&job, running)| (job, &running.ticket)));
        all.filter(|(_, ticket)| matches(ticket)).map(|(job, _)| job).collect()
    }

    /// Whether a job of the user's would begin at once.
    pub(crate) fn has_place_for_own(&self) -> bool {
        self.own.is_empty() && self.own_out < MAX_JOBS - Self::RESERVED && self.out.len() < MAX_JOBS
    }

    /// Whether this job has begun.
    pub(crate) fn has_begun(&self, job: JobId) -> bool {
        self.out.contains_key(&job)
    }

    /// Bytes come for this job: so many have come.
    pub(super) fn flows(&mut self, now: Time, job: JobId, bytes: u32) {
        if let Some(running) = self.out.get_mut(&job) {
            let first = running.flow.map_or((now, bytes), |flow| flow.first);
            running.flow = Some(ByteFlow { first, last: (now, bytes) });
        }
    }

    /// How bytes come for this job, once they do.
    pub(crate) fn flow(&self, job: JobId) -> Option<ByteFlow> {
        self.out.get(&job).and_then(|running| running.flow)
    }

    /// Until when bytes are known to come for this job, if no more is heard.
    pub(crate) fn flows_until(&self, job: JobId) -> Time {
        self.flow(job).map_or(Time::ZERO, |flow| flow.last.0 + FLOW_LASTS)
    }

    fn start(&mut self, out: &mut Outbox) {
        while self.out.len() < MAX_JOBS {
            let own = self.own_out < MAX_JOBS - Self::RESERVED;
            let others = self.out.len() - self.own_out < MAX_JOBS - Self::RESERVED;
            let (next, urgency) = match own.then(|| self.own.pop_front()).flatten() {
                None => (others.then(|| self.others.pop_front()).flatten(), Urgency::Others),
                some => (some, Urgency::Own),
            };
            let Some((job, work, ticket)) = next else { break };
            self.own_out += usize::from(urgency == Urgency::Own);
            self.out.insert(job, RunningJob { ticket, urgency, flow: None });
            out.push(Action::Start { job, work });
        }
    }

    /// Whether the outcome of this job is to come.
    pub(super) fn is_ordered(&self, job: JobId) -> bool {
        self.out.contains_key(&job) || self.own.iter().chain(&self.others).any(|(queued, ..)| *queued == job)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let own = self.out.values().filter(|running| running.urgency == Urgency::Own).count();
        (self.out.len() <= MAX_JOBS && own == self.own_out)
            .then_some(())
            .ok_or_else(|| format!("{} jobs out, {} counted as own, {own} are", self.out.len(), self.own_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::node::ticket::PartId;

    fn ticket(n: u64) -> Ticket {
        Ticket::of(PartId::User, n)
    }

    fn work() -> Job {
        Job::Keep { key: Id::ZERO, leases: Vec::new() }
    }

    #[test]
    fn no_more_than_the_limit_is_out_and_others_always_have_places() {
        let (mut jobs, mut out) = (Jobs::default(), Outbox::new());
        for n in 0..40 {
            jobs.order(work(), ticket(n), Urgency::Own, &mut out);
        }
        assert_eq!(out.len(), MAX_JOBS - Jobs::RESERVED);
        for n in 40..60 {
            jobs.order(work(), ticket(n), Urgency::Others, &mut out);
        }
        assert_eq!(out.len(), MAX_JOBS);
        assert_eq!(jobs.done(0, &mut out), Some(ticket(0)));
        assert_eq!(jobs.done(0, &mut out), None);
        assert_eq!(out.len(), MAX_JOBS + 1);
        jobs.check().unwrap();
    }

    #[test]
    fn others_leave_places_to_the_user() {
        let (mut jobs, mut out) = (Jobs::default(), Outbox::new());
        for n in 0..40 {
            jobs.order(work(), ticket(n), Urgency::Others, &mut out);
        }
        assert_eq!(out.len(), MAX_JOBS - Jobs::RESERVED);
        jobs.order(work(), ticket(40), Urgency::Own, &mut out);
        assert_eq!(out.len(), MAX_JOBS - Jobs::RESERVED + 1, "the user need not wait for any of them");
        jobs.check().unwrap();
    }

    #[test]
    fn a_queued_job_is_cancelled_at_once_and_one_that_is_out_by_its_worker() {
        let (mut jobs, mut out) = (Jobs::default(), Outbox::new());
        let ids: Vec<_> = (0..20).map(|n| jobs.order(work(), ticket(n), Urgency::Own, &mut out)).collect();
        out.clear();
        assert_eq!(jobs.cancel(ids[19], &mut out), Some(ticket(19)));
        assert!(out.is_empty());
        assert_eq!(jobs.cancel(ids[0], &mut out), None);
        assert_eq!(out, [Action::Cancel { job: ids[0] }]);
        assert_eq!(jobs.done(ids[0], &mut out), Some(ticket(0)));
    }
}
