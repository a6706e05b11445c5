//! The program: reads the command line, runs its task, and returns the task's exit code.

mod args;
mod commands;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, FromArgMatches};
use kadring::console::commands::COMMANDS;
use kadring::console::json::PAGE;
use kadring::console::{Format, LineReply, Output, Stderr, escape};
use kadring::node::FailureKind;
use kadring::runtime::raise_descriptor_limit;

use args::{Cli, TopCommand, command_line, config_file};
use commands::standard::{exit_once_said, say};
use commands::{Exit, client, ctl, demo, files, keygen, leases, peer, report, ring, say_error, signals, sim, stderr};

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    commands::arenas::bound();
    // A file that may not grow further is an error of the write, as a full disk is, and must not end the process.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    commands::have_panics_said();
    raise_descriptor_limit();
    let _last_words = LastWords;
    // The panic's message has been written already.
    let ended = catch_unwind(|| run(read_command_line().task)).unwrap_or(Ok(Exit::Other));
    let exit = ended.unwrap_or_else(|error| say_error(&error));
    if exit != Exit::Done {
        drop(LastWords);
        signals::end_by_signal();
    }
    ExitCode::from(exit as u8)
}

/// Flushes standard error when dropped: however the program ends, the lines that wait are written first, if they are
/// read.
struct LastWords;

impl Drop for LastWords {
    fn drop(&mut self) {
        if let Some(stderr) = Stderr::started() {
            let _ = stderr.flush();
        }
    }
}

/// The command line, the environment and the configuration file. A variable that is set but empty counts as not set.
fn read_command_line() -> Cli {
    fn is_empty(arg: &Arg) -> bool {
        arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty())
    }
    fn overlook_empty(command: clap::Command) -> clap::Command {
        let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg });
        command.mut_subcommands(overlook_empty)
    }
    let (mut command, arguments): (_, Vec<OsString>) = (overlook_empty(command_line()), std::env::args_os().collect());
    let for_programs = wants_json(&arguments);
    let arguments = config_file::fill_in(&command, arguments).unwrap_or_else(|reason| {
        if for_programs {
            tell_usage(reason);
        }
        stderr().say(&format!("kadring: {}\n", escape(&reason)));
        drop(LastWords);
        std::process::exit(Exit::Usage as i32);
    });
    let matches = command.try_get_matches_from_mut(&arguments);
    matches.and_then(|matches| Cli::from_arg_matches(&matches)).unwrap_or_else(|mut error| {
        say_whom_to_ask(&mut error, arguments.get(1).map(OsString::as_os_str));
        say_how_to_give_it(&mut error, &command, &arguments);
        if error.use_stderr() && for_programs {
            let text = error.render().to_string();
            let lines = text.trim_start_matches("error: ").lines().map(str::trim).take_while(|line| !line.is_empty());
            tell_usage(lines.collect::<Vec<_>>().join(" "));
        }
        if !error.use_stderr() {
            end_once_said(error.print());
        }
        // A terminal shows colours, so clap writes to it directly.
        if error.use_stderr() && !io::stderr().is_terminal() {
            stderr().say(&error.render().to_string());
            drop(LastWords);
            std::process::exit(error.exit_code());
        }
        error.exit()
    })
}

/// Of a word that a peer understands at its console, and this program does not, says how to give it to a peer that
/// runs.
fn say_whom_to_ask(error: &mut clap::Error, first: Option<&OsStr>) {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && first.is_some_and(|first| first == word.as_str())
        && COMMANDS.iter().any(|spec| spec.name == word)
    {
        let tip = format!("a peer that runs is asked by 'kadring ctl --data DIR {word}'");
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
}

/// Of a word with a hyphen that stands where the value of an option should, says how to give it as that.
fn say_how_to_give_it(error: &mut clap::Error, command: &clap::Command, arguments: &[OsString]) {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return };
    let before = arguments.windows(2).find(|pair| pair[1] == word.as_str()).and_then(|pair| pair[0].to_str());
    let Some(option) = before.and_then(|before| before.strip_prefix("--")) else { return };
    let task = arguments.get(1).and_then(|task| command.find_subcommand(task));
    let takes_value = |arg: &Arg| arg.get_long() == Some(option) && arg.get_action().takes_values();
    if task.is_some_and(|task| task.get_arguments().any(takes_value)) {
        let tip = format!("as the value of '--{option}' it is given by '--{option}={word}'");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
}

/// Ends once the help or the version was written to standard output.
fn end_once_said(said: io::Result<()>) -> ! {
    let exit = exit_once_said(said.and_then(|()| io::stdout().flush())).unwrap_or_else(|error| {
        stderr().say(&format!("kadring: {error:#}\n"));
        Exit::Other
    });
    drop(LastWords);
    signals::end_by_signal();
    std::process::exit(exit as i32)
}

/// Whether a program reads what this one prints, as far as that can be told before the command line was understood.
fn wants_json(arguments: &[OsString]) -> bool {
    let yes = |word: String| ["y", "yes", "t", "true", "on", "1"].contains(&&*word.to_lowercase());
    arguments.iter().take_while(|word| *word != "--").any(|word| word == "--json")
        || std::env::var("KADRING_JSON").is_ok_and(yes)
}

/// Answers a command line that is wrong, and ends.
fn tell_usage(reason: String) -> ! {
    Output::new(Format::Json, io::stdout()).reply(&LineReply::failed(FailureKind::Usage, reason));
    std::process::exit(Exit::Usage as i32)
}

fn run(task: TopCommand) -> anyhow::Result<Exit> {
    match task {
        TopCommand::Peer(args) => peer::run(args),
        TopCommand::Ring(args) => ring::run(args),
        TopCommand::Report(args) => report::run(&args),
        TopCommand::Store(args) => client::store(args),
        TopCommand::Retrieve(args) => client::retrieve(args),
        TopCommand::Ls(args) => client::ls(args),
        TopCommand::Cat(args) => client::cat(args),
        TopCommand::Import(args) => client::import(args),
        TopCommand::Lookup(args) => client::lookup(args),
        TopCommand::Check(args) => client::check(args),
        TopCommand::Renew(args) => leases::renew(args),
        TopCommand::Delete(args) => leases::delete(args),
        TopCommand::Copies(args) => leases::copies(args),
        TopCommand::Ping(args) => client::ping(args),
        TopCommand::Files(args) => Ok(files::files(args)),
        TopCommand::Name(args) => Ok(files::name(args)),
        TopCommand::Forget(args) => Ok(files::forget(args)),
        TopCommand::Keygen(args) => keygen::run(&args),
        TopCommand::Ctl(args) => ctl::run(args),
        TopCommand::Sim(args) => sim::sim(&args),
        TopCommand::Repro(args) => sim::repro(&args),
        TopCommand::Replay(args) => sim::replay(&args),
        TopCommand::Trace(args) => sim::trace(&args),
        TopCommand::Demo { what } => demo::run(what),
        TopCommand::Man { dir: Some(dir) } => {
            std::fs::create_dir_all(&dir)
                .and_then(|()| clap_mangen::generate_to(command_line(), &dir))
                .with_context(|| format!("cannot write manual pages into {}", dir.display()))?;
            Ok(Exit::Done)
        }
        TopCommand::Man { dir: None } => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command_line()).render(&mut page)?;
            say(&page)
        }
        TopCommand::Json => say(PAGE.as_bytes()),
        TopCommand::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line(), "kadring", &mut script);
            say(&script)
        }
    }
}
