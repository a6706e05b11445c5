//! Leases of those who store: what a `store` lays on its blocks, and what `renew`, `delete` and `copies` tell their
//! holders.
//!
//! Beside the catalogue lies a secret of its owner's, `owner`. From that and from what a file is on the disk comes the
//! secret of its lease, so that a file which is stored again unchanged gets the same lease and no further one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rand::TryRng;
use rand::rngs::SysRng;

use super::Backend;
use super::begun::Line;
use super::catalogue::{Catalogue, Entry, Owned, find_among};
use super::escape::quoted;
use super::finding;
use super::perform::Performer;
use super::reply::Reply;
use super::terms::{Change, Lasting, Terms};
use super::text::{count, lines, who};
use crate::id::Key;
use crate::lease::{LAST, Lease, Secret, UnixTime};
use crate::node::{Answer, Command, Failure, FailureKind, LeaseChange};
use crate::raw_text;
use crate::runtime::both_since_1970;

impl<B: Backend> Performer<B> {
    /// The lease that `path` gets when it is stored on these terms under a name, and its secret. The catalogue has it
    /// on the disk when this returns. None where nothing remembers it, or there is nothing to store.
    pub(super) fn lease_on(&self, path: &Path, name: Option<&String>, terms: Terms) -> Option<(Owned, Lease)> {
        self.begin_on(path, name, terms).map(|(owned, lease, mut line)| {
            line.sync();
            (owned, lease)
        })
    }

    /// [`lease_on`](Self::lease_on), with the line of the catalogue, which is still to be synced.
    pub(super) fn begin_on(&self, path: &Path, name: Option<&String>, terms: Terms) -> Option<(Owned, Lease, Line)> {
        let catalogue = self.catalogue.as_ref()?;
        let there = fs::metadata(path).ok()?;
        let secret = match () {
            () if there.is_dir() => catalogue.begun_folder(path).and_then(|begun| begun.map_or_else(draw, Ok)),
            () if !there.is_file() => return None,
            // What is piped has nothing to be known by again.
            () if path.starts_with("/proc") => draw(),
            () => {
                File::open(path).ok()?;
                catalogue.secret(&stamp(path, &there))
            }
        };
        let begun = secret.and_then(|secret| {
            let lease = terms.lease(&secret, now());
            let lasts = terms.lasts.map(|lasts| lasts.as_secs());
            let owned = Owned { secrets: vec![secret], until: lease.until, lasts, copies: lease.copies };
            let line = finding::begin(catalogue, path, name.cloned(), there.is_dir(), &owned)?;
            Ok((owned, lease, line))
        });
        begun
            .inspect_err(|error| {
                let cannot = catalogue.cannot("write", error);
                log::warn!("it is stored without a lease, for ever: {cannot}");
            })
            .ok()
    }

    /// Tells the holders of files what becomes of the leases that were laid from here.
    pub(super) fn change_leases(&self, words: &[String], change: &Change) -> Reply {
        let Some(catalogue) = &self.catalogue else {
            return Reply::failed(FailureKind::Other, "there is no catalogue, so no lease is known");
        };
        let entries = match catalogue.entries() {
            Ok(entries) => entries,
            Err(error) => return Reply::failed(FailureKind::Other, catalogue.cannot("read", &error)),
        };
        if words.is_empty() {
            return self.renew_all(catalogue, &entries, change, Vec::new());
        }
        if matches!(change, Change::Renew(_)) && words.len() > 1 {
            let (entries, failures) = meant(&entries, words);
            return self.renew_all(catalogue, &entries, change, failures);
        }
        let answers = self.one_by_one(words, |word| {
            let answer = self.change_one(catalogue, &entries, word, change).unwrap_or_else(Answer::Failed);
            Reply::of_file(raw_text::path(word), answer)
        });
        Reply::one_or_all(answers)
    }

