//! What stands where a file shall be put, and putting it there without harm to anything else.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, geteuid};
use tempfile::TempPath;

use super::manifests::MAX_MANIFEST_TEXT;
use super::{cannot_write, failed, folder_of};
use crate::file::local;
use crate::id::Id;
use crate::node::job::{JobError, JobErrorKind};
use crate::store::hash_all;

/// Names that are tried for what is temporary: others may have taken the first ones.
const NAMES: usize = 8;

/// Bytes of the longest name that a temporary one repeats; file systems take names of 255.
const LONGEST_NAME: usize = 200;

/// A place for a file.
pub(super) struct Destination {
    /// Its name; where that was a link, what the link leads to.
    pub(super) path: PathBuf,
    /// The regular file that stands there.
    pub(super) there: Option<Metadata>,
}

impl Destination {
    /// Looks at what stands at `path`. Only a regular file that may be written, or nothing, leaves room for another: a
    /// rename onto a device or a pipe would put a file in its place for all programs.
    ///
    /// # Errors
    /// [`JobErrorKind::Unfit`]: something else stands there.
    pub(super) fn of(path: &Path) -> Result<Self, JobError> {
        let refused = |reason: &str| Err(unfit(path, reason));
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => refused("is a folder; name a file in it"),
            Ok(there) if !there.is_file() => refused("is not a regular file; name another, or - for standard output"),
            // What a link leads to is replaced, not the link.
            Ok(there) => {
                Ok(Self { path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()), there: Some(there) })
            }
            Err(_) if path.file_name().is_none() => refused("is a folder; name a file in it"),
            // A rename gives no file such a name.
            Err(_) if [&b"/"[..], b"/."].iter().any(|end| path.as_os_str().as_bytes().ends_with(end)) => {
                refused("names a folder, and none is there; name a file, without a / behind its name")
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                refused("is a longer name than the file system takes; name a shorter one")
            }
            Err(_) if fs::symlink_metadata(path).is_ok() => refused("is a link that leads to no file; name another"),
            // Any other trouble is met when the file is written, and told then.
            Err(_) => Ok(Self { path: path.to_owned(), there: None }),
        }
    }

    /// Whether the same stands there now, or nothing as before.
    pub(super) fn is_as_seen(&self) -> bool {
        match (fs::symlink_metadata(&self.path), &self.there) {
            (Ok(now), Some(seen)) => is_same(&now, seen) && is_unchanged(&now, seen),
            (now, seen) => now.is_err() && seen.is_none(),
        }
    }

    /// Whether something to lose stands there. An empty file is none: a script may have made it for its name.
    pub(super) fn is_taken(&self) -> bool {
        self.there.as_ref().is_some_and(|there| there.len() > 0)
    }

    /// An error unless a file may come here that was not compared with what stands here, or is another.
    pub(super) fn check_free(&self, replace: bool) -> Result<(), JobError> {
        if self.is_taken() && !replace {
            return Err(exists(&self.path, "is there and is another file; it is replaced only with --force"));
        }
        self.check_writable()
    }

    /// An error if what stands there may not be written: a rename would replace it all the same.
    pub(super) fn check_writable(&self) -> Result<(), JobError> {
        match &self.there {
            Some(there) if there.permissions().readonly() => {
                Err(unfit(&self.path, "is there and read-only; name another, or chmod it"))
            }
            Some(_) if is_mount_point(&self.path) => {
                let reason = "has a file system of its own mounted there, so no other file can take its name; name a file in \
                              another folder, then copy it over this one";
                Err(unfit(&self.path, reason))
            }
            _ => self.check_folder(),
        }
    }

    /// An error if the folder, which is there, takes no new file: a file is whole before it gets its name.
    pub(super) fn check_folder(&self) -> Result<(), JobError> {
        let folder = folder_of(&self.path);
        match access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) if folder.is_dir() => {
                let reason = "is in a folder that takes no new file from you; name a file in another folder (and copy it \
                              over this one, if it may be written)";
                Err(unfit(&self.path, reason))
            }
            _ => Ok(()),
        }
    }

    /// An error unless a local manifest of the file `of` may stand there: nothing does yet, or an older manifest does.
    pub(super) fn check_for_manifest(&self, of: &Metadata) -> Result<(), JobError> {
        let Some(there) = &self.there else { return Ok(()) };
        if is_same(there, of) {
            return Err(unfit(&self.path, "is the file to be stored; name another for its manifest"));
        }
        if self.is_taken() && !is_manifest(&self.path).map_err(|error| cannot_write(&self.path, &error))? {
            let reason = "is there and is no manifest, so it is not replaced; a manifest takes a new name, or an older \
                          manifest's";
            return Err(exists(&self.path, reason));
        }
        self.check_writable()
    }

    /// Gives the file at `temporary` the name of this place: whatever stands there by now if `replace`, else only if it
    /// is still as it was when it was looked at.
    ///
    /// # Errors
    /// [`JobErrorKind::Exists`] if something stands there that did not, or what the system refuses.
    pub(super) fn take(&self, temporary: TempPath, replace: bool) -> Result<(), JobError> {
        let cannot = |error: tempfile::PathPersistError| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.path, "came to be there meanwhile; it was not replaced"),
            _ => cannot_write(&self.path, &error.error),
        };
        match &self.there {
            None if !replace => temporary.persist_noclobber(&self.path).map_err(cannot),
            Some(_) if !replace && fs::symlink_metadata(&self.path).is_ok() && !self.is_as_seen() => {
                Err(exists(&self.path, "was changed meanwhile; it was not replaced"))
            }
            _ => temporary.persist(&self.path).map_err(cannot),
        }
    }
}

