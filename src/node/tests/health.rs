//! Looking at copies: what others are asked, and what is done for others that ask.

use std::collections::VecDeque;

use super::*;
use crate::node::health::{Checked, CopyState, Health};
use crate::node::{Command, Source};
use crate::wire::Vouch;

pub(super) fn check(bench: &mut Bench, verify: bool) -> Vec<Action> {
    let command = Command::Check { sources: vec![Source::Key(key(1))], verify, repair: false, lease: None };
    bench.does(Event::Command { id: 1, command })
}

/// Ends the check of a block that is no list, which is read here or elsewhere.
fn read(bench: &mut Bench, actions: &[Action]) -> Checked {
    let [(job, Job::Unpack { .. })] = jobs(actions)[..] else { panic!("{actions:?}") };
    let end = bench.ends(job, Outcome::NotManifest { size: 10 });
    match answer(&end) {
        Some(Answer::Checked(checked)) => *checked,
        other => panic!("{other:?}"),
    }
}

fn states(checked: &Checked) -> Vec<CopyState> {
    checked.each[0].at.iter().map(|copy| copy.state).collect()
}

#[test]
fn holders_are_asked_to_hash_and_one_that_cannot_is_taken_at_its_word() {
    let mut bench = Bench::new(Config::default(), 4, 4).start(&[]);
    let asked = requests(&check(&mut bench, true));
    assert_eq!(asked.len(), 4, "this peer holds nothing: {asked:?}");
    assert!(asked.iter().all(|(_, _, request)| *request == Request::FindValue { key: key(1) }), "who holds it?");
    let answers = [Response::Vouch(Vouch::Verified), Response::Node(peer(2)), Response::Vouch(Vouch::Damaged)];
    for ((to, magic, _), response) in asked.iter().zip(answers) {
        let asked = requests(&bench.hears_answer(*to, *magic, Response::Node(peer(1))));
        let [(_, magic, Request::Verify { .. })] = asked[..] else { panic!("it is to hash: {asked:?}") };
        bench.hears_answer(*to, magic, response);
    }
    // The last is an older peer that does not hold it, as this one does not: so others are looked for, in vain.
    let end = bench.hears_answer(asked[3].0, asked[3].1, Response::Nodes(Vec::new()));
    let checked = read(&mut bench, &end);
    use CopyState::*;
    assert_eq!(states(&checked), [Absent, Verified, Claimed, Damaged, Absent]);
    assert_eq!((checked.health, checked.each[0].copies, checked.wanted), (Health::Thin, 2, 5));
    assert_eq!(checked.asked, Config::default().replicas, "more than there are peers for");
}

#[test]
fn a_block_that_begins_as_a_list_and_is_none_has_sound_copies_and_is_not_called_damaged() {
    let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 2, 0).start(&[]);
    let asked = requests(&check(&mut bench, false));
    let ends: Vec<_> =
        asked.iter().map(|(to, magic, _)| bench.hears_answer(*to, *magic, Response::Node(peer(1)))).collect();
    let read: Vec<_> = ends.iter().flat_map(|actions| jobs(actions)).collect();
    let [(job, Job::Unpack { .. })] = read[..] else { panic!("{read:?}") };
    let end = bench.ends(job, failed(JobErrorKind::BrokenList));
    let Some(Answer::Checked(checked)) = answer(&end) else { panic!("{end:?}") };
    assert_eq!(states(&checked), [CopyState::Claimed; 2]);
    assert_eq!((checked.health, checked.unread, checked.each[0].copies), (Health::Unknown, 1, 2));
}