    fn change_one(
        &self,
        catalogue: &Catalogue,
        entries: &[Entry],
        word: &str,
        change: &Change,
    ) -> Result<Answer, Failure> {
        if *change == Change::Delete
            && let Some(answer) = self.delete_begun(catalogue, entries, word)?
        {
            return Ok(answer);
        }
        let found = word.parse().map_or_else(|_| catalogue.find(word), |key| Ok(Some(key)));
        let key = found.map_err(|reason| Failure::new(FailureKind::Usage, reason))?;
        let of_key: Vec<&Entry> = entries.iter().filter(|entry| Some(entry.key) == key).collect();
        let Some((key, latest)) = key.zip(of_key.last()) else {
            return Err(not_from_here(word));
        };
        let secrets: Vec<Secret> =
            of_key.iter().filter_map(|entry| entry.lease.as_ref()).flat_map(|lease| lease.secrets.clone()).collect();
        let Some(own) = latest.lease.as_ref().filter(|_| !secrets.is_empty()) else {
            return Err(without_lease(word));
        };
        let (changes, next) =
            next_terms(own, &secrets, change).map_err(|error| Failure::new(FailureKind::Other, error.to_string()))?;
        let keys = self.parts(key, latest.folder)?;
        let cannot = |error: io::Error| Failure::new(FailureKind::Other, catalogue.cannot("write", &error));
        if let (Change::Copies(_), Some(next)) = (change, &next) {
            // Should this end half-way, what ends the new lease is known.
            let both = Owned { secrets: [&secrets[..], &next.secrets].concat(), ..own.clone() };
            catalogue.change(&key, |entry| entry.lease = Some(both.clone())).map_err(cannot)?;
            self.lay(&keys, next)?;
        }
        if !matches!(change, Change::Renew(_)) {
            catalogue.end(&secrets).map_err(cannot)?;
        }
        let pairs = keys.iter().flat_map(|key| changes.iter().map(|change| (*key, *change))).collect();
        let answer = self.ask(Command::Lease { changes: pairs });
        if let Some(failure) = unheard(&answer) {
            return Err(failure);
        }
        // Whoever has not heard can be told again, as long as the catalogue has the lease as it was.
        let is_over = answer.verdict().is_none();
        let noted = match next {
            Some(next) if is_over || matches!(change, Change::Copies(_)) => {
                catalogue.change(&key, |entry| entry.lease = Some(next.clone()))
            }
            None if is_over => catalogue.forget(&key.to_string()).map(|_| ()),
            _ => Ok(()),
        };
        noted.map_err(cannot)?;
        Ok(answer)
    }

    /// Ends the leases of what was begun under a name and not finished. The answer, if nothing that was finished has
    /// that name.
    fn delete_begun(&self, catalogue: &Catalogue, entries: &[Entry], name: &str) -> Result<Option<Answer>, Failure> {
        let cannot = |what| move |error: io::Error| Failure::new(FailureKind::Other, catalogue.cannot(what, &error));
        let secrets = catalogue.begun(name).map_err(cannot("read"))?;
        if secrets.is_empty() {
            return Ok(None);
        }
        catalogue.end(&secrets).map_err(cannot("write"))?;
        let answer = self.ask(Command::Disown { secrets: secrets.clone() });
        // Where no block was left on it, nobody has anything to end.
        if answer.verdict().is_none() {
            catalogue.forget_begun(&secrets).map_err(cannot("write"))?;
        }
        Ok((!entries.iter().any(|entry| entry.name == name)).then_some(answer))
    }

    /// Lays a lease on all blocks of these files. Where that cannot be, those that they have are to stay.
    fn lay(&self, keys: &[Key], owned: &Owned) -> Result<(), Failure> {
        let Some(lease) = owned.lease() else { return Ok(()) };
        match self.ask(Command::Lay { keys: keys.to_vec(), lease }) {
            Answer::Leased { unread: 0, missing: 0, .. } => Ok(()),
            Answer::Failed(failure) => Err(failure),
            Answer::Leased { unread, missing, .. } => {
                let reason = format!(
                    "no copy of {} was found, so their number stays what it is; check tells which",
                    count(unread.max(missing), "block")
                );
                Err(Failure::new(FailureKind::Unknown, reason))
            }
            _ => Err(Failure::new(FailureKind::Other, "by a fault of kadring, no lease was laid".to_owned())),
        }
    }

