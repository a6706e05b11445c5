//! Which peers become contacts, which wait for a place, and which lose it (sections 2.2 and 4.1).

use std::net::SocketAddr;
use std::time::Duration;

use super::bucket::Contact;
use super::candidates::Candidate;
use super::lookup::{Name, ShortlistEvent};
use super::suspects::Suspicion;
use super::table::Entered;
use super::{K, Kademlia, QuestionPurpose};
use crate::config::{AMPLIFICATION, BRIEF_QUESTION_BYTES_IPV4, PING_BYTES, QUESTION_BYTES_IPV4, WIDTH, told_within};
use crate::overlay::{Effect, Incoming, Late};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, RequestKind};

/// A contact that answered this recently need not be pinged to keep its place from a newcomer.
const KEEPS_PLACE_FOR: Duration = Duration::from_secs(30);

/// A peer that asks us often and found no place is weighed this seldom: each time costs a look at the whole table.
const ASKED: Duration = Duration::from_secs(10);

/// What a stranger may be answered for a question that is no longer than it must be: an answer with [`WIDTH`] peers, a
/// ping to it beside or in it. Where addresses are longer, questions are too.
const fn whole_answer(recalls: bool) -> usize {
    let question = if recalls { BRIEF_QUESTION_BYTES_IPV4 } else { QUESTION_BYTES_IPV4 };
    told_within(question * AMPLIFICATION - PING_BYTES)
}

/// What a peer that was heard of may do to get a place in a full bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bid {
    /// Nothing: it was only named.
    Nothing,
    /// Wait until one becomes free. That is all a ping is good for: if it made us ping the contact that stands first,
    /// and that made it ping another in turn, then pings would wander through a large network for ever.
    Wait,
    /// Have the contact that stands first show that it lives.
    Contest,
}

impl Kademlia {
    /// A request came. Its sender is a claim, so all it makes is a candidate.
    pub(super) fn on_stranger(&mut self, now: Time, from: &Incoming, request: &Request, out: &mut Vec<Effect>) {
        let Some(sender) = from.sender else { return };
        let peer = Peer::new(sender.peer.id, from.asker.addr);
        if self.table.contact(&peer).is_some() {
            if sender.leaving {
                self.on_departure(now, &peer, out);
            } else if from.asker.is_validated() {
                return;
            }
        }
        if sender.leaving {
            self.table.forget_spare(&peer.id);
        } else if self.has_to_prove(from, request) {
            if is_reachable(&peer.addr) {
                self.candidates.offer(Candidate { peer, enters: !sender.guest, is_named: false });
            }
        } else if !sender.guest && !self.acquaintances.knows(now, &peer, ASKED) {
            let claim = if request.kind() == RequestKind::Ping { Bid::Wait } else { Bid::Contest };
            self.hear_of(now, peer, claim, out);
        }
        self.ping_candidates(now, out);
    }

    /// Whether a stranger has to show that it receives, though it may have no place in the table. A question that paid
    /// for its whole answer needs no proof, but for one: among the peers nearest to the key, a peer that asks for them
    /// is about to offer them a block, and no peer pulls from a stranger.
    fn has_to_prove(&self, from: &Incoming, request: &Request) -> bool {
        if from.asker.is_validated() {
            return false;
        }
        let has_paid = from.asker.has_paid_for(whole_answer(from.sender.is_some_and(|sender| sender.recalls)));
        match request {
            Request::Ping => from.sender.is_some_and(|sender| sender.guest),
            Request::FindValue { .. } if has_paid => false,
            Request::FindNode { id: key } if has_paid => {
                let distance = self.me.id.distance(key);
                let nearest = self.table.nearest(key, WIDTH, Contact::is_sound);
                nearest.iter().filter(|peer| peer.id.distance(key) < distance).count() < WIDTH
            }
            _ => true,
        }
    }

    /// A contact says goodbye, or another peer does in its name. It is pinged, more than once, for a datagram may get
    /// lost; meanwhile no lookup waits for it, and no peer is sent to it.
    fn on_departure(&mut self, now: Time, peer: &Peer, out: &mut Vec<Effect>) {
        if self.said_goodbye(peer) {
            return;
        }
        self.suspects.suspect(now, peer.addr, Suspicion::Late);
        if let Some(contact) = self.table.get_mut(&peer.id) {
            contact.failures = contact.failures.max(1);
        }
        self.ask(
            (*peer).into(),
            Request::Ping,
            self.tries_of_departure(),
            QuestionPurpose::Leaving { peer: *peer },
            out,
        );
        self.on_met_by_all(now, &peer.addr, ShortlistEvent::Late(Late::Doubtful), out);
    }

