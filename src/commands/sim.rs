//! Networks in virtual time, and what was recorded: `sim`, `repro`, `replay` and `trace`.

use std::io::{self, IsTerminal};

use anyhow::Context;
use kadring::runtime::stopwatch;
use kadring::sim::args::{ReplayArgs, ReproArgs, SimArgs, TraceArgs};
use kadring::sim::cli::{self, CliError, Verdict};
use kadring::sim::moments::columns::Style;

use super::{Exit, Failed};

/// Runs `kadring sim`.
pub(crate) fn sim(args: &SimArgs) -> anyhow::Result<Exit> {
    exit(cli::sim(args, &mut io::stdout(), &stopwatch())).context("sim")
}

/// Runs `kadring repro`.
pub(crate) fn repro(args: &ReproArgs) -> anyhow::Result<Exit> {
    exit(cli::repro(args, &mut io::stdout(), &stopwatch())).context("repro")
}

/// Runs `kadring replay`.
pub(crate) fn replay(args: &ReplayArgs) -> anyhow::Result<Exit> {
    exit(cli::replay_file(args, &mut io::stdout())).context("replay")
}

/// Columns where nobody tells how many there are.
const WIDTH: usize = 120;

/// Runs `kadring trace`.
pub(crate) fn trace(args: &TraceArgs) -> anyhow::Result<Exit> {
    let out = io::stdout();
    let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0));
    let style = Style { width, colour: out.is_terminal() };
    exit(cli::trace(args, style, &mut io::BufWriter::new(out.lock()))).context("trace")
}

fn exit(verdict: Result<Verdict, CliError>) -> anyhow::Result<Exit> {
    match verdict {
        Ok(Verdict::Passed) => Ok(Exit::Done),
        Ok(Verdict::Failed) => Ok(Exit::Other),
        Err(CliError::Usage(reason)) => Err(Failed::usage(reason).into()),
        // The reader of the results has gone.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error @ CliError::File { .. }) if is_missing(&error) => Err(Failed::not_found(error.to_string()).into()),
        Err(error) => Err(error.into()),
    }
}

fn is_missing(error: &CliError) -> bool {
    matches!(error, CliError::File { error, .. } if error.kind() == io::ErrorKind::NotFound)
}
