//! Retrieving a file: walk its tree, find holders, fetch, verify, put in place.
//!
//! The file's tree is walked ahead of the blocks; a window of pieces (tree nodes and blocks) is fetched at a time, each
//! from whichever holder is known first, several peers at once. A holder that is dead, slow, or lying costs one piece's
//! retry from another, and is asked last for the others. A fetch that takes far longer than the usual is joined by a
//! second one from another holder; the first to come wins. Where there is no place for a second, it takes the first's.
//! Blocks go straight to their place in a temporary file that becomes the destination only when all are there; what an
//! interrupted run left in it is checked and kept.
//!
//! What stands at the destination already is a matter of `place.rs`, how much is fetched at a time one of `speed.rs`.

mod place;
mod speed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use place::Mode;
pub(super) use place::Onto;

use super::action::Action;
use super::command::{CommandId, Source};
use super::context::{Context, JobPurpose, LookupPurpose};
use super::job::{GetId, Holder, Job, JobErrorKind, JobId, Outcome, Slot};
use super::jobs::Urgency;
use super::notice::{Answer, FailureKind, Progress};
use super::pace::Pace;
use super::piece::{Doubts, Piece, What, is_our_own, kind_of};
use super::put::Flow;
use crate::file::tree::{Step, TreeWalk};
use crate::id::Id;
use crate::overlay::Goal;
use crate::peer::Peer;
use crate::time::Time;

/// Times that the holders of a piece are looked for before it is given up.
const ROUNDS: u8 = 3;

/// A file on its way out of the network.
pub(super) struct Get {
    id: GetId,
    command: CommandId,
    source: Source,
    dest: PathBuf,
    /// Whether another file at `dest` may be replaced.
    replace: bool,
    since: Time,
    stage: Stage,
    pieces: BTreeMap<u64, Piece>,
    next_piece: u64,
    pace: Pace,
    /// Smoothed time in which a block comes.
    usual: Option<Duration>,
    doubts: Doubts,
    total: Total,
    holders: BTreeSet<SocketAddr>,
}

/// Where the retrieve stands.
enum Stage {
    /// The root (a manifest in the network, or a local one) is being read.
    Root,
    /// The temporary file is being opened.
    Opening { walk: Box<TreeWalk> },
    /// Pieces are being checked and fetched.
    Walking { walk: Box<TreeWalk>, mode: Mode },
    /// Everything is in place; the file gets its name.
    Finishing,
}

/// What the answer will tell.
#[derive(Default)]
struct Total {
    size: u64,
    root: Id,
    sha256: Option<Id>,
    /// The source is a list of blocks that does not show whether it is whole.
    incomplete: bool,
    moved: u64,
    resumed: u64,
    blocks: u64,
}

impl Get {
    pub(super) fn new(cx: &mut Context, id: GetId, command: CommandId, source: Source, onto: Onto) -> Self {
        let Onto { dest, replace } = onto;
        let mut get = Self {
            id,
            command,
            source,
            dest,
            replace,
            since: cx.now,
            stage: Stage::Root,
            pieces: BTreeMap::new(),
            next_piece: 0,
            pace: Pace::new(cx.config.window),
            usual: None,
            doubts: Doubts::default(),
            total: Total::default(),
            holders: BTreeSet::new(),
        };
        match &get.source {
            Source::Key(key) => {
                let what = What::Node { key: *key };
                get.begin(cx, what);
            }
            Source::Manifest(path) => {
                let work = Job::ReadManifest { path: path.clone() };
                cx.order(work, JobPurpose::Get { get: id }, Urgency::Own);
            }
        }
        get
    }

