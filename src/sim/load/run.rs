//! One run of a large network under load, from the grown network to its report.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::files::LoadFiles;
use super::{LoadPlan, LoadReport, LoadStage, LookupResult, SLICES, Slice};
use crate::config::WIDTH;
use crate::id::{Id, Key};
use crate::node::{Answer, Command, CommandId, Notice};
use crate::peer::Peer;
use crate::sim::deaths::Deaths;
use crate::sim::grown::populate;
use crate::sim::kind;
use crate::sim::lifetimes::Lifetimes;
use crate::sim::network::slot as slot_of;
use crate::sim::queue::EventQueue;
use crate::sim::tally::PurposeTally;
use crate::sim::truth::Directory;
use crate::sim::world::{Rules, Violation, World};
use crate::time::Time;

/// The largest network in which each node's invariants are checked after each of its events.
const CHECKED_PEERS: usize = 500;
/// A lookup without an answer after this time counts as failed.
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);

/// How much longer a slow peer takes to answer: between these times. Each message from or to it takes half of it.
const SLOW: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(1));
/// A peer that stops now and then goes on for this long in between, on average.
const STOPS_EVERY: Duration = Duration::from_secs(30);
/// How long it stops each time: between these times.
const STOPS_FOR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

enum LoadStep {
    Lookup,
    /// One of the peers stores a file.
    Store,
    /// The life of the peer in this slot is over, and another one joins.
    Death(usize),
    /// Any peer dies, and another one joins.
    Churn,
    /// This share of all peers dies.
    Kill(f64),
    /// The peer in this slot stops for a while.
    Stop(usize),
}

/// What a peer announces.
enum PeerNews {
    Joined,
    Dead(Peer),
}

/// What was announced by whom, and when.
type Heard = Rc<RefCell<Vec<(Time, usize, PeerNews)>>>;

pub(super) struct LoadRun<'a> {
    plan: &'a LoadPlan,
    pub(super) world: World,
    directory: Directory,
    pub(super) rng: StdRng,
    agenda: EventQueue<LoadStep>,
    open: BTreeMap<(usize, CommandId), Time>,
    slow: BTreeSet<usize>,
    /// Peers that have not announced yet that they have joined: lookups may miss them.
    joining: BTreeSet<usize>,
    heard: Heard,
    deaths: Deaths,
    pub(super) files: LoadFiles,
    slices: Vec<Slice>,
}

impl<'a> LoadRun<'a> {
    /// A grown network, and all that will happen in it.
    pub(super) fn new(plan: &'a LoadPlan, progress: &mut impl FnMut(LoadStage)) -> Self {
        let shape = plan.shape;
        let mut rules =
            Rules::new(plan.seed, Box::new(move |me, config, seed| shape.kind.build(me, seed, config.guest)));
        rules.weather = plan.weather;
        rules.config.replicas = plan.replicas;
        rules.checked = plan.peers <= CHECKED_PEERS;
        let mut world = World::new(rules);
        let directory =
            populate(&mut world, &shape, plan.peers, |count| progress(LoadStage::Growing(count, plan.peers)));
        progress(LoadStage::Grown);
        let heard = Heard::default();
        let ear = Rc::clone(&heard);
        world.watch(Box::new(move |at, by, notice| match notice {
            Notice::Joined { .. } => ear.borrow_mut().push((at, by, PeerNews::Joined)),
            Notice::PeerDown { peer } => ear.borrow_mut().push((at, by, PeerNews::Dead(*peer))),
            _ => {}
        }));
        let mut run = Self {
            plan,
            world,
            directory,
            rng: StdRng::seed_from_u64(plan.seed ^ 0xf1e1d),
            agenda: EventQueue::new(),
            open: BTreeMap::new(),
            slow: BTreeSet::new(),
            joining: BTreeSet::new(),
            heard,
            deaths: Deaths::default(),
            files: LoadFiles::default(),
            slices: Vec::new(),
        };
        run.plan_agenda();
        run
    }

    fn plan_agenda(&mut self) {
        let plan = self.plan;
        if plan.dead > 0.0 {
            self.agenda.push(Time::ZERO, LoadStep::Kill(plan.dead));
        }
        self.plan_evenly(plan.lasts, plan.lookups, || LoadStep::Lookup);
        self.plan_evenly(plan.lasts / 10, plan.files, || LoadStep::Store);
        if plan.lifetimes == Lifetimes::Even {
            let deaths = (plan.churn * plan.lasts.as_secs_f64() / 60.0).round() as usize;
            self.plan_evenly(plan.lasts, deaths, || LoadStep::Churn);
        }
        if plan.kill > 0.0 {
            self.agenda.push(Time::ZERO + plan.lasts / 4, LoadStep::Kill(plan.kill));
        }
        for slot in 0..plan.peers {
            let rest = plan.mean_lifetime().and_then(|mean| plan.lifetimes.rest(mean, &mut self.rng));
            self.plan_life(slot, rest);
        }
    }

