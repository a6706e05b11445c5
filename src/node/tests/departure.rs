//! A peer that leaves: what it tells, and for how long it stays.

use std::collections::VecDeque;

use super::upkeep::{blocks, compared, shown};
use super::*;
use crate::node::job::Holder;
use crate::node::refusal::Refusal;
use crate::node::{Command, Progress};

/// How far the departure is, as often as that is told.
fn handed_over(actions: &[Action]) -> Vec<(u64, u64)> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Notify(Notice::Progress { progress: Progress::HandedOver { blocks, of }, .. }) => Some((*blocks, *of)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_leaving_peer_tells_how_many_blocks_it_handed_over_of_how_many_and_goes_when_the_time_for_it_is_over() {
    let config = Config { replicas: 1, handover_limit: Duration::from_secs(3), ..Config::default() };
    let overlay = Scripted { me: peer(0), set: vec![peer(1)], holds: false, ends: true, unreached: Vec::new() };
    let mut bench = Bench::on(config, overlay).start(&[(key(1), 10), (key(2), 10)]);
    let asked = requests(&bench.does(Event::Command { id: 1, command: Command::Quit { handover: true } }));
    let offers = requests(&bench.hears_answer(asked[0].0, asked[0].1, compared(&[], &asked[0].2)));
    let actions = bench.hears_answer(offers[0].0, offers[0].1, Response::Saved);
    assert_eq!((handed_over(&actions), answer(&actions)), (vec![(1, 2)], None));
    let mut last = Vec::new();
    while let Some(actions) = bench.wait(Duration::from_secs(3)) {
        last = actions;
    }
    assert_eq!(answer(&last), Some(left(1, 1)));
}

#[test]
fn a_peer_that_ends_has_answered_every_command() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[]);
    let ping = Command::Ping { addr: addr(1) };
    let mut actions = bench.does(Event::Command { id: 1, command: ping });
    assert_eq!(requests(&actions).len(), 1, "nobody has answered it yet");
    actions.extend(bench.does(Event::Command { id: 2, command: Command::Quit { handover: false } }));
    while let Some(more) = bench.wait(Duration::from_secs(1)) {
        actions.extend(more);
    }
    let answered = |id| {
        let answers =
            |action: &&Action| matches!(action, Action::Notify(Notice::Answer { command, .. }) if *command == id);
        actions.iter().filter(answers).count()
    };
    assert_eq!((answered(1), answered(2), actions.last()), (1, 1, Some(&Action::Stop)));
}

#[test]
fn quit_without_handover_stops_at_once_and_says_what_stays_behind() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[(key(1), 10)]);
    let actions = bench.does(Event::Command { id: 1, command: Command::Quit { handover: false } });
    let left = Answer::Left { handed_over: 0, left_behind: 1, offered: false, kept: true, alone: false };
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
        let held = if to == lacks.0 { &[][..] } else { &[(key(1), 10)] };
        let answered = bench.hears_answer(to, magic, compared(held, &request));
        actions = shown(&mut bench, held, answered);
    }
    let [(to, magic, Request::Store { .. })] = requests(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(to, lacks.0);
    let actions = bench.hears_answer(to, magic, Response::Saved);
    assert_eq!(answer(&actions), Some(left(1, 0)));
    assert_eq!(actions.last(), Some(&Action::Stop));
}

