//! What the user of a classroom is told of the first two successors.
//!
//! The assignment has lines for what messages bring: a join, a goodbye, a death. Stabilisation finds out the same,
//! sometimes before the message comes and sometimes in its place, for the message went to a peer that has just died, or
//! to one that another newcomer has just been put before. So the user is told of what stabilisation found only if no
//! message has told of it for a while. Then either a peer is back whose death was told, or a successor has let one in.

use std::time::Duration;

use super::router::{RouteNotice, SuccessorChange};
use super::{Ring, RingVariant};
use crate::id::Id;
use crate::overlay::Effect;
use crate::peer::Peer;
use crate::recent::Recent;
use crate::time::Time;

/// A message that tells of what stabilisation found comes within this time, repeated if it was lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// Dead first successors whose return would be told.
const MAX_MOURNED: usize = 16;

/// What the user knows.
#[derive(Default)]
pub(super) struct Told {
    /// The first successors, as they were told last.
    watched: Vec<Peer>,
    /// They are others by now, and no message has told of it: when the user is told all the same.
    due: Option<Time>,
    /// First successors whose death was told, and not yet their return.
    mourned: Recent<Id, (), MAX_MOURNED>,
}

impl Told {
    /// The successors have changed, and are these.
    fn note(&mut self, now: Time, why: SuccessorChange, watched: &[Peer]) {
        if let SuccessorChange::Died { peer } = why {
            self.mourned.insert(peer.id, ());
        }
        if why != SuccessorChange::Stabilized {
            (self.watched, self.due) = (watched.to_vec(), None);
            watched.iter().for_each(|peer| self.mourned.remove(&peer.id));
        } else if self.watched == watched {
            self.due = None;
        } else {
            self.due = self.due.or(Some(now + PATIENCE));
        }
    }

    /// Why the first successors are these, if that is to be told now.
    fn take_due(&mut self, now: Time, watched: &[Peer]) -> Option<SuccessorChange> {
        self.due.take_if(|due| *due <= now)?;
        let Some(&by) = watched.first().filter(|_| self.watched != watched) else {
            self.know(watched);
            return None;
        };
        let returned = watched.iter().find(|peer| self.mourned.contains(&peer.id));
        Some(returned.map_or(SuccessorChange::Told { by }, |&peer| SuccessorChange::Returned { peer }))
    }

    /// The user knows that these are the first successors.
    pub(super) fn know(&mut self, watched: &[Peer]) {
        self.watched = watched.to_vec();
    }

    /// When something is to be told.
    pub(super) const fn due(&self) -> Option<Time> {
        self.due
    }
}

impl Ring {
    /// The user hears that the successors have changed.
    pub(super) fn tell_successors(&mut self, why: SuccessorChange, out: &mut Vec<Effect>) {
        if self.options.variant == RingVariant::Classroom {
            self.told.note(self.now, why, self.table.watched());
        }
        Self::notice(RouteNotice::Successors { why, successors: self.table.successors().to_vec() }, out);
    }

    /// The user hears what no message has told of for too long.
    pub(super) fn tell_due(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Some(why) = self.told.take_due(now, self.table.watched()) {
            self.tell_successors(why, out);
        }
    }

    /// What the user of a classroom was told is right, or will be.
    pub(super) fn check_told(&self) -> Result<(), String> {
        let (told, watched) = (&self.told.watched, self.table.watched());
        if self.options.variant != RingVariant::Classroom || self.told.due.is_some() || told == watched {
            return Ok(());
        }
        Err(format!("the user was told of the successors {told:?}, which are {watched:?}"))
    }

    pub(super) fn tell_predecessors(&self, out: &mut Vec<Effect>) {
        Self::notice(RouteNotice::Predecessors { predecessors: self.table.predecessors().to_vec() }, out);
    }
}
