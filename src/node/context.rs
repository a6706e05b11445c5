//! What every part of the node works with: the overlay, the pending requests, the jobs, the holdings.
//!
//! The parts that know what a *file* is ([`put`](super::put), [`get`](super::get)) and what a *replica set owes a block*
//! ([`repair`](super::repair), [`pulls`](super::pulls)) ask and order here and remember why in a purpose; the node hands
//! the answer back to the part that the purpose names.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::action::{Action, Outbox};
use super::classroom::{Errand, Handing, Step};
use super::command::CommandId;
use super::holdings::Holdings;
use super::job::{GetId, Job, JobId, PutId, Version};
use super::jobs::{Jobs, Urgency};
use super::notice::{Answer, Failure, FailureKind, Notice, Progress};
use super::pending::{Ask, Pending};
use super::recent::Recent;
use super::uplink::{Offering, Ticket, Uplink};
use crate::config::{Config, FILE_LIMIT, OFFER_LIMIT, TRIES, VALIDATED_MEMORY};
use crate::id::Key;
use crate::overlay::{Effect, Goal, LookupId, Overlay, RingEffect, RouteOutcome, Tag, Target};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingRequest, Routed};
use crate::wire::{Message, Request, Sender, Via};

/// Why a request was sent: who gets its answer.
#[derive(Clone, Debug)]
pub(super) enum AskPurpose {
    /// The overlay's own question.
    Overlay(Tag),
    /// A block offered to a peer that should hold it.
    Offer { ticket: Ticket, owner: OfferOwner, key: Key, to: Peer },
    /// Does this peer, which should hold the block, hold it?
    Probe { key: Key, to: Peer },
    /// A stranger wants us to pull a block: does it receive at that address?
    Vouch,
    /// A peer is slow to take an offer: is it alive?
    Pulse,
    /// A named file handed to a peer that should hold it.
    Hand { handing: Handing, to: Peer },
    /// A user's `ping`.
    User(CommandId),
}

/// On whose behalf a block is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OfferOwner {
    /// A file on its way into the network.
    Put(PutId),
    /// The repair of a block that is held here.
    Repair,
    /// This peer's departure.
    Departure,
}

/// Why a lookup was started.
#[derive(Clone, Debug)]
pub(super) enum LookupPurpose {
    /// A user's `lookup`.
    User { command: CommandId, key: Key, since: Time, holders: Vec<Peer> },
    /// Where a block of a file belongs.
    Put { put: PutId, key: Key },
    /// Who has a piece of a file.
    Get { get: GetId, piece: u64 },
    /// Who has, and who should have, a block that is held here.
    Repair { key: Key, holders: Vec<Peer> },
    /// Who has, and who should have, a block that this peer hands over.
    Departure { key: Key, holders: Vec<Peer> },
    /// Who has a block that was held here until it was found damaged.
    Heal { key: Key, holders: Vec<Peer> },
    /// A named file on its way out of here, or to here.
    Named(Errand),
}

/// Why a job was ordered.
#[derive(Clone, Debug)]
pub(super) enum JobPurpose {
    /// A step of a file on its way into the network: reading, packing, publishing.
    Put { put: PutId },
    /// The own copy of a block of a file on its way into the network: made, or looked at where there is one.
    PutKeep { put: PutId, key: Key, verifies: bool },
    /// A step of a file on its way out: opening, reading the manifest, finishing.
    Get { get: GetId },
    /// A piece of that file.
    GetPiece { get: GetId, piece: u64 },
    /// A block pulled on behalf of other peers, or looked at where it is here already.
    Pull { key: Key, verifies: bool },
    /// A block pulled in place of a damaged one.
    Heal { key: Key },
    /// A look at a block that was said to be here.
    Look,
    /// A step of `clear`.
    Clear { command: CommandId },
    /// A step of a named file.
    Named(Step),
    /// Nobody waits for it.
    Background,
}

/// How many messages came and went.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Traffic {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) dropped: u64,
}

pub(super) struct Context {
    pub(super) now: Time,
    pub(super) config: Config,
    pub(super) rng: StdRng,
    pub(super) overlay: Box<dyn Overlay>,
    pub(super) pending: Pending<AskPurpose>,
    pub(super) jobs: Jobs<JobPurpose>,
    pub(super) holdings: Holdings,
    pub(super) uplink: Uplink,
    pub(super) lookups: BTreeMap<LookupId, LookupPurpose>,
    pub(super) effects: Vec<Effect>,
    pub(super) out: Outbox,
    pub(super) traffic: Traffic,
    /// Set once this peer is to leave: it takes no blocks and repairs none, it only hands over.
    pub(super) departing: bool,
    /// Set once this peer says goodbye: every message then says so.
    pub(super) leaving: bool,
    /// Who sent the answer that is being handled.
    pub(super) answerer: Option<Peer>,
    validated: Recent<SocketAddr, ()>,
    next_lookup: LookupId,
}

impl Context {
    pub(super) fn new(config: Config, overlay: Box<dyn Overlay>, seed: [u8; 32]) -> Self {
        Self {
            now: Time::ZERO,
            config,
            rng: StdRng::from_seed(seed),
            overlay,
            pending: Pending::new(),
            jobs: Jobs::new(),
            holdings: Holdings::default(),
            uplink: Uplink::default(),
            lookups: BTreeMap::new(),
            effects: Vec::new(),
            out: Outbox::new(),
            traffic: Traffic::default(),
            departing: false,
            leaving: false,
            answerer: None,
            validated: Recent::new(VALIDATED_MEMORY),
            next_lookup: 0,
        }
    }

