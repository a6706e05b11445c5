//! Which peers begin to pull what they are offered: a connection that asks for a block shows it.
//!
//! A peer that answers pings and does not connect cannot: a firewall, or an address that is translated, lets its
//! datagrams through and no TCP. A slow way and a queue there take their time too, so a peer is *idle* only if its host
//! has asked for none of all that is offered to it, and for nothing else lately. Where peers share a host, what one of
//! them asked for counts for each, until one of them has taken it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::pending::PendingRequest;
use super::{Exchange, RequestOutcome, SentFor};
use crate::config::{DELIVERED_MEMORY, LATE_CONNECTION, REPUBLISH_INTERVAL};
use crate::id::Key;
use crate::node::action::Action;
use crate::node::notice::Notice;
use crate::node::refusal::Refusal;
use crate::node::trouble::Trouble;
use crate::overlay::Late;
use crate::patience;
use crate::recent::Recent;
use crate::time::Time;

/// A peer has this long to begin. A lost segment that opens a connection is sent again after a second.
const BEGINNING: Duration = Duration::from_millis(1500);

/// Over a long way a peer has so many round trips to begin: the offer, a connection and what asks for the block take
/// two of them.
const BEGINNING_TRIPS: u32 = 4;

/// A peer that has not begun after this long is hesitating.
const HESITATION: Duration = Duration::from_millis(300);

/// An offer that has not left for so long is given up: as long as two connections take to fail.
const NO_CONNECTION: Duration = Duration::from_millis(3500);

/// Where this many hosts cannot connect to this one, the fault is here: that is no chance.
const UNREACHED_HOSTS: usize = 3;

/// What hosts asked for.
#[derive(Default)]
pub(super) struct Pulling {
    /// When each host asked for each block last, and how often beyond what peers there have taken.
    asked: Recent<(Key, IpAddr), (Time, u32), DELIVERED_MEMORY>,
    /// When each host asked for any.
    hosts: Recent<IpAddr, Time, DELIVERED_MEMORY>,
    /// The peer at a host that did not begin with this block.
    idle: Recent<(Key, IpAddr), SocketAddr, DELIVERED_MEMORY>,
    /// Hosts that cannot connect to this one, since any did; [`UNREACHED_HOSTS`] at most.
    unreached_by: BTreeSet<IpAddr>,
    /// When that was told.
    told: Option<Time>,
}

impl Exchange {
    /// Blocks were asked for over connections with these hosts.
    pub(crate) fn note_asked(&mut self, blocks: Vec<(Key, IpAddr)>) {
        if !blocks.is_empty() {
            self.pulling.unreached_by.clear();
        }
        for (key, host) in blocks {
            let host = host.to_canonical();
            let times = self.pulling.asked.get(&(key, host)).map_or(0, |(_, times)| *times);
            self.pulling.asked.insert((key, host), (self.now, times + 1));
            self.pulling.hosts.insert(host, self.now);
            if let Some(&late) = self.pulling.idle.get(&(key, host)) {
                self.pulling.idle.remove(&(key, host));
                self.uplink.on_beginning(late);
            }
        }
    }

    /// A peer at this host has this block now: what it asked for shows nothing of others there.
    pub(super) fn note_taken(&mut self, key: Key, host: IpAddr) {
        let asked = (key, host.to_canonical());
        if let Some(&(at, times)) = self.pulling.asked.get(&asked) {
            self.pulling.asked.insert(asked, (at, times.saturating_sub(1)));
        }
    }

    /// Whether a connection to this address, which takes a round trip, may well take as long as one that is late.
    pub(crate) fn is_far(&self, to: &SocketAddr) -> bool {
        let trip = self.pending.usual_trip(to);
        trip + trip / 4 > LATE_CONNECTION
    }

    /// The connection over which the request `magic` is to go is late. What comes of it, where something else can be
    /// tried.
    pub(crate) fn on_delay(&mut self, to: SocketAddr, magic: u64) -> Option<RequestOutcome> {
        let waiting = self.pending.get(magic).filter(|waiting| waiting.to.addr == to)?;
        match waiting.why {
            SentFor::Overlay(tag, _) => Some(RequestOutcome::Late { tag, sent: waiting.sent(), late: Late::Doubtful }),
            SentFor::Offer { .. } if !self.uplink.stalls(self.now, &to) => {
                self.on_idle(to);
                Some(RequestOutcome::Stalls(to))
            }
            SentFor::Part(_) if waiting.request.offers_file() => Some(RequestOutcome::Stalls(to)),
            _ => None,
        }
    }

    /// No connection to the peer at `to` came about in time, over which messages were to go. What comes of the offers
    /// that have waited for one for long: the first time it may be chance.
    pub(crate) fn on_no_connection(&mut self, to: SocketAddr) -> Vec<RequestOutcome> {
        let now = self.now;
        let failed = self.pending.take_where(|waiting| {
            let since = match waiting.why {
                SentFor::Offer { number: (since, _), .. } => Some(since),
                SentFor::Part(_) if waiting.request.offers_file() => Some(waiting.begun()),
                _ => None,
            };
            since.is_some_and(|since| now.since(since) >= NO_CONNECTION) && waiting.to.addr == to
        });
        if !failed.is_empty() {
            self.uplink.on_not_pulled(now, to, false);
        }
        failed.into_iter().map(|waiting| self.fail(waiting, "no connection to it comes about")).collect()
    }

