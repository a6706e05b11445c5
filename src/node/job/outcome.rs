//! What comes of a job.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

#[cfg(doc)]
use super::Job;
use super::named::NamedOutcome;
use crate::file::{Manifest, ManifestEntry};
use crate::id::{Id, Key};

/// The outcome of a [`Job`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// [`Job::ReadNext`], [`Job::Lend`]: a block, now lent.
    Read {
        /// The block and its size.
        entry: ManifestEntry,
    },
    /// [`Job::ReadNext`]: a block, now lent, with which the file ends.
    Last {
        /// The block and its size.
        entry: ManifestEntry,
        /// The file's size in bytes.
        size: u64,
        /// SHA-256 of the file.
        sha256: Id,
        /// Whether the block is the whole file, and no peer can take it for a list of blocks: its key names the file.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        bare: bool,
    },
    /// [`Job::ReadNext`]: the file ended with the block before, which was full, or is empty.
    End {
        /// The file's size in bytes.
        size: u64,
        /// SHA-256 of the file.
        sha256: Id,
    },
    /// [`Job::Pack`]: the tree's node is a block, now lent.
    Packed {
        /// The block's key.
        key: Key,
        /// The block's size in bytes.
        size: u32,
    },
    /// [`Job::Keep`], [`Job::Pull`]: the block is in the own store and durable.
    Stored {
        /// The block's size in bytes.
        size: u32,
    },
    /// [`Job::Open`]: ready, and no block written; `resumed` if an earlier run's file was taken up.
    Opened {
        /// Whether blocks may be there already ([`Job::Check`]).
        resumed: bool,
    },
    /// [`Job::Open`]: a file of as many bytes stands at the destination. Its blocks can be checked; none is written.
    Standing,
    /// [`Job::Check`]: whether the block is there.
    Checked {
        /// Whether the bytes in its place hash to its key.
        good: bool,
    },
    /// [`Job::Fetch`]: the block is in its place.
    Fetched,
    /// [`Job::Unpack`]: the node of the tree.
    Unpacked {
        /// The node of the tree.
        manifest: Manifest,
    },
    /// [`Job::Unpack`]: a sound block, but no manifest; of this size.
    NotManifest {
        /// The block's size in bytes.
        size: u32,
    },
    /// [`Job::ReadManifest`]: the entries, and the SHA-256 of the manifest's text.
    Manifest {
        /// The file's data blocks, in order.
        entries: Vec<ManifestEntry>,
        /// SHA-256 of the manifest's text, which names the list.
        root: Id,
        /// SHA-256 of the file, where the manifest shows itself whole.
        sha256: Option<Id>,
    },
    /// [`Job::Verify`], [`Job::Rehash`]: the block is here, and sound. [`Job::ReadBack`]: it is there.
    Sound {
        /// The block's size in bytes.
        size: u32,
    },
    /// [`Job::Sample`]: what shows that the block is here.
    Sampled {
        /// The hash of the bytes that the offer names, with its magic and the peer's id.
        sample: Id,
    },
    /// [`Job::Resolve`]: where the names lead.
    Resolved {
        /// Every address of every name.
        known: Vec<SocketAddr>,
        /// The addresses of each name that has several.
        hosts: Vec<Vec<SocketAddr>>,
    },
    /// [`Job::Named`]: the outcome of the job about a named file.
    Named(NamedOutcome),
    /// The job is done and has nothing else to tell. Of [`Job::Open`]: the only block was written, and the file has its
    /// name.
    Done,
    /// The job failed.
    Failed(JobError),
}

/// Why a job failed: what happened, to what, in a sentence for people, and its kind for the node to act on.
#[derive(Clone, PartialEq, Eq, Debug, Error, Serialize, Deserialize)]
#[error("{reason}")]
pub struct JobError {
    /// The sort of failure.
    pub kind: JobErrorKind,
    /// What happened and to what, for people.
    pub reason: String,
}

impl JobErrorKind {
    /// Whether it tells of this peer alone, and of no other.
    pub(crate) const fn is_our_own(self) -> bool {
        matches!(self, Self::Full | Self::Io | Self::Busy | Self::Cancelled)
    }
}

/// The sorts of failure that the node tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JobErrorKind {
    /// The other side does not hold the block, or a local file is missing.
    NotFound,
    /// No connection to the other side came about.
    Unreachable,
    /// The other side went silent, broke the connection off, or was slower than the least rate.
    TimedOut,
    /// Bytes or sizes that are not what was promised.
    Corrupt,
    /// The block's bytes are right. They begin as a list of blocks, and are none.
    BrokenList,
    /// Another file stands at the destination, and the command does not allow replacing it.
    Exists,
    /// The destination cannot be a file: it is a folder, a pipe, or may not be written; or what is named as a manifest
    /// file is none, or damaged.
    Unfit,
    /// The quota or the disk has no room.
    Full,
    /// The node has cancelled the job.
    Cancelled,
    /// The local system refused an operation.
    Io,
    /// The local system lacks descriptors or memory just now. It says nothing about the block.
    Busy,
}
