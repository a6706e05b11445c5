//! Storing and retrieving a file of 1 GiB with 4 peers on loopback, against bare programs that do the same work.
//!
//! Every byte is read from a file, hashed, sent over TCP and written to a file on both sides of the comparison; a
//! stored block is on the disk before it counts ([`bare`]). The client is a process that comes for one command, so its
//! start and its joining are part of the time.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod bare;
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
#[path = "../common/mod.rs"]
mod common;

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytesize::ByteSize;
use common::blocks::{same, write_blocks, write_file};
use common::measure::{Bound, Samples, Unit, samples, title, verdict};
use common::process::{Bare, Cost, PeerProcess, kadring, role, run};
use common::{file_size, rounds};
use serde_json::Value;

/// Peers that hold the blocks, and connections of the bare program.
const HOLDERS: usize = 4;

/// The most that may be resident, in MiB.
const MEMORY: f64 = 64.0;

fn main() -> Result<(), Box<dyn Error>> {
    match role().as_deref() {
        Some("retrieve") => return Ok(bare::retrieve()?),
        Some("store") => return Ok(bare::store()?),
        _ => {}
    }
    let size = file_size();
    let folder = tempfile::tempdir_in(common::knob("DIR", std::env::temp_dir().display().to_string()))?;
    let bench = Bench { folder: folder.path().to_owned(), source: folder.path().join("source"), size };
    write_file(&bench.source, size)?;
    bench.retrieve()?;
    for replicas in [1, 3] {
        bench.store(replicas)?;
    }
    Ok(())
}

/// What the measurements share.
struct Bench {
    folder: PathBuf,
    source: PathBuf,
    size: u64,
}

/// What rounds of one program cost.
#[derive(Default)]
struct Costs {
    wall: Samples,
    cpu: Samples,
    memory: Samples,
}

impl Costs {
    fn push(&mut self, cost: &Cost) {
        self.wall.push(cost.wall);
        self.cpu.push(cost.cpu);
        self.memory.push(cost.peak_memory);
    }
}

impl Bench {
    fn retrieve(&self) -> Result<(), Box<dyn Error>> {
        let blocks = self.folder.join("blocks");
        write_blocks(&self.source, &blocks)?;
        let peers = self.network("retrieve")?;
        let stored = self.client(&["store"], &[self.source.as_os_str()], peers[0].addr, 1).output()?;
        let key = key_of(&stored.stdout).ok_or_else(|| io::Error::other(format!("{stored:?}")))?;
        let dest = self.folder.join("dest");

        let (mut limit, mut ours, mut holders) = (Costs::default(), Costs::default(), Samples::default());
        for round in 0..=rounds() {
            let mut bare = Bare::command("retrieve", &[blocks.as_os_str(), dest.as_os_str()])?;
            let bare = self.measured(&mut bare, &[])?;
            self.check(&dest)?;
            let mut client = self.client(&["retrieve", &key], &[dest.as_os_str()], peers[0].addr, 1);
            let client = self.measured(client.stdout(Stdio::null()), &peers)?;
            self.check(&dest)?;
            // The first round warms up: a fresh file is slow the first time on a virtual machine.
            if round > 0 {
                limit.push(&bare);
                ours.push(&client);
                holders.extend(peers.iter().filter_map(|peer| Some(peer.usage().ok()?.peak_memory)));
            }
        }
        fs::remove_dir_all(&blocks)?;
        self.report(
            &format!("Retrieving {} from {HOLDERS} peers", ByteSize(self.size)),
            1.2,
            [&limit, &ours],
            &holders,
        );
        Ok(())
    }

