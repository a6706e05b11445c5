//! Performs what a line asks for.

use std::fs::{self, File};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select};

use super::begun::EntryLine;
use super::beside::CommandJobs;
use super::catalogue::Catalogue;
use super::escape::escape;
use super::finding;
use super::folder::{trouble, work_folder};
use super::part::PartFile;
use super::pausing;
use super::picture;
use super::progress::TransferBar;
use super::reply::{ConsoleAnswer, LineReply, Named, TestResult, Tested};
use super::spec::LineTask;
use super::stderr::Stderr;
use super::terms::Terms;
use super::{Backend, Screen};
use crate::gauges::{self, Activity};
use crate::id::{Id, Key};
use crate::lease::Lease;
use crate::node::{Answer, Command, Failure, FailureKind, Notice, Progress, Source};
use crate::runtime::{Role, Session, canonical, fault};
use crate::store::hash_all;

/// Where the progress of commands is shown.
pub trait Shows: Send + Sync {
    /// A command begins: what takes its progress, until it is dropped.
    fn begin<'a>(&'a self, command: &Command) -> Box<dyn FnMut(&Progress) + 'a>;

    /// Something that a person should know before the answer.
    fn say(&self, _text: &str) {}

    /// Something happened at the peer: a line of JSON.
    fn event(&self, _json: &str) {}
}

impl Shows for Screen {
    fn begin<'a>(&'a self, command: &Command) -> Box<dyn FnMut(&Progress) + 'a> {
        let mut bar = TransferBar::new(self, command);
        Box::new(move |progress| bar.show(progress))
    }

    fn say(&self, text: &str) {
        if let Some(stderr) = Stderr::started() {
            stderr.say(&format!("{text}\n"));
        }
    }
}

/// Performs requests with the help of a node.
pub struct Performer<B> {
    pub(super) backend: B,
    pub(super) shows: Arc<dyn Shows>,
    /// Where names of files begin; without one, where this process stands.
    pub(super) folder: PathBuf,
    pub(super) catalogue: Option<Catalogue>,
    /// Whether the folder of retrieved files is deleted afterwards, so that a failed retrieve cannot be resumed.
    forgets: bool,
    /// The commands that run beside others.
    jobs: Option<CommandJobs>,
}

impl<B: Backend> Performer<B> {
    /// Asks `backend`; progress is shown where `shows` leads.
    pub fn new(backend: B, shows: Arc<dyn Shows>) -> Self {
        Self { backend, shows, folder: PathBuf::new(), catalogue: None, forgets: false, jobs: None }
    }

    /// The same; what is stored is remembered in the catalogue, and what it names is found.
    #[must_use]
    pub fn with_catalogue(self, catalogue: Option<Catalogue>) -> Self {
        Self { catalogue, ..self }
    }

    /// The same; it knows the commands that run beside others.
    #[must_use]
    pub fn with_jobs(self, jobs: CommandJobs) -> Self {
        Self { jobs: Some(jobs), ..self }
    }

    /// Does the same by the commands of `session`, and shows progress elsewhere.
    pub(super) fn of_session(&self, session: Session, shows: Arc<dyn Shows>) -> Performer<Session> {
        let (folder, catalogue, jobs) = (self.folder.clone(), self.catalogue.clone(), self.jobs.clone());
        Performer { backend: session, shows, folder, catalogue, forgets: self.forgets, jobs }
    }

    pub(super) fn jobs(&self) -> Option<&CommandJobs> {
        self.jobs.as_ref()
    }

    /// Commands that can be ended together, where the node has such.
    pub(super) fn session(&self) -> Option<Session> {
        self.backend.session()
    }

    /// The same, for a client whose working folder is `folder`.
    #[must_use]
    pub fn within(self, folder: PathBuf) -> Self {
        Self { folder, ..self }
    }

    /// The same, for files that are retrieved into a folder that is deleted afterwards.
    #[must_use]
    pub fn forgetful(self) -> Self {
        Self { forgets: true, ..self }
    }

    /// [`perform`](Self::perform); if another file stands at the destination and `confirm` agrees, performs it again
    /// with leave to replace that file. `confirm` gets the reason of the refusal.
    pub fn perform_or_ask(&self, request: LineTask, confirm: &mut dyn FnMut(&str) -> bool) -> LineReply {
        let again = request.replacing();
        let reply = self.perform(request);
        let refused = reply.failure().filter(|failure| failure.kind == FailureKind::Exists);
        match (again, refused) {
            (Some(again), Some(refused)) if confirm(&refused.reason) => self.perform(again),
            _ => reply,
        }
    }

