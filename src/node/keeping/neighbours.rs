//! The peers that should hold some of the blocks held here, and when what is held is compared with each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::comparison::{BATCH, Comparison, SharedRange};
use super::conduct::Conduct;
use crate::config::REPUBLISH_INTERVAL;
use crate::id::{Id, Key};
use crate::node::desk::Desk;
use crate::node::holdings::Holdings;
use crate::node::leases::Class;
use crate::node::ticket::{About, PartId, Ticket};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::summary::MAX_RANGES;
use crate::wire::{Range, Request, Start};

/// A peer that lacks blocks which others have to give it is compared with again after this long, and longer the more
/// they are.
const COMPARED_AGAIN_AFTER: Duration = Duration::from_secs(4);

/// Blocks a second that a peer is expected to be given.
const GIVEN_A_SECOND: usize = 2_000;

/// Offers to one peer that wait for their turn or for its answer.
pub(super) const WINDOW: usize = 32;

/// Peers by their ids.
pub(super) type NeighbourTable = BTreeMap<Id, Neighbour>;

pub(super) struct Neighbour {
    pub(super) peer: Peer,
    /// The blocks that it should hold.
    pub(super) shares: Vec<SharedRange>,
    /// When all of these are compared with it next.
    due: Time,
    /// When they are sooner than that, for they are more than before.
    grown: Option<Time>,
    /// When these alone are, class by class, for they are held here since a moment ago.
    news: Option<(Time, BTreeSet<(Class, Start)>)>,
    /// The comparison under way, apart: after each event all neighbours are looked at, and few are compared with.
    pub(super) pass: Option<Box<ComparisonPass>>,
    /// Blocks that it lacked after the last one, though another peer was to give them.
    lacked: usize,
    /// That number did not shrink: they are given by this peer now, even if others give them too.
    takes_over: bool,
}

/// A comparison under way, and what comes of it.
pub(super) struct ComparisonPass {
    /// Tells it from all others: what comes of an earlier one is not counted to it.
    pub(super) number: u64,
    pub(super) comparison: Comparison,
    /// It is about all that the peer should hold.
    is_whole: bool,
    /// It lacks these blocks; nothing was done about it yet.
    pub(super) lacking: VecDeque<Key>,
    /// Offers without an answer.
    pub(super) offered: usize,
    /// One of them is of a block that it says it holds, and has to show.
    pub(super) probe: Option<Key>,
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

impl ComparisonPass {
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

    /// Offers the peer a block of so many bytes.
    pub(super) fn offer(&mut self, desk: &mut Desk, (key, size): (Key, u32), to: Peer) {
        self.offered += 1;
        let ticket = Ticket { owner: PartId::Repair, number: self.number, about: About::Block(key) };
        desk.offer_for_repair(ticket, (key, size), to);
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
        let due = now + REPUBLISH_INTERVAL;
        Self { peer, shares: Vec::new(), due, grown: None, news: None, pass: None, lacked: 0, takes_over: false }
    }

    /// Whether it should hold all of this already.
    pub(super) fn shares_all(&self, shares: &[SharedRange]) -> bool {
        shares.iter().all(|share| {
            let place = |share: &SharedRange| (share.class, share.range.first);
            let after = self.shares.partition_point(|known| place(known) <= place(share));
            after.checked_sub(1).is_some_and(|at| self.shares[at].covers(share))
        })
    }

    /// When it is compared with next; none while it is.
    pub(super) fn due(&self) -> Option<Time> {
        let news = self.news.as_ref().map(|(due, _)| *due);
        let due = [Some(self.due), self.grown, news].into_iter().flatten().min();
        due.filter(|_| self.pass.is_none())
    }

    /// It should hold more than before: that is compared with it at `at`, also if a comparison is under way now.
    pub(super) fn grow(&mut self, at: Time) {
        self.grown = Some(self.grown.map_or(at, |before| before.min(at)));
    }

    /// It is compared with at `at`, if that is not to be sooner anyway.
    pub(super) fn wake(&mut self, at: Time) {
        self.due = self.due.min(at);
    }

    /// A block that it should hold is held here from now on, beside others: whether it has that is looked at at `at`.
    pub(super) fn hear_of(&mut self, at: Time, class: Class, key: &Key, held: usize) {
        let (due, news) = self.news.get_or_insert_default();
        *due = if news.is_empty() { at } else { at.min(*due) };
        news.insert((class, Start::of(key)));
        // Where it takes no more requests all are compared.
        if news.len().div_ceil(MAX_RANGES) >= held.div_ceil(BATCH) {
            let due = *due;
            self.wake(due);
            self.news = None;
        }
    }

    /// What is compared of a block of this class that starts so, if this peer should still hold it.
    fn share(&self, (class, start): (Class, Start)) -> Option<SharedRange> {
        let range = Range { first: start, last: start };
        let after = self.shares.partition_point(|share| (share.class, share.range.first) <= (Some(class), start));
        let share = self.shares[..after].last().filter(|share| share.class == Some(class));
        share.filter(|share| share.range.contains(&range)).map(|share| SharedRange { range, ..*share })
    }

    /// It held all that it should, as far as this peer knows.
    pub(super) fn holds_all(&self) -> bool {
        self.pass.is_none() && self.lacked == 0
    }

    /// Begins to compare all, if that is due, or else the news; for the time `number` of all. Whether it should hold
    /// more than before.
    pub(super) fn begin(&mut self, now: Time, number: u64, held: usize) -> bool {
        let has_grown = self.grown.take_if(|due| *due <= now).is_some();
        let is_whole = self.due <= now || has_grown;
        let news: Vec<SharedRange> =
            self.news.take().iter().flat_map(|(_, news)| news).filter_map(|&new| self.share(new)).collect();
        let comparison = Comparison::new(if is_whole { &self.shares } else { &news }, held);
        self.pass = Some(Box::new(ComparisonPass {
            number,
            comparison,
            is_whole,
            lacking: VecDeque::new(),
            offered: 0,
            probe: None,
            left: 0,
            failures: 0,
            lacks: self.lacked > 0,
            done: false,
        }));
        has_grown
    }

    /// Whether this peer gives blocks that another one is to give, because that one does not.
    pub(super) fn takes_over(&self) -> bool {
        self.takes_over
    }

    /// The comparison is over. All is compared anew after about an hour, or sooner if blocks are still missing.
    pub(super) fn end(&mut self, now: Time, conduct: &mut Conduct, jittered: impl FnOnce(Duration) -> Duration) {
        let Some(ComparisonPass { is_whole, left, failures, .. }) = self.pass.take().map(|pass| *pass) else { return };
        if !is_whole && left == 0 && failures == 0 {
            return conduct.behaved();
        }
        self.takes_over = left > 0 && left >= self.lacked && self.lacked > 0 && !self.takes_over;
        self.lacked = left;
        self.due = if failures > 0 {
            conduct.failed(now, jittered)
        } else {
            conduct.behaved();
            let again = COMPARED_AGAIN_AFTER + Duration::from_secs(left as u64) / GIVEN_A_SECOND as u32;
            now + jittered(if left > 0 { again } else { REPUBLISH_INTERVAL })
        };
    }

    /// Whether it lacks blocks.
    pub(super) fn lacks(&self) -> bool {
        self.pass.as_ref().map_or(self.lacked > 0, |pass| pass.lacks)
    }
}
