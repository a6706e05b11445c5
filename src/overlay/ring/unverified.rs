//! Whether the answer to a routed request comes from the peer that the key leads to.
//!
//! A request is answered by a peer that this one did not ask, and every peer on the way sees what it takes to answer.
//! So the answer counts only for the address that it came from, and it is compared with what this peer knows: where a
//! living peer is known that stands nearer to the key, that one is asked itself, after a ping of which the answer shows
//! that it lives. An answer about a file, which has this peer open a connection, is believed of a stranger only after a
//! ping as well. A liar is left the places between the key and the nearest peer that is known here; one who wants that
//! can as well join there. Of an answer that a datagram brings, a liar on the way can forge the address too, where the
//! network lets it: then the answer names the true owner, and behind it whom the liar likes. A search that only looks
//! for peers believes that.

use std::net::SocketAddr;

use super::route::key_of;
use super::router::RouteOutcome;
use super::table::{Hop, clockwise_from};
use super::{QuestionFor, Ring};
use crate::id::Id;
use crate::overlay::{Effect, LookupId, Target};
use crate::patience;
use crate::peer::Peer;
use crate::source::AddressScope;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::{RingResponse, Routed};

/// An answer that waits for its proof.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "each is moved once or twice, and stands in a box while it waits")]
pub(super) enum Unverified {
    /// The answer to a lookup.
    Owner { lookup: LookupId, peers: Vec<Peer>, hops: u32 },
    /// To a request about a file by its name.
    File { file_request: OwnFileRequest, from: SocketAddr, by: Option<Peer>, response: RingResponse },
    /// The answer to a question for a finger.
    Finger { number: usize, owner: Peer },
}

/// A request of this peer's own about a file by its name.
#[derive(Clone, Debug)]
pub(super) struct OwnFileRequest {
    pub(super) lookup: LookupId,
    pub(super) what: Routed,
    /// The peer that it was sent to.
    pub(super) to: SocketAddr,
    /// Those that led nowhere.
    pub(super) tried: Vec<SocketAddr>,
}

impl Unverified {
    /// The node's lookup that it answers.
    pub(super) const fn lookup(&self) -> Option<LookupId> {
        match self {
            Self::Owner { lookup, .. } | Self::File { file_request: OwnFileRequest { lookup, .. }, .. } => {
                Some(*lookup)
            }
            Self::Finger { .. } => None,
        }
    }

    /// The same, of an owner that is reached at this address.
    pub(super) fn at(mut self, owner: Peer) -> Self {
        if let Self::Owner { peers, .. } = &mut self {
            peers[0] = owner;
        }
        self
    }

    /// Whether the peer `id` may have made it.
    pub(super) fn is_by(&self, id: Id) -> bool {
        !matches!(self, Self::File { by: Some(by), .. } if by.id != id)
    }
}

impl Ring {
    /// A peer answers that it is responsible for a search's key.
    pub(super) fn weigh_owner(
        &mut self,
        now: Time,
        (lookup, from): (LookupId, SocketAddr),
        (peers, hops): (&[Peer], u32),
        out: &mut Vec<Effect>,
    ) {
        let Some(search) = self.searches.get(&lookup).filter(|search| !search.conclusive) else { return };
        let Some(&told) = peers.first() else { return self.search_on(now, lookup, out) };
        // A peer that is at several addresses of its machine may listen at one alone.
        let owner = if self.is_proven(&told.addr) { told } else { Peer::new(told.id, from) };
        let named = peers[1..].iter().copied().filter(|peer| AddressScope::may_name(&from, &peer.addr));
        let peers: Vec<Peer> = std::iter::once(owner).chain(named).collect();
        let nearer = self.nearer(&search.key, &owner, &search.tried);
        let claim = Unverified::Owner { lookup, peers, hops };
        match nearer {
            Some(peer) => self.ask_nearer(peer, claim, out),
            None if owner != told && AddressScope::may_name(&from, &told.addr) => {
                let why = QuestionFor::Elsewhere { owner: told, claim: Box::new(claim) };
                self.ask_plain(told.into(), Request::Ping, why, patience::ONCE, out);
            }
            None => self.believe(claim, out),
        }
    }