#[test]
fn a_block_that_another_file_has_more_copies_of_is_told_with_all_of_them() {
    let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 4, 0).start(&[]);
    let secret: crate::lease::Secret = "07".repeat(32).parse().expect("64 digits");
    let lease = Some(crate::lease::Lease { id: secret.id(), until: None, copies: 1 });
    let command = Command::Check { sources: vec![Source::Key(key(1))], verify: false, repair: false, lease };
    let mut asked: VecDeque<_> = requests(&bench.does(Event::Command { id: 1, command })).into();
    assert_eq!(asked.len(), 1, "one copy is wanted: {asked:?}");
    let mut end = Vec::new();
    while let Some((to, magic, _)) = asked.pop_front() {
        end = bench.hears_answer(to, magic, Response::Holder { peer: peer(1), copies: 4 });
        asked.extend(requests(&end));
    }
    let checked = read(&mut bench, &end);
    assert_eq!((checked.health, checked.copies, checked.wanted), (Health::Whole, vec![0, 0, 0, 0, 1], 1));
}

#[test]
fn a_stranger_that_repairs_asks_a_holder_for_its_leases_and_passes_them_on() {
    let secret: crate::lease::Secret = "07".repeat(32).parse().expect("64 digits");
    let lease = crate::lease::Lease { id: secret.id(), until: Some(1_900_000_000), copies: 2 };
    for (told, expected) in [
        (Response::Terms(vec![lease]), vec![lease]),
        (Response::Terms(Vec::new()), Vec::new()),
        // An older one.
        (Response::Node(peer(1)), Vec::new()),
    ] {
        let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 2, 0).start(&[]);
        let command = Command::Check { sources: vec![Source::Key(key(1))], verify: false, repair: true, lease: None };
        let asked = requests(&bench.does(Event::Command { id: 1, command }));
        let [(holder, magic, Request::FindValue { .. }), (other, last, _)] = asked[..] else { panic!("{asked:?}") };
        let actions = bench.hears_answer(holder, magic, Response::Holder { peer: peer(1), copies: 2 });
        let [(shows, Job::ReadBack { .. })] = jobs(&actions)[..] else {
            panic!("its word alone counts for nothing: {actions:?}")
        };
        assert!(requests(&bench.ends(shows, Outcome::Sound { size: 10 })).is_empty());
        let asked = requests(&bench.hears_answer(other, last, Response::Nodes(Vec::new())));
        let [(to, magic, Request::Terms { .. })] = asked[..] else { panic!("{asked:?}") };
        assert_eq!(to, holder);
        let actions = bench.hears_answer(to, magic, told);
        let [(job, Job::Lend { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
        let entry = crate::file::ManifestEntry { key: key(1), size: 10 };
        let offers = requests(&bench.ends(job, Outcome::Read { entry }));
        let [(to, _, Request::Store { leases, .. })] = &offers[..] else { panic!("{offers:?}") };
        assert_eq!((*to, leases), (other, &expected));
    }
}

#[test]
fn a_repair_loses_no_block_of_a_holder_that_answers_and_cannot_be_connected_to_and_still_finds_liars() {
    use JobErrorKind::{Busy, Corrupt, NotFound, TimedOut, Unreachable};
    for (kind, health) in [
        (Unreachable, Health::Unknown),
        (TimedOut, Health::Unknown),
        (Busy, Health::Unknown),
        (NotFound, Health::Lost),
        (Corrupt, Health::Lost),
    ] {
        let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 1, 0).start(&[]);
        let command = Command::Check { sources: vec![Source::Key(key(1))], verify: false, repair: true, lease: None };
        let asked = requests(&bench.does(Event::Command { id: 1, command }));
        let [(holder, magic, Request::FindValue { .. })] = asked[..] else { panic!("{asked:?}") };
        let mut actions = bench.hears_answer(holder, magic, Response::Node(peer(1)));
        while let [(job, Job::ReadBack { .. } | Job::Unpack { .. })] = jobs(&actions)[..] {
            actions = bench.ends(job, failed(kind));
        }
        let Some(Answer::Checked(checked)) = answer(&actions) else { panic!("{kind:?}: {actions:?}") };
        assert_eq!(checked.health, health, "{kind:?}");
    }
}

#[test]
fn a_holder_tells_on_whose_behalf_it_keeps_a_block() {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&[(key(1), 10)]);
    for (n, expected) in [(1, Response::Terms(Vec::new())), (2, Response::Vouch(Vouch::Absent))] {
        let told = responses(&bench.hears_request(peer(1), 5, Request::Terms { key: key(n) }));
        assert_eq!(told, [(peer(1).addr, 5, Ok(expected))]);
    }
}

