//! One peer to look at, and others that stand where a test wants them.

use std::time::Duration;

use kadring::peer::Peer;

use crate::kademlia_net::{Net, addr, id_sharing, peer};

pub(crate) const ME: u16 = 9000;

pub(crate) const WIDTH: usize = 7;

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A network of one overlay, `peer(ME)`, and whoever a test adds.
pub(crate) fn alone() -> Net {
    let mut net = Net::default();
    net.add(peer(ME), false);
    net.join(addr(ME), &[]);
    net
}

/// Contact number `n` of the bucket `prefix` of `peer(ME)`.
pub(crate) fn in_bucket(prefix: usize, n: u16) -> Peer {
    Peer::new(id_sharing(&peer(ME).id, prefix, n), addr(n))
}
