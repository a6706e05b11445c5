//! Files on their way into the network: read once, cut into blocks, hashed, lent.

use std::collections::HashMap;
use std::fs::{File, Metadata, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::cancel::Cancel;
use super::ledger::Ledger;
use super::place::Destination;
use super::{cannot_write, changed, failed, folder_of, io_failed};
use crate::config::MAX_BLOCK_SIZE;
use crate::file::manifest::MANIFEST_HEAD;
use crate::file::{LocalManifest, Manifest, ManifestEntry, ManifestForm};
use crate::id::{Id, Key};
use crate::node::job::{JobError, JobErrorKind, Outcome, PutId};
use crate::runtime::lent::LentBlock;

/// The files being read. A reader travels with the one job that reads: none is here meanwhile.
#[derive(Default)]
pub(super) struct Readers(HashMap<PutId, Option<FileReader>>);

/// How jobs get at the files being read.
pub(super) struct ReadingFiles<'a>(pub(super) &'a Ledger);

pub(super) struct FileReader {
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
    form: ManifestForm,
    place: Destination,
}

impl Readers {
    pub(super) fn forget(&mut self, put: PutId) -> Option<FileReader> {
        self.0.remove(&put).flatten()
    }
}

impl ReadingFiles<'_> {
    /// Reads, hashes and lends the next block; the first time, opens the file.
    pub(super) fn next(
        &self,
        put: PutId,
        path: &Path,
        manifest: Option<&LocalManifest>,
        cancel: &Cancel,
        piece: &mut [u8],
    ) -> Result<Outcome, JobError> {
        let read = self.read(put, path, manifest, piece);
        // The file may have been forgotten before its reader was here to be dropped.
        cancel.check().inspect_err(|_| self.0.forget_put(put))?;
        read
    }

    fn read(
        &self,
        put: PutId,
        path: &Path,
        manifest: Option<&LocalManifest>,
        piece: &mut [u8],
    ) -> Result<Outcome, JobError> {
        // From here on there is a place to put the reader back to, unless the file is forgotten meanwhile.
        let mut reader = match self.0.with(|books| books.readers.0.insert(put, None)) {
            Some(Some(reader)) => reader,
            Some(None) => {
                return Err(failed(
                    JobErrorKind::Io,
                    "by a fault of kadring, the file's reader is gone; store it again",
                ));
            }
            None => FileReader::open(path, manifest)
                .inspect_err(|_| drop(self.0.with(|books| books.readers.forget(put))))?,
        };
        let mut lent = None;
        let outcome = reader.next(piece, &mut lent);
        let forgotten = self.put_back(put, reader, lent);
        drop(forgotten);
        outcome
    }

    /// Puts a reader back and lends what it read; returns both if the file was forgotten meanwhile.
    fn put_back(
        &self,
        put: PutId,
        reader: FileReader,
        read: Option<(Key, LentBlock)>,
    ) -> Option<(FileReader, Option<(Key, LentBlock)>)> {
        self.0.with(|books| {
            let Some(place) = books.readers.0.get_mut(&put) else { return Some((reader, read)) };
            *place = Some(reader);
            if let Some((key, block)) = read {
                books.lent.add(put, key, block);
            }
            None
        })
    }

    /// Gives the local manifest its name.
    pub(super) fn publish(&self, put: PutId) -> Result<Outcome, JobError> {
        let draft = self.0.with(|books| books.readers.0.get_mut(&put)?.as_mut()?.manifest.take());
        let draft = draft.ok_or_else(|| failed(JobErrorKind::Io, "no manifest file was asked for"))?;
        draft.publish()?;
        Ok(Outcome::Done)
    }
}

impl FileReader {
    fn open(path: &Path, manifest: Option<&LocalManifest>) -> Result<Self, JobError> {
        let cannot = |error: std::io::Error| io_failed(&format!("read '{}'", path.display()), &error);
        // Looked at before it is opened: opening a pipe would wait for its writer.
        let there = std::fs::metadata(path).map_err(cannot)?;
        if !there.is_file() {
            let what = match there.is_dir() {
                true => "a folder, not a file; 'store' keeps folders",
                false => "a pipe or a device; 'kadring store -' stores what is piped into it",
            };
            return Err(failed(JobErrorKind::Io, format!("'{}' is {what}", path.display())));
        }
        let file = File::open(path).map_err(cannot)?;
        let named = file.metadata().map_err(cannot)?;
        let (file, at_start) = spooled(file, named.clone()).map_err(cannot)?;
        let manifest = manifest.map(|manifest| Draft::begin(manifest, &named, at_start.len())).transpose()?;
        Ok(Self { file: Arc::new(file), path: path.to_owned(), at_start, offset: 0, whole: Sha256::new(), manifest })
    }

