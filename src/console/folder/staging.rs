//! Where a folder is put together before it gets its name: a folder beside its place, which only its user may enter.
//!
//! Nothing is written outside of it. Its name is made of the place and of what is brought, so a retrieve that was
//! interrupted goes on in it. When all is there, one rename gives the folder its name. What stands there by then is
//! never lost: it stays, or is moved aside under a name of its own.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{name, trouble};
use crate::id::{Id, Key};
use crate::node::{Failure, FailureKind};
use crate::runtime::{LETS_GO, is_ours_alone, lock_within, temporary_names};
use crate::store::{self, Free};

/// The place where a folder shall stand.
pub(super) struct FolderPlace {
    /// The place's path; where that was a link, what the link leads to.
    pub(super) path: PathBuf,
}

impl FolderPlace {
    /// Looks at `dest`.
    ///
    /// # Errors
    /// No folder can stand there.
    pub(super) fn of(dest: &Path) -> Result<Self, Failure> {
        let refused = |reason: &str| Failure::new(FailureKind::Usage, format!("{} {reason}", name(dest)));
        let path = match fs::canonicalize(dest) {
            Ok(path) => path,
            Err(_) if fs::symlink_metadata(dest).is_ok() => {
                return Err(refused("is a link that leads nowhere; name another"));
            }
            Err(_) => {
                let last = dest.file_name().ok_or_else(|| refused("is no name for a folder"))?;
                let parent = dest.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let parent = fs::canonicalize(parent).map_err(|_| {
                    Failure::new(FailureKind::Other, format!("cannot write {}: its folder is not there", name(dest)))
                })?;
                parent.join(last)
            }
        };
        if path.parent().is_none() {
            return Err(refused("is no name for a folder"));
        }
        Ok(Self { path })
    }

    /// Whether something to lose stands there. An empty folder is none.
    pub(super) fn is_taken(&self) -> bool {
        match fs::read_dir(&self.path) {
            Ok(mut entries) => entries.next().is_some(),
            Err(_) => fs::symlink_metadata(&self.path).is_ok(),
        }
    }

    /// The failure where something stands there that may not be moved aside.
    pub(super) fn exists(&self) -> Failure {
        let reason = format!(
            "{} is there and is something else; only with --force it is moved aside, and the folder takes its place",
            name(&self.path)
        );
        Failure::new(FailureKind::Exists, reason)
    }

    /// Moves aside what stands there; under which name.
    fn clear(&self) -> Result<PathBuf, Failure> {
        let last = self.path.file_name().unwrap_or_default();
        for number in 1_u32.. {
            let mut named = OsString::from(last);
            named.push(format!(".before-{number}"));
            let aside = self.path.with_file_name(named);
            if fs::symlink_metadata(&aside).is_err() {
                let moved = fs::rename(&self.path, &aside);
                return moved.map(|()| aside).map_err(|error| trouble("move aside", &self.path, &error));
            }
        }
        Err(self.exists())
    }
}

/// The folder that another is put together in.
pub(super) struct Staging {
    path: PathBuf,
    /// Whether what is in it stays for another run.
    keeps: bool,
    /// Its lock: one retrieve at a time is in it.
    lock: File,
}

impl Staging {
    /// Makes it, or takes up what an earlier run left. A retrieve that is cancelled or was killed just now leaves it
    /// soon.
    ///
    /// # Errors
    /// Another retrieve is in it, or the system refuses it.
    pub(super) fn open(place: &FolderPlace, key: &Key, inside: &Path) -> Result<Self, Failure> {
        loop {
            // The retrieve that was in it may have given it its name, or removed it, before it could be locked.
            let staging = Self::enter(place, key, inside)?;
            if staging.is_there() {
                return Ok(staging);
            }
        }
    }

