//! Two peers compare what they hold, so that one finds out what the other lacks.
//!
//! The ranges that both should hold are compared batch by batch: where both hold the same blocks, a batch costs one
//! request, however many blocks it has. Where they differ the other tells its keys if they are few, else what it holds
//! in smaller parts, and those parts that differ are compared next.

use std::collections::{BTreeSet, VecDeque};

use crate::id::Key;
use crate::node::holdings::Holdings;
use crate::node::leases::Class;
use crate::node::refusal::Refusal;
use crate::wire::summary::{MAX_KEYS, MAX_PARTS, MAX_RANGES};
use crate::wire::{Difference, Range, RangePart, Request, Response, Start, Summary};

/// Blocks in one batch at most: what is hashed for one request.
pub(super) const BATCH: usize = 2048;

/// Blocks that are looked at for one batch at most: those of other classes, which stand between, cost a look too.
const LOOKS: usize = 2 * BATCH;

/// Blocks that are looked at in one turn of the node, where those are looked for that only this peer has.
pub(super) const LOOKS_A_TURN: usize = 2 * LOOKS;

/// Peers that a part of a node which holds so many blocks begins to compare with in one turn: each costs a batch, which
/// is hashed.
pub(super) fn begun_a_turn(held: usize) -> usize {
    (LOOKS / held.max(1)).clamp(2, 16)
}

/// An answer is made from so many times as much at most, for the other peer may hold more than who asks.
const ANSWERED: usize = 2;

/// Ranges known to differ that wait at most. Of each size there are a few, and each is a part of one before.
const MAX_DIFFERING: usize = 256;

/// A range of blocks held here that another peer should hold too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SharedRange {
    pub(super) range: Range,
    /// This peer should not hold them itself, so the other has more there: its blocks are asked about one by one.
    pub(super) stray: bool,
    /// Of these blocks alone; none are all.
    pub(super) class: Option<Class>,
}

/// Ranges that one request is about.
#[derive(Debug)]
struct RangeBatch {
    ranges: Vec<Range>,
    class: Option<Class>,
}

/// What is asked of another peer, range by range; one request at a time.
#[derive(Debug)]
pub(super) struct Comparison {
    /// Not compared yet, in order.
    left: VecDeque<SharedRange>,
    /// Known to differ, the smallest last: it is next. Each of these goes into one request.
    differing: Vec<RangeBatch>,
    /// What the request under way is about, and the blocks that it tells of: what comes after it was sent is not known
    /// to the other peer by its answer.
    asked: Option<(RangeBatch, Vec<Key>)>,
    /// Requests that may follow. A peer that never comes to an end is not asked for ever.
    requests_left: usize,
}

/// The other peer answers with what cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Contradiction;

impl SharedRange {
    /// Whether all blocks of `other` are among these, and asked about in the same way.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.is_like(other) && self.range.contains(&other.range)
    }

    /// Whether both are asked about in the same way.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.stray, self.class) == (other.stray, other.class)
    }
}

impl Comparison {
    /// A comparison of these ranges, in order, of the blocks held here.
    pub(super) fn new(shares: &[SharedRange], held: usize) -> Self {
        let requests_left = 64 + held / 4;
        Self { left: shares.iter().copied().collect(), differing: Vec::new(), asked: None, requests_left }
    }

    /// Whether a request is under way.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// The request under way will have no answer, and no other follows.
    pub(super) fn give_up(&mut self) {
        self.asked = None;
        self.left.clear();
        self.differing.clear();
    }

    /// The next request; none if all is compared.
    pub(super) fn next(&mut self, holdings: &Holdings) -> Option<Request> {
        debug_assert!(!self.is_asking(), "one request at a time");
        let (batch, keys) = match self.differing.pop() {
            Some(batch) => {
                // These are parts of what was a batch.
                let own = |range| holdings.walk(range, batch.class, usize::MAX, &mut { usize::MAX }).0;
                let keys = batch.ranges.iter().flat_map(own).copied().collect();
                (batch, keys)
            }
            None => self.next_batch(holdings)?,
        };
        let request = Request::Compare { ranges: batch.ranges.clone(), held: Summary::of(&keys), copies: batch.class };
        self.asked = Some((batch, keys));
        Some(request)
    }

