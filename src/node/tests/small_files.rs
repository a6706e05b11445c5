//! Files of less than one block, which need no list.

use super::files::{answer_offers, entry, reading, retrieve};
use super::*;
use crate::node::Command;
use crate::node::job::Slot;

#[test]
fn a_file_of_less_than_a_block_is_named_by_its_own_key_unless_it_reads_as_a_list_or_is_one_of_a_folder() {
    let stored = |command: Command, bare: bool| {
        let mut bench = Bench::new(Config { guest: true, ..Config::default() }, 3, 9).start(&[]);
        let read = reading(&bench.does(Event::Command { id: 1, command })).expect("it begins by reading");
        let actions = bench.ends(read, Outcome::Last { entry: entry(1, 10), size: 10, sha256: key(1), bare });
        let packs = jobs(&actions).into_iter().filter(|(_, job)| matches!(job, Job::Pack { .. })).count();
        (packs, answer(&answer_offers(&mut bench, &actions, |_| true)))
    };
    let file = || Command::Store { path: "file".into(), manifest: None, keep: false };
    let (packs, end) = stored(file(), true);
    let Some(Answer::Stored { key: root, bytes: 10, blocks: 1, lists: 0, .. }) = end else { panic!("{end:?}") };
    assert_eq!((packs, root), (0, key(1)));
    for (command, bare) in [(file(), false), (Command::StoreListing { path: "file".into(), keep: false }, true)] {
        assert_eq!(stored(command, bare), (1, None), "its list is packed first");
    }
}

#[test]
fn a_file_that_is_its_own_root_comes_once_and_gets_its_name_by_one_more_job() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let actions = retrieve(&mut bench, 100);
    let [(unpack, Job::Unpack { root_of: Some(of), .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let actions = bench.ends(unpack, Outcome::NotManifest { size: 7 });
    let whole = Slot { key: key(100), size: 7, offset: 0 };
    let [(open, Job::Open { get, size: 7, only, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((get, only), (of, Some(whole)));
    let end = answer(&bench.ends(open, Outcome::Done));
    let Some(Answer::Retrieved { bytes: 7, sha256, holders, blocks: 1, .. }) = end else { panic!("{end:?}") };
    assert_eq!((sha256, holders), (Some(key(100)), 1));
    assert!(bench.node.is_at_rest());
}
