//! What other peers ask because this one is responsible for a file, or is to be its replica.

use std::net::SocketAddr;

use super::super::context::Context;
use super::super::job::{NamedJob, Version};
use super::super::notice::FileNews;
use super::file::{Offer, Phase, Transfer, Waiter};
use super::{Asker, Classroom, MAX_LOOKING, MAX_SERVING, Question, Step, order, tell};
use crate::config::FILE_COPIES;
use crate::peer::Peer;
use crate::wire::ring::{FileName, FilePlace, RingKind, RingResponse, Routed};
use crate::wire::{Message, RequestKind, Response, Via};

/// What is handed over by a storing peer that has no such file: an empty one is to be made, if there is none.
pub(super) const NOTHING: Version = Version { size: 0, modified: 0 };

/// Offers that may wait for an earlier one of the same file.
const MAX_OFFERS: usize = 1024;

pub(super) fn respond(cx: &mut Context, to: SocketAddr, magic: u64, response: RingResponse) {
    cx.send(to, Via::Tcp, Message::response(magic, RequestKind::Ring, Response::Ring(response)));
}

impl Classroom {
    /// A store or a request has reached this peer, which is responsible for the file.
    pub(in super::super) fn on_arrived(&mut self, cx: &mut Context, origin: Peer, magic: u64, what: Routed) {
        let question = (origin.id, magic);
        if !cx.config.named_files {
            let reason = "this peer keeps no files by their names".to_owned();
            return respond(cx, origin.addr, magic, RingResponse::Refused { of: what.kind(), reason });
        }
        match what {
            Routed::Store { file } => {
                if !self.questions.contains(&question) {
                    self.questions.insert(question, Question::Store);
                    tell(cx, file, FileNews::StoreAccepted { origin });
                }
                self.store_wishes.insert((file, origin.addr), ());
                self.file(file).accepted = Some(cx.now);
                respond(cx, origin.addr, magic, RingResponse::Kept { file });
            }
            Routed::Request { file } => match self.questions.get(&question) {
                // Asked again while the file is being looked for.
                Some(Question::Looking | Question::Store) => {}
                Some(&Question::Answered { size }) => {
                    let place = FilePlace { size };
                    respond(cx, origin.addr, magic, RingResponse::File { file, place });
                }
                None if self.looking >= MAX_LOOKING => {}
                None => {
                    self.looking += 1;
                    self.questions.insert(question, Question::Looking);
                    let asker = Asker::Other { origin, magic };
                    order(cx, NamedJob::Find { file }, Step::Look { asker, file, until: None });
                }
            },
            Routed::Join | Routed::Lookup { .. } => {}
        }
    }

    /// Whether a requested file lies here is known.
    pub(super) fn on_looked(&mut self, cx: &mut Context, asker: Asker, file: FileName, version: Option<Version>) {
        let Some(version) = version else {
            self.file(file).holding = None;
            let me = cx.overlay.me().id;
            let mut neighbours = cx.overlay.replica_set(&file.key(), FILE_COPIES + 1);
            neighbours.retain(|peer| peer.id != me);
            neighbours.reverse();
            return self.seek(cx, asker, file, neighbours);
        };
        self.file(file).hold(version, false);
        tell(cx, file, FileNews::StoredHere);
        let to = match asker {
            Asker::Other { origin, .. } => origin,
            Asker::Own(_) => cx.overlay.me(),
        };
        tell(cx, file, FileNews::Sending { to });
        if self.serving.len() == MAX_SERVING {
            self.serving.pop_front();
        }
        self.serving.push_back((file, to));
        match asker {
            Asker::Other { .. } => self.answer_request(cx, asker, file, Some(version.size)),
            Asker::Own(own) => Self::receive(cx, own, to),
        }
    }

    /// A requested file is not where it should be: perhaps this peer has only just become responsible, and a neighbour
    /// (the last of `left` first) has it.
    pub(super) fn seek(&mut self, cx: &mut Context, asker: Asker, file: FileName, mut left: Vec<Peer>) {
        match left.pop() {
            Some(peer) => {
                let job = NamedJob::Keep { file, from: peer.addr, offered: None, ours: None, replace: false };
                order(cx, job, Step::Seek { asker, file, left });
            }
            None => {
                tell(cx, file, FileNews::NotHere);
                self.answer_request(cx, asker, file, None);
            }
        }
    }

    fn answer_request(&mut self, cx: &mut Context, asker: Asker, file: FileName, size: Option<u64>) {
        match asker {
            Asker::Other { origin, magic } => {
                self.looking -= 1;
                self.questions.insert((origin.id, magic), Question::Answered { size });
                respond(cx, origin.addr, magic, RingResponse::File { file, place: FilePlace { size } });
            }
            Asker::Own(own) => Self::nobody_has(cx, own),
        }
    }

