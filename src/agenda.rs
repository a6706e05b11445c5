//! An agenda: what is due when, one moment for each key.
//!
//! Two indexes that must agree, one by moment and one by key, kept behind one face. Keys due at the same moment come in
//! their own order, so that the same calls give the same order every time.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// Keys, each with the moment at which it is due.
///
/// ```
/// use kadring::agenda::Agenda;
/// use kadring::time::Time;
///
/// let mut agenda = Agenda::default();
/// agenda.set("water the plants", Time::from_micros(20));
/// agenda.set("feed the cat", Time::from_micros(10));
/// agenda.set("water the plants", Time::from_micros(5)); // earlier than planned
///
/// let now = Time::from_micros(7);
/// assert_eq!(agenda.pop_due(now), Some("water the plants"));
/// assert_eq!(agenda.pop_due(now), None, "the cat can wait");
/// assert_eq!(agenda.next_due(), Some(Time::from_micros(10)));
/// ```
#[derive(Clone, Debug)]
pub struct Agenda<K> {
    by_time: BTreeSet<(Time, K)>,
    by_key: BTreeMap<K, Time>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Agenda<K> {
    /// Makes `key` due at `at`, and at no other moment.
    pub fn set(&mut self, key: K, at: Time) {
        if let Some(before) = self.by_key.insert(key, at) {
            self.by_time.remove(&(before, key));
        }
        self.by_time.insert((at, key));
    }

    /// Takes `key` out, and says when it would have been due.
    pub fn remove(&mut self, key: &K) -> Option<Time> {
        let at = self.by_key.remove(key)?;
        self.by_time.remove(&(at, *key));
        Some(at)
    }

    /// When `key` is due.
    pub fn due(&self, key: &K) -> Option<Time> {
        self.by_key.get(key).copied()
    }

    /// Whether `key` will be due at all.
    pub fn contains(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// When the first key is due.
    pub fn next_due(&self) -> Option<Time> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// Takes the first key that is due by `now`, if there is one; call it until there is none.
    pub fn pop_due(&mut self, now: Time) -> Option<K> {
        let &(_, key) = self.by_time.first().filter(|(at, _)| *at <= now)?;
        self.remove(&key);
        Some(key)
    }

    /// All keys, the first due first.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.by_time.iter().map(|(_, key)| key)
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether nothing is due ever.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Whether both indexes agree.
    ///
    /// # Errors
    /// Says that they do not.
    pub fn check(&self) -> Result<(), String> {
        let agree = self.by_time.len() == self.by_key.len()
            && self.by_time.iter().all(|(at, key)| self.by_key.get(key) == Some(at));
        agree.then_some(()).ok_or_else(|| "an agenda's moments and keys disagree".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn what_is_due_comes_in_order_of_time_then_of_key_and_never_early() {
        let mut agenda = Agenda::default();
        for (key, due) in [('d', 3), ('b', 1), ('c', 2), ('a', 2)] {
            agenda.set(key, at(due));
        }
        assert_eq!(agenda.keys().collect::<String>(), "bacd");
        assert_eq!((agenda.next_due(), agenda.pop_due(at(0))), (Some(at(1)), None));
        let due: String = std::iter::from_fn(|| agenda.pop_due(at(2))).collect();
        assert_eq!((due.as_str(), agenda.len(), agenda.next_due()), ("bac", 1, Some(at(3))));
        agenda.check().unwrap();
    }

    #[test]
    fn a_key_is_due_once_at_the_moment_set_last() {
        let mut agenda = Agenda::default();
        for due in [5, 9, 2, 7, 7] {
            agenda.set('a', at(due));
            agenda.check().unwrap();
        }
        assert_eq!((agenda.len(), agenda.due(&'a'), agenda.pop_due(at(6))), (1, Some(at(7)), None));
        assert_eq!((agenda.pop_due(at(7)), agenda.pop_due(at(7))), (Some('a'), None));
        assert!(agenda.is_empty() && !agenda.contains(&'a'));
    }

    #[test]
    fn what_was_removed_is_never_due() {
        let mut agenda = Agenda::default();
        agenda.set('a', at(1));
        agenda.set('b', at(1));
        assert_eq!((agenda.remove(&'a'), agenda.remove(&'a')), (Some(at(1)), None));
        assert_eq!((agenda.pop_due(at(1)), agenda.next_due()), (Some('b'), None));
        agenda.check().unwrap();
    }

    #[test]
    fn indexes_that_disagree_are_found() {
        let mut agenda = Agenda::default();
        agenda.set('a', at(1));
        agenda.by_key.insert('a', at(2));
        assert!(agenda.check().is_err());
    }
}
