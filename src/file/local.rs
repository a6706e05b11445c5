//! Local manifests: what a user keeps of a file instead of its key.
//!
//! There are two forms. The *seed's text* is `key$size|` for each block, on one line: programs that know nothing else
//! read it, but it cannot show that it is whole. The *whole* form is the text of the file's root, as a node of level 0
//! with as many entries as the file has blocks. It names the file's size and SHA-256, so a manifest that was cut off
//! anywhere is refused.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::manifest::{self, Manifest, ManifestEntry};
use super::text;
use crate::id::Id;
use crate::path_text;

/// A local manifest that a store shall write.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocalManifest {
    /// Where to write it.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// The form to write it in.
    pub form: ManifestForm,
}

/// The form of a local manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManifestForm {
    /// The seed's text.
    Seed,
    /// The form that shows whether it is whole.
    Whole,
}

/// The content of a local manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestContent {
    /// The file's blocks, in order.
    pub entries: Vec<ManifestEntry>,
    /// SHA-256 of the file; none in the seed's text, which does not show that it is whole either.
    pub sha256: Option<Id>,
}

impl ManifestForm {
    /// The text before the entries. Its length depends on the size alone, so it can be written before the SHA-256 is
    /// known, and overwritten after.
    pub fn head(self, size: u64, sha256: &Id) -> String {
        match self {
            Self::Seed => String::new(),
            Self::Whole => manifest::head(0, size, Some(sha256)),
        }
    }

    /// The text of one block's entry.
    pub fn entry(self, entry: &ManifestEntry) -> String {
        match self {
            Self::Seed => text::write_entry(entry),
            Self::Whole => manifest::line(entry),
        }
    }
}

/// The same without the byte order mark with which some editors begin a file.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

/// A byte order mark in UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads a local manifest of either form. The empty text is the seed's for the empty file.
///
/// # Errors
/// What is wrong with the manifest, for people.
pub fn read(bytes: &[u8]) -> Result<ManifestContent, String> {
    let bytes = without_mark(bytes);
    match Manifest::decode_unbounded(bytes) {
        Ok(Some(Manifest { level: 0, sha256: sha256 @ Some(_), folder: false, entries, .. })) => {
            Ok(ManifestContent { entries, sha256 })
        }
        Ok(Some(_)) => Err("it is a part of a manifest, or was cut off".to_owned()),
        Ok(None) => {
            let list = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
            let entries = text::parse(list).map_err(|error| error.to_string())?;
            Ok(ManifestContent { entries, sha256: None })
        }
        Err(error) => Err(format!("{error}; was it cut off, or changed?")),
    }
}

/// Whether a file that begins with `bytes` may be a local manifest. A file of another kind is told without reading all
/// of it.
pub fn may_begin(bytes: &[u8]) -> bool {
    let bytes = without_mark(bytes);
    let key = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    bytes.is_empty()
        || bytes.starts_with(manifest::MANIFEST_HEAD.as_bytes())
        || (key == 64 && bytes.get(64) == Some(&b'$'))
}

/// How many bytes [`may_begin`] needs.
pub const BEGINNING: usize = MARK.len() + 65;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Key;

    fn entries(count: u64) -> Vec<ManifestEntry> {
        (1..=count).map(|n| ManifestEntry { key: Key::of(&n.to_le_bytes()), size: n }).collect()
    }

    fn write(form: ManifestForm, entries: &[ManifestEntry], sha256: &Id) -> String {
        let size = entries.iter().map(|entry| entry.size).sum();
        let lines: String = entries.iter().map(|entry| form.entry(entry)).collect();
        form.head(size, sha256) + &lines
    }

    #[test]
    fn both_forms_read_back_as_they_were_written_whatever_the_number_of_blocks() {
        for count in [0, 1, 3, 5000] {
            let entries = entries(count);
            let sha256 = Id::of(b"the file");
            for (form, sha256) in [(ManifestForm::Whole, Some(sha256)), (ManifestForm::Seed, None)] {
                let text = write(form, &entries, &sha256.unwrap_or(Id::ZERO));
                assert_eq!(
                    read(text.as_bytes()),
                    Ok(ManifestContent { entries: entries.clone(), sha256 }),
                    "{form:?} {count}"
                );
                assert!(may_begin(&text.as_bytes()[..text.len().min(BEGINNING)]), "{form:?} {count}");
                let marked = [MARK, text.as_bytes()].concat();
                assert_eq!(read(&marked), Ok(ManifestContent { entries: entries.clone(), sha256 }), "{form:?} {count}");
                assert!(may_begin(&marked[..marked.len().min(BEGINNING)]), "{form:?} {count}, behind a mark");
            }
        }
    }

    #[test]
    fn the_whole_form_cut_anywhere_is_refused() {
        for count in [0, 1, 4] {
            let text = write(ManifestForm::Whole, &entries(count), &Id::of(b"the file"));
            for at in 1..text.len() {
                assert!(read(&text.as_bytes()[..at]).is_err(), "{count} blocks, cut at {at}");
            }
        }
    }

    #[test]
    fn the_head_is_as_long_before_the_hash_is_known_as_after() {
        for size in [0, 9, 1 << 40] {
            assert_eq!(
                ManifestForm::Whole.head(size, &Id::ZERO).len(),
                ManifestForm::Whole.head(size, &Id::of(b"x")).len()
            );
        }
    }

    #[test]
    fn the_whole_form_of_a_small_file_is_its_root_to_the_byte() {
        let (entries, sha256) = (entries(3), Id::of(b"the file"));
        let root = Manifest { level: 0, size: 6, sha256: Some(sha256), folder: false, entries: entries.clone() };
        assert_eq!(write(ManifestForm::Whole, &entries, &sha256).into_bytes(), root.encode());
    }

    #[test]
    fn other_files_do_not_begin_as_a_manifest_does() {
        for other in [&b"%PDF-1.7 and so on"[..], b"kadring", b"0123", &[0; 100], &[b'a'; 100]] {
            assert!(!may_begin(other), "{other:?}");
            assert!(read(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_node_below_the_root_is_no_local_manifest() {
        let node = Manifest { level: 0, size: 6, sha256: None, folder: false, entries: entries(3) };
        assert!(read(&node.encode()).is_err());
        assert!(read(&Manifest { level: 1, sha256: Some(Id::ZERO), ..node }.encode()).is_err());
    }
}
