//! How long it takes to renew the leases of many files.

use std::collections::BTreeSet;
use std::time::Duration;

use super::keeping::KeepingNet;
use super::network::Weather;
use crate::file::{ManifestEntry, tree};
use crate::id::Id;
use crate::lease::{Lease, Secret, UnixTime};
use crate::node::{Answer, Command, LeaseChange};
use crate::overlay::OverlayKind;

const FILES: u32 = 10_000;
const RENEWED_BY: Duration = Duration::from_secs(5);
const UNTIL: UnixTime = 9_000_000_000;

/// The lease of one file.
fn lease(file: u32, until: UnixTime) -> Lease {
    let secret = Secret::from_bytes(*Id::of(&file.to_le_bytes()).as_bytes());
    Lease { id: secret.id(), until: Some(until), copies: 0 }
}

/// The list and the one block of a small file.
fn file(number: u32) -> [Vec<u8>; 2] {
    let bytes = number.to_be_bytes().to_vec();
    let block = ManifestEntry { key: Id::of(&bytes), size: bytes.len() as u64 };
    [tree::lists([block], block.key)[0].encode(), bytes]
}

/// Ten thousand small files in a network of so many peers are renewed by one of them, over round trips of 20 ms.
fn are_renewed_soon(kind: OverlayKind, peers: usize) {
    let blocks_of = |n: u32| file(n).map(|bytes| (bytes, Some(lease(n, UNTIL))));
    let mut net = KeepingNet::with_blocks(kind, peers, (0..FILES).flat_map(blocks_of).collect(), 7);
    net.world.set_weather(Weather::still(Duration::from_millis(20)));
    let renewed = |(key, n): (_, u32)| (key, LeaseChange::Renewed(lease(n / 2, UNTIL + 1000)));
    let changes = net.keys.iter().copied().zip(0..).map(renewed).collect();
    let listed: BTreeSet<_> = net.keys.iter().copied().collect();
    let command = net.world.command(0, Command::Lease { changes, listed, copies: 0 });
    let answered = net.world.run_until_answered(0, command, Duration::from_secs(60));
    assert_eq!(answered.map_err(|violation| violation.to_string()), Ok(true));
    let answer = net.world.take_answer(0, command);
    let Some(Answer::Leased { copies, silent, unread: 0, missing: 0, took, .. }) = answer else { panic!("{answer:?}") };
    assert!(copies >= u64::from(FILES) * 2 * peers.min(7) as u64, "{kind:?}, {peers} peers: {copies} copies");
    assert!(took <= RENEWED_BY && silent.is_empty(), "{kind:?}, {peers} peers: {took:?}, {silent:?}");
}

/// A few peers each hold everything, and most of twenty peers do not hold what is renewed.
const NETWORK_SIZES: [usize; 2] = [3, 20];

#[test]
fn ten_thousand_files_are_renewed_within_five_seconds_over_round_trips_of_20_ms_on_kademlia() {
    NETWORK_SIZES.into_iter().for_each(|peers| are_renewed_soon(OverlayKind::Kademlia, peers));
}

#[test]
fn ten_thousand_files_are_renewed_within_five_seconds_over_round_trips_of_20_ms_on_the_ring() {
    NETWORK_SIZES.into_iter().for_each(|peers| are_renewed_soon(OverlayKind::Ring, peers));
}