    /// Renews all of these whose leases end, at once. What cannot be is told, with the `failures` before, and keeps no
    /// other from it.
    fn renew_all(&self, catalogue: &Catalogue, entries: &[Entry], change: &Change, mut failures: Vec<Reply>) -> Reply {
        let (answer, renewed, failed) = self.tell_holders(entries, change);
        failures.extend(failed);
        if !renewed.is_empty()
            && let Some(failure) = unheard(&answer)
        {
            return Reply::from(failure);
        }
        if answer.verdict().is_none()
            && let Err(error) = catalogue.change_all(&renewed)
        {
            return Reply::failed(FailureKind::Other, catalogue.cannot("write", &error));
        }
        Reply::one_or_all([Reply::Node(answer)].into_iter().chain(failures).collect())
    }

    /// Tells the holders of all of these whose leases end, at once. With their answer, what the catalogue then says of
    /// them, and which could not be told.
    pub(super) fn tell_holders(
        &self,
        entries: &[Entry],
        change: &Change,
    ) -> (Answer, BTreeMap<Key, Owned>, Vec<Reply>) {
        let (mut pairs, mut renewed, mut failures) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (key, (own, folder)) in by_key(entries) {
            let told = next_terms(&own, &own.secrets, change)
                .map_err(|error| Failure::new(FailureKind::Other, error.to_string()));
            match told.and_then(|told| self.parts(key, folder).map(|keys| (told, keys))) {
                Ok(((changes, next), keys)) => {
                    pairs.extend(keys.iter().flat_map(|key| changes.iter().map(|change| (*key, *change))));
                    renewed.extend(next.map(|next| (key, next)));
                }
                Err(failure) => failures.push(Reply::of_file(key.to_string().into(), Answer::Failed(failure))),
            }
        }
        (self.ask(Command::Lease { changes: pairs }), renewed, failures)
    }
}

/// The entries of all that these words name, each once, and what is wrong with the other words.
fn meant(entries: &[Entry], words: &[String]) -> (Vec<Entry>, Vec<Reply>) {
    let mut by_name: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        by_name.entry(&entry.name).or_default().push(entry);
    }
    let all: Vec<&Entry> = entries.iter().collect();
    let known: BTreeSet<Key> = entries.iter().map(|entry| entry.key).collect();
    let leased = entries.iter().filter(|entry| Entry::secrets(entry).next().is_some());
    let leased: BTreeSet<Key> = leased.map(|entry| entry.key).collect();
    let (mut keys, mut failures) = (BTreeSet::new(), Vec::new());
    for word in words {
        let found = word.parse().map(Some).or_else(|_| find_among(by_name.get(&**word).unwrap_or(&all), word));
        let failure = match found {
            Ok(Some(key)) if leased.contains(&key) => {
                keys.insert(key);
                continue;
            }
            Ok(Some(key)) if known.contains(&key) => without_lease(word),
            Ok(_) => not_from_here(word),
            Err(reason) => Failure::new(FailureKind::Usage, reason),
        };
        failures.push(Reply::of_file(raw_text::path(word), Answer::Failed(failure)));
    }
    (entries.iter().filter(|entry| keys.contains(&entry.key)).cloned().collect(), failures)
}

/// The leases that end, of each key those of all its entries; and whether it is a folder's.
fn by_key(entries: &[Entry]) -> BTreeMap<Key, (Owned, bool)> {
    let mut found: BTreeMap<Key, (Owned, bool)> = BTreeMap::new();
    let ends = |entry: &&Entry| entry.lease.as_ref().is_some_and(|lease| lease.until.is_some());
    for entry in entries.iter().filter(ends) {
        let Some(own) = &entry.lease else { continue };
        let (known, _) = found.entry(entry.key).or_insert_with(|| (own.clone(), entry.folder));
        known.secrets.extend(own.secrets.iter().copied());
        known.secrets.sort_unstable();
        known.secrets.dedup();
    }
    found
}

/// What holders are told of these leases, and what the catalogue then says; nothing where they have ended.
fn next_terms(own: &Owned, secrets: &[Secret], change: &Change) -> io::Result<(Vec<LeaseChange>, Option<Owned>)> {
    let ended = || secrets.iter().copied().map(LeaseChange::Ended).collect();
    Ok(match *change {
        Change::Delete => (ended(), None),
        // Terms only get better: fewer copies take another lease.
        Change::Copies(copies) => (ended(), Some(Owned { secrets: vec![draw()?], copies, ..own.clone() })),
        Change::Renew(lasting) => {
            let lasts = match lasting {
                None => own.lasts,
                Some(Lasting::Ever) => None,
                Some(Lasting::For(lasts)) => Some(lasts.as_secs()),
            };
            let until = lasts.map(|lasts| now().saturating_add(lasts)).filter(|until| *until <= LAST);
            let lease = |secret: &Secret| Lease { id: secret.id(), until, copies: own.copies };
            // It never ends earlier than it did.
            let until = until.zip(own.until).map(|(until, own)| until.max(own));
            let lasts = lasts.filter(|_| until.is_some());
            let next = Owned { secrets: secrets.to_vec(), until, lasts, copies: own.copies };
            (secrets.iter().map(|secret| LeaseChange::Renewed(lease(secret))).collect(), Some(next))
        }
    })
}

