//! What this peer's user asks about files: `store` and `request`.

use std::collections::BTreeMap;

use super::file::{Holding, LastSaid, TransferWaiter};
use super::{Awaited, Classroom, JobFor, Requester, RoutedFor, TransferEnd, TransferFor, UserCommand, tell};
use crate::config::FILE_COPIES;
use crate::id::Id;
use crate::name::FileName;
use crate::node::command::CommandId;
use crate::node::desk::Desk;
use crate::node::job::{JobError, JobErrorKind, NamedJob, Version};
use crate::node::notice::{Answer, FailureKind, FileNews};
use crate::node::trouble::Trouble;
use crate::overlay::{Goal, RouteOutcome};
use crate::patience;
use crate::peer::Peer;
use crate::wire::ring::{RingResponse, Routed};

impl Classroom {
    /// `store`: first, what is there to give?
    pub(super) fn store(&mut self, desk: &mut Desk, command: CommandId, file: FileName) {
        let own = UserCommand { command, file, since: desk.now(), version: None, tries: 0, failed: None };
        self.order(desk, NamedJob::Find { file }, JobFor::Give(own));
    }

    /// `request`.
    pub(super) fn request(&mut self, desk: &mut Desk, command: CommandId, file: FileName) {
        let tries = patience::FILE_REQUESTS;
        let own = UserCommand { command, file, since: desk.now(), version: None, tries, failed: None };
        self.route(desk, Routed::Request { file }, RoutedFor::Request(own));
    }

    pub(super) fn send_store(&mut self, desk: &mut Desk, own: UserCommand) {
        self.route(desk, Routed::Store { file: own.file }, RoutedFor::Store(own));
    }

    /// What was sent to the peer responsible has come to an end.
    pub(super) fn on_route_ended(&mut self, desk: &mut Desk, routed: RoutedFor, outcome: RouteOutcome) {
        let (RoutedFor::Store(own) | RoutedFor::Request(own)) = &routed;
        let own = *own;
        match outcome {
            RouteOutcome::Here => match routed {
                RoutedFor::Store(_) => self.store_here(desk, own),
                RoutedFor::Request(_) => {
                    let (requester, file) = (Requester::Own(own), own.file);
                    self.order(desk, NamedJob::Find { file }, JobFor::Look { requester, file, until: None });
                }
            },
            RouteOutcome::Answered { response: RingResponse::Refused { reason, .. }, .. } => {
                desk.fail(own.command, FailureKind::Other, format!("file {} was refused: {reason}", own.file));
            }
            RouteOutcome::Answered { from, by, response } => match (routed, response, by) {
                (RoutedFor::Store(_), RingResponse::Kept { .. }, Some(owner)) => {
                    let version = own.version.unwrap_or(super::serve::NOTHING);
                    self.hand(desk, TransferFor::Store(own), own.file, version, owner);
                }
                (RoutedFor::Request(_), RingResponse::File { place, .. }, Some(owner)) => match place.size {
                    Some(_) => self.receive(desk, own, owner),
                    None => Self::nobody_has(desk, own),
                },
                _ => desk.fail(own.command, FailureKind::Other, format!("{from} answers, but not as a peer does")),
            },
            RouteOutcome::Lost => {
                let reason = format!("no way led to the peer responsible for file {}; try again", own.file);
                desk.fail(own.command, FailureKind::TimedOut, reason);
            }
        }
    }

    /// This peer is responsible for what its user stores.
    fn store_here(&mut self, desk: &mut Desk, own: UserCommand) {
        tell(desk, own.file, FileNews::StoreAccepted { origin: desk.me() });
        self.stores.insert(own.command, own);
        self.keep_here(desk, own.file, TransferWaiter::User(own.command));
    }

    /// The user's file is at this peer, where it belongs, and its replicas have answered; or it did not come.
    pub(super) fn on_stored_here(&mut self, desk: &mut Desk, command: CommandId, handed: TransferEnd) {
        let Some(own) = self.stores.remove(&command) else { return };
        let me = desk.me();
        self.on_store_handed(desk, own, me, handed);
    }

    /// The peer responsible took the user's file, or did not.
    pub(super) fn on_store_handed(&mut self, desk: &mut Desk, own: UserCommand, at: Peer, handed: TransferEnd) {
        let UserCommand { command, file, since, version, .. } = own;
        match handed {
            TransferEnd::Taken => {
                let word = (at.addr, LastSaid::now(desk.now(), true));
                let others = Some(word).filter(|_| !desk.is_me(&at));
                let seen = desk.now();
                let given = |version| Holding { version, seen, stored: true, at: BTreeMap::from_iter(others) };
                self.file(file).own = version.map(given);
                let (bytes, took) = (version.map(|version| version.size), desk.now().since(since));
                desk.answer(command, Answer::FileStored { file, at, bytes, took });
            }
            TransferEnd::Refused(reason) => {
                desk.fail(command, FailureKind::Other, format!("file {file} was not stored: {reason}"));
            }
            TransferEnd::Unready(reason) => {
                // The connection breaks, too, where the file changed while it was sent.
                self.order(desk, NamedJob::Find { file }, JobFor::Compare { own, reason });
            }
            TransferEnd::Silent(reason) => {
                let reason = format!("file {file} was not stored, the peer responsible went silent ({reason})");
                desk.fail(command, FailureKind::TimedOut, reason);
            }
        }
    }

