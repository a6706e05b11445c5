//! What a `store` asks for.

use std::path::PathBuf;

use crate::file::LocalManifest;
use crate::lease::Lease;
use crate::node::command::Command;

/// What a `store` asks for.
pub(super) struct Order {
    pub(super) path: PathBuf,
    pub(super) manifest: Option<LocalManifest>,
    pub(super) keep: bool,
    /// The file is one block, which shall have no list.
    pub(super) bare: bool,
    /// On whose behalf it is kept.
    pub(super) lease: Option<Lease>,
}

impl Order {
    /// The order in a command; none if the command stores nothing.
    pub(super) fn of(command: Command) -> Option<Self> {
        match command {
            Command::Store { path, manifest, keep } => Some(Self { path, manifest, keep, bare: false, lease: None }),
            Command::StoreBlock { path } => Some(Self { path, manifest: None, keep: false, bare: true, lease: None }),
            Command::OnLease { lease, store } => Self::of(*store).map(|order| Self { lease: Some(lease), ..order }),
            _ => None,
        }
    }

    /// The leases that each block gets.
    pub(super) fn leases(&self) -> Vec<Lease> {
        self.lease.into_iter().collect()
    }

    /// Copies that are wanted of each block, if `usual` are where the lease asks for no number.
    pub(super) fn copies(&self, usual: usize) -> usize {
        self.lease.map_or(usual, |lease| lease.copies_or(usual))
    }
}
