//! A storm: a small network in which many faults strike while files are stored and retrieved; then calm, and checks.
//!
//! A run goes through three acts. *Calm before*: peers join one by one, and files are stored. *Storm*: faults strike
//! on a random schedule, while users go on storing and retrieving (whose commands may fail, but must end, and what
//! comes back must be what was stored). *Calm after*: the network is well again, and after the time in which replica
//! sets are promised to be full again, the network is at rest and everything must be in order.
//!
//! Hostile peers may take part until the calm after. What they bring about is bounded, and nothing that they say of
//! others is believed unseen.
//!
//! Everything in a run follows from its [`StormPlan`]. A fault left out changes no other, so a failing schedule can be
//! [shrunk](super::shrink()).

mod classroom;
mod hostile;
mod plan;
mod users;

use std::path::PathBuf;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::classroom::NamedFiles;
use self::users::{StoredFile, UserTally};
use super::faults::Fault;
use super::kind;
use super::network::{Weather, spread};
use super::queue::EventQueue;
use super::trace::Trace;
use super::world::{RecordSink, Rules, Violation, World};
use crate::config::REPLICAS;
use crate::id::Id;
use crate::node::{Command, CommandId};
use crate::overlay::RingOptions;
use crate::time::Time;

pub use plan::{StormPlan, StormReport};

/// How long peers have to join and store the first files.
const CALM_BEFORE: Duration = Duration::from_secs(40);
/// How long faults strike.
const STORM: Duration = Duration::from_secs(180);
/// After the storm, replica sets have this long to fill again, more than the promised bound: a peer that was tried in
/// vain during the storm is tried ever more rarely, and one that was cut off has yet to notice that it reaches the
/// others again.
const CALM_AFTER: Duration = Duration::from_secs(90);
/// How long a check that is under way may still take when the reckoning begins.
const CHECK_MAY_TAKE: Duration = Duration::from_secs(5);
/// Bytes of a block: small, so that small files have several.
const BLOCK_SIZE: u32 = 4096;
/// Files that users store during a storm, and as many that they ask for; more in a classroom ring.
const VISITS: usize = 6;
const NAMED_VISITS: usize = 12;
/// Files stored before the storm.
const STORM_FILES: usize = 4;
/// Lookups checked at the end.
const STORM_LOOKUPS: usize = 6;

struct Storm<'a> {
    plan: &'a StormPlan,
    world: World,
    /// Randomness of users and files; the world has its own.
    rng: StdRng,
    files: Vec<StoredFile>,
    storing: Vec<(usize, CommandId, StoredFile)>,
    retrieving: Vec<(usize, CommandId, PathBuf, Id)>,
    agenda: EventQueue<StormStep>,
    is_raging: bool,
    tally: UserTally,
    /// The named files of a classroom ring, and what its users were promised about them.
    named: NamedFiles,
    /// Bytes that honest peers had sent when the storm began, and that each sent in every second of it.
    sent_before: u64,
    rate: u64,
}

/// A step of the storm at a planned time.
enum StormStep {
    Strike(Fault),
    Return {
        slot: usize,
    },
    CalmDown,
    Heal,
    Hurry {
        slot: usize,
    },
    Open {
        slot: usize,
    },
    Store,
    Retrieve,
    /// A user has had enough.
    GiveUp {
        slot: usize,
        command: CommandId,
    },
}

impl<'a> Storm<'a> {
    fn new(plan: &'a StormPlan, trace: Trace, recorder: Option<RecordSink>) -> Self {
        let mut rules = match plan.classroom {
            true => classroom::rules(plan.seed),
            false => Rules::of(plan.seed, plan.kind, RingOptions::default()),
        };
        rules.broken = plan.saboteur.map(|saboteur| saboteur.way);
        rules.block_size = BLOCK_SIZE;
        let mut world = World::new(rules);
        world.script.choices = plan.choices.clone();
        world.trace = trace;
        world.recorder = recorder;
        Self {
            plan,
            world,
            rng: StdRng::seed_from_u64(plan.seed ^ 0xf11e),
            files: Vec::new(),
            storing: Vec::new(),
            retrieving: Vec::new(),
            agenda: EventQueue::new(),
            is_raging: false,
            tally: UserTally::default(),
            named: NamedFiles::default(),
            sent_before: 0,
            rate: 0,
        }
    }

