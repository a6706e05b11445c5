//! One block of a file on its way out of the network, be it a list of blocks or data, and who was asked for it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{HEDGE_MIN, MAX_BLOCK_SIZE};
use crate::id::Key;
use crate::node::around::Around;
use crate::node::desk::Desk;
use crate::node::job::{Holder, JobError, JobErrorKind, JobId, Slot};
use crate::node::jobs::{ByteFlow, Jobs};
use crate::node::notice::FailureKind;
use crate::node::pace::weight;
use crate::node::ticket::{Answered, Reply, Ticket};
use crate::overlay::LookupId;
use crate::peer::{Peer, named_silent};
use crate::time::Time;
use crate::wire::{Request, Response, Vouch};

/// The patience with a block doubles this often at most.
const MAX_DOUBLINGS: u32 = 8;

/// When a fetch has taken too long.
pub(super) enum Slow {
    /// At this time: no bytes come from a peer now.
    At(Time),
    /// Bytes come: it has taken long then, and the holder sends no more if none come until `silent`.
    Flows { at: Time, silent: Time },
}

/// Which of two fetches ends for the other's sake.
pub(super) enum SlowerFetch {
    /// The first, for it takes more than twice as long as the last.
    First(JobId),
    /// The last. Whether the way here [has room](WantedBlock::has_room_beside) for others beside the first.
    Last(JobId, bool),
}

/// A block that is wanted now.
pub(super) struct WantedBlock {
    pub(super) what: BlockKind,
    pub(super) lookup: Option<LookupId>,
    /// Known holders that were not tried in this round.
    pub(super) known: VecDeque<Peer>,
    pub(super) tried: BTreeMap<SocketAddr, Peer>,
    /// Of those tried, the ones whose fetch ended for another's sake: they may have their turn once more.
    given_up: VecDeque<Peer>,
    /// Those that failed in an earlier round; they come last in this one.
    pub(super) failed: BTreeSet<SocketAddr>,
    pub(super) running: BTreeMap<JobId, (Holder, Time)>,
    pub(super) tried_own: bool,
    /// Times in this round that a fetch took too long and another holder got its chance.
    pub(super) hedges: u32,
    /// When another holder last turned out to be no faster.
    pub(super) in_vain: Time,
    /// The fetch beside which another one comes, and how it came until that did.
    beside: Option<(JobId, ByteFlow)>,
    /// Lookups for its holders so far, and when the first and the last began.
    pub(super) rounds: u8,
    pub(super) sought: Option<Time>,
    pub(super) last_sought: Time,
    pub(super) trouble: Option<JobError>,
    /// Peers that are known and did not answer the lookup that met most such; and those that answered the last one.
    pub(super) silent: Vec<Peer>,
    pub(super) answered: Vec<Peer>,
    /// Some lookup came to those that the key leads to.
    pub(super) conclusive: bool,
    /// It waits until fewer others are under way.
    pub(super) parked: bool,
    /// Those who said that they hold it kept silent, and others behind them were looked for.
    pub(super) wider: bool,
    /// The last look for holders, at peers around its key.
    pub(super) around: Around,
    /// No peer has it: whether those that should have found their copies damaged.
    pub(super) inquest: Option<Inquest>,
}

/// A question to the peers nearest to a block's key, none of which has it: was it damaged there?
pub(super) struct Inquest {
    /// Those that have not answered.
    out: usize,
    damaged: usize,
}

impl Inquest {
    pub(super) const fn is_over(&self) -> bool {
        self.out == 0
    }

    /// One of them has answered, or has not.
    pub(super) fn on(&mut self, reply: &Reply) {
        let damaged = |answer: &Answered| matches!(answer.answer, Ok(Response::Vouch(Vouch::Damaged)));
        self.out -= usize::from(matches!(reply, Reply::Answer(_) | Reply::Silence { .. }));
        self.damaged += usize::from(matches!(reply, Reply::Answer(answer) if damaged(answer)));
    }
}

