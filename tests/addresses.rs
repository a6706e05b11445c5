//! Peers that listen on every address of their machine, as those of several machines do.

mod support;

use std::net::SocketAddr;

use support::{Launch, PeerProcess, file, until};
use tempfile::tempdir;

/// The addresses that a peer knows others by.
fn known(peer: &mut PeerProcess) -> Vec<SocketAddr> {
    let answer = peer.ask("peers");
    let peers = answer["peers"].as_array().expect("a list").iter();
    peers.map(|peer| peer["addr"].as_str().and_then(|addr| addr.parse().ok()).expect("an address")).collect()
}

#[test]
fn who_listens_on_all_addresses_is_told_of_by_one_that_reaches_it() {
    for overlay in ["kad", "ring"] {
        let folder = tempdir().expect("a temporary folder");
        let mut peers: Vec<PeerProcess> = Vec::new();
        for n in 0..4 {
            let launch = Launch::new(folder.path().join(format!("peer{n}")));
            let launch = launch.args(&["--overlay", overlay, "--bind", "0.0.0.0"]);
            peers.push(match peers.first() {
                Some(first) => launch.through(first.port).start(),
                None => launch.start(),
            });
        }
        for peer in &mut peers {
            until(|| known(peer).len() == 3);
            let known = known(peer);
            assert!(known.iter().all(|addr| !addr.ip().is_unspecified()), "{overlay}: {known:?}");
        }
        let (path, original) = file(&folder, "original", 1, 3_000_000);
        let answer = peers[1].ask(&format!("store '{}'", path.display()));
        assert_eq!((&answer["answer"], &answer["wanted"]), (&"stored".into(), &4.into()), "{answer}");
        let key = answer["key"].as_str().expect("a key").to_owned();
        peers[3].retrieve(&key, &folder.path().join("back"), &original);
    }
}