    /// Peers join, the first alone, the others through it and one more; then files are stored.
    fn calm_before(&mut self) -> Result<(), Violation> {
        let peers = self.plan.peers;
        for slot in 0..peers {
            let id = if self.plan.classroom { self.free_number() } else { Id::random(&mut self.rng) };
            self.world.add(id);
            let through = self.rng.random_range(0..=slot.saturating_sub(1));
            self.world.start(slot, &[0, through]);
            let wait = spread(CALM_BEFORE / (2 * peers as u32), &mut self.rng);
            self.world.run_for(wait)?;
        }
        self.let_in_the_hostile();
        for _ in 0..STORM_FILES {
            if self.plan.classroom { self.store_new() } else { self.store() }
        }
        self.pass_until(Time::ZERO + CALM_BEFORE)?;
        self.collect()?;
        if self.tally.stored.0 < STORM_FILES {
            return self.breach("files could not be stored in a calm network");
        }
        Ok(())
    }

    fn rage(&mut self) -> Result<(), Violation> {
        let begin = self.world.now();
        self.sent_before = self.world.counts().tally.all().bytes;
        self.is_raging = true;
        let strikes = self.plan.strikes();
        for index in self.plan.striking() {
            if let Some(strike) = strikes.get(index) {
                self.agenda.push(begin + strike.after, StormStep::Strike(strike.fault.clone()));
            }
        }
        for _ in 0..if self.plan.classroom { NAMED_VISITS } else { VISITS } {
            let (store, retrieve) = (spread(STORM, &mut self.rng), spread(STORM, &mut self.rng));
            self.agenda.push(begin + store, StormStep::Store);
            self.agenda.push(begin + retrieve, StormStep::Retrieve);
        }
        let end = begin + STORM;
        while let Some((at, step)) = self.agenda.pop_by(end) {
            self.pass_until(at)?;
            self.collect()?;
            self.take_step(step);
        }
        self.pass_until(end)?;
        self.is_raging = false;
        self.rate = (self.world.counts().tally.all().bytes - self.sent_before) / STORM.as_secs() / self.honest();
        self.collect()
    }

    fn take_step(&mut self, step: StormStep) {
        match step {
            StormStep::Strike(fault) => self.strike(fault),
            StormStep::Return { slot } => self.restart(slot),
            StormStep::CalmDown => self.world.set_weather(Weather::default()),
            StormStep::Heal => self.world.heal(),
            StormStep::Hurry { slot } => self.world.slow_down(slot, Duration::ZERO),
            StormStep::Open { slot } => self.world.shut(slot, false),
            StormStep::Store if self.plan.classroom => self.store_named(),
            StormStep::Retrieve if self.plan.classroom => self.request_named(),
            StormStep::Store => self.store(),
            StormStep::Retrieve => self.retrieve(),
            StormStep::GiveUp { slot, command } if self.world.unanswered(slot).contains(&command) => {
                self.world.command(slot, Command::Cancel { command });
            }
            StormStep::GiveUp { .. } => {}
        }
    }

    fn strike(&mut self, fault: Fault) {
        let now = self.world.now();
        // At least half of the peers stay up: with fewer, nothing could be promised.
        let spare = self.world.up().len() > self.plan.peers.div_ceil(2).max(2);
        let strikes = match fault {
            Fault::Crash { slot, .. } | Fault::Leave { slot, .. } => spare && self.world.is_up(slot),
            _ => true,
        };
        self.world
            .note(|| format!("{fault}{}", if strikes { "" } else { ": not now, it is down or too few would stay" }));
        if !strikes {
            return;
        }
        match fault {
            Fault::Crash { slot, wipe, back_after } => {
                self.world.crash(slot);
                if wipe {
                    self.world.wipe(slot);
                    // A peer of the classroom is started again under the same number.
                    if self.plan.classroom { self.forget_directory(slot) } else { self.world.rename(slot) }
                }
                if let Some(after) = back_after {
                    self.agenda.push(now + after, StormStep::Return { slot });
                }
            }
            Fault::Leave { slot, handover } => {
                self.world.command(slot, Command::Quit { handover });
            }
            Fault::Join => {
                let id = if self.plan.classroom { self.free_number() } else { Id::random(self.world.rng()) };
                let slot = self.world.add(id);
                self.restart(slot);
            }
            Fault::Partition { slots, lasts } => {
                slots.iter().for_each(|&slot| self.world.maroon(slot, 1));
                self.agenda.push(now + lasts, StormStep::Heal);
            }
            Fault::Storm { weather, lasts } => {
                self.world.set_weather(weather);
                self.agenda.push(now + lasts, StormStep::CalmDown);
            }
            Fault::Freeze { slot, lasts } => self.world.freeze(slot, lasts),
            Fault::Slow { slot, lag, lasts } => {
                self.world.slow_down(slot, lag);
                self.agenda.push(now + lasts, StormStep::Hurry { slot });
            }
            Fault::Shut { slot, lasts } => {
                self.world.shut(slot, true);
                self.agenda.push(now + lasts, StormStep::Open { slot });
            }
            Fault::Rot { slot, nth } => drop(self.world.disk_mut(slot).rot(nth)),
        }
    }

