//! What a data folder promises.

mod fault;
mod gone;

use std::io::Read;
use std::time::SystemTime;

use tempfile::tempdir;

pub(super) use self::fault::DiskFault;
use super::*;
use crate::config::MAX_BLOCK_SIZE;
use crate::id::Id;
use crate::peer::Peer;

/// Puts other bytes in a block's file, as a failing disk or a curious person would; the file's time shows it even where
/// the file system's clock has not moved since.
fn damage(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("writable");
    let file = File::options().append(true).open(path).expect("it is there");
    file.set_modified(SystemTime::UNIX_EPOCH).expect("writable");
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).expect("readable").count()
}

fn put(store: &DiskStore, bytes: &[u8]) -> Result<Key, StoreError> {
    let key = Key::of(bytes);
    let mut writer = store.begin(key, bytes.len() as u32)?;
    writer.write(bytes)?;
    writer.commit()?;
    Ok(key)
}

fn held(store: &DiskStore) -> Vec<(Key, u32)> {
    store.scan().expect("readable")
}

fn bytes(store: &DiskStore, key: &Key) -> Result<Vec<u8>, StoreErrorKind> {
    let mut block = store.read(key).map_err(|error| error.kind())?;
    let mut bytes = Vec::new();
    block.file.read_to_end(&mut bytes).expect("it is open");
    assert_eq!(bytes.len(), block.size as usize);
    Ok(bytes)
}

#[test]
fn blocks_are_there_again_after_a_restart_and_leftovers_are_not() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let keys: Vec<_> = (0..20_u8).map(|n| put(&store, &[n; 100]).expect("room")).collect();
    let mut unfinished = store.begin(Key::of(b"more"), 4).expect("room");
    unfinished.write(b"mo").expect("written");
    std::mem::forget(unfinished);
    drop(store);
    let store = DiskStore::open(folder.path()).expect("a store");
    let mut expected: Vec<_> = keys.iter().map(|key| (*key, 100)).collect();
    expected.sort_unstable();
    assert_eq!(held(&store), expected);
    assert_eq!(bytes(&store, &keys[7]), Ok(vec![7; 100]));
    assert_eq!(bytes(&store, &Key::of(b"more")), Err(StoreErrorKind::NotFound));
    assert_eq!(files_in(&folder.path().join("tmp")), 0);
}

#[test]
fn a_block_that_is_not_what_its_name_says_is_never_kept() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = Key::of(b"promised");
    for (size, given) in [(8, &b"promises"[..]), (8, b"promise"), (7, b"promised")] {
        let mut writer = store.begin(key, size).expect("room");
        let written = writer.write(given).and_then(|()| writer.commit());
        assert_eq!(written.map_err(|error| error.kind()), Err(StoreErrorKind::Corrupt));
    }
    assert_eq!(held(&store), []);
    assert_eq!(files_in(&folder.path().join("tmp")), 0);
}

#[test]
fn a_damaged_block_is_moved_aside_and_never_served() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    assert!(bytes(&store, &key).is_ok());
    damage(&store.path(&key), b"some bites");
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::Damaged));
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::NotFound));
    assert!(folder.path().join("damaged").join(key.to_string()).exists());
    put(&store, b"some bytes").expect("it can be kept again");
    assert_eq!(bytes(&store, &key), Ok(b"some bytes".to_vec()));
    assert!(store.found_damaged(&key));
    store.delete(&key).expect("deletable");
    assert!(!store.found_damaged(&key), "nobody is told of a block that nobody wants any longer");
}

/// The stamp of a file that rots under the file system does not change.
#[test]
fn a_block_is_hashed_anew_whatever_is_known_of_its_file() {
    let folder = tempdir().expect("a temporary folder");
    let store = DiskStore::open(folder.path()).expect("it is empty");
    let key = put(&store, b"a block").expect("it fits");
    assert_eq!(store.rehash(&key).expect("it is sound"), 7);
    let path = store.path(&key);
    fs::write(&path, b"A block").expect("it is ours");
    store.verified.add(&key, &FileStamp::of(&fs::metadata(&path).expect("it is there")));
    assert!(store.read(&key).is_ok(), "its file looks as if it had been hashed");
    assert_eq!(store.rehash(&key).expect_err("it is not what its name says").kind(), StoreErrorKind::Damaged);
    assert_eq!(files_in(&folder.path().join("damaged")), 1);
}

