//! The sources that brought what is here, and how much of the capacity each may take.
//!
//! What others bring stays, and it is not known who comes next. So of the capacity a source has at most
//! [`LARGEST_SHARE`] times what it leaves free ([`leaves_enough`]): nearly all of it while no other source comes, and
//! the next has as large a share of the rest. Of all sources of a site together (a /16, a /48) the same holds, for one
//! user may have a home's thousands of networks. Nothing is deleted for that. What came before this peer began counts
//! for no source, nor does what its own source brings: its user, and all that run beside it.

use std::collections::BTreeMap;

use crate::source::{Subnet, leaves_enough};

/// What a source has at most, as often as it leaves that to others.
const LARGEST_SHARE: u64 = 7;

/// The number of a source, which is kept with each block that it brought.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct SourceNumber(u16);

impl SourceNumber {
    /// Of what counts for no source.
    pub(super) const NONE: Self = Self(0);
}

/// What each source has here. A source that has nothing is forgotten.
#[derive(Default, Debug)]
pub(super) struct SourceShares {
    marks: BTreeMap<Subnet, SourceNumber>,
    brought: BTreeMap<SourceNumber, (Subnet, u64)>,
    /// What all sources of a site brought together.
    sites: BTreeMap<Subnet, u64>,
}

impl SourceShares {
    /// The number of the source that brings a block. Sources for which no number is left are not counted.
    pub(super) fn mark(&self, by: Option<Subnet>) -> SourceNumber {
        let Some(by) = by else { return SourceNumber::NONE };
        let next = || {
            self.brought
                .last_key_value()
                .map_or(Some(1), |(SourceNumber(last), _)| last.checked_add(1))
                .map(SourceNumber)
        };
        let free = || (1..=u16::MAX).map(SourceNumber).find(|mark| !self.brought.contains_key(mark));
        self.marks.get(&by).copied().or_else(next).or_else(free).unwrap_or(SourceNumber::NONE)
    }

    /// A block of the source `by`, of this number, took so many bytes of the capacity, and takes so many now.
    pub(super) fn change(&mut self, mark: SourceNumber, by: Option<Subnet>, before: u64, after: u64) {
        if let Some(by) = by.filter(|_| mark != SourceNumber::NONE) {
            self.marks.insert(by, mark);
            self.brought.entry(mark).or_insert((by, 0));
        }
        if let Some((by, bytes)) = self.brought.get_mut(&mark) {
            *bytes = *bytes + after - before;
            if let Some(site) = by.open_site() {
                let of_site = self.sites.entry(site).or_default();
                *of_site = *of_site + after - before;
                if *of_site == 0 {
                    self.sites.remove(&site);
                }
            }
            if *bytes == 0 {
                self.marks.remove(by);
                self.brought.remove(&mark);
            }
        }
    }

    /// Whether a source may bring so many bytes more, where others have `left` then; `coming` says how many come from
    /// sources of a kind.
    pub(super) fn allow(
        &self,
        by: Subnet,
        coming: impl Fn(&dyn Fn(Subnet) -> bool) -> u64,
        more: u64,
        left: u64,
    ) -> bool {
        let has = self.marks.get(&by).and_then(|mark| self.brought.get(mark)).map_or(0, |(_, bytes)| *bytes);
        let leaves = |has: u64| leaves_enough(has, more, left.saturating_mul(LARGEST_SHARE));
        let site = by.open_site().map(|site| {
            let of_site = |other: Subnet| other.open_site() == Some(site);
            self.sites.get(&site).copied().unwrap_or(0) + coming(&of_site)
        });
        leaves(has + coming(&|other| other == by)) && site.is_none_or(leaves)
    }

    /// Whether the blocks, each with its number and what it takes, add up to what each source has.
    pub(super) fn check(&self, blocks: impl Iterator<Item = (SourceNumber, u64)>) -> bool {
        // Simulations ask this after each event, and sources are few: a list takes half the time of a map.
        let mut left: Vec<(SourceNumber, u64)> =
            self.brought.iter().map(|(mark, (_, bytes))| (*mark, *bytes)).collect();
        let mut sites: BTreeMap<Subnet, u64> = BTreeMap::new();
        for (by, bytes) in self.brought.values() {
            by.open_site().into_iter().for_each(|site| *sites.entry(site).or_default() += bytes);
        }
        let mut take = |mark: SourceNumber, bytes: u64| {
            let at = left.binary_search_by_key(&mark, |(mark, _)| *mark).ok()?;
            left[at].1 = left[at].1.checked_sub(bytes)?;
            Some(())
        };
        blocks.filter(|(mark, _)| *mark != SourceNumber::NONE).all(|(mark, bytes)| take(mark, bytes).is_some())
            && left.iter().all(|(_, bytes)| *bytes == 0)
            && self.sites == sites
            && self.marks.len() == self.brought.len()
            && self.marks.iter().all(|(by, mark)| self.brought.get(mark).is_some_and(|(other, _)| other == by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u32) -> Subnet {
        Subnet::of((std::net::Ipv4Addr::from(0x0b00_0000 + (n << 8)), 1).into())
    }

    #[test]
    fn a_source_without_blocks_is_forgotten_and_its_number_is_free_again() {
        let mut shares = SourceShares::default();
        let bring = |shares: &mut SourceShares, n| {
            let mark = shares.mark(Some(source(n)));
            shares.change(mark, Some(source(n)), 0, 5);
            mark
        };
        let marks: Vec<SourceNumber> = (0..u32::from(u16::MAX) + 2).map(|n| bring(&mut shares, n)).collect();
        let (last, more) = (marks.len() - 3, marks[marks.len() - 2]);
        assert!(marks[last] != SourceNumber::NONE && more == SourceNumber::NONE, "there is no number for so many");
        shares.change(marks[7], None, 5, 0);
        assert_eq!(bring(&mut shares, 1_000_000), marks[7]);
        let of_all = marks[..=last].iter().map(|mark| (*mark, 5));
        assert!(shares.check(of_all));
    }
}
