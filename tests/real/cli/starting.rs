//! Peers that start, that cannot, and that end.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::Uid;
use serde_json::{Value, json};

use super::running::{assert_ends, code, folder, printed, run, said, text};
use crate::support::{Launch, file, program, until};

#[test]
fn the_ready_file_says_what_the_ready_line_says_and_an_old_one_does_not_survive() {
    let folder = folder();
    let ready = folder.path().join("ready");
    fs::write(&ready, "{\"pid\":1}").expect("writable");
    let peer = Launch::new(folder.path().join("data")).args(&["--ready-file", text(&ready)]).start();
    let written: Value = serde_json::from_slice(&fs::read(&ready).expect("written")).expect("JSON");
    let place = json!({ "id": peer.id, "udp": peer.port, "tcp": written["tcp"], "pid": peer.pid() });
    let mut expected = place;
    expected["sealed"] = false.into();
    expected["network"] = "kadring".into();
    assert_eq!(written, expected);
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
fn a_start_that_fails_leaves_the_ready_file_of_the_peer_that_runs_and_removes_that_of_one_that_does_not() {
    let folder = folder();
    let (data, ready) = (folder.path().join("data"), folder.path().join("ready"));
    let _peer = Launch::new(&data).args(&["--ready-file", text(&ready)]).start();
    let written = fs::read(&ready).expect("written");
    let again = ["peer", "--exit-on-eof", "--port", "0", "--data", text(&data), "--ready-file", text(&ready)];
    assert_ends(&again, 7, text(&data));
    assert_eq!(fs::read(&ready).expect("still there"), written);
    // No process has this number.
    fs::write(&ready, "{\"pid\":2147483647}").expect("writable");
    assert_ends(&again, 7, text(&data));
    assert!(!ready.exists(), "nobody is ready");
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
fn a_peer_that_nobody_answers_says_that_it_is_alone() {
    let folder = folder();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let name = silent.local_addr().expect("bound").to_string();
    let peer = Launch::new(folder.path().join("data")).args(&["--bootstrap", &name]).start();
    until(|| peer.said().contains(&format!("nobody answers at {name}: this peer is alone, and keeps asking")));
    assert!(!peer.said().contains("--bind"), "its way in is on this machine: {}", peer.said());
    peer.kill();
}

#[test]
fn a_peer_says_when_it_is_alone_and_when_it_is_so_no_longer() {
    for overlay in ["kad", "ring"] {
        let folder = folder();
        let start = |name: &str| Launch::new(folder.path().join(name)).args(&["--overlay", overlay]);
        let peer = start("first").start();
        let mut second = start("second").through(peer.port).start();
        second.signal(Signal::SIGTERM);
        assert_eq!(second.wait(), Some(0), "{}", second.said());
        until(|| peer.said().contains("no other peer answers any more: this peer is alone, and keeps asking"));
        let third = start("third").through(peer.port).start();
        until(|| peer.said().contains("this peer is alone no longer: "));
        assert!(!second.said().contains("alone"), "it left: {}", second.said());
        third.kill();
        peer.kill();
    }
}

#[test]
fn who_finds_nobody_on_another_machine_is_told_of_the_bind_that_reaches_one() {
    let folder = folder();
    // No address of this machine, and the system lets nothing leave for it.
    const ELSEWHERE: &str = "255.255.255.255:7000";
    let peer = Launch::new(folder.path().join("data")).args(&["--bootstrap", ELSEWHERE]).start();
    until(|| peer.said().contains("keeps asking; it listens on 127.0.0.1, which other machines cannot reach"));
    assert!(peer.said().contains("give --bind 0.0.0.0"), "{}", peer.said());
    peer.kill();
}

#[test]
fn a_peer_that_remembers_neighbours_starts_though_the_name_to_join_through_is_unknown() {
    let folder = folder();
    let neighbour = Launch::new(folder.path().join("neighbour")).start();
    let data = folder.path().join("data");
    let peer = Launch::new(&data).through(neighbour.port).start();
    until(|| data.join("peers.json").exists());
    peer.kill();
    let mut peer = Launch::new(&data).args(&["--bootstrap", "no-such-host.invalid:7000"]).start();
    assert_eq!(peer.ask("peers")["peers"][0]["id"], json!(neighbour.id));
    let said = peer.all_said();
    assert!(said.contains("no-such-host.invalid:7000"), "it warns: {said}");
}

#[test]
fn a_signal_ends_a_peer_in_good_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let folder = folder();
        let mut peers = crate::support::cluster(&folder, 2, &["--replicas", "1"]);
        let (path, original) = file(&folder, "original", 1, 300_000);
        let key = peers[0].store(&path);
        let mut leaving = peers.remove(1);
        leaving.signal(signal);
        assert_eq!(leaving.wait(), Some(0), "{signal}: {}", leaving.said());
        peers[0].retrieve(&key, &folder.path().join("back"), &original);
    }
}

#[test]
fn a_peer_that_is_told_to_join_through_itself_says_so() {
    let folder = folder();
    let first = Launch::new(folder.path().join("first")).start();
    let port = first.port;
    let data = first.kill();
    let mut again = program();
    again.args(["peer", "--port", &port.to_string(), "--bootstrap", &format!("localhost:{port}"), "--exit-on-eof"]);
    let output = again.args(["--data", text(&data)]).stdin(Stdio::null()).output().expect("it runs");
    assert!(said(&output).contains("is this peer's own address"), "{}", said(&output));
}

