//! Blocks lent on behalf of files that are being stored: others may read them straight from the file, they are never
//! copied.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::id::Key;
use crate::node::job::PutId;

/// Where the bytes of a lent block lie.
#[derive(Clone)]
pub(super) enum LentBlock {
    /// In the file that is being stored.
    Slice {
        /// The file, open for reading.
        file: Arc<File>,
        /// Where the block starts.
        offset: u64,
        /// The size of the block in bytes.
        size: u32,
    },
    /// In memory: a node of a file's tree.
    Bytes(Arc<[u8]>),
}

impl LentBlock {
    /// Bytes of the block.
    pub(super) fn size(&self) -> u32 {
        match self {
            Self::Slice { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u32,
        }
    }

    /// Fills `piece` with the bytes that begin at `at` of the block.
    pub(super) fn read_at(&self, piece: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::Slice { file, offset, .. } => file.read_exact_at(piece, offset + at),
            Self::Bytes(bytes) => {
                piece.copy_from_slice(&bytes[at as usize..][..piece.len()]);
                Ok(())
            }
        }
    }
}

/// What is lent, by key. A block that several files share is lent once for each, with how often that file's
/// reader came to it: one that repeats may be withdrawn as it was first read while it is being read again.
#[derive(Default)]
pub(super) struct LentBlocks(HashMap<Key, BTreeMap<PutId, (LentBlock, u32)>>);

impl LentBlocks {
    pub(super) fn add(&mut self, put: PutId, key: Key, block: LentBlock) {
        self.0.entry(key).or_default().entry(put).or_insert((block, 0)).1 += 1;
    }

    pub(super) fn get(&self, key: &Key) -> Option<LentBlock> {
        self.0.get(key).and_then(|lent| lent.values().next().map(|(block, _)| block.clone()))
    }

    /// Takes a block back, which is returned if that was the last time of this file's.
    pub(super) fn withdraw(&mut self, put: PutId, key: &Key) -> Option<LentBlock> {
        let of_key = self.0.get_mut(key)?;
        let (_, times) = of_key.get_mut(&put)?;
        *times -= 1;
        if *times > 0 {
            return None;
        }
        let lent = of_key.remove(&put).map(|(block, _)| block);
        if of_key.is_empty() {
            self.0.remove(key);
        }
        lent
    }

    pub(super) fn forget(&mut self, put: PutId) {
        self.0.retain(|_, of_key| {
            of_key.remove(&put);
            !of_key.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_read_again_while_it_is_withdrawn_stays() {
        let (mut lent, block) = (LentBlocks::default(), LentBlock::Bytes(Arc::from(&b"zeros"[..])));
        for put in [1, 1, 2] {
            lent.add(put, Key::ZERO, block.clone());
        }
        assert!(lent.withdraw(1, &Key::ZERO).is_none() && lent.get(&Key::ZERO).is_some());
        assert!(lent.withdraw(1, &Key::ZERO).is_some() && lent.get(&Key::ZERO).is_some());
        lent.add(2, Key::ZERO, block);
        lent.forget(2);
        assert!(lent.get(&Key::ZERO).is_none());
    }
}
