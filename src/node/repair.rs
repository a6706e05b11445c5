//! Keeping replica sets full.
//!
//! When a peer comes or goes, every block whose replica set it concerns is checked; and each block is checked once in
//! [`REPUBLISH_INTERVAL`] anyway. A check begins with the nearer peers that should hold the block: if enough of them say
//! they do ([`DUTY_HOLDERS`]), the block is their duty and the check is over. Otherwise this peer is one of the block's
//! nearest live holders: it looks up the replica set and offers the block to each member that lacks it. An offer of what
//! is there already costs one datagram each way, so two peers on the same duty do no harm; and one peer that lies about
//! what it holds does not stop the repair.
//!
//! After news more is asked. Who has the duty may not have noticed what happened to a peer far from itself, so any other
//! holder that did asks all that should hold the block, as far as it knows them, and offers it to those that lack it. This
//! goes for copies outside the set too: it can be that nobody within it has noticed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::RngExt;

use super::context::{AskPurpose, Context, LookupPurpose, OfferOwner};
use super::notice::Notice;
use crate::config::{MAX_REPAIRS, REPAIR_DELAY, REPAIR_RETRY, REPUBLISH_INTERVAL};
use crate::id::Key;
use crate::overlay::{Cause, Goal};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;

/// Nearer peers that must say they hold a block before this one leaves its repair to them.
const DUTY_HOLDERS: usize = 2;

/// More news than this at a time concern every block, without asking for each.
const MANY_NEWS: usize = 8;

/// What is to be checked, and when.
#[derive(Default)]
pub(super) struct Repair {
    /// When each block is checked next; every block held is in it, or in `running`.
    due: BTreeSet<(Time, Key)>,
    due_of: BTreeMap<Key, Time>,
    running: BTreeMap<Key, Check>,
    /// Blocks whose next check is due to news.
    stirred: BTreeSet<Key>,
    /// Peers that came or went and whose blocks are not scheduled yet, and when they will be.
    news: Vec<Peer>,
    news_due: Option<Time>,
}

/// A check under way.
struct Check {
    /// Nearer peers that were not asked yet whether they hold the block.
    nearer: VecDeque<Peer>,
    /// The other peers that should hold it, as far as this peer knows; only after news.
    further: Vec<Peer>,
    /// Nearer peers that say they hold it.
    claims: usize,
    /// Questions without an answer.
    asked: usize,
    /// Peers that should hold it and do not say so.
    lacking: Vec<Peer>,
    /// The check is due to news.
    stirred: bool,
    /// Offers without an answer.
    offered: usize,
    missing: usize,
    /// News came while the check ran: check again.
    again: bool,
}

impl Repair {
    /// A block is held here from now on. Whoever stored it may have died half-way, or been cut off from those who should
    /// hold it: it is looked after soon, and then in due time.
    pub(super) fn watch(&mut self, cx: &mut Context, key: Key) {
        if !self.due_of.contains_key(&key) && !self.running.contains_key(&key) {
            let wait = jittered(cx, REPAIR_RETRY);
            self.schedule(key, cx.now + wait);
        }
    }

    /// Blocks were found at the start: where they belong may have changed while this peer was away.
    pub(super) fn watch_soon(&mut self, cx: &mut Context, key: Key) {
        let wait = REPAIR_DELAY * 2 + jittered(cx, REPAIR_DELAY * 4);
        self.schedule(key, cx.now + wait);
    }

    /// A block is not held here any more.
    pub(super) fn forget(&mut self, key: &Key) {
        self.stirred.remove(key);
        if let Some(due) = self.due_of.remove(key) {
            self.due.remove(&(due, *key));
        }
    }

    /// A peer came or went: the blocks that it concerns are checked soon, many such news at once.
    pub(super) fn on_peer_change(&mut self, cx: &mut Context, peer: &Peer) {
        if cx.holdings.len() > 0 && !cx.departing {
            self.news.push(*peer);
            self.news_due.get_or_insert(cx.now + REPAIR_DELAY);
        }
    }

    /// Schedules the blocks that the news concern.
    fn take_news(&mut self, cx: &mut Context) {
        self.news_due = None;
        let news = std::mem::take(&mut self.news);
        let replicas = cx.config.replicas;
        let latest = cx.now + REPAIR_DELAY;
        let soon = |due: &Time| *due <= latest;
        let concerned = |key: &Key, cx: &Context| {
            news.len() > MANY_NEWS || news.iter().any(|peer| cx.overlay.concerns(key, peer, replicas))
        };
        let keys: Vec<Key> = cx.holdings.iter().map(|(key, _)| key).collect();
        for key in keys {
            if !concerned(&key, cx) {
                continue;
            }
            self.stirred.insert(key);
            if self.due_of.get(&key).is_some_and(soon) {
                continue;
            }
            if let Some(check) = self.running.get_mut(&key) {
                check.again = true;
            } else {
                let wait = jittered(cx, REPAIR_DELAY);
                self.schedule(key, cx.now + wait);
            }
        }
    }

    fn schedule(&mut self, key: Key, at: Time) {
        if let Some(before) = self.due_of.insert(key, at) {
            self.due.remove(&(before, key));
        }
        self.due.insert((at, key));
    }

