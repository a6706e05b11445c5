//! What the program does, one file for each sort of task, and how it says how that went.

pub(crate) mod client;
mod known;
mod logging;
pub(crate) mod peer;
pub(crate) mod report;
pub(crate) mod ring;
pub(crate) mod sim;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kadring::node::FailureKind;
use kadring::runtime::Ended;
use nix::unistd::alarm;
use signal_hook::consts::SIGALRM;
use signal_hook::flag;

use known::{Known, bootstrap};
use logging::log_to;
pub(crate) use logging::{have_panics_said, stderr};

/// Once its peer has ended, a process has this many seconds for what remains.
const LAST_SECONDS: u32 = 8;

/// How the program ends; the numbers are its exit codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed for a reason that has no number of its own.
    Other = 1,
    /// Asked wrongly.
    Usage = 2,
    /// A key nobody holds, a file that is not there.
    NotFound = 4,
    /// No answer in time, or too few copies.
    TimedOut = 5,
    /// Bytes that are not what was promised.
    Integrity = 6,
    /// The peer could not start.
    NotStarted = 7,
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Left => Self::Done,
            Ended::Failed { .. } => Self::Other,
        }
    }
}

impl From<FailureKind> for Exit {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Other | FailureKind::Cancelled => Self::Other,
            FailureKind::Usage | FailureKind::Exists => Self::Usage,
            FailureKind::NotFound => Self::NotFound,
            FailureKind::TimedOut | FailureKind::TooFewCopies => Self::TimedOut,
            FailureKind::Integrity => Self::Integrity,
        }
    }
}

impl From<Exit> for FailureKind {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Usage => Self::Usage,
            Exit::NotFound => Self::NotFound,
            Exit::TimedOut => Self::TimedOut,
            Exit::Integrity => Self::Integrity,
            Exit::Done | Exit::Other | Exit::NotStarted => Self::Other,
        }
    }
}

/// An error that has its own exit code.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The code.
    pub(crate) exit: Exit,
    reason: String,
}

impl Failed {
    /// Asked wrongly.
    pub(crate) fn usage(reason: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, reason: reason.into() }
    }

    /// Could not start.
    pub(crate) fn start(reason: impl fmt::Display) -> Self {
        Self { exit: Exit::NotStarted, reason: reason.to_string() }
    }

    /// There is no such thing.
    pub(crate) fn not_found(reason: impl Into<String>) -> Self {
        Self { exit: Exit::NotFound, reason: reason.into() }
    }

    /// No answer in time.
    pub(crate) fn timed_out(reason: impl Into<String>) -> Self {
        Self { exit: Exit::TimedOut, reason: reason.into() }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failed {}

/// The peer has ended, and only this process is left of it. Whatever that may still wait for, a terminal that takes nothing
/// or a disk that does not answer, it ends in a while with this exit code.
fn end_in_a_while(code: i32) {
    let _ = flag::register_conditional_shutdown(SIGALRM, code, Arc::new(AtomicBool::new(true)));
    alarm::set(LAST_SECONDS);
}
