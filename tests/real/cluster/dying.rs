//! Peers that quit, that are killed, and that come; commands that are interrupted.

use std::fs;

use serde_json::{Value, json};

use super::clusters::{MIB, OVERLAYS, folder, least_copies};
use crate::support::{Launch, cluster, file, until};

#[test]
fn a_file_survives_kills_and_its_replica_sets_are_full_again() {
    for overlay in OVERLAYS {
        let folder = folder();
        let mut cluster = cluster(&folder, 6, &["--replicas", "3", "--overlay", overlay]);
        let (path, original) = file(&folder, "original", 3, 8 * MIB);
        let key = cluster[0].store(&path);
        for _ in 0..2 {
            cluster.remove(1).kill();
        }
        cluster[3].retrieve(&key, &folder.path().join("back"), &original);
        until(|| least_copies(&cluster) >= 3);
    }
}

#[test]
fn a_peer_that_quits_hands_over_first_and_one_that_joins_is_given_its_share() {
    for overlay in OVERLAYS {
        let folder = folder();
        let mut cluster = cluster(&folder, 3, &["--replicas", "2", "--overlay", overlay]);
        let (path, original) = file(&folder, "original", 4, 4 * MIB);
        let key = cluster[0].store(&path);
        let mut leaving = cluster.remove(1);
        let answer = leaving.ask("quit");
        assert_eq!((&answer["answer"], &answer["left_behind"]), (&json!("left"), &json!(0)), "{answer}");
        assert_eq!(leaving.wait(), Some(0));
        assert_eq!(least_copies(&cluster), 2, "nobody had to wait for repair");
        cluster.push(
            Launch::new(folder.path().join("late"))
                .args(&["--replicas", "3", "--overlay", overlay])
                .through(cluster[0].port)
                .start(),
        );
        cluster[2].retrieve(&key, &folder.path().join("back"), &original);
    }
}

#[test]
fn a_store_that_is_killed_leaves_nothing_half_written_and_can_be_said_again() {
    let folder = folder();
    let mut cluster = cluster(&folder, 3, &[]);
    let (path, original) = file(&folder, "original", 5, 48 * MIB);
    let mut storing = cluster.remove(0);
    storing.tell(&format!("store '{}'", path.display()));
    until(|| cluster[0].blocks().len() > 3);
    let data = storing.kill();
    for peer in &cluster {
        for block in crate::support::walk(&peer.data.join("blocks")) {
            let Some(name) = block.file_name().and_then(|name| name.to_str()).filter(|name| name.len() == 64) else {
                continue;
            };
            let Ok(bytes) = fs::read(&block) else { continue };
            assert_eq!(kadring::id::Id::of(&bytes).to_string(), name, "a named block is whole");
        }
    }
    let mut again = Launch::new(&data).through(cluster[0].port).start();
    let key = again.store(&path);
    cluster[1].retrieve(&key, &folder.path().join("back"), &original);
}

#[test]
fn an_interrupted_retrieve_goes_on_where_it_stopped() {
    let folder = folder();
    let mut cluster = cluster(&folder, 2, &["--replicas", "1"]);
    let (path, original) = file(&folder, "original", 6, 64 * MIB);
    let key = cluster[0].store(&path);
    let dest = folder.path().join("back");
    let mut client =
        Launch::new(folder.path().join("client")).args(&["--replicas", "1"]).through(cluster[0].port).start();
    client.tell(&format!("retrieve {key} '{}'", dest.display()));
    let part = || {
        let mut entries = fs::read_dir(folder.path()).expect("readable").flatten();
        entries.find(is_part).map(|entry| entry.path())
    };
    let blocks_there = |path: &std::path::Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).is_ok_and(|part| part.blocks() * 512 > 4 * MIB as u64)
    };
    until(|| dest.exists() || part().is_some_and(|part| blocks_there(&part)));
    client.kill();
    if dest.exists() {
        return assert!(fs::read(&dest).expect("readable") == original, "it was quicker than the kill");
    }
    let mut client =
        Launch::new(folder.path().join("client2")).args(&["--replicas", "1"]).through(cluster[0].port).start();
    let answer = client.retrieve(&key, &dest, &original);
    assert!(answer["resumed"].as_u64().expect("a number") > 0, "{answer}");
    assert!(part().is_none(), "the temporary file became the destination");
}

#[test]
fn holders_killed_in_the_middle_of_a_retrieve_cost_retries_but_not_the_file() {
    for overlay in OVERLAYS {
        let folder = folder();
        let mut cluster = cluster(&folder, 5, &["--replicas", "3", "--overlay", overlay]);
        let (path, original) = file(&folder, "original", 10, 32 * MIB);
        let key = cluster[0].store(&path);
        let dest = folder.path().join("back");
        let mut reader = cluster.remove(0);
        reader.tell(&format!("retrieve {key} '{}'", dest.display()));
        until(|| {
            dest.exists() || fs::read_dir(folder.path()).expect("readable").flatten().any(|entry| is_part(&entry))
        });
        for _ in 0..2 {
            cluster.remove(1).kill();
        }
        let answer: Value = serde_json::from_str(&reader.line()).expect("JSON");
        assert_eq!(answer["answer"], "retrieved", "{answer}");
        assert!(fs::read(&dest).expect("it is there") == original);
    }
}

fn is_part(entry: &fs::DirEntry) -> bool {
    entry.path().extension().is_some_and(|extension| extension == "part")
}