    /// A peer says that no connection to this one comes about. Where several hosts say so and none connects, no peer
    /// can have what is kept here, and the user of this one is told, once an hour at most: three may say so again and
    /// again.
    pub(super) fn on_unreached(&mut self, by: SocketAddr) {
        self.uplink.on_not_pulled(self.now, by, false);
        let (hosts, now) = (&mut self.pulling.unreached_by, self.now);
        let are_enough =
            hosts.len() < UNREACHED_HOSTS && hosts.insert(by.ip().to_canonical()) && hosts.len() == UNREACHED_HOSTS;
        if are_enough && self.pulling.told.is_none_or(|told| now.since(told) >= REPUBLISH_INTERVAL) {
            self.pulling.told = Some(now);
            self.out.push(Action::Notify(Notice::Trouble { trouble: Trouble::Unreached }));
        }
    }

    /// What is to be said of a peer that something was offered to `since` then, and that has yet to begin.
    pub(super) fn late_beginning(&mut self, since: Time, to: SocketAddr) -> Option<RequestOutcome> {
        if self.is_idle(since, &to) {
            self.on_idle(to);
            return Some(RequestOutcome::Stalls(to));
        }
        self.hesitates(since, &to).then_some(RequestOutcome::Hesitates(to))
    }

    /// Whether a peer that something was offered to `since` then has not begun with any of all that it is offered.
    fn is_idle(&self, since: Time, to: &SocketAddr) -> bool {
        let (now, host) = (self.now, to.ip().to_canonical());
        let beginning = self.time_to_begin(to, BEGINNING);
        let lately = |at: &Time| now.since(*at) < beginning;
        if lately(&since) || self.uplink.stalls(now, to) || self.pulling.hosts.get(&host).is_some_and(lately) {
            return false;
        }
        !self.pending.any(|waiting| waiting.to.addr == *to && self.has_begun(waiting))
    }

    /// Whether a peer that something was offered to `since` then keeps all waiting: no peer pulls anything of all that
    /// is offered.
    fn hesitates(&self, since: Time, to: &SocketAddr) -> bool {
        self.now.since(since) >= self.time_to_begin(to, HESITATION)
            && !self.uplink.stalls(self.now, to)
            && !self.pending.any(|waiting| self.has_begun(waiting))
    }

    fn time_to_begin(&self, to: &SocketAddr, least: Duration) -> Duration {
        self.pending.round_trip(to).map_or(least, |trip| least.max(trip * BEGINNING_TRIPS))
    }

    /// Whether its host has asked for what this request offers.
    fn has_begun(&self, waiting: &PendingRequest) -> bool {
        let SentFor::Offer { number: (since, _), offer } = &waiting.why else { return false };
        let asked = self.pulling.asked.get(&(offer.key, offer.to.addr.ip().to_canonical()));
        asked.is_some_and(|(asked, times)| asked >= since && *times > 0)
    }

    /// Whether this peer is being sent something over a slow way, in which a ping is easily lost.
    pub(super) fn is_sent_slowly(&self, to: &SocketAddr) -> bool {
        self.pending.any(|waiting| waiting.to.addr == *to && self.is_slowly_taken(waiting))
    }

    /// Why an offer that was made at `since` was refused, which may be that this peer's way out is slow.
    pub(super) fn unless_slow(&self, since: Time, why: Refusal) -> Refusal {
        if why == Refusal::NotPulled && self.uplink.was_slow(self.now, since) { Refusal::Slow } else { why }
    }

    /// Whether an offer has not run to its limit because this peer's way out is slow: its receiver is being sent
    /// something of all that it is offered, and others were no faster.
    pub(super) fn is_slowly_taken(&self, waiting: &PendingRequest) -> bool {
        let SentFor::Offer { number: (since, _), .. } = waiting.why else { return false };
        let to = waiting.to.addr;
        let is_sent = |other: &PendingRequest| {
            let SentFor::Offer { offer, .. } = &other.why else { return false };
            // A peer that was sent it all and says nothing is not slow.
            let whole = self.deliveries.unsaved(offer.key, to.ip());
            let ended = whole.is_some_and(|at| self.now.since(at) >= patience::OFFER);
            other.to.addr == to && !ended && self.has_begun(other)
        };
        self.uplink.may_be_slow(self.now, since) && (is_sent(waiting) || self.pending.any(is_sent))
    }

    /// This peer is idle: until it begins, others are waited for in its stead.
    fn on_idle(&mut self, to: SocketAddr) {
        self.uplink.on_not_pulled(self.now, to, false);
        let (idle, host) = (&mut self.pulling.idle, to.ip().to_canonical());
        self.pending.any(|waiting| {
            if let SentFor::Offer { offer, .. } = &waiting.why
                && waiting.to.addr == to
            {
                idle.insert((offer.key, host), to);
            }
            false
        });
    }

    /// The peer at `addr` could not pull what others could.
    pub(crate) fn note_stall(&mut self, addr: SocketAddr) {
        self.uplink.on_not_pulled(self.now, addr, true);
    }
}
