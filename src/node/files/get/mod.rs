//! Retrieving a file: walk its tree, find holders, fetch, verify, put in place.
//!
//! The file's tree is walked ahead of the blocks; a window of pieces (tree nodes and blocks) is fetched at a time, each
//! from whichever holder is known first, several peers at once. A holder that is dead, slow, or lying costs one piece's
//! retry from another, and is asked last for the others. A fetch that takes far longer than the usual is joined by a
//! second one from another holder; the first to come wins. Where there is no place for a second, it takes the first's.
//! Where the first is sent, and nothing tells that others would be faster, it may be the way here that is slow: then a
//! second is tried for a moment, for one piece at a time, and left where it is no faster.
//! Blocks go straight to their place in a temporary file that becomes the destination only when all are there; what an
//! interrupted run left in it is checked and kept.
//!
//! What stands at the destination already is a matter of `place.rs`, how much is fetched at a time one of `speed.rs`.

mod around;
mod ending;
mod place;
mod speed;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) use around::Around;
use ending::RetrieveTotal;
use place::Mode;
use speed::Trials;
use wanted::Retrieval;

use super::piece::{Doubts, Piece, PieceKind, did_our_disk_fail};
use super::task::{Task, Tasks};
use super::{Flow, GOES_ON};
use crate::file::tree::{self, TreeWalk};
use crate::id::Id;
use crate::node::command::{Command, CommandId, Source};
use crate::node::desk::Desk;
use crate::node::job::{GetId, Holder, Job, JobErrorKind, JobId, Outcome, Slot};
use crate::node::jobs::Urgency;
use crate::node::notice::{FailureKind, Progress};
use crate::node::pace::Pace;
use crate::node::part::{About, Found, Owner, Reply, Ticket};
use crate::node::smoothed::Smoothed;
use crate::overlay::Goal;
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;

/// Files on their way out of the network.
pub(in crate::node) type Gets = Tasks<Get>;

/// A file on its way out of the network.
pub(in crate::node) struct Get {
    id: GetId,
    command: CommandId,
    wanted: Retrieval,
    dest: PathBuf,
    /// Whether another file at `dest` may be replaced.
    replace: bool,
    since: Time,
    stage: RetrieveStage,
    pieces: BTreeMap<u64, Piece>,
    next_piece: u64,
    pace: Pace,
    /// The usual time in which a block comes, small ones included, which tell the pace nothing.
    usual: Smoothed,
    trials: Trials,
    doubts: Doubts,
    total: RetrieveTotal,
    holders: BTreeSet<SocketAddr>,
}

/// Where the retrieve stands.
enum RetrieveStage {
    /// The root (a manifest in the network, or a local one) is being read.
    Root,
    /// The temporary file is being opened.
    Opening { walk: Box<TreeWalk> },
    /// Pieces are being checked and fetched.
    Walking { walk: Box<TreeWalk>, mode: Mode },
    /// Everything is in place; the file gets its name.
    Finishing,
}

impl Task for Get {
    fn begin(desk: &mut Desk, id: CommandId, command: Command) -> Option<Self> {
        let (wanted, dest, replace) = Retrieval::of(command)?;
        let mut get = Self {
            id: desk.next_transfer(),
            command: id,
            wanted,
            dest,
            replace,
            since: desk.now(),
            stage: RetrieveStage::Root,
            pieces: BTreeMap::new(),
            next_piece: 0,
            pace: Pace::new(desk.config().window),
            usual: Smoothed::default(),
            trials: Trials::default(),
            doubts: Doubts::default(),
            total: RetrieveTotal::default(),
            holders: BTreeSet::new(),
        };
        match &get.wanted {
            &Retrieval::Block(entry) => drop(get.open(desk, TreeWalk::flat(vec![entry]), entry.key, entry.size, None)),
            Retrieval::File(Source::Manifest(path)) => get.order(desk, Job::ReadManifest { path: path.clone() }),
            &(Retrieval::File(Source::Key(key)) | Retrieval::Listing(key) | Retrieval::Manifest(key)) => {
                get.begin(desk, PieceKind::Node { key });
            }
        }
        Some(get)
    }

