//! Questions that are out: why each was asked, and so who gets its answer, or hears that there is none.

use std::net::SocketAddr;

use super::admission::HeldRequest;
use super::hop::SentLookup;
use super::letting_in::Update;
use super::members::MemberState;
use super::neighbours::{RingNeighbours, RingPosition};
use super::router::RouteOutcome;
use super::stabilize::{Ping, PingReason};
use super::unverified::{OwnFileRequest, Unverified};
use super::{Ring, RingVariant};
use crate::id::Id;
use crate::overlay::twin::Suspect;
use crate::overlay::{AskReason, Effect, Late, LookupId, LookupStep, Tag, Target};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingRequest, RingResponse};
use crate::wire::{Request, Response};

/// Why a question was asked: who gets its answer.
#[derive(Clone, Debug)]
pub(super) enum QuestionFor {
    /// Does a peer answer at this address, so that we can join through it?
    Hello,
    /// Let me in.
    Join,
    /// Is this peer where some requests say that their origin is?
    Proof { origin: Peer, held: Vec<HeldRequest> },
    /// Is the peer there that a neighbour has let in, as that one, or another in its name, has said? In the classroom:
    /// does that neighbour say so itself?
    Update(Update),
    /// Has this neighbour left, as it, or another peer in its name, has said?
    Departure(Peer),
    /// Is this peer alive, and who are its neighbours?
    Ping(Ping),
    /// Where does this search's key lead?
    Search(LookupId),
    /// Is the next hop there, to which this lookup was sent?
    Hop { to: SocketAddr, sent: SentLookup },
    /// Does this peer hold the search's block? A `ping` asks, or a question that has those who do not name others.
    Value { lookup: LookupId, peer: Peer, is_ping: bool },
    /// What does the peer answer that is responsible for this peer's own request?
    Routed(OwnFileRequest),
    /// Is this peer there, which stands nearer to the key than the one that answered?
    Nearer { peer: Peer, claim: Box<Unverified> },
    /// Is the peer there that answered?
    Answerer(Box<Unverified>),
    /// Is it also at the address that it gave? Its answer came from another one.
    Elsewhere { owner: Peer, claim: Box<Unverified> },
    /// Who is the successor of this finger's start?
    Finger(usize),
    /// Is there a peer that has our id?
    Twin(Suspect),
    /// Who are the peers nearest to our id? One of them has it, for we were not let in.
    Namesakes,
    /// The request tells the other peer something; its answer tells nothing.
    Tell,
}

impl QuestionFor {
    /// The node's lookup that the question was asked for.
    pub(super) const fn lookup(&self) -> Option<LookupId> {
        match self {
            Self::Search(lookup) | Self::Value { lookup, .. } | Self::Routed(OwnFileRequest { lookup, .. }) => {
                Some(*lookup)
            }
            Self::Nearer { claim, .. } | Self::Answerer(claim) | Self::Elsewhere { claim, .. } => claim.lookup(),
            _ => None,
        }
    }

    /// The peer that is pinged because others spoke of it, or it for itself.
    pub(super) const fn probed(&self) -> Option<&Peer> {
        match self {
            Self::Ping(Ping { peer, reason: PingReason::Probe(_) | PingReason::Meet(_), .. })
            | Self::Update(Update { joined: Some(peer), .. }) => Some(peer),
            _ => None,
        }
    }

    /// Whether it is asked because such a peer was let in, as this neighbour, or another peer in its name, has said.
    pub(super) fn is_update_of(&self, peer: Option<Peer>, told_by: &Peer) -> bool {
        matches!(self, Self::Update(Update { joined, by, .. }) if *joined == peer && by == told_by)
    }

    /// Whether an update of this neighbour's is being looked into.
    pub(super) fn is_update_by(&self, told_by: &Peer) -> bool {
        matches!(self, Self::Update(Update { by, .. }) if by == told_by)
    }

    /// Where the peer `id` stands, if it is the one that is [probed](Self::probed).
    pub(super) fn place_of(&mut self, id: &Id) -> Option<&mut RingPosition> {
        match self {
            Self::Ping(Ping { peer, reason: PingReason::Probe(place) | PingReason::Meet(place), .. })
                if peer.id == *id =>
            {
                Some(place)
            }
            _ => None,
        }
    }
}

