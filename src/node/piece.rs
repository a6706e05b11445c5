//! One piece of a file on its way out of the network: a node of its tree, or a block, and who was asked for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::job::{Holder, JobError, JobErrorKind, JobId, Slot};
use super::notice::FailureKind;
use crate::id::Key;
use crate::overlay::LookupId;
use crate::peer::Peer;
use crate::time::Time;

/// A node of the tree, or a block, that is wanted now.
pub(super) struct Piece {
    pub(super) what: What,
    pub(super) lookup: Option<LookupId>,
    /// Known holders that were not tried in this round.
    pub(super) known: VecDeque<Peer>,
    pub(super) tried: BTreeSet<SocketAddr>,
    /// Those that failed in an earlier round; they come last in this one.
    pub(super) failed: BTreeSet<SocketAddr>,
    pub(super) running: BTreeMap<JobId, (Holder, Time)>,
    pub(super) tried_own: bool,
    pub(super) hedged: bool,
    /// Lookups for its holders so far.
    pub(super) rounds: u8,
    pub(super) trouble: Option<JobError>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Node { key: Key },
    Block { slot: Slot, checking: bool },
}

impl What {
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Node { key } => *key,
            Self::Block { slot, .. } => slot.key,
        }
    }
}

impl Piece {
    pub(super) fn new(what: What) -> Self {
        Self {
            what,
            lookup: None,
            known: VecDeque::new(),
            tried: BTreeSet::new(),
            failed: BTreeSet::new(),
            running: BTreeMap::new(),
            tried_own: false,
            hedged: false,
            rounds: 0,
            trouble: None,
        }
    }

    pub(super) fn may_hedge(&self) -> bool {
        !self.hedged && !self.known.is_empty() && !self.running.is_empty()
    }

    pub(super) fn is_slow(&self, now: Time, limit: Duration) -> bool {
        self.may_hedge() && self.running.values().any(|(_, since)| *since + limit <= now)
    }

    /// What to say when nobody gave the piece.
    pub(super) fn despair(&self) -> (FailureKind, String) {
        let key = self.what.key();
        match &self.trouble {
            None => {
                (FailureKind::NotFound, format!("no peer holds {key}; is the key right, and are its holders running?"))
            }
            Some(error) => (kind_of(error), format!("block {} cannot be had: {}", key.short(), error.reason)),
        }
    }
}

/// Whether a fetch failed for a reason that no other holder can mend: there is no place for the bytes here.
pub(super) fn is_our_own(error: &JobError, fetched: Option<(Holder, Time)>) -> bool {
    matches!(error.kind, JobErrorKind::Full | JobErrorKind::Io) && matches!(fetched, Some((Holder::Peer(_), _)))
}

pub(super) fn kind_of(error: &JobError) -> FailureKind {
    match error.kind {
        JobErrorKind::NotFound => FailureKind::NotFound,
        JobErrorKind::TimedOut | JobErrorKind::Unreachable => FailureKind::TimedOut,
        JobErrorKind::Corrupt => FailureKind::Integrity,
        JobErrorKind::Full | JobErrorKind::Io | JobErrorKind::Cancelled => FailureKind::Other,
    }
}
