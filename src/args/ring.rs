//! The command lines of the classroom ring, and of the reporter that watches one.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::{BoolishValueParser, PathBufValueParser, TypedValueParser};
use clap::{Args, Subcommand, ValueHint};
use kadring::console::words::parse_host_port;
use kadring::raw_text::output_file;
use kadring::sim::args::OverlayName;
use kadring::time::parse_time;

use super::{FormatArgs, NetworkArgs, parse_size};

/// Seconds between the pings of the classroom ring: at least, at most.
const MIN_INTERVAL: f64 = 0.1;
const MAX_INTERVAL: f64 = 86_400.0;

/// The commands of `ring`.
#[derive(Args, Debug)]
pub(crate) struct RingArgs {
    /// How this peer comes into the ring
    #[command(subcommand)]
    pub(crate) task: RingTask,
}

/// How a peer comes into the classroom ring.
#[derive(Subcommand, Debug)]
pub(crate) enum RingTask {
    /// Start as one of the first peers, each of which knows its two successors
    Init {
        /// This peer: 0 to 255, or ID@HOST:PORT
        #[arg(value_name = "PEER", value_parser = parse_peer_name)]
        peer: PeerName,
        /// The next peer on the circle
        #[arg(value_name = "FIRST_SUCCESSOR", value_parser = parse_peer_name)]
        first: PeerName,
        /// The one after it
        #[arg(value_name = "SECOND_SUCCESSOR", value_parser = parse_peer_name)]
        second: PeerName,
        /// Seconds between pings
        #[arg(value_name = "PING_INTERVAL", value_parser = parse_interval)]
        interval: Duration,
        #[command(flatten)]
        ways: RingWays,
    },
    /// Join a running ring through any one of its peers
    Join {
        /// This peer: 0 to 255, or ID@HOST:PORT
        #[arg(value_name = "PEER", value_parser = parse_peer_name)]
        peer: PeerName,
        /// A peer that is in the ring
        #[arg(value_name = "KNOWN_PEER", value_parser = parse_peer_name)]
        known: PeerName,
        /// Seconds between pings
        #[arg(value_name = "PING_INTERVAL", value_parser = parse_interval)]
        interval: Duration,
        #[command(flatten)]
        ways: RingWays,
    },
}

/// The options of both.
#[derive(Args, Debug)]
pub(crate) struct RingWays {
    /// The working directory: files are NAME.pdf there, received ones received_NAME.pdf
    #[arg(long, env = "KADRING_DIR", value_name = "DIR", default_value = ".", value_parser = parse_dir, value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// The largest file to take from another peer, such as 100MB
    #[arg(long, env = "KADRING_MAX_FILE", value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    pub(crate) max_file: ByteSize,
    /// Do not tell of pings
    #[arg(long, env = "KADRING_QUIET_PINGS", value_parser = BoolishValueParser::new())]
    pub(crate) quiet_pings: bool,
    /// Tell on standard error what goes on inside
    #[arg(long, env = "KADRING_VERBOSE", value_parser = BoolishValueParser::new())]
    pub(crate) verbose: bool,
    /// Send requests over shortcuts instead of from successor to successor
    #[arg(long, env = "KADRING_FINGERS", value_parser = BoolishValueParser::new())]
    pub(crate) fingers: bool,
    /// File to write this peer's id, ports and process id to, as JSON, once it is in the ring
    #[arg(long, env = "KADRING_READY_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ready_file: Option<PathBuf>,
    /// File to append what happens to, as lines of JSON; - is standard output
    #[arg(long, env = "KADRING_EVENTS", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) events: Option<PathBuf>,
    /// File to record every event in, to be replayed later
    #[arg(long, env = "KADRING_RECORD", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// The port of peer 0; peer N has the N-th after it
    #[arg(long, env = "KADRING_BASE_PORT", value_name = "PORT", default_value_t = 12000, hide = true,
          value_parser = clap::value_parser!(u16).range(1..=65280))]
    pub(crate) base_port: u16,
}

/// A peer of the classroom ring as the command line names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PeerName {
    /// The peer's number.
    pub(crate) id: u8,
    /// The `HOST:PORT` where it listens, if not on this machine at the port that goes with its number.
    pub(crate) at: Option<String>,
}

fn parse_peer_name(word: &str) -> Result<PeerName, String> {
    let (number, at) = word.split_once('@').map_or((word, None), |(number, at)| (number, Some(at)));
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let id = number.parse().ok().filter(|_| digits);
    let id = id.ok_or("a peer of the classroom ring is a number from 0 to 255, or ID@HOST:PORT")?;
    Ok(PeerName { id, at: at.map(parse_host_port).transpose()? })
}

