//! What blocks are kept for: the leases on them, and what they ask for.

use std::net::IpAddr;
use std::time::Duration;

use super::{Class, HeldBlock, Holdings, USUAL};
use crate::id::Key;
use crate::lease::{EndOfLease, Lease, LeaseId, LeaseNews, Note};
use crate::node::job::JobId;
use crate::node::leases::{Leases, SetId};

impl Holdings {
    /// The leases on a block that hold; none on a block that no user may end.
    pub(in crate::node) fn leases(&self, key: &Key) -> Vec<Lease> {
        self.blocks.get(key).map_or(Vec::new(), |held| self.leases.of(held.set, self.now).collect())
    }

    /// All leases, of all blocks.
    pub(in crate::node) fn all_leases(&self) -> &Leases {
        &self.leases
    }

    /// Leases on blocks that are here last longer, or have ended, by the word of a network, or of this peer's user.
    /// Returns what is to be written down: of leases that no block here has, nothing is remembered, for any peer can
    /// make some up.
    pub(in crate::node) fn change_leases(&mut self, news: &LeaseNews, by: Option<IpAddr>) -> Vec<Note> {
        let (at, leases) = (self.now, &mut self.leases);
        for lease in &news.renewed {
            // What is but a little better is not worth a line.
            if leases.betters(lease, at)
                && let Some(lease) = leases.renew(lease)
            {
                self.unwritten.insert(lease.id, Note::Renewed(lease));
            }
        }
        for &secret in &news.ended {
            if leases.knows(&secret.id()) && leases.end(EndOfLease { secret, at, by }) {
                self.unwritten.insert(secret.id(), Note::Ended { secret, at, by });
            }
        }
        news.ids().iter().filter_map(|lease| self.unwritten.get(lease)).cloned().collect()
    }

    /// Deletions under way.
    pub(in crate::node) fn deleting(&self) -> usize {
        self.deletions.len()
    }

    /// A job writes this down.
    pub(in crate::node) fn note(&mut self, job: JobId, notes: Vec<Note>) {
        self.noting.insert(job, notes);
    }

    /// A job has written down what it was to.
    pub(in crate::node) fn noted(&mut self, job: JobId) {
        let notes = self.noting.remove(&job).unwrap_or_default();
        self.unwritten.retain(|_, note| !notes.contains(note));
    }

    /// Blocks that carry any of these leases, those among them that no lease keeps any more, and the looks that it took
    /// to count them.
    pub(in crate::node) fn leased(&self, leases: &[LeaseId]) -> (u32, u32, usize) {
        self.leases.count(leases, self.now)
    }

    /// The class of a block.
    pub(in crate::node) fn class(&self, key: &Key) -> Class {
        self.blocks.get(key).map_or(USUAL, |held| self.class_of(held))
    }

    fn class_of(&self, held: &HeldBlock) -> Class {
        self.leases.wanted_class(held.set, self.now, self.usual).unwrap_or(USUAL)
    }

    /// Copies that a block of this class should have.
    pub(in crate::node) fn copies(&self, class: Class) -> usize {
        if class == USUAL { self.usual } else { usize::from(class) }
    }

    /// Whether a block is here that is still wanted.
    pub(in crate::node) fn wants(&self, key: &Key) -> bool {
        self.blocks.get(key).is_some_and(|held| self.leases.wants(held.set, self.now))
    }

    /// What these leases of an offer mean here: where the block is kept for ever, or is kept for others, no lease is
    /// one for ever.
    pub(in crate::node) fn meant(&self, key: &Key, mut leases: Vec<Lease>) -> Vec<Lease> {
        let set = self.blocks.get(key).map(|held| held.set);
        if leases.contains(&Lease::NOBODYS) {
            return leases;
        }
        if (leases.is_empty() && set.is_some_and(|set| set != SetId::NONE))
            || (!leases.is_empty() && set == Some(SetId::NONE))
        {
            leases.push(Lease::NOBODYS);
        }
        leases
    }

    /// By the clock of another peer these leases have not ended: the blocks that are here on them stay for so long.
    pub(in crate::node) fn hold_back(&mut self, leases: &[LeaseId], time: Duration) {
        let until = self.now + time.as_secs();
        leases.iter().for_each(|id| self.leases.hold_back(*id, until));
    }

    /// Whether any block stays for that.
    pub(in crate::node) fn holds_back(&mut self) -> bool {
        self.leases.holds_back(self.now)
    }

    /// Whether a block is here with all of these leases.
    pub(in crate::node) fn has_leases(&self, key: &Key, leases: &[Lease]) -> bool {
        self.blocks.get(key).is_some_and(|held| self.leases.has_all(held.set, leases))
    }

    /// Of `most` blocks from `from` on those that no lease has kept for `grace`, and where to go on.
    pub(in crate::node) fn over(&self, from: &Key, most: usize, grace: Duration) -> (Vec<Key>, Option<Key>) {
        let mut blocks = self.range(from..);
        let over = |(key, held): (&Key, &HeldBlock)| self.leases.is_over(held.set, self.now, grace).then_some(*key);
        let found = blocks.by_ref().take(most).filter_map(over).collect();
        (found, blocks.next().map(|(key, _)| *key))
    }
}
