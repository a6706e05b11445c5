//! Blocks of another program, files named by their SHA-256, brought into the network as they are.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::Backend;
use super::perform::Performer;
use super::reply::{ConsoleAnswer, Imported, LeftOut, Reply};
use crate::config::MAX_BLOCK_SIZE;
use crate::id::Key;
use crate::node::{Answer, Command, Failure, FailureKind};
use crate::store::hash_all;

impl<B: Backend> Performer<B> {
    /// Stores each block in `folder`, and says what is left out and why. Nothing there is changed.
    pub(super) fn import(&self, folder: &Path) -> Reply {
        let mut paths: Vec<PathBuf> = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries.iter().map(fs::DirEntry::path).collect(),
            Err(error) => {
                let not_found = error.kind() == io::ErrorKind::NotFound;
                let kind = if not_found { FailureKind::NotFound } else { FailureKind::Other };
                return Reply::failed(kind, format!("cannot read the folder {}: {error}", folder.display()));
            }
        };
        paths.sort();
        let mut imported = Imported::default();
        for path in paths {
            match self.import_one(&path) {
                Ok(bytes) => {
                    imported.blocks += 1;
                    imported.bytes += bytes;
                }
                Err(Refused::LeftOut(reason)) => imported.left_out.push(LeftOut { file: path, reason }),
                Err(Refused::Failed(failure)) => {
                    let over = failure.kind == FailureKind::Cancelled;
                    imported.failed.push(LeftOut { file: path, reason: failure.reason });
                    imported.failure.get_or_insert(failure.kind);
                    // To cancel one cancels those that follow too.
                    if over {
                        break;
                    }
                }
            }
        }
        Reply::Console(ConsoleAnswer::Imported(imported))
    }

    fn import_one(&self, path: &Path) -> Result<u64, Refused> {
        let key = check(path).map_err(Refused::LeftOut)?;
        match self.ask(Command::StoreBlock { path: path.to_owned(), keep: false }) {
            Answer::Stored { key: stored, bytes, .. } if stored == key => Ok(bytes),
            Answer::Stored { .. } => Err(Refused::LeftOut("it was changed meanwhile".to_owned())),
            Answer::Failed(failure) => Err(Refused::Failed(failure)),
            other => Err(Refused::LeftOut(format!("an unexpected answer: {other:?}"))),
        }
    }
}

/// Why a file is not in the network.
enum Refused {
    /// It is no block.
    LeftOut(String),
    /// It could not be stored.
    Failed(Failure),
}

/// The key of the block in a file.
///
/// # Errors
/// Why it is none, for people.
fn check(path: &Path) -> Result<Key, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let key: Key = name.parse().map_err(|_| "its name is no key of 64 hexadecimal digits".to_owned())?;
    let there = fs::metadata(path).map_err(|error| error.to_string())?;
    if !there.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if there.len() > u64::from(MAX_BLOCK_SIZE) {
        return Err(format!("it has {} bytes, and a block at most {MAX_BLOCK_SIZE}", there.len()));
    }
    if there.len() == 0 {
        return Err("it is empty, and no block is".to_owned());
    }
    let hash = File::open(path).and_then(|file| hash_all(&file)).map_err(|error| error.to_string())?;
    if hash == key { Ok(key) } else { Err(format!("its bytes hash to {hash}, which is not its name")) }
}
