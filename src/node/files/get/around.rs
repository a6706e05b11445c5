//! A look for the holders of a block at the peers around its key.
//!
//! Who has many ids nearest to a key hides those that hold its block: all who are asked for the key name him alone. But
//! ids cost him something, and most of the space around the key is as it was. So peers are looked up at a half of all
//! ids away from the key, a quarter, an eighth, and so on, and each is asked for the block: among them are the nearest
//! that nobody placed. Whoever looks through a whole region finds what Sybils hide in IPFS (Sridhar et al., "Content
//! Censorship in the InterPlanetary File System", NDSS 2024); here a few peers at each distance do.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::Get;
use super::block::WantedBlock;
use crate::config::WIDTH;
use crate::node::desk::Desk;
use crate::node::files::{Flow, GOES_ON};
use crate::node::part::{About, Answered, Found, Reply, Ticket};
use crate::overlay::{Goal, LookupId};
use crate::wire::{Request, Response};

/// Distances at which peers are looked up: enough for a network of 100,000 peers.
const LEVELS: u8 = 16;

/// A look around, or none yet.
#[derive(Default)]
pub(super) struct Around {
    pub(super) lookups: Vec<LookupId>,
    /// Lookups that are over.
    found: usize,
    asked: BTreeSet<SocketAddr>,
    /// Of those asked, the ones of whom it is known whether they hold the block.
    heard: usize,
}

impl Around {
    pub(super) fn is_under_way(&self) -> bool {
        self.found < self.lookups.len() || self.heard < self.asked.len()
    }
}

impl WantedBlock {
    /// Whether all that stand nearest to its key were asked once, and others are left: where fewer live than an answer
    /// names, all of them were.
    fn is_to_look_around(&self) -> bool {
        self.rounds == 2 && self.answered >= WIDTH
    }
}

impl Get {
    /// Looks around for a block, if it is time.
    pub(super) fn look_around(&mut self, desk: &mut Desk, id: u64) {
        let ticket = Ticket { about: About::Around(id), ..self.ticket(id) };
        let Some(block) = self.blocks.get_mut(&id).filter(|block| block.is_to_look_around()) else { return };
        let key = block.what.key();
        block.around.lookups = (0..LEVELS).map(|level| desk.look_up(ticket, key, Goal::Around(level))).collect();
    }

    /// Peers around a block's key are known, or one of them has answered.
    pub(super) fn on_around(&mut self, desk: &mut Desk, id: u64, reply: Reply) -> Flow {
        let ticket = Ticket { about: About::Around(id), ..self.ticket(id) };
        let Some(block) = self.blocks.get_mut(&id) else { return GOES_ON };
        let key = block.what.key();
        match reply {
            Reply::Found(Found { peers, .. }) => {
                block.around.found += 1;
                for peer in peers {
                    if !desk.is_me(&peer) && block.around.asked.insert(peer.addr) {
                        desk.ask(ticket, peer, Request::FindValue { key });
                    }
                }
            }
            Reply::Answer(Answered { to, answer, .. }) => {
                block.around.heard += 1;
                let holds = matches!(answer, Ok(Response::Node(_) | Response::Holder { .. }));
                if let Some(holder) = to.peer().filter(|_| holds) {
                    self.on_holder(desk, id, holder);
                }
            }
            Reply::Silence { .. } => block.around.heard += 1,
            _ => {}
        }
        self.seek_on(desk, id)
    }
}
