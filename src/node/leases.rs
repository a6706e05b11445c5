//! The leases on the blocks held here.
//!
//! A file's blocks all carry the same lease, so there are far fewer sets of leases than blocks: a block's entry has but
//! the number of its set, and a lease that is renewed or ends is one entry of one table, however many blocks carry it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::holdings::{Class, USUAL};
use crate::agenda::Agenda;
use crate::config::WIDTH;
use crate::lease::{Lease, LeaseId, MAX_LEASES, Secret, UnixTime};

/// The number of a set of leases.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SetId(u32);

/// Ended leases that are remembered, so that copies of old do not bring them back.
const ENDED_MEMORY: usize = 20_000;

/// The leases on all blocks.
#[derive(Debug)]
pub(super) struct Leases {
    terms: BTreeMap<LeaseId, Terms>,
    /// The sets by number. The first is that of a block which nobody may end.
    sets: Vec<Set>,
    numbers: BTreeMap<Vec<LeaseId>, SetId>,
    free: Vec<SetId>,
    /// When each lease ends or ended, as far as any does.
    ends: BTreeSet<(UnixTime, LeaseId)>,
    /// What ended each, and when: the first is forgotten first.
    ended: Agenda<LeaseId, Secret, UnixTime>,
    /// Leases that have ended by this peer's clock and not by others', and until when their blocks stay all the same.
    held_back: BTreeMap<LeaseId, UnixTime>,
    /// The classes that a lease asked for since this peer began, a bit for each; and the usual one.
    classes: u32,
}

#[derive(Debug)]
struct Terms {
    until: Option<UnixTime>,
    copies: u8,
    /// The sets that it is in.
    sets: Vec<SetId>,
}

#[derive(Debug, Default)]
struct Set {
    ids: Vec<LeaseId>,
    blocks: u32,
}

impl SetId {
    /// No lease: nobody may end what keeps the block.
    pub(super) const NONE: Self = Self(0);
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            terms: BTreeMap::new(),
            sets: vec![Set::default()],
            numbers: BTreeMap::from([(Vec::new(), SetId::NONE)]),
            free: Vec::new(),
            ends: BTreeSet::new(),
            ended: Agenda::default(),
            held_back: BTreeMap::new(),
            classes: 1 << USUAL,
        }
    }
}

