//! What the command line promises: options, environment, exit codes, files, and clients that come for one command.

mod support;

use std::fs;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Output, Stdio};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use support::{Launch, PeerProcess, file, program, until};
use tempfile::{TempDir, tempdir};

const KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn folder() -> TempDir {
    tempdir().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder's name is text")
}

/// Runs the program to its end, with nothing to read.
fn run(args: &[&str]) -> Output {
    program().args(args).stdin(Stdio::null()).output().expect("the program runs")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn address(peer: &PeerProcess) -> String {
    format!("127.0.0.1:{}", peer.port)
}

#[track_caller]
fn assert_ends(args: &[&str], expected: i32, reason: &str) {
    let output = run(args);
    assert_eq!(code(&output), Some(expected), "{args:?}: {}", said(&output));
    assert!(said(&output).contains(reason), "{args:?} does not say {reason:?}: {}", said(&output));
}

#[test]
fn help_and_version_are_answered() {
    for args in [&["--help"][..], &["peer", "--help"], &["help", "retrieve"], &["--version"]] {
        let output = run(args);
        assert_eq!((code(&output), said(&output).as_str()), (Some(0), ""), "{args:?}");
        assert!(printed(&output).contains("kadring"), "{args:?}");
    }
    let help = printed(&run(&["peer", "--help"]));
    for word in ["--ready-file", "KADRING_PORT", "Exit codes:", "could not start"] {
        assert!(help.contains(word), "{word} is not explained:\n{help}");
    }
}

#[test]
fn who_asks_wrongly_is_told_and_gets_2() {
    for (args, reason) in [
        (&[][..], "Usage"),
        (&["frobnicate"], "frobnicate"),
        (&["peer", "--prot", "1"], "--port"),
        (&["peer", "--port", "70000"], "70000"),
        (&["peer", "--bind", "nowhere"], "nowhere"),
        (&["peer", "--replicas", "0"], "1..=7"),
        (&["peer", "--replicas", "8"], "1..=7"),
        (&["peer", "--replicas", "2", "--quorum", "3"], "--quorum 3 can never be reached"),
        (&["peer", "--id", "abc"], "64 hexadecimal digits"),
        (&["peer", "--capacity", "much"], "much"),
        (&["peer", "--bootstrap", "localhost"], "there is no port"),
        (&["peer", "--overlay", "tree"], "tree"),
        (&["store", "x"], "--bootstrap"),
        (&["lookup", "123", "--bootstrap", "127.0.0.1:1"], "64 hexadecimal digits"),
        (&["retrieve", &KEY[1..], "x", "--bootstrap", "127.0.0.1:1"], "has 63"),
        (&["ping", "127.0.0.1"], "there is no port"),
        (&["completions", "sh"], "sh"),
    ] {
        assert_ends(args, 2, reason);
    }
}

#[test]
fn completions_know_every_task_and_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&run(&["completions", shell]));
        for word in ["retrieve", "ready-file", "no-handover", "overlay"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn every_option_can_come_from_the_environment() {
    let folder = folder();
    let (data, ready) = (folder.path().join("data"), folder.path().join("ready"));
    let mut child = program()
        .arg("peer")
        .envs([("KADRING_PORT", "0"), ("KADRING_ID", KEY), ("KADRING_JSON", "1"), ("KADRING_EXIT_ON_EOF", "true")])
        .envs([("KADRING_DATA", &data), ("KADRING_READY_FILE", &ready)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("piped").write_all(b"status\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let lines = printed(&output);
    let mut lines = lines.lines();
    let announced: Value =
        serde_json::from_str(lines.next().and_then(|line| line.strip_prefix("READY ")).expect("READY")).expect("JSON");
    let status: Value = serde_json::from_str(lines.next().expect("an answer")).expect("JSON");
    assert_eq!((code(&output), lines.next()), (Some(0), None));
    assert_eq!((&announced["id"], &status["me"]["id"]), (&json!(KEY), &json!(KEY)));
    assert!(data.join("blocks").is_dir());
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(&ready).expect("written")).expect("JSON"), announced);
}

#[test]
fn a_variable_that_is_set_but_empty_counts_as_not_set() {
    let folder = folder();
    let names = ["PORT", "BIND", "BOOTSTRAP", "ID", "REPLICAS", "CAPACITY", "READY_FILE", "JSON", "QUORUM"];
    let launch = Launch::new(folder.path().join("data"));
    let launch = names.iter().fold(launch, |launch, name| launch.env(&format!("KADRING_{name}"), ""));
    assert_eq!(launch.start().ask("status")["peers"], json!(0));
}

#[test]
fn a_command_line_option_wins_over_the_environment() {
    let folder = folder();
    let other = KEY.replace('9', "1");
    let peer = Launch::new(folder.path().join("data")).env("KADRING_ID", &other).args(&["--id", KEY]).start();
    assert_eq!(peer.id, KEY);
}

#[test]
fn the_ready_file_says_what_the_ready_line_says_and_an_old_one_does_not_survive() {
    let folder = folder();
    let ready = folder.path().join("ready");
    fs::write(&ready, "{\"pid\":1}").expect("writable");
    let peer = Launch::new(folder.path().join("data")).args(&["--ready-file", text(&ready)]).start();
    let written: Value = serde_json::from_slice(&fs::read(&ready).expect("written")).expect("JSON");
    assert_eq!(written, json!({ "id": peer.id, "udp": peer.port, "tcp": written["tcp"], "pid": peer.pid() }));
    assert!(written["tcp"].as_u64().is_some_and(|port| port > 0));
    let names: Vec<_> =
        fs::read_dir(folder.path()).expect("readable").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 3, "only the data, the log and the ready file are there: {names:?}");
}

#[test]
fn a_peer_that_cannot_start_says_why_and_gets_7() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut peer = Launch::new(&data).start();
    let port = peer.port.to_string();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").expect("writable");
    let below = plain.join("below");
    let new = folder.path().join("new");
    let start = |args: &[&str]| {
        let args: Vec<&str> = ["peer", "--exit-on-eof"].iter().chain(args).copied().collect();
        let output = run(&args);
        assert_eq!(printed(&output), "", "nobody is ready who could not start");
        assert_eq!(code(&output), Some(7), "{args:?}: {}", said(&output));
        said(&output)
    };
    assert!(start(&["--port", &port, "--data", text(&new)]).contains(&port), "the port is named");
    assert!(start(&["--port", "0", "--data", text(&data)]).contains(text(&data)), "the folder in use is named");
    assert!(start(&["--port", "0", "--data", text(&plain)]).contains(text(&plain)), "the folder that is none is named");
    start(&["--port", "0", "--data", text(&below)]);
    start(&["--port", "0", "--data", text(&new), "--ready-file", text(&below)]);
    start(&["--port", "0", "--data", text(&new), "--bootstrap", "no-such-host.invalid:7000"]);
    start(&["--port", "0", "--data", text(&new), "--bind", "192.0.2.1"]);
    if cfg!(target_os = "linux") {
        assert!(
            start(&["--port", "0", "--data", "/proc/kadring"]).contains("/proc/kadring"),
            "read-only for everybody"
        );
    }
    assert_eq!(peer.ask("status")["answer"], "status", "the one that runs is not harmed");
}

