//! Files that are kept for a while, renewed, and deleted by who stored them alone.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::running::{address, code, folder, printed, run, said, text};
use crate::support::{Launch, PeerProcess, cluster, file, program, until};

fn ctl(peer: &PeerProcess, words: &[&str]) -> Output {
    run(&[&["ctl", "--data", text(&peer.data), "--json"], words].concat())
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no line of JSON: {}", said(output)))
}

/// Copies of blocks that all peers hold together, as they know: what is gone from a disk may be counted for a moment.
fn copies(peers: &mut [PeerProcess]) -> usize {
    let held = |peer: &mut PeerProcess| peer.ask("list")["blocks"].as_array().map_or(0, Vec::len);
    peers.iter_mut().map(held).sum()
}

#[test]
fn a_deleted_file_goes_from_all_peers_and_nobody_else_can_delete_it() {
    let folder = folder();
    let mut peers = cluster(&folder, 3, &["--grace", "1s"]);
    let (one, _) = file(&folder, "one", 2, 2_500_000);
    let (two, _) = file(&folder, "two", 3, 10);
    let (key, other) = (peers[0].store(&one), peers[1].store(&two));
    assert_eq!(copies(&mut peers), 3 * (4 + 1));
    // It was stored through the first peer, so the second has no right to it.
    let refused = ctl(&peers[1], &["delete", &key]);
    assert_eq!((code(&refused), &answer(&refused)["kind"]), (Some(4), &json!("not_found")), "{}", printed(&refused));
    let deleted = ctl(&peers[0], &["delete", "one"]);
    let told = answer(&deleted);
    assert_eq!(
        (code(&deleted), &told["copies"], &told["free"], &told["peers"]),
        (Some(0), &json!(12), &json!(12), &json!(3))
    );
    until(|| copies(&mut peers) == 3);
    assert_eq!(peers[2].ask(&format!("check {other}"))["health"], "whole");
    assert_eq!(code(&ctl(&peers[0], &["retrieve", "one", "/dev/null"])), Some(4), "the catalogue has forgotten it");
    // The lease that ended is not the one that the same file is stored on from now on.
    for _ in 0..2 {
        let again = answer(&ctl(&peers[0], &["store", text(&one)]));
        assert_eq!((&again["key"], &again["copies"]), (&json!(key), &json!([0, 0, 0, 4])), "{again}");
        let deleted = answer(&ctl(&peers[0], &["delete", "one"]));
        assert_eq!((&deleted["copies"], &deleted["free"]), (&json!(12), &json!(12)), "{deleted}");
        until(|| copies(&mut peers) == 3);
    }
    // A restarted peer knows what has ended.
    let data = peers.pop().expect("three").kill();
    let bootstrap = address(&peers[0]);
    peers.push(Launch::new(data).args(&["--grace", "1s", "--bootstrap", &bootstrap]).start());
    assert_eq!(copies(&mut peers), 3);
}

#[test]
fn what_several_stored_stays_until_the_last_one_deletes_it() {
    let folder = folder();
    let mut peers = cluster(&folder, 2, &["--grace", "1s"]);
    let (path, _) = file(&folder, "shared", 4, 1000);
    let key = peers[0].store(&path);
    assert_eq!(peers[1].store(&path), key);
    assert_eq!(answer(&ctl(&peers[0], &["delete", &key]))["free"], 0);
    assert_eq!(copies(&mut peers), 2);
    let last = ctl(&peers[1], &["delete", &key]);
    assert_eq!(answer(&last)["free"], 2);
    until(|| copies(&mut peers) == 0);
}

#[test]
fn a_file_stored_for_a_while_goes_by_itself_unless_it_is_renewed_and_clients_have_leases_too() {
    let folder = folder();
    let mut peers = cluster(&folder, 2, &["--grace", "1s"]);
    let (short, _) = file(&folder, "short", 5, 1000);
    let (long, _) = file(&folder, "long", 6, 1000);
    let bootstrap = address(&peers[0]);
    let state = folder.path().join("state");
    let client = |words: &[&str]| {
        let mut command = program();
        command.env("XDG_STATE_HOME", &state).args(words).args(["--bootstrap", &bootstrap, "--json"]);
        command.output().expect("the program runs")
    };
    for path in [&short, &long] {
        let stored = client(&["store", text(path), "--for", "5s"]);
        assert_eq!(code(&stored), Some(0), "{}", said(&stored));
    }
    let owner = fs::metadata(state.join("kadring/owner")).expect("it is there");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&owner.permissions()) & 0o777, 0o600);
    let renewed = client(&["renew", "long", "--for", "1h"]);
    assert_eq!((code(&renewed), &answer(&renewed)["copies"]), (Some(0), &json!(2)), "{}", said(&renewed));
    until(|| copies(&mut peers) == 2);
    let deleted = client(&["delete", "long"]);
    assert_eq!((code(&deleted), &answer(&deleted)["free"]), (Some(0), &json!(2)), "{}", said(&deleted));
    until(|| copies(&mut peers) == 0);
}

