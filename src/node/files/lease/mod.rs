//! Leases on files that are in the network: `renew`, `delete` and `copies`.
//!
//! Holders are told that a lease lasts longer or has ended (`telling.rs`), or are asked to keep each block on behalf of
//! another one (`laying.rs`). Both walk the tree of each file (`walk.rs`), as many blocks at a time as the way allows
//! (`window.rs`).

mod coverage;
mod laying;
mod telling;
mod walk;
mod window;

pub(in crate::node) use laying::Lays;
pub(in crate::node) use telling::LeaseChanges;
