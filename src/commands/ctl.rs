//! Talking to a running peer through the control socket in its data folder.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use kadring::console::control::{ClientSays, EVENTS, Rendered, ask};
use kadring::console::help::columns;
use kadring::console::perform::Shows;
use kadring::console::watching;
use kadring::console::{Defaults, Format, Grammar, Output, Screen};
use kadring::node::{Command, FailureKind, Progress};
use kadring::raw_text::own_stream;
use kadring::runtime::{Spooled, connect};

use super::client::{confirm, tell_trouble};
use super::piped;
use super::signals::{NextSignal, SaysSignals, end_as_by_sigpipe, end_by_signal};
use super::standard::{OutputPipe, STANDARD, beside, exit_once_written, say, spool, without_streams};
use super::waiting::{PeerWait, is_unread};
use super::{Exit, Failed, log_to, stderr};
use crate::args::CtlArgs;

/// How an answer is written.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) format: Format,
    /// The keys of what was stored alone.
    pub(super) quiet: bool,
}

/// `kadring ctl`.
pub(crate) fn run(args: CtlArgs) -> anyhow::Result<Exit> {
    let screen = Screen::stderr();
    log_to(&screen, "warn");
    let form = Form { format: args.format.format(), quiet: args.quiet };
    let data = &args.data;
    if args.words.is_empty() {
        return piped::perform_lines(data, form, &screen)
            .or_else(|error| tell_trouble(error, form.format, io::stdout()));
    }
    perform_words(args.words, form, |words, form| match &words[..] {
        [threads, watch] if threads == "threads" && watch == "--watch" => watch_threads(data, form, &screen),
        _ => {
            let signal = NextSignal::asks()?;
            perform(&reach(data)?, data, words, form, (&screen, &signal))
        }
    })
}

/// Has the words of a command done by `perform`, which gets how its answer is written.
pub(super) fn perform_words(
    words: Vec<String>,
    mut form: Form,
    perform: impl FnOnce(Vec<String>, Form) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let words = take_form(words, &mut form);
    if form.quiet && form.format == Format::Json {
        let reason = "the keys alone (--quiet) are no JSON (--json): give one of the two";
        return tell_trouble(Failed::usage(reason).into(), form.format, io::stdout());
    }
    // Only a store has keys that could stand alone.
    form.quiet &= name_of(&words) == Some("store");
    let brings_file = brings_here(&words);
    perform(words, form).or_else(|error| tell_trouble(error, form.format, beside(brings_file)))
}

/// Whether standard output is to have the bytes of a file.
fn brings_here(words: &[String]) -> bool {
    match name_of(words) {
        Some("cat") => true,
        Some("retrieve") => words.last().is_some_and(|word| is_stream(word, "1")),
        _ => false,
    }
}

/// Whether a word is this process's standard input (0) or output (1).
pub(super) fn is_stream(word: &str, number: &str) -> bool {
    word == STANDARD || own_stream(word) == Some(number)
}

/// The command that the words begin with.
pub(super) fn name_of(words: &[String]) -> Option<&'static str> {
    Grammar::new(Defaults::default()).find(words.first()?).ok().map(|spec| spec.name)
}

/// Connects to the peer that runs with this data folder.
pub(super) fn reach(data: &Path) -> anyhow::Result<UnixStream> {
    connect(data).map_err(|error| nobody(data, &error).into())
}

/// The error where no peer can be talked to.
pub(super) fn nobody(data: &Path, error: &io::Error) -> Failed {
    let folder = data.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Failed::timed_out(format!("no peer runs with the data folder {folder}"))
        }
        io::ErrorKind::WouldBlock => {
            Failed::timed_out(format!("the peer of the data folder {folder} takes no client: it is stopped or stuck"))
        }
        _ => Failed::start(format!("cannot talk to the peer of the data folder {folder}: {error}")),
    }
}

/// The options of this program may stand among the words of the command too.
fn take_form(words: Vec<String>, form: &mut Form) -> Vec<String> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let mut kept = Vec::new();
    for (at, word) in words.into_iter().enumerate() {
        match word.as_str() {
            "--json" if at < end => form.format = Format::Json,
            "-q" | "--quiet" if at < end => form.quiet = true,
            _ => kept.push(word),
        }
    }
    kept
}

