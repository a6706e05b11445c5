//! The console: commands that people type or pipe, and the answers that they read.
//!
//! A [`Console`] reads commands, has them done, and writes one answer for each, in the order they came: a command's
//! answer is written before the next command starts, unless its line ends with `&`: then it runs beside those that
//! follow. Typed or piped, the grammar is the same.
//!
//! - [`grammar`] and [`commands`]: what a line means, from one table of [commands](spec). [`words`], [`options`]: what
//!   its words may be.
//! - [`perform`]: what it takes to do what was asked. Most of it is one question to the node.
//! - [`classroom`]: the classroom ring's lines and commands.
//! - [`beside`]: commands that run beside others. [`answers`]: where the answers of all of them go.
//! - [`catalogue`]: what was stored here, by name.
//! - [`health`]: how safe files are, and waiting until something is true.
//! - [`help`]: the commands, as wide as the terminal.
//! - [`control`]: the same commands through the control socket of a running peer.
//! - [`events`]: what happens at a peer, a line each.
//! - [`json`]: the same answers for programs, and the page that documents them.
//! - `import.rs`: the blocks of another program.
//! - [`folder`]: folders, stored and brought back.
//! - [`reply`], `text`: the answer, as a JSON line or for people.
//! - [`lines`], [`output`]: a pipe in, a pipe out, each of which may hold anything or break at any time.
//! - [`terminal`], [`screen`], [`progress`]: a prompt, what other threads print meanwhile, and bars. On a terminal
//!   only.
//! - [`stderr`]: what is logged, and the thread that waits for its reader.
//!
//! # Threads
//! A console runs on the thread that calls it and blocks it: in a read while it waits for a command, in a channel while
//! the node works. Nothing portable wakes a thread that is stuck in a read of standard input, so a peer leaves its
//! console thread behind at the end; [`BusyToken::pause`] makes sure that it is not left in the middle of an answer.
//!
//! # Hostile input
//! A line may be too long, no text, or nonsense: it gets its answer like any other, and the next line is read. Text
//! that came from the network or from a file's name is shown with control characters spelled out ([`escape()`]).

pub mod answers;
mod begun;
pub mod beside;
pub mod catalogue;
pub mod classroom;
pub mod commands;
pub mod control;
pub mod events;
mod explained;
pub mod finding;
pub mod folder;
pub mod grammar;
pub mod health;
pub mod help;
pub mod json;
pub mod lines;
pub mod options;
pub mod output;
mod part;
pub mod perform;
pub mod progress;
pub mod renewing;
pub mod reply;
pub mod screen;
pub mod spec;
pub mod stderr;
pub mod terminal;
pub mod words;

mod escape;
mod import;
pub mod leases;
mod pausing;
mod picture;
pub mod terms;
mod text;
pub mod watching;

use std::io::{self, BufRead};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

pub use escape::escape;
pub use grammar::Grammar;
pub use output::{Format, Output};
pub use pausing::Paused;
pub use reply::LineReply;
pub use screen::Screen;
pub use spec::Defaults;
pub use stderr::Stderr;

use crate::gauges;
use crate::node::{Answer, Command, FailureKind, Notice, Until};
use crate::runtime::{Handle, Pause, Session, ThreadSeen, ThreadsSeen};
use answers::Answers;
use beside::BackgroundCommands;
use lines::TypedLine;
use perform::Performer;
use spec::LineTask;

/// What a console needs of a peer.
pub trait Backend {
    /// Gives the node a command. Progress comes back, then exactly one answer; the channel closes early only if the
    /// node has ended.
    fn submit(&self, command: Command) -> Receiver<Notice>;

    /// Has the node stand still for so long; none where there is no such.
    fn pause(&self, _span: Duration) -> Option<Receiver<Pause>> {
        None
    }

    /// What the threads of the process are at.
    fn threads(&self) -> ThreadsSeen;

