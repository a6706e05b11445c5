//! What a handful of real peers promises: files survive restarts, kills, liars and silence.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Launch, PeerProcess, bytes, cluster, file, program, until};
use tempfile::{TempDir, tempdir};

const MIB: usize = 1 << 20;

/// What is promised above routing is promised on both overlays.
const OVERLAYS: [&str; 2] = ["kad", "ring"];

fn folder() -> TempDir {
    tempdir().expect("a temporary folder")
}

/// How many live peers hold each block, at least.
fn least_copies(peers: &[PeerProcess]) -> usize {
    let mut copies = std::collections::BTreeMap::<String, usize>::new();
    for key in peers.iter().flat_map(PeerProcess::blocks) {
        *copies.entry(key).or_default() += 1;
    }
    copies.into_values().min().unwrap_or(0)
}

#[test]
fn one_two_and_three_peers_keep_files_of_every_size() {
    for overlay in OVERLAYS {
        for peers in 1..=3 {
            let folder = folder();
            let mut cluster = cluster(&folder, peers, &["--overlay", overlay]);
            for (n, size) in [0, 1, 10, MIB - 1, MIB, MIB + 1, 5 * MIB + 17].into_iter().enumerate() {
                let (path, original) = file(&folder, &format!("original{n}"), n as u64, size);
                let answer = cluster[0].ask(&format!("store '{}'", path.display()));
                assert_eq!(answer["answer"], "stored", "{answer}");
                assert_eq!(answer["wanted"], peers, "copies are clamped to the peers there are: {answer}");
                let key = answer["key"].as_str().expect("a key").to_owned();
                for (m, peer) in cluster.iter_mut().enumerate() {
                    peer.retrieve(&key, &folder.path().join(format!("back{n}-{m}")), &original);
                }
            }
            assert_eq!(least_copies(&cluster), peers);
        }
    }
}

#[test]
fn every_block_lies_as_a_plain_file_under_its_own_sha256() {
    let folder = folder();
    let mut cluster = cluster(&folder, 1, &[]);
    let (path, _) = file(&folder, "original", 1, 3 * MIB);
    cluster[0].store(&path);
    let blocks: Vec<_> = support::walk(&cluster[0].data.join("blocks"));
    assert_eq!(blocks.len(), 4, "three blocks and their manifest");
    for block in blocks {
        let name = block.file_name().and_then(|name| name.to_str()).expect("a key").to_owned();
        assert_eq!(kadring::id::Id::of(&fs::read(&block).expect("readable")).to_string(), name);
        assert!(block.parent().expect("a folder").ends_with(&name[..2]));
    }
}

#[test]
fn a_restarted_peer_finds_its_network_and_its_blocks_again_without_a_bootstrap_address() {
    for overlay in OVERLAYS {
        let folder = folder();
        let mut cluster = cluster(&folder, 3, &["--overlay", overlay]);
        let (path, original) = file(&folder, "original", 2, 2 * MIB);
        let key = cluster[0].store(&path);
        let (id, held) = (cluster[2].id.clone(), cluster[2].blocks());
        until(|| cluster[2].data.join("peers.json").exists());
        let data = cluster.pop().expect("three").kill();
        let mut back = Launch::new(&data).args(&["--overlay", overlay]).start();
        assert_eq!(back.id, id, "a peer keeps its id");
        assert_eq!(back.blocks(), held);
        until(|| back.ask("peers")["peers"].as_array().is_some_and(|peers| peers.len() == 2));
        back.retrieve(&key, &folder.path().join("back"), &original);
    }
}

#[test]
fn a_file_survives_kills_and_its_replica_sets_are_full_again() {
    for overlay in OVERLAYS {
        let folder = folder();
        let mut cluster = cluster(&folder, 6, &["--replicas", "3", "--overlay", overlay]);
        let (path, original) = file(&folder, "original", 3, 8 * MIB);
        let key = cluster[0].store(&path);
        for _ in 0..2 {
            cluster.remove(1).kill();
        }
        cluster[3].retrieve(&key, &folder.path().join("back"), &original);
        until(|| least_copies(&cluster) >= 3);
    }
}

