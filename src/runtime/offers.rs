//! Blocks offered on behalf of files that are being stored: served straight from the file, never copied.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::id::Key;
use crate::node::job::PutId;

/// Where the bytes of an offered block lie.
#[derive(Clone)]
pub(super) enum Offered {
    /// In the file that is being stored.
    Slice {
        /// The file.
        file: Arc<File>,
        /// Where the block starts.
        offset: u64,
        /// Its bytes.
        size: u32,
    },
    /// In memory: a node of a file's tree.
    Bytes(Arc<[u8]>),
}

impl Offered {
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

/// What is offered, by key. A block that several files share is offered once for each, with how often that file's
/// reader came to it: one that repeats may be withdrawn as it was first read while it is being read again.
#[derive(Default)]
pub(super) struct Offers(HashMap<Key, BTreeMap<PutId, (Offered, u32)>>);

impl Offers {
    pub(super) fn add(&mut self, put: PutId, key: Key, block: Offered) {
        self.0.entry(key).or_default().entry(put).or_insert((block, 0)).1 += 1;
    }

    pub(super) fn get(&self, key: &Key) -> Option<Offered> {
        self.0.get(key).and_then(|offers| offers.values().next().map(|(block, _)| block.clone()))
    }

    /// Ends an offer, which is returned if it was the last of this file's.
    pub(super) fn withdraw(&mut self, put: PutId, key: &Key) -> Option<Offered> {
        let of_key = self.0.get_mut(key)?;
        let (_, times) = of_key.get_mut(&put)?;
        *times -= 1;
        if *times > 0 {
            return None;
        }
        let offered = of_key.remove(&put).map(|(block, _)| block);
        if of_key.is_empty() {
            self.0.remove(key);
        }
        offered
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
        let (mut offers, block) = (Offers::default(), Offered::Bytes(Arc::from(&b"zeros"[..])));
        for put in [1, 1, 2] {
            offers.add(put, Key::ZERO, block.clone());
        }
        assert!(offers.withdraw(1, &Key::ZERO).is_none() && offers.get(&Key::ZERO).is_some());
        assert!(offers.withdraw(1, &Key::ZERO).is_some() && offers.get(&Key::ZERO).is_some());
        offers.add(2, Key::ZERO, block);
        offers.forget(2);
        assert!(offers.get(&Key::ZERO).is_none());
    }
}
