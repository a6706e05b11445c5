//! Favours: what takes more than an answer is done for others within bounds, and only for those that receive.

use std::net::SocketAddr;

use super::Desk;
use crate::node::budget::{Favour, Favours};
use crate::node::ticket::{PartId, Ticket};
use crate::overlay::Asker;
use crate::source::who_may_give_way;
use crate::wire::Request;

/// Addresses that are pinged at a time because a peer there asked for a favour; so few that it costs little to find one
/// that gives way.
const MAX_PROVING: usize = 256;

impl Desk {
    /// A favour of so many units for a peer that asks for something, if it has one now: it is spent.
    pub(in crate::node) fn grant<const RATE: u32>(
        &self,
        favours: &mut Favours<RATE>,
        to: &Asker,
        units: u32,
    ) -> Option<Favour> {
        let is_known = to.is_validated() && self.knows(&to.addr);
        favours.take(self.now(), to.addr, is_known, units)
    }

    /// Whether who asks for a favour has shown that it receives. If not, it is pinged and gets no answer: when it asks
    /// again, it has.
    pub(in crate::node) fn has_proof(&mut self, asker: &Asker) -> bool {
        let is_there = asker.is_validated();
        if !is_there && !self.proving.contains(&asker.addr) && self.make_room_to_prove(asker.addr) {
            self.proving.insert(asker.addr);
            self.ask_once(Ticket::of(PartId::Leases, 0), asker.addr, Request::Ping);
        }
        is_there
    }

    /// Whether one more address can be pinged so. Where all places are taken, another one gives its place: its answer
    /// shows that it receives all the same.
    fn make_room_to_prove(&mut self, newcomer: SocketAddr) -> bool {
        if self.proving.len() < MAX_PROVING {
            return true;
        }
        let proving: Vec<SocketAddr> = self.proving.iter().copied().collect();
        let giver = self.any_of(who_may_give_way(newcomer, &proving));
        giver.is_some_and(|giver| self.proving.remove(&giver))
    }

    /// The ping of a peer there, so that it shows that it receives, is over.
    pub(in crate::node) fn end_proof(&mut self, addr: &SocketAddr) {
        self.proving.remove(addr);
    }
}
