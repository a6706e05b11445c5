//! What a retrieve that fails leaves for the next one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::id::Id;
use crate::node::{Command, Source};
use crate::runtime::{is_ours_alone, read_manifest, temporary_names};

/// The file that a retrieve writes to until all of it is there: what the file is called by, and its place.
pub(super) struct PartFile(Option<(Source, PathBuf)>);

impl PartFile {
    pub(super) fn of(command: &Command) -> Self {
        Self(match command {
            Command::Retrieve { source, dest, .. } => Some((source.clone(), dest.clone())),
            _ => None,
        })
    }

    /// What is said of the bytes that were retrieved, of so many. They are kept unless another program removed or
    /// exchanged the file.
    pub(super) fn told(&self, bytes: u64, of: u64) -> String {
        let Some((source, dest)) = &self.0 else { return String::new() };
        if is_there(source, dest, of) { kept(bytes, of) } else { NOTHING.to_owned() }
    }
}

/// What is said where what was retrieved is there no longer.
pub(super) const NOTHING: &str = "; nothing is kept";

/// What is said where it is there.
pub(super) fn kept(bytes: u64, of: u64) -> String {
    let next = if bytes < of { "goes on from there" } else { "looks at them again" };
    format!("; {bytes} of {of} bytes are kept, and the same command {next}")
}

fn is_there(source: &Source, dest: &Path, size: u64) -> bool {
    let root = match source {
        Source::Key(key) => *key,
        Source::Manifest(path) => read_manifest(path).map_or(Id::ZERO, |(_, root)| root),
    };
    // What a link leads to is written, not the link.
    let dest = fs::canonicalize(dest).unwrap_or_else(|_| dest.to_owned());
    temporary_names(&dest, &root).any(|name| {
        fs::symlink_metadata(name).is_ok_and(|there| there.is_file() && there.len() == size && is_ours_alone(&there))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Key;

    #[test]
    fn only_what_is_there_is_said_to_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (dest, key) = (folder.path().join("dest"), Key::of(b"key"));
        let part = PartFile::of(&Command::Retrieve { source: Source::Key(key), dest: dest.clone(), replace: false });
        let name = temporary_names(&dest, &key).next().unwrap();
        assert_eq!(part.told(3, 5), NOTHING);
        fs::write(&name, "bytes").unwrap();
        assert_eq!(part.told(3, 5), "; 3 of 5 bytes are kept, and the same command goes on from there");
        assert_eq!(part.told(5, 5), "; 5 of 5 bytes are kept, and the same command looks at them again");
        fs::write(&name, "another").unwrap();
        assert_eq!(part.told(3, 5), NOTHING);
        fs::remove_dir_all(folder.path()).unwrap();
        assert_eq!(part.told(3, 5), NOTHING);
    }
}
