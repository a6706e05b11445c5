//! The numbers that tell a script what went wrong.

use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};

use super::running::{KEY, address, assert_ends, code, folder, key_of, printed, run, said, text};
use crate::support::{Launch, file, program, shell};

#[test]
fn what_is_not_there_is_4() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let bootstrap = address(&peers[0]);
    let dest = folder.path().join("back");
    assert_ends(&["retrieve", KEY, text(&dest), "--bootstrap", &bootstrap], 4, "");
    assert_ends(&["retrieve", "no.manifest", text(&dest), "--bootstrap", &bootstrap], 4, "no.manifest");
    assert_ends(&["store", "no such file", "--bootstrap", &bootstrap], 4, "no such file");
    assert_ends(&["ping", "no-such-host.invalid:7000"], 4, "no-such-host.invalid");
    assert!(!dest.exists());
    let json = run(&["retrieve", KEY, text(&dest), "--bootstrap", &bootstrap, "--json"]);
    let answer: Value = serde_json::from_slice(&json.stdout).expect("one line of JSON");
    assert_eq!((&answer["answer"], &answer["kind"]), (&json!("failed"), &json!("not_found")), "{answer}");
}

#[test]
fn silence_and_too_few_copies_are_5() {
    let folder = folder();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let nobody = silent.local_addr().expect("bound").to_string();
    let (path, _) = file(&folder, "original", 4, 1000);
    assert_ends(&["ping", &nobody], 5, "");
    assert_ends(&["store", text(&path), "--bootstrap", &nobody], 5, &nobody);
    let waits = format!("nobody has answered at {nobody} yet");
    assert_ends(&["retrieve", KEY, text(&folder.path().join("back")), "--bootstrap", &nobody], 5, &waits);
    let peers = crate::support::cluster(&folder, 1, &[]);
    let bootstrap = address(&peers[0]);
    assert_ends(&["store", text(&path), "--bootstrap", &bootstrap, "--quorum", "2"], 5, "quorum");
}

#[test]
fn bytes_that_are_not_what_was_promised_are_6() {
    use kadring::file::{Manifest, ManifestEntry};
    let folder = folder();
    let mut peers = crate::support::cluster(&folder, 1, &[]);
    let bootstrap = address(&peers[0]);
    let (leaf, bytes) = file(&folder, "leaf", 5, 1000);
    assert_eq!(code(&run(&["store", text(&leaf), "--bootstrap", &bootstrap])), Some(0));
    // A root that promises a level below it, where a block of data is; and such as tell another size of that block.
    for (level, size) in [(1, 2000), (0, 10), (0, 2000)] {
        let entries = vec![ManifestEntry { key: kadring::id::Id::of(&bytes), size }];
        let root = Manifest { level, size, sha256: None, folder: false, entries }.encode();
        let path = folder.path().join("root");
        fs::write(&path, &root).expect("writable");
        assert_eq!(code(&run(&["store", text(&path), "--bootstrap", &bootstrap])), Some(0));
        let dest = folder.path().join("back");
        let key = kadring::id::Id::of(&root).to_string();
        assert_ends(&["retrieve", &key, text(&dest), "--bootstrap", &bootstrap], 6, "");
        let by_its_holder = peers[0].ask(&format!("retrieve {key} '{}'", text(&dest)));
        assert_eq!(by_its_holder["kind"], "integrity", "{by_its_holder}");
        assert!(!dest.exists());
    }
}

#[test]
fn a_block_whose_only_copy_was_damaged_on_disk_is_6() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let bootstrap = address(&peers[0]);
    let (path, bytes) = file(&folder, "original", 9, 1000);
    let stored = run(&["store", text(&path), "--bootstrap", &bootstrap, "--json"]);
    let answer: Value = serde_json::from_slice(&stored.stdout).expect("one line of JSON");
    let block = kadring::id::Id::of(&bytes).to_string();
    let kept = peers[0].data.join("blocks").join(&block[..2]).join(&block);
    fs::write(&kept, vec![0; 1000]).expect("it is there");
    let dest = folder.path().join("back");
    let key = answer["key"].as_str().expect("a key");
    assert_ends(&["retrieve", key, text(&dest), "--bootstrap", &bootstrap], 6, "damaged");
    assert!(!dest.exists() && !kept.exists() && peers[0].data.join("damaged").join(&block).exists());
}

