//! Where what is stepped through comes from.

use std::io::BufRead;

use super::tape::Tape;
use crate::sim::moments::history::Collection;
use crate::sim::moments::reader::RecordError;

/// Why a step cannot be done, for people.
pub(super) type StepRefusal = String;

/// Where what is stepped through comes from: what the console needs to know of it.
pub(super) trait StepSource {
    /// All that happens.
    fn tape(&self) -> &Tape;

    /// What can be said of threads.
    fn threads(&self) -> &'static str;

    /// What waits to be delivered when `done` moments have happened, the first that is due first.
    ///
    /// # Errors
    /// What comes next cannot be chosen here.
    fn waiting(&mut self, done: usize) -> Result<Vec<String>, StepRefusal>;

    /// Has the `nth` of these, from 1, delivered next; the tape is another one from there on. What was chosen for later
    /// is forgotten.
    ///
    /// # Errors
    /// It cannot be chosen.
    fn choose(&mut self, done: usize, nth: usize) -> Result<(), StepRefusal>;

    /// The command that leads to the same again, if something was chosen.
    fn chosen(&self) -> Option<String>;
}

/// What peers recorded.
pub(super) struct Recording(Tape);

/// Said where a record is to go another way.
const HAPPENED: &str = "what was recorded has happened: only a storm can go another way (kadring sim --storm --step)";

impl Recording {
    /// Reads a record: that of a peer called `name`, or of many. With `only`, just this one of many.
    ///
    /// # Errors
    /// It is no record, one of another version, or has no such peer.
    pub(super) fn read(name: &str, record: impl BufRead, only: Option<usize>) -> Result<Self, RecordError> {
        let mut collection = Collection::default();
        collection.only = only;
        collection.add(name, record)?;
        let end = match &collection.complaints[..] {
            [] => "the record ends here".to_owned(),
            complaints => complaints.join("\n"),
        };
        Ok(Self(Tape::new(collection.in_order(), Vec::new(), end)))
    }
}

impl StepSource for Recording {
    fn tape(&self) -> &Tape {
        &self.0
    }

    fn threads(&self) -> &'static str {
        "a record says what happened to the peer's node and what it did about it, not which thread took it: ask a live peer with \
         `threads`"
    }

    fn waiting(&mut self, _: usize) -> Result<Vec<String>, StepRefusal> {
        Err(HAPPENED.to_owned())
    }

    fn choose(&mut self, _: usize, _: usize) -> Result<(), StepRefusal> {
        Err(HAPPENED.to_owned())
    }

    fn chosen(&self) -> Option<String> {
        None
    }
}
