//! What strangers cannot do to a live peer, whatever they send.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Ended, Launch, free_ports, program, until};
use kadring::config::Config;
use kadring::id::Id;
use kadring::node::{Answer, Command, Notice};
use kadring::overlay::OverlayKind;
use kadring::runtime::{LocalPeer, Options};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than any try of a request to somebody who never answers.
const LISTEN: Duration = Duration::from_secs(2);

fn start(overlay: OverlayKind, bootstrap: &[&LocalPeer]) -> LocalPeer {
    let bootstrap = bootstrap.iter().map(|peer| peer.me().addr).collect();
    let peer = LocalPeer::start(Options { bootstrap, overlay, ..Options::default() }).expect("it starts");
    assert!(peer.ready(Some(PATIENCE)).is_some());
    peer
}

/// Peers that know one another, so many that answers are as long as can be. The first holds a block, whose key is
/// returned.
fn network(overlay: OverlayKind) -> (Vec<LocalPeer>, Id) {
    let mut peers = vec![start(overlay, &[])];
    for _ in 0..8 {
        peers.push(start(overlay, &[&peers[0]]));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, b"some bytes").expect("writable");
    let stored = answer(&peers[0], Command::Store { path: file, manifest: None, keep: true });
    assert!(matches!(stored, Answer::Stored { .. }), "{stored:?}");
    (peers, Id::of(b"some bytes"))
}

fn answer(peer: &LocalPeer, command: Command) -> Answer {
    let notices = peer.submit(command);
    loop {
        if let Notice::Answer { answer, .. } = notices.recv_timeout(PATIENCE).expect("every command has an answer") {
            return answer;
        }
    }
}

/// Sends each message `count` times to `victim`, each from an address of its own; what comes back, in bytes.
fn amplification(victim: SocketAddr, messages: &[Value], count: usize) -> Vec<(String, usize, usize)> {
    let asked: Vec<_> = messages
        .iter()
        .map(|message| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            let text = message.to_string();
            for _ in 0..count {
                socket.send_to(text.as_bytes(), victim).expect("sent");
            }
            (socket, text)
        })
        .collect();
    // Nobody sends anything here: it is the clock.
    let clock = UdpSocket::bind("127.0.0.1:0").expect("a port");
    clock.set_read_timeout(Some(LISTEN)).expect("a timeout");
    clock.recv(&mut [0; 1]).expect_err("nobody knows this port");
    let mut buffer = [0; 10_000];
    let mut heard = |(socket, text): (UdpSocket, String)| {
        socket.set_nonblocking(true).expect("possible");
        let mut bytes = 0;
        // What a peer of another test once had this port for does not count.
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            bytes += if from == victim { length } else { 0 };
        }
        let paid = text.len() * count;
        (text, paid, bytes)
    };
    asked.into_iter().map(&mut heard).collect()
}

fn assert_no_amplification(victim: SocketAddr, messages: &[Value]) {
    for count in [1, 3] {
        let heard = amplification(victim, messages, count);
        assert!(heard.iter().any(|(_, _, got)| *got > 0), "it answers at all");
        for (text, paid, got) in heard {
            assert!(got <= 3 * paid, "{count} times {text}: {got} bytes for {paid}");
        }
    }
}

/// An id right beside another one: its peer would be a neighbour.
fn beside(id: Id) -> String {
    let text = id.to_string();
    let last = if text.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &text[..63])
}

