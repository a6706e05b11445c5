//! Commands that run beside others: those that are typed with `&` at a console, and those of clients of the control
//! socket.
//!
//! Each has a number, which its thread `command-N` and its answer bear too. [`CommandJobs`] knows all of a peer, so
//! `jobs` lists them and `cancel` ends one, at whichever console or shell that is asked.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Serialize;

use super::answers::Answers;
use super::escape::escape;
use super::perform::{Performer, Shows};
use super::reply::{ConsoleAnswer, LineReply};
use super::spec::LineTask;
use super::{Backend, Grammar};
use crate::locks::{self, Ranked};
use crate::node::{Command, FailureKind, Progress};
use crate::runtime::{MAX_COMMANDS, Session, bytes_to_move, stopwatch};

/// The commands that run beside others at a peer. Clones know the same ones.
#[derive(Clone)]
pub struct CommandJobs {
    all: Arc<Ranked<BTreeMap<u64, CommandJob>>>,
    /// The command that looks at them: it is not shown to itself.
    own: Option<u64>,
}

/// A command that runs.
struct CommandJob {
    line: String,
    elapsed: Box<dyn Fn() -> Duration + Send>,
    far: Arc<CommandProgress>,
    session: Session,
    /// Disconnected once it has ended; none of a command that is no work, such as one that waits for others.
    ended: Option<Receiver<()>>,
}

/// How far a command is: numbers that stand alone (`Relaxed`).
#[derive(Default)]
struct CommandProgress {
    done: AtomicU64,
    of: AtomicU64,
}

/// A command that runs, for people and programs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JobInfo {
    /// The command's number.
    pub job: u64,
    /// What was asked for.
    pub line: String,
    /// How long it has run.
    pub took: Duration,
    /// Bytes, or blocks of a peer that leaves, that are done.
    pub done: u64,
    /// Of how many; 0 while that is not known.
    pub of: u64,
}

/// A command's place in the list, for as long as it runs.
pub(super) struct JobEntry {
    jobs: CommandJobs,
    number: u64,
    far: Arc<CommandProgress>,
}

impl Default for CommandJobs {
    fn default() -> Self {
        Self { all: Arc::new(Ranked::new(&locks::BESIDE, BTreeMap::new())), own: None }
    }
}

impl CommandJobs {
    /// The same, as the command of this number sees them.
    #[must_use]
    pub(super) fn seen_by(&self, own: u64) -> Self {
        Self { own: Some(own), ..self.clone() }
    }

    /// Enters a command that `session` runs. Where `ended` is given, it is disconnected once the command has ended, and
    /// that is [waited for](Self::work) by who waits until nothing is done.
    pub(super) fn enter(&self, session: &Session, line: String, ended: Option<Receiver<()>>) -> JobEntry {
        let (far, elapsed) = (Arc::<CommandProgress>::default(), Box::new(stopwatch()));
        let job = CommandJob { line, elapsed, far: Arc::clone(&far), session: session.clone(), ended };
        self.all.lock().insert(session.number(), job);
        JobEntry { jobs: self.clone(), number: session.number(), far }
    }

    fn is_full(&self) -> bool {
        self.all.lock().len() >= MAX_COMMANDS
    }

    /// The work that runs beside the lines of consoles: its numbers, and what is disconnected at its end.
    pub(super) fn work(&self) -> Vec<(u64, Receiver<()>)> {
        self.all.lock().iter().filter_map(|(&job, CommandJob { ended, .. })| Some((job, ended.clone()?))).collect()
    }

    /// The commands that run beside others, as an answer.
    pub(super) fn list(&self) -> LineReply {
        let of = |(&job, CommandJob { line, elapsed, far, .. }): (&u64, &CommandJob)| {
            let (done, of) = (far.done.load(Ordering::Relaxed), far.of.load(Ordering::Relaxed));
            JobInfo { job, line: line.clone(), took: elapsed(), done, of }
        };
        let all = self.all.lock();
        LineReply::Console(ConsoleAnswer::Jobs {
            jobs: all.iter().filter(|(job, _)| self.own != Some(**job)).map(of).collect(),
        })
    }