/// What a block is in its file.
#[derive(Clone, Copy, Debug)]
pub(super) enum BlockKind {
    /// A list of blocks.
    Manifest { key: Key },
    /// Bytes of the file; `checking` is whether they may be here.
    Data { slot: Slot, checking: bool },
}

impl BlockKind {
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Manifest { key } => *key,
            Self::Data { slot, .. } => slot.key,
        }
    }
}

/// How often each holder of a file failed to send a block of it, or kept us waiting, more often than it did well.
#[derive(Default)]
pub(super) struct Doubts(BTreeMap<SocketAddr, u32>);

impl Doubts {
    pub(super) fn of(&self, addr: &SocketAddr) -> u32 {
        self.0.get(addr).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, holder: &Holder) {
        if let Holder::Peer(addr) = holder {
            *self.0.entry(*addr).or_default() += 1;
        }
    }

    pub(super) fn take_back(&mut self, holder: &Holder) {
        if let Holder::Peer(addr) = holder
            && let Some(count) = self.0.get_mut(addr)
        {
            *count = count.saturating_sub(1);
        }
    }
}

impl WantedBlock {
    pub(super) fn new(what: BlockKind) -> Self {
        Self {
            what,
            lookup: None,
            known: VecDeque::new(),
            tried: BTreeMap::new(),
            given_up: VecDeque::new(),
            failed: BTreeSet::new(),
            running: BTreeMap::new(),
            tried_own: false,
            hedges: 0,
            in_vain: Time::ZERO,
            beside: None,
            rounds: 0,
            sought: None,
            last_sought: Time::ZERO,
            trouble: None,
            silent: Vec::new(),
            answered: Vec::new(),
            conclusive: false,
            parked: false,
            wider: false,
            around: Around::default(),
            inquest: None,
        }
    }

    /// Asks those that should have it whether it was damaged there, once, if the user would hear that no peer has it.
    pub(super) fn ask_why(&mut self, desk: &mut Desk, ticket: Ticket) -> bool {
        let asks = self.inquest.is_none() && !self.answered.is_empty() && self.despair().0 == FailureKind::NotFound;
        if asks {
            let key = self.what.key();
            self.answered.iter().for_each(|peer| desk.ask(ticket, *peer, Request::Verify { key }));
            self.inquest = Some(Inquest { out: self.answered.len(), damaged: 0 });
        }
        asks
    }

    /// What it counts of what may be under way, in bytes.
    pub(super) fn weight(&self) -> u64 {
        match self.what {
            _ if self.parked => 0,
            BlockKind::Manifest { .. } => weight(0),
            BlockKind::Data { slot, .. } => weight(slot.size),
        }
    }

    /// When another holder gets its chance, or is looked for: when each fetch under way has taken longer than `limit`,
    /// which doubles with each time. Never while a fetch has yet to begin. Where no holder sends, or no more after
    /// `pause`, it comes after `silence`; where one does, [`Slow::Flows`] tells, and it may be the way here that is
    /// slow.
    pub(super) fn slow_at(
        &self,
        (jobs, now): (&Jobs, Time),
        limit: Duration,
        (silence, pause): (Duration, Duration),
    ) -> Option<Slow> {
        if self.wider && !self.has_next() || !self.running.keys().all(|job| jobs.has_begun(*job)) {
            return None;
        }
        let latest = self.latest()?;
        let slow = latest.max(self.in_vain) + limit * 2_u32.pow(self.hedges.min(MAX_DOUBLINGS));
        let Some(until) = self.flows_until(jobs) else { return Some(Slow::At(slow)) };
        let silent = until.max(latest + silence) + pause;
        Some(if until <= now { Slow::At(silent) } else { Slow::Flows { at: slow, silent } })
    }

    /// Bytes a second that come of it, once that shows.
    pub(super) fn rate(&self, jobs: &Jobs) -> Option<u64> {
        self.running.keys().filter_map(|job| jobs.flow(*job)?.rate()).max()
    }

