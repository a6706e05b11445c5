//! What this peer holds for the ring, and who else should.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::file::{LastSaid, NamedFile};
use super::{Classroom, ClassroomDeparture, JobFor, STRANGERS, TOLD_GOODBYE, TransferEnd, TransferFor, UNREADY};
use crate::config::{FILE_COPIES, REPAIR_RETRY};
use crate::name::FileName;
use crate::node::desk::Desk;
use crate::node::job::{NamedJob, Version};
use crate::node::trouble::Trouble;
use crate::overlay::Target;
use crate::peer::Peer;
use crate::time::Time;

/// The first peers behind a file's key, until so many of them count. Those that do not are among them, and others have
/// their places: those that refused it and, for a peer that is `leaving`, itself and those that are late.
fn keepers(desk: &Desk, (file, state): (FileName, &NamedFile), copies: usize, leaving: bool) -> Vec<Peer> {
    let stays = |peer: &Peer| !(leaving && (desk.is_me(peer) || state.is_late(&peer.addr)));
    let counts = |peer: &Peer| !state.is_refused_by(peer, desk.now()) && stays(peer);
    let mut set = desk.replica_set(&file.key(), usize::MAX);
    let last = set.iter().enumerate().filter(|(_, peer)| counts(peer)).map(|(at, _)| at).nth(copies - 1);
    set.truncate(last.map_or(set.len(), |last| last + 1));
    set
}

impl Classroom {
    /// The directory was looked through, as was `ordered` at some time: what is there, and of that what is the ring's.
    pub(super) fn on_scanned(&mut self, desk: &mut Desk, ordered: Time, files: Vec<(FileName, Version)>) {
        let mut there: BTreeMap<FileName, Version> = files.into_iter().collect();
        for (file, state) in &mut self.files {
            if let Some(version) = state.after_look(ordered, there.get(file).copied()) {
                there.insert(*file, version);
            }
        }
        let me = desk.me().id;
        for (file, version) in there {
            let owner = desk.replica_set(&file.key(), 1);
            let mine = self.before > 0 && owner.first().is_some_and(|peer| peer.id == me);
            let held = self.files.get(&file).is_some_and(|state| state.holding.is_some());
            let forsaken = self.files.get(&file).is_some_and(|state| state.is_forsaken(version));
            if held || mine || forsaken {
                self.file(file).hold(ordered, version, forsaken);
            }
        }
        self.place_all(desk);
    }

    /// Offers what is held here to those that should hold it, once the directory was looked through, or could not be.
    pub(super) fn place_all(&mut self, desk: &mut Desk) {
        let held: Vec<FileName> = self.kept().map(|(file, _)| file).collect();
        for file in held {
            self.place(desk, file);
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.looked = true;
        }
    }

    /// Offers a file that is held here to each peer that should hold it. Once they have answered and not all refused,
    /// and this one should not hold it, it is no longer this one's to look after.
    pub(super) fn place(&mut self, desk: &mut Desk, file: FileName) {
        let Some(state) = self.files.get_mut(&file) else { return };
        let only_here = state.is_only_here();
        let Some(holding) = &state.holding else { return };
        let me = desk.me().id;
        let copies = if holding.stored { FILE_COPIES } else { 1 };
        let mut set = keepers(desk, (file, state), copies, self.leaving.is_some());
        let mine = set.iter().any(|peer| peer.id == me) && self.leaving.is_none();
        set.retain(|peer| peer.id != me);
        let trusted = |peer: &Peer| holding.at.get(&peer.addr).is_some_and(|word| word.counts(desk.now()));
        let missing: Vec<Peer> = set.into_iter().filter(|peer| !trusted(peer)).collect();
        let version = holding.version;
        if missing.is_empty() && !only_here && !mine && self.before > 0 && self.leaving.is_none() {
            state.let_go();
        }
        let new: Vec<Peer> = missing.into_iter().filter(|peer| !state.asked.contains_key(&peer.addr)).collect();
        state.asked.extend(new.iter().map(|peer| (peer.addr, false)));
        for peer in new {
            self.hand(desk, TransferFor::Place(file), file, version, peer);
        }
    }

