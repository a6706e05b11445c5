//! A disk that refuses.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::errno::Errno;
use tempfile::tempdir;

use super::{DiskStore, Key, StoreErrorKind, bytes, files_in, held, put};

/// It refuses once, after so many steps of writing a block: its bytes, its file, its folder. One thread uses it
/// (`Relaxed`).
#[derive(Debug, Default)]
pub(in crate::store) struct DiskFault {
    refusal: AtomicI32,
    after: AtomicU32,
}

/// The last of them.
const FOLDER_SYNC: u32 = 2;

impl DiskFault {
    fn arm(&self, refusal: Errno, after: u32) {
        self.refusal.store(refusal as i32, Ordering::Relaxed);
        self.after.store(after, Ordering::Relaxed);
    }

    pub(in crate::store) fn strike(&self) -> io::Result<()> {
        match (self.refusal.load(Ordering::Relaxed), self.after.load(Ordering::Relaxed)) {
            (0, _) => return Ok(()),
            (_, 0) => {}
            (_, after) => {
                self.after.store(after - 1, Ordering::Relaxed);
                return Ok(());
            }
        }
        Err(io::Error::from_raw_os_error(self.refusal.swap(0, Ordering::Relaxed)))
    }
}

#[test]
fn a_quota_that_is_used_up_is_told_with_what_to_do_and_nothing_is_lost_at_any_step_of_a_write() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let before = put(&store, b"here before").expect("room");
    for step in 0..=FOLDER_SYNC {
        store.fault.arm(Errno::EDQUOT, step);
        let failed = put(&store, b"one too many").expect_err("the quota is used up");
        let told = failed.to_string();
        assert_eq!(failed.kind(), StoreErrorKind::Full, "{told}");
        assert!(told.contains("quota exceeded") && told.contains("delete something of yours"), "{told}");
        assert_eq!(held(&store), [(before, 11)], "after step {step}");
        assert_eq!(bytes(&store, &before), Ok(b"here before".to_vec()));
        assert_eq!(files_in(&folder.path().join("tmp")), 0, "after step {step}");
    }
    let after = put(&store, b"one too many").expect("there is room again");
    assert_eq!(bytes(&store, &after), Ok(b"one too many".to_vec()));
}

#[test]
fn nothing_stays_of_a_block_that_is_not_durable() {
    let folder = tempdir().expect("a folder");
    let store = DiskStore::open(folder.path()).expect("a store");
    let renewed = put(&store, b"here before").expect("room");
    store.fault.arm(Errno::EIO, FOLDER_SYNC);
    let failed = put(&store, b"never durable").map_err(|error| error.kind());
    assert_eq!(failed, Err(StoreErrorKind::Io));
    assert_eq!(bytes(&store, &Key::of(b"never durable")), Err(StoreErrorKind::NotFound));
    assert!(!store.path(&Key::of(b"never durable")).exists(), "its file is still there");
    store.fault.arm(Errno::EIO, FOLDER_SYNC);
    put(&store, b"here before").expect_err("the disk is failing");
    assert_eq!(held(&store), [(renewed, 11)]);
    assert_eq!(bytes(&store, &renewed), Ok(b"here before".to_vec()), "a copy that counts is not taken away");
    put(&store, b"never durable").expect("the disk has recovered");
    assert_eq!(files_in(&folder.path().join("tmp")), 0);
}
