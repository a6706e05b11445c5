//! What other peers ask because this one is responsible for a file, or is to be its replica.

use std::net::SocketAddr;

use super::file::{FileOffer, LastSaid, NamedFile, Transfer, TransferPhase, TransferWaiter};
use super::{Classroom, JobFor, MAX_LOOKING, Requester, RoutedRequest, TransferEnd, tell};
use crate::config::FILE_COPIES;
use crate::name::FileName;
use crate::node::desk::Desk;
use crate::node::job::{JobId, NamedJob, Version};
use crate::node::notice::FileNews;
use crate::overlay::Asker;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{FilePlace, RingKind, RingResponse, Routed};
use crate::wire::{RequestKind, Response};

/// What is handed over by a storing peer that has no such file: an empty one is to be made, if there is none.
pub(super) const NOTHING: Version = Version { size: 0, modified: 0 };

/// Offers that may wait for an earlier one of the same file.
const MAX_OFFERS: usize = 1024;

/// Why a file was given up on its way.
const TOO_SLOW: &str = "it came too slowly, and others wait to store this file; try again";

/// What a peer may bring that stores a file here.
#[derive(Clone, Copy, Default)]
pub(super) struct StoreWish {
    /// Stores that were accepted and for which no offer has come.
    to_come: u32,
    /// The number of the last offer that came for one. It may come again, if the answer is lost.
    came: Option<u64>,
}

pub(super) fn respond(desk: &mut Desk, to: SocketAddr, magic: u64, response: RingResponse) {
    desk.respond(&Asker::connected(to, magic), RequestKind::Ring, Response::Ring(response));
}

impl Classroom {
    /// A store or a request has reached this peer, which is responsible for the file.
    pub(super) fn on_arrived(&mut self, desk: &mut Desk, origin: Peer, magic: u64, what: Routed) {
        let question = (origin.id, magic);
        if !desk.config().named_files {
            let reason = "this peer keeps no files by their names".to_owned();
            return respond(desk, origin.addr, magic, RingResponse::Refused { of: what.kind(), reason });
        }
        match what {
            Routed::Store { file } => {
                if !self.questions.contains(&question) {
                    self.questions.insert(question, RoutedRequest::Store);
                    tell(desk, file, FileNews::StoreAccepted { origin });
                    let mut wish = self.store_wish(file, origin.addr);
                    wish.to_come = wish.to_come.saturating_add(1);
                    self.store_wishes.insert((file, origin.addr), wish);
                }
                self.file(file).accepted = Some(desk.now());
                respond(desk, origin.addr, magic, RingResponse::Kept { file });
            }
            Routed::Request { file } => match self.questions.get(&question) {
                // Asked again while the file is being looked for.
                Some(RoutedRequest::Looking | RoutedRequest::Store) => {}
                Some(&RoutedRequest::Answered { size }) => {
                    let place = FilePlace { size };
                    respond(desk, origin.addr, magic, RingResponse::File { file, place });
                }
                None if self.looking >= MAX_LOOKING => {}
                None => {
                    self.looking += 1;
                    self.questions.insert(question, RoutedRequest::Looking);
                    let requester = Requester::Other { origin, magic };
                    self.order(desk, NamedJob::Find { file }, JobFor::Look { requester, file, until: None });
                }
            },
            Routed::Join | Routed::Lookup { .. } => {}
        }
    }

    /// Whether a requested file lies here is known: if it does, when it was `seen` there, and in which version.
    pub(super) fn on_looked(
        &mut self,
        desk: &mut Desk,
        requester: Requester,
        file: FileName,
        seen: Option<(Time, Version)>,
    ) {
        let Some((seen, version)) = seen else {
            let me = desk.me().id;
            let mut neighbours = desk.replica_set(&file.key(), FILE_COPIES + 1);
            neighbours.retain(|peer| peer.id != me);
            neighbours.reverse();
            return self.seek(desk, requester, file, neighbours);
        };
        self.file(file).hold(seen, version, false);
        tell(desk, file, FileNews::StoredHere);
        let to = match requester {
            Requester::Other { origin, .. } => origin,
            Requester::Own(_) => desk.me(),
        };
        self.announce(desk, file, to);
        match requester {
            Requester::Other { .. } => self.answer_request(desk, requester, file, Some(version.size)),
            Requester::Own(own) => self.receive(desk, own, to),
        }
    }

