//! Writes messages as JSON, by hand, straight into the datagram's buffer: no struct is filled and no tree is built for
//! a message. The plain way, a struct for each from which serde derives the text as [`ring`](crate::wire::ring) does,
//! would be read more easily. What this one buys is measured only as a part of all that a peer does for an answer:
//! `cargo bench`, `answering`.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::slice;

use data_encoding::HEXLOWER;
use serde::Serialize;

use super::type_name;
use crate::config::{BRIEF_QUESTION_BYTES, BRIEF_QUESTION_BYTES_IPV4, QUESTION_BYTES, QUESTION_BYTES_IPV4};
use crate::id::Id;
use crate::lease::LeaseNews;
use crate::peer::{NOT_TOLD, Peer};
use crate::wire::{Body, Message, Request, Response, Sender, Summary, clip, summary};

/// Bytes of a node's text at most: a full IPv6 address and a port of five digits.
const NODE_LEN_MAX: usize = node_len_with(39, 5);

/// How a node's text starts, up to its address, and where in it the id goes.
const NODE_START: &[u8; 84] =
    br#"{"node_id":"0000000000000000000000000000000000000000000000000000000000000000","ip":""#;
const NODE_ID: Range<usize> = 12..76;

/// How the id of the peer that answers starts.
const SIGNATURE_START: &[u8] = br#","node_id":""#;

/// How the magic of a ping back starts.
const ASKS_START: &[u8] = br#","asks":"#;

/// Stands in for what only the ring says. A node never sends that by datagram; were it to, the other side would learn
/// why it got nothing.
const NOT_OURS: &str = "only the ring says this";

/// Appends the text of `message` to `out`. A question for peers gets spaces at its end, see [`QUESTION_BYTES`]. The
/// text of an error is cut at 160 bytes.
///
/// ```
/// use kadring::wire::{Message, kad};
///
/// let mut text = Vec::new();
/// kad::encode(&Message::error(7, "no \"type\""), &mut text);
/// assert_eq!(text, br#"{"magic":7,"error":"no \"type\""}"#);
/// ```
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(br#"{"magic":"#);
    put_number(message.magic, out);
    match &message.body {
        Body::Request(request) => put_request(message.sender.as_ref(), request, out),
        Body::Response(response) => put_response(message, response, out),
        Body::Error(reason) => put_error(reason, out),
    }
    out.push(b'}');
    out.resize(out.len().max(start + least_len(message)), b' ');
}

/// Bytes that the text of `message` has at least: see [`QUESTION_BYTES`].
fn least_len(message: &Message) -> usize {
    let Body::Request(request) = &message.body else { return 0 };
    match request {
        Request::FindNode { .. } | Request::FindValue { .. } => message.sender.as_ref().map_or(0, question_len),
        Request::Verify { .. } | Request::Terms { .. } | Request::Compare { .. } => QUESTION_BYTES,
        _ => 0,
    }
}

/// Bytes of a question for peers, from `sender`. One without a sender goes to a peer that knows who asks.
fn question_len(sender: &Sender) -> usize {
    match (sender.recalls, sender.peer.addr.is_ipv4()) {
        (false, false) => QUESTION_BYTES,
        (false, true) => QUESTION_BYTES_IPV4,
        (true, false) => BRIEF_QUESTION_BYTES,
        (true, true) => BRIEF_QUESTION_BYTES_IPV4,
    }
}

/// Makes `message` fit `budget` bytes, without writing a list of nodes to see how long it is.
pub(in crate::wire) fn fit(message: &mut Message, budget: usize) -> bool {
    // Few answers come near what they may have: as a rule nothing is measured but the number of nodes.
    let peer_len = if matches!(message.body, Body::Response(Response::Named(_))) { word_len } else { node_len };
    len(message, |_| NODE_LEN_MAX) <= budget || message.shorten(len(message, peer_len), budget, peer_len)
}

