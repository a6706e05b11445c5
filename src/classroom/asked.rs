//! What the classroom asked for at the desk, and so what a reply belongs to.

use crate::name::FileName;
use crate::node::command::CommandId;
use crate::node::job::{JobError, JobErrorKind, Version};
use crate::peer::Peer;
use crate::time::Time;

/// What was sent out on behalf of the user and comes back as a settled route.
#[derive(Clone, Debug)]
pub(super) enum RoutedFor {
    /// Who keeps this file?
    Store(UserCommand),
    /// Who has it?
    Request(UserCommand),
}

/// A command of this peer's user about a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct UserCommand {
    pub(super) command: CommandId,
    pub(super) file: FileName,
    pub(super) since: Time,
    /// What lies here, for a store.
    pub(super) version: Option<Version>,
    /// Times a request may be sent out again.
    pub(super) tries: u8,
    /// The peer that has what is requested, and did not send it.
    pub(super) failed: Option<Peer>,
}

/// A file that another peer was asked to take, and why.
#[derive(Clone, Copy, Debug)]
pub(super) enum TransferFor {
    /// The user stores it.
    Store(UserCommand),
    /// The other peer should hold it.
    Place(FileName),
}

/// How a handing ended.
#[derive(Clone, Debug)]
pub(super) enum TransferEnd {
    /// The other one has the file.
    Taken,
    /// It will not: it does not want it, has no room, or leaves. So it is no copy, and another peer's turn.
    Refused(String),
    /// It cannot take it now, as it says: perhaps it does not know this peer yet.
    Unready(String),
    /// No word of it.
    Silent(String),
}

impl TransferEnd {
    /// Why a file that was offered here did not come. What failed on the way, or at a bad moment, may come yet; what
    /// was unfit, or had no room on this disk, will not so soon.
    pub(super) fn not_kept(JobError { kind, reason }: JobError) -> Self {
        match kind {
            JobErrorKind::NotFound
            | JobErrorKind::Unreachable
            | JobErrorKind::TimedOut
            | JobErrorKind::Cancelled
            | JobErrorKind::Busy => Self::Unready(reason),
            JobErrorKind::Corrupt
            | JobErrorKind::BrokenList
            | JobErrorKind::Exists
            | JobErrorKind::Unfit
            | JobErrorKind::Full
            | JobErrorKind::Io => Self::Refused(reason),
        }
    }
}

/// What a job about named files was ordered for.
#[derive(Clone, Debug)]
pub(super) enum JobFor {
    /// To know what lies in the directory.
    Scan,
    /// To know what there is to give to the peer responsible.
    Give(UserCommand),
    /// To know whether what the user stores changed meanwhile: the store failed for this reason.
    Compare { own: UserCommand, reason: String },
    /// To answer a requester that wants the file, and may have waited for it until some time.
    Look { requester: Requester, file: FileName, until: Option<Time> },
    /// The same, once it turned out that only a neighbour may have it.
    Seek { requester: Requester, file: FileName, left: Vec<Peer> },
    /// To hold this file for the ring.
    Take { file: FileName },
    /// To have what the user requested, of a peer that says that it has it, or of one that should.
    Receive { own: UserCommand, from: Peer, says: bool },
}

/// The peer, or this peer's user, that wants a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Requester {
    Other { origin: Peer, magic: u64 },
    Own(UserCommand),
}

/// Something that was asked for at the desk.
#[derive(Clone, Debug)]
pub(super) enum Awaited {
    /// A job, and when it was ordered.
    Job {
        step: JobFor,
        ordered: Time,
    },
    Transfer(TransferFor),
    Route(RoutedFor),
    /// The peers that should have a file which this one of them did not send.
    Replicas(UserCommand, Peer),
}

impl Awaited {
    /// Whether the user waits for this to have a file stored.
    pub(super) const fn is_store(&self) -> bool {
        matches!(
            self,
            Self::Route(RoutedFor::Store(_))
                | Self::Job { step: JobFor::Give(_) | JobFor::Compare { .. }, .. }
                | Self::Transfer(TransferFor::Store(_))
        )
    }
}
