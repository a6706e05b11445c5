//! Chord's figures: path lengths, keys a node, and lookups while half of all nodes are gone.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Experiment, Finding, Setup, Tolerance, mean};
use crate::id::Id;
use crate::node::{Answer, Command};
use crate::overlay::OverlayKind;
use crate::peer::Peer;
use crate::sim::grown::{Shape, populate};
use crate::sim::network::{self, Weather};
use crate::sim::truth::{Directory, Geometry};
use crate::sim::world::{Rules, Violation, World};

/// The experiment on the mean path length.
pub(super) const PATH: Experiment = Experiment {
    name: "chord-path",
    title: "Chord: mean path length",
    source: "Chord (SIGCOMM 2001), figure 10 (a), read off the figure",
    conventions: "Lookups over the virtual network in a ring at rest, with one successor and all fingers. Hops are \
                  counted to the key's predecessor: the last hop, to the owner, does not count. A peer that owns the \
                  key itself answers at once here, where the paper's goes all the way round to its predecessor; for \
                  these lookups the paper's walk is taken through our tables. N = 2^3: the mean of fifty rings with \
                  random ids, where the figure shows one.",
    run: path,
};

/// The experiment on the distribution of path lengths.
pub(super) const DISTRIBUTION: Experiment = Experiment {
    name: "chord-distribution",
    title: "Chord: the distribution of path lengths in a network of 2^12 nodes",
    source: "Chord (SIGCOMM 2001), figure 10 (b), read off the figure",
    conventions: "As chord-path, N = 4096. (Quick: fewer lookups.)",
    run: distribution,
};

/// The experiment on keys a node.
pub(super) const KEYS: Experiment = Experiment {
    name: "chord-keys",
    title: "Chord: keys a node, 10^4 nodes and 5 x 10^5 keys",
    source: "Chord (SIGCOMM 2001), section 6.1, figure 8",
    conventions: "Random ids and keys; each key lies at its successor, which must agree that it is its owner.",
    run: keys,
};

/// The experiment on keys a node with virtual nodes.
pub(super) const VIRTUAL: Experiment = Experiment {
    name: "chord-virtual",
    title: "Chord: keys a node where each node is 20 virtual ones",
    source: "Chord (SIGCOMM 2001), section 6.1, figure 9",
    conventions: "A node runs 20 peers with ids of their own, and has the keys of all of them. N = 10^4 real nodes, \
                  10^6 keys. (Quick: a tenth.)",
    run: with_virtual_nodes,
};

/// The experiment on lookups after many nodes failed at once.
pub(super) const FAILURES: Experiment = Experiment {
    name: "chord-failures",
    title: "Chord: lookups after a share of all nodes failed at once, before any repair",
    source: "Chord (ToN 2003), section V-D, table II: 1000 nodes, 20 successors",
    conventions: "Hops to the owner, the failed ones not counted; a timeout is a lookup sent to a node that is gone, which \
                  refuses the connection at once. Peers know 8 predecessors, the paper's one. Each ring answers a few \
                  lookups only, and a new one is made: else it would learn of the dead.",
    run: failures,
};

/// A ring that is grown and at rest. Its peers know as many predecessors as usual, unless it is to have fewer
/// successors.
fn ring(seed: u64, peers: usize, successors: usize) -> (World, Directory) {
    let usual = Shape::usual(OverlayKind::Ring);
    let shape = Shape { successors, predecessors: usual.predecessors.min(successors), ..usual };
    let mut rules = Rules::new(seed, Box::new(move |me, config, seed| shape.kind.build(me, seed, config.guest)));
    rules.checked = false;
    rules.weather = Weather::still(Duration::from_millis(20));
    let mut world = World::new(rules);
    let directory = populate(&mut world, &shape, peers, |_| {});
    (world, directory)
}

/// Hops of the paper's find_predecessor, through the tables of our peers, for a key that the peer in `slot` owns.
fn walk_round(world: &World, directory: &Directory, slot: usize, key: &Id) -> u32 {
    let (mut at, mut hops) = (slot, 0);
    while let Some(node) = world.node(at) {
        let me = node.overlay().me();
        let next = directory.nearest(Geometry::Circle, &me.id.plus_power_of_two(0, crate::id::ID_BITS), 1)[0];
        if key.is_between(&me.id, &next.id) {
            break;
        }
        let best = node.overlay().table().into_iter().filter(|row| !row.label.contains("predecessor"));
        let best = best.flat_map(|row| row.peers).filter(|peer| peer.id.is_strictly_between(&me.id, key));
        let Some(best) = best.reduce(|a, b| if b.id.is_strictly_between(&a.id, key) { b } else { a }) else { break };
        hops += 1;
        at = network::slot(best.addr).unwrap_or(at);
    }
    hops
}

