//! `--step`: what happened, moment by moment, as lines ask for it.

use std::fs::File;
use std::io::{self, BufReader, Write};

use super::trace::name;
use super::{CliError, RunVerdict, in_file, in_record, sabotage};
use crate::sim::args::{ReplayArgs, RunKind, SimArgs};
use crate::sim::moments::columns::Style;
use crate::sim::stepping::{StepFlow, Stepper};

/// Gives the next line, having asked for it with a prompt where a person types; none at the end.
pub type NextLine<'a> = &'a mut dyn FnMut(&str) -> io::Result<Option<String>>;

/// What `kadring replay --step` steps through, in colour or not.
///
/// # Errors
/// The record cannot be read, or has not what is asked for.
pub fn of_record(args: &ReplayArgs, style: Style) -> Result<Stepper, CliError> {
    let path = &args.file;
    let file = BufReader::new(File::open(path).map_err(in_file(path))?);
    let stepper = Stepper::of_record(&name(path), file, args.peer, style).map_err(in_record(path))?;
    started(stepper, args.at)
}

/// What `kadring sim --storm --step` steps through, in colour or not.
///
/// # Errors
/// There is no such storm.
pub fn of_storm(args: &SimArgs, style: Style) -> Result<Stepper, CliError> {
    let plan = match args.plan().map_err(CliError::Usage)? {
        RunKind::Storm(plan) => plan,
        RunKind::Sabotage(saboteur, plan) => sabotage::find(args, saboteur, &plan).map_or(plan, |found| found.plan),
        RunKind::Load(_) | RunKind::Saboteurs => return Err(CliError::Usage("--step needs one storm".to_owned())),
    };
    started(Stepper::of_storm(plan, style).map_err(in_record("the storm".as_ref()))?, args.at)
}

fn started(mut stepper: Stepper, at: Option<usize>) -> Result<Stepper, CliError> {
    at.map_or(Ok(()), |at| stepper.start_at(at)).map_err(CliError::Usage)?;
    Ok(stepper)
}

/// Steps as the lines say.
///
/// # Errors
/// The lines cannot be read, or the answers cannot be written.
pub fn step(mut stepper: Stepper, lines: NextLine<'_>, out: &mut dyn Write) -> Result<RunVerdict, CliError> {
    stepper.greet(out)?;
    loop {
        let line = lines(&stepper.prompt()).map_err(CliError::Input)?;
        let flow = match line {
            Some(line) => stepper.obey(&line, out)?,
            None => {
                stepper.closing_note(out)?;
                StepFlow::End
            }
        };
        if flow == StepFlow::End {
            return Ok(if stepper.is_faithful() { RunVerdict::Passed } else { RunVerdict::Failed });
        }
        out.flush()?;
    }
}
