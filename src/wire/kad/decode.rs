//! Reads a stranger's JSON, in one pass and without keeping any of it. That is by hand for the sake of what it tells,
//! not for speed.
//!
//! serde's derived readers fail a whole object for one field of the wrong type. Here the `magic` must survive that, so
//! that the sender can be told what is wrong. So every value is read as [`AnyJson`]: whatever does not fit becomes
//! `None`, and [`decode`] decides afterwards whether that matters.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde::de::value::{self, StrDeserializer};
use serde::de::{MapAccess, SeqAccess};
use thiserror::Error;

use super::lenient::{AnyJson, Field, GoodEntries, Lenient, next, next_few, skip};
use super::{MAX_NODES_KEPT, kind_named};
use crate::id::Id;
use crate::lease::{Lease, LeaseNews, MAX_LEASES};
use crate::network::NetworkName;
use crate::peer::{NOT_TOLD, Peer};
use crate::wire::summary::{KeysDigest, MAX_KEYS, MAX_PARTS, MAX_RANGES};
use crate::wire::word::PeerWord;
use crate::wire::{
    Body, Difference, MAX_DATAGRAM_RECEIVED, Message, Range, RangePart, Request, RequestKind, Response, Sender,
    Summary, Vouch, clip,
};

/// A datagram that is no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{reason}")]
pub struct Malformed {
    /// What an answer must carry: the request's magic, if it has one. Without, silence is the answer; so it is to a
    /// malformed response or error, because no peer waits there.
    pub magic: Option<u64>,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Reads one datagram.
///
/// # Errors
/// [`Malformed`] if it is no JSON object, too long, or lacks what its type needs.
pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
    if bytes.len() > MAX_DATAGRAM_RECEIVED {
        return Err(Malformed { magic: None, reason: "longer than any message" });
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(Malformed { magic: None, reason: "not UTF-8" });
    };
    read(text).map_or_else(|| Err(unreadable(text)), Envelope::open)
}

/// What to say of a text that is no message, however loosely read: a syntax error, or a number or an escape that no
/// type can hold. In the second case the magic may still be found.
#[cold]
fn unreadable(text: &str) -> Malformed {
    let magic = read(text).and_then(|MagicOnly(magic)| magic);
    Malformed { magic, reason: "not a JSON object that can be read" }
}

fn read<T: Lenient>(text: &str) -> Option<T> {
    serde_json::from_str::<AnyJson<T>>(text).ok()?.0
}

/// Every field of a message's outermost object. An outer `None` is a field that is missing, an inner one a value that
/// does not fit.
#[derive(Default)]
struct Envelope {
    magic: Option<u64>,
    requestor: Option<Option<Requestor>>,
    kind: Option<Option<RequestKind>>,
    params: Params,
    resp: bool,
    result: Option<Response>,
    error: Option<Option<CutReason>>,
    node_id: Option<Id>,
    sample: Option<Id>,
    guest: bool,
    leaving: bool,
    network: Option<Option<NetworkName>>,
    recalls: bool,
    asks: Option<u64>,
}

/// What any type of request may have in `params`.
#[derive(Default)]
struct Params {
    id: Option<Id>,
    size: Option<Option<u32>>,
    ranges: Vec<Range>,
    count: Option<u32>,
    digest: Option<KeysDigest>,
    gone: Option<Peer>,
    verify: bool,
    terms: bool,
    copies: Option<u8>,
    leases: Vec<Lease>,
    news: LeaseNews,
}

/// Text of an error, cut short.
struct CutReason(String);

/// The magic of a message of which nothing else can be read.
struct MagicOnly(Option<u64>);

impl Envelope {
    /// The message in it, if it is one.
    fn open(self) -> Result<Message, Malformed> {
        let silence = |reason| Malformed { magic: None, reason };
        let Some(magic) = self.magic else {
            return Err(silence("magic is missing or no integer from 0 to 2^64 - 1"));
        };
        if let Some(error) = self.error {
            let CutReason(reason) = error.ok_or(silence("error is not a string"))?;
            return Ok(Message::error(magic, reason));
        }
        if self.resp {
            let response = match (self.result.ok_or(silence("result is missing or malformed"))?, self.sample) {
                (Response::Saved, Some(sample)) => Response::Shown { sample },
                (response, _) => response,
            };
            let sender = self.node_id.map(|id| Sender::member(id, NOT_TOLD));
            let body = Body::Response(response);
            return Ok(Message { magic, sender, answers: self.kind.flatten(), asks: self.asks, body });
        }
        self.request()
            .map(|(sender, request)| Message { magic, sender, answers: None, asks: None, body: Body::Request(request) })
            .map_err(|reason| Malformed { magic: Some(magic), reason })
    }

