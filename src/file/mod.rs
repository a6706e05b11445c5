//! Files as trees of blocks: pure, no I/O.
//!
//! A file is cut into blocks of [`BLOCK_SIZE`] bytes. One of fewer bytes is a block, whose key names it, unless it is
//! empty or begins as a manifest does. Any other's *manifest* lists the keys and sizes of its blocks; the manifest is
//! itself kept as blocks, in several levels where one would not hold it, so that one key names a file of any size. A
//! [folder] is a file that lists others, and always has a manifest, which says so.

pub mod folder;
pub mod local;
pub mod manifest;
pub mod text;
pub mod tree;

pub use local::{LocalManifest, ManifestForm};
pub use manifest::{Manifest, ManifestEntry, ManifestError};

/// Bytes in every block of a file but its last.
pub const BLOCK_SIZE: u32 = crate::config::MAX_BLOCK_SIZE;
