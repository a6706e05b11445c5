//! What there is in a folder to be stored.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::{AccessFlags, faccessat, geteuid};
use walkdir::{DirEntry, WalkDir};

use super::{Tree, name, trouble};
use crate::console::catalogue::Catalogue;
use crate::console::reply::LeftOut;
use crate::node::{Failure, FailureKind};
use crate::raw_text;
use crate::store::DiskStore;

/// Files that cannot be read are named in a failure, so many at most.
const UNREAD_NAMED: usize = 10;

/// Something in the folder.
pub(super) struct FolderEntry {
    /// Its path, which begins in the folder.
    pub(super) path: PathBuf,
    pub(super) what: EntryKind,
}

/// What an entry of a folder is.
pub(super) enum EntryKind {
    Folder,
    Link { target: PathBuf },
    File(SeenFile),
}

/// What a regular file was like when it was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SeenFile {
    /// Its size in bytes.
    pub(super) size: u64,
    pub(super) executable: bool,
    /// When it was last changed, in seconds and nanoseconds.
    pub(super) modified: (i64, i64),
}

impl SeenFile {
    /// None where it is no regular file.
    pub(super) fn of(metadata: &Metadata) -> Option<Self> {
        let executable = metadata.permissions().mode() & 0o100 != 0;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        metadata.is_file().then_some(Self { size: metadata.len(), executable, modified })
    }
}

/// What came of looking at a folder.
#[derive(Default)]
pub(super) struct WalkedFolder {
    /// What is left out.
    pub(super) skipped: Vec<LeftOut>,
    /// Bytes of all files.
    pub(super) bytes: u64,
}

/// Walks through `folder`. `take` gets what is to be stored, in the order of a listing; `check` is asked on the way
/// whether to go on.
///
/// # Errors
/// Something cannot be read and may not be skipped, a pattern is none, or `check` says so.
pub(super) fn walk(
    folder: &Path,
    tree: &Tree,
    check: &dyn Fn() -> Result<(), Failure>,
    take: &mut dyn FnMut(FolderEntry),
) -> Result<WalkedFolder, Failure> {
    let (excludes, me) = (Excludes::new(&tree.exclude)?, geteuid().as_raw());
    let mut walked = WalkedFolder::default();
    let mut unreadable: Vec<LeftOut> = Vec::new();
    // Of a link that is named, what it leads to is meant.
    fs::read_dir(folder).map_err(|error| trouble("read the folder", folder, &error))?;
    if let Some(what) = secrets_in(folder) {
        let reason = format!("{} is not stored: it is {what}", name(folder));
        return Err(Failure::new(FailureKind::Usage, reason));
    }
    let entries = WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter();
    let mut entries = entries.filter_entry(|entry| entry.depth() == 0 || !excludes.fit(below(folder, entry.path())));
    while let Some(entry) = entries.next() {
        check()?;
        match entry {
            Ok(entry)
                if entry.file_type().is_dir()
                    && let Some(what) = secrets_in(entry.path()) =>
            {
                let file = below(folder, entry.path()).to_owned();
                walked.skipped.push(LeftOut { file, reason: what.to_owned() });
                entries.skip_current_dir();
            }
            Ok(entry) => {
                let path = below(folder, entry.path()).to_owned();
                match look(&entry, me) {
                    Ok(Some(what)) => {
                        walked.bytes += if let EntryKind::File(SeenFile { size, .. }) = what { size } else { 0 };
                        take(FolderEntry { path, what });
                    }
                    Ok(None) => {
                        let reason = kind_of(&entry).to_owned();
                        walked.skipped.push(LeftOut { file: path, reason });
                    }
                    Err(error) => unreadable.push(LeftOut { file: path, reason: error.to_string() }),
                }
            }
            Err(error) => {
                let file = below(folder, error.path().unwrap_or(folder)).to_owned();
                let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                unreadable.push(LeftOut { file, reason });
            }
        }
    }
    if !unreadable.is_empty() && !tree.skip_unreadable {
        return Err(refusal(folder, &unreadable));
    }
    walked.skipped.extend(unreadable);
    Ok(walked)
}

/// What a folder is whose files no other user may read, if it is one: a user who retrieved them could end the leases in
/// them.
fn secrets_in(folder: &Path) -> Option<&'static str> {
    if DiskStore::is_at(folder) {
        Some("the data folder of a peer")
    } else {
        Catalogue::is_at(folder).then_some("the folder of a catalogue, which holds the secrets of leases")
    }
}

fn below<'p>(folder: &Path, path: &'p Path) -> &'p Path {
    path.strip_prefix(folder).unwrap_or(path)
}

