//! The control socket's two ends: what a client says, what it is told, and who does it.
//!
//! A client says one line of JSON ([`ClientSays`]): a command's words and the folder they were typed in. It is told
//! lines of JSON ([`ClientTold`]): how far the command is, at most ten times a second, and last the answer, rendered
//! for people and for programs. More of the client, or its end, ends the command.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use serde::{Deserialize, Serialize};

use super::beside::CommandJobs;
use super::catalogue::Catalogue;
use super::help::MOST_COLUMNS;
use super::json;
use super::perform::{Performer, Shows};
use super::reply::LineReply;
use super::spec::LineTask;
use super::{Backend, Grammar, handle_threads};
use crate::id::Key;
use crate::node::{Command, FailureKind, Notice, Progress};
use crate::path_text;
use crate::raw_text;
use crate::runtime::{Outlet, Pause, ServeClient, Session, ThreadsSeen, since_1970, stopwatch};

/// The word by which a client asks for the events.
pub const EVENTS: &str = "events";

/// Bytes of a line of the peer's that are read at most. The longest are lists of all blocks held, of some hundred bytes
/// each.
const LONGEST_TOLD: u64 = 1 << 30;

/// A client that watches and has left is noticed after this long at most.
const GONE: Duration = Duration::from_secs(1);

/// Progress is told this often at most.
const PACE: Duration = Duration::from_millis(100);

/// What a client says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClientSays {
    /// The command and its arguments.
    pub words: Vec<String>,
    /// The folder in which names of files begin.
    #[serde(with = "path_text")]
    pub folder: PathBuf,
    /// A pipe of the client's, to which a file is written that is retrieved; the place among the words is not meant
    /// then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PathBuf>,
    /// How wide the client's terminal is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<usize>,
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientTold {
    /// A command to the node begins; one line may be several.
    Begun(Command),
    /// The command has made progress.
    Progress(Progress),
    /// Something to be known before the answer, for people.
    Said(String),
    /// Something happened at the peer: a line of JSON, for a client that asked for the events.
    Event(String),
    /// The answer: the last that is told.
    Answer(Rendered),
}

/// An answer that is ready to be written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rendered {
    /// The answer as text, for people.
    pub text: String,
    /// The answer for programs: one line of JSON.
    pub json: String,
    /// The keys of the files that were stored.
    pub keys: Vec<Key>,
    /// The failures in it, for people.
    pub failures: Vec<String>,
    /// What else who reads the keys alone should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What sort of failure it is as a whole; none if it is none.
    pub kind: Option<FailureKind>,
}

impl Rendered {
    /// Renders an answer.
    pub fn new(reply: &LineReply) -> Self {
        Self {
            text: reply.to_text(),
            json: reply.to_json(),
            keys: reply.keys(),
            failures: reply.failures().iter().map(|failed| failed.to_text()).collect(),
            notes: reply.notes(),
            kind: reply.verdict(),
        }
    }

    /// Calls a file otherwise, wherever it is named.
    pub fn rename(&mut self, path: &str, name: &str) {
        for text in [&mut self.text, &mut self.json].into_iter().chain(&mut self.failures).chain(&mut self.notes) {
            *text = text.replace(path, name);
        }
    }
}

impl Backend for Session {
    fn submit(&self, command: Command) -> crossbeam_channel::Receiver<Notice> {
        Self::submit(self, command)
    }

    fn threads(&self) -> ThreadsSeen {
        handle_threads(self.handle())
    }

    fn session(&self) -> Option<Session> {
        Some(self.handle().session())
    }

    fn pause(&self, span: Duration) -> Option<crossbeam_channel::Receiver<Pause>> {
        Some(Self::pause(self, span))
    }
}

/// Does the commands of `grammar` for clients.
pub fn serving(grammar: Grammar, catalogue: Catalogue, jobs: CommandJobs) -> ServeClient {
    Arc::new(move |session, said, client| {
        let teller = Arc::new(ClientWriter(client.try_clone().ok()));
        let reply = match said.map(serde_json::from_slice::<ClientSays>) {
            Err(turned_away) => LineReply::failed(FailureKind::TimedOut, turned_away),
            Ok(Ok(asked)) if asked.words == [EVENTS] => watch(session, &teller),
            Ok(Ok(asked)) if asked.words.first().is_some_and(|word| word == EVENTS) => {
                LineReply::failed(FailureKind::Usage, "events takes no further words")
            }
            Ok(Ok(asked)) => {
                let mut line = asked.words.join(" ");
                if let Some(to) = &asked.to {
                    // As the client's user typed it.
                    line = line.replace(&*to.to_string_lossy(), "-");
                }
                let entry = jobs.enter(session, line, None);
                let performer = Performer::new(session.clone(), entry.counting(teller.clone()));
                let performer =
                    performer.with_catalogue(Some(catalogue.clone())).with_jobs(jobs.seen_by(session.number()));
                obey(&grammar, session, performer, asked)
            }
            Ok(Err(error)) => {
                let reason = format!("a client of the control socket says a line of JSON: {error}");
                LineReply::failed(FailureKind::Usage, reason)
            }
        };
        teller.tell(&ClientTold::Answer(Rendered::new(&reply)));
    })
}

