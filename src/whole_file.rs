//! Files that are read whole: none is longer than it may be, whatever stands in its place.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// Bytes of a file of options or of one that tells of a process, at most.
pub const MAX_SMALL_FILE: u64 = 1 << 20;

/// Bytes of a file that grows with what is stored, at most.
pub const MAX_GROWING_FILE: u64 = 1 << 30;

/// The bytes of a file that somebody names. It may be a pipe.
///
/// # Errors
/// It cannot be read, or has more than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    all_of(File::open(path)?, most)
}

/// The bytes of a file that this program wrote: no other than a regular one is waited for, or read.
///
/// # Errors
/// It is none, cannot be read, or has more than `most` bytes.
pub fn read_own(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let there = file.metadata()?;
    if !there.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if there.len() > most { Err(too_long(most)) } else { all_of(file, most) }
}

/// [`read`] or [`read_own`], as text.
///
/// # Errors
/// It is none ([`io::ErrorKind::InvalidData`]), or what was read is an error.
pub fn text(read: io::Result<Vec<u8>>) -> io::Result<String> {
    String::from_utf8(read?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn all_of(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let count = file.take(most + 1).read_to_end(&mut bytes)?;
    if count as u64 > most { Err(too_long(most)) } else { Ok(bytes) }
}

fn too_long(most: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_has_no_end_is_given_up_and_no_file_of_ours_is_one() {
        let folder = tempfile::tempdir().expect("writable");
        let path = folder.path().join("file");
        std::fs::write(&path, "four").expect("writable");
        for read in [read, read_own] {
            assert_eq!(read(&path, 4).expect("it is not too long"), b"four");
            assert_eq!(read(&path, 3).expect_err("it is").kind(), io::ErrorKind::FileTooLarge);
        }
        assert_eq!(read(Path::new("/dev/zero"), 10).expect_err("no end").kind(), io::ErrorKind::FileTooLarge);
        let linked = folder.path().join("linked");
        symlink("/dev/zero", &linked).expect("writable");
        assert_eq!(read_own(&linked, MAX_GROWING_FILE).expect_err("not ours").to_string(), "it is no regular file");
        assert_eq!(text(Ok(vec![0xff])).expect_err("no text").kind(), io::ErrorKind::InvalidData);
    }
}