    /// Reads the next block, and says where its bytes lie.
    fn next(&mut self, piece: &mut [u8], lent: &mut Option<(Key, LentBlock)>) -> Result<Outcome, JobError> {
        let is_first = self.offset == 0;
        let (size, key) = self.read_block(piece)?;
        if size == 0 {
            let (size, sha256) = self.end()?;
            return Ok(Outcome::End { size, sha256 });
        }
        let entry = ManifestEntry { key, size: size as u64 };
        let block = LentBlock::Slice { file: Arc::clone(&self.file), offset: self.offset, size: size as u32 };
        *lent = Some((entry.key, block));
        self.offset += size as u64;
        if let Some(draft) = &mut self.manifest {
            draft.add(&entry)?;
        }
        if size == MAX_BLOCK_SIZE as usize {
            return Ok(Outcome::Read { entry });
        }
        let (size, sha256) = self.end()?;
        let bare = is_first && !self.begins_as_list()?;
        Ok(Outcome::Last { entry, size, sha256, bare })
    }

    /// Whether the file begins as a list of blocks does.
    fn begins_as_list(&self) -> Result<bool, JobError> {
        let mut head = [0; MANIFEST_HEAD.len()];
        match self.file.read_exact_at(&mut head, 0) {
            Ok(()) => Ok(Manifest::may_begin(&head)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(self.cannot_read(&error)),
        }
    }

    /// The file gave no more bytes: its size and hash, unless it was changed meanwhile.
    fn end(&mut self) -> Result<(u64, Id), JobError> {
        let now = self.file.metadata().map_err(|error| self.cannot_read(&error))?;
        let stamp = |of: &Metadata| (of.len(), of.mtime(), of.mtime_nsec());
        if stamp(&now) != stamp(&self.at_start) || now.len() != self.offset {
            return Err(changed(&self.path));
        }
        let sha256 = Id::from_bytes(std::mem::take(&mut self.whole).finalize().into());
        if let Some(draft) = &mut self.manifest {
            draft.complete(self.offset, &sha256)?;
        }
        Ok((self.offset, sha256))
    }

    /// Reads and hashes as many bytes as a block has, or as the file has left: how many, and the block's key.
    fn read_block(&mut self, piece: &mut [u8]) -> Result<(usize, Key), JobError> {
        // Up to the end of the first block, the hash of the whole file is the block's.
        let (mut size, mut hash, is_first) = (0, Sha256::new(), self.offset == 0);
        while size < MAX_BLOCK_SIZE as usize {
            let wanted = piece.len().min(MAX_BLOCK_SIZE as usize - size);
            match (&*self.file).read(&mut piece[..wanted]) {
                Ok(0) => break,
                Ok(count) => {
                    if !is_first {
                        self.whole.update(&piece[..count]);
                    }
                    hash.update(&piece[..count]);
                    size += count;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cannot_read(&error)),
            }
        }
        if is_first {
            self.whole = hash.clone();
        }
        Ok((size, Key::from_bytes(hash.finalize().into())))
    }

    fn cannot_read(&self, error: &std::io::Error) -> JobError {
        io_failed(&format!("read '{}'", self.path.display()), error)
    }
}

/// A file that tells size 0 may give bytes all the same, and others each time, as those below /proc do: what it gives
/// now is copied to a file without a name, which is read and served in its stead.
fn spooled(mut file: File, at_start: Metadata) -> std::io::Result<(File, Metadata)> {
    let mut first = [0; 1];
    if at_start.len() > 0 || file.read(&mut first)? == 0 {
        return Ok((file, at_start));
    }
    let mut copy = tempfile::tempfile()?;
    copy.write_all(&first)?;
    std::io::copy(&mut file, &mut copy)?;
    copy.rewind()?;
    let at_start = copy.metadata()?;
    Ok((copy, at_start))
}

impl Draft {
    /// Of the file `of`, which gives `size` bytes.
    fn begin(manifest: &LocalManifest, of: &Metadata, size: u64) -> Result<Self, JobError> {
        let LocalManifest { path, form } = manifest;
        let place = Destination::of(path)?;
        place.check_for_manifest(of)?;
        place.check_folder()?;
        // Like any file that the user makes: as many may read it as the user lets.
        let as_usual = Permissions::from_mode(0o666);
        let file = tempfile::Builder::new().permissions(as_usual).tempfile_in(folder_of(&place.path));
        let file = file.map_err(|error| cannot_write(path, &error))?;
        let mut draft = Self { file, form: *form, place };
        // What the whole file hashes to is known in the end. Until then this manifest is one of another file.
        draft.write(&form.head(size, &Id::ZERO))?;
        Ok(draft)
    }

