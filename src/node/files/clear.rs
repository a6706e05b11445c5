//! `clear`: drop the local copies of a file's blocks, as far as they and the lists that name them are here.

use std::collections::VecDeque;

use super::task::{Task, Tasks};
use super::{Flow, GOES_ON, OVER};
use crate::file::tree::list_keys;
use crate::id::Key;
use crate::node::command::{Command, CommandId, Source};
use crate::node::desk::Desk;
use crate::node::job::{Holder, Job, Outcome};
use crate::node::jobs::Urgency;
use crate::node::notice::{Answer, FailureKind};
use crate::node::part::{About, PartId, Reply, Ticket};

/// The `clear`s under way.
pub(in crate::node) type Clears = Tasks<Clear>;

/// A `clear` under way: one step at a time.
#[derive(Default)]
pub(in crate::node) struct Clear {
    command: CommandId,
    queue: VecDeque<ClearStep>,
    cleared: u64,
    cancelled: bool,
    current: Option<ClearStep>,
}

#[derive(Clone, Debug)]
enum ClearStep {
    /// Read a local manifest and delete what it lists.
    List(Source),
    /// Read a manifest block from the own store and delete what it lists, then itself.
    Tree(Key),
    Delete(Key),
}

impl Task for Clear {
    fn begin(desk: &mut Desk, id: CommandId, command: Command) -> Option<Self> {
        let Command::Clear { sources } = command else { return None };
        let queue = sources.into_iter().map(ClearStep::List).collect();
        let mut clear = Self { command: id, queue, ..Self::default() };
        clear.go_on(desk).is_continue().then_some(clear)
    }

    fn command(&self) -> CommandId {
        self.command
    }

    fn on(&mut self, desk: &mut Desk, _about: About, reply: Reply) -> Flow {
        let Reply::Done { outcome, .. } = reply else { return GOES_ON };
        self.on_step(desk, outcome)
    }

    /// What the user cancels ends after the step that is under way.
    fn end(&mut self, _desk: &mut Desk, kind: FailureKind, _reason: &str) -> Flow {
        self.cancelled |= kind == FailureKind::Cancelled;
        GOES_ON
    }
}

impl Clear {
    /// Orders the next step, or answers when none is left.
    fn go_on(&mut self, desk: &mut Desk) -> Flow {
        if self.cancelled {
            let reason = format!("cancelled; blocks cleared before that: {}", self.cleared);
            desk.fail(self.command, FailureKind::Cancelled, reason);
            return OVER;
        }
        while let Some(step) = self.queue.pop_front() {
            let ticket = Ticket::of(PartId::Clears, self.command);
            let work = match &step {
                ClearStep::List(Source::Manifest(path)) => Job::ReadManifest { path: path.clone() },
                ClearStep::List(Source::Key(key)) => {
                    self.queue.push_front(ClearStep::Tree(*key));
                    continue;
                }
                ClearStep::Tree(key) | ClearStep::Delete(key) if !desk.holds(key) => continue,
                ClearStep::Tree(key) => Job::Unpack { key: *key, from: Holder::Own },
                ClearStep::Delete(key) => {
                    desk.delete(Ticket { about: About::Block(*key), ..ticket }, Urgency::Own, *key);
                    self.current = Some(step);
                    return GOES_ON;
                }
            };
            self.current = Some(step);
            desk.order(ticket, work, Urgency::Own);
            return GOES_ON;
        }
        desk.answer(self.command, Answer::Cleared { blocks: self.cleared });
        OVER
    }

    /// A step is done.
    fn on_step(&mut self, desk: &mut Desk, outcome: Outcome) -> Flow {
        match (self.current.take(), outcome) {
            (_, Outcome::Manifest { entries, sha256, .. }) => {
                // The seed's text does not show what the lists above its blocks are.
                let lists = sha256.map(|sha256| list_keys(entries.iter().copied(), sha256)).unwrap_or_default();
                self.queue.extend(entries.into_iter().map(|entry| entry.key).chain(lists).map(ClearStep::Delete));
            }
            (Some(ClearStep::Tree(key)), Outcome::Unpacked { manifest }) => {
                let below = |key| if manifest.level == 0 { ClearStep::Delete(key) } else { ClearStep::Tree(key) };
                self.queue.push_front(ClearStep::Delete(key));
                for entry in manifest.entries.iter().rev() {
                    self.queue.push_front(below(entry.key));
                }
            }
            (Some(ClearStep::Tree(key)), Outcome::NotManifest { .. }) => self.queue.push_front(ClearStep::Delete(key)),
            (Some(ClearStep::Delete(_)), Outcome::Done) => self.cleared += 1,
            (Some(ClearStep::List(_) | ClearStep::Delete(_)), Outcome::Failed(error)) => {
                desk.fail(self.command, FailureKind::Other, error.reason);
                return OVER;
            }
            // A manifest that is damaged or not here lists nothing; what else was asked for is still cleared.
            (Some(ClearStep::Tree(key)), Outcome::Failed(_)) => self.queue.push_front(ClearStep::Delete(key)),
            (step, outcome) => debug_assert!(false, "{step:?} ended with {outcome:?}"),
        }
        self.go_on(desk)
    }
}
