//! A peer that stands still for a while, and a lookup that is explained, as real processes.

use std::process::{Child, Stdio};

use kadring::overlay::OverlayKind;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::running::{KEY, folder, printed, run, said, text};
use crate::support::{Launch, PeerProcess, cluster, program, until};

fn ctl(peer: &PeerProcess, words: &[&str]) -> Child {
    let mut client = program();
    client.args(["ctl", "--data", text(&peer.data), "--json"]).args(words);
    client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    client.spawn().expect("it starts")
}

fn answer(client: Child) -> (Value, String) {
    let output = client.wait_with_output().expect("it ends");
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), said(&output))
}

/// Whether `threads` says that the node stands still.
fn stands(peer: &PeerProcess) -> bool {
    let (seen, _) = answer(ctl(peer, &["threads"]));
    let node = |thread: &Value| thread["name"] == "node" && thread["at"] == "stands still, as it was told to";
    seen["threads"].as_array().is_some_and(|threads| threads.iter().any(node))
}

fn took(paused: &Value) -> f64 {
    paused["took"].as_f64().unwrap_or_else(|| panic!("no pause: {paused}"))
}

#[test]
fn a_peer_stands_still_as_long_as_it_was_told_to_and_says_when_its_neighbours_call_it_dead() {
    for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
        let folder = folder();
        let mut peers = cluster(&folder, 2, &["--overlay", if kind == OverlayKind::Ring { "ring" } else { "kad" }]);
        // Longer than it takes until a node counts as stuck.
        let pause = ctl(&peers[1], &["pause", "2.5"]);
        until(|| stands(&peers[1]));
        let status = ctl(&peers[1], &["status"]);
        let (paused, before) = answer(pause);
        assert!((2500.0..10_000.0).contains(&took(&paused)), "{paused}");
        let [least, most] = kind.silence().map(|span| span.as_secs_f64());
        assert!(before.contains(&format!("call it dead after {least:.1} to {most:.1} s of silence")), "{before}");
        assert_eq!((&paused["dead_after"], &paused["dead_within"]), (&json!(least * 1e3), &json!(most * 1e3)));
        assert_eq!(answer(status).0["answer"], "status", "what waited is done afterwards");
        let said = peers.remove(1).all_said();
        assert_eq!(said, "", "nobody takes it for stuck");
    }
}

#[test]
fn a_pause_ends_with_the_client_that_asked_for_it_and_when_the_peer_is_told_to_leave() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let client = ctl(&peer, &["pause", "60"]);
    until(|| stands(&peer));
    kill(Pid::from_raw(client.id() as i32), Signal::SIGINT).expect("it runs");
    drop(answer(client));
    assert_eq!(answer(ctl(&peer, &["status"])).0["answer"], "status");

    let client = ctl(&peer, &["pause", "60"]);
    until(|| stands(&peer));
    peer.signal(Signal::SIGTERM);
    assert!(took(&answer(client).0) < 30_000.0);
    assert_eq!(peer.wait(), Some(0));
    let peer = Launch::new(folder.path().join("another")).start();
    for wrong in ["61", "0", "x"] {
        let (refused, _) = answer(ctl(&peer, &["pause", wrong]));
        assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("at most 60 seconds")), "{refused}");
    }
}

#[test]
fn a_lookup_is_explained_in_text_in_json_and_as_a_picture_on_both_overlays() {
    for kind in ["kad", "ring"] {
        let folder = folder();
        let peers = cluster(&folder, 3, &["--overlay", kind]);
        let picture = folder.path().join("lookup.svg");
        let words = ["ctl", "--data", text(&peers[0].data), "lookup", KEY, "--explain", "--svg", text(&picture)];
        let shown = printed(&run(&words));
        assert!(shown.contains("distance gained  why") && shown.contains(" went\n"), "{kind}: {shown}");
        let drawn = std::fs::read_to_string(&picture).expect("it is written");
        assert!(drawn.ends_with("</svg>\n") && drawn.contains("class=\"bar strong\""), "{kind}: {drawn}");
        let (told, _) = answer(ctl(&peers[0], &["lookup", KEY, "--explain"]));
        let asked = told["asked"].as_array().expect("questions");
        assert!(!asked.is_empty(), "{told}");
        let waited: f64 = asked.iter().filter_map(|one| one["waited"].as_f64()).sum();
        assert!((waited - told["took"].as_f64().expect("a time")).abs() < 0.01, "all of its time is told of: {told}");
        let missing = folder.path().join("none/at all.svg");
        let (refused, _) = answer(ctl(&peers[0], &["lookup", KEY, "--svg", text(&missing)]));
        assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("at all.svg")), "{refused}");
    }
}
