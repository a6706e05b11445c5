//! A program whose standard input and standard error a test chooses.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{DEADLINE, free_ports, program};

/// Far longer than the end of a program waits for a reader.
const END: Duration = Duration::from_secs(20);

/// A running program, killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    keys: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Running {
    pub(crate) fn start(args: &[&str], stdin: Stdio, stderr: Stdio) -> Self {
        Self::start_logging("trace", args, stdin, stderr)
    }

    pub(crate) fn start_logging(level: &str, args: &[&str], stdin: Stdio, stderr: Stdio) -> Self {
        let mut command = program();
        command.args(args).env("RUST_LOG", level).stdin(stdin).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        // It ends with the program.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let keys = child.stdin.take();
        Self { child, keys, lines }
    }

    /// A peer that answers in JSON, and its port.
    pub(crate) fn peer(folder: &TempDir, args: &[&str], stdin: Stdio, stderr: Stdio) -> (Self, u16) {
        let data = folder.path().join("data").display().to_string();
        let args = [&["peer", "--port", "0", "--json", "--data", &data], args].concat();
        let peer = Self::start(&args, stdin, stderr);
        let ready = peer.line();
        let ready: Value = serde_json::from_str(&ready).expect("JSON");
        (peer, u16::try_from(ready["udp"].as_u64().expect("a port")).expect("a port"))
    }

    /// A peer of the classroom ring, alone.
    pub(crate) fn ring(folder: &TempDir, stdin: Stdio, stderr: Stdio) -> Self {
        let me = format!("4@127.0.0.1:{}", free_ports());
        let dir = folder.path().display().to_string();
        Self::start(&["ring", "init", &me, &me, &me, "5", "--dir", &dir], stdin, stderr)
    }

    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line")
    }

    pub(crate) fn answer(&self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"))
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.keys.as_mut().expect("it is piped"), "{line}").expect("it reads");
    }

    /// Its exit code, once it has ended by itself.
    #[track_caller]
    pub(crate) fn ends(mut self) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status.code();
            }
            assert!(begin.elapsed() < END, "it does not end");
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn folder() -> TempDir {
    tempdir().expect("a temporary folder")
}
