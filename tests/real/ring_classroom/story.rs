//! The assignment's own story, and random ones like it.

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::program::EXAMPLE;
use crate::marker::{Ends, Ring, Way};
use crate::support::bytes;

/// The assignment's own story.
fn story(way: Way) {
    let mut ring = Ring::start(&EXAMPLE, way);
    let (stored, lying) = (bytes(1, 300_000), bytes(2, 1_200_000));
    ring.put(8, "2067", &stored);
    ring.put(8, "4103", &lying);

    ring.join(15, 4);
    ring.store(8, "2067", "Store");
    if !way.shared {
        ring.await_kept("2067", &stored);
    }
    ring.request(2, "4103", "Request", &lying);
    ring.quit(9, "Quit");
    ring.kill(14, Signal::SIGKILL);
    ring.request(4, "2067", "request", &stored);
    assert!(ring.has(8, "2067", &stored) && ring.has(8, "4103", &lying), "the originals are as they were");
}

#[test]
fn the_worked_example_with_pipes() {
    story(Way::default());
}

#[test]
fn the_worked_example_on_terminals_in_one_directory() {
    story(Way { ends: Ends::Terminal, shared: true, ..Way::default() });
}

#[test]
fn the_example_ring_heals_from_a_kill_as_the_assignment_shows() {
    let mut ring = Ring::start(&EXAMPLE, Way::default());
    ring.kill(14, Signal::SIGINT);
    ring.quit(9, "qUIT");
}

/// A ring of 5 to 12 random ids: joins at random places through random peers, files stored and requested everywhere,
/// peers that quit and are killed; every file is there after each of it.
fn random_ring(seed: u64) {
    println!("seed {seed}");
    let rng = &mut StdRng::seed_from_u64(seed);
    let mut ids: Vec<u8> = (0..=255).collect();
    ids.shuffle(rng);
    let (first, spare) = ids.split_at(rng.random_range(5..=12));
    let way = Way { shared: rng.random_bool(0.3), ..Way::default() };
    let mut ring = Ring::start(first, way);
    let any = |ring: &Ring, rng: &mut StdRng| {
        let ids: Vec<u8> = ring.peers.keys().copied().collect();
        *ids.choose(rng).expect("somebody is there")
    };
    let mut files = Vec::new();
    for number in 0..4 {
        let (file, at) = (format!("{:04}", rng.random_range(0..10_000)), any(&ring, rng));
        if files.iter().any(|(other, _)| *other == file) {
            continue;
        }
        let content = bytes(seed + number, rng.random_range(1..200_000));
        ring.put(at, &file, &content);
        ring.store(at, &file, "store");
        ring.await_kept(&file, &content);
        files.push((file, content));
    }
    for step in 0..4 {
        match step {
            0 => ring.join(spare[0], any(&ring, rng)),
            1 => ring.quit(any(&ring, rng), "quit"),
            2 => ring.join(spare[1], any(&ring, rng)),
            _ => ring.kill(any(&ring, rng), Signal::SIGKILL),
        }
        for (file, content) in &files {
            let at = any(&ring, rng);
            if !way.shared {
                ring.await_kept(file, content);
            }
            ring.request(at, file, "request", content);
        }
    }
}

#[test]
fn random_rings_one() {
    random_ring(1);
}

#[test]
fn random_rings_two() {
    random_ring(2);
}

#[test]
fn random_rings_three() {
    random_ring(3);
}

#[test]
fn every_peer_is_a_way_in_at_every_place_of_the_circle() {
    let ids = [3, 60, 61, 130, 250];
    let mut ring = Ring::start(&ids, Way::default());
    for known in ids {
        // Before the first, between, next to one another, and past the last.
        for new in [0, 30, 62, 255] {
            ring.join(new, known);
            ring.quit(new, "Quit");
        }
    }
}
