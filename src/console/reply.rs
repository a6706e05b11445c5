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
    /// What the node said.
    Node(Answer),
    /// What the console knows itself.
    Console(ConsoleAnswer),
}

/// Answers that need no node, or several of its answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ConsoleAnswer {
    /// The threads of this process, a line each.
    Threads {
        /// The lines.
        threads: Vec<String>,
    },
    /// What can be asked.
    Help {
        /// The commands.
        commands: Vec<HelpEntry>,
    },
    /// The answers to several commands.
    All {
        /// Each in turn.
        answers: Vec<Answer>,
    },
    /// Files that went into the network and back.
    Tested {
        /// How many came back equal.
        passed: usize,
        /// How many did not.
        failed: usize,
        /// Each in turn.
        files: Vec<Tested>,
    },
}

/// One command, for `help`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HelpEntry {
    /// Its name.
    pub name: &'static str,
    /// Its one-letter form.
    pub short: Option<char>,
    /// How it is written.
    pub usage: String,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What else there is to say.
    pub details: &'static str,
}

/// How one file of a `test` fared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Tested {
    /// The file.
    pub file: PathBuf,
    /// Its key and numbers, or why it failed.
    #[serde(flatten)]
    pub result: TestResult,
}

/// See [`Tested`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum TestResult {
    /// It came back equal.
    Equal {
        /// Brings it back.
        key: Key,
        /// SHA-256 of the file, before and after.
        sha256: Id,
        /// Its bytes.
        bytes: u64,
        /// How long storing took.
        stored_in: Duration,
        /// How long retrieving took.
        retrieved_in: Duration,
    },
    /// It did not.
    Failed(Failure),
}

impl Reply {
    /// A failure.
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
        // Every map in an answer has text for keys and no value refuses, so this cannot fail but for a path that is no text.
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
