//! The virtual world: a clock, a network and its peers.
//!
//! A world holds the same nodes that run on threads elsewhere. It gives each its events in the order of virtual time,
//! performs its actions, and wakes it when it asks to be woken. Nothing here waits, and all randomness comes from the
//! seed, so a run takes only its computing time and the same seed gives the same run, to the byte.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::choices::Script;
use super::content::Bytes;
pub use super::kept::{RecordSink, RecordedItem};
use super::network::{self, Weather};
use super::queue::EventQueue;
use super::sabotage::SabotageKind;
use super::sim_peer::SimPeer;
use super::tally::{Counts, CurrentRequest};
use super::trace::Trace;
use super::traffic::SimLink;
use crate::config::{Config, MAX_BLOCK_SIZE};
use crate::id::{Id, Key};
use crate::node::job::{JobId, Outcome};
use crate::node::{Action, Answer, Command, CommandId, Event, Node, Notice, Purpose};
use crate::overlay::{Overlay, OverlayKind, RingOptions};
use crate::peer::Peer;
use crate::record::event_line;
use crate::time::Time;
use crate::wire::{Message, Via};

/// Makes the overlay of a peer that starts; its randomness comes from the seed.
pub type MakeOverlay = Box<dyn Fn(Peer, &Config, [u8; 32]) -> Box<dyn Overlay>>;

/// An invariant or promise that did not hold. It ends the run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("at {at} s, peer {slot}: {what}")]
pub struct Violation {
    /// The virtual time.
    pub at: Time,
    /// The slot of the peer.
    pub slot: usize,
    /// What did not hold.
    pub what: String,
}

/// The settings of a world.
pub struct Rules {
    /// The seed of all randomness.
    pub seed: u64,
    /// The configuration of every node.
    pub config: Config,
    /// Makes the nodes' overlays.
    pub overlay: MakeOverlay,
    /// The network to begin with.
    pub weather: Weather,
    /// Bytes of the blocks that files are cut into.
    pub block_size: u32,
    /// Whether each node's invariants are checked after each event of its.
    pub checked: bool,
    /// Of which kind all overlays are, and with which options: what a record must say. None where they differ.
    pub recipe: Option<(OverlayKind, RingOptions)>,
    /// How the driver is broken, if it is.
    pub(super) broken: Option<SabotageKind>,
}

impl Rules {
    /// A world of peers that route by `overlay`, in fair weather, checked after every event.
    pub fn new(seed: u64, overlay: MakeOverlay) -> Self {
        Self {
            seed,
            config: Config::default(),
            overlay,
            weather: Weather::default(),
            block_size: MAX_BLOCK_SIZE,
            checked: true,
            recipe: None,
            broken: None,
        }
    }

    /// A world of peers that all route by this overlay.
    pub fn of(seed: u64, kind: OverlayKind, ring: RingOptions) -> Self {
        let options = ring.clone();
        let make = move |me, config: &Config, seed| kind.build_with(me, seed, config, &options);
        Self { recipe: Some((kind, ring)), ..Self::new(seed, Box::new(make)) }
    }
}

/// A simulated network. See the [module documentation](self).
pub struct World {
    pub(super) now: Time,
    pub(super) rules: Rules,
    /// Randomness of the network.
    pub(super) rng: StdRng,
    pub(super) peers: Vec<SimPeer>,
    pub(super) queue: EventQueue<PlannedEvent>,
    /// What comes before its time.
    pub(super) script: Script,
    outbox: Vec<Action>,
    next_command: CommandId,
    answers: BTreeMap<(usize, CommandId), Answer>,
    /// Connections, from one peer to another.
    pub(super) links: BTreeMap<(u32, u32), SimLink>,
    pub(super) counts: Counts,
    /// The request that is being handled.
    pub(super) answering: Option<CurrentRequest>,
    /// What each peer was last offered each block for.
    pub(super) offers: BTreeMap<(usize, Key), Purpose>,
    /// Room for a message's text, to measure it.
    pub(super) text: Vec<u8>,
    /// Keys whose lookups' dead ends are counted.
    pub(super) followed: BTreeSet<Key>,
    /// Records all events and actions.
    pub trace: Trace,
    watcher: Option<Watcher>,
    /// Takes the lines of a record of all peers.
    pub recorder: Option<RecordSink>,
    pub(super) violation: Option<Violation>,
}