#[test]
fn a_block_of_which_every_copy_was_damaged_on_disk_is_6_on_both_overlays() {
    for overlay in ["kad", "ring"] {
        let folder = folder();
        let peers = crate::support::cluster(&folder, 4, &["--overlay", overlay]);
        let (path, bytes) = file(&folder, "original", 9, 1000);
        let join = ["--overlay", overlay, "--bootstrap", &address(&peers[0])];
        let key = key_of(&run(&[&["store", text(&path)], &join[..]].concat()));
        let block = kadring::id::Id::of(&bytes).to_string();
        let kept: Vec<_> = peers.iter().map(|peer| peer.data.join("blocks").join(&block[..2]).join(&block)).collect();
        let kept: Vec<_> = kept.into_iter().filter(|kept| kept.exists()).collect();
        assert!(kept.len() > 1, "{kept:?}");
        kept.iter().for_each(|kept| fs::write(kept, vec![0; 1000]).expect("it is there"));
        let dest = folder.path().join("back");
        assert_ends(&[&["retrieve", &key, text(&dest)], &join[..]].concat(), 6, "damaged");
        assert!(!dest.exists());
    }
}

#[test]
fn what_has_no_number_of_its_own_is_1() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let (path, _) = file(&folder, "original", 6, 1000);
    let bootstrap = address(&peers[0]);
    let key = key_of(&run(&["store", text(&path), "--bootstrap", &bootstrap]));
    let nowhere = folder.path().join("no/such/folder/back");
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let reason = "its folder is not there";
    assert_ends(&["retrieve", &key, text(&nowhere), "--bootstrap", &bootstrap], 1, reason);
    assert_ends(&["store", text(&path), text(&nowhere), "--bootstrap", &bootstrap], 1, reason);
    // Whoever opened the pipe would wait for its other end.
    assert_ends(&["retrieve", text(&pipe), text(&folder.path().join("back")), "--bootstrap", &bootstrap], 2, "regular");
    assert_ends(&["store", text(&pipe), "--bootstrap", &bootstrap], 1, "'kadring store -' stores what is piped");
}

#[test]
fn a_place_that_is_none_for_a_file_is_2() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let (path, _) = file(&folder, "original", 6, 1000);
    let bootstrap = address(&peers[0]);
    let key = key_of(&run(&["store", text(&path), "--bootstrap", &bootstrap]));
    let [pipe, lost, kept] = ["pipe", "lost", "kept"].map(|name| folder.path().join(name));
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    symlink(folder.path().join("nothing"), &lost).expect("a link");
    fs::write(&kept, "").expect("writable");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o444)).expect("our own file");
    let places =
        [(folder.path(), "is a folder"), (&pipe, "regular"), (&lost, "leads to no file"), (&kept, "read-only")];
    for (place, reason) in places {
        assert_ends(&["retrieve", &key, text(place), "--force", "--bootstrap", &bootstrap], 2, reason);
        assert_ends(&["store", text(&path), "--manifest", text(place), "--bootstrap", &bootstrap], 2, reason);
    }
    assert!(fs::metadata(&pipe).expect("there").file_type().is_fifo(), "no file took its place");
    assert!(fs::symlink_metadata(&lost).expect("there").is_symlink());
}

