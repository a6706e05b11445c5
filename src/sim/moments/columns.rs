//! A history as text: a column for each peer, a line for each moment.
//!
//! Only one peer has something to say in a line, so its text begins in its column and may go on to the end of the line;
//! what is longer than the line is cut. What the last moment waited for is marked with a star: the critical path.

use std::io::{self, Write};

use super::history::{CameOf, History};

/// How the text is written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Characters in a line.
    pub width: usize,
    /// Whether each peer has a colour of its own.
    pub colour: bool,
}

/// Characters of the time and what parts it from the first column.
const TIME: usize = 14;
/// A column is at least so wide, and the last one has so much more.
const NARROWEST: usize = 3;
const ROOM: usize = 48;
/// Columns are no wider, where a line has room for it.
const WIDEST: usize = 24;
/// Colours of peers, as terminals number them.
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// Writes these moments of a history in columns, with the critical `way` among them marked if there is one, and a last
/// line that says how much of the history is understood.
///
/// # Errors
/// The writer's.
pub fn write(history: &History, moments: &[usize], way: &[usize], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let peers: Vec<usize> = {
        let mut peers: Vec<usize> = moments.iter().map(|&moment| history.moments[moment].peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    };
    let lane = style.width.saturating_sub(TIME + ROOM) / peers.len().max(1);
    let lane = lane.clamp(NARROWEST, WIDEST);
    let heads = peers.iter().map(|&peer| pad(&history.peers[peer].name, lane));
    writeln!(out, "{:>11}   {}", "µs", heads.collect::<String>().trim_end())?;
    for &moment in moments {
        let seen = &history.moments[moment];
        let column = peers.iter().position(|peer| *peer == seen.peer).unwrap_or_default();
        let before = pad("│", lane).repeat(column);
        let room = style.width.saturating_sub(TIME + lane * column);
        let text = cut(&history.tell(moment), room);
        let used = text.chars().count().div_ceil(lane.max(1));
        let rest = peers.len().saturating_sub(column + used);
        let after = if rest > 0 { pad("│", lane).repeat(rest) } else { String::new() };
        let padded = if rest > 0 { pad(&text, lane * used) } else { text };
        let text = if style.colour { paint(&padded, column) } else { padded };
        let mark = if way.binary_search(&moment).is_ok() { '*' } else { ' ' };
        writeln!(out, "{:>11} {mark} {}", seen.at, format!("{before}{text}{after}").trim_end())?;
    }
    if !way.is_empty() {
        writeln!(out, "* {}", history.waits(way))?;
    }
    writeln!(out, "{}", summary(history, moments.len()))
}

/// How much of a history is understood.
pub(super) fn summary(history: &History, shown: usize) -> String {
    let (all, (messages, paired)) = (history.moments.len(), history.messages);
    let roots = history.moments.iter().filter(|seen| matches!(seen.cause, CameOf::Root(_))).count();
    let share = 100.0 * history.explained() as f64 / all.max(1) as f64;
    let backwards = match history.backwards {
        0 => String::new(),
        some => format!(" ({some} of them before they were sent: the clocks do not agree)"),
    };
    format!(
        "{shown} of {all} moments of {} peers; {paired} of {messages} messages between them found at both ends{backwards}; \
         {share:.1} % of all moments have a cause, {roots} of them from outside",
        history.peers.len()
    )
}

/// The text, or its beginning where there is no room for all of it.
pub(in crate::sim) fn cut(text: &str, room: usize) -> String {
    let text = text.replace(char::is_control, " ");
    if text.chars().count() <= room {
        return text;
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// The text in a column so wide, with a space behind it.
fn pad(text: &str, width: usize) -> String {
    let text = if text.chars().count() > width { cut(text, width.saturating_sub(1)) } else { text.to_owned() };
    format!("{text:<width$}")
}

/// The text in the colour of the peer of this number.
pub(in crate::sim) fn paint(text: &str, peer: usize) -> String {
    coloured(text, COLOURS[peer % COLOURS.len()])
}

/// The text in a colour, by its number of SGR.
pub(super) fn coloured(text: &str, colour: u8) -> String {
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}
