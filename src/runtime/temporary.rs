//! Data folders that go with their peer.
//!
//! A peer that is killed cannot remove its own. So a peer that makes one looks for those whose owners are gone: they
//! say what they are by a file of their own, and nobody holds their lock any more.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
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

/// Makes a data folder that goes with its peer, and removes those whose peers are gone.
///
/// # Errors
/// What the system refuses.
pub fn temporary_folder() -> io::Result<TempDir> {
    make_in(&std::env::temp_dir(), YOUNG)
}

fn make_in(parent: &Path, young: Duration) -> io::Result<TempDir> {
    // Nobody has to know what could not be removed: it may be somebody else's.
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if named && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = remove_stale(&entry.path(), young);
        }
    }
    let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
    File::create(folder.path().join(MARK))?;
    Ok(folder)
}

/// Removes a folder that goes with a peer which is gone.
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
    let lock = File::options().write(true).custom_flags(flags).open(folder.join("lock"))?;
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
        let make = || make_in(parent.path(), Duration::ZERO).unwrap();
        let there = |path: &Path| path.exists();
        let (stale, live, unlocked) = (make().keep(), make(), make());
        DiskStore::open(&stale).unwrap();
        let _owner = DiskStore::open(live.path()).unwrap();
        let named = parent.path().join("kadring-data");
        DiskStore::open(&named).unwrap();
        let other = parent.path().join("other");
        fs::create_dir(&other).unwrap();
        let _new = make();
        assert!(!there(&stale), "its peer is gone");
        assert!(there(live.path()) && there(unlocked.path()), "their peers live, or have just begun");
        assert!(there(&named) && there(&other), "they are the user's");
    }

    #[test]
    fn a_young_folder_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let young = make_in(parent.path(), YOUNG).unwrap().keep();
        DiskStore::open(&young).unwrap();
        make_in(parent.path(), YOUNG).unwrap();
        assert!(young.exists());
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
            let folder = make_in(parent.path(), Duration::ZERO).unwrap().keep();
            prepare(&folder.join("lock"));
            make_in(parent.path(), Duration::ZERO).unwrap();
            assert!(folder.exists(), "it is none of a peer's");
        }
    }
}
