//! Answers as programs read them. [`PAGE`] documents every field; a test compares.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Number, Value, json};

use super::escape::escape_json;
use super::reply::Reply;
use crate::id::Id;
use crate::network::NetworkName;
use crate::node::{FailureKind, Notice, Phase};
use crate::peer::Peer;

/// The fields of every answer, for people.
pub const PAGE: &str = include_str!("json.txt");

/// The answer as one line of JSON, without its end.
pub(super) fn render(reply: &Reply) -> String {
    // Every map in an answer has text for keys and no value refuses, so this cannot fail.
    let mut value = serde_json::to_value(reply)
        .unwrap_or_else(|error| json!({ "answer": "failed", "kind": "other", "reason": error.to_string() }));
    if let Some(files) = value.get_mut("files").and_then(Value::as_array_mut) {
        files.iter_mut().filter_map(|file| file.get_mut("lease")).for_each(in_milliseconds);
    }
    let listed = value["answer"] == "list";
    escape_json(plain(value, listed).to_string())
}

/// A lease of the catalogue, whose times are in seconds there.
fn in_milliseconds(lease: &mut Value) {
    for time in ["until", "lasts"] {
        if let Some(seconds) = lease[time].as_u64() {
            lease[time] = seconds.saturating_mul(1000).into();
        }
    }
}

/// The first event: from here on all are told.
pub(super) fn watching(me: &Peer, time: Duration) -> String {
    json!({ "event": "watching", "time": milliseconds_of(time), "id": me.id, "addr": me.addr }).to_string()
}

/// The event that a peer is ready, of the fields in `announced`, a JSON object.
pub fn ready(announced: &str, time: Duration) -> String {
    let mut value: Value = serde_json::from_str(announced).unwrap_or_default();
    value["event"] = "ready".into();
    value["time"] = milliseconds_of(time).into();
    value.to_string()
}

/// What tells where a peer is that is ready, in this order.
#[derive(Serialize)]
pub struct Announced {
    id: Id,
    udp: u16,
    tcp: u16,
    pid: u32,
    sealed: bool,
    network: NetworkName,
}

impl Announced {
    /// What this process tells of its peer `id` on `port`: whether a network key seals its traffic, and the name of its
    /// network.
    pub fn new(id: Id, port: u16, (sealed, network): (bool, NetworkName)) -> Self {
        Self { id, udp: port, tcp: port, pid: std::process::id(), sealed, network }
    }