#[test]
fn a_busy_holder_is_asked_again_and_then_believed() {
    let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 1, 0).start(&[]);
    let [(to, magic, Request::FindValue { .. })] = requests(&check(&mut bench, true))[..] else { panic!("a question") };
    let mut asked = requests(&bench.hears_answer(to, magic, Response::Node(peer(1))));
    let (began, mut end, mut times) = (bench.now, Vec::new(), 0);
    while let [(to, magic, Request::Verify { .. })] = asked[..] {
        times += 1;
        end = bench.hears_answer(to, magic, Response::Vouch(Vouch::Busy));
        asked = if jobs(&end).is_empty() {
            requests(&bench.wait(Duration::from_secs(2)).expect("a pause"))
        } else {
            vec![]
        };
    }
    assert!(times > 20 && bench.now.since(began) >= Duration::from_secs(15), "asked {times} times");
    let checked = read(&mut bench, &end);
    assert_eq!(states(&checked), [CopyState::Claimed]);
}

/// Begins to check the blocks of these numbers, as a local list has them, and to have them hashed; what is asked first.
fn check_listed(bench: &mut Bench, numbers: std::ops::Range<u64>) -> Vec<(SocketAddr, u64, Request)> {
    let sources = vec![Source::Manifest("list".into())];
    let command = Command::Check { sources, verify: true, repair: false, lease: None };
    let [(read, Job::ReadManifest { .. })] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    let entries = numbers.map(|n| crate::file::ManifestEntry { key: key(n), size: 10 }).collect();
    requests(&bench.ends(read, Outcome::Manifest { entries, root: key(500), sha256: None }))
}

#[test]
fn a_holder_that_is_always_busy_costs_a_check_its_time_once_however_many_blocks_there_are() {
    let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 1, 0).start(&[]);
    let mut asked: VecDeque<_> = check_listed(&mut bench, 0..100).into();
    let end = loop {
        let actions = match asked.pop_front() {
            Some((to, magic, Request::Verify { .. })) => bench.hears_answer(to, magic, Response::Vouch(Vouch::Busy)),
            Some((to, magic, _)) => bench.hears_answer(to, magic, Response::Node(peer(1))),
            None => bench.wait(Duration::from_secs(60)).expect("something is waited for until the check ends"),
        };
        asked.extend(requests(&actions));
        if let Some(answer) = answer(&actions) {
            break answer;
        }
    };
    let Answer::Checked(checked) = end else { panic!("{end:?}") };
    assert_eq!(states(&checked), vec![CopyState::Claimed]);
    assert!(bench.now < Time::from_micros(20_000_000), "{:?}", bench.now);
}

#[test]
fn a_holder_that_is_busy_with_one_block_and_silent_about_another_does_not_keep_a_check_from_its_end() {
    let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 1, 0).start(&[]);
    let asked = check_listed(&mut bench, 2..4);
    let [(to, magic, Request::FindValue { .. }), _] = asked[..] else { panic!("{asked:?}") };
    let asked = requests(&bench.hears_answer(to, magic, Response::Node(peer(1))));
    let mut asked: VecDeque<_> = asked.into();
    let mut end = None;
    while end.is_none() {
        let actions = match asked.pop_front() {
            Some((to, magic, Request::Verify { .. })) => bench.hears_answer(to, magic, Response::Vouch(Vouch::Busy)),
            Some(_) => continue,
            None => bench.wait(Duration::from_secs(60)).expect("something is waited for until the check ends"),
        };
        asked.extend(requests(&actions));
        end = answer(&actions);
    }
    let Some(Answer::Checked(checked)) = end else { panic!("{end:?}") };
    assert_eq!((states(&checked), checked.health), (vec![CopyState::Silent], Health::Unknown));
}

