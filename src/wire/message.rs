//! The one form of a message that the core knows, whatever text carries it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ring::{RingRequest, RingResponse, Routed};
use super::summary::{Difference, Range, Summary};
use crate::id::{Id, Key};
use crate::lease::{Lease, LeaseNews};
use crate::name::FileName;
use crate::network::NetworkName;
use crate::peer::Peer;

/// A request, its response, or an error in its stead.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Names the request: a response carries the magic of its request. Below [`MAGIC_LIMIT`](super::MAGIC_LIMIT).
    pub magic: u64,
    /// The peer that says so. Every request carries it, but for those of Kademlia's to a peer that
    /// [recalls](Sender::recalls) who answered it. Of its responses only those with a list of peers do, unless the peer
    /// that asked knows who answers. They tell the id alone: the address is unspecified once they were read.
    pub sender: Option<Sender>,
    /// What a response answers, where it says so. Only Kademlia's responses do, and none to a peer that
    /// [recalls](Sender::recalls) who answered it.
    pub answers: Option<RequestKind>,
    /// The magic of a ping back, which an answer of Kademlia's may carry to a peer that [recalls](Sender::recalls) who
    /// answered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<u64>,
    /// What is said.
    pub body: Body,
}

/// The peer that a message says it comes from. A courtesy: the address that it really came from is the truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sender {
    /// Its id, and the address it believes to have.
    pub peer: Peer,
    /// A client that came for one command: it never enters a routing table.
    pub guest: bool,
    /// It is about to go: a hint to check whether it has.
    pub leaving: bool,
    /// Of which network it is. Requests tell it, unless it has the usual name: to a peer of another one no answer goes
    /// out.
    #[serde(default, skip_serializing_if = "NetworkName::is_usual")]
    pub network: NetworkName,
    /// It reads an answer that comes by datagram though a connection brought the request. On the ring alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub datagrams: bool,
    /// It remembers who answers it, by the address: a request from there need not carry its sender. Older peers do not.
    /// On Kademlia alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recalls: bool,
}

/// The three kinds of message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Body {
    /// Asks for something.
    Request(Request),
    /// Answers a request.
    Response(Response),
    /// Says why a request has no answer.
    Error(String),
}

/// What one peer asks of another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Are you there, and who are you?
    Ping,
    /// The same, and some news: I found this peer silent. Older peers of Kademlia's read a ping.
    Gone {
        /// The peer that seems to be gone.
        peer: Peer,
    },
    /// Which peers do you know nearest to `id`?
    FindNode {
        /// The target.
        id: Id,
    },
    /// Do you hold the block `key`, and if not, who is nearer to it?
    FindValue {
        /// The block's key.
        key: Key,
    },
    /// Hash the block `key`, if you hold it: is it sound? Older peers read a [`Request::FindValue`], and claim what
    /// that one answers.
    Verify {
        /// The block's key.
        key: Key,
    },
    /// On whose behalf do you keep the block `key`? Older peers read a [`Request::FindValue`].
    Terms {
        /// The block's key.
        key: Key,
    },
    /// Please keep the block `key`: pull it from me over TCP.
    Store {
        /// The block's key.
        key: Key,
        /// Its size in bytes, if the sender told.
        size: Option<u32>,
        /// On whose behalf; at most [`MAX_LEASES`](crate::lease::MAX_LEASES). None asks to keep it for ever.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leases: Vec<Lease>,
    },
    /// What has become of some leases.
    Lease(LeaseNews),
    /// Do you hold the same blocks in these ranges as I do?
    Compare {
        /// The ranges, in ascending order; at most [`MAX_RANGES`](super::summary::MAX_RANGES).
        ranges: Vec<Range>,
        /// What the sender holds in all of them.
        held: Summary,
        /// Of which blocks: those that are to have so many copies, or for 0 those for which no lease asks for a number.
        /// None asks about all.
        copies: Option<u8>,
    },
    /// What only the ring says.
    Ring(RingRequest),
}

/// A [`Request`] without its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RequestKind {
    /// [`Request::Ping`], and [`Request::Gone`].
    Ping,
    /// [`Request::FindNode`].
    FindNode,
    /// [`Request::FindValue`], [`Request::Verify`] and [`Request::Terms`].
    FindValue,
    /// [`Request::Store`].
    Store,
    /// [`Request::Lease`].
    Lease,
    /// [`Request::Compare`].
    Compare,
    /// [`Request::Ring`].
    Ring,
}

