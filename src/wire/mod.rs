//! What travels: messages in datagrams and control lines, and the limits both sides hold.
//!
//! [`Message`] is the one form the core knows. [`kad`] writes and reads it as Kademlia's JSON datagrams, [`ring`] as
//! the ring's five-field lines. Nothing here touches a socket.

pub mod kad;
pub mod message;
pub mod ring;

pub use message::{Body, Message, Request, RequestKind, Response, Sender, Via};

/// Bytes of the largest datagram we send: it passes any path without fragments.
pub const MAX_DATAGRAM_SENT: usize = 1200;
/// Bytes of the largest datagram we read; anything longer is dropped.
pub const MAX_DATAGRAM_RECEIVED: usize = 8 * 1024;
/// Bytes of a request line on TCP, its newline included.
pub const MAX_REQUEST_LINE: usize = 128;
/// Bytes of a control line on TCP (it starts with `{`), its newline included.
pub const MAX_CONTROL_LINE: usize = 64 * 1024;
/// Request ids are below this, so that every JSON reader keeps them exactly.
pub const MAGIC_LIMIT: u64 = 1 << 53;