#[test]
fn one_port_number_taken_by_either_protocol_is_a_port_in_use() {
    let folder = folder();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for port in [tcp.local_addr().expect("bound").port(), udp.local_addr().expect("bound").port()] {
        let data = folder.path().join(port.to_string());
        assert_ends(
            &["peer", "--exit-on-eof", "--port", &port.to_string(), "--data", text(&data)],
            7,
            &port.to_string(),
        );
    }
}

#[test]
fn a_signal_ends_a_peer_in_good_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = folder();
        let mut peers = support::cluster(&folder, 2, &["--replicas", "1"]);
        let (path, original) = file(&folder, "original", 1, 300_000);
        let key = peers[0].store(&path);
        let mut leaving = peers.remove(1);
        leaving.signal(signal);
        assert_eq!(leaving.wait(), Some(0), "{signal}: {}", leaving.said());
        peers[0].retrieve(&key, &folder.path().join("back"), &original);
    }
}

#[test]
fn without_a_data_folder_nothing_is_left_behind() {
    let folder = folder();
    let mut child = program()
        .args(["peer", "--port", "0"])
        .env("TMPDIR", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let count = || fs::read_dir(folder.path()).expect("readable").count();
    until(|| count() == 1);
    child.stdin.take().expect("piped").write_all(b"quit\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((code(&output), count()), (Some(0), 0));
    assert!(said(&output).contains(text(folder.path())), "it says where: {}", said(&output));
}

#[test]
fn a_client_stores_and_retrieves_through_files_pipes_and_manifests() {
    let folder = folder();
    let peers = support::cluster(&folder, 2, &[]);
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
    let mut peers = support::cluster(&folder, 2, &[]);
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
fn peers_and_clients_of_the_ring_need_but_one_option_more() {
    let folder = folder();
    let mut peers = support::cluster(&folder, 3, &["--overlay", "ring"]);
    assert_eq!(peers[0].ask("status")["overlay"], "ring");
    let bootstrap = address(&peers[1]);
    let (path, original) = file(&folder, "original", 7, 1_500_000);
    let stored = run(&["store", text(&path), "--overlay", "ring", "--bootstrap", &bootstrap, "--json"]);
    let answer: Value = serde_json::from_slice(&stored.stdout).unwrap_or_else(|_| panic!("{}", said(&stored)));
    assert_eq!(answer["answer"], "stored", "{answer}");
    peers[2].retrieve(answer["key"].as_str().expect("a key"), &folder.path().join("back"), &original);
}

#[test]
fn what_is_not_there_is_4() {
    let folder = folder();
    let peers = support::cluster(&folder, 1, &[]);
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
    let peers = support::cluster(&folder, 1, &[]);
    let bootstrap = address(&peers[0]);
    assert_ends(&["store", text(&path), "--bootstrap", &bootstrap, "--quorum", "2"], 5, "quorum");
}

#[test]
fn bytes_that_are_not_what_was_promised_are_6() {
    use kadring::file::{Entry, Manifest};
    let folder = folder();
    let peers = support::cluster(&folder, 1, &[]);
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
    let peers = support::cluster(&folder, 1, &[]);
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
    let peers = support::cluster(&folder, 1, &[]);
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
    assert_ends(&["store", text(&pipe), "--bootstrap", &bootstrap], 1, "regular");
    assert_ends(&["store", text(folder.path()), "--bootstrap", &bootstrap], 1, text(folder.path()));
}

#[test]
fn a_link_is_followed_and_the_manifest_is_as_readable_as_any_file() {
    let folder = folder();
    let peers = support::cluster(&folder, 1, &[]);
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
fn as_json_a_client_that_finds_nobody_answers_too() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let nobody = silent.local_addr().expect("bound").to_string();
    let output = run(&["lookup", KEY, "--bootstrap", &nobody, "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!((code(&output), &answer["answer"], &answer["kind"]), (Some(5), &json!("failed"), &json!("timed_out")));
    assert!(answer["reason"].as_str().is_some_and(|reason| reason.contains(&nobody)), "{answer}");
}
