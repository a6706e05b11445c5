//! A console between a pipe and a node that answers by rote.

use std::io::{BufReader, Write};
use std::net::SocketAddr;

use crossbeam_channel::{Receiver, unbounded};
use parking_lot::Mutex;

use super::*;
use crate::id::Id;
use crate::node::health::{Checked, Health};
use crate::node::notice::PeerInfo;
use crate::node::{Failure, Progress, Source};
use crate::overlay::TableRow;
use crate::peer::Peer;

/// Answers each command with what it can know, as a node would; notes what it was asked.
#[derive(Clone, Default)]
struct Rote {
    asked: Arc<Mutex<Vec<Command>>>,
    /// Where `retrieve` copies from.
    stored: Arc<Mutex<Vec<u8>>>,
    spoil: bool,
}

fn left(handed_over: u64, left_behind: u64, offered: bool, kept: bool) -> Answer {
    Answer::Left { handed_over, left_behind, offered, kept, alone: false }
}

impl Rote {
    fn answer(&self, command: Command) -> Answer {
        match command {
            Command::Store { path, .. } => match std::fs::read(&path) {
                Ok(bytes) => {
                    let (key, len) = (Id::of(&bytes), bytes.len() as u64);
                    *self.stored.lock() = bytes;
                    Answer::Stored {
                        key,
                        sha256: key,
                        bytes: len,
                        blocks: 1,
                        lists: 1,
                        copies: vec![0, 0, 2],
                        wanted: 2,
                        listed: None,
                        unreached: 0,
                        lacking: None,
                        took: Duration::from_millis(3),
                    }
                }
                Err(error) => Answer::Failed(Failure {
                    kind: FailureKind::NotFound,
                    reason: format!("{}: {error}", path.display()),
                }),
            },
            Command::Retrieve { dest, .. } => {
                let mut bytes = self.stored.lock().clone();
                if self.spoil {
                    bytes.push(0);
                }
                if !bytes.is_empty() {
                    std::fs::write(dest, &bytes).expect("a temporary folder is writable");
                }
                Answer::Retrieved {
                    bytes: bytes.len() as u64,
                    resumed: 0,
                    sha256: None,
                    hashed: false,
                    blocks: 1,
                    holders: 1,
                    from: Vec::new(),
                    standing: false,
                    complete: true,
                    took: Duration::from_millis(2),
                }
            }
            Command::List => Answer::List { blocks: vec![(Id::ZERO, 7)] },
            Command::Quit { handover } => left(1, 0, handover, true),
            Command::Ping { addr } => Answer::Pong { peer: Peer::new(Id::ZERO, addr), rtt: Duration::from_micros(120) },
            Command::RetrieveManifest { .. } => {
                let passed = crate::runtime::stopwatch();
                while passed() < READING {
                    std::hint::spin_loop();
                }
                Answer::Cleared { blocks: 0, kept: 0 }
            }
            Command::Check { .. } => Answer::Checked(Box::new(checked_at_once())),
            _ => Answer::Cleared { blocks: 0, kept: 0 },
        }
    }
}

fn checked_at_once() -> Checked {
    Checked {
        health: Health::Whole,
        bytes: 0,
        blocks: 0,
        copies: Vec::new(),
        wanted: 1,
        asked: 1,
        repaired: 0,
        unread: 0,
        weakest: None,
        peers: Vec::new(),
        each: Vec::new(),
        took: Duration::ZERO,
    }
}

/// How long it takes to read what a file is made of.
const READING: Duration = Duration::from_millis(2);

impl Backend for Rote {
    fn submit(&self, command: Command) -> Receiver<Notice> {
        let (sender, receiver) = unbounded();
        self.asked.lock().push(command.clone());
        let progress = Progress::Begun { bytes: 1 };
        sender.send(Notice::Progress { command: 1, progress }).expect("it is open");
        sender.send(Notice::Answer { command: 1, answer: self.answer(command) }).expect("it is open");
        receiver
    }

