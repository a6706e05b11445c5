//! The seam: which peers hold a key?
//!
//! An overlay maps a key to its *replica set*, the live peers nearest to it in the overlay's own geometry. Kademlia
//! finds it by asking ever nearer peers itself, the ring by forwarding the question along. What stands above this
//! trait knows neither XOR nor successors; what stands below it knows no socket, deadline, file or block.
//!
//! An overlay is a state machine. The node calls it with what happened, and it pushes [`Effect`]s: questions it wants
//! asked, and things it found out. Requests that expect an answer go out as [`Effect::Ask`] under a [`Tag`] of the
//! overlay's choosing; exactly one of [`Overlay::on_response`] and [`Overlay::on_failure`] follows for each.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Id, Key};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingResponse, Routed};
use crate::wire::{Dialect, Request, RequestKind, Response, Sender, Via};

pub mod kademlia;
pub mod ring;

use kademlia::Kademlia;
use ring::Ring;
pub use ring::RingOptions;

/// Which overlay a peer joins, and its options.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlayKind {
    /// Kademlia.
    #[default]
    Kademlia,
    /// The ring, with 256-bit ids and shortcuts.
    Ring,
}

impl OverlayKind {
    /// The overlay of the peer `me`. All its randomness comes from `seed`.
    pub fn build(&self, me: Peer, seed: [u8; 32], guest: bool) -> Box<dyn Overlay> {
        self.build_with(me, seed, guest, &RingOptions::default())
    }

