//! Writes messages as JSON, straight into the datagram's buffer.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::ops::Range;

use data_encoding::HEXLOWER;

use super::{clip, type_name};
use crate::config::QUESTION_BYTES;
use crate::id::Id;
use crate::peer::Peer;
use crate::wire::{Body, Message, Request, RequestKind, Response, Sender};

/// Bytes of a node's text at most, with the comma before it: a full IPv6 address and a port of five digits.
const NODE_LEN_MAX: usize = node_len(39, 5) + 1;

/// How a node's text starts, up to its address, and where in it the id goes.
const NODE_START: &[u8; 84] =
    br#"{"node_id":"0000000000000000000000000000000000000000000000000000000000000000","ip":""#;
const NODE_ID: Range<usize> = 12..76;

/// Stands in for what only the ring says. A node never sends that by datagram; were it to, the other side would learn
/// why it got nothing.
const NOT_OURS: &str = "only the ring says this";

/// Appends the text of `message` to `out`. A question for peers gets spaces at its end, see [`QUESTION_BYTES`]. A response
/// that names no request kind is written as the kind it most likely answers; the text of an error is cut at 160 bytes.
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
        Body::Response(response) => put_response(message.answers, response, out),
        Body::Error(reason) => put_error(reason, out),
    }
    out.push(b'}');
    if let Body::Request(Request::FindNode { .. } | Request::FindValue { .. }) = &message.body {
        out.resize(out.len().max(start + QUESTION_BYTES), b' ');
    }
}

/// How many of `peers`, from the first, fit into the response to the request `magic` of this `kind`, if its datagram
/// may have at most `budget` bytes.
pub fn fit_nodes(magic: u64, kind: RequestKind, peers: &[Peer], budget: usize) -> usize {
    let envelope = br#"{"magic":,"type":"","resp":true,"result":[]}"#.len();
    let digits = magic.checked_ilog10().unwrap_or(0) as usize + 1;
    let empty = envelope + digits + type_name(kind).map_or(0, str::len);
    if empty + peers.len() * NODE_LEN_MAX <= budget {
        return peers.len();
    }
    let mut len = empty;
    peers
        .iter()
        .enumerate()
        .take_while(|(index, peer)| {
            let port_digits = peer.addr.port().checked_ilog10().unwrap_or(0) as usize + 1;
            len += node_len(ip_len(peer.addr.ip()), port_digits) + usize::from(*index > 0);
            len <= budget
        })
        .count()
}

fn put_request(sender: Option<&Sender>, request: &Request, out: &mut Vec<u8>) {
    let Some(name) = type_name(request.kind()) else { return put_error(NOT_OURS, out) };
    if let Some(sender) = sender {
        out.extend_from_slice(br#","requestor":"#);
        put_node(&sender.peer, out);
        if sender.guest {
            out.extend_from_slice(br#","guest":true"#);
        }
        if sender.leaving {
            out.extend_from_slice(br#","leaving":true"#);
        }
    }
    put_type(name, out);
    out.extend_from_slice(br#","params":{"#);
    match request {
        Request::Ping | Request::Ring(_) => {}
        Request::FindNode { id } => put_id_param(id, out),
        Request::FindValue { key } => put_id_param(key, out),
        Request::Store { key, size } => {
            put_id_param(key, out);
            if let Some(size) = size {
                out.extend_from_slice(br#","size":"#);
                put_number(u64::from(*size), out);
            }
        }
    }
    out.push(b'}');
}

fn put_response(answers: Option<RequestKind>, response: &Response, out: &mut Vec<u8>) {
    let kind = answers.unwrap_or(match response {
        Response::Node(_) => RequestKind::Ping,
        Response::Nodes(_) => RequestKind::FindNode,
        Response::Saved => RequestKind::Store,
        Response::Ring(_) => RequestKind::Ring,
    });
    let Some(name) = type_name(kind) else { return put_error(NOT_OURS, out) };
    put_type(name, out);
    out.extend_from_slice(br#","resp":true,"result":"#);
    match response {
        Response::Node(peer) => put_node(peer, out),
        Response::Nodes(peers) => put_nodes(peers, out),
        Response::Saved => out.extend_from_slice(br#""saved""#),
        Response::Ring(_) => out.extend_from_slice(b"null"),
    }
}

fn put_error(reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","error":"#);
    put_text(clip(reason), out);
}

fn put_type(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","type":""#);
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
}

fn put_id_param(id: &Id, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""id":""#);
    put_id(id, out);
    out.push(b'"');
}

fn put_nodes(peers: &[Peer], out: &mut Vec<u8>) {
    out.reserve(peers.len() * NODE_LEN_MAX + 2);
    out.push(b'[');
    for (index, peer) in peers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_node(peer, out);
    }
    out.push(b']');
}

fn put_node(peer: &Peer, out: &mut Vec<u8>) {
    // An answer is mostly nodes, and a node mostly this: one copy instead of three.
    let mut start = *NODE_START;
    HEXLOWER.encode_mut(peer.id.as_bytes(), &mut start[NODE_ID]);
    out.extend_from_slice(&start);
    let mut end = Backwards::default();
    end.push_text(b"}");
    end.push_number(u64::from(peer.addr.port()));
    end.push_text(br#"","port":"#);
    match peer.addr.ip() {
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            for octet in rest.into_iter().rev() {
                end.push_number(u64::from(octet));
                end.push_text(b".");
            }
            end.push_number(u64::from(first));
        }
        IpAddr::V6(ip) => write!(out, "{ip}").expect("a vector takes every byte"),
    }
    out.extend_from_slice(end.as_bytes());
}

/// Bytes that [`put_node`] writes for an address of `ip` bytes and a port of `port` digits.
const fn node_len(ip: usize, port: usize) -> usize {
    br#"{"node_id":"","ip":"","port":}"#.len() + 64 + ip + port
}

fn put_id(id: &Id, out: &mut Vec<u8>) {
    let mut digits = [0; 64];
    HEXLOWER.encode_mut(id.as_bytes(), &mut digits);
    out.extend_from_slice(&digits);
}

/// Bytes of the text of `ip`.
fn ip_len(ip: IpAddr) -> usize {
    struct Count(usize);
    impl fmt::Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut count = Count(0);
    fmt::Write::write_fmt(&mut count, format_args!("{ip}")).expect("counting does not fail");
    count.0
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

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Writes `text` as a JSON string.
fn put_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a vector takes every string");
}
