//! Text from elsewhere, made fit for a terminal.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

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

/// A path for people, in which each byte that is part of no character is spelled out: no two look alike.
pub(super) fn shown(path: &Path) -> String {
    escape(&raw_text::text_of(path)).into_owned()
}

/// `text` in quotation marks, [escaped](escape).
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// `json`, a text in JSON, with every character spelled out that [`escape`] spells out: one can stand only inside a
/// string there, where such a spelling means the same.
pub(super) fn escape_json(json: String) -> String {
    if !json.contains(is_steering) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_steering(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Whether it is a control character or one that is not seen (Unicode's categories Cc and Cf, but for what shows), a
/// separator of lines, or a blank that passes for a letter.
fn is_steering(c: char) -> bool {
    c.is_control()
        || raw_text::byte_of(c).is_some()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::{escape, escape_json, quoted, shown};

    #[test]
    fn what_steers_a_terminal_is_spelled_out() {
        assert_eq!(escape("naïve 文 file"), "naïve 文 file");
        assert_eq!(escape("\u{1b}[31mred\r\n\u{9b}"), "\\u{1b}[31mred\\r\\n\\u{9b}");
        assert_eq!(escape("a\u{202e}b\u{2028}"), "a\\u{202e}b\\u{2028}");
        assert_eq!(escape(&crate::raw_text::text(b"odd \xff")), "odd \\xff");
        assert_eq!(quoted("\u{feff}Store"), "\"\\u{feff}Store\"");
    }

    #[test]
    fn paths_that_are_no_utf_8_are_told_apart() {
        assert_eq!(shown(Path::new(OsStr::from_bytes(b"a\xff/\xfe"))), "a\\xff/\\xfe");
    }

    #[test]
    fn what_is_not_seen_is_spelled_out_as_text_and_as_json() {
        for c in ['\u{9b}', '\u{7f}', '\u{ad}', '\u{61c}', '\u{200b}', '\u{202e}', '\u{2063}', '\u{e0041}', '\u{3164}']
        {
            let name = format!("a{c}b");
            assert_eq!(escape(&name), format!("a{}b", c.escape_unicode()));
            let written = escape_json(serde_json::to_string(&name).unwrap());
            assert!(written.is_ascii(), "{written}");
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), name);
        }
        assert_eq!(escape_json("{\"name\":\"naïve 文\"}".to_owned()), "{\"name\":\"naïve 文\"}");
    }
}
