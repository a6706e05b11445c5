//! Copies that peers say they have made, and that have yet to be shown: of files' stores, repair, checks and departures
//! alike.
//!
//! Anybody can say `saved`. The word of a peer that pulled the block from here counts. One that had the block before
//! [shows](crate::wire::sample) it: a hash of bytes that the offer names is compared with one made here. An older peer
//! shows nothing: its word counts once the block was read back from it. Only then does the part that made the offer
//! hear of a copy.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;

use super::Node;
use super::desk::Desk;
use super::job::{Holder, Job, JobId, Outcome};
use super::jobs::Urgency;
use super::part::{Owner, Proof, Reply, Taken, Ticket};
use crate::id::{Id, Key};
use crate::peer::Peer;
use crate::recent::Recent;
use crate::time::Time;

/// Claims that are being looked into, each by a job, and those that wait for that.
#[derive(Default)]
pub(super) struct Claims {
    by_job: BTreeMap<JobId, Claim>,
    queue: VecDeque<Claim>,
    /// Peers that did not give back what they say they have, and when that was.
    liars: Recent<SocketAddr, Time, LIARS>,
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

/// Times that a block is picked for a peer to show, if those picked are being offered.
const PICKS: u32 = 4;

/// Who did not give back a block is not believed for so long; so many such peers are remembered.
const DISBELIEF: Duration = Duration::from_secs(600);
const LIARS: usize = 256;

/// Why a claim does not count.
pub(in crate::node) const UNSHOWN: &str = "it says that it has saved the block, and does not show it";

/// What has become of a claim: whether the peer has a copy, or why it does not count.
type Verdict = (Ticket, Peer, Result<Taken, String>);

impl Claim {
    fn no(self) -> Verdict {
        (self.ticket, self.by, Err(UNSHOWN.to_owned()))
    }
}

impl Desk {
    /// A peer says that it holds a block: it is read back. The verdict follows, as of an offer. False if there will be
    /// none, for the peer is known to lie, or too many claims wait.
    pub(crate) fn challenge(&mut self, ticket: Ticket, key: Key, holder: Peer) -> bool {
        self.take_claim(ticket, (key, holder), Proof::Nothing)
    }

    /// A peer says that it has saved a block, and did not pull it. Whether that is looked into: then a verdict follows.
    fn take_claim(&mut self, ticket: Ticket, (key, by): (Key, Peer), proof: Proof) -> bool {
        let urgency = match ticket.owner {
            Owner::Repair | Owner::Departure => Urgency::Others,
            _ => Urgency::Own,
        };
        if let Proof::Sample { magic, sample } = proof {
            let job = self.order(ticket, Job::Sample { key, magic, by: by.id }, urgency);
            self.claims.by_job.insert(job, Claim { key, by, ticket, sample: Some(sample), patience: None });
            return true;
        }
        let is_looked_into = !self.is_liar(&by.addr) && self.claims.queue.len() < MAX_QUEUE;
        if is_looked_into {
            let patience = Some(self.now() + PATIENCE);
            self.claims.queue.push_back(Claim { key, by, ticket, sample: None, patience });
            self.read_back();
        }
        is_looked_into
    }

    /// One of these blocks for a peer to show, whichever: nobody can know which. If it may be, one that is not just
    /// being offered: a peer beside it on the same host may pull that.
    pub(crate) fn any_to_show(&mut self, blocks: &[Key]) -> Option<Key> {
        let mut picks = PICKS;
        loop {
            let at = (!blocks.is_empty()).then(|| self.exchange.rng().random_range(0..blocks.len()))?;
            picks -= 1;
            if picks == 0 || !self.exchange.is_offered(&blocks[at]) {
                return Some(blocks[at]);
            }
        }
    }

    fn is_liar(&self, addr: &SocketAddr) -> bool {
        self.claims.liars.get(addr).is_some_and(|found| self.now().since(*found) < DISBELIEF)
    }

