//! Which files of the catalogue a word or a pattern means.

use std::path::Path;

use glob::Pattern;

use super::Entry;
use crate::console::escape::quoted;
use crate::id::Key;
use crate::raw_text;

/// So many digits of a key name it, if no other key begins with them.
pub const DIGITS: usize = 6;

/// What stands for other characters in a pattern.
const WILD: [char; 3] = ['*', '?', '['];

/// The key that `word` names among these, as [`Catalogue::find`](super::Catalogue::find) tells it.
pub(in crate::console) fn find_among(entries: &[&Entry], word: &str) -> Result<Option<Key>, String> {
    let named = entries.iter().filter(|entry| entry.name == word);
    // Of what was stored from one place, the latest is meant.
    let mut latest: Vec<&Entry> = Vec::new();
    for entry in named.clone().filter(|entry| !entry.begun) {
        latest.retain(|other| other.path != entry.path);
        latest.push(entry);
    }
    let beginning = || entries.iter().copied().filter(|entry| is_beginning(word) && begins(entry, word));
    let mut meant: Vec<&Entry> = if latest.is_empty() { beginning().collect() } else { latest };
    meant.sort_by_key(|entry| entry.key);
    meant.dedup_by_key(|entry| entry.key);
    match &meant[..] {
        [] if named.clone().next().is_some() => {
            Err(format!("the store of {} was not finished: store it again, or delete it", quoted(word)))
        }
        [] => Ok(None),
        [one] => Ok(Some(one.key)),
        several => {
            let each = several.iter().map(|entry| format!("{} ({})", entry.key, raw_text::text_of(&entry.path)));
            let each = each.collect::<Vec<_>>().join(", ");
            Err(format!("{} names several files, so say which by its key: {each}", quoted(word)))
        }
    }
}

/// What a word may name, to be looked for in lines of the catalogue before they are read.
pub(super) struct Sought<'a> {
    word: &'a str,
    /// The same as digits of a key are written, where it may be the beginning of one.
    digits: Option<String>,
    /// It has bytes that are part of no character: they are written otherwise.
    is_raw: bool,
}

impl<'a> Sought<'a> {
    pub(super) fn new(word: &'a str) -> Self {
        let digits = is_beginning(word).then(|| word.to_lowercase());
        Self { word, digits, is_raw: word.chars().any(|c| raw_text::byte_of(c).is_some()) }
    }

    /// What every name begins with, or contains, that [fits] the pattern.
    pub(super) fn start_of(pattern: &'a str) -> Self {
        Self::new(pattern.split(WILD).next().unwrap_or_default())
    }

    /// Whether a line may have a name or a key that is meant. In one without any `\`, text stands as it is, but for a
    /// name that stands as its bytes.
    pub(super) fn may_be_in(&self, line: &str) -> bool {
        let digits = || self.digits.as_ref().is_some_and(|digits| line.contains(digits.as_str()));
        let is_hidden = || self.is_raw || line.contains('\\') || line.contains("\"name\":[");
        line.contains(self.word) || digits() || is_hidden()
    }
}

/// Whether a word may be the beginning of a key.
pub fn is_beginning(word: &str) -> bool {
    (DIGITS..=64).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn begins(entry: &Entry, digits: &str) -> bool {
    !entry.begun && entry.key.to_string().starts_with(&digits.to_lowercase())
}

/// What a file is called by default: the last part of its path.
pub fn name_of(path: &Path) -> String {
    raw_text::text_of(path.file_name().unwrap_or(path.as_os_str()))
}

/// Whether `name` fits `pattern`, in which `*`, `?` and `[…]` stand for characters, as in a shell. Without any of them,
/// or where it is no such pattern, a part of the name will do.
pub fn fits(name: &str, pattern: &str) -> bool {
    let glob = Pattern::new(pattern).ok().filter(|_| pattern.contains(WILD));
    glob.map_or_else(|| name.contains(pattern), |glob| glob.matches(name))
}
