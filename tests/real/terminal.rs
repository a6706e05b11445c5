//! What a user types and reads at a terminal: prompt, completion, history, and the keys that end something.

use std::fs::File;
use std::io::Read;
use std::net::UdpSocket;
use std::process::Stdio;

use crate::support::terminal::AtTerminal;
use crate::support::{DEADLINE, Launch, file, free_ports, program, until};
use kadring::id::Id;
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::{TempDir, tempdir};

fn folder() -> TempDir {
    tempdir().expect("a temporary folder")
}

#[test]
fn a_peer_whose_terminal_is_closed_leaves_as_by_sigterm_and_that_is_no_failure() {
    let folder = folder();
    let data = folder.path().join("data");
    let pty = openpty(None, None).expect("a terminal");
    let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
    let mut peer = program();
    peer.args(["peer", "--port", "0", "--data"]).arg(&data).env("TERM", "xterm");
    let mut peer = peer.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the program starts");
    drop(pty.slave);
    let mut master = File::from(pty.master);
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains("kadring> ") {
        let mut bytes = [0; 4096];
        let len = master.read(&mut bytes).expect("it shows its prompt");
        shown.extend_from_slice(&bytes[..len]);
    }
    drop(master);
    kill(Pid::from_raw(peer.id().cast_signed()), Signal::SIGHUP).expect("it runs");
    until(|| !matches!(peer.try_wait(), Ok(None)));
    assert_eq!(peer.wait().expect("it ended").code(), Some(0));
}

#[test]
fn at_a_terminal_there_is_a_prompt_completion_and_a_history() {
    let folder = folder();
    let (path, _) = file(&folder, "a file with blanks", 6, 100);
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("READY {");
    terminal.expect("kadring> ");
    terminal.press("stat\t\r");
    terminal.expect("overlay   kad");
    terminal.expect("kadring> ");
    terminal.press("?\r");
    terminal.expect("did you mean help?");
    terminal.expect("kadring> ");
    // Tab completes the name, and quotes its blanks.
    terminal.press(&format!("store {}\t\r", folder.path().join("a").display()));
    terminal.expect("100 bytes as 1 block");
    terminal.expect("kadring> ");
    assert!(!path.with_file_name("a").exists());
    terminal.press("\u{1b}[A\u{1b}[A\u{1b}[A\r");
    terminal.expect("overlay   kad");
    terminal.expect("kadring> ");
    // What was stored completes by its name.
    terminal.press(&format!("retrieve a\t {}\r", folder.path().join("back").display()));
    terminal.expect("retrieved 100 bytes");
    terminal.expect("kadring> ");
    assert_eq!(std::fs::read(folder.path().join("back")).expect("there"), std::fs::read(&path).expect("there"));
    terminal.press("quit\r");
    terminal.expect("left; ");
    assert_eq!(terminal.code(), Some(0));
    let history = std::fs::read_to_string(folder.path().join("data/history")).expect("it is kept");
    assert!(history.contains("status") && history.contains("quit"), "{history}");
}

