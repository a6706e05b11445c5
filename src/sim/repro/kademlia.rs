//! Kademlia's promises: few hops, growing with the logarithm, and a set that is found again.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Experiment, Finding, Setup, Tolerance, mean};
use crate::id::{Id, Key};
use crate::node::{Answer, Command};
use crate::overlay::{Overlay, OverlayKind};
use crate::peer::Peer;
use crate::sim::grown::{Shape, populate};
use crate::sim::network;
use crate::sim::truth::{Directory, Geometry};
use crate::sim::world::{Rules, Violation, World};

/// The experiment on mean greedy hops.
pub(super) const HOPS: Experiment = Experiment {
    name: "kad-hops",
    title: "Kademlia: mean greedy hops with filled tables",
    source: "Kademlia (2002), section 3: bits gained a hop, the sum over j >= 0 of 1 - (1 - 2^-j)^k",
    conventions: "Buckets hold k random peers of all that belong there. One peer at a time passes on to the nearest \
                  contact in its own table. As in the formula, a hop is a step that gains at least one bit of common \
                  prefix with the key; steps among peers that share equally many are not counted.",
    run: hops,
};

/// The experiment on how hops grow with the network.
pub(super) const GROWTH: Experiment = Experiment {
    name: "kad-growth",
    title: "Kademlia: hops grow by a constant for each doubling of the network",
    source: "Kademlia (2002), section 3; the constant is one over the bits gained a hop",
    conventions: "Greedy hops as in kad-hops, from 2^10 peers up to 10^5 (quick: 2^13); a line fitted to them by least \
                  squares, and the most that any size is off that line.",
    run: growth,
};

/// The experiment on whether a lookup finds a store's set again.
pub(super) const FOUND_AGAIN: Experiment = Experiment {
    name: "kad-found-again",
    title: "Kademlia: the set a store chose is found again by a lookup",
    source: "Kademlia (2002), section 2.3: a store goes to the k nodes closest to the key, and a lookup finds them",
    conventions: "A still network with filled tables; two random peers look the same random key up, one after the \
                  other, over the virtual network. The share of the first one's set that is in the second one's.",
    run: found_again,
};

/// The routing tables of a grown network, without a world around them.
struct GrownTables {
    directory: Directory,
    overlays: Vec<Box<dyn Overlay>>,
}

impl GrownTables {
    fn new(count: usize, bucket: usize, rng: &mut StdRng) -> Self {
        let peer = |slot| Peer::new(Id::random(rng), network::address(slot));
        let peers: Vec<Peer> = (0..count).map(peer).collect();
        let directory = Directory::new(peers.clone());
        let shape = Shape { bucket, ..Shape::usual(OverlayKind::Kademlia) };
        let overlays = peers.iter().map(|&me| shape.grow(me, rng.random(), &directory)).collect();
        Self { directory, overlays }
    }

    /// Hops that gain a bit, on the way from a peer to the one nearest to the key, each time to the nearest contact.
    fn greedy(&self, from: usize, key: &Key) -> u32 {
        let (mut at, mut hops) = (from, 0);
        loop {
            let me = self.overlays[at].me();
            let next = self.overlays[at].replica_set(key, 1)[0];
            if next == me {
                debug_assert_eq!([next], self.directory.nearest(Geometry::Xor, key, 1)[..]);
                return hops;
            }
            let shared = |peer: &Peer| peer.id.distance(key).leading_zeros();
            hops += u32::from(shared(&next) > shared(&me));
            at = network::slot(next.addr).unwrap_or(at);
        }
    }

    fn mean_hops(&self, lookups: usize, rng: &mut StdRng) -> f64 {
        mean((0..lookups).map(|_| {
            let from = rng.random_range(0..self.overlays.len());
            f64::from(self.greedy(from, &Id::random(rng)))
        }))
    }
}

/// One over the bits gained a hop.
fn hops_a_doubling(k: usize) -> f64 {
    let gained: f64 = (0..60).map(|j| 1.0 - (1.0 - 0.5_f64.powi(j)).powi(k as i32)).sum();
    1.0 / gained
}

/// Peers, and the mean hops for each k.
type HopsRow = (usize, [(usize, f64); 4]);

