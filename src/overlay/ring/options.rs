//! What can be chosen about a ring.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MAX_ROUND, SUCCESSORS};
use crate::id::ID_BITS;
use crate::peer::Peer;

/// What can be chosen about a ring.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RingOptions {
    /// Bits of an id: ids are below 2 to this power. 256, or 8 in the classroom.
    pub bits: usize,
    /// Whether requests take shortcuts. Without, each goes to the first successor alone, as in the assignment.
    pub fingers: bool,
    /// The first two successors are pinged this often.
    pub ping_interval: Duration,
    /// Peers in the successor list.
    pub successors: usize,
    /// Predecessors that a peer knows. The paper's knows one; as many as successors tell it for each block it holds who
    /// else should.
    pub predecessors: usize,
    /// A client that came for one command: it asks members and is never one.
    pub guest: bool,
    /// The first successors, where the user names them (the assignment's `init`).
    pub given: Vec<Peer>,
    /// Whether pings are told to those who watch: [`RouteNotice::PingsSent`](crate::overlay::RouteNotice::PingsSent) and
    /// its kin.
    pub announce_pings: bool,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            bits: ID_BITS,
            fingers: true,
            ping_interval: MAX_ROUND,
            successors: SUCCESSORS,
            predecessors: SUCCESSORS,
            guest: false,
            given: Vec::new(),
            announce_pings: false,
        }
    }
}

impl RingOptions {
    /// The classroom ring: ids 0 to 255, no shortcuts, pings that are told of.
    pub fn classroom(ping_interval: Duration, given: Vec<Peer>) -> Self {
        Self { bits: 8, fingers: false, ping_interval, given, announce_pings: true, ..Self::default() }
    }
}
