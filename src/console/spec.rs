//! One command of a console, and what a line can ask for.

use std::path::PathBuf;

use super::options::{OptionSpec, Options};
use crate::node::Command;

/// What a line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// One command to the node, one answer from it.
    Ask(Command),
    /// Several commands, one after the other.
    All(Vec<Command>),
    /// Ping the peer at `HOST:PORT`, a name that is not resolved yet.
    Ping(String),
    /// Store each file, bring it back and compare.
    Test {
        /// The files to test.
        files: Vec<PathBuf>,
        /// Also keep a copy of every block here.
        keep: bool,
    },
    /// List the threads of this process.
    Threads,
    /// Help on one command, or on all.
    Help(Option<String>),
}

impl Request {
    /// The same request with leave to replace a file at its destination; none if it has no such question.
    pub fn replacing(&self) -> Option<Self> {
        match self {
            Self::Ask(Command::Retrieve { source, dest, replace: false }) => {
                Some(Self::Ask(Command::Retrieve { source: source.clone(), dest: dest.clone(), replace: true }))
            }
            _ => None,
        }
    }
}

/// Choices made when the peer was started, which hold for all commands.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// `store` also keeps a copy of every block here.
    pub keep: bool,
    /// `quit` hands the blocks over first.
    pub handover: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { keep: false, handover: true }
    }
}

/// The kind of an argument, for completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file's name.
    File,
    /// A key, or the name of a manifest file.
    Source,
    /// The key of a block or file.
    Key,
    /// A command's name.
    Command,
    /// A word that cannot be completed.
    Other,
}

/// One command of a console: its name, arguments, help and parser.
#[derive(Debug)]
pub struct Spec {
    /// The command's name, in lower case.
    pub name: &'static str,
    /// The command's one-letter form, if it has one.
    pub short: Option<char>,
    /// The arguments as the usage line shows them.
    pub arguments: &'static str,
    /// The least and the greatest number of arguments.
    pub takes: (usize, usize),
    /// The arguments' kinds, in order; the last is also that of all that follow.
    pub kinds: &'static [Kind],
    /// The options it knows, beside its arguments.
    pub options: &'static [OptionSpec],
    /// What the command does, in a line.
    pub summary: &'static str,
    /// More about the command, in whole sentences, wrapped by hand.
    pub details: &'static str,
    /// Reads the arguments and the options. The number of arguments is checked already.
    pub parse: fn(&[String], &Options, &Defaults) -> Result<Request, String>,
}

impl Spec {
    /// The usage line: name, arguments and options.
    pub fn usage(&self) -> String {
        let options = self.options.iter().map(OptionSpec::usage);
        let words = [self.name.to_owned(), self.arguments.to_owned()].into_iter().chain(options);
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}
