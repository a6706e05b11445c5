//! What a node wants done.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::job::{GetId, Job, JobId, PutId};
use super::notice::Notice;
use crate::id::Key;
use crate::wire::{Message, Via};

/// Everything a node can want done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Send a message.
    Send {
        /// To this address.
        to: SocketAddr,
        /// By this carrier. A failure over TCP comes back as [`Event::Undeliverable`](super::event::Event::Undeliverable).
        via: Via,
        /// What.
        message: Message,
    },
    /// Have a worker do this. At most [`MAX_JOBS`](crate::config::MAX_JOBS) are out at a time.
    Start {
        /// Names the job.
        job: JobId,
        /// The work.
        work: Job,
    },
    /// The outcome of this job is not needed: end it early if that is possible. Its outcome still comes.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// This block is where it belongs: serve it no longer on behalf of the file `put` (the own store may still hold it).
    Withdraw {
        /// Which file.
        put: PutId,
        /// Which block.
        key: Key,
    },
    /// Nothing more will be asked of this file's reader and offers: drop them.
    ForgetPut {
        /// Which file.
        put: PutId,
    },
    /// Nothing more will be asked of this file: close it. What is there stays, for a later run to take up.
    ForgetGet {
        /// Which file.
        get: GetId,
    },
    /// Tell those who watch.
    Notify(Notice),
    /// The node has left the network; nothing more will come of it.
    Stop,
}

/// Where a node puts its actions, in order.
pub type Outbox = Vec<Action>;
