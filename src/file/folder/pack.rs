//! Packs: blocks that many small files share.
//!
//! A pack begins with a line that says what it is, so that none is ever taken for a manifest; the files follow, one
//! behind the other. Where a pack ends is a matter of the names: once it has its least size, a file ends it by chance,
//! and the chance is the file's own, drawn from the hash of its path and weighed by its size. So a file that is added,
//! removed or changed changes its own pack, and the packs behind it end where they did before.

use std::path::Path;

use crate::config::MAX_BLOCK_SIZE;
use crate::id::Id;

/// What every pack begins with.
pub const HEAD: &[u8] = b"kadring-pack 1\n";

/// Bytes of the largest file that has room in a pack.
pub const LARGEST_PACKED: u64 = MAX_BLOCK_SIZE as u64 - HEAD.len() as u64;

/// A pack ends by chance once it has so many bytes.
const LEAST: u64 = 512 * 1024;

/// From then on it takes about so many more.
const SPREAD: u64 = 256 * 1024;

/// What a file weighs besides its bytes, so that files of few bytes end packs too.
const WEIGHT: u64 = 64;

/// Tells where packs end, file by file in the order of a listing.
#[derive(Debug)]
pub struct Cutter {
    filled: u64,
}

impl Default for Cutter {
    fn default() -> Self {
        Self { filled: HEAD.len() as u64 }
    }
}

impl Cutter {
    /// Whether the pack has room for a file of this size, of at most [`LARGEST_PACKED`] bytes. If not, it ends before
    /// that file.
    pub fn has_room(&self, size: u64) -> bool {
        self.filled + size <= u64::from(MAX_BLOCK_SIZE)
    }

    /// Adds a file, for which there is room. Whether the pack ends behind it.
    pub fn add(&mut self, path: &Path, size: u64) -> bool {
        self.filled += size;
        self.filled >= LEAST && ends(path, size)
    }

    /// The pack has ended: the next file begins another.
    pub fn cut(&mut self) {
        *self = Self::default();
    }
}

/// Whether this file ends a pack of the least size.
fn ends(path: &Path, size: u64) -> bool {
    let hash = Id::of(path.as_os_str().as_encoded_bytes());
    let drawn = hash.as_bytes().first_chunk().map_or(0, |first: &[u8; 8]| u64::from_be_bytes(*first));
    u128::from(drawn) * u128::from(SPREAD) < u128::from(size + WEIGHT) << 64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;

    /// What each pack of these files holds.
    fn packs(files: &[(PathBuf, u64)]) -> BTreeSet<Vec<(PathBuf, u64)>> {
        let (mut cutter, mut packs, mut pack) = (Cutter::default(), BTreeSet::new(), Vec::new());
        for (path, size) in files {
            if !cutter.has_room(*size) {
                packs.insert(std::mem::take(&mut pack));
                cutter.cut();
            }
            pack.push((path.clone(), *size));
            if cutter.add(path, *size) {
                packs.insert(std::mem::take(&mut pack));
                cutter.cut();
            }
        }
        packs.insert(pack);
        packs
    }

    fn tree(files: u64, size: impl Fn(u64) -> u64) -> Vec<(PathBuf, u64)> {
        (0..files).map(|n| (format!("folder {:03}/file {n:06}.txt", n / 100).into(), size(n))).collect()
    }

    fn bytes(pack: &[(PathBuf, u64)]) -> u64 {
        HEAD.len() as u64 + pack.iter().map(|(_, size)| size).sum::<u64>()
    }

    #[test]
    fn packs_are_blocks_and_well_filled() {
        for size in [1, 1000, 1024, 60_000, LARGEST_PACKED / 2 + 1, LARGEST_PACKED] {
            let files = tree(10_000_000 / size.max(1000), |_| size);
            let packs = packs(&files);
            assert!(packs.iter().all(|pack| bytes(pack) <= u64::from(MAX_BLOCK_SIZE)), "files of {size} bytes");
            assert_eq!(packs.iter().map(Vec::len).sum::<usize>(), files.len());
            let small = packs.iter().filter(|pack| bytes(pack) < LEAST).count();
            assert!(small <= 1, "files of {size} bytes: {small} of {} packs are small", packs.len());
        }
    }

    #[test]
    fn of_ten_thousand_files_that_are_changed_added_or_removed_one_by_one_each_changes_a_pack_or_two() {
        let files = tree(10_000, |n| 1024 + n % 7);
        let before = packs(&files);
        let mut most = 0;
        for at in (0..files.len()).step_by(97) {
            let mut changed = files.clone();
            changed[at].1 += 1;
            let mut removed = files.clone();
            removed.remove(at);
            let mut added = files.clone();
            added.insert(at + 1, (format!("{}.new", files[at].0.display()).into(), 1024));
            let moved: Vec<usize> =
                [changed, removed, added].iter().map(|now| packs(now).difference(&before).count()).collect();
            assert!(moved.iter().all(|moved| *moved >= 1 && *moved <= 4), "file {at}: {moved:?}");
            most += moved.iter().sum::<usize>();
        }
        let tries = files.len().div_ceil(97) * 3;
        assert!(most < tries * 3 / 2, "{most} packs in {tries} tries, of {} packs", before.len());
    }
}
