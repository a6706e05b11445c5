//! The blocks that are left when a share of all peers fails at once, twice, with and without time for repair in
//! between.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;

use super::{Experiment, Finding, Setup, Tolerance};
use crate::config::REPLICAS;
use crate::id::{Id, Key};
use crate::node::{Answer, Command};
use crate::overlay::OverlayKind;
use crate::peer::Peer;
use crate::sim::grown::{Shape, populate};
use crate::sim::network::slot;
use crate::sim::truth::{Directory, Geometry};
use crate::sim::world::{Rules, Violation, World};

/// The experiment on how many blocks survive failures.
pub(super) const SURVIVAL: Experiment = Experiment {
    name: "kad-survival",
    title: "Kademlia: lookups of stored blocks after a share of all peers failed, twice",
    source: "Independent failures: of 7 copies none is left with chance p^7; without repair two waves are one of 2p - p^2",
    conventions: "Single blocks are stored, then a share p of all peers dies at once, and the same share of the rest \
                  again: at once (no repair), or 60 s later (repair). Then a random peer looks each block \
                  up; it succeeds if it names a live holder. The tolerance is three standard deviations, for blocks \
                  that have holders in common.",
    run: survival,
};

/// The time for repair between the two waves: where so many fail at once, most of those who would notice fail too.
const REPAIR: Duration = Duration::from_secs(60);

fn survival(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    let (peers, blocks, shares): (_, _, &[f64]) =
        if setup.quick { (150, 60, &[0.3]) } else { (1000, 400, &[0.1, 0.2, 0.3, 0.4, 0.5]) };
    let mut findings = Vec::new();
    for &share in shares {
        for repair in [false, true] {
            let Survivors { full, found: ours, sets } = survivors(setup.seed, peers, blocks, share, repair)?;
            let both = 2.0 * share - share * share;
            let lost = |gone: f64| gone.powi(REPLICAS as i32);
            let (expected, variance) = match repair {
                true => ((1.0 - lost(share)).powi(2), 2.0 * variance(&sets, share)),
                false => (1.0 - lost(both), variance(&sets, both)),
            };
            // Three standard deviations, for a lookup finds what is left or does not.
            let spread = 3.0 * variance.sqrt() + 0.005;
            let how = if repair { "with repair" } else { "without repair" };
            let what = format!("found after p = {share} failed twice, {how}");
            findings.push(Finding::new(what, expected, ours, Tolerance::Within((spread * 1000.0).round() / 1000.0)));
            if repair {
                let what = format!("replica sets full {} s after p = {share} failed", REPAIR.as_secs());
                findings.push(Finding::new(what, 1.0, full, Tolerance::Within(0.0)));
            }
            (setup.progress)(findings.len() as f64 / (3 * shares.len()) as f64);
        }
    }
    Ok(findings)
}

/// The variance of the share of blocks that are lost when each peer is gone with chance `gone`. Blocks near one another
/// have holders in common, and so their fate: two blocks are both lost if all that hold either are gone.
fn variance(sets: &[BTreeSet<Id>], gone: f64) -> f64 {
    let both_by_chance = gone.powi(2 * REPLICAS as i32);
    let covariance =
        |one: &BTreeSet<Id>, other: &BTreeSet<Id>| gone.powi(one.union(other).count() as i32) - both_by_chance;
    let sum: f64 = sets.iter().map(|one| sets.iter().map(|other| covariance(one, other)).sum::<f64>()).sum();
    sum / (sets.len() * sets.len()) as f64
}

/// The blocks' fate.
struct Survivors {
    /// The share of the blocks left by the first wave whose replica set is full before the second.
    full: f64,
    /// The share of blocks that a lookup finds in the end.
    found: f64,
    /// The replica set that held each block at first.
    sets: Vec<BTreeSet<Id>>,
}

fn survivors(seed: u64, peers: usize, blocks: usize, share: f64, repair: bool) -> Result<Survivors, Violation> {
    let shape = Shape::usual(OverlayKind::Kademlia);
    let mut rules = Rules::new(seed, Box::new(move |me, config, seed| shape.kind.build(me, seed, config.guest)));
    rules.checked = false;
    let mut world = World::new(rules);
    populate(&mut world, &shape, peers, |_| {});
    let keys = store(&mut world, blocks)?;
    let directory = Directory::new(world.living());
    let set = |key| directory.nearest(Geometry::Xor, key, REPLICAS).iter().map(|peer| peer.id).collect();
    let sets = keys.iter().map(set).collect();
    kill(&mut world, share);
    if repair {
        world.run_for(REPAIR)?;
    }
    let full = full_sets(&world, &keys);
    kill(&mut world, share);
    let found = found(&mut world, &keys)?;
    Ok(Survivors { full, found, sets })
}

/// The share of all blocks for which a random peer finds a holder that lives.
fn found(world: &mut World, keys: &[Key]) -> Result<f64, Violation> {
    let mut found = 0;
    for key in keys {
        let up = world.up();
        let Some(asked) = world.any(&up) else { break };
        let command = world.command(asked, Command::Lookup { key: *key });
        world.run_until_answered(asked, command, Duration::from_secs(60))?;
        if let Some(Answer::Lookup { holders, .. }) = world.take_answer(asked, command) {
            let lives = |holder: &Peer| slot(holder.addr).is_some_and(|slot| world.is_up(slot));
            found += usize::from(holders.iter().any(lives));
        }
    }
    Ok(found as f64 / keys.len().max(1) as f64)
}

/// Of all blocks with a holder, the share whose nearest peers all hold them.
fn full_sets(world: &World, keys: &[Key]) -> f64 {
    let directory = Directory::new(world.living());
    let holders = world.holders();
    let left: Vec<(&Key, &Vec<usize>)> = keys.iter().filter_map(|key| holders.get_key_value(key)).collect();
    let is_full = |(key, holders): &&(&Key, &Vec<usize>)| {
        let set = directory.nearest(Geometry::Xor, key, REPLICAS);
        set.iter().all(|peer| slot(peer.addr).is_some_and(|slot| holders.contains(&slot)))
    };
    left.iter().filter(is_full).count() as f64 / left.len().max(1) as f64
}

/// Random peers store files of one block each.
fn store(world: &mut World, blocks: usize) -> Result<Vec<Key>, Violation> {
    let mut commands = Vec::new();
    let mut keys = Vec::new();
    for nth in 0..blocks {
        let bytes: Vec<u8> = format!("block {nth} of {}", world.rng().random::<u64>()).into_bytes();
        keys.push(Id::of(&bytes));
        let slots = world.slots();
        let slot = world.rng().random_range(0..slots);
        let path = PathBuf::from(format!("/{nth}"));
        world.disk_mut(slot).write_file(&path, bytes.into());
        commands.push((slot, world.command(slot, Command::Store { path, manifest: None, keep: false })));
        world.run_for(Duration::from_millis(20))?;
    }
    for (slot, command) in commands {
        world.run_until_answered(slot, command, Duration::from_secs(60))?;
        debug_assert!(matches!(world.take_answer(slot, command), Some(Answer::Stored { .. })));
    }
    Ok(keys)
}

fn kill(world: &mut World, share: f64) {
    let mut alive = world.up();
    let deaths = (share * alive.len() as f64).round() as usize;
    for _ in 0..deaths {
        let nth = world.rng().random_range(0..alive.len());
        world.crash(alive.swap_remove(nth));
    }
}
