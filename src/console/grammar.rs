//! What a typed line means.
//!
//! A console understands the commands of one table. Each row ([`Spec`]) holds everything about one command:
//! its name, its usage, its help, what its arguments are and how to read them. Reading a line, `help`, usage errors,
//! suggestions and completion are all views of that table, so they cannot disagree, and another console (the classroom
//! ring's) is another table: see [`Grammar::with`].
//!
//! A line is split as a shell splits it. Its first word names the command: by its full name, by its one-letter form,
//! or by any prefix that no other command has; case does not matter.

use thiserror::Error;

use super::commands::COMMANDS;
use super::escape::quoted;
use super::options::GivenOptions;
use super::spec::{Defaults, LineTask, Spec};

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ParseError {
    /// A quote without its partner, or a backslash at the end.
    #[error("a quote is not closed, or the line ends in a backslash; quote names as in a shell: 'my file'")]
    Unclosed,
    /// The line holds a NUL, which no file name can hold.
    #[error("the line holds a NUL character")]
    Nul,
    /// No command has this name.
    #[error("there is no command {}{}", quoted(.word), suggest(.suggestion))]
    Unknown {
        /// The word that was typed.
        word: String,
        /// A command of a similar name.
        suggestion: Option<&'static str>,
    },
    /// The word is a prefix of several commands.
    #[error("{} could be {}", quoted(.word), .candidates.join(" or "))]
    Ambiguous {
        /// The word that was typed.
        word: String,
        /// The commands that begin so.
        candidates: Vec<&'static str>,
    },
    /// Too few or too many arguments.
    #[error("too {} arguments; usage: {usage}", if *.few { "few" } else { "many" })]
    Arity {
        /// Whether arguments are missing; else there are too many.
        few: bool,
        /// The command's usage line.
        usage: String,
    },
    /// An argument that is not what it should be.
    #[error("{reason}; usage: {usage}")]
    Argument {
        /// What is wrong with the argument.
        reason: String,
        /// The command's usage line.
        usage: String,
    },
}

fn suggest(suggestion: &Option<&'static str>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean {name}?"),
        None => "; try help".to_owned(),
    }
}

/// Words of other programs, and the commands that do the same here; the first that a grammar has is meant.
const ELSEWHERE: &[(&str, &[&str])] = &[
    ("?", &["help"]),
    ("man", &["help"]),
    ("exit", &["quit"]),
    ("bye", &["quit"]),
    ("stop", &["quit"]),
    ("dir", &["files", "list"]),
    ("get", &["retrieve", "request"]),
    ("download", &["retrieve", "request"]),
    ("put", &["store"]),
    ("add", &["store"]),
    ("upload", &["store"]),
    ("rm", &["delete"]),
    ("rename", &["name"]),
    ("info", &["status"]),
    ("whoami", &["status"]),
    ("find", &["lookup"]),
];

/// The words of a line, quoted as in a shell; none if the line is empty or a comment.
pub fn split(line: &str) -> Result<Vec<String>, ParseError> {
    match line.trim() {
        "" => Ok(Vec::new()),
        comment if comment.starts_with('#') => Ok(Vec::new()),
        line => shlex::split(line).ok_or(ParseError::Unclosed),
    }
}

/// A table of commands, and how to read lines by it.
#[derive(Clone, Debug)]
pub struct Grammar {
    specs: Vec<&'static Spec>,
    defaults: Defaults,
}

impl Grammar {
    /// The commands of every kadring peer.
    pub fn new(defaults: Defaults) -> Self {
        Self { specs: COMMANDS.iter().collect(), defaults }
    }

    /// The same grammar with the commands `more`; one that has the name of another takes its place.
    #[must_use]
    pub fn with(mut self, more: &'static [Spec]) -> Self {
        for spec in more {
            match self.specs.iter_mut().find(|old| old.name == spec.name) {
                Some(old) => *old = spec,
                None => self.specs.push(spec),
            }
        }
        self
    }

