//! One command of a console, and what a line can ask for.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::Tree;
use super::health::CheckRequest;
use super::options::{GivenOptions, OptionSpec};
use super::terms::{Change, Terms};
use super::words::{parse_file, parse_name};
use crate::file::{LocalManifest, ManifestForm, local};
use crate::id::Key;
use crate::node::{Command, Source, Until};

/// What a line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineTask {
    /// One command to the node, one answer from it.
    Ask(Command),
    /// Keep files in the network.
    Store(Store),
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
    /// Find out how safe files are.
    Check(CheckRequest),
    /// Tell the holders of files what becomes of the leases on them.
    Lease {
        /// The files, by their names or keys; none means all whose leases end.
        words: Vec<String>,
        /// What becomes of their leases.
        change: Change,
    },
    /// Look up the key that begins with these digits.
    Lookup {
        /// The key, or what names it.
        word: String,
        /// Whether each question is to be shown.
        explain: bool,
        /// Where to draw them.
        svg: Option<PathBuf>,
    },
    /// Look up a key, and draw its questions.
    Draw {
        /// The key.
        key: Key,
        /// The file of the picture.
        svg: PathBuf,
    },
    /// List what is in a folder in the network.
    ListFolder {
        /// The folder: a key or a name, and maybe a path in it.
        word: String,
        /// Whether what is in its folders is listed too.
        all: bool,
    },
    /// Show the text of a file in the network.
    Show(String),
    /// Keep the blocks in a folder in the network: files of at most 1 MiB named by their SHA-256.
    Import {
        /// The folder.
        folder: PathBuf,
        /// How long they are kept.
        terms: Terms,
    },
    /// List what the catalogue has, as far as its names fit the pattern.
    Files {
        /// The pattern: a part of the name, or `*` and `?` as in a shell.
        pattern: String,
    },
    /// Call a file by another name too.
    Name {
        /// The file: its name, or its key or the beginning of it.
        word: String,
        /// The further name.
        name: String,
    },
    /// Drop a file from the catalogue.
    Forget {
        /// The file: its name, or its key or the beginning of it.
        word: String,
    },
    /// List the commands that run beside others.
    Jobs,
    /// End the command of this number that runs beside others.
    Cancel(u64),
    /// List the threads of this process.
    Threads {
        /// Whether it is listed again and again.
        watch: bool,
    },
    /// Have the node stand still for so long.
    Pause(Duration),
    /// Help on one command, or on all.
    Help(Option<String>),
}

/// What `store` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    /// The files and folders to store. Of two, the second is the place of a manifest, unless another file stands there.
    pub files: Vec<PathBuf>,
    /// The local manifest to write of one file.
    pub manifest: Option<LocalManifest>,
    /// What one file is called in the catalogue, if not by the last part of its path.
    pub name: Option<String>,
    /// Also keep a copy of every block here.
    pub keep: bool,
    /// How folders are stored.
    pub tree: Tree,
    /// How long it is kept.
    pub terms: Terms,
}

impl Store {
    /// Reads the arguments and the options.
    ///
    /// # Errors
    /// For people: what is asked for cannot be.
    pub(super) fn read(words: &[String], options: &GivenOptions, defaults: &Defaults) -> Result<Self, String> {
        let files: Vec<_> = words.iter().map(|word| parse_file(word)).collect::<Result<_, _>>()?;
        let manifest = match options.value("--manifest") {
            Some(_) if files.len() > 1 => return Err("--manifest is the manifest of one file".to_owned()),
            Some(word) => Some(LocalManifest { path: parse_file(word)?, form: ManifestForm::Whole }),
            None => None,
        };
        let name = match options.value("--name") {
            Some(_) if files.len() > 1 && manifest.is_none() => return Err("--name is of one file".to_owned()),
            name => name.map(parse_name).transpose()?,
        };
        let exclude = options.values("--exclude").map(str::to_owned).collect();
        let tree = Tree { exclude, skip_unreadable: options.has("--skip-unreadable") };
        let terms = Terms::read(options.value("--for"), options.value("--copies"))?;
        Ok(Self { files, manifest, name, keep: defaults.keep, tree, terms })
    }

