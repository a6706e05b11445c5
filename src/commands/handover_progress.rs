//! How far the departure of a peer is, for a user who waits for its end.

use std::time::Duration;

use crossbeam_channel::{Receiver, after, never};
use kadring::console::Screen;
use kadring::console::progress::TransferBar;
use kadring::node::{Command, Progress};

/// Where there is no terminal, the first line is written after this long; each further one after twice as long as the
/// one before.
const FIRST_LINE: Duration = Duration::from_secs(1);

/// Shows how many blocks a leaving peer has handed over: as a bar on a terminal, else by a line now and then.
pub(super) struct HandoverProgress<'a> {
    screen: &'a Screen,
    bar: Option<TransferBar<'a>>,
    /// How many blocks others have, and of how many; none before the departure begins.
    done: Option<(u64, u64)>,
    pause: Duration,
    due: Receiver<std::time::Instant>,
}

impl<'a> HandoverProgress<'a> {
    /// Of a peer that does not leave yet.
    pub(super) fn new(screen: &'a Screen) -> Self {
        Self { screen, bar: None, done: None, pause: FIRST_LINE, due: never() }
    }

    /// When the next line is due.
    pub(super) fn due(&self) -> &Receiver<std::time::Instant> {
        &self.due
    }

    /// So many blocks of those held are handed over.
    pub(super) fn show(&mut self, blocks: u64, of: u64) {
        let begins = self.done.replace((blocks, of)).is_none();
        if !self.screen.has_bars() {
            if begins {
                self.due = after(self.pause);
            }
            return;
        }
        // The console that was told to quit shows a bar of its own.
        if self.bar.is_none() && !self.screen.shows_bar() {
            self.bar = Some(TransferBar::new(self.screen, &Command::Quit { handover: true }));
        }
        if let Some(bar) = &mut self.bar {
            bar.show(&Progress::HandedOver { blocks, of });
        }
    }

    /// The line that is due.
    pub(super) fn line(&mut self) -> String {
        self.pause *= 2;
        self.due = after(self.pause);
        let (blocks, of) = self.done.unwrap_or_default();
        format!("leaving: {blocks} of {of} blocks handed over")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_terminal_a_long_departure_is_told_of_by_lines() {
        let screen = Screen::plain();
        let mut handover = HandoverProgress::new(&screen);
        assert!(handover.due().try_recv().is_err());
        handover.show(0, 4);
        handover.show(3, 4);
        handover.due().recv().expect("it is due in a while");
        assert_eq!(handover.line(), "leaving: 3 of 4 blocks handed over");
        assert!(handover.due().try_recv().is_err(), "the next one is due later");
    }
}
