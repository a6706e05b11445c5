//! What goes unanswered: requests, offers, messages that cannot be delivered.

use std::net::SocketAddr;

use super::classroom::Handed;
use super::context::AskPurpose;
use super::notice::FailureKind;
use super::pending::{Ask, Waiting};
use super::uplink::Offering;
use super::{Node, Obstacle};
use crate::overlay::{Cause, Target};
use crate::wire::ring::RingRequest;
use crate::wire::{Body, Message, Request};

/// Why an offer to a peer failed that died meanwhile.
const SILENT: &str = "it went silent";

/// Datagrams sent at most to find out whether a peer that was offered something is alive. It is asked every second, and
/// while blocks fill the way to it a datagram is easily lost: with fewer, many offers would fail by chance.
const PULSE_TRIES: u8 = 5;

impl Node {
    /// A request of ours has no answer.
    pub(super) fn on_ask_failed(&mut self, waiting: Waiting<AskPurpose>, reason: &str) {
        let Waiting { to, purpose, .. } = waiting;
        let cx = &mut self.cx;
        match purpose {
            AskPurpose::Overlay(tag) => cx.overlay.on(cx.now, Cause::NoAnswer { tag, to }, &mut cx.effects),
            AskPurpose::Offer { ticket, owner, key, to: peer } => {
                cx.uplink.end(cx.now, ticket, to.addr, false);
                self.on_offered(owner, key, peer, Err(reason.to_owned()));
            }
            AskPurpose::Probe { key, to } => {
                cx.overlay.on(cx.now, Cause::Silent { addr: to.addr }, &mut cx.effects);
                self.repair.on_probe(cx, key, to, false);
            }
            AskPurpose::Vouch => self.pulls.on_no_proof(to.addr),
            AskPurpose::Pulse => {
                cx.overlay.on(cx.now, Cause::Silent { addr: to.addr }, &mut cx.effects);
                self.fail_offers(to.addr);
            }
            AskPurpose::Hand { handing, to } => {
                self.classroom.on_handed(cx, handing, to, Handed::Silent(reason.to_owned()));
            }
            AskPurpose::User(command) => {
                cx.fail(command, FailureKind::TimedOut, format!("no answer from {}; does a peer run there?", to.addr));
            }
        }
    }

    /// An offer is sent again: meanwhile, is its receiver alive at all?
    pub(super) fn check_pulse(&mut self, to: SocketAddr, request: &Request) {
        if matches!(request, Request::Store { .. } | Request::Ring(RingRequest::Transfer { .. }))
            && !self.cx.pending.any(|waiting| waiting.to.addr == to && matches!(waiting.purpose, AskPurpose::Pulse))
        {
            self.cx.ask_with(Target { id: None, addr: to }, Ask::new(Request::Ping, AskPurpose::Pulse), PULSE_TRIES);
        }
    }

    /// The peer at `addr` is dead: nothing offered to it will be taken.
    pub(super) fn fail_offers(&mut self, addr: SocketAddr) {
        let offers = self.cx.pending.take_where(|waiting| {
            waiting.to.addr == addr && matches!(waiting.purpose, AskPurpose::Offer { .. } | AskPurpose::Hand { .. })
        });
        for waiting in offers {
            self.on_ask_failed(waiting, SILENT);
        }
        for Offering { owner, key, to, .. } in self.cx.uplink.take_where(|offering| offering.to.addr == addr) {
            self.on_offered(owner, key, to, Err(SILENT.to_owned()));
        }
    }

    pub(super) fn on_undeliverable(&mut self, to: SocketAddr, message: Message) {
        let own = self.cx.pending.remove(message.magic);
        let forwarded = match message.body {
            Body::Request(request) if own.is_none() => Some((message.magic, request)),
            _ => None,
        };
        if let Some(waiting) = own {
            self.on_ask_failed(waiting, "it cannot be reached");
        }
        let cx = &mut self.cx;
        cx.overlay.on(cx.now, Cause::Undeliverable { addr: to, forwarded }, &mut cx.effects);
    }

    /// A message met an obstacle that may be chance. Pings tell whether the peer is gone; until they do, what is passed on
    /// is sent again. Our own requests are repeated anyway, and whoever misses an answer asks again.
    pub(super) fn on_obstacle(&mut self, to: SocketAddr, message: Message, obstacle: Obstacle) {
        let cx = &mut self.cx;
        let Body::Request(request) = message.body else { return };
        if obstacle == Obstacle::Crowd {
            return;
        }
        cx.overlay.on(cx.now, Cause::Silent { addr: to }, &mut cx.effects);
        let me = cx.overlay.me().id;
        let passed_on = matches!(&request, Request::Ring(RingRequest::Routed { route, .. }) if route.origin.id != me);
        if !passed_on {
            return;
        }
        if cx.overlay.peers().iter().any(|peer| peer.addr == to) {
            cx.send_request(to, message.magic, request);
        } else {
            let forwarded = Some((message.magic, request));
            cx.overlay.on(cx.now, Cause::Undeliverable { addr: to, forwarded }, &mut cx.effects);
        }
    }
}
