//! Copies that peers say they have made, and that have yet to be shown: of files' stores, repair, checks and departures
//! alike.
//!
//! Any peer can say `saved`. The word of a peer that pulled the block from here counts. One that had the block before
//! [shows](crate::wire::sample) it: a hash of bytes that the offer names is compared with one made here. An older peer
//! shows nothing: its word counts once the block was read back from it. Only then does the part that made the offer
//! hear of a copy, and only once it is known that the peer [can be connected to](super::reach). What fails here while
//! that is looked into tells nothing about the peer, and judges none.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;

use super::Desk;
use super::reach::Reach;
use crate::id::{Id, Key};
use crate::node::job::{Job, JobErrorKind, JobId, Outcome, Urgency};
use crate::node::jobs::Jobs;
use crate::node::refusal::Refusal;
use crate::node::ticket::{Offer, PartId, Proof, Reply, Taken, Ticket};
use crate::peer::Peer;
use crate::recent::Recent;
use crate::time::Time;

/// Claims that are being looked into, each by a job, and those that wait for that.
#[derive(Default)]
pub(super) struct Claims {
    by_job: BTreeMap<JobId, Claim>,
    queue: VecDeque<Claim>,
    /// Copies that were shown, at peers of which it is not known yet whether they can be connected to.
    unreached: Vec<(Claim, Taken)>,
    /// Peers that did not give back what they say they have, when that was, and why they are not believed since.
    liars: Recent<SocketAddr, (Time, Refusal), LIARS>,
}

struct Claim {
    offer: Offer,
    /// What the peer has shown, and how it has the block if that is right.
    sample: Option<(Id, Taken)>,
    /// When its proof is late; none once that was told.
    deadline: Option<Time>,
}

/// A block is read back in this time, or others are offered it meanwhile.
const READ_BACK_LIMIT: Duration = Duration::from_secs(1);

/// Blocks that are read back at a time, for they may not come, and that wait for it.
const MAX_READ_BACK: usize = 4;
const MAX_UNSHOWN: usize = 256;

/// Times that a block is picked for a peer to show, if those picked are being offered.
const PICKS: u32 = 4;

/// How long a peer that did not give back a block is not believed, and how many such peers are remembered.
const DISBELIEF: Duration = Duration::from_secs(600);
const LIARS: usize = 256;

/// Under this the answers to offers come here, and the jobs are ordered that look into claims.
pub(in crate::node) const CLAIMS_TICKET: Ticket = Ticket::of(PartId::Claims, 0);

/// What has become of a claim: whether the peer has a copy, or why it does not count.
type ClaimEnd = (Offer, Result<Taken, Refusal>);

impl Desk {
    /// A peer says that it holds a block: it is read back. The verdict follows, as of an offer.
    ///
    /// # Errors
    /// There will be none: the peer is known to lie, or too many claims wait.
    pub(crate) fn challenge(&mut self, ticket: Ticket, key: Key, holder: Peer) -> Result<(), Refusal> {
        let offer = Offer { ticket, urgency: Urgency::Own, key, to: holder, to_show: true };
        self.take_claim(offer, Proof::Nothing)
    }

    /// A peer says that it has saved a block, and did not pull it. That is looked into: a verdict follows.
    fn take_claim(&mut self, offer: Offer, proof: Proof) -> Result<(), Refusal> {
        if let Proof::Sample { magic, sample, shows } = proof {
            let work = Job::Sample { key: offer.key, magic, by: offer.to.id };
            let job = self.order(CLAIMS_TICKET, work, offer.urgency);
            self.claims.by_job.insert(job, Claim { offer, sample: Some((sample, shows)), deadline: None });
            return Ok(());
        }
        if let Some(refusal) = self.disbelief(&offer.to.addr) {
            return Err(refusal);
        }
        if self.claims.queue.len() >= MAX_UNSHOWN {
            return Err(Refusal::Unjudged("too many blocks wait to be read back".to_owned()));
        }
        let deadline = Some(self.now() + READ_BACK_LIMIT);
        self.claims.queue.push_back(Claim { offer, sample: None, deadline });
        self.read_back();
        Ok(())
    }

