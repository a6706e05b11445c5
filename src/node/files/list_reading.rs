//! The reading of a list of blocks: by one of its holders, and beside one that keeps it waiting by another.
//!
//! Liars gather around a key: so the nearest and the furthest of those that say they hold the list take turns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::config::HEDGE_MIN;
use crate::file::Manifest;
use crate::id::Key;
use crate::node::desk::Desk;
use crate::node::job::{Holder, Job, JobErrorKind, JobId, Outcome, Urgency};
use crate::node::ticket::Ticket;
use crate::peer::Peer;
use crate::time::Time;

/// Holders that are asked for it at a time.
const SIDE_BY_SIDE: usize = 8;

/// A list that is being read, or is to be.
#[derive(Default)]
pub(super) struct ListReading {
    running: BTreeMap<JobId, SocketAddr>,
    asked: BTreeSet<SocketAddr>,
    /// When another holder is asked besides.
    hedge: Option<Time>,
}

/// What comes of it.
pub(super) enum ListRead {
    /// The list.
    List(Manifest),
    /// It is no list, but a block of so many bytes.
    Bare(u32),
    /// This holder did not give it, and why.
    Failed(SocketAddr, JobErrorKind),
    /// The job did something else.
    Other,
}

impl ListReading {
    pub(super) fn is_under_way(&self) -> bool {
        !self.running.is_empty()
    }

    /// Has another of these peers asked for the list, unless all were: whether one is. They are sorted by their
    /// distance from its key.
    pub(super) fn ask_next(&mut self, desk: &mut Desk, ticket: Ticket, key: Key, holders: &[Peer]) -> bool {
        let mut left = holders.iter().filter(|peer| !self.asked.contains(&peer.addr));
        let own = left.clone().find(|peer| desk.is_me(peer));
        let next = own.or_else(|| if self.asked.len().is_multiple_of(2) { left.next() } else { left.next_back() });
        let next = next.copied().filter(|_| self.running.len() < SIDE_BY_SIDE);
        if let Some(peer) = next {
            let from = if desk.is_me(&peer) { Holder::Own } else { Holder::Peer(peer.addr) };
            self.asked.insert(peer.addr);
            self.running.insert(desk.order(ticket, Job::Unpack { key, from, root_of: None }, Urgency::Own), peer.addr);
        }
        self.hedge = self.is_under_way().then(|| desk.now() + HEDGE_MIN);
        next.is_some()
    }

    /// A job is done; none if it was no part of this.
    pub(super) fn on_done(&mut self, desk: &mut Desk, job: JobId, outcome: Outcome) -> Option<ListRead> {
        let from = self.running.remove(&job)?;
        let read = match outcome {
            Outcome::Unpacked { manifest } => ListRead::List(manifest),
            Outcome::NotManifest { size } => ListRead::Bare(size),
            Outcome::Failed(error) => return Some(ListRead::Failed(from, error.kind)),
            _ => return Some(ListRead::Other),
        };
        self.cancel(desk);
        Some(read)
    }

    /// When another holder is to be [asked](Self::ask_next).
    pub(super) fn hedge(&self) -> Option<Time> {
        self.hedge
    }

    /// It is not needed any more.
    pub(super) fn cancel(&mut self, desk: &mut Desk) {
        self.hedge = None;
        std::mem::take(&mut self.running).into_keys().for_each(|job| desk.cancel_job(job));
    }
}
