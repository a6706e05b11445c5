//! Letting others into the ring, and the places of those that were let in elsewhere. The sender that a `join` names is
//! a stranger's word: that peer is pinged before it enters any list, is told to others or gets a connection
//! ([`admission`](super::admission)).

use std::net::SocketAddr;

use super::hop::SentLookup;
use super::join::Membership;
use super::neighbours::RingPosition;
use super::relay::Relay;
use super::router::{RingEffect, SuccessorChange};
use super::stabilize::TellingExtent;
use super::table::Hop;
use super::{NEIGHBOURS_WATCHED, QuestionFor, Ring, RingVariant};
use crate::overlay::{Effect, Incoming};
use crate::patience;
use crate::peer::Peer;
use crate::source::AddressScope;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::{RingRequest, RingResponse};

/// Updates of one neighbour's that are looked into at a time: it lets in few peers in a second.
const UPDATES_AT_ONCE: usize = 8;

/// Newcomers that are remembered until they have heard that they were let in.
pub(super) const MAX_NEWCOMERS: usize = 16;

/// What a neighbour, or another peer in its name, tells of its successors.
#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) by: Peer,
    /// The peer that it has let in, if that is why.
    pub(super) joined: Option<Peer>,
    pub(super) successors: Vec<Peer>,
}

impl Ring {
    /// A new peer's `join`: it is passed on, or its origin is let in here once it has [proven](super::admission)
    /// itself.
    pub(super) fn on_join_request(
        &mut self,
        now: Time,
        relay: Relay,
        avoid: &[SocketAddr],
        first_time: bool,
        out: &mut Vec<Effect>,
    ) {
        let (origin, quiet) = (relay.route.origin, relay.route.quiet);
        let hop = self.hop_of_join(&origin, avoid);
        if let Hop::Via(to) = hop
            && self.objection(&origin).is_none()
            && self.holder(&origin).is_none()
        {
            self.forward(relay.clone(), hop, first_time && !quiet, out);
            // The classroom's users see each step that a join takes: there the peer's death decides, not a doubt.
            if self.options.variant == RingVariant::Chord && !self.has_left() {
                self.mind_hop(now, to, SentLookup::Relayed(relay), true, out);
            }
        } else if !first_time && self.table.is_neighbour(&origin.id) && self.table.get(&origin.id) == Some(origin) {
            // Its welcome was lost.
            self.let_in(&relay, first_time, out);
        } else {
            self.have_proven(relay, first_time, out);
        }
    }

    /// Where the `join` of `origin` goes from here, past the peers at `avoid`.
    fn hop_of_join(&self, origin: &Peer, avoid: &[SocketAddr]) -> Hop {
        match self.table.predecessors().first() {
            // This peer has said goodbye: the one before it lets new peers in.
            Some(&before) if self.has_left() => Hop::Via(before),
            _ => {
                let vitals = &self.vitals;
                let is_late = |peer: &Peer| vitals.is_doubted(&peer.id) || vitals.is_shunned(self.now, &peer.id);
                let usable = |peer: &Peer| !avoid.contains(&peer.addr) && !is_late(peer);
                self.table.hop_before(&origin.id, self.options.fingers, usable)
            }
        }
    }

    /// The origin of a `join` answered at the address it gave: it is let in here, or told why not. What stands between
    /// it and this peer may have changed meanwhile.
    pub(super) fn on_proven(&mut self, now: Time, relay: Relay, first_time: bool, out: &mut Vec<Effect>) {
        let origin = relay.route.origin;
        if let Some(reason) = self.objection(&origin) {
            relay.refuse(reason, out);
        } else if let Some(holder) = self.holder(&origin) {
            self.on_join_from_elsewhere(now, relay, holder, out);
        } else if let Hop::Via(_) = self.hop_of_join(&origin, &[]) {
            self.on_join_request(now, relay, &[], first_time, out);
        } else {
            self.let_in(&relay, first_time, out);
        }
    }