#[test]
fn a_holder_hashes_for_others_a_few_at_a_time_and_so_much_a_second_and_says_that_it_is_busy() {
    let held: Vec<(Key, u32)> = (0..200).map(|n| (key(n), 1 << 20)).collect();
    let mut bench = Bench::new(Config::default(), 3, 0).start(&held);
    (1..=3).for_each(|n| drop(bench.does(Event::Validated { addr: peer(n).addr })));
    let (mut busy, mut running) = (0, Vec::new());
    for (n, (key, _)) in held.iter().enumerate() {
        let from = peer(1 + n as u16 % 3);
        let actions = bench.hears_request(from, n as u64, Request::Verify { key: *key });
        running.extend(jobs(&actions));
        busy += responses(&actions).iter().filter(|(_, _, answer)| *answer == Ok(Response::Vouch(Vouch::Busy))).count();
        // The same once more is no other question.
        assert!(bench.hears_request(from, n as u64, Request::Verify { key: *key }).len() <= 1);
    }
    assert_eq!(running.len(), 2, "at a time");
    let mut hashed = 0;
    while let Some((job, work)) = running.pop() {
        assert!(matches!(work, Job::Rehash { .. }), "{work:?}");
        hashed += 1;
        let actions = bench.ends(job, Outcome::Sound { size: 1 << 20 });
        assert!(responses(&actions).iter().all(|(_, _, answer)| *answer == Ok(Response::Vouch(Vouch::Verified))));
        running.extend(jobs(&actions).into_iter().filter(|(_, work)| matches!(work, Job::Rehash { .. })));
    }
    assert!((8..=64).contains(&hashed) && busy >= 136, "{hashed} of 1 MiB hashed at one moment, {busy} times busy");
}

#[test]
fn what_is_asked_about_and_not_here_or_damaged_is_said_to_be_so() {
    let mut bench = Bench::new(Config::default(), 1, 0).start(&[(key(1), 10)]);
    bench.does(Event::Validated { addr: peer(1).addr });
    let absent = responses(&bench.hears_request(peer(1), 5, Request::Verify { key: key(2) }));
    assert_eq!(absent, [(peer(1).addr, 5, Ok(Response::Vouch(Vouch::Absent)))]);
    let [(job, Job::Rehash { .. })] = jobs(&bench.hears_request(peer(1), 6, Request::Verify { key: key(1) }))[..]
    else {
        panic!("it is hashed")
    };
    bench.does(Event::Damaged { key: key(1) });
    let damaged = responses(&bench.ends(job, failed(JobErrorKind::Corrupt)));
    assert_eq!(damaged, [(peer(1).addr, 6, Ok(Response::Vouch(Vouch::Damaged)))]);
}

/// Lets time pass until the background reads a block; the job, and which block.
fn next_read(bench: &mut Bench) -> (JobId, Key) {
    loop {
        let actions = bench.wait(Duration::from_secs(3600)).expect("it reads on");
        for (job, work) in jobs(&actions) {
            match work {
                Job::Rehash { key } => return (job, key),
                _ => drop(bench.ends(job, Outcome::Sound { size: 10 })),
            }
        }
    }
}

#[test]
fn after_each_block_the_background_rests_49_times_as_long_as_it_took() {
    let config = Config { scrub: Some(Duration::from_micros(1)), ..Config::default() };
    let held: Vec<(Key, u32)> = (0..50).map(|n| (key(n), 10)).collect();
    let mut bench = Bench::new(config, 0, 0).start(&held);
    let (mut began, mut busy) = (None, Duration::ZERO);
    for _ in 0..40 {
        let (job, _) = next_read(&mut bench);
        began.get_or_insert(bench.now);
        bench.now += Duration::from_millis(8);
        busy += Duration::from_millis(8);
        bench.ends(job, Outcome::Sound { size: 10 });
    }
    next_read(&mut bench);
    let took = bench.now.since(began.expect("it has begun"));
    assert!(busy * 50 <= took && took < busy * 51, "{busy:?} of {took:?}");
}

