//! What a node tells: answers to commands, their progress, and things worth knowing.
//!
//! This is the one stream of things worth telling. Console text, JSON lines, traces and pictures are views of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::CommandId;
use super::job::{JobError, JobErrorKind};
use crate::id::{Id, Key};
use crate::overlay::{RouteNotice, TableRow};
use crate::peer::Peer;
use crate::wire::ring::FileName;

/// One thing worth telling.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// The end of a command.
    Answer {
        /// Which.
        command: CommandId,
        /// How it ended.
        answer: Answer,
    },
    /// A command goes on.
    Progress {
        /// Which.
        command: CommandId,
        /// How far it is.
        progress: Progress,
    },
    /// The node joined its network, or there was nobody to join.
    Joined {
        /// Peers known.
        peers: usize,
    },
    /// A peer came into view.
    PeerUp {
        /// Who.
        peer: Peer,
    },
    /// A peer is gone.
    PeerDown {
        /// Who.
        peer: Peer,
    },
    /// A block is kept here now.
    BlockStored {
        /// Which.
        key: Key,
        /// Its bytes.
        size: u32,
    },
    /// A block kept here is damaged; it was moved aside and is fetched anew from another holder.
    BlockDamaged {
        /// Which.
        key: Key,
    },
    /// A block was given to a peer that should hold it and did not.
    BlockRepaired {
        /// Which.
        key: Key,
        /// Who has it now.
        to: Peer,
    },
    /// What the overlay tells.
    Route {
        /// What.
        route: RouteNotice,
    },
    /// What becomes of a file of the classroom ring, in the order of the assignment.
    File {
        /// Its name.
        file: FileName,
        /// What.
        news: FileNews,
    },
}

/// Stations of a named file's way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum FileNews {
    /// A peer wants it stored, and this one is responsible for it.
    StoreAccepted {
        /// Who wants it stored.
        origin: Peer,
    },
    /// It was asked for, and it is here.
    StoredHere,
    /// It was asked for, and it is not here, where it should be.
    NotHere,
    /// It is about to be sent.
    Sending {
        /// To whom.
        to: Peer,
    },
    /// It was sent.
    Sent {
        /// To whom.
        to: Peer,
    },
    /// It was found, and is on its way here.
    Receiving {
        /// From whom.
        from: Peer,
    },
    /// It is here, verified.
    Received {
        /// From whom.
        from: Peer,
    },
}