#[test]
fn an_heir_that_had_to_pull_what_it_was_to_show_is_counted_for_nothing_and_the_next_nearest_get_the_blocks() {
    let held = blocks(0..10);
    let overlay =
        Scripted { me: peer(0), set: vec![peer(1), peer(2)], holds: false, ends: true, unreached: Vec::new() };
    let mut bench = Bench::on(Config { replicas: 1, ..Config::default() }, overlay).start(&held);
    let asked = requests(&bench.does(Event::Command { id: 1, command: Command::Quit { handover: true } }));
    let [(to, magic, ref request)] = asked[..] else { panic!("{asked:?}") };
    let offers = requests(&bench.hears_answer(to, magic, compared(&held, request)));
    let [(to, magic, Request::Store { .. })] = offers[..] else { panic!("what it is to show: {offers:?}") };
    let asked = requests(&bench.hears_answer(to, magic, Response::Saved));
    let [(to, magic, ref request)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(to, peer(2).addr);
    let mut offers: VecDeque<_> = requests(&bench.hears_answer(to, magic, compared(&[], request))).into();
    let mut pulled = 0;
    let end = loop {
        let Some((to, magic, Request::Store { .. })) = offers.pop_front() else { panic!("{pulled} were pulled") };
        pulled += 1;
        let actions = bench.hears_answer(to, magic, Response::Saved);
        offers.extend(requests(&actions));
        if let Some(answer) = answer(&actions) {
            break answer;
        }
    };
    assert_eq!((pulled, end), (10, left(10, 0)));
}

#[test]
fn an_heir_that_shows_what_another_at_its_address_has_just_taken_may_show_a_block_again() {
    let held = blocks(0..2);
    let overlay =
        Scripted { me: peer(0), set: vec![peer(1), peer(2)], holds: false, ends: true, unreached: Vec::new() };
    let mut bench = Bench::on(Config { replicas: 2, ..Config::default() }, overlay).start(&held);
    bench.pulls = false;
    let asked = requests(&bench.does(Event::Command { id: 1, command: Command::Quit { handover: true } }));
    let [(one, first, ref ranges), (other, second, ref same)] = asked[..] else { panic!("{asked:?}") };
    let to_show = requests(&bench.hears_answer(one, first, compared(&held, ranges)));
    let [(_, magic, Request::Store { key: pledged, .. })] = to_show[..] else { panic!("{to_show:?}") };
    let offers = requests(&bench.hears_answer(other, second, compared(&[], same)));
    let of = |wanted: bool| {
        let is_it = |(_, _, request): &&(_, _, Request)| matches!(request, Request::Store { key, .. } if (*key == pledged) == wanted);
        offers.iter().find(is_it).expect("both are offered").1
    };
    bench.does(Event::Asked { blocks: vec![(pledged, other.ip())] });
    bench.does(Event::Delivered { blocks: vec![(pledged, other.ip())] });
    let answered = bench.hears_answer(one, magic, Response::Shown { sample: Id::ZERO });
    let [(job, Job::Sample { .. })] = jobs(&answered)[..] else { panic!("{answered:?}") };
    assert_eq!(bench.ends(job, Outcome::Sampled { sample: Id::ZERO }), [], "the other one still takes blocks");
    bench.hears_answer(other, of(true), Response::Saved);
    bench.now += Duration::from_millis(1);
    let again = bench.hears(other, Message::error(of(false), Refusal::Full.to_string()));
    let actions = shown(&mut bench, &held, again);
    assert_eq!(answer(&actions), Some(left(2, 0)));
}

#[test]
fn a_peer_that_leaves_too_is_waited_for_no_longer_and_the_next_nearest_get_the_blocks() {
    let config = Config { replicas: 1, ..Config::default() };
    let mut bench = Bench::new(config, 3, 0).start(&[(key(1), 10), (key(2), 10)]);
    let asked = requests(&bench.does(Event::Command { id: 1, command: Command::Quit { handover: true } }));
    let [(to, magic, ref request)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(to, peer(1).addr);
    let offers = requests(&bench.hears_answer(to, magic, compared(&[], request)));
    let [(to, magic, Request::Store { .. }), (_, _, Request::Store { .. })] = offers[..] else { panic!("{offers:?}") };
    let asked = requests(&bench.hears(to, Message::error(magic, "leaving the network")));
    let [(to, magic, ref request)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(to, peer(2).addr, "the next nearest");
    let held = [(key(1), 10), (key(2), 10)];
    let answered = bench.hears_answer(to, magic, compared(&held, request));
    let actions = shown(&mut bench, &held, answered);
    assert_eq!(answer(&actions), Some(left(2, 0)));
}

#[test]
fn a_peer_alone_leaves_its_blocks_behind_without_waiting() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[(key(1), 10)]);
    let actions = bench.does(Event::Command { id: 1, command: Command::Quit { handover: true } });
    let left = Answer::Left { handed_over: 0, left_behind: 1, offered: true, kept: true, alone: true };
    assert_eq!(answer(&actions), Some(left));
}

#[test]
fn a_block_found_damaged_after_it_was_handed_over_was_not_left_behind() {
    let overlay = Scripted { me: peer(0), set: vec![peer(1)], holds: false, ends: true, unreached: Vec::new() };
    let mut bench = Bench::on(Config::default(), overlay).start(&[(key(1), 10), (key(2), 10)]);
    let asked = requests(&bench.does(Event::Command { id: 1, command: Command::Quit { handover: true } }));
    let offers = requests(&bench.hears_answer(asked[0].0, asked[0].1, compared(&[], &asked[0].2)));
    let [(to, first, _), (_, second, _)] = offers[..] else { panic!("{offers:?}") };
    bench.hears_answer(to, first, Response::Saved);
    bench.does(Event::Damaged { key: key(1) });
    bench.does(Event::Damaged { key: key(2) });
    let actions = bench.hears_answer(to, second, Response::Saved);
    assert_eq!(answer(&actions), Some(left(2, 0)));
}

#[test]
fn a_peer_that_leaves_and_is_told_to_do_so_at_once_says_goodbye_in_that_turn_however_much_it_has() {
    let quit = |id, handover| Event::Command { id, command: Command::Quit { handover } };
    for (held, handover) in [(10, true), (20_000, true), (20_000, false)] {
        let mut bench = Bench::new(Config::default(), 3, 0).start(&blocks(0..held));
        assert!(!bench.does(quit(1, handover)).contains(&Action::Stop), "it hands over, or counts");
        let actions = bench.does(quit(2, false));
        let left = |action: &Action| match action {
            Action::Notify(Notice::Answer { command: 1, answer: Answer::Left { left_behind, .. } }) => {
                *left_behind == held
            }
            _ => false,
        };
        assert!(actions.iter().any(left) && actions.contains(&Action::Stop), "{held} blocks, {handover}: {actions:?}");
    }
}
