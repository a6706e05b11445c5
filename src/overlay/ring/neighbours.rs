//! What one peer tells another of its neighbours, and what that says of where a third one stands.

use crate::id::Id;
use crate::peer::Peer;
use crate::wire::ring::{RingRequest, RingResponse};

/// The neighbours that a peer knows, or tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RingNeighbours<'a> {
    /// Peers before it, nearest first.
    pub(super) predecessors: &'a [Peer],
    /// Peers after it, nearest first.
    pub(super) successors: &'a [Peer],
}

impl<'a> RingNeighbours<'a> {
    /// Told by a peer that is in no ring yet, or to one that must not learn more.
    pub(super) const NONE: Self = Self { predecessors: &[], successors: &[] };

    pub(super) const fn is_empty(&self) -> bool {
        self.predecessors.is_empty() && self.successors.is_empty()
    }

    /// How many of the successors stand before `id`, if it is one of them.
    pub(super) fn ahead(&self, id: &Id) -> Option<usize> {
        self.successors.iter().position(|peer| peer.id == *id)
    }

    /// How many of the predecessors stand before `id`, seen from the peer whose neighbours these are, if it is one.
    pub(super) fn behind(&self, id: &Id) -> Option<usize> {
        self.predecessors.iter().position(|peer| peer.id == *id)
    }

    /// The nearest of them on either side.
    pub(super) fn first(self, predecessors: usize, successors: usize) -> Self {
        let nearest = |list: &'a [Peer], count: usize| &list[..count.min(list.len())];
        Self {
            predecessors: nearest(self.predecessors, predecessors),
            successors: nearest(self.successors, successors),
        }
    }

    /// A ping that tells these. `quiet`: the user's interval did not ask for it.
    pub(super) fn ping(self, quiet: bool) -> RingRequest {
        RingRequest::Ping { predecessors: self.predecessors.to_vec(), successors: self.successors.to_vec(), quiet }
    }

    /// The answer of `peer` to a ping, which tells these.
    pub(super) fn pong(self, peer: Peer) -> RingResponse {
        RingResponse::Pong { peer, predecessors: self.predecessors.to_vec(), successors: self.successors.to_vec() }
    }

    /// A goodbye that tells these.
    pub(super) fn quit(self) -> RingRequest {
        RingRequest::Quit { predecessors: self.predecessors.to_vec(), successors: self.successors.to_vec() }
    }
}

/// What is known of where a peer stands of which another one spoke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RingPosition {
    /// Before us, with no peer between but those known.
    pub(super) before: bool,
    /// After us, with no peer between but those known.
    pub(super) after: bool,
}

impl RingPosition {
    pub(super) const SOMEWHERE: Self = Self { before: false, after: false };
    pub(super) const BEFORE: Self = Self { before: true, after: false };
    pub(super) const AFTER: Self = Self { before: false, after: true };

    /// Another peer has spoken of the same one.
    pub(super) const fn merge(&mut self, told: Self) {
        self.before |= told.before;
        self.after |= told.after;
    }
}
