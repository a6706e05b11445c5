//! Folders that go with their process: data folders that no user named, and what holds a file for a while.
//!
//! No other user may look into one. A process that is killed cannot remove its own. So a process that makes one looks
//! for those whose owners are gone: they say what they are by a file of their own, and no process holds their lock any
//! more.
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use tempfile::TempDir;

/// How the names of such folders begin.
const PREFIX: &str = "kadring-";

/// The file that says that a folder may be removed once its lock is free.
const MARK: &str = "goes-with-its-peer";

/// A folder younger than this may have an owner that has not locked it yet.
const YOUNG: Duration = Duration::from_secs(60);

/// The file whose lock a folder's owner holds. A data folder's store makes it.
const LOCK: &str = "lock";

/// Makes a data folder that goes with its peer, and removes what belonged to processes that are gone.
///
/// # Errors
/// What the system refuses.
pub fn temporary_folder() -> io::Result<TempDir> {
    let parent = std::env::temp_dir();
    sweep(&parent, YOUNG);
    make_in(&parent)
}

/// A folder for files that are needed for a while. It goes when this is dropped, or later if the process is killed.
#[derive(Debug)]
pub(crate) struct WorkFolder {
    folder: TempDir,
    _lock: File,
}

impl WorkFolder {
    /// Makes one.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn make() -> io::Result<Self> {
        // A library's user may retrieve thousands of files.
        static SWEPT: Once = Once::new();
        let parent = std::env::temp_dir();
        SWEPT.call_once(|| sweep(&parent, YOUNG));
        Self::make_in(&parent)
    }

    fn make_in(parent: &Path) -> io::Result<Self> {
        let folder = make_in(parent)?;
        let lock = File::create_new(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn make_in(parent: &Path) -> io::Result<TempDir> {
    let own = Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix(PREFIX).permissions(own).tempdir_in(parent)?;
    File::create(folder.path().join(MARK))?;
    Ok(folder)
}

/// Whether a folder is named as those that go with their process.
pub(super) fn is_temporary(folder: &Path) -> bool {
    folder.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(PREFIX))
}

fn sweep(parent: &Path, young: Duration) {
    // What could not be removed is not told: it may be another user's.
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if is_temporary(&entry.path()) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = remove_stale(&entry.path(), young);
        }
    }
}

/// Removes a folder whose process is gone.
fn remove_stale(folder: &Path, young: Duration) -> io::Result<()> {
    let mark = fs::symlink_metadata(folder.join(MARK))?;
    let is_old = mark.modified()?.elapsed().is_ok_and(|age| age >= young);
    // Another user's folder may hold anything.
    let is_ours = fs::symlink_metadata(folder)?.uid() == geteuid().as_raw();
    if !is_ours || !is_old || !mark.is_file() {
        return Ok(());
    }
    // No link is followed, and a pipe is not waited for.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let lock = File::options().write(true).custom_flags(flags).open(folder.join(LOCK))?;
    if lock.metadata()?.is_file() && lock.try_lock().is_ok() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;
    use crate::store::DiskStore;

    #[test]
    fn only_a_marked_folder_whose_lock_is_free_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let make = || make_in(parent.path()).unwrap();
        let there = |path: &Path| path.exists();
        let (stale, live, unlocked) = (make().keep(), make(), make());
        DiskStore::open(&stale).unwrap();
        let _owner = DiskStore::open(live.path()).unwrap();
        let named = parent.path().join("kadring-data");
        DiskStore::open(&named).unwrap();
        let other = parent.path().join("other");
        fs::create_dir(&other).unwrap();
        let work = WorkFolder::make_in(parent.path()).unwrap();
        let killed = WorkFolder::make_in(parent.path()).unwrap();
        let of_killed = killed.folder.keep();
        drop(killed._lock);
        sweep(parent.path(), Duration::ZERO);
        assert!(!there(&stale) && !there(&of_killed), "their processes are gone");
        assert!(there(live.path()) && there(unlocked.path()), "their peers live, or have just begun");
        assert!(there(work.path()), "it is at work");
        assert!(there(&named) && there(&other), "they are the user's");
    }

    #[test]
    fn a_young_folder_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let young = make_in(parent.path()).unwrap().keep();
        DiskStore::open(&young).unwrap();
        sweep(parent.path(), YOUNG);
        assert!(young.exists());
    }

    #[test]
    fn nobody_else_may_look_into_one() {
        let parent = tempfile::tempdir().unwrap();
        let work = WorkFolder::make_in(parent.path()).unwrap();
        let data = make_in(parent.path()).unwrap();
        for folder in [work.path(), data.path()] {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_pipe_or_a_link_in_place_of_the_lock_is_neither_waited_for_nor_followed() {
        let parent = tempfile::tempdir().unwrap();
        let free = parent.path().join("free");
        fs::write(&free, "").unwrap();
        type Prepare<'a> = &'a dyn Fn(&Path);
        let prepare: [Prepare<'_>; 2] =
            [&|lock| mkfifo(lock, Mode::S_IRWXU).unwrap(), &|lock| std::os::unix::fs::symlink(&free, lock).unwrap()];
        for prepare in prepare {
            let folder = make_in(parent.path()).unwrap().keep();
            prepare(&folder.join(LOCK));
            sweep(parent.path(), Duration::ZERO);
            assert!(folder.exists(), "it is none of a peer's");
        }
    }
}
