//! One terminal, several threads that print: whoever has it at the moment decides how a line gets there unharmed.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use indicatif::ProgressBar;
use parking_lot::Mutex;

/// Lines that wait to be printed above a prompt; when there are more, they are printed as they are.
const WAITING: usize = 256;

/// Where lines go that answer no command: logs and notices.
///
/// A line is printed around a bar if there is one; above the prompt if there is one (whoever has the other end of
/// [`Screen::above_prompt`] does that); else on standard error. Printing never waits for the prompt, so that no thread
/// of the peer ever waits for one who types.
pub struct Screen {
    /// *Protects* what is on the terminal at the moment. *Held for* printing one text, or a change of what is there.
    /// *Never held while* a line is read, a command is under way, or a channel is full.
    state: Mutex<State>,
    bars: bool,
}

#[derive(Default)]
struct State {
    /// Leads to the one who prints above the prompt.
    prompt: Option<Sender<String>>,
    /// A bar that must be lifted while something is printed.
    bar: Option<ProgressBar>,
}

impl Screen {
    /// Standard error. Bars are shown if it is a terminal.
    pub fn stderr() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), bars: io::stderr().is_terminal() })
    }

    /// No bars: for tests and programs.
    pub fn plain() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), bars: false })
    }

    /// Prints `text`, whole lines with their ends.
    pub fn print(&self, text: &str) {
        let state = self.state.lock();
        if let Some(bar) = &state.bar {
            return bar.suspend(|| complain(text));
        }
        let waits = state.prompt.as_ref().is_some_and(|prompt| prompt.try_send(text.to_owned()).is_ok());
        if !waits {
            complain(text);
        }
    }

    /// From now on lines come out here, for someone who knows how to print above a prompt.
    pub fn above_prompt(&self) -> Receiver<String> {
        let (sender, receiver) = bounded(WAITING);
        self.state.lock().prompt = Some(sender);
        receiver
    }

    /// Whether bars can be seen.
    pub(super) fn has_bars(&self) -> bool {
        self.bars
    }

    pub(super) fn show_bar(&self, bar: ProgressBar) {
        self.state.lock().bar = Some(bar);
    }

    pub(super) fn drop_bar(&self) {
        self.state.lock().bar = None;
    }
}

/// Writes to standard error. If that is closed there is nobody to tell, and nobody must stop for it.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// A [`Screen`] as something that can be written to; each write is some whole lines.
pub struct ScreenWriter(pub Arc<Screen>);

impl Write for ScreenWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.print(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
