//! Files on their way into the network: read once, cut into blocks, hashed, offered.

use std::collections::HashMap;
use std::fs::{File, Metadata, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::place::Place;
use super::{Room, cannot_write, changed, failed, folder_of, io_failed, reserve};
use crate::config::MAX_BLOCK_SIZE;
use crate::file::{Entry, Form, LocalManifest};
use crate::id::{Id, Key};
use crate::node::job::{JobError, JobErrorKind, Outcome, PutId};
use crate::runtime::offers::{Offered, Offers};

/// The files being read.
///
/// *Protects*: which readers there are; each reader has a lock of its own, which only its one running job takes.
/// *Held for*: one insertion, removal or look. *Never held while*: a file is read.
#[derive(Default)]
pub(super) struct Reading(Mutex<HashMap<PutId, Arc<Mutex<Reader>>>>);

struct Reader {
    file: Arc<File>,
    path: PathBuf,
    at_start: Metadata,
    offset: u64,
    whole: Sha256,
    manifest: Option<Draft>,
}

/// The local manifest, under a temporary name.
struct Draft {
    file: NamedTempFile,
    form: Form,
    place: Place,
}

impl Reading {
    /// Reads, hashes and offers the next block; the first time, opens the file.
    pub(super) fn next(
        &self,
        put: PutId,
        path: &Path,
        manifest: Option<&LocalManifest>,
        room: &mut Room,
        offers: &Offers,
    ) -> Result<Outcome, JobError> {
        let known = self.0.lock().get(&put).cloned();
        let reader = match known {
            Some(reader) => reader,
            None => {
                let reader = Arc::new(Mutex::new(Reader::open(path, manifest)?));
                self.0.lock().insert(put, Arc::clone(&reader));
                reader
            }
        };
        let mut reader = reader.lock();
        reader.next(put, room, offers)
    }

    /// Gives the local manifest its name.
    pub(super) fn publish(&self, put: PutId) -> Result<Outcome, JobError> {
        let reader = self.0.lock().get(&put).cloned();
        let draft = reader.and_then(|reader| reader.lock().manifest.take());
        let draft = draft.ok_or_else(|| failed(JobErrorKind::Io, "no manifest file was asked for"))?;
        draft.publish()?;
        Ok(Outcome::Done)
    }

    pub(super) fn forget(&self, put: PutId) {
        self.0.lock().remove(&put);
    }
}

impl Reader {
    fn open(path: &Path, manifest: Option<&LocalManifest>) -> Result<Self, JobError> {
        let cannot = |error: std::io::Error| io_failed(&format!("read '{}'", path.display()), &error);
        // Looked at before it is opened: opening a pipe would wait for its writer.
        let there = std::fs::metadata(path).map_err(cannot)?;
        if !there.is_file() {
            let what = match there.is_dir() {
                true => "a folder; pack it first, for example with tar",
                false => "a pipe or a device; 'kadring store -' stores what is piped into it",
            };
            return Err(failed(JobErrorKind::Io, format!("'{}' is {what}", path.display())));
        }
        let file = File::open(path).map_err(cannot)?;
        let at_start = file.metadata().map_err(cannot)?;
        let manifest = manifest.map(|manifest| Draft::begin(manifest, &at_start)).transpose()?;
        Ok(Self { file: Arc::new(file), path: path.to_owned(), at_start, offset: 0, whole: Sha256::new(), manifest })
    }

    fn next(&mut self, put: PutId, room: &mut Room, offers: &Offers) -> Result<Outcome, JobError> {
        let size = self.read_block(room)?;
        if size == 0 {
            let now = self.file.metadata().map_err(|error| self.cannot_read(&error))?;
            let stamp = |of: &Metadata| (of.len(), of.mtime(), of.mtime_nsec());
            if stamp(&now) != stamp(&self.at_start) || now.len() != self.offset {
                return Err(changed(&self.path));
            }
            let sha256 = Id::from_bytes(std::mem::take(&mut self.whole).finalize().into());
            if let Some(draft) = &mut self.manifest {
                draft.complete(self.offset, &sha256)?;
            }
            return Ok(Outcome::End { size: self.offset, sha256 });
        }
        let bytes = &room[..size];
        self.whole.update(bytes);
        let entry = Entry { key: Key::of(bytes), size: size as u64 };
        offers.add(
            put,
            entry.key,
            Offered::Slice { file: Arc::clone(&self.file), offset: self.offset, size: size as u32 },
        );
        self.offset += size as u64;
        if let Some(draft) = &mut self.manifest {
            draft.add(&entry)?;
        }
        Ok(Outcome::Read { entry })
    }

    /// As many bytes as a block has, or as the file has left.
    fn read_block(&mut self, room: &mut Room) -> Result<usize, JobError> {
        reserve(room, MAX_BLOCK_SIZE as usize);
        let mut filled = 0;
        while filled < MAX_BLOCK_SIZE as usize {
            match (&*self.file).read(&mut room[filled..MAX_BLOCK_SIZE as usize]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cannot_read(&error)),
            }
        }
        Ok(filled)
    }

    fn cannot_read(&self, error: &std::io::Error) -> JobError {
        io_failed(&format!("read '{}'", self.path.display()), error)
    }
}

impl Draft {
    fn begin(manifest: &LocalManifest, of: &Metadata) -> Result<Self, JobError> {
        let LocalManifest { path, form } = manifest;
        let place = Place::of(path)?;
        place.check_for_manifest(of)?;
        // Like any file that the user makes: as many may read it as the user lets.
        let as_usual = Permissions::from_mode(0o666);
        let file = tempfile::Builder::new().permissions(as_usual).tempfile_in(folder_of(&place.path));
        let file = file.map_err(|error| cannot_write(path, &error))?;
        let mut draft = Self { file, form: *form, place };
        // What the whole file hashes to is known in the end. Until then this manifest is one of another file.
        draft.write(&form.head(of.len(), &Id::ZERO))?;
        Ok(draft)
    }

    fn add(&mut self, entry: &Entry) -> Result<(), JobError> {
        self.write(&self.form.entry(entry))
    }

    /// The file was read to its end: it has this size, as it had at the start, and this hash.
    fn complete(&mut self, size: u64, sha256: &Id) -> Result<(), JobError> {
        let head = self.form.head(size, sha256);
        let written = self.file.as_file().write_all_at(head.as_bytes(), 0);
        written.map_err(|error| cannot_write(&self.place.path, &error))
    }

    fn write(&mut self, text: &str) -> Result<(), JobError> {
        self.file.write_all(text.as_bytes()).map_err(|error| cannot_write(&self.place.path, &error))
    }

    /// Gives the manifest its name.
    fn publish(self) -> Result<(), JobError> {
        let Self { file, place, .. } = self;
        file.as_file().sync_data().map_err(|error| cannot_write(&place.path, &error))?;
        place.take(file.into_temp_path(), false)
    }
}
