//! Why a request was sent, and whether anybody waits for what comes of it.

use super::Offer;
use super::pending::Ask;
use super::uplink::OfferNumber;
use crate::node::part::{Owner, Ticket};
use crate::node::purpose::Purpose;
use crate::overlay::Tag;
use crate::wire::Request;

/// Why a request was sent.
#[derive(Clone, Debug)]
pub(super) enum SentFor {
    /// The overlay's own question, and what it is for.
    Overlay(Tag, Purpose),
    /// A part's.
    Part(Ticket),
    /// A block offered to a peer that should hold it.
    Offer { place: OfferNumber, offer: Offer },
    /// A peer is slow to take an offer: is it alive?
    Pulse,
}

impl SentFor {
    /// A request for this reason, which only the asked address may answer.
    pub(super) fn ask(self, request: Request) -> Ask {
        let urgent = matches!(self.purpose(), Purpose::Lookup | Purpose::Transfer);
        Ask { urgent, ..Ask::new(request, self) }
    }

    /// Whether a user waits for what comes of it.
    pub(super) fn is_users(&self) -> bool {
        match self {
            Self::Overlay(_, purpose) => *purpose == Purpose::Lookup,
            Self::Part(ticket) => matches!(ticket.owner, Owner::User | Owner::Checks),
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
