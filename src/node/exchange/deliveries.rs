//! To which hosts blocks that are offered here were sent to their end.

use std::net::IpAddr;

use super::pending::Waiting;
use super::{Exchange, Offer, Why};
use crate::config::DELIVERED_MEMORY;
use crate::id::Key;
use crate::node::part::Proof;
use crate::node::refusal::Refusal;
use crate::recent::Recent;
use crate::wire::Response;

/// How often each host was sent each block, beyond what peers there said that they saved.
#[derive(Default)]
pub(crate) struct Deliveries(Recent<(Key, IpAddr), u32, DELIVERED_MEMORY>);

impl Deliveries {
    /// A block was sent to this host.
    pub(crate) fn note(&mut self, key: Key, to: IpAddr) {
        let delivery = (key, to.to_canonical());
        self.0.insert(delivery, self.times(&delivery) + 1);
    }

    /// Whether a block was sent to this host: true once for each time.
    pub(crate) fn take(&mut self, key: Key, to: IpAddr) -> bool {
        let delivery = (key, to.to_canonical());
        let times = self.times(&delivery);
        if times > 0 {
            self.0.insert(delivery, times - 1);
        }
        times > 0
    }

    fn times(&self, delivery: &(Key, IpAddr)) -> u32 {
        self.0.get(delivery).copied().unwrap_or(0)
    }
}

impl Exchange {
    /// What the answer to the offer `magic` shows of the block there.
    pub(super) fn proof(&mut self, magic: u64, offer: &Offer, response: &Response) -> Result<Proof, Refusal> {
        let &Offer { key, to, .. } = offer;
        let pulled =
            matches!(response, Response::Saved | Response::Shown { .. }) && self.deliveries.take(key, to.addr.ip());
        if pulled {
            self.note_taken(key, to.addr.ip());
        }
        match response {
            Response::Saved | Response::Shown { .. } if pulled => Ok(Proof::Pulled),
            Response::Shown { sample } => Ok(Proof::Sample { magic, sample: *sample }),
            Response::Saved => Ok(Proof::Nothing),
            _ => Err("it answered an offer with something else".into()),
        }
    }

    /// Whether a block is being offered to anybody.
    pub(crate) fn is_offered(&self, key: &Key) -> bool {
        self.pending.any(|waiting| matches!(&waiting.why, Why::Offer { offer, .. } if offer.key == *key))
    }

    /// Blocks were sent to these hosts. That counts where they were offered to a peer there.
    pub(crate) fn note_deliveries(&mut self, blocks: Vec<(Key, IpAddr)>) {
        blocks.into_iter().for_each(|(key, to)| self.note_delivery(key, to));
    }

    fn note_delivery(&mut self, key: Key, host: IpAddr) {
        let host = host.to_canonical();
        let is_offered = |waiting: &Waiting| {
            matches!(&waiting.why, Why::Offer { offer, .. }
                if offer.key == key && offer.to.addr.ip().to_canonical() == host)
        };
        if self.pending.any(is_offered) {
            self.deliveries.note(key, host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_stands_for_one_copy() {
        let (mut deliveries, host, other) =
            (Deliveries::default(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        (0..2).for_each(|_| deliveries.note(Key::ZERO, host));
        assert!(!deliveries.take(Key::ZERO, other) && !deliveries.take(Key::MAX, host));
        assert_eq!([0; 3].map(|_| deliveries.take(Key::ZERO, host)), [true, true, false]);
    }
}
