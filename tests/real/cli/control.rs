//! A running peer that is talked to from other shells.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use super::running::{KEY, address, code, folder, key_of, printed, run, said, text};
use crate::support::{Launch, PeerProcess, file, program, until, walk};

fn ctl(peer: &PeerProcess, words: &[&str]) -> Output {
    run(&[&["ctl", "--data", text(&peer.data)], words].concat())
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no line of JSON: {}", said(output)))
}

#[test]
fn a_running_peer_does_commands_of_any_shell_with_its_exit_codes_and_json() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 2, &[]);
    let (path, original) = file(&folder, "my file", 2, 2_500_000);
    let stored = ctl(&peers[0], &["store", text(&path)]);
    let key = key_of(&stored);
    assert!(printed(&stored).contains(&format!("stored {}: 2.4 MiB", path.display())), "{}", printed(&stored));
    let dest = folder.path().join("back");
    let retrieved = ctl(&peers[1], &["--json", "retrieve", &key, text(&dest)]);
    assert_eq!((code(&retrieved), &answer(&retrieved)["bytes"]), (Some(0), &json!(2_500_000)));
    assert!(fs::read(&dest).expect("there") == original);
    assert_eq!(answer(&ctl(&peers[0], &["status", "--json"]))["me"]["id"], json!(peers[0].id));
    for (words, expected) in [
        (&["retrieve", KEY, "nowhere"][..], 4),
        (&["retrieve", &key, text(&path)], 0),
        (&["retrieve", &key, env!("CARGO_MANIFEST_DIR")], 2),
        (&["frobnicate"], 2),
        (&["store", "no such file", text(&path)], 3),
        (&["store", "no such file", "nor this"], 4),
        (&["help"], 0),
    ] {
        let output = ctl(&peers[0], words);
        assert_eq!(code(&output), Some(expected), "{words:?}: {}", said(&output));
    }
    assert_eq!(printed(&ctl(&peers[0], &["store", "-q", text(&path)])), format!("{key}\n"));
}

#[test]
fn names_of_files_begin_where_the_client_stands_and_hyphens_are_its_own_input_and_output() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "original", 2, 300_000);
    let within = |words: &[&str], input: &[u8]| {
        let mut client = program();
        client.args(["ctl", "--data", text(&peer.data)]).args(words).current_dir(folder.path());
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = client.spawn().expect("it starts");
        client.stdin.take().expect("piped").write_all(input).expect("it reads");
        client.wait_with_output().expect("it ends")
    };
    let stored = within(&["store", "original", "list"], b"");
    assert!(printed(&stored).contains("stored original: 293.0 KiB"), "{}", printed(&stored));
    assert!(folder.path().join("list").is_file(), "the manifest");
    let key = key_of(&stored);
    let piped = within(&["store", "-", "--json"], &original);
    assert_eq!((&answer(&piped)["file"], &answer(&piped)["key"]), (&json!("-"), &json!(key)));
    let back = within(&["retrieve", &key, "-"], b"");
    assert!(back.stdout == original, "standard output holds the file and nothing else");
    assert!(said(&back).starts_with("retrieved 293.0 KiB"), "{}", said(&back));
    for json in [&[][..], &["--json"]] {
        let missing = within(&[&["retrieve", KEY, "-"], json].concat(), b"");
        assert_eq!((code(&missing), missing.stdout.len()), (Some(4), 0), "{}", said(&missing));
    }
    fs::remove_file(&path).expect("there");
    assert_eq!(code(&within(&["retrieve", "list", "original"], b"")), Some(0));
    assert!(fs::read(&path).expect("there") == original);
}

