//! The catalogue: what was stored here, so that a file is found again by its name.
//!
//! It is a text file of JSON lines in the peer's data folder, or for commands that join for one file, in the user's
//! state folder. A line is on the disk before the answer to its `store` is given. Several processes may use one
//! catalogue: each change is made under a lock on a file beside it. A process that only [reads](reading) takes no lock.
//! Lines that cannot be read are set aside, and told.

mod changing;
mod damage;
mod entry;
mod reading;
mod words;

pub(super) use changing::{MOST_HELD, StillHeld};

use std::collections::HashMap;
use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use self::entry::{Entry, Owned};
#[cfg(test)]
pub(super) use self::reading::tests::READ;
use self::words::begins;
pub(super) use self::words::find_among;
pub use self::words::{DIGITS, fits, is_beginning, name_of};
use super::leases::draw;
use crate::id::Key;
use crate::lease::{LeaseId, Secret};
use crate::runtime::{Bell, lock_within};
use crate::sums::{self, checked, with_sum};
use crate::whole_file::{self, open_lock};

/// The catalogue's name in its folder.
const NAME: &str = "catalogue";

/// The name of the file that is locked while the catalogue is changed.
const LOCK: &str = "catalogue.lock";

/// The name of the file that holds the secret of the catalogue's owner.
const OWNER: &str = "owner";

/// The name of the file that tells which leases were ended from here, one in a line.
const ENDED: &str = "ended";

/// A process that needs the lock waits for it so long at most, and tries again after so long.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// A catalogue in a folder.
#[derive(Clone, Debug)]
pub struct Catalogue {
    folder: PathBuf,
    /// Where a peer renews its leases, what tells it that one ends.
    bell: Option<Bell>,
    /// The secret of its owner, once it was read.
    owner: Arc<OnceLock<Secret>>,
}

/// The text of the file of ended leases. It only grows, so a process that asks for one lease reads no other line of it.
pub(super) struct EndedLeases(String);

impl EndedLeases {
    /// Whether a lease has ended. A line that a power cut left unfinished names none.
    pub(super) fn names(&self, lease: &LeaseId) -> bool {
        let digits = lease.to_string();
        self.0.lines().any(|line| line.starts_with(&digits) && ended_by(line).is_some())
    }
}

