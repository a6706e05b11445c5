//! Folders: stored, listed, shown and brought back, whatever is in them and whoever made them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use kadring::id::Id;
use kadring::node::{Answer, Command, Notice};
use kadring::runtime::{LocalPeer, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::running::{address, code, folder, printed, run, said, text};
use crate::support::{Launch, PeerProcess, bytes, cluster, program, until, walk};

/// A tree with all that there can be in one: large and small files, odd names, links, empty folders.
fn plant(at: &Path) {
    fs::create_dir_all(at.join("docs/empty")).expect("writable");
    fs::create_dir_all(at.join("docs.old")).expect("writable");
    fs::write(at.join("docs/readme.txt"), "hello\n").expect("writable");
    fs::write(at.join("docs/run.sh"), "#!/bin/sh\necho hi\n").expect("writable");
    fs::set_permissions(at.join("docs/run.sh"), fs::Permissions::from_mode(0o755)).expect("our own");
    fs::write(at.join("docs/nothing"), "").expect("writable");
    fs::write(at.join("large"), bytes(7, 2_500_000)).expect("writable");
    fs::write(at.join("docs.old/three quarters"), bytes(8, 800_000)).expect("writable");
    fs::write(at.join("docs.old/half"), bytes(9, 500_000)).expect("writable");
    fs::write(at.join(OsString::from_vec(b"odd\n\xff\x1b[2J".to_vec())), "odd").expect("writable");
    symlink("../large", at.join("docs/link")).expect("writable");
    symlink("docs/../..", at.join("nowhere yet")).expect("writable");
    fs::remove_file(at.join("nowhere yet")).expect("there");
}

/// Everything below a folder: paths, kinds, bytes and whether they may be executed.
fn tree(at: &Path) -> BTreeMap<PathBuf, (String, Id)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![at.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable") {
            let path = entry.expect("readable").path();
            let there = fs::symlink_metadata(&path).expect("there");
            let what = if there.is_dir() {
                folders.push(path.clone());
                ("folder".to_owned(), Id::ZERO)
            } else if there.is_symlink() {
                (format!("link to {}", fs::read_link(&path).expect("there").display()), Id::ZERO)
            } else {
                let executable = there.permissions().mode() & 0o100 != 0;
                (format!("file {executable}"), Id::of(&fs::read(&path).expect("readable")))
            };
            found.insert(path.strip_prefix(at).expect("below").to_owned(), what);
        }
    }
    found
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {}{}", printed(output), said(output)))
}

fn paths(listing: &Value) -> Vec<String> {
    let items = listing["items"].as_array().unwrap_or_else(|| panic!("no listing: {listing}"));
    items.iter().map(|item| item["path"].as_str().map_or_else(|| item["path"].to_string(), str::to_owned)).collect()
}

/// Nothing but these names is in the folder: nothing temporary stayed behind.
#[track_caller]
fn assert_names(folder: &Path, expected: &[&str]) {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("peer"))
        .collect();
    names.sort();
    assert_eq!(names, expected);
}