    /// [`build`](Self::build), with other options where it is a ring.
    pub fn build_with(&self, me: Peer, seed: [u8; 32], guest: bool, ring: &RingOptions) -> Box<dyn Overlay> {
        match self {
            Self::Kademlia => Box::new(Kademlia::new(me, seed, guest)),
            Self::Ring => Box::new(Ring::new(me, RingOptions { guest, ..ring.clone() })),
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

/// Names a lookup; chosen by whoever starts it.
pub type LookupId = u64;

/// Names a question of the overlay's own; it comes back with the answer.
pub type Tag = u64;

/// What a lookup is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Goal {
    /// The replica set: where a block belongs.
    Peers,
    /// The peers that hold the block; each is told as soon as it is known ([`Effect::Holder`]).
    Holders,
    /// The same once more, because all that were found failed: whoever says that it holds the block takes nobody's place
    /// in the search, so that liars near the key do not hide the holders behind them.
    MoreHolders,
    /// A look for people: the replica set, and its holders if the peers asked on the way know of any.
    Survey,
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

/// The envelope of a request that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// The address it really came from.
    pub addr: SocketAddr,
    /// Whether that address has shown that it receives what is sent to it.
    pub validated: bool,
    /// Who it says it is.
    pub sender: Option<Sender>,
    /// Goes back with the answer.
    pub magic: u64,
}

/// What an overlay wants done, or found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask `to`, at most `tries` times, and report under `tag`.
    Ask {
        /// Whom.
        to: Target,
        /// What.
        request: Request,
        /// Comes back with the answer or the failure.
        tag: Tag,
        /// Datagrams sent at most before the request has failed; 1 never retries.
        tries: u8,
        /// The answer may come from another peer than `to` (a forwarded request is answered by its owner).
        from_anyone: bool,
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
    /// Answer the request `magic`.
    Respond {
        /// The address that gets the answer.
        to: SocketAddr,
        /// The magic of the request.
        magic: u64,
        /// The kind of the request: [`Request::kind`].
        kind: RequestKind,
        /// The answer.
        response: Response,
    },
    /// A lookup for holders met one; more may follow until it is found.
    Holder {
        /// Which lookup.
        lookup: LookupId,
        /// A peer that says it holds the block (or should hold it, where the overlay cannot ask).
        peer: Peer,
    },
    /// A lookup is over. It ends exactly once.
    Found {
        /// Which lookup.
        lookup: LookupId,
        /// Live peers nearest to the key, nearest first, at most [`Overlay::width`]; this peer among them if it is one.
        peers: Vec<Peer>,
        /// Requests in the longest chain that led to the result.
        hops: u32,
        /// Peers that were named, would be among those found, and did not answer.
        unreached: usize,
    },
    /// The overlay joined the network (or knows that there is nobody to join).
    Joined {
        /// Peers known by then.
        peers: usize,
    },
    /// A peer entered our view of the network: replica sets near it may have changed.
    PeerUp(Peer),
    /// A peer was found dead or left: replica sets near it have changed.
    PeerDown(Peer),
    /// A request about a file by its name has reached the peer responsible for it: this one. Whoever stands above
    /// answers `origin` under `magic`.
    Arrived {
        /// Who asked first.
        origin: Peer,
        /// The magic of the request.
        magic: u64,
        /// What is asked.
        what: Routed,
    },
    /// A request that was started with [`Overlay::route`] is over. It ends exactly once.
    Settled {
        /// Which.
        lookup: LookupId,
        /// How.
        outcome: RouteOutcome,
    },
    /// Something worth telling that changes nothing above the overlay.
    Notice(RouteNotice),
}

/// How a routed request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RouteOutcome {
    /// This peer is responsible itself: nothing was sent.
    Here,
    /// The responsible peer answered.
    Answered {
        /// From this address.
        from: SocketAddr,
        /// That.
        response: RingResponse,
    },
    /// No way led to an answer.
    Lost,
}

/// What an overlay tells those who watch. Only the ring has something to tell; the classroom's lines are made of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RouteNotice {
    /// The pings of an interval went out.
    PingsSent {
        /// To these successors.
        to: Vec<Peer>,
    },
    /// A ping came that its sender's interval asked for.
    PingReceived {
        /// From whom.
        from: Peer,
    },
    /// Such a ping of ours was answered.
    PingAnswered {
        /// By whom.
        by: Peer,
    },
    /// Something on its way to the peer responsible for it was sent on.
    Forwarded {
        /// What.
        what: Routed,
        /// Who asked first; this peer where it asks itself.
        origin: Peer,
        /// Who gets it next.
        to: Peer,
    },
    /// This peer's successors are other ones now, or were confirmed by the event that `why` names.
    Successors {
        /// What happened.
        why: Change,
        /// All of them, nearest first.
        successors: Vec<Peer>,
    },
    /// This peer's predecessors are other ones now.
    Predecessors {
        /// All of them, nearest first.
        predecessors: Vec<Peer>,
    },
    /// This peer was not let into the ring. It tries again.
    JoinRefused {
        /// Why, for people.
        reason: String,
    },
}

/// Why successors changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// The user named them at the start.
    Given,
    /// This peer was let into the ring.
    Welcomed,
    /// This peer let another one in, as its own first successor.
    Joined {
        /// Whom.
        peer: Peer,
    },
    /// The first successor told that it has let another peer in.
    Told {
        /// Who told.
        by: Peer,
    },
    /// The first or second successor said goodbye.
    Left {
        /// Who.
        peer: Peer,
    },
    /// The first or second successor was found dead.
    Died {
        /// Who.
        peer: Peer,
    },
    /// Anything else: stabilisation found a nearer one, or one further away changed.
    Stabilized,
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

/// An overlay network's routing, without I/O. See the [module documentation](self).
pub trait Overlay: Send {
    /// What users call this overlay.
    fn name(&self) -> &'static str;

    /// This peer.
    fn me(&self) -> Peer;

    /// The most peers a lookup returns.
    fn width(&self) -> usize;

    /// What carries `request` to another peer. What belongs on a connection is refused in a datagram.
    fn carrier(&self, request: &Request) -> Via;

    /// Which text carries its messages.
    fn dialect(&self) -> Dialect {
        Dialect::Kademlia
    }

