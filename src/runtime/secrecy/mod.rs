//! The network key at work: where bytes enter and leave, they are opened and sealed. Without a key they pass as they
//! are.
//!
//! Datagrams go through [`Keyring`], connections through [`Stream`]. What both do to them is said in [`crate::seal`].
//!
//! To have another key, peers need not stop. The key's file lists the old and the new key, at first in this order, on
//! every peer; then the new one first, on every peer; then it alone. Each step is taken once all peers have read the
//! one before: they look at the file every [`LOOK`]. A pipe gives its keys once. Who slept meanwhile is answered, and
//! spoken to, under the key that it spoke under, while that is listed; what is begun towards one who never spoke is
//! said under each key that is listed.

mod stream;

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rand::TryRng;
use rand::rngs::SysRng;
use thiserror::Error;

use crate::locks::{self, Ranked};
use crate::recent::Recent;
use crate::runtime::clock::Clock;
use crate::runtime::sockets::canonical;
use crate::seal::{DatagramStamp, KeyError, Keys, NetworkKey};
use crate::time::Time;

pub(super) use self::stream::Stream;

/// How often the key's file is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// A key that comes through a pipe is waited for so long: somebody may have to type what opens the safe that it is in.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// What is waited for is told after this long.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// Bytes of a key file at most.
const MOST_BYTES: u64 = 1 << 16;

/// Addresses of which it is remembered under which key they spoke, while several are listed.
const MAX_SPOKEN: usize = 4096;

/// Connections whose beginning is remembered.
const MAX_BEGUN: usize = 4096;

/// The key that each connection has for itself, with which it begins.
type Ephemeral = [u8; 32];

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// The file cannot be read.
    #[error("cannot read the network key file '{path}': {error}")]
    Unreadable {
        /// The key file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What stands there are no keys.
    #[error("{place}: {error}")]
    Keys {
        /// Where it stands.
        place: String,
        /// What is wrong.
        error: KeyError,
    },
    /// The system has no randomness to give.
    #[error("the system refused randomness: {0}")]
    Randomness(io::Error),
}

/// The keys in force, and where they are read from.
pub struct Keyring {
    file: Option<PathBuf>,
    in_force: Ranked<InForce>,
    /// Begins the nonces of this process.
    session: [u8; 16],
    /// The number of the next datagram. It stands alone (`Relaxed`).
    next: AtomicU64,
}

struct InForce {
    keys: Arc<Keys>,
    /// Under which key each address spoke last, while several are listed: it may have no other.
    spoken: Recent<SocketAddr, NetworkKey, MAX_SPOKEN>,
    /// How connections began that came: one that begins so again was recorded.
    begun: Recent<Ephemeral, (), MAX_BEGUN>,
    /// What is wrong with their file, as it was told.
    wrong: Option<String>,
}

