//! Networks of real peers, and what they hold.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;
use crate::common::measure::Samples;
use crate::common::process::PeerProcess;

/// How often peers are asked how many blocks they hold.
const GLANCE: Duration = Duration::from_millis(200);

/// Peers of one network.
pub(crate) struct Network {
    folder: PathBuf,
    weather: &'static str,
    overlay: &'static str,
    replicas: usize,
    pub(crate) peers: Vec<PeerProcess>,
    /// Peers that were ever started.
    started: usize,
    /// Blocks in it, with those that list the others.
    blocks: usize,
}

/// How the number of copies grew.
pub(crate) struct Growth {
    /// Whenever it was looked at.
    seen: Vec<(Duration, f64)>,
    pub(crate) end: Duration,
}

impl Growth {
    /// When there were first more than `before`.
    pub(crate) fn first_after(&self, before: f64) -> Duration {
        self.seen.iter().find(|(_, sum)| *sum > before).map_or(Duration::ZERO, |(when, _)| *when)
    }
}

impl Network {
    /// A network without peers as yet.
    pub(crate) fn new(folder: PathBuf, weather: &'static str, overlay: &'static str, replicas: usize) -> Self {
        Self { folder, weather, overlay, replicas, peers: Vec::new(), started: 0, blocks: 0 }
    }

    /// Adds peers, each with a store of its own, until there are `peers`.
    pub(crate) fn add(&mut self, peers: usize) -> io::Result<()> {
        while self.peers.len() < peers {
            let entry = self.peers.first().map(|peer| peer.addr);
            let options = ["--overlay", self.overlay, "--replicas", &self.replicas.to_string()];
            let folder = self.folder.join(self.started.to_string());
            self.peers.push(PeerProcess::start_in(self.weather, &folder, entry, &options)?);
            self.started += 1;
        }
        Ok(())
    }

    /// Has the blocks in `folder` kept, and tells how many copies a second were made.
    pub(crate) fn import(&mut self, folder: &Path) -> io::Result<f64> {
        let start = Instant::now();
        let answer = self.peers[0].ask(&format!("import '{}'", folder.display()))?;
        if answer["key"].is_null() {
            return Err(io::Error::other(answer.to_string()));
        }
        let time = start.elapsed().as_secs_f64();
        fs::remove_dir_all(folder)?;
        let copies = self.sum("blocks")?;
        self.blocks = if self.peers.len() == 1 { copies as usize } else { self.copies()?.len() };
        Ok(copies / time)
    }

    /// What the peers tell in `status`, in sum; of two numbers, the first.
    pub(crate) fn sum(&mut self, field: &str) -> io::Result<f64> {
        self.peers.iter_mut().map(|peer| ask_number(peer, field)).sum()
    }

    /// Waits until each block has so many copies. Who holds which is asked once there can be as many.
    pub(crate) fn until_full(&mut self, replicas: usize) -> io::Result<Option<Growth>> {
        let start = Instant::now();
        let mut seen = Vec::new();
        while start.elapsed() < PATIENCE {
            let sum = self.sum("blocks")?;
            let end = start.elapsed();
            seen.push((end, sum));
            let enough = sum >= (self.blocks * replicas) as f64;
            if enough && (replicas == self.peers.len() || self.fewest_copies()? >= replicas) {
                return Ok(Some(Growth { seen, end }));
            }
            thread::sleep(GLANCE);
        }
        Ok(None)
    }

    /// Copies of the block that has the fewest.
    fn fewest_copies(&mut self) -> io::Result<usize> {
        let copies = self.copies()?;
        Ok(if copies.len() < self.blocks { 0 } else { copies.into_values().min().unwrap_or(0) })
    }

    /// Copies of each block.
    fn copies(&mut self) -> io::Result<BTreeMap<String, usize>> {
        let mut copies: BTreeMap<String, usize> = BTreeMap::new();
        for peer in &mut self.peers {
            let list = peer.ask("list")?;
            for held in list["blocks"].as_array().ok_or_else(|| io::Error::other(list.to_string()))? {
                let key = held["key"].as_str().ok_or_else(|| io::Error::other(held.to_string()))?;
                *copies.entry(key.to_owned()).or_default() += 1;
            }
        }
        Ok(copies)
    }

    /// Bytes of each peer: resident, and its share of what it has in common with others.
    pub(crate) fn memory(&self) -> io::Result<[Samples; 2]> {
        let mut memory = [Samples::default(), Samples::default()];
        for peer in &self.peers {
            memory[0].push(peer.usage()?.memory);
            let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", peer.pid()))?;
            let share =
                rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok());
            memory[1].push(share.map_or(f64::NAN, |kib: f64| kib * 1024.0));
        }
        Ok(memory)
    }
}

/// What a peer tells in the field `field` of `status`; of two numbers, the first.
pub(crate) fn ask_number(peer: &mut PeerProcess, field: &str) -> io::Result<f64> {
    let status = peer.ask("status")?;
    let value = &status[field];
    value.as_f64().or_else(|| value[0].as_f64()).ok_or_else(|| io::Error::other(status.to_string()))
}
