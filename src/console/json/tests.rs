//! That every answer has its line of JSON, and every field of it its line in the page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::super::beside::JobInfo;
use super::super::catalogue::{Entry, Owned};
use super::super::folder::{ListedFolder, ListedItem, RetrievedFolder, ShownText, StoredFolder};
use super::super::pausing::Paused;
use super::super::reply::{ConsoleAnswer, HelpEntry, Imported, LeftOut, TestResult, Tested};
use super::super::{Defaults, Grammar};
use super::*;
use crate::id::{Id, Key};
use crate::lease::Lease;
use crate::name::FileName;
use crate::network::NetworkName;
use crate::node::health::{BlockHealth, Checked, CopyAt, CopyState, Health, PeerCopies, Scrubbed, Scrubbing};
use crate::node::notice::{AskedFor, AskedQuestion, QuestionOutcome};
use crate::node::notice::{FileNews, PeerInfo, Status};
use crate::node::{Answer, Command, Failure, NamedBy, Source};
use crate::overlay::{AskReason, OverlayKind, TableRow};
use crate::runtime::{Gauge, QueueSeen, ThreadSeen, ThreadsSeen, WantedLock};

const KEY: Key = Id::ZERO;
const TOOK: Duration = Duration::from_micros(1_234_567);

fn peer() -> Peer {
    Peer::new(KEY, "127.0.0.1:7000".parse().unwrap())
}

fn failure() -> Failure {
    Failure { kind: FailureKind::NotFound, reason: "x".to_owned() }
}

fn checked() -> Answer {
    let (health, wanted) = (Health::Thin, 2);
    let of_peer = PeerCopies { peer: peer(), verified: 1, claimed: 0, damaged: 0, absent: 0, silent: 0, full: true };
    let at = vec![CopyAt { peer: 0, state: CopyState::Verified }];
    Answer::Checked(Box::new(Checked {
        health,
        bytes: 1,
        blocks: 1,
        copies: vec![0, 1],
        wanted,
        asked: 7,
        repaired: 0,
        unread: 0,
        weakest: Some(KEY),
        peers: vec![of_peer],
        each: vec![BlockHealth { key: KEY, bytes: Some(1), health, wanted, copies: 1, at }],
        took: TOOK,
    }))
}

fn of_files() -> Vec<Answer> {
    let (key, sha256, took) = (KEY, KEY, TOOK);
    let stored = Answer::Stored {
        key,
        sha256,
        bytes: 1,
        blocks: 1,
        lists: 1,
        copies: vec![0, 2],
        wanted: 1,
        listed: Some(1),
        unreached: 1,
        lacking: Some("full".to_owned()),
        took,
    };
    let retrieved = Answer::Retrieved {
        bytes: 1,
        resumed: 0,
        sha256: None,
        hashed: true,
        blocks: 1,
        holders: 1,
        from: Vec::new(),
        standing: false,
        complete: true,
        took,
    };
    vec![stored, retrieved, checked(), Answer::Cleared { blocks: 1, kept: 0 }, Answer::List { blocks: vec![(KEY, 7)] }]
}

fn of_node() -> Vec<Answer> {
    let name: FileName = "0042".parse().unwrap();
    let status = Status {
        me: peer(),
        overlay: "kademlia".to_owned(),
        network: NetworkName::default(),
        sealed: false,
        uptime: TOOK,
        peers: 1,
        blocks: 1,
        bytes: 1,
        pending: 0,
        lookups: 0,
        transfers: 0,
        repairs: 0,
        messages: (1, 1),
        dropped: 1,
        capacity: Some(1),
        was_full: Some(TOOK),
        files: Some(1),
        moved: (1, 1),
        upkeep: (0, 0),
        scrub: Some(Scrubbing { period: TOOK, done: 1, of: 1, last: Some(Scrubbed::default()), ago: Some(TOOK) }),
    };
    vec![
        Answer::Lookup {
            key: KEY,
            peers: vec![peer()],
            holders: vec![peer()],
            hops: 1,
            took: TOOK,
            asked: vec![asked()],
        },
        Answer::Peers { peers: vec![PeerInfo { peer: peer(), rtt: Some(TOOK) }] },
        Answer::Table { rows: vec![TableRow { label: "x".to_owned(), peers: vec![peer()], spare: 0 }] },
        Answer::Status(status),
        Answer::Pong { peer: peer(), rtt: TOOK },
        Answer::Scrubbed(Scrubbed { unread: 1, ..Scrubbed::default() }),
        Answer::Waited { took: TOOK },
        Answer::Leased { copies: 1, free: 1, peers: 1, silent: vec![peer()], unread: 0, missing: 0, took: TOOK },
        Answer::Left { handed_over: 0, left_behind: 0, offered: true, kept: true, alone: false },
        Answer::FileStored { file: name, at: peer(), bytes: Some(1), took: TOOK },
        Answer::FileReceived { file: name, from: peer(), bytes: 1, sha256: KEY, took: TOOK },
        Answer::Interrupted { commands: 1 },
        Answer::Failed(failure()),
    ]
}

