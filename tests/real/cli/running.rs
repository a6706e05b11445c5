//! Running the program: what it printed, what it said, how it ended.

use std::path::Path;
use std::process::{Output, Stdio};

use tempfile::{TempDir, tempdir};

use crate::support::{PeerProcess, program};

pub(crate) const KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

pub(crate) fn folder() -> TempDir {
    tempdir().expect("a temporary folder")
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder's name is text")
}

/// Runs the program to its end, with nothing to read.
pub(crate) fn run(args: &[&str]) -> Output {
    program().args(args).stdin(Stdio::null()).output().expect("the program runs")
}

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub(crate) fn address(peer: &PeerProcess) -> String {
    format!("127.0.0.1:{}", peer.port)
}

#[track_caller]
pub(crate) fn assert_ends(args: &[&str], expected: i32, reason: &str) {
    let output = run(args);
    assert_eq!(code(&output), Some(expected), "{args:?}: {}", said(&output));
    assert!(said(&output).contains(reason), "{args:?} does not say {reason:?}: {}", said(&output));
}

/// The key that a store printed.
#[track_caller]
pub(crate) fn key_of(stored: &Output) -> String {
    let key = printed(stored).lines().find_map(|line| line.strip_prefix("key ").map(str::to_owned));
    key.unwrap_or_else(|| panic!("nothing was stored: {}", said(stored)))
}
