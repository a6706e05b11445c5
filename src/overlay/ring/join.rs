//! Entering the ring.
//!
//! A new peer sends `join` to any peer it knows; it is routed to the peer that will stand before the new one, which
//! takes it for its first successor and answers with its neighbours (Chord, ToN 2003, section IV-E1, figure 6; the
//! answer brings the successor list along). The next pings make every other peer right. What that peer does is
//! [`letting_in`](super::letting_in).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::neighbours::{RingNeighbours, RingPosition};
use super::router::{RouteNotice, SuccessorChange};
use super::{QuestionFor, Ring, RingVariant};
use crate::overlay::{Effect, Entrances, Target};
use crate::patience;
use crate::peer::Peer;
use crate::source::AddressScope;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::{RingRequest, RingResponse, Route, Routed};

/// Addresses that are asked at once for a way in.
const MAX_DOORS: usize = 16;

/// The longest pause between two knocks at a door that does not answer; the first takes a sixteenth of it.
const LONGEST_KNOCK: Duration = Duration::from_secs(160);

/// An address at which this peer may find another part of its ring.
pub(super) struct RejoinAddress {
    addr: SocketAddr,
    /// When it is knocked at next.
    due: Time,
    /// The pause after that.
    wait: Duration,
}

/// How far this peer has come.
#[derive(Default)]
pub(super) enum Membership {
    /// Not asked to join yet.
    #[default]
    Outside,
    /// Looking for a way in.
    Joining(Joining),
    /// In the ring, if only a ring of its own.
    Member,
    /// Out of it again: its goodbye is on its way.
    Left,
}

/// On the way in.
#[derive(Default)]
pub(super) struct Joining {
    /// Addresses that have not answered yet.
    hellos: usize,
    /// Peers that answered, not tried yet.
    doors: VecDeque<Peer>,
    /// A neighbour of one that did not answer our `join`.
    named: NamedDoor,
    /// The peer whose answer to our `join` is awaited.
    through: Option<Peer>,
    /// Peers that answered, and did not let this one in.
    shut: Vec<Peer>,
    /// Whether the node was told already that there is no network to join: this is another try.
    again: bool,
}

/// A peer that another one named, by which no way led in. More than one would keep a peer waiting that no answer can
/// reach.
#[derive(Default)]
enum NamedDoor {
    #[default]
    Unknown,
    Untried(Peer),
    Tried,
}

impl NamedDoor {
    /// The peer, if it was not tried yet; from now on it was.
    fn take(&mut self) -> Option<Peer> {
        let &mut Self::Untried(peer) = self else { return None };
        *self = Self::Tried;
        Some(peer)
    }
}

impl Membership {
    /// Whether the node still waits to hear that this peer is in.
    pub(super) fn is_pending(&self) -> bool {
        match self {
            Self::Outside => true,
            Self::Joining(joining) => !joining.again,
            Self::Member | Self::Left => false,
        }
    }
}

impl Ring {
    pub(super) fn start_joining(&mut self, now: Time, entrances: &Entrances<'_>, out: &mut Vec<Effect>) {
        let given = std::mem::take(&mut self.options.given);
        if !given.is_empty() {
            self.vitals.trust_given(now, &given);
            for peer in given {
                self.take_in(peer, false, out);
            }
            self.tell_successors(SuccessorChange::Given, out);
            return self.enter_ring(now, out);
        }
        let mut doors: Vec<SocketAddr> = Vec::new();
        let Entrances { known, remembered, .. } = entrances;
        for addr in known.iter().copied().chain(remembered.iter().map(|peer| peer.addr)) {
            if addr != self.me.addr && !doors.contains(&addr) && doors.len() < MAX_DOORS {
                doors.push(addr);
            }
        }
        self.bootstrap.clone_from(&doors);
        self.knock_at(now, doors, false, out);
    }

    /// A peer that is alone tries again: another one may be there now.
    pub(super) fn try_joining_again(&mut self, now: Time, out: &mut Vec<Effect>) {
        let (me, lost) = (self.me.addr, self.vitals.lost().map(|peer| peer.addr));
        let mut doors: Vec<SocketAddr> = Vec::new();
        for addr in self.heard_at.take().into_iter().chain(self.bootstrap.iter().copied()).chain(lost) {
            if addr != me && !doors.contains(&addr) && doors.len() < MAX_DOORS {
                doors.push(addr);
            }
        }
        if matches!(self.membership, Membership::Member) && !doors.is_empty() {
            self.knock_at(now, doors, true, out);
        }
    }

