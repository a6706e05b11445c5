//! What a node reports: answers to commands, their progress, and changes of its peers, blocks and routes.
//!
//! Console text and JSON lines are views of this one stream.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::command::{Command, CommandId};
use super::explain::Asked;
use super::health::{Checked, Scrubbed, Scrubbing};
use super::job::{JobError, JobErrorKind};
use super::trouble::Trouble;
use crate::file::Manifest;
use crate::id::{Id, Key};
use crate::name::FileName;
use crate::network::NetworkName;
use crate::overlay::{RouteNotice, TableRow};
use crate::peer::Peer;

/// One notice of a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// The end of a command.
    Answer {
        /// The command.
        command: CommandId,
        /// How the command ended.
        answer: Answer,
    },
    /// A command has made progress.
    Progress {
        /// The command.
        command: CommandId,
        /// What has changed since the last notice of this command.
        progress: Progress,
    },
    /// The node joined its network, or there was nobody to join.
    Joined {
        /// Peers in the routing table.
        peers: usize,
    },
    /// A peer entered the routing table.
    PeerUp {
        /// The peer.
        peer: Peer,
    },
    /// A peer left the routing table.
    PeerDown {
        /// The peer.
        peer: Peer,
    },
    /// A block is kept here now.
    BlockStored {
        /// The block's key.
        key: Key,
        /// The block's size in bytes.
        size: u32,
    },
    /// A block kept here is damaged or gone; what is left of it was moved aside, and it is fetched anew from another holder.
    BlockDamaged {
        /// The block's key.
        key: Key,
    },
    /// A block that no lease keeps any more was deleted.
    BlockEnded {
        /// The block's key.
        key: Key,
    },
    /// A block was given to a peer that should hold it and did not.
    BlockRepaired {
        /// The block's key.
        key: Key,
        /// The peer that received the copy.
        to: Peer,
    },
    /// A command that takes a while has made progress: told to those who watch, a few times a second at most.
    Step {
        /// The command.
        command: CommandId,
        /// Its number where it runs beside others; 0 elsewhere.
        job: u64,
        /// What it does.
        phase: Phase,
        /// Bytes that are done, or blocks of a departure.
        done: u64,
        /// Of how many; 0 while that is not known.
        of: u64,
    },
    /// Such a command has ended.
    Ended {
        /// The command.
        command: CommandId,
        /// Its number where it ran beside others; 0 elsewhere.
        job: u64,
        /// What it did.
        phase: Phase,
        /// Why it failed, if it did.
        failure: Option<FailureKind>,
    },
    /// A watcher did not keep up, so it misses notices.
    Missed {
        /// Notices that the watcher missed.
        #[serde(rename = "missed")]
        notices: u64,
    },
    /// Something went wrong, and nobody has to do anything about it; a peer writes it to its log.
    Trouble {
        /// What went wrong, with what.
        trouble: Trouble,
    },
    /// The overlay has news of the routing.
    Route {
        /// The news.
        route: RouteNotice,
    },
    /// Something happened to a file of the classroom ring; the notices come in the assignment's order.
    File {
        /// The file's name.
        file: FileName,
        /// What happened to the file.
        news: FileNews,
    },
}

/// What a command does that takes a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It stores.
    Storing,
    /// It retrieves.
    Retrieving,
    /// It hands blocks over, and leaves.
    HandingOver,
}

impl Phase {
    /// What `command` does; none if it takes but a moment.
    pub fn of(command: &Command) -> Option<Self> {
        match command {
            Command::Store { .. } | Command::StoreBlock { .. } | Command::StoreFile { .. } => Some(Self::Storing),
            Command::Retrieve { .. } | Command::RequestFile { .. } => Some(Self::Retrieving),
            Command::OnLease { store, .. } => Self::of(store),
            Command::Quit { .. } => Some(Self::HandingOver),
            _ => None,
        }
    }
}

/// What can happen to a named file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum FileNews {
    /// A peer asked to store the file; this peer is responsible for it, and accepted.
    StoreAccepted {
        /// The peer that asked.
        origin: Peer,
    },
    /// The file was requested, and this peer holds it.
    StoredHere,
    /// The file was requested; this peer is responsible for it and does not hold it.
    NotHere,
    /// This peer is about to send the file.
    Sending {
        /// The receiver.
        to: Peer,
    },
    /// This peer has sent the file.
    Sent {
        /// The receiver.
        to: Peer,
    },
    /// The file was found, and its transfer to this peer begins.
    Receiving {
        /// The sender.
        from: Peer,
    },
    /// The file has arrived and is verified.
    Received {
        /// The sender.
        from: Peer,
    },
}

