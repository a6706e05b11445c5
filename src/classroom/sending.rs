//! Files that are sent to peers whose users requested them.
//!
//! A peer that quits sends on what moves: a receiver would have to begin anew at another peer. It waits no longer than
//! its departure may take at most, and not for a receiver that takes nothing, whose connection ends before.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Classroom, tell};
use crate::name::FileName;
use crate::node::desk::Desk;
use crate::node::notice::FileNews;
use crate::peer::Peer;
use crate::time::Time;

/// Peers that a file is about to be sent to.
const MAX_SERVING: usize = 1024;

/// A peer that was told where the file is comes for it within this time, or will not.
const COMES_WITHIN: Duration = Duration::from_secs(2);

/// How far the sending of a file has come.
enum SendingStage {
    /// The receiver was told that the file is here, and may come for it until then.
    Announced(Time),
    Moving,
    /// All has been sent but the last line, without which the receiver counts nothing.
    Sent,
    BrokenOff,
}

/// A file that is about to be sent, and to whom.
pub(super) struct Sending {
    file: FileName,
    to: Peer,
    stage: SendingStage,
}

impl Sending {
    fn is_of(&self, file: FileName, by: &SocketAddr) -> bool {
        self.file == file && self.to.addr.port() == by.port()
    }

    /// Until when the receiver may come for the file.
    pub(super) const fn comes_until(&self) -> Option<Time> {
        match self.stage {
            SendingStage::Announced(until) => Some(until),
            _ => None,
        }
    }

    /// Whether a peer that leaves waits for its end.
    pub(super) fn detains(&self, now: Time) -> bool {
        matches!(self.stage, SendingStage::Moving | SendingStage::Sent)
            || self.comes_until().is_some_and(|until| now < until)
    }
}

impl Classroom {
    /// A peer, or this peer's user, is told that a file is here.
    pub(super) fn announce(&mut self, desk: &mut Desk, file: FileName, to: Peer) {
        tell(desk, file, FileNews::Sending { to });
        if self.serving.len() == MAX_SERVING {
            self.serving.pop_front();
        }
        self.serving.push_back(Sending { file, to, stage: SendingStage::Announced(desk.now() + COMES_WITHIN) });
    }

    /// A peer comes for a file, or its connection has ended. One that was not told here that this peer has it could not
    /// fetch it from the peer responsible: this peer's user hears of it as well.
    pub(super) fn on_fetching(&mut self, desk: &mut Desk, file: FileName, by: SocketAddr, goes_on: bool) {
        self.serving.retain(|one| !(one.is_of(file, &by) && matches!(one.stage, SendingStage::Sent)));
        let known = desk.peers().into_iter().find(|peer| peer.addr == by);
        if let Some(to) = known.filter(|_| goes_on && !self.serving.iter().any(|one| one.is_of(file, &by))) {
            tell(desk, file, FileNews::StoredHere);
            self.announce(desk, file, to);
        }
        let stage = || if goes_on { SendingStage::Moving } else { SendingStage::BrokenOff };
        self.serving.iter_mut().filter(|one| one.is_of(file, &by)).for_each(|one| one.stage = stage());
    }

    /// A file was sent to its end to a peer whose user asked for it.
    pub(super) fn on_fetched(&mut self, desk: &mut Desk, file: FileName, by: SocketAddr) {
        let is_sent = |one: &Sending| one.is_of(file, &by) && !matches!(one.stage, SendingStage::Sent);
        let Some(at) = self.serving.iter().position(is_sent) else { return };
        let Some(sending) = self.serving.get_mut(at) else { return };
        tell(desk, file, FileNews::Sent { to: sending.to });
        if matches!(sending.stage, SendingStage::Moving) {
            sending.stage = SendingStage::Sent;
        } else {
            self.serving.remove(at);
        }
    }
}