    /// Claims of offers made under these tickets matter no longer.
    pub(super) fn drop_claims(&mut self, unwanted: impl Fn(&Ticket) -> bool) {
        self.claims.queue.retain(|claim| !unwanted(&claim.ticket));
        let jobs = self.claims.by_job.iter().filter(|(_, claim)| unwanted(&claim.ticket)).map(|(&job, _)| job);
        for job in jobs.collect::<Vec<_>>() {
            self.claims.by_job.remove(&job);
            self.cancel_job(job);
        }
        self.read_back();
    }

    /// Has as many blocks read back as may be at a time.
    fn read_back(&mut self) {
        while self.claims.by_job.values().filter(|claim| claim.sample.is_none()).count() < MAX_READ_BACK
            && let Some(claim) = self.claims.queue.pop_front()
        {
            let work = Job::Unpack { key: claim.key, from: Holder::Peer(claim.by.addr) };
            let job = self.order(claim.ticket, work, Urgency::Own);
            self.claims.by_job.insert(job, claim);
        }
    }

    /// A job is done: what it tells of claims, if it was about one.
    fn settle_claim(&mut self, job: JobId, outcome: &Outcome) -> Option<Vec<Verdict>> {
        let claim = self.claims.by_job.remove(&job)?;
        let (by, sample) = (claim.by, claim.sample);
        let verdict = match outcome {
            Outcome::Sampled { sample: own } if sample == Some(*own) => (claim.ticket, by, Ok(Taken::Had)),
            Outcome::Unpacked { .. } | Outcome::NotManifest { .. } => (claim.ticket, by, Ok(Taken::Had)),
            Outcome::Failed(error) => (claim.ticket, by, Err(format!("{UNSHOWN}: {}", error.reason))),
            _ => claim.no(),
        };
        let mut verdicts = vec![verdict];
        if sample.is_none() {
            if verdicts[0].2.is_err() {
                self.claims.liars.insert(by.addr, self.exchange.now());
                let queue = std::mem::take(&mut self.claims.queue).into_iter();
                let (false_ones, others): (Vec<_>, Vec<_>) = queue.partition(|claim| claim.by.addr == by.addr);
                self.claims.queue = others.into();
                verdicts.extend(false_ones.into_iter().map(Claim::no));
            }
            self.read_back();
        }
        Some(verdicts)
    }
}

impl Claims {
    /// A claim of which nobody knows for too long whether it is true. Each comes once.
    fn next_late(&mut self, now: Time) -> Option<(Ticket, Peer)> {
        let mut all = self.by_job.values_mut().chain(&mut self.queue);
        let late = all.find(|claim| claim.patience.is_some_and(|until| until <= now))?;
        late.patience = None;
        Some((late.ticket, late.by))
    }

    /// When the next claim will be late.
    pub(super) fn next_wake(&self) -> Option<Time> {
        self.by_job.values().chain(&self.queue).filter_map(|claim| claim.patience).min()
    }
}

impl Node {
    /// A peer was offered a block, and says that it has it, or why not. Its offerer hears of a copy once that is shown.
    pub(super) fn on_offered(&mut self, ticket: Ticket, (key, to): (Key, Peer), result: Result<Proof, String>) {
        let result = match result {
            // Who asks for a lease to be laid makes no copy, and may have none to compare with.
            Ok(_) if ticket.owner == Owner::Tenures => Ok(Taken::Had),
            Ok(Proof::Pulled) => Ok(Taken::Pulled),
            Ok(proof) if self.desk.take_claim(ticket, (key, to), proof) => return,
            Ok(_) => Err(UNSHOWN.to_owned()),
            Err(reason) => Err(reason),
        };
        self.reply(ticket, Reply::Offered { to, result });
    }

    /// A job is done. Whether it was about a claim: then its offerer is told.
    pub(super) fn settle_claim(&mut self, job: JobId, outcome: &Outcome) -> bool {
        let verdicts = self.desk.settle_claim(job, outcome);
        let was_claim = verdicts.is_some();
        for (ticket, to, result) in verdicts.into_iter().flatten() {
            self.reply(ticket, Reply::Offered { to, result });
        }
        was_claim
    }

    /// Tells those who wait too long to hear whether peers tell the truth.
    pub(super) fn look_after_claims(&mut self) {
        while let Some((ticket, by)) = self.desk.claims.next_late(self.desk.now()) {
            self.reply(ticket, Reply::Doubted(by));
        }
    }
}
