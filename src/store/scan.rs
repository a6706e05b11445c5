//! What a data folder holds when a peer starts.

use std::fs;
use std::path::Path;

use super::StoreError;
use crate::config::MAX_BLOCK_SIZE;
use crate::id::Key;

/// Every block file in the data folder `data` with its size, in the order of keys. Other files are left alone. A block
/// that a power cut left empty is moved aside; its size shows that without reading it.
pub(super) fn blocks(data: &Path) -> Result<Vec<(Key, u32)>, StoreError> {
    let mut found = Vec::new();
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
    let emptied = |(key, size): &mut (Key, u32)| *size == 0 && *key != Key::of(b"");
    found.extract_if(.., emptied).for_each(|(key, _)| set_aside(data, &key));
    found.sort_unstable();
    Ok(found)
}

/// Moves an emptied block aside. It counts no more, even if that fails.
fn set_aside(data: &Path, key: &Key) {
    let name = key.to_string();
    let aside = fs::rename(data.join("blocks").join(&name[..2]).join(&name), data.join("damaged").join(&name));
    log::warn!("block {name} was empty, and was moved to the folder 'damaged'");
    if let Err(error) = aside {
        log::warn!("block {name} cannot be moved aside: {error}");
    }
}

/// The block in a file of the folder `bin`; none if the file's name is no key or belongs elsewhere, or if no block has
/// its size.
fn block(file: &fs::DirEntry, bin: &str) -> Option<(Key, u32)> {
    let name = file.file_name();
    let name = name.to_str().filter(|name| name.starts_with(bin))?;
    let key: Key = name.parse().ok().filter(|key: &Key| key.to_string() == name)?;
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let size = u32::try_from(metadata.len()).ok().filter(|&size| size <= MAX_BLOCK_SIZE)?;
    Some((key, size))
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
