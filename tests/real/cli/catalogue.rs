//! Files that are found again by their names.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::running::{address, assert_ends, code, folder, key_of, printed, run, said, text};
use crate::support::{Launch, file, program, until};

/// Runs a command of a user whose state is kept in a folder.
fn as_user(state: &Path, words: &[&str]) -> Output {
    program().args(words).env("XDG_STATE_HOME", state).stdin(Stdio::null()).output().expect("the program runs")
}

#[test]
fn a_peer_finds_by_name_and_by_the_beginning_of_a_key_what_it_stored_before_it_was_killed() {
    let folder = folder();
    let (path, original) = file(&folder, "report.pdf", 2, 2_500_000);
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let key = peer.store(&path);
    let mut peer = Launch::new(peer.kill()).start();
    let files = peer.ask("files *.pdf");
    let told = &files["files"][0];
    assert_eq!((&told["name"], &told["key"], &told["bytes"]), (&json!("report.pdf"), &json!(key), &json!(2_500_000)));
    assert_eq!(peer.ask("files *.txt")["files"], json!([]));
    for (number, word) in ["report.pdf", &key[..6], &key[..20].to_uppercase()].iter().enumerate() {
        peer.retrieve(word, &folder.path().join(format!("back {number}")), &original);
        assert_eq!(peer.ask(&format!("lookup {word}"))["key"], json!(key));
    }
    assert_eq!(peer.ask(&format!("name {} 'the best'", &key[..8]))["name"], json!("the best"));
    peer.retrieve("'the best'", &folder.path().join("best"), &original);
    assert_eq!(peer.ask("forget report.pdf")["files"][0]["key"], json!(key));
    let unknown = peer.ask(&format!("retrieve report.pdf '{}'", folder.path().join("again").display()));
    assert_eq!((&unknown["answer"], &unknown["kind"]), (&json!("failed"), &json!("not_found")), "{unknown}");
    assert_eq!(peer.ask("clear --force 'the best'")["answer"], "cleared", "it is known by its other name");
    let listed = run(&["files", "--data", text(&peer.data), "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("one line of JSON");
    assert_eq!(listed["files"][0]["name"], json!("the best"));
}

#[test]
fn a_users_own_commands_share_a_catalogue_whatever_peer_they_came_through() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 2, &[]);
    let state = folder.path().join("state");
    let (path, original) = file(&folder, "report.pdf", 2, 2_500_000);
    let through =
        |peer: usize, words: &[&str]| as_user(&state, &[words, &["--bootstrap", &address(&peers[peer])]].concat());
    assert_eq!(
        printed(&as_user(&state, &["files"])),
        "there is no such file in the catalogue: nothing was stored from here, or under another name\n"
    );
    let key = key_of(&through(0, &["store", text(&path)]));
    key_of(&through(0, &["store", text(&path), "--name", "mine"]));
    let listed = printed(&as_user(&state, &["files"]));
    assert!(listed.starts_with(&key[..12]) && listed.contains("2.4 MiB") && listed.contains("  mine\n"), "{listed}");
    let dest = folder.path().join("back");
    for word in ["report.pdf", "mine", &key[..10]] {
        let retrieved = through(1, &["retrieve", word, text(&dest)]);
        assert_eq!(code(&retrieved), Some(0), "{word}: {}", said(&retrieved));
        assert!(fs::read(&dest).expect("there") == original);
        fs::remove_file(&dest).expect("there");
        assert!(printed(&through(1, &["lookup", word])).contains(&format!("key {key}")));
    }
    assert_eq!(code(&as_user(&state, &["name", "mine", "ours"])), Some(0));
    assert_eq!(code(&as_user(&state, &["forget", "mine"])), Some(0));
    assert_eq!(code(&as_user(&state, &["forget", "mine"])), Some(4));
    assert_eq!(code(&through(1, &["retrieve", "mine", text(&dest)])), Some(4));
    let piped = through(1, &["retrieve", "mine", "-", "--json"]);
    assert_eq!((code(&piped), printed(&piped)), (Some(4), String::new()), "standard output is for the file");
    assert_eq!(code(&through(1, &["retrieve", "ours", text(&dest)])), Some(0));
}