#[test]
fn each_line_of_what_is_pasted_is_a_command() {
    let folder = folder();
    let [(kept, _), (deleted, _)] = ["kept", "deleted"].map(|name| file(&folder, name, 6, 100 + name.len()));
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    for path in [&kept, &deleted] {
        terminal.press(&format!("store {}\r", path.display()));
        terminal.expect("as 1 block");
        terminal.expect("kadring> ");
    }
    // As terminals mark it.
    terminal.press("\u{1b}[200~delete deleted\ncheck kept\nstatus\u{1b}[201~\r");
    terminal.expect("told, with");
    terminal.expect("whole");
    terminal.expect("overlay   kad");
    terminal.expect("kadring> ");
    terminal.press("\u{1b}[A\u{1b}[A\r");
    terminal.expect("whole");
    terminal.press("files\r");
    terminal.expect("kept");
    terminal.press("quit\r");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn ctrl_backslash_at_the_prompt_shows_what_the_threads_are_at_and_ends_nothing() {
    let folder = folder();
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    for _ in 0..2 {
        terminal.press("\u{1c}");
        terminal.expect("udp-recv");
    }
    terminal.press("status\r");
    terminal.expect("overlay   kad");
    terminal.press("quit\r");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn ctrl_c_twice_leaves_and_a_signal_puts_the_terminal_back() {
    let folder = folder();
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    terminal.press("half a li\u{3}");
    terminal.expect("Ctrl-C once more");
    terminal.expect("kadring> ");
    terminal.press("\u{3}");
    assert_eq!(terminal.code(), Some(0));
    assert!(terminal.line_mode());

    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    until(|| !terminal.line_mode());
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.code(), Some(0));
    assert!(terminal.line_mode(), "whoever comes next can type");
}

#[test]
fn ctrl_d_is_answered_and_ends_neither_the_peer_nor_its_console() {
    let folder = folder();
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    for _ in 0..2 {
        terminal.press("\u{4}");
        terminal.expect("Ctrl-D does not end this peer");
        terminal.expect("kadring> ");
    }
    terminal.press("status\r");
    terminal.expect("overlay   kad");
    terminal.press("quit\r");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn ctrl_d_ends_a_peer_that_was_told_to_end_with_its_input() {
    let folder = folder();
    let mut terminal = AtTerminal::start_with(&folder, &["--exit-on-eof"]);
    terminal.expect("kadring> ");
    terminal.press("\u{4}");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn what_other_threads_say_is_shown_above_the_prompt() {
    let folder = folder();
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    let port: u16 = {
        let after = terminal.text.split("\"udp\":").nth(1).expect("it was shown");
        after.split(|c: char| !c.is_ascii_digit()).next().and_then(|port| port.parse().ok()).expect("a port")
    };
    terminal.press("stat");
    terminal.expect("stat");
    let other = Launch::new(folder.path().join("other")).through(port).start();
    terminal.expect("is here");
    // What was typed stands there again, below the news.
    terminal.expect("stat");
    terminal.press("us\r");
    terminal.expect("peers     1");
    drop(other);
}

#[test]
fn ctrl_c_ends_a_pause_and_the_peer_goes_on() {
    let folder = folder();
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    terminal.press("pause 60\r");
    terminal.expect("the node stands still for 60 s");
    until(|| terminal.line_mode());
    terminal.signal(Signal::SIGINT);
    terminal.expect("stood still for ");
    terminal.expect("kadring> ");
    terminal.press("quit\r");
    assert_eq!(terminal.code(), Some(0));
}

/// Cancels a ping to somebody who never answers, once it is under way.
fn cancel_a_command(terminal: &mut AtTerminal) {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    silent.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    terminal.expect("kadring> ");
    terminal.press(&format!("ping {}\r", silent.local_addr().expect("bound")));
    silent.recv_from(&mut [0; 2000]).expect("it is asked");
    assert!(terminal.line_mode(), "Ctrl-C is a signal now");
    terminal.signal(Signal::SIGINT);
    terminal.expect("error: cancelled");
    terminal.expect("kadring> ");
}

#[test]
fn ctrl_c_cancels_the_command_under_way_and_the_peer_goes_on() {
    let folder = folder();
    let mut terminal = AtTerminal::start(&folder);
    cancel_a_command(&mut terminal);
    terminal.press("status\r");
    terminal.expect("overlay   kad");
    terminal.expect("kadring> ");
    terminal.press("quit\r");
    terminal.expect("left; ");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn ctrl_c_ends_no_job_beside_the_lines_and_no_command_of_another_shell() {
    let folder = folder();
    let mut terminal = AtTerminal::start(&folder);
    let data = folder.path().join("data").display().to_string();
    let ctl = |words: &[&str]| {
        let mut client = program();
        client.args(["ctl", "--data", &data]).args(words).stdin(Stdio::null()).stderr(Stdio::null());
        client
    };
    let both_run = || {
        let jobs = ctl(&["jobs"]).output().expect("it runs").stdout;
        let jobs = String::from_utf8_lossy(&jobs).into_owned();
        ["wait peers 50", "wait peers 60"].iter().all(|line| jobs.contains(line))
    };
    terminal.expect("kadring> ");
    terminal.press("wait peers 50 &\r");
    terminal.expect("runs: wait peers 50");
    let mut other = ctl(&["wait", "peers", "60"]).stdout(Stdio::null()).spawn().expect("it starts");
    until(both_run);
    terminal.press("\u{3}");
    terminal.expect("Ctrl-C once more");
    assert!(both_run(), "at the prompt it ends nothing");
    // A second one within this time would end the peer.
    std::thread::sleep(kadring::config::INTERRUPT_WINDOW);
    terminal.press("wait peers 70\r");
    until(|| terminal.line_mode());
    terminal.signal(Signal::SIGINT);
    terminal.expect("error: cancelled");
    assert!(both_run(), "it ends the command under way alone");
    terminal.press("quit\r");
    terminal.expect("left");
    assert_eq!(terminal.code(), Some(0));
    assert!(other.wait().is_ok());
}

#[test]
fn a_second_ctrl_c_right_after_one_that_cancelled_ends_the_peer() {
    let folder = folder();
    let mut terminal = AtTerminal::start(&folder);
    cancel_a_command(&mut terminal);
    terminal.press("\u{3}");
    terminal.expect("left; ");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn at_a_terminal_it_is_asked_whether_a_file_may_be_replaced() {
    let folder = folder();
    let (path, original) = file(&folder, "original", 6, 100);
    let dest = folder.path().join("dest");
    std::fs::write(&dest, "dear").expect("writable");
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    terminal.press(&format!("store {}\r", path.display()));
    terminal.expect("key ");
    terminal.expect("kadring> ");
    let key = Id::of(&original);
    for (answer, expected, now) in
        [("\r", "replaced only with --force", b"dear".to_vec()), ("y\r", "retrieved 100 bytes", original)]
    {
        terminal.press(&format!("retrieve {key} {}\r", dest.display()));
        terminal.expect("replace it? [y/N] ");
        terminal.press(answer);
        terminal.expect(expected);
        terminal.expect("kadring> ");
        assert_eq!(std::fs::read(&dest).expect("there"), now);
    }
    terminal.press("quit\r");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn a_client_at_a_terminal_is_asked_as_the_peers_own_console_is() {
    let folder = folder();
    let (path, original) = file(&folder, "original", 6, 100);
    let dest = folder.path().join("dest");
    std::fs::write(&dest, "dear").expect("writable");
    let peer = Launch::new(folder.path().join("peer")).start();
    let data = peer.data.display().to_string();
    let run = |words: &[&str]| program().args(words).stdin(Stdio::null()).output().expect("the program runs");
    let stored = run(&["ctl", "--data", &data, "store", "-q", &path.display().to_string()]);
    let key = String::from_utf8(stored.stdout).expect("a key");
    let dest_word = dest.display().to_string();
    let words = ["ctl", "--data", &data, "retrieve", key.trim(), &dest_word];
    let unasked = run(&words);
    assert_eq!((unasked.status.code(), std::fs::read(&dest).expect("there")), (Some(2), b"dear".to_vec()));
    for (answer, code, now) in [("\r", 2, b"dear".to_vec()), ("y\r", 0, original)] {
        let mut terminal = AtTerminal::run(&words);
        terminal.expect("replaced only with --force");
        terminal.expect("replace it? [y/N] ");
        terminal.press(answer);
        assert_eq!(terminal.code(), Some(code));
        assert_eq!(std::fs::read(&dest).expect("there"), now);
    }
}

#[test]
fn at_a_terminal_a_departure_shows_how_many_blocks_are_handed_over_on_quit_and_on_a_signal() {
    for by_signal in [false, true] {
        let folder = folder();
        let (path, _) = file(&folder, "original", 6, 100);
        let other = Launch::new(folder.path().join("other")).start();
        let bootstrap = format!("127.0.0.1:{}", other.port);
        let mut terminal = AtTerminal::start_with(&folder, &["--bootstrap", &bootstrap]);
        terminal.expect("kadring> ");
        terminal.press(&format!("store {}\r", path.display()));
        terminal.expect("key ");
        terminal.expect("kadring> ");
        other.signal(Signal::SIGSTOP);
        if by_signal {
            terminal.signal(Signal::SIGTERM);
        } else {
            terminal.press("quit\r");
        }
        terminal.expect("handing over [");
        terminal.expect("0 of 1 block");
        terminal.expect("1 left behind");
        assert_eq!(terminal.code(), Some(5));
    }
}

#[test]
fn at_a_terminal_the_answer_of_a_command_that_runs_beside_comes_above_the_prompt() {
    let folder = folder();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    terminal.press(&format!("ping {} &\r", silent.local_addr().expect("bound")));
    terminal.expect("[1] runs: ping ");
    terminal.expect("kadring> ");
    terminal.press("cancel 1\r");
    terminal.expect("[1] is cancelled");
    terminal.expect("kadring> ");
    terminal.press("stat");
    if !terminal.text.contains("[1] error: cancelled") {
        terminal.expect("[1] error: cancelled");
    }
    terminal.press("us\r");
    terminal.expect("overlay   kad");
    terminal.press("quit\r");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn the_classroom_ring_has_the_line_editor_too_and_its_lines_come_above_the_prompt() {
    let folder = folder();
    let port = free_ports() + 7;
    let (base, dir) = ((port - 7).to_string(), folder.path().display().to_string());
    let arguments = ["ring", "init", "7", "7", "7", "0.3", "--base-port", &base, "--dir", &dir];
    let mut terminal = AtTerminal::run(&arguments);
    terminal.expect("7 kadring> ");
    terminal.press("stat\t\r");
    terminal.expect("overlay   ring");
    terminal.press("store 0042\r");
    terminal.expect("> Store 0042 request accepted");
    terminal.press("\u{1b}[A\r");
    terminal.expect("> Store 0042 request accepted");
    terminal.press("store x\r");
    terminal.expect("> error: ");
    // Ctrl-C is the assignment's abrupt departure, and the terminal is as it was.
    terminal.press("\u{3}");
    assert_eq!(terminal.code(), None);
    assert!(terminal.line_mode());
    let mut terminal = AtTerminal::run(&arguments);
    terminal.expect("7 kadring> ");
    until(|| !terminal.line_mode());
    terminal.signal(Signal::SIGINT);
    assert_eq!(terminal.code(), None);
    assert!(terminal.line_mode(), "whoever comes next can type");
    let mut terminal = AtTerminal::run(&arguments);
    terminal.expect("7 kadring> ");
    terminal.press("quit\r");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn at_a_terminal_a_folder_is_stored_listed_and_retrieved_and_odd_names_are_spelled_out() {
    let folder = folder();
    let things = folder.path().join("things");
    std::fs::create_dir_all(things.join("docs")).expect("writable");
    std::fs::write(things.join("docs/readme"), "hello \u{1b}[2J\tthere\n").expect("writable");
    std::fs::write(things.join("odd\u{1b}[2J"), "x").expect("writable");
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    for (line, shown) in [
        (format!("store {}", things.display()), "2 files, 1 folder"),
        ("ls things".to_owned(), "odd\\u{1b}[2J"),
        ("cat things/docs/readme".to_owned(), "hello \\u{1b}[2J\tthere"),
        (format!("retrieve things {}", folder.path().join("back").display()), "retrieved 2 files, 1 folder"),
        // Of what stands there it is asked, and nothing of it is lost.
        (format!("retrieve things/docs {}", folder.path().join("back").display()), "replace it? [y/N] "),
    ] {
        terminal.press(&format!("{line}\r"));
        terminal.expect(shown.split('\t').next().unwrap_or_default());
        if !shown.starts_with("replace") {
            terminal.expect("kadring> ");
        }
    }
    terminal.press("y\r");
    terminal.expect("what stood there is now ");
    terminal.expect("kadring> ");
    assert!(folder.path().join("back.before-1/docs/readme").exists() && folder.path().join("back/readme").exists());
    terminal.press("quit\r");
    terminal.expect("left; ");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn ctrl_c_ends_the_store_of_a_folder_and_the_peer_goes_on() {
    let folder = folder();
    let things = folder.path().join("things");
    std::fs::create_dir(&things).expect("writable");
    std::fs::write(things.join("a"), "a").expect("writable");
    // So much takes minutes, and needs no room.
    File::create(things.join("zeros")).and_then(|file| file.set_len(64 << 30)).expect("writable");
    let mut terminal = AtTerminal::start(&folder);
    terminal.expect("kadring> ");
    terminal.press(&format!("store {}\r", things.display()));
    terminal.expect("storing things");
    terminal.expect("64");
    terminal.signal(Signal::SIGINT);
    terminal.expect("cancelled");
    terminal.expect("kadring> ");
    terminal.press("status\r");
    terminal.expect("doing     0 transfers");
    terminal.expect("kadring> ");
    terminal.press("quit\r");
    terminal.expect("left; ");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn a_repair_shows_how_far_it_is_and_ctrl_c_ends_that_command_alone() {
    let folder = folder();
    let other = Launch::new(folder.path().join("other")).start();
    let bootstrap = format!("127.0.0.1:{}", other.port);
    let mut terminal = AtTerminal::start_with(&folder, &["--bootstrap", &bootstrap]);
    let (path, _) = file(&folder, "o", 6, 30_000_000);
    terminal.expect("kadring> ");
    terminal.press("wait peers 50 &\r");
    terminal.expect("runs: wait peers 50");
    terminal.expect("kadring> ");
    terminal.press(&format!("store {}\r", path.display()));
    terminal.expect("key ");
    terminal.expect("kadring> ");
    // Each time both peers hash all of it: together that takes long.
    terminal.press(&format!("check {} --verify --repair\r", "o ".repeat(200)));
    terminal.expect("checking ");
    terminal.expect("MiB");
    terminal.signal(Signal::SIGINT);
    terminal.expect("cancelled");
    terminal.expect("kadring> ");
    terminal.press("jobs\r");
    terminal.expect("wait peers 50");
    terminal.expect("kadring> ");
    terminal.press("check o --repair\r");
    terminal.expect("whole");
    terminal.expect("kadring> ");
    terminal.press("cancel 1\r");
    terminal.expect("[1] is cancelled");
    terminal.press("quit\r");
    terminal.expect("left; ");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn at_a_terminal_store_of_standard_input_shows_how_much_was_read_meanwhile() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let mut client = AtTerminal::run(&["store", "-", "--bootstrap", &format!("127.0.0.1:{}", peers[0].port)]);
    client.expect("reading standard input");
    client.press("12345\n");
    client.expect("6 B");
    client.press("\u{4}");
    client.expect("stored");
    assert_eq!(client.code(), Some(0));
}

#[test]
fn on_a_terminal_that_moves_no_cursor_it_is_told_why_lines_cannot_be_edited_and_they_are_read() {
    let folder = folder();
    let data = folder.path().join("data").display().to_string();
    let mut peer = AtTerminal::run_on("dumb", &["peer", "--port", "0", "--data", &data]);
    peer.expect("lines cannot be edited on this terminal: by TERM=dumb it moves no cursor");
    peer.press("quit\n");
    peer.expect("left");
    assert_eq!(peer.code(), Some(0));
    assert!(!peer.text.contains("ENOTTY"), "{}", peer.text);
}
