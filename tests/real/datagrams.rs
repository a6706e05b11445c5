//! On the ring, who says that it reads datagrams is answered by one, and who does not over a connection.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};

use serde_json::{Value, json};

use crate::cli::running::{folder, text};
use crate::support::{DEADLINE, Launch, PeerProcess};

const KEY: &str = "5555555555555555555555555555555555555555555555555555555555555555";

/// A program that speaks the ring's lines, at one port for datagrams and connections.
struct Client {
    udp: UdpSocket,
    tcp: TcpListener,
    me: Value,
}

impl Client {
    fn new() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = tcp.local_addr().expect("bound");
        let udp = UdpSocket::bind(at).expect("the same for datagrams");
        udp.set_read_timeout(Some(DEADLINE)).expect("a time");
        let me = json!({"id": "77".repeat(32), "ip": "127.0.0.1", "port": at.port(), "guest": true});
        Self { udp, tcp, me }
    }

    /// Asks the peer at `port` who is responsible for `key`.
    fn ask(&self, port: u16, stamp: u64, key: &str, datagrams: bool) {
        let mut content = json!({"origin": self.me, "hops": 0, "last": false, "key": key});
        if datagrams {
            content["datagrams"] = json!(true);
        }
        let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        connection.write_all(self.line("lookup", port, stamp, &content).as_bytes()).expect("it takes a line");
        connection.shutdown(Shutdown::Write).expect("it is open");
    }

    fn line(&self, kind: &str, port: u16, stamp: u64, content: &Value) -> String {
        let to = json!({"ip": "127.0.0.1", "port": port});
        let line = json!({"type": kind, "source": self.me, "destination": to, "stamp": stamp, "content": content});
        format!("{line}\n")
    }

    /// The next datagram, and from which port it came.
    fn datagram(&self) -> (u16, Value) {
        let mut room = [0; 2048];
        let (len, from) = self.udp.recv_from(&mut room).expect("it comes in time");
        (from.port(), serde_json::from_slice(&room[..len]).expect("it is JSON"))
    }
}

/// Three peers in a ring, which record what happens to them.
fn ring() -> (tempfile::TempDir, Vec<PeerProcess>) {
    let folder = folder();
    let mut peers: Vec<PeerProcess> = Vec::new();
    for n in 0..3 {
        let record = folder.path().join(format!("moments{n}"));
        let launch = Launch::new(folder.path().join(format!("peer{n}")));
        let launch = launch.args(&["--overlay", "ring", "--record", text(&record)]);
        peers.push(match peers.first() {
            Some(first) => launch.through(first.port).start(),
            None => launch.start(),
        });
    }
    for peer in &mut peers {
        assert_eq!(peer.ask("wait stable --deadline 60s")["answer"], "waited");
    }
    (folder, peers)
}

#[test]
fn the_owner_answers_a_program_that_reads_datagrams_by_one_and_another_over_a_connection_once_it_answers_a_ping() {
    let (_folder, peers) = ring();
    let (asked, owner) = (&peers[0], &peers[1]);
    let client = Client::new();
    client.ask(asked.port, 1234, &owner.id, true);
    let (from, answer) = client.datagram();
    assert_eq!((from, &answer["stamp"]), (owner.port, &json!(1234)), "the answer is the first that comes: {answer}");
    assert_eq!(answer["content"]["reply"], "owner");
    let named = answer["content"]["named"].as_array().expect("peers in words");
    assert_eq!((named.len(), &named[0]), (3, &json!(format!("{}@127.0.0.1:{}", owner.id, owner.port))));
    client.tcp.set_nonblocking(true).expect("a socket");
    client.tcp.accept().expect_err("nobody connects");

    client.ask(asked.port, 5678, &owner.id, false);
    let (from, ping) = client.datagram();
    assert_eq!((from, ping["type"].as_str()), (owner.port, Some("ping")), "{ping}");
    client.tcp.accept().expect_err("not before it is answered");
    let pong = client.line(
        "ping",
        from,
        ping["stamp"].as_u64().expect("a number"),
        &json!({"reply": "node", "peer": client.me}),
    );
    client.udp.send_to(pong.as_bytes(), ("127.0.0.1", from)).expect("it is sent");
    client.tcp.set_nonblocking(false).expect("a socket");
    let (connection, _) = client.tcp.accept().expect("the owner connects");
    connection.set_read_timeout(Some(DEADLINE)).expect("a time");
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).expect("a line comes");
    let answer: Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!((&answer["stamp"], &answer["content"]["peers"][0]["id"]), (&json!(5678), &json!(owner.id)));
}

#[test]
fn a_lookup_among_peers_is_answered_by_datagrams() {
    let (folder, mut peers) = ring();
    for peer in &mut peers {
        let found = peer.ask(&format!("lookup {KEY}"));
        assert_eq!(found["peers"].as_array().map(Vec::len), Some(3), "{found}");
    }
    // Whose key it is, that one need not ask.
    let mut answered = 0;
    for (n, mut peer) in peers.into_iter().enumerate() {
        peer.ask("quit");
        assert_eq!(peer.wait(), Some(0));
        let record = fs::read_to_string(folder.path().join(format!("moments{n}"))).expect("it is written");
        let moments = record.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).expect("it is JSON"));
        let messages: Vec<Value> = moments.map(|moment| moment["event"]["Message"].clone()).collect();
        let answers = |name: &str, via: &str| {
            let is_it = |message: &&Value| {
                message["via"] == via && !message["message"]["body"]["Response"]["Ring"][name].is_null()
            };
            messages.iter().filter(is_it).count()
        };
        assert_eq!(answers("Owner", "Tcp"), 0, "peer {n}");
        answered += usize::from(answers("Owner", "Udp") > 0);
        assert_eq!(answers("Has", "Udp"), 2, "peer {n}: the two others are asked by ping");
    }
    assert!(answered >= 2, "{answered}");
}
