//! Clients that keep others waiting: what they cost, and whom.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{Launch, file, until};
use tempfile::tempdir;

const MIB: usize = 1 << 20;

/// More clients than there are threads to serve them.
const CLIENTS: usize = 160;

/// A client that takes nothing is given up after 10 s anyway; others shall not have to wait for that.
const SOON: Duration = Duration::from_secs(7);

/// Times that each of them asks for the block: far more than the system's buffers take.
const QUESTIONS: usize = 30;

#[test]
fn clients_that_ask_and_never_read_do_not_keep_others_out() {
    let folder = tempdir().expect("a temporary folder");
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "original", 1, MIB);
    peer.store(&path);
    let key = kadring::id::Id::of(&original).to_string();
    let addr = SocketAddr::from(([127, 0, 0, 1], peer.port));
    let ask = format!("{key}\n");
    let begin = Instant::now();
    let stalled: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut stream = TcpStream::connect(addr).expect("it listens");
            let _ = stream.write_all(ask.repeat(QUESTIONS).as_bytes());
            stream
        })
        .collect();
    // As long as all of them were served a moment ago, whoever comes is turned away.
    until(|| {
        let mut stream = TcpStream::connect(addr).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        let mut back = Vec::new();
        let mut receive = || {
            stream.write_all(ask.as_bytes())?;
            let mut reply = BufReader::new(&stream);
            reply.read_line(&mut String::new())?;
            reply.take(MIB as u64).read_to_end(&mut back)
        };
        receive().is_ok() && back == original
    });
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert!(peer.is_alive());
    drop(stalled);
}
