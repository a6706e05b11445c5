//! One block's copies: which peers should hold it, which do, and what is sound of that.
//!
//! The replica set is looked up, and each of its members asked. Only where that brings fewer copies than are wanted,
//! holders are looked for elsewhere too: they may stand in for a member that is full, or has not got its copy yet.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::net::SocketAddr;
use std::time::Duration;

use super::InquiryContext;
use super::refill::Refill;
use crate::config::WIDTH;
use crate::file::Manifest;
use crate::id::Key;
use crate::node::desk::Desk;
use crate::node::health::{CopyState, Health};
use crate::node::job::{Holder, Job, JobErrorKind, JobId, Outcome};
use crate::node::jobs::Urgency;
use crate::node::part::{Answered, Found, Reply};
use crate::node::refusal::Refusal;
use crate::overlay::{Goal, LookupId};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, Response, Vouch};

/// A holder that is busy is asked again after this long.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// A holder that has been busy with everything for this long is believed unseen, whatever the block.
const BUSY_LIMIT: Duration = Duration::from_secs(15);

/// Who waits for copies looks again after this long, and then after longer, up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// A block, or a list of blocks, that is being inquired about.
#[derive(Default)]
pub(super) struct Inquiry {
    is_list: bool,
    pub(super) bytes: Option<u32>,
    /// Copies that its owner asked for, or its holders.
    pub(super) asked: usize,
    /// Of these, so many as there are peers for.
    pub(super) wanted: usize,
    /// Copies that are wanted as far as holders say, the most that any of them does.
    told: Option<usize>,
    /// Live peers, the nearest first: so many as are wanted are the replica set.
    near: Vec<Peer>,
    /// Peers that were found, or are known and silent.
    known: usize,
    /// The copies that are known of or asked about, by their peers' addresses.
    pub(super) copies: BTreeMap<SocketAddr, Copy>,
    lookup: Option<LookupId>,
    /// The lookup under way is one for holders.
    searches: bool,
    has_searched: bool,
    /// A peer said that it holds the block, and did not give it back.
    pub(super) unshown: bool,
    /// The own copy is being hashed.
    hashing: Option<(JobId, SocketAddr)>,
    /// The list is being read, from this holder.
    reading: Option<(JobId, SocketAddr)>,
    unreadable: BTreeSet<SocketAddr>,
    pub(super) repair: Refill,
    /// When it is begun with anew, and how often it was.
    again: Option<Time>,
    pauses: u32,
}

/// A copy that is known of, or asked about.
pub(super) struct Copy {
    pub(super) peer: Peer,
    /// None while it is asked about.
    pub(super) state: Option<CopyState>,
    /// Whether the peer belongs to the replica set.
    pub(super) is_member: bool,
    /// It claims to hold the block, and was asked to hash it.
    hashes: bool,
    /// What it claims, while the block is read back from it.
    claim: Option<CopyState>,
    /// When the peer, which is busy, is asked again.
    again: Option<Time>,
}

/// What comes of a turn of an inquiry.
pub(super) enum InquiryTurn {
    /// It goes on.
    Goes,
    /// It is over.
    Done,
    /// It is over: the block is a list.
    List(Manifest),
    /// It is over: the block is none, and has so many bytes.
    Bare(u32),
    /// It is over: nobody gives the list.
    Unread,
}

impl Inquiry {
    /// About a data block of so many bytes.
    pub(super) fn of_block(bytes: u32) -> Self {
        Self { bytes: Some(bytes), ..Self::default() }
    }

    /// About a block that may be a list: it is read too.
    pub(super) fn of_list() -> Self {
        Self { is_list: true, ..Self::default() }
    }

    /// Looks up the replica set.
    pub(super) fn begin(&mut self, round: &mut InquiryContext<'_>) {
        self.copies.clear();
        (self.again, self.told, self.has_searched, self.searches) = (None, None, false, false);
        self.lookup = Some(round.desk.look_up(round.ticket, round.key, Goal::Peers));
    }

    /// Nothing more of it is wanted.
    pub(super) fn cancel(&mut self, desk: &mut Desk) {
        desk.cancel_lookup(self.lookup.take());
    }

