//! What a data folder promises.

use std::io::Read;

use tempfile::tempdir;

use super::*;

fn put(store: &DiskStore, bytes: &[u8]) -> Result<Key, StoreError> {
    let key = Key::of(bytes);
    let mut writer = store.begin(key, bytes.len() as u32)?;
    writer.write(bytes)?;
    writer.commit()?;
    Ok(key)
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
    let store = DiskStore::open(folder.path(), None).expect("a store");
    let keys: Vec<_> = (0..20_u8).map(|n| put(&store, &[n; 100]).expect("room")).collect();
    let mut unfinished = store.begin(Key::of(b"more"), 4).expect("room");
    unfinished.write(b"mo").expect("written");
    std::mem::forget(unfinished);
    drop(store);
    fs::write(folder.path().join("blocks/README"), "a stranger's").expect("writable");
    let store = DiskStore::open(folder.path(), None).expect("a store");
    assert_eq!(store.held().len(), 20);
    assert_eq!(store.usage(), 2000);
    assert_eq!(bytes(&store, &keys[7]), Ok(vec![7; 100]));
    assert_eq!(bytes(&store, &Key::of(b"more")), Err(StoreErrorKind::NotFound));
    assert_eq!(fs::read_dir(folder.path().join("tmp")).expect("readable").count(), 0);
}

#[test]
fn a_block_that_is_not_what_its_name_says_is_never_kept() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path(), None).expect("a store");
    let key = Key::of(b"promised");
    for (size, given) in [(8, &b"promises"[..]), (8, b"promise"), (7, b"promised")] {
        let mut writer = store.begin(key, size).expect("room");
        let written = writer.write(given).and_then(|()| writer.commit());
        assert_eq!(written.map_err(|error| error.kind()), Err(StoreErrorKind::Corrupt));
    }
    assert_eq!((store.held(), store.usage()), (Vec::new(), 0));
    assert_eq!(fs::read_dir(folder.path().join("tmp")).expect("readable").count(), 0);
}

#[test]
fn a_damaged_block_is_moved_aside_and_never_served() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path(), None).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    assert!(bytes(&store, &key).is_ok());
    fs::write(store.path(&key), b"some bites").expect("writable");
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::Damaged));
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::NotFound));
    assert!(folder.path().join("damaged").join(key.to_string()).exists());
    assert_eq!(store.usage(), 0);
    put(&store, b"some bytes").expect("it can be kept again");
    assert_eq!(bytes(&store, &key), Ok(b"some bytes".to_vec()));
    fs::remove_file(store.path(&key)).expect("removable");
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::Damaged), "somebody removed it behind our back");
}

#[test]
fn a_block_damaged_while_no_peer_ran_is_found_out_before_it_is_served() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path(), None).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    let path = store.path(&key);
    drop(store);
    fs::write(&path, b"some bites").expect("writable");
    let store = DiskStore::open(folder.path(), None).expect("a store");
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::Damaged));
}

#[test]
fn the_quota_counts_what_is_there_and_what_is_coming() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path(), Some(1000)).expect("a store");
    let key = put(&store, &[1; 600]).expect("room");
    let coming = store.begin(Key::of(b"x"), 300).expect("room");
    assert_eq!(put(&store, &[2; 101]).map_err(|error| error.kind()), Err(StoreErrorKind::Full));
    drop(coming);
    put(&store, &[2; 101]).expect("the unfinished block gave its room back");
    assert!(store.delete(&key).expect("deletable"));
    assert!(!store.delete(&key).expect("nothing to delete"));
    put(&store, &[3; 899]).expect("the deleted block gave its room back");
    assert_eq!(store.usage(), 1000);
}

#[test]
fn writers_of_the_same_block_do_not_disturb_one_another() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path(), None).expect("a store");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| put(&store, &[5; 5000]).expect("room"));
        }
    });
    assert_eq!((store.held().len(), store.usage()), (1, 5000));
    assert_eq!(bytes(&store, &Key::of(&[5; 5000])), Ok(vec![5; 5000]));
}

#[test]
fn a_folder_in_use_or_of_no_use_is_refused_with_what_to_do() {
    let folder = tempdir().expect("a folder");
    let _store = DiskStore::open(folder.path(), None).expect("a store");
    let second = DiskStore::open(folder.path(), None).expect_err("it is in use");
    assert!(second.kind() == StoreErrorKind::InUse && second.to_string().contains("--data"), "{second}");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("writable");
    let error = DiskStore::open(&file, None).expect_err("not a folder");
    assert!(error.to_string().contains("create the folder"), "{error}");
}

#[test]
fn id_and_peers_are_remembered_and_damage_to_them_is_told() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path(), None).expect("a store");
    assert!(store.load_id().expect("readable").is_none() && store.load_peers().is_empty());
    let peer = Peer::new(Id::of(b"peer"), "127.0.0.1:7000".parse().expect("an address"));
    store.save_id(&peer.id).expect("writable");
    store.save_peers(&[peer]).expect("writable");
    assert_eq!((store.load_id().expect("readable"), store.load_peers()), (Some(peer.id), vec![peer]));
    fs::write(folder.path().join("id"), "me").expect("writable");
    fs::write(folder.path().join("peers.json"), "[{").expect("writable");
    assert!(store.load_id().is_err() && store.load_peers().is_empty());
}