/// Bytes of the text of `message`, if a node has as many as `node_len` says.
fn len(message: &Message, node_len: impl Fn(&Peer) -> usize) -> usize {
    let (brackets, nodes) = match &message.body {
        Body::Response(Response::Nodes(peers) | Response::Named(peers)) => (2, &peers[..]),
        Body::Response(Response::Node(peer)) => (0, slice::from_ref(peer)),
        _ => {
            let mut text = Vec::new();
            encode(message, &mut text);
            return text.len();
        }
    };
    let envelope = br#"{"magic":,"resp":true,"result":}"#.len();
    let name = message.answers.and_then(type_name).map_or(0, |name| br#","type":"""#.len() + name.len());
    let nodes_len = nodes.iter().map(node_len).sum::<usize>() + nodes.len().saturating_sub(1);
    let signature = message.sender.map_or(0, |_| SIGNATURE_START.len() + 64 + 1);
    let ping_back = message.asks.map_or(0, |magic| ASKS_START.len() + digits(magic));
    envelope + digits(message.magic) + name + signature + ping_back + brackets + nodes_len
}

fn put_request(sender: Option<&Sender>, request: &Request, out: &mut Vec<u8>) {
    let Some(name) = type_name(request.kind()) else { return put_error(NOT_OURS, out) };
    if let Some(sender) = sender {
        put_sender(sender, out);
    }
    put_type(name, out);
    out.extend_from_slice(br#","params":{"#);
    match request {
        Request::Ping | Request::Ring(_) => {}
        Request::Compare { ranges, held, copies } => {
            put_summary(ranges, held, out);
            if let Some(copies) = copies {
                out.extend_from_slice(br#","copies":"#);
                put_number(u64::from(*copies), out);
            }
        }
        Request::Gone { peer } => {
            out.extend_from_slice(br#""gone":"#);
            if sender.is_some() { put_node(peer, out) } else { put_word(peer, out) }
        }
        Request::FindNode { id } => put_id_param(id, out),
        Request::FindValue { key } => put_id_param(key, out),
        Request::Verify { key } | Request::Terms { key } => {
            put_id_param(key, out);
            let verifies = matches!(request, Request::Verify { .. });
            out.extend_from_slice(if verifies { br#","verify":true"# } else { br#","terms":true"# });
        }
        Request::Store { key, size, leases } => {
            put_id_param(key, out);
            if let Some(size) = size {
                out.extend_from_slice(br#","size":"#);
                put_number(u64::from(*size), out);
            }
            if !leases.is_empty() {
                out.extend_from_slice(br#","leases":"#);
                put_json(leases, out);
            }
        }
        Request::Lease(LeaseNews { renewed, ended }) => {
            out.extend_from_slice(br#""renewed":"#);
            put_json(renewed, out);
            out.extend_from_slice(br#","ended":"#);
            put_json(ended, out);
        }
    }
    out.push(b'}');
}

fn put_sender(sender: &Sender, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","requestor":"#);
    put_node(&sender.peer, out);
    if sender.guest {
        out.extend_from_slice(br#","guest":true"#);
    }
    if sender.leaving {
        out.extend_from_slice(br#","leaving":true"#);
    }
    if !sender.network.is_usual() {
        out.extend_from_slice(br#","network":""#);
        out.extend_from_slice(sender.network.as_str().as_bytes());
        out.push(b'"');
    }
    if sender.recalls {
        out.extend_from_slice(br#","recalls":true"#);
    }
}

fn put_response(message: &Message, response: &Response, out: &mut Vec<u8>) {
    match message.answers.map(type_name) {
        _ if matches!(response, Response::Ring(_)) => return put_error(NOT_OURS, out),
        Some(None) => return put_error(NOT_OURS, out),
        Some(Some(name)) => put_type(name, out),
        None => {}
    }
    out.extend_from_slice(br#","resp":true"#);
    if let Some(sender) = &message.sender {
        out.extend_from_slice(SIGNATURE_START);
        put_id(&sender.peer.id, out);
    }
    if let Some(magic) = message.asks {
        out.extend_from_slice(ASKS_START);
        put_number(magic, out);
    }
    out.extend_from_slice(br#","result":"#);
    match response {
        Response::Node(peer) => put_node(peer, out),
        Response::Holder { peer, copies } => {
            put_node(peer, out);
            out.pop();
            write!(out, r#","copies":{copies}}}"#).expect("a vector takes every byte");
        }
        Response::Nodes(peers) => put_peers(peers, put_node, out),
        Response::Named(peers) => put_peers(peers, put_word, out),
        Response::Here => out.extend_from_slice(br#""here""#),
        Response::Saved => out.extend_from_slice(br#""saved""#),
        Response::Shown { sample } => {
            out.extend_from_slice(br#""saved","sample":""#);
            put_id(sample, out);
        }
        Response::Leased { blocks, free } => {
            write!(out, r#"{{"blocks":{blocks},"free":{free}}}"#).expect("a vector takes every byte");
        }
        Response::Same => out.extend_from_slice(br#""same""#),
        Response::Differs(difference) => put_json(difference, out),
        Response::Terms(leases) => {
            out.extend_from_slice(br#"{"leases":"#);
            put_json(leases, out);
            out.push(b'}');
        }
        Response::Vouch(vouch) => put_json(vouch, out),
        Response::Ring(_) => out.extend_from_slice(b"null"),
    }
}

fn put_error(reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","error":"#);
    put_json(clip(reason), out);
}

fn put_type(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","type":""#);
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
}

fn put_id_param(id: &Id, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""id":""#);
    put_id(id, out);
}

fn put_summary(ranges: &[summary::Range], held: &Summary, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""ranges":"#);
    put_json(ranges, out);
    write!(out, r#","count":{},"digest":"{}""#, held.count, held.digest).expect("a vector takes every byte");
}

fn put_peers(peers: &[Peer], put_peer: impl Fn(&Peer, &mut Vec<u8>), out: &mut Vec<u8>) {
    out.reserve(peers.len() * (NODE_LEN_MAX + 1) + 2);
    out.push(b'[');
    for (index, peer) in peers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_peer(peer, out);
    }
    out.push(b']');
}

fn put_node(peer: &Peer, out: &mut Vec<u8>) {
    // An answer is mostly nodes, and a node mostly this: one copy instead of three.
    let mut start = *NODE_START;
    HEXLOWER.encode_mut(peer.id.as_bytes(), &mut start[NODE_ID]);
    if peer.addr == NOT_TOLD {
        out.extend_from_slice(&start[..=NODE_ID.end]);
        return out.push(b'}');
    }
    out.extend_from_slice(&start);
    let mut end = Backwards::default();
    end.push_text(b"}");
    end.push_number(u64::from(peer.addr.port()));
    end.push_text(br#"","port":"#);
    match peer.addr.ip() {
        IpAddr::V4(ip) => end.push_ip(ip),
        IpAddr::V6(ip) => write!(out, "{ip}").expect("a vector takes every byte"),
    }
    out.extend_from_slice(end.as_bytes());
}

/// Writes a peer as [`PeerWord`](crate::wire::word::PeerWord) does.
fn put_word(peer: &Peer, out: &mut Vec<u8>) {
    out.push(b'"');
    put_id(&peer.id, out);
    out.pop();
    let mut end = Backwards::default();
    end.push_text(b"\"");
    end.push_number(u64::from(peer.addr.port()));
    end.push_text(b":");
    match peer.addr.ip() {
        IpAddr::V4(ip) => {
            end.push_ip(ip);
            end.push_text(b"@");
        }
        IpAddr::V6(ip) => write!(out, "@[{ip}]").expect("a vector takes every byte"),
    }
    out.extend_from_slice(end.as_bytes());
}

/// Bytes that [`put_node`] writes for `peer`.
fn node_len(peer: &Peer) -> usize {
    if peer.addr == NOT_TOLD {
        return NODE_ID.end + 2;
    }
    node_len_with(ip_len(peer.addr.ip()), digits(peer.addr.port().into()))
}

/// Bytes that [`put_word`] writes for `peer`.
fn word_len(peer: &Peer) -> usize {
    let brackets = if peer.addr.is_ipv4() { 0 } else { 2 };
    br#""@:""#.len() + 64 + brackets + ip_len(peer.addr.ip()) + digits(peer.addr.port().into())
}

/// Bytes that [`put_node`] writes for an address of `ip` bytes and a port of `port` digits.
const fn node_len_with(ip: usize, port: usize) -> usize {
    br#"{"node_id":"","ip":"","port":}"#.len() + 64 + ip + port
}

/// Writes an id behind the quote that was written, and the quote behind it.
fn put_id(id: &Id, out: &mut Vec<u8>) {
    let mut digits = [b'"'; 65];
    HEXLOWER.encode_mut(id.as_bytes(), &mut digits[..64]);
    out.extend_from_slice(&digits);
}

/// Bytes of the text of `ip`.
fn ip_len(ip: IpAddr) -> usize {
    match ip {
        IpAddr::V4(ip) => 3 + ip.octets().into_iter().map(|octet| digits(octet.into())).sum::<usize>(),
        IpAddr::V6(ip) => ip.to_string().len(),
    }
}

/// Digits of `number`.
fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

fn put_number(number: u64, out: &mut Vec<u8>) {
    let mut text = Backwards::default();
    text.push_number(number);
    out.extend_from_slice(text.as_bytes());
}

/// A short text that grows from its end, as the digits of a number come. It has room for the largest number, and for a
/// node's end from its IPv4 address on.
struct Backwards {
    bytes: [u8; 32],
    start: usize,
}

impl Default for Backwards {
    fn default() -> Self {
        Self { bytes: [0; 32], start: 32 }
    }
}

impl Backwards {
    fn push_text(&mut self, text: &[u8]) {
        let end = self.start;
        self.start -= text.len();
        self.bytes[self.start..end].copy_from_slice(text);
    }

    fn push_number(&mut self, mut number: u64) {
        while number >= 10 {
            self.push_text(&[b'0' + (number % 10) as u8]);
            number /= 10;
        }
        self.push_text(&[b'0' + number as u8]);
    }

    fn push_ip(&mut self, ip: Ipv4Addr) {
        let [first, rest @ ..] = ip.octets();
        for octet in rest.into_iter().rev() {
            self.push_number(u64::from(octet));
            self.push_text(b".");
        }
        self.push_number(u64::from(first));
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Writes what is rare, by serde.
fn put_json(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a vector takes all plain data");
}
