//! Chord under churn: lookups while nodes come and go all the time.

use std::time::Duration;

use rand::RngExt;

use super::{Experiment, Finding, Setup, Tolerance, mean};
use crate::id::{Id, Key};
use crate::node::{Answer, Command, CommandId};
use crate::overlay::OverlayKind;
use crate::overlay::ring::{Ring, RingOptions};
use crate::sim::grown::{Shape, populate};
use crate::sim::network::Weather;
use crate::sim::queue::EventQueue;
use crate::sim::truth::{Directory, Geometry};
use crate::sim::world::{Rules, Violation, World};
use crate::time::Time;

/// The experiment on lookups under churn.
pub(super) const CHURN: Experiment = Experiment {
    name: "chord-churn",
    title: "Chord: lookups while nodes join and leave",
    source: "Chord (ToN 2003), section V-E, table III: about 1000 nodes, a lookup a second",
    conventions: "Joins and leaves each at the rate given, leaves by a failure without a word; a round of pings every 15 \
                  to 45 s (here: 30 s) where the paper stabilises; hops to the owner; a timeout is a message to a node \
                  that is gone; a lookup fails if it does not name the owner. Peers know 20 successors and as many \
                  predecessors, and repair what a lookup finds broken at once, so fewer timeouts than the paper's are a \
                  pass.",
    run: churn,
};

/// Rate of joins plus leaves a second, timeouts a lookup, failures per 10^4 lookups.
const TABLE_OF_CHURN: [(f64, f64, f64); 8] = [
    (0.05, 0.05, 0.0),
    (0.10, 0.11, 0.0),
    (0.15, 0.16, 2.0),
    (0.20, 0.23, 5.0),
    (0.25, 0.30, 6.0),
    (0.30, 0.34, 8.0),
    (0.35, 0.42, 16.0),
    (0.40, 0.46, 15.0),
];

const CHURN_PEERS: usize = 1000;

fn churn(setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
    let (table, minutes) = if setup.quick { (&TABLE_OF_CHURN[..1], 5) } else { (&TABLE_OF_CHURN[..], 60) };
    let mut findings = Vec::new();
    for &(rate, timeouts, failures) in table {
        let measured = ChurnRun::new(setup.seed, rate).run(Duration::from_secs(60 * minutes))?;
        let what = |of| format!("{of}, {rate} joins and leaves a second");
        findings.push(Finding::new(what("path"), 3.95, measured.path, Tolerance::Within(0.5)));
        findings.push(Finding::new(
            what("timeouts a lookup"),
            timeouts,
            measured.timeouts,
            Tolerance::AtMost(1.0, 0.1),
        ));
        let failed = measured.failed * 10_000.0;
        findings.push(Finding::new(what("failures in 10^4 lookups"), failures, failed, Tolerance::AtMost(2.0, 5.0)));
        (setup.progress)(findings.len() as f64 / (3 * table.len()) as f64);
    }
    Ok(findings)
}

/// The measured values of a run.
struct Measured {
    path: f64,
    timeouts: f64,
    failed: f64,
}

enum ChurnStep {
    Lookup,
    Join,
    Leave,
}

struct ChurnRun {
    world: World,
    directory: Directory,
    rate: f64,
    open: Vec<(usize, CommandId, Key)>,
    hops: Vec<f64>,
    asked: usize,
    failed: usize,
}

impl ChurnRun {
    fn new(seed: u64, rate: f64) -> Self {
        let (successors, predecessors) = (20, 20);
        let shape = Shape { successors, predecessors, ..Shape::usual(OverlayKind::Ring) };
        let ping_interval = Duration::from_secs(30);
        let options = RingOptions { successors, predecessors, ping_interval, ..RingOptions::default() };
        let make = move |me, _: &_, _| Box::new(Ring::new(me, options.clone())) as Box<_>;
        let mut rules = Rules::new(seed, Box::new(make));
        rules.checked = false;
        rules.weather = Weather::still(Duration::from_millis(50));
        let mut world = World::new(rules);
        let directory = populate(&mut world, &shape, CHURN_PEERS, |_| {});
        Self { world, directory, rate, open: Vec::new(), hops: Vec::new(), asked: 0, failed: 0 }
    }

    fn run(mut self, lasts: Duration) -> Result<Measured, Violation> {
        let mut agenda = EventQueue::new();
        let seconds = lasts.as_secs();
        for second in 0..seconds {
            agenda.push(Time::from_micros(second * 1_000_000), ChurnStep::Lookup);
        }
        for nth in 0..(self.rate / 2.0 * seconds as f64) as u64 {
            for make in [|| ChurnStep::Join, || ChurnStep::Leave] {
                let at = self.world.rng().random_range(0..seconds * 1_000_000);
                agenda.push(Time::from_micros(at), make());
            }
            let _ = nth;
        }
        while let Some((at, step)) = agenda.pop_by(Time::ZERO + lasts) {
            self.world.run_until(at)?;
            self.collect();
            self.take_step(step);
        }
        self.world.run_for(Duration::from_secs(60))?;
        self.collect();
        self.failed += self.open.len();
        let asked = self.asked.max(1) as f64;
        let timeouts = self.world.counts().dead_ends as f64 / asked;
        Ok(Measured { path: mean(self.hops), timeouts, failed: self.failed as f64 / asked })
    }

    fn take_step(&mut self, step: ChurnStep) {
        let up = self.world.up();
        match step {
            ChurnStep::Lookup => {
                if let Some(slot) = self.world.any(&up) {
                    let key = Id::random(self.world.rng());
                    self.world.follow(key);
                    let command = self.world.command(slot, Command::Lookup { key });
                    self.open.push((slot, command, key));
                    self.asked += 1;
                }
            }
            ChurnStep::Join => {
                let through: Vec<usize> = (0..3).filter_map(|_| self.world.any(&up)).collect();
                let id = Id::random(self.world.rng());
                let slot = self.world.add(id);
                self.world.start(slot, &through);
                self.directory.insert(self.world.peer(slot));
            }
            ChurnStep::Leave => {
                if let Some(slot) = self.world.any(&up) {
                    self.directory.remove(&self.world.peer(slot));
                    self.world.crash(slot);
                    let before = self.open.len();
                    self.open.retain(|(asker, ..)| *asker != slot);
                    self.asked -= before - self.open.len();
                }
            }
        }
    }

    /// Compares the answers that have come with the ground truth.
    fn collect(&mut self) {
        for (slot, command, key) in std::mem::take(&mut self.open) {
            match self.world.take_answer(slot, command) {
                None => self.open.push((slot, command, key)),
                Some(Answer::Lookup { peers, hops, .. })
                    if peers.first() == self.directory.nearest(Geometry::Circle, &key, 1).first() =>
                {
                    self.hops.push(f64::from(hops.saturating_sub(1)));
                }
                Some(_) => self.failed += 1,
            }
        }
    }
}
