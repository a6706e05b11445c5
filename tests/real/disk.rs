//! Disks that refuse: full, limited, unreadable. Nothing is lost, nothing half-written is served, and the peer goes on.
//!
//! A test cannot fill a disk everywhere it runs. A limit on the size of files (`ulimit -f`) stops a write in its middle
//! just so; what the system calls the reason is all that differs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Launch, PeerProcess, file, program, program_under, until, walk, without_our_environment};
use kadring::id::Id;
use tempfile::{TempDir, tempdir};

/// A user who owns nothing, where the tests run as one who may read everything.
const NOBODY: u32 = 65_534;

fn folder() -> TempDir {
    tempdir().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder's name is text")
}

fn run(mut command: Command, args: &[&str], peer: &PeerProcess) -> Output {
    let bootstrap = format!("127.0.0.1:{}", peer.port);
    command.args(args).args(["--bootstrap", &bootstrap]).stdin(Stdio::null()).output().expect("the program runs")
}

#[track_caller]
fn assert_ends(output: &Output, code: i32, reasons: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(reasons.iter().all(|reason| said.contains(reason)), "{said}");
}

#[test]
fn a_destination_that_takes_no_more_keeps_what_it_has_and_the_same_command_goes_on() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "original", 1, 6_000_000);
    let key = peer.store(&path);
    let dest = folder.path().join("back");
    let retrieve = ["retrieve", &key, text(&dest)];
    // 4,096 blocks of 512 or of 1,024 bytes, whichever the shell means: less than the file.
    assert_ends(&run(program_under("-f 4096"), &retrieve, &peer), 1, &["cannot write", "back"]);
    assert!(!dest.exists(), "a part of a file stands where the whole should");
    assert_ends(&run(program(), &retrieve, &peer), 0, &[]);
    assert!(fs::read(&dest).expect("it is there") == original);
}

#[test]
fn a_peer_whose_disk_takes_no_block_says_so_serves_nothing_half_written_and_goes_on() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).under("-f 256").start();
    let (large, _) = file(&folder, "large", 2, 1 << 20);
    let refused = peer.ask(&format!("store '{}'", text(&large)));
    assert_eq!((&refused["answer"], &refused["kind"]), (&"failed".into(), &"too_few_copies".into()), "{refused}");
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("cannot write") && reason.contains("quorum"), "{refused}");
    // The list of the file's blocks is small enough for this disk and may be on its way there.
    until(|| walk(&peer.data.join("tmp")).is_empty());
    for path in walk(&peer.data.join("blocks")) {
        let name = path.file_name().expect("it is a file").to_owned();
        let hash = Id::of(&fs::read(&path).expect("it is there")).to_string();
        assert_eq!(name, *hash, "something half-written stays");
    }
    let (small, original) = file(&folder, "small", 3, 10_000);
    let key = peer.store(&small);
    peer.retrieve(&key, &folder.path().join("back"), &original);
}

#[test]
fn nobody_else_may_enter_the_data_folder_that_a_peer_makes() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let made = folder.path().join("made");
    fs::create_dir(&made).expect("writable");
    fs::set_permissions(&made, fs::Permissions::from_mode(0o755)).expect("ours");
    let other = Launch::new(made).through(peer.port).start();
    let (path, _) = file(&folder, "original", 1, 1000);
    peer.ask(&format!("store '{}' --for 1d", text(&path)));
    until(|| peer.data.join("peers.json").exists());
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!([&peer.data, &other.data].map(|path| mode(path)), [0o700, 0o755], "the user's stays as it was");
    for data in [&peer.data, &other.data] {
        let mut files = 0;
        for path in fs::read_dir(data).expect("it is there").map(|entry| entry.expect("it is read").path()) {
            assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{path:?}");
            files += u32::from(!path.is_dir());
        }
        assert!(files >= 3, "{files}");
    }
}

#[test]
fn a_full_peer_says_so_and_another_takes_the_block() {
    let folder = folder();
    let mut full = Launch::new(folder.path().join("full")).args(&["--capacity", "1MiB"]).start();
    let (path, original) = file(&folder, "original", 10, 3_000_000);
    assert_ends(&run(program(), &["store", text(&path)], &full), 5, &["full"]);
    let refused = full.ask(&format!("store '{}'", text(&path)));
    let reason = refused["reason"].as_str().expect("it failed");
    assert!(reason.contains("full") && reason.contains("--capacity"), "{refused}");
    let mut roomy = Launch::new(folder.path().join("roomy")).through(full.port).start();
    let key = roomy.store(&path);
    full.retrieve(&key, &folder.path().join("back"), &original);
    let status = full.ask("status");
    assert!(status["bytes"].as_u64().is_some_and(|bytes| bytes <= 1 << 20), "{status}");
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (path, _) = file(&folder, "secret", 4, 1000);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("it is ours");
    // Who may read everything runs the program as somebody who may not, from where that one can reach it.
    let mut command = program();
    if fs::read(&path).is_ok() {
        let copy = folder.path().join("kadring");
        fs::copy(env!("CARGO_BIN_EXE_kadring"), &copy).expect("there is room");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        command = without_our_environment(Command::new(copy));
        command.uid(NOBODY).current_dir("/");
    }
    assert_ends(&run(command, &["store", text(&path)], &peer), 1, &["secret", "ermission denied"]);
}

#[test]
fn what_was_retrieved_into_a_folder_that_is_gone_is_not_said_to_be_kept() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (path, _) = file(&folder, "original", 1, 64 << 20);
    let key = peer.store(&path);
    let below = folder.path().join("below");
    let dest = below.join("back");
    fs::create_dir(&below).expect("writable");
    peer.tell(&format!("retrieve {key} '{}'", text(&dest)));
    until(|| fs::read_dir(&below).is_ok_and(|mut entries| entries.next().is_some()));
    fs::remove_dir_all(&below).expect("ours");
    let failed = peer.answer();
    let reason = failed["reason"].as_str().expect("it fails");
    assert!(reason.contains("its folder was there, and is not any longer; nothing is kept"), "{failed}");
}
