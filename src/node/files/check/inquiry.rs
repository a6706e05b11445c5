//! One block's copies: which peers should hold it, which do, and what is sound of that.
//!
//! The replica set is looked up, and each of its members asked. Only where that brings fewer copies than are wanted,
//! holders are looked for elsewhere too: they may stand in for a member that is full, or has not got its copy yet. And
//! where that brings none, others may hide them: then peers [around](Around) the key are asked.

use std::collections::btree_map::{BTreeMap, Entry};
use std::net::SocketAddr;
use std::time::Duration;

use super::InquiryContext;
use super::copies::{Copy, Refill};
use crate::config::WIDTH;
use crate::file::Manifest;
use crate::node::around::Around;
use crate::node::desk::Desk;
use crate::node::files::list_reading::{ListRead, ListReading};
use crate::node::health::{CopyState, Health};
use crate::node::job::{Job, JobErrorKind, JobId, Outcome, Urgency};
use crate::node::refusal::Refusal;
use crate::node::ticket::{Answered, Reply};
use crate::overlay::{Found, Goal, LookupId};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, Response, Vouch};

/// A holder that is busy is asked again after this long.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// A holder that has been busy with everything for this long is believed unseen, whatever the block.
const BUSY_LIMIT: Duration = Duration::from_secs(15);

/// A command that waits for copies looks again after this long, and then after longer, up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// How long a command that waits for copies pauses after so many pauses.
fn pause_after(pauses: u32) -> Duration {
    patience::doubled(FIRST_PAUSE, pauses, LONGEST_PAUSE)
}

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
    around: Around,
    /// Some lookup came to those that the key leads to.
    pub(super) conclusive: bool,
    /// A peer said that it holds the block, and did not give it back.
    pub(super) unshown: bool,
    /// The own copy is being hashed.
    hashing: Option<(JobId, SocketAddr)>,
    reading: ListReading,
    pub(super) repair: Refill,
    /// When it is begun with anew, and how often it was.
    again: Option<Time>,
    pauses: u32,
}

/// What comes of a turn of an inquiry.
pub(super) enum InquiryTurn {
    /// It goes on: answers are waited for.
    Goes,
    /// It is over: the block is no list.
    Done,
    /// It is over: the block is a list.
    List(Manifest),
    /// It is over: the block is none, and has so many bytes.
    Bare(u32),
    /// It is over: no holder gives the list.
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
    pub(super) fn begin(&mut self, context: &mut InquiryContext<'_>) {
        self.copies.clear();
        self.around = Around::default();
        (self.again, self.told, self.has_searched, self.searches) = (None, None, false, false);
        self.lookup = Some(context.desk.look_up(context.ticket, context.key, Goal::Peers));
    }

    /// Nothing more of it is wanted.
    pub(super) fn cancel(&mut self, desk: &mut Desk) {
        desk.cancel_lookup(self.lookup.take());
        self.around.cancel(desk);
        self.reading.cancel(desk);
    }

    /// A look around the key has found something.
    pub(super) fn on_around(&mut self, context: &mut InquiryContext<'_>, reply: Reply) -> InquiryTurn {
        let ticket = context.ticket_around();
        if let Some(holder) = self.around.on(context.desk, ticket, context.key, reply) {
            // Whether it does it is asked.
            self.ask(context, holder, false);
        }
        self.go_on(context)
    }

    pub(super) fn on(&mut self, context: &mut InquiryContext<'_>, reply: Reply) -> InquiryTurn {
        match reply {
            // Whether it does it is asked.
            Reply::Holder(peer) if self.searches => self.ask(context, peer, false),
            Reply::Found(found) if self.searches => {
                self.conclusive |= found.conclusive;
                (self.lookup, self.searches) = (None, false);
            }
            Reply::Found(found) => self.on_set(context, found),
            Reply::Answer(Answered { to, answer, .. }) => self.on_answer(context, to.addr, answer),
            Reply::Silence { to, .. } if self.on_terms(context, &to.addr, None) => context.desk.suspect(to.addr),
            Reply::Silence { to, .. } => {
                context.desk.suspect(to.addr);
                context.silent.insert(to.addr);
                self.note(&to.addr, CopyState::Silent);
            }
            Reply::Done { job, outcome } if self.hashing.is_some_and(|(hashing, _)| hashing == job) => {
                let me = self.hashing.take().map_or(context.desk.me().addr, |(_, me)| me);
                let state = match outcome {
                    Outcome::Sound { .. } => CopyState::Verified,
                    Outcome::Failed(error) if matches!(error.kind, JobErrorKind::Busy | JobErrorKind::Io) => {
                        CopyState::Silent
                    }
                    _ => CopyState::Damaged,
                };
                self.note(&me, state);
            }
            Reply::Done { job, outcome } if self.reading.is_under_way() => return self.on_read(context, job, outcome),
            Reply::Done { outcome, .. } => self.on_repair_job(context, &outcome),
            Reply::OfferEnded { to, result } => {
                let result = result.map(drop);
                if !self.on_read_back(context, &to.addr, result.as_ref().err()) {
                    self.on_offer_ended(context, to, result);
                }
            }
            Reply::Holder(_) | Reply::RouteEnded(_) | Reply::LateProof(_) | Reply::Claimed { .. } => {}
        }
        self.go_on(context)
    }

