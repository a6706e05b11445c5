//! What the threads of a live peer promise: start, stop, and nothing left running.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use kadring::id::Id;
use kadring::node::{Answer, Command, Notice};
use kadring::runtime::{Ended, LocalPeer, Options, stopwatch};
use parking_lot::Mutex;

const PATIENCE: Duration = Duration::from_secs(30);

/// Threads are counted for the whole process, so the tests of this file take turns.
static TURN: Mutex<()> = Mutex::new(());

fn answer(peer: &LocalPeer, command: Command) -> Answer {
    let notices = peer.submit(command);
    loop {
        if let Notice::Answer { answer, .. } = notices.recv_timeout(PATIENCE).expect("every command has an answer") {
            return answer;
        }
    }
}

/// The names of the peers' threads that the system knows, sorted. The test harness has threads of its own.
fn tasks() -> Vec<String> {
    const OURS: [&str; 8] =
        ["node", "udp-recv", "sweeper", "tcp-accept", "tcp-serve-", "transfer-", "link-", "signals"];
    let tasks = fs::read_dir("/proc/self/task").expect("this system lists threads").flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    let mut ours: Vec<_> = names.filter(|name| OURS.iter().any(|ours| name.starts_with(ours))).collect();
    ours.sort();
    ours
}

fn start(bootstrap: &[&LocalPeer]) -> LocalPeer {
    let bootstrap = bootstrap.iter().map(|peer| peer.me().addr).collect();
    let peer = LocalPeer::start(Options { bootstrap, ..Options::default() }).expect("it starts");
    assert!(peer.ready(Some(PATIENCE)).is_some());
    peer
}

#[test]
fn a_peer_that_quits_leaves_no_thread_and_frees_its_port() {
    let _turn = TURN.lock();
    assert_eq!(tasks(), [""; 0]);
    for _ in 0..3 {
        let peer = start(&[]);
        let addr = peer.me().addr;
        // A thread gives itself its name once it runs, which may be a moment later.
        for _ in 0..1000 {
            if tasks().len() == 4 {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        assert_eq!(tasks().len(), 4, "it has its threads");
        assert!(matches!(answer(&peer, Command::Quit { handover: true }), Answer::Left { .. }));
        assert_eq!(peer.wait(), Ended::Left);
        assert_eq!(tasks(), [""; 0], "every thread was joined");
        UdpSocket::bind(addr).expect("the port is free again");
    }
}

#[test]
fn a_dropped_peer_is_gone_even_with_connections_open_and_work_under_way() {
    let _turn = TURN.lock();
    assert_eq!(tasks(), [""; 0]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, vec![7; 20 << 20]).expect("writable");
    let (first, second) = (start(&[]), start(&[]));
    let waiting: Vec<_> = (0..5).map(|_| TcpStream::connect(first.me().addr).expect("it listens")).collect();
    let notices = second.submit(Command::Store { path: file, manifest: None, keep: true });
    drop(second);
    drop(first);
    assert_eq!(tasks(), [""; 0]);
    drop(waiting);
    while notices.recv_timeout(PATIENCE).is_ok() {}
}

#[test]
fn a_peer_ends_soon_wherever_its_sockets_are_bound_and_whatever_waits_in_them() {
    let _turn = TURN.lock();
    for bind in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        let bind: std::net::SocketAddr = bind.parse().expect("an address");
        let peer = LocalPeer::start(Options { bind, ..Options::default() }).expect("it starts");
        assert!(peer.ready(Some(PATIENCE)).is_some());
        let socket = UdpSocket::bind((bind.ip(), 0)).expect("a socket");
        let loopback: std::net::IpAddr =
            if bind.is_ipv4() { [127, 0, 0, 1].into() } else { "::1".parse().expect("it is") };
        let to = (loopback, peer.me().addr.port());
        let took = stopwatch();
        std::thread::scope(|scope| {
            // More than it can take.
            scope.spawn(|| (0..20_000).for_each(|_| drop(socket.send_to(&[b'x'; 1000], to))));
            drop(peer);
        });
        assert!(took() < PATIENCE / 10, "{bind}: {:?}", took());
        assert_eq!(tasks(), [""; 0], "{bind}");
    }
}

#[test]
fn a_peer_at_rest_has_at_most_eight_threads() {
    let _turn = TURN.lock();
    let peer = start(&[]);
    assert!(tasks().len() <= 8 - 3, "main, the log and the console come on top: {:?}", peer.handle().threads());
}

#[test]
fn commands_from_many_threads_each_get_their_own_answer() {
    let _turn = TURN.lock();
    let peer = start(&[]);
    std::thread::scope(|scope| {
        for n in 0..16_u64 {
            let handle = peer.handle();
            scope.spawn(move || {
                for m in 0..50_u64 {
                    let key = Id::of(&(n * 1000 + m).to_le_bytes());
                    let notice = handle.submit(Command::Lookup { key }).recv_timeout(PATIENCE);
                    let Ok(Notice::Answer { answer: Answer::Lookup { key: answered, .. }, .. }) = notice else {
                        panic!("no answer: {notice:?}");
                    };
                    assert_eq!(answered, key);
                }
            });
        }
    });
}

#[test]
fn a_command_to_a_peer_that_has_ended_ends_too() {
    let _turn = TURN.lock();
    let peer = start(&[]);
    let handle = peer.handle();
    drop(peer);
    assert!(handle.submit(Command::Status).recv_timeout(PATIENCE).is_err());
    assert!(handle.notices().recv_timeout(PATIENCE).is_err());
    assert!(handle.threads().is_empty());
}

#[test]
fn whatever_a_client_sends_over_tcp_it_gets_blocks_or_clear_errors() {
    let _turn = TURN.lock();
    let peer = start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, b"some bytes").expect("writable");
    assert!(matches!(answer(&peer, Command::Store { path: file, manifest: None, keep: false }), Answer::Stored { .. }));
    let key = Id::of(b"some bytes");
    let mut stream = TcpStream::connect(peer.me().addr).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut replies = BufReader::new(stream.try_clone().expect("a copy"));
    let mut line = String::new();
    for wrong in ["", "GET /", "{}", &"f".repeat(63), &Id::ZERO.to_string()] {
        writeln!(stream, "{wrong}").expect("it reads");
        line.clear();
        replies.read_line(&mut line).expect("a reply");
        assert!(line.starts_with("error: "), "{wrong}");
    }
    write!(stream, "{key}\n{key}\r\n").expect("two at once");
    for _ in 0..2 {
        let mut reply = [0; 13];
        replies.read_exact(&mut reply).expect("the block");
        assert_eq!(&reply, b"10\nsome bytes");
    }
    writeln!(stream, "{}", "f".repeat(1000)).expect("it reads");
    line.clear();
    replies.read_to_string(&mut line).expect("the connection ends");
    assert!(line.starts_with("error: "), "too long: {line}");
}

#[test]
fn more_clients_than_there_are_threads_for_do_not_keep_others_out() {
    let _turn = TURN.lock();
    let peer = start(&[]);
    let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(peer.me().addr).expect("it listens")).collect();
    for half in silent.iter().step_by(2) {
        let mut half = half;
        let _ = half.write_all(b"0123");
    }
    let mut stream = TcpStream::connect(peer.me().addr).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    writeln!(stream, "{}", Id::ZERO).expect("it reads");
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).expect("a reply");
    assert_eq!(reply, "error: this block is not here\n");
}
