//! An agenda: what is due when, one moment for each key.
//!
//! Two indexes that must agree, one by moment and one by key, kept behind one face. Keys due at the same moment come in
//! their own order, so that the same calls give the same order every time.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// Keys, each with what is to be known of it and the moment at which it is due: a [`Time`], or one by another clock.
///
/// ```
/// use kadring::agenda::Agenda;
/// use kadring::time::Time;
///
/// let mut agenda = Agenda::default();
/// agenda.set("plants", Time::from_micros(20), "water them");
/// agenda.set("cat", Time::from_micros(10), "feed it");
/// agenda.put_off(&"plants", Time::from_micros(5)); // earlier than planned
///
/// let now = Time::from_micros(7);
/// assert_eq!(agenda.pop_due(now), Some(("plants", "water them")));
/// assert_eq!(agenda.pop_due(now), None, "the cat can wait");
/// assert_eq!(agenda.next_due(), Some(Time::from_micros(10)));
/// ```
#[derive(Clone, Debug)]
pub struct Agenda<K, V, T = Time> {
    by_time: BTreeSet<(T, K)>,
    by_key: BTreeMap<K, (T, V)>,
}

impl<K, V, T> Default for Agenda<K, V, T> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, V, T: Ord + Copy> Agenda<K, V, T> {
    /// Makes `key`, of which `value` is known, due at `at`, and at no other moment.
    pub fn set(&mut self, key: K, at: T, value: V) {
        self.remove(&key);
        self.by_time.insert((at, key));
        self.by_key.insert(key, (at, value));
    }

    /// Makes `key`, if it is there, due at `at` instead.
    pub fn put_off(&mut self, key: &K, at: T) {
        if let Some((due, _)) = self.by_key.get_mut(key) {
            self.by_time.remove(&(*due, *key));
            self.by_time.insert((at, *key));
            *due = at;
        }
    }

    /// Takes `key` out: what was known of it.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (at, value) = self.by_key.remove(key)?;
        self.by_time.remove(&(at, *key));
        Some(value)
    }

    /// When `key` is due.
    pub fn due(&self, key: &K) -> Option<T> {
        self.by_key.get(key).map(|&(at, _)| at)
    }

    /// Whether `key` will be due at all.
    pub fn contains(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// What is known of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.by_key.get(key).map(|(_, value)| value)
    }

    /// What is known of `key`, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.by_key.get_mut(key).map(|(_, value)| value)
    }

    /// When the first key is due.
    pub fn next_due(&self) -> Option<T> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// The first key, if it is due by `now`, and when it is.
    pub fn first_due(&self, now: T) -> Option<(T, K)> {
        self.by_time.first().copied().filter(|(at, _)| *at <= now)
    }

    /// Takes the first key that is due by `now`, if there is one; call it until there is none.
    pub fn pop_due(&mut self, now: T) -> Option<(K, V)> {
        let (_, key) = self.first_due(now)?;
        self.remove(&key).map(|value| (key, value))
    }

    /// All keys in their own order, and what is known of each.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.by_key.iter().map(|(key, (_, value))| (key, value))
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
        let agree =
            self.by_time.len() == self.by_key.len() && self.by_time.iter().all(|(at, key)| self.due(key) == Some(*at));
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
            agenda.set(key, at(due), due);
        }
        assert_eq!(agenda.iter().map(|(key, _)| *key).collect::<String>(), "abcd");
        assert_eq!((agenda.next_due(), agenda.pop_due(at(0))), (Some(at(1)), None));
        let due: String = std::iter::from_fn(|| agenda.pop_due(at(2))).map(|(key, _)| key).collect();
        assert_eq!((due.as_str(), agenda.len(), agenda.next_due()), ("bac", 1, Some(at(3))));
        agenda.check().unwrap();
    }

    #[test]
    fn a_key_is_due_once_at_the_moment_set_last() {
        let mut agenda = Agenda::default();
        for due in [5, 9, 2, 7, 7] {
            agenda.set('a', at(due), due);
            agenda.check().unwrap();
            agenda.put_off(&'a', at(due + 1));
            agenda.check().unwrap();
        }
        agenda.put_off(&'b', at(1));
        assert_eq!((agenda.len(), agenda.due(&'a'), agenda.pop_due(at(7))), (1, Some(at(8)), None));
        assert_eq!((agenda.pop_due(at(8)), agenda.pop_due(at(8))), (Some(('a', 7)), None));
        assert!(agenda.is_empty() && agenda.get(&'a').is_none());
    }

    #[test]
    fn what_was_removed_is_never_due() {
        let mut agenda = Agenda::default();
        agenda.set('a', at(1), 'A');
        agenda.set('b', at(1), 'B');
        assert_eq!((agenda.remove(&'a'), agenda.remove(&'a')), (Some('A'), None));
        assert_eq!((agenda.pop_due(at(1)), agenda.next_due()), (Some(('b', 'B')), None));
        agenda.check().unwrap();
    }

    #[test]
    fn indexes_that_disagree_are_found() {
        let mut agenda = Agenda::default();
        agenda.set('a', at(1), ());
        agenda.by_key.insert('a', (at(2), ()));
        assert!(agenda.check().is_err());
    }
}