#[test]
fn a_peer_that_quits_hands_over_first_and_one_that_joins_is_given_its_share() {
    for overlay in OVERLAYS {
        let folder = folder();
        let mut cluster = cluster(&folder, 3, &["--replicas", "2", "--overlay", overlay]);
        let (path, original) = file(&folder, "original", 4, 4 * MIB);
        let key = cluster[0].store(&path);
        let mut leaving = cluster.remove(1);
        let answer = leaving.ask("quit");
        assert_eq!((&answer["answer"], &answer["left_behind"]), (&json!("left"), &json!(0)), "{answer}");
        assert_eq!(leaving.wait(), Some(0));
        assert_eq!(least_copies(&cluster), 2, "nobody had to wait for repair");
        cluster.push(
            Launch::new(folder.path().join("late"))
                .args(&["--replicas", "3", "--overlay", overlay])
                .through(cluster[0].port)
                .start(),
        );
        cluster[2].retrieve(&key, &folder.path().join("back"), &original);
    }
}

#[test]
fn a_store_that_is_killed_leaves_nothing_half_written_and_can_be_said_again() {
    let folder = folder();
    let mut cluster = cluster(&folder, 3, &[]);
    let (path, original) = file(&folder, "original", 5, 48 * MIB);
    let mut storing = cluster.remove(0);
    storing.tell(&format!("store '{}'", path.display()));
    until(|| cluster[0].blocks().len() > 3);
    let data = storing.kill();
    for peer in &cluster {
        for block in support::walk(&peer.data.join("blocks")) {
            let Some(name) = block.file_name().and_then(|name| name.to_str()).filter(|name| name.len() == 64) else {
                continue;
            };
            let Ok(bytes) = fs::read(&block) else { continue };
            assert_eq!(kadring::id::Id::of(&bytes).to_string(), name, "a named block is whole");
        }
    }
    let mut again = Launch::new(&data).through(cluster[0].port).start();
    let key = again.store(&path);
    cluster[1].retrieve(&key, &folder.path().join("back"), &original);
}

#[test]
fn an_interrupted_retrieve_goes_on_where_it_stopped() {
    let folder = folder();
    let mut cluster = cluster(&folder, 2, &["--replicas", "1"]);
    let (path, original) = file(&folder, "original", 6, 64 * MIB);
    let key = cluster[0].store(&path);
    let dest = folder.path().join("back");
    let mut client =
        Launch::new(folder.path().join("client")).args(&["--replicas", "1"]).through(cluster[0].port).start();
    client.tell(&format!("retrieve {key} '{}'", dest.display()));
    let part = || {
        let mut entries = fs::read_dir(folder.path()).expect("readable").flatten();
        entries.find(is_part).map(|entry| entry.path())
    };
    let blocks_there = |path: &std::path::Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).is_ok_and(|part| part.blocks() * 512 > 4 * MIB as u64)
    };
    until(|| dest.exists() || part().is_some_and(|part| blocks_there(&part)));
    client.kill();
    if dest.exists() {
        return assert!(fs::read(&dest).expect("readable") == original, "it was quicker than the kill");
    }
    let mut client =
        Launch::new(folder.path().join("client2")).args(&["--replicas", "1"]).through(cluster[0].port).start();
    let answer = client.retrieve(&key, &dest, &original);
    assert!(answer["resumed"].as_u64().expect("a number") > 0, "{answer}");
    assert!(part().is_none(), "the temporary file became the destination");
}

#[test]
fn holders_killed_in_the_middle_of_a_retrieve_cost_retries_but_not_the_file() {
    for overlay in OVERLAYS {
        let folder = folder();
        let mut cluster = cluster(&folder, 5, &["--replicas", "3", "--overlay", overlay]);
        let (path, original) = file(&folder, "original", 10, 32 * MIB);
        let key = cluster[0].store(&path);
        let dest = folder.path().join("back");
        let mut reader = cluster.remove(0);
        reader.tell(&format!("retrieve {key} '{}'", dest.display()));
        until(|| {
            dest.exists() || fs::read_dir(folder.path()).expect("readable").flatten().any(|entry| is_part(&entry))
        });
        for _ in 0..2 {
            cluster.remove(1).kill();
        }
        let answer: Value = serde_json::from_str(&reader.line()).expect("JSON");
        assert_eq!(answer["answer"], "retrieved", "{answer}");
        assert!(fs::read(&dest).expect("it is there") == original);
    }
}