    /// Takes the next ranges of one class, with as many blocks as one batch may have; none if no blocks are left.
    fn next_batch(&mut self, holdings: &Holdings) -> Option<(RangeBatch, Vec<Key>)> {
        let (mut ranges, mut found, mut looks, mut of) = (Vec::new(), Vec::new(), LOOKS, None);
        while found.len() < BATCH
            && looks > 0
            && ranges.len() < MAX_RANGES
            && let Some(&SharedRange { range, stray, class }) = self.left.front()
            && (ranges.is_empty() || of == class)
        {
            self.left.pop_front();
            of = class;
            let room = BATCH - found.len();
            let most = if stray { room.min(MAX_RANGES - ranges.len()) } else { room };
            let (keys, last) = holdings.walk(&range, class, most, &mut looks);
            if stray {
                ranges.extend(keys.iter().map(|key| Range::around(key)));
                ranges.dedup();
            } else if !keys.is_empty() {
                ranges.push(Range { last, ..range });
            }
            if looks == 0 && ranges.is_empty() {
                // Nothing yet. So that this turn ends, the other is asked about as little as can be.
                ranges.push(Range { first: last, last });
            }
            found.extend(keys);
            if let Some(range) = range.after(last) {
                self.left.push_front(SharedRange { range, stray, class });
            }
        }
        (!ranges.is_empty()).then_some((RangeBatch { ranges, class: of }, found))
    }

    /// What was asked came to this. Tells `found` of blocks as [`on_answer`](Self::on_answer) does; of an older peer,
    /// which does not know how to compare, that it lacks all: it says of each block that it is offered whether it has
    /// it. Whether there is any sense in going on.
    pub(super) fn hear(&mut self, answer: Result<Response, Refusal>, mut found: impl FnMut(&Key, bool)) -> bool {
        match answer {
            Ok(response) => self.on_answer(&response, found).is_ok(),
            Err(Refusal::Busy | Refusal::Leaving) => false,
            Err(_) => {
                let asked = self.asked.take().map(|(_, keys)| keys);
                asked.iter().flatten().for_each(|key| found(key, false));
                true
            }
        }
    }

    /// The request under way was answered. Tells `found` of each block that it told of, where that is known now,
    /// whether the other peer holds it too.
    ///
    /// # Errors
    /// The answer cannot be, or the other peer has been asked too often: there is no sense in going on.
    fn on_answer(&mut self, answer: &Response, mut found: impl FnMut(&Key, bool)) -> Result<(), Contradiction> {
        let (asked, keys) = self.asked.take().ok_or(Contradiction)?;
        self.requests_left = self.requests_left.checked_sub(1).ok_or(Contradiction)?;
        match answer {
            Response::Same => {
                keys.iter().for_each(|key| found(key, true));
                Ok(())
            }
            Response::Differs(Difference::Keys(theirs)) => {
                let theirs: BTreeSet<Start> = theirs.iter().copied().collect();
                keys.iter().for_each(|key| found(key, theirs.contains(&Start::of(key))));
                Ok(())
            }
            Response::Differs(Difference::Parts(parts)) => self.on_parts(&asked, &keys, parts, found),
            _ => Err(Contradiction),
        }
    }

    fn on_parts(
        &mut self,
        asked: &RangeBatch,
        keys: &[Key],
        parts: &[RangePart],
        mut found: impl FnMut(&Key, bool),
    ) -> Result<(), Contradiction> {
        let Some(end) = parts.last().map(|part| part.range.last) else { return Err(Contradiction) };
        if !parts.iter().all(|part| asked.ranges.iter().any(|range| range.contains(&part.range))) {
            return Err(Contradiction);
        }
        // Parts that overlap would have each block hashed and told of again and again. Keys that start alike may stand
        // at the end of one and at the beginning of the next.
        if parts.windows(2).any(|pair| pair[1].range.first < pair[0].range.last) {
            return Err(Contradiction);
        }
        let within = |range: &Range| {
            let first = keys.partition_point(|key| Start::of(key) < range.first);
            &keys[first..keys.partition_point(|key| Start::of(key) <= range.last).max(first)]
        };
        let batch = |ranges: Vec<Range>| (!ranges.is_empty()).then_some(RangeBatch { ranges, class: asked.class });
        // Of the rest nothing was said. Where no block is told of, nothing is to be found out either.
        let rest = asked.ranges.iter().filter_map(|range| range.after(end));
        let rest = rest.filter_map(|rest| Some(Range { first: Start::of(within(&rest).first()?), ..rest }));
        self.differing.extend(batch(rest.collect()));
        let (mut few, mut count) = (Vec::new(), 0);
        for RangePart { range, held } in parts {
            let own = within(range);
            let (same, theirs) = (Summary::of(own) == *held, held.count as usize);
            if same || theirs == 0 {
                own.iter().for_each(|key| found(key, same));
            } else if own.is_empty() {
                // Only the other peer holds something there.
            } else if theirs > MAX_KEYS {
                self.differing.extend(batch(vec![*range]));
            } else {
                // Several such parts are asked about at once: all their keys fit one answer.
                if count + theirs > MAX_KEYS {
                    self.differing.extend(batch(std::mem::take(&mut few)));
                    count = 0;
                }
                count += theirs;
                few.push(*range);
            }
        }
        self.differing.extend(batch(few));
        if self.differing.len() > MAX_DIFFERING { Err(Contradiction) } else { Ok(()) }
    }
}

