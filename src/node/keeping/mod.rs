//! Blocks that are kept here for the network: taken from other peers, repaired, healed, looked through, handed over,
//! and dropped when no lease keeps them any longer.

pub(crate) mod answering;
mod comparison;
mod conduct;
pub(crate) mod departure;
mod further;
mod heal;
mod lease_keeping;
mod neighbours;
mod pull;
pub(crate) mod pulls;
mod queue;
mod regions;
mod repair;
mod safety;
mod scrub;
mod strays;

pub(super) use answering::Answering;
#[cfg(test)]
pub(super) use comparison::answer;
pub(super) use departure::Departure;
pub(super) use heal::Heal;
pub(super) use lease_keeping::LeaseKeeping;
pub(super) use pulls::Pulls;
pub(super) use repair::Repair;
pub(super) use safety::Safety;
pub(super) use scrub::Scrub;
