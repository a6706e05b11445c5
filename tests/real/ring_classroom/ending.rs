//! How a peer of the classroom ring ends by a signal.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::marker::{Ring, Way};
use crate::support::until;

/// Tells a peer to end, and returns its exit code.
#[track_caller]
fn terminate_within(ring: &mut Ring, id: u8, limit: Duration) -> Option<i32> {
    let begin = Instant::now();
    let peer = ring.peer(id);
    peer.signal(Signal::SIGTERM);
    let code = peer.wait();
    assert!(begin.elapsed() < limit, "{:?}; it said: {}", begin.elapsed(), peer.said());
    code
}

#[test]
fn a_peer_of_the_ring_at_rest_ends_within_a_second_and_says_goodbye() {
    let mut ring = Ring::start(&[10, 50, 90, 130], Way::default());
    assert_eq!(terminate_within(&mut ring, 50, Duration::from_secs(1)), Some(0));
    ring.peers.remove(&50);
    let goodbye =
        |ring: &mut Ring, id| ring.peer(id).all().contains(&"Peer 50 will depart from the network".to_owned());
    until(|| goodbye(&mut ring, 10) && goodbye(&mut ring, 130));
    ring.settle();
}

#[test]
fn peers_of_the_ring_in_the_midst_of_a_transfer_end_within_five_seconds() {
    let mut ring = Ring::start(&[10, 50, 90], Way::default());
    // It belongs to the peer that has it.
    let big = File::create(ring.dir(50).join("0020.pdf")).and_then(|file| file.set_len(4 << 30));
    big.expect("a file with a hole takes no room");
    ring.peer(90).tell("request 0020");
    let parts = |ring: &Ring| {
        let files = fs::read_dir(ring.dir(90)).expect("it is there").flatten();
        files.filter(|file| file.file_name().to_string_lossy().ends_with(".part")).count()
    };
    until(|| parts(&ring) > 0);
    for id in [90, 50] {
        assert_eq!(terminate_within(&mut ring, id, Duration::from_secs(5)), Some(0), "peer {id}");
    }
    assert!(!ring.dir(90).join("received_0020.pdf").exists(), "it came too soon to be ended");
}
