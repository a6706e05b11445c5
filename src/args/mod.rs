//! The command line's tasks and options. Every option can also come from the environment, as `KADRING_` and its name.

mod client;
pub(crate) mod config_file;
mod network;
mod ring;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::{BoolishValueParser, PathBufValueParser, TypedValueParser};
use clap::{Args, Command, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use kadring::config::{Config, REPLICAS, WIDTH};
use kadring::console::Format;
use kadring::console::help::MOST_COLUMNS;
use kadring::console::json::PAGE;
use kadring::console::words::{parse_host_port, parse_id};
use kadring::id::Id;
use kadring::raw_text::output_file;
pub(crate) use kadring::sim::args::OverlayName;
use kadring::sim::args::{ReplayArgs, ReproArgs, SimArgs, TraceArgs};
use kadring::time::parse_time;

use crate::commands::EXITS;
pub(crate) use client::{
    CatArgs, CatalogueArgs, CheckArgs, CtlArgs, DeleteArgs, FilesArgs, ForgetArgs, ImportArgs, JoinArgs, LookupArgs,
    LsArgs, NameArgs, PingArgs, RecountArgs, RenewArgs, RetrieveArgs, StoreArgs,
};
pub(crate) use network::{KeygenArgs, NetworkArgs};
pub(crate) use ring::{PeerName, ReportArgs, ReportTarget, RingArgs, RingTask, RingWays};

/// The exit codes as help shows them.
fn exit_codes() -> String {
    let mut text = "Exit codes: (in brackets, whether trying again helps)\n".to_owned();
    for (exit, meaning, again) in EXITS {
        let again = if again.is_empty() { String::new() } else { format!(" [{again}]") };
        text += &format!("  {:<4} {}{again}\n", exit as u8, meaning.replace('`', ""));
    }
    text += "\nTimes are such as 30s, 5m or 7d; a number alone is one of seconds.\n";
    text + "RUST_LOG (error, warn, info, debug, trace) sets how much is told on standard error."
}

/// A decentralised file store on a distributed hash table.
#[derive(Parser, Debug)]
#[command(version, about, max_term_width = MOST_COLUMNS, after_help = exit_codes(), propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) task: TopCommand,
}

/// The program's command line.
pub(crate) fn command_line() -> Command {
    config_file::with_config(Cli::command().mut_subcommands(|task| task.after_help(exit_codes())))
}

