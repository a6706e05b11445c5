//! Bytes of a file to a connection: the face of two ways to send them.

mod plain;
#[cfg(target_os = "linux")]
mod sendfile;

use super::portable;
use super::secrecy::Stream;
use std::fs::File;
use std::io::{self, Write};

/// Sends what stands before a part of a file. Where more `follows`, it leaves with that if it can: then the process
/// that reads it is woken once.
pub(super) fn send_head(mut stream: &Stream, head: &[u8], follows: bool) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if follows && !portable::only() && !stream.is_sealed() {
        return sendfile::send_head(stream.tcp(), head);
    }
    debug_assert!(!follows || portable::only() || stream.is_sealed(), "it is all that other systems have");
    stream.write_all(head)
}

/// Sends some bytes of `file` from `offset` on, at most so many; returns how many it sent. None are there any more:
/// zero.
pub(super) fn send_part(stream: &Stream, file: &File, offset: u64, most: usize) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    if !portable::only() && !stream.is_sealed() {
        return sendfile::send_part(stream.tcp(), file, offset, most);
    }
    debug_assert!(portable::only() || stream.is_sealed(), "it is all that other systems have");
    plain::send_part(stream, file, offset, most)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    type SendPart = fn(&TcpStream, &File, u64, usize) -> io::Result<usize>;

    /// What arrives of the bytes of a file from `offset` on, sent in parts until there are no more.
    fn through(send_part: SendPart, bytes: &[u8], offset: u64, most: usize) -> Vec<u8> {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(bytes).expect("it takes bytes");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (mut receiving, _) = listener.accept().expect("it is there");
        let receiver = std::thread::spawn(move || {
            let mut received = Vec::new();
            receiving.read_to_end(&mut received).expect("it is open");
            received
        });
        let mut at = offset;
        loop {
            match send_part(&stream, &file, at, most).expect("it is taken") {
                0 => break,
                count => at += count as u64,
            }
            assert!(at <= bytes.len() as u64);
        }
        drop(stream);
        receiver.join().expect("it does not panic")
    }

    #[test]
    fn both_ways_send_the_same_bytes_from_anywhere_in_a_file() {
        let bytes: Vec<u8> = (0..700_000_u32).map(|n| (n / 7) as u8).collect();
        let ways: &[SendPart] = &[
            |stream, file, offset, most| plain::send_part(stream, file, offset, most),
            #[cfg(target_os = "linux")]
            sendfile::send_part,
        ];
        for &way in ways {
            for (offset, most) in [(0, 1 << 20), (5, 256 << 10), (699_999, 1000), (700_000, 1000)] {
                assert!(through(way, &bytes, offset, most) == bytes[offset as usize..], "from {offset} on, by {most}");
            }
        }
    }
    #[cfg(target_os = "linux")]
    #[test]
    fn a_head_leaves_with_the_first_bytes_of_its_file() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(b"bytes").expect("it takes bytes");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        stream.set_nodelay(true).expect("a connection");
        let (mut receiving, _) = listener.accept().expect("it is there");
        sendfile::send_head(&stream, b"5\n").expect("it is taken");
        receiving.set_nonblocking(true).expect("a connection");
        let early = receiving.peek(&mut [0; 10]).map_err(|error| error.kind());
        assert_eq!(early, Err(io::ErrorKind::WouldBlock), "the head alone wakes nobody");
        assert_eq!(sendfile::send_part(&stream, &file, 0, 5).expect("it is taken"), 5);
        drop(stream);
        receiving.set_nonblocking(false).expect("a connection");
        let mut received = String::new();
        receiving.read_to_string(&mut received).expect("it is open");
        assert_eq!(received, "5\nbytes");
    }
}
