//! That one can step through what happened, forwards and backwards, in a record and in a storm.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::support::program;
use crate::support::terminal::AtTerminal;
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
    let lines = "next\nnext 2\nback\nuntil 2.0845\nshow holdings\nshow threads\nbreak saved\nrun\nwhy\nbreak\nbreak none\nrun\n";
    let text = printed(&replay(&recording("kad.jsonl")), lines);
    let parts = [
        "103 moments of 1 peer",
        "       1      0.000000  peer kad starts",
        "⇒ →127.0.0.1:9101 #1 ping",
        "pending   +#1",
        "       3  ",
        "table     +bucket 0: 127.0.0.1:9101",
        "       2  ",
        "the next moment is at 2.084806 s",
        "peer kad, holdings",
        "ed86fea4     2400 bytes",
        "a record says what happened",
        "a break at saved: ",
        "a break; next comes: peer kad  127.0.0.1:9101→ #",
        "first came ",
        "a break at saved\n",
        "no break any more",
        "     103     11.235926  peer kad",
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
        "no peer is called '99' of which something happens; there are ring",
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
        &["102 moments", "peer 3 ", "middle of a line, its line 104; the 102 moments before it are whole"],
    );
    let lines: Vec<&str> = whole.lines().collect();
    let damaged = shown(&[&lines[..100], &["{\"at\":}"], &lines[100..]].concat().join("\n"));
    assert_in_order(&damaged, &["99 moments", "line 101 of the record is damaged", "keep the first 100 lines"]);
    let foreign = stepped(&whole.replacen(":3,", ":99,", 1), "run\n");
    let said = String::from_utf8(foreign.stderr).expect("it is text");
    assert!(!foreign.status.success() && said.contains("version 99"), "{said}");
    // A record of which the core of today does something else is stepped through, and is told of.
    let forged = stepped(&whole.replacen("127.0.0.1:9101\",\"via\"", "127.0.0.1:9109\",\"via\"", 1), "next\n");
    let told = String::from_utf8(forged.stdout).expect("it is text");
    assert!(!forged.status.success() && told.contains("from moment 1 on the core does something else"), "{told}");
}

#[test]
fn it_begins_where_it_is_told_to() {
    let path = recording("kad.jsonl");
    let words = [&replay(&path)[..], &["--at", "100"]].concat();
    assert_in_order(&printed(&words, "next\n"), &["\n     101  "]);
    let refused = run(&[&replay(&path)[..], &["--at", "104"]].concat(), "");
    let said = String::from_utf8(refused.stderr).expect("it is text");
    assert!(refused.status.code() == Some(2) && said.contains("--at goes from 0 to 103"), "{said}");
}

#[test]
fn at_a_terminal_there_is_a_prompt_that_says_where_one_stands_completion_history_and_colour() {
    let mut terminal = AtTerminal::run(&replay(&recording("kad.jsonl")));
    terminal.expect("step 0 of 103> ");
    terminal.press("ne\t2\r");
    terminal.expect("\u{1b}[36m       1      0.000000  peer kad starts");
    terminal.expect("step 2 of 103> ");
    // The line before.
    terminal.press("\u{1b}[A\r");
    terminal.expect("step 4 of 103> ");
    terminal.press("quit\r");
    assert_eq!(terminal.code(), Some(0));
}

/// A small storm, in the words that ask for it.
const STORM: &str = "sim --storm --peers 3 --faults 2 --seed 2";

/// The lines that a storm's run, or its steps, end with.
#[track_caller]
fn storm(words: &str, lines: &str) -> String {
    printed(&words.split_whitespace().collect::<Vec<_>>(), lines)
}

/// The digest of a run.
#[track_caller]
fn digest(text: &str) -> &str {
    text.split_once("; trace ")
        .and_then(|(_, rest)| rest.lines().next())
        .unwrap_or_else(|| panic!("no digest in {text}"))
}

#[test]
fn a_storm_is_stepped_through_with_its_faults_and_ends_as_it_does_alone() {
    let look = look(&["0", "1", "2"]);
    let lines = format!(
        "break command\nrun\nnext\nwhy\nbreak none\n{look}next 40\n{look}back 40\n{look}next 40\n{look}show threads\nuntil 50\nrun\n"
    );
    let text = storm(&format!("{STORM} --step"), &lines);
    let parts = [
        "moments of 3 peers",
        "a break; next comes: peer ",
        "command 0: store ",
        "first came a user",
        "no break any more",
    ];
    assert_in_order(&text, &parts);
    assert_in_order(&text, &["the simulator has no threads", "the next moment is at ", "all in order after "]);
    let [before, after, again, anew] = looks(&text)[..] else { panic!("{text}") };
    assert!(before != after && before == again && after == anew, "{text}");
    assert_eq!(digest(&text), digest(&storm(STORM, "")), "to look changes nothing");
    // Whatever struck is told of where it struck.
    let all = storm(&format!("{STORM} --step"), "next 100000\n");
    assert!(all.lines().filter(|line| line.starts_with("          ! ")).count() >= 2, "both faults are shown");
}

#[test]
fn what_is_chosen_is_written_down_and_comes_again_with_the_same_digest() {
    let lines = "break command\nrun\nbreak none\nnext 5\nchoose\nchoose 2\nback\nchoose 99\nchoose 3\nnext 9\nrun\n";
    let text = storm(&format!("{STORM} --step"), lines);
    let (_, again) = text.split_once("to go the same way again: kadring ").expect("what was chosen");
    let (plan, choice) = again.trim_end().split_once(" --choose ").expect("a choice");
    assert!(choice.ends_with(":3") && !choice.contains(','), "{choice}: the second took the place of the first");
    assert_in_order(&text, &["       2  ", "       3  ", "there is no 99: "]);
    assert_eq!(digest(&text), digest(&storm(again, "")));
    assert_eq!(digest(&text), digest(&storm(&format!("{} --step", again.trim_end()), "run\n")));
    assert_ne!(digest(&text), digest(&storm(plan, "")), "something else came first");
    for (choice, reason) in
        [("40:99", "--choose 40:99 cannot be done: "), ("999999:1", "--choose 999999:1 was never come to")]
    {
        let output = run(&format!("{plan} --choose {choice}").split_whitespace().collect::<Vec<_>>(), "");
        let told = String::from_utf8(output.stdout).expect("it is text");
        assert!(!output.status.success() && told.contains(reason), "{told}");
    }
}

#[test]
fn the_story_of_a_saboteur_ends_with_the_command_that_steps_on_from_the_last_good_state() {
    for name in ["lost-tick", "early-outcome"] {
        let story = storm(&format!("sim --storm --saboteur {name}"), "");
        let (_, command) = story.split_once("to step on from the last good state:\n  kadring ").expect("a command");
        let steps = storm(command.lines().next().expect("a line"), "next 2\nrun\n");
        // The wrong that the story tells last is the first that is seen, and then comes the end.
        let (_, wrongs) = story.split_once("the driver did this:\n").expect("what it did");
        let wrong = wrongs.lines().take_while(|line| !line.is_empty()).last().expect("a line");
        let (_, what) = wrong.split_once("  peer ").expect("to a peer");
        let what = what.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start();
        assert_in_order(&steps, &["          ! ", what, "FAILED at "]);
    }
}
