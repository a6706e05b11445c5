//! Files on their way out of the network: blocks written where they belong, under a temporary name until all are there.
//!
//! Others may be able to write to the folder. So the temporary file is made by us alone, or it is one that an earlier
//! run of the same user left, which no other user may write to: see [`is_ours`]. It is verified and renamed as one and
//! the same file: see [`PartialFile::finish`].

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};
use tempfile::TempPath;

use super::cancel::Cancel;
use super::ledger::Ledger;
use super::place::{Destination, is_ours_alone, is_same, temporary_names};
use super::{cannot_write, cuts, failed, folder_of, io_failed};
use crate::id::{Id, Key};
use crate::node::job::{GetId, JobError, JobErrorKind, Outcome, Slot};
use crate::runtime::signals::status_field;
use crate::runtime::{LETS_GO, lock_within};
use crate::store::{Free, free, hash_all};

/// What to do about a file that stands at the destination.
#[derive(Clone, Copy)]
pub(super) struct AtDest {
    /// Compare it first, if it has the right size.
    pub(super) compare: bool,
    /// It may be replaced.
    pub(super) replace: bool,
}

/// The files being written, each by several jobs at a time.
#[derive(Default)]
pub(super) struct Writers(HashMap<GetId, Arc<PartialFile>>);

/// How jobs get at the files being written.
pub(super) struct Writing<'a>(pub(super) &'a Ledger);

/// A file under its temporary name; or one that stands at the destination and is compared.
pub(super) struct PartialFile {
    file: File,
    path: PathBuf,
    place: Destination,
    replace: bool,
}

impl Writers {
    pub(super) fn forget(&mut self, get: GetId) -> Option<Arc<PartialFile>> {
        self.0.remove(&get)
    }
}

impl Writing<'_> {
    /// Prepares the file, takes up what an earlier run left, or opens what stands at its name. The order to forget the
    /// file may have come before there was anything to forget: then `cancel` tells.
    pub(super) fn open_unless(
        &self,
        cancel: &Cancel,
        get: GetId,
        (dest, root, size): (&Path, &Id, u64),
        standing: AtDest,
    ) -> Result<Outcome, JobError> {
        let opened = self.open(get, dest, root, size, standing);
        cancel.check().inspect_err(|_| self.0.forget_get(get))?;
        opened
    }

    fn open(&self, get: GetId, dest: &Path, root: &Id, size: u64, standing: AtDest) -> Result<Outcome, JobError> {
        loop {
            let place = Destination::of(dest)?;
            if standing.compare
                && place.there.as_ref().is_some_and(|there| there.len() == size)
                && let Ok(file) = File::open(&place.path)
            {
                let path = place.path.clone();
                self.enter(get, PartialFile { file, path, place, replace: false });
                return Ok(Outcome::Standing);
            }
            place.check_free(standing.replace)?;
            if let Some((part, resumed)) = PartialFile::open(place, root, size, standing.replace)? {
                self.enter(get, part);
                return Ok(Outcome::Opened { resumed });
            }
        }
    }

    /// Whether a block lies in its place already.
    pub(super) fn check(&self, get: GetId, slot: &Slot, piece: &mut [u8]) -> Result<Outcome, JobError> {
        let part = self.part(get)?;
        let mut hash = Sha256::new();
        for cut in cuts(slot.size as usize) {
            let bytes = &mut piece[..cut.len()];
            let read = part.file.read_exact_at(bytes, slot.offset + cut.start as u64);
            read.map_err(|error| io_failed(&format!("read what there is of '{}'", part.place.path.display()), &error))?;
            hash.update(bytes);
        }
        Ok(Outcome::Checked { good: Key::from_bytes(hash.finalize().into()) == slot.key })
    }

    /// Writes the pieces of a block, verified before, to its place.
    pub(super) fn put<'p>(
        &self,
        get: GetId,
        slot: &Slot,
        pieces: impl Iterator<Item = &'p [u8]>,
    ) -> Result<Outcome, JobError> {
        let part = self.part(get)?;
        let mut at = slot.offset;
        for piece in pieces {
            let written = part.file.write_all_at(piece, at);
            written.map_err(|error| cannot_write(&part.place.path, &error))?;
            at += piece.len() as u64;
        }
        Ok(Outcome::Fetched)
    }

    /// Gives the file its name, if it hashes to `sha256` or nothing is said about that.
    pub(super) fn finish(&self, get: GetId, sha256: Option<Id>) -> Result<Outcome, JobError> {
        let part = self.part(get)?;
        if let Some(promised) = sha256 {
            let found = hash_all(&part.file).map_err(|error| cannot_write(&part.place.path, &error))?;
            if found != promised {
                let reason =
                    format!("the manifest promises a file of SHA-256 {promised}; its blocks make one of {found}");
                return Err(failed(JobErrorKind::Corrupt, reason));
            }
        }
        part.finish()?;
        Ok(Outcome::Done)
    }

    fn enter(&self, get: GetId, part: PartialFile) {
        drop(self.0.with(|books| books.writers.0.insert(get, Arc::new(part))));
    }

    fn part(&self, get: GetId) -> Result<Arc<PartialFile>, JobError> {
        let part = self.0.with(|books| books.writers.0.get(&get).cloned());
        part.ok_or_else(|| failed(JobErrorKind::Cancelled, "the file is not being written any more"))
    }
}

