//! What is yet to happen, in the order in which it will: by time, and among equals in the order it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::time::Time;

/// A queue of things to happen, earliest first; things of one moment come out in the order they went in.
pub(super) struct Queue<T> {
    heap: BinaryHeap<Planned<T>>,
    planned: u64,
}

struct Planned<T> {
    at: Time,
    /// Breaks ties, so that the order never depends on how the heap is built.
    sequence: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0 }
    }

    pub(super) fn push(&mut self, at: Time, what: T) {
        let sequence = self.planned;
        self.planned += 1;
        self.heap.push(Planned { at, sequence, what });
    }

    /// The next thing, if it happens by `until`.
    pub(super) fn pop_by(&mut self, until: Time) -> Option<(Time, T)> {
        if self.heap.peek()?.at > until {
            return None;
        }
        self.heap.pop().map(|planned| (planned.at, planned.what))
    }
}

impl<T> Ord for Planned<T> {
    /// The heap keeps its greatest on top: the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Planned<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_first_and_equals_in_the_order_they_were_planned() {
        let mut queue = Queue::new();
        for (at, what) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            queue.push(Time::from_micros(at), what);
        }
        let mut seen = String::new();
        while let Some((_, what)) = queue.pop_by(Time::from_micros(5)) {
            seen.push(what);
        }
        assert_eq!(seen, "abcd");
        assert_eq!(queue.pop_by(Time::from_micros(9)).map(|(_, what)| what), Some('e'));
    }
}
