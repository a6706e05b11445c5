//! Answering other peers that ask after a block held here: whether it is here, whether it is sound, and for whom it is
//! kept.
//!
//! Two of these are answered at once: `find_value` from the list of what is held, and `terms` from its leases. A list
//! of leases may be longer than the question; as with any answer, a peer that has not shown that it receives gets no
//! more than it paid for.
//!
//! Whether a block is sound is known when it was read and hashed (`verify`). Any peer may ask, so that is bounded: so
//! much time in each second for all others, of which none gets all ([`budget`](crate::node::budget)), few blocks at a
//! time, and few questions that wait. A peer that asks beyond that hears that this one is busy. What is found damaged
//! is [healed](super::heal) as always; as long as it is not back, a peer that asks whether it is sound hears that it
//! was damaged.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::config::MAX_BLOCK_SIZE;
use crate::id::Key;
use crate::node::budget::Favours;
use crate::node::desk::Desk;
use crate::node::job::{Job, JobErrorKind, Outcome, Urgency};
use crate::node::pace::is_telling;
use crate::node::part::Part;
use crate::node::smoothed::Smoothed;
use crate::node::ticket::{About, News, PartId, Reply, Ticket};
use crate::overlay::Asker;
use crate::recent::Recent;
use crate::time::Time;
use crate::wire::{Request, RequestKind, Response, Vouch};

/// Microseconds in each second that blocks are read and hashed for other peers: half of what one core can. Strangers
/// have half of that together.
const HASHING: u32 = 500_000;

/// What a full block takes before one was hashed: longer than on most machines.
const FULL_BLOCK: Duration = Duration::from_millis(10);

/// What any block takes at least.
const LEAST: Duration = Duration::from_micros(100);

/// Blocks that are hashed at a time.
const MAX_HASHES: usize = 2;

/// Blocks that wait for their turn, and those of them that one address may have asked about.
const MAX_UNHASHED: usize = 64;
const MAX_HASHES_OF_ONE: usize = 32;

/// Blocks that are remembered to have been damaged.
const MAX_DAMAGED: usize = 4096;

/// Peers that may wait for the same block.
const MAX_ASKERS: usize = 16;

/// The blocks that other peers want to have hashed; what is answered at once leaves nothing behind.
#[derive(Default)]
pub(in crate::node) struct Answering {
    /// The peers that wait for a block, by its key.
    wanted: BTreeMap<Key, Vec<Asker>>,
    /// Those of them that have not begun.
    queue: VecDeque<Key>,
    /// Blocks that were found damaged here since this peer began, and are not back.
    damaged: Recent<Key, (), MAX_DAMAGED>,
    favours: Favours<HASHING>,
    /// When those that are hashed now were begun with.
    begun: BTreeMap<Key, Time>,
    /// How long a full block takes.
    usual: Smoothed,
}

