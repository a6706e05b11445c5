//! Blocks on disk: one plain file each, under its own SHA-256, that a student can `ls` and `sha256sum`.
//!
//! ```text
//! DATA/lock            held while a peer uses the folder; its time of change tells when one ran last
//! DATA/id              this peer's id
//! DATA/peers.json      peers to find the network again
//! DATA/leases          on whose behalf blocks are kept: a line each
//! DATA/blocks/ab/ab…   a block, named by the 64 hexadecimal digits of its key
//! DATA/tmp/            blocks that are being written; those of an earlier run are removed at start
//! DATA/damaged/        files that did not hash to their name
//! ```
//!
//! # Architecture invariants
//! - Files are all there is here. Which blocks this peer holds, how many more it may take, and who writes or deletes
//!   which: that is the [node](crate::node)'s. So blocks need no lock: any thread opens the file of a key and has the
//!   block, or finds none. (The journal of leases is one file, and has a lock.)
//! - A file below `blocks/` is whole, always: it was written to `tmp/`, hashed, made durable, then renamed.
//! - A block is durable when [`BlockWriter::commit`] returns: the bytes were synced before the rename, the folder
//!   after. If its folder cannot be synced, its file goes again. Several writers at once share what a sync costs, so
//!   callers write in parallel.
//! - A block is hashed before it is served for the first time, and again whenever its file shows that another program
//!   touched it; bytes that do not hash to their name never leave this room.

mod error;
mod journal;
mod memory;
mod reader;
mod room;
mod scan;
mod verified;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use error::{StoreError, StoreErrorKind};
pub(crate) use error::{is_shortage, remedy};
pub use memory::remembers_peers;
pub use reader::{BlockReader, hash_all};
pub use room::{Free, check_room, free, room};
pub use writer::BlockWriter;

use self::verified::{FileStamp, Verified};
use crate::id::Key;
use crate::lease::UnixTime;
use crate::locks::{self, Ranked};
use crate::whole_file::open_lock;

/// A data folder that this process alone uses.
#[derive(Debug)]
pub struct DiskStore {
    folder: PathBuf,
    verified: Verified,
    /// Whether the 256 folders of blocks are known to be there and to survive a power cut. A thread that sees it set
    /// comes after the sync that made it so (`Release`, `Acquire`).
    bins_ready: AtomicBool,
    /// Numbers temporary files: each number is given once, in whatever order (`Relaxed`).
    temporary: AtomicU64,
    #[cfg(test)]
    fault: tests::DiskFault,
    /// It was told that the folder is gone, and not yet that it is back. Nothing else rests on it (`Relaxed`).
    gone: AtomicBool,
    /// The device and the number of the folder; none where there is no folder, or that is not known.
    place: Option<(u64, u64)>,
    /// The file `lock`, locked as long as it is open; none where there is no folder.
    lock: Option<File>,
    /// The folder, locked like it: a file can be removed, and made anew by another peer.
    _folder_lock: Option<File>,
    /// When a peer ran in the folder last, before this one.
    ran: UnixTime,
    journal: Ranked<journal::Length>,
}

/// Where nothing is, and nothing can be made.
const NOWHERE: &str = "/proc/self/no data folder";

