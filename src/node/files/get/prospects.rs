//! How soon each holder would be done with one more block: by how fast it sent before, what comes of it now, and what
//! it has yet to send.
//!
//! Of holders of which as much is believed, the one that would be done first is asked. So each sends as much of a file
//! as its way carries, and in the end the slow are not waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::block::WantedBlock;
use crate::config::{HEDGE_MIN, MAX_BLOCK_SIZE};
use crate::node::job::Holder;
use crate::node::jobs::Jobs;
use crate::node::smoothed::Smoothed;

/// A peer that needs longer for a block counts as this slow: a flow may be so thin that no time can be told.
const SLOWEST_BLOCK: Duration = Duration::from_secs(3600);

/// How long a full block takes of each holder of which that shows, if it sends nothing else.
#[derive(Default)]
pub(super) struct HolderSpeeds(BTreeMap<SocketAddr, Smoothed>);

impl HolderSpeeds {
    /// A holder takes so long for a full block while it sends this many.
    pub(super) fn add(&mut self, holder: &Holder, full: Duration, at_once: usize) {
        if let Holder::Peer(addr) = holder {
            self.0.entry(*addr).or_default().add(full.min(SLOWEST_BLOCK).div_f64(at_once.max(1) as f64));
        }
    }

    /// Whether it shows of this holder.
    pub(super) fn knows(&self, holder: &Holder) -> bool {
        matches!(holder, Holder::Peer(addr) if self.0.contains_key(addr))
    }
}

/// What a holder is sending.
#[derive(Clone, Copy, Default)]
struct HolderLoad {
    bytes: u64,
    /// Bytes a second that come of it.
    rate: u64,
}

/// When a holder would be done with one more block. The least is the best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Prospect {
    /// After so long; at once where it has nothing to send, and nothing shows how fast it would.
    After(Duration),
    /// Nothing shows that yet, and it has so many bytes to send.
    Unknown(u64),
}

/// What each holder of a file may be expected to do.
pub(super) struct Prospects<'a> {
    speeds: &'a HolderSpeeds,
    loads: BTreeMap<SocketAddr, HolderLoad>,
    /// Holders that some block may be asked of.
    others: BTreeSet<SocketAddr>,
}

impl<'a> Prospects<'a> {
    pub(super) fn new<'b>(
        speeds: &'a HolderSpeeds,
        blocks: impl Iterator<Item = &'b WantedBlock>,
        jobs: &Jobs,
    ) -> Self {
        #[cfg(test)]
        MADE.set(MADE.get() + 1);
        let mut loads: BTreeMap<SocketAddr, HolderLoad> = BTreeMap::new();
        let mut others: BTreeSet<SocketAddr> = speeds.0.keys().copied().collect();
        for block in blocks {
            others.extend(block.next_holders().map(|peer| peer.addr));
            for (job, (holder, _)) in &block.running {
                let Holder::Peer(addr) = holder else { continue };
                let load = loads.entry(*addr).or_default();
                load.bytes += block.weight();
                load.rate += jobs.flow(*job).and_then(|flow| flow.rate()).unwrap_or(0);
            }
        }
        Self { speeds, loads, others }
    }

    /// When this holder would be done with one more block of this weight.
    pub(super) fn of(&self, addr: &SocketAddr, weight: u64) -> Prospect {
        let load = self.loads.get(addr).copied().unwrap_or_default();
        let full = u64::from(MAX_BLOCK_SIZE);
        let before = self.speeds.0.get(addr).and_then(|usual| usual.get());
        let all = (load.bytes + weight) as f64;
        match before {
            _ if load.rate > 0 => Prospect::After(Duration::from_secs_f64(all / load.rate as f64)),
            Some(usual) => Prospect::After(usual.mul_f64(all / full as f64)),
            None if load.bytes == 0 => Prospect::After(Duration::ZERO),
            None => Prospect::Unknown(load.bytes),
        }
    }

    /// The same, where that shows.
    pub(super) fn measured(&self, addr: &SocketAddr, weight: u64) -> Option<Duration> {
        match self.of(addr, weight) {
            Prospect::After(long) if long > Duration::ZERO => Some(long),
            _ => None,
        }
    }

    /// Whether it is better to hear of more holders of a block first than to ask one of this prospect.
    pub(super) fn is_poor(&self, prospect: Prospect, weight: u64) -> bool {
        let elsewhere = self.others.iter().map(|addr| self.of(addr, weight)).min();
        match (prospect, elsewhere) {
            (Prospect::After(long), Some(Prospect::After(short))) => long > HEDGE_MIN.max(short * 2),
            _ => false,
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How often this thread has walked all blocks of a file to tell what its holders may do.
    pub(in crate::node) static MADE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_of_which_nearly_nothing_comes_is_slow_and_no_time_overflows() {
        let addr = SocketAddr::from(([10, 0, 0, 1], 1));
        let mut speeds = HolderSpeeds::default();
        (0..3).for_each(|_| speeds.add(&Holder::Peer(addr), Duration::MAX, 1));
        let load = HolderLoad { bytes: 1 << 40, rate: 0 };
        let prospects = Prospects { speeds: &speeds, loads: [(addr, load)].into(), others: [addr].into() };
        let prospect = prospects.of(&addr, 1 << 20);
        assert!(prospect > Prospect::After(SLOWEST_BLOCK), "{prospect:?}");
        assert!(!prospects.is_poor(prospect, 1 << 20), "nobody else is known");
    }
}
