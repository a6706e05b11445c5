//! Which part of the node gets what happened: messages, answers, effects of the overlay, outcomes of jobs.

use std::net::SocketAddr;

use super::classroom::Handed;
use super::context::{AskPurpose, JobPurpose, LookupPurpose, OfferOwner};
use super::job::{JobId, Outcome, Version};
use super::notice::{Answer, FailureKind, Notice};
use super::pending::{Ask, Settled};
use super::pulls::Offer;
use super::{Node, Via};
use crate::config::{AMPLIFICATION, FIRST_TIMEOUT, PADDED_MIN, PADDING, PING_BYTES, RING_PING_BYTES};
use crate::id::Key;
use crate::overlay::{Cause, Effect, Incoming, LookupId, RingEffect};
use crate::peer::Peer;
use crate::wire::kad::fit_nodes;
use crate::wire::ring::{RingRequest, RingResponse};
use crate::wire::{Body, Dialect, MAX_DATAGRAM_SENT, Message, Request, RequestKind, Response, Sender};

impl Node {
    pub(super) fn on_message(&mut self, from: SocketAddr, via: Via, bytes: u32, message: Message) {
        self.cx.traffic.received += 1;
        let Message { magic, sender, body, .. } = message;
        match body {
            Body::Request(request) => self.on_request(from, via, bytes, magic, sender, request),
            Body::Response(response) => self.on_answer(from, magic, sender, Ok(response)),
            Body::Error(reason) => self.on_answer(from, magic, sender, Err(reason)),
        }
    }

    fn on_request(
        &mut self,
        from: SocketAddr,
        via: Via,
        bytes: u32,
        magic: u64,
        sender: Option<Sender>,
        request: Request,
    ) {
        let validated = via == Via::Tcp || self.cx.is_validated(&from);
        let allowance = (!validated).then(|| {
            let besides = ping_besides(self.cx.overlay.kind().dialect(), &request);
            let left = (bytes as usize * AMPLIFICATION).saturating_sub(besides);
            if left < PADDED_MIN { left } else { left - PADDING }
        });
        self.asker = Some(Asker { addr: from, via, allowance });
        if via == Via::Udp && self.cx.overlay.kind().dialect().carrier(&request) == Via::Tcp {
            // Whoever sends a datagram can claim any address; what needs more proof than that comes over a connection.
            self.reply(from, Message::error(magic, "this is asked over TCP"));
            self.asker = None;
            return;
        }
        match request {
            Request::Store { key, size } => {
                let offer = Offer { from, via, magic, key, size };
                self.pulls.on_offer(&mut self.cx, offer);
            }
            Request::Ring(RingRequest::Transfer { file, size, modified }) => {
                let version = Version { size, modified };
                self.classroom.on_transfer(&mut self.cx, (from, magic), file, version);
            }
            Request::FindValue { key } if self.cx.holdings.contains(&key) && !self.cx.departing => {
                let me = self.cx.overlay.me();
                self.respond(from, magic, RequestKind::FindValue, Response::Node(me));
                self.heal.look_at(&mut self.cx, key);
            }
            request => {
                let incoming = Incoming { addr: from, validated, sender, magic };
                let cx = &mut self.cx;
                let cause = Cause::Request { from: &incoming, request: &request };
                cx.overlay.on(cx.now, cause, &mut cx.effects);
                self.settle_effects();
            }
        }
        self.asker = None;
    }

    /// Answers a request. Whoever has not yet shown that it receives gets no more than it paid for, so that nobody can
    /// make us flood a victim in whose name it asks (RFC 9000, section 8).
    fn respond(&mut self, to: SocketAddr, magic: u64, kind: RequestKind, mut response: Response) {
        let asker = self.asker.filter(|asker| asker.addr == to);
        let via = asker.map_or(Via::Tcp, |asker| asker.via);
        if let Response::Nodes(peers) = &mut response
            && via == Via::Udp
        {
            peers.truncate(fit_nodes(magic, kind, peers, MAX_DATAGRAM_SENT));
        }
        self.reply(to, Message::response(magic, kind, response));
    }

