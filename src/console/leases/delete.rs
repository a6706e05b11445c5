//! What is stored is kept no longer: its leases end, and its lines go out of the catalogue.

use std::collections::BTreeSet;
use std::io;

use super::{each_of, is_on_other_key, now, of_word, secrets_of, unheard, without_lease};
use crate::console::Backend;
use crate::console::begun::begun;
use crate::console::catalogue::{Catalogue, Entry, find_among};
use crate::console::perform::Performer;
use crate::console::reply::{ConsoleAnswer, LineReply, Named};
use crate::id::{Id, Key};
use crate::lease::Secret;
use crate::node::{Answer, Command, Failure, FailureKind, LeaseChange};
use crate::raw_text;

impl<B: Backend> Performer<B> {
    /// [Deletes](Self::delete) what each of these words names. The catalogue, which has these entries, is written once,
    /// when all have been told.
    pub(super) fn delete_all(&self, catalogue: &Catalogue, mut entries: Vec<Entry>, words: &[String]) -> LineReply {
        let (mut settled, mut proven) = (Vec::<(usize, Settled)>::new(), false);
        let mut answers = self.one_by_one(words.iter().enumerate(), |(at, word)| {
            let before = settled.len();
            let mut settle = |one: Settled| settled.push((at, one));
            let reply = self.delete(catalogue, &entries, word, &mut proven, &mut settle);
            // What has gone counts as another name of no later word.
            settled[before..].iter().for_each(|(_, one)| one.note(&mut entries));
            reply.unwrap_or_else(|failure| LineReply::of_file(raw_text::path(word), Answer::Failed(failure)))
        });
        let note = |entries: &mut Vec<Entry>| settled.iter().for_each(|(_, one)| one.note(entries));
        if !settled.is_empty()
            && let Err(error) = catalogue.edit(note)
        {
            let cannot = catalogue.cannot("write", &error);
            for (at, _) in &settled {
                let reason = match &answers[*at] {
                    LineReply::Console(_) => cannot.clone(),
                    _ => {
                        format!("its lease has ended, and its blocks go after a grace, but {cannot}; delete it again")
                    }
                };
                let failed = Answer::Failed(Failure::new(FailureKind::Other, reason));
                answers[*at] = LineReply::of_file(raw_text::path(&words[*at]), failed);
            }
        }
        LineReply::one_or_all(answers)
    }

    /// Ends the leases of what has a name, but for those on which it is kept under another name or key too; or all
    /// leases of a key. What the catalogue is to say of that is handed to `settle`; that it can be written is `proven`
    /// first.
    fn delete(
        &self,
        catalogue: &Catalogue,
        entries: &[Entry],
        word: &str,
        proven: &mut bool,
        settle: &mut dyn FnMut(Settled),
    ) -> Result<LineReply, Failure> {
        if let Some(answer) = self.delete_begun(catalogue, entries, word, settle)? {
            return Ok(LineReply::of_file(raw_text::path(word), answer));
        }
        let find = || find_among(&entries.iter().collect::<Vec<_>>(), word);
        let (key, of_key) = of_word(entries, word, find)?;
        let (named, others): (Vec<&Entry>, Vec<&Entry>) = of_key.into_iter().partition(|entry| entry.name == word);
        let (name, meant, others) = if named.is_empty() { (None, others, named) } else { (Some(word), named, others) };
        let (own, kept) = (secrets_of(&meant), secrets_of(&others));
        if own.is_empty() {
            return Err(without_lease(word));
        }
        let is_kept = |secret: &Secret| kept.contains(secret) || is_on_other_key(entries, key, secret);
        let secrets: Vec<Secret> = own.iter().copied().filter(|secret| !is_kept(secret)).collect();
        let settled = |is_over| Settled { key, name: name.map(str::to_owned), secrets: own.clone(), is_over };
        if secrets.is_empty() {
            settle(settled(true));
            let files = meant.into_iter().cloned().map(Entry::shown).collect();
            return Ok(LineReply::Console(ConsoleAnswer::Forgotten { files }));
        }
        let keys = self.parts(key, meant.iter().any(|entry| entry.folder))?;
        let cannot = |error: io::Error| Failure::new(FailureKind::Other, catalogue.cannot("write", &error));
        // A lease ends for good. Where the catalogue cannot be written, it would go on to name what is gone.
        if !*proven {
            catalogue.check_writable().map_err(cannot)?;
            *proven = true;
        }
        catalogue.end(&secrets).map_err(cannot)?;
        let ended = secrets.iter().copied().map(LeaseChange::Ended);
        let copies = meant.iter().filter_map(|entry| entry.lease.as_ref()).map(|lease| lease.copies).max();
        let (changes, copies) = (each_of(&keys, ended), copies.unwrap_or(0));
        let command = Command::Lease { changes, listed: BTreeSet::new(), copies };
        let answer = heard_or_gone(self.ask(command), meant.iter().all(|entry| has_ended(entry)))?;
        // A holder that has not heard can be told again, as long as the catalogue has the lease as it was.
        if answer.failure().is_none() {
            settle(settled(answer.verdict().is_none()));
        }
        let deleted_as = if name.is_none() { names_of(&meant) } else { Vec::new() };
        Ok(LineReply::File(Named {
            file: raw_text::path(word),
            answer,
            manifest: None,
            kept_as: names_of(&others),
            deleted_as,
            name_keeps: name.map_or_else(Vec::new, |name| keys_named(entries, name, &key)),
        }))
    }