/// Answers a peer that holds `theirs` in these ranges, of the blocks of a class or of all; and whether blocks are held
/// here that it may lack, and the looks that the answer took.
pub(in crate::node) fn answer(
    holdings: &Holdings,
    ranges: &[Range],
    theirs: &Summary,
    class: Option<Class>,
) -> (Response, bool, usize) {
    let (mut walked, mut count, mut looks, mut whole) = (Vec::new(), 0, ANSWERED * LOOKS, true);
    for range in ranges {
        let most = (ANSWERED * BATCH).saturating_sub(count);
        whole = most > 0 && looks > 0;
        if !whole {
            break;
        }
        let (keys, last) = holdings.walk(range, class, most, &mut looks);
        count += keys.len();
        whole = last == range.last;
        walked.push((Range { last, ..*range }, keys));
        if !whole {
            break;
        }
    }
    let (keys, took) = (|| walked.iter().flat_map(|(_, keys)| keys.iter().copied()), ANSWERED * LOOKS - looks);
    if whole && Summary::of(keys()) == *theirs {
        return (Response::Same, false, took);
    }
    let difference = if whole && count <= MAX_KEYS {
        Difference::Keys(keys().map(Start::of).collect())
    } else {
        Difference::Parts(parts(&walked))
    };
    (Response::Differs(difference), count > 0, took)
}

