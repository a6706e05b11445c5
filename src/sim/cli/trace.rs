//! `kadring trace`: what several peers recorded, side by side.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use super::{CliError, Verdict, in_file, in_record};
use crate::sim::args::TraceArgs;
use crate::sim::moments::chrome;
use crate::sim::moments::columns::{self, Style};
use crate::sim::moments::history::{Collection, History};

pub(super) fn run(args: &TraceArgs, style: Style, out: &mut dyn Write) -> Result<Verdict, CliError> {
    let mut collection = Collection::default();
    for path in &args.files {
        let file = File::open(path).map_err(in_file(path))?;
        collection.add(&name(path), BufReader::new(file)).map_err(in_record(path))?;
    }
    let complaints = std::mem::take(&mut collection.complaints);
    let history = collection.history();
    let mut moments = match &args.only {
        Some(word) => history.only(word).map_err(CliError::Usage)?,
        None => (0..history.moments.len()).collect(),
    };
    if !args.peer.is_empty() {
        let shown = args.peer.iter().map(|name| number(&history, name)).collect::<Result<Vec<_>, _>>()?;
        moments.retain(|&moment| shown.contains(&history.moments[moment].peer));
    }
    match &args.chrome {
        Some(path) => {
            let mut file = BufWriter::new(File::create(path).map_err(in_file(path))?);
            chrome::write(&history, &moments, &mut file).and_then(|()| file.flush()).map_err(in_file(path))?;
            writeln!(out, "{} moments written to {}", moments.len(), path.display())?;
        }
        None => columns::write(&history, &moments, style, out)?,
    }
    for complaint in complaints {
        writeln!(out, "{complaint}")?;
    }
    out.flush()?;
    Ok(Verdict::Passed)
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
