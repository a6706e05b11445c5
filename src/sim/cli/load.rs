//! `kadring sim` in a large network.

use std::cell::Cell;
use std::io::Write;
use std::time::Duration;

use bytesize::ByteSize;
use indicatif::ProgressBar;

use super::summary::{RunCost, mean_hops, percent, percentile, summary};
use super::{CliError, RunVerdict, Stopwatch, style, write_file};
use crate::node::Purpose;
use crate::overlay::OverlayKind;
use crate::sim::args::SimArgs;
use crate::sim::load::{LoadPlan, LoadReport, LoadStage, LookupResult, Slice};
use crate::sim::memory;
use crate::sim::plot::{Plot, Series};
use crate::sim::table::TextTable;

/// Steps of the progress bar.
const STEPS: u64 = 1000;

pub(super) fn run(
    args: &SimArgs,
    plan: &LoadPlan,
    out: &mut dyn Write,
    stopwatch: Stopwatch<'_>,
) -> Result<RunVerdict, CliError> {
    check_memory(plan, out)?;
    let bar = ProgressBar::new(STEPS).with_style(style("{msg:12} {wide_bar} {percent} %, {eta} left"));
    let before = memory::occupied();
    let (start, grown) = (stopwatch(), Cell::new((Duration::ZERO, None)));
    let report = plan.run(|stage| match stage {
        LoadStage::Growing(count, all) if count.is_multiple_of(all.div_ceil(100)) => {
            bar.set_message("growing");
            bar.set_position(count as u64 * STEPS / all as u64);
        }
        LoadStage::Growing(..) => {}
        LoadStage::Grown => {
            grown.set((stopwatch(), memory::occupied()));
            bar.reset();
        }
        LoadStage::Running(passed, all) => {
            bar.set_message("running");
            bar.set_position((passed.as_secs_f64() / all.as_secs_f64() * STEPS as f64) as u64);
        }
    })?;
    bar.finish_and_clear();
    let (stood, then) = grown.get();
    let more = |now: Option<u64>| Some(now?.saturating_sub(before?));
    let cost = RunCost {
        grown: stood.saturating_sub(start),
        ran: stopwatch().saturating_sub(stood),
        memory: more(then).zip(more(memory::occupied())),
    };
    let table = slices(&report);
    write!(out, "{}\n{}", table.text(), summary(plan, &report, cost))?;
    if let Some(path) = &args.csv {
        write_file(path, &table.csv())?;
    }
    if let Some(path) = &args.svg {
        write_file(path, &plot(plan, &report).svg())?;
    }
    Ok(RunVerdict::Passed)
}

/// Writes how much memory the run will take; it is an error if less is available.
fn check_memory(plan: &LoadPlan, out: &mut dyn Write) -> Result<(), CliError> {
    let size = match plan.shape.kind {
        OverlayKind::Kademlia => plan.shape.bucket,
        OverlayKind::Ring => plan.shape.successors,
    };
    let joins = plan.churn * plan.lasts.as_secs_f64() / 60.0;
    let needed = ByteSize(memory::estimate(plan.shape.kind, plan.peers + joins as usize, size));
    match memory::available().map(ByteSize) {
        Some(available) if needed > available => Err(CliError::NoRoom { needed, available }),
        Some(available) => Ok(writeln!(out, "memory: about {needed} of {available} that can be had")?),
        None => Ok(writeln!(out, "memory: about {needed}; the system does not say what can be had")?),
    }
}

fn slices(report: &LoadReport) -> TextTable {
    let mut table = TextTable::new([
        "second",
        "alive",
        "lookups",
        "ended %",
        "nearest %",
        "all %",
        "hops",
        "median ms",
        "p99 ms",
        "messages",
        "lookup B",
        "upkeep B",
        "repair B",
        "transfer B",
    ]);
    for slice in &report.slices {
        let Slice { begins, found, unanswered, sent, alive } = slice;
        let asked = found.len() + unanswered;
        let took = |share| percentile(found.iter().map(|found| found.took).collect(), share).as_secs_f64() * 1e3;
        table.row([
            format!("{:.1}", begins.as_secs_f64()),
            alive.to_string(),
            asked.to_string(),
            format!("{:.1}", percent(found.len(), asked)),
            format!("{:.1}", percent(found.iter().filter(|found| found.nearest).count(), asked)),
            format!("{:.1}", percent(found.iter().filter(|found| found.all).count(), asked)),
            format!("{:.2}", mean_hops(found.iter())),
            format!("{:.1}", took(0.5)),
            format!("{:.1}", took(0.99)),
            sent.all().messages.to_string(),
            sent.of(Purpose::Lookup).bytes.to_string(),
            sent.of(Purpose::Upkeep).bytes.to_string(),
            sent.of(Purpose::Repair).bytes.to_string(),
            sent.of(Purpose::Transfer).bytes.to_string(),
        ]);
    }
    table
}

fn plot(plan: &LoadPlan, report: &LoadReport) -> Plot {
    let line = |name: &str, right: fn(&LookupResult) -> bool| {
        let point = |slice: &Slice| {
            let asked = slice.found.len() + slice.unanswered;
            (slice.begins.as_secs_f64(), percent(slice.found.iter().filter(|found| right(found)).count(), asked))
        };
        let slices = report.slices.iter().filter(|slice| slice.found.len() + slice.unanswered > 0);
        Series { name: name.to_owned(), points: slices.map(point).collect() }
    };
    Plot {
        title: format!("{} peers, seed {}", plan.peers, plan.seed),
        x: "virtual time, s".to_owned(),
        y: "lookups, %".to_owned(),
        rows: Vec::new(),
        lines: vec![line("nearest found", |found| found.nearest), line("all nearest found", |found| found.all)],
    }
}