    /// How long it takes still, if its bytes come on as they do.
    pub(super) fn left(&self, jobs: &Jobs) -> Option<Duration> {
        self.running.keys().filter_map(|job| jobs.flow(*job)?.left(self.most())).min()
    }

    /// Of two fetches under way, once that shows, the one that ends for the other's sake: the later one, unless it
    /// needs less than half the time.
    pub(super) fn slower(&self, jobs: &Jobs, now: Time) -> Option<SlowerFetch> {
        let left = |job: JobId| jobs.flow(job)?.left(self.most());
        let (&last, _) = self.running.iter().max_by_key(|(job, (_, since))| (*since, **job))?;
        let others = self.running.keys().filter(|job| **job != last && jobs.flows_until(**job) > now);
        let (sooner, first) = others.filter_map(|job| Some((left(*job)?, *job))).min()?;
        if left(last)?.saturating_mul(2) < sooner {
            return Some(SlowerFetch::First(first));
        }
        Some(SlowerFetch::Last(last, self.has_room_beside(jobs)?))
    }

    /// Notes how the fetch under way has come until the one beside it begins to.
    pub(super) fn note_flow(&mut self, jobs: &Jobs) {
        let flows = self.running.keys().filter(|job| jobs.flow(**job).is_some()).count();
        self.beside = self.beside.filter(|(job, _)| flows > 1 && self.running.contains_key(job));
        if flows > 1 && self.beside.is_none() {
            self.beside = self.oldest().and_then(|job| Some((job, jobs.flow(job)?)));
        }
    }

    /// Whether the fetch under way has come as fast beside another as before, once that shows: its holder is slow, and
    /// not the way here, which the two would share.
    fn has_room_beside(&self, jobs: &Jobs) -> Option<bool> {
        let (job, before) = self.beside?;
        let since = ByteFlow { first: before.last, last: jobs.flow(job)?.last };
        let (since, before) = (since.rate()?, before.rate());
        Some(before.is_some_and(|before| since * 4 >= before * 3))
    }

    /// The most bytes that it may have.
    fn most(&self) -> u32 {
        match self.what {
            BlockKind::Manifest { .. } => MAX_BLOCK_SIZE,
            BlockKind::Data { slot, .. } => slot.size,
        }
    }

    /// Bytes of data; none of a list.
    pub(super) fn size(&self) -> u32 {
        match self.what {
            BlockKind::Manifest { .. } => 0,
            BlockKind::Data { slot, .. } => slot.size,
        }
    }

    /// Whether it is fetched, and no holder sends it.
    pub(super) fn is_silent(&self, jobs: &Jobs, now: Time) -> bool {
        self.flows_until(jobs).is_some_and(|until| until <= now)
    }

    /// Whether a holder sends it.
    pub(super) fn flows(&self, jobs: &Jobs, now: Time) -> bool {
        self.flows_until(jobs).is_some_and(|until| until > now)
    }

    /// Until when a holder is known to send it, if no more is heard of that; none if it is not fetched from others.
    fn flows_until(&self, jobs: &Jobs) -> Option<Time> {
        let own = self.running.values().any(|(holder, _)| *holder == Holder::Own);
        self.running.keys().map(|job| jobs.flows_until(*job)).max().filter(|_| !own)
    }

    /// The next holder to try: not one that failed before in this file, as far as others are known. Liars gather around
    /// the key: where others were looked for behind them, the first known and the furthest from it take turns. Last
    /// counts how soon each may send it, as `prospect` says.
    pub(super) fn take_holder<P: Ord>(
        &mut self,
        doubts: &Doubts,
        prospect: impl Fn(&SocketAddr, u64) -> P,
    ) -> Option<Peer> {
        let (key, weight) = (self.what.key(), self.weight());
        let furthest = self.wider && !self.tried.len().is_multiple_of(2);
        let rank = |Peer { id, addr }: &Peer| {
            let furthest = furthest.then(|| Reverse(id.distance(&key)));
            (self.failed.contains(addr), doubts.of(addr), furthest, prospect(addr, weight))
        };
        let best = |among: &VecDeque<Peer>| (0..among.len()).min_by_key(|&at| rank(&among[at]));
        let (untried, again) = (best(&self.known), best(&self.given_up));
        match (untried, again) {
            (Some(at), Some(other)) if rank(&self.given_up[other]) < rank(&self.known[at]) => {
                self.given_up.remove(other)
            }
            (Some(at), _) => self.known.remove(at),
            (None, other) => self.given_up.remove(other?),
        }
    }

