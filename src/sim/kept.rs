//! What is kept of a storm's run: the record of all its peers, and what was noted between their moments.

use std::cell::RefCell;
use std::rc::Rc;

use super::storm::{StormPlan, StormReport};
use super::trace::Trace;
use super::world::{Violation, World};
use crate::time::Time;

/// What a recorder takes.
#[derive(Clone, Copy, Debug)]
pub enum RecordedItem<'a> {
    /// The beginning of a peer's life: a line of a [record](crate::record), with its line end.
    Beginning(&'a str),
    /// A moment: a line of a record, with its line end.
    Moment(&'a str),
    /// A broken driver did wrong: when, to which peer, and what.
    Wrong(Time, usize, &'a str),
    /// A fault struck, or a peer ended.
    Noted(&'a str),
}

impl RecordedItem<'_> {
    /// What it adds to a record.
    pub fn line(&self) -> Option<&str> {
        match self {
            Self::Beginning(line) | Self::Moment(line) => Some(line),
            Self::Wrong(..) | Self::Noted(_) => None,
        }
    }
}

/// Takes what a world records.
pub type RecordSink = Box<dyn FnMut(RecordedItem<'_>)>;

/// What a broken driver did wrong.
#[derive(Clone, Debug)]
pub(super) struct DriverFault {
    pub(super) at: Time,
    pub(super) slot: usize,
    pub(super) what: String,
    /// How many moments had happened.
    pub(super) done: usize,
}

/// A whole run.
#[derive(Default)]
pub(super) struct KeptRun {
    /// The record of all peers.
    pub(super) record: String,
    /// How many moments are in it.
    moments: usize,
    pub(super) wrongs: Vec<DriverFault>,
    /// What else was noted, and how many moments had happened.
    pub(super) notes: Vec<(usize, String)>,
}

impl StormPlan {
    /// Runs the storm, and keeps everything.
    pub(super) fn keep(&self) -> (KeptRun, Result<StormReport, Violation>) {
        let kept = Rc::new(RefCell::new(KeptRun::default()));
        let keep = Rc::clone(&kept);
        let recorder = move |recorded: RecordedItem<'_>| keep.borrow_mut().take(recorded);
        let ended = self.run_recorded(Trace::digest_only(), Some(Box::new(recorder)));
        (kept.take(), ended)
    }
}

impl KeptRun {
    fn take(&mut self, recorded: RecordedItem<'_>) {
        recorded.line().iter().for_each(|line| self.record.push_str(line));
        match recorded {
            RecordedItem::Beginning(_) => {}
            RecordedItem::Moment(_) => self.moments += 1,
            RecordedItem::Wrong(at, slot, what) => {
                self.wrongs.push(DriverFault { at, slot, what: what.to_owned(), done: self.moments });
            }
            RecordedItem::Noted(what) => self.notes.push((self.moments, what.to_owned())),
        }
    }
}

impl World {
    /// Tells those who record of something that is no moment of a peer.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(recorder) = &mut self.recorder {
            recorder(RecordedItem::Noted(&what()));
        }
    }
}