    /// Ends a command; it has its own answer.
    pub(super) fn cancel(&self, job: u64) -> LineReply {
        let session = self.all.lock().get(&job).map(|job| job.session.clone());
        match session {
            Some(session) => {
                session.cancel();
                LineReply::Console(ConsoleAnswer::Cancelling { job })
            }
            None => LineReply::failed(
                FailureKind::NotFound,
                format!("there is no command {job}; jobs lists those that run"),
            ),
        }
    }
}

impl JobEntry {
    /// Shows progress where `shows` does, and keeps it for the list.
    pub(super) fn counting(&self, shows: Arc<dyn Shows>) -> Arc<dyn Shows> {
        Arc::new(Counting { far: Arc::clone(&self.far), shows })
    }
}

impl Drop for JobEntry {
    fn drop(&mut self) {
        let gone = self.jobs.all.lock().remove(&self.number);
        // The lock is free again.
        drop(gone);
    }
}

struct Counting {
    far: Arc<CommandProgress>,
    shows: Arc<dyn Shows>,
}

impl Shows for Counting {
    fn say(&self, text: &str) {
        self.shows.say(text);
    }

    fn begin<'a>(&'a self, command: &Command) -> Box<dyn FnMut(&Progress) + 'a> {
        let mut show = self.shows.begin(command);
        let set = |number: &AtomicU64, to: u64| number.store(to, Ordering::Relaxed);
        // One line may be several commands to the node.
        set(&self.far.done, 0);
        set(&self.far.of, bytes_to_move(command));
        Box::new(move |progress| {
            match progress {
                Progress::Begun { bytes } => set(&self.far.of, *bytes),
                Progress::Moved { bytes, .. } => set(&self.far.done, *bytes),
                Progress::HandedOver { blocks, of } => {
                    set(&self.far.done, *blocks);
                    set(&self.far.of, *of);
                }
                Progress::Kept { .. } | Progress::Retried { .. } => {}
            }
            show(progress);
        })
    }
}

/// Shows nothing: a command that runs beside others has no bar. What its user should know stands in the log.
pub(super) struct NoProgress;

impl Shows for NoProgress {
    fn say(&self, text: &str) {
        log::warn!("{text}");
    }

    fn begin<'a>(&'a self, _: &Command) -> Box<dyn FnMut(&Progress) + 'a> {
        Box::new(|_| {})
    }
}

/// The commands that a console began to run beside its lines.
pub(super) struct BackgroundCommands {
    /// Each of them holds one.
    runs: Sender<()>,
    ended: Receiver<()>,
}

impl Default for BackgroundCommands {
    fn default() -> Self {
        // Nothing is ever sent: when the last of `runs` has gone, `ended` tells.
        let (runs, ended) = bounded(0);
        Self { runs, ended }
    }
}