    /// The request in it, or what is wrong with it.
    fn request(&self) -> Result<(Option<Sender>, Request), &'static str> {
        let kind = self.kind.ok_or("type is missing")?.ok_or("type is unknown")?;
        let requestor = self.requestor.map(|requestor| requestor.ok_or("requestor is malformed")).transpose()?;
        let network =
            self.network.map_or(Ok(NetworkName::default()), |name| name.ok_or("network is no name of one"))?;
        let id = self.params.id.ok_or("params.id is not 64 hexadecimal digits");
        let request = match kind {
            RequestKind::Ping => match self.params.gone {
                Some(peer) => Request::Gone { peer },
                None => Request::Ping,
            },
            RequestKind::FindNode => Request::FindNode { id: id? },
            RequestKind::FindValue if self.params.verify => Request::Verify { key: id? },
            RequestKind::FindValue if self.params.terms => Request::Terms { key: id? },
            RequestKind::FindValue => Request::FindValue { key: id? },
            RequestKind::Store => {
                let size = self.params.size.map(|size| size.ok_or("params.size is no size in bytes")).transpose()?;
                Request::Store { key: id?, size, leases: self.params.leases.clone() }
            }
            RequestKind::Lease => {
                if !(1..=MAX_LEASES).contains(&self.params.news.len()) {
                    return Err("params tell of no lease, or of too many");
                }
                Request::Lease(self.params.news.clone())
            }
            RequestKind::Compare => {
                let held = self.params.count.zip(self.params.digest).map(|(count, digest)| Summary { count, digest });
                let held = held.filter(|_| !self.params.ranges.is_empty());
                let held = held.ok_or("params.ranges, count or digest are missing or malformed")?;
                Request::Compare { ranges: self.params.ranges.clone(), held, copies: self.params.copies }
            }
            RequestKind::Ring => return Err("type is unknown"),
        };
        let sender = requestor.map(|Requestor(peer)| Sender {
            peer,
            guest: self.guest,
            leaving: self.leaving,
            network,
            datagrams: false,
            recalls: self.recalls,
        });
        Ok((sender, request))
    }
}

impl Lenient for Envelope {
    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        let mut envelope = Self::default();
        while let Some(field) = object.next_key()? {
            match field {
                Field::Magic => envelope.magic = next(&mut object)?,
                Field::Requestor => envelope.requestor = Some(next(&mut object)?),
                Field::Type => envelope.kind = Some(next(&mut object)?),
                Field::Params => envelope.params = next(&mut object)?.unwrap_or_default(),
                Field::Resp => envelope.resp = next(&mut object)?.unwrap_or_default(),
                Field::Result => envelope.result = next(&mut object)?,
                Field::Error => envelope.error = Some(next(&mut object)?),
                Field::Guest => envelope.guest = next(&mut object)?.unwrap_or_default(),
                Field::NodeId => envelope.node_id = next(&mut object)?,
                Field::Sample => envelope.sample = next(&mut object)?,
                Field::Leaving => envelope.leaving = next(&mut object)?.unwrap_or_default(),
                Field::Asks => envelope.asks = next(&mut object)?,
                Field::Recalls => envelope.recalls = next(&mut object)?.unwrap_or_default(),
                Field::Network => envelope.network = Some(next(&mut object)?),
                _ => skip(&mut object)?,
            }
        }
        Ok(Some(envelope))
    }
}

impl Lenient for Params {
    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        let mut params = Self::default();
        while let Some(field) = object.next_key()? {
            match field {
                Field::Id => params.id = next(&mut object)?,
                Field::Size => params.size = Some(next(&mut object)?),
                Field::Ranges => params.ranges = next_few::<_, MAX_RANGES, A>(&mut object)?.unwrap_or_default(),
                Field::Count => params.count = next(&mut object)?,
                Field::Digest => params.digest = next(&mut object)?,
                Field::Gone => params.gone = next(&mut object)?,
                Field::Verify => params.verify = next(&mut object)?.unwrap_or_default(),
                Field::Terms => params.terms = next(&mut object)?.unwrap_or_default(),
                Field::Leases => params.leases = next_few::<_, MAX_LEASES, A>(&mut object)?.unwrap_or_default(),
                Field::Renewed => params.news.renewed = next_few::<_, MAX_LEASES, A>(&mut object)?.unwrap_or_default(),
                Field::Ended => params.news.ended = next_few::<_, MAX_LEASES, A>(&mut object)?.unwrap_or_default(),
                Field::Copies => params.copies = next(&mut object)?,
                _ => skip(&mut object)?,
            }
        }
        Ok(Some(params))
    }
}

impl Lenient for MagicOnly {
    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        let (mut magic, mut answer) = (None, false);
        while let Some(field) = object.next_key()? {
            match field {
                Field::Magic => magic = next(&mut object)?,
                Field::Resp | Field::Error => {
                    answer = true;
                    skip(&mut object)?;
                }
                _ => skip(&mut object)?,
            }
        }
        Ok(Some(Self(magic.filter(|_| !answer))))
    }
}

