//! What words name: the catalogue between a request and the node.

use std::path::{Path, PathBuf, absolute};

use super::begun::EntryLine;
use super::catalogue::{Catalogue, Entry, Owned, name_of};
use super::escape::quoted;
use super::folder::StoredFolder;
use super::perform::Shows;
use super::reply::{ConsoleAnswer, LineReply};
use super::spec::{LineTask, is_empty, may_be_manifest};
use super::words::{is_mistyped_key, parse_source};
use crate::id::{Id, Key};
use crate::node::{Answer, Command, Failure, FailureKind, Source, Until};
use crate::raw_text;
use crate::runtime::since_1970;

/// The request with keys in place of the names that the catalogue knows. Names of files begin in `folder`.
///
/// # Errors
/// What is named is several things, or certainly none.
pub fn resolve(catalogue: Option<&Catalogue>, folder: &Path, request: LineTask) -> Result<LineTask, Failure> {
    let resolve = |source| resolve_source(catalogue, folder, source);
    Ok(match request {
        LineTask::Ask(Command::Retrieve { source, dest, replace }) => {
            LineTask::Ask(Command::Retrieve { source: resolve(source)?, dest, replace })
        }
        LineTask::Ask(Command::Clear { sources, force }) => {
            let sources = sources.into_iter().map(resolve).collect::<Result<_, _>>()?;
            LineTask::Ask(Command::Clear { sources, force })
        }
        LineTask::Check(check) => LineTask::Check(check.resolved(resolve)?),
        LineTask::Ask(Command::Wait { until: Until::Copies { sources, copies }, limit }) => {
            let sources = sources.into_iter().map(resolve).collect::<Result<_, _>>()?;
            LineTask::Ask(Command::Wait { until: Until::Copies { sources, copies }, limit })
        }
        LineTask::Lookup { word, explain, svg } => match parse_source(&word).map(resolve) {
            Ok(Ok(Source::Key(key))) => match svg {
                Some(svg) => LineTask::Draw { key, svg },
                None if explain => LineTask::Ask(Command::Explain { key }),
                None => LineTask::Ask(Command::Lookup { key }),
            },
            Ok(Err(failure)) if failure.kind == FailureKind::NotFound => {
                return Err(Failure { reason: no_key(&word), ..failure });
            }
            Ok(Err(failure)) => return Err(failure),
            _ => return Err(Failure::new(FailureKind::Usage, no_key(&word))),
        },
        other => other,
    })
}

/// The key in place of a name that the catalogue knows. A manifest file of that name goes first.
///
/// # Errors
/// What is named is several things, or certainly none.
pub fn resolve_source(catalogue: Option<&Catalogue>, folder: &Path, source: Source) -> Result<Source, Failure> {
    let Source::Manifest(path) = source else { return Ok(source) };
    let at = folder.join(&path);
    // An empty file may be a manifest, that of an empty file; more often it is what is left of the file that is wanted.
    let goes_first = may_be_manifest(&at) && !is_empty(&at);
    let word = &*raw_text::text_of(&path);
    if word.contains('/') || goes_first {
        return Ok(Source::Manifest(path));
    }
    let known = catalogue.map_or(Ok(None), |catalogue| catalogue.find(word));
    match known.map_err(|reason| Failure::new(FailureKind::Usage, reason))? {
        Some(key) => Ok(Source::Key(key)),
        None if is_mistyped_key(word) => {
            let length = word.len();
            let reason = format!("a key has 64 hexadecimal digits, {word:?} has {length}; a manifest file is ./{word}");
            Err(Failure::new(FailureKind::Usage, reason))
        }
        None if may_be_manifest(&at) => Ok(Source::Manifest(path)),
        None => Err(Failure::new(FailureKind::NotFound, unknown(word, at.exists()))),
    }
}

