//! The desk, where parts offer blocks to other peers, take what others offer, and drop what they have asked for.

use std::net::SocketAddr;

use super::Desk;
use crate::config::MAX_BLOCK_SIZE;
use crate::id::Key;
use crate::lease::Lease;
use crate::node::job::Urgency;
use crate::node::ticket::{Offer, PartId, Ticket};
use crate::peer::Peer;
use crate::source::Subnet;

impl Desk {
    /// Where an address is from, unless this peer is from there as well.
    pub(super) fn other_source(&self, addr: SocketAddr) -> Option<Subnet> {
        Some(Subnet::of(addr)).filter(|source| *source != Subnet::of(self.me().addr))
    }

    /// Whether a peer that offers a block from there, for these leases, leaves enough room to others.
    pub(crate) fn has_share(&self, (key, size): (Key, Option<u32>), leases: &[Lease], from: SocketAddr) -> bool {
        let most = self.holdings.size(&key).or(size).unwrap_or(MAX_BLOCK_SIZE);
        let leases = self.holdings.meant(&key, leases.to_vec());
        self.other_source(from).is_none_or(|source| self.holdings.has_share(&key, most, &leases, source))
    }

    /// Whether a block that is here can be kept for these leases too.
    pub(crate) fn has_room_for(&self, key: &Key, leases: &[Lease]) -> bool {
        let leases = self.holdings.meant(key, leases.to_vec());
        self.holdings.check_room(key, 0, &leases).is_ok()
    }

    /// [`offer`](Self::offer), to keep replica sets full.
    pub(crate) fn offer_for_repair(&mut self, ticket: Ticket, block: (Key, u32), to: Peer) {
        self.repair_budget.spend(self.exchange.now(), block.1);
        self.offer_held(ticket, Urgency::Others, block, to);
    }

    /// Offers a block that is held here to a peer when its turn comes, on behalf of those that it is kept for here.
    pub(crate) fn offer_held(&mut self, ticket: Ticket, urgency: Urgency, block: (Key, u32), to: Peer) {
        let leases = self.holdings.leases(&block.0);
        self.offer(ticket, urgency, block, leases, to);
    }

    /// Offers a block to a peer when its turn comes: please pull it from here and keep it, on behalf of these leases.
    /// Its end follows.
    pub(crate) fn offer(
        &mut self,
        ticket: Ticket,
        urgency: Urgency,
        (key, size): (Key, u32),
        leases: Vec<Lease>,
        to: Peer,
    ) {
        self.dial(to.addr, urgency);
        self.exchange.offer(Offer { ticket, urgency, key, to, to_show: true }, size, leases);
    }

    /// Offers a block to a peer that should have it, so that it keeps it on behalf of this lease too. Its word counts:
    /// here may be nothing to compare with.
    pub(crate) fn lay(&mut self, ticket: Ticket, urgency: Urgency, (key, size): (Key, u32), lease: Lease, to: Peer) {
        let offer = Offer { ticket, urgency, key, to, to_show: false };
        self.dial(to.addr, urgency);
        self.exchange.offer(offer, size, vec![lease]);
    }

    /// Drops the offers made under these tickets, or that wait for their turn. Nothing more comes of them.
    pub(crate) fn drop_offers(&mut self, unwanted: impl Fn(&Ticket) -> bool) {
        self.exchange.drop_offers(&unwanted);
        self.drop_claims(unwanted);
    }

    /// Ends early what a part has ordered and offered for its thing number `number`. Of jobs that have begun the
    /// outcomes still come.
    pub(crate) fn drop_work(&mut self, owner: PartId, number: u64) {
        let is_its = |ticket: &Ticket| (ticket.owner, ticket.number) == (owner, number);
        self.drop_offers(is_its);
        self.drop_jobs(is_its);
    }

    /// Ends early the jobs that were ordered under tickets that `matches`. Of those that have begun the outcomes still
    /// come.
    pub(crate) fn drop_jobs(&mut self, matches: impl Fn(&Ticket) -> bool) {
        for job in self.jobs.ordered_under(matches) {
            self.cancel_job(job);
        }
    }
}