    fn threads(&self) -> ThreadsSeen {
        let of = |name: &str| ThreadSeen { name: name.to_owned(), at: "waits".to_owned(), gauge: None };
        ThreadsSeen { threads: vec![of("node"), of("sweeper")], queues: Vec::new() }
    }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run(rote: &Rote, format: Format, input: &[u8]) -> (End, String) {
    let sink = Sink::default();
    let output = answers::Answers::to(Output::new(format, sink.clone()), None);
    let mut console =
        Console::new(Performer::new(rote.clone(), Screen::plain()), Grammar::new(Defaults::default()), output);
    let end = console.run(&mut BufReader::with_capacity(16, input)).expect("a slice can be read");
    let text = String::from_utf8(sink.0.lock().clone()).expect("answers are text");
    (end, text)
}

fn text(input: &str) -> String {
    run(&Rote::default(), Format::Text, input.as_bytes()).1
}

fn json(rote: &Rote, input: &str) -> Vec<serde_json::Value> {
    let (_, text) = run(rote, Format::Json, input.as_bytes());
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

#[test]
fn what_is_whole_for_the_peers_there_are_tells_how_many_copies_were_asked_for() {
    let told = |wanted, asked| {
        let checked = Checked { wanted, asked, copies: vec![0, 1], blocks: 1, ..checked_at_once() };
        LineReply::Node(Answer::Checked(Box::new(checked))).to_text()
    };
    assert!(
        told(1, 2).starts_with("whole for 1 peer: 0 bytes in 1 block, 1 copy of each; 2 were asked for; "),
        "{}",
        told(1, 2)
    );
    assert!(told(1, 1).starts_with("whole: 0 bytes in 1 block, 1 copy of each; 0 verified"), "{}", told(1, 1));
}

#[test]
fn a_check_tells_the_time_that_the_whole_command_took() {
    let told = json(&Rote::default(), &format!("check {}\n", Id::ZERO));
    let took = told[0]["took"].as_f64().expect("a number of milliseconds");
    assert!(took >= READING.as_secs_f64() * 1000.0, "{told:?}");
}

#[test]
fn one_line_in_is_one_answer_out_in_order() {
    let answers = json(&Rote::default(), "list\n\n# nothing\nnonsense\nthreads\nping 127.0.0.1:9\nquit\nlist\n");
    let kinds: Vec<_> = answers.iter().map(|answer| answer["answer"].as_str().expect("it says which")).collect();
    assert_eq!(kinds, ["list", "failed", "threads", "pong", "left"], "nothing is answered after quit");
    assert_eq!(answers[1]["kind"], "usage");
}

#[test]
fn the_end_of_the_input_and_the_nodes_leaving_are_told_apart() {
    assert_eq!(run(&Rote::default(), Format::Text, b"list").0, End::Input);
    assert_eq!(run(&Rote::default(), Format::Text, b"q\nlist\n").0, End::Left);
}

#[test]
fn noise_between_commands_is_answered_and_costs_nothing_else() {
    let mut input = b"\xff\xfe\n".to_vec();
    input.extend(vec![b'x'; lines::MAX_LINE + 10]);
    input.extend(b"\nstore 'open\nlist\n");
    let (_, text) = run(&Rote::default(), Format::Text, &input);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("error: there is no command \"\\xff\\xfe\""), "{text}");
    assert!(lines[1].starts_with("error: the line is 65546 bytes long"), "{text}");
    assert!(lines[2].starts_with("error: a quote is not closed"), "{text}");
    assert!(lines[3].starts_with(&Id::ZERO.to_string()), "{text}");
}

#[test]
fn what_the_node_is_asked_is_what_was_typed() {
    let rote = Rote::default();
    let key = Id::of(b"x");
    json(&rote, &format!("r {key} 'my file'\nc {key} ./m\nlookup {key}\nq --no-handover\n"));
    let asked = rote.asked.lock().clone();
    assert_eq!(
        asked,
        [
            Command::Retrieve { source: Source::Key(key), dest: "my file".into(), replace: false },
            // A folder is cleared with all that is in it.
            Command::RetrieveManifest { key },
            Command::Clear { sources: vec![Source::Key(key), Source::Manifest("./m".into())], force: false },
            Command::Lookup { key },
            Command::Quit { handover: false },
        ]
    );
}

#[test]
fn test_stores_retrieves_and_compares() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), b"hello").expect("writable");
    let line = format!("test '{}' /nonexistent/file\n", file.path().display());
    let tested = json(&Rote::default(), &line).remove(0);
    assert_eq!(
        (&tested["answer"], &tested["passed"], &tested["failed"]),
        (&"tested".into(), &1.into(), &1.into()),
        "{tested}"
    );
    assert_eq!(
        (&tested["files"][0]["result"], &tested["files"][0]["sha256"]),
        (&"equal".into(), &Id::of(b"hello").to_string().into())
    );
    assert_eq!((&tested["files"][1]["result"], &tested["files"][1]["kind"]), (&"failed".into(), &"not_found".into()));
    let tested = json(&Rote { spoil: true, ..Rote::default() }, &line).remove(0);
    assert_eq!(tested["files"][0]["kind"], "integrity", "{tested}");
}

