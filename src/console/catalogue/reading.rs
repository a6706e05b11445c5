//! What the text of a catalogue says, and how it is read.
//!
//! A process that only reads takes no lock: however many do, no command that stores waits for them. Lines are added
//! behind the others, and a catalogue that is written anew takes its place whole. So what is read without the lock is
//! as it was at some moment; or a line of it is just being written or taken out. That looks like damage, and is read
//! again under the lock.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::entry::is_unknown;
use super::words::{Sought, find_among, fits};
use super::{Catalogue, Entry, NAME};
use crate::console::begun::forget_finished;
use crate::id::Key;
use crate::sums::{checked, is_whole};
use crate::whole_file;

impl Catalogue {
    /// What was stored, each name, path and key once, the latest last.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = self.listed()?;
        entries.retain(|entry| !entry.begun);
        Ok(entries)
    }

    /// The same, and what was begun and not finished.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub fn listed(&self) -> io::Result<Vec<Entry>> {
        self.look(|_| true)
    }

    /// The key that `word` names: a name, or the beginning of a key. None if it names nothing here.
    ///
    /// # Errors
    /// For people: it names several keys, or the catalogue cannot be read.
    pub fn find(&self, word: &str) -> Result<Option<Key>, String> {
        let find = |entries: io::Result<Vec<Entry>>| {
            let entries = entries.map_err(|error| self.cannot("read", &error))?;
            find_among(&entries.iter().collect::<Vec<_>>(), word)
        };
        let sought = Sought::new(word);
        // Whether what was begun was finished, a line without the word may tell; here as below.
        find(self.look(|line| sought.may_be_in(line))).or_else(|_| find(self.listed()))
    }

    /// What is listed under names that fit `pattern`.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub fn fitting(&self, pattern: &str) -> io::Result<Vec<Entry>> {
        let sought = Sought::start_of(pattern);
        let fitting = |mut entries: Vec<Entry>| {
            entries.retain(|entry| fits(&entry.name, pattern));
            entries
        };
        let found = fitting(self.look(|line| sought.may_be_in(line))?);
        if found.iter().any(|entry| entry.begun) { self.listed().map(fitting) } else { Ok(found) }
    }

    /// What the lines say that `is_meant` holds for, which are all lines of one name, path and key, or none; and
    /// perhaps what others say.
    fn look(&self, is_meant: impl Fn(&str) -> bool) -> io::Result<Vec<Entry>> {
        // A catalogue that may not be looked at is not empty.
        if !self.path().try_exists()? {
            return match self.bell {
                None => Ok(Vec::new()),
                Some(_) => self.make_folder().map(|()| Vec::new()),
            };
        }
        let text = whole_file::read_own(&self.path(), whole_file::MAX_GROWING_FILE)?;
        let (entries, damaged) = entries_in(&text, is_meant);
        if damaged == 0 && !text.is_empty() {
            return Ok(entries);
        }
        let _lock = match self.lock() {
            // No process changes what none may write.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => None,
            lock => Some(lock?),
        };
        self.read()
    }

    /// Reads the file, under the lock. Where a line is damaged, all of it is copied aside and the sound lines stay.
    pub(in crate::console) fn read(&self) -> io::Result<Vec<Entry>> {
        let text = whole_file::read_own(&self.path(), whole_file::MAX_GROWING_FILE)?;
        if text.is_empty() {
            self.tell_emptied();
        }
        let (entries, damaged) = entries_in(&text, |_| true);
        if damaged > 0 {
            self.set_aside(NAME, damaged, || self.write(&entries))?;
        }
        Ok(entries)
    }
}

/// What the lines of a text say that are meant, the latest of each name, path and key where it came; and how many of
/// all its lines are damaged. To read what a line says takes the most time, to compare it with its sum little.
fn entries_in(text: &[u8], is_meant: impl Fn(&str) -> bool) -> (Vec<Entry>, usize) {
    let (mut entries, mut damaged) = (Vec::new(), 0);
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line = std::str::from_utf8(line).ok();
        // A line that was cut has no sum: it is read in any case.
        if line.is_some_and(|line| !is_meant(line) && is_whole(line)) {
            continue;
        }
        match line.and_then(checked).and_then(entry_of) {
            Some(entry) => entries.push(entry),
            None => damaged += 1,
        }
    }
    let mut entries = latest(entries);
    forget_finished(&mut entries);
    (entries, damaged)
}

/// The latest entry of each name, path and key.
fn latest(entries: Vec<Entry>) -> Vec<Entry> {
    let mut places: HashMap<(&str, &Path, Key), usize> = HashMap::with_capacity(entries.len());
    let before: Vec<Option<usize>> =
        entries.iter().enumerate().map(|(at, entry)| places.insert(entry.what(), at)).collect();
    let mut latest: Vec<Option<Entry>> = Vec::with_capacity(entries.len());
    for (entry, before) in entries.into_iter().zip(before) {
        let before = before.and_then(|at| latest[at].take());
        latest.push(Some(entry.with_leases_of(before)));
    }
    latest.into_iter().flatten().collect()
}

/// What a sound line says; none if that is no entry.
fn entry_of(line: &str) -> Option<Entry> {
    #[cfg(test)]
    tests::READ.set(tests::READ.get() + 1);
    serde_json::from_str::<Entry>(line).ok().filter(|entry| entry.begun == is_unknown(&entry.key))
}

#[cfg(test)]
pub(super) mod tests;
