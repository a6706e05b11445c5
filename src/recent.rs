//! A bounded memory of what was seen lately.

use std::collections::BTreeMap;

/// A map that holds at least the last `CAPACITY` keys that were put into it, and never more than twice as many.
///
/// Two generations: new entries go to the young one; when it is full the old one is forgotten and the young one grows
/// old. So nothing needs a clock or a list of ages, and strangers cannot make it grow.
pub(crate) struct Recent<K, V, const CAPACITY: usize> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
}

impl<K, V, const CAPACITY: usize> Default for Recent<K, V, CAPACITY> {
    fn default() -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, V: Clone, const CAPACITY: usize> Recent<K, V, CAPACITY> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= CAPACITY && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_keys_are_remembered_and_the_memory_is_bounded() {
        let mut recent = Recent::<_, _, 10>::default();
        for key in 0..1000 {
            recent.insert(key, key);
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert!((990..1000).all(|key| recent.get(&key) == Some(&key)));
        assert!(!recent.contains(&900));
    }
}