    /// The same grammar without the command `name`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.specs.retain(|spec| spec.name != name);
        self
    }

    /// The choices that hold for all commands.
    pub fn defaults(&self) -> Defaults {
        self.defaults
    }

    /// The commands, in the order that `help` shows them in.
    pub fn specs(&self) -> impl Iterator<Item = &'static Spec> + '_ {
        self.specs.iter().copied()
    }

    /// Reads a line: the command and what it asks for; nothing if the line is empty or a comment.
    pub fn parse(&self, line: &str) -> Result<Option<(&'static Spec, LineTask)>, ParseError> {
        self.read(&split(line)?)
    }

    /// Reads the words of a line; nothing if there are none.
    pub fn read(&self, words: &[String]) -> Result<Option<(&'static Spec, LineTask)>, ParseError> {
        if words.iter().any(|word| word.contains('\0')) {
            return Err(ParseError::Nul);
        }
        let Some((word, arguments)) = words.split_first() else { return Ok(None) };
        let spec = self.find(word)?;
        let wrong = |reason| ParseError::Argument { reason, usage: spec.usage() };
        let (arguments, options) = GivenOptions::take(arguments, spec.options).map_err(wrong)?;
        let (least, most) = spec.takes;
        if arguments.len() < least || arguments.len() > most {
            return Err(ParseError::Arity { few: arguments.len() < least, usage: spec.usage() });
        }
        let request = (spec.parse)(&arguments, &options, &self.defaults).map_err(wrong)?;
        Ok(Some((spec, request)))
    }

    /// The command that `word` names: in full, by its letter, or by a prefix that only it has.
    pub fn find(&self, word: &str) -> Result<&'static Spec, ParseError> {
        let lower = word.to_lowercase();
        let is_letter = |spec: &Spec| spec.short.is_some_and(|short| lower == short.to_string());
        let exact = self.specs().find(|spec| spec.name == lower).or_else(|| self.specs().find(|spec| is_letter(spec)));
        if let Some(spec) = exact {
            return Ok(spec);
        }
        let begun: Vec<_> = self.specs().filter(|spec| !lower.is_empty() && spec.name.starts_with(&lower)).collect();
        match begun[..] {
            [spec] => Ok(spec),
            [] => {
                let suggestion = self.meant(&lower).or_else(|| self.nearest(&lower));
                Err(ParseError::Unknown { suggestion, word: word.to_owned() })
            }
            _ => Err(ParseError::Ambiguous {
                word: word.to_owned(),
                candidates: begun.iter().map(|spec| spec.name).collect(),
            }),
        }
    }

    /// The command of this grammar that does what `word` does in other programs.
    fn meant(&self, word: &str) -> Option<&'static str> {
        let (_, meant) = ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == word)?;
        meant.iter().find_map(|name| self.specs().find(|spec| spec.name == *name)).map(|spec| spec.name)
    }

    /// A command whose name is at most a third of its letters (and at most three) away from `word`.
    fn nearest(&self, word: &str) -> Option<&'static str> {
        let distance = |name: &str| strsim::damerau_levenshtein(word, name);
        let name = self.specs().map(|spec| spec.name).min_by_key(|name| distance(name))?;
        (distance(name) <= (name.len() / 3).clamp(1, 3)).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::Tree;
    use super::super::spec::{ArgKind, Store};
    use super::super::terms::Terms;
    use super::*;
    use crate::file::{LocalManifest, ManifestForm};
    use crate::node::{Command, Source};

    const KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn grammar() -> Grammar {
        Grammar::new(Defaults::default())
    }

    fn parse(line: &str) -> Result<Option<LineTask>, ParseError> {
        Ok(grammar().parse(line)?.map(|(_, request)| request))
    }

    fn name(line: &str) -> Result<&'static str, ParseError> {
        grammar().find(line).map(|spec| spec.name)
    }

    fn store(files: &[&str], manifest: Option<&str>) -> LineTask {
        let manifest = manifest.map(|path| LocalManifest { path: path.into(), form: ManifestForm::Whole });
        LineTask::Store(Store {
            files: files.iter().map(Into::into).collect(),
            manifest,
            name: None,
            keep: false,
            tree: Tree::default(),
            terms: Terms::default(),
        })
    }

    #[test]
    fn the_letters_of_the_seed_name_their_commands() {
        let named: Vec<_> = ["s", "r", "t", "c", "l", "q"].map(|letter| name(letter).unwrap()).into();
        assert_eq!(named, ["store", "retrieve", "test", "clear", "list", "quit"]);
    }

    #[test]
    fn a_prefix_of_one_command_is_that_command_in_any_case() {
        assert_eq!(name("STO"), Ok("store"));
        assert_eq!(name("Sta"), Ok("status"));
        assert_eq!(name("pi"), Ok("ping"));
        assert_eq!(name("h"), Ok("help"));
        assert_eq!(name("lo"), Ok("lookup"));
    }

    #[test]
    fn a_prefix_of_several_commands_lists_them() {
        let error = name("st").unwrap_err();
        assert_eq!(error, ParseError::Ambiguous { word: "st".into(), candidates: vec!["store", "status"] });
        assert_eq!(error.to_string(), "\"st\" could be store or status");
    }

    #[test]
    fn a_mistyped_command_gets_a_suggestion() {
        let meant = |word| match name(word) {
            Err(ParseError::Unknown { suggestion, .. }) => suggestion,
            other => panic!("{other:?}"),
        };
        assert_eq!(meant("retreive"), Some("retrieve"));
        assert_eq!(meant("stroe"), Some("store"));
        assert_eq!(meant("quti"), Some("quit"));
        assert_eq!(meant("frobnicate"), None);
        for (elsewhere, here) in
            [("?", "help"), ("exit", "quit"), ("dir", "files"), ("get", "retrieve"), ("put", "store")]
        {
            assert_eq!(meant(elsewhere), Some(here));
        }
        assert_eq!(name("stroe").unwrap_err().to_string(), "there is no command \"stroe\"; did you mean store?");
    }

    #[test]
    fn quotes_are_those_of_a_shell() {
        assert_eq!(parse("store 'my file' \"a\\\"b\""), Ok(Some(store(&["my file", "a\"b"], None))));
        assert_eq!(parse("s my\\ file"), Ok(Some(store(&["my file"], None))));
        assert_eq!(parse("store 'open"), Err(ParseError::Unclosed));
        assert_eq!(parse("store open\\"), Err(ParseError::Unclosed));
    }

    #[test]
    fn empty_lines_and_comments_ask_for_nothing() {
        for line in ["", "   \t ", "# store x", "   #", "\r"] {
            assert_eq!(parse(line), Ok(None), "{line:?}");
        }
    }

    #[test]
    fn a_wrong_number_of_arguments_shows_the_usage() {
        const USAGE: &str = "usage: store FILE... [--manifest FILE] [--name NAME] [--exclude GLOB...] [--skip-unreadable] \
             [--for TIME] [--copies N]";
        assert_eq!(parse("store").unwrap_err().to_string(), format!("too few arguments; {USAGE}"));
        assert_eq!(parse("list a").unwrap_err().to_string(), "too many arguments; usage: list");
        assert!(parse("retrieve x").is_err() && parse("list x").is_err() && parse("test").is_err());
    }

    #[test]
    fn a_manifest_is_in_the_seeds_text_by_its_place_and_whole_by_its_option() {
        assert_eq!(parse("store f --manifest m"), Ok(Some(store(&["f"], Some("m")))));
        assert_eq!(parse("store f m"), Ok(Some(store(&["f", "m"], None))));
        let LineTask::Store(two) = store(&["f", "/no/such/m"], None) else { panic!("it is a store") };
        let manifest = Some(LocalManifest { path: "/no/such/m".into(), form: ManifestForm::Seed });
        assert_eq!(two.commands(), [Command::Store { path: "f".into(), manifest, keep: false }]);
        for bad in ["store f m --manifest n", "store f --manifest ''", "store f --force", "store f --manifest"] {
            assert!(matches!(parse(bad), Err(ParseError::Argument { .. })), "{bad}");
        }
    }

    #[test]
    fn another_file_is_replaced_only_by_force() {
        for (line, replace) in [("r m d", false), ("r m d --force", true), ("retrieve --force -- m d", true)] {
            let (source, dest) = (Source::Manifest("m".into()), "d".into());
            assert_eq!(parse(line), Ok(Some(LineTask::Ask(Command::Retrieve { source, dest, replace }))), "{line}");
        }
    }

    #[test]
    fn several_sources_can_be_cleared_at_once() {
        let sources = vec![Source::Key(KEY.parse().unwrap()), Source::Manifest("m".into())];
        assert_eq!(parse(&format!("clear {KEY} m")), Ok(Some(LineTask::Ask(Command::Clear { sources, force: false }))));
    }

    #[test]
    fn quit_takes_its_option_and_nothing_else() {
        let quit = |handover| Ok(Some(LineTask::Ask(Command::Quit { handover })));
        assert_eq!(parse("quit"), quit(true));
        assert_eq!(parse("q --no-handover"), quit(false));
        assert!(parse("quit now").unwrap_err().to_string().contains("quit [--no-handover]"));
        let grammar = Grammar::new(Defaults { keep: true, handover: false });
        assert_eq!(grammar.parse("quit").map(|found| found.map(|(_, request)| request)), quit(false));
    }

    #[test]
    fn addresses_are_checked_before_anybody_is_asked() {
        assert_eq!(parse("ping [::1]:7000"), Ok(Some(LineTask::Ping("[::1]:7000".into()))));
        for bad in ["ping host", "ping :7000", "ping host:0", "ping host:70000", "ping ::1:7000", "ping 'a b:1'"] {
            assert!(matches!(parse(bad), Err(ParseError::Argument { .. })), "{bad}");
        }
    }

    #[test]
    fn what_was_typed_comes_back_without_control_characters() {
        let text = parse("\u{1b}[2Jxx").unwrap_err().to_string();
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(parse("store a\0b"), Err(ParseError::Nul));
    }

    #[test]
    fn another_table_replaces_and_adds() {
        static MORE: [Spec; 1] = [Spec {
            name: "store",
            short: None,
            arguments: "NAME",
            takes: (1, 1),
            kinds: &[ArgKind::Other],
            options: &[],
            summary: "",
            details: "",
            parse: |_, _, _| Ok(LineTask::Jobs),
        }];
        let grammar = grammar().with(&MORE).without("clear");
        assert_eq!(grammar.parse("sto 2067").unwrap().unwrap().1, LineTask::Jobs);
        assert!(grammar.find("clear").is_err());
        assert_eq!(grammar.specs().filter(|spec| spec.name == "store").count(), 1);
    }

    #[test]
    fn every_command_has_its_own_name_and_letter_and_is_explained() {
        for spec in COMMANDS {
            assert_eq!(name(spec.name), Ok(spec.name));
            assert!(!spec.summary.is_empty() && !spec.details.is_empty(), "{} explains itself", spec.name);
            assert!(spec.takes.0 <= spec.takes.1 && (spec.takes.1 == 0) == spec.kinds.is_empty(), "{}", spec.name);
            assert!(COMMANDS.iter().filter(|other| other.name == spec.name).count() == 1);
            assert!(spec.short.is_none() || COMMANDS.iter().filter(|other| other.short == spec.short).count() == 1);
        }
    }
}
