//! The peers of a world: how they come, go, fall silent and come back.

use std::net::SocketAddr;
use std::time::Duration;

use super::disk::{Disk, OpenFiles};
use super::network;
use super::sim_peer::SimPeer;
use super::world::World;
use crate::classroom;
use crate::id::Id;
use crate::node::{CommandId, Event, Node};
use crate::overlay::Overlay;
use crate::peer::Peer;

impl World {
    /// A new place in the network for the peer `id`, which does not run yet. Returns its slot.
    pub fn add(&mut self, id: Id) -> usize {
        let slot = self.peers.len();
        self.peers.push(SimPeer::new(Peer::new(id, network::address(slot)), self.now, slot.is_multiple_of(2)));
        slot
    }

    /// Starts the peer in `slot`, which joins through those in `bootstrap`. It finds on its disk what it left there.
    pub fn start(&mut self, slot: usize, bootstrap: &[usize]) {
        let seed = self.seed_of(slot, self.peers[slot].life + 1);
        let overlay = (self.rules.overlay)(self.peers[slot].me, &self.rules.config, seed);
        self.enliven(slot, overlay, seed);
        let disk = &self.peers[slot].disk;
        let bootstrap: Vec<SocketAddr> =
            bootstrap.iter().filter(|&&other| other != slot).map(|&other| network::address(other)).collect();
        let start = Event::Start { bootstrap, hosts: Vec::new(), remembered: disk.peers.clone(), held: disk.held() };
        self.tell(slot, start);
    }

    /// Has a node run in `slot` that is a member already, as whoever made its overlay knows.
    pub fn adopt(&mut self, slot: usize, overlay: Box<dyn Overlay>) {
        let seed = self.seed_of(slot, self.peers[slot].life + 1);
        self.enliven(slot, overlay, seed);
        self.plan_wake(slot);
    }

    fn enliven(&mut self, slot: usize, overlay: Box<dyn Overlay>, seed: [u8; 32]) {
        debug_assert!(self.peers[slot].node.is_none(), "peer {slot} runs already");
        let node = classroom::join(Node::new(self.rules.config.clone(), overlay, seed));
        let peer = &mut self.peers[slot];
        peer.life += 1;
        peer.born = self.now;
        peer.node = Some(node);
    }

    /// Ends the peer's life without a word. What it had on disk stays.
    pub fn crash(&mut self, slot: usize) {
        self.stop(slot);
        // What its user asked for will never be answered.
        self.peers[slot].asked.clear();
    }

    /// Takes the disk of a peer that is down.
    pub fn wipe(&mut self, slot: usize) {
        self.peers[slot].disk = Disk::default();
    }

    /// Lets a peer that is down come back as somebody else.
    pub fn rename(&mut self, slot: usize) {
        let life = self.peers[slot].life;
        self.peers[slot].me.id = Id::of(format!("{} {slot} {life} anew", self.rules.seed).as_bytes());
    }

    /// Which of its lives the peer lives: another number after each start and each end.
    pub fn life(&self, slot: usize) -> u32 {
        self.peers[slot].life
    }

    /// The peer's life is over, and all that it had in memory.
    pub(super) fn stop(&mut self, slot: usize) {
        let peer = &mut self.peers[slot];
        peer.node = None;
        // From now on nothing that was meant for this life arrives.
        peer.life += 1;
        peer.wake = None;
        peer.jobs.clear();
        peer.open_files = OpenFiles::default();
    }

    /// Stops the peer's clock, as a suspended machine's: until `span` has passed nothing reaches it, then all at once.
    pub fn freeze(&mut self, slot: usize, span: Duration) {
        self.peers[slot].frozen_until = self.now + span;
    }

    /// Makes whatever reaches the peer, and all that its workers do, take `lag` longer.
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

    /// Joins all islands again.
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

    /// Whether the peer's clock is stopped.
    pub fn is_frozen(&self, slot: usize) -> bool {
        self.peers[slot].frozen_until > self.now
    }

    /// The slots of all peers that run, in order.
    pub fn up(&self) -> Vec<usize> {
        (0..self.peers.len()).filter(|&slot| self.is_up(slot)).collect()
    }

    /// Who lives (or lived, or will live) in a slot.
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

    /// What the user of this peer asked and has no answer to yet.
    pub fn unanswered(&self, slot: usize) -> Vec<CommandId> {
        self.peers[slot].asked.iter().copied().collect()
    }

    /// Says what a peer's workers still have open, if anything.
    pub fn leftovers(&self, slot: usize) -> Option<String> {
        self.peers[slot].open_files.leftovers()
    }

    /// Whether messages pass from one peer to the other.
    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        self.peers[from].island == self.peers[to].island
    }
}
