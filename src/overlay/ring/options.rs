//! What can be chosen about a ring.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{SUCCESSOR_PING_EVERY, SUCCESSORS};
use crate::id::ID_BITS;
use crate::peer::Peer;

/// What can be chosen about a ring.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RingOptions {
    /// Bits of an id: ids are below 2 to this power. 256, or 8 in the classroom.
    pub bits: usize,
    /// Whether requests take shortcuts. Without, each goes to the first successor alone, as in the assignment.
    pub fingers: bool,
    /// In the classroom the first two successors are pinged this often. Elsewhere the first one is, every 5 s at least,
    /// and the second in every fourth round.
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
    /// How this peer behaves where the paper and the assignment differ. (Records call it `announce_pings`.)
    #[serde(rename = "announce_pings")]
    pub variant: RingVariant,
}

/// Two ways to behave where Chord's paper and the assignment differ.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum RingVariant {
    /// As a network that stores files needs it; no user watches the pings.
    #[default]
    Chord,
    /// As the assignment wants it, whose users compare every line: the pings of the user's interval are told, and a
    /// peer that leaves as many of them unanswered as make a death is dead before the next; a `join` waits until this
    /// peer is in the ring itself; a goodbye names the successors to those after the leaving peer too, and they are
    /// taken in at once.
    Classroom,
}

impl From<bool> for RingVariant {
    fn from(classroom: bool) -> Self {
        if classroom { Self::Classroom } else { Self::Chord }
    }
}

impl From<RingVariant> for bool {
    fn from(variant: RingVariant) -> Self {
        variant == RingVariant::Classroom
    }
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            bits: ID_BITS,
            fingers: true,
            ping_interval: SUCCESSOR_PING_EVERY,
            successors: SUCCESSORS,
            predecessors: SUCCESSORS,
            guest: false,
            given: Vec::new(),
            variant: RingVariant::Chord,
        }
    }
}

impl RingOptions {
    /// The classroom ring: ids 0 to 255, no shortcuts, the assignment's manners.
    pub fn classroom(ping_interval: Duration, given: Vec<Peer>) -> Self {
        Self { bits: 8, fingers: false, ping_interval, given, variant: RingVariant::Classroom, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_the_variant_under_the_name_that_they_always_had() {
        let classroom = RingOptions::classroom(SUCCESSOR_PING_EVERY, Vec::new());
        let json = serde_json::to_value(&classroom).expect("options are plain");
        assert_eq!(json["announce_pings"], true);
        assert_eq!(serde_json::from_value::<RingOptions>(json).expect("they read back"), classroom);
        let json = serde_json::to_value(RingOptions::default()).expect("options are plain");
        assert_eq!(json["announce_pings"], false);
    }
}