/// Hops to the owner of random keys, each looked up by a random peer. `None`: that lookup did not find the owner.
fn paths(world: &mut World, lookups: usize) -> Result<Vec<Option<u32>>, Violation> {
    let up = world.up();
    let failed = up.len() < world.slots();
    let directory = Directory::new(world.living());
    let mut asked = Vec::with_capacity(lookups);
    for _ in 0..lookups {
        let Some(slot) = world.any(&up) else { break };
        let key = Id::random(world.rng());
        world.follow(key);
        asked.push((slot, key, world.command(slot, Command::Lookup { key })));
    }
    let mut paths = Vec::with_capacity(lookups);
    for (slot, key, command) in asked {
        world.run_until_answered(slot, command, Duration::from_secs(60))?;
        paths.push(match world.take_answer(slot, command) {
            // Of the hops that a lookup tells, the last one asked the holders.
            Some(Answer::Lookup { peers, hops, .. })
                if peers.first() == directory.nearest(Geometry::Circle, &key, 1).first() =>
            {
                let own = peers.first() == Some(&world.peer(slot));
                Some(if own && !failed {
                    walk_round(world, &directory, slot, &key) + 1
                } else {
                    hops.saturating_sub(1)
                })
            }
            _ => None,
        });
    }
    Ok(paths)
}

fn path(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    const FIGURE: [(u32, f64); 4] = [(3, 1.7), (10, 4.9), (12, 5.9), (14, 6.9)];
    let figure = if setup.quick { &FIGURE[..2] } else { &FIGURE };
    let mut findings = Vec::new();
    for &(bits, paper) in figure {
        let lookups = if bits == 3 { 200 } else { 2000 };
        // A ring of eight is another one each time.
        let rings = if bits == 3 { 50 } else { 1 };
        let mut hops = Vec::new();
        for nth in 0..rings {
            let (mut world, _) = ring(setup.seed + nth, 1 << bits, 1);
            hops.extend(paths(&mut world, lookups)?.into_iter().flatten());
        }
        let ours = mean(hops.into_iter().map(|hops| f64::from(hops.saturating_sub(1))));
        findings.push(Finding::new(format!("hops, N = 2^{bits}"), paper, ours, Tolerance::Within(0.2)));
        (setup.progress)(findings.len() as f64 / figure.len() as f64);
    }
    Ok(findings)
}

fn distribution(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    const FIGURE: [(u32, f64); 8] =
        [(3, 0.058), (4, 0.133), (5, 0.213), (6, 0.226), (7, 0.193), (8, 0.108), (9, 0.040), (10, 0.010)];
    let (mut world, _) = ring(setup.seed, 1 << 12, 1);
    (setup.progress)(0.5);
    let hops: Vec<u32> = paths(&mut world, if setup.quick { 4000 } else { 40_000 })?.into_iter().flatten().collect();
    let share = |wanted| hops.iter().filter(|&&hops| hops == wanted + 1).count() as f64 / hops.len().max(1) as f64;
    let finding = |&(hops, paper): &(u32, f64)| {
        Finding::new(format!("share of paths of {hops} hops"), paper, share(hops), Tolerance::Within(0.02))
    };
    Ok(FIGURE.iter().map(finding).collect())
}

/// How many of `keys` random keys each peer owns, in the order of the peers' ids.
fn keys_each(directory: &Directory, keys: usize, rng: &mut StdRng) -> Vec<u32> {
    let peers = directory.peers();
    let mut each = vec![0; peers.len()];
    for _ in 0..keys {
        let key = Id::random(rng);
        each[peers.partition_point(|peer| peer.id < key) % peers.len()] += 1;
    }
    each
}

fn random_peers(count: usize, rng: &mut StdRng) -> Directory {
    Directory::new((0..count).map(|slot| Peer::new(Id::random(rng), network::address(slot))).collect())
}

/// The value that this share of all values does not exceed.
fn percentile(sorted: &[u32], share: f64) -> f64 {
    f64::from(sorted[((sorted.len() - 1) as f64 * share).round() as usize])
}

