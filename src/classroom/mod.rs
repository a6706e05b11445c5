//! Files by name: what the classroom ring does above its routing.
//!
//! A file is `NAME.pdf` in the working directory. Its name is its key, and it belongs to the peer responsible for that
//! key and to the first peers after it ([`FILE_COPIES`](crate::config::FILE_COPIES) in all). Inside:
//!
//! - `user`: what this peer's user asks, `store` and `request`.
//! - `serve`: what other peers ask because this one is responsible.
//! - `coming`: requests for what is on its way here. `sending`: what is on its way to those who requested it.
//! - `file`: the state of one file. `asked`: what a reply belongs to.
//! - `holding`: what is held. What this peer holds for the ring is offered to every other peer that should hold it,
//!   when the file comes, when peers come or go, and when this peer leaves; where one refuses it, the next has its
//!   place. Offers that name what the receiver has already (the same size and time) cost one message, so nothing has to
//!   be remembered across a restart. What its user stored in this run it offers again, as a replica, when all peers
//!   that said they have it are gone, as far as it knew them: those of a ring of up to 17 peers.
//!
//! # Architecture invariants
//! - Nothing that a user put into the directory is ever replaced: only what a
//!   [`Keep`](crate::node::job::NamedJob::Keep) of this run wrote, or an empty file. Peers may share one directory;
//!   then a file is in its place already.
//! - A file that lies here but belongs to other peers is not the ring's until it is stored: until then a peer that asks
//!   for it by its name, in whosever name, is not given it.
//! - Bytes pass from worker to worker, never through here.

mod asked;
mod coming;
mod file;
mod holding;
mod sending;
mod serve;
mod user;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{FILE_RESCAN, FILE_SETTLE};
use crate::id::Id;
use crate::name::FileName;
use crate::node::command::CommandId;
use crate::node::desk::Desk;
use crate::node::job::{Job, JobId, NamedJob, NamedOutcome, Outcome, Urgency, Version};
use crate::node::notice::{FileNews, Notice};
use crate::node::part::Part;
use crate::node::ticket::{Answered, News, PartId, Reply, Ticket};
use crate::node::trouble::Trouble;
use crate::node::{Command, FailureKind, Node};
use crate::overlay::{Asker, RingEffect, RouteNotice, RouteOutcome};
use crate::patience;
use crate::peer::Peer;
use crate::recent::Recent;
use crate::time::Time;
use crate::wire::ring::{RingRequest, RingResponse, Routed};
use crate::wire::{Request, Response};
use asked::{Awaited, JobFor, Requester, RoutedFor, TransferEnd, TransferFor, UserCommand};
use coming::WaitingRequests;
use file::{FileOffer, NamedFile, TransferPhase};
use sending::Sending;
use serve::StoreWish;

/// Questions of other peers that are remembered, so that one sent again is the same question.
const QUESTIONS: usize = 1024;

/// Requests of other peers whose files are looked for at a time. One too many is dropped: its sender sends it again.
pub(super) const MAX_LOOKING: usize = 64;

/// A peer that has entered the ring knows its neighbours by then, and takes files from them.
const ENTERED: Duration = Duration::from_secs(2);

/// A peer that leaves offers again after this long what no peer was ready to take: a peer that has missed it for a
/// while knows it again after a ping.
const UNREADY: Duration = Duration::from_secs(1);

/// Peers known before a peer that quits: two have it for a successor, and those known first need not be the nearest.
const TOLD_GOODBYE: usize = 3;

/// A peer that was told to quit before it knew who stands before it waits for so long to hear of them: they ping it as
/// soon as both are up.
const STRANGERS: Duration = Duration::from_secs(3);

/// Leaving: what is held here goes to others first.
struct ClassroomDeparture {
    deadline: Time,
    /// Peers before this one that must be told goodbye, and until when it waits to hear of so many.
    before: usize,
    strangers_until: Time,
    looked: bool,
    /// When files are offered again that no peer was ready to take.
    again: Option<Time>,
}

/// What came of something that another peer sent on its way to this one.
#[derive(Clone, Copy)]
enum RoutedRequest {
    /// A store, which was accepted.
    Store,
    /// A request, whose file is being looked for.
    Looking,
    /// A request that was answered; without a size, no peer had the file.
    Answered { size: Option<u64> },
}

