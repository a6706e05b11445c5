//! Between [`Message`] and a line: the plain way, by structs from which serde derives the JSON
//! ([`fields`](super::fields)).

use std::net::SocketAddr;

use super::fields::{Content, PeerNames, Peers, StampOnly, WireDestination, WireId, WireLine, WireReply};
use super::{FilePlace, MAX_PEERS_LISTED, RingKind, RingRequest, RingResponse, Route, Routed};
use crate::lease::{Lease, MAX_LEASES};
use crate::peer::Peer;
use crate::wire::kad::Malformed;
use crate::wire::summary::{MAX_KEYS, MAX_PARTS, MAX_RANGES};
use crate::wire::{
    Body, Difference, MAGIC_LIMIT, MAX_CONTROL_LINE, Message, Request, RequestKind, Response, Sender, Summary, clip,
};

/// Writes the line of `message`, however long it is.
pub(super) fn put(message: &Message, me: &Peer, to: SocketAddr, out: &mut Vec<u8>) -> RingKind {
    let sender = message.sender.unwrap_or(Sender::member(me.id, me.addr));
    let (kind, content) = match &message.body {
        Body::Request(request) => request_content(request),
        Body::Response(response) => response_content(message.answers, response),
        Body::Error(reason) => {
            let kind = message.answers.map_or(RingKind::Lookup, shared_kind);
            (kind, Content { error: Some(clip(reason).to_owned()), ..Content::default() })
        }
    };
    let line = WireLine {
        kind,
        source: sender.into(),
        destination: WireDestination { ip: to.ip(), port: to.port() },
        stamp: message.magic,
        content,
    };
    serde_json::to_writer(&mut *out, &line).expect("a line is plain data, and a buffer takes all of it");
    out.push(b'\n');
    kind
}

fn request_content(request: &Request) -> (RingKind, Content) {
    let empty = Content::default();
    match request {
        // Only Kademlia's peers tell who is gone by a ping.
        Request::Ping | Request::Gone { .. } => (RingKind::Ping, empty),
        Request::FindNode { id } => (RingKind::Lookup, Content { id: Some(WireId(*id)), ..empty }),
        Request::FindValue { key } => (RingKind::Request, Content { key: Some(WireId(*key)), ..empty }),
        Request::Verify { key } => {
            (RingKind::Request, Content { key: Some(WireId(*key)), verify: Some(true), ..empty })
        }
        Request::Terms { key } => (RingKind::Request, Content { key: Some(WireId(*key)), terms: Some(true), ..empty }),
        Request::Store { key, size, leases } => {
            let leases = (!leases.is_empty()).then(|| leases.clone());
            (RingKind::Store, Content { key: Some(WireId(*key)), size: size.map(u64::from), leases, ..empty })
        }
        Request::Lease(news) => (RingKind::Store, Content { news: Some(news.clone()), ..empty }),
        &Request::Compare { ref ranges, held: Summary { count, digest }, copies } => {
            let (ranges, count, digest) = (Some(ranges.clone()), Some(count), Some(digest));
            (RingKind::Lookup, Content { ranges, count, digest, copies, ..empty })
        }
        Request::Ring(request) => (request.kind(), ring_request_content(request)),
    }
}

fn ring_request_content(request: &RingRequest) -> Content {
    let empty = Content::default();
    match request {
        RingRequest::Ping { predecessors, successors, quiet } => {
            Content { quiet: quiet.then_some(true), ..neighbours(predecessors, successors) }
        }
        RingRequest::Has { key } => Content { key: Some(WireId(*key)), ..empty },
        RingRequest::Routed { route, what } => Content {
            origin: Some(route.origin.into()),
            hops: Some(route.hops),
            last: Some(route.last),
            quiet: route.quiet.then_some(true),
            trail: route.trail.as_deref().map(list),
            datagrams: route.datagrams.then_some(true),
            ..routed_content(*what)
        },
        &RingRequest::Transfer { file, size, modified, stored } => {
            let stored = stored.then_some(true);
            Content { file: Some(file), size: Some(size), modified: Some(modified), stored, ..empty }
        }
        RingRequest::Update { successors, joined } => {
            Content { successors: Some(list(successors)), joined: joined.map(Into::into), ..empty }
        }
        RingRequest::Quit { predecessors, successors } => neighbours(predecessors, successors),
        RingRequest::Exit { predecessors } => Content { predecessors: Some(list(predecessors)), ..empty },
        RingRequest::Abrupt { peer } => Content { peer: Some((*peer).into()), ..empty },
    }
}