impl Ring {
    /// Asks a question of the ring's. A routed one is answered by the peer that it reaches.
    pub(super) fn ask(&mut self, to: impl Into<Target>, request: RingRequest, why: QuestionFor, out: &mut Vec<Effect>) {
        let tries = match why {
            QuestionFor::Tell => patience::ONCE,
            QuestionFor::Search(_) | QuestionFor::Join => patience::SEARCH,
            _ => patience::QUESTION,
        };
        self.ask_plain(to.into(), Request::Ring(request), why, tries, out);
    }

    /// Asks who runs where a peer of our id may be. In the classroom's rings, ids are given out by hand.
    pub(super) fn ask_twin(&mut self, suspect: Option<Suspect>, out: &mut Vec<Effect>) {
        if let Some(suspect) = suspect.filter(|_| self.options.variant == RingVariant::Chord) {
            let to = Target { id: None, addr: suspect.addr };
            self.ask_plain(to, Request::Ping, QuestionFor::Twin(suspect), patience::QUESTION, out);
        }
    }

    /// We were not let in: asks the peer at `addr`, which said so, who has our id.
    pub(super) fn ask_for_namesakes(&mut self, addr: SocketAddr, out: &mut Vec<Effect>) {
        if self.options.variant == RingVariant::Chord {
            let request = Request::FindNode { id: self.me.id };
            self.ask_plain(Target { id: None, addr }, request, QuestionFor::Namesakes, patience::QUESTION, out);
        }
    }

    /// Asks as [`ask`](Self::ask) does, in whatever words.
    pub(super) fn ask_plain(
        &mut self,
        to: Target,
        request: Request,
        why: QuestionFor,
        tries: u8,
        out: &mut Vec<Effect>,
    ) {
        let tag = self.next_tag;
        self.next_tag += 1;
        let step = self.step_of(&why);
        self.asked.insert(tag, why);
        out.push(Effect::Ask { to, request, tag, tries, step });
    }

    /// The step of the node's lookup that a question is.
    fn step_of(&self, why: &QuestionFor) -> Option<LookupStep> {
        let (lookup, reason) = match why {
            QuestionFor::Hop { sent: SentLookup::Own(lookup), .. } => (*lookup, AskReason::Beside),
            QuestionFor::Search(lookup) => {
                let again = self.searches.get(lookup).is_some_and(|search| search.tried.len() > 1);
                (*lookup, if again { AskReason::Repeat } else { AskReason::Nearest })
            }
            QuestionFor::Value { lookup, .. } => (*lookup, AskReason::Wide),
            why => (why.lookup()?, AskReason::Proof),
        };
        Some(LookupStep { lookup, reason })
    }

    /// A question has its answer.
    pub(super) fn on_answer(
        &mut self,
        now: Time,
        why: QuestionFor,
        (from, by): (SocketAddr, Option<Peer>),
        response: &Response,
        out: &mut Vec<Effect>,
    ) {
        // A datagram's answer comes where its question went out.
        let is_pong = matches!(response, Response::Node(_) | Response::Ring(RingResponse::Pong { .. }));
        if !is_pong || matches!(why, QuestionFor::Value { .. }) {
            self.hears = Some(true);
        }
        match (why, response) {
            (why, Response::Ring(response)) => self.on_ring_answer(now, why, (from, by), response, out),
            (QuestionFor::Value { lookup, peer, is_ping: true }, Response::Node(_)) => {
                self.on_member_there(lookup, peer, true, out);
            }
            (QuestionFor::Value { lookup, peer, .. }, response) => self.on_value(lookup, peer, Some(response), out),
            (QuestionFor::Twin(suspect), response) => self.twins.on_answer(&self.me, suspect, response.node(), out),
            (why, Response::Node(peer)) => self.on_named(now, why, Peer::new(peer.id, from), out),
            (QuestionFor::Namesakes, Response::Nodes(named)) => {
                let suspect = self.twins.suspect(now, &self.me, named);
                self.ask_twin(suspect, out);
            }
            (why, _) => self.on_other_answer(now, why, from, out),
        }
    }

