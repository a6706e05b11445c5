//! What the program does for `sim`, `repro`, `replay` and `trace`: runs, tables, files.
//!
//! Results go to the writer that the caller gives, progress to standard error if that is a terminal. The clock that
//! measures how long a run really took comes from the caller, too.

mod load;
mod repro;
mod sabotage;
pub mod step;
mod summary;
mod trace;

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;

use super::args::{ReplayArgs, ReproArgs, RunKind, SimArgs, TraceArgs};
use super::moments::columns::Style;
use super::moments::reader::RecordError;
use super::replay::replay_peer;
use super::shrink::shrink;
use super::storm::{StormPlan, StormReport};
use super::trace::Trace;
use super::world::{RecordedItem, Violation};
use crate::time::Time;

/// Real time that has passed since a fixed moment.
pub type Stopwatch<'a> = &'a dyn Fn() -> Duration;

/// The result of a run that took place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunVerdict {
    /// All checks passed.
    Passed,
    /// A check failed; the output says which.
    Failed,
}

/// Why a run could not take place.
#[derive(Debug, Error)]
pub enum CliError {
    /// The arguments ask for something impossible.
    #[error("{0}")]
    Usage(String),
    /// The run would take more memory than there is.
    #[error(
        "this run takes about {needed} of memory, and {available} can be had: ask for fewer peers, or --table smaller"
    )]
    NoRoom {
        /// About how much memory the run takes.
        needed: bytesize::ByteSize,
        /// How much memory there is.
        available: bytesize::ByteSize,
    },
    /// A file or folder cannot be used.
    #[error("{path}: {error}")]
    File {
        /// The path of the file or folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// What is typed cannot be read.
    #[error("what is typed cannot be read: {0}")]
    Input(io::Error),
    /// The results cannot be written.
    #[error("the results cannot be written: {0}")]
    Output(#[from] io::Error),
    /// The file is no record that can be read.
    #[error("{path}: {error}")]
    Record {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the record.
        error: RecordError,
    },
    /// An invariant did not hold.
    #[error("an invariant of the program does not hold: {0}")]
    Violation(#[from] Violation),
}

/// `kadring sim`.
///
/// # Errors
/// Why the run could not take place.
pub fn sim(args: &SimArgs, out: &mut dyn Write, stopwatch: Stopwatch<'_>) -> Result<RunVerdict, CliError> {
    match args.plan().map_err(CliError::Usage)? {
        RunKind::Load(plan) => load::run(args, &plan, out, stopwatch),
        RunKind::Saboteurs => sabotage::list(out),
        RunKind::Sabotage(saboteur, plan) => sabotage::run(args, saboteur, &plan, out),
        RunKind::Storm(plan) if args.soak => soak(args, &plan, out),
        RunKind::Storm(plan) => storm(args, &plan, out),
    }
}

/// `kadring repro`.
///
/// # Errors
/// Why the run could not take place.
pub fn repro(args: &ReproArgs, out: &mut dyn Write, stopwatch: Stopwatch<'_>) -> Result<RunVerdict, CliError> {
    repro::run(args, out, stopwatch)
}

/// `kadring replay`.
///
/// # Errors
/// Why the run could not take place.
pub fn replay_file(args: &ReplayArgs, out: &mut dyn Write) -> Result<RunVerdict, CliError> {
    let path = &args.file;
    let file = File::open(path).map_err(in_file(path))?;
    let replayed = replay_peer(BufReader::new(file), args.peer).map_err(in_record(path))?;
    let who = match replayed.lives {
        1 => replayed.beginning.me.to_string(),
        lives => format!("{} peers in {lives} lives", replayed.peers),
    };
    writeln!(out, "{who}: {} events and {} actions until {} s", replayed.events, replayed.actions, replayed.until)?;
    if replayed.cut {
        writeln!(out, "the record ends in the middle of a line; the rest of it was lost")?;
    }
    if let Some(lost) = replayed.lost {
        writeln!(out, "then {lost} moments are missing, which the recorder could not follow: the replay ends here")?;
    }
    let Some(difference) = replayed.difference else {
        writeln!(out, "the same actions, every one")?;
        return Ok(RunVerdict::Passed);
    };
    let peer = difference.peer.map_or(String::new(), |peer| format!("peer {peer}, "));
    writeln!(out, "{peer}line {}, at {} s: action {} differs", difference.line, difference.at, difference.nth)?;
    let json = |action| serde_json::to_string(action).unwrap_or_else(|error| error.to_string());
    writeln!(out, "  event     {}", serde_json::to_string(&difference.event).unwrap_or_else(|e| e.to_string()))?;
    writeln!(out, "  recorded  {}", difference.recorded.as_ref().map_or("nothing more".to_owned(), json))?;
    writeln!(out, "  replayed  {}", difference.replayed.as_ref().map_or("nothing more".to_owned(), json))?;
    Ok(RunVerdict::Failed)
}

/// `kadring trace`, for a terminal of this width, in colour or not.
///
/// # Errors
/// Why nothing can be shown.
pub fn trace(args: &TraceArgs, style: Style, out: &mut dyn Write) -> Result<RunVerdict, CliError> {
    trace::run(args, style, out)
}

fn storm(args: &SimArgs, plan: &StormPlan, out: &mut dyn Write) -> Result<RunVerdict, CliError> {
    let trace = match &args.trace {
        Some(path) => Trace::to_file(File::create(path).map_err(in_file(path))?),
        None => Trace::digest_only(),
    };
    tell_schedule(plan, out)?;
    let bar = ProgressBar::new(StormPlan::LASTS.as_secs()).with_style(style("storm {wide_bar} {pos} of {len} s"));
    let shown = bar.clone();
    let ended = recorded(args, plan, trace.watched(move |at| shown.set_position(at.since(Time::ZERO).as_secs())))?;
    bar.finish_and_clear();
    match ended {
        Ok(report) => {
            writeln!(out, "{report}")?;
            Ok(RunVerdict::Passed)
        }
        Err(violation) => tell_failure(args, plan, &violation, out),
    }
}

/// Runs a storm; where that is asked for, writes a record of all its peers, and a page of it.
fn recorded(args: &SimArgs, plan: &StormPlan, trace: Trace) -> Result<Result<StormReport, Violation>, CliError> {
    let Some(first) = args.record.as_deref().or(args.html.as_deref()) else { return Ok(plan.run(trace)) };
    let create = |path: &Path| File::options().read(true).write(true).create(true).truncate(true).open(path);
    let opened = match &args.record {
        Some(path) => create(path),
        None => tempfile::tempfile(),
    };
    let file = Rc::new(RefCell::new((BufWriter::new(opened.map_err(in_file(first))?), Ok(()))));
    let lines = Rc::clone(&file);
    let write = move |recorded: RecordedItem<'_>| {
        let (file, written) = &mut *lines.borrow_mut();
        if let (Some(line), Ok(())) = (recorded.line(), &written) {
            *written = file.write_all(line.as_bytes());
        }
    };
    let ended = plan.run_recorded(trace, Some(Box::new(write)));
    let (file, written) = &mut *file.borrow_mut();
    std::mem::replace(written, Ok(())).and_then(|()| file.rewind()).map_err(in_file(first))?;
    if let Some(path) = &args.html {
        trace::write_page(BufReader::new(file.get_ref()), path)?;
    }
    Ok(ended)
}

/// Runs one storm after another, until one fails.
fn soak(args: &SimArgs, first: &StormPlan, out: &mut dyn Write) -> Result<RunVerdict, CliError> {
    let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg}"));
    for seed in first.seed.. {
        bar.set_message(format!("storm {seed}"));
        bar.tick();
        let mut plan = if first.classroom { StormPlan::classroom(seed) } else { StormPlan::random(first.kind, seed) };
        plan = args.resized(plan);
        match plan.run(Trace::off()) {
            Ok(report) => bar.suspend(|| writeln!(out, "storm {seed}: {report}"))?,
            Err(violation) => {
                bar.finish_and_clear();
                return tell_failure(args, &plan, &violation, out);
            }
        }
    }
    Ok(RunVerdict::Passed)
}

