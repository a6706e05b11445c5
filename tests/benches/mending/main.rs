//! How soon real peers on loopback mend what deaths, newcomers and departures broke, and at what cost.
//!
//! `cargo bench --bench mending -- ROW... [--small]`, where a row is `kad-7`, `ring-7`, `kad-3`, `join`, `deaths`,
//! `leaving`, `memory`, `lossy`, `churn` or `left`; without one, all of them. `--small` tries the same with less of
//! everything. Each row starts peers of its own, with their stores below the knob `KADRING_BENCH_DIR`. Datagrams get
//! lost in a build with debug assertions alone, so `lossy` needs `--profile dev`.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[allow(dead_code, reason = "each benchmark uses its own part of it")]
#[path = "../common/mod.rs"]
mod common;
mod hardship;
mod network;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use common::blocks::same;
use common::knob;
use common::measure::{Bound, Samples, Unit, figure, samples, title, verdict};
use common::process::{PeerProcess, kadring};
use kadring::id::Id;
use network::{Network, ask_number};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::Value;

type Done = Result<(), Box<dyn Error>>;

const ROWS: [&str; 10] = ["kad-7", "ring-7", "kad-3", "join", "deaths", "leaving", "memory", "lossy", "churn", "left"];

/// What is not whole by then is told as such.
const PATIENCE: Duration = Duration::from_secs(600);

/// Messages are counted for so long after a death.
const COUNTED: Duration = Duration::from_secs(75);

fn main() -> Done {
    let (options, rows): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let small = options.iter().any(|option| option == "--small");
    if let Some(unknown) = rows.iter().find(|row| *row != "all" && !ROWS.contains(&row.as_str())) {
        return Err(format!("{unknown} is not among {ROWS:?} and all").into());
    }
    let all = rows.is_empty() || rows.iter().any(|row| row == "all");
    for row in ROWS.into_iter().filter(|row| all || rows.iter().any(|wanted| wanted == row)) {
        let folder = tempfile::tempdir_in(knob("DIR", std::env::temp_dir().display().to_string()))?;
        let bench = Bench { folder: folder.path().to_owned(), small };
        match row {
            "kad-7" => bench.one_dies("kad", 7, 3_000)?,
            "ring-7" => bench.one_dies("ring", 7, 3_000)?,
            "kad-3" => bench.one_dies("kad", 3, 20_000)?,
            "join" => bench.two_join(200_000)?,
            "deaths" => bench.three_die()?,
            "leaving" => {
                for (overlay, peers, held) in [("kad", 40, 620), ("kad", 9, 3_000), ("ring", 9, 3_000)] {
                    bench.all_leave(overlay, peers, held)?;
                }
            }
            "memory" => bench.memory()?,
            "lossy" => bench.lossy()?,
            "churn" => bench.churn()?,
            _ => bench.left()?,
        }
    }
    Ok(())
}

struct Bench {
    folder: PathBuf,
    small: bool,
}

impl Bench {
    /// One of ten peers is killed, and its copies are made again.
    fn one_dies(&self, overlay: &'static str, replicas: usize, blocks: usize) -> Done {
        let (blocks, counted) = (self.scaled(blocks), if self.small { COUNTED / 5 } else { COUNTED });
        let mut network = self.network(overlay, 10, replicas)?;
        title(format_args!("Ten peers ({overlay}), {blocks} blocks in {replicas} copies, one killed"));
        let storing = network.import(&self.blocks(blocks)?)?;
        network.until_full(replicas)?.ok_or("what was stored never had all its copies")?;
        self.rest();
        let lost = network.peers.pop().map(|mut killed| ask_number(&mut killed, "blocks")).ok_or("no peer")??;
        let start = Instant::now();
        let (before, sent) = (network.sum("blocks")?, network.sum("messages")?);
        let full = network.until_full(replicas)?;
        // The messages of this whole time are counted.
        thread::sleep(counted.saturating_sub(start.elapsed()));
        let (time, sent) = (start.elapsed(), network.sum("messages")? - sent);
        figure("copies the dead one had, of blocks each", lost);
        figure("storing them", Unit::PerSecond.show(storing));
        match full {
            Some(full) => {
                let working = (full.end - full.first_after(before)).as_secs_f64();
                figure("the first new copy after", Unit::Seconds.show(full.first_after(before).as_secs_f64()));
                verdict("seconds until full again", full.end.as_secs_f64(), Bound::AtMost(20.0));
                verdict("copies a second / storing", lost / working / storing, Bound::AtLeast(0.5));
            }
            None => figure("full again", format_args!("not within {} s: MISSED", PATIENCE.as_secs())),
        }
        figure(format_args!("messages in {:.0} s", time.as_secs_f64()), sent);
        verdict("messages for each block concerned", sent / lost, Bound::AtMost(10.0));
        Ok(())
    }

