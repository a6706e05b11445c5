//! On whose behalf blocks are kept, and when they go.

use std::collections::BTreeSet;

use super::*;
use crate::lease::{Lease, LeaseNews, Note, Secret};

pub(super) const HOUR: u64 = 3600;
pub(super) const NOW: u64 = 1_700_000_000;

pub(super) fn secret(n: u8) -> Secret {
    format!("{n:02x}").repeat(32).parse().expect("64 digits")
}

pub(super) fn lease(n: u8, until: Option<u64>) -> Lease {
    Lease { id: secret(n).id(), until, copies: 0 }
}

pub(super) fn laid(n: u64, leases: &[Lease]) -> Note {
    Note::Laid { key: key(n), leases: leases.to_vec() }
}

/// A node that holds these blocks, with what was noted about them.
pub(super) fn holding(held: &[(Key, u32)], notes: &[Note]) -> Bench {
    holding_since(NOW, held, notes)
}

/// The same, of a peer that ran last at this time.
fn holding_since(ran: u64, held: &[(Key, u32)], notes: &[Note]) -> Bench {
    let mut bench = Bench::new(Config::default(), 2, 0);
    bench.does(Event::Start {
        bootstrap: Vec::new(),
        hosts: Vec::new(),
        remembered: Vec::new(),
        held: held.to_vec(),
        notes: notes.to_vec(),
        unix_time: NOW,
        ran,
    });
    bench.does(Event::Validated { addr: peer(1).addr });
    bench
}

pub(super) fn offer(n: u64, leases: &[Lease]) -> Request {
    Request::Store { key: key(n), size: Some(4), leases: leases.to_vec() }
}

fn told(renewed: &[Lease], ended: &[Secret]) -> Request {
    Request::Lease(LeaseNews { renewed: renewed.to_vec(), ended: ended.to_vec() })
}

/// Lets a time pass and does all jobs; returns the blocks that were deleted, and how long after the beginning.
pub(super) fn deleted(bench: &mut Bench, within: Duration) -> Vec<(Key, Duration)> {
    let (end, mut deleted) = (bench.now + within, Vec::new());
    while let Some(wake) = bench.node.next_wake().filter(|wake| *wake <= end) {
        bench.now = wake.max(bench.now);
        let mut actions = bench.does(Event::Tick);
        while let Some((job, work)) = jobs(&actions).into_iter().next() {
            let at = actions
                .iter()
                .position(|action| matches!(action, Action::Start { job: started, .. } if *started == job));
            actions.drain(..=at.expect("it was started"));
            let outcome = match work {
                Job::Delete { key } => {
                    deleted.push((key, bench.now.since(Time::ZERO)));
                    Outcome::Done
                }
                Job::Verify { .. } | Job::Rehash { .. } => Outcome::Sound { size: 4 },
                _ => Outcome::Done,
            };
            actions.extend(bench.ends(job, outcome));
        }
    }
    bench.now = end;
    deleted
}

#[test]
fn a_block_goes_an_hour_after_its_last_lease_ended_and_one_without_any_stays() {
    let held = [(key(1), 4), (key(2), 4), (key(3), 4), (key(4), 4)];
    let short = lease(1, Some(NOW + 10 * HOUR));
    let notes = [laid(1, &[short]), laid(2, &[short, lease(2, Some(NOW + 20 * HOUR))]), laid(3, &[lease(3, None)])];
    let mut bench = holding(&held, &notes);
    let gone = deleted(&mut bench, Duration::from_secs(1000 * HOUR));
    let keys: Vec<Key> = gone.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [key(1), key(2)]);
    for ((_, after), hours) in gone.iter().zip([11, 21]) {
        let due = Duration::from_secs(hours * HOUR);
        assert!((due..due + Duration::from_secs(60)).contains(after), "{after:?}");
    }
    assert_eq!(
        bench.node.held().map(|(key, _)| key).collect::<std::collections::BTreeSet<_>>(),
        [key(3), key(4)].into()
    );
}

/// The clock may be wrong, and a user who renews needs time.
#[test]
fn what_ended_while_the_peer_was_off_stays_for_the_grace_and_for_a_day_after_a_long_time_off() {
    const DAY: u64 = 24 * HOUR;
    for (ran, hours) in [(NOW, 1), (NOW - DAY, 1), (NOW - DAY - 1, 24), (NOW - 900 * DAY, 24)] {
        let mut bench = holding_since(ran, &[(key(1), 4)], &[laid(1, &[lease(1, Some(NOW - 10 * HOUR))])]);
        let due = Duration::from_secs(hours * HOUR);
        assert_eq!(deleted(&mut bench, due - Duration::from_secs(60)), [], "off for {} s", NOW - ran);
        assert_eq!(deleted(&mut bench, Duration::from_secs(120)).len(), 1, "off for {} s", NOW - ran);
    }
}