    /// The replica set is known: its members are asked, and who holds the block besides.
    fn on_set(&mut self, context: &mut InquiryContext<'_>, found: Found) {
        let Found { peers, unreached, conclusive, crowded, .. } = found;
        self.lookup = None;
        self.conclusive |= conclusive;
        // A peer that is known and silent is no reason to want fewer copies.
        self.known = peers.len() + unreached.len();
        self.near = peers;
        self.want(context);
        // A peer that did not answer the lookup may answer now, or else decides what can be told. Once is enough for a
        // file.
        for peer in unreached {
            self.ask(context, peer, false);
        }
        if context.desk.holds(&context.key) {
            let me = context.desk.me();
            self.ask(context, me, false);
        }
        if crowded {
            let ticket = context.ticket_around();
            self.around.begin(context.desk, ticket, context.key, self.near.len());
        }
    }

    /// Asks the replica set, as far as it is known how many copies are wanted.
    fn want(&mut self, context: &mut InquiryContext<'_>) {
        let asked = context.desk.copies_asked(&context.key).map(usize::from).max(self.told);
        let told = || asked.unwrap_or(context.desk.config().replicas);
        self.asked = context.options.lease.map_or_else(told, |lease| context.desk.copies_for(&lease));
        self.wanted = self.asked.min(self.known);
        let members: Vec<Peer> = self.near.iter().take(self.wanted).copied().collect();
        for copy in self.copies.values_mut() {
            copy.is_member = members.contains(&copy.peer);
        }
        for peer in members {
            self.ask(context, peer, true);
        }
        // Of a block of several files, more may be kept than this one asks for: they are told of.
        let others = asked.unwrap_or(0).min(self.near.len());
        for peer in self.near.get(self.wanted..others).unwrap_or_default().to_vec() {
            self.ask(context, peer, false);
        }
    }

    /// Live peers next to the replica set.
    pub(super) fn spare(&self) -> &[Peer] {
        self.near.get(self.wanted..).unwrap_or_default()
    }

    /// Asks a peer about its copy, unless it was asked.
    fn ask(&mut self, context: &mut InquiryContext<'_>, peer: Peer, is_member: bool) {
        if let Entry::Vacant(place) = self.copies.entry(peer.addr) {
            place.insert(Copy { peer, state: None, is_member, hashes: false, claim: None, again: None });
            self.put_question(context, peer);
        }
    }

    fn put_question(&mut self, context: &mut InquiryContext<'_>, peer: Peer) {
        let (key, ticket, verify) = (context.key, context.ticket, context.options.verify);
        if context.silent.contains(&peer.addr) {
            self.note(&peer.addr, CopyState::Silent);
        } else if !context.desk.is_me(&peer) {
            // First whether it holds the block: then it tells how many copies are wanted, too.
            if self.copies.get(&peer.addr).is_some_and(|copy| copy.hashes) {
                context.desk.ask_patiently(ticket, peer, Request::Verify { key }, patience::VERIFY);
            } else {
                context.desk.ask(ticket, peer, Request::FindValue { key });
            }
        } else if !context.desk.holds(&key) {
            self.note(&peer.addr, CopyState::Absent);
        } else if verify {
            self.hashing = Some((context.desk.order(ticket, Job::Rehash { key }, Urgency::Own), peer.addr));
        } else {
            self.note(&peer.addr, CopyState::Claimed);
        }
    }