    /// A file was sent to its end to a peer whose user asked for it.
    pub(in super::super) fn on_fetched(&mut self, cx: &mut Context, file: FileName, by: SocketAddr) {
        let whose = |&(name, to): &(FileName, Peer)| name == file && to.addr.port() == by.port();
        if let Some((file, to)) = self.serving.iter().position(whose).and_then(|at| self.serving.remove(at)) {
            tell(cx, file, FileNews::Sent { to });
        }
    }

    /// A peer wants this one to hold a file.
    pub(in super::super) fn on_transfer(
        &mut self,
        cx: &mut Context,
        (from, magic): (SocketAddr, u64),
        file: FileName,
        version: Version,
    ) {
        let refuse = |cx: &mut Context, reason: &str| {
            let response = RingResponse::Refused { of: RingKind::Transfer, reason: reason.to_owned() };
            respond(cx, from, magic, response);
        };
        if !cx.config.named_files {
            return refuse(cx, "this peer keeps no files by their names");
        }
        if cx.departing {
            return refuse(cx, "this peer is leaving the ring");
        }
        let waiter = Waiter::Peer { addr: from, magic };
        let queued: usize = self.files.values().map(|state| state.offers.len()).sum();
        let state = self.file(file);
        if let Some(transfer) = state.transfer() {
            let waits = transfer.waiting.contains(&waiter);
            if !waits && queued < MAX_OFFERS && !state.offers.iter().any(|offer| offer.magic == magic) {
                state.offers.push_back(Offer { from, magic, version });
            }
            return;
        }
        let stored = self.store_wishes.contains(&(file, from));
        if !stored && !cx.overlay.peers().iter().any(|peer| peer.addr == from) {
            // A stranger may not fill the directory. Perhaps it is a neighbour that is yet unknown: it tries again.
            return cx.send(from, Via::Tcp, Message::error(magic, "not a neighbour of this peer"));
        }
        self.begin_transfer(cx, file, Transfer { waiting: vec![waiter], offered: Some((from, version)), stored });
    }

    /// Begins to bring here what was offered; nothing offered means: whatever is here will do, if only an empty file.
    pub(super) fn begin_transfer(&mut self, cx: &mut Context, file: FileName, transfer: Transfer) {
        let state = self.file(file);
        let job = match transfer.offered.filter(|(_, version)| *version != NOTHING) {
            None => NamedJob::Touch { file },
            Some((from, version)) => {
                // The peer responsible knows which version is the right one; any other may only bring a newer one.
                let owner = cx.overlay.replica_set(&file.key(), 1);
                let replace = transfer.stored || owner.first().is_some_and(|owner| owner.addr == from);
                NamedJob::Keep { file, from, offered: Some(version), ours: state.copy, replace }
            }
        };
        state.begin(transfer);
        order(cx, job, Step::Take { file });
    }

    /// A file that was offered is here now.
    pub(super) fn on_come(&mut self, cx: &mut Context, file: FileName, version: Version, written: bool) {
        let now = cx.now;
        let state = self.file(file);
        if written {
            state.copy = Some(version);
        }
        state.hold(version, true);
        self.end_waits_for(cx, file);
        let state = self.file(file);
        let Some(transfer) = state.transfer() else { return };
        let (stored, offered) = (transfer.stored, transfer.offered);
        if let (Some((from, offered)), Some(holding)) = (offered, &mut state.holding)
            && offered == version
        {
            holding.at.insert(from, now);
        }
        // A store is done when the replicas have the file too. They must not wait for theirs in turn.
        if stored {
            state.replicate();
            self.place(cx, file);
            self.end_replicating(cx, file);
        } else {
            self.end_transfer(cx, file, Ok(()));
            self.look_soon(cx);
        }
    }

    /// The last replica may have answered.
    pub(super) fn end_replicating(&mut self, cx: &mut Context, file: FileName) {
        let state = self.file(file);
        if state.phase() == Phase::Replicating && state.asked.is_empty() {
            self.end_transfer(cx, file, Ok(()));
        }
    }

    /// A file has come, or has not: those who wait are told, and the next offer of it has its turn.
    pub(super) fn end_transfer(&mut self, cx: &mut Context, file: FileName, result: Result<(), &str>) {
        let Some(transfer) = self.file(file).end() else { return };
        self.end_waits_for(cx, file);
        let of = RingKind::Transfer;
        for waiter in transfer.waiting {
            match waiter {
                Waiter::User(command) => self.on_stored_here(cx, command, result),
                Waiter::Peer { addr, magic } => {
                    let refused = |reason: &str| RingResponse::Refused { of, reason: reason.to_owned() };
                    respond(cx, addr, magic, result.map_or_else(refused, |()| RingResponse::Noted { of }));
                }
            }
        }
        // One that is refused at once leaves its turn to the next.
        while self.file(file).phase() == Phase::Idle {
            let Some(Offer { from, magic, version }) = self.file(file).offers.pop_front() else { return };
            self.on_transfer(cx, (from, magic), file, version);
        }
    }
}
