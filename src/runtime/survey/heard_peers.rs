//! The peers that a survey heard of, those that answered, and those that are yet to be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Surveyed;
use crate::peer::Peer;

/// Peers that are asked at most.
const MAX_PEERS: usize = 4096;

/// All peers that a survey heard of.
#[derive(Default)]
pub(super) struct HeardPeers {
    /// Those to ask next.
    pub(super) next: Vec<SocketAddr>,
    met: BTreeSet<SocketAddr>,
    answered: BTreeMap<SocketAddr, Surveyed>,
    named: BTreeMap<SocketAddr, Peer>,
}

impl HeardPeers {
    /// A peer may live at this address: it is to be asked, once.
    pub(super) fn meet(&mut self, addr: SocketAddr) {
        if self.met.len() < MAX_PEERS && self.met.insert(addr) {
            self.next.push(addr);
        }
    }

    /// A peer answered, and names others.
    pub(super) fn hear(&mut self, mut surveyed: Surveyed) {
        let me = surveyed.peer;
        for peer in surveyed.knows.iter().filter(|peer| peer.addr != me.addr) {
            // Names beyond all measure are a liar's.
            if self.named.len() < MAX_PEERS || self.named.contains_key(&peer.addr) {
                self.named.insert(peer.addr, *peer);
            }
            self.meet(peer.addr);
        }
        surveyed.knows.retain(|peer| peer.id != me.id);
        surveyed.knows.sort_unstable();
        surveyed.knows.dedup();
        self.answered.insert(me.addr, surveyed);
    }

    /// All of them in the order of ids, those too that were named and did not answer.
    pub(super) fn into_surveyed(self) -> Vec<Surveyed> {
        let Self { mut answered, named, .. } = self;
        for (addr, peer) in named {
            answered.entry(addr).or_insert_with(|| Surveyed::new(peer, false));
        }
        let mut mentions: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for peer in answered.values().flat_map(|of| &of.knows) {
            *mentions.entry(peer.addr).or_default() += 1;
        }
        let mut all: Vec<Surveyed> = answered.into_values().collect();
        for surveyed in &mut all {
            surveyed.named_by = mentions.get(&surveyed.peer.addr).copied().unwrap_or(0);
        }
        // What answers at several addresses is one peer, and stands where most know it.
        all.sort_unstable_by_key(|of| (of.peer.id, !of.answered, std::cmp::Reverse(of.named_by), of.peer));
        all.dedup_by(|next, of| next.answered && of.answered && next.peer.id == of.peer.id);
        all.sort_unstable_by_key(|surveyed| surveyed.peer);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    fn peer(number: u16) -> Peer {
        Peer::new(Id::from_u64(number.into()), SocketAddr::from(([127, 0, 0, 1], number)))
    }

    #[test]
    fn everybody_is_asked_once_and_the_silent_are_told_of() {
        let mut crowd = HeardPeers::default();
        crowd.meet(peer(9).addr);
        assert_eq!(crowd.next.pop(), Some(peer(9).addr));
        let surveyed = Surveyed { knows: vec![peer(3), peer(5), peer(3)], ..Surveyed::new(peer(9), true) };
        crowd.hear(surveyed);
        crowd.hear(Surveyed { knows: vec![peer(3), peer(9)], ..Surveyed::new(peer(5), true) });
        assert_eq!(std::mem::take(&mut crowd.next), [peer(3).addr, peer(5).addr]);
        let told: Vec<_> = crowd.into_surveyed().iter().map(|of| (of.peer, of.answered, of.named_by)).collect();
        assert_eq!(told, [(peer(3), false, 2), (peer(5), true, 1), (peer(9), true, 1)]);
    }

    #[test]
    fn a_liar_s_names_are_bounded() {
        let mut crowd = HeardPeers::default();
        crowd.hear(Surveyed { knows: (2..60_000).map(peer).collect(), ..Surveyed::new(peer(1), true) });
        assert_eq!((crowd.next.len(), crowd.named.len()), (MAX_PEERS, MAX_PEERS));
    }
}