fn keys(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    const PEERS: usize = 10_000;
    const KEYS: usize = 500_000;
    let mut rng = StdRng::seed_from_u64(setup.seed);
    // The maximum is one node of ten thousand: it takes several networks to say what is usual.
    let networks = if setup.quick { 3 } else { 20 };
    let (mut greatest, mut high) = (Vec::new(), Vec::new());
    for nth in 0..networks {
        let directory = random_peers(PEERS, &mut rng);
        check_owners(&directory, &mut rng);
        let mut each = keys_each(&directory, KEYS, &mut rng);
        each.sort_unstable();
        let usual = KEYS as f64 / PEERS as f64;
        greatest.push(percentile(&each, 1.0) / usual);
        high.push(percentile(&each, 0.99) / usual);
        (setup.progress)(f64::from(nth + 1) / f64::from(networks));
    }
    Ok(vec![
        Finding::new("most keys at a node, over the mean", 9.1, mean(greatest), Tolerance::Share(0.2)),
        Finding::new("99th percentile of keys, over the mean", 4.6, mean(high), Tolerance::Share(0.1)),
    ])
}

/// The program's own peers agree on who owns a key.
fn check_owners(directory: &Directory, rng: &mut StdRng) {
    let shape = Shape::usual(OverlayKind::Ring);
    for _ in 0..100 {
        let key = Id::random(rng);
        let owner = directory.nearest(Geometry::Circle, &key, 1)[0];
        let overlay = shape.grow(owner, [0; 32], directory);
        assert_eq!(overlay.replica_set(&key, 1), [owner], "{owner} does not know that it owns {key}");
    }
}

fn with_virtual_nodes(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    const EACH: usize = 20;
    let (nodes, keys) = if setup.quick { (1000, 100_000) } else { (10_000, 1_000_000) };
    let mut rng = StdRng::seed_from_u64(setup.seed);
    let directory = random_peers(nodes * EACH, &mut rng);
    let mut each = vec![0; nodes];
    for (peer, keys) in directory.peers().iter().zip(keys_each(&directory, keys, &mut rng)) {
        let slot = network::slot(peer.addr).unwrap_or_default();
        each[slot % nodes] += keys;
    }
    each.sort_unstable();
    let usual = keys as f64 / nodes as f64;
    Ok(vec![
        Finding::new(
            "99th percentile of keys, over the mean",
            1.6,
            percentile(&each, 0.99) / usual,
            Tolerance::Share(0.1),
        ),
        Finding::new(
            "1st percentile of keys, over the mean",
            0.5,
            percentile(&each, 0.01) / usual,
            Tolerance::Share(0.15),
        ),
    ])
}

fn failures(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    const TABLE: [(f64, f64, f64); 6] = [
        (0.0, 3.84, 0.0),
        (0.1, 4.03, 0.60),
        (0.2, 4.22, 1.17),
        (0.3, 4.44, 2.02),
        (0.4, 4.69, 3.23),
        (0.5, 5.09, 5.10),
    ];
    let (rings, lookups) = if setup.quick { (25, 50) } else { (100, 50) };
    let table = if setup.quick { vec![TABLE[0], TABLE[1], TABLE[5]] } else { TABLE.to_vec() };
    let mut findings = Vec::new();
    for &(share, path, timeouts) in &table {
        let (mut hops, mut gone) = (Vec::new(), 0);
        for nth in 0..rings {
            let (mut world, _) = ring(setup.seed + nth, 1000, 20);
            let mut alive = world.up();
            for _ in 0..(share * 1000.0) as usize {
                let nth = world.rng().random_range(0..alive.len());
                world.crash(alive.swap_remove(nth));
            }
            world.refuse_at_once();
            hops.extend(paths(&mut world, lookups)?.into_iter().flatten());
            gone += world.counts().dead_ends;
        }
        let most = if share > 0.3 { 0.4 } else { 0.15 };
        let ours = mean(hops.iter().map(|&hops| f64::from(hops)));
        findings.push(Finding::new(format!("path, {share} failed"), path, ours, Tolerance::Within(most)));
        let ours = gone as f64 / (rings as f64 * lookups as f64);
        findings.push(Finding::new(format!("timeouts, {share} failed"), timeouts, ours, Tolerance::Share(0.25)));
        (setup.progress)(findings.len() as f64 / (2 * table.len()) as f64);
    }
    Ok(findings)
}
