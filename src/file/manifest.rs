//! A manifest: one node of the tree that a file is.
//!
//! As a block it is text that one can read:
//! ```text
//! kadring-manifest 1
//! level 0
//! size 1048593
//! sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! 3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7$1048576
//! 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae$17
//! ```
//! The line `sha256` stands in the root alone. Behind it a line `folder` says that the file is the
//! [listing](super::folder) of a folder. Each further line is a block of the level below and the bytes of the file that
//! it stands for.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::MAX_BLOCK_SIZE;
use crate::id::{Id, Key};

/// Entries in a node of a file's tree, at most. One level reaches 4 GiB, two 16 TiB.
pub const FANOUT: usize = 4096;

/// One line of a manifest: a block, and how much of the file lies in and below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// The block's key.
    pub key: Key,
    /// Bytes of the file that it stands for: of a data block its size, of a manifest block all that lies below it.
    pub size: u64,
}

/// A node of a file's tree. At level 0 its entries are data blocks, at level n manifests of level n - 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Levels of manifests below this one.
    pub level: u8,
    /// Bytes of the file in this subtree: the sum of the entries.
    pub size: u64,
    /// SHA-256 of the whole file; only the root has it.
    pub sha256: Option<Id>,
    /// Whether the file is the [listing](super::folder) of a folder; only the root says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folder: bool,
    /// The children, in the file's order.
    pub entries: Vec<ManifestEntry>,
}

/// The lines of a manifest above its entries.
pub(super) fn head(level: u8, size: u64, sha256: Option<&Id>) -> String {
    let sha256 = sha256.map_or_else(String::new, |sha256| format!("sha256 {sha256}\n"));
    format!("{MANIFEST_HEAD}level {level}\nsize {size}\n{sha256}")
}

/// The line of a folder's root.
const FOLDER: &str = "folder";

/// The line of one entry.
pub(super) fn line(entry: &ManifestEntry) -> String {
    format!("{}${}\n", entry.key, entry.size)
}

/// The first line of every manifest. A data block may begin with it too, so it alone proves nothing.
pub(crate) const MANIFEST_HEAD: &str = "kadring-manifest 1\n";

/// The highest level of a tree, whose lowest is 0: already levels 0 to 2 would reach 64 PiB.
const MAX_LEVEL: u8 = 3;

impl Manifest {
    /// The block that this manifest is.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::with_capacity(160 + self.entries.len() * 76);
        text.push_str(&head(self.level, self.size, self.sha256.as_ref()));
        if self.folder {
            text.push_str(FOLDER);
            text.push('\n');
        }
        for entry in &self.entries {
            text.push_str(&line(entry));
        }
        text.into_bytes()
    }

    /// Whether a block that begins like this may be a manifest.
    pub fn may_begin(block: &[u8]) -> bool {
        block.starts_with(MANIFEST_HEAD.as_bytes())
    }

    /// Reads a block; none if it is not a manifest but data. Only what [`encode`](Self::encode) writes is a manifest,
    /// so a manifest has one key.
    ///
    /// # Errors
    /// A block that begins as a manifest does and then contradicts itself.
    pub fn decode(block: &[u8]) -> Result<Option<Self>, ManifestError> {
        match Self::decode_unbounded(block)? {
            Some(manifest) if manifest.entries.len() > FANOUT => Err(ManifestError::Unreadable),
            manifest => Ok(manifest),
        }
    }

    /// [`decode`](Self::decode) for a text that is no block, so that it may have any number of entries.
    pub(super) fn decode_unbounded(text: &[u8]) -> Result<Option<Self>, ManifestError> {
        let Some(rest) = text.strip_prefix(MANIFEST_HEAD.as_bytes()) else { return Ok(None) };
        let manifest = std::str::from_utf8(rest).ok().and_then(Self::read).ok_or(ManifestError::Unreadable)?;
        let below: Option<u64> = manifest.entries.iter().try_fold(0_u64, |sum, entry| sum.checked_add(entry.size));
        if below != Some(manifest.size) {
            return Err(ManifestError::WrongSum { size: manifest.size });
        }
        if !manifest.is_sound() || manifest.encode() != text {
            return Err(ManifestError::Unreadable);
        }
        Ok(Some(manifest))
    }

    /// Whether a tree can have such a node. An entry without bytes would let a few blocks forge a tree that takes for
    /// ever to walk and is a file of no bytes; so each step of a walk is at least one byte of the file.
    fn is_sound(&self) -> bool {
        let most = if self.level == 0 { MAX_BLOCK_SIZE.into() } else { u64::MAX };
        self.level <= MAX_LEVEL
            && self.entries.iter().all(|entry| (1..=most).contains(&entry.size))
            && (self.level == 0 || !self.entries.is_empty())
            && (self.sha256.is_some() || !self.folder)
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines().peekable();
        let level = lines.next()?.strip_prefix("level ")?.parse().ok()?;
        let size = lines.next()?.strip_prefix("size ")?.parse().ok()?;
        let sha256 = lines.next_if(|line| line.starts_with("sha256 "));
        let sha256 = sha256.map(|line| line["sha256 ".len()..].parse()).transpose().ok()?;
        let folder = lines.next_if_eq(&FOLDER).is_some();
        let entries = lines.map(|line| {
            let (key, size) = line.split_once('$')?;
            Some(ManifestEntry { key: key.parse().ok()?, size: size.parse().ok()? })
        });
        Some(Self { level, size, sha256, folder, entries: entries.collect::<Option<_>>()? })
    }
}

