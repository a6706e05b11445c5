//! The seam: which peers hold a key?
//!
//! An overlay maps a key to its *replica set*, the live peers nearest to it in the overlay's own geometry. Kademlia
//! finds it by asking ever nearer peers itself, the ring by forwarding the question along. What stands above this trait
//! asks it which peers are responsible, and uses XOR only to choose among peers that were found; what stands below it
//! sends nothing itself, waits for no answer by a clock of its own, and holds no block and no file.
//!
//! An overlay is a state machine. The node tells it each [`Cause`], what happened, and it pushes [`Effect`]s: questions
//! it wants asked, and things it found out. Requests that expect an answer go out as [`Effect::Ask`] under a [`Tag`] of
//! the overlay's choosing; exactly one of [`Cause::Answer`] and [`Cause::NoAnswer`] follows for each, after
//! [`Cause::Late`] where it takes long.
//!
//! What only the ring does, forwarding requests about files by their names, stands in [`ring`] behind [`Router`].

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Config, PING_BYTES, told_within};
use crate::id::{Id, Key};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Dialect, Request, RequestKind, Response, Sender, Via};

mod density;
mod fair_queue;
pub mod kademlia;
pub mod ring;
mod roll_call;
mod twin;

use kademlia::Kademlia;
use ring::Ring;
pub use ring::{RingEffect, RingOptions, RouteNotice, RouteOutcome, Router, SuccessorChange};

/// Which overlay a peer joins.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlayKind {
    /// Kademlia: peers keep contacts by the distance of their ids.
    #[default]
    Kademlia,
    /// The ring; [`RingOptions`] say how.
    Ring,
}

impl OverlayKind {
    /// The overlay of the peer `me`. All its randomness comes from `seed`.
    pub fn build(&self, me: Peer, seed: [u8; 32], guest: bool) -> Box<dyn Overlay> {
        self.build_with(me, seed, &Config { guest, ..Config::default() }, &RingOptions::default())
    }

    /// [`build`](Self::build) as this configuration has it, with other options where it is a ring.
    pub fn build_with(&self, me: Peer, seed: [u8; 32], config: &Config, ring: &RingOptions) -> Box<dyn Overlay> {
        let &Config { guest, strict_addresses, .. } = config;
        match self {
            Self::Kademlia => Box::new(Kademlia::new(me, seed, guest).with_addresses(strict_addresses)),
            Self::Ring => Box::new(Ring::new(me, RingOptions { guest, ..ring.clone() })),
        }
    }

    /// How far two ids are from one another: by XOR, or on the ring the shorter way around. Distances compare as
    /// numbers.
    pub fn distance(&self, one: &Id, other: &Id) -> Id {
        match self {
            Self::Kademlia => one.distance(other),
            Self::Ring => one.minus(other).min(other.minus(one)),
        }
    }

    /// What answers call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kademlia => "kademlia",
            Self::Ring => "ring",
        }
    }

    /// For how long a peer is silent before those that look after it call it dead: at least, and where nothing gets
    /// lost at most. Others are told within a second or two.
    pub fn silence(&self) -> [Duration; 2] {
        match self {
            Self::Kademlia => kademlia::silence(),
            Self::Ring => ring::silence(),
        }
    }

    /// The text that carries its messages.
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Kademlia => Dialect::Kademlia,
            Self::Ring => Dialect::Ring,
        }
    }
}

/// A peer that went silent longer ago is no longer missed, even by a peer that is left alone.
pub(crate) const MISSED: Duration = Duration::from_secs(600);

/// Names a lookup; the node chooses it.
pub type LookupId = u64;

/// A question that is asked for a lookup of the node's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupStep {
    /// The lookup.
    pub lookup: LookupId,
    /// Why this peer is asked now.
    pub reason: AskReason,
}

/// Why a lookup asks a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskReason {
    /// It is the nearest known that was not asked, or on the ring the next hop on the way to the key.
    Nearest,
    /// No nearer peer is left, so all of the nearest are asked at once; on the ring, those that the owner named.
    Wide,
    /// Once more: its first answer may have left out names. On the ring, another way was tried before.
    Repeat,
    /// To show that it is who it was said to be, or there at all, before it counts.
    Proof,
    /// A ping beside a question on its way, to find out whether its next hop is there.
    Beside,
}