    fn reply(&mut self, to: SocketAddr, mut message: Message) {
        let asker = self.asker.filter(|asker| asker.addr == to);
        let via = asker.map_or(Via::Tcp, |asker| asker.via);
        if let Some(budget) = asker.and_then(|asker| asker.allowance).filter(|_| via == Via::Udp) {
            let (dialect, me) = (self.cx.overlay.kind().dialect(), self.cx.overlay.me());
            if !dialect.fit(&mut message, &me, to, budget) {
                return;
            }
        }
        self.cx.send(to, via, message);
    }

    fn on_answer(&mut self, from: SocketAddr, magic: u64, sender: Option<Sender>, answer: Result<Response, String>) {
        let Some(settled) = self.cx.pending.settle(self.cx.now, magic, from) else { return };
        let cx = &mut self.cx;
        let took = settled.took(cx.now);
        let Settled { waiting, rtt } = settled;
        cx.answerer = sender.map(|sender| Peer::new(sender.peer.id, from));
        if waiting.to.addr == from {
            cx.validate(from);
            let rtt = rtt.or_else(|| cx.pending.round_trip(&from)).unwrap_or(FIRST_TIMEOUT);
            cx.overlay.on(cx.now, Cause::Alive { addr: from, rtt }, &mut cx.effects);
        }
        match (waiting.purpose, answer) {
            (AskPurpose::Overlay(tag), Ok(response)) => {
                let cause = Cause::Answer { tag, from, response: &response };
                cx.overlay.on(cx.now, cause, &mut cx.effects);
            }
            (AskPurpose::Overlay(tag), Err(_)) => {
                cx.overlay.on(cx.now, Cause::NoAnswer { tag, to: waiting.to }, &mut cx.effects);
            }
            (AskPurpose::Offer { ticket, owner, key, to }, answer) => {
                let result = match answer {
                    Ok(Response::Saved) => Ok(()),
                    Ok(_) => Err("it answered an offer with something else".to_owned()),
                    Err(reason) => Err(reason),
                };
                cx.uplink.end(cx.now, ticket, to.addr, result.is_ok());
                self.on_offered(owner, key, to, result);
            }
            (AskPurpose::Probe { key, to }, answer) => {
                self.repair.on_probe(cx, key, to, matches!(answer, Ok(Response::Node(_))));
            }
            (AskPurpose::Vouch, _) => self.pulls.on_proof(cx, from),
            (AskPurpose::Pulse, _) => {}
            (AskPurpose::Hand { handing, to }, answer) => {
                let handed = match answer {
                    Ok(Response::Ring(RingResponse::Noted { .. })) => Handed::Taken,
                    Ok(Response::Ring(RingResponse::Refused { reason, .. })) => Handed::Refused(reason),
                    Err(reason) => Handed::Silent(reason),
                    Ok(_) => Handed::Refused("it answered with something else".to_owned()),
                };
                self.classroom.on_handed(cx, handing, to, handed);
            }
            (AskPurpose::User(command), Ok(response)) => {
                let id = match (response, sender) {
                    (Response::Node(peer), _) => Some(peer.id),
                    (_, sender) => sender.map(|sender| sender.peer.id),
                };
                match id {
                    Some(id) => {
                        // Sent more than once, it says which of them was answered no more than when it was.
                        let rtt = rtt.or_else(|| cx.pending.round_trip(&from)).unwrap_or(took);
                        cx.answer(command, Answer::Pong { peer: Peer::new(id, from), rtt });
                    }
                    None => cx.fail(command, FailureKind::Other, format!("{from} answers, but not as a peer does")),
                }
            }
            (AskPurpose::User(command), Err(reason)) => {
                cx.fail(command, FailureKind::Other, format!("{from} refused: {reason}"));
            }
        }
    }

