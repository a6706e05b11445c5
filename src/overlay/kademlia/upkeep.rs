//! What keeps the table good while no user asks for anything: join, refresh, pulse, and finding the lost again.
//!
//! To join is to look up one's own id, and then to ask one contact for an id in each bucket up to that of the seventh
//! nearest neighbour: the lookup has met those who stand nearer. In a small network, and when a lost peer comes back,
//! for it may have been cut until then, the *walk* looks up an id in each bucket up to that of the nearest (section
//! 2.3). A guest has no neighbours: it has joined when any peer answered.

use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;

use super::bucket::Contact;
use super::contacts::{Bid, is_reachable};
use super::lookup::Name;
use super::lost::LEAST_SHARE;
use super::{ALPHA, Kademlia, QuestionPurpose};
use crate::config::WIDTH;
use crate::id::{ID_BITS, Id, Key};
use crate::overlay::{Effect, Entrances, Goal, Target};
use crate::patience;
use crate::peer::Peer;
use crate::source::AddressScope;
use crate::time::Time;
use crate::wire::{Request, Response};

/// Those that this peer looks after are pinged this often, so that with the tries that follow, and with the pings of
/// those that are told, a death is known within 10 s.
pub(super) const WARD_PING_EVERY: Duration = Duration::from_millis(5500);

/// One contact is asked who is near to us this often: in turn a neighbour, and the one that was silent for longest.
const ROUND_INTERVAL: Duration = Duration::from_secs(15);

/// The same once the neighbourhood has changed: so that where it changes all the time, what one asks costs no more than
/// twice as much.
const CHANGED: Duration = Duration::from_secs(8);

/// A bucket without lookups for this long is refreshed (section 2.3).
const REFRESH: Duration = Duration::from_secs(3600);

/// Buckets that a walk refreshes at most, the furthest first: enough for four billion peers.
const MAX_REFRESHED: usize = 32;

/// A network with so few buckets is looked through by each newcomer: there every peer counts, and it costs little.
const SMALL: usize = 6;

/// Peers remembered from the last run that are pinged when a peer joins; the others become candidates.
const MAX_REMEMBERED: usize = 32;

/// When a join has found the peers that it can, candidates have this long to answer before it is announced.
const JOIN_SETTLES_IN: Duration = Duration::from_secs(1);

/// Where the upkeep stands.
#[derive(Default)]
pub(super) struct TableUpkeep {
    /// The join is to be announced.
    joining: bool,
    /// Pings to bootstrap addresses and lost peers that are out.
    probes: usize,
    /// When the join is announced though candidates are still being asked.
    announce_by: Option<Time>,
    /// A walk shall begin.
    wants_walk: bool,
    /// It takes a lookup for each bucket. Else one contact is asked.
    thorough: bool,
    /// Buckets to be refreshed.
    walk: Vec<usize>,
    /// Lookups and questions of our own under way.
    running: usize,
    next_own: u64,
    pulse: Option<Time>,
    round: Option<Time>,
    /// It is the turn of the contact that was silent for longest.
    far: bool,
    refresh: Option<Time>,
}

impl TableUpkeep {
    pub(super) fn next_tick(&self) -> Option<Time> {
        // A walk that began meanwhile puts the announcement off until it ends.
        let announcement = self.announce_by.filter(|_| self.joining && !self.is_walking());
        [self.pulse, self.round, self.refresh, announcement].into_iter().flatten().min()
    }

    /// A contact was asked for those in a bucket, and answered or did not.
    pub(super) fn on_refreshed(&mut self) {
        self.running -= 1;
    }

    fn is_walking(&self) -> bool {
        self.wants_walk || self.running > 0 || !self.walk.is_empty()
    }
}