    /// One of these blocks for a peer to show, whichever: no peer can know which. If it may be, one that is not just
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

    /// Why the peer at `addr` is not believed, if it is not.
    fn disbelief(&self, addr: &SocketAddr) -> Option<Refusal> {
        let (found, refusal) = self.claims.liars.get(addr)?;
        (self.now().since(*found) < DISBELIEF).then(|| refusal.clone())
    }

    /// Claims of offers made under these tickets matter no longer.
    pub(super) fn drop_claims(&mut self, unwanted: impl Fn(&Ticket) -> bool) {
        self.claims.queue.retain(|claim| !unwanted(&claim.offer.ticket));
        self.claims.unreached.retain(|(claim, _)| !unwanted(&claim.offer.ticket));
        let jobs = self.claims.by_job.iter().filter(|(_, claim)| unwanted(&claim.offer.ticket)).map(|(&job, _)| job);
        for job in jobs.collect::<Vec<_>>() {
            self.claims.by_job.remove(&job);
            self.cancel_job(job);
        }
        self.read_back();
    }

    /// Has as many blocks read back as may be at a time.
    fn read_back(&mut self) {
        while self.claims.being_read() < MAX_READ_BACK
            && let Some(claim) = self.claims.queue.pop_front()
        {
            let Offer { urgency, key, to, .. } = claim.offer;
            let job = self.order(CLAIMS_TICKET, Job::ReadBack { key, from: to.addr }, urgency);
            self.claims.by_job.insert(job, claim);
        }
    }

    /// A job is done: what it tells of claims that a part still wants to know of.
    fn take_verdicts(&mut self, job: JobId, outcome: &Outcome) -> Vec<ClaimEnd> {
        let Some(Claim { offer, sample, .. }) = self.claims.by_job.remove(&job) else { return Vec::new() };
        let result = match outcome {
            Outcome::Sampled { sample: own } if let Some((_, shows)) = sample.filter(|(shown, _)| shown == own) => {
                Ok(shows)
            }
            Outcome::Sound { .. } => Ok(Taken::Had),
            // What fails here tells nothing about that peer.
            Outcome::Failed(error) if sample.is_some() || error.kind.is_our_own() => {
                Err(Refusal::Unjudged(error.reason.clone()))
            }
            Outcome::Failed(error) if matches!(error.kind, JobErrorKind::Unreachable | JobErrorKind::TimedOut) => {
                Err(Refusal::Unread(Some(error.reason.clone())))
            }
            Outcome::Failed(error) => Err(Refusal::Unshown(Some(error.reason.clone()))),
            _ => Err(Refusal::Unshown(None)),
        };
        let disbelief = match result {
            Err(Refusal::Unshown(_)) => Some(Refusal::Unshown(None)),
            Err(Refusal::Unread(_)) => Some(Refusal::Unread(None)),
            _ => None,
        };
        let mut verdicts = vec![(offer, result)];
        if let Some(refusal) = disbelief.filter(|_| sample.is_none()) {
            self.claims.liars.insert(offer.to.addr, (self.exchange.now(), refusal.clone()));
            let queue = std::mem::take(&mut self.claims.queue).into_iter();
            let (false_ones, others): (Vec<_>, Vec<_>) = queue.partition(|claim| claim.offer.to.addr == offer.to.addr);
            self.claims.queue = others.into();
            verdicts.extend(false_ones.into_iter().map(|claim| (claim.offer, Err(refusal.clone()))));
        }
        self.read_back();
        verdicts
    }