    /// A requested file is not where it should be: perhaps this peer has only just become responsible, and a neighbour
    /// (the last of `left` first) has it.
    pub(super) fn seek(&mut self, desk: &mut Desk, requester: Requester, file: FileName, mut left: Vec<Peer>) {
        match left.pop() {
            Some(peer) => {
                let job = NamedJob::Keep { file, from: peer.addr, offered: None, ours: None, replace: false };
                self.order(desk, job, JobFor::Seek { requester, file, left });
            }
            None => {
                tell(desk, file, FileNews::NotHere);
                self.answer_request(desk, requester, file, None);
            }
        }
    }

    fn answer_request(&mut self, desk: &mut Desk, requester: Requester, file: FileName, size: Option<u64>) {
        match requester {
            Requester::Other { origin, magic } => {
                self.looking -= 1;
                self.questions.insert((origin.id, magic), RoutedRequest::Answered { size });
                respond(desk, origin.addr, magic, RingResponse::File { file, place: FilePlace { size } });
            }
            Requester::Own(own) => Self::nobody_has(desk, own),
        }
    }

    fn store_wish(&self, file: FileName, from: SocketAddr) -> StoreWish {
        self.store_wishes.get(&(file, from)).copied().unwrap_or_default()
    }

    /// A peer wants this one to hold a file.
    pub(super) fn on_transfer(&mut self, desk: &mut Desk, offer: FileOffer, file: FileName) {
        let FileOffer { from, magic, version, fresh } = offer;
        let refuse = |desk: &mut Desk, reason: &str| {
            let response = RingResponse::Refused { of: RingKind::Transfer, reason: reason.to_owned() };
            respond(desk, from, magic, response);
        };
        if !desk.config().named_files {
            return refuse(desk, "this peer keeps no files by their names");
        }
        if desk.is_leaving() {
            return refuse(desk, "this peer is leaving the ring");
        }
        let waiter = TransferWaiter::Peer { addr: from, magic };
        if self.file(file).transfer().is_some_and(|transfer| transfer.waiting.contains(&waiter)) {
            return;
        }
        let mut wish = self.store_wish(file, from);
        let for_user = wish.to_come > 0;
        if !for_user && wish.came != Some(magic) && !desk.knows(&from) {
            // A stranger may not fill the directory. Perhaps it is a neighbour that is yet unknown: it tries again.
            return desk.refuse(&Asker::connected(from, magic), "not a neighbour of this peer");
        }
        if !for_user && self.file(file).phase() == TransferPhase::Replicating {
            return self.answer_while_replicating(desk, offer, file);
        }
        let queued: usize = self.files.values().map(|state| state.offers.len()).sum();
        let state = self.file(file);
        if state.transfer().is_some() {
            if queued < MAX_OFFERS {
                state.queue(offer);
            }
            return;
        }
        if for_user {
            // Whatever it offers from now on is a replica, which may be older than what others store.
            wish = StoreWish { to_come: wish.to_come - 1, came: Some(magic) };
            self.store_wishes.insert((file, from), wish);
        }
        let offered = Some((from, version));
        self.begin_transfer(desk, file, Transfer { fresh, for_user, ..Transfer::new(waiter, offered) });
    }

    /// A peer offers a replica of a file that this one is about to replicate itself: two peers took a store of it. They
    /// must not wait for one another, so it hears at once that the file is here, or that it is to come again later.
    fn answer_while_replicating(
        &mut self,
        desk: &mut Desk,
        FileOffer { from, magic, version, .. }: FileOffer,
        file: FileName,
    ) {
        if self.file(file).holding.as_ref().is_some_and(|holding| holding.version == version) {
            respond(desk, from, magic, RingResponse::Noted { of: RingKind::Transfer });
        } else {
            desk.refuse(&Asker::connected(from, magic), "another version of the file is on its way from this peer");
        }
    }

    /// Begins to bring here what was offered; nothing offered means: whatever is here will do, if only an empty file.
    pub(super) fn begin_transfer(&mut self, desk: &mut Desk, file: FileName, transfer: Transfer) {
        let state = self.file(file);
        let job = match transfer.offered.filter(|(_, version)| *version != NOTHING) {
            None => NamedJob::Touch { file },
            Some((from, version)) => {
                // What was just stored at the peer responsible is the right version; any other may only be a newer one,
                // for that peer may have been cut off, or have just come.
                let owner = desk.replica_set(&file.key(), 1);
                let replace =
                    transfer.for_user || transfer.fresh && owner.first().is_some_and(|owner| owner.addr == from);
                NamedJob::Keep { file, from, offered: Some(version), ours: state.copy, replace }
            }
        };
        state.begin(transfer);
        let job = self.order(desk, job, JobFor::Take { file });
        let now = desk.now();
        if let Some(transfer) = self.file(file).transfer() {
            transfer.brought_by = Some((job, now));
        }
    }

