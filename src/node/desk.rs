//! The desk: all that a part may ask for.
//!
//! Parts that know what a *file* is and what a *replica set is owed* ask here, each under its [`Ticket`]; the node
//! brings the reply back to the part that the ticket names.

pub(crate) mod claims;
mod favours;
mod keeping;
mod offers;
pub(crate) mod reach;
mod room;
mod telling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;

use super::action::Action;
use super::budget::RepairBudget;
use super::command::CommandId;
use super::exchange::{Exchange, Patience, SentFor};
use super::explain::Explanations;
use super::holdings::Holdings;
use super::job::{GetId, Job, JobId, PutId, Urgency};
use super::jobs::Jobs;
use super::leases::USUAL;
use super::life::{Life, LifeEvent};
use super::notice::{AskedQuestion, PeerInfo};
use super::refusal::Refusal;
use super::ticket::Ticket;
use crate::config::{Config, WIDTH};
use crate::id::Key;
use crate::lease::{Lease, Note, UnixTime};
use crate::overlay::{Asker, Cause, Effect, Entrances, Goal, LookupId, Overlay, Region, Router, TableRow, Target};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, RequestKind, Response, Sender};
use claims::Claims;
use reach::Reach;
use room::NoRoom;
pub(super) use telling::Passed;

/// Where some say that they have saved a block and have not, so many of the nearest peers known may be offered it.
const BEHIND_LIARS: usize = 5 * WIDTH;

/// What every part works with.
pub(crate) struct Desk {
    pub(super) config: Config,
    pub(super) overlay: Box<dyn Overlay>,
    /// What the overlay wants done.
    pub(super) effects: Vec<Effect>,
    pub(super) exchange: Exchange,
    pub(super) jobs: Jobs,
    pub(super) lookups: BTreeMap<LookupId, Ticket>,
    pub(super) explained: Explanations,
    /// The commands that have no answer yet.
    pub(super) asked: BTreeSet<CommandId>,
    pub(super) holdings: Holdings,
    pub(super) repair_budget: RepairBudget,
    claims: Claims,
    reach: Reach,
    pub(super) no_room: NoRoom,
    /// Addresses that are pinged because a peer there asked for a favour.
    proving: BTreeSet<SocketAddr>,
    /// What parts passed on, until the node hands it on.
    pub(super) passed_on: VecDeque<Passed>,
    pub(super) life: Life,
    /// The time at which [`Time`] begins, in seconds since 1970.
    pub(super) began: UnixTime,
    next_lookup: LookupId,
    next_transfer: u64,
}

impl Desk {
    pub(super) fn new(config: Config, mut overlay: Box<dyn Overlay>, seed: [u8; 32]) -> Self {
        let dialect = overlay.kind().dialect();
        let (peer, guest, network) = (overlay.me(), config.guest, config.network);
        let datagrams = overlay.router().is_some_and(|ring| ring.says_that_it_reads_datagrams());
        let sender = Sender { peer, guest, leaving: false, network, datagrams, recalls: dialect.recalls() };
        let exchange = Exchange::new(sender, dialect, seed);
        let holdings = Holdings::new(config.capacity, config.replicas);
        Self {
            config,
            overlay,
            effects: Vec::new(),
            exchange,
            jobs: Jobs::default(),
            lookups: BTreeMap::new(),
            explained: Explanations::default(),
            asked: BTreeSet::new(),
            holdings,
            repair_budget: RepairBudget::default(),
            claims: Claims::default(),
            reach: Reach::default(),
            no_room: NoRoom::default(),
            proving: BTreeSet::new(),
            passed_on: VecDeque::new(),
            life: Life::Running,
            began: 0,
            next_lookup: 0,
            next_transfer: 0,
        }
    }

    // What is known.

    pub(crate) fn now(&self) -> Time {
        self.exchange.now()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn me(&self) -> Peer {
        self.overlay.me()
    }

    pub(crate) fn is_me(&self, peer: &Peer) -> bool {
        peer.id == self.overlay.me().id
    }

    /// Whether this peer was told to leave: then it takes no blocks and repairs none, it only hands over.
    pub(crate) fn is_leaving(&self) -> bool {
        self.life.is_leaving()
    }

    /// Whether a block is held here.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.holdings.contains(key) && !self.holdings.is_going(key)
    }

