//! Leaving in good order: the neighbours close the gap at once (Chord, ToN 2003, section IV-E4).

use super::join::Membership;
use super::neighbours::{Neighbours, Place};
use super::router::{Change, RouteNotice};
use super::{Manners, Ring, Why};
use crate::overlay::{Effect, Incoming};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::RingRequest;

impl Ring {
    /// A neighbour leaves, and tells who stands around it.
    pub(super) fn on_goodbye(&mut self, now: Time, from: &Incoming, told: Neighbours<'_>, out: &mut Vec<Effect>) {
        let Some(peer) = self.neighbour(from) else { return };
        // A ping that it answered before its goodbye is no sign that it is back.
        self.asked.retain(|_, why| !matches!(why, Why::Ping(ping) if ping.peer.id == peer.id));
        let watched = self.table.watched().contains(&peer);
        let place =
            Place { before: self.table.predecessors().contains(&peer), after: self.table.successors().contains(&peer) };
        self.table.remove(&peer.id);
        self.vitals.gone(now, peer);
        let doubtful = self.drop_between(&peer, told.successors.first());
        // A peer that is known already stands before us, and in a small ring behind us too. The next ping would tell; in
        // the classroom our user is told of the new successors now.
        let user_is_told = self.options.manners == Manners::Classroom;
        let fits = |known: Option<Peer>, next| known.is_none_or(|known| known == next && user_is_told);
        let fresh: Vec<Peer> =
            told.successors.iter().copied().filter(|next| fits(self.table.get(&next.id), *next)).collect();
        for next in fresh {
            if self.is_fit(&next) && !self.vitals.is_dead(&next) {
                if place == Place::SOMEWHERE {
                    self.consider(next, place, out);
                } else {
                    self.take_in(next, false, out);
                }
            }
        }
        for &previous in told.predecessors {
            self.consider(previous, Place { after: false, ..place }, out);
        }
        for other in doubtful {
            self.consider(other, Place::SOMEWHERE, out);
        }
        let why = if watched { Change::Left { peer } } else { Change::Stabilized };
        let successors = self.table.successors().to_vec();
        Self::notice(RouteNotice::Successors { why, successors }, out);
        if place.before {
            self.tell_predecessors(out);
        }
        out.push(Effect::PeerDown(peer));
        self.greet_successors(out);
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
                self.ask_plain(peer.into(), Request::Ring(quit.clone()), Why::Tell, false, patience::QUESTION, out);
            }
        }
        for (at, &peer) in successors.iter().enumerate() {
            if predecessors.iter().position(|other| other.id == peer.id).is_none_or(|behind| at < behind) {
                // In a small ring it may stand before us too, and we not know it yet: in the classroom its user is told of
                // new successors, so it must learn them.
                let goodbye = match self.options.manners {
                    Manners::Classroom => quit.clone(),
                    Manners::Chord => RingRequest::Exit { predecessors: predecessors.clone() },
                };
                self.ask_plain(peer.into(), Request::Ring(goodbye), Why::Tell, false, patience::QUESTION, out);
            }
        }
    }
}