impl Part for Answering {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        if let (About::Block(key), Reply::Done { outcome, .. }) = (ticket.about, reply) {
            let damaged = self.damaged.contains(&key);
            if let (Some(since), Outcome::Sound { .. }) = (self.begun.remove(&key), &outcome)
                && let Some(size) = desk.wanted_size(&key).filter(|size| is_telling(*size))
            {
                self.usual.add(desk.now().since(since).mul_f64(f64::from(MAX_BLOCK_SIZE) / f64::from(size)));
            }
            let vouch = match outcome {
                Outcome::Sound { .. } => Vouch::Verified,
                _ if damaged => Vouch::Damaged,
                Outcome::Failed(error) if error.kind == JobErrorKind::Busy => Vouch::Busy,
                // The disk says nothing of the block, so no more is said here.
                Outcome::Failed(error) if error.kind == JobErrorKind::Io && desk.holds(&key) => {
                    let askers = self.wanted.remove(&key).unwrap_or_default();
                    askers.iter().for_each(|asker| desk.refuse(asker, "it cannot be read just now"));
                    return self.start(desk);
                }
                Outcome::Failed(error) if error.kind == JobErrorKind::Corrupt || desk.holds(&key) => Vouch::Damaged,
                _ => Vouch::Absent,
            };
            for asker in self.wanted.remove(&key).unwrap_or_default() {
                respond(desk, &asker, vouch);
            }
            self.start(desk);
        }
    }

    fn on_request(&mut self, desk: &mut Desk, asker: Asker, request: Request) {
        match request {
            Request::Terms { key } => {
                let is_kept = desk.wanted_size(&key).is_some() && !desk.is_leaving();
                let leases = is_kept.then(|| desk.holdings().leases(&key));
                let terms = leases.map_or(Response::Vouch(Vouch::Absent), Response::Terms);
                desk.respond(&asker, RequestKind::FindValue, terms);
            }
            Request::Verify { key } => self.verify(desk, key, asker),
            request => {
                let Some(key) = request.sought() else { return };
                let here = request.answer_of(desk.me(), desk.copies_asked(key));
                desk.respond(&asker, request.kind(), here);
            }
        }
    }

    fn on_news(&mut self, _desk: &mut Desk, news: News<'_>) {
        match news {
            News::Damaged { key, .. } => self.damaged.insert(*key, ()),
            News::Held(key) | News::Dropped(key) => self.damaged.remove(key),
            _ => {}
        }
    }

    fn under_way(&self) -> usize {
        self.wanted.len()
    }

    /// Whether all that wait have begun, or wait for their turn.
    fn check(&self, _desk: &Desk) -> Result<(), String> {
        let begun = self.wanted.len().checked_sub(self.queue.len());
        let right = begun.is_some_and(|begun| begun <= MAX_HASHES) && self.queue.len() <= MAX_UNHASHED;
        right.then_some(()).ok_or_else(|| "blocks to hash for others are lost, or too many".to_owned())
    }
}

impl Answering {
    /// A peer wants to know whether a block is sound: the answer follows when it was hashed.
    fn verify(&mut self, desk: &mut Desk, key: Key, asker: Asker) {
        let size = desk.wanted_size(&key).filter(|_| !desk.is_leaving());
        let Some(size) = size else {
            let was_damaged = self.damaged.contains(&key);
            return respond(desk, &asker, if was_damaged { Vouch::Damaged } else { Vouch::Absent });
        };
        if let Some(askers) = self.wanted.get_mut(&key) {
            // The same question again is its sender's retry: the one answer will do.
            if askers.iter().any(|known| known.is_same(&asker)) {
                return;
            }
            if askers.len() < MAX_ASKERS {
                return askers.push(asker);
            }
            return respond(desk, &asker, Vouch::Busy);
        }
        let of_one = self.wanted.values().filter(|askers| askers.iter().any(|known| known.addr == asker.addr)).count();
        let has_place = of_one < MAX_HASHES_OF_ONE && self.queue.len() < MAX_UNHASHED;
        let takes =
            self.usual.get().unwrap_or(FULL_BLOCK).mul_f64(f64::from(size) / f64::from(MAX_BLOCK_SIZE)).max(LEAST);
        if !desk.has_proof(&asker) {
            return;
        }
        if !has_place || desk.grant(&mut self.favours, &asker, takes.as_micros() as u32).is_none() {
            return respond(desk, &asker, Vouch::Busy);
        }
        self.wanted.insert(key, vec![asker]);
        self.queue.push_back(key);
        self.start(desk);
    }

    /// Has the next blocks hashed.
    fn start(&mut self, desk: &mut Desk) {
        while self.wanted.len() - self.queue.len() < MAX_HASHES
            && let Some(key) = self.queue.pop_front()
        {
            desk.see(&key);
            self.begun.insert(key, desk.now());
            desk.order(Ticket::block(PartId::Answering, key), Job::Rehash { key }, Urgency::Others);
        }
    }
}

fn respond(desk: &mut Desk, asker: &Asker, vouch: Vouch) {
    desk.respond(asker, RequestKind::FindValue, Response::Vouch(vouch));
}
