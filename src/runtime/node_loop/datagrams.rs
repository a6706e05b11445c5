//! What comes in datagrams, and the one thing that is answered without the node: that a datagram was no message.

use super::NodeLoop;
use crate::gauges::Activity;
use crate::node::Event;
use crate::runtime::Role;
use crate::runtime::channels::{DATAGRAMS, Gauged};
use crate::runtime::post::queued;
use crate::runtime::udp::{BATCH, Batch, Datagram};
use crate::time::Time;
use crate::wire::{MAX_DATAGRAM_SENT, Message, Via};

/// What an error costs at most in answer to a datagram from a stranger (RFC 9000, section 8).
const ERROR_FACTOR: usize = crate::config::AMPLIFICATION;

impl NodeLoop {
    /// Takes batch after batch that has come, until they are as many datagrams as one full batch, so that the answers
    /// leave together: where the node's thread shares a core with `udp-recv`, that puts in one or a few at a time.
    pub(super) fn on_datagrams(&mut self, first: Batch) {
        let (mut taken, mut next) = (0, Some(first));
        while let Some(batch) = next {
            let now = self.came(Activity::Datagrams);
            let left = self.inboxes.datagrams.len();
            self.took(Gauged::Datagrams, left);
            self.hear_of_pulls(now);
            taken += batch.datagrams.len().max(1);
            self.on_batch(now, batch);
            next = (taken < BATCH).then(|| self.inboxes.datagrams.try_recv().ok()).flatten();
        }
    }

    fn on_batch(&mut self, now: Time, batch: Batch) {
        let Batch { mut datagrams, dropped, put } = batch;
        let way = self.recorder.as_ref().map(|_| queued(&DATAGRAMS, Role::UdpRecv, put));
        if dropped > self.own.dropped {
            // Each time that it has doubled.
            if dropped.checked_ilog2() > self.own.dropped.checked_ilog2() {
                log::warn!("{dropped} datagrams in all were lost: the node took too long for those before them");
            }
            self.own.dropped = dropped;
            self.handle_at(now, Event::Dropped { total: dropped }, way.as_deref());
        }
        for Datagram { from, at, bytes, message } in datagrams.drain(..) {
            if let Some(at) = at {
                self.udp.heard(from, at);
            }
            match message {
                Ok(message) => {
                    let event = Event::Message { from, via: Via::Udp, bytes, message };
                    self.handle_at(now, event, way.as_deref());
                }
                Err((malformed, dialect)) => {
                    let Some(magic) = malformed.magic else { continue };
                    let error = Message::error(magic, malformed.reason);
                    let limit = MAX_DATAGRAM_SENT.min(bytes as usize * ERROR_FACTOR);
                    let me = &self.me;
                    self.udp.push(from, None, limit, |text| dialect.encode(&error, me, from, text));
                }
            }
        }
        let _ = self.inboxes.spent.try_send(datagrams);
    }
}