    fn enter(place: &FolderPlace, key: &Key, inside: &Path) -> Result<Self, Failure> {
        let cannot = |error: io::Error| trouble("write beside", &place.path, &error);
        for path in temporary_names(&place.path, &brought(key, inside)) {
            let keeps = match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => false,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir() && is_ours_alone(&there)) {
                        continue;
                    }
                    true
                }
                Err(error) => return Err(cannot(error)),
            };
            let lock = File::open(&path).map_err(cannot)?;
            if !lock_within(&lock, LETS_GO).map_err(cannot)? {
                let reason = format!("{} is being retrieved already; wait for it, or name another", name(&place.path));
                return Err(Failure::new(FailureKind::Other, reason));
            }
            return Ok(Self { path, keeps, lock });
        }
        let reason = format!("{} cannot be written: others took its temporary names", name(&place.path));
        Err(Failure::new(FailureKind::Other, reason))
    }

    /// Where the folder grows.
    pub(super) fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    /// A path for a file of another kind.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether the disk has room for a folder of so many bytes, files and folders: a list of a few blocks can promise
    /// terabytes. What lies here of an earlier run has its room already.
    ///
    /// # Errors
    /// It has not, by what the system tells.
    pub(super) fn check_room(&self, place: &FolderPlace, bytes: u64, files: u64) -> Result<(), Failure> {
        let Ok(free) = store::free(&self.path) else { return Ok(()) };
        let is_short =
            |here: Free| bytes.saturating_sub(here.bytes) > free.bytes || files.saturating_sub(here.files) > free.files;
        if !is_short(Free { bytes: 0, files: 0 }) || !is_short(self.taken()) {
            return Ok(());
        }
        let reason = format!(
            "{} has {bytes} bytes in {files} files and folders, and the disk has room for {} bytes in {}",
            name(&place.path),
            free.bytes,
            free.files
        );
        Err(Failure::new(FailureKind::Other, reason))
    }

    /// What lies in it.
    fn taken(&self) -> Free {
        let mut taken = Free { bytes: 0, files: 0 };
        for there in WalkDir::new(&self.path).into_iter().flatten().filter_map(|entry| entry.metadata().ok()) {
            taken.bytes += there.blocks() * 512;
            taken.files += 1;
        }
        taken
    }

    /// The same failure, which calls what is in it as the user does who asked for `place`.
    pub(super) fn named(&self, place: &FolderPlace, Failure { kind, reason }: Failure) -> Failure {
        let own = [self.file("listing"), self.tree(), self.path.clone()];
        let shown = place.path.display().to_string();
        let reason = own.iter().fold(reason, |reason, own| reason.replace(&own.display().to_string(), &shown));
        Failure::new(kind, reason)
    }

    /// From now on what is in it is worth something.
    pub(super) fn keep(&mut self) {
        self.keeps = true;
    }

    /// Whether no other program removed or exchanged it.
    pub(super) fn is_there(&self) -> bool {
        let is_same = |now: Metadata, own: Metadata| (now.dev(), now.ino()) == (own.dev(), own.ino());
        let now = fs::symlink_metadata(&self.path).and_then(|now| Ok(is_same(now, self.lock.metadata()?)));
        now.unwrap_or(false)
    }

    /// Nothing in it is needed any more.
    pub(super) fn discard(mut self) {
        self.keeps = false;
    }

    /// Gives the folder its name, and where that lies now which stood there.
    ///
    /// # Errors
    /// Something stands there by now, or the system refuses it.
    pub(super) fn finish(self, place: &FolderPlace, replace: bool) -> Result<Option<PathBuf>, Failure> {
        let aside = match place.is_taken() {
            true if replace => Some(place.clear()?),
            true => return Err(place.exists()),
            false => None,
        };
        // Onto anything but an empty folder, the system renames no folder.
        match fs::rename(self.tree(), &place.path) {
            Ok(()) => {
                self.discard();
                Ok(aside)
            }
            Err(error) => {
                // What stood there goes back, unless something took its place.
                if let Some(aside) = aside.filter(|_| !place.is_taken()) {
                    let _ = fs::rename(aside, &place.path);
                }
                Err(trouble("give its name to", &place.path, &error))
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.keeps {
            // What cannot be removed does no harm: another run takes it up.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// What tells what is brought from anything else that could be brought to the same place.
fn brought(key: &Key, inside: &Path) -> Id {
    match inside.as_os_str().as_encoded_bytes() {
        [] => *key,
        inside => Id::of(&[key.as_bytes(), inside].concat()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const KEY: Key = Id::ZERO;

    fn stage(dest: &Path) -> (FolderPlace, Staging) {
        let place = FolderPlace::of(dest).unwrap();
        let staging = Staging::open(&place, &KEY, Path::new("")).unwrap();
        fs::create_dir(staging.tree()).unwrap();
        fs::write(staging.tree().join("new"), "new").unwrap();
        (place, staging)
    }

    #[test]
    fn what_stands_at_the_place_stays_there_or_is_moved_aside_and_never_lost() {
        let folder = tempfile::tempdir().unwrap();
        let dest = folder.path().join("dest");
        fs::create_dir(&dest).unwrap();
        let (place, staging) = stage(&dest);
        assert_eq!(staging.finish(&place, false), Ok(None), "an empty folder gives way");
        for (number, dear) in [(1, true), (2, false)] {
            let (place, mut staging) = stage(&dest);
            staging.keep();
            assert_eq!(staging.finish(&place, false).unwrap_err().kind, FailureKind::Exists);
            let staging = Staging::open(&place, &KEY, Path::new("")).unwrap();
            let aside = staging.finish(&place, true).unwrap().unwrap();
            assert_eq!(aside, fs::canonicalize(folder.path()).unwrap().join(format!("dest.before-{number}")));
            assert!(!dear || aside.join("new").exists());
            fs::remove_dir_all(&dest).unwrap();
            fs::write(&dest, "a file").unwrap();
        }
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 3, "no temporary folder stays behind");
    }

    #[test]
    fn what_others_put_under_the_temporary_name_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (dest, elsewhere) = (folder.path().join("dest"), folder.path().join("elsewhere"));
        fs::create_dir(&elsewhere).unwrap();
        let place = FolderPlace::of(&dest).unwrap();
        let mut names = temporary_names(&place.path, &KEY);
        symlink(&elsewhere, names.next().unwrap()).unwrap();
        let open = names.next().unwrap();
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let (place, staging) = stage(&dest);
        assert_eq!(staging.finish(&place, false), Ok(None));
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        assert!(dest.join("new").exists());
    }

    #[test]
    fn two_do_not_retrieve_to_one_place_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (place, staging) = stage(&folder.path().join("dest"));
        let second = Staging::open(&place, &KEY, Path::new("")).err().unwrap();
        assert!(second.reason.contains("being retrieved already"), "{}", second.reason);
        drop(staging);
        assert!(Staging::open(&place, &KEY, Path::new("a")).is_ok());
    }

    #[test]
    fn a_retrieve_that_waits_for_another_to_leave_is_in_a_folder_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (place, mut first) = stage(&folder.path().join("dest"));
        for keeps in [true, false] {
            first.keeps = keeps;
            let open = || Staging::open(&place, &KEY, Path::new(""));
            let second = std::thread::scope(|scope| {
                let second = scope.spawn(open);
                // By then it waits, as a rule. What it gets is the same in any case.
                std::thread::park_timeout(std::time::Duration::from_millis(50));
                drop(first);
                second.join().unwrap().unwrap()
            });
            assert!(second.is_there());
            assert_eq!(second.tree().exists(), keeps);
            first = second;
        }
    }
}
