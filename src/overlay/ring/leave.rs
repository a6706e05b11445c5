//! Leaving in good order: the neighbours close the gap at once (Chord, ToN 2003, section IV-E4).
//!
//! Any sender can write a goodbye in a neighbour's name. So that neighbour is pinged, where it is known, more than
//! once, for a datagram may get lost: a peer that has left answers none, and the goodbye counts when the patience with
//! that ping is over, or a connection there fails. A peer that was started again at once answers, and has no
//! neighbours: so it has left, and that is told before it is let in again. Until then nothing is sent over the leaving
//! peer and no `join` is answered, and no peer and no user is told of anything.
//!
//! The neighbours find out one by one. So one may hear that a peer was let in again while it still waits for an answer
//! of that peer's earlier run: it looks into the return once it knows how the goodbye ended.

use super::join::Membership;
use super::letting_in::Update;
use super::neighbours::{RingNeighbours, RingPosition};
use super::router::SuccessorChange;
use super::{QuestionFor, Ring, RingVariant};
use crate::id::Id;
use crate::overlay::{Effect, Incoming};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::RingRequest;

/// What a goodbye that waits for its proof tells: who stands around the peer that leaves.
pub(super) struct DepartureNews {
    predecessors: Vec<Peer>,
    successors: Vec<Peer>,
    /// What neighbours, or others in their names, tell meanwhile of having let that peer in again.
    returns: Vec<Update>,
    asked: Asked,
}

/// How often the peer that is said to leave was asked whether it has.
enum Asked {
    Once,
    /// And it has spoken since as one that stays, or another in its name.
    Contradicted,
    Again,
}

impl DepartureNews {
    /// What is said of the peer's return is looked into once it is known whether it has left.
    pub(super) fn put_off(&mut self, update: Update) {
        self.returns.retain(|other| other.by != update.by);
        self.returns.push(update);
    }
}

impl Ring {
    /// A neighbour leaves, or another peer says so in its name, and tells who stands around it.
    pub(super) fn on_goodbye(&mut self, from: &Incoming, told: RingNeighbours<'_>, out: &mut Vec<Effect>) {
        let Some(peer) = self.neighbour(from).filter(|peer| !self.is_departing(&peer.id)) else { return };
        let (predecessors, successors) = (told.predecessors.to_vec(), told.successors.to_vec());
        let news = DepartureNews { predecessors, successors, returns: Vec::new(), asked: Asked::Once };
        self.departures.insert(peer.id, news);
        self.ask_whether_it_left(peer, out);
    }

    fn ask_whether_it_left(&mut self, peer: Peer, out: &mut Vec<Effect>) {
        let ping = Request::Ring(RingNeighbours::NONE.ping(true));
        self.ask_plain(peer.into(), ping, QuestionFor::Departure(peer), patience::DEATH_NEWS, out);
    }

    /// A peer speaks, or another in its name, and not as one that leaves. If it said goodbye, it may be there again.
    pub(super) fn hear_again(&mut self, peer: &Peer) {
        if let Some(news) = self.departures.get_mut(&peer.id)
            && matches!(news.asked, Asked::Once)
        {
            news.asked = Asked::Contradicted;
        }
    }

    /// The peer that is said to leave answers no ping. One that has spoken since it was asked is asked once more, and
    /// no more often.
    pub(super) fn on_departure_unanswered(&mut self, now: Time, peer: Peer, out: &mut Vec<Effect>) {
        match self.departures.get_mut(&peer.id) {
            Some(news) if matches!(news.asked, Asked::Contradicted) => {
                news.asked = Asked::Again;
                self.ask_whether_it_left(peer, out);
            }
            _ => drop(self.on_departed(now, peer, out)),
        }
    }

    /// Whether a goodbye of this peer's waits for its proof.
    pub(super) fn is_departing(&self, id: &Id) -> bool {
        self.departures.contains_key(id)
    }