/// Answers what concerns the catalogue alone.
pub fn answer(catalogue: Option<&Catalogue>, request: LineTask) -> LineReply {
    let Some(catalogue) = catalogue else {
        return LineReply::failed(
            FailureKind::Other,
            "there is no catalogue: no data folder, and no home folder, is known",
        );
    };
    let answer = match request {
        LineTask::Files { pattern } => catalogue
            .fitting(&pattern)
            .map_err(|error| (error, "read"))
            .map(|files| Some(ConsoleAnswer::Files { files: files.into_iter().map(Entry::shown).collect() })),
        LineTask::Name { word, name } => match key_of(catalogue, &word) {
            Ok(Some(key)) => catalogue
                .name(&key, &name)
                .map_err(|error| (error, "write"))
                .map(|known| known.then_some(ConsoleAnswer::Named { key, name })),
            Ok(None) => Ok(None),
            Err(reason) => return LineReply::failed(FailureKind::Usage, reason),
        },
        LineTask::Forget { word } => catalogue.forget(&word).map_err(|error| (error, "write")).map(|files| {
            (!files.is_empty())
                .then_some(ConsoleAnswer::Forgotten { files: files.into_iter().map(Entry::shown).collect() })
        }),
        _ => Ok(None),
    };
    match answer {
        Ok(Some(answer)) => LineReply::Console(answer),
        Ok(None) => LineReply::failed(FailureKind::NotFound, "the catalogue has no such file"),
        Err((error, what)) => LineReply::failed(FailureKind::Other, catalogue.cannot(what, &error)),
    }
}

fn key_of(catalogue: &Catalogue, word: &str) -> Result<Option<Key>, String> {
    word.parse().map_or_else(|_| catalogue.find(word), |key| Ok(Some(key)))
}

/// Puts a file that was stored in the catalogue, and returns whether it is there. That it could not be is told to the
/// user who had it stored, and changes nothing of the answer.
///
/// # Errors
/// Another command deleted it meanwhile.
pub fn remember(
    (catalogue, shows): (&Catalogue, &dyn Shows),
    path: &Path,
    name: Option<String>,
    lease: Option<Owned>,
    answer: &Answer,
) -> Result<bool, Failure> {
    let &Answer::Stored { key, sha256, bytes, wanted, .. } = answer else { return Ok(false) };
    add((catalogue, shows), path, name, (key, sha256, bytes, wanted), false, lease)
}

/// Puts a folder that was stored in the catalogue, whose listing has this SHA-256.
///
/// # Errors
/// Another command deleted it meanwhile.
pub fn remember_folder(
    (catalogue, shows): (&Catalogue, &dyn Shows),
    folder: &StoredFolder,
    name: Option<String>,
    lease: Option<Owned>,
    sha256: Id,
) -> Result<bool, Failure> {
    let &StoredFolder { key, bytes, wanted, .. } = folder;
    add((catalogue, shows), &folder.file, name, (key, sha256, bytes, wanted), true, lease)
}

/// Puts blocks that were imported from a folder in the catalogue, as the one file that they are together: its key,
/// SHA-256, size and copies.
///
/// # Errors
/// Another command deleted it meanwhile.
pub fn remember_import(
    (catalogue, shows): (&Catalogue, &dyn Shows),
    folder: &Path,
    whole: (Key, Id, u64, usize),
    lease: Option<Owned>,
) -> Result<bool, Failure> {
    add((catalogue, shows), folder, None, whole, false, lease)
}

/// Puts a file, or a folder, in the catalogue that is about to be stored on these leases. The line is on the disk once
/// it is synced.
///
/// # Errors
/// The catalogue cannot be written.
pub(super) fn begin(
    catalogue: &Catalogue,
    path: &Path,
    name: Option<String>,
    folder: bool,
    lease: &Owned,
) -> std::io::Result<EntryLine> {
    let (name, path, stored) = named(path, name);
    let (copies, lease) = (lease.copies.into(), Some(lease.clone()));
    let (key, sha256) = (Id::ZERO, Id::ZERO);
    let entry = Entry { name, path, key, sha256, bytes: 0, copies, stored, folder, begun: true, lease };
    let (file, line) = catalogue.append(&entry)?;
    let (same, catalogue) = (file.try_clone()?, catalogue.clone());
    Ok(EntryLine::new(move || file.sync_data(), move || catalogue.withdraw(&same, line)))
}

