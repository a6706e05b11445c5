//! How other peers took what they were asked and offered, remembered beyond their being neighbours: who goes and comes
//! back is met as it was left.

use std::time::Duration;

use crate::config::{REPAIR_RETRY, REPUBLISH_INTERVAL};
use crate::id::Id;
use crate::node::refusal::Refusal;
use crate::node::ticket::Taken;
use crate::patience::doubled;
use crate::recent::Recent;
use crate::time::Time;

/// However many news there are, the pause between two comparisons with a peer has the first of these lengths, and grows
/// up to the second while they follow soon upon one another.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(16)];

/// The same between those for which it should hold more than before. Where peers die all the time, the last copies are
/// lost in such pauses.
const PAUSES_GROWN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(4)];

/// With a peer that comes and goes all the time either grows up to this.
const MAX_PAUSE_FLAPPING: Duration = Duration::from_secs(64);

/// A peer whose store was full is not offered anything for this long, and twice as long each time that it still is.
const FULL: Duration = Duration::from_secs(600);
const MAX_FULL: Duration = Duration::from_secs(4 * 3600);

/// A peer that has shown a block is to show another one after this long.
const PROOF_LASTS: Duration = Duration::from_secs(4 * 3600);

/// Peers that are remembered, at least.
const CONDUCTS_KEPT: usize = 256;

/// The pause from one comparison to the next.
#[derive(Clone, Copy, Default, Debug)]
struct ComparisonPause {
    /// When the last one began; zero before the first.
    began: Time,
    /// The least time from then to the next.
    least: Duration,
}

impl ComparisonPause {
    fn earliest(&self, at: Time) -> Time {
        if self.began == Time::ZERO { at } else { at.max(self.began + self.least) }
    }

    fn begin(&mut self, now: Time, [shortest, longest]: [Duration; 2]) {
        let soon = self.began != Time::ZERO && now < self.began + self.least * 2;
        self.least = if soon { (self.least * 2).min(longest).max(self.least) } else { shortest };
        self.began = now;
    }

    fn on_flapping(&mut self) {
        if self.began != Time::ZERO {
            // The shorter pause would be over before the peer is back, and never grow.
            self.least = (self.least * 2).clamp(PAUSES[0] * 2, MAX_PAUSE_FLAPPING);
        }
    }
}

/// How a peer behaved of late.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Conduct {
    /// Between any comparisons with it.
    any: ComparisonPause,
    /// Between those for which it should hold more than before: what a death leaves undone does not wait because blocks
    /// came a moment ago.
    grown: ComparisonPause,
    /// How often in a row it did not answer or take what it was offered.
    failures: u32,
    /// It failed: before this it is not compared with again.
    retry: Time,
    /// Its store was full: until when it is offered nothing, and how long that is.
    full: Option<(Time, Duration)>,
    /// What it said that it holds it has shown, or has not, the last time that it was asked to, and when; none if it
    /// never was.
    honest: Option<(bool, Time)>,
}

impl Conduct {
    /// When it may be compared with, if there is a reason to at `at`.
    pub(super) fn earliest(&self, at: Time) -> Time {
        self.any.earliest(at).max(self.retry)
    }

    /// The same if it should hold more from `at` on.
    pub(super) fn earliest_grown(&self, at: Time) -> Time {
        self.grown.earliest(at).max(self.retry)
    }

    /// A comparison begins; perhaps because it should hold more than before.
    pub(super) fn begin(&mut self, now: Time, grown: bool) {
        self.any.begin(now, PAUSES);
        if grown {
            self.grown.begin(now, PAUSES_GROWN);
        }
    }

    /// It answered, and took what it was offered.
    pub(super) fn behaved(&mut self) {
        (self.failures, self.retry) = (0, Time::ZERO);
    }

    /// It did not. Returns when it is tried again: ever more rarely.
    pub(super) fn failed(&mut self, now: Time, jittered: impl FnOnce(Duration) -> Duration) -> Time {
        let wait = doubled(REPAIR_RETRY, self.failures, REPUBLISH_INTERVAL);
        self.failures += 1;
        self.retry = now + jittered(wait);
        self.retry
    }