    /// The peer that is said to leave answers a ping: it has not left, or is in the ring again.
    pub(super) fn on_departure_refuted(&mut self, peer: &Peer, out: &mut Vec<Effect>) {
        let returns = self.departures.remove(&peer.id).map(|news| news.returns);
        returns.into_iter().flatten().for_each(|update| self.look_into(update, out));
    }

    /// A neighbour that said goodbye has left. Whether it had said so.
    pub(super) fn on_departed(&mut self, now: Time, peer: Peer, out: &mut Vec<Effect>) -> bool {
        let Some(news) = self.departures.remove(&peer.id) else { return false };
        let was_there = self.table.get(&peer.id) == Some(peer);
        let DepartureNews { predecessors, successors, returns, .. } = news;
        if was_there {
            self.close_gap(now, peer, (&predecessors, &successors), out);
        }
        returns.into_iter().for_each(|update| self.look_into(update, out));
        was_there
    }

    /// The peer has left, and said who stands before it and after it.
    fn close_gap(
        &mut self,
        now: Time,
        peer: Peer,
        (predecessors, successors): (&[Peer], &[Peer]),
        out: &mut Vec<Effect>,
    ) {
        // A ping that it answered before its goodbye is no sign that it is back.
        let is_about = |why: &QuestionFor| match why {
            QuestionFor::Ping(ping) => ping.peer.id == peer.id,
            QuestionFor::Departure(other) => *other == peer,
            _ => false,
        };
        self.asked.retain(|_, why| !is_about(why));
        let watched = self.table.watched().contains(&peer);
        let place = RingPosition {
            before: self.table.predecessors().contains(&peer),
            after: self.table.successors().contains(&peer),
        };
        self.table.remove(&peer.id);
        self.vitals.gone(now, peer);
        let doubtful = self.drop_between(&peer, successors.first());
        self.fill_gap(place, successors, out);
        for &previous in predecessors {
            self.consider(previous, RingPosition { after: false, ..place }, out);
        }
        for other in doubtful {
            self.consider(other, RingPosition::SOMEWHERE, out);
        }
        let why = if watched { SuccessorChange::Left { peer } } else { SuccessorChange::Stabilized };
        self.tell_successors(why, out);
        if place.before {
            self.tell_predecessors(out);
        }
        out.push(Effect::PeerDown(peer));
        self.greet_successors(out);
    }

    /// Takes in, at the `place` of a peer that has left, those that it named as its `successors`.
    fn fill_gap(&mut self, place: RingPosition, successors: &[Peer], out: &mut Vec<Effect>) {
        // A peer that is known already stands before us, and in a small ring behind us too. The next ping would tell;
        // in the classroom our user is told of the new successors now.
        let user_is_told = self.options.variant == RingVariant::Classroom;
        let fits = |known: Option<Peer>, next| known.is_none_or(|known| known == next && user_is_told);
        let fresh: Vec<Peer> =
            successors.iter().copied().filter(|next| fits(self.table.get(&next.id), *next)).collect();
        for next in fresh {
            if self.is_fit(&next) && !self.vitals.is_dead(&next) {
                if place == RingPosition::SOMEWHERE {
                    self.consider(next, place, out);
                } else {
                    self.take_in(next, false, out);
                }
            }
        }
    }

    /// The leaving peer knows best which peer follows it: those that we count between the two are gone, or will show
    /// themselves.
    fn drop_between(&mut self, leaving: &Peer, next: Option<&Peer>) -> Vec<Peer> {
        let Some(next) = next.filter(|next| self.is_fit(next) && !self.vitals.is_dead(next)) else { return Vec::new() };
        let between = |other: &&Peer| other.id.is_strictly_between(&leaving.id, &next.id);
        let doubtful: Vec<Peer> = self.table.successors().iter().filter(between).copied().collect();
        for other in &doubtful {
            self.table.remove(&other.id);
        }
        doubtful
    }

    /// Whether this peer has said goodbye.
    pub(super) fn has_left(&self) -> bool {
        matches!(self.membership, Membership::Left)
    }

