//! The peers that are on disk for the next start.

use super::*;
use crate::node::ticket::News;

/// After how long the peers known are saved next.
fn saved_after(bench: &mut Bench) -> Duration {
    let begun = bench.now;
    bench.saved = None;
    loop {
        bench.wait(Duration::from_secs(10)).expect("they are saved");
        if let Some(saved) = bench.saved {
            return saved.since(begun);
        }
    }
}

#[test]
fn the_first_peers_of_a_newcomer_are_on_disk_at_once_and_what_changes_later_is_gathered() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[]);
    assert!(saved_after(&mut bench) < Duration::from_millis(500));
    bench.node.tell(News::Up);
    bench.does(Event::Tick);
    assert_eq!(saved_after(&mut bench), Duration::from_secs(5));
}

#[test]
fn a_restarted_peer_does_not_forget_many_for_the_first_that_it_meets_again() {
    let mut bench = Bench::new(Config::default(), 3, 0).start_again((1..=9).map(peer).collect(), &[]);
    assert_eq!(saved_after(&mut bench), Duration::from_secs(5));
}

#[test]
fn a_peer_that_is_alone_leaves_those_on_disk_whom_it_knew_before() {
    let overlay = Scripted { me: peer(0), set: Vec::new(), holds: false, ends: true, unreached: Vec::new() };
    let mut bench = Bench::on(Config::default(), overlay).start_again((1..=9).map(peer).collect(), &[]);
    bench.node.tell(News::Down(&peer(1)));
    while bench.now < Time::from_micros(600_000_000) && bench.wait(Duration::from_secs(60)).is_some() {}
    bench.node.tell(News::Leaving { handover: false });
    bench.does(Event::Tick);
    assert_eq!(bench.saved, None);
}
