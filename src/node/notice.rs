//! What a node reports: answers to commands, their progress, and changes of its peers, blocks and routes.
//!
//! Console text and JSON lines are views of this one stream.

mod answer;
mod question;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use answer::too_few_copies;
pub use answer::{Answer, PeerInfo, Status};
pub use question::{AskedFor, AskedQuestion, QuestionOutcome};

pub use super::failure::{Failure, FailureKind};

use super::command::{Command, CommandId, Source};
use super::trouble::Trouble;
use crate::id::Key;
use crate::name::FileName;
use crate::overlay::RouteNotice;
use crate::path_text;
use crate::peer::Peer;

/// One notice of a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// The end of a command.
    Answer {
        /// The command that has ended.
        command: CommandId,
        /// How the command ended.
        answer: Answer,
    },
    /// A command has made progress.
    Progress {
        /// The command that has made progress.
        command: CommandId,
        /// What has changed since the last notice of this command.
        progress: Progress,
    },
    /// A file was stored or brought back: told to those who watch, with what its command named.
    Done {
        /// The command that stored or brought back the file.
        command: CommandId,
        /// How it ended.
        answer: Answer,
        /// What it named.
        named: NamedBy,
    },
    /// The node joined its network, or there was no peer to join.
    Joined {
        /// Peers in the routing table.
        peers: usize,
        /// Where there is none: peers that answer, and did not let this one in.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        shut_out: usize,
    },
    /// A peer entered the routing table.
    PeerUp {
        /// The peer that came.
        peer: Peer,
    },
    /// A peer left the routing table.
    PeerDown {
        /// The peer that is gone.
        peer: Peer,
    },
    /// A block is kept here now.
    BlockStored {
        /// The block's key.
        key: Key,
        /// The block's size in bytes.
        size: u32,
    },
    /// A block kept here is damaged or gone; what is left of it was moved aside, and it is fetched anew from another
    /// holder.
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
        /// The command that has made progress.
        command: CommandId,
        /// Its number where it runs beside others; 0 elsewhere.
        session: u64,
        /// What it does.
        phase: Phase,
        /// Bytes that are done, or blocks of a departure.
        done: u64,
        /// Of how many; 0 while that is not known.
        of: u64,
    },
    /// Such a command has ended.
    Ended {
        /// The command that has ended.
        command: CommandId,
        /// Its number where it ran beside others; 0 elsewhere.
        session: u64,
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
    /// Something went wrong, and no user has to do anything about it; a peer writes it to its log.
    Trouble {
        /// What went wrong, with what.
        trouble: Trouble,
    },
    /// The overlay has news of the routing.
    Route {
        /// What has changed.
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

/// What a store or a retrieve named.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum NamedBy {
    /// A file that was to be stored.
    Stored {
        /// Where the file lay.
        #[serde(with = "path_text")]
        file: PathBuf,
    },
    /// A key, and where to bring it.
    Key {
        /// The key that the file was asked for by.
        key: Key,
        /// Where the file was to go.
        #[serde(with = "path_text")]
        dest: PathBuf,
    },
    /// A local manifest, and where to bring what it lists.
    Manifest {
        /// Where the manifest lay.
        #[serde(with = "path_text")]
        file: PathBuf,
        /// Where the listed file was to go.
        #[serde(with = "path_text")]
        dest: PathBuf,
    },
}

impl NamedBy {
    /// What a `Store` or a `Retrieve` names, on a lease or not; none of any other command.
    pub fn of(command: &Command) -> Option<Self> {
        match command {
            Command::Store { path, .. } => Some(Self::Stored { file: path.clone() }),
            Command::Retrieve { source: Source::Key(key), dest, .. } => {
                Some(Self::Key { key: *key, dest: dest.clone() })
            }
            Command::Retrieve { source: Source::Manifest(file), dest, .. } => {
                Some(Self::Manifest { file: file.clone(), dest: dest.clone() })
            }
            Command::OnLease { store, .. } => Self::of(store),
            _ => None,
        }
    }
}

/// What a command does that takes a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// It stores.
    Storing,
    /// It retrieves.
    Retrieving,
    /// It hands blocks over, and leaves.
    HandingOver,
}

impl Phase {
    /// What `command` does; none of commands whose steps are not told to those who watch.
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
#[non_exhaustive]
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
#[non_exhaustive]
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

impl Notice {
    /// The command that this notice answers, or tells the progress of, if it does.
    pub fn command(&self) -> Option<CommandId> {
        match self {
            Self::Answer { command, .. } | Self::Progress { command, .. } => Some(*command),
            _ => None,
        }
    }
}