#[test]
fn a_file_goes_to_a_clients_standard_output_while_its_blocks_arrive_and_ends_with_its_reader() {
    let folder = folder();
    let temporary = folder.path().join("temporary");
    fs::create_dir(&temporary).expect("writable");
    let mut peer = Launch::new(folder.path().join("peer")).env("TMPDIR", text(&temporary)).start();
    let (path, original) = file(&folder, "original", 2, 24 << 20);
    let stored = peer.ask(&format!("store '{}' --manifest '{}.m'", path.display(), path.display()));
    let key = stored["key"].as_str().expect("a key");
    let manifest = format!("{}.m", path.display());
    let begin = |words: &[&str]| {
        let mut client = program();
        client.args(words).args(["--data", text(&peer.data)]).stdin(Stdio::null());
        let mut client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut first = vec![0; 1 << 20];
        client.stdout.as_mut().expect("piped").read_exact(&mut first).expect("the first block comes");
        assert!(first == original[..first.len()], "something else came first");
        client
    };
    let size = || -> u64 { walk(&temporary).iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum() };
    let asks = [&["retrieve", key, "-"][..], &["retrieve", &manifest, "-"], &["cat", key]];
    for words in asks {
        // Its reader has taken a block, and takes no more for a while.
        let client = begin(words);
        until(|| size() >= 15 << 20);
        assert!(size() <= 16 << 20, "{} bytes are there of a file of {}", size(), original.len());
        assert!(printed(&ctl(&peer, &["jobs"])).contains(" -"), "the client's own words");
        let client = client.wait_with_output().expect("it ends");
        assert_eq!(client.status.code(), Some(0), "{words:?}: {}", said(&client));
        assert!(client.stdout == original[1 << 20..], "{words:?}: the rest differs");
        assert_eq!(walk(&temporary), Vec::<PathBuf>::new(), "{words:?}: nothing stays behind");
    }
    let mut client = begin(asks[0]);
    drop(client.stdout.take());
    let client = client.wait_with_output().expect("it ends");
    assert_eq!((client.status.signal(), said(&client)), (Some(Signal::SIGPIPE as i32), String::new()));
    let client = begin(asks[1]);
    kill(Pid::from_raw(client.id().try_into().expect("a process id")), Signal::SIGINT).expect("it runs");
    let client = client.wait_with_output().expect("it ends");
    assert_eq!(client.status.signal(), Some(Signal::SIGINT as i32), "{}", said(&client));
    until(|| walk(&temporary).is_empty());
}

#[test]
fn a_slow_command_holds_up_no_other_and_a_client_that_is_interrupted_ends_its_own_alone() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let nobody = silent.local_addr().expect("bound").to_string();
    let begin = || {
        let words = ["ctl", "--data", text(&peer.data), "ping", &nobody];
        let client = program().args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let client = client.expect("it starts");
        silent.recv_from(&mut [0; 1500]).expect("the ping is under way");
        client
    };
    let (first, second) = (begin(), begin());
    assert_eq!(code(&ctl(&peer, &["status"])), Some(0), "it waits for neither");
    kill(Pid::from_raw(first.id().try_into().expect("a process id")), Signal::SIGINT).expect("it runs");
    let first = first.wait_with_output().expect("it ends");
    assert_eq!(first.status.signal(), Some(Signal::SIGINT as i32), "a shell's loop ends with it");
    assert!(said(&first).contains("cancelled"), "{}", said(&first));
    let second = second.wait_with_output().expect("it ends");
    assert_eq!(code(&second), Some(5), "it went on until nobody had answered: {}", said(&second));
    // Ctrl-C at once: its byte comes together with the line.
    let mut third = UnixStream::connect(peer.data.join("control")).expect("it listens");
    let asked = json!({"words": ["ping", nobody], "folder": "/"});
    third.write_all(format!("{asked}\n!").as_bytes()).expect("it reads");
    let told = std::io::read_to_string(third).expect("text");
    assert!(told.contains("cancelled"), "{told}");
}

