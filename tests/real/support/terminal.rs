//! A peer at a terminal of its own: what is shown there, and what is typed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{DEADLINE, program, until};

/// A peer at a terminal.
pub(crate) struct AtTerminal {
    child: Child,
    keys: File,
    /// The terminal as the peer has it.
    tty: OwnedFd,
    shown: Receiver<Vec<u8>>,
    pub(crate) text: String,
    /// What of `text` has been waited for.
    seen: usize,
}

impl AtTerminal {
    pub(crate) fn start(folder: &TempDir) -> Self {
        Self::start_with(folder, &[])
    }

    pub(crate) fn start_with(folder: &TempDir, arguments: &[&str]) -> Self {
        let data = folder.path().join("data").display().to_string();
        Self::run(&[&["peer", "--port", "0", "--data", &data], arguments].concat())
    }

    pub(crate) fn run(arguments: &[&str]) -> Self {
        Self::run_on("xterm", arguments)
    }

    /// On a terminal that is said to be of this kind.
    pub(crate) fn run_on(term: &str, arguments: &[&str]) -> Self {
        let pty = openpty(None, None).expect("a terminal");
        let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let child = program()
            .args(arguments)
            .env("TERM", term)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("the program starts");
        let mut master = File::from(pty.master);
        let keys = master.try_clone().expect("a descriptor");
        let (sender, shown) = channel();
        // It ends when the terminal does, or with the test.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = master.read(&mut bytes) {
                if sender.send(bytes[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keys, tty: pty.slave, shown, text: String::new(), seen: 0 }
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, what: &str) {
        loop {
            if let Some(at) = self.text[self.seen..].find(what) {
                self.seen += at + what.len();
                return;
            }
            match self.shown.recv_timeout(DEADLINE) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{what:?} was not shown ({error}): {:?}", &self.text[self.seen..]),
            }
        }
    }

    /// So many characters after what was waited for last.
    pub(crate) fn next(&mut self, len: usize) -> String {
        while self.text[self.seen..].len() < len {
            let bytes = self.shown.recv_timeout(DEADLINE).expect("more is shown");
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
        self.seen += len;
        self.text[self.seen - len..self.seen].to_owned()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes them");
    }

    /// What a terminal does for Ctrl-C while no line is edited, if it is SIGINT.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    pub(crate) fn line_mode(&self) -> bool {
        tcgetattr(self.tty.as_fd()).expect("a terminal").local_flags.contains(LocalFlags::ICANON)
    }

    pub(crate) fn code(&mut self) -> Option<i32> {
        until(|| !matches!(self.child.try_wait(), Ok(None)));
        self.child.wait().expect("it ended").code()
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