    /// Others reach this peer at another address from now on: a peer that is asked over others answers there. So a
    /// `join` may be let in that no peer could answer until now.
    pub(super) fn on_moved(&mut self, now: Time, addr: SocketAddr, out: &mut Vec<Effect>) {
        self.me.addr = addr;
        self.table.move_to(addr);
        if let Membership::Joining(Joining { through: Some(door), .. }) = self.membership {
            self.ask_to_join(door, false, out);
        } else if self.is_alone() {
            self.try_joining_again(now, out);
        } else if matches!(self.membership, Membership::Member) {
            self.tell_of_move(now, out);
        }
    }

    /// The names that the user gave lead to these addresses by now.
    pub(super) fn on_ways(&mut self, now: Time, known: &[SocketAddr], out: &mut Vec<Effect>) {
        let mut fresh: Vec<SocketAddr> = known.iter().copied().filter(|addr| !self.bootstrap.contains(addr)).collect();
        self.bootstrap.splice(0..0, fresh.iter().copied());
        self.bootstrap.truncate(MAX_DOORS);
        if self.is_alone() {
            return self.try_joining_again(now, out);
        }
        if let Membership::Joining(joining) = &mut self.membership {
            fresh.retain(|addr| *addr != self.me.addr);
            fresh.truncate(MAX_DOORS);
            joining.hellos += fresh.len();
            self.say_hello(&fresh, out);
        }
    }

    /// An unknown peer answers there, or speaks. A peer that is alone may join through it: both may have other
    /// addresses than before, and none that either had heard of.
    pub(super) fn hear_of_door(&mut self, addr: SocketAddr) {
        if self.is_alone() && !self.shut.iter().any(|peer| peer.addr == addr) {
            self.heard_at = Some(addr);
        }
    }

    /// Whether this peer is a ring of its own.
    fn is_alone(&self) -> bool {
        matches!(self.membership, Membership::Member) && self.table.others().next().is_none()
    }

    fn knock_at(&mut self, now: Time, doors: Vec<SocketAddr>, again: bool, out: &mut Vec<Effect>) {
        self.membership = Membership::Joining(Joining { hellos: doors.len(), again, ..Joining::default() });
        self.say_hello(&doors, out);
        if doors.is_empty() {
            self.enter_ring(now, out);
        }
    }

    /// Asks who is there, at addresses at which there may be a way in.
    fn say_hello(&mut self, doors: &[SocketAddr], out: &mut Vec<Effect>) {
        for &addr in doors {
            if self.options.guest {
                self.ask_for_neighbours(addr, out);
            } else {
                self.ask_plain(Target { id: None, addr }, Request::Ping, QuestionFor::Hello, patience::QUESTION, out);
            }
        }
    }

    /// Asks the peer at `addr` who it is, and who stands beside it. The ping names no neighbours of this peer, which is
    /// in no ring yet and must not be taken for one.
    fn ask_for_neighbours(&mut self, addr: SocketAddr, out: &mut Vec<Effect>) {
        let request = Request::Ring(RingNeighbours::NONE.ping(true));
        self.ask_plain(Target { id: None, addr }, request, QuestionFor::Hello, patience::QUESTION, out);
    }

    /// Knocks at the next of the doors that this peer did not come through. Peers that start at once may let one
    /// another in two by two: each is in a ring then, and none of them is whole. And a door that was closed may open
    /// late, when this peer has let others in.
    pub(super) fn knock_at_next_door(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.doors.retain(|door| self.table.at(&door.addr).is_none());
        let Some(door) = self.doors.iter_mut().filter(|door| door.due <= now).min_by_key(|door| door.due) else {
            return;
        };
        door.due = now + door.wait;
        door.wait = (2 * door.wait).min(LONGEST_KNOCK);
        let addr = door.addr;
        self.ask_plain(Target { id: None, addr }, Request::Ping, QuestionFor::Hello, patience::ONCE, out);
    }