#[test]
fn a_node_that_ends_in_the_middle_fails_the_command() {
    struct Gone;
    impl Backend for Gone {
        fn submit(&self, _: Command) -> Receiver<Notice> {
            unbounded().1
        }
        fn threads(&self) -> ThreadsSeen {
            ThreadsSeen::default()
        }
    }
    let sink = Sink::default();
    let mut console = Console::new(
        Performer::new(Gone, Screen::plain()),
        Grammar::new(Defaults::default()),
        answers::Answers::to(Output::new(Format::Text, sink.clone()), None),
    );
    assert_eq!(console.run(&mut &b"list\n"[..]).expect("readable"), End::Input);
    assert_eq!(*sink.0.lock(), b"error: the peer ended before it answered\n");
}

#[test]
fn help_shows_every_command_and_more_about_one() {
    // Where the lines end is the terminal's.
    let words = |line: &str| text(line).split_whitespace().collect::<Vec<_>>().join(" ");
    let all = words("help\n");
    for spec in commands::COMMANDS {
        assert!(all.contains(&format!(" {} {}", spec.usage(), spec.summary)), "{}: {all}", spec.name);
    }
    assert!(all.contains("s store FILE... [--manifest FILE] [--name NAME] "), "{all}");
    let one = words("help ret\n");
    assert!(
        one.starts_with("retrieve KEY|NAME[/PATH]|MANIFEST DEST [--force] (or r): bring a file or a folder back"),
        "{one}"
    );
    assert!(text("help retrive\n").contains("did you mean retrieve?"));
}

#[test]
fn a_failure_from_afar_cannot_steer_the_terminal() {
    let reply = LineReply::failed(FailureKind::Other, "10.0.0.1:7 said: \u{1b}[2J\r\nkey 0");
    assert_eq!(text::render(&reply), "error: 10.0.0.1:7 said: \\u{1b}[2J\\r\\nkey 0");
    assert!(!reply.to_json().contains('\u{1b}'));
}

#[test]
fn answers_read_well() {
    let addr: SocketAddr = "127.0.0.1:7000".parse().expect("an address");
    let (a, b) = (Peer::new(Id::of(b"a"), addr), Peer::new(Id::of(b"b"), addr));
    let show = |answer| text::render(&LineReply::Node(answer));
    let took = Duration::from_millis(2500);
    let stored_beside = |copies, wanted, unreached| {
        let (key, sha256, bytes, blocks, lists, listed) = (Id::ZERO, Id::ZERO, 5 << 20, 5, 1, None);
        let lacking = (unreached == 2).then(|| "peer a: full".to_owned());
        show(Answer::Stored { key, sha256, bytes, blocks, lists, copies, wanted, listed, unreached, lacking, took })
    };
    let stored = |copies, wanted| stored_beside(copies, wanted, 0);
    let short = stored_beside(vec![0, 6], 3, 2);
    assert!(short.contains("(1 copy of each; 3 wanted; 2 peers are known that did not answer)"), "{short}");
    assert!(short.ends_with("\nfewer copies than wanted: peer a: full"), "{short}");
    assert!(stored_beside(vec![0, 0, 6], 2, 1).contains("(2 copies of each)"), "nothing is amiss");
    assert!(
        stored(vec![0, 0, 0, 6], 3)
            .contains("\nstored 5.0 MiB as 5 blocks and 1 list (3 copies of each) in 2.5 s (2.0 MiB/s)\n")
    );
    assert!(
        stored(vec![0, 1, 5], 2).contains("(1 copy of 1, 2 copies of 5; 2 wanted)"),
        "{}",
        stored(vec![0, 1, 5], 2)
    );
    let lookup =
        Answer::Lookup { key: Id::ZERO, peers: vec![a, b], holders: vec![b], hops: 2, took, asked: Vec::new() };
    let text = show(lookup);
    assert!(text.contains(": 2 requests in a row, 2.5 s\n") && text.ends_with("7000  holds it"), "{text}");
    let table = Answer::Table { rows: vec![TableRow { label: "bucket 255".into(), peers: vec![a], spare: 2 }] };
    assert_eq!(show(table), format!("bucket 255 (and 2 to take a place)\n  {} {addr}", a.id));
    let peers = Answer::Peers { peers: vec![PeerInfo { peer: a, rtt: Some(Duration::from_micros(250)) }] };
    assert_eq!(show(peers), format!("{} {addr}  0.25 ms\n1 peer", a.id));
    let nine = vec![Peer::new(Id::from_u64(9), addr)];
    let table = Answer::Table { rows: vec![TableRow { label: "successor 1".into(), peers: nine, spare: 0 }] };
    assert_eq!(show(table), format!("successor 1\n    9 {addr}"), "the classroom's ids are numbers");
}