    /// Performs a request and waits until it is done. `Help` needs the grammar, so it is refused here.
    pub fn perform(&self, request: LineTask) -> LineReply {
        if let LineTask::Ask(Command::Retrieve { source, dest, replace }) = request {
            // A folder cannot go to where files go that are handed on.
            return self.retrieve(source, &dest, replace, !self.forgets);
        }
        let resolved = finding::resolve(self.catalogue.as_ref(), &self.folder, request);
        let request = match resolved {
            Ok(request) => request.within(&self.folder),
            Err(Failure { kind, reason }) => return LineReply::failed(kind, reason),
        };
        match request {
            LineTask::Ask(command) => {
                self.prepared(command).map_or_else(LineReply::from, |command| self.reply(command, None))
            }
            LineTask::All(commands) => self.all(commands, |command| self.reply(command, None)),
            LineTask::Store(store) => self.store_all(store),
            LineTask::ListFolder { word, all } => self.list_folder(&word, all),
            LineTask::Show(word) => self.show(&word),
            LineTask::Check(check) => self.check(check),
            LineTask::Draw { key, svg } => self.draw(key, &svg),
            LineTask::Lease { words, change } => self.change_leases(&words, &change),
            LineTask::Import { folder, terms } => self.import(&folder, terms),
            LineTask::Files { .. } | LineTask::Name { .. } | LineTask::Forget { .. } | LineTask::Lookup { .. } => {
                finding::answer(self.catalogue.as_ref(), request)
            }
            LineTask::Ping(host_port) => match resolve(&host_port) {
                Ok(addrs) => LineReply::Node(self.ping(&addrs)),
                Err(reason) => LineReply::failed(FailureKind::NotFound, reason),
            },
            LineTask::Test { files, keep } => self.test(files, keep),
            LineTask::Pause(span) => pausing::pause(&self.backend, &*self.shows, span),
            LineTask::Jobs => self.jobs.clone().unwrap_or_default().list(),
            LineTask::Cancel(job) => self.jobs.clone().unwrap_or_default().cancel(job),
            LineTask::Threads { .. } => LineReply::Console(ConsoleAnswer::Threads(self.backend.threads())),
            LineTask::Help(_) => LineReply::failed(FailureKind::Usage, "there is no help here"),
        }
    }

    /// Has one command after another done by `each`. To cancel one cancels those that follow too.
    pub(super) fn all(&self, commands: Vec<Command>, each: impl Fn(Command) -> LineReply) -> LineReply {
        LineReply::Console(ConsoleAnswer::All { answers: self.one_by_one(commands, each) })
    }

    /// Does one thing after another. To cancel one cancels those that follow too.
    pub(super) fn one_by_one<T>(
        &self,
        things: impl IntoIterator<Item = T>,
        mut each: impl FnMut(T) -> LineReply,
    ) -> Vec<LineReply> {
        let mut answers = Vec::new();
        for thing in things {
            let reply = each(thing);
            let cancelled = reply.verdict() == Some(FailureKind::Cancelled);
            answers.push(reply);
            if cancelled {
                break;
            }
        }
        answers
    }

    /// Has a command done; the answer about a file that is stored names it, and the catalogue gets it.
    pub(super) fn reply(&self, command: Command, name: Option<String>) -> LineReply {
        self.reply_on(command, name, None)
    }

    /// [`reply`](Self::reply); what is stored is kept on these terms.
    pub(super) fn reply_on(&self, command: Command, name: Option<String>, terms: Option<Terms>) -> LineReply {
        let (file, source) = match &command {
            Command::Store { path, .. } => (Some(path.clone()), None),
            Command::Retrieve { source, .. } => (None, Some(source.clone())),
            _ => (None, None),
        };
        let manifest = if let Command::Store { manifest, .. } = &command { manifest.clone() } else { None };
        // Without a folder for its manifest, nothing of it is stored.
        let terms = terms.filter(|_| has_place_for_manifest(&command));
        let begun = file.as_ref().zip(terms).map(|(file, terms)| self.begin_on(file, name.as_ref(), terms));
        let begun = match begun.transpose() {
            Ok(begun) => begun.flatten(),
            Err(failure) => return LineReply::of_file(file.unwrap_or_default(), Answer::Failed(failure)),
        };
        let (owned, lease, mut line) =
            begun.map_or((None, None, None), |(owned, lease, line)| (Some(owned), Some(lease), Some(line)));
        let mut answer = self.ask_on(command, lease, &mut line);
        if let (Answer::Failed(failure), Some(Source::Key(key))) = (&mut answer, source) {
            finding::recognise(self.catalogue.as_ref(), &key, failure);
        }
        let Some(file) = file else { return LineReply::Node(answer) };
        if let Some(catalogue) = &self.catalogue {
            let finished =
                finding::remember((catalogue, &*self.shows), &file, name, owned, &answer).unwrap_or_else(|ended| {
                    answer = Answer::Failed(ended);
                    false
                });
            match line {
                Some(line) if finished => line.release(),
                Some(line) if is_refused(&answer) => line.withdraw(),
                _ => {}
            }
        }
        let mut reply = LineReply::of_file(file, answer);
        if let LineReply::File(named @ Named { answer: Answer::Stored { .. }, .. }) = &mut reply {
            named.manifest = manifest;
        }
        reply
    }

