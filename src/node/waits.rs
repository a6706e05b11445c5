//! What the user waits for and this peer sees by itself: that it knows its neighbours, so many peers, or has nothing to
//! do.
//!
//! None of these commands polls: whatever happens, what is waited for is looked at once it was dealt with. (`wait safe`
//! and `wait copies` ask other peers, and are parts of their own.)

use std::collections::BTreeMap;
use std::time::Duration;

use super::Node;
use super::command::{CommandId, Until, is_meant};
use super::desk::Desk;
use super::notice::{Answer, FailureKind};
use crate::overlay::MISSED;
use crate::time::Time;

/// A network in which no peer came or went for this long is stable.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(3);

/// Commands that wait until something is true, or their time is up; each for its own `T`.
pub(super) struct Waiters<T>(BTreeMap<CommandId, Waiter<T>>);

struct Waiter<T> {
    until: T,
    since: Time,
    deadline: Option<Time>,
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Waiters<T> {
    /// One more waits, from now on.
    pub(super) fn add(&mut self, desk: &Desk, id: CommandId, until: T, limit: Option<Duration>) {
        let since = desk.now();
        self.0.insert(id, Waiter { until, since, deadline: limit.map(|limit| since + limit) });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What each waits for.
    fn untils(&self) -> impl Iterator<Item = &T> {
        self.0.values().map(|waiter| &waiter.until)
    }

    /// When the time of the first of them is up.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.0.values().filter_map(|waiter| waiter.deadline).min()
    }

    /// What lacks until it is true what each waits for, for people; none if it is.
    pub(super) fn look(&self, lacks: impl Fn(&T) -> Option<String>) -> Vec<(CommandId, Option<String>)> {
        self.0.iter().map(|(&id, waiter)| (id, lacks(&waiter.until))).collect()
    }

    /// A command that waits for what is true, or longer than it may.
    fn overdue(&self, now: Time, is_true: impl Fn(&T) -> bool) -> Option<CommandId> {
        let is_late = |waiter: &Waiter<T>| waiter.deadline.is_some_and(|deadline| deadline <= now);
        self.0.iter().find(|(_, waiter)| is_late(waiter) || is_true(&waiter.until)).map(|(&id, _)| id)
    }

    /// Answers those for whom nothing lacks, and those whose time is up.
    pub(super) fn answer_due(&mut self, desk: &mut Desk, looked: Vec<(CommandId, Option<String>)>) {
        let now = desk.now();
        for (id, lacks) in looked {
            let Some(waiter) = self.0.get(&id) else { continue };
            match lacks {
                None => desk.answer(id, Answer::Waited { took: now.since(waiter.since) }),
                Some(reason) if waiter.deadline.is_some_and(|deadline| deadline <= now) => {
                    desk.fail(id, FailureKind::TimedOut, format!("not true in time: {reason}"));
                }
                Some(_) => continue,
            }
            self.0.remove(&id);
        }
    }

    /// Those who wait, or the one that is meant, hear that it is over; how many they are.
    pub(super) fn end(&mut self, desk: &mut Desk, whose: Option<CommandId>, kind: FailureKind, reason: &str) -> usize {
        let before = self.0.len();
        self.0.retain(|id, _| {
            let ends = is_meant(whose, *id);
            if ends {
                desk.fail(*id, kind, reason);
            }
            !ends
        });
        before - self.0.len()
    }
}

/// The commands that wait, and what is known for them that no part remembers.
#[derive(Default)]
pub(super) struct UserWaits {
    waiting: Waiters<Until>,
    /// When a peer came or went, or this one joined.
    changed: Time,
    /// Whether this peer has joined the network.
    joined: bool,
    /// Whether it knew of any peer to join through.
    has_entrance: bool,
    /// Whether it has met any peer.
    met: bool,
}

impl UserWaits {
    pub(super) fn on_start(&mut self, now: Time, has_entrance: bool) {
        (self.changed, self.has_entrance) = (now, has_entrance);
    }

