//! What a data folder holds when a peer starts.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::{Indexed, StoreError};
use crate::config::MAX_BLOCK_SIZE;
use crate::id::Key;

/// Every block file below `folder`. Anything else that lies there is left alone.
pub(super) fn blocks(folder: &Path) -> Result<HashMap<Key, Indexed>, StoreError> {
    let mut found = HashMap::new();
    for bin in read_dir(folder)? {
        let path = bin.path();
        if !path.is_dir() {
            continue;
        }
        for file in read_dir(&path)? {
            let name = file.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(&*bin.file_name().to_string_lossy())) else {
                continue;
            };
            let Ok(key) = name.parse::<Key>() else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            if metadata.is_file() && metadata.len() <= MAX_BLOCK_SIZE.into() && key.to_string() == name {
                found.insert(key, Indexed { size: metadata.len() as u32, verified: None });
            }
        }
    }
    Ok(found)
}

/// Removes what an earlier run did not finish.
pub(super) fn empty(folder: &Path) -> Result<(), StoreError> {
    for file in read_dir(folder)? {
        let path = file.path();
        fs::remove_file(&path).map_err(StoreError::on("remove the leftover", &path))?;
    }
    Ok(())
}

fn read_dir(folder: &Path) -> Result<impl Iterator<Item = fs::DirEntry>, StoreError> {
    Ok(fs::read_dir(folder).map_err(StoreError::on("read the folder", folder))?.flatten())
}
