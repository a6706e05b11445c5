//! A large network under load: a grown network, lookups all the while, and as much churn, loss and death as asked for.
//!
//! A lookup is compared with the [ground truth](super::truth) at the time at which it ends: did it find the nearest
//! peer, and did it find all of the nearest?

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::grown::{Shape, populate};
use super::kind;
use super::network::Weather;
use super::queue::Queue;
use super::truth::Directory;
use super::world::{Counts, Rules, Violation, World};
use crate::id::Id;
use crate::node::{Answer, Command, CommandId};
use crate::time::Time;

/// The largest network in which each node's invariants are checked after each of its events.
const CHECKED_PEERS: usize = 500;
/// A lookup without an answer after this time counts as failed.
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);
/// Slices of time that a run is reported in.
pub const SLICES: usize = 20;

/// All settings of a run: they determine it.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// The sizes of the routing tables.
    pub shape: Shape,
    /// The seed of all randomness.
    pub seed: u64,
    /// Peers at the beginning.
    pub peers: usize,
    /// Lookups, spread evenly over the time.
    pub lookups: usize,
    /// The virtual time that the run lasts.
    pub lasts: Duration,
    /// The network's delays and losses.
    pub weather: Weather,
    /// Peers that die a minute, without a goodbye; as many join.
    pub churn: f64,
    /// Share of all peers that die at once, when a quarter of the time has passed.
    pub kill: f64,
}

/// The result of a lookup that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// The time at which the lookup was started.
    pub asked: Time,
    /// How long the lookup took.
    pub took: Duration,
    /// Requests in the longest chain.
    pub hops: u32,
    /// Whether it found the peer nearest to the key.
    pub nearest: bool,
    /// Whether it found exactly the nearest peers, in order.
    pub all: bool,
}

/// What happened in one slice of a run's time.
#[derive(Clone, Default, Debug)]
pub struct Slice {
    /// The slice's beginning, since the start of the run.
    pub begins: Duration,
    /// Lookups that began in the slice and ended.
    pub found: Vec<Found>,
    /// Lookups that began in the slice and never ended.
    pub unanswered: usize,
    /// Messages sent in the slice.
    pub sent: u64,
    /// Peers alive at the end of the slice.
    pub alive: usize,
}

/// The report of a run.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// The run in slices of equal length.
    pub slices: Vec<Slice>,
    /// The world's counts.
    pub counts: Counts,
}

impl LoadReport {
    /// All lookups that ended.
    pub fn found(&self) -> impl Iterator<Item = &Found> {
        self.slices.iter().flat_map(|slice| &slice.found)
    }

    /// How many lookups began.
    pub fn asked(&self) -> usize {
        self.slices.iter().map(|slice| slice.found.len() + slice.unanswered).sum()
    }
}

/// The progress of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Peers grown so far, and peers in all.
    Growing(usize, usize),
    /// The network is grown.
    Grown,
    /// Virtual time passed so far, and in all.
    Running(Duration, Duration),
}

enum LoadStep {
    Lookup,
    Churn,
    Kill,
}

struct LoadRun<'a> {
    plan: &'a LoadPlan,
    world: World,
    directory: Directory,
    rng: StdRng,
    agenda: Queue<LoadStep>,
    open: BTreeMap<(usize, CommandId), Time>,
    slices: Vec<Slice>,
}

impl LoadPlan {
    /// Runs the network.
    ///
    /// # Errors
    /// The first invariant that did not hold (small networks are checked after every event).
    pub fn run(&self, mut progress: impl FnMut(Stage)) -> Result<LoadReport, Violation> {
        let shape = self.shape;
        let mut rules =
            Rules::new(self.seed, Box::new(move |me, config, seed| shape.kind.build(me, seed, config.guest)));
        rules.weather = self.weather;
        rules.checked = self.peers <= CHECKED_PEERS;
        let mut world = World::new(rules);
        let directory = populate(&mut world, &shape, self.peers, |count| progress(Stage::Growing(count, self.peers)));
        progress(Stage::Grown);
        let rng = StdRng::seed_from_u64(self.seed ^ 0xf1e1d);
        let mut run = LoadRun {
            plan: self,
            world,
            directory,
            rng,
            agenda: Queue::new(),
            open: BTreeMap::new(),
            slices: Vec::new(),
        };
        run.plan_agenda();
        run.run(&mut progress)?;
        Ok(LoadReport { slices: run.slices, counts: run.world.counts() })
    }
}

