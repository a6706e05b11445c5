//! What the command line and the environment ask for.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::running::{KEY, assert_ends, code, folder, printed, run, said, text};
use crate::support::{Launch, program};

#[test]
fn help_and_version_are_answered() {
    for args in [&["--help"][..], &["peer", "--help"], &["help", "retrieve"], &["--version"]] {
        let output = run(args);
        assert_eq!((code(&output), said(&output).as_str()), (Some(0), ""), "{args:?}");
        assert!(printed(&output).contains("kadring"), "{args:?}");
    }
    for task in ["store", "retrieve", "delete", "ctl"] {
        assert!(printed(&run(&[task, "--help"])).contains("Exit codes:"), "{task}");
    }
    let help = printed(&run(&["peer", "--help"]));
    for word in ["--ready-file", "KADRING_PORT", "Exit codes:", "could not start"] {
        assert!(help.contains(word), "{word} is not explained:\n{help}");
    }
}

#[test]
fn who_asks_wrongly_is_told_and_gets_2() {
    for (args, reason) in [
        (&[][..], "Usage"),
        (&["frobnicate"], "frobnicate"),
        (&["status", "--data", "d"], "kadring ctl --data DIR status"),
        (&["list"], "kadring ctl --data DIR list"),
        (&["peer", "--prot", "1"], "--port"),
        (&["peer", "--port", "70000"], "70000"),
        (&["peer", "--bind", "nowhere"], "nowhere"),
        (&["peer", "--replicas", "0"], "1..=7"),
        (&["peer", "--replicas", "8"], "1..=7"),
        (&["peer", "--replicas", "2", "--quorum", "3"], "--quorum 3 can never be reached"),
        (&["peer", "--id", "abc"], "64 hexadecimal digits"),
        (&["peer", "--capacity", "much"], "much"),
        (&["peer", "--bootstrap", "localhost"], "there is no port"),
        (&["peer", "--overlay", "tree"], "tree"),
        (&["store", "x"], "--bootstrap"),
        (&["retrieve", &KEY[1..], "x", "--bootstrap", "127.0.0.1:1"], "has 63"),
        (&["ping", "127.0.0.1"], "there is no port"),
        (&["completions", "sh"], "sh"),
    ] {
        assert_ends(args, 2, reason);
    }
}

#[test]
fn as_json_whatever_goes_wrong_before_a_command_begins_is_one_answer() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "no = [").expect("writable");
    for (args, code_of_it, kind, reason) in [
        (&["frobnicate"][..], 2, "usage", "frobnicate"),
        (&["peer", "--port", "70000"], 2, "usage", "invalid value '70000' for '--port <PORT>'"),
        (&["store"], 2, "usage", "not provided: <--bootstrap <HOST:PORT>|--data <DIR>> <FILE>..."),
        (&["peer", "--config", text(&file)], 2, "usage", "unclosed array"),
        (&["peer", "--port", "0", "--data", "/proc/none"], 7, "not_started", "data folder"),
        (&["ring", "init", "300", "4", "5", "30"], 2, "usage", "300"),
        (&["report", "127.0.0.1:9", "--once"], 5, "timed_out", "127.0.0.1:9"),
        (&["ctl", "--data", "/proc/none", "status"], 5, "timed_out", "no peer runs"),
        (&["ping", "127.0.0.1"], 2, "usage", "there is no port"),
    ] {
        let output = run(&[args, &["--json"]].concat());
        let answer: Value = serde_json::from_str(&printed(&output)).unwrap_or_else(|_| panic!("{args:?}: {output:?}"));
        assert_eq!((code(&output), said(&output).as_str()), (Some(code_of_it), ""), "{args:?}");
        assert_eq!((&answer["answer"], &answer["kind"]), (&json!("failed"), &json!(kind)), "{args:?}: {answer}");
        assert!(answer["reason"].as_str().is_some_and(|told| told.contains(reason)), "{args:?}: {answer}");
    }
    let by_variable = program().arg("frobnicate").env("KADRING_JSON", "1").output().expect("it runs");
    assert!(printed(&by_variable).starts_with("{\"answer\":\"failed\""), "{by_variable:?}");
}