#[test]
fn a_second_signal_ends_a_client_whose_peer_does_not_answer() {
    let folder = folder();
    let stuck = UnixListener::bind(folder.path().join("control")).expect("a socket");
    let words = ["ctl", "--data", text(folder.path()), "status"];
    let mut client = program().args(words).stdin(Stdio::null()).spawn().expect("it starts");
    let mut told = BufReader::new(stuck.accept().expect("it connects").0);
    told.read_line(&mut String::new()).expect("a line");
    let pid = Pid::from_raw(client.id().try_into().expect("a process id"));
    kill(pid, Signal::SIGINT).expect("it runs");
    told.read_exact(&mut [0]).expect("the peer is told");
    kill(pid, Signal::SIGTERM).expect("it runs");
    until(|| !matches!(client.try_wait(), Ok(None)));
    assert_eq!(client.wait().expect("it ended").signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn what_happens_at_a_peer_is_told_as_events_until_the_client_leaves() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let words = ["ctl", "--data", text(&peer.data), "events"];
    let mut client = program().args(words).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines();
    let mut await_event = |name: &str| {
        let events = lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("JSON"));
        events.into_iter().find(|event| event["event"] == name).expect("it comes")
    };
    assert_eq!(await_event("watching")["id"], json!(peer.id));
    let (path, _) = file(&folder, "original", 2, 1000);
    let key = peer.store(&path);
    let stored = await_event("stored");
    assert_eq!(stored["key"], json!(key));
    assert!(stored["time"].is_u64(), "{stored}");
    let other = Launch::new(folder.path().join("other")).through(peer.port).start();
    let id = json!(other.id);
    assert_eq!(await_event("peer_up")["peer"]["id"], id);
    other.kill();
    assert_eq!(await_event("peer_down")["peer"]["id"], id);
    kill(Pid::from_raw(client.id().try_into().expect("a process id")), Signal::SIGTERM).expect("it runs");
    assert_eq!(client.wait().expect("it ends").signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn a_peer_without_descriptors_says_once_that_clients_cannot_be_taken() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let connect = || UnixStream::connect(peer.data.join("control")).expect("it listens");
    let _clients: Vec<UnixStream> = std::iter::repeat_with(connect).take(64).collect();
    let is_client =
        |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("client-"));
    let tasks = || fs::read_dir(format!("/proc/{}/task", peer.pid())).expect("it runs").flatten();
    until(|| tasks().filter_map(|task| is_client(task).then_some(())).count() == 64);
    let limit = Rlimit { current: Some(3), maximum: Some(3) };
    let pid = rustix::process::Pid::from_raw(peer.pid().cast_signed());
    prlimit(pid, Resource::Nofile, limit).expect("it is ours");
    let _further = connect();
    until(|| peer.said().contains("could not be taken"));
    // Long enough for thousands of tries that do not pause.
    std::thread::park_timeout(Duration::from_millis(200));
    let count = |what| peer.said().matches(what).count();
    assert_eq!(count("could not be taken"), 1);
}

#[test]
fn clients_that_say_nothing_make_room_and_where_all_have_spoken_the_next_is_told_so() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let connect = || UnixStream::connect(peer.data.join("control")).expect("it listens");
    let _silent: Vec<UnixStream> = std::iter::repeat_with(connect).take(200).collect();
    let asked = ctl(&peer, &["status"]);
    assert_eq!(code(&asked), Some(0), "{}", said(&asked));
    let begin = || {
        let mut watcher = connect();
        watcher.write_all(b"{\"words\":[\"events\"],\"folder\":\"/\"}\n").expect("it reads");
        let mut told = BufReader::new(watcher);
        let mut line = String::new();
        told.read_line(&mut line).expect("it is served");
        assert!(line.contains("watching"), "{line}");
        told
    };
    let mut watchers: Vec<_> = std::iter::repeat_with(begin).take(64).collect();
    for words in [&["status"][..], &["store", "x"], &["threads", "--watch"]] {
        let refused = ctl(&peer, words);
        assert_eq!(code(&refused), Some(5), "{words:?}: {}", said(&refused));
        assert!(said(&refused).contains("64 clients are connected"), "{words:?}: {}", said(&refused));
    }
    watchers.pop();
    until(|| code(&ctl(&peer, &["status"])) == Some(0));
}

