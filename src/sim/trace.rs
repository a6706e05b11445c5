//! The trace of a run: all events and all actions, in order.
//!
//! Two runs are the same if their traces are, to the byte. To compare runs, the SHA-256 of the trace is enough.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::id::Id;
use crate::node::{Action, Event};
use crate::time::Time;

/// Where a run's trace goes, and who is told of the time that passes in the run.
pub struct Trace {
    /// A line is many small pieces, so they are collected before they are hashed.
    lines: Option<BufWriter<TraceSink>>,
    watch: Option<TraceWatch>,
}

struct TraceWatch {
    tell: Box<dyn FnMut(Time)>,
    /// When it is told next.
    due: Time,
}

struct TraceSink {
    digest: Sha256,
    file: Option<File>,
    failed: Option<io::Error>,
}

/// A line of the trace.
#[derive(Serialize)]
struct TraceLine<'a> {
    at: Time,
    peer: usize,
    #[serde(flatten)]
    what: Traced<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Traced<'a> {
    Event(&'a Event),
    Action(&'a Action),
}

impl Trace {
    /// No trace: tracing costs nothing.
    pub const fn off() -> Self {
        Self { lines: None, watch: None }
    }

    /// Only the trace's SHA-256.
    pub fn digest_only() -> Self {
        Self::into_sink(None)
    }

    /// JSON lines into `file`, and their SHA-256.
    pub fn to_file(file: File) -> Self {
        Self::into_sink(Some(file))
    }

    fn into_sink(file: Option<File>) -> Self {
        Self { lines: Some(BufWriter::new(TraceSink { digest: Sha256::new(), file, failed: None })), watch: None }
    }

    /// Tells `tell` too how far the run has come, about once in a second of its time.
    pub fn watched(self, tell: impl FnMut(Time) + 'static) -> Self {
        Self { watch: Some(TraceWatch { tell: Box::new(tell), due: Time::ZERO }), ..self }
    }

    /// The SHA-256 of all lines so far; none if the trace is off.
    pub fn digest(&self) -> Option<Id> {
        let lines = self.lines.as_ref()?;
        let digest = lines.get_ref().digest.clone().chain_update(lines.buffer());
        Some(Id::from_bytes(digest.finalize().into()))
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The first error that writing to the file met, if any.
    pub fn finish(&mut self) -> io::Result<()> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        lines.flush()?;
        lines.get_mut().failed.take().map_or(Ok(()), Err)
    }

    pub(super) fn event(&mut self, at: Time, peer: usize, event: &Event) {
        self.line(at, peer, Traced::Event(event));
    }

    pub(super) fn action(&mut self, at: Time, peer: usize, action: &Action) {
        self.line(at, peer, Traced::Action(action));
    }

    fn line(&mut self, at: Time, peer: usize, what: Traced<'_>) {
        if let Some(watch) = self.watch.as_mut().filter(|watch| watch.due <= at) {
            watch.due = at + Duration::from_secs(1);
            (watch.tell)(at);
        }
        if let Some(lines) = &mut self.lines {
            let line = TraceLine { at, peer, what };
            let written = serde_json::to_writer(&mut *lines, &line).map_err(io::Error::from);
            if let Err(error) = written.and_then(|()| lines.write_all(b"\n")) {
                lines.get_mut().failed.get_or_insert(error);
            }
        }
    }
}

impl Write for TraceSink {
    /// Never fails, so that no piece is hashed twice: [`Trace::finish`] tells of the first error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.digest.update(bytes);
        if let (Some(file), None) = (&mut self.file, &self.failed) {
            self.failed = file.write_all(bytes).err();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn who_watches_a_run_is_told_once_in_a_second_how_far_it_has_come() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&told);
        let mut trace = Trace::off().watched(move |at| heard.borrow_mut().push(at));
        let times = [0, 1, 999_999, 1_000_000, 1_000_001, 5_000_000].map(Time::from_micros);
        times.iter().for_each(|&at| trace.event(at, 0, &Event::Tick));
        assert_eq!(*told.borrow(), [times[0], times[3], times[5]]);
    }
}