#[test]
fn a_name_of_several_files_is_none_and_a_manifest_of_that_name_goes_first() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    fs::create_dir(folder.path().join("other")).expect("writable");
    let (one, original) = file(&folder, "same", 1, 1000);
    let (two, _) = file(&folder, "other/same", 2, 1000);
    let [first, second] = [&one, &two].map(|path| peer.store(path));
    let dest = folder.path().join("back");
    let refused = peer.ask(&format!("retrieve same '{}'", dest.display()));
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(&first) && reason.contains(&second), "{refused}");
    assert_eq!(refused["kind"], "usage");
    fs::remove_file(&one).expect("there");
    // In the folder of the client lies a manifest of that name.
    let list = super::running::run(&["ctl", "--data", text(&peer.data), "retrieve", &first, text(&one)]);
    assert_eq!(code(&list), Some(0), "{}", said(&list));
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("writable");
    peer.ask(&format!("store '{}' '{}'", one.display(), elsewhere.join("same").display()));
    let brought = program()
        .args(["ctl", "--data", text(&peer.data), "retrieve", "same", "back"])
        .current_dir(&elsewhere)
        .output()
        .expect("the program runs");
    assert_eq!(code(&brought), Some(0), "{}", said(&brought));
    assert!(fs::read(elsewhere.join("back")).expect("there") == original);
}

#[test]
fn what_is_piped_under_one_name_again_and_again_is_found_by_it_as_it_was_last() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let mut key = String::new();
    for number in 0..3 {
        let (path, _) = file(&folder, &format!("day {number}"), number, 1000);
        let stored = program()
            .args(["ctl", "--data", text(&peer.data), "store", "-", "--name", "backup"])
            .stdin(fs::File::open(path).expect("there"))
            .output()
            .expect("the program runs");
        key = key_of(&stored);
    }
    let dest = folder.path().join("back");
    let brought = run(&["retrieve", "backup", text(&dest), "--data", text(&peer.data)]);
    assert_eq!(code(&brought), Some(0), "{}", said(&brought));
    assert!(printed(&run(&["lookup", "backup", "--data", text(&peer.data)])).contains(&format!("key {key}")));
}

#[test]
fn who_asks_by_a_files_sha256_is_told_its_key() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "report.pdf", 2, 2_500_000);
    let key = peer.store(&path);
    let sha256 = kadring::id::Id::of(&original);
    let failed = peer.ask(&format!("retrieve {sha256} '{}'", folder.path().join("back").display()));
    let reason = failed["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("it is the SHA-256 of \"report.pdf\"") && reason.contains(&key), "{failed}");
}

#[test]
fn a_catalogue_that_cannot_be_written_is_told_and_the_file_is_stored_all_the_same() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (path, _) = file(&folder, "report.pdf", 2, 1000);
    let state = folder.path().join("state");
    fs::write(&state, "no folder").expect("writable");
    let stored = as_user(&state, &["store", text(&path), "--bootstrap", &address(&peer)]);
    assert_eq!(code(&stored), Some(0));
    assert_eq!(key_of(&stored).len(), 64);
    assert!(said(&stored).contains("the file is stored, but cannot write the catalogue"), "{}", said(&stored));
    assert_eq!(fs::metadata(&state).expect("there").permissions().mode() & 0o111, 0, "it was left alone");
}

/// A full disk is one reason. The peer that does it has a log of its own, which who asked does not read.
#[test]
fn who_has_a_running_peer_store_is_told_that_its_catalogue_cannot_be_written() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (path, _) = file(&folder, "report.pdf", 2, 1000);
    fs::create_dir(peer.data.join("catalogue")).expect("writable");
    let what = fs::canonicalize(&path).expect("there");
    for words in [["store", text(&what), "-q"], ["store", text(&what), "--json"]] {
        let stored = program().args(words).args(["--data", text(&peer.data)]).stdin(Stdio::null()).output();
        let stored = stored.expect("the program runs");
        let told = said(&stored);
        assert_eq!((code(&stored), printed(&stored).is_empty()), (Some(0), false), "{told}");
        assert!(told.contains("stored without a lease, for ever: cannot write the catalogue"), "{told}");
        assert!(told.contains("the file is stored, but cannot write the catalogue"), "{told}");
    }
}

