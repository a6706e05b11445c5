//! `kadring renew` and `delete`: what becomes of files that were stored from here.

use kadring::config::Config;
use kadring::console::leases::{Change, parse_lasting};
use kadring::console::spec::Request;

use super::client::hand_on_or_ask;
use super::{Exit, Failed};
use crate::args::{DeleteArgs, FormatArgs, JoinArgs, RenewArgs};

/// `kadring renew`.
pub(crate) fn renew(args: RenewArgs) -> anyhow::Result<Exit> {
    let lasts = args.lasts.as_deref().map(parse_lasting).transpose().map_err(Failed::usage);
    let options = args.lasts.iter().flat_map(|lasts| ["--for".to_owned(), lasts.clone()]).collect();
    tell(&args.join, &args.format, ("renew", options, args.files), lasts.map(Change::Renew))
}

/// `kadring delete`.
pub(crate) fn delete(DeleteArgs { files, join, format }: DeleteArgs) -> anyhow::Result<Exit> {
    tell(&join, &format, ("delete", Vec::new(), files), Ok(Change::Delete))
}

/// Gives a command to the peer that runs with `--data`, or does it as a guest.
fn tell(
    join: &JoinArgs,
    format: &FormatArgs,
    (command, options, words): (&str, Vec<String>, Vec<String>),
    change: Result<Change, Failed>,
) -> anyhow::Result<Exit> {
    let line = [command.to_owned()].into_iter().chain(options).chain(["--".to_owned()]).chain(words.clone()).collect();
    let request = || Ok((Request::Lease { words, change: change? }, Config::default()));
    hand_on_or_ask(join, format.format(), || Ok(line), request)
}