impl PartialFile {
    /// Opens it, and whether an earlier run left it; none if another retrieve of the same file ended meanwhile, so that
    /// something else stands at its place. A retrieve that is cancelled or was killed just now lets go of it soon.
    fn open(place: Destination, root: &Id, size: u64, replace: bool) -> Result<Option<(Self, bool)>, JobError> {
        let cannot = |error: &io::Error| cannot_write(&place.path, error);
        let mut names = temporary_names(&place.path, root);
        let (file, path) = loop {
            let Some(path) = names.next() else {
                let reason = format!("'{}' cannot be written: others took its temporary names", place.path.display());
                return Err(failed(JobErrorKind::Io, reason));
            };
            if let Some(file) = open_ours(&path).map_err(|error| cannot(&error))? {
                break (file, path);
            }
        };
        if !lock_within(&file, LETS_GO).map_err(|error| cannot(&error))? {
            let reason =
                format!("'{}' is being retrieved already; wait for it or name another file", place.path.display());
            return Err(failed(JobErrorKind::Io, reason));
        }
        let there = file.metadata().map_err(|error| cannot(&error))?;
        if !has_name(&path, &there) {
            return Ok(None);
        }
        if !place.is_as_seen() {
            if there.len() == 0 {
                let _ = fs::remove_file(&path);
            }
            return Ok(None);
        }
        let resumed = there.len() == size && size > 0;
        // A list of a few blocks can promise terabytes.
        let more = size.saturating_sub(there.blocks() * 512);
        if let Ok(Free { bytes: free, .. }) = free(folder_of(&place.path))
            && more > free
        {
            if there.len() == 0 {
                let _ = fs::remove_file(&path);
            }
            let reason = format!("'{}' has {size} bytes, and the disk has room for {free}", place.path.display());
            return Err(failed(JobErrorKind::Full, reason));
        }
        if !resumed {
            file.set_len(size).map_err(|error| cannot(&error))?;
        }
        Ok(Some((Self { file, path, place, replace }, resumed)))
    }

    /// Gives the file its name and the mode of the file that it replaces, or a new file's. A user who may write to the
    /// folder could put another file under the temporary name, so what has the name in the end is looked at.
    fn finish(&self) -> Result<(), JobError> {
        let cannot = |error: io::Error| cannot_write(&self.place.path, &error);
        let mode = self.place.there.as_ref().map_or_else(new_mode, |there| there.mode() & 0o777);
        self.file.set_permissions(Permissions::from_mode(mode)).map_err(cannot)?;
        let own = self.file.metadata().map_err(cannot)?;
        if !has_name(&self.path, &own) {
            return Err(self.lost(&self.path));
        }
        let mut temporary = TempPath::try_from_path(&self.path).map_err(cannot)?;
        // If it cannot have its name, all of it is here for the next run.
        temporary.disable_cleanup(true);
        self.place.take(temporary, self.replace)?;
        if has_name(&self.place.path, &own) { Ok(()) } else { Err(self.lost(&self.place.path)) }
    }

    /// What became of the file that had this name.
    fn lost(&self, name: &Path) -> JobError {
        let (dest, name) = (self.place.path.display(), name.display());
        let reason = match () {
            () if !folder_of(&self.place.path).is_dir() => {
                format!("cannot write '{dest}': its folder was there, and is not any longer")
            }
            () if fs::symlink_metadata(&self.path).is_err() => {
                format!("cannot write '{dest}': somebody removed '{name}'")
            }
            () => format!("cannot write '{dest}': somebody exchanged '{name}'"),
        };
        failed(JobErrorKind::Io, reason)
    }
}

/// Makes the file, or opens the one that an earlier run left; none if another user's file has its name.
fn open_ours(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map(Some),
    }
    // No link is followed, and a pipe is not waited for.
    let left = options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path);
    Ok(left.ok().filter(|file| file.metadata().is_ok_and(|metadata| is_ours(&metadata))))
}

