//! What every benchmark shares: knobs, medians, child processes, and a load generator.
//!
//! A benchmark measures the program against a *bare limit*: the smallest program that does the same physical work (the
//! same datagrams, bytes, hashes and syncs) and nothing else. Both run in turn, several rounds, in the same minute on
//! the same cores, and the medians are compared. So a figure means the same on any machine: a ratio.
//!
//! Bare programs are functions of the benchmark itself, run as a process of their own ([`process::Bare`]), so that
//! their processor time and memory are counted apart from the benchmark's.

pub(crate) mod batch;
pub(crate) mod blocks;
pub(crate) mod contacts;
pub(crate) mod load;
pub(crate) mod measure;
pub(crate) mod process;
pub(crate) mod wrap;

use std::time::Duration;

use bytesize::ByteSize;

/// The core that the asking side runs on.
pub(crate) const ASKING_CORE: usize = 0;
/// The core that the answering side runs on, ours as well as the bare one.
pub(crate) const ANSWERING_CORE: usize = 1;

/// Contacts known to a peer, where what grows with them is measured.
pub(crate) const GROWTH: [usize; 3] = [100, 1_000, 10_000];

/// The knob `KADRING_BENCH_<name>`, or `default` where it is not set.
pub(crate) fn knob<T: std::str::FromStr>(name: &str, default: T) -> T {
    let name = format!("KADRING_BENCH_{name}");
    match std::env::var(&name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not what it should be")),
        Err(_) => default,
    }
}

/// Rounds of each measurement: `KADRING_BENCH_ROUNDS`, else 5.
pub(crate) fn rounds() -> usize {
    knob("ROUNDS", 5)
}

/// How long one round of a rate is measured: `KADRING_BENCH_SECONDS`, else 1.
pub(crate) fn round_time() -> Duration {
    Duration::from_secs_f64(knob("SECONDS", 1.0))
}

/// Bytes of the file that is stored and retrieved: `KADRING_BENCH_SIZE` (`64MiB`), else 1 GiB.
pub(crate) fn file_size() -> u64 {
    knob("SIZE", ByteSize::gib(1)).as_u64()
}