    /// Whether a contact has, or another peer in its name, and has yet to answer the ping about that.
    fn said_goodbye(&self, peer: &Peer) -> bool {
        let is_it = |of: &QuestionPurpose| matches!(of, QuestionPurpose::Leaving { peer: other } if other == peer);
        self.asked.values().any(is_it)
    }

    /// A contact that said goodbye does not answer any more: it has left, unless something else was heard from there.
    pub(super) fn on_left(&mut self, now: Time, peer: &Peer, out: &mut Vec<Effect>) {
        if self.table.contact(peer).is_some() && self.suspects.get(now, &peer.addr).is_some() {
            // It is missed nowhere: a lookup would count it among those that are there and silent.
            self.on_met_by_all(now, &peer.addr, ShortlistEvent::Void, out);
            self.remove(now, peer, true, out);
            self.lost.excuse(&peer.addr);
            self.on_goodbye(now, peer, out);
        }
    }

    /// It was heard that there is this peer. Where there is no place for it, it does what its claim allows.
    pub(super) fn hear_of(&mut self, now: Time, peer: Peer, claim: Bid, out: &mut Vec<Effect>) {
        if !self.candidates.has_place(&peer.addr) || !self.may_enter(&peer) || self.table.contact(&peer).is_some() {
            return;
        }
        if claim == Bid::Nothing && self.watch.is_buried(now, &peer) {
            return;
        }
        // A peer that answers at a contact's address under another id tells of that contact's end.
        let displaces = self.table.at(&peer.addr).is_some();
        if displaces || self.has_use_for(&peer, claim) && self.table.get(&peer.id).is_none() {
            self.candidates.offer(Candidate { peer, enters: true, is_named: claim == Bid::Nothing });
        } else if claim != Bid::Nothing
            && let Some(first) = self.table.wait(&peer)
        {
            self.challenge(now, first, &peer, claim, out);
        }
    }

    /// Whether a peer would be worth the ping. A peer that asked us something costs no more; of others a few in each
    /// bucket will do, but for those near to us.
    fn has_use_for(&self, peer: &Peer, claim: Bid) -> bool {
        let few = self.table.bucket(self.table.index_of(&peer.id)).is_none_or(|bucket| bucket.contacts().len() < WIDTH);
        self.table.has_room(&peer.id)
            && self.table.crowd(peer).is_none()
            && (few || claim == Bid::Contest || self.is_among(K, &self.me, &peer.id))
    }

    fn may_enter(&self, peer: &Peer) -> bool {
        peer.id != self.me.id && peer.addr != self.me.addr && is_reachable(&peer.addr)
    }

    /// A newcomer wants the place of `holder`, who keeps it if it lives (section 2.2).
    fn challenge(&mut self, now: Time, holder: Peer, newcomer: &Peer, claim: Bid, out: &mut Vec<Effect>) {
        let silent = |contact: &Contact| contact.silence(now) >= KEEPS_PLACE_FOR;
        if claim == Bid::Contest && self.table.contact(&holder).is_some_and(silent) || holder.id == newcomer.id {
            self.check_contact(&holder, patience::ONCE, out);
        }
    }

    /// A peer answered a request of ours at this address and named itself: it is what it says. It enters, if there is a
    /// place.
    pub(super) fn confirm(&mut self, now: Time, peer: Peer, claim: Bid, out: &mut Vec<Effect>) {
        if !self.may_enter(&peer) {
            return;
        }
        if let Some(before) = self.table.at(&peer.addr).map(Contact::peer).filter(|before| before.id != peer.id) {
            self.displace(now, &before, &peer, out);
        }
        self.watch.dig_up(&peer);
        match self.table.enter(now, peer) {
            Entered::New => {
                self.acquaintances.forget(&peer.addr);
                out.push(Effect::PeerUp(peer));
                let was_lost = self.lost.found(&peer);
                self.on_peer_up(now, &peer, was_lost);
            }
            Entered::Known => {}
            Entered::Waits(first) => {
                self.acquaintances.meet(now, &peer);
                self.challenge(now, first, &peer, claim, out);
            }
        }
    }

    /// Another peer answers where a contact was, so that contact is gone. A lookup that asked the one has asked the
    /// other.
    fn displace(&mut self, now: Time, before: &Peer, peer: &Peer, out: &mut Vec<Effect>) {
        self.table.remove(&before.id);
        out.push(Effect::PeerDown(*before));
        let names: Vec<Name> = self.lookups.keys().copied().collect();
        for name in names {
            self.on_identified(now, name, peer, out);
        }
        self.promote(now, before);
    }