/// Names a question of the overlay's own; it comes back with the answer.
pub type Tag = u64;

/// What a lookup is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Goal {
    /// The replica set: where a block belongs.
    Peers,
    /// The peers that hold the block; each is told as soon as it is known ([`Effect::Holder`]).
    Holders,
    /// The same once more, because all that were found failed: a peer that says that it holds the block takes no other
    /// peer's place in the search, so that liars near the key do not hide the holders behind them.
    MoreHolders,
    /// The peers nearest to an id that is away from the key by one part in 2^(n + 1) of all ids, and none that stands
    /// nearer to the key: peers that chose to stand there do not hide them. On the ring they follow the key.
    Around(u8),
    /// A look for people: the replica set, and its holders if the peers asked on the way know of any.
    Survey,
}

impl Goal {
    /// Where a lookup [around](Self::Around) its key goes.
    pub fn level(self) -> Option<usize> {
        if let Self::Around(level) = self { Some(level.into()) } else { None }
    }

    /// Whether a peer that says that it holds the block is to be told.
    pub fn seeks_holders(self) -> bool {
        !matches!(self, Self::Peers | Self::Around(_))
    }
}

/// A peer to ask; its id is unknown while all we have is a bootstrap address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its id, if known.
    pub id: Option<Id>,
    /// Its address.
    pub addr: SocketAddr,
}

impl From<Peer> for Target {
    fn from(peer: Peer) -> Self {
        Self { id: Some(peer.id), addr: peer.addr }
    }
}

impl Target {
    /// The peer, if its id is known.
    pub fn peer(self) -> Option<Peer> {
        self.id.map(|id| Peer::new(id, self.addr))
    }
}

/// The peer that asked something: the token that goes back with the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// The address that the request really came from.
    pub addr: SocketAddr,
    /// What carried it, and carries the answer.
    pub via: Via,
    /// Names the request.
    pub magic: u64,
    /// The bytes that the answer may have, while that address has not shown that it receives what is sent to it.
    pub allowance: Option<usize>,
    /// It reads an answer that comes by datagram, whatever carried the request.
    pub datagrams: bool,
    /// It will remember who answers, and reads a brief answer.
    pub recalls: Option<Recalls>,
}

/// A peer that remembers who answers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recalls {
    /// It remembers this peer already.
    pub knows_us: bool,
    /// The bytes that an answer may have in which a ping goes too: see [`Asker::allowance`].
    pub most: Option<usize>,
}

impl Asker {
    /// The asker of the request `magic`, which gets its answer over a connection to `addr`.
    pub const fn connected(addr: SocketAddr, magic: u64) -> Self {
        Self { addr, via: Via::Tcp, magic, allowance: None, datagrams: false, recalls: None }
    }

    /// Whether `other` asks the same, perhaps once more.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.addr, self.magic) == (other.addr, other.magic)
    }

    /// Whether its address has shown that it receives what is sent to it.
    pub const fn is_validated(&self) -> bool {
        self.allowance.is_none()
    }

    /// The same where no ping goes there beside the answer: that may be longer by as much.
    pub fn without_ping(self) -> Self {
        Self { allowance: self.allowance.map(|allowance| told_within(allowance.saturating_add(PING_BYTES))), ..self }
    }

    /// Whether an answer of so many bytes may go there.
    pub fn has_paid_for(&self, bytes: usize) -> bool {
        self.allowance.is_none_or(|allowance| allowance >= bytes)
    }
}

/// The envelope of a request that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// The peer that gets the answer.
    pub asker: Asker,
    /// The peer that its sender says it is.
    pub sender: Option<Sender>,
}