#[test]
fn through_a_pipe_a_folder_is_stored_listed_shown_and_brought_back_by_its_name() {
    let folder = folder();
    let source = folder.path().join("things");
    plant(&source);
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let stored = peer.ask(&format!("store '{}'", source.display()));
    assert_eq!(stored["answer"], "stored_folder", "{stored}\n{}", peer.said());
    let told = ["files", "folders", "links", "bytes"].map(|field| stored[field].as_u64());
    assert_eq!(told, [7, 3, 1, 3_800_027].map(Some), "{stored}");
    let again = peer.ask(&format!("store '{}'", source.display()));
    assert_eq!(again["key"], stored["key"], "the same tree has the same key");
    let files = peer.ask("files things");
    assert_eq!((&files["files"][0]["key"], &files["files"][0]["folder"]), (&stored["key"], &json!(true)));

    let odd = "[111,100,100,10,255,27,91,50,74]";
    assert_eq!(paths(&peer.ask("ls things")), ["docs", "docs.old", "large", odd]);
    assert_eq!(paths(&peer.ask("ls things/docs")), ["empty", "link", "nothing", "readme.txt", "run.sh"]);
    assert_eq!(paths(&peer.ask("ls things --all")).len(), 11);
    let one = peer.ask("ls things/docs/run.sh");
    assert_eq!((&one["items"][0]["executable"], &one["items"][0]["bytes"]), (&json!(true), &json!(18)));
    assert_eq!(peer.ask("ls things/none")["kind"], "not_found");
    assert_eq!(peer.ask("ls")["answer"], "files");
    assert_eq!(peer.ask("cat things/docs/readme.txt"), json!({ "answer": "text", "text": "hello\n" }));
    assert_eq!(peer.ask("cat things/large")["kind"], "usage", "it is too long for a line");
    assert_eq!(peer.ask("cat things/docs")["kind"], "folder");

    let dest = folder.path().join("back");
    let retrieve = |peer: &mut PeerProcess, what: &str, options: &str| {
        peer.ask(&format!("retrieve {what} '{}' {options}", folder.path().join("back").display()))
    };
    let retrieved = retrieve(&mut peer, "things", "");
    assert_eq!((&retrieved["answer"], &retrieved["skipped"]), (&json!("retrieved_folder"), &json!([])), "{retrieved}");
    assert_eq!(tree(&dest), tree(&source));
    assert_eq!(retrieve(&mut peer, "things", "")["standing"], json!(true), "it is there already");
    assert_names(folder.path(), &["back", "things"]);

    fs::write(dest.join("dear"), "dear").expect("writable");
    let refused = retrieve(&mut peer, "things", "");
    assert_eq!(refused["kind"], "exists", "{refused}");
    let forced = retrieve(&mut peer, "things/docs", "--force");
    assert_eq!(forced["files"], 3, "{forced}");
    assert_eq!(tree(&dest).len(), 4, "nothing was merged, and a link that would lead out was not made");
    assert_eq!(forced["skipped"][0]["file"], "link", "{forced}");
    let aside = PathBuf::from(forced["aside"].as_str().expect("told"));
    assert_eq!(fs::read_to_string(aside.join("dear")).expect("it is not lost"), "dear");
    let single = folder.path().join("single");
    let large = peer.ask(&format!("retrieve things/large '{}'", single.display()));
    assert_eq!(large["answer"], "retrieved", "{large}");
    assert_eq!(fs::read(&single).expect("there"), bytes(7, 2_500_000));
    let script = peer.ask(&format!("retrieve things/docs/run.sh '{}'", single.display()));
    assert_eq!(script["kind"], "exists", "{script}");
    let script = peer.ask(&format!("retrieve things/docs/run.sh '{}' --force", single.display()));
    assert_eq!(script["bytes"], 18, "{script}");
    assert!(fs::metadata(&single).expect("there").permissions().mode() & 0o100 != 0, "it can be executed");
    assert_names(folder.path(), &["back", "back.before-1", "single", "things"]);
}

