//! A simulated peer's disk, which outlives a crash, and its workers' open files, which do not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::content::{Bytes, size_of};
use super::folder::SimFolder;
use crate::file::{LocalManifest, ManifestEntry};
use crate::id::{Id, Key};
use crate::lease::Note;
use crate::node::job::{GetId, PutId};
use crate::peer::Peer;

/// A peer's disk.
#[derive(Default)]
pub struct Disk {
    blocks: BTreeMap<Key, Bytes>,
    /// Blocks whose bytes on disk no longer hash to their key, which the peer has not noticed yet.
    rotten: BTreeSet<Key>,
    files: BTreeMap<PathBuf, Bytes>,
    /// The working directory of a peer of the classroom ring.
    pub(super) folder: SimFolder,
    pub(super) partials: BTreeMap<PathBuf, Partial>,
    pub(super) peers: Vec<Peer>,
    /// The journal of leases.
    pub(super) notes: Vec<Note>,
    used: u64,
    /// The most bytes that all blocks together may have.
    pub(super) capacity: Option<u64>,
}

/// A file that is being retrieved.
pub(super) struct Partial {
    pub(super) root: Id,
    pub(super) bytes: Vec<u8>,
}

/// The result of reading a block.
pub(super) enum BlockReading {
    Sound(Bytes),
    Rotten,
    Absent,
}

impl Disk {
    /// The blocks and their sizes in bytes, in the order of keys: what a peer finds when it starts.
    pub fn held(&self) -> Vec<(Key, u32)> {
        self.blocks.iter().map(|(&key, bytes)| (key, size_of(bytes))).collect()
    }

    /// Whether a block is here, sound or not.
    pub fn has(&self, key: &Key) -> bool {
        self.blocks.contains_key(key)
    }

    /// Whether a block is here whose bytes are what its key says.
    pub fn has_sound(&self, key: &Key) -> bool {
        self.blocks.contains_key(key) && !self.rotten.contains(key)
    }

    /// Puts a file on the disk.
    pub fn write_file(&mut self, path: impl Into<PathBuf>, bytes: Bytes) {
        self.files.insert(path.into(), bytes);
    }

    /// The bytes of a file, if it is there.
    pub fn read_file(&self, path: &Path) -> Option<&Bytes> {
        self.files.get(path)
    }

    /// The working directory of a peer of the classroom ring.
    pub fn folder(&self) -> &SimFolder {
        &self.folder
    }

    /// The working directory, for a user to put files into.
    pub fn folder_mut(&mut self) -> &mut SimFolder {
        &mut self.folder
    }

    /// Damages the block that is `nth` in the order of keys. Returns its key, if there is any block.
    pub fn rot(&mut self, nth: usize) -> Option<Key> {
        let key = *self.blocks.keys().nth(nth % self.blocks.len().max(1))?;
        self.rotten.insert(key);
        Some(key)
    }

    pub(super) fn read(&self, key: &Key) -> BlockReading {
        match self.blocks.get(key) {
            Some(_) if self.rotten.contains(key) => BlockReading::Rotten,
            Some(bytes) => BlockReading::Sound(bytes.clone()),
            None => BlockReading::Absent,
        }
    }

    /// Keeps a block; returns false if there is no room for it.
    pub(super) fn keep(&mut self, key: Key, bytes: Bytes) -> bool {
        let more = bytes.len() as u64;
        if self.has_sound(&key) {
            return true;
        }
        if self.capacity.is_some_and(|capacity| self.used + more > capacity) {
            return false;
        }
        self.delete(&key);
        self.used += more;
        self.blocks.insert(key, bytes);
        true
    }

    pub(super) fn delete(&mut self, key: &Key) {
        drop(self.take(key));
    }

    /// Deletes a block. Returns its bytes, if it was here.
    pub(super) fn take(&mut self, key: &Key) -> Option<Bytes> {
        self.rotten.remove(key);
        let bytes = self.blocks.remove(key)?;
        self.used -= bytes.len() as u64;
        Some(bytes)
    }
}

/// The files and offers that a running peer's workers have open; a crash closes them.
#[derive(Default)]
pub(super) struct OpenFiles {
    pub(super) readers: BTreeMap<PutId, SimReader>,
    offers: BTreeMap<Key, SimOffer>,
    pub(super) writers: BTreeMap<GetId, SimWriter>,
}

