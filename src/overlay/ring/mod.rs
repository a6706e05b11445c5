//! The ring: Chord, with the successor list and the forwarded requests of the classroom's circular DHT.
//!
//! Peers and keys stand on one circle. A key belongs to its *successor*, the first peer at or after it (Chord, SIGCOMM
//! 2001, section 4; extended in IEEE/ACM ToN 11(1), 2003, section IV). Its replica set is that owner and the peers that
//! follow it. A question about a key is forwarded from peer to peer, each nearer to the key, until the owner has it;
//! the owner answers the peer that asked first.
//!
//! # Inside
//! - `table`: successors, predecessors, fingers, and where a key leads from here.
//! - `router`: what only the ring does. - `route`: this peer's lookups and routed requests. - `relay`: those of
//!   other peers, which pass through this one.
//! - `unverified`: whether an answer comes from the right peer. - `hop`: the next peer on the way, and a way around
//!   a silent one. - `members`: the replica set that a lookup leads to, asked.
//! - `join`: entering. - `letting_in`: letting others in. - `admission`: an origin shows that it is there.
//!   `leave`: the goodbye. - `options`: what a user may choose.
//! - `neighbours`: what peers tell of theirs. - `stabilize`: the pings that keep the lists right.
//!   `probes`: how many strangers are pinged at a time, and whose.
//! - `told`: what the user of a classroom hears of the successors.
//! - `rounds`: what is done again and again. - `health`: who is alive. - `failure`: what follows of a death.
//!   `elsewhere`: who is at another address by now.
//! - `waiting`: requests for which the next peer is not up yet.
//! - `fingers`: the shortcuts. - `questions`: what is asked, and who gets the answer.
//!
//! # What differs from the paper
//! - A `ping` is stabilize and notify in one: it tells the sender's neighbours, and its answer the receiver's.
//! - A member takes a peer known by hearsay into a list only after that peer answered a ping of that member, so neither
//!   a stale list nor a liar can fill the table. Nor does the origin of a `join` enter one before, and a goodbye counts
//!   only once its peer answers no ping any more. Taken without a ping are the neighbours that a `Welcome` names, the
//!   successors that the user names, in the classroom a peer that a neighbour confirms it let in, and the successors
//!   that a neighbour names when it leaves. A guest adds those that its bootstrap peers name.
//! - Several predecessors are kept, not one.
//! - Peers that died are remembered and tried now and then: that is how the halves of a network that was cut meet
//!   again.

mod admission;
mod elsewhere;
mod failure;
mod fingers;
mod health;
mod hop;
mod join;
mod leave;
mod letting_in;
mod members;
mod neighbours;
mod options;
mod probes;
mod questions;
mod relay;
mod rounds;
pub(crate) mod route;
mod router;
mod stabilize;
mod table;
mod told;
mod unverified;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::roll_call::RollCall;
use super::twin::Twins;
use super::{Cause, Effect, Entrances, Goal, Incoming, LookupId, Overlay, OverlayKind, Region, TableRow, Tag};
use crate::config::WIDTH;
use crate::id::{ID_BITS, Id, Key};
use crate::peer::Peer;
use crate::recent::Recent;
use crate::time::Time;
use crate::wire::ring::{RingRequest, RingResponse, Routed};
use crate::wire::{Request, RequestKind, Response};

use fingers::FingerCursor;
use health::Vitals;
use join::Membership;
use leave::DepartureNews;
use neighbours::{RingNeighbours, RingPosition};
use probes::Probes;
use questions::QuestionFor;
use relay::Relay;
use rounds::Rounds;
use route::Search;
use table::RingTable;
use told::Told;
use waiting::WaitingRequest;

pub(super) use health::silence;
pub use options::{RingOptions, RingVariant};
pub use router::{RingEffect, RouteNotice, RouteOutcome, Router, SuccessorChange};

/// Peers in the successor list (Chord, ToN 2003, section IV-E3: about twice the logarithm of the network's size lets it
/// survive half of all peers failing at once).
pub const SUCCESSORS: usize = 8;

/// The ring is checked this often, or as often as it pings if that is more often: a death must be noticed within 60 s
/// however rarely the user wants to ping.
pub const MAX_ROUND: Duration = Duration::from_secs(5);

/// A peer of a network that stores files pings its first successor this often: with the silence that makes a peer dead,
/// and one ping of those that are told, a death is known within 10 s.
pub const SUCCESSOR_PING_EVERY: Duration = Duration::from_secs(4);

