//! Who begins to pull what it is offered: a connection that asks for a block shows it.
//!
//! A peer that answers pings and does not connect cannot: a firewall, or an address that is translated, lets its
//! datagrams through and no TCP. A slow way and a queue there take their time too, so a peer is *idle* only if its host
//! has asked for none of all that is offered to it, and for nothing else lately. Where peers share a host, each counts
//! as that host does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Exchange, Why};
use crate::config::DELIVERED_MEMORY;
use crate::id::Key;
use crate::recent::Recent;
use crate::time::Time;

/// A peer has this long to begin. A lost segment that opens a connection is sent again after a second.
const BEGINNING: Duration = Duration::from_millis(1500);

/// What hosts asked for.
#[derive(Default)]
pub(super) struct Pulling {
    /// When each host asked for each block last.
    asked: Recent<(Key, IpAddr), Time, DELIVERED_MEMORY>,
    /// When each host asked for any.
    hosts: Recent<IpAddr, Time, DELIVERED_MEMORY>,
    /// The peer at a host that did not begin with this block.
    idle: Recent<(Key, IpAddr), SocketAddr, DELIVERED_MEMORY>,
}

impl Exchange {
    /// Blocks were asked for over connections with these hosts.
    pub(crate) fn note_asked(&mut self, blocks: Vec<(Key, IpAddr)>) {
        for (key, host) in blocks {
            let host = host.to_canonical();
            self.pulling.asked.insert((key, host), self.now);
            self.pulling.hosts.insert(host, self.now);
            if let Some(&late) = self.pulling.idle.get(&(key, host)) {
                self.pulling.idle.remove(&(key, host));
                self.uplink.on_beginning(late);
            }
        }
    }

    /// Whether a peer that something was offered to `since` then has not begun with any of all that it is offered.
    pub(super) fn is_idle(&self, since: Time, to: &SocketAddr) -> bool {
        let (now, host) = (self.now, to.ip().to_canonical());
        let lately = |at: &Time| now.since(*at) < BEGINNING;
        if lately(&since) || self.uplink.stalls(now, to) || self.pulling.hosts.get(&host).is_some_and(lately) {
            return false;
        }
        let begun = |key: &Key, since: Time| self.pulling.asked.get(&(*key, host)).is_some_and(|asked| *asked >= since);
        !self.pending.any(|waiting| {
            matches!(&waiting.why, Why::Offer { place, offer } if waiting.to.addr == *to && begun(&offer.key, place.0))
        })
    }

    /// This peer is idle: until it begins, others are waited for in its stead.
    pub(super) fn on_idle(&mut self, to: SocketAddr) {
        self.uplink.on_no_beginning(self.now, to);
        let (idle, host) = (&mut self.pulling.idle, to.ip().to_canonical());
        self.pending.any(|waiting| {
            if let Why::Offer { offer, .. } = &waiting.why
                && waiting.to.addr == to
            {
                idle.insert((offer.key, host), to);
            }
            false
        });
    }

    /// The peer at `addr` could not pull what others could.
    pub(crate) fn note_stall(&mut self, addr: SocketAddr) {
        self.uplink.on_no_end(self.now, addr);
    }
}
