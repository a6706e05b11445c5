//! Questions that are out: why each was asked, and so who gets its answer, or hears that there is none.

use std::net::SocketAddr;

use super::admission::Held;
use super::claims::{Claim, Errand};
use super::hop::Sent;
use super::members::Standing;
use super::neighbours::{Neighbours, Place};
use super::router::RouteOutcome;
use super::stabilize::{Ping, Role};
use super::{Manners, Ring};
use crate::id::Id;
use crate::overlay::twin::Suspect;
use crate::overlay::{Effect, LookupId, Reason, Step, Tag, Target};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingRequest, RingResponse};
use crate::wire::{Request, Response};

/// Why a question was asked: who gets its answer.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// Does a peer answer at this address, so that we can join through it?
    Hello,
    /// Let me in.
    Join,
    /// Is this peer where some requests say that their origin is?
    Proof { origin: Peer, held: Vec<Held> },
    /// Is the peer there that a neighbour has let in, as that one, or somebody in its name, has said? In the classroom:
    /// does that neighbour say so itself?
    Update { by: Peer, joined: Option<Peer>, successors: Vec<Peer> },
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
    Routed(Errand),
    /// Is this peer there, which stands nearer to the key than the one that answered?
    Nearer { peer: Peer, claim: Box<Claim> },
    /// Is the peer there that answered?
    Answerer(Box<Claim>),
    /// Is it also at the address that it gave? Its answer came from another one.
    Elsewhere { owner: Peer, claim: Box<Claim> },
    /// Who is the successor of this finger's start?
    Finger(usize),
    /// Is there a peer that has our id?
    Twin(Suspect),
    /// Who are the peers nearest to our id? One of them has it, for we were not let in.
    Namesakes,
    /// The request tells the other peer something; its answer tells nothing.
    Tell,
}

impl Why {
    /// The node's lookup that the question was asked for.
    pub(super) const fn lookup(&self) -> Option<LookupId> {
        match self {
            Self::Search(lookup) | Self::Value { lookup, .. } | Self::Routed(Errand { lookup, .. }) => Some(*lookup),
            Self::Nearer { claim, .. } | Self::Answerer(claim) | Self::Elsewhere { claim, .. } => claim.lookup(),
            _ => None,
        }
    }

    /// The peer that is pinged because others spoke of it, or it for itself.
    pub(super) const fn probed(&self) -> Option<&Peer> {
        match self {
            Self::Ping(Ping { peer, role: Role::Probe(_) | Role::Meet(_), .. })
            | Self::Update { joined: Some(peer), .. } => Some(peer),
            _ => None,
        }
    }

    /// Whether it is asked because such a peer was let in, as this neighbour, or somebody in its name, has said.
    pub(super) fn is_update_of(&self, peer: Option<Peer>, told_by: &Peer) -> bool {
        matches!(self, Self::Update { joined, by, .. } if *joined == peer && by == told_by)
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
        let tries = match why {
            Why::Tell => patience::ONCE,
            Why::Search(_) | Why::Join => patience::SEARCH,
            _ => patience::QUESTION,
        };
        self.ask_plain(to.into(), Request::Ring(request), why, tries, out);
    }

    /// Asks who runs where a peer of our id may be. In the classroom's rings, ids are given out by hand.
    pub(super) fn ask_twin(&mut self, suspect: Option<Suspect>, out: &mut Vec<Effect>) {
        if let Some(suspect) = suspect.filter(|_| self.options.manners == Manners::Chord) {
            let to = Target { id: None, addr: suspect.addr };
            self.ask_plain(to, Request::Ping, Why::Twin(suspect), patience::QUESTION, out);
        }
    }

    /// We were not let in: asks the peer at `addr`, which said so, who has our id.
    pub(super) fn ask_for_namesakes(&mut self, addr: SocketAddr, out: &mut Vec<Effect>) {
        if self.options.manners == Manners::Chord {
            let request = Request::FindNode { id: self.me.id };
            self.ask_plain(Target { id: None, addr }, request, Why::Namesakes, patience::QUESTION, out);
        }
    }

