//! Answers: those of the node, and those that a console gives itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::beside::JobInfo;
use super::catalogue::Entry;
use super::escape::shown;
use super::folder::{self, ListedFolder, RetrievedFolder, ShownText, StoredFolder};
use super::grammar::Grammar;
use super::health;
use super::json;
use super::pausing::Paused;
use super::spec::Spec;
use super::text;
use crate::file::{LocalManifest, ManifestForm};
use crate::id::{Id, Key};
use crate::node::health::Health;
use crate::node::notice::too_few_copies;
use crate::node::{Answer, Failure, FailureKind};
use crate::path_text;
use crate::runtime::ThreadsSeen;

/// The answer to a line. As JSON it is an object whose field `answer` says which.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum LineReply {
    /// An answer of the node.
    Node(Answer),
    /// An answer about a file that the user named.
    File(Named),
    /// An answer that the console gives itself.
    Console(ConsoleAnswer),
}

/// An answer of the node, and the file of which it tells.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Named {
    /// The file as it was named.
    #[serde(with = "path_text")]
    pub file: PathBuf,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// The local manifest that was written of a file that was stored.
    #[serde(serialize_with = "manifest_path", skip_serializing_if = "Option::is_none")]
    pub manifest: Option<LocalManifest>,
    /// Of a file that was deleted by a name: the other names under which the same is kept on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept_as: Vec<String>,
    /// Of a file that was deleted by its key: all names that it had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted_as: Vec<String>,
    /// Of a file that was deleted by a name: the keys of what was stored before from the same place, and is kept on
    /// under that name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub name_keeps: Vec<Key>,
}

impl Named {
    /// That it was stored with too few copies, if it was.
    fn too_few(&self) -> Option<String> {
        let Answer::Stored { copies, wanted, unreached, lacking, .. } = &self.answer else { return None };
        text::too_few(&self.file, copies, *wanted, *unreached, lacking)
    }

    /// That the second of two names was taken for the place of a manifest, where it was.
    pub(super) fn second_name(&self) -> Option<String> {
        let LocalManifest { path, form: ManifestForm::Seed } = self.manifest.as_ref()? else { return None };
        Some(format!("{} is the manifest of {} now, and was not stored", shown(path), shown(&self.file)))
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn manifest_path<S: Serializer>(manifest: &Option<LocalManifest>, to: S) -> Result<S::Ok, S::Error> {
    match manifest {
        Some(LocalManifest { path, .. }) => path_text::serialize(path, to),
        None => to.serialize_none(),
    }
}

/// Answers that the console gives itself: without the node, or from several answers of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ConsoleAnswer {
    /// What the threads of this process are at.
    Threads(ThreadsSeen),
    /// The node stood still.
    Paused(Paused),
    /// Help on commands.
    Help {
        /// The commands that help was asked on.
        commands: Vec<HelpEntry>,
        /// How wide its lines may be.
        #[serde(skip)]
        columns: usize,
    },
    /// The answers to several commands.
    All {
        /// The answers, in the order of the commands.
        answers: Vec<LineReply>,
    },
    /// What the catalogue has.
    Files {
        /// The files, the latest last.
        files: Vec<Entry>,
    },
    /// A file has a further name.
    Named {
        /// The file's key.
        key: Key,
        /// The name.
        #[serde(with = "crate::raw_text")]
        name: String,
    },
    /// Entries were dropped from the catalogue; the network keeps the files.
    Forgotten {
        /// What was dropped.
        files: Vec<Entry>,
    },
    /// The blocks of another program are in the network.
    Imported(Imported),
    /// A command runs beside others; its answer follows when it has ended.
    Begun {
        /// The number of the command.
        job: u64,
        /// What was asked for.
        line: String,
    },
    /// What runs beside others.
    Jobs {
        /// The commands, the oldest first.
        jobs: Vec<JobInfo>,
    },
    /// A command that runs beside others is ended; it has its own answer.
    Cancelling {
        /// The number of the command.
        job: u64,
    },
    /// A folder is in the network.
    StoredFolder(StoredFolder),
    /// A folder was brought back.
    RetrievedFolder(RetrievedFolder),
    /// What is in a folder in the network.
    #[serde(rename = "listing")]
    Listed(ListedFolder),
    /// The text of a file in the network.
    #[serde(rename = "text")]
    Shown(ShownText),
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

/// What came of an import.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Imported {
    /// Blocks that were stored.
    pub blocks: u64,
    /// Bytes of these blocks together.
    pub bytes: u64,
    /// The key of the file that all of them together are, if any was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Files that are no blocks, and why.
    pub left_out: Vec<LeftOut>,
    /// Blocks that could not be stored, and why.
    pub failed: Vec<LeftOut>,
    /// The sort of the first failure.
    #[serde(skip)]
    pub failure: Option<FailureKind>,
}

impl Imported {
    /// A file could not be stored.
    pub(super) fn fail(&mut self, file: PathBuf, Failure { kind, reason }: Failure) {
        self.failed.push(LeftOut { file, reason });
        self.failure.get_or_insert(kind);
    }
}

/// A file that was not imported.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LeftOut {
    /// The file's path.
    #[serde(with = "path_text")]
    pub file: PathBuf,
    /// Why it was left out, for people.
    pub reason: String,
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
    #[serde(with = "path_text")]
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

impl LineReply {
    /// An answer that tells a failure.
    pub fn failed(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self::Node(Answer::Failed(Failure::new(kind, reason)))
    }

    /// One answer as it is, several as the answers to a command about several files.
    pub(super) fn one_or_all(answers: Vec<Self>) -> Self {
        match <[Self; 1]>::try_from(answers) {
            Ok([one]) => one,
            Err(answers) => Self::Console(ConsoleAnswer::All { answers }),
        }
    }

