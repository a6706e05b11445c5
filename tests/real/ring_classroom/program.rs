//! Running the program beside a ring.

use std::process::{Command, Output, Stdio};

use crate::marker::Ring;
use crate::support::program;

pub(crate) const EXAMPLE: [u8; 7] = [2, 4, 5, 8, 9, 14, 19];

pub(crate) fn run(ring: &Ring, words: &[&str]) -> Output {
    let base = ring.base.to_string();
    let mut command: Command = program();
    let child = command.args(words).args(["--base-port", &base]).stdin(Stdio::null()).output();
    child.expect("the program runs")
}
