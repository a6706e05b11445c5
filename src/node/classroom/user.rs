//! What this peer's user asks about files: `store` and `request`.

use super::super::command::CommandId;
use super::super::context::{Context, LookupPurpose};
use super::super::job::{JobError, JobErrorKind, NamedJob};
use super::super::notice::{Answer, FailureKind, FileNews};
use super::super::piece::kind_of;
use super::file::{Transfer, Waiter};
use super::{Asker, Classroom, Errand, Handed, Handing, Own, Step, Why, order, tell};
use crate::id::Id;
use crate::overlay::RouteOutcome;
use crate::peer::Peer;
use crate::wire::ring::{FileName, RingResponse, Routed};

/// A requested file that its holder failed to send is asked for again this often: another peer may have it by then.
const TRIES: u8 = 2;

impl Classroom {
    /// `store`: first, what is there to give?
    pub(in super::super) fn store(cx: &mut Context, command: CommandId, file: FileName) {
        if Self::is_on(cx, command) {
            let own = Own { command, file, since: cx.now, version: None, tries: 0 };
            order(cx, NamedJob::Find { file }, Step::Give(own));
        }
    }

    /// `request`.
    pub(in super::super) fn request(cx: &mut Context, command: CommandId, file: FileName) {
        if Self::is_on(cx, command) {
            let own = Own { command, file, since: cx.now, version: None, tries: TRIES };
            cx.route(Routed::Request { file }, LookupPurpose::Named(Errand::Request(own)));
        }
    }

    fn is_on(cx: &mut Context, command: CommandId) -> bool {
        if !cx.config.named_files {
            cx.fail(command, FailureKind::Usage, "only peers of the classroom ring keep files by their names");
        }
        cx.config.named_files
    }

    pub(super) fn send_store(&mut self, cx: &mut Context, own: Own) {
        cx.route(Routed::Store { file: own.file }, LookupPurpose::Named(Errand::Store(own)));
    }

    /// What was sent to the peer responsible has come to an end.
    pub(in super::super) fn on_settled(&mut self, cx: &mut Context, errand: Errand, outcome: RouteOutcome) {
        let (Errand::Store(own) | Errand::Request(own)) = &errand;
        let own = *own;
        match outcome {
            RouteOutcome::Here => match errand {
                Errand::Store(_) => self.store_here(cx, own),
                Errand::Request(_) => {
                    order(
                        cx,
                        NamedJob::Find { file: own.file },
                        Step::Look { asker: Asker::Own(own), file: own.file, until: None },
                    );
                }
            },
            RouteOutcome::Answered { response: RingResponse::Refused { reason, .. }, .. } => {
                cx.fail(own.command, FailureKind::Other, format!("file {} was refused: {reason}", own.file));
            }
            RouteOutcome::Answered { from, response } => {
                let owner = cx.answerer.filter(|peer| peer.addr == from);
                match (errand, response, owner) {
                    (Errand::Store(_), RingResponse::Kept { .. }, Some(owner)) => {
                        let version = own.version.unwrap_or(super::serve::NOTHING);
                        cx.hand(Handing { file: own.file, why: Why::Store(own) }, version, owner);
                    }
                    (Errand::Request(_), RingResponse::File { place, .. }, Some(owner)) => match place.size {
                        Some(_) => Self::receive(cx, own, owner),
                        None => Self::nobody_has(cx, own),
                    },
                    _ => cx.fail(own.command, FailureKind::Other, format!("{from} answers, but not as a peer does")),
                }
            }
            RouteOutcome::Lost => {
                let reason = format!("no way led to the peer responsible for file {}; try again", own.file);
                cx.fail(own.command, FailureKind::TimedOut, reason);
            }
        }
    }

    /// This peer is responsible for what its user stores.
    fn store_here(&mut self, cx: &mut Context, own: Own) {
        tell(cx, own.file, FileNews::StoreAccepted { origin: cx.overlay.me() });
        self.stores.insert(own.command, own);
        let waiter = Waiter::User(own.command);
        match self.file(own.file).transfer() {
            Some(transfer) => {
                transfer.waiting.push(waiter);
                transfer.stored = true;
            }
            None => self.begin_transfer(cx, own.file, Transfer { waiting: vec![waiter], offered: None, stored: true }),
        }
    }

    /// The user's file is at this peer, where it belongs, and at its replicas.
    pub(super) fn on_stored_here(&mut self, cx: &mut Context, command: CommandId, result: Result<(), &str>) {
        let Some(own) = self.stores.remove(&command) else { return };
        let me = cx.overlay.me();
        let handed = result.map_or_else(|reason| Handed::Refused(reason.to_owned()), |()| Handed::Taken);
        Self::on_store_handed(cx, own, me, handed);
    }

    /// The peer responsible took the user's file, or did not.
    pub(super) fn on_store_handed(cx: &mut Context, own: Own, at: Peer, handed: Handed) {
        let Own { command, file, since, version, .. } = own;
        match handed {
            Handed::Taken => {
                let (bytes, took) = (version.map(|version| version.size), cx.now.since(since));
                cx.answer(command, Answer::FileStored { file, at, bytes, took });
            }
            Handed::Refused(reason) => {
                cx.fail(command, FailureKind::Other, format!("file {file} was not stored: {reason}"));
            }
            Handed::Silent(reason) => {
                let reason = format!("file {file} was not stored, the peer responsible went silent ({reason})");
                cx.fail(command, FailureKind::TimedOut, reason);
            }
        }
    }

    /// A peer has the requested file.
    pub(super) fn receive(cx: &mut Context, own: Own, from: Peer) {
        tell(cx, own.file, FileNews::Receiving { from });
        let port = cx.overlay.me().addr.port();
        order(cx, NamedJob::Receive { file: own.file, from: from.addr, port }, Step::Receive { own, from });
    }

    pub(super) fn on_received(cx: &mut Context, own: Own, from: Peer, bytes: u64, sha256: Id) {
        let Own { command, file, since, .. } = own;
        tell(cx, file, FileNews::Received { from });
        cx.answer(command, Answer::FileReceived { file, from, bytes, sha256, took: cx.now.since(since) });
    }

    /// Whoever had the requested file could not send it: another peer may.
    pub(super) fn on_not_received(&mut self, cx: &mut Context, own: Own, error: &JobError) {
        let elsewhere = !matches!(error.kind, JobErrorKind::Full | JobErrorKind::Io | JobErrorKind::Cancelled);
        if own.tries > 0 && elsewhere {
            log::warn!("file {} did not come ({error}); it is requested again", own.file);
            let again = Own { tries: own.tries - 1, ..own };
            return cx.route(Routed::Request { file: own.file }, LookupPurpose::Named(Errand::Request(again)));
        }
        Self::fail(cx, own, error);
    }

    pub(super) fn fail(cx: &mut Context, own: Own, error: &JobError) {
        let kind = kind_of(error);
        cx.fail(own.command, kind, format!("file {}: {error}", own.file));
    }

    pub(super) fn nobody_has(cx: &mut Context, own: Own) {
        let reason = format!("file {} was not found: no peer of this ring has it", own.file);
        cx.fail(own.command, FailureKind::NotFound, reason);
    }
}
