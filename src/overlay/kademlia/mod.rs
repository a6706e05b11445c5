//! Kademlia: peers and keys in one space, near by XOR, found by asking (Maymounkov and Mazières 2002).
//!
//! Every peer knows many peers near to itself and few far away: for each length of common prefix it keeps a *k-bucket*
//! of K contacts, and of up to 2K where peers in it are among the K nearest to this one. To find the peers nearest to a
//! key it asks the nearest ones it knows for nearer ones, several at a time, and each round at least halves what is
//! left. The paper's sections, and where they live:
//!
//! | section | what | where |
//! |---|---|---|
//! | 2.2 | buckets, least recently seen first; ping before eviction | `bucket`, `table`, `contacts` |
//! | 2.3 | iterative lookup, ALPHA at a time; join; refresh | `lookup`, `searches`, `upkeep` |
//! | 4.1 | replacement cache | `bucket` |
//!
//! Above all these things differ from the paper, for the sake of peers that lie and networks that break:
//! - A peer enters the table only when it answered a request of ours and named its id; hearsay and requests only make
//!   `candidates`. And only an answer counts as a sign of life, for any sender can forge a request.
//! - Each peer is pinged every few seconds by the two nearest to it, who tell those that may know it when it has died
//!   (`watch`). And now and then a contact is asked who else is near to us: however two parts of a network met,
//!   neighbours find each other.
//! - A newcomer does not look into each bucket (section 2.3), but asks one contact of each for others there; under
//!   churn lookups for joins were most of what peers sent. A walk through all buckets is taken once a lost peer is
//!   found.
//! - Those who proved who they are but found their bucket full are remembered for a minute (`acquaintances`).
//! - Those who were lost are tried again, so that a network cut in two grows together when it can (`lost`).
//!
//! Besides, the contacts of one network are few in a bucket and in the whole table, and a lookup limits how many peers
//! it takes from one source.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::acquaintances::Acquaintances;
use self::bucket::Contact;
use self::candidates::Candidates;
use self::contacts::Bid;
use self::lookup::{Lookup, Name, ShortlistEvent};
use self::lost::LostContacts;
use self::namers::Namers;
use self::suspects::{SuspectAddresses, Suspicion};
use self::table::RoutingTable;
use self::upkeep::TableUpkeep;
pub(super) use self::watch::silence;
use self::watch::{DeathWatch, TOLD};
use super::density::{NEIGHBOURS, is_crowded, spacing_by_nearest};
use super::twin::{Suspect, Twins};
use super::{AskReason, Cause, Effect, Entrances, Goal, Incoming, LookupId, LookupStep, Overlay, OverlayKind, Region};
use super::{TableRow, Tag, Target};
use crate::config::WIDTH;
use crate::id::Key;
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, Response};

mod acquaintances;
mod bucket;
mod candidates;
mod compact;
mod contacts;
mod lookup;
mod lost;
mod namers;
pub(crate) mod searches;
mod selection;
mod suspects;
mod table;
mod upkeep;
mod watch;

/// Contacts in a bucket at most: the paper's k (section 2.2).
pub const K: usize = 20;

/// Questions that a lookup has out at a time (section 2.3).
pub const ALPHA: usize = 3;

/// Why a question was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum QuestionPurpose {
    /// A step of a lookup.
    Step { lookup: Name, peer: Peer, reason: AskReason },
    /// Is a peer that a lookup met who it was said to be?
    Identify { lookup: Name, addr: SocketAddr },
    /// Is this candidate there, and who is it?
    Candidate { peer: Peer, enters: bool },
    /// Is this contact still there? It was asked `again` if it was silent before.
    Check { peer: Peer, again: bool },
    /// Has this contact left, as it, or another peer in its name, has said?
    Leaving { peer: Peer },
    /// Is any peer at an address that the user gave, or that a lost contact had?
    Probe { addr: SocketAddr },
    /// Who is near to us?
    Neighbours { peer: Peer },
    /// Who is in this part of the network?
    Refresh { peer: Peer },
    /// Does another peer run there with our id?
    Twin(Suspect),
    /// A contact is told who is gone.
    News { peer: Peer },
    /// This peer says goodbye.
    OwnDeparture,
}

