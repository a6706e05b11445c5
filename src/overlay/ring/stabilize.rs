//! What keeps the lists right: pings, and the news they bring (Chord's stabilize and notify, ToN 2003, section IV-E1).

use std::time::Duration;

use super::neighbours::{RingNeighbours, RingPosition};
use super::probes::Room;
use super::router::{RouteNotice, SuccessorChange};
use super::{QuestionFor, Ring, RingVariant};
use crate::id::Id;
use crate::overlay::{Effect, Incoming, Tag};
use crate::patience;
use crate::peer::Peer;
use crate::source::{AddressScope, Subnet};
use crate::time::Time;
use crate::wire::{Request, Via};

/// Neighbours told in a message: so many fit a datagram.
const NEIGHBOURS_TOLD: usize = 8;

/// Those of them on the side where the receiver stands, at most, so that it sees where that is; the others are on the
/// side where the receiver needs them.
const TOLD_BESIDES: usize = 6;

/// A peer that was heard within this time is not pinged because a neighbour skips it.
const SKIPPED_SILENCE: Duration = Duration::from_secs(16);

/// The others where only the nearest are told.
const NEAREST: usize = 2;

/// Peers that wait at a time until one before them has been heard. Others come by themselves, from a neighbour's list.
const MOST_EARLY: usize = 16;

/// A ping of ours, while its answer is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ping {
    /// The peer that is pinged.
    pub(super) peer: Peer,
    /// Why it is pinged.
    pub(super) reason: PingReason,
    /// Whether the user's interval asked for this ping, so that its answer is told.
    pub(super) loud: bool,
    /// When it was sent.
    pub(super) sent: Time,
}

/// Why a peer is pinged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PingReason {
    /// It is in the table, and is told our neighbours as it tells its own. Missed, that ping is not repeated (outside
    /// the classroom): with its lists it is up to five times as long as a bare one, and what goes to the dead is
    /// repeated most.
    Stabilize(TellingExtent),
    /// It is in the table: is it alive?
    Check,
    /// Another peer spoke of it: is it there?
    Probe(RingPosition),
    /// It spoke for itself, and has yet to show that it receives.
    Meet(RingPosition),
    /// It died: is it back?
    Lost,
}

/// How many neighbours a peer tells. Lists are most of what a ring at rest sends, and of what one sends in which peers
/// come and go; news of deaths and of newcomers does not wait for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TellingExtent {
    /// As many as fit a datagram. A peer that is told so many tells as many.
    All,
    /// The nearest.
    Nearest,
}

impl Ring {
    /// Pings a peer.
    pub(super) fn ping(&mut self, peer: Peer, reason: PingReason, loud: bool, out: &mut Vec<Effect>) {
        let chord = self.options.variant == RingVariant::Chord;
        let request = match reason {
            // As short as can be.
            PingReason::Meet(_) => Request::Ring(RingNeighbours::NONE.ping(true)),
            PingReason::Check | PingReason::Probe(_) | PingReason::Lost if chord => Request::Ping,
            PingReason::Stabilize(telling) => Request::Ring(self.neighbours_for(&peer, true, telling).ping(!loud)),
            _ => Request::Ring(self.neighbours_for(&peer, true, TellingExtent::All).ping(!loud)),
        };
        let once = match reason {
            PingReason::Meet(_) => true,
            PingReason::Stabilize(_) | PingReason::Lost => chord,
            PingReason::Check => chord && self.vitals.told(&peer.id).is_some(),
            PingReason::Probe(_) => false,
        };
        let once = once || self.vitals.is_awaited(&peer.id);
        let tries = if once { patience::ONCE } else { patience::QUESTION };
        let why = QuestionFor::Ping(Ping { peer, reason, loud, sent: self.now });
        self.ask_plain(peer.into(), request, why, tries, out);
    }

    /// Pings a peer of the table, unless that is going on already.
    pub(super) fn check_on(&mut self, peer: Peer, out: &mut Vec<Effect>) {
        if !self.is_pinging(&peer.id) {
            self.ping(peer, PingReason::Check, false, out);
        }
    }

