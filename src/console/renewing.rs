//! Leases are renewed by the peer through which they were laid, as long as it runs: each once less than half of its
//! time is left. What is forgotten in the catalogue is not renewed any longer.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Backend;
use super::beside::NoProgress;
use super::catalogue::{Catalogue, Entry, Owned, note_renewed};
use super::leases::{now, told};
use super::perform::Performer;
use super::text::count;
use crate::id::Key;
use crate::lease::UnixTime;
use crate::node::Answer;
use crate::runtime::{Handle, LETS_GO, both_since_1970};

/// A catalogue that could not be read is looked at again after so many seconds.
const RETRY_AFTER_S: u64 = 60;

/// Renews what is due in the catalogue: for [`LocalPeer::renew`](crate::runtime::LocalPeer::renew).
pub fn renewing(catalogue: Catalogue) -> impl FnMut(&Handle) -> Option<UnixTime> + Send + 'static {
    if let Err(error) = catalogue.check_owner() {
        log::warn!("what is stored through this peer gets no lease, so it stays for ever: {error}");
    }
    if let Err(error) = catalogue.mend_ended() {
        log::warn!("which leases were ended from here cannot be told: {error}");
    }
    let mut unwritten = Vec::new();
    move |handle| {
        // Of a session of its own: Ctrl-C at the terminal ends none of it.
        let performer = Performer::new(handle.session(), Arc::new(NoProgress));
        performer.with_catalogue(Some(catalogue.clone())).renew_due(&catalogue, &mut unwritten)
    }
}

impl<B: Backend> Performer<B> {
    /// Renews the leases that are due; returns when the next will be, in seconds since 1970. None if there is no lease
    /// that ends. What was renewed and could not be written, on a full disk, stays in `unwritten` until it can.
    pub(super) fn renew_due(&self, catalogue: &Catalogue, unwritten: &mut Vec<Entry>) -> Option<UnixTime> {
        let Some(mut entries) = look(catalogue, unwritten) else { return Some(now() + RETRY_AFTER_S) };
        if let Some(keys) = due(&entries, clocks()).map(|due| due.iter().map(|entry| entry.key).collect()) {
            let Ok(_held) = catalogue.hold(Some(&keys), LETS_GO) else { return Some(now() + 1) };
            // A command that held them may have renewed or ended them.
            let Some(left) = look(catalogue, unwritten) else { return Some(now() + RETRY_AFTER_S) };
            let left: Vec<Entry> = left.into_iter().filter(|entry| keys.contains(&entry.key)).collect();
            let renewed = due(&left, clocks()).map_or_else(Vec::new, |due| self.renew_these(&due));
            unwritten.retain(|old| renewed.iter().all(|new| new.what() != old.what()));
            unwritten.extend(renewed);
            match look(catalogue, unwritten) {
                Some(after) => entries = after,
                None => return Some(now() + RETRY_AFTER_S),
            }
        }
        let clocks = clocks();
        let again = (!unwritten.is_empty()).then(|| now() + RETRY_AFTER_S);
        entries.iter().filter_map(|entry| next(entry.lease.as_ref()?, clocks)).chain(again).min()
    }

    /// Renews the leases of these; returns which were. Where a holder did not answer, it is done again, as long as
    /// there is time for that.
    fn renew_these(&self, due: &[Entry]) -> Vec<Entry> {
        let (answer, mut renewed, failures) = self.renew_at_holders(due, None);
        failures.iter().for_each(|failed| log::warn!("a lease is not renewed now: {}", failed.to_text()));
        let Answer::Leased { copies, .. } = answer else {
            log::warn!("leases are not renewed now: {answer:?}");
            return Vec::new();
        };
        let files = count(renewed.len() as u64, "file");
        let heard = told(&answer, None).trim_end().replace('\n', "; ");
        if copies > 0 && answer.verdict().is_none() {
            log::info!("renewed the leases of {files}: {}", heard);
        } else {
            log::warn!("the leases of {files} are not renewed with all who keep them: {}", heard);
            let hurries = |key: &Key| due.iter().any(|entry| entry.key == *key && is_late(entry.lease.as_ref()));
            renewed.retain(|entry| copies > 0 && hurries(&entry.key));
        }
        renewed
    }
}

