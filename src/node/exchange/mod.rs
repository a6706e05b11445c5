//! What the node says to other peers and hears from them: it alone draws request ids, keeps the deadlines of requests,
//! matches answers, and limits what a stranger is told.
//!
//! Every message that the node sends passes through here. (A datagram that cannot be read is none that the node hears
//! of: the thread `node` answers it, within the same limit.) [`pending`] keeps the requests that wait for an answer,
//! each with its [`schedule`]; [`round_trips`] and [`conditions`] what answers show of each address and of all;
//! [`uplink`] the offers that wait for their turn; [`deliveries`] and [`pulling`] who got and who begins to pull what
//! is offered; [`introductions`] who need not say again who it is; [`why`] for whom a request was sent. [`answering`]
//! says what others are told. What comes of a request is a [`RequestOutcome`]: for the overlay, or for the part whose
//! ticket it went out under.

mod answering;
mod conditions;
pub(crate) mod deliveries;
mod introductions;
pub(crate) mod pending;
mod pulling;
mod round_trips;
pub(crate) mod schedule;
mod uplink;
mod why;

use std::net::SocketAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::deliveries::Deliveries;
use self::introductions::Introductions;
pub(crate) use self::pending::Patience;
use self::pending::{Due, Pending, PendingRequest};
use self::pulling::Pulling;
use self::uplink::{OfferNumber, Offering, Uplink};
pub(crate) use self::why::{RequestOutcome, SentFor};
use super::action::{Action, Outbox};
use super::purpose::Purpose;
use super::refusal::Refusal;
use super::ticket::{Answered, Offer, Proof, Reply, Ticket};
use crate::config::{VALIDATED_FOR, VALIDATED_MEMORY};
use crate::id::Key;
use crate::lease::Lease;
use crate::overlay::{Late, Target};
use crate::patience;
use crate::peer::Peer;
use crate::recent::Recent;
use crate::time::Time;
use crate::wire::{Body, Dialect, Message, Request, RequestKind, Response, Sender, Via};

/// Why an offer to a peer failed that died meanwhile.
const SILENT: &str = "it went silent";

/// Why a request failed that did not even leave.
pub(crate) const NO_WAY: &str = "this machine has no way there";

/// How many messages came and went.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Datagrams that were lost because the node did not keep up.
    pub(crate) dropped: u64,
}

/// The way to other peers and back.
pub(crate) struct Exchange {
    now: Time,
    rng: StdRng,
    /// What this peer says that it is. Whether it reads datagrams it says with the requests that such may answer.
    pub(super) sender: Sender,
    datagrams: bool,
    dialect: Dialect,
    pending: Pending,
    uplink: Uplink,
    /// Addresses that have shown that they receive what is sent to them.
    validated: Recent<SocketAddr, Time, VALIDATED_MEMORY>,
    introductions: Introductions,
    deliveries: Deliveries,
    pulling: Pulling,
    pub(crate) traffic: Traffic,
    out: Outbox,
}

impl Exchange {
    /// The exchange of the peer `sender`. All its randomness, and the node's, comes from `seed`.
    pub(crate) fn new(sender: Sender, dialect: Dialect, seed: [u8; 32]) -> Self {
        Self {
            now: Time::ZERO,
            rng: StdRng::from_seed(seed),
            sender: Sender { datagrams: false, ..sender },
            datagrams: sender.datagrams,
            dialect,
            pending: Pending::new(sender.guest, dialect),
            uplink: Uplink::default(),
            validated: Recent::default(),
            introductions: Introductions::default(),
            deliveries: Deliveries::default(),
            pulling: Pulling::default(),
            traffic: Traffic::default(),
            out: Outbox::new(),
        }
    }

    /// Begins to handle an event: it is `now`, and actions go to the end of `out`, which is kept here until the
    /// [end](Self::end).
    pub(crate) fn begin(&mut self, now: Time, out: &mut Outbox) {
        self.now = now.max(self.now);
        std::mem::swap(&mut self.out, out);
    }

