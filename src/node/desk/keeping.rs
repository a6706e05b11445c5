//! The desk, where parts tell of the blocks held here: what was looked at, what was heard of their leases, and of which
//! there are copies elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use super::Desk;
use crate::id::Key;
use crate::lease::{LeaseId, LeaseNews, Note};
use crate::source::Subnet;

impl Desk {
    /// A block is being looked at.
    pub(in crate::node) fn see(&mut self, key: &Key) {
        self.holdings.see(key);
    }

    /// Leases are renewed, or have ended, by the word of the peer at that address, or of this peer's user: what is to
    /// be written down about it.
    pub(in crate::node) fn change_leases(&mut self, news: &LeaseNews, by: Option<SocketAddr>) -> Vec<Note> {
        self.holdings.change_leases(news, by.map(|by| Subnet::of(by).ip()))
    }

    /// Blocks with these leases stay for so long, whatever the clock says.
    pub(in crate::node) fn hold_back(&mut self, leases: &[LeaseId], time: Duration) {
        self.holdings.hold_back(leases, time);
    }

    /// Whether blocks still stay for that.
    pub(in crate::node) fn holds_back(&mut self) -> bool {
        self.holdings.holds_back()
    }

    /// Copies at other peers are counted anew: see [`Holdings::begin_round`](crate::node::holdings::Holdings).
    pub(in crate::node) fn begin_round(&mut self) {
        self.holdings.begin_round();
    }

    /// They are counted no more.
    pub(in crate::node) fn end_round(&mut self) {
        self.holdings.end_round();
    }

    /// Another peer has a copy of this block. Whether that is news in this round.
    pub(in crate::node) fn found_copy(&mut self, key: &Key) -> bool {
        self.holdings.found_copy(key)
    }

    /// In this round no copy of a block that is here counts any more.
    pub(in crate::node) fn forget_copies(&mut self, key: &Key) {
        self.holdings.forget_copies(key);
    }
}
