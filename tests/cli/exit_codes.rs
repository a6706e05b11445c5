//! The numbers that tell a script what went wrong.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::running::{KEY, address, assert_ends, code, folder, printed, run, said, text};
use crate::support::{file, program};

#[test]
fn what_is_not_there_is_4() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let bootstrap = address(&peers[0]);
    let dest = folder.path().join("back");
    assert_ends(&["retrieve", KEY, text(&dest), "--bootstrap", &bootstrap], 4, "");
    assert_ends(&["retrieve", "no.manifest", text(&dest), "--bootstrap", &bootstrap], 4, "no.manifest");
    assert_ends(&["store", "no such file", "--bootstrap", &bootstrap], 4, "no such file");
    assert_ends(&["ping", "no-such-host.invalid:7000"], 4, "no-such-host.invalid");
    assert!(!dest.exists());
    let json = run(&["retrieve", KEY, text(&dest), "--bootstrap", &bootstrap, "--json"]);
    let answer: Value = serde_json::from_slice(&json.stdout).expect("one line of JSON");
    assert_eq!((&answer["answer"], &answer["kind"]), (&json!("failed"), &json!("not_found")), "{answer}");
}

#[test]
fn silence_and_too_few_copies_are_5() {
    let folder = folder();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let nobody = silent.local_addr().expect("bound").to_string();
    let (path, _) = file(&folder, "original", 4, 1000);
    assert_ends(&["ping", &nobody], 5, "");
    assert_ends(&["store", text(&path), "--bootstrap", &nobody], 5, &nobody);
    let peers = crate::support::cluster(&folder, 1, &[]);
    let bootstrap = address(&peers[0]);
    assert_ends(&["store", text(&path), "--bootstrap", &bootstrap, "--quorum", "2"], 5, "quorum");
}

#[test]
fn bytes_that_are_not_what_was_promised_are_6() {
    use kadring::file::{Entry, Manifest};
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let bootstrap = address(&peers[0]);
    // A root that promises a level below it, where a block of data is.
    let (leaf, bytes) = file(&folder, "leaf", 5, 1000);
    assert_eq!(code(&run(&["store", text(&leaf), "--bootstrap", &bootstrap])), Some(0));
    let entries = vec![Entry { key: kadring::id::Id::of(&bytes), size: 2000 }];
    let root = Manifest { level: 1, size: 2000, sha256: None, entries }.encode();
    let path = folder.path().join("root");
    fs::write(&path, &root).expect("writable");
    assert_eq!(code(&run(&["store", text(&path), "--bootstrap", &bootstrap])), Some(0));
    let dest = folder.path().join("back");
    let key = kadring::id::Id::of(&root).to_string();
    assert_ends(&["retrieve", &key, text(&dest), "--bootstrap", &bootstrap], 6, "");
    assert!(!dest.exists());
}

#[test]
fn a_block_whose_only_copy_was_damaged_on_disk_is_6() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let bootstrap = address(&peers[0]);
    let (path, bytes) = file(&folder, "original", 9, 1000);
    let stored = run(&["store", text(&path), "--bootstrap", &bootstrap, "--json"]);
    let answer: Value = serde_json::from_slice(&stored.stdout).expect("one line of JSON");
    let block = kadring::id::Id::of(&bytes).to_string();
    let kept = peers[0].data.join("blocks").join(&block[..2]).join(&block);
    fs::write(&kept, vec![0; 1000]).expect("it is there");
    let dest = folder.path().join("back");
    let key = answer["key"].as_str().expect("a key");
    assert_ends(&["retrieve", key, text(&dest), "--bootstrap", &bootstrap], 6, "damaged");
    assert!(!dest.exists() && !kept.exists() && peers[0].data.join("damaged").join(&block).exists());
}

#[test]
fn what_has_no_number_of_its_own_is_1() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let (path, _) = file(&folder, "original", 6, 1000);
    let bootstrap = address(&peers[0]);
    let stored = run(&["store", text(&path), "--bootstrap", &bootstrap, "--json"]);
    let answer: Value = serde_json::from_slice(&stored.stdout).expect("one line of JSON");
    let key = answer["key"].as_str().expect("a key");
    let nowhere = folder.path().join("no/such/folder/back");
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    for (place, reason) in
        [(nowhere.as_path(), "its folder is not there"), (folder.path(), "is a folder"), (&pipe, "regular")]
    {
        assert_ends(&["retrieve", key, text(place), "--bootstrap", &bootstrap], 1, reason);
        assert_ends(&["store", text(&path), text(place), "--bootstrap", &bootstrap], 1, reason);
    }
    assert!(fs::metadata(&pipe).expect("there").file_type().is_fifo(), "no file took its place");
    // Whoever opened the pipe would wait for its other end.
    assert_ends(&["retrieve", text(&pipe), text(&folder.path().join("back")), "--bootstrap", &bootstrap], 1, "regular");
    assert_ends(&["store", text(&pipe), "--bootstrap", &bootstrap], 1, "'kadring store -' stores what is piped");
    assert_ends(&["store", text(folder.path()), "--bootstrap", &bootstrap], 1, text(folder.path()));
}

#[test]
fn a_file_that_nobody_may_write_is_not_replaced() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let (path, _) = file(&folder, "original", 6, 1000);
    let bootstrap = address(&peers[0]);
    let output = run(&["store", text(&path), "--bootstrap", &bootstrap]);
    let key = printed(&output).lines().find_map(|line| line.strip_prefix("key ").map(str::to_owned)).expect("a key");
    let kept = folder.path().join("kept");
    fs::write(&kept, "dear").expect("writable");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o444)).expect("our own file");
    assert_ends(&["retrieve", &key, text(&kept), "--bootstrap", &bootstrap], 1, "read-only");
    assert_ends(&["store", text(&path), text(&kept), "--bootstrap", &bootstrap], 1, "read-only");
    assert_eq!(fs::read_to_string(&kept).expect("there"), "dear");
}

/// A script that keeps the key of what it stored must learn that it did not get it.
#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let (path, _) = file(&folder, "original", 6, 1000);
    let bootstrap = address(&peers[0]);
    for format in [&[][..], &["--json"]] {
        let full = fs::File::create("/dev/full").expect("the system has it");
        let arguments = [&["store", text(&path), "--bootstrap", &bootstrap], format].concat();
        let output = program().args(arguments).stdout(full).output().expect("the program runs");
        assert_eq!(code(&output), Some(1), "{}", said(&output));
        assert!(said(&output).contains("No space left"), "{}", said(&output));
    }
}
