//! What a user types and reads through pipes. At a terminal: `terminal.rs`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::Stdio;

use crate::support::{Launch, PeerProcess, cluster, file, program, until};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::pipe2;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

fn folder() -> TempDir {
    tempdir().expect("a temporary folder")
}

fn alone(folder: &TempDir) -> PeerProcess {
    Launch::new(folder.path().join("data")).start()
}

#[test]
fn a_piped_transcript_reads_like_a_conversation_without_prompts_or_escapes() {
    let folder = folder();
    let (path, _) = file(&folder, "my file", 1, 1000);
    let mut peer = Launch::new(folder.path().join("data")).in_text().args(&["--exit-on-eof"]).start();
    peer.tell(&format!(
        "# a comment\n\nstroe x\nst\nsto '{0}'\nl\nt \"{0}\"\nstore 'open\nhelp retr\nstatus now",
        path.display()
    ));
    peer.close_input();
    let lines = peer.rest();
    let stored = format!("stored {}: 1000 bytes as 1 block (1 copy of each) in ", path.display());
    let starts = [
        "error: there is no command \"stroe\"; did you mean store?",
        "error: \"st\" could be store or status",
        "key ",
        &stored,
        "sha256 ",
    ];
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{start:?} was expected: {lines:#?}");
    }
    let rest = &lines[starts.len()..];
    assert!(rest[1].starts_with("1 block, "), "{rest:#?}");
    assert!(rest[2].ends_with("my file: equal, 1000 bytes"), "{rest:#?}");
    assert!(rest[6].starts_with("error: a quote is not closed"), "{rest:#?}");
    assert!(rest[7].starts_with("retrieve KEY|NAME[/PATH]|MANIFEST DEST"), "{rest:#?}");
    assert_eq!(rest.last().map(String::as_str), Some("error: too many arguments; usage: status"));
    assert!(!lines.iter().any(|line| line.contains('\u{1b}') || line.contains("kadring>")), "{lines:#?}");
    assert_eq!(peer.wait(), Some(2), "one of its lines was asked wrongly");
}

#[test]
fn as_json_every_line_in_is_one_line_out_in_order() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 2, 3_000_000);
    let mut peer = alone(&folder);
    let path = path.display();
    peer.tell(&format!("store '{path}'\nlist\nnonsense\nthreads\nhelp\npeers\ntable\nlookup 0\ntest '{path}'\nstatus"));
    let expected = ["stored", "list", "failed", "threads", "help", "peers", "table", "failed", "tested", "status"];
    for (at, expected) in expected.into_iter().enumerate() {
        let line = peer.line();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert_eq!(answer["answer"], expected, "answer {at}: {line}");
        if at == 1 {
            let blocks = answer["blocks"].as_array().expect("a list").len();
            assert_eq!(blocks, 4, "the store that was asked for before was done before: {line}");
        }
    }
    let threads = peer.ask("threads");
    let named = threads["threads"].to_string();
    for name in ["log", "node", "udp-recv", "tcp-accept", "sweeper", "signals", "console"] {
        assert!(named.contains(name), "{name} is missing: {named}");
    }
}

#[test]
fn threads_are_shown_anew_until_a_line_is_typed_and_those_of_the_program_have_gauges_too() {
    let folder = folder();
    let mut peer = alone(&folder);
    peer.tell("threads --watch");
    for _ in 0..2 {
        let seen = peer.answer();
        let threads = seen["threads"].as_array().expect("a list");
        for name in ["main", "log"] {
            let thread = threads.iter().find(|thread| thread["name"] == name).expect(name);
            assert!(thread["waits"] == true && thread["at"] != "waits", "{thread}");
        }
    }
    peer.tell("status");
    let mut answer = peer.answer();
    while answer["answer"] == "threads" {
        answer = peer.answer();
    }
    assert_eq!(answer["answer"], "status");
}