fn threads() -> ThreadsSeen {
    let gauge = Gauge {
        waits: true,
        span: TOOK,
        handled: 1,
        age: TOOK,
        busy: TOOK,
        processor: Some(TOOK),
        holds: vec!["view"],
        wants: Some(WantedLock { lock: "view", protects: "it", held_by: vec!["node".to_owned()] }),
    };
    let node = ThreadSeen { name: "node".to_owned(), at: "waits".to_owned(), gauge: Some(gauge) };
    ThreadsSeen { threads: vec![node], queues: vec![QueueSeen { name: "jobs", length: 1, bound: 2 }] }
}

fn asked() -> AskedQuestion {
    AskedQuestion {
        id: Some(KEY),
        addr: peer().addr,
        request: AskedFor::Block,
        reason: AskReason::Nearest,
        distance: Some(253),
        gained: Some(3),
        named_by: Some(1),
        after: Some(1),
        begun: TOOK,
        late: Some(TOOK),
        doubted: Some(TOOK),
        took: Some(TOOK),
        sent: 1,
        waited: Some(TOOK),
        trail: vec![peer()],
        outcome: QuestionOutcome::Named { peers: 7, new: 2 },
    }
}

fn of_console() -> Vec<ConsoleAnswer> {
    let entry = Entry {
        name: "a".to_owned(),
        path: "/a".into(),
        key: KEY,
        sha256: KEY,
        bytes: 1,
        copies: 7,
        stored: 5,
        folder: true,
        begun: true,
        lease: Some(Owned { secrets: vec![], until: Some(1), lasts: Some(2), copies: 3 }),
    };
    let equal = TestResult::Equal { key: KEY, sha256: KEY, bytes: 1, stored_in: TOOK, retrieved_in: TOOK };
    let results = [equal, TestResult::Failed(failure())];
    let help = LineReply::help(&Grammar::new(Defaults::default()), Some("quit"), 80);
    let LineReply::Console(help) = help else { panic!("{help:?}") };
    assert!(matches!(&help, ConsoleAnswer::Help { commands, .. } if matches!(commands[..], [HelpEntry { .. }])));
    vec![
        ConsoleAnswer::Paused(Paused { took: TOOK, overlay: OverlayKind::Ring }),
        ConsoleAnswer::All { answers: vec![LineReply::Node(Answer::Cleared { blocks: 1, kept: 0 })] },
        ConsoleAnswer::Tested {
            passed: 1,
            failed: 1,
            files: results.map(|result| Tested { file: "a".into(), result }).into(),
        },
        ConsoleAnswer::Threads(threads()),
        ConsoleAnswer::Files { files: vec![entry.clone()] },
        ConsoleAnswer::Named { key: KEY, name: "a".to_owned() },
        ConsoleAnswer::Forgotten { files: vec![entry] },
        ConsoleAnswer::Imported(Imported { key: Some(KEY), ..Imported::default() }),
        ConsoleAnswer::Begun { job: 1, line: "list".to_owned() },
        ConsoleAnswer::Jobs { jobs: vec![JobInfo { job: 1, line: "list".to_owned(), took: TOOK, done: 1, of: 2 }] },
        ConsoleAnswer::Cancelling { job: 1 },
        help,
    ]
}