pub(super) fn routed_content(what: Routed) -> Content {
    let empty = Content::default();
    match what {
        Routed::Join => empty,
        Routed::Lookup { key } => Content { key: Some(WireId(key)), ..empty },
        Routed::Store { file } | Routed::Request { file } => Content { file: Some(file), ..empty },
    }
}

fn response_content(answers: Option<RequestKind>, response: &Response) -> (RingKind, Content) {
    let shared = |likely| shared_kind(answers.unwrap_or(likely));
    let reply = |reply| Content { reply: Some(reply), ..Content::default() };
    match response {
        Response::Node(peer) => {
            (shared(RequestKind::Ping), Content { peer: Some((*peer).into()), ..reply(WireReply::Node) })
        }
        &Response::Holder { peer, copies } => {
            let content = Content { peer: Some(peer.into()), copies: Some(copies), ..reply(WireReply::Node) };
            (shared(RequestKind::FindValue), content)
        }
        Response::Nodes(peers) | Response::Named(peers) => {
            (shared(RequestKind::FindValue), Content { peers: Some(list(peers)), ..reply(WireReply::Nodes) })
        }
        Response::Here => {
            (RingKind::Ping, Content { error: Some("only Kademlia says this".to_owned()), ..Content::default() })
        }
        Response::Saved => (RingKind::Store, reply(WireReply::Saved)),
        Response::Shown { sample } => (RingKind::Store, Content { shown: Some(*sample), ..reply(WireReply::Saved) }),
        &Response::Leased { blocks, free } => {
            (RingKind::Store, Content { count: Some(blocks), free: Some(free), ..reply(WireReply::Leased) })
        }
        Response::Same => (RingKind::Lookup, reply(WireReply::Same)),
        Response::Differs(difference) => {
            (RingKind::Lookup, Content { difference: Some(difference.clone()), ..reply(WireReply::Differs) })
        }
        Response::Terms(leases) => {
            (RingKind::Request, Content { leases: Some(leases.clone()), ..reply(WireReply::Terms) })
        }
        Response::Vouch(vouch) => (RingKind::Request, Content { vouch: Some(*vouch), ..reply(WireReply::Vouch) }),
        Response::Ring(response) => (response.kind(), ring_response_content(response)),
    }
}

fn ring_response_content(response: &RingResponse) -> Content {
    let reply = |reply| Content { reply: Some(reply), ..Content::default() };
    match response {
        &RingResponse::Pong { peer, ref predecessors, ref successors } => {
            let reply = Some(WireReply::Pong);
            Content { peer: Some(peer.into()), reply, ..neighbours(predecessors, successors) }
        }
        &RingResponse::Has { peer, has } => {
            Content { peer: Some(peer.into()), has: Some(has), ..reply(WireReply::Node) }
        }
        RingResponse::Welcome { predecessors, successors } => {
            Content { reply: Some(WireReply::Welcome), ..neighbours(predecessors, successors) }
        }
        RingResponse::Owner { peers, hops, trail, brief } => {
            let trail = (!trail.is_empty()).then(|| list(trail));
            let (peers, named) =
                if *brief { (None, Some(PeerNames(list(peers).0))) } else { (Some(list(peers)), None) };
            Content { peers, named, hops: Some(*hops), trail, ..reply(WireReply::Owner) }
        }
        RingResponse::Kept { file } => Content { file: Some(*file), ..reply(WireReply::Kept) },
        RingResponse::File { file, place } => Content { file: Some(*file), size: place.size, ..reply(WireReply::File) },
        RingResponse::Noted { .. } => reply(WireReply::Noted),
        RingResponse::Refused { reason, .. } => {
            Content { reason: Some(clip(reason).to_owned()), ..reply(WireReply::Refused) }
        }
    }
}

