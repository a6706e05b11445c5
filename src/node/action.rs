//! The actions that a node asks its driver for.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::job::{GetId, Job, JobId, PutId};
use super::notice::Notice;
use crate::id::Key;
use crate::wire::{Message, Via};

/// An action that a node asks its driver for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Action {
    /// Send a message.
    Send {
        /// The receiver's address.
        to: SocketAddr,
        /// By this carrier. A failure over TCP comes back as
        /// [`Event::Undeliverable`](super::event::Event::Undeliverable).
        via: Via,
        /// The message.
        message: Message,
    },
    /// Have a worker do this. At most [`MAX_JOBS`](crate::config::MAX_JOBS) are out at a time.
    Start {
        /// The job's id.
        job: JobId,
        /// The work to do.
        work: Job,
    },
    /// The outcome of this job is not needed: end it early if that is possible. Its outcome still comes.
    Cancel {
        /// The job to end.
        job: JobId,
    },
    /// This block of the file `put` has its copies: stop serving it for that file (the own store may still hold it).
    Withdraw {
        /// The file being stored.
        put: PutId,
        /// The block's key.
        key: Key,
    },
    /// The file's reader and its offered blocks are not needed any more: drop them.
    ForgetPut {
        /// The file being stored.
        put: PutId,
    },
    /// The file is not needed any more: close it. Its bytes stay on disk, so that a later run can resume.
    ForgetGet {
        /// The file being retrieved.
        get: GetId,
    },
    /// Tell this notice: to the caller of the command that it is about, else to those who watch.
    Notify(Notice),
    /// The node has left the network; nothing more will come of it.
    Stop,
}

/// Where a node puts its actions, in order.
pub type Outbox = Vec<Action>;
