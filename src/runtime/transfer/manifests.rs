//! Lists of blocks: manifests that travel as blocks, and those that lie in local files.

use std::io;
use std::path::Path;

use super::buffer::Buffer;
use super::{failed, io_failed};
use crate::file::Manifest;
use crate::file::local::{self, ManifestContent};
use crate::id::{Id, Key};
use crate::node::job::{JobError, JobErrorKind, Outcome};
use crate::whole_file;

/// Bytes of the longest manifest text that is read: a file of a terabyte has one of 80 MB.
pub(super) const MAX_MANIFEST_TEXT: u64 = 256 << 20;

/// Reads the block in `buffer` as a manifest, if it begins as one.
pub(super) fn unpack(key: &Key, buffer: &Buffer, size: usize) -> Result<Outcome, JobError> {
    if !buffer.pieces(size).next().is_some_and(Manifest::may_begin) {
        return Ok(Outcome::NotManifest { size: size as u32 });
    }
    match Manifest::decode(&buffer.pieces(size).collect::<Vec<_>>().concat()) {
        Ok(Some(manifest)) => Ok(Outcome::Unpacked { manifest }),
        Ok(None) => Ok(Outcome::NotManifest { size: size as u32 }),
        Err(error) => Err(failed(JobErrorKind::BrokenList, format!("block {key} is a broken manifest: {error}"))),
    }
}

/// What a local manifest lists, as an outcome.
pub(super) fn listed((ManifestContent { entries, sha256 }, root): (ManifestContent, Id)) -> Outcome {
    Outcome::Manifest { entries, root, sha256 }
}

/// Reads a local manifest. Returns what it lists, and the SHA-256 of its text.
///
/// # Errors
/// [`JobErrorKind::Unfit`]: what is there is none, or is damaged. Nothing of that tells of the network.
pub(crate) fn read_manifest(path: &Path) -> Result<(ManifestContent, Id), JobError> {
    let cannot = |error: io::Error| io_failed(&format!("read the manifest file '{}'", path.display()), &error);
    let there = std::fs::metadata(path).map_err(cannot)?;
    let wrong = |reason: &str| {
        let path = path.display();
        failed(
            JobErrorKind::Unfit,
            format!("'{path}' is no key, no name in the catalogue and no manifest file: {reason}"),
        )
    };
    if !there.is_file() {
        // Opening a pipe would wait for its writer.
        return Err(wrong("it is no regular file"));
    }
    if there.len() > MAX_MANIFEST_TEXT {
        return Err(wrong("it is too long"));
    }
    let bytes = whole_file::read_own(path, MAX_MANIFEST_TEXT).map_err(cannot)?;
    Ok((local::read(&bytes).map_err(|reason| wrong(&reason))?, Id::of(&bytes)))
}
