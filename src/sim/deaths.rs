//! How long deaths take to be known, and which living peers are taken for dead.
//!
//! A death is known once those of its replica set (the living peers nearest to it) that had the dead peer in their
//! tables have all found out. A peer that dies before it has found out, or forgets the dead one for nearer peers, need
//! not any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time::Time;

/// Watches who finds out about whose death. Peers are named by their slots.
#[derive(Default)]
pub(super) struct Deaths {
    open: BTreeMap<usize, OpenDeath>,
    report: DeathReport,
}

/// A death that is not known yet.
struct OpenDeath {
    died: Time,
    /// Those that have yet to find out.
    by: BTreeSet<usize>,
    /// When one of its replica set found out last.
    last: Option<Time>,
}

/// How deaths became known.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DeathReport {
    /// Deaths that a peer of the replica set had to find out about.
    pub deaths: usize,
    /// How long each took to be known to its replica set.
    pub known: Vec<Duration>,
    /// How long each of those had been dead that were not known in the end.
    pub unknown: Vec<Duration>,
    /// Times that a living peer was declared dead.
    pub false_alarms: usize,
}

impl Deaths {
    /// The peer `whom` dies; those in `by` have to find out.
    pub(super) fn on_death(&mut self, now: Time, whom: usize, by: BTreeSet<usize>) {
        let excused: Vec<usize> = self.open.keys().copied().collect();
        for other in excused {
            self.excuse(other, whom);
        }
        if !by.is_empty() {
            self.report.deaths += 1;
            self.open.insert(whom, OpenDeath { died: now, by, last: None });
        }
    }

    /// The peer `by` declares `whom` dead, which lives or not.
    pub(super) fn on_declared(&mut self, at: Time, by: usize, whom: usize, lives: bool) {
        self.report.false_alarms += usize::from(lives);
        if let Some(open) = self.open.get_mut(&whom)
            && open.by.contains(&by)
        {
            open.last = Some(at);
            self.excuse(whom, by);
        }
    }

    /// Those need not find out any more that do not know the dead any longer: nearer peers took its place in their
    /// tables.
    pub(super) fn excuse_those_who_forgot(&mut self, knows: impl Fn(usize, usize) -> bool) {
        let waits = |(whom, open): (&usize, &OpenDeath)| open.by.iter().map(|by| (*whom, *by)).collect::<Vec<_>>();
        let waiting: Vec<(usize, usize)> = self.open.iter().flat_map(waits).collect();
        for (whom, by) in waiting.into_iter().filter(|(whom, by)| !knows(*by, *whom)) {
            self.excuse(whom, by);
        }
    }

    /// The peer `by` need not find out about the death of `whom` any more.
    fn excuse(&mut self, whom: usize, by: usize) {
        let Some(open) = self.open.get_mut(&whom) else { return };
        open.by.remove(&by);
        if open.by.is_empty()
            && let Some(OpenDeath { died, last, .. }) = self.open.remove(&whom)
        {
            match last {
                Some(last) => self.report.known.push(last.since(died)),
                None => self.report.deaths -= 1,
            }
        }
    }

    /// How deaths became known until now.
    pub(super) fn report(&self, now: Time) -> DeathReport {
        let unknown = self.open.values().map(|open| now.since(open.died)).collect();
        DeathReport { unknown, ..self.report.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_death_is_known_when_the_last_of_its_replica_set_that_lives_has_found_out() {
        let mut deaths = Deaths::default();
        deaths.on_death(at(10), 1, BTreeSet::from([2, 3, 4]));
        deaths.on_declared(at(12), 2, 1, false);
        deaths.on_declared(at(13), 9, 1, false);
        deaths.on_declared(at(17), 3, 1, false);
        assert_eq!(deaths.report(at(20)).unknown, [Duration::from_secs(10)]);
        deaths.on_death(at(20), 4, BTreeSet::new());
        let report = deaths.report(at(20));
        assert_eq!((report.deaths, report.known, report.unknown.len()), (1, vec![Duration::from_secs(7)], 0));
    }

    #[test]
    fn a_death_that_nobody_was_left_to_find_out_about_does_not_count() {
        let mut deaths = Deaths::default();
        deaths.on_death(at(10), 1, BTreeSet::from([2]));
        deaths.on_death(at(11), 2, BTreeSet::new());
        assert_eq!(deaths.report(at(12)), DeathReport::default());
    }

    #[test]
    fn a_peer_that_forgot_the_dead_for_nearer_ones_need_not_find_out() {
        let mut deaths = Deaths::default();
        deaths.on_death(at(10), 1, BTreeSet::from([2, 3]));
        deaths.on_death(at(10), 4, BTreeSet::from([2]));
        deaths.on_declared(at(12), 3, 1, false);
        deaths.excuse_those_who_forgot(|by, whom| (by, whom) != (2, 1));
        let report = deaths.report(at(20));
        assert_eq!((report.known, report.unknown), (vec![Duration::from_secs(2)], vec![Duration::from_secs(10)]));
    }

    #[test]
    fn to_declare_a_living_peer_dead_is_a_false_alarm_each_time() {
        let mut deaths = Deaths::default();
        deaths.on_declared(at(1), 2, 3, true);
        deaths.on_declared(at(2), 4, 3, true);
        deaths.on_declared(at(3), 2, 5, false);
        assert_eq!(deaths.report(at(4)).false_alarms, 2);
    }
}
