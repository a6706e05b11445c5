//! Who should hold the blocks that are held here: ranges of keys, each with its replica set.
//!
//! The ranges are few, for they depend on how many peers are near, not on how many blocks there are. So after a change
//! all are looked through anew, some of them in each turn of the node.

use std::collections::{BTreeMap, BTreeSet};

use super::comparison::Share;
use crate::id::{Id, Key};
use crate::node::desk::Desk;
use crate::peer::Peer;
use crate::wire::{Range, Start};

/// Regions that are looked through in one turn of the node.
const A_TURN: usize = 64;

/// Of a region that this peer does not belong to, so many members are compared with: nobody else has to know all, and
/// one of them may lie.
const STRAY_MEMBERS: usize = 2;

/// The regions of all blocks held here.
#[derive(Default)]
pub(super) struct Regions {
    known: Map,
    /// Those that were looked through already, and where to go on; none if that is over.
    sweep: Option<(Map, Key)>,
    /// The numbers of copies that blocks held here have. A region has as many members as the greatest.
    numbers: BTreeSet<usize>,
}

type Map = BTreeMap<Key, Region>;

/// A range of keys with blocks in it.
#[derive(Clone, Debug)]
pub(super) struct Region {
    last: Key,
    /// The other peers that should hold them, nearest first: all of them those blocks with the most copies.
    members: Vec<Peer>,
    /// This peer's rank among them, 0 being the nearest; none if it should hold nothing there.
    rank: Option<usize>,
}

impl Region {
    /// The other peers that should hold a block of so many copies, nearest first.
    pub(super) fn members(&self, copies: usize) -> &[Peer] {
        let others = copies - usize::from(self.rank.is_some_and(|rank| rank < copies));
        &self.members[..others.min(self.members.len())]
    }

    /// Whether a copy of a block of so many is a stray one here: this peer need not hold it.
    pub(super) fn is_stray(&self, copies: usize) -> bool {
        self.rank.is_none_or(|rank| rank >= copies)
    }

    /// The others with their ranks.
    fn ranked(&self) -> impl Iterator<Item = (usize, &Peer)> {
        let rank = |at: usize| at + usize::from(self.rank.is_some_and(|own| own <= at));
        self.members.iter().enumerate().map(move |(at, peer)| (rank(at), peer))
    }
}

impl Regions {
    /// Looks everything through anew, from the beginning.
    pub(super) fn begin_sweep(&mut self, desk: &Desk) {
        self.sweep = Some((Map::new(), Key::ZERO));
        self.numbers = desk.numbers_of_copies();
    }

    /// Whether blocks of so many copies are known of: else the regions are to be looked through anew.
    pub(super) fn know(&self, copies: usize) -> bool {
        self.numbers.contains(&copies)
    }

    fn most(&self) -> usize {
        self.numbers.last().copied().unwrap_or(0)
    }

    /// What a peer of this rank need not hold: blocks of so many copies, and fewer.
    fn beyond(&self, rank: usize) -> usize {
        self.numbers.range(..=rank).next_back().copied().unwrap_or(0)
    }

    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Looks some regions through. Whether all are known anew now.
    pub(super) fn go_on(&mut self, desk: &Desk) -> bool {
        let Some((mut found, mut from)) = self.sweep.take() else { return false };
        let most = self.most();
        for _ in 0..A_TURN {
            let Some(key) = desk.holdings().first_from(&from) else {
                self.known = found;
                return true;
            };
            let (first, region) = look(desk, &key, most);
            // Behind the greatest key of all nothing is held: the next turn of the loop is the last then.
            from = region.last.next().unwrap_or(Key::MAX);
            found.insert(first, region);
        }
        self.sweep = Some((found, from));
        false
    }

    /// The region of a key, if it is known.
    pub(super) fn of(&self, key: &Key) -> Option<&Region> {
        of(&self.known, key)
    }

    /// A block is held here from now on. Whether its region is a new one.
    pub(super) fn add(&mut self, desk: &Desk, key: &Key) -> bool {
        let most = self.most();
        if let Some((found, from)) = &mut self.sweep
            && key < from
        {
            add(found, desk, key, most);
        }
        add(&mut self.known, desk, key, most)
    }

    /// What is shared with each other peer, in ascending order.
    pub(super) fn shares(&self) -> BTreeMap<Id, (Peer, Vec<Share>)> {
        let mut all: BTreeMap<Id, (Peer, Vec<Share>)> = BTreeMap::new();
        for (first, region) in &self.known {
            let range = Range { first: Start::of(first), last: Start::of(&region.last) };
            let stray = region.rank.is_none();
            let most = if stray { STRAY_MEMBERS } else { usize::MAX };
            for (rank, member) in region.ranked().take(most) {
                let share = Share { range, stray, beyond: self.beyond(rank) };
                let (_, shares) = all.entry(member.id).or_insert((*member, Vec::new()));
                match shares.last_mut() {
                    Some(before) if share.is_like(before) && follows(&before.range, &range) => {
                        before.range.last = range.last;
                    }
                    _ => shares.push(share),
                }
            }
        }
        all
    }

    /// Whether regions are in order, none overlaps with another, and none has more peers than it may have.
    pub(super) fn check(&self) -> bool {
        let ends = self.known.iter().map(|(first, region)| (first, &region.last));
        ends.clone().all(|(first, last)| first <= last)
            && ends.clone().zip(ends.skip(1)).all(|((_, last), (next, _))| last < next)
    }
}

fn of<'a>(regions: &'a Map, key: &Key) -> Option<&'a Region> {
    regions.range(..=key).next_back().map(|(_, region)| region).filter(|region| *key <= region.last)
}

/// Adds the region of a key, unless it is there. Since the others were looked at, peers may have come or gone: it takes no
/// more room than they leave.
fn add(regions: &mut Map, desk: &Desk, key: &Key, most: usize) -> bool {
    if of(regions, key).is_some() {
        return false;
    }
    let (first, mut region) = look(desk, key, most);
    let before = regions.range(..=key).next_back().and_then(|(_, before)| before.last.next());
    if let Some((after, _)) = regions.range(key..).next() {
        region.last = region.last.min(previous(after));
    }
    regions.insert(first.max(before.unwrap_or(first)), region);
    true
}

/// The region of a key as the overlay knows it.
fn look(desk: &Desk, key: &Key, most: usize) -> (Key, Region) {
    let crate::overlay::Region { first, last, members } = desk.region(key, most.max(desk.config().replicas));
    let rank = members.iter().position(|peer| desk.is_me(peer));
    let members = members.into_iter().filter(|peer| !desk.is_me(peer)).collect();
    (first, Region { last, members, rank })
}

fn follows(before: &Range, range: &Range) -> bool {
    range.first.0.saturating_sub(before.last.0) <= 1
}

fn previous(key: &Key) -> Key {
    let mut bytes = *key.as_bytes();
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_sub(1);
        if *byte != u8::MAX {
            break;
        }
    }
    Key::from_bytes(bytes)
}
