//! Clients that come for one command.

use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::running::{KEY, address, code, folder, key_of, printed, run, said, text};
use crate::support::{Launch, file, program, until, walk};

#[test]
fn a_client_stores_and_retrieves_through_files_pipes_and_manifests() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 2, &[]);
    let bootstrap = address(&peers[1]);
    let (path, original) = file(&folder, "my file", 2, 2_500_000);
    let manifest = folder.path().join("the.manifest");
    let stored = run(&["store", text(&path), text(&manifest), "--bootstrap", &bootstrap]);
    let text_of_it = printed(&stored);
    assert_eq!(code(&stored), Some(0), "{}", said(&stored));
    assert!(text_of_it.contains("2 copies of each"), "{text_of_it}");
    let key = text_of_it.lines().find_map(|line| line.strip_prefix("key ")).expect("a key").to_owned();
    assert_eq!(fs::read_to_string(&manifest).expect("written").matches('|').count(), 3, "three blocks");

    let piped = pipe(&["store", "-", "--json", "--bootstrap", &bootstrap], &original);
    let answer: Value = serde_json::from_slice(&piped.stdout).expect("one line of JSON");
    assert_eq!((&answer["answer"], &answer["key"]), (&json!("stored"), &json!(key)), "{answer}");

    let dest = folder.path().join("back");
    for source in [key.as_str(), text(&manifest)] {
        let output = run(&["retrieve", source, text(&dest), "--bootstrap", &bootstrap]);
        assert_eq!(code(&output), Some(0), "{}", said(&output));
        assert!(fs::read(&dest).expect("there") == original);
        fs::remove_file(&dest).expect("there");
        let output = run(&["retrieve", source, "-", "--bootstrap", &bootstrap]);
        assert_eq!(code(&output), Some(0), "{}", said(&output));
        assert!(output.stdout == original, "standard output holds the file and nothing else");
        assert!(said(&output).starts_with("retrieved 2.4 MiB in 3 blocks"), "{}", said(&output));
    }
}

#[test]
fn a_file_of_blocks_that_repeat_has_one_number_of_blocks() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let path = folder.path().join("zeros");
    fs::File::create(&path).expect("writable").set_len(16 << 20).expect("writable");
    for number in 0..3 {
        let stored = run(&["store", text(&path), "--json", "--bootstrap", &address(&peers[0])]);
        let stored: Value = serde_json::from_slice(&stored.stdout).expect("one line of JSON");
        assert_eq!((&stored["blocks"], &stored["lists"]), (&json!(16), &json!(1)), "{stored}");
        assert_eq!(stored["copies"], json!([0, 17]), "{stored}");
        let back = folder.path().join(format!("back {number}"));
        let key = stored["key"].as_str().expect("a key");
        let retrieved = run(&["retrieve", key, text(&back), "--json", "--bootstrap", &address(&peers[0])]);
        let retrieved: Value = serde_json::from_slice(&retrieved.stdout).expect("one line of JSON");
        assert_eq!(retrieved["blocks"], json!(16), "{retrieved}");
    }
}