#[test]
fn hostile_lines_are_answered_and_the_next_is_obeyed() {
    let folder = folder();
    let mut peer = alone(&folder);
    let mut bytes = b"\xff\xfe\x00\n".to_vec();
    bytes.extend(vec![b'x'; 1 << 20]);
    bytes.extend(b"\nstore a\0b\n\x1b[2J\x1b]0;owned\x07\nretrieve \xf0\x9f\x92\xa9 '\n");
    peer.tell_bytes(&bytes);
    for _ in 0..5 {
        let line = peer.line();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert_eq!((answer["answer"].as_str(), answer["kind"].as_str()), (Some("failed"), Some("usage")), "{line}");
        assert!(!answer["reason"].as_str().expect("text").contains(|c: char| c.is_control()), "{line}");
    }
    assert_eq!(peer.ask("status")["answer"], "status");
}

#[test]
fn a_byte_order_mark_before_a_command_is_skipped() {
    let folder = folder();
    let mut peer = alone(&folder);
    peer.tell("\u{feff}status\r\nlist");
    for expected in ["status", "list"] {
        let line = peer.line();
        assert!(line.contains(&format!("\"answer\":\"{expected}\"")), "{line}");
    }
}

#[test]
fn devices_and_pipes_are_neither_read_nor_replaced() {
    use nix::sys::stat::Mode;
    let folder = folder();
    let mut peer = alone(&folder);
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe");
    let (original, _) = crate::support::file(&folder, "original", 1, 1000);
    let key = peer.store(&original);
    let dest = folder.path().join("dest");
    for (line, kind) in [
        (format!("store {}", pipe.display()), "other"),
        (format!("retrieve {} {}", pipe.display(), dest.display()), "usage"),
        (format!("retrieve /dev/zero {}", dest.display()), "usage"),
        (format!("retrieve {key} {}", pipe.display()), "usage"),
    ] {
        let answer = peer.ask(&line);
        assert_eq!((answer["answer"].as_str(), answer["kind"].as_str()), (Some("failed"), Some(kind)), "{answer}");
    }
    let there = std::fs::metadata(&pipe).expect("still there");
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&there.file_type()), "the pipe was replaced");
    assert!(!dest.exists());
}

#[test]
fn a_files_name_cannot_steer_the_terminal() {
    let folder = folder();
    let (path, _) = file(&folder, "evil\u{1b}[31m\nname", 3, 10);
    let mut peer = Launch::new(folder.path().join("data")).in_text().start();
    let shown = path.display().to_string().replace('\u{1b}', "\\u{1b}").replace('\n', "\\n");
    // A line cannot hold the name's line end, so it is asked for by a name that is not there.
    peer.tell(&format!("store '{}'", path.display().to_string().replace('\n', "")));
    let line = peer.line();
    assert!(line.starts_with("error: ") && line.contains(&shown.replace("\\n", "")), "{line:?}");
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[test]
fn the_end_of_the_input_does_not_stop_a_peer() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("data")).env("RUST_LOG", "info").start();
    peer.close_input();
    until(|| peer.said().contains("the input has ended"));
    let ping = program().args(["ping", &format!("127.0.0.1:{}", peer.port)]).output().expect("the program runs");
    assert!(ping.status.success() && peer.is_alive());
    peer.signal(Signal::SIGTERM);
    assert_eq!(peer.wait(), Some(0));
}

#[test]
fn with_exit_on_eof_the_last_answer_still_comes() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 4, 5_000_000);
    let mut peer = Launch::new(folder.path().join("data")).args(&["--exit-on-eof"]).start();
    // The last line has no end, as `printf` writes it.
    peer.tell_bytes(format!("store '{}'\nlist", path.display()).as_bytes());
    peer.close_input();
    let lines = peer.rest();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("\"stored\"") && lines[1].contains("\"list\""), "{lines:#?}");
    assert_eq!(peer.wait(), Some(0));
    assert!(peer.said().contains("their only copies known stay in its data folder"), "{}", peer.said());
}

#[test]
fn the_code_of_the_first_command_that_failed_is_the_peers() {
    for (input, code) in [
        ("store nosuch\nnonsense\nlist\n", 4),
        ("nonsense\nstore nosuch\n", 2),
        ("test nosuch\n", 4),
        ("store 'open\n", 2),
        ("list\nstatus\n", 0),
        ("store nosuch\nquit\n", 4),
    ] {
        let folder = folder();
        let mut peer = Launch::new(folder.path().join("data")).args(&["--exit-on-eof"]).start();
        peer.tell_bytes(input.as_bytes());
        peer.close_input();
        assert_eq!(peer.wait(), Some(code), "{input:?}: {:?}", peer.rest());
    }
}

