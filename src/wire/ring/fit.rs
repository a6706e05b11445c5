//! How long a line may be, and is: what fits a datagram, and what an origin has paid for.

use std::net::{Ipv6Addr, SocketAddr};

use super::codec::{put, routed_content};
use super::fields::{Content, WireDestination, WireLine, WirePeer};
use super::{MAX_PEERS_LISTED, RingKind, RingResponse, Routed};
use crate::config::WIDTH;
use crate::id::Id;
use crate::peer::Peer;
use crate::wire::{Body, MAX_DATAGRAM_SENT, Message, Response, Sender};

/// Bytes of a datagram that sealing may add (a nonce of 24 and a tag of 16).
const SEAL_ROOM: usize = 40;

/// Bytes of the longest line that one datagram brings.
const DATAGRAM: usize = MAX_DATAGRAM_SENT - SEAL_ROOM;

/// Appends the line of `message`, from `me` to the peer at `to`, with its newline. A ping is kept small enough
/// for one datagram: its lists lose their farthest peers. The text of an error is cut at 160 bytes.
///
/// ```
/// use kadring::id::Id;
/// use kadring::peer::Peer;
/// use kadring::wire::{Message, Request, Sender, ring};
///
/// let me = Peer::new(Id::from_u64(4), "127.0.0.1:12004".parse().unwrap());
/// let ping = Message::request(7, Sender::member(me.id, me.addr), Request::Ping);
/// let mut line = Vec::new();
/// ring::encode(&ping, &me, "127.0.0.1:12005".parse().unwrap(), &mut line);
/// assert_eq!(ring::decode(&line).unwrap(), ping);
/// ```
pub fn encode(message: &Message, me: &Peer, to: SocketAddr, out: &mut Vec<u8>) {
    let start = out.len();
    let kind = put(message, me, to, out);
    let len = out.len() - start;
    if kind == RingKind::Ping && len > DATAGRAM {
        let mut shorter = message.clone();
        shorten(&mut shorter, len, DATAGRAM);
        out.truncate(start);
        put(&shorter, me, to, out);
    }
}

/// Makes `message`, from `me` to the peer at `to`, fit `budget` bytes.
pub(in crate::wire) fn fit(message: &mut Message, me: &Peer, to: SocketAddr, budget: usize) -> bool {
    let mut text = Vec::new();
    encode(message, me, to, &mut text);
    if text.len() <= budget {
        return true;
    }
    text.clear();
    put(message, me, to, &mut text);
    shorten(message, text.len(), budget)
}

/// The answer as one datagram brings it, with `most` bytes at most, where a connection could bring it too: whole, but
/// that an owner's last successors, who stand in for others, need not all be named. None if it is too long.
pub(in crate::wire) fn in_datagram(message: &Message, me: &Peer, to: SocketAddr, most: usize) -> Option<Message> {
    let (mut message, mut text) = (message.clone(), Vec::new());
    let most = most.min(DATAGRAM);
    if let Body::Response(Response::Ring(RingResponse::Owner { brief, .. })) = &mut message.body {
        *brief = true;
    }
    loop {
        text.clear();
        put(&message, me, to, &mut text);
        match &mut message.body {
            _ if text.len() <= most => return Some(message),
            Body::Response(Response::Ring(RingResponse::Owner { peers, .. })) if peers.len() > WIDTH => peers.pop(),
            _ => return None,
        };
    }
}

/// Takes peers off the lists of `message` until its line, of `len` bytes now, has no more than `budget`.
fn shorten(message: &mut Message, len: usize, budget: usize) -> bool {
    if len > budget {
        // The rest is not written anyway.
        message.lists().into_iter().flatten().for_each(|list| list.truncate(MAX_PEERS_LISTED));
    }
    message.shorten(len, budget, peer_len)
}

/// Bytes of the text of `peer` in a list.
fn peer_len(peer: &Peer) -> usize {
    serde_json::to_string(&WirePeer::from(*peer)).expect("a peer is plain data").len()
}

/// Bytes of the shortest line in which a peer can say that the peer at `origin` asks for this, and reads datagrams. Its
/// source may be any peer.
pub fn least_len(magic: u64, origin: Peer, what: Routed) -> usize {
    let nowhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let line = WireLine {
        kind: what.kind(),
        source: Sender::member(Id::ZERO, nowhere).into(),
        destination: WireDestination { ip: nowhere.ip(), port: 0 },
        stamp: magic,
        content: Content { origin: Some(origin.into()), datagrams: Some(true), ..routed_content(what) },
    };
    serde_json::to_string(&line).expect("a line is plain data").len()
}