    /// A peer answers at an address we know.
    pub(super) fn on_hello(&mut self, now: Time, peer: Peer, told: RingNeighbours<'_>, out: &mut Vec<Effect>) {
        if self.options.guest {
            // Beside whom the other bootstrap peers named, never in their place: one of them may lie.
            let named = told.successors.iter().chain(told.predecessors);
            let named = named.filter(|named| AddressScope::may_name(&peer.addr, &named.addr));
            std::iter::once(&peer).chain(named).for_each(|peer| self.table.add_finger(*peer));
            if self.membership.is_pending() {
                self.enter_ring(now, out);
            }
            return;
        }
        self.doors.retain(|door| door.addr != peer.addr);
        if matches!(self.membership, Membership::Member) && peer.id != self.me.id {
            self.ask_beside(peer, out);
        }
        if let Membership::Joining(joining) = &mut self.membership {
            joining.hellos = joining.hellos.saturating_sub(1);
            if peer.id == self.me.id {
                // Elsewhere it may be this peer itself, by another of its addresses: see `twin`.
                if self.options.variant == RingVariant::Classroom {
                    let reason = format!("the id of this peer is taken by {}", peer.addr);
                    Self::notice(RouteNotice::JoinRefused { reason }, out);
                }
                let suspect = self.twins.suspect(now, &self.me, &[peer]);
                self.ask_twin(suspect, out);
            } else if joining.shut.contains(&peer) {
                let me = self.me.id;
                let may_name = |named: &&Peer| named.id != me && AddressScope::may_name(&peer.addr, &named.addr);
                let mut named = told.successors.iter().chain(told.predecessors).filter(may_name);
                if let (NamedDoor::Unknown, Some(&door)) =
                    (&joining.named, named.find(|named| !joining.shut.contains(named)))
                {
                    joining.named = NamedDoor::Untried(door);
                }
            } else {
                joining.doors.push_back(peer);
            }
            self.knock(now, out);
        }
    }

    /// No peer answers at an address we know.
    pub(super) fn on_no_hello(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Membership::Joining(joining) = &mut self.membership {
            joining.hellos = joining.hellos.saturating_sub(1);
            self.knock(now, out);
        }
    }

    /// Asks the next peer for a way in, or gives up for now if there is none.
    fn knock(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Membership::Joining(joining) = &mut self.membership else { return };
        if joining.through.is_some() {
            return;
        }
        match joining.doors.pop_front().or_else(|| joining.named.take()) {
            Some(door) => {
                joining.through = Some(door);
                self.ask_to_join(door, false, out);
            }
            None if joining.hellos == 0 => self.enter_ring(now, out),
            None => {}
        }
    }

    /// This peer is in already: asks whether that door leads to another part of the ring, or to one of its own.
    fn ask_beside(&mut self, door: Peer, out: &mut Vec<Effect>) {
        if !self.table.is_neighbour(&door.id) {
            self.ask_to_join(door, true, out);
        }
    }

    /// Asks for a way in; `quiet`, if it may be that this peer was never out.
    pub(super) fn ask_to_join(&mut self, through: Peer, quiet: bool, out: &mut Vec<Effect>) {
        let route = Route { quiet, ..Route::of(self.me) };
        self.ask(through, RingRequest::Routed { route, what: Routed::Join }, QuestionFor::Join, out);
    }