impl InForce {
    fn spoken_by(&self, addr: SocketAddr) -> Option<&NetworkKey> {
        self.spoken.get(&canonical(addr)).filter(|spoken| self.keys.all().any(|key| key == *spoken))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Keyring {
    /// The keys in a file, which is read again when it changes. What is no regular file, such as a pipe, is read once,
    /// and waited for a while.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn of_file(path: &Path) -> Result<Self, KeyringError> {
        let (file, metadata) = open(path)?;
        if file.is_terminal() {
            return Err(unreadable(path)(io::Error::other("it is a terminal; a key comes from a file or a pipe")));
        }
        let is_pipe = !(metadata.is_file() || metadata.is_dir());
        let keys = if is_pipe { read(path, Awaited::new(&file, path, WRITTEN_WITHIN)) } else { read(path, file) }?;
        if metadata.permissions().mode() & 0o077 != 0 {
            let shown = path.display();
            log::warn!("others on this machine may read the network key in '{shown}'; chmod 600 keeps them out");
        }
        Self::new(keys, metadata.is_file().then(|| path.to_owned()))
    }

    /// The keys in the text that `place` holds.
    ///
    /// # Errors
    /// It is something else.
    pub fn of_text(text: &str, place: &str) -> Result<Self, KeyringError> {
        let keys = Keys::parse(text).map_err(|error| KeyringError::Keys { place: place.to_owned(), error })?;
        Self::new(keys, None)
    }

    fn new(keys: Keys, file: Option<PathBuf>) -> Result<Self, KeyringError> {
        let (spoken, begun) = (Recent::default(), Recent::default());
        let in_force = InForce { keys: Arc::new(keys), spoken, begun, wrong: None };
        let in_force = Ranked::new(&locks::KEYS, in_force);
        Ok(Self { file, in_force, session: random()?, next: AtomicU64::new(0) })
    }

    /// The keys in force now.
    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.in_force.lock().keys)
    }

    /// The keys under which this address may understand what is said: the one that it spoke under last, and the others.
    fn keys_for(&self, to: SocketAddr) -> Vec<NetworkKey> {
        let in_force = self.in_force.lock();
        let spoken = in_force.spoken_by(to);
        let others = in_force.keys.all().filter(|key| Some(*key) != spoken);
        spoken.into_iter().chain(others).cloned().collect()
    }

    /// Seals a datagram for this address. Where that never spoke and several keys are listed, returns the datagram
    /// sealed under each of the others too.
    pub(super) fn seal(&self, to: SocketAddr, text: &mut Vec<u8>) -> Vec<Vec<u8>> {
        let (keys, spoken) = {
            let in_force = self.in_force.lock();
            (Arc::clone(&in_force.keys), in_force.spoken_by(to).cloned())
        };
        let number = || self.next.fetch_add(1, Ordering::Relaxed);
        let mut others = Vec::new();
        if spoken.is_none() {
            others.extend(keys.all().skip(1).map(|key| {
                let mut text = text.clone();
                key.seal(&self.session, number(), &mut text);
                text
            }));
        }
        spoken.as_ref().unwrap_or(keys.first()).seal(&self.session, number(), text);
        others
    }

    /// Opens a datagram with any of the keys in force.
    pub(super) fn open(&self, datagram: &[u8], text: &mut Vec<u8>) -> Option<(DatagramStamp, NetworkKey)> {
        self.keys().open(datagram, text)
    }

    /// This address understands this key: it spoke under it, in words that are new, or took a connection.
    pub(super) fn heard(&self, from: SocketAddr, key: NetworkKey) {
        let mut in_force = self.in_force.lock();
        if in_force.keys.all().nth(1).is_some() {
            in_force.spoken.insert(canonical(from), key);
        }
    }

    /// Whether a connection begins so for the first time, as far as is remembered.
    pub(super) fn is_new(&self, begun: Ephemeral) -> bool {
        let mut in_force = self.in_force.lock();
        let new = !in_force.begun.contains(&begun);
        in_force.begun.insert(begun, ());
        new
    }

    /// Whether there is a file to look at.
    pub(super) fn is_watched(&self) -> bool {
        self.file.is_some()
    }

    /// Reads the file again. Where that fails, the keys stay that are in force, and what is wrong is told once.
    pub(super) fn look(&self) {
        let Some(path) = &self.file else { return };
        let wrong = match read_again(path) {
            Ok(keys) => {
                let keys = Arc::new(keys);
                let before = std::mem::replace(&mut self.in_force.lock().keys, Arc::clone(&keys));
                if !before.all().eq(keys.all()) {
                    log::warn!("the network keys have changed; in force now: {keys:?}");
                }
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let told = std::mem::replace(&mut self.in_force.lock().wrong, wrong.clone());
        if let Some(reason) = wrong.as_ref().filter(|_| wrong != told) {
            log::warn!("the network keys stay as they were: {reason}");
        }
    }
}

/// Opens what stands there now, without a wait: a pipe has nobody who writes to it, perhaps.
fn open(path: &Path) -> Result<(File, Metadata), KeyringError> {
    let file = File::options().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path);
    file.and_then(|file| Ok((file.metadata()?, file))).map(|(there, file)| (file, there)).map_err(unreadable(path))
}

/// Reads a file that was a regular one. What stands there now is never waited for.
fn read_again(path: &Path) -> Result<Keys, KeyringError> {
    let (file, there) = open(path)?;
    if !there.is_file() {
        return Err(unreadable(path)(io::Error::other("it is no regular file any longer")));
    }
    read(path, file)
}