impl QuestionPurpose {
    /// The step of the node's lookup that it is.
    const fn step(&self) -> Option<LookupStep> {
        match *self {
            Self::Step { lookup: Name::User(lookup), reason, .. } => Some(LookupStep { lookup, reason }),
            Self::Identify { lookup: Name::User(lookup), .. } => Some(LookupStep { lookup, reason: AskReason::Proof }),
            _ => None,
        }
    }
}

/// One peer's view of a Kademlia network. See the [module documentation](self).
pub struct Kademlia {
    me: Peer,
    guest: bool,
    /// It has said goodbye.
    left: bool,
    table: RoutingTable,
    candidates: Candidates,
    acquaintances: Acquaintances,
    lost: LostContacts,
    lookups: BTreeMap<Name, Lookup>,
    namers: Namers,
    /// Questions that have neither an answer nor failed.
    asked: BTreeMap<Tag, QuestionPurpose>,
    suspects: SuspectAddresses,
    next_tag: Tag,
    upkeep: TableUpkeep,
    watch: DeathWatch,
    twins: Twins,
    rng: StdRng,
}

impl Kademlia {
    /// The view of the peer `me`, which knows no other yet. All its randomness comes from `seed`. A `guest` asks others
    /// but is no part of the network: it never stands in a replica set.
    pub fn new(me: Peer, seed: [u8; 32], guest: bool) -> Self {
        Self::with_bucket_size(me, seed, guest, K)
    }

    /// [`new`](Self::new) with at most `k` contacts in a bucket instead of [`K`], for experiments.
    pub fn with_bucket_size(me: Peer, seed: [u8; 32], guest: bool, k: usize) -> Self {
        Self {
            me,
            guest,
            left: false,
            table: RoutingTable::new(me.id, k),
            candidates: Candidates::default(),
            acquaintances: Acquaintances::default(),
            lost: LostContacts::default(),
            lookups: BTreeMap::new(),
            namers: Namers::default(),
            asked: BTreeMap::new(),
            suspects: SuspectAddresses::default(),
            next_tag: 0,
            upkeep: TableUpkeep::default(),
            watch: DeathWatch::default(),
            twins: Twins::default(),
            rng: StdRng::from_seed(seed),
        }
    }

    /// The same view, for which addresses of local networks are `strict`ly counted like all others: only a few of one
    /// network become contacts.
    pub fn with_addresses(mut self, strict: bool) -> Self {
        self.table.strict = strict;
        self
    }

    /// Enters contacts as if they had answered, as far as their buckets have room. For simulations that begin in a
    /// network long grown; `peers` have distinct addresses.
    pub fn fill(&mut self, now: Time, peers: &[Peer]) {
        self.table.reserve(now, peers);
        for &peer in peers.iter().filter(|peer| peer.id != self.me.id) {
            if self.table.has_room(&peer.id) {
                self.table.enter(now, peer);
            }
        }
        self.start_upkeep(now);
    }

    /// Sends a question.
    fn ask(&mut self, to: Target, request: Request, tries: u8, why: QuestionPurpose, out: &mut Vec<Effect>) {
        let tag = self.next_tag;
        self.next_tag += 1;
        self.asked.insert(tag, why);
        out.push(Effect::Ask { to, request, tag, tries, step: why.step() });
    }

    /// Contacts nearest to `key` that answered whatever they were asked last.
    fn nearest_sound(&self, key: &Key, count: usize) -> Vec<Peer> {
        self.table.nearest(key, count, Contact::is_sound)
    }

