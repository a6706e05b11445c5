//! What the program does, one file for each sort of task, and how it says how that went.

pub(crate) mod client;
pub(crate) mod peer;
pub(crate) mod report;
pub(crate) mod ring;
pub(crate) mod sim;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use kadring::console::perform::resolve;
use kadring::console::screen::ScreenWriter;
use kadring::console::{Screen, escape};
use kadring::node::FailureKind;

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

/// Sends what the program logs to `screen`, from `level` on unless `RUST_LOG` says otherwise.
fn log_to(screen: &Arc<Screen>, level: &str) {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level))
        // What prints a line must not log while it does.
        .filter_module("rustyline", log::LevelFilter::Off)
        .format(|out, record| {
            let (time, level, text) = (out.timestamp_seconds(), record.level(), record.args().to_string());
            writeln!(out, "{time} {level:5} {}", escape(&text))
        })
        .target(env_logger::Target::Pipe(Box::new(ScreenWriter(Arc::clone(screen)))))
        .init();
}

/// The addresses of the peers to join through, one for each name that has one which `suits`.
///
/// # Errors
/// No name has; a name that has none beside others that do is only reported.
fn bootstrap(names: &[String], suits: impl Fn(&SocketAddr) -> bool) -> Result<Vec<SocketAddr>, Failed> {
    let (mut found, mut trouble) = (Vec::new(), Vec::new());
    for name in names {
        match resolve(name).map(|addrs| addrs.into_iter().find(&suits)) {
            Ok(Some(addr)) => found.push(addr),
            Ok(None) => trouble.push(format!("{name} has no address that the one listened on can reach")),
            Err(reason) => trouble.push(reason),
        }
    }
    if found.is_empty() && !trouble.is_empty() {
        return Err(Failed::start(trouble.join("; ")));
    }
    for reason in trouble {
        log::warn!("{reason}");
    }
    Ok(found)
}
