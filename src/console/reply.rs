//! Answers: those of the node, and those that a console gives itself.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::grammar::Grammar;
use super::spec::Spec;
use super::text;
use crate::id::{Id, Key};
use crate::node::{Answer, Failure, FailureKind};

/// The answer to a line. As JSON it is an object whose field `answer` says which.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// An answer of the node.
    Node(Answer),
    /// An answer that the console gives itself.
    Console(ConsoleAnswer),
}

/// Answers that the console gives itself: without the node, or from several answers of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ConsoleAnswer {
    /// The threads of this process, a line each.
    Threads {
        /// The lines, one for each thread.
        threads: Vec<String>,
    },
    /// Help on commands.
    Help {
        /// The commands that help was asked on.
        commands: Vec<HelpEntry>,
    },
    /// The answers to several commands.
    All {
        /// The answers, in the order of the commands.
        answers: Vec<Answer>,
    },
    /// The results of a `test`: files that were stored and retrieved.
    Tested {
        /// How many files came back equal.
        passed: usize,
        /// How many files did not.
        failed: usize,
        /// The files, in the order in which they were named.
        files: Vec<Tested>,
    },
}

/// One command, for `help`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HelpEntry {
    /// The command's name.
    pub name: &'static str,
    /// The command's one-letter form.
    pub short: Option<char>,
    /// The command's usage line.
    pub usage: String,
    /// What the command does, in a line.
    pub summary: &'static str,
    /// More about the command.
    pub details: &'static str,
}

/// The result of one file of a `test`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Tested {
    /// The file's path.
    pub file: PathBuf,
    /// Its key and numbers, or why it failed.
    #[serde(flatten)]
    pub result: TestResult,
}

/// The result of testing one file, as [`Tested`] holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum TestResult {
    /// The file came back equal.
    Equal {
        /// The file's key.
        key: Key,
        /// SHA-256 of the file, before and after.
        sha256: Id,
        /// The file's size in bytes.
        bytes: u64,
        /// How long the store took.
        stored_in: Duration,
        /// How long the retrieve took.
        retrieved_in: Duration,
    },
    /// The file could not be stored or retrieved, or came back changed.
    Failed(Failure),
}

impl Reply {
    /// An answer that tells a failure.
    pub fn failed(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self::Node(Answer::Failed(Failure { kind, reason: reason.into() }))
    }

    /// Help on the command that `word` names, or on all.
    pub fn help(grammar: &Grammar, word: Option<&str>) -> Self {
        let commands = match word.map(|word| grammar.find(word)) {
            None => grammar.specs().map(HelpEntry::new).collect(),
            Some(Ok(spec)) => vec![HelpEntry::new(spec)],
            Some(Err(error)) => return Self::failed(FailureKind::Usage, error.to_string()),
        };
        Self::Console(ConsoleAnswer::Help { commands })
    }

    /// The failure, if this is one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Node(Answer::Failed(failure)) => Some(failure),
            _ => None,
        }
    }

    /// What sort of failure this is, or contains first.
    pub fn verdict(&self) -> Option<FailureKind> {
        let of = |answer: &Answer| if let Answer::Failed(failure) = answer { Some(failure.kind) } else { None };
        match self {
            Self::Node(answer) => of(answer),
            Self::Console(ConsoleAnswer::All { answers }) => answers.iter().find_map(of),
            Self::Console(ConsoleAnswer::Tested { files, .. }) => files.iter().find_map(|file| match &file.result {
                TestResult::Failed(failure) => Some(failure.kind),
                TestResult::Equal { .. } => None,
            }),
            Self::Console(ConsoleAnswer::Threads { .. } | ConsoleAnswer::Help { .. }) => None,
        }
    }

    /// The answer as people read it, without its last line end.
    pub fn to_text(&self) -> String {
        text::render(self)
    }

    /// The answer as one line of JSON, without its end.
    pub fn to_json(&self) -> String {
        // Every map in an answer has text for keys and no value refuses, so this cannot fail but for a path that is no
        // text.
        serde_json::to_string(self).unwrap_or_else(|error| {
            let failure = serde_json::json!({ "answer": "failed", "kind": "other", "reason": error.to_string() });
            failure.to_string()
        })
    }
}

impl HelpEntry {
    fn new(spec: &'static Spec) -> Self {
        let Spec { name, short, summary, details, .. } = spec;
        Self { name, short: *short, usage: spec.usage(), summary, details }
    }
}