    /// Commands that can be ended together, and a thread for them; none where there is no such.
    fn session(&self) -> Option<Session> {
        None
    }
}

impl Backend for Handle {
    fn submit(&self, command: Command) -> Receiver<Notice> {
        Self::submit(self, command)
    }

    fn threads(&self) -> ThreadsSeen {
        handle_threads(self)
    }

    fn session(&self) -> Option<Session> {
        Some(Self::session(self))
    }

    fn pause(&self, span: Duration) -> Option<Receiver<Pause>> {
        Some(Self::pause(self, span))
    }
}

/// The threads that have gauges, and the caller's if it has none.
fn handle_threads(handle: &Handle) -> ThreadsSeen {
    let mut seen = handle.look();
    let own = thread::current()
        .name()
        .filter(|name| seen.threads.iter().all(|thread| thread.name != *name))
        .map(str::to_owned);
    seen.threads.splice(0..0, own.map(|name| ThreadSeen { name, at: String::new(), gauge: None }));
    seen
}

/// Why a console stopped reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The input has ended.
    Input,
    /// The node has left, as a command told it.
    Left,
    /// The user pressed Ctrl-C twice at the prompt.
    Interrupted,
}

/// Reads commands, has them done, writes the answers.
pub struct Console<B> {
    grammar: Grammar,
    performer: Performer<B>,
    answers: Answers,
    busy: BusyToken,
    beside: BackgroundCommands,
    /// Whether Ctrl-C at the prompt ends the console at once; else it is asked once more.
    abrupt: bool,
}

/// A console that tells that the peer has left waits this long for the answers of what ran beside it.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Whether a console is between two commands.
///
/// A token stands for that, in a channel that has room for one. The thread that has the token does a command; the token
/// says whether the console told that the node has left.
#[derive(Clone)]
pub struct BusyToken {
    take: Receiver<bool>,
    back: Sender<bool>,
}

/// The token, which goes back on drop.
struct Token<'a> {
    told: bool,
    back: &'a Sender<bool>,
}

impl Drop for Token<'_> {
    fn drop(&mut self) {
        // There is room: it was taken from there.
        let _ = self.back.try_send(self.told);
    }
}

impl Default for BusyToken {
    fn default() -> Self {
        // For the one token that there is.
        let (back, take) = bounded(1);
        drop(Token { told: false, back: &back });
        Self { take, back }
    }
}

impl BusyToken {
    /// Waits until no command is under way, at most for `limit` (the reader of the answer may be stuck), and keeps the
    /// console from starting another, for good. Returns whether the answer that the node has left was written; none if
    /// the console is stuck.
    pub fn pause(&self, limit: Duration) -> Option<bool> {
        // The token is not put back.
        self.take.recv_timeout(limit).ok()
    }

    /// Waits for the token: for good, once another thread has paused the console.
    fn begin(&self) -> Token<'_> {
        // Both ends of the channel are here, so it is never closed.
        let told = self.take.recv().unwrap_or_default();
        Token { told, back: &self.back }
    }
}

/// The failure of the first command that failed.
#[derive(Clone, Default, Debug)]
pub struct FirstFailure(Arc<OnceLock<FailureKind>>);

impl FirstFailure {
    /// The sort of failure; none while no command has failed.
    pub fn get(&self) -> Option<FailureKind> {
        self.0.get().copied()
    }

    fn note(&self, failure: FailureKind) {
        // Only the first one counts.
        let _ = self.0.set(failure);
    }
}

impl<B: Backend> Console<B> {
    /// A console that asks through `performer` and gives what comes of it to `answers`.
    pub fn new(performer: Performer<B>, grammar: Grammar, answers: Answers) -> Self {
        Self {
            grammar,
            performer,
            answers,
            busy: BusyToken::default(),
            beside: BackgroundCommands::default(),
            abrupt: false,
        }
    }

