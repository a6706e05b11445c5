//! Real peers for tests: started, talked to through their standard input, and ended by their process ids alone.

pub(crate) mod terminal;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Far more than anything here takes, on a busy machine too (a repair may take a minute on any); a test that meets it
/// has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// A running `kadring peer`, ended by SIGKILL when dropped.
pub(crate) struct PeerProcess {
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    pub(crate) id: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    errors: PathBuf,
}

/// How to start a peer.
pub(crate) struct Launch {
    args: Vec<String>,
    env: Vec<(String, String)>,
    data: PathBuf,
    limit: String,
    inside: Option<Command>,
}

/// The program under test.
pub(crate) fn program() -> Command {
    without_our_environment(Command::new(env!("CARGO_BIN_EXE_kadring")))
}

/// The program under a limit of its resources, as the options of the shell's `ulimit` say it.
pub(crate) fn program_under(limit: &str) -> Command {
    let mut command = shell();
    command.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_kadring")]);
    command
}

/// A shell that runs the program.
pub(crate) fn shell() -> Command {
    without_our_environment(Command::new("sh"))
}

/// A command that runs the program as on a machine where nothing is set for it.
pub(crate) fn without_our_environment(mut command: Command) -> Command {
    // The tests' own environment must not reach the program.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KADRING_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    // Nor may what it stores reach the catalogue of the user who runs the tests.
    command.env_remove("XDG_STATE_HOME").env("HOME", "nowhere");
    command
}

impl Launch {
    /// A peer that keeps its data in `data`.
    pub(crate) fn new(data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        let args = ["peer", "--port", "0", "--json", "--data"].map(str::to_owned).to_vec();
        Self { args, env: Vec::new(), data, limit: String::new(), inside: None }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// With a data folder that goes with it.
    pub(crate) fn without_data(mut self) -> Self {
        self.args.retain(|arg| arg != "--data");
        self
    }

    /// Answers for people instead of JSON.
    pub(crate) fn in_text(mut self) -> Self {
        self.args.retain(|arg| arg != "--json");
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// In a namespace that `program` makes or enters, as `args` say, once `before` was done in a shell there.
    pub(crate) fn inside(mut self, program: &str, args: &[&str], before: &str) -> Self {
        let mut command = Command::new(program);
        let script = format!("{before} && exec \"$0\" \"$@\"");
        command.args(args).args(["sh", "-ec", &script, env!("CARGO_BIN_EXE_kadring")]);
        self.inside = Some(without_our_environment(command));
        self
    }

    /// Under a limit of its resources; see [`program_under`].
    pub(crate) fn under(mut self, limit: &str) -> Self {
        limit.clone_into(&mut self.limit);
        self
    }

    pub(crate) fn through(self, port: u16) -> Self {
        self.args(&["--bootstrap", &format!("127.0.0.1:{port}")])
    }

    /// Starts the peer and waits until it is ready.
    pub(crate) fn start(self) -> PeerProcess {
        let errors = self.data.with_extension("err");
        let log = fs::File::create(&errors).expect("the folder is writable");
        let mut args = self.args;
        if let Some(at) = args.iter().position(|arg| arg == "--data") {
            args.insert(at + 1, self.data.display().to_string());
        }
        let mut command = match self.inside {
            Some(inside) => inside,
            None if self.limit.is_empty() => program(),
            None => program_under(&self.limit),
        };
        let mut child = command
            .args(&args)
            .envs(self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take();
        let mut peer = PeerProcess {
            data: self.data,
            port: 0,
            id: String::new(),
            child,
            stdin,
            lines,
            reader: Some(reader),
            errors,
        };
        let ready = peer.line();
        // With --json it is JSON as a whole.
        let ready = ready.strip_prefix("READY ").unwrap_or(&ready);
        let ready: Value = serde_json::from_str(ready).unwrap_or_else(|_| panic!("not a READY line: {ready}"));
        peer.port = u16::try_from(ready["udp"].as_u64().expect("a port")).expect("a port");
        peer.id = ready["id"].as_str().expect("an id").to_owned();
        assert_eq!(ready["pid"].as_u64(), Some(u64::from(peer.child.id())));
        peer
    }
}

impl PeerProcess {
    /// The next line on standard output.
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {DEADLINE:?}; it said: {}", self.said()),
            Err(RecvTimeoutError::Disconnected) => panic!("the peer ended; it said: {}", self.said()),
        }
    }

    /// What the peer wrote to standard error until now. A thread of its own writes there: a line may be missing whose
    /// cause was answered already.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Types a line.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its input is open");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("the peer reads");
    }