/// How far a store, a retrieve or a departure is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "progress", rename_all = "snake_case")]
pub enum Progress {
    /// The file's size is known.
    Begun {
        /// The file's size in bytes.
        bytes: u64,
    },
    /// Bytes that are done: stored with at least the quorum, or fetched and verified.
    Moved {
        /// Bytes done so far.
        bytes: u64,
        /// The part of `bytes` that an earlier run had left in place.
        resumed: u64,
    },
    /// The command fails, but what it brought stays where it is: the same command goes on from there.
    Kept {
        /// Bytes that are kept.
        bytes: u64,
        /// The size of the whole file in bytes.
        of: u64,
    },
    /// A peer that leaves has handed over blocks.
    HandedOver {
        /// Blocks that other peers have now.
        blocks: u64,
        /// Blocks that were held when it began.
        of: u64,
    },
    /// The transfer of a block failed and is tried at another peer.
    Retried {
        /// The block's key.
        key: Key,
        /// Why it failed, for people.
        reason: String,
    },
}

impl Progress {
    /// Whether the next one tells all that this one does: it need not be told.
    pub fn is_a_step(&self) -> bool {
        matches!(self, Self::Moved { .. } | Self::HandedOver { .. })
    }
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
        /// The file's key: `retrieve` takes it.
        key: Key,
        /// SHA-256 of the file.
        sha256: Id,
        /// The file's size in bytes.
        bytes: u64,
        /// The file's blocks; one that repeats counts as often as it does.
        blocks: u64,
        /// Blocks that list those blocks, or such lists.
        lists: u64,
        /// How many blocks and lists got how many copies: `copies[c]` of them have `c` copies.
        copies: Vec<u64>,
        /// Copies wanted of each block: the replicas asked for, or the peers there are, silent ones included.
        wanted: usize,
        /// Blocks that the local manifest lists, where one was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        listed: Option<u64>,
        /// Peers that are known, belong among those nearest to a block, and did not answer: the most for any block.
        #[serde(default, skip_serializing_if = "is_zero")]
        unreached: usize,
        /// How long the command took.
        took: Duration,
    },
    /// The file was retrieved.
    Retrieved {
        /// The file's size in bytes.
        bytes: u64,
        /// The part of `bytes` that an earlier run had left in place.
        resumed: u64,
        /// SHA-256 of the file, from its manifest; none for a flat manifest or a single block.
        sha256: Option<Id>,
        /// Data blocks of the file.
        blocks: u64,
        /// Peers that sent blocks of the file.
        holders: usize,
        /// Which ones; told of a single block alone, for somebody who adds up a file from its blocks.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        from: Vec<SocketAddr>,
        /// Whether the file stood at its place before, all of it verified, so that nothing was written.
        standing: bool,
        /// Whether its source shows that the file is whole. A list of blocks in the seed's text cannot.
        complete: bool,
        /// How long the command took.
        took: Duration,
    },
    /// What the block is that a file's key, or a list in the file, names.
    Manifest {
        /// The list of blocks that it is; none if it is data.
        manifest: Option<Manifest>,
        /// Bytes of the file that the list covers, or bytes of data.
        bytes: u64,
    },
    /// How safe a file is.
    Checked(Box<Checked>),
    /// All blocks held here were read and hashed.
    Scrubbed(Scrubbed),
    /// What was waited for is true.
    Waited {
        /// How long the command took.
        took: Duration,
    },
    /// The local copies are dropped.
    Cleared {
        /// Blocks that this peer held and has deleted.
        blocks: u64,
    },
    /// Holders heard what became of leases.
    Leased {
        /// Copies of blocks that carry the leases.
        copies: u64,
        /// Those among them that no lease keeps any longer: they go after a grace.
        free: u64,
        /// Peers that heard of it.
        peers: usize,
        /// Peers that did not answer.
        silent: Vec<Peer>,
        /// Lists of blocks that could not be had, so that what they name was not looked for.
        unread: u64,
        /// Blocks of which no copy was found that a lease could be laid on.
        missing: u64,
        /// How long the command took.
        took: Duration,
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
        /// How long the command took.
        took: Duration,
        /// What was asked, if that was asked for: the questions in their order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        asked: Vec<Asked>,
    },
    /// The routing table's peers.
    Peers {
        /// The peers, each once.
        peers: Vec<PeerInfo>,
    },
    /// The routing table.
    Table {
        /// The rows of the table: buckets, or the ring's lists.
        rows: Vec<TableRow>,
    },
    /// This peer's numbers.
    Status(Status),
    /// A pinged peer answered.
    Pong {
        /// The peer that answered.
        peer: Peer,
        /// The round trip of the ping.
        rtt: Duration,
    },
    /// The named file is at the peer responsible for it.
    FileStored {
        /// The file's name.
        file: FileName,
        /// The peer responsible.
        at: Peer,
        /// The file's size in bytes; none if this peer had no such file, so an empty one was made.
        bytes: Option<u64>,
        /// How long the command took.
        took: Duration,
    },
    /// The named file is here, as `received_NAME.pdf`.
    FileReceived {
        /// The file's name.
        file: FileName,
        /// The peer that sent it.
        from: Peer,
        /// The file's size in bytes.
        bytes: u64,
        /// The file's SHA-256.
        sha256: Id,
        /// How long the command took.
        took: Duration,
    },
    /// The node has left.
    Left {
        /// Blocks that other peers now hold instead.
        handed_over: u64,
        /// Blocks that no other peer took, or that were not offered.
        left_behind: u64,
        /// Whether the blocks were offered to other peers.
        offered: bool,
        /// Whether the blocks stay in the data folder; else they are deleted with it.
        kept: bool,
        /// Whether no other peer was known that could have taken them.
        alone: bool,
    },
    /// The commands under way were ended, as the user asked; each of them has its own answer.
    Interrupted {
        /// How many commands were ended.
        commands: usize,
    },
    /// The command failed.
    Failed(Failure),
}

