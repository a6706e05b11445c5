//! Several commands under way at a time, as one thing that can be cancelled.

use std::time::Duration;

use crossbeam_channel::{Receiver, Select, TryRecvError, after, never, select};

use crate::console::Backend;
use crate::node::{Answer, Command, CommandId, Failure, Notice, Progress};

/// Commands of one folder that are under way at a time. As many as there are blocks of one file.
const WINDOW: usize = 16;

/// Stands for the whole of what is done, so that Ctrl-C ends it wherever it is: see [`Command::Span`].
pub(in crate::console) struct CommandSpan<'a, B: Backend> {
    backend: &'a B,
    command: CommandId,
    notices: Receiver<Notice>,
}

impl<'a, B: Backend> CommandSpan<'a, B> {
    /// Begins the span: the node gives it a number.
    ///
    /// # Errors
    /// The peer is about to leave.
    pub(in crate::console) fn begin(backend: &'a B) -> Result<Self, Failure> {
        let notices = backend.submit(Command::Span);
        match notices.recv() {
            Ok(Notice::Progress { command, .. }) => Ok(Self { backend, command, notices }),
            Ok(Notice::Answer { answer: Answer::Failed(failure), .. }) => Err(failure),
            _ => Err(Failure::gone()),
        }
    }

    /// Waits until `ended` is disconnected, for `limit` at most. Whether it was.
    ///
    /// # Errors
    /// The whole was ended before.
    pub(in crate::console) fn wait_for(&self, ended: &Receiver<()>, limit: Option<Duration>) -> Result<bool, Failure> {
        let late = limit.map_or_else(never, after);
        select! {
            recv(ended) -> _ => Ok(true),
            recv(self.notices) -> notice => Err(match notice {
                Ok(Notice::Answer { answer: Answer::Failed(failure), .. }) => failure,
                _ => Failure::gone(),
            }),
            recv(late) -> _ => Ok(false),
        }
    }

    /// An error once it has been ended.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.notices.try_recv() {
            Ok(Notice::Answer { answer: Answer::Failed(failure), .. }) => Err(failure),
            Ok(_) | Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => Err(Failure::gone()),
        }
    }
}

impl<B: Backend> Drop for CommandSpan<'_, B> {
    fn drop(&mut self) {
        // A peer that has gone has ended it already.
        let _ = self.backend.submit(Command::Cancel { command: self.command }).recv();
    }
}

/// Commands under way, each with what it is for.
pub(super) struct Flight<'a, B: Backend, T> {
    span: &'a CommandSpan<'a, B>,
    show: &'a mut dyn FnMut(&Progress),
    under_way: Vec<CommandUnderWay<T>>,
    /// Bytes that are done, those of commands under way aside.
    done: u64,
    /// The most bytes that were done, those of commands under way among them.
    most: u64,
    /// The part of `done` that an earlier run had left in place.
    resumed: u64,
}

/// One command under way.
struct CommandUnderWay<T> {
    what: T,
    notices: Receiver<Notice>,
    moved: u64,
}

impl<'a, B: Backend, T> Flight<'a, B, T> {
    /// Nothing is under way. Progress is shown by `show`.
    pub(super) fn new(span: &'a CommandSpan<'a, B>, show: &'a mut dyn FnMut(&Progress)) -> Self {
        Self { span, show, under_way: Vec::new(), done: 0, most: 0, resumed: 0 }
    }

    /// Bytes that are done, by commands under way too.
    pub(super) fn reached(&self) -> u64 {
        self.most
    }

    /// Bytes that an earlier run had left in place.
    pub(super) fn resumed(&self) -> u64 {
        self.resumed
    }

    /// So many bytes are done without a command.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.done += bytes;
        self.resumed += bytes;
        self.tell();
    }

    /// Begins a command, once there is room for it. `land` gets those that end meanwhile, and tells how many bytes came
    /// of each.
    ///
    /// # Errors
    /// That of `land`, or the whole was ended.
    pub(super) fn begin(
        &mut self,
        what: T,
        command: Command,
        land: &mut dyn FnMut(T, Answer) -> Result<u64, Failure>,
    ) -> Result<(), Failure> {
        while self.under_way.len() >= WINDOW {
            self.wait(land)?;
        }
        self.span.check()?;
        let notices = self.span.backend.submit(command);
        self.under_way.push(CommandUnderWay { what, notices, moved: 0 });
        Ok(())
    }

    /// Waits until every command has ended.
    ///
    /// # Errors
    /// As in [`begin`](Self::begin).
    pub(super) fn finish(&mut self, land: &mut dyn FnMut(T, Answer) -> Result<u64, Failure>) -> Result<(), Failure> {
        while !self.under_way.is_empty() {
            self.wait(land)?;
        }
        self.span.check()
    }

    /// Waits for one notice of any command.
    fn wait(&mut self, land: &mut dyn FnMut(T, Answer) -> Result<u64, Failure>) -> Result<(), Failure> {
        let mut waiting = Select::new();
        for leg in &self.under_way {
            waiting.recv(&leg.notices);
        }
        let ready = waiting.select();
        let at = ready.index();
        match ready.recv(&self.under_way[at].notices) {
            Ok(Notice::Progress { progress: Progress::Moved { bytes, .. }, .. }) => {
                self.under_way[at].moved = bytes;
                self.tell();
            }
            Ok(Notice::Progress { progress: retried @ Progress::Retried { .. }, .. }) => (self.show)(&retried),
            Ok(Notice::Answer { answer, .. }) => {
                let leg = self.under_way.swap_remove(at);
                let kept = match &answer {
                    Answer::Retrieved { bytes, standing: true, .. } => *bytes,
                    Answer::Retrieved { resumed, .. } => *resumed,
                    _ => 0,
                };
                // What was cancelled says so as a whole.
                let landed = land(leg.what, answer);
                let landed = landed.map_err(|failure| self.span.check().err().unwrap_or(failure))?;
                self.done += landed;
                self.resumed += kept.min(landed);
                self.tell();
            }
            Ok(_) => {}
            Err(_) => return Err(Failure::gone()),
        }
        Ok(())
    }

    fn tell(&mut self) {
        let bytes = self.done + self.under_way.iter().map(|leg| leg.moved).sum::<u64>();
        self.most = self.most.max(bytes);
        (self.show)(&Progress::Moved { bytes, resumed: self.resumed });
    }
}

impl<B: Backend, T> Drop for Flight<'_, B, T> {
    /// After a failure nothing goes on behind the back of the user who asked. A command that moves on tells its number,
    /// by which it is ended; one that does not move ends by itself.
    fn drop(&mut self) {
        for leg in self.under_way.drain(..) {
            let mut told = false;
            for notice in &leg.notices {
                if let (Notice::Progress { command, .. }, false) = (notice, told) {
                    told = true;
                    let _ = self.span.backend.submit(Command::Cancel { command });
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
