//! A peer that is stopped for a while and goes on: it never left.

use nix::sys::signal::Signal;

use crate::marker::{Ring, Way};
use crate::support::until;

const IDS: [u8; 5] = [10, 50, 90, 130, 170];

/// Rounds of pings until each peer has looked for those that it lost.
const ROUNDS: usize = 12;

fn rounds(ring: &Ring, id: u8) -> usize {
    ring.peers[&id].all().iter().filter(|line| line.starts_with("Ping requests sent")).count()
}

/// Lets so many rounds of pings pass at this peer.
fn let_pass(ring: &Ring, id: u8, count: usize) {
    let before = rounds(ring, id);
    until(|| rounds(ring, id) >= before + count);
}

#[test]
fn who_was_stopped_for_some_seconds_never_left_and_nobody_tells_of_a_join() {
    let mut ring = Ring::start(&IDS, Way::default());
    for (stopped, seconds) in [(50, 7), (130, 13)] {
        ring.peer(stopped).signal(Signal::SIGSTOP);
        let_pass(&ring, 10, seconds);
        ring.peer(stopped).signal(Signal::SIGCONT);
        let_pass(&ring, 10, ROUNDS);
        ring.settle();
    }
    let joins = |line: &String| line.contains("Join request");
    let told: Vec<(u8, String)> =
        ring.peers.iter().flat_map(|(id, peer)| peer.all().into_iter().filter(joins).map(|line| (*id, line))).collect();
    assert_eq!(told, [], "{}", ring.shown());
}
