//! Replica sets while peers come and go.

use super::*;
use crate::config::{REPAIR_BOUND, REPAIR_DELAY};
use crate::node::Command;
use crate::node::job::{Holder, JobError, JobErrorKind};
use crate::node::trouble::Trouble;

/// Lets the node check its one block, which it does soon after the start.
fn checks(bench: &mut Bench) -> Vec<Action> {
    loop {
        let actions = bench.wait(REPAIR_BOUND).expect("a block found at the start is checked within the bound");
        if !requests(&actions).is_empty() || bench.node.is_at_rest() && bench.now > Time::ZERO + REPAIR_DELAY * 8 {
            return actions;
        }
    }
}

#[test]
fn the_duty_is_the_nearest_holders_and_the_others_only_ask() {
    let mut bench = Bench::new(Config::default(), 3, 3).start(&[(key(1), 10)]);
    let mut actions = checks(&mut bench);
    for nearer in [peer(1), peer(2)] {
        let [(to, magic, Request::FindValue { .. })] = requests(&actions)[..] else { panic!("{actions:?}") };
        assert_eq!(to, nearer.addr);
        actions = bench.hears_answer(to, magic, Response::Node(nearer));
    }
    assert_eq!(requests(&actions), [], "it is the duty of the nearer holders");
    assert!(bench.node.is_at_rest());
}

#[test]
fn one_nearer_peer_that_says_it_holds_the_block_may_lie_so_the_duty_stays() {
    let mut bench = Bench::new(Config::default(), 3, 1).start(&[(key(1), 10)]);
    let (to, magic, _) = requests(&checks(&mut bench))[0].clone();
    bench.hears_answer(to, magic, Response::Node(peer(1)));
    assert!(bench.node.is_at_rest(), "the lookup found every other peer holding it");
}

#[test]
fn a_nearer_peer_without_the_block_is_passed_over_and_the_next_is_asked() {
    let mut bench = Bench::new(Config::default(), 3, 2).start(&[(key(1), 10)]);
    let (to, magic, _) = requests(&checks(&mut bench))[0].clone();
    let actions = bench.hears_answer(to, magic, Response::Nodes(Vec::new()));
    assert!(matches!(requests(&actions)[..], [(to, _, Request::FindValue { .. })] if to == peer(2).addr));
}

