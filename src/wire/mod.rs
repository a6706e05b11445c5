//! What travels: messages in datagrams and control lines, and the limits both sides hold.
//!
//! [`Message`] is the one form the core knows. [`kad`] writes and reads it as Kademlia's JSON datagrams, [`ring`] as
//! the ring's five-field lines. Nothing here touches a socket.

pub mod kad;
mod link;
pub mod message;
mod reply;
pub mod ring;
pub mod sample;
pub mod summary;
mod word;

pub use kad::Malformed;
pub use message::{Body, Message, Request, RequestKind, Response, Sender, Via, Vouch};
pub use reply::BlockHead;
pub use summary::{Difference, Range, RangePart, Start, Summary};

use std::net::SocketAddr;

use crate::config::{PING_BYTES, RING_PING_BYTES};
use crate::peer::Peer;
use ring::RingRequest;

/// Which text carries a network's messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// [`kad`].
    Kademlia,
    /// [`ring`].
    Ring,
}

impl Dialect {
    /// What carries `request` to another peer. What belongs on a connection is refused in a datagram.
    pub const fn carrier(self, request: &Request) -> Via {
        match (self, request) {
            (Self::Kademlia, _)
            | (Self::Ring, Request::Ping | Request::Ring(RingRequest::Ping { .. } | RingRequest::Has { .. })) => {
                Via::Udp
            }
            (Self::Ring, _) => Via::Tcp,
        }
    }

    /// Bytes of the ping that the overlay may send to a stranger beside the answer to its `request`.
    pub const fn ping_besides(self, request: &Request) -> usize {
        match (self, request) {
            (Self::Kademlia, _) => PING_BYTES,
            // A ping that names no neighbour comes from a peer outside the ring; it is not pinged back.
            (Self::Ring, Request::Ring(RingRequest::Ping { predecessors, successors, .. }))
                if !(predecessors.is_empty() && successors.is_empty()) =>
            {
                RING_PING_BYTES
            }
            (Self::Ring, _) => 0,
        }
    }

    /// Whether an answer with this `body` names the peer that answers. A ping's does anyway; the ring's lines all do.
    pub const fn signs(self, body: &Body) -> bool {
        matches!((self, body), (Self::Kademlia, Body::Response(Response::Nodes(_))))
    }

    /// Whether peers remember who answered them, so that a request need not always name its sender: the ring's all do.
    pub const fn recalls(self) -> bool {
        matches!(self, Self::Kademlia)
    }

    /// Writes `message`, from `me` to the peer at `to`, at the end of `out`.
    pub fn encode(self, message: &Message, me: &Peer, to: SocketAddr, out: &mut Vec<u8>) {
        match self {
            Self::Kademlia => kad::encode(message, out),
            Self::Ring => ring::encode(message, me, to, out),
        }
    }

    /// Makes `message` fit one datagram, and `allowance` bytes if there is one: its longer list of peers loses the last
    /// ones. False if it is too long without any.
    pub fn fit(self, message: &mut Message, me: &Peer, to: SocketAddr, allowance: Option<usize>) -> bool {
        match (self, allowance) {
            (Self::Kademlia, _) => {
                kad::fit(message, allowance.map_or(MAX_DATAGRAM_SENT, |most| most.min(MAX_DATAGRAM_SENT)))
            }
            (Self::Ring, Some(most)) => ring::fit(message, me, to, most),
            // Pings alone have to travel in its datagrams, and they are written no longer than those are.
            (Self::Ring, None) => true,
        }
    }

    /// The answer `message` as a datagram brings it that goes where a connection could bring it too; see
    /// [`Sender::datagrams`]. None if it is too long for one, or for `allowance` bytes if there is such a limit.
    pub fn in_datagram(
        self,
        message: &Message,
        me: &Peer,
        to: SocketAddr,
        allowance: Option<usize>,
    ) -> Option<Message> {
        match self {
            Self::Kademlia => None,
            Self::Ring => ring::in_datagram(message, me, to, allowance.unwrap_or(MAX_DATAGRAM_SENT)),
        }
    }

    /// What a peer of this dialect answers to a request of the other one.
    pub const fn other_asked(self) -> &'static str {
        match self {
            Self::Kademlia => "this peer is one of Kademlia; ask it with --overlay kad",
            Self::Ring => "this peer is one of the ring; ask it with --overlay ring",
        }
    }

    /// Reads what is no message of this dialect as a request of the other one: how to answer it there, and its magic. A
    /// peer that asks in vain learns at once why.
    pub fn foreign_request(self, bytes: &[u8]) -> Option<(Self, Malformed)> {
        let (other, reason) = match self {
            Self::Kademlia => (Self::Ring, self.other_asked()),
            Self::Ring => (Self::Kademlia, self.other_asked()),
        };
        let message = other.decode(bytes).ok()?;
        let asks = matches!(message.body, Body::Request(_));
        asks.then_some((other, Malformed { magic: Some(message.magic), reason }))
    }

    /// Reads one datagram or line.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it.
    pub fn decode(self, bytes: &[u8]) -> Result<Message, Malformed> {
        match self {
            Self::Kademlia => kad::decode(bytes),
            Self::Ring => ring::decode(bytes),
        }
    }
}

/// Bytes of the largest datagram we send: it passes any IPv6 path as it is, and any IPv4 path, where it may be cut.
pub const MAX_DATAGRAM_SENT: usize = 1200;
/// Bytes of the largest datagram we read; anything longer is dropped.
pub const MAX_DATAGRAM_RECEIVED: usize = 8 * 1024;
/// Bytes of a request line on TCP, its newline included.
pub const MAX_REQUEST_LINE: usize = 128;
/// Bytes of a control line on TCP (it starts with `{`), its newline included.
pub const MAX_CONTROL_LINE: usize = 64 * 1024;
/// Request ids are below this, so that every JSON reader keeps them exactly.
pub const MAGIC_LIMIT: u64 = 1 << 53;

/// Bytes kept of the text of an error or a refusal, our own or another's.
const MAX_REASON: usize = 160;

/// The longest beginning of `reason` of at most [`MAX_REASON`] bytes.
fn clip(reason: &str) -> &str {
    let end = (0..=MAX_REASON.min(reason.len())).rev().find(|&end| reason.is_char_boundary(end));
    &reason[..end.unwrap_or(0)]
}
