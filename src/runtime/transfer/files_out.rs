//! Files on their way out of the network: blocks written where they belong, under a temporary name until all are there.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Room, cannot_write, check_place, failed, folder_of, io_failed, reserve};
use crate::id::{Id, Key};
use crate::node::job::{GetId, JobError, JobErrorKind, Outcome, Slot};

/// The files being written.
///
/// *Protects*: which files are open. *Held for*: one insertion, removal or look. *Never held while*: a file is read or written.
#[derive(Default)]
pub(super) struct Writing(Mutex<HashMap<GetId, Arc<Part>>>);

/// A file under its temporary name.
struct Part {
    file: File,
    path: PathBuf,
    dest: PathBuf,
}

impl Writing {
    /// Prepares the file, or takes up what an earlier run left.
    pub(super) fn open(&self, get: GetId, dest: &Path, root: &Id, size: u64) -> Result<Outcome, JobError> {
        let (part, resumed) = Part::open(dest, root, size)?;
        self.0.lock().insert(get, Arc::new(part));
        Ok(Outcome::Opened { resumed })
    }

    /// Whether a block lies in its place already.
    pub(super) fn check(&self, get: GetId, slot: &Slot, room: &mut Room) -> Result<Outcome, JobError> {
        let part = self.part(get)?;
        let size = slot.size as usize;
        reserve(room, size);
        part.file
            .read_exact_at(&mut room[..size], slot.offset)
            .map_err(|error| io_failed(&format!("read '{}'", part.path.display()), &error))?;
        Ok(Outcome::Checked { good: Key::of(&room[..size]) == slot.key })
    }

    /// Writes a block, verified before, to its place.
    pub(super) fn put(&self, get: GetId, slot: &Slot, bytes: &[u8]) -> Result<Outcome, JobError> {
        let part = self.part(get)?;
        part.file
            .write_all_at(bytes, slot.offset)
            .map_err(|error| io_failed(&format!("write '{}'", part.path.display()), &error))?;
        Ok(Outcome::Fetched)
    }

    /// Gives the file its name.
    pub(super) fn finish(&self, get: GetId) -> Result<Outcome, JobError> {
        let part = self.part(get)?;
        std::fs::rename(&part.path, &part.dest).map_err(|error| {
            io_failed(&format!("rename '{}' to '{}'", part.path.display(), part.dest.display()), &error)
        })?;
        Ok(Outcome::Done)
    }

    pub(super) fn forget(&self, get: GetId) {
        self.0.lock().remove(&get);
    }

    fn part(&self, get: GetId) -> Result<Arc<Part>, JobError> {
        let part = self.0.lock().get(&get).cloned();
        part.ok_or_else(|| failed(JobErrorKind::Cancelled, "the file is not being written any more"))
    }
}

impl Part {
    fn open(dest: &Path, root: &Id, size: u64) -> Result<(Self, bool), JobError> {
        let cannot = |error: &std::io::Error| cannot_write(dest, error);
        check_place(dest)?;
        // What a link leads to is replaced, not the link.
        let dest = &std::fs::canonicalize(dest).unwrap_or_else(|_| dest.to_owned());
        let mut hidden = OsString::from(".");
        hidden.extend(dest.file_name());
        hidden.push(format!(".{}.part", &root.to_string()[..16]));
        let path = folder_of(dest).join(hidden);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| cannot(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let reason =
                    format!("'{}' is being retrieved already; wait for it or name another file", dest.display());
                return Err(failed(JobErrorKind::Io, reason));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(&error)),
        }
        let resumed = file.metadata().map_err(|error| cannot(&error))?.len() == size && size > 0;
        if !resumed {
            file.set_len(size).map_err(|error| cannot(&error))?;
        }
        Ok((Self { file, path, dest: dest.to_owned() }, resumed))
    }
}
