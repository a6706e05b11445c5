//! Where the answers of a console go: those to its lines, and those of commands that run beside them.

use std::sync::Arc;

use super::output::Output;
use super::reply::LineReply;
use super::{FirstFailure, Screen};
use crate::locks::{self, Ranked};
use crate::node::FailureKind;

/// Writes answers, or hands them to a thread that does.
pub trait AnswerSink: Send + Sync {
    /// Takes an answer; `job` is the number of the command if it ran beside others. Whether it can be read.
    fn reply(&self, job: Option<u64>, reply: &LineReply) -> bool;

    /// Takes a line that answers no command.
    fn line(&self, line: &str);

    /// Whether a line that is several commands to the node gets the answer to each as it comes.
    fn one_by_one(&self) -> bool {
        false
    }
}

/// The way of answers, and what the first failure among them was. Clones lead to the same place.
#[derive(Clone)]
pub struct Answers {
    sink: Arc<dyn AnswerSink>,
    verdict: FirstFailure,
}

impl Answers {
    /// Answers to whatever takes them.
    pub fn new(sink: Arc<dyn AnswerSink>) -> Self {
        Self { sink, verdict: FirstFailure::default() }
    }

    /// Answers to an output. Where there is a prompt on the `screen`, those of commands that run beside it go there.
    pub fn to(output: Output, screen: Option<Arc<Screen>>) -> Self {
        Self::new(Arc::new(SharedOutput { output: Ranked::new(&locks::OUTPUT, output), screen }))
    }

    /// The failure of the first command that failed. An answer that could not be written is a failure too.
    pub fn verdict(&self) -> FirstFailure {
        self.verdict.clone()
    }

    pub(super) fn one_by_one(&self) -> bool {
        self.sink.one_by_one()
    }

    pub(super) fn line(&self, line: &str) {
        self.sink.line(line);
    }

    /// Writes an answer.
    pub(super) fn answer(&self, job: Option<u64>, reply: &LineReply) {
        let untold = if self.sink.reply(job, reply) { None } else { Some(FailureKind::Other) };
        if let Some(failure) = reply.verdict().or(untold) {
            self.verdict.note(failure);
        }
    }
}

/// An output that the console and its other commands share.
struct SharedOutput {
    output: Ranked<Output>,
    screen: Option<Arc<Screen>>,
}

impl AnswerSink for SharedOutput {
    fn reply(&self, job: Option<u64>, reply: &LineReply) -> bool {
        if let (Some(screen), Some(_)) = (&self.screen, job) {
            let text = self.output.lock().render(job, reply);
            return screen.print(&format!("{text}\n")).is_ok();
        }
        let mut output = self.output.lock();
        output.reply_of(job, reply);
        !output.is_closed()
    }

    fn line(&self, line: &str) {
        self.output.lock().line(line);
    }
}
