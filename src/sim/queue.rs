//! A queue of planned events, ordered by time, and at equal times by when they were planned.
//!
//! A network of a hundred thousand peers plans as many events and more. In one large heap each step down is a look into
//! cold memory, so only the events of the present millisecond are in a heap; later ones lie unsorted in the slot of
//! their millisecond until its time comes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use crate::time::Time;

/// Microseconds in a slot.
const SLOT: u64 = 1000;

/// A queue of events, earliest first; events of one time come out in the order in which they went in.
pub(super) struct EventQueue<T> {
    /// Events of the present slot, or of an earlier one.
    heap: BinaryHeap<QueuedEvent<T>>,
    /// The first slot that lies in the future.
    future: u64,
    slots: BTreeMap<u64, Vec<QueuedEvent<T>>>,
    queued: u64,
}

struct QueuedEvent<T> {
    at: Time,
    /// Breaks ties, so that the order never depends on how the events are kept.
    sequence: u64,
    what: T,
}

impl<T> EventQueue<T> {
    pub(super) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), future: 0, slots: BTreeMap::new(), queued: 0 }
    }

    pub(super) fn push(&mut self, at: Time, what: T) {
        let sequence = self.queued;
        self.queued += 1;
        let queued = QueuedEvent { at, sequence, what };
        let slot = at.as_micros() / SLOT;
        if slot < self.future {
            self.heap.push(queued);
        } else {
            self.slots.entry(slot).or_default().push(queued);
        }
    }

    /// The next event, if it is due by `until`.
    pub(super) fn pop_by(&mut self, until: Time) -> Option<(Time, T)> {
        if self.heap.is_empty() {
            let next = self.slots.first_entry().filter(|slot| *slot.key() <= until.as_micros() / SLOT)?;
            self.future = next.key() + 1;
            self.heap = BinaryHeap::from(next.remove());
        }
        if self.heap.peek()?.at > until {
            return None;
        }
        self.heap.pop().map(|queued| (queued.at, queued.what))
    }
}

/// For who chooses another order.
impl<T> EventQueue<T> {
    /// All that is queued, each with its time and its number, in the order in which it comes.
    pub(super) fn planned(&self) -> Vec<(Time, u64, &T)> {
        let all = self.heap.iter().chain(self.slots.values().flatten());
        let mut planned: Vec<_> = all.map(|queued| (queued.at, queued.sequence, &queued.what)).collect();
        planned.sort_by_key(|&(at, sequence, _)| (at, sequence));
        planned
    }

    /// Takes the event of this number out before its time.
    pub(super) fn take(&mut self, sequence: u64) -> Option<T> {
        let is_it = |queued: &QueuedEvent<T>| queued.sequence == sequence;
        let mut present = std::mem::take(&mut self.heap).into_vec();
        let found = present.iter().position(is_it).map(|at| present.swap_remove(at));
        self.heap = BinaryHeap::from(present);
        if found.is_some() {
            return found.map(|queued| queued.what);
        }
        let (&slot, at) = self.slots.iter().find_map(|(slot, queued)| Some((slot, queued.iter().position(is_it)?)))?;
        let queued = self.slots.get_mut(&slot)?;
        let found = queued.swap_remove(at);
        if queued.is_empty() {
            self.slots.remove(&slot);
        }
        Some(found.what)
    }
}

impl<T> Ord for QueuedEvent<T> {
    /// The heap keeps its greatest on top: the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<T> PartialOrd for QueuedEvent<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for QueuedEvent<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for QueuedEvent<T> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn earliest_first_and_equals_in_the_order_they_were_planned() {
        let mut queue = EventQueue::new();
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

    #[test]
    fn what_is_taken_out_leaves_the_others_in_their_order() {
        let mut queue = EventQueue::new();
        for (at, what) in [(500, 'a'), (9000, 'c'), (700, 'b'), (9000, 'd'), (20_000, 'e')] {
            queue.push(Time::from_micros(at), what);
        }
        assert_eq!(queue.pop_by(Time::from_micros(600)).map(|(_, what)| what), Some('a'));
        let planned: Vec<(u64, char)> = queue.planned().iter().map(|(_, number, what)| (*number, **what)).collect();
        assert_eq!(planned, [(2, 'b'), (1, 'c'), (3, 'd'), (4, 'e')]);
        assert_eq!(
            (queue.take(3), queue.take(2), queue.take(4), queue.take(3)),
            (Some('d'), Some('b'), Some('e'), None)
        );
        let late = Time::from_micros(30_000);
        assert_eq!(queue.pop_by(late).map(|(_, what)| what), Some('c'));
        assert!(queue.pop_by(late).is_none());
    }

    #[test]
    fn slots_make_no_difference_to_the_order() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut queue, mut plain) = (EventQueue::new(), BTreeMap::new());
        let mut now = Time::ZERO;
        for nth in 0..20_000_u32 {
            let at = now + Duration::from_micros(rng.random_range(0..5 * SLOT) / 100 * 100);
            queue.push(at, nth);
            plain.insert((at, nth), nth);
            while plain.len() > rng.random_range(0..100) {
                let ((at, _), nth) = plain.pop_first().expect("there are some");
                now = at;
                assert_eq!(queue.pop_by(at), Some((at, nth)));
            }
            assert_eq!(queue.pop_by(now).is_some(), plain.first_key_value().is_some_and(|((at, _), _)| *at <= now));
            plain.retain(|(at, _), _| *at > now);
            while queue.pop_by(now).is_some() {}
        }
    }
}
