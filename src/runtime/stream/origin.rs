//! What is streamed: the blocks of a key, or those that a local manifest lists.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::Call;
use crate::file::local::ManifestContent;
use crate::file::tree::TreeWalk;
use crate::file::{Manifest, ManifestEntry};
use crate::id::{Id, Key};
use crate::node::{Failure, FailureKind};

/// What is streamed.
pub(crate) enum Origin {
    /// The file of this key.
    Key(Key),
    /// The file whose blocks a local manifest lists.
    Listed(ManifestContent),
}

/// A file of which no block has come yet.
pub(super) struct OpenedFile {
    pub(super) walk: TreeWalk,
    /// Its size in bytes.
    pub(super) size: u64,
    pub(super) sha256: Option<Id>,
    /// Whether its source shows that the file is whole.
    pub(super) complete: bool,
    /// Whether the key vouches for the SHA-256; a manifest's is no better than the manifest.
    pub(super) vouched: bool,
}

impl Origin {
    /// Finds out what the file is made of.
    pub(super) fn open(self, call: &Call) -> Result<OpenedFile, Failure> {
        let key = match self {
            Self::Key(key) => key,
            Self::Listed(ManifestContent { entries, sha256 }) => {
                let (size, complete) = (entries.iter().map(|entry| entry.size).sum(), sha256.is_some());
                return Ok(OpenedFile { walk: TreeWalk::flat(entries), size, sha256, complete, vouched: false });
            }
        };
        let (manifest, size) = call.manifest(key)?;
        let sha256 = manifest.as_ref().and_then(|manifest| manifest.sha256);
        let walk = match manifest {
            Some(Manifest { folder: true, .. }) => {
                let reason = format!("{key} is a folder, not a file; name a file in it");
                return Err(Failure::new(FailureKind::Folder, reason));
            }
            Some(root) => TreeWalk::new(root),
            None if size == 0 => TreeWalk::flat(Vec::new()),
            None => TreeWalk::flat(vec![ManifestEntry { key, size }]),
        };
        Ok(OpenedFile { walk, size, sha256, complete: true, vouched: true })
    }
}

/// A writer that hashes what passes, if there is something to compare it with.
pub(super) struct Hashed<'a> {
    to: &'a mut dyn Write,
    expected: Option<(Id, Sha256)>,
}

impl<'a> Hashed<'a> {
    pub(super) fn new(to: &'a mut dyn Write, expected: Option<Id>) -> Self {
        Self { to, expected: expected.map(|expected| (expected, Sha256::new())) }
    }

    /// An error if what passed is not what was expected.
    pub(super) fn check(self) -> Result<(), Failure> {
        let Some((expected, hash)) = self.expected else { return Ok(()) };
        if Id::from_bytes(hash.finalize().into()) == expected {
            return Ok(());
        }
        let reason = "the blocks that the manifest lists are not the file whose SHA-256 it names".to_owned();
        Err(Failure::new(FailureKind::Integrity, reason))
    }
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        if let Some((_, hash)) = &mut self.expected {
            hash.update(&bytes[..count]);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