    /// Lets a peer of the table know our neighbours, unless it hears of them just now. (In the classroom every ping
    /// tells them.)
    pub(super) fn greet(&mut self, peer: Peer, telling: TellingExtent, out: &mut Vec<Effect>) {
        let any = self.options.variant == RingVariant::Classroom;
        let tells =
            |reason| reason == PingReason::Stabilize(TellingExtent::All) || reason == PingReason::Stabilize(telling);
        let greets = |ping: &Ping| ping.peer.id == peer.id && (any || tells(ping.reason));
        let greets = |why: &QuestionFor| matches!(why, QuestionFor::Ping(ping) if greets(ping));
        if !self.asked.values().any(greets) {
            self.ping(peer, PingReason::Stabilize(telling), false, out);
        }
    }

    /// Lets the first successors know at once that we take them for such.
    pub(super) fn greet_successors(&mut self, out: &mut Vec<Effect>) {
        for peer in self.table.watched().to_vec() {
            self.greet(peer, TellingExtent::All, out);
        }
    }

    /// What those are told that are new to our lists. In the classroom every ping tells all.
    pub(super) fn telling_newcomers(&self) -> TellingExtent {
        if self.options.variant == RingVariant::Classroom { TellingExtent::All } else { TellingExtent::Nearest }
    }

    pub(super) fn is_pinging(&self, id: &Id) -> bool {
        self.asked.values().any(|why| matches!(why, QuestionFor::Ping(ping) if ping.peer.id == *id))
    }

