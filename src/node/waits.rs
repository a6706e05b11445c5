//! What the user waits for and this peer sees by itself: that it knows its neighbours, so many peers, or has nothing to
//! do.
//!
//! Nobody asks again and again: whatever happens, what is waited for is looked at once it was dealt with.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Node;
use super::command::{CommandId, Until, is_meant};
use super::notice::{Answer, FailureKind};
use crate::time::Time;

/// A network in which no peer came or went for so long is settled.
pub(super) const SETTLED: Duration = Duration::from_secs(3);

/// Who waits, and what is known that nobody else remembers.
#[derive(Default)]
pub(super) struct UserWaits {
    waiting: BTreeMap<CommandId, UserWait>,
    /// When a peer came or went, or this one joined.
    changed: Time,
    /// Whether this peer has joined the network.
    joined: bool,
    /// Whether it knew of anybody to join through.
    has_entrance: bool,
}

struct UserWait {
    until: Until,
    since: Time,
    deadline: Option<Time>,
}

impl UserWaits {
    pub(super) fn on_start(&mut self, now: Time, has_entrance: bool) {
        (self.changed, self.has_entrance) = (now, has_entrance);
    }

    pub(super) fn on_joined(&mut self, now: Time) {
        (self.changed, self.joined) = (now, true);
    }

    /// A peer came or went.
    pub(super) fn on_change(&mut self, now: Time) {
        self.changed = now;
    }

    /// When something may become true, or has failed, though nothing happens.
    pub(super) fn next_wake(&self, now: Time) -> Option<Time> {
        let settles = Some(self.changed + SETTLED).filter(|settles| self.joined && *settles > now);
        let settled = |wait: &UserWait| settles.filter(|_| wait.until == Until::Stable);
        self.waiting.values().flat_map(|wait| [settled(wait), wait.deadline]).flatten().min()
    }
}

impl Node {
    /// The user waits for something.
    pub(super) fn wait(&mut self, id: CommandId, until: Until, limit: Option<Duration>) {
        let since = self.desk.now();
        self.waits.waiting.insert(id, UserWait { until, since, deadline: limit.map(|limit| since + limit) });
    }

    /// Answers those who wait for what is true by now, or was to be by now.
    pub(super) fn look_after_waits(&mut self) {
        if self.waits.waiting.is_empty() {
            return;
        }
        let now = self.desk.now();
        let lacks = |wait: &UserWait| self.lacks(&wait.until);
        let looked: Vec<_> = self.waits.waiting.iter().map(|(&id, wait)| (id, lacks(wait))).collect();
        for (id, lacks) in looked {
            let Some(wait) = self.waits.waiting.get(&id) else { continue };
            match lacks {
                None => {
                    let took = now.since(wait.since);
                    self.desk.answer(id, Answer::Waited { took });
                }
                Some(reason) if wait.deadline.is_some_and(|deadline| deadline <= now) => {
                    self.desk.fail(id, FailureKind::TimedOut, format!("not true in time: {reason}"));
                }
                Some(_) => continue,
            }
            self.waits.waiting.remove(&id);
        }
    }

    /// Those who wait hear that it is over; how many they are.
    pub(super) fn end_waits(&mut self, whose: Option<CommandId>, kind: FailureKind, reason: &str) -> usize {
        let ended: Vec<_> = self.waits.waiting.keys().copied().filter(|id| is_meant(whose, *id)).collect();
        for id in &ended {
            self.waits.waiting.remove(id);
            self.desk.fail(*id, kind, reason);
        }
        ended.len()
    }

    /// What lacks until this is true, for people; none if it is.
    fn lacks(&self, until: &Until) -> Option<String> {
        let peers = self.desk.overlay.peers().len();
        match until {
            Until::Stable if !self.waits.joined => Some("this peer has not joined its network".to_owned()),
            Until::Stable if peers == 0 && self.waits.has_entrance => Some("this peer knows no other".to_owned()),
            Until::Stable => {
                let quiet = self.desk.now().since(self.waits.changed);
                (quiet < SETTLED).then(|| format!("a peer came or went {} s ago", quiet.as_secs()))
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