    /// Starts a peer that is down; it joins through peers that are up.
    fn restart(&mut self, slot: usize) {
        if !self.world.is_up(slot) {
            if self.plan.classroom {
                self.enter_directory(slot);
            }
            let up = self.world.up();
            let through: Vec<usize> = (0..3).filter_map(|_| self.world.any(&up)).collect();
            self.world.start(slot, &through);
        }
    }

    fn pick(&mut self, slots: &[usize]) -> Option<usize> {
        (!slots.is_empty()).then(|| slots[self.rng.random_range(0..slots.len())])
    }

    /// Ends all faults; peers that are to come back are started.
    fn calm_after(&mut self) -> Result<(), Violation> {
        self.world.set_weather(Weather::default());
        self.world.heal();
        for slot in 0..self.world.slots() {
            self.world.slow_down(slot, Duration::ZERO);
            self.world.freeze(slot, Duration::ZERO);
            self.world.shut(slot, false);
        }
        while let Some((_, step)) = self.agenda.pop_by(Time::from_micros(u64::MAX)) {
            if let StormStep::Return { slot } = step {
                self.restart(slot);
            }
        }
        self.pass_until(self.world.now() + CALM_AFTER)?;
        self.collect()
    }

    fn reckon(&mut self) -> Result<(), Violation> {
        if self.plan.classroom {
            return self.reckon_named();
        }
        let geometry = kind::geometry(self.plan.kind);
        self.world.settle(CHECK_MAY_TAKE)?;
        self.world.check_rest()?;
        self.world.check_replicas(geometry, REPLICAS)?;
        let up = self.world.up();
        for _ in 0..STORM_LOOKUPS {
            let key = Id::random(&mut self.rng);
            if let Some(slot) = self.pick(&up) {
                self.world.check_lookup(geometry, slot, key)?;
            }
        }
        let holders = self.world.holders();
        for StoredFile { root, sha256, blocks } in std::mem::take(&mut self.files) {
            let there = blocks.iter().all(|key| holders.get(key).is_some_and(|slots| !slots.is_empty()));
            self.tally.lost.0 += usize::from(!there);
            self.tally.lost.1 += 1;
            if let (Some(slot), Some(root), true) = (self.pick(&up), root, there) {
                self.world.check_retrieve(slot, root, sha256)?;
            }
        }
        self.world.run_for(Duration::from_secs(1))?;
        self.world.settle(CHECK_MAY_TAKE)?;
        self.world.check_rest()
    }

    /// The whole storm, to its end.
    fn pass(&mut self) -> Result<(), Violation> {
        self.calm_before()?;
        self.rage()?;
        self.see_off_the_hostile()?;
        self.calm_after()?;
        self.reckon()?;
        let left = &self.world.script.choices;
        if left.is_empty() { Ok(()) } else { self.breach(format!("--choose {left} was never come to")) }
    }

    fn breach<T>(&self, what: impl Into<String>) -> Result<T, Violation> {
        Err(Violation { at: self.world.now(), slot: 0, what: what.into() })
    }

    fn report(&self) -> StormReport {
        StormReport {
            digest: self.world.trace.digest(),
            counts: self.world.counts(),
            lasted: self.world.now().since(Time::ZERO),
            stored: self.tally.stored,
            retrieved: self.tally.retrieved,
            lost: self.tally.lost,
            rate: self.rate,
            slowest: self.tally.slowest,
        }
    }
}
