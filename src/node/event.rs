//! The events that a node handles.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::command::{Command, CommandId};
use super::job::{JobId, Outcome};
use crate::id::Key;
use crate::lease::{Note, UnixTime};
use crate::name::FileName;
use crate::peer::Peer;
use crate::wire::{Message, Via};

/// Why a message over TCP was not delivered, or is not yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Obstacle {
    /// The other machine refused the connection: no peer listens at that address any more.
    Refused,
    /// No connection yet: it is late, and the message goes over it should it come about. What comes of it is told.
    Delay,
    /// No connection in time. Its first datagrams may have been lost by chance, so that alone means little.
    Silence,
    /// This peer could not send it: too many messages wait for that peer, or this one lacks links, descriptors or
    /// memory. That says nothing about the other peer: any stranger can make us send it much.
    Crowd,
}

/// Everything that can happen to a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// The node runs: join the network.
    Start {
        /// Addresses of peers to join through.
        bootstrap: Vec<SocketAddr>,
        /// Addresses in `bootstrap` grouped by host: once a host answers at one address, its others are not tried.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hosts: Vec<Vec<SocketAddr>>,
        /// Peers remembered from the last run.
        remembered: Vec<Peer>,
        /// Blocks found in the store, with their sizes in bytes.
        held: Vec<(Key, u32)>,
        /// What was written down about leases on them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<Note>,
        /// The time by the clock of this machine.
        #[serde(default)]
        unix_time: UnixTime,
        /// When this peer ran last, as far as its folder tells by that clock; 0 if that is not known.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        ran: UnixTime,
    },
    /// A message arrived.
    Message {
        /// The address it really came from; over TCP, the connection's address with the port that the sender claims.
        from: SocketAddr,
        /// The carrier it came by.
        via: Via,
        /// Its size on the wire in bytes: the allowance of an answer to a stranger is a multiple of it.
        bytes: u32,
        /// The message.
        message: Message,
    },
    /// A message that was to go over TCP could not be delivered, or cannot yet.
    Undeliverable {
        /// The address it was for.
        to: SocketAddr,
        /// The message.
        message: Message,
        /// Why it was not delivered.
        obstacle: Obstacle,
    },
    /// The system refused a datagram at once, for this machine has no way to its receiver.
    NoWay {
        /// The address it was for.
        to: SocketAddr,
        /// The magic of the request that it held.
        magic: u64,
    },
    /// A TCP handshake with this address was completed, so the peer there receives what is sent to it.
    Validated {
        /// The validated address.
        addr: SocketAddr,
    },
    /// A user gave a command.
    Command {
        /// The command's id.
        id: CommandId,
        /// The command.
        command: Command,
    },
    /// A job ended.
    JobDone {
        /// The job.
        job: JobId,
        /// The job's outcome.
        outcome: Outcome,
    },
    /// A block in the store was found damaged when it was read, and was moved aside; or its file is gone.
    Damaged {
        /// The block's key.
        key: Key,
    },
    /// A peer asked for a block of which there is no file here. Whether one should be, the node knows.
    Missing {
        /// The block's key.
        key: Key,
    },
    /// The data folder is gone, or the disk that it lies on, and with it all blocks.
    FolderGone,
    /// The data folder is back.
    FolderBack {
        /// Blocks found in it, with their sizes in bytes.
        held: Vec<(Key, u32)>,
        /// What was written down about leases on them.
        notes: Vec<Note>,
        /// Seconds for which it was away.
        off: UnixTime,
    },
    /// Others asked for these blocks over TCP, and begin to get them. It comes before any tick that follows.
    Asked {
        /// Each block's key, and the host that its connection led to.
        blocks: Vec<(Key, IpAddr)>,
    },
    /// Blocks were sent, but for their last bytes, to those who pulled them. It comes before what those
    /// say next.
    Delivered {
        /// Each block's key, and the host that its connection led to.
        blocks: Vec<(Key, IpAddr)>,
    },
    /// The peer that a job wants a block from sends it: [`FLOW`](crate::config::FLOW) bytes have come since this was
    /// told last, four times a second at most. Of a block of fewer bytes than [`FLOWS_FROM`](crate::config::FLOWS_FROM)
    /// nothing is told: it is there as soon as it begins to come.
    Flows {
        /// The job.
        job: JobId,
        /// Bytes of the block that have come so far.
        #[serde(default)]
        bytes: u32,
    },
    /// A peer comes for a named file for its user, or its connection has ended.
    Fetching {
        /// The file's name.
        file: FileName,
        /// The fetching peer, as in `Fetched`.
        by: SocketAddr,
        /// Whether the file is being sent from now on, and not any more.
        goes_on: bool,
    },
    /// A named file was sent completely to a peer that fetched it for its user.
    Fetched {
        /// The file's name.
        file: FileName,
        /// The fetching peer: the address of its connection, with the port that it claims to listen on.
        by: SocketAddr,
    },
    /// Others reach this peer, which listens on all addresses of its machine, at another address from now on: its
    /// network came up, or is another one.
    Moved {
        /// That address.
        addr: SocketAddr,
    },
    /// Datagrams came faster than the node took them, and were lost.
    Dropped {
        /// Datagrams lost since the node started.
        total: u64,
    },
    /// The time that [`Node::next_wake`](super::Node::next_wake) told has come.
    Tick,
}