#[test]
fn what_is_typed_wrongly_is_told_in_the_words_of_what_was_asked_for() {
    let store = |manifest| ["store", "file", "--manifest", manifest, "--bootstrap", "127.0.0.1:9"];
    assert_ends(&store("-"), 2, "standard output carries the answer; a file of that name is ./-");
    assert_ends(&["retrieve", "-", "back", "--bootstrap", "127.0.0.1:9"], 2, "a file of that name is ./-");
    assert_ends(&["peer", "--id", "z"], 2, "\"z\" is no id, which has 64 hexadecimal digits; this has 1 character");
    let no_key = "\"zz\" is no key, which has 64 hexadecimal digits, and no name in the catalogue";
    assert_ends(&["lookup", "zz", "--bootstrap", "127.0.0.1:9"], 4, no_key);
    let tip = "tip: as the value of '--name' it is given by '--name=-x'";
    assert_ends(&["store", "file", "--name", "-x", "--bootstrap", "127.0.0.1:9"], 2, tip);
    // What follows a word that takes no value is a word of its own.
    assert_ends(&["store", "--quiet", "-x", "--bootstrap", "127.0.0.1:9"], 2, "use '-- -x'");
    assert_ends(&["peer", "--capacity", "10Q"], 2, "a size is a number of bytes, or of units such as 500MB");
}

#[test]
fn the_json_of_answers_is_documented() {
    let page = printed(&run(&["json"]));
    assert!(page.contains("left_behind  blocks that no other peer took"), "{page}");
    assert!(printed(&run(&["help", "json"])).contains("left_behind"));
}

#[test]
fn manual_pages_tell_of_every_task() {
    let page = printed(&run(&["man"]));
    assert!(page.starts_with(".ie") && page.contains("kadring") && page.contains("retrieve"), "{page}");
    let folder = folder();
    let pages = folder.path().join("made/with/it");
    assert_eq!(code(&run(&["man", super::running::text(&pages)])), Some(0));
    let page = fs::read_to_string(pages.join("kadring-peer.1")).expect("a page for each task");
    assert!(page.contains("ready") && page.contains("exit\\-on\\-eof"), "{page}");
    assert_eq!(code(&run(&["man", "/dev/null/folder"])), Some(1));
}

#[test]
fn a_client_that_names_no_way_to_the_network_is_told_both() {
    for way in ["--bootstrap <HOST:PORT>", "--data <DIR>"] {
        assert_ends(&["store", "/dev/null"], 2, way);
    }
}

#[test]
fn completions_know_every_task_and_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&run(&["completions", shell]));
        for word in ["retrieve", "ready-file", "no-handover", "overlay"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn every_option_can_come_from_the_environment() {
    let folder = folder();
    let (data, ready) = (folder.path().join("data"), folder.path().join("ready"));
    let mut child = program()
        .arg("peer")
        .envs([("KADRING_PORT", "0"), ("KADRING_ID", KEY), ("KADRING_JSON", "1"), ("KADRING_EXIT_ON_EOF", "true")])
        .envs([("KADRING_DATA", &data), ("KADRING_READY_FILE", &ready)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("piped").write_all(b"status\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let lines = printed(&output);
    let mut lines = lines.lines();
    let mut announced: Value = serde_json::from_str(lines.next().expect("it is ready")).expect("JSON");
    let status: Value = serde_json::from_str(lines.next().expect("an answer")).expect("JSON");
    assert_eq!((code(&output), lines.next()), (Some(0), None));
    assert_eq!((&announced["id"], &status["me"]["id"]), (&json!(KEY), &json!(KEY)));
    assert!(data.join("blocks").is_dir());
    let fields = announced.as_object_mut().expect("an object");
    assert_eq!((fields.remove("event"), fields.remove("time").is_some()), (Some(json!("ready")), true));
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(&ready).expect("written")).expect("JSON"), announced);
}

#[test]
fn a_variable_that_is_set_but_empty_counts_as_not_set() {
    let folder = folder();
    let names = ["PORT", "BIND", "BOOTSTRAP", "ID", "REPLICAS", "CAPACITY", "READY_FILE", "JSON", "QUORUM"];
    let launch = Launch::new(folder.path().join("data"));
    let launch = names.iter().fold(launch, |launch, name| launch.env(&format!("KADRING_{name}"), ""));
    assert_eq!(launch.start().ask("status")["peers"], json!(0));
}

#[test]
fn a_command_line_option_wins_over_the_environment() {
    let folder = folder();
    let other = KEY.replace('9', "1");
    let peer = Launch::new(folder.path().join("data")).env("KADRING_ID", &other).args(&["--id", KEY]).start();
    assert_eq!(peer.id, KEY);
}
