//! What a student types, and the answers to what is wrong with it.

use std::fs;

use super::program::EXAMPLE;
use crate::marker::{Ends, Ring, Way};
use crate::support::{bytes, until};

#[test]
fn a_file_nobody_has_and_a_name_that_is_none_get_clear_answers() {
    let mut ring = Ring::start(&EXAMPLE, Way::default());
    ring.request_in_vain(2, "4103");
    // What the responsible peer tells its own user comes from two sides, and in the order in which it happened.
    for _ in 0..20 {
        ring.request_in_vain(8, "4103");
    }
    for bad in ["a912", "32134", "''", "../x", ""] {
        ring.peer(4).tell(&format!("Store {bad}"));
    }
    ring.peer(4).tell("Request 0001 a912");
    ring.peer(4).tell("frobnicate");
    until(|| ring.peer(4).all().iter().filter(|line| line.starts_with("error: ")).count() == 7);
    let errors: Vec<String> = ring.peer(4).all().into_iter().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors[..4].iter().chain([&errors[5]]).all(|line| line.contains("four digits")), "{errors:?}");
    assert!(errors[4].contains("usage: store NAME"), "{errors:?}");
    assert!(!ring.folder.path().join("x.pdf").exists());
}

#[test]
fn several_names_at_once_and_lines_stuck_together() {
    let mut ring = Ring::start(&EXAMPLE, Way::default());
    let names = ["0005", "0009", "0200"];
    for name in names {
        ring.put(4, name, name.as_bytes());
    }
    ring.peer(4).tell("store 0005 0009\nstore 0200\nrequest 0005 0009 0200\n\n# a comment\nquit");
    assert_eq!(ring.peer(4).wait(), Some(0), "{}", ring.shown());
    for name in names {
        let received = fs::read(ring.dir(4).join(format!("received_{name}.pdf"))).expect("it came");
        assert_eq!(received, name.as_bytes());
    }
}

/// What `command` answers at a peer, once that `is_whole`.
fn asked(ring: &mut Ring, id: u8, command: &str, is_whole: impl Fn(&[String]) -> bool) -> Vec<String> {
    let begin = ring.peer(id).others().len();
    ring.peer(id).tell(command);
    until(|| is_whole(&ring.peer(id).others()[begin..]));
    ring.peer(id).others().split_off(begin)
}

#[test]
fn the_other_commands_know_peers_by_their_numbers() {
    let mut ring = Ring::start(&[4, 20, 200], Way::default());
    let at = |id: u16| format!("127.0.0.1:{}", ring.base + id);
    let [four, twenty, two_hundred] = [4, 20, 200].map(at);
    let status = asked(&mut ring, 20, "status", |lines| lines.len() == 12);
    assert_eq!(status[..2], ["id        20".to_owned(), format!("address   {twenty}")]);
    assert_eq!(status[5], "files     0", "it keeps files, not blocks");
    let (first, last) = (format!("  4 {four}"), format!("200 {two_hundred}"));
    let peers = asked(&mut ring, 20, "peers", |lines| lines.len() == 3);
    assert!(peers[0].starts_with(&first) && peers[1].starts_with(&last) && peers[2] == "2 peers", "{peers:?}");
    let table = asked(&mut ring, 20, "table", |lines| lines.len() == 8);
    let places = [("predecessor 1", &first), ("predecessor 2", &last), ("successor 1", &last), ("successor 2", &first)];
    assert_eq!(table, places.map(|(label, row)| [label.to_owned(), format!("  {row}")]).concat());
    let ping = asked(&mut ring, 20, &format!("ping {four}"), |lines| lines.len() == 1);
    assert!(ping[0].starts_with(&format!("{first} answered")), "{ping:?}");
    let threads = asked(&mut ring, 20, "threads", |lines| lines.iter().any(|line| line.starts_with("signals")));
    for name in ["main", "log", "node", "udp-recv", "tcp-accept", "sweeper", "console"] {
        assert!(threads.iter().any(|line| line.split_whitespace().next() == Some(name)), "{name}: {threads:?}");
    }
}

#[test]
fn lines_of_every_shape_are_commands_and_the_last_needs_no_end() {
    let mut ring = Ring::start(&[10, 50, 90], Way::default());
    let content = bytes(1, 3_000);
    ring.put(90, "0020", &content);
    for line in ["Store 0020", "  STORE\t0020  ", "\tstore   0020\r", " sToRe 0020 \r"] {
        let (step, forwarded) = (format!("{line:?}"), "Store 0020 request forwarded to my successor");
        ring.peer(90).tell(line);
        let told = [(90, forwarded), (10, forwarded), (50, "Store 0020 request accepted")];
        ring.expect(&step, told.map(|(id, line)| (id, vec![line.to_owned()])).into());
    }
    ring.peer(10).type_to_its_end("  Request 0020\r\n\r\n \t\nqUIT");
    assert_eq!(ring.peer(10).wait(), Some(0), "{}", ring.shown());
    assert!(fs::read(ring.dir(10).join("received_0020.pdf")).expect("it came") == content);
}

