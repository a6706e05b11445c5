//! Small runs whose records are traced.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder in which the program runs.
pub(crate) struct Workplace(TempDir);

/// A run of five peers on each overlay, and one of the classroom's ring: what `kadring sim --storm` is told.
pub(crate) const RUNS: [&str; 3] = [
    "--seed 2 --peers 5 --faults 3",
    "--overlay ring --seed 2 --peers 5 --faults 3",
    "--classroom --seed 3 --peers 5 --faults 0",
];

impl Workplace {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it was written")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder is writable");
    }

    /// Runs `kadring` with these words.
    pub(crate) fn run(&self, words: &str) -> Output {
        self.run_words(&words.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn run_words(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kadring"));
        command.args(words).current_dir(self.0.path()).output().expect("it starts")
    }

    /// What it prints; it does not fail.
    #[track_caller]
    pub(crate) fn kadring(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    }

    /// Records a storm as `name`.
    pub(crate) fn record(&self, run: &str, name: &str) {
        self.kadring(&format!("sim --storm {run} --record {name}"));
    }
}
