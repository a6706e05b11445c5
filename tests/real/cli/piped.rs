//! Commands for a running peer that come as lines of a client's standard input.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::running::{KEY, code, folder, printed, said, text};
use crate::support::{Ended, Launch, PeerProcess, bytes, file, program, until};

fn begin(peer: &PeerProcess, options: &[&str]) -> Child {
    let mut client = program();
    client.args(["ctl", "--data", text(&peer.data)]).args(options).current_dir(peer.data.parent().expect("a folder"));
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// What comes of these lines.
fn piped(peer: &PeerProcess, options: &[&str], lines: &str) -> Output {
    let mut client = begin(peer, options);
    client.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    client.wait_with_output().expect("it ends")
}

#[test]
fn lines_piped_to_ctl_are_done_in_order_by_the_running_peer() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (_, original) = file(&folder, "my file", 2, 300_000);
    let lines = "# a comment\n\nstore 'my file'\r\nretrieve 'my file' back\nls --nonsense\nretrieve back back.2";
    let done = piped(&peer, &["--json"], lines);
    let answers: Vec<Value> =
        printed(&done).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let names: Vec<&str> = answers.iter().map(|answer| answer["answer"].as_str().expect("a name")).collect();
    assert_eq!(names, ["stored", "retrieved", "failed", "failed"], "{answers:?}");
    assert!(fs::read(folder.path().join("back")).expect("it came back") == original);
    let cat = piped(&peer, &[], "cat 'my file'\n");
    assert!((code(&cat), cat.stdout) == (Some(0), original), "{}", String::from_utf8_lossy(&cat.stderr));
}

#[test]
fn ctl_ends_as_the_first_of_its_piped_lines_that_failed() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let ended = |lines: &str| {
        let output = piped(&peer, &[], lines);
        (code(&output), printed(&output).lines().count(), said(&output))
    };
    let missing = format!("retrieve {KEY} nowhere");
    assert_eq!(ended(&format!("threads\n{missing}\nfrobnicate\n")).0, Some(4));
    assert_eq!(ended(&format!("frobnicate\n{missing}\n")).0, Some(2));
    assert_eq!(ended("# nothing\n\n"), (Some(0), 0, String::new()));
    for (lines, said) in
        [("store -\n", "standard input holds the commands"), ("store 'a\n", "quote"), ("", "no command")]
    {
        let (code, printed, told) = ended(lines);
        assert!((code, printed) == (Some(2), 0) && told.contains(said), "{lines:?}: {told}");
    }
}

#[test]
fn ctl_without_a_command_does_not_wait_for_a_terminal() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let pair = nix::pty::openpty(None, None).expect("a terminal");
    let mut client = program();
    client.args(["ctl", "--data", text(&peer.data)]).stdin(pair.slave);
    let output = client.output().expect("it ends by itself");
    assert_eq!(code(&output), Some(2), "{}", said(&output));
    assert!(said(&output).contains("which is a terminal"), "{}", said(&output));
}

#[test]
fn a_signal_ends_ctl_while_it_waits_for_a_line_and_many_lines_need_no_more_descriptors() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (_, original) = file(&folder, "small", 2, 100);
    let mut client = begin(&peer, &["--json"]);
    let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines();
    let mut stdin = client.stdin.take().expect("piped");
    let mut ask = |line: &str, answers: &str| {
        writeln!(stdin, "{line}").expect("it reads");
        let answer: Value = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
        assert_eq!(answer["answer"], json!(answers), "{answer}");
    };
    let open = || fs::read_dir(format!("/proc/{}/fd", client.id())).expect("it runs").count();
    ask("store small", "stored");
    let before = open();
    for _ in 0..20 {
        ask("status", "status");
    }
    // Those of the last line, and of the one before them, may be open at this moment.
    let more = open().saturating_sub(before);
    assert!(more < 20, "{more} descriptors stay open");
    kill(Pid::from_raw(client.id().try_into().expect("a process id")), Signal::SIGTERM).expect("it runs");
    assert_eq!(client.wait().expect("it ends").signal(), Some(Signal::SIGTERM as i32));
    // The files that went to standard output have left nothing behind either.
    let cats = piped(&peer, &[], &"cat small\n".repeat(5));
    assert!(cats.stdout == original.repeat(5), "{}", said(&cats));
}

#[test]
fn a_signal_ends_a_client_of_a_running_peer_while_it_reads_what_is_to_be_stored_and_nothing_is_stored() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let data = text(&peer.data);
    // More than a pipe holds: once it is written, the client reads.
    let begun = bytes(3, 1 << 18);
    for words in [&["ctl", "--data", data, "store", "-"][..], &["store", "-", "--data", data]] {
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
            let client = program().args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let mut client = Ended(client.expect("it starts"));
            client.0.stdin.as_mut().expect("piped").write_all(&begun).expect("it reads");
            kill(Pid::from_raw(client.0.id().cast_signed()), signal).expect("it runs");
            let mut ended = None;
            until(|| {
                ended = client.0.try_wait().expect("it is ours");
                ended.is_some()
            });
            assert_eq!(ended.and_then(|ended| ended.signal()), Some(signal as i32), "{words:?}");
            let answer = std::io::read_to_string(client.0.stdout.take().expect("piped")).expect("text");
            assert_eq!(answer, "", "{words:?}");
        }
    }
    assert_eq!(peer.blocks(), Vec::<String>::new());
}
