//! The classroom ring as a student sees it: every line of the assignment at the right peer, in order.

mod marker;
mod support;

use std::fs;
use std::process::{Command, Output, Stdio};

use marker::{Ends, Ring, Way};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use support::{bytes, program, until};

const EXAMPLE: [u8; 7] = [2, 4, 5, 8, 9, 14, 19];

/// The assignment's own story.
fn story(way: Way) {
    let mut ring = Ring::start(&EXAMPLE, way);
    let (stored, lying) = (bytes(1, 300_000), bytes(2, 1_200_000));
    ring.put(8, "2067", &stored);
    ring.put(8, "4103", &lying);

    ring.join(15, 4);
    ring.store(8, "2067", "Store");
    if !way.shared {
        ring.await_kept("2067", &stored);
    }
    ring.request(2, "4103", "Request", &lying);
    ring.quit(9, "Quit");
    ring.kill(14, Signal::SIGKILL);
    ring.request(4, "2067", "request", &stored);
    assert!(ring.has(8, "2067", &stored) && ring.has(8, "4103", &lying), "the originals are as they were");
}

#[test]
fn the_worked_example_with_pipes() {
    story(Way::default());
}

#[test]
fn the_worked_example_on_terminals_in_one_directory() {
    story(Way { ends: Ends::Terminal, shared: true, ..Way::default() });
}

#[test]
fn the_example_ring_heals_from_a_kill_as_the_assignment_shows() {
    let mut ring = Ring::start(&EXAMPLE, Way::default());
    ring.kill(14, Signal::SIGINT);
    ring.quit(9, "qUIT");
}

/// A ring of 5 to 12 random ids: joins at random places through random peers, files stored and requested everywhere,
/// peers that quit and are killed; every file is there after each of it.
fn random_ring(seed: u64) {
    println!("seed {seed}");
    let rng = &mut StdRng::seed_from_u64(seed);
    let mut ids: Vec<u8> = (0..=255).collect();
    ids.shuffle(rng);
    let (first, spare) = ids.split_at(rng.random_range(5..=12));
    let way = Way { shared: rng.random_bool(0.3), ..Way::default() };
    let mut ring = Ring::start(first, way);
    let any = |ring: &Ring, rng: &mut StdRng| {
        let ids: Vec<u8> = ring.peers.keys().copied().collect();
        *ids.choose(rng).expect("somebody is there")
    };
    let mut files = Vec::new();
    for number in 0..4 {
        let (file, at) = (format!("{:04}", rng.random_range(0..10_000)), any(&ring, rng));
        if files.iter().any(|(other, _)| *other == file) {
            continue;
        }
        let content = bytes(seed + number, rng.random_range(1..200_000));
        ring.put(at, &file, &content);
        ring.store(at, &file, "store");
        ring.await_kept(&file, &content);
        files.push((file, content));
    }
    for step in 0..4 {
        match step {
            0 => ring.join(spare[0], any(&ring, rng)),
            1 => ring.quit(any(&ring, rng), "quit"),
            2 => ring.join(spare[1], any(&ring, rng)),
            _ => ring.kill(any(&ring, rng), Signal::SIGKILL),
        }
        for (file, content) in &files {
            let at = any(&ring, rng);
            if !way.shared {
                ring.await_kept(file, content);
            }
            ring.request(at, file, "request", content);
        }
    }
}

#[test]
fn random_rings_one() {
    random_ring(1);
}

#[test]
fn random_rings_two() {
    random_ring(2);
}

#[test]
fn random_rings_three() {
    random_ring(3);
}

#[test]
fn every_peer_is_a_way_in_at_every_place_of_the_circle() {
    let ids = [3, 60, 61, 130, 250];
    let mut ring = Ring::start(&ids, Way::default());
    for known in ids {
        // Before the first, between, next to one another, and past the last.
        for new in [0, 30, 62, 255] {
            ring.join(new, known);
            ring.quit(new, "Quit");
        }
    }
}

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
    let gone: Vec<marker::Peer> = [9, 14].iter().filter_map(|id| ring.peers.remove(id)).collect();
    let told = |ring: &mut Ring, line: &str| ring.peer(8).all().iter().any(|other| other == line);
    until(|| told(&mut ring, "Peer 9 is no longer alive") && told(&mut ring, "Peer 14 is no longer alive"));
    drop(gone);
    let received = ring.dir(5).join("received_0009.pdf");
    ring.peer(5).tell("Request 0009");
    until(|| fs::read(&received).is_ok_and(|bytes| bytes == content));
}

