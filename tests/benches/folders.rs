//! Storing a tree of 10,000 files of 1 KiB with 3 peers on loopback, against one file of as many bytes, stored just so.
//!
//! The blocks that hold the files are as durable as any; both clients are processes that come for one command. Each
//! round stores bytes that nobody holds yet. The tree is then stored again, with one file changed, and retrieved. Last,
//! as many files are stored one by one for a while, and all of them renewed.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod common;

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::measure::{Bound, Samples, Unit, samples, title, verdict};
use common::process::{PeerProcess, kadring, run};
use common::rounds;

const PEERS: usize = 3;
const FILES: u64 = 10_000;
const FILE_SIZE: usize = 1024;
const FILES_IN_FOLDER: u64 = 100;

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
    renewals(&at("single"), &at("peer0"))
}

/// Stores the files one by one through the peer with this data folder, and renews all.
fn renewals(files: &Path, data: &Path) -> Result<(), Box<dyn Error>> {
    plant(files, 0)?;
    let ask = |words: &[&str], files: &[PathBuf]| -> io::Result<f64> {
        let mut client = kadring();
        client.args(words).arg("--data").arg(data).args(files).stdout(Stdio::null());
        Ok(run(&mut client)?.wall)
    };
    let all: Vec<PathBuf> = (0..FILES).map(|number| path(files, number)).collect();
    for some in all.chunks(500) {
        ask(&["store", "--for", "30d"], some)?;
    }
    title(format!("Renewing {FILES} files with {PEERS} peers"));
    verdict("seconds", ask(&["renew", "--for", "60d"], &[])?, Bound::AtMost(5.0));
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
