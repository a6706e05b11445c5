//! The leases on the blocks held here.
//!
//! A file's blocks all carry the same lease, so there are far fewer sets of leases than blocks: a block's entry has but
//! the number of its set, and a lease that is renewed or ends is one entry of one table, however many blocks carry it.
//!
//! Where each block is a file of its own there are as many leases as blocks, and all that is remembered of such a lease
//! stands in two places: its terms, and its set. That is at most 192 bytes a block, the trees' own included, which a
//! test counts.

mod account;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Deref;
use std::time::Duration;

use super::shares::SourceNumber;
use crate::config::WIDTH;
use crate::lease::{EndOfLease, Lease, LeaseId, MAX_LEASES, RememberedEnds, Secret, UnixTime};

/// The copies that a block is to have: the number that its leases ask for, at most [`WIDTH`], or [`USUAL`]. Each class
/// has replica sets of its own size, and is compared by itself.
pub(crate) type Class = u8;

/// The class of a block for which no lease asks for a number: each peer has its own
/// ([`Config::replicas`](crate::config::Config::replicas)).
pub(crate) const USUAL: Class = 0;

/// The number of a set of leases.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SetId(u32);

/// Looks that one count of blocks takes at most, each at a set or at a lease: some milliseconds.
const MOST_LOOKS: usize = 1 << 16;

/// The leases on all blocks.
#[derive(Debug)]
pub(super) struct Leases {
    terms: BTreeMap<LeaseId, LeaseTerms>,
    /// The sets by number. The first is that of a block which no user may end.
    sets: Vec<LeaseSet>,
    /// Those of several leases: [`LeaseTerms`] know the one of a lease alone.
    numbers: BTreeMap<Vec<LeaseId>, SetId>,
    free: Vec<SetId>,
    /// How many leases end or ended when, as far as any does.
    ends: BTreeMap<UnixTime, u32>,
    /// What ended each, and when.
    ended: RememberedEnds,
    /// Leases that have ended by this peer's clock and not by others', and until when their blocks stay all the same.
    held_back: BTreeMap<LeaseId, UnixTime>,
    /// The classes that a lease asked for since this peer began, a bit for each; and the usual one.
    classes: u32,
}

#[derive(Debug)]
struct LeaseTerms {
    /// When it ends; [`NEVER`] stands for that.
    end: UnixTime,
    copies: u8,
    /// The set of it alone, if there is such.
    alone: SetId,
    /// The sets that it is in beside others.
    shared: Vec<SetId>,
}

/// The end of a lease that has none.
const NEVER: UnixTime = UnixTime::MAX;

#[derive(Debug, Default)]
struct LeaseSet {
    ids: LeaseIds,
    blocks: u32,
    /// The source that laid several.
    by: SourceNumber,
}

/// The leases of a set, in order: mostly one, which then costs no memory elsewhere.
#[derive(Debug)]
enum LeaseIds {
    One([LeaseId; 1]),
    Other(Box<[LeaseId]>),
}

impl Default for LeaseIds {
    fn default() -> Self {
        Self::Other(Box::default())
    }
}

impl Deref for LeaseIds {
    type Target = [LeaseId];

    fn deref(&self) -> &[LeaseId] {
        match self {
            Self::One(id) => id,
            Self::Other(ids) => ids,
        }
    }
}

impl LeaseTerms {
    fn new(lease: &Lease) -> Self {
        Self { end: lease.until.unwrap_or(NEVER), copies: lease.copies, alone: SetId::NONE, shared: Vec::new() }
    }

    fn until(&self) -> Option<UnixTime> {
        (self.end != NEVER).then_some(self.end)
    }

    /// The lease of this name, which has these terms.
    fn lease(&self, id: LeaseId) -> Lease {
        Lease { id, until: self.until(), copies: self.copies }
    }

    /// The sets that it is in.
    fn sets(&self) -> impl Iterator<Item = SetId> {
        Some(self.alone).filter(|set| *set != SetId::NONE).into_iter().chain(self.shared.iter().copied())
    }
}

impl SetId {
    /// No lease: no user may end what keeps the block.
    pub(super) const NONE: Self = Self(0);
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            terms: BTreeMap::new(),
            sets: vec![LeaseSet::default()],
            numbers: BTreeMap::new(),
            free: Vec::new(),
            ends: BTreeMap::new(),
            ended: RememberedEnds::default(),
            held_back: BTreeMap::new(),
            classes: 1 << USUAL,
        }
    }
}

