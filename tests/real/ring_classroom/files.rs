//! Where files lie, who has copies, and what comes back.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use kadring::config::Config;
use kadring::id::Id;
use kadring::node::{Answer, Command, Notice};
use kadring::overlay::OverlayKind;
use kadring::runtime::{LocalPeer, Options};
use nix::sys::signal::Signal;

use super::program::EXAMPLE;
use crate::marker::{Ring, Way};
use crate::support::{bytes, until};

#[test]
fn a_store_without_a_file_makes_an_empty_one_and_a_later_one_fills_it() {
    let mut ring = Ring::start(&[10, 50, 90, 130, 170], Way::default());
    ring.store(130, "0020", "Store");
    ring.await_kept("0020", b"");
    assert!(!ring.dir(130).join("0020.pdf").exists(), "nothing is made where there was nothing");
    ring.request(170, "0020", "Request", b"");
    let content = bytes(7, 70_000);
    ring.put(90, "0020", &content);
    ring.store(90, "0020", "Store");
    ring.await_kept("0020", &content);
    ring.request(50, "0020", "Request", &content);
    // A newer version takes the place of the copies, and never of the original.
    let newer = bytes(8, 80_000);
    ring.put(90, "0020", &newer);
    ring.store(90, "0020", "Store");
    ring.await_kept("0020", &newer);
    ring.request(50, "0020", "Request", &newer);
}

#[test]
fn what_is_stored_last_is_kept_even_if_it_is_as_long_and_as_old_as_what_was_there() {
    let mut ring = Ring::start(&[10, 50, 90, 130, 170], Way::default());
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    for (id, seed) in [(170, 7), (10, 8)] {
        let content = bytes(seed, 50_000);
        ring.put(id, "0020", &content);
        let file = fs::File::options().write(true).open(ring.dir(id).join("0020.pdf")).expect("it is there");
        file.set_modified(time).expect("a time of its own");
        ring.store(id, "0020", "Store");
        ring.await_kept("0020", &content);
    }
}

#[test]
fn who_cannot_write_what_was_requested_is_told_the_name_that_it_would_have() {
    let mut ring = Ring::start(&[2, 5, 9], Way::default());
    ring.put(9, "0009", &bytes(7, 5_000));
    // Permissions would not keep a superuser from writing there.
    fs::remove_dir(ring.dir(2)).expect("nothing is in it");
    fs::write(ring.dir(2), "no directory").expect("the folder is writable");
    ring.peer(2).tell("Request 0009");
    until(|| ring.peer(2).all().iter().any(|line| line.starts_with("error: file 0009")));
    let place = ring.dir(2).join("received_0009.pdf");
    let told = format!("error: file 0009: cannot write '{}': ", place.display());
    assert!(ring.peer(2).all().iter().any(|line| line.starts_with(&told)), "{}", ring.shown());
}

#[test]
fn a_file_that_somebody_else_put_in_its_place_is_left_alone() {
    let mut ring = Ring::start(&[10, 50, 90, 130, 170], Way::default());
    let (theirs, ours) = (bytes(1, 5_000), bytes(2, 6_000));
    ring.put(50, "0020", &theirs);
    ring.put(130, "0020", &ours);
    ring.peer(130).tell("store 0020");
    until(|| ring.peer(130).all().iter().any(|line| line.starts_with("error: file 0020 was not stored: another")));
    assert!(ring.has(50, "0020", &theirs) && ring.has(130, "0020", &ours));
}

#[test]
fn a_peer_that_has_just_joined_asks_its_neighbours_before_it_says_that_it_has_nothing() {
    let mut ring = Ring::start(&[10, 50, 90], Way::default());
    for round in 0..5 {
        let content = bytes(round, 60_000);
        ring.put(50, "0040", &content);
        ring.store(50, "0040", "store");
        ring.await_kept("0040", &content);
        ring.launch(45, &["join", "45", "10", "1"]);
        // It is responsible at once, and the file may not have come yet.
        ring.peer(45).tell("request 0040");
        let received = ring.dir(45).join("received_0040.pdf");
        until(|| fs::read(&received).is_ok_and(|bytes| bytes == content));
        assert!(!ring.peer(45).all().iter().any(|line| line.contains("not stored here")), "{}", ring.shown());
        ring.leave_out(45);
        fs::remove_dir_all(ring.dir(45)).expect("the folder is writable");
    }
}

#[test]
fn two_neighbours_killed_at_once_take_neither_the_ring_nor_a_file_with_them() {
    let mut ring = Ring::start(&EXAMPLE, Way::default());
    let content = bytes(9, 400_000);
    ring.put(2, "0009", &content);
    ring.store(2, "0009", "Store");
    // All three copies are there: 9, 14 and 19.
    until(|| [9, 14, 19].iter().all(|id| ring.has(*id, "0009", &content)));
    for id in [9, 14] {
        ring.peer(id).signal(Signal::SIGKILL);
    }
    let gone: Vec<crate::marker::Peer> = [9, 14].iter().filter_map(|id| ring.peers.remove(id)).collect();
    let told = |ring: &mut Ring, line: &str| ring.peer(8).all().iter().any(|other| other == line);
    until(|| told(&mut ring, "Peer 9 is no longer alive") && told(&mut ring, "Peer 14 is no longer alive"));
    drop(gone);
    let received = ring.dir(5).join("received_0009.pdf");
    ring.peer(5).tell("Request 0009");
    until(|| fs::read(&received).is_ok_and(|bytes| bytes == content));
}