impl DiskStore {
    /// Opens the data folder `folder`, creating what is missing.
    ///
    /// # Errors
    /// [`StoreError::InUse`]; [`StoreError::Unusable`] if it is no folder or may not be written;
    /// [`StoreError::InTheWay`]; or the system refuses to read it.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        if folder.as_os_str().is_empty() {
            // The system takes it for the working directory here, and for nothing there.
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it has no name");
            return Err(StoreError::Unusable { path: folder.to_owned(), error });
        }
        let (lock, folder_lock) = prepare(folder)?;
        // Before anything here is changed.
        let ran = memory::ran(folder, &lock);
        scan::clear_away(&folder.join("tmp"))?;
        Ok(Self { ran, _folder_lock: Some(folder_lock), ..Self::of(folder.to_owned(), Some(lock)) })
    }

    /// Whether a folder is the data folder of a peer.
    pub fn is_at(folder: &Path) -> bool {
        ["lock", "id"].iter().all(|name| folder.join(name).is_file()) && folder.join("blocks").is_dir()
    }

    /// The store of a guest, who holds nothing: it has no folder, has no block and takes none.
    pub fn nowhere() -> Self {
        Self::of(PathBuf::from(NOWHERE), None)
    }

    fn of(folder: PathBuf, lock: Option<File>) -> Self {
        let place = lock.as_ref().and_then(|_| fs::metadata(&folder).ok()).map(|there| (there.dev(), there.ino()));
        Self {
            folder,
            place,
            verified: Verified::default(),
            bins_ready: AtomicBool::new(false),
            temporary: AtomicU64::new(0),
            #[cfg(test)]
            fault: tests::DiskFault::default(),
            gone: AtomicBool::new(false),
            lock,
            _folder_lock: None,
            ran: 0,
            journal: Ranked::new(&locks::JOURNAL, journal::Length::default()),
        }
    }

    /// Whether the folder, or the disk that it lies on, is gone. That is told the first time, and once it is back: what
    /// is in it counts again then.
    fn is_gone(&self) -> bool {
        let Some(place) = self.place else { return false };
        // Another folder in its place may be another peer's.
        let gone = match fs::metadata(&self.folder) {
            Ok(there) => (there.dev(), there.ino()) != place,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let folder = self.folder.display();
        match (gone, self.gone.swap(gone, Ordering::Relaxed)) {
            (true, false) => log::error!(
                "the data folder '{folder}' is gone: until it is back, this peer can give out none of its blocks and keep no \
                 more; end it, if another folder is to be used"
            ),
            (false, true) => log::warn!("the data folder '{folder}' is back, and what is in it"),
            _ => {}
        }
        gone
    }

    /// Whether the folder of all blocks is there. That the data folder is gone, or is back, is told.
    pub fn is_here(&self) -> bool {
        !self.is_gone() && self.has_blocks_folder()
    }

    /// Whether blocks are kept in a folder at all.
    pub fn has_place(&self) -> bool {
        self.lock.is_some()
    }

    /// Fails while the folder is known to be gone: what stands in its place now is not this peer's.
    fn be_here(&self) -> Result<(), StoreError> {
        let gone = self.gone.load(Ordering::Relaxed) && self.is_gone();
        if gone { Err(StoreError::Gone(self.folder.clone())) } else { Ok(()) }
    }

    /// Makes an error for `map_err`: `action` failed on `path`.
    fn failed(&self, action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.into();
        move |error| match error.kind() {
            io::ErrorKind::NotFound if self.is_gone() => StoreError::Gone(self.folder.clone()),
            _ => StoreError::on(action, path)(error),
        }
    }

    /// Does what takes this folder of the store. If it is missing, it is made anew, and that done once more.
    fn with_folder<T>(&self, name: &str, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let path = self.folder.join(name);
        // Another thread may have made it in this moment.
        let remake = || !self.is_gone() && (DirBuilder::new().mode(0o700).create(&path).is_ok() || path.is_dir());
        match act() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && remake() => act(),
            done => done,
        }
    }

    /// Looks through the folder for blocks: each with its size in bytes, in the order of keys. A block that a power cut
    /// left empty is moved aside.
    ///
    /// # Errors
    /// The system refuses to read a folder.
    pub fn scan(&self) -> Result<Vec<(Key, u32)>, StoreError> {
        if self.lock.is_none() { Ok(Vec::new()) } else { scan::blocks(&self.folder) }
    }

    /// Begins to write the block `key` of `size` bytes. Until it is committed, no reader sees it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if no block is that large; or it would take what is [kept free](check_room) of the disk,
    /// or the system refuses to create the file.
    pub fn begin(&self, key: Key, size: u32) -> Result<BlockWriter<'_>, StoreError> {
        BlockWriter::new(self, key, size)
    }

    /// Deletes a block, if it is there, and what was moved aside under its name before: no peer is told any more that
    /// it is damaged here. A reader that has it open can read on.
    ///
    /// # Errors
    /// The system refuses to remove the file.
    pub fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Ok(()) => {
                let _ = fs::remove_file(self.aside(key));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::on("delete the block", path)(error)),
        }
    }

    /// Moves the file at `path`, which had the stamp `seen`, to `to`. Returns false if another file has taken its place
    /// meanwhile: that one stays, or goes back.
    fn take_away(&self, path: &Path, seen: &FileStamp, to: &Path) -> io::Result<bool> {
        if FileStamp::of(&fs::symlink_metadata(path)?) != *seen {
            return Ok(false);
        }
        self.with_folder("damaged", || fs::rename(path, to))?;
        let is_the_one = fs::symlink_metadata(to)?.ino() == seen.inode;
        if !is_the_one {
            fs::rename(to, path)?;
        }
        Ok(is_the_one)
    }

    fn temporary_path(&self) -> PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        self.folder.join("tmp").join(scan::temporary_name(number))
    }

    /// The folder of all blocks whose keys begin with this byte.
    fn bin(&self, first: u8) -> PathBuf {
        let mut path = self.folder.join("blocks");
        path.push(format!("{first:02x}"));
        path
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.bin(key.as_bytes()[0]).join(key.to_string())
    }
}

/// Makes the data folder and takes its locks: on the file `lock`, as older programs do, and on the folder.
fn prepare(folder: &Path) -> Result<(File, File), StoreError> {
    let unusable = |error| StoreError::Unusable { path: folder.to_owned(), error };
    if folder.exists() && !folder.is_dir() {
        return Err(unusable(io::ErrorKind::NotADirectory.into()));
    }
    // A block's name is all that it takes to read it, so no other user may list them. Of a folder that the user made,
    // the mode is the user's.
    let mut private = DirBuilder::new();
    private.recursive(true).mode(0o700);
    private.create(folder).map_err(|error| match fs::symlink_metadata(folder) {
        Ok(there) if there.is_symlink() => StoreError::Dangling(folder.to_owned()),
        _ => unusable(error),
    })?;
    for part in ["blocks", "tmp", "damaged"].map(|name| folder.join(name)) {
        private.create(&part).map_err(|error| match fs::symlink_metadata(&part) {
            Ok(_) => StoreError::InTheWay(part.clone(), "a folder"),
            Err(_) => unusable(error),
        })?;
    }
    let path = folder.join("lock");
    let lock = open_lock(&path).map_err(|error| match fs::symlink_metadata(&path) {
        Ok(there) if !there.is_file() => StoreError::InTheWay(path.clone(), "a file"),
        _ => unusable(error),
    })?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let folder_lock = File::open(folder).map_err(unusable)?;
    match folder_lock.try_lock() {
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(folder.to_owned())),
        // Not every network's file system locks folders.
        Ok(()) | Err(TryLockError::Error(_)) => Ok((lock, folder_lock)),
    }
}
