//! Copies that peers say they have made, and that have yet to be shown.
//!
//! Anybody can say `saved`. The word of a peer that pulled the block from here counts. One that had the block before
//! [shows](crate::wire::sample) it: a hash of bytes that the offer names is compared with one made here. An older peer shows
//! nothing: its word counts once the block was read back from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::{Flow, Put};
use crate::config::WIDTH;
use crate::id::{Id, Key};
use crate::node::desk::Desk;
use crate::node::job::{Holder, Job, JobId, Outcome};
use crate::node::jobs::Urgency;
use crate::node::part::{Proof, Ticket};
use crate::peer::Peer;
use crate::time::Time;

/// Claims that are being looked into, each by a job, and those that wait for that.
#[derive(Default)]
pub(super) struct Claims {
    by_job: BTreeMap<JobId, Claim>,
    queue: VecDeque<Claim>,
    /// Peers that did not give back what they say they have.
    liars: BTreeSet<SocketAddr>,
}

struct Claim {
    key: Key,
    by: Peer,
    ticket: Ticket,
    /// What it has shown.
    sample: Option<Id>,
    /// When it is no longer waited for, if it is.
    patience: Option<Time>,
}

/// A block is read back in this time, or others are offered it meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Blocks that are read back at a time, for they may not come, and that wait for it.
const MAX_READ_BACK: usize = 4;
const MAX_QUEUE: usize = 256;

/// What has become of a claim: the block, the peer, and whether it has a copy, or why it does not count.
pub(super) type Verdict = (Key, Peer, Result<(), String>);

impl Claims {
    /// A peer says that it has saved a block. Whether that is looked into: then the outcome of a job under this ticket tells.
    fn takes(&mut self, desk: &mut Desk, ticket: Ticket, (key, by): (Key, Peer), proof: Proof) -> bool {
        if let Proof::Sample { magic, sample } = proof {
            let job = desk.order(ticket, Job::Sample { key, magic, by: by.id }, Urgency::Own);
            self.by_job.insert(job, Claim { key, by, ticket, sample: Some(sample), patience: None });
            return true;
        }
        let is_known = self.liars.contains(&by.addr) || self.queue.len() >= MAX_QUEUE;
        if !is_known {
            self.queue.push_back(Claim { key, by, ticket, sample: None, patience: Some(desk.now() + PATIENCE) });
            self.read_back(desk);
        }
        !is_known
    }

    /// Claims about these blocks matter no longer.
    pub(super) fn drop_those(&mut self, desk: &mut Desk, of: impl Fn(&Key) -> bool) {
        self.queue.retain(|claim| !of(&claim.key));
        let jobs: Vec<JobId> = self.by_job.iter().filter(|(_, claim)| of(&claim.key)).map(|(&job, _)| job).collect();
        for job in jobs {
            self.by_job.remove(&job);
            desk.cancel_job(job);
        }
        self.read_back(desk);
    }

    /// Has as many blocks read back as may be at a time.
    fn read_back(&mut self, desk: &mut Desk) {
        while self.by_job.values().filter(|claim| claim.sample.is_none()).count() < MAX_READ_BACK
            && let Some(claim) = self.queue.pop_front()
        {
            let work = Job::Unpack { key: claim.key, from: Holder::Peer(claim.by.addr) };
            let job = desk.order(claim.ticket, work, Urgency::Own);
            self.by_job.insert(job, claim);
        }
    }

    /// A claim of which nobody knows for too long whether it is true: the block and the peer. Each comes once.
    pub(super) fn next_late(&mut self, now: Time) -> Option<(Key, Peer)> {
        let mut all = self.by_job.values_mut().chain(&mut self.queue);
        let late = all.find(|claim| claim.patience.is_some_and(|until| until <= now))?;
        late.patience = None;
        Some((late.key, late.by))
    }

    /// When the next claim will be late.
    pub(super) fn next_wake(&self) -> Option<Time> {
        self.by_job.values().chain(&self.queue).filter_map(|claim| claim.patience).min()
    }

