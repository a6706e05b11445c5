//! The blocks this peer holds, as the node knows them: keys and sizes. Their bytes are the disk store's.

use std::collections::BTreeMap;

use crate::id::Key;

/// The blocks in the own store.
#[derive(Default, Debug)]
pub(super) struct Holdings {
    blocks: BTreeMap<Key, Held>,
    bytes: u64,
}

#[derive(Debug)]
struct Held {
    size: u32,
    /// It was written, or looked at, since this peer began.
    seen: bool,
}

impl Holdings {
    /// A block was found in the store when this peer began.
    pub(super) fn found(&mut self, key: Key, size: u32) {
        self.put(key, Held { size, seen: false });
    }

    /// A block was written.
    pub(super) fn insert(&mut self, key: Key, size: u32) {
        self.put(key, Held { size, seen: true });
    }

    fn put(&mut self, key: Key, held: Held) {
        let size = held.size;
        let before = self.blocks.insert(key, held).map_or(0, |held| held.size);
        self.bytes = self.bytes - u64::from(before) + u64::from(size);
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<u32> {
        let Held { size, .. } = self.blocks.remove(key)?;
        self.bytes -= u64::from(size);
        Some(size)
    }

    pub(super) fn size(&self, key: &Key) -> Option<u32> {
        self.blocks.get(key).map(|held| held.size)
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.blocks.contains_key(key)
    }

    /// Whether a block is here that nobody has looked at since this peer began. From now on it counts as looked at.
    pub(super) fn take_unseen(&mut self, key: &Key) -> bool {
        self.blocks.get_mut(key).is_some_and(|held| !std::mem::replace(&mut held.seen, true))
    }

    /// Keys and sizes in the order of keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, u32)> + '_ {
        self.blocks.iter().map(|(&key, held)| (key, held.size))
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes in all blocks together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