#[test]
fn a_client_that_says_nonsense_or_nothing_harms_nobody() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let socket = peer.data.join("control");
    let silent = UnixStream::connect(&socket).expect("it listens");
    let mut gone = UnixStream::connect(&socket).expect("it listens");
    gone.write_all(b"{\"words\":[\"status\"],\"folder\":\"/\"}\n").expect("it reads");
    drop(gone);
    for nonsense in [&b"\n"[..], b"{}\n", b"\xff\xfe\n", b"{\"words\":[],\"folder\":\"/\"}\n"] {
        let mut client = UnixStream::connect(&socket).expect("it listens");
        client.write_all(nonsense).expect("it reads");
        let told = std::io::read_to_string(client).expect("text");
        assert!(told.contains("\"kind\":\"usage\""), "{told}");
    }
    assert_eq!(code(&ctl(&peer, &["status"])), Some(0));
    drop(silent);
}

#[test]
fn a_socket_that_is_removed_while_its_peer_runs_is_made_again() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let socket = peer.data.join("control");
    for _ in 0..2 {
        fs::remove_file(&socket).expect("it was there");
        until(|| socket.exists());
        assert_eq!(code(&ctl(&peer, &["status"])), Some(0));
        let mode = fs::metadata(&socket).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }
    peer.tell("quit");
    assert_eq!(peer.wait(), Some(0));
    assert!(!socket.exists(), "it goes with its peer");
}

#[test]
fn the_socket_is_its_users_alone_and_one_left_by_a_killed_peer_is_taken_over() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let socket = peer.data.join("control");
    let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    let data = peer.kill();
    assert!(fs::symlink_metadata(&socket).expect("it stays behind").file_type().is_socket());
    let nobody = run(&["ctl", "--data", text(&data), "status"]);
    assert_eq!(code(&nobody), Some(5), "{}", said(&nobody));
    assert!(said(&nobody).contains("no peer runs with the data folder"), "{}", said(&nobody));
    let of_data = |words: &[&str]| run(&[words, &["--json", "--data", text(&data)]].concat());
    let asked = run(&["ctl", "--data", text(&data), "status", "--json"]);
    for nobody in [asked, of_data(&["lookup", KEY]), of_data(&["store", "x"]), of_data(&["import", "x"])] {
        assert_eq!((code(&nobody), &answer(&nobody)["kind"]), (Some(5), &json!("timed_out")), "{}", said(&nobody));
    }
    let mut peer = Launch::new(data).start();
    assert_eq!(code(&ctl(&peer, &["status"])), Some(0));
    let names = fs::read_dir(&peer.data).expect("there").map(|entry| entry.expect("readable").file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with(".tmp")), "nothing else stays behind");
    let left = ctl(&peer, &["quit", "--no-handover"]);
    assert!(printed(&left).starts_with("left without a handover"), "{}{}", printed(&left), said(&left));
    assert_eq!(peer.wait(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn another_file_of_the_sockets_name_is_left_alone() {
    let folder = folder();
    let data = folder.path().join("peer");
    fs::create_dir(&data).expect("writable");
    fs::write(data.join("control"), "dear").expect("writable");
    let mut peer = Launch::new(data).start();
    assert_eq!(peer.ask("status")["answer"], "status", "it runs all the same");
    assert_eq!(fs::read_to_string(peer.data.join("control")).expect("there"), "dear");
}

#[test]
fn clients_of_one_command_go_through_the_peer_that_runs_with_their_data_folder_and_join_else() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "original", 2, 300_000);
    let data = text(&peer.data).to_owned();
    let key = key_of(&run(&["store", text(&path), "--data", &data]));
    assert_eq!(key_of(&run(&["store", text(&path), "--bootstrap", &address(&peer)])), key);
    let dest = folder.path().join("back");
    let retrieved = run(&["retrieve", &key, text(&dest), "--data", &data]);
    assert_eq!(code(&retrieved), Some(0), "{}", said(&retrieved));
    assert!(fs::read(&dest).expect("there") == original);
    let found = run(&["lookup", &key, "--data", &data]);
    assert!(printed(&found).contains("holds it"), "{}", printed(&found));
    assert_eq!(code(&run(&["store", text(&path), "--data", &data, "--replicas", "3"])), Some(2));
    let elsewhere = text(folder.path()).to_owned();
    assert_eq!(code(&run(&["store", text(&path), "--data", &elsewhere])), Some(5), "no peer runs there");
    let joined = run(&["store", text(&path), "--data", &elsewhere, "--bootstrap", &address(&peer)]);
    assert_eq!(key_of(&joined), key);
}