fn of_folders() -> Vec<ConsoleAnswer> {
    let skipped = || vec![LeftOut { file: "x".into(), reason: "y".to_owned() }];
    let path = PathBuf::from("a");
    let stored = StoredFolder {
        file: path.clone(),
        key: KEY,
        bytes: 1,
        files: 1,
        folders: 0,
        links: 0,
        blocks: 1,
        lists: 1,
        copies: vec![0, 2],
        wanted: 1,
        unreached: 0,
        lacking: Some("full".to_owned()),
        skipped: skipped(),
        unmade: skipped(),
        is_partial: true,
        took: TOOK,
    };
    let retrieved = RetrievedFolder {
        bytes: 1,
        resumed: 0,
        files: 1,
        folders: 0,
        links: 0,
        standing: false,
        aside: Some(path.clone()),
        skipped: skipped(),
        took: TOOK,
    };
    let (bytes, sha256, target) = (Some(1), Some(KEY), Some(path.clone()));
    let item = ListedItem { path: path.clone(), kind: "file", bytes, sha256, executable: true, target };
    vec![
        ConsoleAnswer::StoredFolder(stored),
        ConsoleAnswer::RetrievedFolder(retrieved),
        ConsoleAnswer::Listed(ListedFolder { key: KEY, path, items: vec![item] }),
        ConsoleAnswer::Shown(ShownText { text: "x".to_owned() }),
    ]
}

fn replies() -> Vec<LineReply> {
    let of_node = of_files().into_iter().chain(of_node()).map(LineReply::Node);
    of_node.chain(of_console().into_iter().chain(of_folders()).map(LineReply::Console)).collect()
}

/// Fields by answer, as the page tells them; a ? at the end is left out.
fn page() -> BTreeMap<String, BTreeSet<String>> {
    let mut page: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut answer = String::new();
    let answers = PAGE.lines().take_while(|line| !line.starts_with("EVENTS"));
    for line in answers.skip_while(|line| !line.starts_with("stored ")) {
        let word = line.split_whitespace().next().unwrap_or_default();
        match line.len() - line.trim_start().len() {
            0 => word.clone_into(&mut answer),
            2 => drop(page.entry(answer.clone()).or_default().insert(word.trim_end_matches('?').to_owned())),
            _ => {}
        }
    }
    page
}

#[test]
fn the_page_tells_every_field_of_every_answer_and_no_other() {
    let mut told = page();
    for reply in replies() {
        let value: Value = serde_json::from_str(&reply.to_json()).unwrap();
        let fields = value.as_object().unwrap();
        let answer = fields["answer"].as_str().unwrap();
        let named: BTreeSet<String> = fields.keys().filter(|name| *name != "answer").cloned().collect();
        assert_eq!(told.remove(answer), Some(named), "{answer}");
    }
    assert!(told.is_empty(), "answers that there are not: {told:?}");
}

