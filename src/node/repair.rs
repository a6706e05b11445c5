//! Keeping replica sets full.
//!
//! When a peer comes or goes, every block whose replica set it concerns is checked; and each block is checked once in
//! [`REPUBLISH_INTERVAL`] anyway. A check begins with the nearer peers that should hold the block: if enough of them say
//! they do ([`DUTY_HOLDERS`]), the block is their duty and the check is over. Otherwise this peer is one of the block's
//! nearest live holders: it looks up the replica set and offers the block to each member that lacks it. An offer of what
//! is there already costs one datagram each way, so two peers on the same duty do no harm; and one peer that lies about
//! what it holds does not stop the repair.
//!
//! A block found damaged here is brought back from whoever else holds it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::RngExt;

use super::context::{AskPurpose, Context, JobPurpose, LookupPurpose, OfferOwner};
use super::job::{Job, Outcome};
use super::jobs::Urgency;
use super::notice::Notice;
use crate::config::{MAX_REPAIRS, REPAIR_DELAY, REPAIR_RETRY, REPUBLISH_INTERVAL};
use crate::id::Key;
use crate::overlay::Goal;
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
    /// Peers that came or went and whose blocks are not scheduled yet, and when they will be.
    news: Vec<Peer>,
    news_due: Option<Time>,
    /// Damaged blocks and the holders that are still to be tried.
    healing: BTreeMap<Key, VecDeque<Peer>>,
}

/// A check under way.
struct Check {
    /// Nearer peers that were not asked yet whether they hold the block.
    nearer: VecDeque<Peer>,
    /// Nearer peers that say they hold it.
    claims: usize,
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
            if self.due_of.get(&key).is_some_and(soon) || !concerned(&key, cx) {
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
            self.forget(&key);
            if cx.holdings.contains(&key) {
                self.start(cx, key);
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        let due = self.due.first().map(|&(due, _)| due).filter(|_| self.running.len() < MAX_REPAIRS);
        [due, self.news_due].into_iter().flatten().min()
    }

    fn start(&mut self, cx: &mut Context, key: Key) {
        let replicas = cx.config.replicas;
        let nearer = cx.overlay.replica_set(&key, replicas).into_iter().take_while(|peer| !cx.is_me(peer)).collect();
        self.running.insert(key, Check { nearer, claims: 0, offered: 0, missing: 0, again: false });
        self.ask_nearer(cx, key);
    }

    /// Asks the next nearer peer whether the block is its duty; if nobody is left to ask, it is ours.
    fn ask_nearer(&mut self, cx: &mut Context, key: Key) {
        let Some(check) = self.running.get_mut(&key) else { return };
        match check.nearer.pop_front() {
            Some(peer) => cx.ask(peer, Request::FindValue { key }, AskPurpose::Probe { key }),
            None => {
                cx.look_up(key, Goal::Holders, LookupPurpose::Repair { key, holders: Vec::new() });
            }
        }
    }

    /// A nearer peer said whether it holds the block; silence is a no.
    pub(super) fn on_probe(&mut self, cx: &mut Context, key: Key, holds: bool) {
        let Some(check) = self.running.get_mut(&key) else { return };
        check.claims += usize::from(holds);
        if check.claims >= DUTY_HOLDERS { self.end(cx, key, REPUBLISH_INTERVAL) } else { self.ask_nearer(cx, key) }
    }

    /// The replica set is known, and who of it holds the block: the others are offered it.
    pub(super) fn on_found(&mut self, cx: &mut Context, key: Key, peers: Vec<Peer>, holders: &[Peer]) {
        let Some(check) = self.running.get_mut(&key) else { return };
        let Some(size) = cx.holdings.size(&key) else { return self.end(cx, key, REPUBLISH_INTERVAL) };
        for peer in peers.into_iter().take(cx.config.replicas) {
            if !cx.is_me(&peer) && !holders.iter().any(|holder| holder.id == peer.id) {
                check.offered += 1;
                cx.offer(OfferOwner::Repair, key, size, peer);
            }
        }
        if check.offered == 0 {
            self.end(cx, key, REPUBLISH_INTERVAL);
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
            self.end(cx, key, next);
        }
    }

    fn end(&mut self, cx: &mut Context, key: Key, next: Duration) {
        let Some(check) = self.running.remove(&key) else { return };
        let wait = if check.again { REPAIR_DELAY } else { jittered(cx, next) };
        self.schedule(key, cx.now + wait);
        self.on_tick(cx);
    }

    /// A block here was found damaged: it is brought back from another holder.
    pub(super) fn heal(&mut self, cx: &mut Context, key: Key) {
        self.forget(&key);
        if self.healing.insert(key, VecDeque::new()).is_none() {
            cx.look_up(key, Goal::Holders, LookupPurpose::Heal { key, holders: Vec::new() });
        }
    }

    /// The holders of a damaged block are known.
    pub(super) fn on_holders(&mut self, cx: &mut Context, key: Key, holders: Vec<Peer>) {
        let holders = holders.into_iter().filter(|holder| !cx.is_me(holder)).collect();
        self.healing.insert(key, holders);
        self.pull_again(cx, key);
    }

    fn pull_again(&mut self, cx: &mut Context, key: Key) {
        let Some(holders) = self.healing.get_mut(&key) else { return };
        match holders.pop_front() {
            Some(peer) => {
                let work = Job::Pull { key, size: None, from: peer.addr };
                cx.order(work, JobPurpose::Heal { key }, Urgency::Others);
            }
            None => {
                log::warn!("block {} is damaged here, and no other peer has it", key.short());
                self.healing.remove(&key);
            }
        }
    }

    /// A pull in place of a damaged block is over.
    pub(super) fn on_healed(&mut self, cx: &mut Context, key: Key, outcome: &Outcome) {
        match outcome {
            Outcome::Stored { .. } => {
                self.healing.remove(&key);
            }
            _ => self.pull_again(cx, key),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len() + self.healing.len()
    }

    /// Whether what is scheduled and what is held agree.
    pub(super) fn check(&self, cx: &Context) -> Result<(), String> {
        let agree = self.due.len() == self.due_of.len()
            && self.due.iter().all(|(due, key)| self.due_of.get(key) == Some(due))
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
