//! Peers that listen on every address of their machine, as those of several machines do.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::support::{DEADLINE, Launch, PeerProcess, file, program, until};
use kadring::node::{Answer, Command, Notice};
use kadring::overlay::OverlayKind;
use kadring::runtime::survey::Surveyor;
use kadring::runtime::{LocalPeer, Options};
use serde_json::{Value, json};
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

/// A peer of this process on `bind` that joins through `bootstrap`.
fn start(overlay: OverlayKind, bind: &str, bootstrap: &[SocketAddr]) -> (LocalPeer, u16) {
    let (bind, bootstrap) = (bind.parse().expect("an address"), bootstrap.to_vec());
    let peer = LocalPeer::start(Options { bind, bootstrap, overlay, ..Options::default() }).expect("it starts");
    let ready = peer.ready(Some(DEADLINE)).expect("it joins");
    (peer, ready.udp)
}

/// Whether this machine has both families; where it has but one, there is nothing to be tried with two.
fn has_both_families() -> bool {
    let has = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        eprintln!("not tried: this machine has no IPv6");
    }
    has
}

#[test]
#[cfg(target_os = "linux")]
fn who_is_asked_where_this_machine_has_no_way_to_is_not_waited_for() {
    let (peer, _) = start(OverlayKind::Kademlia, "127.0.0.1:0", &[]);
    // It is of the other family.
    let addr = SocketAddr::from((Ipv6Addr::LOCALHOST, 7000));
    let answers: Vec<Notice> = peer.submit(Command::Ping { addr }).iter().collect();
    let [Notice::Answer { answer: Answer::Failed(failure), .. }] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(failure.reason, "[::1]:7000: this machine has no way there; is its network up?");
}

fn peers_of(peer: &LocalPeer) -> Vec<SocketAddr> {
    for notice in peer.submit(Command::Peers) {
        if let Notice::Answer { answer: Answer::Peers { peers }, .. } = notice {
            return peers.iter().map(|info| info.peer.addr).collect();
        }
    }
    panic!("it ended");
}

#[test]
fn who_is_asked_at_one_of_its_addresses_answers_from_that_one() {
    let binds: &[&str] = if has_both_families() { &["0.0.0.0:0", "[::]:0"] } else { &["0.0.0.0:0"] };
    for bind in binds {
        let (_peer, port) = start(OverlayKind::Kademlia, bind, &[]);
        let asker = UdpSocket::bind("127.0.0.1:0").expect("a port");
        asker.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        // In turns, so that answers to several addresses leave together; and in stretches, which leave as one datagram.
        let asked = |n: u64| SocketAddr::from(([127, 0, 0, 2 + (n / 9 + n % 2) as u8 % 3], port));
        const QUESTIONS: u64 = 60;
        for n in 0..QUESTIONS {
            let requestor = json!({ "node_id": "a".repeat(64), "ip": "127.0.0.1", "port": 1 });
            let question =
                json!({ "magic": n, "requestor": requestor, "guest": true, "type": "ping_node", "params": {} });
            asker.send_to(question.to_string().as_bytes(), asked(n)).expect("it leaves");
        }
        let mut answered = 0;
        while answered < QUESTIONS {
            let mut room = [0; 2000];
            let (len, from) = asker.recv_from(&mut room).expect("an answer");
            let message: Value = serde_json::from_slice(&room[..len]).expect("JSON");
            if message["resp"] == true {
                answered += 1;
                assert_eq!(from, asked(message["magic"].as_u64().expect("ours")), "{bind}: {message}");
            }
        }
    }
}

#[test]
fn a_peer_on_all_addresses_of_both_families_meets_peers_of_each() {
    if !has_both_families() {
        return;
    }
    let (old, old_port) = start(OverlayKind::Kademlia, "127.0.0.1:0", &[]);
    let (both, port) = start(OverlayKind::Kademlia, "[::]:0", &[SocketAddr::from(([127, 0, 0, 1], old_port))]);
    let (new, new_port) = start(OverlayKind::Kademlia, "[::1]:0", &[SocketAddr::from((Ipv6Addr::LOCALHOST, port))]);
    until(|| peers_of(&both).len() == 2);
    let known = peers_of(&both);
    let plain = [SocketAddr::from(([127, 0, 0, 1], old_port)), SocketAddr::from((Ipv6Addr::LOCALHOST, new_port))];
    assert!(plain.iter().all(|addr| known.contains(addr)), "each by its own address: {known:?}");
    until(|| peers_of(&old).contains(&SocketAddr::from(([127, 0, 0, 1], port))));
    assert!(peers_of(&new).contains(&SocketAddr::from((Ipv6Addr::LOCALHOST, port))));
}