#[test]
fn each_start_begins_to_read_at_another_block_and_a_pass_reads_each_once() {
    let held: Vec<(Key, u32)> = (0..50).map(|n| (key(n), 10)).collect();
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..8 {
        let config = Config { scrub: Some(Duration::from_secs(50)), ..Config::default() };
        let overlay = Scripted { me: peer(0), set: vec![peer(0)], holds: false, ends: true, unreached: Vec::new() };
        let node = Node::new(config, Box::new(overlay), *key(seed).as_bytes());
        let mut bench = Bench::of(node).start(&held);
        let mut read = Vec::new();
        for _ in 0..50 {
            let (job, key) = next_read(&mut bench);
            bench.ends(job, Outcome::Sound { size: 10 });
            read.push(key);
        }
        firsts.insert(read[0]);
        read.sort_unstable();
        assert!(read.windows(2).all(|pair| pair[0] < pair[1]), "none twice");
    }
    assert!(firsts.len() >= 6, "{firsts:?}");
}

#[test]
fn what_the_disk_does_not_give_is_called_unread_and_not_damaged() {
    let mut bench = Bench::new(Config::default(), 1, 0).start(&[(key(1), 10), (key(2), 10)]);
    let mut running: VecDeque<_> = jobs(&bench.does(Event::Command { id: 1, command: Command::Scrub })).into();
    let mut kinds = [JobErrorKind::Io, JobErrorKind::NotFound].into_iter();
    let done = loop {
        let (job, _) = running.pop_front().expect("two blocks are read");
        let actions = bench.ends(job, failed(kinds.next().expect("no third one is")));
        match answer(&actions) {
            Some(Answer::Scrubbed(done)) => break done,
            _ => running.extend(jobs(&actions)),
        }
    };
    assert_eq!((done.blocks, done.damaged, done.unread), (1, 1, 1));
    assert!(Answer::Scrubbed(done).verdict().is_some(), "not all of it was read");
    // Nor is it said to who asks.
    bench.does(Event::Validated { addr: peer(1).addr });
    let actions = bench.hears_request(peer(1), 6, Request::Verify { key: key(1) });
    let [(job, Job::Rehash { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let told = responses(&bench.ends(job, failed(JobErrorKind::Io)));
    assert!(matches!(&told[..], [(_, 6, Err(reason))] if reason.contains("cannot be read")), "{told:?}");
}

#[test]
fn a_holder_that_cannot_read_its_copy_may_have_it_yet() {
    let mut bench = Bench::new(Config::default(), 1, 1).start(&[]);
    let [(to, magic, _)] = requests(&check(&mut bench, true))[..] else { panic!("one is asked") };
    let asked = requests(&bench.hears_answer(to, magic, Response::Node(peer(1))));
    let [(_, magic, Request::Verify { .. })] = asked[..] else { panic!("it is to hash: {asked:?}") };
    let end = bench.hears(to, Message::error(magic, "it cannot be read just now"));
    let Some(Answer::Checked(checked)) = answer(&end) else { panic!("{end:?}") };
    assert_eq!((states(&checked)[1], checked.health), (CopyState::Silent, Health::Unknown));
}

#[test]
fn what_is_hashed_for_others_a_second_follows_from_how_long_it_takes() {
    let hashed_in_five_seconds = |took: Duration| {
        let held: Vec<(Key, u32)> = (0..2000).map(|n| (key(n), 1 << 20)).collect();
        let mut bench = Bench::new(Config::default(), 3, 0).start(&held);
        bench.does(Event::Validated { addr: peer(9).addr });
        let (end, mut hashed) = (bench.now + Duration::from_secs(5), 0);
        for n in 0.. {
            let actions = bench.hears_request(peer(9), n, Request::Verify { key: key(n % 2000) });
            bench.now += took;
            if bench.now > end {
                return hashed;
            }
            for (job, _) in jobs(&actions) {
                hashed += 1;
                bench.ends(job, Outcome::Sound { size: 1 << 20 });
            }
        }
        unreachable!("time passes")
    };
    let [quick, slow] = [1, 40].map(|millis| hashed_in_five_seconds(Duration::from_millis(millis)));
    // One host of strangers has an eighth of the time, and as much at once.
    assert!((600..=800).contains(&quick), "{quick} of 1 ms each");
    assert!((14..=24).contains(&slow), "{slow} of 40 ms each");
}
