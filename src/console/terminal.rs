//! A person at a terminal: prompt, history, completion.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{self, SetArg, Termios};
use nix::unistd::{getpgrp, tcgetpgrp};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::{FileHistory, SearchDirection};
use rustyline::validate::Validator;
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Config, Context, Editor, Event, EventContext, EventHandler,
    ExternalPrinter, Helper, KeyEvent, RepeatCount,
};

use super::catalogue::Catalogue;
use super::grammar::Grammar;
use super::spec::ArgKind;
use super::{Backend, Console, End, LineReply, escape};
use crate::gauges;
use crate::id::Key;
use crate::node::{Answer, Command};

/// The prompt.
pub const PROMPT: &str = "kadring> ";

/// The question before a file is replaced.
pub const REPLACE: &str = "replace it? [y/N] ";

/// Whether an answer means yes.
pub fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Lines that the history keeps.
const HISTORY: usize = 1000;

/// What is at the other end of standard input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stdin {
    /// A person at a terminal that shows the answers too.
    Person,
    /// A pipe, a file, or a terminal while the answers go elsewhere.
    Stream,
    /// A terminal whose foreground is another process group: the system stops a process that reads from it now.
    Background,
}

/// Finds out what is at the other end of standard input.
pub fn stdin_is() -> Stdin {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Stdin::Stream;
    }
    if tcgetpgrp(&stdin).is_ok_and(|foreground| foreground != getpgrp()) {
        return Stdin::Background;
    }
    if io::stdout().is_terminal() { Stdin::Person } else { Stdin::Stream }
}

/// Whether there may be more to read after an end of input. On a terminal Ctrl-D is such an end, and what is typed
/// after it can be read; a closed terminal is no terminal any more.
pub fn reads_on() -> bool {
    io::stdin().is_terminal()
}

/// Puts the terminal back as it was when dropped, even though a thread still reads a line from it.
pub struct Restore(Option<nix::libc::termios>);

impl Restore {
    /// Remembers how the terminal is.
    pub fn new() -> Self {
        Self(termios::tcgetattr(io::stdin()).ok().map(Into::into))
    }
}

impl Default for Restore {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        self.put_back();
    }
}

impl Restore {
    /// Puts the terminal back: for a process that ends without dropping anything.
    pub fn put_back(&self) {
        let Some(before) = self.0.map(Termios::from) else { return };
        let reading = termios::tcgetattr(io::stdin()).is_ok_and(|now| now.local_flags != before.local_flags);
        if reading {
            let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
            // A terminal that takes no output, because Ctrl-S stopped it or its other end is not read, is not waited
            // for.
            let takes = poll(&mut [PollFd::new(io::stdout().as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO);
            if takes != Ok(1) {
                return;
            }
            // No more marks around what is pasted, and a line of its own for what follows.
            let _ = io::stdout().write_all(b"\x1b[?2004l\r\n").and_then(|()| io::stdout().flush());
        }
    }
}

/// A line editor with a history.
pub struct Terminal {
    editor: Editor<Completion, FileHistory>,
    history: Option<PathBuf>,
    prompt: String,
}

impl Terminal {
    /// A line editor of the peer `name` that completes by `grammar` and `catalogue` and keeps its history in the file
    /// `history`, and a printer that prints above its prompt.
    ///
    /// # Errors
    /// The terminal cannot do it.
    pub fn open(
        grammar: Grammar,
        catalogue: Option<Catalogue>,
        history: Option<PathBuf>,
        name: &str,
    ) -> io::Result<(Self, impl ExternalPrinter + Send + use<>)> {
        let mut editor: Editor<Completion, FileHistory> = editor()?;
        editor.set_helper(Some(Completion { catalogue, grammar, files: FilenameCompleter::new() }));
        if let Some(path) = &history {
            // At the first time there is none.
            let _ = editor.load_history(path);
        }
        let printer = editor.create_external_printer().map_err(unfit)?;
        Ok((Self { editor, history, prompt: format!("{name} {PROMPT}") }, printer))
    }
}

impl Terminal {
    /// Adds a line to the history.
    fn remember(&mut self, line: &str) {
        let added = self.editor.add_history_entry(line);
        let Some(path) = &self.history else { return };
        if let Err(error) = added.and_then(|_| self.editor.append_history(path)) {
            log::debug!("the history is not kept: {error}");
        }
    }
}

/// Why a terminal cannot do it. A terminal that moves no cursor says so by an error that tells people nothing.
fn unfit(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Errno(code) if code as i32 == Errno::ENOTTY as i32 => {
            let term = std::env::var("TERM").unwrap_or_default();
            io::Error::new(io::ErrorKind::Unsupported, format!("by TERM={} it moves no cursor", escape(&term)))
        }
        other => io::Error::other(other),
    }
}

/// A line editor with a history, for any helper.
fn editor<H: Helper>() -> io::Result<Editor<H, FileHistory>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(HISTORY)
        .map_err(io::Error::other)?
        .build();
    let mut editor = Editor::with_config(config).map_err(io::Error::other)?;
    editor.bind_sequence(KeyEvent::ctrl('\\'), EventHandler::Conditional(Box::new(Quit)));
    Ok(editor)
}

