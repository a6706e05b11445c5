//! The peers that may have, or take, a block that no other peer is known to hold: those nearest to it that were not
//! asked about it yet.
//!
//! The peers that should hold a block may be full, or out of reach: then the next nearest [stand in](super::strays) for
//! them. A peer that was asked about some of the blocks is asked about others too, where it is among the nearest to
//! those.

use std::collections::{BTreeMap, BTreeSet};

use super::comparison::{BATCH, LOOKS_A_TURN, SharedRange};
use crate::id::{Id, Key};
use crate::node::desk::Desk;
use crate::node::holdings::LookEnd;
use crate::overlay::Region;
use crate::peer::Peer;
use crate::wire::summary::MAX_RANGES;
use crate::wire::{Range, Start};

/// What each of several peers is asked about.
pub(super) type Shares = BTreeMap<Id, (Peer, Vec<SharedRange>)>;

/// Looks that finding out who should hold the blocks of one region costs as much as.
const A_REGION: usize = 64;

/// So many blocks that others hold are asked about with those around them: to leave them out would cost as much.
const GAP: usize = BATCH / MAX_RANGES;

/// The peers to ask, round after round.
#[derive(Default)]
pub(super) struct Further {
    /// What each was asked about.
    asked: BTreeMap<Id, Vec<SharedRange>>,
    /// The peers that are asked no more.
    out: BTreeSet<Id>,
    /// What of the next round is found, and the key from which on it is looked for.
    found: Shares,
    next: Key,
}

impl Further {
    /// These were asked already.
    pub(super) fn note(&mut self, shares: &Shares) {
        for (id, (_, shares)) in shares {
            self.asked.entry(*id).or_default().extend(shares);
        }
    }

    /// This peer is asked no more.
    pub(super) fn leave_out(&mut self, id: Id) {
        self.out.insert(id);
    }

    pub(super) fn has_asked(&self, id: &Id) -> bool {
        self.asked.contains_key(id)
    }

    /// Goes on to look for those that are asked next: of each block that only this peer is known to hold, as many as
    /// replica sets usually have, among the nearest `sets` times as many. None until all are found.
    pub(super) fn find(&mut self, desk: &Desk, sets: usize) -> Option<Shares> {
        let mut looks = LOOKS_A_TURN;
        loop {
            let key = match desk.holdings().first_only_here(&self.next, &mut looks) {
                LookEnd::Found(key) => key,
                LookEnd::Nothing => break,
                LookEnd::Onward(key) => {
                    self.next = key;
                    return None;
                }
            };
            let (region, peers) = self.region(desk, &key, sets);
            looks = looks.saturating_sub(A_REGION);
            // What others were asked about may end before this region does: where no peer is left for this block, one
            // may be for the next.
            let last = match peers.is_empty() {
                true => key,
                false => desk.holdings().only_here_until(&key, &region.last, GAP, &mut looks),
            };
            // Those before were in the region before, which may be a part of this one.
            let range = Range { first: Start::of(&key), last: Start::of(&last) };
            let share = SharedRange { range, stray: !region.members.iter().any(|peer| desk.is_me(peer)), class: None };
            for peer in peers {
                self.found.entry(peer.id).or_insert((peer, Vec::new())).1.push(share);
            }
            match last.next() {
                Some(after) => self.next = after,
                None => break,
            }
        }
        self.next = Key::ZERO;
        let mut found = std::mem::take(&mut self.found);
        found.retain(|id, _| !self.out.contains(id));
        self.note(&found);
        Some(found)
    }

    /// The region of a key, and as many peers as replica sets usually have that were not asked about it yet.
    fn region(&self, desk: &Desk, key: &Key, sets: usize) -> (Region, Vec<Peer>) {
        let replicas = desk.config().replicas;
        let (most, mut count) = (replicas.max(desk.copies_of(key)).saturating_mul(sets), replicas);
        loop {
            let region = desk.region(key, count);
            // What cannot be had from there is no copy by being there.
            let fresh = |peer: &&Peer| {
                !desk.is_me(peer)
                    && !self.out.contains(&peer.id)
                    && !desk.is_shut(&peer.addr)
                    && !self.was_asked(desk, peer, key)
            };
            let peers: Vec<Peer> = region.members.iter().filter(fresh).copied().collect();
            if peers.len() >= replicas || region.members.len() < count || count >= most {
                return (region, peers);
            }
            count = (count + replicas - peers.len()).min(most);
        }
    }

    /// Whether a peer was asked about this block.
    fn was_asked(&self, desk: &Desk, peer: &Peer, key: &Key) -> bool {
        let (class, block) = (desk.holdings().class(key), Range::around(key));
        let is_about = |share: &SharedRange| share.range.contains(&block) && share.class.is_none_or(|of| of == class);
        self.asked.get(&peer.id).is_some_and(|shares| shares.iter().any(is_about))
    }
}
