//! Whether a folder that stands at its place is the one that is to be brought, and which links may be made in it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::listing::Listing;
use crate::console::reply::LeftOut;
use crate::file::folder::{Content, ItemKind};
use crate::id::Id;
use crate::node::Failure;
use crate::raw_text;

/// Bytes that are read at a time.
const CHUNK: usize = 64 * 1024;

/// Asked on the way whether to go on.
pub(super) type GoOnCheck<'a> = &'a dyn Fn() -> Result<(), Failure>;

/// Whether the folder at `dest` holds what the listing tells of and nothing else, but for the links that are not made.
pub(super) fn stands(dest: &Path, listing: &Listing, check: GoOnCheck<'_>) -> Result<bool, Failure> {
    if !fs::symlink_metadata(dest).is_ok_and(|there| there.is_dir()) {
        return Ok(false);
    }
    let (mut same, mut count) = (true, 0);
    listing.each(&mut |path, item| {
        if !same || path.as_os_str().is_empty() {
            return Ok(());
        }
        let at = dest.join(path);
        let there = fs::symlink_metadata(&at);
        same = match item.kind {
            ItemKind::Link { target } if why_not(path, &target).is_some() => return Ok(()),
            ItemKind::Link { target } => fs::read_link(&at).is_ok_and(|there| there == target),
            ItemKind::Folder => there.is_ok_and(|there| there.is_dir()),
            ItemKind::File(content) => holds(&at, &content, check)?,
        };
        count += 1;
        check()
    })?;
    if !same {
        return Ok(false);
    }
    let there = WalkDir::new(dest).min_depth(1).into_iter().take(count + 1);
    Ok(there.filter(Result::is_ok).count() == count)
}

/// Whether the file that a listing tells of is at `path`.
pub(super) fn holds(path: &Path, content: &Content, check: GoOnCheck<'_>) -> Result<bool, Failure> {
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(false) };
    let executable = there.permissions().mode() & 0o100 != 0;
    if !there.is_file() || there.len() != content.size || executable != content.executable {
        return Ok(false);
    }
    let Ok(mut file) = File::open(path) else { return Ok(false) };
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        check()?;
        match file.read(&mut chunk) {
            Ok(0) => return Ok(Id::from_bytes(hash.finalize().into()) == content.sha256),
            Ok(count) => hash.update(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(false),
        }
    }
}

/// Links that are not made are named, so many at most: a listing may tell of millions.
const LINKS_NAMED: u64 = 1000;

/// The links that are not made in a folder that is brought back, and why.
#[derive(Default)]
pub(super) struct UnmadeLinks {
    named: Vec<LeftOut>,
    count: u64,
    last: PathBuf,
}

impl UnmadeLinks {
    pub(super) fn look_at(&mut self, path: &Path, target: &Path) {
        let Some(reason) = why_not(path, target) else { return };
        self.count += 1;
        if self.count <= LINKS_NAMED {
            let reason = format!("{reason}: {}", raw_text::text_of(target));
            self.named.push(LeftOut { file: path.to_owned(), reason });
        }
        path.clone_into(&mut self.last);
    }

    /// The first ones, and how many there are.
    pub(super) fn named(self) -> (Vec<LeftOut>, u64) {
        let Self { mut named, count, last } = self;
        if count > LINKS_NAMED {
            let reason = format!("the last of {} further links that lead out, or may", count - LINKS_NAMED);
            named.push(LeftOut { file: last, reason });
        }
        (named, count)
    }
}

/// Why a link at `path` is not made; none if it leads to a place in the folder wherever else links lead. So it may go
/// up at its beginning only: there the folders are folders. Behind a name, which may be a link, `..` could lead
/// anywhere.
pub(super) fn why_not(path: &Path, target: &Path) -> Option<&'static str> {
    let mut up = path.components().count().saturating_sub(1);
    let mut down = false;
    for part in target.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => down = true,
            Component::ParentDir if down => {
                return Some("a link whose target goes up behind a name, which may lead out");
            }
            Component::ParentDir if up == 0 => return Some("a link that leads out of the folder"),
            Component::ParentDir => up -= 1,
            Component::RootDir | Component::Prefix(_) => return Some("a link to an absolute path"),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_made_only_if_it_cannot_lead_out_of_the_folder() {
        for (path, target) in
            [("a", "b"), ("a", "b/c"), ("a", "."), ("d/a", "../b"), ("d/e/a", "../../b/c"), ("d/a", "./..")]
        {
            assert_eq!(why_not(Path::new(path), Path::new(target)), None, "{path} -> {target}");
        }
        for (path, target) in [
            ("a", "/etc/passwd"),
            ("a", ".."),
            ("a", "../x"),
            ("d/a", "../.."),
            ("d/a", "../../x"),
            ("a", "b/.."),
            ("a", "b/../../x"),
            ("d/e/a", "../f/.."),
        ] {
            assert!(why_not(Path::new(path), Path::new(target)).is_some(), "{path} -> {target}");
        }
    }
}