fn hops(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    const TABLE: [HopsRow; 3] = [
        (1000, [(1, 4.68), (8, 2.31), (16, 1.96), (20, 1.88)]),
        (4096, [(1, 5.67), (8, 2.75), (16, 2.34), (20, 2.25)]),
        (10_000, [(1, 6.33), (8, 3.06), (16, 2.60), (20, 2.48)]),
    ];
    let table = if setup.quick { &TABLE[..1] } else { &TABLE };
    let mut rng = StdRng::seed_from_u64(setup.seed);
    let mut findings = Vec::new();
    for &(peers, row) in table {
        for (k, paper) in row {
            let ours = GrownTables::new(peers, k, &mut rng).mean_hops(20_000, &mut rng);
            findings.push(Finding::new(format!("hops, N = {peers}, k = {k}"), paper, ours, Tolerance::Within(0.1)));
            (setup.progress)(findings.len() as f64 / (4 * table.len()) as f64);
        }
    }
    Ok(findings)
}

fn growth(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    const SIZES: [usize; 8] = [1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16, 100_000];
    let sizes = if setup.quick { &SIZES[..4] } else { &SIZES };
    let mut rng = StdRng::seed_from_u64(setup.seed);
    let mut findings = Vec::new();
    for k in [1, 20] {
        let mut points = Vec::new();
        for &peers in sizes {
            let ours = GrownTables::new(peers, k, &mut rng).mean_hops(20_000, &mut rng);
            points.push(((peers as f64).log2(), ours));
            (setup.progress)((findings.len() / 2 * sizes.len() + points.len()) as f64 / (2 * sizes.len()) as f64);
        }
        let (slope, off) = line(&points);
        let to = sizes[sizes.len() - 1];
        let what = format!("hops a doubling, k = {k}, up to N = {to}");
        findings.push(Finding::new(what, hops_a_doubling(k), slope, Tolerance::Share(0.1)));
        findings.push(Finding::new(format!("hops off the line at most, k = {k}"), 0.0, off, Tolerance::Within(0.1)));
    }
    Ok(findings)
}

/// The slope of the line nearest to the points, and how far the farthest point is above or below it.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let (x, y) = (mean(points.iter().map(|point| point.0)), mean(points.iter().map(|point| point.1)));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let squares: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = both / squares;
    let off = points.iter().map(|point| (point.1 - (y + slope * (point.0 - x))).abs()).fold(0.0, f64::max);
    (slope, off)
}

fn found_again(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    let (peers, keys) = if setup.quick { (500, 100) } else { (10_000, 2000) };
    let shape = Shape::usual(OverlayKind::Kademlia);
    let mut rules = Rules::new(setup.seed, Box::new(move |me, config, seed| shape.kind.build(me, seed, config.guest)));
    rules.checked = false;
    let mut world = World::new(rules);
    populate(&mut world, &shape, peers, |count| (setup.progress)(0.3 * count as f64 / peers as f64));
    let mut again = Vec::new();
    for nth in 0..keys {
        let key = Id::random(world.rng());
        let first = look_up(&mut world, key)?;
        let second = look_up(&mut world, key)?;
        again.push(first.iter().filter(|peer| second.contains(peer)).count() as f64 / first.len().max(1) as f64);
        (setup.progress)(0.3 + 0.7 * nth as f64 / keys as f64);
    }
    let what = format!("share found again, N = {peers}, {keys} keys");
    Ok(vec![Finding::new(what, 0.95, mean(again), Tolerance::AtLeast)])
}

/// The set that a lookup by a random peer finds.
fn look_up(world: &mut World, key: Key) -> Result<Vec<Peer>, Violation> {
    let slots = world.slots();
    let slot = world.rng().random_range(0..slots);
    let command = world.command(slot, Command::Lookup { key });
    world.run_until_answered(slot, command, std::time::Duration::from_secs(60))?;
    match world.take_answer(slot, command) {
        Some(Answer::Lookup { peers, .. }) => Ok(peers),
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_through_points_on_a_line_is_that_line() {
        let (slope, off) = line(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]);
        assert!((slope - 2.0).abs() < 1e-9 && off < 1e-9);
        assert!(line(&[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]).1 > 0.5);
    }

    #[test]
    fn with_one_contact_a_bucket_two_bits_are_gained_a_hop() {
        assert!((hops_a_doubling(1) - 0.5).abs() < 1e-9);
    }
}