    fn let_in(&mut self, relay: &Relay, first_time: bool, out: &mut Vec<Effect>) {
        let (origin, quiet) = (relay.route.origin, relay.route.quiet);
        let before = self.table.predecessors().first().copied();
        let fresh = !self.table.successors().contains(&origin);
        let alone = self.table.others().next().is_none();
        // Made out first: in our own list the new peer takes the last one's place.
        let welcome = self.welcome(&origin);
        self.take_in(origin, alone, out);
        relay.answer(welcome, out);
        // A newcomer whose welcome is late sends another `join`, by another door: it enters once.
        let waits = self.newcomers.contains(&origin.id);
        self.newcomers.insert(origin.id, ());
        // A peer that came back before it was missed is in the list already.
        if fresh || first_time && !waits {
            out.push(Effect::Ring(RingEffect::Entered(origin)));
            let successors = self.table.successors().to_vec();
            let why = if quiet { SuccessorChange::Stabilized } else { SuccessorChange::Joined { peer: origin } };
            self.tell_successors(why, out);
            if let Some(before) = before.filter(|before| before.id != origin.id && !quiet) {
                let update = RingRequest::Update { successors, joined: Some(origin) };
                self.ask(before, update, QuestionFor::Tell, out);
            }
        }
    }

    /// Why `origin` cannot enter, if it cannot.
    fn objection(&self, origin: &Peer) -> Option<String> {
        if origin.id.modulo_power_of_two(self.options.bits) != origin.id {
            return Some(format!("ids of this ring have {} bits", self.options.bits));
        }
        (origin.id == self.me.id).then(|| "the id is taken by another peer".to_owned())
    }

    /// The peer that is known under the id of `origin`, at another address.
    fn holder(&self, origin: &Peer) -> Option<Peer> {
        self.table.get(&origin.id).filter(|holder| holder.addr != origin.addr)
    }

    /// What a peer that was let in here is told: who stands before it, and after it.
    fn welcome(&self, origin: &Peer) -> RingResponse {
        // Those between us and it, which are in doubt, do not follow it.
        let after = |peer: &&Peer| peer.id.is_strictly_between(&origin.id, &self.me.id);
        let mut successors: Vec<Peer> = self.table.successors().iter().filter(after).copied().collect();
        // The list goes once around if it ends with our predecessor; after a death it is merely short for a while.
        let before = self.table.predecessors().first();
        let closes = before.is_none_or(|before| successors.last().is_none_or(|last| last == before));
        if closes && successors.len() < self.options.successors {
            successors.push(self.me);
        }
        let mut predecessors = vec![self.me];
        predecessors.extend(self.table.predecessors().iter().filter(|peer| peer.id != origin.id));
        RingResponse::Welcome { predecessors, successors }
    }

    /// A neighbour's successors have changed, or another peer says so; if it is our successor, perhaps because it let a
    /// new peer in. That one is pinged first. In the classroom, whose users are told, the neighbour is asked itself.
    /// Where that peer said goodbye before, it is found out first whether it has left: it may have been started again,
    /// and the silence of its earlier run would remove the later one.
    pub(super) fn on_update(
        &mut self,
        from: &Incoming,
        successors: &[Peer],
        joined: Option<Peer>,
        out: &mut Vec<Effect>,
    ) {
        let Some(by) = self.neighbour(from) else { return };
        let update = Update { by, joined, successors: successors.to_vec() };
        match joined.and_then(|joined| self.departures.get_mut(&joined.id)) {
            Some(departure) => departure.put_off(update),
            None => self.look_into(update, out),
        }
    }

    /// Asks whether it is so what a neighbour is said to have told of its successors.
    pub(super) fn look_into(&mut self, Update { by, joined, successors }: Update, out: &mut Vec<Effect>) {
        let classroom = self.options.variant == RingVariant::Classroom;
        let is_new = |joined: &Peer| self.table.get(&joined.id).is_none() && self.is_fit(joined);
        let joined = joined.filter(|joined| classroom || is_new(joined));
        let why = QuestionFor::Update(Update { by, joined, successors: successors.clone() });
        let (to, request) = match joined {
            _ if self.asked.values().any(|why| why.is_update_of(joined, &by)) => return,
            _ if self.asked.values().filter(|why| why.is_update_by(&by)).count() >= UPDATES_AT_ONCE => return,
            _ if classroom => (by, Request::Ring(self.neighbours_for(&by, true, TellingExtent::All).ping(true))),
            Some(joined)
                if !AddressScope::may_name(&by.addr, &joined.addr) || !self.make_room_to_probe(&joined, false) =>
            {
                return;
            }
            Some(joined) => (joined, Request::Ping),
            None => return self.on_updated(by, &successors, None, out),
        };
        self.ask_plain(to.into(), request, why, patience::QUESTION, out);
    }

