//! What other peers ask us to hold: pulled from them over TCP, hashed, made durable, and only then called saved.
//!
//! We pull only from the address that the offer came from, and only if that address has shown that it receives:
//! otherwise a forged datagram could point us at a victim. Nor is anything done about a block that is here, or its
//! leases, for an address that has shown nothing. A stranger's offer waits while the stranger is pinged.
//!
//! A block that we believe we hold may have been cut, emptied or deleted behind our back, or have been damaged while we
//! were down. So an offer of it is answered only after a worker has looked at the file: that costs little where the
//! file is as it was when it last was hashed. If it is not sound, the offer is taken like any other.
//!
//! `queue.rs` chooses which block is pulled next: a slow or silent peer delays only its own offers. Where its pull
//! fails, the block is pulled from another peer that offered it. A block may come slowly, but not for long while a
//! source waits from which nothing is pulled: then the block that has come for longest gives way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::pull::{IncomingOffer, Pull, why_not};
use super::queue::PullQueue;
use crate::config::{HEDGE_MIN, MAX_BLOCK_SIZE, MAX_PULLS, REPUBLISH_INTERVAL};
use crate::id::Key;
use crate::lease::{Lease, LeaseId, LeaseNews, Secret};
use crate::node::desk::Desk;
use crate::node::job::{Job, JobErrorKind, JobId, Outcome, Urgency};
use crate::node::part::Part;
use crate::node::refusal::Refusal;
use crate::node::ticket::{About, PartId, Reply, Ticket};
use crate::node::trouble::Trouble;
use crate::overlay::{Asker, Target};
use crate::patience;
use crate::source::who_may_give_way;
use crate::time::Time;
use crate::wire::{Request, RequestKind, Response};

/// Which peers wait for which blocks. Bounded by [`MAX_PULLS`], each part.
#[derive(Default)]
pub(in crate::node) struct Pulls {
    /// Blocks on their way here or waiting for their turn.
    wanted: BTreeMap<Key, Pull>,
    /// The addresses that these blocks are pulled from.
    queue: PullQueue,
    /// Offers of strangers that are being pinged.
    unproven: BTreeMap<SocketAddr, Vec<IncomingOffer>>,
    unproven_count: usize,
    /// Those who are to be shown a block that was not pulled from them, by the jobs that hash what their offers name.
    shows: BTreeMap<JobId, IncomingOffer>,
    /// When it was told that there is no room for a block.
    told_full: Option<Time>,
    /// When it is looked whether a block that comes slowly is to give way.
    look: Option<Time>,
}

/// Peers that may wait for one and the same block, and offers that one stranger may make before it is known.
const MAX_WAITING: usize = 64;

/// Blocks whose leases have ended by this peer's clock, and not by that of a peer that offers them, stay for so long.
/// Their holders offer them each [`REPUBLISH_INTERVAL`].
const HELD_BACK: Duration = Duration::from_secs(24 * 3600);

/// A block may come for so long while others wait: as long as one is offered over a way that is not slow. How often it
/// is looked who waits.
const GIVES_WAY: Duration = patience::OFFER;
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A peer that denies within this time that it has what it offered has kept no other waiting. It may not have made the
/// offer: a datagram can be sent in another's name.
const DENIED_AT_ONCE: Duration = HEDGE_MIN;

impl Part for Pulls {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        match (ticket.about, reply) {
            (About::Block(key), Reply::Done { job, outcome }) => match (self.shows.remove(&job), outcome) {
                (Some(offer), _) if desk.is_leaving() => respond(desk, &offer, Err(Refusal::Leaving)),
                (Some(offer), Outcome::Sampled { sample }) => {
                    desk.respond(&offer.from, RequestKind::Store, Response::Shown { sample });
                }
                (Some(offer), _) => respond(desk, &offer, Err(Refusal::Disk)),
                (None, outcome) => self.on_pulled(desk, key, &outcome),
            },
            // A stranger answered: what it offered is pulled now.
            (_, Reply::Answer(answered)) => {
                for offer in self.take_unproven(answered.to.addr) {
                    self.on_offer(desk, offer);
                }
            }
            // It did not. If that was a lost datagram, it offers again.
            (_, Reply::Silence { to, .. }) => {
                for offer in self.take_unproven(to.addr) {
                    respond(desk, &offer, Err(Refusal::Unproven));
                }
            }
            _ => {}
        }
    }

    fn on_request(&mut self, desk: &mut Desk, from: Asker, request: Request) {
        if let Request::Store { key, size, leases } = request {
            self.on_offer(desk, IncomingOffer { from, key, size, leases });
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        if self.look.is_some_and(|due| due <= desk.now()) {
            self.give_way(desk);
        }
    }

    fn next_wake(&self, _desk: &Desk) -> Option<Time> {
        self.look
    }

    fn under_way(&self) -> usize {
        self.wanted.len() + self.shows.len()
    }

    /// Whether every block wanted is under way or in a queue, once.
    fn check(&self, _desk: &Desk) -> Result<(), String> {
        self.queue.check()?;
        (self.queue.len() == self.wanted.len())
            .then_some(())
            .ok_or_else(|| format!("{} blocks wanted, {} of them from a source", self.wanted.len(), self.queue.len()))
    }
}

