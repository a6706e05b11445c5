//! Which network: its key, without which nothing is answered, and its name, without which nobody gets in.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

use kadring::seal::{CONTEXT, Keys};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::{Ended, Launch, PeerProcess, bytes, file, free_ports, program, until};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// Long enough for any answer that comes.
const PATIENCE: Duration = Duration::from_millis(700);

const OVERLAYS: [&str; 2] = ["kad", "ring"];

fn run(args: &[&str]) -> Output {
    program().args(args).stdin(Stdio::null()).output().expect("the program runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder's name is text")
}

/// A file with a fresh key.
fn new_key(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    let output = run(&["keygen", "--out", text(&path)]);
    assert!(output.status.success(), "{}", said(&output));
    path
}

fn peer(folder: &TempDir, name: &str, key: &Path, overlay: &str, through: Option<u16>) -> PeerProcess {
    let launch = Launch::new(folder.path().join(name));
    let launch = launch.args(&["--network-key-file", text(key), "--overlay", overlay]);
    match through {
        Some(port) => launch.through(port).start(),
        None => launch.start(),
    }
}

fn cluster(folder: &TempDir, key: &Path, overlay: &str) -> Vec<PeerProcess> {
    let mut all: Vec<PeerProcess> = Vec::new();
    for n in 0..5 {
        all.push(peer(folder, &format!("{overlay}{n}"), key, overlay, all.first().map(|first| first.port)));
    }
    all
}

/// Asks as peers without a key do; asserts that not one byte comes back.
fn assert_silent(port: u16) {
    let questions = [
        r#"{"magic":1,"requestor":{"node_id":"00","ip":"127.0.0.1","port":1},"type":"ping_node","params":{}}"#,
        r#"{"magic":1,"requestor":null,"type":"nothing"}"#,
        r#"{"type":"ping","source":{"id":4,"ip":"127.0.0.1","port":9},"destination":null,"stamp":7,"content":{}}"#,
        "",
        "x",
    ];
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    udp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for question in questions.iter().map(|text| text.as_bytes()).chain([&[7; 40][..], &[9; 500]]) {
        udp.send_to(question, ("127.0.0.1", port)).expect("it is sent");
    }
    let error = udp.recv(&mut [0; 10]).expect_err("nobody answers");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    for line in [format!("{}\n", "0".repeat(64)), "file 0001\n".to_owned(), "{}\n".to_owned(), "?".repeat(300)] {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        tcp.write_all(line.as_bytes()).expect("it is open");
        assert!(!matches!(tcp.read(&mut [0; 10]), Ok(1..)), "{line}");
    }
}

#[test]
fn peers_with_the_key_store_and_retrieve_and_nobody_without_it_gets_a_byte() {
    for overlay in OVERLAYS {
        let folder = tempdir().expect("a folder");
        let key = new_key(&folder, "key");
        let mut peers = cluster(&folder, &key, overlay);
        assert_eq!(peers[0].ask("status")["sealed"], true);
        let (path, original) = file(&folder, "original", 1, 3_000_000);
        let stored = peers[1].store(&path);
        peers[4].retrieve(&stored, &folder.path().join("back"), &original);

        let (to, dest) = (format!("127.0.0.1:{}", peers[2].port), folder.path().join("brought"));
        let ways = ["--bootstrap", &to, "--overlay", overlay];
        let retrieve = ["retrieve", &stored, text(&dest)];
        let with = run(&[&retrieve[..], &ways, &["--network-key-file", text(&key)]].concat());
        assert!(with.status.success(), "{}", said(&with));
        assert!(fs::read(&dest).expect("it is there") == original);
        let report = ["report", &to, "--once", "--json", "--network-key-file", text(&key)];
        let report: Value = serde_json::from_slice(&run(&report).stdout).expect("one line of JSON");
        let answered = report["peers"].as_array().expect("a list").iter().filter(|peer| peer["answered"] == true);
        assert_eq!(answered.count(), 5, "{report}");

        fs::remove_file(&dest).expect("it is there");
        let other = new_key(&folder, "other");
        for args in [&[][..], &["--network-key-file", text(&other)]] {
            let without = run(&[&retrieve[..], &ways, args].concat());
            assert_eq!(without.status.code(), Some(5), "{}", said(&without));
            assert!(!dest.exists());
        }
        let ports: Vec<u16> = peers.iter().map(|peer| peer.port).collect();
        thread::scope(|scope| {
            let asked = ports.into_iter().map(|port| scope.spawn(move || assert_silent(port)));
            let asked: Vec<_> = asked.collect();
            asked.into_iter().for_each(|peer| peer.join().expect("not a byte comes back"));
        });
    }
}

