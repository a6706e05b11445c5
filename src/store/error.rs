//! What can go wrong with a data folder.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use crate::id::Key;

/// Why the store could not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another peer uses the data folder.
    #[error("the data folder '{0}' is in use by another peer; stop it or name another folder with --data")]
    InUse(PathBuf),
    /// The data folder is no folder, or may not be written.
    #[error("the data folder '{path}' cannot be used ({error}); name a folder that you may write to with --data")]
    Unusable {
        /// The data folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The data folder is a link to what is not there.
    #[error("the data folder '{0}' is a link that leads nowhere: is its disk mounted? Else name a folder with --data")]
    Dangling(PathBuf),
    /// Something else stands where the data folder has a folder or a file of its own.
    #[error("the data folder cannot be used: '{0}' is in the way, where {1} of its own has to be; move it elsewhere")]
    InTheWay(PathBuf, &'static str),
    /// A file or folder in the data folder cannot be read or written.
    #[error("cannot {action} '{path}': {error}{}", remedy(error))]
    Io {
        /// The operation that failed, such as "write".
        action: &'static str,
        /// The file or folder that it failed on.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The data folder, or the disk that it lies on, was there and is not any longer.
    #[error("the data folder '{0}' is gone; put it back, or end this peer and name another folder with --data")]
    Gone(PathBuf),
    /// The file with this peer's id holds something else.
    #[error("'{0}' does not hold an id (64 hexadecimal digits); restore it, or remove it for a new id")]
    BadId(PathBuf),
    /// The store does not hold this block.
    #[error("block {0} is not here")]
    NotFound(Key),
    /// A block file whose bytes do not hash to its name; it was moved aside.
    #[error("block {0} was damaged on disk; what is left of it was moved to the folder 'damaged'")]
    Damaged(Key),
    /// The bytes given do not hash to the block's key, or are not as many as announced.
    #[error("what came as block {0} is not what its name says")]
    Corrupt(Key),
}

/// The sorts of [`StoreError`] that callers tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreErrorKind {
    /// Another peer uses the folder.
    InUse,
    /// The folder cannot be used.
    Unusable,
    /// The store does not hold this block.
    NotFound,
    /// The block was damaged on disk.
    Damaged,
    /// The bytes given do not match the block's key or size.
    Corrupt,
    /// The disk is full.
    Full,
    /// The system has no descriptor or no memory left just now: it says nothing about the disk.
    Busy,
    /// The system refused an operation for another reason.
    Io,
}

impl StoreError {
    /// What sort of error this is.
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            Self::InUse(_) => StoreErrorKind::InUse,
            Self::Unusable { .. } | Self::Dangling(_) | Self::InTheWay(..) => StoreErrorKind::Unusable,
            Self::NotFound(_) => StoreErrorKind::NotFound,
            Self::Damaged(_) => StoreErrorKind::Damaged,
            Self::Corrupt(_) => StoreErrorKind::Corrupt,
            Self::Io { error, .. } => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
                _ if is_shortage(error) => StoreErrorKind::Busy,
                _ => StoreErrorKind::Io,
            },
            Self::BadId(_) | Self::Gone(_) => StoreErrorKind::Io,
        }
    }

    /// Makes an error for `map_err`: `action` failed on `path`.
    pub(super) fn on(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { action, path, error }
    }
}

/// What its user can do about what the system refused, where that goes beyond its own words.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => {
            "; your share of that disk is used up: delete something of yours there, have the share raised, or name a \
             folder on another disk"
        }
        _ => "",
    }
}

/// Whether the system refused this for lack of descriptors or memory.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use nix::fcntl::OFlag;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;
    use crate::store::DiskStore;

    #[test]
    fn what_stands_in_the_way_of_a_data_folder_s_own_is_named() {
        type Plant<'a> = &'a dyn Fn(&Path);
        let plants: [(&str, Plant<'_>); 2] = [
            ("a file", &|path| fs::write(path, "").expect("writable")),
            ("a link to nothing", &|path| std::os::unix::fs::symlink("nowhere", path).expect("writable")),
        ];
        for part in ["blocks", "tmp", "damaged"] {
            for (what, plant) in plants {
                let folder = tempfile::tempdir().expect("writable");
                let path = folder.path().join(part);
                plant(&path);
                let error = DiskStore::open(folder.path()).expect_err(what);
                assert!(error.to_string().contains(&*path.to_string_lossy()), "{what}: {error}");
                assert_eq!(error.kind(), StoreErrorKind::Unusable);
            }
        }
        let pipe: Plant<'_> = &|path| mkfifo(path, Mode::S_IRWXU).expect("writable");
        for plant in [pipe, &|path| fs::create_dir(path).expect("writable")] {
            let folder = tempfile::tempdir().expect("writable");
            let path = folder.path().join("lock");
            plant(&path);
            let error = DiskStore::open(folder.path()).expect_err("no file");
            assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
            // Nor where somebody reads from the pipe.
            let _reader = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path);
            assert!(DiskStore::open(folder.path()).is_err());
        }
    }

    #[test]
    fn a_data_folder_that_is_a_link_to_nothing_is_told_of_as_such() {
        let folder = tempfile::tempdir().expect("writable");
        let path = folder.path().join("data");
        std::os::unix::fs::symlink("nowhere", &path).expect("writable");
        let error = DiskStore::open(&path).expect_err("there is no folder");
        assert!(error.to_string().contains("a link that leads nowhere"), "{error}");
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
    }
}
