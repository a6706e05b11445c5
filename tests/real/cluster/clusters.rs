//! What the tests of a cluster share.

use tempfile::{TempDir, tempdir};

use crate::support::PeerProcess;

pub(crate) const MIB: usize = 1 << 20;

/// What is promised above routing is promised on both overlays.
pub(crate) const OVERLAYS: [&str; 2] = ["kad", "ring"];

pub(crate) fn folder() -> TempDir {
    tempdir().expect("a temporary folder")
}

/// How many live peers hold each block, at least.
pub(crate) fn least_copies(peers: &[PeerProcess]) -> usize {
    let mut copies = std::collections::BTreeMap::<String, usize>::new();
    for key in peers.iter().flat_map(PeerProcess::blocks) {
        *copies.entry(key).or_default() += 1;
    }
    copies.into_values().min().unwrap_or(0)
}
