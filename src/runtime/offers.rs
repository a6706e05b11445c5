//! Blocks offered on behalf of files that are being stored: served straight from the file, never copied.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;

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

/// What is offered, by key. A block that several files share is offered once for each.
///
/// *Protects*: the list of offers. *Held for*: one insertion, removal or look. *Never held while*: bytes are read or sent.
#[derive(Default)]
pub(super) struct Offers(Mutex<HashMap<Key, BTreeMap<PutId, Offered>>>);

impl Offers {
    pub(super) fn add(&self, put: PutId, key: Key, block: Offered) {
        self.0.lock().entry(key).or_default().insert(put, block);
    }

    pub(super) fn get(&self, key: &Key) -> Option<Offered> {
        self.0.lock().get(key).and_then(|offers| offers.values().next().cloned())
    }

    pub(super) fn withdraw(&self, put: PutId, key: &Key) {
        let mut offers = self.0.lock();
        if let Some(of_key) = offers.get_mut(key) {
            of_key.remove(&put);
            if of_key.is_empty() {
                offers.remove(key);
            }
        }
    }

    pub(super) fn forget(&self, put: PutId) {
        self.0.lock().retain(|_, of_key| {
            of_key.remove(&put);
            !of_key.is_empty()
        });
    }
}