    /// It as JSON.
    pub fn text(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// So many events are missing here.
pub(super) fn missed(notices: u64, time: Duration) -> String {
    json!({ "event": "missed", "time": milliseconds_of(time), "missed": notices }).to_string()
}

/// A command has made progress, or has ended.
fn of_command(notice: &Notice) -> Option<Value> {
    let (mut value, job) = match *notice {
        Notice::Step { command, job, phase, done, of } => {
            let unit = if phase == Phase::HandingOver { "blocks" } else { "bytes" };
            (json!({ "event": "progress", "command": command, "phase": phase, unit: done, "of": of }), job)
        }
        Notice::Ended { command, job, phase, failure } => {
            let code = failure.map_or(0, FailureKind::code);
            (json!({ "event": "ended", "command": command, "phase": phase, "code": code }), job)
        }
        _ => return None,
    };
    if job > 0 {
        value["job"] = job.into();
    }
    Some(value)
}

/// One of the classroom ring's lines.
pub fn line(line: &str, time: Duration) -> String {
    escape_json(json!({ "event": "line", "time": milliseconds_of(time), "line": line }).to_string())
}

fn milliseconds_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A notice as one line of JSON, at a time since 1970; none where it tells nothing of the peer's life.
pub(super) fn event(notice: &Notice, time: Duration) -> Option<String> {
    if let Some(mut value) = of_command(notice) {
        value["time"] = milliseconds_of(time).into();
        return Some(value.to_string());
    }
    let (mut value, kind) = match notice {
        Notice::File { file, news } => {
            let mut value = serde_json::to_value(news).ok()?;
            value["file"] = file.to_string().into();
            value["event"] = "file".into();
            (value, "event")
        }
        Notice::Answer { answer, .. } => (serde_json::to_value(answer).ok()?, "answer"),
        Notice::Progress { .. } | Notice::Trouble { .. } | Notice::Route { .. } => return None,
        other => (serde_json::to_value(other).ok()?, "notice"),
    };
    let fields = value.as_object_mut()?;
    let event = fields.remove(kind)?;
    fields.insert("event".to_owned(), event);
    fields.insert("time".to_owned(), milliseconds_of(time).into());
    Some(escape_json(plain(value, false).to_string()))
}

/// A value with each time as a number of milliseconds, and in a list each pair of key and size as an object.
fn plain(value: Value, listed: bool) -> Value {
    match value {
        Value::Object(fields) => milliseconds(&fields).unwrap_or_else(|| {
            Value::Object(fields.into_iter().map(|(name, value)| (name, plain(value, listed))).collect())
        }),
        Value::Array(values) => Value::Array(values.into_iter().map(|value| block(value, listed)).collect()),
        other => other,
    }
}

fn block(value: Value, listed: bool) -> Value {
    match value.as_array().map(Vec::as_slice) {
        Some([key, bytes]) if listed => json!({ "key": key, "bytes": bytes }),
        _ => plain(value, listed),
    }
}

/// The milliseconds of a time in the form that serde gives it; none of anything else. Microseconds are told.
fn milliseconds(fields: &Map<String, Value>) -> Option<Value> {
    let (seconds, nanos) = (fields.get("secs")?.as_u64()?, fields.get("nanos")?.as_u64()?);
    let micros = seconds.checked_mul(1_000_000)?.checked_add(nanos / 1000)?;
    // The digits behind the point come out as they are: a time of years has fewer than 2^53 microseconds.
    Number::from_f64(micros as f64 / 1000.0).filter(|_| fields.len() == 2).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::super::beside::JobInfo;
    use super::super::catalogue::{Entry, Owned};
    use super::super::folder::{Listed, ListedItem, RetrievedFolder, Shown, StoredFolder};
    use super::super::pausing::Paused;
    use super::super::reply::{ConsoleAnswer, HelpEntry, Imported, LeftOut, Named, TestResult, Tested};
    use super::super::{Defaults, Grammar};
    use super::*;
    use crate::id::{Id, Key};
    use crate::name::FileName;
    use crate::network::NetworkName;
    use crate::node::explain::{Asked, Outcome, Wish};
    use crate::node::health::{BlockHealth, Checked, CopyAt, CopyState, Health, PeerCopies, Scrubbed, Scrubbing};
    use crate::node::notice::{FileNews, PeerInfo, Status};
    use crate::node::{Answer, Failure};
    use crate::overlay::{OverlayKind, Reason, TableRow};
    use crate::runtime::{Gauge, QueueSeen, ThreadSeen, ThreadsSeen, Wanted};
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;

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
        let of_peer = PeerCopies { peer: peer(), verified: 1, claimed: 0, damaged: 0, absent: 0, silent: 0 };
        let at = vec![CopyAt { peer: 0, state: CopyState::Verified }];
        Answer::Checked(Box::new(Checked {
            health,
            bytes: 1,
            blocks: 1,
            copies: vec![0, 1],
            wanted,
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
            took,
        };
        let retrieved = Answer::Retrieved {
            bytes: 1,
            resumed: 0,
            sha256: None,
            blocks: 1,
            holders: 1,
            from: Vec::new(),
            standing: false,
            complete: true,
            took,
        };
        vec![stored, retrieved, checked(), Answer::Cleared { blocks: 1 }, Answer::List { blocks: vec![(KEY, 7)] }]
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
            Answer::Scrubbed(Scrubbed::default()),
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
            wants: Some(Wanted { lock: "view", protects: "it", held_by: vec!["node".to_owned()] }),
        };
        let node = ThreadSeen { name: "node".to_owned(), at: "waits".to_owned(), gauge: Some(gauge) };
        ThreadsSeen { threads: vec![node], queues: vec![QueueSeen { name: "jobs", length: 1, bound: 2 }] }
    }

    fn asked() -> Asked {
        Asked {
            id: Some(KEY),
            addr: peer().addr,
            request: Wish::Block,
            reason: Reason::Nearest,
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
            outcome: Outcome::Named { peers: 7, new: 2 },
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
        let help = Reply::help(&Grammar::new(Defaults::default()), Some("quit"));
        let Reply::Console(help) = help else { panic!("{help:?}") };
        assert!(matches!(&help, ConsoleAnswer::Help { commands } if matches!(commands[..], [HelpEntry { .. }])));
        vec![
            ConsoleAnswer::Paused(Paused { took: TOOK, overlay: OverlayKind::Ring }),
            ConsoleAnswer::All { answers: vec![Reply::Node(Answer::Cleared { blocks: 1 })] },
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
            skipped: skipped(),
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
            ConsoleAnswer::Listed(Listed { key: KEY, path, items: vec![item] }),
            ConsoleAnswer::Shown(Shown { text: "x".to_owned() }),
        ]
    }

    fn replies() -> Vec<Reply> {
        let of_node = of_files().into_iter().chain(of_node()).map(Reply::Node);
        of_node.chain(of_console().into_iter().chain(of_folders()).map(Reply::Console)).collect()
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
            Notice::Joined { peers: 1 },
            Notice::PeerUp { peer: peer() },
            Notice::PeerDown { peer: peer() },
            Notice::BlockStored { key: KEY, size: 7 },
            Notice::BlockDamaged { key: KEY },
            Notice::BlockEnded { key: KEY },
            Notice::BlockRepaired { key: KEY, to: peer() },
            Notice::Missed { notices: 3 },
            Notice::Step { command: 1, job: 1, phase: Phase::Storing, done: 1, of: 2 },
            Notice::Step { command: 1, job: 0, phase: Phase::HandingOver, done: 1, of: 2 },
            Notice::Ended { command: 1, job: 1, phase: Phase::Storing, failure: Some(FailureKind::Exists) },
            Notice::File { file: "0042".parse().unwrap(), news: FileNews::Sent { to: peer() } },
            Notice::Answer { command: 1, answer: Answer::Cleared { blocks: 1 } },
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
        let pong = Reply::Node(Answer::Pong { peer: peer(), rtt: TOOK }).to_json();
        assert!(pong.contains(r#""rtt":1234.567"#), "{pong}");
        let files =
            replies().into_iter().map(|reply| reply.to_json()).find(|text| text.contains("\"answer\":\"files\""));
        assert!(files.is_some_and(|files| files.contains(r#""lease":{"copies":3,"lasts":2000,"until":1000}"#)));
        let listed = Reply::Node(Answer::List { blocks: vec![(KEY, 7)] }).to_json();
        assert_eq!(listed, format!(r#"{{"answer":"list","blocks":[{{"bytes":7,"key":"{KEY}"}}]}}"#));
        let named = Reply::File(Named { file: "a".into(), answer: Answer::Cleared { blocks: 1 } }).to_json();
        assert_eq!(named, r#"{"answer":"cleared","blocks":1,"file":"a"}"#);
    }
}