/// What is done this long after it was due waited for this peer, which did not run: the others were not silent, it was
/// deaf.
const STALL: Duration = Duration::from_millis(500);

/// A peer that was heard so lately is there, whatever others say.
const HEARD_LATELY: Duration = Duration::from_secs(1);

/// First successors that are pinged now and then, in the classroom in every round (the assignment's two).
const NEIGHBOURS_WATCHED: usize = 2;

/// A peer of the ring. See the [module documentation](self).
pub struct Ring {
    me: Peer,
    options: RingOptions,
    /// When the last thing happened.
    now: Time,
    /// When this peer went on after a stop.
    woken: Time,
    table: RingTable,
    membership: Membership,
    /// Addresses to join through: those the user gave, then those remembered from the last run.
    bootstrap: Vec<SocketAddr>,
    /// Those of them at which another part of the ring may be found.
    doors: Vec<join::RejoinAddress>,
    /// Where a peer answered last, or spoke, while none was known here: another one to join through.
    heard_at: Option<SocketAddr>,
    /// Peers that answered when this one tried to join last, and did not let it in.
    shut: Vec<Peer>,
    vitals: Vitals,
    twins: Twins,
    rounds: Rounds,
    /// Every known peer is looked after once where many died at a time.
    roll_call: RollCall,
    told: Told,
    cursor: FingerCursor,
    searches: BTreeMap<LookupId, Search>,
    asked: BTreeMap<Tag, QuestionFor>,
    next_tag: Tag,
    probes: Probes,
    /// Neighbours that said goodbye, as long as it is uncertain whether they have left.
    departures: BTreeMap<Id, DepartureNews>,
    /// Addresses that have answered, and when they did last.
    proven: Recent<SocketAddr, Time, { admission::MAX_PROVEN }>,
    /// Peers that were let in here and have named no neighbours since: their welcome may still be on its way.
    newcomers: Recent<Id, (), { letting_in::MAX_NEWCOMERS }>,
    /// Relayed requests that were seen lately, and how often again: they are told of once.
    seen: VecDeque<(u64, Id, u8)>,
    /// Whether any answer came but to a ping; that none do, once that is known.
    hears: Option<bool>,
    /// Requests whose next peer is still starting.
    waiting: VecDeque<WaitingRequest>,
    /// Peers that answered, and enter the list once those before them have.
    early: Vec<(Peer, RingPosition)>,
}

impl Ring {
    /// A peer that is not in the ring yet.
    pub fn new(me: Peer, options: RingOptions) -> Self {
        let options = RingOptions {
            bits: options.bits.clamp(1, ID_BITS),
            successors: options.successors.max(1),
            predecessors: options.predecessors.max(1),
            ..options
        };
        Self {
            me,
            now: Time::ZERO,
            woken: Time::ZERO,
            table: RingTable::new(me, &options),
            membership: Membership::default(),
            bootstrap: Vec::new(),
            doors: Vec::new(),
            heard_at: None,
            shut: Vec::new(),
            vitals: Vitals::default(),
            twins: Twins::default(),
            rounds: Rounds::default(),
            roll_call: RollCall::default(),
            told: Told::default(),
            cursor: FingerCursor::default(),
            searches: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_tag: 0,
            probes: Probes::default(),
            departures: BTreeMap::new(),
            proven: Recent::default(),
            newcomers: Recent::default(),
            seen: VecDeque::new(),
            hears: None,
            waiting: VecDeque::new(),
            early: Vec::new(),
            options,
        }
    }

    /// The successor list, nearest first.
    pub fn successors(&self) -> &[Peer] {
        self.table.successors()
    }

    /// The predecessors known, nearest first.
    pub fn predecessors(&self) -> &[Peer] {
        self.table.predecessors()
    }

    /// Sets everything as it is in a ring of exactly `peers` that is at rest. For simulations.
    pub fn fill(&mut self, now: Time, peers: &[Peer]) {
        self.now = now;
        self.table.fill(peers, (self.options.fingers).then_some(self.options.bits));
        self.told.know(self.table.watched());
        self.membership = Membership::Member;
        self.schedule_first_round(now);
    }

    fn respond(from: &Incoming, response: RingResponse, out: &mut Vec<Effect>) {
        out.push(Effect::Respond { to: from.asker, kind: RequestKind::Ring, response: Response::Ring(response) });
    }

