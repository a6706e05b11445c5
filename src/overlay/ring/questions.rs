//! Questions that are out: why each was asked, and so who gets its answer, or hears that there is none.

use std::net::SocketAddr;

use super::Ring;
use super::hop::Sent;
use super::members::Missed;
use super::neighbours::{Neighbours, Place};
use super::relay::Relay;
use super::router::RouteOutcome;
use super::stabilize::{Ping, Role};
use crate::id::Id;
use crate::overlay::{Effect, LookupId, Tag, Target};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingRequest, RingResponse, Routed};
use crate::wire::{Request, Response};

/// Why a question was asked: who gets its answer.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// Does a peer answer at this address, so that we can join through it?
    Hello,
    /// Let me in.
    Join,
    /// Is the origin of this `join` where it says? The user hears of the request if it came for the `first_time`.
    Proof { relay: Relay, first_time: bool },
    /// Has this neighbour left, as it, or somebody in its name, has said?
    Farewell(Peer),
    /// Is this peer alive, and who are its neighbours?
    Ping(Ping),
    /// Where does this search's key lead?
    Search(LookupId),
    /// Is the next hop there, to which this lookup was sent?
    Hop { to: SocketAddr, sent: Sent },
    /// Does this peer hold the search's block?
    Value { lookup: LookupId, peer: Peer },
    /// What does the peer answer that is responsible for this peer's own request?
    Routed { lookup: LookupId, what: Routed, to: SocketAddr, tried: Vec<SocketAddr> },
    /// Who is the successor of this finger's start?
    Finger(usize),
    /// The request tells the other peer something; its answer tells nothing.
    Tell,
}

impl Why {
    /// The node's lookup that the question was asked for.
    const fn lookup(&self) -> Option<LookupId> {
        match self {
            Self::Search(lookup) | Self::Value { lookup, .. } | Self::Routed { lookup, .. } => Some(*lookup),
            _ => None,
        }
    }

    /// The peer that is pinged because others spoke of it, or it for itself.
    pub(super) const fn probed(&self) -> Option<&Peer> {
        match self {
            Self::Ping(Ping { peer, role: Role::Probe(_) | Role::Meet(_), .. }) => Some(peer),
            _ => None,
        }
    }

    /// Where the peer `id` stands, if it is the one that is [probed](Self::probed).
    pub(super) fn place_of(&mut self, id: &Id) -> Option<&mut Place> {
        match self {
            Self::Ping(Ping { peer, role: Role::Probe(place) | Role::Meet(place), .. }) if peer.id == *id => {
                Some(place)
            }
            _ => None,
        }
    }
}

impl Ring {
    /// Asks a question of the ring's. A routed one is answered by the peer that it reaches.
    pub(super) fn ask(&mut self, to: impl Into<Target>, request: RingRequest, why: Why, out: &mut Vec<Effect>) {
        let from_anyone = matches!(request, RingRequest::Routed { .. });
        let tries = match why {
            Why::Tell => patience::ONCE,
            Why::Search(_) | Why::Join => patience::SEARCH,
            _ => patience::QUESTION,
        };
        self.ask_plain(to.into(), Request::Ring(request), why, from_anyone, tries, out);
    }

    /// Asks as [`ask`](Self::ask) does, in whatever words.
    pub(super) fn ask_plain(
        &mut self,
        to: Target,
        request: Request,
        why: Why,
        from_anyone: bool,
        tries: u8,
        out: &mut Vec<Effect>,
    ) {
        let tag = self.next_tag;
        self.next_tag += 1;
        let lookup = why.lookup();
        self.asked.insert(tag, why);
        out.push(Effect::Ask { to, request, tag, tries, from_anyone, lookup });
    }

