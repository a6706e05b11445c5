//! What is counted in a world: events, losses, and what peers send, by its purpose.
//!
//! A request's purpose is known to the peer that asks. What comes of it counts to the same purpose: the answer, and the
//! request itself where others pass it on; blocks count to what they were offered for. What is said later than that (an
//! offer is answered once the block is there) counts to what such a message is usually for.

use std::net::SocketAddr;
use std::ops::Sub;

use super::world::World;
use crate::node::Purpose;
use crate::node::job::Job;
use crate::wire::ring::RingKind;
use crate::wire::{Body, Message, Request, RequestKind, Response};

/// The magic of a request that is being handled, and its purpose.
pub(super) type CurrentRequest = (u64, Purpose);

/// Messages, and bytes without the headers of the carrier.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Amount {
    /// How many messages.
    pub messages: u64,
    /// Bytes of their texts, and of the blocks that were sent.
    pub bytes: u64,
}

/// What was sent, by purpose.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct PurposeTally([Amount; Purpose::ALL.len()]);

impl PurposeTally {
    /// What was sent for this purpose.
    pub fn of(&self, purpose: Purpose) -> Amount {
        self.0[purpose as usize]
    }

    /// What was sent for any purpose.
    pub fn all(&self) -> Amount {
        let add =
            |sum: Amount, one: &Amount| Amount { messages: sum.messages + one.messages, bytes: sum.bytes + one.bytes };
        self.0.iter().fold(Amount::default(), add)
    }

    fn count(&mut self, purpose: Purpose, messages: u64, bytes: usize) {
        let amount = &mut self.0[purpose as usize];
        amount.messages += messages;
        amount.bytes += bytes as u64;
    }
}

impl Sub for PurposeTally {
    type Output = Self;

    fn sub(mut self, earlier: Self) -> Self {
        for (amount, before) in self.0.iter_mut().zip(earlier.0) {
            amount.messages -= before.messages;
            amount.bytes -= before.bytes;
        }
        self
    }
}

/// Counts of a world since its beginning.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Events handled by nodes.
    pub events: u64,
    /// Messages sent, by either carrier.
    pub sent: u64,
    /// The same by purpose, with their bytes.
    pub tally: PurposeTally,
    /// Messages that never arrived: lost, cut off by a partition, or sent to a dead peer.
    pub lost: u64,
    /// Lookups of [followed](World::follow) keys that were sent to a peer that is gone, each time.
    pub dead_ends: u64,
    /// Jobs that have ended.
    pub jobs: u64,
}

impl World {
    /// Counts a message that the peer in slot `from` sends. Returns its purpose.
    pub(super) fn count_sent(&mut self, from: usize, to: SocketAddr, message: &Message) -> Purpose {
        let peer = &self.peers[from];
        let own = peer.node.as_ref().and_then(|node| node.purpose(message.magic));
        let handled = self.answering.filter(|(magic, _)| *magic == message.magic).map(|(_, purpose)| purpose);
        let purpose = own.or(handled).unwrap_or_else(|| usual(message));
        if peer.role.is_some() {
            return purpose;
        }
        self.text.clear();
        if let Some(node) = &peer.node {
            node.overlay().kind().dialect().encode(message, &peer.me, to, &mut self.text);
        }
        self.counts.sent += 1;
        self.counts.tally.count(purpose, 1, self.text.len());
        purpose
    }

    /// Notes what a block is offered for that the peer in slot `to` may pull now.
    pub(super) fn note_offer(&mut self, to: usize, message: &Message) {
        if let (Body::Request(Request::Store { key, .. }), Some((_, purpose))) = (&message.body, self.answering) {
            self.offers.insert((to, *key), purpose);
        }
    }

    /// Counts the bytes of a block that a worker of the peer in `slot` brought from another peer.
    pub(super) fn count_block(&mut self, slot: usize, work: &Job, bytes: usize) {
        let purpose = match work {
            Job::Pull { key, .. } => self.offers.remove(&(slot, *key)),
            _ => None,
        };
        self.counts.tally.count(purpose.unwrap_or(Purpose::Transfer), 0, bytes);
    }
}