#[test]
fn what_others_still_offer_on_a_lease_that_ended_by_the_clock_here_stays_as_long_as_they_do() {
    let lease = lease(1, Some(NOW - 10 * HOUR));
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease])]);
    for n in 0..40 {
        assert_eq!(deleted(&mut bench, Duration::from_secs(HOUR - 60)), [], "hour {n}");
        bench.does(Event::Validated { addr: peer(1).addr });
        // Nothing is promised: it has ended here.
        let actions = bench.hears_request(peer(1), n, offer(1, &[lease]));
        assert!(matches!(&responses(&actions)[..], [(_, _, Err(reason))] if reason.contains("ended")), "{actions:?}");
    }
    assert_eq!(deleted(&mut bench, Duration::from_secs(23 * HOUR)), []);
    assert_eq!(deleted(&mut bench, Duration::from_secs(2 * HOUR)).len(), 1);
    // A user who has the secret ends it all the same.
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease])]);
    bench.hears_request(peer(1), 1, offer(1, &[lease]));
    bench.hears_request(peer(1), 2, told(&[], &[secret(1)]));
    assert_eq!(deleted(&mut bench, Duration::from_secs(2 * HOUR)).len(), 1);
}

#[test]
fn what_the_disk_refused_to_note_of_a_lease_is_not_called_noted_when_it_is_told_again() {
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, Some(NOW + HOUR))])]);
    let news = told(&[lease(1, Some(NOW + 9 * HOUR))], &[]);
    let note = [Note::Renewed(lease(1, Some(NOW + 9 * HOUR)))];
    let actions = bench.hears_request(peer(1), 5, news.clone());
    let [(job, Job::Note { .. })] = &jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(bench.hears_request(peer(1), 5, news.clone()), [], "the one answer will do");
    let refusal = Outcome::Failed(JobError { kind: JobErrorKind::Io, reason: "no space".to_owned() });
    let actions = bench.ends(*job, refusal);
    assert!(matches!(&responses(&actions)[..], [(_, 5, Err(_))]), "{actions:?}");
    // It is known by then, and still it is to be written down.
    let actions = bench.hears_request(peer(1), 6, news.clone());
    let [(job, Job::Note { notes })] = &jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(*notes, note);
    let actions = bench.ends(*job, Outcome::Done);
    assert_eq!(responses(&actions), [(peer(1).addr, 6, Ok(Response::Leased { blocks: 1, free: 0 }))]);
    let actions = bench.hears_request(peer(1), 7, news);
    assert_eq!((jobs(&actions), responses(&actions).len()), (vec![], 1), "nothing is left to write");
}

#[test]
fn a_renewal_that_the_own_disk_refuses_is_not_called_done() {
    for (refused, expected) in [(false, (1, Vec::new())), (true, (0, vec![peer(0)]))] {
        let mut bench = Bench::new(Config::default(), 0, 0);
        bench.does(Event::Start {
            bootstrap: Vec::new(),
            hosts: Vec::new(),
            remembered: Vec::new(),
            held: vec![(key(1), 4)],
            notes: vec![laid(1, &[lease(1, Some(NOW + HOUR))])],
            unix_time: NOW,
            ran: NOW,
        });
        let change = crate::node::LeaseChange::Renewed(lease(1, Some(NOW + 9 * HOUR)));
        let command =
            crate::node::Command::Lease { changes: vec![(key(1), change)], listed: BTreeSet::new(), copies: 0 };
        let mut out = jobs(&bench.does(Event::Command { id: 1, command }));
        let end = loop {
            let (job, work) = out.remove(0);
            let outcome = match work {
                Job::Note { .. } if refused => failed(JobErrorKind::Io),
                Job::Note { .. } => Outcome::Done,
                _ => Outcome::NotManifest { size: 4 },
            };
            let actions = bench.ends(job, outcome);
            if let Some(answer) = answer(&actions) {
                break answer;
            }
            out.extend(jobs(&actions));
        };
        let Answer::Leased { copies, silent, .. } = end else { panic!("{end:?}") };
        assert_eq!((copies, silent), expected);
    }
}