#[test]
fn what_was_refused_before_anything_of_it_left_is_not_listed_and_a_renewal_of_nothing_is_done() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 4, 1000);
    let (other, _) = file(&folder, "other", 5, 1000);
    let blocks = folder.path().join("blocks");
    fs::create_dir(&blocks).expect("ours");
    fs::write(blocks.join("no block"), "text").expect("ours");
    let mut peer = Launch::new(folder.path().join("peer")).start();
    assert_eq!(peer.ask("renew")["answer"], "leased", "nothing was stored yet");
    let nowhere = folder.path().join("no/such/folder");
    for manifest in [&other, &nowhere] {
        let refused = peer.ask(&format!("store '{}' --manifest '{}'", text(&path), text(manifest)));
        assert_eq!(refused["answer"], "failed", "{refused}");
    }
    let imported = peer.ask(&format!("import '{}'", text(&blocks)));
    assert_eq!((&imported["answer"], &imported["blocks"]), (&json!("imported"), &json!(0)), "{imported}");
    assert_eq!(peer.ask("files")["files"], json!([]));
    peer.store(&path);
    peer.ask(&format!("store '{}' --manifest '{}'", text(&path), text(&other)));
    assert_eq!(peer.ask("files")["files"].as_array().map(Vec::len), Some(1), "what was stored before stays");
}

#[test]
fn an_empty_or_strange_file_of_a_stored_files_name_does_not_hide_it() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "log.txt", 1, 5000);
    peer.store(&path);
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("writable");
    let within = |words: &[&str]| {
        let mut client = program();
        client.args(["ctl", "--data", text(&peer.data)]).args(words).current_dir(&elsewhere).stdin(Stdio::null());
        client.output().expect("it runs")
    };
    for content in ["", "not a manifest\n"] {
        fs::write(elsewhere.join("log.txt"), content).expect("writable");
        let retrieved = within(&["retrieve", "log.txt", "log.txt", "--force"]);
        assert_eq!(code(&retrieved), Some(0), "{}", said(&retrieved));
        assert!(fs::read(elsewhere.join("log.txt")).expect("there") == original, "{content:?}");
        fs::write(elsewhere.join("other"), content).expect("writable");
    }
    let unknown = within(&["check", "other"]);
    assert_eq!(code(&unknown), Some(4), "{}", said(&unknown));
    assert!(said(&unknown).contains("what is there is no manifest file"), "{}", said(&unknown));
}

#[test]
fn an_empty_file_behind_a_folder_is_stored_too_since_no_folder_has_a_manifest() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (empty, tree) = (folder.path().join("empty"), folder.path().join("tree"));
    fs::write(&empty, "").and_then(|()| fs::create_dir(&tree)).expect("writable");
    let stored = run(&["ctl", "--data", text(&peer.data), "store", "-q", text(&tree), text(&empty)]);
    assert_eq!((code(&stored), printed(&stored).lines().count()), (Some(0), 2), "{}", said(&stored));
    assert_eq!(fs::metadata(&empty).expect("there").len(), 0, "it is as it was");
}

#[test]
fn a_name_of_any_bytes_is_stored_found_and_forgotten_as_it_is_everywhere_it_can_be_given() {
    let folder = folder();
    let odd = OsStr::from_bytes(b"odd \xff\xfe");
    let path = folder.path().join(odd);
    fs::write(&path, "odd").expect("writable");
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).and_then(|()| fs::copy(&path, tree.join(odd))).expect("writable");
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let state = folder.path().join("state");
    let bootstrap = address(&peer);
    let data = peer.data.clone();
    let ctl = [OsStr::new("ctl"), OsStr::new("--data"), data.as_os_str()];
    let ways: [(&[&OsStr], &[&OsStr]); 3] = [
        (&ctl, &[]),
        (&[], &[OsStr::new("--data"), data.as_os_str()]),
        (&[], &[OsStr::new("--bootstrap"), OsStr::new(&bootstrap)]),
    ];
    for (number, (before, after)) in ways.into_iter().enumerate() {
        let ask = |words: &[&OsStr]| {
            let mut client = program();
            client.args(before).args(words).args(after).env("XDG_STATE_HOME", &state).current_dir(folder.path());
            let output = client.stdin(Stdio::null()).output().expect("it runs");
            assert_eq!(code(&output), Some(0), "{words:?}: {}", said(&output));
            output
        };
        let [store, check, retrieve, ls, cat] = ["store", "check", "retrieve", "ls", "cat"].map(OsStr::new);
        let stored = ask(&[store, odd]);
        assert!(printed(&stored).contains("odd \\xff\\xfe") || printed(&stored).contains('\u{fffd}'), "{stored:?}");
        ask(&[check, odd]);
        let back = OsString::from(format!("back {number}"));
        ask(&[retrieve, odd, &back]);
        assert_eq!(fs::read(folder.path().join(&back)).expect("there"), b"odd");
        ask(&[store, tree.as_os_str()]);
        let inside = [b"tree/", odd.as_bytes()].concat();
        let inside = OsStr::from_bytes(&inside);
        assert!(!ask(&[ls, inside]).stdout.is_empty());
        assert_eq!(ask(&[cat, inside]).stdout, b"odd");
        let manifest = OsStr::from_bytes(b"list \xff");
        let _ = fs::remove_file(folder.path().join(manifest));
        ask(&[store, odd, manifest]);
        ask(&[check, manifest]);
    }
    // At the console too, and as JSON the name is its bytes.
    peer.tell_bytes(b"files 'odd \xff\xfe'\nforget 'odd \xff\xfe'\nfiles\n");
    let (named, forgotten, left) = (peer.answer(), peer.answer(), peer.answer());
    assert_eq!(named["files"][0]["name"], json!(odd.as_bytes()), "{named}");
    assert_eq!(
        (&forgotten["answer"], left["files"].as_array().map(Vec::len)),
        (&json!("forgotten"), Some(1)),
        "{left}"
    );
}

