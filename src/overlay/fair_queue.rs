//! A bounded queue whose places are shared by source, so that the flood of one keeps out nobody from another.
//!
//! The sources take turns, and each one's items leave in the order in which they came. One source alone may take all
//! places; once there is no place left, one that has fewer takes the latest of the source that has most.

use std::collections::{BTreeMap, VecDeque};

use crate::source::{Subnet, who_gives_way};

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

    /// Whether one more of this source would be taken.
    pub(super) fn has_place(&self, source: Subnet) -> bool {
        self.len < self.capacity || self.who_gives_way(source).is_some()
    }

    fn who_gives_way(&self, source: Subnet) -> Option<Subnet> {
        who_gives_way(source, self.lines.iter().map(|(source, line)| (*source, line.len())))
    }

    /// Takes one more. Returns what has no place: the item itself, or the latest one of the source that has most.
    pub(super) fn push(&mut self, source: Subnet, item: T) -> Option<T> {
        let mut displaced = None;
        if self.len >= self.capacity {
            // Only a line of two or more is ever cut, so it does not become empty.
            let Some(line) = self.who_gives_way(source).and_then(|most| self.lines.get_mut(&most)) else {
                return Some(item);
            };
            displaced = line.pop_back();
            self.len -= 1;
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
            assert_eq!(queue.push(one, n), None);
        }
        assert_eq!(queue.push(other, 10), None);
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
            assert_eq!(queue.push(one, n), None);
        }
        assert_eq!(queue.push(one, 8), Some(8), "it has taken all");
        let displaced: Vec<_> = (20..26).filter_map(|n| queue.push(other, n)).collect();
        assert_eq!(displaced, [7, 6, 5, 4, 24, 25], "the latest go, until both have as many");
        assert!(!queue.has_place(one) && !queue.has_place(other));
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [0, 20, 1, 21, 2, 22, 3, 23]);
    }
}