#[test]
fn whoever_notices_a_death_asks_all_that_should_hold_the_block_though_it_is_not_its_duty() {
    let mut bench = Bench::new(Config::default(), 5, 2).start(&[(key(1), 10)]);
    let mut actions = checks(&mut bench);
    for nearer in [peer(1), peer(2)] {
        let (to, magic, _) = requests(&actions)[0].clone();
        actions = bench.hears_answer(to, magic, Response::Node(nearer));
    }
    assert!(bench.node.is_at_rest(), "without news two nearer holders do");
    let message = Message::request(1, Sender::member(peer(0).id, peer(0).addr), Request::Ping);
    bench.does(Event::Undeliverable { to: peer(5).addr, message, obstacle: Obstacle::Refused });
    let mut actions = checks(&mut bench);
    for nearer in [peer(1), peer(2)] {
        let [(to, magic, Request::FindValue { .. })] = requests(&actions)[..] else { panic!("{actions:?}") };
        assert_eq!(to, nearer.addr);
        actions = bench.hears_answer(to, magic, Response::Node(nearer));
    }
    let asked = requests(&actions);
    assert_eq!(asked.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [peer(3).addr, peer(4).addr]);
    assert_eq!(requests(&bench.hears_answer(asked[0].0, asked[0].1, Response::Node(peer(3)))), []);
    let actions = bench.hears_answer(asked[1].0, asked[1].1, Response::Nodes(Vec::new()));
    let [(to, magic, Request::Store { .. })] = requests(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(to, peer(4).addr, "it lacks the block");
    bench.hears_answer(to, magic, Response::Saved);
    assert!(bench.node.is_at_rest());
}

#[test]
fn whoever_holds_a_copy_outside_the_set_and_notices_a_death_sees_to_the_set_too() {
    let config = Config { replicas: 3, ..Config::default() };
    let mut bench = Bench::new(config, 5, 4).start(&[(key(1), 10)]);
    let mut actions = checks(&mut bench);
    let message = Message::request(1, Sender::member(peer(0).id, peer(0).addr), Request::Ping);
    for news in [false, true] {
        for nearer in [peer(1), peer(2)] {
            let [(to, magic, Request::FindValue { .. })] = requests(&actions)[..] else { panic!("{actions:?}") };
            assert_eq!(to, nearer.addr);
            actions = bench.hears_answer(to, magic, Response::Node(nearer));
        }
        if !news {
            assert!(bench.node.is_at_rest(), "without news two holders of the set do");
            bench.does(Event::Undeliverable {
                to: peer(5).addr,
                message: message.clone(),
                obstacle: Obstacle::Refused,
            });
            actions = checks(&mut bench);
        }
    }
    let [(to, magic, Request::FindValue { .. })] = requests(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(to, peer(3).addr, "nobody within the set may have noticed");
    let actions = bench.hears_answer(to, magic, Response::Nodes(Vec::new()));
    assert!(matches!(requests(&actions)[..], [(to, _, Request::Store { .. })] if to == peer(3).addr));
}

#[test]
fn a_block_that_was_here_at_the_start_is_looked_at_when_others_are_first_told_of_it_and_once() {
    let held: Vec<_> = (1..=6).map(|n| (key(n), 10)).collect();
    let mut bench = Bench::new(Config::default(), 3, 0).start(&held);
    let ask = |bench: &mut Bench, n| jobs(&bench.hears_request(peer(1), n, Request::FindValue { key: key(n) }));
    let looks: Vec<_> = (1..=6).flat_map(|n| ask(&mut bench, n)).collect();
    let expected: Vec<_> = (1..=4).map(|n| Job::Verify { key: key(n) }).collect();
    assert_eq!(looks.iter().map(|(_, job)| job.clone()).collect::<Vec<_>>(), expected, "a few at a time");
    bench.ends(looks[0].0, Outcome::Sound { size: 10 });
    assert_eq!(ask(&mut bench, 1), [], "once");
    assert!(matches!(ask(&mut bench, 5)[..], [(_, Job::Verify { .. })]));
    // What is found damaged is no longer said to be here, and is brought back.
    let actions = bench.does(Event::Damaged { key: key(2) });
    assert!(matches!(jobs(&actions)[..], [(_, Job::Pull { .. })]));
    bench.ends(looks[1].0, failed(JobErrorKind::Corrupt));
    assert_eq!(bench.node.held().count(), 5);
}

#[test]
fn a_damaged_block_is_brought_back_from_a_holder_and_the_next_if_that_fails() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[(key(1), 10)]);
    let actions = bench.does(Event::Damaged { key: key(1) });
    assert!(actions.contains(&Action::Notify(Notice::BlockDamaged { key: key(1) })));
    let [(job, Job::Pull { from, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(from, peer(1).addr);
    assert_eq!(bench.node.held().count(), 0, "a damaged block is not held");
    let error = JobError { kind: JobErrorKind::Corrupt, reason: String::new() };
    let actions = bench.ends(job, Outcome::Failed(error));
    let [(job, Job::Pull { from, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(from, peer(2).addr);
    bench.ends(job, Outcome::Stored { size: 10 });
    assert_eq!(bench.node.held().collect::<Vec<_>>(), [(key(1), 10)]);
}

#[test]
fn a_damaged_block_that_nobody_gives_is_looked_for_again_and_at_last_given_up() {
    let mut bench = Bench::new(Config::default(), 1, 0).start(&[(key(1), 10)]);
    let mut actions = bench.does(Event::Damaged { key: key(1) });
    let (mut pulls, mut told) = (Vec::new(), Vec::new());
    loop {
        if let [(job, Job::Pull { from, .. })] = jobs(&actions)[..] {
            assert_eq!(from, peer(1).addr);
            pulls.push(bench.now);
            let error = JobError { kind: JobErrorKind::NotFound, reason: String::new() };
            told.push(bench.ends(job, Outcome::Failed(error)));
            assert!(bench.node.is_at_rest(), "between two attempts nothing is under way");
        }
        match bench.wait(REPAIR_BOUND * 10) {
            Some(next) => actions = next,
            None => break,
        }
    }
    let pauses: Vec<u64> = pulls.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(pauses.len() == 5 && pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    assert!(pulls[2] - pulls[0] < REPAIR_BOUND, "more than once within the bound");
    let lost = Action::Notify(Notice::Trouble { trouble: Trouble::Lost { key: key(1) } });
    assert!(
        told.iter().rposition(|actions| !actions.contains(&lost)) == Some(4),
        "it is told once, at the end: {told:?}"
    );
}

#[test]
fn a_damaged_block_that_is_offered_meanwhile_needs_no_further_look() {
    let mut bench = Bench::new(Config::default(), 1, 0).start(&[(key(1), 10)]);
    let [(job, _)] = jobs(&bench.does(Event::Damaged { key: key(1) }))[..] else { panic!("it is pulled") };
    bench.ends(job, Outcome::Failed(JobError { kind: JobErrorKind::NotFound, reason: String::new() }));
    bench.does(Event::Validated { addr: peer(1).addr });
    let actions = bench.hears_request(peer(1), 5, Request::Store { key: key(1), size: Some(10) });
    let [(job, Job::Pull { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    bench.ends(job, Outcome::Stored { size: 10 });
    while let Some(actions) = bench.wait(REPAIR_BOUND * 10) {
        assert!(!jobs(&actions).iter().any(|(_, job)| matches!(job, Job::Pull { .. })), "{actions:?}");
    }
}

#[test]
fn quit_without_handover_stops_at_once_and_says_what_stays_behind() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[(key(1), 10)]);
    let actions = bench.does(Event::Command { id: 1, command: Command::Quit { handover: false } });
    let left = Answer::Left { handed_over: 0, left_behind: 1, offered: false, kept: true };
    assert_eq!(answer(&actions), Some(left));
    assert_eq!(actions.last(), Some(&Action::Stop));
    assert_eq!(bench.node.next_wake(), None);
    assert_eq!(bench.does(Event::Tick), [], "nothing more comes of it");
}

#[test]
fn quit_hands_over_what_others_lack_and_ends_every_command_with_an_answer() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[(key(1), 10)]);
    let command = Command::Retrieve { source: crate::node::Source::Key(key(1)), dest: "back".into(), replace: false };
    let actions = bench.does(Event::Command { id: 1, command });
    assert!(matches!(jobs(&actions)[..], [(_, Job::Unpack { from: Holder::Own, .. })]));
    let mut actions = bench.does(Event::Command { id: 2, command: Command::Quit { handover: true } });
    assert!(matches!(answer(&actions), Some(Answer::Failed(_))), "the user's command is over");
    let asked = requests(&actions);
    assert_eq!(asked.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [peer(1).addr, peer(2).addr, peer(3).addr]);
    let lacks = asked[2].clone();
    for (to, magic, request) in asked {
        assert_eq!(request, Request::FindValue { key: key(1) });
        let holder = if to == lacks.0 { Response::Nodes(Vec::new()) } else { Response::Node(peer(1)) };
        actions = bench.hears_answer(to, magic, holder);
    }
    let [(to, magic, Request::Store { .. })] = requests(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(to, lacks.0);
    let actions = bench.hears_answer(to, magic, Response::Saved);
    assert_eq!(answer(&actions), Some(left(1, 0)));
    assert_eq!(actions.last(), Some(&Action::Stop));
}

#[test]
fn a_peer_that_leaves_too_is_waited_for_no_longer_and_the_next_nearest_get_the_blocks() {
    let config = Config { replicas: 1, ..Config::default() };
    let mut bench = Bench::new(config, 3, 0).start(&[(key(1), 10), (key(2), 10)]);
    let asked = requests(&bench.does(Event::Command { id: 1, command: Command::Quit { handover: true } }));
    assert_eq!(asked.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [peer(1).addr; 2]);
    let lacks = |(to, magic, _)| requests(&bench.hears_answer(to, magic, Response::Nodes(Vec::new())));
    let offers: Vec<_> = asked.into_iter().flat_map(lacks).collect();
    let [(to, magic, Request::Store { .. }), (_, _, Request::Store { .. })] = offers[..] else { panic!("{offers:?}") };
    let mut actions = bench.hears(to, Message::error(magic, "leaving the network"));
    let asked = requests(&actions);
    assert_eq!(asked.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [peer(2).addr; 2]);
    for (to, magic, _) in asked {
        actions = bench.hears_answer(to, magic, Response::Node(peer(2)));
    }
    assert_eq!(answer(&actions), Some(left(2, 0)));
}

#[test]
fn a_peer_alone_leaves_its_blocks_behind_without_waiting() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[(key(1), 10)]);
    let actions = bench.does(Event::Command { id: 1, command: Command::Quit { handover: true } });
    assert_eq!(answer(&actions), Some(left(0, 1)));
}

#[test]
fn a_block_found_damaged_after_it_was_handed_over_was_not_left_behind() {
    let overlay = Scripted { me: peer(0), set: vec![peer(1)], holds: false, unreached: 0 };
    let mut bench = Bench::on(Config::default(), overlay).start(&[(key(1), 10), (key(2), 10)]);
    let offers = requests(&bench.does(Event::Command { id: 1, command: Command::Quit { handover: true } }));
    let [(to, first, _), (_, second, _)] = offers[..] else { panic!("{offers:?}") };
    bench.hears_answer(to, first, Response::Saved);
    bench.does(Event::Damaged { key: key(1) });
    bench.does(Event::Damaged { key: key(2) });
    let actions = bench.hears_answer(to, second, Response::Saved);
    assert_eq!(answer(&actions), Some(left(2, 0)));
}
