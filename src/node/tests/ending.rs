//! What the user ends: nothing of it is left with the workers.

use super::leases::lease;
use super::*;
use crate::config::MAX_JOBS;
use crate::file::{Manifest, ManifestEntry};
use crate::node::{Command, LeaseChange, Source};

/// Commands that are given at once: more than there are places for jobs.
const MANY: u64 = 3 * MAX_JOBS as u64;

/// Ends all commands, and then the jobs that are out; what is started by that.
fn end_all(bench: &mut Bench, out: &[(JobId, Job)]) -> Vec<(JobId, Job)> {
    let mut started = Vec::new();
    for command in 1..=MANY {
        let actions = bench.does(Event::Command { id: MANY + command, command: Command::Cancel { command } });
        let is_ended = |job: &JobId| actions.contains(&Action::Cancel { job: *job });
        let ended = out.iter().filter(|(job, _)| is_ended(job)).count();
        assert!(ended <= 1, "one command has one step at a time");
        started.extend(jobs(&actions));
    }
    for (job, _) in out {
        started.extend(jobs(&bench.ends(*job, failed(JobErrorKind::Cancelled))));
    }
    assert!(bench.node.is_at_rest());
    started
}

#[test]
fn of_stores_that_the_user_ends_no_step_begins_that_waited_for_its_turn() {
    let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 1, 0).start(&[]);
    let mut out = Vec::new();
    for id in 1..=MANY {
        let command = Command::Store { path: "file".into(), manifest: None, keep: false };
        out.extend(jobs(&bench.does(Event::Command { id, command })));
    }
    // One has come to its list.
    let (job, _) = out.remove(0);
    out.extend(jobs(&bench.ends(job, Outcome::End { size: 0, sha256: key(99) })));
    assert_eq!(end_all(&mut bench, &out), [], "nobody would close the file, or withdraw the block");
}

#[test]
fn of_retrieves_that_the_user_ends_no_step_begins_that_waited_for_its_turn() {
    let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 1, 0).start(&[]);
    let mut lists = Vec::new();
    for id in 1..=MANY {
        let command = Command::Retrieve { source: Source::Key(key(1)), dest: "back".into(), replace: false };
        lists.extend(jobs(&bench.does(Event::Command { id, command })));
    }
    let mut out = Vec::new();
    while let Some((job, work)) = lists.pop() {
        if matches!(work, Job::Open { .. }) {
            out.push((job, work));
            continue;
        }
        let entries = vec![ManifestEntry { key: key(2), size: 10 }];
        let manifest = Manifest { level: 0, size: 10, sha256: Some(key(99)), folder: false, entries };
        lists.extend(jobs(&bench.ends(job, Outcome::Unpacked { manifest })));
    }
    assert!(out.len() < MANY as usize, "some wait");
    assert_eq!(end_all(&mut bench, &out), [], "nobody would close the file");
}

#[test]
fn the_step_of_a_store_that_the_user_ends_is_ended_if_it_has_begun() {
    let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 1, 0).start(&[]);
    let command = Command::Store { path: "file".into(), manifest: None, keep: false };
    let [(read, Job::ReadNext { .. })] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    let actions = bench.does(Event::Command { id: 2, command: Command::Cancel { command: 1 } });
    let at = |wanted: &dyn Fn(&Action) -> bool| actions.iter().position(wanted).expect("it is done");
    let ended = at(&|action| *action == Action::Cancel { job: read });
    let forgotten = at(&|action| matches!(action, Action::ForgetPut { .. }));
    assert!(ended < forgotten, "a worker that comes to offer a block then knows that the file is forgotten");
}

#[test]
fn of_changes_of_leases_that_the_user_ends_no_list_is_read_any_more() {
    let (lease, change) = (lease(1, None), LeaseChange::Renewed(lease(1, None)));
    let renews = Command::Lease { changes: vec![(key(1), change)], listed: BTreeSet::new(), copies: 0 };
    for command in [renews, Command::Lay { keys: vec![key(1)], lease }] {
        let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 1, 0).start(&[]);
        let given = |id| Event::Command { id, command: command.clone() };
        let out: Vec<_> = (1..=MANY).flat_map(|id| jobs(&bench.does(given(id)))).collect();
        assert!(matches!(out[0], (_, Job::Unpack { .. })) && out.len() < MANY as usize, "{out:?}");
        assert_eq!(end_all(&mut bench, &out), [], "{command:?}");
    }
}
