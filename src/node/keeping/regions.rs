//! Who should hold the blocks that are held here: ranges of keys, each with its replica set.
//!
//! The ranges are few, for they depend on how many peers are near, not on how many blocks there are. So after a change
//! all are looked through anew, some of them in each turn of the node.

use std::collections::BTreeMap;

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
}

type Map = BTreeMap<Key, Region>;

/// A range of keys with blocks in it.
#[derive(Clone, Debug)]
pub(super) struct Region {
    last: Key,
    /// The other peers that should hold them.
    pub(super) members: Vec<Peer>,
    /// This peer should not: what is here are stray copies.
    pub(super) stray: bool,
}

impl Regions {
    /// Looks everything through anew, from the beginning.
    pub(super) fn begin_sweep(&mut self) {
        self.sweep = Some((Map::new(), Key::ZERO));
    }

    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Looks some regions through. Whether all are known anew now.
    pub(super) fn go_on(&mut self, desk: &Desk) -> bool {
        let Some((mut found, mut from)) = self.sweep.take() else { return false };
        for _ in 0..A_TURN {
            let Some(key) = desk.holdings().first_from(&from) else {
                self.known = found;
                return true;
            };
            let (first, region) = look(desk, &key);
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
        if let Some((found, from)) = &mut self.sweep
            && key < from
        {
            add(found, desk, key);
        }
        add(&mut self.known, desk, key)
    }

    /// What is shared with each other peer, in ascending order.
    pub(super) fn shares(&self) -> BTreeMap<Id, (Peer, Vec<Share>)> {
        let mut all: BTreeMap<Id, (Peer, Vec<Share>)> = BTreeMap::new();
        for (first, region) in &self.known {
            let range = Range { first: Start::of(first), last: Start::of(&region.last) };
            let share = Share { range, stray: region.stray };
            let most = if region.stray { STRAY_MEMBERS } else { usize::MAX };
            for member in region.members.iter().take(most) {
                let (_, shares) = all.entry(member.id).or_insert((*member, Vec::new()));
                match shares.last_mut() {
                    Some(before) if before.stray == share.stray && follows(&before.range, &range) => {
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
fn add(regions: &mut Map, desk: &Desk, key: &Key) -> bool {
    if of(regions, key).is_some() {
        return false;
    }
    let (first, mut region) = look(desk, key);
    let before = regions.range(..=key).next_back().and_then(|(_, before)| before.last.next());
    if let Some((after, _)) = regions.range(key..).next() {
        region.last = region.last.min(previous(after));
    }
    regions.insert(first.max(before.unwrap_or(first)), region);
    true
}

/// The region of a key as the overlay knows it.
fn look(desk: &Desk, key: &Key) -> (Key, Region) {
    let crate::overlay::Region { first, last, members } = desk.region(key, desk.config().replicas);
    let stray = !members.iter().any(|peer| desk.is_me(peer));
    let members = members.into_iter().filter(|peer| !desk.is_me(peer)).collect();
    (first, Region { last, members, stray })
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
