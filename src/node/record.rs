//! The record of a life: how a node began, and everything that happened to it with what it did about it.
//!
//! A record is text, one JSON object a line. The first line is the [`Beginning`], each further line a [`Moment`]. A node
//! decides by nothing else than what stands there, so a node begun anew and fed the same events does the same again:
//! a bug that was recorded once can be looked at as often as one likes, and becomes a test.
//!
//! Nothing here reads or writes files; drivers do.

use serde::{Deserialize, Serialize};

use super::{Action, Event, Node};
use crate::config::Config;
use crate::id::Id;
use crate::overlay::{OverlayKind, RingOptions};
use crate::peer::Peer;
use crate::time::Time;

/// The version of this form. A record of another version is not read.
pub const VERSION: u32 = 3;

/// What the first line of a record of any version says.
#[derive(Deserialize, Debug)]
pub struct Label {
    /// Its version.
    pub kadring_record: u32,
}

/// How a recorded node began: all that it knows before the first event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Beginning {
    /// [`VERSION`].
    pub kadring_record: u32,
    /// The node's id and address.
    pub me: Peer,
    /// What it routes by.
    pub overlay: OverlayKind,
    /// How the ring is to be, if it routes by that.
    pub ring: RingOptions,
    /// How it is configured.
    pub config: Config,
    /// 32 bytes that all chance of the overlay comes from.
    pub overlay_seed: Id,
    /// 32 bytes that all chance of the node comes from.
    pub node_seed: Id,
}

/// An event, and what the node did about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// When, by the node's clock.
    pub at: Time,
    /// What happened.
    pub event: Event,
    /// What the node wanted done.
    pub actions: Vec<Action>,
}

/// [`Moment`] without owning it.
#[derive(Serialize)]
struct Said<'a> {
    at: Time,
    event: &'a Event,
    actions: &'a [Action],
}

impl Beginning {
    /// The beginning of the node `me`, whose chance comes from the `seeds` of its overlay and its own.
    pub const fn new(
        me: Peer,
        overlay: OverlayKind,
        ring: RingOptions,
        config: Config,
        seeds: ([u8; 32], [u8; 32]),
    ) -> Self {
        let (overlay_seed, node_seed) = (Id::from_bytes(seeds.0), Id::from_bytes(seeds.1));
        Self { kadring_record: VERSION, me, overlay, ring, config, overlay_seed, node_seed }
    }

    /// The node as it was then.
    pub fn node(&self) -> Node {
        let overlay = self.overlay.build_with(self.me, *self.overlay_seed.as_bytes(), self.config.guest, &self.ring);
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

/// A further line of a record, with its line end.
///
/// # Errors
/// Something cannot be written as JSON: a path that is not UTF-8.
pub fn event_line(at: Time, event: &Event, actions: &[Action]) -> serde_json::Result<String> {
    line(&Said { at, event, actions })
}

fn line(said: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(said).map(|text| text + "\n")
}