/// Sees every notice: its time, the peer's slot, and the notice.
pub type Watcher = Box<dyn FnMut(Time, usize, &Notice)>;

/// A planned event of a peer.
pub(super) struct PlannedEvent {
    pub(super) slot: u32,
    /// The life of the peer that the event is for; none: for the life at that time, as for what comes from outside.
    pub(super) life: Option<u32>,
    pub(super) what: SimEvent,
}

pub(super) enum SimEvent {
    Arrival {
        from: u32,
        via: Via,
        purpose: Purpose,
        message: Box<Message>,
    },
    Wake,
    Job(JobId),
    Told(Box<Event>),
    /// Bytes reach the disk whose block was told of before.
    Written {
        key: Key,
        bytes: Bytes,
    },
    /// A hostile peer does what it is up to.
    Mischief,
}

/// No event comes to a node so long after a time at which it asked to be woken, but for those that a stopped clock held
/// up.
const LATEST_WAKE: Duration = Duration::from_millis(100);

/// Ticks in a row, at one moment, after which a node counts as spinning.
const MAX_SPIN: u32 = 1000;

impl World {
    /// An empty world.
    pub fn new(rules: Rules) -> Self {
        Self {
            now: Time::ZERO,
            rng: StdRng::seed_from_u64(rules.seed),
            rules,
            peers: Vec::new(),
            queue: EventQueue::new(),
            script: Script::default(),
            outbox: Vec::new(),
            next_command: 0,
            answers: BTreeMap::new(),
            links: BTreeMap::new(),
            counts: Counts::default(),
            answering: None,
            offers: BTreeMap::new(),
            text: Vec::new(),
            followed: BTreeSet::new(),
            trace: Trace::off(),
            watcher: None,
            recorder: None,
            violation: None,
        }
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// From now on the dead ends of this key's lookups are counted; those by which peers renew their fingers are not.
    pub fn follow(&mut self, key: Key) {
        self.followed.insert(key);
    }

    /// The world's random source, also for planning what happens in it.
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// Shows every notice from now on to `watcher`.
    pub fn watch(&mut self, watcher: Watcher) {
        self.watcher = Some(watcher);
    }

    /// Changes the network for all messages sent from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.rules.weather = weather;
    }

    /// The network's present delays and losses.
    pub fn weather(&self) -> Weather {
        self.rules.weather
    }

    /// Gives the peer in `slot` a user's command. [`answer`](Self::answer) tells how it ended.
    pub fn command(&mut self, slot: usize, command: Command) -> CommandId {
        let id = self.next_command;
        self.next_command += 1;
        self.peers[slot].asked.insert(id, false);
        self.tell(slot, Event::Command { id, command });
        id
    }

    /// How a command ended, once it has.
    pub fn answer(&self, slot: usize, command: CommandId) -> Option<&Answer> {
        self.answers.get(&(slot, command))
    }

    /// Takes the answer of a command, once it has ended.
    pub fn take_answer(&mut self, slot: usize, command: CommandId) -> Option<Answer> {
        self.answers.remove(&(slot, command))
    }

    /// Lets time pass until `until`.
    ///
    /// # Errors
    /// The first thing that must hold and did not.
    pub fn run_until(&mut self, until: Time) -> Result<(), Violation> {
        while self.step(until)? {}
        self.now = self.now.max(until);
        Ok(())
    }

    /// Lets `span` pass.
    ///
    /// # Errors
    /// The first thing that must hold and did not.
    pub fn run_for(&mut self, span: Duration) -> Result<(), Violation> {
        self.run_until(self.now + span)
    }