impl Answer {
    /// Why the command failed, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// What sort of failure this is. A departure that leaves blocks behind, though others were there to take them, is one;
    /// and that a peer which may hold a block has not heard of its leases.
    pub fn verdict(&self) -> Option<FailureKind> {
        match self {
            Self::Left { offered: true, left_behind: 1.., alone: false, .. } => Some(FailureKind::TimedOut),
            Self::Leased { silent, unread, .. } if !silent.is_empty() || *unread > 0 => Some(FailureKind::Unknown),
            answer => answer.failure().map(|failure| failure.kind),
        }
    }
}

/// A peer and what is known about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerInfo {
    /// The peer.
    #[serde(flatten)]
    pub peer: Peer,
    /// The smoothed round trip to it, if one was measured.
    pub rtt: Option<Duration>,
}

/// A peer's numbers at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// This peer.
    pub me: Peer,
    /// The overlay's name.
    pub overlay: String,
    /// The network's name.
    #[serde(default)]
    pub network: NetworkName,
    /// Whether all that it sends is sealed by a network key. The threads that send know, the core does not.
    #[serde(default)]
    pub sealed: bool,
    /// Time since the peer started.
    pub uptime: Duration,
    /// Peers in the routing table.
    pub peers: usize,
    /// Blocks held here.
    pub blocks: usize,
    /// Bytes of all blocks held.
    pub bytes: u64,
    /// Bytes that blocks may take here; none if the disk alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// Bytes of blocks and files received and sent since the start. The threads that move them know, the core does not.
    #[serde(default)]
    pub moved: (u64, u64),
    /// Requests waiting for an answer.
    pub pending: usize,
    /// Lookups under way.
    pub lookups: usize,
    /// Files being stored and retrieved.
    pub transfers: usize,
    /// Comparisons with other peers, and repairs of single blocks, under way.
    pub repairs: usize,
    /// Messages received and sent since the start.
    pub messages: (u64, u64),
    /// Datagrams that were lost since the start because this peer did not keep up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// Messages sent, and bytes of blocks offered, since the start to keep replica sets full.
    #[serde(default)]
    pub upkeep: (u64, u64),
    /// How far this peer is with reading what it holds; none if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<Scrubbing>,
}

/// Why a command failed: its kind for programs, a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Error)]
#[error("{reason}")]
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
    /// A failure of no other kind.
    Other,
    /// The command itself is wrong.
    Usage,
    /// No peer holds the key, or the file does not exist.
    NotFound,
    /// No answer came in time.
    TimedOut,
    /// A block got fewer copies than the quorum.
    TooFewCopies,
    /// Bytes do not match their hash or size.
    Integrity,
    /// A file has blocks with fewer copies than are wanted.
    Thin,
    /// Whether a file is safe cannot be told, because peers that may hold it do not answer.
    Unknown,
    /// Another file stands at the destination, and may not be replaced.
    Exists,
    /// A folder stands where a file was meant, or something else where a folder was meant.
    Folder,
    /// Of several files, some were done and others were not; each has its own answer.
    Partial,
    /// The user ended the command.
    Cancelled,
}

impl FailureKind {
    /// The exit code of a program whose command failed so.
    pub const fn code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage | Self::Exists | Self::Folder => 2,
            Self::Partial => 3,
            Self::NotFound => 4,
            Self::TimedOut | Self::TooFewCopies => 5,
            Self::Integrity => 6,
            Self::Thin => 8,
            Self::Unknown => 9,
            Self::Cancelled => 130,
        }
    }
}

impl From<&JobError> for FailureKind {
    fn from(error: &JobError) -> Self {
        match error.kind {
            JobErrorKind::NotFound => Self::NotFound,
            JobErrorKind::TimedOut | JobErrorKind::Unreachable => Self::TimedOut,
            JobErrorKind::Corrupt => Self::Integrity,
            JobErrorKind::Exists => Self::Exists,
            JobErrorKind::Unfit => Self::Usage,
            JobErrorKind::Full | JobErrorKind::Io | JobErrorKind::Busy | JobErrorKind::Cancelled => Self::Other,
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