impl BackgroundCommands {
    /// Begins to run the command `line`, and answers that it does: its own answer follows when it has ended.
    pub(super) fn begin<B: Backend>(&self, line: &str, grammar: &Grammar, performer: &Performer<B>, answers: &Answers) {
        let request = match grammar.parse(line) {
            Ok(Some((
                _,
                LineTask::Help(_) | LineTask::Jobs | LineTask::Cancel(_) | LineTask::Ask(Command::Quit { .. }),
            ))) => Err("this command does not run beside others; leave out the &".to_owned()),
            Ok(Some((_, request))) => Ok(request),
            Ok(None) => Err("there is no command before the &; in a file's name, quote it: 'a&b'".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let begun = request.map_err(|reason| (FailureKind::Usage, reason)).and_then(|request| {
            // Nothing is ever sent: that `go` is dropped is the sign.
            let (go, gone) = bounded::<()>(0);
            let number =
                self.start(line, request, performer, answers, gone).map_err(|why| (FailureKind::Other, why))?;
            Ok((number, go))
        });
        match begun {
            Ok((job, go)) => {
                answers.answer(None, &LineReply::Console(ConsoleAnswer::Begun { job, line: line.trim().to_owned() }));
                // From here on its own answer may follow.
                drop(go);
            }
            Err((kind, reason)) => answers.answer(None, &LineReply::failed(kind, reason)),
        }
    }

    /// Starts its thread; the number of it.
    fn start<B: Backend>(
        &self,
        line: &str,
        request: LineTask,
        performer: &Performer<B>,
        answers: &Answers,
        gone: Receiver<()>,
    ) -> Result<u64, String> {
        let refused = || "this console runs nothing beside its lines".to_owned();
        let (Some(session), Some(jobs)) = (performer.session(), performer.jobs()) else { return Err(refused()) };
        if jobs.is_full() {
            return Err(format!("{MAX_COMMANDS} commands run already; jobs lists them, and cancel ends one"));
        }
        // Nothing is ever sent: when `work` has gone, `ended` tells.
        let (work, ended) = bounded::<()>(0);
        let is_work = !matches!(request, LineTask::Ask(Command::Wait { .. }));
        let entry = jobs.enter(&session, line.trim().to_owned(), is_work.then_some(ended));
        let performer = performer.of_session(session.clone(), entry.counting(Arc::new(NoProgress)));
        let (runs, answers, number) = (self.runs.clone(), answers.clone(), session.number());
        let started = session.spawn(move || {
            let (_runs, entry) = (runs, entry);
            let _ = gone.recv();
            let reply = performer.perform(request);
            drop(entry);
            drop(work);
            answers.answer(Some(number), &reply);
        });
        started.map(|()| number).map_err(|error| format!("the system has no thread for it: {error}"))
    }

    /// Waits until all of them have ended and are answered; at most for `limit`, if there is one.
    pub(super) fn wait(&mut self, limit: Option<Duration>) {
        let Self { runs, ended } = std::mem::take(self);
        drop(runs);
        // No thread sends anything: what comes is the end.
        let _ = match limit {
            Some(limit) => ended.recv_timeout(limit).map_err(drop),
            None => ended.recv().map_err(drop),
        };
    }
}

/// The command in a line that ends with an `&` which is neither quoted nor escaped.
pub(super) fn without_ampersand(line: &str) -> Option<&str> {
    let (mut quote, mut escaped, mut found) = (None, false, None);
    for (at, c) in line.char_indices() {
        match (escaped, quote, c) {
            (true, ..) => escaped = false,
            (_, None | Some('"'), '\\') => escaped = true,
            (_, None, '\'' | '"') => quote = Some(c),
            (_, Some(open), c) if c == open => quote = None,
            (_, None, '&') => {
                found = Some(at);
                continue;
            }
            (_, None, c) if c.is_whitespace() => continue,
            _ => {}
        }
        found = None;
    }
    found.map(|at| &line[..at])
}

/// The list for people.
pub(super) fn text(jobs: &[JobInfo], time: impl Fn(Duration) -> String) -> String {
    let mut text = String::new();
    for JobInfo { job, line, took, done, of } in jobs {
        let _ = write!(text, "[{job}] {}: {}", escape(line), time(*took));
        if *of > 0 {
            let [done, of] = [*done, *of].map(|bytes| ByteSize(bytes).display().iec().to_string());
            let _ = write!(text, ", {done} of {of}");
        }
        text.push('\n');
    }
    if jobs.is_empty() { "nothing runs beside this".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ampersand_at_the_end_counts_unless_it_is_quoted_or_escaped() {
        for (line, command) in [
            ("store a &", Some("store a ")),
            ("store a&  ", Some("store a")),
            ("store 'a b' & ", Some("store 'a b' ")),
            ("&", Some("")),
            ("store a", None),
            ("store a\\&", None),
            ("store 'a &'", None),
            ("store \"a &\"", None),
            ("store \"a\\\" &\"", None),
            ("store a & b", None),
            ("", None),
        ] {
            assert_eq!(without_ampersand(line), command, "{line:?}");
        }
    }
}
