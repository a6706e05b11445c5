//! The working directory of a simulated peer of the classroom ring, and the jobs about its files.
//!
//! The rules are those of a live peer's directory: a version is a size and a time, a copy has the time of its original,
//! a received file is `received_NAME.pdf`, and what a user put there is never replaced.

use std::collections::{BTreeMap, BTreeSet};

use super::content::{Bytes, JobRefusal};
use crate::id::Id;
use crate::name::FileName;
use crate::node::job::{JobErrorKind, NamedJob, NamedOutcome, Resolution, Version, resolve};

/// The working directory. It outlives a crash, as the rest of the disk does.
#[derive(Default)]
pub struct SimFolder {
    files: BTreeMap<FileName, SimNamedFile>,
    received: BTreeMap<FileName, Bytes>,
    /// Those that others get from here: a user stored them here in this life, or they are kept for the ring.
    given: BTreeSet<FileName>,
}

/// A file whose name is four digits.
#[derive(Clone)]
pub(super) struct SimNamedFile {
    modified: u64,
    bytes: Bytes,
}

impl SimNamedFile {
    fn version(&self) -> Version {
        Version { size: self.bytes.len() as u64, modified: self.modified }
    }
}

impl SimFolder {
    /// The version of the file in this directory.
    pub fn find(&self, file: FileName) -> Option<Version> {
        self.files.get(&file).map(SimNamedFile::version)
    }

    /// The bytes of the file in this directory.
    pub fn read(&self, file: FileName) -> Option<&Bytes> {
        self.files.get(&file).map(|named| &named.bytes)
    }

    /// A copy of the file in this directory for another peer.
    pub(super) fn copy(&self, file: FileName) -> Option<SimNamedFile> {
        self.files.get(&file).filter(|_| self.given.contains(&file)).cloned()
    }

    /// The bytes that were received last for this name.
    pub fn received(&self, file: FileName) -> Option<&Bytes> {
        self.received.get(&file)
    }

    /// All files in this directory whose names are four digits, in the order of names.
    pub fn scan(&self) -> Vec<(FileName, Version)> {
        self.files.iter().map(|(&file, named)| (file, named.version())).collect()
    }

    /// Writes a file, replacing an older one. `modified` is in microseconds since 1970.
    pub fn write(&mut self, file: FileName, modified: u64, bytes: Bytes) {
        self.files.insert(file, SimNamedFile { modified, bytes });
    }

    /// From now on others get this file from here.
    pub(super) fn give(&mut self, file: FileName) {
        self.given.insert(file);
    }

    /// The peer ends: what it was to give it knows no longer.
    pub(super) fn forget_given(&mut self) {
        self.given.clear();
    }

    /// Makes an empty file, older than any other, unless the file exists.
    fn touch(&mut self, file: FileName) -> NamedOutcome {
        let written = !self.files.contains_key(&file);
        let named = self.files.entry(file).or_insert_with(|| SimNamedFile { modified: 0, bytes: Bytes::from([]) });
        NamedOutcome::Kept { version: named.version(), written }
    }

    /// Performs a job about a named file.
    pub(super) fn perform(&mut self, job: &NamedJob, brought: BroughtFile) -> Result<NamedOutcome, JobRefusal> {
        let outcome = self.do_job(job, brought)?;
        if let NamedJob::Find { file } | NamedJob::Touch { file } | NamedJob::Keep { file, .. } = *job {
            self.give(file);
        }
        Ok(outcome)
    }

