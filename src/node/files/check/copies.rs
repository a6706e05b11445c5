//! What is known of a block's copies, and what is done about those that it lacks.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::lease::Lease;
use crate::node::health::CopyState;
use crate::peer::Peer;
use crate::time::Time;

/// A copy that is known of, or asked about.
pub(super) struct Copy {
    pub(super) peer: Peer,
    /// None while it is asked about.
    pub(super) state: Option<CopyState>,
    /// Whether the peer belongs to the replica set.
    pub(super) is_member: bool,
    /// It claims to hold the block, and was asked to hash it.
    pub(super) hashes: bool,
    /// What it claims, while the block is read back from it.
    pub(super) claim: Option<CopyState>,
    /// When the peer, which is busy, is asked again.
    pub(super) again: Option<Time>,
}

/// What is done about the copies that a block lacks.
#[derive(Default)]
pub(super) struct Refill {
    /// It was tried: that is done once.
    pub(super) tried: bool,
    /// Holders that were asked for their leases, and have not answered.
    pub(super) asked: BTreeSet<SocketAddr>,
    /// What they told: leases, none where the block is kept for ever.
    pub(super) told: Vec<Vec<Lease>>,
    /// This peer pulls the block into its own store, or fetches it to lend it.
    pub(super) fetches: bool,
    /// Peers next to the replica set that were offered it.
    pub(super) stood_in: BTreeSet<SocketAddr>,
    /// Peers that lack the block, and were not offered it yet.
    pub(super) lacking: Vec<Peer>,
    /// Copies that are to be made, as far as there are peers for them.
    pub(super) needed: u64,
    /// Offers without an end.
    pub(super) out: BTreeSet<SocketAddr>,
    /// Those of them in whose stead others are offered the block, if any are left. Any of them may still take it.
    pub(super) replaced: BTreeSet<SocketAddr>,
    /// Those of them that take nothing, and are not waited for.
    pub(super) passed_over: BTreeSet<SocketAddr>,
    pub(super) lent: bool,
    /// Copies that were made.
    pub(super) made: u64,
}

impl Refill {
    pub(super) fn is_under_way(&self) -> bool {
        let lacks = self.made < self.needed && !self.out.is_subset(&self.passed_over);
        !self.asked.is_empty() || self.fetches || lacks
    }
}
