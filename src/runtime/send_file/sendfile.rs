//! The fast way, `sendfile`: a GiB of blocks costs 0.16 s of processor time to serve, plainly 0.39 s.
//!
//! Bytes go from the disk's cache to the network without passing through this program's memory. Measured over loopback,
//! of a whole peer that serves 16 blocks of 1 MiB again and again.

use std::fs::File;
use std::io::{self, Write};
use std::net::TcpStream;

use nix::sys::sendfile::sendfile64;
use rustix::net::{SendFlags, send};

use crate::runtime::bounded_lines::uninterrupted;

/// The system holds it back until bytes of the file follow, or for 0.2 s.
pub(super) fn send_head(mut stream: &TcpStream, head: &[u8]) -> io::Result<()> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    let count = uninterrupted(|| Ok(send(stream, head, flags)?))?;
    stream.write_all(&head[count..])
}

pub(super) fn send_part(stream: &TcpStream, file: &File, offset: u64, most: usize) -> io::Result<usize> {
    let mut at = i64::try_from(offset).map_err(io::Error::other)?;
    Ok(sendfile64(stream, file, Some(&mut at), most)?)
}
