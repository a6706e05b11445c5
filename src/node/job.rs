//! Work that blocks: disks and TCP. The node orders it, transfer workers do it, the outcome comes back as an event.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::file::{Entry, LocalManifest, Manifest};
use crate::id::{Id, Key};
use crate::lease::{Lease, Note};
use crate::name::FileName;
use crate::path_text;
use crate::peer::Peer;

/// Names a piece of work.
pub type JobId = u64;
/// Names a file on its way into the network.
pub type PutId = u64;
/// Names a file on its way out of the network.
pub type GetId = u64;

/// Where a block's bytes can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Holder {
    /// In this peer's own store (or among the blocks that it offers while it stores a file).
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

/// What a peer says that was offered a block and got other bytes than its key tells.
pub(crate) const NOT_ITS_HASH: &str = "the bytes do not hash to the key";

/// One piece of blocking work. Each ends in exactly one [`Outcome`], even when it was cancelled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Read, hash and offer the next block of the file `put` stores; the first time, open the file.
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
    /// Write a node of the file's tree as a block, hash and offer it.
    Pack {
        /// The file being stored.
        put: PutId,
        /// The node of the tree.
        manifest: Manifest,
    },
    /// Copy a block that is offered (see [`Job::ReadNext`], [`Job::Pack`]) into the own store, durably.
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
    /// Hash the bytes of a block that is offered or in the own store which an offer [asks for](crate::wire::sample).
    Sample {
        /// The block's key.
        key: Key,
        /// The offer's.
        magic: u64,
        /// The peer that shows it.
        by: Id,
    },
    /// Fetch a block from another peer, checked and hashed, and offer it (see [`Job::ReadNext`]).
    Lend {
        /// What is offered under this name is withdrawn by it.
        put: PutId,
        /// The block's key.
        key: Key,
        /// The peer to fetch from.
        from: SocketAddr,
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
    /// A job about the named files in the working directory.
    Named(NamedJob),
}

/// A job about files of the classroom ring: `NAME.pdf` in the working directory. Its outcome is an [`Outcome::Named`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NamedJob {
    /// List the named files in the working directory.
    Scan,
    /// Look whether this file is in the working directory.
    Find {
        /// The file's name.
        file: FileName,
    },
    /// Make the file, empty, unless it exists.
    Touch {
        /// The file's name.
        file: FileName,
    },
    /// Copy the file from another peer. A file that the user put here is never replaced.
    Keep {
        /// The file's name.
        file: FileName,
        /// The peer that holds it.
        from: SocketAddr,
        /// The version at `from`, if known.
        offered: Option<Version>,
        /// The version that an earlier `Keep` wrote here.
        ours: Option<Version>,
        /// Whether `ours` may be replaced by a version that is not newer.
        replace: bool,
    },
    /// Fetch the file as `received_NAME.pdf`, replacing an earlier one.
    Receive {
        /// The file's name.
        file: FileName,
        /// The peer that holds it.
        from: SocketAddr,
        /// Our own port, so that the sender knows which peer asked.
        port: u16,
    },
}

/// One version of a named file: two with the same size and time are taken to be the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Version {
    /// The file's size in bytes.
    pub size: u64,
    /// The time of its last change, in microseconds since 1970; a copy keeps the time of its original.
    pub modified: u64,
}

/// What happens to the file here when another peer's file of the same name is to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// The file here stays: it is the offered version, or a newer one that this run wrote.
    Stays,
    /// The offered version takes its place: the file here is an older copy, or empty, or missing.
    Replaced,
    /// The file here is the user's own and stays; the transfer fails unless both have the same bytes.
    Compared,
}

/// What happens to the version `here` if another peer's version is `theirs`. `ours` is the version that a
/// [`NamedJob::Keep`] of this run wrote; `replace` says whether a version that is not newer may replace it.
pub fn resolve(here: Option<Version>, theirs: Option<Version>, ours: Option<Version>, replace: bool) -> Resolution {
    let Some(here) = here else { return Resolution::Replaced };
    if theirs == Some(here) {
        return Resolution::Stays;
    }
    if here.size == 0 {
        return Resolution::Replaced;
    }
    match theirs {
        Some(theirs) if ours == Some(here) && (replace || theirs.modified > here.modified) => Resolution::Replaced,
        Some(_) if ours == Some(here) => Resolution::Stays,
        // Nothing better is known than that it is here.
        None => Resolution::Stays,
        Some(_) => Resolution::Compared,
    }
}

