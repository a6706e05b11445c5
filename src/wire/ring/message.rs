//! What only the ring says.

use serde::{Deserialize, Serialize};

use crate::id::Key;
use crate::name::FileName;
use crate::peer::Peer;

/// The ten `type`s of a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RingKind {
    /// Are you there?
    Ping,
    /// Let me in.
    Join,
    /// Who is responsible?
    Lookup,
    /// Keep this.
    Store,
    /// Give me this.
    Request,
    /// Take this over.
    Transfer,
    /// My successors have changed.
    Update,
    /// I go.
    Quit,
    /// I am gone.
    Exit,
    /// This peer does not answer.
    Abrupt,
}

/// What is routed to the peer responsible for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Routed {
    /// The origin wants to enter: goes to the peer that will be its predecessor.
    Join,
    /// Who is responsible for this key?
    Lookup {
        /// The key.
        key: Key,
    },
    /// The origin has a file to keep.
    Store {
        /// The file's name.
        file: FileName,
    },
    /// The origin wants a file.
    Request {
        /// The file's name.
        file: FileName,
    },
}

/// How far a routed request has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// The peer that asked first, and gets the answer.
    pub origin: Peer,
    /// Times it was passed on.
    pub hops: u16,
    /// The peer that passed it on believes that the receiver is the one responsible.
    pub last: bool,
    /// It is upkeep: no user waits for it.
    #[serde(default)]
    pub quiet: bool,
    /// The peers that passed it on, the first first, at most [`MAX_PEERS_LISTED`](super::MAX_PEERS_LISTED); only where
    /// the origin wants to know. Older peers pass it on without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trail: Option<Vec<Peer>>,
    /// The origin reads an answer that comes by datagram. Older peers pass the request on without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub datagrams: bool,
}

impl Route {
    /// The way of a request of this peer's, as it begins.
    pub const fn of(origin: Peer) -> Self {
        Self { origin, hops: 0, last: false, quiet: false, trail: None, datagrams: false }
    }
}

/// What only the ring asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RingRequest {
    /// Are you there? Also Chord's stabilize (the answer tells the receiver's neighbours) and notify (the sender takes
    /// the receiver for a successor).
    Ping {
        /// Peers before the sender, nearest first.
        predecessors: Vec<Peer>,
        /// Peers after the sender, nearest first.
        successors: Vec<Peer>,
        /// One ping more than the interval asks for; users are not told of it.
        quiet: bool,
    },
    /// Are you there, and do you hold the block `key`? Older peers read a bare ping.
    Has {
        /// The block's key.
        key: Key,
    },
    /// Something on its way to the peer that is responsible for it.
    Routed {
        /// How far it has come.
        route: Route,
        /// The request that is on its way.
        what: Routed,
    },
    /// Take this file over from the sender: pull it over TCP.
    Transfer {
        /// The file's name.
        file: FileName,
        /// Its size in bytes.
        size: u64,
        /// When it was changed last, in microseconds since 1970: with the size it tells versions apart.
        modified: u64,
        /// A user has just stored it: from the peer responsible it takes the place of a version that is newer.
        stored: bool,
    },
    /// The sender's successors have changed.
    Update {
        /// They are, nearest first.
        successors: Vec<Peer>,
        /// The peer that joined, if that is why.
        joined: Option<Peer>,
    },
    /// The sender goes.
    Quit {
        /// Peers before it, nearest first.
        predecessors: Vec<Peer>,
        /// Peers after it, nearest first: the receiver's new successors.
        successors: Vec<Peer>,
    },
    /// The sender is gone, and the receiver takes its place.
    Exit {
        /// The receiver's new predecessors, nearest first.
        predecessors: Vec<Peer>,
    },
    /// A peer does not answer the sender any more. A hint: the receiver asks it itself.
    Abrupt {
        /// The silent peer.
        peer: Peer,
    },
}

/// What the peer responsible for a requested file says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FilePlace {
    /// Its bytes; none if no peer has it.
    pub size: Option<u64>,
}

/// What only the ring answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RingResponse {
    /// To a ping.
    Pong {
        /// The peer that answers.
        peer: Peer,
        /// Peers before it, nearest first.
        predecessors: Vec<Peer>,
        /// Peers after it, nearest first.
        successors: Vec<Peer>,
    },
    /// To the question whether a block is here. Older peers only say who answers, as to any ping.
    Has {
        /// The peer that answers.
        peer: Peer,
        /// Whether it holds the block.
        has: bool,
    },
    /// To a join: you are in.
    Welcome {
        /// Peers before the joining one, nearest first: the first is who answers.
        predecessors: Vec<Peer>,
        /// Peers after it, nearest first.
        successors: Vec<Peer>,
    },
    /// To a lookup.
    Owner {
        /// The peer responsible, who answers, and its successors.
        peers: Vec<Peer>,
        /// Times the request was passed on.
        hops: u16,
        /// The peers that passed it on, as they say, if the origin asked for them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        trail: Vec<Peer>,
        /// The text is as short as can be: it goes by datagram.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        brief: bool,
    },
    /// To a store: the file is kept.
    Kept {
        /// The file's name.
        file: FileName,
    },
    /// To a request for a file.
    File {
        /// The file's name.
        file: FileName,
        /// Where the file can be fetched.
        place: FilePlace,
    },
    /// To a transfer, an update, a quit, an exit or an abrupt: done.
    Noted {
        /// The kind of request that is done.
        of: RingKind,
    },
    /// A routed request, or a transfer, was refused.
    Refused {
        /// The kind of request that was refused.
        of: RingKind,
        /// Why, for people.
        reason: String,
    },
}

impl Routed {
    /// The `type` on the wire.
    pub const fn kind(&self) -> RingKind {
        match self {
            Self::Join => RingKind::Join,
            Self::Lookup { .. } => RingKind::Lookup,
            Self::Store { .. } => RingKind::Store,
            Self::Request { .. } => RingKind::Request,
        }
    }
}

impl RingRequest {
    /// The `type` on the wire.
    pub const fn kind(&self) -> RingKind {
        match self {
            Self::Ping { .. } | Self::Has { .. } => RingKind::Ping,
            Self::Routed { what, .. } => what.kind(),
            Self::Transfer { .. } => RingKind::Transfer,
            Self::Update { .. } => RingKind::Update,
            Self::Quit { .. } => RingKind::Quit,
            Self::Exit { .. } => RingKind::Exit,
            Self::Abrupt { .. } => RingKind::Abrupt,
        }
    }
}

impl RingResponse {
    /// The `type` on the wire: that of the request it answers.
    pub const fn kind(&self) -> RingKind {
        match self {
            Self::Pong { .. } | Self::Has { .. } => RingKind::Ping,
            Self::Welcome { .. } => RingKind::Join,
            Self::Owner { .. } => RingKind::Lookup,
            Self::Kept { .. } => RingKind::Store,
            Self::File { .. } => RingKind::Request,
            Self::Noted { of } | Self::Refused { of, .. } => *of,
        }
    }
}
