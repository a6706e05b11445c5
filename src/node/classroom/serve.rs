//! What other peers ask because this one is responsible for a file, or is to be its replica.

use std::net::SocketAddr;

use super::super::context::Context;
use super::super::job::{NamedJob, Version};
use super::super::notice::FileNews;
use super::{Asker, Classroom, MAX_LOOKING, MAX_SERVING, Step, Taking, Waiter, order, tell};
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
                    self.questions.insert(question, None);
                    tell(cx, file, FileNews::StoreAccepted { origin });
                }
                self.store_wishes.insert((file, origin.addr), ());
                self.coming.on_accepted(cx.now, file);
                respond(cx, origin.addr, magic, RingResponse::Kept { file });
            }
            Routed::Request { file } => match self.questions.get(&question) {
                // Asked again while the file is being looked for.
                Some(None) => {}
                Some(&Some(size)) => {
                    let place = FilePlace { size };
                    respond(cx, origin.addr, magic, RingResponse::File { file, place });
                }
                None if self.looking >= MAX_LOOKING => {}
                None => {
                    self.looking += 1;
                    self.questions.insert(question, None);
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
            self.custody.remove(&file);
            let me = cx.overlay.me().id;
            let mut neighbours = cx.overlay.replica_set(&file.key(), FILE_COPIES + 1);
            neighbours.retain(|peer| peer.id != me);
            neighbours.reverse();
            return self.seek(cx, asker, file, neighbours);
        };
        self.hold(file, version, false);
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
                self.questions.insert((origin.id, magic), Some(size));
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
        let waiter = Waiter::Other { addr: from, magic };
        if let Some(taking) = self.taking.get(&file) {
            let known = taking.waiting.contains(&waiter) || self.offers.iter().any(|offer| offer.1 == magic);
            if !known && self.offers.len() < MAX_OFFERS {
                self.offers.push_back((from, magic, file, version));
            }
            return;
        }
        let stored = self.store_wishes.contains(&(file, from));
        if !stored && !cx.overlay.peers().iter().any(|peer| peer.addr == from) {
            // A stranger may not fill the directory. Perhaps it is a neighbour that is yet unknown: it tries again.
            return cx.send(from, Via::Tcp, Message::error(magic, "not a neighbour of this peer"));
        }
        self.begin_taking(cx, file, waiter, Some((from, version)), stored);
    }

    /// Begins to take over what was offered; nothing offered means: whatever is here will do, if only an empty file.
    pub(super) fn begin_taking(
        &mut self,
        cx: &mut Context,
        file: FileName,
        waiter: Waiter,
        offered: Option<(SocketAddr, Version)>,
        stored: bool,
    ) {
        let job = match offered.filter(|(_, version)| *version != NOTHING) {
            None => NamedJob::Touch { file },
            Some((from, version)) => {
                // Whoever is responsible knows which version is the right one; anybody else may only bring a newer one.
                let owner = cx.overlay.replica_set(&file.key(), 1);
                let replace = stored || owner.first().is_some_and(|owner| owner.addr == from);
                let ours = self.copies.get(&file).copied();
                NamedJob::Keep { file, from, offered: Some(version), ours, replace }
            }
        };
        self.taking.insert(file, Taking { waiting: vec![waiter], offered, stored, placing: false });
        order(cx, job, Step::Take { file });
    }

    /// A file that was offered is here now.
    pub(super) fn on_taken(&mut self, cx: &mut Context, file: FileName, version: Version, written: bool) {
        if written {
            self.copies.insert(file, version);
        }
        self.hold(file, version, true);
        self.on_come(cx, file);
        let Some(taking) = self.taking.get_mut(&file) else { return };
        taking.placing = true;
        let stored = taking.stored;
        if let (Some((from, offered)), Some(custody)) = (taking.offered, self.custody.get_mut(&file))
            && offered == version
        {
            custody.at.insert(from, cx.now);
        }
        // A store is done when the replicas have the file too. They must not wait for theirs in turn.
        if stored {
            self.place(cx, file);
            self.end_placing(cx, file);
        } else {
            self.end_taking(cx, file, Ok(()));
            self.look_soon(cx);
        }
    }

    /// The last replica may have answered.
    pub(super) fn end_placing(&mut self, cx: &mut Context, file: FileName) {
        let done = self.taking.get(&file).is_some_and(|taking| taking.placing)
            && !self.handing.iter().any(|(handed, _)| *handed == file);
        if done {
            self.end_taking(cx, file, Ok(()));
        }
    }

    /// A file was taken over, or was not: those who wait are told, and the next offer of it has its turn.
    pub(super) fn end_taking(&mut self, cx: &mut Context, file: FileName, result: Result<(), &str>) {
        let Some(taking) = self.taking.remove(&file) else { return };
        self.on_come(cx, file);
        for waiter in taking.waiting {
            match (waiter, result) {
                (Waiter::Own(command), result) => self.on_stored_here(cx, command, result),
                (Waiter::Other { addr, magic }, Ok(())) => {
                    respond(cx, addr, magic, RingResponse::Noted { of: RingKind::Transfer });
                }
                (Waiter::Other { addr, magic }, Err(reason)) => {
                    let response = RingResponse::Refused { of: RingKind::Transfer, reason: reason.to_owned() };
                    respond(cx, addr, magic, response);
                }
            }
        }
        if let Some(at) = self.offers.iter().position(|offer| offer.2 == file)
            && let Some((from, magic, file, version)) = self.offers.remove(at)
        {
            self.on_transfer(cx, (from, magic), file, version);
        }
    }
}