#[test]
fn of_several_files_some_that_failed_are_3_and_each_answer_names_its_file() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let [(one, _), (two, _)] = ["one", "two"].map(|name| file(&folder, name, name.len() as u64, 1000));
    let bootstrap = ["--bootstrap", &address(&peers[0])];
    let store = |words: &[&str]| run(&[&["store"], words, &bootstrap].concat());
    let stored = store(&[text(&one), "nowhere", text(&two), "--json"]);
    let answer: Value = serde_json::from_slice(&stored.stdout).expect("one line of JSON");
    let told: Vec<_> = answer["answers"].as_array().expect("several").iter().map(|one| &one["file"]).collect();
    assert_eq!((code(&stored), told), (Some(3), vec![&json!(text(&one)), &json!("nowhere"), &json!(text(&two))]));
    let quiet = store(&[text(&one), "nowhere", text(&two), "-q"]);
    let keys: String =
        [0, 2].iter().map(|at| answer["answers"][at]["key"].as_str().expect("a key").to_owned() + "\n").collect();
    assert_eq!((code(&quiet), String::from_utf8_lossy(&quiet.stdout).into_owned()), (Some(3), keys), "the keys alone");
    assert!(said(&quiet).contains("nowhere"), "{}", said(&quiet));
    let quiet = store(&["-q", text(&one)]);
    assert_eq!((code(&quiet), quiet.stdout.len(), said(&quiet)), (Some(0), 65, String::new()));
    assert_eq!(code(&store(&["nowhere", "no.where.else", "nor here"])), Some(4), "all failed alike");
    let named = store(&["--name", "n", text(&one), text(&two)]);
    assert_eq!(code(&named), Some(2), "two files have not one name: {}", said(&named));
}

#[test]
fn who_reads_the_keys_alone_is_told_that_a_second_name_became_a_manifest_and_what_was_left_out() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let (one, _) = file(&folder, "one", 1, 1000);
    let (tree, typed) = (folder.path().join("tree"), folder.path().join("typo"));
    fs::create_dir(&tree).expect("writable");
    fs::write(tree.join("file"), "x").expect("writable");
    let _socket = UnixListener::bind(tree.join("socket")).expect("a socket");
    let guest = ["--bootstrap", &address(&peers[0])];
    let by_data = ["--data", text(&peers[0].data)];
    for way in [&guest[..], &by_data[..]] {
        let _ = fs::remove_file(&typed);
        let stored = run(&[&["store", "-q", text(&one), text(&typed)], way].concat());
        assert_eq!((code(&stored), stored.stdout.len()), (Some(0), 65), "{}", said(&stored));
        assert!(said(&stored).contains(text(&typed)) && said(&stored).contains("manifest"), "{}", said(&stored));
        let told = run(&[&["store", "--json", text(&one), text(&typed)], way].concat());
        let answer: Value = serde_json::from_slice(&told.stdout).expect("one line of JSON");
        assert_eq!(answer["manifest"], text(&typed), "{answer}");
        let partial = run(&[&["store", "-q", text(&tree)], way].concat());
        assert_eq!((code(&partial), partial.stdout.len()), (Some(3), 65), "{}", said(&partial));
        assert!(said(&partial).contains("skipped socket"), "{}", said(&partial));
        let asked = run(&[&["store", "-q", "--skip-unreadable", text(&tree)], way].concat());
        assert_eq!(code(&asked), Some(0), "{}", said(&asked));
    }
    let whole = folder.path().join("whole");
    let asked = run(&[&["store", "-q", text(&one), "--manifest", text(&whole)], &guest[..]].concat());
    assert_eq!((code(&asked), said(&asked)), (Some(0), String::new()), "that one was asked for by its name");
}