/// What is stored from `path` now is called, where it lies, and when that was.
fn named(path: &Path, name: Option<String>) -> (String, PathBuf, u64) {
    let path = place_of(path);
    let name = name.unwrap_or_else(|| name_of(&path));
    (name, path, u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX))
}

/// The path by which the catalogue knows what lies at `path`.
pub(super) fn place_of(path: &Path) -> PathBuf {
    // An open file without a name, which a client lends: what is piped, today as yesterday.
    let is_lent = path.starts_with("/proc") && path.parent().is_some_and(|folder| folder.ends_with("fd"));
    // `store .` is about a folder that has a name all the same.
    let whole = || if path.file_name().is_some() { absolute(path) } else { path.canonicalize() };
    if is_lent { PathBuf::from("-") } else { whole().unwrap_or_else(|_| path.to_owned()) }
}

fn add(
    (catalogue, shows): (&Catalogue, &dyn Shows),
    path: &Path,
    name: Option<String>,
    (key, sha256, bytes, copies): (Key, Id, u64, usize),
    folder: bool,
    lease: Option<Owned>,
) -> Result<bool, Failure> {
    let (name, path, stored) = named(path, name);
    let entry = Entry { name, path, key, sha256, bytes, copies, stored, folder, begun: false, lease };
    match catalogue.add_stored(&entry) {
        Ok(true) => Ok(true),
        Ok(false) => {
            let reason = "its lease has ended: it was deleted, or got another one, while it was stored; store it again";
            Err(Failure::new(FailureKind::TimedOut, reason.to_owned()))
        }
        Err(error) => {
            let what = if folder { "folder" } else { "file" };
            shows.say(&format!("the {what} is stored, but {}", catalogue.cannot("write", &error)));
            Ok(false)
        }
    }
}

/// A user who asks for a file by its SHA-256 is told that it has another key.
pub fn recognise(catalogue: Option<&Catalogue>, asked: &Key, failure: &mut Failure) {
    if failure.kind != FailureKind::NotFound {
        return;
    }
    let entries = catalogue.and_then(|catalogue| catalogue.entries().ok()).unwrap_or_default();
    if let Some(entry) = entries.iter().rfind(|entry| entry.sha256 == *asked && entry.key != *asked) {
        let (name, key) = (quoted(&entry.name), entry.key);
        failure.reason += &format!("; it is the SHA-256 of {name}, whose key is {key}");
    }
}

fn no_key(word: &str) -> String {
    format!("{} is no key, which has 64 hexadecimal digits, and no name in the catalogue", quoted(word))
}

fn unknown(word: &str, is_there: bool) -> String {
    let there = if is_there { "what is there is no manifest file" } else { "no manifest file is there" };
    let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let nearly = match word.len() {
        4..6 if is_hex => "; of a key six digits or more will do",
        6..64 if is_hex => {
            "; of a key that the catalogue here does not have all 64 digits are needed (where it does: files --json)"
        }
        _ => "",
    };
    format!("{} is no key, no name in the catalogue, and {there}{nearly}", quoted(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_a_part_of_a_key_that_is_unknown_here_is_told_what_it_takes() {
        for (word, takes) in [("62867", "six digits"), ("628679a3ad0a", "all 64 digits"), ("628679a3ad0x", "is there")]
        {
            assert!(unknown(word, false).contains(takes), "{}", unknown(word, false));
        }
        assert!(unknown("report.pdf", false).ends_with("is there"));
    }
}
