//! What `help` shows, as wide as the terminal on which it is read.

use std::io;

use terminal_size::{Width, terminal_size_of};

use super::reply::HelpEntry;
use super::text::lines;

/// Columns of text on a wider terminal, and on none.
pub const MOST_COLUMNS: usize = 100;

/// What is no terminal's width, but that of one that has no size.
const FEWEST_COLUMNS: usize = 20;

/// How far a summary stands in from the usage above it.
const INDENT: usize = 10;

/// Columns of text on the terminal that standard output is, if it is one.
pub fn columns() -> usize {
    let columns = terminal_size_of(io::stdout()).map_or(0, |(Width(columns), _)| usize::from(columns));
    if columns < FEWEST_COLUMNS { MOST_COLUMNS } else { columns.min(MOST_COLUMNS) }
}

/// All commands, or more about one.
pub(super) fn help(commands: &[HelpEntry], columns: usize) -> String {
    if let [only] = commands {
        let short = only.short.map_or_else(String::new, |short| format!(" (or {short})"));
        let head = filled(&format!("{}{short}: {}", only.usage, only.summary), columns, 0);
        return format!("{head}\n{}", filled(only.details, columns, 0));
    }
    let usage_width = commands.iter().map(|command| command.usage.len()).max().unwrap_or(0);
    let is_wide = commands.iter().all(|command| usage_width + 4 + command.summary.len() <= columns);
    let lines_of = commands.iter().map(|command| {
        let (short, usage, summary) = (command.short.unwrap_or(' '), &command.usage, command.summary);
        if is_wide {
            return format!("{short} {usage:usage_width$}  {summary}");
        }
        let usage = filled(usage, columns - 2, INDENT - 2).replace('\n', "\n  ");
        format!(
            "{short} {usage}\n{:INDENT$}{}",
            "",
            filled(summary, columns - INDENT, 0).replace('\n', &format!("\n{:INDENT$}", ""))
        )
    });
    let last = filled("Any unique beginning of a command will do. help COMMAND says more.", columns, 0);
    lines(lines_of.chain([last]))
}

/// The words of a text in lines of so many columns, all but the first of which stand in.
pub fn filled(text: &str, columns: usize, indent: usize) -> String {
    let (mut filled, mut at) = (String::new(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if at > 0 && at + 1 + width > columns {
            filled.push('\n');
            filled.push_str(&" ".repeat(indent));
            at = indent;
        } else if at > 0 {
            filled.push(' ');
            at += 1;
        }
        filled.push_str(word);
        at += width;
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{Defaults, Grammar};

    #[test]
    fn help_fits_the_terminal_and_loses_no_word() {
        let grammar = Grammar::new(Defaults::default());
        let all: Vec<HelpEntry> = grammar.specs().map(HelpEntry::new).collect();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let wide = help(&all, 1000);
        assert_eq!(wide.lines().count(), all.len() + 1, "a line each");
        for columns in [40, 60, 80, MOST_COLUMNS] {
            for entries in [&all[..], &all[..1]] {
                let told = help(entries, columns);
                assert_eq!(words(&told), words(&help(entries, 1000)));
                let widest = told.lines().map(|line| line.chars().count()).max();
                assert!(widest.is_some_and(|widest| widest <= columns), "{columns}:\n{told}");
            }
        }
    }
}
