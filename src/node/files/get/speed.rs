//! How much of a file is fetched at a time, and what is done about a fetch that takes too long.

use std::time::Duration;

use super::{Get, Stage};
use crate::config::{HEDGE_FACTOR, HEDGE_MIN, MAX_BLOCK_SIZE};
use crate::node::desk::Desk;
use crate::node::files::piece::{Piece, What};
use crate::node::job::Holder;
use crate::node::pace::weight;
use crate::time::Time;

/// Fetches of one and the same piece at a time.
const AT_ONCE: usize = 2;

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
    pub(super) fn credit(&mut self, desk: &Desk, what: What, fetched: Option<(Holder, Time)>) {
        let Some((holder, since)) = fetched else { return };
        if let Holder::Peer(addr) = holder {
            self.holders.insert(addr);
        }
        self.doubts.take_back(&holder);
        // A list of blocks is short, so how soon it came says nothing about them.
        if let What::Block { slot, .. } = what {
            let took = desk.now().since(since);
            self.pace.on_moved(slot.size, took);
            self.usual.add(took);
        }
    }

    /// Gives another holder its chance for every piece that takes far longer than the usual.
    pub(super) fn on_tick(&mut self, desk: &mut Desk) {
        let Some(limit) = self.hedge_after() else { return };
        let is_slow = |piece: &Piece| piece.slow_at(desk.jobs(), limit).is_some_and(|at| at <= desk.now());
        let slow: Vec<u64> = self.pieces.iter().filter(|(_, piece)| is_slow(piece)).map(|(&id, _)| id).collect();
        for id in slow {
            self.hedge(desk, id);
        }
    }

    /// Joins a fetch by one from another holder, or has it make room for that.
    fn hedge(&mut self, desk: &mut Desk, id: u64) {
        let Some(piece) = self.pieces.get_mut(&id) else { return };
        piece.hedges += 1;
        piece.running.values().for_each(|(holder, _)| self.doubts.add(holder));
        if piece.running.len() >= AT_ONCE || !desk.jobs().has_place_for_own() {
            // As long as nothing has come from anybody, the way here may be slow, and not the holder.
            let Some(oldest) = piece.oldest().filter(|_| self.usual.get().is_some()) else { return };
            desk.cancel_job(oldest);
        }
        self.fetch_from_next(desk, id);
    }

    /// When the next fetch will have taken too long.
    pub(super) fn next_wake(&self, desk: &Desk) -> Option<Time> {
        let limit = self.hedge_after()?;
        self.pieces.values().filter_map(|piece| piece.slow_at(desk.jobs(), limit)).min()
    }

    fn hedge_after(&self) -> Option<Duration> {
        matches!(self.stage, Stage::Walking { .. } | Stage::Root)
            .then(|| self.usual.get().map_or(HEDGE_MIN * 2, |usual| (usual * HEDGE_FACTOR).max(HEDGE_MIN)))
    }
}
