//! What ran once runs again: records of live peers, and simulations, from the command line.

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use support::{Launch, PeerProcess, cluster, file, program};
use tempfile::tempdir;

fn run(args: &[&str]) -> Output {
    program().args(args).output().expect("the program runs")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder's name is text")
}

#[test]
fn the_record_of_a_live_peer_gives_the_same_actions_and_a_forged_one_shows_the_first_that_differs() {
    for overlay in ["kad", "ring"] {
        let folder = tempdir().expect("a temporary folder");
        let overlay = ["--overlay", overlay];
        let mut others = cluster(&folder, 2, &overlay);
        let record = folder.path().join("record");
        let launch = Launch::new(folder.path().join("recorded")).args(&overlay).args(&["--record", text(&record)]);
        let mut recorded = launch.through(others[0].port).start();
        let (path, original) = file(&folder, "original", 7, 3_000_000);
        let key = recorded.store(&path);
        others.remove(1).kill();
        recorded.retrieve(&key, &folder.path().join("back"), &original);
        recorded.ask("lookup 00");
        recorded.ask("quit --no-handover");
        assert_eq!(recorded.wait(), Some(2), "one command was asked wrongly");

        let again = run(&["replay", text(&record)]);
        assert!(again.status.success(), "{again:?}");
        assert!(printed(&again).contains("the same actions, every one"), "{}", printed(&again));

        // The seed of the node decides the request ids.
        let lines = fs::read_to_string(&record).expect("it is there");
        let (before, seed) = lines.split_once("\"node_seed\":\"").expect("the first line names it");
        let digit = if seed.starts_with('0') { "1" } else { "0" };
        fs::write(&record, [before, "\"node_seed\":\"", digit, &seed[1..]].concat()).expect("it is ours");
        let forged = run(&["replay", text(&record)]);
        assert_eq!(forged.status.code(), Some(1), "{forged:?}");
        for word in ["line ", "differs", "recorded", "replayed"] {
            assert!(printed(&forged).contains(word), "{word} is missing: {}", printed(&forged));
        }
    }
}

#[test]
fn the_records_of_live_peers_show_one_store_from_the_line_typed_to_the_copies_written() {
    for overlay in ["kad", "ring"] {
        let folder = tempdir().expect("a temporary folder");
        let records: Vec<_> = (0..3).map(|n| folder.path().join(format!("peer-{n}.jsonl"))).collect();
        let mut peers: Vec<PeerProcess> = Vec::new();
        for (n, record) in records.iter().enumerate() {
            let launch = Launch::new(folder.path().join(n.to_string()));
            let launch = launch.args(&["--overlay", overlay, "--record", text(record)]);
            peers.push(if let Some(first) = peers.first() {
                launch.through(first.port).start()
            } else {
                launch.start()
            });
        }
        let (path, _) = file(&folder, "original", 7, 2_500_000);
        let key = peers[2].store(&path);
        for peer in &mut peers {
            peer.ask("quit --no-handover");
            peer.wait();
        }
        let files: Vec<&str> = records.iter().map(|record| text(record)).collect();
        let trace = |more: &[&str]| {
            let shown = run(&[&["trace"], &files[..], more].concat());
            assert!(shown.status.success(), "{shown:?}");
            printed(&shown)
        };
        let all = trace(&[]);
        // "… ; 524 of 524 messages between them found at both ends; 97.3 % of all moments …"
        let summary = all.lines().last().expect("a summary");
        let words: Vec<&str> = summary.split(' ').collect();
        let at = words.iter().position(|word| *word == "messages").expect(summary);
        assert!(words[at - 1] == words[at - 3] && words[at - 1] != "0", "{summary}");
        assert!(!summary.contains("before they were sent"), "{summary}");
        let share = words.iter().position(|word| *word == "%").and_then(|at| words[at - 1].parse::<f64>().ok());
        assert!(share.is_some_and(|share| share >= 95.0), "{summary}");

        let store = trace(&["--only", "store"]);
        for part in ["command 1: store original", "pull", "saved", &format!("answers 1: stored {}", &key[..6])] {
            assert!(store.contains(part), "{part} is missing: {store}");
        }
        assert!(store.lines().count() < all.lines().count() && store.lines().all(|line| line.chars().count() <= 200));
        for word in ["store", "2", &key[..8], "saved"] {
            assert!(trace(&["--only", word]).lines().count() > 2, "{word}");
        }
        check_chrome(&folder.path().join("chrome.json"), trace);

        let unknown = run(&["trace", files[0], "--only", "nonsense"]);
        assert_eq!(unknown.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&unknown.stderr).contains("ping, "), "{unknown:?}");
    }
}

