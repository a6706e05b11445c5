//! What a driver owes its node: an outcome for each job, and for each line over TCP that it arrives or comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::node::job::JobId;
use crate::node::{Event, Obstacle};
use crate::time::Time;

/// No line is under way for longer, however long its receiver's clock stands still.
const LONGEST_WAY: Duration = Duration::from_secs(60);

/// What is owed to one life of a peer.
#[derive(Default)]
pub(super) struct Debts {
    jobs: BTreeSet<JobId>,
    lines: BTreeMap<(SocketAddr, u64), Time>,
}

impl Debts {
    /// A job was begun.
    pub(super) fn job(&mut self, job: JobId) {
        self.jobs.insert(job);
    }

    /// A line was sent.
    pub(super) fn line(&mut self, now: Time, to: SocketAddr, magic: u64) {
        self.lines.insert((to, magic), now);
    }

    /// The line has arrived.
    pub(super) fn arrived(&mut self, to: SocketAddr, magic: u64) {
        self.lines.remove(&(to, magic));
    }

    /// The node hears of something.
    pub(super) fn pay(&mut self, event: &Event) {
        match event {
            Event::JobDone { job, .. } => {
                self.jobs.remove(job);
            }
            Event::Undeliverable { to, message, obstacle } if *obstacle != Obstacle::Delay => {
                self.arrived(*to, message.magic);
            }
            _ => {}
        }
    }

    /// What is owed that should have been paid, for people; `out` are the jobs that workers are doing.
    pub(super) fn overdue<T>(&self, now: Time, out: &BTreeMap<JobId, T>) -> Option<String> {
        if let Some(job) = self.jobs.iter().find(|job| !out.contains_key(job)) {
            return Some(format!("job {job} was begun, and has no outcome"));
        }
        let lines = self.lines.iter().find(|(_, sent)| now.since(**sent) > LONGEST_WAY);
        lines.map(|((to, _), sent)| format!("a line to {to}, sent at {sent} s, neither arrived nor came back"))
    }
}