/// The files of this peer, and what is under way with them.
#[derive(Default)]
struct Classroom {
    /// What was asked for, by the number on its ticket.
    asked: BTreeMap<u64, Awaited>,
    next: u64,
    files: BTreeMap<FileName, NamedFile>,
    /// The user's stores that wait at this peer for their replicas.
    stores: BTreeMap<CommandId, UserCommand>,
    /// What others were told to bring here, by who stores it.
    store_wishes: Recent<(FileName, SocketAddr), StoreWish, QUESTIONS>,
    /// Stores and requests of other peers that came of late: who sent each, and under which number.
    questions: Recent<(Id, u64), RoutedRequest, QUESTIONS>,
    /// Requests of other peers that wait until it is known whether the file is here.
    looking: usize,
    /// Requests that wait for files on their way here.
    coming: WaitingRequests,
    /// Files that are about to be sent, and to whom.
    serving: VecDeque<Sending>,
    /// How many peers are known that stand before this one. None: nor is it known what it is responsible for.
    before: usize,
    scan_at: Option<Time>,
    leaving: Option<ClassroomDeparture>,
}

fn tell(desk: &mut Desk, file: FileName, news: FileNews) {
    desk.notify(Notice::File { file, news });
}

/// Adds to a node what keeps files by their names. On a peer that is no member of a classroom ring it refuses them.
pub fn join(mut node: Node) -> Node {
    node.add(PartId::NamedFiles, Box::<Classroom>::default());
    node
}

impl Part for Classroom {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        let Some(asked) = self.asked.remove(&ticket.number) else { return };
        match (asked, reply) {
            (Awaited::Job { step, ordered }, Reply::Done { outcome, .. }) => self.on_step(desk, step, ordered, outcome),
            (Awaited::Transfer(handing), Reply::Answer(Answered { to, answer, .. })) => {
                let handed = match answer {
                    Ok(Response::Ring(RingResponse::Noted { .. })) => TransferEnd::Taken,
                    Ok(Response::Ring(RingResponse::Refused { reason, .. })) => TransferEnd::Refused(reason),
                    Err(refusal) => TransferEnd::Unready(refusal.to_string()),
                    Ok(_) => TransferEnd::Refused("it answered with something else".to_owned()),
                };
                self.on_handed(desk, handing, to, handed);
            }
            (Awaited::Transfer(handing), Reply::Silence { to, reason }) => {
                self.on_handed(desk, handing, to, TransferEnd::Silent(reason.to_owned()));
            }
            (Awaited::Route(routed), Reply::RouteEnded(outcome)) => self.on_route_ended(desk, routed, outcome),
            (Awaited::Replicas(own, failed), Reply::Found(found)) => self.on_replicas(desk, own, failed, &found.peers),
            (Awaited::Replicas(..), _) => {}
            (asked, reply) => debug_assert!(false, "{asked:?} has the reply {reply:?}"),
        }
    }

    fn on_command(&mut self, desk: &mut Desk, id: CommandId, command: Command) {
        match command {
            _ if !desk.config().named_files => {
                let reason = "only peers of the classroom ring keep files by their names";
                desk.fail(id, FailureKind::Usage, reason);
            }
            Command::StoreFile { file } => self.store(desk, id, file),
            Command::RequestFile { file } => self.request(desk, id, file),
            command => debug_assert!(false, "{command:?} is for another part"),
        }
    }

    fn on_request(&mut self, desk: &mut Desk, from: Asker, request: Request) {
        if let Request::Ring(RingRequest::Transfer { file, size, modified, stored }) = request {
            let version = Version { size, modified };
            self.on_transfer(desk, FileOffer { from: from.addr, magic: from.magic, version, fresh: stored }, file);
        }
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        match news {
            News::Joined | News::Up => self.look_soon(desk),
            News::Down(peer) => self.on_peer_down(desk, peer),
            News::Doubtful(peer) | News::Stalls(peer) => self.on_late(desk, peer),
            News::Leaving { handover: true } if desk.config().named_files => self.leave(desk),
            News::Leaving { handover: false } => {
                self.leaving.iter_mut().for_each(|leaving| leaving.deadline = desk.now());
            }
            News::Ring(&RingEffect::Arrived { origin, magic, what }) => self.on_arrived(desk, origin, magic, what),
            News::Ring(RingEffect::Entered(peer)) => self.on_entered(desk, peer),
            News::Ring(RingEffect::Notice(notice)) => self.on_route_notice(desk, notice),
            News::Fetching { file, by, goes_on } => self.on_fetching(desk, file, by, goes_on),
            News::Fetched { file, by } => self.on_fetched(desk, file, by),
            _ => {}
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        self.end_waits(desk);
        self.give_way(desk);
        if self.scan_at.is_some_and(|at| at <= desk.now()) {
            // A peer that leaves has looked for the last time.
            self.scan_at = (!desk.is_leaving()).then_some(desk.now() + FILE_RESCAN);
            if !desk.is_leaving() {
                self.order(desk, NamedJob::Scan, JobFor::Scan);
            }
        }
        self.offer_again(desk);
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        let later = |at: &Time| *at > desk.now();
        let (next, again) = match &self.leaving {
            Some(leaving) => ([leaving.strangers_until, leaving.deadline].into_iter().find(later), leaving.again),
            None => (self.scan_at, None),
        };
        let waits = self.files.values().filter_map(NamedFile::waits_until);
        let begun = |job| desk.jobs().has_begun(job);
        let gives_way = self.files.values().filter_map(|state| state.gives_way_at(begun)).map(|(_, at)| at);
        let comes =
            self.leaving.iter().flat_map(|_| self.serving.iter().filter_map(Sending::comes_until)).filter(later);
        next.into_iter().chain(again).chain(comes).chain(waits).chain(gives_way).chain(self.coming.next_wake()).min()
    }

    fn named_files(&self, desk: &Desk) -> Option<Vec<(FileName, Version)>> {
        desk.config().named_files.then(|| self.kept().collect())
    }

    fn under_way(&self) -> usize {
        let moving = self.files.values().filter(|state| state.moves()).count();
        moving + self.looking + self.stores.len()
    }

    fn keeps_here(&self, desk: &Desk) -> bool {
        let Some(leaving) = &self.leaving else { return false };
        let known = self.before >= leaving.before || desk.now() >= leaving.strangers_until;
        let handed_over = leaving.looked && leaving.again.is_none() && !self.files.values().any(NamedFile::detains);
        let stored = self.stores.is_empty() && !self.asked.values().any(Awaited::is_store);
        let sent = !self.serving.iter().any(|sending| sending.detains(desk.now()));
        !(desk.now() >= leaving.deadline || handed_over && known && stored && sent)
    }

    fn check(&self, _desk: &Desk) -> Result<(), String> {
        for (file, state) in &self.files {
            state.check().map_err(|what| format!("file {file}: {what}"))?;
        }
        let waits = |command: &CommandId| self.files.values().any(|state| state.is_awaited_by(*command));
        match self.stores.keys().find(|command| !waits(command)) {
            Some(command) => Err(format!("store {command} waits for a file that is not coming")),
            None if self.looking > MAX_LOOKING => Err(format!("{} requests are looked for", self.looking)),
            None => Ok(()),
        }
    }
}

