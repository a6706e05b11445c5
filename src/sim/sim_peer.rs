//! One peer of a world: its node, its disk, and the faults that it is under.

use std::collections::BTreeMap;
use std::time::Duration;

use super::debts::Debts;
use super::disk::{Disk, OpenFiles};
use super::hostile::HostileRole;
use super::work::SimJob;
use crate::id::Key;
use crate::node::job::JobId;
use crate::node::{CommandId, Node};
use crate::peer::Peer;
use crate::time::Time;

/// A place in the network, and the peer that lives there.
pub(super) struct SimPeer {
    pub(super) me: Peer,
    pub(super) node: Option<Node>,
    /// Counts the peer's lives; an event of an earlier life never reaches a later one.
    pub(super) life: u32,
    /// When this life's clock was started.
    pub(super) born: Time,
    /// When the node must be woken next, in the world's time, as it said after its last event.
    pub(super) due: Option<Time>,
    /// When it will be woken first.
    pub(super) wake: Option<Time>,
    pub(super) disk: Disk,
    pub(super) open_files: OpenFiles,
    pub(super) jobs: BTreeMap<JobId, SimJob>,
    /// What the driver owes the node.
    pub(super) debts: Debts,
    /// The blocks that were on the disk when the last life ended.
    pub(super) former: Vec<(Key, u32)>,
    /// The commands of its user that have no answer, and whether the node was given them yet.
    pub(super) asked: BTreeMap<CommandId, bool>,
    /// How much longer each message from or to the peer, and each of its jobs, takes.
    pub(super) lag: Duration,
    pub(super) frozen_until: Time,
    /// Until then some of what was to come waits: a clock that goes on early finds it only then.
    pub(super) held_up: Time,
    /// Whether it has said in this life that it joined the network.
    pub(super) joined: bool,
    /// Whether its way out is in a burst of losses.
    pub(super) in_burst: bool,
    /// Seconds that the clock of its machine is ahead when it starts.
    pub(super) ahead: u64,
    /// Peers in different islands do not reach one another.
    pub(super) island: u8,
    /// Whether connections to it are refused at once while it is down, rather than time out.
    pub(super) refuses: bool,
    /// Whether no connection reaches it, though datagrams do and its own connections go out.
    pub(super) shut: bool,
    pub(super) last_event: Time,
    /// Events of the present millisecond.
    pub(super) crowd: u32,
    pub(super) ticks: u32,
    /// What it is up to, if it is no honest peer.
    pub(super) role: Option<HostileRole>,
}

impl SimPeer {
    /// A peer that has not started yet. `refuses` says whether connections to it are refused while it is down.
    pub(super) fn new(me: Peer, now: Time, refuses: bool) -> Self {
        Self {
            me,
            node: None,
            life: 0,
            born: now,
            due: None,
            wake: None,
            disk: Disk::default(),
            open_files: OpenFiles::default(),
            jobs: BTreeMap::new(),
            debts: Debts::default(),
            former: Vec::new(),
            asked: BTreeMap::new(),
            lag: Duration::ZERO,
            frozen_until: Time::ZERO,
            held_up: Time::ZERO,
            joined: false,
            in_burst: false,
            ahead: 0,
            island: 0,
            refuses,
            shut: false,
            last_event: Time::ZERO,
            crowd: 0,
            ticks: 0,
            role: None,
        }
    }

    /// What the peer's clock, started with its present life, shows at the world's time `now`.
    pub(super) fn local(&self, now: Time) -> Time {
        Time::ZERO + now.since(self.born)
    }

    /// When the node must be woken next, in the world's time. It changes with events alone.
    pub(super) fn next_wake(&self) -> Option<Time> {
        self.node.as_ref()?.next_wake().map(|due| self.born + due.since(Time::ZERO))
    }
}