    /// A question has its answer.
    pub(super) fn on_answer(
        &mut self,
        now: Time,
        why: Why,
        (from, by): (SocketAddr, Option<Peer>),
        response: &Response,
        out: &mut Vec<Effect>,
    ) {
        match (why, response) {
            (Why::Hello, Response::Ring(RingResponse::Pong { peer, predecessors, successors })) => {
                self.on_hello(now, Peer::new(peer.id, from), Neighbours { predecessors, successors }, out);
            }
            (Why::Hello, Response::Node(peer)) => {
                self.on_hello(now, Peer::new(peer.id, from), Neighbours::NONE, out);
            }
            (Why::Join, Response::Ring(response)) => self.on_join_answer(now, from, response, out),
            (
                Why::Proof { relay, first_time },
                Response::Node(peer) | Response::Ring(RingResponse::Pong { peer, .. }),
            ) if peer.id == relay.route.origin.id => self.on_proven(now, relay, first_time, out),
            (Why::Farewell(peer), Response::Node(by) | Response::Ring(RingResponse::Pong { peer: by, .. })) => {
                self.on_farewell_answered(now, peer, &by.id, out);
            }
            (Why::Ping(ping), Response::Ring(RingResponse::Pong { peer, predecessors, successors })) => {
                if peer.id == ping.peer.id {
                    self.on_pong(now, ping, Neighbours { predecessors, successors }, out);
                } else {
                    // Another peer has that address now.
                    self.bury(now, ping.peer, out);
                }
            }
            (Why::Ping(ping), Response::Node(peer)) if peer.id == ping.peer.id => {
                self.on_pong(now, ping, Neighbours::NONE, out);
            }
            (Why::Ping(ping), Response::Node(_)) => self.bury(now, ping.peer, out),
            (Why::Ping(_), _) => {}
            (Why::Search(lookup), Response::Ring(RingResponse::Owner { peers, hops })) => {
                self.on_owner(lookup, peers, u32::from(*hops) + 1, out);
            }
            (Why::Search(lookup), _) => self.search_on(now, lookup, out),
            (Why::Value { lookup, peer }, response) => {
                self.on_value(lookup, peer, matches!(response, Response::Node(_)), out);
            }
            (Why::Routed { lookup, .. }, Response::Ring(response)) => {
                let outcome = RouteOutcome::Answered { from, by, response: response.clone() };
                Self::settled(lookup, outcome, out);
            }
            (Why::Routed { lookup, .. }, _) => {
                Self::settled(lookup, RouteOutcome::Lost, out);
            }
            (Why::Finger(number), Response::Ring(RingResponse::Owner { peers, .. })) => {
                self.on_finger(number, from, peers, out);
            }
            (Why::Hello, _) => self.on_no_hello(now, out),
            (Why::Join, _) => self.on_no_way_in(now, out),
            (Why::Finger(_), _) => self.go_on_fixing_fingers(out),
            (Why::Farewell(peer), _) => drop(self.farewells.remove(&peer.id)),
            (Why::Hop { .. } | Why::Proof { .. } | Why::Tell, _) => {}
        }
    }

    /// The answer to a question is late: what waits for it goes on without, and it counts all the same.
    pub(super) fn on_late(&mut self, now: Time, tag: Tag, doubtful: bool, out: &mut Vec<Effect>) {
        match self.asked.get(&tag) {
            Some(&Why::Hop { to, sent }) if doubtful => {
                self.asked.insert(tag, Why::Tell);
                self.on_silent_hop(now, to, sent, out);
            }
            Some(&Why::Value { lookup, peer }) => {
                let how = if doubtful { Missed::Doubtful } else { Missed::Overdue };
                self.on_no_value(lookup, peer, how, out);
            }
            _ => {}
        }
    }

    /// A question has no answer, however often it was asked.
    pub(super) fn on_no_answer(&mut self, now: Time, why: Why, to: Target, out: &mut Vec<Effect>) {
        if !matches!(why, Why::Ping(_) | Why::Farewell(_))
            && let Some(peer) = self.table.at(&to.addr)
        {
            self.check_on(peer, out);
        }
        match why {
            Why::Hello => self.on_no_hello(now, out),
            Why::Join => self.on_no_way_in(now, out),
            Why::Farewell(peer) => {
                self.on_departed(now, peer, out);
            }
            Why::Ping(ping) => self.on_missed(now, ping, out),
            Why::Search(lookup) => self.search_on(now, lookup, out),
            Why::Hop { to, sent } => self.on_silent_hop(now, to, sent, out),
            Why::Value { lookup, peer } => self.on_no_value(lookup, peer, Missed::Failed, out),
            Why::Routed { lookup, what, mut tried, .. } => {
                if !self.wait_with_own(now, to.addr, lookup, what) {
                    tried.push(to.addr);
                    self.send_again(now, lookup, what, tried, out);
                }
            }
            Why::Finger(_) => self.go_on_fixing_fingers(out),
            Why::Proof { .. } | Why::Tell => {}
        }
    }
}
