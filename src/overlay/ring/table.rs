//! The places of a ring's table: the successor list, the predecessors, the fingers.
//!
//! The paper's peer knows its successors, one predecessor and its fingers (Chord, ToN 2003, sections IV-B to IV-E).
//! This one knows as many predecessors as successors, so that it can say for each block it holds who else should.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::neighbours::RingNeighbours;
use super::{NEIGHBOURS_WATCHED, RingOptions};
use crate::id::Id;
use crate::overlay::TableRow;
use crate::overlay::density::{is_crowded, spacing_by_gaps, spacing_by_nearest};
use crate::peer::Peer;

/// What a peer knows of the ring. No peer stands twice in a list, and this one in none.
pub(super) struct RingTable {
    me: Peer,
    /// Nearest first, clockwise; at most `max_successors`.
    successors: Vec<Peer>,
    max_successors: usize,
    /// Nearest first, counter-clockwise; at most `max_predecessors`.
    predecessors: Vec<Peer>,
    max_predecessors: usize,
    /// Finger `k` is the successor of `me + 2^k`.
    fingers: BTreeMap<usize, Peer>,
    /// All peers above and, unless this is a guest, this peer: each once, in the order of ids.
    known: Vec<Peer>,
    /// How often `known` has changed.
    changes: u64,
    guest: bool,
}

/// Where a key leads from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hop {
    /// This peer is responsible.
    Mine,
    /// That peer is responsible.
    Last(Peer),
    /// That peer is nearer.
    Via(Peer),
    /// No peer is known to ask.
    Nowhere,
}

/// Where a peer stands in a walk clockwise from `key`: the least comes first.
pub(super) fn clockwise_from(key: &Id, peer: &Peer) -> (bool, Id) {
    (peer.id < *key, peer.id)
}

impl RingTable {
    pub(super) fn new(me: Peer, options: &RingOptions) -> Self {
        Self {
            me,
            successors: Vec::new(),
            max_successors: options.successors,
            predecessors: Vec::new(),
            max_predecessors: options.predecessors,
            fingers: BTreeMap::new(),
            known: if options.guest { Vec::new() } else { vec![me] },
            changes: 0,
            guest: options.guest,
        }
    }

    /// This peer is at another address from now on.
    pub(super) fn move_to(&mut self, addr: SocketAddr) {
        self.me.addr = addr;
        self.known.iter_mut().filter(|peer| peer.id == self.me.id).for_each(|me| me.addr = addr);
    }

    pub(super) fn successors(&self) -> &[Peer] {
        &self.successors
    }

    pub(super) fn predecessors(&self) -> &[Peer] {
        &self.predecessors
    }

    /// The peers behind this one, nearest first. As long as the list of successors is not full, the predecessors that
    /// are not in it come behind its last: a small ring closes there, and a young one has yet to tell.
    pub(super) fn followers(&self) -> Vec<Peer> {
        let behind = self.predecessors.iter().rev().filter(|peer| !self.successors.contains(peer));
        self.successors.iter().chain(behind).take(self.max_successors).copied().collect()
    }

    /// Whether the successors are as many as there may be, or lead all around the circle.
    pub(super) fn is_complete(&self) -> bool {
        self.successors.len() == self.max_successors || self.successors.last() == self.predecessors.first()
    }