impl Kademlia {
    pub(super) fn start_join(&mut self, now: Time, known: &[SocketAddr], remembered: &[Peer], out: &mut Vec<Effect>) {
        self.upkeep.joining = true;
        let mut probed: Vec<SocketAddr> = Vec::new();
        for &addr in known.iter().filter(|addr| is_reachable(addr)) {
            if addr != self.me.addr && !probed.contains(&addr) {
                self.lost.anchor(addr);
                probed.push(addr);
            }
        }
        let me = self.me.id;
        for &peer in remembered.iter().filter(|peer| peer.id != me && is_reachable(&peer.addr)) {
            if probed.len() < known.len() + MAX_REMEMBERED && peer.addr != self.me.addr {
                self.lost.expect(now, peer);
                if !probed.contains(&peer.addr) {
                    probed.push(peer.addr);
                }
            } else {
                self.hear_of(now, peer, Bid::Nothing, out);
            }
        }
        for addr in probed {
            self.probe(addr, patience::QUESTION, out);
        }
        self.go_on(now, out);
    }

    /// Others reach this peer at another address from now on. A peer that is alone may have a way to them now.
    pub(super) fn on_moved(&mut self, now: Time, addr: SocketAddr) {
        self.me.addr = addr;
        if self.table.len() == 0 && self.lost.next_tick().is_some() {
            self.lost.try_soon(now);
        }
    }

    /// The names of bootstrap peers lead to these addresses by now: those that are new are pinged at once.
    pub(super) fn on_ways(&mut self, ways: &Entrances<'_>, out: &mut Vec<Effect>) {
        let me = self.me.addr;
        for &addr in ways.known.iter().filter(|addr| is_reachable(addr) && **addr != me) {
            if self.lost.anchor_anew(addr) {
                self.probe(addr, patience::QUESTION, out);
            }
        }
        self.lost.hosts = ways.hosts.to_vec();
    }

    fn probe(&mut self, addr: SocketAddr, tries: u8, out: &mut Vec<Effect>) {
        self.upkeep.probes += 1;
        self.ask(Target { id: None, addr }, Request::Ping, tries, QuestionPurpose::Probe { addr }, out);
    }

    /// The ping to a bootstrap address or a lost peer is over; `named` is who answered.
    pub(super) fn on_probed(&mut self, now: Time, addr: SocketAddr, named: Option<Peer>, out: &mut Vec<Effect>) {
        self.upkeep.probes -= 1;
        match named {
            Some(named) if named.id == self.me.id => self.lost.forget(&addr),
            Some(named) => {
                self.confirm(now, named, Bid::Contest, out);
                self.lost.reached(&addr);
            }
            None => {
                self.lost.missed(&addr);
                if self.lost.next_tick().is_none() {
                    self.lost.try_soon(now);
                }
            }
        }
    }

    /// A peer became a contact.
    pub(super) fn on_peer_up(&mut self, now: Time, peer: &Peer, was_lost: bool) {
        if !self.guest && (self.table.len() == 1 || was_lost) {
            self.upkeep.wants_walk = true;
            self.upkeep.thorough = was_lost;
        }
        if was_lost {
            self.lost.try_soon(now);
        }
        self.start_upkeep(now);
        self.note_change(now, peer);
    }

    pub(super) fn start_upkeep(&mut self, now: Time) {
        if !self.guest && self.table.len() > 0 {
            let mut soon = |interval: Duration| now + interval.mul_f64(self.rng.random_range(0.0..1.0));
            self.upkeep.pulse.get_or_insert_with(|| soon(WARD_PING_EVERY));
            self.upkeep.round.get_or_insert_with(|| soon(ROUND_INTERVAL));
            self.upkeep.refresh.get_or_insert(now + REFRESH);
        }
    }

    /// Does what the clock demands.
    pub(super) fn keep_up(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.upkeep.pulse.is_some_and(|due| due <= now) {
            self.look_after_wards(now, out);
            self.tell_the_rest(out);
            self.upkeep.pulse = (self.table.len() > 0).then(|| now + WARD_PING_EVERY);
        }
        if self.upkeep.round.is_some_and(|due| due <= now) {
            self.ask_around(out);
            self.upkeep.round = (self.table.len() > 0).then(|| now + ROUND_INTERVAL);
        }
        if self.upkeep.refresh.is_some_and(|due| due <= now) {
            self.refresh_stale(now);
        }
        let (table, is_alone) = (&self.table, self.table.len() == 0);
        let share = || self.rng.random_range(LEAST_SHARE..=1.0);
        let lost = self.lost.due(now, is_alone, share, |addr| table.at(addr).is_some());
        for addr in lost {
            self.probe(addr, if is_alone { patience::QUESTION } else { patience::ONCE }, out);
        }
    }

