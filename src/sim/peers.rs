//! The peers of a world: how they come, go, fall silent and come back.

use std::net::SocketAddr;
use std::time::Duration;

use super::debts::Debts;
use super::disk::{Disk, OpenFiles};
use super::network;
use super::sim_peer::SimPeer;
use super::world::{RecordedItem, World};
use crate::classroom;
use crate::config::Config;
use crate::id::Id;
use crate::node::{CommandId, Event, Node};
use crate::overlay::Overlay;
use crate::peer::Peer;
use crate::record::{Beginning, start_line};

/// Seconds since 1970 when a run begins, as its peers know it.
pub(super) const UNIX_TIME: u64 = 1_600_000_000;

impl World {
    /// A new place in the network for the peer `id`, which does not run yet. Returns its slot.
    pub fn add(&mut self, id: Id) -> usize {
        let slot = self.peers.len();
        self.peers.push(SimPeer::new(Peer::new(id, network::address(slot)), self.now, slot.is_multiple_of(2)));
        slot
    }

    /// Starts the peer in `slot`, which joins through those in `bootstrap`, with the disk of its last life.
    pub fn start(&mut self, slot: usize, bootstrap: &[usize]) {
        self.start_as(slot, self.rules.config.clone(), bootstrap);
    }

    /// Starts a guest in `slot`, as a client is that comes for one command.
    pub fn start_guest(&mut self, slot: usize, bootstrap: &[usize]) {
        self.start_as(slot, Config { guest: true, ..self.rules.config.clone() }, bootstrap);
    }

    fn start_as(&mut self, slot: usize, config: Config, bootstrap: &[usize]) {
        let seed = self.seed_of(slot, self.peers[slot].life + 1);
        let overlay = (self.rules.overlay)(self.peers[slot].me, &config, seed);
        self.record_beginning(slot, &config, seed);
        self.enliven(slot, config, overlay, seed);
        let held = self.found(slot, self.peers[slot].disk.held());
        let disk = &self.peers[slot].disk;
        let bootstrap: Vec<SocketAddr> =
            bootstrap.iter().filter(|&&other| other != slot).map(|&other| network::address(other)).collect();
        let start = Event::Start {
            bootstrap,
            hosts: Vec::new(),
            remembered: disk.peers.clone(),
            held,
            notes: disk.notes.clone(),
            unix_time: UNIX_TIME + self.now.as_micros() / 1_000_000 + self.peers[slot].ahead,
            ran: 0,
        };
        self.tell(slot, start);
    }

    /// Starts a node in `slot` that is a member already: `overlay` knows its peers.
    pub fn adopt(&mut self, slot: usize, overlay: Box<dyn Overlay>) {
        let seed = self.seed_of(slot, self.peers[slot].life + 1);
        self.enliven(slot, self.rules.config.clone(), overlay, seed);
        self.plan_wake(slot);
    }

    fn record_beginning(&mut self, slot: usize, config: &Config, seed: [u8; 32]) {
        let (Some(recorder), Some((kind, ring))) = (&mut self.recorder, &self.rules.recipe) else { return };
        let beginning = Beginning::new(self.peers[slot].me, *kind, ring.clone(), config.clone(), (seed, seed));
        let date = UNIX_TIME * 1_000_000 + self.now.as_micros();
        start_line(&beginning.at(date).of(slot)).iter().for_each(|line| recorder(RecordedItem::Beginning(line)));
    }

    fn enliven(&mut self, slot: usize, config: Config, overlay: Box<dyn Overlay>, seed: [u8; 32]) {
        debug_assert!(self.peers[slot].node.is_none(), "peer {slot} runs already");
        let node = classroom::join(Node::new(config, overlay, seed));
        let peer = &mut self.peers[slot];
        peer.life += 1;
        peer.born = self.now;
        peer.node = Some(node);
    }

    /// The next life of the peer begins with a clock that is so many seconds ahead.
    pub fn set_clock_ahead(&mut self, slot: usize, seconds: u64) {
        self.peers[slot].ahead = seconds;
    }

    /// Ends the peer's life without a goodbye. Its disk stays.
    pub fn crash(&mut self, slot: usize) {
        self.stop(slot);
    }

    /// Empties the disk of a peer that is down.
    pub fn wipe(&mut self, slot: usize) {
        self.peers[slot].disk = Disk::default();
    }

    /// Gives a peer that is down a new id.
    pub fn rename(&mut self, slot: usize) {
        let life = self.peers[slot].life;
        self.peers[slot].me.id = Id::of(format!("{} {slot} {life} anew", self.rules.seed).as_bytes());
    }

