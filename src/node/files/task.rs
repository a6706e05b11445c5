//! What a user's commands have under way in the parts of this room: several at a time, each under a number.

use std::collections::BTreeMap;

use super::Flow;
use crate::node::command::{Command, CommandId, is_meant};
use crate::node::desk::Desk;
use crate::node::notice::FailureKind;
use crate::node::part::Part;
use crate::node::ticket::{About, News, Reply, Ticket};
use crate::time::Time;

/// What one command has under way. It is over when it says so, and has answered its command by then.
pub(in crate::node) trait Task: Sized + Send {
    /// Begins what a command asks for; none if that is over at once, and answered.
    fn begin(desk: &mut Desk, id: CommandId, command: Command) -> Option<Self>;

    /// The command.
    fn command(&self) -> CommandId;

    /// The number in its tickets.
    fn number(&self) -> u64 {
        self.command()
    }

    /// Something came of what it asked for.
    fn on(&mut self, desk: &mut Desk, about: About, reply: Reply) -> Flow;

    /// Something happened that several parts have to know.
    fn on_news(&mut self, _desk: &mut Desk, _news: News<'_>) -> Flow {
        super::GOES_ON
    }

    /// Does what is due.
    fn on_tick(&mut self, _desk: &mut Desk) -> Flow {
        super::GOES_ON
    }

    /// When it wants to be ticked next.
    fn next_wake(&self, _desk: &Desk) -> Option<Time> {
        None
    }

    /// Whether it does anything. What only waits does not.
    fn is_busy(&self) -> bool {
        true
    }

    /// Its command is to end with this failure: at once, or after the step that is under way.
    fn end(&mut self, desk: &mut Desk, kind: FailureKind, reason: &str) -> Flow;
}

/// The part of a node that does such tasks.
pub(in crate::node) struct Tasks<T>(BTreeMap<u64, T>);

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Task> Part for Tasks<T> {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        if self.0.get_mut(&ticket.number).is_some_and(|task| task.on(desk, ticket.about, reply).is_break()) {
            self.0.remove(&ticket.number);
        }
    }

    fn on_command(&mut self, desk: &mut Desk, id: CommandId, command: Command) {
        self.0.extend(T::begin(desk, id, command).map(|task| (task.number(), task)));
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        self.0.retain(|_, task| task.on_news(desk, news).is_continue());
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        self.0.retain(|_, task| task.on_tick(desk).is_continue());
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        self.0.values().filter_map(|task| task.next_wake(desk)).min()
    }

    fn under_way(&self) -> usize {
        self.0.values().filter(|task| task.is_busy()).count()
    }

    fn end(&mut self, desk: &mut Desk, whose: Option<CommandId>, kind: FailureKind, reason: &str) -> usize {
        let all = std::mem::take(&mut self.0).into_iter();
        let (meant, others): (BTreeMap<_, _>, _) = all.partition(|(_, task)| is_meant(whose, task.command()));
        self.0 = others;
        let count = meant.len();
        for (number, mut task) in meant {
            if task.end(desk, kind, reason).is_continue() {
                self.0.insert(number, task);
            }
        }
        count
    }
}
