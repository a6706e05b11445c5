//! A block that others offered, on its way here or waiting for its turn.

use std::net::SocketAddr;

use crate::id::Key;
use crate::lease::Lease;
use crate::node::desk::Desk;
use crate::node::job::{Holder, JobError, JobErrorKind, JobId, Urgency};
use crate::node::refusal::Refusal;
use crate::node::ticket::{PartId, Ticket};
use crate::overlay::Asker;
use crate::patience;
use crate::source::{Subnet, count, who_gives_way};
use crate::time::Time;

/// An offer as it came.
#[derive(Clone, Debug)]
pub(super) struct IncomingOffer {
    pub(super) from: Asker,
    pub(super) key: Key,
    pub(super) size: Option<u32>,
    pub(super) leases: Vec<Lease>,
}

/// A block on its way here.
pub(super) struct Pull {
    pub(super) from: SocketAddr,
    /// When it was offered last.
    pub(super) since: Time,
    /// What is here under its name cannot be vouched for: it is pulled, whatever the holdings say.
    pub(super) unsound: bool,
    /// What is here under its name is being looked at.
    pub(super) looking: bool,
    /// The job that pulls it, and when that was ordered.
    pub(super) job: Option<(JobId, Time)>,
    /// It came too slowly, and gives way.
    pub(super) given_up: bool,
    /// The peers that want to know when it is saved: `from`, and others that offered it meanwhile.
    pub(super) waiting: Vec<IncomingOffer>,
}

impl Pull {
    /// Nothing of it was ordered yet.
    pub(super) const fn of(from: SocketAddr, since: Time, unsound: bool, waiting: Vec<IncomingOffer>) -> Self {
        Self { from, since, unsound, looking: false, job: None, given_up: false, waiting }
    }

    /// One more wants to know when it is saved. Returns who has no place among so many: of the source that has most
    /// the one who came last, or the newcomer.
    pub(super) fn join(&mut self, offer: IncomingOffer, most: usize) -> Option<IncomingOffer> {
        let source = |offer: &IncomingOffer| Subnet::of(offer.from.addr);
        let mut displaced = None;
        if self.waiting.len() >= most {
            let counts = count(self.waiting.iter().map(source));
            let gives_way = who_gives_way(source(&offer), counts.iter().map(|(source, count)| (*source, *count)));
            let Some(last) = self.waiting.iter().rposition(|known| Some(source(known)) == gives_way) else {
                return Some(offer);
            };
            displaced = Some(self.waiting.remove(last));
        }
        self.waiting.push(offer);
        displaced
    }

    /// Orders that the block be pulled, or what is here of it be looked at. Else says why not.
    pub(super) fn begin(&mut self, desk: &mut Desk, key: Key) -> Result<(), Refusal> {
        // The peer that offered it last so long ago has given up by now.
        if desk.now().since(self.since) > patience::OFFER {
            return Err(Refusal::Busy);
        }
        if desk.is_leaving() {
            return Err(Refusal::Leaving);
        }
        let ticket = Ticket::block(PartId::Pulls, key);
        let leases = self.leases();
        self.looking = desk.holds(&key) && !self.unsound;
        if self.looking {
            if !desk.has_room_for(&key, &leases) {
                return Err(Refusal::Full);
            }
            desk.look_at(ticket, Urgency::Others, key, (&leases, Some(self.from)));
            return Ok(());
        }
        let job = desk.take_in(ticket, Urgency::Others, (key, self.size()), &leases, Holder::Peer(self.from));
        self.job = Some((job.map_err(|error| why_not(&error))?, desk.now()));
        Ok(())
    }

    /// Whether the block, and what it is to be kept for, may count for who offers it.
    pub(super) fn has_share(&self, desk: &Desk, key: Key) -> bool {
        desk.has_share((key, self.size()), &self.leases(), self.from)
    }

    fn size(&self) -> Option<u32> {
        self.waiting.iter().find(|offer| offer.from.addr == self.from).and_then(|offer| offer.size)
    }

    /// What the block is wanted for by all who offered it.
    fn leases(&self) -> Vec<Lease> {
        let mut leases = Vec::new();
        self.waiting.iter().flat_map(|offer| &offer.leases).for_each(|lease| lease.join(&mut leases));
        if !leases.is_empty() && self.waiting.iter().any(|offer| offer.leases.is_empty()) {
            leases.push(Lease::NOBODYS);
        }
        leases
    }
}

/// What a peer is told whose block is not saved for this.
pub(super) fn why_not(error: &JobError) -> Refusal {
    match error.kind {
        JobErrorKind::Full => Refusal::Full,
        JobErrorKind::Busy => Refusal::Busy,
        JobErrorKind::Io => Refusal::Disk,
        JobErrorKind::Corrupt => Refusal::NotItsHash,
        _ => Refusal::NotPulled,
    }
}