/// What is held in each of these ranges; if it is one, in parts of it with as many blocks each.
fn parts(walked: &[(Range, Vec<&Key>)]) -> Vec<RangePart> {
    let (range, keys) = match walked {
        [(range, keys)] if !keys.is_empty() => (range, keys),
        _ => {
            let held = |keys: &[&Key]| Summary::of(keys.iter().copied());
            return walked
                .iter()
                .take(MAX_PARTS)
                .map(|(range, keys)| RangePart { range: *range, held: held(keys) })
                .collect();
        }
    };
    let runs: Vec<&[&Key]> = keys.chunks(keys.len().div_ceil(MAX_PARTS)).collect();
    let first = |run: usize| if run == 0 { range.first } else { Start::of(runs[run][0]) };
    let part = |run: usize| {
        let last = if run + 1 == runs.len() { range.last } else { Start(first(run + 1).0 - 1).max(first(run)) };
        RangePart { range: Range { first: first(run), last }, held: Summary::of(runs[run].iter().copied()) }
    };
    (0..runs.len()).map(part).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lease::{Lease, Secret};
    use crate::node::leases::USUAL;

    fn holdings(keys: impl IntoIterator<Item = u32>) -> Holdings {
        let mut holdings = Holdings::new(None, 7);
        holdings.found(keys.into_iter().map(|n| (Key::of(&n.to_be_bytes()), 1)).collect(), &[]);
        holdings
    }

    /// The same, of which each hundredth asks for three copies.
    fn classes(keys: impl IntoIterator<Item = u32>) -> Holdings {
        let mut holdings = Holdings::new(None, 7);
        let three = [Lease { id: Secret::from_bytes([1; 32]).id(), until: None, copies: 3 }];
        for n in keys {
            holdings.insert(Key::of(&n.to_be_bytes()), 1, if n % 100 == 0 { &three } else { &[] }, None);
        }
        holdings
    }

    /// What `mine` finds that `theirs` lacks in these ranges, and with how many requests.
    fn compare(mine: &Holdings, theirs: &Holdings, shares: &[SharedRange]) -> (BTreeSet<Key>, usize) {
        let mut comparison = Comparison::new(shares, mine.len());
        let (mut lacking, mut requests) = (BTreeSet::new(), 0);
        while let Some(Request::Compare { ranges, held, copies }) = comparison.next(mine) {
            assert!(ranges.len() <= MAX_RANGES);
            requests += 1;
            let (answer, ..) = answer(theirs, &ranges, &held, copies);
            if let Response::Differs(Difference::Parts(parts)) = &answer {
                // What peers of all versions count on.
                let is_asked = |part: &RangePart| ranges.iter().any(|range| range.contains(&part.range));
                assert!((1..=MAX_PARTS).contains(&parts.len()) && parts.iter().all(is_asked), "{parts:?}");
                assert!(parts.is_sorted_by(|one, next| one.range.last < next.range.first), "{parts:?}");
            }
            let found = |key: &Key, held: bool| assert!(held || lacking.insert(*key), "each is told once");
            comparison.on_answer(&answer, found).expect("an honest peer never contradicts itself");
        }
        (lacking, requests)
    }

    const ALL: Range = Range { first: Start(0), last: Start(u64::MAX) };

    fn all(stray: bool) -> [SharedRange; 1] {
        [SharedRange { range: ALL, stray, class: None }]
    }

    #[test]
    fn equal_peers_need_one_request_for_each_piece_and_an_empty_one_no_more() {
        let mine = holdings(0..10_000);
        assert_eq!(compare(&mine, &mine, &all(false)), (BTreeSet::new(), 5));
        let (lacking, requests) = compare(&mine, &holdings([]), &all(false));
        assert_eq!((lacking.len(), requests), (10_000, 5));
    }

    #[test]
    fn one_block_among_ten_thousand_is_found_with_a_few_requests_more() {
        let mine = holdings(0..10_000);
        let (lacking, requests) = compare(&mine, &holdings((0..10_000).filter(|n| *n != 77)), &all(false));
        assert_eq!(lacking, BTreeSet::from([Key::of(&77_u32.to_be_bytes())]));
        assert!(requests <= 8, "{requests} requests");
    }

    #[test]
    fn a_peer_that_holds_far_more_does_not_make_it_much_dearer() {
        let (lacking, requests) = compare(&holdings(0..10), &holdings(5..50_000), &all(false));
        assert_eq!(lacking.len(), 5);
        assert!(requests <= 60, "{requests} requests");
        let (lacking, requests) = compare(&holdings(0..10), &holdings(5..50_000), &all(true));
        assert_eq!((lacking.len(), requests), (5, 1));
    }

    #[test]
    fn however_often_and_about_whatever_a_peer_is_asked_in_one_request_it_looks_at_few_of_its_blocks() {
        let (theirs, held) = (holdings(0..100_000), Summary::of(&[Key::of(b"")]));
        for (class, ranges) in [(None, 1), (None, 16), (Some(USUAL), 16), (Some(6), 1), (Some(6), 16)] {
            let (answer, ..) = answer(&theirs, &vec![ALL; ranges], &held, class);
            let Response::Differs(Difference::Parts(parts)) = answer else { panic!("{class:?}, {ranges}: {answer:?}") };
            let count = |part: &RangePart| theirs.walk(&part.range, None, usize::MAX, &mut { usize::MAX }).0.len();
            let looked_at: usize = parts.iter().map(count).sum();
            assert!((1..=ANSWERED * LOOKS).contains(&looked_at), "{class:?}, {ranges}: {looked_at}");
        }
    }

    #[test]
    fn few_blocks_of_a_class_are_found_among_many_of_another_by_pieces() {
        let share = |stray, class| [SharedRange { range: ALL, stray, class: Some(class) }];
        let (mine, theirs) = (classes(0..30_000), classes((0..60_000).filter(|n| !matches!(n, 700 | 29_950))));
        for stray in [false, true] {
            let (lacking, requests) = compare(&mine, &theirs, &share(stray, 3));
            assert_eq!(lacking, BTreeSet::from([Key::of(&700_u32.to_be_bytes())]));
            assert!(requests <= 40, "{requests} requests");
            let (lacking, requests) = compare(&mine, &theirs, &share(stray, 6));
            assert_eq!(lacking, BTreeSet::new());
            assert!(
                (2..=8).contains(&requests),
                "none is held, and not all are looked at at once: {requests} requests"
            );
        }
        let (lacking, requests) = compare(&classes((0..100).map(|n| n * 100)), &theirs, &share(false, 3));
        assert!(lacking.len() == 1 && requests <= 20, "{requests} requests");
    }

    #[test]
    fn what_came_after_a_question_is_not_known_by_its_answer() {
        let mut mine = holdings(0..10);
        let mut comparison = Comparison::new(&all(false), mine.len());
        comparison.next(&mine).expect("there is something to compare");
        mine.insert(Key::of(b"new"), 1, &[], None);
        let mut told = 0;
        assert_eq!(comparison.on_answer(&Response::Same, |_, _| told += 1), Ok(()));
        assert_eq!(told, 10);
    }

    #[test]
    fn a_peer_that_tells_ever_more_differences_does_not_fill_the_memory() {
        let mine = holdings(0..100_000);
        let mut comparison = Comparison::new(&all(false), mine.len());
        let mut waiting = 0;
        while let Some(Request::Compare { ranges, held, .. }) = comparison.next(&mine) {
            let held = Summary { count: u32::MAX, ..held };
            // The end of each range is to be asked about after the rest.
            let Range { first, last } = ranges[0];
            let range = Range { first, last: Start(last.0 - (last.0 - first.0) / 64 - 1) };
            let liar = Response::Differs(Difference::Parts(vec![RangePart { range, held }]));
            if comparison.on_answer(&liar, |_, _| ()).is_err() {
                break;
            }
            waiting = waiting.max(comparison.differing.len());
        }
        assert!((MAX_DIFFERING / 2..=MAX_DIFFERING).contains(&waiting), "{waiting}");
    }

    #[test]
    fn parts_that_overlap_cannot_be() {
        let mine = holdings(0..100);
        let mut comparison = Comparison::new(&all(false), mine.len());
        comparison.next(&mine).expect("there is something to compare");
        let whole = RangePart { range: ALL, held: Summary { count: 99, ..Summary::of(&[]) } };
        let (mut told, liar) = (0, Response::Differs(Difference::Parts(vec![whole; 2])));
        assert_eq!(comparison.on_answer(&liar, |_, _| told += 1), Err(Contradiction));
        assert_eq!(told, 0);
    }

    #[test]
    fn a_peer_that_never_comes_to_an_end_is_asked_no_more_after_a_while() {
        let mine = holdings(0..100);
        let mut comparison = Comparison::new(&all(false), mine.len());
        let held = Summary::of(&[]);
        let liar =
            Response::Differs(Difference::Parts(vec![RangePart { range: ALL, held: Summary { count: 99, ..held } }]));
        let mut requests = 0;
        while comparison.next(&mine).is_some() && comparison.on_answer(&liar, |_, _| ()).is_ok() {
            requests += 1;
        }
        assert_eq!(requests, 64 + 25);
        let mut comparison =
            Comparison::new(&[SharedRange { range: Range::around(&Key::of(b"")), stray: false, class: None }], 1);
        comparison.asked = Some((RangeBatch { ranges: vec![Range::around(&Key::of(b""))], class: None }, Vec::new()));
        assert_eq!(comparison.on_answer(&liar, |_, _| ()), Err(Contradiction), "parts outside of what was asked");
    }

    proptest! {
        #[test]
        fn what_the_other_lacks_is_found_whatever_either_holds(
            mine in proptest::collection::btree_set(0..6_000_u32, 0..3_000),
            theirs in proptest::collection::btree_set(0..6_000_u32, 0..3_000),
            mut cuts in proptest::collection::btree_set(any::<u64>(), 0..40),
            stray: bool,
        ) {
            // Every other range between the cuts is shared.
            cuts.extend([0, u64::MAX]);
            let cuts: Vec<u64> = cuts.into_iter().collect();
            let ranges = cuts.windows(2).step_by(2).map(|pair| Range { first: Start(pair[0]), last: Start(pair[1] - 1) });
            let shares: Vec<SharedRange> = ranges.map(|range| SharedRange { range, stray, class: None }).collect();
            let key = |n: &u32| Key::of(&n.to_be_bytes());
            let shared = |key: &Key| shares.iter().any(|share| share.range.contains(&Range::around(key)));
            let expected: BTreeSet<Key> = mine.difference(&theirs).map(key).filter(shared).collect();
            let (mine, theirs) = (holdings(mine), holdings(theirs));
            prop_assert_eq!(compare(&mine, &theirs, &shares).0, expected);
        }
    }
}