    /// Two empty peers join one that holds many blocks.
    fn two_join(&self, blocks: usize) -> Done {
        let blocks = self.scaled(blocks);
        let mut network = self.network("kad", 1, 7)?;
        title(format_args!("Two empty peers join one with {blocks} blocks (kad)"));
        let storing = network.import(&self.blocks(blocks)?)?;
        let sent = network.sum("messages")?;
        network.add(3)?;
        let full = network.until_full(3)?;
        figure("storing them in the one", Unit::PerSecond.show(storing));
        let Some(full) = full else {
            figure("full", format_args!("not within {} s: MISSED", PATIENCE.as_secs()));
            return Ok(());
        };
        let (copies, seconds) = (2.0 * blocks as f64, full.end.as_secs_f64());
        figure("full after", Unit::Seconds.show(seconds));
        figure("copies a second", format_args!("{:.0}", copies / seconds));
        verdict("copies a second / storing", copies / seconds / storing, Bound::AtLeast(0.5));
        figure("messages a copy", format_args!("{:.2}", (network.sum("messages")? - sent) / copies));
        Ok(())
    }

    /// Three of twelve are killed; at once files are stored and brought back by commands that join for that.
    fn three_die(&self) -> Done {
        let files = if self.small { 5 } else { 20 };
        let mut network = self.network("kad", 12, 7)?;
        self.rest();
        let (source, dest) = (self.folder.join("source"), self.folder.join("dest"));
        let mut rng = StdRng::seed_from_u64(5);
        let mut bytes = vec![0; 3_000_000];
        drop(network.peers.drain(3..6));
        let (mut stores, mut retrieves) = (Samples::default(), Samples::default());
        for _ in 0..files {
            rng.fill_bytes(&mut bytes);
            fs::write(&source, &bytes)?;
            let entry = network.peers[0].addr;
            let (stored, took) = timed(client(entry, &["store"], &[&source]))?;
            stores.push(took);
            let key = stored["key"].as_str().ok_or_else(|| io::Error::other(stored.to_string()))?;
            retrieves.push(timed(client(entry, &["retrieve", key], &[&dest]))?.1);
            if !same(&source, &dest)? {
                return Err("what was retrieved is not what was stored".into());
            }
            fs::remove_file(&dest)?;
        }
        title("Twelve peers (kad), right after three were killed: files of 3 MB, each stored and retrieved");
        for (what, times) in [("store", &stores), ("retrieve", &retrieves)] {
            samples(what, times, Unit::Seconds);
            verdict(format_args!("{what}, seconds, median"), times.median(), Bound::AtMost(0.25));
            verdict(format_args!("{what}, seconds, most of {files}"), times.quantile(1.0), Bound::AtMost(0.6));
        }
        Ok(())
    }

    /// All peers are told to end at once.
    fn all_leave(&self, overlay: &'static str, peers: usize, held: usize) -> Done {
        let blocks = self.scaled(peers * held / 7);
        let mut network = self.network(overlay, peers, 7)?;
        network.import(&self.blocks(blocks)?)?;
        network.until_full(7)?.ok_or("what was stored never had all its copies")?;
        self.rest();
        let mut staying: Vec<&mut PeerProcess> = network.peers.iter_mut().collect();
        let start = Instant::now();
        staying.iter().try_for_each(|peer| peer.signal(Signal::SIGTERM))?;
        let (mut times, mut left_behind, mut silent) = (Samples::default(), 0, 0);
        while !staying.is_empty() && start.elapsed() < PATIENCE {
            let mut still = Vec::new();
            for peer in staying {
                let Some(lines) = peer.last_words()? else {
                    still.push(peer);
                    continue;
                };
                times.push(start.elapsed().as_secs_f64());
                let told = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                match told.filter_map(|line| line["left_behind"].as_u64()).next_back() {
                    Some(count) => left_behind += count,
                    None => silent += 1,
                }
            }
            staying = still;
            // No one call waits for the first of several processes to end.
            thread::sleep(Duration::from_millis(5));
        }
        title(format_args!("{peers} peers ({overlay}), {blocks} blocks in 7 copies, SIGTERM to all at once"));
        samples("seconds until one has left", &times, Unit::Seconds);
        verdict("seconds until all have left", times.quantile(1.0), Bound::AtMost(2.0));
        figure("left behind, as the peers told; peers that told nothing", format_args!("{left_behind}; {silent}"));
        Ok(())
    }

