//! The commands that a user gives a peer.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::file::LocalManifest;
use crate::id::Key;
use crate::lease::{Lease, Secret};
use crate::name::FileName;
use crate::path_text;

/// Names a command, so that its answer reaches its caller.
pub type CommandId = u64;

/// Whether a command is among those that are to end: the one that is named, or all.
pub(crate) fn is_meant(whose: Option<CommandId>, command: CommandId) -> bool {
    whose.is_none_or(|whose| whose == command)
}

/// How a user names something kept in the network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Source {
    /// By key: a file's root manifest, or a single block.
    Key(Key),
    /// By a local manifest file.
    Manifest(#[serde(with = "path_text")] PathBuf),
}

/// What a user can wait for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Until {
    /// This peer knows its neighbours, and none has come or gone for a while.
    Stable,
    /// This peer knows so many others.
    Peers {
        /// Other peers to know.
        count: usize,
    },
    /// This peer has nothing to do: no command, transfer or repair is under way.
    Idle,
    /// This peer may be switched off, and nothing is lost: another has a copy of each block held here.
    Safe,
    /// Every block of this file has enough copies.
    Copies {
        /// The file, by key or by manifest; several where several make it up.
        sources: Vec<Source>,
        /// How many; without a number, as many as are wanted.
        copies: Option<usize>,
    },
}

/// What becomes of a lease.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseChange {
    /// It lasts longer, or asks for more copies.
    Renewed(Lease),
    /// It ends.
    Ended(Secret),
}

/// A user's command. Every command ends with exactly one [`Answer`](super::notice::Answer).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Command {
    /// Keep the file at `path` in the network.
    Store {
        /// The file to store.
        #[serde(with = "path_text")]
        path: PathBuf,
        /// The local manifest to write, if one is wanted. It takes the place of nothing but an older manifest.
        manifest: Option<LocalManifest>,
        /// Also keep a copy of every block here, whether or not this peer is in its replica set.
        keep: bool,
    },
    /// Keep the file at `path` in the network as the one block that it is, without a list: its key is its SHA-256.
    StoreBlock {
        /// The file to store.
        #[serde(with = "path_text")]
        path: PathBuf,
        /// Also keep a copy of it here, whether or not this peer is in its replica set.
        #[serde(default)]
        keep: bool,
    },
    /// Keep a folder's [listing](crate::file::folder) in the network: its key is the folder's. What the listing names
    /// is stored before, by other commands.
    StoreListing {
        /// The file that holds the listing.
        #[serde(with = "path_text")]
        path: PathBuf,
        /// Also keep a copy of every block here.
        keep: bool,
    },
    /// Store what `store` says, on behalf of a lease.
    OnLease {
        /// The lease that each block gets.
        lease: Lease,
        /// One of the commands that store something.
        store: Box<Command>,
    },
    /// Bring a file back.
    Retrieve {
        /// The file, by key or by manifest.
        source: Source,
        /// Where to write it.
        #[serde(with = "path_text")]
        dest: PathBuf,
        /// Whether another file at `dest` may be replaced.
        replace: bool,
    },
    /// Bring back the listing of a folder. What it names is brought by other commands.
    RetrieveListing {
        /// The folder's key.
        key: Key,
        /// The file to write the listing to. What stands there is replaced.
        #[serde(with = "path_text")]
        dest: PathBuf,
    },
    /// Bring back one block, whatever it is.
    RetrieveBlock {
        /// The block's key.
        key: Key,
        /// The block's size in bytes.
        size: u32,
        /// The file to write it to. What stands there is replaced.
        #[serde(with = "path_text")]
        dest: PathBuf,
    },
    /// Bring back one node of a file's tree, for a program that walks the tree by itself.
    RetrieveManifest {
        /// The key of the node's block.
        key: Key,
    },
    /// Stand for something that takes several commands, so that a user who ends what is under way ends that too. It
    /// begins with a progress of 0 bytes, goes on until it is ended, and does nothing.
    Span,
    /// Drop local copies of these files' blocks.
    Clear {
        /// The files, by key or by manifest.
        sources: Vec<Source>,
        /// Those too of which no other copy is found; as in older records, which do not say it.
        #[serde(default = "forced")]
        force: bool,
    },
    /// Find out how safe a file is: how many copies each of its blocks has, and where.
    Check {
        /// The file, by key or by manifest; several where several make it up.
        sources: Vec<Source>,
        /// Whether the holders hash what they have.
        verify: bool,
        /// Whether copies that are missing are made now.
        repair: bool,
        /// The lease that its owner has on it: it tells how many copies are wanted, and copies that are made get it.
        #[serde(default)]
        lease: Option<Lease>,
    },
    /// Wait until something is true.
    Wait {
        /// What shall be true.
        until: Until,
        /// When that has failed; without a limit, it never does.
        limit: Option<Duration>,
    },
    /// Read and hash all blocks held here, now.
    Scrub,
    /// The holders of files shall hear what has become of the leases on them.
    Lease {
        /// Of each file, by its key, what has.
        changes: Vec<(Key, LeaseChange)>,
        /// Keys among them of which no list has to be read: what they list is among them too.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        listed: BTreeSet<Key>,
        /// The copies that those asked for which end; 0 if as many as usual.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        copies: u8,
    },
    /// Leases have ended whose blocks are not known: all peers that can be found shall hear of it.
    Disown {
        /// Their secrets.
        secrets: Vec<Secret>,
    },
    /// Files that are in the network shall be kept on behalf of a lease too, by as many holders of each block as it
    /// asks for: those nearest to it that have it. They hash it first.
    Lay {
        /// The files.
        keys: Vec<Key>,
        /// The lease.
        lease: Lease,
    },
    /// List the blocks held here.
    List,
    /// Find the replica set of a key.
    Lookup {
        /// The key.
        key: Key,
    },
    /// The same, and tell whom that asked, and what became of each question.
    Explain {
        /// The key.
        key: Key,
    },
    /// List the peers in the routing table.
    Peers,
    /// Show the routing table.
    Table,
    /// Show numbers about this peer.
    Status,
    /// Ask whether a peer answers at this address.
    Ping {
        /// The address to ask.
        addr: SocketAddr,
    },
    /// Give the file `NAME.pdf` of the working directory to the peer responsible for its name, and to its replicas. If
    /// this peer has no such file, the responsible peer makes an empty one. Only in the classroom ring.
    StoreFile {
        /// The file's name.
        file: FileName,
    },
    /// Bring a file here, as `received_NAME.pdf`. Only in the classroom ring.
    RequestFile {
        /// The file's name.
        file: FileName,
    },
    /// The user pressed Ctrl-C: end these commands. A second time within
    /// [`INTERRUPT_WINDOW`](crate::config::INTERRUPT_WINDOW) it is a [`Command::Quit`].
    Interrupt {
        /// The commands to end, each of which has its own answer. The node's driver adds those under way that were
        /// given as this one was.
        #[serde(default)]
        commands: Vec<CommandId>,
        /// Whether that quit hands the blocks over to other peers first.
        handover: bool,
    },
    /// End one command that is under way; it has its own answer.
    Cancel {
        /// The command to end.
        command: CommandId,
    },
    /// Leave the network and end.
    Quit {
        /// Whether to hand the blocks over to other peers first.
        handover: bool,
    },
}

const fn forced() -> bool {
    true
}

impl Command {
    /// The same, which stores something, on behalf of a lease if there is one.
    #[must_use]
    pub fn on(self, lease: Option<Lease>) -> Self {
        match lease {
            Some(lease) => Self::OnLease { lease, store: Box::new(self) },
            None => self,
        }
    }
}
