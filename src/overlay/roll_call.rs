//! Every peer is called once after many have died at a time.
//!
//! Each peer is looked after by a few others, who tell of its death. That serves while deaths are each other's business
//! no more than by chance. A switched-off rack or a closed laboratory takes peers and those who looked after them, and
//! a peer that listed such a one would hear of it from none. So a peer that learns of many deaths within seconds calls
//! each one it knows that has not been heard since, a part at a time.

use std::cmp::Reverse;
use std::time::Duration;

use crate::peer::Peer;
use crate::time::Time;

/// Deaths that come within this time come together: it takes as long until each of them is noticed.
const TOGETHER: Duration = Duration::from_secs(10);

/// This few deaths are never many.
const FEW_DEATHS: usize = 3;

/// Otherwise they are many that make up one part in so many of those known.
const SHARE: usize = 5;

/// The parts in which those known are called.
const PARTS: usize = 6;

/// A call ends after this time, even if some were not heard: what keeps the table does the rest.
const LONGEST: Duration = Duration::from_secs(60);

/// The peers that are to be called, and since when.
#[derive(Default)]
pub(super) struct RollCall {
    /// When the first came of the deaths that are counted.
    first: Option<Time>,
    deaths: usize,
    /// When it was seen that they are many.
    called: Option<Time>,
}

impl RollCall {
    /// One of `known` peers, itself among them, was found dead or has left.
    pub(super) fn note_death(&mut self, now: Time, known: usize) {
        if self.first.is_none_or(|first| now.since(first) >= TOGETHER) {
            self.first = Some(now);
            self.deaths = 0;
        }
        self.deaths += 1;
        if self.deaths >= FEW_DEATHS.max(known.div_ceil(SHARE)) {
            self.first = None;
            self.called = Some(now);
        }
    }

    /// Those to be called now: of `peers`, each with how long it has not been heard, the most silent.
    pub(super) fn next_part(&mut self, now: Time, peers: impl Iterator<Item = (Duration, Peer)>) -> Vec<Peer> {
        let Some(since) = self.called.map(|called| now.since(called)) else { return Vec::new() };
        let all: Vec<(Duration, Peer)> = peers.collect();
        let part = all.len().div_ceil(PARTS);
        let mut silent: Vec<_> = all.into_iter().filter(|(silence, _)| *silence > since).collect();
        if silent.is_empty() || since >= LONGEST {
            self.called = None;
            return Vec::new();
        }
        silent.sort_by_key(|(silence, _)| Reverse(*silence));
        silent.truncate(part);
        silent.into_iter().map(|(_, peer)| peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::id::Id;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    /// So many peers, none of which was heard since the beginning.
    fn silent(now: Time, count: u16) -> impl Iterator<Item = (Duration, Peer)> {
        let peer = |n: u16| Peer::new(Id::of(&n.to_be_bytes()), SocketAddr::from(([10, 0, 0, 1], n + 1)));
        (0..count).map(move |n| (now.since(Time::ZERO) + Duration::from_millis(n.into()), peer(n)))
    }

    #[test]
    fn deaths_that_come_one_by_one_call_nobody_and_a_fifth_at_a_time_calls_everybody_once() {
        let mut call = RollCall::default();
        for n in 0..100 {
            call.note_death(at(4 * n), 40);
            assert!(call.next_part(at(4 * n), silent(at(4 * n), 40)).is_empty(), "death {n}");
        }
        for _ in 0..8 {
            call.note_death(at(500), 40);
        }
        let mut left: Vec<_> = silent(at(501), 40).collect();
        let mut parts = 0;
        while !left.is_empty() {
            let part = call.next_part(at(501), left.iter().copied());
            assert!(part.len() <= 40_usize.div_ceil(PARTS) && !part.is_empty());
            assert_eq!(part[0], left[left.len() - 1].1, "the most silent first");
            left.retain(|(_, peer)| !part.contains(peer));
            parts += 1;
        }
        assert!(parts >= PARTS, "not all at once: {parts}");
        assert!(call.next_part(at(502), std::iter::empty()).is_empty());
        assert!(call.next_part(at(503), silent(at(503), 40)).is_empty(), "once");
    }

    #[test]
    fn two_deaths_of_few_are_not_many_and_who_never_answers_is_not_called_for_ever() {
        let mut call = RollCall::default();
        call.note_death(at(1), 5);
        call.note_death(at(1), 4);
        assert!(call.next_part(at(1), silent(at(1), 3)).is_empty());
        call.note_death(at(2), 3);
        assert!(!call.next_part(at(2), silent(at(2), 2)).is_empty());
        assert!(call.next_part(at(2) + LONGEST, silent(at(70), 2)).is_empty());
        assert!(call.next_part(at(3), silent(at(80), 2)).is_empty());
    }
}
