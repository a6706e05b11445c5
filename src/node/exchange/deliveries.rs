//! To which hosts blocks that are offered here were sent, but for their last bytes.

use std::net::IpAddr;

use super::{Exchange, SentFor};
use crate::config::DELIVERED_MEMORY;
use crate::id::Key;
use crate::node::refusal::Refusal;
use crate::node::ticket::{Offer, Proof, Taken};
use crate::recent::Recent;
use crate::time::Time;
use crate::wire::Response;

/// What each host was sent of each block.
#[derive(Default)]
pub(crate) struct Deliveries(Recent<(Key, IpAddr), Sent, DELIVERED_MEMORY>);

#[derive(Clone, Copy)]
struct Sent {
    /// How often, beyond what peers there said that they saved.
    times: u32,
    /// When it was last.
    last: Time,
}

impl Deliveries {
    /// A block was sent to this host.
    pub(crate) fn note(&mut self, now: Time, key: Key, to: IpAddr) {
        let times = self.sent(key, to).map_or(0, |sent| sent.times);
        self.0.insert((key, to.to_canonical()), Sent { times: times + 1, last: now });
    }

    /// Whether a block was sent to this host: true once for each time.
    pub(crate) fn take(&mut self, key: Key, to: IpAddr) -> bool {
        let Some(sent) = self.sent(key, to).filter(|sent| sent.times > 0) else { return false };
        self.0.insert((key, to.to_canonical()), Sent { times: sent.times - 1, ..sent });
        true
    }

    /// When a block was last sent to its end to this host, if no peer there has said yet that it saved it.
    pub(super) fn unsaved(&self, key: Key, to: IpAddr) -> Option<Time> {
        self.sent(key, to).filter(|sent| sent.times > 0).map(|sent| sent.last)
    }

    fn sent(&self, key: Key, to: IpAddr) -> Option<Sent> {
        self.0.get(&(key, to.to_canonical())).copied()
    }
}

impl Exchange {
    /// What the answer to the offer `magic`, which was made at `since`, shows of the block there.
    pub(super) fn proof(
        &mut self,
        magic: u64,
        (since, offer): (Time, &Offer),
        response: &Response,
    ) -> Result<Proof, Refusal> {
        let (key, host) = (offer.key, offer.to.addr.ip());
        let sent = self.deliveries.sent(key, host);
        let is_due = sent.is_some_and(|sent| sent.times > 0);
        match response {
            // Another peer there was sent it, or is being sent it: this one may have it from there.
            &Response::Shown { sample }
                if sent.is_some_and(|sent| sent.last >= since && !is_due)
                    || is_due && self.is_offered_at(&key, host) =>
            {
                Ok(Proof::Sample { magic, sample, shows: Taken::Unclear })
            }
            Response::Saved | Response::Shown { .. } if self.deliveries.take(key, host) => {
                self.note_taken(key, host);
                Ok(Proof::Pulled)
            }
            &Response::Shown { sample } => Ok(Proof::Sample { magic, sample, shows: Taken::Had }),
            Response::Saved => Ok(Proof::Nothing),
            _ => Err("it answered an offer with something else".into()),
        }
    }

    /// Whether a block is being offered to any peer.
    pub(crate) fn is_offered(&self, key: &Key) -> bool {
        self.pending.any(|waiting| matches!(&waiting.why, SentFor::Offer { offer, .. } if offer.key == *key))
    }

    /// Blocks were sent to these hosts. That counts where they were offered to a peer there.
    pub(crate) fn note_deliveries(&mut self, blocks: Vec<(Key, IpAddr)>) {
        for (key, host) in blocks {
            if self.is_offered_at(&key, host) {
                self.deliveries.note(self.now, key, host);
            }
        }
    }

    /// Whether a block is being offered to a peer on this host.
    fn is_offered_at(&self, key: &Key, host: IpAddr) -> bool {
        let host = host.to_canonical();
        self.pending.any(|waiting| {
            matches!(&waiting.why, SentFor::Offer { offer, .. }
                if offer.key == *key && offer.to.addr.ip().to_canonical() == host)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_stands_for_one_copy() {
        let (mut deliveries, host, other) =
            (Deliveries::default(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        (0..2).for_each(|_| deliveries.note(Time::ZERO, Key::ZERO, host));
        assert!(!deliveries.take(Key::ZERO, other) && !deliveries.take(Key::MAX, host));
        assert_eq!([0; 3].map(|_| deliveries.take(Key::ZERO, host)), [true, true, false]);
    }
}