    /// Starts the checks that are due.
    pub(super) fn on_tick(&mut self, cx: &mut Context) {
        if self.news_due.is_some_and(|due| due <= cx.now) {
            self.take_news(cx);
        }
        while self.running.len() < MAX_REPAIRS && !cx.departing {
            let Some(&(_, key)) = self.due.first().filter(|(due, _)| *due <= cx.now) else { break };
            let stirred = self.stirred.contains(&key);
            self.forget(&key);
            if cx.holdings.contains(&key) {
                self.start(cx, key, stirred);
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        let due = self.due.first().map(|&(due, _)| due).filter(|_| self.running.len() < MAX_REPAIRS);
        [due, self.news_due].into_iter().flatten().min()
    }

    fn start(&mut self, cx: &mut Context, key: Key, stirred: bool) {
        let set = cx.overlay.replica_set(&key, cx.config.replicas);
        cx.overlay.on(cx.now, Cause::Shared { with: &set }, &mut cx.effects);
        let rank = set.iter().position(|peer| cx.is_me(peer)).unwrap_or(set.len());
        let further = if stirred { set.iter().skip(rank + 1).copied().collect() } else { Vec::new() };
        let nearer = set.into_iter().take(rank).collect();
        let check = Check {
            nearer,
            further,
            claims: 0,
            asked: 0,
            lacking: Vec::new(),
            stirred,
            offered: 0,
            missing: 0,
            again: false,
        };
        self.running.insert(key, check);
        self.ask_nearer(cx, key);
    }

    /// Asks the next nearer peer whether the block is its duty; if nobody is left to ask, it is ours.
    fn ask_nearer(&mut self, cx: &mut Context, key: Key) {
        let Some(check) = self.running.get_mut(&key) else { return };
        match check.nearer.pop_front() {
            Some(to) => {
                check.asked += 1;
                cx.ask(to, Request::FindValue { key }, AskPurpose::Probe { key, to });
            }
            None => {
                cx.look_up(key, Goal::Holders, LookupPurpose::Repair { key, holders: Vec::new() });
            }
        }
    }

    /// A peer said whether it holds the block; silence is a no.
    pub(super) fn on_probe(&mut self, cx: &mut Context, key: Key, to: Peer, holds: bool) {
        let Some(check) = self.running.get_mut(&key) else { return };
        check.asked -= 1;
        check.claims += usize::from(holds);
        if !holds {
            check.lacking.push(to);
        }
        if check.claims < DUTY_HOLDERS {
            return self.ask_nearer(cx, key);
        }
        if check.stirred {
            let rest: Vec<Peer> = check.nearer.drain(..).chain(check.further.drain(..)).collect();
            for to in rest {
                check.asked += 1;
                cx.ask(to, Request::FindValue { key }, AskPurpose::Probe { key, to });
            }
        }
        if check.asked == 0 {
            let lacking = if check.stirred { std::mem::take(&mut check.lacking) } else { Vec::new() };
            self.offer(cx, key, lacking);
        }
    }

    /// The replica set is known, and who of it holds the block: the others are offered it.
    pub(super) fn on_found(&mut self, cx: &mut Context, key: Key, peers: Vec<Peer>, holders: &[Peer]) {
        let lacks = |peer: &Peer| !cx.is_me(peer) && !holders.iter().any(|holder| holder.id == peer.id);
        let lacking = peers.into_iter().take(cx.config.replicas).filter(lacks).collect();
        self.offer(cx, key, lacking);
    }

    /// Offers a block to those that should hold it and do not.
    fn offer(&mut self, cx: &mut Context, key: Key, lacking: Vec<Peer>) {
        let Some(check) = self.running.get_mut(&key) else { return };
        let Some(size) = cx.holdings.size(&key).filter(|_| !lacking.is_empty()) else {
            return self.end(cx, key, REPUBLISH_INTERVAL);
        };
        for peer in lacking {
            check.offered += 1;
            cx.offer(OfferOwner::Repair, key, size, peer);
        }
    }

    /// A peer took a block, or did not.
    pub(super) fn on_offered(&mut self, cx: &mut Context, key: Key, to: Peer, result: Result<(), String>) {
        let Some(check) = self.running.get_mut(&key) else { return };
        check.offered -= 1;
        match result {
            Ok(()) => cx.notify(Notice::BlockRepaired { key, to }),
            Err(reason) => {
                log::debug!("{to} did not take block {}: {reason}", key.short());
                check.missing += 1;
            }
        }
        if check.offered == 0 {
            let next = if check.missing == 0 { REPUBLISH_INTERVAL } else { REPAIR_RETRY };
            if check.missing > 0 && check.stirred {
                self.stirred.insert(key);
            }
            self.end(cx, key, next);
        }
    }

    fn end(&mut self, cx: &mut Context, key: Key, next: Duration) {
        let Some(check) = self.running.remove(&key) else { return };
        let wait = if check.again { REPAIR_DELAY } else { jittered(cx, next) };
        self.schedule(key, cx.now + wait);
        self.on_tick(cx);
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether what is scheduled and what is held agree.
    pub(super) fn check(&self, cx: &Context) -> Result<(), String> {
        let agree = self.due.len() == self.due_of.len()
            && self.due.iter().all(|(due, key)| self.due_of.get(key) == Some(due))
            && self.stirred.iter().all(|key| self.due_of.contains_key(key) || self.running.contains_key(key))
            && self.running.len() <= MAX_REPAIRS;
        let watched = cx.config.guest
            || cx.departing
            || cx.holdings.iter().all(|(key, _)| self.due_of.contains_key(&key) || self.running.contains_key(&key));
        (agree && watched).then_some(()).ok_or_else(|| "repair's schedule and the holdings disagree".to_owned())
    }
}

/// Between three quarters of `interval` and all of it, so that peers do not move in step.
fn jittered(cx: &mut Context, interval: Duration) -> Duration {
    interval.mul_f64(cx.rng.random_range(0.75..1.0))
}
