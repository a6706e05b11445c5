//! What a part of the node asks under, and all that it hears: the reply to that, and news.

use std::net::SocketAddr;
use std::time::Duration;

use super::job::{JobId, Outcome, Urgency};
use super::refusal::Refusal;
use crate::id::{Id, Key};
use crate::lease::{Lease, UnixTime};
use crate::name::FileName;
use crate::overlay::{Found, RingEffect, RouteOutcome, Target};
use crate::peer::Peer;
use crate::wire::Response;

/// The parts, in the order in which they hear of what concerns several. Each has a row in [`PARTS`](super::parts).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum PartId {
    /// Copies that other peers say they have made.
    Claims,
    /// The ways to other peers.
    Reach,
    /// Files on their way into the network.
    Puts,
    /// Blocks whose replica sets are kept full.
    Repair,
    /// Blocks that were found damaged here, until they are back; and looking at those that may be.
    Heal,
    /// The peers known, on disk.
    Memory,
    /// The names of the peers to join through, looked up anew.
    Bootstrap,
    /// Files by their names: the part that is [added](super::Node::add) from outside.
    NamedFiles,
    /// Files on their way out of the network.
    Gets,
    /// This peer's departure.
    Departure,
    /// Blocks that other peers ask us to hold.
    Pulls,
    /// The reading of all blocks, once in a while.
    Scrub,
    /// Whether this peer may be switched off.
    Safety,
    /// What other peers ask after a block held here: whether it is here, for whom, and whether it is sound.
    Answering,
    /// Leases, and blocks whose leases have ended.
    Leases,
    /// Files whose local copies are dropped.
    Clears,
    /// Files whose safety is looked at.
    Checks,
    /// Files whose leases are renewed or ended.
    LeaseChanges,
    /// Files that get another lease.
    Lays,
    /// What the user asks and others answer.
    User,
}

/// What a part asked for: it comes back with each reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    /// The part that gets the reply.
    pub(crate) owner: PartId,
    /// The thing that it is about, in the part's own numbers: a file, a command; 0 where the part has but one.
    pub(crate) number: u64,
    /// The step of that thing.
    pub(crate) about: About,
}

/// A step of what a part does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    /// The thing as a whole.
    Whole,
    /// One of its blocks.
    Block(Key),
    /// One of its items, by number.
    Item(u64),
    /// The peers around the key of one of its items.
    Around(u64),
    /// The peers around the key of one of its blocks.
    AroundBlock(Key),
}

impl Ticket {
    /// About thing number `number` as a whole.
    pub(crate) const fn of(owner: PartId, number: u64) -> Self {
        Self { owner, number, about: About::Whole }
    }

    /// About a block, where the part knows its things by that alone.
    pub(crate) const fn block(owner: PartId, block: Key) -> Self {
        Self { owner, number: 0, about: About::Block(block) }
    }
}

/// What came of something that was asked for. Each request has one answer or none, each offer one end, each lookup one
/// end after any number of holders, each job one outcome; unless the part takes it back before.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A request was answered.
    Answer(Answered),
    /// A request has no answer.
    Silence {
        /// The peer that was asked.
        to: Target,
        /// What happened instead, for people.
        reason: &'static str,
    },
    /// A peer was offered a block: what its answer shows, or why it has none. It comes to the [judge](super::claims).
    Claimed {
        /// What it was offered, and by whom.
        offer: Offer,
        /// What shows that it has the block.
        result: Result<Proof, Refusal>,
    },
    /// An offer was taken, or was not.
    OfferEnded {
        /// The peer that it was made to.
        to: Peer,
        /// It [has it](super::desk::claims); or why it does not.
        result: Result<Taken, Refusal>,
    },
    /// This peer says that it has what it was offered, and has not shown it for too long. The end of the offer follows.
    LateProof(Peer),
    /// A lookup met a peer that says it holds the block.
    Holder(Peer),
    /// A lookup is over.
    Found(Found),
    /// A job is done.
    Done {
        /// The job.
        job: JobId,
        /// What came of it.
        outcome: Outcome,
    },
    /// What was sent on its way to the peer responsible for it has come to its end.
    RouteEnded(RouteOutcome),
}

/// An answer to a request.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The peer that was asked.
    pub(crate) to: Target,
    /// The peer that answered, where it says who it is.
    pub(crate) by: Option<Peer>,
    /// Its answer, or why it gives none.
    pub(crate) answer: Result<Response, Refusal>,
    /// The round trip; where none could be measured, the time that the answer took.
    pub(crate) rtt: Duration,
}

/// A block that is offered to a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// What its end is reported under.
    pub(crate) ticket: Ticket,
    /// For whom it is made: the user's files and the others' blocks take turns.
    pub(crate) urgency: Urgency,
    pub(crate) key: Key,
    pub(crate) to: Peer,
    /// Whether that peer has to show that it has the block, if it did not pull it.
    pub(crate) to_show: bool,
}

/// How a peer has a block that it was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// It had to pull it from here.
    Pulled,
    /// It had it before, and has shown that.
    Had,
    /// It has shown it. A peer beside it on its host was sent it meanwhile, so it may have had it from there.
    Unclear,
}

/// What shows that a peer which says that it has saved a block has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// A peer of its host pulled it from here since it was offered.
    Pulled,
    /// It did not, as far as is seen, pull the block from here. It says that this is the hash of the bytes which the
    /// offer `magic` names. If that is so, this is how it has the block.
    Sample { magic: u64, sample: Id, shows: Taken },
    /// Nothing shows it but the peer's word.
    Nothing,
}

/// What several parts have to know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News<'a> {
    /// This peer has joined the network.
    Joined,
    /// A peer came.
    Up,
    /// A peer is gone.
    Down(&'a Peer),
    /// A peer that was offered something is silent for so long that it is [`Late::Doubtful`](crate::overlay::Late).
    Doubtful(SocketAddr),
    /// A peer that was offered something has not begun to take it, and no peer takes anything meanwhile.
    Hesitates(SocketAddr),
    /// A peer that was offered something lives, and does not begin to take it.
    Stalls(SocketAddr),
    /// It is known by now whether the peer at this address can be connected to, or cannot be known.
    Dialled(SocketAddr),
    /// The blocks that were in the store when this peer began are known. By the clock it was off for so many seconds,
    /// and these peers are on disk for the next start.
    StoreRead { off: UnixTime, remembered: &'a [Peer] },
    /// Others reach this peer at another address from now on.
    Moved,
    /// A block is in the store now.
    Held(&'a Key),
    /// A block in the store is to have another number of copies.
    Recounted(&'a Key),
    /// A block is not in the store any more, as the user wished.
    Dropped(&'a Key),
    /// All blocks are out of reach: nothing is in the store any more.
    AllGone,
    /// A block in the store was found damaged, and is gone. Its file had so many bytes.
    Damaged { key: &'a Key, size: u32, leases: &'a [Lease] },
    /// A block that should be in the store was not found there.
    MaybeMissing(&'a Key),
    /// This peer is to leave the network; its blocks and files are handed over first, or are not.
    Leaving { handover: bool },
    /// What the ring alone tells.
    Ring(&'a RingEffect),
    /// A peer comes for a named file for its user and `goes_on`, or its connection has ended.
    Fetching { file: FileName, by: SocketAddr, goes_on: bool },
    /// A named file was sent, to its end, to a peer that asked for it.
    Fetched { file: FileName, by: SocketAddr },
}
