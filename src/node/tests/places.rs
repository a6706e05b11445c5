//! What stands where a file shall go, local manifests, copies kept here, and commands that are cancelled.

use super::files::{entry, reading, store_file};
use super::*;
use crate::config::INTERRUPT_WINDOW;
use crate::file::{LocalManifest, Manifest, ManifestEntry, ManifestForm};
use crate::node::{Command, FailureKind, Source};

/// A retrieve of a file of three blocks, onto whose name another file of its size stands; returns the checks of its
/// blocks.
fn standing(bench: &mut Bench, replace: bool) -> Vec<(JobId, Job)> {
    let command = Command::Retrieve { source: Source::Key(key(100)), dest: "back".into(), replace };
    let [(unpack, _)] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    let entries = vec![entry(1, 10), entry(2, 10), entry(3, 5)];
    let manifest = Manifest { level: 0, size: 25, sha256: Some(key(9)), folder: false, entries };
    let actions = bench.ends(unpack, Outcome::Unpacked { manifest });
    let [(open, Job::Open { compare: true, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let checks = jobs(&bench.ends(open, Outcome::Standing));
    assert!(checks.len() == 3 && checks.iter().all(|(_, job)| matches!(job, Job::Check { .. })), "{checks:?}");
    checks
}

#[test]
fn a_destination_that_holds_these_very_bytes_is_success_and_nothing_is_written() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let mut actions = Vec::new();
    for (check, _) in standing(&mut bench, false) {
        actions = bench.ends(check, Outcome::Checked { good: true });
        assert_eq!(jobs(&actions), [], "nothing is fetched, and nothing gets a name");
    }
    let answer = answer(&actions);
    assert!(matches!(answer, Some(Answer::Retrieved { standing: true, bytes: 25, .. })), "{answer:?}");
    assert!(bench.node.is_at_rest());
}

#[test]
fn a_destination_that_holds_other_bytes_is_replaced_only_if_that_was_said() {
    for replace in [false, true] {
        let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
        let checks = standing(&mut bench, replace);
        bench.ends(checks[0].0, Outcome::Checked { good: true });
        let actions = bench.ends(checks[1].0, Outcome::Checked { good: false });
        let [(open, Job::Open { compare: false, replace: may, .. })] = jobs(&actions)[..] else {
            panic!("{actions:?}")
        };
        assert_eq!(may, replace);
        bench.ends(checks[2].0, Outcome::Checked { good: true });
        if replace {
            let fetches = jobs(&bench.ends(open, Outcome::Opened { resumed: false }));
            assert!(fetches.len() == 3 && fetches.iter().all(|(_, job)| matches!(job, Job::Fetch { .. })));
        } else {
            let actions = bench.ends(open, failed(JobErrorKind::Exists));
            let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
            assert_eq!((failure.kind, &*failure.reason), (FailureKind::Exists, "Exists"), "nothing of it is kept");
            assert!(bench.node.is_at_rest());
        }
    }
}

/// Retrieves by a local manifest that says `listed`.
fn by_manifest(bench: &mut Bench, listed: Vec<ManifestEntry>, sha256: Option<Id>) -> Vec<Action> {
    let command = Command::Retrieve { source: Source::Manifest("m".into()), dest: "back".into(), replace: true };
    let [(read, Job::ReadManifest { .. })] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    bench.ends(read, Outcome::Manifest { entries: listed, root: key(50), sha256 })
}

#[test]
fn an_empty_list_never_replaces_a_file_whatever_was_said() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let actions = by_manifest(&mut bench, Vec::new(), None);
    let [(open, Job::Open { replace: false, size: 0, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let Some(Answer::Failed(failure)) = answer(&bench.ends(open, failed(JobErrorKind::Exists))) else { panic!() };
    assert!(failure.reason.contains("an empty list replaces no file"), "{failure:?}");
    // One that shows itself whole is the empty file's.
    let actions = by_manifest(&mut bench, Vec::new(), Some(key(9)));
    assert!(matches!(jobs(&actions)[..], [(_, Job::Open { replace: true, .. })]), "{actions:?}");
}

#[test]
fn a_list_that_cannot_show_that_it_is_whole_is_told_and_the_hash_of_one_that_can_is_checked() {
    for sha256 in [None, Some(key(9))] {
        let mut bench = Bench::new(Config::default(), 3, 9).start(&[(key(1), 10)]);
        let [(open, Job::Open { only, .. })] = jobs(&by_manifest(&mut bench, vec![entry(1, 10)], sha256))[..] else {
            panic!()
        };
        assert_eq!(only.is_some(), sha256.is_none(), "what is to be hashed is hashed before it gets its name");
        let [(fetch, _)] = jobs(&bench.ends(open, Outcome::Opened { resumed: false }))[..] else { panic!() };
        let actions = bench.ends(fetch, Outcome::Fetched);
        let [(finish, Job::Finish { sha256: checked, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
        assert_eq!(checked, sha256);
        let actions = bench.ends(finish, Outcome::Done);
        let Some(Answer::Retrieved { complete, blocks: 1, bytes: 10, .. }) = answer(&actions) else { panic!() };
        assert_eq!(complete, sha256.is_some());
    }
}

#[test]
fn a_copy_kept_here_is_looked_at_and_kept_anew_if_it_cannot_be_vouched_for() {
    for sound in [true, false] {
        let mut bench = Bench::new(Config::default(), 0, 0).start(&[(key(1), 10)]);
        let read = reading(&store_file(&mut bench)).expect("it is read");
        let actions = bench.ends(read, Outcome::Read { entry: entry(1, 10) });
        let verify = |(_, job): &(JobId, Job)| matches!(job, Job::Verify { .. });
        let Some((verify, _)) = jobs(&actions).into_iter().find(verify) else { panic!("{actions:?}") };
        if sound {
            let actions = bench.ends(verify, Outcome::Sound { size: 10 });
            assert!(actions.contains(&Action::Withdraw { put: 1, key: key(1) }), "{actions:?}");
        } else {
            let actions = bench.ends(verify, failed(JobErrorKind::Corrupt));
            assert!(matches!(jobs(&actions)[..], [(_, Job::Keep { key: kept, .. })] if kept == key(1)), "{actions:?}");
        }
    }
}

#[test]
fn a_file_whose_manifest_could_not_be_written_is_stored_and_its_key_is_told() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[]);
    let manifest = Some(LocalManifest { path: "m".into(), form: ManifestForm::Seed });
    let command = Command::Store { path: "file".into(), manifest, keep: false };
    let [(read, _)] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    let [(pack, Job::Pack { .. })] = jobs(&bench.ends(read, Outcome::End { size: 0, sha256: key(9) }))[..] else {
        panic!()
    };
    let actions = bench.ends(pack, Outcome::Packed { key: key(50), size: 99 });
    let [(keep, Job::Keep { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let [(publish, Job::Publish { .. })] = jobs(&bench.ends(keep, Outcome::Stored { size: 99 }))[..] else { panic!() };
    let actions = bench.ends(publish, failed(JobErrorKind::Exists));
    let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
    assert_eq!(failure.kind, FailureKind::Other, "it was not refused");
    assert!(failure.reason.contains(&format!("its key is {}", key(50))), "{failure:?}");
}

/// What was answered to which command.
fn answers(actions: &[Action]) -> Vec<(u64, Answer)> {
    let answers = actions.iter().filter_map(|action| match action {
        Action::Notify(Notice::Answer { command, answer }) => Some((*command, answer.clone())),
        _ => None,
    });
    answers.collect()
}

#[test]
fn an_interrupt_ends_what_is_under_way_and_the_second_one_soon_after_ends_the_peer() {
    let interrupt = |id, commands: &[u64]| {
        let commands = commands.to_vec();
        Event::Command { id, command: Command::Interrupt { commands, handover: false } }
    };
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    store_file(&mut bench);
    bench.does(Event::Command { id: 2, command: Command::Ping { addr: addr(9) } });
    let actions = answers(&bench.does(interrupt(3, &[1, 2])));
    let [(1, Answer::Failed(store)), (2, Answer::Failed(ping)), (3, Answer::Interrupted { commands: 2 })] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((store.kind, ping.kind), (FailureKind::Cancelled, FailureKind::Cancelled));
    assert!(bench.node.is_at_rest());
    bench.now += INTERRUPT_WINDOW + Duration::from_micros(1);
    let actions = answers(&bench.does(interrupt(4, &[])));
    assert!(matches!(actions[..], [(4, Answer::Interrupted { commands: 0 })]), "{actions:?}");
    bench.now += INTERRUPT_WINDOW;
    let actions = bench.does(interrupt(5, &[]));
    assert!(matches!(answers(&actions)[..], [(5, Answer::Left { .. })]), "{actions:?}");
    assert_eq!(actions.last(), Some(&Action::Stop));
}

#[test]
fn an_interrupt_leaves_commands_of_others_alone_and_the_second_one_ends_them_too() {
    let interrupt = |id| Event::Command { id, command: Command::Interrupt { commands: vec![2], handover: false } };
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    bench.does(Event::Command { id: 1, command: Command::Ping { addr: addr(8) } });
    bench.does(Event::Command { id: 2, command: Command::Ping { addr: addr(9) } });
    let actions = answers(&bench.does(interrupt(3)));
    assert!(matches!(actions[..], [(2, Answer::Failed(_)), (3, Answer::Interrupted { commands: 1 })]), "{actions:?}");
    let actions = answers(&bench.does(interrupt(4)));
    assert!(matches!(actions[..], [(4, Answer::Left { .. }), (1, Answer::Failed(_))]), "{actions:?}");
}

#[test]
fn an_interrupted_clear_forgets_no_block_that_is_still_here() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[(key(1), 10), (key(2), 10)]);
    let sources = vec![Source::Key(key(1)), Source::Key(key(2))];
    let [(unpack, _)] =
        jobs(&bench.does(Event::Command { id: 1, command: Command::Clear { sources, force: true } }))[..]
    else {
        panic!()
    };
    let [(delete, Job::Delete { .. })] = jobs(&bench.ends(unpack, Outcome::NotManifest { size: 10 }))[..] else {
        panic!()
    };
    bench.does(Event::Command { id: 2, command: Command::Interrupt { commands: vec![1], handover: true } });
    let actions = answers(&bench.ends(delete, Outcome::Done));
    assert!(matches!(&actions[..], [(1, Answer::Failed(failure))] if failure.kind == FailureKind::Cancelled));
    assert_eq!(bench.node.held().map(|(key, _)| key).collect::<Vec<_>>(), [key(2)]);
}
