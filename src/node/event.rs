//! What can happen to a node.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::command::{Command, CommandId};
use super::job::{JobId, Outcome};
use crate::id::Key;
use crate::peer::Peer;
use crate::wire::ring::FileName;
use crate::wire::{Message, Via};

/// Why a message over TCP was not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Obstacle {
    /// The other machine says that nobody listens there: whoever did is gone.
    Refused,
    /// No connection in time. Its first datagrams may have been lost by chance, so that alone means little.
    Silence,
    /// Too many messages wait for that peer already. That says nothing about it: anybody can make us send much there.
    Crowd,
}

/// Everything that can happen to a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The node runs: join the network.
    Start {
        /// Addresses of peers to join through.
        bootstrap: Vec<SocketAddr>,
        /// Those of them that belong to one host: once it answers at one, it is not sought at the others.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hosts: Vec<Vec<SocketAddr>>,
        /// Peers remembered from the last run.
        remembered: Vec<Peer>,
        /// Blocks found in the store, with their sizes in bytes.
        held: Vec<(Key, u32)>,
    },
    /// A message came.
    Message {
        /// The address it really came from; over TCP, the connection's address with the port that the sender claims.
        from: SocketAddr,
        /// What carried it.
        via: Via,
        /// Bytes it had on the wire: what we may answer to a stranger is measured by it.
        bytes: u32,
        /// What it says.
        message: Message,
    },
    /// A message that was to go over TCP could not be delivered.
    Undeliverable {
        /// To whom.
        to: SocketAddr,
        /// The message.
        message: Message,
        /// Why.
        obstacle: Obstacle,
    },
    /// Whoever is at this address receives what is sent there: a TCP handshake with it was completed.
    Validated {
        /// The address.
        addr: SocketAddr,
    },
    /// A user asks.
    Command {
        /// Names the command.
        id: CommandId,
        /// What is asked.
        command: Command,
    },
    /// A job is done.
    JobDone {
        /// Which.
        job: JobId,
        /// What came of it.
        outcome: Outcome,
    },
    /// A block in the store was found damaged when somebody asked for it; it was moved aside.
    Damaged {
        /// Which.
        key: Key,
    },
    /// A named file was sent, to its end, to a peer that asked for it on behalf of its user.
    Fetched {
        /// Which.
        file: FileName,
        /// The address it came from, with the port that it claims to listen on.
        by: SocketAddr,
    },
    /// Datagrams came faster than the node took them, and were lost.
    Dropped {
        /// How many since the node started.
        total: u64,
    },
    /// The time that [`Node::next_wake`](super::Node::next_wake) told has come.
    Tick,
}