    /// A peer has the requested file.
    pub(super) fn receive(&mut self, desk: &mut Desk, own: UserCommand, from: Peer) {
        tell(desk, own.file, FileNews::Receiving { from });
        self.fetch(desk, own, from, true);
    }

    /// Fetches the requested file from a peer that `says` that it has it, or that should.
    fn fetch(&mut self, desk: &mut Desk, own: UserCommand, from: Peer, says: bool) {
        let port = desk.me().addr.port();
        let job = NamedJob::Receive { file: own.file, from: from.addr, port };
        self.order(desk, job, JobFor::Receive { own, from, says });
    }

    pub(super) fn on_received(desk: &mut Desk, own: UserCommand, (from, said): (Peer, bool), bytes: u64, sha256: Id) {
        let UserCommand { command, file, since, .. } = own;
        if !said {
            tell(desk, file, FileNews::Receiving { from });
        }
        tell(desk, file, FileNews::Received { from });
        desk.answer(command, Answer::FileReceived { file, from, bytes, sha256, took: desk.now().since(since) });
    }

    /// The peer that had the requested file could not send it: another peer may. Where no connection to it comes about,
    /// or it is silent, that would be the next time as well: those after it have the file too.
    pub(super) fn on_not_received(&mut self, desk: &mut Desk, own: UserCommand, from: Peer, error: &JobError) {
        let elsewhere =
            !matches!(error.kind, JobErrorKind::Full | JobErrorKind::Io | JobErrorKind::Busy | JobErrorKind::Cancelled);
        if own.tries > 0 && elsewhere {
            desk.trouble(Trouble::FileRequestedAgain { file: own.file, reason: error.to_string() });
            let silent = matches!(error.kind, JobErrorKind::Unreachable | JobErrorKind::TimedOut);
            let again = UserCommand { tries: own.tries - 1, failed: own.failed.or(silent.then_some(from)), ..own };
            if silent {
                let ticket = self.ticket(Awaited::Replicas(again, from));
                desk.look_up(ticket, own.file.key(), Goal::Peers);
                return;
            }
            return self.route(desk, Routed::Request { file: own.file }, RoutedFor::Request(again));
        }
        Self::fail(desk, own, error);
    }

    /// The peers that should have the file are known, the one responsible first: the one after who failed is asked for
    /// it.
    pub(super) fn on_replicas(&mut self, desk: &mut Desk, own: UserCommand, failed: Peer, peers: &[Peer]) {
        let next = peers.iter().position(|peer| *peer == failed).map_or(0, |at| at + 1);
        let others = peers.iter().take(FILE_COPIES).skip(next);
        match others.copied().find(|peer| !desk.is_me(peer)) {
            Some(peer) => self.fetch(desk, own, peer, false),
            None => self.route(desk, Routed::Request { file: own.file }, RoutedFor::Request(own)),
        }
    }

    pub(super) fn fail(desk: &mut Desk, own: UserCommand, error: &JobError) {
        let kind = FailureKind::from(error);
        desk.fail(own.command, kind, format!("file {}: {error}", own.file));
    }

    /// A store failed, and this version lies here since.
    pub(super) fn on_compared(desk: &mut Desk, own: UserCommand, here: Option<Version>, reason: &str) {
        let file = own.file;
        if here != own.version {
            let reason = format!("file {file} changed while it was being stored; store it again");
            return desk.fail(own.command, FailureKind::Integrity, reason);
        }
        let reason = format!("file {file} was not stored, the peer responsible cannot take it now: {reason}");
        desk.fail(own.command, FailureKind::Other, reason);
    }

    pub(super) fn nobody_has(desk: &mut Desk, own: UserCommand) {
        if let Some(peer) = own.failed {
            let reason = format!(
                "file {} cannot be had now: Peer {} has it and went silent; try again",
                own.file,
                peer.id.numeral()
            );
            return desk.fail(own.command, FailureKind::TimedOut, reason);
        }
        let reason = format!("file {} was not found: no peer of this ring has it", own.file);
        desk.fail(own.command, FailureKind::NotFound, reason);
    }
}
