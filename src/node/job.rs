//! Work that blocks: disks and TCP. The node orders it, transfer workers do it, the outcome comes back as an event.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::file::{Entry, LocalManifest, Manifest};
use crate::id::{Id, Key};
use crate::peer::Peer;
use crate::wire::ring::FileName;

/// Names a piece of work.
pub type JobId = u64;
/// Names a file on its way into the network.
pub type PutId = u64;
/// Names a file on its way out of the network.
pub type GetId = u64;

/// Where a block's bytes are to be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Holder {
    /// In this peer's own store (or among what it offers while it stores a file).
    Own,
    /// At another peer, over TCP.
    Peer(SocketAddr),
}

/// A block's place in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Slot {
    /// The block.
    pub key: Key,
    /// Its bytes.
    pub size: u32,
    /// Where they start in the file.
    pub offset: u64,
}

/// One piece of blocking work. Each ends in exactly one [`Outcome`], even when it was cancelled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Read, hash and offer the next block of the file `put` stores; the first time, open the file.
    /// The reader goes on where the last `ReadNext` of this `put` stopped; the node never orders two at once.
    /// If `manifest` is named, the block's entry is also added to a temporary file beside it. Where something else than
    /// a manifest stands at its name, that is an error before anything is read.
    ReadNext {
        /// Whose reader.
        put: PutId,
        /// The file.
        path: PathBuf,
        /// The local manifest that shall appear in the end.
        manifest: Option<LocalManifest>,
    },
    /// Write a node of the file's tree as a block, hash and offer it.
    Pack {
        /// For which file.
        put: PutId,
        /// The node.
        manifest: Manifest,
    },
    /// Copy a block that is offered (see [`Job::ReadNext`], [`Job::Pack`]) into the own store, durably.
    Keep {
        /// The block.
        key: Key,
    },
    /// The file is stored: let the local manifest appear at its name. An error if none was wanted.
    Publish {
        /// Which file.
        put: PutId,
    },
    /// Pull a block from another peer into the own store: checked, hashed, durable.
    Pull {
        /// The block.
        key: Key,
        /// Its size, if known.
        size: Option<u32>,
        /// From where.
        from: SocketAddr,
    },
    /// Prepare the file `get` writes: a temporary name beside `dest`, `size` bytes long. An earlier run's file of the
    /// same root and size is taken up. What stands at `dest` may be the file already: see [`Outcome::Standing`].
    Open {
        /// Whose file.
        get: GetId,
        /// The final name.
        dest: PathBuf,
        /// The root of the tree, or of a flat list the hash of its text; part of the temporary name.
        root: Id,
        /// Bytes.
        size: u64,
        /// Whether a file of that size at `dest` is first to be compared.
        compare: bool,
        /// Whether another file at `dest` may be replaced in the end.
        replace: bool,
    },
    /// Is this block already in the file `get` writes, from an earlier run, or in the file that stands at its name?
    Check {
        /// Whose file.
        get: GetId,
        /// Which block.
        slot: Slot,
    },
    /// Bring a block into the file `get` writes, at its place, checked and hashed.
    Fetch {
        /// Whose file.
        get: GetId,
        /// Which block, where.
        slot: Slot,
        /// From where.
        from: Holder,
    },
    /// Fetch a block of the tree and read it. A block that is no manifest is [`Outcome::NotManifest`].
    Unpack {
        /// The block.
        key: Key,
        /// From where.
        from: Holder,
    },
    /// All blocks are in place: give the file its name.
    Finish {
        /// Whose file.
        get: GetId,
        /// What the whole file hashes to, where nothing but a local manifest vouches for that.
        sha256: Option<Id>,
    },
    /// Read a local manifest file.
    ReadManifest {
        /// The file.
        path: PathBuf,
    },
    /// Look at a block of the own store: does its file still hold what its name says? It is hashed unless it is as it was
    /// when it last was. If not, it is moved aside.
    Verify {
        /// The block.
        key: Key,
    },
    /// Delete a block from the own store.
    Delete {
        /// The block.
        key: Key,
    },
    /// Remember these peers on disk for the next start.
    SavePeers {
        /// The peers.
        peers: Vec<Peer>,
    },
    /// Something about the named files in the working directory.
    Named(NamedJob),
}