/// Has the command `words` done by the peer, and writes its answer. `-` is this process's standard input or output.
/// Where a file stands at the destination and the person at the terminal agrees that it be replaced, the peer is told
/// so by another connection. A signal ends this process until the peer is asked; from then on it asks the peer to end.
pub(super) fn perform(
    peer: &UnixStream,
    data: &Path,
    words: Vec<String>,
    form: Form,
    (screen, signal): (&Arc<Screen>, &NextSignal),
) -> anyhow::Result<Exit> {
    let folder = env::current_dir().context("cannot tell the working folder")?;
    let is_standard = |word: &String| word == STANDARD;
    let (name, mut sent, form) = for_peer(words, form)?;
    let spooled = match name {
        Some("store") if sent.iter().any(is_standard) => Some(signal.ends_while(|| spool(screen))?),
        _ => None,
    };
    let lent = spooled.as_ref().map(Spooled::path);
    if let Some(lent) = &lent {
        sent.iter_mut().filter(|word| is_standard(word)).for_each(|word| *word = lent.display().to_string());
    }
    let mut passage = match name {
        Some("retrieve") if sent.last().is_some_and(is_standard) => Some(OutputPipe::new()?),
        _ => None,
    };
    // There `-` would be the peer's own.
    if let (Some(passage), Some(last)) = (&passage, sent.last_mut()) {
        *last = passage.path().display().to_string();
    }
    let _says = signal.ends_while(|| SaysSignals::at(peer))?;
    // A bar and the file would write over each other.
    let shows_file = passage.is_some() && io::stdout().is_terminal();
    let screen = if shows_file { Screen::plain() } else { Arc::clone(screen) };
    let mut asked =
        ClientSays { words: sent, folder, to: passage.as_ref().map(OutputPipe::path), columns: Some(columns()) };
    // What comes of it is written as it comes, and is of no use once its reader has gone.
    let streams = passage.is_some() || asked.words.first().is_some_and(|word| word == EVENTS);
    let mut pass_on = || match &mut passage {
        Some(passage) => passage.pass_on(peer, PeerWait::with(data)),
        None if streams => PeerWait::with(data).wait_while_read(peer),
        None => PeerWait::with(data).wait_for(peer),
    };
    let rendered = ask(peer, &asked, &OnScreen(&screen), &mut pass_on);
    if streams && is_unread() {
        return Ok(end_as_by_sigpipe());
    }
    let mut rendered = rendered.map_err(silent)?;
    if name == Some("retrieve") && may_replace(&rendered, form) {
        asked.words.insert(1, "--force".to_owned());
        let peer = reach(data)?;
        let _says = SaysSignals::at(&peer)?;
        rendered = wait_for_answer(&peer, data, &asked, &screen)?;
    }
    if let Some(lent) = &lent {
        rendered.rename(&lent.display().to_string(), STANDARD);
    }
    let Some(passage) = passage else { return Ok(tell(&rendered, form, io::stdout())) };
    if !passage.finish().context("cannot write to standard output")? {
        return Ok(end_as_by_sigpipe());
    }
    // Standard output is for the file, so the answer goes elsewhere.
    Ok(tell(&rendered, form, stderr()))
}

/// Has the peer do it, and waits for its answer.
fn wait_for_answer(peer: &UnixStream, data: &Path, asked: &ClientSays, screen: &Screen) -> Result<Rendered, Failed> {
    ask(peer, asked, &OnScreen(screen), &mut || PeerWait::with(data).wait_for(peer)).map_err(silent)
}

fn silent(error: io::Error) -> Failed {
    Failed::timed_out(match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "the peer ended before it answered".to_owned(),
        _ => format!("the peer did not answer: {error}"),
    })
}

/// Whether nothing was done but that another file stands at the destination, and the person at the terminal agrees that
/// it be replaced.
fn may_replace(answer: &Rendered, form: Form) -> bool {
    let refusal = answer.failures.first().filter(|_| answer.kind == Some(FailureKind::Exists));
    let reason = refusal.map(|refusal| refusal.strip_prefix("error: ").unwrap_or(refusal));
    reason.is_some_and(|reason| form.format == Format::Text && confirm(reason))
}

