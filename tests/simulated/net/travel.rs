//! What happens to a message on its way: how an overlay's effects become messages, and what those bring about.

use std::net::SocketAddr;

use kadring::config::MAX_TIMEOUT;
use kadring::overlay::ring::RingEffect;
use kadring::overlay::{Asker, Cause, Effect, Incoming, Late};
use kadring::peer::Peer;
use kadring::wire::ring::{RingResponse, Routed};
use kadring::wire::{Request, RequestKind, Response, Sender, Via};
use rand::RngExt;

use super::{Arrival, Asked, Inside, LATENCY, NAMES_FOR_STRANGERS, Net, Scripted, Waiting};

impl<O: Inside> Net<O> {
    pub(super) fn perform(&mut self, at: SocketAddr, effect: Effect) {
        match effect {
            Effect::Ask { to, request, tag, tries, .. } => {
                let from_anyone = request.origin().is_some();
                assert!(tries > 0);
                let magic = self.magic();
                let timeout = self.timeout;
                self.asked.push(Asked { at: self.now, from: at, to: to.addr, request: request.clone(), tries });
                let waiting = Waiting { by: at, to, tag, request: request.clone(), tries, timeout, from_anyone };
                let twin = self.waiting.values().any(|waiting| waiting.by == at && waiting.tag == tag);
                assert!(!twin, "a tag names one question");
                self.waiting.insert(magic, waiting);
                self.send_request(at, to.addr, magic, request, false);
                self.push(timeout, Arrival::Overdue { magic });
            }
            Effect::Forward { to, magic, request } => self.send_request(at, to.addr, magic, request, true),
            Effect::Respond { to, kind, response } => self.respond(at, to, kind, response),
            Effect::Ring(RingEffect::Arrived { origin, magic, what }) => {
                self.told.push((self.now, at, Effect::Ring(RingEffect::Arrived { origin, magic, what })));
                if let Routed::Store { file } = what {
                    let (to, kind) = (Asker::connected(origin.addr, magic), RequestKind::Ring);
                    self.respond(at, to, kind, Response::Ring(RingResponse::Kept { file }));
                }
            }
            told => self.told.push((self.now, at, told)),
        }
    }

    fn respond(&mut self, from: SocketAddr, asker: Asker, kind: RequestKind, mut response: Response) {
        self.sent += 1;
        let Asker { addr: to, via, magic, .. } = asker;
        self.answers.push(to);
        if let (Response::Nodes(names), Via::Udp, false) = (&mut response, via, asker.is_validated()) {
            names.truncate(NAMES_FOR_STRANGERS);
        }
        if self.is_there(from, to) {
            let wait = LATENCY + self.slow.get(&from).copied().unwrap_or_default();
            self.push(wait, Arrival::Response { from, to, magic, kind, response });
        } else if via == Via::Tcp && !self.vanished.contains(&to) {
            self.push(LATENCY, Arrival::Undeliverable { by: from, to, forwarded: None });
        }
    }

    fn send_request(&mut self, from: SocketAddr, to: SocketAddr, magic: u64, request: Request, forwarded: bool) {
        self.sent += 1;
        let Some(member) = self.members.get(&from) else { return };
        let overlay = member.inside.overlay();
        let (via, peer) = (overlay.kind().dialect().carrier(&request), overlay.me());
        let sender = Sender { guest: member.guest, leaving: member.leaving, ..Sender::member(peer.id, peer.addr) };
        if via == Via::Udp && self.rng.random_bool(self.loss) {
            return;
        }
        if self.is_there(from, to) {
            self.push(LATENCY, Arrival::Request { from, sender, to, via, magic, request });
        } else if via == Via::Tcp && !self.vanished.contains(&to) {
            let forwarded = forwarded.then_some((magic, request));
            if forwarded.is_none() {
                // The node ends its own question first.
                self.push(LATENCY, Arrival::Overdue { magic });
                if let Some(waiting) = self.waiting.get_mut(&magic) {
                    waiting.tries = 1;
                }
            }
            self.push(LATENCY, Arrival::Undeliverable { by: from, to, forwarded });
        }
    }

