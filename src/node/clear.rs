//! `clear`: drop the local copies of a file's blocks, as far as they and the lists that name them are here.

use std::collections::VecDeque;

use super::command::{CommandId, Source};
use super::context::{Context, JobPurpose};
use super::job::{Holder, Job, Outcome};
use super::jobs::Urgency;
use super::notice::{Answer, FailureKind};
use super::put::Flow;
use crate::id::Key;

/// A `clear` under way: one step at a time.
pub(super) struct Clear {
    command: CommandId,
    queue: VecDeque<Step>,
    cleared: u64,
    cancelled: bool,
    current: Option<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Read a local manifest and delete what it lists.
    List(Source),
    /// Read a manifest block from the own store and delete what it lists, then itself.
    Tree(Key),
    Delete(Key),
}

impl Clear {
    pub(super) fn new(command: CommandId, sources: Vec<Source>) -> Self {
        Self {
            command,
            queue: sources.into_iter().map(Step::List).collect(),
            cleared: 0,
            cancelled: false,
            current: None,
        }
    }

    /// Ends it after the step that is under way.
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Orders the next step, or answers when none is left.
    pub(super) fn go_on(&mut self, cx: &mut Context) -> Flow {
        if self.cancelled {
            let reason = format!("cancelled; blocks cleared before that: {}", self.cleared);
            cx.fail(self.command, FailureKind::Cancelled, reason);
            return Flow::Over;
        }
        while let Some(step) = self.queue.pop_front() {
            let work = match &step {
                Step::List(Source::Manifest(path)) => Job::ReadManifest { path: path.clone() },
                Step::List(Source::Key(key)) => {
                    self.queue.push_front(Step::Tree(*key));
                    continue;
                }
                Step::Tree(key) | Step::Delete(key) if !cx.holdings.contains(key) => continue,
                Step::Tree(key) => Job::Unpack { key: *key, from: Holder::Own },
                Step::Delete(key) => Job::Delete { key: *key },
            };
            self.current = Some(step);
            cx.order(work, JobPurpose::Clear { command: self.command }, Urgency::Own);
            return Flow::Goes;
        }
        cx.answer(self.command, Answer::Cleared { blocks: self.cleared });
        Flow::Over
    }

    /// A step is done. Returns the block that is gone with it.
    pub(super) fn on_step(&mut self, cx: &mut Context, outcome: Outcome) -> (Flow, Option<Key>) {
        let mut gone = None;
        match (self.current.take(), outcome) {
            (_, Outcome::Manifest { entries, .. }) => {
                self.queue.extend(entries.into_iter().map(|entry| Step::Delete(entry.key)));
            }
            (Some(Step::Tree(key)), Outcome::Unpacked { manifest }) => {
                let below = |key| if manifest.level == 0 { Step::Delete(key) } else { Step::Tree(key) };
                self.queue.push_front(Step::Delete(key));
                for entry in manifest.entries.iter().rev() {
                    self.queue.push_front(below(entry.key));
                }
            }
            (Some(Step::Tree(key)), Outcome::NotManifest { .. }) => self.queue.push_front(Step::Delete(key)),
            (Some(Step::Delete(key)), Outcome::Done) => {
                self.cleared += 1;
                gone = Some(key);
            }
            (Some(Step::List(_) | Step::Delete(_)), Outcome::Failed(error)) => {
                cx.fail(self.command, FailureKind::Other, error.reason);
                return (Flow::Over, None);
            }
            // A manifest that is damaged or not here lists nothing; what else was asked for is still cleared.
            (Some(Step::Tree(key)), Outcome::Failed(_)) => self.queue.push_front(Step::Delete(key)),
            (step, outcome) => debug_assert!(false, "{step:?} ended with {outcome:?}"),
        }
        (self.go_on(cx), gone)
    }
}