/// What it is, for the user `me`; none if it is nothing that can be stored.
fn look(entry: &DirEntry, me: u32) -> io::Result<Option<EntryKind>> {
    let kind = entry.file_type();
    if kind.is_dir() {
        return Ok(Some(EntryKind::Folder));
    }
    if kind.is_symlink() {
        return Ok(Some(EntryKind::Link { target: fs::read_link(entry.path())? }));
    }
    if !kind.is_file() {
        return Ok(None);
    }
    let metadata = entry.metadata()?;
    // Whether it can be read shows before anything is stored. Its owner may where the mode says so; else the system is
    // asked. (To open it would take three times as long.)
    if metadata.uid() != me || metadata.mode() & 0o400 == 0 {
        faccessat(AT_FDCWD, entry.path(), AccessFlags::R_OK, AtFlags::AT_EACCESS)?;
    }
    Ok(SeenFile::of(&metadata).map(EntryKind::File))
}

/// Opens a regular file. What took its place meanwhile is neither followed nor waited for.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    File::options().read(true).custom_flags(flags).open(path)
}

fn kind_of(entry: &DirEntry) -> &'static str {
    let kind = entry.file_type();
    match () {
        () if kind.is_socket() => "a socket",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => "neither a file, a folder nor a link",
    }
}

fn refusal(folder: &Path, unreadable: &[LeftOut]) -> Failure {
    let named =
        unreadable.iter().take(UNREAD_NAMED).map(|LeftOut { file, reason }| format!("{} ({reason})", name(file)));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = unreadable.len().saturating_sub(UNREAD_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let folder = name(folder);
    let reason = format!(
        "nothing of {folder} was stored, for this in it cannot be read: {named}{more}; --skip-unreadable stores the rest"
    );
    Failure::new(FailureKind::Other, reason)
}

/// Patterns of what is left out.
struct Excludes(Vec<(Pattern, bool)>);

impl Excludes {
    fn new(patterns: &[String]) -> Result<Self, Failure> {
        let read = |text: &String| {
            let plain = text.trim_end_matches('/');
            // With a slash it is a path that begins in the folder; without one, a name anywhere.
            let whole = plain.contains('/');
            let pattern = Pattern::new(plain.trim_start_matches('/'));
            let wrong = |error| Failure::new(FailureKind::Usage, format!("{text:?} is no pattern: {error}"));
            pattern.map(|pattern| (pattern, whole)).map_err(wrong)
        };
        patterns.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    fn fit(&self, path: &Path) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
        // Patterns are such text too, so bytes that are no character fit themselves, and what fits any character.
        let (path, name) = (raw_text::text_of(path), raw_text::text_of(path.file_name().unwrap_or_default()));
        self.0.iter().any(|(pattern, whole)| pattern.matches_with(if *whole { &path } else { &name }, options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        Excludes::new(&[pattern.to_owned()]).unwrap().fit(Path::new(path))
    }

    #[test]
    fn a_pattern_is_of_a_name_anywhere_or_with_a_slash_of_a_path_in_the_folder() {
        for (pattern, path) in [
            ("*.o", "a/b.o"),
            ("target", "x/target"),
            ("target/", "target"),
            ("/target", "target"),
            ("a/*", "a/b"),
            ("a/**/c", "a/b/b/c"),
            ("[ab]?", "x/a1"),
        ] {
            assert!(fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [("*.o", "a.o/b"), ("/target", "x/target"), ("a/*", "a/b/c"), ("a", "ab"), ("", "a")] {
            assert!(!fits(pattern, path), "{pattern} {path}");
        }
        assert_eq!(Excludes::new(&["[".to_owned()]).err().map(|failure| failure.kind), Some(FailureKind::Usage));
    }

    #[test]
    fn a_pattern_fits_names_that_are_no_utf_8_and_may_be_none_itself() {
        let path = raw_text::path("secret/schl\u{effc}ssel.key");
        for pattern in ["secret/*", "secret/schl?ssel.key", "schl*.key", "schl\u{effc}ssel.*", "secret/schl\u{effc}*"] {
            assert!(Excludes::new(&[pattern.to_owned()]).unwrap().fit(&path), "{pattern}");
        }
        for pattern in ["secret/schl\u{effd}ssel.key", "schl\u{efc3}*", "secret"] {
            assert!(!Excludes::new(&[pattern.to_owned()]).unwrap().fit(&path), "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_and_not_more_of_it_than_can_be_read_by_people() {
        let left_out = |n: usize| LeftOut { file: format!("f{n}\n").into(), reason: "denied".to_owned() };
        let reason = refusal(Path::new("d"), &(0..15).map(left_out).collect::<Vec<_>>()).reason;
        assert!(reason.contains("\"f0\\n\" (denied), \"f1\\n\"") && reason.contains(" and 5 more;"), "{reason}");
    }
}