    fn command(&self) -> CommandId {
        self.command
    }

    fn number(&self) -> u64 {
        self.id
    }

    fn on(&mut self, desk: &mut Desk, about: About, reply: Reply) -> Flow {
        match (about, reply) {
            (About::Piece(piece), Reply::Holder(peer)) => {
                self.on_holder(desk, piece, peer);
                GOES_ON
            }
            (About::Piece(piece), Reply::Found(found)) => self.on_found(desk, piece, &found),
            (About::Piece(piece), Reply::Done { job, outcome }) => self.on_piece(desk, piece, job, outcome),
            (About::Around(piece), reply) => self.on_around(desk, piece, reply),
            (_, Reply::Done { outcome, .. }) => self.on_step(desk, outcome),
            _ => GOES_ON,
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) -> Flow {
        self.hedge_the_slow(desk);
        GOES_ON
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        self.next_look(desk)
    }

    fn end(&mut self, desk: &mut Desk, kind: FailureKind, reason: &str) -> Flow {
        self.give_up(desk, kind, reason.to_owned())
    }
}

impl Get {
    fn order(&self, desk: &mut Desk, work: Job) {
        desk.order(Ticket::of(Owner::Gets, self.id), work, Urgency::Own);
    }

    /// What comes back about one of its pieces.
    fn ticket(&self, piece: u64) -> Ticket {
        Ticket { about: About::Piece(piece), ..Ticket::of(Owner::Gets, self.id) }
    }

    /// A step of the whole file is done: its local manifest is read, its temporary file open, its name given.
    fn on_step(&mut self, desk: &mut Desk, outcome: Outcome) -> Flow {
        match (std::mem::replace(&mut self.stage, RetrieveStage::Root), outcome) {
            (RetrieveStage::Root, Outcome::Manifest { entries, root, sha256 }) => {
                let size = entries.iter().map(|entry| entry.size).sum();
                self.total.incomplete = sha256.is_none();
                self.open(desk, TreeWalk::flat(entries), root, size, sha256)
            }
            (RetrieveStage::Opening { walk }, Outcome::Opened { resumed }) => {
                let mode = if resumed { Mode::Resuming } else { Mode::Fetching };
                self.stage = RetrieveStage::Walking { walk, mode };
                self.go_on(desk)
            }
            (RetrieveStage::Opening { walk }, Outcome::Standing) => {
                self.stage = RetrieveStage::Walking { mode: Mode::Comparing { again: walk.clone() }, walk };
                self.go_on(desk)
            }
            (RetrieveStage::Opening { .. }, Outcome::Done) => self.on_whole(desk),
            (RetrieveStage::Finishing, Outcome::Done) => self.succeed(desk, false),
            (_, Outcome::Failed(error)) => self.give_up(desk, FailureKind::from(&error), error.reason),
            (_, outcome) => {
                debug_assert!(false, "no step of a retrieve ends with {outcome:?}");
                GOES_ON
            }
        }
    }

    /// The SHA-256 that the file is to be checked for in the end. A key vouches for the one in its root; a local
    /// manifest's is no better than the manifest.
    fn promised(&self) -> Option<Id> {
        self.total.sha256.filter(|_| matches!(self.wanted, Retrieval::File(Source::Manifest(_))))
    }

    /// Takes as many pieces of the tree into work as the window and the pace allow, those first that were put aside.
    fn go_on(&mut self, desk: &mut Desk) -> Flow {
        while self.has_room()
            && let Some((&id, piece)) = self.pieces.iter_mut().find(|(_, piece)| piece.parked)
        {
            piece.parked = false;
            self.seek_on(desk, id)?;
        }
        while self.pieces.len() < desk.config().window && self.has_room() {
            let RetrieveStage::Walking { walk, mode } = &mut self.stage else { return GOES_ON };
            let checking = !matches!(mode, Mode::Fetching);
            let comparing = matches!(mode, Mode::Comparing { .. });
            match walk.next_step() {
                tree::Stop::Slot { key, size, offset } => {
                    let slot = Slot { key, size, offset };
                    self.begin(desk, PieceKind::Block { slot, checking });
                }
                tree::Stop::Need { key } => self.begin(desk, PieceKind::Node { key }),
                tree::Stop::Wait => return GOES_ON,
                tree::Stop::Done if self.pieces.is_empty() && comparing => return self.succeed(desk, true),
                tree::Stop::Done if self.pieces.is_empty() => {
                    self.stage = RetrieveStage::Finishing;
                    self.order(desk, Job::Finish { get: self.id, sha256: self.promised() });
                    return GOES_ON;
                }
                tree::Stop::Done => return GOES_ON,
            }
        }
        GOES_ON
    }

