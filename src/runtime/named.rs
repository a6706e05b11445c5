//! Files by name: `NAME.pdf` in the working directory, and how they are sent.
//!
//! ```text
//! they  file <name>[ <port>]\n
//! we    <size> <modified>\n, that many bytes, <64 hex>\n     or   error: <reason>\n
//! ```
//! `modified` is in microseconds since 1970; the 64 digits are the SHA-256 of the bytes, known only when all of them
//! have been read. With a port the file is meant for the user of the peer that listens there, and the node is told when
//! all of it was sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

use super::clock::since_1970;
use super::secrecy::Stream;
use super::seldom::Seldom;
use crate::id::Id;
use crate::locks::{self, Ranked};
use crate::name::FileName;
use crate::node::job::{JobError, JobErrorKind, Version};
use crate::source::{Subnet, leaves_enough};
use crate::store::{check_room, room};
use crate::time::Time;

/// How the temporary name of a file that is on its way here ends; it begins with a dot and the file's own name.
pub(super) const PART_ENDING: &str = ".part";

/// A temporary file that no process has locked counts as left behind when it is as old as this: one that was just made
/// is not locked yet.
const ABANDONED: Duration = Duration::from_secs(5);

/// A file may be said to be this much younger than now: clocks differ. What is younger still could never be replaced by
/// a newer one.
const MOST_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// The end of the year 9999, the last that can be written as a date.
const LAST_DATE: Duration = Duration::from_secs(253_402_300_799);

/// Hashes that are remembered.
const MAX_HASHES: usize = 1024;

/// The working directory.
pub(super) struct WorkingFolder {
    path: PathBuf,
    /// Bytes of the largest file that is taken from another peer.
    max_file: u64,
    /// A file could not be read.
    unreadable: Seldom,
    known: Ranked<KnownFiles>,
}

/// What is known of files.
#[derive(Default)]
struct KnownFiles {
    /// The hashes of those that were read before.
    hashes: HashMap<FileName, (Version, Id)>,
    /// From where those came that others had kept here, and their sizes.
    brought: HashMap<FileName, (Subnet, u64)>,
    /// How many bytes of such files are on their way from each place.
    coming: BTreeMap<Subnet, u64>,
    /// Those that this peer gives to others: a user stored them here, or they are kept for the ring. No other peer
    /// hears of what else lies here. Names have four digits, so there are few.
    given: BTreeSet<FileName>,
}

/// Room for a file that is on its way here.
pub(super) struct RoomShare<'a> {
    folder: &'a WorkingFolder,
    source: Subnet,
    size: u64,
}

impl Drop for RoomShare<'_> {
    fn drop(&mut self) {
        let coming = &mut self.folder.known.lock().coming;
        let left = coming.remove(&self.source).unwrap_or(0).saturating_sub(self.size);
        if left > 0 {
            coming.insert(self.source, left);
        }
    }
}

/// A line that asks for a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileRequest {
    pub(super) file: FileName,
    pub(super) port: Option<u16>,
}

/// Reads such a line; none if it is of another kind.
pub(super) fn parse(line: &[u8]) -> Option<Result<FileRequest, &'static str>> {
    let line = std::str::from_utf8(line).ok()?.trim_end_matches('\r');
    let words = line.strip_prefix("file ")?;
    let (name, port) = words.split_once(' ').map_or((words, None), |(name, port)| (name, Some(port)));
    let read = || {
        let file = name.parse().map_err(|_| "a file's name is four digits")?;
        let port = port.map(str::parse).transpose().map_err(|_| "a port is a number below 65536")?;
        Ok(FileRequest { file, port })
    };
    Some(read())
}

/// The line that asks for a file.
pub(super) fn ask(asked: FileRequest) -> String {
    let FileRequest { file, port } = asked;
    port.map_or_else(|| format!("file {file}\n"), |port| format!("file {file} {port}\n"))
}

/// Which version of a file this is.
pub(super) fn version_of(metadata: &Metadata) -> Version {
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default();
    Version { size: metadata.len(), modified: u64::try_from(modified.as_micros()).unwrap_or(u64::MAX) }
}

/// The time of a version, as the file system has it.
pub(super) fn time_of(version: Version) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(version.modified)
}

impl WorkingFolder {
    /// The working directory at `path`, which takes files of at most `max_file` bytes.
    pub(super) fn new(path: PathBuf, max_file: u64) -> Self {
        Self {
            path,
            max_file,
            unreadable: Seldom::default(),
            known: Ranked::new(&locks::HASHES, KnownFiles::default()),
        }
    }