    pub(super) fn on(&mut self, round: &mut InquiryContext<'_>, reply: Reply) -> InquiryTurn {
        match reply {
            // Whether it does it is asked.
            Reply::Holder(peer) if self.searches => self.ask(round, peer, false),
            Reply::Found(_) if self.searches => (self.lookup, self.searches) = (None, false),
            Reply::Found(found) => self.on_set(round, found),
            Reply::Answer(Answered { to, answer, .. }) => self.on_answer(round, to.addr, answer),
            Reply::Silence { to, .. } if self.on_terms(round, &to.addr, None) => round.desk.suspect(to.addr),
            Reply::Silence { to, .. } => {
                round.desk.suspect(to.addr);
                round.silent.insert(to.addr);
                self.note(&to.addr, CopyState::Silent);
            }
            Reply::Done { job, outcome } if self.hashing.is_some_and(|(hashing, _)| hashing == job) => {
                let me = self.hashing.take().map_or(round.desk.me().addr, |(_, me)| me);
                let state = match outcome {
                    Outcome::Sound { .. } => CopyState::Verified,
                    Outcome::Failed(error) if matches!(error.kind, JobErrorKind::Busy | JobErrorKind::Io) => {
                        CopyState::Silent
                    }
                    _ => CopyState::Damaged,
                };
                self.note(&me, state);
            }
            Reply::Done { job, outcome } if self.reading.is_some_and(|(reading, _)| reading == job) => {
                return self.on_read(round, outcome);
            }
            Reply::Done { outcome, .. } => self.on_repair_job(round, &outcome),
            Reply::Offered { to, result } => {
                let result = result.map(drop);
                if !self.on_read_back(round, &to.addr, result.as_ref().err()) {
                    self.on_offered(round, to, result);
                }
            }
            Reply::Holder(_) | Reply::Settled(_) | Reply::Doubted(_) => {}
        }
        self.go_on(round)
    }

    /// The replica set is known: its members are asked, and who holds the block besides.
    fn on_set(&mut self, round: &mut InquiryContext<'_>, Found { peers, unreached, .. }: Found) {
        self.lookup = None;
        // Who is known and silent is no reason to want fewer copies.
        self.known = peers.len() + unreached.len();
        self.near = peers;
        self.want(round);
        // Who did not answer the lookup may answer now, or else decides what can be told. Once is enough for a file.
        for peer in unreached {
            self.ask(round, peer, false);
        }
        if round.desk.holds(&round.key) {
            let me = round.desk.me();
            self.ask(round, me, false);
        }
    }

    /// Asks the replica set, as far as it is known how many copies are wanted.
    fn want(&mut self, round: &mut InquiryContext<'_>) {
        let asked = round.desk.copies_asked(&round.key).map(usize::from).max(self.told);
        let told = || asked.unwrap_or(round.desk.config().replicas);
        self.asked = round.order.lease.map_or_else(told, |lease| round.desk.copies_for(&lease));
        self.wanted = self.asked.min(self.known);
        let members: Vec<Peer> = self.near.iter().take(self.wanted).copied().collect();
        for copy in self.copies.values_mut() {
            copy.is_member = members.contains(&copy.peer);
        }
        for peer in members {
            self.ask(round, peer, true);
        }
        // Of a block of several files, more may be kept than this one asks for: they are told of.
        let others = asked.unwrap_or(0).min(self.near.len());
        for peer in self.near.get(self.wanted..others).unwrap_or_default().to_vec() {
            self.ask(round, peer, false);
        }
    }

    /// Live peers next to the replica set.
    pub(super) fn spare(&self) -> &[Peer] {
        self.near.get(self.wanted..).unwrap_or_default()
    }

    /// Asks a peer about its copy, unless it was asked.
    fn ask(&mut self, round: &mut InquiryContext<'_>, peer: Peer, is_member: bool) {
        if let Entry::Vacant(place) = self.copies.entry(peer.addr) {
            place.insert(Copy { peer, state: None, is_member, hashes: false, claim: None, again: None });
            self.put_question(round, peer);
        }
    }

    fn put_question(&mut self, round: &mut InquiryContext<'_>, peer: Peer) {
        let (key, ticket, verify) = (round.key, round.ticket, round.order.verify);
        if round.silent.contains(&peer.addr) {
            self.note(&peer.addr, CopyState::Silent);
        } else if !round.desk.is_me(&peer) {
            // First whether it holds the block: then it tells how many copies are wanted, too.
            if self.copies.get(&peer.addr).is_some_and(|copy| copy.hashes) {
                round.desk.ask_patiently(ticket, peer, Request::Verify { key }, patience::VERIFY);
            } else {
                round.desk.ask(ticket, peer, Request::FindValue { key });
            }
        } else if !round.desk.holds(&key) {
            self.note(&peer.addr, CopyState::Absent);
        } else if verify {
            self.hashing = Some((round.desk.order(ticket, Job::Rehash { key }, Urgency::Own), peer.addr));
        } else {
            self.note(&peer.addr, CopyState::Claimed);
        }
    }