    /// A question has its answer in the ring's own words.
    fn on_ring_answer(
        &mut self,
        now: Time,
        why: QuestionFor,
        (from, by): (SocketAddr, Option<Peer>),
        response: &RingResponse,
        out: &mut Vec<Effect>,
    ) {
        match (why, response) {
            (QuestionFor::Hello, RingResponse::Pong { peer, predecessors, successors }) => {
                self.on_hello(now, Peer::new(peer.id, from), RingNeighbours { predecessors, successors }, out);
            }
            (QuestionFor::Join, response) => self.on_join_answer(now, from, response, out),
            (QuestionFor::Ping(ping), RingResponse::Pong { peer, predecessors, successors }) => {
                if peer.id == ping.peer.id {
                    self.on_pong(now, ping, RingNeighbours { predecessors, successors }, out);
                } else {
                    // Another peer has that address now.
                    self.bury(now, ping.peer, out);
                }
            }
            (QuestionFor::Proof { origin, held }, RingResponse::Pong { peer, predecessors, successors }) => {
                if peer.id == origin.id && predecessors.is_empty() && successors.is_empty() {
                    self.on_proof(now, &origin, held, out);
                }
            }
            (QuestionFor::Search(lookup), RingResponse::Owner { peers, hops, .. }) => {
                self.weigh_owner(now, (lookup, from), (peers, u32::from(*hops) + 1), out);
            }
            (QuestionFor::Routed(file_request), response) => {
                self.weigh_holder(file_request, (from, by), response.clone(), out)
            }
            (QuestionFor::Finger(number), RingResponse::Owner { peers, .. }) => {
                self.weigh_finger(number, from, peers, out)
            }
            (QuestionFor::Departure(known), RingResponse::Pong { peer, predecessors, successors }) => {
                if peer.id == known.id && !(predecessors.is_empty() && successors.is_empty()) {
                    self.on_departure_refuted(&known, out);
                } else {
                    self.on_departed(now, known, out);
                }
            }
            (QuestionFor::Update(told), RingResponse::Pong { peer, successors: own, .. }) => {
                if peer.id == told.by.id {
                    self.on_update_confirmed(told, own, out);
                }
            }
            (QuestionFor::Value { lookup, peer, .. }, RingResponse::Has { has: true, .. }) => {
                self.on_value(lookup, peer, Some(&Response::Node(peer)), out);
            }
            (QuestionFor::Value { lookup, peer, is_ping: true }, RingResponse::Has { .. }) => {
                self.on_member_there(lookup, peer, false, out);
            }
            (QuestionFor::Value { lookup, peer, .. }, _) => self.on_value(lookup, peer, None, out),
            (QuestionFor::Twin(suspect), _) => self.twins.on_answer(&self.me, suspect, None, out),
            (why, _) => self.on_other_answer(now, why, from, out),
        }
    }

    /// A question has an answer that does not answer it.
    fn on_other_answer(&mut self, now: Time, why: QuestionFor, from: SocketAddr, out: &mut Vec<Effect>) {
        match why {
            QuestionFor::Search(lookup) => self.search_on(now, lookup, out),
            QuestionFor::Routed(OwnFileRequest { lookup, .. }) => Self::end_route(lookup, RouteOutcome::Lost, out),
            QuestionFor::Hello => self.on_no_hello(now, out),
            QuestionFor::Join => self.on_unanswered_join(now, out),
            QuestionFor::Finger(_) => self.go_on_fixing_fingers(out),
            QuestionFor::Ping(_) | QuestionFor::Hop { .. } | QuestionFor::Tell => {}
            why => self.on_no_answer(now, why, Target { id: None, addr: from }, out),
        }
    }

