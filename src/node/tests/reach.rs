//! Peers whose datagrams come through, and no TCP.

use super::offers::{acquainted, store};
use super::*;
use crate::node::refusal::Refusal;

#[test]
fn one_connection_that_does_not_come_about_answers_all_that_wait_for_it_and_for_a_while_what_comes_new() {
    let mut bench = acquainted();
    bench.does(Event::Validated { addr: peer(2).addr });
    let started: usize = (0..10).map(|n| jobs(&bench.hears_request(peer(1), n, store(n))).len()).sum();
    assert_eq!((started, bench.hears_request(peer(2), 99, store(9))), (2, vec![]));
    let actions = bench.ends(0, failed(JobErrorKind::Unreachable));
    let refused = responses(&actions);
    assert!(refused.iter().all(|(_, _, told)| *told == Err(Refusal::Unreached.to_string())), "{refused:?}");
    assert_eq!(refused.len(), 9, "but for the one that is being pulled too");
    let actions = bench.ends(1, failed(JobErrorKind::Unreachable));
    let [(pull, Job::Pull { from, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(from, peer(2).addr);
    bench.ends(pull, Outcome::Stored { size: 1000 });
    let again = bench.hears_request(peer(1), 20, store(20));
    assert_eq!(responses(&again), [(peer(1).addr, 20, Err(Refusal::Unreached.to_string()))]);
    bench.now += Duration::from_secs(10);
    assert_eq!(jobs(&bench.hears_request(peer(1), 21, store(21))).len(), 1, "it may be reached by now");
}

#[test]
fn what_is_here_needs_no_connection_to_who_offers_it_and_who_delivered_is_not_judged_by_one_that_failed() {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&[(key(1), 4)]);
    bench.does(Event::Validated { addr: peer(1).addr });
    bench.hears_request(peer(1), 2, store(2));
    bench.ends(0, failed(JobErrorKind::Unreachable));
    let looks = jobs(&bench.hears_request(peer(1), 1, store(1)));
    assert!(matches!(looks[..], [(_, Job::Verify { .. })]), "{looks:?}");

    let mut bench = acquainted();
    bench.hears_request(peer(1), 0, store(0));
    bench.ends(0, Outcome::Stored { size: 1000 });
    (1..40).for_each(|n| drop(bench.hears_request(peer(1), n, store(n))));
    assert_eq!(responses(&bench.ends(1, failed(JobErrorKind::Unreachable))).len(), 1);
    assert!(responses(&bench.ends(2, failed(JobErrorKind::Unreachable))).len() > 1, "two in a row");
}