fn tell_schedule(plan: &StormPlan, out: &mut dyn Write) -> io::Result<()> {
    let strikes = plan.strikes();
    for index in plan.striking() {
        if let Some(strike) = strikes.get(index) {
            writeln!(out, "{index:>4} {strike}")?;
        }
    }
    Ok(())
}

fn tell_failure(
    args: &SimArgs,
    plan: &StormPlan,
    violation: &Violation,
    out: &mut dyn Write,
) -> Result<RunVerdict, CliError> {
    writeln!(out, "FAILED {violation}\nto run it again: {plan}")?;
    if args.shrink {
        let bar = ProgressBar::new_spinner().with_style(style("{spinner} shrinking: {msg}"));
        let fails = |only: &[usize]| {
            bar.set_message(format!("{} faults", only.len()));
            bar.tick();
            StormPlan { only: Some(only.to_vec()), ..plan.clone() }.run(Trace::off()).is_err()
        };
        let shorter = StormPlan { only: Some(shrink(&plan.striking(), fails)), ..plan.clone() };
        bar.finish_and_clear();
        writeln!(out, "a shorter schedule that fails: {shorter}")?;
        tell_schedule(&shorter, out)?;
        if let Err(violation) = shorter.run(Trace::off()) {
            writeln!(out, "FAILED {violation}")?;
        }
    }
    Ok(RunVerdict::Failed)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant and well-formed")
}

fn in_record(path: &Path) -> impl Fn(RecordError) -> CliError {
    move |error| CliError::Record { path: path.to_owned(), error }
}

fn in_file(path: &Path) -> impl Fn(io::Error) -> CliError {
    move |error| CliError::File { path: path.to_owned(), error }
}

fn write_file(path: &Path, text: &str) -> Result<(), CliError> {
    fs::write(path, text).map_err(in_file(path))
}
