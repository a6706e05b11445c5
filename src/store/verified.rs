//! Which files were hashed and found to be what their names say, so that a block is not hashed each time it is served.
//!
//! A memory of fixed size, without a lock: a block whose place another took is hashed once more, and that is all that
//! can come of it. A user who stores blocks chooses their keys, so which of them share places is drawn anew by each
//! process.

use std::fs::Metadata;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::Key;

/// Blocks that are remembered at most: of the largest size, more than the memory of any usual machine has room for.
const VERIFIED_KEPT: usize = 1 << 16;

/// Places that a block may have, side by side.
const WAYS: usize = 8;

/// A number for each block that was hashed, in one of the places that its key leads to: of the key and of what the file
/// looked like. 0 stands for none. Each place is read and written by itself, and vouches for nothing but the number in
/// it, so no order between them matters (`Relaxed`). A peer without blocks has no places.
#[derive(Debug, Default)]
pub(super) struct Verified {
    places: OnceLock<Vec<AtomicU64>>,
    seed: RandomState,
}

impl Verified {
    /// The file of this block hashed to its name when it had this stamp.
    pub(super) fn add(&self, key: &Key, stamp: &FileStamp) {
        let places = self.places.get_or_init(|| (0..VERIFIED_KEPT).map(|_| AtomicU64::new(0)).collect());
        let (ways, number) = (&places[self.ways(key)], self.number(key, stamp));
        let is = |number| ways.iter().position(|way| way.load(Ordering::Relaxed) == number);
        // Where all are taken, any goes.
        let at = is(number).or_else(|| is(0)).unwrap_or(number as usize % WAYS);
        ways[at].store(number, Ordering::Relaxed);
    }

    /// Whether the file of this block is known to hash to its name, as it has this stamp.
    pub(super) fn knows(&self, key: &Key, stamp: &FileStamp) -> bool {
        let number = self.number(key, stamp);
        let is_in =
            |places: &Vec<AtomicU64>| places[self.ways(key)].iter().any(|way| way.load(Ordering::Relaxed) == number);
        self.places.get().is_some_and(is_in)
    }

    fn ways(&self, key: &Key) -> Range<usize> {
        let first = self.seed.hash_one(key) as usize % (VERIFIED_KEPT / WAYS) * WAYS;
        first..first + WAYS
    }

    fn number(&self, key: &Key, stamp: &FileStamp) -> u64 {
        self.seed.hash_one((key, stamp)).max(1)
    }
}

/// The properties of a file that change when it is written to or replaced. File systems count time in steps of some
/// milliseconds: a change within the step in which the stamp was taken, to the same number of bytes, goes unnoticed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct FileStamp {
    pub(super) inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    pub(super) fn of(file: &Metadata) -> Self {
        Self {
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_as_long_as_it_looks_the_same() {
        let verified = Verified::default();
        let key = Key::from_bytes([7; 32]);
        let mut other = [7; 32];
        other[31] = 8;
        let other = Key::from_bytes(other);
        let stamp = FileStamp { inode: 1, size: 2, modified: (3, 4), changed: (5, 6) };
        assert!(!verified.knows(&key, &stamp));
        verified.add(&key, &stamp);
        assert!(verified.knows(&key, &stamp) && !verified.knows(&other, &stamp));
        assert!(!verified.knows(&key, &FileStamp { changed: (5, 7), ..stamp }));
        verified.add(&other, &stamp);
        assert!(verified.knows(&other, &stamp) && verified.knows(&key, &stamp), "their keys begin alike");
    }

    #[test]
    fn blocks_whose_keys_were_chosen_to_begin_alike_are_all_remembered_but_for_chance() {
        let verified = Verified::default();
        let stamp = FileStamp { inode: 1, size: 2, modified: (3, 4), changed: (5, 6) };
        let keys: Vec<Key> = (0..1000_u16)
            .map(|n| {
                let mut bytes = [7; 32];
                bytes[30..].copy_from_slice(&n.to_be_bytes());
                Key::from_bytes(bytes)
            })
            .collect();
        keys.iter().for_each(|key| verified.add(key, &stamp));
        let known = keys.iter().filter(|key| verified.knows(key, &stamp)).count();
        assert!(known >= 990, "{known} of 1,000");
        verified.add(&keys[0], &stamp);
        let places = verified.places.get().expect("some were added");
        let taken = places.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count();
        assert!(taken <= 1000, "the same again takes no other place");
    }
}
