//! What a load ends with: a few lines, the results last.

use std::fmt::Write;
use std::time::Duration;

use bytesize::ByteSize;

use crate::node::Purpose;
use crate::sim::deaths::DeathReport;
use crate::sim::load::{FILE_BYTES, FileReport, LoadPlan, LoadReport, LookupResult};
use crate::sim::tally::Amount;

/// A death is to be known after this time.
const PROMISED: Duration = Duration::from_secs(10);

/// The real cost of a run.
#[derive(Clone, Copy)]
pub(super) struct RunCost {
    /// Real time until the network was grown.
    pub(super) grown: Duration,
    /// Real time from then to the end.
    pub(super) ran: Duration,
    /// Memory of the network when grown and in the end; none where the system does not tell.
    pub(super) memory: Option<(u64, u64)>,
}

pub(super) fn percent(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { 100.0 * part as f64 / all as f64 }
}

/// The value below which this share of all lies.
pub(super) fn percentile(mut values: Vec<Duration>, share: f64) -> Duration {
    values.sort_unstable();
    let at = (values.len().saturating_sub(1)) as f64 * share;
    values.get(at.round() as usize).copied().unwrap_or_default()
}

pub(super) fn mean_hops<'a>(found: impl Iterator<Item = &'a LookupResult>) -> f64 {
    let (sum, count) = found.fold((0, 0), |(sum, count), found| (sum + found.hops, count + 1));
    if count == 0 { 0.0 } else { f64::from(sum) / f64::from(count) }
}

/// All lines of the summary of a run under load.
pub(super) fn summary(plan: &LoadPlan, report: &LoadReport, cost: RunCost) -> String {
    let parts = [costs(plan, report, cost), lookups(report), traffic(plan, report), deaths(&report.deaths)];
    parts.concat() + &files(report.files)
}

/// What the run took of this machine.
fn costs(plan: &LoadPlan, report: &LoadReport, cost: RunCost) -> String {
    let peers = plan.peers as f64;
    let events = report.counts.events;
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mut text = format!(
        "grown in {:.1?} ({:.1} µs a peer), run in {:.1?} ({:.1} µs a peer, {:.2} µs an event), {events} events\n",
        cost.grown,
        micros(cost.grown) / peers,
        cost.ran,
        micros(cost.ran) / peers,
        micros(cost.ran) / events.max(1) as f64,
    );
    if let Some((grown, end)) = cost.memory {
        let (grown_each, end_each) = (grown as f64 / peers, end as f64 / peers);
        let (grown, end) = (ByteSize(grown), ByteSize(end));
        let _ = writeln!(
            text,
            "memory: {grown} when grown ({grown_each:.0} bytes a peer), {end} in the end ({end_each:.0} bytes a peer)"
        );
    }
    text
}

fn lookups(report: &LoadReport) -> String {
    let asked = report.asked();
    if asked == 0 {
        return String::new();
    }
    let share = |right: fn(&&LookupResult) -> bool| percent(report.found().filter(right).count(), asked);
    let took: Vec<Duration> = report.found().map(|found| found.took).collect();
    format!(
        "{asked} lookups: {:.2} % ended, {:.2} % found the nearest peer, {:.2} % all of the nearest; \
         {:.2} hops, median {:.1?}, p99 {:.1?}\n",
        share(|_| true),
        share(|found| found.nearest),
        share(|found| found.all),
        mean_hops(report.found()),
        percentile(took.clone(), 0.5),
        percentile(took, 0.99),
    )
}

/// What a peer sends, by purpose.
fn traffic(plan: &LoadPlan, report: &LoadReport) -> String {
    let spans = plan.lasts.as_secs_f64() * report.alive;
    let each = |Amount { messages, bytes }: Amount| (messages as f64 / spans, bytes as f64 / spans);
    let (messages, bytes) = each(report.sent.all());
    let purposes = Purpose::ALL.map(|purpose| {
        let (messages, bytes) = each(report.sent.of(purpose));
        format!("{} {messages:.2} and {bytes:.0}", purpose.name())
    });
    format!(
        "{} messages sent, {} of them lost\na peer a second: {messages:.2} messages and {bytes:.0} bytes sent ({})\n",
        report.counts.sent,
        report.counts.lost,
        purposes.join(", ")
    )
}

fn files(FileReport { stored, failed, lost }: FileReport) -> String {
    match stored + failed {
        0 => String::new(),
        _ => format!("{stored} files of {} stored, {failed} refused; {lost} lost\n", ByteSize(FILE_BYTES as u64)),
    }
}

fn deaths(report: &DeathReport) -> String {
    let known = |share| percentile(report.known.clone(), share).as_secs_f64();
    let mut text = format!("{} deaths", report.deaths);
    if !report.known.is_empty() {
        let (median, most) = (known(0.5), known(1.0));
        let _ = write!(
            text,
            ": known to the replica set after {median:.1} s median, {:.1} s p99, {most:.1} s at most",
            known(0.99)
        );
    }
    let (late, latest): (Vec<Duration>, Vec<Duration>) = report.unknown.iter().partition(|dead| **dead >= PROMISED);
    if let Some(longest) = late.iter().max() {
        let _ = write!(text, "; {} not known in the end, for {:.1} s at most", late.len(), longest.as_secs_f64());
    }
    if !latest.is_empty() {
        let _ = write!(text, "; {} died in the last {} s and were not known yet", latest.len(), PROMISED.as_secs());
    }
    let _ = writeln!(text, "; {} times a living peer was declared dead", report.false_alarms);
    text
}
