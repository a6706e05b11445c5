//! What is left when a share of all peers fails at once, twice, with and without time to repair in between.

use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;

use super::{Experiment, Finding, Setup, Tolerance};
use crate::config::{REPAIR_BOUND, REPLICAS};
use crate::id::{Id, Key};
use crate::node::{Answer, Command};
use crate::overlay::OverlayKind;
use crate::sim::grown::{Shape, populate};
use crate::sim::world::{Rules, Violation, World};

/// Blocks survive.
pub(super) const SURVIVAL: Experiment = Experiment {
    name: "kad-survival",
    title: "Kademlia: lookups of stored blocks after a share of all peers failed, twice",
    source: "Independent failures: of 7 copies none is left with chance p^7; without repair two waves are one of 2p - p^2",
    conventions: "Single blocks are stored, then a share p of all peers dies at once, and the same share of the rest \
                  again: at once (no repair), or after the promised 60 s (repair). Then a random peer looks each block \
                  up; it succeeds if it names a live holder.",
    run: survival,
};

fn survival(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    let (peers, blocks, shares): (_, _, &[f64]) =
        if setup.quick { (150, 60, &[0.3]) } else { (1000, 400, &[0.1, 0.2, 0.3, 0.4, 0.5]) };
    let mut findings = Vec::new();
    for &share in shares {
        for repair in [false, true] {
            let ours = survivors(setup.seed, peers, blocks, share, repair)?;
            let once = share.powi(REPLICAS as i32);
            let twice = (2.0 * share - share * share).powi(REPLICAS as i32);
            let expected = if repair { (1.0 - once).powi(2) } else { 1.0 - twice };
            // Three standard deviations of so many blocks, for a lookup finds what is left or does not.
            let spread = 3.0 * (expected * (1.0 - expected) / blocks as f64).sqrt() + 0.005;
            let how = if repair { "with repair" } else { "without repair" };
            let what = format!("found after p = {share} failed twice, {how}");
            findings.push(Finding::new(what, expected, ours, Tolerance::Within((spread * 1000.0).round() / 1000.0)));
            (setup.progress)(findings.len() as f64 / (2 * shares.len()) as f64);
        }
    }
    Ok(findings)
}

/// The share of blocks that are found in the end.
fn survivors(seed: u64, peers: usize, blocks: usize, share: f64, repair: bool) -> Result<f64, Violation> {
    let shape = Shape::usual(OverlayKind::Kademlia);
    let mut rules = Rules::new(seed, Box::new(move |me, config, seed| shape.kind.build(me, seed, config.guest)));
    rules.checked = false;
    let mut world = World::new(rules);
    populate(&mut world, &shape, peers, |_| {});
    let keys = store(&mut world, blocks)?;
    kill(&mut world, share);
    if repair {
        world.run_for(REPAIR_BOUND)?;
    }
    kill(&mut world, share);
    let mut found = 0;
    for key in &keys {
        let up = world.up();
        let Some(slot) = world.any(&up) else { break };
        let command = world.command(slot, Command::Lookup { key: *key });
        world.run_until_answered(slot, command, Duration::from_secs(60))?;
        let alive = |holders: &[crate::peer::Peer], world: &World| {
            holders.iter().any(|holder| super::super::network::slot(holder.addr).is_some_and(|slot| world.is_up(slot)))
        };
        if let Some(Answer::Lookup { holders, .. }) = world.take_answer(slot, command) {
            found += usize::from(alive(&holders, &world));
        }
    }
    Ok(found as f64 / keys.len().max(1) as f64)
}

/// Files of one block each are stored by random peers.
fn store(world: &mut World, blocks: usize) -> Result<Vec<Key>, Violation> {
    let mut commands = Vec::new();
    let mut keys = Vec::new();
    for nth in 0..blocks {
        let bytes: Vec<u8> = format!("block {nth} of {}", world.lots().random::<u64>()).into_bytes();
        keys.push(Id::of(&bytes));
        let slots = world.slots();
        let slot = world.lots().random_range(0..slots);
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
        let nth = world.lots().random_range(0..alive.len());
        world.crash(alive.swap_remove(nth));
    }
}
