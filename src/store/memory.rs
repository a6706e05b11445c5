//! What a peer remembers from one run to the next: its id, and other peers.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::{DiskStore, StoreError};
use crate::id::Id;
use crate::lease::UnixTime;
use crate::peer::Peer;
use crate::sums::{checked, with_sum};
use crate::whole_file;

const PEERS: &str = "peers.json";

/// Whether the peer whose data is in `folder` remembers other peers from its last run.
pub fn remembers_peers(folder: &Path) -> bool {
    whole_file::read_own(&folder.join(PEERS), whole_file::MAX_GROWING_FILE)
        .is_ok_and(|text| !parse_peers(&text).0.is_empty())
}

/// The peers in such a file, and how many of its lines are not as they were written. A peer is a line with a sum, and
/// the whole is a list in JSON; the file of an older program is such a list too, without sums.
fn parse_peers(text: &[u8]) -> (Vec<Peer>, usize) {
    if let Ok(peers) = serde_json::from_slice(text)
        && !text.windows(SUM.len()).any(|part| part == SUM)
    {
        return (peers, 0);
    }
    let (mut peers, mut damaged) = (Vec::new(), 0);
    for line in text.split(|byte| *byte == b'\n').filter(|line| ![&b"["[..], b"]", b""].contains(line)) {
        let line = line.strip_suffix(b",").unwrap_or(line);
        let whole = std::str::from_utf8(line).ok().filter(|line| line.contains("\"sum\"")).and_then(checked);
        match whole.and_then(|line| serde_json::from_str(line).ok()) {
            Some(peer) => peers.push(peer),
            None => damaged += 1,
        }
    }
    (peers, damaged)
}

/// A file that is not of an older program has this.
const SUM: &[u8] = b"\"sum\"";

impl DiskStore {
    /// The id of this folder's peer, if it has run before.
    ///
    /// # Errors
    /// [`StoreError::BadId`], or the system refuses to read the file.
    pub fn load_id(&self) -> Result<Option<Id>, StoreError> {
        let path = self.folder.join("id");
        match whole_file::text(whole_file::read_own(&path, whole_file::MAX_SMALL_FILE)) {
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

    /// The peers that this folder's peer knew in its last run, as far as the file can be read. A damaged file is set
    /// aside.
    pub fn load_peers(&self) -> Vec<Peer> {
        let path = self.folder.join(PEERS);
        let text = match whole_file::read_own(&path, whole_file::MAX_GROWING_FILE) {
            Ok(text) if text.is_empty() => {
                log::warn!("'{}' was emptied; starting without remembered peers", path.display());
                return Vec::new();
            }
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                log::warn!("cannot read '{}': {error}; starting without remembered peers", path.display());
                return Vec::new();
            }
        };
        let (peers, damaged) = parse_peers(&text);
        if damaged > 0 {
            let aside = self.set_aside(PEERS).and_then(|aside| self.save_peers(&peers).map(|()| aside));
            let kept =
                aside.map_or_else(|error| error.to_string(), |aside| format!("it is kept as '{}'", aside.display()));
            let (path, left) = (path.display(), peers.len());
            log::warn!(
                "{damaged} lines of '{path}' cannot be read ({kept}); starting with the {left} peers in the others"
            );
        }
        peers
    }

    /// Remembers peers for the next start.
    ///
    /// # Errors
    /// The system refuses to write the file.
    pub fn save_peers(&self, peers: &[Peer]) -> Result<(), StoreError> {
        let lines: Result<Vec<String>, _> =
            peers.iter().map(|peer| serde_json::to_string(peer).map(|line| with_sum(&line))).collect();
        let lines = lines.map_err(|error| StoreError::on("write", self.folder.join(PEERS))(io::Error::other(error)))?;
        self.replace(PEERS, format!("[\n{}\n]\n", lines.join(",\n")).as_bytes())
    }

    /// When a peer ran in this folder last, before this store was opened, in seconds since 1970, as far as its files
    /// tell; 0 if they do not.
    pub fn ran(&self) -> UnixTime {
        self.ran
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
        self.with_folder("tmp", replace).map_err(self.failed("write", &path))
    }
}

/// When a peer ran in this folder last, as its files are now: see [`DiskStore::ran`].
pub(super) fn ran(folder: &Path, lock: &File) -> UnixTime {
    let others = ["tmp", PEERS, "leases"].map(|name| fs::metadata(folder.join(name)));
    others.into_iter().chain([lock.metadata()]).filter_map(|there| changed(&there.ok()?)).max().unwrap_or(0)
}

/// When a file was changed last.
pub(super) fn changed(file: &fs::Metadata) -> Option<UnixTime> {
    Some(file.modified().ok()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
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

    /// Each bit of the file.
    #[test]
    fn a_flipped_bit_in_the_list_of_peers_costs_that_peer_at_most_and_makes_up_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = DiskStore::open(folder.path()).expect("a store");
        let path = folder.path().join(PEERS);
        let peers = [b"1", b"2"].map(|name| Peer::new(crate::id::Id::of(name), ([10, 0, 0, name[0]], 7000).into()));
        store.save_peers(&peers).expect("writable");
        let written = fs::read(&path).expect("there");
        serde_json::from_slice::<Vec<Peer>>(&written).expect("older programs read it");
        for at in 0..written.len() * 8 {
            let mut bytes = written.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            let (read, damaged) = parse_peers(&bytes);
            assert!(read.iter().all(|peer| peers.contains(peer)), "bit {at}: {read:?}");
            assert!(damaged > 0 || read == peers, "bit {at}: what is lost is told");
        }
        let mut bytes = written.clone();
        bytes[10] ^= 1;
        fs::write(&path, &bytes).expect("writable");
        assert_eq!(store.load_peers(), peers[1..]);
        assert_eq!(fs::read(folder.path().join("peers.json.damaged-1")).expect("it is set aside"), bytes);
        assert_eq!(store.load_peers(), peers[1..]);
        assert!(!folder.path().join("peers.json.damaged-2").exists());
        // An older program's.
        fs::write(&path, serde_json::to_vec_pretty(&peers).expect("it is JSON")).expect("writable");
        assert_eq!(store.load_peers(), peers);
        store.save_peers(&[]).expect("writable");
        assert!(store.load_peers().is_empty() && !remembers_peers(folder.path()));
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
        // What a killed peer left behind is removed, and that is no sign of life.
        let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let leftover = folder.path().join("tmp").join("7.part");
        fs::write(&leftover, "half").expect("writable");
        for name in ["tmp", "lock"] {
            File::open(folder.path().join(name)).expect("there").set_modified(long_ago).expect("it is ours");
        }
        assert_eq!(DiskStore::open(folder.path()).expect("a store").ran(), 1_000_000);
        assert!(!leftover.exists());
    }
}