    /// Puts this peer where it belongs among the `count` peers nearest to `key`, unless it is a guest.
    fn with_me(&self, key: &Key, mut nearest: Vec<Peer>, count: usize) -> Vec<Peer> {
        if !self.guest {
            let distance = self.me.id.distance(key);
            let at = nearest.partition_point(|peer| peer.id.distance(key) < distance);
            nearest.insert(at, self.me);
        }
        nearest.truncate(count);
        nearest
    }

    /// Whether these peers stand closer together around a key than others do here.
    fn is_crowded(&self, key: &Key, peers: &[Peer]) -> bool {
        let neighbours = self.table.nearest(&self.me.id, NEIGHBOURS, |_| true);
        let spacing = spacing_by_nearest(neighbours.iter().map(|peer| peer.id.distance(&self.me.id)));
        is_crowded(spacing, peers.iter().map(|peer| peer.id.distance(key)))
    }
}

impl Kademlia {
    fn on_request(&mut self, now: Time, from: &Incoming, request: &Request, out: &mut Vec<Effect>) {
        if self.left {
            return; // An answer would take the goodbye back.
        }
        // A ping of ours goes before the answer, so that a peer that asks again can have shown by then that it
        // receives.
        self.on_stranger(now, from, request, out);
        let suspect = self.twins.hear(now, &self.me, from);
        self.ask_twin(suspect, out);
        if let Request::Gone { peer } = request {
            self.on_news(now, from, peer, out);
        }
        let asks_back = |effect: &Effect| matches!(effect, Effect::Ask { to, .. } if to.addr == from.asker.addr);
        let is_asked = self.candidates.has(&from.asker.addr) || out.iter().any(asks_back);
        let to = if is_asked { from.asker } else { from.asker.without_ping() };
        let response = match request {
            Request::Ping | Request::Gone { .. } => Response::Node(self.me),
            Request::FindNode { id: key } | Request::FindValue { key } => {
                // It is told of another one that has its id.
                let asker = from.sender.map(|sender| sender.peer.id);
                let is_asker = |contact: &Contact| Some(contact.id) == asker && contact.is_at(&from.asker.addr);
                let others = |contact: &Contact| contact.is_sound() && !is_asker(contact);
                let mut nearest = self.table.nearest(key, WIDTH, others);
                if !self.table.contacts().any(Contact::is_sound) {
                    // A peer that is cut off is not the whole network: the peer that asks shall miss those too.
                    nearest.extend(self.lost.vanished(now).filter(|peer| Some(peer.id) != asker).take(WIDTH));
                }
                Response::Nodes(nearest)
            }
            Request::Store { .. }
            | Request::Verify { .. }
            | Request::Terms { .. }
            | Request::Compare { .. }
            | Request::Lease(_)
            | Request::Ring(_) => return,
        };
        out.push(Effect::Respond { to, kind: request.kind(), response });
    }

    /// Asks who runs where a peer of our id may be.
    fn ask_twin(&mut self, suspect: Option<Suspect>, out: &mut Vec<Effect>) {
        if let Some(suspect) = suspect {
            let to = Target { id: None, addr: suspect.addr };
            self.ask(to, Request::Ping, patience::QUESTION, QuestionPurpose::Twin(suspect), out);
        }
    }