    /// A step of the whole file is done: its local manifest is read, its temporary file open, its name given.
    pub(super) fn on_step(&mut self, cx: &mut Context, outcome: Outcome) -> Flow {
        match (std::mem::replace(&mut self.stage, Stage::Root), outcome) {
            (Stage::Root, Outcome::Manifest { entries, root, sha256 }) => {
                let size = entries.iter().map(|entry| entry.size).sum();
                self.total.incomplete = sha256.is_none();
                self.open(cx, TreeWalk::flat(entries), root, size, sha256)
            }
            (Stage::Opening { walk }, Outcome::Opened { resumed }) => {
                let mode = if resumed { Mode::Resuming } else { Mode::Fetching };
                self.stage = Stage::Walking { walk, mode };
                self.go_on(cx)
            }
            (Stage::Opening { walk }, Outcome::Standing) => {
                self.stage = Stage::Walking { mode: Mode::Comparing { again: walk.clone() }, walk };
                self.go_on(cx)
            }
            (Stage::Finishing, Outcome::Done) => self.succeed(cx, false),
            (_, Outcome::Failed(error)) => self.give_up(cx, kind_of(&error), error.reason),
            (_, outcome) => {
                debug_assert!(false, "no step of a retrieve ends with {outcome:?}");
                Flow::Goes
            }
        }
    }

    /// Takes as many pieces of the tree into work as the window and the pace allow, those first that were put aside.
    fn go_on(&mut self, cx: &mut Context) -> Flow {
        while self.has_room()
            && let Some((&id, piece)) = self.pieces.iter_mut().find(|(_, piece)| piece.parked)
        {
            piece.parked = false;
            if self.persist(cx, id) == Flow::Over {
                return Flow::Over;
            }
        }
        while self.pieces.len() < cx.config.window && self.has_room() {
            let Stage::Walking { walk, mode } = &mut self.stage else { return Flow::Goes };
            let checking = !matches!(mode, Mode::Fetching);
            let comparing = matches!(mode, Mode::Comparing { .. });
            match walk.next_step() {
                Step::Slot { key, size, offset } => {
                    let slot = Slot { key, size, offset };
                    self.begin(cx, What::Block { slot, checking });
                }
                Step::Need { key } => self.begin(cx, What::Node { key }),
                Step::Wait => return Flow::Goes,
                Step::Done if self.pieces.is_empty() && comparing => return self.succeed(cx, true),
                Step::Done if self.pieces.is_empty() => {
                    self.stage = Stage::Finishing;
                    // A key vouches for the SHA-256 in its root; a local manifest's is no better than the manifest.
                    let sha256 = self.total.sha256.filter(|_| matches!(self.source, Source::Manifest(_)));
                    cx.order(Job::Finish { get: self.id, sha256 }, JobPurpose::Get { get: self.id }, Urgency::Own);
                    return Flow::Goes;
                }
                Step::Done => return Flow::Goes,
            }
        }
        Flow::Goes
    }

    /// Starts on a piece: is it here already, does this peer hold it, who else does?
    fn begin(&mut self, cx: &mut Context, what: What) {
        let id = self.next_piece;
        self.next_piece += 1;
        self.pieces.insert(id, Piece::new(what));
        if let What::Block { slot, checking: true } = what {
            cx.order(Job::Check { get: self.id, slot }, JobPurpose::GetPiece { get: self.id, piece: id }, Urgency::Own);
        } else {
            self.seek(cx, id);
        }
    }

    fn seek(&mut self, cx: &mut Context, id: u64) {
        let Some(piece) = self.pieces.get_mut(&id) else { return };
        let key = piece.what.key();
        if cx.holdings.contains(&key) && !piece.tried_own {
            piece.tried_own = true;
            return self.fetch(cx, id, Holder::Own);
        }
        piece.rounds += 1;
        let goal = if piece.rounds == 1 { Goal::Holders } else { Goal::MoreHolders };
        piece.lookup = Some(cx.look_up(key, goal, LookupPurpose::Get { get: self.id, piece: id }));
    }

    fn fetch(&mut self, cx: &mut Context, id: u64, from: Holder) {
        let Some(piece) = self.pieces.get_mut(&id) else { return };
        let work = match piece.what {
            What::Node { key } => Job::Unpack { key, from },
            What::Block { slot, .. } => Job::Fetch { get: self.id, slot, from },
        };
        let job = cx.order(work, JobPurpose::GetPiece { get: self.id, piece: id }, Urgency::Own);
        piece.running.insert(job, (from, cx.now));
    }

