//! The core: an event in, actions out.

pub mod action;
pub mod command;
pub mod event;
pub mod job;
pub mod notice;

pub use action::{Action, Outbox};
pub use command::{Command, CommandId, Source};
pub use event::Event;
pub use notice::{Answer, Failure, FailureKind, Notice, Progress};

use crate::config::Config;
use crate::overlay::Overlay;
use crate::time::Time;

/// A peer's core: everything that decides, nothing that waits.
pub struct Node {
    _config: Config,
    _overlay: Box<dyn Overlay>,
}

impl Node {
    /// A node that routes by `overlay`. All its randomness comes from `seed`.
    pub fn new(config: Config, overlay: Box<dyn Overlay>, _seed: [u8; 32]) -> Self {
        Self { _config: config, _overlay: overlay }
    }

    /// Takes what happened at `now`, and puts what shall be done about it at the end of `out`.
    pub fn handle(&mut self, _now: Time, _event: Event, _out: &mut Outbox) {}

    /// When the node wants an [`Event::Tick`] next.
    pub fn next_wake(&self) -> Option<Time> {
        None
    }
}
