//! The checks of a whole network that has come to rest.

use std::time::Duration;

use super::truth::Directory;
use super::truth::Geometry;
use super::world::{Violation, World};
use crate::config::WIDTH;
use crate::id::{Id, Key};
use crate::node::{Answer, Command};
use crate::peer::Peer;

/// No command may take longer than this in a network at rest.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(60);

impl World {
    /// Lets time pass until no peer has work under way, or `limit` has passed. Peers check blocks now and then, so even
    /// in a network at rest a peer may be busy at any one moment.
    ///
    /// # Errors
    /// An invariant that did not hold meanwhile.
    pub fn settle(&mut self, limit: Duration) -> Result<(), Violation> {
        let until = self.now() + limit;
        let busy =
            |world: &Self| world.up().into_iter().any(|slot| world.node(slot).is_some_and(|node| !node.is_at_rest()));
        while busy(self) && self.now() < until {
            self.run_for(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Every peer that runs has no work under way, has closed its files, and knows what is on its disk.
    ///
    /// # Errors
    /// The first peer for which this is not so.
    pub fn check_rest(&self) -> Result<(), Violation> {
        for slot in self.up() {
            let Some(node) = self.node(slot) else { continue };
            if !node.is_at_rest() {
                return self.breach(slot, "it still has something under way".to_owned());
            }
            if let Some(open) = self.leftovers(slot) {
                return self.breach(slot, open);
            }
            if let Some(command) = self.unanswered(slot).first() {
                return self.breach(slot, format!("command {command} was never answered"));
            }
            if let Some(owed) = self.overdue(slot) {
                return self.breach(slot, owed);
            }
            let (told, found): (Vec<_>, Vec<_>) = (node.held().collect(), self.disk(slot).held());
            if told != found {
                let what = format!("it believes to hold {} blocks, on its disk are {}", told.len(), found.len());
                return self.breach(slot, what);
            }
        }
        Ok(())
    }

    /// Every block that a running peer holds soundly is held by all of its `replicas` nearest. (A copy that
    /// rotted and was not read since counts: no peer can know yet.)
    ///
    /// # Errors
    /// The first block for which this is not so.
    pub fn check_replicas(&self, geometry: Geometry, replicas: usize) -> Result<(), Violation> {
        let directory = Directory::new(self.living());
        for (key, holders) in self.holders() {
            if holders.is_empty() {
                continue;
            }
            for peer in directory.nearest(geometry, &key, replicas) {
                let slot = self.slot_of(&peer);
                if !self.disk(slot).has(&key) {
                    let what = format!("it should hold block {}, which peers {holders:?} hold", key.short());
                    return self.breach(slot, what);
                }
            }
        }
        Ok(())
    }

    /// A lookup of `key` by the peer in `slot` finds the true nearest peers.
    ///
    /// # Errors
    /// The lookup finds other peers, or does not end.
    pub fn check_lookup(&mut self, geometry: Geometry, slot: usize, key: Key) -> Result<(), Violation> {
        if self.node(slot).is_none() {
            return Ok(());
        }
        let command = self.command(slot, Command::Lookup { key });
        let ended = self.run_until_answered(slot, command, ANSWER_LIMIT)?;
        let truth = Directory::new(self.living()).nearest(geometry, &key, WIDTH);
        match self.take_answer(slot, command) {
            Some(Answer::Lookup { peers, .. }) if peers == truth => Ok(()),
            Some(Answer::Lookup { peers, .. }) => {
                let what = format!(
                    "a lookup of {} found peers {:?}, the nearest are {:?}",
                    key.short(),
                    self.slots_of(&peers),
                    self.slots_of(&truth)
                );
                self.breach(slot, what)
            }
            other => self.breach(slot, format!("a lookup ended with {other:?} (in time: {ended})")),
        }
    }

    /// The peer in `slot` can retrieve the file `root`, and its bytes hash to `sha256`.
    ///
    /// # Errors
    /// The retrieve fails, or the file comes back changed.
    pub fn check_retrieve(&mut self, slot: usize, root: Key, sha256: Id) -> Result<(), Violation> {
        let dest = std::path::PathBuf::from(format!("/checked/{root}"));
        let source = crate::node::Source::Key(root);
        let command = self.command(slot, Command::Retrieve { source, dest: dest.clone(), replace: true });
        self.run_until_answered(slot, command, ANSWER_LIMIT)?;
        match self.take_answer(slot, command) {
            Some(Answer::Retrieved { .. }) => match self.disk(slot).read_file(&dest) {
                Some(bytes) if Id::of(bytes) == sha256 => Ok(()),
                _ => self.breach(slot, format!("file {} came back changed", root.short())),
            },
            other => self.breach(slot, format!("file {} did not come back: {other:?}", root.short())),
        }
    }

    fn breach<T>(&self, slot: usize, what: String) -> Result<T, Violation> {
        Err(Violation { at: self.now(), slot, what })
    }

    fn slot_of(&self, peer: &Peer) -> usize {
        super::network::slot(peer.addr).unwrap_or(usize::MAX)
    }

    fn slots_of(&self, peers: &[Peer]) -> Vec<usize> {
        peers.iter().map(|peer| self.slot_of(peer)).collect()
    }
}
