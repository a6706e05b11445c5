//! Replica sets while peers come and go.

use std::collections::{BTreeSet, VecDeque};

use super::*;
use crate::config::{REPAIR_BOUND, REPAIR_DELAY, REPUBLISH_INTERVAL};
use crate::node::job::{JobError, JobErrorKind};
use crate::node::trouble::Trouble;
use crate::wire::{Difference, Range, Start, Summary};

/// The blocks with these numbers, as a store has them.
pub(super) fn blocks(numbers: std::ops::Range<u64>) -> Vec<(Key, u32)> {
    numbers.map(|n| (key(n), 10)).collect()
}

/// Lets time pass until the node sends requests.
pub(super) fn next_requests(bench: &mut Bench, limit: Duration) -> Vec<(SocketAddr, u64, Request)> {
    let until = bench.now + limit;
    while bench.now < until {
        let Some(actions) = bench.wait(until.since(bench.now)) else { break };
        let sent = requests(&actions);
        if !sent.is_empty() {
            return sent;
        }
    }
    Vec::new()
}

/// What a peer answers that holds `held` where it is asked to compare.
pub(super) fn compared(held: &[(Key, u32)], request: &Request) -> Response {
    let Request::Compare { ranges, held: theirs, .. } = request else { panic!("{request:?}") };
    let mut holdings = crate::node::holdings::Holdings::new(None, 7);
    holdings.found(held.to_vec(), &[]);
    crate::node::keeping::answer(&holdings, ranges, theirs, None).0
}

/// Answers what was asked as a peer does that holds `held` of the blocks compared; returns the requests that follow.
pub(super) fn answered(
    bench: &mut Bench,
    (to, magic, request): &(SocketAddr, u64, Request),
    held: &[(Key, u32)],
) -> Vec<(SocketAddr, u64, Request)> {
    let actions = bench.hears_answer(*to, *magic, compared(held, request));
    requests(&shown(bench, held, actions))
}

