//! Peers that proved who they are but found no place in their bucket.
//!
//! A lookup makes sure that each peer is who it was said to be: by the id in its answer, or of an older peer by a ping.
//! A peer that passed need not be asked that again by the next lookup, and may be where it starts: one file is hundreds
//! of lookups among the same peers. And a peer that asks us is not weighed anew for a place with each request. The
//! table and its order of age know nothing of it (section 2.2).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::id::{Id, Key};
use crate::peer::Peer;
use crate::time::Time;

/// Acquaintances at most; the one met longest ago is forgotten for a new one.
const CAPACITY: usize = 128;

#[derive(Clone, Debug)]
struct Acquaintance {
    id: Id,
    /// When it named itself.
    met: Time,
    /// When it last answered.
    seen: Time,
}

#[derive(Default)]
pub(super) struct Acquaintances {
    known: BTreeMap<SocketAddr, Acquaintance>,
}

impl Acquaintances {
    /// A peer answered a request of ours at its address and named itself.
    pub(super) fn meet(&mut self, now: Time, peer: &Peer) {
        if self.known.len() >= CAPACITY && !self.known.contains_key(&peer.addr) {
            let first = self.known.iter().min_by_key(|(_, known)| known.met).map(|(addr, _)| *addr);
            first.inspect(|addr| self.forget(addr));
        }
        self.known.insert(peer.addr, Acquaintance { id: peer.id, met: now, seen: now });
    }

    /// Something answered at this address.
    pub(super) fn touch(&mut self, now: Time, addr: &SocketAddr) {
        if let Some(known) = self.known.get_mut(addr) {
            known.seen = now;
        }
    }

    /// It left a question without an answer, or has become a contact.
    pub(super) fn forget(&mut self, addr: &SocketAddr) {
        self.known.remove(addr);
    }

    /// Whether this peer named itself less than `limit` ago.
    pub(super) fn knows(&self, now: Time, peer: &Peer, limit: Duration) -> bool {
        self.known.get(&peer.addr).is_some_and(|known| known.id == peer.id && now.since(known.met) < limit)
    }

    /// How long an acquaintance has been silent.
    pub(super) fn silence(&self, now: Time, peer: &Peer) -> Option<Duration> {
        self.known.get(&peer.addr).filter(|known| known.id == peer.id).map(|known| now.since(known.seen))
    }

    /// The `count` nearest to `key` of those that named themselves less than `limit` ago.
    pub(super) fn nearest(&self, now: Time, key: &Key, count: usize, limit: Duration) -> Vec<Peer> {
        let current = self.known.iter().filter(|(_, known)| now.since(known.met) < limit);
        let mut peers: Vec<Peer> = current.map(|(addr, known)| Peer::new(known.id, *addr)).collect();
        peers.sort_by_cached_key(|peer| peer.id.distance(key));
        peers.truncate(count);
        peers
    }

    /// What must hold at any time.
    pub(super) fn check(&self) -> Result<(), String> {
        (self.known.len() <= CAPACITY).then_some(()).ok_or_else(|| "there are too many acquaintances".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn peer(n: u16) -> Peer {
        Peer::new(Id::from_u64(n.into()), SocketAddr::from(([10, 0, 0, 1], n)))
    }

    #[test]
    fn the_latest_are_known_for_a_while_under_the_id_they_named() {
        let mut acquaintances = Acquaintances::default();
        for n in 1..=200 {
            acquaintances.meet(Time::from_micros(u64::from(n) * 1_000_000), &peer(n));
            acquaintances.check().unwrap();
        }
        let now = Time::from_micros(200_000_000);
        assert!(!acquaintances.knows(now, &peer(60), LIMIT * 10), "forgotten for others");
        assert!(!acquaintances.knows(now, &peer(130), LIMIT), "met too long ago");
        assert!(acquaintances.knows(now, &peer(190), LIMIT));
        assert!(!acquaintances.knows(now, &Peer::new(Id::ZERO, peer(190).addr), LIMIT), "another id");
        assert_eq!(acquaintances.nearest(now, &Id::ZERO, 2, LIMIT), [peer(141), peer(142)]);
    }

    #[test]
    fn an_answer_ends_its_silence_and_a_missing_one_the_acquaintance() {
        let mut acquaintances = Acquaintances::default();
        acquaintances.meet(Time::ZERO, &peer(1));
        let now = Time::from_micros(5_000_000);
        assert_eq!(acquaintances.silence(now, &peer(1)), Some(Duration::from_secs(5)));
        acquaintances.touch(now, &peer(1).addr);
        assert_eq!(acquaintances.silence(now, &peer(1)), Some(Duration::ZERO));
        acquaintances.forget(&peer(1).addr);
        assert_eq!(acquaintances.silence(now, &peer(1)), None);
    }
}
