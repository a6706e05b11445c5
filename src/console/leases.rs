//! Leases of those who store: what a `store` lays on its blocks, and what `renew`, `delete` and `copies` tell their
//! holders.
//!
//! Beside the catalogue lies a secret of its owner's, `owner`. From that and from what a file is on the disk comes the
//! secret of its lease, so that a file which is stored again unchanged gets the same lease and no further one.

mod begin;
mod delete;
mod renew;

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;

use super::Backend;
use super::catalogue::{Catalogue, Entry, MOST_HELD, Owned, StillHeld, find_among};
use super::escape::quoted;
use super::perform::Performer;
use super::reply::LineReply;
use super::terms::Change;
use super::text::{count, lines, who};
use crate::config::MAX_BLOCK_SIZE;
use crate::id::Key;
use crate::lease::{Lease, Secret, UnixTime};
use crate::node::{Answer, Command, Failure, FailureKind, LeaseChange};
use crate::raw_text;
use crate::runtime::both_since_1970;

/// Another command that changes the same leases is waited for so long.
const ANOTHER_MAY_TAKE: Duration = Duration::from_secs(30);

impl<B: Backend> Performer<B> {
    /// Tells the holders of files what becomes of the leases that were laid from here.
    pub(super) fn change_leases(&self, words: &[String], change: &Change) -> LineReply {
        let Some(catalogue) = &self.catalogue else {
            return LineReply::failed(FailureKind::Other, "there is no catalogue, so no lease is known");
        };
        let read = || if *change == Change::Delete { catalogue.listed() } else { catalogue.entries() };
        let (_held, entries) = match hold(catalogue, words, read) {
            Ok(held) => held,
            Err(failure) => return LineReply::Node(Answer::Failed(failure)),
        };
        match *change {
            Change::Renew(lasting) => self.renew(catalogue, &entries, words, lasting),
            Change::Delete => self.delete_all(catalogue, entries, words),
            Change::Copies(copies) => LineReply::one_or_all(self.one_by_one(words, |word| {
                let changed = self.change_copies(catalogue, &entries, word, copies);
                LineReply::of_file(raw_text::path(word), changed.unwrap_or_else(Answer::Failed))
            })),
        }
    }

    /// Has another number of copies kept of all that is stored under the key that `word` names: on a new lease, for
    /// terms only get better.
    fn change_copies(
        &self,
        catalogue: &Catalogue,
        entries: &[Entry],
        word: &str,
        copies: u8,
    ) -> Result<Answer, Failure> {
        let cannot = |error: io::Error| Failure::new(FailureKind::Other, catalogue.cannot("write", &error));
        let (key, of_key) = of_word(entries, word, || catalogue.find(word))?;
        let secrets = secrets_of(&of_key);
        if secrets.is_empty() {
            return Err(without_lease(word));
        }
        let ends: Vec<Secret> =
            secrets.iter().copied().filter(|secret| !is_on_other_key(entries, key, secret)).collect();
        let keys = self.parts(key, of_key.iter().any(|entry| entry.folder))?;
        // From here on no store gets them: what is remembered on them is so by now, and looked at below.
        catalogue.end(&ends).map_err(cannot)?;
        let new = draw().map_err(cannot)?;
        let mut best: Option<Owned> = None;
        let add = |entry: &mut Entry| {
            let Some(lease) = &mut entry.lease else { return };
            best.get_or_insert_with(|| lease.clone()).join(lease);
            // Should this end half-way, what ends the new lease is known.
            lease.secrets.push(new);
        };
        catalogue.change(&key, add).map_err(cannot)?;
        let Some(best) = best else { return Err(not_from_here(word)) };
        let before = best.copies;
        let next = Owned { secrets: vec![new], copies, ..best };
        let laid = self.lay(&keys, Lease { id: new.id(), until: next.until, copies })?;
        let changes = each_of(&keys, ends.into_iter().map(LeaseChange::Ended));
        let answer = match changes.is_empty() {
            true => laid,
            false => self.ask(Command::Lease { changes, listed: BTreeSet::new(), copies: before }),
        };
        if let Some(failure) = unheard(&answer) {
            return Err(failure);
        }
        // A holder that has not heard can be told again, as long as the catalogue has what ends the leases.
        let is_over = answer.verdict().is_none();
        let settle = |entry: &mut Entry| {
            let Some(lease) = &mut entry.lease else { return };
            // Others may have been laid or ended meanwhile.
            lease.secrets.retain(|secret| !(is_over && secrets.contains(secret)));
            if lease.secrets.is_empty() || lease.secrets.contains(&new) {
                lease.join(&next);
                lease.copies = copies;
            }
        };
        catalogue.change(&key, settle).map_err(cannot)?;
        Ok(answer)
    }