    /// It is gone. Should it come back, it has to stay before it is compared with as often as others.
    fn left(&mut self) {
        self.any.on_flapping();
        self.grown.on_flapping();
    }

    fn is_full(&self, now: Time) -> bool {
        self.full.is_some_and(|(until, _)| now < until)
    }

    fn fill(&mut self, now: Time) {
        if !self.is_full(now) {
            let wait = self.full.map_or(FULL, |(_, before)| (before * 2).min(MAX_FULL));
            self.full = Some((now + wait, wait));
        }
    }
}

/// The conduct of many peers, by their ids: of those that were met last.
#[derive(Default)]
pub(super) struct Conducts(Recent<Id, Conduct, CONDUCTS_KEPT>);

impl Conducts {
    /// The conduct of a peer; that of an unknown one is good.
    pub(super) fn of(&self, peer: &Id) -> Conduct {
        self.0.get(peer).copied().unwrap_or_default()
    }

    /// Notes what a peer did.
    pub(super) fn note<T>(&mut self, peer: &Id, what: impl FnOnce(&mut Conduct) -> T) -> T {
        let mut conduct = self.of(peer);
        let result = what(&mut conduct);
        self.0.insert(*peer, conduct);
        result
    }

    /// A peer is gone.
    pub(super) fn left(&mut self, peer: &Id) {
        if self.0.contains(peer) {
            self.note(peer, Conduct::left);
        }
    }

    /// Whether the store of a peer was full lately.
    pub(super) fn is_full(&self, peer: &Id, now: Time) -> bool {
        self.0.get(peer).is_some_and(|conduct| conduct.is_full(now))
    }

    /// A peer says that its store is full.
    pub(super) fn fill(&mut self, peer: &Id, now: Time) {
        self.note(peer, |conduct| conduct.fill(now));
    }

    /// A peer took a block, or showed that it has it. To pull one is no proof of having others.
    pub(super) fn took(&mut self, peer: &Id, now: Time, how: Taken) {
        self.note(peer, |conduct| {
            conduct.full = None;
            if how == Taken::Had {
                conduct.honest = Some((true, now));
            }
        });
    }

    /// A peer said that it holds a block, and did not show it: it has as little room as a full one, so others stand in
    /// for it, and its word counts for nothing.
    pub(super) fn lied(&mut self, peer: &Id, now: Time) {
        self.fill(peer, now);
        self.boasted(peer, now);
    }

    /// A peer said that it holds a block, and had to pull it when it was to show it: it is taken to lack all that it
    /// says it holds.
    pub(super) fn boasted(&mut self, peer: &Id, now: Time) {
        self.note(peer, |conduct| conduct.honest = Some((false, now)));
    }

    /// Whether a peer is to show a block of what it says that it holds.
    pub(super) fn is_to_show(&self, peer: &Id, now: Time) -> bool {
        self.of(peer).honest.is_none_or(|(honest, at)| !honest || now.since(at) >= PROOF_LASTS)
    }

    /// Whether a peer has shown what it said that it holds, the last time that it was asked to.
    pub(super) fn is_honest(&self, peer: &Id) -> bool {
        self.of(peer).honest.is_some_and(|(honest, _)| honest)
    }

    /// Whether it has not shown it.
    pub(super) fn has_lied(&self, peer: &Id) -> bool {
        self.of(peer).honest.is_some_and(|(honest, _)| !honest)
    }