/// A machine was cloned, or a data folder copied by hand: one of the two would hold nothing for anybody.
#[test]
fn two_peers_that_run_with_one_id_both_say_so_and_one_that_moved_does_not() {
    for overlay in ["kad", "ring"] {
        two_of_one_id(overlay);
    }
}

fn two_of_one_id(overlay: &str) {
    let folder = folder();
    let launch = |data: PathBuf| Launch::new(data).args(&["--overlay", overlay]);
    let first = launch(folder.path().join("first")).start();
    let original = launch(folder.path().join("original")).through(first.port).start();
    let copy = folder.path().join("copy");
    let copied = Command::new("cp").args(["-r", text(&original.data), text(&copy)]).status().expect("it runs");
    assert!(copied.success());
    let copy = launch(copy).through(first.port).start();
    assert_eq!(copy.id, original.id);
    for (one, other) in [(&copy, &original), (&original, &copy)] {
        let warning = format!("another peer runs at 127.0.0.1:{} with the id of this one", other.port);
        until(|| one.said().contains(&warning));
        assert_eq!(one.said().matches(&warning).count(), 1, "{}", one.said());
    }
    if overlay == "ring" {
        let is_told = |words: &str| copy.said().contains(words);
        until(|| is_told("not let into the ring: the id is taken") && is_told("answers, but this peer was not let in"));
        assert!(!copy.said().contains("nobody answers"), "{}", copy.said());
    }
    let copy = launch(copy.kill()).through(original.port).start();
    until(|| copy.said().contains("answers this peer's own id"));
    drop(copy);
    let mut moved = launch(original.kill()).through(first.port).start();
    until(|| moved.ask("peers")["peers"][0]["id"] == json!(first.id));
    let said = moved.all_said();
    assert!(!said.contains("another peer"), "{said}");
}

#[test]
fn a_service_manager_is_told_when_the_peer_is_ready() {
    let folder = folder();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let mut peer = Launch::new(folder.path().join("peer")).env("NOTIFY_SOCKET", text(&path)).start();
    let mut said = [0; 64];
    let bytes = manager.recv(&mut said).expect("a datagram");
    assert_eq!(&said[..bytes], b"READY=1\n");
    peer.signal(Signal::SIGTERM);
    assert_eq!(peer.wait(), Some(0));
    let bytes = manager.recv(&mut said).expect("a datagram");
    assert_eq!(&said[..bytes], b"STOPPING=1\n");
}

/// `nohup`, and shells that disown what they started, ignore the signal before the program begins.
#[test]
fn a_peer_that_was_started_to_outlive_its_terminal_does() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).under("-c 0; trap '' HUP; true").start();
    peer.signal(Signal::SIGHUP);
    assert_eq!(peer.ask("status")["answer"], "status");
    peer.signal(Signal::SIGTERM);
    assert_eq!(peer.wait(), Some(0));
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
#[cfg(target_os = "linux")]
fn a_client_from_which_no_way_leads_to_a_peer_says_so_and_waits_for_nobody() {
    let mut inside = Command::new("unshare");
    inside.args(if Uid::effective().is_root() { &["--net"][..] } else { &["--net", "--user"] });
    if !Command::new("unshare").args(inside.get_args()).arg("true").status().is_ok_and(|status| status.success()) {
        return println!("not tested here: there is no right to have a network of its own");
    }
    inside.arg(program().get_program());
    let client = inside.args(["ls", &"0".repeat(64), "--bootstrap", "192.0.2.1:7000"]).output().expect("it runs");
    assert_eq!(code(&client), Some(5), "{}", said(&client));
    assert!(said(&client).contains("no way leads from here to 192.0.2.1:7000"), "{}", said(&client));
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn under_a_limit_of_address_space_a_peer_takes_less_than_250_mb_of_it_and_works() {
    let folder = folder();
    // In KiB: far more than it is to take, so that it is seen what it would.
    let mut peer = Launch::new(folder.path().join("peer")).under("-v 4000000").start();
    let (path, original) = file(&folder, "original", 1, 5_000_000);
    let key = peer.store(&path);
    peer.retrieve(&key, &folder.path().join("back"), &original);
    let status = fs::read_to_string(format!("/proc/{}/status", peer.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("there").trim();
    let peak: u64 = peak.trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 244_140, "{peak} KiB, and so more than 250 MB");
    assert!(status.starts_with("Name:\tkadring\n"), "it is called as before: {status}");
}

/// Connections that fail for want of descriptors look like a firewall's work.
#[test]
fn a_peer_that_may_have_few_file_descriptors_says_so_when_it_starts() {
    let folder = folder();
    let said = |limit: &str| Launch::new(folder.path().join(limit)).under(limit).start().all_said();
    assert!(said("-n 100").contains("100 file descriptors"), "{}", said("-n 100"));
    assert!(!said("-n 256").contains("file descriptors"));
}

#[test]
fn a_peer_works_with_a_stack_of_128_kib() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).under("-s 128").start();
    let (path, original) = file(&folder, "original", 1, 2_000_000);
    let key = peer.store(&path);
    peer.retrieve(&key, &folder.path().join("back"), &original);
}