/// What is written for Perfetto is JSON, and each flow and each span in it has both ends.
fn check_chrome(path: &Path, trace: impl Fn(&[&str]) -> String) {
    trace(&["--chrome", text(path)]);
    let written = fs::read(path).expect("it is written");
    let chrome: Value = serde_json::from_slice(&written).expect("it is JSON");
    let events = chrome["traceEvents"].as_array().expect("events");
    let of = |ph: &str| {
        let mut ids: Vec<String> = events
            .iter()
            .filter(|event| event["ph"] == ph)
            .map(|event| format!("{} {}", event["cat"], event["id"]))
            .collect();
        ids.sort();
        ids
    };
    assert!(of("X").len() > 40 && of("M").len() == 3);
    for (begin, end) in [("s", "f"), ("b", "e")] {
        assert!(of(begin).len() > 5 && of(begin) == of(end), "{begin} and {end}");
    }
    assert!(of("s").windows(2).all(|pair| pair[0] != pair[1]), "each flow has a number of its own");
}

#[test]
fn the_same_seed_gives_the_same_storm_to_the_byte_and_another_seed_another() {
    let storm = |seed: &str| {
        let output = run(&["sim", "--storm", "--peers", "8", "--faults", "4", "--seed", seed]);
        assert!(output.status.success(), "{output:?}");
        let trace = printed(&output).rsplit_once("trace ").map(|(_, digest)| digest.trim().to_owned());
        trace.expect("the last line ends with the digest of the trace")
    };
    assert_eq!(storm("5"), storm("5"));
    assert_ne!(storm("5"), storm("6"));
}

#[test]
fn every_hardship_has_its_option_and_the_same_seed_gives_the_same_figures_in_the_last_lines() {
    let words = "sim --peers 60 --lookups 60 --minutes 0.3 --churn 60 --lifetimes pareto --weather congested --loss 0.01 \
                 --one-way 0.05 --slow 0.1 --dead 0.1 --kill 0.1 --files 5 --replicas 3";
    let figures = |seed: &str| {
        let output = run(&words.split_whitespace().chain(["--seed", seed]).collect::<Vec<_>>());
        assert!(output.status.success(), "{output:?}");
        // What the run cost this machine stands before them.
        let text = printed(&output);
        let (_, figures) = text.split_once(" events\n").expect("the cost ends with the events");
        figures.lines().filter(|line| !line.starts_with("memory: ")).collect::<Vec<_>>().join("\n")
    };
    let first = figures("5");
    for figure in [" lookups: ", "bytes sent (lookup ", "deaths: known to the replica set after", "files of 16.0 KiB"] {
        assert!(first.contains(figure), "{figure} is missing: {first}");
    }
    assert_eq!(first, figures("5"));
    assert_ne!(first, figures("6"));
}

#[test]
fn a_simulation_is_tabled_and_plotted_and_what_cannot_be_is_refused() {
    let folder = tempdir().expect("a temporary folder");
    let (csv, svg) = (folder.path().join("table.csv"), folder.path().join("plot.svg"));
    let args = ["sim", "--peers", "100", "--lookups", "100", "--csv", text(&csv), "--svg", text(&svg)];
    let output = run(&args);
    assert!(output.status.success() && printed(&output).contains("100 lookups"), "{output:?}");
    let table = fs::read_to_string(&csv).expect("the table is written");
    let columns: Vec<usize> = table.lines().map(|line| line.split(',').count()).collect();
    assert!(columns.len() > 10 && columns.iter().all(|count| *count == columns[0]), "{table}");
    let plot = fs::read_to_string(&svg).expect("the plot is written");
    assert!(plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"));

    let refused = run(&["sim", "--storm", "--csv", text(&csv)]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--csv"), "{refused:?}");
    let experiments = printed(&run(&["repro", "list"]));
    assert!(experiments.contains("kad-hops") && experiments.contains("chord-churn"), "{experiments}");
    assert_eq!(run(&["repro", "no-such"]).status.code(), Some(2));
}