#[test]
fn commands_of_other_shells_and_of_the_console_are_listed_and_cancelled_from_any_shell() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let nobody = silent.local_addr().expect("bound").to_string();
    let of_console = peer.ask(&format!("ping {nobody} &"))["job"].as_u64().expect("a number");
    let words = ["ctl", "--data", text(&peer.data), "ping", &nobody];
    let client = program().args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let client = client.expect("it starts");
    let mut of_client = None;
    crate::support::until(|| {
        let jobs = answer(&ctl(&peer, &["jobs", "--json"]));
        let jobs = jobs["jobs"].as_array().expect("an array").clone();
        assert!(jobs.iter().any(|job| job["job"] == of_console) && !jobs.iter().any(|job| job["line"] == "jobs"));
        let ping = |job: &&Value| job["job"] != of_console && job["line"] == format!("ping {nobody}");
        of_client = jobs.iter().find(ping).and_then(|job| job["job"].as_u64());
        of_client.is_some()
    });
    for job in [of_client, Some(of_console)].into_iter().flatten() {
        assert_eq!(code(&ctl(&peer, &["cancel", &job.to_string()])), Some(0));
    }
    let client = client.wait_with_output().expect("it ends");
    assert_eq!(client.status.code(), Some(130), "{}", said(&client));
    assert_eq!(peer.answer()["kind"], "cancelled");
}

#[test]
fn a_client_s_own_streams_are_its_standard_input_and_output_or_refused_and_no_answer_stands_in_a_file() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "report", 3, 100_000);
    let expected = key_of(&run(&["store", text(&path), "--data", text(&peer.data)]));
    for way in [["--data", text(&peer.data)], ["--bootstrap", &address(&peer)]] {
        let with = |words: &[&str], out: Stdio| {
            let mut client = program();
            client.args(words).args(way).stdin(fs::File::open(&path).expect("there")).stdout(out);
            client.stderr(Stdio::piped()).spawn().expect("it starts").wait_with_output().expect("it ends")
        };
        for stream in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
            let stored = with(&["store", stream, "-q"], Stdio::piped());
            assert_eq!((code(&stored), printed(&stored).trim()), (Some(0), &*expected), "{stream}: {}", said(&stored));
        }
        for stream in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            let into_file = folder.path().join("back");
            let out = fs::File::create(&into_file).expect("writable");
            let mut retrieved =
                [Stdio::piped(), out.into()].map(|out| with(&["retrieve", &expected, stream, "--json"], out));
            retrieved[1].stdout = fs::read(&into_file).expect("there");
            for retrieved in retrieved {
                assert!(retrieved.stdout == original, "{way:?} {stream}: {}", said(&retrieved));
                let answer: Value = serde_json::from_str(&said(&retrieved)).expect("standard error has the answer");
                assert_eq!((code(&retrieved), &answer["bytes"]), (Some(0), &json!(100_000)), "{way:?} {stream}");
            }
        }
        for words in [
            &["store", "/proc/self/fd/1"][..],
            &["store", text(&path), "--manifest", "/dev/stdout"],
            &["retrieve", &expected, "/dev/stderr"],
            &["lookup", &expected, "--svg", "/dev/fd/1"],
        ] {
            let refused = with(words, Stdio::piped());
            let told = said(&refused) + &printed(&refused);
            assert_eq!(
                (code(&refused), told.contains("is a stream of a process")),
                (Some(2), true),
                "{words:?}: {told}"
            );
        }
    }
    let nowhere = text(folder.path());
    for words in [&["retrieve", KEY, "-"][..], &["retrieve", KEY, "/dev/stdout"], &["cat", KEY]] {
        let nobody = run(&[&["ctl", "--json", "--data", nowhere], words].concat());
        let told: Value = serde_json::from_str(&said(&nobody)).expect("standard error has the answer");
        assert_eq!((code(&nobody), &told["kind"], printed(&nobody)), (Some(5), &json!("timed_out"), String::new()));
    }
    for of_the_peer in [["store", "/dev/fd/7"], ["check", "/dev/stdin"]] {
        assert_eq!(code(&ctl(&peer, &of_the_peer)), Some(2), "{of_the_peer:?}");
    }
}

