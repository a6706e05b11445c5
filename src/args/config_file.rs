//! Options from a file, for who starts many peers alike.
//!
//! A configuration file is TOML: each key is the name of a long option, without its hyphens. What the file says is put
//! among the arguments, in front of what was typed, wherever neither the command line nor the environment says anything
//! of that option. So it is read, checked and explained as all options are.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use kadring::console::escape;
use kadring::whole_file;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::commands::stderr;

/// The option that names the file.
const CONFIG: &str = "config";

/// The variable that names it.
const VARIABLE: &str = "KADRING_CONFIG";

/// Tasks that no configuration file is for: they run no peer, and are none's client.
const WITHOUT: [&str; 6] = ["sim", "repro", "replay", "man", "json", "completions"];

/// Least similarity of a name that was meant, perhaps.
const SIMILAR: f64 = 0.75;

/// The program's command line with the option `--config` for each task that runs a peer or is a client of one.
pub(super) fn with_config(command: Command) -> Command {
    command.mut_subcommands(|task| {
        if WITHOUT.contains(&task.get_name()) {
            task
        } else if task.has_subcommands() {
            task.mut_subcommands(|task| task.arg(option()))
        } else {
            task.arg(option())
        }
    })
}

fn option() -> Arg {
    Arg::new(CONFIG)
        .long(CONFIG)
        .env(VARIABLE)
        .value_name("FILE")
        .value_hint(ValueHint::FilePath)
        .value_parser(clap::value_parser!(PathBuf))
        .help("Take options from this TOML file, such as: port = 7001; the command line and the environment go before it")
        .long_help(
            "Take options from this TOML file. Its keys are the names of options without the hyphens in front, such as \
             port = 7001, keep = true or bootstrap = [\"host:7000\"]; those of other tasks are left to them. The command \
             line goes before the environment, and both go before the file. Names of files in it begin in the folder \
             where the file itself lies",
        )
}

/// The arguments `argv`, with those of the configuration file that they or the environment name.
///
/// # Errors
/// For people: the file cannot be read, or says what cannot be.
pub(crate) fn fill_in(command: &Command, mut argv: Vec<OsString>) -> Result<Vec<OsString>, String> {
    // To read the arguments twice takes twice the memory: not where no file can be named.
    if env::var_os(VARIABLE).is_none() && !argv.iter().any(|word| word.as_encoded_bytes().starts_with(b"--config")) {
        return Ok(argv);
    }
    // What is wrong with the arguments is told when they are read with those of the file.
    let Ok(typed) = command.clone().ignore_errors(true).try_get_matches_from(&argv) else { return Ok(argv) };
    // Only names of tasks stand before the options of a task.
    let (mut matches, mut task, mut depth) = (&typed, command, 1);
    while let Some((name, of_task)) = matches.subcommand()
        && let Some(found) = task.find_subcommand(name)
    {
        (matches, task, depth) = (of_task, found, depth + 1);
    }
    let Ok(Some(path)) = matches.try_get_one::<PathBuf>(CONFIG) else { return Ok(argv) };
    let tell = |told: &str| stderr().say(&format!("kadring: {}\n", escape(told)));
    let text = whole_file::text(whole_file::read(path, whole_file::MAX_SMALL_FILE, &tell))
        .map_err(|error| format!("cannot read the configuration file {}: {error}", path.display()))?;
    let added = File { path, text: &text }.arguments(command, task, matches)?;
    argv.splice(depth..depth, added);
    Ok(argv)
}