    /// What transfers leave in memory.
    fn memory(&self) -> Done {
        let (waves, rest) = if self.small { (2, 5) } else { (8, 30) };
        let mut network = self.network("kad", 10, 7)?;
        self.rest();
        let idle = network.memory()?;
        let mut rng = StdRng::seed_from_u64(6);
        let mut bytes = vec![0; 4 << 20];
        for _ in 0..waves {
            for number in 0..network.peers.len() {
                let (source, dest) = (self.folder.join("source"), self.folder.join("dest"));
                rng.fill_bytes(&mut bytes);
                fs::write(&source, &bytes)?;
                let stored = network.peers[number].ask(&format!("store '{}'", source.display()))?;
                let key = stored["key"].as_str().ok_or_else(|| io::Error::other(stored.to_string()))?;
                let reader = (number + 1) % network.peers.len();
                let answer = network.peers[reader].ask(&format!("retrieve {key} '{}'", dest.display()))?;
                fs::remove_file(&dest).map_err(|_| io::Error::other(answer.to_string()))?;
            }
        }
        thread::sleep(Duration::from_secs(rest));
        let after = network.memory()?;
        title(format_args!("Ten peers (kad) after {waves} waves of files of 4 MiB, one by each, at rest for {rest} s"));
        for (when, [resident, share]) in [("before", &idle), ("after", &after)] {
            samples(format_args!("resident, {when}"), resident, Unit::Bytes);
            samples(format_args!("a peer's own share of it (Pss), {when}"), share, Unit::Bytes);
        }
        let in_mib = |samples: &Samples| samples.quantile(1.0) / f64::from(1 << 20);
        verdict("resident before, MiB, most", in_mib(&idle[0]), Bound::AtMost(5.0));
        verdict("resident after, MiB, most", in_mib(&after[0]), Bound::AtMost(10.0));
        let waiting = network.peers.iter().map(closed_by_the_other).sum::<io::Result<usize>>()?;
        verdict("sockets in CLOSE_WAIT", waiting as f64, Bound::AtMost(0.0));
        Ok(())
    }

    fn scaled(&self, blocks: usize) -> usize {
        if self.small { blocks / 20 } else { blocks }
    }

    /// What was begun before a measurement dies away.
    fn rest(&self) {
        thread::sleep(Duration::from_secs(if self.small { 2 } else { 10 }));
    }

    /// A folder with so many blocks of 0.5 to 1 KiB, named by their keys.
    fn blocks(&self, count: usize) -> io::Result<PathBuf> {
        let folder = tempfile::tempdir_in(&self.folder)?.keep();
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..count {
            let mut block = vec![0; rng.random_range(512..=1024)];
            rng.fill_bytes(&mut block);
            fs::write(folder.join(Id::of(&block).to_string()), &block)?;
        }
        Ok(folder)
    }

    fn network(&self, overlay: &'static str, peers: usize, replicas: usize) -> io::Result<Network> {
        self.network_in("", overlay, peers, replicas)
    }

    /// The same, under this [weather](PeerProcess::start_in).
    fn network_in(
        &self,
        weather: &'static str,
        overlay: &'static str,
        peers: usize,
        replicas: usize,
    ) -> io::Result<Network> {
        let mut network = Network::new(tempfile::tempdir_in(&self.folder)?.keep(), weather, overlay, replicas);
        network.add(peers)?;
        for peer in &mut network.peers {
            peer.ask("wait stable --deadline 60s")?;
        }
        Ok(network)
    }
}

/// A client that joins for one command.
fn client(entry: SocketAddr, words: &[&str], paths: &[&Path]) -> Command {
    let mut command = kadring();
    command.args(words).args(paths).args(["--json", "--bootstrap", &entry.to_string()]);
    command
}

/// The answer of a command, and the seconds from its start to its end.
fn timed(mut command: Command) -> io::Result<(Value, f64)> {
    let start = Instant::now();
    let Output { status, stdout, stderr } = command.output()?;
    let took = start.elapsed().as_secs_f64();
    let lines = String::from_utf8_lossy(&stdout);
    let answer = lines.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    match answer {
        Some(answer) if status.success() => Ok((answer, took)),
        _ => Err(io::Error::other(format!("{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr)))),
    }
}

/// Connections of this peer that the other side has closed and this one has not.
fn closed_by_the_other(peer: &PeerProcess) -> io::Result<usize> {
    let links = fs::read_dir(format!("/proc/{}/fd", peer.pid()))?.flatten();
    let open = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    let open: BTreeSet<String> = open.map(|link| link.to_string_lossy().into_owned()).collect();
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", peer.pid()))?;
    // The fourth field is the state, of which 08 is CLOSE_WAIT; the tenth is the socket.
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    Ok(lines.filter(|fields| fields[3] == "08" && open.contains(&format!("socket:[{}]", fields[9]))).count())
}