#[test]
fn what_is_no_file_under_a_blocks_name_is_damage_and_is_not_waited_for() {
    let folder = tempdir().unwrap();
    let store = DiskStore::open(folder.path()).unwrap();
    let keys = ["pipe", "link", "folder"].map(|text| put(&store, text.as_bytes()).unwrap());
    for key in &keys {
        fs::remove_file(store.path(key)).unwrap();
    }
    nix::unistd::mkfifo(&store.path(&keys[0]), nix::sys::stat::Mode::S_IRUSR).unwrap();
    std::os::unix::fs::symlink("/dev/zero", store.path(&keys[1])).unwrap();
    fs::create_dir(store.path(&keys[2])).unwrap();
    for key in &keys {
        assert_eq!(bytes(&store, key), Err(StoreErrorKind::Damaged));
        assert_eq!(bytes(&store, key), Err(StoreErrorKind::NotFound));
    }
    assert_eq!(files_in(&folder.path().join("damaged")), 3);
}

#[test]
fn a_block_damaged_while_no_peer_ran_is_found_out_before_it_is_served() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    let path = store.path(&key);
    drop(store);
    fs::write(&path, b"some bites").expect("writable");
    let store = DiskStore::open(folder.path()).expect("a store");
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::Damaged));
}

#[test]
fn writers_of_the_same_block_do_not_disturb_one_another() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| put(&store, &[5; 5000]).expect("room"));
        }
    });
    assert_eq!(held(&store), [(Key::of(&[5; 5000]), 5000)]);
    assert_eq!(bytes(&store, &Key::of(&[5; 5000])), Ok(vec![5; 5000]));
}

#[test]
fn only_whole_blocks_in_their_own_folder_are_taken_up_and_nothing_else_is_touched() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    let (own, name) = (store.path(&key), key.to_string());
    drop(store);
    let blocks = folder.path().join("blocks");
    let large = blocks.join("ab").join("ab".repeat(32));
    let strange = [
        blocks.join("README"),
        blocks.join(&name),
        own.with_file_name("notes.txt"),
        own.with_file_name(name.to_uppercase()),
        blocks.join(&name[..1]).join(&name),
        blocks.join("ff").join(&name),
        folder.path().join("tmp/unfinished/business"),
        large.clone(),
    ];
    for path in &strange {
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("writable");
        fs::write(path, "a stranger's").expect("writable");
    }
    let file = File::options().write(true).open(large).expect("it is there");
    file.set_len(u64::from(MAX_BLOCK_SIZE) + 1).expect("room");
    std::os::unix::fs::symlink(&own, blocks.join("ab").join("ab".repeat(31) + "00")).expect("writable");
    let store = DiskStore::open(folder.path()).expect("a store");
    assert_eq!(held(&store), [(key, 10)]);
    assert!(strange.iter().all(|path| path.exists()));
}

#[test]
fn a_block_half_written_is_seen_by_nobody() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = Key::of(b"promised");
    let mut writer = store.begin(key, 8).expect("room");
    for byte in b"promised" {
        assert_eq!(held(&store), []);
        assert_eq!(bytes(&store, &key), Err(StoreErrorKind::NotFound));
        writer.write(&[*byte]).expect("written");
    }
    assert!(!store.path(&key).exists());
    writer.commit().expect("it is whole");
    assert_eq!(bytes(&store, &key), Ok(b"promised".to_vec()));
    assert_eq!(store.begin(key, MAX_BLOCK_SIZE + 1).map_err(|error| error.kind()).err(), Some(StoreErrorKind::Corrupt));
}

#[test]
fn a_block_is_renewed_over_the_copy_that_is_there() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = put(&store, &[1; 100]).expect("room");
    let mut renewal = store.begin(key, 100).expect("room");
    renewal.write(&[1; 100]).expect("written");
    store.delete(&key).expect("deletable");
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::NotFound));
    store.delete(&key).expect("nothing to delete");
    renewal.commit().expect("it is whole");
    put(&store, &[1; 100]).expect("room");
    assert_eq!((held(&store), bytes(&store, &key)), (vec![(key, 100)], Ok(vec![1; 100])));
}

