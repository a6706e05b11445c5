//! Leaving in good order: each block held here is first given to the peers that should hold it in this peer's stead.

use std::collections::{BTreeMap, VecDeque};

use super::command::CommandId;
use super::context::{Context, LookupPurpose, OfferOwner};
use super::notice::Answer;
use super::put::Flow;
use crate::config::MAX_REPAIRS;
use crate::id::Key;
use crate::overlay::Goal;
use crate::peer::Peer;
use crate::time::Time;

/// A peer on its way out.
pub(super) struct Departure {
    command: CommandId,
    queue: VecDeque<Key>,
    running: BTreeMap<Key, Handing>,
    deadline: Time,
    handover: bool,
    /// Blocks held when the departure began. Whatever is pulled to its end after that is not called saved.
    blocks: u64,
    handed_over: u64,
}

/// A block that is being handed over.
#[derive(Default)]
struct Handing {
    /// Offers without an answer.
    offered: usize,
    /// Another peer of the replica set holds it.
    safe: bool,
}

impl Departure {
    pub(super) fn new(cx: &mut Context, command: CommandId, handover: bool) -> Self {
        cx.departing = true;
        let queue = if handover { cx.holdings.iter().map(|(key, _)| key).collect() } else { VecDeque::new() };
        let deadline = cx.now + cx.config.handover_limit;
        let blocks = cx.holdings.len() as u64;
        Self { command, queue, running: BTreeMap::new(), deadline, handover, blocks, handed_over: 0 }
    }

    /// Starts as many blocks as may be under way; says goodbye when none is left, or when time is up.
    pub(super) fn go_on(&mut self, cx: &mut Context) -> Flow {
        if cx.now >= self.deadline {
            return self.say_goodbye(cx);
        }
        while self.running.len() < MAX_REPAIRS {
            let Some(key) = self.queue.pop_front() else { break };
            self.running.insert(key, Handing::default());
            cx.look_up(key, Goal::Holders, LookupPurpose::Departure { key, holders: Vec::new() });
        }
        if self.running.is_empty() { self.say_goodbye(cx) } else { Flow::Goes }
    }

    /// The replica set of a block is known, and who of it holds the block.
    pub(super) fn on_found(&mut self, cx: &mut Context, key: Key, peers: Vec<Peer>, holders: &[Peer]) -> Flow {
        let Some(handing) = self.running.get_mut(&key) else { return Flow::Goes };
        let size = cx.holdings.size(&key).unwrap_or(0);
        let heirs: Vec<Peer> = peers.into_iter().filter(|peer| !cx.is_me(peer)).take(cx.config.replicas).collect();
        for heir in heirs {
            if holders.iter().any(|holder| holder.id == heir.id) {
                handing.safe = true;
            } else {
                handing.offered += 1;
                cx.offer(OfferOwner::Departure, key, size, heir);
            }
        }
        self.conclude(cx, key)
    }

    /// A peer took a block, or did not.
    pub(super) fn on_offered(&mut self, cx: &mut Context, key: Key, taken: bool) -> Flow {
        let Some(handing) = self.running.get_mut(&key) else { return Flow::Goes };
        handing.offered -= 1;
        handing.safe |= taken;
        self.conclude(cx, key)
    }

    fn conclude(&mut self, cx: &mut Context, key: Key) -> Flow {
        if self.running.get(&key).is_some_and(|handing| handing.offered > 0) {
            return Flow::Goes;
        }
        if let Some(handing) = self.running.remove(&key) {
            self.handed_over += u64::from(handing.safe);
        }
        self.go_on(cx)
    }

    fn say_goodbye(&mut self, cx: &mut Context) -> Flow {
        cx.leaving = true;
        cx.uplink.take_where(|_| true);
        cx.overlay.leave(cx.now, &mut cx.effects);
        let (handed_over, left_behind) = (self.handed_over, self.blocks - self.handed_over);
        let (offered, kept) = (self.handover, cx.config.lasting);
        cx.answer(self.command, Answer::Left { handed_over, left_behind, offered, kept });
        Flow::Over
    }

    pub(super) fn next_wake(&self) -> Time {
        self.deadline
    }
}