#[test]
fn who_reads_the_keys_alone_is_told_that_a_file_or_a_folder_has_too_few_copies_and_why() {
    let folder = folder();
    let keeps = Launch::new(folder.path().join("keeps")).start();
    let full = ["b", "c"]
        .map(|name| Launch::new(folder.path().join(name)).through(keeps.port).args(&["--capacity", "1KB"]).start());
    assert!(full.iter().all(|full| code(&run(&["ctl", "--data", text(&full.data), "wait", "peers", "2"])) == Some(0)));
    let (one, _) = file(&folder, "one", 1, 5000);
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).expect("writable");
    file(&folder, "tree/file", 2, 5000);
    let data = text(&keeps.data);
    for way in
        [&["store", "--bootstrap", &address(&keeps)][..], &["store", "--data", data], &["ctl", "--data", data, "store"]]
    {
        for what in [&one, &tree] {
            let stored = run(&[way, &["-q", text(what)]].concat());
            assert_eq!((code(&stored), stored.stdout.len()), (Some(5), 65), "{way:?}: {}", said(&stored));
            let (told, name) = (said(&stored), text(what));
            let is_told = [name, "too few copies", "full", "--capacity"].iter().all(|part| told.contains(part));
            assert!(is_told, "{way:?}: {told}");
        }
    }
}

#[test]
fn the_keys_alone_are_those_of_a_store_and_no_json() {
    let folder = folder();
    let peer = Launch::new(folder.path().join("peer")).start();
    let (one, _) = file(&folder, "one", 1, 1000);
    let ctl = |words: &[&str]| run(&[&["ctl", "--data", text(&peer.data)], words].concat());
    assert_eq!(code(&ctl(&["store", "-q", "--json", text(&one)])), Some(2));
    let status = ctl(&["-q", "status"]);
    assert!(code(&status) == Some(0) && printed(&status).contains("overlay"), "{}", printed(&status));
    let events = ctl(&["events", "x"]);
    assert!(code(&events) == Some(2) && said(&events).contains("events takes no"), "{}", said(&events));
    let short = ctl(&["retrieve", "f54f3", "x"]);
    assert!(code(&short) == Some(4) && said(&short).contains("six digits"), "{}", said(&short));
    let taken = run(&["peer", "--json", "--port", "0", "--exit-on-eof", "--data", text(&peer.data)]);
    assert!(code(&taken) == Some(7) && printed(&taken).contains("\"kind\":\"not_started\""), "{}", printed(&taken));
}

/// A shell's loop ends where its command died of the signal.
#[test]
fn a_client_that_is_interrupted_dies_of_the_signal() {
    let folder = folder();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let nobody = silent.local_addr().expect("bound").to_string();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (path, _) = file(&folder, "original", 6, 1000);
        let mut client = program()
            .args(["store", text(&path), "--bootstrap", &nobody])
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        // It asks the silent one: its threads run.
        silent.recv_from(&mut [0; 1500]).expect("a datagram");
        kill(Pid::from_raw(client.id().try_into().expect("a process id")), signal).expect("it runs");
        assert_eq!(client.wait().expect("it ends").signal(), Some(signal as i32));
    }
}

#[test]
fn the_readme_tells_every_exit_code_as_help_does() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("it is there");
    let table = readme.split("## Exit codes").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let help =
        String::from_utf8(run(&["--help"]).stdout).expect("text").split_whitespace().collect::<Vec<_>>().join(" ");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), 11, "{table}");
    for row in rows {
        let again = if row[3].is_empty() { String::new() } else { format!(" [{}]", row[3]) };
        let line = format!("{} {}{again}", row[1], row[2].replace('`', ""));
        assert!(help.contains(&line), "help does not say {line:?}: {help}");
    }
}

/// Nothing is where a script believes it to be then, and no key is unknown.
#[test]
fn of_a_peer_that_has_met_nobody_a_piped_store_and_a_piped_retrieve_have_failed() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 8, 1000);
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let bootstrap = silent.local_addr().expect("it is bound").to_string();
    for overlay in ["kad", "ring"] {
        for line in [format!("store {}", text(&path)), format!("retrieve {KEY} {}", text(&folder.path().join("back")))]
        {
            let mut peer = program()
                .args(["peer", "--port", "0", "--exit-on-eof", "--overlay", overlay, "--bootstrap", &bootstrap])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts");
            peer.stdin.take().expect("a pipe").write_all(line.as_bytes()).expect("it reads");
            let output = peer.wait_with_output().expect("it ends");
            assert_eq!(code(&output), Some(5), "{overlay}, {line}: {}{}", printed(&output), said(&output));
        }
    }
}