    /// The commands to the node, a file each.
    pub fn commands(self) -> Vec<Command> {
        let Self { mut files, mut manifest, keep, .. } = self;
        if let ([first, second], None) = (&files[..], &manifest)
            && !stands_in_the_way(second)
            && !(first.is_dir() && second.exists())
        {
            manifest = files.pop().map(|path| LocalManifest { path, form: ManifestForm::Seed });
        }
        let of_file = |path| Command::Store { path, manifest: manifest.clone(), keep };
        files.into_iter().map(of_file).collect()
    }
}

/// Whether a file is there that may be a manifest.
pub(super) fn may_be_manifest(path: &Path) -> bool {
    path.exists() && !stands_in_the_way(path)
}

/// Whether an empty file is there.
pub(super) fn is_empty(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() == 0)
}

/// Whether something stands there that is no manifest, so that a manifest cannot be meant to take its place.
fn stands_in_the_way(path: &Path) -> bool {
    let Ok(there) = fs::metadata(path) else { return false };
    let mut beginning = Vec::new();
    // Only a plain file is opened: opening a pipe waits for its other end.
    let is_read = there.is_file()
        && File::open(path).and_then(|file| file.take(local::BEGINNING as u64).read_to_end(&mut beginning)).is_ok();
    !is_read || !local::may_begin(&beginning)
}

impl LineTask {
    /// The same request by a client whose working folder is `folder`.
    #[must_use]
    pub fn within(self, folder: &Path) -> Self {
        let lies = |path: PathBuf| folder.join(path);
        let source = |source| match source {
            Source::Manifest(path) => Source::Manifest(lies(path)),
            key => key,
        };
        match self {
            Self::Store(Store { files, manifest, name, keep, tree, terms }) => {
                let manifest = manifest.map(|LocalManifest { path, form }| LocalManifest { path: lies(path), form });
                let files = files.into_iter().map(lies).collect();
                Self::Store(Store { files, manifest, name, keep, tree, terms })
            }
            Self::Import { folder, terms } => Self::Import { folder: lies(folder), terms },
            Self::Draw { key, svg } => Self::Draw { key, svg: lies(svg) },
            Self::Test { files, keep } => Self::Test { files: files.into_iter().map(lies).collect(), keep },
            Self::Ask(Command::Retrieve { source: of, dest, replace }) => {
                Self::Ask(Command::Retrieve { source: source(of), dest: lies(dest), replace })
            }
            Self::Ask(Command::Clear { sources, force }) => {
                Self::Ask(Command::Clear { sources: sources.into_iter().map(source).collect(), force })
            }
            Self::Check(check) => Self::Check(check.with_sources(source)),
            Self::Ask(Command::Wait { until: Until::Copies { sources, copies }, limit }) => {
                let sources = sources.into_iter().map(source).collect();
                Self::Ask(Command::Wait { until: Until::Copies { sources, copies }, limit })
            }
            other => other,
        }
    }

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
pub enum ArgKind {
    /// A file's name.
    File,
    /// A key, a name in the catalogue, or the name of a manifest file.
    Source,
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
    pub kinds: &'static [ArgKind],
    /// The options it knows, beside its arguments.
    pub options: &'static [OptionSpec],
    /// What the command does, in a line.
    pub summary: &'static str,
    /// More about the command, in whole sentences, wrapped by hand.
    pub details: &'static str,
    /// Reads the arguments and the options. The number of arguments is checked already.
    pub parse: fn(&[String], &GivenOptions, &Defaults) -> Result<LineTask, String>,
}

impl Spec {
    /// The usage line: name, arguments and options.
    pub fn usage(&self) -> String {
        let options = self.options.iter().map(OptionSpec::usage);
        let words = [self.name.to_owned(), self.arguments.to_owned()].into_iter().chain(options);
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}
