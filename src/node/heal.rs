//! Bringing back blocks that were found damaged here, from whoever else holds them.
//!
//! A block that was here when this peer began may have been damaged while it was down. The first time that others are told
//! that it is here, it is looked at: they may count on it.
//!
//! Nobody else learns of the damage: to the others this peer still is a holder, so the block's return is its own duty.
//! If no other peer can be found that has the block, one may be out of reach, or too slow to answer in time. So it is
//! looked for again, ever more rarely, and given up after [`ATTEMPTS`]; the hourly checks of whoever has it remain.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::RngExt;

use super::context::{Context, JobPurpose, LookupPurpose};
use super::job::{Job, Outcome};
use super::jobs::Urgency;
use crate::config::{MAX_REPAIRS, REPAIR_RETRY};
use crate::id::Key;
use crate::overlay::Goal;
use crate::peer::Peer;
use crate::time::Time;

/// Times that a damaged block is looked for: with pauses that double, for about five minutes.
const ATTEMPTS: u32 = 6;

/// Blocks that are looked at at a time: others' blocks on their way here go first.
const MAX_LOOKS: usize = 4;

/// The damaged blocks, each until it is back or given up.
#[derive(Default)]
pub(super) struct Heal {
    running: BTreeMap<Key, Attempt>,
    /// Attempts made for each block that waits for the next one.
    waiting: BTreeMap<Key, (Time, u32)>,
    due: BTreeSet<(Time, Key)>,
    looks: usize,
}

struct Attempt {
    number: u32,
    /// Holders that were not tried yet.
    holders: VecDeque<Peer>,
}

impl Heal {
    /// Somebody was told that a block is here. Is it? With many at a time, another one will ask for the rest.
    pub(super) fn look_at(&mut self, cx: &mut Context, key: Key) {
        if self.looks < MAX_LOOKS && cx.holdings.take_unseen(&key) {
            self.looks += 1;
            cx.order(Job::Verify { key }, JobPurpose::Look, Urgency::Others);
        }
    }

    /// A block was looked at.
    pub(super) fn on_looked(&mut self) {
        self.looks -= 1;
    }

    /// A block was found damaged.
    pub(super) fn begin(&mut self, cx: &mut Context, key: Key) {
        self.forget(&key);
        if !self.running.contains_key(&key) {
            self.wait(key, cx.now, 0);
            self.on_tick(cx);
        }
    }

    /// A block is here again by another way, or not wanted any more. An attempt under way ends by itself.
    pub(super) fn forget(&mut self, key: &Key) {
        if let Some((due, _)) = self.waiting.remove(key) {
            self.due.remove(&(due, *key));
        }
    }

    fn wait(&mut self, key: Key, until: Time, attempts: u32) {
        self.waiting.insert(key, (until, attempts));
        self.due.insert((until, key));
    }

    /// Starts the attempts that are due.
    pub(super) fn on_tick(&mut self, cx: &mut Context) {
        while self.running.len() < MAX_REPAIRS && !cx.departing {
            let Some(&(_, key)) = self.due.first().filter(|(due, _)| *due <= cx.now) else { break };
            let attempts = self.waiting.get(&key).map_or(0, |(_, attempts)| *attempts);
            self.forget(&key);
            self.running.insert(key, Attempt { number: attempts + 1, holders: VecDeque::new() });
            cx.look_up(key, Goal::Holders, LookupPurpose::Heal { key, holders: Vec::new() });
        }
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        self.due.first().map(|&(due, _)| due).filter(|_| self.running.len() < MAX_REPAIRS)
    }

    /// The holders of a damaged block are known.
    pub(super) fn on_holders(&mut self, cx: &mut Context, key: Key, holders: Vec<Peer>) {
        if let Some(attempt) = self.running.get_mut(&key) {
            attempt.holders = holders.into_iter().filter(|holder| !cx.is_me(holder)).collect();
        }
        self.pull(cx, key);
    }

    fn pull(&mut self, cx: &mut Context, key: Key) {
        let Some(attempt) = self.running.get_mut(&key) else { return };
        if let Some(peer) = attempt.holders.pop_front().filter(|_| !cx.holdings.contains(&key)) {
            let work = Job::Pull { key, size: None, from: peer.addr };
            cx.order(work, JobPurpose::Heal { key }, Urgency::Others);
            return;
        }
        let attempts = attempt.number;
        self.running.remove(&key);
        if cx.holdings.contains(&key) {
            // Somebody offered it meanwhile.
        } else if attempts < ATTEMPTS {
            let pause = REPAIR_RETRY.mul_f64(cx.rng.random_range(0.75..1.0)) * 2_u32.pow(attempts - 1);
            self.wait(key, cx.now + pause, attempts);
        } else {
            log::warn!("block {} is damaged here, and no other peer has it", key.short());
        }
        self.on_tick(cx);
    }

    /// A pull in place of a damaged block is over.
    pub(super) fn on_pulled(&mut self, cx: &mut Context, key: Key, outcome: &Outcome) {
        if matches!(outcome, Outcome::Stored { .. }) {
            self.running.remove(&key);
            self.on_tick(cx);
        } else {
            self.pull(cx, key);
        }
    }

    /// Attempts under way.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether what waits and what is due agree.
    pub(super) fn check(&self) -> Result<(), String> {
        let agree = self.due.len() == self.waiting.len()
            && self.due.iter().all(|(due, key)| self.waiting.get(key).is_some_and(|(until, _)| until == due))
            && self.running.len() <= MAX_REPAIRS
            && self.looks <= MAX_LOOKS;
        agree.then_some(()).ok_or_else(|| "damaged blocks and their schedule disagree".to_owned())
    }
}