fn parse_interval(word: &str) -> Result<Duration, String> {
    seconds(word).ok_or_else(|| format!("pings go out every {MIN_INTERVAL} to {MAX_INTERVAL} seconds"))
}

fn parse_looks(word: &str) -> Result<Duration, String> {
    let reason = || format!("it looks every {MIN_INTERVAL} to {MAX_INTERVAL} seconds: a number, such as 0.5");
    seconds(word).ok_or_else(reason)
}

fn seconds(word: &str) -> Option<Duration> {
    let seconds = word.parse().map(Duration::try_from_secs_f64).ok().and_then(Result::ok);
    let time = seconds.or_else(|| parse_time(word).ok());
    time.filter(|time| (MIN_INTERVAL..=MAX_INTERVAL).contains(&time.as_secs_f64()))
}

fn parse_dir(word: &str) -> Result<PathBuf, String> {
    let dir = std::fs::canonicalize(word).map_err(|error| error.to_string())?;
    if dir.is_dir() { Ok(dir) } else { Err("it is no directory".to_owned()) }
}

/// The options of `report`.
#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// Any peer of the network: HOST:PORT, or a number of the classroom ring
    #[arg(value_name = "PEER", value_parser = parse_report_target, value_hint = ValueHint::Hostname,
          required_unless_present = "bootstrap")]
    pub(crate) target: Option<ReportTarget>,
    /// The same as the other commands have it: may be given several times, or separated by commas; PEER goes before
    #[arg(long, env = "KADRING_BOOTSTRAP", value_name = "HOST:PORT", value_delimiter = ',',
          value_parser = parse_host_port, value_hint = ValueHint::Hostname)]
    pub(crate) bootstrap: Vec<String>,
    /// Print one table and go
    #[arg(long, env = "KADRING_ONCE", value_parser = BoolishValueParser::new())]
    pub(crate) once: bool,
    /// Seconds between two looks
    #[arg(long, env = "KADRING_INTERVAL", value_name = "SECONDS", default_value = "1", value_parser = parse_looks)]
    pub(crate) interval: Duration,
    /// How the peers find one another; without it, that is found out
    #[arg(long, env = "KADRING_OVERLAY", value_enum)]
    pub(crate) overlay: Option<OverlayName>,
    /// The port of peer 0 of the classroom ring
    #[arg(long, env = "KADRING_BASE_PORT", value_name = "PORT", default_value_t = 12000, hide = true,
          value_parser = clap::value_parser!(u16).range(1..=65280))]
    pub(crate) base_port: u16,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The peer that a reporter attaches to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ReportTarget {
    /// A peer of the classroom ring on this machine.
    Number(u8),
    /// `HOST:PORT`.
    Address(String),
}

fn parse_report_target(word: &str) -> Result<ReportTarget, String> {
    match parse_peer_name(word) {
        Ok(PeerName { id, at: None }) => Ok(ReportTarget::Number(id)),
        Ok(PeerName { at: Some(host_port), .. }) => Ok(ReportTarget::Address(host_port)),
        Err(_) => parse_host_port(word).map(ReportTarget::Address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_numbers_or_have_an_address() {
        assert_eq!(parse_peer_name("255"), Ok(PeerName { id: 255, at: None }));
        let elsewhere = PeerName { id: 7, at: Some("localhost:9000".to_owned()) };
        assert_eq!(parse_peer_name("7@localhost:9000"), Ok(elsewhere));
        for bad in ["256", "-1", "+1", "", "x", "1.5", "7@", "7@host", "@host:1", "99999999999"] {
            assert!(parse_peer_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_said_of_a_wrong_interval_is_about_the_command_that_has_it() {
        assert!(parse_interval("half").is_err_and(|reason| reason.contains("pings")));
        assert!(parse_looks("half").is_err_and(|reason| !reason.contains("pings") && reason.contains("looks")));
        assert_eq!(parse_looks("0.5"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn pings_go_out_at_some_time() {
        assert_eq!(parse_interval("3"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_interval("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_interval("1m"), Ok(Duration::from_secs(60)), "as all other times are said");
        for bad in ["0", "-1", "", "x", "inf", "NaN", "1e9", "0.01"] {
            assert!(parse_interval(bad).is_err(), "{bad:?}");
        }
    }
}