    /// Asks as [`ask`](Self::ask) does, in whatever words.
    pub(super) fn ask_plain(&mut self, to: Target, request: Request, why: Why, tries: u8, out: &mut Vec<Effect>) {
        let tag = self.next_tag;
        self.next_tag += 1;
        let step = self.step_of(&why);
        self.asked.insert(tag, why);
        out.push(Effect::Ask { to, request, tag, tries, step });
    }

    /// The step of the node's lookup that a question is.
    fn step_of(&self, why: &Why) -> Option<Step> {
        let (lookup, reason) = match why {
            Why::Hop { sent: Sent::Own(lookup), .. } => (*lookup, Reason::Beside),
            Why::Search(lookup) => {
                let again = self.searches.get(lookup).is_some_and(|search| search.tried.len() > 1);
                (*lookup, if again { Reason::Repeat } else { Reason::Nearest })
            }
            Why::Value { lookup, .. } => (*lookup, Reason::Wide),
            why => (why.lookup()?, Reason::Proof),
        };
        Some(Step { lookup, reason })
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
        if !matches!(response, Response::Node(_) | Response::Ring(RingResponse::Pong { .. })) {
            self.hears = Some(true);
        }
        match (why, response) {
            (why, Response::Ring(response)) => self.on_ring_answer(now, why, (from, by), response, out),
            (Why::Value { lookup, peer }, response) => self.on_value(lookup, peer, response.node().is_some(), out),
            (Why::Twin(suspect), response) => self.twins.on_answer(&self.me, suspect, response.node(), out),
            (why, Response::Node(peer)) => self.on_named(now, why, Peer::new(peer.id, from), out),
            (Why::Namesakes, Response::Nodes(named)) => {
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
        why: Why,
        (from, by): (SocketAddr, Option<Peer>),
        response: &RingResponse,
        out: &mut Vec<Effect>,
    ) {
        match (why, response) {
            (Why::Hello, RingResponse::Pong { peer, predecessors, successors }) => {
                self.on_hello(now, Peer::new(peer.id, from), Neighbours { predecessors, successors }, out);
            }
            (Why::Join, response) => self.on_join_answer(now, from, response, out),
            (Why::Ping(ping), RingResponse::Pong { peer, predecessors, successors }) => {
                if peer.id == ping.peer.id {
                    self.on_pong(now, ping, Neighbours { predecessors, successors }, out);
                } else {
                    // Another peer has that address now.
                    self.bury(now, ping.peer, out);
                }
            }
            (Why::Proof { origin, held }, RingResponse::Pong { peer, predecessors, successors }) => {
                if peer.id == origin.id && predecessors.is_empty() && successors.is_empty() {
                    self.on_proof(now, &origin, held, out);
                }
            }
            (Why::Search(lookup), RingResponse::Owner { peers, hops, .. }) => {
                self.weigh_owner(now, (lookup, from), (peers, u32::from(*hops) + 1), out);
            }
            (Why::Routed(errand), response) => self.weigh_holder(errand, (from, by), response.clone(), out),
            (Why::Finger(number), RingResponse::Owner { peers, .. }) => self.weigh_finger(number, from, peers, out),
            (Why::Farewell(known), RingResponse::Pong { peer, predecessors, successors }) => {
                if peer.id == known.id && !(predecessors.is_empty() && successors.is_empty()) {
                    self.on_farewell_refuted(&known);
                } else {
                    self.on_departed(now, known, out);
                }
            }
            (Why::Update { by, joined, successors }, RingResponse::Pong { peer, successors: own, .. }) => {
                if peer.id == by.id {
                    self.on_update_confirmed(by, joined.or(successors.first().copied()), own, out);
                }
            }
            (Why::Value { lookup, peer }, _) => self.on_value(lookup, peer, false, out),
            (Why::Twin(suspect), _) => self.twins.on_answer(&self.me, suspect, None, out),
            (why, _) => self.on_other_answer(now, why, from, out),
        }
    }

    /// A question has an answer that does not answer it.
    fn on_other_answer(&mut self, now: Time, why: Why, from: SocketAddr, out: &mut Vec<Effect>) {
        match why {
            Why::Search(lookup) => self.search_on(now, lookup, out),
            Why::Routed(Errand { lookup, .. }) => Self::settled(lookup, RouteOutcome::Lost, out),
            Why::Hello => self.on_no_hello(now, out),
            Why::Join => self.on_no_way_in(now, out),
            Why::Finger(_) => self.go_on_fixing_fingers(out),
            Why::Ping(_) | Why::Hop { .. } | Why::Tell => {}
            why => self.on_no_answer(now, why, Target { id: None, addr: from }, out),
        }
    }

    /// The peer at the address that was asked, mostly to see who is there, has named itself.
    fn on_named(&mut self, now: Time, why: Why, named: Peer, out: &mut Vec<Effect>) {
        let id = named.id;
        match why {
            Why::Hello => self.on_hello(now, named, Neighbours::NONE, out),
            Why::Ping(ping) if id == ping.peer.id => self.on_pong(now, ping, Neighbours::NONE, out),
            // Another peer has that address now.
            Why::Ping(ping) => self.bury(now, ping.peer, out),
            Why::Proof { origin, held } if id == origin.id => self.on_proof(now, &origin, held, out),
            Why::Update { by, joined: Some(joined), successors } if id == joined.id => {
                self.take_in(joined, false, out);
                self.on_updated(by, &successors, out);
            }
            Why::Farewell(peer) if id == peer.id => self.on_farewell_refuted(&peer),
            // Another one has that address now.
            Why::Farewell(peer) => drop(self.on_departed(now, peer, out)),
            Why::Nearer { peer, claim } if id == peer.id => self.ask_instead(now, peer, *claim, out),
            Why::Nearer { claim, .. } => self.believe(*claim, out),
            Why::Answerer(claim) if claim.is_by(id) => self.believe(*claim, out),
            Why::Answerer(claim) => self.disbelieve(now, *claim, out),
            Why::Elsewhere { owner, claim } if id == owner.id => self.believe(claim.at(owner), out),
            Why::Elsewhere { claim, .. } => self.believe(*claim, out),
            Why::Proof { .. } | Why::Update { .. } | Why::Namesakes => {}
            why => self.on_other_answer(now, why, named.addr, out),
        }
    }

    /// The answer to a question is late: what waits for it goes on without, and it counts all the same.
    pub(super) fn on_late(&mut self, now: Time, tag: Tag, doubtful: bool, out: &mut Vec<Effect>) {
        match self.asked.get(&tag) {
            Some(Why::Hop { to, sent }) if doubtful => {
                let (to, sent) = (*to, sent.clone());
                self.asked.insert(tag, Why::Tell);
                self.on_silent_hop(now, to, sent, out);
            }
            Some(&Why::Search(lookup)) => self.mind_late(now, lookup, tag, out),
            Some(Why::Nearer { peer, .. }) if doubtful => {
                let to = Target::from(*peer);
                if let Some(why) = self.asked.remove(&tag) {
                    self.on_no_answer(now, why, to, out);
                }
            }
            Some(&Why::Value { lookup, peer }) => {
                let how = if doubtful { Standing::Doubtful } else { Standing::Overdue };
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
            Why::Search(lookup) => {
                self.mind_silence(lookup);
                self.search_on(now, lookup, out);
            }
            Why::Hop { to, sent } => self.on_silent_hop(now, to, sent, out),
            Why::Value { lookup, peer } => self.on_no_value(lookup, peer, Standing::Silent, out),
            Why::Nearer { peer, claim } => {
                self.vitals.doubt(&peer.id);
                self.believe(*claim, out);
            }
            Why::Answerer(claim) => self.disbelieve(now, *claim, out),
            Why::Elsewhere { claim, .. } => self.believe(*claim, out),
            Why::Routed(Errand { lookup, what, mut tried, .. }) => {
                if !self.wait_with_own(now, to.addr, lookup, what) {
                    tried.push(to.addr);
                    self.send_again(now, lookup, what, tried, out);
                }
            }
            Why::Finger(_) => self.go_on_fixing_fingers(out),
            Why::Proof { .. } | Why::Update { .. } | Why::Twin(_) | Why::Namesakes | Why::Tell => {}
        }
    }
}