    /// A `join` of ours was answered by the peer that will stand before us.
    pub(super) fn on_join_answer(
        &mut self,
        now: Time,
        from: SocketAddr,
        response: &RingResponse,
        out: &mut Vec<Effect>,
    ) {
        match response {
            RingResponse::Welcome { predecessors, successors } => {
                // The first predecessor is the peer that answered: the address that the answer really came from counts,
                // not the one it gives.
                let before = predecessors.iter().enumerate();
                let before = before.map(|(at, peer)| if at == 0 { Peer::new(peer.id, from) } else { *peer });
                let may_name = |peer: &&Peer| AddressScope::may_name(&from, &peer.addr);
                let before: Vec<Peer> = before.filter(|peer| may_name(&peer)).collect();
                let successors: Vec<Peer> = successors.iter().filter(may_name).copied().collect();
                if matches!(self.membership, Membership::Joining(_)) {
                    for &peer in &successors {
                        self.take_in(peer, false, out);
                    }
                    for &peer in &before {
                        self.take_in(peer, true, out);
                    }
                    self.tell_successors(SuccessorChange::Welcomed, out);
                    self.tell_predecessors(out);
                    return self.enter_ring(now, out);
                }
                // In a ring already: this was another part of a network that was cut, or of one that was never one.
                for &peer in &successors {
                    self.consider(peer, RingPosition::AFTER, out);
                }
                for &peer in &before {
                    self.consider(peer, RingPosition::BEFORE, out);
                }
            }
            RingResponse::Refused { reason, .. } => {
                if let Membership::Joining(Joining { again, .. }) = self.membership {
                    self.ask_for_namesakes(from, out);
                    // The classroom's user may still wait for a peer that is started late.
                    if !again || self.options.variant == RingVariant::Classroom {
                        Self::notice(RouteNotice::JoinRefused { reason: reason.clone() }, out);
                    }
                }
                self.on_no_way_in(now, out);
            }
            _ => self.on_no_way_in(now, out),
        }
    }

    /// A `join` of ours was not answered, or by what is no answer to it. It may be that no connection reaches the peer
    /// that it went through, which answered a datagram: a neighbour of that one may let this peer in.
    pub(super) fn on_unanswered_join(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Membership::Joining(Joining { through: Some(door), named: NamedDoor::Unknown, hellos, .. }) =
            &mut self.membership
        {
            let addr = door.addr;
            *hellos += 1;
            self.ask_for_neighbours(addr, out);
        }
        self.on_no_way_in(now, out);
    }

    /// A `join` of ours led nowhere.
    fn on_no_way_in(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Membership::Joining(joining) = &mut self.membership {
            joining.shut.extend(joining.through.take());
            self.knock(now, out);
        }
    }

