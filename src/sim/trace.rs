//! The trace of a run: all events and all actions, in order.
//!
//! Two runs are the same if their traces are, to the byte. To compare runs, the SHA-256 of the trace is enough.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::id::Id;
use crate::node::{Action, Event};
use crate::time::Time;

/// The trace of a run.
pub struct Trace(Option<Box<Sink>>);

struct Sink {
    digest: Sha256,
    file: Option<BufWriter<File>>,
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
        Self(None)
    }

    /// Only the trace's SHA-256.
    pub fn digest_only() -> Self {
        Self(Some(Box::new(Sink { digest: Sha256::new(), file: None, failed: None })))
    }

    /// JSON lines into `file`, and their SHA-256.
    pub fn to_file(file: File) -> Self {
        Self(Some(Box::new(Sink { digest: Sha256::new(), file: Some(BufWriter::new(file)), failed: None })))
    }

    /// The SHA-256 of all lines so far; none if the trace is off.
    pub fn digest(&self) -> Option<Id> {
        self.0.as_ref().map(|sink| Id::from_bytes(sink.digest.clone().finalize().into()))
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The first error that writing to the file met, if any.
    pub fn finish(&mut self) -> io::Result<()> {
        let Some(sink) = &mut self.0 else { return Ok(()) };
        sink.failed.take().map_or(Ok(()), Err)?;
        sink.file.as_mut().map_or(Ok(()), Write::flush)
    }

    pub(super) fn event(&mut self, at: Time, peer: usize, event: &Event) {
        self.line(at, peer, Traced::Event(event));
    }

    pub(super) fn action(&mut self, at: Time, peer: usize, action: &Action) {
        self.line(at, peer, Traced::Action(action));
    }

    fn line(&mut self, at: Time, peer: usize, what: Traced<'_>) {
        if let Some(sink) = &mut self.0 {
            let line = TraceLine { at, peer, what };
            let written = serde_json::to_writer(&mut **sink, &line).map_err(io::Error::from);
            if let Err(error) = written.and_then(|()| sink.write_all(b"\n")) {
                sink.failed.get_or_insert(error);
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.digest.update(bytes);
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
