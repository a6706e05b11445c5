//! The five fields as serde sees them, and the bounds that hold while they are read.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::{MAX_PEERS_LISTED, RingKind};
use crate::id::Id;
use crate::lease::{Lease, LeaseNews};
use crate::name::FileName;
use crate::network::NetworkName;
use crate::peer::Peer;
use crate::wire::summary::KeysDigest;
use crate::wire::word::PeerWord;
use crate::wire::{Difference, MAGIC_LIMIT, Range, Sender, Vouch};

/// A line.
#[derive(Serialize, Deserialize)]
pub(super) struct WireLine {
    #[serde(rename = "type")]
    pub(super) kind: RingKind,
    pub(super) source: WireSource,
    pub(super) destination: WireDestination,
    pub(super) stamp: u64,
    pub(super) content: Content,
}

/// The one field that an answer to a malformed line needs.
#[derive(Deserialize)]
pub(super) struct StampOnly {
    stamp: u64,
    #[serde(default)]
    content: ReplyOnly,
}

#[derive(Deserialize, Default)]
struct ReplyOnly {
    reply: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

impl StampOnly {
    /// The stamp of a request; a malformed answer is owed nothing.
    pub(super) fn of_request(&self) -> Option<u64> {
        (self.stamp < MAGIC_LIMIT && self.content.reply.is_none() && self.content.error.is_none()).then_some(self.stamp)
    }
}

/// `content`: every field that any type has, absent where it has no meaning.
macro_rules! content {
    ($($field:ident: $type:ty,)*) => {
        #[derive(Default, Serialize, Deserialize)]
        #[serde(default)]
        pub(super) struct Content {$(
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(super) $field: Option<$type>,
        )*}
    };
}

// They are written in this order.
content! {
    origin: WirePeer, hops: u16, last: bool,
    key: WireId, id: WireId,
    file: FileName, size: u64, modified: u64, stored: bool,
    peer: WirePeer, joined: WirePeer, predecessors: Peers, successors: Peers, peers: Peers,
    quiet: bool, trail: Peers, datagrams: bool, named: PeerNames, has: bool,
    ranges: Vec<Range>, count: u32, digest: KeysDigest, copies: u8, difference: Difference,
    verify: bool, terms: bool, vouch: Vouch,
    leases: Vec<Lease>, news: LeaseNews, shown: Id, free: u32,
    reply: WireReply, reason: String, error: String,
}

/// What an answer says; its arguments stand beside it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WireReply {
    Pong,
    Welcome,
    Owner,
    Kept,
    File,
    Noted,
    Terms,
    Refused,
    Node,
    Nodes,
    Saved,
    Same,
    Differs,
    Vouch,
    Leased,
}

/// An id: a number where it fits one that every JSON reader keeps, else 64 hexadecimal digits.
#[derive(Clone, Copy)]
pub(super) struct WireId(pub(super) Id);

impl Serialize for WireId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_u64() {
            Some(number) if number < MAGIC_LIMIT => serializer.serialize_u64(number),
            _ => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for WireId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = WireId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id: a number or 64 hexadecimal digits")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<WireId, E> {
                Ok(WireId(Id::from_u64(number)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WireId, E> {
                text.parse().map(WireId).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}

/// A peer as text.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct WirePeer {
    id: WireId,
    ip: IpAddr,
    port: u16,
}

impl From<Peer> for WirePeer {
    fn from(peer: Peer) -> Self {
        Self { id: WireId(peer.id), ip: peer.addr.ip(), port: peer.addr.port() }
    }
}

impl From<WirePeer> for Peer {
    fn from(peer: WirePeer) -> Self {
        Self::new(peer.id.0, SocketAddr::new(peer.ip, peer.port))
    }
}

/// The peer that sent the line, with what only a sender has.
#[derive(Serialize, Deserialize)]
pub(super) struct WireSource {
    #[serde(flatten)]
    peer: WirePeer,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    guest: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    leaving: bool,
    #[serde(default, skip_serializing_if = "NetworkName::is_usual")]
    network: NetworkName,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    datagrams: bool,
}

impl From<Sender> for WireSource {
    fn from(sender: Sender) -> Self {
        let Sender { peer, guest, leaving, network, datagrams, recalls: _ } = sender;
        Self { peer: peer.into(), guest, leaving, network, datagrams }
    }
}

impl From<WireSource> for Sender {
    fn from(source: WireSource) -> Self {
        let WireSource { peer, guest, leaving, network, datagrams } = source;
        Self { peer: peer.into(), guest, leaving, network, datagrams, recalls: false }
    }
}

/// The address of the peer that shall get the line, for that is all that the sender may know of it.
#[derive(Serialize, Deserialize)]
pub(super) struct WireDestination {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

/// A peer in one word, `ID@HOST:PORT`: half as long as its object.
struct PeerName(Peer);

impl Serialize for PeerName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&PeerWord(self.0))
    }
}

impl<'de> Deserialize<'de> for PeerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<'de, str>::deserialize(deserializer)?;
        let PeerWord(peer) = word.parse().map_err(de::Error::custom)?;
        Ok(Self(peer))
    }
}

/// A list of peers, at most [`MAX_PEERS_LISTED`]; a longer one is refused before it is kept.
#[derive(Default)]
pub(super) struct Peers(pub(super) Vec<Peer>);

impl Serialize for Peers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|peer| WirePeer::from(*peer)))
    }
}

impl<'de> Deserialize<'de> for Peers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(WirePeer::into)).map(Self)
    }
}

/// The same in words.
pub(super) struct PeerNames(pub(super) Vec<Peer>);

impl Serialize for PeerNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|peer| PeerName(*peer)))
    }
}

impl<'de> Deserialize<'de> for PeerNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(|PeerName(peer)| peer)).map(Self)
    }
}

/// Reads a list of peers, each of which is written so.
struct ListVisitor<E>(fn(E) -> Peer);

impl<'de, E: Deserialize<'de>> Visitor<'de> for ListVisitor<E> {
    type Value = Vec<Peer>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_PEERS_LISTED} peers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Peer>, A::Error> {
        let mut peers = Vec::new();
        while let Some(peer) = list.next_element()? {
            if peers.len() == MAX_PEERS_LISTED {
                return Err(de::Error::invalid_length(peers.len() + 1, &self));
            }
            peers.push((self.0)(peer));
        }
        Ok(peers)
    }
}