/// A job about files of the classroom ring: `NAME.pdf` in the working directory. Its outcome is an [`Outcome::Named`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NamedJob {
    /// Which files are there?
    Scan,
    /// Is this file there?
    Find {
        /// Its name.
        file: FileName,
    },
    /// Make the file, empty, unless it is there.
    Touch {
        /// Its name.
        file: FileName,
    },
    /// Have the file here as it is at another peer. What the user put here is never replaced.
    Keep {
        /// Its name.
        file: FileName,
        /// Who has it.
        from: SocketAddr,
        /// What the other one has, as far as known.
        offered: Option<Version>,
        /// The version that an earlier `Keep` wrote here.
        ours: Option<Version>,
        /// Whether that one may be replaced by one that is not newer.
        replace: bool,
    },
    /// Bring the file here as `received_NAME.pdf`, whatever stood there before.
    Receive {
        /// Its name.
        file: FileName,
        /// Who has it.
        from: SocketAddr,
        /// Our own port: tells the other one on whose behalf it sends.
        port: u16,
    },
}

/// One version of a named file: two with the same size and time are taken to be the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Version {
    /// Bytes.
    pub size: u64,
    /// Changed last, in microseconds since 1970; a copy has the time of what it was copied from.
    pub modified: u64,
}

/// What becomes of a file that lies where another peer's is to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// It is the one that is offered, or a newer one of our own: it stays.
    Stays,
    /// It is an older copy, an empty file, or there is none: the new one takes its place.
    Replaced,
    /// It is the user's own: it stays, and the transfer has failed unless both have the same bytes.
    Compared,
}

/// What becomes of the version `here` if another peer's version is `theirs`. `ours` is the version that a
/// [`NamedJob::Keep`] of this run wrote; `replace` says whether that one gives way to one that is not newer.
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

/// What came of a [`NamedJob`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NamedOutcome {
    /// [`NamedJob::Scan`]: these are there.
    Scanned {
        /// In the order of names.
        files: Vec<(FileName, Version)>,
    },
    /// [`NamedJob::Find`].
    Found {
        /// None: it is not there.
        version: Option<Version>,
    },
    /// [`NamedJob::Touch`], [`NamedJob::Keep`]: it is there.
    Kept {
        /// As it is now.
        version: Version,
        /// Whether this job wrote it.
        written: bool,
    },
    /// [`NamedJob::Receive`]: it is there, verified.
    Received {
        /// Bytes.
        size: u64,
        /// SHA-256, as the sender announced it.
        sha256: Id,
    },
}

/// What came of a [`Job`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// [`Job::ReadNext`]: a block, now offered.
    Read {
        /// The block and its size.
        entry: Entry,
    },
    /// [`Job::ReadNext`]: the file is read to its end.
    End {
        /// Bytes of the file.
        size: u64,
        /// SHA-256 of the file.
        sha256: Id,
    },
    /// [`Job::Pack`]: the tree's node is a block, now offered.
    Packed {
        /// The block's key.
        key: Key,
        /// The block's own bytes.
        size: u32,
    },
    /// [`Job::Keep`], [`Job::Pull`]: the block is in the own store and durable.
    Stored {
        /// Its bytes.
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
        /// The node.
        manifest: Manifest,
    },
    /// [`Job::Unpack`]: a sound block, but no manifest; of this size.
    NotManifest {
        /// Its bytes.
        size: u32,
    },
    /// [`Job::ReadManifest`]: the entries, and the SHA-256 of the manifest's text.
    Manifest {
        /// Data blocks in order.
        entries: Vec<Entry>,
        /// Names the list.
        root: Id,
        /// SHA-256 of the file, where the manifest shows itself whole.
        sha256: Option<Id>,
    },
    /// [`Job::Verify`]: the block is here, and sound.
    Sound {
        /// Its bytes.
        size: u32,
    },
    /// [`Job::Named`].
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
    /// What sort of failure.
    pub kind: JobErrorKind,
    /// What happened, to what.
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
    /// Another file stands at the place that was named, and nobody said that it may be replaced.
    Exists,
    /// The place that was named is none for a file: a folder, a pipe, what may not be written.
    Unfit,
    /// No room: quota or disk.
    Full,
    /// The node does not need it any more.
    Cancelled,
    /// The local system refused.
    Io,
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
