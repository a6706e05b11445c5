//! The progress of a store or retrieve, as a bar on a terminal.

use std::collections::BTreeSet;
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Screen;
use super::escape::escape;
use crate::node::{self, Command};
use crate::raw_text;

/// Characters of a file's name that are shown at most: 80 columns have room for the rest of the line, and some bar.
const LONGEST_NAME: usize = 16;

/// Times a second that a bar is drawn at most.
const HERTZ: u8 = 10;

/// What is shown of a file whose size is known, of another, and of blocks that are handed over.
const SIZED: &str =
    "{msg} {percent:>3} % [{wide_bar}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
const UNSIZED: &str = "{wide_msg} {binary_bytes}, {binary_bytes_per_sec}";
const BLOCKS: &str = "{msg} [{wide_bar}] {pos} of {len} blocks";

/// The bar of one command; nothing where there is no terminal, or the command moves nothing.
pub struct TransferBar<'a> {
    shown: Option<(&'a Screen, ProgressBar)>,
    /// Bytes found in place from an earlier run; they count for the total, not for the rate.
    resumed: u64,
    /// Reasons of failed transfers that were told.
    told: BTreeSet<String>,
}

impl<'a> TransferBar<'a> {
    /// A bar for `command` on `screen`.
    pub fn new(screen: &'a Screen, command: &Command) -> Self {
        let message = match command {
            Command::Store { path, .. } | Command::StoreListing { path, .. } => {
                Some(format!("storing {}", file_name(path)))
            }
            Command::Retrieve { dest, .. } | Command::RetrieveListing { dest, .. } => {
                Some(format!("retrieving {}", file_name(dest)))
            }
            Command::Check { .. } => Some("checking".to_owned()),
            Command::Scrub => Some("scrubbing".to_owned()),
            // Whether there is anything to hand over, its progress shows.
            Command::Quit { handover: true } => Some(String::new()),
            _ => None,
        };
        let style = if matches!(command, Command::Quit { .. }) { BLOCKS } else { UNSIZED };
        let bar = Self::begin(screen, message, style);
        if let Some((_, bar)) = &bar.shown
            && let Command::Store { path, .. } = command
            && let Ok(file) = std::fs::metadata(path)
        {
            set_length(bar, file.len());
        }
        bar
    }

    /// A bar for standard input, which is read before it is stored.
    pub fn of_input(screen: &'a Screen) -> Self {
        Self::begin(screen, Some("reading standard input".to_owned()), UNSIZED)
    }

    fn begin(screen: &'a Screen, message: Option<String>, style: &str) -> Self {
        let shown = message.filter(|_| screen.has_bars()).map(|message| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(HERTZ));
            screen.show_bar(bar.clone());
            bar.set_style(styled(style));
            if !message.is_empty() {
                bar.set_message(message);
            }
            (screen, bar)
        });
        Self { shown, resumed: 0, told: BTreeSet::new() }
    }

    /// Shows how far the transfer is.
    pub fn show(&mut self, news: &node::Progress) {
        let Some((_, bar)) = &self.shown else {
            if let node::Progress::Retried { key, reason } = news {
                log::debug!("block {}: {}", key.short(), reason);
            }
            return;
        };
        match news {
            node::Progress::Begun { bytes } => set_length(bar, *bytes),
            node::Progress::Moved { bytes, resumed } => {
                if *resumed > self.resumed {
                    self.resumed = *resumed;
                    go_on_from(bar, *resumed);
                }
                bar.set_position(*bytes);
            }
            node::Progress::HandedOver { blocks, of } => {
                bar.set_length(*of);
                bar.set_message("handing over");
                bar.set_position(*blocks);
            }
            node::Progress::Kept { .. } => {}
            node::Progress::Retried { key, reason } => {
                // A peer that is full says so for each block; once is enough.
                let level = if self.told.insert(reason.clone()) { log::Level::Info } else { log::Level::Debug };
                log::log!(level, "block {}: {}", key.short(), reason);
            }
        }
    }
}

impl Drop for TransferBar<'_> {
    fn drop(&mut self) {
        if let Some((screen, bar)) = self.shown.take() {
            // The bar is cleared before other threads print without hiding it.
            bar.finish_and_clear();
            screen.drop_bar();
        }
    }
}

/// The bar begins at so many bytes: none of them counts for the rate.
fn go_on_from(bar: &ProgressBar, bytes: u64) {
    // Each update is seen; of many positions that are set one after another, some are not.
    bar.update(|state| state.set_pos(bytes));
    bar.reset_eta();
}

fn set_length(bar: &ProgressBar, bytes: u64) {
    bar.set_length(bytes);
    bar.set_style(styled(SIZED));
}

fn file_name(path: &Path) -> String {
    // A client lends its standard input, or a pipe to its standard output, by the number of a descriptor.
    if path.starts_with("/proc") && path.parent().is_some_and(|folder| folder.ends_with("fd")) {
        return "a stream".to_owned();
    }
    let name = raw_text::text_of(path.file_name().unwrap_or(path.as_os_str()));
    let name = escape(&name);
    if name.chars().count() <= LONGEST_NAME {
        return name.into_owned();
    }
    name.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

fn styled(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_lends_is_not_called_by_the_number_of_its_descriptor() {
        assert_eq!(file_name(Path::new("/proc/17/fd/3")), "a stream");
        assert_eq!(file_name(Path::new("/proc/self/fd/0")), "a stream");
        assert_eq!(file_name(Path::new("/home/fd/3")), "3");
    }

    #[test]
    fn what_an_earlier_run_has_moved_does_not_count_for_the_rate() {
        let bar = ProgressBar::hidden();
        (0..100).for_each(|bytes| bar.set_position(bytes));
        go_on_from(&bar, 1 << 40);
        bar.update(|state| state.set_pos((1 << 40) + 1));
        // One byte within a microsecond would be a million a second.
        assert!(bar.per_sec() < 1e9, "{}", bar.per_sec());
    }
}