    pub(super) fn on_offered(&mut self, owner: OfferOwner, key: Key, to: Peer, result: Result<(), String>) {
        match owner {
            OfferOwner::Put(put) => self.advance_put(put, |put, cx| put.on_offered(cx, key, to, result)),
            OfferOwner::Repair => self.repair.on_offered(&mut self.cx, key, to, result),
            OfferOwner::Departure => {
                self.advance_departure(|departure, cx| departure.on_offered(cx, key, result.is_ok()));
            }
        }
    }

    pub(super) fn on_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Ask { to, request, tag, tries, from_anyone } => {
                let ask = Ask { request, purpose: AskPurpose::Overlay(tag), from_anyone };
                self.cx.ask_with(to, ask, tries);
            }
            Effect::Forward { to, magic, request } => self.cx.send_request(to.addr, magic, request),
            Effect::Respond { to, magic, kind, response } => self.respond(to, magic, kind, response),
            Effect::Holder { lookup, peer } => self.on_holder(lookup, peer),
            Effect::Found { lookup, peers, hops, unreached } => self.on_found(lookup, peers, hops, unreached),
            Effect::Joined { peers } => {
                self.peers_changed();
                self.cx.notify(Notice::Joined { peers });
                self.classroom.look_soon(&mut self.cx);
            }
            Effect::PeerUp(peer) => {
                self.peers_changed();
                self.cx.uplink.forgive(peer.addr);
                self.cx.notify(Notice::PeerUp { peer });
                self.classroom.look_soon(&mut self.cx);
                self.repair.on_peer_change(&mut self.cx, &peer);
            }
            Effect::PeerDown(peer) => {
                self.peers_changed();
                self.cx.notify(Notice::PeerDown { peer });
                self.fail_offers(peer.addr);
                self.classroom.on_peer_down(&mut self.cx, &peer);
                self.repair.on_peer_change(&mut self.cx, &peer);
            }
            Effect::Ring(effect) => self.on_ring_effect(effect),
        }
    }

    fn on_ring_effect(&mut self, effect: RingEffect) {
        match effect {
            RingEffect::Arrived { origin, magic, what } => {
                self.classroom.on_arrived(&mut self.cx, origin, magic, what);
            }
            RingEffect::Settled { lookup, outcome } => {
                if let Some(LookupPurpose::Named(errand)) = self.cx.lookups.remove(&lookup) {
                    self.classroom.on_settled(&mut self.cx, errand, outcome);
                }
            }
            RingEffect::Notice(route) => {
                self.classroom.on_route_notice(&mut self.cx, &route);
                self.cx.notify(Notice::Route { route });
            }
        }
    }

    fn on_holder(&mut self, lookup: LookupId, peer: Peer) {
        match self.cx.lookups.get_mut(&lookup) {
            Some(
                LookupPurpose::User { holders, .. }
                | LookupPurpose::Repair { holders, .. }
                | LookupPurpose::Departure { holders, .. }
                | LookupPurpose::Heal { holders, .. },
            ) => holders.push(peer),
            Some(&mut LookupPurpose::Get { get, piece }) => {
                self.advance_get(get, |get, cx| {
                    get.on_holder(cx, piece, peer);
                    super::Flow::Goes
                });
            }
            Some(LookupPurpose::Put { .. } | LookupPurpose::Named(_)) | None => {}
        }
    }

    fn on_found(&mut self, lookup: LookupId, peers: Vec<Peer>, hops: u32, unreached: usize) {
        let Some(purpose) = self.cx.lookups.remove(&lookup) else { return };
        match purpose {
            LookupPurpose::User { command, key, since, mut holders } => {
                if self.cx.holdings.contains(&key) {
                    holders.insert(0, self.cx.overlay.me());
                }
                let took = self.cx.now.since(since);
                self.cx.answer(command, Answer::Lookup { key, peers, holders, hops, took });
            }
            LookupPurpose::Put { put, key } => self.advance_put(put, |put, cx| put.on_found(cx, key, peers, unreached)),
            LookupPurpose::Get { get, piece } => self.advance_get(get, |get, cx| get.on_found(cx, piece)),
            LookupPurpose::Repair { key, holders } => self.repair.on_found(&mut self.cx, key, peers, &holders),
            LookupPurpose::Departure { key, holders } => {
                self.advance_departure(|departure, cx| departure.on_found(cx, key, peers, &holders));
            }
            // A route settles, it is never found.
            LookupPurpose::Named(_) => {}
            LookupPurpose::Heal { key, holders } => self.heal.on_holders(&mut self.cx, key, holders),
        }
    }

    pub(super) fn on_job_done(&mut self, job: JobId, outcome: Outcome) {
        let Some(purpose) = self.cx.jobs.done(job, &mut self.cx.out) else { return };
        if let (
            JobPurpose::PutKeep { key, .. } | JobPurpose::Pull { key, .. } | JobPurpose::Heal { key },
            Outcome::Stored { size },
        ) = (&purpose, &outcome)
        {
            self.hold(*key, *size);
        }
        match purpose {
            JobPurpose::Put { put } => self.advance_put(put, |put, cx| put.on_step(cx, outcome)),
            JobPurpose::PutKeep { put, key, verifies } => {
                self.advance_put(put, |put, cx| put.on_kept(cx, key, verifies, &outcome));
            }
            JobPurpose::Get { get } => self.advance_get(get, |get, cx| get.on_step(cx, outcome)),
            JobPurpose::GetPiece { get, piece } => {
                self.advance_get(get, |get, cx| get.on_piece(cx, piece, job, outcome));
            }
            JobPurpose::Pull { key, verifies } => self.pulls.on_pulled(&mut self.cx, key, verifies, &outcome),
            // What is damaged was told already.
            JobPurpose::Look => self.heal.on_looked(),
            JobPurpose::Heal { key } => self.heal.on_pulled(&mut self.cx, key, &outcome),
            JobPurpose::Named(step) => self.classroom.on_step(&mut self.cx, step, outcome),
            JobPurpose::Clear { command } => self.on_clear_step(command, outcome),
            JobPurpose::Background => {
                if let Outcome::Failed(error) = outcome {
                    log::warn!("{error}");
                }
            }
        }
    }

    /// A block is in the own store now.
    fn hold(&mut self, key: Key, size: u32) {
        if !self.cx.holdings.contains(&key) {
            self.cx.notify(Notice::BlockStored { key, size });
        }
        self.cx.holdings.insert(key, size);
        self.heal.forget(&key);
        self.repair.watch(&mut self.cx, key);
    }

    pub(super) fn on_damaged(&mut self, key: Key) {
        if self.cx.holdings.remove(&key).is_some() {
            self.cx.notify(Notice::BlockDamaged { key });
            self.repair.forget(&key);
            self.heal.begin(&mut self.cx, key);
        }
    }
}

/// Who asked what is being answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    addr: SocketAddr,
    via: Via,
    /// Bytes that the answer may have, while it has not shown that it receives.
    allowance: Option<usize>,
}

/// Bytes of the ping that the overlay may send to a stranger beside the answer to its request.
fn ping_besides(dialect: Dialect, request: &Request) -> usize {
    match (dialect, request) {
        (Dialect::Kademlia, _) => PING_BYTES,
        // Whoever names nobody is in no ring yet, and not pinged.
        (Dialect::Ring, Request::Ring(RingRequest::Ping { predecessors, successors, .. }))
            if !(predecessors.is_empty() && successors.is_empty()) =>
        {
            RING_PING_BYTES
        }
        (Dialect::Ring, _) => 0,
    }
}
