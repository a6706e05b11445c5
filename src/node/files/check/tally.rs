//! What was found out about a block, and about all blocks of a file, and the answer that is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::copies::Copy;
use super::inquiry::Inquiry;
use crate::id::{Id, Key};
use crate::node::health::{BlockHealth, Checked, CopyAt, CopyState, Health, PeerCopies};
use crate::peer::Peer;

/// What is known of the blocks that were inquired about.
#[derive(Default)]
pub(super) struct CheckTally {
    /// Bytes of the files.
    pub(super) bytes: u64,
    /// Bytes of the blocks that were looked at.
    pub(super) looked: u64,
    pub(super) unread: u64,
    repaired: u64,
    /// Copies that were asked for: the most for any block.
    asked: usize,
    peers: Vec<PeerCopies>,
    /// The place of each peer in `peers`.
    places: BTreeMap<(Id, SocketAddr), usize>,
    blocks: BTreeMap<Key, BlockHealth>,
    /// Those of them that were read as lists.
    lists: BTreeSet<Key>,
}

impl CheckTally {
    /// Whether a block was inquired about.
    pub(super) fn knows(&self, key: &Key) -> bool {
        self.blocks.contains_key(key)
    }

    /// A block was read as a list.
    pub(super) fn note_list(&mut self, key: Key) {
        self.lists.insert(key);
    }

    /// Whether a block was read as a list, and not only met as data.
    pub(super) fn has_read(&self, key: &Key) -> bool {
        self.lists.contains(key)
    }

    /// An inquiry is over.
    pub(super) fn add(&mut self, key: Key, inquiry: &Inquiry) {
        let told = |state: &CopyState, is_member: bool| is_member || *state != CopyState::Absent;
        let copies = inquiry.copies.values().filter_map(|copy| Some((copy.peer, copy.state?, copy.is_member)));
        let copies: Vec<_> = copies.filter(|(_, state, is_member)| told(state, *is_member)).collect();
        let at = copies.iter().map(|&(peer, state, _)| CopyAt { peer: self.place(peer), state }).collect();
        let (bytes, wanted, health) = (inquiry.bytes, inquiry.wanted, inquiry.health());
        let block = BlockHealth { key, bytes, health, wanted, copies: inquiry.sound().count(), at };
        self.repaired += inquiry.repair.made;
        self.asked = self.asked.max(inquiry.asked);
        if self.blocks.insert(key, block).is_none() {
            self.looked += u64::from(bytes.unwrap_or(0));
        }
    }

    fn place(&mut self, peer: Peer) -> usize {
        *self.places.entry((peer.id, peer.addr)).or_insert_with(|| {
            self.peers.push(PeerCopies {
                peer,
                verified: 0,
                claimed: 0,
                damaged: 0,
                absent: 0,
                silent: 0,
                full: false,
            });
            self.peers.len() - 1
        })
    }

    /// The answer to a check that took so long. Of some peers it is known that they are full.
    pub(super) fn checked(mut self, took: Duration, is_full: impl Fn(&SocketAddr) -> bool) -> Checked {
        self.peers.iter_mut().for_each(|of_peer| of_peer.full = is_full(&of_peer.peer.addr));
        let mut copies = Vec::new();
        for block in self.blocks.values() {
            if copies.len() <= block.copies {
                copies.resize(block.copies + 1, 0);
            }
            copies[block.copies] += 1;
            for CopyAt { peer, state } in &block.at {
                let of_peer = &mut self.peers[*peer];
                *match state {
                    CopyState::Verified => &mut of_peer.verified,
                    CopyState::Claimed => &mut of_peer.claimed,
                    CopyState::Damaged => &mut of_peer.damaged,
                    CopyState::Absent => &mut of_peer.absent,
                    CopyState::Silent => &mut of_peer.silent,
                } += 1;
            }
        }
        let missing = |block: &BlockHealth| block.wanted.saturating_sub(block.copies);
        let weakest = self.blocks.values().max_by_key(|block| (block.health, missing(block)));
        let worst = weakest.map_or(Health::Whole, |block| block.health);
        Checked {
            // What a list names that no holder gives is lost with it, even if its holders say that they have it.
            health: if self.unread > 0 { worst.max(Health::Unknown) } else { worst },
            bytes: self.bytes,
            blocks: self.blocks.len() as u64,
            copies,
            wanted: self.blocks.values().map(|block| block.wanted).max().unwrap_or(0),
            asked: self.asked,
            repaired: self.repaired,
            unread: self.unread,
            weakest: weakest.map(|block| block.key),
            peers: self.peers,
            each: self.blocks.into_values().collect(),
            took,
        }
    }
}

impl Inquiry {
    /// Copies that count, as far as their holders say.
    pub(super) fn sound(&self) -> impl Iterator<Item = &Copy> {
        let sound = |copy: &&Copy| matches!(copy.state, Some(CopyState::Verified | CopyState::Claimed));
        self.copies.values().filter(sound)
    }

    /// Copies that may be there, of peers that do not answer.
    fn silent(&self) -> impl Iterator<Item = &Copy> {
        self.copies.values().filter(|copy| copy.state == Some(CopyState::Silent))
    }

    pub(super) fn health(&self) -> Health {
        match Health::of(self.wanted, self.sound().count(), self.silent().count()) {
            // No peer was asked that should know.
            Health::Lost if !self.conclusive => Health::Unknown,
            health => health,
        }
    }

    /// What it lacks, for people. Of some peers it is known that they are full.
    pub(super) fn shortage(&self, key: &Key, wanted: usize, is_full: impl Fn(&SocketAddr) -> bool) -> String {
        let copies = self.sound().count();
        let named = |what: &str, peers: Vec<String>| match peers[..] {
            [] => String::new(),
            _ => format!("; {what} {}", peers.join(", ")),
        };
        let silent = self.silent().map(|copy| copy.peer.to_string()).collect();
        let absent = self.copies.values().filter(|copy| copy.state == Some(CopyState::Absent));
        let full = absent.filter(|copy| is_full(&copy.peer.addr)).map(|copy| copy.peer.to_string()).collect();
        let (silent, full) = (named("no answer from", silent), named("no room at", full));
        format!("block {} has {copies} of {wanted} copies{silent}{full}", key.short())
    }
}