    /// Lets time pass until the command is answered (true), or `limit` has passed (false).
    ///
    /// # Errors
    /// The first thing that must hold and did not.
    pub fn run_until_answered(&mut self, slot: usize, command: CommandId, limit: Duration) -> Result<bool, Violation> {
        let until = self.now + limit;
        while self.answer(slot, command).is_none() {
            if !self.step(until)? {
                self.now = until;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Handles the next planned event, if it is due by `until`. Returns whether there was one.
    fn step(&mut self, until: Time) -> Result<bool, Violation> {
        if let Some(PlannedEvent { slot, what, .. }) = self.chosen()? {
            self.happen(slot as usize, what);
            return self.violation.take().map_or(Ok(true), Err);
        }
        let Some((at, planned)) = self.queue.pop_by(until) else { return Ok(false) };
        debug_assert!(at >= self.now, "the clock only goes forward");
        self.now = at;
        let PlannedEvent { slot, life, what } = planned;
        let peer = &mut self.peers[slot as usize];
        if life.is_some_and(|life| life != peer.life) {
            return Ok(true);
        }
        if peer.frozen_until > at {
            let thaw = peer.frozen_until;
            self.queue.push(thaw, PlannedEvent { slot, life, what });
            return Ok(true);
        }
        self.happen(slot as usize, what);
        self.violation.take().map_or(Ok(true), Err)
    }

    fn happen(&mut self, slot: usize, what: SimEvent) {
        match what {
            SimEvent::Arrival { from, via, purpose, message } => {
                self.answering = Some((message.magic, purpose));
                self.arrive(from as usize, slot, via, message);
                self.answering = None;
            }
            SimEvent::Wake => {
                self.peers[slot].wake = None;
                if self.peers[slot].due.is_some_and(|due| due <= self.now) {
                    self.deliver(slot, Event::Tick);
                } else {
                    self.wake_when_due(slot);
                }
            }
            SimEvent::Job(job) => self.finish_job(slot, job),
            SimEvent::Told(event) => self.deliver(slot, *event),
            SimEvent::Written { key, bytes } => drop(self.peers[slot].disk.keep(key, bytes)),
            SimEvent::Mischief => self.do_mischief(slot),
        }
    }

    /// Plans an event.
    pub(super) fn plan(&mut self, at: Time, planned: PlannedEvent) {
        self.queue.push(at, planned);
    }

    /// Gives the peer's present life an event at once, or as soon as its clock goes on.
    pub(super) fn tell(&mut self, slot: usize, event: Event) {
        let (life, what) = (Some(self.peers[slot].life), SimEvent::Told(Box::new(event)));
        self.plan(self.now, PlannedEvent { slot: slot as u32, life, what });
    }

    /// Hands a node an event and performs its actions.
    pub(super) fn deliver(&mut self, slot: usize, event: Event) {
        let now = self.now;
        if !self.is_up(slot) || self.is_dropped(slot, &event) {
            return;
        }
        self.check_woken(slot);
        self.peers[slot].debts.pay(&event);
        if let Event::Command { id, .. } = &event {
            self.peers[slot].asked.insert(*id, true);
        }
        let local = self.clock(slot);
        let heard = self.recorder.is_some().then(|| event.clone());
        let peer = &mut self.peers[slot];
        let Some(node) = &mut peer.node else { return };
        let ticks = if event == Event::Tick && peer.last_event == now { peer.ticks + 1 } else { 0 };
        (peer.ticks, peer.last_event) = (ticks, now);
        self.trace.event(now, slot, &event);
        let mut out = std::mem::take(&mut self.outbox);
        node.handle(local, event, &mut out);
        self.counts.events += 1;
        if self.rules.checked {
            let spin =
                || Err(format!("it ticks without end, woken by {}", node.first_wake().map_or("nobody", |(_, by)| by)));
            let checked = if ticks > MAX_SPIN { spin() } else { node.check() };
            if let Err(what) = checked {
                self.violate(slot, what);
            }
        }
        if let (Some(recorder), Some(heard)) = (&mut self.recorder, heard) {
            // Its paths are the simulator's own, which are text.
            event_line(Some(slot), local, &heard, &out).iter().for_each(|line| recorder(RecordedItem::Moment(line)));
        }
        self.disorder(slot, &mut out);
        for action in out.drain(..) {
            self.trace.action(now, slot, &action);
            self.perform(slot, action);
        }
        self.outbox = out;
        self.plan_wake(slot);
    }

    /// Asks the node when to wake it, and plans that.
    pub(super) fn plan_wake(&mut self, slot: usize) {
        let peer = &mut self.peers[slot];
        peer.due = peer.next_wake();
        self.wake_when_due(slot);
    }

    /// Plans to wake the node when it asked for that, with at most one earlier wake-up planned besides.
    fn wake_when_due(&mut self, slot: usize) {
        let peer = &mut self.peers[slot];
        let Some(due) = peer.due.map(|due| due.max(self.now)) else { return };
        if let Some(planned) = peer.wake.filter(|planned| due < *planned)
            && self.rules.broken == Some(SabotageKind::LostTick)
        {
            return self
                .did_wrong(slot, || format!("to be woken at {due} s is forgotten: {planned} s is planned already"));
        }
        if peer.wake.is_none_or(|planned| due < planned) {
            peer.wake = Some(due);
            let planned = PlannedEvent { slot: slot as u32, life: Some(peer.life), what: SimEvent::Wake };
            self.queue.push(due, planned);
        }
    }

    fn perform(&mut self, slot: usize, action: Action) {
        match action {
            Action::Send { to, via, mut message } => {
                self.tamper(slot, to, &mut message);
                self.send(slot, to, via, message);
            }
            Action::Start { job, work } => self.start_job(slot, job, work),
            Action::Cancel { job } => self.cancel_job(slot, job),
            Action::Withdraw { put, key } => self.peers[slot].open_files.withdraw(put, &key),
            Action::ForgetPut { put } => self.peers[slot].open_files.forget_put(put),
            Action::ForgetGet { get } => self.peers[slot].open_files.forget_get(get),
            Action::Notify(notice) => self.notify(slot, notice),
            Action::Stop => self.end(slot),
        }
    }

    fn notify(&mut self, slot: usize, notice: Notice) {
        if let Some(watcher) = &mut self.watcher {
            watcher(self.now, slot, &notice);
        }
        match &notice {
            Notice::BlockStored { key, .. } if !self.peers[slot].disk.has(key) => {
                self.violate(slot, format!("it says that it holds block {}, which is not on its disk", key.short()));
            }
            Notice::Joined { .. } => self.peers[slot].joined = true,
            _ => {}
        }
        if let Notice::Answer { command, answer } = notice {
            if self.peers[slot].asked.remove(&command).is_none() {
                self.violate(slot, format!("command {command} is answered twice, or was never given: {answer:?}"));
            }
            self.answers.insert((slot, command), answer);
        }
    }

    pub(super) fn violate(&mut self, slot: usize, what: String) {
        self.violation.get_or_insert(Violation { at: self.now, slot, what });
    }

    /// The seed of a peer's life.
    pub(super) fn seed_of(&self, slot: usize, life: u32) -> [u8; 32] {
        *Id::of(format!("{} {slot} {life}", self.rules.seed).as_bytes()).as_bytes()
    }

    /// Counts a job's end and gives the node its outcome.
    pub(super) fn tell_outcome(&mut self, slot: usize, job: JobId, outcome: Outcome) {
        self.counts.jobs += 1;
        let again = self.tell_twice(slot, job, &outcome);
        self.deliver(slot, Event::JobDone { job, outcome });
        if let Some(again) = again {
            self.deliver(slot, again);
        }
    }

    /// Checks that the node was woken when it asked for that: when it was due, or at once if it was when it last heard
    /// something.
    fn check_woken(&mut self, slot: usize) {
        let peer = &self.peers[slot];
        let Some(due) = peer.next_wake() else { return };
        let late = self.now.since(due.max(peer.last_event).max(peer.held_up));
        if self.rules.checked && late > LATEST_WAKE {
            let by = peer.node.as_ref().and_then(Node::first_wake).map_or("nobody", |(_, by)| by);
            self.violate(slot, format!("it asked to be woken at {due} s ({by}), and {late:.0?} later it was not yet"));
        }
    }

    /// The node in a slot, if the peer runs.
    pub fn node(&self, slot: usize) -> Option<&Node> {
        self.peers.get(slot)?.node.as_ref()
    }

    /// Picks one of `slots`.
    pub fn any(&mut self, slots: &[usize]) -> Option<usize> {
        (!slots.is_empty()).then(|| slots[self.rng.random_range(0..slots.len())])
    }
}

/// The slot behind an address, if it is one of the world's.
pub(super) fn destination(to: std::net::SocketAddr, peers: usize) -> Option<usize> {
    network::slot(to).filter(|&slot| slot < peers)
}
