//! Kademlia's datagrams: one JSON object each, so that `tcpdump -A` shows what happens.
//!
//! ```text
//! request
//! {"magic":7,"requestor":{"node_id":"…","ip":"127.0.0.1","port":7000},"type":"find_node","params":{"id":"…"}}
//! response
//! {"magic":7,"type":"find_node","resp":true,"node_id":"…","result":[{"node_id":"…","ip":"127.0.0.1","port":7001}]}
//! error
//! {"magic":7,"error":"params.id is not 64 hexadecimal digits"}
//! ```
//!
//! `compare_keys` asks whether the other holds the same blocks in ranges of keys ([`summary`](super::summary)). Its
//! `params` are `{"ranges":["FIRST-LAST",…],"count":3,"digest":"…"}`, and `"copies":7` where it asks about blocks that
//! are to have so many alone (0: those for which no lease asks for a number); its `result` is `"same"`, or the other's
//! keys by how they start, `{"keys":["…",…]}`, or what it holds in parts of the ranges,
//! `{"parts":[{"range":"FIRST-LAST","count":2,"digest":"…"},…]}`.
//!
//! `find_value` with `"verify":true` among its `params` has a holder hash its copy first ([`Vouch`](super::Vouch)): the
//! `result` is `"verified"`, `"damaged"`, `"absent"` or `"busy"`. Older peers ignore it, and answer as they always do.
//!
//! With `"terms":true` it asks on whose behalf a holder keeps its copy: the `result` is
//! `{"leases":["NAME:UNTIL:COPIES",…]}`, or `"absent"`.
//!
//! A peer that holds a block whose leases want so many copies of it answers `find_value` with `"copies":3` at the end
//! of its node.
//!
//! A peer that had the block already, and so did not pull it from the peer that offers it, shows that it has: beside
//! the `result` `"saved"` stands `"sample":"…"`, a hash of the magic, of its own id, and of the bytes that the magic
//! names ([`sample`](super::sample)). Where an older peer says no more than `"saved"` and did not pull the block, its
//! copy counts once it was read back from it.
//!
//! `store_value` may tell on whose behalf the block is kept: `"leases":["NAME:UNTIL:COPIES",…]` among its `params` (see
//! [`lease`](crate::lease)). `lease` says of leases that they were `renewed` (such a list) or have `ended` (a list of
//! their secrets); its `result` is `{"blocks":3,"free":1}`.
//!
//! A response with a list of peers names the peer that answers by the id beside `result`; older peers ignore it, and do
//! not write it. So they do with a ping's `gone` among its `params`: a peer that the sender found silent.
//!
//! A peer that remembers who answered it, by the address, says `"recalls":true` beside its `requestor`. To such a peer
//! less is said, and no other one is sent any of this:
//! - An answer to its ping tells the id alone, `"result":{"node_id":"…"}`.
//! - A list of peers is one of words, `"result":["ID@HOST:PORT",…]`. A list of no peers is no shorter: the id stands
//!   beside it.
//! - An answer names no `type`: its magic tells what it answers.
//! - `"asks":8` beside any `result` stands for a ping back with the magic 8, which needs no `requestor`.
//!
//! A peer that has answered it, and has an answer of it, leaves out the `requestor` of the pings and questions that it
//! sends there in the next two and a half minutes, and the spaces, and writes the peer behind `gone` as such a word.
//! Both know each other then, so the answer to such a ping is `"result":"here"`, and a list of peers comes without the
//! id beside it. Where an address is not known, the answer is an error; then the request comes again, and says who
//! asks. So it does where answers are missing for so long that the peer is doubted. A peer that asks or answers from a
//! known address under another id is known there no more, until it answers what it was asked.
//!
//! A request may bear the name of its network beside its `requestor`, `"network":"comp3331"`; without one it is of the
//! usual network. A peer of another name answers with an error that says so.
//!
//! [`encode()`] writes our dialect: compact, fields in the order above, and spaces after a question for peers, so that
//! a stranger may answer it whole without sending much more than it got. [`decode()`] reads what any honest peer may
//! write: fields in whatever order, unknown ones ignored, the older spelling `requester`, responses without a `type`.
//! Neither allocates for a ping or a question. A datagram is a stranger's text, so reading it can fail but never panic,
//! recurse without bound or keep more than the lists that it holds.

mod decode;
mod encode;
mod lenient;
#[cfg(test)]
mod tests;

pub use decode::{Malformed, decode};
pub use encode::encode;
pub(super) use encode::fit;

use super::RequestKind;

/// Peers kept of a list in a response (a bucket's worth); the rest is ignored.
const MAX_NODES_KEPT: usize = 20;

/// The `type` on the wire of each kind of request. The ring speaks another language.
const fn type_name(kind: RequestKind) -> Option<&'static str> {
    match kind {
        RequestKind::Ping => Some("ping_node"),
        RequestKind::FindNode => Some("find_node"),
        RequestKind::FindValue => Some("find_value"),
        RequestKind::Store => Some("store_value"),
        RequestKind::Lease => Some("lease"),
        RequestKind::Compare => Some("compare_keys"),
        RequestKind::Ring => None,
    }
}

/// The kind of request that `name` is the `type` of.
fn kind_named(name: &str) -> Option<RequestKind> {
    use RequestKind::{Compare, FindNode, FindValue, Lease, Ping, Store};
    [FindNode, FindValue, Ping, Store, Compare, Lease].into_iter().find(|kind| type_name(*kind) == Some(name))
}