    fn on_answer(&mut self, context: &mut InquiryContext<'_>, from: SocketAddr, answer: Result<Response, Refusal>) {
        let terms = if let Ok(Response::Terms(leases)) = &answer { Some(leases.clone()) } else { None };
        if self.on_terms(context, &from, terms) {
            return;
        }
        if let Ok(holder @ (Response::Node(_) | Response::Holder { .. })) = &answer {
            self.on_told(context, holder);
            if let Some(copy) = self.copies.get_mut(&from).filter(|copy| context.options.verify && !copy.hashes) {
                copy.hashes = true;
                let peer = copy.peer;
                return self.put_question(context, peer);
            }
        }
        if matches!(answer, Ok(Response::Vouch(Vouch::Verified | Vouch::Damaged))) {
            context.busy.remove(&from);
        }
        let state = match answer {
            Ok(Response::Vouch(Vouch::Busy)) => return self.on_busy(context, from),
            Ok(Response::Vouch(Vouch::Verified)) => CopyState::Verified,
            Ok(Response::Vouch(Vouch::Damaged)) => CopyState::Damaged,
            // It does not hash for others, but says that it holds the block.
            Ok(Response::Node(_) | Response::Holder { .. }) => CopyState::Claimed,
            // It holds the block, and cannot read it now.
            Err(_) if self.copies.get(&from).is_some_and(|copy| copy.hashes) => CopyState::Silent,
            _ => CopyState::Absent,
        };
        self.weigh(context, &from, state);
    }

    /// A holder says that its copy is in this state. Where copies that are missing are to be made, each holder's word
    /// counts once a block was read back from it.
    fn weigh(&mut self, context: &mut InquiryContext<'_>, from: &SocketAddr, state: CopyState) {
        let claims = matches!(state, CopyState::Claimed | CopyState::Verified);
        if !context.options.repair || !claims || context.honest.contains(from) {
            return self.note(from, state);
        }
        let Some(copy) = self.copies.get_mut(from).filter(|copy| copy.state.is_none()) else { return };
        copy.claim = Some(state);
        if let Err(refusal) = context.desk.challenge(context.ticket, context.key, copy.peer) {
            self.on_read_back(context, from, Some(&refusal));
        }
    }

    /// Liars stand together: peers further away are asked too.
    fn go_further(&mut self, context: &mut InquiryContext<'_>) {
        for peer in context.desk.behind_liars(&context.key) {
            if !self.near.contains(&peer) {
                self.near.push(peer);
                self.ask(context, peer, false);
            }
        }
    }

    /// The block was read back from a holder, or was not, and why. Whether that was waited for.
    fn on_read_back(&mut self, context: &mut InquiryContext<'_>, from: &SocketAddr, failed: Option<&Refusal>) -> bool {
        let Some(claim) = self.copies.get_mut(from).and_then(|copy| copy.claim.take()) else { return false };
        let state = match failed {
            None => {
                context.honest.insert(*from);
                claim
            }
            // It may have it: that is not known.
            Some(Refusal::Unjudged(_) | Refusal::Unread(_)) => CopyState::Silent,
            Some(_) => CopyState::Absent,
        };
        self.unshown |= failed.is_some_and(|why| !matches!(why, Refusal::Unjudged(_)));
        self.note(from, state);
        true
    }

    /// A holder tells how many copies are wanted: it may be more, or fewer, than is usual.
    fn on_told(&mut self, context: &mut InquiryContext<'_>, holder: &Response) {
        let copies = match holder {
            Response::Holder { copies, .. } => usize::from(*copies).min(WIDTH),
            _ => context.desk.config().replicas,
        };
        if self.told.is_none_or(|told| told < copies) {
            self.told = Some(copies);
            self.want(context);
        }
    }

    fn on_busy(&mut self, context: &mut InquiryContext<'_>, from: SocketAddr) {
        let now = context.desk.now();
        let Some(copy) = self.copies.get_mut(&from) else { return };
        if now.since(*context.busy.entry(from).or_insert(now)) < BUSY_LIMIT {
            copy.again = Some(now + BUSY_PAUSE);
        } else {
            self.weigh(context, &from, CopyState::Claimed);
        }
    }

    pub(super) fn note(&mut self, addr: &SocketAddr, state: CopyState) {
        if let Some(copy) = self.copies.get_mut(addr) {
            copy.state = Some(state);
        }
    }

