//! Files that are read whole: none is longer than it may be, or is waited for without an end, whatever stands in its
//! place.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What comes through a pipe is waited for so long: a user may have to type what opens the safe that it lies in.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// That it is waited for is told after this long.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// Bytes of a file of options or of one that tells of a process, at most.
pub const MAX_SMALL_FILE: u64 = 1 << 20;

/// Bytes of a file that grows with what is stored, at most.
pub const MAX_GROWING_FILE: u64 = 1 << 30;

/// The bytes of a file that a user names. It may be a pipe: what is waited for is told after a while, and given up
/// after a longer one. No user types at a terminal what is to be a file.
///
/// # Errors
/// It cannot be read, or has more than `most` bytes; [`TimedOut`](io::ErrorKind::TimedOut) where nothing comes.
pub fn read(path: &Path, most: u64, tell: &dyn Fn(&str)) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if file.is_terminal() {
        return Err(io::Error::other("it is a terminal; name a file or a pipe"));
    }
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() {
        return all_of(file, most);
    }
    all_of(AwaitedSource { file, path, waits: [TOLD_AFTER, WRITTEN_WITHIN - TOLD_AFTER], tell, told: false }, most)
}

/// The bytes of a file that this program wrote: no other than a regular one is waited for, or read.
///
/// # Errors
/// It is none, cannot be read, or has more than `most` bytes.
pub fn read_own(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let there = file.metadata()?;
    if !there.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if there.len() > most { Err(too_long(most)) } else { all_of(file, most) }
}

/// Opens a file of this program's that is there to be locked, or makes it. No link is followed, and no reader of a pipe
/// is waited for.
///
/// # Errors
/// Something else has its name, or the system refuses.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags.bits());
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// [`read`] or [`read_own`], as text.
///
/// # Errors
/// It is none ([`io::ErrorKind::InvalidData`]), or what was read is an error.
pub fn text(read: io::Result<Vec<u8>>) -> io::Result<String> {
    String::from_utf8(read?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Opens what stands there now, without a wait: a pipe may have no writer.
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path)
}

fn all_of(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let count = from.take(most + 1).read_to_end(&mut bytes)?;
    if count as u64 > most { Err(too_long(most)) } else { Ok(bytes) }
}

/// A pipe, or another thing that may have something to give at any time.
struct AwaitedSource<'a> {
    file: File,
    path: &'a Path,
    /// How long it is waited for before that is told, and after.
    waits: [Duration; 2],
    tell: &'a dyn Fn(&str),
    told: bool,
}

impl Read for AwaitedSource<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let wait = PollTimeout::try_from(self.waits[usize::from(self.told)]).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)], wait) {
                Ok(0) if self.told => {
                    let waited = self.waits.iter().sum::<Duration>();
                    let reason = format!("for {waited:?} nobody wrote to it, or ended what was written");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
                }
                Ok(0) => {
                    (self.tell)(&format!("waiting for what is to be written to '{}', to its end", self.path.display()));
                    self.told = true;
                }
                Err(Errno::EINTR) => {}
                polled => {
                    polled?;
                    match self.file.read(bytes) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        read => return read,
                    }
                }
            }
        }
    }
}

fn too_long(most: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_writes_to_its_end_is_told_of_and_given_up() {
        for written in ["", "a beginning"] {
            let (from, mut to) = io::pipe().expect("a pipe");
            to.write_all(written.as_bytes()).expect("it has room");
            let (path, file, told) = (Path::new("pipe"), File::from(OwnedFd::from(from)), Cell::new(0));
            let tell = |what: &str| told.set(told.get() + usize::from(what.contains("'pipe'")));
            let awaited = AwaitedSource { file, path, waits: [Duration::ZERO; 2], tell: &tell, told: false };
            assert_eq!(all_of(awaited, 20).expect_err("it has no end").kind(), io::ErrorKind::TimedOut);
            assert_eq!(told.get(), 1, "once");
        }
    }

    #[test]
    fn what_has_no_end_is_given_up_and_no_file_of_ours_is_one() {
        let folder = tempfile::tempdir().expect("writable");
        let path = folder.path().join("file");
        std::fs::write(&path, "four").expect("writable");
        let read = |path: &Path, most| read(path, most, &|told| panic!("{told}"));
        for most in [3, 4] {
            let [named, own] =
                [read(&path, most), read_own(&path, most)].map(|read| read.map_err(|error| error.kind()));
            let expected = if most == 3 { Err(io::ErrorKind::FileTooLarge) } else { Ok(b"four".to_vec()) };
            assert_eq!((&named, &own), (&expected, &expected));
        }
        assert_eq!(read(Path::new("/dev/zero"), 10).expect_err("no end").kind(), io::ErrorKind::FileTooLarge);
        let linked = folder.path().join("linked");
        symlink("/dev/zero", &linked).expect("writable");
        assert_eq!(read_own(&linked, MAX_GROWING_FILE).expect_err("not ours").to_string(), "it is no regular file");
        assert_eq!(text(Ok(vec![0xff])).expect_err("no text").kind(), io::ErrorKind::InvalidData);
    }
}