/// A peer that says it holds `held` shows what it is offered of that. What the node does then, and did besides.
pub(super) fn shown(bench: &mut Bench, held: &[(Key, u32)], actions: Vec<Action>) -> Vec<Action> {
    let mut follow = |action: Action| match &requests(std::slice::from_ref(&action))[..] {
        [(to, magic, Request::Store { key, .. })] if held.iter().any(|(held, _)| held == key) => {
            let actions = bench.hears_answer(*to, *magic, Response::Shown { sample: Id::ZERO });
            let [(job, Job::Sample { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
            bench.ends(job, Outcome::Sampled { sample: Id::ZERO })
        }
        _ => vec![action],
    };
    actions.into_iter().flat_map(&mut follow).collect()
}

/// Lets the node begin to compare with every other member of the replica sets, which it does soon after the start.
pub(super) fn comparisons(bench: &mut Bench) -> Vec<(SocketAddr, u64, Request)> {
    next_requests(bench, REPAIR_BOUND)
}

#[test]
fn what_both_hold_costs_one_request_to_each_member_an_hour_however_many_blocks() {
    let held = blocks(0..2_000);
    let mut bench = Bench::new(Config::default(), 3, 3).start(&held);
    for _ in 0..3 {
        let began = bench.now;
        let mut asked = Vec::new();
        while asked.len() < 3 {
            for request in next_requests(&mut bench, REPUBLISH_INTERVAL) {
                assert_eq!(answered(&mut bench, &request, &held), []);
                asked.push(request.0);
            }
        }
        asked.sort_unstable();
        assert_eq!(asked, [1, 2, 3].map(|n| peer(n).addr));
        assert!(bench.now.since(began) <= REPUBLISH_INTERVAL);
    }
}

#[test]
fn a_new_block_is_compared_by_itself_however_many_are_held_beside_it() {
    let mut held = blocks(0..6_000);
    let mut bench = Bench::new(Config::default(), 1, 1).start(&held);
    let mut asked = comparisons(&mut bench);
    while let Some(request) = asked.pop() {
        asked.extend(answered(&mut bench, &request, &held));
    }
    bench.does(Event::Validated { addr: peer(1).addr });
    for n in 6_000..6_003 {
        let offer = Request::Store { key: key(n), size: Some(10), leases: vec![] };
        let actions = bench.hears_request(peer(1), n, offer);
        let [(job, Job::Pull { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
        bench.ends(job, Outcome::Stored { size: 10 });
        held.push((key(n), 10));
    }
    let [ref request] = next_requests(&mut bench, REPAIR_BOUND)[..] else { panic!("the sender is asked") };
    let Request::Compare { ranges, .. } = &request.2 else { panic!("{request:?}") };
    let asked: BTreeSet<Range> = ranges.iter().copied().collect();
    assert_eq!(asked, (6_000..6_003).map(|n| Range::around(&key(n))).collect());
    assert_eq!(answered(&mut bench, request, &held), []);
    assert_eq!(next_requests(&mut bench, REPUBLISH_INTERVAL / 2), []);
}

#[test]
fn a_member_that_had_to_pull_what_it_was_to_show_is_offered_all_that_it_says_it_holds() {
    let held = blocks(0..40);
    let config = Config { replicas: 2, ..Config::default() };
    let mut bench = Bench::new(config, 1, 0).start(&held);
    let [(to, magic, ref request)] = comparisons(&mut bench)[..] else { panic!("one member is asked") };
    let mut offers: VecDeque<_> = requests(&bench.hears_answer(to, magic, compared(&held, request))).into();
    assert_eq!(offers.len(), 1, "what it is to show: {offers:?}");
    let (mut offered, until) = (BTreeSet::new(), bench.now + REPUBLISH_INTERVAL / 2);
    while bench.now < until {
        let actions = match offers.pop_front() {
            Some((to, magic, Request::Store { key, .. })) => {
                offered.insert(key);
                bench.hears_answer(to, magic, Response::Saved)
            }
            Some((to, magic, request)) => bench.hears_answer(to, magic, compared(&held, &request)),
            None => match bench.wait(until.since(bench.now)) {
                Some(actions) => actions,
                None => break,
            },
        };
        offers.extend(requests(&actions));
    }
    assert_eq!(offered.len(), held.len());
}

#[test]
fn what_a_member_lacks_it_is_offered_by_the_other_member_nearest_to_the_key() {
    let held = blocks(0..40);
    let mut bench = Bench::new(Config::default(), 3, 0).start(&held);
    let asked = comparisons(&mut bench);
    let to_first = asked.iter().find(|(to, ..)| *to == peer(1).addr).expect("every member is asked");
    let offers = answered(&mut bench, to_first, &[]);
    let offered: Vec<Key> = offers
        .iter()
        .map(|(to, _, request)| {
            assert_eq!(*to, peer(1).addr);
            let Request::Store { key, size: Some(10), .. } = request else { panic!("{request:?}") };
            *key
        })
        .collect();
    let nearest = |key: &Key| [0, 2, 3].into_iter().min_by_key(|n| peer(*n).id.distance(key)) == Some(0);
    let mut expected: Vec<Key> = held.iter().map(|(key, _)| *key).filter(nearest).collect();
    expected.sort_unstable();
    assert!(offered == expected && offered.len() < 30, "{} offers", offered.len());
}

#[test]
fn where_nobody_gives_what_a_member_lacks_the_others_take_over_within_seconds() {
    let held = blocks(0..40);
    let mut bench = Bench::new(Config::default(), 3, 0).start(&held);
    for request in comparisons(&mut bench) {
        if request.0 != peer(1).addr {
            answered(&mut bench, &request, &held);
            continue;
        }
        for (to, magic, _) in answered(&mut bench, &request, &[]) {
            bench.hears_answer(to, magic, Response::Saved);
        }
    }
    let began = bench.now;
    let given: BTreeSet<Key> = held
        .iter()
        .map(|(key, _)| *key)
        .filter(|key| [2, 3].iter().all(|n| peer(0).id.distance(key) < peer(*n).id.distance(key)))
        .collect();
    let has: Vec<_> = held.iter().filter(|(key, _)| given.contains(key)).copied().collect();
    let again = next_requests(&mut bench, REPAIR_BOUND);
    assert_eq!(answered(&mut bench, &again[0], &has), [], "the others have their time");
    let again = next_requests(&mut bench, REPAIR_BOUND);
    let offers = answered(&mut bench, &again[0], &has);
    assert_eq!(offers.len(), held.len() - has.len(), "all that it still lacks");
    assert!(bench.now.since(began) < Duration::from_secs(12));
}

#[test]
fn a_peer_that_enters_the_set_after_a_death_is_compared_with_soon_and_nobody_else() {
    let config = Config { replicas: 3, ..Config::default() };
    let held = blocks(0..100);
    let mut bench = Bench::new(config, 4, 0).start(&held);
    let asked = comparisons(&mut bench);
    assert_eq!(asked.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [peer(1).addr, peer(2).addr]);
    for request in asked {
        answered(&mut bench, &request, &held);
    }
    let message = Message::request(1, Sender::member(peer(0).id, peer(0).addr), Request::Ping);
    // Some time after the last look.
    bench.now += Duration::from_secs(1);
    bench.does(Event::Undeliverable { to: peer(2).addr, message, obstacle: Obstacle::Refused });
    let began = bench.now;
    let asked = next_requests(&mut bench, REPAIR_BOUND);
    assert_eq!(asked.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [peer(3).addr]);
    assert_eq!(bench.now.since(began), REPAIR_DELAY);
}

#[test]
fn a_peer_that_does_not_answer_is_tried_ever_more_rarely() {
    let mut bench = Bench::new(Config::default(), 1, 0).start(&blocks(0..10));
    let (mut tries, mut last) = (Vec::new(), None);
    while tries.len() < 9 {
        for (_, magic, request) in next_requests(&mut bench, REPUBLISH_INTERVAL * 2) {
            if matches!(request, Request::Compare { .. }) && last != Some(magic) {
                tries.push(bench.now);
                last = Some(magic);
            }
        }
    }
    let pauses: Vec<u64> = tries.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]) && pauses[7] > 900, "{pauses:?}");
}

#[test]
fn a_full_member_is_offered_no_more_for_a_while_and_the_peer_next_to_the_set_stands_in() {
    next_stands_in_for_one_that_says("full");
}

/// Of what is offered to a disk that is read-only, as little comes.
#[test]
fn a_member_whose_disk_takes_nothing_is_met_as_one_that_is_full() {
    next_stands_in_for_one_that_says("the disk refused the block");
}

fn next_stands_in_for_one_that_says(refusal: &str) {
    let config = Config { replicas: 2, ..Config::default() };
    let held = blocks(0..500);
    let mut bench = Bench::new(config, 2, 0).start(&held);
    let asked = comparisons(&mut bench);
    let mut queue: VecDeque<_> = answered(&mut bench, &asked[0], &[]).into();
    let (mut refused, mut taken) = (0, BTreeSet::new());
    while let Some((to, magic, request)) = queue.pop_front() {
        let actions = match request {
            Request::Store { .. } if to == peer(1).addr => {
                refused += 1;
                bench.hears(to, Message::error(magic, refusal))
            }
            Request::FindValue { .. } => bench.hears_answer(to, magic, Response::Nodes(Vec::new())),
            Request::Store { key, .. } => {
                taken.insert(key);
                bench.hears_answer(to, magic, Response::Saved)
            }
            other => panic!("{other:?} to {to}"),
        };
        queue.extend(requests(&actions));
        if queue.is_empty() {
            queue.extend(requests(&bench.wait(REPAIR_DELAY).unwrap_or_default()));
        }
    }
    assert!(refused <= 128, "{refused} offers to a peer that said: {refusal}");
    assert_eq!(taken.len(), held.len(), "the next peer has them all");
}

#[test]
fn an_older_peer_that_cannot_compare_is_offered_each_block_by_the_nearest_member() {
    let held = blocks(0..40);
    let mut bench = Bench::new(Config::default(), 2, 0).start(&held);
    let (to, magic, _) = comparisons(&mut bench)[0].clone();
    let offers = requests(&bench.hears(to, Message::error(magic, "type is unknown")));
    assert!(offers.iter().all(|(_, _, request)| matches!(request, Request::Store { .. })));
    assert!((5..35).contains(&offers.len()), "{} offers", offers.len());
}

#[test]
fn a_copy_outside_the_set_is_asked_about_by_itself_and_its_set_looked_up_only_if_a_member_keeps_lacking_it() {
    let overlay =
        Scripted { me: peer(0), set: (1..=4).map(peer).collect(), holds: false, ends: true, unreached: Vec::new() };
    let mut bench = Bench::on(Config { replicas: 3, ..Config::default() }, overlay).start(&blocks(0..5));
    let mut asked = comparisons(&mut bench);
    assert_eq!(asked.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [peer(1).addr, peer(2).addr], "two do");
    assert_eq!(answered(&mut bench, &asked.remove(0), &blocks(0..5)), []);
    for _ in 0..3 {
        let [(to, _, Request::Compare { ranges, held, .. })] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!((*to, ranges.len(), held.count), (peer(2).addr, 5, 5), "each by itself");
        assert_eq!(answered(&mut bench, &asked[0], &blocks(1..5)), [], "the members have their time");
        asked = next_requests(&mut bench, REPAIR_BOUND);
    }
    // The lookup found that nobody holds it.
    let offer = Request::Store { key: key(0), size: Some(10), leases: vec![] };
    let offered: Vec<_> = asked.into_iter().map(|(to, _, request)| (to, request)).collect();
    assert_eq!(offered, [1, 2, 3].map(|n| (peer(n).addr, offer.clone())));
}

#[test]
fn a_peer_that_compares_is_told_what_is_here_and_compared_with_where_that_is_a_surprise() {
    let held = blocks(0..30);
    let mut bench = Bench::new(Config::default(), 2, 0).start(&held);
    for request in comparisons(&mut bench) {
        answered(&mut bench, &request, &held);
    }
    let all = vec![Range { first: Start(0), last: Start(u64::MAX) }];
    let keys = held.iter().map(|(key, _)| *key).collect::<BTreeSet<Key>>();
    let same = Request::Compare { ranges: all.clone(), held: Summary::of(&keys), copies: None };
    let answer = responses(&bench.hears_request(peer(1), 5, same));
    assert_eq!(answer, [(peer(1).addr, 5, Ok(Response::Same))]);
    let empty = Request::Compare { ranges: all, held: Summary::of(&[]), copies: None };
    let answer = responses(&bench.hears_request(peer(1), 6, empty));
    let starts = keys.iter().map(Start::of).collect();
    assert_eq!(answer, [(peer(1).addr, 6, Ok(Response::Differs(Difference::Keys(starts))))]);
    let asked = next_requests(&mut bench, REPAIR_BOUND);
    assert!(matches!(asked[..], [(to, _, Request::Compare { .. })] if to == peer(1).addr), "{asked:?}");
}

#[test]
fn blocks_that_were_here_at_the_start_are_looked_at_one_after_another_or_when_others_are_told_of_them() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&blocks(1..7));
    let mut first = Vec::new();
    while first.is_empty() {
        first = jobs(&bench.wait(REPAIR_BOUND).expect("all are looked at soon"));
        first.retain(|(_, job)| matches!(job, Job::Verify { .. }));
    }
    let mut keys: Vec<Key> = (1..7).map(key).collect();
    keys.sort_unstable();
    assert_eq!(
        first.iter().map(|(_, job)| job.clone()).collect::<Vec<_>>(),
        [Job::Verify { key: keys[0], leases: vec![] }]
    );
    let asked = bench.hears_request(peer(1), 1, Request::FindValue { key: keys[5] });
    let second = jobs(&asked);
    assert_eq!(
        second.iter().map(|(_, job)| job.clone()).collect::<Vec<_>>(),
        [Job::Verify { key: keys[5], leases: vec![] }]
    );
    assert_eq!(jobs(&bench.ends(first[0].0, Outcome::Sound { size: 10 })), []);
    // What is found damaged is no longer said to be here, and is brought back.
    let actions = bench.does(Event::Damaged { key: keys[5] });
    assert!(matches!(jobs(&actions)[..], [(_, Job::Pull { .. })]));
    let mut next = jobs(&bench.ends(second[0].0, failed(JobErrorKind::Corrupt)));
    for key in &keys[1..5] {
        let [(job, Job::Verify { key: looked, .. })] = next[..] else { panic!("{next:?}") };
        assert_eq!(looked, *key);
        next = jobs(&bench.ends(job, Outcome::Sound { size: 10 }));
    }
    assert_eq!((next, bench.node.held().count()), (vec![], 5));
}

#[test]
fn a_damaged_block_is_brought_back_from_a_holder_and_the_next_if_that_fails() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[(key(1), 10)]);
    let actions = bench.does(Event::Damaged { key: key(1) });
    assert!(actions.contains(&Action::Notify(Notice::BlockDamaged { key: key(1) })));
    let [(job, Job::Pull { from, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(from, peer(1).addr);
    assert_eq!(bench.node.held().count(), 0, "a damaged block is not held");
    let error = JobError { kind: JobErrorKind::Corrupt, reason: String::new() };
    let actions = bench.ends(job, Outcome::Failed(error));
    let [(job, Job::Pull { from, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(from, peer(2).addr);
    bench.ends(job, Outcome::Stored { size: 10 });
    assert_eq!(bench.node.held().collect::<Vec<_>>(), [(key(1), 10)]);
}

#[test]
fn a_damaged_block_that_nobody_gives_is_looked_for_again_and_at_last_given_up() {
    let mut bench = Bench::new(Config::default(), 1, 0).start(&[(key(1), 10)]);
    let mut actions = bench.does(Event::Damaged { key: key(1) });
    let (mut pulls, mut told) = (Vec::new(), Vec::new());
    loop {
        if let [(job, Job::Pull { from, .. })] = jobs(&actions)[..] {
            assert_eq!(from, peer(1).addr);
            pulls.push(bench.now);
            let error = JobError { kind: JobErrorKind::NotFound, reason: String::new() };
            told.push(bench.ends(job, Outcome::Failed(error)));
            assert!(bench.node.is_at_rest(), "between two attempts nothing is under way");
        }
        match bench.wait(REPAIR_BOUND * 10) {
            Some(next) => actions = next,
            None => break,
        }
    }
    let pauses: Vec<u64> = pulls.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(pauses.len() == 5 && pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    assert!(pulls[1] - pulls[0] < REPAIR_BOUND, "more than once within the bound");
    let lost = Action::Notify(Notice::Trouble { trouble: Trouble::Lost { key: key(1) } });
    assert!(
        told.iter().rposition(|actions| !actions.contains(&lost)) == Some(4),
        "it is told once, at the end: {told:?}"
    );
}

#[test]
fn a_damaged_block_that_is_offered_meanwhile_needs_no_further_look() {
    let mut bench = Bench::new(Config::default(), 1, 0).start(&[(key(1), 10)]);
    let [(job, _)] = jobs(&bench.does(Event::Damaged { key: key(1) }))[..] else { panic!("it is pulled") };
    bench.ends(job, Outcome::Failed(JobError { kind: JobErrorKind::NotFound, reason: String::new() }));
    bench.does(Event::Validated { addr: peer(1).addr });
    let actions = bench.hears_request(peer(1), 5, Request::Store { key: key(1), size: Some(10), leases: vec![] });
    let [(job, Job::Pull { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    bench.ends(job, Outcome::Stored { size: 10 });
    while let Some(actions) = bench.wait(REPAIR_BOUND * 10) {
        assert!(!jobs(&actions).iter().any(|(_, job)| matches!(job, Job::Pull { .. })), "{actions:?}");
    }
}
