//! From which of its known holders a block is fetched, and when: at once, or when more is known of them.

use super::Get;
use super::block::{BlockKind, WantedBlock};
use super::prospects::Prospects;
use crate::node::desk::Desk;
use crate::node::job::{Holder, Job, Urgency};
use crate::peer::Peer;
use crate::time::Time;

impl Get {
    /// Begins to fetch a block from this holder.
    pub(super) fn fetch(&mut self, desk: &mut Desk, id: u64, from: Holder) {
        let (ticket, root_of) = (self.ticket(id), self.seeks_root_of_file().then_some(self.id));
        let Some(block) = self.blocks.get_mut(&id) else { return };
        let work = match block.what {
            BlockKind::Manifest { key } => Job::Unpack { key, from, root_of },
            BlockKind::Data { slot, .. } => Job::Fetch { get: self.id, slot, from },
        };
        let job = desk.order(ticket, work, Urgency::Own);
        block.running.insert(job, (from, desk.now()));
    }

    /// A peer says it holds a block.
    pub(super) fn on_holder(&mut self, desk: &mut Desk, id: u64, peer: Peer) {
        let me = desk.is_me(&peer);
        let Some(block) = self.blocks.get_mut(&id) else { return };
        if me || block.tried.contains_key(&peer.addr) || block.known.iter().any(|known| known.addr == peer.addr) {
            return;
        }
        block.known.push_back(peer);
        self.fetch_if_worth_it(desk, id);
    }

    /// A holder sends less now than before: a block whose holders were busy need not wait any longer to hear of others.
    /// It takes long to hear of those while a peer that may be one is silent.
    pub(super) fn fetch_what_waits(&mut self, desk: &mut Desk) {
        let waits = |block: &WantedBlock| block.lookup.is_some() && !block.known.is_empty();
        let waiting: Vec<u64> = self.blocks.iter().filter(|(_, block)| waits(block)).map(|(&id, _)| id).collect();
        for id in waiting {
            self.fetch_if_worth_it(desk, id);
        }
    }

    /// Fetches a block that no peer sends, if one of its known holders would do well. A doubted peer gets its chance
    /// when it is clear that no other peer has the block, and so does one that is busy or slow; or where all that are
    /// known are doubted, [`HEDGE_MIN`](crate::config::HEDGE_MIN) after the lookup has begun.
    fn fetch_if_worth_it(&mut self, desk: &mut Desk, id: u64) {
        let Some(block) = self.blocks.get(&id).filter(|block| block.running.is_empty() && !block.parked) else {
            return;
        };
        let mut trusted = block.known.iter().filter(|peer| self.doubts.of(&peer.addr) == 0).peekable();
        if trusted.peek().is_none() {
            return;
        }
        let prospects = Prospects::new(&self.speeds, self.blocks.values(), desk.jobs());
        let best = trusted.map(|peer| prospects.of(&peer.addr, block.weight())).min();
        if best.is_some_and(|best| !prospects.is_poor(best, block.weight())) {
            self.fetch_from_next(desk, id);
        }
    }

    /// The blocks of which doubted holders alone are known, and until when better ones are waited for: it takes long to
    /// hear that there are none while a peer that may be one is silent.
    pub(super) fn doubtful_until(&self) -> impl Iterator<Item = (Time, u64)> {
        let is_doubtful = |block: &WantedBlock| block.known.iter().all(|peer| self.doubts.of(&peer.addr) > 0);
        let until =
            move |(&id, block): (&u64, &WantedBlock)| Some((block.settles_at().filter(|_| is_doubtful(block))?, id));
        self.blocks.iter().filter_map(until)
    }

    /// Fetches those of them that have waited for long enough.
    pub(super) fn settle_for_the_doubtful(&mut self, desk: &mut Desk) {
        let due: Vec<u64> = self.doubtful_until().filter(|(at, _)| *at <= desk.now()).map(|(_, id)| id).collect();
        for id in due {
            self.fetch_from_next(desk, id);
        }
    }

    /// Starts a fetch from the next known holder. Whether there was one.
    pub(super) fn fetch_from_next(&mut self, desk: &mut Desk, id: u64) -> bool {
        let prospects = Prospects::new(&self.speeds, self.blocks.values(), desk.jobs());
        let Some(block) = self.blocks.get_mut(&id) else { return false };
        let next = block.take_holder(&self.doubts, |addr, weight| prospects.of(addr, weight));
        let Some(peer) = next else { return false };
        block.tried.insert(peer.addr, peer);
        self.fetch(desk, id, Holder::Peer(peer.addr));
        true
    }
}
