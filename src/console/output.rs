//! Writes a console's answers.

use std::io::{self, Write};

use super::reply::LineReply;

/// The format of answers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes answers. Once their reader is gone it writes nothing more, and nothing else changes.
pub struct Output {
    format: Format,
    sink: Box<dyn Write + Send>,
    /// Why nothing more can be written.
    closed: Option<io::ErrorKind>,
    /// Whether that is told where it is only that the reader has gone.
    tells: bool,
}

impl Output {
    /// Answers in `format` to `sink`.
    pub fn new(format: Format, sink: impl Write + Send + 'static) -> Self {
        Self { format, sink: Box::new(sink), closed: None, tells: true }
    }

    /// The same for a program that has nothing else to do: it says nothing where its reader has gone.
    pub fn of_client(format: Format, sink: impl Write + Send + 'static) -> Self {
        Self { tells: false, ..Self::new(format, sink) }
    }

    /// Writes an answer and its line end, and flushes.
    pub fn reply(&mut self, reply: &LineReply) {
        self.reply_of(None, reply);
    }

    /// Writes an answer; that of a command which ran beside others begins with its number.
    pub fn reply_of(&mut self, job: Option<u64>, reply: &LineReply) {
        self.line(&self.render(job, reply));
    }

    /// The answer as it is written.
    pub fn render(&self, job: Option<u64>, reply: &LineReply) -> String {
        match (self.format, job) {
            (Format::Text, None) => reply.to_text(),
            (Format::Json, None) => reply.to_json(),
            (Format::Text, Some(job)) => format!("[{job}] {}", reply.to_text()),
            (Format::Json, Some(job)) => format!("{{\"job\":{job},{}", reply.to_json().trim_start_matches('{')),
        }
    }

    /// Whether something could not be written.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether that is since its reader has gone.
    pub fn is_unread(&self) -> bool {
        self.closed == Some(io::ErrorKind::BrokenPipe)
    }

    /// Writes a line and flushes. `line` may itself be several lines; an empty one is not written.
    pub fn line(&mut self, line: &str) {
        if self.is_closed() || line.is_empty() {
            return;
        }
        let mut whole = String::with_capacity(line.len() + 1);
        whole.push_str(line);
        whole.push('\n');
        if let Err(error) = self.sink.write_all(whole.as_bytes()).and_then(|()| self.sink.flush()) {
            self.closed = Some(error.kind());
            if self.tells || !self.is_unread() {
                log::warn!("answers are no longer written: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::FailureKind;

    /// Takes one write, then is closed.
    struct Closing(u8);

    impl Write for Closing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(self.0 < 2, "it was written to after it had closed");
            self.0 += 1;
            if self.0 == 1 { Ok(bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_output_is_left_alone() {
        let mut output = Output::new(Format::Json, Closing(0));
        for _ in 0..3 {
            output.reply(&LineReply::failed(FailureKind::Other, "x"));
        }
        assert!(output.is_unread());
    }
}