    fn on_response(
        &mut self,
        now: Time,
        (tag, from, by): (Tag, SocketAddr, Option<Peer>),
        response: &Response,
        out: &mut Vec<Effect>,
    ) {
        let Some(question) = self.asked.remove(&tag) else { return };
        let named = response.node().map(|peer| Peer::new(peer.id, from));
        match (question, named) {
            (QuestionPurpose::Step { lookup, peer, .. }, _) => self.on_step(now, (lookup, peer), by, response, out),
            (QuestionPurpose::Identify { lookup, .. }, Some(named)) => {
                self.confirm(now, named, Bid::Contest, out);
                self.on_identified(now, lookup, &named, out);
            }
            (QuestionPurpose::Identify { lookup, addr }, None) => {
                self.on_met(now, lookup, &addr, ShortlistEvent::Unidentified, out)
            }
            (QuestionPurpose::Candidate { peer, enters }, named) => {
                self.on_candidate(now, peer, named.filter(|_| enters), out);
            }
            (QuestionPurpose::Check { peer, again }, named) => {
                self.watch.heard(again);
                self.on_checked(now, peer, named, out);
            }
            (QuestionPurpose::Leaving { peer }, named) => self.on_checked(now, peer, named, out),
            (QuestionPurpose::Probe { addr }, named) => self.on_probed(now, addr, named, out),
            (QuestionPurpose::Neighbours { peer }, _) => self.on_names(now, &peer, response, out),
            (QuestionPurpose::Refresh { peer }, _) => {
                self.upkeep.on_refreshed();
                self.on_names(now, &peer, response, out);
            }
            (QuestionPurpose::Twin(suspect), _) => self.twins.on_answer(&self.me, suspect, response.node(), out),
            (QuestionPurpose::News { .. } | QuestionPurpose::OwnDeparture, _) => {}
        }
        self.go_on(now, out);
    }

    fn on_failure(&mut self, now: Time, tag: Tag, to: Target, out: &mut Vec<Effect>) {
        let Some(question) = self.asked.remove(&tag) else { return };
        self.acquaintances.forget(&to.addr);
        match question {
            QuestionPurpose::Step { lookup, peer, .. } => {
                self.suspects.suspect(now, peer.addr, Suspicion::Unanswered);
                self.doubt(&peer, out);
                self.on_met(now, lookup, &peer.addr, ShortlistEvent::Failed, out);
            }
            QuestionPurpose::Identify { lookup, .. } => {
                self.on_met(now, lookup, &to.addr, ShortlistEvent::Unidentified, out)
            }
            QuestionPurpose::Candidate { peer, .. } => self.on_candidate(now, peer, None, out),
            QuestionPurpose::Check { peer, again } => self.on_check_failed(now, &peer, again, out),
            QuestionPurpose::Leaving { peer } => self.on_left(now, &peer, out),
            QuestionPurpose::Probe { addr } => self.on_probed(now, addr, None, out),
            QuestionPurpose::Neighbours { peer } | QuestionPurpose::News { peer } => self.doubt(&peer, out),
            QuestionPurpose::Refresh { peer } => {
                self.upkeep.on_refreshed();
                self.doubt(&peer, out);
            }
            QuestionPurpose::Twin(_) | QuestionPurpose::OwnDeparture => {}
        }
        self.go_on(now, out);
    }

    fn on_silence(&mut self, to: SocketAddr, out: &mut Vec<Effect>) {
        self.acquaintances.forget(&to);
        if let Some(peer) = self.table.at(&to).map(Contact::peer) {
            self.doubt(&peer, out);
        }
    }

    fn on_alive(&mut self, now: Time, peer: SocketAddr) {
        self.suspects.clear(&peer);
        if self.table.touch(now, &peer).is_none() {
            self.acquaintances.touch(now, &peer);
        }
    }

    /// A peer lives that was given up. It is asked once more: a peer that is slow for a while, and is known by then to
    /// be, must not be missing until others come across it.
    fn on_revived(&mut self, now: Time, addr: SocketAddr, out: &mut Vec<Effect>) {
        self.on_alive(now, addr);
        if let Some(peer) = self.lost.at(&addr) {
            self.hear_of(now, peer, Bid::Contest, out);
            self.ping_candidates(now, out);
        }
    }

    fn on_tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.keep_up(now, out);
        self.go_on(now, out);
    }
}

impl Overlay for Kademlia {
    fn kind(&self) -> OverlayKind {
        OverlayKind::Kademlia
    }

    fn me(&self) -> Peer {
        self.me
    }