#[test]
fn a_keyed_classroom_ring_keeps_files_and_is_silent_to_others() {
    let folder = tempdir().expect("a folder");
    let key = new_key(&folder, "key");
    let base = free_ports();
    let dirs: Vec<PathBuf> = (0..3).map(|n| folder.path().join(n.to_string())).collect();
    dirs.iter().for_each(|dir| fs::create_dir(dir).expect("the folder is writable"));
    let original = bytes(1, 200_000);
    let start = |n: usize| {
        let words = [n, (n + 1) % 3, (n + 2) % 3].map(|n| n.to_string());
        let mut command = program();
        command.args(["ring", "init", &words[0], &words[1], &words[2], "1", "--base-port", &base.to_string()]);
        command.args(["--dir", text(&dirs[n]), "--network-key-file", text(&key)]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ended(child.expect("the program starts"))
    };
    let mut peers = [start(0), start(1), start(2)];
    fs::write(dirs[0].join("0001.pdf"), &original).expect("the folder is writable");
    peers[0].tell("store 0001\n");
    let has = |n: usize, name: &str| fs::read(dirs[n].join(name)).is_ok_and(|found| found == original);
    until(|| (1..3).all(|n| has(n, "0001.pdf")));
    peers[1].tell("request 0001\n");
    (0..3).for_each(|n| assert_silent(base + n));
}

#[test]
fn a_key_is_changed_while_peers_work_and_the_old_one_opens_nothing_then() {
    for overlay in OVERLAYS {
        let folder = tempdir().expect("a folder");
        let (old, new) = (new_key(&folder, "old"), new_key(&folder, "new"));
        let [old_key, new_key] = [&old, &new].map(|path| fs::read_to_string(path).expect("a key"));
        let in_force = folder.path().join("key");
        fs::copy(&old, &in_force).expect("the folder is writable");
        let mut peers = cluster(&folder, &in_force, overlay);
        let mut rounds = 0;
        for (changes, keys) in (1..).zip([old_key.clone() + &new_key, new_key.clone() + &old_key, new_key]) {
            fs::write(&in_force, keys).expect("the folder is writable");
            let (least, have) =
                (rounds + 8, |peer: &PeerProcess| peer.said().matches("the network keys have changed").count());
            while rounds < least || !peers.iter().all(|peer| have(peer) == changes) {
                let (path, original) = file(&folder, &format!("file{rounds}"), rounds as u64, 300_000);
                let stored = peers[rounds % 5].store(&path);
                let dest = folder.path().join(format!("back{rounds}"));
                peers[(rounds + 2) % 5].retrieve(&stored, &dest, &original);
                rounds += 1;
            }
        }
        let to = format!("127.0.0.1:{}", peers[0].port);
        let ping =
            |key: &Path| run(&["ping", &to, "--overlay", overlay, "--network-key-file", text(key)]).status.code();
        assert_eq!(ping(&old), Some(5));
        assert_eq!(ping(&new), Some(0));
    }
}

#[test]
fn who_slept_through_a_rotation_stores_and_retrieves_while_its_key_is_listed() {
    for overlay in OVERLAYS {
        let folder = tempdir().expect("a folder");
        let (old, new) = (new_key(&folder, "old"), new_key(&folder, "new"));
        let both = folder.path().join("both");
        let [old_key, new_key] = [&old, &new].map(|path| fs::read_to_string(path).expect("a key"));
        fs::write(&both, new_key + &old_key).expect("the folder is writable");
        let mut peers = cluster(&folder, &both, overlay);
        let mut sleeper = peer(&folder, "sleeper", &old, overlay, Some(peers[0].port));
        let (path, original) = file(&folder, "first", 1, 300_000);
        let stored = sleeper.store(&path);
        peers[3].retrieve(&stored, &folder.path().join("from it"), &original);
        let (path, original) = file(&folder, "second", 2, 300_000);
        let stored = peers[4].store(&path);
        sleeper.retrieve(&stored, &folder.path().join("to it"), &original);

        let (to, dest) = (format!("127.0.0.1:{}", peers[2].port), folder.path().join("brought"));
        let client = ["retrieve", &stored, text(&dest), "--bootstrap", &to, "--overlay", overlay];
        let with = run(&[&client[..], &["--network-key-file", text(&old)]].concat());
        assert!(with.status.success(), "{}", said(&with));
        assert!(fs::read(&dest).expect("it is there") == original);
    }
}

/// Whoever opens a pipe again waits for another writer.
#[test]
fn a_key_from_a_pipe_is_read_once_and_the_peer_keeps_time() {
    let folder = tempdir().expect("a folder");
    let (key, pipe) = (new_key(&folder, "key"), folder.path().join("pipe"));
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let mut peer = thread::scope(|scope| {
        scope.spawn(|| fs::write(&pipe, fs::read(&key).expect("a key")).expect("it is read"));
        peer(&folder, "data", &pipe, "kad", None)
    });
    // More than the second after which a file of keys is looked at. Who answers nothing is waited for: a timeout.
    thread::sleep(Duration::from_millis(1200));
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let asked = peer.ask(&format!("ping {}", silent.local_addr().expect("bound")));
    assert_eq!(asked["kind"], "timed_out", "{asked}");
    assert!(!peer.said().contains("stay as they were"), "{}", peer.said());
}

#[test]
fn a_key_that_has_yet_to_come_through_a_pipe_is_waited_for_with_a_word_and_what_gives_none_is_refused() {
    let folder = tempdir().expect("a folder");
    let (key, pipe, errors) = (new_key(&folder, "key"), folder.path().join("pipe"), folder.path().join("errors"));
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a socket").local_addr().expect("bound").to_string();
    let log = fs::File::create(&errors).expect("writable");
    let ping = ["ping", &nobody, "--network-key-file"];
    let client = program().args(ping).arg(&pipe).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    let mut client = Ended(client.expect("it starts"));
    until(|| fs::read_to_string(&errors).is_ok_and(|said| said.contains("waiting for what is to be written")));
    fs::write(&pipe, fs::read(&key).expect("a key")).expect("it is read");
    assert_eq!(client.0.wait().expect("it ends").code(), Some(5), "it has the key, and nobody answers");
    for (wrong, reason) in [
        (folder.path(), "Is a directory"),
        (Path::new("/dev/zero"), "more than 65536 bytes"),
        (Path::new("/dev/null"), "there is no key"),
        (Path::new("/dev/ptmx"), "it is a terminal"),
    ] {
        let refused = run(&[&ping[..], &[text(wrong)]].concat());
        let told = said(&refused);
        assert_eq!((refused.status.code(), told.contains(reason)), (Some(2), true), "{wrong:?}: {told}");
    }
}

#[test]
fn networks_of_two_names_never_become_one_and_whoever_mixes_them_up_is_told() {
    for overlay in OVERLAYS {
        let folder = tempdir().expect("a folder");
        let launch = |name: &str, network: &str, through: &[&PeerProcess]| {
            let through: Vec<String> = through.iter().map(|peer| format!("127.0.0.1:{}", peer.port)).collect();
            let launch = Launch::new(folder.path().join(name)).args(&["--overlay", overlay, "--network", network]);
            if through.is_empty() { launch.start() } else { launch.args(&["--bootstrap", &through.join(",")]).start() }
        };
        let mut ones = vec![launch("one", "one", &[])];
        ones.push(launch("two", "one", &[&ones[0]]));
        let mut usual = launch("usual", "kadring", &[]);
        let mut both = launch("both", "kadring", &[&ones[0], &usual]);
        let mut stray = launch("stray", "kadring", &[&ones[1]]);
        let everybody = ones.iter_mut().chain([&mut usual, &mut both, &mut stray]);
        assert_eq!(everybody.map(|peer| peer.ask("status")["peers"].clone()).collect::<Vec<_>>(), [1, 1, 1, 1, 0]);
        until(|| stray.said().contains("of the network 'one', not of 'kadring'"));
        let status = ones[1].ask("status");
        assert_eq!((&status["network"], &status["sealed"]), (&"one".into(), &false.into()), "{status}");

        let (path, _) = file(&folder, "original", 1, 100_000);
        let key = both.store(&path);
        let (to, dest) = (format!("127.0.0.1:{}", ones[0].port), folder.path().join("dest"));
        let retrieve = |args: &[&str]| {
            run(&[&["retrieve", &key, text(&dest), "--overlay", overlay, "--bootstrap", &to], args].concat())
        };
        let mixed_up = retrieve(&[]);
        assert_eq!(mixed_up.status.code(), Some(7), "{}", said(&mixed_up));
        assert!(said(&mixed_up).contains("of the network 'one', not of 'kadring'"), "{}", said(&mixed_up));
        assert_eq!(retrieve(&["--network", "one"]).status.code(), Some(4), "that network has no such file");
        let mixed_up = said(&run(&["report", &to, "--once"]));
        assert!(mixed_up.contains("of the network 'one', not of 'kadring'"), "{mixed_up}");
        let report = ["report", &to, "--once", "--json", "--network", "one"];
        let report: Value = serde_json::from_slice(&run(&report).stdout).expect("one line of JSON");
        assert_eq!(report["peers"].as_array().map(Vec::len), Some(2), "{report}");
    }
}

#[test]
fn who_would_join_a_classroom_under_another_network_name_is_told_so() {
    let folder = tempdir().expect("a folder");
    let base = free_ports().to_string();
    let ring = |args: &[&str]| {
        let mut command = program();
        command.arg("ring").args(args).args(["--base-port", &base, "--dir", text(folder.path())]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let join = |network: &str| {
        let output = ring(&["join", "9", "2", "1", "--network", network]).stdin(Stdio::null()).output();
        output.expect("the program starts")
    };
    assert!(said(&join("other")).contains("peer 2 does not answer"), "nobody is there yet");
    let _peer = Ended(ring(&["init", "2", "4", "5", "1"]).spawn().expect("the program starts"));
    until(|| !said(&join("other")).contains("does not answer"));
    let refused = join("other");
    assert_eq!(refused.status.code(), Some(7), "{}", said(&refused));
    assert!(said(&refused).contains("of the network 'kadring', not of 'other'"), "{}", said(&refused));
}

#[test]
fn what_is_no_key_is_told_of_and_never_repeated() {
    let folder = tempdir().expect("a folder");
    let key = new_key(&folder, "key");
    assert_eq!(fs::metadata(&key).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(run(&["keygen", "--out", text(&key)]).status.code(), Some(2), "a key that is there stays");
    let printed = String::from_utf8(run(&["keygen"]).stdout).expect("text");
    assert!(printed.trim_end().len() == 64 && printed != fs::read_to_string(&key).expect("a key"));

    let ping = |variable: &str, args: &[&str]| {
        let mut command = program();
        command.args(["ping", "127.0.0.1:9"]).args(args).env("KADRING_NETWORK_KEY", variable);
        command.stdin(Stdio::null()).output().expect("the program runs")
    };
    for (output, reason) in [
        (ping("swordfish", &[]), "KADRING_NETWORK_KEY: line 1 is no key"),
        // As where the command that should print it failed.
        (ping("", &[]), "KADRING_NETWORK_KEY: there is no key"),
        (ping("", &["--network-key-file", "/nowhere/key"]), "cannot read the network key file '/nowhere/key'"),
        (ping("", &["--network-key-file", "/dev/null"]), "there is no key"),
    ] {
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(reason) && !said(&output).contains("swordfish"), "{}", said(&output));
    }
    let unnamed =
        program().args(["ping", "127.0.0.1:9"]).env("KADRING_NETWORK_KEY_FILE", "").output().expect("it runs");
    assert_eq!(unnamed.status.code(), Some(2), "{}", said(&unnamed));
    assert!(said(&unnamed).contains("cannot read the network key file"), "{}", said(&unnamed));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let warned = ping("", &["--network-key-file", text(&key)]);
    assert!(said(&warned).contains("others on this machine may read the network key"), "{}", said(&warned));
    let (data, ready) = (folder.path().join("peer"), folder.path().join("ready"));
    let launch = Launch::new(data).env("KADRING_NETWORK_KEY", printed.trim_end());
    let sealed = launch.args(&["--ready-file", text(&ready)]).start();
    let told: Value = serde_json::from_slice(&fs::read(&ready).expect("it is ready")).expect("JSON");
    assert_eq!(told["sealed"], true);
    let to = format!("127.0.0.1:{}", sealed.port);
    let mut command = program();
    let reached = command.args(["ping", &to]).env("KADRING_NETWORK_KEY", printed.trim_end()).output();
    assert!(reached.expect("the program runs").status.success());
}

/// A connection under the key in this file begins: its state, and its first message.
fn begun(key: &Path) -> (snow::HandshakeState, [u8; 48]) {
    let keys = Keys::parse(&fs::read_to_string(key).expect("a key")).expect("a key");
    let pattern = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s".parse().expect("a pattern");
    let noise = snow::Builder::new(pattern).psk(0, keys.first().bytes()).and_then(|builder| builder.prologue(CONTEXT));
    let mut message = [0; 48];
    let mut noise = noise.and_then(snow::Builder::build_initiator).expect("a handshake");
    assert_eq!(noise.write_message(&[], &mut message).expect("it begins"), 48);
    (noise, message)
}

/// The first message of a connection under the key in this file.
fn beginning(key: &Path) -> [u8; 48] {
    begun(key).1
}

#[test]
fn a_connection_that_was_opened_under_a_key_ends_at_its_next_line_once_that_is_listed_no_more() {
    let folder = tempdir().expect("a folder");
    let (old, new) = (new_key(&folder, "old"), new_key(&folder, "new"));
    let [old_key, new_key] = [&old, &new].map(|path| fs::read_to_string(path).expect("a key"));
    let in_force = folder.path().join("key");
    for overlay in OVERLAYS {
        fs::write(&in_force, format!("{new_key}{old_key}")).expect("the folder is writable");
        let peer = peer(&folder, overlay, &in_force, overlay, None);
        let (mut noise, first) = begun(&old);
        let mut tcp = TcpStream::connect(("127.0.0.1", peer.port)).expect("it listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        tcp.write_all(&first).expect("it is open");
        let mut second = [0; 48];
        tcp.read_exact(&mut second).expect("it answers");
        noise.read_message(&second, &mut []).expect("under the key");
        let mut noise = noise.into_transport_mode().expect("both have spoken");
        let mut ask = || {
            let mut sealed = [0; 200];
            let len = noise.write_message(format!("{}\n", "0".repeat(64)).as_bytes(), &mut sealed).expect("short");
            tcp.write_all(&[&(len as u16).to_be_bytes(), &sealed[..len]].concat()).expect("it is open");
            tcp.read(&mut [0; 200]).expect("an answer, or the end")
        };
        assert_ne!(ask(), 0, "it has no such block, and says so");
        fs::write(&in_force, &new_key).expect("the folder is writable");
        until(|| peer.said().contains("the network keys have changed"));
        assert_eq!(ask(), 0, "it is closed");
    }
}

/// Bytes that come back for these on a connection, until it is closed or nothing more comes.
fn answer_to(port: u16, message: &[u8]) -> usize {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    tcp.write_all(message).expect("it is open");
    tcp.read(&mut [0; 100]).unwrap_or(0)
}

#[test]
fn a_handshake_and_a_datagram_that_were_recorded_are_answered_once_and_by_nothing_when_they_come_again() {
    let folder = tempdir().expect("a folder");
    let key = new_key(&folder, "key");
    for overlay in OVERLAYS {
        let peer = peer(&folder, overlay, &key, overlay, None);
        let (first, other) = (beginning(&key), beginning(&key));
        assert_eq!([&first, &first, &first, &other].map(|message| answer_to(peer.port, message)), [48, 0, 0, 48]);
    }
    let peer = peer(&folder, "datagrams", &key, "kad", None);
    let keys = Keys::parse(&fs::read_to_string(&key).expect("a key")).expect("a key");
    let mut sealed = br#"{"magic":7,"requestor":null,"type":"ping_node","params":{}}"#.to_vec();
    keys.first().seal(&[7; 16], 1, &mut sealed);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    udp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let answers = [&sealed, &sealed, &sealed].map(|datagram| {
        udp.send_to(datagram, ("127.0.0.1", peer.port)).expect("it is sent");
        udp.recv(&mut [0; 2000]).is_ok()
    });
    assert_eq!(answers, [true, false, false]);
}