#[test]
fn ctrl_d_at_a_terminal_is_answered_and_ends_nothing() {
    let mut ring = Ring::start(&[10, 50, 90, 130], Way { ends: Ends::Terminal, ..Way::default() });
    for times in 1..=2 {
        ring.peer(10).press("\u{4}");
        until(|| ring.peer(10).said().matches("Ctrl-D does not end this peer").count() == times);
    }
    ring.store(10, "0020", "Store");
    ring.quit(10, "Quit");
}

/// What `tests/real/cli/every_command.rs` has for the other peers' commands. `cancel` has nothing that it could end
/// here.
const ROWS: [(&str, &str, &str, &str); 10] = [
    ("store", "store 0042", "store a912", ""),
    ("request", "request 0042", "request a912", "request 0043"),
    ("ping", "ping {addr}", "ping", "ping no-such-host.invalid:1"),
    ("peers", "peers", "peers now", ""),
    ("table", "table", "table now", ""),
    ("status", "status", "status now", ""),
    ("threads", "threads", "threads now", ""),
    ("jobs", "jobs", "jobs now", ""),
    ("cancel", "", "cancel x", "cancel 99"),
    ("help", "help store", "help no-such", ""),
];

#[test]
fn each_command_has_one_answer_that_says_what_came_of_it() {
    let mut ring = Ring::empty(Way::default());
    ring.launch(7, &["init", "7", "7", "7", "0.3", "--json"]);
    ring.put(7, "0042", b"x");
    let addr = format!("127.0.0.1:{}", ring.base + 7);
    let mut answers = |line: &str| {
        let is_answer = |line: &&String| line.contains("\"answer\"");
        let before = ring.peer(7).others().iter().filter(is_answer).count();
        ring.peer(7).tell(&line.replace("{addr}", &addr));
        until(|| ring.peer(7).others().iter().filter(is_answer).count() > before);
        let all = ring.peer(7).others();
        let told = all.iter().filter(is_answer).nth(before).expect("it came");
        serde_json::from_str::<serde_json::Value>(told).unwrap_or_else(|_| panic!("no JSON: {told}"))
    };
    let help = answers("help");
    let known = help["commands"].as_array().expect("commands").iter().filter_map(|command| command["name"].as_str());
    let quit = ("quit", "", "quit now", "");
    let rows = ROWS.into_iter().chain([quit]);
    let named: std::collections::BTreeSet<&str> = rows.clone().map(|(name, ..)| name).collect();
    assert_eq!(named, known.collect(), "a row for each command");
    for (_, done, usage, missing) in rows {
        for (line, kind) in [(done, None), (usage, Some("usage")), (missing, Some("not_found"))] {
            if !line.is_empty() {
                let answer = answers(line);
                assert_eq!(answer["kind"].as_str(), kind, "{line}: {answer}");
                assert_eq!(answer["answer"] == "failed", kind.is_some(), "{line}: {answer}");
            }
        }
    }
    ring.peer(7).tell("quit");
    assert_eq!(ring.peer(7).wait(), Some(0), "{}", ring.shown());
}

/// For programs: each line of standard output is one of JSON, the assignment's lines included.
#[test]
fn as_json_a_peer_of_the_ring_tells_that_it_is_ready_its_lines_and_its_answers() {
    let mut ring = Ring::empty(Way::default());
    ring.launch(7, &["init", "7", "7", "7", "0.3", "--json"]);
    ring.put(7, "0042", b"x");
    ring.peer(7).tell("status\nstore 0042 0043\nrequest a912\nquit");
    assert_eq!(ring.peer(7).wait(), Some(0), "{}", ring.shown());
    until(|| ring.peer(7).others().iter().any(|line| line.contains("\"left\"")));
    assert_eq!(ring.peer(7).all(), [""; 0], "nothing has the mark");
    let lines = ring.peer(7).others();
    let told: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect();
    let ready = told.iter().find(|told| told["event"] == "ready").expect("it is told");
    assert_eq!(ready["udp"], ring.base + 7, "{ready}");
    assert!(told.iter().any(|told| told["event"] == "line" && told["line"] == "Store 0042 request accepted"));
    let answers: Vec<_> = told.iter().filter_map(|told| told["answer"].as_str()).collect();
    assert_eq!(answers, ["status", "file_stored", "file_stored", "failed", "left"], "{lines:#?}");
}