    /// The size in bytes of a block that is held here and still wanted.
    pub(crate) fn wanted_size(&self, key: &Key) -> Option<u32> {
        self.holdings.size(key).filter(|_| self.holdings.wants(key))
    }

    /// Copies that a block should have: a number that belongs to its files, where any of them asks for one.
    pub(crate) fn copies_of(&self, key: &Key) -> usize {
        self.holdings.copies(self.holdings.class(key))
    }

    /// Copies that the leases on a block held here ask for, if they do.
    pub(crate) fn copies_asked(&self, key: &Key) -> Option<u8> {
        Some(self.holdings.class(key)).filter(|class| *class != USUAL)
    }

    /// Copies that a lease asks for.
    pub(crate) fn copies_for(&self, lease: &Lease) -> usize {
        lease.copies_or(self.config.replicas)
    }

    /// Whether this lease is known to have ended.
    pub(crate) fn has_ended(&self, lease: &Lease) -> bool {
        self.holdings.all_leases().secrets_of(&[*lease]).next().is_some()
    }

    /// Whether a block is here on behalf of all that an offer with these leases stands for.
    pub(crate) fn has_leases(&self, key: &Key, leases: &[Lease]) -> bool {
        self.holdings.has_leases(key, &self.holdings.meant(key, leases.to_vec()))
    }