impl Pulls {
    /// Takes an offer: answers it at once, or starts (or joins) the pull whose end will answer it.
    fn on_offer(&mut self, desk: &mut Desk, offer: IncomingOffer) {
        if desk.config().guest {
            return respond(desk, &offer, Err("a guest keeps no blocks".into()));
        }
        if desk.is_leaving() {
            return respond(desk, &offer, Err(Refusal::Leaving));
        }
        if offer.size.is_some_and(|size| size > MAX_BLOCK_SIZE) {
            return respond(desk, &offer, Err("a block is at most 1 MiB".into()));
        }
        if let Err(reason) = check_leases(desk, &offer) {
            return respond(desk, &offer, Err(reason));
        }
        // To look at what is here no connection back is needed: a connection that the offer came over is proof enough.
        let is_there = offer.from.is_validated() && desk.holds(&offer.key);
        if !is_there && !desk.is_validated(&offer.from.addr) {
            return self.ask_for_proof(desk, offer);
        }
        if self.queue.is_shunned(desk.now(), &offer.from.addr) && !desk.holds(&offer.key) {
            return respond(desk, &offer, Err(Refusal::Unreached));
        }
        self.pull(desk, offer);
    }

    fn pull(&mut self, desk: &mut Desk, offer: IncomingOffer) {
        if let Some(wanted) = self.wanted.get_mut(&offer.key) {
            // The same offer again is its sender's retry: the one answer will do, and it still waits for that.
            let again = wanted.waiting.iter().any(|known| known.from.is_same(&offer.from));
            if again {
                wanted.since = desk.now();
            } else if let Some(displaced) = wanted.join(offer, MAX_WAITING) {
                respond(desk, &displaced, Err(Refusal::Busy));
            }
            return;
        }
        if self.shows.values().any(|known| known.from.is_same(&offer.from)) {
            return;
        }
        match self.queue.make_room(offer.from.addr) {
            None => return respond(desk, &offer, Err(Refusal::Busy)),
            Some(displaced) => displaced.into_iter().for_each(|key| self.refuse(desk, &key, &Refusal::Busy)),
        }
        let (key, from) = (offer.key, offer.from.addr);
        let wanted = Pull::of(from, desk.now(), false, vec![offer]);
        self.line_up(desk, key, wanted);
    }

    /// A block takes its place in the queue of the address that it comes from.
    fn line_up(&mut self, desk: &mut Desk, key: Key, wanted: Pull) {
        let from = wanted.from;
        self.wanted.insert(key, wanted);
        self.queue.enter(from, key);
        self.start(desk, from);
    }

    /// Pulls as many blocks from this address as it may have under way.
    fn start(&mut self, desk: &mut Desk, from: SocketAddr) {
        while let Some(key) = self.queue.begin_of(from) {
            self.begin(desk, from, key);
        }
    }

    /// Pulls as many blocks as may be under way, each from the source whose turn it is.
    fn start_next(&mut self, desk: &mut Desk) {
        while let Some(from) = self.queue.next()
            && let Some(key) = self.queue.begin_of(from)
        {
            self.begin(desk, from, key);
        }
    }

    fn begin(&mut self, desk: &mut Desk, from: SocketAddr, key: Key) {
        // Where it is only that who offers it has its share, others have room.
        let has_share = self.wanted.get(&key).is_some_and(|wanted| wanted.has_share(desk, key));
        let begin = |wanted: &mut Pull| if has_share { wanted.begin(desk, key) } else { Err(Refusal::Full) };
        let begun = self.wanted.get_mut(&key).map_or(Err(Refusal::Busy), begin);
        if let Err(reason) = begun {
            if reason == Refusal::Full && !has_share {
                desk.note_no_room();
            } else if reason == Refusal::Full {
                tell_full(&mut self.told_full, desk);
            }
            self.queue.end(from, &key, None);
            self.refuse(desk, &key, &reason);
        } else {
            self.look = self.look.or(Some(desk.now() + GIVES_WAY));
        }
    }

