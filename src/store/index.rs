//! What is known of the blocks on disk, so that nobody needs to look there for it.

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
    /// Bytes that are set aside for blocks that are being written.
    pub(super) reserved: u64,
}

/// A block on disk.
#[derive(Debug)]
pub(super) struct Indexed {
    /// Bytes.
    pub(super) size: u32,
    /// What the file looked like when its bytes were last known to hash to its name.
    pub(super) verified: Option<Stamp>,
}

impl Index {
    pub(super) fn new(blocks: HashMap<Key, Indexed>) -> Self {
        let used = blocks.values().map(|block| u64::from(block.size)).sum();
        Self { blocks, used, reserved: 0 }
    }

    /// Enters a block, in the place of an older copy if there is one.
    pub(super) fn insert(&mut self, key: Key, block: Indexed) {
        self.used += u64::from(block.size);
        let replaced = self.blocks.insert(key, block);
        self.used -= replaced.map_or(0, |old| u64::from(old.size));
    }

    /// Strikes a block out; whether it was there.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let block = self.blocks.remove(key);
        self.used -= block.as_ref().map_or(0, |block| u64::from(block.size));
        block.is_some()
    }
}

/// What changes when anybody writes to a file or puts another in its place. File systems count time in steps of some
/// milliseconds: a change within the step in which the stamp was taken, to as many bytes, goes unnoticed.
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