    /// The blocks held here with their sizes, in the order of keys.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Key, u32)> + '_ {
        self.holdings.iter()
    }

    /// The account of the blocks held here.
    pub(super) fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// The replica set of a key as far as it is known without asking: at most `count` peers, nearest first.
    pub(crate) fn replica_set(&self, key: &Key, count: usize) -> Vec<Peer> {
        self.overlay.replica_set(key, count)
    }

    /// The nearest peers known to a key, far more than should hold its block: liars stand together, and one of these
    /// may hold it where those nearest to it only say so.
    pub(crate) fn behind_liars(&self, key: &Key) -> Vec<Peer> {
        self.overlay.replica_set(key, BEHIND_LIARS)
    }

    /// The keys around `key` that have the same `count` peers nearest to them, and those peers.
    pub(crate) fn region(&self, key: &Key, count: usize) -> Region {
        self.overlay.region(key, count)
    }

    /// Every peer known.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.overlay.peers()
    }

    /// Whether a peer is known at this address.
    pub(crate) fn knows(&self, addr: &SocketAddr) -> bool {
        self.peers().iter().any(|peer| peer.addr == *addr)
    }

    /// Every peer known, with its round trip.
    pub(crate) fn acquaintances(&self) -> Vec<PeerInfo> {
        let info = |peer: Peer| PeerInfo { rtt: self.exchange.round_trip(&peer.addr), peer };
        self.overlay.peers().into_iter().map(info).collect()
    }

    /// The routing table, for people.
    pub(crate) fn table(&self) -> Vec<TableRow> {
        self.overlay.table()
    }

    /// Whether this address has shown that it receives what is sent to it.
    pub(crate) fn is_validated(&self, addr: &SocketAddr) -> bool {
        self.exchange.is_validated(addr)
    }

    /// Whether the peer at `addr` lives and takes nothing that it is offered, or no peer can have it back from there.
    pub(crate) fn stalls(&self, addr: &SocketAddr) -> bool {
        self.exchange.stalls(addr) || self.is_shut(addr)
    }

    /// The peer at `addr` could not take what others took: it counts as one that [stalls](Self::stalls).
    pub(crate) fn note_stall(&mut self, addr: SocketAddr) {
        self.exchange.note_stall(addr);
    }

    /// The jobs ordered.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Between three quarters of `interval` and all of it, so that peers do not move in step.
    pub(crate) fn jittered(&mut self, interval: Duration) -> Duration {
        interval.mul_f64(self.exchange.rng().random_range(0.75..1.0))
    }

    /// One of these, by chance.
    pub(crate) fn any_of<T>(&mut self, mut these: Vec<T>) -> Option<T> {
        let at = (!these.is_empty()).then(|| self.exchange.rng().random_range(0..these.len()))?;
        Some(these.swap_remove(at))
    }

    /// Seconds since 1970, as leases count them: by the clock of this machine when the peer began, and from then on by
    /// its monotonic one.
    pub(crate) fn unix_time(&self) -> UnixTime {
        self.began + self.now().as_micros() / 1_000_000
    }

    // What other peers are asked and told.

    /// Asks what is answered at once. An answer follows, or silence.
    pub(crate) fn ask(&mut self, ticket: Ticket, to: impl Into<Target>, request: Request) {
        self.exchange.ask(SentFor::Part(ticket), to.into(), request, Patience::Tries(patience::QUESTION));
    }

    /// [`ask`](Self::ask) by one datagram and no more.
    pub(crate) fn ask_once(&mut self, ticket: Ticket, addr: SocketAddr, request: Request) {
        self.exchange.ask(SentFor::Part(ticket), Target { id: None, addr }, request, Patience::Tries(patience::ONCE));
    }

    /// Asks what is answered once bytes have moved, until `limit`.
    pub(crate) fn ask_patiently(&mut self, ticket: Ticket, to: Peer, request: Request, limit: Duration) {
        self.exchange.ask(SentFor::Part(ticket), to.into(), request, Patience::Moved(limit));
    }

    /// Takes back what was asked under tickets that `matches`. Nothing more comes of it.
    pub(crate) fn abandon(&mut self, matches: impl Fn(&Ticket) -> bool) -> Vec<Ticket> {
        self.exchange.abandon(matches)
    }

    /// When something may be asked or offered again to keep replica sets full.
    pub(crate) fn repair_opens(&self) -> Time {
        self.repair_budget.opens()
    }

    /// [`ask`](Self::ask), to keep replica sets full.
    pub(crate) fn ask_for_repair(&mut self, ticket: Ticket, to: Peer, request: Request) {
        self.repair_budget.spend(self.exchange.now(), 0);
        self.ask(ticket, to, request);
    }

    /// The usual round trip to an address, if one was measured.
    pub(crate) fn round_trip(&self, addr: &SocketAddr) -> Option<Duration> {
        self.exchange.round_trip(addr)
    }

    /// Answers a request.
    pub(crate) fn respond(&mut self, to: &Asker, kind: RequestKind, response: Response) {
        self.exchange.respond(to, kind, response);
    }

    /// Tells why a request has no answer.
    pub(crate) fn refuse(&mut self, to: &Asker, reason: impl Into<Refusal>) {
        self.exchange.refuse(to, &reason.into());
    }

    // What the overlay is asked and told.

    /// Starts a lookup. Its end follows, after any holders.
    pub(crate) fn look_up(&mut self, ticket: Ticket, key: Key, goal: Goal) -> LookupId {
        let lookup = self.next_lookup(ticket);
        self.overlay.lookup(self.exchange.now(), lookup, key, goal, &mut self.effects);
        lookup
    }

    /// [`look_up`](Self::look_up), and each of its questions is written down.
    pub(crate) fn look_up_explained(&mut self, ticket: Ticket, key: Key, goal: Goal) -> LookupId {
        let of = (self.overlay.me().id, self.overlay.kind());
        self.explained.begin(self.exchange.now(), self.next_lookup, key, of);
        self.look_up(ticket, key, goal)
    }

    /// The questions of a lookup that is over, if they were written down.
    pub(crate) fn explanation(&mut self, lookup: LookupId) -> Vec<AskedQuestion> {
        self.explained.end(self.exchange.now(), lookup)
    }

    fn next_lookup(&mut self, ticket: Ticket) -> LookupId {
        let lookup = self.next_lookup;
        self.next_lookup += 1;
        self.lookups.insert(lookup, ticket);
        lookup
    }

    /// Ends a lookup that is not needed any more, if there is one. Nothing more comes of it.
    pub(crate) fn cancel_lookup(&mut self, lookup: impl Into<Option<LookupId>>) {
        if let Some(lookup) = lookup.into().filter(|lookup| self.lookups.remove(lookup).is_some()) {
            self.overlay.cancel(lookup);
        }
    }

    /// Has the overlay send something on its way, where it can: `send` gets its router, the time, a name and a place
    /// for what the overlay then wants. Whether it could; if so, [its end](super::ticket::Reply::RouteEnded) follows.
    pub(crate) fn route(
        &mut self,
        ticket: Ticket,
        send: impl FnOnce(&mut dyn Router, Time, LookupId, &mut Vec<Effect>),
    ) -> bool {
        let lookup = self.next_lookup(ticket);
        let now = self.exchange.now();
        match self.overlay.router() {
            Some(router) => send(router, now, lookup, &mut self.effects),
            None => drop(self.lookups.remove(&lookup)),
        }
        self.lookups.contains_key(&lookup)
    }

    /// A peer did not answer: it may be gone.
    pub(crate) fn suspect(&mut self, addr: SocketAddr) {
        self.tell_overlay(Cause::Silent { addr });
    }

    pub(super) fn tell_overlay(&mut self, cause: Cause<'_>) {
        self.overlay.on(self.exchange.now(), cause, &mut self.effects);
    }

    /// Others reach this peer at another address from now on.
    pub(super) fn move_to(&mut self, addr: SocketAddr) {
        self.tell_overlay(Cause::Moved { addr });
        self.exchange.sender.peer.addr = addr;
    }

    /// The names of bootstrap peers lead to these addresses by now.
    pub(crate) fn tell_of_bootstrap(&mut self, known: &[SocketAddr], hosts: &[Vec<SocketAddr>]) {
        self.tell_overlay(Cause::Ways(&Entrances { known, hosts, remembered: &[] }));
    }

    /// Says goodbye to the network: nothing is left to hand over, or time is up.
    pub(crate) fn say_goodbye(&mut self) {
        self.life = self.life.after(LifeEvent::HandedOver);
        self.exchange.say_goodbye();
        self.overlay.leave(self.exchange.now(), &mut self.effects);
    }

    // What workers do.

    /// Orders work. Its outcome follows.
    pub(crate) fn order(&mut self, ticket: Ticket, work: Job, urgency: Urgency) -> JobId {
        self.jobs.order(work, ticket, urgency, self.exchange.out())
    }

    /// Orders that a block of the own store be looked at, which is offered with these leases. If it is sound, it is
    /// kept for them too, by word of this address or of this peer's user.
    pub(crate) fn look_at(
        &mut self,
        ticket: Ticket,
        urgency: Urgency,
        key: Key,
        (leases, from): (&[Lease], Option<SocketAddr>),
    ) {
        let mut leases = self.holdings.meant(&key, leases.to_vec());
        if self.holdings.has_leases(&key, &leases) {
            leases.clear();
        }
        let by = from.and_then(|from| self.other_source(from));
        let job = self.order(ticket, Job::Verify { key, leases: leases.clone() }, urgency);
        self.holdings.reserve(job, (key, 0), leases, by);
    }

    /// Ends work early. Of a job that had not begun nothing more comes; one that has begun still has its outcome.
    pub(crate) fn cancel_job(&mut self, job: JobId) {
        if self.jobs.cancel(job, self.exchange.out()).is_some() {
            self.holdings.release(job);
        }
    }

    /// Orders that a block of the own store be deleted.
    pub(crate) fn delete(&mut self, ticket: Ticket, urgency: Urgency, key: Key) {
        let job = self.order(ticket, Job::Delete { key }, urgency);
        self.holdings.give_up(job, key);
    }

    /// Orders that this be written down about leases.
    pub(crate) fn note(&mut self, ticket: Ticket, urgency: Urgency, notes: Vec<Note>) {
        let job = self.order(ticket, Job::Note { notes: notes.clone() }, urgency);
        self.holdings.note(job, notes);
    }

    /// A name for a file on its way, in or out.
    pub(crate) fn next_transfer(&mut self) -> u64 {
        self.next_transfer += 1;
        self.next_transfer
    }

    /// This block is where it belongs: it is served no longer on behalf of the file `put`.
    pub(crate) fn withdraw(&mut self, put: PutId, key: Key) {
        self.exchange.out().push(Action::Withdraw { put, key });
    }

    /// Nothing more will be asked of this file's reader.
    pub(crate) fn forget_put(&mut self, put: PutId) {
        self.exchange.out().push(Action::ForgetPut { put });
    }

    /// Nothing more will be asked of this file: what is there stays.
    pub(crate) fn forget_get(&mut self, get: GetId) {
        self.exchange.out().push(Action::ForgetGet { get });
    }
}
