//! Blocks of another program, files named by their SHA-256, brought into the network as they are.
//!
//! All of them are on one lease. A list of them is stored too, as if they were one file: by its key they are checked,
//! renewed and deleted, as what is stored in other ways is.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Backend;
use super::finding;
use super::folder::{path_of, temporary};
use super::perform::Performer;
use super::reply::{ConsoleAnswer, Imported, LeftOut, LineReply};
use super::terms::Terms;
use crate::config::MAX_BLOCK_SIZE;
use crate::file::{ManifestEntry, tree};
use crate::id::{Id, Key};
use crate::lease::Lease;
use crate::node::{Answer, Command, Failure, FailureKind};
use crate::raw_text;
use crate::whole_file;

impl<B: Backend> Performer<B> {
    /// Stores each block in `folder` on these terms, and says what is left out and why. Nothing there is changed.
    pub(super) fn import(&self, folder: &Path, terms: Terms) -> LineReply {
        let mut paths: Vec<PathBuf> = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries.iter().map(fs::DirEntry::path).collect(),
            Err(error) => {
                let not_found = error.kind() == io::ErrorKind::NotFound;
                let kind = if not_found { FailureKind::NotFound } else { FailureKind::Other };
                return LineReply::failed(
                    kind,
                    format!("cannot read the folder {}: {error}", raw_text::text_of(folder)),
                );
            }
        };
        paths.sort();
        // Where there is no block, nothing is begun.
        let begun = OnceCell::new();
        let lease = || {
            let begun = begun.get_or_init(|| self.lease_on(folder, None, terms)).as_ref().map_err(Failure::clone)?;
            Ok(begun.as_ref().map(|(_, lease)| *lease))
        };
        let (mut imported, mut entries, mut whole) = (Imported::default(), Vec::new(), Sha256::new());
        for path in paths {
            match self.import_one(&path, &lease) {
                Ok(block) => {
                    imported.blocks += 1;
                    imported.bytes += block.len() as u64;
                    entries.push(ManifestEntry { key: Key::of(&block), size: block.len() as u64 });
                    whole.update(&block);
                }
                Err(NotImported::LeftOut(reason)) => imported.left_out.push(LeftOut { file: path, reason }),
                Err(NotImported::Failed(failure)) => {
                    let over = failure.kind == FailureKind::Cancelled;
                    imported.fail(path, failure);
                    // To cancel one cancels those that follow too.
                    if over {
                        return LineReply::Console(ConsoleAnswer::Imported(imported));
                    }
                }
            }
        }
        if imported.blocks > 0 {
            let sha256 = Id::from_bytes(whole.finalize().into());
            match lease().and_then(|lease| self.store_lists(entries, sha256, lease)) {
                Ok((key, copies)) => {
                    imported.key = Some(key);
                    if let Some(catalogue) = &self.catalogue {
                        let whole = (key, sha256, imported.bytes, copies);
                        let owned = begun.into_inner().and_then(Result::ok).flatten().map(|(owned, _)| owned);
                        if let Err(ended) = finding::remember_import((catalogue, &*self.shows), folder, whole, owned) {
                            imported.fail(folder.to_owned(), ended);
                        }
                    }
                }
                Err(failure) => imported.fail(folder.to_owned(), failure),
            }
        } else if imported.failed.is_empty() {
            let reason = "none of its files is a block named by its SHA-256".to_owned();
            imported.fail(folder.to_owned(), Failure { kind: FailureKind::NotFound, reason });
        }
        LineReply::Console(ConsoleAnswer::Imported(imported))
    }

    /// Stores the lists of these blocks; the key of the root, and the copies that are wanted.
    fn store_lists(
        &self,
        entries: Vec<ManifestEntry>,
        sha256: Id,
        lease: Option<Lease>,
    ) -> Result<(Key, usize), Failure> {
        let mut root = (sha256, 0);
        for list in tree::lists(entries, sha256) {
            let file = temporary(&list.encode())?;
            match self.answer_to(Command::StoreBlock { path: path_of(&file), keep: false }.on(lease)) {
                Answer::Stored { key, wanted, .. } => root = (key, wanted),
                answer => return Err(Failure::from(answer)),
            }
        }
        Ok(root)
    }

    /// The bytes of the block in a file, which is stored.
    fn import_one(
        &self,
        path: &Path,
        lease: &dyn Fn() -> Result<Option<Lease>, Failure>,
    ) -> Result<Vec<u8>, NotImported> {
        let block = check(path)?;
        let lease = lease().map_err(NotImported::Failed)?;
        match self.ask(Command::StoreBlock { path: path.to_owned(), keep: false }.on(lease)) {
            Answer::Stored { key, .. } if key == Key::of(&block) => Ok(block),
            Answer::Stored { .. } => Err(NotImported::LeftOut("it was changed meanwhile".to_owned())),
            answer => Err(NotImported::Failed(Failure::from(answer))),
        }
    }
}

/// Why a file is not in the network.
enum NotImported {
    /// It is meant to be no block.
    LeftOut(String),
    /// It should be a block, and cannot be read or is damaged; or it could not be stored.
    Failed(Failure),
}

/// The bytes of the block in a file.
fn check(path: &Path) -> Result<Vec<u8>, NotImported> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let no_key = |_| NotImported::LeftOut("its name is no key of 64 hexadecimal digits".to_owned());
    let key: Key = name.parse().map_err(no_key)?;
    let unread = |error: io::Error| NotImported::Failed(Failure::new(FailureKind::Other, error.to_string()));
    let damaged = |reason| Err(NotImported::Failed(Failure::new(FailureKind::Integrity, reason)));
    let there = fs::metadata(path).map_err(unread)?;
    if !there.is_file() {
        return Err(NotImported::LeftOut("it is no regular file".to_owned()));
    }
    if there.len() > u64::from(MAX_BLOCK_SIZE) {
        let reason = format!("it has {} bytes, and a block at most {MAX_BLOCK_SIZE}", there.len());
        return Err(NotImported::LeftOut(reason));
    }
    if there.len() == 0 {
        return damaged("it is empty, and no block is".to_owned());
    }
    let block = whole_file::read_own(path, u64::from(MAX_BLOCK_SIZE)).map_err(unread)?;
    let hash = Key::of(&block);
    if hash == key { Ok(block) } else { damaged(format!("its bytes hash to {hash}, which is not its name")) }
}