#[test]
fn a_signal_is_answered_as_a_quit_is_and_a_peer_alone_says_what_becomes_of_the_only_copies() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 5, 1000);
    for (lasting, fate) in [(true, "stay in its data folder"), (false, "are gone with it, for it had no --data")] {
        let mut said = Vec::new();
        for by_signal in [true, false] {
            let mut peer = Launch::new(folder.path().join("data")).in_text();
            if !lasting {
                peer = peer.without_data();
            }
            let mut peer = peer.start();
            peer.tell(&format!("store '{}'", path.display()));
            (0..3).for_each(|_| drop(peer.line()));
            if by_signal {
                peer.signal(Signal::SIGTERM);
            } else {
                peer.tell("quit");
            }
            said.push(peer.rest());
            assert_eq!(peer.wait(), Some(0));
        }
        assert_eq!(said[0], said[1]);
        let expected = format!("left; 0 blocks handed over, 1 left behind: their only copies known {fate}");
        assert_eq!(said[0], [expected]);
    }
}

#[test]
fn quit_is_answered_and_ends_the_peer() {
    for (line, code) in [("quit", 0), ("q --no-handover", 0)] {
        let folder = folder();
        let mut peer = alone(&folder);
        assert_eq!(peer.ask(line)["answer"], "left");
        assert_eq!((peer.wait(), peer.rest()), (Some(code), Vec::new()));
    }
}

#[test]
fn a_peer_whose_answers_nobody_reads_goes_on() {
    let folder = folder();
    let mut child = program()
        .args(["peer", "--port", "0", "--data"])
        .arg(folder.path().join("data"))
        .arg("--ready-file")
        .arg(folder.path().join("ready"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let (path, bytes) = file(&folder, "original", 5, 1000);
    let mut stdin = child.stdin.take().expect("piped");
    writeln!(stdin, "status\nlist\nstore '{}'", path.display()).expect("it reads");
    let block = kadring::id::Id::of(&bytes).to_string();
    until(|| folder.path().join("data/blocks").join(&block[..2]).join(&block).exists());
    assert!(child.try_wait().expect("it is ours").is_none(), "it stays");
    writeln!(stdin, "quit").expect("it reads");
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "somebody missed the key of what was stored");
}

#[test]
fn a_peer_with_answers_that_nobody_takes_ends_when_told_and_fails() {
    let folder = folder();
    let ready = folder.path().join("ready");
    let mut child = program()
        .args(["peer", "--port", "0", "--data"])
        .arg(folder.path().join("data"))
        .arg("--ready-file")
        .arg(&ready)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // More than a pipe holds.
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all("help\n".repeat(500).as_bytes()).expect("it fits");
    until(|| ready.exists());
    let pid = i32::try_from(child.id()).expect("a process id");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    until(|| !matches!(child.try_wait(), Ok(None)));
    assert_eq!(child.wait().expect("it ended").code(), Some(1));
}

#[test]
fn a_pipe_in_non_blocking_mode_is_read_like_any_other() {
    let folder = folder();
    // The peer must not have the end that is written to as well, or it would never see the other one close.
    let (read, write) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a mode");
    let ready = folder.path().join("ready");
    let mut child = program()
        .args(["peer", "--port", "0", "--exit-on-eof", "--data"])
        .arg(folder.path().join("data"))
        .arg("--ready-file")
        .arg(&ready)
        .stdin(read)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert!(next().starts_with("READY "));
    let mut pipe = File::from(write);
    for _ in 0..2 {
        // Each line comes when the pipe has been empty for a while: the answer to the one before was read.
        pipe.write_all(b"ping localhost\n").expect("it reads");
        assert!(next().starts_with("error: "));
    }
    drop(pipe);
    assert_eq!(child.wait().expect("it ends").code(), Some(2), "its commands were asked wrongly");
}

/// An address that never answers.
fn silent() -> (UdpSocket, String) {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let nobody = silent.local_addr().expect("bound").to_string();
    (silent, nobody)
}

#[test]
fn a_command_with_an_ampersand_runs_beside_those_that_follow_and_is_listed_and_cancelled_by_its_number() {
    let folder = folder();
    let mut peer = alone(&folder);
    let (_silent, nobody) = silent();
    let begun = peer.ask(&format!("ping {nobody} &"));
    assert_eq!((&begun["answer"], &begun["line"]), (&"begun".into(), &format!("ping {nobody}").into()), "{begun}");
    let job = begun["job"].as_u64().expect("a number");
    assert_eq!(peer.ask("status")["answer"], "status", "it waits for nothing");
    let jobs = peer.ask("jobs");
    assert_eq!((&jobs["jobs"][0]["job"], &jobs["jobs"][0]["line"]), (&job.into(), &begun["line"]), "{jobs}");
    // Its thread may have yet to begin.
    until(|| peer.ask("threads").to_string().contains(&format!("\"command-{job}\"")));
    peer.tell(&format!("cancel {job}"));
    // The two come from two threads.
    let mut answers = [peer.line(), peer.line()];
    answers.sort_by_key(|line| line.starts_with("{\"job\":"));
    assert!(answers[0].contains("\"cancelling\""), "{answers:?}");
    assert!(answers[1].starts_with(&format!("{{\"job\":{job},")) && answers[1].contains("cancelled"), "{answers:?}");
    until(|| peer.ask("jobs")["jobs"].as_array().is_some_and(Vec::is_empty));
    for (line, kind) in
        [(format!("cancel {job}"), "not_found"), ("&".to_owned(), "usage"), ("quit &".to_owned(), "usage")]
    {
        assert_eq!(peer.ask(&line)["kind"], kind, "{line}");
    }
}

#[test]
fn what_runs_beside_is_waited_for_at_the_end_of_the_input_and_counts_for_the_exit_code() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 4, 5_000_000);
    let mut peer = Launch::new(folder.path().join("data")).in_text().args(&["--exit-on-eof"]).start();
    peer.tell_bytes(format!("store '{0}' &\nlist\nstore '{0}&' & ", path.display()).as_bytes());
    peer.close_input();
    let lines = peer.rest();
    let stored: Vec<_> = lines.iter().filter(|line| line.starts_with("[") && line.contains("] key ")).collect();
    let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("[") && line.contains("] error: ")).collect();
    assert_eq!((stored.len(), failed.len()), (1, 1), "{lines:#?}");
    assert!(failed[0].contains("original&"), "an ampersand in quotes belongs to the name: {lines:#?}");
    assert!(lines[0].ends_with(&format!("] runs: store '{}'", path.display())), "{lines:#?}");
    assert_eq!(peer.wait(), Some(4), "{lines:#?}");
}