    /// Whether there is a holder to try next.
    pub(super) fn has_next(&self) -> bool {
        self.next_holders().next().is_some()
    }

    /// The holders that may be tried next.
    pub(super) fn next_holders(&self) -> impl Iterator<Item = &Peer> {
        self.known.iter().chain(&self.given_up)
    }

    /// A fetch ends, for it took too long: its holder may be no slower than the next one.
    pub(super) fn give_up(&mut self, job: JobId) {
        let Some((Holder::Peer(addr), _)) = self.running.get(&job) else { return };
        self.given_up.extend(self.tried.get(addr));
    }

    /// Every known holder was tried: from now on they come last.
    pub(super) fn begin_round(&mut self) {
        self.failed.extend(std::mem::take(&mut self.tried).into_keys());
        self.given_up.clear();
        (self.hedges, self.wider) = (0, false);
    }

    /// While nobody sends it and it is looked for: until when a holder is waited for that is doubted by nobody.
    pub(super) fn settles_at(&self) -> Option<Time> {
        let is_idle = self.running.is_empty() && !self.parked && self.lookup.is_some();
        (is_idle && !self.known.is_empty()).then(|| self.last_sought + HEDGE_MIN)
    }

    /// When the last fetch began.
    pub(super) fn latest(&self) -> Option<Time> {
        self.running.values().map(|(_, since)| *since).max()
    }

    /// The fetch that has been under way for longest.
    pub(super) fn oldest(&self) -> Option<JobId> {
        self.running.iter().min_by_key(|(job, (_, since))| (*since, **job)).map(|(job, _)| *job)
    }

    /// A fetch failed. That its holder does not have the block after all tells nothing: others may, and one that finds
    /// it damaged moves it aside and lacks it from then on.
    pub(super) fn note_trouble(&mut self, error: JobError) {
        if error.kind != JobErrorKind::NotFound {
            self.trouble = Some(error);
        }
    }

    /// What to say when no holder gave the block.
    pub(super) fn despair(&self) -> (FailureKind, String) {
        let key = self.what.key();
        let damaged = self.inquest.as_ref().map_or(0, |inquest| inquest.damaged);
        match &self.trouble {
            // Of the key that tells nothing: this peer may be cut off, alone or with a few others.
            None if self.silent.len() > self.answered.len() || !self.conclusive => {
                let asked = match self.answered.len() {
                    0 => "no peer could be asked",
                    answered if answered < self.silent.len() => "too few peers could be asked",
                    _ => "no way led to the peers that should be asked",
                };
                let reason = format!("{asked} for {key}{}; try again", named_silent(&self.silent));
                (FailureKind::TimedOut, reason)
            }
            None if damaged > 0 => {
                let holders = if damaged == 1 { "1 holder has".to_owned() } else { format!("{damaged} holders have") };
                let reason = format!("{holders} found the copy of {key} damaged, and nobody has a better one");
                (FailureKind::Integrity, reason)
            }
            None => {
                let silent = named_silent(&self.silent);
                let reason = format!("no peer holds {key}; is the key right, and are its holders running?{silent}");
                (FailureKind::NotFound, reason)
            }
            Some(error) => (FailureKind::from(error), format!("block {} cannot be had: {}", key.short(), error.reason)),
        }
    }
}

/// Whether a fetch failed for a reason that no other holder can mend: there is no place for the bytes here.
pub(super) fn did_our_disk_fail(error: &JobError, fetched: Option<(Holder, Time)>) -> bool {
    matches!(error.kind, JobErrorKind::Full | JobErrorKind::Io) && matches!(fetched, Some((Holder::Peer(_), _)))
}
