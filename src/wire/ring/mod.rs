//! The ring's lines: one JSON object each, always the same five fields.
//!
//! ```text
//! {"type":"join","source":{"id":4,"ip":"127.0.0.1","port":12004},"destination":{"ip":"127.0.0.1","port":12005},
//!  "stamp":77,"content":{"origin":{"id":15,"ip":"127.0.0.1","port":12015},"hops":1,"last":false}}
//! ```
//!
//! | `type` | asks | `content` |
//! |---|---|---|
//! | `ping` | are you there? (stabilize and notify in one) | `predecessors`, `successors`, `quiet`; empty for a bare ping |
//! | `ping` | are you there, and do you hold this block? (older peers read a bare ping, and say nothing of the block) | `key`; the answer `node` says whether it `has` the block |
//! | `join` | let me in (routed) | `origin`, `hops`, `last` |
//! | `lookup` | who is responsible for `key`? (routed) | `key`, `origin`, `hops`, `last`, `quiet` (for upkeep), `trail` (who passed it on; only where the origin asks, and then in the answer too), `datagrams` (see below); the answer `owner` has `peers`, or in a datagram `named` |
//! | `lookup` | do you hold the same blocks in these [ranges](crate::wire::summary)? | `ranges`, `count`, `digest`, and `copies` if of some blocks alone; the answer `same`, or `differs` with a `difference` |
//! | `store` | keep this: a file by its name (routed), or a block by its key | `file`, `origin`, … or `key`, `size`; the answer `saved` has `shown`, a [sample](crate::wire::sample), from who did not pull it |
//! | `request` | give me this: a file (routed), or a block | `file`, `origin`, … or `key` |
//! | `request` | hash this block, if you have it: is it sound? Older peers say whether they have it | `key`, `verify`; the answer `vouch` with a `vouch` |
//! | `transfer` | take this file over from me | `file`, `size`, `modified`; `stored` if a user has just stored it |
//! | `update` | my successors have changed | `successors`, `joined` |
//! | `quit` | I go: these come after me | `predecessors`, `successors` |
//! | `exit` | I am gone: my place is yours | `predecessors` |
//! | `abrupt` | this peer does not answer any more: check | `peer` |
//!
//! `stamp` is the [`magic`](crate::wire::Message::magic): random, below 2^53, chosen by the peer that asks first and
//! kept at each hop of a routed request, so that the owner's answer finds the question without passing the hops again.
//!
//! A `source` may bear the name of its network, `"network":"comp3331"`; without one it is of the usual network. A peer
//! of another name answers a request with an `error` that says so.
//!
//! An answer has the `type` and the `stamp` of its request and a `content` with `reply` (or `error`) in it. An `id` is
//! a number where it fits one (the classroom's 0 to 255), else 64 hexadecimal digits. A line ends with a newline, so
//! two messages stuck together in one read are still two messages. `ping` travels in a datagram, the others on kept
//! TCP connections.
//!
//! # Answers by datagram
//! A connection takes a round trip to open, and an answer is short. So every peer but the classroom's says that it
//! reads answers by datagram, with what it asks for the first time: by `"datagrams":true` in the `source`, or for a
//! routed `lookup` in its `content`, where it goes along to the owner. A peer that reads that answers by one datagram,
//! from the port that it listens on, if the answer is no longer than one may be, and else over a connection. A datagram
//! may be lost: what is asked once more is asked without that word, and answered over a connection. Older peers neither
//! say nor read it, and answer as they always did.
//!
//! The origin of a `lookup` may be forged. An origin that has not shown that it is there gets three bytes at most for
//! each byte that a peer which asks in its name must have sent (see [`least_len`]), and that once. To fit that, peers
//! in a datagram are words: `"named":["ID@HOST:PORT", …]`.
//!
//! # Files by name
//! No file travels in these lines. A peer that was told who has one (`request`), or that it should take one over
//! (`transfer`), opens a TCP connection to that peer and asks for it with a line of its own, which does not begin with
//! `{`; the bytes follow on the same connection:
//! ```text
//! they  file 2067 12002\n                        the port is left out unless a user requested the file
//! we    1048576 1700000000000000\n               its size in bytes, and `modified`
//!       1048576 bytes, then <64 hex>\n           the SHA-256 of them
//! or    error: this file is not here\n
//! ```
//! The port is the one that the user's peer listens on: so the sender knows whom to name in "Sending file". `modified`,
//! here and in `transfer`, is when the file last changed, in microseconds since 1970. With the size it tells versions
//! apart: an offer of a version that the receiver has costs no bytes, and a copy keeps the time of its original. Size 0
//! and time 0 in a `transfer` mean that the storing peer has no such file: an empty one is made where there is none.

mod codec;
mod fields;
mod fit;
mod message;
#[cfg(test)]
mod tests;

pub use codec::decode;
pub use fit::{encode, least_len};
pub(super) use fit::{fit, in_datagram};
pub use message::{FilePlace, RingKind, RingRequest, RingResponse, Route, Routed};

/// Peers in any list of a message at most.
pub const MAX_PEERS_LISTED: usize = 16;
