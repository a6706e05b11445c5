//! `kadring keygen`: a fresh network key.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use kadring::runtime::new_key;

use super::standard::say;
use super::{Exit, Failed};
use crate::args::KeygenArgs;

/// Prints a key, or writes it to a file that is not there yet: a key that is in use is never lost.
pub(crate) fn run(args: &KeygenArgs) -> anyhow::Result<Exit> {
    let line = format!("{}\n", new_key()?.digits());
    let Some(path) = &args.out else {
        return say(line.as_bytes());
    };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failed::usage(format!("'{}' is there already; it stays", path.display())),
        _ => Failed::start(format!("cannot write the key to '{}': {error}", path.display())),
    })?;
    Ok(Exit::Done)
}
