//! What a `store` asks for.

use std::path::PathBuf;

use crate::file::LocalManifest;
use crate::node::command::Command;

/// What a `store` asks for.
pub(super) struct Order {
    pub(super) path: PathBuf,
    pub(super) manifest: Option<LocalManifest>,
    pub(super) keep: bool,
    /// The file is one block, which shall have no list.
    pub(super) bare: bool,
}

impl Order {
    /// The order in a command; none if the command stores nothing.
    pub(super) fn of(command: Command) -> Option<Self> {
        match command {
            Command::Store { path, manifest, keep } => Some(Self { path, manifest, keep, bare: false }),
            Command::StoreBlock { path } => Some(Self { path, manifest: None, keep: false, bare: true }),
            _ => None,
        }
    }
}