#[test]
fn clients_and_the_control_socket_do_the_same_and_cat_writes_any_bytes() {
    let folder = folder();
    let source = folder.path().join("things");
    plant(&source);
    let peers = cluster(&folder, 2, &[]);
    let state = folder.path().join("peer state");
    let as_user = |words: &[&str]| {
        program().args(words).env("XDG_STATE_HOME", &state).stdin(Stdio::null()).output().expect("it runs")
    };
    let through = |words: &[&str]| as_user(&[words, &["--bootstrap", &address(&peers[1])]].concat());
    let by_data = |words: &[&str]| run(&[words, &["--data", text(&peers[0].data)]].concat());
    let ctl = |words: &[&str]| run(&[&["ctl", "--data", text(&peers[0].data)], words].concat());
    let stored = through(&["store", text(&source), "-q"]);
    let key = printed(&stored).trim().to_owned();
    assert_eq!((code(&stored), key.len()), (Some(0), 64), "{}", said(&stored));
    assert_eq!(printed(&by_data(&["store", text(&source), "-q"])).trim(), key);
    let told = printed(&ctl(&["store", text(&source)]));
    assert!(told.starts_with(&format!("key {key}\nstored ")) && told.contains("7 files, 3 folders, 1 link"), "{told}");
    assert!(printed(&as_user(&["files"])).contains("  things/\n"));

    let large = bytes(7, 2_500_000);
    type Ask<'a> = &'a dyn Fn(&[&str]) -> Output;
    let ways: [(&str, Ask<'_>); 3] = [("a guest", &through), ("a client", &by_data), ("ctl", &ctl)];
    for (number, (way, ask)) in ways.into_iter().enumerate() {
        let listed = ask(&["ls", "things"]);
        let told = printed(&listed);
        assert!(told.contains("  docs/\n") && told.contains("2.4 MiB  large\n"), "{way}: {told}{}", said(&listed));
        assert!(told.contains("odd\\n\\xff\\u{1b}[2J"), "control characters and odd bytes are spelled out: {told:?}");
        assert!(printed(&ask(&["ls", "--all", &format!("{key}/docs/")])).contains("  link -> ../large\n"), "{way}");
        let shown = ask(&["cat", "things/large"]);
        assert!(shown.stdout == large, "{way}: {}", said(&shown));
        assert_eq!((code(&shown), said(&shown)), (Some(0), String::new()), "{way}");
        assert_eq!(ask(&["cat", "things/docs/run.sh"]).stdout, b"#!/bin/sh\necho hi\n", "{way}");
        let missing = ask(&["cat", "things/none"]);
        assert_eq!((code(&missing), missing.stdout.len()), (Some(4), 0), "{way}: {}", said(&missing));
        for no_file in ["things", "things/docs"] {
            let refused = ask(&["cat", no_file]);
            assert_eq!((code(&refused), refused.stdout.len()), (Some(2), 0), "{way}: {}", said(&refused));
        }
        let dest = folder.path().join(format!("back {number}"));
        let back = ask(&["retrieve", "things", text(&dest)]);
        assert_eq!(code(&back), Some(0), "{way}: {}", said(&back));
        assert_eq!(tree(&dest), tree(&source), "{way}");
        let inside = ask(&["retrieve", "things/docs", text(&dest.join("inside")), "--json"]);
        assert_eq!((code(&inside), &answer(&inside)["files"]), (Some(3), &json!(3)), "{way}: a link is missing");
    }
    let both = through(&["store", text(&source), text(&source.join("large")), "--json"]);
    let answers = answer(&both);
    assert_eq!((&answers["answers"][0]["key"], &answers["answers"][1]["answer"]), (&json!(key), &json!("stored")));
    let manifest = through(&["store", text(&source), "new.manifest"]);
    assert_eq!(code(&manifest), Some(2), "{}", said(&manifest));
    let file = through(&["ls", answers["answers"][1]["key"].as_str().expect("a key")]);
    assert_eq!(code(&file), Some(2), "a file is no folder: {}", said(&file));
}

#[test]
fn a_peer_that_never_stored_a_folder_checks_waits_for_and_clears_all_of_it_by_its_key() {
    let folder = folder();
    let source = folder.path().join("things");
    plant(&source);
    let mut peers = cluster(&folder, 2, &[]);
    let stored = peers[0].ask(&format!("store '{}'", source.display()));
    let key = stored["key"].as_str().expect("a key").to_owned();
    let held = peers[1].blocks().len();
    assert!(held > 5, "files, a pack and the listing: {held}");
    let checked = peers[1].ask(&format!("check {key}"));
    assert_eq!((&checked["health"], &checked["blocks"]), (&json!("whole"), &json!(held)), "{checked}");
    assert_eq!(checked["bytes"], stored["bytes"], "those of the files, and not of its listing and packs");
    assert_eq!(peers[1].ask(&format!("wait copies {key} 2 --deadline 20s"))["answer"], "waited");
    let cleared = peers[1].ask(&format!("clear {key}"));
    assert_eq!((&cleared["answer"], &cleared["blocks"]), (&json!("cleared"), &json!(held)), "{cleared}");
    // Without its listing nobody knows what the folder is made of.
    for peer in &mut peers {
        peer.ask(&format!("clear --force {key}"));
    }
    let lost = peers[0].ask(&format!("check {key}"));
    assert_eq!(lost["health"], "lost", "{lost}");
}

/// The README's own commands leave a peer's data folder beside what is to be stored.
#[test]
fn a_data_folder_and_a_catalogue_in_what_is_stored_are_left_out_and_named_and_none_is_stored_itself() {
    let folder = folder();
    fs::write(folder.path().join("file"), "mine").expect("writable");
    let peer = Launch::new(folder.path().join("one")).start();
    let state = folder.path().join("state/kadring");
    let store = |path: &Path| {
        let mut command = program();
        command.args(["store", text(path), "--json", "--bootstrap", &address(&peer)]);
        command.env("XDG_STATE_HOME", folder.path().join("state")).output().expect("the program runs")
    };
    assert_eq!(code(&store(&folder.path().join("file"))), Some(0));
    for _ in 0..2 {
        let output = store(folder.path());
        let stored = answer(&output);
        let skipped: Vec<_> = stored["skipped"].as_array().expect("told").iter().map(|one| &one["file"]).collect();
        assert_eq!(code(&output), Some(3), "{stored}");
        assert_eq!(skipped, [&json!("one"), &json!("state/kadring")], "{stored}");
        assert_eq!(stored["folders"], 1, "'state' alone: {stored}");
    }
    for secret in [&peer.data, &state] {
        let refused = store(secret);
        assert_eq!(code(&refused), Some(2), "{}", answer(&refused));
    }
}

#[test]
fn what_is_no_file_is_skipped_and_told_and_what_cannot_be_read_is_skipped_only_when_that_was_said() {
    let folder = folder();
    let source = folder.path().join("things");
    plant(&source);
    let _socket = UnixListener::bind(source.join("socket")).expect("a socket");
    fs::write(source.join("secret"), "secret").expect("writable");
    fs::create_dir(source.join("vault")).expect("writable");
    // Whoever may read everything is made somebody who may not.
    for hidden in ["secret", "vault"] {
        fs::set_permissions(source.join(hidden), fs::Permissions::from_mode(0o000)).expect("our own");
    }
    for open in [folder.path(), &source] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).expect("our own");
    }
    let peer = Launch::new(folder.path().join("peer")).start();
    let is_root = nix::unistd::geteuid().is_root();
    let store = |options: &[&str]| {
        let mut command = program();
        command.args(["store", text(&source), "--json", "--bootstrap", &address(&peer)]).args(options);
        command.stdin(Stdio::null());
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        command.output().expect("the program runs")
    };
    let refused = store(&[]);
    let told = answer(&refused);
    let reason = told["reason"].as_str().unwrap_or_default();
    assert_eq!(code(&refused), Some(1), "{told}");
    assert!(reason.contains("\"secret\" (") && reason.contains("\"vault\" (") && reason.contains("--skip-unreadable"));
    assert_eq!(peer.blocks().len(), 0, "nothing was stored");
    let stored = answer(&store(&["--skip-unreadable", "--exclude", "docs*", "--exclude", "large"]));
    let skipped: Vec<_> = stored["skipped"].as_array().expect("told").iter().map(|one| &one["file"]).collect();
    assert_eq!(skipped, [&json!("socket"), &json!("secret"), &json!("vault")], "{stored}");
    assert_eq!(stored["files"], 1, "{stored}");
    for hidden in ["secret", "vault"] {
        fs::set_permissions(source.join(hidden), fs::Permissions::from_mode(0o700)).expect("our own");
    }
}