    /// The peer at the address that was asked, mostly to see who is there, has named itself.
    fn on_named(&mut self, now: Time, why: QuestionFor, named: Peer, out: &mut Vec<Effect>) {
        let id = named.id;
        match why {
            QuestionFor::Hello => self.on_hello(now, named, RingNeighbours::NONE, out),
            QuestionFor::Ping(ping) if id == ping.peer.id => self.on_pong(now, ping, RingNeighbours::NONE, out),
            // Another peer has that address now.
            QuestionFor::Ping(ping) => self.bury(now, ping.peer, out),
            QuestionFor::Proof { origin, held } if id == origin.id => self.on_proof(now, &origin, held, out),
            QuestionFor::Update(told) => {
                if let Some(joined) = told.joined.filter(|joined| id == joined.id) {
                    self.on_update_proven(told, joined, out);
                }
            }
            QuestionFor::Departure(peer) if id == peer.id => self.on_departure_refuted(&peer, out),
            // Another one has that address now.
            QuestionFor::Departure(peer) => drop(self.on_departed(now, peer, out)),
            QuestionFor::Nearer { peer, claim } if id == peer.id => self.ask_instead(now, peer, *claim, out),
            QuestionFor::Nearer { claim, .. } => self.believe(*claim, out),
            QuestionFor::Answerer(claim) if claim.is_by(id) => self.believe(*claim, out),
            QuestionFor::Answerer(claim) => self.disbelieve(now, *claim, out),
            QuestionFor::Elsewhere { owner, claim } if id == owner.id => self.believe(claim.at(owner), out),
            QuestionFor::Elsewhere { claim, .. } => self.believe(*claim, out),
            QuestionFor::Proof { .. } | QuestionFor::Namesakes => {}
            why => self.on_other_answer(now, why, named.addr, out),
        }
    }

    /// The answer to a question is late: what waits for it goes on without, and it counts all the same.
    pub(super) fn on_late(&mut self, now: Time, tag: Tag, late: Late, out: &mut Vec<Effect>) {
        let doubtful = late == Late::Doubtful;
        match self.asked.get(&tag) {
            Some(QuestionFor::Hop { to, sent }) if doubtful => {
                let (to, sent) = (*to, sent.clone());
                self.asked.insert(tag, QuestionFor::Tell);
                self.on_silent_hop(now, to, sent, out);
            }
            Some(&QuestionFor::Search(lookup)) if doubtful => self.search_around(now, lookup, tag, out),
            Some(&QuestionFor::Search(lookup)) => self.mind_late(now, lookup, tag, out),
            Some(QuestionFor::Nearer { peer, .. }) if doubtful => {
                let to = Target::from(*peer);
                if let Some(why) = self.asked.remove(&tag) {
                    self.on_no_answer(now, why, to, out);
                }
            }
            Some(&QuestionFor::Value { lookup, peer, .. }) => {
                let how = match late {
                    Late::Overdue => MemberState::Overdue,
                    Late::Doubtful => MemberState::Doubtful,
                };
                self.on_no_value(lookup, peer, how, out);
            }
            _ => {}
        }
    }

    /// A question has no answer, however often it was asked.
    pub(super) fn on_no_answer(&mut self, now: Time, why: QuestionFor, to: Target, out: &mut Vec<Effect>) {
        if !matches!(why, QuestionFor::Ping(_) | QuestionFor::Departure(_))
            && let Some(peer) = self.table.at(&to.addr)
        {
            self.check_on(peer, out);
        }
        match why {
            QuestionFor::Hello => self.on_no_hello(now, out),
            QuestionFor::Join => self.on_unanswered_join(now, out),
            QuestionFor::Departure(peer) => self.on_departure_unanswered(now, peer, out),
            QuestionFor::Ping(ping) => self.on_missed(now, ping, out),
            QuestionFor::Search(lookup) => {
                if self.is_in_vain(lookup) {
                    self.ask_known(lookup, out);
                } else {
                    self.search_on(now, lookup, out);
                }
            }
            QuestionFor::Hop { to, sent } => self.on_silent_hop(now, to, sent, out),
            QuestionFor::Value { lookup, peer, .. } => self.on_no_value(lookup, peer, MemberState::Silent, out),
            QuestionFor::Nearer { peer, claim } => {
                self.vitals.doubt(&peer.id);
                self.believe(*claim, out);
            }
            QuestionFor::Answerer(claim) => self.disbelieve(now, *claim, out),
            QuestionFor::Elsewhere { claim, .. } => self.believe(*claim, out),
            QuestionFor::Routed(OwnFileRequest { lookup, what, mut tried, .. }) => {
                if !self.wait_with_own(now, to.addr, lookup, what) {
                    tried.push(to.addr);
                    self.send_again(now, lookup, what, tried, out);
                }
            }
            QuestionFor::Finger(_) => self.go_on_fixing_fingers(out),
            QuestionFor::Proof { .. }
            | QuestionFor::Update(_)
            | QuestionFor::Twin(_)
            | QuestionFor::Namesakes
            | QuestionFor::Tell => {}
        }
    }
}