impl Catalogue {
    /// The catalogue in `folder`, which is made when something is written.
    pub fn of(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), bell: None, owner: Arc::default() }
    }

    /// The same, in the data folder of a peer that runs: while it is gone, none is made in its place. The bell tells
    /// when the leases in what is written are to be renewed; where anything was written before, at once.
    #[must_use]
    pub fn ringing(self, bell: &Bell) -> Self {
        // What cannot be looked at is told of by who looks through it.
        if !matches!(self.path().try_exists(), Ok(false)) {
            bell.ring(0);
        }
        Self { bell: Some(bell.clone()), ..self }
    }

    fn ring(&self, lease: Option<&Owned>) {
        if let Some((bell, at)) = self.bell.as_ref().zip(lease.and_then(Owned::renewal)) {
            bell.ring(at);
        }
    }

    /// The user's own: in `$XDG_STATE_HOME/kadring`, by default `~/.local/state/kadring`. None where neither is known.
    pub fn of_user() -> Option<Self> {
        let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".local/state"));
        state.or_else(home).map(|state| Self::of(state.join("kadring")))
    }

    /// Whether a catalogue is kept in a folder: its lock is there before anything else is, such as its owner's secret.
    pub(super) fn is_at(folder: &Path) -> bool {
        folder.join(LOCK).is_file()
    }

    /// Whether the folder of this catalogue, which is a peer's data folder or the user's own, is or lies in what stands
    /// at a path.
    pub(super) fn lies_in(&self, path: &Path) -> bool {
        let whole = |path: &Path| path.canonicalize();
        whole(&self.folder).and_then(|own| Ok(own.starts_with(whole(path)?))).unwrap_or(false)
    }

    /// Adds a file. It is on the disk when this returns.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub fn add(&self, entry: &Entry) -> io::Result<()> {
        // Commands that run at once wait for the disk together, not one after another.
        self.append(entry)?.0.sync_data()
    }

    /// [Adds](Self::add) a file that was stored, unless its lease was ended meanwhile: whether that is not so.
    ///
    /// # Errors
    /// The catalogue cannot be read or written.
    pub(super) fn add_stored(&self, entry: &Entry) -> io::Result<bool> {
        let lock = self.lock()?;
        let ended = self.ended()?;
        if entry.secrets().any(|secret| ended.names(&secret.id())) {
            return Ok(false);
        }
        let (file, _) = self.append_locked(entry)?;
        drop(lock);
        file.sync_data().map(|()| true)
    }

    /// Adds a file. A process that reads the catalogue from here on finds it. It is on the disk once the file that is
    /// returned is synced, or that of a later line. With it comes which of its bytes are new.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub(super) fn append(&self, entry: &Entry) -> io::Result<(File, Range<u64>)> {
        // A process that rewrites the catalogue after this has read the line, and syncs its own file before it takes
        // this one's place.
        let _lock = self.lock()?;
        self.append_locked(entry)
    }

    fn append_locked(&self, entry: &Entry) -> io::Result<(File, Range<u64>)> {
        let line = with_sum(&serde_json::to_string(entry)?) + "\n";
        let line_length = line.len() as u64;
        // A user who reads a key can retrieve its file.
        let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(self.path())?;
        sums::append(&mut file, &line)?;
        let end = file.stream_position()?;
        if end == line_length {
            // The file is new: its name too is to be there after a power cut.
            File::open(&self.folder)?.sync_all()?;
        }
        self.ring(entry.lease.as_ref());
        Ok((file, end - line_length..end))
    }

    /// Takes the line of these bytes out of the file again, unless another line has come after it.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub(super) fn withdraw(&self, file: &File, line: Range<u64>) -> io::Result<()> {
        let _lock = self.lock()?;
        let (ours, now) = (file.metadata()?, fs::metadata(self.path())?);
        let is_last = (ours.dev(), ours.ino(), ours.len()) == (now.dev(), now.ino(), line.end);
        match line.start {
            _ if !is_last => Ok(()),
            0 => file.set_len(0).and_then(|()| (&*file).write_all(sums::file_of(String::new()).as_bytes())),
            start => file.set_len(start),
        }
    }

    /// Calls the file `key` by another name too. Returns whether the key is known here.
    ///
    /// # Errors
    /// The catalogue cannot be read or written.
    pub fn name(&self, key: &Key, name: &str) -> io::Result<bool> {
        let known = self.entries()?.into_iter().rfind(|entry| entry.key == *key);
        match known {
            Some(entry) => self.add(&Entry { name: name.to_owned(), ..entry }).map(|()| true),
            None => Ok(false),
        }
    }

    /// Changes the entries of one key.
    ///
    /// # Errors
    /// The catalogue cannot be read or written.
    pub fn change(&self, key: &Key, change: impl FnMut(&mut Entry)) -> io::Result<()> {
        let _lock = self.lock()?;
        let mut entries = self.read()?;
        entries.iter_mut().filter(|entry| entry.key == *key).for_each(change);
        self.write(&entries)?;
        entries.iter().filter(|entry| entry.key == *key).for_each(|entry| self.ring(entry.lease.as_ref()));
        Ok(())
    }

    /// Notes until when the leases of these entries were renewed. What never ends, was renewed for longer meanwhile, or
    /// got a further lease, stays as it is.
    ///
    /// # Errors
    /// The catalogue cannot be read or written.
    pub fn change_all(&self, renewed: &[Entry]) -> io::Result<()> {
        if renewed.is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut entries = self.read()?;
        note_renewed(&mut entries, renewed);
        self.write(&entries)?;
        renewed.iter().for_each(|entry| self.ring(entry.lease.as_ref()));
        Ok(())
    }

    /// Changes the entries.
    ///
    /// # Errors
    /// The catalogue cannot be read or written.
    pub(super) fn edit(&self, change: impl FnOnce(&mut Vec<Entry>)) -> io::Result<()> {
        let _lock = self.lock()?;
        let mut entries = self.read()?;
        change(&mut entries);
        self.write(&entries)
    }

    /// Whether the catalogue could be [written](Self::write) anew: whether there is leave, and room for as many bytes
    /// as it has.
    ///
    /// # Errors
    /// It could not.
    pub(super) fn check_writable(&self) -> io::Result<()> {
        let _lock = self.lock()?;
        let (new, mut file) = self.new_file(NAME)?;
        let tried = io::copy(&mut io::repeat(b'\n').take(fs::metadata(self.path())?.len()), &mut file);
        fs::remove_file(new)?;
        tried.map(drop)
    }

    /// Whether leases can be laid from here, as far as what is there already shows.
    ///
    /// # Errors
    /// For people: the owner's secret is damaged, or cannot be read.
    pub(super) fn check_owner(&self) -> io::Result<()> {
        self.drawn_owner().map(drop)
    }

    /// The secret of the catalogue's owner, from which those of leases come. The first time it is drawn.
    ///
    /// # Errors
    /// It cannot be read or written.
    fn owner(&self) -> io::Result<Secret> {
        if let Some(secret) = self.owner.get() {
            return Ok(*secret);
        }
        let secret = self.drawn_owner()?.map_or_else(|| self.draw_owner(), Ok)?;
        Ok(*self.owner.get_or_init(|| secret))
    }

    fn draw_owner(&self) -> io::Result<Secret> {
        let _lock = self.lock()?;
        // Another may have been the first meanwhile.
        if let Some(secret) = self.drawn_owner()? {
            return Ok(secret);
        }
        let secret = draw()?;
        self.replace(OWNER, &(with_sum(&secret.to_string()) + "\n"))?;
        Ok(secret)
    }

    /// The same, if it was drawn. Its file takes its place whole, so it is read without the lock.
    fn drawn_owner(&self) -> io::Result<Option<Secret>> {
        let path = self.folder.join(OWNER);
        match whole_file::text(whole_file::read_own(&path, whole_file::MAX_SMALL_FILE)) {
            Ok(text) => {
                let damaged = || io::Error::other(format!("{} holds no secret; move it away", path.display()));
                checked(text.trim()).and_then(|text| text.parse().ok()).ok_or_else(damaged).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes that these leases are about to be ended: no [secret](Self::secret) is theirs again. It is on the disk when
    /// this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(&self, secrets: &[Secret]) -> io::Result<()> {
        if secrets.is_empty() {
            return Ok(());
        }
        let lines: String = secrets.iter().map(|secret| with_sum(&secret.id().to_string()) + "\n").collect();
        let _lock = self.lock()?;
        let mut file =
            File::options().read(true).append(true).create(true).mode(0o600).open(self.folder.join(ENDED))?;
        sums::append(&mut file, &lines)?;
        file.sync_all()?;
        File::open(&self.folder)?.sync_all()
    }

    /// The secret of the lease on what has this stamp: the same for the same stamp, until that lease was ended. Holders
    /// remember what has ended, and would drop what is stored on it.
    ///
    /// # Errors
    /// What it depends on cannot be read or written.
    pub fn secret(&self, stamp: &[u8]) -> io::Result<Secret> {
        let (owner, ended) = (self.owner()?, self.ended()?);
        let mut secret = owner.derive(stamp);
        while ended.names(&secret.id()) {
            secret = secret.derive(stamp);
        }
        Ok(secret)
    }

    /// The leases that were ended from here.
    pub(super) fn ended(&self) -> io::Result<EndedLeases> {
        match whole_file::read_own(&self.folder.join(ENDED), whole_file::MAX_GROWING_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(EndedLeases(String::new())),
            read => Ok(EndedLeases(String::from_utf8_lossy(&read?).into_owned())),
        }
    }

    /// Drops the entries that `word` names, by name or by key or its beginning. The network keeps what it has.
    ///
    /// # Errors
    /// The catalogue cannot be read or written.
    pub fn forget(&self, word: &str) -> io::Result<Vec<Entry>> {
        if !self.path().exists() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let entries = self.read()?;
        let by_name = entries.iter().any(|entry| entry.name == word);
        let is_meant = |entry: &Entry| match by_name {
            true => entry.name == word,
            false => is_beginning(word) && begins(entry, word),
        };
        let (dropped, kept): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_meant);
        if !dropped.is_empty() {
            self.write(&kept)?;
        }
        Ok(dropped)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Makes the folder. That of a peer that runs is there, or gone.
    fn make_folder(&self) -> io::Result<()> {
        match self.bell {
            None => DirBuilder::new().recursive(true).mode(0o700).create(&self.folder),
            Some(_) => fs::metadata(&self.folder).map(|_| ()),
        }
    }

    /// Held until it is dropped.
    pub(super) fn lock(&self) -> io::Result<File> {
        self.make_folder()?;
        let file = open_lock(&self.folder.join(LOCK))?;
        lock(&file, LOCK_LIMIT)?;
        Ok(file)
    }

    pub(super) fn write(&self, entries: &[Entry]) -> io::Result<()> {
        let lines = entries.iter().map(|entry| Ok(with_sum(&serde_json::to_string(entry)?) + "\n"));
        self.replace(NAME, &sums::file_of(lines.collect::<io::Result<String>>()?))
    }

    /// Gives one of the files of the catalogue this text, all at once, under the lock. It has one name until then, so
    /// that what an end of this process leaves behind is taken by the next one.
    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let (new, mut file) = self.new_file(name)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()
    }

    /// A file with no bytes yet, to take the place of the one of this name, and its path.
    fn new_file(&self, name: &str) -> io::Result<(PathBuf, File)> {
        let new = self.folder.join(format!("{name}.new"));
        // What stands there is not written to, whatever it is: it may have another mode, or lead elsewhere.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        Ok((new, file))
    }

    /// What could not be done, for people.
    pub fn cannot(&self, what: &str, error: &io::Error) -> String {
        format!("cannot {what} the catalogue {}: {error}", self.path().display())
    }
}