/// Shows what the peer's threads are at, again and again, until Enter on a terminal, a signal or the peer's end.
fn watch_threads(data: &Path, form: Form, screen: &Screen) -> anyhow::Result<Exit> {
    let is_typed = io::stdin().is_terminal();
    loop {
        let asked =
            ClientSays { words: vec!["threads".to_owned()], folder: env::current_dir()?, to: None, columns: None };
        let seen = wait_for_answer(&reach(data)?, data, &asked, screen)?;
        watching::clear(|text| print!("{text}"));
        let exit = tell(&seen, form, io::stdout());
        if exit != Exit::Done || is_typed && watching::is_typed_within(watching::PERIOD) {
            return Ok(exit);
        }
        if !is_typed {
            thread::park_timeout(watching::PERIOD);
        }
    }
}

/// The words of a command as the peer is to have them, with its name and how its answer is written.
fn for_peer(words: Vec<String>, form: Form) -> Result<(Option<&'static str>, Vec<String>, Form), Failed> {
    if words.len() > 1 && words.last().is_some_and(|word| word == "&") {
        let reason = "a command is done beside others where it is typed at the peer; here leave & to your shell";
        return Err(Failed::usage(reason));
    }
    let (name, words, form) = match name_of(&words) {
        // Standard output takes any bytes, so all of the file goes there.
        Some("cat") => (Some("retrieve"), retrieve_to_standard(words), Form { quiet: true, ..form }),
        name => (name, words, form),
    };
    Ok((name, without_streams(name, words)?, form))
}

/// What `cat` is, said as a `retrieve`.
fn retrieve_to_standard(words: Vec<String>) -> Vec<String> {
    if words.len() == 1 {
        return words;
    }
    let operands = words.into_iter().skip(1).filter(|word| word != "--");
    ["retrieve", "--"].map(str::to_owned).into_iter().chain(operands).chain([STANDARD.to_owned()]).collect()
}

/// Shows progress on the screen; events are lines of standard output.
struct OnScreen<'a>(&'a Screen);

impl Shows for OnScreen<'_> {
    fn begin<'a>(&'a self, command: &Command) -> Box<dyn FnMut(&Progress) + 'a> {
        self.0.begin(command)
    }

    fn say(&self, text: &str) {
        self.0.say(text);
    }

    fn event(&self, json: &str) {
        // Where no reader gets it, this process ends, and with it the connection.
        let exit = say(format!("{json}\n").as_bytes()).unwrap_or_else(|error| {
            log::error!("{error:#}");
            Exit::Other
        });
        if exit != Exit::Done {
            log::logger().flush();
            end_by_signal();
            std::process::exit(exit as i32);
        }
    }
}

/// Writes an answer; as text, a failure goes to standard error.
fn tell(answer: &Rendered, form: Form, out: impl Write + Send + 'static) -> Exit {
    let failed = !answer.failures.is_empty();
    let mut output = match form.format {
        Format::Text if failed && !form.quiet && answer.keys.is_empty() => Output::of_client(form.format, stderr()),
        _ => Output::of_client(form.format, out),
    };
    match (form.format, form.quiet) {
        (Format::Json, _) => output.line(&answer.json),
        (Format::Text, false) => output.line(&answer.text),
        (Format::Text, true) => {
            output.line(&answer.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
            let told: Vec<&str> = answer.failures.iter().chain(&answer.notes).map(String::as_str).collect();
            Output::new(form.format, stderr()).line(&told.join("\n"));
        }
    }
    answer.kind.map_or_else(|| exit_once_written(&output), |kind: FailureKind| kind.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_program_may_stand_among_the_words_but_not_behind_two_hyphens() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut form = Form { format: Format::Text, quiet: false };
        assert_eq!(take_form(words("store -q a -- --json"), &mut form), words("store a -- --json"));
        assert!(form.quiet && form.format == Format::Text);
        assert_eq!(take_form(words("status --json"), &mut form), ["status"]);
        assert_eq!(form.format, Format::Json);
    }
}
