//! Messages that do not get where they are sent: no peer listens there, a connection is late, or none comes about.

use std::net::SocketAddr;

use super::Node;
use super::event::Obstacle;
use crate::overlay::Cause;
use crate::wire::{Body, Message};

impl Node {
    /// A message met an obstacle. If that may be chance, pings tell whether the peer is gone; until they do, what is
    /// passed on is sent again, unless it [went around][`Request::goes_around`] that peer once the connection was late.
    /// Our own requests are repeated anyway, and a peer that misses an answer asks again. Where round trips are long a
    /// connection is late as a rule, and tells nothing.
    ///
    /// [`Request::goes_around`]: crate::wire::Request::goes_around
    pub(super) fn on_obstacle(&mut self, to: SocketAddr, message: Message, obstacle: Obstacle) {
        if obstacle == Obstacle::Refused {
            let (outcome, forwarded) = self.desk.exchange.on_undeliverable(&to, message);
            outcome.into_iter().for_each(|outcome| self.deliver(outcome));
            return self.desk.tell_overlay(Cause::Undeliverable { addr: to, forwarded });
        }
        let Body::Request(request) = message.body else { return };
        let deliveries = match obstacle {
            Obstacle::Delay if !self.desk.exchange.is_far(&to) => {
                Vec::from_iter(self.desk.exchange.on_delay(to, message.magic))
            }
            Obstacle::Silence => {
                self.desk.suspect(to);
                self.desk.exchange.on_no_connection(to)
            }
            Obstacle::Delay | Obstacle::Refused | Obstacle::Crowd => return,
        };
        deliveries.into_iter().for_each(|outcome| self.deliver(outcome));
        if request.origin().is_none_or(|origin| self.desk.is_me(origin)) {
            return;
        }
        let goes_around = request.goes_around() || !self.desk.knows(&to);
        match obstacle {
            Obstacle::Delay if goes_around || request.is_join() => {
                self.desk.tell_overlay(Cause::Detour { addr: to, magic: message.magic, request: &request });
            }
            Obstacle::Silence if !goes_around => self.desk.exchange.forward(to, message.magic, request),
            _ => {}
        }
    }
}
