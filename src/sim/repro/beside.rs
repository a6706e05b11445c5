//! Both overlays side by side: the same ids, the same keys, asked by the same peers; what a lookup takes in hops and in
//! messages.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Experiment, Finding, Setup, Tolerance, mean};
use crate::config::WIDTH;
use crate::id::Id;
use crate::node::{Answer, Command};
use crate::overlay::OverlayKind;
use crate::sim::grown::{Shape, populate};
use crate::sim::network::Weather;
use crate::sim::truth::{Directory, Geometry};
use crate::sim::world::{Rules, Violation, World};

/// The experiment on hops and messages of the same lookups on both overlays.
pub(super) const BESIDE: Experiment = Experiment {
    name: "hops-side-by-side",
    title: "Both overlays: hops and messages of the same lookups",
    source: "Kademlia (2002), section 3, as in kad-hops with k = 20 (N = 64: along the line of kad-growth); Chord \
             (SIGCOMM 2001), section 6.4: half of log2 N",
    conventions: "The same random ids, keys and askers on both; grown networks at rest, tables as live peers have them; \
                  lookups as the command `lookup` does them. A hop on kad is a step from a contact to one it named, up \
                  to the farthest of the set that is found: steps that gain no bit count too, and the paper's value has \
                  one peer to reach, not a set. On the ring it is a peer that the request was passed on to, the owner \
                  included; a list of eight successors and the predecessors spare some of the last steps. Messages: \
                  all that lookups bring about, which is what was sent less what the same network sends in the same \
                  time without them. No paper gives a value; the one shown is counted from the algorithm. On kad at \
                  most three peers are asked for each of the paper's hops, for the first contacts, and for each of the \
                  seven of the set, at two messages each: question and answer. On the ring at most: our hops, a ping \
                  of the owner's to the asker with its answer, the owner's answer, and question and answer for each of \
                  the set.",
    run: beside,
};

/// Lookups of each network. (Quick: a quarter.)
const LOOKUPS: usize = 2000;

/// Peers, and the published hops: kad's, the ring's.
const NETWORKS: [(usize, f64, f64); 4] = [(64, 1.18, 3.0), (1000, 1.88, 4.98), (4096, 2.25, 6.0), (10_000, 2.48, 6.64)];

/// What the lookups of a network cost.
struct LookupCost {
    /// Hops of a lookup, on average.
    hops: f64,
    /// Messages of a lookup, on average, without the network's upkeep.
    messages: f64,
    /// The share of lookups whose first peer is the true nearest.
    right: f64,
}

fn beside(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    let sizes = if setup.quick { &NETWORKS[..2] } else { &NETWORKS };
    let mut findings = Vec::new();
    for (at, &(peers, kad, ring)) in sizes.iter().enumerate() {
        for (kind, name, paper, tolerance) in [
            (OverlayKind::Kademlia, "kad", kad, Tolerance::Within(1.25)),
            (OverlayKind::Ring, "ring", ring, Tolerance::Within(1.0)),
        ] {
            let cost = lookups(setup, kind, peers)?;
            findings.push(Finding::new(format!("hops, N = {peers}, {name}"), paper, cost.hops, tolerance));
            let what = format!("share that finds the nearest, N = {peers}, {name}");
            findings.push(Finding::new(what, 1.0, cost.right, Tolerance::AtLeast));
            let (said, tolerance) = match kind {
                // No figure of a paper: what this project aims at.
                OverlayKind::Kademlia => (if peers <= 1000 { 32.0 } else { 40.0 }, Tolerance::AtMost(1.0, 0.0)),
                // Two of them are a ping: the owner answers an origin only once that has answered it.
                OverlayKind::Ring => (cost.hops + 3.0 + 2.0 * WIDTH as f64, Tolerance::AtMost(1.0, 0.0)),
            };
            findings.push(Finding::new(format!("messages, N = {peers}, {name}"), said, cost.messages, tolerance));
        }
        (setup.progress)((at + 1) as f64 / sizes.len() as f64);
    }
    Ok(findings)
}

/// A grown network at rest, the same each time.
fn network(setup: &Setup<'_>, kind: OverlayKind, peers: usize) -> (World, Directory) {
    let shape = Shape::usual(kind);
    let mut rules = Rules::new(setup.seed, Box::new(move |me, config, seed| shape.kind.build(me, seed, config.guest)));
    rules.checked = false;
    rules.weather = Weather::still(Duration::from_millis(20));
    let mut world = World::new(rules);
    let directory = populate(&mut world, &shape, peers, |_| {});
    (world, directory)
}

fn lookups(setup: &Setup<'_>, kind: OverlayKind, peers: usize) -> Result<LookupCost, Violation> {
    let (mut world, directory) = network(setup, kind, peers);
    // A random source of its own, so that both overlays get the same keys and askers.
    let mut rng = StdRng::seed_from_u64(setup.seed ^ peers as u64);
    let count = if setup.quick { LOOKUPS / 4 } else { LOOKUPS };
    let asked: Vec<_> = (0..count)
        .map(|_| {
            let (slot, key) = (rng.random_range(0..peers), Id::random(&mut rng));
            (slot, key, world.command(slot, Command::Lookup { key }))
        })
        .collect();
    let geometry = match kind {
        OverlayKind::Kademlia => Geometry::Xor,
        OverlayKind::Ring => Geometry::Circle,
    };
    let (mut all, mut right) = (Vec::with_capacity(count), 0_u32);
    for (slot, key, command) in asked {
        world.run_until_answered(slot, command, Duration::from_secs(60))?;
        if let Some(Answer::Lookup { peers, hops, .. }) = world.take_answer(slot, command) {
            // The ring counts the step to those that may hold the key too, which is none of routing.
            all.push(f64::from(hops.saturating_sub(u32::from(kind == OverlayKind::Ring))));
            right += u32::from(peers.first() == directory.nearest(geometry, &key, 1).first());
        }
    }
    let (mut idle, _) = network(setup, kind, peers);
    idle.run_until(world.now())?;
    let messages = world.counts().sent as f64 - idle.counts().sent as f64;
    Ok(LookupCost { hops: mean(all), messages: messages / count as f64, right: f64::from(right) / count as f64 })
}