    /// A job is done: what it tells of claims, if it was about one.
    pub(super) fn settle(&mut self, desk: &mut Desk, job: JobId, outcome: &Outcome) -> Option<Vec<Verdict>> {
        let Claim { key, by, sample, .. } = self.by_job.remove(&job)?;
        let verdict = match outcome {
            Outcome::Sampled { sample: own } if sample == Some(*own) => Ok(()),
            Outcome::Unpacked { .. } | Outcome::NotManifest { .. } => Ok(()),
            Outcome::Failed(error) => Err(format!("{UNSHOWN}: {}", error.reason)),
            _ => Err(UNSHOWN.to_owned()),
        };
        let mut verdicts = vec![(key, by, verdict)];
        if sample.is_none() {
            if verdicts[0].2.is_err() {
                self.liars.insert(by.addr);
            }
            let liars = &self.liars;
            let (false_ones, others): (Vec<_>, Vec<_>) =
                self.queue.drain(..).partition(|claim| liars.contains(&claim.by.addr));
            self.queue = others.into();
            verdicts.extend(false_ones.into_iter().map(|claim| (claim.key, claim.by, Err(UNSHOWN.to_owned()))));
            self.read_back(desk);
        }
        Some(verdicts)
    }
}

impl Put {
    /// A peer is silent: what it was offered is offered to the next nearest too.
    pub(super) fn on_overdue(&mut self, desk: &mut Desk, addr: SocketAddr) -> Flow {
        let late: Vec<Key> =
            self.placing.iter().filter(|(_, block)| block.out.contains(&addr)).map(|(&key, _)| key).collect();
        for key in late {
            if self.do_without(desk, key, addr) == Flow::Over {
                return Flow::Over;
            }
        }
        Flow::Goes
    }

    /// A peer says that it has the block, or why it did not take it.
    pub(super) fn on_answered(&mut self, desk: &mut Desk, key: Key, to: Peer, result: Result<Proof, String>) -> Flow {
        match result {
            Ok(Proof::Pulled) => self.on_offered(desk, key, to, Ok(())),
            Err(reason) => self.on_offered(desk, key, to, Err(reason)),
            Ok(_) if !self.placing.contains_key(&key) => Flow::Goes,
            Ok(proof) if self.claims.takes(desk, self.ticket(key), (key, to), proof) => Flow::Goes,
            Ok(_) => self.on_verdicts(desk, vec![(key, to, Err(UNSHOWN.to_owned()))]),
        }
    }

    /// Peers that say that they took blocks have them, or do not.
    pub(super) fn on_verdicts(&mut self, desk: &mut Desk, verdicts: Vec<Verdict>) -> Flow {
        for (key, by, verdict) in verdicts {
            if verdict.is_err() {
                self.go_further(desk, key);
            }
            if self.on_offered(desk, key, by, verdict) == Flow::Over {
                return Flow::Over;
            }
        }
        Flow::Goes
    }

    /// Whether some peers tell the truth is not known for too long: what they claim is offered to others too.
    pub(super) fn on_tick(&mut self, desk: &mut Desk) -> Flow {
        while let Some((key, by)) = self.claims.next_late(desk.now()) {
            self.go_further(desk, key);
            if self.do_without(desk, key, by.addr) == Flow::Over {
                return Flow::Over;
            }
        }
        Flow::Goes
    }

    /// The peer at `addr` occupies no place any longer, though it may still take the block.
    fn do_without(&mut self, desk: &mut Desk, key: Key, addr: SocketAddr) -> Flow {
        let Some(placing) = self.placing.get_mut(&key) else { return Flow::Goes };
        if !placing.out.remove(&addr) {
            return Flow::Goes;
        }
        placing.overdue.insert(addr);
        self.offer_on(desk, key)
    }

    /// Liars stand together: then peers further away will do.
    fn go_further(&mut self, desk: &Desk, key: Key) {
        if let Some(placing) = self.placing.get_mut(&key) {
            placing.go_further(desk.replica_set(&key, BEHIND_LIARS));
        }
    }
}

/// Where some say that they have saved a block and have not, so many of the nearest peers known may be offered it.
const BEHIND_LIARS: usize = 5 * WIDTH;

/// Why a claim does not count.
const UNSHOWN: &str = "it says that it has saved the block, and does not show it";
