//! How much of a file is fetched at a time, and what is done about a fetch that takes too long.
//!
//! A slow fetch may be its holder's fault, or the way here may be slow; a second holder helps against the first alone.
//! What shows of the fetch decides:
//!
//! | of a block | it is slow | what is done |
//! |---|---|---|
//! | no holder sends | once its holders are silent: [`silence`], and [`PAUSE`] more over a slow way | as many more are asked, side by side |
//! | bytes come, every other block is under way, and another holder would need less than half the time | after [`HEDGE_MIN`] | that one is asked too |
//! | bytes come, and the usual time is known, unless the others are known to be no faster | after [`HEDGE_FACTOR`] times that, doubled with each holder tried | a second holder is asked too; of two, the older fetch ends |
//! | bytes come, far slower than those of another block | after [`TRIAL`], doubled likewise | the same |
//! | bytes come, and nothing compares | after [`TRIAL`], doubled likewise | a trial of a second holder, for the block that lasts longest: one at a time, ever more seldom |
//!
//! A second fetch that does not halve the time left ends, whatever it was begun for; if it does, the first ends. Where
//! the first came as fast beside the second as before, it is no slow way that both share: their holders are slow, or
//! lie, and the next is tried at once.

use std::time::Duration;

use super::{Get, RetrieveStage};
use crate::config::{HEDGE_FACTOR, HEDGE_MIN, MAX_BLOCK_SIZE, WIDTH};
use crate::node::desk::Desk;
use crate::node::files::get::block::{BlockKind, Slow, SlowerFetch, WantedBlock};
use crate::node::files::get::prospects::Prospects;
use crate::node::job::{Holder, JobId};
use crate::node::pace::{is_telling, weight};
use crate::node::ticket::Ticket;
use crate::overlay::Goal;
use crate::peer::Peer;
use crate::time::Time;

/// Fetches of one and the same block at a time.
const AT_ONCE: usize = 2;

/// The same while no holder sends it: a silent holder takes nothing from the others.
const SIDE_BY_SIDE: usize = 8;

/// A holder that has not begun to send is silent after so many round trips: a connection and a request take two.
const SILENT_TRIPS: u32 = 6;

/// As long as nothing is known, a fetch that takes so long is a reason to try another holder.
const TRIAL: Duration = Duration::from_millis(2 * HEDGE_MIN.as_millis() as u64);

/// The pause before the next such trial grows by this factor with each, up to so many times: what it costs of a slow
/// way is a few hundredths.
const TRIAL_FACTOR: u32 = 4;
const MOST_TRIALS: u32 = 4;

/// Where the others come at fewer bytes a second than this, all of them, the way here is slow: a queue on it is a part
/// of a second long, and a peer that shares it may get nothing for so much longer than elsewhere.
const SLOW_WAY: u64 = 256 * 1024;
const PAUSE: Duration = Duration::from_secs(3);

/// Where no holder has sent anything for so long, holders are looked for around a block's key.
const LATE: Duration = Duration::from_secs(2);

/// While bytes come and take long, it is looked so often at how fast.
const LOOKS_EVERY: Duration = Duration::from_millis(250);

/// Second holders that were tried before anything told what is usual, and when the next may be.
#[derive(Default)]
pub(super) struct Trials {
    count: u32,
    next: Time,
    /// When it was last looked at how fast everything comes.
    looked: Time,
}

impl Get {
    /// Bytes under way, as the pace counts them.
    pub(super) fn under_way(&self) -> u64 {
        self.blocks.values().map(WantedBlock::weight).sum()
    }

    /// Whether another block may be fetched now.
    pub(super) fn has_room(&self) -> bool {
        self.pace.admits(self.under_way(), weight(MAX_BLOCK_SIZE))
    }

    /// Notes what came of a fetch that brought what it should.
    pub(super) fn credit(&mut self, desk: &Desk, what: BlockKind, fetched: Option<(Holder, Time)>) {
        let Some((holder, since)) = fetched else { return };
        if let Holder::Peer(addr) = holder {
            self.holders.insert(addr);
        }
        self.doubts.take_back(&holder);
        // A list of blocks is short, so how soon it came says nothing about them.
        if let BlockKind::Data { slot, .. } = what {
            let took = desk.now().since(since);
            self.pace.on_moved(slot.size, took);
            self.usual.add(took);
            if is_telling(slot.size) {
                self.speeds.add(
                    &holder,
                    took.mul_f64(f64::from(MAX_BLOCK_SIZE) / f64::from(slot.size)),
                    self.sent_by(&holder) + 1,
                );
            }
        }
    }

