//! Damage and lies: blocks that rot, peers that answer badly, datagrams that mean harm.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::clusters::{MIB, folder};
use crate::support::{bytes, cluster, file, program, until};

#[test]
fn a_damaged_block_is_moved_aside_reported_and_brought_back_but_never_served() {
    let folder = folder();
    let mut cluster = cluster(&folder, 3, &[]);
    let (path, original) = file(&folder, "original", 7, 2 * MIB);
    let key = cluster[0].store(&path);
    let victim = crate::support::walk(&cluster[1].data.join("blocks")).into_iter().next().expect("it holds blocks");
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
    port: u16,
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
        Self { stop, port, fetched, threads: vec![answering, serving] }
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
        // A guest has no block itself, and fetches from the first of the two that says to have it: sooner or later from
        // the liar.
        let bootstrap = format!("127.0.0.1:{},127.0.0.1:{}", fake.port, cluster[0].port);
        let dest = folder.path().join("back");
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