    pub(super) fn on_tick(&mut self, context: &mut InquiryContext<'_>) -> InquiryTurn {
        let now = context.desk.now();
        let is_due = |due: Option<Time>| due.is_some_and(|due| due <= now);
        if is_due(self.again) {
            // A peer that was silent may be back.
            context.silent.clear();
            self.begin(context);
        }
        let due = self.copies.values_mut().filter(|copy| is_due(copy.again));
        let due: Vec<Peer> = due.map(|copy| (copy.again.take(), copy.peer).1).collect();
        for peer in due {
            self.put_question(context, peer);
        }
        if is_due(self.reading.hedge()) { self.read(context) } else { self.go_on(context) }
    }

    /// Something happened after which there may be other copies than before. Where the pauses have become as long as
    /// they may be, they are short again: so this costs no more than the first looks do, however often it happens.
    pub(super) fn hurry(&mut self, now: Time) {
        if let Some(again) = self.again.filter(|_| pause_after(self.pauses.saturating_sub(1)) == LONGEST_PAUSE) {
            self.again = Some(again.min(now + FIRST_PAUSE));
            self.pauses = 0;
        }
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        self.copies.values().filter_map(|copy| copy.again).chain(self.again).chain(self.reading.hedge()).min()
    }

    // What is next.

    /// Goes on once all that were asked have answered: looks further, makes copies, reads the list, or ends.
    pub(super) fn go_on(&mut self, context: &mut InquiryContext<'_>) -> InquiryTurn {
        let waits =
            self.lookup.is_some() || self.again.is_some() || self.reading.is_under_way() || self.repair.is_under_way();
        let waits = waits || self.around.is_under_way();
        if waits || self.copies.values().any(|copy| copy.state.is_none()) {
            return InquiryTurn::Goes;
        }
        let copies = self.sound().count();
        let goal = context.options.until.flatten().unwrap_or(self.wanted);
        if copies < goal.max(1) && !self.has_searched {
            (self.has_searched, self.searches) = (true, true);
            // Those that do not show what they claim stand nearest, and end a search for any holder.
            let search = if self.unshown { Goal::MoreHolders } else { Goal::Holders };
            self.lookup = Some(context.desk.look_up(context.ticket, context.key, search));
            return InquiryTurn::Goes;
        }
        let ticket = context.ticket_around();
        if copies == 0 && self.around.begin(context.desk, ticket, context.key, self.near.len()) {
            return InquiryTurn::Goes;
        }
        if self.unshown && copies < self.wanted {
            self.go_further(context);
            if self.copies.values().any(|copy| copy.state.is_none()) {
                return InquiryTurn::Goes;
            }
        }
        if context.options.repair && self.health() != Health::Whole && self.begin_repair(context) {
            return InquiryTurn::Goes;
        }
        if context.options.until.is_some() && copies < goal.max(1) {
            self.again = Some(context.desk.now() + pause_after(self.pauses));
            self.pauses += 1;
            return InquiryTurn::Goes;
        }
        if self.is_list { self.read(context) } else { InquiryTurn::Done }
    }

    /// Has the list read by another of its holders. Those that were not heard of yet are looked for before it is called
    /// unreadable.
    fn read(&mut self, context: &mut InquiryContext<'_>) -> InquiryTurn {
        let (key, ticket, around) = (context.key, context.ticket, context.ticket_around());
        let mut holders: Vec<Peer> = self.sound().map(|copy| copy.peer).collect();
        holders.sort_by_key(|peer| peer.id.distance(&key));
        if self.reading.ask_next(context.desk, ticket, key, &holders)
            || self.around.begin(context.desk, around, key, self.near.len())
            || self.reading.is_under_way()
        {
            return InquiryTurn::Goes;
        }
        InquiryTurn::Unread
    }

    fn on_read(&mut self, context: &mut InquiryContext<'_>, job: JobId, outcome: Outcome) -> InquiryTurn {
        match self.reading.on_done(context.desk, job, outcome) {
            Some(ListRead::List(manifest)) => InquiryTurn::List(manifest),
            Some(ListRead::Bare(size)) => {
                self.bytes = Some(size);
                InquiryTurn::Bare(size)
            }
            // It is the same at every holder, and each has the block as it should be.
            Some(ListRead::Failed(_, JobErrorKind::BrokenList)) => {
                self.reading.cancel(context.desk);
                InquiryTurn::Unread
            }
            Some(ListRead::Failed(from, kind)) => {
                let state = match kind {
                    JobErrorKind::Corrupt => CopyState::Damaged,
                    JobErrorKind::NotFound => CopyState::Absent,
                    _ => CopyState::Silent,
                };
                self.note(&from, state);
                self.read(context)
            }
            Some(ListRead::Other) => self.read(context),
            None => InquiryTurn::Goes,
        }
    }
}
