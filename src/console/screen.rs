//! One terminal on which several threads print: a line must not disturb the prompt or the bar that is shown.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use indicatif::ProgressBar;

use super::stderr;
use crate::locks::{self, Ranked};

/// Lines that may wait to be printed above a prompt; further lines are printed directly.
const ABOVE_PROMPT: usize = 256;

/// Prints the lines that answer no command: logs and notices.
///
/// A line is printed around a bar if there is one; above the prompt if there is one (by the thread that reads the
/// channel of [`Screen::above_prompt`]); else on standard error. Printing never waits for the prompt, so that no thread
/// of the peer waits for the user.
pub struct Screen {
    state: Ranked<ScreenState>,
    bars: bool,
}

#[derive(Default)]
struct ScreenState {
    /// Leads to the thread that prints above the prompt.
    prompt: Option<Sender<String>>,
    /// A bar that must be hidden while a line is printed.
    bar: Option<ProgressBar>,
}

impl Screen {
    /// Standard error. Bars are shown if it is a terminal.
    pub fn stderr() -> Arc<Self> {
        Self::new(io::stderr().is_terminal())
    }

    /// No bars: for tests and programs.
    pub fn plain() -> Arc<Self> {
        Self::new(false)
    }

    fn new(bars: bool) -> Arc<Self> {
        Arc::new(Self { state: Ranked::new(&locks::SCREEN, ScreenState::default()), bars })
    }

    /// Prints `text`, whole lines with their ends.
    ///
    /// # Errors
    /// Standard error is closed.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let state = self.state.lock();
        if let Some(bar) = &state.bar {
            return bar.suspend(|| stderr::write(text));
        }
        if state.prompt.as_ref().is_some_and(|prompt| prompt.try_send(text.to_owned()).is_ok()) {
            return Ok(());
        }
        if !self.bars {
            // No bar can be shown meanwhile, and no thread may wait for this lock while standard error is not read.
            drop(state);
        }
        stderr::write(text)
    }

    /// From now on lines come out of the channel returned; its reader prints them above the prompt.
    pub fn above_prompt(&self) -> Receiver<String> {
        let (sender, receiver) = bounded(ABOVE_PROMPT);
        self.state.lock().prompt = Some(sender);
        receiver
    }

    /// Whether bars can be seen.
    pub fn has_bars(&self) -> bool {
        self.bars
    }

    /// Whether there is a bar now.
    pub fn shows_bar(&self) -> bool {
        self.state.lock().bar.is_some()
    }

    pub(super) fn show_bar(&self, bar: ProgressBar) {
        self.state.lock().bar = Some(bar);
    }

    pub(super) fn drop_bar(&self) {
        self.state.lock().bar = None;
    }
}
