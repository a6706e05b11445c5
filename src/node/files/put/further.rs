//! Others are offered a block where those that it was offered to refuse it, are silent, do not begin to pull it, or say
//! that they have it and do not show it.

use std::net::SocketAddr;

use super::super::placing::{BEGINS_NOTHING, Placing, RefusedBy, TAKES_NOTHING, tell_passed_over};
use super::{Flow, GOES_ON, Put};
use crate::id::Key;
use crate::node::desk::Desk;
use crate::node::refusal::Refusal;
use crate::node::ticket::Taken;
use crate::overlay::Goal;
use crate::peer::Peer;

/// Of the peers nearest to a block, at most this many are offered it where peers refuse.
const MOST_ASKED: usize = 64;

/// A peer that failed to take more offers than this is not offered the same block once more.
const MOST_FAILURES: u32 = 2;

impl Put {
    /// A peer is silent: what it was offered is offered to the next nearest too.
    pub(super) fn on_doubtful(&mut self, desk: &mut Desk, addr: SocketAddr) -> Flow {
        let is_late = |block: &Placing| block.out.contains(&addr);
        self.keys_where(is_late).into_iter().try_for_each(|key| self.do_without(desk, key, addr))
    }

    /// A peer has yet to begin with what it is offered, and others have taken theirs: the next nearest are offered it
    /// too, if any are left. Where none are, it is waited for.
    pub(super) fn on_hesitates(&mut self, desk: &mut Desk, addr: SocketAddr) -> Flow {
        let is_late = |block: &Placing| block.out.contains(&addr) && block.saved > 0;
        for key in self.keys_where(is_late) {
            self.go_further(desk, key);
            let has_others = |block: &Placing| block.candidates.iter().any(|peer| !desk.stalls(&peer.addr));
            if self.placing.get(&key).is_some_and(has_others) {
                self.do_without(desk, key, addr)?;
            }
        }
        GOES_ON
    }

    /// A peer lives and does not begin to take what it is offered. It may still take it; where none of those that have
    /// it to take begins, the next nearest are offered it too. It is not waited for where others have made up the
    /// quorum.
    pub(super) fn on_stalls(&mut self, desk: &mut Desk, addr: SocketAddr) -> Flow {
        let is_there = |block: &Placing| block.out.contains(&addr) || block.replaced.contains(&addr);
        for key in self.keys_where(is_there) {
            if self.placing.get(&key).is_some_and(|placing| placing.rests_on(|addr| desk.stalls(addr))) {
                self.go_further(desk, key);
            }
            self.offer_on(desk, key)?;
        }
        GOES_ON
    }

    /// The blocks on their way that `matches`.
    fn keys_where(&self, matches: impl Fn(&Placing) -> bool) -> Vec<Key> {
        self.placing.iter().filter(|(_, block)| matches(block)).map(|(&key, _)| key).collect()
    }

    /// A peer took the block, or did not.
    pub(super) fn on_offer_ended(
        &mut self,
        desk: &mut Desk,
        key: Key,
        to: Peer,
        result: Result<Taken, Refusal>,
    ) -> Flow {
        if result.is_err() {
            self.go_further(desk, key);
        }
        if !matches!(result, Ok(_) | Err(Refusal::Unjudged(_))) {
            *self.failures.entry(to.addr).or_default() += 1;
        }
        // What it sent to find out who offers may be lost.
        if matches!(result, Err(Refusal::Slow | Refusal::Unproven)) {
            self.offer_again(key, to);
        }
        let could_not = result == Err(Refusal::NotPulled);
        let result = result.map(drop).map_err(|why| RefusedBy { by: to.to_string(), why });
        self.on_copy(desk, key, to.addr, result)?;
        // If others could pull it, that is not this peer's way out: nor will that one pull the rest.
        if !could_not || self.placing.get(&key).is_some_and(|placing| placing.saved == 0) {
            return GOES_ON;
        }
        desk.note_stall(to.addr);
        self.on_stalls(desk, to.addr)
    }

    /// This peer's way out was too slow for a peer that was offered the block: it is offered it again if no other takes
    /// it. Fewer move at a time by then.
    pub(super) fn offer_again(&mut self, key: Key, to: Peer) {
        if self.failures.get(&to.addr).is_none_or(|&failures| failures <= MOST_FAILURES)
            && let Some(placing) = self.placing.get_mut(&key)
        {
            placing.tried.remove(&to.addr);
            placing.go_further(vec![to]);
        }
    }

    /// The peer at `addr` occupies no place any longer, though it may still take the block.
    pub(super) fn do_without(&mut self, desk: &mut Desk, key: Key, addr: SocketAddr) -> Flow {
        let Some(placing) = self.placing.get_mut(&key) else { return GOES_ON };
        if !placing.out.remove(&addr) {
            return GOES_ON;
        }
        placing.replaced.insert(addr);
        self.offer_on(desk, key)
    }

    /// Peers that refuse, or lie, may be many ids of one attacker: then peers further away will do, [`MOST_ASKED`] at
    /// most.
    pub(super) fn go_further(&mut self, desk: &Desk, key: Key) {
        if let Some(placing) = self.placing.get_mut(&key) {
            placing.go_further(desk.replica_set(&key, MOST_ASKED));
        }
    }

    /// Looks once for others where no peer is left to be offered the block in place of silent peers.
    pub(super) fn widen(&mut self, desk: &mut Desk, key: Key) {
        let ticket = self.ticket(key);
        let Some(placing) = self.placing.get_mut(&key) else { return };
        if placing.lacks() && !placing.replaced.is_empty() && !placing.widened && placing.lookup.is_none() {
            placing.widened = true;
            placing.lookup = Some(desk.look_up(ticket, key, Goal::Peers));
        }
    }

    /// The user hears why a block has fewer copies than it should.
    pub(super) fn tell_of_stalling(&self, desk: &mut Desk, key: Key, placing: &Placing) {
        for peer in placing.passed_over() {
            tell_passed_over(desk, (self.command, key), (peer, peer.addr), TAKES_NOTHING);
        }
        for addr in placing.replaced.iter().filter(|addr| desk.stalls(addr)).copied().collect::<Vec<_>>() {
            tell_passed_over(desk, (self.command, key), (&addr, addr), BEGINS_NOTHING);
        }
    }
}
