//! How much of a file is fetched at a time, and what is done about a fetch that takes too long.

use std::time::Duration;

use super::{Get, RetrieveStage};
use crate::config::{HEDGE_FACTOR, HEDGE_MIN, MAX_BLOCK_SIZE};
use crate::node::desk::Desk;
use crate::node::files::piece::{Piece, PieceKind};
use crate::node::job::{Holder, JobId};
use crate::node::pace::weight;
use crate::node::part::Ticket;
use crate::overlay::Goal;
use crate::time::Time;

/// Fetches of one and the same piece at a time.
const AT_ONCE: usize = 2;

/// The same while nobody sends it: whoever is silent takes nothing from the others.
const SIDE_BY_SIDE: usize = 8;

/// A holder that has not begun to send is silent after so many round trips: a connection and a request take two.
const SILENT_TRIPS: u32 = 6;

impl Get {
    /// Bytes under way, as the pace counts them.
    pub(super) fn under_way(&self) -> u64 {
        self.pieces.values().map(Piece::weight).sum()
    }

    /// Whether another block may be fetched now.
    pub(super) fn has_room(&self) -> bool {
        self.pace.admits(self.under_way(), weight(MAX_BLOCK_SIZE))
    }

    /// Notes what came of a fetch that brought what it should.
    pub(super) fn credit(&mut self, desk: &Desk, what: PieceKind, fetched: Option<(Holder, Time)>) {
        let Some((holder, since)) = fetched else { return };
        if let Holder::Peer(addr) = holder {
            self.holders.insert(addr);
        }
        self.doubts.take_back(&holder);
        // A list of blocks is short, so how soon it came says nothing about them.
        if let PieceKind::Block { slot, .. } = what {
            let took = desk.now().since(since);
            self.pace.on_moved(slot.size, took);
            self.usual.add(took);
        }
    }

    /// Gives another holder its chance for every piece that takes far longer than the usual.
    pub(super) fn on_tick(&mut self, desk: &mut Desk) {
        let Some(limit) = self.hedge_after() else { return };
        let slow_at = |piece: &Piece| piece.slow_at(desk.jobs(), desk.now(), limit, silence(desk, piece));
        let is_slow = |piece: &Piece| slow_at(piece).is_some_and(|at| at <= desk.now());
        let slow: Vec<u64> = self.pieces.iter().filter(|(_, piece)| is_slow(piece)).map(|(&id, _)| id).collect();
        for id in slow {
            self.hedge(desk, id);
        }
    }

    /// Joins a fetch by one from another holder, or has it make room for that.
    fn hedge(&mut self, desk: &mut Desk, id: u64) {
        let ticket = self.ticket(id);
        let Some(piece) = self.pieces.get_mut(&id) else { return };
        if piece.is_silent(desk.jobs(), desk.now()) {
            return self.ask_side_by_side(desk, id);
        }
        piece.hedges += 1;
        if piece.known.is_empty() {
            look_behind(desk, ticket, piece);
        }
        piece.running.values().for_each(|(holder, _)| self.doubts.add(holder));
        if piece.running.len() >= AT_ONCE || !desk.jobs().has_place_for_own() {
            // As long as nothing has come from anybody, the way here may be slow, and not the holder.
            let Some(oldest) = piece.oldest().filter(|_| self.usual.get().is_some()) else { return };
            desk.cancel_job(oldest);
        }
        self.fetch_from_next(desk, id);
    }

    /// None of those who were asked for a piece sends it. As many more are asked, and others are looked for
    /// behind those who say that they hold it: what liars around a key cost doubles no time, and no bytes.
    fn ask_side_by_side(&mut self, desk: &mut Desk, id: u64) {
        let ticket = self.ticket(id);
        let Some(piece) = self.pieces.get_mut(&id) else { return };
        piece.running.values().for_each(|(holder, _)| self.doubts.add(holder));
        look_behind(desk, ticket, piece);
        let silent = piece.running.len();
        if silent >= SIDE_BY_SIDE || !desk.jobs().has_place_for_own() {
            let oldest: Vec<JobId> = piece.oldest().into_iter().filter(|_| !piece.known.is_empty()).collect();
            oldest.into_iter().for_each(|job| desk.cancel_job(job));
        }
        for more in 0..silent.min(SIDE_BY_SIDE.saturating_sub(silent)).max(1) {
            if more > 0 && !desk.jobs().has_place_for_own() || !self.fetch_from_next(desk, id) {
                break;
            }
        }
    }

    /// When the next fetch will have taken too long.
    pub(super) fn next_wake(&self, desk: &Desk) -> Option<Time> {
        let limit = self.hedge_after()?;
        self.pieces
            .values()
            .filter_map(|piece| piece.slow_at(desk.jobs(), desk.now(), limit, silence(desk, piece)))
            .min()
    }

    fn hedge_after(&self) -> Option<Duration> {
        matches!(self.stage, RetrieveStage::Walking { .. } | RetrieveStage::Root)
            .then(|| self.usual.get().map_or(HEDGE_MIN * 2, |usual| (usual * HEDGE_FACTOR).max(HEDGE_MIN)))
    }
}

/// After how long a holder that has not begun to send a piece is silent.
fn silence(desk: &Desk, piece: &Piece) -> Duration {
    let trip = |(holder, _): &(Holder, Time)| match holder {
        Holder::Peer(addr) => desk.round_trip(addr),
        Holder::Own => None,
    };
    let longest = piece.running.values().filter_map(trip).max().unwrap_or_default();
    (longest * SILENT_TRIPS).max(HEDGE_MIN)
}

/// Looks, once, for others behind those who say that they hold a piece and do not give it. The search that met them
/// goes on among them.
fn look_behind(desk: &mut Desk, ticket: Ticket, piece: &mut Piece) {
    if !std::mem::replace(&mut piece.wider, true) {
        if let Some(nearest) = piece.lookup.take() {
            desk.cancel_lookup(nearest);
        }
        piece.lookup = Some(desk.look_up(ticket, piece.what.key(), Goal::MoreHolders));
    }
}