    /// The same, where one Ctrl-C at the prompt is enough.
    #[must_use]
    pub fn ended_by_ctrl_c(self) -> Self {
        Self { abrupt: true, ..self }
    }

    /// Waits until the commands that run beside the lines of this console have ended and are answered.
    pub fn wait_beside(&mut self) {
        self.beside.wait(None);
    }

    /// Whether a command is under way.
    pub fn busy(&self) -> BusyToken {
        self.busy.clone()
    }

    /// Answers line after line until the input ends or the node has left.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn run(&mut self, input: &mut dyn BufRead) -> io::Result<End> {
        loop {
            let left = match gauges::wait(|| lines::read_line(input))? {
                TypedLine::Text(line) => self.obey(&line, &mut |_| false),
                TypedLine::Bad(reason) => self.refuse(reason),
                TypedLine::End => return Ok(End::Input),
            };
            if left {
                return Ok(End::Left);
            }
        }
    }

    /// Answers one line. `confirm` is asked whether what stands in the way may be replaced. Returns whether the node
    /// has left.
    fn obey(&mut self, line: &str, confirm: &mut dyn FnMut(&str) -> bool) -> bool {
        let busy = self.busy.clone();
        let mut token = busy.begin();
        if let Some(command) = beside::without_ampersand(line) {
            self.beside.begin(command, &self.grammar, &self.performer, &self.answers);
            return false;
        }
        let reply = match self.grammar.parse(line) {
            Ok(None) => return false,
            Ok(Some((_, LineTask::All(commands)))) if self.answers.one_by_one() => {
                for command in commands {
                    self.answers.answer(None, &LineReply::Node(self.performer.ask(command)));
                }
                return false;
            }
            Ok(Some((_, LineTask::Threads { watch: true }))) => self.watch_threads(),
            Ok(Some((_, LineTask::Help(word)))) => LineReply::help(&self.grammar, word.as_deref(), help::columns()),
            Ok(Some((_, request))) => self.performer.perform_or_ask(request, confirm),
            Err(error) => LineReply::failed(FailureKind::Usage, error.to_string()),
        };
        token.told = self.answer(&reply);
        token.told
    }

    /// Shows what the threads are at until a line is typed or the command is ended. Returns the last look.
    fn watch_threads(&self) -> LineReply {
        let look = || self.performer.perform(LineTask::Threads { watch: false });
        while !watching::is_typed_within(Duration::ZERO) {
            watching::clear(|text| self.answers.line(text));
            self.answers.answer(None, &look());
            // It waits in the node, so it is ended as any other command.
            let rest = Command::Wait { until: Until::Peers { count: usize::MAX }, limit: Some(watching::PERIOD) };
            if self.performer.ask(rest).verdict() != Some(FailureKind::TimedOut) {
                break;
            }
        }
        look()
    }

    /// Tells the node to leave without a command line, and has `write` write the answer: a thread that pauses the
    /// console waits for that too.
    pub fn leave(&mut self, handover: bool, write: impl FnOnce(&mut Self, &LineReply)) {
        let busy = self.busy.clone();
        let mut token = busy.begin();
        let answer = self.performer.ask(Command::Quit { handover });
        token.told = matches!(answer, Answer::Left { .. });
        write(self, &LineReply::Node(answer));
    }

    fn refuse(&mut self, reason: String) -> bool {
        let busy = self.busy.clone();
        let _answering = busy.begin();
        self.answer(&LineReply::failed(FailureKind::Usage, reason))
    }

    /// Writes an answer. Returns whether the node has left.
    pub fn answer(&mut self, reply: &LineReply) -> bool {
        let left = matches!(reply, LineReply::Node(Answer::Left { .. }));
        if left {
            // They were told to end, and their answers come before the last one.
            self.beside.wait(Some(LAST_ANSWERS));
        }
        self.answers.answer(None, reply);
        left
    }
}

#[cfg(test)]
mod tests;
