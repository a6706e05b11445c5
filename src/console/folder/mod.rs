//! Folders: stored as many files and blocks and one [listing](crate::file::folder), and brought back from it.
//!
//! To the node a folder is nothing new: blocks, files, and a listing that its root tells from a file. What makes a
//! folder of them is here: it walks trees, puts small files together, has a window of commands under way at a time
//! (`flight.rs`), and writes nothing but into a folder of its own until everything is there (`staging.rs`).

mod answer;
mod flight;
mod inside;
mod list;
mod listing;
mod packs;
mod retrieve;
mod single;
mod staging;
mod standing;
pub(crate) mod store;
mod unpack;
mod walk;

pub use answer::{ListedFolder, ListedItem, RetrievedFolder, ShownText, StoredFolder};
pub(super) use answer::{left_out, listed, retrieved, stored};
pub(super) use flight::CommandSpan;
pub(super) use store::path_of;

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;

use super::escape::quoted;
use crate::node::{Failure, FailureKind};
use crate::raw_text;
use crate::runtime::WorkFolder;

/// How a folder is stored.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tree {
    /// What is left out: a pattern of a name, or with a slash of a path in the folder.
    pub exclude: Vec<String>,
    /// Whether the rest is stored where something cannot be read.
    pub skip_unreadable: bool,
}

/// A folder that goes when it is not needed any more.
pub(super) fn work_folder() -> Result<WorkFolder, Failure> {
    WorkFolder::make().map_err(|error| no_temporary("make a temporary folder in", &error))
}

/// An error of the system in trying to do `what` to a file of the user.
pub(super) fn trouble(what: &str, path: &Path, error: &io::Error) -> Failure {
    let kind = if error.kind() == io::ErrorKind::NotFound { FailureKind::NotFound } else { FailureKind::Other };
    Failure::new(kind, format!("cannot {what} {}: {error}", name(path)))
}

/// An error of the system in trying to do `what` to the folder of temporary files. That the folder is missing is no
/// word about what the user named, so it has the same code as any other fault of it.
pub(super) fn no_temporary(what: &str, error: &io::Error) -> Failure {
    let folder = name(&std::env::temp_dir());
    Failure::new(FailureKind::Other, format!("cannot {what} {folder}, which TMPDIR may name otherwise: {error}"))
}

/// These bytes in a file without a name, of which nothing stays behind however this process ends.
pub(super) fn temporary(bytes: &[u8]) -> Result<File, Failure> {
    let write = || {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    };
    write().map_err(|error| no_temporary("write a temporary file in", &error))
}

/// A file is not what it was when its folder was looked at.
fn changed(path: &Path) -> Failure {
    Failure::new(
        FailureKind::Integrity,
        format!("{} changed while it was being stored; store the folder again", name(path)),
    )
}

/// A path for people.
fn name(path: &Path) -> String {
    quoted(&raw_text::text_of(path))
}
