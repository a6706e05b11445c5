//! `kadring renew`, `delete` and `copies`: what becomes of files that were stored from here.

use kadring::config::Config;
use kadring::console::spec::LineTask;
use kadring::console::terms::{Change, parse_copies, parse_lasting};

use super::client::hand_on_or_ask;
use super::{Exit, Failed};
use crate::args::{DeleteArgs, FormatArgs, JoinArgs, RecountArgs, RenewArgs};

/// `kadring renew`.
pub(crate) fn renew(args: RenewArgs) -> anyhow::Result<Exit> {
    let lasts = args.lasts.as_deref().map(parse_lasting).transpose().map_err(Failed::usage);
    let options = args.lasts.iter().flat_map(|lasts| ["--for".to_owned(), lasts.clone()]);
    let line = ["renew".to_owned()].into_iter().chain(options).chain(["--".to_owned()]).chain(args.files.clone());
    tell(&args.join, &args.format, line.collect(), args.files, lasts.map(Change::Renew))
}

/// `kadring delete`.
pub(crate) fn delete(DeleteArgs { files, join, format }: DeleteArgs) -> anyhow::Result<Exit> {
    let line = ["delete".to_owned(), "--".to_owned()].into_iter().chain(files.clone()).collect();
    tell(&join, &format, line, files, Ok(Change::Delete))
}

/// `kadring copies`.
pub(crate) fn copies(RecountArgs { file, copies, join, format }: RecountArgs) -> anyhow::Result<Exit> {
    let change = parse_copies(&copies).map(Change::Copies).map_err(Failed::usage);
    let line = vec!["copies".to_owned(), "--".to_owned(), file.clone(), copies];
    tell(&join, &format, line, vec![file], change)
}

/// Gives a command to the peer that runs with `--data`, or does it as a guest.
fn tell(
    join: &JoinArgs,
    format: &FormatArgs,
    line: Vec<String>,
    words: Vec<String>,
    change: Result<Change, Failed>,
) -> anyhow::Result<Exit> {
    let request = || Ok((LineTask::Lease { words, change: change? }, Config::default()));
    hand_on_or_ask(join, format.format(), || Ok(line), request)
}
