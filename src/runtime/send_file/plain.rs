//! The plain way: read, and write.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Bytes that are read at a time.
const CHUNK: usize = 64 * 1024;

pub(super) fn send_part(mut stream: impl Write, file: &File, offset: u64, most: usize) -> io::Result<usize> {
    let mut room = [0; CHUNK];
    let count = file.read_at(&mut room[..most.min(CHUNK)], offset)?;
    stream.write(&room[..count])
}