    /// What came of an offer to a peer, as far as it tells of its conduct. Whether others have to stand in for it.
    pub(super) fn judge(&mut self, peer: &Id, now: Time, result: &Result<Taken, Refusal>) -> bool {
        match result {
            Ok(how) => self.took(peer, now, *how),
            // As little comes of what is offered to a disk that takes nothing.
            Err(Refusal::Full | Refusal::Disk) => self.fill(peer, now),
            Err(Refusal::Unshown(_) | Refusal::Unread(_)) => self.lied(peer, now),
            // It may be reached at any time.
            Err(Refusal::Shut) => {}
            Err(_) => return false,
        }
        result.is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_peer_that_failed_is_tried_no_sooner_whatever_the_news_and_though_it_went_and_came_back() {
        let (mut conducts, peer) = (Conducts::default(), Id::of(b"peer"));
        let mut now = at(1000);
        for nth in 0..12_u32 {
            let retry = conducts.note(&peer, |conduct| {
                conduct.begin(now, true);
                conduct.failed(now, |wait| wait)
            });
            assert_eq!((retry - now).as_secs(), (10 * 2_u64.pow(nth)).min(3600));
            conducts.left(&peer);
            assert!(conducts.of(&peer).earliest(now) >= retry && conducts.of(&peer).earliest_grown(now) >= retry);
            now = retry;
        }
        conducts.note(&peer, Conduct::behaved);
        assert!(conducts.of(&peer).earliest(now) <= now + MAX_PAUSE_FLAPPING);
    }

    #[test]
    fn who_has_shown_a_block_is_believed_for_four_hours_and_who_only_pulled_one_is_not() {
        let (mut conducts, peer, begin) = (Conducts::default(), Id::of(b"peer"), at(1000));
        let believed = |conducts: &Conducts, now| conducts.is_honest(&peer) && !conducts.is_to_show(&peer, now);
        conducts.took(&peer, begin, Taken::Pulled);
        assert!(!believed(&conducts, begin) && !conducts.has_lied(&peer), "it has shown nothing");
        conducts.took(&peer, begin, Taken::Had);
        assert!(believed(&conducts, begin + (PROOF_LASTS - Duration::from_secs(1))));
        assert!(conducts.is_to_show(&peer, begin + PROOF_LASTS));
        conducts.boasted(&peer, begin);
        conducts.took(&peer, begin, Taken::Pulled);
        assert!(conducts.has_lied(&peer), "to pull what it said it held mends nothing");
    }

    #[test]
    fn a_peer_that_comes_and_goes_is_compared_with_ever_more_rarely_until_it_stays() {
        let (mut conducts, peer) = (Conducts::default(), Id::of(b"peer"));
        let (mut begun, mut now) = (0, at(1000));
        while now < at(1600) {
            // It comes back, and goes a second later.
            if conducts.of(&peer).earliest_grown(now) <= now {
                conducts.note(&peer, |conduct| conduct.begin(now, true));
                begun += 1;
            }
            conducts.left(&peer);
            now += Duration::from_secs(1);
        }
        assert!(begun <= 14, "{begun} comparisons in ten minutes");
        now += MAX_PAUSE_FLAPPING * 2;
        conducts.note(&peer, |conduct| conduct.begin(now, true));
        assert_eq!(conducts.of(&peer).earliest_grown(now), now + PAUSES_GROWN[0]);
    }

    #[test]
    fn a_peer_that_is_compared_with_ever_more_rarely_for_blocks_come_is_compared_with_at_once_after_a_death() {
        let mut conduct = Conduct::default();
        let mut now = at(1000);
        for _ in 0..10 {
            now = conduct.earliest(now);
            conduct.begin(now, false);
        }
        assert_eq!(conduct.earliest(now), now + PAUSES[1]);
        assert_eq!(conduct.earliest_grown(now), now);
    }

    #[test]
    fn who_is_full_is_remembered_for_ever_longer_whoever_asks_and_however_many_others_are_met() {
        let (mut conducts, full) = (Conducts::default(), Id::of(b"full"));
        let mut now = at(1);
        for wait in [600, 1200, 2400, 4800, 9600, 14400, 14400] {
            conducts.fill(&full, now);
            (0..100_u32).for_each(|n| conducts.fill(&Id::of(&n.to_be_bytes()), now));
            now += Duration::from_secs(wait - 1);
            conducts.left(&full);
            assert!(conducts.is_full(&full, now), "for {wait} s");
            now += Duration::from_secs(1);
            assert!(!conducts.is_full(&full, now), "for {wait} s");
        }
        conducts.took(&full, now, Taken::Had);
        conducts.fill(&full, now);
        assert!(!conducts.is_full(&full, now + FULL), "it had room meanwhile");
    }
}
