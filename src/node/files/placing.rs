//! A block on its way to its holders, and what is told of all blocks of a file in the end.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::id::Key;
use crate::node::notice::FailureKind;
use crate::overlay::LookupId;
use crate::peer::Peer;

/// Why a file is not stored, as the user is told.
pub(super) type Failed = (FailureKind, String);

/// What the answer will tell.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) bytes: u64,
    pub(super) blocks: u64,
    pub(super) copies: Vec<u64>,
    pub(super) wanted: usize,
    /// Blocks that the file was read in, those that repeat included.
    pub(super) read: u64,
    pub(super) unreached: usize,
}

/// A block on its way to its holders.
pub(super) struct Placing {
    /// Bytes of the block.
    pub(super) size: u32,
    /// Bytes of the file that are stored with it: none for a manifest, several times `size` for a block that repeats.
    pub(super) bytes: u64,
    pub(super) lookup: Option<LookupId>,
    pub(super) candidates: VecDeque<Peer>,
    pub(super) wanted: usize,
    /// Peers that could keep it, as far as they answered.
    pub(super) found: usize,
    /// Offers and copies under way.
    pub(super) out: usize,
    pub(super) saved: usize,
    pub(super) keeping: bool,
    /// What is believed to be here of it is being looked at.
    pub(super) looking: bool,
    pub(super) second_round: bool,
    pub(super) trouble: Option<String>,
}

impl Placing {
    /// Whom to offer it to next. Who lives and takes nothing would keep every block waiting for the whole limit, so it is
    /// asked only if the others cannot make up the quorum.
    pub(super) fn next_candidate(&mut self, quorum: usize, stalls: impl Fn(&SocketAddr) -> bool) -> Option<Peer> {
        match self.candidates.iter().position(|peer| !stalls(&peer.addr)) {
            Some(at) => self.candidates.remove(at),
            None if self.out > 0 || self.saved >= quorum => None,
            None => self.candidates.pop_front(),
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, placing: &Placing) {
        self.blocks += 1;
        self.bytes += placing.bytes;
        if self.copies.len() <= placing.saved {
            self.copies.resize(placing.saved + 1, 0);
        }
        self.copies[placing.saved] += 1;
    }
}

pub(super) fn too_few(key: Key, placing: &Placing, quorum: usize) -> Failed {
    let copies = if placing.saved == 1 { "copy" } else { "copies" };
    let cause = match (&placing.trouble, placing.found) {
        (Some(trouble), _) => trouble.clone(),
        (None, 0) => "there is no peer to keep it; is the network reachable?".to_owned(),
        (None, found) => format!("no more than {found} can keep it"),
    };
    let (key, saved) = (key.short(), placing.saved);
    let reason = format!(
        "block {key} got {saved} {copies} of the {quorum} that the quorum asks for ({cause}); start more peers, or \
         lower --quorum"
    );
    (FailureKind::TooFewCopies, reason)
}