    /// Starts on a piece: is it here already, does this peer hold it, who else does?
    fn begin(&mut self, desk: &mut Desk, what: PieceKind) {
        let id = self.next_piece;
        self.next_piece += 1;
        self.pieces.insert(id, Piece::new(what));
        if let PieceKind::Block { slot, checking: true } = what {
            desk.order(self.ticket(id), Job::Check { get: self.id, slot }, Urgency::Own);
        } else {
            self.seek(desk, id);
        }
    }

    fn seek(&mut self, desk: &mut Desk, id: u64) {
        let ticket = self.ticket(id);
        let Some(piece) = self.pieces.get_mut(&id) else { return };
        let key = piece.what.key();
        if desk.holds(&key) && !piece.tried_own {
            piece.tried_own = true;
            return self.fetch(desk, id, Holder::Own);
        }
        piece.rounds += 1;
        let goal = if piece.rounds == 1 { Goal::Holders } else { Goal::MoreHolders };
        piece.lookup = Some(desk.look_up(ticket, key, goal));
        self.look_around(desk, id);
    }

    fn fetch(&mut self, desk: &mut Desk, id: u64, from: Holder) {
        let ticket = self.ticket(id);
        let Some(piece) = self.pieces.get_mut(&id) else { return };
        let work = match piece.what {
            PieceKind::Node { key } => Job::Unpack { key, from },
            PieceKind::Block { slot, .. } => Job::Fetch { get: self.id, slot, from },
        };
        let job = desk.order(ticket, work, Urgency::Own);
        piece.running.insert(job, (from, desk.now()));
    }

    /// A peer says it holds a piece.
    fn on_holder(&mut self, desk: &mut Desk, id: u64, peer: Peer) {
        let me = desk.is_me(&peer);
        let Some(piece) = self.pieces.get_mut(&id) else { return };
        if me || piece.tried.contains_key(&peer.addr) || piece.known.iter().any(|known| known.addr == peer.addr) {
            return;
        }
        piece.known.push_back(peer);
        // A doubted peer gets its chance when it is clear that nobody else has it.
        if piece.running.is_empty() && !piece.parked && self.doubts.of(&peer.addr) == 0 {
            self.fetch_from_next(desk, id);
        }
    }

    /// Starts a fetch from the next known holder. Whether there was one.
    fn fetch_from_next(&mut self, desk: &mut Desk, id: u64) -> bool {
        let Some(piece) = self.pieces.get_mut(&id) else { return false };
        let Some(peer) = piece.take_holder(&self.doubts) else { return false };
        piece.tried.insert(peer.addr, peer);
        self.fetch(desk, id, Holder::Peer(peer.addr));
        true
    }

    /// No more holders of a piece will turn up in this round.
    fn on_found(&mut self, desk: &mut Desk, id: u64, found: &Found) -> Flow {
        if let Some(piece) = self.pieces.get_mut(&id) {
            piece.lookup = None;
            piece.silent.clone_from(&found.unreached);
            piece.answered = found.peers.iter().filter(|peer| !desk.is_me(peer)).count();
        }
        self.seek_on(desk, id)
    }

