//! Stores that were begun: the catalogue has their leases from before the first block leaves.
//!
//! Who stores a file lays a lease on each block as it goes. Should that end half-way, those blocks are on a lease all
//! the same, which somebody must be able to end. So a line is written first, without a key, for there is none yet. The
//! line of the finished file has the same secret, and with that the first one is done with.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::catalogue::{Catalogue, Entry, Owned};
use super::finding;
use crate::lease::Secret;

/// Drops the secrets of those that were finished meanwhile, and what was begun and has none left.
pub(super) fn forget_finished(entries: &mut Vec<Entry>) {
    if !entries.iter().any(|entry| entry.begun) {
        return;
    }
    let finished = entries.iter().filter(|entry| !entry.begun).flat_map(Entry::secrets);
    let finished: BTreeSet<Secret> = finished.copied().collect();
    forget(entries, |secret| finished.contains(secret));
}

/// Drops secrets of what was begun, and what has none left.
fn forget(entries: &mut Vec<Entry>, is_over: impl Fn(&Secret) -> bool) {
    for Owned { secrets, .. } in entries.iter_mut().filter(|entry| entry.begun).filter_map(|entry| entry.lease.as_mut())
    {
        secrets.retain(|secret| !is_over(secret));
    }
    entries.retain(|entry| !entry.begun || entry.secrets().next().is_some());
}

impl Entry {
    /// What ends its leases.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.lease.iter().flat_map(|lease| &lease.secrets)
    }
}

impl Catalogue {
    /// What ends the leases of all that was begun under this name and not finished.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub(super) fn begun(&self, name: &str) -> io::Result<Vec<Secret>> {
        let listed = self.listed()?;
        let begun = listed.iter().filter(|entry| entry.begun && entry.name == name);
        Ok(begun.flat_map(Entry::secrets).copied().collect())
    }

    /// The secret on which the folder at `path` was begun to be stored and not finished, unless its lease was ended.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub(super) fn begun_folder(&self, path: &Path) -> io::Result<Option<Secret>> {
        let (ended, path, listed) = (self.ended()?, finding::place_of(path), self.listed()?);
        let begun = listed.iter().filter(|entry| entry.begun && entry.folder && entry.path == path);
        Ok(begun.flat_map(Entry::secrets).find(|secret| !ended.contains(&secret.id())).copied())
    }

    /// Drops what was begun on these leases: they have ended.
    ///
    /// # Errors
    /// The catalogue cannot be read or written.
    pub(super) fn forget_begun(&self, ended: &[Secret]) -> io::Result<()> {
        let _lock = self.lock()?;
        let mut entries = self.read()?;
        forget(&mut entries, |secret| ended.contains(secret));
        self.write(&entries)
    }
}

#[cfg(test)]
mod tests {
    use super::super::leases::draw;
    use super::*;
    use crate::id::Id;

    fn owned(secret: Secret) -> Owned {
        Owned { secrets: vec![secret], until: Some(5), lasts: Some(3), copies: 2 }
    }

    #[test]
    fn what_was_begun_is_listed_until_a_store_on_the_same_lease_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::of(folder.path());
        let (one, other) = (draw().unwrap(), draw().unwrap());
        let path = Path::new("/x/a");
        for secret in [one, other, one] {
            finding::begin(&catalogue, path, None, false, &owned(secret)).unwrap();
        }
        let listed = catalogue.listed().unwrap();
        assert_eq!(listed.iter().map(|entry| (&*entry.name, entry.begun)).collect::<Vec<_>>(), [("a", true)]);
        let sorted = |mut secrets: Vec<Secret>| {
            secrets.sort_unstable();
            secrets
        };
        assert_eq!(sorted(catalogue.begun("a").unwrap()), sorted(vec![one, other]), "each lease is known");
        assert!(catalogue.find("a").unwrap_err().contains("not finished"));
        assert_eq!(catalogue.entries().unwrap(), [], "nothing of it can be retrieved or renewed");
        let finished = Entry {
            key: Id::of(b"1"),
            sha256: Id::of(b"1"),
            begun: false,
            lease: Some(owned(one)),
            ..listed[0].clone()
        };
        catalogue.add(&finished).unwrap();
        assert_eq!(catalogue.find("a"), Ok(Some(finished.key)));
        assert_eq!(catalogue.begun("a").unwrap(), [other], "that of a file that was changed since is not finished");
        // The same file once more, on the same lease: it is listed already.
        finding::begin(&catalogue, path, None, false, &owned(one)).unwrap();
        assert_eq!(catalogue.begun("a").unwrap(), [other]);
        catalogue.forget_begun(&[other]).unwrap();
        assert_eq!(catalogue.listed().unwrap(), std::slice::from_ref(&finished));
        catalogue.forget(&finished.key.to_string()).unwrap();
        assert_eq!(catalogue.listed().unwrap(), [], "no line of what was begun comes back");
    }

    #[test]
    fn a_folder_that_was_begun_goes_on_with_its_lease_unless_that_was_ended() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::of(folder.path());
        let (secret, path) = (draw().unwrap(), Path::new("/x/photos"));
        finding::begin(&catalogue, path, None, true, &owned(secret)).unwrap();
        assert_eq!(catalogue.begun_folder(Path::new("/x/other")).unwrap(), None);
        assert_eq!(catalogue.begun_folder(path).unwrap(), Some(secret));
        catalogue.end(&[secret]).unwrap();
        assert_eq!(catalogue.begun_folder(path).unwrap(), None);
    }
}
