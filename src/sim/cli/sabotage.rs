//! `kadring sim --storm --saboteur`: finds a storm that shows that a driver is broken, and tells the story.

use std::io::{self, Write};

use super::{CliError, RunVerdict, recorded, tell_schedule};
use crate::sim::args::SimArgs;
use crate::sim::kept::DriverFault;
use crate::sim::moments::columns::cut;
use crate::sim::moments::history::{Collection, History, Seen};
use crate::sim::sabotage::{Caught, SABOTEURS, Saboteur};
use crate::sim::storm::StormPlan;
use crate::sim::table::TextTable;
use crate::sim::trace::Trace;
use crate::sim::world::Violation;
use crate::time::Time;

/// Storms that are tried.
const SEEDS: u64 = 50;
/// Lines that tell what the driver did, and what led to the end.
const WRONGS: usize = 3;
const MOMENTS: usize = 8;
/// Characters of a moment.
const MOMENT_WIDTH: usize = 92;

/// The table of all of them.
pub(super) fn list(out: &mut dyn Write) -> Result<RunVerdict, CliError> {
    let mut table = TextTable::new(["saboteur", "what the driver does wrong"]);
    for saboteur in &SABOTEURS {
        table.row([saboteur.name.to_owned(), saboteur.broken.to_owned()]);
    }
    write!(out, "{}", table.text())?;
    Ok(RunVerdict::Passed)
}

/// Runs this storm, if the faults that strike are given, or else the storms from its seed on until one shows it.
pub(super) fn run(
    args: &SimArgs,
    saboteur: &'static Saboteur,
    plan: &StormPlan,
    out: &mut dyn Write,
) -> Result<RunVerdict, CliError> {
    let Some(Caught { plan, violation }) = find(args, saboteur, plan) else {
        writeln!(out, "{}: no storm shows that {}", saboteur.name, saboteur.broken)?;
        return Ok(RunVerdict::Failed);
    };
    tell(saboteur, &plan, &violation, out)?;
    drop(recorded(args, &plan, Trace::off())?);
    Ok(RunVerdict::Passed)
}

/// This storm, if the faults that strike are given, or else the first from its seed on that shows it, with no more
/// faults than it takes; and what did not hold.
pub(super) fn find(args: &SimArgs, saboteur: &'static Saboteur, plan: &StormPlan) -> Option<Caught> {
    if plan.only.is_some() || !plan.choices.is_empty() {
        return saboteur.hunt([plan.clone()]);
    }
    let plans = (plan.seed..).take(SEEDS as usize).map(|seed| args.resized(saboteur.plan(seed)));
    let found = saboteur.hunt(plans)?;
    Some(Caught { plan: saboteur.shorten(&found.plan), ..found })
}

fn tell(saboteur: &Saboteur, plan: &StormPlan, first: &Violation, out: &mut dyn Write) -> Result<(), CliError> {
    let (kept, ended) = plan.keep();
    let Violation { at, slot, what } = ended.err().unwrap_or_else(|| first.clone());
    writeln!(out, "broken     {}: {}", saboteur.name, saboteur.broken)?;
    writeln!(out, "promised   {}", saboteur.promise)?;
    let faults = plan.striking().len();
    writeln!(out, "shown by   the storm of seed {} with {faults} of its {} faults", plan.seed, plan.strikes().len())?;
    tell_schedule(plan, out)?;
    writeln!(out, "happened   at {at} s, peer {slot}: {what}")?;
    let wrongs = wrongs(&kept.wrongs, slot);
    writeln!(out, "\nthe driver did this:")?;
    for DriverFault { at, slot, what, .. } in wrongs.iter().skip(wrongs.len().saturating_sub(WRONGS)) {
        writeln!(out, "  {:>14}  peer {slot:<3} {what}", at.to_string())?;
    }
    let mut collection = Collection::default();
    if collection.add("", kept.record.as_bytes()).is_ok() {
        tell_moments(&collection.in_order(), (at, slot), wrongs.last(), out)?;
    }
    // The wrong is done in the moment that was the last then, or before the next: the state before both is good.
    let good = wrongs.last().map_or(0, |wrong| wrong.done.saturating_sub(1));
    writeln!(out, "\nto step on from the last good state:\n  {plan} --step --at {good}")?;
    writeln!(out, "to see all of it:")?;
    writeln!(out, "  {plan} --record storm.jsonl && kadring trace --peer {slot} storm.jsonl")?;
    Ok(())
}

/// What the driver did to the peer that came to harm, or else to any.
fn wrongs(all: &[DriverFault], slot: usize) -> Vec<&DriverFault> {
    let own: Vec<&DriverFault> = all.iter().filter(|wrong| wrong.slot == slot).collect();
    if own.is_empty() { all.iter().collect() } else { own }
}

/// The moment of the harm and what led to it; if it was found only afterwards, the last moment at which the driver did
/// wrong.
fn tell_moments(
    history: &History,
    (at, slot): (Time, usize),
    wrong: Option<&&DriverFault>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let last_of = |slot: usize, until: Time| {
        let name = slot.to_string();
        let until = i64::try_from(until.as_micros()).unwrap_or(i64::MAX);
        let is_it = |seen: &Seen| seen.at <= until && history.peers[seen.peer].name == name;
        history.moments.iter().rposition(is_it)
    };
    let harm = last_of(slot, at).filter(|&moment| history.moments[moment].at == at.as_micros() as i64);
    let Some(last) = harm.or_else(|| wrong.and_then(|wrong| last_of(wrong.slot, wrong.at))) else { return Ok(()) };
    writeln!(out, "\nthe moments that led there, each the cause of the next:")?;
    let chain = history.why(last);
    for &moment in chain.iter().skip(chain.len().saturating_sub(MOMENTS)) {
        let seen = &history.moments[moment];
        let at = Time::from_micros(u64::try_from(seen.at).unwrap_or_default());
        let text = cut(&history.tell(moment), MOMENT_WIDTH);
        writeln!(out, "  {:>14}  peer {:<3} {text}", at.to_string(), history.peers[seen.peer].name)?;
    }
    Ok(())
}