#[test]
fn storing_a_folder_again_moves_only_what_changed() {
    let folder = folder();
    let source = folder.path().join("many");
    for number in 0..3000_u64 {
        let name = source.join(format!("folder {:02}/file {number:04}", number / 100));
        fs::create_dir_all(name.parent().expect("below")).expect("writable");
        fs::write(name, bytes(number + 1, 1024)).expect("writable");
    }
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let store = |peer: &mut PeerProcess| {
        let stored = peer.ask(&format!("store '{}'", source.display()));
        assert_eq!(stored["files"], 3000, "{stored}");
        peer.blocks()
    };
    let before = store(&mut peer);
    assert!(before.len() < 12, "small files share blocks: {} for 3 MB", before.len());
    fs::write(source.join("folder 15/file 1550"), bytes(9999, 1024)).expect("writable");
    let after = store(&mut peer);
    let moved = after.iter().filter(|key| !before.contains(key)).count();
    assert_eq!(moved, 3, "a pack, the listing and its root");
}

#[test]
fn a_retrieve_that_failed_goes_on_where_it_stopped() {
    let folder = folder();
    let source = folder.path().join("things");
    plant(&source);
    // The missing block is begun on once others have come: more blocks than are under way at a time stand before it.
    let large = bytes(7, (20 << 20) + 5);
    fs::write(source.join("large"), &large).expect("writable");
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let store = format!("store '{}'", source.display());
    assert_eq!(peer.ask(&store)["answer"], "stored_folder");
    let last = Id::of(&large[20 << 20..]).to_string();
    let block = walk(&peer.data.join("blocks")).into_iter().find(|path| path.ends_with(&last)).expect("it is here");
    fs::remove_file(block).expect("there");
    let dest = folder.path().join("back");
    let retrieve = format!("retrieve things '{}'", dest.display());
    let failed = peer.ask(&retrieve);
    let reason = failed["reason"].as_str().expect("it fails");
    assert!(reason.contains("are kept, and the same command goes on from there"), "{failed}");
    assert!(!dest.exists(), "there is nothing until there is everything");
    assert_eq!(peer.ask(&store)["answer"], "stored_folder", "the block is here again");
    let retrieved = peer.ask(&retrieve);
    assert!(retrieved["resumed"].as_u64().is_some_and(|bytes| bytes > 1_000_000), "{retrieved}");
    assert_eq!(tree(&dest), tree(&source));
    assert_names(folder.path(), &["back", "things"]);
}