fn pipe(args: &[&str], input: &[u8]) -> Output {
    let mut child = program()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_client_looks_up_and_pings() {
    let folder = folder();
    let mut peers = crate::support::cluster(&folder, 2, &[]);
    let bootstrap = address(&peers[0]);
    let (path, _) = file(&folder, "original", 3, 1000);
    let key = peers[0].store(&path);
    let output = run(&["lookup", &key, "--bootstrap", &bootstrap]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    for peer in &peers {
        assert!(
            printed(&output).contains(&format!("{} 127.0.0.1:{}  holds it", peer.id, peer.port)),
            "{}",
            printed(&output)
        );
    }
    let output = run(&["ping", &address(&peers[1]).replace("127.0.0.1", "localhost"), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!((code(&output), &answer["peer"]["id"]), (Some(0), &json!(peers[1].id)), "{answer}");
}

#[test]
fn the_blocks_of_the_seeds_program_are_imported_as_they_are_and_its_manifests_retrieve() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 2, &[]);
    let bootstrap = address(&peers[0]);
    let (_, original) = file(&folder, "original", 3, 2_500_000);
    let store = folder.path().join("dht_store");
    fs::create_dir(&store).expect("writable");
    let mut list = String::new();
    for block in original.chunks(1 << 20) {
        let key = kadring::id::Id::of(block);
        fs::write(store.join(key.to_string()), block).expect("writable");
        list += &format!("{key}${}|", block.len());
    }
    let wrong = kadring::id::Id::of(b"something else").to_string();
    fs::write(store.join(&wrong), "not that").expect("writable");
    let large = vec![7; (1 << 20) + 1];
    fs::write(store.join(kadring::id::Id::of(&large).to_string()), &large).expect("writable");
    fs::write(store.join("config.json"), "{}").expect("writable");
    let state = folder.path().join("state");
    let client = |words: &[&str]| {
        let mut command = program();
        command.env("XDG_STATE_HOME", &state).args(words).args(["--bootstrap", &bootstrap, "--json"]);
        command.output().expect("the program runs")
    };
    let imported = client(&["import", text(&store), "--for", "1h"]);
    assert_eq!(code(&imported), Some(3), "one of its blocks is damaged: {}", said(&imported));
    let imported: Value = serde_json::from_slice(&imported.stdout).expect("one line of JSON");
    assert_eq!((&imported["blocks"], &imported["bytes"]), (&json!(3), &json!(2_500_000)), "{imported}");
    let left_out = imported["left_out"].to_string();
    for reason in ["a block at most 1048576", "its name is no key"] {
        assert!(left_out.contains(reason), "{left_out}");
    }
    assert!(imported["failed"].to_string().contains("which is not its name"), "{imported}");
    assert_eq!(peers[0].blocks().len(), 3 + 1, "they, and the list of them");
    let none = folder.path().join("none");
    fs::create_dir(&none).expect("writable");
    let nothing = client(&["import", text(&none)]);
    assert_eq!(code(&nothing), Some(4), "a folder without a block is the wrong one: {}", said(&nothing));
    let manifest = folder.path().join("hashfile");
    fs::write(&manifest, list).expect("writable");
    let back = folder.path().join("back");
    let retrieved = run(&["retrieve", text(&manifest), text(&back), "--bootstrap", &address(&peers[1])]);
    assert_eq!(code(&retrieved), Some(0), "{}", said(&retrieved));
    assert!(fs::read(&back).expect("there") == original);
    assert_eq!(code(&run(&["import", "/no/such/folder", "--bootstrap", &bootstrap])), Some(4));
    // They are on a lease, and the catalogue has them as one file.
    let files = program().env("XDG_STATE_HOME", &state).args(["files", "--json"]).output().expect("it runs");
    let files: Value = serde_json::from_slice(&files.stdout).expect("one line of JSON");
    let entry = &files["files"][0];
    assert_eq!((&entry["name"], &entry["key"]), (&json!("dht_store"), &imported["key"]), "{files}");
    assert!(entry["lease"]["until"].is_u64() && entry.get("begun").is_none(), "{files}");
    for (command, field, expected) in [("check", "blocks", 4), ("renew", "copies", 8), ("delete", "free", 8)] {
        let done = client(&[command, "dht_store"]);
        let told: Value = serde_json::from_slice(&done.stdout).expect("one line of JSON");
        assert_eq!((code(&done), &told[field]), (Some(0), &json!(expected)), "{command}: {told}");
    }
}

#[test]
fn who_asks_a_peer_of_the_other_overlay_is_told_so_at_once() {
    let folder = folder();
    for (theirs, ours) in [("kad", "ring"), ("ring", "kad")] {
        let peer = Launch::new(folder.path().join(theirs)).args(&["--overlay", theirs]).start();
        let (path, _) = file(&folder, "original", 3, 1000);
        for words in [&["ping", &address(&peer)][..], &["store", text(&path), "--bootstrap", &address(&peer)]] {
            let output = run(&[words, &["--overlay", ours]].concat());
            assert_ne!(code(&output), Some(0));
            assert!(said(&output).contains(&format!("--overlay {theirs}")), "{words:?}: {}", said(&output));
        }
        let other = Launch::new(folder.path().join(format!("a peer of {ours}"))).args(&["--overlay", ours]);
        let other = other.through(peer.port).start();
        until(|| other.said().contains("but: "));
        assert!(other.said().contains(&format!("--overlay {theirs}")), "{}", other.said());
        let output = run(&["store", text(&path), "--bootstrap", &address(&peer), "--overlay", ours]);
        assert_eq!(code(&output), Some(7), "to ask again does not help: {}", said(&output));
    }
}

#[test]
fn peers_and_clients_of_the_ring_need_but_one_option_more() {
    let folder = folder();
    let mut peers = crate::support::cluster(&folder, 3, &["--overlay", "ring"]);
    assert_eq!(peers[0].ask("status")["overlay"], "ring");
    let bootstrap = address(&peers[1]);
    let (path, original) = file(&folder, "original", 7, 1_500_000);
    let stored = run(&["store", text(&path), "--overlay", "ring", "--bootstrap", &bootstrap, "--json"]);
    let answer: Value = serde_json::from_slice(&stored.stdout).unwrap_or_else(|_| panic!("{}", said(&stored)));
    assert_eq!(answer["answer"], "stored", "{answer}");
    assert_eq!(answer["copies"], json!([0, 0, 0, 3]), "who listens at one address also speaks from that one: {answer}");
    peers[2].retrieve(answer["key"].as_str().expect("a key"), &folder.path().join("back"), &original);
}

#[test]
fn a_link_is_followed_and_the_manifest_is_as_readable_as_any_file() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let bootstrap = address(&peers[0]);
    let (path, original) = file(&folder, "original", 8, 1000);
    let (manifest, touched) = (folder.path().join("manifest"), folder.path().join("touched"));
    assert_eq!(code(&run(&["store", text(&path), text(&manifest), "--bootstrap", &bootstrap])), Some(0));
    fs::write(&touched, "").expect("writable");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode();
    assert_eq!(mode(&manifest), mode(&touched));
    let link = folder.path().join("link");
    symlink(&touched, &link).expect("a link");
    assert_eq!(code(&run(&["retrieve", text(&manifest), text(&link), "--bootstrap", &bootstrap])), Some(0));
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    assert!(fs::read(&touched).expect("there") == original);
}

#[test]
fn whoever_answers_in_another_protocol_is_told_by_what_it_says() {
    let folder = folder();
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = stranger.local_addr().expect("bound").to_string();
    // It ends with the tests.
    thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((_, from)) = stranger.recv_from(&mut bytes) {
            let _ = stranger.send_to(b"SSH-2.0\r\n", from);
        }
    });
    let told = format!("something answers at {address}, but: it is no peer, and says \"SSH-2.0\\r\\n\"");
    for words in [&["ping", &address][..], &["report", &address, "--once"], &["cat", KEY, "--bootstrap", &address]] {
        let output = run(words);
        assert!(said(&output).contains(&told), "{words:?}: {}", said(&output));
        assert!(code(&output).is_some_and(|code| code != 0 && code != 5), "to try again does not help: {output:?}");
    }
    let peer = Launch::new(folder.path().join("data")).args(&["--bootstrap", &address]).start();
    until(|| peer.said().contains(&told));
}

