//! Text from elsewhere, made fit for a terminal.

use std::borrow::Cow;
use std::fmt::Write;

use crate::raw_text;

/// `text` with every character escaped that could steer a terminal or hide what follows: control characters, line and
/// paragraph separators, and the marks that turn the direction of writing; and every byte that is part of no character.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if let Some(byte) = raw_text::byte_of(c) {
            let _ = write!(safe, "\\x{byte:02x}");
        } else if is_steering(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// `text` in quotation marks, [escaped](escape).
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

fn is_steering(c: char) -> bool {
    c.is_control()
        || raw_text::byte_of(c).is_some()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{escape, quoted};

    #[test]
    fn what_steers_a_terminal_is_spelled_out() {
        assert_eq!(escape("naïve 文 file"), "naïve 文 file");
        assert_eq!(escape("\u{1b}[31mred\r\n\u{9b}"), "\\u{1b}[31mred\\r\\n\\u{9b}");
        assert_eq!(escape("a\u{202e}b\u{2028}"), "a\\u{202e}b\\u{2028}");
        assert_eq!(escape(&crate::raw_text::text(b"odd \xff")), "odd \\xff");
        assert_eq!(quoted("\u{feff}Store"), "\"\\u{feff}Store\"");
    }
}
