//! The record of a node's life: how it began, and every event with the actions that it answered with.
//!
//! A record is text, one JSON object a line. The first line is the [`Beginning`], each further line a [`Moment`]. A
//! node depends on nothing else, so a new node that is fed the same events gives the same actions: a recorded bug can
//! be replayed as often as needed, and becomes a test.
//!
//! The record of a storm holds many peers: each line says of which one it is, and each life has a beginning. A live
//! peer says of each moment how it came to the node's thread, too: its [`Timing`]. Where its recorder could not follow,
//! a line says how many moments are [`LostMoments`]; a replay ends there.
//!
//! Nothing here reads or writes files; drivers do.

pub(crate) mod words;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::id::Id;
use crate::node::{Action, Event, Node};
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
    /// Microseconds since 1970 at the node's time zero, by its machine's clock: what the records of several peers are
    /// laid side by side by. None in records of before it was written down.
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
    /// How it came to the node's thread; none where there are no threads, and in records of before it was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
}

/// How a moment came to the node's thread, and what that took: for people. A replay needs none of it. All times are by
/// the node's clock.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// The queue that the event waited in; none for what the node's own turn brought about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<Queued>,
    /// The thread that took it.
    pub thread: Cow<'static, str>,
    /// Microseconds from the time of the event to the end of the turn, in which other events may have been handled too.
    pub took: u64,
    /// The work on the job whose outcome this is: which thread did it, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// Locks that were waited for longer than a millisecond, by who put the event into its queue or by who took it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<LockWait>,
}

/// An event's way through a queue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Queued {
    /// The name of the queue.
    pub queue: Cow<'static, str>,
    /// The thread that put the event there.
    pub by: Cow<'static, str>,
    /// When; of datagrams: when they came.
    pub put: Time,
}

/// The work of a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Work {
    /// The thread that did it.
    pub worker: Cow<'static, str>,
    /// When it began.
    pub from: Time,
    /// When it ended.
    pub until: Time,
}

/// A lock that was waited for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LockWait {
    /// The thread that waited.
    pub thread: Cow<'static, str>,
    /// The name of the lock.
    pub lock: Cow<'static, str>,
    /// Microseconds that it waited.
    pub took: u64,
    /// The threads that held a lock of this name after the first millisecond.
    pub held_by: Vec<String>,
}

/// Moments that the recorder could not follow are missing here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LostMoments {
    /// Moments that are missing.
    pub lost: u64,
}

/// [`Moment`] without owning it.
#[derive(Serialize)]
struct BorrowedMoment<'a> {
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
    line(&BorrowedMoment { peer, at, event, actions })
}

/// A further line of a live peer's record, with its line end.
///
/// # Errors
/// Something cannot be written as JSON: a path that is not UTF-8.
pub fn moment_line(moment: &Moment) -> serde_json::Result<String> {
    line(moment)
}

/// The line that stands for moments that are missing, with its line end.
///
/// # Errors
/// None: it is a number.
pub fn lost_line(lost: u64) -> serde_json::Result<String> {
    line(&LostMoments { lost })
}

fn line(said: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(said).map(|text| text + "\n")
}