/// A script that keeps the key of what it stored must learn that it did not get it.
#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let (path, _) = file(&folder, "original", 6, 1000);
    let bootstrap = address(&peers[0]);
    for format in [&[][..], &["--json"]] {
        let full = fs::File::create("/dev/full").expect("the system has it");
        let arguments = [&["store", text(&path), "--bootstrap", &bootstrap], format].concat();
        let output = program().args(arguments).stdout(full).output().expect("the program runs");
        assert_eq!(code(&output), Some(1), "{}", said(&output));
        assert!(said(&output).contains("No space left"), "{}", said(&output));
    }
    let full = fs::File::create("/dev/full").expect("the system has it");
    let output = program().args(["report", &bootstrap, "--once"]).stdout(full).output().expect("the program runs");
    assert_eq!(code(&output), Some(1), "{}", said(&output));
}

#[test]
fn help_that_cannot_be_written_is_a_failure() {
    let words: [&[&str]; 8] = [
        &["help"],
        &["--help"],
        &["--version"],
        &["help", "store"],
        &["store", "--help"],
        &["man"],
        &["completions", "bash"],
        &["json"],
    ];
    for words in words {
        let full = fs::File::create("/dev/full").expect("the system has it");
        let output = program().args(words).stdout(full).output().expect("the program runs");
        assert_eq!(code(&output), Some(1), "{words:?}: {}", said(&output));
        assert!(said(&output).contains("No space left"), "{words:?}: {}", said(&output));
    }
    assert!(run(&["--version"]).stdout.starts_with(b"kadring "));
}

#[test]
fn a_configuration_file_without_an_end_is_refused() {
    assert_ends(&["ping", "127.0.0.1:1", "--config", "/dev/zero"], 2, "it has more than 1048576 bytes");
}

/// What is written to /dev/null is done with, however it was opened: Python and Node open it for reading and writing,
/// as Rust does where standard output was closed.
#[test]
fn an_answer_to_nobody_is_no_failure() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    let (path, _) = file(&folder, "original", 6, 1000);
    let key = key_of(&run(&["store", text(&path), "--bootstrap", &address(&peers[0])]));
    let lines = ["store \"$2\"", "store \"$2\" -q", "cat \"$3\"", "retrieve \"$3\" -"];
    for (line, redirection) in lines.into_iter().zip([">&-", "1<>/dev/null", "1<>/dev/null", ">&-"]) {
        let mut shell = shell();
        shell.args(["-c", &format!("\"$0\" {line} --bootstrap \"$1\" {redirection}")]);
        let args = [env!("CARGO_BIN_EXE_kadring"), &address(&peers[0]), text(&path), &key];
        let output = shell.args(args).output().expect("it runs");
        assert_eq!(code(&output), Some(0), "{line} {redirection}: {}", said(&output));
    }
}

/// A reader that closes its end is no reason to call a store done whose key nobody has read.
#[test]
fn a_peer_whose_answer_to_a_store_nobody_read_fails() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 6, 1000);
    let mut child = program()
        .args(["peer", "--port", "0", "--exit-on-eof", "--data", text(&folder.path().join("data"))])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("piped");
    writeln!(stdin, "store '{}'", path.display()).expect("it reads");
    drop(stdin);
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}

#[test]
fn what_a_client_stores_from_an_empty_input_is_an_empty_file() {
    let folder = folder();
    let peers = crate::support::cluster(&folder, 1, &[]);
    for redirection in ["<&-", "</dev/null", "<>/dev/null"] {
        let mut shell = shell();
        shell.args(["-c", &format!("\"$0\" store - --bootstrap \"$1\" {redirection}")]);
        let output = shell.args([env!("CARGO_BIN_EXE_kadring"), &address(&peers[0])]).output().expect("it runs");
        assert_eq!(code(&output), Some(0), "{redirection}: {}", said(&output));
    }
}