impl LoadRun<'_> {
    fn plan_agenda(&mut self) {
        let plan = self.plan;
        for nth in 0..plan.lookups {
            self.agenda
                .push(Time::ZERO + plan.lasts.mul_f64((nth as f64 + 0.5) / plan.lookups as f64), LoadStep::Lookup);
        }
        let deaths = (plan.churn * plan.lasts.as_secs_f64() / 60.0).round() as usize;
        for nth in 0..deaths {
            self.agenda.push(Time::ZERO + plan.lasts.mul_f64((nth as f64 + 0.5) / deaths as f64), LoadStep::Churn);
        }
        if plan.kill > 0.0 {
            self.agenda.push(Time::ZERO + plan.lasts / 4, LoadStep::Kill);
        }
    }

    fn run(&mut self, progress: &mut impl FnMut(Stage)) -> Result<(), Violation> {
        let lasts = self.plan.lasts;
        let mut sent = 0;
        for nth in 0..SLICES as u32 {
            let begins = lasts * nth / SLICES as u32;
            self.slices.push(Slice { begins, ..Slice::default() });
            let end = Time::ZERO + lasts * (nth + 1) / SLICES as u32;
            while let Some((at, step)) = self.agenda.pop_by(end) {
                self.world.run_until(at)?;
                self.take_step(step);
                self.collect();
            }
            self.world.run_until(end)?;
            self.collect();
            let total = self.world.counts().sent;
            if let Some(slice) = self.slices.last_mut() {
                slice.sent = total - sent;
                slice.alive = self.directory.peers().len();
            }
            sent = total;
            progress(Stage::Running(end.since(Time::ZERO), lasts));
        }
        self.wait_for_the_rest()
    }

    /// Lets the last lookups end, or reach their limit.
    fn wait_for_the_rest(&mut self) -> Result<(), Violation> {
        let end = self.world.now() + LOOKUP_LIMIT;
        while !self.open.is_empty() && self.world.now() < end {
            self.world.run_for(Duration::from_millis(10))?;
            self.collect();
        }
        for asked in std::mem::take(&mut self.open).into_values() {
            let slice = self.slice_of(asked);
            self.slices[slice].unanswered += 1;
        }
        Ok(())
    }

    fn take_step(&mut self, step: LoadStep) {
        match step {
            LoadStep::Lookup => {
                let Some(slot) = self.any() else { return };
                let key = Id::random(&mut self.rng);
                let command = self.world.command(slot, Command::Lookup { key });
                self.open.insert((slot, command), self.world.now());
            }
            LoadStep::Churn => {
                if let Some(slot) = self.any() {
                    self.kill(slot);
                }
                self.join();
            }
            LoadStep::Kill => {
                let deaths = (self.plan.kill * self.directory.peers().len() as f64).round() as usize;
                let mut alive: Vec<usize> = self.world.up();
                for _ in 0..deaths.min(alive.len().saturating_sub(1)) {
                    let slot = alive.swap_remove(self.rng.random_range(0..alive.len()));
                    self.world.crash(slot);
                }
                self.directory = Directory::new(self.world.living());
                self.open.retain(|(slot, _), _| self.world.is_up(*slot));
            }
        }
    }

    /// A random living peer.
    fn any(&mut self) -> Option<usize> {
        let peers = self.directory.peers();
        let nth = (!peers.is_empty()).then(|| self.rng.random_range(0..peers.len()))?;
        super::network::slot(peers[nth].addr)
    }

    /// A peer dies. Its lookups are dropped: their user is gone.
    fn kill(&mut self, slot: usize) {
        self.directory.remove(&self.world.peer(slot));
        self.world.crash(slot);
        self.open.retain(|(asker, _), _| *asker != slot);
    }

    fn join(&mut self) {
        let through: Vec<usize> = (0..3).filter_map(|_| self.any()).collect();
        let id = Id::random(&mut self.rng);
        let slot = self.world.add(id);
        self.world.start(slot, &through);
        self.directory.insert(self.world.peer(slot));
    }

    /// Compares the answers that have come with the ground truth.
    fn collect(&mut self) {
        let now = self.world.now();
        let world = &mut self.world;
        let mut ended = Vec::new();
        self.open.retain(|&(slot, command), &mut asked| {
            let answer = world.take_answer(slot, command);
            let over = answer.is_some() || now.since(asked) >= LOOKUP_LIMIT;
            if over {
                ended.push((asked, answer));
            }
            !over
        });
        let geometry = kind::geometry(self.plan.shape.kind);
        for (asked, answer) in ended {
            let slice = self.slice_of(asked);
            let Some(Answer::Lookup { key, peers, hops, took, .. }) = answer else {
                self.slices[slice].unanswered += 1;
                continue;
            };
            let truth = self.directory.nearest(geometry, &key, crate::config::WIDTH);
            let (nearest, all) = (peers.first() == truth.first(), peers == truth);
            self.slices[slice].found.push(Found { asked, took, hops, nearest, all });
        }
    }

    fn slice_of(&self, asked: Time) -> usize {
        let share = asked.since(Time::ZERO).as_secs_f64() / self.plan.lasts.as_secs_f64();
        ((share * SLICES as f64) as usize).min(self.slices.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::OverlayKind;

    fn plan(kind: OverlayKind) -> LoadPlan {
        LoadPlan {
            shape: Shape::usual(kind),
            seed: 1,
            peers: 200,
            lookups: 100,
            lasts: Duration::from_secs(10),
            weather: Weather::default(),
            churn: 0.0,
            kill: 0.0,
        }
    }

    #[test]
    fn in_a_still_grown_network_every_lookup_finds_all_of_the_nearest_peers() {
        for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
            let report = plan(kind).run(|_| {}).expect("nothing breaks");
            assert_eq!(report.found().filter(|found| found.nearest).count(), 100, "{kind:?}");
            assert_eq!(report.found().filter(|found| found.all).count(), 100, "{kind:?}");
        }
    }

    #[test]
    fn deaths_and_churn_are_counted_and_seen() {
        let plan = LoadPlan { churn: 60.0, kill: 0.3, ..plan(OverlayKind::Kademlia) };
        let report = plan.run(|_| {}).expect("nothing breaks");
        assert_eq!(report.slices.last().map(|slice| slice.alive), Some(140));
        let right = report.found().filter(|found| found.nearest).count();
        assert!((60..=100).contains(&right), "{right} of {}", report.asked());
    }
}