    /// Where a source waits from which nothing is pulled, the block that has come for longest is given up, if that is
    /// long.
    fn give_way(&mut self, desk: &mut Desk) {
        let now = desk.now();
        let coming = self.wanted.values_mut().filter(|pull| !pull.given_up);
        let oldest =
            coming.filter_map(|pull| pull.job.map(|(job, since)| (since, job, pull))).min_by_key(|one| (one.0, one.1));
        self.look = oldest.as_ref().map(|(since, ..)| (*since + GIVES_WAY).max(now + LOOK_EVERY));
        if let Some((since, job, pull)) = oldest
            && now.since(since) >= GIVES_WAY
            && self.queue.is_crowded()
            && desk.jobs().has_begun(job)
        {
            pull.given_up = true;
            desk.cancel_job(job);
        }
    }

    /// A block that waited for its turn is wanted no more.
    fn refuse(&mut self, desk: &mut Desk, key: &Key, reason: &Refusal) {
        let waiting = self.wanted.remove(key).map_or(Vec::new(), |wanted| wanted.waiting);
        waiting.iter().for_each(|offer| respond(desk, offer, Err(reason.clone())));
    }

    fn ask_for_proof(&mut self, desk: &mut Desk, offer: IncomingOffer) {
        let waiting = self.unproven.get(&offer.from.addr).map_or(&[][..], |offers| offers);
        if waiting.iter().any(|known| known.from.magic == offer.from.magic) {
            return;
        }
        if waiting.len() >= MAX_WAITING || !self.make_room_for_unproven(desk, offer.from.addr) {
            return respond(desk, &offer, Err(Refusal::Busy));
        }
        let offers = self.unproven.entry(offer.from.addr).or_default();
        let (from, by_connection) = (offer.from.addr, offer.from.is_validated());
        offers.push(offer);
        self.unproven_count += 1;
        match (offers.len(), by_connection) {
            // A peer that made a connection is on that host, and offers but once. Datagrams may be lost.
            (1, true) => desk.ask(Ticket::of(PartId::Pulls, 0), Target { id: None, addr: from }, Request::Ping),
            // One datagram and no more: an address that has shown nothing gets little for what it sent.
            (1, false) => desk.ask_once(Ticket::of(PartId::Pulls, 0), from, Request::Ping),
            _ => {}
        }
    }

    /// Whether one more offer from this address can wait for its proof: where all places are taken, the source that has
    /// most addresses gives those of one; where each has one, any does. A peer that is there shows it by its answer all
    /// the same, and is taken at its word when it offers again.
    fn make_room_for_unproven(&mut self, desk: &mut Desk, from: SocketAddr) -> bool {
        if self.unproven_count < MAX_PULLS {
            return true;
        }
        let waiting: Vec<SocketAddr> = self.unproven.keys().copied().collect();
        let Some(giver) = desk.any_of(who_may_give_way(from, &waiting)) else { return false };
        self.take_unproven(giver).iter().for_each(|offer| respond(desk, offer, Err(Refusal::Busy)));
        true
    }

    fn take_unproven(&mut self, from: SocketAddr) -> Vec<IncomingOffer> {
        let offers = self.unproven.remove(&from).unwrap_or_default();
        self.unproven_count -= offers.len();
        offers
    }