    fn plan_evenly(&mut self, span: Duration, count: usize, step: impl Fn() -> LoadStep) {
        for nth in 0..count {
            self.agenda.push(Time::ZERO + span.mul_f64((nth as f64 + 0.5) / count as f64), step());
        }
    }

    /// Plans what happens to a peer that has come: whether it is slow, and how long it still lives, if that is fixed.
    fn plan_life(&mut self, slot: usize, lives: Option<Duration>) {
        if let Some(lives) = lives {
            self.plan_later(lives, LoadStep::Death(slot));
        }
        if self.plan.slow > 0.0 && self.rng.random_bool(self.plan.slow) {
            self.slow.insert(slot);
            if self.rng.random_bool(0.5) {
                let longer = self.rng.random_range(SLOW.0..=SLOW.1);
                self.world.slow_down(slot, longer / 2);
            } else {
                self.plan_stop(slot, Duration::ZERO);
            }
        }
    }

    /// Plans the next stop of a peer that goes on once `stopped` is over: no stop begins within another, so none lasts
    /// longer than [`STOPS_FOR`] says.
    fn plan_stop(&mut self, slot: usize, stopped: Duration) {
        let until = Lifetimes::Exponential.whole(STOPS_EVERY, &mut self.rng).unwrap_or(STOPS_EVERY);
        self.plan_later(stopped + until, LoadStep::Stop(slot));
    }

    /// Plans what is to happen, if the run lasts until then.
    fn plan_later(&mut self, after: Duration, step: LoadStep) {
        let now = self.world.now();
        if after <= (Time::ZERO + self.plan.lasts).since(now) {
            self.agenda.push(now + after, step);
        }
    }