    /// Gives another holder its chance for every block that takes far longer than the usual, and takes it from those
    /// that are no faster.
    pub(super) fn hedge_the_slow(&mut self, desk: &mut Desk) {
        self.trials.looked = desk.now();
        self.end_trials(desk);
        let (now, all) = (desk.now(), self.view(desk));
        let is_slow = |block: &WantedBlock| self.slow_at(desk, &all, block).is_some_and(|at| at <= now);
        let slow: Vec<u64> = self.blocks.iter().filter(|(_, block)| is_slow(block)).map(|(&id, _)| id).collect();
        for id in slow {
            self.hedge(desk, id);
        }
        self.settle_for_the_doubtful(desk);
        self.look_around_for_the_late(desk);
        if let Some(id) = self.on_trial(desk) {
            self.hedge(desk, id);
            let goes = self.blocks.get(&id).is_some_and(|block| block.running.len() > 1);
            self.trials.count += u32::from(goes && self.trials.count < MOST_TRIALS);
            self.trials.next = now + TRIAL * TRIAL_FACTOR.pow(self.trials.count);
        }
    }

    /// Of two fetches of a block, ends the one that is no help. If both are slow it is the way here, or those two
    /// holders.
    fn end_trials(&mut self, desk: &mut Desk) {
        for block in self.blocks.values_mut() {
            block.note_flow(desk.jobs());
            let Some(slower) = block.slower(desk.jobs(), desk.now()) else { continue };
            let (SlowerFetch::First(job) | SlowerFetch::Last(job, _)) = slower;
            if matches!(slower, SlowerFetch::First(_)) {
                block.give_up(job);
            }
            let ended = block.running.remove(&job);
            desk.cancel_job(job);
            if matches!(slower, SlowerFetch::Last(_, false)) {
                block.in_vain = desk.now();
                block.running.values().for_each(|(holder, _)| self.doubts.take_back(holder));
                continue;
            }
            ended
                .iter()
                .filter(|(holder, _)| !self.speeds.knows(holder))
                .for_each(|(holder, _)| self.doubts.add(holder));
            block.hedges = block.hedges.saturating_sub(1);
            self.trials.count = self.trials.count.saturating_sub(1);
            self.trials.next = desk.now();
        }
    }

    /// As long as nothing tells what is usual: the block of which it is tried whether another holder is faster. One at
    /// a time, ever more seldom, for as much as that one sends comes in vain where the way here is slow; and none that
    /// will soon be here.
    fn on_trial(&self, desk: &Desk) -> Option<u64> {
        let now = desk.now();
        if self.trials.next > now || self.blocks.values().any(|block| block.running.len() > 1) {
            return None;
        }
        let rates = self.rates(desk);
        let lasts = |block: &WantedBlock| {
            let left = block.left(desk.jobs())?;
            let began = block.running.values().map(|(_, since)| *since).min()?;
            let is_due = matches!(self.slow(desk, rates, block)?, Slow::Flows { at, .. } if at <= now);
            (is_due && self.usual_of(block).is_none() && left > now.since(began).saturating_mul(2)).then_some(left)
        };
        let lasting = self.blocks.iter().filter_map(|(&id, block)| Some((lasts(block)?, id)));
        lasting.max().map(|(_, id)| id)
    }

    /// Joins a fetch by one from another holder, or has it make room for that.
    fn hedge(&mut self, desk: &mut Desk, id: u64) {
        let ticket = self.ticket(id);
        let Some(block) = self.blocks.get_mut(&id) else { return };
        if block.is_silent(desk.jobs(), desk.now()) {
            return self.ask_side_by_side(desk, id);
        }
        block.hedges += 1;
        if block.known.is_empty() {
            look_behind(desk, ticket, block);
        }
        self.blame(desk, id);
        let Some(block) = self.blocks.get_mut(&id) else { return };
        let mut ended = None;
        if block.running.len() >= AT_ONCE || !desk.jobs().has_place_for_own() {
            // As long as nothing has come from any holder, the way here may be slow, and not the holder.
            ended = block.oldest().filter(|_| self.usual.get().is_some() && block.has_next());
            let Some(oldest) = ended else { return };
            desk.cancel_job(oldest);
        }
        self.fetch_from_next(desk, id);
        if let (Some(block), Some(job)) = (self.blocks.get_mut(&id), ended) {
            block.give_up(job);
        }
    }

    /// Fetches that a holder has under way.
    fn sent_by(&self, holder: &Holder) -> usize {
        self.blocks.values().flat_map(|block| block.running.values()).filter(|(other, _)| other == holder).count()
    }

    /// Those who send a block take too long: how fast they are shows, or that they are to be doubted.
    fn blame(&mut self, desk: &Desk, id: u64) {
        let Some(block) = self.blocks.get(&id) else { return };
        let full = |job: &JobId| desk.jobs().flow(*job)?.takes(MAX_BLOCK_SIZE);
        let all: Vec<_> = block.running.iter().map(|(job, (holder, _))| (*holder, full(job))).collect();
        for (holder, full) in all {
            match full {
                Some(full) => self.speeds.add(&holder, full, self.sent_by(&holder)),
                None => self.doubts.add(&holder),
            }
        }
    }