    /// What comes too slowly while others wait to store the same file is given up, and a store that has waited long
    /// enough for its replicas is done.
    pub(super) fn give_way(&mut self, desk: &mut Desk) {
        let now = desk.now();
        let begun = |job| desk.jobs().has_begun(job);
        let slow: Vec<JobId> = self.files.values_mut().filter_map(|state| state.gives_way(now, begun)).collect();
        slow.into_iter().for_each(|job| desk.cancel_job(job));
        let has_waited = |state: &NamedFile| state.waits_until().is_some_and(|until| until <= now);
        let waited = self.files.iter().filter(|(_, state)| has_waited(state)).map(|(&file, _)| file);
        for file in waited.collect::<Vec<_>>() {
            self.end_transfer(desk, file, TransferEnd::Taken);
        }
    }

    /// The user stores what lies here, or what is about to.
    pub(super) fn keep_here(&mut self, desk: &mut Desk, file: FileName, user: TransferWaiter) {
        match self.file(file).transfer() {
            Some(transfer) => {
                transfer.waiting.push(user);
                transfer.for_user = true;
            }
            None => self.begin_transfer(desk, file, Transfer { for_user: true, ..Transfer::new(user, None) }),
        }
    }

    /// A file that was offered is here now.
    pub(super) fn on_come(&mut self, desk: &mut Desk, file: FileName, version: Version, written: bool) {
        let now = desk.now();
        let state = self.file(file);
        if written {
            state.copy = Some(version);
        }
        let holding = state.hold(now, version, true);
        if written {
            // A peer that has a file of this size and time may have another one.
            holding.at.clear();
        }
        self.end_waits_for(desk, file);
        let state = self.file(file);
        let Some(transfer) = state.transfer() else { return };
        let (for_user, offered) = (transfer.for_user, transfer.offered);
        if let (Some((from, offered)), Some(holding)) = (offered, &mut state.holding)
            && offered == version
        {
            holding.at.insert(from, LastSaid::now(now, true));
        }
        // A store is done when the replicas have answered too, or have had time to: a replica that could not take its
        // copy is offered it again later, without the user. They must not wait for theirs in turn.
        if for_user {
            state.replicate(now);
            for offer in std::mem::take(&mut state.offers) {
                self.on_transfer(desk, offer, file);
            }
            self.place(desk, file);
            self.end_replicating(desk, file);
        } else {
            self.end_transfer(desk, file, TransferEnd::Taken);
            self.look_soon(desk);
        }
    }

    /// The last replica may have answered, or one of them while the others are late.
    pub(super) fn end_replicating(&mut self, desk: &mut Desk, file: FileName) {
        let state = self.file(file);
        if state.phase() == TransferPhase::Replicating
            && state.waits_for_late_ones_alone()
            && (state.asked.is_empty() || self.is_replicated(desk, file))
        {
            self.end_transfer(desk, file, TransferEnd::Taken);
        }
    }

    /// A file has come, or has not: those who wait are told, and the next offer of it has its turn. A user of this peer
    /// who waited for what did not come stores what lies here.
    pub(super) fn end_transfer(&mut self, desk: &mut Desk, file: FileName, handed: TransferEnd) {
        let Some(transfer) = self.file(file).end() else { return };
        let taken = matches!(handed, TransferEnd::Taken);
        let handed = if transfer.given_up && !taken { TransferEnd::Unready(TOO_SLOW.to_owned()) } else { handed };
        self.end_waits_for(desk, file);
        let of = RingKind::Transfer;
        for waiter in transfer.waiting {
            match (waiter, handed.clone()) {
                (TransferWaiter::User(_), _) if !taken && transfer.offered.is_some() => {
                    self.keep_here(desk, file, waiter)
                }
                (TransferWaiter::User(command), handed) => self.on_stored_here(desk, command, handed),
                (TransferWaiter::Peer { addr, magic }, TransferEnd::Taken) => {
                    respond(desk, addr, magic, RingResponse::Noted { of });
                }
                (TransferWaiter::Peer { addr, magic }, TransferEnd::Refused(reason)) => {
                    respond(desk, addr, magic, RingResponse::Refused { of, reason });
                }
                (TransferWaiter::Peer { addr, magic }, TransferEnd::Unready(reason) | TransferEnd::Silent(reason)) => {
                    desk.refuse(&Asker::connected(addr, magic), &reason);
                }
            }
        }
        // An offer that is refused at once leaves its turn to the next.
        while self.file(file).phase() == TransferPhase::Idle {
            let Some(offer) = self.file(file).offers.pop_front() else { return };
            self.on_transfer(desk, offer, file);
        }
    }
}
