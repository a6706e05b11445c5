//! The blocks this peer holds, as the node knows them: keys and sizes. Their bytes are the disk store's.

use std::collections::BTreeMap;

use crate::id::Key;

/// Keys and sizes of the blocks in the own store.
#[derive(Default, Debug)]
pub(super) struct Holdings {
    sizes: BTreeMap<Key, u32>,
    bytes: u64,
}

impl Holdings {
    pub(super) fn insert(&mut self, key: Key, size: u32) {
        let before = self.sizes.insert(key, size).unwrap_or(0);
        self.bytes = self.bytes - u64::from(before) + u64::from(size);
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<u32> {
        let size = self.sizes.remove(key)?;
        self.bytes -= u64::from(size);
        Some(size)
    }

    pub(super) fn size(&self, key: &Key) -> Option<u32> {
        self.sizes.get(key).copied()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.sizes.contains_key(key)
    }

    /// Keys and sizes in the order of keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, u32)> + '_ {
        self.sizes.iter().map(|(&key, &size)| (key, size))
    }

    pub(super) fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Bytes in all blocks together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