    /// Lays a lease on all blocks of these files. Where that cannot be, those that they have are to stay.
    fn lay(&self, keys: &[Key], lease: Lease) -> Result<Answer, Failure> {
        match self.ask(Command::Lay { keys: keys.to_vec(), lease }) {
            laid @ Answer::Leased { unread: 0, missing: 0, .. } => Ok(laid),
            Answer::Failed(failure) => Err(failure),
            Answer::Leased { unread, missing, .. } => {
                let reason = format!(
                    "no copy of {} was found, so their number stays what it is; check tells which",
                    count(unread.max(missing), "block")
                );
                Err(Failure::new(FailureKind::Unknown, reason))
            }
            _ => Err(Failure::new(
                FailureKind::Other,
                "by a fault of kadring, no lease was laid; give the command again".to_owned(),
            )),
        }
    }
}

/// Keeps other commands from changing the leases of what these words name, or of all where there are none or many,
/// until what is returned is dropped. With it, the entries of the catalogue as they are then.
fn hold(
    catalogue: &Catalogue,
    words: &[String],
    read: impl Fn() -> io::Result<Vec<Entry>>,
) -> Result<(Option<File>, Vec<Entry>), Failure> {
    let cannot = |error: io::Error| Failure::new(FailureKind::Other, catalogue.cannot("read", &error));
    let seen = catalogue.version().map_err(cannot)?;
    let entries = read().map_err(cannot)?;
    let all: Vec<&Entry> = entries.iter().collect();
    let named = |word: &String| word.parse().ok().or_else(|| find_among(&all, word).ok().flatten());
    let keys = (1..=MOST_HELD).contains(&words.len()).then(|| words.iter().filter_map(named).collect());
    let held = catalogue.hold(keys.as_ref(), ANOTHER_MAY_TAKE).map_err(|StillHeld| {
        let reason = "another command changes these leases, and goes on; try again once it has ended";
        Failure::new(FailureKind::TimedOut, reason.to_owned())
    })?;
    // The command that held them may have changed them.
    let is_as_seen = catalogue.version().map_err(cannot)? == seen;
    Ok((held, if is_as_seen { entries } else { read().map_err(cannot)? }))
}

/// The key that a word names, and all entries of it. If it is no key, `find` tells.
fn of_word<'a>(
    entries: &'a [Entry],
    word: &str,
    find: impl FnOnce() -> Result<Option<Key>, String>,
) -> Result<(Key, Vec<&'a Entry>), Failure> {
    let found = word.parse().map_or_else(|_| find(), |key| Ok(Some(key)));
    let key = found.map_err(|reason| Failure::new(FailureKind::Usage, reason))?;
    let of_key: Vec<&Entry> = entries.iter().filter(|entry| !entry.begun && Some(entry.key) == key).collect();
    key.filter(|_| !of_key.is_empty()).map(|key| (key, of_key)).ok_or_else(|| not_from_here(word))
}

/// Whether another key than this is on the lease too: that of a file which was stored under two keys may be.
fn is_on_other_key(entries: &[Entry], key: Key, secret: &Secret) -> bool {
    let others = entries.iter().filter(|entry| !entry.begun && entry.key != key);
    others.flat_map(Entry::secrets).any(|other| other == secret)
}

