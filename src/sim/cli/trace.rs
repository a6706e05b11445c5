//! `kadring trace`: what several peers recorded, side by side.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{CliError, RunVerdict, in_file, in_record};
use crate::sim::args::TraceArgs;
use crate::sim::moments::columns::{self, Style};
use crate::sim::moments::diff::{self, Side};
use crate::sim::moments::history::{Collection, History};
use crate::sim::moments::{chrome, page, picture};

/// Writes a drawing to a file.
type Draw<'a> = &'a dyn Fn(&mut dyn Write) -> io::Result<()>;

pub(super) fn run(args: &TraceArgs, style: Style, out: &mut dyn Write) -> Result<RunVerdict, CliError> {
    let (history, mut complaints) = read(&args.files)?;
    if !args.diff.is_empty() {
        let (other, further) = read(&args.diff)?;
        complaints.extend(further);
        compare(args, [&history, &other], &complaints, style, out).map_err(because_of(&complaints))?;
    } else {
        show(args, &history, &complaints, style, out).map_err(because_of(&complaints))?;
    }
    for complaint in complaints {
        writeln!(out, "{complaint}")?;
    }
    out.flush()?;
    Ok(RunVerdict::Passed)
}

/// A user who asks for what is not there is told what is wrong with the records: it may be in what is missing.
fn because_of(complaints: &[String]) -> impl Fn(CliError) -> CliError {
    move |error| match error {
        CliError::Usage(why) => CliError::Usage([&[why], complaints].concat().join("\n")),
        other => other,
    }
}

/// The history that these files tell, and what is wrong with them. A file that cannot be read is left out if there are
/// others.
fn read(paths: &[PathBuf]) -> Result<(History, Vec<String>), CliError> {
    let mut collection = Collection::default();
    let mut refused = None;
    for path in paths {
        let file = File::open(path).map_err(in_file(path))?;
        if let Err(error) = collection.add(&name(path), BufReader::new(file)).map_err(in_record(path)) {
            collection.complaints.push(format!("left out: {error}"));
            refused.get_or_insert(error);
        }
    }
    match refused.filter(|_| collection.is_empty()) {
        Some(error) => Err(error),
        None => {
            let complaints = std::mem::take(&mut collection.complaints);
            Ok((collection.history(), complaints))
        }
    }
}

fn show(
    args: &TraceArgs,
    history: &History,
    complaints: &[String],
    style: Style,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut moments = match &args.find {
        Some(pattern) => found(history, pattern, out)?,
        None => asked_for(args, history)?,
    };
    of_peers(args, history, &mut moments)?;
    if moments.is_empty() {
        writeln!(out, "none of the {} moments is left to show", history.moments.len())?;
        return Ok(());
    }
    // Of one request it is worth to know what its end waited for.
    let way = if args.only.is_some() { history.way(&moments) } else { Vec::new() };
    let drawings: [(&Option<PathBuf>, Draw<'_>); 3] = [
        (&args.html, &|file| page::write(history, &moments, complaints, file)),
        (&args.svg, &|file| picture::write(history, &moments, &way, file)),
        (&args.chrome, &|file| chrome::write(history, &moments, file)),
    ];
    let mut drawn = false;
    for (path, draw) in drawings {
        if let Some(path) = path {
            save(path, draw)?;
            writeln!(out, "{} moments written to {}", moments.len(), path.display())?;
            drawn = true;
        }
    }
    if !drawn {
        columns::write(history, &moments, &way, style, out)?;
    }
    Ok(())
}

/// The moments of all places where the pattern is found.
fn found(history: &History, pattern: &str, out: &mut dyn Write) -> Result<Vec<usize>, CliError> {
    let places = history.find(pattern).map_err(CliError::Usage)?;
    writeln!(out, "'{pattern}' is found {} times", places.len())?;
    let mut moments: Vec<usize> = places.into_iter().flatten().collect();
    moments.sort_unstable();
    moments.dedup();
    Ok(moments)
}

fn compare(
    args: &TraceArgs,
    runs: [&History; 2],
    complaints: &[String],
    style: Style,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let [first, second] = runs.map(|history| {
        let mut moments = asked_for(args, history)?;
        of_peers(args, history, &mut moments).map(|()| moments)
    });
    // One of the runs may lack what is asked for: that is what differs.
    let (first, second) = match (first, second) {
        (Err(error), Err(_)) => return Err(error),
        (first, second) => (first.unwrap_or_default(), second.unwrap_or_default()),
    };
    if first.is_empty() && second.is_empty() {
        writeln!(out, "no moments are left to compare")?;
        return Ok(());
    }
    let sides = [Side { history: runs[0], moments: &first }, Side { history: runs[1], moments: &second }];
    match &args.html {
        Some(path) => {
            save(path, &|file| page::write_diff(sides, complaints, file))?;
            writeln!(out, "{} and {} moments written to {}", first.len(), second.len(), path.display())?;
        }
        None => diff::write(sides[0], sides[1], style, out)?,
    }
    Ok(())
}

/// The moments that `--only` chooses, or all.
fn asked_for(args: &TraceArgs, history: &History) -> Result<Vec<usize>, CliError> {
    match &args.only {
        Some(word) => history.only(word).map_err(CliError::Usage),
        None => Ok((0..history.moments.len()).collect()),
    }
}

/// Leaves the moments that `--peer` chooses.
fn of_peers(args: &TraceArgs, history: &History, moments: &mut Vec<usize>) -> Result<(), CliError> {
    if !args.peer.is_empty() {
        let shown = args.peer.iter().map(|name| number(history, name)).collect::<Result<Vec<_>, _>>()?;
        moments.retain(|&moment| shown.contains(&history.moments[moment].peer));
    }
    Ok(())
}

/// Writes the page of a record.
pub(super) fn write_page(record: impl BufRead, path: &Path) -> Result<(), CliError> {
    let mut collection = Collection::default();
    collection.add("", record).map_err(in_record(path))?;
    let complaints = std::mem::take(&mut collection.complaints);
    let history = collection.history();
    let all: Vec<usize> = (0..history.moments.len()).collect();
    save(path, &|file| page::write(&history, &all, &complaints, file))
}

/// Writes a drawing. Like the records that it is drawn from, only the user who made it can read it.
fn save(path: &Path, draw: Draw<'_>) -> Result<(), CliError> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = BufWriter::new(file.map_err(in_file(path))?);
    draw(&mut file).and_then(|()| file.flush()).map_err(in_file(path))
}

/// What a live peer is called: its file's name, without the ending, and without `peer-` before a number.
pub(super) fn name(path: &Path) -> String {
    let stem = path.file_stem().map_or(String::new(), |stem| stem.to_string_lossy().into_owned());
    stem.strip_prefix("peer-").map(str::to_owned).unwrap_or(stem)
}

/// The number of the peer of this name.
fn number(history: &History, name: &str) -> Result<usize, CliError> {
    history.peers.iter().position(|peer| peer.name == name).ok_or_else(|| {
        let names: Vec<&str> = history.peers.iter().map(|peer| peer.name.as_str()).collect();
        CliError::Usage(format!("no peer is called '{name}'; there are {}", names.join(", ")))
    })
}
