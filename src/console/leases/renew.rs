//! What is stored for a while is kept longer: its leases are renewed at their holders, then in the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use super::delete::has_ended;
use super::{each_of, not_from_here, now, unheard, without_lease};
use crate::console::Backend;
use crate::console::catalogue::{Catalogue, EndedLeases, Entry, Owned, find_among};
use crate::console::escape::quoted;
use crate::console::perform::Performer;
use crate::console::reply::LineReply;
use crate::console::terms::Lasting;
use crate::id::Key;
use crate::lease::{LAST, Lease, Secret};
use crate::node::{Answer, Command, Failure, FailureKind, LeaseChange};
use crate::raw_text;

impl<B: Backend> Performer<B> {
    /// Renews the leases of all that these words name; without words, of all that end.
    pub(super) fn renew(
        &self,
        catalogue: &Catalogue,
        entries: &[Entry],
        words: &[String],
        lasting: Option<Lasting>,
    ) -> LineReply {
        let ended = match catalogue.ended() {
            Ok(ended) => ended,
            Err(error) => return LineReply::failed(FailureKind::Other, catalogue.cannot("read", &error)),
        };
        let ends = |entry: &Entry| entry.lease.as_ref().is_some_and(|lease| lease.until.is_some());
        let (entries, mut failures) = match words {
            [] => {
                let ends = entries.iter().filter(|entry| ends(entry) && !is_deleted(entry, &ended));
                (ends.cloned().collect(), Vec::new())
            }
            words => meant(entries, words, &ended),
        };
        let (answer, renewed, failed) = self.renew_at_holders(&entries, lasting);
        failures.extend(failed);
        if renewed.is_empty() && !failures.is_empty() {
            return LineReply::one_or_all(failures);
        }
        // What cannot be renewed keeps no other from it.
        let unheard = unheard(&answer).filter(|_| !renewed.is_empty());
        let is_over = unheard.is_none() && answer.verdict().is_none();
        if is_over && let Err(error) = catalogue.change_all(&renewed) {
            return LineReply::failed(FailureKind::Other, catalogue.cannot("write", &error));
        }
        let answer = unheard.map_or(answer, Answer::Failed);
        let told = match words {
            [_] if renewed.is_empty() => None,
            [word] => Some(LineReply::of_file(raw_text::path(word), answer)),
            _ => Some(LineReply::Node(answer)),
        };
        LineReply::one_or_all(told.into_iter().chain(failures).collect())
    }

    /// Has the leases of all of these last longer. With the holders' answer, the entries as they then are, and why
    /// others are not renewed.
    ///
    /// Where no lease keeps a copy though each was renewed, the file was deleted: from another copy of the catalogue,
    /// for one. Such a one is as before.
    pub(in crate::console) fn renew_at_holders(
        &self,
        entries: &[Entry],
        lasting: Option<Lasting>,
    ) -> (Answer, Vec<Entry>, Vec<LineReply>) {
        let told = self.tell_holders(entries, lasting);
        if !is_kept_by_none(&told.0) {
            return told;
        }
        let mut of_keys: BTreeMap<Key, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            of_keys.entry(entry.key).or_default().push(entry.clone());
        }
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for of_key in of_keys.into_values() {
            // The holders of one alone tell of that one.
            match is_kept_by_none(&self.tell_holders(&of_key, lasting).0) {
                true => gone.extend(of_key.first().map(|entry| deleted(&entry.name))),
                false => kept.extend(of_key),
            }
        }
        let (answer, renewed, failed) = self.tell_holders(&kept, lasting);
        (answer, renewed, gone.into_iter().chain(failed).collect())
    }

    /// Tells the holders of all of these that their leases last longer, at once. With their answer, the entries as they
    /// then are, and which could not be told.
    pub(super) fn tell_holders(
        &self,
        entries: &[Entry],
        lasting: Option<Lasting>,
    ) -> (Answer, Vec<Entry>, Vec<LineReply>) {
        let mut of_keys: BTreeMap<Key, Vec<&Entry>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.secrets().next().is_some()) {
            of_keys.entry(entry.key).or_default().push(entry);
        }
        let (mut changes, mut renewed, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        let (mut listed, mut lists) = (BTreeSet::new(), BTreeSet::new());
        for (key, of_key) in of_keys {
            match self.parts(key, of_key.iter().any(|entry| entry.folder)) {
                Ok(mut keys) => {
                    match of_key.iter().find_map(|entry| entry.only_block()) {
                        Some(block) => {
                            keys.extend(block);
                            listed.extend(keys.iter().copied());
                        }
                        None => lists.extend(keys.iter().copied()),
                    }
                    let next: Vec<Entry> = of_key.into_iter().map(|entry| renewed_for(entry, lasting)).collect();
                    let leases: BTreeSet<Lease> = next.iter().flat_map(leases_of).collect();
                    let leases = leases.iter().copied();
                    changes.extend(each_of(&keys, leases.map(LeaseChange::Renewed)));
                    renewed.extend(next);
                }
                Err(failure) => failures.push(LineReply::of_file(key.to_string().into(), Answer::Failed(failure))),
            }
        }
        // A file may hold the text of a list, and that list be a file of its own.
        let listed = &listed - &lists;
        (self.ask(Command::Lease { changes, listed, copies: 0 }), renewed, failures)
    }
}

