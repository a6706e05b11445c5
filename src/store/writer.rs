//! A block on its way to disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::{DiskStore, Indexed, Stamp, StoreError};
use crate::id::{Id, Key};

/// Writes one block. Dropped before [`commit`](Self::commit), it leaves nothing behind.
pub struct BlockWriter<'a> {
    store: &'a DiskStore,
    key: Key,
    size: u32,
    written: u64,
    hash: Sha256,
    file: File,
    path: PathBuf,
}

impl<'a> BlockWriter<'a> {
    pub(super) fn new(store: &'a DiskStore, key: Key, size: u32) -> Result<Self, StoreError> {
        {
            let mut index = store.index.lock();
            let needed = u64::from(size);
            if index.used.saturating_add(index.reserved).saturating_add(needed) > store.capacity {
                return Err(StoreError::Full { size: needed, capacity: store.capacity });
            }
            index.reserved += needed;
        }
        let path = store.temporary_path();
        match File::options().write(true).create_new(true).open(&path) {
            Ok(file) => Ok(Self { store, key, size, written: 0, hash: Sha256::new(), file, path }),
            Err(error) => {
                store.index.lock().reserved -= u64::from(size);
                Err(StoreError::on("write", path)(error))
            }
        }
    }

    /// Adds bytes, which are hashed on the way.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they are more than the size announced, or what the system refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.written += bytes.len() as u64;
        if self.written > u64::from(self.size) {
            return Err(StoreError::Corrupt(self.key));
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(StoreError::on("write", &self.path))
    }

    /// Makes the block durable and gives it its name. It was there already? Then this copy takes its place.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the bytes do not hash to the key or are too few, or what the system refuses.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let hash = Id::from_bytes(std::mem::take(&mut self.hash).finalize().into());
        if hash != self.key || self.written != u64::from(self.size) {
            return Err(StoreError::Corrupt(self.key));
        }
        let path = self.store.path(&self.key);
        let bin = path.parent().unwrap_or(&self.store.folder);
        let name = || {
            self.file.sync_data()?;
            if let Err(error) = fs::rename(&self.path, &path) {
                if error.kind() != std::io::ErrorKind::NotFound {
                    return Err(error);
                }
                fs::create_dir_all(bin)?;
                File::open(self.store.folder.join("blocks"))?.sync_all()?;
                fs::rename(&self.path, &path)?;
            }
            File::open(bin)?.sync_all()?;
            self.file.metadata()
        };
        let metadata = name().map_err(StoreError::on("write the block", &path))?;
        let mut index = self.store.index.lock();
        let block = Indexed { size: self.size, verified: Some(Stamp::of(&metadata)) };
        let replaced = index.blocks.insert(self.key, block).map_or(0, |old| u64::from(old.size));
        index.used = index.used - replaced + u64::from(self.size);
        Ok(())
    }
}

impl Drop for BlockWriter<'_> {
    fn drop(&mut self) {
        self.store.index.lock().reserved -= u64::from(self.size);
        // After a commit there is nothing under this name any more.
        let _ = fs::remove_file(&self.path);
    }
}