    /// A peer answers that it is responsible for a file.
    pub(super) fn weigh_holder(
        &mut self,
        file_request: OwnFileRequest,
        (from, by): (SocketAddr, Option<Peer>),
        response: RingResponse,
        out: &mut Vec<Effect>,
    ) {
        let known = self.table.at(&from);
        let nearer = by.or(known).and_then(|answerer| {
            let key = key_of(file_request.what, self.me.id);
            self.nearer(&key, &answerer, &[&file_request.tried[..], &[file_request.to]].concat())
        });
        let asks = matches!(response, RingResponse::Kept { .. } | RingResponse::File { .. });
        let is_stranger = known.is_none() && from != file_request.to && !self.is_proven(&from);
        let claim = Unverified::File { file_request, from, by, response };
        match nearer {
            Some(peer) if asks => self.ask_nearer(peer, claim, out),
            _ if asks && is_stranger => {
                let to = Target { id: by.map(|by| by.id), addr: from };
                let why = QuestionFor::Answerer(Box::new(claim));
                self.ask_plain(to, Request::Ping, why, patience::QUESTION, out);
            }
            _ => self.believe(claim, out),
        }
    }

    /// A peer answers that it is the successor of a finger's start.
    pub(super) fn weigh_finger(&mut self, number: usize, from: SocketAddr, peers: &[Peer], out: &mut Vec<Effect>) {
        let told = peers.first().filter(|owner| owner.addr == from && !self.vitals.is_dead(owner));
        let Some(&owner) = told else { return self.go_on_fixing_fingers(out) };
        let claim = Unverified::Finger { number, owner };
        match self.nearer(&self.start_of_finger(number), &owner, &[]) {
            Some(peer) => self.ask_nearer(peer, claim, out),
            None => self.believe(claim, out),
        }
    }

    /// A peer that is known to stand nearer to `key` than `owner`, which says that the key leads to it. None of those
    /// that were asked already.
    fn nearer(&self, key: &Id, owner: &Peer, asked: &[SocketAddr]) -> Option<Peer> {
        let is_other = |peer: &Peer| {
            peer.addr != owner.addr && peer.id != self.me.id && clockwise_from(key, peer) <= clockwise_from(key, owner)
        };
        let vitals = &self.vitals;
        let in_doubt = |id: &Id| vitals.is_doubted(id) || vitals.is_shunned(self.now, id) || vitals.is_awaited(id);
        let doubted = |id: &Id| self.is_departing(id) || in_doubt(id);
        let mut nearer = self.table.clockwise(key).copied().take_while(is_other);
        nearer.find(|peer| !doubted(&peer.id)).filter(|peer| !asked.contains(&peer.addr))
    }

    fn ask_nearer(&mut self, peer: Peer, claim: Unverified, out: &mut Vec<Effect>) {
        let why = QuestionFor::Nearer { peer, claim: Box::new(claim) };
        self.ask_plain(peer.into(), Request::Ping, why, patience::QUESTION, out);
    }

    /// Nothing that is known here speaks against an answer.
    pub(super) fn believe(&mut self, claim: Unverified, out: &mut Vec<Effect>) {
        match claim {
            Unverified::Owner { lookup, peers, hops } => self.on_owner(lookup, &peers, hops, out),
            Unverified::File { file_request, from, by, response } => {
                Self::end_route(file_request.lookup, RouteOutcome::Answered { from, by, response }, out);
            }
            Unverified::Finger { number, owner } => self.set_finger(number, owner, out),
        }
    }

    /// The peer that stands nearer lives, so the answer was none: it is asked itself.
    pub(super) fn ask_instead(&mut self, now: Time, peer: Peer, claim: Unverified, out: &mut Vec<Effect>) {
        match claim {
            Unverified::Owner { lookup, .. } => {
                let Some(search) = self.searches.get_mut(&lookup).filter(|search| !search.conclusive) else {
                    return;
                };
                search.goes(peer, self.next_tag);
                let what = Routed::Lookup { key: search.key };
                let request = self.routed(what, Hop::Last(peer), false);
                self.ask(peer, request, QuestionFor::Search(lookup), out);
            }
            Unverified::File { file_request, .. } => self.send_to(now, Hop::Last(peer), file_request, out),
            Unverified::Finger { number, .. } => self.set_finger(number, peer, out),
        }
    }

    /// No peer answers where the answer came from: the request goes another way.
    pub(super) fn disbelieve(&mut self, now: Time, claim: Unverified, out: &mut Vec<Effect>) {
        match claim {
            Unverified::Owner { lookup, .. } => self.search_on(now, lookup, out),
            Unverified::File { file_request: OwnFileRequest { lookup, what, to, mut tried }, .. } => {
                tried.push(to);
                self.send_again(now, lookup, what, tried, out);
            }
            Unverified::Finger { .. } => self.go_on_fixing_fingers(out),
        }
    }
}
