//! Blocks on disk: one plain file each, under its own SHA-256, that a student can `ls` and `sha256sum`.
//!
//! ```text
//! DATA/lock            held while a peer uses the folder
//! DATA/id              this peer's id
//! DATA/peers.json      peers to find the network again
//! DATA/blocks/ab/ab…   a block, named by the 64 hexadecimal digits of its key
//! DATA/tmp/            blocks that are being written; emptied at start
//! DATA/damaged/        files that did not hash to their name
//! ```
//!
//! # Architecture invariants
//! - A file below `blocks/` is whole, always: it was written to `tmp/`, hashed, made durable, then renamed.
//! - A block is durable when [`BlockWriter::commit`] returns: the bytes were synced before the rename, the folder after.
//!   Several writers at once share what a sync costs, so callers write in parallel.
//! - A block is hashed before it is served for the first time, and again whenever its file shows that somebody else
//!   touched it; bytes that do not hash to their name never leave this room.

mod error;
mod scan;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

pub use error::{StoreError, StoreErrorKind};
pub use writer::BlockWriter;

use crate::id::{Id, Key};
use crate::peer::Peer;

/// Bytes that are read and hashed at a time.
const CHUNK: usize = 128 * 1024;

/// A data folder that this process alone uses.
#[derive(Debug)]
pub struct DiskStore {
    folder: PathBuf,
    capacity: u64,
    index: Mutex<Index>,
    /// Numbers temporary files.
    temporary: std::sync::atomic::AtomicU64,
    _lock: File,
}

/// What is on disk, so that nobody needs to look there for it.
///
/// *Protects*: which blocks there are, their sizes and stamps, and the sums for the quota. *Held for*: a look or a
/// change of these. *Never held while*: a file is opened, read, written, hashed or synced.
#[derive(Debug, Default)]
struct Index {
    blocks: HashMap<Key, Indexed>,
    /// Bytes of all blocks.
    used: u64,
    /// Bytes of blocks that are being written.
    reserved: u64,
}

#[derive(Debug)]
struct Indexed {
    size: u32,
    /// What the file looked like when its bytes were last known to hash to its name.
    verified: Option<Stamp>,
}

/// What changes when anybody writes to a file or puts another in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// A block that is known to hash to its name, opened at its beginning.
#[derive(Debug)]
pub struct BlockReader {
    /// The file.
    pub file: File,
    /// Its bytes.
    pub size: u32,
}

impl DiskStore {
    /// Opens the data folder `folder`, creating what is missing. Its blocks may have `capacity` bytes in all.
    ///
    /// # Errors
    /// [`StoreError::InUse`], or what the system refuses.
    pub fn open(folder: &Path, capacity: Option<u64>) -> Result<Self, StoreError> {
        for part in ["", "blocks", "tmp", "damaged"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(StoreError::on("create the folder", &path))?;
        }
        let lock = lock(folder)?;
        let blocks = scan::blocks(&folder.join("blocks"))?;
        scan::empty(&folder.join("tmp"))?;
        let used = blocks.values().map(|block| u64::from(block.size)).sum();
        let index = Mutex::new(Index { blocks, used, reserved: 0 });
        let capacity = capacity.unwrap_or(u64::MAX);
        Ok(Self { folder: folder.to_owned(), capacity, index, temporary: Default::default(), _lock: lock })
    }

    /// Every block with its size in bytes, in the order of keys.
    pub fn held(&self) -> Vec<(Key, u32)> {
        let mut held: Vec<_> = self.index.lock().blocks.iter().map(|(key, block)| (*key, block.size)).collect();
        held.sort_unstable();
        held
    }

    /// Bytes of all blocks.
    pub fn usage(&self) -> u64 {
        self.index.lock().used
    }

