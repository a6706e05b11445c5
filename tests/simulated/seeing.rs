//! That what happens can be seen: a broken driver in a storm's checks and in its story, and what peers recorded side by
//! side.
//!
//! What the README and the page for those who start show of it is what the program prints: with `KADRING_NEW_DIGESTS=1`
//! these tests write it anew.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use kadring::id::{Id, Key};
use kadring::node::notice::{AskedFor, AskedQuestion, QuestionOutcome};
use kadring::node::{Action, Answer, Event};
use kadring::overlay::{OverlayKind, RingOptions};
use kadring::peer::Peer;
use kadring::record::{Beginning, Moment, start_line};
use kadring::sim::args::SimArgs;
use kadring::sim::moments::history::{Collection, History, Seen};
use kadring::sim::moments::reader::{RecordLine, RecordReader};
use kadring::sim::replay::{replay, replay_peer};
use kadring::sim::sabotage::{SABOTEURS, find};
use kadring::sim::world::RecordedItem;
use kadring::sim::{Rules, StormPlan, Trace, World, cli};
use kadring::time::Time;
use kadring::wire::ring::RingRequest;
use kadring::wire::{Body, Message, Request};

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
    let (again, _) = command.split_once(" --step --at ").expect("it steps");
    assert_eq!(sim(again), story, "the command shows the same again");
}