    /// A peer says it holds a piece.
    pub(super) fn on_holder(&mut self, cx: &mut Context, id: u64, peer: Peer) {
        let me = cx.is_me(&peer);
        let Some(piece) = self.pieces.get_mut(&id) else { return };
        if me || piece.tried.contains(&peer.addr) || piece.known.iter().any(|known| known.addr == peer.addr) {
            return;
        }
        piece.known.push_back(peer);
        // Whoever is doubted gets its chance when it is clear that nobody else has it.
        if piece.running.is_empty() && !piece.parked && self.doubts.of(&peer.addr) == 0 {
            self.fetch_from_next(cx, id);
        }
    }

    /// Starts a fetch from the next known holder. Whether there was one.
    fn fetch_from_next(&mut self, cx: &mut Context, id: u64) -> bool {
        let Some(piece) = self.pieces.get_mut(&id) else { return false };
        let Some(peer) = piece.take_holder(&self.doubts) else { return false };
        piece.tried.insert(peer.addr);
        self.fetch(cx, id, Holder::Peer(peer.addr));
        true
    }

    /// No more holders of a piece will turn up in this round.
    pub(super) fn on_found(&mut self, cx: &mut Context, id: u64) -> Flow {
        if let Some(piece) = self.pieces.get_mut(&id) {
            piece.lookup = None;
        }
        self.persist(cx, id)
    }

    /// A job of a piece is done.
    pub(super) fn on_piece(&mut self, cx: &mut Context, id: u64, job: JobId, outcome: Outcome) -> Flow {
        let comparing = self.is_comparing();
        let Some(piece) = self.pieces.get_mut(&id) else { return Flow::Goes };
        let fetched = piece.running.remove(&job);
        match outcome {
            Outcome::Checked { good: true } => {
                if let What::Block { slot, .. } = piece.what {
                    self.total.resumed += u64::from(slot.size);
                }
                self.complete(cx, id)
            }
            Outcome::Checked { good: false } if comparing => self.on_difference(cx),
            Outcome::Checked { good: false } => {
                self.seek(cx, id);
                Flow::Goes
            }
            Outcome::Fetched => {
                let what = piece.what;
                self.credit(cx, what, fetched);
                self.complete(cx, id)
            }
            Outcome::Unpacked { manifest } => {
                let what = piece.what;
                self.credit(cx, what, fetched);
                self.drop_piece(cx, id);
                self.on_node(cx, manifest)
            }
            Outcome::NotManifest { size } => self.on_bare_block(cx, id, size),
            // What stands there cannot be read, so nobody can say that it is the file.
            Outcome::Failed(_) if comparing && matches!(piece.what, What::Block { .. }) => self.on_difference(cx),
            Outcome::Failed(error) if is_our_own(&error, fetched) => self.give_up(cx, FailureKind::Other, error.reason),
            Outcome::Failed(error) => {
                if error.kind != JobErrorKind::Cancelled {
                    if let Some((holder, since)) = fetched {
                        self.doubts.add(&holder);
                        self.pace.on_given_up(cx.now, since);
                    }
                    let key = piece.what.key();
                    cx.progress(self.command, Progress::Retried { key, reason: error.reason.clone() });
                    piece.trouble = Some(error);
                }
                self.persist(cx, id)
            }
            outcome => {
                debug_assert!(false, "no piece ends with {outcome:?}");
                Flow::Goes
            }
        }
    }

    /// A piece is in its place.
    fn complete(&mut self, cx: &mut Context, id: u64) -> Flow {
        if let Some(What::Block { slot, .. }) = self.pieces.get(&id).map(|piece| piece.what) {
            self.total.moved += u64::from(slot.size);
            self.total.blocks += 1;
            let Total { moved, resumed, .. } = self.total;
            cx.progress(self.command, Progress::Moved { bytes: moved, resumed });
        }
        self.drop_piece(cx, id);
        self.go_on(cx)
    }

    fn drop_piece(&mut self, cx: &mut Context, id: u64) {
        let Some(piece) = self.pieces.remove(&id) else { return };
        if let Some(lookup) = piece.lookup {
            cx.cancel_lookup(lookup);
        }
        for job in piece.running.into_keys() {
            cx.cancel_job(job);
        }
    }

