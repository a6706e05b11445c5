//! Networks that are grown already: every routing table as full as a long life would have made it.
//!
//! To let a hundred thousand peers join one by one takes hours of virtual time and shows nothing new. Here the contacts
//! that each peer's table would hold are drawn from the whole network, and the peer begins with them.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index;

use super::truth::Directory;
use super::world::World;
use crate::id::{ID_BITS, Id};
use crate::overlay::kademlia::{self, Kademlia};
use crate::overlay::ring::{self, Ring, RingOptions};
use crate::overlay::{Overlay, OverlayKind};
use crate::peer::Peer;
use crate::time::Time;

/// The sizes of the routing tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// The overlay.
    pub kind: OverlayKind,
    /// Contacts in a bucket (Kademlia's k).
    pub bucket: usize,
    /// Peers in a successor list (the ring's r).
    pub successors: usize,
    /// Predecessors that a peer of the ring knows.
    pub predecessors: usize,
}

impl Shape {
    /// Tables as live peers have them.
    pub const fn usual(kind: OverlayKind) -> Self {
        Self { kind, bucket: kademlia::K, successors: ring::SUCCESSORS, predecessors: ring::SUCCESSORS }
    }

    /// The overlay of the peer `me` in a grown network of exactly the peers in `directory`.
    pub fn grow(&self, me: Peer, seed: [u8; 32], directory: &Directory) -> Box<dyn Overlay> {
        match self.kind {
            OverlayKind::Kademlia => {
                let mut overlay = Kademlia::with_bucket_size(me, seed, false, self.bucket);
                overlay.fill(Time::ZERO, &self.contacts(me, seed, directory));
                Box::new(overlay)
            }
            OverlayKind::Ring => {
                let (successors, predecessors) = (self.successors, self.predecessors);
                let options = RingOptions { successors, predecessors, ..RingOptions::default() };
                let mut overlay = Ring::new(me, options);
                overlay.fill(Time::ZERO, &self.neighbours(me, directory));
                Box::new(overlay)
            }
        }
    }

    /// The contacts of all buckets: for each as many as it holds, drawn from all peers that belong in it.
    fn contacts(&self, me: Peer, seed: [u8; 32], directory: &Directory) -> Vec<Peer> {
        let mut rng = StdRng::from_seed(seed);
        let mut contacts = Vec::new();
        for shared in 0..ID_BITS {
            let all = directory.subtree(&me.id.flip_bit(shared), shared + 1);
            let drawn = index::sample(&mut rng, all.len(), all.len().min(self.bucket));
            contacts.extend(drawn.into_iter().map(|at| all[at]));
            if directory.subtree(&me.id, shared + 1).len() <= 1 {
                break;
            }
        }
        contacts
    }

    /// All peers that the peer's table names: successors, predecessors, and each finger's owner.
    fn neighbours(&self, me: Peer, directory: &Directory) -> Vec<Peer> {
        let peers = directory.peers();
        let at = peers.partition_point(|peer| peer.id < me.id);
        let near = self.successors.max(self.predecessors).min(peers.len().saturating_sub(1));
        let mut named: Vec<Peer> = (1..=near)
            .flat_map(|step| [(at + step) % peers.len(), (at + peers.len() - step) % peers.len()])
            .map(|at| peers[at])
            .collect();
        for exponent in 0..ID_BITS {
            let start = me.id.plus_power_of_two(exponent, ID_BITS);
            let owner = peers.partition_point(|peer| peer.id < start) % peers.len();
            named.push(peers[owner]);
        }
        named
    }
}

/// Fills an empty world with a grown network of `count` peers, whose ids follow from the world's seed.
///
/// `progress` is called with the number of peers grown so far.
pub fn populate(world: &mut World, shape: &Shape, count: usize, mut progress: impl FnMut(usize)) -> Directory {
    for _ in 0..count {
        let id = Id::random(world.rng());
        world.add(id);
    }
    let directory = Directory::new((0..count).map(|slot| world.peer(slot)).collect());
    for slot in 0..count {
        let overlay = shape.grow(world.peer(slot), world.seed_of(slot, 0), &directory);
        world.adopt(slot, overlay);
        progress(slot + 1);
    }
    directory
}