    /// Who we say we are.
    fn sender(&self) -> Sender {
        Sender { peer: self.overlay.me(), guest: self.config.guest, leaving: self.leaving }
    }

    pub(super) fn is_me(&self, peer: &Peer) -> bool {
        peer.id == self.overlay.me().id
    }

    /// Sends a message.
    pub(super) fn send(&mut self, to: SocketAddr, via: Via, message: Message) {
        self.traffic.sent += 1;
        self.out.push(Action::Send { to, via, message });
    }

    /// Sends a request under a magic that is pending already.
    pub(super) fn send_request(&mut self, to: SocketAddr, magic: u64, request: Request) {
        let via = self.overlay.kind().dialect().carrier(&request);
        let message = Message::request(magic, self.sender(), request);
        self.send(to, via, message);
    }

    /// Asks what is answered at once.
    pub(super) fn ask(&mut self, to: impl Into<Target>, request: Request, purpose: AskPurpose) {
        self.ask_with(to.into(), Ask::new(request, purpose), TRIES);
    }

    /// [`ask`](Self::ask) with a number of tries, or for an answer from anyone.
    pub(super) fn ask_with(&mut self, to: Target, ask: Ask<AskPurpose>, tries: u8) {
        let request = ask.request.clone();
        let magic = self.pending.ask(self.now, &mut self.rng, to, ask, tries);
        self.send_request(to.addr, magic, request);
    }

    /// Offers a block to a peer, when its turn comes: please pull it from here and keep it.
    pub(super) fn offer(&mut self, owner: OfferOwner, key: Key, size: u32, to: Peer) {
        self.uplink.line_up(Offering { owner, key, size, to });
    }

    /// Makes the offers whose turn it is.
    pub(super) fn make_offers(&mut self) {
        while let Some((ticket, Offering { owner, key, size, to })) = self.uplink.next(self.now) {
            let request = Request::Store { key, size: Some(size) };
            let ask = Ask::new(request.clone(), AskPurpose::Offer { ticket, owner, key, to });
            let magic = self.pending.ask_patiently(self.now, &mut self.rng, to.into(), ask, OFFER_LIMIT);
            self.send_request(to.addr, magic, request);
        }
    }

    /// Hands a named file to a peer: please pull it from here and keep it.
    pub(super) fn hand(&mut self, handing: Handing, version: Version, to: Peer) {
        let Version { size, modified } = version;
        let request = Request::Ring(RingRequest::Transfer { file: handing.file, size, modified });
        let ask = Ask::new(request.clone(), AskPurpose::Hand { handing, to });
        let magic = self.pending.ask_patiently(self.now, &mut self.rng, to.into(), ask, FILE_LIMIT);
        self.send_request(to.addr, magic, request);
    }

    /// Sends something on its way to the peer responsible for it.
    pub(super) fn route(&mut self, what: Routed, purpose: LookupPurpose) {
        let lookup = self.next_lookup;
        self.next_lookup += 1;
        self.lookups.insert(lookup, purpose);
        match self.overlay.router() {
            Some(router) => router.route(self.now, lookup, what, &mut self.effects),
            None => self.effects.push(Effect::Ring(RingEffect::Settled { lookup, outcome: RouteOutcome::Lost })),
        }
    }

    /// Starts a lookup.
    pub(super) fn look_up(&mut self, key: Key, goal: Goal, purpose: LookupPurpose) -> LookupId {
        let lookup = self.next_lookup;
        self.next_lookup += 1;
        self.lookups.insert(lookup, purpose);
        self.overlay.lookup(self.now, lookup, key, goal, &mut self.effects);
        lookup
    }

    /// Ends a lookup that nobody needs any more.
    pub(super) fn cancel_lookup(&mut self, lookup: LookupId) {
        if self.lookups.remove(&lookup).is_some() {
            self.overlay.cancel(lookup);
        }
    }

    /// Orders work.
    pub(super) fn order(&mut self, work: Job, purpose: JobPurpose, urgency: Urgency) -> JobId {
        self.jobs.order(work, purpose, urgency, &mut self.out)
    }

    /// Ends work early. A job that had not begun never ends, so nothing more will be heard of it.
    pub(super) fn cancel_job(&mut self, job: JobId) -> Option<JobPurpose> {
        self.jobs.cancel(job, &mut self.out)
    }

    pub(super) fn notify(&mut self, notice: Notice) {
        self.out.push(Action::Notify(notice));
    }

    pub(super) fn progress(&mut self, command: CommandId, progress: Progress) {
        self.notify(Notice::Progress { command, progress });
    }

    pub(super) fn answer(&mut self, command: CommandId, answer: Answer) {
        self.notify(Notice::Answer { command, answer });
    }

    pub(super) fn fail(&mut self, command: CommandId, kind: FailureKind, reason: impl Into<String>) {
        self.answer(command, Answer::Failed(Failure { kind, reason: reason.into() }));
    }

    /// This address has shown that it receives what is sent to it.
    pub(super) fn validate(&mut self, addr: SocketAddr) {
        self.validated.insert(addr, ());
    }

    pub(super) fn is_validated(&self, addr: &SocketAddr) -> bool {
        self.validated.contains(addr)
    }
}