#[test]
fn the_page_tells_every_event_and_its_fields() {
    let notices = [
        Notice::Joined { peers: 1, shut_out: 0 },
        Notice::PeerUp { peer: peer() },
        Notice::PeerDown { peer: peer() },
        Notice::BlockStored { key: KEY, size: 7 },
        Notice::BlockDamaged { key: KEY },
        Notice::BlockEnded { key: KEY },
        Notice::BlockRepaired { key: KEY, to: peer() },
        Notice::Missed { notices: 3 },
        Notice::Step { command: 1, session: 1, phase: Phase::Storing, done: 1, of: 2 },
        Notice::Step { command: 1, session: 0, phase: Phase::HandingOver, done: 1, of: 2 },
        Notice::Ended { command: 1, session: 1, phase: Phase::Storing, failure: Some(FailureKind::Exists) },
        Notice::File { file: "0042".parse().unwrap(), news: FileNews::Sent { to: peer() } },
        Notice::Answer { command: 1, answer: Answer::Cleared { blocks: 1, kept: 0 } },
    ];
    let events = PAGE.split("EVENTS").nth(1).unwrap();
    for notice in notices {
        let event: Value = serde_json::from_str(&event(&notice, TOOK).unwrap()).unwrap();
        assert_eq!(event["time"], json!(1234));
        let name = event["event"].as_str().unwrap();
        // The lines that follow belong to it where they begin with blanks.
        let mut lines = events.lines().skip_while(|line| line.split_whitespace().next() != Some(name));
        let first = lines.next().unwrap_or_default();
        let line = lines.take_while(|line| line.starts_with(' ')).fold(first.to_owned(), |all, line| all + line);
        let fields = event.as_object().unwrap().keys().filter(|field| !["event", "time"].contains(&field.as_str()));
        for field in fields.filter(|_| !line.contains("the fields of that answer")) {
            assert!(line.contains(&format!("\"{field}\"")), "{name} has {field}: {line:?}");
        }
    }
    for (told, name) in [(ready("{\"id\":1}", TOOK), "ready"), (line("x", TOOK), "line")] {
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["event"], &told["time"]), (&json!(name), &json!(1234)));
        assert!(events.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}");
    }
    let sources = [Source::Key(KEY), Source::Manifest("m".into())];
    let [by_key, by_list] = sources.map(|source| Command::Retrieve { source, dest: "d".into(), replace: false });
    let store = Command::Store { path: "f".into(), manifest: None, keep: false };
    let [stored, retrieved] = [0, 1].map(|at| of_files().swap_remove(at));
    let key = KEY.to_string();
    for (command, answer, fields) in [
        (store.clone(), &stored, &[("file", "f"), ("event", "stored")][..]),
        (store.on(Some(Lease::NOBODYS)), &stored, &[("file", "f")]),
        (by_key, &retrieved, &[("key", key.as_str()), ("dest", "d"), ("event", "retrieved")]),
        (by_list, &retrieved, &[("file", "m"), ("dest", "d")]),
    ] {
        let named = NamedBy::of(&command).unwrap();
        let done = event(&Notice::Done { command: 1, answer: answer.clone(), named }, TOOK).unwrap();
        let done: Value = serde_json::from_str(&done).unwrap();
        for (field, value) in fields {
            assert_eq!(done[field], *value, "{done}");
            assert!(events.contains(&format!("\"{field}\"")) || *field == "event");
        }
    }
    for answer in of_files().into_iter().take(2) {
        let event = event(&Notice::Answer { command: 1, answer }, TOOK).unwrap();
        assert!(event.contains("\"event\":\"stored\"") || event.contains("\"event\":\"retrieved\""), "{event}");
    }
}

#[test]
fn the_page_names_the_fields_inside_of_answers_too() {
    fn names(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                found.insert(name.clone());
                names(value, found);
            }),
            Value::Array(values) => values.iter().for_each(|value| names(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for reply in replies() {
        names(&serde_json::from_str(&reply.to_json()).unwrap(), &mut found);
    }
    let untold: Vec<_> = found.iter().filter(|name| !PAGE.contains(name.as_str())).collect();
    assert!(untold.is_empty(), "{untold:?}");
    assert!(!found.contains("secs"));
}

#[test]
fn times_are_milliseconds_and_a_list_names_what_it_has() {
    let pong = LineReply::Node(Answer::Pong { peer: peer(), rtt: TOOK }).to_json();
    assert!(pong.contains(r#""rtt":1234.567"#), "{pong}");
    let files = replies().into_iter().map(|reply| reply.to_json()).find(|text| text.contains("\"answer\":\"files\""));
    assert!(files.is_some_and(|files| files.contains(r#""lease":{"copies":3,"lasts":2000,"until":1000}"#)));
    let listed = LineReply::Node(Answer::List { blocks: vec![(KEY, 7)] }).to_json();
    assert_eq!(listed, format!(r#"{{"answer":"list","blocks":[{{"bytes":7,"key":"{KEY}"}}]}}"#));
    let named = LineReply::of_file("a".into(), Answer::Cleared { blocks: 1, kept: 0 }).to_json();
    assert_eq!(named, r#"{"answer":"cleared","blocks":1,"file":"a","kept":0}"#);
}
