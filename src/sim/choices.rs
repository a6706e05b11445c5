//! What is delivered next, where that is not what is due first: another order in which things could as well have come.
//!
//! A message may take less time than it did, and a worker too: so what waits can be chosen to come at once. What cannot
//! happen in any network is not offered: that lines over TCP overtake one another, that a user's commands do, or that
//! something reaches a peer before its start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::moments::words::said;
use super::network;
use super::world::{PlannedEvent, SimEvent, Violation, World};
use crate::node::Event;
use crate::node::job::JobId;
use crate::time::Time;
use crate::wire::Via;

/// After how many moments of all peers which of those things that wait comes next, counted from 1.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Choices(BTreeMap<u64, usize>);

impl Choices {
    /// Chooses what comes after `done` moments. What was chosen for later is forgotten: other things will wait then.
    pub fn choose(&mut self, done: u64, nth: usize) {
        self.forget_from(done);
        self.0.insert(done, nth);
    }

    /// Forgets what was chosen from so many moments on.
    pub fn forget_from(&mut self, done: u64) {
        self.0.split_off(&done);
    }

    /// Whether all comes in its order.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = self.0.iter().map(|(done, nth)| format!("{done}:{nth}")).collect();
        f.write_str(&each.join(","))
    }
}

impl FromStr for Choices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let choice = |word: &str| {
            let (done, nth) = word.split_once(':')?;
            Some((done.trim().parse().ok()?, nth.trim().parse().ok().filter(|nth| *nth > 0)?))
        };
        let wrong =
            |word: &str| format!("'{word}' is not MOMENTS:N, such as 40:2 (after 40 moments, the second that waits)");
        text.split(',').map(|word| choice(word).ok_or_else(|| wrong(word))).collect::<Result<_, _>>().map(Self)
    }
}

/// Something that waits and could come next.
pub(super) struct WaitingEvent {
    /// When it is due.
    pub(super) at: Time,
    /// The peer that it is for.
    pub(super) slot: usize,
    pub(super) what: PendingEvent,
    /// Its number in the queue.
    sequence: u64,
}

/// What it is.
pub(super) enum PendingEvent {
    Event(Box<Event>),
    /// A job whose outcome is due, in words.
    Job(String),
}

/// What is done besides what is due.
#[derive(Default)]
pub(super) struct Script {
    pub(super) choices: Choices,
    /// After so many moments the run ends, and what waits then is kept.
    pub(super) look: Option<u64>,
    pub(super) seen: Option<Vec<WaitingEvent>>,
}

impl World {
    /// What is chosen to come now, if something is.
    ///
    /// # Errors
    /// There is not so much to choose from; or the run ends here, as it was to.
    pub(super) fn chosen(&mut self) -> Result<Option<PlannedEvent>, Violation> {
        let done = self.counts.events;
        if self.script.look == Some(done) {
            self.script.seen = Some(self.waiting());
            return Err(Violation { at: self.now, slot: 0, what: "the run ends here, for a look".to_owned() });
        }
        let Some(nth) = self.script.choices.0.remove(&done) else { return Ok(None) };
        let waiting = self.waiting();
        let Some(chosen) = waiting.get(nth - 1) else {
            let what = format!("--choose {done}:{nth} cannot be done: {} can be chosen from", waiting.len());
            return Err(Violation { at: self.now, slot: 0, what });
        };
        Ok(self.queue.take(chosen.sequence))
    }

    /// What could come next, in the order in which it is due.
    fn waiting(&self) -> Vec<WaitingEvent> {
        let all = self.queue.planned();
        let all: Vec<_> = all.into_iter().filter(|(_, _, planned)| self.is_awaited(planned)).collect();
        let is_start = |planned: &PlannedEvent| matches!(&planned.what, SimEvent::Told(event) if is_start(event));
        let unborn: BTreeSet<u32> =
            all.iter().filter(|(_, _, planned)| is_start(planned)).map(|(_, _, planned)| planned.slot).collect();
        let mut before = BTreeSet::new();
        let mut waiting = Vec::new();
        for (at, sequence, planned) in all {
            let is_early = unborn.contains(&planned.slot) && !is_start(planned);
            if !is_early && let Some(what) = self.pending(planned, &mut before) {
                waiting.push(WaitingEvent { at, slot: planned.slot as usize, what, sequence });
            }
        }
        waiting
    }

    /// Whether its peer is there to take it.
    fn is_awaited(&self, PlannedEvent { slot, life, .. }: &PlannedEvent) -> bool {
        let peer = &self.peers[*slot as usize];
        peer.node.is_some() && life.is_none_or(|life| life == peer.life) && peer.frozen_until <= self.now
    }

    /// What it is, if it can come now: not before anything in `before`, to which it is added.
    fn pending(&self, planned: &PlannedEvent, before: &mut BTreeSet<FixedOrder>) -> Option<PendingEvent> {
        let slot = planned.slot as usize;
        match &planned.what {
            SimEvent::Arrival { from, via, message, .. } => {
                let from = *from as usize;
                let comes =
                    self.reaches(from, slot) && (*via == Via::Udp || before.insert(FixedOrder::Lines(from, slot)));
                let bytes = network::wire_size(message);
                let (from, message) = (network::address(from), (**message).clone());
                comes.then(|| PendingEvent::Event(Box::new(Event::Message { from, via: *via, bytes, message })))
            }
            SimEvent::Job(job) => {
                let running = self.peers[slot].jobs.get(job).filter(|_| before.insert(FixedOrder::Job(slot, *job)))?;
                Some(PendingEvent::Job(format!("job {job} {} ends", said(&running.work))))
            }
            SimEvent::Told(event) => before.insert(FixedOrder::Told(slot)).then(|| PendingEvent::Event(event.clone())),
            SimEvent::Wake | SimEvent::Written { .. } | SimEvent::Mischief => None,
        }
    }
}

/// What comes in its order, whatever is chosen.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum FixedOrder {
    /// Lines over TCP from one peer to another.
    Lines(usize, usize),
    /// The outcome of a peer's job, which a cancelled one has but once.
    Job(usize, JobId),
    /// What a peer is told by its own machine, or its user.
    Told(usize),
}

fn is_start(event: &Event) -> bool {
    matches!(event, Event::Start { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_written_as_they_are_read_and_nonsense_is_refused() {
        let mut choices: Choices = "40:2,7:1".parse().expect("two choices");
        assert_eq!(choices.to_string(), "7:1,40:2");
        choices.choose(20, 3);
        assert_eq!(choices.to_string(), "7:1,20:3");
        for wrong in ["", "4", "4:0", "4:x", "-1:2", "4:1,"] {
            assert!(wrong.parse::<Choices>().is_err(), "{wrong}");
        }
    }
}
