//! Test files and their blocks.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use kadring::id::Id;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Bytes of a block.
pub(crate) const BLOCK: usize = kadring::config::MAX_BLOCK_SIZE as usize;

/// Writes `size` random bytes to `path` and has them on the disk, so that nobody's sync pays for them later.
pub(crate) fn write_file(path: &Path, size: u64) -> io::Result<()> {
    let mut rng = StdRng::seed_from_u64(4);
    let mut file = BufWriter::with_capacity(BLOCK, File::create(path)?);
    let mut block = vec![0; BLOCK];
    let mut left = size;
    while left > 0 {
        let len = left.min(BLOCK as u64);
        rng.fill_bytes(&mut block[..len as usize]);
        file.write_all(&block[..len as usize])?;
        left -= len;
    }
    file.into_inner()?.sync_all()
}

/// Whether two files hold the same bytes.
pub(crate) fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let len = one.read(&mut left)?;
        if len == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..len])?;
        if left[..len] != right[..len] {
            return Ok(false);
        }
    }
}

/// The file in a folder of blocks that names them in order, one a line.
pub(crate) const INDEX: &str = "index";

/// Cuts `source` into block files in the folder `blocks`, each named by its key.
pub(crate) fn write_blocks(source: &Path, blocks: &Path) -> io::Result<()> {
    fs::create_dir_all(blocks)?;
    let source = File::open(source)?;
    let mut index = String::new();
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        (&source).take(BLOCK as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return fs::write(blocks.join(INDEX), index);
        }
        let key = Id::of(&block).to_string();
        fs::write(blocks.join(&key), &block)?;
        index += &key;
        index.push('\n');
    }
}