    /// This peer is in, or alone.
    fn enter_ring(&mut self, now: Time, out: &mut Vec<Effect>) {
        let first_time = self.membership.is_pending();
        let mut untried = VecDeque::new();
        if let Membership::Joining(joining) = std::mem::replace(&mut self.membership, Membership::Member) {
            (self.shut, untried) = (joining.shut, joining.doors);
        }
        if !self.options.guest {
            self.round(now, out);
            self.start_fixing_fingers(out);
        }
        if first_time {
            let wait = LONGEST_KNOCK / 16;
            let left = self.bootstrap.iter().filter(|addr| !untried.iter().any(|door| door.addr == **addr));
            self.doors = left.map(|&addr| RejoinAddress { addr, due: now, wait }).collect();
            let peers = self.table.others().count();
            out.push(Effect::Joined { peers, shut_out: if peers == 0 { self.shut.len() } else { 0 } });
            self.start_waiting_searches(now, out);
        }
        // As those that answer from now on.
        untried.into_iter().for_each(|door| self.ask_beside(door, out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::overlay::ring::RingOptions;
    use crate::overlay::{Cause, Goal, Overlay, Tag};
    use crate::wire::Response;

    fn peer(id: u64) -> Peer {
        Peer::new(Id::from_u64(id), ([10, 0, 0, id as u8], 7000).into())
    }

    /// The question among these effects.
    fn question(out: &[Effect]) -> Tag {
        let asked = |effect: &Effect| if let Effect::Ask { tag, .. } = effect { Some(*tag) } else { None };
        out.iter().find_map(asked).expect("a question")
    }

    fn unreached(ring: &mut Ring) -> Vec<Peer> {
        let mut out = Vec::new();
        ring.lookup(Time::ZERO, 1, Id::from_u64(9), Goal::Peers, &mut out);
        let [Effect::Found { found, .. }] = &out[..] else { panic!("{out:?}") };
        found.unreached.clone()
    }

    #[test]
    fn a_guest_knows_whom_each_of_its_bootstrap_peers_names_whoever_answers_last() {
        let mut ring = Ring::new(peer(1), RingOptions { guest: true, ..RingOptions::default() });
        let (told, mut out) = ([10, 30, 50].map(|first| [0, 1, 2].map(|n| peer(first + n))), Vec::new());
        for [first, successors @ ..] in &told {
            ring.on_hello(Time::ZERO, *first, RingNeighbours { predecessors: &[*first], successors }, &mut out);
        }
        let known: Vec<Peer> = ring.table.others().collect();
        assert_eq!(known, told.concat());
    }

    #[test]
    fn no_bootstrap_peer_of_the_open_internet_names_peers_of_this_machine_or_its_network() {
        let far = Peer::new(Id::from_u64(5), ([93, 184, 216, 34], 7000).into());
        let told = [peer(20), Peer::new(Id::from_u64(30), ([127, 0, 0, 1], 22).into())];
        for guest in [true, false] {
            let mut ring = Ring::new(peer(1), RingOptions { guest, ..RingOptions::default() });
            let mut out = Vec::new();
            if guest {
                let neighbours = RingNeighbours { predecessors: &[far], successors: &told };
                ring.on_hello(Time::ZERO, far, neighbours, &mut out);
            } else {
                ring.join(Time::ZERO, &Entrances { known: &[far.addr], hosts: &[], remembered: &[] }, &mut out);
                let welcome = RingResponse::Welcome { predecessors: vec![far], successors: told.to_vec() };
                ring.on_join_answer(Time::ZERO, far.addr, &welcome, &mut out);
            }
            assert_eq!(ring.table.others().collect::<Vec<_>>(), [far], "guest {guest}");
        }
    }

    #[test]
    fn an_address_that_a_name_leads_to_by_now_is_tried_at_once_while_this_peer_is_still_joining() {
        let (dead, late) = (peer(2), peer(3));
        let mut ring = Ring::new(peer(1), RingOptions::default());
        let (mut out, mut next) = (Vec::new(), Vec::new());
        ring.join(Time::ZERO, &Entrances { known: &[dead.addr], ..Entrances::default() }, &mut out);
        let ways = Entrances { known: &[dead.addr, late.addr], ..Entrances::default() };
        ring.on(Time::ZERO, Cause::Ways(&ways), &mut next);
        let [Effect::Ask { to, tag, .. }] = next[..] else { panic!("{next:?}") };
        assert_eq!(to.addr, late.addr);
        let no_answer = Cause::NoAnswer { tag: question(&out), to: Target { id: None, addr: dead.addr } };
        next.clear();
        ring.on(Time::ZERO, no_answer, &mut next);
        assert_eq!(next, [], "the other may answer yet");
        let response = Response::Node(late);
        ring.on(Time::ZERO, Cause::Answer { tag, from: late.addr, by: Some(late), response: &response }, &mut next);
        let join = |effect: &Effect| matches!(effect, Effect::Ask { to, .. } if *to == late.into());
        assert!(next.iter().any(join), "{next:?}");
    }

    #[test]
    fn a_door_that_answers_and_does_not_let_this_peer_in_counts_as_a_peer_that_cannot_be_reached() {
        let (me, door) = (peer(1), peer(2));
        for answers in [true, false] {
            let mut ring = Ring::new(me, RingOptions::default());
            let (mut out, known) = (Vec::new(), [door.addr]);
            ring.join(Time::ZERO, &Entrances { known: &known, hosts: &[], remembered: &[] }, &mut out);
            let (tag, to, mut next) = (question(&out), Target { id: None, addr: door.addr }, Vec::new());
            if answers {
                let response = Response::Node(door);
                ring.on(
                    Time::ZERO,
                    Cause::Answer { tag, from: door.addr, by: Some(door), response: &response },
                    &mut next,
                );
                let (tag, to) = (question(&next), door.into());
                next.clear();
                ring.on(Time::ZERO, Cause::NoAnswer { tag, to }, &mut next);
                // Nor does it name a neighbour that would.
                let tag = question(&next);
                ring.on(Time::ZERO, Cause::NoAnswer { tag, to: Target { id: None, addr: door.addr } }, &mut next);
            } else {
                ring.on(Time::ZERO, Cause::NoAnswer { tag, to }, &mut next);
            }
            let shut_out = usize::from(answers);
            assert!(next.contains(&Effect::Joined { peers: 0, shut_out }), "{next:?}");
            assert_eq!(unreached(&mut ring), [door].into_iter().take(shut_out).collect::<Vec<_>>());
        }
    }
}
