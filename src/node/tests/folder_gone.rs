//! A data folder that is gone under a running peer.

use super::*;
use crate::lease::{Lease, Note, Secret};
use crate::node::command::{Command, Until};

fn is_holder(bench: &mut Bench) -> bool {
    let answers = responses(&bench.hears_request(peer(1), 9, Request::FindValue { key: key(1) }));
    answers.iter().any(|(_, _, answer)| matches!(answer, Ok(Response::Holder { .. } | Response::Node(_))))
}

/// Each part of the node hears of it once, not of each block: there may be a million.
#[test]
fn who_waits_until_this_peer_may_be_switched_off_hears_at_once_that_nothing_would_be_lost_with_what_is_gone() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[(key(1), 10), (key(2), 20)]);
    let wait = Command::Wait { until: Until::Safe, limit: None };
    assert_eq!(answer(&bench.does(Event::Command { id: 7, command: wait })), None, "the only copies are here");
    let mut actions = bench.does(Event::FolderGone);
    actions.extend(bench.wait(Duration::from_secs(1)).unwrap_or_default());
    assert!(matches!(answer(&actions), Some(Answer::Waited { .. })), "{actions:?}");
    bench.node.check().expect("the account is right");
}

#[test]
fn nobody_is_told_that_a_block_is_here_while_the_folder_is_gone_and_its_leases_are_known_again_when_it_is_back() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[(key(1), 10), (key(2), 20)]);
    assert!(is_holder(&mut bench));
    bench.does(Event::FolderGone);
    assert!(!is_holder(&mut bench));
    assert_eq!((bench.node.desk.holdings.len(), bench.node.desk.holdings.bytes()), (0, 0));
    let secret: Secret = "07".repeat(32).parse().expect("64 digits");
    let lease = Lease { id: secret.id(), until: None, copies: 2 };
    let notes = vec![Note::Laid { key: key(1), leases: vec![lease] }];
    bench.does(Event::FolderBack { held: vec![(key(1), 10), (key(2), 20)], notes, off: 5 });
    assert!(is_holder(&mut bench));
    assert_eq!(bench.node.desk.holdings.bytes(), 30);
    assert_eq!(bench.node.desk.holdings.leases(&key(1)), [lease]);
}
