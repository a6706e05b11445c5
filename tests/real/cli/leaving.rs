//! What a peer that leaves says of the blocks that it hands over, and how it exits.

use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::running::{KEY, code, folder, said, text};
use crate::support::{Launch, PeerProcess, cluster, file, program, until};

/// Two peers that hold a file, the first of which takes nothing any more.
fn two_and_one_is_stopped(folder: &tempfile::TempDir, args: &[&str]) -> [PeerProcess; 2] {
    let mut peers = cluster(folder, 2, args);
    let (path, _) = file(folder, "original", 1, 3_000_000);
    peers[1].store(&path);
    peers[0].signal(Signal::SIGSTOP);
    let [first, second] = <[PeerProcess; 2]>::try_from(peers).unwrap_or_else(|_| panic!("there are two"));
    [first, second]
}

#[test]
fn a_peer_whose_blocks_others_do_not_take_says_so_and_exits_5() {
    let folder = folder();
    let [_stopped, mut peer] = two_and_one_is_stopped(&folder, &["--handover-limit", "20s"]);
    peer.tell("quit");
    let answer = peer.answer();
    assert_eq!(
        (&answer["answer"], &answer["left_behind"], &answer["alone"]),
        (&json!("left"), &json!(4), &json!(false))
    );
    assert_eq!(peer.wait(), Some(5), "{}", peer.said());
}

#[test]
fn a_peer_that_a_signal_ends_waits_no_longer_than_its_limit_and_exits_5() {
    let folder = folder();
    let [_stopped, mut peer] = two_and_one_is_stopped(&folder, &["--handover-limit", "10ms"]);
    peer.signal(Signal::SIGTERM);
    let answer = peer.answer();
    assert_eq!((&answer["handed_over"], &answer["left_behind"]), (&json!(0), &json!(4)), "{answer}");
    assert_eq!(peer.wait(), Some(5));
}

#[test]
fn whoever_has_nobody_to_hand_over_to_or_shall_not_exits_0() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 1, 1000);
    let mut alone = Launch::new(folder.path().join("alone")).start();
    alone.store(&path);
    let answer = alone.ask("quit");
    assert_eq!((&answer["left_behind"], &answer["alone"]), (&json!(1), &json!(true)), "{answer}");
    assert_eq!(alone.wait(), Some(0));
    let [_stopped, mut peer] = two_and_one_is_stopped(&folder, &["--no-handover"]);
    assert_eq!(peer.ask("quit")["left_behind"], 4);
    assert_eq!(peer.wait(), Some(0));
}

#[test]
fn a_command_through_a_peer_that_is_told_to_leave_ends_with_5_for_it_may_be_tried_again() {
    let asked = folder();
    let (path, back) = (text(&file(&asked, "big", 2, 3_000_000).0).to_owned(), asked.path().join("back"));
    for words in [&["store", &path][..], &["retrieve", KEY, text(&back)]] {
        let folder = folder();
        let [_stopped, mut peer] = two_and_one_is_stopped(&folder, &["--handover-limit", "10ms"]);
        let command = [&["ctl", "--data", text(&peer.data), "--json"], words].concat();
        let client = program().args(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let client = client.expect("it starts");
        // The other peer is asked, and does not answer.
        until(|| peer.ask("status")["transfers"] == 1);
        peer.signal(Signal::SIGTERM);
        let ended = client.wait_with_output().expect("it ends");
        let answer: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
        assert_eq!((code(&ended), &answer["kind"]), (Some(5), &json!("gone")), "{answer} {}", said(&ended));
    }
}
