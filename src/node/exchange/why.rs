//! Why a request was sent, whether a user waits for what comes of it, and what did.

use std::net::SocketAddr;

use super::uplink::OfferNumber;
use crate::node::purpose::Purpose;
use crate::node::refusal::Refusal;
use crate::node::ticket::{Offer, PartId, Proof, Reply, Ticket};
use crate::overlay::{Late, Tag, Target};
use crate::peer::Peer;
use crate::wire::Response;

/// Why a request was sent.
#[derive(Clone, Debug)]
pub(crate) enum SentFor {
    /// The overlay's own question, and what it is for.
    Overlay(Tag, Purpose),
    /// A request of a part's, whose ticket comes back with the answer.
    Part(Ticket),
    /// A block offered to a peer that should hold it.
    Offer { number: OfferNumber, offer: Offer },
    /// A peer is slow to take an offer: is it alive?
    Pulse,
}

impl SentFor {
    /// Whether a lookup or a transfer waits for what comes of it.
    pub(super) fn is_urgent(&self) -> bool {
        matches!(self.purpose(), Purpose::Lookup | Purpose::Transfer)
    }

    /// Whether a user waits for what comes of it.
    pub(super) fn is_users(&self) -> bool {
        match self {
            Self::Overlay(_, purpose) => *purpose == Purpose::Lookup,
            Self::Part(ticket) => matches!(ticket.owner, PartId::User | PartId::Checks),
            Self::Offer { .. } | Self::Pulse => false,
        }
    }

    /// What the request is for.
    pub(super) fn purpose(&self) -> Purpose {
        match self {
            Self::Overlay(_, purpose) => *purpose,
            Self::Part(ticket) | Self::Offer { offer: Offer { ticket, .. }, .. } => ticket.owner.purpose(),
            Self::Pulse => Purpose::Upkeep,
        }
    }
}

/// What came of a request, and whom it concerns.
pub(crate) enum RequestOutcome {
    /// A question of the overlay's has its answer, from this peer, after so many messages.
    Answer { tag: Tag, sent: u8, from: SocketAddr, by: Option<Peer>, response: Response },
    /// A question of the overlay's has none yet, with so many messages sent.
    Late { tag: Tag, sent: u8, late: Late },
    /// A question of the overlay's has none; it may have been refused, for this reason.
    NoAnswer { tag: Tag, sent: u8, to: Target, refused: Option<String> },
    /// Something of a part's.
    Part(Ticket, Reply),
    /// What a peer says that was offered a block.
    Claimed { offer: Offer, result: Result<Proof, Refusal> },
    /// A peer answers a question that has failed.
    Revived(SocketAddr),
    /// A peer that was offered something is alive.
    Pulse,
    /// Such a peer has not begun to take it, and no peer takes anything meanwhile.
    Hesitates(SocketAddr),
    /// Such a peer lives, and does not begin to take it.
    Stalls(SocketAddr),
    /// Such a peer is silent for so long that it is to be doubted.
    Doubtful(SocketAddr),
    /// Such a peer does not answer.
    NoPulse(SocketAddr),
}