#[test]
fn a_lease_does_not_end_while_the_peer_runs_through_which_it_was_laid_unless_it_is_forgotten() {
    const LASTS: u64 = 6;
    let folder = folder();
    let mut peers = cluster(&folder, 2, &["--grace", "1s"]);
    let (path, _) = file(&folder, "kept", 7, 1000);
    let until_of = |peer: &PeerProcess| {
        let files = answer(&ctl(peer, &["files"]));
        files["files"][0]["lease"]["until"].as_u64().unwrap_or_else(|| panic!("no lease: {files}"))
    };
    let stored = ctl(&peers[0], &["store", text(&path), "--for", &format!("{LASTS}s")]);
    assert_eq!(code(&stored), Some(0), "{}", printed(&stored));
    let first = until_of(&peers[0]);
    // A lease that was renewed to end then was so after the first one had ended, and its grace.
    until(|| until_of(&peers[0]) > first + 1000 * (LASTS + 2));
    assert_eq!(copies(&mut peers), 2);
    // So does the next run of the peer.
    let data = peers.remove(0).kill();
    let bootstrap = address(&peers[0]);
    peers.insert(0, Launch::new(data).args(&["--grace", "1s", "--bootstrap", &bootstrap]).start());
    let second = until_of(&peers[0]);
    until(|| until_of(&peers[0]) > second + 1000 * (LASTS + 2));
    assert_eq!(copies(&mut peers), 2);
    assert_eq!(code(&ctl(&peers[0], &["forget", "kept"])), Some(0));
    until(|| copies(&mut peers) == 0);
}

#[test]
fn a_holder_that_has_not_heard_of_a_deletion_is_named_and_can_be_told_again() {
    let folder = folder();
    let mut peers = cluster(&folder, 2, &["--grace", "1s"]);
    let (path, _) = file(&folder, "original", 8, 1000);
    peers[0].store(&path);
    peers[1].signal(Signal::SIGSTOP);
    let partly = ctl(&peers[0], &["delete", "original"]);
    let told = answer(&partly);
    assert_eq!((code(&partly), &told["silent"][0]["id"]), (Some(9), &json!(peers[1].id)), "{told}");
    let files = answer(&ctl(&peers[0], &["files"]));
    assert_eq!(files["files"][0]["name"], "original", "{files}");
    peers[1].signal(Signal::SIGCONT);
    until(|| {
        ctl(&peers[0], &["delete", "original"]);
        copies(&mut peers) == 0
    });
}

/// Begins to store `path` as a user whose catalogue is in `state`, and kills that before it has ended.
fn begin_to_store(peers: &mut [PeerProcess], state: &Path, path: &Path) {
    let catalogue = state.join("kadring/catalogue");
    let listed = || fs::metadata(&catalogue).map_or(0, |there| there.len());
    let before = listed();
    let mut store = program();
    store.env("XDG_STATE_HOME", state).args(["store", text(path), "--for", "1h", "--bootstrap", &address(&peers[0])]);
    let mut store = store.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program runs");
    // It says that it begins, and cannot say that it has ended.
    until(|| listed() > before);
    let lock = fs::File::options().write(true).open(state.join("kadring/catalogue.lock")).expect("it is there");
    lock.lock().expect("nobody keeps it for long");
    until(|| copies(peers) > 0);
    store.kill().expect("it runs");
    store.wait().expect("it ends");
}