    fn drop_pieces(&mut self, cx: &mut Context) {
        let ids: Vec<u64> = self.pieces.keys().copied().collect();
        for id in ids {
            self.drop_piece(cx, id);
        }
    }

    /// A node of the tree has come.
    fn on_node(&mut self, cx: &mut Context, manifest: crate::file::Manifest) -> Flow {
        match &mut self.stage {
            Stage::Root => {
                let Source::Key(root) = self.source else { return Flow::Goes };
                let (size, sha256) = (manifest.size, manifest.sha256);
                self.open(cx, TreeWalk::new(manifest), root, size, sha256)
            }
            Stage::Walking { walk, .. } => match walk.supply(manifest) {
                Ok(()) => self.go_on(cx),
                Err(error) => {
                    self.give_up(cx, FailureKind::Integrity, format!("the file's manifest is wrong: {error}"))
                }
            },
            Stage::Opening { .. } | Stage::Finishing => Flow::Goes,
        }
    }

    /// The key names no manifest. At the root that is fine: the key of one block brings that block.
    fn on_bare_block(&mut self, cx: &mut Context, id: u64, size: u32) -> Flow {
        let Source::Key(key) = self.source else { return Flow::Goes };
        self.drop_piece(cx, id);
        if !matches!(self.stage, Stage::Root) {
            let reason = "the file's manifest is wrong: a block stands where a list of blocks should be";
            return self.give_up(cx, FailureKind::Integrity, reason.to_owned());
        }
        let entry = crate::file::Entry { key, size: u64::from(size) };
        let entries = if size == 0 { Vec::new() } else { vec![entry] };
        self.open(cx, TreeWalk::flat(entries), key, u64::from(size), None)
    }

    /// Goes on with a piece after a failure: the next holder, another look, or the end.
    fn persist(&mut self, cx: &mut Context, id: u64) -> Flow {
        let under_way = self.under_way();
        let Some(piece) = self.pieces.get_mut(&id) else { return Flow::Goes };
        if piece.running.is_empty() && !self.pace.admits(under_way - piece.weight(), piece.weight()) {
            // More is under way than the way here carries.
            piece.parked = true;
            return Flow::Goes;
        }
        let waits = !piece.running.is_empty() || self.fetch_from_next(cx, id);
        let Some(piece) = self.pieces.get_mut(&id) else { return Flow::Goes };
        if waits || piece.lookup.is_some() {
            return Flow::Goes;
        }
        if piece.rounds < ROUNDS {
            // Nobody is known yet, or every holder failed: they may have had a bad moment, and repair may be at work.
            piece.failed.append(&mut piece.tried);
            piece.hedges = 0;
            self.seek(cx, id);
            return Flow::Goes;
        }
        let (kind, reason) = piece.despair();
        self.give_up(cx, kind, reason)
    }

    /// The file is where it should be; `standing` if it was before.
    fn succeed(&mut self, cx: &mut Context, standing: bool) -> Flow {
        cx.out.push(Action::ForgetGet { get: self.id });
        cx.answer(
            self.command,
            Answer::Retrieved {
                bytes: self.total.size,
                resumed: self.total.resumed,
                sha256: self.total.sha256,
                blocks: self.total.blocks,
                holders: self.holders.len(),
                standing,
                complete: !self.total.incomplete,
                took: cx.now.since(self.since),
            },
        );
        Flow::Over
    }

    pub(super) fn give_up(&mut self, cx: &mut Context, kind: FailureKind, mut reason: String) -> Flow {
        self.drop_pieces(cx);
        if kind == FailureKind::Exists && self.total.incomplete && self.total.size == 0 {
            reason.push_str("; the list names no block, and an empty list replaces no file");
        }
        if self.total.moved > 0 && !self.is_comparing() {
            cx.progress(self.command, Progress::Kept { bytes: self.total.moved, of: self.total.size });
        }
        cx.out.push(Action::ForgetGet { get: self.id });
        cx.fail(self.command, kind, reason);
        Flow::Over
    }
}