    fn do_job(&mut self, job: &NamedJob, brought: BroughtFile) -> Result<NamedOutcome, JobRefusal> {
        match *job {
            NamedJob::Scan => Ok(NamedOutcome::Scanned { files: self.scan() }),
            NamedJob::Find { file } => Ok(NamedOutcome::Found { version: self.find(file) }),
            NamedJob::Touch { file } => Ok(self.touch(file)),
            NamedJob::Keep { file, offered, ours, replace, .. } => {
                let before = brought.before;
                match (before, resolve(before, offered, ours, replace)) {
                    (Some(version), Resolution::Stays) => Ok(NamedOutcome::Kept { version, written: false }),
                    _ => brought.theirs.and_then(|theirs| {
                        let resolution = resolve(before, Some(theirs.version()), ours, replace);
                        self.keep(file, (before, replace), theirs, resolution)
                    }),
                }
            }
            NamedJob::Receive { file, .. } => brought.theirs.map(|theirs| {
                let (size, sha256) = (theirs.bytes.len() as u64, Id::of(&theirs.bytes));
                self.received.insert(file, theirs.bytes);
                NamedOutcome::Received { size, sha256 }
            }),
        }
    }

    /// Keeps another peer's file. `before` is the version that was here when the transfer began; the other one may
    /// have been `stored` just now.
    fn keep(
        &mut self,
        file: FileName,
        (before, stored): (Option<Version>, bool),
        mut theirs: SimNamedFile,
        resolution: Resolution,
    ) -> Result<NamedOutcome, JobRefusal> {
        let another = || (JobErrorKind::Io, format!("another file {file}.pdf lies at the peer that should keep it"));
        let same = self.read(file) == Some(&theirs.bytes);
        match (before, resolution) {
            (Some(version), Resolution::Stays) => return Ok(NamedOutcome::Kept { version, written: false }),
            (Some(version), _) if same && (resolution == Resolution::Compared || version == theirs.version()) => {
                return Ok(NamedOutcome::Kept { version, written: false });
            }
            (Some(_), Resolution::Compared) => return Err(another()),
            // The user has put a file here meanwhile.
            _ if self.find(file) != before => return Err(another()),
            _ => {}
        }
        if stored {
            theirs.modified = theirs.version().stored_over(before).modified;
        }
        let version = theirs.version();
        self.files.insert(file, theirs);
        Ok(NamedOutcome::Kept { version, written: true })
    }
}

/// The other peer's file that a job needs, and the version that was here when the job was started.
pub(super) struct BroughtFile {
    pub(super) before: Option<Version>,
    pub(super) theirs: Result<SimNamedFile, JobRefusal>,
}

/// The file that a job is about, if it is about one.
pub(super) fn subject(job: &NamedJob) -> Option<FileName> {
    match *job {
        NamedJob::Scan => None,
        NamedJob::Find { file }
        | NamedJob::Touch { file }
        | NamedJob::Keep { file, .. }
        | NamedJob::Receive { file, .. } => Some(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> FileName {
        "2067".parse().expect("four digits")
    }

    #[test]
    fn an_empty_file_is_made_once_and_older_than_any_other() {
        let mut folder = SimFolder::default();
        let made = Version { size: 0, modified: 0 };
        assert_eq!(folder.touch(file()), NamedOutcome::Kept { version: made, written: true });
        assert_eq!(folder.touch(file()), NamedOutcome::Kept { version: made, written: false });
        folder.write(file(), 7, Bytes::from(*b"abc"));
        let version = Version { size: 3, modified: 7 };
        assert_eq!(folder.touch(file()), NamedOutcome::Kept { version, written: false });
        assert_eq!(folder.scan(), [(file(), version)]);
    }

    #[test]
    fn what_a_user_puts_here_while_a_copy_is_on_its_way_stays() {
        let mut folder = SimFolder::default();
        let theirs = SimNamedFile { modified: 9, bytes: Bytes::from(*b"theirs") };
        folder.write(file(), 7, Bytes::from(*b"own"));
        assert!(folder.keep(file(), (None, false), theirs.clone(), Resolution::Replaced).is_err());
        assert!(folder.keep(file(), (folder.find(file()), false), theirs, Resolution::Compared).is_err());
        assert_eq!(folder.read(file()).map(|bytes| &bytes[..]), Some(&b"own"[..]));
    }
}