#[test]
fn where_connections_come_about_and_datagrams_bring_no_answer_everybody_is_told_so() {
    // Nobody else is to listen at the port that answers no datagram, neither now nor in a while.
    let (address, _silent, listener) = std::iter::repeat_with(|| {
        let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let (at, listener) = (silent.local_addr().expect("bound"), Socket::new(Domain::IPV4, Type::STREAM, None));
        let listener = listener.expect("a socket");
        listener.bind(&at.into()).is_ok().then_some((at.to_string(), silent, listener))
    })
    .find_map(|free| free)
    .expect("there are ports");
    let asks = [&["lookup", KEY, "--bootstrap", &address][..], &["ping", &address], &["report", &address, "--once"]];
    let told = format!("TCP connects to {address}, and UDP brings no answer");
    for words in &asks[1..] {
        let output = run(words);
        assert_eq!((code(&output), said(&output).contains(&told)), (Some(5), false), "{words:?}: {}", said(&output));
    }
    listener.listen(9).expect("it may");
    for words in asks {
        let output = run(words);
        assert_eq!((code(&output), said(&output).contains(&told)), (Some(5), true), "{words:?}: {}", said(&output));
    }
    let folder = folder();
    let peer = Launch::new(folder.path().join("data")).args(&["--bootstrap", &address]).start();
    until(|| peer.said().contains(&told));
}

