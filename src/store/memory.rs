//! What a peer remembers from one run to the next: its id, and other peers.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{DiskStore, StoreError};
use crate::id::Id;
use crate::lease::UnixTime;
use crate::peer::Peer;
use crate::sums::{checked, with_sum};

/// Whether the peer whose data is in `folder` remembers other peers from its last run.
pub fn remembers_peers(folder: &Path) -> bool {
    !peers_in(folder).is_empty()
}

fn peers_in(folder: &Path) -> Vec<Peer> {
    let path = folder.join("peers.json");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            log::warn!("cannot read '{}': {error}; starting without remembered peers", path.display());
            return Vec::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        log::warn!("'{}' is damaged ({error}); starting without remembered peers", path.display());
        Vec::new()
    })
}

impl DiskStore {
    /// The id of this folder's peer, if it has run before.
    ///
    /// # Errors
    /// [`StoreError::BadId`], or the system refuses to read the file.
    pub fn load_id(&self) -> Result<Option<Id>, StoreError> {
        let path = self.folder.join("id");
        match fs::read_to_string(&path) {
            Ok(text) => match checked(text.trim()).and_then(|text| text.parse().ok()) {
                Some(id) => Ok(Some(id)),
                None => Err(StoreError::BadId(path)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(StoreError::BadId(path)),
            Err(error) => Err(StoreError::on("read", path)(error)),
        }
    }

    /// Remembers the id of this folder's peer.
    ///
    /// # Errors
    /// The system refuses to write the file.
    pub fn save_id(&self, id: &Id) -> Result<(), StoreError> {
        self.replace("id", (with_sum(&id.to_string()) + "\n").as_bytes())
    }

    /// The peers that this folder's peer knew in its last run; none if the file cannot be read.
    pub fn load_peers(&self) -> Vec<Peer> {
        peers_in(&self.folder)
    }

    /// Remembers peers for the next start.
    ///
    /// # Errors
    /// The system refuses to write the file.
    pub fn save_peers(&self, peers: &[Peer]) -> Result<(), StoreError> {
        let text = serde_json::to_vec_pretty(peers)
            .map_err(|error| StoreError::on("write", self.folder.join("peers.json"))(io::Error::other(error)))?;
        self.replace("peers.json", &text)
    }

    /// When a peer ran in this folder last, in seconds since 1970, as far as its files tell; 0 if they do not.
    pub fn ran(&self) -> UnixTime {
        let Some(lock) = &self.lock else { return 0 };
        let others = ["tmp", "peers.json", "leases"].map(|name| fs::metadata(self.folder.join(name)));
        let changed = others.into_iter().chain([lock.metadata()]).filter_map(|there| there.ok()?.modified().ok());
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        changed.map(seconds).max().unwrap_or(0)
    }

    /// A peer runs in this folder at this time, since 1970. That it cannot be noted changes nothing.
    pub fn runs(&self, now: Duration) {
        let _ = self.lock.as_ref().map(|lock| lock.set_modified(UNIX_EPOCH + now));
    }

    /// Replaces a small file atomically and durably.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if self.lock.is_none() {
            return Ok(());
        }
        self.be_here()?;
        let (path, temporary) = (self.folder.join(name), self.temporary_path());
        let replace = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        match replace() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.remake("tmp") => replace(),
            replaced => replaced,
        }
        .map_err(self.failed("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::id::Key;
    use crate::lease::Note;

    #[test]
    fn a_folder_that_was_removed_is_noticed_by_the_first_that_misses_a_file() {
        let key = Key::of(b"x");
        let doors: [fn(&DiskStore, Key) -> bool; 4] = [
            |store, key| store.begin(key, 1).is_err(),
            |store, key| store.read(&key).is_err(),
            |store, _| store.save_peers(&[]).is_err(),
            |store, key| store.note(&[Note::Laid { key, leases: Vec::new() }], false).is_err(),
        ];
        for fails in doors {
            let folder = tempfile::tempdir().expect("a folder");
            let store = DiskStore::open(&folder.path().join("data")).expect("it opens");
            assert!(store.read(&key).is_err());
            assert!(!store.gone.load(Ordering::Relaxed), "a block that was never here is no sign of it");
            std::fs::remove_dir_all(folder.path()).expect("ours");
            assert!(fails(&store, key));
            assert!(store.gone.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn the_folder_tells_when_a_peer_ran_in_it_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = DiskStore::open(folder.path()).expect("a store");
        let (made, later) = (store.ran(), store.ran() + 1_000_000);
        assert!(made > 0);
        store.runs(Duration::from_secs(later));
        drop(store);
        assert_eq!(DiskStore::open(folder.path()).expect("a store").ran(), later);
    }
}
