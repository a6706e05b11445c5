//! Peers that are out of reach: silent bootstrap addresses, and contacts that died.
//!
//! A network that was cut in two must grow together again, and a peer whose bootstrap peer starts late must find it. So
//! those who were lost are tried again, ever more rarely: sixteen at a time while no other peer is known, else one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::overlay::MISSED;
use crate::peer::Peer;
use crate::time::Time;

/// Lost contacts that are remembered; the oldest is forgotten.
const LOST_KEPT: usize = 64;

/// Bootstrap addresses that are kept.
const MAX_ANCHORS: usize = 64;

/// Addresses tried at once while no peer is known.
const RETRIED_AT_ONCE: usize = 16;

/// The first retry comes after this long; each further one takes twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest pause between two retries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The least share of such a pause that is waited for: those who lost one another at the same time are not to try all
/// at the same time, and then none for as long.
pub(super) const LEAST_SHARE: f64 = 0.5;

/// Because a peer was lost, the pauses begin anew this often at most: where many come and go, some peer is lost all
/// the time.
const HURRIES_EVERY: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct LostContacts {
    /// Addresses that the user gave, or that names which the user gave lead to; not this peer's own.
    anchors: Vec<SocketAddr>,
    /// Which of them belong to one host.
    pub(super) hosts: Vec<Vec<SocketAddr>>,
    /// Those of them that did not answer when they were tried last.
    silent: BTreeSet<SocketAddr>,
    /// Contacts that went silent or said goodbye, the latest last.
    peers: VecDeque<Peer>,
    /// When those of them were lost that went silent without a goodbye.
    silent_since: BTreeMap<SocketAddr, Time>,
    due: Option<Time>,
    wait: Duration,
    /// When the pauses began anew last because a peer was lost.
    hurried: Option<Time>,
    /// Where the round through all addresses stands.
    turn: usize,
}

impl LostContacts {
    pub(super) fn anchor(&mut self, addr: SocketAddr) {
        if self.anchors.len() < MAX_ANCHORS && !self.anchors.contains(&addr) {
            self.anchors.push(addr);
        }
    }

    /// The user's names lead there by now. Whether that is new; then the address that was given up last makes room.
    pub(super) fn anchor_anew(&mut self, addr: SocketAddr) -> bool {
        if self.anchors.contains(&addr) {
            return false;
        }
        self.anchors.insert(0, addr);
        self.anchors.truncate(MAX_ANCHORS);
        true
    }

    /// No peer answers at this address.
    pub(super) fn missed(&mut self, addr: &SocketAddr) {
        if self.anchors.contains(addr) {
            self.silent.insert(*addr);
        }
    }

    /// A peer answers at this address.
    pub(super) fn reached(&mut self, addr: &SocketAddr) {
        self.silent.remove(addr);
    }

    /// Whether the host at `addr` answers at another address, as far as we know.
    fn is_reached_elsewhere(&self, addr: &SocketAddr) -> bool {
        let answers = |other: &SocketAddr| self.anchors.contains(other) && !self.silent.contains(other);
        let hosts = self.hosts.iter().filter(|host| host.contains(addr));
        hosts.flatten().any(|other| other != addr && answers(other))
    }

    /// This address is our own.
    pub(super) fn forget(&mut self, addr: &SocketAddr) {
        self.silent.remove(addr);
        self.anchors.retain(|anchor| anchor != addr);
        self.peers.retain(|peer| peer.addr != *addr);
    }

    /// A contact of the last run, who has yet to be found.
    pub(super) fn expect(&mut self, now: Time, peer: Peer) {
        if self.peers.len() < LOST_KEPT && !self.peers.iter().any(|other| other.addr == peer.addr) {
            self.peers.push_back(peer);
            self.silent_since.insert(peer.addr, now);
        }
    }

    /// The peer that was lost there said goodbye.
    pub(super) fn excuse(&mut self, addr: &SocketAddr) {
        self.silent_since.remove(addr);
    }

    /// Those who went silent a moment ago, or were to be there and are not.
    pub(super) fn vanished(&self, now: Time) -> impl Iterator<Item = &Peer> {
        let recent = move |peer: &&Peer| self.silent_since.get(&peer.addr).is_some_and(|at| now.since(*at) < MISSED);
        self.peers.iter().filter(recent)
    }

    /// The peer that was lost at this address.
    pub(super) fn at(&self, addr: &SocketAddr) -> Option<Peer> {
        self.peers.iter().find(|peer| peer.addr == *addr).copied()
    }

    /// A contact is gone.
    pub(super) fn remember(&mut self, now: Time, peer: Peer) {
        self.peers.retain(|other| other.addr != peer.addr);
        if self.peers.len() == LOST_KEPT {
            self.peers.pop_front();
        }
        self.peers.push_back(peer);
        let peers = &self.peers;
        self.silent_since.retain(|addr, _| peers.iter().any(|peer| peer.addr == *addr));
        self.silent_since.insert(peer.addr, now);
        if self.due.is_none() || self.hurried.is_none_or(|since| now.since(since) >= HURRIES_EVERY) {
            self.hurried = Some(now);
            self.try_soon(now);
        }
    }