fn is_part(entry: &fs::DirEntry) -> bool {
    entry.path().extension().is_some_and(|extension| extension == "part")
}

#[test]
fn what_is_cleared_is_here_no_more() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("data")).start();
    let (path, _) = file(&folder, "original", 11, 2 * MIB);
    let (manifest, back) = (folder.path().join("manifest"), folder.path().join("back"));
    let stored = peer.ask(&format!("store '{}' '{}'", path.display(), manifest.display()));
    let key = stored["key"].as_str().expect("a key");
    assert_eq!(peer.blocks().len(), 3);
    let cleared = peer.ask(&format!("clear '{}'", manifest.display()));
    assert_eq!((&cleared["answer"], &cleared["blocks"]), (&json!("cleared"), &json!(2)), "the list names no manifest");
    assert_eq!(peer.blocks(), [key]);
    let lost = peer.ask(&format!("retrieve {key} '{}'", back.display()));
    assert_eq!((&lost["kind"], back.exists()), (&json!("not_found"), false), "{lost}");
    assert_eq!(peer.ask(&format!("clear {key}"))["blocks"], 1);
    assert_eq!((peer.blocks().len(), &peer.ask("list")["blocks"]), (0, &json!([])));
}

#[test]
fn a_damaged_block_is_moved_aside_reported_and_brought_back_but_never_served() {
    let folder = folder();
    let mut cluster = cluster(&folder, 3, &[]);
    let (path, original) = file(&folder, "original", 7, 2 * MIB);
    let key = cluster[0].store(&path);
    let victim = support::walk(&cluster[1].data.join("blocks")).into_iter().next().expect("it holds blocks");
    let mut spoilt = fs::read(&victim).expect("readable");
    spoilt[0] ^= 1;
    fs::write(&victim, &spoilt).expect("writable");
    let name = victim.file_name().and_then(|name| name.to_str()).expect("a key").to_owned();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", cluster[1].port)).expect("it listens");
    writeln!(stream, "{name}").expect("it reads");
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).expect("it answers");
    assert!(line.starts_with("error: "), "{line}");
    until(|| fs::read(&victim).is_ok_and(|bytes| kadring::id::Id::of(&bytes).to_string() == name));
    cluster[2].retrieve(&key, &folder.path().join("back"), &original);
}

/// A peer of the test's own that answers lookups but spoils what matters.
struct FakePeer {
    stop: Arc<AtomicBool>,
    /// Blocks that were asked of it.
    fetched: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Says it holds every block and sends wrong bytes of the right size.
    Lies,
    /// Says it holds every block and then sends nothing.
    Silent,
}

impl FakePeer {
    fn start(id: &str, fault: Fault, member: u16) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = tcp.local_addr().expect("bound").port();
        let udp = UdpSocket::bind(("127.0.0.1", port)).expect("the same port");
        udp.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        tcp.set_nonblocking(true).expect("non-blocking");
        let (stop, fetched) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let me = json!({ "node_id": id, "ip": "127.0.0.1", "port": port });
        let hello = json!({ "magic": 1, "requestor": me, "type": "find_node", "params": { "id": id } });
        udp.send_to(hello.to_string().as_bytes(), ("127.0.0.1", member)).expect("sent");
        let stopped = Arc::clone(&stop);
        let answering = std::thread::spawn(move || answer_datagrams(&udp, &me, &stopped));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&fetched));
        let serving = std::thread::spawn(move || serve_badly(&tcp, fault, &stopped, &count));
        Self { stop, fetched, threads: vec![answering, serving] }
    }
}

impl Drop for FakePeer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn answer_datagrams(udp: &UdpSocket, me: &Value, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let Ok((len, from)) = udp.recv_from(&mut buffer) else { continue };
        let Ok(request) = serde_json::from_slice::<Value>(&buffer[..len]) else { continue };
        let result = match request["type"].as_str() {
            Some("ping_node" | "find_value") => me.clone(),
            Some("find_node") => json!([]),
            Some("store_value") => json!("saved"),
            _ => continue,
        };
        if request["resp"] == json!(true) {
            continue;
        }
        let response = json!({ "magic": request["magic"], "type": request["type"], "resp": true, "result": result });
        let _ = udp.send_to(response.to_string().as_bytes(), from);
    }
}