/// A configuration file.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    /// The arguments for `task` that the file has and that were not given.
    fn arguments(&self, program: &Command, task: &Command, given: &ArgMatches) -> Result<Vec<OsString>, String> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, error.message())
        })?;
        let mut added = Vec::new();
        // In the order of the file, so that the first mistake in it is told first.
        let mut entries: Vec<_> = table.get_ref().iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name: &str = key.get_ref();
            if let DeValue::Table(_) = value.get_ref() {
                let what = format!("[{name}] makes a table; options stand outside of any, for whatever task they are");
                return Err(self.wrong(key.span().start, &what));
            }
            match find(task, name) {
                Some(arg) => {
                    let arguments = self.of(arg, value)?;
                    if !is_given(task, arg, given) {
                        added.extend(arguments);
                    }
                }
                None if tasks(program).iter().any(|task| find(task, name).is_some()) => {}
                None => return Err(self.wrong(key.span().start, &unknown(program, name))),
            }
        }
        Ok(added)
    }

    /// The arguments that say the same as one entry of the file.
    fn of(&self, arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<OsString>, String> {
        let name = arg.get_long().unwrap_or_default();
        let many = matches!(arg.get_action(), ArgAction::Append);
        let is_path = matches!(arg.get_value_hint(), ValueHint::FilePath | ValueHint::DirPath);
        let wants = match (arg.get_action(), is_path, many) {
            (ArgAction::SetTrue, ..) => "true or false",
            (_, true, _) => "a text in quotes",
            (_, _, true) => "a text in quotes, or an array of such",
            _ => "a text in quotes, or a number",
        };
        let wrong = |value: &Spanned<DeValue<'_>>| {
            self.wrong(value.span().start, &format!("{name} is {wants}, not {}", sort_of(value.get_ref())))
        };
        let values = match (value.get_ref(), arg.get_action()) {
            (DeValue::Boolean(on), ArgAction::SetTrue) => {
                return Ok(if *on { vec![format!("--{name}").into()] } else { Vec::new() });
            }
            (_, ArgAction::SetTrue) => return Err(wrong(value)),
            (DeValue::Array(values), _) if many => values.iter().collect(),
            _ => vec![value],
        };
        let mut arguments = Vec::new();
        for value in values {
            let text = match value.get_ref() {
                DeValue::String(text) if is_path && &**text != "-" => self.beside(text),
                DeValue::String(text) => OsString::from(text.as_ref()),
                DeValue::Integer(number) if !is_path => {
                    let number = i64::from_str_radix(number.as_str(), number.radix());
                    number.map_err(|_| wrong(value))?.to_string().into()
                }
                DeValue::Float(number) if !is_path => number.as_str().into(),
                _ => return Err(wrong(value)),
            };
            check(arg, &text).map_err(|reason| self.wrong(value.span().start, &reason))?;
            arguments.push(assigned(name, &text));
        }
        Ok(arguments)
    }

    /// A path that begins where the file lies.
    fn beside(&self, path: &str) -> OsString {
        self.path.parent().unwrap_or_else(|| Path::new("")).join(path).into()
    }

    /// What is wrong at a place in the file.
    fn wrong(&self, at: usize, what: &str) -> String {
        let line = self.text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count() + 1;
        format!("{}:{line}: {what}", self.path.display())
    }
}

/// The option of a task that has this name; the file itself, help and the version are none.
fn find<'a>(task: &'a Command, name: &str) -> Option<&'a Arg> {
    task.get_arguments().find(|arg| arg.get_long() == Some(name) && name != CONFIG && arg.get_env().is_some())
}

/// Whether the command line or the environment says something of an option, or of one that excludes it.
fn is_given(task: &Command, arg: &Arg, given: &ArgMatches) -> bool {
    let says = |arg: &Arg| {
        let source = given.value_source(arg.get_id().as_str());
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    says(arg)
        || task.get_arg_conflicts_with(arg).into_iter().any(says)
        || task.get_arguments().any(|other| says(other) && excludes(task, other, arg))
}

/// Whether `other` cannot be given with `arg`.
fn excludes(task: &Command, other: &Arg, arg: &Arg) -> bool {
    task.get_arg_conflicts_with(other).iter().any(|excluded| excluded.get_id() == arg.get_id())
}

/// Every task that takes options.
fn tasks(program: &Command) -> Vec<&Command> {
    program.get_subcommands().flat_map(|task| std::iter::once(task).chain(task.get_subcommands())).collect()
}

/// What is said of a name that no task has.
fn unknown(program: &Command, name: &str) -> String {
    let known = tasks(program).into_iter().flat_map(Command::get_arguments);
    let known = known.filter(|arg| arg.get_env().is_some() && !arg.is_hide_set()).filter_map(Arg::get_long);
    let known = known.filter(|known| *known != CONFIG);
    let nearest = known
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), known), known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let nearest = nearest.map_or_else(String::new, |(_, known)| format!("; did you mean {known}?"));
    format!("there is no option {name:?}{nearest}")
}