/// What answers a [`Request`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Response {
    /// One peer: the one that answers a ping, or that holds the block.
    Node(Peer),
    /// The peer that holds the block, and in how many copies its leases want it kept. Older peers read a
    /// [`Response::Node`].
    Holder {
        /// The holder.
        peer: Peer,
        /// Copies wanted in all; never 0.
        copies: u8,
    },
    /// Peers nearest to what was asked for, nearest first.
    Nodes(Vec<Peer>),
    /// The same in few bytes, to a peer of Kademlia's that [recalls](Sender::recalls) who answers: the node reads
    /// [`Nodes`](Self::Nodes).
    Named(Vec<Peer>),
    /// I am here, who you know; to a peer of Kademlia's that did not say who it is. The node reads
    /// [`Node`](Self::Node).
    Here,
    /// The block is here, hashed and durable.
    Saved,
    /// The same, from a peer that did not pull it from who offered it: it [shows](super::sample) that it has it. Older
    /// peers say `Saved`.
    Shown {
        /// The hash of the bytes that the offer names, with its magic and the peer's id.
        sample: Id,
    },
    /// So many blocks held here carry the leases that were told of.
    Leased {
        /// Blocks that carry any of them.
        blocks: u32,
        /// Those among them that no lease keeps any longer.
        free: u32,
    },
    /// The same blocks are held here in the ranges compared.
    Same,
    /// Other blocks are held here in the ranges compared.
    Differs(Difference),
    /// What came of hashing the block.
    Vouch(Vouch),
    /// The block is kept on behalf of these leases; of none, if it is kept for ever.
    Terms(Vec<Lease>),
    /// What only the ring answers.
    Ring(RingResponse),
}

impl Response {
    /// That `peer` holds the block, in so many copies in all; no number, or 0, leaves that open.
    pub fn holder(peer: Peer, copies: Option<u8>) -> Self {
        match copies {
            None | Some(0) => Self::Node(peer),
            Some(copies) => Self::Holder { peer, copies },
        }
    }

    /// Why a request that travelled to the responsible peer ends without it, if it does.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Ring(RingResponse::Refused { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    /// Whether who answers, or another that it names, holds the block that was [sought](Request::sought).
    pub const fn is_from_holder(&self) -> bool {
        matches!(self, Self::Node(_) | Self::Holder { .. } | Self::Ring(RingResponse::Has { has: true, .. }))
    }

    /// Whether it comes from the peer that is responsible for a key, to which the question travelled.
    pub const fn is_from_owner(&self) -> bool {
        matches!(self, Self::Ring(RingResponse::Owner { .. }))
    }

    /// The peers that it names besides the one that answers.
    pub fn named(&self) -> &[Peer] {
        match self {
            Self::Nodes(peers) | Self::Named(peers) | Self::Ring(RingResponse::Owner { peers, .. }) => peers,
            _ => &[],
        }
    }

    /// The peers that passed the request on which it answers, if the origin asked for them.
    pub fn trail(&self) -> &[Peer] {
        match self {
            Self::Ring(RingResponse::Owner { trail, .. }) => trail,
            _ => &[],
        }
    }

    /// The one peer that it names, if that is its answer.
    pub const fn node(&self) -> Option<Peer> {
        match *self {
            Self::Node(peer) | Self::Holder { peer, .. } => Some(peer),
            _ => None,
        }
    }
}

/// What a peer can say of its copy of a block when it is asked to hash it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vouch {
    /// It was hashed now, and hashes to its key.
    Verified,
    /// It was found not to hash to its key, and moved aside.
    Damaged,
    /// The peer has no copy.
    Absent,
    /// There is one, but more is asked of this peer than it does for others at a time. Ask again.
    Busy,
}

impl Vouch {
    /// All that can be said.
    pub const ALL: [Self; 4] = [Self::Verified, Self::Damaged, Self::Absent, Self::Busy];
}

/// What carries a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Via {
    /// One datagram; it may be lost.
    Udp,
    /// One control line on a kept TCP connection.
    Tcp,
}

impl Message {
    /// The request `magic` from `sender`.
    pub fn request(magic: u64, sender: Sender, request: Request) -> Self {
        Self { magic, sender: Some(sender), answers: None, asks: None, body: Body::Request(request) }
    }

    /// The response to the request `magic`, which was of this `kind`.
    pub fn response(magic: u64, kind: RequestKind, response: Response) -> Self {
        Self { magic, sender: None, answers: Some(kind), asks: None, body: Body::Response(response) }
    }

    /// The error in place of a response to the request `magic`.
    pub fn error(magic: u64, reason: impl Into<String>) -> Self {
        Self { magic, sender: None, answers: None, asks: None, body: Body::Error(reason.into()) }
    }

