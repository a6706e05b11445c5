//! What peers say that they have, and what this one finds of that.

use std::collections::{BTreeSet, VecDeque};

use super::upkeep::{blocks, compared, comparisons};
use super::*;
use crate::config::{MAX_JOBS, REPUBLISH_INTERVAL};
use crate::node::Command;
use crate::node::desk::claims::CLAIMS_TICKET;
use crate::node::refusal::Refusal;
use crate::node::ticket::{PartId, Ticket};

/// A peer says that it holds the same forty blocks, and that it has what it is offered, in these words. What comes of
/// the jobs that look into it is `outcome`. How many of the blocks it is offered within an hour.
fn offered(words: &Response, outcome: &Outcome) -> usize {
    let held = blocks(0..40);
    let mut bench = Bench::new(Config { replicas: 2, ..Config::default() }, 1, 0).start(&held);
    bench.pulls = false;
    let mut queue: VecDeque<_> = comparisons(&mut bench).into();
    let (mut offered, until) = (BTreeSet::new(), bench.now + REPUBLISH_INTERVAL);
    loop {
        let mut actions = match queue.pop_front() {
            Some((to, magic, Request::Store { key, .. })) => {
                offered.insert(key);
                bench.hears_answer(to, magic, words.clone())
            }
            Some((to, magic, request)) => bench.hears_answer(to, magic, compared(&held, &request)),
            None => match bench.wait(until.since(bench.now)) {
                Some(actions) => actions,
                None => return offered.len(),
            },
        };
        for (job, work) in jobs(&actions) {
            if matches!(work, Job::Sample { .. } | Job::ReadBack { .. }) {
                actions.extend(bench.ends(job, outcome.clone()));
            }
        }
        queue.extend(requests(&actions));
    }
}

#[test]
fn no_peer_is_called_a_liar_because_this_one_cannot_look_into_what_it_says() {
    use JobErrorKind::*;
    let shown = Response::Shown { sample: key(7) };
    for kind in [Busy, Io, Full, Cancelled] {
        assert!(offered(&Response::Saved, &failed(kind)) < 10, "{kind:?}");
        assert!(offered(&shown, &failed(kind)) < 10, "{kind:?}");
    }
    for kind in [NotFound, Corrupt] {
        assert!(offered(&shown, &failed(kind)) < 10, "the own copy is what is missing: {kind:?}");
    }
    assert!(offered(&shown, &Outcome::Sampled { sample: key(8) }) > 20, "it shows other bytes");
    for kind in [NotFound, Unreachable, TimedOut, Corrupt] {
        assert!(offered(&Response::Saved, &failed(kind)) > 20, "it does not give the block back: {kind:?}");
    }
}

#[test]
fn a_claim_that_there_is_no_place_to_look_into_makes_no_liar() {
    let mut bench = Bench::new(Config::default(), 1, 0).start(&[]);
    let refused = (1..1000).find_map(|n| {
        let ticket = Ticket::block(PartId::Checks, key(n));
        bench.node.desk.challenge(ticket, key(n), peer(n as u16)).err()
    });
    assert!(matches!(refused, Some(Refusal::Unjudged(_))), "{refused:?}");
}

#[test]
fn what_comes_of_a_claim_that_matters_no_longer_is_taken_for_nothing_else() {
    let mut bench = Bench::new(Config::default(), 1, 0).start(&[]);
    bench.node.desk.challenge(Ticket::block(PartId::Puts, key(1)), key(1), peer(1)).expect("there is a place");
    let [job] = bench.node.desk.jobs.ordered_under(|ticket| *ticket == CLAIMS_TICKET)[..] else {
        panic!("it is read back")
    };
    bench.node.desk.drop_offers(|_| true);
    assert_eq!(bench.does(Event::JobDone { job, outcome: Outcome::Sound { size: 10 } }), [], "the job had begun");
    assert_eq!(bench.node.desk.connects_to(&peer(1).addr), None, "nobody asks for that any more");
    bench.node.check().expect("nothing waits");
}

#[test]
fn what_repair_reads_back_takes_no_place_of_the_users() {
    let held = blocks(0..40);
    let mut bench = Bench::new(Config { replicas: 2, ..Config::default() }, 1, 0).start(&held);
    bench.pulls = false;
    let [(to, magic, ref request)] = comparisons(&mut bench)[..] else { panic!("one member is asked") };
    let [(to, magic, Request::Store { .. })] = requests(&bench.hears_answer(to, magic, compared(&held, request)))[..]
    else {
        panic!("it is to show a block")
    };
    for id in 1..MAX_JOBS as u64 * 3 / 4 {
        let command = Command::Store { path: "file".into(), manifest: None, keep: false };
        assert_eq!(jobs(&bench.does(Event::Command { id, command })).len(), 1);
    }
    let [(_, Job::ReadBack { .. })] = jobs(&bench.hears_answer(to, magic, Response::Saved))[..] else { panic!() };
    assert!(bench.node.desk.jobs.has_place_for_own(), "one is left, and this does not take it");
}