/// What a lookup found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Live peers nearest to the key, nearest first, at most [`WIDTH`](crate::config::WIDTH); this peer among them if
    /// it is one.
    pub peers: Vec<Peer>,
    /// Requests in the longest chain that led to the result.
    pub hops: u32,
    /// Peers that were named, would be among those found, and did not answer.
    pub unreached: Vec<Peer>,
    /// Whether it came to those that the key leads to: on the ring its owner answered, on Kademlia no nearer peer is
    /// left to be asked. If not, those found are the peers known here, and what they lack others may have.
    pub conclusive: bool,
    /// Whether those found stand closer together than chance puts peers: an attacker may hide others behind them.
    pub crowded: bool,
}

/// What an overlay wants done, or found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask `to`, for as long as `tries` says ([`patience`](crate::patience)), and report under `tag`.
    Ask {
        /// The peer to ask.
        to: Target,
        /// What it is asked. A request that has an origin is answered by the peer that it comes to in the end.
        request: Request,
        /// Comes back with the answer or the failure.
        tag: Tag,
        /// How long it is repeated before it has failed: see [`patience`](crate::patience).
        tries: u8,
        /// The step of a lookup of the node's that it is; none if it is for the overlay's own upkeep.
        step: Option<LookupStep>,
    },
    /// Pass a request on under the magic it came with, on behalf of the peer that asked first.
    Forward {
        /// The next hop.
        to: Peer,
        /// The magic of the request that is passed on.
        magic: u64,
        /// The request, as the next hop shall see it.
        request: Request,
    },
    /// Answer a request.
    Respond {
        /// The peer that gets the answer.
        to: Asker,
        /// The kind of the request: [`Request::kind`].
        kind: RequestKind,
        /// The answer.
        response: Response,
    },
    /// A lookup for holders met one; more may follow until it is found.
    Holder {
        /// The lookup's name.
        lookup: LookupId,
        /// A peer that says it holds the block (or should hold it, where the overlay cannot ask).
        peer: Peer,
    },
    /// A lookup is over. It ends exactly once.
    Found {
        /// The lookup's name.
        lookup: LookupId,
        /// What it found.
        found: Found,
    },
    /// The overlay joined the network (or knows that there is none to join).
    Joined {
        /// Peers known by then.
        peers: usize,
        /// Peers that answer and did not let this one in, where it knows no other.
        shut_out: usize,
    },
    /// A peer entered our view of the network: replica sets near it may have changed.
    PeerUp(Peer),
    /// A peer was found dead or left: replica sets near it have changed.
    PeerDown(Peer),
    /// Another peer runs with our id.
    Twin {
        /// Where it runs.
        addr: SocketAddr,
    },
    /// What only the ring wants or finds out. The end of a route goes to the part that asked, the rest to every part as
    /// news.
    Ring(RingEffect),
}

/// A range of keys that the same peers should hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// The least of these keys.
    pub first: Key,
    /// The greatest of these keys.
    pub last: Key,
    /// Their replica set, as far as this peer knows: those nearest to the key that was asked about come first.
    pub members: Vec<Peer>,
}

/// A row of the `table` command: one part of the routing table, as the overlay sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableRow {
    /// What this part is: `bucket 255`, `successor 1`, `finger 7`, …
    pub label: String,
    /// Its peers, in the overlay's order.
    pub peers: Vec<Peer>,
    /// Peers waiting to take a place in it.
    pub spare: usize,
}

/// How late an answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Late {
    /// It takes longer than usual.
    Overdue,
    /// So many datagrams are without an answer that the peer is to be doubted; or the connection over which the
    /// question is to go is late.
    Doubtful,
}