#[test]
fn status_tells_how_much_may_be_held_and_how_many_bytes_moved() {
    let folder = folder();
    let mut peers = cluster(&folder, 2, &["--capacity", "5MB"]);
    let (path, _) = file(&folder, "original", 6, 1_000_000);
    peers[0].store(&path);
    let [one, two] = [0, 1].map(|at: usize| peers[at].ask("status"));
    assert_eq!((&one["capacity"], &two["capacity"]), (&5_000_000.into(), &5_000_000.into()));
    let bytes = |moved: &Value| moved.as_u64().expect("a number");
    assert!(bytes(&one["moved"][1]) >= 1_000_000 && bytes(&two["moved"][0]) >= 1_000_000, "{one} {two}");
}

#[test]
fn who_waits_until_nothing_is_done_waits_for_what_runs_beside_the_lines() {
    let folder = folder();
    let (_silent, address) = silent();
    let mut peer = alone(&folder);
    peer.tell(&format!("ping {address} &\nwait idle --deadline 60s\njobs"));
    assert_eq!(peer.answer()["answer"], "begun");
    let told = [peer.answer(), peer.answer(), peer.answer()];
    let jobs = told.iter().find(|answer| answer["answer"] == "jobs").expect("it was asked");
    assert!(told.iter().any(|answer| answer["answer"] == "waited"), "{told:?}");
    assert_eq!(jobs["jobs"], Value::Array(Vec::new()), "{told:?}");
    peer.tell(&format!("ping {address} &\nwait idle --deadline 10ms"));
    assert_eq!(peer.answer()["answer"], "begun");
    let late = peer.answer();
    assert!(late["reason"].as_str().is_some_and(|reason| reason.contains("] runs")), "{late}");
}

