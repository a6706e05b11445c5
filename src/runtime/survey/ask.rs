//! Calls: a line to each of many peers over TCP, without waiting for any single one of them.
//!
//! Connections are opened many at a time and none is waited for by itself: whoever does not answer costs the others
//! nothing but its place for a moment.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::time::Time;

/// Connections that are being opened at a time.
const MAX_OPENING: usize = 256;

/// Lines to be sent, and connections on their way.
pub(super) struct Calls {
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    opening: Vec<Opening>,
    patience: Duration,
}

/// A connection that is not there yet, and what to say once it is.
struct Opening {
    socket: Socket,
    line: Vec<u8>,
    limit: Time,
}

impl Calls {
    /// No calls yet. Each connection will have as long as `patience` to come about.
    pub(super) fn new(patience: Duration) -> Self {
        Self { waiting: VecDeque::new(), opening: Vec::new(), patience }
    }

    /// This line is to be said to whoever listens at `addr`.
    pub(super) fn add(&mut self, addr: SocketAddr, line: Vec<u8>) {
        self.waiting.push_back((addr, line));
    }

    /// The most time that all calls take that were not made yet, answers not counted.
    pub(super) fn longest(&self) -> Duration {
        let turns = (self.waiting.len() + self.opening.len()).div_ceil(MAX_OPENING);
        self.patience * u32::try_from(turns).unwrap_or(u32::MAX)
    }

    /// Begins what can be begun, says what can be said, and gives up what takes too long.
    pub(super) fn go_on(&mut self, now: Time) {
        self.opening.retain_mut(|call| call.limit > now && !call.is_over());
        while self.opening.len() < MAX_OPENING {
            let Some((addr, line)) = self.waiting.pop_front() else { return };
            // Nobody there, or no descriptors left: this one is as silent as others.
            let Ok(socket) = open(addr) else { continue };
            self.opening.push(Opening { socket, line, limit: now + self.patience });
        }
    }

    /// What tells when there is something to go on with.
    pub(super) fn pollable(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.opening.iter().map(|call| call.socket.as_fd())
    }

    /// When the first call is to be given up.
    pub(super) fn next_limit(&self) -> Option<Time> {
        self.opening.iter().map(|call| call.limit).min()
    }
}

/// Begins to connect, and does not wait.
fn open(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&addr.into()) {
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => Ok(socket),
        result => result.map(|()| socket),
    }
}

impl Opening {
    /// Sends the line if the connection has come about; whether there is nothing more to do.
    fn is_over(&mut self) -> bool {
        match (self.socket.take_error(), self.socket.peer_addr()) {
            (Ok(None), Err(_)) => false,
            (Ok(None), Ok(_)) => {
                // The first line of a fresh connection always finds room in the system's buffer.
                if let Ok(socket) = self.socket.try_clone() {
                    let _ = TcpStream::from(socket).write_all(&self.line);
                }
                true
            }
            (Ok(Some(_)) | Err(_), _) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;
    use crate::runtime::clock::Clock;

    const PATIENCE: Duration = Duration::from_millis(300);

    /// A listener whose queue is full: whoever connects waits.
    fn silent() -> (TcpListener, Vec<Socket>, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let addr = listener.local_addr().unwrap();
        (listener, (0..3).map(|_| open(addr).unwrap()).collect(), addr)
    }

    #[test]
    fn silent_peers_do_not_hold_the_others_up() {
        let (_full, _held, silent) = silent();
        let living = TcpListener::bind("127.0.0.1:0").unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (clock, mut calls) = (Clock::start(), Calls::new(PATIENCE));
        (0..100).for_each(|_| calls.add(silent, b"to nobody\n".to_vec()));
        calls.add(refusing, b"to nobody\n".to_vec());
        calls.add(living.local_addr().unwrap(), b"hello\n".to_vec());
        assert_eq!(calls.longest(), PATIENCE);
        calls.go_on(clock.now());
        let (stream, _) = living.accept().unwrap();
        calls.go_on(clock.now());
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
        let limit = calls.next_limit().expect("the silent ones are still waited for");
        calls.go_on(limit);
        assert_eq!(calls.next_limit(), None, "all of them are given up together");
    }
}