#[test]
fn an_ampersand_after_a_command_of_another_shell_is_refused_and_names_no_manifest() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (path, _) = file(&folder, "report", 4, 1000);
    let refused = ctl(&peer, &["store", text(&path), "&"]);
    assert_eq!(
        (code(&refused), said(&refused).contains("leave & to your shell")),
        (Some(2), true),
        "{}",
        said(&refused)
    );
}

#[test]
fn a_folder_that_is_retrieved_replaces_neither_the_peer_s_own_data_nor_what_that_lies_in() {
    let folder = folder();
    fs::create_dir(folder.path().join("all")).expect("writable");
    let mut peer = Launch::new(folder.path().join("all/peer")).start();
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).expect("writable");
    fs::write(photos.join("a"), "1").expect("writable");
    assert_eq!(code(&ctl(&peer, &["store", text(&photos)])), Some(0));
    for dest in [text(&peer.data), text(&folder.path().join("all"))] {
        let refused = ctl(&peer, &["retrieve", "photos", dest, "--force"]);
        assert_eq!(
            (code(&refused), said(&refused).contains("it is not replaced")),
            (Some(2), true),
            "{}",
            said(&refused)
        );
    }
    assert_eq!(peer.ask("files")["files"][0]["name"], "photos");
}

#[test]
fn a_client_that_is_told_to_end_does_so_though_its_peer_stands_still() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    peer.signal(Signal::SIGSTOP);
    let client = program().args(["ctl", "--data", text(&peer.data), "status"]).stdin(Stdio::null()).spawn();
    let mut client = client.expect("it starts");
    let one = Pid::from_raw(client.id().cast_signed());
    // It catches the signal once it waits for an answer.
    until(|| {
        let status = fs::read_to_string(format!("/proc/{one}/status")).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("there");
        u64::from_str_radix(caught.trim(), 16).expect("a number") & 1 << (Signal::SIGTERM as u32 - 1) != 0
    });
    kill(one, Signal::SIGTERM).expect("it runs");
    let mut ended = None;
    until(|| {
        ended = client.try_wait().expect("ours");
        ended.is_some()
    });
    peer.signal(Signal::SIGCONT);
    assert_eq!(ended.and_then(|status| status.signal()), Some(Signal::SIGTERM as i32));
}

#[test]
fn a_client_says_what_it_waits_for_and_gives_a_peer_up_that_is_stopped_and_none_that_is_paused_or_works() {
    let folder = folder();
    let [stopped, paused] = ["stopped", "paused"].map(|name| Launch::new(folder.path().join(name)).start());
    stopped.signal(Signal::SIGSTOP);
    let begin = |peer: &PeerProcess, words: &[&str]| {
        let mut client = program();
        client.args(["ctl", "--data", text(&peer.data)]).args(words);
        client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let given_up = [&["status"][..], &["threads", "--watch"], &["store", "/dev/null"], &["wait", "stable"]]
        .map(|words| begin(&stopped, words));
    let pause = begin(&paused, &["pause", "12"]);
    let waits = begin(&paused, &["status"]);
    let works = begin(&paused, &["wait", "peers", "9", "--deadline", "40s"]);
    for client in given_up {
        let client = client.wait_with_output().expect("it ends");
        let said = said(&client);
        assert_eq!(code(&client), Some(5), "{said}");
        assert!(said.contains("it is waited for") && said.contains("stopped"), "{said}");
    }
    let [pause, waits, works] = [pause, waits, works].map(|client| client.wait_with_output().expect("it ends"));
    assert_eq!((code(&pause), code(&waits)), (Some(0), Some(0)), "{}\n{}", said(&pause), said(&waits));
    assert!(said(&works).contains("peers") && !said(&works).contains("whether it will do"), "{}", said(&works));
    stopped.signal(Signal::SIGCONT);
}
