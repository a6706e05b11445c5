//! What a user asks of a peer.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::Key;
use crate::wire::ring::FileName;

/// Names a command, so that its answer finds the one who asked.
pub type CommandId = u64;

/// How a user names something kept in the network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Source {
    /// By key: a file's root manifest, or a single block.
    Key(Key),
    /// By a local manifest file.
    Manifest(PathBuf),
}

/// What a user asks. Every command ends with exactly one [`Answer`](super::notice::Answer).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Keep the file at `path` in the network.
    Store {
        /// The file.
        path: PathBuf,
        /// Where to write the local manifest, if wanted.
        manifest: Option<PathBuf>,
        /// Also keep a copy of every block here, whether or not this peer is in its replica set.
        keep: bool,
    },
    /// Bring a file back.
    Retrieve {
        /// Which.
        source: Source,
        /// Where to.
        dest: PathBuf,
    },
    /// Drop local copies of these files' blocks.
    Clear {
        /// Which.
        sources: Vec<Source>,
    },
    /// The blocks held here.
    List,
    /// Find the replica set of a key.
    Lookup {
        /// The key.
        key: Key,
    },
    /// The peers in the routing table.
    Peers,
    /// The routing table itself.
    Table,
    /// Numbers about this peer.
    Status,
    /// Is there a peer at this address?
    Ping {
        /// The address.
        addr: SocketAddr,
    },
    /// Give the file `NAME.pdf` of the working directory to the peer responsible for its name, and to its replicas. If there
    /// is no such file here, an empty one is made there. Only in the classroom ring.
    StoreFile {
        /// The name.
        file: FileName,
    },
    /// Bring a file here, as `received_NAME.pdf`. Only in the classroom ring.
    RequestFile {
        /// The name.
        file: FileName,
    },
    /// Leave the network and end.
    Quit {
        /// Hand the blocks over to others first.
        handover: bool,
    },
}
