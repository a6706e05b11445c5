//! The channels of a live peer: how much each holds, who takes from it, and what a full one means.
//!
//! The rows open the channels and are printed in the head of [`runtime`](super), so the bounds there are those of the
//! code. (`connections`, `clients` and `line` are no channels: a thread is started with the thing itself, and the row
//! gives the limit.) A send either waits ([`Full::Waits`] says why that cannot deadlock) or goes on without
//! ([`Full::GoesOn`] says what becomes of what found no room). No circle of sends that wait can form: a test follows
//! the rows. It does not see a send that no row names.

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::Role;
use crate::config::MAX_JOBS;
use crate::gauges;

/// A channel of a peer.
#[cfg_attr(not(test), expect(dead_code, reason = "the documentation shows it, and a test compares the two"))]
pub(super) struct Channel {
    pub(super) name: &'static str,
    /// The roles that take from it; none where the system does, or, of `notices`, `events`, `main` and callers of the
    /// library. Of `answers`, those callers do too.
    pub(super) to: &'static [Role],
    pub(super) bound: Bound,
    pub(super) full: Full,
}

/// How much a channel holds.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    /// So many, with room for all of them from the start.
    Slots(usize),
    /// At most so many: the channel itself is unbounded, and its senders keep to the limit.
    Counted(usize),
    /// It is no channel of ours.
    System(&'static str),
}

/// What becomes of a send to a full channel.
pub(super) enum Full {
    /// It waits. This is why there will be room.
    Waits(&'static str),
    /// It does not wait. This is what happens instead.
    GoesOn(&'static str),
}

use Bound::{Counted, Slots, System};
use Full::{GoesOn, Waits};
use Role::{Client, Command, Console, Link, Node, Recorder, Renewer, Signals, Sweeper, TcpServe, Transfer, UdpRecv};

const NODE_TAKES: &str = "the sender waits: the node goes on taking, and waits for no other thread";

pub(super) const DATAGRAMS: Channel = Channel {
    name: "datagrams",
    to: &[Node],
    bound: Slots(64),
    full: Waits("the sender waits for 0.25 s, and the socket keeps what comes; then the batch is lost, and counted"),
};

pub(super) const SPENT: Channel =
    Channel { name: "spent", to: &[UdpRecv], bound: Slots(64), full: GoesOn("the empty batch is freed") };

pub(super) const POSTS: Channel = Channel { name: "posts", to: &[Node], bound: Slots(128), full: Waits(NODE_TAKES) };

pub(super) const COMMANDS: Channel =
    Channel { name: "commands", to: &[Node], bound: Counted(256), full: Waits(NODE_TAKES) };

pub(super) const TICKS: Channel =
    Channel { name: "ticks", to: &[Node], bound: Slots(1), full: GoesOn("the tick that waits will do for both") };

pub(super) const LEAVE: Channel =
    Channel { name: "leave", to: &[Node], bound: Slots(1), full: GoesOn("the node is told already") };

pub(super) const DEADLINES: Channel =
    Channel { name: "deadlines", to: &[Sweeper], bound: Slots(1), full: GoesOn("the sooner one takes the place") };

pub(super) const JOBS: Channel = Channel {
    name: "jobs",
    to: &[Transfer],
    bound: Slots(MAX_JOBS),
    full: GoesOn("the job fails; the node has no more out"),
};

pub(super) const LINES: Channel = Channel {
    name: "lines",
    to: &[Link],
    bound: Counted(1024),
    full: GoesOn("a request comes back, an answer is lost"),
};

pub(super) const MOMENTS: Channel = Channel {
    name: "moments",
    to: &[Recorder],
    bound: Counted(1 << 14),
    full: GoesOn("moments are lost, and counted"),
};

pub(super) const ANSWERS: Channel = Channel {
    name: "answers",
    to: &[Console, Signals, Command, Renewer],
    bound: Counted(256),
    full: GoesOn(
        "progress is lost, but never what was kept nor an answer: each command has one, and `commands` bounds those",
    ),
};

pub(super) const NOTICES: Channel = Channel {
    name: "notices",
    to: &[],
    bound: Counted(256),
    full: GoesOn("the watcher misses it, and learns how many it missed"),
};

pub(super) const CONNECTIONS: Channel = Channel {
    name: "connections",
    to: &[TcpServe],
    bound: Counted(128),
    full: GoesOn("one that is idle or stalled makes room, or the newcomer is turned away"),
};

pub(super) const CLIENTS: Channel = Channel {
    name: "clients",
    to: &[Client],
    bound: Counted(64),
    full: GoesOn("the first that said nothing makes room, or the newcomer is told so"),
};

pub(super) const LINE: Channel =
    Channel { name: "line", to: &[Command], bound: Slots(1), full: GoesOn("a client has one line") };

pub(super) const RENEWALS: Channel =
    Channel { name: "renewals", to: &[Renewer], bound: Slots(1), full: GoesOn("the renewer is woken already") };

pub(super) const NETWORK: Channel =
    Channel { name: "network", to: &[], bound: System("the socket's buffer"), full: GoesOn("the datagram is lost") };

/// Channels of which a peer has one each, whose lengths are noted by those who put something in or take something out.
#[derive(Clone, Copy)]
pub(super) enum Gauged {
    Datagrams,
    Posts,
    Commands,
    Ticks,
    Jobs,
    Moments,
}

/// The rows of these, in their order.
pub(super) const GAUGED: [&Channel; 6] = [&DATAGRAMS, &POSTS, &COMMANDS, &TICKS, &JOBS, &MOMENTS];

impl Gauged {
    pub(super) const ALL: [Self; GAUGED.len()] =
        [Self::Datagrams, Self::Posts, Self::Commands, Self::Ticks, Self::Jobs, Self::Moments];

    /// This thread put something in or took something out, and saw that it holds so many.
    pub(super) fn note(self, length: usize) {
        gauges::queue(self as usize, length);
    }
}

impl Channel {
    /// A new channel of this kind.
    pub(super) fn open<T>(&self) -> (Sender<T>, Receiver<T>) {
        match self.bound {
            Slots(most) => bounded(most),
            Counted(_) => unbounded(),
            System(what) => panic!("{what} is no channel of ours"),
        }
    }

    /// What a full one means.
    pub(super) const fn when_full(&self) -> &'static str {
        let (Waits(means) | GoesOn(means)) = self.full;
        means
    }

    /// Whether anything is lost or refused where it is full. A burst that only waits, as of the ring's lines behind a
    /// segment that was lost, does no harm.
    pub(super) const fn loses(&self) -> bool {
        matches!(self.full, GoesOn(_))
    }

    /// What it holds at most.
    pub(super) const fn most(&self) -> usize {
        match self.bound {
            Slots(most) | Counted(most) => most,
            System(_) => usize::MAX,
        }
    }
}