#[test]
fn no_more_than_64_commands_run_beside_one_another_and_all_are_answered_before_the_last_line() {
    let folder = folder();
    let mut peer = alone(&folder);
    let (_silent, nobody) = silent();
    for _ in 0..64 {
        assert_eq!(peer.ask(&format!("ping {nobody} &"))["answer"], "begun");
    }
    let refused = peer.ask("status &");
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.starts_with("64 commands run")), "{refused}");
    peer.tell("quit");
    let rest = peer.rest();
    assert_eq!(rest.len(), 65, "{rest:#?}");
    assert!(rest[..64].iter().all(|line| line.starts_with("{\"job\":")) && rest[64].contains("\"left\""), "{rest:#?}");
}

#[test]
fn clear_drops_the_lists_of_a_file_too_where_its_manifest_shows_them() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 4, 3_000_000);
    let mut peer = alone(&folder);
    let [whole, seed] = ["whole", "seed"].map(|name| folder.path().join(name).display().to_string());
    assert_eq!(peer.ask(&format!("store --manifest {whole} '{}'", path.display()))["answer"], "stored");
    assert_eq!(peer.ask(&format!("clear --force {whole}"))["blocks"], 4);
    assert_eq!(peer.blocks(), [""; 0]);
    assert_eq!(peer.ask(&format!("store '{}' {seed}", path.display()))["answer"], "stored");
    assert_eq!(peer.ask(&format!("clear --force {seed}"))["blocks"], 3, "the seed's text does not show its list");
}

#[test]
fn a_data_folder_that_is_removed_under_a_running_peer_is_told_once() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 4, 1000);
    let mut peer = alone(&folder);
    std::fs::remove_dir_all(folder.path().join("data")).expect("ours");
    for _ in 0..2 {
        peer.tell(&format!("store '{}'", path.display()));
        assert_eq!(peer.answer()["answer"], "failed");
    }
    let said = peer.all_said();
    assert_eq!(said.matches("is gone: until it is back").count(), 1, "{said}");
}

#[test]
fn a_file_that_tells_size_0_is_stored_by_what_it_gives_and_a_device_is_no_place_for_one() {
    let folder = folder();
    let mut peer = alone(&folder);
    let stored = peer.ask("store /proc/version");
    let version = std::fs::read("/proc/version").expect("it is there");
    assert_eq!(stored["bytes"], version.len(), "{stored}");
    let key = stored["key"].as_str().expect("a key").to_owned();
    peer.retrieve(&key, &folder.path().join("back"), &version);
    let refused = peer.ask(&format!("retrieve {key} /dev/null"));
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("or - for standard output")), "{refused}");
    let mounted = peer.ask(&format!("retrieve {key} /proc --force"));
    assert_eq!(mounted["kind"], "usage", "{mounted}");
}

#[test]
fn a_full_peer_says_so_once_however_many_blocks_it_is_offered() {
    let folder = folder();
    let full = Launch::new(folder.path().join("full")).args(&["--capacity", "1500kB"]).start();
    let mut other = Launch::new(folder.path().join("other")).through(full.port).args(&["--keep"]).start();
    for seed in 0..2 {
        let (path, _) = file(&folder, "original", seed, 8_000_000);
        other.store(&path);
    }
    let said = full.all_said();
    assert_eq!(said.matches("this peer is full").count(), 1, "{said}");
}

#[test]
fn sigquit_shows_what_each_thread_is_at_whatever_is_stuck_and_ends_nothing() {
    let folder = tempdir().expect("a temporary folder");
    let mut peer = Launch::new(folder.path().join("well")).start();
    // On a busy machine a thread may be at something else when it is looked at for the first time.
    until(|| {
        peer.signal(Signal::SIGQUIT);
        peer.said().contains("waits for datagrams") && peer.said().contains("waits for connections")
    });
    assert_eq!(peer.ask("status")["answer"], "status");

    // With nobody who asks the node anything, it would be stuck unseen.
    let mut stuck = Launch::new(folder.path().join("stuck")).env("KADRING_FAULT", "node:stuck").start();
    stuck.tell("status");
    until(|| stuck.said().contains("waits for ever in node"));
    stuck.signal(Signal::SIGQUIT);
    until(|| stuck.said().contains("  takes a command\n"));
    until(|| stuck.said().contains("  waits for the answer to a command\n"));
}