/// Puts a small file in its place, unless another stands there: see [`Destination`]. Whether it stood there before.
///
/// # Errors
/// Another stands there that may not be replaced, or what the system refuses.
pub(crate) fn put_whole(dest: &Path, bytes: &[u8], sha256: &Id, replace: bool) -> Result<bool, JobError> {
    let place = Destination::of(dest)?;
    let same = |there: &Metadata| {
        there.len() == bytes.len() as u64
            && File::open(&place.path).and_then(|file| hash_all(&file)).is_ok_and(|hash| hash == *sha256)
    };
    if place.there.as_ref().is_some_and(same) {
        return Ok(true);
    }
    place.check_free(replace)?;
    let mode = place.there.as_ref().map_or(0o666, |there| there.permissions().mode());
    let made = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(folder_of(&place.path));
    let written = made.and_then(|mut file| file.write_all(bytes).map(|()| file.into_temp_path()));
    place.take(written.map_err(|error| cannot_write(&place.path, &error))?, replace)?;
    Ok(false)
}

/// The temporary names of what shall stand at `dest`: hidden, beside it, and the same for the same `what`.
pub(crate) fn temporary_names(dest: &Path, what: &Id) -> impl Iterator<Item = PathBuf> + use<> {
    let dest = dest.to_owned();
    let name = dest.file_name().unwrap_or_default();
    let mut hidden = OsString::from(".");
    if name.len() <= LONGEST_NAME {
        hidden.push(name);
    } else {
        hidden.push(Id::of(name.as_encoded_bytes()).short());
    }
    hidden.push(format!(".{}", &what.to_string()[..16]));
    (0..NAMES).map(move |number| {
        let mut hidden = hidden.clone();
        hidden.push(if number == 0 { ".part".to_owned() } else { format!(".{number}.part") });
        dest.with_file_name(hidden)
    })
}

/// Whether it belongs to this user, and no other user may write to it.
pub(crate) fn is_ours_alone(there: &Metadata) -> bool {
    there.uid() == geteuid().as_raw() && there.mode() & 0o022 == 0
}