    pub(super) fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Request { from, sender, to, via, magic, request } => {
                let asker = Asker { addr: from, via, magic, allowance: None, datagrams: false, recalls: None };
                if let Some(Scripted { me, names }) = self.scripted.get(&to) {
                    let ping = request.kind() == RequestKind::Ping;
                    let response = if ping { Response::Node(*me) } else { Response::Nodes(names.clone()) };
                    return self.respond(to, asker, request.kind(), response);
                }
                let Some(member) = self.members.get(&to) else { return };
                if let Request::FindValue { key } = &request
                    && member.held.contains(key)
                {
                    let response = Response::Node(member.inside.overlay().me());
                    return self.respond(to, asker, request.kind(), response);
                }
                let validated = via == Via::Tcp || member.validated.contains(&from);
                let asker = Asker { allowance: (!validated).then_some(usize::MAX), ..asker };
                let incoming = Incoming { asker, sender: Some(sender) };
                let cause = Cause::Request { from: &incoming, request: &request };
                self.with(to, |overlay, now, out| overlay.on(now, cause, out));
            }
            Arrival::Response { from, to, magic, kind, response } => {
                let udp = matches!(response, Response::Ring(RingResponse::Pong { .. }));
                let kept = kind != RequestKind::Ring || udp;
                if kept && self.loss > 0.0 && self.rng.random_bool(self.loss) {
                    return;
                }
                let Some(waiting) = self.waiting.get(&magic) else { return };
                if waiting.by != to || (waiting.to.addr != from && !waiting.from_anyone) {
                    return;
                }
                let Some(waiting) = self.waiting.remove(&magic) else { return };
                if waiting.to.addr == from {
                    if let Some(member) = self.members.get_mut(&to) {
                        member.validated.insert(from);
                    }
                    self.with(to, |overlay, now, out| overlay.on(now, Cause::Alive { addr: from }, out));
                }
                // Members sign their lists of peers; scripted peers are older.
                let signed = self.members.get(&from).filter(|_| matches!(response, Response::Nodes(_)));
                let by = signed.map(|member| Peer::new(member.inside.overlay().me().id, from));
                let cause = Cause::Answer { tag: waiting.tag, from, by, response: &response };
                self.with(to, |overlay, now, out| overlay.on(now, cause, out));
            }
            Arrival::Undeliverable { by, to, forwarded } => {
                let cause = Cause::Undeliverable { addr: to, forwarded };
                self.with(by, |overlay, now, out| overlay.on(now, cause, out));
            }
            Arrival::Overdue { magic } => self.overdue(magic),
        }
    }

    fn overdue(&mut self, magic: u64) {
        let Some(waiting) = self.waiting.get_mut(&magic) else { return };
        waiting.tries -= 1;
        if waiting.tries == 0 {
            let Some(Waiting { by, to, tag, .. }) = self.waiting.remove(&magic) else { return };
            return self.with(by, |overlay, now, out| overlay.on(now, Cause::NoAnswer { tag, to }, out));
        }
        // The second datagram without an answer is one too many.
        let doubtful = waiting.timeout > self.timeout && !waiting.from_anyone;
        waiting.timeout = (waiting.timeout * 2).min(MAX_TIMEOUT);
        let (by, to, request, timeout) = (waiting.by, waiting.to.addr, waiting.request.clone(), waiting.timeout);
        let late = if doubtful { Late::Doubtful } else { Late::Overdue };
        let late = Cause::Late { tag: waiting.tag, late };
        self.send_request(by, to, magic, request, false);
        self.push(timeout, Arrival::Overdue { magic });
        self.with(by, |overlay, now, out| overlay.on(now, late, out));
    }
}
