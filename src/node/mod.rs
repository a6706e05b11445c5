//! The core: an event in, actions out.
//!
//! [`Node::handle`] is the whole of it. A node has no socket, no clock, no thread and no source of chance but the one
//! seeded at its start: a driver hands it events with their times, performs the actions it answers with, and wakes it
//! when [`Node::next_wake`] says so. The same node runs on real threads and in the simulator, and the same events give
//! the same actions.
//!
//! # Inside
//! A *part* does one thing for users or peers: see `part`. It asks at the `desk` under a `ticket`, and hears what comes
//! of it through one function; `Node::reply` is the only way there.
//! - `exchange`: requests, answers, offers, and who asked; `obstacles`: what does not get there; `refusal`: why a peer
//!   does not have what it was offered. `claims`: the part that hears the answer to each offer first, and judges copies
//!   that have yet to be shown. `jobs`: work for the workers, `outcomes`: what they have done. `commands`: which part
//!   gets which command. `effects`: what the overlay wants done. `life`: from the start to the last goodbye.
//! - `files`: files in and out, and how much of them at a time (`pace`).
//! - `keeping`: what others ask us to hold, and what a replica set is owed while peers come and go and disks rot.
//!   `leases`: for whom what is held is kept. `holdings`: the account of what is held, `shares`: who brought it, and
//!   how much each may bring. `budget`: what upkeep may spend.
//! - `user`: what is asked and answered at once. `waits`: what is waited for. [`health`]: how safe files are.
//!   `memory`: the peers known, on disk. `bootstrap`: names of peers to join through, which a peer that is alone
//!   looks up anew. `reach`: to whom of the peers known a connection comes about. `around`: holders of a block that
//!   others hide.
//! - A place for one more part: files by their names are the [classroom](crate::classroom)'s.
//!
//! # Architecture invariants
//! - Block bytes never pass through here, only keys and sizes.
//! - Every request has a deadline, every job one outcome, every lookup one end, unless the part that asked for it takes
//!   it back; and every command has one answer.
//! - Failures are events like any other: `handle` returns nothing.
//! - A step never depends on the order of a hash map, so a trace can be replayed.

pub mod action;
pub mod command;
pub mod event;
pub mod failure;
pub mod health;
pub mod job;
pub mod notice;
pub mod purpose;
pub mod trouble;

mod around;
mod bootstrap;
mod budget;
pub(crate) mod claims;
pub(crate) mod commands;
pub(crate) mod desk;
pub(crate) mod effects;
pub(crate) mod exchange;
mod explain;
pub(crate) mod files;
mod holdings;
pub(crate) mod jobs;
pub(crate) mod keeping;
mod leases;
pub(crate) mod life;
mod memory;
mod obstacles;
pub(crate) mod outcomes;
mod pace;
pub(crate) mod part;
mod parts;
mod reach;
pub(crate) mod refusal;
mod shares;
mod smoothed;
pub(crate) mod ticket;
mod user;
mod waits;

use std::net::SocketAddr;

pub use action::{Action, Outbox};
pub use command::{Command, CommandId, LeaseChange, Source, Until};
pub use event::{Event, Obstacle};
pub use notice::{Answer, Failure, FailureKind, NamedBy, Notice, Phase, Progress};
pub use purpose::Purpose;

use self::desk::{Desk, Passed};
use self::exchange::RequestOutcome;
use self::life::Life;
use self::part::Part;
use self::ticket::{News, PartId, Reply, Ticket};
use self::waits::UserWaits;
use crate::config::Config;
use crate::id::Key;
use crate::name::FileName;
use crate::overlay::{Cause, Effect, Entrances, Incoming, Overlay};
use crate::time::Time;
use crate::wire::{Body, Message, Request, Via};

/// A peer's core: everything that decides, nothing that waits.
pub struct Node {
    desk: Desk,
    /// In the order of their owners.
    parts: Vec<(PartId, Box<dyn Part>)>,
    /// The command that asked this peer to leave, until its departure begins; whether its blocks are handed over.
    quit: Option<(CommandId, bool)>,
    /// When the user pressed Ctrl-C last.
    interrupted: Option<Time>,
    started: Time,
    waits: UserWaits,
    spare_effects: Vec<Effect>,
}