#[test]
fn nobody_gets_more_than_three_bytes_for_one_from_a_kademlia_peer() {
    let (peers, held) = network(OverlayKind::Kademlia);
    let victim = peers[0].me();
    let far = Id::of(b"far").to_string();
    let near = beside(victim.id);
    let mut messages = vec![json!({"magic": 1, "type": "x"}), json!({"magic": 1, "type": "ping_node"})];
    for id in [far, near] {
        let me = json!({"node_id": id, "ip": "::", "port": 1});
        for (kind, params) in [
            ("ping_node", json!({})),
            ("find_node", json!({"id": id})),
            ("find_node", json!({})),
            ("find_value", json!({"id": id})),
            ("find_value", json!({"id": held})),
            ("store_value", json!({"id": id})),
            ("store_value", json!({"id": held, "size": 1})),
            ("store_value", json!({"id": id, "size": 1 << 30})),
        ] {
            messages.push(json!({"magic": 1, "requestor": me, "type": kind, "params": params}));
            messages.push(json!({"magic": 1, "requestor": me, "recalls": true, "type": kind, "params": params}));
            // As one says it that thinks it is known.
            messages.push(json!({"magic": 1, "type": kind, "params": params}));
        }
        // Nobody asked: an answer that asks back is a ping like any other.
        let of = |result: Value| json!({"magic": 1, "resp": true, "asks": 2, "result": result});
        messages.extend([of(json!({"node_id": id})), of(json!("here")), of(json!([]))]);
        messages.push(json!({"magic": 1, "resp": true, "asks": 2, "node_id": id, "result": []}));
    }
    assert_no_amplification(victim.addr, &messages);
}

/// Else two that answer one another could be set going by one message.
#[test]
fn an_answer_that_nobody_awaits_and_that_asks_back_brings_one_answer_and_never_a_second() {
    let (peers, _) = network(OverlayKind::Kademlia);
    let victim = peers[0].me().addr;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(LISTEN)).expect("a timeout");
    let mut buffer = [0; 2000];
    // A refusal is answered as it came, as if it were the answer to a request of this side's.
    let mut said = json!({"magic": 1, "resp": true, "asks": 2, "result": {"node_id": Id::of(b"far")}});
    for answers in [1, 0] {
        socket.send_to(said.to_string().as_bytes(), victim).expect("sent");
        let mut heard = Vec::new();
        while let Ok(length) = socket.recv(&mut buffer) {
            heard.push(serde_json::from_slice::<Value>(&buffer[..length]).expect("JSON"));
        }
        assert_eq!(heard.len(), answers, "{heard:?}");
        said = heard.pop().unwrap_or_default();
        assert!(answers == 0 || said["magic"] == 2 && said["error"].is_string(), "{said}");
    }
}

#[test]
fn nobody_gets_more_than_three_bytes_for_one_from_a_ring_peer() {
    let (peers, held) = network(OverlayKind::Ring);
    let victim = peers[0].me();
    let peer = json!({"id": 3, "ip": "::", "port": 9});
    let mut messages = Vec::new();
    for id in [json!(1), json!(beside(victim.id))] {
        for (kind, content) in [
            ("ping", json!({})),
            ("ping", json!({"successors": []})),
            ("ping", json!({"successors": [peer]})),
            ("ping", json!({"successors": [{"id": victim.id, "ip": "::", "port": 1}]})),
            ("join", json!({"origin": peer})),
            ("lookup", json!({"id": id})),
            ("lookup", json!({"key": id, "origin": peer})),
            ("store", json!({"key": id})),
            ("request", json!({"key": held})),
            ("transfer", json!({"file": "0001", "size": 1})),
            ("update", json!({"successors": []})),
            ("quit", json!({"successors": []})),
            ("exit", json!({})),
            ("abrupt", json!({"peer": peer})),
            ("x", json!({})),
        ] {
            let source = json!({"id": id, "ip": "::", "port": 1});
            let destination = json!({"ip": "::", "port": 1});
            messages.push(
                json!({"type": kind, "source": source, "destination": destination, "stamp": 1, "content": content}),
            );
        }
    }
    assert_no_amplification(victim.addr, &messages);
}

#[test]
fn a_storer_reads_nothing_back_from_those_who_pulled_a_block_or_show_that_they_have_it() {
    for overlay in [OverlayKind::Kademlia, OverlayKind::Ring] {
        let (peers, _) = network(overlay);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        fs::write(&path, content).expect("writable");
        let received = || match answer(&peers[1], Command::Status) {
            Answer::Status(status) => status.moved.0,
            other => panic!("{other:?}"),
        };
        let before = received();
        // The first time they pull it, the second time they have it already.
        for _ in 0..2 {
            let stored = answer(&peers[1], Command::Store { path: path.clone(), manifest: None, keep: false });
            let Answer::Stored { copies, wanted, .. } = &stored else { panic!("{stored:?}") };
            assert!(*wanted >= 3 && copies[..*wanted].iter().all(|&blocks| blocks == 0), "{stored:?}");
        }
        assert_eq!(received(), before);
    }
}

