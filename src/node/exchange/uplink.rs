//! The way out: blocks offered to others, no more at a time than it carries.
//!
//! A peer that takes an offer pulls the block from here, so what is offered at a time shares this peer's way out.
//! Offers wait here for their turn, those of the user's files and those of repair by turns, each in its order.
//!
//! An offer that keeps us waiting far longer than usual is not being pulled at all, so it does not occupy a place any
//! longer. A peer that lets an offer run to its limit *stalls*: it lives, it answers pings, and it takes nothing. So
//! does, for a shorter time, a peer that does not even begin to pull, or says that it cannot: most often no TCP gets
//! from there to here. None of that holds where no peer took a block in a quarter of the time: then it is this peer's
//! way out that is slow.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::lease::Lease;
use crate::node::job::Urgency;
use crate::node::pace::{GOOD_TIME, Pace, weight};
use crate::node::ticket::Offer;
use crate::patience;
use crate::recent::Recent;
use crate::time::Time;

/// Large blocks that are offered at a time at most.
const OFFERS_AT_ONCE: usize = 128;

/// An offer that takes this many times the usual is not being pulled.
const NOT_PULLED_FACTOR: u32 = 4;

/// No offer counts as such before it took this long.
const NOT_PULLED_MIN: Duration = Duration::from_secs(2);

/// How long a peer that stalled is not waited for.
const STALL: Duration = Duration::from_secs(600);

/// How long a peer is not waited for that did not begin to pull, unless it begins meanwhile, or could not.
const NO_BEGINNING: Duration = Duration::from_secs(60);

/// Peers that are remembered to have stalled.
const STALLED_MEMORY: usize = 256;

/// A block that is to be offered.
#[derive(Clone, Debug)]
pub(super) struct Offering {
    pub(super) offer: Offer,
    /// Bytes of the block.
    pub(super) size: u32,
    /// On whose behalf the block is kept.
    pub(super) leases: Vec<Lease>,
}

/// Names an offer under way: when it was made, and a number.
pub(super) type OfferNumber = (Time, u64);

/// An address that is not waited for.
#[derive(Clone, Copy)]
struct Stall {
    until: Time,
    /// It did not begin to pull: that it does mends this.
    no_beginning: bool,
}

pub(super) struct Uplink {
    pace: Pace,
    of_users: VecDeque<Offering>,
    of_others: VecDeque<Offering>,
    /// Whether the user's offers are next, or those of repair.
    users_turn: bool,
    /// Bytes of each block whose offer is under way.
    out: BTreeMap<OfferNumber, u32>,
    next: u64,
    /// Until when each address is not waited for.
    stalled: Recent<SocketAddr, Stall, STALLED_MEMORY>,
}

impl Default for Uplink {
    fn default() -> Self {
        Self {
            pace: Pace::new(OFFERS_AT_ONCE),
            of_users: VecDeque::new(),
            of_others: VecDeque::new(),
            users_turn: true,
            out: BTreeMap::new(),
            next: 0,
            stalled: Recent::default(),
        }
    }
}

impl Uplink {
    pub(super) fn line_up(&mut self, offering: Offering) {
        match offering.offer.urgency {
            Urgency::Own => self.of_users.push_back(offering),
            Urgency::Others => self.of_others.push_back(offering),
        }
    }

    /// The next offer that may be made now. [`end`](Self::end) follows.
    pub(super) fn next(&mut self, now: Time) -> Option<(OfferNumber, Offering)> {
        self.first(now)?;
        let from_users = self.is_users_turn();
        self.users_turn = !from_users;
        let queue = if from_users { &mut self.of_users } else { &mut self.of_others };
        let offering = queue.pop_front()?;
        let number = (now, self.next);
        self.next += 1;
        self.out.insert(number, offering.size);
        Some((number, offering))
    }

    fn is_users_turn(&self) -> bool {
        !self.of_users.is_empty() && (self.users_turn || self.of_others.is_empty())
    }

    /// The offer that is to be made next, if it may be made now.
    fn first(&self, now: Time) -> Option<&Offering> {
        let first = if self.is_users_turn() { self.of_users.front() } else { self.of_others.front() }?;
        let under_way = self.under_way(now).map(|(_, size)| weight(*size)).sum();
        self.pace.admits(under_way, weight(first.size)).then_some(first)
    }