    /// Asks one contact who is near to us.
    fn ask_around(&mut self, out: &mut Vec<Effect>) {
        self.upkeep.far = !self.upkeep.far;
        let asked = if self.upkeep.far {
            self.table.contacts().min_by_key(|contact| contact.last_seen()).map(Contact::peer)
        } else {
            let neighbours = self.table.nearest(&self.me.id, WIDTH, |_| true);
            let nth = self.rng.random_range(0..neighbours.len().max(1));
            neighbours.get(nth).copied()
        };
        if let Some(peer) = asked {
            let request = Request::FindNode { id: self.me.id };
            self.ask(peer.into(), request, patience::ONCE, QuestionPurpose::Neighbours { peer }, out);
        }
    }

    /// A contact came or went. If it was a neighbour, another one is asked soon who is near to us now.
    pub(super) fn note_change(&mut self, now: Time, peer: &Peer) {
        if self.is_among(WIDTH, &self.me, &peer.id) {
            self.upkeep.round = self.upkeep.round.map(|due| due.min(now + CHANGED));
        }
    }

    /// A contact named peers; those not known yet become candidates, where there is room.
    pub(super) fn on_names(&mut self, now: Time, namer: &Peer, response: &Response, out: &mut Vec<Effect>) {
        if let Response::Nodes(peers) = response {
            let suspect = self.twins.suspect(now, &self.me, peers);
            self.ask_twin(suspect, out);
            for &peer in peers.iter().take(WIDTH).filter(|peer| AddressScope::may_name(&namer.addr, &peer.addr)) {
                self.hear_of(now, peer, Bid::Nothing, out);
            }
        }
    }

    /// Puts every bucket that no lookup fell into for too long on the list of the walk.
    fn refresh_stale(&mut self, now: Time) {
        let buckets = self.table.buckets().iter();
        let stale = buckets.filter(|bucket| bucket.refreshed + REFRESH <= now).map(|bucket| bucket.index);
        for index in stale.collect::<Vec<_>>() {
            if let Some(bucket) = self.table.bucket_mut(index) {
                bucket.refreshed = now;
            }
            if !self.upkeep.walk.contains(&index) {
                self.upkeep.walk.push(index);
            }
        }
        self.upkeep.refresh = self.table.next_stale(REFRESH);
    }

    /// One of our own lookups is over.
    pub(super) fn on_own_found(&mut self, key: &Key) {
        self.upkeep.running -= 1;
        if *key == self.me.id && !self.guest {
            let nearest = self.table.nearest(key, WIDTH, |_| true);
            let index = |peer: Option<&Peer>| peer.map_or(0, |peer| self.table.index_of(&peer.id));
            let depth = index(nearest.first());
            self.upkeep.thorough |= depth <= SMALL;
            // That lookup has met those who stand nearer than the last of the nearest.
            let unseen = if self.upkeep.thorough { depth } else { index(nearest.last()) + 1 };
            self.upkeep.walk = (0..unseen.min(depth).min(MAX_REFRESHED)).rev().collect();
        }
    }

    /// Starts what waits: pings to candidates, steps of a walk, the announcement of a join.
    pub(super) fn go_on(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.ping_candidates(now, out);
        while self.upkeep.is_walking() && self.upkeep.running < ALPHA {
            let key = if let Some(index) = self.upkeep.walk.pop() {
                let key = self.random_id_in(index);
                if !self.upkeep.thorough {
                    self.refresh(now, key, out);
                    continue;
                }
                key
            } else if self.upkeep.wants_walk && self.upkeep.running == 0 {
                self.upkeep.wants_walk = false;
                self.me.id
            } else {
                break;
            };
            let name = Name::Own(self.upkeep.next_own);
            self.upkeep.next_own += 1;
            self.upkeep.running += 1;
            self.search(now, name, key, Goal::Peers, out);
        }
        if self.upkeep.joining && !self.upkeep.is_walking() {
            self.announce(now, out);
        }
    }