/// How far a store or retrieve is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "progress", rename_all = "snake_case")]
pub enum Progress {
    /// The file's size is known.
    Begun {
        /// Bytes, if known.
        bytes: u64,
    },
    /// Bytes that are done: stored with at least the quorum, or fetched and verified.
    Moved {
        /// Done so far.
        bytes: u64,
        /// Of these, found in place from an earlier run.
        resumed: u64,
    },
    /// The command fails, but what it brought stays where it is: the same command goes on from there.
    Kept {
        /// Bytes that are there.
        bytes: u64,
        /// Bytes of the whole file.
        of: u64,
    },
    /// A block met trouble and is tried elsewhere.
    Retried {
        /// Which.
        key: Key,
        /// Why, for people.
        reason: String,
    },
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The file is in the network.
    Stored {
        /// Brings it back.
        key: Key,
        /// SHA-256 of the file.
        sha256: Id,
        /// Its bytes.
        bytes: u64,
        /// Its blocks, manifests included.
        blocks: u64,
        /// How many blocks got how many copies: `copies[c]` blocks have `c` copies.
        copies: Vec<u64>,
        /// Copies wanted of each block: the replicas asked for, or the peers there are, silent ones included.
        wanted: usize,
        /// Blocks that the local manifest lists, where one was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        listed: Option<u64>,
        /// Peers that are known, belong among those nearest to a block, and did not answer: the most for any block.
        #[serde(default, skip_serializing_if = "is_zero")]
        unreached: usize,
        /// How long it took.
        took: Duration,
    },
    /// The file is back.
    Retrieved {
        /// Its bytes.
        bytes: u64,
        /// Of these, found in place from an earlier run.
        resumed: u64,
        /// SHA-256 of the file as its manifest tells; a flat manifest or a single block has none.
        sha256: Option<Id>,
        /// Blocks it came in.
        blocks: u64,
        /// Peers it came from.
        holders: usize,
        /// Whether the file stood at its place before, all of it verified, so that nothing was written.
        standing: bool,
        /// Whether its source shows that the file is whole. A list of blocks in the seed's text cannot.
        complete: bool,
        /// How long it took.
        took: Duration,
    },
    /// Local copies are dropped.
    Cleared {
        /// Blocks that were here and are gone.
        blocks: u64,
    },
    /// The blocks held here.
    List {
        /// Keys and sizes in bytes, in the order of keys.
        blocks: Vec<(Key, u32)>,
    },
    /// A key's replica set.
    Lookup {
        /// The key.
        key: Key,
        /// Live peers nearest to it, nearest first.
        peers: Vec<Peer>,
        /// Those of them (and others met) that hold the block.
        holders: Vec<Peer>,
        /// Requests in the longest chain.
        hops: u32,
        /// How long it took.
        took: Duration,
    },
    /// The routing table's peers.
    Peers {
        /// Each once.
        peers: Vec<PeerInfo>,
    },
    /// The routing table.
    Table {
        /// Its parts.
        rows: Vec<TableRow>,
    },
    /// Numbers.
    Status(Status),
    /// The peer is there.
    Pong {
        /// Who it is.
        peer: Peer,
        /// Round trip.
        rtt: Duration,
    },
    /// The named file is at the peer responsible for it.
    FileStored {
        /// Which.
        file: FileName,
        /// The peer responsible.
        at: Peer,
        /// Its bytes; none if there was none to give, so an empty one was made.
        bytes: Option<u64>,
        /// How long it took.
        took: Duration,
    },
    /// The named file is here, as `received_NAME.pdf`.
    FileReceived {
        /// Which.
        file: FileName,
        /// Who had it.
        from: Peer,
        /// Its bytes.
        bytes: u64,
        /// Its SHA-256.
        sha256: Id,
        /// How long it took.
        took: Duration,
    },
    /// The node has left.
    Left {
        /// Blocks that others hold in its stead.
        handed_over: u64,
        /// Blocks that nobody took, or that were not offered.
        left_behind: u64,
        /// Whether they were offered to others.
        offered: bool,
        /// Whether they stay in the data folder. Else they are gone with the peer.
        kept: bool,
    },
    /// What was under way for the user was ended, as somebody wished; each of these commands has its own answer.
    Interrupted {
        /// Commands.
        commands: usize,
    },
    /// The command failed.
    Failed(Failure),
}

/// A peer and what is known about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Who.
    #[serde(flatten)]
    pub peer: Peer,
    /// Smoothed round trip, if measured.
    pub rtt: Option<Duration>,
}

/// A peer's numbers at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// This peer.
    pub me: Peer,
    /// Kademlia or ring.
    pub overlay: String,
    /// Since it started.
    pub uptime: Duration,
    /// Peers in the routing table.
    pub peers: usize,
    /// Blocks held.
    pub blocks: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Requests waiting for an answer.
    pub pending: usize,
    /// Lookups under way.
    pub lookups: usize,
    /// Files being stored and retrieved.
    pub transfers: usize,
    /// Blocks waiting for a repair check.
    pub repairs: usize,
    /// Messages received and sent since the start.
    pub messages: (u64, u64),
    /// Datagrams that were lost since the start because this peer did not keep up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

/// Why a command failed: its kind for programs, a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The sort of failure; it decides the exit code.
    pub kind: FailureKind,
    /// What happened, to what, and what to do.
    pub reason: String,
}

/// The sorts of failure; each has one exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// None of the others.
    Other,
    /// Asked wrongly.
    Usage,
    /// A key nobody holds, a file that is not there.
    NotFound,
    /// No answer in time.
    TimedOut,
    /// Fewer copies than the quorum.
    TooFewCopies,
    /// Bytes that are not what was promised.
    Integrity,
    /// Something stands at the place that was named, and must not be replaced.
    Exists,
    /// The user ended it.
    Cancelled,
}

impl From<&JobError> for FailureKind {
    fn from(error: &JobError) -> Self {
        match error.kind {
            JobErrorKind::NotFound => Self::NotFound,
            JobErrorKind::TimedOut | JobErrorKind::Unreachable => Self::TimedOut,
            JobErrorKind::Corrupt => Self::Integrity,
            JobErrorKind::Exists => Self::Exists,
            JobErrorKind::Unfit => Self::Usage,
            JobErrorKind::Full | JobErrorKind::Io | JobErrorKind::Cancelled => Self::Other,
        }
    }
}

impl Notice {
    /// The command this notice belongs to, if it belongs to one.
    pub fn command(&self) -> Option<CommandId> {
        match self {
            Self::Answer { command, .. } | Self::Progress { command, .. } => Some(*command),
            _ => None,
        }
    }
}