    fn join(&mut self, now: Time, entrances: &Entrances<'_>, out: &mut Vec<Effect>) {
        self.lost.hosts = entrances.hosts.to_vec();
        self.start_join(now, entrances.known, entrances.remembered, out);
    }

    fn lookup(&mut self, now: Time, lookup: LookupId, key: Key, goal: Goal, out: &mut Vec<Effect>) {
        self.search(now, Name::User(lookup), key, goal, out);
    }

    fn cancel(&mut self, lookup: LookupId) {
        self.lookups.remove(&Name::User(lookup));
    }

    fn on(&mut self, now: Time, cause: Cause<'_>, out: &mut Vec<Effect>) {
        match cause {
            Cause::Request { from, request } => self.on_request(now, from, request, out),
            Cause::Answer { tag, from, by, response } => self.on_response(now, (tag, from, by), response, out),
            Cause::Late { tag, late } => self.on_late(now, tag, late, out),
            Cause::NoAnswer { tag, to } => self.on_failure(now, tag, to, out),
            Cause::Alive { addr } => self.on_alive(now, addr),
            Cause::Revived { addr } => self.on_revived(now, addr, out),
            Cause::Silent { addr } | Cause::Undeliverable { addr, .. } => self.on_silence(addr, out),
            // Nothing is passed on.
            Cause::Detour { .. } => {}
            Cause::Moved { addr } => self.on_moved(now, addr),
            Cause::Ways(ways) => self.on_ways(ways, out),
            Cause::Tick => self.on_tick(now, out),
        }
    }

    fn next_tick(&self) -> Option<Time> {
        let ticks = [self.candidates.next_tick(), self.lost.next_tick(), self.upkeep.next_tick()];
        ticks.into_iter().flatten().min()
    }

    fn replica_set(&self, key: &Key, count: usize) -> Vec<Peer> {
        self.with_me(key, self.nearest_sound(key, count), count)
    }

    fn region(&self, key: &Key, count: usize) -> Region {
        // A contact that missed an answer counts until it is found dead: else every lost datagram moved blocks.
        let members = self.with_me(key, self.table.nearest(key, count, |_| true), count);
        // Which of two peers is nearer to a key is told by the first bit in which they differ. So the set is the same
        // for all keys that agree with this one as far as any member agrees with any other peer, and one bit further.
        let others = self.table.contacts().map(|contact| contact.id).chain((!self.guest).then_some(self.me.id));
        let others = others.filter(|id| members.iter().all(|member| member.id != *id));
        let alike = others.flat_map(|id| members.iter().map(move |member| member.id.distance(&id).leading_zeros()));
        let bits = alike.max().map_or(0, |bits| bits + 1);
        let (first, last) = key.cell(bits);
        Region { first, last, members }
    }

    fn leave(&mut self, _: Time, out: &mut Vec<Effect>) {
        self.left = true;
        if !self.guest {
            for peer in self.table.nearest(&self.me.id, TOLD, |_| true) {
                self.ask(peer.into(), Request::Ping, patience::ONCE, QuestionPurpose::OwnDeparture, out);
            }
        }
    }

    fn peers(&self) -> Vec<Peer> {
        self.table.contacts().map(Contact::peer).collect()
    }

    fn table(&self) -> Vec<TableRow> {
        let filled = self.table.buckets().iter().filter(|bucket| !bucket.contacts().is_empty());
        filled
            .map(|bucket| TableRow {
                label: format!("bucket {}", bucket.index),
                peers: bucket.contacts().iter().map(Contact::peer).collect(),
                spare: bucket.spares().len(),
            })
            .collect()
    }

    fn check(&self) -> Result<(), String> {
        self.table.check()?;
        self.candidates.check()?;
        self.acquaintances.check()?;
        match self.lookups.values().find(|lookup| lookup.is_over()) {
            Some(lookup) => Err(format!("the lookup of {} is over and nobody was told", lookup.key)),
            None => Ok(()),
        }
    }
}