/// What tells a file on the disk from others, and from what it was before it was changed.
fn stamp(path: &Path, there: &Metadata) -> Vec<u8> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let numbers =
        [there.dev(), there.ino(), there.size(), there.mtime() as u64, there.mtime_nsec() as u64, there.ctime() as u64];
    let numbers = numbers.into_iter().chain([there.ctime_nsec() as u64]);
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

/// That nobody who keeps what was named has heard, if that is so.
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
    let Answer::Leased { copies, free, peers, silent, unread, .. } = answer else { return String::new() };
    let named = named.map_or_else(String::new, |name| format!("{name}: "));
    let kept = match (copies, free) {
        (0, _) => String::new(),
        (_, 0) => "; all of them are kept on".to_owned(),
        (copies, free) if copies == free => "; nobody else keeps them: the last copies go after a while".to_owned(),
        (_, free) => format!("; nobody else keeps {free} of them: those go after a while"),
    };
    let head =
        format!("{named}{} told, with {} of its blocks{kept}", count(*peers as u64, "peer"), count(*copies, "copy"));
    let silent = silent.iter().map(|peer| format!("no answer from {}", who(peer)));
    let unread = (*unread > 0).then(|| format!("{} could not be had", count(*unread, "list")));
    let again = answer.verdict().map(|_| "not all have heard of it: give the command again later".to_owned());
    lines([head].into_iter().chain(silent).chain(unread).chain(again))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(secrets: &[Secret]) -> Owned {
        Owned { secrets: secrets.to_vec(), until: Some(u64::MAX - 1), lasts: Some(60), copies: 3 }
    }

    #[test]
    fn the_same_file_has_the_same_secret_until_it_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "1").unwrap();
        let stamp = || stamp(&path, &fs::metadata(&path).unwrap());
        let before = stamp();
        assert_eq!(stamp(), before);
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "2").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_ne!(stamp(), before, "under an old time stamp too");
    }

    #[test]
    fn a_file_with_several_entries_is_renewed_with_the_leases_of_all_of_them() {
        let (one, two) = (draw().unwrap(), draw().unwrap());
        let entry = |name: &str, lease| Entry {
            name: name.to_owned(),
            path: name.into(),
            key: Key::ZERO,
            sha256: Key::ZERO,
            bytes: 1,
            copies: 1,
            stored: 1,
            folder: false,
            begun: false,
            lease,
        };
        let for_ever = Owned { until: None, ..owned(&[draw().unwrap()]) };
        let entries = [
            entry("a", Some(owned(&[one]))),
            entry("b", Some(owned(&[two]))),
            entry("c", Some(for_ever)),
            entry("d", None),
        ];
        let found = by_key(&entries);
        let mut expected = vec![one, two];
        expected.sort_unstable();
        assert_eq!(found.values().map(|(own, _)| own.secrets.clone()).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_renewed_lease_never_ends_earlier_and_a_deleted_one_ends_with_all_of_its_secrets() {
        let (one, two) = (draw().unwrap(), draw().unwrap());
        let own = owned(&[one, two]);
        let (changes, next) = next_terms(&own, &own.secrets, &Change::Renew(None)).unwrap();
        assert_eq!((changes.len(), next.clone().unwrap().until), (2, own.until));
        let (_, next) = next_terms(&own, &own.secrets, &Change::Renew(Some(Lasting::Ever))).unwrap();
        assert_eq!(next.unwrap().until, None);
        let (changes, next) = next_terms(&own, &own.secrets, &Change::Delete).unwrap();
        assert_eq!((changes, next), (own.secrets.iter().copied().map(LeaseChange::Ended).collect(), None));
    }
}