    fn store(&self, replicas: usize) -> Result<(), Box<dyn Error>> {
        let copies = self.folder.join("copies");
        let (mut limit, mut ours, mut holders) = (Costs::default(), Costs::default(), Samples::default());
        for round in 0..=rounds() {
            let count = replicas.to_string();
            let arguments = [self.source.as_os_str(), copies.as_os_str(), OsStr::new(&count)];
            let bare = self.measured(&mut Bare::command("store", &arguments)?, &[])?;
            fs::remove_dir_all(&copies)?;
            let peers = self.network("store")?;
            let mut client = self.client(&["store"], &[self.source.as_os_str()], peers[0].addr, replicas);
            let client = self.measured(client.stdout(Stdio::null()), &peers)?;
            if round > 0 {
                limit.push(&bare);
                ours.push(&client);
                holders.extend(peers.iter().filter_map(|peer| Some(peer.usage().ok()?.peak_memory)));
            }
            drop(peers);
            fs::remove_dir_all(self.folder.join("store"))?;
        }
        let what = format!("Storing {} with {replicas} replicas on {HOLDERS} peers", ByteSize(self.size));
        self.report(&what, 1.15, [&limit, &ours], &holders);
        Ok(())
    }

    /// Peers that know one another, with empty stores under `name`.
    fn network(&self, name: &str) -> io::Result<Vec<PeerProcess>> {
        let mut peers: Vec<PeerProcess> = Vec::new();
        for number in 0..HOLDERS {
            let data = self.folder.join(name).join(number.to_string());
            fs::create_dir_all(&data)?;
            let bootstrap = peers.first().map(|peer| peer.addr);
            peers.push(PeerProcess::start(&data, bootstrap, &["--replicas", "1"])?);
        }
        Ok(peers)
    }

    /// A client for one command.
    fn client(&self, words: &[&str], paths: &[&OsStr], bootstrap: SocketAddr, replicas: usize) -> Command {
        let mut command = kadring();
        command.args(words).args(paths).arg("--json");
        if words == ["store"] {
            command.args(["--replicas", &replicas.to_string()]);
        }
        command.args(["--bootstrap", &bootstrap.to_string()]);
        command
    }

    /// What `command` costs, and what it costs `peers`, on a disk that has nothing else to write.
    fn measured(&self, command: &mut Command, peers: &[PeerProcess]) -> io::Result<Cost> {
        nix::unistd::sync();
        let before = cpu_of(peers)?;
        let cost = run(command)?;
        Ok(Cost { cpu: cost.cpu + cpu_of(peers)? - before, ..cost })
    }

    /// Makes sure that `dest` is the file, and removes it.
    fn check(&self, dest: &Path) -> io::Result<()> {
        if !same(&self.source, dest)? {
            return Err(io::Error::other("what was retrieved is not what was stored"));
        }
        fs::remove_file(dest)
    }

    /// `wall` is how many times the bare program's time may be taken.
    fn report(&self, what: &str, wall: f64, [limit, ours]: [&Costs; 2], holders: &Samples) {
        title(what);
        samples("bare program", &limit.wall, Unit::Seconds);
        samples("kadring", &ours.wall, Unit::Seconds);
        samples("bare program, processor time", &limit.cpu, Unit::Seconds);
        samples("kadring, processor time, all processes", &ours.cpu, Unit::Seconds);
        samples("peak memory of the client", &ours.memory, Unit::Bytes);
        samples("peak memory of a holder", holders, Unit::Bytes);
        verdict("ratio, wall", ours.wall.median() / limit.wall.median(), Bound::AtMost(wall));
        verdict("ratio, processor time", ours.cpu.median() / limit.cpu.median(), Bound::AtMost(1.5));
        let peak = ours.memory.quantile(1.0).max(holders.quantile(1.0));
        verdict("peak memory of any process, MiB", peak / f64::from(1 << 20), Bound::AtMost(MEMORY));
    }
}

/// Processor seconds of `peers` so far.
fn cpu_of(peers: &[PeerProcess]) -> io::Result<f64> {
    peers.iter().map(|peer| peer.usage().map(|usage| usage.cpu)).sum()
}

/// The key in the answer to `store`.
fn key_of(stdout: &[u8]) -> Option<String> {
    let line = stdout.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"{"))?;
    let answer: Value = serde_json::from_slice(line).ok()?;
    answer["key"].as_str().map(str::to_owned)
}