    /// Gives the node a command, shows its progress and waits for its answer.
    pub fn ask(&self, command: Command) -> Answer {
        self.ask_on(command, None, &mut None)
    }

    /// [`ask`](Self::ask), for something to be stored on behalf of a lease. Its line in the catalogue is synced unless
    /// the answer comes soon.
    fn ask_on(&self, command: Command, lease: Option<Lease>, line: &mut Option<EntryLine>) -> Answer {
        fault::point(Role::Console);
        gauges::name(Activity::Asks);
        let mut show = self.shows.begin(&command);
        let (part, mut kept) = (PartFile::of(&command), String::new());
        for notice in EntryLine::synced_beside(line, self.backend.submit(command.on(lease))) {
            match notice {
                Notice::Progress { progress: Progress::Kept { bytes, of }, .. } if !self.forgets => {
                    kept = part.told(bytes, of);
                }
                Notice::Progress { progress, .. } => show(&progress),
                Notice::Answer { answer: Answer::Failed(Failure { kind, reason }), .. } => {
                    return Answer::Failed(Failure { kind, reason: reason + &kept });
                }
                Notice::Answer { answer, .. } => return answer,
                _ => {}
            }
        }
        Answer::Failed(Failure::gone())
    }

    /// Gives the node a command that is a part of something larger, whose progress is shown elsewhere, and waits for
    /// its answer.
    pub(super) fn answer_to(&self, command: Command) -> Answer {
        let answers = self.backend.submit(command).into_iter().find_map(|notice| match notice {
            Notice::Answer { answer, .. } => Some(answer),
            _ => None,
        });
        answers.unwrap_or_else(|| Answer::Failed(Failure::gone()))
    }

    /// Pings all addresses of a host at once; the first answer will do, so a silent one costs nothing.
    fn ping(&self, addrs: &[SocketAddr]) -> Answer {
        let asked: Vec<Receiver<Notice>> =
            addrs.iter().map(|&addr| self.backend.submit(Command::Ping { addr })).collect();
        let mut waiting = Select::new();
        for answers in &asked {
            waiting.recv(answers);
        }
        let (mut left, mut failed) = (asked.len(), None);
        while left > 0 {
            let ready = waiting.select();
            let at = ready.index();
            match ready.recv(&asked[at]) {
                Ok(Notice::Answer { answer: answer @ Answer::Failed(_), .. }) => failed = Some(answer),
                Ok(Notice::Answer { answer, .. }) => return answer,
                Ok(_) => {}
                Err(_) => {
                    waiting.remove(at);
                    left -= 1;
                }
            }
        }
        failed.unwrap_or_else(|| Answer::Failed(Failure::gone()))
    }

    /// Looks a key up, and draws the questions of that.
    fn draw(&self, key: Key, svg: &Path) -> LineReply {
        if let Err(failure) = picture::check_place(svg) {
            return LineReply::from(failure);
        }
        let answer = self.ask(Command::Explain { key });
        if let Answer::Lookup { key, asked, took, .. } = &answer
            && let Err(error) = fs::write(svg, picture::draw(key, asked, *took))
        {
            return LineReply::from(trouble("write", svg, &error));
        }
        LineReply::Node(answer)
    }

    fn test(&self, files: Vec<PathBuf>, keep: bool) -> LineReply {
        let mut tested: Vec<Tested> = Vec::new();
        for file in files {
            let result = self.test_one(&file, keep).unwrap_or_else(TestResult::Failed);
            let cancelled = matches!(&result, TestResult::Failed(failure) if failure.kind == FailureKind::Cancelled);
            tested.push(Tested { file, result });
            // To cancel a test cancels its remaining files too.
            if cancelled {
                break;
            }
        }
        let files = tested;
        let passed = files.iter().filter(|file| matches!(file.result, TestResult::Equal { .. })).count();
        LineReply::Console(ConsoleAnswer::Tested { passed, failed: files.len() - passed, files })
    }

