//! A look for the holders of a block at the peers around its key.
//!
//! An attacker with many ids nearest to a key hides the peers that hold its block: every peer that is asked for the key
//! names the attacker's ids alone. But ids cost something, and most of the space around the key is as it was. So peers
//! are looked up at a half of all ids away from the key, a quarter, an eighth, and so on, and each is asked for the
//! block: among them are the nearest that no attacker placed. A peer that looks through a whole region finds what
//! Sybils hide in IPFS (Sridhar et al., "Content Censorship in the InterPlanetary File System", NDSS 2024); here a few
//! peers at each distance do.
//!
//! Before it is said that no peer holds a block, one looks around once: a retrieve does, a check, `copies`, the telling
//! of leases, and a peer whose own copy is damaged. A retrieve does so too while no holder has sent anything for a
//! while.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::config::WIDTH;
use crate::id::Key;
use crate::node::desk::Desk;
use crate::node::ticket::{Answered, Reply, Ticket};
use crate::overlay::{Found, Goal, LookupId};
use crate::peer::Peer;
use crate::wire::{Request, Response};

/// Distances at which peers are looked up: enough for a network of 100,000 peers.
const LEVELS: u8 = 16;

/// A look around, or none yet.
#[derive(Default)]
pub(in crate::node) struct Around {
    lookups: Vec<LookupId>,
    /// Lookups that are over.
    found: usize,
    asked: BTreeSet<SocketAddr>,
    /// Of those asked, the ones of whom it is known whether they hold the block.
    heard: usize,
}

impl Around {
    /// Begins to look around the key, under a ticket that no other replies come back under; unless that was done, or
    /// there is no need: where the last lookup found fewer peers than an answer names, all of them were asked. Whether
    /// it begins.
    pub(in crate::node) fn begin(&mut self, desk: &mut Desk, ticket: Ticket, key: Key, found: usize) -> bool {
        let begins = self.lookups.is_empty() && found >= WIDTH;
        if begins {
            self.lookups = (0..LEVELS).map(|level| desk.look_up(ticket, key, Goal::Around(level))).collect();
        }
        begins
    }

    pub(in crate::node) const fn has_begun(&self) -> bool {
        !self.lookups.is_empty()
    }

    pub(in crate::node) fn is_under_way(&self) -> bool {
        self.found < self.lookups.len() || self.heard < self.asked.len()
    }

    /// Peers around the key are known, or one of them has answered: that one, if it holds the block.
    pub(in crate::node) fn on(&mut self, desk: &mut Desk, ticket: Ticket, key: Key, reply: Reply) -> Option<Peer> {
        match reply {
            Reply::Found(Found { peers, .. }) => {
                self.found += 1;
                for peer in peers {
                    if !desk.is_me(&peer) && self.asked.insert(peer.addr) {
                        desk.ask(ticket, peer, Request::FindValue { key });
                    }
                }
                None
            }
            Reply::Answer(Answered { to, answer, .. }) => {
                self.heard += 1;
                to.peer().filter(|_| matches!(answer, Ok(Response::Node(_) | Response::Holder { .. })))
            }
            Reply::Silence { .. } => {
                self.heard += 1;
                None
            }
            _ => None,
        }
    }

    /// Nothing more of it is wanted.
    pub(in crate::node) fn cancel(&mut self, desk: &mut Desk) {
        std::mem::take(&mut self.lookups).into_iter().for_each(|lookup| desk.cancel_lookup(lookup));
    }
}
