//! Work that blocks: disks and TCP. The node orders it, transfer workers do it, the outcome comes back as an event.

mod named;
mod outcome;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use named::{NamedJob, NamedOutcome, Resolution, Version, resolve};
pub use outcome::{JobError, JobErrorKind, Outcome};

use crate::file::{LocalManifest, Manifest};
use crate::id::{Id, Key};
use crate::lease::{Lease, Note};
use crate::path_text;
use crate::peer::Peer;

/// Names a piece of work.
pub type JobId = u64;
/// Names a file on its way into the network.
pub type PutId = u64;
/// Names a file on its way out of the network.
pub type GetId = u64;

/// For whom a job is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Urgency {
    /// The user of this peer.
    Own,
    /// Other peers.
    Others,
}

/// Where a block's bytes can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Holder {
    /// In this peer's own store (or among the blocks that it lends while it stores a file).
    Own,
    /// At another peer, over TCP.
    Peer(SocketAddr),
}

/// A block's place in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Slot {
    /// The block's key.
    pub key: Key,
    /// The block's size in bytes.
    pub size: u32,
    /// The offset of its first byte in the file.
    pub offset: u64,
}

/// One piece of blocking work. Each ends in exactly one [`Outcome`], even when it was cancelled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Read, hash and lend the next block of the file `put` stores: others may read it here. The first time, open the
    /// file.
    /// The reader goes on where the last `ReadNext` of this `put` stopped; the node never orders two at once.
    /// If `manifest` is named, the block's entry is also added to a temporary file beside it. Where something else than
    /// a manifest stands at its name, that is an error before anything is read.
    ReadNext {
        /// The file being stored, whose reader goes on.
        put: PutId,
        /// The file's path.
        #[serde(with = "path_text")]
        path: PathBuf,
        /// The local manifest that shall appear in the end.
        manifest: Option<LocalManifest>,
    },
    /// Write a node of the file's tree as a block, hash and lend it.
    Pack {
        /// The file being stored.
        put: PutId,
        /// The node of the tree.
        manifest: Manifest,
    },
    /// Copy a block that is lent (see [`Job::ReadNext`], [`Job::Pack`]) into the own store, durably.
    Keep {
        /// The block's key.
        key: Key,
        /// What it is kept for is written down, before it has its name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leases: Vec<Lease>,
    },
    /// The file is stored: let the local manifest appear at its name. An error if none was wanted.
    Publish {
        /// The file being stored.
        put: PutId,
    },
    /// Pull a block from another peer into the own store: checked, hashed, durable.
    Pull {
        /// The block's key.
        key: Key,
        /// Its size, if known.
        size: Option<u32>,
        /// The peer to pull from.
        from: SocketAddr,
        /// What it is kept for is written down, before it has its name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leases: Vec<Lease>,
    },
    /// Prepare the file `get` writes: a temporary name beside `dest`, `size` bytes long. An earlier run's file of the
    /// same root and size is taken up. What stands at `dest` may be the file already: see [`Outcome::Standing`].
    Open {
        /// The file being retrieved.
        get: GetId,
        /// The file's final path.
        #[serde(with = "path_text")]
        dest: PathBuf,
        /// The root of the tree, or of a flat list the hash of its text; part of the temporary name.
        root: Id,
        /// The file's size in bytes.
        size: u64,
        /// Whether a file of that size at `dest` is first to be compared.
        compare: bool,
        /// Whether another file at `dest` may be replaced in the end.
        replace: bool,
        /// The file's only block, which the own store has, or which is lent. Unless there is something to compare or to
        /// take up, it is written, and the file gets its name: [`Outcome::Done`]. If it cannot be read, the file is
        /// open, and no more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Slot>,
    },
    /// Check whether this block is already in the file `get` writes, from an earlier run, or in the file at its final
    /// path.
    Check {
        /// The file being retrieved.
        get: GetId,
        /// The block and its place in the file.
        slot: Slot,
    },
    /// Bring a block into the file `get` writes, at its place, checked and hashed.
    Fetch {
        /// The file being retrieved.
        get: GetId,
        /// The block and its place in the file.
        slot: Slot,
        /// The holder to read from.
        from: Holder,
    },
    /// Fetch a block of the tree and read it. A block that is no manifest is [`Outcome::NotManifest`].
    Unpack {
        /// The block's key.
        key: Key,
        /// The holder to read from.
        from: Holder,
        /// The file being retrieved, whose root it should be: a block that is no manifest is lent on its behalf, so
        /// that it need not come twice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root_of: Option<GetId>,
    },
    /// Fetch a block that another peer says it has, and hash it: is it there?
    ReadBack {
        /// The block's key.
        key: Key,
        /// The peer to read from.
        from: SocketAddr,
    },
    /// All blocks are in place: give the file its name.
    Finish {
        /// The file being retrieved.
        get: GetId,
        /// SHA-256 that the whole file must have, where only a local manifest vouches for it.
        sha256: Option<Id>,
    },
    /// Read a local manifest file.
    ReadManifest {
        /// The file's path.
        #[serde(with = "path_text")]
        path: PathBuf,
    },
    /// Check that a block of the own store still hashes to its name. It is hashed only if its file has changed since it
    /// was last hashed. A damaged block is moved aside. What a sound one is kept for besides is written down, durably.
    Verify {
        /// The block's key.
        key: Key,
        /// The leases on it that are new.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leases: Vec<Lease>,
    },
    /// Write down, durably, what was told about leases.
    Note {
        /// What was told.
        notes: Vec<Note>,
    },
    /// Read a block of the own store from the disk and hash it, whatever is known of its file. A damaged block is moved
    /// aside.
    Rehash {
        /// The block's key.
        key: Key,
    },
    /// Hash the bytes of a block that is lent or in the own store which an offer [asks for](crate::wire::sample).
    Sample {
        /// The block's key.
        key: Key,
        /// The magic of the offer.
        magic: u64,
        /// The peer that shows it.
        by: Id,
    },
    /// Fetch a block from another peer, checked and hashed, and lend it (see [`Job::ReadNext`]).
    Lend {
        /// What is lent under this name is withdrawn by it.
        put: PutId,
        /// The block's key.
        key: Key,
        /// The peer to fetch from.
        from: SocketAddr,
    },
    /// Connect to another peer, and no more: can it be reached?
    Dial {
        /// The peer to connect to.
        to: SocketAddr,
    },
    /// Delete a block from the own store.
    Delete {
        /// The block's key.
        key: Key,
    },
    /// Remember these peers on disk for the next start.
    SavePeers {
        /// The peers to remember.
        peers: Vec<Peer>,
    },
    /// Look up the names that the user gave of peers to join through: they may lead elsewhere by now.
    Resolve,
    /// A job about the named files in the working directory.
    Named(NamedJob),
}