#[test]
fn a_damaged_owner_s_secret_is_told_when_the_peer_starts_and_what_is_to_end_is_not_stored_for_ever() {
    let folder = folder();
    let (path, _) = file(&folder, "report.pdf", 2, 1000);
    let mut peer = Launch::new(folder.path().join("peer")).start();
    peer.store(&path);
    let data = peer.kill();
    fs::write(data.join("owner"), "damaged").expect("writable");
    let mut peer = Launch::new(data).start();
    until(|| peer.said().contains("gets no lease"));
    let refused = peer.ask(&format!("store {} --for 1h", path.display()));
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("nothing was stored")), "{refused}");
}

#[test]
fn a_file_of_the_data_folder_that_was_emptied_is_told_once_when_the_peer_starts_and_one_that_is_empty_by_right_is_not()
{
    let folder = folder();
    let [(path, _), (other, _)] = ["report.pdf", "other"].map(|name| file(&folder, name, 2, 1000));
    let mut peer = Launch::new(folder.path().join("peer")).start();
    for path in [&path, &other] {
        peer.store(path);
        peer.ask(&format!("delete {}", path.file_name().expect("a name").display()));
    }
    let data = peer.kill();
    let peer = Launch::new(&data).start();
    assert!(!peer.all_said().contains("emptied"));
    let names = ["catalogue", "ended", "leases", "peers.json"];
    for name in names {
        fs::write(data.join(name), "").expect("writable");
    }
    let peer = Launch::new(&data).start();
    let told = |said: &str, name: &str| {
        said.contains(&format!("{name} was emptied")) || said.contains(&format!("{name}' was emptied"))
    };
    until(|| names.iter().all(|name| told(&peer.said(), name)));
    peer.all_said();
    let peer = Launch::new(&data).start();
    assert!(!peer.all_said().contains("emptied"));
}

#[test]
fn a_damaged_line_of_what_was_deleted_is_told_when_the_peer_starts_and_set_aside() {
    let folder = folder();
    let (path, _) = file(&folder, "report.pdf", 2, 1000);
    let mut peer = Launch::new(folder.path().join("peer")).start();
    peer.store(&path);
    peer.ask("delete report.pdf");
    let data = peer.kill();
    let mut ended = fs::read(data.join("ended")).expect("there");
    ended.extend_from_slice(b"\xff\n");
    fs::write(data.join("ended"), &ended).expect("writable");
    let peer = Launch::new(&data).start();
    until(|| peer.said().contains("ended: 1 of its lines cannot be read"));
    assert!(fs::read(data.join("ended.damaged-1")).expect("there") == ended);
    assert!(fs::read(data.join("ended")).expect("there") == ended[..ended.len() - 2]);
}

#[test]
fn a_local_file_that_is_no_manifest_is_an_argument_that_is_wrong_and_no_damage_of_the_network() {
    let folder = folder();
    let photos = folder.path().join("photos");
    fs::create_dir_all(photos.join("a")).expect("writable");
    fs::write(photos.join("a/x"), "hi").expect("writable");
    let mut peer = Launch::new(folder.path().join("peer")).start();
    assert_eq!(peer.ask(&format!("store {}", photos.display()))["answer"], "stored_folder");
    let inside = text(&photos.join("a/x")).to_owned();
    peer.ask("delete photos");
    let dest = folder.path().join("zz");
    let data = text(&peer.data).to_owned();
    for words in [&["cat", &inside][..], &["retrieve", &inside, text(&dest)], &["check", &inside]] {
        assert_ends(&[words, &["--data", &data]].concat(), 2, "no manifest file");
        assert_ends(&[words, &["--bootstrap", &format!("127.0.0.1:{}", peer.port)]].concat(), 2, "no manifest file");
    }
    assert!(!dest.exists());
}