const fn shared_kind(kind: RequestKind) -> RingKind {
    match kind {
        RequestKind::Ping => RingKind::Ping,
        RequestKind::FindNode | RequestKind::Compare | RequestKind::Ring => RingKind::Lookup,
        RequestKind::FindValue => RingKind::Request,
        RequestKind::Store | RequestKind::Lease => RingKind::Store,
    }
}

fn neighbours(predecessors: &[Peer], successors: &[Peer]) -> Content {
    let (predecessors, successors) = (Some(list(predecessors)), Some(list(successors)));
    Content { predecessors, successors, ..Content::default() }
}

fn list(peers: &[Peer]) -> Peers {
    Peers(peers.iter().take(MAX_PEERS_LISTED).copied().collect())
}

/// Reads one line, with or without its newline.
///
/// # Errors
/// [`Malformed`] if it is too long, is no JSON object with the five fields, or lacks what its type needs.
pub fn decode(line: &[u8]) -> Result<Message, Malformed> {
    if line.len() > MAX_CONTROL_LINE {
        return Err(Malformed { magic: None, reason: "longer than any message" });
    }
    let line: WireLine = serde_json::from_slice(line).map_err(|_| unreadable(line))?;
    if line.stamp >= MAGIC_LIMIT {
        return Err(Malformed { magic: None, reason: "a stamp is below 2^53" });
    }
    let is_answer = line.content.reply.is_some() || line.content.error.is_some();
    let sender = line.source.into();
    let magic = line.stamp;
    let (answers, body) =
        open(line.kind, line.content).map_err(|reason| Malformed { magic: (!is_answer).then_some(magic), reason })?;
    Ok(Message { magic, sender: Some(sender), answers, asks: None, body })
}

#[cold]
fn unreadable(line: &[u8]) -> Malformed {
    let magic = serde_json::from_slice::<StampOnly>(line).ok().and_then(|only| only.of_request());
    Malformed { magic, reason: "not a JSON object with type, source, destination, stamp and content" }
}

type OpenedLine = (Option<RequestKind>, Body);

fn open(kind: RingKind, content: Content) -> Result<OpenedLine, &'static str> {
    if let Some(reason) = content.error {
        return Ok((None, Body::Error(clip(&reason).to_owned())));
    }
    match content.reply {
        Some(reply) => {
            let (answers, response) = open_reply(kind, reply, content)?;
            Ok((Some(answers), Body::Response(response)))
        }
        None => Ok((None, Body::Request(open_request(kind, content)?))),
    }
}

fn open_routed(kind: RingKind, origin: Peer, content: Content) -> Result<Request, &'static str> {
    let what = match kind {
        RingKind::Join => Routed::Join,
        RingKind::Lookup => Routed::Lookup { key: content.key.ok_or("a lookup needs a key")?.0 },
        RingKind::Store => Routed::Store { file: content.file.ok_or("a routed store needs a file")? },
        RingKind::Request => Routed::Request { file: content.file.ok_or("a routed request needs a file")? },
        _ => return Err("this type is not routed"),
    };
    let (last, quiet) = (content.last.unwrap_or(false), content.quiet.unwrap_or(false));
    let trail = content.trail.map(|trail| trail.0);
    let datagrams = content.datagrams.unwrap_or(false);
    let route = Route { origin, hops: content.hops.unwrap_or(0), last, quiet, trail, datagrams };
    Ok(Request::Ring(RingRequest::Routed { route, what }))
}

