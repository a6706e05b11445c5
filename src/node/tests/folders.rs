//! Folders in the core: a listing is told from a file by its root, and what takes several commands can be ended.

use super::*;
use crate::file::folder::LONGEST;
use crate::file::{Manifest, ManifestEntry};
use crate::node::{Command, FailureKind, Progress, Source};

fn asks(bench: &mut Bench, id: u64, command: Command) -> Vec<Action> {
    bench.does(Event::Command { id, command })
}

fn root(folder: bool, size: u64) -> Manifest {
    let entries = vec![ManifestEntry { key: key(1), size }];
    Manifest { level: 0, size, sha256: Some(key(9)), folder, entries }
}

#[track_caller]
fn kind_of(actions: &[Action]) -> FailureKind {
    match answer(actions) {
        Some(Answer::Failed(failure)) => failure.kind,
        other => panic!("it did not fail: {other:?}"),
    }
}

/// What comes of a root to a command that retrieves `key(100)`.
fn unpacked(command: Command, root: Manifest) -> Vec<Action> {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let actions = asks(&mut bench, 1, command);
    let [(unpack, Job::Unpack { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    bench.ends(unpack, Outcome::Unpacked { manifest: root })
}

#[test]
fn the_root_of_a_listing_says_that_it_is_one() {
    let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 3, 9).start(&[]);
    let actions = asks(&mut bench, 1, Command::StoreListing { path: "/l".into(), keep: false });
    let [(read, Job::ReadNext { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let actions = bench.ends(read, Outcome::End { size: 0, sha256: key(9) });
    let [(_, Job::Pack { manifest: Manifest { folder: true, .. }, .. })] = &jobs(&actions)[..] else {
        panic!("{actions:?}")
    };
}

#[test]
fn a_folder_is_no_file_and_a_file_no_folder() {
    let retrieve = Command::Retrieve { source: Source::Key(key(100)), dest: "/d".into(), replace: true };
    let listing = Command::RetrieveListing { key: key(100), dest: "/d".into() };
    assert_eq!(kind_of(&unpacked(retrieve.clone(), root(true, 5))), FailureKind::Folder);
    assert_eq!(kind_of(&unpacked(listing.clone(), root(false, 5))), FailureKind::Folder);
    for (command, root) in [(retrieve, root(false, 5)), (listing.clone(), root(true, 5))] {
        assert!(matches!(jobs(&unpacked(command, root))[..], [(_, Job::Open { size: 5, .. })]));
    }
    assert_eq!(kind_of(&unpacked(listing, root(true, LONGEST + 1))), FailureKind::Integrity, "too long to be read");
}

#[test]
fn a_list_of_blocks_is_told_as_it_is_and_nothing_below_it_is_fetched() {
    let command = Command::RetrieveManifest { key: key(100) };
    let actions = unpacked(command.clone(), root(false, 5));
    let told = Answer::Manifest { manifest: Some(root(false, 5)), bytes: 5 };
    assert_eq!((answer(&actions), jobs(&actions).len()), (Some(told), 0));
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let actions = asks(&mut bench, 1, command);
    let [(unpack, Job::Unpack { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let told = Answer::Manifest { manifest: None, bytes: 7 };
    assert_eq!(answer(&bench.ends(unpack, Outcome::NotManifest { size: 7 })), Some(told));
}

#[test]
fn a_block_is_fetched_once_and_put_where_it_was_asked_for() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let actions = asks(&mut bench, 1, Command::RetrieveBlock { key: key(1), size: 10, dest: "/d".into() });
    let [(open, Job::Open { size: 10, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let actions = bench.ends(open, Outcome::Opened { resumed: false });
    let [(fetch, Job::Fetch { slot, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((slot.key, slot.size, slot.offset), (key(1), 10, 0));
    let actions = bench.ends(fetch, Outcome::Fetched);
    let [(finish, Job::Finish { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    assert!(matches!(answer(&bench.ends(finish, Outcome::Done)), Some(Answer::Retrieved { bytes: 10, .. })));
}

#[test]
fn what_takes_several_commands_goes_on_until_it_is_ended_however_that_is_asked() {
    for end in [
        Command::Interrupt { commands: vec![7], handover: true },
        Command::Cancel { command: 7 },
        Command::Quit { handover: true },
    ] {
        let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
        let begun = asks(&mut bench, 7, Command::Span);
        let progress = Progress::Begun { bytes: 0 };
        assert!(begun.contains(&Action::Notify(Notice::Progress { command: 7, progress })), "{begun:?}");
        assert_eq!(answer(&begun), None);
        let actions = asks(&mut bench, 8, end.clone());
        let ended = actions
            .iter()
            .any(|action| matches!(action, Action::Notify(Notice::Answer { command: 7, answer: Answer::Failed(_) })));
        assert!(ended, "{end:?}: {actions:?}");
        assert!(bench.node.is_at_rest() || matches!(end, Command::Quit { .. }));
    }
}
