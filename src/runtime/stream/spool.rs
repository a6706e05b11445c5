//! A stream as a file, since what is stored is read twice.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::trouble;
use crate::node::Failure;
use crate::runtime::portable;
use crate::runtime::temporary::{WorkFolder, is_temporary};

/// Bytes that are read at a time.
const SPOOL_PIECE: usize = 1 << 16;

/// What the file is called where it has a name.
const SPOOL_NAME: &str = "stream";

/// What a stream gave, in a file of the temporary folder. On Linux that has no name: nothing of it stays behind however
/// this process ends. Elsewhere what a process that was killed left there is removed by a later one.
#[derive(Debug)]
pub struct Spooled(SpoolFile);

#[derive(Debug)]
enum SpoolFile {
    /// It has a path as long as it is open.
    Nameless(File),
    Named(WorkFolder),
}

impl Spooled {
    /// Reads `from` to its end. Each time that it gave something, `took` gets how many bytes that makes so far, and can
    /// end it by an error.
    ///
    /// # Errors
    /// That of `took`, or what the system refuses.
    pub fn read(from: impl Read, took: &mut dyn FnMut(u64) -> Result<(), Failure>) -> Result<Self, Failure> {
        Self::read_as(from, portable::only(), took)
    }

    pub(super) fn read_as(
        mut from: impl Read,
        named: bool,
        took: &mut dyn FnMut(u64) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let within = std::env::temp_dir();
        let cannot = |what: &str, error: &io::Error| trouble(&format!("{what} in {}", within.display()), error);
        let made = if named { make_named() } else { make_nameless() };
        let (mut file, spooled) = made.map_err(|error| cannot("make a temporary file", &error))?;
        let (mut piece, mut bytes) = (vec![0; SPOOL_PIECE], 0);
        loop {
            let count = match from.read(&mut piece) {
                Ok(0) => return Ok(Self(spooled)),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(trouble("read what is to be stored", &error)),
            };
            let written = file.write_all(&piece[..count]);
            written.map_err(|error| cannot("copy what is to be stored to a temporary file", &error))?;
            bytes += count as u64;
            took(bytes)?;
        }
    }

    /// A path of it, valid as long as this value lives, for this user's other processes too.
    pub fn path(&self) -> PathBuf {
        match &self.0 {
            SpoolFile::Nameless(file) => PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())),
            SpoolFile::Named(folder) => folder.path().join(SPOOL_NAME),
        }
    }
}

/// Whether a file is what a stream was copied to, of this process or of another.
pub(in crate::runtime) fn is_spooled(path: &Path) -> bool {
    path.parent().is_some_and(|within| {
        let is_open = within.starts_with("/proc") && within.ends_with("fd");
        is_open || path.ends_with(SPOOL_NAME) && is_temporary(within)
    })
}

fn make_nameless() -> io::Result<(File, SpoolFile)> {
    let file = tempfile::tempfile()?;
    Ok((file.try_clone()?, SpoolFile::Nameless(file)))
}

fn make_named() -> io::Result<(File, SpoolFile)> {
    let folder = WorkFolder::make()?;
    Ok((File::create_new(folder.path().join(SPOOL_NAME))?, SpoolFile::Named(folder)))
}