#[test]
fn writing_reading_deleting_and_damage_at_once_never_serve_a_wrong_byte_nor_lose_a_good_one() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let contents: Vec<Vec<u8>> = (0..4_u8).map(|n| vec![n; 1000 + usize::from(n)]).collect();
    std::thread::scope(|scope| {
        for content in &contents {
            let (store, key) = (&store, Key::of(content));
            let spoil = folder.path().join(key.to_string());
            for _ in 0..2 {
                scope.spawn(move || (0..20).for_each(|_| drop(put(store, content))));
            }
            scope.spawn(move || (0..60).for_each(|_| store.delete(&key).expect("deletable")));
            scope.spawn(move || {
                for _ in 0..60 {
                    fs::write(&spoil, b"spoilt").expect("writable");
                    drop(fs::rename(&spoil, store.path(&key)));
                }
            });
            scope.spawn(move || {
                for _ in 0..60 {
                    match bytes(store, &key) {
                        Ok(read) => assert_eq!(&read, content),
                        Err(error) => assert!([StoreErrorKind::NotFound, StoreErrorKind::Damaged].contains(&error)),
                    }
                }
            });
        }
    });
    for content in &contents {
        put(&store, content).expect("room");
        assert_eq!(bytes(&store, &Key::of(content)), Ok(content.clone()));
        store.delete(&Key::of(content)).expect("deletable");
    }
    assert_eq!(held(&store), []);
    assert_eq!(files_in(&folder.path().join("tmp")), 0);
}

#[test]
fn a_copy_that_took_the_place_of_a_damaged_one_is_not_taken_away_in_its_stead() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    let (path, aside) = (store.path(&key), folder.path().join("damaged").join("aside"));
    let seen = FileStamp::of(&fs::symlink_metadata(&path).expect("there"));
    put(&store, b"some bytes").expect("room");
    assert!(!store.take_away(&path, &seen, &aside).expect("it is there"), "another copy is there by now");
    assert!(!aside.exists());
    assert_eq!(bytes(&store, &key), Ok(b"some bytes".to_vec()));
}

#[test]
fn a_block_that_was_deleted_is_not_reported_as_damaged() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    let mut reader = store.read(&key).expect("it is there");
    store.delete(&key).expect("deletable");
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::NotFound));
    let mut read = Vec::new();
    reader.file.read_to_end(&mut read).expect("who was reading reads on");
    assert_eq!(read, b"some bytes");
}

#[test]
fn a_folder_of_blocks_that_somebody_removed_is_made_again() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    fs::remove_dir_all(store.bin(key.as_bytes()[0])).expect("removable");
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::NotFound), "it is lost");
    put(&store, b"some bytes").expect("there is a folder again");
    assert_eq!(bytes(&store, &key), Ok(b"some bytes".to_vec()));
}

#[test]
fn a_store_of_many_blocks_is_found_again_whole() {
    let folder = tempdir().expect("a folder");
    drop(DiskStore::open(folder.path()).expect("a store"));
    let keys: Vec<Key> = (0..5000_u32).map(|n| Key::of(&n.to_be_bytes())).collect();
    for key in &keys {
        let name = key.to_string();
        let bin = folder.path().join("blocks").join(&name[..2]);
        fs::create_dir_all(&bin).expect("writable");
        fs::write(bin.join(name), &key.as_bytes()[..=usize::from(key.as_bytes()[1]) % 32]).expect("writable");
    }
    let store = DiskStore::open(folder.path()).expect("a store");
    let mut expected: Vec<_> = keys.iter().map(|key| (*key, u32::from(key.as_bytes()[1]) % 32 + 1)).collect();
    expected.sort_unstable();
    assert!(held(&store) == expected, "another list of {} blocks", expected.len());
}

