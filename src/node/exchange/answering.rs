//! What others ask: who may have an answer, and how long it may be.

use std::net::SocketAddr;

use super::introductions::UNNAMED;
use super::{Action, Exchange};
use crate::config::{AMPLIFICATION, told_within};
use crate::node::refusal::Refusal;
use crate::overlay::{Asker, Incoming, Recalls};
use crate::peer::NOT_TOLD;
use crate::wire::{Body, Dialect, Message, Request, RequestKind, Response, Sender, Via};

impl Exchange {
    /// A request came: the token that its answer goes out under, and who asks. None, and its sender is told so, if it
    /// is of another network, does not say who asks and should, or if this has to be asked over a connection, where a
    /// false address does not get far.
    pub(crate) fn on_request(
        &mut self,
        from: SocketAddr,
        via: Via,
        (bytes, magic): (u32, u64),
        sender: Option<Sender>,
        request: &Request,
    ) -> Option<Incoming> {
        let validated = via == Via::Tcp || self.is_validated(&from);
        if let Some(Sender { peer, .. }) = sender {
            self.introductions.hear(&from, peer.id);
        }
        let met = self.introductions.met(&from).filter(|_| validated);
        let known = met.map(|id| Sender { network: self.sender.network, ..Sender::member(id, from) });
        let datagrams = via == Via::Tcp && sender.is_some_and(|sender| sender.datagrams);
        let asker = |allowance| Asker { addr: from, via, magic, allowance, datagrams, recalls: None };
        if sender.or(known).is_none() && self.dialect.recalls() {
            // No ping goes out beside that.
            self.refuse(&asker((!validated).then_some(bytes as usize * AMPLIFICATION)), &UNNAMED.into());
            return None;
        }
        let paid = bytes as usize * AMPLIFICATION;
        let [allowance, most] = [paid.saturating_sub(self.dialect.ping_besides(request)), paid]
            .map(|paid| (!validated).then_some(told_within(paid)));
        let mut asker = asker(allowance);
        let ours = self.sender.network;
        if let Some(Sender { network, .. }) = sender.filter(|sender| sender.network != ours) {
            let reason = format!("this peer is of the network '{ours}', not of '{network}'; see --network");
            self.refuse(&asker, &Refusal::Other(reason));
            return None;
        }
        if via == Via::Udp && self.dialect.carrier(request) == Via::Tcp {
            self.refuse(&asker, &"this is asked over TCP".into());
            return None;
        }
        // A twin is to see that it is not itself that answers.
        let is_twin = sender.is_some_and(|sender| sender.peer.id == self.sender.peer.id);
        let recalls = !is_twin && sender.map_or(known.is_some(), |sender| sender.recalls);
        asker.recalls = recalls.then_some(Recalls { knows_us: sender.is_none(), most });
        Some(Incoming { asker, sender: sender.or(known) })
    }

    /// A ping back came in an answer. Its sender may not know yet who answers.
    pub(crate) fn on_ping_back(&mut self, from: SocketAddr, via: Via, paid: (u32, u64)) -> Option<Incoming> {
        let mut incoming = self.on_request(from, via, paid, None, &Request::Ping)?;
        if let Some(recalls) = &mut incoming.asker.recalls {
            recalls.knows_us = false;
        }
        Some(incoming)
    }

    /// Answers a request. A stranger that has not yet shown that it receives gets no more than it paid for, so that no
    /// attacker can make us flood a victim in whose name it asks (RFC 9000, section 8).
    pub(crate) fn respond(&mut self, to: &Asker, kind: RequestKind, response: Response) {
        let mut message = Message::response(to.magic, kind, response);
        message.sender = (self.dialect.signs(&message.body) && !self.sender.guest).then_some(self.sender);
        let names_us = message.sender.is_some() || kind == RequestKind::Ping;
        match to.recalls.filter(|_| names_us) {
            Some(recalls) => {
                if self.reply_to_recalling(*to, message, recalls) && !self.sender.guest {
                    self.introductions.on_met_by(self.now, to.addr);
                }
            }
            None => drop(self.reply(to, message)),
        }
    }

    /// Answers a request of a peer that will remember who answers, if it does not know that. It needs no addresses but
    /// those of others, and a ping to it that was to go out beside the answer goes in it.
    fn reply_to_recalling(&mut self, mut to: Asker, mut message: Message, recalls: Recalls) -> bool {
        let knows_us = recalls.knows_us && !self.sender.guest;
        match &mut message.body {
            Body::Response(response @ Response::Node(_)) if knows_us => *response = Response::Here,
            Body::Response(Response::Node(peer)) => peer.addr = NOT_TOLD,
            // Without a word in it, it is read as the longer form, which is to name who answers.
            Body::Response(Response::Nodes(peers)) if peers.is_empty() => {}
            Body::Response(response) => {
                if let Response::Nodes(peers) = response {
                    *response = Response::Named(std::mem::take(peers));
                }
                message.sender = message.sender.filter(|_| !knows_us);
            }
            _ => {}
        }
        message.answers = None;
        if !self.sender.guest
            && let Some(at) = self.out.iter().position(|action| is_ping_to(action, &to.addr))
            && let Action::Send { message: ping, .. } = self.out.remove(at)
        {
            self.traffic.sent -= 1;
            message.asks = Some(ping.magic);
            to.allowance = recalls.most;
        }
        self.reply(&to, message)
    }

    /// Tells why a request has no answer.
    pub(crate) fn refuse(&mut self, to: &Asker, reason: &Refusal) {
        self.reply(to, Message::error(to.magic, reason.to_string()));
    }

    /// Whether it fits, and goes out.
    fn reply(&mut self, to: &Asker, mut message: Message) -> bool {
        let brief = |dialect: Dialect| dialect.in_datagram(&message, &self.sender.peer, to.addr, to.allowance);
        if let Some(brief) = to.datagrams.then_some(self.dialect).and_then(brief) {
            self.send(to.addr, Via::Udp, brief);
            return true;
        }
        let fits = to.via == Via::Tcp || self.dialect.fit(&mut message, &self.sender.peer, to.addr, to.allowance);
        if fits {
            self.send(to.addr, to.via, message);
        }
        fits
    }
}

fn is_ping_to(action: &Action, addr: &SocketAddr) -> bool {
    let Action::Send { to, message, .. } = action else { return false };
    to == addr && matches!(message.body, Body::Request(Request::Ping))
}