/// What such a message is usually for.
fn usual(message: &Message) -> Purpose {
    let kind = match &message.body {
        Body::Request(Request::Ring(request)) => return of_ring(request.kind()),
        Body::Response(Response::Ring(response)) => return of_ring(response.kind()),
        Body::Request(request) => request.kind(),
        Body::Response(response) => message.answers.unwrap_or(match response {
            Response::Nodes(_) | Response::Named(_) => RequestKind::FindNode,
            Response::Holder { .. } | Response::Vouch(_) | Response::Terms(_) => RequestKind::FindValue,
            Response::Saved | Response::Shown { .. } => RequestKind::Store,
            Response::Leased { .. } => RequestKind::Lease,
            Response::Same | Response::Differs(_) => RequestKind::Compare,
            Response::Node(_) | Response::Here | Response::Ring(_) => RequestKind::Ping,
        }),
        // What takes long enough to be refused later is an offer.
        Body::Error(_) => RequestKind::Store,
    };
    match kind {
        RequestKind::FindNode | RequestKind::FindValue => Purpose::Lookup,
        RequestKind::Store | RequestKind::Lease => Purpose::Transfer,
        RequestKind::Compare => Purpose::Repair,
        RequestKind::Ping | RequestKind::Ring => Purpose::Upkeep,
    }
}

fn of_ring(kind: RingKind) -> Purpose {
    match kind {
        RingKind::Lookup => Purpose::Lookup,
        RingKind::Store | RingKind::Request | RingKind::Transfer => Purpose::Transfer,
        RingKind::Ping | RingKind::Join | RingKind::Update | RingKind::Quit | RingKind::Exit | RingKind::Abrupt => {
            Purpose::Upkeep
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::node::{Answer, Command, Source};
    use crate::overlay::OverlayKind;
    use crate::sim::grown::{Shape, populate};
    use crate::sim::world::Rules;

    const FILE: usize = 100_000;

    fn spent(world: &mut World, seconds: u64) -> PurposeTally {
        let before = world.counts().tally;
        world.run_for(Duration::from_secs(seconds)).expect("nothing breaks");
        world.counts().tally - before
    }

    #[test]
    fn a_file_is_transferred_to_its_holders_and_back_and_repaired_when_one_of_them_dies() {
        for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
            let mut world =
                World::new(Rules::new(1, Box::new(move |me, config, seed| kind.build(me, seed, config.guest))));
            populate(&mut world, &Shape::usual(kind), 12, |_| {});
            let path = PathBuf::from("/own/file");
            world.disk_mut(0).write_file(&path, vec![7; FILE].into());
            let command = world.command(0, Command::Store { path, manifest: None, keep: false });
            let sent = spent(&mut world, 5);
            let Some(Answer::Stored { key, .. }) = world.take_answer(0, command) else { panic!("{kind:?}") };
            // Six or seven of the holders are others.
            let moved = sent.of(Purpose::Transfer).bytes as usize;
            assert!((6 * FILE..8 * FILE).contains(&moved), "{kind:?}: {sent:?}");
            assert!(sent.of(Purpose::Lookup).messages > 0, "{kind:?}: {sent:?}");
            assert_eq!(sent.of(Purpose::Repair).messages, 0, "{kind:?}: {sent:?}");

            let holders: Vec<usize> = world.holders().into_values().max_by_key(Vec::len).expect("it was stored");
            let other = (0..12).find(|slot| !holders.contains(slot)).expect("only seven hold it");
            let dest = PathBuf::from("/back");
            let command = world.command(other, Command::Retrieve { source: Source::Key(key), dest, replace: true });
            let sent = spent(&mut world, 5);
            assert!(matches!(world.take_answer(other, command), Some(Answer::Retrieved { .. })), "{kind:?}");
            let moved = sent.of(Purpose::Transfer).bytes as usize;
            assert!((FILE..2 * FILE).contains(&moved), "{kind:?}: {sent:?}");

            let doomed = holders.into_iter().find(|&slot| slot != 0).expect("there are seven");
            world.crash(doomed);
            let sent = spent(&mut world, 60);
            let moved = sent.of(Purpose::Repair).bytes as usize;
            // One copy, and what was said about it.
            assert!((FILE..5 * FILE / 2).contains(&moved), "{kind:?}: {sent:?}");
            // One answer may come too late to say what it answers.
            assert!(sent.of(Purpose::Lookup).messages <= 1, "{kind:?}: {sent:?}");
        }
    }
}
