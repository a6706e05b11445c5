//! What can be found out about the safety of files: how many sound copies each block has, and where.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failure::FailureKind;
use crate::id::Key;
use crate::peer::Peer;

/// How safe a block is, or a file by its worst block; from good to bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Each block has as many copies as are wanted.
    Whole,
    /// A block has fewer, but has some.
    Thin,
    /// A peer that may hold a block did not answer, and what it holds decides.
    Unknown,
    /// A block has no copy.
    Lost,
}

/// What is known of a peer's copy of a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// The peer hashed it now, and it is sound.
    Verified,
    /// The peer says that it holds the block.
    Claimed,
    /// The peer found that it does not hash to its key, and moved it aside.
    Damaged,
    /// The peer should hold the block, and does not.
    Absent,
    /// The peer did not answer.
    Silent,
}

/// A peer's copy of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CopyAt {
    /// The peer, by its place in [`Checked::peers`].
    pub peer: usize,
    /// What is known of the copy.
    pub state: CopyState,
}

/// How safe a block is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlockHealth {
    /// The block's key.
    pub key: Key,
    /// The block's size in bytes, if it is known.
    pub bytes: Option<u32>,
    /// How safe it is.
    pub health: Health,
    /// Copies that it should have.
    pub wanted: usize,
    /// Copies that it has, as far as their holders say.
    pub copies: usize,
    /// Each copy that was found, and each that was not where it should be.
    pub at: Vec<CopyAt>,
}

/// What a peer holds of a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerCopies {
    /// The peer.
    #[serde(flatten)]
    pub peer: Peer,
    /// Blocks that it hashed now, and that are sound.
    pub verified: u64,
    /// Blocks that it says it holds.
    pub claimed: u64,
    /// Blocks that it found damaged.
    pub damaged: u64,
    /// Blocks that it should hold, and does not.
    pub absent: u64,
    /// Blocks about which it did not answer.
    pub silent: u64,
    /// Whether it said lately that it has no room.
    #[serde(default)]
    pub full: bool,
}

/// How safe a file is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checked {
    /// How safe the file is: as its worst block.
    pub health: Health,
    /// The file's size in bytes, as far as its lists could be read.
    pub bytes: u64,
    /// The file's blocks, and the lists that name them; one that repeats counts once.
    pub blocks: u64,
    /// How many of them have how many copies: `copies[c]` of them have `c` copies.
    pub copies: Vec<u64>,
    /// Copies that are wanted of each: the most for any of them. They are no more than there are peers.
    pub wanted: usize,
    /// Copies that were asked for, however many peers there are.
    #[serde(default)]
    pub asked: usize,
    /// Copies that were made by this command.
    pub repaired: u64,
    /// Lists that could not be had or read, so that what they name is not known.
    pub unread: u64,
    /// The worst of the blocks.
    pub weakest: Option<Key>,
    /// The peers that hold blocks, should, or may.
    pub peers: Vec<PeerCopies>,
    /// Each block and list, in the order of keys.
    pub each: Vec<BlockHealth>,
    /// How long the command took.
    pub took: Duration,
}

/// A pass through all blocks held by a peer: each was read and hashed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Scrubbed {
    /// Blocks that were read.
    pub blocks: u64,
    /// Bytes of those that were sound.
    pub bytes: u64,
    /// Blocks that were damaged or gone.
    pub damaged: u64,
    /// Blocks that could not be read: nothing is known of them.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub unread: u64,
    /// How long it took.
    pub took: Duration,
}

/// How far a peer is with reading what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scrubbing {
    /// How long a pass takes.
    pub period: Duration,
    /// Blocks that were read in this pass.
    pub done: u64,
    /// Blocks held now.
    pub of: u64,
    /// The last pass, if one has ended since this peer began.
    pub last: Option<Scrubbed>,
    /// How long ago that was.
    pub ago: Option<Duration>,
}

impl Health {
    /// The sort of failure that it is for a user who wants the file safe; none if it is.
    pub const fn failure(self) -> Option<FailureKind> {
        match self {
            Self::Whole => None,
            Self::Thin => Some(FailureKind::Thin),
            Self::Unknown => Some(FailureKind::Unknown),
            Self::Lost => Some(FailureKind::NotFound),
        }
    }

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Thin => "thin",
            Self::Unknown => "unknown",
            Self::Lost => "lost",
        }
    }

    /// How safe a block is that should have `wanted` copies, has `copies`, and may have `silent` more at peers that do
    /// not answer.
    pub const fn of(wanted: usize, copies: usize, silent: usize) -> Self {
        if copies >= wanted && copies > 0 {
            Self::Whole
        } else if copies == 0 && silent == 0 {
            Self::Lost
        } else if silent > 0 && (copies == 0 || copies + silent >= wanted) {
            Self::Unknown
        } else {
            Self::Thin
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_makes_unknown_only_what_it_can_decide() {
        use Health::*;
        for (wanted, copies, silent, expected) in [
            (3, 3, 0, Whole),
            (3, 4, 1, Whole),
            (3, 2, 0, Thin),
            (3, 1, 1, Thin),
            (3, 2, 1, Unknown),
            (3, 0, 1, Unknown),
            (3, 0, 0, Lost),
            (0, 0, 0, Lost),
        ] {
            assert_eq!(Health::of(wanted, copies, silent), expected, "{copies} of {wanted}, {silent} silent");
        }
        assert!(Whole < Thin && Thin < Unknown && Unknown < Lost, "the worst is the greatest");
    }
}
