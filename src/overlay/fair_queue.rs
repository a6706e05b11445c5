//! A bounded queue whose places are shared by source, so that the flood of one keeps out no item from another.
//!
//! The sources take turns, and each one's items leave in the order in which they came. One source alone may take all
//! places; once there is no place left, a source that has fewer takes the latest of the source that has most. Where
//! each has one, a newcomer takes that of the source whose turn is next, of those that may lose it ([`Giving`]).

use std::collections::{BTreeMap, VecDeque};

use crate::source::{Giving, Subnet};

/// See the [module documentation](self).
pub(super) struct FairQueue<T> {
    /// What waits, by source; no line is empty.
    lines: BTreeMap<Subnet, VecDeque<T>>,
    /// The sources that have a line, the next one first.
    turns: VecDeque<Subnet>,
    len: usize,
    capacity: usize,
}

impl<T> FairQueue<T> {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { lines: BTreeMap::new(), turns: VecDeque::new(), len: 0, capacity }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether one more of this source would be taken. Where each source has one place, only an item that `yields` is
    /// given up for it.
    pub(super) fn has_place(&self, source: Subnet, yields: impl Fn(&T) -> bool) -> bool {
        self.len < self.capacity || self.who_gives_way(source, yields).is_some()
    }

    fn who_gives_way(&self, source: Subnet, yields: impl Fn(&T) -> bool) -> Option<Subnet> {
        match Giving::way(source, self.lines.iter().map(|(source, line)| (*source, line.len()))) {
            Giving::Source(most) => Some(most),
            Giving::Nobody => None,
            giving => {
                let may_give = |other: &Subnet| giving.includes(*other) && self.lines[other].iter().all(&yields);
                self.turns.iter().copied().find(may_give)
            }
        }
    }

    /// Takes one more. Returns what has no place: the item itself, or the latest one of the source that gives way.
    pub(super) fn push(&mut self, source: Subnet, item: T, yields: impl Fn(&T) -> bool) -> Option<T> {
        let mut displaced = None;
        if self.len >= self.capacity {
            let Some(giver) = self.who_gives_way(source, yields) else { return Some(item) };
            displaced = self.lines.get_mut(&giver).and_then(VecDeque::pop_back);
            self.len -= 1;
            if self.lines.get(&giver).is_some_and(VecDeque::is_empty) {
                self.lines.remove(&giver);
                self.turns.retain(|other| *other != giver);
            }
        }
        self.line(source).push_back(item);
        displaced
    }

    /// Takes one more, which goes first, even where there is no place left.
    pub(super) fn push_first(&mut self, source: Subnet, item: T) {
        self.line(source).push_front(item);
        self.turns.retain(|other| *other != source);
        self.turns.push_front(source);
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<T> {
        let source = self.turns.pop_front()?;
        let line = self.lines.get_mut(&source)?;
        let item = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        self.len -= 1;
        item
    }

    /// The line that gets one more item of this source.
    fn line(&mut self, source: Subnet) -> &mut VecDeque<T> {
        self.len += 1;
        self.lines.entry(source).or_insert_with(|| {
            self.turns.push_back(source);
            VecDeque::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Subnet {
        Subnet::of(text.parse().expect("an address"))
    }

    #[test]
    fn sources_take_turns_and_each_keeps_its_order() {
        let (one, other) = (source("10.0.0.1:1"), source("10.0.0.2:1"));
        let mut queue = FairQueue::new(10);
        for n in 0..4 {
            assert_eq!(queue.push(one, n, |_| true), None);
        }
        assert_eq!(queue.push(other, 10, |_| true), None);
        queue.push_first(other, 11);
        assert_eq!(queue.len(), 6);
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [11, 0, 10, 1, 2, 3]);
        assert!(queue.is_empty() && queue.turns.is_empty() && queue.lines.is_empty());
    }

    #[test]
    fn one_source_may_take_all_places_and_gives_up_to_half_of_them_to_another() {
        let (one, other) = (source("10.0.0.1:1"), source("10.0.0.2:1"));
        let mut queue = FairQueue::new(8);
        for n in 0..8 {
            assert_eq!(queue.push(one, n, |_| true), None);
        }
        assert_eq!(queue.push(one, 8, |_| true), Some(8), "it has taken all");
        let displaced: Vec<_> = (20..26).filter_map(|n| queue.push(other, n, |_| true)).collect();
        assert_eq!(displaced, [7, 6, 5, 4, 24, 25], "the latest go, until both have as many");
        assert!(!queue.has_place(one, |_| true) && !queue.has_place(other, |_| true));
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [0, 20, 1, 21, 2, 22, 3, 23]);
    }

    #[test]
    fn where_each_source_has_one_place_a_newcomer_takes_the_next_that_may_be_lost() {
        let mut queue = FairQueue::new(4);
        let even = |n: &i32| n % 2 == 0;
        for (text, n) in ["1.2.3.1:1", "1.2.4.1:1", "1.3.5.1:1", "9.9.9.9:1"].iter().zip(1..) {
            assert_eq!(queue.push(source(text), n, even), None);
        }
        assert_eq!(queue.push(source("8.8.8.8:1"), 10, even), Some(2), "of the site that has most, what may be lost");
        assert_eq!(queue.push(source("8.8.8.8:1"), 11, even), Some(11), "it has one");
        assert_eq!(queue.push(source("7.7.7.7:1"), 12, even), Some(4));
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [1, 3, 10, 12]);
        assert!(queue.is_empty() && queue.turns.is_empty() && queue.lines.is_empty());
    }
}