impl Classroom {
    /// What comes back to `asked`.
    fn ticket(&mut self, asked: Awaited) -> Ticket {
        self.next += 1;
        self.asked.insert(self.next, asked);
        Ticket::of(PartId::NamedFiles, self.next)
    }

    fn order(&mut self, desk: &mut Desk, job: NamedJob, step: JobFor) -> JobId {
        let urgency = match step {
            JobFor::Give(_) | JobFor::Receive { .. } | JobFor::Look { requester: Requester::Own(_), .. } => {
                Urgency::Own
            }
            _ => Urgency::Others,
        };
        let ticket = self.ticket(Awaited::Job { step, ordered: desk.now() });
        desk.order(ticket, Job::Named(job), urgency)
    }

    /// Hands a file to a peer: please pull it from here and keep it.
    fn hand(&mut self, desk: &mut Desk, handing: TransferFor, file: FileName, version: Version, to: Peer) {
        let Version { size, modified } = version;
        // The replicas of what is stored now get it while this peer waits for them; whatever goes out later may be old.
        let stored = self.files.get(&file).is_some_and(|state| state.phase() == TransferPhase::Replicating);
        let request = Request::Ring(RingRequest::Transfer { file, size, modified, stored });
        desk.ask_patiently(self.ticket(Awaited::Transfer(handing)), to, request, patience::FILE);
    }

    /// Sends something on its way to the peer responsible for it.
    fn route(&mut self, desk: &mut Desk, what: Routed, routed: RoutedFor) {
        let ticket = self.ticket(Awaited::Route(routed.clone()));
        if !desk.route(ticket, |router, now, lookup, out| router.route(now, lookup, what, out)) {
            self.asked.remove(&ticket.number);
            self.on_route_ended(desk, routed, RouteOutcome::Lost);
        }
    }