    fn add(&mut self, entry: &ManifestEntry) -> Result<(), JobError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(ledger: &Arc<Ledger>) -> Cancel {
        ledger.begin(1);
        ledger.of(1)
    }

    #[test]
    fn a_file_that_tells_size_0_is_read_by_what_it_gives() {
        let path = Path::new("/proc/self/stat");
        let (ledger, mut piece) = (Arc::new(Ledger::default()), [0; 1000]);
        let cancel = begun(&ledger);
        let mut next = || ReadingFiles(&ledger).next(1, path, None, &cancel, &mut piece).expect("readable");
        let Outcome::Last { entry, size, sha256, bare: true } = next() else { panic!("it gives bytes") };
        assert!(entry.size > 0 && std::fs::metadata(path).expect("there").len() == 0);
        assert_eq!((size, sha256), (entry.size, entry.key));
        assert!(ledger.lent(&entry.key).is_some());
    }

    #[test]
    fn a_file_that_a_reader_could_take_for_a_list_is_not_named_by_its_only_block() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let list = Manifest { level: 0, size: 0, sha256: None, folder: false, entries: Vec::new() }.encode();
        let (head, broken) = (MANIFEST_HEAD.as_bytes(), [MANIFEST_HEAD.as_bytes(), b"level x"].concat());
        for (bytes, is_bare) in [(&list[..], false), (head, false), (&broken, false), (&head[..18], true), (b"1", true)]
        {
            std::fs::write(&path, bytes).expect("writable");
            let (ledger, mut piece) = (Arc::new(Ledger::default()), [0; 1000]);
            let next = ReadingFiles(&ledger).next(1, &path, None, &begun(&ledger), &mut piece).expect("readable");
            assert!(matches!(next, Outcome::Last { bare, .. } if bare == is_bare), "{next:?}");
        }
    }

    #[test]
    fn a_reader_goes_on_where_it_stopped_and_one_that_was_forgotten_meanwhile_lends_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; MAX_BLOCK_SIZE as usize + 1]).expect("writable");
        let (ledger, mut piece) = (Arc::new(Ledger::default()), [0; 1000]);
        let cancel = begun(&ledger);
        let mut next = || ReadingFiles(&ledger).next(1, &path, None, &cancel, &mut piece).expect("readable");
        let (Outcome::Read { entry: first }, Outcome::Last { entry: second, size, .. }) = (next(), next()) else {
            panic!("two blocks");
        };
        assert_eq!(size, first.size + second.size);
        assert_eq!((first.size, second.size), (u64::from(MAX_BLOCK_SIZE), 1));
        assert!(ledger.lent(&first.key).is_some() && ledger.lent(&second.key).is_some());

        // The reader is with its job, and the file is forgotten.
        let reader = ledger.with(|books| books.readers.0.insert(1, None)).flatten().expect("it is back");
        ledger.with(|books| {
            books.lent.forget(1);
            drop(books.readers.forget(1));
        });
        let block = LentBlock::Bytes(Arc::from([7]));
        assert!(ReadingFiles(&ledger).put_back(1, reader, Some((second.key, block))).is_some());
        assert!(ledger.lent(&second.key).is_none());
    }

    #[test]
    fn of_a_file_of_full_blocks_the_end_comes_by_itself_and_one_that_grows_while_it_is_read_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; MAX_BLOCK_SIZE as usize]).expect("writable");
        let (ledger, mut piece) = (Arc::new(Ledger::default()), [0; 1000]);
        let cancel = begun(&ledger);
        let mut next = |put| ReadingFiles(&ledger).next(put, &path, None, &cancel, &mut piece);
        assert!(matches!(next(1), Ok(Outcome::Read { .. })));
        assert!(matches!(next(1), Ok(Outcome::End { size, .. }) if size == u64::from(MAX_BLOCK_SIZE)));
        assert!(matches!(next(2), Ok(Outcome::Read { .. })));
        File::options().append(true).open(&path).and_then(|mut file| file.write_all(b"1")).expect("writable");
        assert!(next(2).is_err_and(|error| error.reason.contains("changed")), "it is another file now");
    }

    #[test]
    fn a_file_that_is_forgotten_before_its_reader_is_there_keeps_no_reader() {
        let (ledger, path) = (Arc::new(Ledger::default()), Path::new("/proc/self/stat"));
        let cancel = begun(&ledger);
        // Its store was cancelled, and nothing was here to be dropped.
        ledger.cancel(1);
        ledger.forget_put(1);
        let error = ReadingFiles(&ledger).next(1, path, None, &cancel, &mut [0; 1000]).expect_err("it was cancelled");
        assert_eq!(error.kind, JobErrorKind::Cancelled);
        assert!(ledger.with(|books| books.readers.0.is_empty()), "nobody would ever close it");
    }
}
