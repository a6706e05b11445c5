//! What a `store` asks for.

use std::path::PathBuf;

use crate::config::Config;
use crate::file::LocalManifest;
use crate::lease::Lease;
use crate::node::command::Command;

/// What a `store` asks for.
pub(super) struct StoreOptions {
    pub(super) path: PathBuf,
    pub(super) manifest: Option<LocalManifest>,
    pub(super) keep: bool,
    /// The file is one block, which has no list: its own key names it.
    pub(super) bare: bool,
    /// On whose behalf it is kept.
    pub(super) lease: Option<Lease>,
    /// The file is the listing of a folder, and its root says so.
    pub(super) listing: bool,
}

impl StoreOptions {
    /// What a command asks for; none if the command stores nothing.
    pub(super) fn of(command: Command) -> Option<Self> {
        let plain = |path, keep| Self { path, manifest: None, keep, bare: false, lease: None, listing: false };
        match command {
            Command::Store { path, manifest, keep } => Some(Self { manifest, ..plain(path, keep) }),
            Command::StoreBlock { path, keep } => Some(Self { bare: true, ..plain(path, keep) }),
            Command::StoreListing { path, keep } => Some(Self { listing: true, ..plain(path, keep) }),
            Command::OnLease { lease, store } => Self::of(*store).map(|options| Self { lease: Some(lease), ..options }),
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

    /// Copies with which a block is stored: no more than are wanted.
    pub(super) fn quorum(&self, config: &Config) -> usize {
        config.quorum.min(self.copies(config.replicas))
    }
}
