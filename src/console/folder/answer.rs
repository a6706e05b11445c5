//! What is told of folders.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::console::escape::{escape, shown};
use crate::console::reply::LeftOut;
use crate::console::text::{self, amount, copies_of, count, lines, pace, why};
use crate::file::folder::{Item, ItemKind};
use crate::id::{Id, Key};
use crate::path_text;

/// A folder is in the network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StoredFolder {
    /// The folder as it was named.
    #[serde(with = "path_text")]
    pub file: PathBuf,
    /// The folder's key.
    pub key: Key,
    /// Bytes of all files in it.
    pub bytes: u64,
    /// Files in it.
    pub files: u64,
    /// Folders in it.
    pub folders: u64,
    /// Links in it.
    pub links: u64,
    /// Blocks of the files and of the listing.
    pub blocks: u64,
    /// Blocks that list those blocks.
    pub lists: u64,
    /// How many blocks and lists got how many copies: `copies[c]` of them have `c` copies.
    pub copies: Vec<u64>,
    /// Copies wanted of each block.
    pub wanted: usize,
    /// Peers that are known, belong among those nearest to a block, and did not answer: the most for any block.
    pub unreached: usize,
    /// For people: why a block has fewer copies than were wanted, where a peer said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacking: Option<String>,
    /// What was left out, and why.
    pub skipped: Vec<LeftOut>,
    /// Links that are stored and that no retrieve makes, and why.
    pub unmade: Vec<LeftOut>,
    /// Whether what was left out was not asked for.
    #[serde(skip)]
    pub is_partial: bool,
    /// How long the command took.
    pub took: Duration,
}

/// A folder was brought back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RetrievedFolder {
    /// Bytes of all files in it.
    pub bytes: u64,
    /// The part of `bytes` that an earlier run had left in place.
    pub resumed: u64,
    /// Files in it.
    pub files: u64,
    /// Folders in it.
    pub folders: u64,
    /// Links in it.
    pub links: u64,
    /// Whether the folder stood at its place before, all of it verified, so that nothing was written.
    pub standing: bool,
    /// Where that lies now which stood at its place before.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub aside: Option<PathBuf>,
    /// Links that were not made, and why.
    pub skipped: Vec<LeftOut>,
    /// How long the command took.
    pub took: Duration,
}

mod optional {
    use super::{PathBuf, path_text};
    use serde::Serializer;

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => path_text::serialize(path, to),
            None => to.serialize_none(),
        }
    }
}

/// What is in a folder that is in the network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ListedFolder {
    /// The folder's key.
    pub key: Key,
    /// The path in it; empty for all of it.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// What lies there.
    pub items: Vec<ListedItem>,
}

/// One thing in a folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ListedItem {
    /// Its path, which begins where the listing was asked for.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// What it is: `file`, `folder` or `link`.
    pub kind: &'static str,
    /// A file's size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// A file's SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Id>,
    /// Whether a file may be executed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// What a link says.
    #[serde(with = "optional", skip_serializing_if = "Option::is_none")]
    pub target: Option<PathBuf>,
}

/// A text in the network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ShownText {
    /// The text.
    pub text: String,
}

impl ListedItem {
    /// An item as it is told, under this path.
    pub(super) fn new(path: &Path, item: Item) -> Self {
        let told =
            |kind| Self { path: path.to_owned(), kind, bytes: None, sha256: None, executable: false, target: None };
        match item.kind {
            ItemKind::Folder => told("folder"),
            ItemKind::Link { target } => Self { target: Some(target), ..told("link") },
            ItemKind::File(content) => {
                let (bytes, sha256) = (Some(content.size), Some(content.sha256));
                Self { bytes, sha256, executable: content.executable, ..told("file") }
            }
        }
    }
}

impl StoredFolder {
    /// That it was stored with too few copies, if it was.
    pub(in crate::console) fn too_few(&self) -> Option<String> {
        text::too_few(&self.file, &self.copies, self.wanted, self.unreached, &self.lacking)
    }
}

/// The answer to a store, for people.
pub(in crate::console) fn stored(folder: &StoredFolder) -> String {
    let StoredFolder { file, key, bytes, blocks, lists, copies, wanted, unreached, lacking, took, .. } = folder;
    let copies = copies_of(copies, *wanted, *unreached);
    let what = contents(folder.files, folder.folders, folder.links);
    let (size, pace, file) = (amount(*bytes), pace(*bytes, *took), shown(file));
    let blocks = format!("{} and {}", count(*blocks, "block"), count(*lists, "list"));
    let told = [
        format!("key {key}"),
        format!("stored {file}: {what}, {size} as {blocks} ({copies}) in {pace}{}", why(lacking)),
    ];
    lines(told.into_iter().chain(left_out(folder)))
}

/// The answer to a retrieve, for people.
pub(in crate::console) fn retrieved(folder: &RetrievedFolder) -> String {
    let RetrievedFolder { bytes, resumed, standing, aside, skipped, took, .. } = folder;
    let (what, size) = (contents(folder.files, folder.folders, folder.links), amount(*bytes));
    let told = match standing {
        true => format!("there already: {what}, {size}, verified; nothing was written"),
        false => {
            let found =
                if *resumed > 0 { format!(", {} of it found in place", amount(*resumed)) } else { String::new() };
            format!("retrieved {what}, {size}{found}, in {}", pace(bytes.saturating_sub(*resumed), *took))
        }
    };
    let aside = aside.iter().map(|aside| format!("what stood there is now {}", shown(aside)));
    lines([told].into_iter().chain(aside).chain(skipped.iter().map(skip)))
}

/// What is in a folder, for people.
pub(in crate::console) fn listed(listed: &ListedFolder) -> String {
    let line = |item: &ListedItem| {
        let path = shown(&item.path);
        let size = item.bytes.map(amount).unwrap_or_default();
        let mark = if item.executable { "*" } else { "" };
        match (item.kind, &item.target) {
            ("folder", _) => format!("{size:>12}  {path}/"),
            (_, Some(target)) => format!("{size:>12}  {path} -> {}", shown(target)),
            _ => format!("{size:>12}  {path}{mark}"),
        }
    };
    if listed.items.is_empty() {
        return "the folder is empty".to_owned();
    }
    lines(listed.items.iter().map(line))
}

fn contents(files: u64, folders: u64, links: u64) -> String {
    let counted = [(files, "file"), (folders, "folder"), (links, "link")];
    let told: Vec<_> = counted
        .iter()
        .filter(|(number, what)| *number > 0 || *what == "file")
        .map(|&(number, what)| count(number, what))
        .collect();
    told.join(", ")
}

/// A line for each that was left out of what is stored, or will be of what is retrieved.
pub(in crate::console) fn left_out(StoredFolder { skipped, unmade, .. }: &StoredFolder) -> Vec<String> {
    let unmade = unmade.iter().map(|LeftOut { file, reason }| {
        format!("stored {}, which a retrieve will leave out: {}", shown(file), escape(reason))
    });
    skipped.iter().map(skip).chain(unmade).collect()
}

fn skip(LeftOut { file, reason }: &LeftOut) -> String {
    format!("skipped {}: {}", shown(file), escape(reason))
}
