//! Starting: in any order, far apart, or not at all.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use kadring::runtime::{LocalPeer, Options};

use super::program::run;
use crate::marker::{Ring, Way};
use crate::support::{bytes, until};

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
fn a_join_through_a_peer_that_is_started_seconds_later_goes_on_once_that_is_there() {
    for later in [1500, 2500, 4000] {
        let mut ring = Ring::empty(Way::default());
        ring.launch(7, &["join", "7", "2", "1"]);
        let begin = Instant::now();
        until(|| begin.elapsed() >= Duration::from_millis(later));
        ring.launch(2, &["init", "2", "2", "2", "1"]);
        for (id, line) in [(7, "Join request has been accepted"), (2, "Peer 7 Join request received")] {
            until(|| {
                assert!(begin.elapsed() < Duration::from_secs(20), "{}", ring.shown());
                ring.peer(id).all().iter().any(|told| told == line)
            });
        }
        let lines = ring.peer(2).all();
        assert!(!lines.iter().any(|line| line.contains("depart") || line.contains("alive")), "{}", ring.shown());
    }
}

#[test]
fn who_is_refused_by_a_ring_that_is_started_seconds_later_is_told_that_and_not_that_nobody_answers() {
    let mut ring = Ring::empty(Way::default());
    let elsewhere = format!("20@127.0.0.1:{}", ring.base + 77);
    ring.launch(77, &["join", &elsewhere, "10", "1"]);
    let begin = Instant::now();
    until(|| begin.elapsed() >= Duration::from_millis(2500));
    ring.launch(10, &["init", "10", "20", "20", "1"]);
    ring.launch(20, &["init", "20", "10", "10", "1"]);
    let code = ring.peer(77).wait();
    let said = ring.peer(77).said();
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("peer 20 was not let into the ring: the id is taken"), "{said}");
}

#[test]
fn what_is_typed_before_the_others_have_started_waits_for_them() {
    let (stored, requested) = (bytes(1, 40_000), bytes(2, 30_000));
    let mut ring = Ring::empty(Way::default());
    let ids = [10, 50, 90, 130];
    let launch = |ring: &mut Ring, at: usize| {
        let words = [0, 1, 2].map(|step| ids[(at + step) % 4].to_string());
        ring.launch(ids[at], &["init", &words[0], &words[1], &words[2], "1"]);
    };
    launch(&mut ring, 0);
    ring.put(10, "0080", &stored);
    ring.peer(10).tell("store 0080\nrequest 0120");
    until(|| ring.peer(10).all().iter().any(|line| line == "Store 0080 request forwarded to my successor"));
    launch(&mut ring, 1);
    // It has the other one for its second successor, and would go to it alone.
    launch(&mut ring, 3);
    ring.put(130, "0120", &requested);
    until(|| ring.peer(50).all().iter().any(|line| line == "Ping response received from Peer 130"));
    assert!(!ring.peer(130).all().iter().any(|line| line.contains("0080")), "{}", ring.shown());
    launch(&mut ring, 2);
    ring.await_kept("0080", &stored);
    let received = ring.dir(10).join("received_0120.pdf");
    until(|| fs::read(&received).is_ok_and(|bytes| bytes == requested));
    assert!(ring.peer(90).all().iter().any(|line| line == "Store 0080 request accepted"), "{}", ring.shown());
}