#[test]
fn who_was_late_when_a_block_was_looked_up_is_told_of_its_leases_all_the_same() {
    let config = Config { guest: true, ..Config::default() };
    let set = vec![peer(1)];
    let overlay = super::scripted::Scripted { me: peer(0), set, holds: true, ends: true, unreached: vec![peer(2)] };
    let mut bench = Bench::on(config, overlay).start(&[]);
    let change = crate::node::LeaseChange::Renewed(lease(1, Some(NOW + HOUR)));
    let command = crate::node::Command::Lease { changes: vec![(key(1), change)], listed: BTreeSet::new(), copies: 0 };
    let mut actions = bench.does(Event::Command { id: 1, command });
    let mut told = BTreeSet::new();
    while told.len() < 2 {
        told.extend(
            requests(&actions).iter().filter(|(.., request)| matches!(request, Request::Lease(_))).map(|sent| sent.0),
        );
        if told.len() < 2 {
            let [(job, _)] = jobs(&actions)[..] else { panic!("{told:?}, {actions:?}") };
            actions = bench.ends(job, Outcome::NotManifest { size: 4 });
        }
    }
    assert_eq!(told, BTreeSet::from([1, 2].map(|n| peer(n).addr)));
}

#[test]
fn a_lease_that_is_renewed_within_the_grace_keeps_the_block() {
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, Some(NOW + HOUR))])]);
    assert_eq!(deleted(&mut bench, Duration::from_secs(HOUR + HOUR / 2)), []);
    bench.does(Event::Validated { addr: peer(1).addr });
    let actions = bench.hears_request(peer(1), 5, told(&[lease(1, Some(NOW + 9 * HOUR))], &[]));
    let [(job, Job::Note { notes })] = &jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(*notes, [Note::Renewed(lease(1, Some(NOW + 9 * HOUR)))]);
    let actions = bench.ends(*job, Outcome::Done);
    assert_eq!(responses(&actions), [(peer(1).addr, 5, Ok(Response::Leased { blocks: 1, free: 0 }))]);
    assert_eq!(deleted(&mut bench, Duration::from_secs(8 * HOUR)), []);
    assert_eq!(deleted(&mut bench, Duration::from_secs(HOUR)).len(), 1);
}

#[test]
fn whoever_has_the_secret_ends_the_lease_and_nobody_else() {
    let mut bench =
        holding(&[(key(1), 4), (key(2), 4)], &[laid(1, &[lease(1, None)]), laid(2, &[lease(1, None), lease(2, None)])]);
    let actions = bench.hears_request(peer(1), 5, told(&[], &[secret(9)]));
    assert_eq!(responses(&actions), [(peer(1).addr, 5, Ok(Response::Leased { blocks: 0, free: 0 }))]);
    let actions = bench.hears_request(peer(1), 6, told(&[], &[secret(1)]));
    let [(job, Job::Note { notes })] = &jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(*notes, [Note::Ended { secret: secret(1), at: NOW, by: Some(peer(1).addr.ip()) }]);
    assert_eq!(responses(&actions), [], "not before it is written down");
    let actions = bench.ends(*job, Outcome::Done);
    assert_eq!(responses(&actions), [(peer(1).addr, 6, Ok(Response::Leased { blocks: 2, free: 1 }))]);
    let gone = deleted(&mut bench, Duration::from_secs(2 * HOUR));
    assert_eq!(gone.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key(1)]);
}

#[test]
fn saved_is_said_only_once_the_leases_of_the_offer_are_written_down_too() {
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, None)])]);
    let actions = bench.hears_request(peer(1), 5, offer(1, &[lease(2, Some(NOW + 5))]));
    let [(job, Job::Verify { leases, .. })] = &jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(*leases, [lease(2, Some(NOW + 5))]);
    // Meanwhile the same block is offered on behalf of another one.
    assert_eq!(bench.hears_request(peer(1), 6, offer(1, &[lease(3, None)])), []);
    let actions = bench.ends(*job, Outcome::Sound { size: 4 });
    let [(show, Job::Sample { magic: 5, .. }), (job, Job::Verify { leases, .. })] = &jobs(&actions)[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(*leases, [lease(3, None)]);
    let shown = Response::Shown { sample: key(7) };
    let actions = bench.ends(*show, Outcome::Sampled { sample: key(7) });
    assert_eq!(responses(&actions), [(peer(1).addr, 5, Ok(shown))]);
    let actions = bench.ends(*job, Outcome::Sound { size: 4 });
    assert!(matches!(jobs(&actions)[..], [(_, Job::Sample { magic: 6, .. })]), "{actions:?}");
    let actions = bench.hears_request(peer(1), 7, offer(1, &[lease(3, None)]));
    let [(_, Job::Verify { leases, .. })] = &jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(*leases, [], "it is known");
}

