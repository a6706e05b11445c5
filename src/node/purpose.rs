//! What a message is sent for, so that what a network spends can be told apart.

use serde::{Deserialize, Serialize};

/// What a message is sent for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A lookup of the peers near a key, or for those that hold a block of a file.
    Lookup,
    /// The routing table is kept good: joins, goodbyes, pings, refreshes.
    Upkeep,
    /// Blocks get the copies that they should have, lookups for that included.
    Repair,
    /// A user's file goes into the network or comes out of it.
    Transfer,
}

impl Purpose {
    /// All purposes, in the order in which they are told.
    pub const ALL: [Self; 4] = [Self::Lookup, Self::Upkeep, Self::Repair, Self::Transfer];

    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Upkeep => "upkeep",
            Self::Repair => "repair",
            Self::Transfer => "transfer",
        }
    }
}

impl super::Node {
    /// What the request `magic` of this peer's is for, while its answer is awaited.
    pub fn purpose(&self, magic: u64) -> Option<Purpose> {
        self.desk.exchange.purpose(magic)
    }

    /// What a lookup is for.
    pub(super) fn purpose_of(&self, lookup: crate::overlay::LookupId) -> Purpose {
        self.desk.lookups.get(&lookup).map_or(Purpose::Lookup, |ticket| ticket.owner.purpose_of_lookups())
    }
}