impl Leases {
    /// The leases of a set that hold.
    pub(super) fn of(&self, set: SetId, now: UnixTime) -> impl Iterator<Item = Lease> + '_ {
        let lease = |&id| self.terms.get(&id).map(|terms| terms.lease(id));
        self.sets[set.0 as usize].ids.iter().filter_map(lease).filter(move |lease| lease.holds(now))
    }

    /// Whether a block of this set is still wanted.
    pub(super) fn wants(&self, set: SetId, now: UnixTime) -> bool {
        set == SetId::NONE || self.of(set, now).next().is_some()
    }

    /// The [class](Class) of a block of this set, if it is still wanted: as many copies as any of its leases asks for.
    /// A lease that leaves that open asks for the `usual` number.
    pub(super) fn wanted_class(&self, set: SetId, now: UnixTime, usual: usize) -> Option<Class> {
        if set == SetId::NONE {
            return Some(USUAL);
        }
        let (mut most, mut is_open) = (None, false);
        for lease in self.of(set, now) {
            most = most.max(Some(asked(lease.copies)));
            is_open |= lease.copies == 0;
        }
        most.map(|most| if is_open && usize::from(most) <= usual { USUAL } else { most })
    }

    /// The classes that blocks may have, a bit for each.
    pub(super) fn classes(&self) -> u32 {
        self.classes
    }

    /// Whether no lease has kept a block of this set for at least `grace`.
    pub(super) fn is_over(&self, set: SetId, now: UnixTime, grace: Duration) -> bool {
        let ids = &self.sets[set.0 as usize].ids;
        let is_held_back = |id: &LeaseId| self.held_back.get(id).is_some_and(|until| now < *until);
        !self.wants(set, now.saturating_sub(grace.as_secs())) && !ids.iter().any(is_held_back)
    }

    /// By the clock of a peer that offers a block on this lease, it has not ended: its blocks stay until then.
    pub(super) fn hold_back(&mut self, id: LeaseId, until: UnixTime) {
        if self.terms.contains_key(&id) && !self.ended.contains(&id) {
            self.held_back.insert(id, until);
        }
    }

    /// Whether any lease is held back still.
    pub(super) fn holds_back(&mut self, now: UnixTime) -> bool {
        self.held_back.retain(|_, until| now < *until);
        !self.held_back.is_empty()
    }

    /// Whether these leases are on a block of this set already, with terms as good. What has ended counts for nothing.
    pub(super) fn has_all(&self, set: SetId, leases: &[Lease]) -> bool {
        let ids = &self.sets[set.0 as usize].ids;
        if ids.len() >= MAX_LEASES && ids.contains(&LeaseId::NOBODY) {
            return true;
        }
        let known = |lease: &Lease| {
            let terms = self.terms.get(&lease.id).filter(|_| ids.contains(&lease.id));
            let is_nobodys = set == SetId::NONE && lease.id == LeaseId::NOBODY;
            is_nobodys
                || terms.is_some_and(|terms| {
                    let longer = terms.until().is_some_and(|until| lease.until.is_none_or(|other| until < other));
                    !longer
                })
        };
        leases.iter().all(|lease| known(lease) || self.ended.contains(&lease.id))
    }

    /// The secrets that ended some of these leases.
    pub(super) fn secrets_of<'a>(&'a self, leases: &'a [Lease]) -> impl Iterator<Item = Secret> + 'a {
        leases.iter().filter_map(|lease| self.ended.get(&lease.id)).map(|end| end.secret)
    }

    /// A block of this set gets these leases too: the number of its set from now on. What has ended is left out; the
    /// terms of those that are known last longer, never less. A block that would have too many is kept for ever
    /// instead.
    pub(super) fn add(&mut self, set: SetId, leases: &[Lease], now: UnixTime) -> SetId {
        let mut live = self.not_ended(leases);
        if live.is_empty() && self.sets[set.0 as usize].ids.is_empty() {
            // What came on behalf of ended leases alone is not kept for ever.
            let over = |lease: &Lease| Some(Lease { until: Some(self.ended.get(&lease.id)?.at), ..*lease });
            live = leases.iter().filter_map(over).collect();
        }
        let mut ids = self.joined(set, &live, now);
        if ids.len() > MAX_LEASES {
            ids.truncate(MAX_LEASES - 1);
            live.push(Lease::NOBODYS);
            ids.push(LeaseId::NOBODY);
            ids.sort_unstable();
            ids.dedup();
        }
        for lease in &live {
            self.classes |= 1 << asked(lease.copies);
            if self.renew(lease).is_none() && ids.contains(&lease.id) && !self.terms.contains_key(&lease.id) {
                self.terms.insert(lease.id, LeaseTerms::new(lease));
                self.move_end(None, lease.until);
            }
        }
        if ids == [LeaseId::NOBODY] {
            ids.clear();
        }
        let next = self.number(ids);
        self.retain(next);
        self.release(set);
        self.forget_if_unused(&LeaseId::NOBODY);
        next
    }

    fn not_ended(&self, leases: &[Lease]) -> Vec<Lease> {
        leases.iter().filter(|lease| !self.ended.contains(&lease.id)).copied().collect()
    }

    /// The leases of a block of this set with these, which have not been ended. For one that holds, those that lapsed
    /// make room.
    fn joined(&self, set: SetId, live: &[Lease], now: UnixTime) -> Vec<LeaseId> {
        let mut ids = if live.iter().any(|lease| lease.holds(now)) {
            self.of(set, now).map(|lease| lease.id).collect()
        } else {
            self.sets[set.0 as usize].ids.to_vec()
        };
        ids.extend(live.iter().map(|lease| lease.id));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// One block fewer has this set.
    pub(super) fn release(&mut self, set: SetId) {
        let known = &mut self.sets[set.0 as usize];
        known.blocks = known.blocks.saturating_sub(1);
        if known.blocks > 0 || set == SetId::NONE {
            return;
        }
        known.by = SourceNumber::NONE;
        let ids = std::mem::take(&mut known.ids);
        if ids.len() > 1 {
            self.numbers.remove(&*ids);
        }
        self.free.push(set);
        for id in &*ids {
            if let Some(terms) = self.terms.get_mut(id) {
                match &*ids {
                    [_] => terms.alone = SetId::NONE,
                    _ => terms.shared.retain(|other| *other != set),
                }
            }
            self.forget_if_unused(id);
        }
    }

    /// One block more has this set.
    fn retain(&mut self, set: SetId) {
        self.sets[set.0 as usize].blocks += 1;
    }

    /// The number of the set of these leases, a new one where there is none yet.
    fn number(&mut self, ids: Vec<LeaseId>) -> SetId {
        let known = match &ids[..] {
            [] => return SetId::NONE,
            [id] => self.terms.get(id).map(|terms| terms.alone).filter(|set| *set != SetId::NONE),
            ids => self.numbers.get(ids).copied(),
        };
        if let Some(number) = known {
            return number;
        }
        let number = self.free.pop().unwrap_or(SetId(self.sets.len() as u32));
        if number.0 as usize == self.sets.len() {
            self.sets.push(LeaseSet::default());
        }
        let set = &mut self.sets[number.0 as usize];
        if let [id] = ids[..] {
            set.ids = LeaseIds::One([id]);
            self.terms.entry(id).and_modify(|terms| terms.alone = number);
            return number;
        }
        set.ids = LeaseIds::Other(ids.clone().into());
        for id in &ids {
            self.terms.entry(*id).and_modify(|terms| terms.shared.push(number));
        }
        self.numbers.insert(ids, number);
        number
    }

    fn forget_if_unused(&mut self, id: &LeaseId) {
        if let Some(terms) = self.terms.get(id)
            && terms.sets().next().is_none()
        {
            let until = terms.until();
            self.move_end(until, None);
            self.held_back.remove(id);
            self.terms.remove(id);
        }
    }

    /// A lease that ended, or was to end, at the first of these moments does so at the second.
    fn move_end(&mut self, before: Option<UnixTime>, after: Option<UnixTime>) {
        if let Some(Entry::Occupied(mut leases)) = before.map(|before| self.ends.entry(before)) {
            *leases.get_mut() -= 1;
            if *leases.get() == 0 {
                leases.remove();
            }
        }
        if let Some(after) = after {
            *self.ends.entry(after).or_default() += 1;
        }
    }

    /// Whether a lease that some block has would last longer by that, by a minute at least unless it ends within one.
    pub(super) fn betters(&self, lease: &Lease, now: UnixTime) -> bool {
        self.terms.get(&lease.id).is_some_and(|terms| {
            let much = |until: UnixTime| if until > now + 60 { until + 60 } else { until + 1 };
            terms.until().is_some_and(|until| lease.until.is_none_or(|other| other >= much(until)))
        })
    }

    /// A lease lasts longer, if any block here has it: returns its terms. The copies that it asks for stay, for any
    /// peer that has a block knows the names of its leases; to ask for more, another lease is laid.
    pub(super) fn renew(&mut self, lease: &Lease) -> Option<Lease> {
        let ended = self.ended.contains(&lease.id);
        let terms = self.terms.get_mut(&lease.id).filter(|_| !ended)?;
        let before = terms.until();
        terms.end = terms.end.max(lease.until.unwrap_or(NEVER));
        let known = terms.lease(lease.id);
        self.move_end(before, known.until);
        Some(known)
    }

    /// A lease has ended. Whether that is news.
    pub(super) fn end(&mut self, end: EndOfLease) -> bool {
        let (id, at) = (end.secret.id(), end.at);
        if self.ended.contains(&id) {
            return false;
        }
        self.held_back.remove(&id);
        self.ended.add(end);
        if let Some(terms) = self.terms.get_mut(&id) {
            let before = terms.until();
            terms.end = terms.end.min(at);
            let after = terms.until();
            self.move_end(before, after);
        }
        true
    }

    /// The first moment after `now` at which a lease ends.
    pub(super) fn next_end(&self, now: UnixTime) -> Option<UnixTime> {
        self.ends.range(now + 1..).next().map(|(end, _)| *end)
    }

    /// Blocks that have any of these leases, and those among them that no lease keeps at `now`; and how many looks that
    /// took, at a set or at a lease. Mixes of leases that no user has for files would take very many: no more are
    /// counted than [`MOST_LOOKS`] show.
    pub(super) fn count(&self, ids: &[LeaseId], now: UnixTime) -> (u32, u32, usize) {
        let (mut blocks, mut free, mut looks) = (0, 0, 0);
        for (at, id) in ids.iter().enumerate() {
            let Some(terms) = self.terms.get(id) else { continue };
            let holds = terms.lease(*id).holds(now);
            for number in terms.sets() {
                if looks >= MOST_LOOKS {
                    return (blocks, free, looks);
                }
                let set = &self.sets[number.0 as usize];
                looks += 1 + at;
                if ids[..at].iter().any(|counted| set.ids.binary_search(counted).is_ok()) {
                    continue;
                }
                blocks += set.blocks;
                if !holds {
                    looks += set.ids.len();
                    free += if self.wants(number, now) { 0 } else { set.blocks };
                }
            }
            looks += 1;
        }
        (blocks, free, looks)
    }

    /// How many leases a block of this set has.
    pub(super) fn len_of(&self, set: SetId) -> usize {
        self.sets[set.0 as usize].ids.len()
    }

    /// Whether any block here has this lease.
    pub(super) fn knows(&self, id: &LeaseId) -> bool {
        self.terms.contains_key(id)
    }

    /// Whether the counts are right.
    pub(super) fn check(&self, of_blocks: &BTreeMap<SetId, u32>) -> Result<(), String> {
        let blocks_right = self
            .sets
            .iter()
            .enumerate()
            .skip(1)
            .all(|(number, set)| of_blocks.get(&SetId(number as u32)).copied().unwrap_or(0) == set.blocks);
        let ids = |set: SetId| &*self.sets[set.0 as usize].ids;
        let terms_right = self.terms.iter().all(|(id, terms)| {
            let alone_right = terms.alone == SetId::NONE || ids(terms.alone) == [*id];
            let shared_right = terms.shared.iter().all(|set| self.numbers.get(ids(*set)) == Some(set));
            alone_right
                && shared_right
                && terms.sets().next().is_some()
                && terms.sets().all(|set| ids(set).contains(id))
        });
        let mut ends = BTreeMap::new();
        for until in self.terms.values().filter_map(LeaseTerms::until) {
            *ends.entry(until).or_default() += 1;
        }
        let right = blocks_right && terms_right && ends == self.ends;
        right.then_some(()).ok_or_else(|| "the account of leases contradicts itself".to_owned())
    }
}

/// The class that a lease asks for.
fn asked(copies: u8) -> Class {
    copies.min(WIDTH as u8)
}

#[cfg(test)]
mod tests;
