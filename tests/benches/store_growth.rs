//! What a store of many small blocks costs: opening it, writing to it, reading from it.
//!
//! The bare limits do the same calls in the same folder and nothing else: a walk that asks each file's size, a write
//! with the same two syncs, an open with a look at the file. So what grows is told apart from what the file system
//! adds.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod common;

use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::knob;
use common::measure::{Bound, Samples, Unit, samples, title, verdict};
use common::rounds;
use kadring::id::Key;
use kadring::store::DiskStore;
use sha2::{Digest, Sha256};

/// Bytes of each block.
const SIZE: usize = 100;

/// Blocks that are written in each round, one after the other, so that each pays for its own syncs.
const WRITES: u64 = 32;

/// Blocks that are read in each round.
const READS: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let most: u64 = knob("BLOCKS", 100_000);
    for blocks in [1_000, 10_000, 100_000].into_iter().filter(|&blocks| blocks <= most) {
        let folder = tempfile::tempdir()?;
        fill(folder.path(), blocks)?;
        Growth::measure(folder.path(), blocks)?.tell(blocks);
    }
    Ok(())
}

/// The bytes of block `number`; no two are the same.
fn content(number: u64) -> [u8; SIZE] {
    let mut bytes = [7; SIZE];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn path(folder: &Path, key: &Key) -> PathBuf {
    let name = key.to_string();
    folder.join("blocks").join(&name[..2]).join(name)
}

/// Lays the blocks out as the store does, without its syncs; one at the end has them all on disk.
fn fill(folder: &Path, blocks: u64) -> io::Result<()> {
    for bin in 0..=u8::MAX {
        fs::create_dir_all(folder.join("blocks").join(format!("{bin:02x}")))?;
    }
    for number in 0..blocks {
        let bytes = content(number);
        fs::write(path(folder, &Key::of(&bytes)), bytes)?;
    }
    nix::unistd::sync();
    Ok(())
}

/// Seconds, each against its bare limit.
#[derive(Default)]
struct Growth {
    open: Samples,
    bare_open: Samples,
    write: Samples,
    bare_write: Samples,
    first_read: Samples,
    bare_first_read: Samples,
    read: Samples,
    bare_read: Samples,
}

impl Growth {
    fn measure(folder: &Path, blocks: u64) -> Result<Self, Box<dyn Error>> {
        let mut growth = Self::default();
        let all: Vec<Key> = (0..blocks).map(|number| Key::of(&content(number))).collect();
        let sample: Vec<Key> = (0..READS).map(|number| all[(number * 7919 % blocks) as usize]).collect();
        // The file system's own memory is warm for both, or cold for neither.
        assert_eq!(walk(folder)?, blocks);
        for round in 0..rounds() as u64 {
            growth.bare_open.push(timed(|| walk(folder))?.0);
            let opened = || DiskStore::open(folder).and_then(|store| Ok((store.scan()?, store)));
            let (seconds, (held, store)) = timed(opened)?;
            growth.open.push(seconds);
            assert_eq!(held.len() as u64, blocks);

            growth.bare_first_read.push(timed(|| bare_reads(folder, &sample, true))?.0 / READS as f64);
            growth.first_read.push(timed(|| reads(&store, &sample))?.0 / READS as f64);
            growth.bare_read.push(timed(|| bare_reads(folder, &sample, false))?.0 / READS as f64);
            growth.read.push(timed(|| reads(&store, &sample))?.0 / READS as f64);

            // What the first write of a run costs once is not what a write costs.
            let first = content(u64::MAX);
            write(&store, Key::of(&first), &first)?;
            store.delete(&Key::of(&first))?;
            for number in 0..WRITES {
                let bytes = content(blocks + round * WRITES + number);
                let key = Key::of(&bytes);
                growth.bare_write.push(timed(|| bare_write(folder, &key, &bytes))?.0);
                fs::remove_file(path(folder, &key))?;
                growth.write.push(timed(|| write(&store, key, &bytes))?.0);
                store.delete(&key)?;
            }
        }
        Ok(growth)
    }

    fn tell(&self, blocks: u64) {
        title(format_args!("A store of {blocks} blocks of {SIZE} bytes"));
        let of = |what: &str, ours: &Samples, bare: &Samples, unit: Unit, most: f64| {
            samples(what, &scaled(ours, unit), unit);
            samples(format_args!("{what}, bare"), &scaled(bare, unit), unit);
            verdict(format_args!("{what}, times bare"), ours.median() / bare.median(), Bound::AtMost(most));
        };
        of("open", &self.open, &self.bare_open, Unit::Seconds, 2.0);
        of("write and sync one", &self.write, &self.bare_write, Unit::Micros, 1.5);
        of("read one, first time", &self.first_read, &self.bare_first_read, Unit::Micros, 2.0);
        of("read one, again", &self.read, &self.bare_read, Unit::Micros, 2.0);
    }
}

/// Seconds as `unit` counts them.
fn scaled(seconds: &Samples, unit: Unit) -> Samples {
    let factor = if matches!(unit, Unit::Micros) { 1e6 } else { 1.0 };
    seconds.scaled(factor)
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(f64, T), E> {
    let start = Instant::now();
    let done = work()?;
    Ok((start.elapsed().as_secs_f64(), done))
}

fn reads(store: &DiskStore, keys: &[Key]) -> Result<(), Box<dyn Error>> {
    for key in keys {
        let mut block = store.read(key)?;
        let mut bytes = [0; SIZE];
        block.file.read_exact(&mut bytes)?;
        black_box(bytes);
    }
    Ok(())
}

fn write(store: &DiskStore, key: Key, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut writer = store.begin(key, bytes.len() as u32)?;
    writer.write(bytes)?;
    Ok(writer.commit()?)
}

/// Files below `blocks`, each asked for its size.
fn walk(folder: &Path) -> io::Result<u64> {
    let (mut count, mut sum) = (0, 0);
    for bin in fs::read_dir(folder.join("blocks"))? {
        for file in fs::read_dir(bin?.path())? {
            sum += file?.metadata()?.len();
            count += 1;
        }
    }
    black_box(sum);
    Ok(count)
}

/// Opens, looks at and reads each block, and hashes it where the store has to.
fn bare_reads(folder: &Path, keys: &[Key], hashed: bool) -> io::Result<()> {
    for key in keys {
        let mut file = File::open(path(folder, key))?;
        black_box(file.metadata()?.len());
        let mut bytes = [0; SIZE];
        file.read_exact(&mut bytes)?;
        if hashed {
            black_box(Sha256::digest(bytes));
        }
    }
    Ok(())
}

/// The same durability: the bytes before the name, then the name.
fn bare_write(folder: &Path, key: &Key, bytes: &[u8]) -> io::Result<()> {
    let (temporary, path) = (folder.join("tmp").join("bare"), path(folder, key));
    let mut file = File::create(&temporary)?;
    black_box(Sha256::digest(bytes));
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(temporary, &path)?;
    path.parent().map_or(Ok(()), |bin| File::open(bin)?.sync_all())
}