#[test]
fn what_an_interrupted_store_left_behind_is_listed_and_deleted_by_name_or_taken_over_by_the_next_store() {
    let folder = folder();
    let mut peers = cluster(&folder, 2, &["--grace", "1s"]);
    let (bootstrap, state) = (address(&peers[0]), folder.path().join("state"));
    let client = |words: &[&str]| {
        let mut command = program();
        command.env("XDG_STATE_HOME", &state).args(words).stdin(Stdio::null()).output().expect("the program runs")
    };
    let listed = || answer(&client(&["files", "--json"]))["files"].clone();
    let (half, _) = file(&folder, "half", 9, 20_000_000);
    begin_to_store(&mut peers, &state, &half);
    let begun = &listed()[0];
    assert_eq!((&begun["name"], &begun["begun"], begun.get("key")), (&json!("half"), &json!(true), None), "{begun}");
    assert!(begun["lease"]["until"].is_u64(), "{begun}");
    assert!(printed(&client(&["files"])).contains("half  not finished"));
    let named = client(&["retrieve", "half", "/dev/null", "--bootstrap", &bootstrap]);
    assert!(said(&named).contains("was not finished"), "{}", said(&named));
    until(|| code(&client(&["delete", "half", "--bootstrap", &bootstrap])) == Some(0));
    until(|| copies(&mut peers) == 0);
    assert_eq!(listed(), json!([]));

    begin_to_store(&mut peers, &state, &half);
    let stored = client(&["store", text(&half), "--for", "1h", "--bootstrap", &bootstrap]);
    assert_eq!(code(&stored), Some(0), "{}", said(&stored));
    let files = listed();
    assert_eq!((files.as_array().map(Vec::len), files[0].get("begun")), (Some(1), None), "{files}");
    until(|| code(&client(&["delete", "half", "--bootstrap", &bootstrap])) == Some(0));
    until(|| copies(&mut peers) == 0);
}

#[test]
fn copies_that_a_stranger_has_made_are_on_the_leases_of_who_stored_the_file() {
    let folder = folder();
    let mut peers = cluster(&folder, 3, &["--grace", "1s"]);
    let (path, _) = file(&folder, "original", 12, 1000);
    let key = peers[0].store(&path);
    peers[2].ask(&format!("clear {key}"));
    let repaired = run(&["check", &key, "--repair", "--bootstrap", &address(&peers[1])]);
    assert_eq!(code(&repaired), Some(0), "{}", said(&repaired));
    until(|| copies(&mut peers) == 3);
    let deleted = answer(&ctl(&peers[0], &["delete", "original"]));
    assert_eq!((&deleted["copies"], &deleted["free"]), (&json!(3), &json!(3)), "{deleted}");
    until(|| copies(&mut peers) == 0);
}

#[test]
fn several_names_are_renewed_at_once_and_what_is_wrong_with_any_is_told() {
    let folder = folder();
    let mut peers = cluster(&folder, 2, &["--grace", "1s"]);
    for (n, name) in [(13, "one"), (14, "two"), (15, "three")] {
        let (path, _) = file(&folder, name, n, 1000);
        let stored = ctl(&peers[0], &["store", text(&path), "--for", "5s"]);
        assert_eq!(code(&stored), Some(0), "{}", printed(&stored));
        assert_eq!(code(&ctl(&peers[0], &["forget", "three"])), Some(if name == "three" { 0 } else { 4 }));
    }
    let renewed = ctl(&peers[0], &["renew", "one", "two", "none", "--for", "1h"]);
    let told = &answer(&renewed)["answers"];
    assert_eq!((&told[0]["copies"], &told[1]["kind"]), (&json!(4), &json!("not_found")), "{told}");
    assert_eq!(code(&renewed), Some(3), "not all of it: {told}");
    let untils = answer(&ctl(&peers[0], &["files"]));
    let untils: Vec<u64> = (0..2).filter_map(|n| untils["files"][n]["lease"]["lasts"].as_u64()).collect();
    assert_eq!(untils, [3_600_000; 2]);
    // The third was forgotten, and nobody renews it.
    until(|| copies(&mut peers) == 4);
}

#[test]
fn a_folder_is_deleted_with_all_that_is_in_it() {
    let folder = folder();
    let mut peers = cluster(&folder, 2, &["--grace", "1s"]);
    let things = folder.path().join("things");
    fs::create_dir(&things).expect("writable");
    fs::write(things.join("small"), "small").expect("writable");
    fs::write(things.join("large"), vec![7; 1_500_000]).expect("writable");
    let stored = ctl(&peers[0], &["store", text(&things), "--for", "1h"]);
    assert_eq!(code(&stored), Some(0), "{}", printed(&stored));
    let checked = answer(&ctl(&peers[0], &["check", "things"]));
    assert_eq!((&checked["health"], &checked["blocks"]), (&json!("whole"), &json!(6)), "{checked}");
    let deleted = answer(&ctl(&peers[0], &["delete", "things"]));
    assert_eq!((&deleted["copies"], &deleted["free"]), (&json!(12), &json!(12)), "{deleted}");
    until(|| copies(&mut peers) == 0);
}

