//! What the program does, one file for each sort of task, and how it says how that went.

pub(crate) mod client;
pub(crate) mod peer;
pub(crate) mod report;
pub(crate) mod ring;
pub(crate) mod sim;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::{env, fmt};

use kadring::console::perform::resolve;
use kadring::console::{Screen, Stderr, escape};
use kadring::node::FailureKind;
use kadring::runtime::Ended;
use nix::unistd::alarm;
use signal_hook::consts::SIGALRM;
use signal_hook::flag;

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

/// Sends what the program logs to `screen`, from `level` on unless `RUST_LOG` says otherwise.
fn log_to(screen: &Arc<Screen>, level: &str) {
    let stderr = Stderr::of_process(screen);
    let asked = env::var("RUST_LOG").unwrap_or_else(|_| level.to_owned());
    let (spec, strange) = understood(&asked);
    let logger = env_logger::Builder::new()
        .parse_filters(&spec)
        .parse_write_style(&env::var("RUST_LOG_STYLE").unwrap_or_default())
        // What prints a line must not log while it does.
        .filter_module("rustyline", log::LevelFilter::Off)
        .format(|out, record| {
            let (time, level, text) = (out.timestamp_seconds(), record.level(), record.args().to_string());
            writeln!(out, "{time} {level:5} {}", escape(&text))
        })
        .target(env_logger::Target::Pipe(Box::new(Logged(stderr))))
        .build();
    log::set_max_level(logger.filter());
    // There is one task, and so one logger.
    let _ = log::set_boxed_logger(Box::new(Logger { logger, stderr }));
    for part in strange {
        stderr.say(&format!("kadring: RUST_LOG is not understood where it says '{}'; that is ignored\n", escape(part)));
    }
}

/// What of a logging specification can be understood, and the parts that cannot. The logger would write of those to
/// standard error by itself.
fn understood(spec: &str) -> (String, Vec<&str>) {
    let (parts, pattern) = spec.find('/').map_or((spec, ""), |at| spec.split_at(at));
    if pattern.matches('/').count() > 1 {
        return (String::new(), vec![spec]);
    }
    let is_level = |level: &str| level.is_empty() || level.parse::<log::LevelFilter>().is_ok();
    let (good, strange): (Vec<_>, Vec<_>) =
        parts.split(',').partition(|part| part.split_once('=').is_none_or(|(_, level)| is_level(level.trim())));
    (good.join(",") + pattern, strange)
}

/// Lines as they are logged. Each write is some whole lines; nobody who logs waits for them.
struct Logged(&'static Stderr);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.log(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A logger that can be flushed, by whoever ends the process.
struct Logger {
    logger: env_logger::Logger,
    stderr: &'static Stderr,
}

impl log::Log for Logger {
    fn enabled(&self, about: &log::Metadata<'_>) -> bool {
        self.logger.enabled(about)
    }

    fn log(&self, record: &log::Record<'_>) {
        self.logger.log(record);
    }

    fn flush(&self) {
        // Whoever does not read has no more to wait for.
        let _ = self.stderr.flush();
    }
}

/// Standard error, for what a task must say there.
pub(crate) fn stderr() -> &'static Stderr {
    Stderr::started().unwrap_or_else(|| Stderr::of_process(&Screen::stderr()))
}

/// What a panic says goes to standard error like everything else: the thread that it ends shall not wait for a reader.
pub(crate) fn have_panics_said() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |about| {
        let Some(stderr) = Stderr::started() else { return usual(about) };
        let thread = thread::current();
        let backtrace = Backtrace::capture();
        let traced = match backtrace.status() {
            BacktraceStatus::Captured => format!("{backtrace}\n"),
            _ => String::new(),
        };
        stderr.say(&format!("thread '{}' {about}\n{traced}", thread.name().unwrap_or("unnamed")));
    }));
}

/// Where to join.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Every address of every name: the first ones of all names before the second ones.
    pub(crate) addrs: Vec<SocketAddr>,
    /// Those of them that belong to one name.
    pub(crate) hosts: Vec<Vec<SocketAddr>>,
}

/// The addresses of the peers to join through that a socket on `bind` can reach.
///
/// # Errors
/// No name has one; a name that has none beside others that do is only reported.
fn bootstrap(names: &[String], bind: IpAddr) -> Result<Known, Failed> {
    let (mut hosts, mut trouble) = (Vec::new(), Vec::new());
    for name in names {
        match resolve(name) {
            Ok(addrs) => match addrs.into_iter().filter(|addr| reaches(bind, addr)).collect::<Vec<_>>() {
                addrs if addrs.is_empty() => {
                    trouble.push(format!("{name} has no address that the one listened on can reach"));
                }
                addrs => hosts.push(addrs),
            },
            Err(reason) => trouble.push(reason),
        }
    }
    if hosts.is_empty() && !trouble.is_empty() {
        return Err(Failed::start(trouble.join("; ")));
    }
    for reason in trouble {
        log::warn!("{reason}");
    }
    Ok(Known::of(hosts))
}

impl Known {
    fn of(mut hosts: Vec<Vec<SocketAddr>>) -> Self {
        let longest = hosts.iter().map(Vec::len).max().unwrap_or(0);
        let mut addrs: Vec<SocketAddr> = Vec::new();
        for addr in (0..longest).flat_map(|at| hosts.iter().filter_map(move |host| host.get(at))) {
            if !addrs.contains(addr) {
                addrs.push(*addr);
            }
        }
        hosts.retain(|host| host.len() > 1);
        Self { addrs, hosts }
    }
}

/// Whether a socket on `bind` can reach `addr`, by their families: one on all addresses of the newer serves both.
fn reaches(bind: IpAddr, addr: &SocketAddr) -> bool {
    bind.is_ipv6() && bind.is_unspecified() || bind.to_canonical().is_ipv4() == addr.is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_address_of_every_name_is_known_and_each_name_has_its_turn() {
        let hosts = vec![addrs(&["[::1]:1", "127.0.0.1:1"]), addrs(&["[::1]:2"]), addrs(&["10.0.0.1:3", "[::1]:2"])];
        let known = Known::of(hosts.clone());
        assert_eq!(known.addrs, addrs(&["[::1]:1", "[::1]:2", "10.0.0.1:3", "127.0.0.1:1"]));
        assert_eq!(known.hosts, [hosts[0].clone(), hosts[2].clone()]);
    }

    #[test]
    fn of_names_of_both_families_those_count_that_the_socket_reaches() {
        let both = names(&["[::1]:1", "127.0.0.1:1"]);
        let known = |bind: &str| bootstrap(&both, bind.parse().unwrap()).unwrap().addrs;
        assert_eq!(known("::"), addrs(&["[::1]:1", "127.0.0.1:1"]));
        assert_eq!((known("::1"), known("0.0.0.0")), (addrs(&["[::1]:1"]), addrs(&["127.0.0.1:1"])));
        let error = bootstrap(&names(&["[::1]:1"]), "127.0.0.1".parse().unwrap()).unwrap_err();
        assert_eq!(error.exit, Exit::NotStarted);
    }

    #[test]
    fn only_what_cannot_be_understood_of_a_logging_specification_is_ignored() {
        for (spec, good, strange) in [
            ("", "", vec![]),
            ("info", "info", vec![]),
            ("kadring=debug, warn", "kadring=debug, warn", vec![]),
            ("kadring=loud,node=,a=b=c,info/block", "node=,info/block", vec!["kadring=loud", "a=b=c"]),
            ("info/a/b", "", vec!["info/a/b"]),
        ] {
            assert_eq!(understood(spec), (good.to_owned(), strange), "{spec}");
        }
    }
}