    /// Which neighbours `peer` is told: more of those it needs, which for a successor of ours stand before us, for a
    /// predecessor after us. All of both would not fit a datagram.
    pub(super) fn neighbours_for(&self, peer: &Peer, asking: bool, telling: TellingExtent) -> RingNeighbours<'_> {
        let all = self.table.neighbours();
        let ahead = all.ahead(&peer.id).unwrap_or(usize::MAX);
        let behind = all.behind(&peer.id).unwrap_or(usize::MAX);
        let after_us = if ahead == behind { asking } else { ahead < behind };
        let besides = if let usize::MAX = ahead.min(behind) { 2 } else { ahead.min(behind) + 1 }.min(TOLD_BESIDES);
        // A peer that tells fewer than fit is told fewer.
        let others = if telling == TellingExtent::All {
            NEIGHBOURS_TOLD - besides
        } else {
            NEAREST.min(NEIGHBOURS_TOLD - 1 - besides)
        };
        if after_us { all.first(others, besides) } else { all.first(besides, others) }
    }

    /// A request came from a member, or another says so. Only answers are signs of life, but a peer that was taken for
    /// dead, and speaks, is pinged.
    pub(super) fn hear(&mut self, now: Time, from: &Incoming, out: &mut Vec<Effect>) {
        if from.sender.is_some_and(|sender| sender.leaving) || self.has_left() {
            return;
        }
        let Some(peer) = Self::member(from) else { return };
        if self.table.get(&peer.id) == Some(peer) {
            self.hear_again(&peer);
            if self.vitals.spoke(now, &peer.id) {
                // What was sent to it before it started is lost.
                self.ping(peer, PingReason::Check, false, out);
            }
        } else if self.vitals.is_dead(&peer) || self.vitals.is_lost(&peer) {
            self.weigh(peer, RingPosition::SOMEWHERE, true, out);
        } else if peer.id != self.me.id {
            self.hear_of_door(peer.addr);
        }
    }

    /// A ping came: stabilize and notify of a peer that takes us for a successor, perhaps.
    pub(super) fn on_ping(&mut self, from: &Incoming, told: RingNeighbours<'_>, quiet: bool, out: &mut Vec<Effect>) {
        if self.has_left() {
            return; // An answer would bring this peer back into the lists of others.
        }
        let sender = from.sender.map(|sender| Peer::new(sender.peer.id, from.asker.addr));
        let tells_all = told.predecessors.len() + told.successors.len() >= NEIGHBOURS_TOLD;
        let is_asked_all = tells_all || self.options.variant == RingVariant::Classroom;
        let is_guest = from.sender.is_none_or(|sender| sender.guest);
        let telling = if is_asked_all || is_guest { TellingExtent::All } else { TellingExtent::Nearest };
        let pong = self.neighbours_for(&sender.unwrap_or(self.me), false, telling).pong(self.me);
        Self::respond(from, pong, out);
        let leaving = from.sender.is_some_and(|sender| sender.leaving);
        let Some(sender) = Self::member(from).filter(|_| !leaving && !self.options.guest) else { return };
        if !quiet && self.options.variant == RingVariant::Classroom && self.may_be(&sender, from) {
            Self::notice(RouteNotice::PingReceived { from: sender }, out);
        }
        // A ping without neighbours comes from a peer outside the ring: it enters by its join. This one, if it is not
        // in yet, would ping in the same way those that it must tell of itself once it is, and then not ping them
        // again.
        if told.is_empty() || self.membership.is_pending() {
            return;
        }
        let place = RingPosition { before: told.ahead(&self.me.id).is_some(), after: false };
        if !from.asker.is_validated() || self.vitals.is_dead(&sender) {
            // It has yet to show that it receives, and is pinged wherever it stands: from then on it gets full answers.
            // It tells its neighbours again when it answers.
            return self.weigh(sender, place, true, out);
        }
        self.consider(sender, place, out);
        self.hear_neighbours(sender, told, out);
    }

    /// Whether the user is told that this peer has pinged: any sender can write a datagram in another's name. A peer
    /// that is not known yet has shown that it is there, or has the port that goes with its id.
    fn may_be(&self, sender: &Peer, from: &Incoming) -> bool {
        let first_port = |peer: &Peer| peer.id.to_u64().map(|id| u64::from(peer.addr.port()).wrapping_sub(id));
        let may_be = match self.table.get(&sender.id) {
            Some(known) => known == *sender,
            None => from.asker.is_validated() || first_port(sender) == first_port(&self.me),
        };
        may_be && sender.id != self.me.id && from.asker.via == Via::Udp
    }

    /// The peer `teller` told its neighbours; we may be one of them.
    fn hear_neighbours(&mut self, teller: Peer, told: RingNeighbours<'_>, out: &mut Vec<Effect>) {
        if !told.is_empty() {
            self.newcomers.remove(&teller.id);
        }
        self.correct(teller, told, out);
        let may_name = |(_, peer): &(usize, &Peer)| AddressScope::may_name(&teller.addr, &peer.addr);
        let (ahead, behind) = (told.ahead(&self.me.id), told.behind(&self.me.id));
        let before_us = ahead.is_some() || self.table.predecessors().contains(&teller);
        let after_us = self.table.successors().contains(&teller);
        for (at, &peer) in told.successors.iter().enumerate().filter(may_name) {
            let before = ahead.is_some_and(|us| at < us);
            self.consider(peer, RingPosition { before, after: after_us || ahead.is_some_and(|us| at > us) }, out);
        }
        // Predecessors are learned one by one, so their list may skip peers: it does not say that one follows us.
        for (at, &peer) in told.predecessors.iter().enumerate().filter(may_name) {
            let before = before_us || behind.is_some_and(|us| at > us);
            self.consider(peer, RingPosition { before, after: false }, out);
        }
        self.check_skipped(&teller, told, out);
    }

    /// A neighbour tells who stands behind it on its side of us. Those of ours on that stretch whom it skips may be
    /// gone: it hears of a death there sooner.
    fn check_skipped(&mut self, teller: &Peer, told: RingNeighbours<'_>, out: &mut Vec<Effect>) {
        if self.options.variant == RingVariant::Classroom {
            return; // Its users count pings.
        }
        let ahead = (self.table.successors(), told.successors.last().map(|last| (teller.id, last.id)), told.successors);
        let behind =
            (self.table.predecessors(), told.predecessors.last().map(|last| (last.id, teller.id)), told.predecessors);
        let mut skipped = Vec::new();
        for (ours, stretch, theirs) in [ahead, behind] {
            let Some((from, to)) = stretch.filter(|_| ours.contains(teller)) else { continue };
            let is_skipped = |peer: &&Peer| peer.id.is_strictly_between(&from, &to) && !theirs.contains(peer);
            skipped.extend(ours.iter().filter(is_skipped).copied());
        }
        for peer in skipped {
            self.check_on_silent(self.now, peer, SKIPPED_SILENCE, out);
        }
    }

    /// A ping of ours was answered.
    pub(super) fn on_pong(&mut self, now: Time, ping: Ping, told: RingNeighbours<'_>, out: &mut Vec<Effect>) {
        let Ping { peer, reason, loud, .. } = ping;
        self.vitals.back(&peer);
        // Not where another address is known for its id, which may be silent.
        if self.table.get(&peer.id).is_none_or(|known| known == peer) {
            self.vitals.alive(now, &peer.id);
        }
        if loud {
            Self::notice(RouteNotice::PingAnswered { by: peer }, out);
        }
        let is_bare = matches!(reason, PingReason::Probe(_)) && self.options.variant == RingVariant::Chord;
        match reason {
            PingReason::Stabilize(_) | PingReason::Check => {}
            PingReason::Probe(place) | PingReason::Meet(place) => {
                // A peer that spoke for itself knows us.
                if self.enter(peer, place, out) && is_bare {
                    self.greet(peer, self.telling_newcomers(), out);
                }
                if self.table.successors().last() == Some(&peer) {
                    self.enter_early(out);
                }
            }
            PingReason::Lost => {
                self.enter(peer, RingPosition::SOMEWHERE, out);
                self.ask_to_join(peer, true, out);
            }
        }
        self.hear_neighbours(peer, told, out);
    }

    /// Another peer spoke of `peer`. If it has a place in the lists, it is pinged, and enters when it answers.
    pub(super) fn consider(&mut self, peer: Peer, place: RingPosition, out: &mut Vec<Effect>) {
        self.weigh(peer, place, false, out);
    }

    fn weigh(&mut self, peer: Peer, place: RingPosition, stranger: bool, out: &mut Vec<Effect>) {
        let suspect = self.twins.suspect(self.now, &self.me, &[peer]);
        self.ask_twin(suspect, out);
        if !self.is_fit(&peer) || self.vitals.is_dead(&peer) && !stranger || self.options.guest {
            return;
        }
        let ahead = self.table.fits_successors(&peer.id, place.after);
        let wanted = ahead || place.before && self.table.fits_predecessors(&peer.id);
        match self.table.get(&peer.id) {
            _ if !wanted && !stranger => {}
            Some(known) if known == peer => {
                self.enter(peer, place, out);
            }
            Some(known) => {
                self.check_on(known, out);
                let chord = self.options.variant == RingVariant::Chord;
                if chord && stranger && !self.is_met(&peer.id) && self.make_room_to_probe(&peer, stranger) {
                    self.ping(peer, PingReason::Meet(place), false, out);
                }
            }
            None => {
                let place_out = self.asked.values_mut().find_map(|why| why.place_of(&peer.id));
                let is_probed = place_out.map(|known| known.merge(place)).is_some();
                let may_meet = stranger && !self.is_met(&peer.id);
                if may_meet && self.make_room_to_probe(&peer, stranger) {
                    // It may be probed since others spoke of it, in vain: it was not up yet, or datagrams are lost.
                    self.ping(peer, PingReason::Meet(place), false, out);
                } else if !stranger
                    && !is_probed
                    && !self.is_pinging(&peer.id)
                    && self.make_room_to_probe(&peer, stranger)
                {
                    self.ping(peer, PingReason::Probe(place), false, out);
                }
            }
        }
    }

    /// Whether a peer that was only spoken of, by others or `for_itself`, may be pinged now. Another one may have to
    /// give up its place for it.
    pub(super) fn make_room_to_probe(&mut self, peer: &Peer, for_itself: bool) -> bool {
        let source = (Subnet::of(peer.addr), for_itself);
        let spoke = |why: &QuestionFor| matches!(why, QuestionFor::Ping(Ping { reason: PingReason::Meet(_), .. }));
        let probed = |(tag, why): (&Tag, &QuestionFor)| Some((*tag, Subnet::of(why.probed()?.addr), spoke(why)));
        let out: Vec<_> = self.asked.iter().filter_map(probed).collect();
        let room = self.probes.room(self.now, source, &out);
        if let Room::InPlaceOf(oldest) = room {
            self.asked.remove(&oldest);
            self.probes.displaced(self.now, for_itself);
        }
        room != Room::Nowhere
    }

    fn is_met(&self, id: &Id) -> bool {
        let meets = |why: &QuestionFor| matches!(why, QuestionFor::Ping(Ping { peer, reason: PingReason::Meet(_), .. }) if peer.id == *id);
        self.asked.values().any(meets)
    }

    /// Puts a peer that answered us into the lists. One behind the last successor waits for those between the two that
    /// have yet to answer: the list may be short, but skips no peer of which we know (Zave, TSE 2017). Whether it was
    /// in none of them and is in one now.
    fn enter(&mut self, peer: Peer, place: RingPosition, out: &mut Vec<Effect>) -> bool {
        if let Some(known) = self.table.get(&peer.id).filter(|known| known.addr != peer.addr) {
            self.on_elsewhere(known, peer.addr, out);
            return false;
        }
        let last = self.table.fits_successors(&peer.id, true) && !self.table.fits_successors(&peer.id, false);
        let early = place.after && last && self.is_one_awaited_before(&peer.id);
        if early && self.early.len() < MOST_EARLY && !self.early.iter().any(|(other, _)| *other == peer) {
            self.early.push((peer, place));
        }
        let stranger = !self.table.is_neighbour(&peer.id);
        let ahead = self.table.add_successor(peer, place.after && !early);
        let behind = place.before && self.table.add_predecessor(peer);
        let new = stranger && (ahead || behind);
        if new {
            out.push(Effect::PeerUp(peer));
        }
        if ahead {
            self.tell_successors(SuccessorChange::Stabilized, out);
        }
        if behind {
            self.tell_predecessors(out);
        }
        if ahead && self.table.watched().contains(&peer) {
            self.greet(peer, TellingExtent::All, out);
        }
        new
    }

    /// Whether a peer between the last successor and `id` has yet to answer before it enters.
    fn is_one_awaited_before(&self, id: &Id) -> bool {
        let last = self.table.successors().last().map_or(self.me.id, |last| last.id);
        let between = |peer: &Peer| peer.id.is_strictly_between(&last, id);
        self.asked.values().filter_map(QuestionFor::probed).any(between)
    }

    /// The list has reached a peer that others waited for: they enter.
    fn enter_early(&mut self, out: &mut Vec<Effect>) {
        let mut early = std::mem::take(&mut self.early);
        early.sort_unstable_by_key(|(peer, _)| (peer.id < self.me.id, peer.id));
        for (peer, place) in early {
            if !self.vitals.is_dead(&peer) && self.enter(peer, place, out) {
                self.greet(peer, self.telling_newcomers(), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RingOptions;
    use super::*;
    use crate::overlay::{Cause, Overlay};
    use crate::wire::Response;

    fn peer(id: u64) -> Peer {
        Peer::new(Id::from_u64(id), ([10, 0, (id >> 8) as u8, id as u8], 7000).into())
    }

    /// The peer 1 hears of the peer `id` behind it. The pings that go there.
    fn hears_of(ring: &mut Ring, id: u64) -> Vec<Tag> {
        let mut out = Vec::new();
        ring.consider(peer(id), RingPosition::AFTER, &mut out);
        let pings = out.iter().filter_map(|effect| match effect {
            Effect::Ask { to, tag, .. } if to.addr == peer(id).addr => Some(*tag),
            _ => None,
        });
        pings.collect()
    }

    fn answers(ring: &mut Ring, id: u64, tag: Tag) {
        let pong = RingNeighbours::NONE.pong(peer(id));
        let cause = Cause::Answer { tag, from: peer(id).addr, by: Some(peer(id)), response: &Response::Ring(pong) };
        ring.on(Time::ZERO, cause, &mut Vec::new());
    }

    #[test]
    fn sixteen_peers_at_most_wait_for_one_between_that_has_yet_to_answer() {
        let mut ring = Ring::new(peer(1), RingOptions::default());
        ring.fill(Time::ZERO, &[peer(1), peer(10)]);
        let awaited = hears_of(&mut ring, 100);
        assert_eq!(awaited.len(), 1);
        for id in 200..200 + 3 * MOST_EARLY as u64 {
            for tag in hears_of(&mut ring, id) {
                answers(&mut ring, id, tag);
            }
        }
        assert_eq!((ring.early.len(), ring.successors()), (MOST_EARLY, &[peer(10)][..]));
        answers(&mut ring, 100, awaited[0]);
        assert!(ring.early.is_empty() && ring.successors().len() > 2, "{:?}", ring.successors());
    }
}
