//! The network key at work: where bytes enter and leave, they are opened and sealed. Without a key they pass as they
//! are.
//!
//! Datagrams go through [`Keyring`], connections through [`Stream`]. What both do to them is said in [`crate::seal`].
//!
//! To have another key, peers need not stop. The key's file lists the old and the new key, at first in this order, on
//! every peer; then the new one first, on every peer; then it alone. Each step is taken once all peers have read the
//! one before: they look at the file every [`KEY_CHECKED`]. A pipe gives its keys once. A peer that slept meanwhile is
//! answered, and spoken to, under the key that it spoke under, while that is listed; what is begun towards a peer that
//! never spoke is said under each key that is listed.

mod stream;

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use thiserror::Error;

use crate::locks::{self, Ranked};
use crate::recent::Recent;
use crate::runtime::sockets::canonical;
use crate::seal::{DatagramStamp, KeyError, Keys, NetworkKey};
use crate::whole_file;

pub(super) use self::stream::Stream;

/// How often the key's file is looked at.
pub(super) const KEY_CHECKED: Duration = Duration::from_secs(1);

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
        /// Where the keys were read from, in words.
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
    /// How connections began that came: a connection that begins so again was recorded.
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
        let metadata = fs::metadata(path).map_err(unreadable(path))?;
        let keys = parse(path, whole_file::read(path, MOST_BYTES, &|told| log::warn!("{told}")))?;
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
        let wrong = match parse(path, whole_file::read_own(path, MOST_BYTES)) {
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

fn parse(path: &Path, read: io::Result<Vec<u8>>) -> Result<Keys, KeyringError> {
    let text = whole_file::text(read).map_err(unreadable(path))?;
    let place = format!("the network key file '{}'", path.display());
    Keys::parse(&text).map_err(|error| KeyringError::Keys { place, error })
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> KeyringError {
    move |error| KeyringError::Unreadable { path: path.to_owned(), error }
}

fn random<const N: usize>() -> Result<[u8; N], KeyringError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| KeyringError::Randomness(io::Error::other(error)))?;
    Ok(bytes)
}

/// A key that no network has had before.
///
/// # Errors
/// The system has no randomness to give.
pub fn new_key() -> Result<NetworkKey, KeyringError> {
    random().map(NetworkKey::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

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
