//! Reading a listing that may come from any peer.

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::pack::HEAD;
use super::{Content, FileBytes, Item, ItemKind, ListingLine, VERSION, order};
use crate::config::MAX_BLOCK_SIZE;
use crate::id::{Id, Key};

/// Bytes of the longest path and of the longest name in it, as systems have them.
const LONGEST_PATH: usize = 4096;
const LONGEST_NAME: usize = 255;

/// Reads a listing line by line. It keeps one path, however long the listing is.
#[derive(Debug, Default)]
pub struct ListingReader {
    begun: bool,
    /// Lines read so far.
    lines: u64,
    /// The path of the item before, if there was one.
    last: Option<PathBuf>,
    /// The folder that the item before was, or was in.
    open: PathBuf,
    pack: Option<OpenPack>,
    /// Bytes of all files so far.
    bytes: u64,
}

/// The pack whose files are being read.
#[derive(Debug)]
struct OpenPack {
    key: Key,
    size: u32,
    /// Where the next file begins.
    at: u32,
}

/// Why a text is no listing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("line {line} of the folder's listing {what}")]
pub struct ListingError {
    /// The number of the line, from 1 on.
    line: u64,
    /// What is wrong with the line.
    what: &'static str,
}

impl ListingReader {
    /// Reads the next line, which has no end. None if the line is no item.
    ///
    /// # Errors
    /// The line cannot be read, or would lead out of the folder, or contradicts those before.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Item>, ListingError> {
        self.lines += 1;
        let read = serde_json::from_slice(line).map_err(|_| "cannot be read").and_then(|line| self.take(line));
        read.map_err(|what| ListingError { line: self.lines, what })
    }

    /// The listing has ended: the bytes of all files in it.
    ///
    /// # Errors
    /// The listing is cut off.
    pub fn end(mut self) -> Result<u64, ListingError> {
        let line = self.lines + 1;
        let whole = if self.begun { self.end_pack() } else { Err("is missing: it should be the first") };
        whole.map(|()| self.bytes).map_err(|what| ListingError { line, what })
    }

    fn take(&mut self, line: ListingLine) -> Result<Option<Item>, &'static str> {
        match line {
            ListingLine::Listing { version: VERSION } if !self.begun => {
                self.begun = true;
                return Ok(None);
            }
            ListingLine::Listing { .. } => return Err("is of another version of this program, or stands twice"),
            _ if !self.begun => return Err("does not say that it is one"),
            _ => {}
        }
        let (path, kind) = match line {
            ListingLine::Pack { key, size } => {
                self.end_pack()?;
                if size <= HEAD.len() as u32 || size > MAX_BLOCK_SIZE {
                    return Err("tells of a pack of an impossible size");
                }
                self.pack = Some(OpenPack { key, size, at: HEAD.len() as u32 });
                return Ok(None);
            }
            ListingLine::Listing { .. } => return Ok(None),
            ListingLine::Folder { path } => (path, ItemKind::Folder),
            ListingLine::Link { path, target } => {
                let length = target.as_os_str().len();
                if length == 0 || length > LONGEST_PATH || has_nul(&target) {
                    return Err("tells of a link that no system takes");
                }
                (path, ItemKind::Link { target })
            }
            ListingLine::File { path, size, executable, sha256, key } => {
                let place = self.place(size, &sha256, key)?;
                (path, ItemKind::File(Content { size, executable, sha256, place }))
            }
        };
        self.check_path(&path, matches!(kind, ItemKind::Folder))?;
        Ok(Some(Item { path, kind }))
    }

    /// Where the bytes of the next file are.
    fn place(&mut self, size: u64, sha256: &Id, key: Option<Key>) -> Result<FileBytes, &'static str> {
        self.bytes = self.bytes.checked_add(size).ok_or("tells of more bytes than there can be")?;
        match (key, &mut self.pack) {
            _ if size == 0 && (*sha256 != Id::of(b"") || key.is_some()) => Err("tells of an empty file that is none"),
            _ if size == 0 => Ok(FileBytes::Nowhere),
            (Some(key), _) => Ok(FileBytes::Own(key)),
            (None, None) => Err("tells of a file whose bytes are nowhere"),
            (None, Some(OpenPack { key, size: all, at })) => {
                let left = *all - *at;
                let taken = u32::try_from(size).ok().filter(|size| *size <= left);
                let taken = taken.ok_or("tells of a file that is larger than the rest of its pack")?;
                let place = FileBytes::Packed { pack: *key, size: *all, offset: *at };
                *at += taken;
                Ok(place)
            }
        }
    }

    /// A pack holds its files and nothing else.
    fn end_pack(&mut self) -> Result<(), &'static str> {
        match self.pack.take() {
            Some(OpenPack { size, at, .. }) if at != size => Err("comes before the files fill their pack"),
            _ => Ok(()),
        }
    }

    /// Every path leads to a place of its own in a folder that was named before: a name behind a file or a link leads
    /// nowhere.
    fn check_path(&mut self, path: &Path, is_folder: bool) -> Result<(), &'static str> {
        let bytes = path.as_os_str().as_encoded_bytes();
        let names = || bytes.split(|byte| *byte == b'/');
        if bytes.len() > LONGEST_PATH || names().any(|name| name.len() > LONGEST_NAME) {
            return Err("has a path that is longer than any system takes");
        }
        if has_nul(path) || names().any(|name| matches!(name, b"" | b"." | b"..")) {
            return Err("has a path that leads out of the folder, or nowhere");
        }
        debug_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
        if self.last.as_ref().is_some_and(|last| !order(last).lt(order(path))) {
            return Err("has a path that stood before, or should have");
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        if !self.open.starts_with(parent) {
            return Err("has a path below something that is no folder");
        }
        self.open = if is_folder { path.to_owned() } else { parent.to_owned() };
        self.last = Some(path.to_owned());
        Ok(())
    }
}

fn has_nul(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&0)
}
