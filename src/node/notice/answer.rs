//! How commands end: what each of them is answered.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AskedQuestion;
use crate::file::Manifest;
use crate::id::{Id, Key};
use crate::name::FileName;
use crate::network::NetworkName;
use crate::node::failure::{Failure, FailureKind};
use crate::node::health::{Checked, Scrubbed, Scrubbing};
use crate::overlay::TableRow;
use crate::peer::Peer;

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
#[non_exhaustive]
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
        #[serde(default, skip_serializing_if = "crate::node::is_zero")]
        unreached: usize,
        /// For people: why a block has fewer copies than were wanted, where a peer said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lacking: Option<String>,
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
        /// Whether that was computed from the file's bytes. Else it is the word of who stored the file.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        hashed: bool,
        /// Data blocks of the file.
        blocks: u64,
        /// Peers that sent blocks of the file.
        holders: usize,
        /// Which ones; told of a single block alone, for a program that adds up a file from its blocks.
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
        /// Blocks that it keeps, since no other peer was found that holds them.
        #[serde(default)]
        kept: u64,
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
        /// Blocks of which no copy was found that a lease could be laid on, or whose holder could hear of its lease.
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
        asked: Vec<AskedQuestion>,
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
        /// The file's size in bytes; none if this peer had no such file: the peer responsible keeps what it has
        /// under this name, or an empty one.
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

    /// What sort of failure this is. A departure that leaves blocks behind, though others were there to take them, is
    /// one; and that a peer which may hold a block has not heard of its leases; and that blocks could not be read; and
    /// that a block of what was stored has one copy at most, though others are known that should have taken it.
    pub fn verdict(&self) -> Option<FailureKind> {
        match self {
            Self::Left { offered: true, left_behind: 1.., alone: false, .. } => Some(FailureKind::TimedOut),
            Self::Leased { silent, unread, missing, .. } if !silent.is_empty() || unread + missing > 0 => {
                Some(FailureKind::Unknown)
            }
            Self::Scrubbed(Scrubbed { unread: 1.., .. }) => Some(FailureKind::Other),
            Self::Cleared { kept: 1.., .. } => Some(FailureKind::Partial),
            Self::Stored { copies, wanted, .. } => too_few_copies(copies, *wanted),
            answer => answer.failure().map(|failure| failure.kind),
        }
    }
}

/// What sort of failure it is that so many blocks have no copy, one, and so on, where so many copies were wanted: one
/// is too few where others are known.
pub(crate) fn too_few_copies(copies: &[u64], wanted: usize) -> Option<FailureKind> {
    (wanted >= 2 && copies.iter().take(2).any(|blocks| *blocks > 0)).then_some(FailureKind::TooFewCopies)
}

/// A peer and what is known about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerInfo {
    /// The peer.
    #[serde(flatten)]
    pub peer: Peer,
    /// The usual round trip to it, if one was measured.
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
    /// How long ago a block found no room here; none if each did since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_full: Option<Duration>,
    /// Files that the classroom ring keeps here by their names; none elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<usize>,
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
    #[serde(default, skip_serializing_if = "crate::node::is_zero")]
    pub dropped: u64,
    /// Messages sent, and bytes of blocks offered, since the start to keep replica sets full.
    #[serde(default)]
    pub upkeep: (u64, u64),
    /// How far this peer is with reading what it holds; none if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<Scrubbing>,
}

/// What an answer says that is none of those expected.
impl From<Answer> for Failure {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Failed(failure) => failure,
            other => Self::new(FailureKind::Other, format!("an unexpected answer: {other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_block_with_a_single_copy_among_many_is_too_few_unless_no_more_were_wanted() {
        for (copies, wanted, too_few) in [
            (&[0, 0, 0, 5][..], 3, false),
            (&[0, 1, 0, 5], 3, true),
            (&[1, 0, 0, 5], 3, true),
            (&[0, 0, 6], 7, false),
            (&[0, 6], 1, false),
            (&[0, 6], 2, true),
        ] {
            assert_eq!(too_few_copies(copies, wanted).is_some(), too_few, "{copies:?} {wanted}");
        }
    }
}
