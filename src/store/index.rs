//! The index of the blocks on disk, so that a look at what is held needs no access to the disk.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::id::Key;

/// The blocks there are, and the sums for the quota.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) blocks: HashMap<Key, Indexed>,
    /// Bytes of all blocks.
    pub(super) used: u64,
    /// Bytes reserved for blocks that are being written.
    pub(super) reserved: u64,
}

/// A block on disk.
#[derive(Debug)]
pub(super) struct Indexed {
    /// The block's size in bytes.
    pub(super) size: u32,
    /// What the file looked like when its bytes were last known to hash to its name.
    pub(super) verified: Option<Stamp>,
}

impl Index {
    pub(super) fn new(blocks: HashMap<Key, Indexed>) -> Self {
        let used = blocks.values().map(|block| u64::from(block.size)).sum();
        Self { blocks, used, reserved: 0 }
    }

    /// Enters a block, replacing an older copy if there is one.
    pub(super) fn insert(&mut self, key: Key, block: Indexed) {
        self.used += u64::from(block.size);
        let replaced = self.blocks.insert(key, block);
        self.used -= replaced.map_or(0, |old| u64::from(old.size));
    }

    /// Removes a block; returns whether it was there.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let block = self.blocks.remove(key);
        self.used -= block.as_ref().map_or(0, |block| u64::from(block.size));
        block.is_some()
    }
}

/// The properties of a file that change when it is written to or replaced. File systems count time in steps of some
/// milliseconds: a change within the step in which the stamp was taken, to the same number of bytes, goes unnoticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(file: &Metadata) -> Self {
        Self {
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}
