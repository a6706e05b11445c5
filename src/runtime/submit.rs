//! Commands on their way to the node.
//!
//! A caller waits for room where [`COMMANDS`] is full, and for an answer; both waits end when the node has gone. A
//! bounded channel of this library keeps what no thread will take until its last sender is gone, and a caller that
//! waits for an answer to that would wait for ever. An unbounded one drops it. So the queue has no bound, and one place
//! in a second, bounded channel stands for each command in it.
//!
//! An order to end commands, or the peer, takes no place: it must not wait behind what it is to end. There is one at
//! most for each command that was given, and one for each caller that waits for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::channels::{ANSWERS, COMMANDS};
use super::clock::Clock;
use super::post::{EventWay, way};
use crate::node::{Command, Notice};
use crate::overlay::OverlayKind;

/// Names a session: the commands of one who may end them all at once.
pub(super) type SessionId = u64;

/// The session of commands that a handle gives by itself, outside any session.
pub(super) const NOBODYS: SessionId = 0;

/// How far a pause is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    /// It begins, in a network of this overlay.
    Begun(OverlayKind),
    /// It is over; the node stood still for so long.
    Over(Duration),
}

/// What is asked of the node.
pub(super) enum Submission {
    /// To do a command.
    Command {
        session: SessionId,
        command: Command,
        /// Bytes that it moves, as far as that is known: see [`bytes_to_move`].
        of: u64,
        /// Where its notices go.
        answer: Sender<Notice>,
    },
    /// To stand still.
    Pause { session: SessionId, span: Duration, tell: Sender<Pause> },
    /// To end the commands of a session that are under way.
    Cancel { session: SessionId },
}

impl Submission {
    /// Whether it takes a place in the queue: an order to end does not.
    pub(super) const fn takes_place(&self) -> bool {
        match self {
            Self::Cancel { .. } => false,
            Self::Command { command, .. } => !matches!(command, Command::Interrupt { .. } | Command::Quit { .. }),
            Self::Pause { .. } => true,
        }
    }
}

/// The size of the file that a command is to store; 0 of any other. It is looked at, so a node must not ask.
pub fn bytes_to_move(command: &Command) -> u64 {
    match command {
        Command::Store { path, .. } => std::fs::metadata(path).map_or(0, |file| file.len()),
        Command::OnLease { store, .. } => bytes_to_move(store),
        _ => 0,
    }
}

/// Where commands are given to the node.
#[derive(Clone)]
pub(super) struct Submit {
    queue: Sender<QueuedCommand>,
    /// By which the record's times go, if there is a record.
    clock: Option<Clock>,
    places: Sender<()>,
    /// The sessions so far. A number of its own is all that one needs (`Relaxed`).
    sessions: Arc<AtomicU64>,
}

/// What is asked of the node, in its queue.
pub(super) struct QueuedCommand {
    pub(super) asked: Submission,
    /// How it came there, for a record.
    pub(super) way: EventWay,
}

/// Where the node takes them.
pub(super) struct Submitted {
    pub(super) queue: Receiver<QueuedCommand>,
    places: Receiver<()>,
}

/// The way of commands to a node; `clock` is that of the node, where its events are recorded.
pub(super) fn channel(clock: Option<Clock>) -> (Submit, Submitted) {
    let (queue, taken) = COMMANDS.open();
    let (places, freed) = bounded(COMMANDS.most());
    (Submit { queue, clock, places, sessions: Arc::default() }, Submitted { queue: taken, places: freed })
}

impl Submit {
    /// Gives `command` to the node. If the node has gone, or goes before it answers, or there is no room for a command
    /// within the `limit`, nothing comes back but the end. Whether it was given.
    pub(super) fn submit(
        &self,
        session: SessionId,
        command: Command,
        limit: Option<Duration>,
    ) -> (Receiver<Notice>, bool) {
        let (answer, notices) = ANSWERS.open();
        let of = bytes_to_move(&command);
        let given = self.send(Submission::Command { session, command, of, answer }, limit);
        (notices, given)
    }

    /// Has the node stand still for `span`. What comes back is the beginning and the end of that.
    pub(super) fn pause(&self, session: SessionId, span: Duration) -> Receiver<Pause> {
        let (tell, told) = bounded(2);
        self.send(Submission::Pause { session, span, tell }, None);
        told
    }

    /// Ends the commands of `session` that the node has; each has its own answer.
    pub(super) fn cancel(&self, session: SessionId) {
        self.push(Submission::Cancel { session });
    }

    /// A session that no other caller has.
    pub(super) fn new_session(&self) -> SessionId {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits for a place, if it takes one; whether there was one.
    fn send(&self, asked: Submission, limit: Option<Duration>) -> bool {
        let has_place = match limit {
            _ if !asked.takes_place() => true,
            None => self.places.send(()).is_ok(),
            Some(limit) => self.places.send_timeout((), limit).is_ok(),
        };
        if has_place {
            self.push(asked);
        }
        has_place
    }

    fn push(&self, asked: Submission) {
        let way = self.clock.map(|clock| Box::new(way(&COMMANDS, clock.now())));
        // A node that has gone drops the sender with the command: the receiver learns of it.
        let _ = self.queue.send(QueuedCommand { asked, way });
    }
}

impl Submitted {
    /// This was taken from the queue.
    pub(super) fn free_place(&self, asked: &Submission) {
        if asked.takes_place() {
            // It has a place: that was taken before it entered the queue.
            let _ = self.places.try_recv();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_room_or_for_an_answer_learns_that_the_node_has_gone() {
        let (submit, submitted) = channel(None);
        let waiting: Vec<_> = (0..COMMANDS.most()).map(|_| submit.submit(NOBODYS, Command::Status, None).0).collect();
        let late = submit.clone();
        std::thread::scope(|scope| {
            // There is no room: it waits until the node takes one, and the next one until the node goes.
            let two = scope.spawn(move || {
                [late.submit(NOBODYS, Command::Status, None).0, late.submit(NOBODYS, Command::Status, None).0]
            });
            while submitted.queue.len() == COMMANDS.most() {
                let QueuedCommand { asked, .. } = submitted.queue.recv().expect("the queue is full");
                submitted.free_place(&asked);
            }
            while submitted.queue.len() < COMMANDS.most() {
                std::thread::yield_now();
            }
            drop(submitted);
            for notices in two.join().expect("it does not panic").into_iter().chain(waiting) {
                assert!(notices.recv().is_err(), "the end comes without an answer");
            }
        });
        assert!(submit.submit(NOBODYS, Command::Status, None).0.recv().is_err());
    }

    #[test]
    fn nobody_waits_for_room_beyond_the_limit_nor_to_end_what_was_given() {
        let (submit, submitted) = channel(None);
        let _waiting: Vec<_> = (0..COMMANDS.most()).map(|_| submit.submit(NOBODYS, Command::Status, None).0).collect();
        let late = submit.submit(NOBODYS, Command::Status, Some(Duration::from_millis(1)));
        assert!(late.0.recv().is_err() && !late.1, "it was never given");
        submit.cancel(NOBODYS);
        let (_told, given) = submit.submit(NOBODYS, Command::Quit { handover: true }, None);
        assert!(given, "it would wait for ever, and SIGTERM with it");
        assert_eq!(submitted.queue.len(), COMMANDS.most() + 2);
        for QueuedCommand { asked, .. } in submitted.queue.try_iter() {
            submitted.free_place(&asked);
        }
        assert_eq!(submitted.places.len(), 0, "orders to end had none");
    }
}