fn open_request(kind: RingKind, content: Content) -> Result<Request, &'static str> {
    if let Some(origin) = content.origin {
        return open_routed(kind, origin.into(), content);
    }
    if kind == RingKind::Lookup && content.ranges.is_some() {
        return open_comparison(content);
    }
    if let Some(news) = content.news.filter(|_| kind == RingKind::Store) {
        let few = (1..=MAX_LEASES).contains(&news.len());
        return few.then_some(Request::Lease(news)).ok_or("it tells of no lease, or of too many");
    }
    let successors = content.successors.map(|list| list.0);
    let predecessors = content.predecessors.map(|list| list.0);
    let is_bare = successors.is_none() && predecessors.is_none();
    Ok(Request::Ring(match kind {
        RingKind::Ping if is_bare => match content.key {
            Some(WireId(key)) => RingRequest::Has { key },
            None => return Ok(Request::Ping),
        },
        RingKind::Ping => RingRequest::Ping {
            predecessors: predecessors.unwrap_or_default(),
            successors: successors.unwrap_or_default(),
            quiet: content.quiet.unwrap_or(false),
        },
        RingKind::Join => return Err("a join needs an origin"),
        RingKind::Lookup => {
            return Ok(Request::FindNode { id: content.id.ok_or("a lookup needs an origin or an id")?.0 });
        }
        RingKind::Store => return open_store(content.key, content.size, content.leases),
        RingKind::Request => return open_question(content.key, content.verify, content.terms),
        RingKind::Transfer => RingRequest::Transfer {
            file: content.file.ok_or("a transfer needs a file")?,
            size: content.size.ok_or("a transfer needs a size")?,
            modified: content.modified.unwrap_or(0),
            stored: content.stored.unwrap_or(false),
        },
        RingKind::Update => RingRequest::Update {
            successors: successors.ok_or("an update needs successors")?,
            joined: content.joined.map(Into::into),
        },
        RingKind::Quit => RingRequest::Quit {
            predecessors: predecessors.unwrap_or_default(),
            successors: successors.ok_or("a quit needs successors")?,
        },
        RingKind::Exit => RingRequest::Exit { predecessors: predecessors.unwrap_or_default() },
        RingKind::Abrupt => RingRequest::Abrupt { peer: content.peer.ok_or("an abrupt needs a peer")?.into() },
    }))
}

fn open_question(key: Option<WireId>, verify: Option<bool>, terms: Option<bool>) -> Result<Request, &'static str> {
    let key = key.ok_or("a request needs a key or a file")?.0;
    Ok(match (verify, terms) {
        (Some(true), _) => Request::Verify { key },
        (_, Some(true)) => Request::Terms { key },
        _ => Request::FindValue { key },
    })
}

fn open_store(key: Option<WireId>, size: Option<u64>, leases: Option<Vec<Lease>>) -> Result<Request, &'static str> {
    let size = size.map(u32::try_from).transpose().map_err(|_| "no block is that large")?;
    let leases = leases.unwrap_or_default();
    if leases.len() > MAX_LEASES {
        return Err("too many leases");
    }
    Ok(Request::Store { key: key.ok_or("a store needs a key or a file")?.0, size, leases })
}

fn open_comparison(content: Content) -> Result<Request, &'static str> {
    let ranges = content.ranges.filter(|ranges| (1..=MAX_RANGES).contains(&ranges.len()));
    let held = content.count.zip(content.digest).map(|(count, digest)| Summary { count, digest });
    let (ranges, held) = ranges.zip(held).ok_or("a comparison needs ranges, a count and a digest")?;
    Ok(Request::Compare { ranges, held, copies: content.copies })
}