    /// None of those who were asked for a block sends it. As many more are asked, and others are looked for
    /// behind those who say that they hold it: what liars around a key cost doubles no time, and no bytes.
    fn ask_side_by_side(&mut self, desk: &mut Desk, id: u64) {
        let ticket = self.ticket(id);
        let Some(block) = self.blocks.get_mut(&id) else { return };
        block.running.values().for_each(|(holder, _)| self.doubts.add(holder));
        look_behind(desk, ticket, block);
        let silent = block.running.len();
        if silent >= SIDE_BY_SIDE || !desk.jobs().has_place_for_own() {
            let oldest: Vec<JobId> = block.oldest().into_iter().filter(|_| !block.known.is_empty()).collect();
            oldest.into_iter().for_each(|job| desk.cancel_job(job));
        }
        for more in 0..silent.min(SIDE_BY_SIDE.saturating_sub(silent)).max(1) {
            if more > 0 && !desk.jobs().has_place_for_own() || !self.fetch_from_next(desk, id) {
                break;
            }
        }
    }

    /// The block that has been wanted for longest, while no holder sends anything, and when it is late. Nearer to its
    /// key there may be many that hide its holders, and it takes long to hear that of all of them.
    fn next_late(&self, desk: &Desk) -> Option<(Time, u64)> {
        let (jobs, now) = (desk.jobs(), desk.now());
        if self.blocks.values().any(|block| block.flows(jobs, now)) {
            return None;
        }
        let others_may_be_left = |block: &WantedBlock| block.lookup.is_some() || block.answered.len() >= WIDTH;
        let late = |(&id, block): (&u64, &WantedBlock)| {
            let waits = !block.parked && !block.around.has_begun() && others_may_be_left(block);
            block.sought.filter(|_| waits).map(|sought| (sought + LATE, id))
        };
        self.blocks.iter().filter_map(late).min()
    }

    /// Looks around for that block, once. Its lookup may be under way still: how many it finds is not waited for.
    fn look_around_for_the_late(&mut self, desk: &mut Desk) {
        let Some((_, id)) = self.next_late(desk).filter(|(at, _)| *at <= desk.now()) else { return };
        let ticket = self.ticket_around(id);
        if let Some(block) = self.blocks.get_mut(&id) {
            block.around.begin(desk, ticket, block.what.key(), WIDTH);
        }
    }

    /// A look around a block's key has met a peer that holds it, while those that were asked for it send nothing.
    pub(super) fn ask_beside_the_silent(&mut self, desk: &mut Desk, id: u64, holder: Peer) {
        let Some(block) = self.blocks.get_mut(&id) else { return };
        let asks = !block.running.is_empty()
            && block.running.len() < SIDE_BY_SIDE
            && !block.flows(desk.jobs(), desk.now())
            && desk.jobs().has_place_for_own();
        if let Some(at) = block.known.iter().position(|known| asks && *known == holder) {
            block.known.remove(at);
            block.tried.insert(holder.addr, holder);
            self.fetch(desk, id, Holder::Peer(holder.addr));
        }
    }

    /// When the next fetch will have taken too long, or is to be compared with another, or a block is late.
    pub(super) fn next_look(&self, desk: &Desk) -> Option<Time> {
        let all = self.view(desk);
        let slow = self.blocks.values().filter_map(|block| self.slow_at(desk, &all, block));
        let flows = |block: &WantedBlock| block.running.len() > 1 && block.flows(desk.jobs(), desk.now());
        let looks = self.blocks.values().any(flows).then_some(self.trials.looked + LOOKS_EVERY);
        let settles = self.doubtful_until().map(|(at, _)| at);
        slow.chain(looks).chain(settles).chain(self.next_late(desk).map(|(at, _)| at)).min()
    }

    /// When another holder gets its chance for a block, or it is considered again. Where bytes come, and nothing shows
    /// what another would do, that is if others come far faster, now or before: if nothing does, it is the way here
    /// that is slow.
    fn slow_at(&self, desk: &Desk, all: &View<'_>, block: &WantedBlock) -> Option<Time> {
        let soon = self.trials.looked + LOOKS_EVERY;
        Some(match (self.slow(desk, all.rates, block)?, would_gain(desk, &all.prospects, block)) {
            (Slow::At(at), _) => at,
            (Slow::Flows { silent, .. }, Some(true)) if self.all_begun() => silent.min(block.latest()? + HEDGE_MIN),
            (Slow::Flows { at, silent }, _) if at > desk.now() => at.min(silent),
            (Slow::Flows { silent, .. }, Some(false)) => silent.min(soon),
            (Slow::Flows { at, .. }, _) if self.usual_of(block).is_some() || all.rates.leave_behind(desk, block) => at,
            (Slow::Flows { silent, .. }, _) => silent.min(soon),
        })
    }