    /// An answer about a file.
    pub(super) fn of_file(file: PathBuf, answer: Answer) -> Self {
        Self::File(Named {
            file,
            answer,
            manifest: None,
            kept_as: Vec::new(),
            deleted_as: Vec::new(),
            name_keeps: Vec::new(),
        })
    }

    /// Help on the command that `word` names, or on all, for a terminal of so many columns.
    pub fn help(grammar: &Grammar, word: Option<&str>, columns: usize) -> Self {
        let commands = match word.map(|word| grammar.find(word)) {
            None => grammar.specs().map(HelpEntry::new).collect(),
            Some(Ok(spec)) => vec![HelpEntry::new(spec)],
            Some(Err(error)) => return Self::failed(FailureKind::Usage, error.to_string()),
        };
        Self::Console(ConsoleAnswer::Help { commands, columns })
    }

    /// The failure, if this is one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Node(answer) | Self::File(Named { answer, .. }) => answer.failure(),
            Self::Console(_) => None,
        }
    }

    /// What sort of failure this is. Of several things, the first failure counts if all failed; if some were done, it
    /// is a partial one.
    pub fn verdict(&self) -> Option<FailureKind> {
        if let Some(health) = self.health() {
            return health.failure();
        }
        match self {
            Self::Node(answer) | Self::File(Named { answer, .. }) => answer.verdict(),
            Self::Console(ConsoleAnswer::All { answers }) => of_several(answers.iter().map(Self::verdict)),
            Self::Console(ConsoleAnswer::Tested { files, .. }) => {
                of_several(files.iter().map(|file| match &file.result {
                    TestResult::Failed(failure) => Some(failure.kind),
                    TestResult::Equal { .. } => None,
                }))
            }
            Self::Console(ConsoleAnswer::Imported(imported)) => {
                imported.failure.map(|kind| if imported.blocks > 0 { FailureKind::Partial } else { kind })
            }
            // Not all of it is there, as was not asked for.
            Self::Console(ConsoleAnswer::RetrievedFolder(folder)) if !folder.skipped.is_empty() => {
                Some(FailureKind::Partial)
            }
            Self::Console(ConsoleAnswer::StoredFolder(folder)) => {
                too_few_copies(&folder.copies, folder.wanted).or(folder.is_partial.then_some(FailureKind::Partial))
            }
            Self::Console(_) => None,
        }
    }

    /// How safe the files are that were checked: as the worst of them. None if something else was done.
    fn health(&self) -> Option<Health> {
        match self {
            Self::Node(Answer::Checked(checked)) | Self::File(Named { answer: Answer::Checked(checked), .. }) => {
                Some(checked.health)
            }
            Self::Console(ConsoleAnswer::All { answers }) => health::worst(answers.iter().map(Self::health)),
            _ => None,
        }
    }

    /// The key of each file that was stored, in order.
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Self::File(Named { answer: Answer::Stored { key, .. }, .. }) => vec![*key],
            Self::Console(ConsoleAnswer::StoredFolder(folder)) => vec![folder.key],
            Self::Console(ConsoleAnswer::All { answers }) => answers.iter().flat_map(Self::keys).collect(),
            _ => Vec::new(),
        }
    }

    /// What who reads the keys alone should know too, a line each: what has too few copies, what was left out, and that
    /// the second of two names was taken for the place of a manifest.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::File(named) => named.too_few().into_iter().chain(named.second_name()).collect(),
            Self::Console(ConsoleAnswer::StoredFolder(folder)) => {
                folder.too_few().into_iter().chain(folder::left_out(folder)).collect()
            }
            Self::Console(ConsoleAnswer::All { answers }) => answers.iter().flat_map(Self::notes).collect(),
            _ => Vec::new(),
        }
    }

    /// Names the file `path` otherwise.
    pub fn rename(&mut self, path: &Path, name: &Path) {
        if let Self::File(Named { manifest: Some(manifest), .. }) = self
            && manifest.path == path
        {
            manifest.path = name.to_owned();
        }
        match self {
            Self::File(Named { file, .. }) | Self::Console(ConsoleAnswer::StoredFolder(StoredFolder { file, .. }))
                if file == path =>
            {
                *file = name.to_owned();
            }
            Self::Console(ConsoleAnswer::All { answers }) => {
                answers.iter_mut().for_each(|answer| answer.rename(path, name));
            }
            _ => {}
        }
    }

    /// The failures among the answers.
    pub fn failures(&self) -> Vec<&Self> {
        match self {
            Self::Console(ConsoleAnswer::All { answers }) => answers.iter().flat_map(Self::failures).collect(),
            reply => reply.failure().map(|_| reply).into_iter().collect(),
        }
    }

    /// The answer as people read it, without its last line end.
    pub fn to_text(&self) -> String {
        text::render(self)
    }

    /// The answer as one line of JSON, without its end.
    pub fn to_json(&self) -> String {
        json::render(self)
    }
}

impl From<Failure> for LineReply {
    fn from(failure: Failure) -> Self {
        Self::Node(Answer::Failed(failure))
    }
}

/// What the failures of several things are together.
fn of_several(verdicts: impl Iterator<Item = Option<FailureKind>>) -> Option<FailureKind> {
    let verdicts: Vec<_> = verdicts.collect();
    let first = verdicts.iter().flatten().next().copied()?;
    // The user who cancelled them wants no more of them, done or not.
    let partial = verdicts.contains(&None) && !verdicts.contains(&Some(FailureKind::Cancelled));
    Some(if partial { FailureKind::Partial } else { first })
}

impl HelpEntry {
    pub(super) fn new(spec: &'static Spec) -> Self {
        let Spec { name, short, summary, details, .. } = spec;
        Self { name, short: *short, usage: spec.usage(), summary, details }
    }
}