    pub(super) fn neighbours(&self) -> RingNeighbours<'_> {
        RingNeighbours { predecessors: &self.predecessors, successors: &self.successors }
    }

    /// The first successors, whose death must be noticed soon.
    pub(super) fn watched(&self) -> &[Peer] {
        &self.successors[..self.successors.len().min(NEIGHBOURS_WATCHED)]
    }

    /// All known peers but this one.
    pub(super) fn others(&self) -> impl Iterator<Item = Peer> + '_ {
        self.known.iter().copied().filter(|peer| peer.id != self.me.id)
    }

    pub(super) fn is_neighbour(&self, id: &Id) -> bool {
        self.successors.iter().chain(&self.predecessors).any(|peer| peer.id == *id)
    }

    /// The peer known under `id`, this one excepted.
    pub(super) fn get(&self, id: &Id) -> Option<Peer> {
        let at = self.known.binary_search_by_key(id, |peer| peer.id).ok()?;
        Some(self.known[at]).filter(|peer| peer.id != self.me.id)
    }

    /// The peer as it is known here, if it is: an id stands at one address, in whatever lists. Others may know it at
    /// another one of its own.
    pub(super) fn as_known(&self, peer: Peer) -> Peer {
        self.get(&peer.id).unwrap_or(peer)
    }

    /// The peer known at `addr`, this one excepted.
    pub(super) fn at(&self, addr: &SocketAddr) -> Option<Peer> {
        self.others().find(|peer| peer.addr == *addr)
    }

    /// Whether `id` would stand among the nearest successors. Behind the last of them there may be room for it, but
    /// only if it `follows`: no peer but those known stands between.
    pub(super) fn fits_successors(&self, id: &Id, follows: bool) -> bool {
        *id != self.me.id
            && !self.successors.iter().any(|peer| peer.id == *id)
            && (follows && self.successors.len() < self.max_successors
                || self.successors.last().is_none_or(|last| id.is_strictly_between(&self.me.id, &last.id)))
    }

    /// Whether `id` would stand among the nearest predecessors.
    pub(super) fn fits_predecessors(&self, id: &Id) -> bool {
        *id != self.me.id
            && !self.predecessors.iter().any(|peer| peer.id == *id)
            && (self.predecessors.len() < self.max_predecessors
                || self.predecessors.last().is_none_or(|last| id.is_strictly_between(&last.id, &self.me.id)))
    }

    /// Puts a peer in its place in the successor list, if it [has one](Self::fits_successors) there.
    pub(super) fn add_successor(&mut self, peer: Peer, follows: bool) -> bool {
        let (me, peer) = (self.me.id, self.as_known(peer));
        let fits = self.fits_successors(&peer.id, follows);
        if fits {
            let nearer = |other: &Peer| other.id.is_strictly_between(&me, &peer.id);
            self.successors.insert(self.successors.partition_point(nearer), peer);
            self.successors.truncate(self.max_successors);
            self.index();
        }
        fits
    }

    /// Puts a peer in its place among the predecessors, if it has one there.
    pub(super) fn add_predecessor(&mut self, peer: Peer) -> bool {
        let (me, peer) = (self.me.id, self.as_known(peer));
        let fits = self.fits_predecessors(&peer.id);
        if fits {
            let nearer = |other: &Peer| other.id.is_strictly_between(&peer.id, &me);
            self.predecessors.insert(self.predecessors.partition_point(nearer), peer);
            self.predecessors.truncate(self.max_predecessors);
            self.index();
            self.follow_somebody();
        }
        fits
    }

    pub(super) fn finger(&self, number: usize) -> Option<Peer> {
        self.fingers.get(&number).copied()
    }

    pub(super) fn set_finger(&mut self, number: usize, peer: Peer) {
        if peer.id != self.me.id {
            self.fingers.insert(number, self.as_known(peer));
            self.index();
            self.follow_somebody();
        }
    }

    /// Adds a peer that is not known yet, in no particular place.
    pub(super) fn add_finger(&mut self, peer: Peer) {
        if self.others().all(|other| other.id != peer.id) {
            let number = self.fingers.last_key_value().map_or(0, |(last, _)| last + 1);
            self.set_finger(number, peer);
        }
    }

    /// Drops a finger whose place the successors have taken over.
    pub(super) fn drop_finger(&mut self, number: usize) {
        if self.fingers.remove(&number).is_some() {
            self.index();
        }
    }

    /// Takes a peer out of everything.
    pub(super) fn remove(&mut self, id: &Id) {
        self.successors.retain(|peer| peer.id != *id);
        self.predecessors.retain(|peer| peer.id != *id);
        self.fingers.retain(|_, peer| peer.id != *id);
        self.index();
        self.follow_somebody();
    }

    /// A peer that has lost all its successors, or had none, takes the nearest of all others that it knows.
    fn follow_somebody(&mut self) {
        if self.successors.is_empty() && !self.guest {
            let next = self.clockwise(&self.me.id).find(|peer| peer.id != self.me.id).copied();
            self.successors.extend(next);
        }
    }

    /// Sets everything as it is in a ring of exactly `peers` that is at rest.
    pub(super) fn fill(&mut self, peers: &[Peer], fingers: Option<usize>) {
        let mut all: Vec<Peer> = peers.iter().copied().filter(|peer| peer.id != self.me.id).collect();
        all.sort_unstable_by_key(|peer| peer.id);
        all.dedup_by_key(|peer| peer.id);
        let (count, me) = (all.len(), self.me.id);
        let after = |id: &Id| all.partition_point(|peer| peer.id < *id);
        let near = self.max_successors.min(count);
        let before = self.max_predecessors.min(count);
        let first = after(&me);
        self.successors = (0..near).map(|step| all[(first + step) % count]).collect();
        self.predecessors = (0..before).map(|step| all[(first + count - 1 - step) % count]).collect();
        self.fingers.clear();
        let beyond = self.successors.last().copied().filter(|_| count > near);
        if let (Some(bits), Some(last)) = (fingers, beyond) {
            for number in (0..bits).rev() {
                let start = me.plus_power_of_two(number, bits);
                if start.is_between(&me, &last.id) {
                    break;
                }
                let owner = all[after(&start) % count];
                if owner.id.is_strictly_between(&me, &start) {
                    continue; // This peer itself is the successor of the finger's start.
                }
                self.fingers.insert(number, owner);
            }
        }
        self.index();
    }

    /// All known peers, in the order in which a walk clockwise from `key` meets them.
    pub(super) fn clockwise(&self, key: &Id) -> impl Iterator<Item = &Peer> {
        let first = self.known.partition_point(|peer| peer.id < *key);
        self.known[first..].iter().chain(&self.known[..first])
    }

    /// Whether these peers stand closer together behind a key than others do elsewhere. A guest knows the neighbours of
    /// its bootstrap peers.
    pub(super) fn is_crowded(&self, key: &Id, peers: &[Peer]) -> bool {
        let spacing = if self.guest {
            spacing_by_gaps(self.known.windows(2).map(|two| two[1].id.minus(&two[0].id)))
        } else {
            spacing_by_nearest(self.successors.iter().map(|peer| peer.id.minus(&self.me.id)))
        };
        is_crowded(spacing, peers.iter().map(|peer| peer.id.minus(key)))
    }

    /// The nearest peers known before and after `id`; this one may be among them.
    pub(super) fn around(&self, id: &Id) -> [Option<Peer>; 2] {
        let first = self.known.partition_point(|peer| peer.id < *id);
        let mut back = self.known[..first].iter().rev().chain(self.known[first..].iter().rev());
        let another = |peer: &&Peer| peer.id != *id;
        [back.find(another).copied(), self.clockwise(id).find(another).copied()]
    }

    /// The least and the greatest of the keys around `key` that a walk clockwise leads from to the same peer.
    pub(super) fn gap(&self, key: &Id) -> (Id, Id) {
        let at = self.known.partition_point(|peer| peer.id < *key);
        let first = at.checked_sub(1).map(|before| self.known[before].id.next().expect("a key is greater"));
        let last = self.known.get(at).map(|peer| peer.id);
        (first.unwrap_or(Id::ZERO), last.unwrap_or(Id::MAX))
    }

    /// Whether this peer is responsible for `key`, as far as it knows: its predecessor stands before the key. None if
    /// it knows of no predecessor.
    pub(super) fn owns(&self, key: &Id) -> Option<bool> {
        self.predecessors.first().map(|before| key.is_between(&before.id, &self.me.id))
    }

    /// The first peer at or after `key` that is known and `usable`, if it stands before this one.
    pub(super) fn first_from(&self, key: &Id, usable: impl Fn(&Peer) -> bool) -> Option<Peer> {
        let mut walk = self.clockwise(key).take_while(|peer| peer.id != self.me.id);
        walk.find(|peer| usable(peer)).copied()
    }

    /// Where `key` leads by the successor alone, over `usable` peers.
    pub(super) fn hop_along(&self, key: &Id, usable: impl Fn(&Peer) -> bool) -> Hop {
        if self.owns(key) == Some(true) {
            return Hop::Mine;
        }
        match self.successors.iter().find(|peer| usable(peer)) {
            None if self.guest => Hop::Nowhere,
            None => Hop::Mine,
            Some(next) if key.is_between(&self.me.id, &next.id) => Hop::Last(*next),
            Some(next) => Hop::Via(*next),
        }
    }

    /// Where `key` leads by all known peers that are `usable`: closest_preceding_node over successors, predecessors and
    /// fingers.
    pub(super) fn hop_across(&self, key: &Id, usable: impl Fn(&Peer) -> bool) -> Hop {
        if !self.guest {
            if self.owns(key) == Some(true) {
                return Hop::Mine;
            }
            // Between this peer and the end of either list it knows every peer: the first one at or after the key.
            let ahead = self.successors.last().is_some_and(|last| key.is_between(&self.me.id, &last.id));
            let behind = self.predecessors.last().is_some_and(|last| key.is_between(&last.id, &self.me.id));
            if ahead || behind {
                let owner = self.clockwise(key).find(|peer| usable(peer));
                return owner
                    .map_or(Hop::Nowhere, |&owner| if owner == self.me { Hop::Mine } else { Hop::Last(owner) });
            }
        }
        let usable = |peer: &&Peer| usable(peer);
        // Backwards from the key: the nearest that stands before it.
        let first = self.known.partition_point(|peer| peer.id < *key);
        let preceding = self.known[..first].iter().rev().chain(self.known[first..].iter().rev()).find(usable);
        match preceding {
            None => Hop::Nowhere,
            Some(peer) if *peer == self.me => {
                self.successors.iter().find(usable).map_or(Hop::Mine, |&next| Hop::Last(next))
            }
            Some(&peer) => Hop::Via(peer),
        }
    }

    /// Where a new peer's `join` leads over `usable` peers: to the one known to stand right before `id`; [`Hop::Mine`]
    /// if that is this one.
    pub(super) fn hop_before(&self, id: &Id, shortcuts: bool, usable: impl Fn(&Peer) -> bool) -> Hop {
        let usable = |peer: &&Peer| usable(peer);
        if shortcuts {
            let first = self.known.partition_point(|peer| peer.id < *id);
            let walk = self.known[..first].iter().rev().chain(self.known[first..].iter().rev());
            let before = walk.filter(|peer| peer.id != *id).find(usable);
            return before.filter(|peer| **peer != self.me).map_or(Hop::Mine, |&peer| Hop::Via(peer));
        }
        let next = self.successors.iter().find(usable).filter(|next| !id.is_between(&self.me.id, &next.id));
        next.map_or(Hop::Mine, |&next| Hop::Via(next))
    }

    /// How often another peer became known, or was forgotten.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    fn index(&mut self) {
        let before = std::mem::take(&mut self.known);
        self.known.extend(self.successors.iter().chain(&self.predecessors).chain(self.fingers.values()));
        if !self.guest {
            self.known.push(self.me);
        }
        self.known.sort_unstable_by_key(|peer| peer.id);
        self.known.dedup_by_key(|peer| peer.id);
        self.changes += u64::from(self.known != before);
    }

    pub(super) fn rows(&self) -> Vec<TableRow> {
        let row = |label: String, peer: &Peer| TableRow { label, peers: vec![*peer], spare: 0 };
        let before = self.predecessors.iter().zip(1..).map(|(peer, at)| row(format!("predecessor {at}"), peer));
        let after = self.successors.iter().zip(1..).map(|(peer, at)| row(format!("successor {at}"), peer));
        let fingers = self.fingers.iter().rev().map(|(number, peer)| row(format!("finger {number}"), peer));
        before.chain(after).chain(fingers).collect()
    }

    /// Whether both lists are in order and hold no peer twice, each stands at one address, and the index agrees with
    /// them.
    pub(super) fn check(&self) -> Result<(), String> {
        let me = self.me.id;
        let ahead = self.successors.windows(2).all(|pair| pair[0].id.is_strictly_between(&me, &pair[1].id));
        let behind = self.predecessors.windows(2).all(|pair| pair[0].id.is_strictly_between(&pair[1].id, &me));
        let others = self.successors.iter().chain(&self.predecessors).chain(self.fingers.values());
        let strangers = others.clone().all(|peer| peer.id != me && self.get(&peer.id) == Some(*peer));
        let sizes = self.successors.len() <= self.max_successors && self.predecessors.len() <= self.max_predecessors;
        let indexed = self.known.windows(2).all(|pair| pair[0].id < pair[1].id);
        let alone = self.guest || !self.successors.is_empty() || self.others().next().is_none();
        match (ahead && behind, strangers && sizes, indexed && alone) {
            (true, true, true) => Ok(()),
            (lists, members, index) => {
                Err(format!("the ring's table: lists in order {lists}, members right {members}, index right {index}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RingOptions;
    use super::*;

    #[test]
    fn a_peer_that_knows_others_follows_one_of_them_in_whatever_way_it_came_to_know_them() {
        let peer = |n: u16| Peer::new(Id::from_u64(n.into()), ([127, 0, 0, 1], n).into());
        let learn: [fn(&mut RingTable, Peer); 2] =
            [|table, it| table.set_finger(9, it), |table, it| _ = table.add_predecessor(it)];
        for learn in learn {
            let mut table = RingTable::new(peer(10), &RingOptions::default());
            learn(&mut table, peer(30));
            assert_eq!((table.successors(), table.check()), (&[peer(30)][..], Ok(())));
            learn(&mut table, peer(8));
            table.remove(&peer(30).id);
            assert_eq!((table.successors().len(), table.check()), (table.others().count(), Ok(())));
        }
    }

    #[test]
    fn a_list_of_successors_is_complete_once_it_is_full_or_closes_the_circle() {
        let peer = |n: u16| Peer::new(Id::from_u64(n.into()), ([127, 0, 0, 1], n).into());
        let mut table = RingTable::new(peer(10), &RingOptions::default());
        assert!(table.is_complete(), "this peer is alone");
        assert!(table.add_successor(peer(20), true) && table.add_predecessor(peer(9)));
        assert!(!table.is_complete(), "9 stands behind 20, or others between them");
        assert!(table.add_successor(peer(9), true) && table.is_complete());
        (21..28).for_each(|n| _ = table.add_successor(peer(n), true));
        assert!(table.add_predecessor(peer(5)) && table.successors().len() == 8 && table.is_complete());
    }

    #[test]
    fn who_is_known_at_one_address_stands_at_that_one_in_all_lists_wherever_others_know_it() {
        let at = |port: u16| Peer::new(Id::from_u64(30), ([127, 0, 0, 1], port).into());
        let learn: [fn(&mut RingTable, Peer); 3] = [
            |table, it| table.set_finger(9, it),
            |table, it| _ = table.add_predecessor(it),
            |table, it| _ = table.add_successor(it, true),
        ];
        for (first, second) in (0..9).map(|pair| (learn[pair / 3], learn[pair % 3])) {
            let mut table = RingTable::new(Peer::new(Id::from_u64(10), at(10).addr), &RingOptions::default());
            first(&mut table, at(1));
            second(&mut table, at(2));
            assert_eq!((table.others().collect::<Vec<_>>(), table.check()), (vec![at(1)], Ok(())));
            assert!(table.rows().iter().all(|row| row.peers == [at(1)]), "{:?}", table.rows());
        }
    }

    #[test]
    fn behind_the_last_successor_of_a_list_that_is_not_full_the_predecessors_follow() {
        let peer = |n: u16| Peer::new(Id::from_u64(n.into()), ([127, 0, 0, 1], n).into());
        let mut table = RingTable::new(peer(10), &RingOptions::default());
        assert!([20, 30].into_iter().all(|n| table.add_successor(peer(n), true)));
        assert!([9, 8, 30].into_iter().all(|n| table.add_predecessor(peer(n))));
        assert_eq!(table.followers(), [20, 30, 8, 9].map(peer));
        (11..20).chain(21..30).for_each(|n| _ = table.add_successor(peer(n), true));
        assert_eq!((table.followers(), table.successors().len()), (table.successors().to_vec(), table.max_successors));
    }
}
