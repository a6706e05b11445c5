//! What other peers ask us to hold: pulled from them over TCP, hashed, made durable, and only then called saved.
//!
//! We pull only from the address that the offer came from, and only if that address has shown that it receives:
//! otherwise a forged datagram could point us at a victim. A stranger's offer waits while the stranger is pinged.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::context::{AskPurpose, Context, JobPurpose};
use super::job::{Job, JobErrorKind, Outcome};
use super::jobs::Urgency;
use super::pending::Ask;
use crate::config::{MAX_BLOCK_SIZE, MAX_PULLS};
use crate::id::Key;
use crate::overlay::Target;
use crate::wire::{Message, Request, RequestKind, Response, Via};

/// An offer as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) from: SocketAddr,
    pub(super) via: Via,
    pub(super) magic: u64,
    pub(super) key: Key,
    pub(super) size: Option<u32>,
}

/// Who waits for what. Bounded by [`MAX_PULLS`], each part.
#[derive(Default)]
pub(super) struct Pulls {
    /// Blocks on their way here, and who wants to know when they are saved.
    running: BTreeMap<Key, Vec<(SocketAddr, Via, u64)>>,
    /// Offers of strangers that are being pinged.
    unproven: BTreeMap<SocketAddr, Vec<Offer>>,
    unproven_count: usize,
}

/// Peers that may wait for one and the same block, and offers that one stranger may make before it is known.
const MAX_WAITING: usize = 64;

impl Pulls {
    /// Takes an offer: answers it at once, or starts (or joins) the pull whose end will answer it.
    pub(super) fn on_offer(&mut self, cx: &mut Context, offer: Offer) {
        if cx.holdings.contains(&offer.key) {
            return respond(cx, &offer, Ok(()));
        }
        if cx.config.guest {
            return respond(cx, &offer, Err("a guest keeps no blocks"));
        }
        if cx.departing {
            return respond(cx, &offer, Err("leaving the network"));
        }
        if offer.size.is_some_and(|size| size > MAX_BLOCK_SIZE) {
            return respond(cx, &offer, Err("a block is at most 1 MiB"));
        }
        if !cx.is_validated(&offer.from) {
            return self.ask_for_proof(cx, offer);
        }
        self.pull(cx, offer);
    }

    fn pull(&mut self, cx: &mut Context, offer: Offer) {
        let waiter = (offer.from, offer.via, offer.magic);
        if let Some(waiting) = self.running.get_mut(&offer.key) {
            // The same offer again is its sender's retry: the one answer will do.
            if !waiting.contains(&waiter) && waiting.len() < MAX_WAITING {
                waiting.push(waiter);
            }
            return;
        }
        if self.running.len() >= MAX_PULLS {
            return respond(cx, &offer, Err("busy: too many blocks are on their way here"));
        }
        self.running.insert(offer.key, vec![waiter]);
        let work = Job::Pull { key: offer.key, size: offer.size, from: offer.from };
        cx.order(work, JobPurpose::Pull { key: offer.key }, Urgency::Others);
    }

    fn ask_for_proof(&mut self, cx: &mut Context, offer: Offer) {
        if self.unproven_count >= MAX_PULLS {
            return;
        }
        let offers = self.unproven.entry(offer.from).or_default();
        if offers.iter().any(|known| known.magic == offer.magic) || offers.len() >= MAX_WAITING {
            return;
        }
        offers.push(offer);
        self.unproven_count += 1;
        if offers.len() == 1 {
            // One datagram and no more: an address that has shown nothing gets little for what it sent.
            let to = Target { id: None, addr: offer.from };
            cx.ask_with(to, Ask::new(Request::Ping, AskPurpose::Vouch), 1);
        }
    }

    /// A stranger answered: what it offered is pulled now.
    pub(super) fn on_proof(&mut self, cx: &mut Context, from: SocketAddr) {
        for offer in self.take_unproven(from) {
            self.on_offer(cx, offer);
        }
    }

    /// A stranger did not answer: its offers are forgotten. If it was a lost datagram, it offers again.
    pub(super) fn on_no_proof(&mut self, from: SocketAddr) {
        self.take_unproven(from);
    }

    fn take_unproven(&mut self, from: SocketAddr) -> Vec<Offer> {
        let offers = self.unproven.remove(&from).unwrap_or_default();
        self.unproven_count -= offers.len();
        offers
    }

    /// A pull is over.
    pub(super) fn on_pulled(&mut self, cx: &mut Context, key: Key, outcome: &Outcome) {
        let waiting = self.running.remove(&key).unwrap_or_default();
        let result = match outcome {
            // It is here, but will not be handed over: whoever offered it has to find another place.
            _ if cx.departing => Err("leaving the network"),
            Outcome::Stored { .. } => Ok(()),
            Outcome::Failed(error) if error.kind == JobErrorKind::Full => Err("full"),
            Outcome::Failed(error) if error.kind == JobErrorKind::Corrupt => Err("the bytes do not hash to the key"),
            Outcome::Failed(error) if error.kind == JobErrorKind::Io => Err("the disk refused the block"),
            _ => Err("the block could not be pulled from you"),
        };
        for (from, via, magic) in waiting {
            respond(cx, &Offer { from, via, magic, key, size: None }, result);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }
}

fn respond(cx: &mut Context, offer: &Offer, result: Result<(), &str>) {
    let message = match result {
        Ok(()) => Message::response(offer.magic, RequestKind::Store, Response::Saved),
        Err(reason) => Message::error(offer.magic, reason),
    };
    cx.send(offer.from, offer.via, message);
}