    /// Stores a file, brings it back to a temporary one, and compares.
    fn test_one(&self, file: &Path, keep: bool) -> Result<TestResult, Failure> {
        let before = sha256(file)?;
        let (key, bytes, stored_in) = self.store(file, keep)?;
        let folder = work_folder()?;
        let dest = folder.path().join("back");
        let retrieved_in =
            match self.ask(Command::Retrieve { source: Source::Key(key), dest: dest.clone(), replace: false }) {
                Answer::Retrieved { took, .. } => took,
                answer => return Err(Failure::from(answer)),
            };
        let after = sha256(&dest)?;
        if after != before {
            let reason =
                format!("the file had SHA-256 {before}, what came back has {after}; did the file change meanwhile?");
            return Err(Failure::new(FailureKind::Integrity, reason));
        }
        Ok(TestResult::Equal { key, sha256: after, bytes, stored_in, retrieved_in })
    }

    fn store(&self, file: &Path, keep: bool) -> Result<(Key, u64, Duration), Failure> {
        let store = Command::Store { path: file.to_owned(), manifest: None, keep };
        match self.reply_on(store, None, Some(Terms::default())) {
            LineReply::File(Named { answer: Answer::Stored { key, bytes, took, .. }, .. }) => Ok((key, bytes, took)),
            LineReply::File(Named { answer, .. }) | LineReply::Node(answer) => Err(Failure::from(answer)),
            other => Err(Failure::new(FailureKind::Other, format!("an unexpected answer: {other:?}"))),
        }
    }
}

/// Whether the folder is there that the local manifest is to lie in, if one is wanted.
fn has_place_for_manifest(command: &Command) -> bool {
    let Command::Store { manifest: Some(manifest), .. } = command else { return true };
    manifest.path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir())
}

/// Whether a store was refused before anything of the file was read.
fn is_refused(answer: &Answer) -> bool {
    let refused = [FailureKind::Usage, FailureKind::Exists, FailureKind::NotFound];
    matches!(answer, Answer::Failed(failure) if refused.contains(&failure.kind))
}

/// SHA-256 of a whole file.
fn sha256(path: &Path) -> Result<Id, Failure> {
    File::open(path).and_then(|file| hash_all(&file)).map_err(|error| trouble("read", path, &error))
}

/// The addresses of `HOST:PORT`.
///
/// # Errors
/// For people: the name cannot be resolved.
pub fn resolve(host_port: &str) -> Result<Vec<SocketAddr>, String> {
    let bracketed = host_port.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:"));
    let found = match bracketed.map(|(host, port)| (host, port.parse::<u16>())) {
        // A link's address may name its interface. The system knows such names, in no brackets.
        Some((host, Ok(port))) if host.contains('%') => (host, port).to_socket_addrs(),
        _ => host_port.to_socket_addrs(),
    };
    match found.map(Iterator::collect::<Vec<_>>) {
        Ok(addrs) if !addrs.is_empty() => Ok(addrs.into_iter().map(canonical).collect()),
        Ok(_) => Err(format!("{} has no address", escape(host_port))),
        Err(error) => Err(format!("cannot resolve {}: {error}", escape(host_port))),
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Sender, unbounded};
    use parking_lot::Mutex;

    use super::*;
    use crate::peer::Peer;
    use crate::runtime::ThreadsSeen;

    /// A node that is answered from one address alone.
    ///
    /// *Protects*: the questions that have no answer. *Held for*: adding one. *Never held while*: anything is sent.
    struct Waiting(SocketAddr, Mutex<Vec<Sender<Notice>>>);

    impl Backend for Waiting {
        fn submit(&self, command: Command) -> Receiver<Notice> {
            let (sender, receiver) = unbounded();
            match command {
                Command::Ping { addr } if addr == self.0 => {
                    let answer = Answer::Pong { peer: Peer::new(Id::ZERO, addr), rtt: Duration::ZERO };
                    sender.send(Notice::Answer { command: 1, answer }).unwrap();
                }
                _ => self.1.lock().push(sender),
            }
            receiver
        }

        fn threads(&self) -> ThreadsSeen {
            ThreadsSeen::default()
        }
    }

    #[test]
    fn a_host_is_pinged_at_all_addresses_at_once() {
        let [silent, living] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let performer = Performer::new(Waiting(living, Mutex::default()), Screen::plain());
        let answer = performer.ping(&[silent, living, silent]);
        assert!(matches!(answer, Answer::Pong { peer, .. } if peer.addr == living), "{answer:?}");
    }
}