#[test]
fn an_offer_without_a_lease_keeps_a_block_for_ever() {
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, Some(NOW + HOUR))])]);
    let actions = bench.hears_request(peer(1), 5, offer(1, &[]));
    let [(job, Job::Verify { leases, .. })] = &jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(*leases, [Lease::NOBODYS]);
    bench.ends(*job, Outcome::Sound { size: 4 });
    // And one with a lease does not shorten what was for ever.
    let mut other = holding(&[(key(1), 4)], &[]);
    let actions = other.hears_request(peer(1), 5, offer(1, &[lease(1, Some(NOW + HOUR))]));
    let [(job, Job::Verify { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    other.ends(job, Outcome::Sound { size: 4 });
    for bench in [&mut bench, &mut other] {
        assert_eq!(deleted(bench, Duration::from_secs(100 * HOUR)), []);
    }
}

#[test]
fn a_pulled_block_has_its_leases_and_hands_them_on() {
    let mut bench = holding(&[], &[]);
    let actions = bench.hears_request(peer(1), 5, offer(1, &[lease(1, Some(NOW + 100 * HOUR)), lease(2, None)]));
    let [(job, Job::Pull { leases, .. })] = &jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(leases.len(), 2);
    bench.ends(*job, Outcome::Stored { size: 4 });
    // This peer leaves: what it hands over keeps its leases.
    let mut actions = bench.does(Event::Command { id: 1, command: crate::node::Command::Quit { handover: true } });
    loop {
        let asked = requests(&actions);
        let offered = asked.iter().find_map(|(_, _, request)| match request {
            Request::Store { leases, .. } => Some(leases.clone()),
            _ => None,
        });
        if let Some(mut leases) = offered {
            leases.sort();
            let mut expected = vec![lease(1, Some(NOW + 100 * HOUR)), lease(2, None)];
            expected.sort();
            break assert_eq!(leases, expected);
        }
        let Some((to, magic, request)) = asked.into_iter().next() else { panic!("{actions:?}") };
        actions = bench.hears_answer(to, magic, super::upkeep::compared(&[], &request));
    }
}

#[test]
fn a_peer_that_slept_through_the_end_of_a_lease_is_told_its_secret() {
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, None)])]);
    let actions = bench.hears_request(peer(1), 5, told(&[], &[secret(1)]));
    bench.ends(jobs(&actions)[0].0, Outcome::Done);
    assert_eq!(deleted(&mut bench, Duration::from_secs(2 * HOUR)).len(), 1);
    bench.does(Event::Validated { addr: peer(1).addr });
    let actions = bench.hears_request(peer(1), 6, offer(1, &[lease(1, None)]));
    let [(_, 6, Err(reason))] = &responses(&actions)[..] else { panic!("{actions:?}") };
    assert!(reason.contains("lease has ended"), "{reason}");
    assert!(requests(&actions).iter().any(|(_, _, request)| *request == told(&[], &[secret(1)])), "{actions:?}");
    assert_eq!(jobs(&actions), []);
    // A stranger, whose address may be another's, is told no more than that it ended.
    let actions = bench.hears_request(peer(9), 6, offer(1, &[lease(1, None)]));
    assert!(requests(&actions).is_empty(), "{actions:?}");
    // With another lease beside it, it is wanted again, by that alone.
    let actions = bench.hears_request(peer(1), 7, offer(1, &[lease(1, None), lease(2, Some(NOW + 9 * HOUR))]));
    let [(job, Job::Pull { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    bench.ends(job, Outcome::Stored { size: 4 });
    assert_eq!(deleted(&mut bench, Duration::from_secs(9 * HOUR)).len(), 1);
}

#[test]
fn what_ended_before_a_restart_stays_ended() {
    let ended = Note::Ended { secret: secret(1), at: NOW - 2 * HOUR, by: None };
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, None)]), ended.clone()]);
    assert_eq!(bench.node.held().count(), 1);
    assert_eq!(deleted(&mut bench, Duration::from_secs(2 * HOUR)).len(), 1);
}

