//! Writing down what happens to a live node, so that the same core can be fed the same events again.

use std::path::Path;

use super::Options;
use crate::node::{Action, Event};
use crate::peer::Peer;
use crate::time::Time;

/// Writes a record.
pub(super) struct Recorder;

impl Recorder {
    pub(super) fn start(
        _path: &Path,
        _me: Peer,
        _options: &Options,
        _overlay_seed: [u8; 32],
        _node_seed: [u8; 32],
    ) -> std::io::Result<Self> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    pub(super) fn event(&self, _now: Time, _event: Event, _actions: &[Action]) {}
}
