//! The program's tasks, one file for each sort, and their exit codes.

#[cfg(target_env = "gnu")]
pub(crate) mod arenas;
mod bursts;
pub(crate) mod client;
mod console_thread;
pub(crate) mod ctl;
pub(crate) mod demo;
mod events;
pub(crate) mod files;
mod handover_progress;
pub(crate) mod keygen;
mod known;
pub(crate) mod leases;
mod logging;
pub(crate) mod peer;
mod peers_seen;
mod piped;
mod ready;
pub(crate) mod report;
pub(crate) mod ring;
pub(crate) mod signals;
pub(crate) mod sim;
pub(crate) mod standard;
mod unjoined;
mod waiting;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kadring::console::escape;
use kadring::node::{Failure, FailureKind};
use kadring::runtime::Ended;
use nix::unistd::alarm;
use signal_hook::consts::SIGALRM;
use signal_hook::flag;

use known::{JoinAddresses, bootstrap, resolving};
use logging::log_to;
pub(crate) use logging::{have_panics_said, stderr};

/// Seconds that a process may go on after its peer has ended.
const LAST_SECONDS: u32 = 8;

/// How a task ended; the numbers are the program's exit codes. [`EXITS`] says what each means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// The task was done.
    Done = 0,
    /// The task failed for a reason that has no code of its own.
    Other = 1,
    /// The options or arguments are wrong, or another file stands at the destination.
    Usage = 2,
    /// Of several files, some were done and others were not.
    Partial = 3,
    /// No peer holds the key, or the file does not exist.
    NotFound = 4,
    /// No answer came in time, the peer leaves, or a block got too few copies.
    TimedOut = 5,
    /// Bytes do not match their hash or size.
    Integrity = 6,
    /// The peer could not start.
    NotStarted = 7,
    /// A file has fewer copies than are wanted.
    Thin = 8,
    /// Whether a file is safe cannot be told.
    Unknown = 9,
    /// The user ended the command. A client that a signal told to end dies of that signal; shells show that as 128 and
    /// the signal's number.
    Interrupted = 130,
}

/// Each exit code: what it means, and whether trying again helps.
pub(crate) const EXITS: [(Exit, &str, &str); 11] = [
    (Exit::Done, "done", ""),
    (Exit::Other, "failed for another reason, such as a fault of the peer's own", "no; the message says what to mend"),
    (
        Exit::Usage,
        "asked wrongly: options, arguments, a place where another file stands, a manifest file that is none or damaged",
        "no",
    ),
    (
        Exit::Partial,
        "of several files some were done, others were not; of a folder something was left out unasked (a pipe, a link that leads out, a damaged block); `clear` kept what nobody else holds",
        "with those that failed, as their answers say",
    ),
    (Exit::NotFound, "not found: a key nobody holds, a file that is not there", "once a holder is back"),
    (
        Exit::TimedOut,
        "timed out, nobody answered who can know, the peer that was asked leaves or has ended, fewer copies than `--quorum`, or a block with but one copy though others are known",
        "yes, later, or once what the answer names is mended",
    ),
    (
        Exit::Integrity,
        "integrity: bytes that do not hash to their name, also where the holders moved them aside before, and nobody has better ones; or a file that changed while it was stored",
        "once a better holder is back; once the file is at rest",
    ),
    (Exit::NotStarted, "could not start: port in use, data folder in use or read-only", "once that is mended"),
    (
        Exit::Thin,
        "thin: `check` found blocks with fewer copies than are wanted, none lost",
        "yes, later, or `--repair`",
    ),
    (
        Exit::Unknown,
        "unknown: a peer that may hold a block did not answer, or no way led to those that should, so `check` cannot tell, and `renew` or `delete` has not reached it",
        "once that peer is back",
    ),
    (Exit::Interrupted, "interrupted (SIGINT; 143 for SIGTERM)", "yes; a retrieve goes on where it stopped"),
];

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
        let code = kind.code();
        EXITS.into_iter().map(|(exit, ..)| exit).find(|exit| *exit as u8 == code).unwrap_or(Self::Other)
    }
}

impl From<Exit> for FailureKind {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Usage => Self::Usage,
            Exit::NotFound => Self::NotFound,
            Exit::TimedOut => Self::TimedOut,
            Exit::Integrity => Self::Integrity,
            Exit::Partial => Self::Partial,
            Exit::Thin => Self::Thin,
            Exit::Unknown => Self::Unknown,
            Exit::Interrupted => Self::Cancelled,
            Exit::NotStarted => Self::NotStarted,
            Exit::Done | Exit::Other => Self::Other,
        }
    }
}

/// An error that has its own exit code.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The exit code.
    pub(crate) exit: Exit,
    reason: String,
}

impl Failed {
    /// The options or arguments are wrong.
    pub(crate) fn usage(reason: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, reason: reason.into() }
    }

    /// The peer could not start.
    pub(crate) fn start(reason: impl fmt::Display) -> Self {
        Self { exit: Exit::NotStarted, reason: reason.to_string() }
    }

    /// A name, key or file was not found.
    pub(crate) fn not_found(reason: impl Into<String>) -> Self {
        Self { exit: Exit::NotFound, reason: reason.into() }
    }

    /// No answer came in time.
    pub(crate) fn timed_out(reason: impl Into<String>) -> Self {
        Self { exit: Exit::TimedOut, reason: reason.into() }
    }
}

impl From<Failure> for Failed {
    fn from(Failure { kind, reason }: Failure) -> Self {
        Self { exit: kind.into(), reason }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failed {}

/// Says what went wrong. Returns the exit code.
pub(crate) fn say_error(error: &anyhow::Error) -> Exit {
    // Standard error may be closed; the exit code still tells.
    stderr().say(&format!("kadring: {}\n", escape(&format!("{error:#}"))));
    error.downcast_ref::<Failed>().map_or(Exit::Other, |failed| failed.exit)
}

/// Makes this process end in [`LAST_SECONDS`] with this exit code, whatever it then waits for: a terminal that takes no
/// output, or a disk that does not answer. Each call puts the end off anew.
fn end_in_a_while(code: i32) {
    let _ = flag::register_conditional_shutdown(SIGALRM, code, Arc::new(AtomicBool::new(true)));
    alarm::set(LAST_SECONDS);
}