#[test]
fn a_block_with_more_leases_than_fit_an_offer_is_kept_for_ever() {
    let many: Vec<Lease> = (1..=16).map(|n| lease(n, Some(NOW + HOUR))).collect();
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &many)]);
    let actions = bench.hears_request(peer(1), 5, offer(1, &[lease(17, Some(NOW + HOUR))]));
    let [(job, Job::Verify { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let actions = bench.ends(job, Outcome::Sound { size: 4 });
    assert!(matches!(jobs(&actions)[..], [(_, Job::Sample { magic: 5, .. })]), "it is saved, and that is shown");
    assert_eq!(deleted(&mut bench, Duration::from_secs(9 * HOUR)), []);
}

#[test]
fn an_offer_on_behalf_of_an_ended_lease_and_of_nobody_is_answered_once() {
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, None)])]);
    let actions = bench.hears_request(peer(1), 5, told(&[], &[secret(1)]));
    bench.ends(jobs(&actions)[0].0, Outcome::Done);
    for magic in [6, 7] {
        let actions = bench.hears_request(peer(1), magic, offer(1, &[lease(1, None), Lease::NOBODYS]));
        let [(job, Job::Verify { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
        let actions = bench.ends(job, Outcome::Sound { size: 4 });
        let [(job, Job::Sample { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
        let actions = bench.ends(job, Outcome::Sampled { sample: key(7) });
        assert_eq!(responses(&actions), [(peer(1).addr, magic, Ok(Response::Shown { sample: key(7) }))]);
    }
    assert_eq!(deleted(&mut bench, Duration::from_secs(2 * HOUR)), []);
}

#[test]
fn a_look_at_a_block_lays_no_lease_on_it() {
    let short = lease(1, Some(NOW + HOUR));
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[short])]);
    // What was here when the peer began is looked at after a while.
    let mut looks = Vec::new();
    while looks.is_empty() {
        looks = jobs(&bench.wait(Duration::from_secs(60)).expect("it looks"));
        looks.retain(|(_, job)| matches!(job, Job::Verify { .. }));
    }
    assert_eq!(looks[0].1, Job::Verify { key: key(1), leases: Vec::new() });
    bench.ends(looks[0].0, Outcome::Sound { size: 4 });
    assert_eq!(deleted(&mut bench, Duration::from_secs(3 * HOUR)).len(), 1);
}

#[test]
fn what_comes_without_a_lease_is_kept_for_ever_whatever_was_ordered_or_noted_of_it_before() {
    let mut bench = holding(&[], &[]);
    let pulls = jobs(&bench.hears_request(peer(1), 6, offer(1, &[])));
    let [(_, Job::Pull { leases, .. })] = &pulls[..] else { panic!("{pulls:?}") };
    assert_eq!(*leases, [Lease::NOBODYS], "the journal may have a line of when it was here on a lease");
    // Two jobs at once: that one has a lease is no reason to end what the other keeps for ever.
    let mut bench = holding(&[], &[]);
    let pulls = jobs(&bench.hears_request(peer(1), 5, offer(1, &[lease(1, Some(NOW + 5))])));
    let [(pull, Job::Pull { .. })] = pulls[..] else { panic!("{pulls:?}") };
    bench.node.desk.holdings.insert(key(1), 4, &[Lease::NOBODYS], None);
    bench.ends(pull, Outcome::Stored { size: 4 });
    assert_eq!(deleted(&mut bench, Duration::from_secs(3 * HOUR)).len(), 0);
}

#[test]
fn a_damaged_block_that_nobody_wants_is_not_brought_back() {
    for (leases, brought) in [(vec![lease(1, Some(NOW - 5))], false), (vec![lease(1, None)], true), (vec![], true)] {
        let notes = if leases.is_empty() { vec![] } else { vec![laid(1, &leases)] };
        let mut bench = holding(&[(key(1), 4)], &notes);
        let actions = bench.does(Event::Damaged { key: key(1) });
        let pulls: Vec<Job> = jobs(&actions).into_iter().map(|(_, job)| job).collect();
        assert_eq!(!pulls.is_empty(), brought, "{pulls:?}");
        if let [Job::Pull { leases: kept, .. }] = &pulls[..] {
            let expected = if leases.is_empty() { vec![Lease::NOBODYS] } else { leases };
            assert_eq!(*kept, expected, "it is kept for whom it was");
        }
    }
}
