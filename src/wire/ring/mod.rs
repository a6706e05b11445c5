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
//! | `join` | let me in (routed) | `origin`, `hops`, `last` |
//! | `lookup` | who is responsible for `key`? (routed) | `key`, `origin`, `hops`, `last` |
//! | `store` | keep this: a file by its name (routed), or a block by its key | `file`, `origin`, … or `key`, `size` |
//! | `request` | give me this: a file (routed), or a block | `file`, `origin`, … or `key` |
//! | `transfer` | take this file over from me | `file`, `size`, `modified` |
//! | `update` | my successors have changed | `successors`, `joined` |
//! | `quit` | I go: these come after me | `predecessors`, `successors` |
//! | `exit` | I am gone: my place is yours | `predecessors` |
//! | `abrupt` | this peer does not answer any more: check | `peer` |
//!
//! `stamp` is the [`magic`](crate::wire::Message::magic): random, below 2^53, chosen by whoever asks first and kept at
//! each hop of a routed request, so that the owner's answer finds the question without passing the hops again.
//!
//! An answer has the `type` and the `stamp` of its request and a `content` with `reply` (or `error`) in it. An `id` is a
//! number where it fits one (the classroom's 0 to 255), else 64 hexadecimal digits. A line ends with a newline, so two
//! messages stuck together in one read are still two messages. `ping` travels alone in a datagram, the others on kept
//! TCP connections.

mod codec;
mod fields;
mod message;
#[cfg(test)]
mod tests;

pub use codec::{decode, encode};
pub use message::{FileName, FilePlace, ParseFileNameError, RingKind, RingRequest, RingResponse, Route, Routed};

/// Peers in any list of a message at most.
pub const MAX_PEERS_LISTED: usize = 16;

/// Bytes kept of the text of an error or a refusal, whoever wrote it.
const MAX_REASON: usize = 160;