    /// The number of the peer's present life; each start and each end changes it.
    pub fn life(&self, slot: usize) -> u32 {
        self.peers[slot].life
    }

    /// The peer has left. By then it has answered all that it was given.
    pub(super) fn end(&mut self, slot: usize) {
        if let Some((command, _)) = self.peers[slot].asked.iter().find(|(_, given)| **given) {
            self.violate(slot, format!("it ended, and command {command} was never answered"));
        }
        // Its process closes its connections; one that crashes with its machine does not.
        self.links.retain(|(_, to), _| *to != slot as u32);
        self.stop(slot);
    }

    /// Ends the peer's life; all that it had in memory is lost.
    pub(super) fn stop(&mut self, slot: usize) {
        self.note(|| format!("peer {slot} ends"));
        let peer = &mut self.peers[slot];
        peer.node = None;
        peer.joined = false;
        // From now on nothing that was meant for this life arrives.
        peer.life += 1;
        peer.wake = None;
        peer.jobs.clear();
        peer.debts = Debts::default();
        peer.former = peer.disk.held();
        peer.disk.folder.forget_given();
        peer.open_files = OpenFiles::default();
        // What its user asked for will never be answered.
        peer.asked.clear();
    }

    /// Stops the peer's clock, as a suspended machine's: until `span` has passed nothing reaches it, then all at once.
    pub fn freeze(&mut self, slot: usize, span: Duration) {
        let peer = &mut self.peers[slot];
        peer.frozen_until = self.now + span;
        peer.held_up = peer.held_up.max(peer.frozen_until);
    }

    /// Makes each message from or to the peer, and each of its jobs, take `lag` longer.
    pub fn slow_down(&mut self, slot: usize, lag: Duration) {
        self.peers[slot].lag = lag;
    }

    /// Moves the peer to an island: it reaches only those of the same one. All begin on island 0.
    pub fn maroon(&mut self, slot: usize, island: u8) {
        self.peers[slot].island = island;
    }

    /// From now on every peer that is down refuses connections at once, rather than let them time out.
    pub fn refuse_at_once(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.refuses = true);
    }

    /// Ends all partitions: every peer is on island 0 again.
    pub fn heal(&mut self) {
        for peer in &mut self.peers {
            peer.island = 0;
        }
    }

    /// Places in the network, taken or not.
    pub fn slots(&self) -> usize {
        self.peers.len()
    }

    /// Whether the peer runs.
    pub fn is_up(&self, slot: usize) -> bool {
        self.peers[slot].node.is_some()
    }

    /// Whether the peer runs and has said that it joined the network: from then on it takes its user's commands.
    pub fn takes_commands(&self, slot: usize) -> bool {
        self.peers[slot].joined
    }

    /// Whether the peer's clock is stopped.
    pub fn is_frozen(&self, slot: usize) -> bool {
        self.peers[slot].frozen_until > self.now
    }

    /// The slots of all honest peers that run, in order.
    pub fn up(&self) -> Vec<usize> {
        (0..self.peers.len()).filter(|&slot| self.is_up(slot) && !self.is_hostile(slot)).collect()
    }

    /// The peer of a slot, whether it runs or not.
    pub fn peer(&self, slot: usize) -> Peer {
        self.peers[slot].me
    }

    /// The peer's disk.
    pub fn disk(&self, slot: usize) -> &Disk {
        &self.peers[slot].disk
    }

    /// The peer's disk, to put files on it or to harm it.
    pub fn disk_mut(&mut self, slot: usize) -> &mut Disk {
        &mut self.peers[slot].disk
    }

    /// The commands of this peer's user that have no answer yet.
    pub fn unanswered(&self, slot: usize) -> Vec<CommandId> {
        self.peers[slot].asked.keys().copied().collect()
    }

    /// What a peer's workers still have open, for people; none if nothing is.
    pub fn leftovers(&self, slot: usize) -> Option<String> {
        self.peers[slot].open_files.leftovers()
    }

    /// What the driver owes the peer's node, for people; none if nothing is overdue.
    pub(super) fn overdue(&self, slot: usize) -> Option<String> {
        self.peers[slot].debts.overdue(self.now, &self.peers[slot].jobs)
    }

    /// Puts the peer behind a firewall, or takes that away: datagrams reach it and its own connections go out, but none
    /// comes in.
    pub fn shut(&mut self, slot: usize, shut: bool) {
        self.peers[slot].shut = shut;
    }

    /// Whether connections pass from one peer to the other.
    pub(super) fn connects(&self, from: usize, to: usize) -> bool {
        self.reaches(from, to) && !self.peers[to].shut
    }

    /// Whether messages pass from one peer to the other.
    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        self.peers[from].island == self.peers[to].island
    }
}