    /// Whether a file of this version may be kept here for others: what is announced is a stranger's word.
    ///
    /// # Errors
    /// Says why not.
    pub(super) fn check_announced(&self, file: FileName, version: Version) -> Result<(), JobError> {
        let refuse = |kind, reason| Err(JobError { kind, reason });
        let Version { size, .. } = version;
        if size > self.max_file {
            let reason =
                format!("file {file} has {size} bytes and at most {} are taken; raise --max-file", self.max_file);
            return refuse(JobErrorKind::Corrupt, reason);
        }
        let soon = UNIX_EPOCH + since_1970() + MOST_AHEAD;
        if time_of(version) > soon {
            let date = humantime::format_rfc3339_seconds(time_of(version).min(UNIX_EPOCH + LAST_DATE)).to_string();
            let day = date.split('T').next().unwrap_or_default();
            let reason = format!("file {file} is said to be of {day}, which is to come; are both clocks right?");
            return refuse(JobErrorKind::Corrupt, reason);
        }
        self.check_room(file, size)
    }

    /// Whether a file of so many bytes has room here.
    ///
    /// # Errors
    /// Says why not.
    pub(super) fn check_room(&self, file: FileName, size: u64) -> Result<(), JobError> {
        check_room(&self.path, size).map_err(|error| {
            let reason = format!("file {file} of {size} bytes cannot be taken: {error}");
            JobError { kind: JobErrorKind::Full, reason }
        })
    }

    /// Room for a file that `from` wants kept here, if it leaves as much to others as all that came or comes from there
    /// takes.
    ///
    /// # Errors
    /// Says why there is none.
    pub(super) fn share(&self, file: FileName, size: u64, from: SocketAddr) -> Result<RoomShare<'_>, String> {
        let source = Subnet::of(from);
        // What cannot be told is no reason to refuse: writing will show it.
        let room = room(&self.path).ok().flatten().unwrap_or(u64::MAX);
        let known = &mut *self.known.lock();
        let others = known.brought.iter().filter(|(name, (by, _))| *by == source && **name != file);
        let brought: u64 = others.map(|(_, (_, size))| size).sum();
        let coming = known.coming.get(&source).copied().unwrap_or(0);
        let has = brought + coming;
        if !leaves_enough(has, size, room) {
            return Err(format!(
                "file {file} cannot be taken: {has} bytes are here from the same place, and others need room"
            ));
        }
        known.coming.insert(source, coming + size);
        Ok(RoomShare { folder: self, source, size })
    }

    /// A file was written here that `from` had kept.
    pub(super) fn note_brought(&self, file: FileName, size: u64, from: SocketAddr) {
        self.known.lock().brought.insert(file, (Subnet::of(from), size));
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the file `file` lies.
    pub(super) fn place(&self, file: FileName) -> PathBuf {
        self.path.join(format!("{file}.pdf"))
    }

    /// Where a requested file goes.
    pub(super) fn received(&self, file: FileName) -> PathBuf {
        self.path.join(format!("received_{file}.pdf"))
    }

    /// The version that lies here. What is no regular file is an error.
    pub(super) fn find(&self, file: FileName) -> io::Result<Option<Version>> {
        match self.look(file) {
            Ok(metadata) => Ok(Some(version_of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What lies here of this name, or what a link of this peer's user leads to. In a folder where others may write,
    /// a link of theirs would give away what only this user may read.
    fn look(&self, file: FileName) -> io::Result<Metadata> {
        let place = self.place(file);
        let there = std::fs::symlink_metadata(&place)?;
        if there.is_symlink() && there.uid() != geteuid().as_raw() {
            return Err(io::Error::other("it is another user's link"));
        }
        let there = if there.is_symlink() { std::fs::metadata(&place)? } else { there };
        if there.is_file() { Ok(there) } else { Err(io::Error::other("it is no regular file")) }
    }

    /// Opens what lies here of this name.
    fn open(&self, file: FileName) -> io::Result<(Version, File)> {
        let seen = self.look(file)?;
        // Should a pipe have taken its place, opening it waits for no writer.
        let opened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(self.place(file))?;
        let there = opened.metadata()?;
        if (there.dev(), there.ino()) != (seen.dev(), seen.ino()) {
            return Err(io::Error::other("it was exchanged while it was opened"));
        }
        Ok((version_of(&there), opened))
    }

    /// Everything that lies here, in the order of names.
    pub(super) fn scan(&self) -> io::Result<Vec<(FileName, Version)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".pdf")).and_then(|name| name.parse().ok());
            if let Some(file) = name
                && let Ok(Some(version)) = self.find(file)
            {
                files.push((file, version));
            }
        }
        files.sort_unstable_by_key(|(file, _)| *file);
        Ok(files)
    }

    /// Removes what peers that were killed left half received. What a living peer in this directory receives is locked.
    pub(super) fn clear_away(&self) {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(is_part) && is_abandoned(&entry.path()).unwrap_or(false) {
                // Another peer may have been faster.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// From now on others get this file from here.
    pub(super) fn give(&self, file: FileName) {
        self.known.lock().given.insert(file);
    }

    /// This version of the file has this hash.
    pub(super) fn remember(&self, file: FileName, version: Version, hash: Id) {
        let hashes = &mut self.known.lock().hashes;
        if hashes.len() >= MAX_HASHES {
            hashes.clear();
        }
        hashes.insert(file, (version, hash));
    }

    fn hash_of(&self, file: FileName, version: Version) -> Option<Id> {
        self.known.lock().hashes.get(&file).filter(|(known, _)| *known == version).map(|(_, hash)| *hash)
    }

    /// Sends a file, unless it is not here or not to be [given](Self::give), which is said then. `send_all` sends so
    /// many of its bytes, and adds them to a hash where that is not known. `sent` is called when all bytes were sent,
    /// before the last line lets the other side count them as received.
    ///
    /// # Errors
    /// The connection broke, or the file changed while it was sent: it must be closed.
    pub(super) fn send(
        &self,
        mut stream: &Stream,
        file: FileName,
        now: Time,
        send_all: impl Fn(&File, u64, Option<&mut Sha256>) -> io::Result<()>,
        sent: impl FnOnce(),
    ) -> io::Result<()> {
        if !self.known.lock().given.contains(&file) {
            return stream.write_all(b"error: this file was not stored here\n");
        }
        let (version, opened) = match self.open(file) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return stream.write_all(b"error: this file is not here\n");
            }
            Err(error) => {
                log::log!(self.unreadable.level(now), "file {file} cannot be read: {error}");
                return stream.write_all(b"error: this file cannot be read here\n");
            }
        };
        stream.write_all(format!("{} {}\n", version.size, version.modified).as_bytes())?;
        let hash = match self.hash_of(file, version) {
            Some(hash) => {
                send_all(&opened, version.size, None)?;
                hash
            }
            None => {
                let mut hash = Sha256::new();
                send_all(&opened, version.size, Some(&mut hash))?;
                Id::from_bytes(hash.finalize().into())
            }
        };
        if version_of(&opened.metadata()?) != version {
            return Err(io::Error::other(format!("file {file} changed while it was sent")));
        }
        self.remember(file, version, hash);
        sent();
        stream.write_all(format!("{hash}\n").as_bytes())
    }
}