#[test]
fn what_the_ring_says_over_connections_is_not_believed_in_datagrams() {
    let (peers, _) = network(OverlayKind::Ring);
    let victim = peers[0].me();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let source = json!({"id": Id::of(b"source"), "ip": "127.0.0.1", "port": 1});
    let update = json!({"type": "update", "source": source, "destination": {"ip": "127.0.0.1", "port": 1},
        "stamp": 5, "content": {"successors": []}});
    socket.send_to(update.to_string().as_bytes(), victim.addr).expect("sent");
    let mut buffer = [0; 2000];
    let length = socket.recv(&mut buffer).expect("a refusal");
    let refusal: Value = serde_json::from_slice(&buffer[..length]).expect("JSON");
    assert_eq!((&refusal["stamp"], &refusal["content"]["error"]), (&json!(5), &json!("this is asked over TCP")));
}

#[test]
fn claimed_addresses_do_not_breed_threads() {
    let (peers, _) = network(OverlayKind::Ring);
    let victim = &peers[0];
    let mut stream = TcpStream::connect(victim.me().addr).expect("it listens");
    let origin_of = |port: u16| json!({"id": Id::of(&port.to_be_bytes()), "ip": "127.0.0.1", "port": port});
    for port in 1..2000 {
        let (source, content) = (origin_of(port), json!({"id": Id::ZERO}));
        let destination = json!({"ip": "127.0.0.1", "port": 1});
        let line = json!({"type": "lookup", "source": source, "destination": destination, "stamp": port,
            "content": content});
        writeln!(stream, "{line}").expect("it reads");
    }
    // Lines of one connection are read in order: the answer to what is no key comes after all of them.
    writeln!(stream, "done").expect("it reads");
    let mut reply = String::new();
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    BufReader::new(&stream).read_line(&mut reply).expect("a reply");
    assert!(reply.starts_with("error: "), "{reply}");
    let found = answer(victim, Command::Lookup { key: Id::of(b"key") });
    assert!(matches!(found, Answer::Lookup { .. }), "{found:?}");
    let links = victim.handle().threads().iter().filter(|name| name.starts_with("link-")).count();
    assert!((1..=300).contains(&links), "{links} links");
}

/// A lab of many peers behind one address is no attack.
#[test]
fn sixty_askers_of_one_address_are_all_answered_at_once() {
    let (peers, key) = network(OverlayKind::Kademlia);
    let victim = peers[0].me().addr;
    let ask = |number: u64| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let requestor = json!({"node_id": Id::of(&number.to_be_bytes()), "ip": "127.0.0.1", "port": 1});
        let asked = json!({"magic": number, "requestor": requestor, "type": "find_node", "params": {"id": key}});
        socket.send_to(asked.to_string().as_bytes(), victim).expect("sent");
        let mut stream = TcpStream::connect(victim).expect("it listens");
        writeln!(stream, "{key}").expect("it is read");
        (number, socket, stream)
    };
    let asked: Vec<_> = (1..=60).map(ask).collect();
    for (number, socket, stream) in asked {
        let mut buffer = [0; 2000];
        socket.set_read_timeout(Some(PATIENCE)).expect("possible");
        // A newcomer is pinged besides.
        let mut next = || {
            let length = socket.recv(&mut buffer).expect("it is answered");
            serde_json::from_slice::<Value>(&buffer[..length]).expect("JSON")
        };
        let answer = std::iter::repeat_with(&mut next).find(|heard| heard["magic"] == number).expect("endless");
        assert!(answer["result"].is_array(), "{answer}");
        stream.set_read_timeout(Some(PATIENCE)).expect("possible");
        let mut lines = BufReader::new(stream).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "10", "the size of the block");
    }
}