    fn notice(notice: RouteNotice, out: &mut Vec<Effect>) {
        out.push(Effect::Ring(RingEffect::Notice(notice)));
    }

    /// The sender of a request, if it says so and is a member.
    fn member(from: &Incoming) -> Option<Peer> {
        let sender = from.sender.filter(|sender| !sender.guest)?;
        Some(Peer::new(sender.peer.id, from.asker.addr))
    }

    /// This peer and those that follow it: the replica set of its own keys, and who stands in for its members.
    fn owned_set(&self) -> Vec<Peer> {
        let followers = self.table.followers().into_iter().filter(|peer| !self.is_departing(&peer.id));
        std::iter::once(self.me).chain(followers).collect()
    }

    fn on_ring_request(&mut self, now: Time, from: &Incoming, request: &RingRequest, out: &mut Vec<Effect>) {
        match request {
            RingRequest::Ping { predecessors, successors, quiet } => {
                self.on_ping(from, RingNeighbours { predecessors, successors }, *quiet, out);
            }
            RingRequest::Has { .. } => {
                Self::respond(from, RingResponse::Has { peer: self.me, has: false }, out);
            }
            RingRequest::Routed { route, what } => {
                self.on_routed(now, from, Relay { magic: from.asker.magic, route: route.clone(), what: *what }, out);
            }
            RingRequest::Transfer { .. } => {
                let reason = "this peer keeps no files by name".to_owned();
                Self::respond(from, RingResponse::Refused { of: request.kind(), reason }, out);
            }
            RingRequest::Update { successors, joined } => {
                self.on_update(from, successors, *joined, out);
                Self::respond(from, RingResponse::Noted { of: request.kind() }, out);
            }
            RingRequest::Quit { predecessors, successors } => {
                self.on_goodbye(from, RingNeighbours { predecessors, successors }, out);
                Self::respond(from, RingResponse::Noted { of: request.kind() }, out);
            }
            RingRequest::Exit { predecessors } => {
                self.on_goodbye(from, RingNeighbours { predecessors, successors: &[] }, out);
                Self::respond(from, RingResponse::Noted { of: request.kind() }, out);
            }
            RingRequest::Abrupt { peer } => {
                Self::respond(from, RingResponse::Noted { of: request.kind() }, out);
                self.on_abrupt(from, peer, out);
            }
        }
    }

    fn on_request(&mut self, now: Time, from: &Incoming, request: &Request, out: &mut Vec<Effect>) {
        self.hear(now, from, out);
        let suspect = self.twins.hear(now, &self.me, from);
        self.ask_twin(suspect, out);
        self.end_waiting(now, out);
        let (kind, response) = match request {
            Request::Ring(request) => return self.on_ring_request(now, from, request, out),
            // An answer would take the goodbye back.
            _ if self.has_left() => return,
            Request::Ping | Request::Gone { .. } => (RequestKind::Ping, Response::Node(self.me)),
            Request::FindNode { id } => (RequestKind::FindNode, Response::Nodes(self.replica_set(id, WIDTH))),
            Request::FindValue { key } => (RequestKind::FindValue, Response::Nodes(self.replica_set(key, WIDTH))),
            // The node answers these itself.
            Request::Store { .. }
            | Request::Verify { .. }
            | Request::Terms { .. }
            | Request::Compare { .. }
            | Request::Lease(_) => return,
        };
        out.push(Effect::Respond { to: from.asker, kind, response });
    }

    fn on_undeliverable(
        &mut self,
        now: Time,
        to: SocketAddr,
        forwarded: Option<(u64, Request)>,
        out: &mut Vec<Effect>,
    ) {
        if let Some(peer) = self.table.at(&to) {
            self.bury(now, peer, out);
        }
        if let Some((magic, request)) = forwarded {
            self.on_detour(now, to, (magic, &request), out);
        }
    }

    /// What was passed on to the peer at `to` goes another way. (The classroom's users see each step that a join takes:
    /// there the peer's death decides, not a delay.)
    fn on_detour(&mut self, now: Time, to: SocketAddr, (magic, request): (u64, &Request), out: &mut Vec<Effect>) {
        if let Some(peer) = self.table.at(&to) {
            if request.is_join() && self.options.variant == RingVariant::Classroom {
                return;
            }
            self.vitals.shun(now, &peer.id);
        }
        if let Request::Ring(RingRequest::Routed { route, what }) = request {
            let relay = Relay { magic, route: route.clone(), what: *what };
            self.pass_on_again(now, relay.step_back(&self.me), to, out);
        }
    }
}

