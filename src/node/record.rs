//! The record of a node's life: how it began, and every event with the actions that it answered with.
//!
//! A record is text, one JSON object a line. The first line is the [`Beginning`], each further line a [`Moment`]. A node
//! depends on nothing else, so a new node that is fed the same events gives the same actions: a recorded bug can be
//! replayed as often as needed, and becomes a test.
//!
//! The record of a storm holds many peers: each line says of which one it is, and each life has a beginning.
//!
//! Nothing here reads or writes files; drivers do.

use serde::{Deserialize, Serialize};

use super::{Action, Event, Node};
use crate::config::Config;
use crate::id::Id;
use crate::overlay::{OverlayKind, RingOptions};
use crate::peer::Peer;
use crate::time::Time;

/// The version of the record's form. A record of another version is not read.
pub const VERSION: u32 = 3;

/// What the first line of a record of any version says.
#[derive(Deserialize, Debug)]
pub struct Label {
    /// The version of the record's form.
    pub kadring_record: u32,
}

/// How a recorded node began: all that it knows before the first event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Beginning {
    /// The version of the record's form: [`VERSION`].
    pub kadring_record: u32,
    /// The peer's slot, where the record holds many; none in the record of a live peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<usize>,
    /// Microseconds since 1970 at the node's time zero, by its machine's clock: what the records of several peers are laid
    /// side by side by. None in records of before it was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_micros: Option<u64>,
    /// The node's id and address.
    pub me: Peer,
    /// The overlay that the node routes by.
    pub overlay: OverlayKind,
    /// The ring's options, used if the overlay is the ring.
    pub ring: RingOptions,
    /// The node's configuration.
    pub config: Config,
    /// The 32-byte seed of the overlay's random source.
    pub overlay_seed: Id,
    /// The 32-byte seed of the node's random source.
    pub node_seed: Id,
}

/// An event, and what the node did about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// The peer's slot, where the record holds many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<usize>,
    /// The time of the event, by the node's clock.
    pub at: Time,
    /// The event.
    pub event: Event,
    /// The actions that the node answered with.
    pub actions: Vec<Action>,
}

/// [`Moment`] without owning it.
#[derive(Serialize)]
struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<usize>,
    at: Time,
    event: &'a Event,
    actions: &'a [Action],
}

impl Beginning {
    /// The beginning of the node `me`; `seeds` are those of the overlay's and the node's random source.
    pub const fn new(
        me: Peer,
        overlay: OverlayKind,
        ring: RingOptions,
        config: Config,
        seeds: ([u8; 32], [u8; 32]),
    ) -> Self {
        let (overlay_seed, node_seed) = (Id::from_bytes(seeds.0), Id::from_bytes(seeds.1));
        let (peer, unix_micros) = (None, None);
        Self { kadring_record: VERSION, peer, unix_micros, me, overlay, ring, config, overlay_seed, node_seed }
    }

    /// The same, with the date of the node's time zero, in microseconds since 1970.
    #[must_use]
    pub fn at(self, unix_micros: u64) -> Self {
        Self { unix_micros: Some(unix_micros), ..self }
    }

    /// The same, of the peer in `slot` of a record of many.
    #[must_use]
    pub fn of(self, slot: usize) -> Self {
        Self { peer: Some(slot), ..self }
    }

    /// A node as it was at the beginning.
    pub fn node(&self) -> Node {
        let overlay = self.overlay.build_with(self.me, *self.overlay_seed.as_bytes(), &self.config, &self.ring);
        Node::new(self.config.clone(), overlay, *self.node_seed.as_bytes())
    }
}

/// The first line of a record, with its line end.
///
/// # Errors
/// Something cannot be written as JSON: a path that is not UTF-8.
pub fn start_line(beginning: &Beginning) -> serde_json::Result<String> {
    line(beginning)
}

/// A further line of a record, with its line end. `peer` is the slot in a record of many peers.
///
/// # Errors
/// Something cannot be written as JSON: a path that is not UTF-8.
pub fn event_line(peer: Option<usize>, at: Time, event: &Event, actions: &[Action]) -> serde_json::Result<String> {
    line(&Said { peer, at, event, actions })
}

fn line(said: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(said).map(|text| text + "\n")
}
