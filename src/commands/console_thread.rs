//! The thread that reads commands, of peers of every kind.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use kadring::console::catalogue::Catalogue;
use kadring::console::lines::standard_input;
use kadring::console::terminal::{self, Terminal};
use kadring::console::{Console, End, Grammar, Screen};
use kadring::runtime::Handle;
use rustyline::ExternalPrinter;

/// The lines to print above the prompt, and the printer for them.
pub(super) type Above = (Receiver<String>, Box<dyn ExternalPrinter + Send>);

/// A line editor, if the terminal supports one. The prompt begins with `name`.
pub(super) fn edit(
    grammar: &Grammar,
    catalogue: Option<Catalogue>,
    data: Option<&std::path::Path>,
    screen: &Arc<Screen>,
    name: &str,
) -> (Option<Terminal>, Option<Above>) {
    let history = data.map(|data| data.join("history"));
    match Terminal::open(grammar.clone(), catalogue, history, name) {
        Ok((terminal, printer)) => (Some(terminal), Some((screen.above_prompt(), Box::new(printer)))),
        Err(error) => {
            log::warn!("lines cannot be edited on this terminal: {error}");
            (None, None)
        }
    }
}

/// What the thread owns.
pub(super) struct ConsoleThread {
    pub(super) console: Console<Handle>,
    pub(super) editor: Option<Terminal>,
    /// Whether the end of the input is the end of the peer; else it stays without a console.
    pub(super) exit_on_eof: bool,
    /// What Ctrl-D is answered with.
    pub(super) on_ctrl_d: &'static str,
}

impl ConsoleThread {
    /// Answers what is typed. Returns why the peer is to end, and how its console ends it; none where it stays.
    pub(super) fn run(mut self) -> Option<(End, Console<Handle>)> {
        let end = loop {
            let end = match &mut self.editor {
                Some(terminal) => self.console.run_terminal(terminal),
                None => standard_input(self.exit_on_eof).and_then(|mut input| self.console.run(&mut input)),
            };
            match end {
                Ok(End::Input) if !self.exit_on_eof && terminal::reads_on() => log::warn!("{}", self.on_ctrl_d),
                end => break end,
            }
        };
        match end {
            Ok(End::Input) if !self.exit_on_eof => {
                log::info!("the input has ended; this peer stays until it gets SIGINT or SIGTERM");
                return None;
            }
            Ok(end) => {
                if end == End::Input {
                    self.console.wait_beside();
                }
                return Some((end, self.console));
            }
            Err(error) if self.exit_on_eof => log::error!("commands cannot be read: {error}"),
            Err(error) => {
                log::error!("commands are no longer read, but this peer stays: {error}");
                return None;
            }
        }
        Some((End::Input, self.console))
    }
}
