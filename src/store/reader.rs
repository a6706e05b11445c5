//! Reading blocks: every block that is given out hashes to its name.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::verified::FileStamp;
use super::{DiskStore, StoreError};
use crate::config::MAX_BLOCK_SIZE;
use crate::id::{Id, Key};

/// Bytes that are read and hashed at a time, at most: so few that the C library asks the system for no memory just for
/// them.
const CHUNK: usize = 64 * 1024;

/// A block that is known to hash to its name, opened at its beginning.
#[derive(Debug)]
pub struct BlockReader {
    /// The open file of the block.
    pub file: File,
    /// The block's size in bytes.
    pub size: u32,
}

impl DiskStore {
    /// Opens a block for reading. Its bytes are hashed unless its file is unchanged since they were last hashed.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Damaged`] if its bytes do not hash to its name: it is moved aside.
    pub fn read(&self, key: &Key) -> Result<BlockReader, StoreError> {
        self.open_sound(key, |_, stamp| self.verified.knows(key, stamp))
    }

    /// Hashes a block as it lies on the disk, whatever is known of it; its size in bytes. What the system has of it in
    /// memory is given up first, and not kept: a disk rots, and blocks that no peer asks for need no room there.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn rehash(&self, key: &Key) -> Result<u32, StoreError> {
        let block = self.open_sound(key, |file, _| {
            forget(file);
            false
        })?;
        forget(&block.file);
        Ok(block.size)
    }

    /// Opens a block; its bytes are hashed unless its file, which has this stamp, `is_known`.
    fn open_sound(&self, key: &Key, is_known: impl Fn(&File, &FileStamp) -> bool) -> Result<BlockReader, StoreError> {
        let path = self.path(key);
        let failed = |error: io::Error| match error.kind() {
            // Where the folder of all blocks is away, none of them is lost.
            io::ErrorKind::NotFound if !self.is_gone() && self.has_blocks_folder() => StoreError::NotFound(*key),
            _ => self.failed("read the block", &path)(error),
        };
        self.be_here()?;
        // Only a plain file is opened: opening a pipe would wait for its writer.
        let seen = fs::symlink_metadata(&path).map_err(failed)?;
        if !seen.is_file() {
            return self.replaced(key, &path, &FileStamp::of(&seen));
        }
        let file = File::open(&path).map_err(failed)?;
        let stamp = FileStamp::of(&file.metadata().map_err(failed)?);
        let size = u32::try_from(stamp.size).ok().filter(|&size| size <= MAX_BLOCK_SIZE);
        if !is_known(&file, &stamp) {
            if size.is_none() || hash_all(&file).map_err(failed)? != *key {
                return self.replaced(key, &path, &stamp);
            }
            self.verified.add(key, &stamp);
        }
        Ok(BlockReader { file, size: size.unwrap_or(0) })
    }

    /// Whether a file under the block's name was moved aside because it was not the block.
    pub fn found_damaged(&self, key: &Key) -> bool {
        self.aside(key).exists()
    }

    /// Where a file under the block's name is moved that is not the block.
    pub(super) fn aside(&self, key: &Key) -> PathBuf {
        self.folder.join("damaged").join(key.to_string())
    }

    /// Whether the folder of all blocks is there, where this store has one.
    pub(super) fn has_blocks_folder(&self) -> bool {
        self.place.is_none() || self.folder.join("blocks").is_dir()
    }

    /// Moves aside a file under the block's name that is not the block; `seen` is its stamp. If another copy has been
    /// written in the meantime, that one is read.
    fn replaced(&self, key: &Key, path: &Path, seen: &FileStamp) -> Result<BlockReader, StoreError> {
        match self.take_away(path, seen, &self.aside(key)) {
            Ok(true) => Err(StoreError::Damaged(*key)),
            Ok(false) => self.read(key),
            // The file itself is gone, not the place where it was to go.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => self.read(key),
            Err(error) => {
                // It is hashed again whenever it is asked for, and never served.
                log::warn!("cannot move aside the damaged block '{}': {error}", path.display());
                Err(StoreError::Damaged(*key))
            }
        }
    }
}

/// SHA-256 of a whole file, from its first byte on, wherever its read position is.
///
/// # Errors
/// The system refuses an operation on the file.
pub fn hash_all(file: &File) -> io::Result<Id> {
    let (mut hash, mut at) = (Sha256::new(), 0);
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(CHUNK);
    let mut chunk = vec![0; len.clamp(1, CHUNK)];
    loop {
        match file.read_at(&mut chunk, at) {
            Ok(0) => return Ok(Id::from_bytes(hash.finalize().into())),
            Ok(count) => {
                hash.update(&chunk[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Has the system give up what it has of a file in memory. Advice only: where it is not taken, or there is no such call
/// (Apple's systems), nothing of a result changes.
fn forget(file: &File) {
    #[cfg(not(target_vendor = "apple"))]
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    #[cfg(target_vendor = "apple")]
    let _ = file;
}
