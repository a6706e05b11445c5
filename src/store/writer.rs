//! Writing a block to disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};

use super::index::{Indexed, Stamp};
use super::{DiskStore, StoreError};
use crate::config::MAX_BLOCK_SIZE;
use crate::id::{Id, Key};

/// Writes one block. Dropped before [`commit`](Self::commit), it leaves nothing behind.
#[derive(Debug)]
pub struct BlockWriter<'a> {
    store: &'a DiskStore,
    key: Key,
    size: u32,
    written: u64,
    hash: Sha256,
    file: File,
    path: PathBuf,
    /// Bytes of the quota that are reserved for it: none if it replaces a copy of the same size.
    reserved: u64,
    /// Whether the file was renamed to its final name, so that nothing is left at `path`.
    named: bool,
}

impl<'a> BlockWriter<'a> {
    pub(super) fn new(store: &'a DiskStore, key: Key, size: u32) -> Result<Self, StoreError> {
        if size > MAX_BLOCK_SIZE {
            return Err(StoreError::Corrupt(key));
        }
        let reserved = store.reserve(&key, size)?;
        let path = store.temporary_path();
        match File::create_new(&path) {
            Ok(file) => {
                Ok(Self { store, key, size, written: 0, hash: Sha256::new(), file, path, reserved, named: false })
            }
            Err(error) => {
                store.index.lock().reserved -= reserved;
                Err(StoreError::on("write", path)(error))
            }
        }
    }

    /// Adds bytes, which are hashed on the way.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they exceed the announced size, or the system refuses to write.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.written += bytes.len() as u64;
        if self.written > u64::from(self.size) {
            return Err(StoreError::Corrupt(self.key));
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(StoreError::on("write", &self.path))
    }

    /// Makes the block durable and gives it its name. An older copy is replaced.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the bytes do not hash to the key or are too few, or the system refuses to write.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let hash = Id::from_bytes(std::mem::take(&mut self.hash).finalize().into());
        if hash != self.key || self.written != u64::from(self.size) {
            return Err(StoreError::Corrupt(self.key));
        }
        let path = self.store.path(&self.key);
        let failed = |error| StoreError::on("write the block", &path)(error);
        self.file.sync_data().map_err(failed)?;
        let bin = self.store.ready_bin(&self.key).map_err(failed)?;
        self.give_name(&path)?;
        let durable = self.store.sync_folder(&bin).map_err(failed);
        self.count(&path, durable)
    }

    /// Renames the file. The block does not count yet: a power cut may still take its name away.
    fn give_name(&mut self, path: &Path) -> Result<(), StoreError> {
        let _names = self.store.names.lock();
        if self.reserved == 0 {
            // The copy that it was to replace may have been deleted since, and its room given to another block.
            self.reserved = self.store.reserve(&self.key, self.size)?;
        }
        fs::rename(&self.path, path).map_err(StoreError::on("write the block", path))?;
        self.named = true;
        Ok(())
    }

    /// Enters the block in the index, now that its name is `durable`. If it is not, or the block was deleted meanwhile,
    /// nothing of it stays that did not count before.
    fn count(&mut self, path: &Path, durable: Result<(), StoreError>) -> Result<(), StoreError> {
        let stamp = Stamp::of(&self.file.metadata().map_err(StoreError::on("write the block", path))?);
        let _names = self.store.names.lock();
        let there = fs::symlink_metadata(path).ok().map(|there| Stamp::of(&there));
        let mut index = self.store.index.lock();
        index.reserved -= std::mem::take(&mut self.reserved);
        match durable {
            Ok(()) if there.is_some() => {
                index.insert(self.key, Indexed { size: self.size, verified: Some(stamp) });
                Ok(())
            }
            Ok(()) => Err(StoreError::NotFound(self.key)),
            Err(error) => {
                if there == Some(stamp) && !index.blocks.contains_key(&self.key) {
                    let _ = fs::remove_file(path);
                }
                Err(error)
            }
        }
    }
}

impl Drop for BlockWriter<'_> {
    fn drop(&mut self) {
        if self.reserved > 0 {
            self.store.index.lock().reserved -= self.reserved;
        }
        if !self.named
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::debug!("'{}' stays until the next start: {error}", self.path.display());
        }
    }
}

impl DiskStore {
    /// Reserves room for a block; returns how many bytes it adds to those held.
    fn reserve(&self, key: &Key, size: u32) -> Result<u64, StoreError> {
        let mut index = self.index.lock();
        let there = index.blocks.get(key).map_or(0, |block| block.size);
        let more = u64::from(size.saturating_sub(there));
        if more > 0 && index.used.saturating_add(index.reserved).saturating_add(more) > self.capacity {
            return Err(StoreError::Full { size: more, capacity: self.capacity });
        }
        index.reserved += more;
        Ok(more)
    }

    /// Makes what was renamed into `folder` outlive a power cut.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        #[cfg(test)]
        if self.refuses_syncs.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is failing"));
        }
        File::open(folder)?.sync_all()
    }

    /// The folder that the block's file goes to. The first block of a run finds or makes the folders of all, for one sync
    /// in all.
    fn ready_bin(&self, key: &Key) -> io::Result<PathBuf> {
        let bin = self.bin(key.as_bytes()[0]);
        if !self.bins_ready.load(Ordering::Acquire) || !bin.is_dir() {
            (0..=u8::MAX).try_for_each(|first| fs::create_dir_all(self.bin(first)))?;
            File::open(self.folder.join("blocks"))?.sync_all()?;
            self.bins_ready.store(true, Ordering::Release);
        }
        Ok(bin)
    }
}
