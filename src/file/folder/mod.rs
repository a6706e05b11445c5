//! A folder as a listing: lines of JSON that name what is in it and where the bytes are.
//!
//! ```text
//! {"kind":"listing","version":1}
//! {"kind":"folder","path":"src"}
//! {"kind":"pack","key":"3a6e…","size":5317}
//! {"kind":"file","path":"src/lib.rs","size":5302,"sha256":"9f86…"}
//! {"kind":"file","path":"video.mp4","size":73400320,"sha256":"2c26…","key":"b194…"}
//! {"kind":"link","path":"watch","target":"video.mp4"}
//! ```
//! The listing is stored as a file is, but for a line in its root that says what it is. A large file is stored as any
//! file, by its key. Small files share blocks, the [packs](pack): the files behind a line `pack` that have no key lie
//! in that block, one behind the other. So no two files can claim the same bytes, nor one bytes that there are not.
//!
//! Whatever is in a folder stands right behind it, in the order of the bytes of the names, and nothing tells a time:
//! the same tree has the same listing, and the same key. A listing may come from any peer: what [`ListingReader`] lets
//! pass never leads out of the folder that it is written to.

pub mod pack;
mod read;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use read::{ListingError, ListingReader};

use crate::id::{Id, Key};
use crate::path_text;

/// Bytes of the longest listing that is read: some million files.
pub const LONGEST: u64 = 128 << 20;

/// Bytes of the longest line of a listing: a path and a target as the system bounds them, each byte as a number.
pub const LONGEST_LINE: usize = 64 * 1024;

/// The version of the listings that are written.
const VERSION: u32 = 1;

/// Something in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its path, which begins in the folder.
    pub path: PathBuf,
    /// What it is.
    pub kind: ItemKind,
}

/// What an [`Item`] is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ItemKind {
    /// A folder.
    Folder,
    /// A symbolic link.
    Link {
        /// What the link says, wherever that leads.
        target: PathBuf,
    },
    /// A file.
    File(Content),
}

/// The bytes of a file, and where they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// The file's size in bytes.
    pub size: u64,
    /// Whether the file may be executed.
    pub executable: bool,
    /// The file's SHA-256.
    pub sha256: Id,
    /// Where the bytes are.
    pub place: FileBytes,
}

/// Where the bytes of a file are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileBytes {
    /// Nowhere: the file is empty.
    Nowhere,
    /// In a file of their own, of this key.
    Own(Key),
    /// In a pack, beside those of other small files.
    Packed {
        /// The pack's key.
        pack: Key,
        /// The pack's size in bytes.
        size: u32,
        /// Where in the pack the file's first byte is.
        offset: u32,
    },
}

/// One line of a listing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum ListingLine {
    /// The first line.
    Listing { version: u32 },
    /// The block that the files below lie in, unless they have keys of their own.
    Pack { key: Key, size: u32 },
    Folder {
        #[serde(with = "path_text")]
        path: PathBuf,
    },
    Link {
        #[serde(with = "path_text")]
        path: PathBuf,
        #[serde(with = "path_text")]
        target: PathBuf,
    },
    File {
        #[serde(with = "path_text")]
        path: PathBuf,
        size: u64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        executable: bool,
        sha256: Id,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Key>,
    },
}

/// Writes a listing, item by item, in the order of [`order`].
pub struct ListingWriter {
    pack: Option<Key>,
}

impl ListingWriter {
    /// A writer, and the text that its listing begins with.
    pub fn begin() -> (Self, String) {
        (Self { pack: None }, text(&ListingLine::Listing { version: VERSION }))
    }

    /// The text of the next item.
    pub fn item(&mut self, item: &Item) -> String {
        let path = item.path.clone();
        match &item.kind {
            ItemKind::Folder => text(&ListingLine::Folder { path }),
            ItemKind::Link { target } => text(&ListingLine::Link { path, target: target.clone() }),
            ItemKind::File(Content { size, executable, sha256, place }) => {
                let (size, executable, sha256) = (*size, *executable, *sha256);
                let key = if let FileBytes::Own(key) = place { Some(*key) } else { None };
                let line = text(&ListingLine::File { path, size, executable, sha256, key });
                match place {
                    FileBytes::Packed { pack, size, .. } if self.pack.replace(*pack) != Some(*pack) => {
                        text(&ListingLine::Pack { key: *pack, size: *size }) + &line
                    }
                    _ => line,
                }
            }
        }
    }
}

fn text(line: &ListingLine) -> String {
    // Every field is text or a number, so this cannot fail.
    serde_json::to_string(line).unwrap_or_default() + "\n"
}

/// What paths are ordered by: the bytes of their names, part by part. Whatever is in a folder follows it at once.
pub fn order(path: &Path) -> impl Iterator<Item = u8> + '_ {
    path.as_os_str().as_encoded_bytes().iter().map(|&byte| if byte == b'/' { 0 } else { byte })
}

#[cfg(test)]
mod tests;