/// The record of a storm, all of whose peers are in it.
fn record(plan: &StormPlan) -> String {
    let lines = Rc::new(RefCell::new(String::new()));
    let record = Rc::clone(&lines);
    let recorder = move |recorded: RecordedItem<'_>| {
        recorded.line().iter().for_each(|line| record.borrow_mut().push_str(line));
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

        let (mut reader, beginning) = RecordReader::begin(text.as_bytes()).expect("a record");
        let mut again = start_line(&beginning).expect("plain");
        while let Some((_, line)) = reader.next_line().expect("whole") {
            let written = match line {
                RecordLine::Beginning(beginning) => serde_json::to_string(&beginning),
                RecordLine::Moment(moment) => serde_json::to_string(&moment),
                RecordLine::Lost(_) => panic!("a storm's recorder loses nothing"),
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

/// The same record, in which the clock of the peer in `slot` is `ahead` microseconds ahead.
fn with_clock(text: &str, slot: usize, ahead: u64) -> String {
    let shift = |line: &str| {
        let Ok(beginning) = serde_json::from_str::<Beginning>(line) else { return line.to_owned() + "\n" };
        let date = beginning.unix_micros.expect("it is written down");
        let wrong = if beginning.peer == Some(slot) { beginning.at(date + ahead) } else { beginning };
        start_line(&wrong).expect("plain")
    };
    text.lines().map(shift).collect()
}

#[test]
fn clocks_that_differ_by_minutes_are_put_right_by_the_messages_between_them() {
    // Nobody is started a second time, so each clock has all of the peer's messages to go by.
    let text = record(&StormPlan { faults: 0, ..small(OverlayKind::Kademlia) });
    for ahead in [0, 250_000_000] {
        let mut collection = Collection::default();
        collection.add("storm", with_clock(&text, 3, ahead).as_bytes()).expect("a record");
        let history = collection.history();
        assert_eq!((history.messages.0 - history.messages.1, history.backwards), (0, 0));
        let last = history.moments.last().expect("there are some").at;
        assert!(last < 400_000_000, "{last} µs: the run takes no longer");
    }
}

/// A world that is recorded from its beginning: so many peers have joined it, and some died a moment ago.
fn recorded_world(kind: OverlayKind, peers: usize, deaths: usize, key: &Key) -> (World, Rc<RefCell<String>>) {
    let record = Rc::new(RefCell::new(String::new()));
    let lines = Rc::clone(&record);
    let mut world = World::new(Rules::of(5, kind, RingOptions::default()));
    world.recorder = Some(Box::new(move |recorded: RecordedItem<'_>| {
        lines.borrow_mut().push_str(recorded.line().unwrap_or_default());
    }));
    for slot in 0..peers {
        let id = Id::random(world.rng());
        assert_eq!(world.add(id), slot);
        world.start(slot, &[0]);
        world.run_for(Duration::from_millis(200)).expect("nothing breaks");
    }
    world.run_for(Duration::from_secs(30)).expect("nothing breaks");
    let mut near: Vec<usize> = (1..peers).collect();
    near.sort_by_key(|&slot| kind.distance(&world.peer(slot).id, key));
    near.into_iter().take(deaths).for_each(|slot| world.crash(slot));
    (world, record)
}

/// Looks `key` up as `command` says, and returns the questions, how long it took, and the history of all that happened.
fn looked_up(
    world: &mut World,
    record: &RefCell<String>,
    command: kadring::node::Command,
) -> (Vec<AskedQuestion>, Duration, History) {
    let id = world.command(0, command);
    assert!(world.run_until_answered(0, id, Duration::from_secs(30)).expect("nothing breaks"));
    let Some(Answer::Lookup { asked, took, .. }) = world.take_answer(0, id) else { panic!("it is a lookup") };
    let mut collection = Collection::default();
    collection.add("", record.borrow().as_bytes()).expect("a record");
    (asked, took, collection.in_order())
}

/// The messages that the peer of this number sent from the number of a moment on: when, to whom, and what.
fn sent(history: &History, peer: usize, from: usize) -> Vec<(Time, SocketAddr, &Message)> {
    let moments = history.moments[from..].iter().filter(|seen| seen.peer == peer);
    let sent = moments.flat_map(|seen| seen.moment.actions.iter().map(|action| (seen.moment.at, action)));
    sent.filter_map(|(at, action)| match action {
        Action::Send { to, message, .. } => Some((at, *to, message)),
        _ => None,
    })
    .collect()
}

#[test]
fn an_explained_lookup_agrees_with_the_trace_of_the_same_lookup_and_a_plain_one_sends_nothing_for_it() {
    let key = Id::of(b"any");
    for (kind, deaths) in
        [(OverlayKind::Kademlia, 0), (OverlayKind::Kademlia, 3), (OverlayKind::Ring, 0), (OverlayKind::Ring, 3)]
    {
        let (mut world, record) = recorded_world(kind, 24, deaths, &key);
        let (asked, took, history) = looked_up(&mut world, &record, kadring::node::Command::Explain { key });
        let is_it = |seen: &Seen| {
            matches!(seen.moment.event, Event::Command { command: kadring::node::Command::Explain { .. }, .. })
        };
        let began = history.moments.iter().position(is_it).expect("it is recorded");
        let (me, start) = (history.moments[began].peer, history.moments[began].moment.at);
        let all = sent(&history, me, began);
        let mut magics = BTreeSet::new();
        for one in &asked {
            let begun = start + one.begun;
            let fits = |request: &Request| match one.request {
                AskedFor::Nearer => matches!(request, Request::FindNode { .. }),
                AskedFor::Block => request.sought() == Some(&key),
                AskedFor::Proof => *request == Request::Ping,
                AskedFor::Owner => matches!(request, Request::Ring(RingRequest::Routed { .. })),
            };
            let first = all.iter().find(|(at, to, message)| {
                let fresh = !magics.contains(&message.magic);
                fresh
                    && (*at, *to) == (begun, one.addr)
                    && matches!(&message.body, Body::Request(request) if fits(request))
            });
            let (_, _, message) = first.unwrap_or_else(|| panic!("{kind:?}: {one:?} was not sent"));
            let magic = message.magic;
            magics.insert(magic);
            let ends = one.took.or(one.doubted).or(one.late).map(|span| begun + span);
            // What goes out again in the moment in which something is late has yet to be left without an answer.
            let until = |at: Time| ends.is_none_or(|ends| at < ends);
            let messages = all.iter().filter(|(at, _, message)| message.magic == magic && until(*at)).count();
            assert!(ends.is_none() || messages == usize::from(one.sent), "{kind:?}: {messages} of {one:?}");
            let answers = |seen: &Seen| match &seen.moment.event {
                Event::Message { message, .. } => seen.peer == me && message.magic == magic,
                _ => false,
            };
            let answered = history.moments[began..].iter().find(|seen| answers(seen)).map(|seen| seen.moment.at);
            let right = one.took.filter(|_| one.outcome != QuestionOutcome::Silent).map(|span| begun + span);
            assert!(right.is_none() || answered == right, "{kind:?}: answered at {answered:?}: {one:?}");
            if one.request == AskedFor::Owner && right.is_some() {
                let relays = sent_on(&history, magic, me);
                assert!(deaths > 0 || one.trail == relays, "passed on by {relays:?}: {one:?}");
            }
        }
        let questions = all.iter().filter(|(at, _, message)| {
            *at <= start + took && matches!(&message.body, Body::Request(request) if request.sought() == Some(&key))
        });
        assert!(questions.clone().all(|(_, _, message)| magics.contains(&message.magic)), "{kind:?}: each is told of");
        assert!(questions.count() >= 3, "{kind:?}");
        let waited: Duration = asked.iter().filter_map(|one| one.waited).sum();
        assert_eq!(waited, took, "{kind:?}: {asked:?}");
        let over = history.moments.iter().rposition(|seen| seen.peer == me).expect("it ends");
        let chain: Vec<Time> = history.why(over).into_iter().map(|moment| history.moments[moment].moment.at).collect();
        let steps = asked.iter().filter_map(|one| Some(start + one.begun + one.waited?));
        assert!(deaths > 0 || steps.clone().all(|step| chain.contains(&step)), "{kind:?}: {chain:?}: {asked:?}");
        assert_eq!(record.borrow().contains("\"trail\""), kind == OverlayKind::Ring);
        assert!(
            deaths == 0
                || asked
                    .iter()
                    .any(|one| one.waited.is_some() && one.outcome == QuestionOutcome::Silent || one.doubted.is_some()),
            "{kind:?}: {asked:?}"
        );

        let (mut plain, record) = recorded_world(kind, 24, deaths, &key);
        let (asked, as_long, _) = looked_up(&mut plain, &record, kadring::node::Command::Lookup { key });
        assert_eq!((asked.len(), as_long), (0, took), "{kind:?}: it takes as long");
        assert!(!record.borrow().contains("\"trail\""), "{kind:?}: nobody asks for it");
    }
}

/// The peers that passed the request `magic` of `origin` on, in that order.
fn sent_on(history: &History, magic: u64, origin: usize) -> Vec<Peer> {
    let passes = |action: &Action| match action {
        Action::Send { message, .. } => message.magic == magic && matches!(message.body, Body::Request(_)),
        _ => false,
    };
    let passed = history.moments.iter().filter(|seen| seen.peer != origin && seen.moment.actions.iter().any(passes));
    passed.map(|seen| history.peers[seen.peer].me).collect()
}

#[test]
fn peers_stand_in_the_order_of_their_names_whatever_the_order_of_their_files() {
    let text = record(&small(OverlayKind::Kademlia));
    let (mut reader, first) = RecordReader::begin(text.as_bytes()).expect("whole");
    let mut lines = vec![RecordLine::Beginning(Box::new(first))];
    while let Some((_, line)) = reader.next_line().expect("whole") {
        lines.push(line);
    }
    // As a live peer writes it, which has no slot.
    let of = |slot: usize| -> String {
        let written = lines.iter().filter_map(|line| match line {
            RecordLine::Beginning(beginning) if beginning.peer == Some(slot) => {
                serde_json::to_string(&Beginning { peer: None, ..(**beginning).clone() }).ok()
            }
            RecordLine::Moment(moment) if moment.peer == Some(slot) => {
                serde_json::to_string(&Moment { peer: None, ..(**moment).clone() }).ok()
            }
            _ => None,
        });
        written.map(|line| line + "\n").collect()
    };
    let mut collection = Collection::default();
    for (name, slot) in [("b", 0), ("10", 1), ("2", 2)] {
        collection.add(name, of(slot).as_bytes()).expect("a record");
    }
    let history = collection.history();
    let names: Vec<&str> = history.peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(names, ["2", "10", "b"]);
    let (messages, found) = history.messages;
    assert!(messages > 50 && messages == found, "each moment is still its peer's: {found} of {messages}");
}

/// What a command of the program prints in this folder; it succeeds.
fn printed(folder: &Path, words: &str) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_kadring")).args(words.split(' ')).current_dir(folder).output();
    let out = out.expect("it starts");
    assert!(out.status.success(), "{words}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("it is text")
}

#[test]
fn a_storm_s_page_is_the_page_of_its_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let storm = "sim --storm --seed 3 --peers 4 --faults 2";
    printed(folder.path(), &format!("{storm} --record storm.jsonl --html both.html"));
    printed(folder.path(), &format!("{storm} --html alone.html"));
    printed(folder.path(), "trace storm.jsonl --html page.html");
    let page = |name: &str| fs::read(folder.path().join(name)).expect("it is written");
    assert!(page("page.html").len() > 10_000);
    assert!(page("both.html") == page("page.html") && page("alone.html") == page("page.html"), "the same bytes");
}

#[test]
fn of_a_record_that_is_cut_or_damaged_what_is_before_is_shown_and_another_version_is_refused() {
    let text = record(&small(OverlayKind::Kademlia));
    let shown = |text: &str| {
        let mut collection = Collection::default();
        let added = collection.add("a", text.as_bytes()).map_err(|error| error.to_string());
        let complaints = collection.complaints.join(" ");
        added.map(|()| (collection.history().moments.len(), complaints))
    };
    let whole = shown(&text).expect("a record").0;
    let (moments, complaint) = shown(&text[..text.len() - 9]).expect("a record");
    assert!(moments == whole - 1 && complaint.contains("in the middle of a line"), "{complaint}");
    let lines: Vec<&str> = text.lines().collect();
    let damaged = [&lines[..100], &["{\"at\":}"], &lines[100..]].concat().join("\n");
    let (moments, complaint) = shown(&damaged).expect("a record");
    assert!(moments < 100 && moments > 50, "{moments}");
    assert!(complaint.contains("a: line 101 ") && complaint.contains("keep the first 100 lines"), "{complaint}");
    let with_gap = [&lines[..100], &["{\"lost\":7}"], &lines[110..]].concat().join("\n");
    let (moments, complaint) = shown(&with_gap).expect("a record");
    assert!(moments == whole - 10 && complaint.contains("a: before line 102, 7 moments are missing"), "{complaint}");
    let foreign = text.replacen(":3,", ":99,", 1);
    assert!(shown(&foreign).expect_err("another version").contains("version 99"));
    let later = [&lines[..100], &[&*lines[0].replacen(":3,", ":99,", 1)]].concat().join("\n");
    let (_, complaint) = shown(&later).expect("a record");
    assert!(complaint.contains("from line 101 on this record is of version 99"), "{complaint}");
    assert!(complaint.contains("moments before it are whole"), "{complaint}");
    let second = lines.iter().skip(1).position(|line| line.starts_with("{\"kadring_record\"")).expect("another peer");
    let nobody = [&lines[..=second], &lines[second + 2..]].concat().join("\n");
    let (_, complaint) = shown(&nobody).expect("a record");
    assert!(complaint.contains("whose beginning is missing; the "), "{complaint}");
    assert!(shown("").expect_err("nothing").ends_with("it is empty"));
    assert!(
        complaint_of_a_filter(&damaged).contains("a: line 101 of the record is damaged"),
        "what is there, and what not"
    );
}

/// What `trace` says to a filter that names nothing in this record.
fn complaint_of_a_filter(record: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.jsonl");
    fs::write(&path, record).expect("writable");
    let out = Command::new(env!("CARGO_BIN_EXE_kadring")).arg("trace").arg(path).args(["--only", "nobody"]).output();
    let out = out.expect("it starts");
    assert!(!out.status.success());
    String::from_utf8(out.stderr).expect("it is text")
}

#[test]
fn a_lecture_is_shown_a_lock_that_twenty_threads_wait_for_with_its_holder() {
    let shown = Command::new(env!("CARGO_BIN_EXE_kadring")).args(["demo", "lock"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{text}");
    let holder = text.lines().find(|line| line.starts_with("command-0 ")).expect("it holds the lock");
    assert!(holder.ends_with("holds the lock demonstration"), "{text}");
    let waits = "wants the lock demonstration (how often it was taken), held by command-0";
    assert_eq!(text.lines().filter(|line| line.ends_with(waits)).count(), 20, "{text}");
    assert!(text.contains("one after another: 20 times"), "{text}");
}

/// The text with what each command of its console blocks prints now, one after another in an empty folder; and how many
/// there are.
fn as_printed(text: &str) -> (String, usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = Path::new(env!("CARGO_BIN_EXE_kadring")).parent().expect("it lies in a folder").to_owned();
    let (mut now, mut blocks) = (String::new(), 0);
    for (nth, part) in text.split("```").enumerate() {
        let Some(block) = part.strip_prefix("console\n").filter(|_| nth % 2 == 1) else {
            now += if nth == 0 { "" } else { "```" };
            now += part;
            continue;
        };
        let command = block.lines().next().and_then(|line| line.strip_prefix("$ ")).expect("a command");
        let shell = Command::new("sh")
            .args(["-c", command])
            .current_dir(folder.path())
            .env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default()))
            .output()
            .expect("a shell");
        assert!(!shell.stdout.is_empty(), "{command} shows nothing: {}", String::from_utf8_lossy(&shell.stderr));
        now += &format!("```console\n$ {command}\n{}", String::from_utf8_lossy(&shell.stdout));
        blocks += 1;
    }
    (now, blocks)
}

/// Asserts that the file's text, of which a section was printed anew, is what stands there; or writes it.
fn assert_stands(path: &Path, before: &str, now: &str) {
    if std::env::var_os("KADRING_NEW_DIGESTS").is_some() {
        fs::write(path, now).expect("the source is writable");
    }
    let differs = now.lines().zip(before.lines()).find(|(now, before)| now != before);
    assert!(differs.is_none() && now.len() == before.len(), "now and before: {differs:#?}");
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("it is committed");
    let (before, rest) = readme.split_once("\n## See it think\n").expect("a section");
    let (section, after) = rest.split_once("\n## ").expect("another one follows");
    let (now, blocks) = as_printed(section);
    assert!(blocks >= 2);
    assert_stands(&path, &readme, &format!("{before}\n## See it think\n{now}\n## {after}"));
}

#[test]
fn the_page_for_those_who_start_shows_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/start_here.md");
    let page = fs::read_to_string(&path).expect("it is committed");
    let (now, blocks) = as_printed(&page);
    assert_eq!(blocks, 6, "one a step");
    assert_stands(&path, &page, &now);
}