#[test]
fn a_block_that_a_power_cut_emptied_is_moved_aside_at_the_start() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let (key, empty) = (put(&store, b"some bytes").expect("room"), put(&store, &[]).expect("room"));
    fs::write(store.path(&key), "").expect("writable");
    drop(store);
    let store = DiskStore::open(folder.path()).expect("a store");
    assert_eq!(held(&store), [(empty, 0)], "the empty block is empty by right");
    assert!(!store.path(&key).exists() && folder.path().join("damaged").join(key.to_string()).exists());
}

#[test]
fn a_folder_that_was_in_use_loses_nothing_but_our_own_leftovers() {
    let folder = tempdir().expect("a folder");
    let tmp = folder.path().join("tmp");
    fs::create_dir(&tmp).expect("writable");
    for name in ["7.part", "letter.txt", "12", "x.part", ".part"] {
        fs::write(tmp.join(name), name).expect("writable");
    }
    drop(DiskStore::open(folder.path()).expect("a store"));
    let mut left: Vec<_> = fs::read_dir(&tmp).expect("there").map(|file| file.expect("readable").file_name()).collect();
    left.sort_unstable();
    assert_eq!(left, [".part", "12", "letter.txt", "x.part"]);
}

#[test]
fn a_folder_in_use_or_of_no_use_is_refused_with_what_to_do() {
    let folder = tempdir().expect("a folder");
    let first = DiskStore::open(folder.path()).expect("a store");
    let second = DiskStore::open(folder.path()).expect_err("it is in use");
    assert!(second.kind() == StoreErrorKind::InUse && second.to_string().contains("--data"), "{second}");
    fs::remove_file(folder.path().join("lock")).expect("it is there");
    let second = DiskStore::open(folder.path()).expect_err("whatever was removed meanwhile");
    assert_eq!(second.kind(), StoreErrorKind::InUse);
    let file = folder.path().join("file");
    fs::write(&file, "").expect("writable");
    let error = DiskStore::open(&file).expect_err("not a folder");
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(error.to_string().contains("not a directory") && error.to_string().contains("--data"), "{error}");
    fs::remove_dir(folder.path().join("blocks")).expect("it is empty");
    fs::write(folder.path().join("blocks"), "").expect("writable");
    drop(first);
    let error = DiskStore::open(folder.path()).expect_err("there can be no blocks");
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
}

#[test]
fn id_and_peers_are_remembered_and_damage_to_them_is_told() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    assert!(store.load_id().expect("readable").is_none() && store.load_peers().is_empty());
    let peer = Peer::new(Id::of(b"peer"), "127.0.0.1:7000".parse().expect("an address"));
    store.save_id(&peer.id).expect("writable");
    store.save_peers(&[peer]).expect("writable");
    assert_eq!((store.load_id().expect("readable"), store.load_peers()), (Some(peer.id), vec![peer]));
    let older = Id::of(b"other");
    fs::write(folder.path().join("id"), format!("{older}\n")).expect("writable");
    assert_eq!(store.load_id().expect("readable"), Some(older));
    store.save_id(&peer.id).expect("writable");
    let written = fs::read_to_string(folder.path().join("id")).expect("there");
    let digit = if written.starts_with('0') { "1" } else { "0" };
    fs::write(folder.path().join("id"), format!("{digit}{}", &written[1..])).expect("writable");
    assert!(store.load_id().is_err(), "another digit, and another id");
    fs::write(folder.path().join("id"), "me").expect("writable");
    fs::write(folder.path().join("peers.json"), "[{").expect("writable");
    assert!(store.load_id().is_err() && store.load_peers().is_empty());
}

#[test]
fn a_store_of_nowhere_has_nothing_and_takes_nothing() {
    let store = DiskStore::nowhere();
    assert_eq!(store.scan().expect("nothing is found"), []);
    assert_eq!((store.load_id().expect("none"), store.load_peers()), (None, Vec::new()));
    store.save_id(&Id::ZERO).expect("it is of no use to anybody");
    store.save_peers(&[]).expect("it is of no use to anybody");
    assert!(store.begin(Key::of(b"x"), 1).is_err());
    assert_eq!(store.read(&Key::of(b"x")).map(|_| ()).map_err(|error| error.kind()), Err(StoreErrorKind::NotFound));
}
