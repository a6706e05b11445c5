//! The peers that should hold some of the blocks held here, and when what is held is compared with each.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::comparison::{Comparison, Share};
use crate::config::{REPAIR_DELAY, REPAIR_RETRY, REPUBLISH_INTERVAL};
use crate::id::{Id, Key};
use crate::node::holdings::Holdings;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;

/// However many news there are, a peer is not compared with more often than this.
const MAX_PAUSE: Duration = Duration::from_secs(16);

/// A peer that lacks blocks which others have to give it is compared with again after this long, and longer the more
/// they are.
const SETTLE: Duration = Duration::from_secs(4);

/// Blocks a second that a peer is expected to be given.
const GIVEN_A_SECOND: usize = 2_000;

/// A peer whose store was full is not offered anything for this long, and twice as long each time that it still is.
const FULL: Duration = Duration::from_secs(600);
const MAX_FULL: Duration = Duration::from_secs(4 * 3600);

/// Offers to one peer that wait for their turn or for its answer.
pub(super) const WINDOW: usize = 32;

/// Peers by their ids.
pub(super) type Neighbours = BTreeMap<Id, Neighbour>;

pub(super) struct Neighbour {
    pub(super) peer: Peer,
    /// The blocks that it should hold.
    pub(super) shares: Vec<Share>,
    /// When it is compared with next.
    due: Time,
    /// The least time from the beginning of one comparison to the next.
    pause: Duration,
    /// When the last one began; zero before the first.
    began: Time,
    /// The comparison under way.
    pub(super) pass: Option<Pass>,
    /// Blocks that it lacked after the last one, though somebody else was to give them.
    lacked: usize,
    /// That number did not shrink: they are given by this peer now, whoever else may.
    takes_over: bool,
    /// How often in a row it did not answer or take what it was offered.
    failures: u32,
    /// Its store was full: until when it is offered nothing, and how long that is.
    full: Option<(Time, Duration)>,
}

/// A comparison under way, and what comes of it.
pub(super) struct Pass {
    pub(super) comparison: Comparison,
    /// It lacks these blocks; nothing was done about it yet.
    pub(super) lacking: VecDeque<Key>,
    /// Offers without an answer.
    pub(super) offered: usize,
    /// Blocks that it lacks and that are left for others to give.
    pub(super) left: usize,
    /// It did not answer, or did not take a block: so often.
    failures: usize,
    /// It was found to lack a block.
    pub(super) lacks: bool,
    /// Nothing is left to compare.
    done: bool,
}

/// A peer that did not take so many blocks is offered no more of them for now.
const MAX_FAILURES: usize = 8;

impl Pass {
    /// Whether the peer can be asked or offered something, or all has come to its end.
    pub(super) fn is_ready(&self) -> bool {
        if !self.lacking.is_empty() {
            return self.offered < WINDOW;
        }
        if self.done { self.offered == 0 } else { self.offered < WINDOW && !self.comparison.is_asking() }
    }

    /// The next request of the comparison. After the last one there is none.
    pub(super) fn next(&mut self, holdings: &Holdings) -> Option<Request> {
        let request = if self.done { None } else { self.comparison.next(holdings) };
        self.done = request.is_none();
        request
    }

    /// It did not take a block.
    pub(super) fn refused(&mut self) {
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            self.give_up();
        }
    }

    /// It does not answer, or nothing sensible.
    pub(super) fn give_up(&mut self) {
        self.failures += 1;
        self.done = true;
        self.lacking.clear();
        self.comparison.give_up();
    }
}

impl Neighbour {
    pub(super) fn new(now: Time, peer: Peer) -> Self {
        Self {
            peer,
            shares: Vec::new(),
            due: now + REPUBLISH_INTERVAL,
            pause: REPAIR_DELAY,
            began: Time::ZERO,
            pass: None,
            lacked: 0,
            takes_over: false,
            failures: 0,
            full: None,
        }
    }

    /// Whether it should hold all of this already.
    pub(super) fn shares_all(&self, shares: &[Share]) -> bool {
        shares.iter().all(|share| {
            let after = self.shares.partition_point(|known| known.range.first <= share.range.first);
            after.checked_sub(1).is_some_and(|at| self.shares[at].covers(share))
        })
    }

    /// When it is compared with next; none while it is.
    pub(super) fn due(&self) -> Option<Time> {
        self.pass.is_none().then_some(self.due)
    }

    /// It is compared with at `at`, if that is not to be sooner anyway, and not too soon after the last time.
    pub(super) fn wake(&mut self, at: Time) {
        let at = if self.began == Time::ZERO { at } else { at.max(self.began + self.pause) };
        self.due = self.due.min(at);
    }

    /// It holds all that it should, as far as this peer knows.
    pub(super) fn is_settled(&self) -> bool {
        self.pass.is_none() && self.lacked == 0 && self.failures == 0
    }

    /// Begins to compare.
    pub(super) fn begin(&mut self, now: Time, held: usize) {
        let soon = self.began != Time::ZERO && now < self.began + self.pause * 2;
        self.pause = if soon { (self.pause * 2).min(MAX_PAUSE) } else { REPAIR_DELAY };
        self.began = now;
        let comparison = Comparison::new(&self.shares, held);
        let lacking = VecDeque::new();
        self.pass =
            Some(Pass { comparison, lacking, offered: 0, left: 0, failures: 0, lacks: self.lacked > 0, done: false });
    }

    /// Whether this peer gives blocks that another one is to give, because that one does not.
    pub(super) fn takes_over(&self) -> bool {
        self.takes_over
    }

    /// The comparison is over. It is repeated after about an hour, or sooner if blocks are still missing.
    pub(super) fn end(&mut self, now: Time, jittered: impl FnOnce(Duration) -> Duration) {
        let Some(Pass { left, failures, .. }) = self.pass.take() else { return };
        let failed = failures > 0;
        self.failures = if failed { self.failures + 1 } else { 0 };
        self.takes_over = left > 0 && left >= self.lacked && self.lacked > 0 && !self.takes_over;
        self.lacked = left;
        let wait = if failed {
            (REPAIR_RETRY * 2_u32.pow((self.failures - 1).min(16))).min(REPUBLISH_INTERVAL)
        } else if left > 0 {
            SETTLE + Duration::from_secs(left as u64) / GIVEN_A_SECOND as u32
        } else {
            REPUBLISH_INTERVAL
        };
        self.due = now + jittered(wait);
    }

    /// Whether its store was full lately.
    pub(super) fn is_full(&self, now: Time) -> bool {
        self.full.is_some_and(|(until, _)| now < until)
    }

    /// Whether it is full, or lacks blocks: giving others theirs is not its duty now.
    pub(super) fn is_unfit(&self, now: Time) -> bool {
        let lacks = self.pass.as_ref().map_or(self.lacked > 0, |pass| pass.lacks);
        lacks || self.is_full(now)
    }

    /// It says that its store is full.
    pub(super) fn fill(&mut self, now: Time) {
        if !self.is_full(now) {
            let wait = self.full.map_or(FULL, |(_, before)| (before * 2).min(MAX_FULL));
            self.full = Some((now + wait, wait));
        }
    }

    /// It took a block.
    pub(super) fn took(&mut self) {
        self.full = None;
    }
}