    /// Ends the leases of what was begun under a name and not finished. The answer, if nothing that was finished has
    /// that name.
    fn delete_begun(
        &self,
        catalogue: &Catalogue,
        entries: &[Entry],
        name: &str,
        settle: &mut dyn FnMut(Settled),
    ) -> Result<Option<Answer>, Failure> {
        let secrets = begun(entries, name);
        if secrets.is_empty() {
            return Ok(None);
        }
        let cannot = |error: io::Error| Failure::new(FailureKind::Other, catalogue.cannot("write", &error));
        catalogue.end(&secrets).map_err(cannot)?;
        let answer = self.ask(Command::Disown { secrets: secrets.clone() });
        // Where no block was left on it, no holder has anything to end.
        if answer.verdict().is_none() {
            // What was begun has no key yet.
            settle(Settled { key: Id::ZERO, name: None, secrets, is_over: true });
        }
        Ok((!entries.iter().any(|entry| !entry.begun && entry.name == name)).then_some(answer))
    }
}

/// Holders have heard that leases on a key, or on what has a name of it, have ended.
struct Settled {
    key: Key,
    name: Option<String>,
    secrets: Vec<Secret>,
    /// Whether all have heard. Else those that have tell the others.
    is_over: bool,
}

impl Settled {
    /// Notes it in the entries. Those that have no lease left go.
    fn note(&self, entries: &mut Vec<Entry>) {
        entries.retain_mut(|entry| {
            if entry.key != self.key || self.name.as_ref().is_some_and(|name| entry.name != *name) {
                return true;
            }
            let lease = entry.lease.as_mut();
            if self.is_over {
                lease.into_iter().for_each(|lease| lease.secrets.retain(|secret| !self.secrets.contains(secret)));
                return entry.secrets().next().is_some();
            }
            for lease in lease.into_iter().filter(|own| own.secrets.iter().all(|one| self.secrets.contains(one))) {
                lease.until = Some(lease.until.map_or_else(now, |until| until.min(now())));
            }
            true
        });
    }
}

/// Whether the leases of an entry have ended.
pub(super) fn has_ended(entry: &Entry) -> bool {
    entry.lease.as_ref().and_then(|lease| lease.until).is_some_and(|until| until <= now())
}

/// What holders heard of leases that end. Of what had `ended` before, no copy is left where none is found and no peer
/// is silent: then its lists need not be had.
///
/// # Errors
/// No holder has heard.
fn heard_or_gone(answer: Answer, ended: bool) -> Result<Answer, Failure> {
    match answer {
        Answer::Leased { copies: 0, peers, silent, took, .. } if ended && silent.is_empty() => {
            Ok(Answer::Leased { copies: 0, free: 0, peers, silent, unread: 0, missing: 0, took })
        }
        answer => unheard(&answer).map_or(Ok(answer), Err),
    }
}

/// The other keys than this that have a name.
fn keys_named(entries: &[Entry], name: &str, but: &Key) -> Vec<Key> {
    let named = entries.iter().filter(|entry| !entry.begun && entry.name == name && entry.key != *but);
    named.map(|entry| entry.key).collect::<BTreeSet<Key>>().into_iter().collect()
}

fn names_of(entries: &[&Entry]) -> Vec<String> {
    let names: BTreeSet<&String> = entries.iter().map(|entry| &entry.name).collect();
    names.into_iter().cloned().collect()
}