/// What ends the leases of these, each once.
fn secrets_of(entries: &[&Entry]) -> Vec<Secret> {
    let secrets: BTreeSet<Secret> = entries.iter().flat_map(|entry| entry.secrets()).copied().collect();
    secrets.into_iter().collect()
}

/// Each of these changes, of each of these keys.
fn each_of(keys: &[Key], changes: impl Iterator<Item = LeaseChange> + Clone) -> Vec<(Key, LeaseChange)> {
    keys.iter().flat_map(|key| changes.clone().map(|change| (*key, change))).collect()
}

/// What tells a file on the disk from others, and from what it was before it was changed.
fn stamp(path: &Path, there: &Metadata) -> Vec<u8> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let numbers =
        [there.dev(), there.ino(), there.size(), there.mtime() as u64, there.mtime_nsec() as u64, there.ctime() as u64];
    // A file that fits a block once had a list, and another key. What is ended on one of its keys leaves the other.
    let fits = (there.size() < u64::from(MAX_BLOCK_SIZE)).then_some(1);
    let numbers = numbers.into_iter().chain([there.ctime_nsec() as u64]).chain(fits);
    numbers.flat_map(u64::to_be_bytes).chain(path.as_os_str().as_bytes().iter().copied()).collect()
}

/// A new secret.
pub(super) fn draw() -> io::Result<Secret> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(Secret::from_bytes(bytes))
}

/// The time by a clock that may be ahead, never by one that was set back: what lasts for a while lasts so long at
/// least.
pub(super) fn now() -> UnixTime {
    both_since_1970().1.as_secs()
}

fn not_from_here(word: &str) -> Failure {
    Failure::new(
        FailureKind::NotFound,
        format!("{} was not stored from here, as far as the catalogue knows", quoted(word)),
    )
}

fn without_lease(word: &str) -> Failure {
    let reason = format!("{} was stored without a lease, by an older program: store it again first", quoted(word));
    Failure::new(FailureKind::Other, reason)
}

/// That no holder of what was named has heard, if that is so.
fn unheard(answer: &Answer) -> Option<Failure> {
    let Answer::Leased { copies: 0, silent, .. } = answer else { return None };
    Some(if silent.is_empty() {
        let reason = "no peer that is known keeps any of it; try again once a holder is back, or forget it";
        Failure::new(FailureKind::NotFound, reason.to_owned())
    } else {
        let silent = silent.iter().map(who).collect::<Vec<_>>().join(", ");
        Failure::new(FailureKind::TimedOut, format!("nobody who keeps it answered (no answer from {silent})"))
    })
}

/// What holders heard of leases, for people.
pub(super) fn told(answer: &Answer, named: Option<&str>) -> String {
    let Answer::Leased { copies, free, peers, silent, unread, missing, .. } = answer else { return String::new() };
    if (*peers, *copies, named) == (0, 0, None) && answer.verdict().is_none() {
        return "nobody had to be told: there is nothing to renew or to end".to_owned();
    }
    let named = named.map_or_else(String::new, |name| format!("{name}: "));
    let kept = match (copies, free) {
        (0, _) if answer.verdict().is_none() => "; none is left".to_owned(),
        (0, _) => String::new(),
        (_, 0) => "; all of them are kept on".to_owned(),
        (copies, free) if copies == free => "; nobody else keeps them: the last copies go after a while".to_owned(),
        (_, free) => format!("; nobody else keeps {free} of them: those go after a while"),
    };
    let head =
        format!("{named}{} told, with {} of its blocks{kept}", count(*peers as u64, "peer"), count(*copies, "copy"));
    let silent = silent.iter().map(|peer| format!("no answer from {}", who(peer)));
    let unread = (*unread > 0).then(|| format!("{} could not be had", count(*unread, "list")));
    let missing = (*missing > 0).then(|| format!("no holder of {} was found", count(*missing, "block")));
    let again = answer.verdict().map(|_| "not all have heard of it: give the command again later".to_owned());
    lines([head].into_iter().chain(silent).chain(unread).chain(missing).chain(again))
}

#[cfg(test)]
mod tests;
