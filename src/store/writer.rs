//! Writing a block to disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};

use super::verified::FileStamp;
use super::{DiskStore, StoreError, check_room, room};
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
    /// Whether the file was renamed to its final name, so that nothing is left at `path`.
    named: bool,
}

impl<'a> BlockWriter<'a> {
    pub(super) fn new(store: &'a DiskStore, key: Key, size: u32) -> Result<Self, StoreError> {
        if size > MAX_BLOCK_SIZE {
            return Err(StoreError::Corrupt(key));
        }
        let path = store.temporary_path();
        store.check_room(size)?;
        let file = store.with_folder("tmp", || File::create_new(&path)).map_err(store.failed("write", &path))?;
        Ok(Self { store, key, size, written: 0, hash: Sha256::new(), file, path, named: false })
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
        #[cfg(test)]
        self.store.fault.strike().map_err(StoreError::on("write", &self.path))?;
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
        let failed = |error| self.store.failed("write the block", &path)(error);
        #[cfg(test)]
        self.store.fault.strike().map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        let bin = self.store.ready_bin(&self.key).map_err(failed)?;
        let renewed = fs::symlink_metadata(&path).is_ok();
        fs::rename(&self.path, &path).map_err(failed)?;
        self.named = true;
        let durable = self.store.sync_folder(&bin).and_then(|()| self.file.metadata());
        // A power cut may still take its name away. But a name that was here before is durable.
        if durable.is_err() && !renewed {
            self.take_back(&path);
        }
        self.store.verified.add(&self.key, &FileStamp::of(&durable.map_err(failed)?));
        Ok(())
    }

    /// Gives the file its temporary name again, with which it goes.
    fn take_back(&mut self, path: &Path) {
        let stamp = self.file.metadata().map(|file| FileStamp::of(&file));
        let taken = stamp.and_then(|stamp| self.store.take_away(path, &stamp, &self.path));
        self.named = !taken.unwrap_or_else(|error| {
            log::warn!("'{}' stays, and counts from the next start on: {error}", path.display());
            false
        });
    }
}

impl Drop for BlockWriter<'_> {
    fn drop(&mut self) {
        if !self.named
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::debug!("'{}' stays until the next start: {error}", self.path.display());
        }
    }
}

impl DiskStore {
    /// Whether a block of `size` bytes leaves what is [kept free](check_room) of the disk.
    ///
    /// # Errors
    /// It does not, or the system does not tell.
    pub fn check_room(&self, size: u32) -> Result<(), StoreError> {
        self.be_here()?;
        check_room(&self.folder, size.into()).map_err(self.failed("write blocks into", &self.folder))
    }

    /// Bytes that the disk takes beside what is [kept free](check_room); none if that is not known.
    pub fn room(&self) -> Option<u64> {
        room(&self.folder).ok().flatten()
    }

    /// Makes what was renamed into `folder` outlive a power cut.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.fault.strike()?;
        File::open(folder)?.sync_all()
    }

    /// The folder that the block's file goes to. The first block of a run finds or makes the folders of all, for one
    /// sync in all.
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
