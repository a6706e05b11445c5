//! What went wrong and asks nothing of the user: this peer goes on by itself.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::Key;
use crate::name::FileName;
use crate::peer::Peer;

/// Something that went wrong, for the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "trouble", rename_all = "snake_case")]
pub enum Trouble {
    /// A block was damaged here, and no peer was found that has it.
    Lost {
        /// The block's key.
        key: Key,
    },
    /// A peer that should hold a block did not take it; the block is offered again later.
    NotTaken {
        /// The block's key.
        key: Key,
        /// The peer that it was offered to.
        to: Peer,
        /// For people: what the peer said, or that it said nothing.
        reason: String,
    },
    /// A peer that should hold a named file did not take it.
    FileNotTaken {
        /// The file's name.
        file: FileName,
        /// The peer that it was offered to.
        to: Peer,
        /// For people: what the peer said, or that it said nothing.
        reason: String,
    },
    /// A requested file did not come from the peer that had it; it is requested again.
    FileRequestedAgain {
        /// The file's name.
        file: FileName,
        /// For people: what happened to the transfer.
        reason: String,
    },
    /// Another peer runs with this one's id.
    Twin {
        /// Where it runs.
        addr: SocketAddr,
    },
    /// A peer answers, and no connection to it comes about.
    Shut {
        /// Where it runs.
        addr: SocketAddr,
    },
    /// Others answer, and cannot connect to this peer.
    Unreached,
    /// This peer has no room for what others offer it.
    Full {
        /// Bytes of the blocks held here.
        bytes: u64,
    },
    /// A worker failed in a job that no command waits for.
    JobFailed {
        /// For people: what happened, to what.
        reason: String,
    },
}

impl Trouble {
    /// Whether it is part of everyday life in a network where peers come and go.
    pub const fn is_usual(&self) -> bool {
        matches!(self, Self::NotTaken { .. } | Self::FileNotTaken { .. })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { key } => write!(f, "block {} is damaged here, and no other peer has it", key.short()),
            Self::NotTaken { key, to, reason } => write!(f, "{to} did not take block {}: {reason}", key.short()),
            Self::FileNotTaken { file, to, reason } => write!(f, "peer {to} did not take file {file}: {reason}"),
            Self::FileRequestedAgain { file, reason } => {
                write!(f, "file {file} did not come ({reason}); it is requested again")
            }
            Self::Twin { addr } => write!(
                f,
                "another peer runs at {addr} with the id of this one, so one of the two holds nothing for anybody; was the \
                 data folder copied? Give one of them another id with --id"
            ),
            Self::Shut { addr } => write!(
                f,
                "peer {addr} cannot be connected to, though its datagrams get through: what it keeps does not count"
            ),
            Self::Unreached => f.write_str(
                "nobody can connect to this peer over TCP, though its datagrams get through: what it keeps cannot be \
                 retrieved from it; is there a firewall, an address that is translated, or no file descriptor left here?",
            ),
            Self::Full { bytes } => write!(
                f,
                "this peer is full: it holds {bytes} bytes, and others keep what it cannot take; a greater --capacity, or more \
                 room on its disk, lets it take more"
            ),
            Self::JobFailed { reason } => f.write_str(reason),
        }
    }
}