/// Notes in the entries until when these were `renewed`, as [`Catalogue::change_all`] does.
pub(super) fn note_renewed(entries: &mut [Entry], renewed: &[Entry]) {
    let renewed: HashMap<_, _> = renewed.iter().map(|entry| (entry.what(), entry.lease.as_ref())).collect();
    for entry in entries {
        let lease = renewed.get(&entry.what()).copied().flatten();
        if let (Some(own), Some(lease)) = (&mut entry.lease, lease)
            && own.until.is_some_and(|own| lease.until.is_none_or(|until| own <= until))
            && own.secrets.iter().all(|secret| lease.secrets.contains(secret))
        {
            (own.until, own.lasts) = (lease.until, lease.lasts);
        }
    }
}

/// Locks the file of the lock. Its holder keeps it for a moment, unless that is no program of ours, or is stopped.
fn lock(file: &File, limit: Duration) -> io::Result<()> {
    if lock_within(file, limit)? {
        return Ok(());
    }
    let reason = format!("another process holds {LOCK} beside it; end that one, which lsof names");
    Err(io::Error::new(io::ErrorKind::TimedOut, reason))
}

/// The lease that a line of ended ones names; none if it is damaged.
fn ended_by(line: &str) -> Option<LeaseId> {
    #[cfg(test)]
    tests::READ_ENDED.set(tests::READ_ENDED.get() + 1);
    checked(line)?.parse().ok()
}

#[cfg(test)]
mod tests;