/// Why bytes are no manifest.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ManifestError {
    /// Its lines cannot be read as a manifest's.
    #[error("it begins as a list of blocks does, but cannot be read as one")]
    Unreadable,
    /// The sizes of its entries do not add up.
    #[error("its entries do not add up to the {size} bytes it claims")]
    WrongSum {
        /// The size that the manifest claims.
        size: u64,
    },
    /// A node of another level stands where one of `expected` was promised.
    #[error("a list of level {found} stands where one of level {expected} should be")]
    WrongLevel {
        /// The level that its parent promised.
        expected: u8,
        /// The level that the node has.
        found: u8,
    },
    /// A node covers another number of bytes than its parent said.
    #[error("a list of {found} bytes stands where one of {expected} bytes should be")]
    WrongSize {
        /// The size that its parent promised.
        expected: u64,
        /// The size that the node has.
        found: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(entries: u64) -> Manifest {
        let entry = |n: u64| ManifestEntry { key: Key::of(&n.to_le_bytes()), size: 1 << 20 };
        let entries: Vec<_> = (0..entries).map(entry).collect();
        let (size, sha256) = ((entries.len() as u64) << 20, Some(Id::of(b"file")));
        Manifest { level: 1, size, sha256, folder: false, entries }
    }

    #[test]
    fn a_folders_root_says_so_and_no_other_node_can() {
        let folder = Manifest { folder: true, ..manifest(2) };
        assert_eq!(Manifest::decode(&folder.encode()), Ok(Some(folder.clone())));
        assert_ne!(folder.encode(), manifest(2).encode(), "the same blocks as a file have another key");
        assert!(Manifest::decode(&Manifest { sha256: None, ..folder }.encode()).is_err());
        let json = serde_json::to_string(&manifest(0)).expect("it is plain");
        assert!(!json.contains("folder"), "what is recorded of files stays as it was: {json}");
    }

    #[test]
    fn a_full_node_fits_in_a_block_and_reads_back() {
        let full = manifest(FANOUT as u64);
        let block = full.encode();
        assert!(block.len() <= MAX_BLOCK_SIZE as usize, "{} bytes", block.len());
        assert_eq!(Manifest::decode(&block), Ok(Some(full)));
        let inner = Manifest { sha256: None, ..manifest(3) };
        assert_eq!(Manifest::decode(&inner.encode()), Ok(Some(inner)));
    }

    #[test]
    fn data_is_no_manifest_and_a_broken_manifest_is_an_error() {
        assert_eq!(Manifest::decode(b""), Ok(None));
        assert_eq!(Manifest::decode(b"any other bytes"), Ok(None));
        let good = String::from_utf8(manifest(2).encode()).expect("text");
        let bad = [
            good.replace("size 2097152", "size 2097153"),
            good.replace("level 1", "level 9"),
            good.replace("level 1", "level 01"),
            good.replace('$', " "),
            good.trim_end().to_owned(),
            good.replace("1048576\n", "18446744073709551615\n"),
            good.replace("level 1", "level 0").replace("1048576", "1048577").replace("2097152", "2097154"),
            good.replacen("1048576", "0", 1).replacen("1048576", "2097152", 1),
            good.replacen("1048576", "+1048576", 1),
            good.replace('\n', "\r\n").replacen("\r\n", "\n", 1),
            good.replace("sha256 ", "sha256 ab"),
            good.clone() + "\n",
            good.to_uppercase().replace("KADRING-MANIFEST", "kadring-manifest"),
            "kadring-manifest 1\nlevel 1\nsize 0\n".to_owned(),
            MANIFEST_HEAD.to_owned(),
        ];
        for text in bad {
            assert!(Manifest::decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn an_empty_file_has_a_root_and_no_node_has_more_than_it_may() {
        let empty = Manifest { level: 0, size: 0, sha256: Some(Id::of(b"")), folder: false, entries: Vec::new() };
        assert_eq!(Manifest::decode(&empty.encode()), Ok(Some(empty)));
        assert!(Manifest::decode(&manifest(FANOUT as u64 + 1).encode()).is_err());
    }

    /// Spoils every byte of a manifest in every way and cuts it everywhere: what is still accepted has just that text.
    #[test]
    fn whatever_is_accepted_is_written_the_same_again() {
        let good = Manifest { level: 0, ..manifest(2) }.encode();
        let mut accepted = 0;
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut spoilt = good.clone();
                spoilt[at] = byte;
                if let Ok(Some(manifest)) = Manifest::decode(&spoilt) {
                    assert_eq!(manifest.encode(), spoilt, "byte {at} made {byte}");
                    accepted += 1;
                }
            }
            assert!(!matches!(Manifest::decode(&good[..at]), Ok(Some(_))), "cut at {at}");
        }
        assert!(accepted > good.len(), "another key makes another manifest");
    }
}