/// The entries of all that these words name, each once, and what is wrong with the other words.
fn meant(entries: &[Entry], words: &[String], ended: &EndedLeases) -> (Vec<Entry>, Vec<LineReply>) {
    let mut by_name: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        by_name.entry(&entry.name).or_default().push(entry);
    }
    let all: Vec<&Entry> = entries.iter().collect();
    let known: BTreeSet<Key> = entries.iter().map(|entry| entry.key).collect();
    let is_leased = |entry: &&Entry| Entry::secrets(entry).next().is_some();
    let keys_of = |entries: &[&Entry]| entries.iter().map(|entry| entry.key).collect::<BTreeSet<Key>>();
    let (gone, kept): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().filter(is_leased).partition(|entry| is_deleted(entry, ended));
    let (leased, gone) = (keys_of(&kept), keys_of(&gone));
    let (mut keys, mut failures) = (BTreeSet::new(), Vec::new());
    for word in words {
        let found = word.parse().map(Some).or_else(|_| find_among(by_name.get(&**word).unwrap_or(&all), word));
        let failure = match found {
            Ok(Some(key)) if leased.contains(&key) => {
                keys.insert(key);
                continue;
            }
            Ok(Some(key)) if gone.contains(&key) => {
                failures.push(deleted(word));
                continue;
            }
            Ok(Some(key)) if known.contains(&key) => without_lease(word),
            Ok(_) => not_from_here(word),
            Err(reason) => Failure::new(FailureKind::Usage, reason),
        };
        failures.push(LineReply::of_file(raw_text::path(word), Answer::Failed(failure)));
    }
    let named = entries.iter().filter(|entry| keys.contains(&entry.key) && !is_deleted(entry, ended));
    (named.cloned().collect(), failures)
}

/// Whether what was stored was deleted, though not every holder has heard of that: holders renew it no more.
fn is_deleted(entry: &Entry, ended: &EndedLeases) -> bool {
    has_ended(entry) && entry.secrets().next().is_some() && entry.secrets().all(|secret| ended.names(&secret.id()))
}

/// Whether all holders have heard that leases last longer, and none keeps what they hold.
fn is_kept_by_none(answer: &Answer) -> bool {
    matches!(answer, Answer::Leased { free: 1.., .. }) && answer.verdict().is_none()
}

/// What this word names cannot be renewed.
fn deleted(word: &str) -> LineReply {
    let reason = format!("{} was deleted, and goes: store it again", quoted(word));
    LineReply::of_file(raw_text::path(word), Answer::Failed(Failure::new(FailureKind::NotFound, reason)))
}

/// The entry as it is once its leases are renewed: for so long, or as long as at first. None ends earlier than it did.
pub(super) fn renewed_for(entry: &Entry, lasting: Option<Lasting>) -> Entry {
    let renew = |own: &Owned| {
        let lasts = match lasting {
            None => own.lasts,
            Some(Lasting::Ever) => None,
            Some(Lasting::For(lasts)) => Some(lasts.as_secs()),
        };
        let until = lasts.map(|lasts| now().saturating_add(lasts)).filter(|until| *until <= LAST);
        let until = until.zip(own.until).map(|(until, own)| until.max(own));
        Owned { until, lasts: lasts.filter(|_| until.is_some()), ..own.clone() }
    };
    Entry { lease: entry.lease.as_ref().map(renew), ..entry.clone() }
}

/// The leases of an entry.
fn leases_of(entry: &Entry) -> impl Iterator<Item = Lease> {
    let leases = |own: &Owned| {
        let lease = |secret: &Secret| Lease { id: secret.id(), until: own.until, copies: own.copies };
        own.secrets.iter().map(lease).collect::<Vec<_>>()
    };
    entry.lease.as_ref().map(leases).into_iter().flatten()
}