    /// Takes the last peers off the longer list of a datagram until its text, of `len` bytes now, has no more than
    /// `budget`. A peer has as many bytes as `peer_len` says, and a comma stands between two. False if the text is too
    /// long without any.
    pub(super) fn shorten(&mut self, mut len: usize, budget: usize, peer_len: impl Fn(&Peer) -> usize) -> bool {
        let [first, second] = self.lists();
        let (mut none, mut nor) = (Vec::new(), Vec::new());
        let (first, second) = (first.unwrap_or(&mut none), second.unwrap_or(&mut nor));
        while len > budget {
            let longer = if first.len() > second.len() { &mut *first } else { &mut *second };
            let Some(peer) = longer.pop() else { return false };
            len -= peer_len(&peer) + usize::from(!longer.is_empty());
        }
        true
    }

    /// The lists of peers of a message that travels in a datagram.
    pub(super) fn lists(&mut self) -> [Option<&mut Vec<Peer>>; 2] {
        match &mut self.body {
            Body::Response(Response::Nodes(peers) | Response::Named(peers)) => [Some(peers), None],
            Body::Request(Request::Ring(RingRequest::Ping { predecessors, successors, .. }))
            | Body::Response(Response::Ring(RingResponse::Pong { predecessors, successors, .. })) => {
                [Some(predecessors), Some(successors)]
            }
            _ => [None, None],
        }
    }
}

impl Request {
    /// What kind of request this is.
    pub const fn kind(&self) -> RequestKind {
        match self {
            Self::Ping | Self::Gone { .. } => RequestKind::Ping,
            Self::FindNode { .. } => RequestKind::FindNode,
            Self::FindValue { .. } | Self::Verify { .. } | Self::Terms { .. } => RequestKind::FindValue,
            Self::Store { .. } => RequestKind::Store,
            Self::Lease(_) => RequestKind::Lease,
            Self::Compare { .. } => RequestKind::Compare,
            Self::Ring(_) => RequestKind::Ring,
        }
    }

    /// Whether a file is offered by its name.
    pub const fn offers_file(&self) -> bool {
        matches!(self, Self::Ring(RingRequest::Transfer { .. }))
    }

    /// The file that is offered by its name, if one is: its sender gives it to any peer that asks.
    pub(crate) const fn file_offered(&self) -> Option<FileName> {
        match self {
            Self::Ring(RingRequest::Transfer { file, .. }) => Some(*file),
            _ => None,
        }
    }

    /// The peer that asked first, if this is a request that travels from peer to peer.
    pub const fn origin(&self) -> Option<&Peer> {
        match self {
            Self::Ring(RingRequest::Routed { route, .. }) => Some(&route.origin),
            _ => None,
        }
    }

    /// Whether it goes past a peer that cannot be connected to, even where that is the one responsible. A named file
    /// may well be there, or belong there.
    pub const fn goes_around(&self) -> bool {
        matches!(self, Self::Ring(RingRequest::Routed { what: Routed::Lookup { .. }, .. }))
    }

    /// Whether a peer asks to be let into the ring.
    pub const fn is_join(&self) -> bool {
        matches!(self, Self::Ring(RingRequest::Routed { what: Routed::Join, .. }))
    }

    /// Has the answer come by datagram, if it is a lookup that travels from peer to peer.
    pub fn ask_for_datagram(&mut self) {
        if let Self::Ring(RingRequest::Routed { route, what: Routed::Lookup { .. } }) = self {
            route.datagrams = true;
        }
    }

    /// The block of which it asks whether the receiver holds it, and nothing more.
    pub const fn sought(&self) -> Option<&Key> {
        match self {
            Self::FindValue { key } | Self::Ring(RingRequest::Has { key }) => Some(key),
            _ => None,
        }
    }

    /// How `holder` answers that the block which is [sought](Self::sought) is there, in so many copies in all.
    pub fn answer_of(&self, holder: Peer, copies: Option<u8>) -> Response {
        match self {
            Self::Ring(_) => Response::Ring(RingResponse::Has { peer: holder, has: true }),
            _ => Response::holder(holder, copies),
        }
    }

    /// Has the answer tell who passed the request on, if it travels from peer to peer.
    pub fn ask_for_trail(&mut self) {
        if let Self::Ring(RingRequest::Routed { route, .. }) = self {
            route.trail = Some(Vec::new());
        }
    }

    /// Whether it travels from peer to peer, to the one that is responsible.
    pub const fn is_routed(&self) -> bool {
        matches!(self, Self::Ring(RingRequest::Routed { .. }))
    }

    /// Whether this is a goodbye.
    pub const fn is_goodbye(&self) -> bool {
        matches!(self, Self::Ring(RingRequest::Quit { .. } | RingRequest::Exit { .. }))
    }
}

impl Sender {
    /// A full member, at `addr`, of the network with the usual name.
    pub fn member(id: Id, addr: SocketAddr) -> Self {
        Self {
            peer: Peer::new(id, addr),
            guest: false,
            leaving: false,
            network: NetworkName::default(),
            datagrams: false,
            recalls: false,
        }
    }
}
