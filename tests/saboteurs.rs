//! That the checks of a storm notice a driver that is broken: each saboteur is found, and its story is short.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use kadring::node::record::start_line;
use kadring::overlay::OverlayKind;
use kadring::sim::args::SimArgs;
use kadring::sim::moments::history::Collection;
use kadring::sim::moments::reader::{Line, Reader};
use kadring::sim::replay::{replay, replay_peer};
use kadring::sim::sabotage::{SABOTEURS, find};
use kadring::sim::world::Recorded;
use kadring::sim::{StormPlan, Trace, cli};

/// Storms that are tried for each.
const SEEDS: u64 = 50;
/// Faults that the shortest storm may need.
const FAULTS: usize = 3;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    args: SimArgs,
}

/// What `kadring sim` with these words prints.
fn sim(words: &str) -> String {
    let mut out = Vec::new();
    let args = CommandLine::parse_from(std::iter::once("sim").chain(words.split_whitespace())).args;
    cli::sim(&args, &mut out, &Duration::default).expect("the run takes place");
    String::from_utf8(out).expect("it is text")
}

#[test]
fn every_saboteur_is_found_and_its_storm_is_short() {
    let next = AtomicUsize::new(0);
    let worker = || {
        let row = || SABOTEURS.get(next.fetch_add(1, Ordering::Relaxed));
        let mut hidden = Vec::new();
        while let Some(saboteur) = row() {
            let found = saboteur.hunt((0..SEEDS).map(|seed| saboteur.plan(seed)));
            let faults = found.map(|found| saboteur.shorten(&found.plan)).map(|plan| plan.striking().len());
            if faults.is_none_or(|faults| faults > FAULTS) {
                hidden.push(format!("{}: {faults:?} faults", saboteur.name));
            }
        }
        hidden
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let hidden: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no storm panics")).collect()
    });
    assert!(hidden.is_empty(), "{hidden:#?}");
}

#[test]
fn the_list_names_every_saboteur_once() {
    let list = sim("--storm --saboteur list");
    assert_eq!(list.lines().count(), SABOTEURS.len() + 1, "{list}");
    for saboteur in &SABOTEURS {
        let rows = list.lines().filter(|row| row.split(' ').next() == Some(saboteur.name)).count();
        assert_eq!(rows, 1, "{}", saboteur.name);
        assert!(list.contains(saboteur.broken) && find(saboteur.name).is_some());
    }
}

#[test]
fn the_story_says_what_was_promised_what_happened_and_how_to_go_on() {
    let story = sim("--storm --saboteur early-outcome");
    let saboteur = find("early-outcome").expect("it is one of them");
    for part in [saboteur.promise, saboteur.broken, "which is not on its disk", "the driver did this:", "stored"] {
        assert!(story.contains(part), "{part}: {story}");
    }
    let (_, command) = story.split_once("kadring sim ").expect("a command");
    let (again, _) = command.split_once(" --record ").expect("it records");
    assert_eq!(sim(again), story, "the command shows the same again");
}

/// The record of a storm, all of whose peers are in it.
fn record(plan: &StormPlan) -> String {
    let lines = Rc::new(RefCell::new(String::new()));
    let record = Rc::clone(&lines);
    let recorder = move |recorded: Recorded<'_>| {
        if let Recorded::Line(line) = recorded {
            record.borrow_mut().push_str(line);
        }
    };
    plan.run_recorded(Trace::off(), Some(Box::new(recorder))).expect("it keeps every promise");
    lines.take()
}

fn small(kind: OverlayKind) -> StormPlan {
    StormPlan { peers: 5, faults: 3, ..StormPlan::random(kind, 2) }
}

#[test]
fn the_record_of_a_storm_replays_peer_by_peer_and_is_the_same_when_it_is_written_again() {
    for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
        let text = record(&small(kind));
        let all = replay(text.as_bytes()).expect("a whole record");
        assert!(all.events > 1000 && all.peers >= 5 && all.difference.is_none(), "{all:?}");
        let one = replay_peer(text.as_bytes(), Some(3)).expect("it has a peer 3");
        assert!(one.peers == 1 && one.events < all.events && one.difference.is_none(), "{one:?}");
        let none = replay_peer(text.as_bytes(), Some(99)).expect_err("it has no peer 99").to_string();
        assert!(none.contains("no peer 99") && none.contains("0, 1, 2, 3, 4"), "{none}");

        let (mut reader, beginning) = Reader::begin(text.as_bytes()).expect("a record");
        let mut again = start_line(&beginning).expect("plain");
        while let Some((_, line)) = reader.next_line().expect("whole") {
            let written = match line {
                Line::Beginning(beginning) => serde_json::to_string(&beginning),
                Line::Moment(moment) => serde_json::to_string(&moment),
            };
            again += &(written.expect("plain") + "\n");
        }
        assert!(again == text, "the same bytes");
    }
}

#[test]
fn in_the_record_of_a_storm_every_arrival_finds_its_message_and_nearly_every_moment_its_cause() {
    for plan in [
        small(OverlayKind::Kademlia),
        small(OverlayKind::Ring),
        StormPlan { peers: 5, faults: 3, ..StormPlan::classroom(2) },
    ] {
        let mut collection = Collection::default();
        collection.add("storm", record(&plan).as_bytes()).expect("a record");
        let history = collection.history();
        let (messages, found) = history.messages;
        assert!(messages > 500, "{messages}");
        assert_eq!((found, history.backwards), (messages, 0));
        let explained = 100 * history.explained() / history.moments.len();
        assert!(explained >= 95, "{explained} %");
    }
}