fn open_difference(difference: Option<Difference>) -> Result<Difference, &'static str> {
    let fits = |difference: &Difference| match difference {
        Difference::Keys(keys) => keys.len() <= MAX_KEYS,
        Difference::Parts(parts) => parts.len() <= MAX_PARTS,
    };
    difference.filter(fits).ok_or("the answer lacks its keys or parts, or has too many")
}

fn listed(peers: Option<Peers>) -> Result<Vec<Peer>, &'static str> {
    peers.map(|list| list.0).ok_or("the answer lacks its peers")
}

fn open_reply(kind: RingKind, reply: WireReply, content: Content) -> Result<(RequestKind, Response), &'static str> {
    let shared = match kind {
        RingKind::Ping => RequestKind::Ping,
        RingKind::Lookup => RequestKind::FindNode,
        RingKind::Request => RequestKind::FindValue,
        RingKind::Store => RequestKind::Store,
        _ => RequestKind::Ring,
    };
    Ok(match reply {
        WireReply::Node => {
            let peer = content.peer.ok_or("the answer lacks its peer")?.into();
            match content.has.filter(|_| kind == RingKind::Ping) {
                Some(has) => (RequestKind::Ring, Response::Ring(RingResponse::Has { peer, has })),
                None => (shared, Response::holder(peer, content.copies)),
            }
        }
        WireReply::Nodes => (shared, Response::Nodes(listed(content.peers)?)),
        WireReply::Saved => {
            (RequestKind::Store, content.shown.map_or(Response::Saved, |sample| Response::Shown { sample }))
        }
        WireReply::Leased => {
            let (blocks, free) = content.count.zip(content.free).ok_or("the answer lacks its counts")?;
            (RequestKind::Lease, Response::Leased { blocks, free })
        }
        WireReply::Same => (RequestKind::Compare, Response::Same),
        WireReply::Differs => (RequestKind::Compare, Response::Differs(open_difference(content.difference)?)),
        WireReply::Terms => {
            let leases = content.leases.filter(|leases| leases.len() <= MAX_LEASES);
            let leases = leases.ok_or("the answer lacks its leases, or has too many")?;
            (RequestKind::FindValue, Response::Terms(leases))
        }
        WireReply::Vouch => {
            (RequestKind::FindValue, Response::Vouch(content.vouch.ok_or("the answer lacks its vouch")?))
        }
        own => (RequestKind::Ring, Response::Ring(open_ring_reply(kind, own, content)?)),
    })
}

/// The answers that only the ring has.
fn open_ring_reply(kind: RingKind, reply: WireReply, content: Content) -> Result<RingResponse, &'static str> {
    let response = match reply {
        WireReply::Pong => RingResponse::Pong {
            peer: content.peer.ok_or("a pong needs a peer")?.into(),
            predecessors: listed(content.predecessors)?,
            successors: listed(content.successors)?,
        },
        WireReply::Welcome => RingResponse::Welcome {
            predecessors: listed(content.predecessors)?,
            successors: listed(content.successors)?,
        },
        WireReply::Owner => RingResponse::Owner {
            brief: content.named.is_some(),
            peers: content.named.map_or_else(|| listed(content.peers), |named| Ok(named.0))?,
            hops: content.hops.unwrap_or(0),
            trail: content.trail.unwrap_or_default().0,
        },
        WireReply::Kept => RingResponse::Kept { file: content.file.ok_or("the answer lacks its file")? },
        WireReply::File => RingResponse::File {
            file: content.file.ok_or("the answer lacks its file")?,
            place: FilePlace { size: content.size },
        },
        WireReply::Noted => RingResponse::Noted { of: kind },
        WireReply::Refused => {
            let reason = content.reason.as_deref().unwrap_or("no reason given");
            RingResponse::Refused { of: kind, reason: clip(reason).to_owned() }
        }
        _ => return Err("an answer that is not the ring's own"),
    };
    // Whatever the type, its answer is of that type: a pong under `join` is nothing that we know.
    if response.kind() == kind { Ok(response) } else { Err("an answer to another type") }
}
