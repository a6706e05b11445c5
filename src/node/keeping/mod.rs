//! Blocks that are kept here for the network: taken from other peers, repaired, healed, handed over.

mod departure;
mod heal;
mod pulls;
mod repair;

pub(super) use departure::Departure;
pub(super) use heal::Heal;
pub(super) use pulls::Pulls;
pub(super) use repair::Repair;
