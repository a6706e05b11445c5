//! Which files were hashed and found to be what their names say, so that a block is not hashed each time it is served.
//!
//! A memory of fixed size, without a lock: a block whose place another took is hashed once more, and that is all that
//! can come of it.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::Key;

/// Blocks that are remembered at most: of the largest size, more than the memory of any usual machine has room for.
const VERIFIED_KEPT: usize = 1 << 16;

/// A number for each block that was hashed, in the place that the first two bytes of its key name: of the key and of
/// what the file looked like. 0 stands for none. Each place is read and written by itself, and vouches for nothing but
/// the number in it, so no order between them matters (`Relaxed`). A peer without blocks has no places.
#[derive(Debug, Default)]
pub(super) struct Verified(OnceLock<Vec<AtomicU64>>);

impl Verified {
    /// The file of this block hashed to its name when it had this stamp.
    pub(super) fn add(&self, key: &Key, stamp: &FileStamp) {
        let places = self.0.get_or_init(|| (0..VERIFIED_KEPT).map(|_| AtomicU64::new(0)).collect());
        places[place(key)].store(number(key, stamp), Ordering::Relaxed);
    }

    /// Whether the file of this block is known to hash to its name, as it has this stamp.
    pub(super) fn knows(&self, key: &Key, stamp: &FileStamp) -> bool {
        self.0.get().is_some_and(|places| places[place(key)].load(Ordering::Relaxed) == number(key, stamp))
    }
}

fn place(key: &Key) -> usize {
    let [first, second, ..] = *key.as_bytes();
    usize::from(u16::from_be_bytes([first, second]))
}

fn number(key: &Key, stamp: &FileStamp) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, stamp).hash(&mut hasher);
    hasher.finish().max(1)
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
    fn a_file_is_known_as_long_as_it_looks_the_same_and_no_other_took_its_place() {
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
        assert!(verified.knows(&other, &stamp) && !verified.knows(&key, &stamp), "it is hashed once more");
    }
}
