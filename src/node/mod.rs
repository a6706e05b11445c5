//! The core: an event in, actions out.
//!
//! [`Node::handle`] is the whole of it. A node has no socket, no clock, no thread and no source of chance of its own:
//! a driver hands it events with their times, performs the actions it answers with, and wakes it when
//! [`Node::next_wake`] says so. The same node runs on real threads and in the simulator, and the same events give the
//! same actions.
//!
//! # Inside
//! - [`context`]: what every part works with. [`pending`]: request ids and deadlines. [`jobs`]: work for the workers.
//! - [`put`] and [`get`]: files in and out. [`uplink`] and [`pace`]: how much of it at a time. [`pulls`]: what others ask
//!   us to hold. [`repair`], [`heal`] and [`departure`]: what a replica set is owed while peers come and go and disks
//!   rot. [`clear`]: the user's own tidying.
//! - [`classroom`]: files by name, on the classroom ring.
//! - `mod.rs`, `dispatch.rs`, `silence.rs` and `commands.rs`: which event goes to whom.
//!
//! # Architecture invariants
//! - Block bytes never pass through here, only keys and sizes.
//! - Every request has a deadline, every job one outcome, every command one answer, every lookup one end.
//! - Failures are events like any other: `handle` returns nothing.
//! - A step never depends on the order of a hash map, so a trace can be replayed.

pub mod action;
pub mod command;
pub mod event;
pub mod job;
pub mod notice;
pub mod record;

mod classroom;
mod clear;
mod commands;
mod context;
mod departure;
mod dispatch;
mod get;
mod heal;
mod holdings;
mod jobs;
mod pace;
mod pending;
mod piece;
mod pulls;
mod put;
mod recent;
mod repair;
mod silence;
mod uplink;

use std::collections::BTreeMap;

pub use action::{Action, Outbox};
pub use command::{Command, CommandId, Source};
pub use event::{Event, Obstacle};
pub use notice::{Answer, Failure, FailureKind, Notice, Progress};

use crate::config::{Config, SAVE_PEERS_DELAY};
use crate::overlay::{Cause, Effect, Entrances, Overlay};
use crate::time::Time;
use crate::wire::Via;
use crate::wire::ring::FileName;

use classroom::Classroom;
use clear::Clear;
use context::{AskPurpose, Context, JobPurpose};
use departure::Departure;
use dispatch::Asker;
use get::Get;
use heal::Heal;
use job::{GetId, Job, PutId, Version};
use jobs::Urgency;
use pending::Overdue;
use pulls::Pulls;
use put::{Flow, Put};
use repair::Repair;

/// A peer's core: everything that decides, nothing that waits.
pub struct Node {
    cx: Context,
    puts: BTreeMap<PutId, Put>,
    gets: BTreeMap<GetId, Get>,
    clears: BTreeMap<CommandId, Clear>,
    pulls: Pulls,
    repair: Repair,
    heal: Heal,
    classroom: Classroom,
    departure: Option<Departure>,
    /// When the user pressed Ctrl-C last.
    interrupted: Option<Time>,
    stopped: bool,
    /// Names the next file on its way, in or out.
    next_transfer: u64,
    /// When the peers known are to be saved for the next start; none if nothing changed.
    save_peers: Option<Time>,
    started: Time,
    /// Who sent the request that is being handled.
    asker: Option<Asker>,
    spare_effects: Vec<Effect>,
}

impl Node {
    /// A node that routes by `overlay`. All its randomness comes from `seed`.
    pub fn new(config: Config, overlay: Box<dyn Overlay>, seed: [u8; 32]) -> Self {
        Self {
            cx: Context::new(config, overlay, seed),
            puts: BTreeMap::new(),
            gets: BTreeMap::new(),
            clears: BTreeMap::new(),
            pulls: Pulls::default(),
            repair: Repair::default(),
            heal: Heal::default(),
            classroom: Classroom::default(),
            departure: None,
            interrupted: None,
            stopped: false,
            next_transfer: 0,
            save_peers: None,
            started: Time::ZERO,
            asker: None,
            spare_effects: Vec::new(),
        }
    }

