//! Every constant, with its unit and its source, and the knobs a user can turn.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bytes of the largest block (the seed's chunk, 1 MiB).
pub const MAX_BLOCK_SIZE: u32 = 1 << 20;

/// Peers that keep each block (the seed's number).
pub const REPLICAS: usize = 7;

/// Peers in the answer to `find_node` and in the result of a lookup (the seed's number).
pub const WIDTH: usize = 7;

/// Jobs that a node has out with the transfer workers at a time; the rest wait in its own queue.
pub const MAX_JOBS: usize = 16;

/// What a user can choose about how a node behaves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Copies of each block that the network keeps, at most [`WIDTH`].
    pub replicas: usize,
    /// Copies of each block without which a `store` has failed.
    pub quorum: usize,
    /// A client that came for one command: never in a routing table, never a holder.
    pub guest: bool,
    /// Blocks of a file that are on their way at once, for each file stored or retrieved.
    pub window: usize,
    /// How long the node waits for other peers to take over its blocks when it leaves.
    pub handover_limit: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { replicas: REPLICAS, quorum: 1, guest: false, window: 16, handover_limit: Duration::from_secs(60) }
    }
}
