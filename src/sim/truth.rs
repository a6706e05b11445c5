//! Ground truth: which peers of the whole network are nearest to a key, and which belong in a routing table.

use std::collections::BTreeMap;

use super::world::World;
use crate::id::{Id, Key};
use crate::peer::Peer;

/// What the overlay of a network means by near.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Geometry {
    /// Nearest is the least XOR distance (Kademlia, section 2.1).
    Xor,
    /// Nearest is the next clockwise, then its successors (Chord, section 4.2).
    Circle,
}

impl Geometry {
    /// The `count` of `peers` nearest to `key`, nearest first.
    pub fn nearest(self, key: &Key, peers: impl IntoIterator<Item = Peer>, count: usize) -> Vec<Peer> {
        let mut peers: Vec<Peer> = peers.into_iter().collect();
        match self {
            Self::Xor => peers.sort_by_key(|peer| peer.id.distance(key)),
            Self::Circle => peers.sort_by_key(|peer| (peer.id < *key, peer.id)),
        }
        peers.truncate(count);
        peers
    }
}

/// A sorted directory of peers, which finds the nearest to a key without looking at all of them.
pub struct Directory {
    peers: Vec<Peer>,
}

impl Directory {
    /// A directory of `peers`.
    pub fn new(mut peers: Vec<Peer>) -> Self {
        peers.sort_by_key(|peer| peer.id);
        Self { peers }
    }

    /// Adds a peer.
    pub fn insert(&mut self, peer: Peer) {
        let at = self.peers.partition_point(|other| other.id < peer.id);
        self.peers.insert(at, peer);
    }

    /// Removes a peer.
    pub fn remove(&mut self, peer: &Peer) {
        self.peers.retain(|other| other != peer);
    }

    /// All of them, in the order of their ids.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The peers whose ids share the first `bits` bits with `id`.
    pub fn subtree(&self, id: &Id, bits: usize) -> &[Peer] {
        let low = with_tail(id, bits, false);
        let high = with_tail(id, bits, true);
        let start = self.peers.partition_point(|peer| peer.id < low);
        let end = self.peers.partition_point(|peer| peer.id <= high);
        &self.peers[start..end]
    }

    /// The `count` peers nearest to `key`, nearest first.
    pub fn nearest(&self, geometry: Geometry, key: &Key, count: usize) -> Vec<Peer> {
        match geometry {
            Geometry::Xor => {
                // The nearest share the longest prefix with the key: the smallest subtree that holds enough of them.
                let (mut low, mut high) = (0, crate::id::ID_BITS);
                while low < high {
                    let middle = (low + high).div_ceil(2);
                    if self.subtree(key, middle).len() >= count { low = middle } else { high = middle - 1 }
                }
                geometry.nearest(key, self.subtree(key, low).iter().copied(), count)
            }
            Geometry::Circle => {
                let start = self.peers.partition_point(|peer| peer.id < *key);
                let count = count.min(self.peers.len());
                self.peers.iter().cycle().skip(start).take(count).copied().collect()
            }
        }
    }
}

/// `id` with all bits after the first `bits` set to `bit`.
fn with_tail(id: &Id, bits: usize, bit: bool) -> Id {
    let mut bytes = *id.as_bytes();
    for (at, byte) in bytes.iter_mut().enumerate() {
        let kept = bits.saturating_sub(at * 8).min(8);
        let mask = if kept == 8 { 0 } else { 0xff_u8 >> kept };
        *byte = if bit { *byte | mask } else { *byte & !mask };
    }
    Id::from_bytes(bytes)
}

impl World {
    /// Every block on the disk of a peer that runs, sound or not, with the slots that hold it soundly.
    pub fn holders(&self) -> BTreeMap<Key, Vec<usize>> {
        let mut holders: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        for slot in self.up() {
            let disk = self.disk(slot);
            for (key, _) in disk.held() {
                holders.entry(key).or_default().extend(disk.has_sound(&key).then_some(slot));
            }
        }
        holders
    }

    /// All peers that run.
    pub fn living(&self) -> Vec<Peer> {
        self.up().into_iter().map(|slot| self.peer(slot)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::network::address;

    #[test]
    fn the_directory_agrees_with_looking_at_everybody() {
        let peers: Vec<Peer> = (0..200).map(|n: usize| Peer::new(Id::of(&n.to_be_bytes()), address(n))).collect();
        let directory = Directory::new(peers.clone());
        for n in 0..50_u64 {
            let key = Id::of(&n.to_le_bytes());
            for geometry in [Geometry::Xor, Geometry::Circle] {
                for count in [1, 7, 300] {
                    let all = geometry.nearest(&key, peers.iter().copied(), count);
                    assert_eq!(directory.nearest(geometry, &key, count), all, "{geometry:?} {count}");
                }
            }
        }
    }

    #[test]
    fn on_the_circle_the_key_s_own_peer_comes_first_and_the_walk_wraps() {
        let peer = |id| Peer::new(Id::from_u64(id), address(id as usize));
        let ring = [2, 4, 5, 8, 9, 14, 19].map(peer);
        let ids = |key| Geometry::Circle.nearest(&Id::from_u64(key), ring, 3).map_ids();
        assert_eq!(ids(19), [19, 2, 4]);
        assert_eq!(ids(20), [2, 4, 5]);
        assert_eq!(ids(7), [8, 9, 14]);
    }

    trait MapIds {
        fn map_ids(self) -> Vec<u64>;
    }
    impl MapIds for Vec<Peer> {
        fn map_ids(self) -> Vec<u64> {
            self.iter().filter_map(|peer| peer.id.to_u64()).collect()
        }
    }
}
