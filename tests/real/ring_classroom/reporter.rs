//! `kadring report`.

use kadring::console::json::PAGE;
use nix::sys::signal::Signal;

use super::program::{EXAMPLE, run};
use crate::marker::{Ring, Way};
use crate::support::until;

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
    let fields = json["peers"][0].as_object().expect("a peer").keys();
    let untold: Vec<_> = fields.filter(|name| !PAGE.contains(&format!("\"{name}\""))).collect();
    assert!(untold.is_empty(), "kadring help json lacks {untold:?}");
    assert!(ring.peers.values().all(|peer| !peer.all().iter().any(|line| line.contains("Join"))), "it only asks");

    ring.peer(9).signal(Signal::SIGKILL);
    until(|| report(&ring, &["5", "--once"]).ends_with("Unmonitored Peers (1): 9\n"));
    let nobody = run(&ring, &["report", "77", "--once"]);
    assert_eq!(nobody.status.code(), Some(5), "nobody answers there");
}
