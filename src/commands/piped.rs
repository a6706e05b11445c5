//! Commands for a running peer that come as lines of standard input, as they do to a peer of its own.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use kadring::console::Screen;
use kadring::console::grammar::split;
use kadring::console::lines::{TypedLine, read_line, standard_input};

use super::ctl::{Form, is_stream, name_of, perform, perform_words, reach};
use super::signals::{NextSignal, is_told};
use super::{Exit, Failed, say_error};

/// Has the peer with this data folder do each line, one after another: each gets its answer, whatever became of those
/// before. Ends as the first that failed.
///
/// # Errors
/// No line was given, or none can be read.
pub(super) fn perform_lines(data: &Path, form: Form, screen: &Arc<Screen>) -> anyhow::Result<Exit> {
    if io::stdin().is_terminal() {
        let reason = "no command was given: give one, or several as lines of standard input, which is a terminal here";
        return Err(Failed::usage(reason).into());
    }
    let signal = NextSignal::asks()?;
    let unreadable = "commands cannot be read from standard input";
    let mut input = standard_input(true).context(unreadable)?;
    let mut ended = None;
    loop {
        let words = match signal.ends_while(|| read_line(&mut input)).context(unreadable)? {
            TypedLine::Text(line) => split(&line).map_err(|error| error.to_string()),
            TypedLine::Bad(reason) => Err(reason),
            TypedLine::End => break,
        };
        let exit = match words {
            Ok(words) if words.is_empty() => Exit::Done,
            words => perform_line(words, data, form, (screen, &signal)).unwrap_or_else(|error| say_error(&error)),
        };
        if is_told() {
            return Ok(Exit::Interrupted);
        }
        ended = ended.filter(|first| *first != Exit::Done).or(Some(exit));
    }
    ended.ok_or_else(|| Failed::usage("no command was given, and standard input has none").into())
}

fn perform_line(
    words: Result<Vec<String>, String>,
    data: &Path,
    form: Form,
    by: (&Arc<Screen>, &NextSignal),
) -> anyhow::Result<Exit> {
    let (words, wrong) = words.map_or_else(|reason| (Vec::new(), Some(reason)), |words| (words, None));
    perform_words(words, form, |words, form| {
        let takes_input = || name_of(&words) == Some("store") && words.iter().any(|word| is_stream(word, "0"));
        let wrong = wrong.or_else(|| takes_input().then(|| "standard input holds the commands, and is no file".into()));
        match wrong {
            Some(reason) => Err(Failed::usage(reason).into()),
            None => perform(&reach(data)?, data, words, form, by),
        }
    })
}
