//! Stores that were begun: the catalogue has their leases from before the first block leaves.
//!
//! A command that stores a file lays a lease on each block as it goes. Should it end half-way, those blocks are on a
//! lease all the same, which the user must be able to end. So a line is written first, without a key, for there is none
//! yet. The line of the finished file has the same secret, and with that the first one is done with.
//!
//! A process that reads the catalogue finds that first line at once, should this process be killed too. For a power cut
//! it is synced while the blocks are on their way, unless the line of the finished file, which is synced before the
//! answer, comes as soon: a small file then waits for the disk once less.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, after, never, select};

use super::catalogue::{Catalogue, Entry, Owned};
use super::finding;
use super::perform::Shows;
use crate::lease::Secret;
use crate::node::Notice;

/// The line of a store that takes longer than this is synced before the store has ended.
const SOON: Duration = Duration::from_millis(20);

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

/// What ends the leases of all that was begun under a name and not finished.
pub(super) fn begun(entries: &[Entry], name: &str) -> Vec<Secret> {
    let begun = entries.iter().filter(|entry| entry.begun && entry.name == name);
    begun.flat_map(Entry::secrets).copied().collect()
}

/// A line of the catalogue that was written. It is synced when it is dropped, unless that was done before.
pub(super) struct EntryLine {
    /// What brings it to the disk.
    sync: Option<Box<dyn FnOnce() -> io::Result<()>>>,
    /// What takes it out of the catalogue again.
    undo: Option<Box<dyn FnOnce() -> io::Result<()>>>,
    /// Tells the user what of that could not be done.
    shows: Option<Arc<dyn Shows>>,
}

impl EntryLine {
    /// A line that `sync` brings to the disk and `undo` takes out of the catalogue again.
    pub(super) fn new(
        sync: impl FnOnce() -> io::Result<()> + 'static,
        undo: impl FnOnce() -> io::Result<()> + 'static,
    ) -> Self {
        Self { sync: Some(Box::new(sync)), undo: Some(Box::new(undo)), shows: None }
    }

    /// The same; its user is told by `shows` what cannot be done.
    pub(super) fn told_by(mut self, shows: Arc<dyn Shows>) -> Self {
        self.shows = Some(shows);
        self
    }

    fn say(&self, trouble: &str) {
        self.shows.iter().for_each(|shows| shows.say(trouble));
    }

    /// Brings it to the disk. That it could not be is told.
    pub(super) fn sync(&mut self) {
        if let Some(Err(error)) = self.sync.take().map(|sync| sync()) {
            self.say(&format!("a power cut may take what ends the lease of this store out of the catalogue: {error}"));
        }
    }

    /// Lets go of it unsynced: a later line is on the disk, and with that this one.
    pub(super) fn release(mut self) {
        self.sync = None;
    }

    /// Takes it back: of what it is about, nothing left this peer.
    pub(super) fn withdraw(mut self) {
        self.sync = None;
        if let Some(Err(error)) = self.undo.take().map(|undo| undo()) {
            self.say(&format!("what was refused stays in the catalogue as begun: {error}"));
        }
    }

    /// What the node says of a store, to its answer; the store's line is synced meanwhile if that takes longer.
    pub(super) fn synced_beside(line: &mut Option<Self>, notices: Receiver<Notice>) -> impl Iterator<Item = Notice> {
        let late = if line.is_some() { after(SOON) } else { never() };
        std::iter::from_fn(move || {
            loop {
                select! {
                    recv(notices) -> notice => return notice.ok(),
                    recv(late) -> _ => line.iter_mut().for_each(Self::sync),
                }
            }
        })
    }
}

impl Drop for EntryLine {
    fn drop(&mut self) {
        self.sync();
    }
}

impl Entry {
    /// What ends its leases.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.lease.iter().flat_map(|lease| &lease.secrets)
    }
}

impl Catalogue {
    /// The secret on which the folder at `path` was begun to be stored and not finished, unless its lease was ended.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub(super) fn begun_folder(&self, path: &Path) -> io::Result<Option<Secret>> {
        let (ended, path, listed) = (self.ended()?, finding::place_of(path), self.listed()?);
        let begun = listed.iter().filter(|entry| entry.begun && entry.folder && entry.path == path);
        Ok(begun.flat_map(Entry::secrets).find(|secret| !ended.names(&secret.id())).copied())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use crossbeam_channel::{TryRecvError, bounded};

    use super::super::leases::draw;
    use super::*;
    use crate::id::Id;
    use crate::node::Answer;

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
        assert_eq!(sorted(begun(&catalogue.listed().unwrap(), "a")), sorted(vec![one, other]), "each lease is known");
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
        assert_eq!(
            begun(&catalogue.listed().unwrap(), "a"),
            [other],
            "that of a file that was changed since is not finished"
        );
        // The same file once more, on the same lease: it is listed already.
        finding::begin(&catalogue, path, None, false, &owned(one)).unwrap();
        assert_eq!(begun(&catalogue.listed().unwrap(), "a"), [other]);
        catalogue.edit(|entries| forget(entries, |secret| *secret == other)).unwrap();
        assert_eq!(catalogue.listed().unwrap(), std::slice::from_ref(&finished));
        catalogue.forget(&finished.key.to_string()).unwrap();
        assert_eq!(catalogue.listed().unwrap(), [], "no line of what was begun comes back");
    }

    /// A line, and what hears that it is synced.
    fn line() -> (Option<EntryLine>, Receiver<()>) {
        let (synced, hears) = bounded(1);
        (Some(EntryLine::new(move || synced.try_send(()).map_err(io::Error::other), || Ok(()))), hears)
    }

    fn answer() -> Notice {
        Notice::Answer { command: 1, answer: Answer::Cleared { blocks: 0, kept: 0 } }
    }

    #[test]
    fn the_line_of_a_store_that_takes_long_is_synced_before_the_store_has_ended() {
        let ((mut line, synced), (says, notices)) = (line(), bounded(1));
        thread::scope(|scope| {
            scope.spawn(move || {
                // A node that is done once the line is on the disk.
                synced.recv_timeout(Duration::from_secs(30)).expect("the line is synced meanwhile");
                says.send(answer()).expect("it is awaited");
            });
            assert_eq!(EntryLine::synced_beside(&mut line, notices).count(), 1);
        });
    }

    #[test]
    fn the_line_of_a_store_that_ends_soon_is_synced_by_itself_only_if_no_later_one_is() {
        for (finished, expected) in [(true, Err(TryRecvError::Disconnected)), (false, Ok(()))] {
            let ((mut line, synced), (says, notices)) = (line(), bounded(1));
            says.send(answer()).unwrap();
            assert_eq!(EntryLine::synced_beside(&mut line, notices).take(1).count(), 1);
            assert_eq!(synced.try_recv(), Err(TryRecvError::Empty), "nobody waited for the disk");
            let line = line.expect("it is not synced yet");
            if finished {
                line.release()
            } else {
                drop(line)
            }
            assert_eq!(synced.try_recv(), expected);
        }
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
