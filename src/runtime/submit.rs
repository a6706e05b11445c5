//! Commands on their way to the node.
//!
//! Who asks waits for room where [`COMMANDS`] is full, and for an answer; both waits end when the node has gone. A
//! bounded channel of this library keeps what nobody will take until its last sender is gone, and a caller that waits
//! for an answer to that would wait for ever. An unbounded one drops it. So the queue has no bound, and one place in a
//! second, bounded channel stands for each command in it.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::channels::{ANSWERS, COMMANDS};
use crate::node::{Command, Notice};

/// A command, and who gets its notices.
pub(super) struct Asked {
    pub(super) command: Command,
    pub(super) answer: Sender<Notice>,
}

/// Where commands are given to the node.
#[derive(Clone)]
pub(super) struct Submit {
    queue: Sender<Asked>,
    places: Sender<()>,
}

/// Where the node takes them.
pub(super) struct Submitted {
    pub(super) queue: Receiver<Asked>,
    places: Receiver<()>,
}

/// The way of commands to a node.
pub(super) fn channel() -> (Submit, Submitted) {
    let (queue, taken) = COMMANDS.open();
    let (places, freed) = bounded(COMMANDS.most());
    (Submit { queue, places }, Submitted { queue: taken, places: freed })
}

impl Submit {
    /// Gives `command` to the node. If the node has gone, or goes before it answers, nothing comes back but the end.
    pub(super) fn submit(&self, command: Command) -> Receiver<Notice> {
        let (answer, notices) = ANSWERS.open();
        if self.places.send(()).is_ok() {
            // A node that has gone drops the sender with the command: the receiver learns of it.
            let _ = self.queue.send(Asked { command, answer });
        }
        notices
    }
}

impl Submitted {
    /// A command was taken from the queue.
    pub(super) fn free_place(&self) {
        // It has a place: that was taken before the command entered the queue.
        let _ = self.places.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_room_or_for_an_answer_learns_that_the_node_has_gone() {
        let (submit, submitted) = channel();
        let waiting: Vec<_> = (0..COMMANDS.most()).map(|_| submit.submit(Command::Status)).collect();
        let late = submit.clone();
        std::thread::scope(|scope| {
            // There is no room: it waits until the node takes one, and the next one until the node goes.
            let two = scope.spawn(move || [late.submit(Command::Status), late.submit(Command::Status)]);
            while submitted.queue.len() == COMMANDS.most() {
                drop(submitted.queue.recv().expect("the queue is full"));
                submitted.free_place();
            }
            while submitted.queue.len() < COMMANDS.most() {
                std::thread::yield_now();
            }
            drop(submitted);
            for notices in two.join().expect("it does not panic").into_iter().chain(waiting) {
                assert!(notices.recv().is_err(), "the end comes without an answer");
            }
        });
        assert!(submit.submit(Command::Status).recv().is_err());
    }
}
