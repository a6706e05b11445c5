//! A peer of the classroom ring as its user has it: something to type at, and lines that come out.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Ends;
use crate::support::{program, until};

/// Lines that a thread collects.
type Shown = Arc<Mutex<Vec<String>>>;

/// A running peer; killed when dropped.
pub(crate) struct Peer {
    child: Child,
    keys: Box<dyn Write>,
    lines: Shown,
    /// What else it shows: answers to other commands, and on a terminal what is typed.
    others: Shown,
    errors: PathBuf,
    reader: Option<JoinHandle<()>>,
    /// Lines, pings apart, that were compared already.
    pub(super) seen: usize,
}

impl Peer {
    pub(super) fn start(arguments: &[String], ends: Ends, errors: PathBuf) -> Self {
        let log = File::create(&errors).expect("the folder is writable");
        let mut command = program();
        command.args(arguments).stderr(log);
        let (child, keys, shown): (Child, Box<dyn Write>, Box<dyn Read + Send>) = match ends {
            Ends::Pipes => {
                let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
                let mut child = child.expect("the program starts");
                let (keys, shown) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
                (child, Box::new(keys), Box::new(shown))
            }
            Ends::Terminal => {
                let pty = openpty(None, None).expect("a terminal");
                let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
                let child = command.stdin(end()).stdout(end()).spawn().expect("the program starts");
                let master = File::from(pty.master);
                (child, Box::new(master.try_clone().expect("a descriptor")), Box::new(master))
            }
        };
        let (lines, others) = (Shown::default(), Shown::default());
        let (told, shown_else) = (Shown::clone(&lines), Shown::clone(&others));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(shown).lines() {
                let Ok(line) = line else { break };
                let line = line.trim_end();
                match line.strip_prefix("> ") {
                    Some(line) => told.lock().expect("nobody panics with it").push(line.to_owned()),
                    None => shown_else.lock().expect("nobody panics with it").push(line.to_owned()),
                }
            }
        });
        Self { child, keys, lines, others, errors, reader: Some(reader), seen: 0 }
    }

    /// Who stands where, as the peer's `table` says: its first predecessor, and its first and second successor.
    pub(super) fn neighbours(&mut self) -> [Option<u8>; 3] {
        let others = Arc::clone(&self.others);
        let place = |label: &str| -> Option<u8> {
            let shown = others.lock().expect("nobody panics with it");
            let at = shown.iter().position(|line| line == label)?;
            shown.get(at + 1)?.split_whitespace().next()?.parse().ok()
        };
        others.lock().expect("nobody panics with it").clear();
        self.tell("table");
        // Its rows come in this order, so with this one all are there.
        until(|| place("successor 2").is_some());
        [place("predecessor 1"), place("successor 1"), place("successor 2")]
    }

    /// Types a line.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.keys, "{line}").and_then(|()| self.keys.flush()).expect("the peer reads");
    }

    /// Presses keys that make no line.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("the peer reads");
    }

    /// Types the last there is to read.
    pub(crate) fn type_to_its_end(&mut self, text: &str) {
        self.press(text);
        self.keys = Box::new(std::io::sink());
    }

    /// Every other line so far: what commands that the assignment does not have were answered.
    pub(crate) fn others(&self) -> Vec<String> {
        self.others.lock().expect("nobody panics with it").clone()
    }

    /// Every line so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it").clone()
    }

    /// The lines since the last step, pings apart.
    pub(super) fn fresh(&self) -> Vec<String> {
        self.all().into_iter().filter(|line| !line.starts_with("Ping ")).skip(self.seen).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")), signal).expect("it runs");
    }

    /// Waits for the end of the process; its exit code, none if a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        until(|| !matches!(self.child.try_wait(), Ok(None)));
        self.child.wait().ok().and_then(|status| status.code())
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.keys = Box::new(std::io::sink());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