#[test]
fn as_json_a_client_that_finds_nobody_answers_too() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let nobody = silent.local_addr().expect("bound").to_string();
    let output = run(&["lookup", KEY, "--bootstrap", &nobody, "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!((code(&output), &answer["answer"], &answer["kind"]), (Some(5), &json!("failed"), &json!("timed_out")));
    assert!(answer["reason"].as_str().is_some_and(|reason| reason.contains(&nobody)), "{answer}");
}

#[test]
fn a_client_needs_no_folder_for_temporary_files() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "original", 4, 3_000_000);
    let key = peer.store(&path);
    let without = |words: &[&str]| {
        let nowhere = folder.path().join("no such folder");
        program().args(words).env("TMPDIR", &nowhere).stdin(std::process::Stdio::null()).output().expect("it runs")
    };
    let (there, dest) = (address(&peer), folder.path().join("back"));
    for words in [
        &["ping", &there][..],
        &["lookup", &key, "--bootstrap", &there],
        &["store", text(&path), "--bootstrap", &there],
        &["retrieve", &key, text(&dest), "--bootstrap", &there],
    ] {
        let output = without(words);
        assert_eq!(code(&output), Some(0), "{words:?}: {}", said(&output));
    }
    assert!(std::fs::read(&dest).expect("there") == original);
    // What cannot do without says so, and that it is no fault of what was named.
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).expect("writable");
    std::fs::write(tree.join("file"), "x").expect("writable");
    let tree = key_of(&run(&["store", text(&tree), "--bootstrap", &there]));
    let in_tree = format!("{tree}/file");
    for words in [&["ls", &tree][..], &["cat", &in_tree], &["store", "-"]] {
        let output = without(&[words, &["--bootstrap", &there]].concat());
        assert_eq!(code(&output), Some(1), "{words:?}: {}", said(&output));
        assert!(said(&output).contains("no such folder"), "{words:?}: {}", said(&output));
    }
}

#[test]
fn a_file_goes_to_standard_output_while_its_blocks_arrive_a_few_at_a_time_and_a_signal_ends_that() {
    let folder = folder();
    let mut peers = crate::support::cluster(&folder, 1, &[]);
    let (path, original) = file(&folder, "original", 5, 24 << 20);
    let key = peers[0].store(&path);
    let temporary = folder.path().join("temporary");
    fs::create_dir(&temporary).expect("writable");
    let mut client = program()
        .args(["retrieve", &key, "-", "--bootstrap", &address(&peers[0])])
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // Its reader has taken a block, and takes no more.
    let mut first = vec![0; 1 << 20];
    client.stdout.as_mut().expect("piped").read_exact(&mut first).expect("the first block comes");
    assert!(first == original[..first.len()], "something else came first");
    let size =
        || walk(&temporary).iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum::<u64>();
    until(|| size() >= 15 << 20);
    assert!(size() <= 16 << 20, "{} bytes are there of a file of {}", size(), original.len());
    let pid = Pid::from_raw(client.id().try_into().expect("a pid"));
    kill(pid, Signal::SIGTERM).expect("it is ours");
    let ended = client.wait().expect("it ends");
    assert_eq!(ended.signal(), Some(Signal::SIGTERM as i32), "{ended}");
    assert_eq!(walk(&temporary), Vec::<PathBuf>::new(), "nothing stays behind");
}