    /// A peer is there. Whether it had been lost, or sought in vain.
    pub(super) fn found(&mut self, peer: &Peer) -> bool {
        let before = self.peers.len();
        self.peers.retain(|lost| lost.id != peer.id && lost.addr != peer.addr);
        let sought = self.silent.remove(&peer.addr);
        sought || self.peers.len() < before
    }

    /// Things have changed: the pauses begin anew with the shortest.
    pub(super) fn try_soon(&mut self, now: Time) {
        self.wait = FIRST_WAIT;
        self.due = Some(now + FIRST_WAIT);
    }

    pub(super) fn next_tick(&self) -> Option<Time> {
        self.due
    }

    /// The addresses to try now; `knows` says which addresses belong to contacts. The next pause takes the `share` of
    /// its full length.
    pub(super) fn due(
        &mut self,
        now: Time,
        alone: bool,
        share: impl FnOnce() -> f64,
        knows: impl Fn(&SocketAddr) -> bool,
    ) -> Vec<SocketAddr> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let peers = self.peers.iter().rev().map(|peer| peer.addr);
        let anchors = self.anchors.iter().copied().filter(|addr| !self.is_reached_elsewhere(addr));
        let all: Vec<SocketAddr> = anchors.chain(peers).filter(|addr| !knows(addr)).collect();
        if all.is_empty() {
            self.due = None;
            return all;
        }
        let round = if alone { RETRIED_AT_ONCE.min(all.len()) } else { 1 };
        let tried = (0..round).map(|step| all[(self.turn + step) % all.len()]).collect();
        self.turn = (self.turn + round) % all.len();
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.due = Some(now + self.wait.mul_f64(share()));
        tried
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    fn peer(n: u16) -> Peer {
        Peer::new(Id::from_u64(n.into()), SocketAddr::from(([10, 0, 0, 1], n)))
    }

    #[test]
    fn the_lost_are_tried_in_turn_ever_more_rarely_and_never_given_up() {
        let mut lost = LostContacts::default();
        lost.anchor(peer(1).addr);
        lost.remember(Time::ZERO, peer(2));
        lost.remember(Time::ZERO, peer(3));
        let (mut tried, mut waits, mut last) = (Vec::new(), Vec::new(), Time::ZERO);
        for _ in 0..9 {
            let now = lost.next_tick().expect("somebody is lost");
            waits.push((now - last).as_secs());
            last = now;
            tried.extend(lost.due(now, false, || 1.0, |_| false).iter().map(SocketAddr::port));
        }
        assert_eq!(tried, [1, 3, 2, 1, 3, 2, 1, 3, 2]);
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
        assert!(lost.found(&peer(2)) && !lost.found(&peer(2)));
    }

    #[test]
    fn a_bootstrap_peer_that_was_silent_is_found_once() {
        let mut lost = LostContacts::default();
        lost.anchor(peer(1).addr);
        assert!(!lost.found(&peer(1)), "it answered at the first try");
        lost.missed(&peer(1).addr);
        lost.missed(&peer(2).addr);
        assert!(lost.found(&peer(1)) && !lost.found(&peer(1)) && !lost.found(&peer(2)));
    }

    #[test]
    fn of_a_host_that_answers_no_other_address_is_sought_until_it_is_lost() {
        let [dead, living, other] = [1, 2, 3].map(|n| peer(n).addr);
        let mut lost = LostContacts { hosts: vec![vec![dead, living]], ..LostContacts::default() };
        [dead, living, other].into_iter().for_each(|addr| lost.anchor(addr));
        lost.reached(&living);
        lost.missed(&dead);
        lost.missed(&other);
        lost.try_soon(Time::ZERO);
        let round = |lost: &mut LostContacts, known: &[SocketAddr]| {
            lost.try_soon(Time::ZERO);
            let now = lost.next_tick().expect("somebody is sought");
            let mut tried = lost.due(now, true, || 1.0, |addr| known.contains(addr));
            tried.sort();
            tried
        };
        assert_eq!(round(&mut lost, &[living]), [other], "the host is reached, the other one may start late");
        assert_eq!(round(&mut lost, &[]), [living, other], "a full table may have no place for it");
        lost.missed(&living);
        assert_eq!(round(&mut lost, &[]), [dead, living, other], "now any address will do");
    }

    #[test]
    fn a_peer_alone_tries_everybody() {
        let mut lost = LostContacts::default();
        for n in 1..=5 {
            lost.anchor(peer(n).addr);
        }
        lost.try_soon(Time::ZERO);
        let now = lost.next_tick().unwrap();
        assert_eq!(lost.due(now, true, || 1.0, |_| false).len(), 5);
        assert_eq!(lost.due(lost.next_tick().unwrap(), true, || 1.0, |_| true), []);
        assert_eq!(lost.next_tick(), None);
    }
}
