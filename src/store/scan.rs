//! What a data folder holds when a peer starts.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::StoreError;
use super::index::Indexed;
use crate::config::MAX_BLOCK_SIZE;
use crate::id::Key;

/// Every block file in the data folder. Other files are left alone. A block that a power cut left empty is moved aside;
/// its size shows that without reading it.
pub(super) fn blocks(data: &Path) -> Result<HashMap<Key, Indexed>, StoreError> {
    let mut found = HashMap::new();
    for bin in entries(&data.join("blocks"))? {
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
    let emptied: Vec<Key> = found.iter().filter(|(key, block)| is_emptied(key, block)).map(|(key, _)| *key).collect();
    for key in emptied {
        found.remove(&key);
        let name = key.to_string();
        let aside = fs::rename(data.join("blocks").join(&name[..2]).join(&name), data.join("damaged").join(&name));
        log::warn!("block {name} was empty, and was moved to the folder 'damaged'");
        if let Err(error) = aside {
            log::warn!("block {name} cannot be moved aside: {error}");
        }
    }
    Ok(found)
}

/// The block in a file of the folder `bin`; none if the file's name is no key or belongs elsewhere, or if no block has
/// its size.
fn block(file: &fs::DirEntry, bin: &str) -> Option<(Key, Indexed)> {
    let name = file.file_name();
    let name = name.to_str().filter(|name| name.starts_with(bin))?;
    let key: Key = name.parse().ok().filter(|key: &Key| key.to_string() == name)?;
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let size = u32::try_from(metadata.len()).ok().filter(|&size| size <= MAX_BLOCK_SIZE)?;
    Some((key, Indexed { size, verified: None }))
}

fn is_emptied(key: &Key, block: &Indexed) -> bool {
    block.size == 0 && *key != Key::of(b"")
}

/// The name of the temporary file of this number.
pub(super) fn temporary_name(number: u64) -> String {
    format!("{number}{PART}")
}

/// The ending of temporary files' names.
const PART: &str = ".part";

/// Removes the files that an earlier run did not finish. Other files are the user's, who may have named a folder that
/// was in use already, and stay.
pub(super) fn clear_away(folder: &Path) -> Result<(), StoreError> {
    let is_ours = |name: &str| name.strip_suffix(PART).is_some_and(|number| number.parse::<u64>().is_ok());
    for file in entries(folder)? {
        let file = file?;
        let path = file.path();
        if file.file_name().to_str().is_some_and(is_ours) && !path.is_dir() {
            fs::remove_file(&path).map_err(StoreError::on("remove the leftover", &path))?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<impl Iterator<Item = Result<fs::DirEntry, StoreError>>, StoreError> {
    let failed = move |error| StoreError::on("read the folder", folder)(error);
    Ok(fs::read_dir(folder).map_err(failed)?.map(move |entry| entry.map_err(failed)))
}
