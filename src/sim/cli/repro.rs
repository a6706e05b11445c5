//! `kadring repro`.

use std::fs;
use std::io::Write;

use indicatif::ProgressBar;

use super::{CliError, Stopwatch, Verdict, in_file, style, write_file};
use crate::sim::args::ReproArgs;
use crate::sim::plot::{Plot, Series};
use crate::sim::repro::{EXPERIMENTS, Experiment, Finding, Setup, find};
use crate::sim::table::Table;

pub(super) fn run(args: &ReproArgs, out: &mut dyn Write, stopwatch: Stopwatch<'_>) -> Result<Verdict, CliError> {
    let wanted: Vec<&Experiment> = match args.experiment.as_str() {
        "list" => return list(out),
        "all" => EXPERIMENTS.iter().collect(),
        name => vec![find(name).ok_or_else(|| {
            let names: Vec<&str> = EXPERIMENTS.iter().map(|experiment| experiment.name).collect();
            CliError::Usage(format!("there is no experiment '{name}'; there are {}, list and all", names.join(", ")))
        })?],
    };
    for folder in [&args.csv, &args.svg].into_iter().flatten() {
        fs::create_dir_all(folder).map_err(in_file(folder))?;
    }
    let mut verdict = Verdict::Passed;
    for experiment in wanted {
        if conduct(experiment, args, out, stopwatch)? == Verdict::Failed {
            verdict = Verdict::Failed;
        }
    }
    Ok(verdict)
}

fn list(out: &mut dyn Write) -> Result<Verdict, CliError> {
    let mut table = Table::new(["experiment", "what it measures"]);
    for experiment in EXPERIMENTS {
        table.row([experiment.name.to_owned(), experiment.title.to_owned()]);
    }
    write!(out, "{}", table.text())?;
    Ok(Verdict::Passed)
}

fn conduct(
    experiment: &Experiment,
    args: &ReproArgs,
    out: &mut dyn Write,
    stopwatch: Stopwatch<'_>,
) -> Result<Verdict, CliError> {
    let bar = ProgressBar::new(1000).with_style(style("{msg} {wide_bar} {percent} %, {eta} left"));
    bar.set_message(experiment.name);
    let start = stopwatch();
    let progress = |share: f64| bar.set_position((share * 1000.0) as u64);
    let findings = experiment.run(&Setup { quick: args.quick, seed: args.seed, progress: &progress })?;
    bar.finish_and_clear();
    let took = stopwatch().saturating_sub(start);
    let table = tabulate(&findings);
    writeln!(out, "{} ({}{took:.1?})", experiment.title, if args.quick { "quick size, " } else { "" })?;
    writeln!(out, "  source: {}\n  counted: {}", experiment.source, experiment.conventions)?;
    writeln!(out, "{}", table.text())?;
    if let Some(folder) = &args.csv {
        write_file(&folder.join(experiment.name).with_extension("csv"), &table.csv())?;
    }
    if let Some(folder) = &args.svg {
        write_file(&folder.join(experiment.name).with_extension("svg"), &plot(experiment, &findings).svg())?;
    }
    Ok(if findings.iter().all(Finding::passes) { Verdict::Passed } else { Verdict::Failed })
}

fn tabulate(findings: &[Finding]) -> Table {
    let mut table = Table::new(["what", "paper", "ours", "tolerance", "verdict"]);
    for finding in findings {
        table.row([
            finding.what.clone(),
            format!("{:.3}", finding.paper),
            format!("{:.3}", finding.ours),
            finding.tolerance.to_string(),
            if finding.passes() { "PASS" } else { "FAIL" }.to_owned(),
        ]);
    }
    table
}

fn plot(experiment: &Experiment, findings: &[Finding]) -> Plot {
    let line = |name: &str, value: fn(&Finding) -> f64| {
        let points = findings.iter().enumerate().map(|(nth, finding)| (nth as f64 + 1.0, value(finding)));
        Series { name: name.to_owned(), points: points.collect() }
    };
    Plot {
        title: experiment.title.to_owned(),
        x: "row of the table".to_owned(),
        y: "value".to_owned(),
        lines: vec![line("paper", |finding| finding.paper), line("ours", |finding| finding.ours)],
    }
}
