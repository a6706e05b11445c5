//! What a user asks of a peer.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::file::LocalManifest;
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
        /// The local manifest to write, if one is wanted. It takes the place of nothing but an older manifest.
        manifest: Option<LocalManifest>,
        /// Also keep a copy of every block here, whether or not this peer is in its replica set.
        keep: bool,
    },
    /// Bring a file back.
    Retrieve {
        /// Which.
        source: Source,
        /// Where to.
        dest: PathBuf,
        /// Whether it may take the place of another file that stands there.
        replace: bool,
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
    /// Somebody pressed Ctrl-C: end what is under way for the user. A second time within
    /// [`INTERRUPT_WINDOW`](crate::config::INTERRUPT_WINDOW) it is a [`Command::Quit`].
    Interrupt {
        /// Whether to hand the blocks over to others then.
        handover: bool,
    },
    /// Leave the network and end.
    Quit {
        /// Hand the blocks over to others first.
        handover: bool,
    },
}
