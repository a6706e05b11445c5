//! What a data folder holds when a peer starts.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::StoreError;
use super::index::Indexed;
use crate::config::MAX_BLOCK_SIZE;
use crate::id::Key;

/// Every block file below `folder`. Anything else that lies there is left alone.
pub(super) fn blocks(folder: &Path) -> Result<HashMap<Key, Indexed>, StoreError> {
    let mut found = HashMap::new();
    for bin in entries(folder)? {
        let bin = bin?;
        let name = bin.file_name();
        let Some(name) = name.to_str().filter(|name| name.len() == 2) else { continue };
        let path = bin.path();
        if path.is_dir() {
            for file in entries(&path)? {
                found.extend(block(&file?, name));
            }
        }
    }
    Ok(found)
}

/// The block that a file in `bin` is; none if its name is no key or belongs elsewhere, or if no block has its size.
fn block(file: &fs::DirEntry, bin: &str) -> Option<(Key, Indexed)> {
    let name = file.file_name();
    let name = name.to_str().filter(|name| name.starts_with(bin))?;
    let key: Key = name.parse().ok().filter(|key: &Key| key.to_string() == name)?;
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let size = u32::try_from(metadata.len()).ok().filter(|&size| size <= MAX_BLOCK_SIZE)?;
    Some((key, Indexed { size, verified: None }))
}

/// Removes the files that an earlier run did not finish.
pub(super) fn empty(folder: &Path) -> Result<(), StoreError> {
    for file in entries(folder)? {
        let path = file?.path();
        if !path.is_dir() {
            fs::remove_file(&path).map_err(StoreError::on("remove the leftover", &path))?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<impl Iterator<Item = Result<fs::DirEntry, StoreError>>, StoreError> {
    let failed = move |error| StoreError::on("read the folder", folder)(error);
    Ok(fs::read_dir(folder).map_err(failed)?.map(move |entry| entry.map_err(failed)))
}
