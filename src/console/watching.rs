//! `threads --watch`: what the threads are at, again and again, in place on a terminal.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// It is shown anew after this long.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Has `write` clear the screen for a further look, if that is a terminal.
pub fn clear(write: impl FnOnce(&str)) {
    if io::stdout().is_terminal() {
        write("\u{1b}[H\u{1b}[J");
    }
}

/// Waits for so long, or until a line is typed (or the input ends). Returns whether that is so.
pub fn is_typed_within(limit: Duration) -> bool {
    let stdin = io::stdin();
    let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)).is_ok_and(|ready| ready > 0)
}
