//! A peer: an id and the one address that serves it over UDP and TCP.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::Id;

/// Who a peer is and where it answers. One port number serves UDP and TCP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Its place in the id space.
    pub id: Id,
    /// Where it answers.
    pub addr: SocketAddr,
}

impl Peer {
    /// The peer `id` at `addr`.
    pub const fn new(id: Id, addr: SocketAddr) -> Self {
        Self { id, addr }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id.short(), self.addr)
    }
}