    pub(super) fn on_joined(&mut self, now: Time) {
        (self.changed, self.joined) = (now, true);
    }

    /// A peer came.
    pub(super) fn on_met(&mut self, now: Time) {
        (self.changed, self.met) = (now, true);
    }

    /// A peer went.
    pub(super) fn on_change(&mut self, now: Time) {
        self.changed = now;
    }

    /// When something may become true, or has failed, though nothing happens.
    pub(super) fn next_wake(&self, now: Time) -> Option<Time> {
        let settles = Some(self.changed + STABLE_AFTER).filter(|settles| self.joined && *settles > now);
        let settles = settles.filter(|_| self.waiting.untils().any(|until| *until == Until::Stable));
        self.waiting.next_deadline().into_iter().chain(settles).min()
    }
}

impl Node {
    /// Whether this peer knew whom to join through, and has met no peer: then what it finds by itself tells little.
    /// After a while it is taken for the first of its network.
    pub(super) fn is_cut_off(&self) -> bool {
        let UserWaits { has_entrance, met, .. } = self.waits;
        let lately = self.desk.now().since(self.started) < MISSED;
        has_entrance && !met && lately && self.desk.overlay.peers().is_empty()
    }

    /// The user waits for something.
    pub(super) fn wait(&mut self, id: CommandId, until: Until, limit: Option<Duration>) {
        self.waits.waiting.add(&self.desk, id, until, limit);
    }

    /// Answers those who wait for what is true by now, or was to be by now.
    pub(super) fn look_after_waits(&mut self) {
        if self.waits.waiting.is_empty() {
            return;
        }
        let knows_neighbours = self.desk.overlay.router().is_none_or(|ring| ring.knows_its_successors());
        let looked = self.waits.waiting.look(|until| self.lacks(until, knows_neighbours));
        self.waits.waiting.answer_due(&mut self.desk, looked);
    }

    /// Says who waits for nothing any more. (Whether it is stable, a ring's peer says only to one who may change it.)
    pub(super) fn check_waits(&self) -> Result<(), String> {
        let is_true = |until: &Until| *until != Until::Stable && self.lacks(until, true).is_none();
        match self.waits.waiting.overdue(self.desk.now(), is_true) {
            Some(command) => Err(format!("command {command} waits for what is over")),
            None => Ok(()),
        }
    }

    /// Those who wait hear that it is over; how many they are.
    pub(super) fn end_waits(&mut self, whose: Option<CommandId>, kind: FailureKind, reason: &str) -> usize {
        self.waits.waiting.end(&mut self.desk, whose, kind, reason)
    }

    /// What lacks until this is true, for people; none if it is.
    fn lacks(&self, until: &Until, knows_neighbours: bool) -> Option<String> {
        let peers = self.desk.overlay.peers().len();
        match until {
            Until::Stable if !self.waits.joined => Some("this peer has not joined its network".to_owned()),
            Until::Stable if peers == 0 && self.waits.has_entrance => Some("this peer knows no other".to_owned()),
            Until::Stable if !knows_neighbours => {
                Some("this peer has yet to hear of some of its neighbours".to_owned())
            }
            Until::Stable => {
                let quiet = self.desk.now().since(self.waits.changed);
                (quiet < STABLE_AFTER).then(|| format!("a peer came or went {} s ago", quiet.as_secs()))
            }
            Until::Peers { count } => (peers < *count).then(|| format!("this peer knows {peers} of {count} peers")),
            Until::Idle => (!self.is_at_rest()).then(|| {
                let busy = self.parts.iter().filter(|(_, part)| part.under_way() > 0).map(|(owner, _)| owner.name());
                let busy: Vec<_> = busy.chain((!self.desk.lookups.is_empty()).then_some("lookups")).collect();
                format!("under way are {}", busy.join(", "))
            }),
            Until::Safe | Until::Copies { .. } => None,
        }
    }
}