impl Leases {
    /// The leases of a set that hold.
    pub(super) fn of(&self, set: SetId, now: UnixTime) -> impl Iterator<Item = Lease> + '_ {
        let lease = |&id| self.terms.get(&id).map(|terms| Lease { id, until: terms.until, copies: terms.copies });
        self.sets[set.0 as usize].ids.iter().filter_map(lease).filter(move |lease| lease.holds(now))
    }

    /// Whether a block of this set is still wanted.
    pub(super) fn wants(&self, set: SetId, now: UnixTime) -> bool {
        set == SetId::NONE || self.of(set, now).next().is_some()
    }

    /// The [class](super::holdings::Class) of a block of this set: as many copies as any of its leases asks for. One
    /// that leaves that open asks for the `usual` number.
    pub(super) fn class(&self, set: SetId, now: UnixTime, usual: usize) -> Class {
        if set == SetId::NONE {
            return USUAL;
        }
        let (mut most, mut is_open) = (USUAL, false);
        for lease in self.of(set, now) {
            most = most.max(asked(lease.copies));
            is_open |= lease.copies == 0;
        }
        if is_open && usize::from(most) <= usual { USUAL } else { most }
    }

    /// The classes that blocks may have, a bit for each.
    pub(super) fn classes(&self) -> u32 {
        self.classes
    }

    /// Whether nobody has wanted a block of this set for at least `grace`.
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
                    let longer = terms.until.is_some_and(|until| lease.until.is_none_or(|other| until < other));
                    !longer && terms.copies >= lease.copies
                })
        };
        leases.iter().all(|lease| known(lease) || self.ended.contains(&lease.id))
    }

    /// The secrets that ended some of these leases.
    pub(super) fn secrets_of<'a>(&'a self, leases: &'a [Lease]) -> impl Iterator<Item = Secret> + 'a {
        leases.iter().filter_map(|lease| self.ended.get(&lease.id)).copied()
    }

    /// A block of this set gets these leases too: the number of its set from now on. What has ended is left out; the
    /// terms of those that are known get better, never worse. A block that would have too many is kept for ever
    /// instead.
    pub(super) fn add(&mut self, set: SetId, leases: &[Lease], now: UnixTime) -> SetId {
        let mut live: Vec<Lease> = leases.iter().filter(|lease| !self.ended.contains(&lease.id)).copied().collect();
        if live.is_empty() && self.sets[set.0 as usize].ids.is_empty() {
            // What came on behalf of ended leases alone is not what nobody may end.
            let over = |lease: &Lease| Some(Lease { until: Some(self.ended.due(&lease.id)?), ..*lease });
            live = leases.iter().filter_map(over).collect();
        }
        let mut ids = if live.iter().any(|lease| lease.holds(now)) {
            self.of(set, now).map(|lease| lease.id).collect()
        } else {
            self.sets[set.0 as usize].ids.clone()
        };
        ids.extend(live.iter().map(|lease| lease.id));
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > MAX_LEASES {
            ids.truncate(MAX_LEASES - 1);
            live.push(Lease::NOBODYS);
            ids.push(LeaseId::NOBODY);
            ids.sort_unstable();
        }
        for lease in &live {
            self.classes |= 1 << asked(lease.copies);
            if !self.renew(lease) && ids.contains(&lease.id) && !self.terms.contains_key(&lease.id) {
                self.terms.insert(lease.id, Terms { until: lease.until, copies: lease.copies, sets: Vec::new() });
                self.ends.extend(lease.until.map(|until| (until, lease.id)));
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

    /// One block fewer has this set.
    pub(super) fn release(&mut self, set: SetId) {
        let known = &mut self.sets[set.0 as usize];
        known.blocks = known.blocks.saturating_sub(1);
        if known.blocks > 0 || set == SetId::NONE {
            return;
        }
        let ids = std::mem::take(&mut known.ids);
        // Of two sets that became the same, one alone is found by what it has.
        if self.numbers.get(&ids) == Some(&set) {
            self.numbers.remove(&ids);
        }
        self.free.push(set);
        for id in ids {
            if let Some(terms) = self.terms.get_mut(&id) {
                terms.sets.retain(|other| *other != set);
            }
            self.forget_if_unused(&id);
        }
    }

    /// One block more has this set.
    fn retain(&mut self, set: SetId) {
        self.sets[set.0 as usize].blocks += 1;
    }

    /// The number of the set of these leases, a new one where there is none yet.
    fn number(&mut self, ids: Vec<LeaseId>) -> SetId {
        if let Some(number) = self.numbers.get(&ids) {
            return *number;
        }
        let number = self.free.pop().unwrap_or(SetId(self.sets.len() as u32));
        for id in &ids {
            if let Some(terms) = self.terms.get_mut(id) {
                terms.sets.push(number);
            }
        }
        if number.0 as usize == self.sets.len() {
            self.sets.push(Set::default());
        }
        self.sets[number.0 as usize].ids.clone_from(&ids);
        self.numbers.insert(ids, number);
        number
    }

    fn forget_if_unused(&mut self, id: &LeaseId) {
        if let Some(terms) = self.terms.get(id)
            && terms.sets.is_empty()
        {
            if let Some(until) = terms.until {
                self.ends.remove(&(until, *id));
            }
            self.held_back.remove(id);
            self.terms.remove(id);
        }
    }

    /// Whether a lease that some block has would last longer by that, by a minute at least unless it ends within one,
    /// or ask for more copies.
    pub(super) fn betters(&self, lease: &Lease, now: UnixTime) -> bool {
        self.terms.get(&lease.id).is_some_and(|terms| {
            let much = |until: UnixTime| if until > now + 60 { until + 60 } else { until + 1 };
            let longer = terms.until.is_some_and(|until| lease.until.is_none_or(|other| other >= much(until)));
            longer || lease.copies > terms.copies
        })
    }

    /// Better terms for a lease. Whether any block here has it.
    pub(super) fn renew(&mut self, lease: &Lease) -> bool {
        let ended = self.ended.contains(&lease.id);
        let Some(terms) = self.terms.get_mut(&lease.id).filter(|_| !ended) else { return false };
        let mut known = Lease { id: lease.id, until: terms.until, copies: terms.copies };
        known.merge(lease);
        if let Some(before) = terms.until.filter(|_| terms.until != known.until) {
            self.ends.remove(&(before, lease.id));
            self.ends.extend(known.until.map(|until| (until, lease.id)));
        }
        (terms.until, terms.copies) = (known.until, known.copies);
        self.classes |= 1 << asked(known.copies);
        true
    }

    /// A lease has ended, at `at`. Whether that is news.
    pub(super) fn end(&mut self, secret: Secret, at: UnixTime) -> bool {
        let id = secret.id();
        if self.ended.contains(&id) {
            return false;
        }
        self.held_back.remove(&id);
        self.ended.set(id, at, secret);
        if self.ended.len() > ENDED_MEMORY {
            self.ended.pop_due(UnixTime::MAX);
        }
        if let Some(terms) = self.terms.get_mut(&id) {
            let until = terms.until.map_or(at, |until| until.min(at));
            if let Some(before) = terms.until.replace(until) {
                self.ends.remove(&(before, id));
            }
            self.ends.insert((until, id));
        }
        true
    }

    /// The first moment after `now` at which a lease ends.
    pub(super) fn next_end(&self, now: UnixTime) -> Option<UnixTime> {
        self.ends.range((now + 1, LeaseId::NOBODY)..).next().map(|(end, _)| *end)
    }

    /// Blocks that have any of these leases, and those among them that nobody wants at `now`.
    pub(super) fn count(&self, ids: &[LeaseId], now: UnixTime) -> (u32, u32) {
        let sets: BTreeSet<SetId> =
            ids.iter().filter_map(|id| self.terms.get(id)).flat_map(|terms| &terms.sets).copied().collect();
        let blocks = |set: &SetId| self.sets[set.0 as usize].blocks;
        let free = sets.iter().filter(|set| !self.wants(**set, now)).map(blocks).sum();
        (sets.iter().map(blocks).sum(), free)
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
        let terms_right = self.terms.iter().all(|(id, terms)| {
            !terms.sets.is_empty() && terms.sets.iter().all(|set| self.sets[set.0 as usize].ids.contains(id))
        });
        let ends = self.terms.iter().filter_map(|(id, terms)| terms.until.map(|until| (until, *id)));
        let right = blocks_right && terms_right && ends.collect::<BTreeSet<_>>() == self.ends;
        right.then_some(()).ok_or_else(|| "the account of leases contradicts itself".to_owned())
    }
}

/// The class that a lease asks for.
fn asked(copies: u8) -> Class {
    copies.min(WIDTH as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(n: u8) -> Secret {
        format!("{n:02x}").repeat(32).parse().expect("64 digits")
    }

    fn lease(n: u8, until: Option<UnixTime>) -> Lease {
        Lease { id: secret(n).id(), until, copies: 0 }
    }

    #[test]
    fn a_renewal_counts_by_the_minute_but_by_the_second_where_the_lease_ends_within_one() {
        let mut leases = Leases::default();
        leases.add(SetId::NONE, &[lease(1, Some(1000))], 0);
        for (until, now, counts) in
            [(1059, 900, false), (1060, 900, true), (1001, 939, false), (1001, 940, true), (1000, 999, false)]
        {
            assert_eq!(leases.betters(&lease(1, Some(until)), now), counts, "{until} at {now}");
        }
    }

    fn named(leases: &Leases, set: SetId, now: UnixTime) -> Vec<LeaseId> {
        leases.of(set, now).map(|lease| lease.id).collect()
    }

    #[test]
    fn a_lease_that_is_renewed_or_ends_changes_all_blocks_that_carry_it() {
        let mut leases = Leases::default();
        let (one, both) = (leases.add(SetId::NONE, &[lease(1, Some(10))], 0), {
            leases.add(SetId::NONE, &[lease(1, Some(10)), lease(2, None)], 0)
        });
        assert_eq!((leases.wants(one, 9), leases.wants(one, 10), leases.wants(both, 10)), (true, false, true));
        assert!(leases.renew(&lease(1, Some(20))) && !leases.renew(&lease(3, None)));
        assert!(leases.wants(one, 19) && !leases.is_over(one, 24, Duration::from_secs(5)));
        assert!(leases.is_over(one, 25, Duration::from_secs(5)));
        assert!(leases.end(secret(1), 12) && leases.end(secret(2), 13) && !leases.end(secret(2), 14));
        assert_eq!((leases.wants(one, 12), leases.wants(both, 12), leases.wants(both, 13)), (false, true, false));
        assert_eq!(leases.count(&[secret(1).id(), secret(2).id()], 12), (2, 1));
        assert!(!leases.renew(&lease(1, None)), "what has ended is not renewed");
        let again = leases.add(SetId::NONE, &[lease(1, None)], 14);
        assert!(!leases.wants(again, 14), "nor does it keep anything again");
        let mixed = leases.add(SetId::NONE, &[lease(1, None), Lease::NOBODYS], 14);
        assert!(mixed == SetId::NONE && leases.has_all(mixed, &[lease(1, None), Lease::NOBODYS]));
    }

    #[test]
    fn what_nobody_may_end_is_kept_for_ever() {
        let mut leases = Leases::default();
        let set = leases.add(SetId::NONE, &[Lease::NOBODYS], 0);
        assert_eq!(set, SetId::NONE);
        let set = leases.add(SetId::NONE, &[Lease::NOBODYS, lease(1, Some(5))], 0);
        assert!(leases.wants(set, UnixTime::MAX) && !leases.is_over(set, UnixTime::MAX, Duration::ZERO));
    }

    #[test]
    fn a_block_with_more_leases_than_it_may_have_is_kept_for_ever_and_those_that_ended_make_room() {
        let many: Vec<Lease> = (0..MAX_LEASES as u8).map(|n| lease(n, Some(10 + u64::from(n)))).collect();
        for (now, crowded) in [(9, true), (10, false)] {
            let mut leases = Leases::default();
            let full = leases.add(SetId::NONE, &many, 0);
            let set = leases.add(full, &[lease(99, Some(50))], now);
            assert_eq!(named(&leases, set, now).len(), MAX_LEASES);
            assert_eq!(leases.wants(set, UnixTime::MAX), crowded, "at {now}");
            assert!(leases.has_all(set, &[lease(99, Some(50))]), "it is not offered again and again");
        }
    }

    #[test]
    fn the_terms_that_are_better_are_asked_for() {
        let mut leases = Leases::default();
        let set = leases.add(SetId::NONE, &[lease(1, Some(10))], 0);
        for (offered, has) in [
            (lease(1, Some(10)), true),
            (lease(1, Some(9)), true),
            (lease(1, Some(11)), false),
            (lease(1, None), false),
            (Lease { copies: 3, ..lease(1, Some(9)) }, false),
            (lease(2, Some(5)), false),
        ] {
            assert_eq!(leases.has_all(set, &[offered]), has, "{offered:?}");
        }
    }

    #[test]
    fn a_block_has_as_many_copies_as_any_of_its_leases_asks_for() {
        let asks = |n, copies| Lease { copies, ..lease(n, Some(10 * u64::from(n))) };
        for (of, expected) in [
            (&[][..], [USUAL; 3]),
            (&[asks(1, 3)], [3, USUAL, USUAL]),
            (&[asks(1, 6), asks(2, 3)], [6, 3, USUAL]),
            (&[asks(1, 3), asks(2, 0)], [USUAL; 3]),
            (&[asks(1, 6), asks(2, 0)], [6, USUAL, USUAL]),
            (&[asks(1, 200)], [WIDTH as u8, USUAL, USUAL]),
        ] {
            let mut leases = Leases::default();
            let set = leases.add(SetId::NONE, of, 0);
            let classes = [5, 15, 25].map(|now| leases.class(set, now, 4));
            assert_eq!(classes, expected, "{of:?}");
            assert!(classes.iter().all(|class| leases.classes() & 1 << class != 0), "{of:?}");
        }
    }

    proptest! {
        /// Whatever is laid on blocks, renewed, ended and deleted, in whatever order.
        #[test]
        fn the_account_is_right_and_a_block_is_wanted_while_one_of_its_leases_holds(
            steps in proptest::collection::vec((0..5_u8, 0..4_usize, 0..5_u8, 0..30_u64), 0..100)
        ) {
            let (mut leases, mut blocks) = (Leases::default(), [None; 4]);
            // Of each block its leases, and until when each holds: the same in plain.
            let mut plain: [BTreeSet<LeaseId>; 4] = Default::default();
            let (mut until, mut ended): (BTreeMap<LeaseId, u64>, BTreeSet<LeaseId>) = Default::default();
            for (now, (what, block, n, more)) in (0..).zip(steps) {
                let lease = lease(n, Some(now + more));
                match what {
                    0 | 1 if !ended.contains(&lease.id) => {
                        let set = blocks[block].unwrap_or(SetId::NONE);
                        blocks[block] = Some(leases.add(set, &[lease], now));
                        // Where none of a block's leases carries it, its terms are new.
                        let carried = plain.iter().any(|ids| ids.contains(&lease.id));
                        let old = until.get(&lease.id).copied().filter(|_| carried).unwrap_or(0);
                        until.insert(lease.id, old.max(now + more));
                        if more > 0 {
                            plain[block].retain(|id| until[id] > now);
                        }
                        plain[block].insert(lease.id);
                    }
                    2 => if leases.renew(&lease) {
                        let known = until.entry(lease.id).or_default();
                        *known = (*known).max(now + more);
                    },
                    3 => if leases.knows(&lease.id) && leases.end(secret(n), now) {
                        ended.insert(lease.id);
                        let known = until.entry(lease.id).or_default();
                        *known = (*known).min(now);
                    },
                    _ => if let Some(set) = blocks[block].take() {
                        leases.release(set);
                        plain[block].clear();
                    },
                }
                let mut sets = BTreeMap::new();
                for set in blocks.iter().flatten() {
                    *sets.entry(*set).or_default() += 1;
                }
                prop_assert_eq!(leases.check(&sets), Ok(()));
                for (set, ids) in blocks.iter().zip(&plain) {
                    let Some(set) = set else { continue };
                    let wanted = ids.iter().any(|id| until[id] > now);
                    prop_assert_eq!(leases.wants(*set, now), wanted, "{:?}", ids);
                }
            }
        }
    }
}