    /// Tells those before us who comes after us, and those after us who came before.
    pub(super) fn say_goodbye(&mut self, out: &mut Vec<Effect>) {
        self.membership = Membership::Left;
        let quit = self.table.neighbours().quit();
        let predecessors = self.table.predecessors().to_vec();
        let successors = self.table.successors().to_vec();
        for (at, &peer) in predecessors.iter().enumerate() {
            if successors.iter().position(|other| other.id == peer.id).is_none_or(|ahead| at <= ahead) {
                self.ask_plain(peer.into(), Request::Ring(quit.clone()), QuestionFor::Tell, patience::QUESTION, out);
            }
        }
        for (at, &peer) in successors.iter().enumerate() {
            if predecessors.iter().position(|other| other.id == peer.id).is_none_or(|behind| at < behind) {
                // In a small ring it may stand before us too, and we not know it yet: in the classroom its user is told
                // of new successors, so it must learn them.
                let goodbye = match self.options.variant {
                    RingVariant::Classroom => quit.clone(),
                    RingVariant::Chord => RingRequest::Exit { predecessors: predecessors.clone() },
                };
                self.ask_plain(peer.into(), Request::Ring(goodbye), QuestionFor::Tell, patience::QUESTION, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RingOptions;
    use super::*;
    use crate::overlay::{Asker, Cause, Overlay, Tag};
    use crate::wire::ring::RingResponse;
    use crate::wire::{Response, Sender};

    const NOW: Time = Time::from_micros(1);

    fn peer(n: u8) -> Peer {
        Peer::new(Id::from_u64(u64::from(n) * 1000), ([10, 0, 0, n], 7000).into())
    }

    /// The peer before `leaver` has heard its goodbye: that peer, and what it asks the other, how often.
    fn told(leaver: Peer) -> (Ring, Tag, u8) {
        let mut ring = Ring::new(peer(3), RingOptions::default());
        ring.fill(Time::ZERO, &(1..=8).map(peer).collect::<Vec<_>>());
        let sender = Some(Sender { leaving: true, ..Sender::member(leaver.id, leaver.addr) });
        let from = Incoming { asker: Asker::connected(leaver.addr, 1), sender };
        let request = Request::Ring(RingRequest::Quit { predecessors: vec![peer(3)], successors: vec![peer(5)] });
        let mut out = Vec::new();
        ring.on(NOW, Cause::Request { from: &from, request: &request }, &mut out);
        let asked = out.iter().find_map(|effect| match effect {
            Effect::Ask { to, tag, tries, .. } if to.addr == leaver.addr => Some((*tag, *tries)),
            _ => None,
        });
        let (tag, tries) = asked.expect("it is asked whether it is there");
        (ring, tag, tries)
    }

    /// What comes of it that the leaver, at its address, has these successors.
    fn answered(successors: &[Peer]) -> (bool, Vec<Effect>) {
        let leaver = peer(4);
        let (mut ring, tag, _) = told(leaver);
        let (predecessors, successors) = (Vec::new(), successors.to_vec());
        let response = Response::Ring(RingResponse::Pong { peer: leaver, predecessors, successors });
        let mut out = Vec::new();
        ring.on(NOW, Cause::Answer { tag, from: leaver.addr, by: Some(leaver), response: &response }, &mut out);
        (ring.table.get(&leaver.id).is_some(), out)
    }

    #[test]
    fn who_is_said_to_leave_is_asked_more_than_once_before_it_is_believed() {
        let (.., tries) = told(peer(4));
        assert!(tries > patience::ONCE);
        assert_eq!(patience::silence(tries), patience::silence(patience::ONCE), "and no longer than once");
    }

    #[test]
    fn who_left_and_was_started_again_at_once_has_left_and_who_has_neighbours_is_there() {
        let (is_there, out) = answered(&[peer(5)]);
        assert!(is_there && !out.contains(&Effect::PeerDown(peer(4))));
        let (is_there, out) = answered(&[]);
        assert!(!is_there && out.contains(&Effect::PeerDown(peer(4))), "{out:?}");
    }
}