    /// The files that this peer keeps for the ring.
    fn kept(&self) -> impl Iterator<Item = (FileName, Version)> + '_ {
        self.files.iter().filter_map(|(&file, state)| Some((file, state.holding.as_ref()?.version)))
    }

    /// The overlay tells something: who stands before us, for one.
    pub(super) fn on_route_notice(&mut self, desk: &mut Desk, notice: &RouteNotice) {
        if let RouteNotice::Predecessors { predecessors } = notice {
            self.before = predecessors.len();
            self.look_soon(desk);
        }
    }

    /// A peer came, or this one joined: files may belong elsewhere now.
    pub(super) fn look_soon(&mut self, desk: &Desk) {
        self.look_at(desk, desk.now() + FILE_SETTLE);
    }

    /// The directory is looked through by then.
    pub(super) fn look_at(&mut self, desk: &Desk, latest: Time) {
        if desk.config().named_files {
            self.scan_at = Some(self.scan_at.map_or(latest, |at| at.min(latest)));
        }
    }

    /// A peer is gone, and what it held with it.
    pub(super) fn on_peer_down(&mut self, desk: &mut Desk, peer: &Peer) {
        self.files.values_mut().for_each(|state| state.forget(peer.addr));
        self.look_soon(desk);
    }

    /// A peer entered the ring. If it has been there before, it may not know any more what it said that it has, nor
    /// have it.
    fn on_entered(&mut self, desk: &Desk, peer: &Peer) {
        self.files.values_mut().for_each(|state| state.doubt(peer.addr));
        self.look_at(desk, desk.now() + ENTERED);
    }

    /// A job is done that was `ordered` at some time.
    pub(super) fn on_step(&mut self, desk: &mut Desk, step: JobFor, ordered: Time, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Named(outcome) => Ok(outcome),
            Outcome::Failed(error) => Err(error),
            _ => return,
        };
        match (step, outcome) {
            (JobFor::Scan, Ok(NamedOutcome::Scanned { files })) => self.on_scanned(desk, ordered, files),
            (JobFor::Scan, outcome) => {
                if let Err(error) = outcome {
                    desk.trouble(Trouble::JobFailed { reason: error.to_string() });
                }
                // What is here nobody knows better than before.
                self.place_all(desk);
            }
            (JobFor::Give(own), Ok(NamedOutcome::Found { version })) => {
                self.send_store(desk, UserCommand { version, ..own })
            }
            (JobFor::Compare { own, reason }, outcome) => {
                let here = if let Ok(NamedOutcome::Found { version }) = outcome { version } else { own.version };
                Self::on_compared(desk, own, here, &reason);
            }
            (JobFor::Look { requester, file, until }, outcome) => {
                let version = match outcome {
                    Ok(NamedOutcome::Found { version }) => self.file(file).after_look(ordered, version),
                    _ => None,
                };
                if version.is_some() || !self.keeps_waiting(desk, requester, file, until) {
                    self.on_looked(desk, requester, file, version.map(|version| (ordered, version)));
                }
            }
            (JobFor::Seek { requester, file, .. }, Ok(NamedOutcome::Kept { version, written })) => {
                if written {
                    self.file(file).copy = Some(version);
                }
                self.on_looked(desk, requester, file, Some((desk.now(), version)));
            }
            (JobFor::Seek { requester, file, left }, _) => self.seek(desk, requester, file, left),
            (JobFor::Take { file }, Ok(NamedOutcome::Kept { version, written })) => {
                self.on_come(desk, file, version, written);
            }
            (JobFor::Take { file }, outcome) => {
                let other = || TransferEnd::Refused("it was not kept".to_owned());
                self.end_transfer(desk, file, outcome.err().map_or_else(other, TransferEnd::not_kept));
            }
            (JobFor::Receive { own, from, says }, Ok(NamedOutcome::Received { size, sha256 })) => {
                Self::on_received(desk, own, (from, says), size, sha256);
            }
            (JobFor::Receive { own, from, .. }, Err(error)) => self.on_not_received(desk, own, from, &error),
            (JobFor::Give(own), Err(error)) => Self::fail(desk, own, &error),
            (JobFor::Give(_) | JobFor::Receive { .. }, Ok(_)) => {}
        }
    }

    fn file(&mut self, file: FileName) -> &mut NamedFile {
        self.files.entry(file).or_default()
    }
}

#[cfg(test)]
mod tests;