#[test]
fn shortcuts_bring_the_same_files_in_fewer_steps() {
    let ids: Vec<u8> = (0..12).map(|n| n * 20).collect();
    let mut ring = Ring::start(&ids, Way { fingers: true, ..Way::default() });
    let content = bytes(3, 10_000);
    ring.put(0, "0155", &content);
    ring.peer(0).tell("store 0155");
    ring.await_kept("0155", &content);
    ring.peer(180).tell("request 0155");
    let received = ring.dir(180).join("received_0155.pdf");
    until(|| fs::read(&received).is_ok_and(|bytes| bytes == content));
    let told =
        |peer: &crate::marker::Peer| peer.all().iter().filter(|line| line.starts_with("Request for File")).count();
    let steps: usize = ring.peers.values().map(told).sum();
    assert!(steps < 5, "{steps} peers passed it on; around the circle it would be 10");
}

#[test]
fn a_peer_elsewhere_is_named_by_its_address() {
    let mut ring = Ring::start(&[10, 20, 30], Way::default());
    let (base, content) = (ring.base, bytes(4, 50_000));
    let [elsewhere, known] = [("25", 7), ("10", 10)].map(|(id, at)| format!("{id}@127.0.0.1:{}", base + at));
    ring.launch(25, &["join", &elsewhere, &known, "1"]);
    ring.settle();
    let accepted = "Join request has been accepted";
    assert!(ring.peer(25).all().iter().any(|line| line == accepted));
    ring.put(30, "0024", &content);
    ring.peer(30).tell("store 0024");
    ring.await_kept("0024", &content);
    ring.peer(20).tell("request 0024");
    until(|| ring.peer(20).all().iter().any(|line| line == "Peer 25 had File 0024"));
}

#[test]
fn a_large_file_comes_whole_and_a_broken_copy_never_appears() {
    let mut ring = Ring::start(&[10, 20, 30], Way::default());
    let content = bytes(5, 20 << 20);
    ring.put(10, "0025", &content);
    ring.store(10, "0025", "store");
    ring.await_kept("0025", &content);
    ring.request(20, "0025", "request", &content);
    until(|| ring.has(20, "0025", &content));
    let hidden = |id| {
        let mut entries = fs::read_dir(ring.dir(id)).expect("it is there").flatten();
        entries.any(|entry| entry.file_name().to_string_lossy().ends_with(".part"))
    };
    // An offer whose answer was late may have brought it once more.
    until(|| ![10, 20, 30].into_iter().any(hidden));
}

#[test]
fn a_new_peer_tidies_up_after_one_that_was_killed() {
    let mut ring = Ring::start(&[10, 20, 30], Way::default());
    fs::create_dir_all(ring.dir(25)).expect("the folder is writable");
    let part = ring.dir(25).join(".0024.pdf.abcdef.part");
    let half = fs::File::create(&part).expect("the folder is writable");
    half.set_modified(std::time::UNIX_EPOCH).expect("a time of its own");
    ring.join(25, 10);
    assert!(!part.exists());
}

#[test]
fn bytes_of_a_file_count_as_sent_whether_its_hash_was_known_or_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = vec![7; 300_000];
    fs::write(folder.path().join("0042.pdf"), &bytes).expect("writable");
    let files = Some(folder.path().to_owned());
    let config = Config { named_files: true, ..Config::default() };
    let peer = LocalPeer::start(Options { overlay: OverlayKind::Ring, files, config, ..Options::default() });
    let peer = peer.expect("it starts");
    let file = "0042".parse().expect("four digits");
    let stored = peer.submit(Command::StoreFile { file }).iter().last();
    assert!(matches!(stored, Some(Notice::Answer { answer: Answer::FileStored { .. }, .. })), "{stored:?}");
    let mut stream = TcpStream::connect(peer.me().addr).expect("it listens");
    for times in 1..=2 {
        stream.write_all(b"file 0042\n").expect("it reads");
        let mut lines = BufReader::new(&stream);
        let (mut begin, mut end, mut body) = (String::new(), String::new(), vec![0; bytes.len()]);
        lines.read_line(&mut begin).expect("its size and time");
        lines.read_exact(&mut body).expect("its bytes");
        lines.read_line(&mut end).expect("its hash");
        assert!(body == bytes && end.trim_end() == Id::of(&bytes).to_string(), "{begin}{end}");
        let status = peer.submit(Command::Status);
        let Ok(Notice::Answer { answer: Answer::Status(status), .. }) = status.recv() else { panic!("no status") };
        assert_eq!(status.moved.1, times * 300_000);
    }
}

/// What lies in a student's directory is the ring's only once it is stored: until then nobody gets it by its name. So
/// neither does the peer responsible for it, whom somebody tells in the student's name that it is stored.
#[test]
fn a_file_that_its_owner_has_not_stored_is_given_to_nobody() {
    let mut ring = Ring::start(&[10, 50, 90], Way::default());
    let content = bytes(5, 9_000);
    ring.put(90, "0020", &content);
    let ask = |ring: &Ring| {
        let mut asking = TcpStream::connect(("127.0.0.1", ring.base + 90)).expect("it listens");
        asking.write_all(b"file 0020\n").expect("it reads");
        let mut first = String::new();
        BufReader::new(asking).read_line(&mut first).expect("it answers");
        first
    };
    assert_eq!(ask(&ring), "error: this file was not stored here\n");
    ring.store(90, "0020", "store");
    ring.await_kept("0020", &content);
    assert!(ask(&ring).starts_with("9000 "), "whoever keeps it may have to ask once more");
}