/// Reads one argument as the task will, to tell where in the file it stands if it is wrong.
fn check(arg: &Arg, value: &OsStr) -> Result<(), String> {
    const VALUE: &str = "value";
    let mut alone =
        Arg::new(VALUE).long(VALUE).action(arg.get_action().clone()).value_parser(arg.get_value_parser().clone());
    if let Some(delimiter) = arg.get_value_delimiter() {
        alone = alone.value_delimiter(delimiter);
    }
    let read = Command::new("file").no_binary_name(true).arg(alone).try_get_matches_from([&assigned(VALUE, value)]);
    read.map(|_| ()).map_err(|error| {
        let text = error.render().to_string();
        let told = text.strip_prefix("error: ").unwrap_or(&text).split("\n\n").next().unwrap_or_default();
        let told = told.replace("'--value <value>'", arg.get_long().unwrap_or_default());
        told.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

/// The argument that gives an option this value.
fn assigned(name: &str, value: &OsStr) -> OsString {
    let mut argument = OsString::from(format!("--{name}="));
    argument.push(value);
    argument
}

fn sort_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use clap::builder::BoolishValueParser;

    use std::fs;

    use super::*;

    fn program() -> Command {
        let with_value = |name: &'static str| Arg::new(name).long(name).env("KADRING_NEVER_SET");
        let peer = Command::new("peer")
            .arg(with_value("port").value_parser(clap::value_parser!(u16)))
            .arg(with_value("data").value_hint(ValueHint::DirPath).required(true))
            .arg(with_value("bootstrap").action(ArgAction::Append).value_delimiter(','))
            .arg(with_value("keep").action(ArgAction::SetTrue).value_parser(BoolishValueParser::new()));
        let client = Command::new("client")
            .arg(with_value("force"))
            .arg(with_value("quiet").action(ArgAction::SetTrue).conflicts_with("json"));
        let client = client.arg(with_value("json").action(ArgAction::SetTrue));
        with_config(Command::new("kadring").subcommand(peer).subcommand(client))
    }

    /// The arguments after the task with those of a file that says `text`; the file's folder is called HERE.
    fn filled(text: &str, typed: &[&str]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("kadring.toml");
        fs::write(&path, text).expect("writable");
        let (path, here) = (path.display().to_string(), folder.path().display().to_string());
        let argv = ["kadring", typed[0], "--config", &path].into_iter().chain(typed[1..].iter().copied());
        let plain = |text: String| text.replace(&here, "HERE");
        let filled = fill_in(&program(), argv.map(OsString::from).collect()).map_err(plain)?;
        let texts = filled.into_iter().map(|word| plain(word.into_string().expect("text")));
        Ok(texts.skip(2).take_while(|word| word != "--config").collect())
    }

    #[test]
    fn a_file_says_what_was_not_typed() {
        let text = "port = 7001\n# a remark\nkeep = true\ndata = \"data\"\nbootstrap = [\"a:1\", \"b:2\"]\nforce = 1\n";
        let all = ["--port=7001", "--keep", "--data=HERE/data", "--bootstrap=a:1", "--bootstrap=b:2"];
        assert_eq!(filled(text, &["peer"]).unwrap(), all, "what is the client's is left to it");
        assert_eq!(
            filled(text, &["peer", "--port", "1", "--bootstrap", "c:3"]).unwrap(),
            ["--keep", "--data=HERE/data"]
        );
        assert_eq!(filled("keep = false\ndata = '/d'", &["peer"]).unwrap(), ["--data=/d"]);
        assert_eq!(filled("json = true", &["client", "--quiet"]).unwrap(), [""; 0], "what excludes it was typed");
    }

    #[test]
    fn arguments_that_name_no_file_are_not_read_for_one() {
        let never = |_: &str| -> Result<String, String> { panic!("it was read") };
        let program = with_config(
            Command::new("kadring")
                .subcommand(Command::new("peer").arg(Arg::new("data").long("data").value_parser(never))),
        );
        let argv: Vec<OsString> = ["kadring", "peer", "--data", "x"].map(OsString::from).into();
        assert_eq!(fill_in(&program, argv.clone()), Ok(argv));
    }

    #[test]
    fn a_mistake_in_a_file_is_told_with_its_line() {
        for (text, told) in [
            ("port = 1\nprot = 2", "HERE/kadring.toml:2: there is no option \"prot\"; did you mean port?"),
            ("xyzzy = 2", "HERE/kadring.toml:1: there is no option \"xyzzy\""),
            ("config = 'x'", "HERE/kadring.toml:1: there is no option \"config\""),
            ("\n\nkeep = 'yes'", "HERE/kadring.toml:3: keep is true or false, not a text"),
            ("port = true", "HERE/kadring.toml:1: port is a text in quotes, or a number, not true or false"),
            ("data = 5", "HERE/kadring.toml:1: data is a text in quotes, not a number"),
            ("bootstrap = [\n'a:1',\n5.5.5]", "HERE/kadring.toml:3: "),
            ("port = 70000", "HERE/kadring.toml:1: invalid value '70000' for port: 70000 is not in 0..=65535"),
            ("port = 1\nport = 2", "HERE/kadring.toml:2: duplicate key"),
            (
                "[peer]\nport = 1",
                "HERE/kadring.toml:1: [peer] makes a table; options stand outside of any, for whatever task they are",
            ),
            ("port =", "HERE/kadring.toml:1: "),
        ] {
            let error = filled(text, &["peer"]).unwrap_err();
            assert!(error.starts_with(told), "{text:?}: {error}");
        }
    }
}
