//! How safe files are, asked in each way in which a peer can be asked, and told by exit codes that scripts tell apart.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::running::{KEY, address, assert_ends, code, folder, printed, run, said, text};
use crate::support::{Launch, PeerProcess, cluster, file, program};

fn ctl(peer: &PeerProcess, words: &[&str]) -> Output {
    run(&[&["ctl", "--data", text(&peer.data), "--json"], words].concat())
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no line of JSON: {}", said(output)))
}

/// Where a peer keeps a block.
fn block(peer: &PeerProcess, key: &str) -> PathBuf {
    peer.data.join("blocks").join(&key[..2]).join(key)
}

#[test]
fn a_file_is_told_whole_thin_or_lost_through_the_control_socket_a_guest_and_a_pipe() {
    let folder = folder();
    let mut peers = cluster(&folder, 3, &[]);
    let (path, _) = file(&folder, "original", 2, 2_500_000);
    let key = peers[0].store(&path);
    let whole = ctl(&peers[1], &["check", &key, "--verify"]);
    let told = answer(&whole);
    assert_eq!((code(&whole), &told["health"], &told["copies"]), (Some(0), &json!("whole"), &json!([0, 0, 0, 4])));
    assert_eq!((&told["file"], told["peers"].as_array().map(Vec::len)), (&json!(key), Some(3)), "{told}");
    assert!(told["peers"].as_array().expect("peers").iter().all(|peer| peer["verified"] == 4), "{told}");
    for peer in &mut peers {
        assert_eq!(peer.ask("wait idle --deadline 30s")["answer"], "waited", "nobody looks at copies any more");
    }
    // A copy that rots is found by whoever has it hashed, and not before.
    // A list is read, and so would show it.
    let data = told["each"].as_array().expect("blocks").iter().find(|block| block["key"] != *key).expect("data");
    let rotten = data["key"].as_str().expect("a key").to_owned();
    let bytes = fs::read(block(&peers[2], &rotten)).expect("it is there");
    fs::write(block(&peers[2], &rotten), vec![0; bytes.len()]).expect("it is ours");
    let bootstrap = ["--bootstrap", &address(&peers[0]), "--json"];
    let claimed = run(&[&["check", &key], &bootstrap[..]].concat());
    assert_eq!((code(&claimed), &answer(&claimed)["health"]), (Some(0), &json!("whole")), "{}", said(&claimed));
    let thin = run(&[&["check", &key, "--verify"], &bootstrap[..]].concat());
    let told = answer(&thin);
    assert_eq!((code(&thin), &told["health"], &told["weakest"]), (Some(8), &json!("thin"), &json!(rotten)), "{told}");
    let repaired = ctl(&peers[0], &["check", &key, "--verify", "--repair"]);
    assert_eq!(code(&repaired), Some(0), "{}", printed(&repaired));
    assert_eq!(fs::read(block(&peers[2], &rotten)).expect("it is there again"), bytes);
    // Of several, the worst counts.
    let several = ctl(&peers[0], &["check", &key, KEY]);
    assert_eq!((code(&several), &answer(&several)["answer"]), (Some(4), &json!("all")), "{}", printed(&several));
    for order in [["nosuch", &key], [&key, "nosuch"]] {
        let several = run(&[&["check"], &order[..], &bootstrap[..]].concat());
        let kinds: Vec<_> =
            answer(&several)["answers"].as_array().expect("two").iter().map(|one| one["answer"].clone()).collect();
        assert!(code(&several) == Some(3) && kinds.contains(&json!("failed")), "{}", printed(&several));
    }
    let several = peers[1].ask(&format!("check nosuch {key}"));
    let [nosuch, known] = [0, 1].map(|at| &several["answers"][at]);
    assert_eq!((&nosuch["kind"], &known["health"]), (&json!("not_found"), &json!("whole")), "{several}");
    assert_eq!(peers[1].ask(&format!("check {KEY}"))["health"], "lost");
    assert_ends(&["check", "no such name", "--bootstrap", &address(&peers[0])], 4, "no such name");
    assert_eq!(peers[1].ask(&format!("check {key}"))["health"], "whole");
}

#[test]
fn a_file_whose_holder_is_silent_is_9_and_the_holder_is_named() {
    let folder = folder();
    let mut peers = cluster(&folder, 3, &[]);
    let (path, _) = file(&folder, "original", 3, 1000);
    let key = peers[0].store(&path);
    let silent = peers.pop().expect("three");
    let id = silent.id.clone();
    silent.kill();
    let unknown = ctl(&peers[0], &["check", &key]);
    let told = answer(&unknown);
    assert_eq!((code(&unknown), &told["health"]), (Some(9), &json!("unknown")), "{told}");
    let named = told["peers"].as_array().expect("peers").iter().filter(|peer| peer["silent"] != 0);
    assert_eq!(named.map(|peer| &peer["id"]).collect::<Vec<_>>(), [&json!(id)], "{told}");
    let text = run(&["ctl", "--data", text(&peers[0].data), "check", &key]);
    assert!(printed(&text).contains("unknown: ") || code(&text) == Some(0), "{}", printed(&text));
}

