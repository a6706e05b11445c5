//! `Request` of a file of 1 GiB on the classroom ring of seven peers, against the bare program that receives the same
//! bytes as blocks over four connections, hashes them and writes them (the limit of the benchmark `transfer`).
//!
//! The request is typed at peer 2 and walks the ring to peer 8, which sends the file over one connection; time runs
//! from the command to the line that the file was received. The receiver hashes what comes. So does the sender, as long
//! as it has not sent this version of the file before: both cases are measured.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod ring;

#[allow(dead_code, reason = "each benchmark uses its own part of it")]
#[path = "../common/mod.rs"]
mod common;

#[allow(dead_code, reason = "of the two bare programs one is used")]
#[path = "../transfer/bare.rs"]
mod bare;

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Instant, SystemTime};

use bytesize::ByteSize;
use common::blocks::{same, write_blocks, write_file};
use common::measure::{Bound, Samples, Unit, samples, title, verdict};
use common::process::{Bare, role, run};
use common::{file_size, rounds};
use ring::Ring;

/// Connections of the bare program.
const HOLDERS: usize = 4;

/// The peers of the assignment's example.
const PEERS: [u8; 7] = [2, 4, 5, 8, 9, 14, 19];

/// Who has the file, as the one responsible for it, and who requests it.
const FILE: &str = "4103";
const OWNER: u8 = 8;
const ASKER: u8 = 2;

/// The least share of the bare program's speed.
const TARGET: f64 = 0.7;

/// What rounds of one way cost.
#[derive(Default)]
struct Costs {
    wall: Samples,
    cpu: Samples,
}

fn main() -> Result<(), Box<dyn Error>> {
    if role().as_deref() == Some("retrieve") {
        return Ok(bare::retrieve()?);
    }
    let size = file_size();
    let folder = tempfile::tempdir_in(common::knob("DIR", std::env::temp_dir().display().to_string()))?;
    let mut ring = Ring::start(folder.path(), &PEERS)?;
    let source = ring.dir(OWNER).join(format!("{FILE}.pdf"));
    write_file(&source, size)?;
    let blocks = folder.path().join("blocks");
    write_blocks(&source, &blocks)?;
    let (bare_dest, dest) = (folder.path().join("dest"), ring.dir(ASKER).join(format!("received_{FILE}.pdf")));

    let [mut limit, mut first, mut again] = [Costs::default(), Costs::default(), Costs::default()];
    for round in 0..=rounds() {
        nix::unistd::sync();
        let bare = run(&mut Bare::command("retrieve", &[blocks.as_os_str(), bare_dest.as_os_str()])?)?;
        check(&source, &bare_dest)?;
        // Another time of the last change makes it another version, whose hash nobody knows.
        File::options().write(true).open(&source)?.set_modified(SystemTime::now())?;
        let one = request(&mut ring, &source, &dest)?;
        let two = request(&mut ring, &source, &dest)?;
        // The first round warms up: a fresh file is slow the first time on a virtual machine.
        if round > 0 {
            for (costs, (wall, cpu)) in [(&mut limit, (bare.wall, bare.cpu)), (&mut first, one), (&mut again, two)] {
                costs.wall.push(wall);
                costs.cpu.push(cpu);
            }
        }
    }
    title(format_args!("Request of {} on a classroom ring of {} peers", ByteSize(size), PEERS.len()));
    samples("bare program", &limit.wall, Unit::Seconds);
    samples("a version sent for the first time", &first.wall, Unit::Seconds);
    samples("the same version again", &again.wall, Unit::Seconds);
    samples("bare program, processor time", &limit.cpu, Unit::Seconds);
    samples("first time, processor time, all peers", &first.cpu, Unit::Seconds);
    samples("again, processor time, all peers", &again.cpu, Unit::Seconds);
    for (what, costs) in [("share of the bare speed, first time", &first), ("share of the bare speed, again", &again)] {
        verdict(what, limit.wall.median() / costs.wall.median(), Bound::AtLeast(TARGET));
    }
    Ok(())
}

/// Seconds, and processor seconds of all peers, that one request takes.
fn request(ring: &mut Ring, source: &Path, dest: &Path) -> io::Result<(f64, f64)> {
    nix::unistd::sync();
    let cpu = ring.cpu()?;
    let start = Instant::now();
    ring.tell(ASKER, &format!("Request {FILE}"))?;
    ring.await_line(ASKER, &format!("> File {FILE} received"))?;
    let wall = start.elapsed().as_secs_f64();
    let cpu = ring.cpu()? - cpu;
    check(source, dest)?;
    Ok((wall, cpu))
}

/// Makes sure that `dest` is the file, and removes it.
fn check(source: &Path, dest: &Path) -> io::Result<()> {
    if !same(source, dest)? {
        return Err(io::Error::other("what came is not what was sent"));
    }
    fs::remove_file(dest)
}
