//! The bare limits: the same bytes through the same system calls, and nothing else.
//!
//! Both are one process with plain threads; blocks travel over TCP on loopback. No routing, no windows, no retries.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use kadring::id::Id;

use super::HOLDERS;
use super::common::blocks::{BLOCK, INDEX};

/// Blocks of a store that are on their way at once, as many as a peer's window.
const SENDERS: usize = 16;

/// Reads block files, sends, receives, hashes and writes them over [`HOLDERS`] connections. Arguments: the folder of
/// blocks, the file to make of them.
pub(crate) fn retrieve() -> io::Result<()> {
    let (blocks, dest) = (argument(1)?, argument(2)?);
    let index = fs::read_to_string(blocks.join(INDEX))?;
    let keys: Vec<&str> = index.lines().collect();
    let partial = dest.with_extension("part");
    let file = File::create(&partial)?;
    thread::scope(|threads| {
        let fetchers: Vec<_> = (0..HOLDERS)
            .map(|holder| {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let addr = listener.local_addr()?;
                let (blocks, keys, file) = (&blocks, &keys, &file);
                threads.spawn(move || serve_blocks(&listener, blocks));
                Ok(threads.spawn(move || fetch_blocks(addr, keys, holder, file)))
            })
            .collect::<io::Result<_>>()?;
        fetchers.into_iter().try_for_each(|fetcher| fetcher.join().expect("a fetcher does not panic"))
    })?;
    fs::rename(partial, dest)
}

/// Serves one connection: a key a line, its size and bytes back.
fn serve_blocks(listener: &TcpListener, blocks: &Path) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream.try_clone()?);
    let (mut line, mut block) = (String::new(), vec![0; BLOCK]);
    while requests.read_line(&mut line)? > 0 {
        let len = read_whole(&File::open(blocks.join(line.trim()))?, 0, &mut block)?;
        stream.write_all(format!("{len}\n").as_bytes())?;
        stream.write_all(&block[..len])?;
        line.clear();
    }
    Ok(())
}

/// Fetches every [`HOLDERS`]th of `keys` from `first` on, checks it and puts it in its place.
fn fetch_blocks(from: SocketAddr, keys: &[&str], first: usize, file: &File) -> io::Result<()> {
    let mut stream = TcpStream::connect(from)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let (mut line, mut block) = (String::new(), vec![0; BLOCK]);
    for (number, key) in keys.iter().enumerate().skip(first).step_by(HOLDERS) {
        stream.write_all(format!("{key}\n").as_bytes())?;
        line.clear();
        answers.read_line(&mut line)?;
        let len: usize = line.trim().parse().map_err(io::Error::other)?;
        answers.read_exact(&mut block[..len])?;
        if Id::of(&block[..len]).to_string() != *key {
            return Err(io::Error::other("a block is damaged"));
        }
        file.write_all_at(&block[..len], (number * BLOCK) as u64)?;
    }
    Ok(())
}

/// Reads a file, hashes each block once, sends it to as many holders as asked; each hashes it, writes it and has it on
/// the disk before it says so. Arguments: the file, the folder for the copies, how many copies.
pub(crate) fn store() -> io::Result<()> {
    let (source, copies) = (argument(1)?, argument(2)?);
    let replicas: usize = argument(3)?.to_string_lossy().parse().map_err(io::Error::other)?;
    let source = File::open(source)?;
    let size = source.metadata()?.len();
    let listeners = (0..HOLDERS).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<Vec<_>>>()?;
    let holders = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    let (source, holders) = (&source, &holders);
    thread::scope(|threads| {
        for (holder, listener) in listeners.iter().enumerate() {
            let folder = copies.join(holder.to_string());
            fs::create_dir_all(&folder)?;
            threads.spawn(move || -> io::Result<()> {
                for _ in 0..SENDERS {
                    let (stream, _) = listener.accept()?;
                    let folder = folder.clone();
                    threads.spawn(move || keep_blocks(&stream, &folder));
                }
                Ok(())
            });
        }
        let senders: Vec<_> = (0..SENDERS)
            .map(|first| threads.spawn(move || send_blocks(source, size, first, holders, replicas)))
            .collect();
        senders.into_iter().try_for_each(|sender| sender.join().expect("a sender does not panic"))
    })
}

/// Sends every [`SENDERS`]th block from `first` on, and waits until each of its holders has it.
fn send_blocks(source: &File, size: u64, first: usize, holders: &[SocketAddr], replicas: usize) -> io::Result<()> {
    let mut streams = holders.iter().map(TcpStream::connect).collect::<io::Result<Vec<_>>>()?;
    let mut block = vec![0; BLOCK];
    let blocks = size.div_ceil(BLOCK as u64) as usize;
    for number in (first..blocks).step_by(SENDERS) {
        let len = read_whole(source, (number * BLOCK) as u64, &mut block)?;
        let key = Id::of(&block[..len]);
        for copy in 0..replicas {
            let stream = &mut streams[(number + copy) % HOLDERS];
            stream.write_all(key.as_bytes())?;
            stream.write_all(&(len as u32).to_be_bytes())?;
            stream.write_all(&block[..len])?;
        }
        for copy in 0..replicas {
            streams[(number + copy) % HOLDERS].read_exact(&mut [0])?;
        }
    }
    Ok(())
}

/// Keeps what comes over one connection.
fn keep_blocks(mut stream: &TcpStream, folder: &Path) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut head = [0; 36];
    // The sender ends the connection when it has sent all.
    while stream.read_exact(&mut head).is_ok() {
        let (key, len) = head.split_at(32);
        let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        stream.read_exact(&mut block[..len])?;
        let name = Id::of(&block[..len]);
        if name.as_bytes() != key {
            return Err(io::Error::other("a block is damaged"));
        }
        let partial = folder.join(format!("{name}.part"));
        let mut file = File::create(&partial)?;
        file.write_all(&block[..len])?;
        file.sync_data()?;
        fs::rename(partial, folder.join(name.to_string()))?;
        stream.write_all(&[1])?;
    }
    Ok(())
}

/// Fills `block` from `offset` on, as far as the file goes.
fn read_whole(file: &File, offset: u64, block: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < block.len() {
        match file.read_at(&mut block[len..], offset + len as u64)? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

fn argument(number: usize) -> io::Result<PathBuf> {
    env::args_os().nth(number).map(PathBuf::from).ok_or_else(|| io::Error::other("too few arguments"))
}