    /// The neighbour that is said to have let a peer in tells its `successors` itself. It may not know yet that one of
    /// them has left or died: such a one is let in again if it answers.
    pub(super) fn on_update_confirmed(&mut self, told: Update, successors: &[Peer], out: &mut Vec<Effect>) {
        let is_near = |joined: &Peer| successors.iter().take(NEIGHBOURS_WATCHED).any(|near| near == joined);
        let joined = told.joined.or(told.successors.first().copied());
        let Some(joined) = joined.filter(|joined| is_near(joined) && self.is_fit(joined)) else { return };
        if self.vitals.is_dead(&joined) {
            let update = Update { by: told.by, joined: Some(joined), successors: successors.to_vec() };
            return self.ask_plain(joined.into(), Request::Ping, QuestionFor::Update(update), patience::QUESTION, out);
        }
        if self.table.get(&joined.id).is_none() {
            self.take_in(joined, false, out);
        }
        out.push(Effect::Ring(RingEffect::Entered(joined)));
        self.on_updated(told.by, successors, Some(joined), out);
    }

    /// The peer is there that a neighbour is said to have let in.
    pub(super) fn on_update_proven(&mut self, told: Update, joined: Peer, out: &mut Vec<Effect>) {
        if self.options.variant == RingVariant::Classroom {
            self.vitals.back(&joined);
            let successors = told.successors.clone();
            return self.on_update_confirmed(told, &successors, out);
        }
        self.take_in(joined, false, out);
        self.on_updated(told.by, &told.successors, None, out);
    }

    /// What a neighbour told of its successors counts. The user of a classroom hears of who `joined`, if it stands
    /// where the neighbour believes.
    pub(super) fn on_updated(&mut self, by: Peer, successors: &[Peer], joined: Option<Peer>, out: &mut Vec<Effect>) {
        let place = RingPosition { before: false, after: self.table.successors().contains(&by) };
        for &peer in successors.iter().filter(|peer| AddressScope::may_name(&by.addr, &peer.addr)) {
            self.consider(peer, place, out);
        }
        let is_seen = joined.is_none_or(|joined| self.table.watched().contains(&joined));
        self.tell_successors(if is_seen { SuccessorChange::Told { by } } else { SuccessorChange::Stabilized }, out);
    }

    /// Puts a peer into the lists, be it on a neighbour's (or the user's) word alone, and pings it if it is new there.
    /// A peer that stands `before` us does not follow the last successor for that: peers that we have yet to hear of
    /// may stand between.
    pub(super) fn take_in(&mut self, peer: Peer, before: bool, out: &mut Vec<Effect>) {
        if peer.id == self.me.id {
            return;
        }
        let peer = self.table.as_known(peer);
        let new = !self.table.is_neighbour(&peer.id);
        let ahead = self.table.add_successor(peer, !before);
        let behind = before && self.table.add_predecessor(peer);
        if ahead {
            self.early.clear(); // The list may end at another peer now.
        }
        if new && (ahead || behind) {
            out.push(Effect::PeerUp(peer));
            if !matches!(self.membership, Membership::Joining(_) | Membership::Outside)
                || !self.table.watched().contains(&peer)
            {
                self.greet(peer, self.telling_newcomers(), out);
            }
        }
    }

    /// The neighbour that a message is from; a stranger's word on neighbours counts nothing.
    pub(super) fn neighbour(&self, from: &Incoming) -> Option<Peer> {
        let sender = Self::member(from)?;
        self.table.get(&sender.id).filter(|known| *known == sender)
    }

    pub(super) fn is_fit(&self, peer: &Peer) -> bool {
        peer.id != self.me.id && peer.id.modulo_power_of_two(self.options.bits) == peer.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::overlay::{Asker, Cause, Overlay, RingOptions};
    use crate::wire::Sender;

    #[test]
    fn updates_in_a_classroom_neighbour_s_name_bring_it_few_questions_however_many_peers_they_name() {
        let peer = |id: u64| Peer::new(Id::from_u64(id), ([10, 0, 0, id as u8], 7000).into());
        let options = RingOptions::classroom(std::time::Duration::from_secs(10), Vec::new());
        let (mut ring, by, mut out) = (Ring::new(peer(9), options), peer(10), Vec::new());
        ring.fill(Time::ZERO, &[8, 9, 10, 14].map(peer));
        for magic in 0..200 {
            let from =
                Incoming { asker: Asker::connected(by.addr, magic), sender: Some(Sender::member(by.id, by.addr)) };
            let request = Request::Ring(RingRequest::Update { successors: Vec::new(), joined: Some(peer(20 + magic)) });
            ring.on(Time::ZERO, Cause::Request { from: &from, request: &request }, &mut out);
        }
        assert_eq!(out.iter().filter(|effect| matches!(effect, Effect::Ask { .. })).count(), UPDATES_AT_ONCE);
    }
}