#[test]
fn a_file_nobody_has_and_a_name_that_is_none_get_clear_answers() {
    let mut ring = Ring::start(&EXAMPLE, Way::default());
    ring.request_in_vain(2, "4103");
    // What the responsible peer tells its own user comes from two sides, and in the order in which it happened.
    for _ in 0..20 {
        ring.request_in_vain(8, "4103");
    }
    for bad in ["a912", "32134", "''", "../x", ""] {
        ring.peer(4).tell(&format!("Store {bad}"));
    }
    ring.peer(4).tell("Request 0001 a912");
    ring.peer(4).tell("frobnicate");
    until(|| ring.peer(4).all().iter().filter(|line| line.starts_with("error: ")).count() == 7);
    let errors: Vec<String> = ring.peer(4).all().into_iter().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors[..4].iter().chain([&errors[5]]).all(|line| line.contains("four digits")), "{errors:?}");
    assert!(errors[4].contains("usage: store NAME"), "{errors:?}");
    assert!(!ring.folder.path().join("x.pdf").exists());
}

#[test]
fn several_names_at_once_and_lines_stuck_together() {
    let mut ring = Ring::start(&EXAMPLE, Way::default());
    let names = ["0005", "0009", "0200"];
    for name in names {
        ring.put(4, name, name.as_bytes());
    }
    ring.peer(4).tell("store 0005 0009\nstore 0200\nrequest 0005 0009 0200\n\n# a comment\nquit");
    assert_eq!(ring.peer(4).wait(), Some(0), "{}", ring.shown());
    for name in names {
        let received = fs::read(ring.dir(4).join(format!("received_{name}.pdf"))).expect("it came");
        assert_eq!(received, name.as_bytes());
    }
}

#[test]
fn peers_that_start_far_apart_raise_no_false_alarm() {
    let ring = Ring::start(&[1, 100, 200], Way { interval: "0.2", ..Way::default() });
    // Long enough for three missed pings in a row, had they been missed.
    let begin = ring.peers[&1].all().len();
    until(|| ring.peers[&1].all().len() > begin + 60);
    for peer in ring.peers.values() {
        assert!(!peer.all().iter().any(|line| line.contains("alive")), "{}", ring.shown());
    }
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
    let told = |peer: &marker::Peer| peer.all().iter().filter(|line| line.starts_with("Request for File")).count();
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

fn run(ring: &Ring, words: &[&str]) -> Output {
    let base = ring.base.to_string();
    let mut command: Command = program();
    let child = command.args(words).args(["--base-port", &base]).stdin(Stdio::null()).output();
    child.expect("the program runs")
}

#[test]
fn what_cannot_start_says_why() {
    let ring = Ring::start(&[10, 20, 30], Way::default());
    let elsewhere = format!("20@127.0.0.1:{}", ring.base + 77);
    for (words, code, reason) in [
        (&["ring", "join", "256", "10", "1"][..], 2, "0 to 255"),
        (&["ring", "init", "1", "2", "300", "1"], 2, "0 to 255"),
        (&["ring", "join", "15", "10", "0"], 2, "seconds"),
        (&["ring", "join", "15", "10"], 2, "PING_INTERVAL"),
        (&["ring", "join", "15", "15", "1"], 2, "itself"),
        (&["ring", "join", "20", "10", "1"], 7, "runs already"),
        (&["ring", "join", &elsewhere, "10", "1"], 7, "taken"),
        (&["ring", "join", "15", "99", "1"], 5, "does not answer"),
        (&["ring", "join", "15", "10", "1", "--dir", "/nowhere"], 2, "--dir"),
    ] {
        let output = run(&ring, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(reason), "{words:?}: {said}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
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
    assert!(![10, 20, 30].into_iter().any(hidden), "temporary files are gone");
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

fn report(ring: &Ring, words: &[&str]) -> String {
    let output = run(ring, &[&["report"], words].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_reporter_finds_everybody_from_anybody_and_marks_who_is_gone() {
    let mut ring = Ring::start(&EXAMPLE, Way::default());
    let table = "Peer  2 - 14 > 19 > [ 2] >  4 >  5\n\
                 Peer  4 - 19 >  2 > [ 4] >  5 >  8\n\
                 Peer  5 -  2 >  4 > [ 5] >  8 >  9\n\
                 Peer  8 -  4 >  5 > [ 8] >  9 > 14\n\
                 Peer  9 -  5 >  8 > [ 9] > 14 > 19\n\
                 Peer 14 -  8 >  9 > [14] > 19 >  2\n\
                 Peer 19 -  9 > 14 > [19] >  2 >  4\n";
    for id in EXAMPLE {
        let mut shown = String::new();
        until(|| {
            shown = report(&ring, &[&id.to_string(), "--once"]);
            shown == table
        });
    }
    let address = format!("127.0.0.1:{}", ring.base + 4);
    let json = report(&ring, &[&address, "--once", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("one line of JSON");
    assert_eq!((json["overlay"].as_str(), json["peers"].as_array().map(Vec::len)), (Some("ring"), Some(7)));
    assert!(ring.peers.values().all(|peer| !peer.all().iter().any(|line| line.contains("Join"))), "it only asks");

    ring.peer(9).signal(Signal::SIGKILL);
    until(|| report(&ring, &["5", "--once"]).ends_with("Unmonitored Peers (1): 9\n"));
    let nobody = run(&ring, &["report", "77", "--once"]);
    assert_eq!(nobody.status.code(), Some(5), "nobody answers there");
}
