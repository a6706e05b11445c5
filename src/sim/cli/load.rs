//! `kadring sim` in a large network.

use std::cell::Cell;
use std::io::Write;
use std::time::Duration;

use bytesize::ByteSize;
use indicatif::ProgressBar;

use super::{CliError, Stopwatch, Verdict, style, write_file};
use crate::overlay::OverlayKind;
use crate::sim::args::SimArgs;
use crate::sim::load::{Found, LoadPlan, LoadReport, Slice, Stage};
use crate::sim::memory;
use crate::sim::plot::{Plot, Series};
use crate::sim::table::Table;

/// Steps of the progress bar.
const STEPS: u64 = 1000;

/// The real cost of a run.
#[derive(Clone, Copy)]
struct Cost {
    /// Real time until the network was grown.
    grown: Duration,
    /// Real time from then to the end.
    ran: Duration,
    /// Memory of the network when grown and in the end; none where the system does not tell.
    memory: Option<(u64, u64)>,
}

pub(super) fn run(
    args: &SimArgs,
    plan: &LoadPlan,
    out: &mut dyn Write,
    stopwatch: Stopwatch<'_>,
) -> Result<Verdict, CliError> {
    check_memory(plan, out)?;
    let bar = ProgressBar::new(STEPS).with_style(style("{msg:12} {wide_bar} {percent} %, {eta} left"));
    let before = memory::occupied();
    let (start, grown) = (stopwatch(), Cell::new((Duration::ZERO, None)));
    let report = plan.run(|stage| match stage {
        Stage::Growing(count, all) if count.is_multiple_of(all.div_ceil(100)) => {
            bar.set_message("growing");
            bar.set_position(count as u64 * STEPS / all as u64);
        }
        Stage::Growing(..) => {}
        Stage::Grown => {
            grown.set((stopwatch(), memory::occupied()));
            bar.reset();
        }
        Stage::Running(passed, all) => {
            bar.set_message("running");
            bar.set_position((passed.as_secs_f64() / all.as_secs_f64() * STEPS as f64) as u64);
        }
    })?;
    bar.finish_and_clear();
    let (stood, then) = grown.get();
    let more = |now: Option<u64>| Some(now?.saturating_sub(before?));
    let cost = Cost {
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
    Ok(Verdict::Passed)
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

fn percent(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { 100.0 * part as f64 / all as f64 }
}

/// The value below which this share of all lies.
fn percentile(mut values: Vec<Duration>, share: f64) -> Duration {
    values.sort_unstable();
    let at = (values.len().saturating_sub(1)) as f64 * share;
    values.get(at.round() as usize).copied().unwrap_or_default()
}

fn mean_hops<'a>(found: impl Iterator<Item = &'a Found>) -> f64 {
    let (sum, count) = found.fold((0, 0), |(sum, count), found| (sum + found.hops, count + 1));
    if count == 0 { 0.0 } else { f64::from(sum) / f64::from(count) }
}

fn slices(report: &LoadReport) -> Table {
    let mut table = Table::new([
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
            sent.to_string(),
        ]);
    }
    table
}

fn summary(plan: &LoadPlan, report: &LoadReport, cost: Cost) -> String {
    let asked = report.asked();
    let found = report.found().count();
    let took: Vec<Duration> = report.found().map(|found| found.took).collect();
    let counts = report.counts;
    let peers = plan.peers as f64;
    let mut text = format!(
        "{asked} lookups: {:.2} % ended, {:.2} % found the nearest peer, {:.2} % all of the nearest; {:.2} hops, median {:.1?}, p99 {:.1?}\n\
         {} messages sent, {} of them lost, {} events\n\
         grown in {:.1?} ({:.1} µs a peer), run in {:.1?} ({:.1} µs a peer, {:.2} µs an event)\n",
        percent(found, asked),
        percent(report.found().filter(|found| found.nearest).count(), asked),
        percent(report.found().filter(|found| found.all).count(), asked),
        mean_hops(report.found()),
        percentile(took.clone(), 0.5),
        percentile(took, 0.99),
        counts.sent,
        counts.lost,
        counts.events,
        cost.grown,
        cost.grown.as_secs_f64() * 1e6 / peers,
        cost.ran,
        cost.ran.as_secs_f64() * 1e6 / peers,
        cost.ran.as_secs_f64() * 1e6 / counts.events.max(1) as f64,
    );
    if let Some((grown, end)) = cost.memory {
        let each = |bytes: u64| bytes as f64 / peers;
        text += &format!(
            "memory: {} when grown ({:.0} bytes a peer), {} in the end ({:.0} bytes a peer)\n",
            ByteSize(grown),
            each(grown),
            ByteSize(end),
            each(end)
        );
    }
    text
}

fn plot(plan: &LoadPlan, report: &LoadReport) -> Plot {
    let line = |name: &str, right: fn(&Found) -> bool| {
        let point = |slice: &Slice| {
            let asked = slice.found.len() + slice.unanswered;
            (slice.begins.as_secs_f64(), percent(slice.found.iter().filter(|found| right(found)).count(), asked))
        };
        let slices = report.slices.iter().filter(|slice| slice.found.len() + slice.unanswered > 0);
        Series { name: name.to_owned(), points: slices.map(point).collect() }
    };
    Plot {
        title: format!("{} peers, seed {}", plan.peers, plan.seed),
        x: "virtual time, seconds".to_owned(),
        y: "lookups, %".to_owned(),
        lines: vec![line("nearest found", |found| found.nearest), line("all nearest found", |found| found.all)],
    }
}
