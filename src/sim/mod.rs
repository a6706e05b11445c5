//! The same core in virtual time.
//!
//! The same [`Node`](crate::node::Node) that runs on threads elsewhere runs here against a virtual clock and network:
//! hours pass in seconds, faults strike as planned, and the same seed gives the same run, to the byte.
//!
//! - [`world`] hands each node its events and performs its actions; [`network`] says how long a message takes and
//!   whether it comes; blocks, files and working directories live in memory.
//! - [`faults`] are the faults that can strike; [`storm`] a run in which many do, and after which everything must be in
//!   order again; [`shrink()`] finds out which faults a failing run needs.
//! - [`load`] is a large grown network ([`grown`]) with lookups all the while, under churn ([`lifetimes`]) and losses
//!   ([`bursts`]); [`tally`] counts what it costs and [`deaths`] how long deaths take to be known. [`repro`] compares
//!   with published results.
//! - `hostile` are peers that mean harm: they lie, forge, flood and flap among the honest ones.
//! - [`sabotage`] breaks the driver on purpose: the checks must notice.
//! - [`replay`] gives the events of a record to a new node; [`moments`] shows the records of several peers side by
//!   side; [`stepping`] goes through a record or a storm moment by moment.
//! - [`truth`] is the ground truth: the peers that really are nearest to a key.

pub mod args;
pub mod bursts;
mod check;
#[cfg(test)]
mod checking;
mod choices;
pub mod cli;
mod content;
pub mod deaths;
mod debts;
mod disk;
pub mod faults;
mod folder;
#[cfg(test)]
mod forging;
pub mod grown;
mod hostile;
#[cfg(test)]
mod keeping;
mod kept;
pub mod kind;
#[cfg(test)]
mod liars;
pub mod lifetimes;
pub mod load;
pub mod memory;
pub mod moments;
pub mod network;
mod peers;
pub mod plot;
mod queue;
#[cfg(test)]
mod renewing;
pub mod replay;
pub mod repro;
#[cfg(test)]
mod reuniting;
pub mod sabotage;
#[cfg(test)]
mod scrubbing;
mod shrink;
mod sim_peer;
pub mod stepping;
pub mod storm;
#[cfg(test)]
mod sybils;
mod table;
pub mod tally;
mod trace;
mod traffic;
pub mod truth;
#[cfg(test)]
mod waiting;
mod work;
pub mod world;

pub use choices::Choices;
pub use content::Bytes;
pub use disk::Disk;
pub use folder::SimFolder;
pub use hostile::HostileRole;
pub use network::Weather;
pub use shrink::shrink;
pub use storm::{StormPlan, StormReport};
pub use trace::Trace;
pub use world::{MakeOverlay, Rules, Violation, World};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::OverlayKind;
    fn plan(seed: u64) -> StormPlan {
        StormPlan {
            kind: OverlayKind::Kademlia,
            classroom: false,
            seed,
            peers: 20,
            faults: 0,
            only: None,
            hostile: 0,
            saboteur: None,
            choices: Choices::default(),
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_run_to_the_byte() {
        let digest = |seed| plan(seed).run(Trace::digest_only()).map(|report| report.digest);
        let first = digest(1);
        assert!(matches!(first, Ok(Some(_))), "{first:?}");
        assert_eq!(first, digest(1));
        assert_ne!(first, digest(2));
    }
}
