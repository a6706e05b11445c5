//! Room on a disk. A part of every disk is kept free for its other users: strangers decide how much is stored here.

use std::io;
use std::path::Path;

use rustix::fs::statvfs;

/// Of each disk this part is kept free, or [`MOST_RESERVED`], whichever is less.
const RESERVED: u64 = 20;

/// Bytes that are kept free of a large disk, 1 GiB.
const MOST_RESERVED: u64 = 1 << 30;

/// Files that may still be made on a disk of which some part is kept free, where it has a limit: one in so many.
const RESERVED_FILES: u64 = 100;

/// Bytes that may still be written to the disk of this folder. None if no more files may be made.
///
/// # Errors
/// The system does not tell.
pub fn room(folder: &Path) -> io::Result<Option<u64>> {
    let disk = statvfs(folder)?;
    let unit = disk.f_frsize;
    let (total, free) = (disk.f_blocks.saturating_mul(unit), disk.f_bavail.saturating_mul(unit));
    Ok(unreserved((total, free), (disk.f_files, disk.f_favail)))
}

/// Bytes that may be written, where so many of all bytes and of all files are free. A disk without a limit of files
/// tells 0 of them. None if no more files may be made.
fn unreserved((total, free): (u64, u64), (files, free_files): (u64, u64)) -> Option<u64> {
    let has_files = files == 0 || free_files > files / RESERVED_FILES;
    has_files.then(|| free.saturating_sub(MOST_RESERVED.min(total / RESERVED)))
}

/// What is free on a disk for its user, who may take all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Free {
    /// Bytes that can still be written.
    pub bytes: u64,
    /// Files and folders that can still be made; as many as there are numbers where the disk has no limit.
    pub files: u64,
}

/// What is free on the disk of this folder.
///
/// # Errors
/// The system does not tell.
pub fn free(folder: &Path) -> io::Result<Free> {
    let disk = statvfs(folder)?;
    let files = if disk.f_files == 0 { u64::MAX } else { disk.f_favail };
    Ok(Free { bytes: disk.f_bavail.saturating_mul(disk.f_frsize), files })
}

/// Whether `size` bytes more may be written to the disk of this folder.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`] if what is to stay free would be touched; or the system does not tell.
pub fn check_room(folder: &Path, size: u64) -> io::Result<()> {
    match room(folder)? {
        Some(room) if size <= room => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full, but for what is kept free of it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_of_the_bytes_and_a_hundredth_of_the_files_stay_free() {
        assert_eq!(unreserved((2_000, 500), (0, 0)), Some(400), "it has no limit of files");
        assert_eq!(unreserved((2_000, 100), (0, 0)), Some(0));
        assert_eq!(unreserved((u64::MAX, 5 << 30), (0, 0)), Some(4 << 30), "at most 1 GiB stays free");
        assert_eq!([11, 10].map(|free| unreserved((2_000, 500), (1_000, free))), [Some(400), None]);
    }

    #[test]
    fn what_has_room_leaves_a_reserve() {
        let folder = tempfile::tempdir().unwrap();
        let disk = statvfs(folder.path()).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        let room = room(folder.path()).unwrap().expect("files can be made");
        assert!(room < free, "{room} of {free}");
        check_room(folder.path(), 1).unwrap();
        assert_eq!(check_room(folder.path(), free).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(check_room(&folder.path().join("none"), 1).is_err());
    }
}