#[test]
fn a_connection_ends_at_the_first_line_of_the_web_s_and_after_some_that_are_no_requests() {
    let (peers, _) = network(OverlayKind::Ring);
    let web_page = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n{\"type\":\"quit\"}\n".to_owned();
    let junk = ["junk\n", "{}\n", "file ../x\n"].map(|junk| (junk.repeat(1000), 8));
    for (junk, most) in junk.into_iter().chain([(web_page, 1)]) {
        let mut stream = TcpStream::connect(peers[0].me().addr).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(junk.as_bytes()).expect("it reads");
        let answers: Vec<_> = BufReader::new(&stream).lines().map_while(Result::ok).collect();
        let refused = answers.iter().all(|answer| answer.starts_with("error: "));
        assert!(answers.len() == most && refused, "{junk:.20}: {answers:?}");
    }
}

#[test]
fn a_peer_with_few_descriptors_keeps_what_many_addresses_bring() {
    let folder = tempfile::tempdir().expect("a folder");
    let peer = Launch::new(folder.path().join("data")).under("-n 64").start();
    let bootstrap = vec![SocketAddr::from(([127, 0, 0, 1], peer.port))];
    // Each has an address of its own, which the peer keeps a connection to for seconds.
    let guest = |_| {
        let config = Config { guest: true, ..Config::default() };
        let guest = LocalPeer::start(Options { bootstrap: bootstrap.clone(), config, ..Options::default() });
        let guest = guest.expect("it starts");
        assert!(guest.ready(Some(PATIENCE)).is_some());
        guest
    };
    let guests: Vec<_> = (0..60).map(guest).collect();
    for (n, guest) in guests.iter().enumerate() {
        let path = folder.path().join("file");
        fs::write(&path, n.to_be_bytes()).expect("writable");
        let stored = answer(guest, Command::Store { path, manifest: None, keep: false });
        assert!(matches!(stored, Answer::Stored { .. }), "{n}: {stored:?}");
    }
}

/// Bytes of its own memory that a process has.
fn own_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the system tells");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

/// Requests for files, and questions, that look as if each came from another peer.
fn forged_lines(count: u16) -> impl Iterator<Item = String> {
    (1..=count).map(|port| {
        let origin = json!({"id": port % 251 + 4, "ip": "127.0.0.1", "port": port});
        let (kind, content) = match port % 3 {
            0 => {
                ("request", json!({"origin": origin, "hops": 0, "last": true, "file": format!("{:04}", port % 10_000)}))
            }
            1 => ("store", json!({"origin": origin, "hops": 0, "last": true, "file": format!("{:04}", port % 10_000)})),
            _ => ("lookup", json!({"origin": origin, "hops": 0, "last": true, "key": port % 256})),
        };
        let destination = json!({"ip": "127.0.0.1", "port": 1});
        json!({"type": kind, "source": origin, "destination": destination, "stamp": port, "content": content})
            .to_string()
    })
}

#[test]
fn sixty_thousand_forged_lines_leave_a_classroom_peer_small() {
    const GROWTH: u64 = 24 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_ports();
    let me = format!("2@127.0.0.1:{port}");
    // Its successors are named and never start: nothing but the lines below makes it work.
    let peer = program()
        .args(["ring", "init", &me, "3@127.0.0.1:1", "3@127.0.0.1:1", "10", "--quiet-pings", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let peer = Ended(peer.expect("the program starts"));
    let connect = || TcpStream::connect(("127.0.0.1", port));
    until(|| connect().is_ok());
    let before = own_memory(peer.0.id());
    let sending: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = connect().expect("it listens");
            std::thread::spawn(move || {
                for line in forged_lines(15_000) {
                    writeln!(stream, "{line}").expect("it reads");
                }
                writeln!(stream, "done").expect("it reads");
                stream.set_read_timeout(Some(4 * PATIENCE)).expect("a timeout");
                let mut reply = String::new();
                BufReader::new(&stream).read_line(&mut reply).expect("a reply");
                assert!(reply.starts_with("error: "), "{reply}");
            })
        })
        .collect();
    let mut most = 0;
    while sending.iter().any(|thread| !thread.is_finished()) {
        most = most.max(own_memory(peer.0.id()));
        std::thread::park_timeout(Duration::from_millis(20));
    }
    for thread in sending {
        thread.join().expect("all lines were read");
    }
    most = most.max(own_memory(peer.0.id()));
    assert!(most <= before + GROWTH, "from {before} to {most} bytes");
    println!("from {before} to {most} bytes");
}
