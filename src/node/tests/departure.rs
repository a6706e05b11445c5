//! A peer that leaves: what it tells, and for how long it stays.

use super::upkeep::compared;
use super::*;
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
    let overlay = Scripted { me: peer(0), set: vec![peer(1)], holds: false, unreached: Vec::new() };
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