    /// Takes a contact out of the table. A contact that went `silent` is remembered, for it may come back.
    fn remove(&mut self, now: Time, peer: &Peer, silent: bool, out: &mut Vec<Effect>) {
        if self.table.remove(&peer.id).is_none() {
            return;
        }
        out.push(Effect::PeerDown(*peer));
        if silent {
            self.lost.remember(now, *peer);
        }
        self.note_change(now, peer);
        // No lookup waits for it any longer, nor misses it if it left.
        let event = if self.said_goodbye(peer) { ShortlistEvent::Void } else { ShortlistEvent::Failed };
        self.on_met_by_all(now, &peer.addr, event, out);
        self.promote(now, peer);
    }

    /// Gives the latest spare its chance at the place beside `peer`.
    fn promote(&mut self, now: Time, peer: &Peer) {
        while let Some(spare) = self.table.take_spare(&peer.id) {
            if !self.watch.is_buried(now, &spare) {
                return self.candidates.offer_urgently(Candidate { peer: spare, enters: true, is_named: true });
            }
        }
    }

    /// A contact left a request without an answer. It is pinged at once; until it answers no peer is sent to it.
    pub(super) fn doubt(&mut self, peer: &Peer, out: &mut Vec<Effect>) {
        let Some(contact) = self.table.get_mut(&peer.id).filter(|contact| contact.is(peer)) else { return };
        contact.failures = contact.failures.max(1);
        self.check_contact(peer, patience::CHECK, out);
    }

    /// Pings a contact, unless that is going on.
    pub(super) fn check_contact(&mut self, peer: &Peer, tries: u8, out: &mut Vec<Effect>) {
        self.check_contact_by(peer, Request::Ping, tries, out);
    }

    /// [`check_contact`](Self::check_contact), with a ping that may tell something besides.
    pub(super) fn check_contact_by(&mut self, peer: &Peer, ping: Request, tries: u8, out: &mut Vec<Effect>) {
        let Some(contact) = self.table.get_mut(&peer.id).filter(|contact| contact.is(peer)) else { return };
        if !contact.checking {
            contact.checking = true;
            let again = contact.failures > 0;
            self.ask((*peer).into(), ping, tries, QuestionPurpose::Check { peer: *peer, again }, out);
        }
    }

    /// Something answered at the address of a contact that was pinged.
    pub(super) fn on_checked(&mut self, now: Time, peer: Peer, named: Option<Peer>, out: &mut Vec<Effect>) {
        if let Some(contact) = self.table.get_mut(&peer.id).filter(|contact| contact.is(&peer)) {
            contact.checking = false;
        }
        match named {
            Some(named) if self.may_enter(&named) => self.confirm(now, named, Bid::Contest, out),
            // What answers names no peer, or us.
            _ => self.remove(now, &peer, false, out),
        }
    }

    /// A contact did not answer a ping, the first one or one that asked it `again`. Another question that it left
    /// without an answer meanwhile may have been lost by chance, as that ping was: it does not stand for the second.
    pub(super) fn on_check_failed(&mut self, now: Time, peer: &Peer, again: bool, out: &mut Vec<Effect>) {
        let Some(contact) = self.table.get_mut(&peer.id).filter(|contact| contact.is(peer)) else { return };
        contact.checking = false;
        contact.failures = if again { contact.failures.saturating_add(1) } else { 1 };
        let failures = contact.failures;
        match self.next_tries(now, peer, failures) {
            Some(tries) => self.check_contact(peer, tries, out),
            // A guest that hears no peer is cut off itself, or most gets lost: whom should it ask then?
            None if self.guest && self.table.len() == 1 => self.check_contact(peer, patience::CHECK, out),
            None => {
                self.remove(now, peer, true, out);
                self.on_death(now, peer, out);
            }
        }
    }

    /// The ping to a candidate is over; `named` is who answered and may enter.
    pub(super) fn on_candidate(&mut self, now: Time, peer: Peer, named: Option<Peer>, out: &mut Vec<Effect>) {
        self.candidates.done(&peer.addr);
        match named {
            Some(named) => self.confirm(now, named, Bid::Wait, out),
            None => self.promote(now, &peer),
        }
    }

    /// Pings as many candidates as the rate allows.
    pub(super) fn ping_candidates(&mut self, now: Time, out: &mut Vec<Effect>) {
        while let Some(Candidate { peer, enters, .. }) = self.candidates.next(now) {
            self.ask(peer.into(), Request::Ping, patience::ONCE, QuestionPurpose::Candidate { peer, enters }, out);
        }
    }
}

