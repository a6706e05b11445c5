//! How commands fail: the sorts of failure, and what each makes of a program's exit code.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::job::{JobError, JobErrorKind};

/// Why a command failed: its kind for programs, a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Error)]
#[error("{reason}")]
pub struct Failure {
    /// The sort of failure; it decides the exit code.
    pub kind: FailureKind,
    /// What happened, to what, and what to do.
    pub reason: String,
}

impl Failure {
    /// One of this sort.
    pub fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    /// No answer came.
    pub fn gone() -> Self {
        Self::new(FailureKind::Gone, "the peer ended before it answered")
    }
}

/// The sorts of failure; each has one exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// A failure of no other kind.
    Other,
    /// The command itself is wrong.
    Usage,
    /// The peer, or a guest, could not start or be let in.
    NotStarted,
    /// No peer holds the key, or the file does not exist.
    NotFound,
    /// No answer came in time.
    TimedOut,
    /// A block got fewer copies than the quorum.
    TooFewCopies,
    /// Bytes do not match their hash or size.
    Integrity,
    /// A file has blocks with fewer copies than are wanted.
    Thin,
    /// Whether a file is safe cannot be told, because peers that may hold it do not answer.
    Unknown,
    /// Another file stands at the destination, and may not be replaced.
    Exists,
    /// A folder stands where a file was meant, or something else where a folder was meant.
    Folder,
    /// Of several files, some were done and others were not; each has its own answer.
    Partial,
    /// The user ended the command.
    Cancelled,
    /// The peer leaves or has ended, so no answer comes.
    Gone,
}

impl FailureKind {
    /// The exit code of a program whose command failed so.
    pub const fn code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage | Self::Exists | Self::Folder => 2,
            Self::Partial => 3,
            Self::NotFound => 4,
            Self::TimedOut | Self::TooFewCopies | Self::Gone => 5,
            Self::Integrity => 6,
            Self::NotStarted => 7,
            Self::Thin => 8,
            Self::Unknown => 9,
            Self::Cancelled => 130,
        }
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        Self::new(FailureKind::from(&error), error.reason)
    }
}

impl From<&JobError> for FailureKind {
    fn from(error: &JobError) -> Self {
        match error.kind {
            JobErrorKind::NotFound => Self::NotFound,
            JobErrorKind::TimedOut | JobErrorKind::Unreachable => Self::TimedOut,
            JobErrorKind::Corrupt | JobErrorKind::BrokenList => Self::Integrity,
            JobErrorKind::Exists => Self::Exists,
            JobErrorKind::Unfit => Self::Usage,
            JobErrorKind::Full | JobErrorKind::Io | JobErrorKind::Busy | JobErrorKind::Cancelled => Self::Other,
        }
    }
}