#[test]
fn a_ring_of_the_older_family_takes_in_a_peer_of_both() {
    if !has_both_families() {
        return;
    }
    let (old, old_port) = start(OverlayKind::Ring, "0.0.0.0:0", &[]);
    let (both, port) = start(OverlayKind::Ring, "[::]:0", &[SocketAddr::from(([127, 0, 0, 1], old_port))]);
    assert_eq!(peers_of(&both).len(), 1);
    until(|| peers_of(&old).iter().any(|addr| addr.is_ipv4() && addr.port() == port));
}

#[test]
fn a_client_reaches_peers_that_are_elsewhere_than_the_one_it_joins_through() {
    if !has_both_families() {
        return;
    }
    let folder = tempdir().expect("a temporary folder");
    let peer = |name: &str, bind: &str| Launch::new(folder.path().join(name)).args(&["--bind", bind]);
    let both = peer("both", "::").start();
    let far = peer("far", "::1").args(&["--bootstrap", &format!("[::1]:{}", both.port)]).start();
    let (path, _) = file(&folder, "original", 1, 100_000);
    let near = format!("127.0.0.1:{}", both.port);
    let stored = program().arg("store").arg(&path).args(["--json", "--bootstrap", &near]).output().expect("it runs");
    let answer: Value = serde_json::from_slice(&stored.stdout).expect("one line of JSON");
    assert_eq!((&answer["wanted"], &answer["copies"]), (&json!(2), &json!([0, 0, 1])), "{answer}");
    let report = program().args(["report", &near, "--once", "--json"]).output().expect("it runs");
    let report: Value = serde_json::from_slice(&report.stdout).expect("one line of JSON");
    let answered: Vec<&Value> = report["peers"].as_array().expect("a list").iter().map(|of| &of["answered"]).collect();
    assert_eq!(answered, [true, true], "{report}, {}", far.port);
}

#[test]
fn of_several_bootstrap_addresses_each_is_asked_whatever_its_family() {
    if !has_both_families() {
        return;
    }
    for overlay in ["kad", "ring"] {
        let folder = tempdir().expect("a temporary folder");
        let silent = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a port");
        let silent = silent.local_addr().expect("bound").to_string();
        let peer = Launch::new(folder.path().join("peer")).args(&["--overlay", overlay]).start();
        let (path, _) = file(&folder, "original", 1, 1000);
        let names = format!("{silent},127.0.0.1:{}", peer.port);
        let client = ["store", path.to_str().expect("text"), "--overlay", overlay, "--bootstrap", &names];
        let output = program().args(client).output().expect("it runs");
        assert!(output.status.success(), "{overlay}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_survey_begins_at_whichever_address_answers() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let (_peer, port) = start(OverlayKind::Kademlia, "127.0.0.1:0", &[]);
    let living = SocketAddr::from(([127, 0, 0, 1], port));
    let mut surveyor = Surveyor::new(&[silent, living], None, Default::default()).expect("one of them answers");
    assert_eq!((surveyor.target().addr, surveyor.survey(&[living]).expect("it goes on").len()), (living, 1));
}

#[test]
fn a_report_takes_bootstrap_addresses_as_every_other_command_does() {
    let folder = tempdir().expect("a temporary folder");
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("bound").to_string();
    let peer = Launch::new(folder.path().join("peer")).start();
    let names = [format!("{silent},127.0.0.1:{}", peer.port), format!("localhost:{}", peer.port)];
    for name in names {
        let output = program().args(["report", "--bootstrap", &name, "--once", "--json"]).output().expect("it runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
        assert_eq!((&report["peers"][0]["id"], &report["peers"][0]["answered"]), (&json!(peer.id), &json!(true)));
    }
    let nothing = program().args(["report", "--once"]).output().expect("it runs");
    assert_eq!(nothing.status.code(), Some(2), "it needs a peer to attach to");
    let nobody = program().args(["report", "--bootstrap", &silent, "--once"]).output().expect("it runs");
    assert_eq!(nobody.status.code(), Some(5), "{}", String::from_utf8_lossy(&nobody.stderr));
}
