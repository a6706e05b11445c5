//! Networks in virtual time, and what was recorded: `sim`, `repro`, `replay` and `trace`.

use std::io::{self, IsTerminal};

use anyhow::Context;
use kadring::console::lines::{TypedLine, read_line, standard_input};
use kadring::console::terminal::{self, Stdin, WordEditor};
use kadring::runtime::stopwatch;
use kadring::sim::args::{ReplayArgs, ReproArgs, SimArgs, TraceArgs};
use kadring::sim::cli::{self, CliError, RunVerdict};
use kadring::sim::moments::columns::Style;
use kadring::sim::stepping::{self, Stepper};

use super::{Exit, Failed, stderr};

/// Runs `kadring sim`.
pub(crate) fn sim(args: &SimArgs) -> anyhow::Result<Exit> {
    if args.step {
        return exit(cli::step::of_storm(args, style()).and_then(step)).context("sim");
    }
    exit(cli::sim(args, &mut io::stdout(), &stopwatch())).context("sim")
}

/// Runs `kadring repro`.
pub(crate) fn repro(args: &ReproArgs) -> anyhow::Result<Exit> {
    exit(cli::repro(args, &mut io::stdout(), &stopwatch())).context("repro")
}

/// Runs `kadring replay`.
pub(crate) fn replay(args: &ReplayArgs) -> anyhow::Result<Exit> {
    if args.step {
        return exit(cli::step::of_record(args, style()).and_then(step)).context("replay");
    }
    exit(cli::replay_file(args, &mut io::stdout())).context("replay")
}

/// Steps as the lines on standard input say: a person's at a terminal, or a program's through a pipe.
fn step(stepper: Stepper) -> Result<RunVerdict, CliError> {
    if terminal::stdin_is() == Stdin::Person {
        let mut editor = WordEditor::open(stepping::words()).map_err(CliError::Input)?;
        return cli::step::step(stepper, &mut |prompt| editor.line(prompt), &mut io::stdout());
    }
    let mut input = standard_input(true).map_err(CliError::Input)?;
    let mut lines = |_: &str| loop {
        match read_line(&mut input)? {
            TypedLine::Text(line) => return Ok(Some(line)),
            TypedLine::Bad(reason) => stderr().say(&format!("kadring: {reason}\n")),
            TypedLine::End => return Ok(None),
        }
    };
    cli::step::step(stepper, &mut lines, &mut io::stdout())
}

/// Columns where no terminal tells how many there are.
const WIDTH: usize = 120;

/// Runs `kadring trace`.
pub(crate) fn trace(args: &TraceArgs) -> anyhow::Result<Exit> {
    let out = io::stdout();
    exit(cli::trace(args, style(), &mut io::BufWriter::new(out.lock()))).context("trace")
}

/// How standard output is written to.
fn style() -> Style {
    let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0));
    Style { width, colour: io::stdout().is_terminal() }
}

fn exit(verdict: Result<RunVerdict, CliError>) -> anyhow::Result<Exit> {
    match verdict {
        Ok(RunVerdict::Passed) => Ok(Exit::Done),
        Ok(RunVerdict::Failed) => Ok(Exit::Other),
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