    fn on_answer(&mut self, round: &mut InquiryContext<'_>, from: SocketAddr, answer: Result<Response, Refusal>) {
        let terms = if let Ok(Response::Terms(leases)) = &answer { Some(leases.clone()) } else { None };
        if self.on_terms(round, &from, terms) {
            return;
        }
        if let Ok(holder @ (Response::Node(_) | Response::Holder { .. })) = &answer {
            self.on_told(round, holder);
            if let Some(copy) = self.copies.get_mut(&from).filter(|copy| round.order.verify && !copy.hashes) {
                copy.hashes = true;
                let peer = copy.peer;
                return self.put_question(round, peer);
            }
        }
        if matches!(answer, Ok(Response::Vouch(Vouch::Verified | Vouch::Damaged))) {
            round.busy.remove(&from);
        }
        let state = match answer {
            Ok(Response::Vouch(Vouch::Busy)) => return self.on_busy(round, from),
            Ok(Response::Vouch(Vouch::Verified)) => CopyState::Verified,
            Ok(Response::Vouch(Vouch::Damaged)) => CopyState::Damaged,
            // It does not hash for others, but says that it holds the block.
            Ok(Response::Node(_) | Response::Holder { .. }) => CopyState::Claimed,
            // It holds the block, and cannot read it now.
            Err(_) if self.copies.get(&from).is_some_and(|copy| copy.hashes) => CopyState::Silent,
            _ => CopyState::Absent,
        };
        self.weigh(round, &from, state);
    }

    /// A holder says that its copy is in this state. Where copies that are missing are to be made, each holder's word
    /// counts once a block was read back from it.
    fn weigh(&mut self, round: &mut InquiryContext<'_>, from: &SocketAddr, state: CopyState) {
        let claims = matches!(state, CopyState::Claimed | CopyState::Verified);
        if !round.order.repair || !claims || round.honest.contains(from) {
            return self.note(from, state);
        }
        let Some(copy) = self.copies.get_mut(from).filter(|copy| copy.state.is_none()) else { return };
        copy.claim = Some(state);
        if let Err(refusal) = round.desk.challenge(round.ticket, round.key, copy.peer) {
            self.on_read_back(round, from, Some(&refusal));
        }
    }

    /// Liars stand together: who stands further away is asked too.
    fn go_further(&mut self, round: &mut InquiryContext<'_>) {
        for peer in round.desk.behind_liars(&round.key) {
            if !self.near.contains(&peer) {
                self.near.push(peer);
                self.ask(round, peer, false);
            }
        }
    }

    /// The block was read back from a holder, or was not, and why. Whether that was waited for.
    fn on_read_back(&mut self, round: &mut InquiryContext<'_>, from: &SocketAddr, failed: Option<&Refusal>) -> bool {
        let Some(claim) = self.copies.get_mut(from).and_then(|copy| copy.claim.take()) else { return false };
        let state = match failed {
            None => {
                round.honest.insert(*from);
                claim
            }
            // It may have it: nobody knows.
            Some(Refusal::Unjudged(_) | Refusal::Unread(_)) => CopyState::Silent,
            Some(_) => CopyState::Absent,
        };
        self.unshown |= failed.is_some_and(|why| !matches!(why, Refusal::Unjudged(_)));
        self.note(from, state);
        true
    }

    /// A holder tells how many copies are wanted: it may be more, or fewer, than is usual.
    fn on_told(&mut self, round: &mut InquiryContext<'_>, holder: &Response) {
        let copies = match holder {
            Response::Holder { copies, .. } => usize::from(*copies).min(WIDTH),
            _ => round.desk.config().replicas,
        };
        if self.told.is_none_or(|told| told < copies) {
            self.told = Some(copies);
            self.want(round);
        }
    }

    fn on_busy(&mut self, round: &mut InquiryContext<'_>, from: SocketAddr) {
        let now = round.desk.now();
        let Some(copy) = self.copies.get_mut(&from) else { return };
        if now.since(*round.busy.entry(from).or_insert(now)) < BUSY_LIMIT {
            copy.again = Some(now + BUSY_PAUSE);
        } else {
            self.weigh(round, &from, CopyState::Claimed);
        }
    }

    pub(super) fn note(&mut self, addr: &SocketAddr, state: CopyState) {
        if let Some(copy) = self.copies.get_mut(addr) {
            copy.state = Some(state);
        }
    }

    pub(super) fn on_tick(&mut self, round: &mut InquiryContext<'_>) -> InquiryTurn {
        let now = round.desk.now();
        let is_due = |due: Option<Time>| due.is_some_and(|due| due <= now);
        if is_due(self.again) {
            // Who was silent may be back.
            round.silent.clear();
            self.begin(round);
        }
        let due = self.copies.values_mut().filter(|copy| is_due(copy.again));
        let due: Vec<Peer> = due.map(|copy| (copy.again.take(), copy.peer).1).collect();
        for peer in due {
            self.put_question(round, peer);
        }
        self.go_on(round)
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        self.copies.values().filter_map(|copy| copy.again).chain(self.again).min()
    }