impl Overlay for Ring {
    fn kind(&self) -> OverlayKind {
        OverlayKind::Ring
    }

    fn me(&self) -> Peer {
        self.me
    }

    fn join(&mut self, now: Time, entrances: &Entrances<'_>, out: &mut Vec<Effect>) {
        self.now = now;
        self.start_joining(now, entrances, out);
    }

    fn lookup(&mut self, now: Time, lookup: LookupId, key: Key, goal: Goal, out: &mut Vec<Effect>) {
        self.start_search(now, lookup, key, goal, out);
    }

    fn cancel(&mut self, lookup: LookupId) {
        self.searches.remove(&lookup);
        self.stop_waiting(lookup);
    }

    fn on(&mut self, now: Time, cause: Cause<'_>, out: &mut Vec<Effect>) {
        self.now = now;
        if self.next_round().is_some_and(|due| now.since(due) >= STALL) {
            self.woken = now;
            self.vitals.wake();
        }
        match cause {
            Cause::Request { from, request } => self.on_request(now, from, request, out),
            Cause::Answer { tag, from, by, response } => {
                let there = by.or(response.node());
                if let Some(known) = self.table.at(&from)
                    && there.is_some_and(|there| there.id != known.id)
                {
                    // Another peer has that address now.
                    self.bury(now, known, out);
                }
                if let Some(why) = self.asked.remove(&tag) {
                    self.on_answer(now, why, (from, by), response, out);
                    self.end_waiting(now, out);
                }
            }
            Cause::NoAnswer { tag, to } => {
                if let Some(why) = self.asked.remove(&tag) {
                    self.on_no_answer(now, why, to, out);
                    self.end_waiting(now, out);
                }
            }
            Cause::Late { tag, late } => self.on_late(now, tag, late, out),
            Cause::Alive { addr } => {
                self.proven.insert(addr, now);
                match self.table.at(&addr) {
                    Some(peer) => self.vitals.alive(now, &peer.id),
                    None => self.hear_of_door(addr),
                }
            }
            Cause::Revived { addr } => self.on_revived(addr, out),
            Cause::Silent { addr } => self.table.at(&addr).into_iter().for_each(|peer| self.check_on(peer, out)),
            Cause::Detour { addr, magic, request } => self.on_detour(now, addr, (magic, request), out),
            Cause::Undeliverable { addr, forwarded } => {
                self.forget_hop(addr);
                self.on_undeliverable(now, addr, forwarded, out);
            }
            Cause::Moved { addr } => self.on_moved(now, addr, out),
            Cause::Ways(ways) => self.on_ways(now, ways.known, out),
            Cause::Tick => {
                if self.next_tick().is_some_and(|due| due <= now) {
                    self.keep_up(now, out);
                    self.end_waiting(now, out);
                }
            }
        }
    }

    fn next_tick(&self) -> Option<Time> {
        self.next_due().filter(|_| !self.has_left())
    }

    fn replica_set(&self, key: &Key, count: usize) -> Vec<Peer> {
        self.table.clockwise(key).take(count).copied().collect()
    }

    fn region(&self, key: &Key, count: usize) -> Region {
        let (first, last) = self.table.gap(key);
        Region { first, last, members: self.replica_set(key, count) }
    }

    fn leave(&mut self, _now: Time, out: &mut Vec<Effect>) {
        self.say_goodbye(out);
    }

    fn peers(&self) -> Vec<Peer> {
        self.table.others().collect()
    }

    fn table(&self) -> Vec<TableRow> {
        self.table.rows()
    }

    fn router(&mut self) -> Option<&mut dyn Router> {
        Some(self)
    }

    fn check(&self) -> Result<(), String> {
        self.table.check()?;
        self.check_told()?;
        self.check_searches()
    }
}

impl Router for Ring {
    fn route(&mut self, now: Time, lookup: LookupId, what: Routed, out: &mut Vec<Effect>) {
        self.send_routed(now, lookup, what, out);
    }

    fn knows_its_successors(&self) -> bool {
        self.table.is_complete()
    }

    fn must_be_heard_leaving(&self) -> bool {
        self.options.variant == RingVariant::Classroom
    }

    fn says_that_it_reads_datagrams(&self) -> bool {
        self.options.variant == RingVariant::Chord
    }
}