/// What happened, as an overlay hears of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause<'a> {
    /// A request came. Requests about blocks reach the overlay only where the node itself cannot answer them (a
    /// [`Request::FindValue`] for a block that is not here, or while this peer leaves).
    Request {
        /// Its envelope.
        from: &'a Incoming,
        /// What is asked.
        request: &'a Request,
    },
    /// A question of the overlay's has its answer.
    Answer {
        /// The tag of the question.
        tag: Tag,
        /// The address that answered.
        from: SocketAddr,
        /// The peer there, if the answer names it.
        by: Option<Peer>,
        /// The answer.
        response: &'a Response,
    },
    /// A question of the overlay's has no answer yet, though it is overdue; it was sent again. It may come still.
    Late {
        /// The tag of the question.
        tag: Tag,
        /// How late it is.
        late: Late,
    },
    /// A question of the overlay's has no answer: no response to any try, an error, or the peer could not be reached.
    NoAnswer {
        /// The tag of the question.
        tag: Tag,
        /// The peer that was asked.
        to: Target,
    },
    /// Any request of ours (the overlay's or not) was answered: that peer is alive.
    Alive {
        /// The address that answered.
        addr: SocketAddr,
    },
    /// An answer came to a request that had failed: the peer at `addr` lives, whatever was found before.
    Revived {
        /// The address that answered.
        addr: SocketAddr,
    },
    /// A request or a message got no answer, or no connection: the peer at `addr` may be gone.
    Silent {
        /// The address that was asked.
        addr: SocketAddr,
    },
    /// A request that this peer only passed on ([`Effect::Forward`]) waits for a connection to `addr` that is late, and
    /// need not wait for it. The peer there may live.
    Detour {
        /// The address that the message was for.
        addr: SocketAddr,
        /// The magic of the request.
        magic: u64,
        /// The request that was to be sent.
        request: &'a Request,
    },
    /// A message could not be delivered over TCP: no peer listens at `addr`.
    Undeliverable {
        /// The address that the message was for.
        addr: SocketAddr,
        /// The magic and the request that was to be sent, if this peer only passed it on ([`Effect::Forward`]).
        forwarded: Option<(u64, Request)>,
    },
    /// Others reach this peer at another address from now on.
    Moved {
        /// That address.
        addr: SocketAddr,
    },
    /// The names that the user gave were looked up anew, and lead to these addresses.
    Ways(&'a Entrances<'a>),
    /// The time of [`Overlay::next_tick`] has come.
    Tick,
}

/// Ways into the network.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Entrances<'a> {
    /// Addresses that the user gave.
    pub known: &'a [SocketAddr],
    /// Those of them that belong to one host.
    pub hosts: &'a [Vec<SocketAddr>],
    /// Peers remembered from the last run.
    pub remembered: &'a [Peer],
}

/// An overlay network's routing, without I/O. See the [module documentation](self).
pub trait Overlay: Send {
    /// Which overlay this is.
    fn kind(&self) -> OverlayKind;

    /// This peer.
    fn me(&self) -> Peer;

    /// Joins the network through any of the `entrances`. [`Effect::Joined`] follows.
    fn join(&mut self, now: Time, entrances: &Entrances<'_>, out: &mut Vec<Effect>);

    /// Starts a lookup; [`Effect::Found`] follows.
    fn lookup(&mut self, now: Time, lookup: LookupId, key: Key, goal: Goal, out: &mut Vec<Effect>);

    /// Ends a lookup whose result is not needed any more. No [`Effect::Found`] follows.
    fn cancel(&mut self, lookup: LookupId);

    /// Something happened.
    fn on(&mut self, now: Time, cause: Cause<'_>, out: &mut Vec<Effect>);

    /// When [`Cause::Tick`] is wanted next.
    fn next_tick(&self) -> Option<Time>;

    /// Says goodbye, so that no other peer has to find out.
    fn leave(&mut self, now: Time, out: &mut Vec<Effect>);

    /// The replica set of `key` as far as this peer knows without asking: at most `count` peers believed alive,
    /// nearest first, this peer among them if it is one.
    fn replica_set(&self, key: &Key, count: usize) -> Vec<Peer>;

    /// The keys around `key` that have the same [replica set](Self::replica_set), in whatever order.
    fn region(&self, key: &Key, count: usize) -> Region;

    /// Every peer in the routing table.
    fn peers(&self) -> Vec<Peer>;

    /// The routing table, for people.
    fn table(&self) -> Vec<TableRow>;

    /// The overlay that sends requests about files by their names on their way, if it is one: only the ring does.
    fn router(&mut self) -> Option<&mut dyn Router> {
        None
    }

    /// What must be true between any two events; the simulator asks after each.
    ///
    /// # Errors
    /// Says which part contradicts which.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}