#[test]
fn the_number_of_copies_belongs_to_the_file_and_can_be_changed() {
    let folder = folder();
    let mut peers = cluster(&folder, 4, &["--grace", "1s"]);
    let (path, _) = file(&folder, "original", 7, 1 << 20);
    let stored = ctl(&peers[0], &["store", text(&path), "--copies", "2"]);
    assert_eq!(answer(&stored)["copies"], json!([0, 0, 2]), "{}", printed(&stored));
    let checked = answer(&ctl(&peers[0], &["check", "original"]));
    assert_eq!((&checked["health"], &checked["wanted"]), (&json!("whole"), &json!(2)), "{checked}");
    let changed = ctl(&peers[0], &["copies", "original", "4"]);
    assert_eq!(code(&changed), Some(0), "{}", printed(&changed));
    until(|| copies(&mut peers) == 8);
    let changed = ctl(&peers[0], &["copies", "original", "1"]);
    assert_eq!(code(&changed), Some(0), "{}", printed(&changed));
    // Those that need none of its blocks let go of them.
    until(|| copies(&mut peers) <= 4);
    let checked = answer(&ctl(&peers[0], &["check", "original"]));
    assert_eq!((&checked["health"], &checked["wanted"]), (&json!("whole"), &json!(1)), "{checked}");
    let key = answer(&stored)["key"].as_str().expect("a key").to_owned();
    peers.iter_mut().for_each(|peer| drop(peer.ask(&format!("clear --force {key}"))));
    let refused = ctl(&peers[0], &["copies", "original", "3"]);
    assert_eq!((code(&refused), &answer(&refused)["kind"]), (Some(9), &json!("unknown")), "{}", printed(&refused));
    for wrong in [&["copies", "original", "8"][..], &["copies", "original"], &["store", text(&path), "--copies", "0"]] {
        assert_eq!(code(&ctl(&peers[0], wrong)), Some(2), "{wrong:?}");
    }
}

/// They wait for one another: each tells holders what it has read, and writes what became of it, seconds later.
#[test]
fn commands_that_change_the_leases_of_one_file_at_once_undo_nothing_of_one_another() {
    let folder = folder();
    let mut peers = cluster(&folder, 4, &["--grace", "1s"]);
    let (path, _) = file(&folder, "original", 8, 1000);
    let data = peers[0].data.clone();
    let at_once = |commands: &[&[&str]]| -> Vec<Option<i32>> {
        std::thread::scope(|scope| {
            let running: Vec<_> = commands
                .iter()
                .map(|words| {
                    let words = [&["ctl", "--data", text(&data)], *words].concat();
                    scope.spawn(move || code(&run(&words)))
                })
                .collect();
            running.into_iter().map(|one| one.join().expect("it ends")).collect()
        })
    };
    for round in 0..5 {
        assert_eq!(code(&ctl(&peers[0], &["store", text(&path), "--for", "1h"])), Some(0), "round {round}");
        let codes = at_once(&[&["copies", "original", "2"], &["renew", "original", "--for", "3h"]]);
        assert_eq!(codes, [Some(0); 2], "round {round}");
        let listed = answer(&ctl(&peers[0], &["files", "original"]));
        assert_eq!(listed["files"][0]["lease"]["lasts"], 3 * 3600 * 1000, "round {round}: {listed}");
        let each: Vec<&[&str]> = vec![&["copies", "original", "3"]; 4];
        assert_eq!(at_once(&each), [Some(0); 4], "round {round}");
        let codes = at_once(&[&["copies", "original", "4"], &["delete", "original"]]);
        assert!(codes[1] == Some(0) && matches!(codes[0], Some(0 | 4)), "round {round}: {codes:?}");
        assert_eq!(answer(&ctl(&peers[0], &["files", "original"]))["files"], json!([]), "round {round}");
        until(|| copies(&mut peers) == 0);
    }
}
