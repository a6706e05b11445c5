//! Files that are sent while their sender is told to leave.

use super::late::{has_left, passes_until, quits};
use super::*;

/// A node whose file the peer 2 comes for, or was told of; then the node's user has it leave.
fn leaves_while_sending(comes: bool) -> Bench {
    let mut bench = classroom_of(6, 0);
    let (look, _) = job(&arrives(&mut bench, peer(2), 5, Routed::Request { file: file(1) }));
    bench.ends(look, found(Some(VERSION)));
    if comes {
        bench.does(Event::Fetching { file: file(1), by: peer(2).addr, goes_on: true });
    }
    for (to, magic) in quits(&mut bench) {
        bench.hears_answer(to, magic, Response::Ring(RingResponse::Noted { of: RingKind::Transfer }));
    }
    bench
}

#[test]
fn a_peer_that_quits_sends_what_moves_to_its_end_and_says_so_before_it_leaves() {
    let mut bench = leaves_while_sending(true);
    let begin = bench.now;
    while let Some(actions) = bench.wait(Duration::from_secs(10).saturating_sub(bench.now.since(begin))) {
        assert!(!has_left(&actions), "after {:?}", bench.now.since(begin));
    }
    let mut actions = bench.does(Event::Fetched { file: file(1), by: peer(2).addr });
    assert!(!has_left(&actions), "the last line is yet to go out");
    assert_eq!(news(&actions), [FileNews::Sent { to: peer(2) }]);
    let sent = bench.now;
    actions = bench.does(Event::Fetching { file: file(1), by: peer(2).addr, goes_on: false });
    while !has_left(&actions) {
        actions = bench.wait(Duration::from_secs(1)).expect("it leaves");
    }
    assert!(bench.now.since(sent) < Duration::from_secs(1), "{:?}", bench.now.since(sent));
}

#[test]
fn a_peer_that_quits_waits_for_no_receiver_that_breaks_off_or_does_not_come_nor_longer_than_its_limit_for_any() {
    let mut broken = leaves_while_sending(true);
    let mut actions = broken.does(Event::Fetching { file: file(1), by: peer(2).addr, goes_on: false });
    let begin = broken.now;
    while !has_left(&actions) {
        actions = broken.wait(Duration::from_secs(1)).expect("it leaves");
    }
    let after_break = broken.now.since(begin);
    let [absent, slow] = [false, true].map(|comes| passes_until(&mut leaves_while_sending(comes), has_left));
    println!("left {after_break:?} after the break, {absent:?} where nobody came, {slow:?} where it never ended");
    assert!(after_break < Duration::from_secs(1) && absent <= Duration::from_secs(2), "{after_break:?}, {absent:?}");
    assert!(slow <= Config::default().handover_limit + Duration::from_secs(1), "{slow:?}");
}

#[test]
fn a_peer_that_sends_its_copy_to_who_was_not_served_elsewhere_tells_its_user_so_and_a_stranger_is_not_told_of() {
    let mut bench = classroom(1);
    let stranger = Event::Fetching { file: file(1), by: peer(99).addr, goes_on: true };
    assert_eq!(news(&bench.does(stranger)), []);
    let comes = Event::Fetching { file: file(1), by: peer(2).addr, goes_on: true };
    assert_eq!(news(&bench.does(comes)), [FileNews::StoredHere, FileNews::Sending { to: peer(2) }]);
    let actions = bench.does(Event::Fetched { file: file(1), by: peer(2).addr });
    assert_eq!(news(&actions), [FileNews::Sent { to: peer(2) }]);
}