#[test]
fn the_answer_to_a_store_begins_with_the_key_and_names_the_file_however_many_are_stored() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    std::fs::write(&one, "1").expect("writable");
    std::fs::write(&two, "2").expect("writable");
    let (one, two) = (one.display(), two.display());
    let said = text(&format!("store {one}\n"));
    assert!(said.starts_with(&format!("key {}\nstored {one}: 1 byte as ", Id::of(b"1"))), "{said}");
    let answers = json(&Rote::default(), &format!("store {one} /nowhere {two}\nstore {one} {two}\n"));
    let [first, second] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((&first["answer"], &second["answer"]), (&"all".into(), &"all".into()));
    let told = |of: &serde_json::Value| {
        let answers = of["answers"].as_array().expect("several").clone();
        answers.into_iter().map(|answer| (answer["file"].clone(), answer["answer"].clone())).collect::<Vec<_>>()
    };
    let named = |file: String, answer: &str| (serde_json::Value::from(file), serde_json::Value::from(answer));
    let (one, two) = (one.to_string(), two.to_string());
    let there = [named(one.clone(), "stored"), named("/nowhere".into(), "failed"), named(two.clone(), "stored")];
    assert_eq!(told(first), there);
    assert_eq!(told(second), [named(one, "stored"), named(two, "stored")], "no manifest takes the place of a file");
}

#[test]
fn several_things_of_which_some_failed_are_a_partial_failure() {
    let failed = |kind| LineReply::failed(kind, "x");
    let done = || LineReply::Node(Answer::Cleared { blocks: 0, kept: 0 });
    for (answers, verdict) in [
        (vec![done(), done()], None),
        (vec![done(), failed(FailureKind::NotFound)], Some(FailureKind::Partial)),
        (vec![failed(FailureKind::TimedOut), failed(FailureKind::NotFound)], Some(FailureKind::TimedOut)),
        (vec![done(), failed(FailureKind::Cancelled)], Some(FailureKind::Cancelled)),
    ] {
        let shown = format!("{answers:?}");
        assert_eq!(LineReply::Console(reply::ConsoleAnswer::All { answers }).verdict(), verdict, "{shown}");
    }
}

#[test]
fn leaving_says_what_becomes_of_the_blocks() {
    let show = |answer| text::render(&LineReply::Node(answer));
    for (answer, said) in [
        (left(2, 0, true, true), "left; 2 blocks handed over"),
        (
            left(0, 3, true, true),
            "left; 0 blocks handed over, 3 left behind: their only copies known stay in its data folder",
        ),
        (
            left(1, 3, true, false),
            "left; 1 block handed over, 3 left behind: their only copies known are gone with it, for it had no --data",
        ),
        (left(0, 3, false, true), "left without a handover, 3 left behind: this peer's copies stay in its data folder"),
        (left(0, 0, false, true), "left without a handover"),
    ] {
        assert_eq!(show(answer), said);
    }
}

#[test]
fn a_console_that_is_paused_starts_no_other_command_and_one_that_is_stuck_is_told_of() {
    let busy = BusyToken::default();
    let mut token = busy.begin();
    token.told = true;
    assert_eq!(busy.clone().pause(Duration::ZERO), None, "a command is under way");
    drop(token);
    assert_eq!(busy.pause(Duration::ZERO), Some(true), "what the command told");
    assert!(busy.take.is_empty(), "whoever begins another waits");
}