    /// Begins to write the block `key` of `size` bytes. Until it is committed nobody sees anything of it.
    ///
    /// # Errors
    /// [`StoreError::Full`] if the quota leaves no room for it, or what the system refuses.
    pub fn begin(&self, key: Key, size: u32) -> Result<BlockWriter<'_>, StoreError> {
        BlockWriter::new(self, key, size)
    }

    /// Opens a block for reading.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Damaged`] if its bytes do not hash to its name, once: it is moved aside.
    pub fn read(&self, key: &Key) -> Result<BlockReader, StoreError> {
        let known = match self.index.lock().blocks.get(key) {
            Some(block) => block.verified,
            None => return Err(StoreError::NotFound(*key)),
        };
        let path = self.path(key);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.drop_from_index(key);
                return Err(StoreError::Damaged(*key));
            }
            Err(error) => return Err(StoreError::on("read the block", path)(error)),
        };
        let failed = |error| StoreError::on("read the block", &path)(error);
        let stamp = Stamp::of(&file.metadata().map_err(failed)?);
        if known != Some(stamp) {
            if hash(&mut file).map_err(failed)? != *key {
                self.set_aside(key, &path)?;
                return Err(StoreError::Damaged(*key));
            }
            file.rewind().map_err(failed)?;
            if let Some(block) = self.index.lock().blocks.get_mut(key) {
                block.verified = Some(stamp);
            }
        }
        Ok(BlockReader { file, size: stamp.size as u32 })
    }

    /// Deletes a block; whether it was there.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn delete(&self, key: &Key) -> Result<bool, StoreError> {
        let was_here = self.drop_from_index(key);
        let path = self.path(key);
        match fs::remove_file(&path) {
            Ok(()) => Ok(was_here),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(was_here),
            Err(error) => Err(StoreError::on("delete the block", path)(error)),
        }
    }

    /// The id of this folder's peer, if it has run before.
    ///
    /// # Errors
    /// [`StoreError::BadId`], or what the system refuses.
    pub fn load_id(&self) -> Result<Option<Id>, StoreError> {
        let path = self.folder.join("id");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| StoreError::BadId(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::on("read", path)(error)),
        }
    }

    /// Remembers the id of this folder's peer.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn save_id(&self, id: &Id) -> Result<(), StoreError> {
        self.replace("id", format!("{id}\n").as_bytes())
    }

    /// The peers that were known when this folder's peer last ran. A file that cannot be read has none.
    pub fn load_peers(&self) -> Vec<Peer> {
        let path = self.folder.join("peers.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                log::warn!("cannot read '{}': {error}; starting without remembered peers", path.display());
                return Vec::new();
            }
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            log::warn!("'{}' is damaged ({error}); starting without remembered peers", path.display());
            Vec::new()
        })
    }

    /// Remembers peers for the next start.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn save_peers(&self, peers: &[Peer]) -> Result<(), StoreError> {
        let text = serde_json::to_vec_pretty(peers)
            .map_err(|error| StoreError::on("write", self.folder.join("peers.json"))(io::Error::other(error)))?;
        self.replace("peers.json", &text)
    }

    /// Puts a small file in the place of another, as one step.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (path, temporary) = (self.folder.join(name), self.temporary_path());
        let replace = || {
            fs::write(&temporary, bytes)?;
            File::open(&temporary)?.sync_data()?;
            fs::rename(&temporary, &path)
        };
        replace().map_err(StoreError::on("write", &path))
    }

    fn temporary_path(&self) -> PathBuf {
        let number = self.temporary.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.folder.join("tmp").join(number.to_string())
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name = key.to_string();
        let mut path = self.folder.join("blocks");
        path.push(&name[..2]);
        path.push(name);
        path
    }

    fn drop_from_index(&self, key: &Key) -> bool {
        let mut index = self.index.lock();
        let block = index.blocks.remove(key);
        index.used -= block.as_ref().map_or(0, |block| u64::from(block.size));
        block.is_some()
    }

    fn set_aside(&self, key: &Key, path: &Path) -> Result<(), StoreError> {
        self.drop_from_index(key);
        let aside = self.folder.join("damaged").join(key.to_string());
        fs::rename(path, aside).map_err(StoreError::on("move aside the damaged block", path))
    }
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(StoreError::on("write", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(StoreError::on("lock", path)(error)),
    }
}

fn hash(file: &mut File) -> io::Result<Id> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(Id::from_bytes(hash.finalize().into())),
            count => hash.update(&chunk[..count]),
        }
    }
}