fn serve_badly(tcp: &TcpListener, fault: Fault, stop: &AtomicBool, fetched: &AtomicU64) {
    let mut kept = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = tcp.accept() else {
            std::thread::park_timeout(Duration::from_millis(5));
            continue;
        };
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut request = [0; 65];
        if stream.read_exact(&mut request).is_err() {
            continue;
        }
        fetched.fetch_add(1, Ordering::Relaxed);
        if fault == Fault::Silent {
            kept.push(stream);
        } else {
            let _ = stream.write_all(format!("{MIB}\n").as_bytes());
            let _ = stream.write_all(&bytes(666, MIB));
        }
    }
}

#[test]
fn a_lying_and_a_silent_peer_cost_retries_but_never_the_file() {
    for fault in [Fault::Lies, Fault::Silent] {
        let folder = folder();
        let mut cluster = cluster(&folder, 3, &[]);
        let (path, original) = file(&folder, "original", 8, 4 * MIB);
        let key = cluster[0].store(&path);
        // The nearest peer there can be to the file's root.
        let fake = FakePeer::start(&key, fault, cluster[0].port);
        until(|| cluster[0].ask("peers")["peers"].as_array().is_some_and(|peers| peers.len() == 3));
        let (dest, bootstrap) = (folder.path().join("back"), format!("127.0.0.1:{}", cluster[0].port));
        // A guest has no block itself, and fetches from whoever first says to have it: sooner or later from the liar.
        until(|| {
            let output = program()
                .args(["retrieve", &key, dest.to_str().expect("text"), "--bootstrap", &bootstrap])
                .stdin(Stdio::null())
                .output()
                .expect("the program runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(fs::read(&dest).expect("it is there") == original);
            fake.fetched.load(Ordering::Relaxed) > 0
        });
    }
}

#[test]
fn hostile_datagrams_neither_stop_a_peer_nor_fill_its_table() {
    let folder = folder();
    let mut cluster = cluster(&folder, 1, &[]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let target = ("127.0.0.1", cluster[0].port);
    for n in 0..2000_u64 {
        let mut noise = bytes(n, (n as usize * 7) % 1400);
        if n % 3 == 0 {
            noise = format!(r#"{{"magic": {n}, "type": "find_node", "params": {{"id": "{n}"}}"#).into_bytes();
        }
        let _ = socket.send_to(&noise, target);
        let forged = json!({ "magic": n, "type": "ping_node", "params": {}, "requestor":
            { "node_id": kadring::id::Id::of(&n.to_le_bytes()).to_string(), "ip": "10.1.2.3", "port": 9 } });
        let _ = socket.send_to(forged.to_string().as_bytes(), target);
    }
    let status = cluster[0].ask("status");
    assert_eq!((&status["answer"], &status["peers"]), (&json!("status"), &json!(0)), "{status}");
}

#[test]
fn a_guest_stores_and_retrieves_and_leaves_no_trace_in_any_table() {
    let folder = folder();
    let mut cluster = cluster(&folder, 2, &[]);
    let (path, original) = file(&folder, "original", 9, 3 * MIB);
    let bootstrap = format!("127.0.0.1:{}", cluster[0].port);
    let run = |args: &[&str]| {
        let output = program().args(args).args(["--bootstrap", &bootstrap, "--json"]).stdin(Stdio::null()).output();
        let output = output.expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let stored: Value = serde_json::from_str(run(&["store", path.to_str().expect("text")]).trim()).expect("JSON");
    let key = stored["key"].as_str().expect("a key").to_owned();
    let dest = folder.path().join("back");
    run(&["retrieve", &key, dest.to_str().expect("text")]);
    assert!(fs::read(&dest).expect("readable") == original);
    for peer in &mut cluster {
        let peers = peer.ask("peers");
        assert_eq!(peers["peers"].as_array().map(Vec::len), Some(1), "{peers}");
    }
}
