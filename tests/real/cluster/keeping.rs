//! Files that peers keep, of every size and in every number of peers.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use super::clusters::{MIB, OVERLAYS, folder, least_copies};
use crate::support::{Launch, cluster, file, program, until};

#[test]
fn one_two_and_three_peers_keep_files_of_every_size() {
    for overlay in OVERLAYS {
        for peers in 1..=3 {
            let folder = folder();
            let mut cluster = cluster(&folder, peers, &["--overlay", overlay]);
            for (n, size) in [0, 1, 10, MIB - 1, MIB, MIB + 1, 5 * MIB + 17].into_iter().enumerate() {
                let (path, original) = file(&folder, &format!("original{n}"), n as u64, size);
                let answer = cluster[0].ask(&format!("store '{}'", path.display()));
                assert_eq!(answer["answer"], "stored", "{answer}");
                assert_eq!(answer["wanted"], peers, "copies are clamped to the peers there are: {answer}");
                let key = answer["key"].as_str().expect("a key").to_owned();
                for (m, peer) in cluster.iter_mut().enumerate() {
                    peer.retrieve(&key, &folder.path().join(format!("back{n}-{m}")), &original);
                }
            }
            assert_eq!(least_copies(&cluster), peers);
        }
    }
}

#[test]
fn peers_of_plain_and_of_batched_system_calls_keep_files_together() {
    for overlay in OVERLAYS {
        let folder = folder();
        let mut cluster: Vec<crate::support::PeerProcess> = Vec::new();
        for (name, plain) in [("plain", true), ("batched", false), ("plain too", true)] {
            let launch = Launch::new(folder.path().join(name)).args(&["--overlay", overlay]);
            let launch = if plain { launch.env("KADRING_PLAIN", "1") } else { launch };
            cluster.push(match cluster.first() {
                Some(first) => launch.through(first.port).start(),
                None => launch.start(),
            });
        }
        for at in 0..2 {
            // The others pull it from this one.
            let (path, original) = file(&folder, &format!("original{at}"), at as u64, 2 * MIB + 5);
            let key = cluster[at].store(&path);
            cluster[2].retrieve(&key, &folder.path().join(format!("back{at}")), &original);
        }
        assert_eq!(least_copies(&cluster), 3);
    }
}

#[test]
fn every_block_lies_as_a_plain_file_under_its_own_sha256() {
    let folder = folder();
    let mut cluster = cluster(&folder, 1, &[]);
    let (path, _) = file(&folder, "original", 1, 3 * MIB);
    cluster[0].store(&path);
    let blocks: Vec<_> = crate::support::walk(&cluster[0].data.join("blocks"));
    assert_eq!(blocks.len(), 4, "three blocks and their manifest");
    for block in blocks {
        let name = block.file_name().and_then(|name| name.to_str()).expect("a key").to_owned();
        assert_eq!(kadring::id::Id::of(&fs::read(&block).expect("readable")).to_string(), name);
        assert!(block.parent().expect("a folder").ends_with(&name[..2]));
    }
}

#[test]
fn a_restarted_peer_finds_its_network_and_its_blocks_again_without_a_bootstrap_address() {
    for overlay in OVERLAYS {
        let folder = folder();
        let mut cluster = cluster(&folder, 3, &["--overlay", overlay]);
        let (path, original) = file(&folder, "original", 2, 2 * MIB);
        let key = cluster[0].store(&path);
        let (id, held) = (cluster[2].id.clone(), cluster[2].blocks());
        until(|| cluster[2].data.join("peers.json").exists());
        let data = cluster.pop().expect("three").kill();
        let mut back = Launch::new(&data).args(&["--overlay", overlay]).start();
        assert_eq!(back.id, id, "a peer keeps its id");
        assert_eq!(back.blocks(), held);
        until(|| back.ask("peers")["peers"].as_array().is_some_and(|peers| peers.len() == 2));
        back.retrieve(&key, &folder.path().join("back"), &original);
    }
}

#[test]
fn what_is_cleared_is_here_no_more() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("data")).start();
    let (path, _) = file(&folder, "original", 11, 2 * MIB);
    let (manifest, back) = (folder.path().join("manifest"), folder.path().join("back"));
    let stored = peer.ask(&format!("store '{}' '{}'", path.display(), manifest.display()));
    let key = stored["key"].as_str().expect("a key");
    assert_eq!(peer.blocks().len(), 3);
    let cleared = peer.ask(&format!("clear --force '{}'", manifest.display()));
    assert_eq!((&cleared["answer"], &cleared["blocks"]), (&json!("cleared"), &json!(2)), "the list names no manifest");
    assert_eq!(peer.blocks(), [key]);
    let lost = peer.ask(&format!("retrieve {key} '{}'", back.display()));
    assert_eq!((&lost["kind"], back.exists()), (&json!("not_found"), false), "{lost}");
    assert_eq!(peer.ask(&format!("clear --force {key}"))["blocks"], 1);
    assert_eq!((peer.blocks().len(), &peer.ask("list")["blocks"]), (0, &json!([])));
}

#[test]
fn clear_keeps_what_nobody_else_holds_unless_it_is_forced() {
    let folder = folder();
    let mut cluster = cluster(&folder, 2, &[]);
    let (path, _) = file(&folder, "original", 13, 2 * MIB);
    let key = cluster[0].store(&path);
    let answer = cluster[0].ask(&format!("clear {key}"));
    assert_eq!((&answer["blocks"], &answer["kept"]), (&json!(3), &json!(0)), "the other peer has them");
    let alone = cluster.pop().expect("two");
    cluster.pop().expect("one").kill();
    let ctl =
        |words: &[&str]| program().args(["ctl", "--data"]).arg(&alone.data).args(words).output().expect("it runs");
    let kept = ctl(&["clear", &key]);
    let told = String::from_utf8_lossy(&kept.stdout).into_owned();
    assert_eq!((kept.status.code(), alone.blocks().len()), (Some(3), 3), "{told}");
    assert!(told.starts_with("cleared 0 blocks; no copy of 3 others was found elsewhere"), "{told}");
    assert_eq!(ctl(&["clear", "--force", &key]).status.code(), Some(0));
    assert_eq!(alone.blocks(), [""; 0]);
}

#[test]
fn a_guest_stores_and_retrieves_and_leaves_no_trace_in_any_table() {
    let folder = folder();
    let mut cluster = cluster(&folder, 2, &[]);
    let (path, original) = file(&folder, "original", 9, 3 * MIB);
    let bootstrap = format!("127.0.0.1:{}", cluster[0].port);
    let run = |args: &[&str]| {
        let output = program().args(args).args(["--bootstrap", &bootstrap, "--json"]).stdin(Stdio::null()).output();
        let output = output.expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let stored: Value = serde_json::from_str(run(&["store", path.to_str().expect("text")]).trim()).expect("JSON");
    let key = stored["key"].as_str().expect("a key").to_owned();
    let dest = folder.path().join("back");
    run(&["retrieve", &key, dest.to_str().expect("text")]);
    assert!(fs::read(&dest).expect("readable") == original);
    for peer in &mut cluster {
        let peers = peer.ask("peers");
        assert_eq!(peers["peers"].as_array().map(Vec::len), Some(1), "{peers}");
    }
}
