//! The desk, where parts tell other parts, those who watch, and who gave a command.

use super::Desk;
use crate::node::action::Action;
use crate::node::command::CommandId;
use crate::node::notice::{Answer, Failure, FailureKind, Notice, Progress};
use crate::node::ticket::{News, Reply, Ticket};
use crate::node::trouble::Trouble;

/// What a part has for other parts.
#[expect(clippy::large_enum_variant, reason = "few are in the queue, and none stays there")]
pub(in crate::node) enum Passed {
    /// For the part that asked under this ticket.
    Reply(Ticket, Reply),
    /// For all.
    News(News<'static>),
}

impl Desk {
    /// Has this brought to the part that asked under this ticket, once the part that passes it on is done.
    pub(in crate::node) fn pass_on(&mut self, ticket: Ticket, reply: Reply) {
        self.passed_on.push_back(Passed::Reply(ticket, reply));
    }

    /// Has every part told of this, once the part that tells is done.
    pub(in crate::node) fn tell_all(&mut self, news: News<'static>) {
        self.passed_on.push_back(Passed::News(news));
    }

    pub(crate) fn notify(&mut self, notice: Notice) {
        self.exchange.out().push(Action::Notify(notice));
    }

    /// Something went wrong that no command has to hear of.
    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        self.notify(Notice::Trouble { trouble });
    }

    pub(crate) fn progress(&mut self, command: CommandId, progress: Progress) {
        self.notify(Notice::Progress { command, progress });
    }

    pub(crate) fn answer(&mut self, command: CommandId, answer: Answer) {
        self.asked.remove(&command);
        self.notify(Notice::Answer { command, answer });
    }

    pub(crate) fn fail(&mut self, command: CommandId, kind: FailureKind, reason: impl Into<String>) {
        self.answer(command, Answer::Failed(Failure::new(kind, reason)));
    }
}