    /// Ends the handling: gives `out` back.
    pub(crate) fn end(&mut self, out: &mut Outbox) {
        std::mem::swap(&mut self.out, out);
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    pub(crate) fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    pub(crate) fn out(&mut self) -> &mut Outbox {
        &mut self.out
    }

    /// From now on every message says that this peer goes.
    pub(crate) fn say_goodbye(&mut self) {
        self.sender.leaving = true;
        self.uplink.take_where(|_| true);
    }

    fn send(&mut self, to: SocketAddr, via: Via, message: Message) {
        self.traffic.sent += 1;
        self.out.push(Action::Send { to, via, message });
    }

    /// Sends a request under the magic that it has already: another peer's, or one of this peer's once more.
    pub(crate) fn forward(&mut self, to: SocketAddr, magic: u64, request: Request) {
        self.send_request(to, magic, self.sender, request);
    }

    fn send_request(&mut self, to: SocketAddr, magic: u64, sender: Sender, request: Request) {
        let via = self.dialect.carrier(&request);
        let omits = !sender.leaving && self.introductions.may_omit(self.now, &to, &request);
        let sender = (!omits).then_some(sender);
        self.send(to, via, Message { magic, sender, answers: None, asks: None, body: Body::Request(request) });
    }

    /// Sends a request, and waits for its answer. Of a peer that dies before bytes have moved, none comes.
    ///
    /// The answer may come by datagram where this peer reads those. If it is lost, the request comes again without that
    /// word, and its answer over a connection.
    pub(crate) fn ask(&mut self, why: SentFor, to: Target, mut request: Request, patience: Patience) {
        let magic = self.pending.ask(self.now, &mut self.rng, to, (request.clone(), why), patience);
        let mut sender = self.sender;
        if self.datagrams && self.dialect.carrier(&request) == Via::Tcp {
            match request.origin() {
                Some(_) => request.ask_for_datagram(),
                None => sender.datagrams = true,
            }
        }
        self.send_request(to.addr, magic, sender, request);
    }

    /// Offers a block of so many bytes to a peer, when its turn comes: please pull it from here and keep it.
    pub(crate) fn offer(&mut self, offer: Offer, size: u32, leases: Vec<Lease>) {
        self.uplink.line_up(Offering { offer, size, leases });
    }

    /// Makes the offers whose turn it is.
    pub(crate) fn make_offers(&mut self) {
        while let Some((number, Offering { offer, size, leases })) = self.uplink.next(self.now) {
            let request = Request::Store { key: offer.key, size: Some(size), leases };
            self.ask(SentFor::Offer { number, offer }, offer.to.into(), request, Patience::Moved(patience::OFFER));
        }
    }

    /// Drops the offers that are `unwanted`, those under way too.
    pub(crate) fn drop_offers(&mut self, unwanted: impl Fn(&Ticket) -> bool) {
        self.uplink.take_where(|offering| unwanted(&offering.offer.ticket));
        let unwanted = |why: &SentFor| matches!(why, SentFor::Offer { offer, .. } if unwanted(&offer.ticket));
        for waiting in self.pending.take_where(|waiting| unwanted(&waiting.why)) {
            if let SentFor::Offer { number, offer } = waiting.why {
                self.uplink.end(self.now, number, offer.to.addr, false);
            }
        }
    }

    /// Whether offers go over connections.
    pub(crate) fn connects_to_offer(&self) -> bool {
        let offer = Request::Store { key: Key::ZERO, size: None, leases: Vec::new() };
        self.dialect.carrier(&offer) == Via::Tcp
    }

    /// Whether the peer at `addr` lives and takes nothing.
    pub(crate) fn stalls(&self, addr: &SocketAddr) -> bool {
        self.uplink.stalls(self.now, addr)
    }

    /// A peer came: what another one at its address did tells nothing about it.
    pub(crate) fn forgive(&mut self, addr: SocketAddr) {
        self.uplink.forgive(addr);
    }

    /// An answer came. Whether it shows that the peer that was asked lives; and whom it concerns.
    pub(crate) fn on_answer(
        &mut self,
        from: SocketAddr,
        magic: u64,
        sender: Option<Sender>,
        answer: Result<Response, Refusal>,
    ) -> Option<(bool, RequestOutcome)> {
        let says = sender.map(|sender| sender.peer).or_else(|| answer.as_ref().ok().and_then(Response::node));
        if let Some(peer) = says {
            self.introductions.hear(&from, peer.id);
        }
        let (sender, answer) = self.introductions.in_full(from, sender, answer);
        if Introductions::is_unnamed(&answer) {
            self.ask_with_name(from, magic);
            return None;
        }
        let Some(completed) = self.pending.complete(self.now, magic, from) else {
            return self.pending.is_too_late(self.now, magic, from).then_some((false, RequestOutcome::Revived(from)));
        };
        let (took, waiting) = (completed.took(self.now), completed.waiting);
        let sent = waiting.sent();
        let measured = completed.rtt.or_else(|| self.pending.round_trip(&from));
        let asked = waiting.to.addr == from;
        if asked {
            self.validate(from);
        }
        let by = sender.map(|sender| Peer::new(sender.peer.id, from));
        let named =
            answer.as_ref().ok().and_then(Response::node).filter(|_| waiting.request.kind() == RequestKind::Ping);
        if let Some(peer) = by.or(named).filter(|_| asked && self.sender.recalls) {
            self.introductions.meet(from, peer.id);
        }
        let outcome = match (waiting.why, answer) {
            (SentFor::Overlay(tag, _), Ok(response)) => RequestOutcome::Answer { tag, sent, from, by, response },
            (SentFor::Overlay(tag, _), Err(reason)) => {
                RequestOutcome::NoAnswer { tag, sent, to: waiting.to, refused: Some(reason.to_string()) }
            }
            (SentFor::Part(ticket), answer) => {
                let named = answer.as_ref().ok().and_then(Response::node);
                let by = named.map(|peer| Peer::new(peer.id, from)).or(by);
                let rtt = measured.unwrap_or(took);
                RequestOutcome::Part(ticket, Reply::Answer(Answered { to: waiting.to, by, answer, rtt }))
            }
            (SentFor::Offer { number, offer }, answer) => {
                if answer.as_ref().is_err_and(|why| *why == Refusal::Unreached) {
                    self.on_unreached(offer.to.addr);
                }
                let answer = answer.map_err(|why| self.unless_slow(number.0, why));
                let result = answer.and_then(|response| self.proof(magic, (number.0, &offer), &response));
                self.end_offer(number, offer, result)
            }
            (SentFor::Pulse, _) => RequestOutcome::Pulse,
        };
        Some((asked, outcome))
    }

    fn end_offer(&mut self, number: OfferNumber, offer: Offer, result: Result<Proof, Refusal>) -> RequestOutcome {
        self.uplink.end(self.now, number, offer.to.addr, result.is_ok());
        RequestOutcome::Claimed { offer, result }
    }

    /// Sends again what is due to be, and takes the next request that is late or has failed; call it until there is
    /// none.
    pub(crate) fn next_due(&mut self) -> Option<RequestOutcome> {
        loop {
            match self.pending.next_due(self.now)? {
                Due::Waits { magic, to, request, patient, late, again } => {
                    if patient {
                        self.check_pulse(to);
                    }
                    if late == Some(Late::Doubtful) {
                        self.introductions.introduce_anew(&to);
                    }
                    if again {
                        self.forward(to, magic, request);
                    }
                    let waiting = self.pending.get(magic).map(|waiting| (&waiting.why, waiting.sent()));
                    let outcome = match (late, waiting) {
                        // The message that goes out now has yet to be left without an answer.
                        (Some(late), Some((&SentFor::Overlay(tag, _), sent))) => {
                            Some(RequestOutcome::Late { tag, sent: sent - u8::from(again), late })
                        }
                        (Some(Late::Doubtful), Some((SentFor::Pulse, _))) if !self.is_sent_slowly(&to) => {
                            Some(RequestOutcome::Doubtful(to))
                        }
                        (None, Some((&SentFor::Offer { number, .. }, _))) => self.late_beginning(number.0, to),
                        _ => None,
                    };
                    if outcome.is_some() {
                        return outcome;
                    }
                }
                Due::Failed { magic, waiting } if self.is_slowly_taken(&waiting) => {
                    self.pending.wait_on(self.now, magic, *waiting);
                }
                Due::Failed { waiting, .. } => {
                    if matches!(waiting.why, SentFor::Offer { .. }) {
                        self.uplink.on_stall(self.now, waiting.to.addr);
                    }
                    return Some(self.fail(*waiting, "no answer"));
                }
            }
        }
    }

    /// An offer is sent again: meanwhile, is its receiver alive at all?
    fn check_pulse(&mut self, to: SocketAddr) {
        if !self.pending.any(|waiting| waiting.to.addr == to && matches!(waiting.why, SentFor::Pulse)) {
            let patience = Patience::Tries(patience::OFFER_PULSE);
            self.ask(SentFor::Pulse, Target { id: None, addr: to }, Request::Ping, patience);
        }
    }

    fn fail(&mut self, waiting: PendingRequest, reason: &'static str) -> RequestOutcome {
        let sent = waiting.sent();
        let PendingRequest { to, why, .. } = waiting;
        match why {
            SentFor::Overlay(tag, _) => RequestOutcome::NoAnswer { tag, sent, to, refused: None },
            SentFor::Part(ticket) => RequestOutcome::Part(ticket, Reply::Silence { to, reason }),
            SentFor::Offer { number, offer } => self.end_offer(number, offer, Err(reason.into())),
            SentFor::Pulse if self.is_sent_slowly(&to.addr) => RequestOutcome::Pulse,
            SentFor::Pulse => RequestOutcome::NoPulse(to.addr),
        }
    }

    /// The peer at `addr` is dead: what waits there until bytes have moved, such as an offer, has failed.
    pub(crate) fn on_dead(&mut self, addr: SocketAddr) -> Vec<RequestOutcome> {
        let patient = self.pending.take_where(|waiting| waiting.to.addr == addr && waiting.is_patient());
        let mut failed: Vec<RequestOutcome> = patient.into_iter().map(|waiting| self.fail(waiting, SILENT)).collect();
        let queued = self.uplink.take_where(|offering| offering.offer.to.addr == addr).into_iter();
        failed
            .extend(queued.map(|Offering { offer, .. }| RequestOutcome::Claimed { offer, result: Err(SILENT.into()) }));
        failed
    }

    /// A message could not be delivered to `addr`. What came of it, if it was a request of ours; else the request, if
    /// it was one that this peer only passed on.
    pub(crate) fn on_undeliverable(
        &mut self,
        addr: &SocketAddr,
        message: Message,
    ) -> (Option<RequestOutcome>, Option<(u64, Request)>) {
        // A peer on the way of a request of ours can choose its number for one that this peer is to pass on.
        let ours = self.pending.get(message.magic).is_some_and(|waiting| waiting.to.addr == *addr);
        match if ours { self.pending.remove(message.magic) } else { None } {
            Some(waiting) => (Some(self.fail(waiting, "it cannot be reached")), None),
            None => match message.body {
                Body::Request(request) => (None, Some((message.magic, request))),
                Body::Response(_) | Body::Error(_) => (None, None),
            },
        }
    }

    /// A datagram with the request `magic` did not leave. What comes of it, if a user waits for it. The others have
    /// their usual time: a way that is gone for a moment is nothing to hold against a peer.
    pub(crate) fn on_no_way(&mut self, to: &SocketAddr, magic: u64) -> Option<RequestOutcome> {
        let waiting = self.pending.get(magic).filter(|waiting| waiting.to.addr == *to)?;
        let waiting = if waiting.why.is_users() { self.pending.remove(magic) } else { None };
        waiting.map(|waiting| self.fail(waiting, NO_WAY))
    }

    /// Takes the requests that `matches`: no answer of theirs is waited for any more.
    pub(crate) fn abandon(&mut self, matches: impl Fn(&Ticket) -> bool) -> Vec<Ticket> {
        let taken = self.pending.take_where(|waiting| matches!(&waiting.why, SentFor::Part(ticket) if matches(ticket)));
        let tickets = taken.into_iter().filter_map(|waiting| match waiting.why {
            SentFor::Part(ticket) => Some(ticket),
            _ => None,
        });
        tickets.collect()
    }

    /// Whether a goodbye of ours has yet to be confirmed.
    pub(crate) fn expects_goodbyes(&self) -> bool {
        self.pending.any(|waiting| waiting.request.is_goodbye())
    }

    /// This address has shown that it receives what is sent to it.
    pub(crate) fn validate(&mut self, addr: SocketAddr) {
        self.validated.insert(addr, self.now);
    }

    /// Whether it has shown that not long ago: another may be there by now.
    pub(crate) fn is_validated(&self, addr: &SocketAddr) -> bool {
        self.validated.get(addr).is_some_and(|shown| self.now.since(*shown) < VALIDATED_FOR)
    }

    /// The usual round trip to `addr`, if one was measured.
    pub(crate) fn round_trip(&self, addr: &SocketAddr) -> Option<Duration> {
        self.pending.round_trip(addr)
    }

    /// What the request `magic` is for, while its answer is awaited.
    pub(crate) fn purpose(&self, magic: u64) -> Option<Purpose> {
        self.pending.get(magic).map(|waiting| waiting.why.purpose())
    }

    /// Requests that wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// When a tick is wanted next, and by what.
    pub(crate) fn wakes(&self) -> [(Option<Time>, &'static str); 2] {
        [(self.pending.next_deadline(), "pending"), (self.uplink.next_wake(self.now), "uplink")]
    }

    /// What must be true between any two events.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.pending.check()?;
        self.uplink.check(self.now)
    }
}
