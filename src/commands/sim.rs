//! Networks in virtual time: `sim`, `repro` and `replay`.

use std::io;

use anyhow::Context;
use kadring::runtime::stopwatch;
use kadring::sim::args::{ReplayArgs, ReproArgs, SimArgs};
use kadring::sim::cli::{self, CliError, Verdict};

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