    /// Offers that occupy a place: the others take too long to be pulled.
    fn under_way(&self, now: Time) -> impl Iterator<Item = (&OfferNumber, &u32)> {
        let patience = self.patience();
        let is_not_pulled = move |since: Time| patience.is_some_and(|patience| since + patience <= now);
        self.out.iter().rev().take_while(move |((since, _), _)| !is_not_pulled(*since))
    }

    /// How long an offer occupies a place; without an end as long as nothing is known.
    fn patience(&self) -> Option<Duration> {
        self.pace.usual().map(|usual| (usual * NOT_PULLED_FACTOR).max(NOT_PULLED_MIN))
    }

    /// An offer under way is over: the block was taken, or was not.
    pub(super) fn end(&mut self, now: Time, number: OfferNumber, to: SocketAddr, taken: bool) {
        let counted = self.under_way(now).any(|(other, _)| *other == number);
        let Some(size) = self.out.remove(&number) else { return };
        if taken {
            self.pace.on_moved(size, now.since(number.0));
            self.forgive(to);
        } else if counted {
            self.pace.on_given_up(now, number.0);
        }
    }

    /// Whether an offer that was made at `since` may take so long because the way out is slow, as far as what others
    /// took shows.
    pub(super) fn may_be_slow(&self, now: Time, since: Time) -> bool {
        let takes = now.since(since);
        takes < patience::SLOW_OFFER && self.pace.usual().is_none_or(|usual| takes < usual * NOT_PULLED_FACTOR)
    }

    /// Whether an offer that was made at `since`, and has failed, took so long that the way out may be why.
    pub(super) fn was_slow(&self, now: Time, since: Time) -> bool {
        now.since(since) > GOOD_TIME && self.may_be_slow(now, since)
    }

    /// The peer at `addr` let an offer run to its limit.
    pub(super) fn on_stall(&mut self, now: Time, addr: SocketAddr) {
        self.stalled.insert(addr, Stall { until: now + STALL, no_beginning: false });
    }

    /// The peer at `addr` does not begin to pull what it is offered; or it `began`, and could not do what others could.
    pub(super) fn on_not_pulled(&mut self, now: Time, addr: SocketAddr, began: bool) {
        if !self.stalls(now, &addr) {
            self.stalled.insert(addr, Stall { until: now + NO_BEGINNING, no_beginning: !began });
        }
    }

    /// The peer at `addr` begins to pull.
    pub(super) fn on_beginning(&mut self, addr: SocketAddr) {
        if self.stalled.get(&addr).is_some_and(|stall| stall.no_beginning) {
            self.forgive(addr);
        }
    }

    /// The peer at `addr` takes offers, or is new there.
    pub(super) fn forgive(&mut self, addr: SocketAddr) {
        self.stalled.remove(&addr);
    }

    pub(super) fn stalls(&self, now: Time, addr: &SocketAddr) -> bool {
        self.stalled.get(addr).is_some_and(|stall| now < stall.until)
    }

    /// Takes the offers that wait and that `gone` says are not wanted any more.
    pub(super) fn take_where(&mut self, gone: impl Fn(&Offering) -> bool) -> Vec<Offering> {
        let mut taken = Vec::new();
        for queue in [&mut self.of_users, &mut self.of_others] {
            let (out, stay): (Vec<_>, Vec<_>) = queue.drain(..).partition(&gone);
            taken.extend(out);
            queue.extend(stay);
        }
        taken
    }

    /// When an offer under way no longer occupies its place, if another waits for that.
    pub(super) fn next_wake(&self, now: Time) -> Option<Time> {
        if self.of_users.is_empty() && self.of_others.is_empty() {
            return None;
        }
        let ((oldest, _), _) = self.under_way(now).last()?;
        self.patience().map(|patience| *oldest + patience)
    }

    /// Whether no offer waits that could go.
    pub(super) fn check(&self, now: Time) -> Result<(), String> {
        self.first(now).map_or(Ok(()), |first| Err(format!("the offer to {} waits for nothing", first.offer.to)))
    }
}