/// Whether a temporary file of a named one has this name.
fn is_part(name: &str) -> bool {
    let name = name.strip_prefix('.').and_then(|name| name.strip_suffix(PART_ENDING));
    let file = name.and_then(|name| name.split_once(".pdf."));
    file.is_some_and(|(file, random)| file.parse::<FileName>().is_ok() && !random.is_empty())
}

fn is_abandoned(path: &Path) -> io::Result<bool> {
    let metadata = std::fs::symlink_metadata(path)?;
    let age = metadata.modified()?.elapsed().unwrap_or_default();
    Ok(metadata.is_file() && age >= ABANDONED && File::open(path)?.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_asks_for_a_file_by_four_digits_and_maybe_a_port() {
        let file = "0042".parse().unwrap();
        for port in [None, Some(12002)] {
            let asked = FileRequest { file, port };
            assert_eq!(parse(ask(asked).trim_end().as_bytes()), Some(Ok(asked)));
        }
        for bad in ["file ", "file 42", "file a042", "file ../x", "file 0042 x", "file 0042 70000", "file 0042 1 2"] {
            assert!(parse(bad.as_bytes()).is_some_and(|read| read.is_err()), "{bad:?}");
        }
        assert_eq!(parse(&[b'0'; 64]), None);
        assert!("file 0042 12002\n".len() < crate::wire::MAX_REQUEST_LINE);
    }

    #[test]
    fn what_a_killed_peer_left_half_received_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let names =
            [".2067.pdf.dCmc2S.part", ".0001.pdf.aaaaaa.part", ".0002.pdf.bbbbbb.part", ".notes.part", "2067.pdf"];
        for name in names {
            std::fs::write(path(name), name).unwrap();
            if name != names[1] {
                File::options().write(true).open(path(name)).unwrap().set_modified(UNIX_EPOCH).unwrap();
            }
        }
        let received_now = File::open(path(names[2])).unwrap();
        received_now.lock().unwrap();
        let folder = WorkingFolder::new(dir.path().to_owned(), 1 << 20);
        folder.clear_away();
        assert_eq!(names.map(|name| path(name).exists()), [false, true, true, true, true]);
        drop(received_now);
        folder.clear_away();
        assert!(!path(names[2]).exists(), "its peer is gone too");
    }

    #[test]
    fn a_scan_finds_names_of_four_digits_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["2067.pdf", "0001.pdf", "received_2067.pdf", "a912.pdf", "32134.pdf", "2067.txt", ".2067.pdf.part"]
        {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        std::fs::create_dir(dir.path().join("9999.pdf")).unwrap();
        let folder = WorkingFolder::new(dir.path().to_owned(), 1 << 20);
        let names: Vec<String> = folder.scan().unwrap().iter().map(|(file, _)| file.to_string()).collect();
        assert_eq!(names, ["0001", "2067"]);
        assert!(folder.find("9999".parse().unwrap()).is_err(), "it is no regular file");
        assert_eq!(folder.find("9998".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_too_large_or_of_the_future_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let folder = WorkingFolder::new(dir.path().to_owned(), 1000);
        let now = since_1970().as_micros() as u64;
        let (hour, day) = (3_600_000_000, 86_400_000_000);
        let check = |size, modified| folder.check_announced("2067".parse().unwrap(), Version { size, modified });
        assert_eq!([check(1000, now), check(0, 0), check(5, now + hour)], [Ok(()), Ok(()), Ok(())]);
        assert!(check(1001, now).unwrap_err().reason.contains("--max-file"));
        assert!(check(1 << 60, now).is_err());
        for (modified, told) in [(now + day + hour, "is to come"), (4_102_444_800_000_000, "of 2100-01-01, which")] {
            assert!(check(1, modified).unwrap_err().reason.contains(told), "{modified}");
        }
        for modified in [1 << 62, u64::MAX] {
            assert!(check(1, modified).unwrap_err().reason.contains("of 9999-12-31, which"), "{modified}");
        }
    }

    #[test]
    fn a_pipe_and_another_user_s_link_are_not_given_away_and_a_link_of_one_s_own_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = WorkingFolder::new(dir.path().to_owned(), 1000);
        let [piped, linked] = ["1001", "1002"].map(|name| name.parse::<FileName>().unwrap());
        nix::unistd::mkfifo(&folder.place(piped), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(folder.open(piped).is_err(), "no waiting for a writer");
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "mine").unwrap();
        std::os::unix::fs::symlink(&secret, folder.place(linked)).unwrap();
        assert_eq!(folder.open(linked).unwrap().0.size, 4);
        match std::os::unix::fs::lchown(folder.place(linked), Some(geteuid().as_raw() + 1), None) {
            Ok(()) => {
                assert!(folder.open(linked).unwrap_err().to_string().contains("another user's link"));
                assert!(folder.find(linked).is_err(), "nor told of");
            }
            Err(error) => println!("another user's link was not tried: {error}"),
        }
    }

    #[test]
    fn nobody_takes_more_than_half_of_the_room_and_a_file_stored_again_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = WorkingFolder::new(dir.path().to_owned(), u64::MAX);
        let (one, other) = (SocketAddr::from(([10, 0, 0, 1], 5)), SocketAddr::from(([10, 0, 0, 2], 5)));
        let name = |n: u16| format!("{n:04}").parse::<FileName>().unwrap();
        let third = room(dir.path()).unwrap().unwrap() / 3;
        for _ in 0..5 {
            let _share = folder.share(name(1), third, one).unwrap();
            folder.note_brought(name(1), third, one);
        }
        let coming = folder.share(name(2), third / 2, one).unwrap();
        assert!(folder.share(name(3), third / 4 * 7, one).is_err(), "what is on its way counts");
        drop(coming);
        drop(folder.share(name(3), third / 4 * 7, one).unwrap());
        folder.note_brought(name(2), third * 2, one);
        assert!(folder.share(name(3), third, one).is_err());
        drop(folder.share(name(3), third, other).unwrap());
        assert!(folder.known.lock().coming.is_empty());
    }
}