#[test]
fn who_is_told_to_quit_as_soon_as_both_before_it_pinged_tells_them() {
    let ids = [10, 50, 90, 130];
    let mut ring = Ring::empty(Way::default());
    for at in [0, 1, 3, 2] {
        let words = [0, 1, 2].map(|step| ids[(at + step) % 4].to_string());
        ring.launch(ids[at], &["init", &words[0], &words[1], &words[2], "1"]);
    }
    for before in [10, 50] {
        let ping = format!("Ping request message received from Peer {before}");
        until(|| ring.peer(90).all().contains(&ping));
    }
    ring.peer(90).tell("Quit");
    assert_eq!(ring.peer(90).wait(), Some(0));
    ring.peers.remove(&90);
    for (id, first, second) in [(10, 50, 130), (50, 130, 10)] {
        let begin = |line: &String| line == "Peer 90 will depart from the network";
        let told = |ring: &mut Ring| ring.peer(id).all().into_iter().skip_while(|line| !begin(line)).take(3);
        until(|| told(&mut ring).count() == 3);
        let new = [("first", first), ("second", second)].map(|(at, id)| format!("My new {at} successor is Peer {id}"));
        assert_eq!(told(&mut ring).skip(1).collect::<Vec<_>>(), new, "{}", ring.shown());
    }
}

#[test]
fn of_successors_that_are_named_in_another_order_than_theirs_the_peer_says_which_it_takes_for_the_first() {
    let mut ring = Ring::empty(Way::default());
    for words in [["2", "5", "4"], ["4", "5", "2"], ["5", "5", "4"]] {
        let id = words[0].parse().expect("a number");
        ring.launch(id, &["init", words[0], words[1], words[2], "1"]);
    }
    ring.settle();
    let said = [2, 4, 5].map(|id| ring.peer(id).said());
    assert!(said[0].contains("peer 4 comes before peer 5"), "{}", said[0]);
    assert_eq!(said[1], "");
    assert!(said[2].contains("peer 5 is named as its own first successor"), "{}", said[2]);
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

/// A port that is in use is no proof that the peer runs: who else has it is told, or at least which port it is.
#[test]
fn a_port_that_another_program_holds_is_told_as_such() {
    let ring = Ring::start(&[10, 20, 30], Way::default());
    let at = |id: u16| ("127.0.0.1", ring.base + id);
    let _tcp = TcpListener::bind(at(40)).expect("a free port");
    let _udp = UdpSocket::bind(at(50)).expect("a free port");
    let bind = SocketAddr::from(([127, 0, 0, 1], ring.base + 60));
    let kademlia = LocalPeer::start(Options { bind, ..Options::default() }).expect("a free port");
    let of_ring = format!("70@127.0.0.1:{}", ring.base + 20);
    let [tcp, udp] = [40, 50].map(|id| ring.base + id);
    for (peer, said) in [
        ("20", "peer 20 runs already".to_owned()),
        ("40", format!("peer 40 cannot start: TCP port {tcp} of 127.0.0.1 is held by a process that does not answer")),
        ("50", format!("peer 50 cannot start: UDP port {udp} of 127.0.0.1 is held by a process that does not answer")),
        ("60", "peer 60 cannot start: a peer of another network has its port".to_owned()),
        (&of_ring, "peer 70 cannot start: peer 20 of a ring has its port".to_owned()),
    ] {
        let output = run(&ring, &["ring", "join", peer, "10", "1"]);
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(7), "{peer}: {why}");
        assert!(why.contains(&said), "{peer}: {why}");
    }
    drop(kademlia);
}

#[test]
fn a_script_waits_for_the_ready_file_and_nothing_is_added_to_the_assignments_lines() {
    let mut ring = Ring::empty(Way::default());
    let ready = ring.dir(7).with_extension("ready");
    ring.launch(7, &["init", "7", "70", "200", "1", "--ready-file", ready.to_str().expect("text")]);
    until(|| ready.exists());
    let told: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&ready).expect("it is there")).expect("one line of JSON");
    assert_eq!(told["udp"], ring.base + 7, "{told}");
    assert!(!ring.peer(7).all().iter().any(|line| line.contains("READY")));
    let dear = ready.with_file_name("dear");
    fs::write(&dear, "dear").expect("writable");
    let refused = run(&ring, &["ring", "init", "8", "70", "200", "1", "--ready-file", dear.to_str().expect("text")]);
    assert_eq!(refused.status.code(), Some(2));
}
