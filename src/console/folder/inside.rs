//! What names something in a folder: `KEY/PATH`, or `NAME/PATH` where the catalogue knows the name.

use std::path::{Component, Path, PathBuf};

use super::name;
use crate::console::catalogue::Catalogue;
use crate::console::spec::may_be_manifest;
use crate::id::Key;
use crate::node::{Failure, FailureKind, Source};
use crate::raw_text;

/// The folder and the path in it that `word` names; the path is empty where there is none. None if nothing of that name
/// is known.
///
/// # Errors
/// The name is that of several things, or the path goes up.
pub(super) fn named(catalogue: Option<&Catalogue>, word: &Path) -> Result<Option<(Key, PathBuf)>, Failure> {
    let mut parts = word.components();
    let Some(Component::Normal(head)) = parts.next() else { return Ok(None) };
    let head = raw_text::text_of(head);
    let known = match head.parse() {
        Ok(key) => Some(key),
        Err(_) => catalogue.map_or(Ok(None), |catalogue| catalogue.find(&head)).map_err(usage)?,
    };
    let Some(key) = known else { return Ok(None) };
    let path: PathBuf = parts.collect();
    if path.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(usage(format!("{} goes up with '..', which a path in a folder does not", name(word))));
    }
    Ok(Some((key, path)))
}

/// The folder and the path in it that are to be retrieved; none where another source is meant, such as a manifest file.
///
/// # Errors
/// Those of [`named`].
pub(super) fn source(
    catalogue: Option<&Catalogue>,
    folder: &Path,
    source: &Source,
) -> Result<Option<(Key, PathBuf)>, Failure> {
    let Source::Manifest(path) = source else { return Ok(None) };
    let has_slash = path.as_os_str().as_encoded_bytes().contains(&b'/');
    let begins = path.components().next();
    // ./ in front makes any word a file's name, and a manifest that is there goes first.
    if !has_slash || !matches!(begins, Some(Component::Normal(_))) || may_be_manifest(&folder.join(path)) {
        return Ok(None);
    }
    named(catalogue, path)
}

fn usage(reason: String) -> Failure {
    Failure::new(FailureKind::Usage, reason)
}