/// Whether datagrams to this address can reach one peer.
pub(super) fn is_reachable(addr: &SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let broadcast = matches!(ip, std::net::IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::overlay::{Asker, Cause, Overlay};
    use crate::wire::{Sender, Via};

    #[test]
    fn a_stranger_without_a_place_is_pinged_where_it_may_offer_a_block_or_did_not_pay_for_its_answer() {
        // All others differ from this peer in the first bit, so that their bucket is full.
        let far = |n: u16| {
            let mut id = *Id::of(&n.to_be_bytes()).as_bytes();
            id[0] |= 0x80;
            Peer::new(Id::from_bytes(id), SocketAddr::from(([10, 0, 0, 1], n)))
        };
        let me = Peer::new(Id::ZERO, SocketAddr::from(([10, 0, 0, 1], 1)));
        let mut kademlia = Kademlia::new(me, [1; 32], false);
        let contacts: Vec<Peer> = (2..100).map(far).collect();
        kademlia.fill(Time::ZERO, &contacts);
        assert!(!kademlia.table.has_room(&far(200).id));
        let mut stranger = 200;
        let mut pings = |request: Request, allowance: usize, guest: bool, recalls: bool| {
            stranger += 1;
            let Peer { id, addr } = far(stranger);
            let asker =
                Asker { addr, via: Via::Udp, magic: 1, allowance: Some(allowance), datagrams: false, recalls: None };
            let sender = Sender { guest, recalls, ..Sender::member(id, addr) };
            let mut out = Vec::new();
            let from = Incoming { asker, sender: Some(sender) };
            kademlia.on(Time::ZERO, Cause::Request { from: &from, request: &request }, &mut out);
            let pings = out.iter().filter(|effect| matches!(effect, Effect::Ask { to, .. } if to.addr == addr)).count();
            let Some(Effect::Respond { to, .. }) = out.last() else { panic!("{out:?}") };
            assert_eq!(to.allowance > Some(allowance), pings == 0, "what no ping takes is the answer's");
            pings
        };
        let (near, away) = (me.id, contacts[0].id);
        for (guest, recalls) in [(false, false), (true, false), (false, true), (true, true)] {
            let whole = whole_answer(recalls);
            for (request, allowance, expected) in [
                (Request::FindNode { id: away }, whole, 0),
                (Request::FindValue { key: away }, whole, 0),
                (Request::FindValue { key: near }, whole, 0),
                (Request::FindNode { id: near }, whole, 1),
                (Request::FindNode { id: away }, whole - 1, 1),
                (Request::FindValue { key: away }, whole - 1, 1),
            ] {
                let pings = pings(request.clone(), allowance, guest, recalls);
                assert_eq!(pings, expected, "{request:?} {allowance} {guest} {recalls}");
            }
        }
    }

    #[test]
    fn a_ping_and_a_question_that_get_lost_together_are_no_verdict_but_a_second_ping_without_an_answer_is() {
        let peer = |n: u16| Peer::new(Id::of(&n.to_be_bytes()), SocketAddr::from(([10, 0, 0, 1], n)));
        let (mut kademlia, mut out) = (Kademlia::new(peer(1), [1; 32], false), Vec::new());
        kademlia.fill(Time::ZERO, &[2, 3, 4].map(peer));
        let ward = peer(2);
        kademlia.check_contact(&ward, patience::ONCE, &mut out);
        let request = Request::FindNode { id: kademlia.me.id };
        kademlia.ask(ward.into(), request, patience::ONCE, QuestionPurpose::Neighbours { peer: ward }, &mut out);
        let asked = |out: &mut Vec<Effect>| -> Vec<_> {
            let tries = |effect| match effect {
                Effect::Ask { to, tag, tries, .. } if to.addr == ward.addr => Some((tag, tries)),
                _ => None,
            };
            std::mem::take(out).into_iter().filter_map(tries).collect()
        };
        for (tag, _) in asked(&mut out).into_iter().rev() {
            kademlia.on(Time::ZERO, Cause::NoAnswer { tag, to: ward.into() }, &mut out);
        }
        let again = asked(&mut out);
        assert_eq!(again.iter().map(|(_, tries)| *tries).collect::<Vec<_>>(), [patience::CHECK]);
        assert!(kademlia.table.contact(&ward).is_some(), "each of two datagrams was lost");
        kademlia.on(Time::ZERO, Cause::NoAnswer { tag: again[0].0, to: ward.into() }, &mut out);
        assert!(kademlia.table.contact(&ward).is_none());
    }
}