    pub(super) fn run(mut self, progress: &mut impl FnMut(LoadStage)) -> Result<LoadReport, Violation> {
        let lasts = self.plan.lasts;
        let mut before = PurposeTally::default();
        for nth in 0..SLICES as u32 {
            let begins = lasts * nth / SLICES as u32;
            self.slices.push(Slice { begins, ..Slice::default() });
            let end = Time::ZERO + lasts * (nth + 1) / SLICES as u32;
            while let Some((at, step)) = self.agenda.pop_by(end) {
                self.world.run_until(at)?;
                self.hear();
                self.collect();
                self.take_step(step);
            }
            self.world.run_until(end)?;
            self.hear();
            self.collect();
            let sent = self.world.counts().tally;
            if let Some(slice) = self.slices.last_mut() {
                slice.sent = sent - before;
                slice.alive = self.directory.peers().len();
            }
            before = sent;
            progress(LoadStage::Running(end.since(Time::ZERO), lasts));
        }
        let (world, mut deaths) = (&self.world, std::mem::take(&mut self.deaths));
        deaths.excuse_those_who_forgot(|by, whom| self.knows(by, &world.peer(whom)));
        let deaths = deaths.report(self.world.now());
        let files = self.files.report(&self.world);
        self.wait_for_the_rest()?;
        let alive = self.slices.iter().map(|slice| slice.alive).sum::<usize>() as f64 / SLICES as f64;
        Ok(LoadReport { slices: self.slices, sent: before, alive, deaths, files, counts: self.world.counts() })
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
                let Some(slot) = self.any_asker() else { return };
                let key = Id::random(&mut self.rng);
                let command = self.world.command(slot, Command::Lookup { key });
                self.open.insert((slot, command), self.world.now());
            }
            LoadStep::Store => {
                if let Some(slot) = self.any_asker() {
                    self.store(slot);
                }
            }
            LoadStep::Death(slot) => {
                if self.world.is_up(slot) {
                    self.kill(slot);
                    self.join();
                }
            }
            LoadStep::Churn => {
                if let Some(slot) = self.any() {
                    self.kill(slot);
                }
                self.join();
            }
            LoadStep::Kill(share) => self.kill_many(share),
            LoadStep::Stop(slot) => {
                if self.world.is_up(slot) {
                    let lasts = self.rng.random_range(STOPS_FOR.0..=STOPS_FOR.1);
                    self.world.freeze(slot, lasts);
                    self.plan_stop(slot, lasts);
                }
            }
        }
    }

    /// A random living peer.
    fn any(&mut self) -> Option<usize> {
        let peers = self.directory.peers();
        let nth = (!peers.is_empty()).then(|| self.rng.random_range(0..peers.len()))?;
        slot_of(peers[nth].addr)
    }

    /// A random living peer that has joined and is not slow itself: its lookups show what others do to them.
    fn any_asker(&mut self) -> Option<usize> {
        let mut asker = self.any()?;
        let unfit = |slot| self.slow.contains(&slot) || self.joining.contains(&slot);
        if self.directory.peers().iter().filter_map(|peer| slot_of(peer.addr)).all(unfit) {
            return None;
        }
        while self.slow.contains(&asker) || self.joining.contains(&asker) {
            asker = self.any()?;
        }
        Some(asker)
    }

    /// A peer dies. Its lookups are dropped: their user is gone.
    fn kill(&mut self, slot: usize) {
        self.directory.remove(&self.world.peer(slot));
        self.die(slot);
    }

    /// A share of all peers dies at once.
    fn kill_many(&mut self, share: f64) {
        let deaths = (share * self.directory.peers().len() as f64).round() as usize;
        let mut alive: Vec<usize> = self.world.up();
        let doomed: Vec<usize> = (0..deaths.min(alive.len().saturating_sub(1)))
            .map(|_| alive.swap_remove(self.rng.random_range(0..alive.len())))
            .collect();
        self.directory = Directory::new(alive.into_iter().map(|slot| self.world.peer(slot)).collect());
        doomed.into_iter().for_each(|slot| self.die(slot));
    }

    /// A peer dies that is out of the directory. Those of its replica set that know it have to find out.
    fn die(&mut self, slot: usize) {
        let me = self.world.peer(slot);
        let near = self.directory.nearest(kind::geometry(self.plan.shape.kind), &me.id, WIDTH);
        let by = near.iter().filter_map(|peer| slot_of(peer.addr)).filter(|slot| self.knows(*slot, &me)).collect();
        self.deaths.on_death(self.world.now(), slot, by);
        self.world.crash(slot);
        self.slow.remove(&slot);
        self.joining.remove(&slot);
        self.open.retain(|(asker, _), _| *asker != slot);
        self.files.forget(slot);
    }

    /// Whether the peer in `slot` has `whom` in its table.
    fn knows(&self, slot: usize, whom: &Peer) -> bool {
        self.world.node(slot).is_some_and(|node| node.overlay().peers().contains(whom))
    }

    fn join(&mut self) {
        let through: Vec<usize> = (0..3).filter_map(|_| self.any()).collect();
        let id = Id::random(&mut self.rng);
        let slot = self.world.add(id);
        self.world.start(slot, &through);
        self.directory.insert(self.world.peer(slot));
        self.joining.insert(slot);
        let lives = self.plan.mean_lifetime().and_then(|mean| self.plan.lifetimes.whole(mean, &mut self.rng));
        self.plan_life(slot, lives);
    }

    /// Takes note of what was announced since the last time; no peer has come or gone since then.
    fn hear(&mut self) {
        for (at, by, news) in self.heard.take() {
            match news {
                PeerNews::Joined => drop(self.joining.remove(&by)),
                PeerNews::Dead(peer) => {
                    if let Some(whom) = slot_of(peer.addr).filter(|&slot| self.world.peer(slot) == peer) {
                        self.deaths.on_declared(at, by, whom, self.world.is_up(whom));
                    }
                }
            }
        }
    }

    /// Compares the answers that have come with the ground truth.
    fn collect(&mut self) {
        let now = self.world.now();
        let world = &mut self.world;
        self.files.collect(world);
        let mut ended = Vec::new();
        self.open.retain(|&(slot, command), &mut asked| {
            let answer = world.take_answer(slot, command);
            let over = answer.is_some() || now.since(asked) >= LOOKUP_LIMIT;
            if over {
                ended.push((asked, answer));
            }
            !over
        });
        for (asked, answer) in ended {
            let slice = self.slice_of(asked);
            let Some(Answer::Lookup { key, peers, hops, took, .. }) = answer else {
                self.slices[slice].unanswered += 1;
                continue;
            };
            let truth = self.truth(&key, &peers);
            let (nearest, all) = (peers.first() == truth.first(), peers == truth);
            self.slices[slice].found.push(LookupResult { asked, took, hops, nearest, all });
        }
    }

    /// The peers that a lookup should have named: those nearest to the key of all that have joined or that it did name.
    fn truth(&self, key: &Key, named: &[Peer]) -> Vec<Peer> {
        let geometry = kind::geometry(self.plan.shape.kind);
        let counts =
            |peer: &Peer| named.contains(peer) || slot_of(peer.addr).is_none_or(|slot| !self.joining.contains(&slot));
        let mut nearest = self.directory.nearest(geometry, key, WIDTH + self.joining.len());
        nearest.retain(counts);
        nearest.truncate(WIDTH);
        nearest
    }

    fn slice_of(&self, asked: Time) -> usize {
        let share = asked.since(Time::ZERO).as_secs_f64() / self.plan.lasts.as_secs_f64();
        ((share * SLICES as f64) as usize).min(self.slices.len().saturating_sub(1))
    }
}