    /// A job of a piece is done.
    fn on_piece(&mut self, desk: &mut Desk, id: u64, job: JobId, outcome: Outcome) -> Flow {
        let comparing = self.is_comparing();
        let Some(piece) = self.pieces.get_mut(&id) else { return GOES_ON };
        let fetched = piece.running.remove(&job);
        match outcome {
            Outcome::Checked { good: true } => {
                if let PieceKind::Block { slot, .. } = piece.what {
                    self.total.resumed += u64::from(slot.size);
                }
                self.complete(desk, id)
            }
            Outcome::Checked { good: false } if comparing => self.on_difference(desk),
            Outcome::Checked { good: false } => {
                self.seek(desk, id);
                GOES_ON
            }
            Outcome::Fetched => {
                let what = piece.what;
                self.credit(desk, what, fetched);
                self.complete(desk, id)
            }
            Outcome::Unpacked { manifest } => {
                let what = piece.what;
                self.credit(desk, what, fetched);
                self.drop_piece(desk, id);
                self.on_node(desk, manifest)
            }
            Outcome::NotManifest { size } => self.on_bare_block(desk, id, size),
            // What stands there cannot be read, so nobody can say that it is the file.
            Outcome::Failed(_) if comparing && matches!(piece.what, PieceKind::Block { .. }) => {
                self.on_difference(desk)
            }
            Outcome::Failed(error) if did_our_disk_fail(&error, fetched) => {
                self.give_up(desk, FailureKind::Other, error.reason)
            }
            Outcome::Failed(error) => {
                if error.kind != JobErrorKind::Cancelled {
                    if let Some((holder, since)) = fetched {
                        // That this peer lacks descriptors is held against no holder.
                        if error.kind != JobErrorKind::Busy {
                            self.doubts.add(&holder);
                        }
                        self.pace.on_given_up(desk.now(), since);
                    }
                    let key = piece.what.key();
                    desk.progress(self.command, Progress::Retried { key, reason: error.reason.clone() });
                    piece.note_trouble(error);
                }
                self.seek_on(desk, id)
            }
            outcome => {
                debug_assert!(false, "no piece ends with {outcome:?}");
                GOES_ON
            }
        }
    }

    /// A piece is in its place.
    fn complete(&mut self, desk: &mut Desk, id: u64) -> Flow {
        if let Some(PieceKind::Block { slot, .. }) = self.pieces.get(&id).map(|piece| piece.what) {
            self.total.moved += u64::from(slot.size);
            self.total.blocks += 1;
            let RetrieveTotal { moved, resumed, .. } = self.total;
            desk.progress(self.command, Progress::Moved { bytes: moved, resumed });
        }
        self.drop_piece(desk, id);
        self.go_on(desk)
    }

    fn drop_piece(&mut self, desk: &mut Desk, id: u64) {
        let Some(piece) = self.pieces.remove(&id) else { return };
        piece.lookup.into_iter().chain(piece.around.lookups).for_each(|lookup| desk.cancel_lookup(Some(lookup)));
        piece.running.into_keys().for_each(|job| desk.cancel_job(job));
    }

    fn drop_pieces(&mut self, desk: &mut Desk) {
        let ids: Vec<u64> = self.pieces.keys().copied().collect();
        ids.into_iter().for_each(|id| self.drop_piece(desk, id));
    }

    /// Goes on with a piece that nobody sends: the next holder, another look, or the end.
    fn seek_on(&mut self, desk: &mut Desk, id: u64) -> Flow {
        let under_way = self.under_way();
        let Some(piece) = self.pieces.get_mut(&id) else { return GOES_ON };
        if piece.running.is_empty() && !self.pace.admits(under_way - piece.weight(), piece.weight()) {
            // More is under way than the way here carries.
            piece.parked = true;
            return GOES_ON;
        }
        let waits = !piece.running.is_empty() || self.fetch_from_next(desk, id);
        let Some(piece) = self.pieces.get_mut(&id) else { return GOES_ON };
        if waits || piece.lookup.is_some() || piece.around.is_under_way() {
            return GOES_ON;
        }
        if piece.rounds < patience::FETCHES {
            // Nobody is known yet, or every holder failed: they may have had a bad moment, repair may be at work, or
            // others hide them.
            piece.begin_round();
            self.seek(desk, id);
            return GOES_ON;
        }
        let (kind, reason) = piece.despair();
        self.give_up(desk, kind, reason)
    }
}