#[test]
fn a_client_that_is_interrupted_ends_the_store_of_its_folder_and_nothing_of_it_goes_on() {
    let folder = folder();
    let source = folder.path().join("things");
    plant(&source);
    // So much takes minutes, and needs no room.
    fs::File::create(source.join("zeros")).and_then(|file| file.set_len(64 << 30)).expect("writable");
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let words = ["ctl", "--data", text(&peer.data), "store", text(&source)];
    let client = program().args(words).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    until(|| peer.blocks().len() > 2);
    kill(Pid::from_raw(client.id().try_into().expect("a process id")), Signal::SIGINT).expect("it runs");
    let client = client.wait_with_output().expect("it ends");
    assert_eq!(client.status.signal(), Some(Signal::SIGINT as i32), "a shell's loop ends with it");
    assert!(said(&client).contains("cancelled"), "{}", said(&client));
    until(|| peer.ask("status")["transfers"] == json!(0));
    let stored = peer.ask(&format!("store '{}' --exclude zeros", source.display()));
    assert_eq!(stored["answer"], "stored_folder", "{stored}");
}

/// Stores a listing, whatever it says, as nobody's folder.
fn store_listing(peer: &LocalPeer, at: &Path, listing: &str) -> Id {
    fs::write(at, listing).expect("writable");
    let notices = peer.submit(Command::StoreListing { path: at.to_owned(), keep: true });
    let answers = notices.into_iter().find_map(|notice| match notice {
        Notice::Answer { answer, .. } => Some(answer),
        _ => None,
    });
    match answers {
        Some(Answer::Stored { key, .. }) => key,
        other => panic!("not stored: {other:?}"),
    }
}