/// What the program can do.
#[derive(Subcommand, Debug)]
pub(crate) enum TopCommand {
    /// Run a peer; it takes commands on standard input
    Peer(PeerArgs),
    /// Run a peer of the classroom ring, as the assignment has it
    Ring(RingArgs),
    /// Show who is in a running network and who stands where, as it changes
    Report(ReportArgs),
    /// Join, store each FILE or folder, print its key, and go
    Store(StoreArgs),
    /// Join, bring a file or a folder back, and go
    Retrieve(RetrieveArgs),
    /// Join, list what is in a folder that was stored, and go
    Ls(LsArgs),
    /// Join, write a file to standard output, and go
    Cat(CatArgs),
    /// Join, find the peers responsible for KEY and those that hold it, and go
    Lookup(LookupArgs),
    /// Join, find out how safe each file is, and go
    Check(CheckArgs),
    /// Join, have files that were stored for a while kept longer, and go
    Renew(RenewArgs),
    /// Join, have files that were stored from here kept no longer, and go
    Delete(DeleteArgs),
    /// Join, have another number of copies kept of a file that was stored from here, and go
    Copies(RecountArgs),
    /// Ask whether there is a peer at an address
    Ping(PingArgs),
    /// Join, store the blocks in DIR, files named by their SHA-256, and go
    Import(ImportArgs),
    /// List what was stored here, by name
    Files(FilesArgs),
    /// Call a stored file by another name too
    Name(NameArgs),
    /// Drop a file from the list of what was stored here; the network keeps it
    Forget(ForgetArgs),
    /// Make a network key
    Keygen(KeygenArgs),
    /// Have a command done by the peer that runs with a data folder
    Ctl(CtlArgs),
    /// Run a network of many peers in virtual time
    Sim(SimArgs),
    /// Repeat published experiments, and compare
    Repro(ReproArgs),
    /// Feed what a peer recorded to the core again, and compare
    Replay(ReplayArgs),
    /// Show what several peers recorded side by side: who did what when, and why
    Trace(TraceArgs),
    /// Show what goes wrong between threads, made on purpose: for a lecture
    Demo {
        /// What to show
        what: Demo,
    },
    /// Print this program's manual page, or write those of all its tasks into DIR
    Man {
        /// The folder, such as /usr/local/share/man/man1; it is made if it is not there
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    /// Print what the fields of every JSON answer mean
    #[command(long_about = PAGE)]
    Json,
    /// Print a script that teaches a shell to complete this program's command line
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What `demo` shows.
#[derive(Clone, Copy, ValueEnum, Debug)]
pub(crate) enum Demo {
    /// A lock that twenty threads wait for, with the thread that holds it
    Lock,
}

/// The options of `peer`.
#[derive(Args, Debug)]
pub(crate) struct PeerArgs {
    /// UDP and TCP port; 0 takes a free one
    #[arg(long, env = "KADRING_PORT", value_name = "PORT", default_value_t = 7000)]
    pub(crate) port: u16,
    /// Address to listen on; 0.0.0.0 or :: for all
    #[arg(long, env = "KADRING_BIND", value_name = "IP", default_value = "127.0.0.1", value_parser = parse_bind)]
    pub(crate) bind: SocketAddr,
    /// A running peer to join through; may be given several times, or separated by commas
    #[arg(long, env = "KADRING_BOOTSTRAP", value_name = "HOST:PORT", value_delimiter = ',', value_parser = parse_host_port, value_hint = ValueHint::Hostname)]
    pub(crate) bootstrap: Vec<String>,
    /// Folder for the blocks, the id and the neighbours; without it, a temporary one that goes with the peer
    #[arg(long, env = "KADRING_DATA", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// The peer's id, 64 hexadecimal digits; without it, the one in the data folder, or a new one
    #[arg(long, env = "KADRING_ID", value_name = "HEX", value_parser = parse_id)]
    pub(crate) id: Option<Id>,
    #[command(flatten)]
    pub(crate) copies: CopiesArgs,
    /// The most bytes of disk to use for blocks, such as 500MB or 20GiB; without it, half of the disk's free room
    #[arg(long, env = "KADRING_CAPACITY", value_name = "SIZE", value_parser = parse_size)]
    pub(crate) capacity: Option<ByteSize>,
    /// Read and hash all blocks held here once in this time, such as 7d; 0 or off: never
    #[arg(long, env = "KADRING_SCRUB", value_name = "TIME", default_value = "7d", value_parser = parse_scrub)]
    pub(crate) scrub: ScrubPeriod,
    /// How long a block stays that nobody wants any longer, such as 1h: who renews it late, or stores it again, finds
    /// it
    #[arg(long, env = "KADRING_GRACE", value_name = "TIME", default_value = "1h", value_parser = parse_time)]
    pub(crate) grace: Duration,
    /// Also keep here every block that is stored through this peer
    #[arg(long, env = "KADRING_KEEP", value_parser = BoolishValueParser::new())]
    pub(crate) keep: bool,
    /// Leave without handing the blocks over to others first
    #[arg(long, env = "KADRING_NO_HANDOVER", value_parser = BoolishValueParser::new())]
    pub(crate) no_handover: bool,
    /// How long to hand the blocks over when leaving, such as 20s or 5m; what others have not taken by then stays, and
    /// the exit code is 5
    #[arg(long, env = "KADRING_HANDOVER_LIMIT", value_name = "TIME", default_value = "20s", value_parser = parse_time)]
    pub(crate) handover_limit: Duration,
    /// How peers find one another
    #[arg(long, env = "KADRING_OVERLAY", value_enum, default_value_t)]
    pub(crate) overlay: OverlayName,
    /// File to write the READY line's JSON to, once ready
    #[arg(long, env = "KADRING_READY_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ready_file: Option<PathBuf>,
    /// File to append what happens to, as lines of JSON; - is standard output
    #[arg(long, env = "KADRING_EVENTS", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) events: Option<PathBuf>,
    /// File to record every event in, to be replayed later
    #[arg(long, env = "KADRING_RECORD", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,
    /// Leave when standard input ends
    #[arg(long, env = "KADRING_EXIT_ON_EOF", value_parser = BoolishValueParser::new())]
    pub(crate) exit_on_eof: bool,
    /// Let only a few peers of one network into the table where addresses are of this machine or private too, as
    /// everywhere else
    #[arg(long, env = "KADRING_STRICT_ADDRESSES", value_parser = BoolishValueParser::new())]
    pub(crate) strict_addresses: bool,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// How many copies.
#[derive(Args, Debug)]
pub(crate) struct CopiesArgs {
    /// Copies of each block in the network [default: 7]
    #[arg(long, env = "KADRING_REPLICAS", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=WIDTH as i64))]
    replicas: Option<u8>,
    /// Copies of each block without which a store has failed [default: 1]
    #[arg(long, env = "KADRING_QUORUM", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=WIDTH as i64))]
    quorum: Option<u8>,
}

impl CopiesArgs {
    /// The configuration of a node that does as asked.
    ///
    /// # Errors
    /// For people: the two numbers contradict each other.
    pub(crate) fn config(&self) -> Result<Config, String> {
        let (replicas, quorum) = (self.replicas.map_or(REPLICAS, usize::from), self.quorum.map_or(1, usize::from));
        if quorum > replicas {
            return Err(format!("--quorum {quorum} can never be reached with --replicas {replicas}"));
        }
        Ok(Config { replicas, quorum, ..Config::default() })
    }

    /// Whether neither was given.
    pub(crate) fn are_silent(&self) -> bool {
        self.replicas.is_none() && self.quorum.is_none()
    }
}

/// How answers are written.
#[derive(Args, Default, Debug)]
pub(crate) struct FormatArgs {
    /// Make every answer one line of JSON
    #[arg(long, env = "KADRING_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

impl FormatArgs {
    /// The format that was asked for.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::Text }
    }
}

/// In which time all blocks are read once, if they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScrubPeriod(pub(crate) Option<Duration>);

fn parse_scrub(word: &str) -> Result<ScrubPeriod, String> {
    let period = if word == "off" { Duration::ZERO } else { parse_time(word)? };
    Ok(ScrubPeriod(Some(period).filter(|period| !period.is_zero())))
}

/// An address of this machine; one of a link alone names its interface.
fn parse_bind(word: &str) -> Result<SocketAddr, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{why}; 0.0.0.0, :: or fe80::3%eth0 are such addresses");
    match word.parse::<IpAddr>() {
        Ok(ip) => Ok((ip, 0).into()),
        Err(_) if word.contains('%') => {
            let found = (word, 0).to_socket_addrs().map_err(|error| wrong(&error))?.next();
            found.ok_or_else(|| wrong(&"it has no address"))
        }
        Err(error) => Err(wrong(&error)),
    }
}

fn parse_size(word: &str) -> Result<ByteSize, String> {
    word.parse().map_err(|_| "a size is a number of bytes, or of units such as 500MB or 20GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        command_line().debug_assert();
    }

    /// Every task, and whatever tasks it has in turn.
    fn tasks(command: &Command) -> Vec<&Command> {
        command.get_subcommands().flat_map(|task| std::iter::once(task).chain(tasks(task))).collect()
    }

    #[test]
    fn every_option_has_its_environment_name() {
        let program = command_line();
        let tasks = tasks(&program);
        assert!(["peer", "retrieve", "init"].iter().all(|name| tasks.iter().any(|task| task.get_name() == *name)));
        for task in tasks {
            let options = task.get_arguments().filter(|arg| arg.get_long().is_some());
            for option in options.filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())) {
                let name = format!("KADRING_{}", option.get_id().as_str().to_uppercase());
                assert_eq!(option.get_env().and_then(|name| name.to_str()), Some(name.as_str()), "{}", task.get_name());
            }
        }
    }

