//! Reading blocks: every block that is given out hashes to its name.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::index::Stamp;
use super::{DiskStore, StoreError};
use crate::id::{Id, Key};

/// Bytes that are read and hashed at a time, at most.
const CHUNK: usize = 128 * 1024;

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
    /// [`StoreError::NotFound`]; [`StoreError::Damaged`] if its bytes do not hash to its name or its file is gone,
    /// once: what is left of it is moved aside and it counts as not here.
    pub fn read(&self, key: &Key) -> Result<BlockReader, StoreError> {
        let (size, verified) = match self.index.lock().blocks.get(key) {
            Some(block) => (block.size, block.verified),
            None => return Err(StoreError::NotFound(*key)),
        };
        let path = self.path(key);
        // Only a plain file is opened: opening a pipe would wait for its writer.
        if let Some(seen) = fs::symlink_metadata(&path).ok().filter(|seen| !seen.is_file()) {
            return self.replaced(key, &path, Stamp::of(&seen));
        }
        let file = self.open_block(key, &path)?;
        let failed = |error| StoreError::on("read the block", &path)(error);
        let stamp = Stamp::of(&file.metadata().map_err(failed)?);
        if verified != Some(stamp) {
            if stamp.size != u64::from(size) || hash_all(&file).map_err(failed)? != *key {
                return self.replaced(key, &path, stamp);
            }
            if let Some(block) = self.index.lock().blocks.get_mut(key) {
                block.verified = Some(stamp);
            }
        }
        Ok(BlockReader { file, size })
    }

    /// Handles a file under the block's name that is not the block; `seen` is its stamp.
    fn replaced(&self, key: &Key, path: &Path, seen: Stamp) -> Result<BlockReader, StoreError> {
        // If another copy has been written in the meantime, that one is read.
        if self.set_aside(key, path, seen) { Err(StoreError::Damaged(*key)) } else { self.read(key) }
    }

    fn open_block(&self, key: &Key, path: &Path) -> Result<File, StoreError> {
        let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let mut file = File::open(path);
        if file.as_ref().is_err_and(missing) {
            // Was it deleted, rewritten, or lost? While no name can change, the index tells.
            let _names = self.names.lock();
            file = File::open(path);
            if file.as_ref().is_err_and(missing) {
                let lost = self.index.lock().remove(key);
                return Err(if lost { StoreError::Damaged(*key) } else { StoreError::NotFound(*key) });
            }
        }
        file.map_err(StoreError::on("read the block", path))
    }

    /// Moves a damaged block aside, if its file still has the stamp `seen`; returns whether it had.
    fn set_aside(&self, key: &Key, path: &Path, seen: Stamp) -> bool {
        let _names = self.names.lock();
        if !fs::symlink_metadata(path).is_ok_and(|now| Stamp::of(&now) == seen) {
            return false;
        }
        self.index.lock().remove(key);
        if let Err(error) = fs::rename(path, self.folder.join("damaged").join(key.to_string())) {
            // It is served no more in any case: the index does not have it, and the next start hashes it again.
            log::warn!("cannot move aside the damaged block '{}': {error}", path.display());
        }
        true
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
