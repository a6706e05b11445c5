//! The parts of a node, a row each: what it is called, what it asks other peers for, and how it begins.

use super::part::Part;
use super::purpose::Purpose;
use super::ticket::PartId;
use super::{bootstrap, claims, files, keeping, memory, reach, user};
use crate::id::Id;

/// How a part begins; all chance comes from the seed.
type Begin = fn(seed: [u8; 32]) -> Box<dyn Part>;

/// What a part is called, for people; what it asks other peers for; and how it begins, unless it is
/// [added](super::Node::add) from outside. In the order of [`PartId`].
const PARTS: [(PartId, &str, Purpose, Option<Begin>); 20] = [
    (PartId::Claims, "claims", Purpose::Repair, Some(empty::<claims::Judge>)),
    (PartId::Reach, "reach", Purpose::Upkeep, Some(empty::<reach::Dialler>)),
    (PartId::Puts, "puts", Purpose::Transfer, Some(empty::<files::Puts>)),
    (PartId::Repair, "repair", Purpose::Repair, Some(empty::<keeping::Repair>)),
    (PartId::Heal, "heal", Purpose::Repair, Some(empty::<keeping::Heal>)),
    (PartId::Memory, "memory", Purpose::Upkeep, Some(empty::<memory::Memory>)),
    (PartId::Bootstrap, "bootstrap", Purpose::Upkeep, Some(empty::<bootstrap::BootstrapNames>)),
    (PartId::NamedFiles, "named files", Purpose::Transfer, None),
    (PartId::Gets, "gets", Purpose::Transfer, Some(empty::<files::Gets>)),
    (PartId::Departure, "departure", Purpose::Repair, Some(empty::<keeping::Departure>)),
    (PartId::Pulls, "pulls", Purpose::Transfer, Some(empty::<keeping::Pulls>)),
    (PartId::Scrub, "scrub", Purpose::Repair, Some(scrub)),
    (PartId::Safety, "safety", Purpose::Repair, Some(empty::<keeping::Safety>)),
    (PartId::Answering, "answering", Purpose::Repair, Some(empty::<keeping::Answering>)),
    (PartId::Leases, "leases", Purpose::Repair, Some(empty::<keeping::LeaseKeeping>)),
    (PartId::Clears, "clears", Purpose::Transfer, Some(empty::<files::Clears>)),
    (PartId::Checks, "checks", Purpose::Repair, Some(empty::<files::Checks>)),
    (PartId::LeaseChanges, "lease changes", Purpose::Transfer, Some(empty::<files::LeaseChanges>)),
    (PartId::Lays, "lays", Purpose::Transfer, Some(empty::<files::Lays>)),
    (PartId::User, "user", Purpose::Lookup, Some(empty::<user::User>)),
];

/// A part that knows nothing yet.
fn empty<P: Part + Default + 'static>(_seed: [u8; 32]) -> Box<dyn Part> {
    Box::<P>::default()
}

/// Chance says with which block it begins.
fn scrub(seed: [u8; 32]) -> Box<dyn Part> {
    Box::new(keeping::Scrub::new(Id::from_bytes(seed)))
}

/// All parts of a new node, in their order.
pub(super) fn begin(seed: [u8; 32]) -> Vec<(PartId, Box<dyn Part>)> {
    PARTS.into_iter().filter_map(|(owner, .., begin)| begin.map(|begin| (owner, begin(seed)))).collect()
}

impl PartId {
    /// What it is called, for people.
    pub(crate) const fn name(self) -> &'static str {
        PARTS[self as usize].1
    }

    /// What the part asks other peers for.
    pub(super) const fn purpose(self) -> Purpose {
        PARTS[self as usize].2
    }

    /// What the part has peers looked up for: lookups for a file count as such, those that keep blocks as repair.
    pub(super) const fn purpose_of_lookups(self) -> Purpose {
        match self.purpose() {
            Purpose::Transfer => Purpose::Lookup,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_stand_in_the_order_of_the_parts() {
        assert!(PARTS.iter().zip(0..).all(|((owner, ..), at)| *owner as usize == at));
        assert_eq!(PARTS.len(), PartId::User as usize + 1);
    }
}