/// The outcome of a [`NamedJob`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NamedOutcome {
    /// [`NamedJob::Scan`]: the named files in the working directory.
    Scanned {
        /// The files, in the order of names.
        files: Vec<(FileName, Version)>,
    },
    /// [`NamedJob::Find`]: the file's version.
    Found {
        /// The file's version; none if there is no such file.
        version: Option<Version>,
    },
    /// [`NamedJob::Touch`], [`NamedJob::Keep`]: the file is in the working directory.
    Kept {
        /// The version that lies here now.
        version: Version,
        /// Whether this job wrote it.
        written: bool,
    },
    /// [`NamedJob::Receive`]: the file has arrived and is verified.
    Received {
        /// The file's size in bytes.
        size: u64,
        /// SHA-256, as the sender announced it.
        sha256: Id,
    },
}

/// The outcome of a [`Job`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// [`Job::ReadNext`], [`Job::Lend`]: a block, now offered.
    Read {
        /// The block and its size.
        entry: Entry,
    },
    /// [`Job::ReadNext`]: the reader has reached the end of the file.
    End {
        /// The file's size in bytes.
        size: u64,
        /// SHA-256 of the file.
        sha256: Id,
    },
    /// [`Job::Pack`]: the tree's node is a block, now offered.
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
    /// [`Job::Open`]: ready; `resumed` if an earlier run's file was taken up.
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
        entries: Vec<Entry>,
        /// SHA-256 of the manifest's text, which names the list.
        root: Id,
        /// SHA-256 of the file, where the manifest shows itself whole.
        sha256: Option<Id>,
    },
    /// [`Job::Verify`], [`Job::Rehash`]: the block is here, and sound.
    Sound {
        /// The block's size in bytes.
        size: u32,
    },
    /// [`Job::Sample`]: what shows that the block is here.
    Sampled {
        /// The hash.
        sample: Id,
    },
    /// [`Job::Named`]: the outcome of the job about a named file.
    Named(NamedOutcome),
    /// The job is done and has nothing else to tell.
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

/// The sorts of failure that the node tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JobErrorKind {
    /// The other side does not hold the block, or a local file is missing.
    NotFound,
    /// The other side could not be reached.
    Unreachable,
    /// The other side went silent, or was slower than the least rate.
    TimedOut,
    /// Bytes or sizes that are not what was promised.
    Corrupt,
    /// Another file stands at the destination, and the command does not allow replacing it.
    Exists,
    /// The destination cannot be a file: it is a folder, a pipe, or may not be written.
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

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version { size: 3, modified: 10 };
    const NEW: Version = Version { size: 4, modified: 20 };
    const EMPTY: Version = Version { size: 0, modified: 30 };

    #[test]
    fn what_a_user_put_here_is_never_replaced() {
        for (replace, theirs) in [(false, NEW), (true, NEW), (true, OLD)] {
            for here in [OLD, NEW].into_iter().filter(|here| *here != theirs) {
                assert_eq!(resolve(Some(here), Some(theirs), None, replace), Resolution::Compared);
                assert_eq!(
                    resolve(Some(here), Some(theirs), Some(theirs), replace),
                    Resolution::Compared,
                    "changed since"
                );
            }
        }
    }

    #[test]
    fn an_own_copy_gives_way_to_a_newer_one_and_to_the_one_that_is_stored() {
        assert_eq!(resolve(Some(OLD), Some(NEW), Some(OLD), false), Resolution::Replaced);
        assert_eq!(resolve(Some(NEW), Some(OLD), Some(NEW), false), Resolution::Stays);
        assert_eq!(resolve(Some(NEW), Some(OLD), Some(NEW), true), Resolution::Replaced);
    }

    #[test]
    fn nothing_and_an_empty_file_give_way_and_the_same_file_stays() {
        assert_eq!(resolve(None, Some(OLD), None, false), Resolution::Replaced);
        assert_eq!(resolve(Some(EMPTY), Some(OLD), None, false), Resolution::Replaced);
        assert_eq!(resolve(Some(OLD), Some(OLD), None, true), Resolution::Stays);
    }
}