#[test]
fn scripts_wait_for_what_is_true_or_hear_at_the_deadline_what_lacks() {
    let folder = folder();
    let mut peers = cluster(&folder, 2, &[]);
    for what in [&["stable"][..], &["peers", "1"], &["idle"], &["safe"]] {
        let waited = ctl(&peers[0], &[&["wait"], what, &["--deadline", "30s"]].concat());
        assert_eq!((code(&waited), &answer(&waited)["answer"]), (Some(0), &json!("waited")), "{what:?}");
    }
    let late = ctl(&peers[0], &["wait", "peers", "5", "--deadline", "1"]);
    assert_eq!(code(&late), Some(5));
    assert!(answer(&late)["reason"].as_str().is_some_and(|reason| reason.contains("1 of 5 peers")), "{}", said(&late));
    for wrong in [&["wait"][..], &["wait", "sable"], &["wait", "peers"], &["wait", "copies"], &["wait", "peers", "x"]] {
        assert_eq!(code(&ctl(&peers[0], wrong)), Some(2), "{wrong:?}");
    }
    let (path, _) = file(&folder, "original", 4, 1000);
    let key = peers[0].store(&path);
    assert_eq!(code(&ctl(&peers[1], &["wait", "copies", &key, "2", "--deadline", "30s"])), Some(0));
    // What is piped is answered in its order.
    let words = ["ctl", "--data", text(&peers[0].data), "wait", "copies", &key, "3", "--deadline", "500ms"];
    assert_eq!(code(&run(&words)), Some(5), "there are two peers");
}

#[test]
fn a_scrub_on_request_tells_what_it_found_and_status_remembers_it() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).args(&["--scrub", "1d"]).start();
    let (path, _) = file(&folder, "original", 5, 3_000_000);
    let key = peer.store(&path);
    let blocks = peer.blocks().len();
    fs::write(block(&peer, &key), "rotten").expect("it is ours");
    let scrubbed = peer.ask("scrub");
    assert_eq!((&scrubbed["blocks"], &scrubbed["damaged"]), (&json!(blocks), &json!(1)), "{scrubbed}");
    assert!(!block(&peer, &key).exists() && peer.data.join("damaged").join(&key).exists());
    let scrub = peer.ask("status")["scrub"].clone();
    assert_eq!((&scrub["period"], &scrub["last"]["damaged"]), (&json!(86_400_000.0), &json!(1)), "{scrub}");
    let mut off = Launch::new(folder.path().join("off")).args(&["--scrub", "off"]).start();
    assert_eq!(off.ask("status")["scrub"], Value::Null);
    let mut client = program();
    client.args(["peer", "--port", "0", "--scrub", "soon", "--data", text(&folder.path().join("no"))]);
    let refused = client.stdin(Stdio::null()).output().expect("it runs");
    assert_eq!(code(&refused), Some(2), "{}", said(&refused));
}

#[test]
fn a_peer_that_is_full_is_told_as_the_reason_where_copies_lack() {
    let folder = folder();
    let mut peers = cluster(&folder, 2, &[]);
    let small = Launch::new(folder.path().join("small")).args(&["--capacity", "3MB"]).through(peers[0].port).start();
    let status = |peer: &PeerProcess| answer(&ctl(peer, &["status"]));
    assert_eq!(status(&small)["was_full"], Value::Null);
    let (path, _) = file(&folder, "original", 6, 8 << 20);
    let key = peers[0].store(&path);
    let told = answer(&ctl(&peers[0], &["check", &key]));
    assert_eq!(told["health"], "thin", "{told}");
    for peer in told["peers"].as_array().expect("peers") {
        assert_eq!(peer["full"], json!(peer["id"] == json!(small.id)), "{told}");
    }
    let text = printed(&run(&["ctl", "--data", text(&peers[0].data), "check", &key]));
    assert!(text.contains(" missing; it said that it is full"), "{text}");
    let late = answer(&ctl(&peers[0], &["wait", "copies", &key, "--deadline", "1s"]));
    let port = format!("127.0.0.1:{}", small.port);
    let reason = late["reason"].as_str().expect("a reason");
    assert!(reason.contains("no room at ") && reason.ends_with(&port), "{late}");
    assert!(status(&small)["was_full"].is_number() && status(&peers[0])["was_full"].is_null(), "{}", status(&small));
}
