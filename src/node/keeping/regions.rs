//! The peers that should hold the blocks that are held here: ranges of keys, each with its replica set.
//!
//! Each [class](crate::node::leases::Class) of blocks, of one number of copies, has ranges of its own: the more copies,
//! the larger the replica sets. The ranges are few, for they depend on how many peers are near, not on how many blocks
//! there are. So after a change all are looked through anew, some of them in each turn of the node.

use std::collections::BTreeMap;

use super::comparison::SharedRange;
use super::further::Shares;
use crate::config::WIDTH;
use crate::id::Key;
use crate::node::desk::Desk;
use crate::node::leases::{Class, USUAL};
use crate::peer::Peer;
use crate::wire::{Range, Start};

/// Regions that are looked through in one turn of the node.
const REGIONS_A_TURN: usize = 64;

/// Of a region that this peer does not belong to, so many members are compared with: no other peer has to know all, and
/// one of them may lie.
const STRAY_MEMBERS: usize = 2;

/// The regions of all blocks held here.
pub(super) struct Regions {
    known: Classes,
    /// The classes that were looked through, a bit for each.
    looked_at: u32,
    /// What is being looked through anew.
    sweep: Option<Sweep>,
}

/// Regions by the class of their blocks.
type Classes = BTreeMap<Class, RegionMap>;

/// A look at all regions, class by class.
struct Sweep {
    found: Classes,
    /// The class that is looked through, and the least key of it that was not yet.
    class: Class,
    from: Key,
    /// The classes that it began with, a bit for each.
    classes: u32,
}

type RegionMap = BTreeMap<Key, BlockRegion>;

/// A range of keys with blocks in it.
#[derive(Clone, Debug)]
pub(super) struct BlockRegion {
    last: Key,
    /// The other peers that should hold them.
    pub(super) members: Vec<Peer>,
    /// This peer should not: what is here are stray copies.
    pub(super) stray: bool,
}

impl BlockRegion {
    /// The members that are compared with.
    pub(super) fn compared(&self) -> impl Iterator<Item = &Peer> {
        self.members.iter().take(if self.stray { STRAY_MEMBERS } else { usize::MAX })
    }
}

impl Default for Regions {
    fn default() -> Self {
        Self { known: Classes::new(), looked_at: 1 << USUAL, sweep: None }
    }
}

impl Regions {
    /// Looks everything through anew, from the beginning.
    pub(super) fn begin_sweep(&mut self, desk: &Desk) {
        let classes = desk.holdings().all_leases().classes();
        self.sweep = Some(Sweep { found: Classes::new(), class: USUAL, from: Key::ZERO, classes });
    }

    /// Whether all classes of blocks that are held here were looked through.
    pub(super) fn are_all_known(&self, desk: &Desk) -> bool {
        let looked_at = self.sweep.as_ref().map_or(self.looked_at, |sweep| sweep.classes);
        desk.holdings().all_leases().classes() & !looked_at == 0
    }

    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Looks some regions through. Whether all are known anew now.
    pub(super) fn go_on(&mut self, desk: &Desk) -> bool {
        let Some(mut sweep) = self.sweep.take() else { return false };
        for _ in 0..REGIONS_A_TURN {
            let found = sweep.found.entry(sweep.class).or_default();
            if let Some(key) = desk.holdings().first_from(&sweep.from) {
                let (first, region) = look(desk, &key, sweep.class);
                // Behind the greatest key of all nothing is held: the next turn of the loop is the last then.
                sweep.from = region.last.next().unwrap_or(Key::MAX);
                found.insert(first, region);
            } else if let Some(next) = (sweep.class + 1..=WIDTH as u8).find(|class| sweep.classes & 1 << class != 0) {
                (sweep.class, sweep.from) = (next, Key::ZERO);
            } else {
                (self.known, self.looked_at) = (sweep.found, sweep.classes);
                return true;
            }
        }
        self.sweep = Some(sweep);
        false
    }

    /// The region of a block that is held here, if it is known.
    pub(super) fn of(&self, desk: &Desk, key: &Key) -> Option<&BlockRegion> {
        of(self.known.get(&desk.holdings().class(key))?, key)
    }

    /// A block is held here from now on. Whether its region is a new one.
    pub(super) fn add(&mut self, desk: &Desk, key: &Key) -> bool {
        if let Some(sweep) = &mut self.sweep {
            for (class, found) in &mut sweep.found {
                if *class != sweep.class || *key < sweep.from {
                    add(found, desk, key, *class);
                }
            }
        }
        self.known.entry(desk.holdings().class(key)).or_default();
        // Should it come to be of another class, its region there is known.
        self.known.iter_mut().fold(false, |is_new, (class, known)| add(known, desk, key, *class) || is_new)
    }

    /// What is shared with each other peer, class by class, in ascending order.
    pub(super) fn shares(&self) -> Shares {
        let mut all = Shares::new();
        let each = self.known.iter().flat_map(|(class, known)| known.iter().map(move |region| (*class, region)));
        for (class, (first, region)) in each {
            let range = Range { first: Start::of(first), last: Start::of(&region.last) };
            let share = SharedRange { range, stray: region.stray, class: Some(class) };
            for member in region.compared() {
                let (_, shares) = all.entry(member.id).or_insert((*member, Vec::new()));
                match shares.last_mut() {
                    Some(before) if before.is_like(&share) && follows(&before.range, &range) => {
                        before.range.last = range.last;
                    }
                    _ => shares.push(share),
                }
            }
        }
        all
    }

    /// Whether regions are in order and none overlaps with another.
    pub(super) fn check(&self) -> bool {
        self.known.values().all(|known| {
            let ends = known.iter().map(|(first, region)| (first, &region.last));
            ends.clone().all(|(first, last)| first <= last)
                && ends.clone().zip(ends.skip(1)).all(|((_, last), (next, _))| last < next)
        })
    }
}

fn of<'a>(regions: &'a RegionMap, key: &Key) -> Option<&'a BlockRegion> {
    regions.range(..=key).next_back().map(|(_, region)| region).filter(|region| *key <= region.last)
}

/// Adds the region of a key, unless it is there. Since the others were looked at, peers may have come or gone: it takes
/// no more room than they leave.
fn add(regions: &mut RegionMap, desk: &Desk, key: &Key, class: Class) -> bool {
    if of(regions, key).is_some() {
        return false;
    }
    let (first, mut region) = look(desk, key, class);
    let before = regions.range(..=key).next_back().and_then(|(_, before)| before.last.next());
    if let Some((after, _)) = regions.range(key..).next() {
        region.last = region.last.min(previous(after));
    }
    regions.insert(first.max(before.unwrap_or(first)), region);
    true
}

/// The region of a key in a class, as the overlay knows it.
fn look(desk: &Desk, key: &Key, class: Class) -> (Key, BlockRegion) {
    let crate::overlay::Region { first, last, members } = desk.region(key, desk.holdings().copies(class));
    let stray = !members.iter().any(|peer| desk.is_me(peer));
    let members = members.into_iter().filter(|peer| !desk.is_me(peer)).collect();
    (first, BlockRegion { last, members, stray })
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