#[test]
fn a_hostile_listing_writes_nothing_anywhere_and_says_what_is_wrong() {
    let folder = folder();
    let peer = LocalPeer::start(Options::default()).expect("it starts");
    let ready = peer.ready(None).expect("it is ready");
    let bootstrap = format!("127.0.0.1:{}", ready.udp);
    let sha256 = Id::of(b"x");
    let head = "{\"kind\":\"listing\",\"version\":1}\n";
    let line = |fields: &str| format!("{{{fields}}}\n");
    let of = |path: &str| line(&format!("\"kind\":\"folder\",\"path\":\"{path}\""));
    let link =
        |path: &str, target: &str| line(&format!("\"kind\":\"link\",\"path\":\"{path}\",\"target\":\"{target}\""));
    let file = |path: &str, size: u64| {
        line(&format!("\"kind\":\"file\",\"path\":\"{path}\",\"size\":{size},\"sha256\":\"{sha256}\""))
    };
    let own = |path: &str, size: u64, key: &Id| {
        line(&format!(
            "\"kind\":\"file\",\"path\":\"{path}\",\"size\":{size},\"sha256\":\"{sha256}\",\"key\":\"{key}\""
        ))
    };
    let pack = |size: u64| line(&format!("\"kind\":\"pack\",\"key\":\"{sha256}\",\"size\":{size}"));
    let inner = store_listing(&peer, &folder.path().join("listing"), head);
    let outside = folder.path().join("outside");
    let hostile = [
        ("out", of("../outside"), 6),
        ("absolute", of(text(&outside)), 6),
        ("dots", of(".") + &of(".."), 6),
        ("nul", file("a\\u0000b", 1), 6),
        ("through a link", link("a", "..") + &own("a/outside", 1, &sha256), 6),
        ("twice", of("a") + &link("a", ".."), 6),
        ("10 GB in a pack", pack(1 << 20) + &file("a", 10 << 30), 6),
        ("a large pack", pack(u64::from(u32::MAX)) + &file("a", 5), 6),
        ("overlapping", pack(20) + &file("a", 5) + &file("b", 5), 6),
        ("10 MB of nobody", own("a", 10 << 20, &sha256), 4),
        ("more than any disk has room for", own("a", 1 << 50, &sha256), 1),
        ("a folder as a file", own("a", 1, &inner), 6),
        ("no end", "x".repeat(3 << 20), 6),
        ("many bytes", own("a", u64::MAX, &sha256) + &own("b", u64::MAX, &sha256), 6),
    ];
    for (what, listing, expected) in hostile {
        let key = store_listing(&peer, &folder.path().join("listing"), &(head.to_owned() + &listing));
        let back = folder.path().join("back");
        let output = run(&["retrieve", &key.to_string(), text(&back), "--bootstrap", &bootstrap]);
        assert_eq!(code(&output), Some(expected), "{what}: {}", said(&output));
        assert!(said(&output).starts_with("error: "), "{what}: {}", said(&output));
        assert_names(folder.path(), &["listing"]);
    }
    let sly = link("a", "../outside") + &link("b", "/etc/passwd") + &link("c", "a/..") + &link("d", "c");
    let key = store_listing(&peer, &folder.path().join("listing"), &(head.to_owned() + &sly));
    let back = folder.path().join("back");
    let output = run(&["retrieve", &key.to_string(), text(&back), "--json", "--bootstrap", &bootstrap]);
    assert_eq!(code(&output), Some(3), "{}", said(&output));
    let told = answer(&output);
    assert_eq!((told["skipped"].as_array().map(Vec::len), &told["links"]), (Some(3), &json!(1)), "{told}");
    assert_names(&back, &["d"]);
}

#[test]
fn links_that_no_retrieve_makes_are_told_when_their_folder_is_stored() {
    let folder = folder();
    let peer = cluster(&folder, 1, &[]).remove(0);
    let source = folder.path().join("things");
    fs::create_dir(&source).expect("writable");
    fs::write(source.join("file"), "mine").expect("writable");
    for (name, target) in [("in", "file"), ("out", "../outside"), ("root", "/etc/passwd")] {
        symlink(target, source.join(name)).expect("writable");
    }
    let ctl = |words: &[&str]| run(&[&["ctl", "--data", text(&peer.data)], words].concat());
    let stored = ctl(&["store", text(&source), "--json"]);
    let told = answer(&stored);
    assert_eq!((code(&stored), &told["links"]), (Some(0), &json!(3)), "they are stored: {told}");
    let back = folder.path().join("back");
    let retrieved = answer(&ctl(&["retrieve", told["key"].as_str().expect("a key"), text(&back), "--json"]));
    assert_eq!(retrieved["skipped"].as_array().map(Vec::len), Some(2), "{retrieved}");
    assert_eq!(told["unmade"], retrieved["skipped"], "the same, told before");
    let line = "stored out, which a retrieve will leave out: a link that leads out of the folder: ../outside";
    assert!(printed(&ctl(&["store", text(&source)])).contains(line));
    let quiet = ctl(&["store", "-q", text(&source)]);
    assert!(printed(&quiet).lines().count() == 1 && said(&quiet).contains(line), "{}", said(&quiet));
}