struct SimOffer {
    bytes: Bytes,
    /// The files being stored that the block is part of, and how often each was found to have it.
    by: BTreeMap<PutId, u32>,
}

/// A file that is being retrieved, or compared.
pub(super) struct SimWriter {
    pub(super) dest: PathBuf,
    /// Whether the file stands at the destination already, and is only compared.
    pub(super) standing: bool,
}

/// A file that is being stored.
pub(super) struct SimReader {
    pub(super) bytes: Bytes,
    pub(super) at: usize,
    pub(super) entries: Vec<ManifestEntry>,
    pub(super) manifest: Option<LocalManifest>,
    pub(super) hasher: Sha256,
}

impl SimReader {
    pub(super) fn new(bytes: Bytes, manifest: Option<LocalManifest>) -> Self {
        Self { bytes, at: 0, entries: Vec::new(), manifest, hasher: Sha256::new() }
    }
}

impl OpenFiles {
    pub(super) fn offer(&mut self, put: PutId, key: Key, bytes: Bytes) {
        *self
            .offers
            .entry(key)
            .or_insert_with(|| SimOffer { bytes, by: BTreeMap::new() })
            .by
            .entry(put)
            .or_default() += 1;
    }

    pub(super) fn offered(&self, key: &Key) -> Option<Bytes> {
        self.offers.get(key).map(|offer| offer.bytes.clone())
    }

    pub(super) fn withdraw(&mut self, put: PutId, key: &Key) {
        if let Some(offer) = self.offers.get_mut(key) {
            let left = offer.by.remove(&put).and_then(|times| times.checked_sub(1)).filter(|times| *times > 0);
            offer.by.extend(left.map(|times| (put, times)));
            if offer.by.is_empty() {
                self.offers.remove(key);
            }
        }
    }

    /// Withdraws a block from all files that it is part of.
    pub(super) fn withdraw_from_all(&mut self, key: &Key) {
        self.offers.remove(key);
    }

    pub(super) fn forget_put(&mut self, put: PutId) {
        self.readers.remove(&put);
        self.forget_offers(put);
    }

    pub(super) fn forget_get(&mut self, get: GetId) {
        self.writers.remove(&get);
        self.forget_offers(get);
    }

    fn forget_offers(&mut self, transfer: u64) {
        self.offers.retain(|_, offer| {
            offer.by.remove(&transfer);
            !offer.by.is_empty()
        });
    }

    /// What is open, for people; none if nothing is.
    pub(super) fn leftovers(&self) -> Option<String> {
        let open = [("readers", self.readers.len()), ("offers", self.offers.len()), ("writers", self.writers.len())];
        open.iter().find(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what} were never dropped"))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_disk_keeps_what_it_has_room_for_and_reads_rot_as_rot() {
        let mut disk = Disk { capacity: Some(10), ..Disk::default() };
        let (a, b) = (Id::of(b"aaaaaa"), Id::of(b"bbbbbb"));
        assert!(disk.keep(a, Rc::from(*b"aaaaaa")) && disk.keep(a, Rc::from(*b"aaaaaa")));
        assert!(!disk.keep(b, Rc::from(*b"bbbbbb")));
        assert_eq!(disk.rot(5), Some(a));
        assert!(matches!(disk.read(&a), BlockReading::Rotten) && !disk.has_sound(&a));
        disk.delete(&a);
        assert!(disk.keep(b, Rc::from(*b"bbbbbb")) && matches!(disk.read(&b), BlockReading::Sound(_)));
        assert_eq!(disk.held(), [(b, 6)]);
    }

    #[test]
    fn an_offer_stands_until_the_last_file_that_needs_it_is_done() {
        let mut open_files = OpenFiles::default();
        let key = Id::of(b"block");
        open_files.offer(1, key, Rc::from(*b"block"));
        open_files.offer(2, key, Rc::from(*b"block"));
        open_files.withdraw(1, &key);
        assert!(open_files.offered(&key).is_some() && open_files.leftovers().is_some());
        open_files.forget_put(2);
        assert!(open_files.offered(&key).is_none() && open_files.leftovers().is_none());
    }
}