    /// Types any bytes.
    pub(crate) fn tell_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("its input is open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("the peer reads");
    }

    /// Ends its input.
    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// The lines it writes until it closes its output.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it did not end within {DEADLINE:?}; it said: {}", self.said())
                }
            }
        }
    }

    /// Sends it a signal. One that is stopped has stopped when this returns: on a busy machine its threads run on for a
    /// moment.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
        if signal == Signal::SIGSTOP {
            until(|| is_stopped(pid));
        }
    }

    /// Types a command and reads its answer.
    pub(crate) fn ask(&mut self, line: &str) -> Value {
        self.tell(line);
        self.answer()
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> Value {
        let answer = self.line();
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("not JSON: {answer}"))
    }

    /// Stores a file and returns its key.
    pub(crate) fn store(&mut self, path: &Path) -> String {
        let answer = self.ask(&format!("store '{}'", path.display()));
        assert_eq!(answer["answer"], "stored", "{answer}\n{}", self.said());
        answer["key"].as_str().expect("a key").to_owned()
    }

    /// Retrieves a file and asserts that it came back equal.
    pub(crate) fn retrieve(&mut self, key: &str, dest: &Path, original: &[u8]) -> Value {
        let answer = self.ask(&format!("retrieve {key} '{}'", dest.display()));
        assert_eq!(answer["answer"], "retrieved", "{answer}\n{}", self.said());
        assert!(fs::read(dest).expect("it is there") == original, "the file differs");
        answer
    }

    /// Keys of the blocks in its store.
    pub(crate) fn blocks(&self) -> Vec<String> {
        let mut keys: Vec<String> = walk(&self.data.join("blocks"))
            .into_iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .filter(|name| name.len() == 64)
            .collect();
        keys.sort();
        keys
    }

    /// Ends the peer at once, as a crash does.
    pub(crate) fn kill(mut self) -> PathBuf {
        self.end();
        self.data.clone()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process has ended by itself; returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        until(|| !matches!(self.child.try_wait(), Ok(None)));
        self.child.wait().ok().and_then(|status| status.code())
    }

    /// All that the peer wrote to standard error, once it was told to quit and has ended.
    pub(crate) fn all_said(mut self) -> String {
        self.tell("quit");
        self.rest();
        self.wait();
        self.said()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.stdin = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// Every file below a folder.
pub(crate) fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

/// Waits until `condition` holds; panics at the deadline.
#[track_caller]
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "not true within {DEADLINE:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// `peers` peers that know one another, each in its own folder below `folder`.
pub(crate) fn cluster(folder: &TempDir, peers: usize, args: &[&str]) -> Vec<PeerProcess> {
    let mut all: Vec<PeerProcess> = Vec::new();
    for n in 0..peers {
        let launch = Launch::new(folder.path().join(format!("peer{n}"))).args(args);
        all.push(match all.first() {
            Some(first) => launch.through(first.port).start(),
            None => launch.start(),
        });
    }
    all
}

/// Bytes that look random and are the same for the same seed.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A file of such bytes.
pub(crate) fn file(folder: &TempDir, name: &str, seed: u64, len: usize) -> (PathBuf, Vec<u8>) {
    let (path, bytes) = (folder.path().join(name), bytes(seed, len));
    fs::write(&path, &bytes).expect("the folder is writable");
    (path, bytes)
}

/// A range of 256 ports that nobody uses now, below those that the system gives out by itself.
pub(crate) fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 60).expect("it is small");
    loop {
        let number = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let base = 14_000 + (number % 60) * 256;
        let is_free =
            |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if (base..base + 256).all(is_free) {
            return base;
        }
    }
}

/// Whether each thread of a process has stopped.
fn is_stopped(pid: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
    })
}

/// A process that ends when it is dropped.
pub(crate) struct Ended(pub(crate) Child);

impl Ended {
    pub(crate) fn tell(&mut self, line: &str) {
        self.0.stdin.as_mut().expect("it is piped").write_all(line.as_bytes()).expect("it reads");
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
