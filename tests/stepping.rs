//! That one can step through what happened, forwards and backwards, in a record and in a storm.

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use support::program;
use support::terminal::AtTerminal;
use tempfile::tempdir;

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name)
}

/// Runs `kadring` with these words, which then reads these lines through a pipe.
fn run(words: &[&str], lines: &str) -> Output {
    let mut child = program()
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// What it prints.
#[track_caller]
fn printed(words: &[&str], lines: &str) -> String {
    let output = run(words, lines);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it is text")
}

/// The words that step through this record.
fn replay(path: &Path) -> [&str; 3] {
    ["replay", "--step", path.to_str().expect("plain")]
}

/// Asserts that each of the parts is in the text, one after the other.
#[track_caller]
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { panic!("no {part:?} in the rest of {text}") };
        rest = behind;
    }
}

#[test]
fn a_record_is_stepped_through_by_every_word() {
    let lines =
        "next\nnext 2\nback\nuntil 2.5\nshow holdings\nshow threads\nbreak saved\nrun\nwhy\nbreak\nbreak none\nrun\n";
    let text = printed(&replay(&recording("kad.jsonl")), lines);
    let parts = [
        "193 moments of 1 peer",
        "       1      0.000000  peer kad starts",
        "⇒ →127.0.0.1:9100 #1 ping",
        "pending   +#1",
        "       3  ",
        "table     +bucket 4: 127.0.0.1:9100",
        "       2  ",
        "the next moment is at 3.856310 s",
        "peer kad, holdings",
        "a3ef9821     502848 bytes",
        "a record says what happened",
        "a break at saved: ",
        "a break; next comes: peer kad  127.0.0.1:9101→ #",
        "first came ",
        "a break at saved\n",
        "no break any more",
        "     193      9.119730  peer kad",
        "the record ends here",
    ];
    assert_in_order(&text, &parts);
}

/// A look at everything that there is to see of these peers.
fn look(peers: &[&str]) -> String {
    let views = ["table", "pending", "jobs", "holdings"];
    let all = peers.iter().flat_map(|peer| views.map(|view| format!("show {view} {peer}\n")));
    format!("show\n{}show\n", all.collect::<String>())
}

/// What stands between the first and the second `show` without a view, the third and the fourth, and so on.
fn looks(text: &str) -> Vec<&str> {
    text.split("there are table, pending, jobs, holdings and threads\n").skip(1).step_by(2).collect()
}

#[test]
fn who_goes_back_finds_everything_as_it_was() {
    for name in ["kad", "ring", "classroom"] {
        let path = recording(&format!("{name}.jsonl"));
        let look = look(&[name]);
        let lines = format!("next 60\n{look}next\n{look}next 30\n{look}back 30\n{look}back\n{look}next 31\n{look}");
        let text = printed(&replay(&path), &lines);
        let [at_60, at_61, at_91, again_61, again_60, again_91] = looks(&text)[..] else { panic!("{text}") };
        assert!(at_60.len() > 100 && at_60 != at_91, "{name}: {at_60}");
        assert_eq!((at_60, at_61, at_91), (again_60, again_61, again_91), "{name}");
    }
}

#[test]
fn who_names_nothing_known_hears_what_there_is() {
    let lines = "jump\nshow all\nshow table 99\nbreak nobody\nnext x\nback 0\nuntil soon\nuntil\nrun\nuntil 1\nrun now\nchoose 1\n";
    let text = printed(&replay(&recording("ring.jsonl")), lines);
    let parts = [
        "'jump' is no word of the stepper; there are next [N], back [N], run",
        "'all' cannot be shown; there are table, pending, jobs, holdings and threads",
        "no peer is called so; there are ring",
        "nothing here is called 'nobody'; there are the commands ",
        "and the peers ring",
        "'x' is no number from 1 on",
        "'0' is no number from 1 on",
        "'soon' is no time: until TIME - ",
        "until TIME - ",
        "the record ends here",
        "s already: `back` goes back",
        "'now' is too much: run - ",
        "what was recorded has happened: only a storm can go another way",
    ];
    assert_in_order(&text, &parts);
}

#[test]
fn of_a_record_that_is_cut_damaged_or_of_another_version_it_is_said_where_and_what_is_left() {
    let folder = tempdir().expect("a temporary folder");
    let path = folder.path().join("peer-3.jsonl");
    let whole = fs::read_to_string(recording("kad.jsonl")).expect("it is committed");
    let stepped = |text: &str, lines: &str| {
        fs::write(&path, text).expect("writable");
        run(&replay(&path), lines)
    };
    let shown = |text: &str| String::from_utf8(stepped(text, "run\n").stdout).expect("it is text");
    let cut = shown(&whole[..whole.len() - 9]);
    assert_in_order(
        &cut,
        &["192 moments", "peer 3 ", "middle of a line, its line 194; the 192 moments before it are whole"],
    );
    let lines: Vec<&str> = whole.lines().collect();
    let damaged = shown(&[&lines[..100], &["{\"at\":}"], &lines[100..]].concat().join("\n"));
    assert_in_order(&damaged, &["99 moments", "line 101 of the record is damaged", "keep the first 100 lines"]);
    let foreign = stepped(&whole.replacen(":3,", ":99,", 1), "run\n");
    let said = String::from_utf8(foreign.stderr).expect("it is text");
    assert!(!foreign.status.success() && said.contains("version 99"), "{said}");
    // A record of which the core of today does something else is stepped through, and is told of.
    let forged = stepped(&whole.replacen("127.0.0.1:9100\",\"via\"", "127.0.0.1:9109\",\"via\"", 1), "next\n");
    let told = String::from_utf8(forged.stdout).expect("it is text");
    assert!(!forged.status.success() && told.contains("from moment 1 on the core does something else"), "{told}");
}

#[test]
fn it_begins_where_it_is_told_to() {
    let path = recording("kad.jsonl");
    let words = [&replay(&path)[..], &["--at", "146"]].concat();
    assert_in_order(&printed(&words, "next\n"), &["\n     147  "]);
    let refused = run(&[&replay(&path)[..], &["--at", "194"]].concat(), "");
    let said = String::from_utf8(refused.stderr).expect("it is text");
    assert!(refused.status.code() == Some(2) && said.contains("--at goes from 0 to 193"), "{said}");
}

#[test]
fn at_a_terminal_there_is_a_prompt_that_says_where_one_stands_completion_history_and_colour() {
    let mut terminal = AtTerminal::run(&replay(&recording("kad.jsonl")));
    terminal.expect("step 0 of 193> ");
    terminal.press("ne\t2\r");
    terminal.expect("\u{1b}[36m       1      0.000000  peer kad starts");
    terminal.expect("step 2 of 193> ");
    // The line before.
    terminal.press("\u{1b}[A\r");
    terminal.expect("step 4 of 193> ");
    terminal.press("quit\r");
    assert_eq!(terminal.code(), Some(0));
}
