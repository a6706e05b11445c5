//! A peer in one word, `ID@HOST:PORT`: what a datagram has little room for.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::peer::Peer;

/// What is read is a peer with an address, which need not be one that can be reached.
pub(super) struct PeerWord(pub(super) Peer);

impl fmt::Display for PeerWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Peer { id, addr } = self.0;
        write!(f, "{id}@{}", SocketAddr::new(addr.ip(), addr.port()))
    }
}

impl FromStr for PeerWord {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let parts = word.split_once('@').and_then(|(id, addr)| id.parse().ok().zip(addr.parse().ok()));
        let (id, addr) = parts.ok_or("a peer is ID@HOST:PORT")?;
        Ok(Self(Peer::new(id, addr)))
    }
}
