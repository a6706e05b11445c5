//! One command at a time changes the leases of a file.
//!
//! `renew`, `delete` and `copies` read what the catalogue says of a lease, tell its holders, and write what became of
//! it. That takes seconds. Two of them at once would undo one another: a file that was renewed would be kept no longer
//! than before, and one that was deleted would stay. So each holds the key of its file meanwhile: one byte of a lock
//! beside the catalogue, which the system lets go of when the process ends, however that ends.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::Catalogue;
use crate::id::Key;
use crate::runtime::lock_byte_within;
use crate::whole_file::open_lock;

/// The name of the file of which a byte is locked while the leases of a key are changed.
const LEASES: &str = "leases.lock";

/// The byte that stands for a key. Two keys of one byte wait for one another, no more.
fn byte_of(key: &Key) -> i64 {
    let first = key.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    (first >> 1) as i64
}

/// More keys than these are held with all others: each byte that is locked makes the next one dearer.
pub(in crate::console) const MOST_HELD: usize = 16;

/// Another command holds the keys and did not end in time.
#[derive(Debug)]
pub(in crate::console) struct StillHeld;

/// What tells a catalogue from what it was before it was changed: its inode, its bytes, and when it was written last.
type Version = Option<(u64, u64, i64, i64)>;

impl Catalogue {
    /// Which one this is; none if there is none yet.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub(in crate::console) fn version(&self) -> io::Result<Version> {
        match fs::metadata(self.path()) {
            Ok(there) => Ok(Some((there.ino(), there.size(), there.mtime(), there.mtime_nsec()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps all others from changing the leases of these keys, or of any, until it is dropped. Each of those that hold
    /// them now is waited for so long at most. On a disk on which no lock can be made, others are not kept from it:
    /// that leases go on matters more.
    pub(in crate::console) fn hold(
        &self,
        keys: Option<&BTreeSet<Key>>,
        limit: Duration,
    ) -> Result<Option<File>, StillHeld> {
        let bytes: Vec<Option<i64>> = match keys {
            Some(keys) if keys.is_empty() => return Ok(None),
            // In one order, so that no two wait for one another.
            Some(keys) if keys.len() <= MOST_HELD => keys.iter().map(|key| Some(byte_of(key))).collect(),
            _ => vec![None],
        };
        let Ok(file) = self.make_folder().and_then(|()| open_lock(&self.folder.join(LEASES))) else { return Ok(None) };
        let is_free = |byte: &Option<i64>| lock_byte_within(&file, *byte, limit).unwrap_or(true);
        if bytes.iter().all(is_free) { Ok(Some(file)) } else { Err(StillHeld) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_changes_leases_holds_their_keys_against_all_others_and_no_other_keys() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Catalogue::of(folder.path()), Catalogue::of(folder.path()));
        let keys = |names: &[&str]| Some(names.iter().map(|name| Key::of(name.as_bytes())).collect::<BTreeSet<_>>());
        let held = one.hold(keys(&["a", "b"]).as_ref(), Duration::ZERO).unwrap();
        for (wanted, is_free) in [(keys(&["c"]), true), (keys(&["b", "c"]), false), (None, false), (keys(&[]), true)] {
            assert_eq!(other.hold(wanted.as_ref(), Duration::ZERO).is_ok(), is_free, "{wanted:?}");
        }
        drop(held);
        let many = (0..=MOST_HELD as u8).map(|n| Key::of(&[n])).collect();
        let held = other.hold(Some(&many), Duration::ZERO).unwrap();
        assert!(one.hold(keys(&["c"]).as_ref(), Duration::ZERO).is_err(), "many are all");
        drop(held);
        assert!(one.hold(None, Duration::ZERO).is_ok());
    }
}