/// Whether the file has this name.
fn has_name(path: &Path, file: &Metadata) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| is_same(&there, file))
}

/// Whether no other user made this file, or can change it now: it is a plain file of our own, under one name, and only
/// its owner may write to it.
fn is_ours(file: &Metadata) -> bool {
    file.is_file() && file.nlink() == 1 && is_ours_alone(file)
}

/// The mode of a new file, as the user's `umask` had it when the first one was made: to read it takes as long as to
/// write a small file.
fn new_mode() -> u32 {
    static MASK: LazyLock<u32> = LazyLock::new(|| {
        let mask = status_field("Umask").and_then(|digits| u32::from_str_radix(&digits, 8).ok());
        // Where the system does not tell, no other user may read it.
        mask.unwrap_or(0o077)
    });
    0o666 & !*MASK
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    const SIZE: u64 = 5;
    const KEEP: AtDest = AtDest { compare: false, replace: false };
    const FORCE: AtDest = AtDest { compare: false, replace: true };

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    /// Retrieves the file "bytes" to `dest`.
    fn bring(dest: &Path, standing: AtDest) -> Result<(), JobError> {
        let (ledger, key) = (Ledger::default(), Id::of(b"bytes"));
        let writing = Writing(&ledger);
        writing.open(1, dest, &key, SIZE, standing)?;
        writing.put(1, &Slot { key, size: 5, offset: 0 }, std::iter::once(&b"bytes"[..]))?;
        writing.finish(1, Some(key)).map(|_| ())
    }

    fn first_name(dest: &Path) -> PathBuf {
        temporary_names(dest, &Id::of(b"bytes")).next().unwrap()
    }

    #[test]
    fn what_others_put_under_the_temporary_name_is_neither_used_nor_changed() {
        let folder = folder();
        let victim = folder.path().join("victim");
        type Prepare<'a> = &'a dyn Fn(&Path);
        let prepare: [(&str, Prepare<'_>); 4] = [
            ("a link", &|path| symlink(&victim, path).unwrap()),
            ("a second name of another file", &|path| fs::hard_link(&victim, path).unwrap()),
            ("a pipe", &|path| mkfifo(path, Mode::S_IRWXU).unwrap()),
            ("a file that all may write", &|path| {
                fs::write(path, "other").unwrap();
                fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
            }),
        ];
        for (what, prepare) in prepare {
            fs::write(&victim, "dear!").unwrap();
            let dest = folder.path().join(what);
            prepare(&first_name(&dest));
            bring(&dest, KEEP).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(fs::read(&dest).unwrap(), b"bytes", "{what}");
            assert_eq!(fs::read(&victim).unwrap(), b"dear!", "{what}");
            assert!(fs::symlink_metadata(&dest).unwrap().is_file(), "{what}");
        }
    }

    #[test]
    fn a_file_that_the_disk_has_no_room_for_is_refused_before_a_block_of_it_is_fetched() {
        let folder = folder();
        let dest = folder.path().join("dest");
        let ledger = Ledger::default();
        let error = Writing(&ledger).open(1, &dest, &Id::of(b"bytes"), 1 << 50, KEEP).unwrap_err();
        assert!(error.kind == JobErrorKind::Full && error.reason.contains("1125899906842624 bytes"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of it");
    }

    #[test]
    fn a_file_that_is_forgotten_before_it_is_open_does_not_stay_open() {
        let (folder, ledger) = (folder(), Arc::new(Ledger::default()));
        ledger.begin(1);
        let cancel = ledger.of(1);
        ledger.cancel(1);
        ledger.forget_get(1);
        let opened =
            Writing(&ledger).open_unless(&cancel, 1, (&folder.path().join("dest"), &Id::of(b"bytes"), SIZE), KEEP);
        assert_eq!(opened.unwrap_err().kind, JobErrorKind::Cancelled);
        assert!(ledger.with(|books| books.writers.0.is_empty()), "nobody would ever close it");
    }

    #[test]
    fn a_part_is_readable_by_its_owner_alone_and_the_file_as_the_user_lets() {
        let folder = folder();
        let dest = folder.path().join("dest");
        let ledger = Ledger::default();
        let writing = Writing(&ledger);
        writing.open(1, &dest, &Id::of(b"bytes"), SIZE, KEEP).unwrap();
        assert_eq!(fs::metadata(first_name(&dest)).unwrap().mode() & 0o777, 0o600);
        writing.finish(1, None).unwrap();
        fs::write(folder.path().join("usual"), "").unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().mode();
        assert_eq!(mode("dest"), mode("usual"));
    }

    #[test]
    fn another_file_is_replaced_only_if_that_was_said_and_keeps_its_mode() {
        let folder = folder();
        let dest = folder.path().join("dest");
        fs::write(&dest, "dear").unwrap();
        fs::set_permissions(&dest, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(bring(&dest, KEEP).unwrap_err().kind, JobErrorKind::Exists);
        assert_eq!(fs::read(&dest).unwrap(), b"dear");
        bring(&dest, FORCE).unwrap();
        assert_eq!((fs::read(&dest).unwrap(), fs::metadata(&dest).unwrap().mode() & 0o777), (b"bytes".to_vec(), 0o600));
    }

    #[test]
    fn a_file_that_comes_to_stand_there_meanwhile_is_not_replaced() {
        let folder = folder();
        let dest = folder.path().join("dest");
        let ledger = Ledger::default();
        let writing = Writing(&ledger);
        writing.open(1, &dest, &Id::of(b"bytes"), SIZE, KEEP).unwrap();
        fs::write(&dest, "dear").unwrap();
        assert_eq!(writing.finish(1, None).unwrap_err().kind, JobErrorKind::Exists);
        assert_eq!(fs::read(&dest).unwrap(), b"dear");
        assert!(first_name(&dest).exists(), "what was retrieved stays for another try");
    }

    #[test]
    fn what_was_verified_is_what_gets_the_name_and_else_it_is_told_what_became_of_it() {
        type Lose<'a> = &'a dyn Fn(&Path);
        let lose: [(&str, Lose<'_>); 3] = [
            ("somebody removed", &|part| fs::remove_file(part).unwrap()),
            ("its folder was there, and is not any longer", &|part| {
                fs::remove_dir_all(part.parent().unwrap()).unwrap();
            }),
            ("somebody exchanged", &|part| {
                fs::remove_file(part).unwrap();
                fs::write(part, "other").unwrap();
            }),
        ];
        for (told, lose) in lose {
            let folder = folder();
            let dest = folder.path().join("below").join("dest");
            fs::create_dir(dest.parent().unwrap()).unwrap();
            let ledger = Ledger::default();
            let writing = Writing(&ledger);
            writing.open(1, &dest, &Id::of(b"bytes"), SIZE, KEEP).unwrap();
            lose(&first_name(&dest));
            let error = writing.finish(1, None).unwrap_err();
            assert!(error.reason.contains(told), "{error}");
            assert!(!dest.exists());
        }
    }

    #[test]
    fn a_retrieve_of_a_file_that_another_is_about_to_leave_goes_on_with_what_that_left() {
        let compare = AtDest { compare: true, replace: false };
        for finishes in [true, false] {
            let (folder, ledger, key) = (folder(), Arc::new(Ledger::default()), Id::of(b"bytes"));
            let dest = folder.path().join("dest");
            let open = |get| Writing(&ledger).open(get, &dest, &key, SIZE, compare);
            open(1).unwrap();
            let second = std::thread::scope(|scope| {
                let second = scope.spawn(|| open(2));
                // By then it waits, as a rule. What it gets is the same in any case.
                std::thread::park_timeout(Duration::from_millis(50));
                if finishes {
                    Writing(&ledger).finish(1, None).unwrap();
                }
                ledger.forget_get(1);
                second.join().unwrap()
            });
            let expected = if finishes { Outcome::Standing } else { Outcome::Opened { resumed: true } };
            assert_eq!(second, Ok(expected));
        }
    }

    #[test]
    fn a_retrieve_to_a_place_that_was_taken_before_its_part_was_locked_looks_there_again() {
        let (folder, key) = (folder(), Id::of(b"bytes"));
        let dest = folder.path().join("dest");
        let seen = Destination::of(&dest).unwrap();
        bring(&dest, KEEP).unwrap();
        assert!(PartialFile::open(seen, &key, SIZE, false).unwrap().is_none());
        assert!(!first_name(&dest).exists(), "nothing stays behind");
    }

    #[test]
    fn a_link_is_followed_to_the_file_that_is_replaced_and_one_to_nothing_is_refused() {
        let folder = folder();
        let (dest, link) = (folder.path().join("dest"), folder.path().join("link"));
        symlink(&dest, &link).unwrap();
        assert_eq!(bring(&link, FORCE).unwrap_err().kind, JobErrorKind::Unfit);
        fs::write(&dest, "dear").unwrap();
        bring(&link, FORCE).unwrap();
        assert_eq!(fs::read(&dest).unwrap(), b"bytes");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn the_longest_names_that_a_folder_takes_can_be_retrieved_to() {
        let folder = folder();
        bring(&folder.path().join("n".repeat(255)), KEEP).unwrap();
    }
}
