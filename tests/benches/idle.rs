//! What a peer costs while nothing is asked of it: memory, threads, processor time.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod common;

use std::error::Error;
use std::thread;
use std::time::Duration;

use common::knob;
use common::measure::{Bound, Samples, Unit, samples, title, verdict};
use common::process::PeerProcess;

/// Peers of the idle network.
const PEERS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let watched = Duration::from_secs_f64(knob("IDLE_SECONDS", 20.0));
    let folder = tempfile::tempdir()?;
    let mut peers: Vec<PeerProcess> = Vec::new();
    for number in 0..PEERS {
        let bootstrap = peers.first().map(|peer| peer.addr);
        peers.push(PeerProcess::start(&folder.path().join(number.to_string()), bootstrap, &[])?);
    }
    // The join's echoes die away.
    thread::sleep(Duration::from_secs(2));

    let before = peers.iter().map(PeerProcess::usage).collect::<Result<Vec<_>, _>>()?;
    // What is measured is this time itself.
    thread::sleep(watched);
    let after = peers.iter().map(PeerProcess::usage).collect::<Result<Vec<_>, _>>()?;

    let (mut memory, mut load) = (Samples::default(), Samples::default());
    memory.extend(after.iter().map(|usage| usage.memory));
    let busy = after.iter().zip(&before).map(|(after, before)| after.cpu_of_threads - before.cpu_of_threads);
    load.extend(busy.map(|seconds| seconds / watched.as_secs_f64() * 100.0));
    let threads = after.iter().map(|usage| usage.threads).max().unwrap_or(0);

    title(format_args!("Idle, {PEERS} peers watched for {} s", watched.as_secs_f64()));
    samples("resident memory", &memory, Unit::Bytes);
    verdict("resident memory, MiB, median", memory.median() / f64::from(1 << 20), Bound::AtMost(5.0));
    verdict("threads, most", threads as f64, Bound::AtMost(9.0));
    verdict("percent of a core, median", load.median(), Bound::AtMost(0.1));
    Ok(())
}