    /// A peer took a file, or did not. If it refuses it, the next one's turn has come.
    pub(super) fn on_handed(&mut self, desk: &mut Desk, handing: TransferFor, to: Target, handed: TransferEnd) {
        let Some(to) = to.peer() else { return };
        let file = match handing {
            TransferFor::Store(own) => return self.on_store_handed(desk, own, to, handed),
            TransferFor::Place(file) => file,
        };
        self.file(file).asked.remove(&to.addr);
        if let TransferEnd::Refused(reason) | TransferEnd::Unready(reason) | TransferEnd::Silent(reason) = &handed {
            desk.trouble(Trouble::FileNotTaken { file, to, reason: reason.clone() });
        }
        let (now, soon, again) = (desk.now(), desk.now() + UNREADY, desk.now() + REPAIR_RETRY);
        let has = matches!(handed, TransferEnd::Taken);
        match (handed, &mut self.leaving) {
            // A peer that leaves does not wait for silent ones.
            (TransferEnd::Taken | TransferEnd::Refused(_), _) | (TransferEnd::Silent(_), Some(_)) => {
                let state = self.file(file);
                if let Some(holding) = &mut state.holding {
                    holding.at.insert(to.addr, LastSaid::now(now, has));
                }
                // A peer that leaves has done enough once another one has the file.
                if !has && (state.is_without_taker() || self.leaving.is_none()) {
                    self.place(desk, file);
                }
            }
            (TransferEnd::Unready(_), Some(leaving)) => leaving.again = leaving.again.or(Some(soon)),
            (TransferEnd::Unready(_) | TransferEnd::Silent(_), None) => {
                self.look_at(desk, again);
            }
        }
        self.end_replicating(desk, file);
    }

    /// Whether one of the other peers that should hold a file has it.
    pub(super) fn is_replicated(&self, desk: &Desk, file: FileName) -> bool {
        let Some(state) = self.files.get(&file) else { return false };
        let set = keepers(desk, (file, state), FILE_COPIES, self.leaving.is_some());
        set.iter().any(|peer| state.is_at(&peer.addr))
    }

    /// A peer that was offered something is silent, or no connection reaches it: what another one has does not wait for
    /// it. A peer that leaves offers what none has to the next one.
    pub(super) fn on_late(&mut self, desk: &mut Desk, late: SocketAddr) {
        let asked = self.files.iter().filter(|(_, state)| state.asked.contains_key(&late)).map(|(&file, _)| file);
        for file in asked.collect::<Vec<_>>() {
            let state = self.file(file);
            state.asked.insert(late, true);
            if state.is_without_taker() && self.leaving.is_some() {
                self.place(desk, file);
            }
            self.end_replicating(desk, file);
        }
    }

    /// Offers again what no peer was ready to take from a peer that leaves: others may have missed it for a while, and
    /// take a file from it once they know it again.
    pub(super) fn offer_again(&mut self, desk: &mut Desk) {
        let Some(leaving) = self.leaving.as_mut().filter(|leaving| leaving.again.is_some_and(|at| at <= desk.now()))
        else {
            return;
        };
        leaving.again = None;
        let alone: Vec<FileName> =
            self.files.iter().filter(|(_, state)| state.is_only_here()).map(|(&file, _)| file).collect();
        for file in alone {
            self.place(desk, file);
        }
    }

    /// Begins to leave; what is held here is given into good hands first.
    pub(super) fn leave(&mut self, desk: &mut Desk) {
        let deadline = desk.now() + desk.config().handover_limit;
        let before = desk.peers().len().min(TOLD_GOODBYE);
        let strangers_until = if self.before >= before { desk.now() } else { desk.now() + STRANGERS };
        self.leaving = Some(ClassroomDeparture { deadline, before, strangers_until, looked: false, again: None });
        self.order(desk, NamedJob::Scan, JobFor::Scan);
    }
}
