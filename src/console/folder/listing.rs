//! A listing that was brought here, read item by item.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{name, trouble};
use crate::console::Backend;
use crate::console::perform::Performer;
use crate::file::folder::{FileBytes, Item, ItemKind, LONGEST_LINE, ListingError, ListingReader};
use crate::id::Key;
use crate::node::{Answer, Command, Failure, FailureKind};

/// A listing in a file, and the part of it that is wanted.
pub(super) struct Listing {
    file: PathBuf,
    /// Where in the folder the part begins; empty for all of it.
    inside: PathBuf,
}

/// What is in the part that is wanted.
#[derive(Default, Debug)]
pub(super) struct ListedExtent {
    pub(super) bytes: u64,
    pub(super) files: u64,
    pub(super) folders: u64,
    pub(super) links: u64,
    /// What the part is itself, where it is not all of the folder.
    pub(super) itself: Option<Item>,
}

impl<B: Backend> Performer<B> {
    /// Brings the listing of the folder `key` to `file`, of which `inside` is wanted, and checks all of it.
    pub(super) fn listing(&self, key: Key, inside: &Path, file: PathBuf) -> Result<(Listing, ListedExtent), Failure> {
        let answer = self.answer_to(Command::RetrieveListing { key, dest: file.clone() });
        if !matches!(answer, Answer::Retrieved { .. }) {
            return Err(Failure::from(answer));
        }
        let listing = Listing { file, inside: inside.to_owned() };
        let extent = listing.measure(key)?;
        Ok((listing, extent))
    }
}

impl<B: Backend> Performer<B> {
    /// The keys of all that a file or folder in the network is made of.
    pub(in crate::console) fn parts(&self, key: Key, folder: bool) -> Result<Vec<Key>, Failure> {
        Ok(self.parts_and_bytes(key, folder)?.0)
    }

    /// The same, and of a folder the bytes of all files in it: its parts have those of the listing and packs too.
    pub(in crate::console) fn parts_and_bytes(
        &self,
        key: Key,
        folder: bool,
    ) -> Result<(Vec<Key>, Option<u64>), Failure> {
        if !folder {
            return Ok((vec![key], None));
        }
        let temporary =
            tempfile::tempdir().map_err(|error| trouble("make a folder in", &std::env::temp_dir(), &error))?;
        let (listing, extent) = self.listing(key, Path::new(""), temporary.path().join("listing"))?;
        let mut keys = BTreeSet::from([key]);
        listing.each(&mut |_, item| {
            if let ItemKind::File(content) = item.kind {
                keys.extend(match content.place {
                    FileBytes::Own(key) => Some(key),
                    FileBytes::Packed { pack, .. } => Some(pack),
                    FileBytes::Nowhere => None,
                });
            }
            Ok(())
        })?;
        Ok((keys.into_iter().collect(), Some(extent.bytes)))
    }
}

impl Listing {
    /// Reads all of it, so that what is wrong with it shows before anything is written.
    fn measure(&self, key: Key) -> Result<ListedExtent, Failure> {
        let mut extent = ListedExtent::default();
        let all = self.inside.as_os_str().is_empty();
        self.each(&mut |path, item| {
            match &item.kind {
                _ if path.as_os_str().is_empty() => {
                    extent.itself = Some(item);
                    return Ok(());
                }
                ItemKind::Folder => extent.folders += 1,
                ItemKind::Link { .. } => extent.links += 1,
                ItemKind::File(content) => {
                    extent.files += 1;
                    extent.bytes += content.size;
                }
            }
            Ok(())
        })?;
        if !all && extent.itself.is_none() {
            let reason = format!("there is no {} in the folder {key}", name(&self.inside));
            return Err(Failure::new(FailureKind::NotFound, reason));
        }
        Ok(extent)
    }

    /// Gives each item of the wanted part to `take`, with its path in the part: an empty one for the part itself.
    pub(super) fn each(&self, take: &mut dyn FnMut(&Path, Item) -> Result<(), Failure>) -> Result<(), Failure> {
        let cannot = |error: std::io::Error| trouble("read the listing", &self.file, &error);
        let wrong = |error: ListingError| Failure::new(FailureKind::Integrity, error.to_string());
        let mut lines = BufReader::new(File::open(&self.file).map_err(cannot)?);
        let (mut reader, mut line) = (ListingReader::default(), Vec::new());
        loop {
            line.clear();
            let count = (&mut lines).take(LONGEST_LINE as u64).read_until(b'\n', &mut line).map_err(cannot)?;
            if count == 0 {
                break;
            }
            if line.pop() != Some(b'\n') {
                let reason = "the folder's listing has a line that is cut off or longer than any";
                return Err(Failure::new(FailureKind::Integrity, reason));
            }
            let Some(item) = reader.line(&line).map_err(wrong)? else { continue };
            let Ok(path) = item.path.strip_prefix(&self.inside) else { continue };
            let path = path.to_owned();
            take(&path, item)?;
        }
        reader.end().map(|_| ()).map_err(wrong)
    }
}