/// Tells what happens at the peer until the client leaves or the peer ends.
fn watch(session: &Session, teller: &ClientWriter) -> LineReply {
    let notices = session.handle().notices();
    teller.tell(&ClientTold::Event(json::watching(&session.handle().me(), since_1970())));
    while !session.is_cancelled() {
        match notices.recv_timeout(GONE) {
            Ok(notice) => {
                if let Some(event) = json::event(&notice, since_1970()) {
                    teller.tell(&ClientTold::Event(event));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return LineReply::failed(FailureKind::Gone, "the peer has ended"),
        }
    }
    LineReply::failed(FailureKind::Cancelled, "cancelled")
}

fn obey(grammar: &Grammar, session: &Session, performer: Performer<Session>, asked: ClientSays) -> LineReply {
    let ClientSays { words, folder, to, columns } = asked;
    let usage = |reason: String| LineReply::failed(FailureKind::Usage, reason);
    match grammar.read(&words) {
        Ok(None) => usage("no command was given".to_owned()),
        Ok(Some((_, LineTask::Help(word)))) => {
            LineReply::help(grammar, word.as_deref(), columns.unwrap_or(MOST_COLUMNS))
        }
        Ok(Some((_, request))) => {
            let performer = performer.within(folder.clone());
            let mut reply = match (request, to) {
                (LineTask::Ask(Command::Retrieve { source, .. }), Some(to)) => match Outlet::open(&to, session) {
                    Ok(mut to) => performer.forgetful().stream(source, &mut to),
                    Err(error) => usage(format!("cannot write to {}: {error}", to.display())),
                },
                (request, _) => performer.perform(request),
            };
            // Files are called as the client calls them.
            let words = words.iter().map(|word| raw_text::path(word));
            words.for_each(|word| reply.rename(&folder.join(&word), &word));
            reply
        }
        Err(error) => usage(error.to_string()),
    }
}

/// Tells a client. A client that does not listen any more misses it; its thread learns of the end by itself.
struct ClientWriter(Option<UnixStream>);

impl ClientWriter {
    fn tell(&self, told: &ClientTold) {
        let Some(mut client) = self.0.as_ref() else { return };
        let line = serde_json::to_string(told).map_err(io::Error::from);
        let written = line.and_then(|line| client.write_all((line + "\n").as_bytes()));
        if let Err(error) = written {
            log::debug!("a client of the control socket does not listen: {error}");
        }
    }
}

impl Shows for ClientWriter {
    fn say(&self, text: &str) {
        self.tell(&ClientTold::Said(text.to_owned()));
    }

    fn begin<'a>(&'a self, command: &Command) -> Box<dyn FnMut(&Progress) + 'a> {
        let moves = matches!(
            command,
            Command::Store { .. }
                | Command::StoreListing { .. }
                | Command::Retrieve { .. }
                | Command::RetrieveListing { .. }
                | Command::Check { .. }
                | Command::Scrub
                | Command::Quit { .. }
        );
        if moves {
            self.tell(&ClientTold::Begun(command.clone()));
        }
        let (elapsed, mut next) = (stopwatch(), Duration::ZERO);
        Box::new(move |progress| {
            let passes = progress.is_a_step() && elapsed() < next;
            if !passes {
                self.tell(&ClientTold::Progress(progress.clone()));
                next = elapsed() + PACE;
            }
        })
    }
}

/// Says to the peer at the other end of `stream` what it is to do.
///
/// # Errors
/// It has ended, or does not read.
pub fn tell(mut stream: &UnixStream, asked: &ClientSays) -> io::Result<()> {
    stream.write_all((serde_json::to_string(asked)? + "\n").as_bytes())
}

/// Has a command done by the peer at the other end of `stream`, shows its progress, and returns its answer. Before each
/// wait for what the peer says, `meanwhile` is called.
///
/// # Errors
/// The peer has ended before it answered, or speaks another version of this program; or `meanwhile` gave up.
pub fn ask(
    stream: &UnixStream,
    asked: &ClientSays,
    shows: &dyn Shows,
    meanwhile: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<Rendered> {
    // A client that is turned away is told so before it has said a word.
    tell(stream, asked).or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })?;
    let mut lines = BufReader::new(stream);
    let mut show: Box<dyn FnMut(&Progress)> = Box::new(|_| {});
    loop {
        let mut line = String::new();
        if lines.buffer().is_empty() {
            meanwhile()?;
        }
        if (&mut lines).take(LONGEST_TOLD).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match serde_json::from_str(&line)? {
            // The bar of the command before goes first.
            ClientTold::Begun(command) => {
                drop(show);
                show = shows.begin(&command);
            }
            ClientTold::Progress(progress) => show(&progress),
            ClientTold::Said(text) => shows.say(&text),
            ClientTold::Event(json) => shows.event(&json),
            ClientTold::Answer(rendered) => return Ok(rendered),
        }
    }
}