    /// Asks the contact nearest to `key` who is near to it.
    fn refresh(&mut self, now: Time, key: Key, out: &mut Vec<Effect>) {
        self.table.note_lookup(now, &key);
        if let Some(&peer) = self.nearest_sound(&key, 1).first() {
            self.upkeep.running += 1;
            self.ask(
                peer.into(),
                Request::FindNode { id: key },
                patience::ONCE,
                QuestionPurpose::Refresh { peer },
                out,
            );
        }
    }

    /// Says that the join is over, if it is: every peer that can be found is, or none is there.
    fn announce(&mut self, now: Time, out: &mut Vec<Effect>) {
        let peers = self.table.len();
        let over = if peers == 0 {
            self.upkeep.announce_by = None;
            self.upkeep.probes == 0 && self.candidates.is_idle()
        } else {
            let limit = *self.upkeep.announce_by.get_or_insert(now + JOIN_SETTLES_IN);
            self.guest || self.candidates.is_idle() || limit <= now
        };
        if over {
            self.upkeep.joining = false;
            out.push(Effect::Joined { peers, shut_out: 0 });
        }
    }

    /// A random id in the range of a bucket: it shares `index` bits with ours, and differs in the next.
    fn random_id_in(&mut self, index: usize) -> Id {
        let own = self.me.id;
        let mut id = Id::random(&mut self.rng);
        for bit in 0..=index.min(ID_BITS - 1) {
            if (id.bit(bit) == own.bit(bit)) == (bit == index) {
                id = id.flip_bit(bit);
            }
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::{Cause, Overlay};

    #[test]
    fn while_neighbours_come_and_go_all_the_time_one_is_asked_who_is_near_at_most_twice_as_often_as_at_rest() {
        let peer = |n: u16| Peer::new(Id::of(&n.to_be_bytes()), SocketAddr::from(([10, 0, 0, 1], n)));
        let mut kademlia = Kademlia::with_bucket_size(peer(1), [1; 32], false, 20);
        kademlia.fill(Time::ZERO, &[2, 3, 4].map(peer));
        kademlia.upkeep.round = Some(Time::ZERO + ROUND_INTERVAL);
        let mut asked = 0;
        for now in (0..4 * ROUND_INTERVAL.as_secs()).map(|second| Time::ZERO + Duration::from_secs(second)) {
            let mut out = Vec::new();
            kademlia.note_change(now, &peer(2));
            kademlia.keep_up(now, &mut out);
            let asks = |effect: &&Effect| matches!(effect, Effect::Ask { request: Request::FindNode { .. }, .. });
            asked += out.iter().filter(asks).count();
        }
        assert!((5..=8).contains(&asked), "{asked} in four rounds");
    }

    #[test]
    fn a_stale_bucket_that_waits_for_the_walk_already_is_not_due_again_at_once() {
        let peer = |n: u16| Peer::new(Id::of(&n.to_be_bytes()), SocketAddr::from(([10, 0, 0, 1], n)));
        let mut kademlia = Kademlia::with_bucket_size(peer(1), [1; 32], false, 20);
        kademlia.fill(Time::ZERO, &[2, 3, 4].map(peer));
        kademlia.upkeep.walk = kademlia.table.buckets().iter().map(|bucket| bucket.index).collect();
        // The walk is held up.
        kademlia.upkeep.running = ALPHA;
        let now = Time::ZERO + REFRESH;
        kademlia.upkeep.refresh = Some(now);
        let waiting = kademlia.upkeep.walk.clone();
        kademlia.on(now, Cause::Tick, &mut Vec::new());
        assert_eq!((kademlia.upkeep.walk.clone(), kademlia.upkeep.refresh), (waiting, Some(now + REFRESH)));
    }
}