fn read(path: &Path, from: impl Read) -> Result<Keys, KeyringError> {
    let mut text = String::new();
    let len = from.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(unreadable(path))?;
    if len as u64 > MOST_BYTES {
        return Err(unreadable(path)(io::Error::other(format!("it has more than {MOST_BYTES} bytes"))));
    }
    let place = format!("the network key file '{}'", path.display());
    Keys::parse(&text).map_err(|error| KeyringError::Keys { place, error })
}

/// A pipe, or another thing of which nobody knows when it has a key to give. It is waited for with a word and a limit.
struct Awaited<'a> {
    file: &'a File,
    path: &'a Path,
    within: Duration,
    clock: Clock,
    told: bool,
}

impl<'a> Awaited<'a> {
    fn new(file: &'a File, path: &'a Path, within: Duration) -> Self {
        Self { file, path, within, clock: Clock::start(), told: false }
    }
}

impl Read for Awaited<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.within.saturating_sub(self.clock.now().since(Time::ZERO));
            let wait = if self.told { left } else { left.min(TOLD_AFTER) };
            let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)) {
                Ok(0) if left.is_zero() => {
                    let reason =
                        format!("the key, and the end after it, were not written there within {:?}", self.within);
                    return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
                }
                Ok(0) if !self.told => {
                    let (path, within) = (self.path.display(), self.within);
                    log::warn!(
                        "waiting for the network key: '{path}' has yet to be written to its end, within {within:?}"
                    );
                    self.told = true;
                }
                Ok(0) | Err(Errno::EINTR) => {}
                polled => {
                    polled?;
                    match self.file.read(bytes) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        read => return read,
                    }
                }
            }
        }
    }
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> KeyringError {
    move |error| KeyringError::Unreadable { path: path.to_owned(), error }
}

fn random<const N: usize>() -> Result<[u8; N], KeyringError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| KeyringError::Randomness(io::Error::other(error)))?;
    Ok(bytes)
}

/// A key that nobody has had before.
///
/// # Errors
/// The system has no randomness to give.
pub fn new_key() -> Result<NetworkKey, KeyringError> {
    random().map(NetworkKey::from_bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_writes_to_its_end_is_given_up() {
        let key = new_key().expect("a key").digits();
        for written in ["", &key] {
            let (from, mut to) = io::pipe().expect("a pipe");
            to.write_all(written.as_bytes()).expect("it has room");
            let (path, file) = (Path::new("a pipe"), File::from(OwnedFd::from(from)));
            let given_up = read(path, Awaited::new(&file, path, Duration::ZERO)).expect_err("it has no end");
            assert!(given_up.to_string().contains("were not written there within 0ns"), "{given_up}");
        }
    }

    #[test]
    fn an_address_that_never_spoke_is_told_under_each_listed_key_and_one_that_did_under_its_own_alone() {
        let [new, old] = [(); 2].map(|()| new_key().expect("a key"));
        let listed = |keys: &[&NetworkKey]| {
            let lines: Vec<String> = keys.iter().map(|key| key.digits()).collect();
            Keyring::of_text(&lines.join("\n"), "a test").expect("keys")
        };
        let (rotating, to) = (listed(&[&new, &old]), SocketAddr::from(([10, 0, 0, 1], 7000)));
        let opened_by = |keys: &[&NetworkKey]| {
            let mut sealed = vec![b"hello".to_vec()];
            let others = rotating.seal(to, &mut sealed[0]);
            sealed.extend(others);
            let opens = |datagram: &Vec<u8>| listed(keys).open(datagram, &mut Vec::new()).is_some();
            (sealed.len(), sealed.iter().filter(|datagram| opens(datagram)).count())
        };
        assert_eq!((opened_by(&[&new]), opened_by(&[&old])), ((2, 1), (2, 1)));
        rotating.heard(to, old.clone());
        assert_eq!((opened_by(&[&new]), opened_by(&[&old])), ((1, 0), (1, 1)));
        rotating.heard(to, new.clone());
        assert_eq!((opened_by(&[&new]), opened_by(&[&old])), ((1, 1), (1, 0)));
    }
}
