//! Storing a tree of 10,000 files of 1 KiB with 3 peers on loopback, against one file of as many bytes, stored just so.
//!
//! The blocks that hold the files are as durable as any; both clients are processes that come for one command. Each
//! round stores bytes that nobody holds yet. The tree is then stored again, with one file changed, and retrieved. Last,
//! as many files are stored for a while, one after another through one peer's console, all of them renewed, and some of
//! them retrieved through the same console, and through that of a peer that keeps nothing.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod common;

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use common::measure::{Bound, Samples, Unit, samples, title, verdict};
use common::process::{PeerProcess, kadring, run};
use common::rounds;

const PEERS: usize = 3;
const FILES: u64 = 10_000;
const FILE_SIZE: usize = 1024;
const FILES_IN_FOLDER: u64 = 100;

/// Files that are stored, or retrieved, one by one for one figure of how many a second.
const RUN: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir_in(common::knob("DIR", std::env::temp_dir().display().to_string()))?;
    let at = |name: &str| folder.path().join(name);
    let mut peers: Vec<PeerProcess> = Vec::new();
    for number in 0..PEERS {
        let data = at(&format!("peer{number}"));
        fs::create_dir_all(&data)?;
        let bootstrap = peers.first().map(|peer| peer.addr);
        peers.push(PeerProcess::start(&data, bootstrap, &[])?);
    }
    let [mut one, mut tree, mut again, mut back] = [(); 4].map(|()| Samples::default());
    for round in 0..=rounds() as u64 {
        let (file, things, dest) = (at("file"), at("tree"), at("back"));
        fs::write(&file, bytes(2 * round + 1, FILES as usize * FILE_SIZE))?;
        plant(&things, 2 * round + 2)?;
        let ask = |words: &[&Path]| -> io::Result<f64> {
            nix::unistd::sync();
            let mut client = kadring();
            client.args(words).args(["--bootstrap", &peers[0].addr.to_string()]).env("XDG_STATE_HOME", at("state"));
            Ok(run(client.stdout(Stdio::null()))?.wall)
        };
        let (store, retrieve) = (Path::new("store"), Path::new("retrieve"));
        let times = [ask(&[store, &file])?, ask(&[store, &things])?];
        fs::write(path(&things, FILES / 2), bytes(u64::MAX - round, FILE_SIZE))?;
        let times = [times[0], times[1], ask(&[store, &things])?, ask(&[retrieve, Path::new("tree"), &dest])?];
        if fs::read(path(&things, 7))? != fs::read(path(&dest, 7))? {
            return Err(io::Error::other("what was retrieved is not what was stored").into());
        }
        fs::remove_dir_all(&things)?;
        fs::remove_dir_all(&dest)?;
        // The first round warms up.
        if round > 0 {
            [&mut one, &mut tree, &mut again, &mut back].into_iter().zip(times).for_each(|(all, time)| all.push(time));
        }
    }
    title(format!("Storing {FILES} files of {FILE_SIZE} bytes with {PEERS} peers"));
    samples("one file of as many bytes", &one, Unit::Seconds);
    samples("the tree", &tree, Unit::Seconds);
    samples("the tree again, one file changed", &again, Unit::Seconds);
    samples("retrieving the tree", &back, Unit::Seconds);
    verdict("ratio, the tree to one file", tree.median() / one.median(), Bound::AtMost(2.0));
    title(format!("Files of {FILE_SIZE} bytes one after another through one console, {PEERS} peers"));
    let keys = stores(&at("single"), &mut peers[0])?;
    renewals(&at("peer0"))?;
    retrieves("retrieves by the peer that stored them", &keys, &at("own"), &mut peers[0])?;
    let mut other = PeerProcess::start(&at("asking"), Some(peers[0].addr), &["--capacity", "0"])?;
    retrieves("retrieves by a peer that keeps no block", &keys, &at("back"), &mut other)
}

/// Stores the files one by one through the console of a peer. Their keys.
fn stores(files: &Path, peer: &mut PeerProcess) -> Result<Vec<String>, Box<dyn Error>> {
    plant(files, 0)?;
    let (mut rates, mut keys) = (Samples::default(), Vec::new());
    let all: Vec<PathBuf> = (0..FILES).map(|number| path(files, number)).collect();
    for some in all.chunks(RUN) {
        let begun = Instant::now();
        for file in some {
            let stored = peer.ask(&format!("store '{}' --for 30d", file.display()))?;
            keys.push(stored["key"].as_str().ok_or_else(|| io::Error::other(stored.to_string()))?.to_owned());
        }
        rates.push(some.len() as f64 / begun.elapsed().as_secs_f64());
    }
    samples("stores", &rates, Unit::PerSecond);
    verdict("stores a second", rates.median(), Bound::AtLeast(600.0));
    Ok(keys)
}

/// Renews all files through the peer with this data folder.
fn renewals(data: &Path) -> Result<(), Box<dyn Error>> {
    let mut client = kadring();
    client.args(["renew", "--for", "60d", "--data"]).arg(data).stdout(Stdio::null());
    verdict("seconds in which all are renewed", run(&mut client)?.wall, Bound::AtMost(5.0));
    Ok(())
}

/// Retrieves some of the files one by one, into `dest`, through the console of a peer.
fn retrieves(name: &str, keys: &[String], dest: &Path, peer: &mut PeerProcess) -> Result<(), Box<dyn Error>> {
    fs::create_dir(dest)?;
    let mut rates = Samples::default();
    for some in keys.chunks(RUN).take(5) {
        let begun = Instant::now();
        for key in some {
            let back = peer.ask(&format!("retrieve {key} '{}'", dest.join(key).display()))?;
            if back["bytes"] != FILE_SIZE {
                return Err(io::Error::other(back.to_string()).into());
            }
        }
        rates.push(some.len() as f64 / begun.elapsed().as_secs_f64());
    }
    samples(name, &rates, Unit::PerSecond);
    verdict("retrieves a second", rates.median(), Bound::AtLeast(5000.0));
    Ok(())
}

/// The path of a file of the tree.
fn path(tree: &Path, number: u64) -> PathBuf {
    tree.join(format!("folder {:03}/file {number:05}.txt", number / FILES_IN_FOLDER))
}

fn plant(tree: &Path, seed: u64) -> io::Result<()> {
    for number in 0..FILES {
        let path = path(tree, number);
        if number % FILES_IN_FOLDER == 0 {
            fs::create_dir_all(path.parent().unwrap_or(tree))?;
        }
        fs::write(path, bytes(seed * FILES + number, FILE_SIZE))?;
    }
    Ok(())
}

/// Bytes that look random and are the same for the same seed.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
