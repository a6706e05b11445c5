//! Requests that wait for a peer which is still starting: the next on their way, or this one.
//!
//! In the classroom the user names each peer's first successors, and peers start in any order, seconds apart. A request
//! that comes to one whose successor is not up yet must not go around it: the file may well be there. So it waits here
//! until that peer gives a sign of life, or until it need not be [awaited](super::upkeep::Upkeep::is_awaited) any longer
//! and the request may go around it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::questions::{TRIES, Why};
use super::{MAX_ROUND, Ring};
use crate::config::MAX_TIMEOUT;
use crate::overlay::{Effect, LookupId};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{Route, Routed};

/// Requests that wait here at most; the oldest makes room.
const MAX_WAITING: usize = 256;

/// A request of another peer waits for so long, unless it comes again: whoever sent it sends it every two seconds at most.
const UNASKED: Duration = Duration::from_secs(3);

/// A request that waits.
pub(super) struct Waiting {
    /// For whom: the next on its way, or this peer itself, which is not in the ring yet.
    to: Peer,
    since: Time,
    what: Routed,
    whose: Whose,
}

/// Whose request waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own { lookup: LookupId },
    Other { magic: u64, route: Route },
}

impl Ring {
    /// Whether `to` is still starting; then this peer's own request waits for it.
    pub(super) fn wait_with_own(&mut self, now: Time, to: SocketAddr, lookup: LookupId, what: Routed) -> bool {
        self.wait(now, to, what, Whose::Own { lookup })
    }

    /// Whether `to` is still starting; then another peer's request waits for it, back where it was before that step. A
    /// `join` never does: whoever is let in next to a gap finds its place once the gap is filled.
    pub(super) fn wait_with_other(
        &mut self,
        now: Time,
        to: SocketAddr,
        (magic, route): (u64, Route),
        what: Routed,
    ) -> bool {
        let route = Route { last: false, hops: route.hops.saturating_sub(1), ..route };
        what != Routed::Join && self.wait(now, to, what, Whose::Other { magic, route })
    }

    /// Whether this peer is on its way into the ring itself, and knows too little yet to let others in; then their `join`
    /// waits. Only in the classroom, where every line is compared: elsewhere peers may start by naming one another.
    pub(super) fn wait_to_be_in(&mut self, now: Time, (magic, route): (u64, Route), what: Routed) -> bool {
        let waits = what == Routed::Join && self.options.announce_pings && self.membership.is_pending();
        if waits {
            self.put_off(now, self.me, what, Whose::Other { magic, route });
        }
        waits
    }

    fn wait(&mut self, now: Time, to: SocketAddr, what: Routed, whose: Whose) -> bool {
        let awaited = self.table.at(&to).filter(|peer| self.upkeep.is_awaited(&peer.id));
        if let Some(to) = awaited {
            self.put_off(now, to, what, whose);
        }
        awaited.is_some()
    }

    fn put_off(&mut self, now: Time, to: Peer, what: Routed, whose: Whose) {
        let same = |other: &Waiting| match (other.whose, whose) {
            (Whose::Other { magic, route }, Whose::Other { magic: again, route: new }) => {
                magic == again && route.origin == new.origin
            }
            (one, other) => one == other,
        };
        self.waiting.retain(|other| !same(other));
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting { to, since: now, what, whose });
    }

    /// Sends on what need not wait any longer.
    pub(super) fn end_waiting(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.waiting.is_empty() {
            return;
        }
        self.waiting.retain(|one| matches!(one.whose, Whose::Own { .. }) || now.since(one.since) < UNASKED);
        let all = std::mem::take(&mut self.waiting).into_iter();
        let is_out = |peer: &Peer| peer.id == self.me.id && self.membership.is_pending();
        let waits = |one: &Waiting| is_out(&one.to) || self.upkeep.is_awaited(&one.to.id);
        let (still, ready): (VecDeque<_>, VecDeque<_>) = all.partition(waits);
        self.waiting = still;
        for Waiting { what, whose, .. } in ready {
            match whose {
                Whose::Own { lookup } => self.send_again(now, lookup, what, Vec::new(), out),
                Whose::Other { magic, route } => {
                    let told = self.tell_once(magic, route.origin.id);
                    self.pass_on(magic, route, what, &[], told, out);
                }
            }
        }
    }

    /// Nobody waits for this any longer.
    pub(super) fn stop_waiting(&mut self, lookup: LookupId) {
        self.waiting.retain(|one| one.whose != Whose::Own { lookup });
    }

    /// How often a request of this peer's own is sent one way. While the ring is starting, somebody on the way may let it
    /// wait; it is told from one sent before by its stamp alone, so that one goes out again and again.
    pub(super) fn tries_of_own(&self, now: Time) -> u8 {
        let Some(starting) = self.upkeep.starting(now) else { return TRIES };
        // What waits is looked at once a round.
        let more = (starting + 2 * MAX_ROUND).as_millis().div_ceil(MAX_TIMEOUT.as_millis());
        TRIES.saturating_add(u8::try_from(more).unwrap_or(u8::MAX))
    }

    /// A peer is dead: what this peer sent over it goes another way at once.
    pub(super) fn send_around(&mut self, now: Time, gone: SocketAddr, out: &mut Vec<Effect>) {
        let sent_there = |why: &Why| matches!(why, Why::Routed { to, .. } if *to == gone);
        let tags: Vec<_> = self.asked.iter().filter(|(_, why)| sent_there(why)).map(|(tag, _)| *tag).collect();
        for tag in tags {
            if let Some(Why::Routed { lookup, what, mut tried, .. }) = self.asked.remove(&tag) {
                tried.push(gone);
                self.send_again(now, lookup, what, tried, out);
            }
        }
    }
}