    #[test]
    fn every_time_may_be_a_plain_number_of_seconds() {
        let parsed = |words: &[&str]| Cli::try_parse_from(words);
        for option in ["--handover-limit", "--grace", "--scrub"] {
            assert!(parsed(&["kadring", "peer", option, "3"]).is_ok(), "{option}");
        }
        for option in ["--rtt", "--jitter"] {
            assert!(parsed(&["kadring", "sim", option, "3"]).is_ok(), "{option}");
        }
        assert!(exit_codes().contains("a number alone is one of seconds"));
    }

    #[test]
    fn an_address_to_listen_on_may_name_the_link_that_it_is_of() {
        for (word, addr) in [("::", "[::]:0"), ("10.0.0.1", "10.0.0.1:0"), ("fe80::3%1", "[fe80::3%1]:0")] {
            assert_eq!(parse_bind(word).unwrap().to_string(), addr);
        }
        assert_eq!(parse_bind("fe80::3%lo"), parse_bind("fe80::3%1"));
        assert!(parse_bind("fe80::3%none").is_err() && parse_bind("localhost").is_err() && parse_bind("").is_err());
    }

    #[test]
    fn a_quorum_above_the_replicas_is_refused() {
        let of = |replicas, quorum| CopiesArgs { replicas, quorum }.config();
        assert!(of(Some(2), Some(3)).is_err());
        assert!(of(Some(3), Some(3)).is_ok_and(|config| config.quorum == 3));
        assert!(of(None, None).is_ok_and(|config| (config.replicas, config.quorum) == (REPLICAS, 1)));
    }
}
