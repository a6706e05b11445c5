//! A stream as a file, since what is stored is read twice.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use super::trouble;
use crate::node::Failure;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 16;

/// What a stream gave, in a file without a name: nothing of it stays behind however this process ends.
pub struct Spooled(File);

impl Spooled {
    /// Reads `from` to its end. Each time that it gave something, `took` gets how many bytes that makes so far, and can
    /// end it by an error.
    ///
    /// # Errors
    /// That of `took`, or what the system refuses.
    pub fn read(mut from: impl Read, took: &mut dyn FnMut(u64) -> Result<(), Failure>) -> Result<Self, Failure> {
        let within = std::env::temp_dir();
        let cannot = |what: &str, error: &io::Error| trouble(&format!("{what} in {}", within.display()), error);
        let mut file = tempfile::tempfile().map_err(|error| cannot("make a temporary file", &error))?;
        let (mut piece, mut bytes) = (vec![0; PIECE], 0);
        loop {
            let count = match from.read(&mut piece) {
                Ok(0) => return Ok(Self(file)),
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
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }
}