/// Ctrl-\ sends the process SIGQUIT, as it does while a command runs.
struct Quit;

impl ConditionalEventHandler for Quit {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        // If it cannot be sent, nothing is shown.
        let _ = raise(Signal::SIGQUIT);
        Some(Cmd::Noop)
    }
}

/// A line editor for a few words, whose history lasts as long as it does.
pub struct WordEditor {
    editor: Editor<Words, FileHistory>,
    /// Lines that were pasted with the one that was given out last.
    pasted: VecDeque<String>,
}

impl WordEditor {
    /// A line editor that completes these words.
    ///
    /// # Errors
    /// The terminal cannot do it.
    pub fn open(words: impl IntoIterator<Item = &'static str>) -> io::Result<Self> {
        let mut editor = editor()?;
        editor.set_helper(Some(Words(words.into_iter().collect())));
        Ok(Self { editor, pasted: VecDeque::new() })
    }

    /// The next line that is typed; none at the end of the input (Ctrl-D), or at Ctrl-C.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn line(&mut self, prompt: &str) -> io::Result<Option<String>> {
        loop {
            if let Some(line) = self.pasted.pop_front() {
                // A history that takes no more is none to fail for.
                let _ = self.editor.add_history_entry(&line);
                return Ok(Some(line));
            }
            match self.editor.readline(prompt) {
                Ok(typed) if typed.is_empty() => return Ok(Some(typed)),
                Ok(typed) => self.pasted.extend(typed.lines().map(str::to_owned)),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(None),
                Err(ReadlineError::Signal(_)) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl<B: Backend> Console<B> {
    /// Answers what is typed until the input ends (Ctrl-D), the node has left, or Ctrl-C was pressed twice.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn run_terminal(&mut self, terminal: &mut Terminal) -> io::Result<End> {
        let mut warned = false;
        loop {
            let typed = match gauges::wait(|| terminal.editor.readline(&terminal.prompt)) {
                Ok(typed) => typed,
                Err(ReadlineError::Interrupted) if warned || self.abrupt => return Ok(End::Interrupted),
                Err(ReadlineError::Interrupted) => {
                    // It may be the second Ctrl-C, after one that cancelled a command.
                    if self.interrupt() {
                        return Ok(End::Left);
                    }
                    self.answers.line("quit, or Ctrl-C once more, leaves the network and ends this peer");
                    warned = true;
                    continue;
                }
                Err(ReadlineError::Eof) => return Ok(End::Input),
                // The window changed its size, or the process was stopped and goes on.
                Err(ReadlineError::Signal(_)) => continue,
                Err(error) => return Err(io::Error::other(error)),
            };
            warned = false;
            // What was pasted may be several lines, each a command.
            for line in typed.lines() {
                terminal.remember(line);
                let editor = &mut terminal.editor;
                let mut confirm = |what: &str| {
                    let question = format!("{}\n{REPLACE}", escape(what));
                    editor.readline(&question).is_ok_and(|answer| is_yes(&answer))
                };
                if self.obey(line, &mut confirm) {
                    return Ok(End::Left);
                }
            }
        }
    }

    /// Ctrl-C at the prompt. Returns whether the node has left.
    fn interrupt(&mut self) -> bool {
        let busy = self.busy.clone();
        let mut token = busy.begin();
        let handover = self.grammar.defaults().handover;
        let answer = self.performer.ask(Command::Interrupt { commands: Vec::new(), handover });
        token.told = matches!(answer, Answer::Left { .. }) && self.answer(&LineReply::Node(answer));
        token.told
    }
}

/// Completes the first word of a line.
struct Words(Vec<&'static str>);

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let words = self.0.iter().filter(|word| word.starts_with(&line[..pos]));
        Ok((0, words.map(|word| format!("{word} ")).collect()))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

/// Completes commands by their names, and arguments by what they are.
struct Completion {
    catalogue: Option<Catalogue>,
    grammar: Grammar,
    files: FilenameCompleter,
}

impl Completion {
    fn commands(&self, line: &str, pos: usize) -> (usize, Vec<Pair>) {
        let start = line[..pos].rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let begun = line[start..pos].to_lowercase();
        let names = self.grammar.specs().map(|spec| spec.name).filter(|name| name.starts_with(&begun));
        let pair = |name: &str| Pair { display: name.to_owned(), replacement: format!("{name} ") };
        (start, names.map(pair).collect())
    }

    /// Names in the catalogue, and keys that were typed before or are there, that begin with the word at the end.
    fn named(&self, before: &str, context: &Context<'_>) -> (usize, Vec<Pair>) {
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let begun = &before[start..];
        let entries = self.catalogue.as_ref().and_then(|catalogue| catalogue.entries().ok()).unwrap_or_default();
        let mut words: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        // Without a digit of it, no key is meant.
        if !begun.is_empty() {
            words.extend(entries.iter().map(|entry| entry.key.to_string()));
            let history = context.history();
            let lines = (0..history.len()).filter_map(|at| history.get(at, SearchDirection::Forward).ok().flatten());
            let typed = lines.flat_map(|line| line.entry.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            words.extend(typed.filter(|word| word.parse::<Key>().is_ok()));
        }
        words.retain(|word| word.starts_with(begun) && matches!(escape(word), Cow::Borrowed(_)));
        words.sort();
        words.dedup();
        let quoted = |word: &String| shlex::try_quote(word).ok().map(|quoted| quoted.into_owned());
        let pairs = words.iter().filter_map(|word| Some(Pair { display: word.clone(), replacement: quoted(word)? }));
        (start, pairs.collect())
    }

    /// The kind of the word that ends `before`: an argument's, or the command itself.
    fn kind(&self, before: &str) -> ArgKind {
        let before = before.trim_start();
        let Some((command, arguments)) = before.split_once(char::is_whitespace) else { return ArgKind::Command };
        let Ok(spec) = self.grammar.find(command) else { return ArgKind::Other };
        // An open quote is closed here, so that the word it belongs to counts as one.
        let words = ["", "'", "\""].iter().find_map(|close| shlex::split(&format!("{arguments}_{close}")));
        let is_option = |word: &&String| word.starts_with("--") && word.len() > 3;
        let index = words.map_or(0, |words| words.iter().filter(|word| !is_option(word)).count().saturating_sub(1));
        if index >= spec.takes.1 {
            return ArgKind::Other;
        }
        spec.kinds.get(index).or(spec.kinds.last()).copied().unwrap_or(ArgKind::Other)
    }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, context: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        match self.kind(&line[..pos]) {
            ArgKind::Command => Ok(self.commands(line, pos)),
            kind @ (ArgKind::File | ArgKind::Source) => {
                let (start, mut pairs) = self.files.complete_path(line, pos)?;
                // A name that would steer the terminal can be neither shown nor typed.
                pairs.retain(|pair| matches!(escape(&pair.display), Cow::Borrowed(_)));
                if kind == ArgKind::Source {
                    let (named, known) = self.named(&line[..pos], context);
                    // Where a word holds a slash, only the part behind it is replaced: no name has one.
                    pairs.splice(..0, known.into_iter().filter(|_| named == start));
                }
                Ok((start, pairs))
            }
            ArgKind::Other => Ok((pos, Vec::new())),
        }
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Defaults;

    fn completion() -> Completion {
        Completion { catalogue: None, grammar: Grammar::new(Defaults::default()), files: FilenameCompleter::new() }
    }

    #[test]
    fn each_place_of_a_line_is_completed_by_what_belongs_there() {
        for (line, kind) in [
            ("", ArgKind::Command),
            ("  ret", ArgKind::Command),
            ("store ", ArgKind::File),
            ("s 'my fi", ArgKind::File),
            ("store a b", ArgKind::File),
            ("store a b c", ArgKind::File),
            ("retrieve a b c", ArgKind::Other),
            ("retrieve ", ArgKind::Source),
            ("retrieve 'a b' ", ArgKind::File),
            ("lookup 12", ArgKind::Source),
            ("help st", ArgKind::Command),
            ("clear a b c", ArgKind::Source),
            ("nonsense a", ArgKind::Other),
        ] {
            assert_eq!(completion().kind(line), kind, "{line:?}");
        }
    }

    #[test]
    fn commands_are_completed_where_they_begin() {
        let (start, pairs) = completion().commands("help st", 7);
        let names: Vec<_> = pairs.iter().map(|pair| pair.replacement.as_str()).collect();
        assert_eq!((start, names), (5, vec!["store ", "status "]));
    }
}