/// The entries of the catalogue, with the times of those that are yet `unwritten`, which are written if that can be.
fn look(catalogue: &Catalogue, unwritten: &mut Vec<Entry>) -> Option<Vec<Entry>> {
    match catalogue.change_all(unwritten) {
        Ok(()) => unwritten.clear(),
        Err(error) => log::warn!("leases are renewed, but {}", catalogue.cannot("write", &error)),
    }
    let cannot = |error| log::warn!("leases are not renewed now: {}", catalogue.cannot("read", &error));
    let mut entries = catalogue.entries().map_err(cannot).ok()?;
    note_renewed(&mut entries, unwritten);
    Some(entries)
}

/// The time by two [clocks](both_since_1970), the earlier one first.
fn clocks() -> (UnixTime, UnixTime) {
    let (earlier, later) = both_since_1970();
    (earlier.as_secs(), later.as_secs())
}

/// What is stored under keys of which a lease is due; none if none is. A lease that has ended by both clocks is not
/// renewed: what it kept may be gone.
fn due(entries: &[Entry], (earlier, later): (UnixTime, UnixTime)) -> Option<Vec<Entry>> {
    let is_due = |lease: &Owned| lease.until > Some(earlier) && lease.renewal().is_some_and(|at| at <= later);
    let due = entries.iter().filter(|entry| entry.lease.as_ref().is_some_and(is_due));
    let keys: BTreeSet<Key> = due.map(|entry| entry.key).collect();
    let of_keys = entries.iter().filter(|entry| keys.contains(&entry.key)).cloned();
    (!keys.is_empty()).then(|| of_keys.collect())
}

/// When a lease that ends is to be renewed next; one that could not be a while ago, after an eighth of its time. One
/// that has ended never is, unless the clock is set back.
fn next(lease: &Owned, (earlier, later): (UnixTime, UnixTime)) -> Option<UnixTime> {
    let (at, lasts, until) = (lease.renewal()?, lease.lasts?, lease.until?);
    Some(match at > later {
        true => at,
        false if until > earlier => later + (lasts / 8).max(1),
        false => UnixTime::MAX,
    })
}

/// Whether less than a quarter of its time is left.
fn is_late(lease: Option<&Owned>) -> bool {
    let left = lease.and_then(|lease| Some((lease.until?.saturating_sub(now()), lease.lasts?)));
    left.is_some_and(|(left, lasts)| left < lasts / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: Key, until: Option<UnixTime>, lasts: Option<u64>) -> Entry {
        Entry {
            name: "a".to_owned(),
            path: "/a".into(),
            key,
            sha256: key,
            bytes: 1,
            copies: 1,
            stored: 1,
            folder: false,
            begun: false,
            lease: Some(Owned { secrets: Vec::new(), until, lasts, copies: 0 }),
        }
    }

    #[test]
    fn a_lease_is_due_once_less_than_half_of_its_time_is_left_and_until_it_ends() {
        let one = [entry(Key::ZERO, Some(1100), Some(100))];
        for (now, is_due, then) in [
            (1049, false, Some(1050)),
            (1050, true, Some(1062)),
            (1099, true, Some(1111)),
            (1100, false, Some(UnixTime::MAX)),
        ] {
            assert_eq!(due(&one, (now, now)).is_some(), is_due, "{now}");
            assert_eq!(next(one[0].lease.as_ref().unwrap(), (now, now)), then, "{now}");
        }
        let clock_set_ahead_or_back = [((1060, 90_000), true), ((0, 1060), true), ((1010, 1020), false)];
        for (clocks, is_due) in clock_set_ahead_or_back {
            assert_eq!(due(&one, clocks).is_some(), is_due, "{clocks:?}");
        }
        for never in [entry(Key::ZERO, None, None), entry(Key::ZERO, Some(1100), None)] {
            assert_eq!(due(std::slice::from_ref(&never), (1090, 1090)), None);
            assert_eq!(next(never.lease.as_ref().unwrap(), (1090, 1090)), None);
        }
    }

    #[test]
    fn all_entries_of_a_key_are_renewed_with_the_one_that_is_due() {
        let other = Key::of(b"other");
        let entries = [entry(Key::ZERO, Some(1100), Some(100)), entry(Key::ZERO, Some(9000), Some(8000))];
        let all = [&entries[..], &[entry(other, Some(9000), Some(8000))]].concat();
        assert_eq!(due(&all, (1060, 1060)).unwrap(), entries);
    }
}
