//! A manifest: one node of the tree that a file is.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Id, Key};

/// Entries in a node of a file's tree, at most. One level reaches 4 GiB, two 16 TiB.
pub const FANOUT: usize = 4096;

/// One line of a manifest: a block, and how much of the file lies in and below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
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
    /// The children, in the file's order.
    pub entries: Vec<Entry>,
}

/// Why bytes are no manifest.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ManifestError {
    /// A node of another level stands where one of `expected` was promised.
    #[error("a list of level {found} stands where one of level {expected} should be")]
    WrongLevel {
        /// The level its parent promised.
        expected: u8,
        /// The level it has.
        found: u8,
    },
    /// A node covers another number of bytes than its parent said.
    #[error("a list of {found} bytes stands where one of {expected} bytes should be")]
    WrongSize {
        /// The size its parent promised.
        expected: u64,
        /// The size it has.
        found: u64,
    },
}
