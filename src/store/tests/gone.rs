//! Folders that somebody removes or takes away while a peer uses them.

use super::*;

#[test]
fn a_folder_inside_that_somebody_removed_is_made_again_when_it_is_needed() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    ["damaged", "tmp"].iter().for_each(|name| fs::remove_dir_all(folder.path().join(name)).expect("removable"));
    damage(&store.path(&key), b"some bites");
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::Damaged));
    assert!(folder.path().join("damaged").join(key.to_string()).exists());
    put(&store, b"some bytes").expect("it can be kept again");
    fs::remove_dir_all(folder.path().join("tmp")).expect("removable");
    store.save_peers(&[]).expect("it can be written");
}

#[test]
fn what_is_in_a_folder_that_is_gone_counts_again_once_it_is_back_and_another_in_its_place_is_left_alone() {
    let outer = tempdir().expect("a folder");
    let [here, away] = ["here", "away"].map(|name| outer.path().join(name));
    let store = DiskStore::open(&here).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    fs::rename(&here, &away).expect("movable");
    let assert_gone = || {
        assert_eq!(bytes(&store, &key), Err(StoreErrorKind::Io), "it is not lost, but cannot be read");
        let refused = [put(&store, b"other").map(|_| ()), store.note(&[], true).and_then(|()| store.save_peers(&[]))];
        refused.iter().for_each(|result| assert!(matches!(result, Err(StoreError::Gone(_))), "{result:?}"));
    };
    assert_gone();
    let other = DiskStore::open(&here).expect("another peer's");
    assert_gone();
    assert_eq!(held(&other), []);
    drop(other);
    fs::remove_dir_all(&here).expect("removable");
    fs::rename(&away, &here).expect("movable");
    assert_eq!(bytes(&store, &key), Ok(b"some bytes".to_vec()));
    put(&store, b"other").expect("it is back");
}

#[test]
fn a_block_is_not_called_lost_while_the_folder_of_all_blocks_is_away() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let key = put(&store, b"some bytes").expect("room");
    let [here, away] = ["blocks", "away"].map(|name| folder.path().join(name));
    fs::rename(&here, &away).expect("movable");
    assert_eq!(bytes(&store, &key), Err(StoreErrorKind::Io));
    fs::rename(&away, &here).expect("movable");
    assert_eq!(bytes(&store, &key), Ok(b"some bytes".to_vec()));
}

#[test]
fn a_folder_without_a_name_is_refused_before_anything_is_written_to_the_working_directory() {
    let refused = DiskStore::open("".as_ref()).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(refused, Err(StoreErrorKind::Unusable));
    assert!(!Path::new("blocks").exists() && !Path::new("lock").exists());
}
