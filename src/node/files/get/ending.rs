//! How a retrieve ends, and what its answer tells.

use super::Get;
use super::wanted::Retrieval;
use crate::file::Manifest;
use crate::id::Id;
use crate::node::desk::Desk;
use crate::node::files::{Flow, OVER};
use crate::node::notice::{Answer, FailureKind, Progress};
use crate::node::ticket::PartId;

/// What the answer will tell.
#[derive(Default)]
pub(super) struct RetrieveTotal {
    pub(super) size: u64,
    pub(super) root: Id,
    pub(super) sha256: Option<Id>,
    /// The source is a list of blocks that does not show whether it is whole.
    pub(super) incomplete: bool,
    pub(super) moved: u64,
    pub(super) resumed: u64,
    pub(super) blocks: u64,
}

impl Get {
    /// The file is where it should be; `standing` if it was before.
    pub(super) fn succeed(&mut self, desk: &mut Desk, standing: bool) -> Flow {
        desk.forget_get(self.id);
        let &RetrieveTotal { size: bytes, resumed, sha256, blocks, incomplete, .. } = &self.total;
        let (holders, complete, took) = (self.holders.len(), !incomplete, desk.now().since(self.since));
        let one_block = matches!(self.wanted, Retrieval::Block(_));
        let from = if one_block { self.holders.iter().copied().collect() } else { Vec::new() };
        let is_one_block = sha256 == Some(self.total.root);
        let hashed = (self.promised().is_some() || is_one_block) && !standing;
        let answer =
            Answer::Retrieved { bytes, resumed, sha256, hashed, blocks, holders, from, standing, complete, took };
        desk.answer(self.command, answer);
        OVER
    }

    /// The root is here, and nothing below it is wanted.
    pub(super) fn show(&self, desk: &mut Desk, manifest: Option<Manifest>, bytes: u64) -> Flow {
        desk.forget_get(self.id);
        desk.answer(self.command, Answer::Manifest { manifest, bytes });
        OVER
    }

    pub(super) fn give_up(&mut self, desk: &mut Desk, kind: FailureKind, mut reason: String) -> Flow {
        self.drop_blocks(desk);
        if kind == FailureKind::Exists && self.total.incomplete && self.total.size == 0 {
            reason.push_str("; the list names no block, and an empty list replaces no file");
        }
        if self.total.moved > 0 && !self.is_comparing() {
            desk.progress(self.command, Progress::Kept { bytes: self.total.moved, of: self.total.size });
        }
        desk.drop_work(PartId::Gets, self.id);
        desk.forget_get(self.id);
        desk.fail(self.command, kind, reason);
        OVER
    }
}