    /// A peer was offered a block, and says that it has it, or why not. Its offerer hears of a copy once that is shown.
    pub(in crate::node) fn judge(&mut self, offer: Offer, result: Result<Proof, Refusal>) {
        let result = match result {
            Ok(Proof::Pulled) => Ok(Taken::Pulled),
            Ok(_) if !offer.to_show => Ok(Taken::Had),
            Ok(proof) => match self.take_claim(offer, proof) {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        self.pass_verdict(offer, result);
    }

    /// It is known whether a peer has a block. A copy counts where it can be had.
    fn pass_verdict(&mut self, offer: Offer, result: Result<Taken, Refusal>) {
        let result = match (result, self.connects_to(&offer.to.addr)) {
            (Ok(taken), None)
                if self.claims.unreached.len() < MAX_UNSHOWN && self.dial(offer.to.addr, offer.urgency) =>
            {
                let deadline = Some(self.now() + READ_BACK_LIMIT);
                return self.claims.unreached.push((Claim { offer, sample: None, deadline }, taken));
            }
            (Ok(_), None) => Err(Refusal::Unjudged("too many peers are being connected to".to_owned())),
            (Ok(_), Some(false)) => {
                self.tell_of_shut(offer.to.addr);
                Err(Refusal::Shut)
            }
            (result, _) => result,
        };
        if result == Err(Refusal::Full) {
            self.note_full(offer.to.addr);
        }
        self.pass_on(offer.ticket, Reply::OfferEnded { to: offer.to, result });
    }

    /// The copies at a peer that waited to hear whether it can be connected to: they count, unless for this reason.
    pub(super) fn judge_unreached(&mut self, addr: SocketAddr, refusal: Option<&Refusal>) {
        let waiting = self.claims.unreached.extract_if(.., |(claim, _)| claim.offer.to.addr == addr);
        for (Claim { offer, .. }, taken) in waiting.collect::<Vec<_>>() {
            let result = refusal.filter(|refusal| **refusal != Refusal::Shut).map_or(Ok(taken), |why| Err(why.clone()));
            self.pass_verdict(offer, result);
        }
    }

    /// A job is done: those are told who made the offers that it is about.
    pub(in crate::node) fn on_looked_into(&mut self, job: JobId, outcome: &Outcome) {
        for (offer, result) in self.take_verdicts(job, outcome) {
            if matches!(outcome, Outcome::Sound { .. }) && result.is_ok() {
                self.on_connected(offer.to.addr);
            }
            self.pass_verdict(offer, result);
        }
    }

    /// An offer of which it was not known for too long whether what the peer claims is true. Each comes once.
    pub(in crate::node) fn next_late_claim(&mut self) -> Option<Offer> {
        self.claims.next_late(self.exchange.now())
    }

    /// When the next claim will be late.
    pub(in crate::node) fn claims_wake(&self) -> Option<Time> {
        self.claims.next_wake()
    }

    /// What must be true of claims between any two events: what is waited for comes.
    pub(in crate::node) fn check_claims(&self) -> Result<(), String> {
        self.claims.check(&self.jobs, &self.reach)
    }
}

impl Claims {
    /// Blocks that are being read back.
    fn being_read(&self) -> usize {
        self.by_job.values().filter(|claim| claim.sample.is_none()).count()
    }

    fn next_late(&mut self, now: Time) -> Option<Offer> {
        let unreached = self.unreached.iter_mut().map(|(claim, _)| claim);
        let mut all = self.by_job.values_mut().chain(&mut self.queue).chain(unreached);
        let late = all.find(|claim| claim.deadline.is_some_and(|until| until <= now))?;
        late.deadline = None;
        Some(late.offer)
    }

    fn check(&self, jobs: &Jobs, reach: &Reach) -> Result<(), String> {
        let being_read = self.being_read();
        if being_read < MAX_READ_BACK && !self.queue.is_empty() {
            return Err(format!("{} claims wait while {being_read} are read back", self.queue.len()));
        }
        if let Some(job) = self.by_job.keys().find(|job| !jobs.is_ordered(**job)) {
            return Err(format!("a claim waits for job {job:?}, which nobody does"));
        }
        match self.unreached.iter().find(|(claim, _)| !reach.is_dialled(&claim.offer.to.addr)) {
            Some((claim, _)) => {
                Err(format!("a copy waits for a connection to {}, which nobody makes", claim.offer.to.addr))
            }
            None => Ok(()),
        }
    }

    fn next_wake(&self) -> Option<Time> {
        let unreached = self.unreached.iter().map(|(claim, _)| claim);
        self.by_job.values().chain(&self.queue).chain(unreached).filter_map(|claim| claim.deadline).min()
    }
}