    /// Whether every block of the file is under way: a holder that is free can only help with those.
    fn all_begun(&self) -> bool {
        matches!(&self.stage, RetrieveStage::Walking { walk, .. } if walk.is_over())
    }

    fn slow(&self, desk: &Desk, rates: Rates, block: &WantedBlock) -> Option<Slow> {
        if !matches!(self.stage, RetrieveStage::Walking { .. } | RetrieveStage::Root) {
            return None;
        }
        let usual = if block.flows(desk.jobs(), desk.now()) { self.usual_of(block) } else { self.usual.get() };
        let limit = usual.map_or(TRIAL, |usual| (usual * HEDGE_FACTOR).max(HEDGE_MIN));
        let pause = if (1..SLOW_WAY).contains(&rates.of_others(desk, block)) { PAUSE } else { Duration::ZERO };
        block.slow_at((desk.jobs(), desk.now()), limit, (silence(desk, block), pause))
    }

    /// How long such a block usually takes: that small ones come soon says nothing about a large one.
    fn usual_of(&self, block: &WantedBlock) -> Option<Duration> {
        if is_telling(block.size()) { self.pace.usual() } else { self.usual.get() }
    }

    /// What a look at one block needs to know of all: it costs as much as they are many.
    fn view(&self, desk: &Desk) -> View<'_> {
        View { prospects: self.prospects(desk), rates: self.rates(desk) }
    }

    fn prospects(&self, desk: &Desk) -> Prospects<'_> {
        Prospects::new(&self.speeds, self.blocks.values(), desk.jobs())
    }

    fn rates(&self, desk: &Desk) -> Rates {
        let rates = self.blocks.values().filter_map(|block| flow_rate(desk, block));
        rates.fold(Rates::default(), |Rates { all, fastest }, rate| Rates {
            all: all + rate,
            fastest: fastest.max(rate),
        })
    }
}

/// What holders and blocks do at one moment, for a look at each block.
struct View<'a> {
    prospects: Prospects<'a>,
    rates: Rates,
}

/// Bytes a second that come of all blocks now, and of the one that comes fastest.
#[derive(Clone, Copy, Default)]
struct Rates {
    all: u64,
    fastest: u64,
}

impl Rates {
    /// Bytes a second that come of the other blocks.
    fn of_others(self, desk: &Desk, block: &WantedBlock) -> u64 {
        self.all - flow_rate(desk, block).unwrap_or(0)
    }

    /// Whether another block comes far faster at the same time. Over a slow way that is often chance.
    fn leave_behind(self, desk: &Desk, block: &WantedBlock) -> bool {
        let rate = block.rate(desk.jobs());
        self.of_others(desk, block) >= SLOW_WAY
            && rate.is_some_and(|rate| rate * u64::from(HEDGE_FACTOR) < self.fastest)
    }
}

/// Bytes a second that come of a block, if a holder sends it.
fn flow_rate(desk: &Desk, block: &WantedBlock) -> Option<u64> {
    block.rate(desk.jobs()).filter(|_| block.flows(desk.jobs(), desk.now()))
}

/// Whether another holder would need less than half the time for a block that comes, where that shows.
fn would_gain(desk: &Desk, prospects: &Prospects<'_>, block: &WantedBlock) -> Option<bool> {
    let of = |(holder, _): &(Holder, Time)| match holder {
        Holder::Peer(addr) => prospects.measured(addr, 0),
        Holder::Own => None,
    };
    let left = block.left(desk.jobs()).or_else(|| block.running.values().filter_map(of).min())?;
    let others = block.next_holders().filter_map(|peer| prospects.measured(&peer.addr, block.weight()));
    others.min().map(|long| left > long * 2)
}

/// After how long a holder that has not begun to send a block is silent.
fn silence(desk: &Desk, block: &WantedBlock) -> Duration {
    let trip = |(holder, _): &(Holder, Time)| match holder {
        Holder::Peer(addr) => desk.round_trip(addr),
        Holder::Own => None,
    };
    let longest = block.running.values().filter_map(trip).max().unwrap_or_default();
    (longest * SILENT_TRIPS).max(HEDGE_MIN)
}

/// Looks, once, for others behind those who say that they hold a block and do not give it. The search that met them
/// goes on among them.
fn look_behind(desk: &mut Desk, ticket: Ticket, block: &mut WantedBlock) {
    if !std::mem::replace(&mut block.wider, true) {
        desk.cancel_lookup(block.lookup);
        block.lookup = Some(desk.look_up(ticket, block.what.key(), Goal::MoreHolders));
    }
}