    /// Which of the addresses to join through belong to one host. Said before [`join`](Self::join); an overlay that seeks
    /// them only while it knows nobody has no use for it.
    fn same_hosts(&mut self, _hosts: Vec<Vec<SocketAddr>>) {}

    /// Joins the network through any of the addresses `known`, and the peers remembered from the last run.
    /// [`Effect::Joined`] follows.
    fn join(&mut self, now: Time, known: &[SocketAddr], remembered: &[Peer], out: &mut Vec<Effect>);

    /// Starts a lookup; [`Effect::Found`] follows.
    fn lookup(&mut self, now: Time, lookup: LookupId, key: Key, goal: Goal, out: &mut Vec<Effect>);

    /// Sends `what` on its way to the peer responsible for it; [`Effect::Settled`] follows. Only the ring has such
    /// requests; elsewhere they are lost at once.
    fn route(&mut self, _now: Time, lookup: LookupId, _what: Routed, out: &mut Vec<Effect>) {
        out.push(Effect::Settled { lookup, outcome: RouteOutcome::Lost });
    }

    /// Ends a lookup whose result nobody needs any more. No [`Effect::Found`] follows.
    fn cancel(&mut self, lookup: LookupId);

    /// A request came. Requests about blocks reach the overlay only where the node itself cannot answer them (a
    /// [`Request::FindValue`] for a block that is not here).
    fn on_request(&mut self, now: Time, from: &Incoming, request: &Request, out: &mut Vec<Effect>);

    /// The answer to the question `tag`, from the peer at `from`.
    fn on_response(&mut self, now: Time, tag: Tag, from: SocketAddr, response: &Response, out: &mut Vec<Effect>);

    /// The question `tag` has no answer: no response to any try, an error, or the peer could not be reached.
    fn on_failure(&mut self, now: Time, tag: Tag, to: Target, out: &mut Vec<Effect>);

    /// A message could not be delivered to `to` over TCP: whoever listened there is gone. `request` is what was to be
    /// sent, if it was a request that this peer only passed on ([`Effect::Forward`]).
    fn on_undeliverable(&mut self, now: Time, to: SocketAddr, forwarded: Option<(u64, Request)>, out: &mut Vec<Effect>);

    /// A request of ours that was not the overlay's was left without an answer by whoever is at `to`: it may be gone.
    fn on_silence(&mut self, now: Time, to: SocketAddr, out: &mut Vec<Effect>);

    /// Any request of ours (the overlay's or not) was answered by `peer` after `rtt`, so it is alive.
    fn on_alive(&mut self, now: Time, peer: SocketAddr, rtt: Duration, out: &mut Vec<Effect>);

    /// Does whatever is due by `now`.
    fn on_tick(&mut self, now: Time, out: &mut Vec<Effect>);

    /// When [`on_tick`](Self::on_tick) is wanted next.
    fn next_tick(&self) -> Option<Time>;

    /// The replica set of `key` as far as this peer knows without asking: at most `count` peers believed alive,
    /// nearest first, this peer among them if it is one.
    fn replica_set(&self, key: &Key, count: usize) -> Vec<Peer>;

    /// Whether `peer` is, was until it went, or will be among the `count` peers that should hold `key`: whether its
    /// coming or going changes that replica set, as far as this peer knows.
    fn concerns(&self, key: &Key, peer: &Peer, count: usize) -> bool;

    /// These peers should hold a block that this one holds: when one of them goes, this one has to notice. An overlay
    /// whose neighbours are those that share blocks has nothing to add.
    fn watch(&mut self, _now: Time, _peers: &[Peer]) {}

    /// Says goodbye, so that nobody needs to find out.
    fn leave(&mut self, now: Time, out: &mut Vec<Effect>);

    /// Every peer in the routing table.
    fn peers(&self) -> Vec<Peer>;

    /// The routing table, for people.
    fn table(&self) -> Vec<TableRow>;

    /// What must be true between any two events; the simulator asks after each.
    ///
    /// # Errors
    /// Says which part contradicts which.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}