    // What is known.

    /// Copies that count, as far as their holders say.
    pub(super) fn sound(&self) -> impl Iterator<Item = &Copy> {
        let sound = |copy: &&Copy| matches!(copy.state, Some(CopyState::Verified | CopyState::Claimed));
        self.copies.values().filter(sound)
    }

    /// Copies that may be there, of peers that do not answer.
    fn silent(&self) -> impl Iterator<Item = &Copy> {
        self.copies.values().filter(|copy| copy.state == Some(CopyState::Silent))
    }

    pub(super) fn health(&self) -> Health {
        Health::of(self.wanted, self.sound().count(), self.silent().count())
    }

    /// What it lacks, for people.
    pub(super) fn shortage(&self, key: &Key, wanted: usize) -> String {
        let copies = self.sound().count();
        let silent: Vec<String> = self.silent().map(|copy| copy.peer.to_string()).collect();
        let silent = if silent.is_empty() { String::new() } else { format!("; no answer from {}", silent.join(", ")) };
        format!("block {} has {copies} of {wanted} copies{silent}", key.short())
    }

    // What is next.

    /// Goes on once all that were asked have answered: looks further, makes copies, reads the list, or ends.
    pub(super) fn go_on(&mut self, round: &mut InquiryContext<'_>) -> InquiryTurn {
        let waits =
            self.lookup.is_some() || self.again.is_some() || self.reading.is_some() || self.repair.is_under_way();
        if waits || self.copies.values().any(|copy| copy.state.is_none()) {
            return InquiryTurn::Goes;
        }
        let copies = self.sound().count();
        let goal = round.order.until.flatten().unwrap_or(self.wanted);
        if copies < goal.max(1) && !self.has_searched {
            (self.has_searched, self.searches) = (true, true);
            // Those that do not show what they claim stand nearest, and end a search for any holder.
            let search = if self.unshown { Goal::MoreHolders } else { Goal::Holders };
            self.lookup = Some(round.desk.look_up(round.ticket, round.key, search));
            return InquiryTurn::Goes;
        }
        if self.unshown && copies < self.wanted {
            self.go_further(round);
            if self.copies.values().any(|copy| copy.state.is_none()) {
                return InquiryTurn::Goes;
            }
        }
        if round.order.repair && self.health() != Health::Whole && self.begin_repair(round) {
            return InquiryTurn::Goes;
        }
        if round.order.until.is_some() && copies < goal.max(1) {
            let pause = (FIRST_PAUSE * 2_u32.pow(self.pauses.min(8))).min(LONGEST_PAUSE);
            self.pauses += 1;
            self.again = Some(round.desk.now() + pause);
            return InquiryTurn::Goes;
        }
        if self.is_list { self.read(round) } else { InquiryTurn::Done }
    }

    /// Reads the list, from one of its holders after another.
    fn read(&mut self, round: &mut InquiryContext<'_>) -> InquiryTurn {
        let untried = self.sound().filter(|copy| !self.unreadable.contains(&copy.peer.addr));
        let best = untried.min_by_key(|copy| (!round.desk.is_me(&copy.peer), copy.state)).map(|copy| copy.peer);
        let Some(peer) = best else { return InquiryTurn::Unread };
        let from = if round.desk.is_me(&peer) { Holder::Own } else { Holder::Peer(peer.addr) };
        let job = round.desk.order(round.ticket, Job::Unpack { key: round.key, from }, Urgency::Own);
        self.reading = Some((job, peer.addr));
        InquiryTurn::Goes
    }

    fn on_read(&mut self, round: &mut InquiryContext<'_>, outcome: Outcome) -> InquiryTurn {
        let Some((_, from)) = self.reading.take() else { return InquiryTurn::Goes };
        match outcome {
            Outcome::Unpacked { manifest } => InquiryTurn::List(manifest),
            Outcome::NotManifest { size } => {
                self.bytes = Some(size);
                InquiryTurn::Bare(size)
            }
            Outcome::Failed(error) => {
                self.unreadable.insert(from);
                let state = match error.kind {
                    JobErrorKind::Corrupt => CopyState::Damaged,
                    JobErrorKind::NotFound => CopyState::Absent,
                    _ => CopyState::Silent,
                };
                self.note(&from, state);
                self.read(round)
            }
            _ => InquiryTurn::Unread,
        }
    }
}
