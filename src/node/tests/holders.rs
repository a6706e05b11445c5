//! Holders that fail, drip or say nothing, while a file is retrieved from them.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::config::{FLOW_LASTS, MAX_BLOCK_SIZE, MAX_JOBS};
use crate::file::{Manifest, ManifestEntry};
use crate::node::files::MADE;
use crate::node::job::{Holder, JobError, JobErrorKind};
use crate::node::{Command, Source};

/// Bytes of a full block.
const LARGE: u64 = MAX_BLOCK_SIZE as u64;

/// A retrieve of `blocks` blocks from three holders: the bench, and the fetches that are out.
fn retrieving(blocks: u64) -> (Bench, Vec<(JobId, Job)>) {
    retrieving_from(3, blocks)
}

/// The same from so many holders.
pub(super) fn retrieving_from(holders: u16, blocks: u64) -> (Bench, Vec<(JobId, Job)>) {
    let mut bench = Bench::new(Config::default(), holders, 9).start(&[]);
    let command = Command::Retrieve { source: Source::Key(key(100)), dest: "back".into(), replace: false };
    let actions = bench.does(Event::Command { id: 1, command });
    let [(unpack, Job::Unpack { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let entries = (1..=blocks).map(|n| ManifestEntry { key: key(n), size: LARGE }).collect();
    let manifest = Manifest { level: 0, size: blocks * LARGE, sha256: Some(key(9)), folder: false, entries };
    let actions = bench.ends(unpack, Outcome::Unpacked { manifest });
    let [(open, Job::Open { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let fetches = jobs(&bench.ends(open, Outcome::Opened { resumed: false }));
    (bench, fetches)
}

pub(super) fn holder(job: &Job) -> SocketAddr {
    match job {
        Job::Fetch { from: Holder::Peer(addr), .. } => *addr,
        other => panic!("not a fetch: {other:?}"),
    }
}

#[test]
fn to_tell_what_is_slow_all_blocks_of_a_file_are_walked_once_however_many_come() {
    let (mut bench, fetches) = retrieving(30);
    assert!(fetches.len() > 1);
    for (job, _) in &fetches {
        bench.does(Event::Flows { job: *job, bytes: 5000 });
    }
    let made = |work: &mut dyn FnMut()| {
        MADE.set(0);
        work();
        MADE.get()
    };
    assert_eq!(made(&mut || assert!(bench.node.next_wake().is_some())), 1);
    assert_eq!(made(&mut || drop(bench.does(Event::Tick))), 1);
}

#[test]
fn a_holder_that_failed_is_asked_last_for_the_other_blocks() {
    let (mut bench, fetches) = retrieving(30);
    let bad = holder(&fetches[0].1);
    let mut good = Vec::new();
    for (job, work) in fetches {
        if holder(&work) == bad {
            let error = JobError { kind: JobErrorKind::Corrupt, reason: "other bytes".to_owned() };
            good.extend(jobs(&bench.ends(job, Outcome::Failed(error))));
        } else {
            good.push((job, work));
        }
    }
    let mut blocks = 0;
    while let Some((job, work)) = good.pop() {
        assert_ne!(holder(&work), bad);
        blocks += 1;
        let next = jobs(&bench.ends(job, Outcome::Fetched));
        good.extend(next.into_iter().filter(|(_, work)| matches!(work, Job::Fetch { .. })));
    }
    assert_eq!(blocks, 30);
}

#[test]
fn who_drips_is_joined_by_as_many_as_who_is_silent_and_who_sends_on_by_one() {
    for drips in [true, false] {
        let (mut bench, mut fetches) = retrieving_from(12, 1);
        let (end, mut bytes) = (bench.now + Duration::from_secs(4), BTreeMap::new());
        while bench.now < end {
            let next = bench.now + FLOW_LASTS / 4;
            while let Some(actions) = bench.wait(next - bench.now) {
                fetches.extend(jobs(&actions));
            }
            bench.now = next;
            // A slow way here, which all share.
            let share = 20_000 / fetches.len() as u32;
            for (job, _) in fetches.iter().filter(|_| !drips) {
                let came = bytes.entry(*job).or_insert(0);
                *came += share;
                bench.does(Event::Flows { job: *job, bytes: *came });
            }
        }
        let asked: BTreeSet<SocketAddr> = fetches.iter().map(|(_, work)| holder(work)).collect();
        assert!(if drips { asked.len() >= 8 } else { asked.len() == 2 }, "drips: {drips}, {} asked", asked.len());
    }
}

#[test]
fn mute_holders_in_every_place_make_room_for_others() {
    let (mut bench, mut mute) = retrieving_from(20, 100);
    let (first, _) = mute.remove(0);
    // One block comes; every other holder that is asked now says nothing.
    mute.extend(jobs(&bench.ends(first, Outcome::Fetched)));
    let bad: BTreeSet<SocketAddr> = mute.iter().map(|(_, work)| holder(work)).collect();
    let (mut cancelled, mut fetched) = (0, 0);
    let begin = bench.now;
    while fetched == 0 {
        let actions = bench.wait(Duration::from_secs(60)).expect("the node does not give up");
        for (job, work) in jobs(&actions) {
            if bad.contains(&holder(&work)) { mute.push((job, work)) } else { fetched += 1 }
        }
        for action in &actions {
            if let Action::Cancel { job } = action {
                cancelled += 1;
                let error = JobError { kind: JobErrorKind::Cancelled, reason: String::new() };
                let started = jobs(&bench.ends(*job, Outcome::Failed(error)));
                fetched += started.iter().filter(|(_, work)| !bad.contains(&holder(work))).count();
            }
        }
        assert!(bench.now < begin + Duration::from_secs(5), "{cancelled} cancelled, {} mute", mute.len());
    }
    assert!(mute.len() <= 2 * MAX_JOBS);
}