impl Node {
    /// A node that routes by `overlay`. All its randomness comes from `seed`. It keeps files by their names once the
    /// [classroom](crate::classroom::join) has joined it, as every driver has it do.
    pub fn new(config: Config, overlay: Box<dyn Overlay>, seed: [u8; 32]) -> Self {
        // Without a copy of each block nothing is kept, even if the user asks for that.
        let (replicas, quorum, window) = (config.replicas.max(1), config.quorum.max(1), config.window.max(1));
        let config = Config { replicas, quorum, window, ..config };
        Self {
            desk: Desk::new(config, overlay, seed),
            parts: parts::begin(seed),
            quit: None,
            interrupted: None,
            started: Time::ZERO,
            waits: UserWaits::default(),
            spare_effects: Vec::new(),
        }
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, owner: PartId, part: Box<dyn Part>) {
        let at = self.parts.partition_point(|(other, _)| *other < owner);
        self.parts.insert(at, (owner, part));
    }

    /// Takes what happened at `now`, and puts what shall be done about it at the end of `out`.
    ///
    /// An earlier `now` than the last counts as the last. A tick may come early: then nothing is due.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Outbox) {
        if self.desk.life == Life::Stopped {
            return;
        }
        self.desk.exchange.begin(now, out);
        self.desk.holdings.set_time(self.desk.unix_time());
        self.on_event(event);
        self.run_effects();
        if self.depart_if_nothing_keeps_us() {
            self.run_effects();
        }
        self.look_after_waits();
        self.desk.exchange.make_offers();
        self.desk.exchange.end(out);
    }

    /// When the node wants an [`Event::Tick`] next.
    pub fn next_wake(&self) -> Option<Time> {
        self.first_wake().map(|(due, _)| due)
    }

    /// When the node wants an [`Event::Tick`] next, and which part of it does.
    pub fn first_wake(&self) -> Option<(Time, &'static str)> {
        if self.desk.life == Life::Stopped {
            return None;
        }
        let parts = self.parts.iter().map(|(owner, part)| (part.next_wake(&self.desk), owner.name()));
        let wakes = self
            .desk
            .exchange
            .wakes()
            .into_iter()
            .chain([(self.desk.overlay.next_tick(), "overlay"), (self.waits.next_wake(self.desk.now()), "waits")]);
        wakes.chain(parts).filter_map(|(due, by)| due.map(|due| (due, by))).min()
    }

    /// The overlay, to look at.
    pub fn overlay(&self) -> &dyn Overlay {
        &*self.desk.overlay
    }

    /// The blocks held here, with their sizes in bytes, in the order of keys.
    pub fn held(&self) -> impl Iterator<Item = (Key, u32)> + '_ {
        self.desk.held()
    }

    /// The named files that this peer keeps for the classroom ring, in the order of names.
    pub fn named_files(&self) -> Vec<(FileName, job::Version)> {
        self.parts.iter().find_map(|(_, part)| part.named_files(&self.desk)).unwrap_or_default()
    }

    /// Whether the node is between all things it does for others or its user: no file, pull, repair or lookup under
    /// way.
    pub fn is_at_rest(&self) -> bool {
        self.parts.iter().all(|(_, part)| part.under_way() == 0) && self.desk.lookups.is_empty()
    }

    /// What must be true between any two events; the simulator asks after each.
    ///
    /// # Errors
    /// Says which part contradicts which.
    pub fn check(&self) -> Result<(), String> {
        self.desk.exchange.check()?;
        self.desk.jobs.check()?;
        self.desk.holdings.check()?;
        self.desk.overlay.check()?;
        self.check_waits()?;
        for (owner, part) in &self.parts {
            part.check(&self.desk).map_err(|error| format!("{}: {error}", owner.name()))?;
        }
        let is_done = self.desk.effects.is_empty() && self.desk.passed_on.is_empty();
        is_done.then_some(()).ok_or_else(|| "something that the node has to do was left undone".to_owned())
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Message { from, via, bytes, message } => self.on_message(from, via, bytes, message),
            Event::JobDone { job, outcome } => {
                if let Some(ticket) = self.desk.jobs.done(job, self.desk.exchange.out()) {
                    self.on_outcome(ticket, job, outcome);
                }
            }
            Event::Tick => self.on_tick(),
            Event::Undeliverable { to, message, obstacle } => self.on_obstacle(to, message, obstacle),
            Event::NoWay { to, magic } => {
                self.desk.exchange.on_no_way(&to, magic).into_iter().for_each(|outcome| self.deliver(outcome));
            }
            Event::Validated { addr } => {
                self.desk.on_connected(addr);
                self.hand_on();
            }
            Event::Command { id, command } => self.on_command(id, command),
            Event::Damaged { key } => self.on_damaged(key),
            Event::FolderGone => self.on_folder_gone(),
            Event::FolderBack { held, notes, off } => self.on_folder_back(held, notes, off),
            Event::Missing { key } if self.desk.holds(&key) => self.tell(News::MaybeMissing(&key)),
            Event::Missing { .. } => {}
            Event::Asked { blocks } => self.desk.exchange.note_asked(blocks),
            Event::Delivered { blocks } => self.desk.exchange.note_deliveries(blocks),
            Event::Flows { job, bytes } => self.desk.jobs.flows(self.desk.now(), job, bytes),
            Event::Moved { addr } => self.on_moved(addr),
            Event::Dropped { total } => self.desk.exchange.traffic.dropped = total,
            Event::Fetching { file, by, goes_on } => self.tell(News::Fetching { file, by, goes_on }),
            Event::Fetched { file, by } => self.tell(News::Fetched { file, by }),
            Event::Start { bootstrap, hosts, remembered, held, notes, unix_time, ran } => {
                self.started = self.desk.now();
                self.waits.on_start(self.started, !(bootstrap.is_empty() && remembered.is_empty()));
                self.desk.began = unix_time.saturating_sub(self.started.as_micros() / 1_000_000);
                self.desk.holdings.set_time(unix_time);
                self.desk.holdings.found(held, &notes);
                let off = if ran == 0 { 0 } else { unix_time.saturating_sub(ran) };
                self.tell(News::StoreRead { off, remembered: &remembered });
                let entrances = Entrances { known: &bootstrap, hosts: &hosts, remembered: &remembered };
                self.desk.overlay.join(self.started, &entrances, &mut self.desk.effects);
            }
        }
    }

    // Which part gets what.

    fn part(&mut self, owner: PartId) -> Option<(&mut dyn Part, &mut Desk)> {
        let at = self.parts.binary_search_by_key(&owner, |(owner, _)| *owner).ok()?;
        Some((&mut *self.parts[at].1, &mut self.desk))
    }

    /// Brings what came of something back to the part that asked for it: the only way there.
    fn reply(&mut self, ticket: Ticket, reply: Reply) {
        if let Some((part, desk)) = self.part(ticket.owner) {
            part.on(desk, ticket, reply);
        }
        self.hand_on();
    }

    /// Brings what a part passed on to those that it is for.
    fn hand_on(&mut self) {
        while let Some(passed) = self.desk.passed_on.pop_front() {
            match passed {
                Passed::Reply(ticket, reply) => self.reply(ticket, reply),
                Passed::News(news) => self.tell(news),
            }
        }
    }

    /// Tells every part.
    fn tell(&mut self, news: News<'_>) {
        for (_, part) in &mut self.parts {
            part.on_news(&mut self.desk, news);
        }
    }

    fn on_message(&mut self, from: SocketAddr, via: Via, bytes: u32, mut message: Message) {
        self.desk.exchange.traffic.received += 1;
        message.place_links(from);
        let Message { magic, sender, asks, body, .. } = message;
        let answer = match body {
            Body::Request(request) => {
                if let Some(from) = self.desk.exchange.on_request(from, via, (bytes, magic), sender, &request) {
                    self.on_request(from, request);
                }
                return;
            }
            Body::Response(response) => Ok(response),
            Body::Error(words) => Err(words.into()),
        };
        if let Some((alive, outcome)) = self.desk.exchange.on_answer(from, magic, sender, answer) {
            if alive {
                self.desk.tell_overlay(Cause::Alive { addr: from });
            }
            self.deliver(outcome);
        }
        // The peer that answered is known by now.
        if let Some(magic) = asks
            && let Some(from) = self.desk.exchange.on_ping_back(from, via, (bytes, magic))
        {
            self.on_request(from, Request::Ping);
        }
    }

    fn on_request(&mut self, from: Incoming, request: Request) {
        let owner = match &request {
            Request::Store { .. } => Some(PartId::Pulls),
            Request::Verify { .. } | Request::Terms { .. } => Some(PartId::Answering),
            Request::Lease(_) => Some(PartId::Leases),
            Request::Compare { .. } => Some(PartId::Repair),
            request if request.sought().is_some_and(|key| self.desk.holds(key)) && !self.desk.is_leaving() => {
                Some(PartId::Answering)
            }
            request => request.offers_file().then_some(PartId::NamedFiles),
        };
        if let Some((part, desk)) = owner.and_then(|owner| self.part(owner)) {
            let wanted = request.sought().copied();
            part.on_request(desk, from.asker, request);
            // The peer that was told that it is here may count on it.
            let unseen = wanted.filter(|key| self.desk.holdings.is_unseen(key));
            return unseen.iter().for_each(|key| self.tell(News::MaybeMissing(key)));
        }
        self.desk.tell_overlay(Cause::Request { from: &from, request: &request });
    }

    fn deliver(&mut self, outcome: RequestOutcome) {
        self.desk.explained.on(self.desk.exchange.now(), &outcome);
        match outcome {
            RequestOutcome::Answer { tag, from, by, response, .. } => {
                self.desk.tell_overlay(Cause::Answer { tag, from, by, response: &response });
            }
            RequestOutcome::Late { tag, late, .. } => self.desk.tell_overlay(Cause::Late { tag, late }),
            RequestOutcome::NoAnswer { tag, to, .. } => self.desk.tell_overlay(Cause::NoAnswer { tag, to }),
            RequestOutcome::Part(ticket, reply) => self.reply(ticket, reply),
            RequestOutcome::Claimed { offer, result } => {
                self.reply(desk::claims::CLAIMS_TICKET, Reply::Claimed { offer, result })
            }
            RequestOutcome::Revived(addr) => self.desk.tell_overlay(Cause::Revived { addr }),
            RequestOutcome::Pulse => {}
            RequestOutcome::Doubtful(addr) => {
                self.desk.suspect(addr);
                self.tell(News::Doubtful(addr));
            }
            RequestOutcome::Hesitates(addr) => self.tell(News::Hesitates(addr)),
            RequestOutcome::Stalls(addr) => self.tell(News::Stalls(addr)),
            RequestOutcome::NoPulse(addr) => {
                self.desk.suspect(addr);
                self.on_dead(addr);
            }
        }
    }

    /// The peer at `addr` is dead: nothing that was offered to it will be taken.
    fn on_dead(&mut self, addr: SocketAddr) {
        self.desk.exchange.on_dead(addr).into_iter().for_each(|outcome| self.deliver(outcome));
    }

    fn on_tick(&mut self) {
        while let Some(outcome) = self.desk.exchange.next_due() {
            self.deliver(outcome);
        }
        if self.desk.overlay.next_tick().is_some_and(|due| due <= self.desk.now()) {
            self.desk.tell_overlay(Cause::Tick);
        }
        for at in 0..self.parts.len() {
            self.parts[at].1.on_tick(&mut self.desk);
            self.hand_on();
        }
    }
}

/// Whether a number is not worth being written.
fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

#[cfg(test)]
pub(crate) mod tests;