/// Whether something is mounted at `path`. A file can be, as containers do with single ones: then a rename onto it
/// fails.
fn is_mount_point(path: &Path) -> bool {
    // Where the system does not tell, the rename does.
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    table.split(|&byte| byte == b'\n').any(|line| mounted_at(line).is_some_and(|at| at == path.as_os_str().as_bytes()))
}

/// The place of a mount: the fifth field, in which blanks are written in octal digits.
fn mounted_at(line: &[u8]) -> Option<Vec<u8>> {
    let field = line.split(|&byte| byte == b' ').nth(4)?;
    let (mut place, mut at) = (Vec::new(), 0);
    while at < field.len() {
        let digits =
            field.get(at + 1..at + 4).filter(|_| field[at] == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                place.push(byte);
                at += 4;
            }
            None => {
                place.push(field[at]);
                at += 1;
            }
        }
    }
    Some(place)
}

/// Whether two looks saw one and the same file.
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn is_unchanged(now: &Metadata, before: &Metadata) -> bool {
    let stamp = |of: &Metadata| (of.len(), of.mtime(), of.mtime_nsec());
    stamp(now) == stamp(before)
}

/// Whether a file is a local manifest.
fn is_manifest(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(local::BEGINNING as u64).read_to_end(&mut bytes)?;
    if !local::may_begin(&bytes) {
        return Ok(false);
    }
    file.take(MAX_MANIFEST_TEXT).read_to_end(&mut bytes)?;
    Ok(local::read(&bytes).is_ok())
}

/// No file can be put at `path`.
fn unfit(path: &Path, reason: &str) -> JobError {
    failed(JobErrorKind::Unfit, format!("'{}' {reason}", path.display()))
}

/// What stands at `path` is not replaced.
pub(super) fn exists(path: &Path, reason: &str) -> JobError {
    failed(JobErrorKind::Exists, format!("'{}' {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_mount_is_read_as_the_system_writes_it() {
        let line = b"36 35 98:0 /mnt1 /mnt/a\\040b\\134c rw,noatime - ext3 /dev/root rw";
        assert_eq!(mounted_at(line).as_deref(), Some(&b"/mnt/a b\\c"[..]));
        assert_eq!(mounted_at(b""), None);
        assert!(is_mount_point(Path::new("/proc")) && !is_mount_point(Path::new("/proc/self")));
    }

    #[test]
    fn a_name_that_no_file_can_have_is_refused_before_a_byte_is_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let long = Destination::of(&folder.path().join("x".repeat(256))).err().expect("no file has such a name");
        assert!(long.kind == JobErrorKind::Unfit && long.reason.contains("name a shorter one"), "{}", long.reason);
        fs::write(folder.path().join("file"), "1").unwrap();
        for name in ["new/", "new/.", "new//", "file/"] {
            let of_folder = Destination::of(&folder.path().join(name)).err().expect("no file has such a name");
            let JobError { kind, reason } = of_folder;
            assert!(kind == JobErrorKind::Unfit && reason.contains("without a / behind"), "{name}: {reason}");
        }
    }

    #[test]
    fn a_small_file_takes_the_place_of_an_empty_one_and_by_force_of_another_that_may_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let (dest, link) = (folder.path().join("dest"), folder.path().join("link"));
        std::os::unix::fs::symlink(&dest, &link).unwrap();
        let put = |bytes: &[u8], replace| put_whole(&link, bytes, &Id::of(bytes), replace).map_err(|error| error.kind);
        assert_eq!(put(b"one", false), Err(JobErrorKind::Unfit), "the link leads nowhere");
        fs::write(&dest, "").unwrap();
        assert_eq!((put(b"one", false), put(b"one", false)), (Ok(false), Ok(true)));
        assert_eq!((put(b"two", false), put(b"two", true)), (Err(JobErrorKind::Exists), Ok(false)));
        fs::set_permissions(&dest, Permissions::from_mode(0o400)).unwrap();
        assert_eq!(put(b"one", true), Err(JobErrorKind::Unfit), "it is read-only");
        assert_eq!(fs::read(&dest).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing temporary stays");
    }
}
