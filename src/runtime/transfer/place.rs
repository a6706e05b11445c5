//! What stands where a file shall be put, and putting it there without harm to anything else.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::{MAX_MANIFEST_TEXT, cannot_write, failed};
use crate::file::local;
use crate::node::job::{JobError, JobErrorKind};

/// A place for a file.
pub(super) struct Place {
    /// Its name; where that was a link, what the link leads to.
    pub(super) path: PathBuf,
    /// The regular file that stands there.
    pub(super) there: Option<Metadata>,
}

impl Place {
    /// Looks at what stands at `path`. Only a regular file that may be written, or nothing, leaves room for another: a
    /// rename onto a device or a pipe would put a file in its place for everybody.
    ///
    /// # Errors
    /// [`JobErrorKind::Unfit`]: something else stands there.
    pub(super) fn of(path: &Path) -> Result<Self, JobError> {
        let refused = |reason: &str| Err(unfit(path, reason));
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => refused("is a folder; name a file in it"),
            Ok(there) if !there.is_file() => refused("is not a regular file; name another"),
            // What a link leads to is replaced, not the link.
            Ok(there) => {
                Ok(Self { path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()), there: Some(there) })
            }
            Err(_) if path.file_name().is_none() => refused("is a folder; name a file in it"),
            Err(_) if fs::symlink_metadata(path).is_ok() => refused("is a link that leads to no file; name another"),
            // Any other trouble is met when the file is written, and told then.
            Err(_) => Ok(Self { path: path.to_owned(), there: None }),
        }
    }

    /// Whether something to lose stands there. An empty file is none: a script may have made it for its name.
    pub(super) fn is_taken(&self) -> bool {
        self.there.as_ref().is_some_and(|there| there.len() > 0)
    }

    /// An error if what stands there may not be written: a rename would replace it all the same.
    pub(super) fn check_writable(&self) -> Result<(), JobError> {
        match &self.there {
            Some(there) if there.permissions().readonly() => {
                Err(unfit(&self.path, "is there and read-only; name another, or chmod it"))
            }
            _ => Ok(()),
        }
    }

    /// An error unless a local manifest of the file `of` may stand there: nothing does yet, or an older manifest does.
    pub(super) fn check_for_manifest(&self, of: &Metadata) -> Result<(), JobError> {
        let Some(there) = &self.there else { return Ok(()) };
        if is_same(there, of) {
            return Err(unfit(&self.path, "is the file to be stored; name another for its manifest"));
        }
        if self.is_taken() && !is_manifest(&self.path).map_err(|error| cannot_write(&self.path, &error))? {
            let reason = "is there and is no manifest, so it is not replaced; store takes one FILE, and a new name (or an \
                          older manifest's) for its manifest";
            return Err(exists(&self.path, reason));
        }
        self.check_writable()
    }

    /// Gives the file at `temporary` the name of this place: whatever stands there by now if `replace`, else only if it is
    /// still as it was when it was looked at.
    ///
    /// # Errors
    /// [`JobErrorKind::Exists`] if something stands there that did not, or what the system refuses.
    pub(super) fn take(&self, temporary: TempPath, replace: bool) -> Result<(), JobError> {
        let cannot = |error: tempfile::PathPersistError| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.path, "came to be there meanwhile; it was not replaced"),
            _ => cannot_write(&self.path, &error.error),
        };
        let now = || fs::symlink_metadata(&self.path);
        match &self.there {
            None if !replace => temporary.persist_noclobber(&self.path).map_err(cannot),
            Some(seen) if !replace && now().is_ok_and(|now| !is_same(&now, seen) || !is_unchanged(&now, seen)) => {
                Err(exists(&self.path, "was changed meanwhile; it was not replaced"))
            }
            _ => temporary.persist(&self.path).map_err(cannot),
        }
    }
}

/// Whether two looks saw one and the same file.
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn is_unchanged(now: &Metadata, before: &Metadata) -> bool {
    let stamp = |of: &Metadata| (of.len(), of.mtime(), of.mtime_nsec());
    stamp(now) == stamp(before)
}

/// Whether a file is a local manifest.
fn is_manifest(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(local::BEGINNING as u64).read_to_end(&mut bytes)?;
    if !local::may_begin(&bytes) {
        return Ok(false);
    }
    file.take(MAX_MANIFEST_TEXT).read_to_end(&mut bytes)?;
    Ok(local::read(&bytes).is_ok())
}

/// No file can be put at `path`.
fn unfit(path: &Path, reason: &str) -> JobError {
    failed(JobErrorKind::Unfit, format!("'{}' {reason}", path.display()))
}

/// What stands at `path` is not replaced.
pub(super) fn exists(path: &Path, reason: &str) -> JobError {
    failed(JobErrorKind::Exists, format!("'{}' {reason}", path.display()))
}
