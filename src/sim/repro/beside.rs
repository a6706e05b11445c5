//! Both overlays side by side: the same ids, the same keys, asked by the same peers.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Experiment, Finding, Setup, Tolerance, mean};
use crate::id::Id;
use crate::node::{Answer, Command};
use crate::overlay::OverlayKind;
use crate::sim::grown::{Shape, populate};
use crate::sim::network::Weather;
use crate::sim::truth::Geometry;
use crate::sim::world::{Rules, Violation, World};

/// Hops of a lookup on either overlay.
pub(super) const BESIDE: Experiment = Experiment {
    name: "hops-side-by-side",
    title: "Both overlays: hops of the same lookups",
    source: "Kademlia (2002), section 3, as in kad-hops with k = 20 (N = 64: along the line of kad-growth); Chord \
             (SIGCOMM 2001), section 6.4: half of log2 N",
    conventions: "The same random ids, keys and askers on both; grown networks at rest, tables as live peers have them; \
                  lookups as the command `lookup` does them. A hop on kad is a step from a contact to one it named, up \
                  to the farthest of the set that is found: steps that gain no bit count too, and the paper's value has \
                  one peer to reach, not a set. On the ring it is a peer that the request was passed on to, the owner \
                  included; a list of eight successors and the predecessors spare some of the last steps.",
    run: beside,
};

/// Lookups of each network. (Quick: a quarter.)
const LOOKUPS: usize = 2000;

/// Peers, and the published hops: kad's, the ring's.
const SIZES: [(usize, f64, f64); 4] = [(64, 1.18, 3.0), (1000, 1.88, 4.98), (4096, 2.25, 6.0), (10_000, 2.48, 6.64)];

/// What the lookups of a network took.
struct Taken {
    /// On average.
    hops: f64,
    /// Share that found the true nearest peer first.
    right: f64,
}

fn beside(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    let sizes = if setup.quick { &SIZES[..2] } else { &SIZES };
    let mut findings = Vec::new();
    for (at, &(peers, kad, ring)) in sizes.iter().enumerate() {
        for (kind, name, paper, tolerance) in [
            (OverlayKind::Kademlia, "kad", kad, Tolerance::Within(1.25)),
            (OverlayKind::Ring, "ring", ring, Tolerance::Within(1.0)),
        ] {
            let taken = lookups(setup, kind, peers)?;
            findings.push(Finding::new(format!("hops, N = {peers}, {name}"), paper, taken.hops, tolerance));
            let what = format!("share that finds the nearest, N = {peers}, {name}");
            findings.push(Finding::new(what, 1.0, taken.right, Tolerance::AtLeast));
        }
        (setup.progress)((at + 1) as f64 / sizes.len() as f64);
    }
    Ok(findings)
}

fn lookups(setup: &Setup<'_>, kind: OverlayKind, peers: usize) -> Result<Taken, Violation> {
    let shape = Shape::usual(kind);
    let mut rules = Rules::new(setup.seed, Box::new(move |me, config, seed| shape.kind.build(me, seed, config.guest)));
    rules.checked = false;
    rules.weather = Weather::still(Duration::from_millis(20));
    let mut world = World::new(rules);
    let directory = populate(&mut world, &shape, peers, |_| {});
    // Lots of their own, so that both overlays draw the same.
    let mut lots = StdRng::seed_from_u64(setup.seed ^ peers as u64);
    let count = if setup.quick { LOOKUPS / 4 } else { LOOKUPS };
    let asked: Vec<_> = (0..count)
        .map(|_| {
            let (slot, key) = (lots.random_range(0..peers), Id::random(&mut lots));
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
    Ok(Taken { hops: mean(all), right: f64::from(right) / count as f64 })
}
