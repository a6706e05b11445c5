//! Every command, each way that it can come: done, asked wrongly, about what is not there, and while the other peer is
//! silent. The table of the classroom's commands is in `tests/real/ring_classroom/typing.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use kadring::id::Id;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::running::{KEY, code, folder, printed, run, said, text};
use crate::support::terminal::AtTerminal;
use crate::support::{Launch, PeerProcess, bytes, file};

/// What a command line comes to: nothing wrong, or one of these exit codes.
type Codes = &'static [i32];

const DONE: Codes = &[0];
const USAGE: Codes = &[2];
const NOT_FOUND: Codes = &[4];
const TIMED_OUT: Codes = &[5];
const UNKNOWN: Codes = &[9];
/// Nobody answers who is known to hold it; or nobody is known any more, once the silence has lasted.
const GONE: Codes = &[4, 5];

/// A command, and lines of it. What is in braces is filled in: see [`Scene::line`].
struct Row {
    name: &'static str,
    done: &'static str,
    /// What a person is shown when it is done.
    shown: &'static str,
    usage: &'static str,
    /// Empty where it names nothing that could be missing.
    missing: &'static str,
    /// Empty where it waits for no other peer.
    silent: (&'static str, Codes),
}

const fn row(
    name: &'static str,
    (done, shown): (&'static str, &'static str),
    usage: &'static str,
    missing: &'static str,
    silent: (&'static str, Codes),
) -> Row {
    Row { name, done, shown, usage, missing, silent }
}

const NOBODY: (&str, Codes) = ("", DONE);

/// In the order in which their lines are given. `cancel` needs something that runs: `tests/real/cli/control.rs` and
/// `tests/real/console.rs` have it done.
const ROWS: [Row; 28] = [
    row(
        "retrieve",
        ("retrieve {key} {new}", "retrieved"),
        "retrieve {key}",
        "retrieve {gone} {new}",
        ("retrieve {key} {new}", GONE),
    ),
    row("ls", ("ls {folder}", "small"), "ls a b", "ls {gone}", ("ls {folder}", GONE)),
    row("cat", ("cat {folder}/small", "hi"), "cat", "cat {folder}/none", ("cat {folder}/small", GONE)),
    row("check", ("check {key}", "whole"), "check", "check no-such", ("check {key}", UNKNOWN)),
    row("renew", ("renew {key} --for 9d", "told"), "renew {key} --for soon", "renew no-such", ("renew {key}", GONE)),
    row("copies", ("copies {third} 2", "told"), "copies {key} 9", "copies no-such 2", ("copies {key} 2", UNKNOWN)),
    row("delete", ("delete {third}", "told"), "delete", "delete no-such", ("delete {key}", GONE)),
    row("store", ("store {file}", "key "), "store", "store {nowhere}", ("store {file}", TIMED_OUT)),
    row("test", ("test {file}", "equal"), "test", "test {nowhere}", ("test {file}", TIMED_OUT)),
    row(
        "import",
        ("import {blocks}", "imported 1 block"),
        "import",
        "import {nowhere}",
        ("import {blocks}", TIMED_OUT),
    ),
    row(
        "wait",
        ("wait copies {key} 2", "true after"),
        "wait",
        "wait copies no-such",
        ("wait copies {key} 2 --deadline 1s", TIMED_OUT),
    ),
    row("ping", ("ping 127.0.0.1:{port}", "{id}"), "ping", "ping no-such-host.invalid:1", ("ping {silent}", TIMED_OUT)),
    row("clear", ("clear {other}", "cleared 1"), "clear", "clear no-such", NOBODY),
    row("name", ("name {key} again", "is called again"), "name {key}", "name no-such x", NOBODY),
    row("forget", ("forget again", "forgot again"), "forget", "forget no-such", NOBODY),
    row("files", ("files", "folder/"), "files a b", "", NOBODY),
    row("list", ("list", "3000"), "list more", "", NOBODY),
    row("lookup", ("lookup {key}", "key "), "lookup", "lookup no-such", NOBODY),
    row("scrub", ("scrub", "all sound"), "scrub now", "", NOBODY),
    row("peers", ("peers", "{id}"), "peers now", "", NOBODY),
    row("table", ("table", "bucket"), "table now", "", NOBODY),
    row("status", ("status", "overlay"), "status now", "", NOBODY),
    row("threads", ("threads", "sweeper"), "threads now", "", NOBODY),
    row("pause", ("pause 0.1", "stood still for "), "pause 61", "", NOBODY),
    row("jobs", ("jobs", ""), "jobs now", "", NOBODY),
    row("cancel", ("", ""), "cancel x", "cancel 99", NOBODY),
    row("help", ("help store", "store FILE"), "help no-such", "", NOBODY),
    row("quit", ("", ""), "quit now", "", NOBODY),
];

/// A peer that is asked in one of the ways.
trait Way {
    /// Gives a command; asserts that it comes to one of these codes, and if it is done, that this is shown.
    fn give(&mut self, line: &str, expected: Codes, shown: &str);

    /// Stores something and returns its key.
    fn store(&mut self, path: &Path) -> String;
}

struct Ctl(PeerProcess);

impl Way for Ctl {
    fn give(&mut self, line: &str, expected: Codes, shown: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let output = run(&[&["ctl", "--data", text(&self.0.data)], &words[..]].concat());
        assert!(code(&output).is_some_and(|code| expected.contains(&code)), "{line}: {output:?}");
        assert!(expected != DONE || printed(&output).contains(shown), "{line}: {}", printed(&output));
    }

    fn store(&mut self, path: &Path) -> String {
        let output = run(&["ctl", "--data", text(&self.0.data), "store", "-q", text(path)]);
        assert_eq!(code(&output), Some(0), "{}", said(&output));
        printed(&output).trim().to_owned()
    }
}

struct Pipe(PeerProcess);

impl Way for Pipe {
    fn give(&mut self, line: &str, expected: Codes, _shown: &str) {
        let answer = self.0.ask(line);
        let code = code_of(&answer);
        assert!(code.map_or(expected != DONE, |code| expected.contains(&code)), "{line}: {answer}");
    }

    fn store(&mut self, path: &Path) -> String {
        self.0.ask(&format!("store '{}'", path.display()))["key"].as_str().expect("a key").to_owned()
    }
}

/// The exit code of a peer whose only command had this answer; none if it failed and does not say of which kind.
fn code_of(answer: &Value) -> Option<i32> {
    let told = match answer["answer"].as_str().expect("an answer") {
        "failed" => &answer["kind"],
        "checked" => &answer["health"],
        "tested" => answer["files"][0].get("kind").unwrap_or(&Value::Null),
        "imported" if answer["failed"].as_array().is_some_and(|failed| !failed.is_empty()) => return None,
        _ => &Value::Null,
    };
    match told.as_str() {
        None | Some("whole") => Some(0),
        Some("usage") => Some(2),
        Some("not_found") => Some(4),
        Some("timed_out" | "too_few_copies") => Some(5),
        Some("unknown") => Some(9),
        Some(other) => panic!("{other}: {answer}"),
    }
}

impl Way for AtTerminal {
    fn give(&mut self, line: &str, expected: Codes, shown: &str) {
        self.press(&format!("{line}\r"));
        self.expect("\r\n");
        match expected {
            DONE => self.expect(shown),
            UNKNOWN if line.starts_with("check") => self.expect("unknown"),
            _ => self.expect("error: "),
        }
        self.expect("kadring> ");
    }

    fn store(&mut self, path: &Path) -> String {
        self.press(&format!("store '{}'\r", path.display()));
        self.expect("key ");
        let key = self.next(64);
        self.expect("kadring> ");
        key
    }
}

/// Two peers, what was stored through the one that is asked, and what lines name.
struct Scene {
    folder: TempDir,
    other: PeerProcess,
    names: Vec<(&'static str, String)>,
    /// Places that were taken for files to come.
    taken: usize,
}

impl Scene {
    /// The other peer, and the options of the one that joins it: each block has to be with both.
    fn new() -> (Self, [String; 4]) {
        let folder = folder();
        let other = Launch::new(folder.path().join("elsewhere")).args(&["--quorum", "2"]).start();
        let options = ["--quorum", "2", "--bootstrap", &format!("127.0.0.1:{}", other.port)].map(str::to_owned);
        let names = vec![("id", other.id.clone()), ("port", other.port.to_string()), ("gone", KEY.to_owned())];
        (Self { folder, other, names, taken: 0 }, options)
    }

    fn launch(&self, options: &[String; 4]) -> PeerProcess {
        Launch::new(self.folder.path().join("asked")).args(&options.each_ref().map(String::as_str)).start()
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Stores what the lines are about.
    fn fill(&mut self, way: &mut dyn Way) {
        for (seed, name) in [(1, "key"), (2, "other"), (3, "third")] {
            let (path, _) = file(&self.folder, &format!("file{seed}"), seed, 3000);
            self.names.push((name, way.store(&path)));
        }
        let (tree, blocks) = (self.place("folder"), self.place("blocks"));
        fs::create_dir(&tree).and_then(|()| fs::create_dir(&blocks)).expect("writable");
        fs::write(tree.join("small"), "hi\n").expect("writable");
        fs::write(tree.join("large"), bytes(4, 1_500_000)).expect("writable");
        self.names.push(("folder", way.store(&tree)));
        let block = bytes(5, 100);
        fs::write(blocks.join(Id::of(&block).to_string()), block).expect("writable");
        let places = [("file", "file1"), ("blocks", "blocks"), ("nowhere", "nowhere")];
        let places = places.map(|(name, at)| (name, self.place(at).display().to_string()));
        self.names.extend(places);
    }

    /// A line with what it names: `{new}` is a place where nothing is yet.
    fn line(&mut self, line: &str) -> String {
        self.taken += 1;
        let new = self.place(&format!("new {}", self.taken)).display().to_string().replace(' ', "-");
        let filled =
            self.names.iter().fold(line.to_owned(), |line, (name, to)| line.replace(&format!("{{{name}}}"), to));
        filled.replace("{new}", &new)
    }

    fn give(&mut self, way: &mut dyn Way, line: &str, expected: Codes, shown: &str) {
        if !line.is_empty() {
            let (line, shown) = (self.line(line), self.line(shown));
            way.give(&line, expected, &shown);
        }
    }

    fn play(mut self, mut way: impl Way) {
        let help = self.other.ask("help");
        let commands = help["commands"].as_array().expect("commands");
        let known: BTreeSet<&str> = commands.iter().filter_map(|command| command["name"].as_str()).collect();
        assert_eq!(ROWS.iter().map(|row| row.name).collect::<BTreeSet<_>>(), known, "a row for each command");
        self.fill(&mut way);
        for row in &ROWS {
            self.give(&mut way, row.done, DONE, row.shown);
            self.give(&mut way, row.usage, USAGE, "");
            self.give(&mut way, row.missing, NOT_FOUND, "");
        }
        let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
        self.names.push(("silent", silent.local_addr().expect("bound").to_string()));
        // It would bring back what is cleared.
        self.other.signal(Signal::SIGSTOP);
        for name in ["clear --force {key}", "clear --force {folder}"] {
            self.give(&mut way, name, DONE, "cleared");
        }
        for row in &ROWS {
            self.give(&mut way, row.silent.0, row.silent.1, "");
        }
    }
}

#[test]
fn through_the_control_socket_each_command_ends_with_the_code_of_what_came_of_it() {
    let (scene, options) = Scene::new();
    let way = Ctl(scene.launch(&options));
    scene.play(way);
}

#[test]
fn through_a_pipe_each_command_has_one_answer_that_says_what_came_of_it() {
    let (scene, options) = Scene::new();
    let way = Pipe(scene.launch(&options));
    scene.play(way);
}

#[test]
fn at_a_terminal_each_command_shows_what_came_of_it() {
    let (scene, options) = Scene::new();
    let mut way = AtTerminal::start_with(&scene.folder, &options.each_ref().map(String::as_str));
    way.expect("kadring> ");
    scene.play(way);
}
