//! `kadring repro`.

use std::fs;
use std::io::Write;
use std::time::Duration;

use indicatif::ProgressBar;

use super::{CliError, RunVerdict, Stopwatch, in_file, style, write_file};
use crate::sim::args::ReproArgs;
use crate::sim::plot::{Plot, Series};
use crate::sim::repro::{EXPERIMENTS, Experiment, Finding, Setup, find};
use crate::sim::table::TextTable;

pub(super) fn run(args: &ReproArgs, out: &mut dyn Write, stopwatch: Stopwatch<'_>) -> Result<RunVerdict, CliError> {
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
    let (start, mut values, mut missed) = (stopwatch(), 0, Vec::new());
    for (nth, experiment) in wanted.iter().enumerate() {
        let which = format!("{}/{} {}", nth + 1, wanted.len(), experiment.name);
        let findings = conduct(experiment, which, args, out, stopwatch)?;
        values += findings.len();
        let wrong = findings.iter().filter(|finding| !finding.passes()).count();
        if wrong > 0 {
            missed.push((experiment.name, wrong));
        }
    }
    if wanted.len() > 1 {
        let took = stopwatch().saturating_sub(start);
        writeln!(out, "{}", summary(wanted.len(), values, &missed, took))?;
    }
    Ok(if missed.is_empty() { RunVerdict::Passed } else { RunVerdict::Failed })
}

/// What came of so many experiments with so many values; `missed` names those of which some values are wrong.
fn summary(experiments: usize, values: usize, missed: &[(&str, usize)], took: Duration) -> String {
    let wrong: usize = missed.iter().map(|(_, wrong)| wrong).sum();
    let names: Vec<String> = missed.iter().map(|(name, wrong)| format!("{name} ({wrong})")).collect();
    let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    let confirmed = experiments - missed.len();
    format!(
        "{experiments} experiments: {confirmed} confirmed, {} missed{names}; {} of {values} values agree; {took:.1?}",
        missed.len(),
        values - wrong
    )
}

fn list(out: &mut dyn Write) -> Result<RunVerdict, CliError> {
    let mut table = TextTable::new(["experiment", "what it measures"]);
    for experiment in EXPERIMENTS {
        table.row([experiment.name.to_owned(), experiment.title.to_owned()]);
    }
    write!(out, "{}", table.text())?;
    Ok(RunVerdict::Passed)
}

fn conduct(
    experiment: &Experiment,
    which: String,
    args: &ReproArgs,
    out: &mut dyn Write,
    stopwatch: Stopwatch<'_>,
) -> Result<Vec<Finding>, CliError> {
    let bar = ProgressBar::new(1000).with_style(style("{msg} {wide_bar} {percent} %, {eta} left"));
    bar.set_message(which);
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
    Ok(findings)
}

fn tabulate(findings: &[Finding]) -> TextTable {
    let mut table = TextTable::new(["what", "paper", "ours", "tolerance", "verdict"]);
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
        let points = findings.iter().zip(1..).map(|(finding, row)| (f64::from(row), value(finding)));
        Series { name: name.to_owned(), points: points.collect() }
    };
    Plot {
        title: experiment.title.to_owned(),
        x: "row, as below".to_owned(),
        y: "value, of what its row names".to_owned(),
        rows: findings.iter().map(|finding| finding.what.clone()).collect(),
        lines: vec![line("paper", |finding| finding.paper), line("ours", |finding| finding.ours)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_experiments_end_with_a_line_that_names_what_was_missed() {
        let took = Duration::from_millis(2500);
        assert_eq!(summary(3, 20, &[], took), "3 experiments: 3 confirmed, 0 missed; 20 of 20 values agree; 2.5s");
        let missed = [("kad-hops", 2), ("keys", 1)];
        let told = "3 experiments: 1 confirmed, 2 missed: kad-hops (2), keys (1); 17 of 20 values agree; 2.5s";
        assert_eq!(summary(3, 20, &missed, took), told);
    }
}