    /// Takes what happened at `now`, and puts what shall be done about it at the end of `out`.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Outbox) {
        if self.stopped {
            return;
        }
        std::mem::swap(&mut self.cx.out, out);
        self.cx.now = now.max(self.cx.now);
        self.on_event(event);
        self.settle_effects();
        if let Some(command) = self.classroom.may_leave(self.cx.now) {
            self.depart(command, true);
            self.settle_effects();
        }
        self.cx.make_offers();
        std::mem::swap(&mut self.cx.out, out);
    }

    /// When the node wants an [`Event::Tick`] next.
    pub fn next_wake(&self) -> Option<Time> {
        self.first_wake().map(|(due, _)| due)
    }

    /// When the node wants an [`Event::Tick`] next, and which part of it does.
    pub fn first_wake(&self) -> Option<(Time, &'static str)> {
        if self.stopped {
            return None;
        }
        let cx = &self.cx;
        let gets = self.gets.values().filter_map(|get| get.next_wake(cx)).min();
        let departure = self.departure.as_ref().map(Departure::next_wake);
        let repair = self.repair.next_wake().filter(|_| !cx.departing);
        let heal = self.heal.next_wake().filter(|_| !cx.departing);
        let wakes = [
            (cx.pending.next_deadline(), "pending"),
            (cx.overlay.next_tick(), "overlay"),
            (cx.uplink.next_wake(cx.now), "uplink"),
            (gets, "gets"),
            (departure, "departure"),
            (repair, "repair"),
            (heal, "heal"),
            (self.classroom.next_wake(self.cx.now), "classroom"),
            (self.save_peers, "save_peers"),
        ];
        wakes.into_iter().filter_map(|(due, part)| due.map(|due| (due, part))).min()
    }

    /// The overlay, to look at.
    pub fn overlay(&self) -> &dyn Overlay {
        &*self.cx.overlay
    }

    /// The blocks held here, with their sizes in bytes, in the order of keys.
    pub fn held(&self) -> impl Iterator<Item = (crate::id::Key, u32)> + '_ {
        self.cx.holdings.iter()
    }

    /// The named files that this peer keeps for the classroom ring, in the order of names.
    pub fn named_files(&self) -> impl Iterator<Item = (FileName, Version)> + '_ {
        self.classroom.kept()
    }

    /// Whether the node is between all things it does for others or its user: no file, pull, repair or lookup under way.
    pub fn is_at_rest(&self) -> bool {
        self.puts.is_empty()
            && self.gets.is_empty()
            && self.clears.is_empty()
            && self.pulls.len() == 0
            && self.repair.len() == 0
            && self.heal.len() == 0
            && self.classroom.is_at_rest()
            && self.cx.lookups.is_empty()
    }

    /// What must be true between any two events; the simulator asks after each.
    ///
    /// # Errors
    /// Says which part contradicts which.
    pub fn check(&self) -> Result<(), String> {
        self.cx.pending.check()?;
        self.cx.jobs.check()?;
        self.cx.uplink.check(self.cx.now)?;
        self.repair.check(&self.cx)?;
        self.heal.check()?;
        self.cx.overlay.check()?;
        self.pulls.check()?;
        self.classroom.check()?;
        if self.cx.effects.is_empty() { Ok(()) } else { Err("effects of the overlay were left undone".to_owned()) }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Message { from, via, bytes, message } => self.on_message(from, via, bytes, message),
            Event::JobDone { job, outcome } => self.on_job_done(job, outcome),
            Event::Tick => self.on_tick(),
            Event::Undeliverable { to, message, obstacle: Obstacle::Refused } => self.on_undeliverable(to, message),
            Event::Undeliverable { to, message, obstacle } => self.on_obstacle(to, message, obstacle),
            Event::Validated { addr } => self.cx.validate(addr),
            Event::Command { id, command } => self.on_command(id, command),
            Event::Damaged { key } => self.on_damaged(key),
            Event::Dropped { total } => self.cx.traffic.dropped = total,
            Event::Fetched { file, by } => self.classroom.on_fetched(&mut self.cx, file, by),
            Event::Start { bootstrap, hosts, remembered, held } => {
                self.started = self.cx.now;
                for (key, size) in held {
                    self.cx.holdings.found(key, size);
                    self.repair.watch_soon(&mut self.cx, key);
                }
                let cx = &mut self.cx;
                let entrances = Entrances { known: &bootstrap, hosts: &hosts, remembered: &remembered };
                cx.overlay.join(cx.now, &entrances, &mut cx.effects);
            }
        }
    }

    fn on_tick(&mut self) {
        let now = self.cx.now;
        while let Some(overdue) = self.cx.pending.next_overdue(now) {
            match overdue {
                Overdue::Resend { magic, to, request } => {
                    self.check_pulse(to, &request);
                    self.cx.send_request(to, magic, request);
                }
                Overdue::Failed(waiting) => {
                    if matches!(waiting.purpose, AskPurpose::Offer { .. }) {
                        self.cx.uplink.on_stall(now, waiting.to.addr);
                    }
                    self.on_ask_failed(waiting, "no answer");
                }
            }
        }
        if self.cx.overlay.next_tick().is_some_and(|due| due <= now) {
            self.cx.overlay.on(now, Cause::Tick, &mut self.cx.effects);
        }
        self.repair.on_tick(&mut self.cx);
        self.heal.on_tick(&mut self.cx);
        self.classroom.on_tick(&mut self.cx);
        for get in self.gets.values_mut() {
            get.on_tick(&mut self.cx);
        }
        if self.save_peers.is_some_and(|due| due <= now) {
            self.order_save_peers();
        }
        if self.departure.as_ref().is_some_and(|departure| departure.next_wake() <= now) {
            self.advance_departure(Departure::go_on);
        }
    }

    /// Does what the overlay wants done, and what comes of that, until nothing is left.
    fn settle_effects(&mut self) {
        while !self.cx.effects.is_empty() {
            let mut effects = std::mem::replace(&mut self.cx.effects, std::mem::take(&mut self.spare_effects));
            for effect in effects.drain(..) {
                self.on_effect(effect);
            }
            self.spare_effects = effects;
        }
        if self.cx.leaving && !self.stopped && !self.expects_farewells() {
            self.stopped = true;
            self.cx.out.push(Action::Stop);
        }
    }

    /// Whether a neighbour on the classroom ring has yet to confirm that it heard the goodbye. Ended before that, this
    /// peer could be found dead first, which is told in other words. Silence is waited for no longer than any answer.
    fn expects_farewells(&self) -> bool {
        use crate::wire::Request::Ring;
        use crate::wire::ring::RingRequest::{Exit, Quit};
        let farewell = |request: &crate::wire::Request| matches!(request, Ring(Quit { .. } | Exit { .. }));
        self.cx.config.named_files && self.cx.pending.any(|waiting| farewell(&waiting.request))
    }

    fn order_save_peers(&mut self) {
        self.save_peers = None;
        let peers = self.cx.overlay.peers();
        self.cx.order(Job::SavePeers { peers }, JobPurpose::Background, Urgency::Own);
    }

    /// The peers known have changed: they are saved soon, many changes at once.
    fn peers_changed(&mut self) {
        if !self.cx.config.guest && self.save_peers.is_none() {
            self.save_peers = Some(self.cx.now + SAVE_PEERS_DELAY);
        }
    }

    fn advance_departure(&mut self, step: impl FnOnce(&mut Departure, &mut Context) -> Flow) {
        if let Some(departure) = &mut self.departure
            && step(departure, &mut self.cx) == Flow::Over
        {
            self.departure = None;
        }
    }

    fn advance_put(&mut self, put: PutId, step: impl FnOnce(&mut Put, &mut Context) -> Flow) {
        if let Some(file) = self.puts.get_mut(&put)
            && step(file, &mut self.cx) == Flow::Over
        {
            self.puts.remove(&put);
        }
    }

    fn advance_get(&mut self, get: GetId, step: impl FnOnce(&mut Get, &mut Context) -> Flow) {
        if let Some(file) = self.gets.get_mut(&get)
            && step(file, &mut self.cx) == Flow::Over
        {
            self.gets.remove(&get);
        }
    }
}

#[cfg(test)]
mod tests;