impl Lenient for Peer {
    fn from_text(text: &str) -> Option<Self> {
        let PeerWord(Self { id, addr }) = text.parse().ok()?;
        (addr.port() > 0).then(|| Self::new(id, SocketAddr::new(addr.ip().to_canonical(), addr.port())))
    }

    fn from_object<'de, A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        Ok(NodeParts::of(object)?.peer())
    }
}

/// A peer in a list.
struct Listed {
    peer: Peer,
    is_word: bool,
}

impl Lenient for Listed {
    fn from_text(text: &str) -> Option<Self> {
        Peer::from_text(text).map(|peer| Self { peer, is_word: true })
    }

    fn from_object<'de, A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        Ok(Peer::from_object(object)?.map(|peer| Self { peer, is_word: false }))
    }
}

/// The peer that asks. Its address is a courtesy: one that is missing or odd is as good as any.
#[derive(Clone, Copy)]
struct Requestor(Peer);

impl Lenient for Requestor {
    fn from_object<'de, A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        let node = NodeParts::of(object)?;
        Ok(node.speaker().map(Self))
    }
}

/// A node, as far as it was read.
#[derive(Default)]
struct NodeParts {
    id: Option<Id>,
    ip: Option<IpAddr>,
    port: Option<u16>,
}

impl NodeParts {
    fn of<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut node = Self::default();
        while let Some(field) = object.next_key()? {
            node.take(field, &mut object)?;
        }
        Ok(node)
    }

    /// Reads the value of `field`, which comes next in `object`.
    fn take<'de, A: MapAccess<'de>>(&mut self, field: Field, object: &mut A) -> Result<(), A::Error> {
        match field {
            Field::NodeId => self.id = next(object)?,
            Field::Ip => self.ip = next(object)?,
            Field::Port => self.port = next::<u16, A>(object)?.filter(|port| *port > 0),
            _ => skip(object)?,
        }
        Ok(())
    }

    /// The peer that speaks. Its address is a courtesy: one that is missing or odd is as good as any.
    fn speaker(&self) -> Option<Peer> {
        self.id.map(|id| self.peer().unwrap_or(Peer::new(id, NOT_TOLD)))
    }

    fn peer(&self) -> Option<Peer> {
        let addr = self.ip.zip(self.port).map(SocketAddr::from);
        self.id.zip(addr).map(|(id, addr)| Peer::new(id, addr))
    }
}

impl Lenient for Response {
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "saved" => Some(Self::Saved),
            "same" => Some(Self::Same),
            "here" => Some(Self::Here),
            word => Vouch::deserialize(StrDeserializer::<value::Error>::new(word)).ok().map(Self::Vouch),
        }
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Option<Self>, A::Error> {
        let Some(GoodEntries(listed)) = GoodEntries::<Listed, MAX_NODES_KEPT>::from_list(list)? else {
            return Ok(None);
        };
        let in_words = listed.first().is_some_and(|listed| listed.is_word);
        let peers = listed.into_iter().map(|listed| listed.peer).collect();
        Ok(Some(if in_words { Self::Named(peers) } else { Self::Nodes(peers) }))
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        let (mut node, mut difference) = (NodeParts::default(), None);
        let (mut blocks, mut free, mut copies, mut terms) = (None, None, None, None);
        while let Some(field) = object.next_key()? {
            match field {
                Field::Keys => difference = next_few::<_, MAX_KEYS, A>(&mut object)?.map(Difference::Keys),
                Field::Parts => difference = next_few::<_, MAX_PARTS, A>(&mut object)?.map(Difference::Parts),
                Field::Blocks => blocks = next(&mut object)?,
                Field::Free => free = next(&mut object)?,
                Field::Copies => copies = next(&mut object)?,
                Field::Leases => terms = next_few::<_, MAX_LEASES, A>(&mut object)?.map(Self::Terms),
                other => node.take(other, &mut object)?,
            }
        }
        let leased = blocks.zip(free).map(|(blocks, free)| Self::Leased { blocks, free });
        Ok(difference
            .map(Self::Differs)
            .or(leased)
            .or(terms)
            .or_else(|| node.speaker().map(|peer| Self::holder(peer, copies))))
    }
}

impl Lenient for RangePart {
    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        let (mut range, mut count, mut digest) = (None, None, None);
        while let Some(field) = object.next_key()? {
            match field {
                Field::Range => range = next(&mut object)?,
                Field::Count => count = next(&mut object)?,
                Field::Digest => digest = next(&mut object)?,
                _ => skip(&mut object)?,
            }
        }
        let held = count.zip(digest).map(|(count, digest)| Summary { count, digest });
        Ok(range.zip(held).map(|(range, held)| Self { range, held }))
    }
}

impl Lenient for RequestKind {
    fn from_text(text: &str) -> Option<Self> {
        kind_named(text)
    }
}

impl Lenient for CutReason {
    fn from_text(text: &str) -> Option<Self> {
        Some(Self(clip(text).to_owned()))
    }
}
