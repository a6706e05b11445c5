//! How holders are told of many leases.

use std::collections::BTreeSet;

use super::leases::NOW;
use super::scripted::Scripted;
use super::*;
use crate::lease::{Lease, Secret};
use crate::node::refusal::Refusal;
use crate::node::{Command, LeaseChange};

const LEASES: u8 = 200;

fn lease(n: u8) -> Lease {
    Lease { id: Secret::from_bytes([n; 32]).id(), until: Some(NOW), copies: 0 }
}

/// A node that has to tell one holder of many leases, and what it says at once.
fn telling() -> (Bench, Vec<Action>) {
    let overlay = Scripted { me: peer(0), set: vec![peer(1)], holds: true, ends: true, unreached: Vec::new() };
    let mut bench = Bench::on(Config { guest: true, ..Config::default() }, overlay).start(&[]);
    let changes = (0..LEASES).map(|n| (key(1), LeaseChange::Renewed(lease(n)))).collect();
    let command = Command::Lease { changes, listed: BTreeSet::from([key(1)]), copies: 0 };
    let actions = bench.does(Event::Command { id: 1, command });
    (bench, actions)
}

fn told(actions: &[Action]) -> Vec<(u64, Vec<Lease>)> {
    let news = |(_, magic, request)| match request {
        Request::Lease(news) => Some((magic, news.renewed)),
        _ => None,
    };
    requests(actions).into_iter().filter_map(news).collect()
}

const HEARD: Response = Response::Leased { blocks: 1, free: 0 };

#[test]
fn a_holder_that_answers_is_told_ever_more_at_a_time_so_that_a_long_way_costs_no_more_than_a_few_round_trips() {
    let (mut bench, mut actions) = telling();
    let mut rounds = Vec::new();
    while answer(&actions).is_none() {
        let round = told(&actions);
        rounds.push(round.len());
        assert!(rounds.len() < 10, "{rounds:?}");
        actions = round.iter().flat_map(|(magic, _)| bench.hears_answer(peer(1).addr, *magic, HEARD)).collect();
    }
    assert_eq!(rounds, [2, 4, 8, 2], "of thirteen leases each");
}

#[test]
fn who_is_busy_with_what_it_was_told_hears_less_at_a_time_and_all_of_it_and_is_silent_only_if_it_is_busy_with_one() {
    for always in [false, true] {
        let (mut bench, actions) = telling();
        let (mut heard, mut turn) = (BTreeSet::new(), 0);
        let mut out = told(&actions);
        let end = loop {
            let (magic, leases) = out.remove(0);
            turn += 1;
            let actions = if always || turn % 3 == 0 && !out.is_empty() {
                bench.hears(peer(1).addr, Message::error(magic, Refusal::Busy.to_string()))
            } else {
                heard.extend(leases);
                bench.hears_answer(peer(1).addr, magic, HEARD)
            };
            out.extend(told(&actions));
            if let Some(answer) = answer(&actions) {
                break answer;
            }
        };
        let Answer::Leased { silent, .. } = end else { panic!("{end:?}") };
        assert_eq!(silent, if always { vec![peer(1)] } else { Vec::new() });
        assert_eq!(heard.len(), if always { 0 } else { usize::from(LEASES) });
    }
}