    /// A pull is over, or a look at what is here already.
    fn on_pulled(&mut self, desk: &mut Desk, key: Key, outcome: &Outcome) {
        let Some(Pull { from, since, looking, job, given_up, waiting, .. }) = self.wanted.remove(&key) else { return };
        if looking && !matches!(outcome, Outcome::Sound { .. }) && !desk.is_leaving() {
            self.queue.end(from, &key, None);
            self.pull_anew(desk, key, since, waiting);
            return self.start_next(desk);
        }
        if matches!(outcome, Outcome::Failed(error) if error.kind == JobErrorKind::Full) {
            tell_full(&mut self.told_full, desk);
        }
        // Where others arrived, one connection that did not come about may be chance.
        let unreached = matches!(outcome, Outcome::Failed(error) if error.kind == JobErrorKind::Unreachable)
            && !self.queue.has_delivered(from);
        let (result, to_blame) = match outcome {
            // It is here, but will not be handed over: the peer that offered it has to find another place.
            _ if desk.is_leaving() => (Err(Refusal::Leaving), false),
            Outcome::Stored { .. } | Outcome::Sound { .. } => (Ok(()), false),
            _ if unreached => (Err(Refusal::Unreached), true),
            _ if given_up => (Err(Refusal::NotPulled), true),
            Outcome::Failed(error) => (Err(why_not(error)), !error.kind.is_our_own()),
            _ => (Err(Refusal::NotPulled), true),
        };
        let denied = matches!(outcome, Outcome::Failed(error) if error.kind == JobErrorKind::NotFound)
            && job.is_some_and(|(_, begun)| desk.now().since(begun) < DENIED_AT_ONCE);
        let tells = !looking && (result.is_ok() || to_blame && !denied);
        self.queue.end(from, &key, tells.then_some(result.is_ok()));
        let (told, others): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|offer| !to_blame || offer.from.addr == from);
        for offer in told {
            if result.is_ok() && !desk.has_leases(&key, &offer.leases) {
                // It came on behalf of others, when those of the first were being written down.
                self.on_offer(desk, offer);
            } else if result.is_ok() && (looking || offer.from.addr != from) && self.shows.len() < MAX_PULLS {
                self.show(desk, key, offer);
            } else {
                respond(desk, &offer, result.clone());
            }
        }
        self.pull_anew(desk, key, since, others);
        if unreached && to_blame {
            self.shun(desk, from);
        }
        self.start_next(desk);
        if self.wanted.is_empty() {
            self.look = None;
        }
    }

    /// No connection to this address comes about: what it offers besides is refused, or pulled from others.
    fn shun(&mut self, desk: &mut Desk, from: SocketAddr) {
        let wanted = &self.wanted;
        let is_here = |key: &Key| desk.holds(key) && wanted.get(key).is_some_and(|wanted| !wanted.unsound);
        for key in self.queue.shun(desk.now(), from, |key| !is_here(key)) {
            let Some(Pull { since, waiting, .. }) = self.wanted.remove(&key) else { continue };
            self.pull_anew(desk, key, since, waiting);
        }
    }

    /// The block was not pulled from who offers it: a hash of the bytes that the offer names shows
    /// that it is here.
    fn show(&mut self, desk: &mut Desk, key: Key, offer: IncomingOffer) {
        let (magic, by) = (offer.from.magic, desk.me().id);
        let job = desk.order(Ticket::block(PartId::Pulls, key), Job::Sample { key, magic, by }, Urgency::Others);
        self.shows.insert(job, offer);
    }

    /// A block is pulled from one of those who offer it, whatever is here of it. Strangers have to prove themselves
    /// first.
    fn pull_anew(&mut self, desk: &mut Desk, key: Key, since: Time, waiting: Vec<IncomingOffer>) {
        let (shunned, waiting): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|offer| self.queue.is_shunned(desk.now(), &offer.from.addr));
        shunned.iter().for_each(|offer| respond(desk, offer, Err(Refusal::Unreached)));
        let (proven, strangers): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|offer| desk.is_validated(&offer.from.addr));
        if let Some(first) = proven.first() {
            self.line_up(desk, key, Pull::of(first.from.addr, since, true, proven));
        }
        strangers.into_iter().for_each(|offer| self.ask_for_proof(desk, offer));
    }
}

/// Whether a block can be kept on behalf of the leases in an offer. A peer that slept through the end of one is told of
/// it.
fn check_leases(desk: &mut Desk, offer: &IncomingOffer) -> Result<(), Refusal> {
    if desk.holdings().is_going(&offer.key) {
        return Err(Refusal::Busy);
    }
    if offer.leases.is_empty() {
        return Ok(());
    }
    let (now, known) = (desk.unix_time(), desk.holdings().all_leases());
    let ended: Vec<Secret> = known.secrets_of(&offer.leases).collect();
    let holds = |lease: &Lease| lease.holds(now) && !ended.iter().any(|secret| secret.id() == lease.id);
    let wanted = offer.leases.iter().any(holds);
    // By the clock of the peer that offers it they have not ended, and no user has ended them: which clock is wrong is
    // not known.
    let doubtful = |lease: &&Lease| !lease.holds(now) && !ended.iter().any(|secret| secret.id() == lease.id);
    let doubtful: Vec<LeaseId> = offer.leases.iter().filter(doubtful).map(|lease| lease.id).collect();
    if desk.is_validated(&offer.from.addr) {
        desk.hold_back(&doubtful, HELD_BACK);
    }
    if !ended.is_empty() && desk.is_validated(&offer.from.addr) {
        // As many as fit a datagram; the rest follows with the next offer. That it was heard shows that the peer
        // receives, which is all that comes of the answer.
        let ended = ended.into_iter().take(10).collect();
        let news = LeaseNews { ended, ..LeaseNews::default() };
        desk.ask_once(Ticket::of(PartId::Leases, 0), offer.from.addr, Request::Lease(news));
    }
    if wanted { Ok(()) } else { Err(Refusal::Ended) }
}

/// Tells that there is no room; not for each block, since a peer that is full may be offered thousands.
fn tell_full(told: &mut Option<Time>, desk: &mut Desk) {
    desk.note_no_room();
    let now = desk.now();
    if told.is_none_or(|told| now.since(told) >= REPUBLISH_INTERVAL) {
        *told = Some(now);
        desk.trouble(Trouble::Full { bytes: desk.holdings().bytes() });
    }
}

fn respond(desk: &mut Desk, offer: &IncomingOffer, result: Result<(), Refusal>) {
    match result {
        Ok(()) => desk.respond(&offer.from, RequestKind::Store, Response::Saved),
        Err(reason) => desk.refuse(&offer.from, reason),
    }
}
