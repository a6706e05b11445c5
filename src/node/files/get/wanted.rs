//! What a retrieve brings: a file, the listing of a folder, a block, or a list of blocks; and whether its root is one
//! of that.

use std::path::PathBuf;

use super::{Get, RetrieveStage};
use crate::config::MAX_BLOCK_SIZE;
use crate::file::tree::TreeWalk;
use crate::file::{Manifest, ManifestEntry, folder};
use crate::id::Key;
use crate::node::command::{Command, Source};
use crate::node::desk::Desk;
use crate::node::files::{Flow, GOES_ON};
use crate::node::notice::FailureKind;

/// What a retrieve brings.
pub(super) enum Retrieval {
    /// A file.
    File(Source),
    /// The listing of the folder of this key.
    Listing(Key),
    /// One block of this key and size.
    Block(ManifestEntry),
    /// The node of a tree that has this key.
    Manifest(Key),
}

impl Retrieval {
    /// What a command wants, where it is to go, and whether another file there may be replaced; none if it retrieves
    /// nothing.
    pub(super) fn of(command: Command) -> Option<(Self, PathBuf, bool)> {
        match command {
            Command::Retrieve { source, dest, replace } => Some((Self::File(source), dest, replace)),
            Command::RetrieveListing { key, dest } => Some((Self::Listing(key), dest, true)),
            Command::RetrieveBlock { key, size, dest } => {
                let entry = ManifestEntry { key, size: u64::from(size.min(MAX_BLOCK_SIZE)) };
                Some((Self::Block(entry), dest, true))
            }
            // It goes to no file.
            Command::RetrieveManifest { key } => Some((Self::Manifest(key), PathBuf::new(), false)),
            _ => None,
        }
    }

    /// The key that names it, if it is named by one.
    fn key(&self) -> Option<Key> {
        match *self {
            Self::File(Source::Manifest(_)) => None,
            Self::File(Source::Key(key))
            | Self::Listing(key)
            | Self::Block(ManifestEntry { key, .. })
            | Self::Manifest(key) => Some(key),
        }
    }
}

impl Get {
    /// A node of the tree has come.
    pub(super) fn on_node(&mut self, desk: &mut Desk, manifest: Manifest) -> Flow {
        match &mut self.stage {
            RetrieveStage::Root => {
                let Some(root) = self.wanted.key() else { return GOES_ON };
                let (size, sha256) = (manifest.size, manifest.sha256);
                let listing = matches!(self.wanted, Retrieval::Listing(_));
                if let Retrieval::Manifest(_) = self.wanted {
                    return self.show(desk, Some(manifest), size);
                }
                if manifest.folder != listing {
                    return self.give_up(desk, FailureKind::Folder, misfit(&root, manifest.folder));
                }
                if listing && size > folder::LONGEST {
                    let reason = format!("the folder's listing has {size} bytes; at most {} are read", folder::LONGEST);
                    return self.give_up(desk, FailureKind::Integrity, reason);
                }
                self.open(desk, TreeWalk::new(manifest), root, size, sha256)
            }
            RetrieveStage::Walking { walk, .. } => match walk.supply(manifest) {
                Ok(()) => self.go_on(desk),
                Err(error) => {
                    self.give_up(desk, FailureKind::Integrity, format!("the file's manifest is wrong: {error}"))
                }
            },
            RetrieveStage::Opening { .. } | RetrieveStage::Finishing => GOES_ON,
        }
    }

    /// Whether the root of a file is being sought, which may be the whole file.
    pub(super) fn seeks_root_of_file(&self) -> bool {
        matches!((&self.stage, &self.wanted), (RetrieveStage::Root, Retrieval::File(_)))
    }

    /// Whether this block was brought as the root, and is lent.
    pub(super) fn is_bare_root(&self, key: &Key) -> bool {
        matches!(&self.wanted, Retrieval::File(Source::Key(root)) if root == key)
    }

    /// The key names no manifest. At the root that is fine: the key of one block brings that block.
    pub(super) fn on_bare_block(&mut self, desk: &mut Desk, id: u64, size: u32) -> Flow {
        let Some(key) = self.wanted.key() else { return GOES_ON };
        self.drop_block(desk, id);
        if !matches!(self.stage, RetrieveStage::Root) {
            let reason = "the file's manifest is wrong: a block stands where a list of blocks should be";
            return self.give_up(desk, FailureKind::Integrity, reason.to_owned());
        }
        match self.wanted {
            Retrieval::Listing(_) => return self.give_up(desk, FailureKind::Folder, misfit(&key, false)),
            Retrieval::Manifest(_) => return self.show(desk, None, size.into()),
            Retrieval::File(_) | Retrieval::Block(_) => {}
        }
        let entry = ManifestEntry { key, size: u64::from(size) };
        let entries = if size == 0 { Vec::new() } else { vec![entry] };
        self.open(desk, TreeWalk::flat(entries), key, u64::from(size), Some(key))
    }
}

/// Why the thing of this key is not brought: a folder is no file, nor the other way round.
fn misfit(key: &Key, is_folder: bool) -> String {
    match is_folder {
        true => format!("{key} is a folder, not a file; name a file in it, as in KEY/PATH, or a DEST"),
        false => format!("{key} is a file, not a folder"),
    }
}
