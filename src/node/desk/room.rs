//! Room for blocks: what is written here takes some, and who has none, this peer or others that said so lately, is
//! remembered. That explains to people why copies lack; what follows for repair, the part that does it remembers by
//! itself.

use std::net::SocketAddr;
use std::time::Duration;

use super::Desk;
use crate::config::{MAX_BLOCK_SIZE, REPUBLISH_INTERVAL};
use crate::id::Key;
use crate::lease::Lease;
use crate::node::job::{Holder, Job, JobError, JobErrorKind, JobId, Urgency};
use crate::node::ticket::{PartId, Ticket};
use crate::recent::Recent;
use crate::time::Time;

/// Peers that are full, and are remembered as such.
const FULL_PEERS: usize = 64;

/// When there was no room.
#[derive(Default)]
pub(in crate::node) struct NoRoom {
    here: Option<Time>,
    elsewhere: Recent<SocketAddr, Time, FULL_PEERS>,
}

impl Desk {
    /// Orders that a block be written to the own store, on behalf of these leases: from what is offered here, or pulled
    /// from another peer. Until its outcome follows, it has room there: as much as the largest block takes, if its size
    /// is not known. Returns the job.
    ///
    /// # Errors
    /// The store is full.
    pub(crate) fn take_in(
        &mut self,
        ticket: Ticket,
        urgency: Urgency,
        (key, size): (Key, Option<u32>),
        leases: &[Lease],
        from: Holder,
    ) -> Result<JobId, JobError> {
        let most = size.unwrap_or(MAX_BLOCK_SIZE);
        if self.holdings.is_going(&key) {
            let reason = "the block is being deleted; try again".to_owned();
            return Err(JobError { kind: JobErrorKind::Busy, reason });
        }
        let mut leases = self.holdings.meant(&key, leases.to_vec());
        if let Err(error) = self.holdings.check_room(&key, most, &leases) {
            self.note_no_room();
            return Err(error);
        }
        let by = match from {
            Holder::Peer(from) if ticket.owner == PartId::Pulls => self.other_source(from),
            // What this peer wants itself counts for no source.
            Holder::Own | Holder::Peer(_) => None,
        };
        if leases.is_empty() {
            // Said, for the journal may still name leases on which the block was here before.
            leases.push(Lease::NOBODYS);
        }
        let work = match from {
            Holder::Own => Job::Keep { key, leases: leases.clone() },
            Holder::Peer(from) => Job::Pull { key, size, from, leases: leases.clone() },
        };
        let job = self.order(ticket, work, urgency);
        self.holdings.reserve(job, (key, most), leases, by);
        Ok(job)
    }

    /// A block found no room here.
    pub(in crate::node) fn note_no_room(&mut self) {
        self.no_room.here = Some(self.now());
    }

    /// How long ago a block found no room here, if one ever did.
    pub(in crate::node) fn was_full(&self) -> Option<Duration> {
        self.no_room.here.map(|at| self.now().since(at))
    }

    /// A peer says that it has no room. That it takes another block a moment later, which was on its way, changes
    /// nothing.
    pub(in crate::node) fn note_full(&mut self, at: SocketAddr) {
        self.no_room.elsewhere.insert(at, self.now());
    }

    /// Whether a peer said lately that it has no room.
    pub(in crate::node) fn is_full(&self, at: &SocketAddr) -> bool {
        self.no_room.elsewhere.get(at).is_some_and(|said| self.now().since(*said) < REPUBLISH_INTERVAL)
    }
}
