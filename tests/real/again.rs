//! What ran once runs again: records of live peers, and simulations, from the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::{Launch, PeerProcess, cluster, file, program};
use kadring::node::Event;
use kadring::overlay::OverlayKind;
use kadring::record::{Queued, moment_line, start_line};
use kadring::sim::moments::reader::{RecordLine, RecordReader};
use kadring::time::Time;
use serde_json::Value;
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
        assert_eq!(recorded.wait(), Some(4), "one command named what is not known");

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
            let launch =
                launch.args(&["--overlay", overlay, "--record", text(record)]).env("RUST_LOG", "kadring=trace");
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
        check_logs(&peers);
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
        // A line of three columns is short.
        for part in ["command 1: store original", "pull", "saved", &format!("answers 1: stored {}", &key[..2])] {
            assert!(store.contains(part), "{part} is missing: {store}");
        }
        assert!(store.lines().count() < all.lines().count() && store.lines().all(|line| line.chars().count() <= 200));
        for word in ["store", "2", &key[..8], "saved"] {
            assert!(trace(&["--only", word]).lines().count() > 2, "{word}");
        }
        check_chrome(&folder.path().join("chrome.json"), trace);
        check_timings(&records[2]);
        // The worker's lane, the wait in a queue and the turn of a job's outcome.
        let parts = ["job ", " [transfer-", "–", ", posts "];
        assert!(all.lines().any(|line| parts.iter().all(|part| line.contains(part))), "no worker is shown: {all}");

        let unknown = run(&["trace", files[0], "--only", "nonsense"]);
        assert_eq!(unknown.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&unknown.stderr).contains("ping, "), "{unknown:?}");
    }
}

/// A line of a log: `DATE LEVEL PEER THREAD TEXT`.
fn words_of(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The logs of three peers, merged by sorting, tell each message first where it was sent and then where it came.
fn check_logs(peers: &[PeerProcess]) {
    let logs: Vec<String> = peers.iter().map(PeerProcess::said).collect();
    let mut lines: Vec<(&str, usize)> =
        logs.iter().enumerate().flat_map(|(peer, log)| log.lines().map(move |line| (line, peer))).collect();
    lines.sort_unstable();
    // A message is known by its two ends, its number and what it is.
    let mut sent: BTreeSet<String> = BTreeSet::new();
    let (mut came, mut names) = (Vec::new(), BTreeSet::new());
    for (line, peer) in lines {
        let words = words_of(line);
        if words.get(1) != Some(&"TRACE") {
            continue;
        }
        assert!(peers[peer].id.starts_with(words[2]) && words[3] == "node", "{line}");
        for (at, word) in words.iter().enumerate().filter(|(_, word)| word.contains('→')) {
            let (before, after) = word.split_once('→').expect("it contains one");
            let other = format!("127.0.0.1:{}", peers[peer].port);
            let what = format!("{} {}", words[at + 1], words[at + 2].trim_end_matches(','));
            match (before, after) {
                ("", to) => {
                    sent.insert(format!("{other} {to} {what}"));
                }
                (from, _) => {
                    let message = format!("{from} {other} {what}");
                    assert!(sent.contains(&message), "{message} came before it was sent");
                    names.insert(words[at + 2].to_owned());
                    came.push(message);
                }
            }
        }
    }
    assert!(came.len() > 20, "{came:?}");
    for part in ["saved", "store"] {
        assert!(names.iter().any(|name| name.contains(part)), "{part}: {names:?}");
    }
}

/// Each moment of a live peer's record says which queue it came through and how long its turn took, a job's outcome who
/// did the job; and the record is the same when it is written again.
fn check_timings(record: &Path) {
    let text = fs::read_to_string(record).expect("it is there");
    let (mut reader, beginning) = RecordReader::begin(text.as_bytes()).expect("a record");
    let mut again = start_line(&beginning).expect("plain");
    let (mut queues, mut jobs) = (BTreeSet::new(), 0);
    let mut last = Time::ZERO;
    while let Some((number, line)) = reader.next_line().expect("whole") {
        let RecordLine::Moment(moment) = line else { panic!("line {number} is no moment") };
        let timing = moment.timing.as_ref().expect("a live peer has threads");
        assert_eq!(timing.thread, "node");
        if let Some(Queued { queue, by, put }) = &timing.queued {
            assert!(*put <= moment.at && moment.at >= last, "line {number}: {timing:?}");
            queues.insert(format!("{by} {queue}"));
        }
        if let Event::JobDone { .. } = &moment.event {
            let work = timing.work.as_ref().expect("a job is done by somebody");
            assert!(work.worker.starts_with("transfer-"), "line {number}: {timing:?}");
            assert!(work.from <= work.until && work.until <= moment.at, "line {number}: {timing:?}");
            jobs += 1;
        }
        last = moment.at;
        again += &moment_line(&moment).expect("plain");
    }
    assert!(again == text, "the same bytes");
    assert!(jobs > 3, "{jobs} jobs");
    for way in ["udp-recv datagrams", "sweeper ticks", "console commands"] {
        assert!(
            queues.contains(way) || (way.starts_with("udp") && beginning.overlay == OverlayKind::Ring),
            "{queues:?}"
        );
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
    assert!(of("X").len() > 40 && events.iter().filter(|event| event["name"] == "process_name").count() == 3);
    assert!(events.iter().any(|event| event["name"] == "thread_name"), "a worker has a lane");
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

/// Standard output has the answer, which would stand in the midst of it.
#[test]
fn no_picture_table_or_record_is_written_to_a_stream_of_the_process() {
    for args in [
        &["sim", "--storm", "--html", "/dev/stdout"][..],
        &["sim", "--storm", "--record", "/dev/stdout"],
        &["sim", "--storm", "--trace", "-"],
        &["sim", "--peers", "20", "--csv", "/dev/stderr"],
        &["sim", "--peers", "20", "--svg", "/proc/self/fd/1"],
        &["trace", "x", "--html", "/dev/stdout"],
        &["trace", "x", "--svg", "/dev/fd/1"],
        &["trace", "x", "--chrome", "/dev/tty"],
        &["peer", "--record", "/dev/stdout"],
        &["ring", "init", "7", "7", "7", "1", "--record", "/dev/stdout"],
    ] {
        let refused = run(args);
        let said = String::from_utf8_lossy(&refused.stderr);
        let is_told = said.contains("is a stream of a process") || said.contains("standard output carries");
        assert_eq!(
            (refused.status.code(), is_told, refused.stdout.is_empty()),
            (Some(2), true, true),
            "{args:?} {said}"
        );
    }
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
