//! How many peers that were only spoken of are pinged at a time, and whose turn it is where many are. Where as many
//! sources as there are places have one each, a newcomer takes that of the peer that was pinged first, of those that
//! spoke for themselves: a peer that is there has answered by then.

use std::time::Duration;

use crate::overlay::Tag;
use crate::source::{Giving, Subnet, count};
use crate::time::Time;

/// Peers that are pinged at a time because other peers spoke of them, or they for themselves.
const MAX_PROBES: usize = 16;

/// The same for those of sources that have fewer of those places than another, or none: a flood from one host keeps no
/// newcomer out that comes from another.
const MAX_PROBES_SHARED: usize = 2 * MAX_PROBES;

/// Between two peers on average that take the place of another: 100 a second, and some at once after a pause. So much
/// is sent besides, however many sources there are.
const GAP: Duration = Duration::from_millis(10);
const REPLACED_AT_ONCE: u32 = 16;

/// Whether one more peer may be probed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    Free,
    /// Once the answer to this question is not waited for any longer.
    InPlaceOf(Tag),
    Nowhere,
}

/// How often a peer took the place of another.
#[derive(Default)]
pub(super) struct Probes {
    /// When those that did would have done so at the steady rate: those that others spoke of, and those that spoke for
    /// themselves.
    paid_until: [Time; 2],
}

impl Probes {
    /// Whether one more peer from a source may be probed, while these questions are `out`, the oldest first, to peers
    /// of these sources. Of each it is said whether that peer spoke for itself: such a one may have to give way.
    pub(super) fn room(&self, now: Time, (source, spoke): (Subnet, bool), out: &[(Tag, Subnet, bool)]) -> Room {
        let shares = count(out.iter().map(|(_, source, _)| *source));
        let giving = Giving::way(source, shares.iter().map(|(other, count)| (*other, *count)));
        if out.len() < MAX_PROBES || out.len() < MAX_PROBES_SHARED && giving != Giving::Nobody {
            return Room::Free;
        }
        let is_due = self.paid_until[usize::from(spoke)] <= now + GAP * REPLACED_AT_ONCE;
        let oldest = out.iter().find(|(_, other, may_give)| is_due && *may_give && giving.includes(*other));
        oldest.map_or(Room::Nowhere, |(tag, ..)| Room::InPlaceOf(*tag))
    }

    /// A peer takes the place of another.
    pub(super) fn displaced(&mut self, now: Time, spoke: bool) {
        let paid_until = &mut self.paid_until[usize::from(spoke)];
        *paid_until = (*paid_until).max(now) + GAP;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn source(host: u8) -> Subnet {
        Subnet::of(SocketAddr::from(([10, 0, 0, host], 1)))
    }

    fn room(source: Subnet, out: &[Subnet]) -> Room {
        let out: Vec<_> = (0..).zip(out).map(|(tag, source)| (tag, *source, true)).collect();
        Probes::default().room(Time::ZERO, (source, true), &out)
    }

    /// Fills the places as long as there is one for the host.
    fn flood(out: &mut Vec<Subnet>, host: u8) -> usize {
        let before = out.len();
        while room(source(host), out) == Room::Free {
            out.push(source(host));
        }
        out.len() - before
    }

    #[test]
    fn one_host_may_take_all_places_and_keeps_none_out_that_come_from_another() {
        let mut out = Vec::new();
        assert_eq!(flood(&mut out, 1), MAX_PROBES);
        assert_eq!(room(source(2), &out), Room::Free, "a newcomer on another host");
        assert_eq!(flood(&mut out, 2), MAX_PROBES - 1, "never more than the first one has");
        assert_eq!(room(source(3), &out), Room::Free, "and on a third one");
    }

    #[test]
    fn where_as_many_hosts_as_there_are_places_have_one_each_a_newcomer_takes_the_oldest_now_and_then() {
        let out: Vec<_> = (0..MAX_PROBES_SHARED as u8).map(|n| (Tag::from(n), source(n), n > 1)).collect();
        let (mut probes, mut taken) = (Probes::default(), 0);
        for millis in 0..10_000 {
            let now = Time::from_micros(millis * 1000);
            if probes.room(now, (source(200), true), &out) == Room::InPlaceOf(2) {
                probes.displaced(now, true);
                taken += 1;
            }
        }
        assert!((1000..=1000 + REPLACED_AT_ONCE + 1).contains(&taken), "{taken} in 10 s");
        let now = Time::from_micros(9_999_000);
        assert_eq!(probes.room(now, (source(200), true), &out), Room::Nowhere, "as many as may are sent");
        assert_eq!(probes.room(now, (source(200), false), &out), Room::InPlaceOf(2), "somebody named it");
        let later = Time::ZERO + Duration::from_secs(20);
        assert_eq!(probes.room(later, (source(3), true), &out), Room::Nowhere, "it has one");
    }

    #[test]
    fn a_newcomer_takes_the_place_of_one_of_the_site_that_has_most() {
        let at = |ip: [u8; 4]| Subnet::of(SocketAddr::from((ip, 1)));
        let out: Vec<_> =
            (0..MAX_PROBES_SHARED as u8).map(|n| at(if n == 0 { [9, 9, 9, 9] } else { [1, 2, n, 1] })).collect();
        assert_eq!(room(at([8, 8, 8, 8]), &out), Room::InPlaceOf(1));
    }

    #[test]
    fn however_many_hosts_come_the_number_of_pings_is_bounded() {
        let mut out = Vec::new();
        for host in 0..100 {
            flood(&mut out, host);
        }
        assert!(out.len() <= MAX_PROBES_SHARED);
    }
}
